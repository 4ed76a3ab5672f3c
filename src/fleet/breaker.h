/* fleet/breaker.h - private to fleet: when to stop sending requests to a place, and when to try again.
 *
 * A pure machine: it is told the place's counters and the time and answers with the word for cell.breaker. Counters only
 * ever grow; the breaker works on their differences, so it may be ticked at any pace. */
#ifndef DROVER_FLEET_BREAKER_H
#define DROVER_FLEET_BREAKER_H

#include "fleet/fleet.h"

enum {
    BREAKER_ROW = 5,             /* failures in a row that open it */
    BREAKER_OUTCOMES = 20,       /* or so many outcomes ... */
    BREAKER_PERCENT = 50,        /* ... of which this many failed ... */
    BREAKER_WINDOW_MS = 10000,   /* ... within this time */
    BREAKER_SLOTS = 10,          /* the window's resolution */
    BREAKER_OPEN_MS = 1000,      /* the first time; doubled each time it opens again */
    BREAKER_OPEN_MAX_MS = 60000,
    BREAKER_TRIALS = 2,          /* good ones that close it */
};

struct breaker {
    enum breaker_word word;
    uint64_t until_ms;           /* while open */
    uint32_t open_ms;            /* how long the last opening was */
    unsigned n_good;             /* trials that went well */
    uint64_t seen_ok, seen_failed;
    struct { uint64_t slot, ok, failed; } window[BREAKER_SLOTS];
};

struct breaker_counts {
    uint64_t n_ok, n_failed;
    uint32_t failed_in_row;
};

/* jitter: random bits. True when word changed. */
bool breaker_tick(struct breaker *b, struct breaker_counts now, uint64_t now_ms, uint32_t jitter);
/* Forgets everything but the counters: the place was started afresh. */
void breaker_reset(struct breaker *b, struct breaker_counts now);

#endif
