/* hub/usage.c - report -> rows that are new, and their sums, in one transaction -> acknowledged. One report of a node at a time. */
#include "hub/usage.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "hub/moment.h"
#include "hub/room.h"

enum { HOUR_MS = 3600000, DAY_MS = 86400000, OLD_DAYS = 400, KEY_MAX = 200, FAILED_FROM = 400 };

struct usage_row {
    char row_id[LINK_IDENT_MAX + 1 + 65], key[KEY_MAX + 4], dialect[65];
    int64_t at_ms, in, out, cached, reasoning, ttft_ms, total_ms, status;
};

struct report {
    struct store_job job;
    struct hub *hub;
    char node_id[PKI_ID_MAX + 1], agent[LINK_IDENT_MAX + 1], re[ENVELOPE_ID]; /* agent: a leaf of that node; empty: itself */
    int64_t outbox, now_ms;
    size_t n;
    struct usage_row rows[];
};

struct sums {
    int64_t day, requests, failed, in, cached, out, reasoning, total_us;
};

/* --- on the store's thread ------------------------------------------------------------------------------------------------------------------ */

static bool add_row(struct store_tx *tx, const struct report *p, const struct usage_row *w, int64_t *ret_changed, struct err *e) {
    const struct store_value v[] = { STORE_TEXT(sv_of(p->node_id)), STORE_TEXT(sv_of(w->row_id)), STORE_I64(p->now_ms), STORE_I64(w->at_ms), STORE_TEXT(sv_of(w->key)),
                                     STORE_TEXT(sv_of(w->dialect)), STORE_I64(w->in), STORE_I64(w->cached), STORE_I64(w->out), STORE_I64(w->reasoning),
                                     STORE_I64(w->ttft_ms), STORE_I64(w->total_ms), STORE_I64(w->status), STORE_TEXT(sv_of(p->agent)) };
    return store_run(tx, e,
                     "INSERT INTO node_usage (node_id, row_id, arrived_ms, at_ms, model, dialect, tokens_in, tokens_cached, tokens_out, tokens_reasoning, ttft_ms, "
                     "total_ms, status, agent_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (node_id, row_id) DO NOTHING",
                     v, sizeof v / sizeof v[0], ret_changed);
}

static bool add_sums(struct store_tx *tx, const struct report *p, const struct sums *s, struct err *e) {
    return !s->requests ||
           STORE_RUN(tx, e,
                     "INSERT INTO node_usage_day (day, node_id, requests, failed, tokens_in, tokens_cached, tokens_out, tokens_reasoning, total_us) "
                     "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (day, node_id) DO UPDATE SET requests = node_usage_day.requests + excluded.requests, "
                     "failed = node_usage_day.failed + excluded.failed, tokens_in = node_usage_day.tokens_in + excluded.tokens_in, "
                     "tokens_cached = node_usage_day.tokens_cached + excluded.tokens_cached, tokens_out = node_usage_day.tokens_out + excluded.tokens_out, "
                     "tokens_reasoning = node_usage_day.tokens_reasoning + excluded.tokens_reasoning, total_us = node_usage_day.total_us + excluded.total_us",
                     STORE_I64(s->day), STORE_TEXT(sv_of(p->node_id)), STORE_I64(s->requests), STORE_I64(s->failed), STORE_I64(s->in), STORE_I64(s->cached),
                     STORE_I64(s->out), STORE_I64(s->reasoning), STORE_I64(s->total_us));
}

/* Neighbours are of one day nearly always: one statement for them. */
static bool run(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct report *p = CONTAINER(job, struct report, job);
    struct sums s = { 0 };
    for (size_t i = 0; i < p->n; i++) {
        const struct usage_row *w = &p->rows[i];
        int64_t changed = 0;
        if (!add_row(tx, p, w, &changed, e))
            return false;
        if (s.day != w->at_ms / DAY_MS) {
            if (!add_sums(tx, p, &s, e))
                return false;
            s = (struct sums){ .day = w->at_ms / DAY_MS };
        }
        if (!changed)
            continue;
        s.requests++;
        s.failed += w->status >= FAILED_FROM;
        s.in += w->in;
        s.cached += w->cached;
        s.out += w->out;
        s.reasoning += w->reasoning;
        s.total_us += w->total_ms * 1000;
    }
    return add_sums(tx, p, &s, e) && STORE_RUN(tx, e, "DELETE FROM node_usage WHERE node_id = $1 AND arrived_ms < $2", STORE_TEXT(sv_of(p->node_id)),
                                               STORE_I64(p->now_ms - (int64_t)USAGE_KEPT_MS));
}

