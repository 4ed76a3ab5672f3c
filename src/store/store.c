/* Opening and closing, the queues, the state.
 *
 * store_open does everything that may fail on the caller's thread, so that a fault has somebody to tell it to; only then the threads
 * begin. Their queues are lists behind one lock, which is held for a few pointers. Tried and dropped: a thread for everything
 * (a page of the console waited behind each sync of the disk), and one reader for reads and checks (it waited behind a backup). */
#include "store/store.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/room.h"

enum { CLOSE_LOOK_MS = 20 }; /* between interrupts of what does not end */

/* --- state --------------------------------------------------------------------------------------------------------- */

#define TO(s) (1u << (s))
#define STATES(X)                                                                   \
    X(STORE_WELL,    "well",    TO(STORE_FAILING) | TO(STORE_DAMAGED))              \
    X(STORE_FAILING, "failing", TO(STORE_WELL) | TO(STORE_DAMAGED)) /* probed */    \
    X(STORE_DAMAGED, "damaged", 0)                                  /* until replaced */

static const struct {
    const char *name;
    unsigned next;
} state_info[STORE_STATES] = {
#define X(id, text, next) [id] = { text, next },
    STATES(X)
#undef X
};

static const char *const finding_names[STORE_FINDINGS] = { "unchecked", "checking", "fine", "damaged", "canceled" };

const char *store_state_name(enum store_state state) {
    return state_info[state].name;
}

const char *store_finding_name(enum store_finding finding) {
    return finding_names[finding];
}

bool store_is_well(const struct store *s) {
    return atomic_load_explicit(&s->state, memory_order_relaxed) == STORE_WELL;
}

void store__goto(struct store *s, enum store_state to, const char *text) {
    uv_mutex_lock(&s->sync.lock);
    enum store_state from = (enum store_state)atomic_load(&s->state);
    bool goes = state_info[from].next & TO(to); /* else it is known already, or has become worse meanwhile */
    if (text && (goes || from == to))
        snprintf(s->sync.text, sizeof s->sync.text, "%s", text);
    if (goes) {
        atomic_store(&s->state, (int)to);
        s->sync.since_ms = clock_wall_ms();
        uv_cond_signal(&s->threads[SIDE_WRITER].work); /* it begins to probe */
    }
    uv_mutex_unlock(&s->sync.lock);
    if (!goes)
        return;
    if (to == STORE_WELL)
        log_event(LOG_INFO, "store well again", F_STR("file", s->path));
    else
        log_event(LOG_ERROR, to == STORE_FAILING ? "store failing" : "store damaged", F_STR("file", s->path),
                  F_STR("cause", text ? text : ""));
}

void store__look(struct store_thread *t, const struct err *e) {
    if (!t->db || t->db->ill == STORE_WELL)
        return;
    enum store_state ill = t->db->ill;
    if (t->db->ill_io) {
        uv_mutex_lock(&t->store->sync.lock);
        t->store->sync.must_check = true;
        uv_mutex_unlock(&t->store->sync.lock);
    }
    store__disconnect(t); /* after a failed sync this descriptor would call the next one a success */
    store__goto(t->store, ill, e && e->code ? e->text : "the database failed");
}

/* --- connections --------------------------------------------------------------------------------------------------- */

static void set_db(struct store_thread *t, struct store_db *db) {
    uv_mutex_lock(&t->store->sync.lock);
    t->db = db;
    uv_mutex_unlock(&t->store->sync.lock);
}

bool store__connect(struct store_thread *t, struct err *e) {
    struct store *s = t->store;
    if (t->db)
        return true;
    enum store_state ill;
    struct store_db *db = s->backend->open(s->path, t->side != SIDE_WRITER, &ill, e);
    if (db)
        set_db(t, db);
    else if (ill != STORE_WELL)
        store__goto(s, ill, e->text);
    return db != NULL;
}

void store__disconnect(struct store_thread *t) {
    struct store_db *db = t->db;
    set_db(t, NULL); /* first: store_close may want to interrupt it */
    t->store->backend->close(db);
}

/* --- jobs ---------------------------------------------------------------------------------------------------------- */

