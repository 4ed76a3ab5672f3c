/* translate/canon_reply.c - what decoders and encoders of replies share. */
#include <stdio.h>

#include "llm/meter.h"
#include "llm/print.h"
#include "translate/canon.h"

/* --- for decoders ------------------------------------------------------------------------------------------------- */

static void emit(struct canon_reply *r, const struct canon_event *ev) {
    if (r->fault.code == ERR_NONE)
        r->emit(r, ev);
}

/* Half of a surrogate pair, as json_parse_halves leaves it: 0xa0 for a first one, 0xb0 for a second one. */
static bool is_half(struct sv text, unsigned char which) {
    return text.n >= 3 && (unsigned char)text.p[0] == 0xed && ((unsigned char)text.p[1] & 0xf0) == which;
}

static void emit_joined(struct canon_reply *r, struct sv low) {
    const unsigned char *h = (const unsigned char *)r->half.bytes, *l = (const unsigned char *)low.p;
    unsigned c = 0x10000 + ((h[1] & 0x0fu) << 16 | (h[2] & 0x3fu) << 10 | (l[1] & 0x0fu) << 6 | (l[2] & 0x3fu));
    char whole[4] = { (char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f)) };
    emit(r, &(struct canon_event){ .kind = r->half.kind, .slot = r->half.slot, .text = { whole, sizeof whole } });
}

/* What waited for its other half waits no more. */
static void emit_half(struct canon_reply *r) {
    if (r->half.waits)
        emit(r, &(struct canon_event){ .kind = r->half.kind, .slot = r->half.slot, .text = SV("\xef\xbf\xbd") });
    r->half.waits = false;
}

/* A character that a runtime cut in two goes on as one. */
static void emit_piece(struct canon_reply *r, enum canon_event_kind kind, unsigned slot, struct sv text) {
    if (text.n && r->half.waits && r->half.kind == kind && r->half.slot == slot && is_half(text, 0xb0)) {
        emit_joined(r, text);
        r->half.waits = false;
        text = sv_from(text, 3);
    } else if (text.n) {
        emit_half(r);
    }
    if (is_half(text, 0xb0)) {
        emit(r, &(struct canon_event){ .kind = kind, .slot = slot, .text = SV("\xef\xbf\xbd") });
        text = sv_from(text, 3);
    }
    if (text.n >= 3 && is_half(sv_from(text, text.n - 3), 0xa0)) {
        text.n -= 3;
        r->half.kind = kind;
        r->half.slot = slot;
        r->half.waits = true;
        memcpy(r->half.bytes, text.p + text.n, 3);
    }
    if (text.n)
        emit(r, &(struct canon_event){ .kind = kind, .slot = slot, .text = text });
}

void canon_emit_text(struct canon_reply *r, enum canon_event_kind kind, struct sv text) {
    emit_piece(r, kind, 0, text);
}

void canon_emit_said(struct canon_reply *r, enum canon_event_kind kind, yyjson_val *text) {
    if (text && !yyjson_is_null(text) && !yyjson_is_str(text))
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime's answer has a value of another kind where text belongs");
    emit_piece(r, kind, 0, json_sv(text));
}

struct canon_id {
    struct canon_id *next;
    struct sv id;
};

static bool is_taken(const struct canon_reply *r, struct sv id) {
    const struct canon_id *one = r->ids;
    while (one && !sv_eq(one->id, id))
        one = one->next;
    return one;
}

unsigned canon_emit_call(struct canon_reply *r, struct sv id, struct sv name) {
    struct canon_id *one = ARENA_NEW(r->arena, struct canon_id);
    unsigned slot = r->n_slots;
    emit_half(r);
    if (slot == CANON_CALLS_MAX)
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime made more than %d tool calls", CANON_CALLS_MAX);
    if (!name.n)
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime made a tool call without a name");
    if (!one || r->fault.code != ERR_NONE)
        return slot;
    one->id = id.n && !is_taken(r, id) ? arena_sv(r->arena, id) : canon_new_id(r, "call_");
    one->next = r->ids;
    r->ids = one;
    r->n_slots++;
    emit(r, &(struct canon_event){ .kind = CANON_E_CALL, .slot = slot, .id = one->id, .name = name });
    return slot;
}

void canon_emit_args(struct canon_reply *r, unsigned slot, struct sv text) {
    emit_piece(r, CANON_E_ARGS, slot, text);
}

