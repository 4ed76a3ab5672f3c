/* Every API into every other one and back: what both can say is the same as before. The reference on dialect translation, 11.
 *
 * A request of one API is printed for another's runtime, read again as a request of that API, and printed for the first. A
 * reply goes the same way around. Facts of what comes out are compared with a table of who can say what. */
#include "translate/try.h"

enum { CHAT = 1, MSGS = 2, RESP = 4, OLLA = 8, ALL = 15 };

static const struct api {
    unsigned bit;
    enum llm_api api;
    const char *request; /* %s: members that only a variant has */
} apis[] = {
    { CHAT, LLM_CHAT,
      "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What is "
      "this?\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo=\"}}]},{\"role\":\"assistant\",\"content\":"
      "\"Let me \\\"look\\\".\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":"
      "\"{\\\"b\\\":1,\\\"a\\\":[2.0,\\\"\xc3\xbc\\\"]}\"}},{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"time\",\"arguments\":"
      "\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"a\\ncat\"},{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":"
      "\"noon\"},{\"role\":\"user\",\"content\":\"And now?\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"description\":"
      "\"sees\",\"parameters\":{\"type\":\"object\",\"properties\":{\"b\":{\"maximum\":1.5}}}}},{\"type\":\"function\",\"function\":{\"name\":"
      "\"time\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],\"temperature\":0.25,\"top_p\":0.5,\"top_k\":40,\"min_p\":0.1,\"seed\":7,"
      "\"presence_penalty\":-0.5,\"frequency_penalty\":0.75,\"repeat_penalty\":1.1,\"max_tokens\":99,\"response_format\":{\"type\":"
      "\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":true,\"schema\":{\"type\":\"object\",\"required\":[\"x\"]}}}%s}" },
    { MSGS, LLM_MESSAGES,
      "{\"system\":[{\"type\":\"text\",\"text\":\"Be brief.\"}],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What is "
      "this?\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iVBORw0KGgo=\"}}]},{\"role\":"
      "\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"Let me \\\"look\\\".\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"look\","
      "\"input\":{\"b\":1,\"a\":[2.0,\"\xc3\xbc\"]}},{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"time\",\"input\":{}}]},{\"role\":\"user\","
      "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"a\\ncat\"},{\"type\":\"tool_result\",\"tool_use_id\":\"c2\","
      "\"content\":[{\"type\":\"text\",\"text\":\"noon\"}]},{\"type\":\"text\",\"text\":\"And now?\"}]}],\"tools\":[{\"name\":\"look\","
      "\"description\":\"sees\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"b\":{\"maximum\":1.5}}}},{\"name\":\"time\","
      "\"input_schema\":{\"type\":\"object\",\"properties\":{}}}],\"temperature\":0.25,\"top_p\":0.5,\"top_k\":40,\"max_tokens\":99,"
      "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\",\"required\":[\"x\"]}}}%s}" },
    { RESP, LLM_RESPONSES,
      "{\"instructions\":\"Be brief.\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"What is this?\"},{\"type\":"
      "\"input_image\",\"image_url\":\"data:image/png;base64,iVBORw0KGgo=\"}]},{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{"
      "\"type\":\"output_text\",\"text\":\"Let me \\\"look\\\".\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"look\",\"arguments\":"
      "\"{\\\"b\\\":1,\\\"a\\\":[2.0,\\\"\xc3\xbc\\\"]}\"},{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"time\",\"arguments\":\"{}\"},{"
      "\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"a\\ncat\"},{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":"
      "[{\"type\":\"input_text\",\"text\":\"noon\"}]},{\"role\":\"user\",\"content\":\"And now?\"}],\"tools\":[{\"type\":\"function\",\"name\":\"look\","
      "\"description\":\"sees\",\"parameters\":{\"type\":\"object\",\"properties\":{\"b\":{\"maximum\":1.5}}}},{\"type\":\"function\",\"name\":"
      "\"time\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}],\"temperature\":0.25,\"top_p\":0.5,\"max_output_tokens\":99,\"text\":{"
      "\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"strict\":true,\"schema\":{\"type\":\"object\",\"required\":[\"x\"]}}}%s}" },
    { OLLA, LLM_OLLAMA_CHAT,
      "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"What is this?\",\"images\":["
      "\"iVBORw0KGgo=\"]},{\"role\":\"assistant\",\"content\":\"Let me \\\"look\\\".\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":"
      "\"look\",\"arguments\":{\"b\":1,\"a\":[2.0,\"\xc3\xbc\"]}}},{\"id\":\"c2\",\"function\":{\"name\":\"time\",\"arguments\":{}}}]},{\"role\":"
      "\"tool\",\"tool_name\":\"look\",\"tool_call_id\":\"c1\",\"content\":\"a\\ncat\"},{\"role\":\"tool\",\"tool_name\":\"time\",\"tool_call_id\":"
      "\"c2\",\"content\":\"noon\"},{\"role\":\"user\",\"content\":\"And now?\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\","
      "\"description\":\"sees\",\"parameters\":{\"type\":\"object\",\"properties\":{\"b\":{\"maximum\":1.5}}}}},{\"type\":\"function\",\"function\":"
      "{\"name\":\"time\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],\"format\":{\"type\":\"object\",\"required\":[\"x\"]},\"options\":{"
      "\"temperature\":0.25,\"top_p\":0.5,\"top_k\":40,\"min_p\":0.1,\"seed\":7,\"presence_penalty\":-0.5,\"frequency_penalty\":0.75,"
      "\"repeat_penalty\":1.1,\"num_predict\":99%s}}" },
};

