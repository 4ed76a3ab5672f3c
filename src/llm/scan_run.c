/* llm/scan_run.c - the instructions that scan_text.h is made of, and its tables. */
#include "llm/scan_run.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <arm_neon.h>
#else
#define NO_VECTORS
#endif

#ifndef NO_VECTORS

#define FROM(bit) (~0ull << (bit))
enum { STRETCH = 32 }; /* blocks: where one character is beyond ASCII there will be more */

/* What may be wrong with two bytes in a row, as told by the upper half of the first, its lower half, and the upper half of
 * the second. It is wrong when all three say so. */
enum {
    SHORT = 1,  /* a first byte, and then none that continues it */
    LONG = 2,   /* ASCII, and then a byte that continues */
    OVER2 = 4,  /* c0 or c1 */
    OVER3 = 8,  /* e0 80 to e0 9f */
    OVER4 = 16, /* f0 80 to f0 8f, and f5 to ff before 80 to 8f */
    LARGE = 32, /* f4 to ff before 90 to bf */
    HALF = 64,  /* ed a0 to ed bf, a surrogate */
    TWO = 128,  /* both continue, which is right where a third or fourth byte is due */
    ANY = SHORT | LONG | TWO,
    VAST = ANY | LARGE | OVER4,
};

#define FOUR(c) c, c, c, c
#define EIGHT(c) FOUR(c), FOUR(c)
#define TWICE(...) { { __VA_ARGS__, __VA_ARGS__ } }
#define SAME(c) TWICE(EIGHT(c), EIGHT(c))

static const struct tables {
    struct {
        uint8_t of[32]; /* the second half is as the first */
    } quote, slash, r, control, escape, c0, e0, f0, top, third, fourth, upper, lower, next;
} tables __attribute__((aligned(32))) = {
    .quote = SAME('"'),
    .slash = SAME('\\'),
    .control = SAME(0x1f),
    .c0 = SAME(0xc0),
    .e0 = SAME(0xe0),
    .f0 = SAME(0xf0),
    .top = SAME(0x80),
    .third = SAME(0xe0 - 0x80), /* the top bit stays when a byte less this is at least 0x80 */
    .fourth = SAME(0xf0 - 0x80),
    /* By the lower half; '"' and 'r' would share their place with 'b'. */
    .escape = TWICE(255, 255, 'b', 255, 't', 255, 'f', 255, FOUR(255), '\\', 255, 'n', '/'),
    .r = SAME('r'),
    .upper = TWICE(EIGHT(LONG), FOUR(TWO), SHORT | OVER2, SHORT, SHORT | OVER3 | HALF, SHORT | OVER4 | LARGE),
    .lower = TWICE(ANY | OVER2 | OVER3 | OVER4, ANY | OVER2, ANY, ANY, ANY | LARGE, VAST, VAST, VAST, FOUR(VAST), VAST, VAST | HALF,
                   VAST, VAST),
    .next = TWICE(EIGHT(SHORT), LONG | TWO | OVER2 | OVER3 | OVER4, LONG | TWO | OVER2 | OVER3 | LARGE,
                  LONG | TWO | OVER2 | HALF | LARGE, LONG | TWO | OVER2 | HALF | LARGE, FOUR(SHORT)),
};

#endif

#if defined(__x86_64__)

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,bmi,popcnt")))
#define VEC __m256i
#define WIDTH 32
#define VECS 2
#define LOAD(p) _mm256_loadu_si256((const void *)(p))
#define ALL(c) _mm256_set1_epi8((char)(c))
#define OR(x, y) _mm256_or_si256(x, y)
#define AND(x, y) _mm256_and_si256(x, y)
#define XOR(x, y) _mm256_xor_si256(x, y)
#define EQUAL(x, y) _mm256_cmpeq_epi8(x, y)
#define BELOW(x, y) _mm256_cmpgt_epi8(y, x)
#define AT_MOST(x, y) _mm256_cmpeq_epi8(x, _mm256_min_epu8(x, y))
#define LESS(x, y) _mm256_subs_epu8(x, y)
#define UPPER(x) _mm256_and_si256(_mm256_srli_epi16(x, 4), ALL(15))
#define LOOKUP(table, x) _mm256_shuffle_epi8(table, x)
#define IS_ZERO(x) _mm256_testz_si256(x, x)

struct block_avx2 {
    VEC v[VECS];
};