void canon_emit_end(struct canon_reply *r) {
    emit_half(r);
    if (r->finish == CANON_FINISH_NONE)
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime ended its answer without saying why");
    else
        emit(r, &(struct canon_event){ .kind = CANON_E_END });
}

void canon_finish_word(struct canon_reply *r, struct sv word) {
    static const struct {
        const char *word;
        enum canon_finish means;
    } words[] = {
        { "stop", CANON_STOP }, { "eos_token", CANON_STOP }, { "eos", CANON_STOP }, { "end_turn", CANON_STOP },
        { "eosFound", CANON_STOP }, { "repetition", CANON_STOP }, { "completed", CANON_STOP },
        { "stop_sequence", CANON_STOP_SEQUENCE }, { "stopStringFound", CANON_STOP_SEQUENCE }, { "word", CANON_STOP_SEQUENCE },
        { "length", CANON_LENGTH }, { "max_tokens", CANON_LENGTH }, { "limit", CANON_LENGTH },
        { "max_output_tokens", CANON_LENGTH }, { "maxPredictedTokensReached", CANON_LENGTH },
        { "contextLengthReached", CANON_CONTEXT_FULL }, { "model_context_window_exceeded", CANON_CONTEXT_FULL },
        { "tool_calls", CANON_TOOL_CALLS }, { "function_call", CANON_TOOL_CALLS }, { "tool_use", CANON_TOOL_CALLS },
        { "toolCalls", CANON_TOOL_CALLS }, { "content_filter", CANON_FILTERED }, { "refusal", CANON_REFUSED },
        { "pause_turn", CANON_PAUSED }, { "load", CANON_LOADED }, { "unload", CANON_UNLOADED },
    };
    if (r->finish != CANON_FINISH_NONE || word.n == 0)
        return;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (sv_eq(word, sv_of(words[i].word)))
            r->finish = words[i].means;
    if (r->finish != CANON_FINISH_NONE)
        return;
    if (sv_eq(word, SV("abort")) || sv_eq(word, SV("cancelled")) || sv_eq(word, SV("error")))
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime broke its answer off (%.*s)", SV_FMT(word));
    else
        r->finish = CANON_STOP; /* a word nobody knows yet: it did finish */
}

bool canon_reply_fault(struct canon_reply *r, enum err_code code, const char *fmt, ...) {
    va_list ap;
    if (r->fault.code != ERR_NONE)
        return false;
    va_start(ap, fmt);
    vsnprintf(r->fault.text, sizeof r->fault.text, fmt, ap);
    va_end(ap);
    r->fault.code = code;
    return false;
}

bool canon_reply_error(struct canon_reply *r, yyjson_val *error) {
    struct buf text = BUF_MAX(8 << 10);
    struct print p = print_begin(&text);
    struct err e;
    print_open(&p, NULL, '{');
    canon_print_value(&p, "error", error);
    print_close(&p, '}');
    translate_fault(500, text.failed ? SV("the runtime reported an error that is too long to be told") : buf_sv(&text), &e);
    buf_deinit(&text);
    return canon_reply_fault(r, e.code, "%s", e.text);
}

/* Small events are parsed without the allocator. Two trees are never alive at once, as canon.h asks. */
yyjson_doc *canon_parse(struct canon_reply *r, struct sv data) {
    enum { POOL = 32 << 10, POOL_MAX = 3 << 10 };
    static _Thread_local _Alignas(16) char pool[POOL];
    yyjson_alc alc;
    yyjson_doc *doc = NULL;
    if (data.n <= POOL_MAX && yyjson_alc_pool_init(&alc, pool, sizeof pool))
        doc = yyjson_read_opts((char *)(uintptr_t)data.p, data.n, YYJSON_READ_BIGNUM_AS_RAW, &alc, NULL);
    if (!doc)
        doc = json_parse_exact(data);
    if (!doc)
        doc = json_parse_halves(data);
    if (!doc)
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime sent what is not JSON: %.*s", SV_FMT(sv_first(data, 60)));
    return doc;
}

yyjson_doc *canon_parse_raw(struct canon_reply *r, struct sv data) {
    yyjson_doc *doc = json_parse_raw(data);
    if (!doc)
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime sent what is not JSON: %.*s", SV_FMT(sv_first(data, 60)));
    return doc;
}

yyjson_val *canon_error_in(yyjson_val *root, struct sv event_name) {
    yyjson_val *error = json_get(root, "error");
    if (yyjson_is_obj(error) || json_sv(error).n)
        return error;
    return sv_eq(event_name, SV("error")) || sv_eq(json_str(root, "object"), SV("error")) ? root : NULL;
}

