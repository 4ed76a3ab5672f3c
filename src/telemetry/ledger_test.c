#include "telemetry/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "store/store.h"

static char dir[] = "/tmp/drover-ledger-XXXXXX";
static char file[64];

static struct store *open_store(void) {
    struct err e = { 0 };
    struct store *s = store_open(&(struct store_options){ .path = sv_of(file) }, &e);
    if (!s)
        fail_msg("%s", e.text);
    return s;
}

static struct request_record record(uint64_t ended_ms, struct sv key, struct sv model) {
    return (struct request_record){ .id = SV("0123456789abcdef0123456789abcdef"), .key = key, .slug = SV("coder"), .model = model, .endpoint = SV("big"),
                                    .runtime = SV("vllm"), .dialect = SV("openai"), .api = SV("/v1/chat/completions"), .result = RESULT_OK,
                                    .status = 200, .stream = true, .attempts = 1, .received_us = 1000, .first_us = 3000, .done_us = 9000,
                                    .input = 10, .cached = -1, .output = 5, .reasoning = 2, .input_source = TOKENS_REPORTED,
                                    .output_source = TOKENS_ESTIMATED, .ended_ms = ended_ms };
}

struct look {
    struct store_job job;
    const char *sql;
    int64_t got[4];
    uv_sem_t ready;
};

static bool run_look(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct look *l = CONTAINER(job, struct look, job);
    struct store_rows *r = store_query(tx, e, l->sql, NULL, 0);
    if (!r || store_next(r, e) != STORE_ROW)
        return false;
    for (int i = 0; i < 4; i++)
        l->got[i] = store_i64(r, i);
    store_end(r);
    return true;
}

static void on_look(struct store_job *job, const struct err *e) {
    struct look *l = CONTAINER(job, struct look, job);
    if (e)
        l->got[0] = -99;
    uv_sem_post(&l->ready);
}

/* The first four columns of the first row. */
static const int64_t *look(struct store *s, const char *sql) {
    static struct look l;
    l = (struct look){ .job = { .reads = true, .run = run_look, .done = on_look }, .sql = sql };
    uv_sem_init(&l.ready, 0);
    assert_true(store_submit(s, &l.job, NULL));
    uv_sem_wait(&l.ready);
    uv_sem_destroy(&l.ready);
    return l.got;
}

struct writing {
    struct store_job job;
    uv_sem_t ready;
    bool ok;
};

static bool run_writing(struct store_tx *tx, struct store_job *job, struct err *e) {
    (void)job;
    return store_run(tx, e, "INSERT INTO usage_day (day, key_id, slug, model, endpoint, requests, failed, tokens_in, tokens_cached, tokens_out, "
                            "tokens_reasoning, total_us) VALUES (1, 'k', 's', 'm', 'e', 5, 0, 7, 0, 0, 0, 0)", NULL, 0, NULL);
}

static void on_writing(struct store_job *job, const struct err *e) {
    struct writing *w = CONTAINER(job, struct writing, job);
    w->ok = !e;
    uv_sem_post(&w->ready);
}

static void close_all(struct ledger *g, struct ledger_shard *shard, struct store *s, struct loop *l) {
    ledger_shard_free(shard);
    ledger_flush(g);
    store_close(s, 5000);
    ledger_free(g);
    loop_deinit(l);
}

static void every_row_is_written_and_summed(void **state) {
    enum { DAY = 86400000, N = 1000 };
    struct loop l;
    struct err e;
    (void)state;
    assert_true(loop_init(&l, &e));
    struct store *s = open_store();
    struct ledger *g = ledger_new(&l, s, 10000, DAY, &e);
    struct ledger_shard *shard = ledger_shard_new(g, &l);
    for (uint64_t i = 0; i < N; i++) {
        struct request_record r = record(100ull * DAY + i % 2 * DAY, i % 3 ? SV("k1") : SV_NULL, i % 5 ? SV("m1") : SV("m\xff"));
        r.result = i % 10 ? RESULT_OK : RESULT_UPSTREAM_ERROR;
        r.cost = i % 4 ? 7 : -1;
        r.cost_source = i % 4 ? COST_PRICE : COST_NONE;
        ledger_add(shard, &r);
    }
    close_all(g, shard, s, &l);
    s = open_store();
    const int64_t *got = look(s, "SELECT count(*), sum(tokens_in), min(first_us), max(total_us) FROM request");
    assert_int_equal(got[0], N);
    assert_int_equal(got[1], 10 * N);
    assert_int_equal(got[2], 2000);
    assert_int_equal(got[3], 8000);
    got = look(s, "SELECT count(*), sum(requests), sum(tokens_out), sum(failed) FROM usage_day");
    assert_int_equal(got[0], 8); /* two days, two keys, two models */
    assert_int_equal(got[1], N);
    assert_int_equal(got[2], 5 * N);
    assert_int_equal(got[3], N / 10);
    got = look(s, "SELECT sum(cost), sum(cost_unknown), 0, 0 FROM usage_day");
    assert_int_equal(got[0], 7 * 3 * N / 4);
    assert_int_equal(got[1], N / 4);
    got = look(s, "SELECT count(*), count(cost), sum(cost), sum(cost_source) FROM request");
    assert_int_equal(got[1], 3 * N / 4);
    assert_int_equal(got[2], 7 * 3 * N / 4);
    assert_int_equal(got[3], COST_PRICE * 3 * N / 4);
    got = look(s, "SELECT count(*), 0, 0, 0 FROM request WHERE model = '(unreadable)'");
    assert_int_equal(got[0], N / 5);
    store_close(s, 1000);
}

