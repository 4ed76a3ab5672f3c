#include "fleet/fingerprint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "config/config.h"

struct page {
    const char *path;
    int status;
    const char *body;
};

/* A server as it was recorded. Paths that are not listed get `other`. */
struct server {
    const char *what;
    int verdict;
    unsigned questions; /* at most */
    const char *header; /* Server */
    unsigned minor;
    struct page other;
    struct page pages[8];
};

#define LIST(entries) "{\"object\":\"list\",\"data\":" entries "}"
#define OWNED(owner) LIST("[{\"id\":\"m\",\"object\":\"model\",\"created\":1790000000,\"owned_by\":\"" owner "\"}]")
#define NONE { "", 404, "404 page not found" }
#define KEY { "", 401, "{\"error\":{\"message\":\"Invalid API Key\",\"type\":\"authentication_error\",\"code\":401}}" }
#define HTML { "", 200, "<!DOCTYPE html><title>Ollama is running vllm llama.cpp</title>" }

static const struct server servers[] = {
    { "Ollama", CONFIG_KIND_OLLAMA, 4, NULL, 1, NONE,
      { { "/v1/models", 200, OWNED("library") }, { "/", 200, "Ollama is running" },
        { "/api/status", 200, "{\"cloud\":{\"disabled\":false}}" }, { "/api/version", 200, "{\"version\":\"0.33.0\"}" } } },
    { "Ollama without models", CONFIG_KIND_OLLAMA, 4, NULL, 1, NONE,
      { { "/v1/models", 200, LIST("null") }, { "/", 200, "Ollama is running" }, { "/api/status", 200, "{\"cloud\":{}}" } } },
    { "Ollama before /api/status", CONFIG_KIND_OLLAMA, 8, NULL, 1, NONE,
      { { "/v1/models", 200, OWNED("library") }, { "/", 200, "Ollama is running" },
        { "/api/version", 200, "{\"version\":\"0.5.1\"}" } } },
    { "Ollama before /v1/models", CONFIG_KIND_OLLAMA, 8, NULL, 1, NONE,
      { { "/", 200, "Ollama is running" }, { "/api/tags", 200, "{\"models\":[]}" } } },
    { "LM Studio", CONFIG_KIND_LMSTUDIO, 2, NULL, 1, { "", 200, "{\"error\":\"Unexpected endpoint or method. (GET /x)\"}" },
      { { "/v1/models", 200, OWNED("organization_owner") }, { "/lmstudio-greeting", 200, "{\"lmstudio\":true}" } } },
    { "LM Studio without models", CONFIG_KIND_LMSTUDIO, 5, NULL, 1, { "", 200, "{\"error\":\"Unexpected endpoint or method. (GET /x)\"}" },
      { { "/v1/models", 200, LIST("[]") }, { "/lmstudio-greeting", 200, "{\"lmstudio\":true}" } } },
    { "LM Studio without /v1/models", CONFIG_KIND_LMSTUDIO, 2, NULL, 1,
      { "", 200, "{\"error\":\"Unexpected endpoint or method. (GET /v1/models)\"}" },
      { { "/lmstudio-greeting", 200, "{\"lmstudio\":true}" } } },
    { "llama-server", CONFIG_KIND_LLAMACPP, 1, "llama.cpp", 1, NONE, { { "/v1/models", 200, OWNED("llamacpp") } } },
    { "llama-server that loads", CONFIG_KIND_LLAMACPP, 1, "llama.cpp", 1,
      { "", 503, "{\"error\":{\"message\":\"Loading model\",\"type\":\"unavailable_error\",\"code\":503}}" }, { { NULL } } },
    { "llama-server that loads behind a proxy", CONFIG_KIND_LLAMACPP, 2, "nginx", 1,
      { "", 503, "{\"error\":{\"message\":\"Loading model\",\"type\":\"unavailable_error\",\"code\":503}}" }, { { NULL } } },
    { "llama-server behind a proxy", CONFIG_KIND_LLAMACPP, 1, "nginx", 1, NONE, { { "/v1/models", 200, OWNED("llamacpp") } } },
    { "vLLM", CONFIG_KIND_VLLM, 2, "uvicorn", 1, NONE,
      { { "/v1/models", 200, OWNED("vllm") }, { "/version", 200, "{\"version\":\"0.21.0\"}" } } },
    { "SGLang", CONFIG_KIND_SGLANG, 1, "uvicorn", 1, NONE,
      { { "/v1/models", 200, OWNED("sglang") }, { "/", 200, "Ollama is running" } } },
    { "mistral.rs", CONFIG_KIND_MISTRALRS, 1, NULL, 1, NONE,
      { { "/v1/models", 200, LIST("[{\"id\":\"default\",\"object\":\"model\",\"created\":1,\"owned_by\":\"local\"}]") } } },
    { "TGI", CONFIG_KIND_TGI, 2, NULL, 1, NONE,
      { { "/v1/models", 200, LIST("[{\"id\":\"a/b\",\"object\":\"model\",\"created\":0,\"owned_by\":\"a/b\"}]") },
        { "/info", 200, "{\"model_id\":\"a/b\",\"max_total_tokens\":8192,\"router\":\"text-generation-router\"}" } } },
    { "TGI before /v1/models", CONFIG_KIND_TGI, 2, NULL, 1, NONE,
      { { "/info", 200, "{\"model_id\":\"a/b\",\"max_total_tokens\":8192}" } } },
    { "LocalAI", CONFIG_KIND_LOCALAI, 2, NULL, 1, NONE,
      { { "/v1/models", 200, LIST("[{\"id\":\"m\",\"object\":\"model\"}]") },
        { "/.well-known/localai.json", 200, "{\"version\":\"4.9.0\",\"endpoints\":{}}" } } },
    { "LocalAI without models", CONFIG_KIND_LOCALAI, 6, NULL, 1, NONE,
      { { "/v1/models", 200, LIST("[]") }, { "/.well-known/localai.json", 200, "{\"version\":\"4.9.0\"}" } } },
    { "KoboldCpp", CONFIG_KIND_KOBOLDCPP, 1, "KoboldCppServer/1.115", 0, NONE, { { "/v1/models", 200, OWNED("koboldcpp") } } },
    { "KoboldCpp as a router", CONFIG_KIND_KOBOLDCPP, 1, NULL, 1, NONE, { { "/v1/models", 200, OWNED("koboldcpp") } } },
    { "TabbyAPI", CONFIG_KIND_TABBYAPI, 1, "uvicorn", 1, NONE, { { "/v1/models", 200, OWNED("tabbyAPI") } } },
    { "Jan", CONFIG_KIND_JAN, 1, NULL, 1, NONE,
      { { "/v1/models", 200, LIST("[{\"id\":\"m\",\"object\":\"model\",\"created\":1,\"owned_by\":\"user\"}]") } } },
    { "Lemonade", CONFIG_KIND_LEMONADE, 1, NULL, 1, NONE, { { "/v1/models", 200, OWNED("lemonade") } } },
    { "MLX-LM", CONFIG_KIND_MLX, 1, "BaseHTTP/0.6 Python/3.12.4", 0, { "", 404, "Not Found" },
      { { "/v1/models", 200, LIST("[{\"id\":\"m\",\"object\":\"model\",\"created\":1790000000}]") } } },
    { "MLX-LM without models", CONFIG_KIND_MLX, 1, "BaseHTTP/0.6 Python/3.12.4", 0, { "", 404, "Not Found" },
      { { "/v1/models", 200, LIST("[]") } } },
    { "Docker Model Runner", CONFIG_KIND_DMR, 1, NULL, 1, NONE, { { "/v1/models", 200, OWNED("docker") } } },
    { "Docker Model Runner without models", CONFIG_KIND_DMR, 4, NULL, 1, NONE,
      { { "/v1/models", 200, LIST("[]") }, { "/", 200, "Docker Model Runner is running" }, { "/api/version", 200, "{\"version\":\"0.1.0\"}" } } },
    { "Triton", CONFIG_KIND_TRITON, 1, "uvicorn", 1, NONE, { { "/v1/models", 200, OWNED("Triton Inference Server") } } },
    { "TensorRT-LLM", CONFIG_KIND_TRTLLM, 1, "uvicorn", 1, NONE,
      { { "/v1/models", 200, OWNED("tensorrt_llm") }, { "/version", 200, "{\"version\":\"1.2.0\"}" } } },
    { "TEI", CONFIG_KIND_TEI, 2, NULL, 1, NONE,
      { { "/info", 200, "{\"model_id\":\"BAAI/bge-m3\",\"model_type\":{\"embedding\":{}},\"max_batch_tokens\":16384}" } } },
    { "Infinity", CONFIG_KIND_INFINITY, 3, "uvicorn", 1, NONE, { { "/models", 200, OWNED("infinity") } } },
    { "Infinity under /v1", CONFIG_KIND_INFINITY, 1, "uvicorn", 1, NONE, { { "/v1/models", 200, OWNED("infinity") } } },
    { "somebody", CONFIG_KIND_OPENAI, 3, NULL, 1, NONE, { { "/v1/models", 200, OWNED("someone") } } },
    { "another Drover", FP_DROVER, 2, NULL, 1, NONE,
      { { "/v1/models", 200, OWNED("drover") }, { "/", 200, "Ollama is running" },
        { "/version", 200, "{\"name\":\"drover\",\"version\":\"0.1.0\"}" } } },

    /* Locked. */
    { "LM Studio, locked", CONFIG_KIND_LMSTUDIO, 3, NULL, 1, KEY, { { "/lmstudio-greeting", 200, "{\"lmstudio\":true}" } } },
    { "llama-server, locked", CONFIG_KIND_LLAMACPP, 1, "llama.cpp", 1, KEY, { { NULL } } },
    { "vLLM, locked", CONFIG_KIND_VLLM, 2, "uvicorn", 1, { "", 401, "{\"error\":\"Unauthorized\"}" },
      { { "/version", 200, "{\"version\":\"0.21.0\"}" } } },
    { "TabbyAPI, locked", CONFIG_KIND_TABBYAPI, 4, "uvicorn", 1, { "", 401, "{\"detail\":\"Invalid API key\"}" },
      { { "/.well-known/serviceinfo", 200, "{\"version\":0.1,\"software\":{\"name\":\"TabbyAPI\"}}" } } },
    { "TabbyAPI, locked, by its health", CONFIG_KIND_TABBYAPI, 6, "uvicorn", 1, { "", 401, "{\"detail\":\"Invalid API key\"}" },
      { { "/health", 200, "{\"status\":\"healthy\",\"issues\":[]}" } } },
    { "KoboldCpp as a router, locked", CONFIG_KIND_KOBOLDCPP, 5, NULL, 1, KEY,
      { { "/api/extra/version", 200, "{\"result\":\"KoboldCpp\",\"version\":\"1.115\"}" } } },
    { "Jan, locked", CONFIG_KIND_JAN, 2, NULL, 1, { "", 401, "Missing authorization header" }, { { NULL } } },
    { "Lemonade, locked", CONFIG_KIND_LEMONADE, 9, NULL, 1, KEY, { { "/live", 200, "{\"status\":\"ok\"}" } } },
    { "LocalAI, locked", CONFIG_KIND_LOCALAI, 8, NULL, 1, KEY,
      { { "/.well-known/localai.json", 200, "{\"version\":\"4.9.0\"}" } } },
    { "SGLang, locked", CONFIG_KIND_SGLANG, 10, "uvicorn", 1, { "", 401, "{\"error\":\"Unauthorized\"}" },
      { { "/metrics", 200, "# HELP x\nsglang:num_running_reqs 0\n" }, { "/version", 404, "" } } },
    { "TEI, locked", CONFIG_KIND_TEI, 10, NULL, 1, KEY, { { "/metrics", 200, "te_queue_size 0\n" } } },
    { "somebody, locked", CONFIG_KIND_OPENAI, 10, NULL, 1, KEY, { { NULL } } },

    /* Those who lie, or are something else. */
    { "a web site that answers 200 to everything", FP_UNKNOWN, 12, "nginx", 1, HTML, { { NULL } } },
    { "a web site that answers {} to everything", FP_UNKNOWN, 12, "nginx", 1, { "", 200, "{}" }, { { NULL } } },
    { "nothing known", FP_UNKNOWN, 12, "nginx", 1, NONE, { { NULL } } },
    { "errors only", FP_UNKNOWN, 4, NULL, 1, { "", 500, "oops" }, { { NULL } } },
    { "LocalAI on Ollama's port", CONFIG_KIND_LOCALAI, 8, NULL, 1, NONE,
      { { "/v1/models", 200, LIST("[]") }, { "/api/version", 200, "{\"version\":\"0.9.0\"}" },
        { "/api/tags", 200, "{\"models\":[]}" }, { "/.well-known/localai.json", 200, "{\"version\":\"4.9.0\"}" } } },
    { "says vLLM but has no version", CONFIG_KIND_OPENAI, 4, NULL, 1, NONE, { { "/v1/models", 200, OWNED("vllm") } } },
    { "says LM Studio but does not greet", CONFIG_KIND_OPENAI, 4, NULL, 1, NONE,
      { { "/v1/models", 200, OWNED("organization_owner") } } },
    { "only the tags of an Ollama", FP_UNKNOWN, 12, NULL, 1, NONE, { { "/api/tags", 200, "{\"models\":[]}" } } },
};