void canon_count(int64_t *to, yyjson_val *of, const char *name) {
    const int64_t most = INT64_C(1) << 48; /* sums of some cannot overflow */
    int64_t n = json_i64(of, name, -1);
    if (n >= 0 && n <= most)
        *to = n;
}

void canon_usage_openai(struct canon_reply *r, yyjson_val *usage) {
    yyjson_val *in = json_get(usage, "prompt_tokens_details"), *out = json_get(usage, "completion_tokens_details");
    struct canon_usage *u = &r->usage;
    if (!yyjson_is_obj(usage))
        return;
    if (!in)
        in = json_get(usage, "input_tokens_details");
    if (!out)
        out = json_get(usage, "output_tokens_details");
    canon_count(&u->input, usage, "prompt_tokens");
    canon_count(&u->input, usage, "input_tokens");
    canon_count(&u->output, usage, "completion_tokens");
    canon_count(&u->output, usage, "output_tokens");
    canon_count(&u->cache_read, in, "cached_tokens");
    canon_count(&u->cache_write, in, "cache_write_tokens");
    canon_count(&u->reasoning, out, "reasoning_tokens");
}

/* --- for encoders ------------------------------------------------------------------------------------------------- */

struct canon_block *canon_call_block(const struct canon_reply *r, unsigned slot) {
    struct canon_block *b = r->last_call; /* nearly always */
    if (b && b->slot == slot)
        return b;
    for (b = r->calls; b && b->slot != slot;)
        b = b->next_call;
    return b;
}

bool canon_hold(struct canon_reply *r, size_t n) {
    r->held += n;
    return r->held <= r->spec->reply_max ||
           canon_reply_fault(r, ERR_BAD_REPLY, "the answer is larger than limits.upstream.reply (%zu bytes)", r->spec->reply_max);
}

struct sv canon_new_id(struct canon_reply *r, const char *prefix) {
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint64_t h = r->spec->seed + ++r->n_ids * 0x9e3779b97f4a7c15u;
    size_t n = strlen(prefix);
    char *text = arena_alloc(r->arena, n + 24);
    if (!text) {
        err_no_memory(r->fault.code == ERR_NONE ? &r->fault : NULL);
        return SV("id");
    }
    memcpy(text, prefix, n);
    for (int i = 0; i < 24; i++) {
        h ^= h >> 30; /* splitmix64: spreads the seed, which the caller keeps unpredictable */
        h *= 0xbf58476d1ce4e5b9u;
        h ^= h >> 27;
        h *= 0x94d049bb133111ebu;
        h ^= h >> 31;
        text[n + (size_t)i] = letters[h % 62];
    }
    return (struct sv){ text, n + 24 };
}

struct canon_usage canon_usage_settled(const struct canon_reply *r) {
    enum { BYTES_PER_TOKEN = 4 };
    struct canon_usage u = r->usage;
    if (u.input < 0)
        u.input = r->spec->input_estimate > 0 ? r->spec->input_estimate : 0;
    if (u.output < 0 || (u.output == 0 && r->text_bytes))
        u.output = (int64_t)((r->text_bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN);
    if (u.cache_read > u.input)
        u.cache_read = u.input;
    return u;
}

static bool same_word(struct sv a, struct sv b) {
    size_t i = 0, j = 0;
    for (;;) {
        while (i < a.n && (a.p[i] == '_' || a.p[i] == '-' || a.p[i] == '.'))
            i++;
        while (j < b.n && (b.p[j] == '_' || b.p[j] == '-' || b.p[j] == '.'))
            j++;
        if (i == a.n || j == b.n)
            return i == a.n && j == b.n;
        if ((a.p[i++] | 0x20) != (b.p[j++] | 0x20))
            return false;
    }
}

const struct canon_tool *canon_tool_named(const struct canon_reply *r, struct sv name) {
    const struct canon_tool *near = NULL;
    unsigned n = 0;
    for (const struct canon_tool *t = r->tools; t; t = t->next) {
        if (sv_eq(t->name, name))
            return t;
        if (same_word(t->name, name)) {
            near = t;
            n++;
        }
    }
    return n == 1 ? near : NULL;
}

bool canon_custom_input(struct sv args, struct buf *out) {
    yyjson_doc *doc = json_parse(args);
    yyjson_val *input = json_get(yyjson_doc_get_root(doc), "input");
    bool ok = yyjson_is_str(input) && buf_add(out, json_sv(input));
    yyjson_doc_free(doc);
    return ok;
}
