#include "fleet/foreign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void a_place_is_left_alone_for_ten_minutes(void **state) {
    struct foreign f;
    foreign_init(&f);
    assert_false(foreign_has(&f, SV("a:1"), 5));
    foreign_add(&f, SV("a:1"), 5);
    foreign_add(&f, SV("a:1"), 1000); /* does not begin anew */
    assert_true(foreign_has(&f, SV("a:1"), 5 + FOREIGN_MS - 1));
    assert_false(foreign_has(&f, SV("a:2"), 5));
    assert_false(foreign_has(&f, SV("a:1"), 5 + FOREIGN_MS));
    assert_false(foreign_has(&f, SV("a:1"), 5));
    foreign_add(&f, SV("a:1"), 5);
    foreign_forget(&f);
    assert_false(foreign_has(&f, SV("a:1"), 5));
    foreign_deinit(&f);
}

static void only_so_many_are_remembered(void **state) {
    struct foreign f;
    char key[FOREIGN_KEY_MAX + 1];
    foreign_init(&f);
    for (int i = 0; i < 2 * FOREIGN_MAX; i++) {
        int n = snprintf(key, sizeof key, "10.0.%d.%d:80", i / 256, i % 256);
        foreign_add(&f, (struct sv){ key, (size_t)n }, 0);
        assert_int_equal(foreign_has(&f, (struct sv){ key, (size_t)n }, 1), i < FOREIGN_MAX);
    }
    foreign_forget(&f);
    memset(key, 'x', sizeof key);
    foreign_add(&f, (struct sv){ key, FOREIGN_KEY_MAX }, 0);
    assert_true(foreign_has(&f, (struct sv){ key, FOREIGN_KEY_MAX }, 1));
    foreign_add(&f, (struct sv){ key, FOREIGN_KEY_MAX + 1 }, 0);
    assert_false(foreign_has(&f, (struct sv){ key, FOREIGN_KEY_MAX + 1 }, 1));
    foreign_deinit(&f);
}

static void without_memory_a_place_is_looked_at_again(void **state) {
    struct foreign f;
    for (long n = 1; n <= 2; n++) {
        foreign_init(&f);
        mem_fail_at(n, 0);
        foreign_add(&f, SV("a:1"), 0);
        assert_true(mem_fail_hit());
        mem_fail_at(0, 0);
        assert_false(foreign_has(&f, SV("a:1"), 1));
        foreign_deinit(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_left_alone_for_ten_minutes),
        cmocka_unit_test(only_so_many_are_remembered),
        cmocka_unit_test(without_memory_a_place_is_looked_at_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
