#include "link/envelope.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"

#define HEAD "\"v\":1,\"msg_id\":\"m1\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"seq\":1"
#define UP(kind, payload) "{" HEAD ",\"kind\":\"" kind "\",\"payload\":" payload "}"
#define BEAT "{\"state\":\"running\",\"uptime_ms\":1}"

static enum link_fault read_exact(const char *text, struct envelope *m, struct envelope_fault *f) {
    size_t n = strlen(text);
    char *exact = malloc(n ? n : 1);
    memcpy(exact, text, n);
    bool ok = envelope_read((struct sv){ exact, n }, false, true, m, f);
    free(exact);
    assert_int_equal(ok, f->code == FAULT_NONE);
    return f->code;
}

static void what_comes_is_judged_by_the_table(void **state) {
    static const struct {
        const char *text;
        enum link_fault is;
        const char *path;
    } rows[] = {
        { UP("heartbeat", BEAT), FAULT_NONE, "" },
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":1,\"new_member\":{\"a\":[1]}}"), FAULT_NONE, "" }, /* 19 */
        { "[1,2]", FAULT_BAD_JSON, "" },                                                                             /* 13 */
        { "\"x\"", FAULT_BAD_JSON, "" },
        { UP("heartbeat", BEAT) UP("heartbeat", BEAT), FAULT_BAD_JSON, "" },
        { "", FAULT_BAD_JSON, "" },
        { "{" HEAD ",\"kind\":\"heartbeat\",\"kind\":\"metrics\",\"payload\":{}}", FAULT_DUPLICATE_MEMBER, "" },      /* 14 */
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":1,\"x\":{\"a\":1,\"a\":2}}"), FAULT_DUPLICATE_MEMBER, "" },
        { UP("heartbeat", "{\"x\":[[[[[[[[[[[[[[1]]]]]]]]]]]]]],\"state\":\"running\",\"uptime_ms\":1}"), FAULT_NONE, "" },
        { UP("heartbeat", "{\"x\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}"), FAULT_TOO_DEEP, "" },                              /* 15 */
        { "{" HEAD ",\"kind\":\"heartbeat\"}", FAULT_INVALID_ENVELOPE, "/payload" },
        { "{" HEAD ",\"kind\":\"heartbeat\",\"payload\":[]}", FAULT_INVALID_ENVELOPE, "/payload" },
        { "{" HEAD ",\"kind\":\"Heartbeat\",\"payload\":{}}", FAULT_INVALID_ENVELOPE, "/kind" },
        { "{\"v\":2,\"msg_id\":\"m\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"seq\":1,\"kind\":\"heartbeat\",\"payload\":{}}",
          FAULT_INVALID_ENVELOPE, "/v" },
        { "{\"msg_id\":\"\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"seq\":1,\"kind\":\"heartbeat\",\"payload\":{}}", FAULT_INVALID_ENVELOPE, "/msg_id" },
        { "{\"msg_id\":\"a b\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"seq\":1,\"kind\":\"heartbeat\",\"payload\":{}}", FAULT_INVALID_ENVELOPE, "/msg_id" },
        { "{\"msg_id\":\"m\",\"ts\":\"today\",\"direction\":\"up\",\"seq\":1,\"kind\":\"heartbeat\",\"payload\":{}}", FAULT_INVALID_ENVELOPE, "/ts" },
        { "{\"msg_id\":\"m\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"left\",\"seq\":1,\"kind\":\"heartbeat\",\"payload\":{}}", FAULT_INVALID_ENVELOPE, "/direction" },
        { "{\"msg_id\":\"m\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"kind\":\"heartbeat\",\"payload\":{}}", FAULT_INVALID_ENVELOPE, "/seq" },
        { "{\"msg_id\":\"m\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"seq\":1.0,\"kind\":\"heartbeat\",\"payload\":{}}", FAULT_INVALID_ENVELOPE, "/seq" },
        { "{\"msg_id\":\"m\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"seq\":1,\"site_id\":\"UP\",\"kind\":\"heartbeat\",\"payload\":{}}", FAULT_INVALID_ENVELOPE,
          "/site_id" },
        { "{" HEAD ",\"via\":[\"a\",\"b\",\"c\",\"d\",\"e\"],\"kind\":\"heartbeat\",\"payload\":" BEAT "}", FAULT_RELAY_LOOP, "/via" },
        { "{\"msg_id\":\"m\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"down\",\"seq\":1,\"kind\":\"heartbeat\",\"payload\":{}}", FAULT_WRONG_DIRECTION, "/direction" }, /* 17 */
        { UP("directive", "{}"), FAULT_WRONG_DIRECTION, "/kind" },
        { UP("frobnicate", "{}"), FAULT_UNKNOWN_KIND, "/kind" },                                                            /* 18 */
        { UP("heartbeat", "{}"), FAULT_INVALID_PAYLOAD, "/payload/state" },
        { UP("heartbeat", "{\"state\":\"sleepy\",\"uptime_ms\":1}"), FAULT_INVALID_PAYLOAD, "/payload/state" },             /* 20 */
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":1e400}"), FAULT_INVALID_PAYLOAD, "/payload/uptime_ms" },    /* 21 */
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":-0.5}"), FAULT_INVALID_PAYLOAD, "/payload/uptime_ms" },
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":1.0}"), FAULT_INVALID_PAYLOAD, "/payload/uptime_ms" },
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":1152921504606846976}"), FAULT_INVALID_PAYLOAD, "/payload/uptime_ms" },
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":9007199254740991}"), FAULT_NONE, "" },
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":-1}"), FAULT_INVALID_PAYLOAD, "/payload/uptime_ms" },
        { UP("heartbeat", "{\"state\":\"running\",\"uptime_ms\":1,\"cpu_pct\":1e999}"), FAULT_INVALID_PAYLOAD, "/payload/cpu_pct" },
        { UP("register_agent", "{\"models\":[{\"key\":\"a\"},{\"key\":\"\"}]}"), FAULT_INVALID_PAYLOAD, "/payload/models/1/key" },
        { UP("register_agent", "{\"labels\":{\"rack\":\"b2\"},\"allow\":{\"inference\":true},\"delegation\":null}"), FAULT_NONE, "" },
        { UP("register_agent", "{\"labels\":{\"Rack\":\"b2\"}}"), FAULT_INVALID_PAYLOAD, "/payload/labels" },
        { UP("register_agent", "{\"allow\":{\"inference\":1}}"), FAULT_INVALID_PAYLOAD, "/payload/allow/inference" },
        { UP("hello", "{\"proto\":{\"min\":1,\"max\":1},\"node_id\":\"n1\",\"instance\":\"i\"}"), FAULT_NONE, "" },
        { UP("hello", "{\"proto\":{\"min\":1,\"max\":1},\"node_id\":\"n 1\",\"instance\":\"i\"}"), FAULT_INVALID_PAYLOAD, "/payload/node_id" },
        { UP("hello", "{\"proto\":{\"min\":1,\"max\":1},\"node_id\":\"n1\",\"instance\":\"i\",\"features\":[\"A\"]}"), FAULT_INVALID_PAYLOAD, "/payload/features/0" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct envelope m;
        struct envelope_fault f;
        enum link_fault got = read_exact(rows[i].text, &m, &f);
        if (got != rows[i].is || strcmp(f.path, rows[i].path) != 0)
            print_error("row %zu: %s %s (%s)\n", i, link_fault_name(got), f.path, f.text);
        assert_int_equal(got, rows[i].is);
        assert_string_equal(f.path, rows[i].path);
        envelope_free(&m);
    }
}

