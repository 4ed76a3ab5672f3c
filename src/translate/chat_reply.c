/* translate/chat_reply.c - OpenAI chat completions, the reply: a runtime's read, a client's printed.
 * Chunks and the deviations seen in the wild: the reference on API dialects, sections 2.4 and 2.5. */
#include "llm/print.h"
#include "translate/canon.h"
#include "translate/openai.h"

/* --- decoding ----------------------------------------------------------------------------------------------------- */

enum { SLOTS_MAX = 128 };

struct chat_decoder {
    struct {
        int64_t index;   /* as the runtime numbers it; -1: it does not */
        uint64_t id;     /* hash of its id */
        bool begun;      /* its name came, so it was announced */
        unsigned slot;
        struct sv name_id;
    } calls[SLOTS_MAX];
    unsigned n;
};

bool chat_start(struct canon_reply *r) {
    struct chat_decoder *d = ARENA_NEW(r->arena, struct chat_decoder);
    r->decoder = d;
    return d;
}

static uint64_t hash(struct sv v) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < v.n; i++)
        h = (h ^ (unsigned char)v.p[i]) * 0x100000001b3u;
    return v.n ? h | 1 : 0;
}

static int add_call(struct canon_reply *r, int64_t index, struct sv id) {
    struct chat_decoder *d = r->decoder;
    if (d->n == SLOTS_MAX) {
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime made more than %d tool calls at once", SLOTS_MAX);
        return -1;
    }
    d->calls[d->n].index = index;
    d->calls[d->n].id = hash(id);
    d->calls[d->n].name_id = arena_sv(r->arena, id);
    return (int)d->n++;
}

/* Which call a fragment belongs to: by index, unless its id and name begin another (some runtimes number all of them 0); without
 * index a new id or, where there is none, a name begins another; else it goes on with the last. */
static int find_call(struct canon_reply *r, yyjson_val *fragment, struct sv id, bool has_name, size_t place) {
    struct chat_decoder *d = r->decoder;
    int64_t index = json_i64(fragment, "index", -1);
    uint64_t h = hash(id);
    if (index >= 0 || h) {
        for (unsigned i = d->n; i--;) {
            bool same_id = d->calls[i].id == h || !h || !d->calls[i].id;
            if (index >= 0 ? d->calls[i].index == index && (same_id || !has_name) : d->calls[i].id == h)
                return (int)i;
        }
    } else if (d->n && !has_name) {
        return place < d->n && place > 0 ? (int)place : (int)d->n - 1;
    }
    return add_call(r, index, id);
}

static void read_args(struct canon_reply *r, unsigned slot, yyjson_val *args) {
    if (yyjson_is_str(args)) {
        canon_emit_args(r, slot, json_sv(args));
    } else if (yyjson_is_obj(args)) {
        struct buf text = BUF_MAX(r->spec->reply_max);
        struct print p = print_begin(&text);
        canon_print_value(&p, NULL, args);
        if (text.failed)
            canon_reply_fault(r, ERR_BAD_REPLY, "a tool call's arguments are too large or too deep");
        canon_emit_args(r, slot, buf_sv(&text));
        buf_deinit(&text);
    }
}

static bool has_args(yyjson_val *args) {
    return yyjson_obj_size(args) || json_sv(args).n;
}

static void read_call(struct canon_reply *r, yyjson_val *fragment, size_t place, bool is_whole) {
    struct chat_decoder *d = r->decoder;
    yyjson_val *what = json_get(fragment, "function");
    if (!what)
        what = json_get(fragment, "custom");
    struct sv name = json_str(what, "name");
    int i = is_whole ? add_call(r, -1, json_str(fragment, "id")) : find_call(r, fragment, json_str(fragment, "id"), name.n, place);
    if (i < 0)
        return;
    yyjson_val *args = json_get(what, "arguments");
    if (!d->calls[i].begun) {
        if (!name.n && !is_whole && !has_args(args))
            return; /* the name may follow; arguments before it are of no use to any client */
        d->calls[i].begun = true;
        d->calls[i].slot = canon_emit_call(r, d->calls[i].name_id, name);
    }
    read_args(r, d->calls[i].slot, args ? args : json_get(what, "input"));
}

