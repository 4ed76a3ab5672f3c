/* The words of directives: their life as a table, and what each operation takes. */
#include "hub/directive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void an_end_is_an_end(void **state) {
    (void)state;
    for (unsigned from = 0; from < DIRECTIVE_STATE_COUNT; from++)
        for (unsigned to = 0; to < DIRECTIVE_STATE_COUNT; to++) {
            bool late = from == DIRECTIVE_UNKNOWN && to != DIRECTIVE_UNKNOWN && directive_is_over((enum directive_state)to);
            if (directive_is_over((enum directive_state)from))
                assert_int_equal(directive_may((enum directive_state)from, (enum directive_state)to), late);
            assert_false(to == DIRECTIVE_QUEUED && directive_may((enum directive_state)from, DIRECTIVE_QUEUED));
        }
    assert_true(directive_may(DIRECTIVE_SENT, DIRECTIVE_SUCCEEDED)); /* the acknowledgement was lost, the result was not */
    assert_false(directive_may(DIRECTIVE_RUNNING, DIRECTIVE_ACCEPTED));
    assert_false(directive_may(DIRECTIVE_ACCEPTED, DIRECTIVE_REFUSED));
    assert_false(directive_may(DIRECTIVE_QUEUED, DIRECTIVE_UNKNOWN)); /* what was never sent has expired */
}

static void words_are_read_back(void **state) {
    (void)state;
    enum directive_state s;
    enum directive_op op;
    for (unsigned i = 0; i < DIRECTIVE_OP_COUNT; i++) {
        assert_true(directive_op_read(sv_of(directive_op_name((enum directive_op)i)), &op));
        assert_int_equal(op, i);
    }
    assert_false(directive_op_read(SV("reboot"), &op));
    assert_true(directive_end_read(SV("timed_out"), &s));
    assert_int_equal(s, DIRECTIVE_TIMED_OUT);
    static const char *const no_ends[] = { "queued", "sent", "accepted", "refused", "running", "unknown", "", "done" };
    for (size_t i = 0; i < sizeof no_ends / sizeof no_ends[0]; i++)
        assert_false(directive_end_read(sv_of(no_ends[i]), &s));
}

static bool takes(enum directive_op op, const char *args, bool strict) {
    struct err e = { 0 };
    yyjson_doc *doc = json_parse(sv_of(args));
    assert_non_null(doc);
    bool ok = directive_args_check(op, yyjson_doc_get_root(doc), strict, &e);
    assert_true(ok || (e.code == ERR_BAD_REQUEST && e.text[0]));
    yyjson_doc_free(doc);
    return ok;
}

static void each_operation_takes_what_it_takes(void **state) {
    (void)state;
    static const struct {
        enum directive_op op;
        const char *args;
        bool person, hub; /* whether it passes, typed here or come over the link */
    } rows[] = {
        { OP_REFRESH, "{}", true, true },
        { OP_REFRESH, "{\"endpoint_id\":\"gpu\"}", true, true },
        { OP_REFRESH, "{\"endpoint_id\":\"\"}", false, false },
        { OP_REFRESH, "{\"endpoint_id\":7}", false, false },
        { OP_REFRESH, "[]", false, false },
        { OP_LOG_LEVEL, "{}", false, false },
        { OP_LOG_LEVEL, "{\"level\":\"debug\"}", true, true },
        { OP_LOG_LEVEL, "{\"level\":\"loud\"}", false, false },
        { OP_LOG_LEVEL, "{\"level\":\"debug\",\"ttl_ms\":1000}", true, true },
        { OP_LOG_LEVEL, "{\"level\":\"debug\",\"ttl_ms\":999}", false, false },
        { OP_LOG_LEVEL, "{\"level\":\"debug\",\"ttl_ms\":86400001}", false, false },
        { OP_LOG_LEVEL, "{\"level\":\"debug\",\"ttl_ms\":-5}", false, false },
        { OP_LOG_LEVEL, "{\"level\":\"debug\",\"ttl_ms\":1.5e3}", false, false },
        { OP_LOG_LEVEL, "{\"level\":\"debug\",\"ttl_ms\":18446744073709551615}", false, false },
        { OP_LOG_LEVEL, "{\"level\":\"debug\",\"color\":1}", false, true },
        { OP_DRAIN, "{\"mode\":\"hard\",\"deadline_ms\":0}", true, true },
        { OP_DRAIN, "{\"mode\":\"violent\"}", false, false },
        { OP_CANCEL, "{\"what\":\"directive\"}", false, false },
        { OP_CANCEL, "{\"what\":\"directive\",\"id\":\"d1\"}", true, true },
        { OP_CANCEL, "{\"what\":\"process\",\"id\":\"1\"}", false, false },
        { OP_RESTART, "{\"grace_ms\":600001}", false, false },
        { OP_LOAD_MODEL, "{\"whatever\":[1]}", true, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (takes(rows[i].op, rows[i].args, true) != rows[i].person || takes(rows[i].op, rows[i].args, false) != rows[i].hub)
            fail_msg("row %zu: %s", i, rows[i].args);
    }
    struct err e;
    assert_true(directive_args_check(OP_RESTART, NULL, true, &e));
    assert_false(directive_args_check(OP_CANCEL, NULL, true, &e));
}

static void each_permission_is_a_setting_of_its_own(void **state) {
    (void)state;
    struct config c = { 0 };
    assert_true(directive_is_allowed(&c, NEED_NOTHING));
    for (unsigned need = NEED_INFERENCE; need <= NEED_RESTART; need++) {
        assert_false(directive_is_allowed(&c, (enum directive_need)need));
        assert_true(sv_starts(sv_of(directive_need_setting((enum directive_need)need)), SV("join.allow.")));
    }
    c.join.allow.restart = true;
    assert_true(directive_is_allowed(&c, directive_op_need(OP_RESTART)));
    assert_false(directive_is_allowed(&c, directive_op_need(OP_LOG_LEVEL)));
    assert_int_equal(directive_op_need(OP_CANCEL), NEED_NOTHING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_is_an_end),
        cmocka_unit_test(words_are_read_back),
        cmocka_unit_test(each_operation_takes_what_it_takes),
        cmocka_unit_test(each_permission_is_a_setting_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
