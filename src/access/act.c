/* access/act.c - what changes people and sessions: passphrase work -> a job that writes it and its row of the audit log -> in force ->
 * told. Each act is one struct on that way; every path ends in finish, once. */
#include <sodium.h>
#include <stdio.h>

#include "access/crowd.h"
#include "base/clock.h"
#include "base/rand.h"
#include "base/utf8.h"

enum act_kind { ACT_SIGN_IN, ACT_REFUSED, ACT_SETUP, ACT_CONFIRM, ACT_END, ACT_ADD, ACT_CHANGE, ACT_REMOVE };
static const char *const action_names[] = { "session.begin", "session.refuse", "user.setup", "session.confirm", "session.end",
                                            "user.add",    "user.change",  "user.remove" };

struct act {
    struct store_job job;
    struct people *people;
    enum act_kind kind;
    people_done *done;
    void *arg;
    struct person who;                     /* as it will be; its name is name */
    char name[PERSON_NAME + 1];
    char by[PERSON_NAME + 1], from[SESSION_PEER], agent[SESSION_AGENT]; /* the actor, the address, the program */
    char hash[PASSPHRASE_HASH];            /* a new one; empty: as it was */
    char text[PASSPHRASE_MOST];            /* of a passphrase to be hashed anew */
    size_t text_n;
    char id[SESSION_ID + 1], last[SESSION_ID + 1]; /* of the session; of the one that makes room for it, or empty */
    char secret[SESSION_SECRET + 1];
    uint8_t secret_hash[ACCESS_HASH];
    char detail[160];
    uint64_t now_ms, setup_until_ms;
    bool ends_sessions;                    /* of the person */
};

/* --- beginning and end -------------------------------------------------------------------------------------------- */

static void copy(char *to, size_t size, struct sv from) {
    size_t n = from.n < size ? from.n : size - 1;
    while (n && n < from.n && ((unsigned char)from.p[n] & 0xc0) == 0x80) /* not in the middle of a character */
        n--;
    if (n)
        memcpy(to, from.p, n);
    to[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
            to[i] = '?';
    if (!utf8_valid(sv_of(to)))
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)to[i] >= 0x80)
                to[i] = '?';
}

static struct act *act_new(struct people *p, enum act_kind kind, struct sv name, const struct access_actor *by, people_done *done, void *arg,
                           struct err *e) {
    struct act *a = mem_new(sizeof *a);
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    a->people = p;
    a->kind = kind;
    a->done = done;
    a->arg = arg;
    a->now_ms = clock_wall_ms();
    copy(a->name, sizeof a->name, name);
    copy(a->by, sizeof a->by, by->name);
    copy(a->from, sizeof a->from, by->peer);
    a->who = (struct person){ .name = sv_of(a->name) };
    p->refs++;
    return a;
}

static void act_free(struct act *a) {
    people__unref(a->people);
    sodium_memzero(a, sizeof *a);
    mem_free(a);
}

static void finish(struct act *a, const struct people_result *r, const struct err *e) {
    static const struct people_result none;
    if (e && a->kind == ACT_SETUP && !a->people->closing)
        a->people->setup_until_ms = a->setup_until_ms; /* the link is not used up by what failed */
    if (a->done)
        a->done(a->arg, r ? r : &none, e);
    act_free(a);
}

static void fail(struct act *a, enum err_code code, const char *text) {
    struct err e;
    err_set(&e, code, "%s", text);
    finish(a, NULL, &e);
}

/* --- the job ------------------------------------------------------------------------------------------------------ */

static struct session session_of(const struct act *a) {
    return (struct session){ .id = sv_of(a->id), .created_ms = a->now_ms, .used_ms = a->now_ms, .fresh_until_ms = a->now_ms + FRESH_MS,
                             .peer = sv_of(a->from), .agent = sv_of(a->agent) };
}

static bool write_session(struct store_tx *tx, const struct act *a, struct err *e) {
    const struct session s = session_of(a);
    return (!a->last[0] || people__delete_session(tx, sv_of(a->last), e)) &&
           people__insert_session(tx, &s, sv_of(a->name), a->secret_hash, e);
}

