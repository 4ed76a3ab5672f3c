#include "telemetry/ledger.h"

#include <stdatomic.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "store/store.h"

enum {
    BATCH_TEXT_MAX = 1 << 20,
    LOOK_MS = 200,          /* between attempts to write what waits */
    RETAIN_LOOK_MS = 60000, /* between two looks for rows that are too old */
    RETAIN_ROWS = 5000,     /* of one step */
    TEXTS = 8,
    TEXT_BYTES = 255,
};

struct row {
    struct sv text[TEXTS]; /* in the order of the columns */
    struct request_record r;
    bool is_summed;        /* counted with an earlier row of the batch */
};

struct batch {
    struct store_job job;
    struct list waits;
    struct ledger *ledger;
    struct arena arena;
    unsigned n;
    struct row rows[LEDGER_ROWS];
};

struct ledger {
    struct loop *loop;
    struct store *store;
    _Atomic uint64_t rows_max, retain_ms;
    _Atomic uint64_t waiting, written, lost;
    uv_mutex_t lock;
    struct list batches;   /* with the lock held: that could not be written */
    struct timer look, retain;
    bool told;             /* that rows are lost */
    bool numbers;          /* before shards; fixed then */
};

struct ledger_shard {
    struct ledger *ledger;
    struct loop *loop;
    struct batch *open;
    struct timer flush;
};

/* --- writing, on the store's thread --------------------------------------------------------------------------------- */

static int64_t day_of(const struct row *w) {
    return (int64_t)(w->r.ended_ms / 86400000u);
}

/* seq 0: it has no number. */
static bool insert(struct store_tx *tx, const struct row *w, int64_t seq, struct err *e) {
    const struct request_record *r = &w->r;
    const struct store_value v[] = {
        STORE_I64((int64_t)r->ended_ms), STORE_TEXT(w->text[0]), STORE_TEXT(w->text[1]), STORE_TEXT(w->text[2]), STORE_TEXT(w->text[3]),
        STORE_TEXT(w->text[4]), STORE_TEXT(w->text[5]), STORE_TEXT(w->text[6]), STORE_TEXT(w->text[7]), STORE_I64(r->stream),
        STORE_I64(r->status), STORE_I64(r->result), STORE_I64(r->attempts), STORE_I64(r->input), STORE_I64(r->cached), STORE_I64(r->output),
        STORE_I64(r->reasoning), STORE_I64(r->input_source), STORE_I64(r->output_source), STORE_I64((int64_t)r->queue_us),
        STORE_I64(r->first_us ? (int64_t)(r->first_us - r->received_us) : -1), STORE_I64((int64_t)(r->done_us - r->received_us)),
        STORE_I64((int64_t)r->bytes_in), STORE_I64((int64_t)r->bytes_out), r->cost < 0 ? STORE_NULL : STORE_I64(r->cost),
        STORE_I64(r->cost_source), STORE_I64(seq),
    };
    return store_run(tx, e,
                     "INSERT INTO request (ended_ms, id, key_id, slug, model, endpoint, runtime, dialect, api, stream, status, result, attempts, "
                     "tokens_in, tokens_cached, tokens_out, tokens_reasoning, in_source, out_source, queue_us, first_us, total_us, bytes_in, "
                     "bytes_out, cost, cost_source, report_seq) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, "
                     "$23, $24, $25, $26, $27)",
                     v, sizeof v / sizeof v[0], NULL);
}

static bool same_sum(const struct row *a, const struct row *b) {
    bool same = day_of(a) == day_of(b);
    for (unsigned i = 1; i < 5; i++) /* key, slug, model, endpoint */
        same = same && sv_eq(a->text[i], b->text[i]);
    return same;
}

static int64_t positive(int64_t v) {
    return v > 0 ? v : 0;
}

