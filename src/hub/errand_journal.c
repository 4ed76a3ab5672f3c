#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/member_room.h"
#include "hub/record.h"

/* --- the errands there are ------------------------------------------------------------------------------------------------------------------ */

struct errands *errands__new(struct member *m, struct store *store, struct loop *l, const char *node_id) {
    struct errands *x = mem_new(sizeof *x);
    if (!x)
        return NULL;
    x->member = m;
    x->store = store;
    x->loop = l;
    x->refs = 1;
    snprintf(x->node_id, sizeof x->node_id, "%s", node_id);
    list_init(&x->all);
    map_init(&x->by_id);
    return x;
}

struct errands *errands__unref(struct errands *x) {
    if (!x || --x->refs)
        return NULL;
    while (x->n)
        errand__free(x, CONTAINER(x->all.next, struct errand, all));
    map_deinit(&x->by_id);
    mem_free(x);
    return NULL;
}

struct errand *errand__find(const struct errands *x, struct sv id) {
    return map_get(&x->by_id, id);
}

struct errand *errand__new(struct errands *x, struct sv id) {
    struct errand *d = mem_new(sizeof *d);
    if (!d)
        return NULL;
    list_init(&d->all);
    buf_init(&d->detail, DIRECTIVE_DETAIL_MAX);
    if (!sv_to_cstr(id, d->id, sizeof d->id) || !map_put(&x->by_id, sv_of(d->id), d)) {
        mem_free(d);
        return NULL;
    }
    list_push_back(&x->all, &d->all);
    x->n++;
    return d;
}

void errand__free(struct errands *x, struct errand *d) {
    list_drop(&d->all);
    (void)map_del(&x->by_id, sv_of(d->id));
    x->n--;
    buf_deinit(&d->detail);
    mem_free(d->args);
    mem_free(d);
}

/* --- writing -------------------------------------------------------------------------------------------------------------------------------- */

/* By its id: it may have been forgotten meanwhile, with the membership. */
struct writing {
    struct errands *errands;
    char id[DIRECTIVE_ID_MAX + 1];
    enum directive_state state;
    bool is_told;
};

static void on_written(void *arg, const struct err *e) {
    struct writing *w = arg;
    struct errand *d = w->errands->member ? errand__find(w->errands, sv_of(w->id)) : NULL;
    if (d) {
        d->is_writing = false;
        if (!e) {
            d->has_row = true;
            d->on_disk = w->state;
            d->told_on_disk = w->is_told;
        }
        errand__written(w->errands, d, e);
    }
    errands__unref(w->errands);
    mem_free(w);
}

bool journal__write(struct errands *x, struct errand *d, const char *audit, struct err *e) {
    struct writing *w = mem_new(sizeof *w);
    struct record *r = w ? record_new(x->loop) : NULL;
    if (!r) {
        mem_free(w);
        return err_no_memory(e);
    }
    x->refs++;
    *w = (struct writing){ .errands = x, .state = d->state, .is_told = d->is_told };
    memcpy(w->id, d->id, sizeof w->id);
    const struct store_value v[] = { STORE_TEXT(sv_of(x->node_id)), STORE_TEXT(sv_of(d->id)), STORE_TEXT(sv_of(directive_op_name(d->op))),
                                     STORE_TEXT(directive_is_over(d->state) ? SV("{}") : sv_of(d->args)), STORE_I64(d->state), STORE_TEXT(sv_of(d->code)),
                                     STORE_TEXT(sv_of(d->message)), STORE_TEXT(buf_sv(&d->detail)), STORE_I64((int64_t)d->received_ms),
                                     STORE_I64((int64_t)d->expires_ms), STORE_I64((int64_t)d->timeout_ms), STORE_I64((int64_t)d->started_ms),
                                     STORE_I64((int64_t)d->ended_ms), STORE_I64(d->is_told) };
    const struct access_actor hub = { SV("hub"), SV("link") };
    if (audit)
        record_audit(r, &hub, d->state == DIRECTIVE_REFUSED ? "hub.directive_refused" : "hub.directive", sv_of(directive_op_name(d->op)), sv_of(audit));
    record_add(r,
               "INSERT INTO errand (node_id, id, op, args, state, code, message, detail, received_ms, expires_ms, timeout_ms, started_ms, ended_ms, is_told) "
               "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (node_id, id) DO UPDATE SET args = excluded.args, "
               "state = excluded.state, code = excluded.code, message = excluded.message, detail = excluded.detail, started_ms = excluded.started_ms, "
               "ended_ms = excluded.ended_ms, is_told = excluded.is_told",
               v, 14);
    d->is_writing = true;
    if (record_submit(x->store, r, on_written, w, e))
        return true;
    d->is_writing = false;
    x->refs--;
    mem_free(w);
    return false;
}