static bool write_change(struct store_tx *tx, const struct act *a, struct err *e) {
    bool found;
    if (!people__update(tx, &a->who, sv_of(a->hash), &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_STALE, "\"%s\" was changed by somebody else meanwhile; look again", a->name);
    return (!a->ends_sessions || people__delete_sessions(tx, sv_of(a->name), e)) && people__keeps_admin(tx, e);
}

static bool run_act(struct store_tx *tx, struct store_job *job, struct err *e) {
    const struct act *a = CONTAINER(job, struct act, job);
    const struct access_act told = { sv_of(a->by), sv_of(a->from), sv_of(action_names[a->kind]), sv_of(a->kind == ACT_END ? a->id : a->name),
                                     sv_of(a->detail), a->now_ms };
    bool ok = true;
    switch (a->kind) {
    case ACT_SIGN_IN: ok = people__seen(tx, sv_of(a->name), a->now_ms, sv_of(a->hash), e) && write_session(tx, a, e); break;
    case ACT_SETUP: ok = people__insert(tx, &a->who, sv_of(a->hash), e) && write_session(tx, a, e); break;
    case ACT_ADD: ok = people__insert(tx, &a->who, sv_of(a->hash), e); break;
    case ACT_CHANGE: ok = write_change(tx, a, e); break;
    case ACT_REMOVE: ok = people__delete(tx, sv_of(a->name), e) && people__delete_sessions(tx, sv_of(a->name), e) && people__keeps_admin(tx, e); break;
    case ACT_END: ok = people__delete_session(tx, sv_of(a->id), e); break;
    case ACT_REFUSED:
    case ACT_CONFIRM: break;
    }
    return ok && access_audit(tx, &told, e);
}

/* --- in force ----------------------------------------------------------------------------------------------------- */

static bool begin_session(struct act *a, struct member *m, struct people_result *r) {
    const struct session s = session_of(a);
    struct visit *last = a->last[0] ? people__visit(a->people, sv_of(a->last)) : NULL;
    struct visit *v = people__take_visit(a->people, m, &s, a->secret_hash);
    if (last)
        people__drop_visit(a->people, last);
    if (v)
        *r = (struct people_result){ &v->is, &m->is, sv_of(a->secret) };
    return v != NULL;
}

static void take_change(struct act *a, struct member *m) {
    m->is.role = a->who.role;
    m->is.enabled = a->who.enabled;
    m->is.version = a->who.version;
    if (a->hash[0])
        memcpy(m->hash, a->hash, sizeof m->hash);
    if (a->ends_sessions)
        people__drop_visits(a->people, m->is.name);
}

/* False: memory is out; it is on disk all the same and holds from the next start on. */
static bool take(struct act *a, struct people_result *r) {
    struct people *p = a->people;
    struct member *m = people__member(p, sv_of(a->name));
    struct visit *v;
    switch (a->kind) {
    case ACT_SETUP:
        p->setup_until_ms = 0; /* fall through */
    case ACT_ADD:
        m = people__take_member(p, &a->who, sv_of(a->hash));
        r->person = m ? &m->is : NULL;
        return m && (a->kind == ACT_ADD || begin_session(a, m, r));
    case ACT_SIGN_IN:
        if (!m)
            return true; /* removed while it was written: the caller sees no session */
        m->is.seen_ms = a->now_ms;
        if (a->hash[0])
            memcpy(m->hash, a->hash, sizeof m->hash);
        return begin_session(a, m, r);
    case ACT_CHANGE:
        if (m)
            take_change(a, m);
        r->person = m ? &m->is : NULL;
        return true;
    case ACT_REMOVE:
        if (m)
            people__drop_member(p, m);
        return true;
    case ACT_END:
        if ((v = people__visit(p, sv_of(a->id))))
            people__drop_visit(p, v);
        return true;
    case ACT_CONFIRM:
        if ((v = people__visit(p, sv_of(a->id))))
            v->is.fresh_until_ms = a->now_ms + FRESH_MS;
        *r = (struct people_result){ v ? &v->is : NULL, m ? &m->is : NULL, SV_NULL };
        return true;
    case ACT_REFUSED: return true;
    }
    return true;
}

static void on_written(struct store_job *job, const struct err *e) {
    struct act *a = CONTAINER(job, struct act, job);
    struct people_result r = { 0 };
    if (a->people->closing) {
        fail(a, ERR_CANCELED, "the service is stopping");
        return;
    }
    if (e) {
        finish(a, NULL, e);
        return;
    }
    bool ok = take(a, &r);
    if (a->kind != ACT_REFUSED && a->kind != ACT_CONFIRM)
        people__changed(a->people);
    if (!ok)
        fail(a, ERR_NO_MEMORY, "out of memory");
    else if (a->kind == ACT_REFUSED)
        fail(a, ERR_AUTH, "the name or the passphrase is wrong");
    else if ((a->kind == ACT_SIGN_IN || a->kind == ACT_CONFIRM) && !r.session)
        fail(a, ERR_AUTH, "the session has ended");
    else
        finish(a, &r, NULL);
}

static bool submit(struct act *a, struct err *e) {
    a->job = (struct store_job){ .home = a->people->loop, .run = run_act, .done = on_written };
    return store_submit(a->people->store, &a->job, e);
}

static void record(struct act *a) {
    struct err e;
    if (!submit(a, &e))
        finish(a, NULL, &e);
}

/* As the first step of an act: nobody is called back then. */
static bool begin(struct act *a, struct err *e) {
    if (submit(a, e))
        return true;
    act_free(a);
    return false;
}

/* --- passphrases -------------------------------------------------------------------------------------------------- */

static void on_hashed(void *arg, struct sv hash, const struct err *e) {
    struct act *a = arg;
    if (a->people->closing) {
        fail(a, ERR_CANCELED, "the service is stopping");
        return;
    }
    if (e) {
        finish(a, NULL, e);
        return;
    }
    sv_to_cstr(hash, a->hash, sizeof a->hash);
    sodium_memzero(a->text, sizeof a->text);
    record(a);
}

static void refuse(struct act *a) {
    a->people->n_refused++;
    a->kind = ACT_REFUSED;
    snprintf(a->detail, sizeof a->detail, "wrong name or passphrase");
    record(a);
}

static void on_compared(void *arg, bool fits, bool stale) {
    struct act *a = arg;
    struct err e;
    const struct member *m = people__member(a->people, sv_of(a->name));
    if (a->people->closing) {
        fail(a, ERR_CANCELED, "the service is stopping");
        return;
    }
    if (!fits || !m || !m->is.enabled) {
        refuse(a);
        return;
    }
    tries_passed(&a->people->tries, sv_of(a->from), sv_of(a->name));
    if (!stale || a->kind != ACT_SIGN_IN)
        record(a);
    else if (!passphrase_hash(a->people->passphrases, (struct sv){ a->text, a->text_n }, on_hashed, a, &e))
        record(a); /* another time */
}

static void keep_text(struct act *a, struct sv passphrase) {
    a->text_n = passphrase.n < sizeof a->text ? passphrase.n : sizeof a->text;
    if (a->text_n)
        memcpy(a->text, passphrase.p, a->text_n);
}

/* --- the acts ----------------------------------------------------------------------------------------------------- */

static void make_session(struct act *a, struct sv agent) {
    unsigned n = 0;
    const struct visit *oldest = NULL;
    rand_text(a->id, SESSION_ID);
    rand_text(a->secret, SESSION_SECRET);
    crypto_generichash(a->secret_hash, sizeof a->secret_hash, (const unsigned char *)a->secret, SESSION_SECRET, NULL, 0);
    copy(a->agent, sizeof a->agent, agent);
    snprintf(a->detail, sizeof a->detail, "%s", a->id);
    LIST_FOR(it, &a->people->visits) {
        const struct visit *v = CONTAINER(it, struct visit, all);
        if (!sv_eq(v->is.person->name, sv_of(a->name)))
            continue;
        oldest = oldest ? oldest : v;
        n++;
    }
    if (n >= SESSIONS_PER_PERSON)
        memcpy(a->last, oldest->id, sizeof a->last);
}

static bool check_name(struct sv name, struct err *e) {
    bool ok = name.n >= 1 && name.n <= PERSON_NAME;
    for (size_t i = 0; ok && i < name.n; i++)
        ok = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", name.p[i]) != NULL && name.p[i];
    ok = ok && name.p[0] != '-' && name.p[0] != '.';
    return ok || err_set(e, ERR_BAD_REQUEST, "a name has 1 to %d letters, digits, '.', '_' or '-', and begins with none of '.' and '-'", PERSON_NAME);
}

/* A passphrase that is asked for: wrong ones are counted before anything is said. */
static bool compare(struct act *a, struct sv passphrase, struct err *e) {
    struct people *p = a->people;
    const struct member *m = people__member(p, sv_of(a->name));
    uint64_t now = loop_now_ms(p->loop);
    keep_text(a, passphrase);
    if (tries_may(&p->tries, sv_of(a->from), sv_of(a->name), now, e) &&
        passphrase_compare(p->passphrases, passphrase, m ? sv_of(m->hash) : SV_NULL, on_compared, a, e)) {
        tries_begin(&p->tries, sv_of(a->from), sv_of(a->name), now);
        return true;
    }
    act_free(a);
    return false;
}

bool people_sign_in(struct people *p, struct sv name, struct sv passphrase, struct sv peer, struct sv agent, people_done *done, void *arg,
                    struct err *e) {
    struct act *a = act_new(p, ACT_SIGN_IN, name, &(struct access_actor){ name, peer }, done, arg, e);
    if (!a)
        return false;
    make_session(a, agent);
    return compare(a, passphrase, e);
}

bool people_confirm(struct people *p, const struct session *s, struct sv passphrase, struct sv peer, people_done *done, void *arg, struct err *e) {
    struct act *a = act_new(p, ACT_CONFIRM, s->person->name, &(struct access_actor){ s->person->name, peer }, done, arg, e);
    if (!a)
        return false;
    memcpy(a->id, s->id.p, sizeof a->id);
    return compare(a, passphrase, e);
}

static bool token_fits(const struct people *p, struct sv token) {
    uint8_t hash[ACCESS_HASH];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)token.p, token.n, NULL, 0);
    return sodium_memcmp(hash, p->setup_hash, sizeof hash) == 0 && p->setup_until_ms > loop_now_ms(p->loop);
}

