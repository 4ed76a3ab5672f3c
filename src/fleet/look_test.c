#include "fleet/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"

struct page {
    const char *path;
    const char *body;
    int status; /* 0: 200 */
};

#define LIST(entries) "{\"object\":\"list\",\"data\":[" entries "]}"

/* One step of a look at a recorded server; unlisted paths are 404. False at its end. */
static bool step(struct look *l, const struct page *pages, char *asked, size_t size) {
    struct look_question q;
    struct page page = { "", "not found", 404 };
    if (!look_next(l, &q))
        return false;
    for (; pages->path; pages++)
        if (strcmp(pages->path, q.path) == 0)
            page = *pages;
    size_t n = strlen(page.body), at = strlen(asked);
    char *exact = mem_copy(page.body, n);
    snprintf(asked + at, size - at, "%s%s%.*s ", q.body.n ? "POST " : "", q.path, SV_FMT(q.body));
    bool mended;
    CLEANUP(json_doc_freep) yyjson_doc *doc = exact ? json_parse_foreign((struct sv){ exact, n }, &mended) : NULL;
    struct probe_reply r = { .status = page.status ? page.status : 200, .minor = 1, .body = { exact, exact ? n : 0 },
                             .json = yyjson_doc_get_root(doc), .connected = true };
    look_take(l, &r);
    mem_free(exact);
    return true;
}

static char asked[4096]; /* by the last look */

static void look_at(struct look *l, int kind, struct look_notes *notes, const struct page *pages) {
    look_init(l, runtime_of(kind));
    l->notes = notes;
    asked[0] = '\0';
    while (step(l, pages, asked, sizeof asked))
        ;
    look_conclude(l);
}
#define LOOK(l, kind, ...) look_at(l, kind, NULL, (const struct page[]){ __VA_ARGS__, { NULL } })

#define assert_sv(v, text) assert_true(sv_eq(v, SV(text)))

/* --- what each runtime's answers become ----------------------------------------------------------------------------- */

static void ollama_tells_disk_and_memory(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_OLLAMA,
         { "/api/tags", "{\"models\":[{\"name\":\"qwen3:8b\",\"model\":\"qwen3:8b\",\"size\":5225388164,\"digest\":\"abc\","
                        "\"details\":{\"format\":\"gguf\",\"family\":\"qwen3\",\"parameter_size\":\"8.2B\",\"quantization_level\":"
                        "\"Q4_K_M\",\"context_length\":40960},\"capabilities\":[\"completion\",\"tools\",\"thinking\"]},"
                        "{\"name\":\"nomic-embed-text:latest\",\"digest\":\"def\",\"details\":null,\"capabilities\":[\"embedding\"]},"
                        "{\"name\":\"gpt-oss:120b-cloud\",\"remote_host\":\"https://ollama.com:443\"},"
                        "{\"name\":\"x:cloud\"}]}" },
         { "/api/ps", "{\"models\":[{\"name\":\"qwen3:8b\",\"model\":\"qwen3:8b\",\"size_vram\":6000000000,"
                      "\"context_length\":8192,\"expires_at\":\"2026-11-21T12:00:00.5+01:00\"}]}" },
         { "/api/version", "{\"version\":\"0.33.0\"}" });
    assert_int_equal(l.end, LOOK_GOOD);
    assert_int_equal(l.n_models, 4);
    const struct fleet_model *m = l.models;
    assert_sv(m[0].id, "qwen3:8b");
    assert_sv(m[0].family, "qwen3");
    assert_sv(m[0].params, "8.2B");
    assert_sv(m[0].quant, "Q4_K_M");
    assert_sv(m[0].digest, "abc");
    assert_int_equal(m[0].context, 8192);
    assert_int_equal(m[0].context_max, 40960);
    assert_int_equal(m[0].size_bytes, 5225388164);
    assert_int_equal(m[0].vram_bytes, 6000000000);
    assert_int_equal(m[0].expires_s, 1795258800);
    assert_int_equal(m[0].loaded, FLEET_LOADED_YES);
    assert_int_equal(m[0].can, LLM_CAN_CHAT | LLM_CAN_COMPLETION | LLM_CAN_TOOLS | LLM_CAN_THINKING);
    assert_true(m[0].can_known);
    assert_int_equal(m[1].loaded, FLEET_LOADED_NO);
    assert_int_equal(m[1].can, LLM_CAN_EMBED);
    assert_false(m[1].remote);
    assert_true(m[2].remote && m[3].remote);
    assert_sv(l.version, "0.33.0");
    look_deinit(&l);
}

