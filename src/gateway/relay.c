/* gateway/relay.c - the reply on its way to the client, as it comes.
 *
 * Each piece read is written on at once, in the form that convert.c gives it; the meter reads along. The answer's head goes
 * out with the first piece, so that a runtime that fails before it has said anything can still be replaced by another.
 * A stream counts as complete only when its final event was seen: several runtimes simply close when they fail. */
#include "gateway/exchange.h"

enum {
    OWN_HEADERS = 10 + ANSWER_LIMITS,
    BEAT_SLACK_MS = 1,
    LAST_MOMENT_MS = 250, /* for a runtime to end its reply behind the last event, so that the connection can be used again */
};

/* A runtime's limits are between it and Drover. */
static bool is_limit(struct sv n) {
    return sv_starts(n, SV("x-ratelimit-")) || sv_starts(n, SV("anthropic-ratelimit-"));
}

/* What a browser would do with this address beyond showing an answer. */
static bool acts_on_browsers(struct sv n) {
    static const char *const names[] = { "content-security-policy", "content-security-policy-report-only", "x-content-type-options", "refresh",
                                         "clear-site-data", "service-worker-allowed", "report-to", "nel", "link" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sv_eq(n, sv_of(names[i])))
            return true;
    return false;
}

/* Fields of the runtime's reply that stay here (lower case). */
static bool stays_here(struct sv n) {
    return sv_eq(n, SV("connection")) || sv_eq(n, SV("keep-alive")) || sv_eq(n, SV("transfer-encoding")) ||
           sv_eq(n, SV("content-length")) || sv_eq(n, SV("upgrade")) || sv_eq(n, SV("trailer")) ||
           sv_starts(n, SV("proxy-")) || sv_eq(n, SV("set-cookie")) || sv_eq(n, SV("x-request-id")) ||
           sv_eq(n, SV("www-authenticate")) || sv_starts(n, SV("access-control-")) || sv_starts(n, SV("drover-")) ||
           sv_eq(n, SV("alt-svc")) || is_limit(n) || sv_eq(n, SV("x-accel-buffering")) || sv_eq(n, SV("strict-transport-security")) ||
           acts_on_browsers(n);
}

/* What a browser makes a page of. A runtime's page would stand where the console stands, and could do there what whoever is signed in
 * may do. */
static bool may_be_page(struct sv type) {
    return !sv_starts_nocase(type, SV("application/json")) && !sv_starts_nocase(type, SV("text/event-stream")) &&
           !sv_starts_nocase(type, SV("application/x-ndjson"));
}

static struct sv clean_label(struct exchange *x, struct sv v) {
    if (http_value_is_clean(v))
        return v;
    char *p = arena_alloc(&x->in->arena, v.n);
    for (size_t i = 0; p && i < v.n; i++)
        p[i] = (unsigned char)v.p[i] < 0x20 || (unsigned char)v.p[i] == 0x7f ? '?' : v.p[i];
    return (struct sv){ p, p ? v.n : 0 };
}

struct sv relay__target(struct exchange *x) {
    const struct fleet_target *t = x->sched.taken;
    if (x->config->slugs == CONFIG_SLUGS_OPAQUE)
        return x->sched.slug->name;
    struct sv name = t->endpoint->name, id = t->model->id;
    char *text = arena_alloc(&x->in->arena, name.n + 1 + id.n);
    if (!text)
        return name;
    memcpy(text, name.p, name.n);
    text[name.n] = '/';
    memcpy(text + name.n + 1, id.p, id.n);
    return clean_label(x, (struct sv){ text, name.n + 1 + id.n });
}

struct sv relay__endpoint(const struct exchange *x) {
    return x->config->slugs == CONFIG_SLUGS_OPAQUE ? SV("the runtime") : x->sched.taken->endpoint->name;
}

