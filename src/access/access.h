/* access/access.h - who may do what, and how much of it.
 *
 * Two faces. The request face (struct access_snapshot, any thread) is immutable and counted: a worker holds one, finds the key
 * of a request, asks what it may, and takes and gives back shares of its limits; it never waits, locks or asks a database.
 * The control face (struct access, control loop only) makes, changes and revokes keys in the store and builds snapshots.
 *
 * The numbers that all threads share about a key live in struct access_cell, beside the snapshots, so that they survive a
 * swap. They are plain atomics: rates as the moment at which all of it is free again (GCRA), budgets as an amount leased
 * from the store, so that what is spent is on disk before it is spent. */
#ifndef DROVER_ACCESS_ACCESS_H
#define DROVER_ACCESS_ACCESS_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "base/sv.h"
#include "http/h1.h"

/* --- limits ------------------------------------------------------------------------------------------------------- */

enum access_span { ACCESS_DAY, ACCESS_MONTH, ACCESS_SPANS };   /* of a budget; days and months are UTC's */
enum access_unit { ACCESS_TOKENS, ACCESS_MONEY, ACCESS_UNITS }; /* money in millionths of the currency */

/* 0: none. */
struct access_limits {
    uint32_t requests_per_min, requests_burst;
    uint32_t concurrent;
    uint64_t tokens_per_min;
    uint64_t budget[ACCESS_UNITS][ACCESS_SPANS];
};

/* What is left of a budget in memory: leased, not yet spent. */
struct access_purse {
    _Atomic int64_t left;
    _Atomic int64_t wanted;     /* a request could not be served from it: lease at least so much; 0 = content */
    _Atomic bool spent;         /* the store has no more to lease in this span */
    _Atomic int64_t leased;     /* of this span, in all, as the store has it; 0 until it has told */
};

/* Counted; one per key. */
struct access_cell {
    _Alignas(64) _Atomic uint64_t request_free_ns; /* monotonic; when the rate of requests is wholly free again */
    _Atomic uint64_t tokens_free_ns;
    _Atomic uint32_t in_flight;
    _Atomic uint32_t revoked;       /* 1: every stream of it ends */
    _Atomic uint32_t span_no[ACCESS_SPANS]; /* grows when a day or month begins: shares taken before are not given back */
    _Atomic uint64_t used_ms;       /* wall clock of the last request */
    struct access_purse purse[ACCESS_UNITS][ACCESS_SPANS];
    _Atomic unsigned refs;
};

struct access_cell *access_cell_new(void);
struct access_cell *access_cell_ref(struct access_cell *c);
struct access_cell *access_cell_unref(struct access_cell *c);

/* --- snapshots ---------------------------------------------------------------------------------------------------- */

enum { ACCESS_HASH = 32 };

