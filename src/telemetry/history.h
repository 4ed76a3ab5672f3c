/* telemetry/history.h - the last quarter of an hour, second by second: what the console draws. Control loop only. */
#ifndef DROVER_TELEMETRY_HISTORY_H
#define DROVER_TELEMETRY_HISTORY_H

#include "telemetry/metrics.h"

enum { HISTORY_POINTS = 900, HISTORY_STEP_MS = 1000 };

/* Requests, failures and tokens of that second; the rest is as it was at its end. Percentiles are 0 where nothing began to answer. */
struct history_point {
    uint64_t at_ms; /* wall clock; 0: none */
    uint32_t requests, failed, in_flight, queued;
    uint64_t input_tokens, output_tokens;
    uint32_t first_p50_ms, first_p95_ms;
};

struct history;
struct history *history_new(struct metrics *m) MUST_CHECK; /* borrows m until history_free */
void history_free(struct history *h);
/* Once a second. Returns the new point, borrowed until the next. */
const struct history_point *history_step(struct history *h, uint64_t wall_ms);
/* The i-th of those there are, oldest first; NULL past the last. */
const struct history_point *history_at(const struct history *h, unsigned i);

#endif
