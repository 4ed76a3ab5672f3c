/* fuzz/fuzz_translate.c - whatever a client asks and a runtime answers, what goes to either of them is well-formed.
 *
 * Bodies and whole replies are JSON, and no member of ours stands in them twice. Of a stream every payload is JSON, the events
 * come in the order that the client's API prescribes, and there is exactly one last one: the API's own, or an error. A stream of
 * chat says what a whole reply to the same events would say.
 *
 * First six bytes: the client's API, what the runtime speaks, quirks (two bytes), ways, limits. Then the request up to a LF,
 * then what the runtime sends. Each event lies in a block of exactly its size that is gone before the next. */
#undef NDEBUG /* the properties are the point, in release builds, too */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "translate/translate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 6, DEPTH_MAX = 64 /* llm/scan.h lets no more through */ };

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static bool is_one_of(struct sv name, const char *const *names) {
    while (*names && !sv_eq(name, sv_of(*names)))
        names++;
    return *names;
}

/* Does a name stand twice in an object? Deeper only below the names that are given (NULL: everywhere): what Drover made itself. */
static bool repeats(yyjson_val *v, const char *const *below) {
    size_t i, n;
    yyjson_val *key, *one;
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, n, one)
            if (repeats(one, below))
                return true;
        return false;
    }
    yyjson_obj_foreach(v, i, n, key, one) {
        if (yyjson_obj_getn(v, yyjson_get_str(key), yyjson_get_len(key)) != one)
            return true;
        if ((!below || is_one_of(json_sv(key), below)) && repeats(one, below))
            return true;
    }
    return false;
}

static bool is_json(struct sv text) {
    yyjson_doc *doc = json_parse_exact(text);
    bool is = doc != NULL;
    yyjson_doc_free(doc);
    return is;
}

static bool text_repeats(struct sv text) {
    yyjson_doc *doc = json_parse_exact(text);
    bool found = repeats(yyjson_doc_get_root(doc), NULL);
    yyjson_doc_free(doc);
    return found;
}

static yyjson_doc *check_json(struct sv text) {
    yyjson_doc *doc = json_parse_exact(text);
    if (!doc)
        fprintf(stderr, "no JSON: %.*s\n", SV_FMT(sv_first(text, 2000)));
    assert(doc);
    return doc;
}

static const char *const request_members[] = { "messages", "tools", "function", "tool_choice", "tool_calls", "content", "source", "image_url",
                                               "input_audio", "response_format", "json_schema", "stream_options", "thinking", "output_config",
                                               "options", "reasoning", "text", NULL };
static const char *const reply_members[] = { "choices", "message", "delta", "tool_calls", "function", "function_call", "usage", "content", "item",
                                             "part", "response", "output", "error", "incomplete_details", "summary", "result", "stats", "data",
                                             "input_tokens_details", "output_tokens_details", "prompt_tokens_details", "content_block",
                                             "completion_tokens_details", "custom", NULL };

static bool is_too_deep(struct sv text) {
    int depth = 0;
    for (size_t i = 0; i < text.n; i++) {
        depth += text.p[i] == '{' || text.p[i] == '[';
        depth -= text.p[i] == '}' || text.p[i] == ']';
        if (depth > DEPTH_MAX)
            return true;
    }
    return false;
}

/* --- a small framer ----------------------------------------------------------------------------------------------- */

/* The next event of SSE or the next line of NDJSON, off the front. */
static bool next_event(struct sv *stream, bool ndjson, struct sv *name, struct sv *data) {
    struct sv line;
    *name = *data = SV_NULL;
    while (sv_next(stream, '\n', &line)) {
        if (ndjson)
            *data = line;
        else if (sv_starts(line, SV("event: ")))
            *name = sv_from(line, 7);
        else if (sv_starts(line, SV("data: ")))
            *data = sv_from(line, 6);
        if ((ndjson && line.n) || (line.n == 0 && (name->n || data->n)))
            return true;
    }
    return data->n;
}

