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

enum {
    NOTES = 60, /* blocks; each place of a vector is counted in a byte, and a block has at most four vectors */
    STEP = 53,  /* bytes: a block is left there or later, where escapes begin that do not end in it */
    REACH = (NOTES - 1) * STEP, /* so far may the last of these blocks begin from the first */
};

/* What the first look tells the second: the blocks in which characters beyond ASCII stand, or right before which one ends. */
struct notes {
    size_t n;
    const char *at[NOTES];
    uint64_t beyond[3]; /* characters of 2, 3 and 4 bytes in these blocks that the first look did not come to */
};

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
#define SAME(c) { EIGHT(c), EIGHT(c) }

static const struct tables {
    uint8_t escape64[64];
    uint8_t slash[16], r[16], escape[16], swap[16], blank[16], top[16], third[16], fourth[16];
    uint8_t upper[16], lower[16], next[16], two[16], three[16], four[16];
} tables __attribute__((aligned(64))) = {
    .slash = SAME('\\'),
    /* By the lower half. '"', 'b' and 'r' would share their place: r is looked for apart, b is left to unicode. */
    .escape = { 255, 255, '"', 255, 't', 255, 'f', 255, FOUR(255), '\\', 255, 'n', '/' },
    .r = SAME('r'),
    /* By the lower six bits. */
    .escape64 = { [0] = 255, [0x1c] = '\\', [0x22] = '"', [0x26] = 'f', [0x2e] = 'n', [0x2f] = '/', [0x32] = 'r',
                  [0x34] = 't' },
    /* With this bit turned over, the quote stands at 0x20, next to the controls. */
    .swap = SAME('"' ^ 0x20),
    .blank = SAME(0x20),
    .top = SAME(0x80),
    .third = SAME(0xe0 - 0x80), /* the top bit stays when a byte less this is at least 0x80 */
    .fourth = SAME(0xf0 - 0x80),
    .upper = { EIGHT(LONG), FOUR(TWO), SHORT | OVER2, SHORT, SHORT | OVER3 | HALF, SHORT | OVER4 | LARGE },
    .lower = { ANY | OVER2 | OVER3 | OVER4, ANY | OVER2, ANY, ANY, ANY | LARGE, VAST, VAST, VAST, FOUR(VAST), VAST, VAST | HALF,
               VAST, VAST },
    .next = { EIGHT(SHORT), LONG | TWO | OVER2 | OVER3 | OVER4, LONG | TWO | OVER2 | OVER3 | LARGE,
              LONG | TWO | OVER2 | HALF | LARGE, LONG | TWO | OVER2 | HALF | LARGE, FOUR(SHORT) },
    /* By the upper half: what begins a character of so many bytes. */
    .two = { [0xc] = 1, [0xd] = 1 },
    .three = { [0xe] = 1 },
    .four = { [0xf] = 1 },
};

#endif

#if defined(__x86_64__)

#define HOLD(x) __asm__("" : "+v"(x))

/* Frames of the address sanitizer's own stack are aligned to less than these vectors need. */
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vbmi,bmi,popcnt"), no_sanitize_address))
#define VEC __m512i
#define BITS __mmask64
#define WIDTH 64
#define VECS 1
#define LOAD(p) _mm512_loadu_si512((const void *)(p))
#define ROW(p) _mm512_broadcast_i32x4(_mm_load_si128((const void *)(p)))
#define ALL(c) _mm512_set1_epi8((char)(c))
#define OR(x, y) _mm512_or_si512(x, y)
#define AND(x, y) _mm512_and_si512(x, y)
#define XOR(x, y) _mm512_xor_si512(x, y)
#define ADD(x, y) _mm512_add_epi8(x, y)
#define LESS(x, y) _mm512_subs_epu8(x, y)
#define UPPER(x) _mm512_and_si512(_mm512_srli_epi16(x, 4), ALL(15))
#define LOOKUP(table, x) _mm512_shuffle_epi8(table, x)
#define EQUAL(x, y) _mm512_cmpeq_epi8_mask(x, y)
#define BELOW(x, y) _mm512_cmplt_epi8_mask(x, y)
#define AT_MOST(x, y) _mm512_cmple_epu8_mask(x, y)
#define ESCAPABLE(x, t) EQUAL(x, _mm512_permutexvar_epi8(x, LOAD((t)->escape64)))
#define HIGH(x) _mm512_movepi8_mask(x)
#define IS_ZERO(x) (_mm512_test_epi8_mask(x, x) == 0)
#define IS_ASCII(x) (_mm512_movepi8_mask(x) == 0)