static void ollama_is_asked_once_per_unknown_model(void **state) {
    struct look_notes notes;
    struct look l;
    map_init(&notes.by_digest);
    const struct page pages[] = {
        { "/api/tags", "{\"models\":[{\"name\":\"a\\\"b\",\"digest\":\"d1\"},{\"name\":\"c\",\"digest\":\"d2\"},{\"name\":\"no-digest\"}]}" },
        { "/api/ps", "{\"models\":[]}" },
        { "/api/show", "{\"capabilities\":[\"completion\",\"vision\"],\"model_info\":{\"general.architecture\":\"q\",\"q.context_length\":32768}}" },
        { NULL },
    };
    look_at(&l, CONFIG_KIND_OLLAMA, &notes, pages);
    assert_non_null(strstr(asked, "POST /api/show{\"model\":\"a\\\"b\"}"));
    assert_int_equal(l.models[0].context_max, 32768);
    assert_int_equal(l.models[0].can, LLM_CAN_CHAT | LLM_CAN_COMPLETION | LLM_CAN_VISION);
    assert_int_equal(l.models[1].context_max, 0);
    look_deinit(&l);
    look_at(&l, CONFIG_KIND_OLLAMA, &notes, pages);
    assert_non_null(strstr(asked, "POST /api/show{\"model\":\"c\"}"));
    assert_int_equal(l.models[0].context_max, 32768); /* from the note */
    look_deinit(&l);
    look_at(&l, CONFIG_KIND_OLLAMA, &notes, pages);
    assert_null(strstr(asked, "POST"));
    look_deinit(&l);
    look_notes_deinit(&notes);
}

static void lm_studio_is_read_by_its_newest_list(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_LMSTUDIO,
         { "/api/v1/models", "{\"models\":[{\"type\":\"llm\",\"key\":\"qwen/qwen3-8b\",\"architecture\":\"qwen3\",\"quantization\":"
                             "{\"name\":\"Q4_K_M\",\"bits_per_weight\":4},\"size_bytes\":5,\"params_string\":\"8B\",\"loaded_instances\":"
                             "[{\"id\":\"qwen/qwen3-8b\",\"config\":{\"context_length\":4096,\"parallel\":4}}],\"max_context_length\":40960,"
                             "\"format\":\"gguf\",\"capabilities\":{\"vision\":true,\"trained_for_tool_use\":true}},"
                             "{\"type\":\"embedding\",\"key\":\"nomic\",\"quantization\":null,\"loaded_instances\":[]}]}" });
    assert_string_equal(asked, "/api/v1/models ");
    assert_int_equal(l.n_models, 2);
    assert_int_equal(l.models[0].context, 4096);
    assert_int_equal(l.models[0].slots, 4);
    assert_int_equal(l.models[0].loaded, FLEET_LOADED_YES);
    assert_int_equal(l.models[1].loaded, FLEET_LOADED_NO);
    assert_int_equal(l.models[1].slots, 0);
    assert_int_equal(l.models[1].can, LLM_CAN_EMBED);
    assert_int_equal(l.lacks, 0);
    look_deinit(&l);

#define UNEXPECTED "{\"error\":\"Unexpected endpoint or method. (GET /api/v1/models)\"}"
    LOOK(&l, CONFIG_KIND_LMSTUDIO, { "/api/v1/models", UNEXPECTED },
         { "/api/v0/models", LIST("{\"id\":\"m\",\"type\":\"vlm\",\"state\":\"loaded\",\"loaded_context_length\":2048}") });
    assert_int_equal(l.lacks, LLM_SPEAKS_LMSTUDIO1 | LLM_SPEAKS_ANTHROPIC);
    assert_int_equal(l.models[0].context, 2048);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_LMSTUDIO, { "/api/v1/models", UNEXPECTED }, { "/api/v0/models", UNEXPECTED },
         { "/v1/models", LIST("{\"id\":\"m\",\"object\":\"model\",\"owned_by\":\"organization_owner\"}") });
    assert_int_equal(l.lacks, LLM_SPEAKS_LMSTUDIO1 | LLM_SPEAKS_ANTHROPIC | LLM_SPEAKS_LMSTUDIO0);
    assert_int_equal(l.n_models, 1);
    look_deinit(&l);
}

