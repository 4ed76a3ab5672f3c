#include "telemetry/export.h"

#include <stdatomic.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "telemetry/collector.h"
#include "telemetry/otlp.h"

enum {
    BATCH_ROWS = 64,
    BATCH_TEXT_MAX = 1 << 20,
    FLUSH_MS = 200,           /* how long a row waits in its worker */
    LOOK_MS = 100,            /* how often the control loop takes what workers handed over */
    TEXT_BYTES = 1024,        /* of one text that is kept */
    BODY_ROWS = 512,          /* of one body: as soon as so many wait it is sent */
    BODY_BYTES = 1 << 20,     /* it takes no further row then */
    BODY_MAX = 4 << 20,
};

struct batch {
    struct list waits;
    struct arena arena;
    size_t bytes;             /* counted in waiting_bytes */
    unsigned n, at;           /* rows; the next one that is to be sent */
    struct trace rows[BATCH_ROWS];
};

struct export {
    struct loop *loop;
    struct collector collector;
    struct otlp_meter *meter;
    char *version, *node;
    struct sender traces, metrics;
    struct list queue;        /* of struct batch: taken from workers, oldest first */
    size_t n_queued;          /* rows in it that are to be sent */
    uint64_t due_ms;          /* loop time: what waits goes out then */
    struct timer look;
    bool finishing;

    uv_mutex_t lock;
    struct list arrived;      /* with the lock held: of struct batch, handed over by workers */

    _Atomic bool is_on;
    _Atomic uint64_t rows_max, bytes_max;
    _Atomic uint64_t waiting, waiting_bytes;          /* rows that are not yet sent or dropped; bytes of batches handed over */
    _Atomic uint64_t sent, dropped, refused, retried; /* spans; spans; spans; bodies */
};

struct export_shard {
    struct export *export;
    struct loop *loop;
    struct batch *open;
    struct timer flush;
};

static void count(_Atomic uint64_t *c, uint64_t by) {
    atomic_fetch_add_explicit(c, by, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *c) {
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)c, memory_order_relaxed);
}

/* --- a worker's part ---------------------------------------------------------------------------------------------- */

static void batch_free(struct batch *b) {
    arena_deinit(&b->arena);
    mem_free(b);
}

static void flush(struct export_shard *s) {
    struct export *x = s->export;
    struct batch *b = s->open;
    s->open = NULL;
    if (s->loop)
        timer_stop(s->loop, &s->flush);
    if (!b)
        return;
    b->bytes = sizeof *b + b->arena.used;
    count(&x->waiting_bytes, b->bytes);
    uv_mutex_lock(&x->lock);
    list_push_back(&x->arrived, &b->waits);
    uv_mutex_unlock(&x->lock);
}

static void on_flush(void *arg) {
    flush(arg);
}

static bool keep(struct arena *a, struct sv *v) {
    struct sv copy = arena_sv(a, sv_first(*v, TEXT_BYTES));
    bool ok = copy.p || !v->n;
    *v = copy;
    return ok;
}

static bool keep_attempts(struct arena *a, const struct trace_attempt **list) {
    const struct trace_attempt **end = list;
    for (const struct trace_attempt *from = *list; from; from = from->next) {
        struct trace_attempt *to = ARENA_NEW(a, struct trace_attempt);
        if (!to)
            return false;
        *to = *from;
        if (!keep(a, &to->endpoint) || !keep(a, &to->runtime) || !keep(a, &to->model) || !keep(a, &to->host) || !keep(a, &to->error))
            return false;
        *end = to;
        end = &to->next;
    }
    return true;
}

static bool keep_row(struct arena *a, struct trace *t) {
    struct request_record *r = &t->r;
    struct sv *const texts[] = { &t->state, &t->method, &t->operation, &r->id, &r->key, &r->slug,
                                 &r->model, &r->endpoint, &r->runtime, &r->dialect, &r->api };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!keep(a, texts[i]))
            return false;
    return keep_attempts(a, &t->attempts);
}