/* type: of an answer that Drover makes itself; empty when the runtime's own fields go on. */
static void start(struct exchange *x, int status, struct sv type, int64_t length) {
    char id[33], space[24], place_space[24];
    struct buf queue = { .p = space, .base = space, .cap = sizeof space, .max = sizeof space };
    struct buf place = { .p = place_space, .base = place_space, .cap = sizeof place_space, .max = sizeof place_space };
    unsigned n = 0;
    const struct http_head *reply = type.n ? NULL : x->reply;
    struct http_header own[OWN_HEADERS];
    struct http_header *out = reply ? ARENA_ARRAY(&x->in->arena, struct http_header, reply->n_headers + OWN_HEADERS) : own;
    if (!out) { /* memory is short: the fields that frame the answer matter more than the runtime's own */
        out = own;
        reply = NULL;
    }
    for (unsigned i = 0; reply && i < reply->n_headers; i++)
        if (hide__is_on(x) ? hide__header_goes_on(reply->headers[i].name)
                           : !stays_here(reply->headers[i].name) && !forward__is_named(reply, reply->headers[i].name))
            out[n++] = reply->headers[i];
    if (type.n) {
        out[n++] = (struct http_header){ SV("content-type"), type };
    } else if (may_be_page(http_get(x->reply, SV("content-type")))) {
        out[n++] = (struct http_header){ SV("content-security-policy"), SV("sandbox; default-src 'none'; frame-ancestors 'none'") };
        out[n++] = (struct http_header){ SV("x-content-type-options"), SV("nosniff") };
    }
    if (x->translate && translate_degraded(x->translate).n)
        out[n++] = (struct http_header){ SV("drover-degraded"), translate_degraded(x->translate) };
    answer__request_id(x->in, id);
    out[n++] = (struct http_header){ SV("x-request-id"), sv_of(id) };
    if (x->target.n)
        out[n++] = (struct http_header){ SV("drover-target"), x->target };
    buf_add_u64(&queue, x->queue_us / 1000);
    out[n++] = (struct http_header){ SV("drover-queue-ms"), buf_sv(&queue) };
    if (x->queue_began) {
        buf_add_u64(&place, x->queue_began);
        out[n++] = (struct http_header){ SV("drover-queue-place"), buf_sv(&place) };
    }
    n += answer__limits(x, out + n);
    if (length < 0)
        out[n++] = (struct http_header){ SV("x-accel-buffering"), SV("no") };
    x->started = true;
    x->status = status;
    http_in_start(x->in, status, out, n, length);
}

/* Of the answer's body: the runtime's own where it said so and not a byte is changed. */
static int64_t length_of(const struct exchange *x) {
    return x->way != WAY_PASS || x->is_events || x->reply->chunked || x->reply->until_eof ? -1 : x->reply->length;
}

static void start_reply(struct exchange *x) {
    start(x, x->reply->status, x->translate ? translate_type(x->translate) : SV_NULL, length_of(x));
}

void relay__pass(struct exchange *x, struct sv bytes) {
    if (bytes.n == 0)
        return;
    if (!x->started)
        start_reply(x);
    http_in_send(x->in, bytes);
    if (x->is_seen)
        watch__sent(x, bytes);
    x->bytes_out += bytes.n;
    x->last_out_us = loop_now_us(x->g->loop);
    if (!x->client_paused && http_in_queued(x->in) > x->config->limits.stream.memory / 2) {
        x->client_paused = true;
        if (x->call)
            http_call_read(x->call, false);
        http_in_want_drain(x->in);
    }
}

void relay__drain(struct exchange *x) {
    if (!x->client_paused)
        return;
    x->client_paused = false;
    if (x->call)
        http_call_read(x->call, true);
}

/* --- keep-alive --------------------------------------------------------------------------------------------------- */

static void on_heartbeat(void *arg) {
    struct exchange *x = arg;
    uint64_t every_us = x->config->limits.stream.heartbeat_ms * 1000, now = loop_now_us(x->g->loop);
    uint64_t quiet = now - x->last_out_us;
    if (quiet + BEAT_SLACK_MS * 1000 >= every_us) {
        char text[WAIT_BEAT_MAX];
        struct sv beat = wait__beat(x, text);
        bool between = !x->has_events || events_held(&x->events).n == 0; /* never inside an event */
        if (!x->started)
            relay__start_stream(x);
        if (between && !x->client_paused)
            relay__pass(x, beat);
        x->last_out_us = now;
        quiet = 0;
    }
    timer_set(x->g->loop, &x->heartbeat, (every_us - quiet) / 1000, on_heartbeat, x);
}

