/* translate/lmstudio.c - LM Studio's own APIs.
 *
 * /api/v0 is OpenAI's chat and completions with figures added at the end; it can be spoken to as well. /api/v1/chat has its
 * own form, with server-side history and no tools of the client: it is served, never spoken to. Formats: the reference on API
 * dialects, 10.2 and 10.3. */
#include <stddef.h>

#include "llm/print.h"
#include "translate/completions.h"
#include "translate/openai.h"

#define AT(field) offsetof(struct canon_request, field)

/* --- v0 ----------------------------------------------------------------------------------------------------------- */

static const char *stop_reason(const struct canon_reply *r) {
    switch (r->finish) {
    case CANON_STOP_SEQUENCE: return "stopStringFound";
    case CANON_LENGTH: return "maxPredictedTokensReached";
    case CANON_CONTEXT_FULL: return "contextLengthReached";
    case CANON_TOOL_CALLS: return "toolCalls";
    default: return "eosFound";
    }
}

/* A double with three decimals, as the server writes seconds. */
static void print_seconds(struct print *p, const char *name, uint64_t us) {
    print_name(p, name);
    buf_printf(p->to, "%.3f", (double)us / 1e6);
}

static void print_stats(struct canon_reply *r, struct print *p) {
    uint64_t first = r->first_us ? r->first_us : r->now_us;
    uint64_t output = r->output_us >= 0 ? (uint64_t)r->output_us : r->now_us - first;
    int64_t tokens = canon_usage_settled(r).output;
    print_open(p, "stats", '{');
    print_name(p, "tokens_per_second");
    buf_printf(p->to, "%.3f", output ? (double)tokens * 1e6 / (double)output : 0.0);
    print_seconds(p, "time_to_first_token", first - r->begun_us);
    print_seconds(p, "generation_time", output);
    print_str(p, "stop_reason", sv_of(stop_reason(r)));
    print_close(p, '}');
}

static void chat0_print_reply(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    openai_open(r, &p, "chat.completion");
    chat_print_choices(r, &p);
    print_stats(r, &p);
    print_close(&p, '}');
}

static void completions0_print_reply(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    openai_open(r, &p, "text_completion");
    completions_print_choices(r, &p);
    print_stats(r, &p);
    print_close(&p, '}');
}

/* A last chunk with the figures goes in front of [DONE]. */
static void encode0(struct canon_reply *r, const struct canon_event *ev, const char *object, void (*encode)(struct canon_reply *, const struct canon_event *)) {
    const struct sv done = SV("data: [DONE]\n\n");
    encode(r, ev);
    if (ev->kind != CANON_E_END || r->out->failed || r->out->n < done.n)
        return;
    r->out->n -= done.n;
    struct print p = print_begin(r->out);
    buf_add(r->out, SV("data: "));
    openai_open(r, &p, object);
    canon_print_raw(&p, "choices", SV("[]"));
    print_stats(r, &p);
    buf_add(r->out, SV("}\n\n"));
    buf_add(r->out, done);
}

static void chat0_encode(struct canon_reply *r, const struct canon_event *ev) {
    encode0(r, ev, "chat.completion.chunk", chat_encode);
}

static void completions0_encode(struct canon_reply *r, const struct canon_event *ev) {
    encode0(r, ev, "text_completion", completions_encode);
}

/* --- v1: the request ---------------------------------------------------------------------------------------------- */

static bool read_item(struct canon_request *rq, struct canon_message *m, yyjson_val *v, uint32_t i) {
    struct sv type = json_str(v, "type");
    bool image = sv_eq(type, SV("image"));
    if (!image && !sv_eq(type, SV("message")) && !sv_eq(type, SV("text")))
        return canon_cannot(rq, "input[%u].type \"%.*s\" is not known", i, SV_FMT(sv_first(type, 40)));
    struct canon_part *p = canon_part(rq, &m->parts, image ? CANON_IMAGE : CANON_TEXT, i);
    if (!p || !canon_known(rq, v, "input", CANON_NAMES("type", "content", "text", "data_url")))
        return false;
    if (image)
        return json_str(v, "data_url").p ? canon_link(rq, p, json_str(v, "data_url"), canon_text(rq, "input[%u].data_url", i))
                                         : canon_bad(rq, "input[%u].data_url must be a string", i);
    p->text = json_str(v, "content");
    if (!p->text.p)
        p->text = json_str(v, "text");
    return p->text.p || canon_bad(rq, "input[%u].content must be a string", i);
}

