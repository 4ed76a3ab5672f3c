/* telemetry/record.h - what is known about one finished request: the line that metrics, ledger and events are made of. */
#ifndef DROVER_TELEMETRY_RECORD_H
#define DROVER_TELEMETRY_RECORD_H

#include "base/sv.h"

#define REQUEST_RESULTS(X)                                                           \
    X(RESULT_OK, "ok")                                                               \
    X(RESULT_CLIENT_ERROR, "client_error")     /* the runtime or Drover answered 4xx */ \
    X(RESULT_UPSTREAM_ERROR, "upstream_error")                                       \
    X(RESULT_CANCELLED, "cancelled")           /* the client left */                 \
    X(RESULT_REJECTED, "rejected")             /* never sent to a runtime */
#define X(id, text) id,
enum request_result { REQUEST_RESULTS(X) };
#undef X
const char *request_result_name(enum request_result r);

/* Where a token count comes from. */
#define TOKEN_SOURCES(X)                                                             \
    X(TOKENS_NONE, "none")                                                           \
    X(TOKENS_REPORTED, "reported")                                                   \
    X(TOKENS_COUNTED, "counted")                                                     \
    X(TOKENS_ESTIMATED, "estimated")                                                 \
    X(TOKENS_PARTIAL, "partial")
#define X(id, text) id,
enum token_source { TOKEN_SOURCES(X) };
#undef X
const char *token_source_name(enum token_source s);

/* What a cost was worked out from (telemetry/cost.h). */
#define COST_SOURCES(X)                                                              \
    X(COST_NONE, "none")                       /* nothing was used, or it is unknown */ \
    X(COST_PRICE, "price")                                                           \
    X(COST_ENERGY, "energy")
#define X(id, text) id,
enum cost_source { COST_SOURCES(X) COST_SOURCE_N };
#undef X
const char *cost_source_name(enum cost_source s);

/* Views are borrowed for the call that gets the record. Moments are monotonic microseconds, 0 = never came. */
struct request_record {
    struct sv id;                      /* x-request-id */
    struct sv key;                     /* id of the API key, or a person's name; empty: nobody in particular */
    struct sv key_name;                /* as it is called now; the ledger keeps the id alone */
    struct sv slug, model, endpoint, runtime, dialect, api; /* api: its path */
    uint64_t ended_ms;                 /* wall clock */
    enum request_result result;
    int status;                        /* sent to the client; 499 when it left before one was sent */
    bool stream;
    bool is_from_hub;                  /* our hub asked for it, over the link, and has a record of its own */
    unsigned attempts;                 /* at runtimes */
    uint64_t received_us, body_us, sent_us, first_us, last_us, done_us;
    uint64_t queue_us;                 /* spent waiting for room; a duration */
    int64_t input, cached, output, reasoning; /* tokens; -1 = unknown */
    enum token_source input_source, output_source;
    int64_t cost;                      /* millionths of the currency; -1 = unknown */
    enum cost_source cost_source;
    uint64_t bytes_in, bytes_out;      /* bodies */
    bool burst;                        /* all output came in one read: no inter-token times */
    uint32_t anomalies;                /* bits of llm/meter.h */
};

#endif
