/* gateway/local.c - what Drover answers from what it knows: health, metrics, version, and the merged lists of models. */
#include "gateway/exchange.h"

#include "base/clock.h"
#include "http/url.h"
#include "version.h"

enum { ANSWER_MAX = 16 << 20 };

/* --- health ------------------------------------------------------------------------------------------------------- */

static void healthz(struct gateway *g, struct http_in *in) {
    (void)g;
    answer__reply(in, 200, SV("application/json"), SV("{\"status\":\"ok\"}\n"));
}

static bool can_serve(const struct snapshot *s) {
    for (size_t i = 0; s && i < s->n_targets; i++)
        if (s->targets[i].endpoint->state == FLEET_UP || s->targets[i].endpoint->state == FLEET_DEGRADED)
            return true;
    return false;
}

/* What is not recorded cannot be charged, so requests of keys are refused while the records cannot be written: where there are keys this
 * Drover is not ready. */
static bool refuses_keys(const struct gateway *g) {
    return g->access && g->access->n_keys && g->shared->ledger && !ledger_is_well(g->shared->ledger);
}

static void readyz(struct gateway *g, struct http_in *in) {
    if (refuses_keys(g))
        answer__reply(in, 503, SV("application/json"), SV("{\"status\":\"records cannot be written, so requests of keys are refused\"}\n"));
    else if (can_serve(g->snapshot))
        answer__reply(in, 200, SV("application/json"), SV("{\"status\":\"ready\"}\n"));
    else
        answer__reply(in, 503, SV("application/json"), SV("{\"status\":\"no target can serve\"}\n"));
}

static void version(struct gateway *g, struct http_in *in) {
    (void)g;
    answer__reply(in, 200, SV("application/json"), SV("{\"name\":\"drover\",\"version\":\"" DROVER_VERSION "\"}\n"));
}

static void metrics(struct gateway *g, struct http_in *in) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    const struct snapshot *s = g->snapshot;
    size_t n = s ? s->n_endpoints : 0;
    struct metrics_place *places = ARENA_ARRAY(&in->arena, struct metrics_place, n + 1);
    for (size_t i = 0; places && i < n; i++) {
        const struct fleet_endpoint *p = &s->endpoints[i];
        places[i] = (struct metrics_place){ p->name, p->kind, p->state == FLEET_UP || p->state == FLEET_DEGRADED,
                                            atomic_load(&p->cell->in_flight), cell_queued(p->cell),
                                            (int)atomic_load(&p->cell->breaker) };
    }
    if (places && metrics_print(g->shared->metrics, places, n, &out) && (!g->shared->export || export_print(g->shared->export, &out)))
        answer__reply(in, 200, SV("text/plain; version=0.0.4; charset=utf-8"), buf_sv(&out));
    else
        answer__reply(in, 503, SV("text/plain"), SV("out of memory\n"));
    buf_deinit(&out);
}

static const struct {
    struct sv path;
    void (*run)(struct gateway *g, struct http_in *in);
    bool open; /* tells nothing that needs a key */
} pages[] = {
    { { "/healthz", 8 }, healthz, true },
    { { "/readyz", 7 }, readyz, true },
    { { "/version", 8 }, version, false },
    { { "/metrics", 8 }, metrics, false },
};
enum { N_PAGES = sizeof pages / sizeof pages[0] };

static size_t page_at(struct sv path) {
    size_t i = 0;
    while (i < N_PAGES && !sv_eq(path, pages[i].path))
        i++;
    return i;
}

bool local__is_page(struct sv path, bool *ret_open) {
    size_t i = page_at(path);
    *ret_open = i < N_PAGES && pages[i].open;
    return i < N_PAGES;
}

void local__page(struct gateway *g, struct http_in *in) {
    struct err e;
    if (sv_eq(in->head->method, SV("GET")) || sv_eq(in->head->method, SV("HEAD"))) {
        pages[page_at(in->head->path)].run(g, in);
        return;
    }
    err_set(&e, ERR_METHOD, "only GET works here");
    answer__error(g, in, NULL, &e, NULL);
}

/* --- models ------------------------------------------------------------------------------------------------------- */

static int64_t known(uint64_t v) {
    return v ? (int64_t)v : -1;
}

