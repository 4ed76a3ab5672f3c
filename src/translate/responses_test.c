/* OpenAI Responses to chat completions and back. Cases T4, T7, T8: the reference on dialect translation, 12. */
#include "translate/try.h"

#define ASK(members) "{\"model\":\"m\",\"input\":\"hi\"" members "}"

static void items_become_turns(void **state) {
    (void)state;
    try_is(try_request(LLM_RESPONSES, LLM_SPEAKS_CHAT,
                       "{\"instructions\":\"S\",\"input\":[{\"role\":\"user\",\"content\":\"q\"},{\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[],\"content\":"
                       "[{\"type\":\"reasoning_text\",\"text\":\"r1\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},"
                       "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"f\",\"arguments\":\"\"},{\"type\":\"function_call_output\",\"call_id\":\"c1\","
                       "\"output\":\"o1\"},{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":[{\"type\":\"input_text\",\"text\":\"o2\"}]}],"
                       "\"max_output_tokens\":5,\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":"
                       "\"n\",\"schema\":{\"type\":\"object\"},\"strict\":true}},\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":"
                       "\"object\"},\"strict\":true}],\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"store\":true,\"service_tier\":\"auto\"}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
           "\"content\":null,\"reasoning_content\":\"r1\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
           "\"{}\"}},{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\","
           "\"content\":\"o1\"},{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"o2\"}],\"max_tokens\":5,\"tools\":[{\"type\":\"function\",\"function\":"
           "{\"name\":\"f\",\"parameters\":{\"type\":\"object\"},\"strict\":true}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
           "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\"},\"strict\":true}},"
           "\"reasoning_effort\":\"low\",\"stream\":false}\ndegraded: service_tier");
    try_holds(try_request(LLM_RESPONSES, LLM_SPEAKS_CHAT,
                          "{\"input\":[{\"role\":\"user\",\"content\":\"q\"},{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
                          "\"text\":\"done\"}]},{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"see\"},{\"type\":\"input_image\",\"image_url\":"
                          "\"data:image/gif;base64,R0lGODlh\"}]}]}"),
              "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"done\"},{\"role\":\"user\",\"content\":[{\"type\":"
              "\"text\",\"text\":\"see\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/gif;base64,R0lGODlh\"}}]}]");
}

static void chat_goes_over_to_responses(void **state) {
    (void)state;
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_RESPONSES,
                       "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\","
                       "\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\","
                       "\"content\":\"r\"}],\"max_tokens\":4,\"seed\":1}"),
           "{\"model\":\"native-model\",\"instructions\":\"S\",\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
           "\"text\":\"q\"}]},{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\"}]},{\"type\":"
           "\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":"
           "[{\"type\":\"input_text\",\"text\":\"r\"}]}],\"max_output_tokens\":4,\"store\":false,\"stream\":false}\ndegraded: seed");
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_RESPONSES, "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"stop\":\"x\"}"),
           "! unsupported_parameter: stop sequences cannot be translated for this model's runtime");
}