static bool hash_and_write(struct act *a, struct sv passphrase, struct err *e) {
    if (passphrase_hash(a->people->passphrases, passphrase, on_hashed, a, e))
        return true;
    if (a->kind == ACT_SETUP)
        a->people->setup_until_ms = a->setup_until_ms;
    act_free(a);
    return false;
}

bool people_setup(struct people *p, struct sv token, struct sv name, struct sv passphrase, struct sv peer, struct sv agent,
                  people_done *done, void *arg, struct err *e) {
    uint64_t now = loop_now_ms(p->loop);
    if (!tries_may(&p->tries, peer, SV(""), now, e))
        return false;
    if (people_has_admin(p))
        return err_set(e, ERR_DENIED, "there is an admin already: sign in");
    if (!token_fits(p, token)) {
        tries_begin(&p->tries, peer, SV(""), now);
        return err_set(e, ERR_DENIED, "this setup link is used up or too old; drover user setup prints a new one");
    }
    if (!check_name(name, e) || !passphrase_check(passphrase, e))
        return false;
    struct act *a = act_new(p, ACT_SETUP, name, &(struct access_actor){ name, peer }, done, arg, e);
    if (!a)
        return false;
    a->setup_until_ms = p->setup_until_ms;
    p->setup_until_ms = 0; /* one time: also for two who come at once */
    a->who.role = ROLE_ADMIN;
    a->who.enabled = true;
    a->who.created_ms = a->who.seen_ms = a->now_ms;
    a->who.version = 1;
    make_session(a, agent);
    snprintf(a->detail, sizeof a->detail, "the first admin, by setup link");
    return hash_and_write(a, passphrase, e);
}