static bool feed(struct translate *t, struct sv name, struct sv data, uint64_t now_us, struct buf *out, struct err *e) {
    char *exact = malloc(data.n ? data.n : 1);
    assert(exact);
    if (data.n)
        memcpy(exact, data.p, data.n);
    bool ok = translate_event(t, name, (struct sv){ exact, data.n }, now_us, out, e);
    free(exact);
    return ok;
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

enum { BLOCKS_MAX = 4096 };

struct watch {
    enum llm_api api;
    bool repeats;        /* what came in has members twice, so what goes out may */
    unsigned n;          /* events */
    bool over, failed;   /* the final event was seen; it was an error */
    bool finished;       /* a finish reason was told */
    int64_t seq;
    unsigned n_items, n_calls;
    int64_t open;        /* messages: the open block, -1 */
    struct sv open_type; /* static text */
    struct buf said[2];  /* chat: content, reasoning_content */
    struct {
        bool done;
        size_t text, told; /* bytes of deltas; bytes that "done" says it has */
    } items[BLOCKS_MAX];
};

static const char *const chat_texts[2] = { "content", "reasoning_content" };

static void watch_chat(struct watch *w, yyjson_val *root) {
    yyjson_val *choice = yyjson_arr_get_first(json_get(root, "choices")), *one;
    size_t i, n;
    for (int k = 0; k < 2; k++)
        assert(buf_add(&w->said[k], json_str(json_get(choice, "delta"), chat_texts[k])));
    if (json_get(root, "error")) {
        w->failed = true;
        return;
    }
    assert(!w->failed && yyjson_is_arr(json_get(root, "choices")));
    assert(!w->finished || !choice);
    yyjson_arr_foreach(json_get(json_get(choice, "delta"), "tool_calls"), i, n, one) {
        int64_t index = json_i64(one, "index", -1);
        bool begins = json_get(one, "id");
        yyjson_val *function = json_get(one, "function"), *custom = json_get(one, "custom");
        assert(begins == (index == w->n_calls) && index <= w->n_calls);
        assert(json_str(function, "arguments").p || json_str(custom, "input").p);
        assert(begins == (json_get(function ? function : custom, "name") != NULL));
        w->n_calls += begins;
    }
    if (json_str(choice, "finish_reason").n)
        w->finished = true;
}

static void watch_messages(struct watch *w, struct sv type, yyjson_val *root) {
    int64_t index = json_i64(root, "index", -1);
    assert((w->n == 0) == sv_eq(type, SV("message_start")) || sv_eq(type, SV("error")));
    if (sv_eq(type, SV("content_block_start"))) {
        struct sv kind = json_str(json_get(root, "content_block"), "type");
        assert(w->open < 0 && index == w->n_items && !w->finished);
        w->n_items++;
        w->open = index;
        w->open_type = sv_eq(kind, SV("text")) ? SV("text_delta") : sv_eq(kind, SV("thinking")) ? SV("thinking_delta") : SV("input_json_delta");
        assert(sv_starts(w->open_type, SV("input")) == sv_eq(kind, SV("tool_use")));
    } else if (sv_eq(type, SV("content_block_delta"))) {
        struct sv kind = json_str(json_get(root, "delta"), "type");
        assert(w->open >= 0 && index == w->open);
        assert(sv_eq(kind, w->open_type) || (sv_eq(kind, SV("signature_delta")) && sv_eq(w->open_type, SV("thinking_delta"))));
    } else if (sv_eq(type, SV("content_block_stop"))) {
        assert(w->open >= 0 && index == w->open);
        w->open = -1;
    } else if (sv_eq(type, SV("message_delta"))) {
        assert(w->open < 0 && !w->finished && json_str(json_get(root, "delta"), "stop_reason").n);
        w->finished = true;
    } else if (sv_eq(type, SV("message_stop"))) {
        assert(w->finished);
        w->over = true;
    } else if (sv_eq(type, SV("error"))) {
        w->over = w->failed = true;
    } else {
        assert(sv_eq(type, SV("message_start")) || sv_eq(type, SV("ping")));
    }
}

static size_t text_of(yyjson_val *item) {
    yyjson_val *part = yyjson_arr_get_first(json_get(item, "content"));
    if (!part)
        part = yyjson_arr_get_first(json_get(item, "summary"));
    struct sv found[] = { json_str(item, "arguments"), json_str(item, "input"), json_str(part, "text"), json_str(part, "refusal") };
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++)
        if (found[i].p)
            return found[i].n;
    return 0;
}

