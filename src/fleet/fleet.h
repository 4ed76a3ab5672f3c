/* fleet/fleet.h - which runtimes there are, what they can serve, and who gets the next request.
 *
 * Two faces. The control face (struct fleet, control loop only) finds endpoints, asks them what they are, watches their
 * health and builds snapshots. The request face (struct snapshot, any thread) is immutable and counted: a worker holds
 * one, looks a slug up, lets schedule_next choose, and never waits or asks; it locks only where requests wait in line.
 *
 * The few numbers that all threads share about a place live in struct cell, beside the snapshots, so that they survive a
 * swap: requests in flight, the control loop's verdict, measured speed, outcomes. They are plain atomics, but for the line. */
#ifndef DROVER_FLEET_FLEET_H
#define DROVER_FLEET_FLEET_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "config/config.h"
#include "io/dialer.h"
#include "io/loop.h"
#include "llm/llm.h"

/* --- shared numbers ----------------------------------------------------------------------------------------------- */

enum fleet_state { FLEET_UNKNOWN, FLEET_UP, FLEET_DEGRADED, FLEET_LOADING, FLEET_DOWN };
/* "unknown", "up", ... */
const char *fleet_state_name(enum fleet_state s);

/* The breaker's word, written by the control loop, read by all. */
enum breaker_word {
    BREAKER_CLOSED,   /* traffic flows */
    BREAKER_OPEN,     /* nothing is sent */
    BREAKER_TRIAL,    /* one request at a time may try (cell.trial is the permit) */
};

struct seat;
struct queue;

/* Counted; one per endpoint and one per target. */
struct cell {
    _Alignas(64) _Atomic uint32_t in_flight;
    _Atomic uint32_t waiting;         /* requests that wait for this target; an endpoint's own: for the place, not a model */
    _Atomic uint32_t breaker;         /* enum breaker_word; endpoints only */
    _Atomic uint32_t trial;           /* 1 while a trial request is out */
    _Atomic uint32_t us_per_token;    /* EWMA of time per output token seen by the gateway; 0 = not measured yet */
    _Atomic uint32_t us_to_first;     /* EWMA of time to the first token */
    _Atomic uint64_t avoid_until_us;  /* monotonic; a worker that saw a failure keeps others off for at most a second */
    _Atomic uint64_t n_ok, n_failed;  /* requests that the place answered well, or failed; the breaker reads differences */
    _Atomic uint32_t failed_in_row;
    _Atomic uint64_t retry_after_us;  /* monotonic; the place itself asked to be left alone until then (429) */
    _Atomic uint64_t no_usage_until_us; /* monotonic; it refused the usage switch: requests go without until then */
    _Atomic uint64_t no_count_until_us; /* monotonic; it could not count a prompt: it is not asked until then */
    const struct seat *_Atomic first;   /* whose turn it is; NULL: nobody waits in line. Endpoints only, as the next two */
    _Atomic uint64_t released_us;     /* when there was room again last, and somebody in line for it; 0: there was nobody */
    struct queue *_Atomic queue;      /* the line, and its lock; made when somebody waits for the first time */
    _Atomic unsigned refs;
};

struct cell *cell_new(void);
struct cell *cell_ref(struct cell *c);
struct cell *cell_unref(struct cell *c);

/* Takes one of max waiting places, counted over all threads; shares c then. */
bool cell_wait(struct cell *c, uint32_t max);
/* Gives it back. NULL is fine; returns NULL. */
struct cell *cell_unwait(struct cell *c);

/* What became of a request at a place. Any thread. FAILED is what speaks against the place: refused connection, 5xx,
 * broken reply, timeout; a 4xx or a client that left does not. */
enum outcome { OUTCOME_OK, OUTCOME_FAILED, OUTCOME_NEUTRAL };
void cell_outcome(struct cell *c, enum outcome o, uint64_t now_us);
struct fleet_target;
/* The place answered, and badly: with a status of 5xx, an error in its stream, or 429 (retry_us: how long it wants to be left alone; 0: it did
 * not say). Of a place that stands for many only the target is blamed. */
void target_failed(const struct fleet_target *t, uint64_t now_us);
void target_rests(const struct fleet_target *t, uint64_t retry_us, uint64_t now_us);
/* Measured speed of one finished stream: tokens >= 8, else it is ignored. */
void cell_speed(struct cell *c, uint64_t first_us, uint64_t output_us, int64_t tokens);

