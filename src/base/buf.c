#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

/* Where the first byte is that cannot stand in a JSON string as it is, or may not (it is not ASCII); n when there is none. */
static size_t first_special(const char *p, size_t n) {
    size_t i = 0;
#ifdef __SSE2__ /* part of every x86-64: sixteen bytes at a time */
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), del = _mm_set1_epi8(0x7f), blank = _mm_set1_epi8(' ');
    for (; i + 16 <= n; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i odd = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash)),
                                   _mm_or_si128(_mm_cmpeq_epi8(x, del), _mm_cmplt_epi8(x, blank))); /* signed: above 0x7f, too */
        int mask = _mm_movemask_epi8(odd);
        if (mask)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (i < n && (unsigned char)p[i] >= ' ' && (unsigned char)p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
        i++;
    return i;
}

/* How many bytes from i on may stand in a JSON string as they are. */
static size_t plain_run(struct sv v, size_t i) {
    size_t from = i;
    for (;;) {
        i += first_special(v.p + i, v.n - i);
        size_t len = i < v.n && (unsigned char)v.p[i] >= 0x80 ? utf8_len(sv_from(v, i)) : 0;
        if (!len)
            return i - from;
        i += len;
    }
}

bool buf_add_json(struct buf *b, struct sv v) {
    static const char hex[] = "0123456789abcdef", shorts[] = "btn\vfr"; /* of \b to \r */
    size_t was = b->n;
    bool ok = buf_reserve(b, v.n + v.n / 32 + 2) && buf_add_char(b, '"');
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