TARGET static inline uint64_t set_avx512(const __mmask64 bits[1]) {
    uint64_t set = bits[0];
    __asm__("" : "+r"(set)); /* else the compiler carries other sets to where the comparisons are, and back */
    return set;
}

TARGET static inline uint64_t sum_avx512(__m512i x) {
    return (uint64_t)_mm512_reduce_add_epi64(_mm512_sad_epu8(x, _mm512_setzero_si512()));
}

#include "llm/scan_text.h"

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,bmi,popcnt")))
#define VEC __m256i
#define BITS VEC
#define WIDTH 32
#define VECS 2
#define LOAD(p) _mm256_loadu_si256((const void *)(p))
#define ROW(p) _mm256_broadcastsi128_si256(_mm_load_si128((const void *)(p)))
#define ALL(c) _mm256_set1_epi8((char)(c))
#define OR(x, y) _mm256_or_si256(x, y)
#define AND(x, y) _mm256_and_si256(x, y)
#define XOR(x, y) _mm256_xor_si256(x, y)
#define ADD(x, y) _mm256_add_epi8(x, y)
#define LESS(x, y) _mm256_subs_epu8(x, y)
#define UPPER(x) _mm256_and_si256(_mm256_srli_epi16(x, 4), ALL(15))
#define LOOKUP(table, x) _mm256_shuffle_epi8(table, x)
#define EQUAL(x, y) _mm256_cmpeq_epi8(x, y)
#define BELOW(x, y) _mm256_cmpgt_epi8(y, x)
#define AT_MOST(x, y) _mm256_cmpeq_epi8(x, _mm256_min_epu8(x, y))
#define HIGH(x) (x)
#define IS_ZERO(x) _mm256_testz_si256(x, x)
#define IS_ASCII(x) (_mm256_movemask_epi8(x) == 0)

/* The top bits of the bytes. */
TARGET static inline uint64_t set_avx2(const __m256i bits[2]) {
    return (uint64_t)(unsigned)_mm256_movemask_epi8(bits[0]) | (uint64_t)(unsigned)_mm256_movemask_epi8(bits[1]) << 32;
}

TARGET static inline uint64_t sum_avx2(__m256i x) {
    __m256i sums = _mm256_sad_epu8(x, _mm256_setzero_si256());
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    return (uint64_t)(_mm_extract_epi64(two, 0) + _mm_extract_epi64(two, 1));
}

#include "llm/scan_text.h"

#define NAME(x) x##_sse4
#define TARGET __attribute__((target("sse4.1,popcnt")))
#define VEC __m128i
#define BITS VEC
#define WIDTH 16
#define VECS 4
#define LOAD(p) _mm_loadu_si128((const void *)(p))
#define ROW(p) _mm_load_si128((const void *)(p))
#define ALL(c) _mm_set1_epi8((char)(c))
#define OR(x, y) _mm_or_si128(x, y)
#define AND(x, y) _mm_and_si128(x, y)
#define XOR(x, y) _mm_xor_si128(x, y)
#define ADD(x, y) _mm_add_epi8(x, y)
#define LESS(x, y) _mm_subs_epu8(x, y)
#define UPPER(x) _mm_and_si128(_mm_srli_epi16(x, 4), ALL(15))
#define LOOKUP(table, x) _mm_shuffle_epi8(table, x)
#define EQUAL(x, y) _mm_cmpeq_epi8(x, y)
#define BELOW(x, y) _mm_cmplt_epi8(x, y)
#define AT_MOST(x, y) _mm_cmpeq_epi8(x, _mm_min_epu8(x, y))
#define HIGH(x) (x)
#define IS_ZERO(x) _mm_testz_si128(x, x)
#define IS_ASCII(x) (_mm_movemask_epi8(x) == 0)

