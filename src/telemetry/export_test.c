/* The way from workers to the control loop, its bounds and its ends; tests/otlp.test.js has the way to a collector. */
#include "telemetry/export.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/mem.h"

/* A port that nobody listens on: what is exported stays here. */
static struct config *settings(const char *otlp, unsigned rows) {
    static struct config_report report;
    static const char *const no_env[] = { "HOME=/h", NULL };
    char text[400];
    snprintf(text, sizeof text, "telemetry: {otlp: %s}\nlimits: {otlp: {queue_rows: %u}}\n", otlp, rows);
    struct config_source s = { .path = "t.yaml", .text = sv_of(text), .environment = no_env, .no_files = true, .memory_bytes = 1 << 30, .cores = 1 };
    struct config *c = config_load(&s, &report);
    if (!c)
        fail_msg("%s: %s", report.complaints[0].key, report.complaints[0].text);
    return c;
}

static struct trace a_trace(unsigned flags) {
    static const struct trace_attempt one = { .span = { 1 }, .endpoint = { "e", 1 }, .runtime = { "vllm", 4 }, .host = { "h:1", 3 }, .end_us = 5 };
    return (struct trace){ .own = { .trace = { 1 }, .span = { 2 }, .flags = (uint8_t)flags }, .method = SV("POST"), .operation = SV("chat"),
                           .r = { .slug = SV("m"), .api = SV("/v1/x"), .done_us = 9, .ended_ms = 5 }, .attempts = &one };
}

static uint64_t figure(const struct export *x, const char *name) {
    struct buf b = BUF_MAX(4096);
    assert_true(export_print(x, &b));
    ptrdiff_t at = sv_find(buf_sv(&b), sv_of(name));
    uint64_t v = UINT64_MAX;
    struct sv rest = at < 0 ? SV_NULL : sv_from(buf_sv(&b), (size_t)at + strlen(name)), line;
    if (at >= 0 && sv_cut(&rest, '\n', &line))
        assert_true(sv_to_u64(line, &v));
    buf_deinit(&b);
    return v;
}
#define WAITING(x) figure((x), "\ndrover_otlp_waiting ")
#define DROPPED(x) figure((x), "{outcome=\"dropped\"} ")

static bool set(struct export *x, const char *otlp, unsigned rows) {
    struct err e;
    struct config *c = settings(otlp, rows);
    bool ok = export_set(x, c, &e);
    config_unref(c);
    return ok;
}

static struct export *begin(struct loop *l) {
    struct err e;
    assert_true(loop_init(l, &e));
    struct export *x = export_new(l, SV("1.2.3"), SV("node"), &e);
    assert_non_null(x);
    return x;
}

#define NOBODY "{url: \"http://127.0.0.1:1\", key: \"secret\", headers: [\"X-A: b\"]}"

static void beyond_the_bound_traces_are_dropped_and_counted(void **state) {
    struct loop l;
    struct export *x = begin(&l);
    struct trace t = a_trace(TRACE_SAMPLED);
    struct export_shard *s = export_shard_new(x, &l);
    (void)state;
    export_add(s, &t); /* nobody wants it yet */
    assert_int_equal(WAITING(x), UINT64_MAX);
    assert_true(set(x, NOBODY, 100));
    for (int i = 0; i < 150; i++)
        export_add(s, &t);
    assert_int_equal(WAITING(x), 100);
    assert_int_equal(DROPPED(x), 2 * 50);
    assert_true(set(x, "null", 100)); /* switched off: all of it goes */
    assert_int_equal(WAITING(x), 36); /* but what the worker still holds */
    export_shard_free(s);
    export_free(x);
    loop_deinit(&l);
}

static void a_collector_that_is_down_costs_counted_drops_at_the_end(void **state) {
    struct loop l;
    struct export *x = begin(&l);
    struct trace t = a_trace(TRACE_SAMPLED), unsampled = a_trace(0);
    struct export_shard *s = export_shard_new(x, &l);
    (void)state;
    assert_true(set(x, NOBODY, 1000));
    for (int i = 0; i < 70; i++) {
        export_add(s, &t);
        export_add(s, &unsampled);
    }
    export_shard_free(s);
    export_finish(x, 5000);
    assert_true(figure(x, "drover_otlp_retries_total counter\ndrover_otlp_retries_total ") > 0);
    assert_int_equal(figure(x, "{outcome=\"sent\"} "), 0);
    export_free(x);
    loop_deinit(&l);
}

static void a_place_that_cannot_be_used_is_off(void **state) {
    struct loop l;
    struct export *x = begin(&l);
    (void)state;
    assert_false(set(x, "{url: \"https://127.0.0.1:1\", tls: {ca: /no/such/file}}", 100));
    assert_int_equal(WAITING(x), UINT64_MAX);
    assert_true(set(x, NOBODY, 100));
    assert_int_equal(WAITING(x), 0);
    export_free(x);
    loop_deinit(&l);
}

enum { THREADS = 4, ROWS = 5000 };

static void work(void *arg) {
    struct trace t = a_trace(TRACE_SAMPLED);
    for (int i = 0; i < ROWS; i++)
        export_add(arg, &t);
}

static void workers_hand_over_while_others_are_taken(void **state) {
    struct loop l;
    struct export *x = begin(&l);
    struct export_shard *shards[THREADS];
    uv_thread_t threads[THREADS];
    (void)state;
    assert_true(set(x, NOBODY, 1000000));
    for (int i = 0; i < THREADS; i++) {
        shards[i] = export_shard_new(x, NULL);
        assert_int_equal(uv_thread_create(&threads[i], work, shards[i]), 0);
    }
    for (int i = 0; i < 20; i++)
        uv_run(&l.uv, UV_RUN_NOWAIT);
    for (int i = 0; i < THREADS; i++) {
        uv_thread_join(&threads[i]);
        export_shard_free(shards[i]);
    }
    assert_true(WAITING(x) + DROPPED(x) / 2 <= THREADS * ROWS); /* printed ones wait in a body */
    assert_true(set(x, "null", 64));
    assert_int_equal(WAITING(x), 0);
    assert_int_equal(DROPPED(x), 2 * THREADS * ROWS);
    export_free(x);
    loop_deinit(&l);
}

static void every_refused_allocation_ends_cleanly(void **state) {
    struct loop l;
    struct err e;
    struct config *c = settings(NOBODY, 100);
    struct trace t = a_trace(TRACE_SAMPLED);
    (void)state;
    assert_true(loop_init(&l, &e));
    for (long n = 1, struck = 1; struck; n++) {
        mem_fail_at(n, 0);
        struct export *x = export_new(&l, SV("1"), SV("n"), &e);
        bool ok = x && export_set(x, c, &e);
        struct export_shard *s = ok ? export_shard_new(x, NULL) : NULL;
        if (s)
            export_add(s, &t);
        export_shard_free(s);
        struck = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(s || struck);
        export_free(x);
    }
    config_unref(c);
    loop_deinit(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beyond_the_bound_traces_are_dropped_and_counted),
        cmocka_unit_test(a_collector_that_is_down_costs_counted_drops_at_the_end),
        cmocka_unit_test(a_place_that_cannot_be_used_is_off),
        cmocka_unit_test(workers_hand_over_while_others_are_taken),
        cmocka_unit_test(every_refused_allocation_ends_cleanly),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("telemetry/export", tests, NULL, NULL);
}
