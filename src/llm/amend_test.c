#include "llm/amend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static char *amended(enum llm_api api, const char *defaults, const char *forced, const char *body) {
    struct arena a;
    unsigned n;
    struct sv text = sv_of(body);
    char *got = NULL;
    arena_init(&a, 1 << 20, NULL);
    struct splice *splices = amend_body(&a, api, text, sv_of(defaults), sv_of(forced), &n);
    struct sv *pieces = splices ? ARENA_ARRAY(&a, struct sv, 2 * n + 1) : NULL;
    if (pieces) {
        unsigned n_pieces = patch_iov(text, splices, n, pieces);
        char *to = got = calloc(1, (size_t)patch_length(text.n, splices, n) + 1);
        for (unsigned i = 0; i < n_pieces; to += pieces[i++].n)
            memcpy(to, pieces[i].p, pieces[i].n);
    }
    arena_deinit(&a);
    return got;
}

static void is(enum llm_api api, const char *defaults, const char *forced, const char *body, const char *expected) {
    char *got = amended(api, defaults, forced, body);
    assert_string_equal(got, expected);
    free(got);
}

static void defaults_fill_in_and_force_replaces(void **state) {
    (void)state;
    const char *set = "{\"temperature\":0.5,\"x\":{\"y\":1}}";
    is(LLM_CHAT, set, "", "{ \"model\": \"m\" }", "{ \"model\": \"m\" ,\"temperature\":0.5,\"x\":{\"y\":1}}");
    is(LLM_CHAT, set, "", "{\"temperature\":2,\"x\":null}", "{\"temperature\":2,\"x\":{\"y\":1}}");
    is(LLM_CHAT, "", set, "{\"temperature\": 2,\"x\":[1, 2],\"big\":1.50}", "{\"temperature\": 0.5,\"x\":{\"y\":1},\"big\":1.50}");
    is(LLM_CHAT, "{\"seed\":1}", "{\"seed\":2}", "{\"a\":1}", "{\"a\":1,\"seed\":2}");
    is(LLM_CHAT, "", "", "{\"a\":1}", "{\"a\":1}");
}

static void a_well_known_member_holds_under_each_of_its_names(void **state) {
    (void)state;
    const char *set = "{\"max_tokens\":7,\"stop\":\"X\"}";
    is(LLM_CHAT, "", set, "{\"max_completion_tokens\":99,\"stop\":null}", "{\"max_completion_tokens\":7,\"stop\":[\"X\"]}");
    is(LLM_CHAT, set, "", "{\"max_completion_tokens\":99,\"stop\":[]}", "{\"max_completion_tokens\":99,\"stop\":[]}");
    is(LLM_RESPONSES, "", set, "{\"max_output_tokens\":99}", "{\"max_output_tokens\":7}"); /* it has no stop */
    is(LLM_MESSAGES, "", set, "{\"max_tokens\":99}", "{\"max_tokens\":7,\"stop_sequences\":[\"X\"]}");
    is(LLM_OLLAMA_CHAT, "", set, "{\"a\":1}", "{\"a\":1,\"options\":{\"num_predict\":7,\"stop\":[\"X\"]}}");
    is(LLM_OLLAMA_CHAT, "", set, "{\"options\":{\"num_predict\":99}}", "{\"options\":{\"num_predict\":7,\"stop\":[\"X\"]}}");
    is(LLM_OLLAMA_CHAT, set, "", "{\"options\":null}", "{\"options\":{\"num_predict\":7,\"stop\":[\"X\"]}}");
    is(LLM_OLLAMA_CHAT, set, "", "{\"options\":{}}", "{\"options\":{\"num_predict\":7,\"stop\":[\"X\"]}}");
    is(LLM_CHAT, "", "{\"max_completion_tokens\":7}", "{\"a\":1}", "{\"a\":1,\"max_completion_tokens\":7}");
    is(LLM_CHAT, "", "{\"options\":{\"num_predict\":7,\"num_ctx\":9}}", "{\"a\":1}", "{\"a\":1,\"max_tokens\":7}");
    is(LLM_EMBEDDINGS, "", "{\"temperature\":1,\"dimensions\":8}", "{\"a\":1}", "{\"a\":1,\"dimensions\":8}");
}

static void ollamas_options_are_set_one_by_one(void **state) {
    (void)state;
    const char *set = "{\"options\":{\"num_ctx\":4096,\"temperature\":0}}";
    is(LLM_OLLAMA_CHAT, set, "", "{\"options\":{\"num_ctx\":1}}", "{\"options\":{\"num_ctx\":1,\"temperature\":0}}");
    is(LLM_OLLAMA_EMBED, set, "", "{\"input\":\"x\"}", "{\"input\":\"x\",\"options\":{\"num_ctx\":4096}}");
}