bool people_end_session(struct people *p, struct sv id, const struct access_actor *by, people_done *done, void *arg, struct err *e) {
    const struct visit *v = people__visit(p, id);
    if (!v)
        return err_set(e, ERR_NOT_FOUND, "there is no session \"%.*s\"", SV_FMT(sv_first(id, 40)));
    struct act *a = act_new(p, ACT_END, v->is.person->name, by, done, arg, e);
    if (!a)
        return false;
    memcpy(a->id, v->id, sizeof a->id);
    snprintf(a->detail, sizeof a->detail, "of %s", a->name);
    return begin(a, e);
}

bool people_add(struct people *p, struct sv name, enum access_role role, struct sv passphrase, const struct access_actor *by,
                people_done *done, void *arg, struct err *e) {
    if (!check_name(name, e) || !passphrase_check(passphrase, e))
        return false;
    if (people__member(p, name))
        return err_set(e, ERR_EXISTS, "there is a person named \"%.*s\" already", SV_FMT(name));
    if (p->n_members >= PEOPLE_MAX)
        return err_set(e, ERR_EXISTS, "there are %d people, which is the most there may be", PEOPLE_MAX);
    struct act *a = act_new(p, ACT_ADD, name, by, done, arg, e);
    if (!a)
        return false;
    a->who.role = role;
    a->who.enabled = true;
    a->who.created_ms = a->now_ms;
    a->who.version = 1;
    snprintf(a->detail, sizeof a->detail, "%s", access_role_name(role));
    return hash_and_write(a, passphrase, e);
}

