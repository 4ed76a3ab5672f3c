/* Ollama's chat and generate to chat completions and back. Case T3: the reference on dialect translation, 12. */
#include "translate/try.h"

static void chat_goes_over_to_openai(void **state) {
    (void)state;
    try_is(try_request(LLM_OLLAMA_CHAT, LLM_SPEAKS_CHAT,
                       "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"see\",\"images\":[\"iVBORw0KGgo=\"]},"
                       "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"t\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"q\":\"\xc3\xbc\"}}}]},"
                       "{\"role\":\"tool\",\"tool_name\":\"f\",\"content\":\"r\"}],\"format\":\"json\",\"think\":false,\"keep_alive\":\"5m\",\"options\":"
                       "{\"temperature\":0.2,\"num_predict\":-1,\"num_ctx\":8192,\"num_gpu\":9,\"repeat_penalty\":1.1,\"stop\":[\"a\",\"\"],\"mystery\":1}}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"see\"},"
           "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo=\"}}]},{\"role\":\"assistant\",\"content\":null,"
           "\"reasoning_content\":\"t\",\"tool_calls\":[{\"id\":\"call_id24\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
           "\"{\\\"q\\\":\\\"\xc3\xbc\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"call_id24\",\"content\":\"r\"}],\"temperature\":0.2,"
           "\"repeat_penalty\":1.1,\"stop\":[\"a\"],\"response_format\":{\"type\":\"json_object\"},\"reasoning_effort\":\"none\",\"stream\":false}"
           "\ndegraded: options.stop, keep_alive, options.num_ctx, options.num_gpu, options.mystery");
}

static void chat_comes_from_openai(void **state) {
    (void)state;
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_OLLAMA,
                       "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":\"data:image/png;"
                       "base64,iVBORw0KGgo=\"}]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\","
                       "\"arguments\":\"{\\\"b\\\":1,\\\"a\\\":2}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"r\"}],\"tools\":[{\"type\":"
                       "\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"required\",\"parallel_tool_calls\":false,\"max_tokens\":5,"
                       "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\"}}},"
                       "\"reasoning_effort\":\"minimal\",\"top_p\":0.9}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"system\",\"content\":\"Answer with a call of one of the tools.\"},{\"role\":\"user\","
           "\"content\":\"a\",\"images\":[\"iVBORw0KGgo=\"]},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":"
           "\"f\",\"arguments\":{\"b\":1,\"a\":2}}}]},{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"c\",\"tool_name\":\"f\"}],\"tools\":[{\"type\":"
           "\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],\"format\":{\"type\":\"object\"},"
           "\"think\":\"low\",\"options\":{\"top_p\":0.9,\"num_predict\":5},\"stream\":false}\ndegraded: tool_choice, parallel_tool_calls");
}

