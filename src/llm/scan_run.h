/* llm/scan_run.h - private: the length of a run of plain string bytes, the one loop in which large bodies spend their
 * time. */
#ifndef DROVER_LLM_SCAN_RUN_H
#define DROVER_LLM_SCAN_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static inline bool run__plain_byte(unsigned char c) {
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* High bit of each byte of w that is below 0x20, above 0x7f, a quote or a backslash (Mycroft's test; a false alarm
 * above the first hit does no harm, because the byte loop looks again). */
static inline uint64_t run__odd_bytes(uint64_t w) {
    const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
    return (w | (w - ones * 0x20) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & high;
}

/* What may follow a backslash, u apart. */
static const bool run__short_escape[256] = { ['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
                                             ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true };

#if defined(__SSE2__)
/* One bit for each of 64 bytes that is a quote, a backslash, below 0x20 or above 0x7f. */
static inline uint64_t run__odd_mask(const char *p) {
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), blank = _mm_set1_epi8(0x20);
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
        x = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash)), _mm_cmplt_epi8(x, blank));
        mask |= (uint64_t)(unsigned)_mm_movemask_epi8(x) << (16 * i);
    }
    return mask;
}

/* Length of the UTF-8 character at p, which begins with c >= 0x80 and has 3 more readable bytes; 0: none, or one of the rare
 * lead bytes whose second byte is restricted (RFC 3629): the machine looks at those. */
static inline unsigned run__utf8(const char *p, unsigned char c) {
#define TAIL(i) (((unsigned char)p[i] & 0xc0) == 0x80)
    if (c >= 0xc2 && c <= 0xdf)
        return TAIL(1) ? 2 : 0;
    if ((c >= 0xe1 && c <= 0xec) || c == 0xee || c == 0xef)
        return TAIL(1) && TAIL(2) ? 3 : 0;
    if (c >= 0xf1 && c <= 0xf3)
        return TAIL(1) && TAIL(2) && TAIL(3) ? 4 : 0;
#undef TAIL
    return 0;
}

/* As run_plain, but steps over short escapes, which source code and quoted speech are full of, and over most characters
 * of two and more bytes, which it counts; stops near end. */
static inline const char *run_text(const char *p, const char *end, bool *escaped, uint64_t n_utf8[3]) {
    while (end - p > 67) { /* what begins in the 64 bytes may reach 3 beyond them */
        uint64_t mask = run__odd_mask(p);
        unsigned step = 64;
        while (mask) {
            unsigned i = (unsigned)__builtin_ctzll(mask), n;
            unsigned char c = (unsigned char)p[i];
            if (c == '\\' && run__short_escape[(unsigned char)p[i + 1]]) {
                *escaped = true;
                n = 2;
            } else if (c >= 0x80 && (n = run__utf8(p + i, c)) != 0) {
                n_utf8[n - 2]++;
            } else {
                return p + i;
            }
            step = i + n > 64 ? i + n : 64;
            mask &= i + n >= 64 ? 0 : ~0ull << (i + n);
        }
        p += step;
    }
    return p;
}
#else
static inline const char *run_text(const char *p, const char *end, bool *escaped, uint64_t n_utf8[3]) {
    (void)end;
    (void)escaped;
    (void)n_utf8;
    return p;
}
#endif

/* First byte in [p, end) that is not plain ASCII text of a JSON string, or end. */
static inline const char *run_plain(const char *p, const char *end) {
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), blank = _mm_set1_epi8(0x20);
    /* Signed comparison: bytes above 0x7f are below 0x20, too. */
#define ODD(x) \
    _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash)), _mm_cmplt_epi8(x, blank))
    while (end - p >= 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(p + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(p + 48));
        a = ODD(a);
        unsigned hit = (unsigned)_mm_movemask_epi8(a);
        if (hit)
            return p + __builtin_ctz(hit);
        b = ODD(b), c = ODD(c), d = ODD(d);
        if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(b, c), d))) {
            uint64_t bits = (uint64_t)(unsigned)_mm_movemask_epi8(b) << 16 |
                            (uint64_t)(unsigned)_mm_movemask_epi8(c) << 32 |
                            (uint64_t)(unsigned)_mm_movemask_epi8(d) << 48;
            return p + __builtin_ctzll(bits);
        }
        p += 64;
    }
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned hit = (unsigned)_mm_movemask_epi8(ODD(x));
        if (hit)
            return p + __builtin_ctz(hit);
        p += 16;
    }
#undef ODD
#endif
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, sizeof w);
        if (run__odd_bytes(w))
            break;
        p += 8;
    }
    while (p < end && run__plain_byte((unsigned char)*p))
        p++;
    return p;
}

#endif
