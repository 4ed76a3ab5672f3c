/* What no runtime and no client should send, and some do: nothing of it may end in a broken answer or be lost in silence. */
#include "translate/try.h"

#define CHAT "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"
#define CHAT_WITH(members) "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," members "}"
#define MSGS "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"
#define RESP "{\"input\":\"x\"}"
#define DELTA(delta) "data: {\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"
#define CALLS(calls) DELTA("{\"tool_calls\":[" calls "]}")
#define FINISH(why) "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" why "\"}]}\n\n"
#define EVENT(type, members) "data: {\"type\":\"" type "\"" members "}\n\n"
#define WHOLE(message) "{\"choices\":[{\"message\":" message ",\"finish_reason\":\"stop\"}]}"

/* The parts stand in the text, in this order. Frees it. */
static void in_order(char *got, const char *const *parts) {
    const char *at = got;
    for (; *parts; parts++) {
        const char *found = strstr(at, *parts);
        if (!found)
            print_error("missing: %s\n%s\n", *parts, got);
        assert_non_null(found);
        at = found + strlen(*parts);
    }
    free(got);
}
#define IN_ORDER(got, ...) in_order(got, (const char *const[]){ __VA_ARGS__, NULL })

static unsigned count(const char *text, const char *part) {
    unsigned n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static void calls_are_told_apart(void **state) {
    static const struct {
        const char *stream, *parts[5];
    } rows[] = {
        /* all numbered 0 */
        { CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}") CALLS("{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\","
          "\"arguments\":\"[1\"}}") CALLS("{\"index\":0,\"function\":{\"arguments\":\"]\"}}"),
          { "\"index\":0,\"id\":\"a\"", "\"index\":1,\"id\":\"b\"", "{\"index\":1,\"function\":{\"arguments\":\"[1\"", "{\"index\":1,\"function\":{\"arguments\":\"]\"" } },
        /* no numbers, no ids */
        { CALLS("{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}") CALLS("{\"function\":{\"name\":\"g\",\"arguments\":\"[\"}}") CALLS("{\"function\":{\"arguments\":\"]\"}}"),
          { "\"index\":0,\"id\"", "\"index\":1,\"id\"", "{\"index\":1,\"function\":{\"arguments\":\"[\"", "{\"index\":1,\"function\":{\"arguments\":\"]\"" } },
        /* the same id twice: the second gets one of its own */
        { CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}}") CALLS("{\"index\":1,\"id\":\"a\",\"function\":{\"name\":\"g\"}}"),
          { "\"index\":0,\"id\":\"a\"", "\"index\":1,\"id\":\"call_id24\"" } },
        /* the name behind the id */
        { CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"arguments\":\"\"}}") CALLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"),
          { "\"index\":0,\"id\":\"a\"", "\"name\":\"f\"", "\"finish_reason\":\"tool_calls\"" } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[2048];
        snprintf(text, sizeof text, "%s%s", rows[i].stream, FINISH("stop"));
        in_order(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT, text), rows[i].parts);
    }
    IN_ORDER(try_reply(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT,
                       WHOLE("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"a\",\"function\":{\"name\":\"g\",\"arguments\":"
                             "{\"x\":1.0}}},{\"function\":{\"name\":\"h\"}}]}")),
             "\"name\":\"f\",\"arguments\":\"{}\"", "\"name\":\"g\",\"arguments\":\"{\\\"x\\\":1.0}\"", "\"name\":\"h\",\"arguments\":\"{}\"");
}

static void a_broken_call_or_text_is_an_error(void **state) {
    static const char *const streams[] = {
        CALLS("{\"index\":0,\"function\":{\"arguments\":\"{}\"}}"),
        DELTA("{\"function_call\":{\"arguments\":\"{}\"}}"),
        DELTA("{\"content\":5}"),
        FINISH("tool_calls"), /* and none was made */
    };
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s%s", streams[i], FINISH("stop"));
        try_holds(try_stream(LLM_MESSAGES, LLM_SPEAKS_CHAT, MSGS, text), i == 3 ? "\"type\":\"error\"" : "runtime");
    }
    try_holds(try_reply(LLM_MESSAGES, LLM_SPEAKS_CHAT, MSGS, WHOLE("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"arguments\":\"{}\"}}]}")),
              "! upstream_bad_reply: the runtime made a tool call without a name");
    try_holds(try_reply(LLM_MESSAGES, LLM_SPEAKS_CHAT, MSGS, WHOLE("{\"content\":5}")), "! upstream_bad_reply: the runtime's answer has a value of another kind");
    try_holds(try_reply(LLM_CHAT, LLM_SPEAKS_OLLAMA, CHAT, "{\"message\":{\"tool_calls\":[{\"function\":{\"arguments\":{}}}]},\"done\":true}"),
              "! upstream_bad_reply: the runtime made a tool call without a name");
    try_holds(try_reply(LLM_CHAT, LLM_SPEAKS_ANTHROPIC, CHAT, "{\"content\":[{\"type\":\"text\",\"text\":5}],\"stop_reason\":\"end_turn\"}"), "! upstream_bad_reply");
    try_holds(try_reply(LLM_MESSAGES, LLM_SPEAKS_CHAT, MSGS, "{\"choices\":[{\"message\":{\"content\":\"ok\"},\"finish_reason\":\"tool_calls\"}]}"),
              "\"stop_reason\":\"end_turn\""); /* something was said, though */
}

