#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/member_room.h"
#include "hub/record.h"
#include "hub/relay.h"

struct writing {
    struct relay *relay;
    char agent[LINK_IDENT_MAX + 1];
    int64_t no;
};

static void on_written(void *arg, const struct err *e) {
    struct writing *w = arg;
    relay__written(w->relay, w->agent, w->no, e);
    relay__unref(w->relay);
    mem_free(w);
}

bool rows__write(struct relay *r, const struct box *b, const struct letter *l, struct err *e) {
    struct writing *w = mem_new(sizeof *w);
    struct record *rec = w ? record_new(r->loop) : NULL;
    const struct note *t = &l->note;
    if (!rec) {
        mem_free(w);
        return err_no_memory(e);
    }
    *w = (struct writing){ .relay = r, .no = l->no };
    memcpy(w->agent, b->agent, sizeof w->agent);
    const struct store_value v[] = { STORE_TEXT(sv_of(r->node_id)),
                                     STORE_I64(l->no),
                                     STORE_TEXT(sv_of(b->agent)),
                                     STORE_I64((int64_t)l->at_ms),
                                     STORE_TEXT(sv_of(link_kind_name(t->kind))),
                                     STORE_TEXT(sv_of(t->msg_id)),
                                     STORE_TEXT(sv_of(t->re)),
                                     STORE_TEXT(sv_of(t->ts)),
                                     STORE_TEXT(sv_of(t->via)),
                                     STORE_TEXT(((struct sv){ t->payload, t->n })) };
    record_add(rec,
               "INSERT INTO leaf_letter (node_id, no, agent_id, at_ms, kind, msg_id, re, ts, via, payload) VALUES ($1, "
               "$2, $3, $4, $5, $6, $7, $8, $9, $10)",
               v, 10);
    r->refs++;
    if (record_submit(r->store, rec, on_written, w, e))
        return true;
    r->refs--;
    mem_free(w);
    return false;
}

/* Should it fail, the letter goes out once more after a restart: the hub knows its rows by their ids. */
void rows__drop(struct relay *r, int64_t no) {
    struct record *rec = record_new(r->loop);
    const struct store_value v[] = { STORE_TEXT(sv_of(r->node_id)), STORE_I64(no) };
    if (!rec)
        return;
    record_add(rec, "DELETE FROM leaf_letter WHERE node_id = $1 AND no = $2", v, 2);
    record_submit(r->store, rec, NULL, NULL, NULL);
}

void rows__forget(struct relay *r) {
    struct record *rec = record_new(r->loop);
    if (!rec)
        return;
    record_add(rec, "DELETE FROM leaf_letter WHERE node_id = $1", &STORE_TEXT(sv_of(r->node_id)), 1);
    record_submit(r->store, rec, NULL, NULL, NULL);
}

/* --- at the start --------------------------------------------------------------------------------------------------------------------- */

static bool read_kind(struct sv name, enum link_kind *ret) {
    for (unsigned k = 0; k < LINK_KIND_COUNT; k++)
        if (sv_eq(name, sv_of(link_kind_name((enum link_kind)k)))) {
            *ret = (enum link_kind)k;
            return true;
        }
    return false;
}

static bool read_row(struct relay *r, struct store_rows *rows, struct err *e) {
    struct sv payload = store_text(rows, 8);
    struct note t = { 0 };
    struct held *h = relay__hold(r, store_text(rows, 1));
    bool known =
        read_kind(store_text(rows, 3), &t.kind) && sv_to_cstr(store_text(rows, 4), t.msg_id, sizeof t.msg_id) &&
        sv_to_cstr(store_text(rows, 5), t.re, sizeof t.re) && sv_to_cstr(store_text(rows, 6), t.ts, sizeof t.ts) &&
        sv_to_cstr(store_text(rows, 7), t.via, sizeof t.via);
    if (!h || !known) { /* one more leaf than this version holds, or a row of a newer one: it stays on the disk */
        r->n_dropped++;
        return true;
    }
    t.payload = mem_str(payload.p, payload.n);
    t.n = payload.n;
    struct letter *l = t.payload ? box_add(h->box, &t, store_i64(rows, 0), (uint64_t)store_i64(rows, 2)) : NULL;
    if (!l) {
        note_deinit(&t);
        return err_no_memory(e);
    }
    l->is_stored = true;
    r->bytes += l->note.n;
    box_see(h->box, sv_of(l->note.msg_id), l->at_ms);
    return true;
}

static bool load(struct store_tx *tx, void *arg, struct err *e) {
    struct relay *r = arg;
    struct store_rows *rows = STORE_QUERY(tx, e,
                                          "SELECT no, agent_id, at_ms, kind, msg_id, re, ts, via, payload FROM "
                                          "leaf_letter WHERE node_id = $1 ORDER BY no",
                                          STORE_TEXT(sv_of(r->node_id)));
    enum store_step step = STORE_FAULT;
    while (rows && (step = store_next(rows, e)) == STORE_ROW) {
        r->next_no = store_i64(rows, 0) + 1;
        if (!read_row(r, rows, e)) {
            store_end(rows);
            return false;
        }
    }
    return step == STORE_END;
}

bool rows__load(struct relay *r, struct err *e) {
    r->next_no = 1;
    return store_read(r->store, load, r, e);
}