static void another_ollama_loses_nothing(void **state) {
    (void)state;
    try_is(try_request(LLM_OLLAMA_CHAT, LLM_SPEAKS_OLLAMA,
                       "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"keep_alive\":-1,\"options\":{\"num_ctx\":4096,\"num_gpu\":1},\"new\":true}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"keep_alive\":-1,\"options\":{\"num_ctx\":4096,\"num_gpu\":1},"
           "\"stream\":false,\"new\":true}");
}

static void generate_is_a_chat_or_a_bare_prompt(void **state) {
    (void)state;
    try_is(try_request(LLM_OLLAMA_GENERATE, LLM_SPEAKS_CHAT, "{\"prompt\":\"hi\",\"system\":\"S\"}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":false}");
    try_is(try_request(LLM_OLLAMA_GENERATE, LLM_SPEAKS_CHAT | LLM_SPEAKS_COMPLETIONS, "{\"prompt\":\"hi\",\"raw\":true}"),
           "{\"model\":\"native-model\",\"prompt\":\"hi\",\"stream\":false}");
    try_is(try_request(LLM_OLLAMA_GENERATE, LLM_SPEAKS_COMPLETIONS, "{\"prompt\":\"a\",\"suffix\":\"z\"}"),
           "{\"model\":\"native-model\",\"prompt\":\"a\",\"suffix\":\"z\",\"stream\":false}");
    try_is(try_request(LLM_COMPLETIONS, LLM_SPEAKS_OLLAMA, "{\"prompt\":\"a\",\"max_tokens\":3}"),
           "{\"model\":\"native-model\",\"prompt\":\"a\",\"raw\":true,\"options\":{\"num_predict\":3},\"stream\":false}");
}

static void bad_members_are_refused_by_path(void **state) {
    (void)state;
    static const struct {
        const char *body, *fault;
    } rows[] = {
        { "{}", "! bad_request: \"messages\" is missing" },
        { "{\"messages\":[]}", "! unsupported_parameter: \"messages\" is empty, which loads or unloads the model; this model's runtime has no such call" },
        { "{\"messages\":[{\"role\":\"x\"}]}", "! bad_request: messages[0].role is \"x\"; it must be system, user, assistant or tool" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", "! bad_request: messages[0].content must be a string" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"\",\"images\":[\"AAAA\"]}]}",
          "! bad_request: messages[0].images[0] is not a PNG, JPEG, GIF or WebP image in base64" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"options\":{\"temperature\":\"x\"}}",
          "! bad_request: \"options.temperature\" must be a number, not a string" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"stream\":1}", "! bad_request: \"stream\" must be true or false, not a number" },
        { "{\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":7}]}", "! bad_request: messages[0].tool_calls must be an array" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":7}}]}",
          "! bad_request: tools[0].function.parameters must be an object" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"format\":\"xml\"}", "! bad_request: \"format\" must be \"json\" or a JSON schema" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"think\":\"hard\"}",
          "! bad_request: \"think\" must be true, false, \"low\", \"medium\", \"high\" or \"max\"" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        try_is(try_request(LLM_OLLAMA_CHAT, LLM_SPEAKS_CHAT, rows[i].body), rows[i].fault);
    try_is(try_request(LLM_OLLAMA_GENERATE, LLM_SPEAKS_CHAT, "{\"prompt\":\"x\",\"template\":\"t\"}"),
           "! unsupported_parameter: \"template\" is not available on this model's runtime");
    try_is(try_request(LLM_OLLAMA_GENERATE, LLM_SPEAKS_CHAT, "{\"prompt\":\"x\",\"system\":7}"), "! bad_request: \"system\" must be a string");
    try_is(try_request(LLM_OLLAMA_GENERATE, LLM_SPEAKS_CHAT, "{\"prompt\":\"x\",\"raw\":1}"), "! bad_request: \"raw\" must be true or false");
}

#define LINE(rest) "{\"model\":\"native-model\",\"created_at\":\"x\"," rest "}\n"
#define DELTA(delta) "data: {\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"

static void a_stream_of_lines_is_read(void **state) {
    (void)state;
    char *got = try_stream(LLM_CHAT, LLM_SPEAKS_OLLAMA, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream_options\":{\"include_usage\":true}}",
                           LINE("\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"t\"},\"done\":false")
                           LINE("\"message\":{\"content\":\"x\"},\"done\":false")
                           LINE("\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"q\":\"\xc3\xbc\",\"n\":1.50}}}]},\"done\":false")
                           LINE("\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":5,\"eval_count\":3"));
    static const char *const parts[] = {
        "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}", "\"delta\":{\"reasoning_content\":\"t\"}", "\"delta\":{\"content\":\"x\"}",
        "{\"index\":0,\"id\":\"call_id24\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}",
        "\"arguments\":\"{\\\"q\\\":\\\"\xc3\xbc\\\",\\\"n\\\":1.5}\"", "\"finish_reason\":\"tool_calls\"",
        "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,\"total_tokens\":8}", "data: [DONE]" };
    const char *at = got;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *found = strstr(at, parts[i]);
        if (!found)
            print_error("missing: %s\n%s", parts[i], got);
        assert_non_null(found);
        at = found;
    }
    free(got);
    try_is(try_stream(LLM_CHAT, LLM_SPEAKS_OLLAMA, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "{\"error\":\"model 'x' not found\"}\n"),
           "! model_not_found: model 'x' not found");
    try_holds(try_stream(LLM_CHAT, LLM_SPEAKS_OLLAMA, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", LINE("\"message\":{\"content\":\"x\"}")),
              "\"message\":\"the runtime ended its answer without saying why\"");
}


