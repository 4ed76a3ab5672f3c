/* gateway/exchange.h - private to gateway: one request on its way through.
 *
 * read      the body arrives and is scanned once; nothing was decided yet
 * parked    no target can take it now; it waits in the gateway's queue with a deadline
 * forward   a target is reserved (sched.taken) and a call is under way, the attempt's or before it a count's; not a byte of its
 *           reply has gone to the client
 * relay     the first byte is out: no way back to another target
 * done      nothing is held any more; the arena goes with the request */
#ifndef DROVER_GATEWAY_EXCHANGE_H
#define DROVER_GATEWAY_EXCHANGE_H

#include "gateway/gateway.h"
#include "http/client.h"
#include "http/events.h"
#include "llm/llm.h"
#include "llm/meter.h"
#include "llm/patch.h"
#include "llm/scan.h"
#include "translate/translate.h"

#define TO(s) (1u << (s))
#define EXCHANGE_STATES(X)                                                                  \
    X(EX_READ,    "read",    TO(EX_PARKED) | TO(EX_FORWARD) | TO(EX_DONE))                  \
    X(EX_PARKED,  "parked",  TO(EX_FORWARD) | TO(EX_DONE))                                  \
    X(EX_FORWARD, "forward", TO(EX_FORWARD) | TO(EX_PARKED) | TO(EX_RELAY) | TO(EX_DONE))   \
    X(EX_RELAY,   "relay",   TO(EX_DONE))                                                   \
    X(EX_DONE,    "done",    0)
#define X(id, text, next) id,
enum exchange_state { EXCHANGE_STATES(X) };
#undef X

struct gateway {
    struct loop *loop;
    struct gateway_shared *shared;
    struct metrics_shard *metrics;
    struct ledger_shard *ledger; /* NULL: nothing is recorded */
    struct export_shard *export; /* NULL: no traces */
    struct config *config;
    struct snapshot *snapshot;
    struct access_snapshot *access;
    struct http_client *client;
    struct list parked;         /* of struct exchange, by parked, oldest first */
    unsigned n_parked;
    struct timer park_timer;
    struct bell *bell;          /* by which other threads say that the turn of one of them may have come */
    struct loop_flush look;     /* at those that wait, at the end of this turn */
    struct list all;            /* exchanges under way */
    struct watch_ended *ended;  /* watch.c's: for the next report; NULL: none */
    unsigned n_seen;            /* exchanges with is_seen */
};

enum {
    FALLBACK_DEPTH_MAX = 4, /* fallbacks of fallbacks */
    FALLBACKS_MAX = 16,     /* of one exchange */
    EXCHANGE_SHARE = 4096,  /* tokens of output that are reserved at one time */
};

struct exchange {
    struct gateway *g;
    struct http_in *in;
    bool is_from_hub; /* it came over the link to our hub */
    enum exchange_state state;
    struct list all, parked;
    struct config *config;      /* shared, given back with the arena */
    struct snapshot *snapshot;
    struct access_snapshot *access;
    const struct access_key *key; /* NULL: nobody in particular, where no key is needed */
    struct sv principal;          /* for whom our hub asks; empty: it did not come over the link */
    struct access_hold hold;    /* its share of the key's limits */
    const struct llm_route *route;
    struct sv upstream_path;    /* path and query for the runtime, without its base path */

    /* the request */
    struct scan scan;
    char *body;
    size_t body_n, body_cap;
    uint64_t body_charged;      /* bytes counted in shared->buffered: those that came, not those announced */
    bool is_json, is_form, is_stream;
    struct tracing *tracing;    /* NULL: it is not traced; trace.c's */

    /* the choice */
    struct schedule sched;
    struct schedule_want want;
    struct sv asked, node;      /* model as asked for */
    struct sv target;           /* the last one taken, as clients are told; empty before */
    unsigned attempts, fallbacks, n_fallen;
    unsigned hops;              /* links it has come over */
    struct {                    /* slugs whose fallbacks are under way: the one asked for, one of its fallbacks, one of that's */
        const struct fleet_slug *slug;
        unsigned next;          /* of its fallbacks */
    } fallen[FALLBACK_DEPTH_MAX];
    uint64_t body_us, deadline_us, park_until_us, parked_us, queue_us;
    struct cell *waits_at;      /* where it counts as waiting; shared, NULL when it does not */
    struct ticket ticket;       /* its turns in line */
    unsigned queue_place;       /* in line, 1: next; 0: unknown, or it does not wait */
    unsigned queue_began;       /* the same when it began to wait first; stays */
    uint64_t queue_expect_ms;   /* until its turn, as things go; 0: unknown */
    struct err last;            /* why the last attempt failed */
    struct count *count;        /* the prompt is being counted; count.c's */
    uint64_t counted_for;       /* id_hash of the target that was asked last; 0: none */
    int64_t counted;            /* tokens of the prompt, as it counts; not above 0: it could not say */

