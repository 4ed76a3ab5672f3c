#include "telemetry/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define IDS "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"

static void a_traceparent_is_read_strictly(void **state) {
    static const struct {
        const char *text;
        int flags; /* -1: not valid */
    } rows[] = {
        { "00-" IDS "-01", 1 }, { "00-" IDS "-00", 0 }, { "00-" IDS "-03", 3 }, { "00-" IDS "-ff", 3 }, { "00-" IDS "-08", 0 },
        { "01-" IDS "-01", 1 }, { "cc-" IDS "-01-what-comes-later", 1 }, { "cc-" IDS "-01-", 1 }, /* a later version may say more */
        { "00-" IDS "-01-", -1 }, { "00-" IDS "-01-x", -1 }, { "cc-" IDS "-01x", -1 }, { "cc-" IDS "-01.x", -1 }, { "ff-" IDS "-01", -1 },
        { "0-" IDS "-01", -1 }, { "00-" IDS "-1", -1 }, { "00-" IDS "-0g", -1 }, { "00-" IDS "-", -1 }, { "00-" IDS, -1 }, { "", -1 },
        { "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", -1 }, { "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", -1 },
        { "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", -1 }, { "00-00000000000000000000000000000000-b7ad6b7169203331-01", -1 },
        { "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", -1 }, { " 00-" IDS "-01", -1 }, { "00-" IDS "-01 ", -1 },
        { "zz-" IDS "-01", -1 }, { "00-" IDS "_01", -1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = strlen(rows[i].text);
        char *exact = malloc(n ? n : 1), text[TRACE_PARENT_TEXT], expected[TRACE_PARENT_TEXT];
        struct trace_parent p = { .flags = 77 };
        memcpy(exact, rows[i].text, n);
        bool ok = trace_parent_read((struct sv){ exact, n }, &p);
        free(exact);
        if (ok != (rows[i].flags >= 0) || p.flags != (ok ? rows[i].flags : 77))
            fail_msg("%s: %d, %u", rows[i].text, ok, p.flags);
        if (!ok)
            continue;
        snprintf(expected, sizeof expected, "00-" IDS "-%02x", (unsigned)rows[i].flags);
        assert_string_equal(trace_parent_text(&p, text), expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_traceparent_is_read_strictly) };
    return cmocka_run_group_tests_name("telemetry/trace", tests, NULL, NULL);
}
