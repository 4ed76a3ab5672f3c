#include "telemetry/cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SET(v) { (v), true }
#define MAX_PRICE 1000000000000 /* the dearest that the settings take */

static void a_price_is_for_a_million_tokens(void **state) {
    static const struct config_price usual = { SET(150000), SET(70000), SET(600000), SET(0) };
    static const struct config_price bare = { .input = SET(150000), .output = SET(600000) };
    static const struct config_price each = { .request = SET(2500) };
    static const struct config_price dear = { SET(MAX_PRICE), SET(MAX_PRICE), SET(MAX_PRICE), SET(MAX_PRICE) };
    static const struct {
        const struct config_price *p;
        int64_t input, cached, output, n, cost;
    } rows[] = {
        { &usual, 1000000, 0, 1000000, 1, 750000 },    { &usual, 1000, 0, 500, 1, 450 },  { &usual, 1000, 400, 500, 1, 90 + 28 + 300 },
        { &usual, 1000, 1000, 0, 1, 70 },              { &usual, 1000, 5000, 0, 1, 70 }, /* no more cached than there is */
        { &usual, 1, 0, 0, 1, 1 },                     { &usual, 7, 0, 0, 1, 2 },         /* 1.05 */
        { &usual, -1, -1, -1, 0, 0 },                  { &usual, 0, 0, 0, 1, 0 },         { &bare, 1000, 400, 0, 1, 150 },
        { &each, 1000, 0, 1000, 1, 2500 },             { &each, 1000, 0, 1000, 0, 0 },
        { &dear, INT64_MAX, 0, INT64_MAX, 1, INT64_MAX / 4 }, { &dear, 1 << 20, 0, 0, 1, 1048576000000 + MAX_PRICE },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (cost_by_price(rows[i].p, rows[i].input, rows[i].cached, rows[i].output, rows[i].n) != rows[i].cost)
            fail_msg("row %zu: %lld", i, (long long)cost_by_price(rows[i].p, rows[i].input, rows[i].cached, rows[i].output, rows[i].n));
}

static void no_request_costs_more_than_the_most(void **state) {
    static const struct config_price prices[] = { { SET(150000), SET(70000), SET(600000), SET(3) }, { .input = SET(1), .cached = SET(900000) },
                                                  { .output = SET(7) } };
    (void)state;
    for (size_t p = 0; p < 3; p++)
        for (int64_t input = 0; input < 40; input++)
            for (int64_t cached = -1; cached <= input; cached++)
                for (int64_t output = -1; output < 20; output++)
                    assert_true(cost_by_price(&prices[p], input, cached, output, 1) <= cost_most(&prices[p], input, output > 0 ? output : 0));
}

static void what_nobody_priced_or_counted_is_unknown(void **state) {
    static const struct config_price none, free_of_charge = { SET(0), SET(0), SET(0), SET(0) }, input = { .input = SET(5), .output = SET(0) };
    (void)state;
    assert_false(cost_has_price(&none));
    assert_true(cost_has_price(&free_of_charge));
    assert_true(cost_has_price(&(struct config_price){ .request = SET(0) }));
    assert_false(cost_lacks_count(&free_of_charge, -1, -1));
    assert_true(cost_lacks_count(&input, -1, 3));
    assert_false(cost_lacks_count(&input, 3, -1));
}

static void energy_is_shared_by_those_who_are_there(void **state) {
    static const uint64_t hour_us = UINT64_C(3600000000);
    (void)state;
    assert_int_equal(cost_by_energy(cost_share_uj(1000, hour_us, 1, 1), 300000), 300000); /* a kWh */
    assert_int_equal(cost_by_energy(cost_share_uj(1000, hour_us, 4, 4), 300000), 75000);
    assert_int_equal(cost_by_energy(cost_share_uj(1000, hour_us, 1, 3), 300000), 150000); /* two on average */
    assert_int_equal(cost_by_energy(cost_share_uj(1000, hour_us, 0, 0), 300000), 300000); /* it was there itself */
    assert_int_equal(cost_by_energy(cost_share_uj(350, 2000000, 1, 1), 300000), 59);      /* 58.33 */
    assert_int_equal(cost_by_energy(0, 300000), 0);
    assert_int_equal(cost_by_energy(cost_share_uj(1000000, UINT64_MAX, 1, 1), MAX_PRICE), INT64_MAX / 4);
    for (uint32_t n = 1; n < 20; n++) /* n that begin and end together pay for the machine once, give or take the rounding */
        assert_in_range(n * cost_by_energy(cost_share_uj(500, 10 * hour_us, n, n), 250000), 1250000, 1250000 + 2 * n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_price_is_for_a_million_tokens),
        cmocka_unit_test(no_request_costs_more_than_the_most),
        cmocka_unit_test(what_nobody_priced_or_counted_is_unknown),
        cmocka_unit_test(energy_is_shared_by_those_who_are_there),
    };
    return cmocka_run_group_tests_name("telemetry/cost", tests, NULL, NULL);
}