static struct batch *open_batch(struct export_shard *s) {
    struct batch *b = s->open;
    if (b)
        return b;
    b = mem_new(sizeof *b);
    if (!b)
        return NULL;
    list_init(&b->waits);
    arena_init(&b->arena, BATCH_TEXT_MAX, NULL);
    if (s->loop)
        timer_set(s->loop, &s->flush, FLUSH_MS, on_flush, s);
    return s->open = b;
}

void export_add(struct export_shard *s, const struct trace *t) {
    struct export *x = s->export;
    if (!atomic_load_explicit(&x->is_on, memory_order_relaxed))
        return;
    bool full = get(&x->waiting) >= get(&x->rows_max) || get(&x->waiting_bytes) >= get(&x->bytes_max);
    struct batch *b = full ? NULL : open_batch(s);
    if (b)
        b->rows[b->n] = *t;
    if (!b || !keep_row(&b->arena, &b->rows[b->n])) {
        count(&x->dropped, otlp_spans(t));
        return;
    }
    count(&x->waiting, 1);
    if (++b->n == BATCH_ROWS)
        flush(s);
}

struct export_shard *export_shard_new(struct export *x, struct loop *l) {
    struct export_shard *s = mem_new(sizeof *s);
    if (s) {
        s->export = x;
        s->loop = l;
    }
    return s;
}

void export_shard_free(struct export_shard *s) {
    if (!s)
        return;
    s->loop = NULL; /* its timers are gone with it */
    flush(s);
    mem_free(s);
}

/* --- what waits --------------------------------------------------------------------------------------------------- */

static bool is_sent(const struct trace *t) {
    return t->own.flags & TRACE_SAMPLED;
}

static void forget(struct export *x, struct batch *b) {
    list_drop(&b->waits);
    count(&x->waiting, -(uint64_t)(b->n - b->at));
    count(&x->waiting_bytes, -(uint64_t)b->bytes);
    batch_free(b);
}

static void take_arrived(struct export *x) {
    struct list arrived = LIST_INIT(arrived);
    uv_mutex_lock(&x->lock);
    list_move(&arrived, &x->arrived);
    uv_mutex_unlock(&x->lock);
    LIST_FOR(it, &arrived) {
        struct batch *b = CONTAINER(it, struct batch, waits);
        for (unsigned i = 0; i < b->n; i++) {
            otlp_meter_add(x->meter, &b->rows[i]);
            x->n_queued += is_sent(&b->rows[i]);
        }
    }
    list_move(&x->queue, &arrived);
}

static void drop_all(struct export *x) {
    take_arrived(x);
    for (struct list *it; (it = x->queue.next) != &x->queue;) {
        struct batch *b = CONTAINER(it, struct batch, waits);
        for (unsigned i = b->at; i < b->n; i++)
            if (is_sent(&b->rows[i]))
                count(&x->dropped, otlp_spans(&b->rows[i]));
        forget(x, b);
    }
    x->n_queued = 0;
}

/* --- what became of a body ---------------------------------------------------------------------------------------- */

/* Nobody will get it. */
static void drop_body(struct export *x) {
    count(&x->dropped, x->traces.n);
    count(&x->waiting, -(uint64_t)x->traces.rows);
    sender_forget(&x->traces);
}

static void on_traces_over(struct sender *s, enum sender_end end, uint64_t rejected) {
    struct export *x = s->owner;
    rejected = rejected < s->n ? rejected : s->n;
    if (end == SENDER_LATER) {
        count(&x->retried, 1);
        return;
    }
    count(&x->refused, end == SENDER_REFUSED ? s->n : rejected);
    count(&x->sent, end == SENDER_REFUSED ? 0 : s->n - rejected);
    count(&x->waiting, -(uint64_t)s->rows);
}

static void on_metrics_over(struct sender *s, enum sender_end end, uint64_t rejected) {
    struct export *x = s->owner;
    (void)rejected;
    count(&x->retried, end == SENDER_LATER);
}

