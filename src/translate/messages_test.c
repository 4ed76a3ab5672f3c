/* Anthropic messages to chat completions and back. Cases T1, T2, T4, T5, T6: the reference on dialect translation, 12. */
#include "translate/try.h"

#define ASK(members) "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" members "}"

#define LOOP(rest) \
    "{\"model\":\"m\",\"system\":[{\"type\":\"text\",\"text\":\"A\",\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"text\",\"text\":\"B\"}]," \
    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\"," \
    "\"signature\":\"x\"},{\"type\":\"text\",\"text\":\"ok\"},{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"b\":1,\"a\":2}}]}," \
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\",\"content\":\"r\",\"is_error\":true}" rest "]}]," \
    "\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}]," \
    "\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":true},\"max_tokens\":100,\"stop_sequences\":[\"END\"]}"

static void a_tool_loop_goes_over_to_chat(void **state) {
    (void)state;
    try_is(try_request(LLM_MESSAGES, LLM_SPEAKS_CHAT, LOOP(",{\"type\":\"text\",\"text\":\"go on\"}")),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"system\",\"content\":\"A\\n\\nB\"},{\"role\":\"user\",\"content\":\"hi\"},"
           "{\"role\":\"assistant\",\"content\":\"ok\",\"tool_calls\":[{\"id\":\"toolu_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
           "\"arguments\":\"{\\\"b\\\":1,\\\"a\\\":2}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"toolu_1\",\"content\":\"Error: r\"},"
           "{\"role\":\"user\",\"content\":\"go on\"}],\"stop\":[\"END\"],\"max_tokens\":100,\"tools\":[{\"type\":\"function\",\"function\":"
           "{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}],\"tool_choice\":\"required\",\"parallel_tool_calls\":false,\"stream\":false}"
           "\ndegraded: cache_control, is_error");
    /* inside the running loop its reasoning stays */
    try_holds(try_request(LLM_MESSAGES, LLM_SPEAKS_CHAT, LOOP("")), "\"content\":\"ok\",\"reasoning_content\":\"t\",\"tool_calls\"");
}

static void messages_come_through(void **state) {
    (void)state;
    try_is(try_request(LLM_MESSAGES, LLM_SPEAKS_ANTHROPIC,
                       "{\"model\":\"m\",\"max_tokens\":5,\"system\":\"S\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                       "\"see\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iVBORw0KGgo=\"}}]},"
                       "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a:1\",\"name\":\"f\",\"input\":{}}]}],\"temperature\":0.5,"
                       "\"thinking\":{\"type\":\"disabled\"},\"private\":1}"),
           "{\"model\":\"native-model\",\"max_tokens\":5,\"system\":\"S\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
           "\"see\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iVBORw0KGgo=\"}}]},"
           "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a_1\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":"
           "[{\"type\":\"tool_result\",\"tool_use_id\":\"a_1\",\"content\":\"no result recorded\"}]}],\"thinking\":{\"type\":\"disabled\"},"
           "\"temperature\":0.5,\"stream\":false,\"private\":1}");
}

static void chat_goes_over_to_messages(void **state) {
    (void)state;
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_ANTHROPIC,
                       "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"},"
                       "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"{bad\"}},"
                       "{\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"r\"},"
                       "{\"role\":\"user\",\"content\":\"c\"}],\"seed\":1,\"temperature\":1.5,\"max_tokens\":9}"),
           "{\"model\":\"native-model\",\"max_tokens\":9,\"system\":\"S\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
           "{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":"
           "{\"__invalid_json\":\"{bad\"}},{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"g\",\"input\":{}}]},{\"role\":\"user\",\"content\":["
           "{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":[{\"type\":\"text\",\"text\":\"r\"}]},{\"type\":\"tool_result\","
           "\"tool_use_id\":\"c2\",\"content\":\"no result recorded\"},{\"type\":\"text\",\"text\":\"c\"}]}],\"temperature\":1,\"stream\":false}"
           "\ndegraded: seed, temperature");
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_ANTHROPIC, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"logprobs\":true}"),
           "! unsupported_parameter: \"logprobs\" cannot be translated for this model's runtime");
}

