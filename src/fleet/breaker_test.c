#include "fleet/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* A place on a simulated clock. */
struct sim {
    struct breaker b;
    struct breaker_counts c;
    uint64_t ms;
};

static void outcome(struct sim *s, bool ok) {
    if (ok) {
        s->c.n_ok++;
        s->c.failed_in_row = 0;
    } else {
        s->c.n_failed++;
        s->c.failed_in_row++;
    }
}

/* Outcomes as text, o or x, one a step; '.' only lets time pass. The word must be `after` at the end. */
static void run(struct sim *s, const char *text, uint64_t step_ms, enum breaker_word after) {
    for (const char *c = text; *c; c++) {
        if (*c != '.')
            outcome(s, *c == 'o');
        s->ms += step_ms;
        breaker_tick(&s->b, s->c, s->ms, 0);
    }
    assert_int_equal(s->b.word, after);
}

static void wait_until_tried(struct sim *s, uint64_t expected_ms) {
    assert_int_equal(s->b.word, BREAKER_OPEN);
    uint64_t since = s->ms;
    while (s->b.word == BREAKER_OPEN)
        breaker_tick(&s->b, s->c, s->ms += 100, 0);
    assert_int_equal(s->b.word, BREAKER_TRIAL);
    assert_in_range(s->ms - since, expected_ms > 100 ? expected_ms - 100 : 0, expected_ms + 100);
}

static void five_failures_in_a_row_open_it(void **state) {
    struct sim s = { .ms = 5000 };
    run(&s, "ooxxxxoxxxx", 100, BREAKER_CLOSED);
    run(&s, "x", 100, BREAKER_OPEN);
}

static void half_of_twenty_open_it(void **state) {
    struct sim s = { .ms = 5000 };
    run(&s, "oxoxoxoxoxoxoxoxoxo", 100, BREAKER_CLOSED);
    run(&s, "x", 100, BREAKER_OPEN);
}

static void the_same_failures_spread_over_time_do_not(void **state) {
    struct sim s = { .ms = 5000 };
    run(&s, "oxoxoxoxoxoxoxoxoxoxoxoxoxoxoxoxoxox", 1000, BREAKER_CLOSED); /* ten within the window */
}

static void a_good_place_with_some_failures_stays_closed(void **state) {
    struct sim s = { .ms = 5000 };
    for (int i = 0; i < 50; i++)
        run(&s, "ooxoooxoo", 20, BREAKER_CLOSED);
}

static void failures_between_two_ticks_count_all(void **state) {
    struct sim s = { .ms = 5000 };
    for (int i = 0; i < 500; i++) /* a black hole that fails at once */
        outcome(&s, false);
    run(&s, ".", 1, BREAKER_OPEN);
}

static void old_failures_do_not_open_it_later(void **state) {
    struct sim s = { .ms = 5000 };
    run(&s, "xxxx", 100, BREAKER_CLOSED);
    run(&s, "..........", 1000, BREAKER_CLOSED);
}

static void two_good_trials_close_it(void **state) {
    struct sim s = { .ms = 5000 };
    run(&s, "xxxxx", 100, BREAKER_OPEN);
    wait_until_tried(&s, 1000);
    run(&s, "..", 5000, BREAKER_TRIAL); /* nobody came */
    run(&s, "o", 100, BREAKER_TRIAL);
    run(&s, "o", 100, BREAKER_CLOSED);
    run(&s, "xxxx", 100, BREAKER_CLOSED); /* starts counting afresh */
}

static void a_failed_trial_doubles_the_wait_up_to_a_minute(void **state) {
    struct sim s = { .ms = 5000 };
    run(&s, "xxxxx", 100, BREAKER_OPEN);
    for (uint64_t wait = 1000; wait < 200000; wait *= 2) {
        wait_until_tried(&s, wait < 60000 ? wait : 60000);
        run(&s, "x", 100, BREAKER_OPEN);
    }
    wait_until_tried(&s, 60000);
    run(&s, "ox", 100, BREAKER_OPEN); /* one good trial is not enough */
}

static void long_health_shortens_the_next_opening(void **state) {
    struct sim s = { .ms = 5000 };
    run(&s, "xxxxx", 100, BREAKER_OPEN);
    wait_until_tried(&s, 1000);
    run(&s, "x", 100, BREAKER_OPEN);
    wait_until_tried(&s, 2000);
    run(&s, "oo", 100, BREAKER_CLOSED);
    run(&s, "xxxxx", 100, BREAKER_OPEN); /* at once again: twice as long */
    wait_until_tried(&s, 4000);
    run(&s, "oo", 100, BREAKER_CLOSED);
    run(&s, "ooooooo", 10000, BREAKER_CLOSED);
    run(&s, "xxxxx", 100, BREAKER_OPEN);
    wait_until_tried(&s, 1000);
}

static void jitter_makes_it_a_fifth_longer_at_most(void **state) {
    for (uint32_t jitter = 0; jitter < 1000; jitter += 7) {
        struct sim s = { .c = { 0, 5, 5 } };
        assert_true(breaker_tick(&s.b, s.c, 10000, jitter * 4000037u));
        assert_in_range(s.b.until_ms, 11000, 11200);
    }
}

static void a_restart_forgets(void **state) {
    struct sim s = { .ms = 5000 };
    run(&s, "xxxxx", 100, BREAKER_OPEN);
    s.c.failed_in_row = 0; /* as the endpoint does */
    breaker_reset(&s.b, s.c);
    run(&s, "xxxx", 100, BREAKER_CLOSED);
    run(&s, "x", 100, BREAKER_OPEN);
    wait_until_tried(&s, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_failures_in_a_row_open_it),
        cmocka_unit_test(half_of_twenty_open_it),
        cmocka_unit_test(the_same_failures_spread_over_time_do_not),
        cmocka_unit_test(a_good_place_with_some_failures_stays_closed),
        cmocka_unit_test(failures_between_two_ticks_count_all),
        cmocka_unit_test(old_failures_do_not_open_it_later),
        cmocka_unit_test(two_good_trials_close_it),
        cmocka_unit_test(a_failed_trial_doubles_the_wait_up_to_a_minute),
        cmocka_unit_test(long_health_shortens_the_next_opening),
        cmocka_unit_test(jitter_makes_it_a_fifth_longer_at_most),
        cmocka_unit_test(a_restart_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