static void a_name_is_the_clients(void **state) {
    (void)state;
    try_holds(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT_WITH("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"getTime.now\"}}]"),
                         CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"gettime_now\"}}") FINISH("stop")),
              "\"name\":\"getTime.now\"");
}

static void the_old_form_has_room_for_one_call(void **state) {
    (void)state;
    char *got = try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT_WITH("\"functions\":[{\"name\":\"f\"},{\"name\":\"g\"}]"),
                           CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}")
                           CALLS("{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}") FINISH("tool_calls"));
    assert_int_equal(count(got, "\"function_call\":{\"name\""), 1);
    assert_null(strstr(got, "\"name\":\"g\""));
    free(got);
}

#define CUSTOM CHAT_WITH("\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"patch\"}},{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]")

static void custom_tools_of_chat_come_back_as_such(void **state) {
    (void)state;
    IN_ORDER(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CUSTOM,
                        CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"patch\",\"arguments\":\"{\\\"input\\\":\"}}")
                        CALLS("{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}")
                        CALLS("{\"index\":0,\"function\":{\"arguments\":\"\\\"*** Go\\\"}\"}}") FINISH("tool_calls")),
             "{\"index\":0,\"id\":\"a\",\"type\":\"custom\",\"custom\":{\"name\":\"patch\",\"input\":\"\"}}",
             "{\"index\":1,\"id\":\"b\",\"type\":\"function\"", "{\"index\":1,\"function\":{\"arguments\":\"{}\"}}",
             "{\"index\":0,\"custom\":{\"input\":\"*** Go\"}}", "\"finish_reason\":\"tool_calls\"");
    try_holds(try_reply(LLM_CHAT, LLM_SPEAKS_CHAT, CUSTOM,
                        WHOLE("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"patch\",\"arguments\":\"{\\\"input\\\":\\\"*** Go\\\"}\"}}]}")),
              "\"tool_calls\":[{\"id\":\"a\",\"type\":\"custom\",\"custom\":{\"name\":\"patch\",\"input\":\"*** Go\"}}]");
}

static void what_is_said_within_a_call_comes_behind_it(void **state) {
    (void)state;
    IN_ORDER(try_stream(LLM_MESSAGES, LLM_SPEAKS_CHAT, MSGS,
                        CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\"}}") DELTA("{\"content\":\"so\"}")
                        CALLS("{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}") DELTA("{\"reasoning\":\"hm\"}")
                        CALLS("{\"index\":0,\"function\":{\"arguments\":\"1}\"}}") DELTA("{\"content\":\"end\"}") FINISH("stop")),
             "\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\"", "{\\\"x\\\":", "1}", "\"content_block_stop\",\"index\":0",
             "\"index\":1,\"content_block\":{\"type\":\"text\"", "\"text\":\"so\"", "\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"b\"",
             "\"index\":3,\"content_block\":{\"type\":\"thinking\"", "\"hm\"", "\"index\":4,\"content_block\":{\"type\":\"text\"", "\"end\"", "message_stop");
}

