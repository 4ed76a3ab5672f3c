#include "base/money.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void text_is_read_and_printed_exactly(void **state) {
    static const struct {
        const char *text;
        int64_t millionths; /* -1: refused */
        const char *shown;
    } rows[] = {
        { "0", 0, "0" }, { "0.15", 150000, "0.15" }, { "12", 12000000, "12" }, { "0.000001", 1, "0.000001" }, { "00.10", 100000, "0.1" },
        { "1000000000", MONEY_MAX, "1000000000" }, { "999999999.999999", MONEY_MAX - 1, "999999999.999999" },
        { "1000000000.000001", -1, NULL }, { "1000000001", -1, NULL }, { "0.0000001", -1, NULL }, { "1.", -1, NULL }, { ".5", -1, NULL },
        { "-1", -1, NULL }, { "1e3", -1, NULL }, { "1,5", -1, NULL }, { "", -1, NULL }, { "1.2.3", -1, NULL }, { "18446744073709551616", -1, NULL },
    };
    char text[MONEY_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = strlen(rows[i].text);
        char *exact = malloc(n ? n : 1); /* of exactly its size, so that one byte too many shows */
        int64_t got = -1;
        memcpy(exact, rows[i].text, n);
        bool ok = money_read((struct sv){ exact, n }, &got);
        free(exact);
        if (ok != (rows[i].millionths >= 0) || got != rows[i].millionths)
            fail_msg("%s: %lld", rows[i].text, (long long)got);
        if (ok)
            assert_string_equal(money_text(got, text), rows[i].shown);
    }
    assert_string_equal(money_text(-1500000, text), "-1.5");
    assert_string_equal(money_text(INT64_MIN, text), "-9223372036854.775808");
    assert_string_equal(money_text(INT64_MAX, text), "9223372036854.775807");
}

static void a_json_number_is_the_amount_its_text_says(void **state) {
    char text[MONEY_TEXT];
    int64_t got;
    (void)state;
    for (uint64_t i = 0, all = 0; i < 100000; i++, all = (all * 6364136223846793005u + 1442695040888963407u)) {
        int64_t want = (int64_t)(all % (uint64_t)(i % 2 ? MONEY_MAX : 3 * MONEY_ONE));
        got = -1;
        if (!money_of_double(strtod(money_text(want, text), NULL), &got) || got != want)
            fail_msg("%s", text);
    }
    static const double odd[] = { -1, 0.0000001, 0.1234567, 1e9 + 1, 1e300, -0.5 };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_false(money_of_double(odd[i], &got));
    assert_false(money_of_double(strtod("nan", NULL), &got));
    assert_false(money_of_double(strtod("inf", NULL), &got));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_read_and_printed_exactly),
        cmocka_unit_test(a_json_number_is_the_amount_its_text_says),
    };
    return cmocka_run_group_tests_name("base/money", tests, NULL, NULL);
}
