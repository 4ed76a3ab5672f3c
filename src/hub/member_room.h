/* hub/member_room.h - private to the member_*.c: its parts, and what they call of each other. Control loop only.
 *
 *   member.c         the story: what it is, what comes next, who may ask for what
 *   member_enrol.c   asking to join, and asking for another certificate
 *   member_link.c    ties: sockets to the hub, from the dial to their end
 *   member_direct.c  the same where the hub dials: who comes to the port, until it has proven itself
 *   member_report.c  what is said on the first lane
 *   member_usage.c   what this machine's own clients used
 *   relay*.c, leaf*.c  agents that speak to the hub through this node: relay.h
 *   errand*.c        what the hub asks it to do: errand.h */
#ifndef DROVER_HUB_MEMBER_ROOM_H
#define DROVER_HUB_MEMBER_ROOM_H

#include "base/json.h"
#include "hub/errand.h"
#include "hub/member.h"
#include "hub/member_models.h"
#include "hub/member_plan.h"
#include "hub/member_state.h"

enum {
    MEMBER_LANES = 8,
    MEMBER_TICK_MS = 1000,       /* while a link is up */
    MEMBER_BEAT_LEAST_MS = 1000, /* at most one heartbeat a second */
    MEMBER_SETTLE_MS = 1000,     /* a change of the fleet is told so much later: more may follow */
    MEMBER_MORE_MS = 300,        /* between messages of one change: 1 MiB a second is what the link takes */
    MEMBER_LANE_IDLE_MS = 600000,
    MEMBER_LANE_PAUSE_MS = 5000, /* after a lane has ended */
    MEMBER_RETIRE_MS = 60000,    /* a link that another has replaced */
    MEMBER_SPREAD_MS = 60000,    /* of renewals that a hub wants, when it does not say */
    MEMBER_LOOK_S = 60,          /* how often the certificate's age is looked at, at least */
    MEMBER_TELL_MS = 60000,      /* how often the log says what it waits for */
    MEMBER_ASK_LEAST_MS = 1000,
    MEMBER_ASK_MOST_MS = 900000,
    MEMBER_INSTANCE = 37,
};

/* A link, from the dial on: the first lane, and those beside it. */
struct tie {
    struct member *member;
    struct wire *wire;
    char url[PKI_INVITE_URL_MAX + 1]; /* where it was dialled */
    char serial[TLS_SERIAL_MAX + 1];  /* of the certificate that it shows */
    bool is_up, is_given;             /* is_given: the hub began the connection */
    bool relays;                      /* its hub hears leaves */
    uint64_t up_ms, epoch; /* up_ms: loop time */
    uint32_t told_ms;      /* of a goodbye or an error: when to come again */
    unsigned heartbeat_ms, metrics_ms, n_lanes;
    char lane_token[129];
    struct lane_tie {
        struct tie *tie;
        struct wire *wire; /* NULL: there is none */
        bool is_up;
        uint64_t busy_ms, pause_ms; /* loop time: when a stream came last; not before */
        uint64_t n_streams;         /* of that berth, when it was looked at last */
    } lanes[MEMBER_LANES];          /* [i] lives on berth i; [0] is not used: wire */
    struct timer retire;
};

struct member {
    struct member_house house;
    char dir[MEMBER_PATH];
    enum member_phase phase;
    uint64_t since_ms, started_ms, started_mono_ms; /* wall clock; the last: loop time */
    struct err last;
    uint64_t next_try_ms;
    uint64_t told_at_ms, told_hash; /* what the log was told last of why it waits */
    char instance[MEMBER_INSTANCE];
    bool has_state, has_wish, is_stopping;
    struct member_state state;
    struct member_wish wish;
    char fingerprint[PKI_PIN_TEXT + 1];
    struct timer next; /* the next try, of whatever is due */
    struct plan plan;
    /* the round of addresses */
    unsigned order[MEMBER_URLS], at, n_order;
    /* ties: one is being made, one is in use, one ends */
    struct tie *fresh, *now, *old;
    struct direct *direct;          /* NULL: the hub is not listened for */
    char address[MEMBER_CALLED_MAX + 1]; /* of the facts */
    struct timer tick, look;
    /* what was said */
    struct member_models models;
    uint64_t rev;
    struct timer settle;
    uint64_t beat_due_ms, beat_ms, metrics_due_ms; /* loop time */
    const char *beat_state;                        /* as last told */
    bool metrics_told;
    /* a request under way; NULL: none */
    struct asking *asking, *renewing;
    uint64_t renew_not_before_ms; /* wall clock; after a failure */
    uint32_t renew_wait_s;        /* until it is asked for again, next */
    struct buf renew_key;         /* of a renewal that waits to be signed; empty: none does */
    /* what the hub wants: roots with this number at least, and a certificate that begins then at the earliest */
    uint64_t wanted_sequence;
    int64_t wanted_leaf_s;
    uint64_t wanted_at_ms; /* wall clock: when to ask for it; 0: nothing is wanted */
    char renew_why[128];          /* of that failure */
    /* what the hub asked for */
    struct errands *errands; /* NULL: nothing is taken */
    bool is_draining;        /* until undrain, or the end of this process */
    struct usage_out *usage; /* NULL: nothing was told yet */
    struct relay *relay;     /* NULL: no leaves here */
    struct timer level;      /* a level of the log that was set for a while */
};

