/* gateway/resolve.c - which target gets the request; what happens when none can take it.
 *
 * name -> slug -> candidates (fleet) -> the best one is reserved -> forward. Candidates that fail before the first byte
 * are followed by the next one, then by the slug's fallbacks. When all that stands in the way is room or loading, the
 * request waits for its turn (wait.c), and is looked at again here. */
#include "gateway/exchange.h"

#include "base/json.h"

/* Ollama's first versions called it "name", and Ollama still takes that. */
static struct sv older_name(struct exchange *x) {
    static const enum llm_api apis[] = { LLM_OLLAMA_SHOW, LLM_OLLAMA_PULL, LLM_OLLAMA_PUSH, LLM_OLLAMA_CREATE, LLM_OLLAMA_DELETE };
    for (size_t i = 0; i < sizeof apis / sizeof apis[0]; i++)
        if (x->route->api == apis[i] && exchange__may_parse(x, NULL)) {
            CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse((struct sv){ x->body, x->body_n });
            return arena_sv(&x->in->arena, sv_first(json_str(yyjson_doc_get_root(doc), "name"), SCAN_MODEL_MAX + 1));
        }
    return SV_NULL;
}

/* The model a request asks for: from its body, its path, or a multipart field. */
static bool read_model(struct exchange *x, struct err *e) {
    if ((x->route->flags & LLM_R_BODY_MODEL) && x->is_json) {
        switch (x->scan.model_state) {
        case SCAN_MODEL_OK:
            x->asked = (struct sv){ x->scan.model, x->scan.model_len };
            break;
        case SCAN_MODEL_TOO_LONG:
            return err_set(e, ERR_BAD_REQUEST, "\"model\" is longer than %d bytes", SCAN_MODEL_MAX);
        case SCAN_MODEL_NOT_STRING:
            return err_set(e, ERR_BAD_REQUEST, "\"model\" must be a string");
        case SCAN_MODEL_NONE:
            x->asked = older_name(x);
            if (x->asked.n > SCAN_MODEL_MAX)
                return err_set(e, ERR_BAD_REQUEST, "\"name\" is longer than %d bytes", SCAN_MODEL_MAX);
            if (x->asked.n)
                return true;
            if (x->route->flags & LLM_R_MODEL_OPTIONAL)
                return true;
            return err_set(e, ERR_BAD_REQUEST, "\"model\" is missing");
        }
    } else if (x->is_form) {
        struct sv boundary = multipart__boundary(http_get(x->in->head, SV("content-type")));
        x->asked = multipart__field((struct sv){ x->body, x->body_n }, boundary, SV("model"));
        if (!x->asked.p)
            return err_set(e, ERR_BAD_REQUEST, "the multipart body has no field \"model\"");
        if (x->asked.n > SCAN_MODEL_MAX)
            return err_set(e, ERR_BAD_REQUEST, "\"model\" is longer than %d bytes", SCAN_MODEL_MAX);
    }
    if (x->asked.n == 0 && !(x->route->flags & LLM_R_MODEL_OPTIONAL))
        return err_set(e, ERR_BAD_REQUEST, "\"model\" is empty");
    return true;
}

static bool check_bounds(struct exchange *x, struct err *e) {
    enum { N_MAX = 8 };
    if (x->scan.n > N_MAX)
        return err_set(e, ERR_BAD_REQUEST, "\"n\" is %lld; at most %d answers per request", (long long)x->scan.n, N_MAX);
    return true;
}

static void set_want(struct exchange *x) {
    const struct scan *s = &x->scan;
    struct schedule_want *w = &x->want;
    w->speaks = llm_speaks(x->route->api);
    w->through = x->is_json ? translate_through(x->route->api) : 0;
    w->can = x->route->need;
    w->node = x->node;
    w->only = x->key ? x->key->endpoints : NULL;
    w->n_only = x->key ? x->key->n_endpoints : 0;
    w->ticket = &x->ticket;
    w->now_us = loop_now_us(x->g->loop);
    if (!x->is_json)
        return;
    if (s->has_tools)
        w->can |= LLM_CAN_TOOLS;
    if (s->has_image)
        w->can |= LLM_CAN_VISION;
    w->affinity = scan_affinity(s);
    int64_t tokens = meter_estimate_input(s, 0);
    w->tokens = tokens > 0 ? (uint64_t)tokens : 0;
}