static void watch_responses(struct watch *w, struct sv type, yyjson_val *root) {
    int64_t index = json_i64(root, "output_index", -1);
    yyjson_val *response = json_get(root, "response"), *output = json_get(response, "output"), *item = json_get(root, "item"), *one;
    bool added = sv_eq(type, SV("response.output_item.added")), done = sv_eq(type, SV("response.output_item.done"));
    size_t i, n;
    if (sv_eq(type, SV("error"))) {
        w->over = w->failed = true;
        return;
    }
    int64_t seq = json_i64(root, "sequence_number", -1);
    assert(seq == w->seq || (sv_eq(type, SV("response.failed")) && seq > w->seq)); /* the event in which it failed is missing */
    w->seq = seq + 1;
    assert((w->seq == 1) == sv_eq(type, SV("response.created")) && (w->seq == 2) == sv_eq(type, SV("response.in_progress")));
    assert(index < BLOCKS_MAX);
    if (added) {
        assert(index == w->n_items && text_of(item) == 0 && json_str(item, "id").n);
        w->n_items++;
    } else if (index >= 0) {
        assert(index < w->n_items && !w->items[index].done);
        if (json_get(root, "delta"))
            w->items[index].text += json_str(root, "delta").n;
        if (done) {
            bool no_args = w->items[index].text == 0 && sv_eq(json_str(item, "arguments"), SV("{}"));
            assert(no_args || text_of(item) == w->items[index].text);
            w->items[index].done = true;
            w->items[index].told = text_of(item);
        }
    } else if (sv_eq(type, SV("response.completed")) || sv_eq(type, SV("response.incomplete")) || sv_eq(type, SV("response.failed"))) {
        w->over = true;
        w->failed = sv_eq(type, SV("response.failed"));
        assert((w->failed || yyjson_arr_size(output) == w->n_items) && (w->failed || json_get(response, "usage")));
        yyjson_arr_foreach(output, i, n, one)
            assert((w->failed || w->items[i].done) && (!w->items[i].done || text_of(one) == w->items[i].told));
    } else {
        assert(w->seq <= 2);
    }
}

static void watch_lmstudio(struct watch *w, struct sv type, yyjson_val *root) {
    struct sv kind = sv_starts(type, SV("reasoning.")) ? SV("reasoning.") : SV("message.");
    assert((w->n == 0) == sv_eq(type, SV("chat.start")) || sv_eq(type, SV("error")));
    if (sv_eq(type, SV("chat.end"))) {
        assert(w->open < 0 && json_get(root, "result"));
        w->over = true;
    } else if (sv_eq(type, SV("error"))) {
        w->over = w->failed = true;
    } else if (sv_ends(type, SV(".start")) && w->n) {
        assert(w->open < 0);
        w->open = kind.n;
    } else if (w->n) {
        assert(w->open == (int64_t)kind.n && (sv_ends(type, SV(".delta")) || sv_ends(type, SV(".end"))));
        if (sv_ends(type, SV(".end")))
            w->open = -1;
    }
}

/* One event of the client's stream. */
static void watch(struct watch *w, struct sv name, struct sv data) {
    assert(!w->over);
    if (sv_eq(data, SV("[DONE]"))) {
        assert(w->api == LLM_CHAT || w->api == LLM_COMPLETIONS || w->api == LLM_LMSTUDIO0_CHAT || w->api == LLM_LMSTUDIO0_COMPLETIONS);
        assert(w->finished || w->failed);
        w->over = true;
        return;
    }
    yyjson_doc *doc = check_json(data);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct sv type = json_str(root, "type");
    assert(yyjson_is_obj(root) && (w->repeats || !repeats(root, reply_members)));
    switch (w->api) {
    case LLM_MESSAGES:
        assert(sv_eq(name, type));
        watch_messages(w, type, root);
        break;
    case LLM_RESPONSES:
        assert(sv_eq(name, type) || sv_eq(type, SV("error")));
        watch_responses(w, type, root);
        break;
    case LLM_LMSTUDIO1_CHAT:
        assert(sv_eq(name, type) || sv_eq(type, SV("error")));
        watch_lmstudio(w, type, root);
        break;
    case LLM_OLLAMA_CHAT:
    case LLM_OLLAMA_GENERATE:
        w->failed = json_get(root, "error");
        w->over = w->failed || json_bool(root, "done", false);
        assert(w->failed || yyjson_is_bool(json_get(root, "done")));
        break;
    default: watch_chat(w, root);
    }
    w->n++;
    yyjson_doc_free(doc);
}

/* --- one exchange ------------------------------------------------------------------------------------------------- */

struct ways {
    bool stream, whole;
    size_t limit; /* bytes of what goes to the client */
    long fails;   /* this allocation does; 0: none */
};

