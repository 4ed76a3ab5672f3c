/* access/book.c - the keys, on the control loop: read at start, changed through the store, shown to workers as snapshots.
 *
 * A change is a job of the store that writes the row and the audit log's in one transaction; only when both are on disk is it in
 * force here and told to whoever asked for it. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

#include "access/book.h"
#include "access/key.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "io/loop.h"

enum {
    KEYS_MAX = 100000,
    KEY_ARENA_MAX = 1 << 20,
    READ_MAX = 512 << 20,
    LEASE_LOOK_MS = 20,      /* how soon a request that waits for a share of a budget gets it asked for */
    QUIET_LOOK_MS = 1000,    /* while no key has a budget: only the day may turn */
    LEASE_PARTS = 64,        /* a budget is leased in so many parts: what a crash may cost of it */
    LEASE_LEAST = 8192,      /* tokens, or millionths, in a part at least, */
    LEASE_FEW_PARTS = 8,     /* but where that is much of a small budget, so many parts */
};

/* One key. Its arena holds all its views. */
struct held {
    struct list all;
    struct list limited;     /* on the book's list of those with a budget */
    struct arena arena;
    struct access_key key;
    unsigned leasing;        /* bits of the purses that are being asked for */
    bool is_over;            /* its time was found to be over */
};

struct access {
    struct loop *loop;
    struct store *store;
    const struct access_events *on;
    void *owner;
    struct access_limits defaults;
    struct list keys;        /* of struct held, oldest first */
    struct list limited;     /* of these, by limited: keys with a budget */
    size_t n_keys;
    struct access_snapshot *sessions; /* as last told; its keys are none of ours */
    struct access_snapshot *snapshot;
    uint64_t version;
    int64_t span_no[ACCESS_SPANS]; /* of now: days since 1970; months since year 0 */
    struct timer look;
    uint64_t expiry_look_ms; /* loop time: when keys are next looked at for their end */
    bool closing;            /* jobs that are still under way have nobody to tell */
    _Atomic unsigned refs;   /* the owner's and one per job under way */
};

static void unref(struct access *a) {
    if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1)
        mem_free(a);
}

static bool begin_job(struct access *a, struct store_job *job, struct err *e) {
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    if (store_submit(a->store, job, e))
        return true;
    unref(a);
    return false;
}

/* --- the keys ----------------------------------------------------------------------------------------------------- */

static void held_free(struct held *h) {
    list_drop(&h->all);
    list_drop(&h->limited);
    access_cell_unref(h->key.cell);
    arena_deinit(&h->arena);
    mem_free(h);
}

/* cell: shared; NULL: a new one. */
static struct held *held_new(const struct access_key *k, struct access_cell *cell) {
    struct held *h = mem_new(sizeof *h);
    if (!h)
        return NULL;
    struct access_key from = *k;
    list_init(&h->all);
    list_init(&h->limited);
    arena_init(&h->arena, access__key_bytes(k), NULL);
    from.cell = cell ? access_cell_ref(cell) : access_cell_new();
    bool ok = from.cell && access__copy_key(&h->arena, &h->key, &from);
    access_cell_unref(from.cell);
    if (ok)
        return h;
    held_free(h);
    return NULL;
}

static struct held *find(const struct access *a, struct sv id_or_name) {
    struct held *named = NULL;
    LIST_FOR(it, &a->keys) {
        struct held *h = CONTAINER(it, struct held, all);
        if (sv_eq(h->key.id, id_or_name))
            return h;
        if (sv_eq(h->key.name, id_or_name))
            named = h;
    }
    return named;
}

const struct access_key *access_next_key(const struct access *a, const struct access_key *k) {
    const struct list *next = k ? CONTAINER(k, struct held, key)->all.next : a->keys.next;
    return next == &a->keys ? NULL : &CONTAINER(next, struct held, all)->key;
}

const struct access_key *access_find_key(const struct access *a, struct sv id_or_name) {
    const struct held *h = find(a, id_or_name);
    return h ? &h->key : NULL;
}

/* What holds for a key that says nothing itself. */
static struct access_limits in_force(const struct access *a, const struct access_limits *own) {
    struct access_limits l = *own;
    l.requests_burst = own->requests_per_min && !own->requests_burst ? own->requests_per_min / 30 + 1 : own->requests_burst ? own->requests_burst : a->defaults.requests_burst;
    l.requests_per_min = own->requests_per_min ? own->requests_per_min : a->defaults.requests_per_min;
    l.concurrent = own->concurrent ? own->concurrent : a->defaults.concurrent;
    l.tokens_per_min = own->tokens_per_min ? own->tokens_per_min : a->defaults.tokens_per_min;
    return l;
}

