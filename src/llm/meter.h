/* llm/meter.h - counting along with a reply: tokens, times, and how it ended.
 *
 * Life: meter_init -> meter_event per event of a stream, or meter_body with the bytes of a whole reply -> meter_end,
 * which settles the counts and frees what meter_body took. Time comes in as microseconds of a clock that never goes
 * back. Counts are what the runtime reported, else estimated, and each side says which. Rules and names: the reference
 * on metering, sections 1 to 6. */
#ifndef DROVER_LLM_METER_H
#define DROVER_LLM_METER_H

#include "llm/llm.h"

struct scan;

enum meter_source {
    METER_NONE,      /* nothing was spent */
    METER_REPORTED,  /* by the runtime */
    METER_COUNTED,   /* with the runtime's tokenizer, by whoever asks it; never set here */
    METER_ESTIMATED, /* from text */
    METER_PARTIAL,   /* reported, but the answer went on after it */
};

/* What one event was. */
enum meter_flag {
    METER_OUTPUT = 1 << 0,     /* carries text, reasoning or a tool call */
    METER_USAGE = 1 << 1,      /* has a usage object */
    METER_USAGE_ONLY = 1 << 2, /* has nothing else: leave it out when the client did not ask for it */
    METER_FINAL = 1 << 3,      /* finish reason, done, or the dialect's last event */
    METER_ERROR = 1 << 4,
    METER_DONE = 1 << 5, /* [DONE] */
    METER_LAST = 1 << 6, /* the stream's last event: what may come behind it is no part of the answer */
};

enum meter_anomaly {
    METER_A_BAD_JSON = 1 << 0,  /* an event or reply could not be read to its end */
    METER_A_BAD_COUNT = 1 << 1, /* a count was negative, huge or no integer */
    METER_A_CACHED = 1 << 2,    /* cached + written exceeded the input: clamped */
    METER_A_REASONING = 1 << 3, /* reasoning exceeded the output: clamped */
    METER_A_INCLUSIVE = 1 << 4, /* an Anthropic-style input_tokens that held the cached ones, too */
    METER_A_DOUBTED = 1 << 5,   /* a reported count was not plausible and was replaced */
    METER_A_NO_MEMORY = 1 << 6, /* a whole reply passed unread */
};

/* What the caller knows of the runtime. */
enum meter_quirk {
    METER_Q_UNCACHED_INPUT = 1 << 0, /* its input count silently leaves out cached tokens (old Ollama) */
    METER_Q_NO_DETAILS = 1 << 1,     /* its cached and reasoning counts are constants (Ollama /v1/responses) */
    METER_Q_DOUBT = 1 << 2,          /* its counts may be another request's (KoboldCpp) */
    METER_Q_EXCLUSIVE = 1 << 3,      /* its Anthropic input_tokens surely leave out cached tokens */
};

struct meter_request {
    int64_t input_estimate; /* meter_estimate_input, or -1 */
    double output_ratio;    /* calibrated bytes per output token; 0 = none */
    bool refused;           /* the runtime turned it down before any output: nothing was spent */
    bool has_images;
    bool structured;        /* Ollama `format` was set */
    unsigned quirks;
};

enum { METER_SHAPE_MAX = 640 }; /* bytes of an event around its text that are remembered */

struct meter {
    enum llm_api api;
    /* Settled by meter_end. -1 = unknown. */
    int64_t input, cached, cache_write, output, reasoning;
    enum meter_source input_source, output_source;
    bool reasoning_estimated;
    bool burst;                       /* all output came in one read: no time per token */
    /* Good at any time. */
    bool saw_final, saw_error, saw_done, has_first, has_visible, whole;
    uint64_t t_first_us, t_visible_us, t_last_us; /* output events */
    uint64_t gap_us;                  /* between the last two of them; 0 before there are two */
    uint64_t n_events, n_output_events;
    uint64_t text_bytes, reasoning_bytes, tool_bytes; /* of output */
    double prompt_ms, predicted_ms, load_ms; /* reported; -1 = not */
    unsigned anomalies;
    /* The rest belongs to meter*.c. */
    int64_t r_input, r_cached, r_write, r_output, r_reasoning; /* reported so far */
    int64_t t_cached, t_prompt, t_predicted;                   /* of llama.cpp timings */
    bool thought_aloud, empty_run;
    uint64_t milli_tokens, milli_reasoning; /* cold estimate of the output so far */
    struct meter_reply *reply;
    uint16_t shape_head, shape_tail;
    uint8_t shape_kind;
    char shape[METER_SHAPE_MAX];
};

void meter_init(struct meter *m, enum llm_api api);
/* Safe at any time after meter_init; meter_end does it, too. */
void meter_deinit(struct meter *m);

/* One event; name is empty for dialects without names, data as framed. Returns METER_* flags. Comments and pieces of
 * oversized events need not come here. */
unsigned meter_event(struct meter *m, struct sv name, struct sv data, uint64_t now_us);
/* The next bytes of a reply that is no stream. */
void meter_body(struct meter *m, struct sv bytes, uint64_t now_us);
/* The reply is over, whole or cut (saw_final tells). */
void meter_end(struct meter *m, const struct meter_request *rq, uint64_t now_us);

/* Output so far, for limits that must bite in mid-stream. */
int64_t meter_output_so_far(const struct meter *m, double output_ratio);
/* Mean microseconds per output token after the first; -1 when that has no meaning. After meter_end. */
int64_t meter_tpot_us(const struct meter *m);

/* Estimates (estimate.c). ratio: calibrated bytes per token, 0 = none. Images count 600 each. */
int64_t meter_estimate_input(const struct scan *s, double ratio);
/* Plain or JSON-escaped text, cold; in thousandths of a token, to be added up. */
uint64_t meter_estimate_milli(struct sv text);

#endif