enum { N_APIS = sizeof apis / sizeof apis[0] };

/* --- requests ----------------------------------------------------------------------------------------------------- */

/* What a variant adds, in the words of those who can say it. */
static const struct variant {
    unsigned able;         /* who can say it */
    unsigned carry;        /* and as whose runtime it goes over; others lose or refuse it */
    const char *words[N_APIS], *fact;
} variants[] = {
    { ALL, ALL, { "", "", "", "" }, "" },
    { CHAT | MSGS | OLLA, CHAT | MSGS | OLLA,
      { ",\"stop\":[\"END\",\"\\n\\nQ\"]", ",\"stop_sequences\":[\"END\",\"\\n\\nQ\"]", NULL, ",\"stop\":[\"END\",\"\\n\\nQ\"]" },
      "stop END\nstop \n\nQ\n" },
    { CHAT | MSGS | RESP, CHAT | MSGS | RESP,
      { ",\"tool_choice\":\"required\"", ",\"tool_choice\":{\"type\":\"any\"}", ",\"tool_choice\":\"required\"", NULL }, "choice 3 \n" },
    { CHAT | MSGS | RESP, CHAT | MSGS | RESP,
      { ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"time\"}}", ",\"tool_choice\":{\"type\":\"tool\",\"name\":\"time\"}",
        ",\"tool_choice\":{\"type\":\"function\",\"name\":\"time\"}", NULL },
      "choice 4 time\n" },
    { CHAT | MSGS | RESP, CHAT | MSGS | RESP,
      { ",\"parallel_tool_calls\":false,\"tool_choice\":\"auto\"", ",\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true}",
        ",\"parallel_tool_calls\":false,\"tool_choice\":\"auto\"", NULL },
      "choice 1 \nparallel 1\n" },
    { CHAT | RESP, CHAT | RESP | OLLA, { ",\"reasoning_effort\":\"high\"", NULL, ",\"reasoning\":{\"effort\":\"high\"}", NULL }, "effort 4\n" },
    { CHAT | RESP, ALL, { ",\"reasoning_effort\":\"none\"", NULL, ",\"reasoning\":{\"effort\":\"none\"}", NULL }, "think 1\n" },
    { MSGS, ALL, { NULL, ",\"thinking\":{\"type\":\"disabled\"}", NULL, NULL }, "think 1\n" },
};