void relay__heartbeat_start(struct exchange *x) {
    if (!x->is_stream || timer_is_set(&x->heartbeat) || llm_keepalive(x->route->api).n == 0)
        return;
    x->last_out_us = loop_now_us(x->g->loop);
    timer_set(x->g->loop, &x->heartbeat, x->config->limits.stream.heartbeat_ms, on_heartbeat, x);
}

void relay__start_stream(struct exchange *x) {
    x->is_events = true;
    start(x, 200, x->route->flags & LLM_R_NDJSON ? SV("application/x-ndjson") : SV("text/event-stream; charset=utf-8"), -1);
}

/* --- the reply ---------------------------------------------------------------------------------------------------- */

static bool another_may_help(int status) {
    return status == 429 || status == 502 || status == 503 || status == 504;
}

/* Seconds, or 0; dates are not worth their parsing here. */
static uint64_t retry_after_us(const struct http_head *head) {
    uint64_t s;
    struct sv v = http_get(head, SV("retry-after"));
    return v.n && sv_to_u64(v, &s) ? (s < 3600 ? s : 3600) * 1000000u : 0;
}

static bool has_other_candidate(struct exchange *x) {
    struct schedule peek = x->sched;
    bool more = x->attempts <= (unsigned)x->config->gateway.retry_max && !(x->route->flags & LLM_R_MANAGE);
    return more && (schedule_explain(&peek, &x->want) || resolve__may_fall_back(x));
}

static void on_total(void *arg) {
    struct exchange *x = arg;
    struct err e;
    err_limit(&e, LIMIT_UPSTREAM_TOTAL, "the answer took longer than limits.upstream.total (%llu s)",
            (unsigned long long)x->config->limits.upstream.total_ms / 1000);
    answer__fail(x, &e, RESULT_UPSTREAM_ERROR);
}

/* The API of the runtime's side. */
static enum llm_api spoken(const struct exchange *x) {
    return x->translate ? translate_api(x->translate) : x->route->api;
}

/* What came cannot be turned into an answer. */
static void bad_reply(struct exchange *x, const struct err *e) {
    if (e->code == ERR_BAD_REPLY && x->reply->status < 500) /* else its head has been counted */
        target_failed(x->sched.taken, loop_now_us(x->g->loop));
    int status = x->reply->status >= 400 ? x->reply->status : err_http(e->code);
    answer__fail(x, e, status < 500 ? RESULT_CLIENT_ERROR : RESULT_UPSTREAM_ERROR);
}

/* From here on the answer is this reply. */
static void begin(struct exchange *x) {
    struct sv type = http_get(x->reply, SV("content-type"));
    bool sse = sv_starts_nocase(type, SV("text/event-stream"));
    bool ndjson = sv_starts_nocase(type, SV("application/x-ndjson")) || sv_starts_nocase(type, SV("application/jsonl"));
    x->has_events = (sse || ndjson) && x->reply->status < 400;
    x->is_events = x->started || x->has_events;
    if (x->started && !x->has_events && !x->translate && x->reply->status < 400) { /* a whole reply is no event of this API */
        struct err e;
        err_set(&e, ERR_BAD_REPLY, "%.*s answered %d instead of a stream", SV_FMT(relay__endpoint(x)), x->reply->status);
        answer__fail(x, &e, RESULT_UPSTREAM_ERROR);
        return;
    }
    exchange__goto(x, EX_RELAY);
    if (!x->sending)
        exchange__drop_body(x); /* nobody will ask for it again */
    timer_set(x->g->loop, &x->limit, x->config->limits.upstream.total_ms, on_total, x);
    meter_init(&x->meter, spoken(x));
    convert__plan(x);
    if (x->has_events) {
        events_init(&x->events, sse ? EVENTS_SSE : EVENTS_NDJSON, x->config->limits.upstream.event);
        x->itl = metrics_itl(x->g->metrics, x->sched.slug->name, x->sched.taken->endpoint->kind);
    } else if (!x->started) {
        timer_stop(x->g->loop, &x->heartbeat);
    }
}

