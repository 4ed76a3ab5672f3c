/* translate/messages_reply.c - Anthropic messages, the reply: a runtime's read, a client's printed.
 *
 * A reply is a row of blocks that never overlap, while other runtimes mix the pieces of several tool calls: the call that is
 * open passes through, the pieces of the others wait until it is complete. Format: the reference on API dialects, 8.5 and
 * 8.6; calls: the reference on dialect translation, 8.1. */
#include "llm/print.h"
#include "translate/canon.h"
#include "translate/messages.h"
#include "translate/openai.h"

/* --- decoding ----------------------------------------------------------------------------------------------------- */

struct messages_decoder {
    struct sv input;          /* of the open call, as its block began; for calls without fragments */
    int64_t call;             /* slot of the open call, -1: none */
    bool has_fragments;
};

static bool start_decoder(struct canon_reply *r) {
    struct messages_decoder *d = ARENA_NEW(r->arena, struct messages_decoder);
    r->decoder = d;
    if (d)
        d->call = -1;
    return d;
}

/* Cached tokens stand beside input_tokens here and within it in the canonical form. */
static void read_usage(struct canon_reply *r, yyjson_val *usage) {
    struct canon_usage *u = &r->usage;
    int64_t fresh = -1;
    canon_count(&fresh, usage, "input_tokens");
    canon_count(&u->cache_read, usage, "cache_read_input_tokens");
    canon_count(&u->cache_write, usage, "cache_creation_input_tokens");
    canon_count(&u->output, usage, "output_tokens");
    canon_count(&u->reasoning, json_get(usage, "output_tokens_details"), "thinking_tokens");
    if (fresh >= 0)
        u->input = fresh + (u->cache_read > 0 ? u->cache_read : 0) + (u->cache_write > 0 ? u->cache_write : 0);
}

static void read_stop(struct canon_reply *r, yyjson_val *of) {
    canon_finish_word(r, json_str(of, "stop_reason"));
    if (json_str(of, "stop_sequence").n)
        r->stop_text = arena_sv(r->arena, json_str(of, "stop_sequence"));
}

static struct sv args_text(struct canon_reply *r, yyjson_val *input) {
    struct buf text = BUF_MAX(r->spec->reply_max);
    struct print p = print_begin(&text);
    struct sv copy = SV_NULL;
    if (yyjson_is_obj(input) && yyjson_obj_size(input)) {
        canon_print_value(&p, NULL, input);
        copy = arena_sv(r->arena, buf_sv(&text));
    }
    if (text.failed)
        canon_reply_fault(r, ERR_BAD_REPLY, "a tool call's arguments are too large or too deep");
    buf_deinit(&text);
    return copy;
}

static void end_block(struct canon_reply *r) {
    struct messages_decoder *d = r->decoder;
    if (d->call < 0)
        return;
    if (!d->has_fragments)
        canon_emit_args(r, (unsigned)d->call, d->input.n ? d->input : SV("{}"));
    r->emit(r, &(struct canon_event){ .kind = CANON_E_CALL_END, .slot = (unsigned)d->call });
    d->call = -1;
}

static void begin_block(struct canon_reply *r, yyjson_val *block) {
    struct messages_decoder *d = r->decoder;
    struct sv type = json_str(block, "type");
    end_block(r); /* in case the one before was left open */
    canon_emit_said(r, CANON_E_TEXT, json_get(block, "text"));
    canon_emit_said(r, CANON_E_REASONING, json_get(block, "thinking"));
    if (!sv_eq(type, SV("tool_use")))
        return;
    d->input = args_text(r, json_get(block, "input"));
    d->has_fragments = false;
    d->call = canon_emit_call(r, json_str(block, "id"), json_str(block, "name"));
}

static void add_delta(struct canon_reply *r, yyjson_val *delta) {
    struct messages_decoder *d = r->decoder;
    struct sv fragment = json_str(delta, "partial_json");
    canon_emit_said(r, CANON_E_TEXT, json_get(delta, "text"));
    canon_emit_said(r, CANON_E_REASONING, json_get(delta, "thinking"));
    canon_emit_text(r, CANON_E_SIGNATURE, json_str(delta, "signature"));
    if (d->call >= 0 && fragment.n) {
        d->has_fragments = true;
        canon_emit_args(r, (unsigned)d->call, fragment);
    }
}

