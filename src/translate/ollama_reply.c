/* translate/ollama_reply.c - Ollama's chat and generate, the reply: a runtime's read, a client's printed.
 * One JSON object per line; counts and durations (nanoseconds) on the last. Format: the reference on API dialects, 9.6. */
#include "llm/print.h"
#include "translate/ollama.h"
#include "translate/openai.h"

/* --- decoding ----------------------------------------------------------------------------------------------------- */

static void read_counts(struct canon_reply *r, yyjson_val *line) {
    int64_t load = json_i64(line, "load_duration", -1), prompt = json_i64(line, "prompt_eval_duration", -1),
            eval = json_i64(line, "eval_duration", -1);
    canon_count(&r->usage.input, line, "prompt_eval_count");
    canon_count(&r->usage.output, line, "eval_count");
    r->load_us = load >= 0 ? load / 1000 : -1;
    r->prompt_us = prompt >= 0 ? prompt / 1000 : -1;
    r->output_us = eval >= 0 ? eval / 1000 : -1;
}

static void read_calls(struct canon_reply *r, yyjson_val *calls) {
    size_t i, n;
    yyjson_val *one;
    yyjson_arr_foreach(calls, i, n, one) {
        yyjson_val *what = json_get(one, "function"), *args = json_get(what, "arguments");
        struct buf text = BUF_MAX(r->spec->reply_max);
        struct print p = print_begin(&text);
        if (args)
            canon_print_value(&p, NULL, args);
        if (text.failed)
            canon_reply_fault(r, ERR_BAD_REPLY, "a tool call's arguments are too large or too deep");
        unsigned slot = canon_emit_call(r, json_str(one, "id"), json_str(what, "name"));
        canon_emit_args(r, slot, text.n ? buf_sv(&text) : SV("{}"));
        r->emit(r, &(struct canon_event){ .kind = CANON_E_CALL_END, .slot = slot });
        buf_deinit(&text);
    }
}

/* A line, or a whole reply, which has the same members. */
static void read_line(struct canon_reply *r, yyjson_val *line) {
    yyjson_val *m = json_get(line, "message"), *logprobs = json_get(line, "logprobs");
    if (!r->started)
        r->emit(r, &(struct canon_event){ .kind = CANON_E_START });
    canon_emit_said(r, CANON_E_REASONING, json_get(m ? m : line, "thinking"));
    canon_emit_said(r, CANON_E_TEXT, m ? json_get(m, "content") : json_get(line, "response"));
    if (yyjson_arr_size(logprobs))
        r->emit(r, &(struct canon_event){ .kind = CANON_E_LOGPROBS, .value = logprobs });
    read_calls(r, json_get(m, "tool_calls"));
    if (!json_bool(line, "done", false))
        return;
    read_counts(r, line);
    struct sv why = json_str(line, "done_reason");
    canon_finish_word(r, why.n ? why : SV("stop")); /* old versions say none */
    canon_emit_end(r);
}

static bool decode(struct canon_reply *r, struct sv name, struct sv data) {
    yyjson_doc *doc = canon_parse(r, data);
    yyjson_val *root = yyjson_doc_get_root(doc), *error = canon_error_in(root, name);
    if (error)
        canon_reply_error(r, error);
    else if (doc)
        read_line(r, root);
    yyjson_doc_free(doc);
    return r->fault.code == ERR_NONE;
}

static bool decode_end(struct canon_reply *r) {
    return canon_reply_fault(r, ERR_BAD_REPLY, "the runtime ended its answer without saying why");
}