#define LLAMA_ENTRY(extra) "{\"id\":\"m\",\"object\":\"model\",\"owned_by\":\"llamacpp\"" extra "}"

static void llama_server_tells_the_context_of_one_slot(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_LLAMACPP,
         { "/v1/models", LIST(LLAMA_ENTRY(",\"meta\":{\"n_ctx\":65536,\"n_ctx_train\":131072,\"n_params\":8190735360,\"size\":5,\"ftype\":\"Q4_K\"}")) },
         { "/props", "{\"default_generation_settings\":{\"n_ctx\":16384},\"total_slots\":4,\"build_info\":\"b9600-abc\"}" });
    assert_int_equal(l.models[0].context, 16384);
    assert_int_equal(l.models[0].slots, 4);
    assert_int_equal(l.models[0].context_max, 131072);
    assert_sv(l.models[0].params, "8.2B");
    assert_sv(l.version, "b9600-abc");
    look_deinit(&l);
}

static void a_llama_router_tells_which_models_run(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_LLAMACPP,
         { "/v1/models", LIST("{\"id\":\"a\",\"owned_by\":\"llamacpp\",\"status\":{\"value\":\"loaded\"},\"meta\":{\"n_ctx\":8192}},"
                              "{\"id\":\"b\",\"owned_by\":\"llamacpp\",\"status\":{\"value\":\"unloaded\"}},"
                              "{\"id\":\"c\",\"owned_by\":\"llamacpp\",\"status\":{\"value\":\"sleeping\"}}") },
         { "/props", "{\"role\":\"router\",\"default_generation_settings\":{\"n_ctx\":0}}" });
    assert_int_equal(l.models[0].loaded, FLEET_LOADED_YES);
    assert_int_equal(l.models[0].context, 8192);
    assert_int_equal(l.models[1].loaded, FLEET_LOADED_NO);
    assert_int_equal(l.models[2].loaded, FLEET_LOADED_NO);
    look_deinit(&l);
}

static void a_llama_server_that_loads_says_so(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_LLAMACPP,
         { "/v1/models", "{\"error\":{\"message\":\"Loading model\",\"type\":\"unavailable_error\",\"code\":503}}", 503 });
    assert_int_equal(l.end, LOOK_LOADING);
    assert_string_equal(asked, "/v1/models ");
    assert_false(l.has_list);
    look_deinit(&l);
}