static const struct {
    const char *fact;
    unsigned able, carry;
} rows[] = {
    { "system Be brief.", ALL, ALL },
    { "user", ALL, ALL },
    { " text What is this?", ALL, ALL },
    { " image image/png iVBORw0KGgo=", ALL, ALL },
    { "assistant", ALL, ALL },
    { " text Let me \"look\".", ALL, ALL },
    { " call c1 look {\"b\":1,\"a\":[2.0,\"\xc3\xbc\"]}", ALL, ALL },
    { " call c2 time {}", ALL, ALL },
    { "tool c1 look", ALL, ALL },
    { " text a\ncat", ALL, ALL },
    { "tool c2 time", ALL, ALL },
    { " text noon", ALL, ALL },
    { "user", ALL, ALL },
    { " text And now?", ALL, ALL },
    { "offers look sees {\"type\":\"object\",\"properties\":{\"b\":{\"maximum\":1.5}}}", ALL, ALL },
    { "offers time  {\"type\":\"object\",\"properties\":{}}", ALL, ALL },
    { "temperature 0.25", ALL, ALL },
    { "top_p 0.5", ALL, ALL },
    { "top_k 40", CHAT | MSGS | OLLA, CHAT | MSGS | OLLA },
    { "min_p 0.1", CHAT | OLLA, CHAT | OLLA },
    { "seed 7", CHAT | OLLA, CHAT | OLLA },
    { "presence -0.5", CHAT | OLLA, CHAT | OLLA },
    { "frequency 0.75", CHAT | OLLA, CHAT | OLLA },
    { "repeat 1.1", CHAT | OLLA, CHAT | OLLA },
    { "most 99", ALL, ALL },
    { "schema {\"type\":\"object\",\"required\":[\"x\"]}", ALL, ALL },
    { "called n", CHAT | RESP, CHAT | RESP },
};

/* The request's body as it is sent. Malloc'ed. */
static char *print(enum llm_api client, enum llm_api runtime, const char *body) {
    struct translate_spec spec = try_spec(client, llm_speaks(runtime), body);
    struct buf out = BUF_MAX(1 << 20);
    struct err e = { 0 };
    struct translate *t = translate_new(&spec, &out, &e);
    if (!t)
        print_error("%s\n%s\n", e.text, body);
    assert_non_null(t);
    assert_int_equal(translate_api(t), runtime);
    char *ret = try_copy(buf_sv(&out));
    translate_free(t);
    buf_deinit(&out);
    return ret;
}

static void value_fact(struct buf *to, struct canon_request *rq, const char *name, yyjson_val *v) {
    if (v)
        buf_printf(to, "%s %.*s\n", name, SV_FMT(canon_json(rq, v)));
}

static void message_facts(struct buf *to, const struct canon_message *m) {
    static const char *const roles[] = { [CANON_SYSTEM] = "later", [CANON_USER] = "user", [CANON_ASSISTANT] = "assistant", [CANON_TOOL] = "tool" };
    buf_add(to, sv_of(roles[m->role]));
    if (m->role == CANON_TOOL)
        buf_printf(to, " %.*s %.*s", SV_FMT(m->call_id), SV_FMT(m->tool_name));
    buf_add(to, SV("\n"));
    for (const struct canon_part *p = m->parts.first; p; p = p->next) {
        if (p->kind == CANON_IMAGE)
            buf_printf(to, " image %.*s %.*s\n", SV_FMT(p->mime), SV_FMT(p->data));
        else
            buf_printf(to, " text %.*s\n", SV_FMT(p->text));
    }
    for (const struct canon_call *c = m->calls; c; c = c->next)
        buf_printf(to, " call %.*s %.*s %.*s\n", SV_FMT(c->id), SV_FMT(c->name), SV_FMT(c->args));
}