/* --- snapshots ---------------------------------------------------------------------------------------------------- */

/* What a runtime says about one of its models. Unknown numbers are 0, unknown views empty. */
struct fleet_model {
    struct sv id;                       /* the runtime's own */
    struct sv family, params, quant, format, digest;
    uint64_t context, context_max;      /* tokens: effective now, and what the model could */
    uint64_t size_bytes, vram_bytes;
    uint64_t created_s, expires_s;      /* UNIX time; expires: unloaded then if idle */
    unsigned can;                       /* LLM_CAN_* */
    bool can_known;                     /* the runtime said what it can do; else everything may be tried */
    enum { FLEET_LOADED_UNKNOWN, FLEET_LOADED_YES, FLEET_LOADED_NO } loaded;
    bool remote;                        /* runs on somebody else's machine (Ollama cloud models) */
    uint32_t slots;                     /* requests it works on at one time, as the runtime tells; it queues what is more */
};

struct fleet_endpoint {
    struct sv name, url, kind, version, reason;
    enum fleet_state state;
    uint64_t since_ms;                  /* wall clock, of the state */
    struct dialer *dialer;
    struct sv host;                     /* for the Host header */
    struct sv base_path;                /* prefix of every path, without a slash at its end; often empty */
    struct sv auth;                     /* value for Authorization, or empty; secret */
    uint32_t pool_idle_ms;              /* 0: never pooled */
    unsigned speaks, deficient;         /* LLM_SPEAKS_* bits: offered; offered but known to be incomplete */
    unsigned quirks;                    /* METER_Q_* of llm/meter.h */
    unsigned ways;                      /* TRANSLATE_Q_* of translate/translate.h */
    bool usage_switch;                  /* knows stream_options.include_usage */
    bool no_chunked_requests;
    uint32_t max_concurrent;            /* 0: no limit of its own */
    uint32_t weight;
    int32_t priority;                   /* -100..100: higher goes first, 0 is usual */
    uint32_t watts;                     /* of the machine under load; 0: unknown */
    bool no_v1;                         /* its OpenAI paths stand at the root: "/embeddings", not "/v1/embeddings" */
    bool local;                         /* on this machine */
    bool is_node;                       /* another Drover, over its link */
    bool is_many;                       /* another Drover: what it answers is about a model there, not about the place */
    bool demo;
    int media;                          /* enum config_media */
    struct cell *cell;
    unsigned index;
    const struct fleet_model *models;   /* as the runtime lists them, filtered */
    size_t n_models;
};

struct fleet_target {
    const struct fleet_endpoint *endpoint;
    const struct fleet_model *model;
    struct cell *cell;
    uint64_t id_hash;                   /* for rendezvous hashing; stable over snapshots and restarts */
};

struct fleet_slug {
    struct sv name;                     /* as clients ask for it */
    struct sv alias_of;                 /* the name of the slug that an alias stands for; else empty */
    const struct fleet_target *const *targets;
    size_t n_targets;
    const struct sv *fallback;
    size_t n_fallback;
    bool strict, is_alias;              /* aliases are not listed */
    bool hidden;
    bool amends;                        /* one of the next three is set: even a target of the client's API is translated to */
    int reasoning;                      /* enum config_reasoning */
    bool context_guard;
    struct sv system;
    struct config_price price;
    struct sv defaults, force;          /* models[] of the configuration: JSON objects, put into the body as it is */
};

struct fleet_pattern {
    struct sv glob;                     /* holds one '*' */
    struct sv node;                     /* endpoint name the targets stand for; may be empty */
    const struct fleet_slug *slug;
};

struct snapshot {
    uint64_t version;                   /* grows by one per snapshot */
    const struct fleet_endpoint *endpoints;
    size_t n_endpoints;
    const struct fleet_slug *slugs;     /* listed ones first, sorted by name; then aliases */
    size_t n_slugs, n_listed;
    const struct fleet_target *targets;
    size_t n_targets;
    struct map by_name;                 /* of const struct fleet_slug */
    const struct fleet_pattern *patterns;
    size_t n_patterns;
    bool is_opaque;                     /* slugs tell nothing, and no endpoint can be asked for by name */
    struct arena arena;
    _Atomic unsigned refs;
};