/* By the name it has, or by the one it was asked for: an alias or part of a pattern. */
static bool may_use(const struct exchange *x, const struct fleet_slug *slug, struct sv asked) {
    if (x->node.n)
        asked = sv_first(asked, asked.n - x->node.n - 1);
    return access_may_use_model(x->key, slug->name) || access_may_use_model(x->key, asked);
}

static bool find_slug(struct exchange *x, struct sv name, struct err *e) {
    const struct fleet_slug *slug = x->snapshot ? snapshot_find(x->snapshot, name, &x->node) : NULL;
    if (x->key && slug && !may_use(x, slug, name))
        access_refused(x->g->shared->refusals, x->key->id, sv_of(x->in->stream->peer), SV("asked for a model that it may not use"));
    if (x->key && (!slug || !may_use(x, slug, name))) /* what it may not use and what is not there look the same */
        return err_set(e, ERR_NO_MODEL, "model \"%.*s\" is unknown, or not allowed for this key", SV_FMT(name));
    if (!slug) {
        struct sv near = x->snapshot ? snapshot_suggest(x->snapshot, name, &x->in->arena) : SV_NULL;
        if (!x->snapshot || x->snapshot->n_listed == 0)
            return err_set(e, ERR_NO_MODEL, "model \"%.*s\" is unknown: no runtime offers any model yet (drover endpoints)",
                           SV_FMT(name));
        return err_set(e, ERR_NO_MODEL, near.n ? "model \"%.*s\" is unknown; near: %.*s" : "model \"%.*s\" is unknown%.*s",
                       SV_FMT(name), SV_FMT(near));
    }
    x->sched = (struct schedule){ .slug = slug };
    set_want(x);
    return true;
}

static bool worth_waiting(const struct schedule *s) {
    bool waits = false;
    for (size_t i = 0; i < s->slug->n_targets; i++)
        waits = waits || s->verdicts[i] == SCHEDULE_BUSY || s->verdicts[i] == SCHEDULE_LOADING;
    return waits;
}

static void choose(struct exchange *x, const struct err *why);

/* Then on to a target. A share that is still being leased is waited for: the store is asked for it meanwhile. */
static void take_share(struct exchange *x) {
    struct err e;
    switch (share__reserve(x, &e)) {
    case ACCESS_RESERVED:
        wait__end(x);
        choose(x, x->attempts ? &x->last : NULL);
        return;
    case ACCESS_REFUSED: answer__fail(x, &e, RESULT_REJECTED); return;
    case ACCESS_LATER: break;
    }
    if (x->state != EX_PARKED) {
        wait__for_lease(x);
    } else if (loop_now_us(x->g->loop) >= x->park_until_us) {
        err_set(&e, ERR_UNAVAILABLE, "the budget of this key could not be looked up in time; try again shortly");
        answer__fail(x, &e, RESULT_REJECTED);
    }
}

/* Its waiting was in vain. */
static void give_up(struct exchange *x, bool in_time) {
    struct err e;
    schedule_fault(&x->sched, &x->want, &e);
    wait__words(x, &e);
    if (!in_time) {
        e.limit = LIMIT_PARK_TIMEOUT;
        err_ctx(&e, "waited gateway.park_timeout (%llu s)", (unsigned long long)x->config->gateway.park_timeout_ms / 1000);
    }
    answer__fail(x, &e, RESULT_REJECTED);
}

/* Takes a newer snapshot, then a target if there is room and it is its turn. */
void resolve__look_again(struct exchange *x) {
    struct err e;
    if (x->hold.cell && !x->hold.is_reserved) {
        take_share(x);
        return;
    }
    if (x->snapshot != x->g->snapshot && !place__is_meant(x)) {
        struct sv name = x->asked;
        snapshot_unref(x->snapshot);
        x->snapshot = snapshot_ref(x->g->snapshot);
        x->n_fallen = 0;
        if (!find_slug(x, name, &e)) {
            answer__fail(x, &e, RESULT_REJECTED);
            return;
        }
    }
    x->want.now_us = loop_now_us(x->g->loop);
    if (schedule_next(&x->sched, &x->want)) {
        account__took(x);
        x->queue_us += x->want.now_us - x->parked_us;
        wait__end(x);
        forward__start(x);
    } else if (!worth_waiting(&x->sched) && resolve__may_fall_back(x)) { /* a newer snapshot led back to the slug that was asked for */
        x->queue_us += x->want.now_us - x->parked_us;
        wait__end(x);
        choose(x, NULL);
    } else if (!worth_waiting(&x->sched)) {
        give_up(x, true);
    } else if (x->want.now_us >= x->park_until_us) {
        give_up(x, false);
    } else {
        wait__on(x);
    }
}