static void on_written(struct store_job *job, const struct err *e) {
    struct report *p = CONTAINER(job, struct report, job);
    struct node *n = p->hub->closing ? NULL : roster_find(&p->hub->roster, sv_of(p->node_id));
    struct buf out = BUF_MAX(256);
    if (n)
        n->is_reporting = false;
    if (e)
        log_event(LOG_WARN, "what a node used was not written; it tells it again", F_STR("node", p->node_id), F_STR("cause", e->text));
    buf_printf(&out, "{\"scope\":\"hub\",\"outbox_acked\":%lld}", (long long)p->outbox);
    if (n && !e && session__is_up(n->session) && !out.failed)
        session__say_to(n->session, KIND_ACK, sv_of(p->agent), buf_sv(&out), sv_of(p->re));
    buf_deinit(&out);
    hub__unref(p->hub);
    mem_free(p);
}

/* --- a report ------------------------------------------------------------------------------------------------------------------------------- */

static int64_t tokens(yyjson_val *v, const char *name) {
    int64_t n = json_i64(v, name, 0);
    return n < USAGE_TOKENS_MOST ? n : USAGE_TOKENS_MOST;
}

/* Text of a row as the store takes it. */
static void copy_text(struct sv from, char *to, size_t size) {
    char text[HUB_DETAIL_MAX];
    struct sv v = hub__clean(sv_first(from, size - 1), text);
    while (v.n > size - 1 || (v.n && !utf8_valid(v))) /* what replaced a byte may be longer than it */
        v.n--;
    (void)!sv_to_cstr(v, to, size);
}

static void read_row(const struct report *p, yyjson_val *v, struct usage_row *w) {
    char row_id[65];
    *w = (struct usage_row){ .at_ms = moment_ms(json_str(v, "at")), .in = tokens(v, "in_tokens"), .out = tokens(v, "out_tokens"),
                             .cached = tokens(v, "cached_tokens"), .reasoning = tokens(v, "reasoning_tokens"), .ttft_ms = tokens(v, "ttft_ms"),
                             .total_ms = tokens(v, "total_ms"), .status = tokens(v, "status") };
    copy_text(json_str(v, "row_id"), row_id, sizeof row_id); /* each leaf has numbers of its own */
    snprintf(w->row_id, sizeof w->row_id, "%s%s%s", p->agent, p->agent[0] ? ":" : "", row_id);
    copy_text(json_str(v, "key"), w->key, sizeof w->key);
    copy_text(json_str(v, "dialect"), w->dialect, sizeof w->dialect);
    if (w->at_ms > p->now_ms + DAY_MS || w->at_ms < p->now_ms - (int64_t)OLD_DAYS * DAY_MS) /* no clock is that far off: some other day is better than such a one */
        w->at_ms = p->now_ms;
}

static struct report *read_report(struct hub *h, const struct node *n, const struct envelope *m) {
    yyjson_val *list = json_get(m->payload, "rows"), *v;
    size_t i, all, size = yyjson_arr_size(list);
    struct report *p = size <= USAGE_ROWS ? mem_new(sizeof *p + size * sizeof p->rows[0]) : NULL;
    if (!p)
        return NULL;
    p->job = (struct store_job){ .home = h->loop, .run = run, .done = on_written };
    p->hub = hub__ref(h);
    p->outbox = json_i64(m->payload, "outbox", 0);
    p->now_ms = (int64_t)clock_wall_ms();
    memcpy(p->node_id, n->id, sizeof n->id);
    (void)!sv_to_cstr(m->msg_id, p->re, sizeof p->re);
    (void)!sv_to_cstr(session__leaf_of(n, m), p->agent, sizeof p->agent);
    yyjson_arr_foreach(list, i, all, v) if (!json_str(v, "exchange_id").n) /* else it went through this hub, whose ledger has it */
        read_row(p, v, &p->rows[p->n++]);
    return p;
}

static bool may_report(struct hub *h, struct node *n, size_t rows) {
    uint64_t hour = loop_now_ms(h->loop) / HOUR_MS;
    if (n->usage_hour != hour)
        n->usage_rows = 0;
    n->usage_hour = hour;
    if (n->usage_rows + rows > USAGE_ROWS_PER_HOUR)
        return false;
    n->usage_rows += (unsigned)rows;
    return true;
}

void usage__take(struct hub *h, struct node *n, struct session *s, const struct envelope *m) {
    struct err e;
    if (n->is_reporting) {
        session__refuse(s, FAULT_BUSY, "the report before this one is still being written; wait for its ack", m);
        return;
    }
    if (!may_report(h, n, yyjson_arr_size(json_get(m->payload, "rows")))) {
        session__refuse(s, FAULT_RATE_LIMITED, "a hub takes 100,000 usage rows of a node in an hour; the rest can come in the next", m);
        return;
    }
    struct report *p = read_report(h, n, m);
    if (p && store_submit(h->house->store, &p->job, &e)) {
        n->is_reporting = true;
        return;
    }
    if (p)
        hub__unref(p->hub);
    mem_free(p);
    session__refuse(s, FAULT_INTERNAL, "it could not be written now; send it again later", m);
}