/* What a daemon of before had written stays, and says that nobody knows what it cost. */
static void rows_of_before_cost_nobody_knows_what(void **state) {
    struct store_migration before[4] = { { 0 } };
    struct err e = { 0 };
    char old[96];
    (void)state;
    for (unsigned i = 0, n = 0; store_schema[i].version && n < 3; i++)
        if (store_schema[i].version < 4)
            before[n++] = store_schema[i];
    snprintf(old, sizeof old, "%s.old", file);
    struct store *s = store_open(&(struct store_options){ .path = sv_of(old), .migrations = before }, &e);
    assert_non_null(s);
    (void)look(s, "SELECT 1, 1, 1, 1");
    struct writing w = { .job = { .run = run_writing, .done = on_writing } };
    uv_sem_init(&w.ready, 0);
    assert_true(store_submit(s, &w.job, NULL));
    uv_sem_wait(&w.ready);
    uv_sem_destroy(&w.ready);
    assert_true(w.ok);
    store_close(s, 5000);
    s = store_open(&(struct store_options){ .path = sv_of(old) }, &e);
    assert_non_null(s);
    const int64_t *got = look(s, "SELECT requests, cost, cost_unknown, tokens_in FROM usage_day");
    assert_int_equal(got[0], 5);
    assert_int_equal(got[1], 0);
    assert_int_equal(got[2], 5);
    assert_int_equal(got[3], 7);
    store_close(s, 5000);
    static const char *const ends[] = { "", "-wal", "-shm", ".lock" };
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", old, ends[i]);
        unlink(path);
    }
}

/* Holds the store's writer until it is let go. */
struct blocker {
    struct store_job job;
    uv_sem_t begun, go;
};

static bool run_blocker(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct blocker *b = CONTAINER(job, struct blocker, job);
    (void)tx;
    (void)e;
    uv_sem_post(&b->begun);
    uv_sem_wait(&b->go);
    return true;
}

static void on_blocker(struct store_job *job, const struct err *e) {
    (void)job;
    (void)e;
}

static void what_cannot_be_written_waits_and_is_lost_only_beyond_the_bound(void **state) {
    enum { BOUND = 4 * LEDGER_ROWS };
    struct blocker block = { .job = { .run = run_blocker, .done = on_blocker } };
    struct ledger_status st;
    struct loop l;
    struct err e;
    (void)state;
    assert_true(loop_init(&l, &e));
    struct store *s = store_open(&(struct store_options){ .path = sv_of(file), .queue_max = 1 }, &e);
    struct ledger *g = ledger_new(&l, s, BOUND, 86400000, &e);
    struct ledger_shard *shard = ledger_shard_new(g, &l);
    int64_t before = look(s, "SELECT count(*), 0, 0, 0 FROM request")[0];
    uv_sem_init(&block.begun, 0);
    uv_sem_init(&block.go, 0);
    assert_true(store_submit(s, &block.job, NULL));
    uv_sem_wait(&block.begun);
    for (unsigned i = 0; i < BOUND; i++) {
        assert_true(ledger_is_well(g));
        ledger_add(shard, &(struct request_record){ .id = SV("x"), .ended_ms = 1 });
    }
    assert_false(ledger_is_well(g)); /* requests of keys stop here */
    for (unsigned i = 0; i < 2 * LEDGER_ROWS; i++)
        ledger_add(shard, &(struct request_record){ .id = SV("x"), .ended_ms = 1 });
    ledger_status(g, &st);
    assert_int_equal(st.waiting, BOUND);
    assert_int_equal(st.lost, 2 * LEDGER_ROWS);
    uv_sem_post(&block.go);
    for (int tries = 0; tries < 1000 && (ledger_status(g, &st), st.waiting); tries++) { /* the queue has room for one at a time */
        ledger_flush(g);
        usleep(1000);
    }
    assert_int_equal(st.written, BOUND);
    assert_int_equal(look(s, "SELECT count(*), 0, 0, 0 FROM request")[0] - before, BOUND);
    close_all(g, shard, s, &l);
    uv_sem_destroy(&block.begun);
    uv_sem_destroy(&block.go);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_written_and_summed),
        cmocka_unit_test(rows_of_before_cost_nobody_knows_what),
        cmocka_unit_test(what_cannot_be_written_waits_and_is_lost_only_beyond_the_bound),
    };
    if (sodium_init() < 0 || !mkdtemp(dir))
        return 1;
    snprintf(file, sizeof file, "%s/drover.db", dir);
    int failed = cmocka_run_group_tests_name("telemetry/ledger", tests, NULL, NULL);
    static const char *const ends[] = { "", "-wal", "-shm", ".lock" };
    for (size_t i = 0; i < 4; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s%s", file, ends[i]);
        unlink(path);
    }
    rmdir(dir);
    return failed;
}