/* All that a body of this API says, a line each. Malloc'ed. */
static char *facts(enum llm_api api, const char *body) {
    struct translate_spec spec = try_spec(api, 0, body);
    struct arena arena;
    struct buf to = BUF_MAX(1 << 20), lost = BUF_MAX(1 << 12);
    struct err e = { 0 };
    arena_init(&arena, 1 << 20, NULL);
    struct canon_request rq = { .arena = &arena, .spec = &spec, .doc = json_parse_exact(spec.body), .max_output = -1, .think_budget = -1,
                                .top_logprobs = -1, .num_ctx = -1, .dimensions = -1, .degraded = &lost, .fault = &e };
    assert_non_null(rq.doc);
    if (!dialect_of(api)->read(&rq, yyjson_doc_get_root(rq.doc)) || !canon_settle(&rq))
        print_error("%s\n%s\n", e.text, body);
    assert_int_equal(e.code, ERR_NONE);
    for (const struct canon_part *p = rq.system.first; p; p = p->next)
        buf_printf(&to, "system %.*s\n", SV_FMT(p->text));
    for (const struct canon_message *m = rq.messages; m; m = m->next)
        message_facts(&to, m);
    for (const struct canon_tool *t = rq.tools; t; t = t->next)
        buf_printf(&to, "offers %.*s %.*s %.*s\n", SV_FMT(t->name), SV_FMT(t->description), SV_FMT(canon_json(&rq, t->schema)));
    value_fact(&to, &rq, "temperature", rq.temperature);
    value_fact(&to, &rq, "top_p", rq.top_p);
    value_fact(&to, &rq, "top_k", rq.top_k);
    value_fact(&to, &rq, "min_p", rq.min_p);
    value_fact(&to, &rq, "seed", rq.seed);
    value_fact(&to, &rq, "presence", rq.presence_penalty);
    value_fact(&to, &rq, "frequency", rq.frequency_penalty);
    value_fact(&to, &rq, "repeat", rq.repeat_penalty);
    buf_printf(&to, "most %d\n", (int)rq.max_output);
    value_fact(&to, &rq, "schema", rq.schema);
    if (rq.format_name.n && !sv_eq(rq.format_name, SV("output"))) /* the name that is made up where there is none */
        buf_printf(&to, "called %.*s\n", SV_FMT(rq.format_name));
    for (const struct canon_string *s = rq.stop; s; s = s->next)
        buf_printf(&to, "stop %.*s\n", SV_FMT(s->text));
    if (rq.choice != CANON_CHOICE_UNSET)
        buf_printf(&to, "choice %d %.*s\n", (int)rq.choice, SV_FMT(rq.choice_name));
    if (rq.parallel != CANON_UNSET)
        buf_printf(&to, "parallel %d\n", (int)rq.parallel);
    if (rq.effort != CANON_EFFORT_UNSET)
        buf_printf(&to, "effort %d\n", (int)rq.effort);
    if (rq.think == CANON_NO)
        buf_printf(&to, "think %d\n", (int)rq.think);
    char *ret = try_copy(buf_sv(&to));
    yyjson_doc_free(rq.doc);
    arena_deinit(&arena);
    buf_deinit(&to);
    buf_deinit(&lost);
    return ret;
}