static bool read_input(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct canon_message *m = canon_message(rq, CANON_USER, 0);
    size_t i, n;
    yyjson_val *one;
    if (!m)
        return false;
    if (yyjson_is_str(v)) {
        struct canon_part *p = canon_part(rq, &m->parts, CANON_TEXT, 0);
        if (p)
            p->text = json_sv(v);
        return p;
    }
    if (!yyjson_is_arr(v))
        return canon_bad(rq, "\"%s\" must be a string or an array of items", row->name);
    yyjson_arr_foreach(v, i, n, one)
        if (!read_item(rq, m, one, (uint32_t)i))
            return false;
    return true;
}

static bool read_system(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!yyjson_is_str(v))
        return canon_bad(rq, "\"%s\" must be a string", row->name);
    struct canon_part *p = canon_part(rq, &rq->system, CANON_TEXT, 0);
    if (p)
        p->text = json_sv(v);
    return p;
}

static bool read_reasoning(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    struct sv word = json_sv(v);
    rq->think = sv_eq(word, SV("off")) ? CANON_NO : CANON_YES;
    return sv_eq(word, SV("off")) || sv_eq(word, SV("on")) || canon_effort_parse(word, &rq->effort) ||
           canon_bad(rq, "\"%s\" must be off, low, medium, high or on", row->name);
}

static bool read_store(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)row;
    (void)v; /* nothing is stored: the answer has no response_id */
    return rq->fault->code == ERR_NONE;
}

static bool refuse(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (yyjson_is_arr(v) && yyjson_arr_size(v) == 0)
        return true;
    return canon_cannot(rq, "\"%s\" needs LM Studio itself, which does not serve this model", row->name);
}

static const struct canon_row rows[] = {
    { "model", canon_row_skip, 0 },
    { "input", read_input, 0 },
    { "system_prompt", read_system, 0 },
    { "stream", canon_row_flag, AT(stream) },
    { "temperature", canon_row_number, AT(temperature) },
    { "top_p", canon_row_number, AT(top_p) },
    { "top_k", canon_row_number, AT(top_k) },
    { "min_p", canon_row_number, AT(min_p) },
    { "repeat_penalty", canon_row_number, AT(repeat_penalty) },
    { "max_output_tokens", canon_row_limit, AT(max_output) },
    { "reasoning", read_reasoning, 0 },
    { "context_length", canon_row_limit, AT(num_ctx) },
    { "store", read_store, 0 },
    { "previous_response_id", refuse, 0 },
    { "integrations", refuse, 0 },
    { 0 },
};

static bool chat1_read(struct canon_request *rq, yyjson_val *body) {
    rq->list = "input";
    rq->wants_usage = true;
    if (!canon_has(body, "input"))
        return canon_bad(rq, "\"input\" is missing");
    return canon_members(rq, body, rows, true);
}

/* --- v1: the reply ------------------------------------------------------------------------------------------------ */

struct chat1_encoder {
    enum { RUN_NONE, RUN_REASONING, RUN_MESSAGE } run; /* of pieces that belong together */
};

static bool chat1_begin(struct canon_reply *r) {
    r->encoder = ARENA_NEW(r->arena, struct chat1_encoder);
    r->keeps_blocks = true;
    return r->encoder;
}

static struct print open_event(struct canon_reply *r, const char *type) {
    struct print p = print_begin(r->out);
    buf_add(r->out, SV("event: "));
    buf_add(r->out, sv_of(type));
    buf_add(r->out, SV("\ndata: "));
    print_open(&p, NULL, '{');
    print_str(&p, "type", sv_of(type));
    return p;
}

static void bare_event(struct canon_reply *r, const char *type) {
    struct print p = open_event(r, type);
    (void)p;
    buf_add(r->out, SV("}\n\n"));
}

