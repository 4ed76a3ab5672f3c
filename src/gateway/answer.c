/* gateway/answer.c - errors, in the words of whoever was spoken to. */
#include "gateway/exchange.h"

#include <sodium.h>

#include "base/clock.h"

/* A keyed hash of a counter: the key is random and known to nobody. */
uint64_t answer__seed(const struct http_in *in, uint64_t use) {
    struct {
        uint64_t id, use;
        const void *loop;
    } seed = { in->id, use, in->stream->loop };
    return hash_sv((struct sv){ (const char *)&seed, sizeof seed });
}

enum { USE_ID = 1 << 30 };

void answer__request_id(const struct http_in *in, char text[static 33]) {
    static const char hex[] = "0123456789abcdef";
    uint64_t h[2] = { answer__seed(in, USE_ID), answer__seed(in, USE_ID + 1) };
    for (int i = 0; i < 32; i++)
        text[i] = hex[h[i / 16] >> (i % 16 * 4) & 15];
    text[32] = '\0';
}

static int status_of(const struct err *e, enum llm_dialect d) {
    if (d == LLM_ANTHROPIC && e->code == ERR_TOO_LARGE)
        return 413;
    return err_http(e->code);
}

/* --- what is left of the key's limits ----------------------------------------------------------------------------- */

/* These go with each answer to a key, and printf took longer for them than all that was decided about it: so they are written by
 * hand, from their end, where no length is needed first. */
static char *decimal(char *end, uint64_t v) {
    do
        *--end = (char)('0' + v % 10);
    while ((v /= 10));
    return end;
}

/* ".5" of 500, nothing of 0. */
static char *fraction(char *end, unsigned thousandths) {
    unsigned digits = 3;
    for (; digits && thousandths % 10 == 0; digits--)
        thousandths /= 10;
    if (digits == 0)
        return end;
    for (; digits; digits--, thousandths /= 10)
        *--end = (char)('0' + thousandths % 10);
    *--end = '.';
    return end;
}

static struct sv number(struct arena *a, uint64_t v) {
    char text[20], *end = text + sizeof text, *at = decimal(end, v);
    return arena_sv(a, (struct sv){ at, (size_t)(end - at) });
}

/* OpenAI writes the time until a limit is free again as "1m30.5s", Anthropic the moment. */
static struct sv reset(struct arena *a, bool anthropic, uint64_t ms) {
    char text[48], *end = text + sizeof text, *at = end;
    if (anthropic)
        return arena_sv(a, sv_of(clock_iso8601(clock_wall_ms() + ms, text)));
    *--at = 's';
    at = fraction(at, (unsigned)(ms % 1000));
    at = decimal(at, ms % 60000 / 1000);
    if (ms >= 60000) {
        *--at = 'm';
        at = decimal(at, ms / 60000);
    }
    return arena_sv(a, (struct sv){ at, (size_t)(end - at) });
}

unsigned answer__limits(const struct exchange *x, struct http_header out[static ANSWER_LIMITS]) {
    struct access_room room;
    struct arena *a = &x->in->arena;
    enum llm_dialect d = llm_dialect(x->route->api);
    bool anthropic = d == LLM_ANTHROPIC;
    unsigned n = 0;
    if (!x->hold.cell || (d != LLM_OPENAI && !anthropic))
        return 0;
    access_room(&x->hold, loop_now_us(x->g->loop), &room);
    if (room.requests_limit) {
        out[n++] = (struct http_header){ anthropic ? SV("anthropic-ratelimit-requests-limit") : SV("x-ratelimit-limit-requests"), number(a, room.requests_limit) };
        out[n++] = (struct http_header){ anthropic ? SV("anthropic-ratelimit-requests-remaining") : SV("x-ratelimit-remaining-requests"), number(a, room.requests_left) };
        out[n++] = (struct http_header){ anthropic ? SV("anthropic-ratelimit-requests-reset") : SV("x-ratelimit-reset-requests"), reset(a, anthropic, room.requests_reset_ms) };
    }
    if (room.tokens_limit) {
        out[n++] = (struct http_header){ anthropic ? SV("anthropic-ratelimit-tokens-limit") : SV("x-ratelimit-limit-tokens"), number(a, room.tokens_limit) };
        out[n++] = (struct http_header){ anthropic ? SV("anthropic-ratelimit-tokens-remaining") : SV("x-ratelimit-remaining-tokens"), number(a, room.tokens_left) };
        out[n++] = (struct http_header){ anthropic ? SV("anthropic-ratelimit-tokens-reset") : SV("x-ratelimit-reset-tokens"), reset(a, anthropic, room.tokens_reset_ms) };
    }
    while (n && !out[n - 1].value.p) /* memory is out: the answer matters more */
        n--;
    return n;
}

