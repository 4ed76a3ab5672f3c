/* fleet/endpoint.c - watch -> look -> on_looked -> (health, facts, breaker) -> watch again.
 *
 * What a look found replaces what was known only when it brought a list of models: a place that is down keeps the models it
 * had, so that its clients hear "unavailable", not "no such model". */
#include "fleet/endpoint.h"

#include "translate/translate.h"

#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "http/url.h"

/* --- making ------------------------------------------------------------------------------------------------------- */

static bool is_loopback(const struct url *u) {
    return u->scheme == URL_UNIX || sv_eq_nocase(u->host, SV("localhost")) || sv_ends(u->host, SV(".localhost")) ||
           (u->host_kind == URL_IPV4 && sv_starts(u->host, SV("127."))) || sv_eq(u->host, SV("::1"));
}

static struct dialer *dialer_of(const struct url *u, const struct endpoint_place *at, const char *ca, struct err *e) {
    if (u->scheme == URL_UNIX)
        return dialer_unix(u->socket, e);
    struct tls_context *tls = NULL;
    if (u->scheme == URL_HTTPS) {
        tls = tls_client_context(at->ca.n ? ca : NULL, at->insecure, e);
        if (!tls)
            return NULL;
    }
    struct dialer *d = dialer_tcp(u->host, u->port, tls, e);
    tls_unref(tls);
    return d;
}

static bool fill(struct endpoint *p, const struct endpoint_place *at, struct err *e) {
    p->name = mem_str(at->name.p, at->name.n);
    p->url = mem_str(at->url.p, at->url.n);
    p->ca = mem_str(at->ca.p, at->ca.n);
    if (at->key.n) {
        p->auth = mem_alloc(at->key.n + 8);
        if (p->auth) {
            memcpy(p->auth, "Bearer ", 7);
            memcpy(p->auth + 7, at->key.p, at->key.n);
            p->auth[7 + at->key.n] = '\0';
        }
    }
    p->cell = cell_new();
    if (!p->name || !p->url || !p->ca || !p->cell || (at->key.n && !p->auth))
        return err_no_memory(e);
    if (at->dialer) {
        p->dialer = dialer_ref(at->dialer);
        p->local = !at->fed;
        p->host = at->fed ? mem_str("node", 4) : mem_str("localhost", 9);
        p->base_path = mem_str("", 0);
        return p->host && p->base_path ? true : err_no_memory(e);
    }
    struct url u;
    if (!url_parse(sv_of(p->url), &u, e))
        return err_ctx(e, "endpoint %s", p->name);
    struct sv prefix = u.prefix;
    if (sv_ends(prefix, SV("/v1"))) /* people paste the base URL of an SDK; our paths bring their own /v1 */
        prefix = sv_first(prefix, prefix.n - 3);
    struct sv host = u.scheme == URL_UNIX ? SV("localhost") : u.authority;
    p->host = mem_str(host.p, host.n);
    p->base_path = mem_str(prefix.n ? prefix.p : "", prefix.n);
    if (!p->host || !p->base_path)
        return err_no_memory(e);
    p->local = is_loopback(&u);
    p->dialer = dialer_of(&u, at, p->ca, e);
    return p->dialer ? true : err_ctx(e, "endpoint %s", p->name);
}

struct endpoint_place endpoint_place_of(const struct config_endpoint *s) {
    return (struct endpoint_place){ .name = s->name, .url = s->url, .kind = s->kind, .ca = s->tls.ca, .insecure = s->tls.insecure,
                                    .key = s->key.value ? (struct sv){ s->key.value, s->key.n } : SV_NULL };
}

struct endpoint *endpoint_new(const struct endpoint_home *home, const struct endpoint_place *at, struct err *e) {
    struct endpoint *p = mem_new(sizeof *p);
    if (!p) {
        err_no_memory(e);
        return NULL;
    }
    list_init(&p->in_fleet);
    p->home = home;
    p->kind = at->kind;
    p->insecure = at->insecure;
    p->fed = at->fed;
    p->rt = runtime_of(at->kind);
    p->since_ms = clock_wall_ms();
    p->alive_ms = loop_now_ms(home->loop);
    map_init(&p->notes.by_digest);
    if (!fill(p, at, e)) {
        endpoint_free(p);
        return NULL;
    }
    return p;
}

