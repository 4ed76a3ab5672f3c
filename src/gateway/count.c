/* gateway/count.c - how many tokens a prompt has: asked of the runtime where it matters and it can tell, else estimated.
 *
 * models[].context_guard refuses a prompt that does not fit into its model's context. Most are far from that by any estimate.
 * When one may or may not fit, the target that was chosen is asked first: count__ask -> on_end -> go_on -> forward__go. The
 * request is printed in the form which that runtime's counting path takes, and goes there as any call to it does.
 *
 * The number is a help and never stands in the way. Nothing is tried twice, COUNT_MS is all the time there is, and after any
 * trouble (no memory, an error status, nonsense) the request goes on with the estimate. It is no attempt: neither metrics nor
 * the breaker hear of it. A place that has no such path, or does not answer, is left alone for a while.
 *
 * The prompt alone is compared: how much of its output limit a request will use nobody knows. */
#include "gateway/exchange.h"

#include "base/json.h"

enum {
    DOUBT_PERCENT = 50,     /* of the context: what is estimated to be shorter fits */
    ESTIMATE_PERCENT = 115, /* and is refused by its estimate beyond this */
    COUNT_MS = 4000,        /* from the start of the call to the last byte of its reply */
    IMAGE_TOKENS_MAX = 64 << 10, /* what a picture may come to before the number is taken for nonsense */
};
#define COUNT_LATER_US (60u * 1000000u) /* a place that could not count is not asked for so long */

/* Who can count what. The first row that holds for the endpoint, and in whose form the request can be told, is taken. */
static const struct counter {
    const char *kind;   /* of the endpoint; NULL: whichever offers this: */
    unsigned speaks;    /* LLM_SPEAKS_* */
    unsigned form;      /* LLM_SPEAKS_* of the body */
    struct sv path;
    const char *member; /* of the reply, with the number */
} counters[] = {
    { NULL, LLM_SPEAKS_ANTHROPIC_COUNT, LLM_SPEAKS_ANTHROPIC, { "/v1/messages/count_tokens", 25 }, "input_tokens" },
    { "vllm", 0, LLM_SPEAKS_CHAT, { "/tokenize", 9 }, "count" },
    { "vllm", 0, LLM_SPEAKS_COMPLETIONS, { "/tokenize", 9 }, "count" },
    { "sglang", 0, LLM_SPEAKS_COMPLETIONS, { "/tokenize", 9 }, "count" },
    { "koboldcpp", 0, LLM_SPEAKS_COMPLETIONS, { "/api/extra/tokencount", 21 }, "value" },
};
enum { N_COUNTERS = sizeof counters / sizeof counters[0] };

struct count { /* one call; in the request's arena */
    struct exchange *x;
    const struct counter *how;
    struct translate *translate;
    struct buf body, reply;
    struct timer timer;
    int64_t length;     /* bytes of the body */
    int status;
};

/* --- what is known ------------------------------------------------------------------------------------------------ */

bool count__is_exact(const struct exchange *x) {
    const struct fleet_target *t = x->sched.taken;
    return t && x->counted > 0 && x->counted_for == t->id_hash;
}

int64_t count__input(const struct exchange *x) {
    if (count__is_exact(x))
        return x->counted;
    return x->is_json ? meter_estimate_input(&x->scan, 0) : -1;
}

bool count__fits(const struct exchange *x, struct err *e) {
    bool exact = count__is_exact(x);
    int64_t n = count__input(x);
    uint64_t room = x->sched.taken->model->context;
    if (!x->sched.slug->context_guard || !room || n < 0 || (uint64_t)n * 100 <= room * (exact ? 100 : ESTIMATE_PERCENT))
        return true;
    return err_set(e, ERR_CONTEXT,
                   exact ? "prompt is too long: %lld tokens, limit %llu" : "prompt is too long: about %lld tokens (estimated), limit %llu",
                   (long long)n, (unsigned long long)room);
}