/* The top bits of the bytes. */
TARGET static inline uint64_t set_avx2(struct block_avx2 b) {
    return (uint64_t)(unsigned)_mm256_movemask_epi8(b.v[0]) | (uint64_t)(unsigned)_mm256_movemask_epi8(b.v[1]) << 32;
}

#include "llm/scan_text.h"

#define NAME(x) x##_sse4
#define TARGET __attribute__((target("sse4.1,popcnt")))
#define VEC __m128i
#define WIDTH 16
#define VECS 4
#define LOAD(p) _mm_loadu_si128((const void *)(p))
#define ALL(c) _mm_set1_epi8((char)(c))
#define OR(x, y) _mm_or_si128(x, y)
#define AND(x, y) _mm_and_si128(x, y)
#define XOR(x, y) _mm_xor_si128(x, y)
#define EQUAL(x, y) _mm_cmpeq_epi8(x, y)
#define BELOW(x, y) _mm_cmplt_epi8(x, y)
#define AT_MOST(x, y) _mm_cmpeq_epi8(x, _mm_min_epu8(x, y))
#define LESS(x, y) _mm_subs_epu8(x, y)
#define UPPER(x) _mm_and_si128(_mm_srli_epi16(x, 4), ALL(15))
#define LOOKUP(table, x) _mm_shuffle_epi8(table, x)
#define IS_ZERO(x) _mm_testz_si128(x, x)

struct block_sse4 {
    VEC v[VECS];
};

TARGET static inline uint64_t set_sse4(struct block_sse4 b) {
    uint64_t bits = 0;
    for (unsigned i = 0; i < VECS; i++)
        bits |= (uint64_t)(unsigned)_mm_movemask_epi8(b.v[i]) << (i * WIDTH);
    return bits;
}

#include "llm/scan_text.h"

enum run_way run_best(void) {
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt"))
        return RUN_32;
    return __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("popcnt") ? RUN_16 : RUN_BYTES;
}

const char *run_text(enum run_way way, const char *p, const char *from, const char *end, uint64_t n_utf8[3]) {
    if (way == RUN_BYTES || p - from < 3 || end - p < RUN_BLOCK)
        return p;
    return way == RUN_32 ? text_avx2(p, end, n_utf8) : text_sse4(p, end, n_utf8);
}

#elif !defined(NO_VECTORS)

#define NAME(x) x##_neon
#define TARGET
#define VEC uint8x16_t
#define WIDTH 16
#define VECS 4
#define LOAD(p) vld1q_u8((const void *)(p))
#define ALL(c) vdupq_n_u8((uint8_t)(c))
#define OR(x, y) vorrq_u8(x, y)
#define AND(x, y) vandq_u8(x, y)
#define XOR(x, y) veorq_u8(x, y)
#define EQUAL(x, y) vceqq_u8(x, y)
#define BELOW(x, y) vcltq_s8(vreinterpretq_s8_u8(x), vreinterpretq_s8_u8(y))
#define AT_MOST(x, y) vcleq_u8(x, y)
#define LESS(x, y) vqsubq_u8(x, y)
#define UPPER(x) vshrq_n_u8(x, 4)
#define LOOKUP(table, x) vqtbl1q_u8(table, vandq_u8(x, ALL(15)))
#define IS_ZERO(x) (vmaxvq_u8(x) == 0)

struct block_neon {
    VEC v[VECS];
};

static inline uint64_t set_neon(struct block_neon b) {
    const VEC bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    for (unsigned i = 0; i < VECS; i++)
        b.v[i] = AND(BELOW(b.v[i], ALL(0)), bit);
    VEC two = vpaddq_u8(vpaddq_u8(b.v[0], b.v[1]), vpaddq_u8(b.v[2], b.v[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(two, two)), 0);
}

#include "llm/scan_text.h"

enum run_way run_best(void) {
    return RUN_16;
}

const char *run_text(enum run_way way, const char *p, const char *from, const char *end, uint64_t n_utf8[3]) {
    return way == RUN_BYTES || p - from < 3 || end - p < RUN_BLOCK ? p : text_neon(p, end, n_utf8);
}

#else

enum run_way run_best(void) {
    return RUN_BYTES;
}

const char *run_text(enum run_way way, const char *p, const char *from, const char *end, uint64_t n_utf8[3]) {
    (void)way;
    (void)from;
    (void)end;
    (void)n_utf8;
    return p;
}

#endif
