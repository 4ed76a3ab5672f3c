/* console/live.c - ask each worker -> merge when all have told -> whoever waits, whoever watches. */
#include "console/live.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "telemetry/bus.h"
#include "telemetry/history.h"

enum {
    LIVE_MS = 500,
    LINGER_MS = 60000, /* ended requests are kept for a page that was away so long */
};

struct live {
    struct admin *admin;
    const struct live_events *on; /* NULL: closed */
    void *owner;
    struct history *history;
    struct timer step, look;
    unsigned n_watching;
    unsigned n_pending;           /* reports under way */
    bool asked;                   /* a round is under way */
    struct list asks;             /* of struct ask: requests that wait for a round */
    struct buf rows;              /* of this round */
    unsigned total, queued, n_rows;
    uint64_t linger_until_ms;
};

struct ask {
    struct list asks;
    struct waiting *waits;
};

/* --- a request as JSON -------------------------------------------------------------------------------------------- */

static void put_count(struct buf *out, const char *key, int64_t v) {
    if (v >= 0)
        put_number(out, key, (uint64_t)v);
}

static void put_given(struct buf *out, const char *key, struct sv v) {
    if (v.n)
        put_text(out, key, v);
}

static void put_live(struct buf *out, const struct live_request *q, uint64_t now_ms) {
    buf_add_char(out, '{');
    put_text(out, "id", q->id);
    put_number(out, "received_ms", now_ms - q->age_us / 1000);
    put_text(out, "state", sv_of(live_state_name(q->state)));
    put_given(out, "key", q->key);
    put_given(out, "key_name", q->key_name);
    put_text(out, "api", q->api);
    put_text(out, "asked", q->asked);
    put_given(out, "slug", q->slug);
    put_given(out, "endpoint", q->endpoint);
    put_given(out, "model", q->model);
    put_truth(out, "stream", q->stream);
    put_number(out, "attempts", q->attempts);
    put_number(out, "queue_ms", q->queue_us / 1000);
    put_known(out, "place", q->place);
    put_known(out, "expect_ms", q->expect_ms);
    put_known(out, "ttft_ms", (q->first_us + 999) / 1000);
    put_count(out, "input", q->input);
    put_count(out, "output", q->output);
    put_count(out, "reasoning", q->reasoning);
    put_number(out, "bytes_out", q->bytes_out);
    buf_add_char(out, '}');
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

static void answer(struct request *r, struct sv json) {
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    buf_add(&out, json);
    request_reply(r, 200, &out);
}

static void end_round(struct live *v) {
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    buf_add_char(&out, '{');
    put_number(&out, "at_ms", clock_wall_ms());
    put_number(&out, "total", v->total);
    put_number(&out, "queued", v->queued);
    put_truth(&out, "cut", v->n_rows < v->total || v->rows.failed);
    buf_add(&out, SV(",\"requests\":["));
    buf_add(&out, buf_sv(&v->rows));
    buf_add(&out, SV("]}"));
    v->asked = false;
    for (struct list *it; (it = list_pop(&v->asks));) {
        struct ask *a = CONTAINER(it, struct ask, asks);
        struct request *r = request_resume(a->waits);
        if (r)
            answer(r, out.failed ? SV("{}") : buf_sv(&out));
        mem_free(a);
    }
    if (v->n_watching && !out.failed)
        v->on->on_live(v->owner, buf_sv(&out));
    buf_deinit(&out);
    buf_deinit(&v->rows);
}

static void take_ended(struct live *v, const struct gateway_report *r) {
    for (unsigned i = 0; i < r->n_ended; i++) {
        struct buf out = BUF_MAX(64 << 10);
        buf_add_char(&out, '{');
        put_record(&out, &r->ended[i]);
        buf_add_char(&out, '}');
        if (!out.failed)
            bus_publish(v->admin->bus, BUS_REQUEST, r->ended[i].ended_ms, buf_sv(&out));
        buf_deinit(&out);
    }
    if (r->n_lost) {
        char text[48];
        int n = snprintf(text, sizeof text, "{\"more\":%u}", r->n_lost);
        bus_publish(v->admin->bus, BUS_REQUEST, clock_wall_ms(), (struct sv){ text, (size_t)n });
    }
}

static void live_unref(struct live *v) {
    if (v->on || v->n_pending)
        return;
    buf_deinit(&v->rows);
    mem_free(v);
}

static void on_report(struct msg *m) {
    struct gateway_report *r = CONTAINER(m, struct gateway_report, msg);
    struct live *v = r->owner;
    uint64_t now = clock_wall_ms();
    v->n_pending--;
    if (v->on) {
        for (unsigned i = 0; i < r->n_live; i++) {
            if (v->rows.n)
                buf_add_char(&v->rows, ',');
            put_live(&v->rows, &r->live[i], now);
        }
        v->n_rows += r->n_live;
        v->total += r->total;
        v->queued += r->queued;
        take_ended(v, r);
        for (unsigned i = 0; i < r->n_seen; i++)
            v->on->on_seen(v->owner, &r->seen[i]);
        if (v->n_pending == 0)
            end_round(v);
    }
    arena_deinit(&r->arena);
    mem_free(r);
    live_unref(v);
}

static bool ask_worker(struct live *v, unsigned i) {
    const struct admin_house *h = v->admin->house;
    struct gateway_report *r = mem_new(sizeof *r);
    if (!r)
        return false;
    r->msg.deliver = on_report;
    r->home = v->admin->loop;
    r->owner = v;
    arena_init(&r->arena, REPORT_ARENA, NULL);
    if (h->report(h->owner, i, r))
        return true;
    arena_deinit(&r->arena);
    mem_free(r);
    return false;
}

static void begin_round(struct live *v) {
    const struct admin_house *h = v->admin->house;
    if (v->asked)
        return;
    v->asked = true;
    buf_init(&v->rows, REQUEST_ANSWER_MAX / 2);
    v->total = v->queued = v->n_rows = 0;
    v->n_pending++; /* so that the last one asked does not end the round early */
    for (unsigned i = 0; i < h->n_workers(h->owner); i++)
        v->n_pending += ask_worker(v, i);
    if (--v->n_pending == 0)
        end_round(v);
}

static void on_look(void *arg) {
    struct live *v = arg;
    const struct admin_house *h = v->admin->house;
    bool lingers = loop_now_ms(v->admin->loop) < v->linger_until_ms;
    if (!v->n_watching && !lingers) {
        atomic_store_explicit(h->watched, false, memory_order_relaxed);
        return;
    }
    begin_round(v);
    timer_set(v->admin->loop, &v->look, LIVE_MS, on_look, v);
}

void live_watch(struct live *v, int by) {
    v->n_watching = (unsigned)((int)v->n_watching + by);
    v->linger_until_ms = loop_now_ms(v->admin->loop) + LINGER_MS;
    atomic_store_explicit(v->admin->house->watched, true, memory_order_relaxed);
    if (!timer_is_set(&v->look))
        timer_set(v->admin->loop, &v->look, 0, on_look, v);
}

/* --- history ------------------------------------------------------------------------------------------------------ */

static void put_point(struct buf *out, const struct history_point *p) {
    buf_add_char(out, '{');
    put_number(out, "at_ms", p->at_ms);
    put_number(out, "requests", p->requests);
    put_number(out, "failed", p->failed);
    put_number(out, "in_flight", p->in_flight);
    put_number(out, "queued", p->queued);
    put_number(out, "input_tokens", p->input_tokens);
    put_number(out, "output_tokens", p->output_tokens);
    put_known(out, "ttft_p50_ms", p->first_p50_ms);
    put_known(out, "ttft_p95_ms", p->first_p95_ms);
    buf_add_char(out, '}');
}

static void on_step(void *arg) {
    struct live *v = arg;
    const struct history_point *p = history_step(v->history, clock_wall_ms());
    timer_set(v->admin->loop, &v->step, HISTORY_STEP_MS, on_step, v);
    if (!v->n_watching)
        return;
    struct buf out = BUF_MAX(4096);
    put_point(&out, p);
    if (!out.failed)
        v->on->on_figures(v->owner, buf_sv(&out));
    buf_deinit(&out);
}

const struct history *live_history(const struct live *v) {
    return v->history;
}

void history_get(struct request *r) {
    const struct history *h = r->admin->live->history;
    const struct history_point *p;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    buf_printf(&out, "{\"interval_ms\":%d,\"points\":[", HISTORY_STEP_MS);
    for (unsigned i = 0; (p = history_at(h, i)); i++) {
        if (i)
            buf_add_char(&out, ',');
        put_point(&out, p);
    }
    buf_add(&out, SV("]}"));
    request_reply(r, 200, &out);
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

void live_get(struct request *r) {
    struct live *v = r->admin->live;
    struct ask *a = mem_new(sizeof *a);
    struct err e;
    if (!a) {
        err_no_memory(&e);
        request_fail(r, &e, NULL);
        return;
    }
    list_init(&a->asks);
    if (!(a->waits = request_wait(r))) {
        mem_free(a);
        return;
    }
    list_push_back(&v->asks, &a->asks);
    begin_round(v);
}

/* It may have ended meanwhile, or be another hub's: who asks looks at the list again. */
void live_stop(struct request *r) {
    const struct admin_house *h = r->admin->house;
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    struct sv id = sv_first(r->rest, 32);
    h->stop(h->owner, id);
    log_event(LOG_INFO, "an operator stops a request", F_SV("who", r->who), F_SV("request", id));
    buf_add(&out, SV("{\"stopping\":true}"));
    request_reply(r, 202, &out);
}

/* All that goes on with one key now: of many workers, so nobody can say how many those were. */
void live_stop_key(struct request *r) {
    const struct admin_house *h = r->admin->house;
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    struct err e;
    struct sv key;
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    if (!doc)
        return;
    bool ok = request_text(yyjson_doc_get_root(doc), "key", &key, &e) &&
              (key.n || err_set(&e, ERR_BAD_REQUEST, "\"key\" must be the id or name of a key, or a person's name"));
    if (!ok) {
        request_fail(r, &e, NULL);
        return;
    }
    const struct access_key *k = access_find_key(h->access, key);
    key = k ? k->id : sv_first(key, 64);
    h->stop_key(h->owner, key);
    log_event(LOG_INFO, "an operator stops all requests of a key", F_SV("who", r->who), F_SV("key", key));
    buf_add(&out, SV("{\"stopping\":true}"));
    request_reply(r, 202, &out);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct live *live_new(struct admin *a, const struct live_events *on, void *owner) {
    struct live *v = mem_new(sizeof *v);
    if (!v || !(v->history = history_new(a->house->metrics))) {
        mem_free(v);
        return NULL;
    }
    v->admin = a;
    v->on = on;
    v->owner = owner;
    list_init(&v->asks);
    on_step(v);
    return v;
}

void live_free(struct live *v) {
    if (!v)
        return;
    timer_stop(v->admin->loop, &v->step);
    timer_stop(v->admin->loop, &v->look);
    for (struct list *it; (it = list_pop(&v->asks));) {
        (void)request_resume(CONTAINER(it, struct ask, asks)->waits);
        mem_free(CONTAINER(it, struct ask, asks));
    }
    history_free(v->history);
    v->on = NULL;
    live_unref(v);
}