static void calls_that_nobody_closed_have_their_arguments(void **state) {
    (void)state;
    IN_ORDER(try_stream(LLM_CHAT, LLM_SPEAKS_ANTHROPIC, CHAT,
                        EVENT("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"x\":1}}")
                        EVENT("content_block_start", ",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"g\"}")
                        EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"tool_use\"}") EVENT("message_stop", "")),
             "\"id\":\"a\"", "{\\\"x\\\":1}", "\"id\":\"b\"", "\"arguments\":\"{}\"");
    /* told once only, at the end of the arguments; and nothing behind the end of a call */
    char *got = try_stream(LLM_RESPONSES, LLM_SPEAKS_RESPONSES, RESP,
                           EVENT("response.output_item.added", ",\"output_index\":0,\"item\":{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\"}")
                           EVENT("response.function_call_arguments.done", ",\"output_index\":0,\"arguments\":\"{\\\"y\\\":2}\"")
                           EVENT("response.output_item.done", ",\"output_index\":0,\"item\":{\"type\":\"function_call\",\"arguments\":\"{\\\"y\\\":2}\"}")
                           EVENT("response.function_call_arguments.delta", ",\"output_index\":0,\"delta\":\"late\"")
                           EVENT("response.output_item.done", ",\"output_index\":0,\"item\":{\"type\":\"function_call\",\"arguments\":\"{}\"}")
                           EVENT("response.completed", ""));
    assert_int_equal(count(got, "\"delta\":\"{\\\"y\\\":2}\""), 1);
    assert_int_equal(count(got, "event: response.output_item.done"), 1);
    assert_null(strstr(got, "late"));
    free(got);
}

static void more_calls_than_anybody_needs_are_a_fault(void **state) {
    struct buf text = BUF_MAX(1 << 20);
    (void)state;
    buf_add(&text, SV("{\"message\":{\"tool_calls\":["));
    for (int i = 0; i <= CANON_CALLS_MAX; i++)
        buf_printf(&text, "%s{\"function\":{\"name\":\"f\"}}", i ? "," : "");
    buf_add(&text, SV("]},\"done\":true}\0"));
    try_is(try_reply(LLM_CHAT, LLM_SPEAKS_OLLAMA, CHAT, text.p), "! upstream_bad_reply: the runtime made more than 1024 tool calls");
    buf_deinit(&text);
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void errors_come_in_many_forms(void **state) {
    static const char *const errors[] = {
        "data: {\"error\":{\"message\":\"boom\"}}\n\n", "data: {\"error\":\"boom\"}\n\n", "data: {\"object\":\"error\",\"message\":\"boom\",\"code\":400}\n\n",
        "event: error\ndata: {\"message\":\"boom\"}\n\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        try_is(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT, errors[i]), "! upstream_bad_reply: boom");
    try_holds(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT, "data: {\"error\":null}\n\ndata: {\"error\":\"\"}\n\ndata:  \n\n" DELTA("{\"content\":\"a\"}") FINISH("stop")),
              "[DONE]");
    try_is(try_stream(LLM_CHAT, LLM_SPEAKS_RESPONSES, CHAT, EVENT("response.failed", ",\"response\":{\"error\":{\"message\":\"boom\"}}")),
           "! upstream_bad_reply: boom");
    try_holds(try_stream(LLM_CHAT, LLM_SPEAKS_RESPONSES, CHAT, EVENT("response.incomplete", ",\"response\":{}")), "\"finish_reason\":\"length\"");
    try_is(try_reply(LLM_CHAT, LLM_SPEAKS_RESPONSES, CHAT, "{\"detail\":\"Not Found\"}"), "! upstream_bad_reply: the runtime's reply has no output");
}

static void nothing_follows_the_end(void **state) {
    static const enum llm_api clients[] = { LLM_CHAT, LLM_MESSAGES, LLM_RESPONSES, LLM_OLLAMA_CHAT, LLM_LMSTUDIO1_CHAT };
    static const char *const asks[] = { CHAT, MSGS, RESP, CHAT, RESP };
    (void)state;
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        for (int fails = 0; fails < 2; fails++) {
            struct translate_spec spec = try_spec(clients[i], LLM_SPEAKS_CHAT, asks[i]);
            struct buf body = BUF_MAX(1 << 20), out = BUF_MAX(1 << 20);
            struct err e = { 0 };
            spec.stream = true;
            struct translate *t = translate_new(&spec, &body, &e);
            assert_non_null(t);
            assert_true(translate_event(t, SV_NULL, SV("{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}"), 1, &out, &e));
            if (fails) {
                assert_false(translate_event(t, SV_NULL, SV("{\"error\":\"boom\"}"), 1, &out, &e));
                translate_fail(t, &e, &out);
            } else {
                assert_true(translate_end(t, 1, &out, &e));
                assert_true(translate_event(t, SV_NULL, SV("{\"error\":\"late\"}"), 1, &out, &e));
            }
            size_t n = out.n;
            translate_fail(t, &(struct err){ .code = ERR_TIMEOUT, .text = "late" }, &out);
            assert_int_equal(out.n, n);
            translate_free(t);
            buf_deinit(&body);
            buf_deinit(&out);
        }
    }
}