static void a_stream_of_lines_is_printed(void **state) {
    (void)state;
    try_is(try_stream(LLM_OLLAMA_CHAT, LLM_SPEAKS_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                      DELTA("{\"reasoning\":\"t\"}") DELTA("{\"content\":\"a\"}")
                      DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\"}}]}")
                      DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}")
                      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}\n\n"),
           "{\"model\":\"shown-model\",\"created_at\":\"2026-09-21T14:13:20.001000Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"t\"},\"done\":false}\n"
           "{\"model\":\"shown-model\",\"created_at\":\"2026-09-21T14:13:20.002000Z\",\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"done\":false}\n"
           "{\"model\":\"shown-model\",\"created_at\":\"2026-09-21T14:13:20.005000Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c\","
           "\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{\"x\":1}}}]},\"done\":false}\n"
           "{\"model\":\"shown-model\",\"created_at\":\"2026-09-21T14:13:20.005000Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,"
           "\"done_reason\":\"stop\",\"total_duration\":5000000,\"load_duration\":0,\"prompt_eval_count\":2,\"prompt_eval_duration\":1000000,"
           "\"eval_count\":3,\"eval_duration\":4000000}\n");
    try_holds(try_stream(LLM_OLLAMA_GENERATE, LLM_SPEAKS_CHAT, "{\"prompt\":\"x\"}", DELTA("{\"content\":\"a\"}")),
              "\"response\":\"a\",\"done\":false}\n{\"error\":\"the runtime ended its answer without saying why\"}\n");
}

static void whole_replies(void **state) {
    (void)state;
    try_holds(try_reply(LLM_OLLAMA_CHAT, LLM_SPEAKS_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                        "{\"choices\":[{\"message\":{\"content\":\"a\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"oops\"}}]},"
                        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}"),
              "\"message\":{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":"
              "{\"__invalid_json\":\"oops\"}}}]},\"done\":true,\"done_reason\":\"stop\"");
    try_holds(try_reply(LLM_MESSAGES, LLM_SPEAKS_OLLAMA, "{\"max_tokens\":4,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                        "{\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"done\":true,\"done_reason\":\"length\",\"prompt_eval_count\":4,\"eval_count\":2}"),
              "\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"max_tokens\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":4");
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    const char *ask = "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"x\",\"images\":[\"/9j/\"]}],\"options\":{\"seed\":1,\"x\":2}}";
    TRY_WITHOUT_MEMORY(try_stream(LLM_OLLAMA_CHAT, LLM_SPEAKS_CHAT, ask,
                                  DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}")
                                  "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"));
    TRY_WITHOUT_MEMORY(try_request(LLM_OLLAMA_CHAT, LLM_SPEAKS_OLLAMA, ask));
}

static void what_has_no_place_is_put_into_words(void **state) {
    char body[4096], said[1600];
    (void)state;
    /* a failed tool says so, whole */
    memset(said, 'x', sizeof said - 1);
    said[sizeof said - 1] = '\0';
    snprintf(body, sizeof body, "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\","
             "\"id\":\"c\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c\",\"is_error\":true,"
             "\"content\":[{\"type\":\"text\",\"text\":\"no %.900s\"}]}]}]}", said);
    char *got = try_request(LLM_MESSAGES, LLM_SPEAKS_OLLAMA, body);
    assert_non_null(strstr(got, "\"content\":\"Error: no xxx"));
    assert_non_null(strstr(got, "xxx\",\"tool_call_id\":\"c\",\"tool_name\":\"f\"}]"));
    assert_true(strlen(got) > 1000);
    free(got);
    /* pictures keep their place among the texts; so does what the system says later */
    try_holds(try_request(LLM_CHAT, LLM_SPEAKS_OLLAMA,
                          "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":"
                          "\"data:image/png;base64,iVBORw0KGgo=\"},{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"image_url\",\"image_url\":"
                          "\"data:image/gif;base64,R0lGODlh\"}]},{\"role\":\"system\",\"content\":\"S\"}]}"),
              "\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"images\":[\"iVBORw0KGgo=\"]},{\"role\":\"user\",\"content\":\"b\",\"images\":"
              "[\"R0lGODlh\"]},{\"role\":\"user\",\"content\":\"<system>S</system>\"}]");
    try_holds(try_request(LLM_MESSAGES, LLM_SPEAKS_OLLAMA,
                          "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"output_config\":{\"effort\":\"low\"}}"),
              "\"think\":\"low\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_goes_over_to_openai),
        cmocka_unit_test(chat_comes_from_openai),
        cmocka_unit_test(another_ollama_loses_nothing),
        cmocka_unit_test(generate_is_a_chat_or_a_bare_prompt),
        cmocka_unit_test(bad_members_are_refused_by_path),
        cmocka_unit_test(a_stream_of_lines_is_read),
        cmocka_unit_test(a_stream_of_lines_is_printed),
        cmocka_unit_test(whole_replies),
        cmocka_unit_test(what_has_no_place_is_put_into_words),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests_name("translate/ollama", tests, NULL, NULL);
}
