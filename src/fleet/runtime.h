/* fleet/runtime.h - private to fleet: what is known of each kind of runtime, as data.
 *
 * A runtime is a row of runtimes.c: what it speaks, how its connections want to be treated, and the steps of a look at it.
 * A step asks one path and its take reads the answer into the look's findings (look.h). The facts and where they come from:
 * the reference on runtimes. */
#ifndef DROVER_FLEET_RUNTIME_H
#define DROVER_FLEET_RUNTIME_H

#include "fleet/look.h"

enum step_flag {
    STEP_NEED = 1 << 0,    /* without a 200 the look fails */
    STEP_LIST = 1 << 1,    /* the answer may be as large as PROBE_LIST_MAX */
    STEP_503_LOADS = 1 << 2, /* a 503 means that the runtime is loading */
    STEP_ANY = 1 << 3,     /* take reads answers of any status, not only 200 */
};

struct step {
    const char *path;
    unsigned flags;
    /* Reads an answer with status 200. */
    void (*take)(struct look *l, const struct probe_reply *r);
    /* Whether to ask at all. NULL: always. */
    bool (*wanted)(struct look *l);
    /* Puts a question into the body; asks by POST. False: nothing to ask. NULL: a GET. */
    bool (*question)(struct look *l, struct buf *out);
};

/* Dialects that came with a version: a known older one lacks them. */
struct since {
    unsigned speaks;
    const char *version;
};

struct runtime {
    int kind;              /* enum config_kind */
    const char *title;
    uint16_t port;         /* its usual one; 0: none */
    unsigned speaks;       /* LLM_SPEAKS_* */
    unsigned deficient;    /* of these, the ones known to be incomplete: the gateway translates from a sound one instead */
    unsigned quirks;       /* METER_Q_* */
    unsigned ways;         /* TRANSLATE_Q_* */
    uint32_t pool_idle_ms; /* 0: the usual; ask runtime_pool_idle_ms */
    bool no_chunked;       /* an HTTP/1.0 server: no chunked requests, no connection twice */
    const struct since *since; /* ends with a NULL version */
    const struct step *steps;  /* ends with a NULL path */
};

/* NULL for KIND_AUTO. */
const struct runtime *runtime_of(int kind);
/* NULL past the last row. */
const struct runtime *runtime_at(size_t i);
/* The word of config.h; "unknown" for KIND_AUTO. */
const char *runtime_name(int kind);
uint32_t runtime_pool_idle_ms(const struct runtime *rt);
/* What this version offers: speaks less what came later. */
unsigned runtime_speaks(const struct runtime *rt, struct sv version);
/* Whether a version is known to be older: numbers are compared, whatever stands before the first digit ("v0.5.1", "b9600-ab")
 * is ignored. False for what holds no number. */
bool version_is_before(struct sv version, const char *than);

extern const struct step ollama_steps[], lmstudio_steps[], llamacpp_steps[], vllm_steps[], sglang_steps[], mistralrs_steps[],
    tgi_steps[], localai_steps[], koboldcpp_steps[], tabbyapi_steps[], jan_steps[], lemonade_steps[], mlx_steps[], dmr_steps[],
    triton_steps[], trtllm_steps[], tei_steps[], infinity_steps[], drover_steps[], openai_steps[];

#endif