static void no_spelling_of_a_name_gets_around_force(void **state) {
    (void)state;
    const char *set = "{\"temperature\":0.5}";
    is(LLM_CHAT, "", set, "{\"temper\\u0061ture\":2}", "{\"temper\\u0061ture\":0.5}");
    is(LLM_CHAT, "", set, "{\"temperature\":1,\"temperature\":2}", "{\"temperature\":0.5,\"temperature\":0.5}");
    is(LLM_OLLAMA_CHAT, "", set, "{\"options\":{\"temperature\":1},\"option\\u0073\":{}}",
       "{\"options\":{\"temperature\":0.5},\"option\\u0073\":{\"temperature\":0.5}}");
    is(LLM_OLLAMA_CHAT, "", set, "{\"options\":{\"temperature\":1},\"options\":null}", "{\"options\":{\"temperature\":0.5},\"options\":{\"temperature\":0.5}}");
}

static void what_cannot_work_is_told(void **state) {
    (void)state;
    static const struct {
        const char *set, *why;
    } bad[] = {
        { "{\"temperature\":\"hot\"}", "\"temperature\" must be a number" },
        { "{\"max_tokens\":1.5}", "\"max_tokens\" must be a whole number" },
        { "{\"stop\":[\"a\",1]}", "\"stop\" must be a string or a list of strings" },
        { "{\"model\":\"x\"}", "\"model\" is each request's own and cannot be set here" },
        { "{\"x\":1,\"stream\":true}", "\"stream\" is each request's own and cannot be set here" },
        { "{\"options\":{\"num_predict\":\"7\"}}", "\"num_predict\" must be a whole number" },
        { "{\"options\":1}", "\"options\" must be a group of members" },
    };
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(amend_check(sv_of(bad[i].set), &e));
        assert_string_equal(e.text, bad[i].why);
    }
    assert_true(amend_check(SV("{\"temperature\":0.5,\"stop\":[\"a\",\"b\"],\"max_tokens\":-1,\"x\":{},\"options\":{\"num_ctx\":1}}"), &e));
}

static void it_survives_the_lack_of_memory(void **state) {
    (void)state;
    int hit = 1;
    for (long n = 1; hit && n < 100; n++) {
        mem_fail_at(n, 1);
        free(amended(LLM_OLLAMA_CHAT, "{\"max_tokens\":7}", "{\"x\":1}", "{\"\\u0061\":1}"));
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
    }
    assert_false(hit);
}

static void forced_limits_are_known_beforehand(void **state) {
    static const struct {
        enum llm_api api;
        const char *forced;
        int64_t output, n; /* of what was 50 and 2 */
    } rows[] = {
        { LLM_CHAT, "", 50, 2 }, { LLM_CHAT, "{\"temperature\":1}", 50, 2 }, { LLM_CHAT, "{\"max_tokens\":9000}", 9000, 2 },
        { LLM_CHAT, "{\"num_predict\":900,\"n\":4}", 900, 4 }, { LLM_RESPONSES, "{\"max_tokens\":7,\"n\":4}", 7, 2 },
        { LLM_OLLAMA_CHAT, "{\"options\":{\"num_predict\":-1}}", -1, 2 }, { LLM_OLLAMA_CHAT, "{\"options\":{\"num_predict\":9},\"max_tokens\":8}", 8, 2 },
        { LLM_MESSAGES, "{\"max_completion_tokens\":11}", 11, 2 }, { LLM_EMBEDDINGS, "{\"max_tokens\":11}", 50, 2 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t output = 50, n = 2;
        amend_limits(rows[i].api, sv_of(rows[i].forced), &output, &n);
        if (output != rows[i].output || n != rows[i].n)
            fail_msg("%s: %lld, %lld", rows[i].forced, (long long)output, (long long)n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_in_and_force_replaces),
        cmocka_unit_test(a_well_known_member_holds_under_each_of_its_names),
        cmocka_unit_test(ollamas_options_are_set_one_by_one),
        cmocka_unit_test(no_spelling_of_a_name_gets_around_force),
        cmocka_unit_test(what_cannot_work_is_told),
        cmocka_unit_test(it_survives_the_lack_of_memory),
        cmocka_unit_test(forced_limits_are_known_beforehand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