/* --- choosing ----------------------------------------------------------------------------------------------------- */

static bool has_fallen(const struct exchange *x, const struct fleet_slug *slug) {
    for (unsigned i = 0; i < x->n_fallen; i++)
        if (x->fallen[i].slug == slug)
            return true;
    return false;
}

bool resolve__may_fall_back(const struct exchange *x) {
    bool more = x->sched.slug->n_fallback > 0 && !has_fallen(x, x->sched.slug);
    for (unsigned i = 0; i < x->n_fallen; i++)
        more = more || x->fallen[i].next < x->fallen[i].slug->n_fallback;
    return more && x->node.n == 0 && x->fallbacks < FALLBACKS_MAX;
}

/* The next fallback: those of the slug that failed last come before the rest of those that led to it. False: there is none. */
static bool fall_back(struct exchange *x) {
    struct schedule was = x->sched;
    struct err e;
    if (!resolve__may_fall_back(x))
        return false;
    if (x->n_fallen < FALLBACK_DEPTH_MAX && (x->n_fallen == 0 || x->fallen[x->n_fallen - 1].slug != was.slug)) {
        x->fallen[x->n_fallen].slug = was.slug;
        x->fallen[x->n_fallen++].next = 0;
    }
    for (; x->n_fallen; x->n_fallen--) {
        const struct fleet_slug *slug = x->fallen[x->n_fallen - 1].slug;
        for (unsigned *next = &x->fallen[x->n_fallen - 1].next; *next < slug->n_fallback && x->fallbacks++ < FALLBACKS_MAX;)
            if (find_slug(x, slug->fallback[(*next)++], &e) && !has_fallen(x, x->sched.slug))
                return true;
    }
    x->sched = was;
    return false;
}

/* Reserves the next target and forwards; else parks, falls back, or fails with `why`. */
static void choose(struct exchange *x, const struct err *why) {
    struct err e;
    for (;;) {
        if (schedule_next(&x->sched, &x->want)) {
            account__took(x);
            forward__start(x);
            return;
        }
        bool waits = worth_waiting(&x->sched);
        if (!waits && fall_back(x)) {
            if (!share__is_of_slug(x))
                continue;
            share__give_back(x); /* the fallback may cost something else */
            take_share(x);
            return;
        }
        if (why) {
            answer__fail(x, why, RESULT_UPSTREAM_ERROR);
            return;
        }
        schedule_fault(&x->sched, &x->want, &e);
        if (x->fallbacks)
            err_ctx(&e, "\"%.*s\" and its fallbacks", SV_FMT(x->asked));
        if (!waits || !wait__in_line(x, &e))
            answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
}

static void on_deadline(void *arg) {
    struct exchange *x = arg;
    struct err e;
    err_limit(&e, LIMIT_DEADLINE, "no answer within gateway.deadline (%llu s)", (unsigned long long)x->config->gateway.deadline_ms / 1000);
    wait__words(x, &e);
    answer__fail(x, &e, RESULT_UPSTREAM_ERROR);
}

void resolve__start(struct exchange *x) {
    struct err e;
    x->is_stream = (x->route->flags & LLM_R_STREAM_DEFAULT) ? x->scan.stream != SCAN_FALSE : x->scan.stream == SCAN_TRUE;
    x->body_us = loop_now_us(x->g->loop);
    timer_set(x->g->loop, &x->limit, x->config->gateway.deadline_ms, on_deadline, x);
    x->deadline_us = x->body_us + x->config->gateway.deadline_ms * 1000;
    if (!read_model(x, &e) || !check_bounds(x, &e)) {
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    if (local__show(x))
        return;
    if (place__is_meant(x) ? !place__find(x, &e) : !find_slug(x, x->asked, &e)) {
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    if (local__count(x))
        return;
    relay__heartbeat_start(x);
    take_share(x);
}

void resolve__retry(struct exchange *x) {
    trace__attempt_end(x);
    account__left(x);
    x->want.now_us = loop_now_us(x->g->loop);
    schedule_release(&x->sched, x->want.now_us);
    bool more = x->attempts <= (unsigned)x->config->gateway.retry_max && x->want.now_us < x->deadline_us &&
                !(x->route->flags & LLM_R_MANAGE);
    if (more)
        choose(x, &x->last);
    else
        answer__fail(x, &x->last, RESULT_UPSTREAM_ERROR);
}