static void bad_members_are_refused_by_path(void **state) {
    (void)state;
    static const struct {
        const char *body, *fault;
    } rows[] = {
        { "{}", "! bad_request: \"input\" is missing" },
        { "{\"input\":7}", "! bad_request: \"input\" must be a string or an array of items" },
        { "{\"input\":[7]}", "! bad_request: input[0] must be an object" },
        { "{\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}",
          "! unsupported_parameter: input[0] refers to an item stored elsewhere; send the item itself" },
        { "{\"input\":[{\"type\":\"compaction\"}]}", "! unsupported_parameter: input[0].type \"compaction\" is not available on this model's runtime" },
        { ASK(",\"previous_response_id\":\"resp_1\""),
          "! unsupported_parameter: \"previous_response_id\" needs responses that are stored, which this model's runtime does not do; send the whole "
          "conversation in \"input\"" },
        { ASK(",\"background\":true"), "! unsupported_parameter: \"background\" is not available on this model's runtime" },
        { ASK(",\"tools\":[{\"type\":\"web_search\"}]"), "! unsupported_parameter: tools[0].type \"web_search\" is not available on this model's runtime" },
        { ASK(",\"text\":{\"format\":{\"type\":\"xml\"}}"), "! bad_request: text.format.type is \"xml\"; it must be text, json_object or json_schema" },
        { ASK(",\"instructions\":[]"), "! bad_request: \"instructions\" must be a string" },
        { ASK(",\"text\":7"), "! bad_request: \"text\" must be an object" },
        { ASK(",\"reasoning\":7"), "! bad_request: \"reasoning\" must be an object" },
        { ASK(",\"reasoning\":{\"effort\":7}"), "! bad_request: reasoning.effort must be none, minimal, low, medium, high, xhigh or max" },
        { ASK(",\"include\":7"), "! bad_request: \"include\" must be an array" },
        { ASK(",\"background\":\"x\""), "! bad_request: \"background\" must be true or false" },
        { ASK(",\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":7}]"), "! bad_request: tools[0].parameters must be an object" },
        { "{\"input\":[]}", "! bad_request: \"input\" holds nothing to answer" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        try_is(try_request(LLM_RESPONSES, LLM_SPEAKS_CHAT, rows[i].body), rows[i].fault);
}

#define DELTA(delta) "data: {\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"
#define FINISH(why) "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" why "\"}]}\n\n"

/* The events' types in order, and that the numbers count up by one. */
static void check_order(const char *stream, const char *const *types) {
    unsigned seq = 0;
    for (const char *at = stream; *types; types++, seq++) {
        char expected[160];
        snprintf(expected, sizeof expected, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%u,", *types, *types, seq);
        const char *next = strstr(at, "event: ");
        if (!next || strncmp(next, expected, strlen(expected)) != 0)
            print_error("expected %s at %.200s\n", expected, next ? next : "the end");
        assert_non_null(next);
        assert_int_equal(strncmp(next, expected, strlen(expected)), 0);
        at = next + 7;
        if (!types[1])
            assert_null(strstr(at, "event: "));
    }
}

static void items_live_from_added_to_done(void **state) {
    static const char *const types[] = {
        "response.created", "response.in_progress",
        "response.output_item.added", "response.content_part.added", "response.reasoning_text.delta", "response.reasoning_text.done",
        "response.content_part.done", "response.output_item.done",
        "response.output_item.added", "response.content_part.added", "response.output_text.delta", "response.output_text.delta",
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.output_item.added", "response.function_call_arguments.delta",
        "response.output_item.added", "response.function_call_arguments.delta", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.output_item.done",
        "response.function_call_arguments.done", "response.output_item.done",
        "response.completed", NULL };
    (void)state;
    char *got = try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, ASK(",\"stream\":true,\"temperature\":0.5"),
                           DELTA("{\"role\":\"assistant\",\"content\":\"\"}") DELTA("{\"reasoning\":\"t\"}") DELTA("{\"content\":\"a\"}") DELTA("{\"content\":\"b\"}")
                           DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}")
                           DELTA("{\"tool_calls\":[{\"index\":1,\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}")
                           DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}") FINISH("tool_calls")
                           "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n");
    check_order(got, types);
    static const char *const parts[] = {
        "\"output_index\":1,\"content_index\":0,\"delta\":\"b\",\"logprobs\":[]}",
        "\"item\":{\"id\":\"fc_id24\",\"type\":\"function_call\",\"status\":\"in_progress\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"\"}",
        "\"status\":\"completed\",\"error\":null,\"incomplete_details\":null,\"model\":\"shown-model\",\"output\":[{\"id\":\"rs_id24\",\"type\":\"reasoning\","
        "\"status\":\"completed\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"t\"}]},{\"id\":\"msg_id24\",\"type\":\"message\",\"role\":"
        "\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"ab\",\"annotations\":[],\"logprobs\":[]}]},{\"id\":\"fc_id24\","
        "\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},{\"id\":\"fc_id24\",\"type\":"
        "\"function_call\",\"status\":\"completed\",\"call_id\":\"c2\",\"name\":\"g\",\"arguments\":\"{}\"}],\"instructions\":null",
        "\"temperature\":0.5", "\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":0,\"cache_write_tokens\":0},\"output_tokens\":7," };
    const char *at = got;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *found = strstr(at, parts[i]);
        if (!found)
            print_error("missing: %s\n%s", parts[i], at);
        assert_non_null(found);
        at = found;
    }
    free(got);
}

