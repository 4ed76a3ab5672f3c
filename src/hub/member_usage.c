/* hub/member_usage.c - what this machine's own clients used, told to the hub where join.report_usage says so: read rows of the ledger behind
 * the cursor -> usage_report -> ack -> the cursor moves on the disk -> the next ones.
 *
 * The ledger is the outbox: its rows of own clients have numbers (telemetry/ledger.h), and all up to the cursor are at the hub. A report
 * that is sent again because an ack got lost has the same row_ids, and the hub counts none of them twice. Nobody is named: the hub is told
 * which model was used how much, not by whom. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/member_room.h"
#include "hub/room.h"

enum {
    ROWS_MOST = 500,
    REPORT_BYTES = 200 << 10,
    LOOK_MS = 5000,        /* for new rows */
    AGAIN_LEAST_MS = 30000,
    AGAIN_MOST_MS = 3600000,
    KEY_MAX = 200,
};

/* Counted: jobs of the store hold it. */
struct usage_out {
    struct member *member; /* NULL: closed */
    char node_id[PKI_ID_MAX + 1];
    unsigned refs;
    bool is_open;          /* the cursor is known */
    bool is_asking;        /* a job is under way */
    int64_t acked, sent;   /* numbers of rows; sent 0: nothing is on its way */
    uint64_t due_ms, wait_ms; /* loop time: not before; how long the next ack is waited for */
};

static struct usage_out *unref(struct usage_out *u) {
    if (u && --u->refs == 0)
        mem_free(u);
    return NULL;
}

struct ask {
    struct store_job job;
    struct usage_out *out;
    char node_id[PKI_ID_MAX + 1];
    int64_t from, last;
    unsigned n;
    struct buf rows; /* JSON, without the brackets */
};

static void ask_free(struct ask *q) {
    unref(q->out);
    buf_deinit(&q->rows);
    mem_free(q);
}

static bool submit(struct usage_out *u, bool (*run)(struct store_tx *tx, struct store_job *job, struct err *e),
                   void (*done)(struct store_job *job, const struct err *e), bool reads) {
    struct member *m = u->member;
    struct ask *q = mem_new(sizeof *q);
    if (!q)
        return false;
    *q = (struct ask){ .job = { .home = m->house.loop, .reads = reads, .run = run, .done = done }, .out = u, .from = u->acked, .last = u->sent,
                       .rows = BUF_MAX(REPORT_BYTES + 4096) };
    memcpy(q->node_id, u->node_id, sizeof q->node_id);
    u->refs++;
    u->is_asking = store_submit(m->house.store, &q->job, NULL);
    if (!u->is_asking)
        ask_free(q);
    return u->is_asking;
}

/* --- the cursor ------------------------------------------------------------------------------------------------------------------------------ */

/* What was used before this membership is nobody's business. */
static bool run_open(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct ask *q = CONTAINER(job, struct ask, job);
    if (!STORE_RUN(tx, e, "INSERT INTO usage_outbox (node_id, acked) SELECT $1, seq FROM usage_seq WHERE id = 1 ON CONFLICT (node_id) DO NOTHING",
                   STORE_TEXT(sv_of(q->node_id))))
        return false;
    struct store_rows *r = STORE_QUERY(tx, e, "SELECT acked FROM usage_outbox WHERE node_id = $1", STORE_TEXT(sv_of(q->node_id)));
    enum store_step step = r ? store_next(r, e) : STORE_FAULT;
    if (step != STORE_ROW)
        return step == STORE_END && err_set(e, ERR_STORE, "the cursor of usage reports is missing");
    q->from = store_i64(r, 0);
    store_end(r);
    return true;
}

static void on_open(struct store_job *job, const struct err *e) {
    struct ask *q = CONTAINER(job, struct ask, job);
    struct usage_out *u = q->out;
    u->is_asking = false;
    u->is_open = !e;
    u->acked = q->from;
    ask_free(q);
}

static bool run_move(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct ask *q = CONTAINER(job, struct ask, job);
    return STORE_RUN(tx, e, "UPDATE usage_outbox SET acked = $2 WHERE node_id = $1 AND acked < $2", STORE_TEXT(sv_of(q->node_id)), STORE_I64(q->last));
}

static void on_moved(struct store_job *job, const struct err *e) {
    struct ask *q = CONTAINER(job, struct ask, job);
    struct usage_out *u = q->out;
    u->is_asking = false;
    if (!e) {
        u->acked = q->last;
        u->due_ms = 0;
    }
    ask_free(q);
}

/* --- a report --------------------------------------------------------------------------------------------------------------------------------- */

static void put_count(struct buf *out, const char *name, int64_t v) {
    if (v >= 0)
        buf_printf(out, ",\"%s\":%lld", name, (long long)v);
}

