/* telemetry/export.h - finished requests on their way to an OpenTelemetry collector, by OTLP/HTTP with JSON bodies.
 *
 * Workers add to batches of their own and hand each over whole; the control loop counts them into histograms, and sends what was
 * sampled as spans when there is enough of it or telemetry.otlp.interval has passed, the histograms with each interval. What the
 * collector does not take now (no connection, 429, 502, 503, 504) is tried again later and later, or when it said so. Meanwhile
 * what is new waits up to limits.otlp.*, and is dropped and counted beyond: no request ever waits for a collector.
 * Life: export_new -> export_set -> export_shard_new per worker -> export_add... -> export_shard_free -> export_finish ->
 * export_free. */
#ifndef DROVER_TELEMETRY_EXPORT_H
#define DROVER_TELEMETRY_EXPORT_H

#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"
#include "io/loop.h"
#include "telemetry/trace.h"

struct export;
struct export_shard;

/* Control loop. Nothing is sent before export_set. Copies. */
struct export *export_new(struct loop *l, struct sv version, struct sv node, struct err *e) MUST_CHECK;
/* New settings, in force at once. Shares c. False: the address cannot be used, and nothing is sent until there is another. */
bool export_set(struct export *x, struct config *c, struct err *e);
/* After the workers have ended: sends what waits, for up to deadline_ms. Runs the loop. */
void export_finish(struct export *x, unsigned deadline_ms);
void export_free(struct export *x); /* NULL is fine */

/* The worker's part; l is its loop. */
struct export_shard *export_shard_new(struct export *x, struct loop *l) MUST_CHECK;
/* Worker's thread. Copies. */
void export_add(struct export_shard *s, const struct trace *t);
/* After the worker has ended, any thread. */
void export_shard_free(struct export_shard *s);

/* Any thread: the figures for /metrics; nothing while nothing was ever exported. */
bool export_print(const struct export *x, struct buf *out);

#endif
