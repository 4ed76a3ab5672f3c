#include "telemetry/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void request(struct metrics_shard *s, enum request_result result, uint64_t first_us) {
    struct request_record r = { .slug = SV("m"), .model = SV("m"), .endpoint = SV("e"), .runtime = SV("k"), .dialect = SV("openai"), .result = result,
                                .status = 200, .received_us = 1000, .body_us = 1000, .first_us = 1000 + first_us, .done_us = 1000 + 2 * first_us,
                                .input = 7, .output = 11, .cached = -1, .reasoning = -1, .input_source = TOKENS_REPORTED,
                                .output_source = TOKENS_REPORTED, .burst = true };
    metrics_request(s, &r);
}

static void each_second_has_what_happened_in_it(void **state) {
    struct metrics *m = metrics_new(1, 100);
    struct history *h = history_new(m);
    struct metrics_shard *s = metrics_shard(m, 0);
    (void)state;
    request(s, RESULT_OK, 5000); /* before anybody looked */
    assert_int_equal(history_step(h, 1)->requests, 0);
    request(s, RESULT_OK, 30000);
    request(s, RESULT_UPSTREAM_ERROR, 30000);
    metrics_in_flight(s, 3);
    const struct history_point *p = history_step(h, 2);
    assert_int_equal(p->requests, 2);
    assert_int_equal(p->failed, 1);
    assert_int_equal(p->in_flight, 3);
    assert_int_equal(p->input_tokens, 14);
    assert_int_equal(p->output_tokens, 22);
    assert_in_range(p->first_p50_ms, 20, 40); /* the class from 20 to 40 ms */
    assert_in_range(p->first_p95_ms, 30, 40);
    assert_int_equal(history_step(h, 3)->requests, 0);
    assert_int_equal(history_at(h, 0)->at_ms, 1);
    assert_int_equal(history_at(h, 2)->at_ms, 3);
    assert_null(history_at(h, 3));
    history_free(h);
    metrics_free(m);
}

static void the_oldest_give_way(void **state) {
    struct metrics *m = metrics_new(1, 100);
    struct history *h = history_new(m);
    (void)state;
    for (unsigned i = 1; i <= HISTORY_POINTS + 5; i++)
        history_step(h, i);
    assert_int_equal(history_at(h, 0)->at_ms, 6);
    assert_int_equal(history_at(h, HISTORY_POINTS - 1)->at_ms, HISTORY_POINTS + 5);
    assert_null(history_at(h, HISTORY_POINTS));
    history_free(h);
    metrics_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_second_has_what_happened_in_it), cmocka_unit_test(the_oldest_give_way) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