static bool is_worth_asking(const struct exchange *x) {
    const struct fleet_target *t = x->sched.taken;
    int64_t n = meter_estimate_input(&x->scan, 0);
    return x->sched.slug->context_guard && t->model->context && x->counted_for != t->id_hash && n > 0 &&
           (uint64_t)n * 100 >= t->model->context * DOUBT_PERCENT &&
           loop_now_us(x->g->loop) >= atomic_load_explicit(&t->endpoint->cell->no_count_until_us, memory_order_relaxed);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

/* Nobody gets more tokens than bytes out of text; what a picture comes to is the runtime's business. */
static bool is_plausible(const struct count *c, int64_t n) {
    const struct scan *s = &c->x->scan;
    int64_t images = (int64_t)s->n_images + (s->has_image || s->has_media);
    return n > 0 && n <= c->length + images * IMAGE_TOKENS_MAX;
}

/* -1: it said nothing of use. */
static int64_t read_reply(const struct count *c) {
    yyjson_doc *doc = c->status == 200 && !c->reply.failed ? json_parse(buf_sv(&c->reply)) : NULL;
    int64_t n = json_i64(yyjson_doc_get_root(doc), c->how->member, -1);
    yyjson_doc_free(doc);
    return is_plausible(c, n) ? n : -1;
}

static void ask_later(const struct exchange *x) {
    struct cell *cell = x->sched.taken->endpoint->cell;
    atomic_store_explicit(&cell->no_count_until_us, loop_now_us(x->g->loop) + COUNT_LATER_US, memory_order_relaxed);
}

void count__end(struct exchange *x) {
    struct count *c = x->count;
    if (!c)
        return;
    x->count = NULL;
    x->sending = false;
    timer_stop(x->g->loop, &c->timer);
    translate_free(c->translate);
    buf_deinit(&c->body);
    buf_deinit(&c->reply);
}

/* The call is over. n: tokens, or -1. */
static void go_on(struct exchange *x, int64_t n) {
    count__end(x);
    x->counted = n;
    forward__go(x);
}

/* --- the call ----------------------------------------------------------------------------------------------------- */

static void on_ready(void *arg) {
    forward__send(arg);
}

static void on_head(void *arg, const struct http_head *head) {
    struct exchange *x = arg;
    x->count->status = head->status;
    if (head->status == 404 || head->status == 405 || head->status == 501)
        ask_later(x);
}

static void on_body(void *arg, struct sv bytes) {
    struct exchange *x = arg;
    buf_add(&x->count->reply, bytes); /* too long: that shows in the end */
}

static void on_end(void *arg) {
    struct exchange *x = arg;
    x->call = NULL;
    go_on(x, read_reply(x->count));
}

static void on_fail(void *arg, const struct err *e, bool stale) {
    struct exchange *x = arg;
    (void)e;
    (void)stale;
    x->call = NULL;
    go_on(x, -1);
}

static void on_drain(void *arg) {
    struct exchange *x = arg;
    if (x->sending && x->call)
        forward__send(x);
}

static void on_late(void *arg) {
    struct exchange *x = arg;
    ask_later(x);
    http_call_cancel(x->call);
    x->call = NULL;
    go_on(x, -1);
}

static const struct http_call_events count_events = { on_ready, on_head, on_body, on_end, on_fail, on_drain };

static bool can_count(const struct counter *how, const struct exchange *x) {
    const struct fleet_endpoint *p = x->sched.taken->endpoint;
    bool is_there = how->kind ? sv_eq(p->kind, sv_of(how->kind)) : (p->speaks & ~p->deficient & how->speaks) != 0;
    return is_there && (x->want.through & how->form);
}

/* The request in the form that one of the target's counters takes. False: there is none, or it cannot be told so. */
static bool print_for_counter(struct count *c) {
    struct exchange *x = c->x;
    struct translate_spec spec;
    if (!forward__translation(x, &spec, NULL))
        return false;
    spec.stream = spec.strict = false; /* what is lost does not make it longer */
    spec.for_count = true;
    for (size_t i = 0; i < N_COUNTERS && !c->translate; i++) {
        struct err e;
        c->how = &counters[i];
        if (!can_count(c->how, x))
            continue;
        spec.speaks = c->how->form;
        buf_deinit(&c->body);
        buf_init(&c->body, spec.body_max);
        c->translate = translate_new(&spec, &c->body, &e);
    }
    return c->translate != NULL;
}

static bool start(struct count *c) {
    struct exchange *x = c->x;
    struct http_call_spec spec;
    struct err e;
    if (!print_for_counter(c) || !media__check(x, &e) || !forward__spec(x, c->how->path, true, &spec))
        return false;
    spec.length = c->length = forward__pieces(x, c->translate);
    x->sending = true;
    timer_set(x->g->loop, &c->timer, COUNT_MS, on_late, x);
    x->call = http_call_start(x->g->client, &x->in->arena, &spec, &count_events, x, &e);
    return x->call != NULL;
}

bool count__ask(struct exchange *x) {
    struct count *c = is_worth_asking(x) ? ARENA_NEW(&x->in->arena, struct count) : NULL;
    if (!c)
        return false;
    x->count = c;
    x->counted_for = x->sched.taken->id_hash;
    x->counted = -1;
    c->x = x;
    buf_init(&c->reply, x->config->limits.upstream.reply);
    if (!start(c)) {
        count__end(x);
        return false;
    }
    if (http_call_is_ready(x->call))
        forward__send(x);
    return true;
}
