/* gateway/forward.c - one attempt at one target: head, patched body, reply.
 *
 * The upstream head is made anew from parsed fields: nothing that frames a message, names a client or carries its
 * credentials goes on. The body goes as it came, in the memory it was read into, with the splices of patch.h. */
#include "gateway/exchange.h"

#include <stdio.h>

#include "base/clock.h"

enum {
    SMALL_BODY = 16 << 10,  /* copied behind the head and sent with it in one call */
    OWN_HEADERS = 8,        /* at most so many fields are added to the client's */
};

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

/* out has room for the client's fields and OWN_HEADERS more. */
static unsigned make_headers(struct exchange *x, struct http_header *out, char id[static 33]) {
    const struct http_head *head = x->in->head;
    const struct fleet_endpoint *p = x->sched.taken->endpoint;
    unsigned n = 0;
    out[n++] = (struct http_header){ SV("host"), p->host };
    for (unsigned i = 0; i < head->n_headers; i++) {
        struct http_header h = head->headers[i];
        if (stays_here(h.name) || sv_find_char(h.name, '_') >= 0 || forward__is_named(head, h.name))
            continue;
        if (x->translate && !fits_any_body(h.name))
            continue;
        out[n++] = h;
    }
    if (x->translate)
        out[n++] = (struct http_header){ SV("content-type"), SV("application/json") };
    out[n++] = (struct http_header){ SV("accept-encoding"), SV("identity") };
    answer__request_id(x->in, id);
    out[n++] = (struct http_header){ SV("x-request-id"), sv_of(id) };
    if (p->auth.n)
        out[n++] = (struct http_header){ SV("authorization"), p->auth };
    return n;
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

/* Estimates err: only what is clearly too long is refused here. A runtime that can count is told not to cut. */
static bool fits(const struct exchange *x, struct err *e) {
    enum { SLACK_PERCENT = 115 };
    int64_t n = meter_estimate_input(&x->scan, 0);
    uint64_t room = x->sched.taken->model->context;
    if (!x->sched.slug->context_guard || !room || n < 0 || (uint64_t)n * 100 <= room * SLACK_PERCENT)
        return true;
    return err_set(e, ERR_CONTEXT, "prompt is too long: about %lld tokens (estimated), limit %llu", (long long)n, (unsigned long long)room);
}

static bool takes_usage_switch(const struct exchange *x) {
    const struct fleet_endpoint *p = x->sched.taken->endpoint;
    return p->usage_switch && loop_now_us(x->g->loop) >= atomic_load_explicit(&p->cell->no_usage_until_us, memory_order_relaxed);
}

static bool translate(struct exchange *x, struct err *e) {
    const struct fleet_target *t = x->sched.taken;
    const struct fleet_slug *slug = x->sched.slug;
    if (x->scan.n_values > (unsigned)x->config->limits.json.values)
        return err_limit(e, LIMIT_JSON_VALUES, "the body has %u values; one that must be translated may have limits.json.values (%d)",
                         x->scan.n_values, x->config->limits.json.values);
    if (!fits(x, e))
        return false;
    bool cannot_think = (t->endpoint->ways & TRANSLATE_Q_TELLS_THINKING) && t->model->can_known && !(t->model->can & LLM_CAN_THINKING);
    struct translate_spec spec = {
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
        .input_estimate = meter_estimate_input(&x->scan, 0),
        .context = (int64_t)t->model->context,
        .body_max = 2 * x->config->gateway.body_max,
        .reply_max = x->config->limits.upstream.reply,
        .seed = answer__seed(x->in, x->attempts),
        .now_us = loop_now_us(x->g->loop),
        .now_s = clock_wall_ms() / 1000,
    };
    translate_free(x->translate);
    buf_deinit(&x->translated);
    buf_init(&x->translated, spec.body_max);
    x->translate = translate_new(&spec, &x->translated, e);
    x->asked_usage = x->translate && x->is_stream && takes_usage_switch(x) &&
                     (llm_speaks(translate_api(x->translate)) & (LLM_SPEAKS_CHAT | LLM_SPEAKS_COMPLETIONS));
    return x->translate != NULL;
}

/* The pieces of the patched body. False when memory is out. */
static bool make_body(struct exchange *x, int64_t *ret_length) {
    struct sv body = { x->body, x->body_n };
    const struct fleet_target *t = x->sched.taken;
    struct splice splices[PATCH_SPLICES];
    unsigned n = 0;
    x->at_piece = 0;
    if (x->translate) {
        x->pieces = translate_pieces(x->translate, &x->n_pieces);
        *ret_length = 0;
        for (unsigned i = 0; i < x->n_pieces; i++)
            *ret_length += (int64_t)x->pieces[i].n;
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
    } else if (x->is_form && !sv_eq(t->model->id, x->asked)) {
        splices[0] = (struct splice){ (uint64_t)(x->asked.p - x->body), x->asked.n, t->model->id };
        n = 1;
    }
    *ret_length = (int64_t)patch_length(body.n, splices, n);
    x->pieces = x->own_pieces;
    x->n_pieces = body.n ? patch_iov(body, splices, n, x->pieces) : 0;
    return true;
}

/* Sends what the transport takes of the body; the rest goes on_drain. */
static void send_body(struct exchange *x) {
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
            return;
        }
    }
    x->sending = false;
    x->sent_us = loop_now_us(x->g->loop);
    http_call_sent(x->call);
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
    attempt_failed(x, e, e->code == ERR_TIMEOUT ? "timeout" : e->code == ERR_BAD_REPLY ? "reply" : "connect");
    if (x->state == EX_FORWARD) /* keep-alives may be out, but nothing of an answer */
        resolve__retry(x);
    else
        relay__fail(x, &x->last);
}

