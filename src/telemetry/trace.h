/* telemetry/trace.h - W3C Trace Context, and a finished request as a trace: one span for it, one below for each attempt.
 *
 * Never what was said: names, numbers and times only. */
#ifndef DROVER_TELEMETRY_TRACE_H
#define DROVER_TELEMETRY_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sv.h"
#include "telemetry/record.h"

enum {
    TRACE_ID = 16,         /* bytes */
    TRACE_SPAN = 8,
    TRACE_PARENT_TEXT = 56, /* of a traceparent of version 00, with the NUL */
};
enum { TRACE_SAMPLED = 1, TRACE_RANDOM = 2 }; /* flags (level 2 knows the second) */

struct trace_parent {
    uint8_t trace[TRACE_ID], span[TRACE_SPAN];
    uint8_t flags; /* only those above */
};

/* The value of a traceparent field: Trace Context level 2, section 3.2. Of a later version what 00 has is read. False: it is not
 * valid, and counts as absent. */
bool trace_parent_read(struct sv text, struct trace_parent *ret);
char *trace_parent_text(const struct trace_parent *p, char text[static TRACE_PARENT_TEXT]);

/* One attempt at a runtime. Moments are monotonic microseconds. */
struct trace_attempt {
    const struct trace_attempt *next;
    uint8_t span[TRACE_SPAN];
    struct sv endpoint, runtime, model; /* model: the runtime's own id */
    struct sv host;            /* with its port, as in a Host field */
    uint64_t start_us, end_us;
    uint64_t first_us;         /* of output; 0: none came */
    int status;                /* of its reply; 0: none came */
    struct sv error;           /* what failed; empty: nothing did */
};

/* A finished request. Views are borrowed. */
struct trace {
    struct trace_parent own;   /* its trace, its own span, its flags */
    uint8_t parent[TRACE_SPAN];
    bool has_parent;           /* the client's span, in the same trace */
    struct sv state;           /* tracestate; often empty */
    struct sv method;
    struct sv operation;       /* gen_ai.operation.name */
    struct request_record r;
    const struct trace_attempt *attempts; /* oldest first */
};

#endif