static void the_others_tell_what_they_know(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_VLLM, { "/v1/models", LIST("{\"id\":\"q\",\"owned_by\":\"vllm\",\"max_model_len\":32768,\"parent\":null}") },
         { "/version", "{\"version\":\"0.9.1\"}" });
    assert_int_equal(l.models[0].context, 32768);
    assert_false(runtime_speaks(l.rt, l.version) & (LLM_SPEAKS_RESPONSES | LLM_SPEAKS_ANTHROPIC));
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_SGLANG, { "/v1/models", LIST("{\"id\":\"q\",\"owned_by\":\"sglang\"}") },
         { "/server_info", "{\"version\":\"0.6.0\",\"context_length\":4096,\"quantization\":\"fp8\",\"max_running_requests\":64}" });
    assert_int_equal(l.models[0].slots, 64);
    assert_int_equal(l.models[0].context, 4096);
    assert_sv(l.models[0].quant, "fp8");
    assert_null(strstr(asked, "/health")); /* it would run a request */
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_MISTRALRS, { "/v1/models", LIST("{\"id\":\"default\",\"owned_by\":\"local\"},"
                                                         "{\"id\":\"q\",\"owned_by\":\"local\",\"status\":\"unloaded\"}") });
    assert_int_equal(l.n_models, 1);
    assert_int_equal(l.models[0].loaded, FLEET_LOADED_NO);
    assert_ptr_equal(look_find(&l, SV("q")), &l.models[0]);
    look_deinit(&l);
    LOOK(&l, CONFIG_KIND_MISTRALRS, { "/v1/models", LIST("{\"id\":\"default\",\"owned_by\":\"local\"}") });
    assert_int_equal(l.n_models, 1);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_TGI, { "/info", "{\"model_id\":\"a/b\",\"max_total_tokens\":8192,\"max_concurrent_requests\":128,\"version\":\"3.3.7\"}" });
    assert_int_equal(l.models[0].slots, 128);
    assert_int_equal(l.models[0].context, 8192);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_TEI, { "/info", "{\"model_id\":\"a/b\",\"max_input_length\":512,\"model_type\":{\"reranker\":{}}}" });
    assert_int_equal(l.models[0].can, LLM_CAN_RERANK);
    assert_int_equal(runtime_speaks(l.rt, l.version) & ~l.lacks, LLM_SPEAKS_RERANK);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_INFINITY, { "/models", LIST("{\"id\":\"bge\",\"owned_by\":\"infinity\",\"capabilities\":[\"embed\",\"rerank\"]}") });
    assert_int_equal(l.models[0].can, LLM_CAN_EMBED | LLM_CAN_RERANK);
    assert_true(l.no_v1);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_LOCALAI, { "/readyz", "" }, { "/v1/models", LIST("{\"id\":\"a\"},{\"id\":\"b\"}") },
         { "/system", "{\"loaded_models\":[{\"id\":\"b\",\"backend\":\"x\"}]}" });
    assert_int_equal(l.models[0].loaded, FLEET_LOADED_NO);
    assert_int_equal(l.models[1].loaded, FLEET_LOADED_YES);
    look_deinit(&l);
    LOOK(&l, CONFIG_KIND_LOCALAI, { "/readyz", "{\"status\":\"starting\"}", 503 }, { "/v1/models", LIST("{\"id\":\"a\"}") });
    assert_int_equal(l.end, LOOK_LOADING);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_KOBOLDCPP, { "/v1/models", LIST("{\"id\":\"koboldcpp/m\",\"owned_by\":\"koboldcpp\"}") },
         { "/api/extra/true_max_context_length", "{\"value\":8192}" }, { "/api/extra/version", "{\"version\":\"1.115\"}" });
    assert_int_equal(l.models[0].context, 8192);
    assert_int_equal(l.models[0].slots, 1);
    look_deinit(&l);
    LOOK(&l, CONFIG_KIND_KOBOLDCPP, { "/v1/models", LIST("{\"id\":\"koboldcpp/inactive\",\"owned_by\":\"koboldcpp\"}") });
    assert_int_equal(l.n_models, 0);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_TABBYAPI, { "/health", "{\"status\":\"unhealthy\",\"issues\":[{\"time\":\"x\",\"description\":\"no VRAM\"}]}", 503 },
         { "/v1/models", LIST("{\"id\":\"a\",\"owned_by\":\"tabbyAPI\"},{\"id\":\"b\",\"owned_by\":\"tabbyAPI\"}") },
         { "/v1/model", "{\"id\":\"b\",\"parameters\":{\"max_seq_len\":4096}}" });
    assert_int_equal(l.end, LOOK_POOR);
    assert_string_equal(l.reason, "it calls itself unhealthy: no VRAM");
    assert_int_equal(l.models[0].loaded, FLEET_LOADED_NO);
    assert_int_equal(l.models[1].context, 4096);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_LEMONADE, { "/v1/models", LIST("{\"id\":\"a\",\"owned_by\":\"lemonade\",\"size\":4.5,\"context_length\":8192,\"labels\":[\"embeddings\"]}") },
         { "/api/v1/health", "{\"version\":\"11.7.0\",\"all_models_loaded\":[{\"model_name\":\"a\",\"recipe_options\":{\"ctx_size\":2048}}]}" });
    assert_int_equal(l.models[0].size_bytes, 4831838208);
    assert_int_equal(l.models[0].context, 2048);
    assert_int_equal(l.models[0].can, LLM_CAN_EMBED);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_DMR, { "/v1/models", LIST("{\"id\":\"ai/q:latest\",\"owned_by\":\"docker\",\"dmr\":{\"context_window\":4096,\"size\":\"4.5 GiB\"}}") },
         { "/engines/ps", "[{\"backend_name\":\"llama.cpp\",\"model_name\":\"ai/q:latest\",\"loading\":false}]" });
    assert_int_equal(l.models[0].size_bytes, 4831838208);
    assert_int_equal(l.models[0].loaded, FLEET_LOADED_YES);
    look_deinit(&l);

    LOOK(&l, CONFIG_KIND_TRTLLM, { "/health", "", 503 }, { "/v1/models", LIST("{\"id\":\"q\",\"owned_by\":\"tensorrt_llm\"}") });
    assert_int_equal(l.end, LOOK_LOADING);
    look_deinit(&l);
}