/* The members of a delta, or of a message, in which no call is in pieces. */
static void read_message(struct canon_reply *r, yyjson_val *m, bool is_whole) {
    yyjson_val *content = json_get(m, "content"), *calls = json_get(m, "tool_calls"), *one;
    struct sv thought = json_str(m, "reasoning_content");
    size_t i, n;
    canon_emit_text(r, CANON_E_REASONING, thought.n ? thought : json_str(m, "reasoning"));
    if (!yyjson_is_arr(content))
        canon_emit_said(r, CANON_E_TEXT, content);
    yyjson_arr_foreach(content, i, n, one)
        canon_emit_said(r, CANON_E_TEXT, json_get(one, "text"));
    canon_emit_said(r, CANON_E_REFUSAL, json_get(m, "refusal"));
    yyjson_arr_foreach(calls, i, n, one)
        read_call(r, one, i, is_whole);
    yyjson_val *function = json_get(m, "function_call");
    if (yyjson_is_obj(function)) {
        struct chat_decoder *d = r->decoder;
        struct sv name = json_str(function, "name");
        yyjson_val *args = json_get(function, "arguments");
        if (!d->n && (name.n || has_args(args))) {
            d->n = 1;
            d->calls[0].begun = true;
            d->calls[0].slot = canon_emit_call(r, SV_NULL, name);
        }
        if (d->n && d->calls[0].begun)
            read_args(r, d->calls[0].slot, args);
    }
}

static void read_choice(struct canon_reply *r, yyjson_val *choice, bool is_whole) {
    yyjson_val *logprobs = json_get(json_get(choice, "logprobs"), "content");
    struct sv stop = json_str(choice, "stop_reason");
    read_message(r, json_get(choice, is_whole ? "message" : "delta"), is_whole);
    if (yyjson_arr_size(logprobs))
        r->emit(r, &(struct canon_event){ .kind = CANON_E_LOGPROBS, .value = logprobs });
    if (!stop.n)
        stop = json_str(choice, "matched_stop");
    canon_finish_word(r, json_str(choice, "finish_reason"));
    if (stop.n && r->finish == CANON_STOP && !r->stop_text.n) {
        r->stop_text = arena_sv(r->arena, stop);
        r->finish = CANON_STOP_SEQUENCE;
    }
}

static yyjson_val *first_choice(yyjson_val *body) {
    yyjson_val *choices = json_get(body, "choices"), *one;
    size_t i, n;
    yyjson_arr_foreach(choices, i, n, one)
        if (json_i64(one, "index", 0) == 0)
            return one;
    return NULL;
}

static void read_timings(struct canon_reply *r, yyjson_val *t) {
    double prompt = json_f64(t, "prompt_ms", -1), output = json_f64(t, "predicted_ms", -1);
    if (prompt >= 0 && prompt < 1e12)
        r->prompt_us = (int64_t)(prompt * 1000);
    if (output >= 0 && output < 1e12)
        r->output_us = (int64_t)(output * 1000);
}

bool chat_decode(struct canon_reply *r, struct sv name, struct sv data) {
    if (sv_eq(data, SV("[DONE]"))) {
        canon_emit_end(r);
        return r->fault.code == ERR_NONE;
    }
    yyjson_doc *doc = canon_parse(r, data);
    yyjson_val *root = yyjson_doc_get_root(doc), *error = canon_error_in(root, name);
    if (error) {
        canon_reply_error(r, error);
    } else if (doc) {
        if (!r->started)
            r->emit(r, &(struct canon_event){ .kind = CANON_E_START });
        canon_usage_openai(r, json_get(root, "usage"));
        read_timings(r, json_get(root, "timings"));
        read_choice(r, first_choice(root), false);
    }
    yyjson_doc_free(doc);
    return r->fault.code == ERR_NONE;
}

bool chat_decode_end(struct canon_reply *r) {
    canon_emit_end(r); /* without [DONE]: several runtimes forget it */
    return r->fault.code == ERR_NONE;
}

bool chat_decode_reply(struct canon_reply *r, yyjson_val *body) {
    yyjson_val *choice = first_choice(body);
    if (!choice)
        return canon_reply_fault(r, ERR_BAD_REPLY, "the runtime's reply has no choices");
    canon_usage_openai(r, json_get(body, "usage"));
    read_timings(r, json_get(body, "timings"));
    read_choice(r, choice, true);
    canon_emit_end(r);
    return r->fault.code == ERR_NONE;
}

/* --- encoding: a stream ------------------------------------------------------------------------------------------- */

bool chat_begin(struct canon_reply *r) {
    r->id = canon_new_id(r, "chatcmpl-");
    for (const struct canon_tool *t = r->tools; t; t = t->next)
        r->keeps_blocks = r->keeps_blocks || t->is_custom; /* their text is known once the call is complete */
    return r->id.p;
}