void journal__forget(struct errands *x) {
    struct record *r = record_new(x->loop);
    if (!r)
        return; /* rows of another membership are never read */
    record_add(r, "DELETE FROM errand WHERE node_id = $1", &STORE_TEXT(sv_of(x->node_id)), 1);
    record_submit(x->store, r, NULL, NULL, NULL);
}

static bool may_go(const struct errand *d, uint64_t wall_ms) {
    bool wanted = d->state != DIRECTIVE_REFUSED && !d->is_told;
    return directive_is_over(d->state) && !wanted && !d->is_writing && d->told_on_disk && d->received_ms + ERRAND_KEEP_MS + ERRAND_SPARE_MS < wall_ms;
}

void journal__prune(struct errands *x, uint64_t wall_ms) {
    LIST_FOR_SAFE(it, &x->all) {
        struct errand *d = CONTAINER(it, struct errand, all);
        struct record *r = x->n > ERRANDS_KEPT && may_go(d, wall_ms) ? record_new(x->loop) : NULL;
        if (!r)
            continue;
        const struct store_value v[] = { STORE_TEXT(sv_of(x->node_id)), STORE_TEXT(sv_of(d->id)) };
        record_add(r, "DELETE FROM errand WHERE node_id = $1 AND id = $2", v, 2);
        if (!record_submit(x->store, r, NULL, NULL, NULL))
            return;
        errand__free(x, d);
    }
}

/* --- reading -------------------------------------------------------------------------------------------------------------------------------- */

static bool read_row(struct errands *x, struct store_rows *r, struct err *e) {
    enum directive_op op;
    int64_t state = store_i64(r, 3);
    if (!directive_op_read(store_text(r, 1), &op) || state < 0 || state >= DIRECTIVE_STATE_COUNT)
        return true; /* a newer Drover's */
    struct errand *d = errand__new(x, store_text(r, 0));
    if (!d || !(d->args = mem_str(store_text(r, 2).p, store_text(r, 2).n)) || !buf_add(&d->detail, store_text(r, 6)))
        return err_no_memory(e);
    d->op = op;
    d->state = d->on_disk = (enum directive_state)state;
    d->has_row = true;
    (void)!sv_to_cstr(store_text(r, 4), d->code, sizeof d->code);
    (void)!sv_to_cstr(store_text(r, 5), d->message, sizeof d->message);
    d->received_ms = (uint64_t)store_i64(r, 7);
    d->expires_ms = (uint64_t)store_i64(r, 8);
    d->timeout_ms = (uint64_t)store_i64(r, 9);
    d->started_ms = (uint64_t)store_i64(r, 10);
    d->ended_ms = (uint64_t)store_i64(r, 11);
    d->is_told = d->told_on_disk = store_i64(r, 12) != 0;
    return true;
}

static bool load(struct store_tx *tx, void *arg, struct err *e) {
    struct errands *x = arg;
    const struct store_value node = STORE_TEXT(sv_of(x->node_id));
    struct store_rows *rows = store_query(tx, e,
                                          "SELECT id, op, args, state, code, message, detail, received_ms, expires_ms, timeout_ms, started_ms, ended_ms, is_told "
                                          "FROM errand WHERE node_id = $1 ORDER BY received_ms, id",
                                          &node, 1);
    enum store_step step = STORE_FAULT;
    while (rows && (step = store_next(rows, e)) == STORE_ROW)
        if (!read_row(x, rows, e)) {
            store_end(rows);
            return false;
        }
    return step == STORE_END;
}

bool journal__load(struct errands *x, struct err *e) {
    return store_read(x->store, load, x, e);
}