static void what_does_not_fit_is_told_in_short(void **state) {
    struct translate_spec spec = try_spec(LLM_RESPONSES, LLM_SPEAKS_CHAT, RESP);
    struct buf body = BUF_MAX(1 << 20), out = BUF_MAX(1 << 20), last = BUF_MAX(600);
    struct err e = { 0 };
    (void)state;
    spec.stream = true;
    struct translate *t = translate_new(&spec, &body, &e);
    assert_non_null(t);
    assert_true(translate_event(t, SV_NULL, SV("{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}"), 1, &out, &e));
    translate_fail(t, &(struct err){ .code = ERR_TIMEOUT, .text = "too slow" }, &last); /* response.failed would repeat everything */
    assert_false(last.failed);
    assert_true(sv_find(buf_sv(&last), SV("{\"type\":\"response.failed\",\"sequence_number\":5,")) >= 0); /* goes on from what was sent */
    assert_true(sv_find(buf_sv(&last), SV("\"message\":\"too slow\"}")) >= 0);
    assert_true(sv_find(buf_sv(&last), SV("\"output\":[]")) >= 0);
    translate_free(t);
    buf_deinit(&body);
    buf_deinit(&last);

    buf_deinit(&out); /* an event that does not fit leaves nothing of itself */
    buf_init(&out, 700);
    t = translate_new(&spec, &body, &e);
    assert_non_null(t);
    assert_false(translate_event(t, SV_NULL, SV("{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}"), 1, &out, &e));
    assert_int_equal(out.n, 0);
    translate_free(t);
    buf_deinit(&body);
    buf_deinit(&out);
}