static bool is_custom(const struct canon_reply *r, struct sv name) {
    const struct canon_tool *t = r->keeps_blocks ? canon_tool_named(r, name) : NULL;
    return t && t->is_custom;
}

/* "function":{"name","arguments"} or "custom":{"name","input"}; without name in what follows the first piece. */
static void print_what(struct print *p, bool custom, struct sv name, struct sv text) {
    print_open(p, custom ? "custom" : "function", '{');
    if (name.p)
        print_str(p, "name", name);
    print_str(p, custom ? "input" : "arguments", text);
    print_close(p, '}');
}

static void print_input(struct print *p, struct sv name, struct sv args) {
    struct buf input = BUF_MAX(args.n);
    print_what(p, true, name, canon_custom_input(args, &input) ? buf_sv(&input) : args);
    buf_deinit(&input);
}

/* Up to the opened delta. */
static struct print open_chunk(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    buf_add(r->out, SV("data: "));
    openai_open(r, &p, "chat.completion.chunk");
    if (r->wants_usage)
        canon_print_raw(&p, "usage", SV("null"));
    print_open(&p, "choices", '[');
    print_open(&p, NULL, '{');
    print_int(&p, "index", 0);
    print_open(&p, "delta", '{');
    return p;
}

static void close_chunk(struct print *p, const char *finish) {
    print_close(p, '}');
    print_str_or_null(p, "finish_reason", sv_of(finish));
    buf_add(p->to, SV("}]}\n\n"));
}

static void encode_text(struct canon_reply *r, const char *member, struct sv text) {
    struct print p = open_chunk(r);
    print_str(&p, member, text);
    close_chunk(&p, NULL);
}

static void encode_call(struct canon_reply *r, const struct canon_event *ev, bool begins) {
    if (r->deprecated_functions && ev->slot > 0)
        return; /* that form has room for one */
    const struct canon_block *b = r->keeps_blocks ? canon_call_block(r, ev->slot) : NULL;
    bool custom = b && is_custom(r, b->name);
    if (custom && !begins)
        return;
    struct print p = open_chunk(r);
    if (r->deprecated_functions) {
        print_open(&p, "function_call", '{');
        if (begins)
            print_str(&p, "name", ev->name);
        print_str(&p, "arguments", ev->text);
        print_close(&p, '}');
        close_chunk(&p, NULL);
        return;
    }
    print_open(&p, "tool_calls", '[');
    print_open(&p, NULL, '{');
    print_int(&p, "index", ev->slot);
    if (begins) {
        print_str(&p, "id", ev->id);
        print_str(&p, "type", custom ? SV("custom") : SV("function"));
    }
    print_what(&p, custom, ev->name, ev->text);
    buf_add(p.to, SV("}]"));
    close_chunk(&p, NULL);
}

/* What custom tools are given, each in one piece. */
static void encode_inputs(struct canon_reply *r) {
    for (const struct canon_block *b = r->calls; b && r->keeps_blocks; b = b->next_call) {
        if (!is_custom(r, b->name))
            continue;
        struct print p = open_chunk(r);
        print_open(&p, "tool_calls", '[');
        print_open(&p, NULL, '{');
        print_int(&p, "index", b->slot);
        print_input(&p, SV_NULL, buf_sv(&b->text));
        buf_add(p.to, SV("}]"));
        close_chunk(&p, NULL);
    }
}

static void encode_logprobs(struct canon_reply *r, yyjson_val *entries) {
    struct print p = open_chunk(r);
    print_close(&p, '}');
    print_open(&p, "logprobs", '{');
    canon_print_value(&p, "content", entries);
    print_close(&p, '}');
    canon_print_raw(&p, "finish_reason", SV("null"));
    buf_add(p.to, SV("}]}\n\n"));
}

static void encode_end(struct canon_reply *r) {
    encode_inputs(r);
    struct print p = open_chunk(r);
    close_chunk(&p, openai_finish(r));
    if (r->wants_usage) {
        p = print_begin(r->out);
        buf_add(r->out, SV("data: "));
        openai_open(r, &p, "chat.completion.chunk");
        canon_print_raw(&p, "choices", SV("[]"));
        openai_print_usage(r, &p);
        buf_add(r->out, SV("}\n\n"));
    }
    buf_add(r->out, SV("data: [DONE]\n\n"));
}