static void a_count_leaves_out_what_adds_no_tokens(void **state) {
    struct translate_spec spec = try_spec(LLM_CHAT, LLM_SPEAKS_ANTHROPIC,
                                          "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"}],"
                                          "\"max_tokens\":9,\"temperature\":1.5,\"stop\":[\"x\"],\"seed\":1,\"logprobs\":true,\"logit_bias\":{\"1\":2}}");
    (void)state;
    spec.for_count = true;
    try_is(try_request_spec(&spec), "{\"model\":\"native-model\",\"system\":\"S\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]}");
}

static void bad_members_are_refused_by_path(void **state) {
    (void)state;
    static const struct {
        const char *body, *fault;
    } rows[] = {
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "! bad_request: \"max_tokens\" is missing" },
        { "{\"max_tokens\":1}", "! bad_request: \"messages\" is missing" },
        { ASK(",\"max_tokens\":-1"), "! bad_request: \"max_tokens\" must not be negative" },
        { "{\"max_tokens\":1,\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}",
          "! bad_request: messages[0].role is \"robot\"; it must be user or assistant" },
        { "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
          "\"data\":\"AAAA\"}}]}]}",
          "! bad_request: messages[0].content[0].source.data is not a PNG, JPEG, GIF or WebP image in base64" },
        { "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
          "\"application/pdf\",\"data\":\"JVBERi0=\"}}]}]}",
          "! unsupported_parameter: messages[0].content[0] is a document that is not text; this model's runtime takes text and images only" },
        { "{\"max_tokens\":1,\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":3}]}]}",
          "! bad_request: messages[0].content[0].input must be an object" },
        { ASK(",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]"),
          "! unsupported_parameter: tools[0].type \"web_search_20250305\" is not available on this model's runtime" },
        { ASK(",\"thinking\":{\"type\":\"deep\"}"), "! bad_request: thinking.type is \"deep\"; it must be enabled, adaptive or disabled" },
        { ASK(",\"output_config\":7"), "! bad_request: \"output_config\" must be an object" },
        { "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[]}]}", "! bad_request: \"messages\" holds nothing to answer" },
        { "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"x\",\"content\":7}]}]}",
          "! bad_request: messages[0].content[0].content must be a string or an array of blocks" },
        { ASK(",\"system\":7"), "! bad_request: \"system\" must be a string or an array of text blocks" },
        { ASK(",\"mcp_servers\":[{}]"), "! unsupported_parameter: \"mcp_servers\" is not available on this model's runtime" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        try_is(try_request(LLM_MESSAGES, LLM_SPEAKS_CHAT, rows[i].body), rows[i].fault);
}

#define DELTA(delta) "data: {\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"
#define FINISH(why) "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" why "\"}]}\n\n"
#define START                                                                                                              \
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_id24\",\"type\":\"message\",\"role\":"  \
    "\"assistant\",\"model\":\"shown-model\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"           \
    "\"input_tokens\":7,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n\n"            \
    "event: ping\ndata: {\"type\":\"ping\"}\n\n"
#define BLOCK(i, block) "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":" i ",\"content_block\":" block "}\n\n"
#define PIECE(i, delta) "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":" i ",\"delta\":" delta "}\n\n"
#define STOP(i) "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":" i "}\n\n"
#define END(why, usage)                                                                                                     \
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" why "\",\"stop_sequence\":null},\"usage\":" \
    usage "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

