#include "llm/llm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct llm_route *find(const char *method, const char *path, struct err *e) {
    return llm_route(sv_of(method), sv_of(path), false, e);
}

static void paths_lead_to_their_api(void **state) {
    static const struct {
        const char *method, *path;
        enum llm_api api;
        const char *upstream, *rest;
    } rows[] = {
        { "POST", "/v1/chat/completions", LLM_CHAT, "/v1/chat/completions", "" },
        { "POST", "/chat/completions/", LLM_CHAT, "/v1/chat/completions", "" },
        { "POST", "/embeddings", LLM_EMBEDDINGS, "/v1/embeddings", "" },
        { "POST", "/responses", LLM_RESPONSES, "/v1/responses", "" },
        { "POST", "/completions", LLM_COMPLETIONS, "/v1/completions", "" },
        { "GET", "/models", LLM_MODELS, "/v1/models", "" },
        { "HEAD", "/v1/models", LLM_MODELS, "/v1/models", "" },
        { "GET", "/v1/models/a/b%3Ac", LLM_MODEL, "/v1/models/a/b%3Ac", "a/b%3Ac" },
        { "GET", "/models/x", LLM_MODEL, "/v1/models/x", "x" },
        { "POST", "/v1/responses/input_tokens", LLM_RESPONSES_TOKENS, "/v1/responses/input_tokens", "" },
        { "GET", "/v1/responses/resp_1/input_items", LLM_RESPONSES_STORED, "/v1/responses/resp_1/input_items", "resp_1/input_items" },
        { "POST", "/v1/responses/resp_1/cancel", LLM_RESPONSES_STORED, "/v1/responses/resp_1/cancel", "resp_1/cancel" },
        { "POST", "/v1/messages", LLM_MESSAGES, "/v1/messages", "" },
        { "POST", "/v1/messages/count_tokens", LLM_COUNT_TOKENS, "/v1/messages/count_tokens", "" },
        { "GET", "/", LLM_OLLAMA_ROOT, "/", "" },
        { "HEAD", "/api/blobs/sha256:00", LLM_OLLAMA_BLOBS, "/api/blobs/sha256:00", "sha256:00" },
        { "DELETE", "/api/delete", LLM_OLLAMA_DELETE, "/api/delete", "" },
        { "POST", "/api/chat", LLM_OLLAMA_CHAT, "/api/chat", "" },
        { "POST", "/api/v0/chat/completions", LLM_LMSTUDIO0_CHAT, "/api/v0/chat/completions", "" },
        { "GET", "/api/v1/models/download/status/7", LLM_LMSTUDIO1_DOWNLOAD_STATUS, "/api/v1/models/download/status/7", "7" },
        { "POST", "/rerank", LLM_RERANK, "/v1/rerank", "" },
        { "POST", "/v1/something/new", LLM_OTHER, "/v1/something/new", "something/new" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf b = BUF_MAX(1000);
        const struct llm_route *r = find(rows[i].method, rows[i].path, NULL);
        assert_non_null(r);
        assert_int_equal(r->api, rows[i].api);
        assert_true(llm_route_upstream(&b, r, sv_of(rows[i].path)));
        assert_true(sv_eq(buf_sv(&b), sv_of(rows[i].upstream)));
        assert_true(sv_eq(llm_route_rest(r, sv_of(rows[i].path)), sv_of(rows[i].rest)));
        buf_deinit(&b);
    }
}

static void what_is_not_served_is_explained(void **state) {
    static const struct {
        const char *method, *path;
        enum err_code code;
        const char *text;
    } rows[] = {
        { "POST", "/v1/v1/messages", ERR_NOT_FOUND, "no such path: /v1/v1/messages; the base URL holds /v1 twice, use /v1/messages" },
        { "POST", "/v1/api/chat", ERR_NOT_FOUND, "no such path: /v1/api/chat; Ollama and LM Studio paths have no /v1 in front, use /api/chat" },
        { "POST", "/v1/files", ERR_NOT_FOUND, "/v1/files: this part of the API is not served here" },
        { "GET", "/v1/files/x", ERR_NOT_FOUND, "/v1/files/x: this part of the API is not served here" },
        { "POST", "/v1/messages/batches", ERR_NOT_FOUND, "/v1/messages/batches: this part of the API is not served here" },
        { "GET", "/v1/chat/completions", ERR_METHOD, "GET is not allowed on /v1/chat/completions; allowed: POST" },
        { "DELETE", "/v1/models/x", ERR_METHOD, "DELETE is not allowed on /v1/models/x; allowed: GET HEAD" },
        { "GET", "/v1/unknown", ERR_NOT_FOUND, "no such path: /v1/unknown" },
        { "GET", "/nothing", ERR_NOT_FOUND, "no such path: /nothing" },
        { "GET", "", ERR_NOT_FOUND, "no such path: " },
        { "POST", "/api/blobs/", ERR_NOT_FOUND, "no such path: /api/blobs" },
        { "get", "/api/tags", ERR_METHOD, "get is not allowed on /api/tags; allowed: GET HEAD" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err e;
        assert_null(find(rows[i].method, rows[i].path, &e));
        assert_int_equal(e.code, rows[i].code);
        assert_string_equal(e.text, rows[i].text);
    }
}

static void a_path_tells_its_dialect(void **state) {
    (void)state;
    assert_int_equal(llm_path_dialect(SV("/v1/models"), false), LLM_OPENAI);
    assert_int_equal(llm_path_dialect(SV("/v1/models/x"), true), LLM_ANTHROPIC);
    assert_int_equal(llm_path_dialect(SV("/v1/messages/batches"), false), LLM_ANTHROPIC);
    assert_int_equal(llm_path_dialect(SV("/v1/nothing"), true), LLM_OPENAI);
    assert_int_equal(llm_path_dialect(SV("/chat/completions"), false), LLM_OPENAI);
    assert_int_equal(llm_path_dialect(SV("/api/nothing"), false), LLM_OLLAMA);
    assert_int_equal(llm_path_dialect(SV("/api/v1/nothing"), false), LLM_LMSTUDIO);
    assert_int_equal(llm_path_dialect(SV("/drover/v1/x"), false), LLM_PLAIN);
    assert_int_equal(llm_path_dialect(SV("/"), false), LLM_PLAIN);
}

static void every_row_can_be_reached_and_holds_together(void **state) {
    const struct llm_route *r;
    (void)state;
    for (unsigned i = 0; (r = llm_route_at(i)); i++) {
        char path[100];
        struct sv rest = sv_of(r->methods), method;
        snprintf(path, sizeof path, "%s%s", r->path, sv_ends(sv_of(r->path), SV("*")) ? "zz" : "");
        char *star = strchr(path, '*');
        if (star)
            memmove(star, star + 1, strlen(star));
        while (sv_next(&rest, ' ', &method))
            assert_ptr_equal(llm_route(method, sv_of(path), false, NULL), r);
        assert_true(r->api > LLM_NONE && r->api < LLM_APIS);
        if (r->flags & LLM_R_STREAM_DEFAULT)
            assert_true(r->flags & LLM_R_STREAMS);
        if (!(r->flags & LLM_R_LOCAL) && r->api != LLM_OTHER)
            assert_true(llm_speaks(r->api) != 0);
    }
}

static void names_of_bits_go_both_ways(void **state) {
    (void)state;
    for (unsigned bit = 1; llm_speaks_name(bit); bit <<= 1)
        assert_int_equal(llm_speaks_parse(sv_of(llm_speaks_name(bit))), bit);
    for (unsigned bit = 1; llm_can_name(bit); bit <<= 1)
        assert_int_equal(llm_can_parse(sv_of(llm_can_name(bit))), bit);
    assert_int_equal(llm_speaks_parse(SV("openai")), 0);
    assert_int_equal(llm_speaks_parse(SV("lmstudio")), LLM_SPEAKS_LMSTUDIO0 | LLM_SPEAKS_LMSTUDIO1);
    assert_null(llm_can_name(0));
}

static void calls_that_manage_a_runtime_are_not_passed_on_as_unknown_ones(void **state) {
    (void)state;
    static const char *const paths[] = { "/v1/load", "/v1/unload", "/v1/model/load", "/v1/models/unload", "/v1/load_lora_adapter",
                                         "/v1/pull", "/v1/delete", "/v1/system/info", "/v1/%6coad", "/v1/un%6coad",
                                         "/v1/LOAD_LORA_ADAPTER", "/v1/Load", "/v1/loadModel", "/v1/flush_cache", "/v1/update_weights",
                                         "/v1/abort_request", "/v1/collective_rpc", "/v1/restart", "/v1/halt", "/v1/log-level",
                                         "/v1/logs/set_level", "/v1/stats/reset", "/v1/cleanup-cache", "/v1/params", "/v1/install",
                                         "/v1/uninstall", "/v1/sampling/override/switch", "/v1/internal/stop-generation",
                                         "/v1/models/tune", "/v1/wake_up", "/v1/audio/models/unload", "/v1/tokenize_and_load" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct err e = { 0 };
        assert_null(llm_route(SV("POST"), sv_of(paths[i]), false, &e));
        assert_true(e.code == ERR_DENIED || e.code == ERR_METHOD);
    }
    assert_non_null(llm_route(SV("POST"), SV("/v1/loadable"), false, NULL));
    assert_non_null(llm_route(SV("POST"), SV("/v1/audio/podcast"), false, NULL));
    static const char *const others[] = { "/v1/tokenize", "/v1/detokenize", "/v1/classify", "/v1/pooling", "/v1/token/encode", "/v1/ocr",
                                          "/v1/systematic", "/v1/logprobs", "/v1/remodel" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_non_null(llm_route(SV("POST"), sv_of(others[i]), false, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_that_manage_a_runtime_are_not_passed_on_as_unknown_ones),
        cmocka_unit_test(paths_lead_to_their_api),
        cmocka_unit_test(what_is_not_served_is_explained),
        cmocka_unit_test(a_path_tells_its_dialect),
        cmocka_unit_test(every_row_can_be_reached_and_holds_together),
        cmocka_unit_test(names_of_bits_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
