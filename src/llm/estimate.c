/* llm/estimate.c - how many tokens a text probably has, when nobody counted. Constants: the reference on metering,
 * 4.1. */
#include "llm/meter.h"
#include "llm/scan.h"

enum { /* thousandths of a token per character */
    LETTER = 238,
    DIGIT = 400,
    MARK = 500,
    LATIN = 400,
    CJK = 769,
    EMOJI = 2000,
    PER_MESSAGE = 4,
    PER_REPLY = 3,
    PER_IMAGE = 600,
};

/* By first byte; bytes that continue a character count nothing. */
static unsigned weight(unsigned char c) {
    if (c >= 0x80)
        return c < 0xc0 ? 0 : c < 0xe0 ? LATIN : c >= 0xf0 ? EMOJI : c >= 0xe3 && c <= 0xed ? CJK : MARK;
    if (c >= '0' && c <= '9')
        return DIGIT;
    return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == ' ' ? LETTER : MARK;
}

static unsigned digit(char c) {
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10) & 15;
}

static unsigned escape_weight(const char *p) {
    unsigned code = digit(p[0]) << 12 | digit(p[1]) << 8 | digit(p[2]) << 4 | digit(p[3]);
    if (code >= 0xd800 && code <= 0xdfff)
        return EMOJI / 2;
    if (code < 0x800)
        return code < 0x80 ? weight((unsigned char)code) : LATIN;
    return code >= 0x2e80 && code < 0xd800 ? CJK : MARK;
}

uint64_t meter_estimate_milli(struct sv text) {
    uint64_t sum = 0;
    if (text.n == 0)
        return 0;
    const char *p = text.p, *end = p + text.n;
    while (p < end) {
        if (*p == '\\' && end - p >= 6 && p[1] == 'u') {
            sum += escape_weight(p + 2);
            p += 6;
        } else {
            sum += weight((unsigned char)*p);
            p += *p == '\\' && end - p >= 2 ? 2 : 1;
        }
    }
    return sum;
}

int64_t meter_estimate_input(const struct scan *s, double ratio) {
    uint64_t bytes = s->input_bytes > s->blob_bytes ? s->input_bytes - s->blob_bytes : 0, milli;
    uint64_t images = s->has_image && s->n_images == 0 ? 1 : s->n_images;
    if (ratio > 0) {
        milli = (uint64_t)((double)bytes / ratio * 1000);
    } else { /* the scanner counts characters by length, not by class; JSON text is some marks and mostly letters */
        uint64_t wide = 2 * s->n_utf8[0] + 3 * s->n_utf8[1] + 4 * s->n_utf8[2];
        uint64_t ascii = bytes > wide ? bytes - wide : 0;
        milli = ascii * (LETTER + 12) + s->n_utf8[0] * LATIN + s->n_utf8[1] * CJK + s->n_utf8[2] * EMOJI;
    }
    return (int64_t)((milli + 999) / 1000 + (uint64_t)PER_MESSAGE * s->n_messages + PER_REPLY + PER_IMAGE * images);
}