static void check_request(const struct api *client, const struct api *runtime, const struct variant *v) {
    char body[8192], expected[4096] = "";
    const char *at = strstr(client->request, "%s");
    snprintf(body, sizeof body, "%.*s%s%s", (int)(at - client->request), client->request, v->words[client - apis], at + 2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if ((rows[i].able & client->bit) && (rows[i].carry & runtime->bit))
            snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s\n", rows[i].fact);
    strcat(expected, v->fact);
    char *there = print(client->api, runtime->api, body);
    char *back = print(runtime->api, client->api, there);
    char *got = facts(client->api, back);
    if (strcmp(got, expected) != 0)
        print_error("client %d, runtime %d:\n%s\n%s\n", (int)client->api, (int)runtime->api, there, back);
    assert_string_equal(got, expected);
    char *again = print(client->api, runtime->api, back), *home = print(runtime->api, client->api, again);
    assert_string_equal(home, back); /* nothing changes any more */
    free(there);
    free(back);
    free(got);
    free(again);
    free(home);
}

static void a_request_comes_back_as_it_went(void **state) {
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++)
        for (size_t c = 0; c < N_APIS; c++)
            for (size_t r = 0; r < N_APIS; r++)
                if ((variants[v].able & apis[c].bit) && (variants[v].carry & apis[r].bit))
                    check_request(&apis[c], &apis[r], &variants[v]);
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

#define SSE(data) "data: " data "\n\n"
#define EVENT(name, members) "event: " name "\ndata: {\"type\":\"" name "\"," members "}\n\n"
#define CHUNK(delta) SSE("{\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}")

static const struct said {
    enum llm_api api;
    const char *stream, *whole;
} said[] = {
    { LLM_CHAT,
      CHUNK("{\"role\":\"assistant\",\"content\":null}") CHUNK("{\"reasoning_content\":\"h\"}") CHUNK("{\"reasoning_content\":\"m\\n\"}")
      CHUNK("{\"content\":\"Hel\"}") CHUNK("{\"content\":\"lo \\ud83d\\ude00\"}")
      CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}")
      CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":1.0,\"}}]}")
      CHUNK("{\"tool_calls\":[{\"index\":1,\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}")
      CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"b\\\":\\\"x\\\\\\\"}\\\"}\"}}]}")
      SSE("{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}")
      SSE("{\"choices\":[],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":16}}}") SSE("[DONE]"),
      "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello \\ud83d\\ude00\",\"reasoning_content\":\"hm\\n\",\"tool_calls\":[{"
      "\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1.0,\\\"b\\\":\\\"x\\\\\\\"}\\\"}\"}},{\"id\":\"c2\",\"type\":"
      "\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":21,"
      "\"completion_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":16}}}" },
    { LLM_MESSAGES,
      EVENT("message_start", "\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":16,\"output_tokens\":1}}")
      EVENT("ping", "\"x\":0") EVENT("content_block_start", "\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
      EVENT("content_block_delta", "\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\\n\"}")
      EVENT("content_block_delta", "\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"s\"}")
      EVENT("content_block_stop", "\"index\":0") EVENT("content_block_start", "\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
      EVENT("content_block_delta", "\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello \"}")
      EVENT("content_block_delta", "\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"\xf0\x9f\x98\x80\"}") EVENT("content_block_stop", "\"index\":1")
      EVENT("content_block_start", "\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{}}")
      EVENT("content_block_delta", "\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}")
      EVENT("content_block_delta", "\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1.0,\\\"b\\\":\\\"x\\\\\\\"}\\\"}\"}")
      EVENT("content_block_stop", "\"index\":2")
      EVENT("content_block_start", "\"index\":3,\"content_block\":{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"g\",\"input\":{}}")
      EVENT("content_block_stop", "\"index\":3") EVENT("message_delta", "\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":9}")
      EVENT("message_stop", "\"x\":0"),
      "{\"type\":\"message\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\\n\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"Hello "
      "\\ud83d\\ude00\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{\"a\":1.0,\"b\":\"x\\\"}\"}},{\"type\":\"tool_use\",\"id\":\"c2\","
      "\"name\":\"g\",\"input\":{}}],\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":16,\"output_tokens\":9}}" },
    { LLM_RESPONSES,
      EVENT("response.created", "\"response\":{}") EVENT("response.output_item.added", "\"output_index\":0,\"item\":{\"type\":\"reasoning\",\"id\":\"rs\"}")
      EVENT("response.reasoning_text.delta", "\"output_index\":0,\"delta\":\"hm\\n\"")
      EVENT("response.output_item.added", "\"output_index\":1,\"item\":{\"type\":\"message\",\"id\":\"m\"}")
      EVENT("response.output_text.delta", "\"output_index\":1,\"delta\":\"Hello \xf0\x9f\x98\x80\"")
      EVENT("response.output_item.added", "\"output_index\":2,\"item\":{\"type\":\"function_call\",\"id\":\"fc\",\"call_id\":\"c1\",\"name\":\"f\"}")
      EVENT("response.output_item.added", "\"output_index\":3,\"item\":{\"type\":\"function_call\",\"id\":\"fd\",\"call_id\":\"c2\",\"name\":\"g\"}")
      EVENT("response.function_call_arguments.delta", "\"output_index\":2,\"delta\":\"{\\\"a\\\":1.0,\\\"b\\\":\"")
      EVENT("response.output_item.done", "\"output_index\":3,\"item\":{\"type\":\"function_call\",\"id\":\"fd\",\"call_id\":\"c2\",\"name\":\"g\",\"arguments\":\"{}\"}")
      EVENT("response.function_call_arguments.delta", "\"output_index\":2,\"delta\":\"\\\"x\\\\\\\"}\\\"}\"")
      EVENT("response.output_item.done", "\"output_index\":2,\"item\":{\"type\":\"function_call\",\"id\":\"fc\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"no\"}")
      EVENT("response.completed", "\"response\":{\"status\":\"completed\",\"usage\":{\"input_tokens\":21,\"input_tokens_details\":{\"cached_tokens\":16},"
                                  "\"output_tokens\":9}}"),
      "{\"status\":\"completed\",\"output\":[{\"type\":\"reasoning\",\"content\":[{\"type\":\"reasoning_text\",\"text\":\"hm\\n\"}]},{\"type\":\"message\","
      "\"content\":[{\"type\":\"output_text\",\"text\":\"Hello \\ud83d\\ude00\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":"
      "\"{\\\"a\\\":1.0,\\\"b\\\":\\\"x\\\\\\\"}\\\"}\"},{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"g\",\"arguments\":\"{}\"}],\"usage\":{\"input_tokens\":"
      "21,\"input_tokens_details\":{\"cached_tokens\":16},\"output_tokens\":9}}" },
    { LLM_OLLAMA_CHAT,
      "{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\\n\"},\"done\":false}\n"
      "{\"message\":{\"content\":\"Hello \\ud83d\\ude00\"},\"done\":false}\n"
      "{\"message\":{\"content\":\"\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1.0,\"b\":\"x\\\"}\"}}},{\"id\":\"c2\","
      "\"function\":{\"name\":\"g\",\"arguments\":{}}}]},\"done\":false}\n"
      "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":21,\"eval_count\":9}\n",
      "{\"message\":{\"content\":\"Hello \\ud83d\\ude00\",\"thinking\":\"hm\\n\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1.0,"
      "\"b\":\"x\\\"}\"}}},{\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":{}}}]},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":21,"
      "\"eval_count\":9}" },
};