/* The facts of a slug are those of the target most likely to serve it: one that has it loaded, else the first. */
static struct llm_model_card card_of(const struct fleet_slug *s) {
    struct llm_model_card c = LLM_MODEL_CARD_UNKNOWN;
    const struct fleet_target *best = NULL;
    c.slug = s->name;
    for (size_t i = 0; i < s->n_targets; i++) {
        const struct fleet_target *t = s->targets[i];
        c.can |= t->model->can;
        c.loaded = c.loaded || t->model->loaded == FLEET_LOADED_YES;
        if (!best || (t->model->loaded == FLEET_LOADED_YES && best->model->loaded != FLEET_LOADED_YES))
            best = t;
    }
    if (!best)
        return c;
    const struct fleet_model *m = best->model;
    c.family = m->family;
    c.quant = m->quant;
    c.params = m->params;
    c.format = m->format;
    c.digest = sv_starts(m->digest, SV("sha256:")) ? sv_from(m->digest, 7) : m->digest;
    c.created = known(m->created_s);
    c.size_bytes = known(m->size_bytes);
    c.size_vram = known(m->vram_bytes);
    c.context = known(m->context ? m->context : m->context_max); /* what holds now, where that is known */
    c.loaded_context = m->loaded == FLEET_LOADED_YES ? known(m->context) : -1;
    c.expires = known(m->expires_s);
    return c;
}

typedef bool list_printer(struct buf *out, const struct llm_model_card *cards, size_t n);
typedef bool card_printer(struct buf *out, const struct llm_model_card *card);

static void finish(struct gateway *g, struct http_in *in, struct buf *out, bool ok) {
    (void)g;
    if (ok)
        answer__reply(in, 200, SV("application/json"), buf_sv(out));
    else
        answer__reply(in, 503, SV("application/json"), SV("{\"error\":{\"message\":\"out of memory\"}}"));
    buf_deinit(out);
}

static void list(struct gateway *g, struct http_in *in, const struct access_key *key, list_printer *print) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    size_t n = g->snapshot ? g->snapshot->n_listed : 0, used = 0;
    struct llm_model_card *cards = mem_alloc((n + 1) * sizeof *cards);
    for (size_t i = 0; cards && i < n; i++)
        if (g->snapshot->slugs[i].n_targets && access_may_use_model(key, g->snapshot->slugs[i].name))
            cards[used++] = card_of(&g->snapshot->slugs[i]);
    finish(g, in, &out, cards && print(&out, cards, used));
    mem_free(cards);
}

static void no_model(struct gateway *g, struct http_in *in, const struct admission *who, struct sv name) {
    struct err e;
    struct sv near = g->snapshot && !who->key ? snapshot_suggest(g->snapshot, name, &in->arena) : SV_NULL; /* a key may not know them */
    err_set(&e, ERR_NO_MODEL, near.n ? "model \"%.*s\" is unknown; near: %.*s" : "model \"%.*s\" is unknown%.*s",
            SV_FMT(sv_first(name, 200)), SV_FMT(near));
    answer__error(g, in, who->route, &e, NULL);
}

static void one(struct gateway *g, struct http_in *in, const struct admission *who, struct sv name, card_printer *print) {
    struct sv node;
    const struct fleet_slug *s = g->snapshot ? snapshot_find(g->snapshot, name, &node) : NULL;
    if (!s || s->n_targets == 0 || !access_may_use_model(who->key, s->name)) {
        no_model(g, in, who, name);
        return;
    }
    struct llm_model_card c = card_of(s);
    struct buf out = BUF_MAX(ANSWER_MAX);
    finish(g, in, &out, print(&out, &c));
}

static void named_in_path(struct gateway *g, struct http_in *in, const struct admission *who, card_printer *print) {
    char name[SCAN_MODEL_MAX + 1];
    struct sv rest = llm_route_rest(who->route, in->head->path);
    size_t n = 0;
    struct err e;
    if (!percent_decode(rest, name, sizeof name, &n)) {
        err_set(&e, ERR_BAD_REQUEST, "the model's name in the path is malformed or too long");
        answer__error(g, in, who->route, &e, NULL);
        return;
    }
    one(g, in, who, (struct sv){ name, n }, print);
}

