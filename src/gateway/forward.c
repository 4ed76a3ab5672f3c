/* gateway/forward.c - one attempt at one target: head, patched body, reply. Where the prompt may not fit its model, count.c asks
 * first how long it is, and comes back here.
 *
 * The upstream head is made anew from parsed fields: nothing that frames a message, names a client or carries its
 * credentials goes on. The body goes as it came, in the memory it was read into, with the splices of patch.h. */
#include "gateway/exchange.h"

#include <stdio.h>

#include "base/clock.h"
#include "llm/amend.h"

enum {
    SMALL_BODY = 16 << 10,  /* copied behind the head and sent with it in one call */
    OWN_HEADERS = 8,        /* at most so many fields are added to the client's */
    ID_BYTES = 33,          /* of x-request-id, with the NUL */
};

static uint32_t ms32(uint64_t ms) {
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* Fields of the client that stay here (lower case). Others travel on. */
static bool stays_here(struct sv n) {
    if (n.n < 2)
        return true;
    switch (n.p[0]) {
    case 'a':
        return sv_eq(n, SV("authorization")) || sv_eq(n, SV("accept-encoding")) || sv_eq(n, SV("api-key")) ||
               sv_eq(n, SV("accept-charset"));
    case 'c':
        return sv_eq(n, SV("connection")) || sv_eq(n, SV("content-length")) || sv_eq(n, SV("cookie")) ||
               sv_eq(n, SV("content-encoding")) || sv_starts(n, SV("cf-"));
    case 'd':
        return sv_starts(n, SV("drover-"));
    case 'e':
        return sv_eq(n, SV("expect"));
    case 'f':
        return sv_eq(n, SV("forwarded"));
    case 'h':
        return sv_eq(n, SV("host")) || sv_eq(n, SV("http2-settings"));
    case 'k':
        return sv_eq(n, SV("keep-alive"));
    case 'o':
        return sv_eq(n, SV("origin"));
    case 'p':
        return sv_starts(n, SV("proxy-"));
    case 'r':
        return sv_eq(n, SV("referer")) || sv_eq(n, SV("range"));
    case 's':
        return sv_starts(n, SV("sec-"));
    case 't':
        return sv_eq(n, SV("te")) || sv_eq(n, SV("trailer")) || sv_eq(n, SV("transfer-encoding"));
    case 'u':
        return sv_eq(n, SV("upgrade"));
    case 'v':
        return sv_eq(n, SV("via"));
    case 'x':
        return sv_eq(n, SV("x-api-key")) || sv_starts(n, SV("x-forwarded-")) || sv_eq(n, SV("x-real-ip")) ||
               sv_eq(n, SV("xi-api-key")) || sv_eq(n, SV("x-request-id"));
    default:
        return sv_find_char(n, '_') >= 0;
    }
}

bool forward__is_named(const struct http_head *head, struct sv name) {
    for (unsigned i = 0; i < head->n_headers; i++)
        if (sv_eq(head->headers[i].name, SV("connection")) && http_has_token(head->headers[i].value, name))
            return true;
    return false;
}

/* What goes on with a body that is not the client's any more. */
static bool fits_any_body(struct sv n) {
    return sv_eq(n, SV("user-agent")) || sv_eq(n, SV("traceparent")) || sv_eq(n, SV("tracestate"));
}

/* out has room for the client's fields and OWN_HEADERS more. is_own: the body is one that we printed. */
static unsigned make_headers(struct exchange *x, bool is_own, struct http_header *out, char id[static 33],
                             char hops[static HOPS_TEXT]) {
    const struct http_head *head = x->in->head;
    const struct fleet_endpoint *p = x->sched.taken->endpoint;
    unsigned n = 0;
    out[n++] = (struct http_header){ SV("host"), p->host };
    for (unsigned i = 0; i < head->n_headers; i++) {
        struct http_header h = head->headers[i];
        if (stays_here(h.name) || sv_find_char(h.name, '_') >= 0 || forward__is_named(head, h.name))
            continue;
        if ((is_own && !fits_any_body(h.name)) || trace__replaces(x, h.name))
            continue;
        out[n++] = h;
    }
    if (is_own)
        out[n++] = (struct http_header){ SV("content-type"), SV("application/json") };
    out[n++] = (struct http_header){ SV("accept-encoding"), SV("identity") };
    answer__request_id(x->in, id);
    out[n++] = (struct http_header){ SV("x-request-id"), sv_of(id) };
    if (p->auth.n)
        out[n++] = (struct http_header){ SV("authorization"), p->auth };
    if (p->is_many) {
        snprintf(hops, HOPS_TEXT, "%u", x->hops + 1);
        out[n++] = (struct http_header){ SV(GATEWAY_HOPS), sv_of(hops) };
    }
    if (p->is_node && (x->key || x->principal.n)) /* for the node's ledger */
        out[n++] = (struct http_header){ SV(GATEWAY_PRINCIPAL), x->key ? x->key->id : x->principal };
    return trace__header(x, &out[n]) ? n + 1 : n;
}

bool forward__spec(struct exchange *x, struct sv path, bool is_own, struct http_call_spec *ret_spec) {
    const struct fleet_endpoint *p = x->sched.taken->endpoint;
    const struct config_limits *m = &x->config->limits;
    struct arena *a = &x->in->arena;
    struct http_header *headers = ARENA_ARRAY(a, struct http_header, x->in->head->n_headers + OWN_HEADERS);
    char *id = arena_alloc(a, ID_BYTES), *hops = arena_alloc(a, HOPS_TEXT);
    if (p->no_v1 && sv_starts(path, SV("/v1/")))
        path = sv_from(path, 3);
    if (p->base_path.n)
        path = sv_of(arena_printf(a, "%.*s%.*s", SV_FMT(p->base_path), SV_FMT(path)));
    if (!headers || !id || !hops || path.n == 0)
        return false;
    *ret_spec = (struct http_call_spec){
        .dialer = p->dialer,
        .method = is_own ? SV("POST") : x->in->head->method,
        .target = path,
        .headers = headers,
        .n_headers = make_headers(x, is_own, headers, id, hops),
        .connect_ms = ms32(m->upstream.connect_ms),
        .first_byte_ms = ms32(m->upstream.first_byte_ms),
        .stall_ms = ms32(x->config->gateway.stall_timeout_ms),
        .pool_idle_ms = p->pool_idle_ms,
    };
    return true;
}

/* --- the body ----------------------------------------------------------------------------------------------------- */

/* The target does not speak the client's API well: another one is used with it. */
static bool must_translate(const struct exchange *x) {
    const struct fleet_endpoint *p = x->sched.taken->endpoint;
    unsigned own = llm_speaks(x->route->api), sound = p->speaks & ~p->deficient;
    return x->is_json && own && (!(sound & own) || x->sched.slug->amends) && (sound & x->want.through);
}

static enum translate_reasoning reasoning_of(const struct fleet_slug *slug) {
    return slug->reasoning == CONFIG_REASONING_SHOW    ? TRANSLATE_REASONING_SHOW
           : slug->reasoning == CONFIG_REASONING_STRIP ? TRANSLATE_REASONING_STRIP
                                                       : TRANSLATE_REASONING_SPLIT;
}

static bool takes_usage_switch(const struct exchange *x) {
    const struct fleet_endpoint *p = x->sched.taken->endpoint;
    return p->usage_switch && loop_now_us(x->g->loop) >= atomic_load_explicit(&p->cell->no_usage_until_us, memory_order_relaxed);
}

bool forward__translation(const struct exchange *x, struct translate_spec *ret_spec, struct err *e) {
    const struct fleet_target *t = x->sched.taken;
    const struct fleet_slug *slug = x->sched.slug;
    if (!exchange__may_parse(x, e))
        return false;
    bool cannot_think = (t->endpoint->ways & TRANSLATE_Q_TELLS_THINKING) && t->model->can_known && !(t->model->can & LLM_CAN_THINKING);
    *ret_spec = (struct translate_spec){
        .client = x->route->api,
        .speaks = t->endpoint->speaks & ~t->endpoint->deficient,
        .quirks = t->endpoint->ways | (cannot_think ? TRANSLATE_Q_NO_THINK : 0) |
                  (takes_usage_switch(x) ? 0 : TRANSLATE_Q_NO_USAGE_OPTION),
        .body = { x->body, x->body_n },
        .model = t->model->id,
        .shown_model = x->config->slugs == CONFIG_SLUGS_OPAQUE ? x->sched.slug->name : x->asked,
        .stream = x->is_stream,
        .strict = slug->strict,
        .reasoning = reasoning_of(slug),
        .system = slug->system,
        .defaults = slug->defaults,
        .forced = slug->force,
        .guard = slug->context_guard,
        .input_estimate = count__input(x),
        .context = (int64_t)t->model->context,
        .body_max = 2 * x->config->gateway.body_max,
        .reply_max = x->config->limits.upstream.reply,
        .seed = answer__seed(x->in, x->attempts),
        .now_us = loop_now_us(x->g->loop),
        .now_s = clock_wall_ms() / 1000,
    };
    return true;
}

static bool translate(struct exchange *x, struct err *e) {
    struct translate_spec spec;
    if (!forward__translation(x, &spec, e) || !count__fits(x, e))
        return false;
    buf_init(&x->translated, spec.body_max);
    x->translate = translate_new(&spec, &x->translated, e);
    x->asked_usage = x->translate && x->is_stream && takes_usage_switch(x) &&
                     (llm_speaks(translate_api(x->translate)) & (LLM_SPEAKS_CHAT | LLM_SPEAKS_COMPLETIONS));
    return x->translate != NULL;
}

int64_t forward__pieces(struct exchange *x, const struct translate *t) {
    int64_t length = 0;
    x->at_piece = 0;
    x->pieces = translate_pieces(t, &x->n_pieces);
    for (unsigned i = 0; i < x->n_pieces; i++)
        length += (int64_t)x->pieces[i].n;
    return length;
}

/* Puts what the slug sets for its requests among the n splices. They and the pieces move to the arena. False: memory is out. */
static bool amend_own(struct exchange *x, struct splice **splices, unsigned *n) {
    const struct fleet_slug *slug = x->sched.slug;
    struct arena *a = &x->in->arena;
    unsigned more = 0;
    if (!x->want.through || x->scan.empty || (!slug->defaults.n && !slug->force.n))
        return true;
    struct splice *own = amend_body(a, x->route->api, (struct sv){ x->body, x->body_n }, slug->defaults, slug->force, &more);
    struct splice *all = own ? ARENA_ARRAY(a, struct splice, *n + more) : NULL;
    x->pieces = ARENA_ARRAY(a, struct sv, 2 * (*n + more) + 1);
    if (!all || !x->pieces)
        return false;
    memcpy(all, *splices, *n * sizeof *all);
    *n = patch_merge(all, *n, own, more);
    *splices = all;
    return true;
}

/* The pieces of the patched body. False when memory is out. */
static bool make_body(struct exchange *x, int64_t *ret_length) {
    struct sv body = { x->body, x->body_n };
    const struct fleet_target *t = x->sched.taken;
    struct splice few[PATCH_SPLICES], *splices = few;
    unsigned n = 0;
    x->at_piece = 0;
    x->pieces = x->own_pieces;
    if (x->translate) {
        *ret_length = forward__pieces(x, x->translate);
        return true;
    }
    if (x->is_json && body.n) {
        bool wants_usage = x->is_stream && (x->route->flags & LLM_R_USAGE_OPTION) && takes_usage_switch(x) &&
                           x->scan.include_usage != SCAN_TRUE;
        struct patch want = { .include_usage = wants_usage };
        if (!sv_eq(t->model->id, x->asked))
            want.model = t->model->id;
        if (want.model.p || want.include_usage) {
            char *scratch = arena_alloc(&x->in->arena, want.model.p ? PATCH_SCRATCH : PATCH_SCRATCH_USAGE);
            if (!scratch)
                return false;
            n = patch_body(&x->scan, &want, splices, scratch);
        }
        x->asked_usage = wants_usage;
        if (!amend_own(x, &splices, &n))
            return false;
    } else if (x->is_form && !sv_eq(t->model->id, x->asked)) {
        splices[0] = (struct splice){ (uint64_t)(x->asked.p - x->body), x->asked.n, t->model->id };
        n = 1;
    }
    *ret_length = (int64_t)patch_length(body.n, splices, n);
    x->n_pieces = body.n ? patch_iov(body, splices, n, x->pieces) : 0;
    return true;
}

bool forward__send(struct exchange *x) {
    while (x->at_piece < x->n_pieces) {
        struct sv *v = &x->pieces[x->at_piece];
        unsigned n = x->n_pieces - x->at_piece < STREAM_WRITE_MAX ? x->n_pieces - x->at_piece : STREAM_WRITE_MAX;
        size_t total = 0;
        for (unsigned i = 0; i < n; i++)
            total += v[i].n;
        if (total <= SMALL_BODY) {
            http_call_send(x->call, v, n);
            x->at_piece += n;
            continue;
        }
        size_t went = http_call_offer(x->call, v, n);
        while (x->at_piece < x->n_pieces && went >= x->pieces[x->at_piece].n)
            went -= x->pieces[x->at_piece++].n;
        if (x->at_piece < x->n_pieces) {
            x->pieces[x->at_piece] = sv_from(x->pieces[x->at_piece], went);
            http_call_want_drain(x->call);
            return false;
        }
    }
    x->sending = false;
    http_call_sent(x->call);
    return true;
}

static void send_body(struct exchange *x) {
    if (forward__send(x))
        x->sent_us = loop_now_us(x->g->loop);
}

/* --- events of the call ------------------------------------------------------------------------------------------- */

static void on_ready(void *arg) {
    send_body(arg);
}

static void on_head(void *arg, const struct http_head *head) {
    relay__head(arg, head);
}

static void on_body(void *arg, struct sv bytes) {
    relay__body(arg, bytes);
}

static void on_end(void *arg) {
    struct exchange *x = arg;
    x->call = NULL;
    relay__end(x);
}

static void on_drain(void *arg) {
    struct exchange *x = arg;
    if (x->sending && x->call)
        send_body(x);
}

static void attempt_failed(struct exchange *x, const struct err *e, const char *reason) {
    const struct fleet_target *t = x->sched.taken;
    metrics_attempt(x->g->metrics, t->endpoint->name, reason);
    trace__failed(x, reason);
    cell_outcome(t->endpoint->cell, OUTCOME_FAILED, loop_now_us(x->g->loop));
    x->last = *e;
    err_ctx(&x->last, "%.*s", SV_FMT(relay__endpoint(x)));
}

static void on_fail(void *arg, const struct err *e, bool stale) {
    struct exchange *x = arg;
    x->call = NULL;
    if (x->state == EX_FORWARD && stale && !x->fresh) { /* not the target's fault: an idle connection had ended */
        x->fresh = true;
        x->attempts--;
        forward__start(x);
        return;
    }
    if (x->is_over) { /* nothing of the answer is missing */
        relay__end(x);
        return;
    }
    attempt_failed(x, e, e->code == ERR_TIMEOUT ? "timeout" : e->code == ERR_BAD_REPLY ? "reply" : "connect");
    if (x->state == EX_FORWARD) /* keep-alives may be out, but nothing of an answer */
        resolve__retry(x);
    else
        relay__fail(x, &x->last);
}

static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, on_drain };