static void nothing_is_left_out_in_silence(void **state) {
    static const struct {
        enum llm_api api;
        const char *body, *strict, *degraded; /* what a strict slug says, or NULL; what is named else */
    } rows[] = {
        { LLM_RESPONSES, "{\"input\":\"x\",\"top_logprobs\":3}", NULL, "top_logprobs" },
        { LLM_RESPONSES, "{\"input\":\"x\",\"reasoning\":{\"summary\":\"detailed\"}}", NULL, "reasoning.summary" },
        { LLM_RESPONSES, "{\"input\":\"x\",\"reasoning\":{\"summary\":\"auto\"}}", NULL, NULL },
        { LLM_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"x\",\"foo\":1}]}]}", "content.foo cannot", "content.foo" },
        { LLM_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":\"x\",\"foo\":1}]}", "input.foo cannot", "input.foo" },
        { LLM_MESSAGES, "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stop_sequences\":[\"a\",\"\"]}", NULL, "stop_sequences" },
        { LLM_MESSAGES, "{\"max_tokens\":0,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "max_tokens cannot", "max_tokens" },
        { LLM_MESSAGES, "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\",\"citations\":[{}]}]}]}", "content.citations cannot", "content.citations" },
        { LLM_MESSAGES, "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\",\"citations\":null}]}]}", NULL, NULL },
        { LLM_MESSAGES, "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"foo\":1}]}", "messages.foo cannot", "messages.foo" },
        { LLM_MESSAGES, "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"no\",\"content\":\"r\",\"is_error\":true}]}]}", NULL, "is_error" },
        { LLM_MESSAGES, "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tool_choice\":{\"type\":\"any\"}}", "tool_choice cannot", "tool_choice" },
        { LLM_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\",\"foo\":1}],\"bar\":[]}]}", "content.foo cannot", "content.foo" },
        { LLM_OLLAMA_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"foo\":1}]}", "messages.foo cannot", "messages.foo" },
        { LLM_LMSTUDIO1_CHAT, "{\"input\":[{\"type\":\"text\",\"content\":\"x\",\"foo\":1}]}", "input.foo cannot", "input.foo" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char degraded[64];
        struct translate_spec spec = try_spec(rows[i].api, LLM_SPEAKS_CHAT, rows[i].body);
        char *got = try_request_spec(&spec), *named = strstr(got, "\ndegraded: ");
        snprintf(degraded, sizeof degraded, "\ndegraded: %s", rows[i].degraded ? rows[i].degraded : "");
        assert_string_equal(named ? named : "\ndegraded: ", degraded);
        free(got);
        spec.strict = true;
        try_holds(try_request_spec(&spec), rows[i].strict ? rows[i].strict : "native-model");
    }
    try_holds(try_request(LLM_MESSAGES, LLM_SPEAKS_CHAT, rows[10].body), "\"content\":\"Error: r\"");
}

static void of_members_of_one_name_the_last_counts(void **state) {
    (void)state;
    try_holds(try_request(LLM_MESSAGES, LLM_SPEAKS_CHAT, "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"FIRST\",\"content\":\"LAST\"}]}"),
              "\"content\":\"LAST\"");
    try_holds(try_request(LLM_MESSAGES, LLM_SPEAKS_CHAT, "{\"max_tokens\":5,\"messages\":[],\"messages\":[{\"role\":\"user\",\"content\":\"LAST\"}]}"),
              "\"content\":\"LAST\"");
}

static void what_a_slug_sets_holds_in_every_api(void **state) {
    static const struct {
        enum llm_api api;
        const char *body;
    } rows[] = {
        { LLM_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_completion_tokens\":9999,\"temperature\":2,\"stop\":\"y\"}" },
        { LLM_RESPONSES, "{\"input\":\"x\",\"max_output_tokens\":9999,\"temperature\":2}" },
        { LLM_MESSAGES, "{\"max_tokens\":9999,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stop_sequences\":[\"y\"]}" },
        { LLM_OLLAMA_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"options\":{\"num_predict\":9999,\"temperature\":2,\"seed\":8}}" },
        { LLM_LMSTUDIO1_CHAT, "{\"input\":\"x\",\"max_output_tokens\":9999}" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct translate_spec spec = try_spec(rows[i].api, LLM_SPEAKS_CHAT, rows[i].body);
        spec.forced = SV("{\"max_tokens\":7,\"temperature\":0.5,\"seed\":3,\"stop\":[\"X\"]}");
        spec.strict = true;
        IN_ORDER(try_request_spec(&spec), "\"temperature\":0.5,\"seed\":3,\"stop\":[\"X\"]", "\"max_tokens\":7");
        spec.defaults = spec.forced;
        spec.forced = SV_NULL;
        IN_ORDER(try_request_spec(&spec), i == 3 ? "\"seed\":8" : "\"seed\":3", i == 4 ? "\"max_tokens\":9999" : "9999");
    }
}

static void too_much_to_translate_names_the_limit(void **state) {
    (void)state;
    struct buf body = BUF_MAX(1 << 20), out = BUF_MAX(1 << 20);
    struct err e = { 0 };
    buf_add(&body, SV("{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}"));
    for (int i = 0; i < 4000; i++)
        buf_add(&body, SV(",{\"role\":\"user\",\"content\":\"x\"}"));
    buf_add(&body, SV("]}"));
    buf_add_char(&body, '\0');
    struct translate_spec spec = try_spec(LLM_MESSAGES, LLM_SPEAKS_CHAT, body.p);
    spec.body_max = 300000;
    assert_null(translate_new(&spec, &out, &e));
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_int_equal(e.limit, LIMIT_BODY_MAX);
    buf_deinit(&body);
    buf_deinit(&out);
}

static void an_empty_answer_is_a_message_without_text(void **state) {
    (void)state;
    IN_ORDER(try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, RESP, FINISH("stop")), "response.output_item.added", "response.output_item.done", "response.completed",
             "\"output\":[{\"id\":\"msg_id24\",\"type\":\"message\"", "\"text\":\"\"");
    try_holds(try_reply(LLM_RESPONSES, LLM_SPEAKS_CHAT, RESP, WHOLE("{\"content\":null}")), "\"output\":[{\"id\":\"msg_id24\",\"type\":\"message\"");
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static void a_character_cut_in_two_is_joined(void **state) {
    (void)state;
    IN_ORDER(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT, DELTA("{\"content\":\"x\\ud83d\"}") DELTA("{\"content\":\"\\ude00y\"}") FINISH("stop")),
             "{\"content\":\"x\"}", "{\"content\":\"\xf0\x9f\x98\x80\"}", "{\"content\":\"y\"}");
    /* not with another kind of text, and no half by itself */
    IN_ORDER(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT, DELTA("{\"reasoning_content\":\"x\\ud83d\"}") DELTA("{\"content\":\"\\ude00y\"}") FINISH("stop")),
             "\"reasoning_content\":\"x\"", "\"reasoning_content\":\"\xef\xbf\xbd\"", "\"content\":\"\xef\xbf\xbd\"", "\"content\":\"y\"");
    IN_ORDER(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT,
                        CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\\ud83d\"}}")
                        CALLS("{\"index\":0,\"function\":{\"arguments\":\"\\ude00\"}}") FINISH("tool_calls")),
             "\"arguments\":\"\xf0\x9f\x98\x80\"");
    try_holds(try_reply(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT, WHOLE("{\"content\":\"\\ude00a\\ud83db\\ud83d\"}")),
              "\"content\":\"\xef\xbf\xbd" "a\xef\xbf\xbd" "b\xef\xbf\xbd\"");
}

