/* translate/responses_reply.c - OpenAI Responses, the reply: a runtime's read, a client's printed.
 *
 * A response is a list of items, each with a life of its own: added, filled piece by piece, done; the last event repeats all of
 * them. The items are the reply's blocks (canon.h), held as they grow. Order of events: the reference on API dialects, 4.5. */
#include <sodium.h>

#include "llm/print.h"
#include "translate/openai.h"
#include "translate/responses.h"

/* --- decoding ----------------------------------------------------------------------------------------------------- */

enum { CALLS_MAX = 256 };

struct responses_decoder {
    struct {
        struct sv item;  /* its id, or empty */
        int64_t index;   /* its output_index, or -1 */
        unsigned slot;
        bool has_args, ended;
    } calls[CALLS_MAX];
    unsigned n;
    bool has_reasoning_text;
};

static bool start(struct canon_reply *r) {
    r->decoder = ARENA_NEW(r->arena, struct responses_decoder);
    return r->decoder;
}

static int find_call(const struct responses_decoder *d, struct sv item, int64_t index) {
    for (unsigned i = 0; i < d->n; i++)
        if (index >= 0 && d->calls[i].index >= 0 ? d->calls[i].index == index : item.n && sv_eq(d->calls[i].item, item))
            return (int)i;
    return -1;
}

static void begin_call(struct canon_reply *r, yyjson_val *item, int64_t index) {
    struct responses_decoder *d = r->decoder;
    if (find_call(d, json_str(item, "id"), index) >= 0)
        return;
    if (d->n == CALLS_MAX) {
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime made more than %d tool calls", CALLS_MAX);
        return;
    }
    struct sv id = json_str(item, "call_id");
    d->calls[d->n].item = arena_sv(r->arena, json_str(item, "id"));
    d->calls[d->n].index = index;
    d->calls[d->n].slot = canon_emit_call(r, id.n ? id : json_str(item, "id"), json_str(item, "name"));
    d->n++;
}

static void add_args(struct canon_reply *r, int i, struct sv text) {
    struct responses_decoder *d = r->decoder;
    if (i < 0 || !text.n || d->calls[i].ended)
        return;
    d->calls[i].has_args = true;
    canon_emit_args(r, d->calls[i].slot, text);
}

static bool is_call(struct sv type) {
    return sv_eq(type, SV("function_call")) || sv_eq(type, SV("custom_tool_call"));
}

static void end_call(struct canon_reply *r, yyjson_val *item, int64_t index) {
    struct responses_decoder *d = r->decoder;
    begin_call(r, item, index);
    int i = find_call(d, json_str(item, "id"), index);
    struct sv args = json_str(item, "arguments");
    if (i < 0 || d->calls[i].ended)
        return;
    if (!d->calls[i].has_args)
        add_args(r, i, args.n ? args : json_str(item, "input"));
    d->calls[i].ended = true;
    r->emit(r, &(struct canon_event){ .kind = CANON_E_CALL_END, .slot = d->calls[i].slot });
}

/* What its last event is called counts when it does not say its status. */
static void end_response(struct canon_reply *r, yyjson_val *response, struct sv otherwise) {
    struct sv status = json_str(response, "status"), why = json_str(json_get(response, "incomplete_details"), "reason");
    yyjson_val *error = json_get(response, "error");
    if (!status.n)
        status = otherwise;
    canon_usage_openai(r, json_get(response, "usage"));
    if (sv_eq(status, SV("failed")) || sv_eq(status, SV("cancelled"))) {
        if (error && !yyjson_is_null(error))
            canon_reply_error(r, error);
        else
            canon_reply_fault(r, ERR_BAD_REPLY, "the runtime's response is %.*s", SV_FMT(status));
        return;
    }
    canon_finish_word(r, sv_eq(status, SV("incomplete")) ? (why.n ? why : SV("length")) : SV("completed"));
    canon_emit_end(r);
}