static void a_fingerprint_leads_into_the_steps(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_AUTO, { "/v1/models", LIST("{\"id\":\"q\",\"owned_by\":\"vllm\",\"max_model_len\":32768}") },
         { "/version", "{\"version\":\"0.21.0\"}" });
    assert_int_equal(l.end, LOOK_GOOD);
    assert_int_equal(l.rt->kind, CONFIG_KIND_VLLM);
    assert_string_equal(asked, "/v1/models /version /v1/models /version ");
    look_deinit(&l);
    LOOK(&l, CONFIG_KIND_AUTO, { "/v1/models", "bad gateway", 502 });
    assert_int_equal(l.end, LOOK_FAILED);
    assert_string_equal(l.reason, "GET /v1/models: status 502");
    look_deinit(&l);
}

static void a_locked_server_wants_a_key(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_VLLM, { "/v1/models", "{\"error\":\"Unauthorized\"}", 401 }, { "/version", "{\"version\":\"0.21.0\"}" });
    assert_int_equal(l.end, LOOK_POOR);
    assert_true(l.wants_key);
    assert_false(l.has_list);
    look_deinit(&l);
}

static void another_runtime_at_the_same_place_is_noticed(void **state) {
    struct look l;
    LOOK(&l, CONFIG_KIND_VLLM, { "/v1/models", LIST("{\"id\":\"q\",\"owned_by\":\"sglang\"}") });
    assert_true(l.mismatch);
    look_deinit(&l);
    LOOK(&l, CONFIG_KIND_OLLAMA, { "/", "hello" });
    assert_true(l.mismatch);
    assert_int_equal(l.end, LOOK_FAILED);
    look_deinit(&l);
}

/* --- what others may send ------------------------------------------------------------------------------------------- */

static const char *const hostile[] = {
    "", "x", "{", "[", "null", "true", "0", "-1", "1e400", "\"x\"", "[]", "{}", "[null]", "[[],{}]",
    "{\"data\":null,\"models\":null}", "{\"data\":{},\"models\":{}}", "{\"data\":\"x\",\"models\":1}",
    "{\"data\":[null,1,\"x\",[],{}],\"models\":[null,1,\"x\",[],{}]}",
    "{\"data\":[{\"id\":1}],\"models\":[{\"name\":2,\"model\":[],\"key\":{}}]}",
    "{\"data\":[{\"id\":\"\"}],\"models\":[{\"name\":\"\",\"key\":\"\"}]}",
    "{\"data\":[{\"id\":\"a\"},{\"id\":\"a\"}],\"models\":[{\"name\":\"a\",\"key\":\"a\"},{\"name\":\"a\",\"key\":\"a\"}]}",
    "{\"data\":[{\"id\":\"a\\u0000b\",\"meta\":1,\"status\":2,\"dmr\":[],\"labels\":{},\"capabilities\":{},\"size\":1e300}],"
    "\"models\":[{\"name\":\"a\",\"key\":\"a\",\"details\":[],\"capabilities\":{\"x\":1},\"size\":-5,\"quantization\":7,"
    "\"loaded_instances\":{\"x\":1},\"digest\":\"d\",\"expires_at\":\"9999-99-99T99:99:99Z\",\"context_length\":-1}]}",
    "{\"data\":[{\"id\":\"a\",\"max_model_len\":18446744073709551615,\"created\":-9223372036854775808,\"meta\":{\"n_params\":9223372036854775807},"
    "\"size\":\"x\",\"dmr\":{\"size\":\"nan GiB\"}}],\"models\":[{\"name\":\"a\",\"key\":\"a\",\"size\":1e308,\"capabilities\":[null,1,[]],"
    "\"loaded_instances\":[null],\"expires_at\":\"2026-11-21T12:00:00.+9\",\"digest\":\"d\"}],\"model_info\":[],\"model_id\":\"m\",\"model_type\":[],"
    "\"issues\":1,\"status\":\"unhealthy\",\"parameters\":3,\"loaded_models\":{},\"all_models_loaded\":[1,null]}",
    "{\"model_info\":{\".context_length\":\"x\",\"a.context_length\":-4},\"capabilities\":[],\"role\":1,\"version\":{},\"build_info\":[]}",
};

