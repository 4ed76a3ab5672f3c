/* telemetry/metrics.h - counters and histograms, one shard per worker, merged when somebody scrapes.
 *
 * A shard is written by its own thread only, without locks; any thread may read it through metrics_print. Series are made
 * on first use and never go, up to metrics.series_per_name; later label sets are folded into "other". Labels come from
 * configuration and inventory, never from requests: an unknown model is "other". */
#ifndef DROVER_TELEMETRY_METRICS_H
#define DROVER_TELEMETRY_METRICS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "telemetry/record.h"

struct metrics_shard;
struct metrics; /* all shards of the process */

struct metrics *metrics_new(unsigned n_shards, unsigned series_max) MUST_CHECK;
void metrics_free(struct metrics *m);
struct metrics_shard *metrics_shard(struct metrics *m, unsigned i); /* borrowed until metrics_free */

/* A request has ended. */
void metrics_request(struct metrics_shard *s, const struct request_record *r);
/* A request was sent to a runtime and what came of it: reason "ok", "connect", "status", "reply", "timeout", ... (literals). */
void metrics_attempt(struct metrics_shard *s, struct sv endpoint, const char *reason);
/* A gap between two output events, of one stream. Called for every event: must cost next to nothing. slug and runtime pick
 * the series; keep the handle over a stream. */
struct metrics_itl;
struct metrics_itl *metrics_itl(struct metrics_shard *s, struct sv slug, struct sv runtime); /* NULL when memory is out */
void metrics_gap(struct metrics_itl *h, uint64_t us);
/* +1 / -1. */
void metrics_in_flight(struct metrics_shard *s, int by);
void metrics_queued(struct metrics_shard *s, int by);
void metrics_connections(struct metrics_shard *s, int by);
/* A limit turned something away or ended it. LIMIT_NONE is nothing. */
void metrics_limit(struct metrics_shard *s, enum err_limit limit);

/* A gauge read at the time of the scrape. */
struct metrics_place {
    struct sv endpoint, runtime;
    bool up;
    uint32_t running, waiting;
    int breaker;
};
/* Appends the Prometheus text format (version 0.0.4), all series of metering.md section 9 that exist. Any thread. */
bool metrics_print(struct metrics *m, const struct metrics_place *places, size_t n_places, struct buf *out);

/* Sums for `drover status` and the console. */
enum { METRICS_FIRST_TOKEN = 24 };
struct metrics_totals {
    uint64_t requests, failed, cancelled, in_flight, queued, connections;
    uint64_t input_tokens, output_tokens;
    uint64_t first_token[METRICS_FIRST_TOKEN]; /* requests by their time to the first token, see metrics_first_token_s */
};
/* Upper end of a class of first_token in seconds; 0 past the last one that has an end. */
double metrics_first_token_s(unsigned i);
void metrics_totals(struct metrics *m, struct metrics_totals *ret);

#endif
