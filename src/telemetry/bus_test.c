#include "telemetry/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void publish(struct bus *b, unsigned i) {
    char text[32];
    int n = snprintf(text, sizeof text, "{\"n\":%u}", i);
    bus_publish(b, BUS_FLEET, 1000 + i, (struct sv){ text, (size_t)n });
}

static void a_reader_gets_each_event_once_and_in_order(void **state) {
    struct bus *b = bus_new(8, 1000);
    struct bus_event e;
    uint64_t missed, at = 0;
    (void)state;
    assert_false(bus_next(b, 0, &e, &missed));
    for (unsigned i = 1; i <= 5; i++)
        publish(b, i);
    for (unsigned i = 1; i <= 5; i++) {
        char want[32];
        snprintf(want, sizeof want, "{\"n\":%u}", i);
        assert_true(bus_next(b, at, &e, &missed));
        assert_int_equal(e.id, i);
        assert_int_equal(missed, 0);
        assert_int_equal(e.at_ms, 1000 + i);
        assert_true(sv_eq(e.data, sv_of(want)));
        at = e.id;
    }
    assert_false(bus_next(b, at, &e, &missed));
    assert_int_equal(bus_last(b), 5);
    bus_free(b);
}

static void who_comes_too_late_is_told_what_is_gone(void **state) {
    struct bus *b = bus_new(4, 1000);
    struct bus_event e;
    uint64_t missed;
    (void)state;
    for (unsigned i = 1; i <= 10; i++)
        publish(b, i);
    assert_true(bus_next(b, 2, &e, &missed));
    assert_int_equal(e.id, 7);
    assert_int_equal(missed, 4); /* 3, 4, 5, 6 */
    assert_true(bus_next(b, 9, &e, &missed));
    assert_int_equal(e.id, 10);
    assert_int_equal(missed, 0);
    assert_false(bus_next(b, 99, &e, &missed)); /* of another process: nothing, rather than something wrong */
    bus_free(b);
}

static void bytes_are_bounded_too(void **state) {
    struct bus *b = bus_new(100, 20);
    struct bus_event e;
    uint64_t missed;
    char big[64] = { 0 };
    (void)state;
    for (unsigned i = 1; i <= 9; i++)
        publish(b, i); /* 7 bytes each: two fit */
    assert_true(bus_next(b, 0, &e, &missed));
    assert_int_equal(e.id, 8);
    bus_publish(b, BUS_HUB, 1, (struct sv){ big, sizeof big });
    publish(b, 11);
    assert_true(bus_next(b, 9, &e, &missed));
    assert_int_equal(e.id, 11);
    assert_int_equal(missed, 1); /* the one that was too large */
    bus_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_gets_each_event_once_and_in_order),
        cmocka_unit_test(who_comes_too_late_is_told_what_is_gone),
        cmocka_unit_test(bytes_are_bounded_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