static bool decode(struct canon_reply *r, struct sv name, struct sv data) {
    yyjson_doc *doc = canon_parse(r, data);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct sv type = json_str(root, "type");
    if (!doc)
        return false;
    if (!type.n)
        type = name;
    if (sv_eq(type, SV("error"))) {
        canon_reply_error(r, json_get(root, "error"));
    } else if (sv_eq(type, SV("message_start"))) {
        read_usage(r, json_get(json_get(root, "message"), "usage"));
        r->emit(r, &(struct canon_event){ .kind = CANON_E_START });
    } else if (sv_eq(type, SV("content_block_start"))) {
        begin_block(r, json_get(root, "content_block"));
    } else if (sv_eq(type, SV("content_block_delta"))) {
        add_delta(r, json_get(root, "delta"));
    } else if (sv_eq(type, SV("content_block_stop"))) {
        end_block(r);
    } else if (sv_eq(type, SV("message_delta"))) {
        read_stop(r, json_get(root, "delta"));
        read_usage(r, json_get(root, "usage"));
    } else if (sv_eq(type, SV("message_stop"))) {
        end_block(r);
        canon_emit_end(r);
    }
    yyjson_doc_free(doc);
    return r->fault.code == ERR_NONE;
}

static bool decode_end(struct canon_reply *r) {
    end_block(r);
    canon_emit_end(r); /* a stop reason without message_stop is enough */
    return r->fault.code == ERR_NONE;
}

static bool decode_reply(struct canon_reply *r, yyjson_val *body) {
    size_t i, n;
    yyjson_val *block;
    read_usage(r, json_get(body, "usage"));
    yyjson_arr_foreach(json_get(body, "content"), i, n, block) {
        begin_block(r, block);
        canon_emit_text(r, CANON_E_SIGNATURE, json_str(block, "signature"));
        end_block(r);
    }
    read_stop(r, body);
    canon_emit_end(r);
    return r->fault.code == ERR_NONE;
}

/* --- encoding: a stream ------------------------------------------------------------------------------------------- */

enum { WAITING_MAX = 1 << 20 }; /* bytes of one call's pieces that wait for another call to end */

struct waiting {
    struct waiting *next, *next_call;
    enum canon_event_kind kind; /* CANON_E_CALL; CANON_E_TEXT and CANON_E_REASONING: what was said in the middle of a call */
    unsigned slot;
    struct sv id, name;
    struct buf text;            /* of a call: its arguments */
    bool is_complete;
};

struct messages_encoder {
    enum { OPEN_NONE, OPEN_THINKING, OPEN_TEXT, OPEN_CALL } open;
    unsigned index;           /* of the open block, or of the next */
    unsigned slot;            /* of the open call */
    struct sv signature;
    struct waiting *waiting, *last_waiting, *calls, *last_call;

    /* The open call's JSON: complete when depth is back at 0 outside of strings. */
    unsigned depth;
    bool in_string, escaped, begun, is_complete;
};

static void free_waiting(void *arg) {
    struct messages_encoder *n = arg;
    for (struct waiting *w = n->waiting; w; w = w->next)
        buf_deinit(&w->text);
}

