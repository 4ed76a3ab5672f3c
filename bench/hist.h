/* bench/hist.h - a histogram of durations with 64 steps for each power of two: a value read back is at most 1.6 % low,
 * whether it is a microsecond or a minute. In memory the caller provides; all zero is empty. */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

enum { HIST_BITS = 6, HIST_STEPS = 1 << HIST_BITS, HIST_BUCKETS = (64 - HIST_BITS + 1) * HIST_STEPS };

struct hist {
    uint64_t n;
    uint64_t count[HIST_BUCKETS];
};

/* Below 2 * HIST_STEPS a value is its own bucket; above, the leading HIST_BITS + 1 bits choose. */
static inline void hist_add(struct hist *h, uint64_t v) {
    unsigned shift = 0;
    if (v >= HIST_STEPS) {
        shift = 63U - (unsigned)__builtin_clzll(v) - HIST_BITS;
        v = (v >> shift) + (uint64_t)shift * HIST_STEPS;
    }
    h->count[v]++;
    h->n++;
}

/* The value below or at which `share` (0..1) of all values lie; 0 when there are none. */
static inline uint64_t hist_at(const struct hist *h, double share) {
    uint64_t want = (uint64_t)(share * (double)h->n), seen = 0;
    for (uint64_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->count[i];
        if (h->count[i] && seen >= want) {
            uint64_t shift = i < 2 * HIST_STEPS ? 0 : i / HIST_STEPS - 1;
            return (i - shift * HIST_STEPS) << shift;
        }
    }
    return 0;
}

#endif
