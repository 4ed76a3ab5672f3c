/* The thread that writes: wait -> group -> commit -> deliver, and while failing: probe.
 *
 * A group begins with the first job that waits and takes in what comes until none waits, STORE_GROUP_JOBS have run, or
 * STORE_GROUP_MS have passed. It does not wait for company: while one group is being synced the next one gathers by itself.
 * Each job runs behind a savepoint. A job that fails is taken back alone, unless its fault has ended the whole transaction
 * (memory or the disk ran out), which fails the jobs before it, too: none of them has been told otherwise yet.
 *
 * A commit that failed in its sync may have left a whole transaction in SQLite's log. It is not in the index that all connections
 * share, so the probe's write takes its place; the reader's connection keeps that index alive while the writer's is reopened. */
#include "base/clock.h"
#include "base/thread.h"
#include "store/room.h"

struct group {
    struct store_thread *t;
    struct list jobs; /* that have run, by msg.queued, in their order */
    unsigned n, n_good;
    uint64_t until_us;
};

enum turn { TURN_GROUP, TURN_PROBE, TURN_END };

static enum turn wait_turn(struct store_thread *t, uint64_t *probe_us) {
    struct store *s = t->store;
    enum turn turn = TURN_GROUP;
    uv_mutex_lock(&s->sync.lock);
    for (;;) {
        uint64_t now = clock_mono_us();
        if (atomic_load(&s->cut) || (atomic_load(&s->closing) && !t->n_waiting)) {
            turn = TURN_END;
            break;
        }
        if (t->n_waiting)
            break;
        if (atomic_load(&s->state) != STORE_FAILING) {
            *probe_us = 0;
            uv_cond_wait(&t->work, &s->sync.lock);
            continue;
        }
        if (!*probe_us)
            *probe_us = now + STORE_PROBE_MS * UINT64_C(1000);
        if (now >= *probe_us) {
            *probe_us = 0;
            turn = TURN_PROBE;
            break;
        }
        uv_cond_timedwait(&t->work, &s->sync.lock, (*probe_us - now) * 1000);
    }
    uv_mutex_unlock(&s->sync.lock);
    return turn;
}

static void fail(struct store_job *job, const struct err *e, const char *intention) {
    job->failed = true;
    job->fault = *e;
    if (intention)
        err_ctx(&job->fault, "%s", intention);
}

/* The store went ill with jobs in the queue. */
static void refuse_all(struct store_thread *t) {
    struct store_status st;
    store_status(t->store, &st);
    for (struct store_job *job; (job = store__take(t));) {
        job->failed = true;
        err_set(&job->fault, ERR_STORE, "the store is %s: %s", store_state_name(st.state), st.text);
        store__deliver(t->store, job);
    }
}

/* --- a group ------------------------------------------------------------------------------------------------------- */

/* Runs one job behind its savepoint. False when the whole transaction has ended or can no longer be trusted; *e is why. */
static bool run_one(struct group *g, struct store_job *job, struct err *e) {
    struct store_db *db = g->t->db;
    struct store_tx tx = { .store = g->t->store, .db = db };
    if (!db->backend->mark(db, &job->fault)) {
        job->failed = true;
        *e = job->fault;
        return db->backend->in_tx(db) && db->ill == STORE_WELL;
    }
    store__tx_run(&tx, job);
    if (!db->backend->in_tx(db)) {
        if (!job->failed) /* cannot be: what ends a transaction is a fault */
            err_set(&job->fault, ERR_INTERNAL, "the job ended the transaction");
        job->failed = true;
        *e = job->fault;
        return false;
    }
    if (!job->failed && !db->backend->keep(db, &job->fault))
        job->failed = true;
    else if (!job->failed)
        return true;
    *e = job->fault;
    return db->backend->undo(db, e) && db->ill == STORE_WELL; /* what undo has to say goes before what the job met */
}

static bool takes_more(const struct group *g) {
    return g->n < STORE_GROUP_JOBS && clock_mono_us() < g->until_us &&
           !atomic_load_explicit(&g->t->store->cut, memory_order_relaxed);
}

/* All jobs of the group that succeeded share the fault that ended it. */
static void fail_group(struct group *g, const struct err *e, const char *intention) {
    LIST_FOR(it, &g->jobs) {
        struct store_job *job = CONTAINER(it, struct store_job, msg.queued);
        if (!job->failed)
            fail(job, e, intention);
    }
    g->n_good = 0;
}

/* Runs jobs until the group is full. False when the transaction is lost; *e is why. */
static bool run_jobs(struct group *g, struct store_job *job, struct err *e) {
    for (; job; job = takes_more(g) ? store__take(g->t) : NULL) {
        struct err why;
        bool goes_on = run_one(g, job, &why);
        list_push_back(&g->jobs, &job->msg.queued);
        g->n++;
        g->n_good += !job->failed;
        if (!goes_on) {
            *e = why;
            return false;
        }
    }
    return true;
}

static void deliver_all(struct group *g) {
    for (struct list *it; (it = list_pop(&g->jobs));)
        store__deliver(g->t->store, CONTAINER(it, struct store_job, msg.queued));
}

static void write_group(struct store_thread *t, struct store_job *first) {
    struct store *s = t->store;
    struct store_db *db = t->db;
    struct group g = { .t = t, .until_us = clock_mono_us() + STORE_GROUP_MS * UINT64_C(1000) };
    struct err e = { .code = ERR_NONE };
    list_init(&g.jobs);
    if (!db->backend->begin(db, &e)) {
        list_push_back(&g.jobs, &first->msg.queued);
        fail(first, &e, NULL);
    } else if (!run_jobs(&g, first, &e)) {
        fail_group(&g, &e, "taken back with another job");
    } else if (g.n_good && !db->backend->commit(db, &e)) {
        fail_group(&g, &e, NULL);
    }
    db->backend->rollback(db);
    if (g.n_good) {
        uv_mutex_lock(&s->sync.lock);
        s->sync.commits++;
        uv_mutex_unlock(&s->sync.lock);
    }
    store__look(t, &e); /* before the jobs hear of it: whoever is told a fault finds the state that goes with it */
    deliver_all(&g);
}

/* --- while failing ------------------------------------------------------------------------------------------------- */

static void probe(struct store_thread *t) {
    struct store *s = t->store;
    struct err e;
    store__disconnect(t);
    if (!store__has_room(s->path, &e)) {
        store__goto(s, STORE_FAILING, e.text);
        return;
    }
    if (!store__connect(t, &e))
        return; /* its state was set there */
    if (!store__probe(t->db, &e)) {
        if (t->db->ill == STORE_WELL) /* memory, for example: try again */
            store__disconnect(t);
        else
            store__look(t, &e);
        return;
    }
    uv_mutex_lock(&s->sync.lock);
    bool must_check = s->sync.must_check;
    uv_mutex_unlock(&s->sync.lock);
    store__goto(s, STORE_WELL, NULL);
    if (must_check)
        store__check_soon(s);
}

void store__writer(void *thread) {
    struct store_thread *t = thread;
    uint64_t probe_us = 0;
    thread_name("store-writer");
    for (;;) {
        enum turn turn = wait_turn(t, &probe_us);
        if (turn == TURN_END)
            break;
        if (turn == TURN_PROBE) {
            probe(t);
        } else if (!store_is_well(t->store)) {
            refuse_all(t);
        } else {
            struct store_job *job = store__take(t);
            if (job)
                write_group(t, job);
        }
    }
    store__ended(t);
}
