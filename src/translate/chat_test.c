/* Chat completions through the canonical form and back: what comes out is what went in. */
#include "translate/try.h"

static char *same(const char *body) {
    return try_request(LLM_CHAT, LLM_SPEAKS_CHAT, body);
}

static void every_member_goes_over(void **state) {
    (void)state;
    try_is(same("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":false}");
    try_is(same("{\"messages\":[{\"role\":\"system\",\"content\":\"A\"},{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"B\"}]},"
                "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"image_url\",\"image_url\":"
                "{\"url\":\"data:image/png;base64,iVBORw0KGgo=\",\"detail\":\"low\"}}]},{\"role\":\"assistant\",\"content\":null,"
                "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},"
                "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"r\"}],\"tools\":[{\"type\":\"function\",\"function\":"
                "{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"},\"strict\":true}}],\"tool_choice\":\"auto\","
                "\"temperature\":0.1,\"max_completion_tokens\":9,\"max_tokens\":8,\"stop\":\"x\",\"seed\":1e2,\"mirostat\":2}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"system\",\"content\":\"A\\n\\nB\"},{\"role\":\"user\",\"content\":["
           "{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo=\","
           "\"detail\":\"low\"}}]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
           "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"r\"}],"
           "\"temperature\":0.1,\"seed\":100,\"stop\":[\"x\"],\"max_tokens\":9,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
           "\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"},\"strict\":true}}],\"tool_choice\":\"auto\",\"stream\":false,"
           "\"mirostat\":2}");
}

#define MESSAGES(part) "{\"messages\":[{\"role\":\"user\",\"content\":" part "}]}"
#define WITH(members) "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," members "}"

static void bad_members_are_refused_by_path(void **state) {
    (void)state;
    static const struct {
        const char *body, *fault;
    } rows[] = {
        { "{}", "! bad_request: \"messages\" is missing" },
        { "{\"messages\":[]}", "! bad_request: \"messages\" must be an array of at least one message" },
        { "{\"messages\":[1]}", "! bad_request: messages[0] must be an object" },
        { "{\"messages\":[{\"role\":\"robot\"}]}",
          "! bad_request: messages[0].role is \"robot\"; it must be system, developer, user, assistant or tool" },
        { MESSAGES("5"), "! bad_request: messages[0].content must be a string or an array of parts" },
        { "{\"messages\":[{\"role\":\"user\"}]}", "! bad_request: messages[0].content is missing" },
        { MESSAGES("[{\"type\":\"hologram\"}]"), "! unsupported_parameter: messages[0].content[0].type \"hologram\" is not known" },
        { MESSAGES("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:;base64,AAAA\"}}]"),
          "! bad_request: messages[0].content[0].image_url.url is not a PNG, JPEG, GIF or WebP image" },
        { MESSAGES("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,%%\"}}]"),
          "! bad_request: messages[0].content[0].image_url.url does not hold base64 data" },
        { MESSAGES("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:///etc/passwd\"}}]"),
          "! bad_request: messages[0].content[0].image_url.url must be an http(s) or data URL" },
        { MESSAGES("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y\"}}]"),
          "! unsupported_parameter: messages[0].content[0] is a link, and this model's runtime does not fetch links; send the image as "
          "base64" },
        { WITH("\"temperature\":\"hot\""), "! bad_request: \"temperature\" must be a number, not a string" },
        { WITH("\"max_tokens\":1e400"), "! bad_request: \"max_tokens\" must be an integer, not a number out of range" },
        { WITH("\"max_tokens\":3000000000"), "! bad_request: \"max_tokens\" must be at most 2147483647" },
        { WITH("\"max_tokens\":1.5"), "! bad_request: \"max_tokens\" must be an integer, not a number" },
        { WITH("\"n\":2"),
          "! unsupported_parameter: \"n\" greater than 1 is not supported when the request is translated for this model's runtime" },
        { WITH("\"n\":0"), "! bad_request: \"n\" must be an integer of at least 1" },
        { WITH("\"stream\":\"yes\""), "! bad_request: \"stream\" must be true or false, not a string" },
        { MESSAGES("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]"),
          "! bad_request: messages[0].content[0].image_url.url is not a PNG, JPEG, GIF or WebP image" },
        { MESSAGES("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:text/html;base64,AAAA\"}}]"),
          "! bad_request: messages[0].content[0].image_url.url is not an image" },
        { WITH("\"tools\":[{\"type\":\"web_search\"}]"),
          "! unsupported_parameter: tools[0].type \"web_search\" is not available on this model's runtime" },
        { WITH("\"tool_choice\":7"),
          "! bad_request: \"tool_choice\" must be \"none\", \"auto\", \"required\" or an object that names a function" },
        { WITH("\"response_format\":{\"type\":\"json_schema\"}"), "! bad_request: response_format.json_schema.schema must be an object" },
        { WITH("\"stop\":[1]"), "! bad_request: \"stop[0]\" must be a string, not a number" },
        { WITH("\"reasoning_effort\":\"heroic\""),
          "! bad_request: \"reasoning_effort\" must be none, minimal, low, medium, high, xhigh or max" },
        { "{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "! bad_request: messages[0].tool_call_id must be a string" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        try_is(same(rows[i].body), rows[i].fault);
}

#define CHUNK(choice) "data: {\"id\":\"up\",\"model\":\"native-model\",\"choices\":[" choice "]}\n\n"
#define DELTA(delta) CHUNK("{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}")
#define OUT_HEAD "data: {\"id\":\"chatcmpl-id24\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"shown-model\","
#define OUT(delta, finish) OUT_HEAD "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define ASK WITH("\"stream\":true")

static void a_stream_comes_through(void **state) {
    (void)state;
    try_is(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, ASK,
                      DELTA("{\"role\":\"assistant\",\"content\":null}") DELTA("{\"reasoning\":\"t\"}") DELTA("{\"content\":\"Hi \\u00fc\"}")
                      DELTA("{\"tool_calls\":[{\"index\":3,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}")
                      DELTA("{\"tool_calls\":[{\"index\":3,\"function\":{\"arguments\":\"{}\"}}]}")
                      CHUNK("{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}") "data: [DONE]\n\n" DELTA("{\"content\":\"late\"}")),
           OUT("{\"role\":\"assistant\",\"content\":\"\"}", "null") OUT("{\"reasoning_content\":\"t\"}", "null")
           OUT("{\"content\":\"Hi \xc3\xbc\"}", "null")
           OUT("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}", "null")
           OUT("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}", "null") OUT("{}", "\"tool_calls\"")
           "data: [DONE]\n\n");
}

static void a_broken_stream_ends_with_an_error(void **state) {
    (void)state;
    const char *half = DELTA("{\"content\":\"abc\"}");
    try_holds(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, ASK, half), "{\"error\":{\"message\":\"the runtime ended its answer without saying why\"");
    try_holds(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, ASK, DELTA("{\"content\":\"a\"}") "data: {\"error\":{\"message\":\"boom\"}}\n\n"), "\"message\":\"boom\"");
    try_holds(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, ASK, DELTA("{\"content\":\"a\"}") "data: nonsense\n\n"), "what is not JSON: nonsense");
    try_is(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, ASK, ""), "! upstream_bad_reply: the runtime ended its answer without saying why");
}

