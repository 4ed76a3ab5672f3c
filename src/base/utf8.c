#include "base/utf8.h"

#include <string.h>

static bool tail(struct sv v, size_t at) {
    return at < v.n && ((unsigned char)v.p[at] & 0xc0) == 0x80;
}

size_t utf8_len(struct sv v) {
    if (v.n == 0)
        return 0;
    unsigned char c = (unsigned char)v.p[0], d = v.n > 1 ? (unsigned char)v.p[1] : 0;
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return tail(v, 1) ? 2 : 0;
    if (c >= 0xe0 && c <= 0xef) {
        if (!tail(v, 1) || !tail(v, 2) || (c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f))
            return 0;
        return 3;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        if (!tail(v, 1) || !tail(v, 2) || !tail(v, 3) || (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f))
            return 0;
        return 4;
    }
    return 0;
}

/* Eight at a time: nearly all that is checked is nothing but ASCII. */
static size_t ascii_run(struct sv v) {
    size_t n = 0;
    uint64_t word;
    while (v.n - n >= sizeof word) {
        memcpy(&word, v.p + n, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
        n += sizeof word;
    }
    while (n < v.n && (unsigned char)v.p[n] < 0x80)
        n++;
    return n;
}

bool utf8_valid(struct sv v) {
    for (;;) {
        v = sv_from(v, ascii_run(v));
        size_t len = utf8_len(v);
        if (len == 0)
            return v.n == 0;
        v = sv_from(v, len);
    }
}