struct snapshot *snapshot_ref(struct snapshot *s);
struct snapshot *snapshot_unref(struct snapshot *s);

/* Finds who may serve the name a client asked for: exact, `name` for `name:latest`, an alias, a pattern, or `name@node`
 * (*ret_node is then the endpoint's name, else empty; not where names are opaque). NULL when there is none. Borrowed until the snapshot goes. */
const struct fleet_slug *snapshot_find(const struct snapshot *s, struct sv asked, struct sv *ret_node);
/* A short list of near names for the error text: "a, b, c" in the arena, or empty. */
struct sv snapshot_suggest(const struct snapshot *s, struct sv asked, struct arena *a);

/* --- choosing ----------------------------------------------------------------------------------------------------- */

struct schedule_want {
    unsigned speaks;      /* LLM_SPEAKS_* bit the target must offer without deficiency, 0 = any */
    unsigned through;     /* bits of which one is as good, because the request can be translated */
    unsigned can;         /* LLM_CAN_* bits it must not be known to lack */
    uint64_t tokens;      /* estimate of prompt plus output limit; 0 = unknown */
    uint64_t affinity;    /* key of the conversation, 0 = none */
    struct sv node;       /* endpoint name, or empty */
    const struct sv *only; /* patterns of endpoint names that may serve; NULL: any */
    size_t n_only;
    struct ticket *ticket; /* its turns at the places it waits for; NULL: a newcomer, who goes behind those that wait */
    uint64_t now_us;
};

#define SCHEDULE_VERDICTS(X)                                                    \
    X(SCHEDULE_TAKEN, "taken")                                                  \
    X(SCHEDULE_SPARE, "could serve")                                            \
    X(SCHEDULE_TRIED, "tried already")                                          \
    X(SCHEDULE_OTHER_NODE, "another endpoint was asked for")                    \
    X(SCHEDULE_NOT_ALLOWED, "not allowed for this key")                         \
    X(SCHEDULE_DOWN, "down")                                                    \
    X(SCHEDULE_LOADING, "loading")                                              \
    X(SCHEDULE_BREAKER, "circuit breaker open")                                 \
    X(SCHEDULE_AVOIDED, "failed a moment ago")                                  \
    X(SCHEDULE_BUSY, "at its concurrency limit")                                \
    X(SCHEDULE_DIALECT, "does not speak the request's dialect")                 \
    X(SCHEDULE_CANNOT, "lacks a capability the request needs")                    \
    X(SCHEDULE_CONTEXT, "context too short for the request")
#define X(id, text) id,
enum schedule_verdict { SCHEDULE_VERDICTS(X) };
#undef X
const char *schedule_verdict_text(enum schedule_verdict v);

enum { SCHEDULE_TARGETS_MAX = 64 }; /* candidates looked at per slug; more are cut off when the snapshot is built */

struct schedule {
    const struct fleet_slug *slug;
    const struct fleet_target *taken;
    enum schedule_verdict verdicts[SCHEDULE_TARGETS_MAX]; /* by position in slug->targets */
    uint64_t tried;       /* bits: targets that were taken before in this exchange */
    bool is_trial;        /* taken holds the breaker's trial permit */
};

/* Chooses and reserves the best target not tried yet: counts it in flight; want's ticket, if there is one, has been used then. False
 * when none can take it: verdicts tell why. Any thread. Every success needs one schedule_release. */
bool schedule_next(struct schedule *s, const struct schedule_want *want);
/* The same choice without reserving, for `drover explain`. */
bool schedule_explain(struct schedule *s, const struct schedule_want *want);
/* Gives it back, and wakes whoever is next there. */
void schedule_release(struct schedule *s, uint64_t now_us);
/* Why nothing can be taken, as a fault with words for the client. */
void schedule_fault(const struct schedule *s, const struct schedule_want *want, struct err *e);

/* --- waiting in line ---------------------------------------------------------------------------------------------- */

/* A place with a limit (max_concurrent) that is reached has a line: fair between principals, over all threads (line.h tells the
 * order). Whoever waits holds a ticket, with a seat in the line of each place that could take it. A place is granted by
 * schedule_next, on the thread of the one whose turn it is; when that may have come, its waker is called. */

struct waker {
    void (*wake)(struct waker *w); /* any thread, with the line's lock held: to post a message, no more */
};

