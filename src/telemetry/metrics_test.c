/* Shards, merging, the text form, and what happens past the ceiling. */
#include "telemetry/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static struct request_record record(struct sv slug) {
    return (struct request_record){ .slug = slug, .endpoint = SV("e"), .runtime = SV("vllm"), .dialect = SV("openai"),
                                    .result = RESULT_OK, .status = 200, .received_us = 1000, .body_us = 2000, .sent_us = 3000,
                                    .first_us = 52000, .last_us = 1052000, .done_us = 1060000, .input = 21, .cached = 16,
                                    .output = 11, .reasoning = 4, .cost = 1500001, .cost_source = COST_PRICE, .input_source = TOKENS_REPORTED,
                                    .output_source = TOKENS_ESTIMATED };
}

static void expect(struct metrics *m, const char *const *lines, size_t n) {
    struct buf out = BUF_MAX(8 << 20);
    assert_true(metrics_print(m, NULL, 0, &out));
    for (size_t i = 0; i < n; i++)
        if (sv_find(buf_sv(&out), sv_of(lines[i])) < 0)
            fail_msg("missing: %s\nin:\n%.*s", lines[i], SV_FMT(buf_sv(&out)));
    buf_deinit(&out);
}

static void a_scrape_adds_up_the_shards(void **state) {
    (void)state;
    struct metrics *m = metrics_new(2, 100);
    struct request_record r = record(SV("qwen"));
    metrics_request(metrics_shard(m, 0), &r);
    metrics_request(metrics_shard(m, 1), &r);
    struct request_record unpriced = { .slug = r.slug, .runtime = r.runtime, .result = RESULT_CANCELLED, .status = 499, .input = -1,
                                       .cached = -1, .output = -1, .reasoning = -1, .cost = -1 };
    metrics_request(metrics_shard(m, 1), &unpriced);
    metrics_attempt(metrics_shard(m, 1), SV("e"), "ok");
    metrics_limit(metrics_shard(m, 0), LIMIT_STREAMS);
    metrics_limit(metrics_shard(m, 0), LIMIT_NONE);
    metrics_in_flight(metrics_shard(m, 0), 3);
    metrics_in_flight(metrics_shard(m, 1), -1);
    static const char *const lines[] = {
        "drover_requests_total{model=\"qwen\",dialect=\"openai\",node=\"e\",runtime=\"vllm\",outcome=\"ok\",code=\"200\"} 2\n",
        "drover_input_tokens_total{model=\"qwen\",runtime=\"vllm\",source=\"reported\"} 42\n",
        "drover_output_tokens_total{model=\"qwen\",runtime=\"vllm\",source=\"estimated\"} 22\n",
        "drover_cached_input_tokens_total{model=\"qwen\",runtime=\"vllm\",source=\"reported\"} 32\n",
        "drover_time_to_first_token_seconds_bucket{model=\"qwen\",runtime=\"vllm\",le=\"0.04\"} 0\n",
        "drover_time_to_first_token_seconds_bucket{model=\"qwen\",runtime=\"vllm\",le=\"0.06\"} 2\n",
        "drover_time_to_first_token_seconds_count{model=\"qwen\",runtime=\"vllm\"} 2\n",
        "drover_time_to_first_token_seconds_sum{model=\"qwen\",runtime=\"vllm\"} 0.1\n",
        "drover_time_per_output_token_seconds_bucket{model=\"qwen\",runtime=\"vllm\",le=\"0.1\"} 2\n",
        "drover_usage_estimated_total{model=\"qwen\",side=\"output\"} 2\n",
        "drover_upstream_attempts_total{node=\"e\",reason=\"ok\"} 1\n",
        "drover_limit_hits_total{limit=\"limits.stream.max\"} 1\n",
        "drover_requests_in_flight 2\n",
        "drover_cost_total{model=\"qwen\",runtime=\"vllm\",source=\"price\"} 3.000002\n",
        "drover_requests_unpriced_total{model=\"qwen\",runtime=\"vllm\"} 1\n",
    };
    expect(m, lines, sizeof lines / sizeof lines[0]);
    struct metrics_totals t;
    metrics_totals(m, &t);
    assert_int_equal(t.requests, 3);
    assert_int_equal(t.output_tokens, 22);
    metrics_free(m);
}

static void label_values_are_escaped(void **state) {
    (void)state;
    struct metrics *m = metrics_new(1, 100);
    struct request_record r = record(SV("a\"b\\c\nd"));
    metrics_request(metrics_shard(m, 0), &r);
    static const char *const lines[] = { "model=\"a\\\"b\\\\c\\nd\"," };
    expect(m, lines, 1);
    metrics_free(m);
}

static void invented_names_do_not_grow_the_table_past_its_ceiling(void **state) {
    (void)state;
    struct metrics *m = metrics_new(1, 50);
    for (int i = 0; i < 5000; i++) {
        char name[20];
        snprintf(name, sizeof name, "m%d", i);
        struct request_record r = record(sv_of(name));
        metrics_request(metrics_shard(m, 0), &r);
    }
    struct buf out = BUF_MAX(8 << 20);
    assert_true(metrics_print(m, NULL, 0, &out));
    assert_true(out.n < 1 << 20);
    assert_true(sv_find(buf_sv(&out), SV("drover_requests_total{model=\"other\",dialect=\"other\",node=\"other\",runtime=\"other\","
                                         "outcome=\"other\",code=\"other\"} 4950\n")) >= 0);
    assert_true(sv_find(buf_sv(&out), SV("drover_input_tokens_total{model=\"other\",runtime=\"other\",source=\"reported\"} ")) >= 0);
    buf_deinit(&out);
    metrics_free(m);
}

enum { WRITES = 20000 };

static void *writer(void *arg) {
    struct metrics_shard *s = arg;
    struct request_record r = record(SV("qwen"));
    for (int i = 0; i < WRITES; i++)
        metrics_request(s, &r);
    return NULL;
}

static void reading_while_others_write_is_fine(void **state) {
    (void)state;
    struct metrics *m = metrics_new(2, 100);
    pthread_t t[2];
    struct metrics_totals totals;
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, writer, metrics_shard(m, i));
    for (int i = 0; i < 20; i++) {
        struct buf out = BUF_MAX(8 << 20);
        assert_true(metrics_print(m, NULL, 0, &out));
        buf_deinit(&out);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    metrics_totals(m, &totals);
    assert_int_equal(totals.requests, 2 * WRITES);
    metrics_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scrape_adds_up_the_shards),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(invented_names_do_not_grow_the_table_past_its_ceiling),
        cmocka_unit_test(reading_while_others_write_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