/* --- the usage switch --------------------------------------------------------------------------------------------- */

/* A runtime may refuse a member it does not know, and the usage switch was added here: the client did nothing wrong. The
 * refusal is read; when it speaks of the switch, the request goes once more without it, and so do later ones for a while. */
enum { DOUBT_MAX = 16 << 10 };
#define NO_USAGE_US (3600u * 1000000u)

static bool is_doubtful(const struct exchange *x, int status) {
    return x->asked_usage && (status == 400 || status == 422);
}

/* It was something else: what was read of it goes on as any reply does. */
static void settle_doubt(struct exchange *x) {
    struct buf held = x->kept;
    buf_init(&x->kept, 0);
    x->in_doubt = false;
    begin(x);
    if (x->state == EX_RELAY && held.n)
        relay__body(x, buf_sv(&held));
    buf_deinit(&held);
}

static void end_doubt(struct exchange *x) {
    struct sv refusal = buf_sv(&x->kept);
    uint64_t now = loop_now_us(x->g->loop);
    if (sv_find(refusal, SV("stream_options")) >= 0 || sv_find(refusal, SV("include_usage")) >= 0) {
        atomic_store_explicit(&x->sched.taken->endpoint->cell->no_usage_until_us, now + NO_USAGE_US, memory_order_relaxed);
        x->attempts--;
        forward__start(x);
        return;
    }
    settle_doubt(x);
    relay__end(x);
}

void relay__head(struct exchange *x, const struct http_head *head) {
    const struct fleet_target *t = x->sched.taken;
    uint64_t now = loop_now_us(x->g->loop);
    trace__status(x, head->status);
    if (another_may_help(head->status)) {
        uint64_t wait = retry_after_us(head);
        if (head->status == 429 || wait)
            target_rests(t, wait, now);
        if (head->status != 429)
            target_failed(t, now);
        metrics_attempt(x->g->metrics, t->endpoint->name, "status");
        err_set(&x->last, head->status == 429 ? ERR_LIMIT : ERR_UNAVAILABLE, "%.*s answered %d", SV_FMT(relay__endpoint(x)),
                head->status);
        if (has_other_candidate(x)) {
            http_call_cancel(x->call);
            x->call = NULL;
            resolve__retry(x);
            return;
        }
    } else {
        if (head->status >= 500) {
            target_failed(t, now);
            metrics_attempt(x->g->metrics, t->endpoint->name, "status");
        } else {
            metrics_attempt(x->g->metrics, t->endpoint->name, "ok");
        }
    }
    if (head->status >= 300 && head->status < 400 && head->status != 304) { /* never followed, and not the client's to follow */
        struct err e;
        err_set(&e, ERR_BAD_REPLY, "%.*s answered with a redirect (%d)", SV_FMT(relay__endpoint(x)), head->status);
        answer__fail(x, &e, RESULT_UPSTREAM_ERROR);
        return;
    }
    x->reply = head;
    if (is_doubtful(x, head->status)) {
        x->in_doubt = true;
        buf_init(&x->kept, DOUBT_MAX);
    } else {
        begin(x);
    }
}

/* --- pieces ------------------------------------------------------------------------------------------------------- */

static void on_last_moment(void *arg) {
    struct exchange *x = arg;
    http_call_cancel(x->call);
    x->call = NULL;
    relay__end(x);
}

/* The last event has been told. Some runtimes leave their connection open behind it. */
static void await_end(struct exchange *x) {
    timer_stop(x->g->loop, &x->heartbeat);
    timer_set(x->g->loop, &x->limit, LAST_MOMENT_MS, on_last_moment, x);
}