static void mixed_calls_come_one_after_another(void **state) {
    (void)state;
    try_is(try_stream(LLM_MESSAGES, LLM_SPEAKS_CHAT, ASK(",\"stream\":true"),
                      DELTA("{\"role\":\"assistant\",\"content\":null}") DELTA("{\"content\":\"I\"}")
                      DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}")
                      DELTA("{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}")
                      DELTA("{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{}\"}}]}")
                      DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\":\"}}]}")
                      DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}") FINISH("tool_calls")
                      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n"
                      "data: [DONE]\n\n"),
           START BLOCK("0", "{\"type\":\"text\",\"text\":\"\"}") PIECE("0", "{\"type\":\"text_delta\",\"text\":\"I\"}") STOP("0")
           BLOCK("1", "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}")
           PIECE("1", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"x\\\":\"}")
           PIECE("1", "{\"type\":\"input_json_delta\",\"partial_json\":\"1}\"}") STOP("1")
           BLOCK("2", "{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"g\",\"input\":{}}")
           PIECE("2", "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}") STOP("2")
           END("tool_use", "{\"input_tokens\":6,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":4,\"output_tokens\":7}"));
}

static void reasoning_becomes_a_signed_block(void **state) {
    (void)state;
    try_is(try_stream(LLM_MESSAGES, LLM_SPEAKS_CHAT, ASK(",\"stream\":true"),
                      DELTA("{\"reasoning_content\":\"t\"}") DELTA("{\"content\":\"x\"}") FINISH("length")
                      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n"),
           START BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}") PIECE("0", "{\"type\":\"thinking_delta\",\"thinking\":\"t\"}")
           PIECE("0", "{\"type\":\"signature_delta\",\"signature\":\"drover.id24\"}") STOP("0")
           BLOCK("1", "{\"type\":\"text\",\"text\":\"\"}") PIECE("1", "{\"type\":\"text_delta\",\"text\":\"x\"}") STOP("1")
           END("max_tokens", "{\"input_tokens\":3,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":2}"));
}

static void a_cut_stream_ends_with_an_error_event(void **state) {
    (void)state;
    char *got = try_stream(LLM_MESSAGES, LLM_SPEAKS_CHAT, ASK(",\"stream\":true"), DELTA("{\"content\":\"abc\"}"));
    assert_non_null(strstr(got, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\""));
    assert_null(strstr(got, "message_stop"));
    free(got);
}

static void missing_usage_is_estimated(void **state) {
    (void)state;
    try_holds(try_stream(LLM_MESSAGES, LLM_SPEAKS_CHAT, ASK(",\"stream\":true"), DELTA("{\"content\":\"abcdefgh\"}") FINISH("stop") "data: [DONE]\n\n"),
              "\"usage\":{\"input_tokens\":7,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":2}");
}

static void whole_replies(void **state) {
    (void)state;
    try_is(try_reply(LLM_MESSAGES, LLM_SPEAKS_CHAT, ASK(""),
                     "{\"choices\":[{\"message\":{\"content\":\"ok\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":"
                     "\"{\\\"path\\\":\\\"/a\"}}]},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}"),
           "{\"id\":\"msg_id24\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"shown-model\",\"content\":[{\"type\":\"text\",\"text\":\"ok\"}],"
           "\"stop_reason\":\"max_tokens\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":5,\"cache_creation_input_tokens\":0,"
           "\"cache_read_input_tokens\":0,\"output_tokens\":6}}");
    try_holds(try_reply(LLM_MESSAGES, LLM_SPEAKS_CHAT, ASK(""), /* no client could make anything of a call without a name */
                        "{\"choices\":[{\"message\":{\"content\":\"ok\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"arguments\":\"{}\"}}]},"
                        "\"finish_reason\":\"tool_calls\"}]}"),
              "! upstream_bad_reply: the runtime made a tool call without a name");
    try_holds(try_reply(LLM_CHAT, LLM_SPEAKS_ANTHROPIC, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                        "{\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
                        "\"text\":\"b\"},{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"q\":\"\\u00fc\"}}],\"stop_reason\":\"tool_use\","
                        "\"usage\":{\"input_tokens\":2,\"cache_read_input_tokens\":3,\"output_tokens\":4}}"),
              "\"message\":{\"role\":\"assistant\",\"content\":\"ab\",\"reasoning_content\":\"t\",\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\","
              "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"q\\\":\\\"\xc3\xbc\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{"
              "\"prompt_tokens\":5,\"completion_tokens\":4,\"total_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":3}}}");
}