static void check_request(struct translate *t, const struct translate_spec *spec, struct buf *body) {
    struct sv lost = translate_degraded(t);
    struct buf whole = BUF_MAX(SIZE_MAX / 4);
    unsigned n;
    const struct sv *pieces = translate_pieces(t, &n);
    assert(!body->failed && body->n <= spec->body_max && lost.n <= 1024);
    for (size_t i = 0; i < lost.n; i++)
        assert(lost.p[i] >= ' ' && lost.p[i] < 0x7f);
    for (unsigned i = 0; i < n; i++)
        assert(pieces[i].n && buf_add(&whole, pieces[i]));
    yyjson_doc *doc = check_json(buf_sv(&whole));
    assert(yyjson_is_obj(yyjson_doc_get_root(doc)));
    assert(text_repeats(spec->body) || !repeats(yyjson_doc_get_root(doc), request_members));
    assert(json_bool(yyjson_doc_get_root(doc), "stream", spec->stream) == spec->stream);
    assert(sv_find(buf_sv(&whole), SV("@lift")) < 0 || sv_find(spec->body, SV("@lift")) >= 0);
    yyjson_doc_free(doc);
    buf_deinit(&whole);
}

static void check_reply(bool in_repeats, struct sv out) {
    yyjson_doc *doc = check_json(out);
    assert(yyjson_is_obj(yyjson_doc_get_root(doc)) && (in_repeats || !repeats(yyjson_doc_get_root(doc), reply_members)));
    yyjson_doc_free(doc);
}

/* The same events for a client that wants a whole reply. */
static void check_same(const struct translate_spec *spec, const struct watch *w, struct sv upstream) {
    struct translate_spec whole = *spec;
    struct buf body = BUF_MAX(spec->body_max), out = BUF_MAX(8u << 20);
    struct err e = { 0 };
    struct sv name, data;
    uint64_t now = spec->now_us;
    whole.stream = false;
    whole.reply_max = 8u << 20;
    struct translate *t = translate_new(&whole, &body, &e);
    assert(t);
    while (next_event(&upstream, llm_dialect(translate_api(t)) == LLM_OLLAMA, &name, &data))
        assert(feed(t, name, data, now += 1000, &out, &e));
    assert(translate_end(t, now, &out, &e));
    yyjson_doc *doc = check_json(buf_sv(&out));
    yyjson_val *message = json_get(yyjson_arr_get_first(json_get(yyjson_doc_get_root(doc), "choices")), "message");
    for (int k = 0; k < 2; k++)
        assert(sv_eq(json_str(message, chat_texts[k]), buf_sv(&w->said[k])));
    yyjson_doc_free(doc);
    translate_free(t);
    buf_deinit(&body);
    buf_deinit(&out);
}

static void check_stream(const struct translate_spec *spec, bool in_repeats, bool ok, struct sv upstream, struct sv out) {
    struct watch *w = calloc(1, sizeof *w);
    struct sv name, data;
    assert(w);
    buf_init(&w->said[0], SIZE_MAX / 4);
    buf_init(&w->said[1], SIZE_MAX / 4);
    w->api = spec->client;
    w->repeats = in_repeats;
    w->open = -1;
    while (next_event(&out, llm_dialect(spec->client) == LLM_OLLAMA, &name, &data))
        watch(w, name, data);
    assert(w->over && w->failed == !ok);
    if (ok && upstream.n && spec->client == LLM_CHAT)
        check_same(spec, w, upstream);
    buf_deinit(&w->said[0]);
    buf_deinit(&w->said[1]);
    free(w);
}

