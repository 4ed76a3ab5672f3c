/* Counts over all workers: totals, per address, per /64, and the allowance of new connections. */
#include "http/census.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static const struct census_limits limits = { .connections = 6, .per_address = 3, .per_loopback = 5, .new_per_s = 10, .new_burst = 4,
                                             .new_loopback_per_s = 1000, .new_loopback_burst = 1000 };

static struct census *open_census(void) {
    struct census *c = census_new(NULL);
    census_set(c, &limits);
    return c;
}

static void each_limit_is_named_when_it_bites(void **state) {
    (void)state;
    struct census *c = open_census();
    struct census_entry *a[8] = { 0 };
    enum err_limit limit;
    for (int i = 0; i < 3; i++)
        assert_non_null(a[i] = census_enter(c, SV("192.0.2.1"), 1000, &limit));
    assert_null(census_enter(c, SV("192.0.2.1"), 1000, &limit));
    assert_int_equal(limit, LIMIT_CONN_ADDRESS);
    for (int i = 3; i < 6; i++)
        assert_non_null(a[i] = census_enter(c, SV("127.0.0.1"), 1000, &limit));
    assert_false(census_has_room(c));
    assert_null(census_enter(c, SV("192.0.2.9"), 1000, &limit));
    assert_int_equal(limit, LIMIT_CONN_MAX);
    for (int i = 0; i < 6; i++)
        census_leave(c, a[i], 1000);
    assert_int_equal(census_count(c), 0);
    census_free(c);
}

static void new_connections_have_an_allowance_that_fills_up_again(void **state) {
    (void)state;
    struct census *c = open_census();
    enum err_limit limit;
    uint64_t now = 5000000;
    for (int i = 0; i < 4; i++) /* the burst */
        census_leave(c, census_enter(c, SV("192.0.2.1"), now, &limit), now);
    assert_null(census_enter(c, SV("192.0.2.1"), now, &limit));
    assert_int_equal(limit, LIMIT_CONN_NEW_ADDRESS);
    assert_non_null(census_enter(c, SV("192.0.2.2"), now, &limit)); /* another address is another matter */
    now += 100001;
    struct census_entry *a = census_enter(c, SV("192.0.2.1"), now, &limit); /* 10 a second: one more by now */
    assert_non_null(a);
    census_leave(c, a, now);
    assert_null(census_enter(c, SV("192.0.2.1"), now, &limit));
    census_free(c);
}

static void ipv6_addresses_count_by_their_network(void **state) {
    (void)state;
    struct census *c = open_census();
    enum err_limit limit;
    assert_non_null(census_enter(c, SV("2001:db8::1"), 0, &limit));
    assert_non_null(census_enter(c, SV("2001:db8::2"), 0, &limit));
    assert_non_null(census_enter(c, SV("2001:db8::ffff:0:3"), 0, &limit));
    assert_null(census_enter(c, SV("2001:db8::4"), 0, &limit));
    assert_non_null(census_enter(c, SV("2001:db8:0:1::1"), 0, &limit));
    census_free(c);
}

static void addresses_that_went_are_forgotten(void **state) {
    (void)state;
    struct census *c = open_census();
    enum err_limit limit;
    uint64_t now = 20000000;
    for (int i = 0; i < 2000; i++) { /* under the leak checker: everything goes in the end */
        char text[32];
        snprintf(text, sizeof text, "198.51.%d.%d", i / 250, i % 250);
        census_leave(c, census_enter(c, sv_of(text), now, &limit), now);
        now += 20000;
    }
    assert_int_equal(census_count(c), 0);
    census_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_limit_is_named_when_it_bites),
        cmocka_unit_test(new_connections_have_an_allowance_that_fills_up_again),
        cmocka_unit_test(ipv6_addresses_count_by_their_network),
        cmocka_unit_test(addresses_that_went_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