struct access_network {
    uint8_t bytes[16]; /* IPv6, or IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;
};

/* What a key may beyond asking models; a new key may none of it. */
enum access_right {
    ACCESS_MAY_PASS = 1 << 0,    /* use /v1 paths that Drover does not know; name no model where one may be left out */
    ACCESS_MAY_MANAGE = 1 << 1,  /* pull, push, load, delete and the like at an endpoint */
    ACCESS_MAY_MEASURE = 1 << 2, /* read /metrics */
};

struct access_key {
    struct sv id, name;
    struct sv owner;             /* a user's name; often empty */
    uint8_t hash[ACCESS_HASH];
    uint8_t old_hash[ACCESS_HASH]; /* of the secret before, which opens the same until then */
    uint64_t old_until_ms;       /* wall clock; 0: there is none */
    bool enabled;
    uint64_t expires_ms;         /* wall clock; 0: never */
    const struct sv *models, *endpoints; /* patterns of sv_glob; an empty list means none at all */
    size_t n_models, n_endpoints;
    const struct access_network *networks; /* where it may come from; none: anywhere */
    size_t n_networks;
    unsigned rights;             /* ACCESS_MAY_* */
    int32_t priority;            /* -100..100 */
    struct access_limits limits;
    struct access_cell *cell;    /* shared */
    uint64_t created_ms;         /* wall clock */
    int64_t version;             /* grows with each change */
};

struct access_snapshot {
    uint64_t version;
    const struct access_key *keys;
    size_t n_keys;
    struct map by_id;            /* of const struct access_key */
    const struct access_key *sessions; /* of people at the console; hash: of the session's secret */
    size_t n_sessions;
    struct arena arena;
    _Atomic unsigned refs;
};

struct access_snapshot *access_snapshot_ref(struct access_snapshot *s);
struct access_snapshot *access_snapshot_unref(struct access_snapshot *s);
struct access_keys { /* borrowed */
    const struct access_key *v;
    size_t n;
};
/* Copies the keys and shares their cells. NULL: out of memory. */
struct access_snapshot *access_snapshot_new(struct access_keys keys, struct access_keys sessions, uint64_t version) MUST_CHECK;

/* --- a request's identity ----------------------------------------------------------------------------------------- */

/* The one credential of a request: Authorization: Bearer, x-api-key, api-key, or the password of Basic. The same value in two
 * places is fine, two values are ERR_BAD_REQUEST. *ret is empty when there is none; it borrows from the head or from
 * scratch, which is to be wiped after use. */
enum { ACCESS_CREDENTIAL_MAX = 512 };
bool access_credential(const struct http_head *head, char scratch[static ACCESS_CREDENTIAL_MAX], struct sv *ret, struct err *e);

/* Whose it is. NULL with ERR_AUTH: nobody's. The answer takes the same work and says the same whichever part was wrong. */
const struct access_key *access_identify(const struct access_snapshot *s, struct sv credential, uint64_t wall_ms, struct sv peer,
                                         struct err *e);
/* The secret of a console's session, from its cookie; empty: there is none. False: ERR_BAD_REQUEST, two different ones. */
bool access_cookie(const struct http_head *head, struct sv *ret, struct err *e);
/* Whether a page of ours has sent it: no other site's can set the header "drover-console" (threat model C-41). Without it a cookie
 * counts only for what changes nothing. */
bool access_from_page(const struct http_head *head);
/* Whose session it is; NULL with ERR_AUTH: nobody's, or it has ended. */
const struct access_key *access_session(const struct access_snapshot *s, struct sv secret, uint64_t wall_ms, struct err *e);
#define ACCESS_COOKIE_TLS "__Host-drover"   /* where the connection is encrypted */
#define ACCESS_COOKIE_PLAIN "drover-session" /* on loopback without TLS, where browsers refuse the other */
/* Wrong credentials by address (IPv6: by /64). A few are mistakes; past that each costs a wait. */
enum { ACCESS_GUARD_SLOTS = 4096 };
struct access_guard {
    _Atomic uint64_t free_ns[ACCESS_GUARD_SLOTS];
};
/* One more from there. Turns the fault into ERR_LIMIT when there were too many lately. */
void access_guard_count(struct access_guard *g, struct sv peer, uint64_t now_us, struct err *e);

/* What a credential says of itself: the id of one of our keys; empty for anything else. Borrowed from it. */
struct sv access_credential_id(struct sv credential);

/* All rights are there for no key at all: the keyless operator on a loopback listener may use everything. */
bool access_has_budget(const struct access_key *k);
bool access_has_money_budget(const struct access_key *k);
/* How much of its tightest budget is used in the present day or month, of requests under way their worst case: 0 .. 1. */
double access_budget_used(const struct access_key *k);
bool access_may(const struct access_key *k, enum access_right right);
bool access_may_use_model(const struct access_key *k, struct sv slug);
bool access_may_use_endpoint(const struct access_key *k, struct sv endpoint);

/* --- a request's share -------------------------------------------------------------------------------------------- */

/* Zeroed: nothing is held. */
struct access_hold {
    struct access_cell *cell;            /* shared */
    const struct access_limits *limits;  /* borrowed: the snapshot must live as long */
    uint32_t span_no[ACCESS_SPANS];
    int64_t rate_tokens;                 /* taken from the rate */
    int64_t taken[ACCESS_UNITS];         /* taken from the purses */
    bool is_counted, is_reserved;
};

/* Counts it: rate of requests and requests at one time. False: ERR_LIMIT with the seconds to wait. k may be NULL: no limits. */
bool access_begin(struct access_hold *h, const struct access_key *k, uint64_t now_us, uint64_t wall_ms, struct err *e);

/* Takes the worst case from the rate of tokens and from each budget, all or nothing. */
enum access_reserved { ACCESS_RESERVED, ACCESS_LATER /* a lease is on its way: ask again in a moment */, ACCESS_REFUSED };
enum access_reserved access_reserve(struct access_hold *h, int64_t tokens, int64_t money, uint64_t now_us, struct err *e);
/* Takes more from the budgets for a request under way: in all, what was reserved before included. */
enum access_reserved access_extend(struct access_hold *h, int64_t tokens, int64_t money, struct err *e);
/* What it came to instead. Once per reservation. */
void access_settle(struct access_hold *h, int64_t tokens, int64_t money);
/* Ends what access_begin began; what is still reserved is given back. Harmless when nothing is held. */
void access_end(struct access_hold *h);

/* Room that is left, for the vendors' rate-limit headers. Unset limits are 0 and 0. */
struct access_room {
    uint64_t requests_limit, requests_left, requests_reset_ms; /* reset: until all of it is free */
    uint64_t tokens_limit, tokens_left, tokens_reset_ms;
};
void access_room(const struct access_hold *h, uint64_t now_us, struct access_room *ret);

/* --- the control face --------------------------------------------------------------------------------------------- */

struct access;
struct loop;
struct store;
struct store_tx;

struct access_events {
    /* A new snapshot (access_snapshot_ref to keep it). */
    void (*on_snapshot)(void *owner, struct access_snapshot *s);
    /* What goes on with this key must end. */
    void (*on_revoked)(void *owner, struct access_cell *cell);
};

/* Reads what there is from the store, which must outlive it; blocks for that, so call it before loops run. The defaults are the limits
 * of keys without their own. */
struct access *access_new(struct loop *l, struct store *s, const struct access_limits *defaults, const struct access_events *on, void *owner,
                          struct err *e) MUST_CHECK;
void access_set_defaults(struct access *a, const struct access_limits *defaults);
/* Gives unused shares of budgets back to the store; nothing is called any more. Before store_close. */
void access_free(struct access *a);
/* The sessions of people, as keys; copies, shares the cells. */
void access_set_sessions(struct access *a, const struct access_key *sessions, size_t n);
/* What goes on with this cell ends. */
void access_revoke_cell(struct access *a, struct access_cell *cell);
struct access_snapshot *access_now(struct access *a); /* borrowed until the next on_snapshot */

/* Who does it, and from where: for the audit log. */
struct access_actor {
    struct sv name, peer;
};

/* The end of a change: e is NULL when it is safe on disk and in force. text is the new key's, only here and only once; both are good
 * until it returns. */
typedef void access_done(void *arg, const struct access_key *key, const char *text, const struct err *e);

/* All copy what they are given. False: refused at once, done will not be called. In a draft id, hash and cell mean nothing; limits that are
 * 0 are the defaults'. ERR_EXISTS: the name is taken; ERR_STALE: the key is not at that version any more. */
bool access_make_key(struct access *a, const struct access_key *draft, const struct access_actor *by, access_done *done, void *arg,
                     struct err *e);
bool access_change_key(struct access *a, struct sv id, int64_t version, const struct access_key *draft, const struct access_actor *by,
                       access_done *done, void *arg, struct err *e);
/* Another secret for the same key, with all it may, its limits and what is left of its budgets. The one before opens the same for
 * overlap_ms (0: not any more, and what goes on with the key ends). ERR_EXISTS: one before that still does, and overlap_ms is not 0. */
enum { ACCESS_OVERLAP_DAYS = 90 };
bool access_rotate_key(struct access *a, struct sv id, uint64_t overlap_ms, const struct access_actor *by, access_done *done, void *arg,
                       struct err *e);
bool access_revoke_key(struct access *a, struct sv id, const struct access_actor *by, access_done *done, void *arg, struct err *e);
/* The key behind k, the oldest for NULL; NULL: there is none. As below. */
const struct access_key *access_next_key(const struct access *a, const struct access_key *k);
/* By id or by name; its limits are those it was given, not the defaults. NULL: there is none. Borrowed until the next change. */
const struct access_key *access_find_key(const struct access *a, struct sv id_or_name);

/* "10.0.0.0/8", "2001:db8::/32", or one address. */
bool access_network_read(struct sv text, struct access_network *ret, struct err *e);
enum { ACCESS_NETWORK_TEXT = 64 };
char *access_network_text(const struct access_network *n, char text[static ACCESS_NETWORK_TEXT]);

/* --- refusals ----------------------------------------------------------------------------------------------------- */

struct access_refusals;
/* Control loop. NULL: out of memory. */
struct access_refusals *access_refusals_new(struct loop *l, struct store *s) MUST_CHECK;
/* Writes what is left; before store_close. NULL is fine. */
void access_refusals_free(struct access_refusals *r);
/* Any thread, a short lock: the use of a key (its id; empty: of no key of ours) was refused; it goes into the audit log within seconds,
 * equal ones together. r NULL: nothing is noted. */
void access_refused(struct access_refusals *r, struct sv key, struct sv peer, struct sv why);

/* --- the audit log ------------------------------------------------------------------------------------------------ */

/* One act. Each row holds the hash of itself and the row before, so that nothing can be changed or taken out unnoticed. */
struct access_act {
    struct sv actor, peer, action, object, detail; /* "key.make", the key's id, what was set */
    uint64_t at_ms;
};
/* Within the job that does what it tells of: both are on disk, or neither. */
bool access_audit(struct store_tx *tx, const struct access_act *act, struct err *e) MUST_CHECK;

/* Walks the whole chain within a job that reads. False: a fault of the store. */
struct access_verdict {
    uint64_t n;                  /* rows */
    uint64_t n_told;             /* rows that there must be, as the head says that is kept beside them */
    uint64_t broken_at;          /* number of the first row that does not fit or is missing; 0: all do */
    uint8_t head[ACCESS_HASH];   /* of the last row: noted elsewhere it proves that none is missing, whoever could write the file */
};
bool access_audit_verify(struct store_tx *tx, struct access_verdict *ret, struct err *e) MUST_CHECK;

#endif