static void step(struct export *x);

static void on_idle(struct sender *s) {
    step(s->owner);
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

static struct otlp_source source(const struct export *x) {
    return (struct otlp_source){ sv_of(x->version), sv_of(x->node) };
}

/* From the queue's front. A row that cannot be printed is dropped. */
static void print_traces(struct export *x) {
    struct sender *s = &x->traces;
    const struct otlp_source from = source(x);
    buf_init(&s->body, BODY_MAX);
    if (!otlp_traces_begin(&s->body, &from)) {
        buf_deinit(&s->body); /* memory is out: they wait */
        return;
    }
    for (struct list *it; (it = x->queue.next) != &x->queue && s->rows < BODY_ROWS && s->body.n < BODY_BYTES;) {
        struct batch *b = CONTAINER(it, struct batch, waits);
        const struct trace *t = b->at < b->n ? &b->rows[b->at++] : NULL;
        if (!t) {
            forget(x, b);
        } else if (is_sent(t)) {
            bool ok = otlp_traces_add(&s->body, t, s->rows == 0);
            x->n_queued--;
            s->n += ok ? otlp_spans(t) : 0;
            s->rows += ok;
            if (!ok) {
                count(&x->dropped, otlp_spans(t));
                count(&x->waiting, -(uint64_t)1);
            }
        } else {
            count(&x->waiting, -(uint64_t)1);
        }
    }
    s->has_body = s->rows && otlp_traces_end(&s->body);
    if (!s->has_body)
        drop_body(x);
}

/* Only ever the newest: they are sums, so one that was not sent is no loss. */
static void print_metrics(struct export *x) {
    struct sender *s = &x->metrics;
    const struct otlp_source from = source(x);
    bool any = false;
    buf_deinit(&s->body);
    buf_init(&s->body, BODY_MAX * 4);
    s->has_body = otlp_metrics(&s->body, x->meter, &from, clock_wall_ms() * 1000000u, &any) && any;
    if (!s->has_body)
        buf_deinit(&s->body);
}

/* The one place that looks at the whole. */
static void step(struct export *x) {
    uint64_t now = loop_now_ms(x->loop);
    bool due = now >= x->due_ms || x->finishing;
    if (!x->collector.dialer)
        return;
    take_arrived(x);
    if (sender_is_free(&x->traces, now)) {
        if (!x->traces.has_body && (x->n_queued >= BODY_ROWS || due))
            print_traces(x);
        if (x->traces.has_body)
            sender_send(&x->traces);
    }
    if (sender_is_free(&x->metrics, now) && due && !(x->finishing && x->metrics.status)) { /* at the end once, whatever is said to it */
        print_metrics(x);
        if (x->metrics.has_body)
            sender_send(&x->metrics);
    }
    if (due)
        x->due_ms = now + x->collector.config->telemetry.otlp.interval_ms;
}

static void on_look(void *arg) {
    struct export *x = arg;
    step(x);
    timer_set(x->loop, &x->look, LOOK_MS, on_look, x);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

bool export_set(struct export *x, struct config *c, struct err *e) {
    bool ok = collector_set(&x->collector, c, e), is_on = x->collector.dialer != NULL;
    x->traces.next_ms = x->metrics.next_ms = 0;
    x->due_ms = loop_now_ms(x->loop) + c->telemetry.otlp.interval_ms;
    atomic_store_explicit(&x->rows_max, (uint64_t)c->limits.otlp.queue_rows, memory_order_relaxed);
    atomic_store_explicit(&x->bytes_max, (uint64_t)c->limits.otlp.queue, memory_order_relaxed);
    atomic_store_explicit(&x->is_on, is_on, memory_order_relaxed);
    if (is_on) {
        timer_set(x->loop, &x->look, LOOK_MS, on_look, x);
        return ok;
    }
    timer_stop(x->loop, &x->look);
    sender_cancel(&x->traces);
    sender_cancel(&x->metrics);
    drop_all(x);
    drop_body(x);
    sender_forget(&x->metrics);
    return ok;
}

struct export *export_new(struct loop *l, struct sv version, struct sv node, struct err *e) {
    enum { SERIES_MAX = 1000 };
    struct export *x = mem_new(sizeof *x);
    if (!x || uv_mutex_init(&x->lock) != 0) {
        mem_free(x);
        err_no_memory(e);
        return NULL;
    }
    x->loop = l;
    list_init(&x->queue);
    list_init(&x->arrived);
    x->traces = (struct sender){ &x->collector, "/v1/traces", "rejectedSpans", on_traces_over, on_idle, x };
    x->metrics = (struct sender){ &x->collector, "/v1/metrics", "rejectedDataPoints", on_metrics_over, on_idle, x };
    x->meter = otlp_meter_new(SERIES_MAX, clock_wall_ms() * 1000000u);
    x->node = mem_str(node.p, node.n);
    x->version = mem_str(version.p, version.n);
    bool ok = x->meter && x->node && x->version ? collector_init(&x->collector, l, version, e) : err_no_memory(e);
    if (ok)
        return x;
    export_free(x);
    return NULL;
}

/* All is sent, or what is left failed: at the end nothing is tried again. */
static bool is_over(const struct export *x) {
    return !x->traces.call && !x->metrics.call && (x->traces.n_failed || (!x->traces.has_body && x->n_queued == 0));
}

static void on_late(void *arg) {
    bool *late = arg;
    *late = true;
}

void export_finish(struct export *x, unsigned deadline_ms) {
    struct timer deadline = { 0 };
    bool late = false;
    if (!x || !x->collector.dialer)
        return;
    x->finishing = true;
    x->metrics.status = 0;
    timer_set(x->loop, &deadline, deadline_ms, on_late, &late);
    step(x);
    while (!late && !is_over(x))
        uv_run(&x->loop->uv, UV_RUN_ONCE);
    timer_stop(x->loop, &deadline);
    if (x->traces.has_body || x->n_queued)
        log_event(LOG_WARN, "some traces did not reach the collector before the end", F_U64("requests", get(&x->waiting)));
}

void export_free(struct export *x) {
    if (!x)
        return;
    timer_stop(x->loop, &x->look);
    sender_cancel(&x->traces);
    sender_cancel(&x->metrics);
    if (x->meter)
        drop_all(x);
    drop_body(x);
    sender_forget(&x->metrics);
    collector_deinit(&x->collector);
    otlp_meter_free(x->meter);
    mem_free(x->version);
    mem_free(x->node);
    uv_mutex_destroy(&x->lock);
    mem_free(x);
}

bool export_print(const struct export *x, struct buf *out) {
    static const char *const outcomes[] = { "sent", "dropped", "refused" };
    const uint64_t spans[] = { get(&x->sent), get(&x->dropped), get(&x->refused) };
    uint64_t retried = get(&x->retried);
    if (!atomic_load_explicit((_Atomic bool *)(uintptr_t)&x->is_on, memory_order_relaxed) && !spans[0] && !spans[1] && !spans[2])
        return true;
    buf_add(out, SV("# HELP drover_otlp_spans_total Spans for the collector, by what became of them\n"
                    "# TYPE drover_otlp_spans_total counter\n"));
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
        buf_printf(out, "drover_otlp_spans_total{outcome=\"%s\"} %llu\n", outcomes[i], (unsigned long long)spans[i]);
    buf_printf(out, "# HELP drover_otlp_retries_total Bodies that are sent again later\n# TYPE drover_otlp_retries_total counter\n"
                    "drover_otlp_retries_total %llu\n", (unsigned long long)retried);
    buf_printf(out, "# HELP drover_otlp_waiting Requests that wait for the collector\n# TYPE drover_otlp_waiting gauge\n"
                    "drover_otlp_waiting %llu\n", (unsigned long long)get(&x->waiting));
    return !out->failed;
}