/* llm/faces_test.c - what Drover says in each dialect: errors and lists of models. */
#include "llm/llm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"

static struct buf out = BUF_MAX(1 << 16);

static void said(bool ok, const char *expected) {
    assert_true(ok);
    buf_add_char(&out, '\0');
    assert_string_equal(out.p, expected);
    buf_deinit(&out);
}

static const struct err no_model = { ERR_NO_MODEL, "no model \"x\"" }, busy = { ERR_UNAVAILABLE, "all busy" };

static void errors_wear_the_vendors_envelope(void **state) {
    struct sv hint = SV("Try GET /v1/models"), id = SV("req_1");
    (void)state;
    said(llm_error_body(&out, LLM_OPENAI, &no_model, hint, id),
         "{\"error\":{\"message\":\"no model \\\"x\\\". Try GET /v1/models\",\"type\":\"invalid_request_error\","
         "\"param\":\"model\",\"code\":\"model_not_found\"}}");
    static const struct { enum err_code code; const char *text, *param; } paths[] = {
        { ERR_BAD_REQUEST, "\"n\" is 9; at most 8", "\"n\"" },
        { ERR_PARAMETER, "messages[3].content[0].image_url is a link", "\"messages[3].content[0].image_url\"" },
        { ERR_BAD_REQUEST, "\"options.top_k\" must be a number, not a string", "\"options.top_k\"" },
        { ERR_BAD_REQUEST, "the body must be a JSON object", "null" },
        { ERR_BAD_REQUEST, "\"two words\" is nothing", "null" },
        { ERR_BAD_REQUEST, "trouble. and so on", "null" },
        { ERR_BAD_REQUEST, "\"open", "null" },
        { ERR_BAD_REQUEST, "", "null" },
        { ERR_IO, "a.b is gone", "null" },
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct err e = { paths[i].code, "" };
        char expected[200];
        snprintf(e.text, sizeof e.text, "%s", paths[i].text);
        snprintf(expected, sizeof expected, "\"param\":%s,", paths[i].param);
        assert_true(llm_error_body(&out, LLM_OPENAI, &e, SV_NULL, id));
        buf_add_char(&out, '\0');
        assert_non_null(strstr(out.p, expected));
        buf_deinit(&out);
    }
    said(llm_error_body(&out, LLM_ANTHROPIC, &no_model, SV_NULL, id),
         "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"no model \\\"x\\\"\"},\"request_id\":\"req_1\"}");
    said(llm_error_body(&out, LLM_ANTHROPIC, &busy, SV_NULL, SV_NULL),
         "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"all busy\"},\"request_id\":null}");
    said(llm_error_body(&out, LLM_OLLAMA, &busy, SV_NULL, id), "{\"error\":\"all busy\"}");
    said(llm_error_body(&out, LLM_LMSTUDIO, &no_model, SV_NULL, id),
         "{\"error\":{\"type\":\"model_not_found\",\"message\":\"no model \\\"x\\\"\",\"code\":\"model_not_found\"}}");
    said(llm_error_body(&out, LLM_PLAIN, &busy, hint, id),
         "{\"error\":{\"code\":\"unavailable\",\"message\":\"all busy\",\"hint\":\"Try GET /v1/models\"}}");
}

static void every_code_has_words(void **state) {
    (void)state;
    for (unsigned code = 0; code < ERR_CODES; code++) {
        for (unsigned d = LLM_PLAIN; d <= LLM_LMSTUDIO; d++) {
            struct err e = { (enum err_code)code, "" };
            assert_true(llm_error_body(&out, (enum llm_dialect)d, &e, SV_NULL, SV_NULL));
            yyjson_doc *doc = json_parse(buf_sv(&out));
            assert_non_null(doc);
            yyjson_doc_free(doc);
            buf_deinit(&out);
        }
    }
}