static bool submit(struct store *s, struct store_job *job, enum store_side side, struct err *e) {
    struct store_thread *t = &s->threads[side];
    job->side = (unsigned char)side;
    job->failed = false;
    job->fault = (struct err){ .code = ERR_NONE };
    uv_mutex_lock(&s->sync.lock);
    bool ok = true;
    if (atomic_load_explicit(&s->closing, memory_order_relaxed))
        ok = err_set(e, ERR_UNAVAILABLE, "the store is closing");
    else if (side == SIDE_WRITER && !store_is_well(s))
        ok = err_set(e, ERR_STORE, "the store is %s: %s", state_info[atomic_load(&s->state)].name, s->sync.text);
    else if (t->n_waiting >= s->queue_max)
        ok = err_set(e, ERR_UNAVAILABLE, "the store's queue is full: %u jobs wait", t->n_waiting);
    if (ok) {
        list_push_back(&t->waiting, &job->msg.queued);
        t->n_waiting++;
        if (t->n_waiting == 1)
            uv_cond_signal(&t->work);
    }
    uv_mutex_unlock(&s->sync.lock);
    return ok;
}

bool store_submit(struct store *s, struct store_job *job, struct err *e) {
    return submit(s, job, job->reads ? SIDE_READER : SIDE_WRITER, e);
}

struct store_job *store__take(struct store_thread *t) {
    uv_mutex_lock(&t->store->sync.lock);
    struct list *it = list_pop(&t->waiting);
    if (it)
        t->n_waiting--;
    uv_mutex_unlock(&t->store->sync.lock);
    return it ? CONTAINER(it, struct store_job, msg.queued) : NULL;
}

static void done(struct store_job *job) {
    job->done(job, job->failed ? &job->fault : NULL); /* last line: job may be gone now */
}

static void on_home(struct msg *m) {
    done(CONTAINER(m, struct store_job, msg));
}

void store__deliver(struct store *s, struct store_job *job) {
    uv_mutex_lock(&s->sync.lock);
    if (job->failed)
        s->sync.failed++;
    else if (job->side == SIDE_WRITER)
        s->sync.writes++;
    else
        s->sync.reads++;
    uv_mutex_unlock(&s->sync.lock);
    job->msg.deliver = on_home;
    if (!job->home || !loop_post(job->home, &job->msg))
        done(job);
}

/* --- checks and backups -------------------------------------------------------------------------------------------- */

static bool run_backup(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct store_backup *b = CONTAINER(job, struct store_backup, job);
    return tx->db->backend->backup(tx->db, b->path, &tx->store->closing, &b->ret_bytes, e);
}

bool store_backup(struct store *s, struct store_backup *b, struct err *e) {
    b->job.run = run_backup;
    b->job.reads = true;
    return submit(s, &b->job, SIDE_KEEPER, e);
}

/* What a check found, for the status and the log; a finding also makes the store damaged. */
static void found(struct store *s, enum store_finding finding, const char *text) {
    uv_mutex_lock(&s->sync.lock);
    s->sync.check = finding;
    s->sync.check_ms = clock_wall_ms();
    snprintf(s->sync.check_text, sizeof s->sync.check_text, "%s", text);
    uv_mutex_unlock(&s->sync.lock);
    log_event(finding == STORE_BAD ? LOG_ERROR : LOG_INFO, "store checked", F_STR("file", s->path),
              F_STR("found", store_finding_name(finding)), F_STR("text", text));
    if (finding == STORE_BAD)
        store__goto(s, STORE_DAMAGED, text);
}

static bool check(struct store_tx *tx, struct store_job *job, bool full, struct err *e) {
    struct store_check *c = CONTAINER(job, struct store_check, job);
    struct store *s = tx->store;
    uv_mutex_lock(&s->sync.lock);
    s->sync.check = STORE_CHECKING;
    uv_mutex_unlock(&s->sync.lock);
    c->ret_fine = false;
    bool ok = tx->db->backend->check(tx->db, full, &c->ret_fine, c->ret_text, e);
    found(s, !ok ? STORE_CHECK_CUT : c->ret_fine ? STORE_FINE : STORE_BAD, ok ? c->ret_text : e->text);
    return ok;
}

static bool run_full_check(struct store_tx *tx, struct store_job *job, struct err *e) {
    return check(tx, job, true, e);
}

static bool run_quick_check(struct store_tx *tx, struct store_job *job, struct err *e) {
    return check(tx, job, false, e);
}