static bool begin(struct canon_reply *r) {
    struct messages_encoder *n = ARENA_NEW(r->arena, struct messages_encoder);
    r->encoder = n;
    r->id = canon_new_id(r, "msg_");
    return n && r->id.p && arena_defer(r->arena, free_waiting, n);
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

static void close_event(struct print *p) {
    buf_add(p->to, SV("}\n\n"));
}

static void print_usage(const struct canon_reply *r, struct print *p, int64_t output) {
    struct canon_usage u = canon_usage_settled(r);
    int64_t read = u.cache_read > 0 ? u.cache_read : 0, written = u.cache_write > 0 ? u.cache_write : 0;
    int64_t fresh = u.input - read - written;
    print_open(p, "usage", '{');
    print_int(p, "input_tokens", fresh > 0 ? fresh : 0);
    print_int(p, "cache_creation_input_tokens", written);
    print_int(p, "cache_read_input_tokens", read);
    print_int(p, "output_tokens", output >= 0 ? output : u.output);
    print_close(p, '}');
}

static const char *stop_reason(const struct canon_reply *r) {
    switch (r->finish) {
    case CANON_STOP_SEQUENCE: return "stop_sequence";
    case CANON_LENGTH: return "max_tokens";
    case CANON_CONTEXT_FULL: return "model_context_window_exceeded";
    case CANON_TOOL_CALLS: return "tool_use";
    case CANON_FILTERED:
    case CANON_REFUSED: return "refusal";
    case CANON_PAUSED: return "pause_turn";
    case CANON_STOP: return r->has_refusal ? "refusal" : "end_turn";
    default: return "end_turn";
    }
}

static void print_stop(const struct canon_reply *r, struct print *p) {
    print_str(p, "stop_reason", sv_of(stop_reason(r)));
    print_str_or_null(p, "stop_sequence", r->finish == CANON_STOP_SEQUENCE ? r->stop_text : SV_NULL);
}

static void print_head(struct canon_reply *r, struct print *p) {
    print_str(p, "id", r->id);
    print_str(p, "type", SV("message"));
    print_str(p, "role", SV("assistant"));
    print_str(p, "model", r->model);
}

static void encode_start(struct canon_reply *r) {
    struct print p = open_event(r, "message_start");
    print_open(&p, "message", '{');
    print_head(r, &p);
    canon_print_raw(&p, "content", SV("[]"));
    canon_print_raw(&p, "stop_reason", SV("null"));
    canon_print_raw(&p, "stop_sequence", SV("null"));
    print_usage(r, &p, 1);
    print_close(&p, '}');
    close_event(&p);
    p = open_event(r, "ping");
    close_event(&p);
}

static struct print open_delta(struct canon_reply *r, const char *type) {
    struct messages_encoder *n = r->encoder;
    struct print p = open_event(r, "content_block_delta");
    print_int(&p, "index", n->index);
    print_open(&p, "delta", '{');
    print_str(&p, "type", sv_of(type));
    return p;
}

static void encode_delta(struct canon_reply *r, const char *type, const char *member, struct sv text) {
    struct print p = open_delta(r, type);
    print_str(&p, member, text);
    print_close(&p, '}');
    close_event(&p);
}

static struct print open_block(struct canon_reply *r, const char *type) {
    struct messages_encoder *n = r->encoder;
    struct print p = open_event(r, "content_block_start");
    print_int(&p, "index", n->index);
    print_open(&p, "content_block", '{');
    print_str(&p, "type", sv_of(type));
    return p;
}

static void close_block(struct canon_reply *r) {
    struct messages_encoder *n = r->encoder;
    if (n->open == OPEN_NONE)
        return;
    if (n->open == OPEN_THINKING)
        encode_delta(r, "signature_delta", "signature", n->signature.n ? n->signature : canon_new_id(r, MESSAGES_OWN_SIGNATURE));
    struct print p = open_event(r, "content_block_stop");
    print_int(&p, "index", n->index);
    close_event(&p);
    n->open = OPEN_NONE;
    n->index++;
}

static void encode_text(struct canon_reply *r, bool thinking, struct sv text) {
    struct messages_encoder *n = r->encoder;
    unsigned want = thinking ? OPEN_THINKING : OPEN_TEXT;
    if (n->open != want || (thinking && n->signature.n)) { /* what was signed is at its end */
        close_block(r);
        struct print p = open_block(r, thinking ? "thinking" : "text");
        print_str(&p, thinking ? "thinking" : "text", SV(""));
        if (thinking)
            print_str(&p, "signature", SV(""));
        print_close(&p, '}');
        close_event(&p);
        n->open = want;
        n->signature = SV_NULL;
    }
    encode_delta(r, thinking ? "thinking_delta" : "text_delta", thinking ? "thinking" : "text", text);
}

/* --- calls */

static void follow_json(struct messages_encoder *n, struct sv text) {
    for (size_t i = 0; i < text.n && !n->is_complete; i++) {
        char c = text.p[i];
        if (n->in_string) {
            n->in_string = n->escaped || c != '"';
            n->escaped = !n->escaped && c == '\\';
            continue;
        }
        if (c == '"') {
            n->in_string = true;
        } else if (c == '{' || c == '[') {
            n->depth++;
            n->begun = true;
        } else if ((c == '}' || c == ']') && n->depth) {
            n->depth--;
        }
        n->is_complete = n->begun && n->depth == 0 && !n->in_string;
    }
}

static void open_call(struct canon_reply *r, unsigned slot, struct sv id, struct sv name) {
    struct messages_encoder *n = r->encoder;
    close_block(r);
    struct print p = open_block(r, "tool_use");
    print_str(&p, "id", id);
    print_str(&p, "name", name);
    canon_print_raw(&p, "input", SV("{}"));
    print_close(&p, '}');
    close_event(&p);
    n->open = OPEN_CALL;
    n->slot = slot;
    n->depth = 0;
    n->in_string = n->escaped = n->begun = n->is_complete = false;
}

static void add_args(struct canon_reply *r, struct sv text) {
    follow_json(r->encoder, text);
    encode_delta(r, "input_json_delta", "partial_json", text);
}

static bool is_busy(const struct messages_encoder *n) {
    return n->open == OPEN_CALL && !n->is_complete;
}

/* The next ones that wait, as long as the open one is complete (or, at the end, in any case). */
static void promote(struct canon_reply *r, bool all) {
    struct messages_encoder *n = r->encoder;
    while (n->waiting && (all || !is_busy(n))) {
        struct waiting *w = n->waiting;
        n->waiting = w->next;
        if (w->kind != CANON_E_CALL) {
            encode_text(r, w->kind == CANON_E_REASONING, buf_sv(&w->text));
        } else {
            n->calls = w->next_call;
            open_call(r, w->slot, w->id, w->name);
            if (w->text.n)
                add_args(r, buf_sv(&w->text));
            n->is_complete = n->is_complete || w->is_complete;
        }
        buf_deinit(&w->text);
    }
}

static struct waiting *waiting_call(const struct messages_encoder *n, unsigned slot) {
    struct waiting *w = n->calls;
    while (w && w->slot != slot)
        w = w->next_call;
    return w;
}

static struct waiting *let_wait(struct canon_reply *r, enum canon_event_kind kind, const struct canon_event *ev) {
    struct messages_encoder *n = r->encoder;
    struct waiting *w = ARENA_NEW(r->arena, struct waiting);
    if (!w) {
        canon_reply_fault(r, ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    w->kind = kind;
    w->slot = ev->slot;
    w->id = arena_sv(r->arena, ev->id);
    w->name = arena_sv(r->arena, ev->name);
    buf_init(&w->text, kind == CANON_E_CALL ? (size_t)WAITING_MAX : r->spec->reply_max);
    if (n->waiting)
        n->last_waiting->next = w;
    else
        n->waiting = w;
    n->last_waiting = w;
    if (kind != CANON_E_CALL)
        return w;
    if (n->calls)
        n->last_call->next_call = w;
    else
        n->calls = w;
    n->last_call = w;
    return w;
}

/* What is said while the arguments of a call are being written comes behind it. */
static void encode_said(struct canon_reply *r, const struct canon_event *ev) {
    struct messages_encoder *n = r->encoder;
    enum canon_event_kind kind = ev->kind == CANON_E_REASONING ? CANON_E_REASONING : CANON_E_TEXT;
    promote(r, false);
    if (!is_busy(n)) {
        encode_text(r, kind == CANON_E_REASONING, ev->text);
        return;
    }
    struct waiting *w = n->waiting && n->last_waiting->kind == kind ? n->last_waiting : let_wait(r, kind, ev);
    if (w && canon_hold(r, ev->text.n) && !buf_add(&w->text, ev->text))
        canon_reply_fault(r, ERR_NO_MEMORY, "out of memory");
}

static void encode_call(struct canon_reply *r, const struct canon_event *ev) {
    promote(r, false);
    if (is_busy(r->encoder))
        let_wait(r, CANON_E_CALL, ev);
    else
        open_call(r, ev->slot, ev->id, ev->name);
}

static void encode_args(struct canon_reply *r, const struct canon_event *ev) {
    struct messages_encoder *n = r->encoder;
    struct waiting *w = waiting_call(n, ev->slot);
    if (w) {
        if (canon_hold(r, ev->text.n) && !buf_add(&w->text, ev->text))
            canon_reply_fault(r, ERR_BAD_REPLY, "the runtime mixes the arguments of several tool calls; more than %d bytes of one would have "
                              "to wait", WAITING_MAX);
    } else if (n->open == OPEN_CALL && n->slot == ev->slot) {
        add_args(r, ev->text);
        promote(r, false);
    } /* else: behind its own end, where no JSON can follow */
}

static void encode_call_end(struct canon_reply *r, unsigned slot) {
    struct messages_encoder *n = r->encoder;
    struct waiting *w = waiting_call(n, slot);
    if (w)
        w->is_complete = true;
    else if (n->open == OPEN_CALL && n->slot == slot)
        n->is_complete = true;
    promote(r, false);
}

static void encode_end(struct canon_reply *r) {
    promote(r, true);
    close_block(r);
    struct print p = open_event(r, "message_delta");
    print_open(&p, "delta", '{');
    print_stop(r, &p);
    print_close(&p, '}');
    print_usage(r, &p, -1);
    close_event(&p);
    p = open_event(r, "message_stop");
    close_event(&p);
}

static void encode(struct canon_reply *r, const struct canon_event *ev) {
    struct messages_encoder *n = r->encoder;
    switch (ev->kind) {
    case CANON_E_START: encode_start(r); break;
    case CANON_E_SIGNATURE: n->signature = arena_sv(r->arena, ev->text); break;
    case CANON_E_REASONING:
    case CANON_E_TEXT:
    case CANON_E_REFUSAL: encode_said(r, ev); break;
    case CANON_E_CALL: encode_call(r, ev); break;
    case CANON_E_ARGS: encode_args(r, ev); break;
    case CANON_E_CALL_END: encode_call_end(r, ev->slot); break;
    case CANON_E_END: encode_end(r); break;
    default: break;
    }
}

/* --- encoding: a whole reply -------------------------------------------------------------------------------------- */

static bool is_json(struct sv text) {
    yyjson_doc *doc = json_parse_exact(text);
    bool ok = doc || text.n == 0;
    yyjson_doc_free(doc);
    return ok;
}

static void print_block(struct canon_reply *r, struct print *p, const struct canon_block *b) {
    struct sv text = buf_sv(&b->text);
    if (b->kind == CANON_E_CALL && r->finish == CANON_LENGTH && !is_json(text))
        return; /* cut off in the middle: no client could run it */
    print_open(p, NULL, '{');
    switch (b->kind) {
    case CANON_E_REASONING:
        print_str(p, "type", SV("thinking"));
        print_str(p, "thinking", text);
        print_str(p, "signature", b->signature.n ? b->signature : canon_new_id(r, MESSAGES_OWN_SIGNATURE));
        break;
    case CANON_E_CALL:
        print_str(p, "type", SV("tool_use"));
        print_str(p, "id", b->id);
        print_str(p, "name", b->name);
        canon_print_args_object(p, "input", text);
        break;
    default:
        print_str(p, "type", SV("text"));
        print_str(p, "text", text);
    }
    print_close(p, '}');
}

static void print_reply(struct canon_reply *r) {
    struct print p = print_begin(r->out);
    print_open(&p, NULL, '{');
    print_head(r, &p);
    print_open(&p, "content", '[');
    for (const struct canon_block *b = r->blocks; b; b = b->next)
        print_block(r, &p, b);
    print_close(&p, ']');
    print_stop(r, &p);
    print_usage(r, &p, -1);
    print_close(&p, '}');
}

const struct dialect dialect_messages = {
    .api = LLM_MESSAGES,
    .path = "/v1/messages",
    .stream_type = "text/event-stream; charset=utf-8",
    .family = FAMILY_ANTHROPIC,
    .read = messages_read,
    .begin = begin,
    .encode = encode,
    .print_reply = print_reply,
    .print = messages_print,
    .start = start_decoder,
    .decode = decode,
    .decode_end = decode_end,
    .decode_reply = decode_reply,
};
