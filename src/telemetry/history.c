#include "telemetry/history.h"

struct history {
    struct metrics *metrics;
    struct metrics_totals last;
    bool has_last;
    struct history_point points[HISTORY_POINTS];
    unsigned next, n;
};

struct history *history_new(struct metrics *m) {
    struct history *h = mem_new(sizeof *h);
    if (h)
        h->metrics = m;
    return h;
}

void history_free(struct history *h) {
    mem_free(h);
}

/* Within the class in which it falls, as if its members were spread evenly. The last class has no end: its beginning is told. */
static uint32_t percentile_ms(const uint64_t n[static METRICS_FIRST_TOKEN], double share) {
    uint64_t total = 0, below = 0;
    double low = 0;
    for (unsigned i = 0; i < METRICS_FIRST_TOKEN; i++)
        total += n[i];
    for (unsigned i = 0; total && i < METRICS_FIRST_TOKEN; i++) {
        double high = metrics_first_token_s(i), rank = share * (double)total;
        if ((double)(below + n[i]) >= rank && n[i]) {
            double at = high > 0 ? low + (high - low) * (rank - (double)below) / (double)n[i] : low;
            return (uint32_t)(at * 1000 + 0.5);
        }
        below += n[i];
        low = high > 0 ? high : low;
    }
    return 0;
}

const struct history_point *history_step(struct history *h, uint64_t wall_ms) {
    struct metrics_totals now;
    struct history_point *p = &h->points[h->next];
    uint64_t first[METRICS_FIRST_TOKEN];
    metrics_totals(h->metrics, &now);
    const struct metrics_totals *was = h->has_last ? &h->last : &now; /* what was before the first look belongs to no second */
    for (unsigned i = 0; i < METRICS_FIRST_TOKEN; i++)
        first[i] = now.first_token[i] - was->first_token[i];
    *p = (struct history_point){
        .at_ms = wall_ms,
        .requests = (uint32_t)(now.requests - was->requests),
        .failed = (uint32_t)(now.failed - was->failed),
        .in_flight = (uint32_t)now.in_flight,
        .queued = (uint32_t)now.queued,
        .input_tokens = now.input_tokens - was->input_tokens,
        .output_tokens = now.output_tokens - was->output_tokens,
        .first_p50_ms = percentile_ms(first, 0.5),
        .first_p95_ms = percentile_ms(first, 0.95),
    };
    h->last = now;
    h->has_last = true;
    h->next = (h->next + 1) % HISTORY_POINTS;
    h->n += h->n < HISTORY_POINTS;
    return p;
}

const struct history_point *history_at(const struct history *h, unsigned i) {
    return i < h->n ? &h->points[(h->next + HISTORY_POINTS - h->n + i) % HISTORY_POINTS] : NULL;
}
