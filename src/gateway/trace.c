/* gateway/trace.c - an exchange as a trace: what the client's traceparent says is honoured, each attempt is a span of its own, and
 * the runtime gets that one's traceparent (W3C Trace Context, level 2).
 *
 * With a valid traceparent its trace goes on, its sampled flag holds, and tracestate travels unchanged; without one both fields
 * of the client stay here and a new trace begins (section 3.4 there). A trace that is not sampled is counted, not told. */
#include "gateway/exchange.h"

#include "base/rand.h"

struct tracing { /* in the request's arena */
    struct trace_parent own;       /* the trace, the request's span, the flags */
    struct trace_parent client;    /* its span is the parent */
    bool has_client;
    struct sv state;
    struct trace_attempt *first, *now; /* now: NULL between two of them */
    const struct trace_attempt **end;
    bool sent;                     /* the present one has left */
};

/* gen_ai.operation.name; "other" is none of theirs. */
static struct sv operation(enum llm_api api) {
    switch (api) {
    case LLM_CHAT:
    case LLM_RESPONSES:
    case LLM_MESSAGES:
    case LLM_OLLAMA_CHAT:
    case LLM_LMSTUDIO0_CHAT:
    case LLM_LMSTUDIO1_CHAT: return SV("chat");
    case LLM_COMPLETIONS:
    case LLM_OLLAMA_GENERATE:
    case LLM_LMSTUDIO0_COMPLETIONS: return SV("text_completion");
    case LLM_EMBEDDINGS:
    case LLM_OLLAMA_EMBED:
    case LLM_OLLAMA_EMBEDDINGS:
    case LLM_LMSTUDIO0_EMBEDDINGS: return SV("embeddings");
    case LLM_RERANK:
    case LLM_SCORE: return SV("rerank");
    default: return SV("other");
    }
}

/* A field that stands twice is not valid. */
static bool read_client(struct exchange *x, struct trace_parent *ret) {
    const struct http_head *head = x->in->head;
    unsigned n = 0;
    for (unsigned i = 0; i < head->n_headers; i++)
        n += sv_eq(head->headers[i].name, SV("traceparent"));
    return n == 1 && trace_parent_read(sv_trim(http_get(head, SV("traceparent"))), ret);
}

void trace__begin(struct exchange *x) {
    if (!x->config->telemetry.otlp.url.n || !x->g->export)
        return;
    struct tracing *t = ARENA_NEW(&x->in->arena, struct tracing);
    if (!t)
        return;
    t->end = (const struct trace_attempt **)&t->first;
    t->has_client = read_client(x, &t->client);
    if (t->has_client) {
        t->own = t->client;
        t->state = http_get(x->in->head, SV("tracestate"));
    } else {
        rand_bytes(t->own.trace, sizeof t->own.trace);
        t->own.flags = TRACE_SAMPLED | TRACE_RANDOM;
    }
    rand_bytes(t->own.span, sizeof t->own.span);
    x->tracing = t;
}

/* --- attempts ----------------------------------------------------------------------------------------------------- */

/* Views are copied: the snapshot they are of may be gone when the request ends. */
void trace__attempt(struct exchange *x) {
    struct tracing *t = x->tracing;
    struct arena *a = &x->in->arena;
    if (!t || t->now)
        return;
    const struct fleet_target *to = x->sched.taken;
    t->now = ARENA_NEW(a, struct trace_attempt);
    t->sent = false;
    if (!t->now)
        return;
    *t->now = (struct trace_attempt){ .endpoint = arena_sv(a, to->endpoint->name), .runtime = arena_sv(a, to->endpoint->kind),
                                      .model = arena_sv(a, to->model->id), .host = arena_sv(a, to->endpoint->host),
                                      .start_us = loop_now_us(x->g->loop) };
    rand_bytes(t->now->span, sizeof t->now->span);
}

void trace__sent(struct exchange *x) {
    if (x->tracing)
        x->tracing->sent = true;
}

void trace__status(struct exchange *x, int status) {
    if (x->tracing && x->tracing->now)
        x->tracing->now->status = status;
}

void trace__failed(struct exchange *x, const char *reason) {
    if (!x->tracing || !x->tracing->now)
        return;
    x->tracing->now->error = sv_of(reason);
    x->tracing->sent = true; /* also where nobody could be reached */
}

void trace__attempt_end(struct exchange *x) {
    struct tracing *t = x->tracing;
    if (!t || !t->now)
        return;
    t->now->end_us = loop_now_us(x->g->loop);
    if (t->sent) {
        *t->end = t->now;
        t->end = &t->now->next;
    }
    t->now = NULL;
}

void trace__finish(struct exchange *x, const struct request_record *r) {
    struct tracing *t = x->tracing;
    if (!t)
        return;
    if (t->now) {
        t->now->first_us = r->first_us;
        if (!t->now->error.n && r->result != RESULT_OK && t->now->status < 400)
            t->now->error = sv_of(request_result_name(r->result));
    }
    trace__attempt_end(x);
    struct trace trace = { .own = t->own, .has_parent = t->has_client, .state = t->state, .method = x->in->head->method,
                           .operation = operation(x->route->api), .r = *r, .attempts = t->first };
    memcpy(trace.parent, t->client.span, sizeof trace.parent);
    export_add(x->g->export, &trace);
}

/* --- on to the runtime -------------------------------------------------------------------------------------------- */

bool trace__replaces(const struct exchange *x, struct sv field) {
    const struct tracing *t = x->tracing;
    return t && (sv_eq(field, SV("traceparent")) || (!t->has_client && sv_eq(field, SV("tracestate"))));
}

bool trace__header(struct exchange *x, struct http_header *ret) {
    struct tracing *t = x->tracing;
    char *text = t ? arena_alloc(&x->in->arena, TRACE_PARENT_TEXT) : NULL;
    if (!text)
        return false;
    struct trace_parent p = t->own;
    if (t->now)
        memcpy(p.span, t->now->span, sizeof p.span);
    *ret = (struct http_header){ SV("traceparent"), sv_of(trace_parent_text(&p, text)) };
    return true;
}
