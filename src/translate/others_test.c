/* LM Studio's own APIs, embeddings, what a slug adds, and runtimes' errors. Case T9: the reference on dialect translation, 12. */
#include "translate/try.h"

#define CHAT "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"
#define DELTA(delta) "data: {\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"
#define FINISH(why) "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" why "\"}]}\n\n"

static void lmstudio_v1_is_served(void **state) {
    (void)state;
    try_is(try_request(LLM_LMSTUDIO1_CHAT, LLM_SPEAKS_CHAT,
                       "{\"model\":\"m\",\"input\":[{\"type\":\"message\",\"content\":\"see\"},{\"type\":\"image\",\"data_url\":\"data:image/png;base64,iVBORw0KGgo=\"}],"
                       "\"system_prompt\":\"S\",\"reasoning\":\"off\",\"max_output_tokens\":4,\"store\":true,\"context_length\":100}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"see\"},"
           "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo=\"}}]}],\"max_tokens\":4,\"reasoning_effort\":\"none\","
           "\"stream\":false}\ndegraded: context_length");
    try_is(try_request(LLM_LMSTUDIO1_CHAT, LLM_SPEAKS_OLLAMA, "{\"input\":\"x\",\"context_length\":100}"), /* Ollama can be told */
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"options\":{\"num_ctx\":100},\"stream\":false}");
    try_is(try_request(LLM_LMSTUDIO1_CHAT, LLM_SPEAKS_CHAT, "{\"input\":\"x\",\"previous_response_id\":\"r\"}"),
           "! unsupported_parameter: \"previous_response_id\" needs LM Studio itself, which does not serve this model");
    try_is(try_stream(LLM_LMSTUDIO1_CHAT, LLM_SPEAKS_CHAT, "{\"input\":\"x\"}",
                      DELTA("{\"reasoning\":\"t\"}") DELTA("{\"content\":\"a\"}")
                      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}\n\n"),
           "event: chat.start\ndata: {\"type\":\"chat.start\",\"model_instance_id\":\"shown-model\"}\n\n"
           "event: reasoning.start\ndata: {\"type\":\"reasoning.start\"}\n\nevent: reasoning.delta\ndata: {\"type\":\"reasoning.delta\",\"content\":\"t\"}\n\n"
           "event: reasoning.end\ndata: {\"type\":\"reasoning.end\"}\n\nevent: message.start\ndata: {\"type\":\"message.start\"}\n\n"
           "event: message.delta\ndata: {\"type\":\"message.delta\",\"content\":\"a\"}\n\nevent: message.end\ndata: {\"type\":\"message.end\"}\n\n"
           "event: chat.end\ndata: {\"type\":\"chat.end\",\"result\":{\"model_instance_id\":\"shown-model\",\"output\":[{\"type\":\"reasoning\",\"content\":\"t\"},"
           "{\"type\":\"message\",\"content\":\"a\"}],\"stats\":{\"input_tokens\":2,\"total_output_tokens\":3,\"reasoning_output_tokens\":0,"
           "\"tokens_per_second\":1500.000,\"time_to_first_token_seconds\":0.001}}}\n\n");
}

static void lmstudio_v0_adds_its_figures(void **state) {
    (void)state;
    char *got = try_stream(LLM_LMSTUDIO0_CHAT, LLM_SPEAKS_CHAT, CHAT, DELTA("{\"content\":\"a\"}") FINISH("length"));
    assert_non_null(strstr(got, "\"choices\":[],\"stats\":{\"tokens_per_second\":1000.000,\"time_to_first_token\":0.001,\"generation_time\":0.001,"
                                "\"stop_reason\":\"maxPredictedTokensReached\"}}\n\ndata: [DONE]\n\n"));
    free(got);
    try_holds(try_reply(LLM_LMSTUDIO0_COMPLETIONS, LLM_SPEAKS_COMPLETIONS, "{\"prompt\":\"x\"}", "{\"choices\":[{\"text\":\"a\",\"finish_reason\":\"stop\"}]}"),
              "\"stats\":{");
    try_holds(try_request(LLM_CHAT, LLM_SPEAKS_LMSTUDIO0, CHAT), "{\"model\":\"native-model\"");
}

static void vectors_go_both_ways(void **state) {
    (void)state;
    try_is(try_request(LLM_EMBEDDINGS, LLM_SPEAKS_OLLAMA, "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\",\"user\":\"u\"}"),
           "{\"model\":\"native-model\",\"input\":[\"a\",\"b\"],\"truncate\":false}\ndegraded: user");
    try_is(try_request(LLM_EMBEDDINGS, LLM_SPEAKS_OLLAMA, "{\"input\":[1,2]}"),
           "! unsupported_parameter: \"input\" must be text: token ids mean nothing to this model's runtime");
    try_is(try_request(LLM_OLLAMA_EMBEDDINGS, LLM_SPEAKS_EMBEDDINGS, "{\"prompt\":\"a\"}"),
           "{\"model\":\"native-model\",\"input\":\"a\",\"encoding_format\":\"float\"}");
    try_is(try_reply(LLM_EMBEDDINGS, LLM_SPEAKS_OLLAMA, "{\"input\":\"a\",\"encoding_format\":\"base64\"}",
                     "{\"embeddings\":[[1.0,-2.5]],\"prompt_eval_count\":3}"),
           "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":\"AACAPwAAIMA=\"}],\"model\":\"shown-model\",\"usage\":"
           "{\"prompt_tokens\":3,\"total_tokens\":3}}");
    try_is(try_reply(LLM_OLLAMA_EMBED, LLM_SPEAKS_EMBEDDINGS, "{\"input\":[\"a\",\"b\"]}",
                     "{\"data\":[{\"embedding\":[0.10000000149,1e-7]},{\"embedding\":\"AACAPwAAIMA=\"}],\"usage\":{\"prompt_tokens\":4}}"),
           "{\"model\":\"shown-model\",\"embeddings\":[[0.10000000149,1e-7],[1,-2.5]],\"total_duration\":1000000000,\"prompt_eval_count\":4}");
    try_is(try_reply(LLM_OLLAMA_EMBEDDINGS, LLM_SPEAKS_EMBEDDINGS, "{\"prompt\":\"a\"}", "{\"data\":[{\"embedding\":[1,2]}]}"), "{\"embedding\":[1,2]}");
    try_is(try_reply(LLM_EMBEDDINGS, LLM_SPEAKS_OLLAMA, "{\"input\":\"a\"}", "{}"), "! upstream_bad_reply: the runtime's reply has no \"embeddings\"");
    TRY_WITHOUT_MEMORY(try_reply(LLM_EMBEDDINGS, LLM_SPEAKS_OLLAMA, "{\"input\":\"a\",\"encoding_format\":\"base64\"}", "{\"embeddings\":[[1.0,-2.5]]}"));
}

static void a_slug_may_add_its_own(void **state) {
    (void)state;
    struct translate_spec spec = try_spec(LLM_CHAT, LLM_SPEAKS_CHAT, "{\"messages\":[{\"role\":\"system\",\"content\":\"B\"},{\"role\":\"user\",\"content\":\"x\"}],\"top_p\":1}");
    spec.system = SV("A");
    spec.defaults = SV("{\"temperature\":0.5,\"top_p\":0.1}");
    spec.forced = SV("{\"seed\":7,\"mirostat\":2}");
    try_is(try_request_spec(&spec),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"system\",\"content\":\"A\\n\\nB\"},{\"role\":\"user\",\"content\":\"x\"}],\"temperature\":0.5,"
           "\"top_p\":1,\"seed\":7,\"stream\":false,\"mirostat\":2}");
    TRY_WITHOUT_MEMORY(try_request_spec(&spec));
}

static void reasoning_is_shown_as_the_slug_wants(void **state) {
    static const struct {
        enum translate_reasoning how;
        const char *holds, *lacks;
    } rows[] = {
        { TRANSLATE_REASONING_SPLIT, "{\"reasoning_content\":\"t\"}", "think>" },
        { TRANSLATE_REASONING_SHOW, "{\"content\":\"<think>\"}", "reasoning_content" },
        { TRANSLATE_REASONING_STRIP, "{\"content\":\"a\"}", "\"t\"" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct translate_spec spec = try_spec(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT);
        spec.stream = true;
        spec.reasoning = rows[i].how;
        char *got = try_stream_spec(&spec, DELTA("{\"reasoning\":\"t\"}") DELTA("{\"content\":\"a\"}") FINISH("stop"));
        assert_non_null(strstr(got, rows[i].holds));
        assert_null(strstr(got, rows[i].lacks));
        free(got);
    }
    struct translate_spec spec = try_spec(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT);
    spec.stream = true;
    try_holds(try_stream_spec(&spec, DELTA("{\"content\":\"<thi\"}") DELTA("{\"content\":\"nk>t</think>a\"}") FINISH("stop")),
              "{\"reasoning_content\":\"t\"}");
}

static void a_strict_slug_refuses_losses(void **state) {
    (void)state;
    struct translate_spec spec = try_spec(LLM_CHAT, LLM_SPEAKS_ANTHROPIC, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"seed\":1,\"user\":\"u\"}");
    spec.strict = true;
    try_is(try_request_spec(&spec),
           "! unsupported_parameter: seed cannot be carried over to the API of the model's runtime, and this model is strict");
}

static void runtimes_errors_are_understood(void **state) {
    static const struct {
        int status;
        const char *body, *fault;
    } rows[] = {
        { 400, "{\"error\":{\"message\":\"the request exceeds the available context size\",\"type\":\"exceed_context_size_error\"}}",
          "! context_overflow: prompt is too long: the request exceeds the available context size" },
        { 404, "{\"error\":\"model 'x' not found\"}", "! model_not_found: model 'x' not found" },
        { 503, "{\"error\":{\"message\":\"Loading model\"}}", "! unavailable: Loading model" },
        { 500, "{\"error\":\"CUDA error: out of memory\"}", "! unavailable: CUDA error: out of memory" },
        { 401, "{\"error\":\"Unauthorized\"}", "! upstream_bad_reply: the runtime refused Drover's own key (401)" },
        { 400, "{\"detail\":[{\"loc\":[1],\"msg\":\"field required\"}]}", "! bad_request: field required" },
        { 422, "Unprocessable: see /home/me/models/x.gguf at http://10.0.0.1/", "! bad_request: Unprocessable: see ... at ..." },
        { 500, "", "! upstream_bad_reply: the runtime answered 500" },
        { 400, "{\"error\":{\"message\":\"\\\"m\\\" does not support tools\"}}", "! unsupported_parameter: \"m\" does not support tools" },
        { 429, "{\"message\":\"slow down\"}", "! rate_limited: slow down" },
        { 529, "{\"error\":{\"message\":\"Overloaded\"}}", "! unavailable: Overloaded" },
        { 400, "{\"error\":\"model 'x' was not found\"}", "! model_not_found: model 'x' was not found" },
        { 500, "{\"error\":\"open\\n'/home/me/x.gguf' file=/a/b (C:\\\\m\\\\x) of org/model\"}", "! upstream_bad_reply: open ... ... ... of org/model" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err e;
        translate_fault(rows[i].status, sv_of(rows[i].body), &e);
        try_is(try_fault(&e), rows[i].fault);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lmstudio_v1_is_served),
        cmocka_unit_test(lmstudio_v0_adds_its_figures),
        cmocka_unit_test(vectors_go_both_ways),
        cmocka_unit_test(a_slug_may_add_its_own),
        cmocka_unit_test(reasoning_is_shown_as_the_slug_wants),
        cmocka_unit_test(a_strict_slug_refuses_losses),
        cmocka_unit_test(runtimes_errors_are_understood),
    };
    return cmocka_run_group_tests_name("translate/others", tests, NULL, NULL);
}