static bool decode(struct canon_reply *r, struct sv name, struct sv data) {
    struct responses_decoder *d = r->decoder;
    if (sv_eq(data, SV("[DONE]")))
        return true;
    yyjson_doc *doc = canon_parse(r, data);
    yyjson_val *root = yyjson_doc_get_root(doc), *item = json_get(root, "item");
    struct sv type = json_str(root, "type"), delta = json_str(root, "delta");
    int64_t index = json_i64(root, "output_index", -1);
    if (!doc)
        return false;
    if (!type.n)
        type = name;
    if (sv_eq(type, SV("response.created"))) {
        r->emit(r, &(struct canon_event){ .kind = CANON_E_START });
    } else if (sv_eq(type, SV("response.output_item.added"))) {
        if (is_call(json_str(item, "type")))
            begin_call(r, item, index);
    } else if (sv_eq(type, SV("response.output_item.done"))) {
        if (is_call(json_str(item, "type")))
            end_call(r, item, index);
    } else if (sv_eq(type, SV("response.function_call_arguments.delta")) || sv_eq(type, SV("response.custom_tool_call_input.delta"))) {
        add_args(r, find_call(d, json_str(root, "item_id"), index), delta);
    } else if (sv_eq(type, SV("response.function_call_arguments.done"))) {
        int i = find_call(d, json_str(root, "item_id"), index);
        if (i >= 0 && !d->calls[i].has_args)
            add_args(r, i, json_str(root, "arguments"));
    } else if (sv_eq(type, SV("response.output_text.delta"))) {
        canon_emit_said(r, CANON_E_TEXT, json_get(root, "delta"));
        if (yyjson_arr_size(json_get(root, "logprobs")))
            r->emit(r, &(struct canon_event){ .kind = CANON_E_LOGPROBS, .value = json_get(root, "logprobs") });
    } else if (sv_eq(type, SV("response.reasoning_text.delta"))) {
        d->has_reasoning_text = true;
        canon_emit_text(r, CANON_E_REASONING, delta);
    } else if (sv_eq(type, SV("response.reasoning_summary_text.delta"))) {
        if (!d->has_reasoning_text)
            canon_emit_text(r, CANON_E_REASONING, delta);
    } else if (sv_eq(type, SV("response.refusal.delta"))) {
        canon_emit_text(r, CANON_E_REFUSAL, delta);
    } else if (sv_eq(type, SV("response.completed")) || sv_eq(type, SV("response.incomplete")) || sv_eq(type, SV("response.failed"))) {
        end_response(r, json_get(root, "response"), sv_from(type, sizeof "response." - 1));
    } else if (sv_eq(type, SV("error"))) {
        canon_reply_error(r, json_get(root, "error") ? json_get(root, "error") : root);
    }
    yyjson_doc_free(doc);
    return r->fault.code == ERR_NONE;
}

static bool decode_end(struct canon_reply *r) {
    return canon_reply_fault(r, ERR_BAD_REPLY, "the runtime ended its answer without saying why");
}

static void read_texts(struct canon_reply *r, enum canon_event_kind kind, yyjson_val *parts) {
    size_t i, n;
    yyjson_val *one;
    yyjson_arr_foreach(parts, i, n, one) {
        canon_emit_said(r, kind, json_get(one, "text"));
        canon_emit_said(r, CANON_E_REFUSAL, json_get(one, "refusal"));
        if (yyjson_arr_size(json_get(one, "logprobs")))
            r->emit(r, &(struct canon_event){ .kind = CANON_E_LOGPROBS, .value = json_get(one, "logprobs") });
    }
}

static bool decode_reply(struct canon_reply *r, yyjson_val *body) {
    size_t i, n;
    yyjson_val *item, *output = json_get(body, "output");
    if (!yyjson_is_arr(output) && !json_str(body, "status").n)
        return canon_reply_fault(r, ERR_BAD_REPLY, "the runtime's reply has no output");
    yyjson_arr_foreach(output, i, n, item) {
        struct sv type = json_str(item, "type");
        if (is_call(type))
            end_call(r, item, (int64_t)i);
        else if (sv_eq(type, SV("reasoning")))
            read_texts(r, CANON_E_REASONING, yyjson_arr_size(json_get(item, "content")) ? json_get(item, "content") : json_get(item, "summary"));
        else
            read_texts(r, CANON_E_TEXT, json_get(item, "content"));
    }
    end_response(r, body, SV("completed"));
    return r->fault.code == ERR_NONE;
}