static void a_stream_of_messages_is_read(void **state) {
    (void)state;
    const char *upstream = START BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\"}") PIECE("0", "{\"type\":\"thinking_delta\",\"thinking\":\"t\"}")
        STOP("0") BLOCK("1", "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\"}") STOP("1")
        END("tool_use", "{\"output_tokens\":9}");
    char *got = try_stream(LLM_CHAT, LLM_SPEAKS_ANTHROPIC, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream_options\":{\"include_usage\":true}}", upstream);
    static const char *const parts[] = { "{\"reasoning_content\":\"t\"}", "\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}",
                                         "\"arguments\":\"{}\"", "\"finish_reason\":\"tool_calls\"", "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9",
                                         "data: [DONE]\n\n" };
    const char *at = got;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        at = strstr(at, parts[i]);
        if (!at)
            print_error("missing: %s\n%s", parts[i], got);
        assert_non_null(at);
    }
    free(got);
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    const char *ask = ASK(",\"stream\":true,\"tools\":[{\"name\":\"f\",\"input_schema\":{}}],\"system\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]");
    TRY_WITHOUT_MEMORY(try_stream(LLM_MESSAGES, LLM_SPEAKS_CHAT, ask,
                                  DELTA("{\"reasoning\":\"a\"}") DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}")
                                  DELTA("{\"tool_calls\":[{\"index\":1,\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}") FINISH("stop")));
    TRY_WITHOUT_MEMORY(try_request(LLM_MESSAGES, LLM_SPEAKS_ANTHROPIC, ask));
}

static void documents_of_results_stand_in_the_result(void **state) {
    char *got = try_request(LLM_MESSAGES, LLM_SPEAKS_CHAT,
                            "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\",\"title\":\"T\",\"source\":{\"type\":\"text\","
                            "\"media_type\":\"text/plain\",\"data\":\"doc\"}},{\"type\":\"text\",\"text\":\"q\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":"
                            "\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c\","
                            "\"content\":[{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"document\",\"source\":{\"type\":\"text\",\"data\":\"text\"}}]}]}]}");
    (void)state;
    assert_non_null(strstr(got, "{\"role\":\"user\",\"content\":\"T:\\ndoc\\n\\nq\"}"));
    assert_non_null(strstr(got, "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"see\\ntext\"}]")); /* and not once more behind it */
    assert_null(strstr(got, "degraded"));
    free(got);
}

static void little_things_go_over(void **state) {
    (void)state;
    try_is(try_request(LLM_MESSAGES, LLM_SPEAKS_ANTHROPIC,
                       "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"stop_sequences\":[\" \\n\",\"x\"],\"tools\":[{\"name\":\"f\","
                       "\"input_schema\":{},\"strict\":true}],\"output_config\":{\"effort\":\"low\"}}"),
           "{\"model\":\"native-model\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"}]}],\"tools\":[{"
           "\"name\":\"f\",\"input_schema\":{},\"strict\":true}],\"output_config\":{\"effort\":\"low\"},\"stop_sequences\":[\"x\"],\"stream\":false}"
           "\ndegraded: stop");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tool_loop_goes_over_to_chat),
        cmocka_unit_test(messages_come_through),
        cmocka_unit_test(chat_goes_over_to_messages),
        cmocka_unit_test(a_count_leaves_out_what_adds_no_tokens),
        cmocka_unit_test(bad_members_are_refused_by_path),
        cmocka_unit_test(mixed_calls_come_one_after_another),
        cmocka_unit_test(reasoning_becomes_a_signed_block),
        cmocka_unit_test(a_cut_stream_ends_with_an_error_event),
        cmocka_unit_test(missing_usage_is_estimated),
        cmocka_unit_test(whole_replies),
        cmocka_unit_test(a_stream_of_messages_is_read),
        cmocka_unit_test(documents_of_results_stand_in_the_result),
        cmocka_unit_test(little_things_go_over),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests_name("translate/messages", tests, NULL, NULL);
}