static void reply(struct translate *t, const struct translate_spec *spec, const struct ways *how, struct sv upstream) {
    struct buf out = BUF_MAX(how->limit), last = BUF_MAX(how->limit);
    struct err e = { 0 };
    bool ndjson = llm_dialect(translate_api(t)) == LLM_OLLAMA, ok = true, in_repeats = text_repeats(spec->body);
    bool embeds = llm_speaks(spec->client) == LLM_SPEAKS_EMBEDDINGS || spec->client == LLM_OLLAMA_EMBED || spec->client == LLM_OLLAMA_EMBEDDINGS ||
                  spec->client == LLM_LMSTUDIO0_EMBEDDINGS;
    uint64_t now = spec->now_us;
    struct sv rest = upstream, name, data;
    if (how->whole) {
        in_repeats = in_repeats || text_repeats(upstream);
    } else {
        while (next_event(&rest, ndjson, &name, &data))
            in_repeats = in_repeats || text_repeats(data);
        rest = upstream;
    }
    mem_fail_at(how->fails, false);
    if (how->whole) {
        ok = translate_reply(t, upstream, now + 1000, &out, &e);
    } else {
        while (ok && next_event(&rest, ndjson, &name, &data))
            ok = feed(t, name, data, now += 1000, &out, &e);
        ok = ok && translate_end(t, now, &out, &e);
    }
    mem_fail_at(0, false);
    assert(ok == (e.code == ERR_NONE) && (!ok || translate_is_over(t)));
    if (!ok)
        translate_fail(t, &e, &last);
    translate_fail(t, &(struct err){ .code = ERR_TIMEOUT }, &last); /* too late: not a byte more */
    if (ok)
        assert(!out.failed && last.n == 0);
    else
        buf_add(&out, buf_sv(&last));
    bool full = last.failed || (!ok && out.failed);
    if (!full && (embeds || !spec->stream) && ok)
        check_reply(in_repeats, buf_sv(&out));
    else if (!full && !embeds && spec->stream)
        check_stream(spec, in_repeats, ok, how->whole ? SV_NULL : upstream, buf_sv(&out));
    buf_deinit(&out);
    buf_deinit(&last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum llm_api clients[] = {
        LLM_CHAT,        LLM_MESSAGES,       LLM_RESPONSES,      LLM_OLLAMA_CHAT,           LLM_OLLAMA_GENERATE,
        LLM_COMPLETIONS, LLM_LMSTUDIO1_CHAT, LLM_LMSTUDIO0_CHAT, LLM_LMSTUDIO0_COMPLETIONS, LLM_EMBEDDINGS,
        LLM_OLLAMA_EMBED, LLM_OLLAMA_EMBEDDINGS, LLM_LMSTUDIO0_EMBEDDINGS,
    };
    static const unsigned speaks[] = { LLM_SPEAKS_CHAT,        LLM_SPEAKS_ANTHROPIC,  LLM_SPEAKS_RESPONSES, LLM_SPEAKS_OLLAMA,
                                       LLM_SPEAKS_COMPLETIONS, LLM_SPEAKS_EMBEDDINGS, LLM_SPEAKS_LMSTUDIO0 };
    uint8_t head[HEAD];
    if (size <= HEAD)
        return 0;
    for (int i = 0; i < HEAD; i++)
        head[i] = data[i] ^ '@'; /* seeds can be read */
    struct sv upstream = { (const char *)data + HEAD, size - HEAD }, request;
    if (!sv_cut(&upstream, '\n', &request) || is_too_deep(request))
        return 0;
    struct ways how = {
        .stream = head[4] & 1,
        .whole = head[4] & 2,
        .limit = head[5] & 1 ? 600u + 32 * (head[5] >> 4) : 1u << 20,
        .fails = head[5] & 2 ? 1 + (head[5] >> 2) : 0,
    };
    struct translate_spec spec = {
        .client = clients[head[0] % (sizeof clients / sizeof clients[0])],
        .quirks = (unsigned)head[2] | (unsigned)(head[3] & 7) << 8,
        .body = request,
        .model = SV("native \"model\""),
        .shown_model = SV("shown\nmodel"),
        .stream = how.stream,
        .strict = head[4] & 4,
        .reasoning = (enum translate_reasoning)((head[4] >> 3 & 3) % 3),
        .system = head[4] & 32 ? SV("slug's system") : SV_NULL,
        .defaults = head[4] & 64 ? SV("{\"temperature\":0.5,\"x\":{}}") : SV_NULL,
        .forced = head[4] & 128 ? SV("{\"top_p\":1,\"seed\":7}") : SV_NULL,
        .input_estimate = 7,
        .context = 4096,
        .body_max = 1 << 20,
        .reply_max = head[5] & 4 ? 16 << 10 : 256 << 10,
        .seed = 42,
        .now_us = 1000000,
        .now_s = 1790000000,
    };
    for (unsigned i = 0; i < sizeof speaks / sizeof speaks[0]; i++)
        spec.speaks |= head[1] >> i & 1 ? speaks[i] : 0;
    struct buf body = BUF_MAX(spec.body_max);
    struct err e = { 0 };
    mem_fail_at(head[3] & 128 ? how.fails : 0, false);
    struct translate *t = translate_new(&spec, &body, &e);
    mem_fail_at(0, false);
    assert((t != NULL) == (e.code == ERR_NONE));
    if (t && is_json(request)) { /* llm/scan.h lets nothing else through */
        check_request(t, &spec, &body);
        reply(t, &spec, &how, upstream);
    }
    translate_free(t);
    buf_deinit(&body);
    return 0;
}
