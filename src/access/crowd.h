/* access/crowd.h - private to access: people and sessions as the control loop keeps them, and their rows in the store. */
#ifndef DROVER_ACCESS_CROWD_H
#define DROVER_ACCESS_CROWD_H

#include "access/people.h"
#include "base/list.h"
#include "io/loop.h"
#include "store/store.h"

enum {
    PERSON_NAME = 64,
    SESSION_PEER = 64, SESSION_AGENT = 120,
    PEOPLE_MAX = 10000,
    SETUP_TTL_MS = 3600000, FRESH_MS = 600000,
};

struct member { /* one person */
    struct list all;
    struct person is;
    char name[PERSON_NAME + 1];
    char hash[PASSPHRASE_HASH]; /* of the passphrase */
};

struct visit { /* one session */
    struct list all;
    struct session is;
    struct access_cell *cell; /* shared */
    uint8_t hash[ACCESS_HASH];
    uint64_t kept_ms;         /* used_ms as it stands in the store */
    char id[SESSION_ID + 1], peer[SESSION_PEER], agent[SESSION_AGENT];
};

/* Failed sign-ins, by address and by name: a few are mistakes, past that each costs a wait that doubles. */
enum { TRIES = 1024 };
struct tries {
    struct {
        uint64_t key, until_ms, last_ms;
        unsigned n;
    } slots[TRIES];
    uint64_t secret; /* so that nobody can choose whose slot to share */
};

struct people {
    struct loop *loop;
    struct store *store;
    struct access *access;
    const struct people_events *on;
    void *owner;
    struct people_settings settings;
    struct passphrases *passphrases;
    struct list members;     /* of struct member, by name */
    struct list visits;      /* of struct visit, oldest first */
    size_t n_members;
    uint8_t setup_hash[ACCESS_HASH];
    uint64_t setup_until_ms; /* monotonic; 0: there is no token */
    struct tries tries;
    uint64_t n_refused;
    struct timer look;
    bool closing;
    unsigned refs;           /* the owner's and one per act under way */
};

/* people.c */
struct member *people__member(const struct people *p, struct sv name);
struct visit *people__visit(const struct people *p, struct sv id);
/* NULL: out of memory. */
struct member *people__take_member(struct people *p, const struct person *who, struct sv hash);
struct visit *people__take_visit(struct people *p, const struct member *m, const struct session *from, const uint8_t hash[static ACCESS_HASH]);
void people__drop_visit(struct people *p, struct visit *v);    /* what goes on with it ends */
void people__drop_visits(struct people *p, struct sv person);  /* all of somebody's */
void people__drop_member(struct people *p, struct member *m);
bool people__is_last_admin(const struct people *p, const struct member *m);
void people__changed(struct people *p);
void people__unref(struct people *p);

/* tries.c */
bool tries_may(const struct tries *t, struct sv peer, struct sv name, uint64_t now_ms, struct err *e);
/* An attempt counts as failed from its beginning, so that many at once are no way around; tries_passed takes that back. */
void tries_begin(struct tries *t, struct sv peer, struct sv name, uint64_t now_ms);
void tries_passed(struct tries *t, struct sv peer, struct sv name);
/* What counts as one place of senders: the address, of IPv6 the /64, since the rest is the sender's to choose. A view on peer or half. */
struct sv access__place(struct sv peer, uint8_t half[static 8]);

/* people_rows.c */
bool people__insert(struct store_tx *tx, const struct person *who, struct sv hash, struct err *e);
/* who->version is the new one. hash empty: as it was. *ret_found: it was there, and at the version before. */
bool people__update(struct store_tx *tx, const struct person *who, struct sv hash, bool *ret_found, struct err *e);
bool people__delete(struct store_tx *tx, struct sv name, struct err *e);
/* Whether there still is an admin: two who take each other's role at once must not both succeed. */
bool people__keeps_admin(struct store_tx *tx, struct err *e);
bool people__seen(struct store_tx *tx, struct sv name, uint64_t seen_ms, struct sv hash, struct err *e);
bool people__insert_session(struct store_tx *tx, const struct session *s, struct sv person, const uint8_t hash[static ACCESS_HASH], struct err *e);
bool people__delete_session(struct store_tx *tx, struct sv id, struct err *e);
bool people__delete_sessions(struct store_tx *tx, struct sv person, struct err *e);
bool people__use_session(struct store_tx *tx, struct sv id, uint64_t used_ms, struct err *e);
/* Both into p; before its loop runs, so from another thread. */
bool people__read(struct store_tx *tx, struct people *p, struct err *e);

#endif
