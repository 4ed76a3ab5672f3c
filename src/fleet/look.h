/* fleet/look.h - private to fleet: one look at a place: what it is, whether it lives, what it has.
 *
 * Life: look_new -> done, once, never before look_new has returned -> look_free; look_free at any time ends it. A look that
 * does not know the kind fingerprints first; then it goes through the steps of that runtime. Its findings stand in it until
 * it is freed. Control loop only. Adapters (rt_*.c) see the second half of this header. */
#ifndef DROVER_FLEET_LOOK_H
#define DROVER_FLEET_LOOK_H

#include "fleet/fingerprint.h"
#include "fleet/fleet.h"
#include "fleet/probe.h"

enum {
    LOOK_MODELS_MAX = 10000,    /* per endpoint */
    LOOK_ID_MAX = 512,          /* bytes of a model's id: longer ones are no names */
    LOOK_ARENA_MAX = 32 << 20,
    LOOK_TOTAL_MS = 20000,
    LOOK_REASON_MAX = 200,
    LOOK_NOTES_MAX = 4096,      /* models whose details are kept from look to look */
};
#define LOOK_NUMBER_MAX (1ll << 50) /* no count is larger; what is, is nonsense, and could overflow sums */

enum look_end {
    LOOK_GOOD,
    LOOK_POOR,    /* alive, but something is wrong: reason says what */
    LOOK_LOADING,
    LOOK_FAILED,  /* no answer, or a wrong one; from here on it does not live */
    LOOK_REFUSED, /* no connection at all */
};

/* Details that cost a question per model; kept between looks under the model's digest. */
struct look_note {
    struct sv digest;
    uint64_t context_max;
    unsigned can;
    bool can_known;
};
struct look_notes {
    struct map by_digest; /* of struct look_note */
};
void look_notes_deinit(struct look_notes *n);

struct runtime;

struct look {
    /* Findings. */
    enum look_end end;
    char reason[LOOK_REASON_MAX];
    const struct runtime *rt;   /* NULL: not recognised */
    bool is_drover;             /* it is a Drover: never to be found by chance */
    bool wants_key;             /* answered 401 or 403 */
    bool answered;              /* something spoke HTTP */
    bool mismatch;              /* it is not what it was taken for: fingerprint again */
    bool has_list;              /* models are those of the runtime, not merely none */
    bool no_v1;                 /* its OpenAI paths stand at the root */
    struct sv version;
    unsigned lacks;             /* LLM_SPEAKS_* bits that this one does not have */
    struct fleet_model *models;
    size_t n_models;
    struct arena arena;         /* of version and models */

    /* Private. */
    struct loop *loop;
    struct probe_place at;
    struct fingerprint print;
    struct look_notes *notes;   /* borrowed, may be NULL */
    size_t cap, n_refused, n_nameless;
    struct map by_id;           /* of index + 1 */
    const struct step *step;    /* under way; NULL while fingerprinting */
    int asked;                  /* enum fp_probe under way */
    struct probe *probe;
    struct timer deadline;
    struct loop_flush soon;
    int models_status;          /* of /v1/models, while fingerprinting */
    struct fleet_model *about;  /* the model a question was put for */
    void (*done)(void *owner, struct look *l);
    void *owner;
};

/* rt: NULL to fingerprint first. at's views are borrowed until look_free. NULL when memory is out. */
struct look *look_new(struct loop *l, const struct probe_place *at, const struct runtime *rt, struct look_notes *notes,
                      void (*done)(void *owner, struct look *l), void *owner) MUST_CHECK;
void look_free(struct look *l);

/* --- the same without I/O ------------------------------------------------------------------------------------------ */

struct look_question {
    const char *path;
    struct sv body;      /* not empty: ask by POST; points into space */
    size_t reply_max;
    char space[1024 + 8 * LOOK_ID_MAX];
};

/* rt: as in look_new. */
void look_init(struct look *l, const struct runtime *rt);
void look_deinit(struct look *l);
/* What to ask next. False: the look is over, and look_conclude is due. */
bool look_next(struct look *l, struct look_question *q);
void look_take(struct look *l, const struct probe_reply *r);
void look_conclude(struct look *l);

/* --- for adapters ------------------------------------------------------------------------------------------------- */

/* A new model with this id; NULL when the id is empty, too long, no text or known already, the look is full or memory is out. */
struct fleet_model *look_add(struct look *l, struct sv id);
/* NULL when there is none. */
struct fleet_model *look_find(struct look *l, struct sv id);
/* A copy that lives as long as the findings, of LOOK_ID_MAX bytes at most; empty when memory is out. */
struct sv look_keep(struct look *l, struct sv v);
/* Ends the look's judgement; the first word counts. */
void look_fail(struct look *l, enum look_end end, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Reads an OpenAI list of models: fill, which may be NULL, adds what an entry tells beyond id and created. With owner the
 * first entry's owned_by must be that, else *l is a mismatch. */
void look_list(struct look *l, const struct probe_reply *r, const char *owner,
               void (*fill)(struct look *l, struct fleet_model *m, yyjson_val *entry));
/* A count that is not negative; 0 when missing or of another type. */
uint64_t look_u64(yyjson_val *obj, const char *key);
/* The same for a number of requests that run at one time. */
uint32_t look_slots(yyjson_val *obj, const char *key);
/* Marks all models as loaded, or not, where that is not known yet. */
void look_loaded(struct look *l, int loaded);

#endif