static void a_whole_reply_comes_through(void **state) {
    (void)state;
    try_is(try_reply(LLM_CHAT, LLM_SPEAKS_CHAT, WITH("\"logprobs\":true"),
                     "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Four.\",\"reasoning_content\":\"2+2\"},"
                     "\"logprobs\":{\"content\":[{\"token\":\"Four\",\"logprob\":-0.5}]},\"finish_reason\":\"length\"}],\"usage\":"
                     "{\"prompt_tokens\":21,\"completion_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":16}}}"),
           "{\"id\":\"chatcmpl-id24\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"shown-model\",\"choices\":[{\"index\":0,"
           "\"message\":{\"role\":\"assistant\",\"content\":\"Four.\",\"reasoning_content\":\"2+2\"},\"logprobs\":{\"content\":["
           "{\"token\":\"Four\",\"logprob\":-0.5}]},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":9,"
           "\"total_tokens\":30,\"prompt_tokens_details\":{\"cached_tokens\":16}}}");
    try_holds(try_reply(LLM_CHAT, LLM_SPEAKS_CHAT, WITH("\"n\":1"), "{\"error\":{\"message\":\"CUDA out of memory\"}}"),
              "! unavailable: CUDA out of memory");
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    const char *ask = WITH("\"stream\":true,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"x\":[1]");
    TRY_WITHOUT_MEMORY(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, ask,
                                  DELTA("{\"content\":\"a\"}") DELTA("{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}")
                                  CHUNK("{\"delta\":{},\"finish_reason\":\"stop\"}")));
    TRY_WITHOUT_MEMORY(try_reply(LLM_CHAT, LLM_SPEAKS_CHAT, ask,
                                 "{\"choices\":[{\"message\":{\"content\":\"a\",\"reasoning\":\"b\"},\"finish_reason\":\"stop\"}]}"));
}

static void completions_come_through(void **state) {
    (void)state;
    try_is(try_request(LLM_COMPLETIONS, LLM_SPEAKS_COMPLETIONS, "{\"prompt\":[\"a\"],\"suffix\":\"z\",\"echo\":true,\"max_tokens\":3}"),
           "{\"model\":\"native-model\",\"prompt\":\"a\",\"suffix\":\"z\",\"echo\":true,\"max_tokens\":3,\"stream\":false}");
    try_is(try_request(LLM_COMPLETIONS, LLM_SPEAKS_COMPLETIONS, "{\"prompt\":[\"a\",\"b\"]}"),
           "! unsupported_parameter: \"prompt\" must be one string when the request is translated for this model's runtime");
    try_is(try_request(LLM_COMPLETIONS, LLM_SPEAKS_CHAT, "{\"prompt\":\"a\"}"),
           "! not_supported: no endpoint of this model takes bare prompts (completions without a chat template)");
    try_is(try_stream(LLM_COMPLETIONS, LLM_SPEAKS_COMPLETIONS, "{\"prompt\":\"a\",\"stream_options\":{\"include_usage\":true}}",
                      "data: {\"choices\":[{\"text\":\"b\",\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"),
           "data: {\"id\":\"cmpl-id24\",\"object\":\"text_completion\",\"created\":1790000000,\"model\":\"shown-model\",\"choices\":[{\"index\":0,"
           "\"text\":\"b\",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
           "data: {\"id\":\"cmpl-id24\",\"object\":\"text_completion\",\"created\":1790000000,\"model\":\"shown-model\",\"choices\":[{\"index\":0,"
           "\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\n"
           "data: {\"id\":\"cmpl-id24\",\"object\":\"text_completion\",\"created\":1790000000,\"model\":\"shown-model\",\"choices\":[],"
           "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}\n\ndata: [DONE]\n\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_goes_over),
        cmocka_unit_test(bad_members_are_refused_by_path),
        cmocka_unit_test(a_stream_comes_through),
        cmocka_unit_test(a_broken_stream_ends_with_an_error),
        cmocka_unit_test(a_whole_reply_comes_through),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(completions_come_through),
    };
    return cmocka_run_group_tests_name("translate/chat", tests, NULL, NULL);
}
