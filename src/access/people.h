/* access/people.h - who may use the console: people with a passphrase and a role, and their sessions.
 *
 * A person signs in with name and passphrase and gets a session: a secret in a cookie, of which only the hash is kept. It ends
 * after access.session_ttl, after access.session_idle without a request, when somebody ends it, and with every change of its
 * person's role or passphrase. The first person is made with a one-time token that is told on the admin socket or at the start.
 * Whatever changes is written to the store with its row of the audit log before it is in force. Control loop only. */
#ifndef DROVER_ACCESS_PEOPLE_H
#define DROVER_ACCESS_PEOPLE_H

#include "access/access.h"
#include "access/passphrase.h"

/* Each may what those before it may. */
#define ACCESS_ROLES(X)         \
    X(ROLE_NONE, "none")        \
    X(ROLE_VIEWER, "viewer")    \
    X(ROLE_OPERATOR, "operator") \
    X(ROLE_ADMIN, "admin")
#define X(id, text) id,
enum access_role { ACCESS_ROLES(X) ROLES };
#undef X
const char *access_role_name(enum access_role r);
/* viewer, operator or admin. */
bool access_role_read(struct sv text, enum access_role *ret);

struct person {
    struct sv name;
    enum access_role role;
    bool enabled;
    uint64_t created_ms, seen_ms; /* seen: the last sign-in; 0: never */
    int64_t version;
};

enum { SESSION_ID = 12, SESSION_SECRET = 43, SESSIONS_PER_PERSON = 10 };

struct session {
    struct sv id;                /* to name it by; opens nothing */
    const struct person *person; /* as it is now */
    uint64_t created_ms, used_ms, expires_ms, idle_until_ms, fresh_until_ms; /* fresh: the passphrase was given so lately */
    struct sv peer, agent;
    const struct access_cell *cell; /* what the gateway counts for it */
};

struct people_settings {
    uint64_t session_ttl_ms, session_idle_ms;
};

struct people_events {
    /* Somebody or some session has changed; e NULL. May be NULL. */
    void (*on_changed)(void *owner);
};

struct people;
/* Reads what there is from the store; blocks for that. access is told the sessions, so that the gateway knows them, too. Both
 * must outlive it. */
struct people *people_new(struct loop *l, struct store *s, struct access *access, const struct people_settings *settings,
                          const struct people_events *on, void *owner, struct err *e) MUST_CHECK;
void people_set(struct people *p, const struct people_settings *settings);
/* Writes when sessions were last used. Before store_close. NULL is fine. */
void people_free(struct people *p);
/* The pool that all passphrases of the process share. */
struct passphrases *people_passphrases(struct people *p);

bool people_has_admin(const struct people *p);
uint64_t people_refused(const struct people *p); /* sign-ins since the start that were refused */
/* A new one-time token for making the first admin, good for an hour; the one before is void. False: there is an admin already. */
enum { SETUP_TOKEN = 43 };
bool people_setup_token(struct people *p, char text[static SETUP_TOKEN + 1]);

/* --- asking ------------------------------------------------------------------------------------------------------- */

const struct person *people_find(const struct people *p, struct sv name);
/* The person behind who, the first for NULL; NULL: there is none. */
const struct person *people_next(const struct people *p, const struct person *who);
const struct session *people_next_session(const struct people *p, const struct session *s);
/* Whose secret this is; NULL: nobody's, or it has ended. Counts as use. */
const struct session *people_session(struct people *p, struct sv secret);

/* --- acting ------------------------------------------------------------------------------------------------------- */

/* How it ended. session (with its secret in text, once) where one has begun; person where one was made or changed. e: NULL when it is on
 * disk and in force. All good until it returns. */
struct people_result {
    const struct session *session;
    const struct person *person;
    struct sv secret;
};
typedef void people_done(void *arg, const struct people_result *r, const struct err *e);

/* All copy what they are given and call done once, later; false: refused at once, done will not run.
 * Wrong names and passphrases look the same (ERR_AUTH); too many of them from one address or for one name: ERR_LIMIT. */
bool people_sign_in(struct people *p, struct sv name, struct sv passphrase, struct sv peer, struct sv agent, people_done *done, void *arg,
                    struct err *e);
/* The first admin, by the one-time token; signs in at once. */
bool people_setup(struct people *p, struct sv token, struct sv name, struct sv passphrase, struct sv peer, struct sv agent,
                  people_done *done, void *arg, struct err *e);
/* The passphrase once more: the session is fresh for ten minutes. */
bool people_confirm(struct people *p, const struct session *s, struct sv passphrase, struct sv peer, people_done *done, void *arg, struct err *e);
bool people_end_session(struct people *p, struct sv id, const struct access_actor *by, people_done *done, void *arg, struct err *e);

bool people_add(struct people *p, struct sv name, enum access_role role, struct sv passphrase, const struct access_actor *by,
                people_done *done, void *arg, struct err *e);
/* What is not to change: role ROLE_NONE, enabled < 0, an empty passphrase. The last admin who can sign in stays one. */
struct person_change {
    enum access_role role;
    int enabled;
    struct sv passphrase;
};
bool people_change(struct people *p, struct sv name, int64_t version, const struct person_change *change, const struct access_actor *by,
                   people_done *done, void *arg, struct err *e);
bool people_remove(struct people *p, struct sv name, const struct access_actor *by, people_done *done, void *arg, struct err *e);

#endif