static void print_row(struct store_rows *r, struct buf *out) {
    char at[25], text[HUB_DETAIL_MAX];
    int64_t ended_ms = store_i64(r, 1), first_us = store_i64(r, 8);
    struct sv key = hub__clean(sv_first(store_text(r, 2), KEY_MAX), text);
    buf_printf(out, "{\"row_id\":\"%lld.%lld\",\"at\":\"%s\",\"key\":", (long long)ended_ms, (long long)store_i64(r, 0), clock_iso8601((uint64_t)ended_ms, at));
    buf_add_json(out, key.n && key.n <= KEY_MAX ? key : SV("other"));
    buf_add(out, SV(",\"dialect\":"));
    buf_add_json(out, sv_first(store_text(r, 3), 64));
    put_count(out, "in_tokens", store_i64(r, 4));
    put_count(out, "cached_tokens", store_i64(r, 5));
    put_count(out, "out_tokens", store_i64(r, 6));
    put_count(out, "reasoning_tokens", store_i64(r, 7));
    put_count(out, "ttft_ms", first_us < 0 ? -1 : first_us / 1000);
    put_count(out, "total_ms", store_i64(r, 9) / 1000);
    put_count(out, "status", store_i64(r, 10));
    buf_add_char(out, '}');
}

static bool run_read(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct ask *q = CONTAINER(job, struct ask, job);
    struct store_rows *r = STORE_QUERY(tx, e,
                                       "SELECT report_seq, ended_ms, slug, dialect, tokens_in, tokens_cached, tokens_out, tokens_reasoning, first_us, total_us, status "
                                       "FROM request WHERE report_seq > 0 AND report_seq > $1 ORDER BY report_seq LIMIT $2",
                                       STORE_I64(q->from), STORE_I64(ROWS_MOST));
    enum store_step step = STORE_FAULT;
    while (r && (step = store_next(r, e)) == STORE_ROW) {
        if (q->n++)
            buf_add_char(&q->rows, ',');
        print_row(r, &q->rows);
        q->last = store_i64(r, 0);
        if (q->rows.n >= REPORT_BYTES) {
            store_end(r);
            return true;
        }
    }
    return step == STORE_END && (!q->rows.failed || err_no_memory(e));
}

static void on_read(struct store_job *job, const struct err *e) {
    struct ask *q = CONTAINER(job, struct ask, job);
    struct usage_out *u = q->out;
    struct member *m = u->member;
    struct buf out = BUF_MAX(ENGINE_TEXT_MAX);
    u->is_asking = false;
    if (m && !e && q->n && m->now && !m->is_stopping) {
        buf_printf(&out, "{\"outbox\":%lld,\"rows\":[", (long long)q->last);
        buf_add(&out, buf_sv(&q->rows));
        buf_add(&out, SV("]}"));
        if (!out.failed) {
            wire_send(m->now->wire, KIND_USAGE_REPORT, buf_sv(&out), SV_NULL);
            u->sent = q->last;
            u->wait_ms = u->wait_ms ? u->wait_ms : AGAIN_LEAST_MS;
            u->due_ms = loop_now_ms(m->house.loop) + u->wait_ms;
            u->wait_ms = u->wait_ms * 2 < AGAIN_MOST_MS ? u->wait_ms * 2 : AGAIN_MOST_MS; /* a hub that does not take them is not pressed */
        }
    }
    buf_deinit(&out);
    ask_free(q);
}

/* --- asked by the member ---------------------------------------------------------------------------------------------------------------------- */

void usage__tick(struct member *m) {
    struct usage_out *u = m->usage;
    uint64_t now = loop_now_ms(m->house.loop);
    if (!(*m->house.config)->join.report_usage || !m->house.store || !m->now || m->is_stopping)
        return;
    if (!u) {
        if (!(u = mem_new(sizeof *u)))
            return;
        u->member = m;
        u->refs = 1;
        snprintf(u->node_id, sizeof u->node_id, "%s", m->state.node_id);
        m->usage = u;
    }
    if (u->is_asking || now < u->due_ms)
        return;
    u->due_ms = now + LOOK_MS;
    if (!u->is_open) {
        if (submit(u, run_open, on_open, false))
            u->due_ms = 0;
    } else {
        (void)submit(u, run_read, on_read, true);
    }
}

void usage__up(struct member *m) {
    if (!m->usage)
        return;
    m->usage->sent = 0;
    m->usage->due_ms = m->usage->wait_ms = 0;
}

void usage__acknowledged(struct member *m, yyjson_val *payload) {
    struct usage_out *u = m->usage;
    int64_t acked = json_i64(payload, "outbox_acked", 0);
    if (!u || u->is_asking || acked <= u->acked || acked != u->sent)
        return; /* not of what is on its way */
    u->wait_ms = 0;
    if (submit(u, run_move, on_moved, false))
        u->sent = 0;
}

void usage__close(struct member *m) {
    if (m->usage)
        m->usage->member = NULL;
    m->usage = unref(m->usage);
}
