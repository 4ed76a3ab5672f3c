/* gateway/place.c - requests that are meant for an endpoint rather than for a model: pulls, deletions, stored responses.
 *
 * The endpoint is the one named in the header drover-endpoint or as model@endpoint, else the only one that speaks the
 * dialect. When there are several, nobody guesses: the answer lists them. Such a request is never repeated elsewhere. */
#include "gateway/exchange.h"

static bool may_take(const struct exchange *x, const struct fleet_endpoint *p) {
    unsigned speaks = llm_speaks(x->route->api);
    return access_may_use_endpoint(x->key, p->name) && (p->state == FLEET_UP || p->state == FLEET_DEGRADED) && (!speaks || (p->speaks & speaks)) && !p->demo;
}

static const struct fleet_endpoint *named(const struct exchange *x, struct sv name) {
    for (size_t i = 0; x->snapshot && i < x->snapshot->n_endpoints; i++)
        if (sv_eq(x->snapshot->endpoints[i].name, name) && access_may_use_endpoint(x->key, name))
            return &x->snapshot->endpoints[i];
    return NULL;
}

static const struct fleet_endpoint *only_one(struct exchange *x, struct err *e) {
    const struct fleet_endpoint *found = NULL;
    struct buf names = BUF_MAX(256);
    unsigned n = 0;
    for (size_t i = 0; x->snapshot && i < x->snapshot->n_endpoints; i++) {
        const struct fleet_endpoint *p = &x->snapshot->endpoints[i];
        if (!may_take(x, p))
            continue;
        if (n++)
            buf_add(&names, SV(", "));
        buf_add(&names, p->name);
        found = p;
    }
    if (n == 0)
        err_set(e, ERR_UNAVAILABLE, "no endpoint that speaks this API is up");
    else if (n > 1 && x->config->slugs == CONFIG_SLUGS_OPAQUE)
        err_set(e, ERR_BAD_REQUEST, "say which endpoint is meant, with the header drover-endpoint");
    else if (n > 1)
        err_set(e, ERR_BAD_REQUEST, "say which endpoint is meant, with model@endpoint or the header drover-endpoint: %.*s",
                SV_FMT(buf_sv(&names)));
    buf_deinit(&names);
    return n == 1 ? found : NULL;
}

bool place__is_meant(const struct exchange *x) {
    return (x->route->flags & LLM_R_MANAGE) || ((x->route->flags & LLM_R_MODEL_OPTIONAL) && x->asked.n == 0);
}

bool place__find(struct exchange *x, struct err *e) {
    /* What names no model escapes a key's list of them; a stored answer may be somebody else's. */
    if (!(x->route->flags & LLM_R_MANAGE) && !access_may(x->key, ACCESS_MAY_PASS))
        return err_set(e, ERR_DENIED, "this key may not send requests that name no model (it lacks the right \"pass\")");
    struct sv name = http_get(x->in->head, SV("drover-endpoint")), model = x->asked;
    ptrdiff_t at = sv_rfind_char(model, '@');
    if (!name.n && at > 0 && x->config->slugs != CONFIG_SLUGS_OPAQUE && named(x, sv_from(model, (size_t)at + 1))) {
        name = sv_from(model, (size_t)at + 1);
        model = sv_first(model, (size_t)at);
    }
    const struct fleet_endpoint *p = name.n ? named(x, name) : only_one(x, e);
    if (name.n && !p)
        return err_set(e, ERR_NOT_FOUND, "no endpoint is called \"%.*s\"", SV_FMT(sv_first(name, 100)));
    if (p && !may_take(x, p))
        return err_set(e, ERR_UNAVAILABLE, "\"%.*s\" is not up or does not speak this API", SV_FMT(p->name));
    if (!p)
        return false;
    /* A slug of one target, made for this request. */
    struct arena *a = &x->in->arena;
    struct fleet_model *m = ARENA_NEW(a, struct fleet_model);
    struct fleet_target *t = ARENA_NEW(a, struct fleet_target);
    const struct fleet_target **list = ARENA_NEW(a, const struct fleet_target *);
    struct fleet_slug *slug = ARENA_NEW(a, struct fleet_slug);
    struct cell *cell = arena_alloc(a, sizeof *cell + _Alignof(struct cell));
    if (!m || !t || !list || !slug || !cell)
        return err_no_memory(e);
    cell = (void *)(((uintptr_t)cell + _Alignof(struct cell) - 1) & ~(uintptr_t)(_Alignof(struct cell) - 1));
    m->id = model;
    *t = (struct fleet_target){ .endpoint = p, .model = m, .cell = cell };
    list[0] = t;
    *slug = (struct fleet_slug){ .name = SV("other"), .targets = list, .n_targets = 1 };
    x->sched = (struct schedule){ .slug = slug };
    x->want = (struct schedule_want){ .ticket = &x->ticket, .now_us = loop_now_us(x->g->loop) };
    return true;
}