    /* the attempt, or the count before it */
    struct http_call *call;
    struct sv own_pieces[PATCH_PIECES], *pieces; /* of the body; those of the translation where there is one */
    unsigned n_pieces, at_piece;
    bool sending, asked_usage;  /* the usage switch was added by us */
    bool in_doubt;              /* it was refused, perhaps because of the switch: the refusal is being read */
    struct translate *translate; /* owned; NULL when the target speaks the client's API */
    struct buf translated;      /* the runtime's body then */
    bool fresh;                 /* no pooled connection: one was stale */
    uint64_t sent_us;
    uint64_t took_us;           /* when its place was taken; 0: it holds none */
    uint32_t n_beside;          /* requests there then, itself included */
    uint64_t energy_uj;         /* its part of what the places took that it has held */

    /* the reply */
    const struct http_head *reply;
    enum { WAY_PASS, WAY_EDIT, WAY_TRANSLATE, WAY_HOLD } way; /* convert.c */
    bool started, client_paused, settled;
    bool is_events;             /* the client's answer is a stream of events */
    bool has_events;            /* the runtime's reply is one */
    bool is_over;               /* its last event was seen: the answer is complete, whatever the runtime still does */
    struct events events;
    struct meter meter;
    struct metrics_itl *itl;
    struct buf kept;            /* what one read came to when it is changed on its way; with hold, the reply so far */
    uint64_t last_out_us;       /* when the client last got a byte */
    struct timer heartbeat;
    struct timer limit;         /* gateway.deadline until the reply begins, then limits.upstream.total */
    uint64_t bytes_out;
    int status;

    /* somebody watches */
    bool is_seen;
    struct buf seen;            /* what the client was sent since the last report */
    uint64_t seen_from;         /* place of its first byte in the answer */
};

/* Gives the request's bodies back. */
void exchange__drop_body(struct exchange *x);
void exchange__goto(struct exchange *x, enum exchange_state to);
/* Every path leads here; may be called again without harm. The answer must be finished or the client gone. */
void exchange__end(struct exchange *x, enum request_result result);

/* Whether a tree of the body would be small enough to be built. False: limits.json.values says no. */
bool exchange__may_parse(const struct exchange *x, struct err *e);

/* admit.c: is this request welcome at all? Answers itself and returns false when not. */
struct admission {
    const struct llm_route *route;
    const struct access_key *key; /* of g->access; NULL: none */
};
bool admit__check(struct gateway *g, struct http_in *in, struct admission *ret);

/* surface.c: what our hub may ask for over the link. */
/* Whether it may ask for just this: the path, join.allow, how far it has come. */
bool surface__allows(const struct gateway *g, const struct http_in *in, const struct llm_route *route, struct err *e);
/* The links it has come over; 0 where that is not for us to believe. */
unsigned surface__hops(const struct http_in *in);
/* "hub:ALICE", in the request's arena; empty where it did not come over the link. */
struct sv surface__principal(struct http_in *in);
enum { HOPS_MAX = 4, HOPS_TEXT = 12 };
/* Whether it is for the console and its API, by somebody who visits; and whether that is allowed here. */
bool surface__is_visit(const struct http_in *in);
bool surface__shows(const struct http_in *in, struct err *e);

/* local.c: what Drover answers itself: model lists, health, version. False: not one of those. */
bool local__answer(struct gateway *g, struct http_in *in, const struct admission *who);
bool local__is_page(struct sv path, bool *ret_open);     /* health, metrics, version; open: without a key, too */
void local__page(struct gateway *g, struct http_in *in); /* answers one of those */
bool local__show(struct exchange *x);                    /* Ollama's show, once its body is known */
bool local__count(struct exchange *x);                   /* tokens of a prompt, once its slug is known */

/* resolve.c: who serves it; parks, forwards or fails. */
void resolve__start(struct exchange *x);
void resolve__retry(struct exchange *x);         /* the next candidate, after x->last */
bool resolve__may_fall_back(const struct exchange *x);
void resolve__look_again(struct exchange *x);    /* at one that waits: ends at most this one */