static void hostile_answers_do_no_harm(void **state) {
    const size_t n = sizeof hostile / sizeof hostile[0];
    for (int kind = CONFIG_KIND_AUTO; kind < CONFIG_KIND_COUNT; kind++) {
        for (size_t first = 0; first < n; first++) {
            for (size_t rest = 0; rest < n; rest++) {
                struct look_notes notes;
                struct look l;
                map_init(&notes.by_digest);
                look_init(&l, runtime_of(kind));
                l.notes = &notes;
                for (unsigned i = 0;; i++) { /* the first answer may be good, so that later ones are read at all */
                    struct look_question q;
                    if (!look_next(&l, &q))
                        break;
                    assert_true(i < 40);
                    const char *body = i == 0 ? hostile[first] : hostile[rest];
                    size_t len = strlen(body);
                    char *exact = mem_copy(body, len);
                    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse((struct sv){ exact, len });
                    struct probe_reply r = { .status = 200, .body = { exact, len }, .json = yyjson_doc_get_root(doc), .connected = true };
                    look_take(&l, &r);
                    mem_free(exact);
                }
                look_conclude(&l);
                for (size_t i = 0; i < l.n_models; i++)
                    assert_true(l.models[i].id.n > 0);
                look_deinit(&l);
                look_notes_deinit(&notes);
            }
        }
    }
}

static void a_list_without_end_is_cut(void **state) {
    struct buf body = BUF_MAX(PROBE_LIST_MAX);
    struct look l;
    buf_add(&body, SV("{\"data\":["));
    for (int i = 0; i < LOOK_MODELS_MAX + 50; i++)
        buf_printf(&body, "%s{\"id\":\"model-%d\"}", i ? "," : "", i);
    buf_add(&body, SV("]}"));
    buf_add_char(&body, '\0');
    LOOK(&l, CONFIG_KIND_OPENAI, { "/v1/models", body.p });
    assert_int_equal(l.n_models, LOOK_MODELS_MAX);
    assert_int_equal(l.n_refused, 50);
    assert_non_null(look_find(&l, SV("model-9999")));
    look_deinit(&l);
    buf_deinit(&body);
}

static void names_that_are_too_long_are_left_out(void **state) {
    char body[LOOK_ID_MAX + 100], id[LOOK_ID_MAX + 2];
    struct look l;
    memset(id, 'x', sizeof id);
    id[sizeof id - 1] = '\0';
    snprintf(body, sizeof body, LIST("{\"id\":\"%s\"},{\"id\":\"%s\"}"), id, "ok");
    LOOK(&l, CONFIG_KIND_OPENAI, { "/v1/models", body });
    assert_int_equal(l.n_models, 1);
    look_deinit(&l);
}

/* A server that cuts a name in the middle of a character must not lose all its models. */
static void names_that_are_no_text_are_left_out_alone(void **state) {
    static const char *const bad[] = { "x\\ud800", "\\udc00", "x\\ufffd", "x\xff", "\xed\xa0\x80", "x\xc3" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char body[200];
        struct look l;
        snprintf(body, sizeof body, LIST("{\"id\":\"a\"},{\"id\":\"%s\"},{\"id\":\"b\\ud83d\\ude00\"}"), bad[i]);
        LOOK(&l, CONFIG_KIND_OPENAI, { "/v1/models", body });
        assert_int_equal(l.end, LOOK_GOOD);
        assert_int_equal(l.n_models, 2);
        assert_sv(l.models[1].id, "b\xf0\x9f\x98\x80");
        assert_int_equal(l.n_nameless, 1);
        look_deinit(&l);
    }
}

