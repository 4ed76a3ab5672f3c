/* SQL within a job: values are looked at, the first fault is kept, open rows are known. The rest is the backend's. */
#include <math.h>

#include "base/utf8.h"
#include "store/room.h"

void store__tx_init(struct store_tx *tx, struct store_db *db) {
    tx->db = db;
    list_init(&tx->rows);
    tx->failed = false;
}

void store__tx_end_rows(struct store_tx *tx) {
    for (struct list *it; (it = list_pop(&tx->rows));) {
        struct store_rows *r = CONTAINER(it, struct store_rows, open);
        r->db->backend->end(r);
    }
}

void store__tx_run(struct store_tx *tx, struct store_job *job) {
    store__tx_init(tx, tx->db);
    job->fault = (struct err){ .code = ERR_NONE };
    bool ok = job->run(tx, job, &job->fault);
    store__tx_end_rows(tx);
    if (tx->failed &&
        (ok || job->fault.code == ERR_NONE)) { /* the fault was swallowed: other databases would not go on */
        job->fault = tx->fault;
        ok = false;
    }
    if (!ok && job->fault.code == ERR_NONE)
        err_set(&job->fault, ERR_INTERNAL, "the job failed without saying why");
    job->failed = !ok;
}

/* PostgreSQL takes neither NUL nor bad UTF-8, and SQLite makes NULL of NaN: what only one of them stores is stored by none. */
static bool can_store(const struct store_value *values, size_t n, struct err *e) {
    if (n > STORE_VALUES_MAX)
        return err_set(e, ERR_INTERNAL, "%zu values for one statement: at most %d", n, STORE_VALUES_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct store_value *v = &values[i];
        if (v->kind == STORE_V_TEXT && ((v->v.n && memchr(v->v.p, '\0', v->v.n)) || !utf8_valid(v->v)))
            return err_set(e, ERR_BAD_REQUEST, "$%zu is no UTF-8 text without NUL", i + 1);
        if (v->kind == STORE_V_REAL && isnan(v->r))
            return err_set(e, ERR_BAD_REQUEST, "$%zu is not a number", i + 1);
    }
    return true;
}

/* Keeps the first fault; later calls get it again. */
static void note(struct store_tx *tx, const struct err *fault, struct err *e) {
    if (!tx->failed) {
        tx->failed = true;
        tx->fault = *fault;
    }
    if (e)
        *e = tx->fault;
}

struct store_rows *store_query(struct store_tx *tx, struct err *e, const char *sql, const struct store_value *values,
                               size_t n) {
    struct err fault;
    if (tx->failed) {
        note(tx, &tx->fault, e);
        return NULL;
    }
    struct store_rows *r = can_store(values, n, &fault) ? tx->db->backend->query(tx->db, &fault, sql, values, n) : NULL;
    if (!r) {
        note(tx, &fault, e);
        return NULL;
    }
    r->tx = tx;
    list_push_back(&tx->rows, &r->open);
    return r;
}

void store_end(struct store_rows *r) {
    list_drop(&r->open);
    r->db->backend->end(r);
}

enum store_step store_next(struct store_rows *r, struct err *e) {
    struct err fault;
    struct store_tx *tx = r->tx;
    enum store_step step = r->db->backend->next(r, &fault);
    if (step == STORE_FAULT)
        note(tx, &fault, e);
    if (step != STORE_ROW)
        store_end(r);
    return step;
}

bool store_run(struct store_tx *tx, struct err *e, const char *sql, const struct store_value *values, size_t n,
               int64_t *ret_changed) {
    struct store_rows *r = store_query(tx, e, sql, values, n);
    if (!r)
        return false;
    enum store_step step;
    while ((step = store_next(r, e)) == STORE_ROW) /* RETURNING, when nobody wants it */
        ;
    if (step == STORE_FAULT)
        return false;
    if (ret_changed)
        *ret_changed = tx->db->backend->changed(tx->db);
    return true;
}

int64_t store_i64(struct store_rows *r, int column) {
    return r->db->backend->i64(r, column);
}

double store_real(struct store_rows *r, int column) {
    return r->db->backend->real(r, column);
}

struct sv store_text(struct store_rows *r, int column) {
    return r->db->backend->bytes(r, column, true);
}

struct sv store_blob(struct store_rows *r, int column) {
    return r->db->backend->bytes(r, column, false);
}

bool store_is_null(struct store_rows *r, int column) {
    return r->db->backend->is_null(r, column);
}
