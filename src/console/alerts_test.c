/* The parts of the rules that need no house: thresholds, and the clock that somebody sets. */
#include "console/alerts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static enum sign sign(double value, double on, double off) {
    return alerts__read(value, on, off).sign;
}

static void between_its_thresholds_a_rule_says_neither(void **state) {
    (void)state;
    assert_int_equal(sign(0.8, 0.8, 0.75), ON);
    assert_int_equal(sign(0.79, 0.8, 0.75), BETWEEN);
    assert_int_equal(sign(0.75, 0.8, 0.75), BETWEEN);
    assert_int_equal(sign(0.7499, 0.8, 0.75), OFF);
    assert_int_equal(sign(5, 10, 20), ON); /* less is worse */
    assert_int_equal(sign(10, 10, 20), ON);
    assert_int_equal(sign(20, 10, 20), BETWEEN);
    assert_int_equal(sign(21, 10, 20), OFF);
    assert_true(alerts__read(5, 10, 20).value == 5 && alerts__read(5, 10, 20).threshold == 10);
}

#define WALL UINT64_C(1790000000000)
#define HOUR UINT64_C(3600000)

static void a_clock_that_is_set_is_told_for_an_hour(void **state) {
    (void)state;
    struct clock_watch w = { 0 };
    assert_int_equal(clock_watch_look(&w, WALL, 5000), 0); /* whatever it says at first */
    assert_int_equal(clock_watch_look(&w, WALL + 2000, 7000), 0);
    assert_int_equal(clock_watch_look(&w, WALL + 4000 + 90000, 9000), 90000);
    assert_int_equal(clock_watch_look(&w, WALL + 6000 + 90000, 11000), 90000);
    assert_int_equal(clock_watch_look(&w, WALL + 90000 + HOUR, 9000 + HOUR - 4000), 90000);
    assert_int_equal(clock_watch_look(&w, WALL + 90000 + HOUR + 5001, 9000 + HOUR + 1001), 0);
}

static void a_clock_that_is_set_back_again_is_well(void **state) {
    (void)state;
    struct clock_watch w = { 0 };
    (void)clock_watch_look(&w, WALL, 0);
    assert_int_equal(clock_watch_look(&w, WALL + 2000 - HOUR, 2000), -(int64_t)HOUR);
    assert_int_equal(clock_watch_look(&w, WALL + 4000, 4000), 0);
}

static void a_clock_that_is_led_is_no_alarm(void **state) {
    (void)state;
    struct clock_watch w = { 0 };
    for (uint64_t i = 0; i < 100000; i++) /* as fast as adjtime leads it, for two days */
        assert_int_equal(clock_watch_look(&w, WALL + i * 2001, i * 2000), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(between_its_thresholds_a_rule_says_neither),
        cmocka_unit_test(a_clock_that_is_set_is_told_for_an_hour),
        cmocka_unit_test(a_clock_that_is_set_back_again_is_well),
        cmocka_unit_test(a_clock_that_is_led_is_no_alarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