bool store_check(struct store *s, struct store_check *c, struct err *e) {
    c->job.run = run_full_check;
    c->job.reads = true;
    return submit(s, &c->job, SIDE_KEEPER, e);
}

static void on_quick_done(struct store_job *job, const struct err *e) {
    struct store *s = CONTAINER(job, struct store, quick.job);
    if (e && e->code != ERR_CANCELED)
        log_event(LOG_WARN, "store not checked", F_STR("file", s->path), F_STR("cause", e->text));
    uv_mutex_lock(&s->sync.lock);
    s->sync.quick_busy = false;
    uv_mutex_unlock(&s->sync.lock);
}

void store__check_soon(struct store *s) {
    uv_mutex_lock(&s->sync.lock);
    bool busy = s->sync.quick_busy;
    s->sync.quick_busy = true;
    s->sync.must_check = false;
    uv_mutex_unlock(&s->sync.lock);
    if (busy)
        return;
    struct err e;
    s->quick.job.reads = true;
    s->quick.job.run = run_quick_check;
    s->quick.job.done = on_quick_done;
    if (!submit(s, &s->quick.job, SIDE_KEEPER, &e))
        on_quick_done(&s->quick.job, &e);
}

/* --- status -------------------------------------------------------------------------------------------------------- */

void store_status(struct store *s, struct store_status *st) {
    memset(st, 0, sizeof *st);
    st->version = s->version;
    st->was_clean = s->was_clean;
    st->file_bytes = store__file_bytes(s->path);
    uv_mutex_lock(&s->sync.lock);
    st->state = (enum store_state)atomic_load(&s->state);
    st->since_ms = s->sync.since_ms;
    memcpy(st->text, s->sync.text, sizeof st->text);
    for (int i = 0; i < SIDES; i++)
        st->waiting += s->threads[i].n_waiting;
    st->check = s->sync.check;
    st->check_ms = s->sync.check_ms;
    memcpy(st->check_text, s->sync.check_text, sizeof st->check_text);
    st->commits = s->sync.commits;
    st->writes = s->sync.writes;
    st->reads = s->sync.reads;
    st->failed = s->sync.failed;
    uv_mutex_unlock(&s->sync.lock);
}

/* --- open and close ------------------------------------------------------------------------------------------------ */

void store__ended(struct store_thread *t) {
    uv_mutex_lock(&t->store->sync.lock);
    t->ended = true;
    uv_cond_signal(&t->store->sync.gone);
    uv_mutex_unlock(&t->store->sync.lock);
}

/* Waits for the threads. The keeper is interrupted at once, the others after the deadline; an interrupt reaches only what runs
 * just then, so it is repeated. */
static void end_threads(struct store *s, uint64_t deadline_us) {
    uv_mutex_lock(&s->sync.lock);
    atomic_store(&s->closing, true);
    for (;;) {
        bool late = clock_mono_us() >= deadline_us, all = true;
        if (late)
            atomic_store(&s->cut, true);
        for (int i = 0; i < SIDES; i++) {
            struct store_thread *t = &s->threads[i];
            if (!t->started || t->ended)
                continue;
            all = false;
            uv_cond_signal(&t->work);
            if (t->db && (late || t->side == SIDE_KEEPER))
                s->backend->interrupt(t->db);
        }
        if (all)
            break;
        uv_cond_timedwait(&s->sync.gone, &s->sync.lock, CLOSE_LOOK_MS * UINT64_C(1000000));
    }
    uv_mutex_unlock(&s->sync.lock);
    for (int i = 0; i < SIDES; i++)
        if (s->threads[i].started)
            uv_thread_join(&s->threads[i].id);
}

static void cancel_rest(struct store *s) {
    for (int i = 0; i < SIDES; i++) {
        for (struct store_job *job; (job = store__take(&s->threads[i]));) {
            job->failed = true;
            err_set(&job->fault, ERR_CANCELED, "the store was closed");
            store__deliver(s, job);
        }
    }
}

static void store_free(struct store *s) {
    for (int i = SIDES; i-- > 0;) { /* the writer last: SQLite merges its log when the last connection goes */
        store__disconnect(&s->threads[i]);
        uv_cond_destroy(&s->threads[i].work);
    }
    uv_cond_destroy(&s->sync.gone);
    uv_mutex_destroy(&s->sync.lock);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    mem_free(s->path);
    mem_free(s);
}

