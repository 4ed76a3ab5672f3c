/* llm/scan_run.h - private: how far string text reaches that needs no machine; here large bodies spend their time. */
#ifndef DROVER_LLM_SCAN_RUN_H
#define DROVER_LLM_SCAN_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { RUN_BLOCK = 64 }; /* bytes that run_text looks at together */

/* By how many bytes run_text's vectors hold. All ways come to the same; run_best is the fastest this processor knows. */
enum run_way { RUN_BYTES, RUN_16, RUN_32, RUN_64 };
enum run_way run_best(void);

/* Steps over escapes and characters of any kind in the text of a string, and counts those of 2, 3 and 4 bytes. Returns
 * where something begins that it leaves to the machine: the closing quote, a fault, or what may not end before the last 64
 * bytes; p when it cannot help. from: where the bytes in front of p that may be read begin. */
const char *run_text(enum run_way way, const char *p, const char *from, const char *end, uint64_t n_utf8[3]);

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