static struct page page_of(const struct server *s, const char *path) {
    for (size_t i = 0; i < 8 && s->pages[i].path; i++)
        if (strcmp(s->pages[i].path, path) == 0)
            return s->pages[i];
    return s->other;
}

static void take(struct fingerprint *f, enum fp_probe probe, struct page page, const char *header, unsigned minor) {
    size_t n = strlen(page.body);
    char *exact = mem_copy(page.body, n);
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse((struct sv){ exact, n });
    struct probe_reply r = { .status = page.status, .minor = minor, .server = sv_of(header), .body = { exact, n },
                             .json = yyjson_doc_get_root(doc), .connected = true };
    fingerprint_take(f, probe, &r);
    mem_free(exact);
}

static void every_runtime_is_told_by_what_it_says(void **state) {
    for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++) {
        const struct server *s = &servers[i];
        struct fingerprint f;
        int verdict = FP_UNKNOWN, probe;
        unsigned questions = 0;
        fingerprint_init(&f);
        while ((probe = fingerprint_next(&f, &verdict)) != FP_NONE) {
            take(&f, (enum fp_probe)probe, page_of(s, fingerprint_path((enum fp_probe)probe)), s->header, s->minor);
            questions++;
        }
        if (verdict != s->verdict || questions > s->questions)
            fail_msg("%s: verdict %d after %u questions, expected %d after %u at most", s->what, verdict, questions, s->verdict,
                     s->questions);
    }
}