static const struct member *find(const struct people *p, struct sv name, struct err *e) {
    const struct member *m = people__member(p, name);
    if (!m)
        err_set(e, ERR_NOT_FOUND, "there is no person \"%.*s\"", SV_FMT(sv_first(name, 80)));
    return m;
}

bool people_change(struct people *p, struct sv name, int64_t version, const struct person_change *change, const struct access_actor *by,
                   people_done *done, void *arg, struct err *e) {
    const struct member *m = find(p, name, e);
    if (!m || (change->passphrase.n && !passphrase_check(change->passphrase, e)))
        return false;
    if (m->is.version != version)
        return err_set(e, ERR_STALE, "\"%.*s\" was changed by somebody else meanwhile; look again", SV_FMT(m->is.name));
    enum access_role role = change->role != ROLE_NONE ? change->role : m->is.role;
    bool enabled = change->enabled < 0 ? m->is.enabled : change->enabled > 0;
    if (people__is_last_admin(p, m) && (role != ROLE_ADMIN || !enabled))
        return err_set(e, ERR_DENIED, "\"%.*s\" is the last admin; make another one first", SV_FMT(m->is.name));
    struct act *a = act_new(p, ACT_CHANGE, name, by, done, arg, e);
    if (!a)
        return false;
    a->who = m->is;
    a->who.name = sv_of(a->name);
    a->who.role = role;
    a->who.enabled = enabled;
    a->who.version = version + 1;
    a->ends_sessions = role != m->is.role || !enabled || change->passphrase.n;
    snprintf(a->detail, sizeof a->detail, "%s, %s%s", access_role_name(role), enabled ? "may sign in" : "may not sign in",
             change->passphrase.n ? ", new passphrase" : "");
    if (change->passphrase.n)
        return hash_and_write(a, change->passphrase, e);
    return begin(a, e);
}

bool people_remove(struct people *p, struct sv name, const struct access_actor *by, people_done *done, void *arg, struct err *e) {
    const struct member *m = find(p, name, e);
    if (!m)
        return false;
    if (people__is_last_admin(p, m))
        return err_set(e, ERR_DENIED, "\"%.*s\" is the last admin; make another one first", SV_FMT(m->is.name));
    struct act *a = act_new(p, ACT_REMOVE, name, by, done, arg, e);
    return a && begin(a, e);
}