void answer__reply(struct http_in *in, int status, struct sv type, struct sv body) {
    char id[33];
    answer__request_id(in, id);
    struct http_header h[] = { { SV("x-request-id"), sv_of(id) } };
    http_in_reply(in, status, h, 1, type, body);
}

static void reply_error(struct gateway *g, struct http_in *in, const struct llm_route *route, const struct err *e, const char *hint,
                        struct sv target, const struct http_header *limits, unsigned n_limits) {
    enum llm_dialect d = route ? llm_dialect(route->api)
                               : llm_path_dialect(in->head->path, http_get(in->head, SV("anthropic-version")).p != NULL);
    struct buf body = BUF_MAX(16 << 10);
    char id[33], space[24];
    struct buf wait = { .p = space, .base = space, .cap = sizeof space, .max = sizeof space };
    metrics_limit(g->metrics, e->limit);
    answer__request_id(in, id);
    llm_error_body(&body, d, e, sv_of(hint), sv_of(id));
    struct http_header h[4 + ANSWER_LIMITS] = { { SV("x-request-id"), sv_of(id) } };
    unsigned n = 1;
    int status = status_of(e, d);
    for (unsigned i = 0; i < n_limits; i++)
        h[n++] = limits[i];
    if (target.n)
        h[n++] = (struct http_header){ SV("drover-target"), target };
    if ((status == 429 || status == 503) && e->code != ERR_BUDGET) {
        buf_add_u64(&wait, e->retry_after_s ? e->retry_after_s : 1);
        h[n++] = (struct http_header){ SV("retry-after"), buf_sv(&wait) };
    }
    if (status == 501 || status == 404 || e->code == ERR_BUDGET)
        h[n++] = (struct http_header){ SV("x-should-retry"), SV("false") };
    http_in_reply(in, status, h, n, SV("application/json"), buf_sv(&body));
    buf_deinit(&body);
}

void answer__error(struct gateway *g, struct http_in *in, const struct llm_route *route, const struct err *e, const char *hint) {
    reply_error(g, in, route, e, hint, SV_NULL, NULL, 0);
}

void answer__fail(struct exchange *x, const struct err *e, enum request_result result) {
    struct http_in *in = x->in;
    if (x->state == EX_DONE)
        return;
    struct err copy = *e;
    http_call_cancel(x->call);
    x->call = NULL;
    hide__words(x, &copy);
    if (!x->started) {
        const struct llm_route *route = x->route;
        struct http_header limits[ANSWER_LIMITS];
        unsigned n_limits = answer__limits(x, limits);
        x->status = err_http(copy.code);
        exchange__end(x, result);
        reply_error(x->g, in, route, &copy, NULL, x->target, limits, n_limits);
        return;
    }
    metrics_limit(x->g->metrics, e->limit);
    if (!x->is_events) { /* half a body is out: the cut connection is the only honest sign left */
        exchange__end(x, result);
        http_in_abort(in);
        return;
    }
    struct buf out = BUF_MAX((16 << 10) + (x->translate ? x->config->limits.upstream.reply : 0)); /* some repeat all they said */
    if (x->has_events && x->way == WAY_PASS && events_held(&x->events).n)
        buf_add(&out, x->events.kind == EVENTS_SSE ? SV("\n\n") : SV("\n")); /* end the half event first */
    if (x->translate)
        translate_fail(x->translate, &copy, &out);
    else
        llm_error_event(&out, x->route->api, &copy, x->meter.n_events);
    bool told = !out.failed;
    http_in_send(in, buf_sv(&out));
    buf_deinit(&out);
    exchange__end(x, result);
    if (told)
        http_in_finish(in);
    else /* for want of memory */
        http_in_abort(in);
}

void gateway_bad(struct sv path, const struct err *e, struct buf *out, struct sv *ret_type) {
    llm_error_body(out, llm_path_dialect(path, false), e, SV_NULL, SV_NULL);
    *ret_type = SV("application/json");
}
