/* access/people.c - the people and sessions there are, and when a session ends by itself. What changes them is act.c's. */
#include <sodium.h>
#include <stdio.h>

#include "access/crowd.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"

enum {
    LOOK_MS = 5000,  /* how often sessions are looked at: those that are over end */
    KEEP_MS = 60000, /* how old "used" in the store may be: what a crash may add to a session's idle time */
};

#define X(id, text) [id] = text,
static const char *const role_names[] = { ACCESS_ROLES(X) };
#undef X

const char *access_role_name(enum access_role r) {
    return role_names[r];
}

bool access_role_read(struct sv text, enum access_role *ret) {
    for (enum access_role r = ROLE_VIEWER; r < ROLES; r++)
        if (sv_eq(text, sv_of(role_names[r])))
            return *ret = r, true;
    return false;
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

struct member *people__member(const struct people *p, struct sv name) {
    LIST_FOR(it, &p->members)
        if (sv_eq(CONTAINER(it, struct member, all)->is.name, name))
            return CONTAINER(it, struct member, all);
    return NULL;
}

struct visit *people__visit(const struct people *p, struct sv id) {
    LIST_FOR(it, &p->visits)
        if (sv_eq(CONTAINER(it, struct visit, all)->is.id, id))
            return CONTAINER(it, struct visit, all);
    return NULL;
}

const struct person *people_find(const struct people *p, struct sv name) {
    const struct member *m = people__member(p, name);
    return m ? &m->is : NULL;
}

const struct person *people_next(const struct people *p, const struct person *who) {
    const struct list *next = who ? CONTAINER(who, struct member, is)->all.next : p->members.next;
    return next == &p->members ? NULL : &CONTAINER(next, struct member, all)->is;
}

const struct session *people_next_session(const struct people *p, const struct session *s) {
    const struct list *next = s ? CONTAINER(s, struct visit, is)->all.next : p->visits.next;
    return next == &p->visits ? NULL : &CONTAINER(next, struct visit, all)->is;
}

static bool counts_as_admin(const struct member *m) {
    return m->is.role == ROLE_ADMIN && m->is.enabled;
}

bool people_has_admin(const struct people *p) {
    LIST_FOR(it, &p->members)
        if (counts_as_admin(CONTAINER(it, struct member, all)))
            return true;
    return false;
}

uint64_t people_refused(const struct people *p) {
    return p->n_refused;
}

bool people__is_last_admin(const struct people *p, const struct member *m) {
    LIST_FOR(it, &p->members)
        if (CONTAINER(it, struct member, all) != m && counts_as_admin(CONTAINER(it, struct member, all)))
            return false;
    return counts_as_admin(m);
}

struct passphrases *people_passphrases(struct people *p) {
    return p->passphrases;
}

/* --- sessions in time --------------------------------------------------------------------------------------------- */

/* Requests at the gateway are use, too. */
static void time_visit(const struct people *p, struct visit *v) {
    uint64_t used = atomic_load_explicit(&v->cell->used_ms, memory_order_relaxed);
    if (used > v->is.used_ms)
        v->is.used_ms = used;
    v->is.expires_ms = v->is.created_ms + p->settings.session_ttl_ms;
    v->is.idle_until_ms = v->is.used_ms + p->settings.session_idle_ms;
}

static bool is_over(const struct people *p, struct visit *v, uint64_t wall_ms) {
    time_visit(p, v);
    return wall_ms >= v->is.expires_ms || wall_ms >= v->is.idle_until_ms || !v->is.person->enabled;
}

const struct session *people_session(struct people *p, struct sv secret) {
    uint8_t hash[ACCESS_HASH];
    struct visit *found = NULL;
    if (secret.n != SESSION_SECRET)
        return NULL;
    crypto_generichash(hash, sizeof hash, (const unsigned char *)secret.p, secret.n, NULL, 0);
    LIST_FOR(it, &p->visits)
        if (sodium_memcmp(hash, CONTAINER(it, struct visit, all)->hash, sizeof hash) == 0)
            found = CONTAINER(it, struct visit, all);
    uint64_t now = clock_wall_ms();
    if (!found || is_over(p, found, now))
        return NULL;
    found->is.used_ms = now > found->is.used_ms ? now : found->is.used_ms; /* the clock may have been set back */
    time_visit(p, found);
    return &found->is;
}

/* The gateway's view: each session a key that may use all models and no more. */
static void tell_access(struct people *p) {
    static const struct sv all[] = { { "*", 1 } };
    size_t n = 0, used = 0;
    LIST_FOR(it, &p->visits)
        n++;
    struct access_key *keys = mem_new((n + 1) * sizeof *keys);
    if (!keys)
        log_event(LOG_ERROR, "sessions could not be shown to the workers", F_STR("cause", "out of memory"));
    LIST_FOR(it, &p->visits) {
        struct visit *v = CONTAINER(it, struct visit, all);
        if (!keys || !v->is.person->enabled)
            continue;
        time_visit(p, v);
        struct access_key *k = &keys[used++];
        *k = (struct access_key){ .id = v->is.person->name, .name = v->is.person->name, .owner = v->is.person->name, .enabled = true,
                                  .expires_ms = v->is.expires_ms, .models = all, .n_models = 1, .endpoints = all, .n_endpoints = 1,
                                  .cell = v->cell, .created_ms = v->is.created_ms };
        memcpy(k->hash, v->hash, sizeof k->hash);
    }
    if (keys)
        access_set_sessions(p->access, keys, used);
    mem_free(keys);
}

void people__changed(struct people *p) {
    tell_access(p);
    if (p->on && p->on->on_changed)
        p->on->on_changed(p->owner);
}

struct keeping {
    struct store_job job;
    struct people *people;
    size_t n;
    struct {
        char id[SESSION_ID + 1];
        uint64_t used_ms; /* 0: it is over */
    } rows[];
};

static bool run_keeping(struct store_tx *tx, struct store_job *job, struct err *e) {
    const struct keeping *k = CONTAINER(job, struct keeping, job);
    for (size_t i = 0; i < k->n; i++)
        if (!(k->rows[i].used_ms ? people__use_session(tx, sv_of(k->rows[i].id), k->rows[i].used_ms, e)
                                 : people__delete_session(tx, sv_of(k->rows[i].id), e)))
            return false;
    return true;
}

static void on_kept(struct store_job *job, const struct err *e) {
    struct keeping *k = CONTAINER(job, struct keeping, job);
    (void)e; /* the next look tries again; those that are over are over all the same */
    people__unref(k->people);
    mem_free(k);
}

/* Writes what has changed by itself. all: also what was used a moment ago. */
static void keep(struct people *p, bool all) {
    uint64_t now = clock_wall_ms();
    size_t n = 0;
    bool ended = false;
    LIST_FOR(it, &p->visits)
        n++;
    struct keeping *k = mem_new(sizeof *k + n * sizeof k->rows[0]);
    if (!k)
        return;
    for (struct list *it = p->visits.next, *next; it != &p->visits; it = next) {
        struct visit *v = CONTAINER(it, struct visit, all);
        bool over = is_over(p, v, now);
        next = it->next;
        if (!over && v->is.used_ms < v->kept_ms + (all ? 1 : KEEP_MS))
            continue;
        memcpy(k->rows[k->n].id, v->id, sizeof v->id);
        k->rows[k->n++].used_ms = over ? 0 : v->is.used_ms;
        v->kept_ms = v->is.used_ms;
        ended = ended || over;
        if (over)
            people__drop_visit(p, v);
    }
    k->job = (struct store_job){ .home = p->loop, .run = run_keeping, .done = on_kept };
    k->people = p;
    if (k->n && store_submit(p->store, &k->job, NULL))
        p->refs++;
    else
        mem_free(k);
    if (ended)
        people__changed(p);
}

static void on_look(void *arg) {
    struct people *p = arg;
    keep(p, false);
    timer_set(p->loop, &p->look, LOOK_MS, on_look, p);
}

void people_set(struct people *p, const struct people_settings *settings) {
    p->settings = *settings;
    people__changed(p);
}

/* --- taking in and letting go ------------------------------------------------------------------------------------- */

struct member *people__take_member(struct people *p, const struct person *who, struct sv hash) {
    struct member *m = mem_new(sizeof *m);
    if (!m)
        return NULL;
    m->is = *who;
    snprintf(m->name, sizeof m->name, "%.*s", SV_FMT(who->name));
    snprintf(m->hash, sizeof m->hash, "%.*s", SV_FMT(hash));
    m->is.name = sv_of(m->name);
    list_push_back(&p->members, &m->all);
    p->n_members++;
    return m;
}

struct visit *people__take_visit(struct people *p, const struct member *m, const struct session *from, const uint8_t hash[static ACCESS_HASH]) {
    struct visit *v = mem_new(sizeof *v);
    if (!v || !(v->cell = access_cell_new())) {
        mem_free(v);
        return NULL;
    }
    v->is = *from;
    snprintf(v->id, sizeof v->id, "%.*s", SV_FMT(from->id));
    snprintf(v->peer, sizeof v->peer, "%.*s", SV_FMT(from->peer));
    snprintf(v->agent, sizeof v->agent, "%.*s", SV_FMT(from->agent));
    v->is.id = sv_of(v->id);
    v->is.peer = sv_of(v->peer);
    v->is.agent = sv_of(v->agent);
    v->is.person = &m->is;
    v->is.cell = v->cell;
    v->kept_ms = from->used_ms;
    memcpy(v->hash, hash, sizeof v->hash);
    time_visit(p, v);
    list_push_back(&p->visits, &v->all);
    return v;
}

void people__drop_visit(struct people *p, struct visit *v) {
    list_drop(&v->all);
    access_revoke_cell(p->access, v->cell);
    access_cell_unref(v->cell);
    sodium_memzero(v->hash, sizeof v->hash);
    mem_free(v);
}

void people__drop_visits(struct people *p, struct sv person) {
    for (struct list *it = p->visits.next, *next; it != &p->visits; it = next) {
        next = it->next;
        if (sv_eq(CONTAINER(it, struct visit, all)->is.person->name, person))
            people__drop_visit(p, CONTAINER(it, struct visit, all));
    }
}

void people__drop_member(struct people *p, struct member *m) {
    people__drop_visits(p, m->is.name);
    list_drop(&m->all);
    p->n_members--;
    sodium_memzero(m->hash, sizeof m->hash);
    mem_free(m);
}

/* --- the setup token ---------------------------------------------------------------------------------------------- */

bool people_setup_token(struct people *p, char text[static SETUP_TOKEN + 1]) {
    if (people_has_admin(p))
        return false;
    rand_text(text, SETUP_TOKEN);
    crypto_generichash(p->setup_hash, sizeof p->setup_hash, (const unsigned char *)text, SETUP_TOKEN, NULL, 0);
    p->setup_until_ms = loop_now_ms(p->loop) + SETUP_TTL_MS;
    return true;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static bool read_all(struct store_tx *tx, void *arg, struct err *e) {
    return people__read(tx, arg, e) || err_ctx(e, "read who may use the console");
}

struct people *people_new(struct loop *l, struct store *s, struct access *access, const struct people_settings *settings,
                          const struct people_events *on, void *owner, struct err *e) {
    struct people *p = mem_new(sizeof *p);
    if (!p) {
        err_no_memory(e);
        return NULL;
    }
    p->refs = 1;
    p->loop = l;
    p->store = s;
    p->access = access;
    p->settings = *settings;
    p->owner = owner;
    list_init(&p->members);
    list_init(&p->visits);
    rand_bytes(&p->tries.secret, sizeof p->tries.secret);
    p->passphrases = passphrases_new(l);
    if ((!p->passphrases && !err_no_memory(e)) || !store_read(s, read_all, p, e)) {
        people_free(p);
        return NULL;
    }
    tell_access(p);
    p->on = on;
    timer_set(l, &p->look, LOOK_MS, on_look, p);
    return p;
}

void people__unref(struct people *p) {
    if (--p->refs)
        return;
    mem_free(p);
}

void people_free(struct people *p) {
    if (!p)
        return;
    if (p->on)
        keep(p, true);
    p->closing = true;
    p->on = NULL;
    timer_stop(p->loop, &p->look);
    passphrases_free(p->passphrases);
    for (struct list *it; (it = p->visits.next) != &p->visits;) {
        list_drop(it);
        access_cell_unref(CONTAINER(it, struct visit, all)->cell);
        mem_free(CONTAINER(it, struct visit, all));
    }
    for (struct list *it; (it = list_pop(&p->members));)
        mem_free(CONTAINER(it, struct member, all));
    people__unref(p);
}
