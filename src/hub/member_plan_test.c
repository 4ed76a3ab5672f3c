/* When a node dials again, row by row of the link protocol's sections 15 and 17. */
#include "hub/member_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static uint32_t lowest(void *arg, uint32_t below) {
    (void)arg;
    (void)below;
    return 0;
}
static uint32_t highest(void *arg, uint32_t below) {
    (void)arg;
    return below - 1;
}
static const struct plan_chance low = { lowest, NULL }, high = { highest, NULL };

static const struct row {
    struct plan_end end;
    unsigned n;
    uint32_t least_ms, most_ms;
} rows[] = {
    { { 0 }, 0, 250, 1000 }, /* refused connections */
    { { 0 }, 1, 250, 2000 },
    { { 0 }, 5, 250, 32000 },
    { { 0 }, 6, 250, 60000 },
    { { 0 }, 1000, 250, 60000 },
    { { .code = 1000 }, 0, 250, 1000 },
    { { .code = 1001 }, 3, 250, 8000 },
    { { .code = 1003 }, 0, 250, 1000 },
    { { .code = 1008 }, 0, 60000, 75000 },
    { { .code = 1011 }, 2, 250, 4000 },
    { { .code = 1013 }, 2, 250, 4000 },
    { { .code = 4001 }, 0, 300000, 375000 },
    { { .status = 426 }, 9, 300000, 375000 },
    { { .code = 4002 }, 0, 250, 1000 },
    { { .code = 4003 }, 0, 60000, 75000 },
    { { .code = 4003 }, 2, 60000, 240000 },
    { { .code = 4003 }, 9, 60000, 900000 },
    { { .status = 401 }, 0, 60000, 75000 },
    { { .status = 401 }, 50, 60000, 900000 },
    { { .status = 403 }, 1, 60000, 120000 },
    { { .code = 4004 }, 0, 250, 1000 },
    { { .code = 4005 }, 4, 60000, 75000 },
    { { .code = 4008 }, 0, 0, 0 },      /* now, */
    { { .code = 4008 }, 1, 250, 2000 }, /* but not for ever */
    { { .code = 4009 }, 0, 250, 1000 },
    { { .code = 4010 }, 0, 60000, 75000 },
    { { .code = 4011 }, 0, 60000, 75000 },
    { { .status = 503, .told_ms = 20000 }, 0, 20000, 25000 },
    { { .status = 503, .told_ms = 20000 }, 9, 20000, 25000 },
    { { .status = 503 }, 1, 250, 2000 },
    { { .status = 429, .told_ms = 4000 }, 3, 4000, 5000 },
    { { .code = 4029, .told_ms = 1000 }, 0, 1000, 1250 },
    { { .code = 1001, .told_ms = 5000 }, 0, 5000, 6250 },
    { { .code = 1001, .told_ms = 4000000000u }, 0, 3600000, 4500000 },
    { { .code = 1001, .up_ms = 60000 }, 30, 250, 1000 }, /* it was up for a minute: from the beginning */
    { { .code = 1001, .up_ms = 59999 }, 30, 250, 60000 },
};

static void each_cause_has_its_floor_and_its_ceiling(void **state) {
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct plan a = { rows[i].n }, b = { rows[i].n };
        uint32_t least = plan_wait_ms(&a, &rows[i].end, &low), most = plan_wait_ms(&b, &rows[i].end, &high);
        if (least != rows[i].least_ms || most != rows[i].most_ms)
            fail_msg("row %u: %u..%u, expected %u..%u", i, least, most, rows[i].least_ms, rows[i].most_ms);
    }
}

static void failures_in_a_row_are_counted_until_a_link_held(void **state) {
    struct plan p = { 0 };
    (void)state;
    for (unsigned n = 0; n < 5; n++)
        assert_int_equal(plan_wait_ms(&p, &(struct plan_end){ 0 }, &high), 1000u << n);
    assert_int_equal(plan_wait_ms(&p, &(struct plan_end){ .code = 1001, .up_ms = PLAN_STEADY_MS }, &high), 1000);
    assert_int_equal(plan_wait_ms(&p, &(struct plan_end){ 0 }, &high), 2000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_cause_has_its_floor_and_its_ceiling),
        cmocka_unit_test(failures_in_a_row_are_counted_until_a_link_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