void endpoint_free(struct endpoint *p) {
    if (!p)
        return;
    list_drop(&p->in_fleet);
    timer_stop(p->home->loop, &p->next);
    look_free(p->look);
    look_free(p->facts);
    look_notes_deinit(&p->notes);
    dialer_unref(p->dialer);
    cell_unref(p->cell);
    if (p->auth)
        sodium_memzero(p->auth, strlen(p->auth));
    mem_free(p->auth);
    mem_free(p->name);
    mem_free(p->url);
    mem_free(p->ca);
    mem_free(p->host);
    mem_free(p->base_path);
    mem_free(p);
}

bool endpoint_is(const struct endpoint *p, const struct endpoint_place *at) {
    struct sv auth = sv_of(p->auth);
    bool same_key = auth.n == (at->key.n ? at->key.n + 7 : 0) &&
                    (auth.n == 0 || sodium_memcmp(auth.p + 7, at->key.p, at->key.n) == 0);
    return same_key && p->kind == at->kind && p->insecure == at->insecure && sv_eq(sv_of(p->name), at->name) &&
           sv_eq(sv_of(p->url), at->url) && sv_eq(sv_of(p->ca), at->ca);
}

/* --- what changed ------------------------------------------------------------------------------------------------- */

static bool same_model(const struct fleet_model *a, const struct fleet_model *b) {
    return sv_eq(a->id, b->id) && sv_eq(a->family, b->family) && sv_eq(a->params, b->params) && sv_eq(a->quant, b->quant) &&
           sv_eq(a->format, b->format) && sv_eq(a->digest, b->digest) && a->context == b->context &&
           a->context_max == b->context_max && a->size_bytes == b->size_bytes && a->vram_bytes == b->vram_bytes &&
           a->created_s == b->created_s && a->expires_s == b->expires_s && a->can == b->can && a->can_known == b->can_known &&
           a->loaded == b->loaded && a->remote == b->remote && a->slots == b->slots;
}

/* Several servers say "created now" each time they are asked: the first answer is kept. */
static void keep_dates(struct look *l, struct look *known) {
    for (size_t i = 0; known && i < l->n_models; i++) {
        const struct fleet_model *m = look_find(known, l->models[i].id);
        if (m && m->created_s)
            l->models[i].created_s = m->created_s;
    }
}

static bool same_facts(const struct look *a, const struct look *b) {
    if (!a || !b || a->rt != b->rt || !sv_eq(a->version, b->version) || a->lacks != b->lacks || a->no_v1 != b->no_v1 ||
        a->n_models != b->n_models)
        return false;
    for (size_t i = 0; i < a->n_models; i++)
        if (!same_model(&a->models[i], &b->models[i]))
            return false;
    return true;
}

static void log_change(const struct endpoint *p) {
    static const char *const texts[] = { "endpoint unknown", "endpoint up", "endpoint degraded", "endpoint loading",
                                         "endpoint down" };
    log_event(p->health.state == FLEET_DOWN || p->health.state == FLEET_DEGRADED ? LOG_WARN : LOG_INFO, texts[p->health.state],
              F_STR("endpoint", p->name), F_STR("kind", p->rt ? runtime_name(p->rt->kind) : "unknown"), F_STR("url", p->url),
              F_U64("models", p->facts ? p->facts->n_models : 0), F_STR("reason", p->reason));
}

