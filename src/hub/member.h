/* hub/member.h - this machine as a node of a hub: it enrols, keeps a link to the hub, tells what it has, and renews its certificate.
 *
 * Life: member_new (goes on with what it finds on the disk, or with what the settings say) -> member_snapshot as the fleet changes ->
 * member_stop, so that the hub sends nothing more -> member_free. `drover join` and `drover leave` come in by member_join and member_leave.
 * What the hub sends lands on the workers' berths (hub/berth.h); everything else is here. Control loop only. */
#ifndef DROVER_HUB_MEMBER_H
#define DROVER_HUB_MEMBER_H

#include "config/config.h"
#include "fleet/fleet.h"
#include "hub/berth.h"
#include "pki/pki.h"
#include "telemetry/metrics.h"

struct member;
struct http_client;

/* Borrowed while the member lives. */
struct member_house {
    struct loop *loop;
    struct http_client *client;
    struct config *const *config; /* the settings in force: read at each use */
    struct fleet
        *fleet; /* NULL with metrics and without berths: it only enrols, as `drover join` does without a daemon */
    struct metrics *metrics;
    struct store *store; /* for its journal; NULL: it takes no directives */
    struct berth *(*berth)(void *owner, unsigned i);
    unsigned n_berths;
    void (*on_change)(void *owner); /* of its state; may be NULL */
    /* The three that follow may be NULL without berths. How many requests of the hub are under way; ends them all; ends this
     * process in good order, within grace_ms, and starts it anew. False: it cannot. */
    unsigned (*hub_requests)(void *owner);
    void (*stop_hub_requests)(void *owner);
    bool (*restart)(void *owner, uint64_t grace_ms);
    void *owner;
};

/* NULL: out of memory. What is wrong on the disk or in the settings is in its facts and in the log: no reason not to serve. */
struct member *member_new(const struct member_house *house, struct err *e) MUST_CHECK;
void member_free(struct member *m);
/* Opens the listener for leaves, where the settings name one (relay.listen). */
bool member_listen(struct member *m, struct err *e) MUST_CHECK;
void member_snapshot(struct member *m);
/* Says goodbye, and dials no more. */
void member_stop(struct member *m);

/* line: of `drover hub invite`, or a hub's URL, where its operator then has to approve. name, mode: empty is what the settings say.
 * ERR_EXISTS: it is a member already; ERR_BAD_REQUEST: the line. */
bool member_join(struct member *m, struct sv line, struct sv name, struct sv mode, struct err *e) MUST_CHECK;
/* Tells the hub and forgets key, certificate and bearer. ERR_NOT_FOUND: it is no member, and does not ask to be. */
bool member_leave(struct member *m, struct err *e) MUST_CHECK;

/* The same for what lies on the disk, where no daemon runs: the hub is not told. */
bool member_leave_offline(const struct config *c, struct err *e) MUST_CHECK;

/*      phase             word */
#define MEMBER_PHASES(X)                                                                                               \
    X(MEMBER_OFF, "off")       /* no member, and asks nobody */                                                        \
    X(MEMBER_ASKING, "asking") /* a request to join is on its way, or was answered with a fault and goes out again */  \
    X(MEMBER_WAITING, "waiting")   /* for the operator's yes */                                                        \
    X(MEMBER_DENIED, "denied")     /* the operator said no: until a restart or another line */                         \
    X(MEMBER_JOINED, "joined")     /* enrolled; there is no daemon here to keep a link */                              \
    X(MEMBER_DIALLING, "dialling") /* and greeting: a link is coming about */                                          \
    X(MEMBER_LINKED, "linked")                                                                                         \
    X(MEMBER_AWAITING, "awaiting") /* in the mode direct: until the hub dials this machine */                          \
    X(MEMBER_RESTING, "resting")   /* until the next try */                                                            \
    X(MEMBER_RENEWING, "renewing") /* the certificate has ended: first a new one */                                    \
    X(MEMBER_BROKEN, "broken")     /* what is on the disk is damaged: leave, then join again */                        \
    X(MEMBER_STOPPED, "stopped")
#define X(id, word) id,
enum member_phase { MEMBER_PHASES(X) };
#undef X

struct member_facts { /* views are borrowed until the loop is returned to */
    enum member_phase phase;
    const char *state;              /* the phase's word */
    uint64_t since_ms, next_try_ms; /* wall clock; next_try 0: none is due */
    struct sv hub;                  /* URL in use, or the next one */
    struct sv hub_id, fleet, node_id, name;
    struct sv called_at;                /* in the mode direct: as the hub is told; 0.0.0.0 is where it sees us come from */
    struct sv renewal_error;            /* of the last try to reach the hub for a certificate; empty: it worked */
    struct sv error;                    /* the last one, empty after it has worked */
    char fingerprint[PKI_PIN_TEXT + 1]; /* of the key that waits for approval, or of the certificate in use */
    uint64_t epoch, rtt_us;
    unsigned lanes, streams;
    int64_t not_after_s;        /* of the certificate; 0: none */
    unsigned models, endpoints; /* as last told */
};
void member_facts(const struct member *m, struct member_facts *ret);

#endif