static bool publish(struct access *a) {
    struct access_key *keys = mem_alloc((a->n_keys + 1) * sizeof *keys);
    size_t n = 0;
    LIST_FOR(it, &a->keys) {
        if (!keys)
            break;
        keys[n] = CONTAINER(it, struct held, all)->key;
        keys[n].limits = in_force(a, &keys[n].limits);
        n++;
    }
    struct access_keys sessions = a->sessions ? (struct access_keys){ a->sessions->sessions, a->sessions->n_sessions } : (struct access_keys){ 0 };
    struct access_snapshot *next = keys ? access_snapshot_new((struct access_keys){ keys, n }, sessions, a->version + 1) : NULL;
    mem_free(keys);
    if (!next) {
        log_event(LOG_ERROR, "keys could not be shown to the workers", F_STR("cause", "out of memory"));
        return false;
    }
    a->version++;
    access_snapshot_unref(a->snapshot);
    a->snapshot = next;
    if (a->on)
        a->on->on_snapshot(a->owner, next);
    return true;
}

struct access_snapshot *access_now(struct access *a) {
    return a->snapshot;
}

void access_set_defaults(struct access *a, const struct access_limits *defaults) {
    a->defaults = *defaults;
    (void)publish(a);
}

void access_set_sessions(struct access *a, const struct access_key *sessions, size_t n) {
    struct access_snapshot *next = access_snapshot_new((struct access_keys){ 0 }, (struct access_keys){ sessions, n }, 0);
    if (!next) {
        log_event(LOG_ERROR, "sessions could not be shown to the workers", F_STR("cause", "out of memory"));
        return;
    }
    access_snapshot_unref(a->sessions);
    a->sessions = next;
    (void)publish(a);
}