void chat_encode(struct canon_reply *r, const struct canon_event *ev) {
    struct print p;
    switch (ev->kind) {
    case CANON_E_START:
        p = open_chunk(r);
        print_str(&p, "role", SV("assistant"));
        print_str(&p, "content", SV(""));
        close_chunk(&p, NULL);
        break;
    case CANON_E_REASONING: encode_text(r, "reasoning_content", ev->text); break;
    case CANON_E_TEXT: encode_text(r, "content", ev->text); break;
    case CANON_E_REFUSAL: encode_text(r, "refusal", ev->text); break;
    case CANON_E_CALL: encode_call(r, ev, true); break;
    case CANON_E_ARGS: encode_call(r, ev, false); break;
    case CANON_E_LOGPROBS: encode_logprobs(r, ev->value); break;
    case CANON_E_END: encode_end(r); break;
    default: break;
    }
}

/* --- encoding: a whole reply -------------------------------------------------------------------------------------- */

/* All blocks of a kind, one after another. Null when there is none. */
static void print_blocks(struct canon_reply *r, struct print *p, const char *name, enum canon_event_kind kind, bool always) {
    struct buf all = BUF_MAX(r->spec->reply_max);
    const struct canon_block *only = NULL;
    unsigned n = 0;
    for (const struct canon_block *b = r->blocks; b; b = b->next) {
        if (b->kind != kind)
            continue;
        only = b;
        n++;
    }
    for (const struct canon_block *b = r->blocks; b && n > 1; b = b->next)
        if (b->kind == kind)
            buf_add(&all, buf_sv(&b->text));
    if (n == 1)
        print_str(p, name, buf_sv(&only->text));
    else if (n > 1)
        print_str(p, name, buf_sv(&all));
    else if (always)
        canon_print_raw(p, name, r->has_calls ? SV("null") : SV("\"\""));
    if (all.failed)
        p->to->failed = true;
    buf_deinit(&all);
}

static void print_call(struct canon_reply *r, struct print *p, const struct canon_block *b) {
    struct sv args = b->text.n ? buf_sv(&b->text) : SV("{}");
    bool custom = is_custom(r, b->name);
    if (r->deprecated_functions) {
        print_open(p, "function_call", '{');
        print_str(p, "name", b->name);
        print_str(p, "arguments", args);
        print_close(p, '}');
        return;
    }
    print_open(p, NULL, '{');
    print_str(p, "id", b->id);
    print_str(p, "type", custom ? SV("custom") : SV("function"));
    if (custom)
        print_input(p, b->name, args);
    else
        print_what(p, false, b->name, args);
    print_close(p, '}');
}

void chat_print_choices(struct canon_reply *r, struct print *p) {
    print_open(p, "choices", '[');
    print_open(p, NULL, '{');
    print_int(p, "index", 0);
    print_open(p, "message", '{');
    print_str(p, "role", SV("assistant"));
    print_blocks(r, p, "content", CANON_E_TEXT, true);
    print_blocks(r, p, "reasoning_content", CANON_E_REASONING, false);
    print_blocks(r, p, "refusal", CANON_E_REFUSAL, false);
    if (r->has_calls) {
        if (!r->deprecated_functions)
            print_open(p, "tool_calls", '[');
        bool first = true;
        for (const struct canon_block *b = r->blocks; b; b = b->next) {
            if (b->kind == CANON_E_CALL && (first || !r->deprecated_functions)) {
                print_call(r, p, b);
                first = false;
            }
        }
        if (!r->deprecated_functions)
            print_close(p, ']');
    }
    print_close(p, '}');
    if (r->logprobs_json.n) {
        print_open(p, "logprobs", '{');
        print_open(p, "content", '[');
        buf_add(p->to, buf_sv(&r->logprobs_json));
        buf_add(p->to, SV("]}"));
    }
    print_str(p, "finish_reason", sv_of(openai_finish(r)));
    print_close(p, '}');
    print_close(p, ']');
    openai_print_usage(r, p);
}

void chat_print_reply(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    openai_open(r, &p, "chat.completion");
    chat_print_choices(r, &p);
    print_close(&p, '}');
}

const struct dialect dialect_chat = {
    .api = LLM_CHAT,
    .path = "/v1/chat/completions",
    .stream_type = "text/event-stream; charset=utf-8",
    .family = FAMILY_OPENAI,
    .read = chat_read,
    .begin = chat_begin,
    .encode = chat_encode,
    .print_reply = chat_print_reply,
    .print = chat_print,
    .start = chat_start,
    .decode = chat_decode,
    .decode_end = chat_decode_end,
    .decode_reply = chat_decode_reply,
};