static void memory_may_be_out_at_any_point(void **state) {
    const struct page pages[] = {
        { "/api/tags", "{\"models\":[{\"name\":\"a\",\"digest\":\"d1\",\"details\":{\"family\":\"q\"}},{\"name\":\"b\",\"digest\":\"d2\"}]}" },
        { "/api/ps", "{\"models\":[{\"name\":\"a\",\"context_length\":5}]}" },
        { "/api/version", "{\"version\":\"1\"}" },
        { "/api/show", "{\"capabilities\":[\"completion\"],\"model_info\":{\"q.context_length\":5}}" },
        { NULL },
    };
    for (long n = 1;; n++) {
        struct look_notes notes;
        struct look l;
        map_init(&notes.by_digest);
        mem_fail_at(n, 0);
        look_at(&l, CONFIG_KIND_OLLAMA, &notes, pages);
        int hit = mem_fail_hit();
        mem_fail_at(0, 0);
        look_deinit(&l);
        look_notes_deinit(&notes);
        if (!hit)
            break;
    }
}

/* --- versions ----------------------------------------------------------------------------------------------------- */

static void versions_are_compared_by_number(void **state) {
    static const struct { const char *version, *than; bool before; } cases[] = {
        { "0.13.2", "0.13.3", true },  { "0.13.3", "0.13.3", false }, { "0.14", "0.13.3", false }, { "0.13", "0.13.3", true },
        { "v0.5.1", "0.13.3", true },  { "1.0.0", "0.13.3", false },  { "b7186-abc", "b7187", true }, { "b11669-Debian", "b7187", false },
        { "", "0.1", false },          { "unknown", "0.1", false },   { "0.13.3-rc1", "0.13.3", false }, { "10.2.9", "10.3.0", true },
        { "99999999999999999999", "1", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (version_is_before(sv_of(cases[i].version), cases[i].than) != cases[i].before)
            fail_msg("%s before %s?", cases[i].version, cases[i].than);
}

static void every_kind_has_a_runtime(void **state) {
    assert_null(runtime_of(CONFIG_KIND_AUTO));
    for (int kind = CONFIG_KIND_AUTO + 1; kind < CONFIG_KIND_COUNT; kind++) {
        const struct runtime *rt = runtime_of(kind);
        assert_non_null(rt);
        assert_true(rt->speaks != 0 && rt->title && rt->steps);
        assert_int_equal(rt->deficient & ~rt->speaks, 0);
        assert_string_not_equal(runtime_name(kind), "unknown");
    }
    assert_int_equal(runtime_pool_idle_ms(runtime_of(CONFIG_KIND_VLLM)), 4000);
    assert_int_equal(runtime_pool_idle_ms(runtime_of(CONFIG_KIND_KOBOLDCPP)), 0);
    assert_int_equal(runtime_pool_idle_ms(runtime_of(CONFIG_KIND_OLLAMA)), 30000);
}

int main(void) {
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ollama_tells_disk_and_memory),
        cmocka_unit_test(ollama_is_asked_once_per_unknown_model),
        cmocka_unit_test(lm_studio_is_read_by_its_newest_list),
        cmocka_unit_test(llama_server_tells_the_context_of_one_slot),
        cmocka_unit_test(a_llama_router_tells_which_models_run),
        cmocka_unit_test(a_llama_server_that_loads_says_so),
        cmocka_unit_test(the_others_tell_what_they_know),
        cmocka_unit_test(a_fingerprint_leads_into_the_steps),
        cmocka_unit_test(a_locked_server_wants_a_key),
        cmocka_unit_test(another_runtime_at_the_same_place_is_noticed),
        cmocka_unit_test(hostile_answers_do_no_harm),
        cmocka_unit_test(a_list_without_end_is_cut),
        cmocka_unit_test(names_that_are_too_long_are_left_out),
        cmocka_unit_test(names_that_are_no_text_are_left_out_alone),
        cmocka_unit_test(memory_may_be_out_at_any_point),
        cmocka_unit_test(versions_are_compared_by_number),
        cmocka_unit_test(every_kind_has_a_runtime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