static void errors_in_a_stream_are_whole_events(void **state) {
    struct err e = { ERR_IO, "upstream closed" };
    (void)state;
    said(llm_error_event(&out, LLM_CHAT, &e, 0),
         "data: {\"error\":{\"message\":\"upstream closed\",\"type\":\"api_error\",\"param\":null,"
         "\"code\":\"upstream_unreachable\"}}\n\ndata: [DONE]\n\n");
    said(llm_error_event(&out, LLM_MESSAGES, &e, 0),
         "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"upstream closed\"}}\n\n");
    said(llm_error_event(&out, LLM_RESPONSES, &e, 7),
         "event: error\ndata: {\"type\":\"error\",\"code\":\"upstream_unreachable\",\"message\":\"upstream closed\","
         "\"param\":null,\"sequence_number\":7}\n\n");
    said(llm_error_event(&out, LLM_OLLAMA_CHAT, &e, 0), "{\"error\":\"upstream closed\"}\n");
    said(llm_error_event(&out, LLM_LMSTUDIO1_CHAT, &e, 0),
         "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"internal_error\",\"message\":\"upstream closed\","
         "\"code\":\"upstream_unreachable\"}}\n\n");
    said(llm_error_event(&out, LLM_SPEECH, &e, 0),
         "data: {\"error\":{\"message\":\"upstream closed\",\"type\":\"api_error\",\"param\":null,\"code\":\"upstream_unreachable\"}}\n\n");
    assert_true(sv_eq(llm_keepalive(LLM_CHAT), SV(": keep-alive\n")));
    assert_true(sv_starts(llm_keepalive(LLM_MESSAGES), SV("event: ping\n")));
    assert_true(sv_ends(llm_keepalive(LLM_OLLAMA_CHAT), SV("\"done\":false}\n")));
    assert_int_equal(llm_keepalive(LLM_OLLAMA_PULL).n, 0);
}

static const struct llm_model_card cards[] = {
    { .slug = { "org/qwen", 8 }, .created = 1790000000, .size_bytes = 5000, .size_vram = 4000, .context = 32768,
      .loaded_context = 8192, .expires = 1790000300, .family = { "qwen3", 5 }, .quant = { "Q4_K_M", 6 }, .params = { "8B", 2 },
      .format = { "gguf", 4 }, .digest = { "0123456789abcdef", 16 }, .loaded = true, .owner = { "attic", 5 },
      .publisher = { "org", 3 }, .can = LLM_CAN_CHAT | LLM_CAN_TOOLS | LLM_CAN_VISION },
    { .slug = { "e\"5:v2", 6 }, .created = -1, .size_bytes = -1, .size_vram = -1, .context = -1, .loaded_context = -1,
      .expires = -1, .can = LLM_CAN_EMBED },
};

static void openai_and_anthropic_lists(void **state) {
    (void)state;
    said(llm_list_openai(&out, cards, 2),
         "{\"object\":\"list\",\"data\":[{\"id\":\"org/qwen\",\"object\":\"model\",\"created\":1790000000,\"owned_by\":\"attic\","
         "\"context_length\":32768},{\"id\":\"e\\\"5:v2\",\"object\":\"model\",\"created\":0,\"owned_by\":\"drover\"}]}");
    said(llm_list_openai(&out, cards, 0), "{\"object\":\"list\",\"data\":[]}");
    said(llm_card_openai(&out, &cards[1]), "{\"id\":\"e\\\"5:v2\",\"object\":\"model\",\"created\":0,\"owned_by\":\"drover\"}");
    said(llm_list_anthropic(&out, cards, 1),
         "{\"data\":[{\"type\":\"model\",\"id\":\"org/qwen\",\"display_name\":\"org/qwen\",\"created_at\":\"2026-09-21T14:13:20.000Z\"}],"
         "\"has_more\":false,\"first_id\":\"org/qwen\",\"last_id\":\"org/qwen\"}");
    said(llm_list_anthropic(&out, cards, 0), "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}");
}