static void too_many_models_are_to_be_sent_in_parts(void **state) {
    struct buf b = BUF_MAX(1 << 20);
    struct envelope m;
    struct envelope_fault f;
    (void)state;
    buf_add(&b, SV("{" HEAD ",\"kind\":\"register_agent\",\"payload\":{\"models\":["));
    for (int i = 0; i < 5000; i++) /* 22 */
        buf_printf(&b, "%s{\"key\":\"m%d\"}", i ? "," : "", i);
    buf_add(&b, SV("]}}"));
    assert_false(envelope_read(buf_sv(&b), false, true, &m, &f));
    assert_int_equal(f.code, FAULT_TOO_LARGE);
    assert_string_equal(f.path, "/payload/models");
    buf_deinit(&b);
}

static void many_members_are_looked_at_for_twins(void **state) {
    (void)state;
    for (int twin = 0; twin < 2; twin++) {
        struct buf b = BUF_MAX(1 << 20);
        struct envelope m;
        struct envelope_fault f;
        buf_add(&b, SV("{" HEAD ",\"kind\":\"heartbeat\",\"payload\":{\"state\":\"running\",\"uptime_ms\":1"));
        for (int i = 0; i < 5000; i++)
            buf_printf(&b, ",\"m%d\":0", i);
        buf_add(&b, twin ? SV(",\"m77\":0}}") : SV("}}"));
        assert_int_equal(envelope_read(buf_sv(&b), false, true, &m, &f), !twin);
        assert_int_equal(f.code, twin ? FAULT_DUPLICATE_MEMBER : FAULT_NONE);
        envelope_free(&m);
        buf_deinit(&b);
    }
}