static bool decode_reply(struct canon_reply *r, yyjson_val *body) {
    read_line(r, body);
    return r->fault.code == ERR_NONE;
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

struct waiting_args { /* of a call, until they are complete */
    struct waiting_args *next;
    unsigned slot;
    struct sv id, name;
    struct buf text;
};

struct ollama_encoder {
    bool is_chat;
    struct waiting_args *calls, *last;
};

static void free_args(void *arg) {
    struct ollama_encoder *n = arg;
    for (struct waiting_args *w = n->calls; w; w = w->next)
        buf_deinit(&w->text);
}

static bool begin(struct canon_reply *r, bool is_chat) {
    struct ollama_encoder *n = ARENA_NEW(r->arena, struct ollama_encoder);
    r->encoder = n;
    if (!n)
        return false;
    n->is_chat = is_chat;
    return arena_defer(r->arena, free_args, n);
}

static bool begin_chat(struct canon_reply *r) {
    return begin(r, true);
}

static bool begin_generate(struct canon_reply *r) {
    return begin(r, false);
}

static struct print open_line(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    uint64_t us = r->now_us - r->begun_us;
    print_open(&p, NULL, '{');
    print_str(&p, "model", r->model);
    canon_print_time(&p, "created_at", r->now_s + us / 1000000, us);
    return p;
}

static struct print open_message(struct canon_reply *r) {
    struct print p = open_line(r);
    print_open(&p, "message", '{');
    print_str(&p, "role", SV("assistant"));
    return p;
}

static void encode_text(struct canon_reply *r, bool thinking, struct sv text) {
    const struct ollama_encoder *n = r->encoder;
    struct print p = n->is_chat ? open_message(r) : open_line(r);
    print_str(&p, n->is_chat ? "content" : "response", thinking ? SV("") : text);
    if (thinking)
        print_str(&p, "thinking", text);
    if (n->is_chat)
        print_close(&p, '}');
    print_bool(&p, "done", false);
    buf_add(r->out, SV("}\n"));
}

static void print_call(struct print *p, unsigned index, struct sv id, struct sv name, struct sv args) {
    print_open(p, NULL, '{');
    print_str(p, "id", id);
    print_open(p, "function", '{');
    print_int(p, "index", index);
    print_str(p, "name", name);
    canon_print_args_object(p, "arguments", args);
    buf_add(p->to, SV("}}"));
}

static bool is_cut_off(const struct canon_reply *r, struct sv args) {
    yyjson_doc *doc = json_parse_exact(args);
    bool whole = doc || !args.n;
    yyjson_doc_free(doc);
    return !whole && r->finish == CANON_LENGTH;
}

/* A call is told when all of it is there. */
static void encode_call(struct canon_reply *r, struct waiting_args *w) {
    if (is_cut_off(r, buf_sv(&w->text)))
        return;
    struct print p = open_message(r);
    print_str(&p, "content", SV(""));
    print_open(&p, "tool_calls", '[');
    print_call(&p, w->slot, w->id, w->name, buf_sv(&w->text));
    buf_add(r->out, SV("]},\"done\":false}\n"));
}

static void wait_for_args(struct canon_reply *r, const struct canon_event *ev) {
    struct ollama_encoder *n = r->encoder;
    struct waiting_args *w = ARENA_NEW(r->arena, struct waiting_args);
    if (!w) {
        canon_reply_fault(r, ERR_NO_MEMORY, "out of memory");
        return;
    }
    w->slot = ev->slot;
    w->id = arena_sv(r->arena, ev->id);
    w->name = arena_sv(r->arena, ev->name);
    buf_init(&w->text, r->spec->reply_max);
    if (n->last)
        n->last->next = w;
    else
        n->calls = w;
    n->last = w;
}

static void add_args(struct canon_reply *r, const struct canon_event *ev) {
    struct ollama_encoder *n = r->encoder;
    struct waiting_args *w = n->last; /* nearly always */
    if (w && w->slot != ev->slot)
        for (w = n->calls; w && w->slot != ev->slot;)
            w = w->next;
    if (w && canon_hold(r, ev->text.n) && !buf_add(&w->text, ev->text))
        canon_reply_fault(r, ERR_NO_MEMORY, "out of memory");
}

static void print_counts(struct canon_reply *r, struct print *p) {
    struct canon_usage u = canon_usage_settled(r);
    uint64_t first = r->first_us ? r->first_us : r->now_us;
    int64_t total = (int64_t)(r->now_us - r->begun_us), output = (int64_t)(r->now_us - first);
    int64_t prompt = r->prompt_us >= 0 ? r->prompt_us : (int64_t)(first - r->begun_us);
    print_int(p, "total_duration", total * 1000);
    print_int(p, "load_duration", (r->load_us >= 0 ? r->load_us : 0) * 1000);
    print_int(p, "prompt_eval_count", u.input);
    print_int(p, "prompt_eval_duration", prompt * 1000);
    print_int(p, "eval_count", u.output);
    print_int(p, "eval_duration", (r->output_us >= 0 ? r->output_us : output > 0 ? output : 1) * 1000);
}

static const char *done_reason(const struct canon_reply *r) {
    switch (r->finish) {
    case CANON_LENGTH:
    case CANON_CONTEXT_FULL: return "length";
    case CANON_LOADED: return "load";
    case CANON_UNLOADED: return "unload";
    default: return "stop";
    }
}

static void print_done(struct canon_reply *r, struct print *p) {
    print_bool(p, "done", true);
    print_str(p, "done_reason", sv_of(done_reason(r)));
    print_counts(r, p);
}

static void encode_end(struct canon_reply *r) {
    struct ollama_encoder *n = r->encoder;
    for (struct waiting_args *w = n->calls; w && n->is_chat; w = w->next)
        encode_call(r, w);
    struct print p = n->is_chat ? open_message(r) : open_line(r);
    print_str(&p, n->is_chat ? "content" : "response", SV(""));
    if (n->is_chat)
        print_close(&p, '}');
    print_done(r, &p);
    buf_add(r->out, SV("}\n"));
}

static void encode_logprobs(struct canon_reply *r, yyjson_val *entries) {
    const struct ollama_encoder *n = r->encoder;
    struct print p = n->is_chat ? open_message(r) : open_line(r);
    print_str(&p, n->is_chat ? "content" : "response", SV(""));
    if (n->is_chat)
        print_close(&p, '}');
    canon_print_value(&p, "logprobs", entries);
    print_bool(&p, "done", false);
    buf_add(r->out, SV("}\n"));
}

static void encode(struct canon_reply *r, const struct canon_event *ev) {
    switch (ev->kind) {
    case CANON_E_REASONING: encode_text(r, true, ev->text); break;
    case CANON_E_TEXT:
    case CANON_E_REFUSAL: encode_text(r, false, ev->text); break;
    case CANON_E_CALL: wait_for_args(r, ev); break;
    case CANON_E_ARGS: add_args(r, ev); break;
    case CANON_E_LOGPROBS: encode_logprobs(r, ev->value); break;
    case CANON_E_END: encode_end(r); break;
    default: break;
    }
}

/* --- encoding: a whole reply -------------------------------------------------------------------------------------- */

static void print_texts(struct canon_reply *r, struct print *p, const char *name, bool thinking) {
    struct buf all = BUF_MAX(r->spec->reply_max);
    for (const struct canon_block *b = r->blocks; b; b = b->next)
        if (b->kind != CANON_E_CALL && (b->kind == CANON_E_REASONING) == thinking)
            buf_add(&all, buf_sv(&b->text));
    if (all.n || !thinking)
        print_str(p, name, buf_sv(&all));
    p->to->failed = p->to->failed || all.failed;
    buf_deinit(&all);
}

static void print_reply(struct canon_reply *r) {
    const struct ollama_encoder *n = r->encoder;
    struct print p = n->is_chat ? open_message(r) : open_line(r);
    print_texts(r, &p, n->is_chat ? "content" : "response", false);
    print_texts(r, &p, "thinking", true);
    if (n->is_chat && r->has_calls) {
        print_open(&p, "tool_calls", '[');
        for (const struct canon_block *b = r->blocks; b; b = b->next)
            if (b->kind == CANON_E_CALL && !is_cut_off(r, buf_sv(&b->text)))
                print_call(&p, b->slot, b->id, b->name, buf_sv(&b->text));
        print_close(&p, ']');
    }
    if (n->is_chat)
        print_close(&p, '}');
    if (r->logprobs_json.n) {
        print_open(&p, "logprobs", '[');
        buf_add(r->out, buf_sv(&r->logprobs_json));
        buf_add_char(r->out, ']');
    }
    print_done(r, &p);
    print_close(&p, '}');
}

const struct dialect dialect_ollama_chat = {
    .api = LLM_OLLAMA_CHAT,
    .path = "/api/chat",
    .stream_type = "application/x-ndjson",
    .family = FAMILY_OLLAMA,
    .read = ollama_read_chat,
    .begin = begin_chat,
    .encode = encode,
    .print_reply = print_reply,
    .print = ollama_print_chat,
    .decode = decode,
    .decode_end = decode_end,
    .decode_reply = decode_reply,
};

const struct dialect dialect_ollama_generate = {
    .api = LLM_OLLAMA_GENERATE,
    .path = "/api/generate",
    .stream_type = "application/x-ndjson",
    .family = FAMILY_OLLAMA,
    .read = ollama_read_generate,
    .begin = begin_generate,
    .encode = encode,
    .print_reply = print_reply,
    .print = ollama_print_generate,
    .decode = decode,
    .decode_end = decode_end,
    .decode_reply = decode_reply,
};
