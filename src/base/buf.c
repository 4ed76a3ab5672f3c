#include "base/buf.h"

#include <assert.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/utf8.h"

void buf_deinit(struct buf *b) {
    mem_free(b->base);
    *b = (struct buf)BUF_MAX(b->max);
}

void buf_reset(struct buf *b) {
    b->p = b->base;
    b->n = 0;
    b->failed = false;
}

void buf_trim(struct buf *b) {
    if (b->n == 0)
        buf_deinit(b);
}

char *buf_reserve(struct buf *b, size_t n) {
    if (n > b->max || b->n > b->max - n) {
        b->failed = true;
        return NULL;
    }
    if (n <= buf_room(b))
        return b->p + b->n;
    size_t front = b->base ? (size_t)(b->p - b->base) : 0;
    if (b->base && b->n + n <= b->cap && front >= b->cap / 2) { /* slide: at most one move per half block consumed */
        memmove(b->base, b->p, b->n);
        b->p = b->base;
        return b->p + b->n;
    }
    size_t cap = b->cap ? b->cap : 256;
    while (cap < b->n + n)
        cap = cap > SIZE_MAX / 2 ? b->n + n : cap * 2;
    char *base = mem_alloc(cap);
    if (!base) {
        b->failed = true;
        return NULL;
    }
    if (b->n)
        memcpy(base, b->p, b->n);
    mem_free(b->base);
    b->base = b->p = base;
    b->cap = cap;
    return b->p + b->n;
}

bool buf_add_slow(struct buf *b, struct sv v) {
    char *at = buf_reserve(b, v.n);
    if (!at)
        return false;
    if (v.n)
        memcpy(at, v.p, v.n);
    b->n += v.n;
    return true;
}

bool buf_add_char(struct buf *b, char c) {
    return buf_add(b, (struct sv){ &c, 1 });
}

bool buf_add_u64(struct buf *b, uint64_t v) {
    char text[20], *at = text + sizeof text;
    do
        *--at = (char)('0' + v % 10);
    while ((v /= 10));
    return buf_add(b, (struct sv){ at, (size_t)(text + sizeof text - at) });
}

bool buf_vprintf(struct buf *b, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    size_t room = buf_room(b);
    int n = vsnprintf(room ? b->p + b->n : NULL, room, fmt, ap);
    bool ok = n >= 0;
    if (ok && (size_t)n >= room) { /* needs the NUL's place too */
        char *at = buf_reserve(b, (size_t)n + 1);
        ok = at != NULL;
        if (ok)
            vsnprintf(at, (size_t)n + 1, fmt, again);
    } else if (ok && b->n + (size_t)n > b->max) {
        b->failed = true;
        ok = false;
    }
    va_end(again);
    if (ok)
        b->n += (size_t)n;
    return ok;
}

bool buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    bool ok = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return ok;
}

/* How many bytes from i on may stand in a JSON string as they are: eight at a time while nothing is special. */
static size_t plain_run(struct sv v, size_t i) {
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    size_t from = i;
    for (;;) {
        uint64_t w;
        for (; i + sizeof w <= v.n; i += sizeof w) {
            memcpy(&w, v.p + i, sizeof w);
            uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\', del = w ^ ones * 0x7f;
            if ((w | (w - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones)) & highs)
                break; /* one of them, or not ASCII (or a false alarm behind a borrow: looked at below) */
        }
        for (size_t end = i + sizeof w; i < v.n && i < end;) {
            unsigned char c = (unsigned char)v.p[i];
            size_t len = c < 0x80 ? 1 : utf8_len(sv_from(v, i));
            if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f || !len)
                return i - from;
            i += len;
        }
        if (i >= v.n)
            return i - from;
    }
}

bool buf_add_json(struct buf *b, struct sv v) {
    static const char hex[] = "0123456789abcdef", shorts[] = "btn\vfr"; /* of \b to \r */
    size_t was = b->n;
    bool ok = buf_reserve(b, v.n + 2) && buf_add_char(b, '"');
    for (size_t i = 0; ok && i < v.n;) {
        size_t run = plain_run(v, i);
        unsigned char c = (unsigned char)v.p[i];
        if (run) {
            ok = buf_add(b, (struct sv){ v.p + i, run });
            i += run;
            continue;
        }
        if (c == '"' || c == '\\')
            ok = buf_add(b, (struct sv){ (char[]){ '\\', (char)c }, 2 });
        else if (c >= '\b' && c <= '\r' && c != '\v')
            ok = buf_add(b, (struct sv){ (char[]){ '\\', shorts[c - '\b'] }, 2 });
        else if (c < 0x80)
            ok = buf_add(b, (struct sv){ (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6 });
        else
            ok = buf_add(b, SV("\xef\xbf\xbd"));
        i++;
    }
    ok = ok && buf_add_char(b, '"');
    if (!ok) {
        b->n = was;
        b->failed = true;
    }
    return ok;
}

void buf_consume(struct buf *b, size_t n) {
    assert(n <= b->n);
    b->p += n;
    b->n -= n;
    if (b->n == 0)
        b->p = b->base;
}