static void a_broken_stream_fails_with_what_there_is(void **state) {
    (void)state;
    try_holds(try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, ASK(",\"stream\":true"), DELTA("{\"content\":\"abc\"}")),
              "\"status\":\"failed\",\"error\":{\"code\":\"upstream_bad_reply\",\"message\":\"the runtime ended its answer without saying why\"},"
              "\"incomplete_details\":null,\"model\":\"shown-model\",\"output\":[{\"id\":\"msg_id24\",\"type\":\"message\",\"role\":\"assistant\",\"status\":"
              "\"incomplete\",\"content\":[{\"type\":\"output_text\",\"text\":\"abc\"");
    try_holds(try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, ASK(",\"stream\":true"), DELTA("{\"content\":\"abc\"}") FINISH("length")),
              "\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{\"reason\":\"max_output_tokens\"}");
}

#define PATCH ASK(",\"stream\":true,\"tools\":[{\"type\":\"custom\",\"name\":\"apply_patch\"},{\"type\":\"namespace\",\"name\":\"n\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}]")

static void custom_tools_and_namespaces(void **state) {
    (void)state;
    try_holds(try_request(LLM_RESPONSES, LLM_SPEAKS_CHAT, PATCH),
              "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"apply_patch\",\"parameters\":{\"type\":\"object\",\"properties\":{\"input\":{\"type\":"
              "\"string\"}},\"required\":[\"input\"]}}},{\"type\":\"function\",\"function\":{\"name\":\"n__f\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]");
    char *got = try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, PATCH,
                           DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"apply_patch\",\"arguments\":\"{\\\"input\\\":\\\"*** Be\"}}]}")
                           DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"gin\\\\n\\\"}\"}}]}")
                           DELTA("{\"tool_calls\":[{\"index\":1,\"id\":\"d\",\"function\":{\"name\":\"N-_f\",\"arguments\":\"\"}}]}") FINISH("tool_calls"));
    assert_non_null(strstr(got, "\"type\":\"response.custom_tool_call_input.delta\",\"sequence_number\":4,\"item_id\":\"ctc_id24\",\"output_index\":0,"
                                "\"delta\":\"*** Begin\\n\"}"));
    assert_non_null(strstr(got, "\"type\":\"custom_tool_call\",\"status\":\"completed\",\"call_id\":\"c\",\"name\":\"apply_patch\",\"input\":\"*** Begin\\n\"}"));
    assert_non_null(strstr(got, "\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":\"d\",\"namespace\":\"n\",\"name\":\"f\",\"arguments\":\"{}\"}"));
    free(got);
}

static void reasoning_travels_sealed(void **state) {
    (void)state;
    char *got = try_reply(LLM_RESPONSES, LLM_SPEAKS_CHAT, ASK(",\"include\":[\"reasoning.encrypted_content\"],\"reasoning\":{\"summary\":\"auto\"}"),
                          "{\"choices\":[{\"message\":{\"reasoning\":\"because\",\"content\":\"x\"},\"finish_reason\":\"stop\"}]}");
    const char *seal = strstr(got, "\"encrypted_content\":\"drover1.");
    assert_non_null(strstr(got, "\"summary\":[{\"type\":\"summary_text\",\"text\":\"because\"}]"));
    assert_non_null(seal);
    char sealed[64] = { 0 }, body[512];
    sscanf(seal, "\"encrypted_content\":\"%63[^\"]", sealed);
    free(got);
    snprintf(body, sizeof body, "{\"input\":[{\"role\":\"user\",\"content\":\"q\"},{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"%s\"},"
             "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}]}", sealed);
    try_holds(try_request(LLM_RESPONSES, LLM_SPEAKS_CHAT, body), "\"reasoning_content\":\"because\"");
}