/* --- encoding: items ---------------------------------------------------------------------------------------------- */

struct responses_encoder {
    uint64_t seq;
    unsigned n_items;
    struct canon_block *text; /* the item that is open and no call: there is one at most */
    bool is_brief;            /* the response is told without what it repeats */
};

static bool begin(struct canon_reply *r) {
    r->encoder = ARENA_NEW(r->arena, struct responses_encoder);
    r->id = canon_new_id(r, "resp_");
    r->keeps_blocks = true;
    return r->encoder && r->id.p;
}

static bool is_custom(const struct canon_block *b) {
    return b->tool && b->tool->is_custom;
}

/* Gives a block its id, and a call the tool it means. */
static void name_item(struct canon_reply *r, struct canon_block *b) {
    b->tool = b->kind == CANON_E_CALL ? canon_tool_named(r, b->name) : NULL;
    b->item = canon_new_id(r, b->kind == CANON_E_REASONING ? "rs_" : b->kind != CANON_E_CALL ? "msg_" : is_custom(b) ? "ctc_" : "fc_");
}

/* Name and namespace as the client defined them. */
static void print_call_name(struct print *p, const struct canon_block *b) {
    const struct canon_tool *t = b->tool;
    struct sv name = t ? t->name : b->name;
    if (t && t->space.n) {
        print_str(p, "namespace", t->space);
        name = sv_from(name, t->space.n + 2);
    }
    print_str(p, "name", name);
}

