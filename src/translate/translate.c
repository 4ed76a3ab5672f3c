/* translate/translate.c - the way of one exchange: read, settle, print; then decode, refine, encode.
 *
 * Between decoder and encoder every event passes refine(): it makes the runtime's stream well-formed (one start, one end,
 * nothing behind it), takes reasoning out of tags or puts it between them, and drops what the client does not want. */
#include "translate/translate.h"

#include <stddef.h>
#include <stdio.h>

#include "llm/amend.h"
#include "llm/print.h"
#include "translate/canon.h"
#include "translate/lift.h"
#include "translate/think.h"

struct translate {
    struct canon_reply reply;
    struct translate_spec spec;
    struct arena arena;          /* of the reply and what it needs of the request */
    const struct dialect *client, *runtime;
    struct think think;
    bool in_tags;                /* TRANSLATE_REASONING_SHOW: the opening tag is out */
    bool hid;                    /* reasoning was left out since the last log probabilities */
    struct buf degraded;
    enum canon_kind kind;
    struct lift *lift;           /* in the arena; NULL: the whole body was translated */
    struct sv *pieces;           /* of the runtime's body; in the arena */
    unsigned n_pieces;
    bool is_told;                /* the client knows how it ended */
};

/* --- the dialects ------------------------------------------------------------------------------------------------- */

static const struct dialect *const dialects[] = {
    &dialect_chat,
    &dialect_completions,
    &dialect_messages,
    &dialect_ollama_chat,
    &dialect_ollama_generate,
    &dialect_responses,
    &dialect_lmstudio0_chat,
    &dialect_lmstudio0_completions,
    &dialect_lmstudio1_chat,
    &dialect_embeddings,
    &dialect_lmstudio0_embeddings,
    &dialect_ollama_embed,
    &dialect_ollama_embeddings,
};

const struct dialect *dialect_of(enum llm_api api) {
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++)
        if (dialects[i]->api == api)
            return dialects[i];
    return NULL;
}

/* What a request may be printed for, best first: nearly every runtime was built around chat completions. */
static const enum llm_api chat_order[] = { LLM_CHAT, LLM_OLLAMA_CHAT, LLM_MESSAGES, LLM_RESPONSES, LLM_LMSTUDIO0_CHAT, LLM_NONE };
static const enum llm_api prompt_order[] = { LLM_COMPLETIONS, LLM_OLLAMA_GENERATE, LLM_LMSTUDIO0_COMPLETIONS, LLM_NONE };
static const enum llm_api embed_order[] = { LLM_EMBEDDINGS, LLM_OLLAMA_EMBED, LLM_LMSTUDIO0_EMBEDDINGS, LLM_NONE };
static const enum llm_api *const orders[] = { [CANON_CHAT] = chat_order, [CANON_PROMPT] = prompt_order, [CANON_EMBED] = embed_order };

unsigned translate_through(enum llm_api client) {
    const struct dialect *d = dialect_of(client);
    unsigned bits = 0;
    if (!d || !d->read)
        return 0;
    for (int kind = CANON_CHAT; kind <= CANON_EMBED; kind++) {
        bool prompts = client == LLM_COMPLETIONS || client == LLM_LMSTUDIO0_COMPLETIONS;
        bool embeds = client == LLM_EMBEDDINGS || client == LLM_LMSTUDIO0_EMBEDDINGS || client == LLM_OLLAMA_EMBED || client == LLM_OLLAMA_EMBEDDINGS;
        bool possible = embeds ? kind == CANON_EMBED : kind == CANON_PROMPT ? prompts || client == LLM_OLLAMA_GENERATE : kind == CANON_CHAT && !prompts;
        for (const enum llm_api *api = orders[kind]; possible && *api != LLM_NONE; api++)
            bits |= llm_speaks(*api);
    }
    return bits;
}

static const struct dialect *choose(const struct translate_spec *spec, enum canon_kind kind) {
    const struct dialect *own = dialect_of(spec->client);
    bool other_kind = spec->client == LLM_OLLAMA_GENERATE && kind == CANON_CHAT; /* its messages need the API that has them */
    if ((spec->speaks & llm_speaks(spec->client)) && own->print && !other_kind)
        return own;
    for (const enum llm_api *api = orders[kind]; *api != LLM_NONE; api++) {
        const struct dialect *d = spec->speaks & llm_speaks(*api) ? dialect_of(*api) : NULL;
        if (d && d->print)
            return d;
    }
    return NULL;
}