static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, on_drain };

static uint32_t ms32(uint64_t ms) {
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

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
    const struct fleet_target *t = x->sched.taken;
    const struct config_limits *m = &x->config->limits;
    struct http_header *headers = ARENA_ARRAY(&x->in->arena, struct http_header, x->in->head->n_headers + OWN_HEADERS);
    char id[33];
    struct err e;
    int64_t length;
    exchange__goto(x, EX_FORWARD);
    x->target = relay__target(x);
    x->attempts++;
    x->asked_usage = x->in_doubt = false;
    buf_deinit(&x->kept);
    char *target = NULL;
    if (!must_translate(x)) {
        x->translate = (translate_free(x->translate), NULL);
    } else if (!translate(x, &e)) {
        cannot_translate(x, &e);
        return;
    }
    struct sv path = x->translate ? translate_path(x->translate) : x->upstream_path;
    if (t->endpoint->no_v1 && sv_starts(path, SV("/v1/")))
        path = sv_from(path, 3);
    if (t->endpoint->base_path.n) {
        target = arena_printf(&x->in->arena, "%.*s%.*s", SV_FMT(t->endpoint->base_path), SV_FMT(path));
        path = sv_of(target);
    }
    if (!media__check(x, &e)) {
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    if (!headers || !make_body(x, &length) || path.n == 0) {
        err_no_memory(&e);
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    struct http_call_spec spec = {
        .dialer = t->endpoint->dialer,
        .method = x->translate ? SV("POST") : x->in->head->method,
        .target = path,
        .headers = headers,
        .n_headers = make_headers(x, headers, id),
        .length = length,
        .connect_ms = ms32(m->upstream.connect_ms),
        .first_byte_ms = ms32(m->upstream.first_byte_ms),
        .stall_ms = ms32(x->config->gateway.stall_timeout_ms),
        .pool_idle_ms = t->endpoint->pool_idle_ms,
        .fresh = x->fresh,
    };
    x->sending = true;
    x->reply = NULL;
    x->sent_us = loop_now_us(x->g->loop);
    x->call = http_call_start(x->g->client, &x->in->arena, &spec, &call_events, x, &e);
    if (!x->call) {
        attempt_failed(x, &e, "start");
        resolve__retry(x);
        return;
    }
    if (http_call_is_ready(x->call))
        send_body(x);
}
