/* telemetry/otlp.h - traces and metrics in the words of OTLP/HTTP's JSON encoding. Pure: no socket, no clock, no lock.
 *
 * Names are OpenTelemetry's semantic conventions, the GenAI ones of the latest draft (the reference on metering, section 11). A
 * request is a span of kind SERVER, each of its attempts one of kind CLIENT below it. Metrics are cumulative histograms; their
 * series are bounded, and what finds no place is counted under otel.metric.overflow. */
#ifndef DROVER_TELEMETRY_OTLP_H
#define DROVER_TELEMETRY_OTLP_H

#include "base/buf.h"
#include "base/mem.h"
#include "telemetry/trace.h"

/* Who tells it. Borrowed during each call. */
struct otlp_source {
    struct sv version, node;
};

/* A body for /v1/traces: begin, any number of traces, end. All false when it does not fit or memory is out; a trace that did not fit
 * leaves the body as it was before. */
bool otlp_traces_begin(struct buf *out, const struct otlp_source *from);
bool otlp_traces_add(struct buf *out, const struct trace *t, bool is_first);
bool otlp_traces_end(struct buf *out);
/* Spans of one trace. */
unsigned otlp_spans(const struct trace *t);

/* What requests came to since the meter began. */
struct otlp_meter;
struct otlp_meter *otlp_meter_new(unsigned series_max, uint64_t now_ns) MUST_CHECK;
void otlp_meter_free(struct otlp_meter *m); /* NULL is fine */
/* Sampled or not. */
void otlp_meter_add(struct otlp_meter *m, const struct trace *t);
/* A body for /v1/metrics. *ret_any: there was something to tell. */
bool otlp_metrics(struct buf *out, const struct otlp_meter *m, const struct otlp_source *from, uint64_t now_ns, bool *ret_any);

/* The answer of a collector that took the body: how many it did not want of it (member "rejectedSpans" or "rejectedDataPoints"),
 * and why, in text of at most size bytes with its NUL. */
uint64_t otlp_rejected(struct sv reply, const char *member, char *ret_why, size_t size);

#endif