static void restart_breaker(struct endpoint *p) {
    struct cell *c = p->cell;
    breaker_reset(&p->breaker, (struct breaker_counts){ atomic_load(&c->n_ok), atomic_load(&c->n_failed), 0 });
    atomic_store(&c->failed_in_row, 0);
    atomic_store(&c->avoid_until_us, 0);
    atomic_store(&c->breaker, BREAKER_CLOSED);
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

static void on_time(void *arg) {
    endpoint_look(arg, false);
}

static void plan(struct endpoint *p) {
    if (p->fed)
        return;
    uint32_t ms = ENDPOINT_LOOK_MS - ENDPOINT_LOOK_MS / 5 + rand_below(ENDPOINT_LOOK_MS * 2 / 5);
    bool doubted = p->health.bad_in_row == 1 && p->health.state != FLEET_DOWN;
    if (p->health.state == FLEET_LOADING || doubted)
        ms = ENDPOINT_SOON_MS;
    else if (p->health.state == FLEET_DOWN && p->since_ms && clock_wall_ms() - p->since_ms < ENDPOINT_HOPE_MS)
        ms = ENDPOINT_BACK_MS + rand_below(ENDPOINT_BACK_MS / 5);
    timer_set(p->home->loop, &p->next, ms, on_time, p);
}

/* Says why the state is what it is. True when the words changed. */
static bool explain(struct endpoint *p, const struct look *l) {
    char text[LOOK_REASON_MAX] = "";
    if (l->end != LOOK_GOOD)
        snprintf(text, sizeof text, "%s", l->reason);
    else if (p->health.damped)
        snprintf(text, sizeof text, "it changed its state often lately: %u more good looks are wanted",
                 HEALTH_DAMPED_GOOD - p->health.good_in_row);
    else if (l->n_nameless)
        snprintf(text, sizeof text, "%zu of its models left out: the name is not valid text", l->n_nameless);
    if (l->end >= LOOK_FAILED && p->health.state != FLEET_DOWN)
        return false; /* one failure: nothing has changed yet */
    if (strcmp(text, p->reason) == 0)
        return false;
    memcpy(p->reason, text, sizeof text);
    return true;
}

/* Keeps l as what is known, if it knows anything. Returns what is to be freed. */
static struct look *take_facts(struct endpoint *p, struct look *l, bool *changed) {
    bool emptied = l->wants_key && !l->has_list && p->facts;
    if (!l->has_list && !emptied)
        return l;
    keep_dates(l, p->facts);
    *changed = *changed || !same_facts(p->facts, l);
    struct look *old = p->facts;
    p->facts = l;
    return old;
}

static void on_looked(void *owner, struct look *l) {
    struct endpoint *p = owner;
    struct cell *c = p->cell;
    uint64_t now_ms = loop_now_ms(p->home->loop), n_ok = atomic_load(&c->n_ok);
    enum fleet_state was = p->health.state;
    const struct runtime *rt_was = p->rt;
    p->look = NULL;
    if (l->rt && l->rt != p->rt) {
        p->rt = l->rt;
        p->rt_since_ms = now_ms;
    }
    if (l->mismatch) {
        p->rt_since_ms = 0; /* fingerprint again next time */
        if (p->kind != CONFIG_KIND_AUTO)
            look_fail(l, LOOK_POOR, "it does not answer like %s: is its kind set right?", p->rt->title);
    }
    if (l->answered)
        p->alive_ms = now_ms;
    p->wants_key = l->wants_key;
    /* A place that tells of itself is believed at once: requests that succeeded before are no doubt about its word. */
    bool changed = health_take(&p->health, l->end, !p->fed && n_ok != p->seen_ok, now_ms);
    if (changed)
        p->since_ms = clock_wall_ms();
    if (p->health.state == FLEET_DOWN)
        p->rt_since_ms = 0; /* whatever comes back there may be something else */
    bool restarted = was == FLEET_DOWN && p->health.state != FLEET_DOWN;
    changed = explain(p, l) || changed || p->rt != rt_was || p->n_looks == 0;
    struct sv version = p->facts ? p->facts->version : SV_NULL;
    restarted = restarted || (l->has_list && version.n && l->version.n && !sv_eq(version, l->version));
    look_free(take_facts(p, l, &changed));
    if (restarted)
        restart_breaker(p);
    if (was != p->health.state || rt_was != p->rt)
        log_change(p);
    p->seen_ok = n_ok;
    p->n_looks++;
    plan(p);
    if (changed)
        p->home->on_change(p->home->owner, p); /* last: p may be gone now */
}

void endpoint_look(struct endpoint *p, bool again) {
    uint64_t now_ms = loop_now_ms(p->home->loop);
    if (p->look || p->demo || p->fed)
        return;
    bool guess = p->kind == CONFIG_KIND_AUTO &&
                 (again || !p->rt || p->rt_since_ms == 0 || now_ms - p->rt_since_ms >= ENDPOINT_KIND_MS);
    struct probe_place at = { .client = p->home->client, .dialer = p->dialer, .host = sv_of(p->host),
                              .base_path = sv_of(p->base_path), .auth = sv_of(p->auth) };
    p->look_ms = now_ms;
    p->seen_row = atomic_load(&p->cell->failed_in_row);
    timer_stop(p->home->loop, &p->next);
    p->look = look_new(p->home->loop, &at, guess ? NULL : p->rt, &p->notes, on_looked, p);
    if (!p->look)
        plan(p); /* no memory: later */
    else if (guess)
        p->rt_since_ms = now_ms;
}

static bool copy_models(struct look *l, const struct fleet_fed *fed) {
    for (size_t i = 0; i < fed->n_models; i++) {
        const struct fleet_model *from = &fed->models[i];
        struct fleet_model *to = look_add(l, from->id);
        if (!to)
            continue; /* a name that is none, or twice; without memory the arena tells */
        struct sv id = to->id;
        *to = *from;
        to->id = id;
        to->family = look_keep(l, from->family);
        to->params = look_keep(l, from->params);
        to->quant = look_keep(l, from->quant);
        to->format = look_keep(l, from->format);
        to->digest = look_keep(l, from->digest);
    }
    return !l->arena.overflow;
}

bool endpoint_feed(struct endpoint *p, const struct fleet_fed *fed) {
    static const enum look_end ends[] = { [FLEET_UNKNOWN] = LOOK_FAILED, [FLEET_UP] = LOOK_GOOD, [FLEET_DEGRADED] = LOOK_POOR, [FLEET_LOADING] = LOOK_LOADING,
                                          [FLEET_DOWN] = LOOK_REFUSED };
    struct look *l = mem_new(sizeof *l);
    if (!l)
        return false;
    look_init(l, runtime_of(CONFIG_KIND_DROVER));
    l->loop = p->home->loop;
    l->has_list = fed->has_models;
    l->answered = fed->state != FLEET_DOWN;
    l->version = look_keep(l, fed->version);
    if (!copy_models(l, fed)) {
        look_free(l);
        return false;
    }
    if (fed->state != FLEET_UP)
        look_fail(l, ends[fed->state], "%.*s", SV_FMT(fed->reason));
    on_looked(p, l);
    return true;
}

void endpoint_watch(struct endpoint *p) {
    timer_set(p->home->loop, &p->next, 0, on_time, p);
}

bool endpoint_tick(struct endpoint *p, uint64_t now_ms) {
    struct cell *c = p->cell;
    struct breaker_counts now = { atomic_load_explicit(&c->n_ok, memory_order_relaxed),
                                  atomic_load_explicit(&c->n_failed, memory_order_relaxed),
                                  atomic_load_explicit(&c->failed_in_row, memory_order_relaxed) };
    bool busy = now.n_ok != p->breaker.seen_ok || now.n_failed != p->breaker.seen_failed;
    if (breaker_tick(&p->breaker, now, now_ms, rand_below(UINT32_MAX))) {
        atomic_store_explicit(&c->breaker, p->breaker.word, memory_order_release);
        log_event(p->breaker.word == BREAKER_OPEN ? LOG_WARN : LOG_INFO,
                  p->breaker.word == BREAKER_OPEN     ? "circuit breaker opened"
                  : p->breaker.word == BREAKER_TRIAL ? "circuit breaker lets a request try"
                                                     : "circuit breaker closed",
                  F_STR("endpoint", p->name), F_U64("open_ms", p->breaker.open_ms), F_U64("failed_in_row", now.failed_in_row));
    }
    if (now.failed_in_row > p->seen_row && now_ms - p->look_ms >= ENDPOINT_SOON_MS)
        endpoint_look(p, false);
    return busy || p->breaker.word != BREAKER_CLOSED;
}

/* --- showing ------------------------------------------------------------------------------------------------------ */

static const struct { unsigned config, speaks; } words[] = {
    { CONFIG_DIALECT_OPENAI_CHAT, LLM_SPEAKS_CHAT },
    { CONFIG_DIALECT_OPENAI_COMPLETIONS, LLM_SPEAKS_COMPLETIONS },
    { CONFIG_DIALECT_OPENAI_RESPONSES, LLM_SPEAKS_RESPONSES },
    { CONFIG_DIALECT_OPENAI_EMBEDDINGS, LLM_SPEAKS_EMBEDDINGS },
    { CONFIG_DIALECT_ANTHROPIC, LLM_SPEAKS_ANTHROPIC | LLM_SPEAKS_ANTHROPIC_COUNT },
    { CONFIG_DIALECT_OLLAMA, LLM_SPEAKS_OLLAMA },
    { CONFIG_DIALECT_LMSTUDIO, LLM_SPEAKS_LMSTUDIO0 | LLM_SPEAKS_LMSTUDIO1 },
};
_Static_assert(sizeof words / sizeof words[0] == CONFIG_DIALECT_COUNT, "a dialect of the configuration is missing here");

/* What the operator leaves of what the runtime offers. Dialects without a word in the configuration cannot be meant by it and
 * stay. Of a server nobody knows the operator's word is all there is. */
static unsigned narrowed(unsigned speaks, unsigned dialects, const struct runtime *rt) {
    unsigned named = 0, wanted = 0;
    if (!dialects)
        return speaks;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        named |= words[i].speaks;
        if (dialects & 1u << words[i].config)
            wanted |= words[i].speaks;
    }
    return rt->kind == CONFIG_KIND_OPENAI ? (speaks & ~named) | wanted : speaks & (~named | wanted);
}