static void ollama_lists(void **state) {
    (void)state;
    said(llm_list_ollama_tags(&out, cards, 1),
         "{\"models\":[{\"name\":\"org/qwen:latest\",\"model\":\"org/qwen:latest\",\"size\":5000,\"digest\":\"0123456789abcdef\","
         "\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"qwen3\",\"families\":[\"qwen3\"],"
         "\"parameter_size\":\"8B\",\"quantization_level\":\"Q4_K_M\"},\"modified_at\":\"2026-09-21T14:13:20.000Z\","
         "\"capabilities\":[\"completion\",\"tools\",\"vision\"]}]}");
    said(llm_list_ollama_ps(&out, cards + 1, 1), "{\"models\":[]}");
    assert_true(llm_list_ollama_ps(&out, cards, 2));
    assert_true(sv_find(buf_sv(&out), SV("\"expires_at\":\"2026-09-21T14:18:20.000Z\",\"size_vram\":4000,\"context_length\":8192}]}")) > 0);
    buf_deinit(&out);
    said(llm_card_ollama_show(&out, &cards[0]),
         "{\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"qwen3\",\"families\":[\"qwen3\"],"
         "\"parameter_size\":\"8B\",\"quantization_level\":\"Q4_K_M\"},\"model_info\":{\"general.architecture\":\"qwen3\","
         "\"qwen3.context_length\":32768},\"capabilities\":[\"completion\",\"tools\",\"vision\"],"
         "\"modified_at\":\"2026-09-21T14:13:20.000Z\"}");
    said(llm_ollama_version(&out), "{\"version\":\"0.33.0\"}");
}

static void lmstudio_lists(void **state) {
    (void)state;
    said(llm_list_lmstudio0(&out, cards, 1),
         "{\"object\":\"list\",\"data\":[{\"id\":\"org/qwen\",\"object\":\"model\",\"type\":\"vlm\",\"publisher\":\"org\",\"arch\":\"qwen3\","
         "\"compatibility_type\":\"gguf\",\"quantization\":\"Q4_K_M\",\"state\":\"loaded\",\"max_context_length\":32768,"
         "\"loaded_context_length\":8192,\"capabilities\":[\"tool_use\"]}]}");
    said(llm_list_lmstudio1(&out, cards, 2),
         "{\"models\":[{\"type\":\"llm\",\"publisher\":\"org\",\"key\":\"org/qwen\",\"display_name\":\"org/qwen\",\"architecture\":\"qwen3\","
         "\"quantization\":{\"name\":\"Q4_K_M\",\"bits_per_weight\":null},\"size_bytes\":5000,\"params_string\":\"8B\","
         "\"loaded_instances\":[{\"id\":\"org/qwen\",\"config\":{\"context_length\":8192}}],\"max_context_length\":32768,"
         "\"format\":\"gguf\",\"capabilities\":{\"vision\":true,\"trained_for_tool_use\":true},\"description\":null},"
         "{\"type\":\"embedding\",\"publisher\":\"\",\"key\":\"e\\\"5:v2\",\"display_name\":\"e\\\"5:v2\",\"architecture\":null,"
         "\"quantization\":null,\"size_bytes\":0,\"params_string\":null,\"loaded_instances\":[],\"format\":null,"
         "\"capabilities\":{\"vision\":false,\"trained_for_tool_use\":false},\"description\":null}]}");
}

typedef bool list_fn(struct buf *, const struct llm_model_card *, size_t);

static void lists_fail_whole_or_not_at_all(void **state) {
    static list_fn *const lists[] = { llm_list_openai,    llm_list_anthropic, llm_list_ollama_tags,
                                      llm_list_ollama_ps, llm_list_lmstudio0, llm_list_lmstudio1 };
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (size_t max = 3; max < 1500; max += 7) { /* every ceiling */
            struct buf b = BUF_MAX(max);
            assert_true(buf_add(&b, SV("abc")));
            bool ok = lists[i](&b, cards, 2);
            yyjson_doc *doc = json_parse(sv_from(buf_sv(&b), 3));
            assert_true(ok ? doc != NULL : b.n == 3);
            yyjson_doc_free(doc);
            buf_deinit(&b);
        }
        for (long n = 1; n < 10; n++) { /* every allocation */
            struct buf b = BUF_MAX(1 << 16);
            mem_fail_at(n, 0);
            bool ok = lists[i](&b, cards, 2);
            bool struck = mem_fail_hit();
            mem_fail_at(0, 0);
            assert_int_equal(ok, !struck);
            assert_true(ok || b.n == 0);
            buf_deinit(&b);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_wear_the_vendors_envelope),
        cmocka_unit_test(every_code_has_words),
        cmocka_unit_test(errors_in_a_stream_are_whole_events),
        cmocka_unit_test(openai_and_anthropic_lists),
        cmocka_unit_test(ollama_lists),
        cmocka_unit_test(lmstudio_lists),
        cmocka_unit_test(lists_fail_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