void store_close(struct store *s, unsigned deadline_ms) {
    struct err e;
    if (!s)
        return;
    end_threads(s, clock_mono_us() + deadline_ms * UINT64_C(1000));
    cancel_rest(s);
    if (store_is_well(s) && !store__mark_clean(s->threads[SIDE_WRITER].db, &e))
        log_event(LOG_WARN, "store not marked as closed", F_STR("file", s->path), F_STR("cause", e.text));
    store_free(s);
}

static struct store *store_new(const struct store_options *o, struct err *e) {
    struct store *s = mem_new(sizeof *s);
    char *path = mem_str(o->path.p, o->path.n);
    if (!s || !path) {
        mem_free(path);
        mem_free(s);
        err_no_memory(e);
        return NULL;
    }
    s->backend = &store__sqlite;
    s->path = path;
    s->lock_fd = -1;
    s->queue_max = o->queue_max ? o->queue_max : STORE_QUEUE_MAX;
    s->sync.since_ms = clock_wall_ms();
    uv_mutex_init(&s->sync.lock);
    uv_cond_init(&s->sync.gone);
    for (int i = 0; i < SIDES; i++) {
        struct store_thread *t = &s->threads[i];
        t->store = s;
        t->side = (enum store_side)i;
        list_init(&t->waiting);
        uv_cond_init(&t->work);
    }
    return s;
}

static bool open_files(struct store *s, struct err *e) {
    return store__make_dir(s->path, e) && (s->lock_fd = store__lock(s->path, e)) >= 0 && store__make_file(s->path, e);
}

static bool open_database(struct store *s, const struct store_migration *list, struct err *e) {
    struct store_thread *writer = &s->threads[SIDE_WRITER];
    return store__connect(writer, e) && store__migrate(writer->db, s->path, list, &s->version, e) &&
           store__mark_open(writer->db, &s->was_clean, e) && store__connect(&s->threads[SIDE_READER], e);
}

static bool start_threads(struct store *s, struct err *e) {
    for (int i = 0; i < SIDES; i++) {
        struct store_thread *t = &s->threads[i];
        int rc = uv_thread_create(&t->id, i == SIDE_WRITER ? store__writer : store__serve, t);
        if (rc != 0) {
            end_threads(s, 0);
            return err_set(e, ERR_INTERNAL, "start a thread of the store: %s", uv_strerror(rc));
        }
        t->started = true;
    }
    return true;
}

struct store *store_open(const struct store_options *o, struct err *e) {
    struct store *s = store_new(o, e);
    if (!s)
        return NULL;
    if (!open_files(s, e) || !open_database(s, o->migrations ? o->migrations : store_schema, e) || !start_threads(s, e)) {
        err_ctx(e, "open the store");
        store_free(s);
        return NULL;
    }
    if (!s->was_clean) {
        log_event(LOG_WARN, "store was not closed cleanly; checking it", F_STR("file", s->path));
        store__check_soon(s);
    }
    return s;
}

/* --- waiting for an answer ---------------------------------------------------------------------------------------- */

struct reading {
    struct store_job job;
    bool (*run)(struct store_tx *tx, void *arg, struct err *e);
    void *arg;
    struct err fault;
    uv_sem_t ready;
    bool ok;
};

static bool run_reading(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct reading *r = CONTAINER(job, struct reading, job);
    return r->run(tx, r->arg, e);
}

static void on_read(struct store_job *job, const struct err *e) {
    struct reading *r = CONTAINER(job, struct reading, job);
    r->ok = e == NULL;
    if (e)
        r->fault = *e;
    uv_sem_post(&r->ready);
}

bool store_read(struct store *s, bool (*run)(struct store_tx *tx, void *arg, struct err *e), void *arg, struct err *e) {
    struct reading r = { .job = { .reads = true, .run = run_reading, .done = on_read }, .run = run, .arg = arg };
    if (uv_sem_init(&r.ready, 0) != 0)
        return err_no_memory(e);
    bool ok = store_submit(s, &r.job, e);
    if (ok) {
        uv_sem_wait(&r.ready);
        ok = r.ok;
        if (!ok && e)
            *e = r.fault;
    }
    uv_sem_destroy(&r.ready);
    return ok;
}