static void turn_to(struct canon_reply *r, int run) {
    static const char *const starts[] = { [RUN_REASONING] = "reasoning.start", [RUN_MESSAGE] = "message.start" };
    static const char *const ends[] = { [RUN_REASONING] = "reasoning.end", [RUN_MESSAGE] = "message.end" };
    struct chat1_encoder *n = r->encoder;
    if ((int)n->run == run)
        return;
    if (n->run != RUN_NONE)
        bare_event(r, ends[n->run]);
    n->run = run;
    if (run != RUN_NONE)
        bare_event(r, starts[run]);
}

static void print_result(struct canon_reply *r, struct print *p, const char *name) {
    struct canon_usage u = canon_usage_settled(r);
    uint64_t first = r->first_us ? r->first_us : r->now_us;
    uint64_t output = r->output_us >= 0 ? (uint64_t)r->output_us : r->now_us - first;
    print_open(p, name, '{');
    print_str(p, "model_instance_id", r->model);
    print_open(p, "output", '[');
    for (const struct canon_block *b = r->blocks; b; b = b->next) {
        if (b->kind == CANON_E_CALL)
            continue; /* this API has no tools of the client, so none was asked for */
        print_open(p, NULL, '{');
        print_str(p, "type", b->kind == CANON_E_REASONING ? SV("reasoning") : SV("message"));
        print_str(p, "content", buf_sv(&b->text));
        print_close(p, '}');
    }
    print_close(p, ']');
    print_open(p, "stats", '{');
    print_int(p, "input_tokens", u.input);
    print_int(p, "total_output_tokens", u.output);
    print_int(p, "reasoning_output_tokens", u.reasoning > 0 ? u.reasoning : 0);
    print_name(p, "tokens_per_second");
    buf_printf(p->to, "%.3f", output ? (double)u.output * 1e6 / (double)output : 0.0);
    print_seconds(p, "time_to_first_token_seconds", first - r->begun_us);
    buf_add(p->to, SV("}}"));
}

static void chat1_encode(struct canon_reply *r, const struct canon_event *ev) {
    struct print p;
    bool thinks = ev->kind == CANON_E_REASONING;
    switch (ev->kind) {
    case CANON_E_START:
        p = open_event(r, "chat.start");
        print_str(&p, "model_instance_id", r->model);
        buf_add(r->out, SV("}\n\n"));
        break;
    case CANON_E_REASONING:
    case CANON_E_TEXT:
    case CANON_E_REFUSAL:
        turn_to(r, thinks ? RUN_REASONING : RUN_MESSAGE);
        p = open_event(r, thinks ? "reasoning.delta" : "message.delta");
        print_str(&p, "content", ev->text);
        buf_add(r->out, SV("}\n\n"));
        break;
    case CANON_E_END:
        turn_to(r, RUN_NONE);
        p = open_event(r, "chat.end");
        print_result(r, &p, "result");
        buf_add(r->out, SV("}\n\n"));
        break;
    default: break;
    }
}

static void chat1_print_reply(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    print_result(r, &p, NULL);
}

#define SSE "text/event-stream; charset=utf-8"

const struct dialect dialect_lmstudio0_chat = {
    .api = LLM_LMSTUDIO0_CHAT, .path = "/api/v0/chat/completions", .stream_type = SSE, .family = FAMILY_OPENAI,
    .read = chat_read, .begin = chat_begin, .encode = chat0_encode, .print_reply = chat0_print_reply,
    .print = chat_print, .start = chat_start, .decode = chat_decode, .decode_end = chat_decode_end, .decode_reply = chat_decode_reply,
};

const struct dialect dialect_lmstudio0_completions = {
    .api = LLM_LMSTUDIO0_COMPLETIONS, .path = "/api/v0/completions", .stream_type = SSE, .family = FAMILY_OPENAI,
    .read = completions_read, .begin = completions_begin, .encode = completions0_encode, .print_reply = completions0_print_reply,
    .print = completions_print, .decode = completions_decode, .decode_end = completions_decode_end,
    .decode_reply = completions_decode_reply,
};

const struct dialect dialect_lmstudio1_chat = {
    .api = LLM_LMSTUDIO1_CHAT, .path = "/api/v1/chat", .stream_type = SSE, .family = FAMILY_LMSTUDIO,
    .read = chat1_read, .begin = chat1_begin, .encode = chat1_encode, .print_reply = chat1_print_reply,
};