/* --- the request -------------------------------------------------------------------------------------------------- */

/* The body with what the slug sets, in the names of the client's API. */
static yyjson_doc *parse_amended(const struct translate_spec *spec, struct arena *a, struct sv body) {
    unsigned n = 0, n_pieces;
    struct splice *splices = amend_body(a, spec->client, body, spec->defaults, spec->forced, &n);
    if (!splices || !n)
        return splices ? json_parse_exact(body) : NULL;
    struct sv *pieces = ARENA_ARRAY(a, struct sv, 2 * n + 1);
    struct buf out = BUF_MAX(patch_length(body.n, splices, n));
    n_pieces = pieces ? patch_iov(body, splices, n, pieces) : 0;
    for (unsigned i = 0; i < n_pieces; i++)
        buf_add(&out, pieces[i]);
    yyjson_doc *doc = json_parse_exact(buf_sv(&out));
    buf_deinit(&out);
    return doc;
}

/* What the slug sets beyond what the client's API has a name for: it holds, whatever API the client asked in. */
static bool settle_in(struct canon_request *rq, const struct canon_row *row, yyjson_val *v);

#define AT(field) offsetof(struct canon_request, field)

static const struct canon_row setting_rows[] = {
    { "max_tokens", canon_row_limit, AT(max_output) },
    { "max_completion_tokens", canon_row_limit, AT(max_output) },
    { "max_output_tokens", canon_row_limit, AT(max_output) },
    { "num_predict", canon_row_limit, AT(max_output) },
    CANON_SAMPLING_ROWS,
    { "repetition_penalty", canon_row_number, AT(repeat_penalty) },
    { "stop", canon_row_stop, 0 },
    { "stop_sequences", canon_row_stop, 0 },
    { "options", settle_in, 0 },
    { 0 },
};

static bool settle_in(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)row;
    return canon_members(rq, v, setting_rows, false);
}

/* Defaults in front of what the client says, forced ones behind it. */
static bool read_with_settings(struct translate *t, struct canon_request *rq, yyjson_val *body) {
    return canon_members(rq, yyjson_doc_get_root(rq->defaults), setting_rows, false) && t->client->read(rq, body) &&
           canon_members(rq, yyjson_doc_get_root(rq->forced), setting_rows, false);
}

static bool keep_tools(struct translate *t, const struct canon_request *rq) {
    struct canon_tool **to = &t->reply.tools;
    for (const struct canon_tool *tool = rq->tools; tool; tool = tool->next) {
        struct canon_tool *copy = ARENA_NEW(&t->arena, struct canon_tool);
        if (!copy)
            return false;
        copy->name = arena_sv(&t->arena, tool->name);
        copy->space = arena_sv(&t->arena, tool->space);
        copy->is_custom = tool->is_custom;
        if (!copy->name.p || !copy->space.p)
            return false;
        *to = copy;
        to = &copy->next;
    }
    return true;
}

static void refine(struct canon_reply *r, const struct canon_event *ev);

/* What the reply needs once the request is gone. */
static bool keep(struct translate *t, const struct canon_request *rq) {
    struct canon_reply *r = &t->reply;
    r->arena = &t->arena;
    r->spec = &t->spec;
    r->is_stream = t->spec.stream;
    r->begun_us = r->now_us = t->spec.now_us;
    r->now_s = t->spec.now_s;
    r->usage = (struct canon_usage){ -1, -1, -1, -1, -1 };
    r->load_us = r->prompt_us = r->output_us = -1;
    r->wants_usage = rq->wants_usage;
    r->wants_summary = rq->wants_summary;
    r->wants_encrypted = rq->wants_encrypted;
    r->deprecated_functions = rq->deprecated_functions;
    r->omits_reasoning = rq->omits_reasoning;
    r->logprobs = rq->logprobs;
    r->wants_base64 = rq->wants_base64;
    r->parallel = rq->parallel;
    r->model = t->spec.shown_model;
    r->emit = refine;
    buf_init(&r->logprobs_json, t->spec.reply_max);
    think_init(&t->think);
    t->kind = rq->kind;
    return keep_tools(t, rq) && (!t->client->keep || t->client->keep(rq, r)) && (!t->client->begin || t->client->begin(r)) && (!t->runtime->start || t->runtime->start(r));
}

