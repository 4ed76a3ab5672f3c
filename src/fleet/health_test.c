#include "fleet/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* One look a line: what it ended with, whether traffic succeeded meanwhile, when, and the state after it. */
struct line {
    enum look_end end;
    bool serving;
    uint64_t s;
    enum fleet_state after;
};

static void play(const struct line *lines, size_t n) {
    struct health h = { 0 };
    for (size_t i = 0; i < n; i++) {
        enum fleet_state was = h.state;
        bool changed = health_take(&h, lines[i].end, lines[i].serving, lines[i].s * 1000);
        if (h.state != lines[i].after)
            fail_msg("line %zu: %s, expected %s", i, fleet_state_name(h.state), fleet_state_name(lines[i].after));
        assert_int_equal(changed, was != h.state);
    }
}
#define PLAY(...) play((const struct line[]){ __VA_ARGS__ }, sizeof((const struct line[]){ __VA_ARGS__ }) / sizeof(struct line))

static void one_good_look_brings_it_up(void **state) {
    PLAY({ LOOK_GOOD, false, 0, FLEET_UP });
    PLAY({ LOOK_REFUSED, false, 0, FLEET_DOWN }, { LOOK_GOOD, false, 10, FLEET_UP });
    PLAY({ LOOK_LOADING, false, 0, FLEET_LOADING }, { LOOK_GOOD, false, 1, FLEET_UP });
}

static void one_failed_look_changes_nothing_and_the_second_one_does(void **state) {
    PLAY({ LOOK_GOOD, false, 0, FLEET_UP }, { LOOK_FAILED, false, 10, FLEET_UP }, { LOOK_FAILED, false, 11, FLEET_DOWN });
    PLAY({ LOOK_GOOD, false, 0, FLEET_UP }, { LOOK_FAILED, false, 10, FLEET_UP }, { LOOK_GOOD, false, 11, FLEET_UP },
         { LOOK_FAILED, false, 20, FLEET_UP }, { LOOK_FAILED, false, 21, FLEET_DOWN });
}

static void a_refused_connection_counts_at_once_unless_requests_succeed(void **state) {
    PLAY({ LOOK_GOOD, false, 0, FLEET_UP }, { LOOK_REFUSED, false, 10, FLEET_DOWN });
    PLAY({ LOOK_GOOD, false, 0, FLEET_UP }, { LOOK_REFUSED, true, 10, FLEET_UP }, { LOOK_REFUSED, false, 11, FLEET_DOWN });
}

static void a_place_never_seen_alive_is_down_after_one_failure(void **state) {
    PLAY({ LOOK_FAILED, false, 0, FLEET_DOWN });
}

static void a_poor_look_degrades_and_a_good_one_heals(void **state) {
    PLAY({ LOOK_GOOD, false, 0, FLEET_UP }, { LOOK_POOR, false, 10, FLEET_DEGRADED }, { LOOK_GOOD, false, 20, FLEET_UP });
}

static void a_flapping_place_must_be_good_for_longer(void **state) {
    PLAY({ LOOK_GOOD, false, 0, FLEET_UP }, { LOOK_REFUSED, false, 10, FLEET_DOWN }, { LOOK_GOOD, false, 20, FLEET_UP },
         { LOOK_REFUSED, false, 30, FLEET_DOWN }, { LOOK_GOOD, false, 40, FLEET_UP },
         { LOOK_REFUSED, false, 50, FLEET_DOWN }, /* the fifth change within five minutes */
         { LOOK_GOOD, false, 60, FLEET_DEGRADED }, { LOOK_GOOD, false, 70, FLEET_DEGRADED }, { LOOK_GOOD, false, 80, FLEET_UP });
}

static void slow_changes_are_no_flaps(void **state) {
    PLAY({ LOOK_GOOD, false, 0, FLEET_UP }, { LOOK_REFUSED, false, 100, FLEET_DOWN }, { LOOK_GOOD, false, 200, FLEET_UP },
         { LOOK_REFUSED, false, 300, FLEET_DOWN }, { LOOK_GOOD, false, 401, FLEET_UP }, { LOOK_REFUSED, false, 501, FLEET_DOWN },
         { LOOK_GOOD, false, 601, FLEET_UP });
}

static void the_first_state_and_the_end_of_loading_are_no_flaps(void **state) {
    PLAY({ LOOK_LOADING, false, 0, FLEET_LOADING }, { LOOK_GOOD, false, 1, FLEET_UP }, { LOOK_LOADING, false, 2, FLEET_LOADING },
         { LOOK_GOOD, false, 3, FLEET_UP }, { LOOK_LOADING, false, 4, FLEET_LOADING }, { LOOK_GOOD, false, 5, FLEET_UP });
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_good_look_brings_it_up),
        cmocka_unit_test(one_failed_look_changes_nothing_and_the_second_one_does),
        cmocka_unit_test(a_refused_connection_counts_at_once_unless_requests_succeed),
        cmocka_unit_test(a_place_never_seen_alive_is_down_after_one_failure),
        cmocka_unit_test(a_poor_look_degrades_and_a_good_one_heals),
        cmocka_unit_test(a_flapping_place_must_be_good_for_longer),
        cmocka_unit_test(slow_changes_are_no_flaps),
        cmocka_unit_test(the_first_state_and_the_end_of_loading_are_no_flaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
