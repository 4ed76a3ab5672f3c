/* The threads that only read: the reader, one job after another, each in a transaction of its own, so that all its queries see
 * one state; and the keeper, which does the same for checks and backups but has a connection only while it works. */
#include "base/thread.h"
#include "store/room.h"

/* False when the thread shall end. */
static bool wait_job(struct store_thread *t) {
    struct store *s = t->store;
    uv_mutex_lock(&s->sync.lock);
    bool ends;
    for (;;) {
        bool closing = atomic_load(&s->closing);
        ends = atomic_load(&s->cut) || (closing && (t->side == SIDE_KEEPER || !t->n_waiting));
        if (ends || t->n_waiting)
            break;
        uv_cond_wait(&t->work, &s->sync.lock);
    }
    uv_mutex_unlock(&s->sync.lock);
    return !ends;
}

static void serve(struct store_thread *t, struct store_job *job) {
    struct store_tx tx = { .store = t->store };
    job->failed = true;
    if (store__connect(t, &job->fault) && t->db->backend->begin(t->db, &job->fault)) {
        tx.db = t->db;
        store__tx_run(&tx, job);
        t->db->backend->rollback(t->db);
    }
    store__look(t, &job->fault);
    store__deliver(t->store, job);
}

void store__serve(void *thread) {
    struct store_thread *t = thread;
    thread_name(t->side == SIDE_KEEPER ? "store-keeper" : "store-reader");
    while (wait_job(t)) {
        struct store_job *job;
        while (!atomic_load(&t->store->cut) && (job = store__take(t)))
            serve(t, job);
        if (t->side == SIDE_KEEPER)
            store__disconnect(t);
    }
    store__ended(t);
}