bool local__answer(struct gateway *g, struct http_in *in, const struct admission *who) {
    const struct llm_route *route = who->route;
    struct buf out = BUF_MAX(ANSWER_MAX);
    bool anthropic = http_get(in->head, SV("anthropic-version")).p != NULL;
    switch (route->api) {
    case LLM_MODELS:
        list(g, in, who->key, anthropic ? llm_list_anthropic : llm_list_openai);
        return true;
    case LLM_MODEL:
        named_in_path(g, in, who, anthropic ? llm_card_anthropic : llm_card_openai);
        return true;
    case LLM_OLLAMA_ROOT:
        answer__reply(in, 200, SV("text/plain; charset=utf-8"), SV("Ollama is running"));
        return true;
    case LLM_OLLAMA_VERSION:
        finish(g, in, &out, llm_ollama_version(&out));
        return true;
    case LLM_OLLAMA_TAGS:
        list(g, in, who->key, llm_list_ollama_tags);
        return true;
    case LLM_OLLAMA_PS:
        list(g, in, who->key, llm_list_ollama_ps);
        return true;
    case LLM_LMSTUDIO_GREETING:
        answer__reply(in, 200, SV("application/json"), SV("{\"lmstudio\":true}"));
        return true;
    case LLM_LMSTUDIO0_MODELS:
        list(g, in, who->key, llm_list_lmstudio0);
        return true;
    case LLM_LMSTUDIO0_MODEL:
        named_in_path(g, in, who, llm_card_lmstudio0);
        return true;
    case LLM_LMSTUDIO1_MODELS:
        list(g, in, who->key, llm_list_lmstudio1);
        return true;
    default:
        return false;
    }
}

/* How long a prompt is, where no runtime of the model counts: an estimate that says so is worth more to agents than a refusal. */
bool local__count(struct exchange *x) {
    bool anthropic = x->route->api == LLM_COUNT_TOKENS;
    if (!anthropic && x->route->api != LLM_RESPONSES_TOKENS)
        return false;
    for (size_t i = 0; i < x->sched.slug->n_targets; i++) {
        const struct fleet_endpoint *p = x->sched.slug->targets[i]->endpoint;
        if (p->speaks & ~p->deficient & llm_speaks(x->route->api))
            return false;
    }
    struct http_in *in = x->in;
    struct buf out = BUF_MAX(256);
    struct http_header h[] = { { SV("x-request-id"), SV_NULL }, { SV("drover-estimated"), SV("input_tokens") } };
    char id[33];
    int64_t n = meter_estimate_input(&x->scan, 0);
    answer__request_id(in, id);
    h[0].value = sv_of(id);
    buf_printf(&out, anthropic ? "{\"input_tokens\":%lld}" : "{\"object\":\"response.input_tokens\",\"input_tokens\":%lld}",
               (long long)(n > 0 ? n : 0));
    x->status = 200;
    exchange__end(x, RESULT_OK);
    http_in_reply(in, 200, h, 2, SV("application/json"), buf_sv(&out));
    buf_deinit(&out);
    return true;
}

/* Ollama's show names the model in its body. A runtime that speaks Ollama knows more than we do: it is asked, unless names are
 * opaque: its answer is full of them. */
bool local__show(struct exchange *x) {
    if (x->route->api != LLM_OLLAMA_SHOW)
        return false;
    struct sv node;
    const struct fleet_slug *s = x->snapshot ? snapshot_find(x->snapshot, x->asked, &node) : NULL;
    for (size_t i = 0; s && i < s->n_targets && x->config->slugs != CONFIG_SLUGS_OPAQUE; i++)
        if (s->targets[i]->endpoint->speaks & LLM_SPEAKS_OLLAMA && s->targets[i]->endpoint->state == FLEET_UP)
            return false;
    struct gateway *g = x->g;
    struct http_in *in = x->in;
    const struct admission who = { x->route, x->key };
    struct sv asked = x->asked; /* in the exchange, which lives until the answer is finished */
    exchange__end(x, s ? RESULT_OK : RESULT_REJECTED);
    one(g, in, &who, asked, llm_card_ollama_show);
    return true;
}