static void odd_values_do_no_harm(void **state) {
    (void)state;
    /* half an emoji, numbers no machine holds, counters beyond reason */
    IN_ORDER(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT, DELTA("{\"content\":\"a\\ud83d\"}") FINISH("stop")), "{\"content\":\"a\"}",
             "{\"content\":\"\xef\xbf\xbd\"}");
    try_holds(try_reply(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT_WITH("\"stream_options\":{\"include_usage\":true}"),
                        "{\"choices\":[{\"message\":{\"content\":\"abcd\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9223372036854775807,"
                        "\"completion_tokens\":9223372036854775807}}"),
              "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1,\"total_tokens\":8}");
    try_holds(try_reply(LLM_MESSAGES, LLM_SPEAKS_CHAT, MSGS,
                        WHOLE("{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"n\\\":123456789012345678901234567890,\\\"x\\\":2.0}\"}}]}")),
              "\"input\":{\"n\":123456789012345678901234567890,\"x\":2.0}");
}

static void log_probabilities_stay_with_their_text(void **state) {
    (void)state;
    IN_ORDER(try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, "{\"input\":\"x\",\"include\":[\"message.output_text.logprobs\"]}",
                        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{\"token\":\"a\"}]}}]}\n\n"
                        CALLS("{\"index\":0,\"function\":{\"name\":\"f\"}}")
                        "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"logprobs\":{\"content\":[{\"token\":\"b\"}]}}]}\n\n" FINISH("stop")),
             "\"text\":\"a\",\"logprobs\":[{\"token\":\"a\"}]}", "\"text\":\"b\",\"logprobs\":[{\"token\":\"b\"}]}", "response.completed",
             "\"logprobs\":[{\"token\":\"a\"}]", "\"logprobs\":[{\"token\":\"b\"}]");
}

static void the_tokens_of_hidden_reasoning_stay_hidden(void **state) {
    struct translate_spec spec = try_spec(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT_WITH("\"logprobs\":true"));
    (void)state;
    spec.stream = true;
    for (int how = 0; how < 2; how++) {
        spec.reasoning = how ? TRANSLATE_REASONING_STRIP : TRANSLATE_REASONING_SPLIT;
        char *got = try_stream_spec(&spec, "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"secret\"},\"logprobs\":{\"content\":[{\"token\":\"secret\"}]}}]}\n\n"
                                           "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{\"token\":\"a\"}]}}]}\n\n" FINISH("stop"));
        assert_int_equal(strstr(got, "secret") == NULL, how);
        assert_non_null(strstr(got, "{\"token\":\"a\"}"));
        free(got);
    }
}

static void a_refusal_is_told_to_every_client(void **state) {
    const char *stream = DELTA("{\"refusal\":\"no\"}") FINISH("stop");
    (void)state;
    try_holds(try_stream(LLM_MESSAGES, LLM_SPEAKS_CHAT, MSGS, stream), "\"stop_reason\":\"refusal\"");
    IN_ORDER(try_stream(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT, stream), "{\"refusal\":\"no\"}", "\"finish_reason\":\"stop\"");
    IN_ORDER(try_stream(LLM_RESPONSES, LLM_SPEAKS_CHAT, RESP, stream), "response.refusal.delta", "response.completed");
}