/* One thread's, but for what the lines know of it. */
struct ticket {
    uint64_t who;         /* the principal; 0: nobody in particular */
    uint32_t cost;
    struct waker *waker;  /* borrowed while it waits */
    struct list seats;    /* one per place; owned */
};

/* priority: -100..100. A principal's share doubles with every 25. */
void ticket_init(struct ticket *t, uint64_t who, int32_t priority, struct waker *w);
/* After schedule_next said no: keeps the seats at the places that are busy or loading for it, takes those it has not (again the next
 * time, where memory is short), gives up the others. True: there is room already where it is its turn; try again. */
bool ticket_wait(struct ticket *t, const struct schedule *s) MUST_CHECK;
/* Leaves all lines; whose turn it becomes is woken. Harmless when it is in none. */
void ticket_leave(struct ticket *t);
/* The best of its places (1: next), and when its turn will come as things go; 0: unknown. */
void ticket_tell(const struct ticket *t, unsigned *ret_place, uint64_t *ret_expect_ms);
/* The same for one that would come now, at the end of the shortest line. */
uint64_t schedule_expect_ms(const struct schedule *s);
/* How many wait in line there. */
unsigned cell_queued(struct cell *c);

/* --- the control face --------------------------------------------------------------------------------------------- */

struct fleet;
struct http_client;

struct fleet_events {
    /* A new snapshot; shares s (snapshot_ref to keep it). Control loop. */
    void (*on_snapshot)(void *owner, struct snapshot *s);
};

/* Starts finding and watching by the settings (shared). Control loop. */
struct fleet *fleet_new(struct loop *l, struct http_client *client, struct config *c, const struct fleet_events *on, void *owner,
                        struct err *e) MUST_CHECK;
/* New settings: endpoints that stay the same keep their state and cells. */
void fleet_apply(struct fleet *f, struct config *c);
/* Whether all that the settings ask for could be set up; when not, the same settings are worth applying again. */
bool fleet_is_complete(const struct fleet *f);
/* A built-in endpoint reached through d (shared); NULL takes it away. Marked as demonstration everywhere. */
void fleet_demo(struct fleet *f, struct dialer *d);
/* A place that tells of itself: a node, over its link. The first word makes it, each later one replaces what was known. */
struct fleet_fed {
    struct sv name, url;               /* url: for people, "link:attic" */
    struct dialer *dialer;             /* shared */
    enum fleet_state state;
    struct sv reason, version;
    bool has_models;                   /* models is the whole list; else that stays as it was */
    const struct fleet_model *models;  /* copied */
    size_t n_models;
};
/* False with *e set: ERR_EXISTS where the configuration has an endpoint of that name, whose word wins. */
bool fleet_feed(struct fleet *f, const struct fleet_fed *fed, struct err *e) MUST_CHECK;
void fleet_unfeed(struct fleet *f, struct sv name);
/* True once every endpoint known at the start has been looked at. */
bool fleet_is_settled(const struct fleet *f);
/* A look at a place before it is added: what is there, and whether it could serve. done runs once, never before fleet_try has returned;
 * found and its views are borrowed during the call. fleet_trial_free at any time ends it, also from within done. Ends by itself after 20 s. */
struct fleet_found {
    enum fleet_state state;
    struct sv kind, version, reason; /* kind: empty when it was not recognised */
    const struct fleet_model *models;
    size_t n_models;
    bool wants_key;     /* it answered 401 or 403 */
    bool is_other_kind; /* it is not what `kind` says */
    uint64_t took_ms;
};
struct fleet_trial;
typedef void fleet_tried(void *arg, const struct fleet_found *found);
struct fleet_trial *fleet_try(struct fleet *f, const struct config_endpoint *at, fleet_tried *done, void *arg, struct err *e) MUST_CHECK;
void fleet_trial_free(struct fleet_trial *t); /* NULL is fine */
/* Looks again now, all endpoints and discovery. */
void fleet_refresh(struct fleet *f);
/* Whether a look that began then (loop time) or before is still under way. */
bool fleet_is_looking(const struct fleet *f, uint64_t begun_ms);
struct snapshot *fleet_snapshot(struct fleet *f); /* borrowed until the next on_snapshot */
void fleet_free(struct fleet *f);

#endif