extern const struct plan_chance member__chance;

/* --- member.c --- */
void member__goto(struct member *m, enum member_phase to);
/* Notes why something did not work; empties it with NULL. */
void member__failed(struct member *m, const struct err *e);
/* A wait with `run` at its end, told in the log and in the facts. */
void member__rest(struct member *m, enum member_phase phase, uint64_t wait_ms, const struct plan_end *end,
                  void (*run)(void *arg));
/* The address whose turn it is; a new round, shuffled, when all had theirs. */
const char *member__url(struct member *m);
/* The member has a certificate: dial, or renew first when it has ended. */
void member__proceed(void *arg);

/* --- member_enrol.c --- */
/* Asks where m->wish says, until there is an answer that ends it. */
void member__ask(void *arg);
/* Whether the certificate should be renewed now, by the wall clock; begins it then. */
void member__look(void *arg);
void member__renew(struct member *m);
/* Takes from welcome or hub_status what the hub wants renewed; it is asked for some time within the spread that was told. */
void member__want(struct member *m, yyjson_val *told);
void member__cancel(struct member *m);
/* A dialer for an address of the hub. With its own certificate: with_cert. NULL with *e set. host, prefix: views on url. */
struct dialer *member__dialer(struct member *m, const char *url, bool with_cert, struct sv *ret_host,
                              struct sv *ret_prefix, struct err *e) MUST_CHECK;
struct url;
/* Only https, but for this machine itself. */
bool member__url_parse(struct sv url, struct url *ret, struct err *e) MUST_CHECK;
bool member__cert_has_ended(const struct member *m);
/* For a connection that the hub began: it must be the fleet's, and is not told whom we expect. NULL with *e set. */
struct tls_context *member__called_context(struct member *m, struct err *e) MUST_CHECK;

/* --- member_usage.c --- */
void usage__tick(struct member *m);
void usage__up(struct member *m);
/* The payload of an ack. */
void usage__acknowledged(struct member *m, yyjson_val *payload);
void usage__close(struct member *m);

/* --- member_direct.c --- */
bool direct__is_on(const struct member *m);
/* https://HOST:PORT, for the hub; empty in the mode reverse. */
void direct__address(const struct member *m, char to[static MEMBER_CALLED_MAX + 1]);
/* The hub knows another address, or another mode, than the one in force. */
bool direct__is_untold(const struct member *m);
/* Listens, and waits for the hub. */
void direct__open(struct member *m);
void direct__close(struct member *m);
/* A tie that was given has met the hub: it has proven itself. */
void direct__met(struct tie *t);
/* One has ended. False: it had met the hub, and is the caller's matter. */
bool direct__ended(struct tie *t, int status, struct sv why);

/* --- member_link.c --- */
void member__dial(struct member *m);
/* Over a connection that the hub began. NULL with *e set. */
struct tie *tie__given(struct member *m, struct dialer *d, struct err *e) MUST_CHECK;
void member__tick(void *arg);
/* Ends a tie; NULL is fine. */
void tie__end(struct tie *t, unsigned code, struct sv why);
unsigned tie__lanes(const struct tie *t);
unsigned tie__streams(const struct tie *t);

/* --- member_report.c --- */
void report__hello(struct tie *t);
/* The whole; what does not fit follows. */
void report__register(struct member *m, struct tie *t);
void report__changed(struct member *m);
/* Heartbeat and metrics, as far as they are due. */
void report__tick(struct member *m);
void report__goodbye(struct member *m, struct sv reason);

#endif