/* Rows from `at` on that belong to the same sum are added to it with one statement. */
static bool add_sum(struct store_tx *tx, struct batch *b, unsigned at, struct err *e) {
    const struct row *w = &b->rows[at];
    int64_t n = 0, failed = 0, in = 0, cached = 0, out = 0, reasoning = 0, total_us = 0, cost = 0, unknown = 0;
    for (unsigned i = at; i < b->n; i++) {
        struct row *o = &b->rows[i];
        if (!same_sum(w, o))
            continue;
        o->is_summed = true;
        n++;
        failed += o->r.result != RESULT_OK;
        in += positive(o->r.input);
        cached += positive(o->r.cached);
        out += positive(o->r.output);
        reasoning += positive(o->r.reasoning);
        total_us += (int64_t)(o->r.done_us - o->r.received_us);
        cost += positive(o->r.cost);
        unknown += o->r.cost < 0;
    }
    return STORE_RUN(tx, e,
                     "INSERT INTO usage_day (day, key_id, slug, model, endpoint, requests, failed, tokens_in, tokens_cached, tokens_out, "
                     "tokens_reasoning, total_us, cost, cost_unknown) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) "
                     "ON CONFLICT (day, key_id, slug, model, endpoint) DO UPDATE SET requests = usage_day.requests + excluded.requests, "
                     "failed = usage_day.failed + excluded.failed, tokens_in = usage_day.tokens_in + excluded.tokens_in, "
                     "tokens_cached = usage_day.tokens_cached + excluded.tokens_cached, tokens_out = usage_day.tokens_out + excluded.tokens_out, "
                     "tokens_reasoning = usage_day.tokens_reasoning + excluded.tokens_reasoning, total_us = usage_day.total_us + excluded.total_us, "
                     "cost = usage_day.cost + excluded.cost, cost_unknown = usage_day.cost_unknown + excluded.cost_unknown",
                     STORE_I64(day_of(w)), STORE_TEXT(w->text[1]), STORE_TEXT(w->text[2]), STORE_TEXT(w->text[3]), STORE_TEXT(w->text[4]),
                     STORE_I64(n), STORE_I64(failed), STORE_I64(in), STORE_I64(cached), STORE_I64(out), STORE_I64(reasoning), STORE_I64(total_us),
                     STORE_I64(cost), STORE_I64(unknown));
}

/* Numbers for n rows: the first of them. The writer is one thread, so their order is that of the commits, and who reads on from a number
 * misses none. */
static bool take_numbers(struct store_tx *tx, unsigned n, int64_t *ret_first, struct err *e) {
    if (!STORE_RUN(tx, e, "UPDATE usage_seq SET seq = seq + $1 WHERE id = 1", STORE_I64(n)))
        return false;
    struct store_rows *r = store_query(tx, e, "SELECT seq FROM usage_seq WHERE id = 1", NULL, 0);
    enum store_step step = r ? store_next(r, e) : STORE_FAULT;
    if (step != STORE_ROW)
        return step == STORE_END && err_set(e, ERR_STORE, "the numbers of usage rows are missing");
    *ret_first = store_i64(r, 0) - n + 1;
    store_end(r);
    return true;
}