TARGET static inline uint64_t set_sse4(const __m128i bits[4]) {
    uint64_t set = 0;
    for (unsigned i = 0; i < 4; i++)
        set |= (uint64_t)(unsigned)_mm_movemask_epi8(bits[i]) << (i * 16);
    return set;
}

TARGET static inline uint64_t sum_sse4(__m128i x) {
    __m128i two = _mm_sad_epu8(x, _mm_setzero_si128());
    return (uint64_t)(_mm_extract_epi64(two, 0) + _mm_extract_epi64(two, 1));
}

#include "llm/scan_text.h"

/* Processors with AVX-512 VBMI do not lower their clock for long vectors; some older ones with the rest of AVX-512 do. */
enum run_way run_best(void) {
    if (!__builtin_cpu_supports("popcnt") || !__builtin_cpu_supports("sse4.1"))
        return RUN_BYTES;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi"))
        return RUN_16;
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") ? RUN_64 : RUN_32;
}

const char *run_text(enum run_way way, const char *p, const char *from, const char *end, uint64_t n_utf8[3]) {
    if (p - from < 3 || end - p < RUN_BLOCK)
        return p;
    switch (way) {
    case RUN_64: return text_avx512(p, end, n_utf8);
    case RUN_32: return text_avx2(p, end, n_utf8);
    case RUN_16: return text_sse4(p, end, n_utf8);
    default: return p;
    }
}

#elif !defined(NO_VECTORS)

#define HOLD(x) __asm__("" : "+w"(x))

#define NAME(x) x##_neon
#define TARGET
#define VEC uint8x16_t
#define BITS VEC
#define WIDTH 16
#define VECS 4
#define LOAD(p) vld1q_u8((const void *)(p))
#define ROW(p) vld1q_u8(p)
#define ALL(c) vdupq_n_u8((uint8_t)(c))
#define OR(x, y) vorrq_u8(x, y)
#define AND(x, y) vandq_u8(x, y)
#define XOR(x, y) veorq_u8(x, y)
#define ADD(x, y) vaddq_u8(x, y)
#define LESS(x, y) vqsubq_u8(x, y)
#define UPPER(x) vshrq_n_u8(x, 4)
#define LOOKUP(table, x) vqtbl1q_u8(table, vandq_u8(x, ALL(15)))
#define EQUAL(x, y) vceqq_u8(x, y)
#define BELOW(x, y) vcltq_s8(vreinterpretq_s8_u8(x), vreinterpretq_s8_u8(y))
#define AT_MOST(x, y) vcleq_u8(x, y)
#define HIGH(x) (x)
#define IS_ZERO(x) (vmaxvq_u8(x) == 0)
#define IS_ASCII(x) (vmaxvq_u8(x) < 0x80)

static inline uint64_t set_neon(const uint8x16_t bits[4]) {
    const uint8x16_t place = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    uint8x16_t in[4];
    for (unsigned i = 0; i < 4; i++)
        in[i] = vandq_u8(vcltzq_s8(vreinterpretq_s8_u8(bits[i])), place);
    uint8x16_t two = vpaddq_u8(vpaddq_u8(in[0], in[1]), vpaddq_u8(in[2], in[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(two, two)), 0);
}

static inline uint64_t sum_neon(uint8x16_t x) {
    return vaddlvq_u8(x);
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