static void print_sealed(struct print *p, const char *name, struct sv text) {
    size_t room = sodium_base64_encoded_len(text.n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    print_name(p, name);
    buf_add(p->to, SV("\"" RESPONSES_OWN_SEAL));
    char *to = buf_reserve(p->to, room);
    if (!to)
        return;
    sodium_bin2base64(to, room, (const unsigned char *)(text.p ? text.p : ""), text.n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_added(p->to, room - 1);
    buf_add_char(p->to, '"');
}

static struct sv logprobs_of(const struct canon_reply *r, const struct canon_block *b) {
    return sv_from(sv_first(buf_sv(&r->logprobs_json), b->logprobs_end), b->logprobs);
}

/* One part: "output_text", "refusal", "reasoning_text" or "summary_text", with what it holds so far. */
static void print_part(struct canon_reply *r, struct print *p, const char *name, const struct canon_block *b, struct sv text) {
    const char *type = b->kind == CANON_E_REFUSAL ? "refusal" : b->kind == CANON_E_TEXT ? "output_text" : r->wants_summary ? "summary_text"
                                                                                                                       : "reasoning_text";
    print_open(p, name, '{');
    print_str(p, "type", sv_of(type));
    print_str(p, b->kind == CANON_E_REFUSAL ? "refusal" : "text", text);
    if (b->kind == CANON_E_TEXT) {
        canon_print_raw(p, "annotations", SV("[]"));
        print_open(p, "logprobs", '[');
        if (text.n)
            buf_add(p->to, logprobs_of(r, b));
        print_close(p, ']');
    }
    print_close(p, '}');
}

/* status "in_progress" shows it empty, as it is added. */
static void print_item(struct canon_reply *r, struct print *p, const char *name, const struct canon_block *b, const char *status) {
    bool full = !sv_eq(sv_of(status), SV("in_progress"));
    struct sv text = full ? buf_sv(&b->text) : SV("");
    print_open(p, name, '{');
    print_str(p, "id", b->item);
    switch (b->kind) {
    case CANON_E_CALL:
        print_str(p, "type", is_custom(b) ? SV("custom_tool_call") : SV("function_call"));
        print_str(p, "status", sv_of(status));
        print_str(p, "call_id", b->id);
        print_call_name(p, b);
        if (is_custom(b))
            print_str(p, "input", text);
        else
            print_str(p, "arguments", full && !text.n ? SV("{}") : text);
        break;
    case CANON_E_REASONING:
        print_str(p, "type", SV("reasoning"));
        print_str(p, "status", sv_of(status));
        print_open(p, "summary", '[');
        if (full && r->wants_summary)
            print_part(r, p, NULL, b, text);
        print_close(p, ']');
        if (!r->wants_summary) {
            print_open(p, "content", '[');
            if (full)
                print_part(r, p, NULL, b, text);
            print_close(p, ']');
        }
        if (full && r->wants_encrypted)
            print_sealed(p, "encrypted_content", text);
        break;
    default:
        print_str(p, "type", SV("message"));
        print_str(p, "role", SV("assistant"));
        print_str(p, "status", sv_of(status));
        print_open(p, "content", '[');
        if (full)
            print_part(r, p, NULL, b, text);
        print_close(p, ']');
    }
    print_close(p, '}');
}

static void print_usage(const struct canon_reply *r, struct print *p) {
    struct canon_usage u = canon_usage_settled(r);
    print_open(p, "usage", '{');
    print_int(p, "input_tokens", u.input);
    print_open(p, "input_tokens_details", '{');
    print_int(p, "cached_tokens", u.cache_read > 0 ? u.cache_read : 0);
    print_int(p, "cache_write_tokens", u.cache_write > 0 ? u.cache_write : 0);
    print_close(p, '}');
    print_int(p, "output_tokens", u.output);
    print_open(p, "output_tokens_details", '{');
    print_int(p, "reasoning_tokens", u.reasoning > 0 ? u.reasoning : 0);
    print_close(p, '}');
    print_int(p, "total_tokens", u.input + u.output);
    print_close(p, '}');
}

static const char *final_status(const struct canon_reply *r) {
    bool cut = r->finish == CANON_LENGTH || r->finish == CANON_CONTEXT_FULL || r->finish == CANON_FILTERED;
    return cut ? "incomplete" : "completed";
}

static void print_response(struct canon_reply *r, struct print *p, const char *name, const char *status, const struct err *fault) {
    const struct responses_encoder *n = r->encoder;
    bool over = !sv_eq(sv_of(status), SV("in_progress"));
    uint64_t us = r->now_us - r->begun_us;
    print_open(p, name, '{');
    print_str(p, "id", r->id);
    print_str(p, "object", SV("response"));
    print_int(p, "created_at", (int64_t)r->now_s);
    if (over)
        print_int(p, "completed_at", (int64_t)(r->now_s + us / 1000000));
    print_str(p, "status", sv_of(status));
    if (fault) {
        print_open(p, "error", '{');
        print_str(p, "code", sv_of(err_name(fault->code)));
        print_str(p, "message", sv_of(fault->text));
        print_close(p, '}');
    } else {
        canon_print_raw(p, "error", SV("null"));
    }
    if (over && !fault && sv_eq(sv_of(status), SV("incomplete"))) {
        print_open(p, "incomplete_details", '{');
        print_str(p, "reason", r->finish == CANON_FILTERED ? SV("content_filter") : SV("max_output_tokens"));
        print_close(p, '}');
    } else {
        canon_print_raw(p, "incomplete_details", SV("null"));
    }
    print_str(p, "model", r->model);
    print_open(p, "output", '[');
    for (const struct canon_block *b = r->blocks; b && b->item.n && over && !n->is_brief; b = b->next) /* the last may not have begun */
        print_item(r, p, NULL, b, fault || (b == r->last_block && !sv_eq(sv_of(status), SV("completed"))) ? "incomplete" : "completed");
    print_close(p, ']');
    print_comma(p);
    buf_add(p->to, n->is_brief ? SV("\"store\":false") : r->echo);
    if (over && !fault)
        print_usage(r, p);
    else
        canon_print_raw(p, "usage", SV("null"));
    print_close(p, '}');
}

/* --- encoding: events --------------------------------------------------------------------------------------------- */

static struct print open_event(struct canon_reply *r, const char *type) {
    struct responses_encoder *n = r->encoder;
    struct print p = print_begin(r->out);
    buf_add(r->out, SV("event: "));
    buf_add(r->out, sv_of(type));
    buf_add(r->out, SV("\ndata: "));
    print_open(&p, NULL, '{');
    print_str(&p, "type", sv_of(type));
    print_int(&p, "sequence_number", (int64_t)n->seq++);
    return p;
}

static void close_event(struct print *p) {
    buf_add(p->to, SV("}\n\n"));
}

static struct print open_of(struct canon_reply *r, const char *type, const struct canon_block *b) {
    struct print p = open_event(r, type);
    print_str(&p, "item_id", b->item);
    print_int(&p, "output_index", b->index);
    if (b->kind != CANON_E_CALL)
        print_int(&p, b->kind == CANON_E_REASONING && r->wants_summary ? "summary_index" : "content_index", 0);
    return p;
}

static void encode_response(struct canon_reply *r, const char *type, const char *status, const struct err *fault) {
    struct print p = open_event(r, type);
    print_response(r, &p, "response", status, fault);
    close_event(&p);
}

static bool sums_up(const struct canon_reply *r, const struct canon_block *b) {
    return b->kind == CANON_E_REASONING && r->wants_summary;
}

static void open_item(struct canon_reply *r, struct canon_block *b) {
    struct responses_encoder *n = r->encoder;
    name_item(r, b);
    b->index = n->n_items++;
    struct print p = open_event(r, "response.output_item.added");
    print_int(&p, "output_index", b->index);
    print_item(r, &p, "item", b, "in_progress");
    close_event(&p);
    if (b->kind == CANON_E_CALL)
        return;
    n->text = b;
    p = open_of(r, sums_up(r, b) ? "response.reasoning_summary_part.added" : "response.content_part.added", b);
    print_part(r, &p, "part", b, SV(""));
    close_event(&p);
}

static const char *const kinds[][2] = { /* delta, done */
    [CANON_E_TEXT] = { "response.output_text.delta", "response.output_text.done" },
    [CANON_E_REFUSAL] = { "response.refusal.delta", "response.refusal.done" },
    [CANON_E_REASONING] = { "response.reasoning_text.delta", "response.reasoning_text.done" },
    [CANON_E_CALL] = { "response.function_call_arguments.delta", "response.function_call_arguments.done" },
};

static const char *event_type(const struct canon_reply *r, const struct canon_block *b, bool done) {
    if (sums_up(r, b))
        return done ? "response.reasoning_summary_text.done" : "response.reasoning_summary_text.delta";
    if (is_custom(b))
        return done ? "response.custom_tool_call_input.done" : "response.custom_tool_call_input.delta";
    return kinds[b->kind][done];
}

static void encode_delta(struct canon_reply *r, const struct canon_block *b, struct sv text) {
    struct print p = open_of(r, event_type(r, b, false), b);
    print_str(&p, "delta", text);
    if (b->kind == CANON_E_TEXT)
        canon_print_raw(&p, "logprobs", SV("[]"));
    close_event(&p);
}

/* A custom tool's text is taken out of its arguments once they are complete. */
static void take_input(struct canon_block *b) {
    struct buf input = BUF_MAX(b->text.max);
    if (!is_custom(b) || !canon_custom_input(buf_sv(&b->text), &input))
        return; /* it is no such object: the text itself */
    buf_deinit(&b->text);
    b->text = input;
}

static void encode_done(struct canon_reply *r, struct canon_block *b) {
    take_input(b);
    struct sv text = buf_sv(&b->text);
    struct print p;
    if (is_custom(b))
        encode_delta(r, b, text);
    p = open_of(r, event_type(r, b, true), b);
    if (b->kind == CANON_E_CALL && !is_custom(b)) {
        print_call_name(&p, b);
        print_str(&p, "arguments", text.n ? text : SV("{}"));
    } else {
        print_str(&p, b->kind == CANON_E_CALL ? "input" : b->kind == CANON_E_REFUSAL ? "refusal" : "text", text);
    }
    if (b->kind == CANON_E_TEXT) {
        print_open(&p, "logprobs", '[');
        buf_add(r->out, logprobs_of(r, b));
        print_close(&p, ']');
    }
    close_event(&p);
}

static void close_item(struct canon_reply *r, struct canon_block *b) {
    struct print p;
    if (b->closed || !b->item.n)
        return;
    b->closed = true;
    encode_done(r, b);
    if (b->kind != CANON_E_CALL) {
        p = open_of(r, sums_up(r, b) ? "response.reasoning_summary_part.done" : "response.content_part.done", b);
        print_part(r, &p, "part", b, buf_sv(&b->text));
        close_event(&p);
    }
    p = open_event(r, "response.output_item.done");
    print_int(&p, "output_index", b->index);
    print_item(r, &p, "item", b, "completed");
    close_event(&p);
}

/* Texts are told one after another; calls may stay open side by side. */
static void close_text(struct canon_reply *r) {
    struct responses_encoder *n = r->encoder;
    if (n->text)
        close_item(r, n->text);
    n->text = NULL;
}

static void encode_text(struct canon_reply *r, struct sv text) {
    struct canon_block *b = r->last_block; /* translate.c added the text to it */
    if (!b->item.n) {
        close_text(r);
        open_item(r, b);
    }
    encode_delta(r, b, text);
}

static void encode_call(struct canon_reply *r, const struct canon_event *ev) {
    struct canon_block *b = canon_call_block(r, ev->slot);
    if (!b)
        return;
    if (ev->kind == CANON_E_CALL) {
        close_text(r);
        open_item(r, b);
    } else if (ev->kind == CANON_E_ARGS && !is_custom(b)) {
        encode_delta(r, b, ev->text);
    } else if (ev->kind == CANON_E_CALL_END) {
        close_item(r, b);
    }
}

/* An answer without anything is told as a message without text. */
static bool add_nothing(struct canon_reply *r) {
    if (r->blocks)
        return true;
    struct canon_block *b = ARENA_NEW(r->arena, struct canon_block);
    if (!b)
        return canon_reply_fault(r, ERR_NO_MEMORY, "out of memory");
    b->kind = CANON_E_TEXT;
    r->blocks = r->last_block = b;
    return true;
}

static void encode_end(struct canon_reply *r) {
    if (!r->blocks && add_nothing(r))
        open_item(r, r->blocks);
    for (struct canon_block *b = r->blocks; b; b = b->next)
        close_item(r, b);
    const char *status = final_status(r);
    encode_response(r, sv_eq(sv_of(status), SV("completed")) ? "response.completed" : "response.incomplete", status, NULL);
}

static void encode(struct canon_reply *r, const struct canon_event *ev) {
    switch (ev->kind) {
    case CANON_E_START:
        encode_response(r, "response.created", "in_progress", NULL);
        encode_response(r, "response.in_progress", "in_progress", NULL);
        break;
    case CANON_E_REASONING:
    case CANON_E_TEXT:
    case CANON_E_REFUSAL: encode_text(r, ev->text); break;
    case CANON_E_CALL:
    case CANON_E_ARGS:
    case CANON_E_CALL_END: encode_call(r, ev); break;
    case CANON_E_END: encode_end(r); break;
    default: break;
    }
}

/* What there is so far may be too much to be repeated; that it failed is always told. */
static void encode_fault(struct canon_reply *r, const struct err *e) {
    struct responses_encoder *n = r->encoder;
    uint64_t seq = n->seq;
    size_t was = r->out->n;
    encode_response(r, "response.failed", "failed", e);
    if (!r->out->failed)
        return;
    r->out->n = was;
    r->out->failed = false;
    n->seq = seq;
    n->is_brief = true;
    encode_response(r, "response.failed", "failed", e);
}

static void print_reply(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    if (!add_nothing(r))
        return;
    for (struct canon_block *b = r->blocks; b; b = b->next) {
        name_item(r, b);
        take_input(b);
    }
    print_response(r, &p, NULL, final_status(r), NULL);
}

const struct dialect dialect_responses = {
    .api = LLM_RESPONSES,
    .path = "/v1/responses",
    .stream_type = "text/event-stream; charset=utf-8",
    .family = FAMILY_RESPONSES,
    .read = responses_read,
    .keep = responses_keep,
    .begin = begin,
    .encode = encode,
    .print_reply = print_reply,
    .encode_fault = encode_fault,
    .print = responses_print,
    .start = start,
    .decode = decode,
    .decode_end = decode_end,
    .decode_reply = decode_reply,
};