/* wait.c: those that wait, for room or for a lease of their budget. */
bool wait__init(struct gateway *g, struct err *e);
void wait__deinit(struct gateway *g);            /* nobody waits any more */
/* Waits for its turn at the targets that are busy or loading. False: too many do already. */
bool wait__in_line(struct exchange *x, struct err *e);
void wait__for_lease(struct exchange *x);        /* it is in no line then */
/* Its targets are still busy or loading: it stays in their lines, and what is told of its place is brought up to date. */
void wait__on(struct exchange *x);
/* It waits no more; harmless when it did not. */
void wait__end(struct exchange *x);
void wait__look(struct gateway *g);              /* something may have become free: looks at all that wait */
void wait__look_later(struct gateway *g);        /* the same at the end of the turn */
/* Puts how long it has waited and its place in front of e, and when to come again into it; nothing where it was in no line. */
void wait__words(const struct exchange *x, struct err *e);
/* The keep-alive of one that waits, telling its place where the API has comments for that; a view on text, or a constant. */
enum { WAIT_BEAT_MAX = 96 };
struct sv wait__beat(const struct exchange *x, char text[static WAIT_BEAT_MAX]);

/* place.c: requests for an endpoint rather than a model. */
bool place__is_meant(const struct exchange *x);
bool place__find(struct exchange *x, struct err *e);

/* count.c: tokens of the prompt, by the target's own tokenizer where the guard asked it. */
/* Asks sched.taken where that is worth it; then forward__go follows, and count__fits says what became of it. False: there is
 * nothing to wait for. */
bool count__ask(struct exchange *x);
/* Gives back what an unfinished count holds, but for x->call; harmless when there is none. */
void count__end(struct exchange *x);
/* By sched.taken's tokenizer, else the estimate; -1: there is no prompt. */
int64_t count__input(const struct exchange *x);
bool count__is_exact(const struct exchange *x);
/* Whether it fits into sched.taken's context, where the slug has a guard. */
bool count__fits(const struct exchange *x, struct err *e);

/* forward.c */
/* Whether a Connection field of this head names the field: then it belongs to this hop alone (RFC 9110 section 7.6.1). */
bool forward__is_named(const struct http_head *head, struct sv name);
void forward__start(struct exchange *x);
/* The attempt itself, once the prompt has been counted. */
void forward__go(struct exchange *x);
/* What follows is shared with count.c: a call to sched.taken. */
/* Its head, made anew: path as that runtime has it, fields, credentials, timeouts; the caller adds length and fresh. is_own: the
 * body is one we printed, not the client's. Lives in the request's arena. False: no memory. */
bool forward__spec(struct exchange *x, struct sv path, bool is_own, struct http_call_spec *ret_spec);
/* How the request is translated for it. e may be NULL. */
bool forward__translation(const struct exchange *x, struct translate_spec *ret_spec, struct err *e);
/* The pieces of t's body become those that are sent; returns their bytes. */
int64_t forward__pieces(struct exchange *x, const struct translate *t);
/* Sends what the transport takes of them; again on_drain for the rest. True: all are out. */
bool forward__send(struct exchange *x);
/* relay.c */
void relay__head(struct exchange *x, const struct http_head *head);
void relay__body(struct exchange *x, struct sv bytes);
void relay__end(struct exchange *x);
void relay__fail(struct exchange *x, const struct err *e);
void relay__drain(struct exchange *x);
/* "endpoint/model", or what stands for it where names are opaque; in the request's arena. sched.taken is set. */
struct sv relay__target(struct exchange *x);
/* The endpoint's name, for what clients are told; not where names are opaque. sched.taken is set. */
struct sv relay__endpoint(const struct exchange *x);
void relay__heartbeat_start(struct exchange *x);
/* Begins the answer with status 200 and no reply yet: a keep-alive is due. */
void relay__start_stream(struct exchange *x);

/* To the client, with the answer's head in front of the first byte. */
void relay__pass(struct exchange *x, struct sv bytes);

/* convert.c: from what the runtime sent to what the client gets. False: *e says why it cannot be told. */
void convert__plan(struct exchange *x);
bool convert__events(struct exchange *x, struct sv bytes, bool end, struct err *e);
bool convert__hold(struct exchange *x, struct sv bytes, struct err *e);
bool convert__whole(struct exchange *x, struct buf *out, struct err *e);