static const char *ask(enum llm_api client) {
    return client == LLM_RESPONSES  ? "{\"input\":\"x\"}"
           : client == LLM_MESSAGES ? "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"
                                    : "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream_options\":{\"include_usage\":true}}";
}

#define CHOICES                                                                                                                    \
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello \xf0\x9f\x98\x80\",\"reasoning_content\":\"hm\\n\"," \
    "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1.0,\\\"b\\\":"      \
    "\\\"x\\\\\\\"}\\\"}\"}},{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},"               \
    "\"finish_reason\":\"tool_calls\"}]"

/* What a client of chat completions is told in the end. */
static void check_reply(char *got, int cached, const char *between) {
    yyjson_doc *doc = json_parse(sv_of(got));
    yyjson_val *usage = json_get(yyjson_doc_get_root(doc), "usage");
    if (!strstr(got, CHOICES))
        print_error("%s\nnot as expected after\n%s\n", got, between);
    assert_non_null(strstr(got, CHOICES));
    assert_int_equal(json_i64(usage, "prompt_tokens", -1), 21);
    assert_int_equal(json_i64(usage, "completion_tokens", -1), 9);
    assert_int_equal(json_i64(json_get(usage, "prompt_tokens_details"), "cached_tokens", 0), cached);
    yyjson_doc_free(doc);
    free(got);
}