void relay__body(struct exchange *x, struct sv bytes) {
    struct err e;
    bool ok = true;
    if (x->in_doubt) {
        if (buf_add(&x->kept, bytes))
            return;
        settle_doubt(x); /* too long for a refusal of that kind */
        if (x->state != EX_RELAY)
            return;
    }
    if (x->is_over)
        return;
    if (x->has_events) {
        ok = convert__events(x, bytes, false, &e);
        if (ok && x->is_over)
            await_end(x);
    } else if (x->way == WAY_HOLD) {
        meter_body(&x->meter, bytes, loop_now_us(x->g->loop));
        ok = convert__hold(x, bytes, &e);
    } else {
        relay__pass(x, bytes);
        meter_body(&x->meter, bytes, loop_now_us(x->g->loop));
    }
    if (!ok)
        bad_reply(x, &e);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void settle(struct exchange *x) {
    struct meter_request rq = { .input_estimate = count__input(x),
                                .refused = x->reply && x->reply->status >= 400,
                                .has_images = x->scan.has_image,
                                .quirks = x->sched.taken ? x->sched.taken->endpoint->quirks : 0 };
    meter_end(&x->meter, &rq, loop_now_us(x->g->loop));
    x->settled = true;
}

static bool ends_with_final_event(const struct exchange *x) {
    switch (spoken(x)) {
    case LLM_CHAT:
    case LLM_COMPLETIONS:
    case LLM_RESPONSES:
    case LLM_MESSAGES:
    case LLM_OLLAMA_CHAT:
    case LLM_OLLAMA_GENERATE:
        return true;
    default:
        return false;
    }
}

/* The reply that was held, in the form the client gets. */
static bool send_whole(struct exchange *x, struct err *e) {
    struct buf out = BUF_MAX(2 * x->config->limits.upstream.reply + (64 << 10));
    bool ok = convert__whole(x, &out, e);
    if (ok && !x->started)
        start(x, x->translate ? 200 : x->reply->status, x->translate ? translate_type(x->translate) : SV_NULL, x->translate && x->is_stream ? -1 : (int64_t)out.n);
    if (ok)
        relay__pass(x, buf_sv(&out));
    buf_deinit(&out);
    buf_deinit(&x->kept);
    return ok;
}

void relay__end(struct exchange *x) {
    if (x->in_doubt) {
        end_doubt(x);
        return;
    }
    if (x->state != EX_RELAY)
        return;
    struct err bad;
    if (x->way == WAY_HOLD ? !send_whole(x, &bad) : x->has_events && !convert__events(x, SV_NULL, true, &bad)) {
        bad_reply(x, &bad);
        return;
    }
    if (!x->started)
        start(x, x->reply->status, SV_NULL, x->is_events ? -1 : 0);
    if (x->has_events && !x->translate && ends_with_final_event(x) && !x->meter.saw_final && !x->meter.saw_done && !x->meter.saw_error) {
        struct err e;
        err_set(&e, ERR_BAD_REPLY, "%.*s ended its stream without a final event", SV_FMT(relay__endpoint(x)));
        target_failed(x->sched.taken, loop_now_us(x->g->loop));
        answer__fail(x, &e, RESULT_UPSTREAM_ERROR);
        return;
    }
    if (x->has_events && !x->translate && x->events.kind == EVENTS_SSE && (x->route->api == LLM_CHAT || x->route->api == LLM_COMPLETIONS) &&
        x->meter.saw_final && !x->meter.saw_done)
        relay__pass(x, SV("data: [DONE]\n\n")); /* the runtime finished and forgot to say so */
    settle(x);
    int status = x->reply->status;
    bool failed = status >= 500 || (status < 400 && x->meter.saw_error); /* what a 4xx says is between client and runtime */
    enum request_result result = failed ? RESULT_UPSTREAM_ERROR : status >= 400 ? RESULT_CLIENT_ERROR : RESULT_OK;
    if (failed && status < 500)
        target_failed(x->sched.taken, loop_now_us(x->g->loop));
    else if (status < 500)
        cell_outcome(x->sched.taken->endpoint->cell, OUTCOME_OK, loop_now_us(x->g->loop));
    exchange__end(x, result);
    http_in_finish(x->in);
}

void relay__fail(struct exchange *x, const struct err *e) {
    answer__fail(x, e, RESULT_UPSTREAM_ERROR);
}