static void every_kind_can_be_found(void **state) {
    for (int kind = CONFIG_KIND_AUTO + 1; kind < CONFIG_KIND_COUNT; kind++) {
        bool found = false;
        for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++)
            found = found || servers[i].verdict == kind || (kind == CONFIG_KIND_DROVER && servers[i].verdict == FP_DROVER);
        if (!found)
            fail_msg("no recording of kind %d", kind);
    }
}

static void no_answer_is_no_evidence(void **state) {
    struct fingerprint f;
    int verdict, probe;
    fingerprint_init(&f);
    for (unsigned n = 0; (probe = fingerprint_next(&f, &verdict)) != FP_NONE; n++) {
        struct probe_reply r = { .status = 0 };
        fingerprint_take(&f, (enum fp_probe)probe, &r);
        assert_true(n < FP_PROBE_COUNT);
    }
    assert_int_equal(verdict, FP_UNKNOWN);
    assert_false(f.any_reply);
}

static void hostile_bodies_do_no_harm(void **state) {
    static const char *const bodies[] = {
        "", "{", "[]", "null", "0", "\"x\"", "{\"data\":null}", "{\"data\":{}}", "{\"data\":[null]}", "{\"data\":[[]]}",
        "{\"data\":[{\"id\":1,\"owned_by\":2,\"created\":\"x\"}]}", "{\"data\":[{\"owned_by\":\"vllm\"}]}", "{\"software\":\"x\"}",
        "{\"software\":{\"name\":[]}}", "{\"lmstudio\":\"true\"}", "{\"name\":1}", "\n\n\n", "vllm:", "{\"version\":null}",
    };
    for (size_t b = 0; b < sizeof bodies / sizeof bodies[0]; b++) {
        for (int status = 200; status <= 500; status += status == 200 ? 1 : 100) {
            struct fingerprint f;
            int verdict, probe;
            fingerprint_init(&f);
            while ((probe = fingerprint_next(&f, &verdict)) != FP_NONE)
                take(&f, (enum fp_probe)probe, (struct page){ "", status, bodies[b] }, "x", 1);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_runtime_is_told_by_what_it_says),
        cmocka_unit_test(every_kind_can_be_found),
        cmocka_unit_test(no_answer_is_no_evidence),
        cmocka_unit_test(hostile_bodies_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