static int cached_tokens(enum llm_api a, enum llm_api b) {
    return a == LLM_OLLAMA_CHAT || b == LLM_OLLAMA_CHAT ? 0 : 16; /* it has no word for them */
}

static void a_stream_says_the_same_in_every_api(void **state) {
    (void)state;
    for (size_t r = 0; r < sizeof said / sizeof said[0]; r++) {
        for (size_t c = 0; c < N_APIS; c++) {
            enum llm_api api = apis[c].api;
            char *between = try_stream(api, llm_speaks(said[r].api), ask(api), said[r].stream);
            struct translate_spec last = try_spec(LLM_CHAT, llm_speaks(api), ask(LLM_CHAT)); /* a whole reply of the stream */
            check_reply(try_stream_spec(&last, between), cached_tokens(api, said[r].api), between);
            free(between);
        }
    }
}

static void a_whole_reply_says_the_same_in_every_api(void **state) {
    (void)state;
    for (size_t r = 0; r < sizeof said / sizeof said[0]; r++) {
        for (size_t c = 0; c < N_APIS; c++) {
            enum llm_api api = apis[c].api;
            char *between = try_reply(api, llm_speaks(said[r].api), ask(api), said[r].whole);
            check_reply(try_reply(LLM_CHAT, llm_speaks(api), ask(LLM_CHAT), between), cached_tokens(api, said[r].api), between);
            free(between);
        }
    }
}

/* A runtime may answer with a whole reply where a stream was wanted. */
static void a_whole_reply_becomes_a_stream(void **state) {
    (void)state;
    for (size_t r = 0; r < sizeof said / sizeof said[0]; r++) {
        for (size_t c = 0; c < N_APIS; c++) {
            enum llm_api api = apis[c].api;
            struct translate_spec spec = try_spec(api, llm_speaks(said[r].api), ask(api)), last = try_spec(LLM_CHAT, llm_speaks(api), ask(LLM_CHAT));
            struct buf body = BUF_MAX(1 << 20), out = BUF_MAX(1 << 20);
            struct err e = { 0 };
            spec.stream = true;
            struct translate *t = translate_new(&spec, &body, &e);
            assert_true(t && translate_reply(t, sv_of(said[r].whole), 2000000, &out, &e));
            char *between = try_copy(buf_sv(&out));
            check_reply(try_stream_spec(&last, between), cached_tokens(api, said[r].api), between);
            free(between);
            translate_free(t);
            buf_deinit(&body);
            buf_deinit(&out);
        }
    }
}

static void memory_may_run_out_anywhere(void **state) {
    char body[8192];
    (void)state;
    for (size_t c = 0; c < N_APIS; c++) {
        const char *at = strstr(apis[c].request, "%s");
        snprintf(body, sizeof body, "%.*s%s", (int)(at - apis[c].request), apis[c].request, at + 2);
        for (size_t r = 0; r < N_APIS; r++) {
            TRY_WITHOUT_MEMORY(try_request(apis[c].api, llm_speaks(apis[r].api), body));
            TRY_WITHOUT_MEMORY(try_stream(apis[c].api, llm_speaks(apis[r].api), ask(apis[c].api), said[r].stream));
            TRY_WITHOUT_MEMORY(try_reply(apis[c].api, llm_speaks(apis[r].api), ask(apis[c].api), said[r].whole));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_back_as_it_went),
        cmocka_unit_test(a_stream_says_the_same_in_every_api),
        cmocka_unit_test(a_whole_reply_says_the_same_in_every_api),
        cmocka_unit_test(a_whole_reply_becomes_a_stream),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests_name("translate/pairs", tests, NULL, NULL);
}