static bool read_and_print(struct translate *t, struct canon_request *rq, struct buf *out) {
    yyjson_val *body = yyjson_doc_get_root(rq->doc);
    if (!yyjson_is_obj(body))
        return canon_bad(rq, "the body must be a JSON object");
    if (!read_with_settings(t, rq, body) || !canon_settle(rq))
        return false;
    rq->stream = t->spec.stream;
    t->runtime = choose(&t->spec, rq->kind);
    if (!t->runtime) {
        err_set(rq->fault, ERR_UNSUPPORTED, "no endpoint of this model takes %s",
                rq->kind == CANON_PROMPT ? "bare prompts (completions without a chat template)" : "requests of this kind");
        return false;
    }
    if (!t->lift)
        buf_reserve(out, t->spec.body.n + t->spec.body.n / 16 + 512); /* about what it will be; too little is no harm */
    if (!t->runtime->print(rq, out) || rq->fault->code != ERR_NONE)
        return false;
    if (out->failed)
        return err_set(rq->fault, ERR_TOO_LARGE, "the request is too large once it is translated (limit %zu bytes)", t->spec.body_max);
    return true;
}

/* The printed body as what is to be sent. False: texts that were lifted cannot be put back, or memory is out. */
static bool cut(struct translate *t, struct buf *out) {
    t->pieces = ARENA_ARRAY(&t->arena, struct sv, t->lift ? 2 * t->lift->n + 1 : 1);
    if (!t->pieces)
        return false;
    if (t->lift) {
        t->n_pieces = lift_pieces(t->lift, buf_sv(out), t->pieces);
    } else {
        t->pieces[0] = buf_sv(out);
        t->n_pieces = 1;
    }
    return t->n_pieces > 0;
}

/* Long texts go around the translation where there are any; those a response repeats do not. */
static yyjson_doc *parse(struct translate *t, struct arena *a, bool lifts) {
    enum { WORTH_IT = 2 * LIFT_MIN };
    const struct translate_spec *spec = &t->spec;
    struct sv only = spec->client == LLM_RESPONSES ? SV("input") : SV_NULL;
    struct buf small = BUF_MAX(spec->body_max);
    t->lift = lifts && spec->body.n >= WORTH_IT ? ARENA_NEW(&t->arena, struct lift) : NULL;
    if (t->lift && !lift_body(t->lift, spec->body, only, spec->seed, &small))
        t->lift = NULL;
    yyjson_doc *doc = parse_amended(spec, a, t->lift ? buf_sv(&small) : spec->body);
    buf_deinit(&small);
    return doc;
}

static bool translate_body(struct translate *t, bool lifts, struct buf *out, struct err *fault) {
    struct arena arena;
    arena_init(&arena, t->spec.body_max, NULL);
    struct canon_request rq = { .arena = &arena, .spec = &t->spec, .max_output = -1, .think_budget = -1, .top_logprobs = -1,
                                .num_ctx = -1, .dimensions = -1, .degraded = &t->degraded, .fault = fault };
    rq.doc = parse(t, &arena, lifts);
    rq.defaults = json_parse_exact(t->spec.defaults);
    rq.forced = json_parse_exact(t->spec.forced);
    bool parsed = rq.doc && (rq.defaults || !t->spec.defaults.n) && (rq.forced || !t->spec.forced.n);
    bool ok = parsed ? t->client && read_and_print(t, &rq, out) : err_no_memory(fault);
    if (ok && !cut(t, out) && t->lift) { /* a printer cut a text short: the plain way */
        buf_reset(out);
        buf_reset(&t->degraded);
        ok = translate_body(t, false, out, fault);
    } else if (ok && (!t->n_pieces || !keep(t, &rq))) {
        ok = err_no_memory(fault);
    }
    if (!ok && (arena.full || t->arena.full)) /* no want of memory: a later try would end the same way */
        err_limit(fault, LIMIT_BODY_MAX, "the request is too large to be translated: that may take %zu bytes, which gateway.body_max decides",
                  arena.full ? t->spec.body_max : t->spec.reply_max);
    yyjson_doc_free(rq.doc);
    yyjson_doc_free(rq.defaults);
    yyjson_doc_free(rq.forced);
    arena_deinit(&arena);
    return ok;
}

