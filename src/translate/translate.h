/* translate/translate.h - a request and its reply, from one vendor's API into another's.
 *
 * Life: translate_new reads the client's body and prints the runtime's -> translate_event per event of the runtime's stream
 * or translate_reply with its whole reply -> translate_end -> translate_free. One per attempt: a retry on another target
 * makes a new one from the same body. Pure functions over bytes: no sockets; the clock is handed in. What cannot go over is
 * refused with the member's path, what is a harmless loss is named (translate_degraded); docs/dialects.md lists both.
 * One thread at a time. */
#ifndef DROVER_TRANSLATE_TRANSLATE_H
#define DROVER_TRANSLATE_TRANSLATE_H

#include "base/buf.h"
#include "base/err.h"
#include "llm/llm.h"

struct translate;

/* What is peculiar about a runtime as the other side. */
enum translate_quirk {
    TRANSLATE_Q_REASONING = 1 << 0,      /* wants earlier reasoning as "reasoning", not "reasoning_content" */
    TRANSLATE_Q_REPETITION = 1 << 1,     /* repetition_penalty instead of repeat_penalty */
    TRANSLATE_Q_CHOICE_WORDS = 1 << 2,   /* tool_choice is a word only */
    TRANSLATE_Q_NO_JSON_OBJECT = 1 << 3, /* response_format json_object is refused: a schema of any object instead */
    TRANSLATE_Q_TEMPLATE_THINK = 1 << 4, /* reasoning is switched by chat_template_kwargs.enable_thinking */
    TRANSLATE_Q_THINK_BUDGET = 1 << 5,   /* knows thinking_budget_tokens */
    TRANSLATE_Q_FETCHES = 1 << 6,        /* fetches http(s) images itself */
    TRANSLATE_Q_TELLS_THINKING = 1 << 7, /* says of each model whether it can reason */
    TRANSLATE_Q_NO_THINK = 1 << 8,       /* the model cannot reason: a switch would be an error */
    TRANSLATE_Q_NO_USAGE_OPTION = 1 << 9, /* stream_options is refused */
    TRANSLATE_Q_LONG_LIMIT = 1 << 10,    /* max_completion_tokens instead of max_tokens */
};

/* How a slug wants reasoning to be shown. */
enum translate_reasoning {
    TRANSLATE_REASONING_SPLIT, /* apart from the text, in the client's own form */
    TRANSLATE_REASONING_SHOW,  /* in the text, between <think> tags */
    TRANSLATE_REASONING_STRIP, /* not at all */
};

/* All views are borrowed for the life of the translation. */
struct translate_spec {
    enum llm_api client;         /* what the body is */
    unsigned speaks;             /* LLM_SPEAKS_* that the target offers in full */
    unsigned quirks;             /* TRANSLATE_Q_* */
    struct sv body;              /* complete JSON, checked by llm/scan.h */
    struct sv model;             /* the runtime's own id */
    struct sv shown_model;       /* as the client asked for it; stands in the answer */
    bool stream;                 /* the client gets a stream */
    bool strict;                 /* harmless losses are refused, too */
    enum translate_reasoning reasoning;
    struct sv system;            /* put in front of all system text; often empty */
    struct sv defaults, forced;  /* JSON objects that amend_check let pass (llm/amend.h); often empty */
    int64_t input_estimate;      /* tokens, for counts that are due before the runtime has counted; -1 */
    int64_t context;             /* tokens the model has room for; 0: unknown */
    bool guard;                  /* a prompt that does not fit is refused before the runtime cuts it */
    bool for_count;              /* only the prompt's length matters: what does not add to it may be left out; no reply follows */
    size_t body_max, reply_max;  /* bytes of what is printed, and of what may be held of a reply */
    uint64_t seed;               /* unpredictable, for ids */
    uint64_t now_us, now_s;      /* the caller's monotonic clock, and UNIX time */
};

/* The LLM_SPEAKS_* bits through which an API can be served when it is not spoken natively. 0: not translated. */
unsigned translate_through(enum llm_api client);

/* Prints the runtime's body into out, but for long texts, which stay where they are in spec->body. NULL: *e says why: ERR_BAD_REQUEST and ERR_PARAMETER are the client's to mend. */
struct translate *translate_new(const struct translate_spec *spec, struct buf *out, struct err *e) MUST_CHECK;
void translate_free(struct translate *t);
/* The runtime's body in order, none empty: views on out and on spec->body, for the caller to send and to change. */
struct sv *translate_pieces(const struct translate *t, unsigned *ret_n);

/* The API the target is spoken to in, its path, and the media type of the client's answer. */
enum llm_api translate_api(const struct translate *t);
struct sv translate_path(const struct translate *t);
struct sv translate_type(const struct translate *t);
/* Names of what was left out, for the header drover-degraded; often empty. */
struct sv translate_degraded(const struct translate *t);

/* The next event of the runtime's stream. Appends what the client gets, perhaps nothing. False: the reply has failed, *e says
 * how; nothing more may be fed. */
bool translate_event(struct translate *t, struct sv name, struct sv data, uint64_t now_us, struct buf *out, struct err *e);
/* The stream ended: final events, or for a client without stream the whole reply. False as above. */
bool translate_end(struct translate *t, uint64_t now_us, struct buf *out, struct err *e);
/* A whole reply instead of a stream, also for a client that wants one; nothing follows. */
bool translate_reply(struct translate *t, struct sv body, uint64_t now_us, struct buf *out, struct err *e);
/* The client's stream has begun and ends here with a fault, in its own words. */
void translate_fail(struct translate *t, const struct err *e, struct buf *out);
/* True once the runtime's final event was seen: what follows is not read. */
bool translate_is_over(const struct translate *t);

/* A runtime's error reply as Drover's fault: its own words, its kind found by status and text (reference, section 9.2). */
void translate_fault(int status, struct sv body, struct err *e);

#endif