static void what_is_printed_is_read_again(void **state) {
    struct buf b = BUF_MAX(4096);
    struct envelope m;
    struct envelope_fault f;
    const struct envelope_head h = { KIND_ERROR, true, SV_NULL, { "node-1", 6 }, SV_NULL, { "m7", 2 }, 12 };
    (void)state;
    envelope_print(&b, &h, SV("{\"code\":\"busy\",\"retry_ms\":null}"));
    assert_true(envelope_read(buf_sv(&b), true, true, &m, &f));
    assert_int_equal(m.kind, KIND_ERROR);
    assert_int_equal(m.seq, 12);
    assert_true(sv_eq(m.re, SV("m7")) && sv_eq(m.site_id, SV("node-1")) && m.agent_id.n == 0 && m.msg_id.n > 20);
    assert_true(sv_eq(json_str(m.payload, "code"), SV("busy")));
    envelope_free(&m);
    buf_deinit(&b);
}

/* As a relay does it: what the schema does not know ends here, at any depth; what has no schema of its own stays whole. */
static void a_payload_is_printed_anew_with_known_members_alone(void **state) {
    static const struct {
        enum link_kind kind;
        const char *text, *want;
    } rows[] = {
        { KIND_USAGE_REPORT, "{\"x\":1,\"rows\":[{\"y\":[1],\"row_id\":\"r\\u0031\",\"at\":\"2026-11-21T09:14:03Z\",\"key\":\"q\",\"in_tokens\":7}],\"outbox\":3}",
          "{\"outbox\":3,\"rows\":[{\"row_id\":\"r1\",\"at\":\"2026-11-21T09:14:03Z\",\"key\":\"q\",\"in_tokens\":7}]}" },
        { KIND_DIRECTIVE_RESULT, "{\"directive_id\":\"d\",\"status\":\"failed\",\"detail\":{\"any\":{\"thing\":1.5}},\"z\":null}",
          "{\"directive_id\":\"d\",\"status\":\"failed\",\"detail\":{\"any\":{\"thing\":1.5}}}" },
        { KIND_DIRECTIVE_RESULT, "{\"directive_id\":\"d\",\"status\":\"failed\",\"detail\":null}", "{\"directive_id\":\"d\",\"status\":\"failed\",\"detail\":null}" },
        { KIND_REGISTER, "{\"labels\":{\"room\":\"2\"},\"models\":[]}", "{\"labels\":{\"room\":\"2\"},\"models\":[]}" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse_exact(sv_of(rows[i].text));
        struct envelope_fault f;
        struct buf out = BUF_MAX(4096);
        assert_true(kind_check(rows[i].kind, yyjson_doc_get_root(doc), &f));
        assert_true(kind_print(rows[i].kind, yyjson_doc_get_root(doc), &out));
        assert_true(sv_eq(buf_sv(&out), sv_of(rows[i].want)));
        buf_deinit(&out);
    }
}

static void no_memory_is_survived(void **state) {
    (void)state;
    for (long n = 1; n < 100; n++) {
        struct envelope m;
        struct envelope_fault f;
        mem_fail_at(n, 0);
        bool ok = envelope_read(SV(UP("heartbeat", BEAT)), false, true, &m, &f);
        mem_fail_at(0, 0);
        assert_true(ok || f.code != FAULT_NONE);
        envelope_free(&m);
        if (ok && n > 20)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_is_judged_by_the_table),
        cmocka_unit_test(too_many_models_are_to_be_sent_in_parts),
        cmocka_unit_test(many_members_are_looked_at_for_twins),
        cmocka_unit_test(what_is_printed_is_read_again),
        cmocka_unit_test(a_payload_is_printed_anew_with_known_members_alone),
        cmocka_unit_test(no_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