struct translate *translate_new(const struct translate_spec *spec, struct buf *out, struct err *e) {
    struct err fault = { 0 };
    struct translate *t = mem_new(sizeof *t);
    if (!t) {
        err_no_memory(e);
        return NULL;
    }
    t->spec = *spec;
    t->client = dialect_of(spec->client);
    arena_init(&t->arena, spec->reply_max, NULL);
    buf_init(&t->degraded, 4096);
    if (translate_body(t, true, out, &fault))
        return t;
    if (fault.code == ERR_NONE)
        err_no_memory(&fault);
    *e = fault;
    translate_free(t);
    return NULL;
}

struct sv *translate_pieces(const struct translate *t, unsigned *ret_n) {
    *ret_n = t->n_pieces;
    return t->pieces;
}

void translate_free(struct translate *t) {
    if (!t)
        return;
    for (struct canon_block *b = t->reply.blocks; b; b = b->next)
        buf_deinit(&b->text);
    buf_deinit(&t->reply.logprobs_json);
    buf_deinit(&t->degraded);
    think_deinit(&t->think);
    arena_deinit(&t->arena);
    mem_free(t);
}

enum llm_api translate_api(const struct translate *t) {
    return t->runtime->api;
}

struct sv translate_path(const struct translate *t) {
    return sv_of(t->runtime->path);
}

struct sv translate_type(const struct translate *t) {
    return t->spec.stream ? sv_of(t->client->stream_type) : SV("application/json");
}

struct sv translate_degraded(const struct translate *t) {
    return buf_sv(&t->degraded);
}