static void vectors_are_numbers(void **state) {
    (void)state;
    try_is(try_reply(LLM_OLLAMA_EMBED, LLM_SPEAKS_EMBEDDINGS, "{\"input\":\"a\"}", "{\"data\":[{\"embedding\":\"AADAfw==\"}]}"),
           "! upstream_bad_reply: the runtime's vector holds what is no number");
    try_is(try_reply(LLM_OLLAMA_EMBED, LLM_SPEAKS_EMBEDDINGS, "{\"input\":\"a\"}", "{\"data\":[{}]}"), "! upstream_bad_reply: the runtime's reply lacks a vector");
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void a_member_that_stands_twice_counts_once(void **state) {
    (void)state;
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_CHAT,
                       "{\"messages\":[{\"role\":\"user\",\"content\":\"first\"}],\"stop\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"last\"}],\"stop\":\"b\"}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"user\",\"content\":\"last\"}],\"stop\":[\"b\"],\"stream\":false}");
    /* nor may a member of ours meet one that the client wrote */
    struct translate_spec spec = try_spec(LLM_CHAT, LLM_SPEAKS_CHAT, CHAT_WITH("\"reasoning_effort\":\"none\",\"chat_template_kwargs\":{\"x\":1,\"enable_thinking\":true}"));
    spec.quirks = TRANSLATE_Q_TEMPLATE_THINK;
    try_is(try_request_spec(&spec), "{\"model\":\"native-model\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"chat_template_kwargs\":"
                                    "{\"enable_thinking\":false,\"x\":1},\"stream\":false}");
    try_is(try_request(LLM_OLLAMA_GENERATE, LLM_SPEAKS_OLLAMA, "{\"prompt\":\"hi\",\"messages\":[{\"role\":\"user\",\"content\":\"other\"}],\"keep_alive\":1}"),
           "{\"model\":\"native-model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"keep_alive\":1,\"stream\":false}");
}

static void what_is_null_is_missing(void **state) {
    (void)state;
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_CHAT, "{\"messages\":null}"), "! bad_request: \"messages\" is missing");
    try_is(try_request(LLM_MESSAGES, LLM_SPEAKS_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":null}"),
           "! bad_request: \"max_tokens\" is missing");
    try_is(try_request(LLM_RESPONSES, LLM_SPEAKS_CHAT, "{\"input\":null}"), "! bad_request: \"input\" is missing");
}

static void a_choice_is_one_of_the_tools(void **state) {
    (void)state;
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_CHAT,
                       CHAT_WITH("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}")),
           "! bad_request: the tool choice \"g\" is none of the tools");
    try_holds(try_request(LLM_RESPONSES, LLM_SPEAKS_CHAT,
                          "{\"input\":\"x\",\"tools\":[{\"type\":\"namespace\",\"name\":\"n\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"function\","
                          "\"name\":\"g\"}]}],\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]}}"),
              "\"function\":{\"name\":\"n__f\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],\"tool_choice\":\"required\"");
}

static void results_find_their_calls(void **state) {
    (void)state;
    /* old Ollama: names only, the same one twice; the same id in each turn, as some runtimes make them */
    IN_ORDER(try_request(LLM_OLLAMA_CHAT, LLM_SPEAKS_ANTHROPIC,
                         "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"one\",\"function\":{\"name\":"
                         "\"f\"}},{\"id\":\"two\",\"function\":{\"name\":\"g\"}},{\"id\":\"three\",\"function\":{\"name\":\"f\"}}]},{\"role\":\"tool\",\"tool_name\":\"f\","
                         "\"content\":\"r1\"},{\"role\":\"tool\",\"tool_name\":\"f\",\"content\":\"r3\"},{\"role\":\"tool\",\"content\":\"r2\"}]}"),
             "\"tool_use_id\":\"one\",\"content\":[{\"type\":\"text\",\"text\":\"r1\"", "\"tool_use_id\":\"three\",\"content\":[{\"type\":\"text\",\"text\":\"r3\"",
             "\"tool_use_id\":\"two\",\"content\":[{\"type\":\"text\",\"text\":\"r2\"");
    IN_ORDER(try_request(LLM_CHAT, LLM_SPEAKS_OLLAMA,
                         "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\","
                         "\"content\":\"r1\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"g\"}}]},{\"role\":\"tool\",\"tool_call_id\":"
                         "\"c\",\"content\":\"r2\"}]}"),
             "\"r1\",\"tool_call_id\":\"c\",\"tool_name\":\"f\"", "\"r2\",\"tool_call_id\":\"c\",\"tool_name\":\"g\"");
    /* Anthropic: one result for each call, first of all, even when two turns of the assistant become one */
    IN_ORDER(try_request(LLM_CHAT, LLM_SPEAKS_ANTHROPIC,
                         "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\"}}]},{\"role\":"
                         "\"assistant\",\"tool_calls\":[{\"id\":\"b\",\"function\":{\"name\":\"f\"}}]},{\"role\":\"user\",\"content\":\"wait\"},{\"role\":\"tool\","
                         "\"tool_call_id\":\"b\",\"content\":\"rb\"},{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"again\"},{\"role\":\"assistant\",\"content\":"
                         "\"ok\"},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"ra\"}]}"),
             "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"b\",\"content\":[{\"type\":\"text\",\"text\":\"rb\"}]},{\"type\":\"tool_result\","
             "\"tool_use_id\":\"a\",\"content\":\"no result recorded\"},{\"type\":\"text\",\"text\":\"wait\"},{\"type\":\"text\",\"text\":\"again\"}]},"
             "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"ok\"}]},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"ra\"}]}");
}