/* A dialect known to be incomplete is still used where the endpoint leaves nothing to translate it to. */
static unsigned worth_avoiding(unsigned speaks, unsigned deficient) {
    static const enum llm_api apis[] = { LLM_CHAT, LLM_COMPLETIONS, LLM_RESPONSES, LLM_MESSAGES };
    unsigned ret = 0;
    for (size_t i = 0; i < sizeof apis / sizeof apis[0]; i++)
        if ((deficient & llm_speaks(apis[i])) && (translate_through(apis[i]) & speaks & ~deficient))
            ret |= llm_speaks(apis[i]);
    return ret;
}

static void show_demo(struct fleet_endpoint *out) {
    static const struct fleet_model model = {
        .id = { "drover-demo", 11 }, .context = 4096, .context_max = 4096, .can = LLM_CAN_CHAT, .can_known = true,
        .loaded = FLEET_LOADED_YES,
    };
    out->kind = SV("demo");
    out->models = &model;
    out->n_models = 1;
    out->speaks = LLM_SPEAKS_CHAT | LLM_SPEAKS_COMPLETIONS;
    out->usage_switch = true;
}

void endpoint_show(const struct endpoint *p, struct fleet_endpoint *out) {
    const struct runtime *rt = p->rt;
    const struct look *f = p->facts;
    *out = (struct fleet_endpoint){
        .name = sv_of(p->name),
        .url = sv_of(p->url),
        .reason = sv_of(p->reason),
        .kind = sv_of(rt ? runtime_name(rt->kind) : "unknown"),
        .version = f ? f->version : SV_NULL,
        .state = p->health.state,
        .since_ms = p->since_ms,
        .dialer = p->dialer,
        .host = sv_of(p->host),
        .base_path = sv_of(p->base_path),
        .auth = sv_of(p->auth),
        .local = p->local,
        .is_node = p->fed,
        .is_many = rt && rt->kind == CONFIG_KIND_DROVER,
        .demo = p->demo,
        .cell = p->cell,
        .weight = 100,
    };
    if (p->demo) {
        show_demo(out);
        return;
    }
    if (f) {
        out->models = f->models;
        out->n_models = f->n_models;
        out->no_v1 = f->no_v1;
    }
    if (rt) {
        out->pool_idle_ms = p->fed ? 0 : runtime_pool_idle_ms(rt); /* a stream of a link is for one exchange */
        out->speaks = runtime_speaks(rt, out->version) & ~(f ? f->lacks : 0);
        out->quirks = rt->quirks;
        out->ways = rt->ways;
        out->usage_switch = true; /* all of them know it, or ignore it: the reference on metering, section 2 */
        out->no_chunked_requests = rt->no_chunked;
    }
    const struct config_endpoint *s = p->settings;
    if (s) {
        out->speaks = rt ? narrowed(out->speaks, s->dialects, rt) : 0;
        out->max_concurrent = s->max_concurrent > 0 ? (uint32_t)s->max_concurrent : 0;
        out->weight = (uint32_t)s->weight;
        out->priority = s->priority;
        out->watts = (uint32_t)s->watts;
        out->media = s->media_urls;
    }
    out->deficient = rt ? worth_avoiding(out->speaks, rt->deficient) : 0;
}