/* hide.c: slugs: opaque. */
/* Whether local names must not be seen in this exchange's answer; not in those of requests that manage a runtime. */
bool hide__is_on(const struct exchange *x);
/* Fields of a runtime's reply that tell nothing of it (lower case). */
bool hide__header_goes_on(struct sv name);
/* Whether the whole reply is sound, pictures or spoken words, with no names in it. */
bool hide__may_pass(const struct exchange *x);
/* The runtime's JSON, or one event of its stream, without local names and perhaps without usage at the top, into out. */
bool hide__json(const struct exchange *x, struct sv json, bool without_usage, struct buf *out, struct err *e);
bool hide__event(const struct exchange *x, const struct event *ev, bool without_usage, struct buf *out, struct err *e);
/* The runtime's own id in what is told of a fault becomes the name the client knows. */
void hide__words(const struct exchange *x, struct err *e);

/* answer.c: errors in the envelope of the dialect, and the headers every answer has. */
/* Counts the limit that e speaks of. */
void answer__error(struct gateway *g, struct http_in *in, const struct llm_route *route, const struct err *e, const char *hint);
/* The vendor's headers about what is left of the key's rates; returns how many. */
enum { ANSWER_LIMITS = 6 };
unsigned answer__limits(const struct exchange *x, struct http_header out[static ANSWER_LIMITS]);
/* A whole answer of Drover's own. */
void answer__reply(struct http_in *in, int status, struct sv type, struct sv body);
/* The exchange fails: before the first byte a real status, after it the dialect's in-stream error. */
void answer__fail(struct exchange *x, const struct err *e, enum request_result result);
void answer__request_id(const struct http_in *in, char text[static 33]);
/* A number nobody can foretell, another for each `use`. */
uint64_t answer__seed(const struct http_in *in, uint64_t use);
/* account.c: what an exchange costs. */
/* A place was taken (sched.taken), and is about to be given back: what it costs is counted between. */
void account__took(struct exchange *x);
void account__left(struct exchange *x);
/* The record of a finished exchange. */
void account__finish(struct exchange *x, enum request_result result);

/* trace.c: what an OpenTelemetry collector is told. All harmless, and one branch, where nothing is exported. */
void trace__begin(struct exchange *x);
/* The next attempt, at sched.taken; goes on with the present one where that has not ended. Then it went out; then what it came to. */
void trace__attempt(struct exchange *x);
void trace__sent(struct exchange *x);
void trace__status(struct exchange *x, int status);
void trace__failed(struct exchange *x, const char *reason); /* a literal */
/* The attempt is over: sched.taken is about to be given back. */
void trace__attempt_end(struct exchange *x);
void trace__finish(struct exchange *x, const struct request_record *r);
/* Fields of the client that are not sent on as they came; then the one that is sent instead, false when it is not traced. */
bool trace__replaces(const struct exchange *x, struct sv field);
bool trace__header(struct exchange *x, struct http_header *ret);

/* share.c: its share of the key's budgets. sched.slug is set. */
/* Reserves the most it may come to. */
enum access_reserved share__reserve(struct exchange *x, struct err *e);
/* Whether what was reserved would be another amount for another slug. */
bool share__is_of_slug(const struct exchange *x);
/* As if nothing had been reserved. */
void share__give_back(struct exchange *x);
/* The stream goes on: its share must, too. False: there is no more of it. */
bool share__extend(struct exchange *x, struct err *e);

/* watch.c: for whoever watches. */
void watch__ended(struct gateway *g, const struct request_record *r);
void watch__sent(struct exchange *x, struct sv bytes);
void watch__end(struct exchange *x);
void watch__free(struct gateway *g);

/* media.c: links to media that the runtime would fetch; false: refused. sched.taken is set. */
bool media__check(struct exchange *x, struct err *e);
enum media_link { MEDIA_NO_LINK, MEDIA_PUBLIC, MEDIA_NEAR, MEDIA_UNCLEAR };
/* What a member is that may hold a link; the host (a view on v) where it is MEDIA_PUBLIC or MEDIA_NEAR, empty for a file. */
enum media_link media__link(struct sv v, struct sv *ret_host);

/* multipart.c: just enough of RFC 7578 to find one field. Views on the argument; NULL when it is not there. */
struct sv multipart__boundary(struct sv content_type);
struct sv multipart__field(struct sv body, struct sv boundary, struct sv name);

#endif