void access_revoke_cell(struct access *a, struct access_cell *cell) {
    atomic_store_explicit(&cell->revoked, 1, memory_order_relaxed);
    if (a->on)
        a->on->on_revoked(a->owner, cell);
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

enum change_kind { CHANGE_MAKE, CHANGE_SET, CHANGE_ROTATE, CHANGE_REVOKE };
static const char *const actions[] = { "key.make", "key.change", "key.rotate", "key.revoke" };

struct change {
    struct store_job job;
    struct access *access;
    enum change_kind kind;
    struct arena arena;
    struct access_key key;
    struct access_actor by;
    uint64_t now_ms;
    char text[KEY_TEXT + 1]; /* of a new key or secret; wiped */
    uint64_t overlap_ms;     /* of a new secret: how long the one before still opens */
    access_done *done;
    void *arg;
};

static void change_free(struct change *c) {
    sodium_memzero(c->text, sizeof c->text);
    access_cell_unref(c->key.cell);
    arena_deinit(&c->arena);
    mem_free(c);
}

static bool run_change(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct change *c = CONTAINER(job, struct change, job);
    char detail[128];
    struct access_act act = { c->by.name, c->by.peer, sv_of(actions[c->kind]), c->key.id, c->key.name, c->now_ms };
    if (c->kind == CHANGE_ROTATE) {
        snprintf(detail, sizeof detail, "%.*s; the secret before works %" PRIu64 " s longer", SV_FMT(c->key.name), c->overlap_ms / 1000);
        act.detail = sv_of(detail);
    }
    bool found = true, ok = false;
    switch (c->kind) {
    case CHANGE_MAKE: ok = access__insert_key(tx, &c->key, e); break;
    case CHANGE_ROTATE:
    case CHANGE_SET: ok = access__update_key(tx, &c->key, &found, e); break;
    case CHANGE_REVOKE: ok = access__delete_key(tx, c->key.id, c->now_ms, &found, e); break;
    }
    if (ok && !found)
        ok = err_set(e, ERR_STALE, "the key \"%.*s\" was changed by somebody else meanwhile; look at it again", SV_FMT(c->key.name));
    return ok && access_audit(tx, &act, e);
}

static void on_look(void *arg);

static void watch_budget(struct access *a, struct held *h) {
    if (!access_has_budget(&h->key))
        return;
    list_push_back(&a->limited, &h->limited);
    timer_set(a->loop, &a->look, 0, on_look, a);
}

static bool same_list(const struct sv *a, size_t n, const struct sv *b, size_t m) {
    bool same = n == m;
    for (size_t i = 0; same && i < n; i++)
        same = sv_eq(a[i], b[i]);
    return same;
}

/* Whether it may use the same as before: else what goes on with it ends, since nobody can say which part of that it still may. */
static bool may_the_same(const struct access_key *a, const struct access_key *b) {
    return a->rights == b->rights && a->n_networks == b->n_networks && same_list(a->models, a->n_models, b->models, b->n_models) &&
           same_list(a->endpoints, a->n_endpoints, b->endpoints, b->n_endpoints) &&
           (a->n_networks == 0 || memcmp(a->networks, b->networks, a->n_networks * sizeof *a->networks) == 0);
}

/* In force here. False: memory is out; it will be at the next start. */
static bool take(struct access *a, struct change *c) {
    struct held *was = find(a, c->key.id), *now = NULL;
    if (c->kind == CHANGE_REVOKE) {
        if (was) {
            struct access_cell *cell = access_cell_ref(was->key.cell);
            held_free(was);
            a->n_keys--;
            (void)publish(a);
            access_revoke_cell(a, cell);
            access_cell_unref(cell);
        }
        return true;
    }
    now = held_new(&c->key, was ? was->key.cell : NULL);
    if (!now)
        return false;
    bool ends = !now->key.enabled || (c->kind == CHANGE_ROTATE && !c->overlap_ms) || (was && !may_the_same(&was->key, &now->key));
    if (was) {
        list_push_back(&was->all, &now->all); /* in its place */
        now->leasing = was->leasing;
        held_free(was);
        for (unsigned i = 0; i < ACCESS_UNITS * ACCESS_SPANS; i++) /* a raised budget may have more to lease */
            atomic_store_explicit(&now->key.cell->purse[i / ACCESS_SPANS][i % ACCESS_SPANS].spent, false, memory_order_relaxed);
    } else {
        list_push_back(&a->keys, &now->all);
        a->n_keys++;
    }
    watch_budget(a, now);
    bool published = publish(a);
    if (ends && a->on)
        a->on->on_revoked(a->owner, now->key.cell);
    return published;
}

static void on_changed(struct store_job *job, const struct err *e) {
    struct change *c = CONTAINER(job, struct change, job);
    struct access *a = c->access;
    struct err fault;
    if (!e && !a->closing && !take(a, c)) {
        err_no_memory(&fault);
        e = &fault;
    }
    c->done(c->arg, &c->key, c->text[0] && !e ? c->text : NULL, e);
    change_free(c);
    unref(a);
}

static struct change *change_new(struct access *a, enum change_kind kind, const struct access_key *draft, const struct access_actor *by,
                                 access_done *done, void *arg, struct err *e) {
    struct change *c = mem_new(sizeof *c);
    if (!c) {
        err_no_memory(e);
        return NULL;
    }
    c->access = a;
    c->kind = kind;
    c->done = done;
    c->arg = arg;
    c->now_ms = clock_wall_ms();
    arena_init(&c->arena, KEY_ARENA_MAX, NULL);
    struct access_key from = *draft;
    from.cell = NULL;
    c->by.name = arena_sv(&c->arena, by->name);
    c->by.peer = arena_sv(&c->arena, by->peer);
    if (c->by.name.p && c->by.peer.p && access__copy_key(&c->arena, &c->key, &from))
        return c;
    change_free(c);
    err_no_memory(e);
    return NULL;
}

static bool submit(struct change *c, struct err *e) {
    c->job = (struct store_job){ .home = c->access->loop, .run = run_change, .done = on_changed };
    if (begin_job(c->access, &c->job, e))
        return true;
    change_free(c);
    return false;
}

bool access_make_key(struct access *a, const struct access_key *draft, const struct access_actor *by, access_done *done, void *arg,
                     struct err *e) {
    char text[KEY_TEXT + 1];
    struct access_key key = *draft;
    if (!access__check_draft(draft, e))
        return false;
    if (a->n_keys >= KEYS_MAX)
        return err_set(e, ERR_EXISTS, "there are %d keys, which is the most there may be; revoke some", KEYS_MAX);
    if (find(a, draft->name))
        return err_set(e, ERR_EXISTS, "a key named \"%.*s\" exists already", SV_FMT(draft->name));
    key_make(text);
    (void)key_read(sv_of(text), &key.id);
    key_hash(sv_of(text), key.hash);
    key.created_ms = clock_wall_ms();
    key.version = 1;
    struct change *c = change_new(a, CHANGE_MAKE, &key, by, done, arg, e);
    if (c)
        memcpy(c->text, text, sizeof text);
    sodium_memzero(text, sizeof text);
    return c && submit(c, e);
}

static bool no_such_key(struct sv id, struct err *e) {
    return err_set(e, ERR_NOT_FOUND, "there is no key \"%.*s\"", SV_FMT(sv_first(id, 80)));
}

bool access_change_key(struct access *a, struct sv id, int64_t version, const struct access_key *draft, const struct access_actor *by,
                       access_done *done, void *arg, struct err *e) {
    const struct held *h = find(a, id), *named = find(a, draft->name);
    if (!h)
        return no_such_key(id, e);
    if (!access__check_draft(draft, e))
        return false;
    if (h->key.version != version)
        return err_set(e, ERR_STALE, "the key \"%.*s\" was changed by somebody else meanwhile; look at it again", SV_FMT(h->key.name));
    if (named && named != h)
        return err_set(e, ERR_EXISTS, "a key named \"%.*s\" exists already", SV_FMT(draft->name));
    struct access_key key = *draft;
    key.id = h->key.id;
    memcpy(key.hash, h->key.hash, sizeof key.hash);
    memcpy(key.old_hash, h->key.old_hash, sizeof key.old_hash);
    key.old_until_ms = h->key.old_until_ms;
    key.created_ms = h->key.created_ms;
    key.version = version + 1;
    struct change *c = change_new(a, CHANGE_SET, &key, by, done, arg, e);
    return c && submit(c, e);
}

static bool check_overlap(const struct access_key *k, uint64_t overlap_ms, uint64_t now_ms, struct err *e) {
    if (overlap_ms > ACCESS_OVERLAP_DAYS * UINT64_C(86400000))
        return err_set(e, ERR_BAD_REQUEST, "\"overlap\" may be %d days at most", ACCESS_OVERLAP_DAYS);
    return !overlap_ms || k->old_until_ms <= now_ms ||
           err_set(e, ERR_EXISTS,
                   "the secret that \"%.*s\" had before still works for %" PRIu64 " s: wait, or rotate with an overlap of 0, which ends both",
                   SV_FMT(k->name), (k->old_until_ms - now_ms + 999) / 1000);
}

bool access_rotate_key(struct access *a, struct sv id, uint64_t overlap_ms, const struct access_actor *by, access_done *done, void *arg,
                       struct err *e) {
    const struct held *h = find(a, id);
    uint64_t now_ms = clock_wall_ms();
    char text[KEY_TEXT + 1];
    if (!h)
        return no_such_key(id, e);
    if (!check_overlap(&h->key, overlap_ms, now_ms, e))
        return false;
    struct access_key key = h->key;
    key_renew(key.id, text);
    if (overlap_ms)
        memcpy(key.old_hash, key.hash, sizeof key.old_hash);
    else
        memset(key.old_hash, 0, sizeof key.old_hash);
    key.old_until_ms = overlap_ms ? now_ms + overlap_ms : 0;
    key_hash(sv_of(text), key.hash);
    key.version++;
    struct change *c = change_new(a, CHANGE_ROTATE, &key, by, done, arg, e);
    if (c) {
        memcpy(c->text, text, sizeof text);
        c->overlap_ms = overlap_ms;
    }
    sodium_memzero(text, sizeof text);
    return c && submit(c, e);
}

bool access_revoke_key(struct access *a, struct sv id, const struct access_actor *by, access_done *done, void *arg, struct err *e) {
    struct held *h = find(a, id);
    if (!h)
        return no_such_key(id, e);
    struct change *c = change_new(a, CHANGE_REVOKE, &h->key, by, done, arg, e);
    return c && submit(c, e);
}

/* --- budgets ------------------------------------------------------------------------------------------------------ */

struct lease {
    struct store_job job;
    struct access *access;
    struct access_cell *cell;    /* shared */
    char id[KEY_ID + 1];
    unsigned unit, span;
    int64_t span_no;
    int64_t limit, want;         /* want < 0: given back */
    int64_t granted, leased;     /* for done: now, and in all */
    bool spent;
};

/* Only ever leases what is left of the budget of this span; the row of an earlier span is begun anew. */
static bool run_lease(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct lease *l = CONTAINER(job, struct lease, job);
    struct store_rows *rows = STORE_QUERY(tx, e, "SELECT span_no, leased FROM lease WHERE key_id = $1 AND unit = $2 AND span = $3",
                                          STORE_TEXT(sv_of(l->id)), STORE_I64(l->unit), STORE_I64(l->span));
    if (!rows)
        return false;
    enum store_step step = store_next(rows, e);
    int64_t there = step == STORE_ROW ? store_i64(rows, 0) : 0, leased = there >= l->span_no && there ? store_i64(rows, 1) : 0;
    int64_t span_no = there > l->span_no ? there : l->span_no; /* after a clock was set back, a later day's is still the present one */
    if (step == STORE_FAULT)
        return false;
    if (step == STORE_ROW)
        store_end(rows);
    int64_t left = l->limit - leased;
    l->granted = l->want < left ? l->want : left > 0 ? left : 0;
    leased += l->granted;
    if (leased < 0)
        leased = 0;
    l->leased = leased;
    l->spent = leased >= l->limit;
    return l->granted == 0 || STORE_RUN(tx, e,
                                        "INSERT INTO lease (key_id, unit, span, span_no, leased) VALUES ($1, $2, $3, $4, $5) "
                                        "ON CONFLICT (key_id, unit, span) DO UPDATE SET span_no = excluded.span_no, leased = excluded.leased",
                                        STORE_TEXT(sv_of(l->id)), STORE_I64(l->unit), STORE_I64(l->span), STORE_I64(span_no), STORE_I64(leased));
}

static void on_leased(struct store_job *job, const struct err *e) {
    struct lease *l = CONTAINER(job, struct lease, job);
    struct access *a = l->access;
    struct access_purse *p = &l->cell->purse[l->unit][l->span];
    struct held *h = a->closing ? NULL : find(a, sv_of(l->id));
    if (h)
        h->leasing &= ~(1u << (l->unit * ACCESS_SPANS + l->span));
    if (h && !e && l->span_no == a->span_no[l->span]) {
        atomic_fetch_add_explicit(&p->left, l->granted, memory_order_relaxed);
        atomic_store_explicit(&p->leased, l->leased, memory_order_relaxed);
        atomic_store_explicit(&p->spent, l->spent, memory_order_relaxed);
        atomic_store_explicit(&p->wanted, 0, memory_order_relaxed);
    }
    access_cell_unref(l->cell);
    mem_free(l);
    unref(a);
}

static bool lease(struct access *a, struct held *h, unsigned unit, unsigned span, int64_t want) {
    struct lease *l = mem_new(sizeof *l);
    if (!l)
        return false;
    *l = (struct lease){ .job = { .home = a->loop, .run = run_lease, .done = on_leased }, .access = a, .cell = access_cell_ref(h->key.cell),
                         .unit = unit, .span = span, .span_no = a->span_no[span], .limit = (int64_t)h->key.limits.budget[unit][span], .want = want };
    sv_to_cstr(h->key.id, l->id, sizeof l->id);
    if (begin_job(a, &l->job, NULL))
        return true;
    access_cell_unref(l->cell);
    mem_free(l);
    return false;
}

static int64_t part_of(int64_t limit) {
    int64_t part = limit / LEASE_PARTS > LEASE_LEAST ? limit / LEASE_PARTS : LEASE_LEAST;
    return part <= limit / LEASE_FEW_PARTS ? part : limit / LEASE_FEW_PARTS + 1;
}

static void look_at(struct access *a, struct held *h) {
    for (unsigned i = 0; i < ACCESS_UNITS * ACCESS_SPANS; i++) {
        unsigned unit = i / ACCESS_SPANS, span = i % ACCESS_SPANS;
        struct access_purse *p = &h->key.cell->purse[unit][span];
        int64_t limit = (int64_t)h->key.limits.budget[unit][span], part = part_of(limit);
        int64_t wanted = atomic_load_explicit(&p->wanted, memory_order_relaxed), left = atomic_load_explicit(&p->left, memory_order_relaxed);
        bool low = left < part / 2, spent = atomic_load_explicit(&p->spent, memory_order_relaxed);
        if (!limit || (h->leasing & 1u << i) || spent || !(wanted || low))
            continue;
        int64_t want = wanted - left > part ? wanted - left : part;
        if (lease(a, h, unit, span, want))
            h->leasing |= 1u << i;
    }
}

static int64_t span_number(enum access_span span, uint64_t wall_ms) {
    time_t s = (time_t)(wall_ms / 1000);
    struct tm t;
    if (span == ACCESS_DAY)
        return (int64_t)(wall_ms / 86400000u);
    gmtime_r(&s, &t);
    return (int64_t)(t.tm_year + 1900) * 12 + t.tm_mon;
}

/* A new day or month: its budgets are whole. A clock that is set back does not bring the old ones again. */
static void turn_spans(struct access *a, uint64_t wall_ms) {
    for (unsigned span = 0; span < ACCESS_SPANS; span++) {
        int64_t now = span_number((enum access_span)span, wall_ms);
        if (now <= a->span_no[span])
            continue;
        a->span_no[span] = now;
        LIST_FOR(it, &a->keys) {
            struct access_cell *c = CONTAINER(it, struct held, all)->key.cell;
            atomic_fetch_add_explicit(&c->span_no[span], 1, memory_order_release);
            for (unsigned unit = 0; unit < ACCESS_UNITS; unit++) {
                atomic_store_explicit(&c->purse[unit][span].left, 0, memory_order_relaxed);
                atomic_store_explicit(&c->purse[unit][span].leased, 0, memory_order_relaxed);
                atomic_store_explicit(&c->purse[unit][span].spent, false, memory_order_relaxed);
            }
        }
    }
}

/* What goes on with a key ends with it. */
static void end_expired(struct access *a, uint64_t wall_ms) {
    LIST_FOR(it, &a->keys) {
        struct held *h = CONTAINER(it, struct held, all);
        bool is_over = h->key.expires_ms && wall_ms >= h->key.expires_ms;
        if (is_over && !h->is_over && a->on)
            a->on->on_revoked(a->owner, h->key.cell);
        h->is_over = is_over;
    }
}

static void on_look(void *arg) {
    struct access *a = arg;
    uint64_t now_ms = clock_wall_ms();
    turn_spans(a, now_ms);
    if (loop_now_ms(a->loop) >= a->expiry_look_ms) {
        a->expiry_look_ms = loop_now_ms(a->loop) + QUIET_LOOK_MS / 2;
        end_expired(a, now_ms);
    }
    LIST_FOR(it, &a->limited)
        look_at(a, CONTAINER(it, struct held, limited));
    timer_set(a->loop, &a->look, list_empty(&a->limited) ? QUIET_LOOK_MS : LEASE_LOOK_MS, on_look, a);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static bool on_row(void *arg, const struct access_key *k) {
    struct access *a = arg;
    struct held *h = held_new(k, NULL);
    if (!h)
        return false;
    list_push_back(&a->keys, &h->all);
    a->n_keys++;
    if (access_has_budget(k))
        list_push_back(&a->limited, &h->limited);
    return true;
}

static bool read_all(struct store_tx *tx, void *arg, struct err *e) {
    struct arena arena;
    arena_init(&arena, READ_MAX, NULL);
    bool ok = access__read_keys(tx, &arena, on_row, arg, e);
    arena_deinit(&arena);
    return ok || err_ctx(e, "read the keys");
}

struct access *access_new(struct loop *l, struct store *s, const struct access_limits *defaults, const struct access_events *on, void *owner,
                          struct err *e) {
    struct access *a = mem_new(sizeof *a);
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    atomic_init(&a->refs, 1);
    a->loop = l;
    a->store = s;
    a->owner = owner;
    a->defaults = *defaults;
    list_init(&a->keys);
    list_init(&a->limited);
    if (!store_read(s, read_all, a, e) || (!publish(a) && !err_no_memory(e))) {
        access_free(a);
        return NULL;
    }
    a->on = on;
    turn_spans(a, clock_wall_ms());
    timer_set(l, &a->look, 0, on_look, a);
    return a;
}

/* What was leased and not spent goes back, so that a restart costs nothing of a budget. */
static void give_back(struct access *a) {
    LIST_FOR(it, &a->limited) {
        struct held *h = CONTAINER(it, struct held, limited);
        for (unsigned i = 0; i < ACCESS_UNITS * ACCESS_SPANS; i++) {
            struct access_purse *p = &h->key.cell->purse[i / ACCESS_SPANS][i % ACCESS_SPANS];
            int64_t left = h->key.limits.budget[i / ACCESS_SPANS][i % ACCESS_SPANS] ? atomic_exchange(&p->left, 0) : 0;
            if (left)
                (void)lease(a, h, i / ACCESS_SPANS, i % ACCESS_SPANS, -left);
        }
    }
}

void access_free(struct access *a) {
    if (!a)
        return;
    a->closing = true;
    timer_stop(a->loop, &a->look);
    give_back(a);
    for (struct list *it; (it = a->keys.next) != &a->keys;)
        held_free(CONTAINER(it, struct held, all));
    access_snapshot_unref(a->sessions);
    access_snapshot_unref(a->snapshot);
    unref(a);
}