/* Another target may speak the client's own API, or one that can say what this one's cannot. */
static void cannot_translate(struct exchange *x, const struct err *e) {
    struct schedule peek = x->sched;
    bool may_help = (e->code == ERR_PARAMETER || e->code == ERR_UNSUPPORTED) && schedule_explain(&peek, &x->want);
    x->last = *e;
    if (may_help)
        resolve__retry(x);
    else
        answer__fail(x, &x->last, RESULT_REJECTED);
}

void forward__start(struct exchange *x) {
    exchange__goto(x, EX_FORWARD);
    x->target = relay__target(x);
    x->asked_usage = x->in_doubt = false;
    x->reply = NULL;
    x->translate = (translate_free(x->translate), NULL); /* of an earlier attempt */
    buf_deinit(&x->translated);
    buf_deinit(&x->kept);
    if (!must_translate(x) || !count__ask(x))
        forward__go(x);
}

void forward__go(struct exchange *x) {
    struct http_call_spec spec;
    struct err e;
    x->attempts++;
    trace__attempt(x);
    if (must_translate(x) && !translate(x, &e)) {
        cannot_translate(x, &e);
        return;
    }
    if (!media__check(x, &e)) {
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    struct sv path = x->translate ? translate_path(x->translate) : x->upstream_path;
    if (!forward__spec(x, path, x->translate != NULL, &spec) || !make_body(x, &spec.length)) {
        err_no_memory(&e);
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    spec.fresh = x->fresh;
    x->sending = true;
    x->sent_us = loop_now_us(x->g->loop);
    x->call = http_call_start(x->g->client, &x->in->arena, &spec, &call_events, x, &e);
    if (!x->call) {
        attempt_failed(x, &e, "start");
        resolve__retry(x);
        return;
    }
    trace__sent(x);
    if (http_call_is_ready(x->call))
        send_body(x);
}