static void a_runtimes_responses_are_read(void **state) {
    (void)state;
    const char *ask = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream_options\":{\"include_usage\":true}}";
    char *got = try_stream(LLM_CHAT, LLM_SPEAKS_RESPONSES, ask,
                           "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{}}\n\n"
                           "event: response.reasoning_text.delta\ndata: {\"type\":\"response.reasoning_text.delta\",\"delta\":\"t\"}\n\n"
                           "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n"
                           "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\",\"id\":\"fc\",\"call_id\":\"c\",\"name\":\"f\"}}\n\n"
                           "event: x\ndata: {\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"fc\",\"delta\":\"{}\"}\n\n"
                           "event: x\ndata: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\",\"id\":\"fc\",\"arguments\":\"{}\"}}\n\n"
                           "event: x\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{\"input_tokens\":4,\"output_tokens\":5,"
                           "\"output_tokens_details\":{\"reasoning_tokens\":2}}}}\n\n");
    static const char *const parts[] = { "{\"reasoning_content\":\"t\"}", "{\"content\":\"a\"}", "\"id\":\"c\",\"type\":\"function\"", "\"arguments\":\"{}\"",
                                         "\"finish_reason\":\"tool_calls\"", "\"completion_tokens_details\":{\"reasoning_tokens\":2}", "[DONE]" };
    const char *at = got;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        at = strstr(at, parts[i]);
        if (!at)
            print_error("missing: %s\n%s", parts[i], got);
        assert_non_null(at);
    }
    free(got);
    try_holds(try_reply(LLM_MESSAGES, LLM_SPEAKS_RESPONSES, "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                        "{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"output\":[{\"type\":\"message\",\"content\":[{\"type\":"
                        "\"output_text\",\"text\":\"hi\"}]}],\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}"),
              "\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"max_tokens\"");
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    TRY_WITHOUT_MEMORY(try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, PATCH,
                                  DELTA("{\"reasoning\":\"t\"}") DELTA("{\"content\":\"t\"}")
                                  DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"apply_patch\",\"arguments\":\"{\\\"input\\\":1}\"}}]}") FINISH("stop")));
    TRY_WITHOUT_MEMORY(try_request(LLM_RESPONSES, LLM_SPEAKS_RESPONSES, PATCH));
}

static void history_fits_the_tools_that_are_shown(void **state) {
    (void)state;
    /* custom tools are shown as functions, so their calls are calls of functions; a failed one says so */
    try_holds(try_request(LLM_RESPONSES, LLM_SPEAKS_RESPONSES,
                          "{\"input\":[{\"role\":\"user\",\"content\":\"q\"},{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"p\",\"input\":\"*\\n\"},{"
                          "\"type\":\"custom_tool_call_output\",\"call_id\":\"c\",\"output\":\"ok\"}]}"),
              "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"p\",\"arguments\":\"{\\\"input\\\":\\\"*\\\\n\\\"}\"},{\"type\":"
              "\"function_call_output\",\"call_id\":\"c\",");
    try_holds(try_request(LLM_MESSAGES, LLM_SPEAKS_RESPONSES,
                          "{\"max_tokens\":9,\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}}]},{"
                          "\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c\",\"is_error\":true,\"content\":\"no\"}]}]}"),
              "\"output\":\"Error: no\"");
    /* a long namespace is cut nowhere */
    char space[301], body[2048];
    memset(space, 's', 300);
    space[300] = '\0';
    snprintf(body, sizeof body, "{\"input\":\"x\",\"stream\":true,\"tools\":[{\"type\":\"namespace\",\"name\":\"%s\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}]}", space);
    char call[1024];
    snprintf(call, sizeof call, DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"%s__f\",\"arguments\":\"{}\"}}]}") FINISH("stop"), space);
    try_holds(try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, body, call), "\",\"name\":\"f\",\"arguments\":\"\"}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_become_turns),
        cmocka_unit_test(chat_goes_over_to_responses),
        cmocka_unit_test(bad_members_are_refused_by_path),
        cmocka_unit_test(items_live_from_added_to_done),
        cmocka_unit_test(a_broken_stream_fails_with_what_there_is),
        cmocka_unit_test(custom_tools_and_namespaces),
        cmocka_unit_test(reasoning_travels_sealed),
        cmocka_unit_test(a_runtimes_responses_are_read),
        cmocka_unit_test(history_fits_the_tools_that_are_shown),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests_name("translate/responses", tests, NULL, NULL);
}