bool translate_is_over(const struct translate *t) {
    return t->reply.ended;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

/* Adds to the block that is open, or opens another. */
static void collect(struct canon_reply *r, const struct canon_event *ev) {
    struct canon_block *b = r->last_block;
    switch (ev->kind) {
    case CANON_E_ARGS: b = canon_call_block(r, ev->slot); break;
    case CANON_E_SIGNATURE:
        if (b && b->kind == CANON_E_REASONING)
            b->signature = arena_sv(r->arena, ev->text);
        return;
    case CANON_E_REASONING:
    case CANON_E_TEXT:
    case CANON_E_REFUSAL:
        if (b && b->kind == ev->kind && !b->signature.n)
            break;
        /* fall through */
    case CANON_E_CALL:
        b = ARENA_NEW(r->arena, struct canon_block);
        if (!b)
            break;
        b->kind = ev->kind;
        b->slot = ev->slot;
        b->id = arena_sv(r->arena, ev->id);
        b->name = arena_sv(r->arena, ev->name);
        buf_init(&b->text, r->spec->reply_max);
        if (r->last_block)
            r->last_block->next = b;
        else
            r->blocks = b;
        r->last_block = b;
        if (b->kind != CANON_E_CALL)
            break;
        if (r->last_call)
            r->last_call->next_call = b;
        else
            r->calls = b;
        r->last_call = b;
        break;
    default:
        return;
    }
    if (canon_hold(r, ev->text.n) && (!b || !buf_add(&b->text, ev->text)))
        canon_reply_fault(r, ERR_NO_MEMORY, "out of memory");
}

static void collect_logprobs(struct canon_reply *r, yyjson_val *entries) {
    struct canon_block *b = r->last_block && r->last_block->kind == CANON_E_TEXT ? r->last_block : NULL;
    size_t i, n, was = r->logprobs_json.n;
    yyjson_val *one;
    struct print p = { &r->logprobs_json, 0 };
    yyjson_arr_foreach(entries, i, n, one)
        canon_print_value(&p, NULL, one);
    if (b && !b->logprobs_end)
        b->logprobs = was ? was + 1 : 0; /* behind the comma */
    if (b)
        b->logprobs_end = r->logprobs_json.n;
    if (r->logprobs_json.failed)
        canon_reply_fault(r, ERR_BAD_REPLY, "the log probabilities are larger than limits.upstream.reply");
}

static void deliver(struct translate *t, const struct canon_event *ev) {
    struct canon_reply *r = &t->reply;
    if (!r->started) {
        r->started = true;
        if (ev->kind != CANON_E_START)
            deliver(t, &(struct canon_event){ .kind = CANON_E_START });
    }
    if (t->kind != CANON_EMBED && (!r->is_stream || r->keeps_blocks)) {
        collect(r, ev);
        if (ev->kind == CANON_E_LOGPROBS)
            collect_logprobs(r, ev->value);
    }
    if (r->fault.code == ERR_NONE && (r->is_stream || t->kind == CANON_EMBED))
        t->client->encode(r, ev);
}

static void deliver_text(struct translate *t, enum canon_event_kind kind, struct sv text) {
    struct canon_reply *r = &t->reply;
    enum translate_reasoning how = r->omits_reasoning ? TRANSLATE_REASONING_STRIP : t->spec.reasoning;
    r->text_bytes += text.n;
    if (!r->first_us)
        r->first_us = r->now_us;
    if (kind == CANON_E_REASONING && how == TRANSLATE_REASONING_STRIP) {
        t->hid = true;
        return;
    }
    if (how == TRANSLATE_REASONING_SHOW && t->in_tags != (kind == CANON_E_REASONING)) {
        t->in_tags = !t->in_tags;
        deliver(t, &(struct canon_event){ .kind = CANON_E_TEXT, .text = t->in_tags ? SV("<think>") : SV("</think>\n\n") });
    }
    if (how == TRANSLATE_REASONING_SHOW)
        kind = kind == CANON_E_REASONING ? CANON_E_TEXT : kind;
    r->has_output = true;
    if (text.n)
        deliver(t, &(struct canon_event){ .kind = kind, .text = text });
}

static void on_thought(void *arg, bool is_reasoning, struct sv text) {
    deliver_text(arg, is_reasoning ? CANON_E_REASONING : CANON_E_TEXT, text);
}

static bool splits_tags(const struct translate *t) {
    return t->kind == CANON_CHAT && t->spec.reasoning != TRANSLATE_REASONING_SHOW;
}

/* The runtime's calls past the first are left out when the client asked for one at a time. */
static bool is_extra_call(const struct canon_reply *r, const struct canon_event *ev) {
    return r->parallel == CANON_NO && ev->slot > 0;
}

/* Under the name the client gave the tool: a runtime may have written it another way. */
static void deliver_call(struct translate *t, const struct canon_event *ev) {
    const struct canon_tool *tool = canon_tool_named(&t->reply, ev->name);
    struct canon_event named = *ev;
    if (tool)
        named.name = tool->name;
    deliver(t, &named);
}

static void refine(struct canon_reply *r, const struct canon_event *ev) {
    struct translate *t = CONTAINER(r, struct translate, reply);
    if (r->ended)
        return;
    switch (ev->kind) {
    case CANON_E_START:
        if (!r->started)
            deliver(t, ev);
        break;
    case CANON_E_TEXT:
        if (splits_tags(t))
            think_feed(&t->think, ev->text, on_thought, t);
        else
            deliver_text(t, ev->kind, ev->text);
        break;
    case CANON_E_REFUSAL:
        r->has_refusal = true;
        /* fall through */
    case CANON_E_REASONING:
        deliver_text(t, ev->kind, ev->text);
        break;
    case CANON_E_SIGNATURE:
        if (t->spec.reasoning == TRANSLATE_REASONING_SPLIT && !r->omits_reasoning)
            deliver(t, ev);
        break;
    case CANON_E_CALL:
    case CANON_E_ARGS:
    case CANON_E_CALL_END:
        think_end(&t->think, on_thought, t);
        if (is_extra_call(r, ev) || ev->slot >= r->n_slots)
            break;
        if (t->in_tags)
            deliver_text(t, CANON_E_TEXT, SV_NULL);
        r->has_calls = r->has_output = true;
        r->text_bytes += ev->text.n;
        if (!r->first_us)
            r->first_us = r->now_us;
        if (ev->kind == CANON_E_CALL)
            deliver_call(t, ev);
        else
            deliver(t, ev);
        break;
    case CANON_E_LOGPROBS:
        if (r->logprobs && !t->hid) /* the tokens of what is hidden stay hidden */
            deliver(t, ev);
        t->hid = false;
        break;
    case CANON_E_END:
        think_end(&t->think, on_thought, t);
        if (t->in_tags)
            deliver_text(t, CANON_E_TEXT, SV_NULL);
        if (r->has_calls && r->finish == CANON_STOP)
            r->finish = CANON_TOOL_CALLS;
        else if (!r->has_calls && r->finish == CANON_TOOL_CALLS && !r->has_output)
            canon_reply_fault(r, ERR_BAD_REPLY, "the runtime ended its answer with tool calls, but made none");
        else if (!r->has_calls && r->finish == CANON_TOOL_CALLS) /* some say so of any answer to a request with tools */
            r->finish = CANON_STOP;
        if (r->fault.code != ERR_NONE)
            break;
        deliver(t, ev);
        r->ended = true;
        break;
    default: deliver(t, ev);
    }
}

/* --- the reply ---------------------------------------------------------------------------------------------------- */

/* Says whether all is well. What did not get into out as a whole is taken out of it again: it was `was` bytes long before. */
static bool settled(struct translate *t, struct buf *out, size_t was, struct err *e) {
    struct canon_reply *r = &t->reply;
    if (r->fault.code == ERR_NONE && t->arena.overflow)
        canon_reply_fault(r, ERR_BAD_REPLY, "the answer is larger than limits.upstream.reply (%zu bytes)", t->spec.reply_max);
    if (r->fault.code == ERR_NONE && out->failed)
        canon_reply_fault(r, ERR_NO_MEMORY, "out of memory");
    if (r->fault.code == ERR_NONE)
        return true;
    if (out->failed || r->ended)
        out->n = was;
    *e = r->fault;
    return false;
}

bool translate_event(struct translate *t, struct sv name, struct sv data, uint64_t now_us, struct buf *out, struct err *e) {
    struct canon_reply *r = &t->reply;
    r->now_us = now_us;
    r->out = out;
    size_t was = out->n;
    if (!r->ended && r->fault.code == ERR_NONE && sv_trim(data).n)
        t->runtime->decode(r, name, data);
    return settled(t, out, was, e);
}

bool translate_end(struct translate *t, uint64_t now_us, struct buf *out, struct err *e) {
    struct canon_reply *r = &t->reply;
    r->now_us = now_us;
    r->out = out;
    size_t was = out->n;
    if (!r->ended && r->fault.code == ERR_NONE)
        t->runtime->decode_end(r);
    if (!r->ended && r->fault.code == ERR_NONE)
        canon_reply_fault(r, ERR_BAD_REPLY, "the runtime broke its answer off");
    if (r->fault.code == ERR_NONE && !r->is_stream && t->kind != CANON_EMBED)
        t->client->print_reply(r);
    return settled(t, out, was, e);
}

bool translate_reply(struct translate *t, struct sv body, uint64_t now_us, struct buf *out, struct err *e) {
    struct canon_reply *r = &t->reply;
    r->now_us = now_us;
    r->out = out;
    size_t was = out->n;
    yyjson_doc *doc = t->kind == CANON_EMBED ? canon_parse_raw(r, body) : canon_parse(r, body);
    yyjson_val *root = yyjson_doc_get_root(doc), *error = canon_error_in(root, SV_NULL);
    if (error)
        canon_reply_error(r, error);
    else if (doc)
        t->runtime->decode_reply(r, root);
    bool ok = r->fault.code != ERR_NONE || translate_end(t, now_us, out, e);
    yyjson_doc_free(doc);
    return ok && settled(t, out, was, e);
}

void translate_fail(struct translate *t, const struct err *e, struct buf *out) {
    struct canon_reply *r = &t->reply;
    size_t was = out->n;
    if (t->is_told || (r->ended && r->fault.code == ERR_NONE))
        return;
    r->out = out;
    r->ended = t->is_told = true;
    if (t->client->encode_fault && r->started)
        t->client->encode_fault(r, e);
    if (out->failed) { /* what there is so far is too much to repeat */
        out->n = was;
        out->failed = false;
    }
    if (out->n == was)
        llm_error_event(out, t->spec.client, e, 0);
}
