#include "llm/patch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/scan.h"

static char *join(char *to, const struct sv *pieces, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        assert_true(pieces[i].n > 0);
        memcpy(to, pieces[i].p, pieces[i].n);
        to += pieces[i].n;
    }
    return to;
}

static void check(const char *body, struct patch want, const char *expected) {
    char scratch[PATCH_SCRATCH], got[8192];
    struct splice splices[PATCH_SPLICES];
    struct sv pieces[PATCH_PIECES], text = sv_of(body);
    struct scan s;
    scan_init(&s);
    scan_feed(&s, text);
    assert_int_equal(scan_end(&s, NULL), SCAN_OK);
    unsigned n = patch_body(&s, &want, splices, scratch);
    *join(got, pieces, patch_iov(text, splices, n, pieces)) = '\0';
    assert_string_equal(got, expected);
    assert_int_equal(patch_length(text.n, splices, n), strlen(expected));
    for (size_t cut = 0; cut <= text.n; cut++) { /* the same from a chain of two buffers */
        char *to = join(got, pieces, patch_part(sv_first(text, cut), 0, cut == text.n, splices, n, pieces));
        if (cut < text.n)
            to = join(to, pieces, patch_part(sv_from(text, cut), cut, true, splices, n, pieces));
        *to = '\0';
        assert_string_equal(got, expected);
    }
}

static void the_model_is_replaced_and_nothing_else(void **state) {
    (void)state;
    struct patch p = { .model = SV("big/\"x\"\n") };
    check("{\"model\":\"a\",\"n\": 1 }", p, "{\"model\":\"big/\\\"x\\\"\\u000a\",\"n\": 1 }");
    check("{ \"n\": 1, \"model\" : null}", p, "{ \"n\": 1, \"model\" : \"big/\\\"x\\\"\\u000a\"}");
    check("{\"mod\\u0065l\":\"a\\u0041\"}", p, "{\"mod\\u0065l\":\"big/\\\"x\\\"\\u000a\"}");
    check("{\"model\":\"a\"}", (struct patch){ .model = SV("a") }, "{\"model\":\"a\"}");
    check("{\"model\":\"\\u0061\"}", (struct patch){ .model = SV("a") }, "{\"model\":\"\\u0061\"}");
    check("{\"model\":\"a\"}", (struct patch){ .model = SV_NULL }, "{\"model\":\"a\"}");
}

static void a_missing_model_is_added(void **state) {
    (void)state;
    struct patch p = { .model = SV("m") };
    check("{}", p, "{\"model\":\"m\"}");
    check(" {\n\"a\":1}", p, " {\"model\":\"m\",\n\"a\":1}");
}

static void usage_is_asked_for_wherever_the_options_stand(void **state) {
    (void)state;
    struct patch p = { .include_usage = true }, both = { .model = SV("m"), .include_usage = true };
    check("{}", p, "{\"stream_options\":{\"include_usage\":true}}");
    check("{\"a\":1}", p, "{\"stream_options\":{\"include_usage\":true},\"a\":1}");
    check("{\"stream_options\":{}}", p, "{\"stream_options\":{\"include_usage\":true}}");
    check("{\"stream_options\":{ \"x\":1}}", p, "{\"stream_options\":{\"include_usage\":true, \"x\":1}}");
    check("{\"stream_options\":null}", p, "{\"stream_options\":{\"include_usage\":true}}");
    check("{\"stream_options\":\"odd\"}", p, "{\"stream_options\":\"odd\"}");
    check("{\"stream_options\":{\"include_usage\": false }}", p, "{\"stream_options\":{\"include_usage\": true }}");
    check("{\"stream_options\":{\"include_usage\":{\"a\":[]}}}", p, "{\"stream_options\":{\"include_usage\":true}}");
    check("{\"stream_options\":{\"include_usage\":true}}", p, "{\"stream_options\":{\"include_usage\":true}}");
    check("{\"a\":1}", both, "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"a\":1}");
    check("{\"a\":1,\"model\":\"x\"}", both, "{\"stream_options\":{\"include_usage\":true},\"a\":1,\"model\":\"m\"}");
    check("{\"model\":\"x\",\"stream_options\":{}}", both, "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}");
    check("{\"stream_options\":{},\"model\":\"x\"}", both, "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\"}");
    check("{\"stream_options\":null}", both, "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}");
}

static void a_member_can_be_taken_out(void **state) {
    static const struct {
        const char *text, *without;
    } rows[] = {
        { "{\"usage\":{\"a\":1}}", "{}" },
        { "{\"usage\":{\"a\":1}, \"b\":2}", "{\"b\":2}" },
        { "{\"a\":[\"usage\"],\"usage\":null,\"b\":2}", "{\"a\":[\"usage\"],\"b\":2}" },
        { "{\"a\":\"\\\"usage\\\":\" , \"usage\" : 7 }", "{\"a\":\"\\\"usage\\\":\" }" },
        { "{\"a\":{\"usage\":1}}", NULL },
        { "[1]", NULL },
        { "{\"usage\"", NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct splice cut[PATCH_SPLICES];
        struct sv pieces[PATCH_PIECES];
        char got[256];
        char *exact = mem_copy(rows[i].text, strlen(rows[i].text));
        struct sv text = { exact, strlen(rows[i].text) };
        assert_int_equal(patch_also_without(text, SV("usage"), cut, 0), rows[i].without != NULL);
        if (rows[i].without) {
            *join(got, pieces, patch_iov(text, cut, 1, pieces)) = '\0';
            assert_string_equal(got, rows[i].without);
        }
        mem_free(exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_is_replaced_and_nothing_else),
        cmocka_unit_test(a_missing_model_is_added),
        cmocka_unit_test(usage_is_asked_for_wherever_the_options_stand),
        cmocka_unit_test(a_member_can_be_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