static void a_long_conversation_takes_no_longer_per_turn(void **state) {
    enum { TURNS = 20000 };
    struct buf text = BUF_MAX(16 << 20), out = BUF_MAX(16 << 20);
    struct err e = { 0 };
    (void)state;
    buf_add(&text, SV("{\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["));
    for (int i = 0; i < TURNS; i++)
        buf_printf(&text, "%s{\"id\":\"call_%d\",\"function\":{\"name\":\"f\",\"arguments\":{}}}", i ? "," : "", i);
    buf_add(&text, SV("]}"));
    for (int i = 0; i < TURNS; i++)
        buf_printf(&text, ",{\"role\":\"tool\",\"tool_call_id\":\"call_%d\",\"content\":\"r\"},{\"role\":\"tool\",\"tool_name\":\"f\",\"content\":\"r\"}", i);
    buf_add(&text, SV("]}"));
    struct translate_spec spec = try_spec(LLM_OLLAMA_CHAT, LLM_SPEAKS_ANTHROPIC, "");
    spec.body = buf_sv(&text);
    spec.body_max = 32 << 20;
    struct translate *t = translate_new(&spec, &out, &e); /* minutes, if each result looked for its call one by one */
    if (!t)
        print_error("%s\n", e.text);
    assert_non_null(t);
    translate_free(t);
    buf_deinit(&text);
    buf_deinit(&out);
}

static void lists_have_a_bound(void **state) {
    struct buf text = BUF_MAX(1 << 20);
    (void)state;
    buf_add(&text, SV("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":["));
    for (int i = 0; i <= CANON_TOOLS_MAX; i++)
        buf_printf(&text, "%s{\"type\":\"function\",\"function\":{\"name\":\"f%d\"}}", i ? "," : "", i);
    buf_add(&text, SV("]}\0"));
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_CHAT, text.p), "! bad_request: there are more than 4096 tools");
    buf_reset(&text);
    buf_add(&text, SV("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"));
    for (int i = 0; i <= 1024; i++)
        buf_printf(&text, ",\"m%d\":1", i);
    buf_add(&text, SV("}\0"));
    try_is(try_request(LLM_CHAT, LLM_SPEAKS_CHAT, text.p), "! bad_request: the body has more than 1024 members that this API does not have");
    buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_told_apart),
        cmocka_unit_test(a_broken_call_or_text_is_an_error),
        cmocka_unit_test(a_name_is_the_clients),
        cmocka_unit_test(the_old_form_has_room_for_one_call),
        cmocka_unit_test(custom_tools_of_chat_come_back_as_such),
        cmocka_unit_test(what_is_said_within_a_call_comes_behind_it),
        cmocka_unit_test(calls_that_nobody_closed_have_their_arguments),
        cmocka_unit_test(more_calls_than_anybody_needs_are_a_fault),
        cmocka_unit_test(errors_come_in_many_forms),
        cmocka_unit_test(nothing_follows_the_end),
        cmocka_unit_test(what_does_not_fit_is_told_in_short),
        cmocka_unit_test(an_empty_answer_is_a_message_without_text),
        cmocka_unit_test(a_character_cut_in_two_is_joined),
        cmocka_unit_test(nothing_is_left_out_in_silence),
        cmocka_unit_test(of_members_of_one_name_the_last_counts),
        cmocka_unit_test(what_a_slug_sets_holds_in_every_api),
        cmocka_unit_test(too_much_to_translate_names_the_limit),
        cmocka_unit_test(odd_values_do_no_harm),
        cmocka_unit_test(log_probabilities_stay_with_their_text),
        cmocka_unit_test(the_tokens_of_hidden_reasoning_stay_hidden),
        cmocka_unit_test(a_refusal_is_told_to_every_client),
        cmocka_unit_test(vectors_are_numbers),
        cmocka_unit_test(a_member_that_stands_twice_counts_once),
        cmocka_unit_test(what_is_null_is_missing),
        cmocka_unit_test(a_choice_is_one_of_the_tools),
        cmocka_unit_test(results_find_their_calls),
        cmocka_unit_test(a_long_conversation_takes_no_longer_per_turn),
        cmocka_unit_test(lists_have_a_bound),
    };
    return cmocka_run_group_tests_name("translate/odd", tests, NULL, NULL);
}