static bool run_batch(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct batch *b = CONTAINER(job, struct batch, job);
    unsigned n_numbered = 0;
    int64_t seq = 0;
    for (unsigned i = 0; i < b->n; i++) {
        b->rows[i].is_summed = false;
        n_numbered += b->ledger->numbers && !b->rows[i].r.is_from_hub;
    }
    bool ok = !n_numbered || take_numbers(tx, n_numbered, &seq, e);
    for (unsigned i = 0; ok && i < b->n; i++) {
        bool numbered = b->ledger->numbers && !b->rows[i].r.is_from_hub;
        ok = insert(tx, &b->rows[i], numbered ? seq++ : 0, e) && (b->rows[i].is_summed || add_sum(tx, b, i, e));
    }
    return ok;
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

static void batch_free(struct batch *b) {
    arena_deinit(&b->arena);
    mem_free(b);
}

static void settle(struct ledger *g, unsigned n, _Atomic uint64_t *counter) {
    atomic_fetch_sub_explicit(&g->waiting, n, memory_order_relaxed);
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Beyond the bound only requests without a key can come: their rows are lost rather than their requests. */
static void keep(struct batch *b) {
    struct ledger *g = b->ledger;
    if (atomic_load_explicit(&g->waiting, memory_order_relaxed) > atomic_load_explicit(&g->rows_max, memory_order_relaxed)) {
        settle(g, b->n, &g->lost);
        batch_free(b);
        return;
    }
    uv_mutex_lock(&g->lock);
    list_push_back(&g->batches, &b->waits);
    uv_mutex_unlock(&g->lock);
}

static void on_written(struct store_job *job, const struct err *e) {
    struct batch *b = CONTAINER(job, struct batch, job);
    if (e) {
        keep(b);
        return;
    }
    settle(b->ledger, b->n, &b->ledger->written);
    batch_free(b);
}

static bool submit(struct batch *b) {
    b->job = (struct store_job){ .run = run_batch, .done = on_written };
    return store_submit(b->ledger->store, &b->job, NULL);
}

/* --- a worker's part ---------------------------------------------------------------------------------------------- */

static void flush(struct ledger_shard *s) {
    struct batch *b = s->open;
    s->open = NULL;
    if (s->loop)
        timer_stop(s->loop, &s->flush);
    if (b && !submit(b))
        keep(b);
}

static void on_flush(void *arg) {
    flush(arg);
}

/* Text as the store takes it. */
static struct sv clean(struct arena *a, struct sv v) {
    v = sv_first(v, TEXT_BYTES);
    bool valid = utf8_valid(v);
    for (size_t least = TEXT_BYTES - 4; !valid && v.n > least; valid = utf8_valid(v)) /* cut within a character */
        v.n--;
    if (!valid || sv_find_char(v, '\0') >= 0)
        return SV("(unreadable)");
    return arena_sv(a, v);
}

static bool fill(struct batch *b, const struct request_record *r) {
    const struct sv texts[TEXTS] = { r->id, r->key, r->slug, r->model, r->endpoint, r->runtime, r->dialect, r->api };
    struct row *w = &b->rows[b->n];
    w->r = *r;
    for (unsigned i = 0; i < TEXTS; i++) {
        w->text[i] = clean(&b->arena, texts[i]);
        if (!w->text[i].p)
            return false;
    }
    return true;
}

void ledger_add(struct ledger_shard *s, const struct request_record *r) {
    struct ledger *g = s->ledger;
    if (!s->open && (s->open = mem_new(sizeof *s->open))) {
        s->open->ledger = g;
        list_init(&s->open->waits);
        arena_init(&s->open->arena, BATCH_TEXT_MAX, NULL);
        timer_set(s->loop, &s->flush, LEDGER_FLUSH_MS, on_flush, s);
    }
    if (!s->open || !fill(s->open, r)) {
        atomic_fetch_add_explicit(&g->lost, 1, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&g->waiting, 1, memory_order_relaxed);
    if (++s->open->n == LEDGER_ROWS)
        flush(s);
}

struct ledger_shard *ledger_shard_new(struct ledger *g, struct loop *l) {
    struct ledger_shard *s = mem_new(sizeof *s);
    if (s) {
        s->ledger = g;
        s->loop = l;
    }
    return s;
}

void ledger_shard_free(struct ledger_shard *s) {
    if (!s)
        return;
    s->loop = NULL; /* its timers are gone with it */
    if (s->open && s->open->n == 0) {
        batch_free(s->open);
        s->open = NULL;
    }
    flush(s);
    mem_free(s);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void try_again(struct ledger *g) {
    struct list batches;
    list_init(&batches);
    uv_mutex_lock(&g->lock);
    list_move(&batches, &g->batches);
    uv_mutex_unlock(&g->lock);
    for (struct list *it; (it = list_pop(&batches));) {
        struct batch *b = CONTAINER(it, struct batch, waits);
        if (!submit(b))
            keep(b);
    }
}

static void tell_lost(struct ledger *g) {
    uint64_t lost = atomic_load_explicit(&g->lost, memory_order_relaxed);
    if (lost && !g->told)
        log_event(LOG_ERROR, "records of requests are being lost: the store does not take them", F_U64("rows", lost));
    g->told = lost > 0;
}

static void on_look(void *arg) {
    struct ledger *g = arg;
    if (store_is_well(g->store))
        try_again(g);
    tell_lost(g);
    timer_set(g->loop, &g->look, LOOK_MS, on_look, g);
}

struct trim {
    struct store_job job;
    int64_t before_ms;
};

static bool run_trim(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct trim *t = CONTAINER(job, struct trim, job);
    return STORE_RUN(tx, e,
                     "DELETE FROM request WHERE ended_ms <= (SELECT max(ended_ms) FROM (SELECT ended_ms FROM request WHERE ended_ms < $1 "
                     "ORDER BY ended_ms LIMIT $2) AS oldest)",
                     STORE_I64(t->before_ms), STORE_I64(RETAIN_ROWS));
}

static void on_trimmed(struct store_job *job, const struct err *e) {
    (void)e; /* the store tells of its own troubles; the next look tries again */
    mem_free(CONTAINER(job, struct trim, job));
}

static void on_retain(void *arg) {
    struct ledger *g = arg;
    struct trim *t = mem_new(sizeof *t);
    uint64_t now = clock_wall_ms(), retain = atomic_load_explicit(&g->retain_ms, memory_order_relaxed);
    if (t) {
        *t = (struct trim){ .job = { .run = run_trim, .done = on_trimmed }, .before_ms = (int64_t)(now > retain ? now - retain : 0) };
        if (!store_submit(g->store, &t->job, NULL))
            mem_free(t);
    }
    timer_set(g->loop, &g->retain, RETAIN_LOOK_MS, on_retain, g);
}

struct ledger *ledger_new(struct loop *l, struct store *s, uint64_t rows_max, uint64_t retain_ms, struct err *e) {
    struct ledger *g = mem_new(sizeof *g);
    if (!g || uv_mutex_init(&g->lock) != 0) {
        mem_free(g);
        err_no_memory(e);
        return NULL;
    }
    g->loop = l;
    g->store = s;
    list_init(&g->batches);
    ledger_set(g, rows_max, retain_ms);
    timer_set(l, &g->look, LOOK_MS, on_look, g);
    timer_set(l, &g->retain, RETAIN_LOOK_MS, on_retain, g);
    return g;
}

void ledger_number(struct ledger *g, bool on) {
    g->numbers = on;
}

void ledger_set(struct ledger *g, uint64_t rows_max, uint64_t retain_ms) {
    atomic_store_explicit(&g->rows_max, rows_max, memory_order_relaxed);
    atomic_store_explicit(&g->retain_ms, retain_ms, memory_order_relaxed);
}

void ledger_flush(struct ledger *g) {
    if (!g)
        return;
    timer_stop(g->loop, &g->look);
    timer_stop(g->loop, &g->retain);
    try_again(g);
}

void ledger_free(struct ledger *g) {
    if (!g)
        return;
    for (struct list *it; (it = list_pop(&g->batches));) {
        struct batch *b = CONTAINER(it, struct batch, waits);
        settle(g, b->n, &g->lost);
        batch_free(b);
    }
    g->told = false;
    tell_lost(g);
    uv_mutex_destroy(&g->lock);
    mem_free(g);
}

bool ledger_is_well(const struct ledger *g) {
    return store_is_well(g->store) && atomic_load_explicit(&g->waiting, memory_order_relaxed) < atomic_load_explicit(&g->rows_max, memory_order_relaxed);
}

void ledger_status(const struct ledger *g, struct ledger_status *ret) {
    *ret = (struct ledger_status){ atomic_load(&g->waiting), atomic_load(&g->written), atomic_load(&g->lost) };
}
