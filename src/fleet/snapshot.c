/* fleet/snapshot.c - from endpoints and their models to names and targets.
 *
 * Every (endpoint, model) pair is one target; targets whose models have the same public name share a slug. Then come the
 * operator's own names: each picks targets by "endpoint/model" or "model". All of a snapshot lives in its arena. */
#include "fleet/snapshot.h"

#include <sodium.h>
#include <stdlib.h>

struct growing { /* a slug while it is built */
    struct fleet_slug slug;
    const struct fleet_target **targets;
    size_t cap;
};

struct building {
    struct snapshot *s;
    const struct snapshot_source *src;
    struct arena *a;
    struct growing *slugs;  /* room for all */
    size_t n_slugs;
    struct map by_name;     /* of struct growing */
    struct fleet_pattern *patterns;
    size_t n_patterns;
};

struct snapshot *snapshot_ref(struct snapshot *s) {
    if (s)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct snapshot *snapshot_unref(struct snapshot *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    for (size_t i = 0; i < s->n_targets; i++)
        cell_unref(s->targets[i].cell);
    for (size_t i = 0; i < s->n_endpoints; i++) {
        dialer_unref(s->endpoints[i].dialer);
        cell_unref(s->endpoints[i].cell);
    }
    map_deinit(&s->by_name);
    arena_deinit(&s->arena);
    mem_free(s);
    return NULL;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._:/@-+", c) != NULL;
}

bool slug_is_clean(struct sv name) {
    if (name.n == 0 || name.n > SLUG_MAX || name.p[0] == '/' || name.p[name.n - 1] == '/')
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] == '\0' || !name_char(name.p[i]))
            return false;
    return sv_find(name, SV("..")) < 0 && sv_find(name, SV("//")) < 0;
}

struct sv slug_from_id(struct arena *a, struct sv id) {
    if (slug_is_clean(id))
        return id;
    ptrdiff_t slash = sv_rfind_char(id, '/'), back = sv_rfind_char(id, '\\');
    struct sv last = sv_from(id, (size_t)((slash > back ? slash : back) + 1));
    last = sv_first(last, SLUG_MAX);
    char *p = arena_alloc(a, last.n + 1);
    if (!p)
        return SV_NULL;
    for (size_t i = 0; i < last.n; i++)
        p[i] = last.p[i] && name_char(last.p[i]) ? last.p[i] : '-';
    for (size_t i = 1; i < last.n; i++)
        if (p[i] == '.' && p[i - 1] == '.')
            p[i] = '-';
    return last.n ? (struct sv){ p, last.n } : SV("unnamed");
}

void slug_opaque(const unsigned char key[OPAQUE_KEY_BYTES], struct sv endpoint, struct sv id, char ret[OPAQUE_CHARS + 1]) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char out[16];
    uint64_t n = endpoint.n; /* the length keeps ("ab", "c") and ("a", "bc") apart */
    crypto_generichash_state st;
    crypto_generichash_init(&st, key, OPAQUE_KEY_BYTES, sizeof out);
    crypto_generichash_update(&st, (const unsigned char *)&n, sizeof n);
    crypto_generichash_update(&st, (const unsigned char *)(endpoint.p ? endpoint.p : ""), endpoint.n);
    crypto_generichash_update(&st, (const unsigned char *)(id.p ? id.p : ""), id.n);
    crypto_generichash_final(&st, out, sizeof out);
    unsigned __int128 v = 0;
    memcpy(&v, out, sizeof v);
    for (int i = 0; i < OPAQUE_CHARS; i++) {
        ret[i] = digits[(unsigned)(v % 62)];
        v /= 62;
    }
    ret[OPAQUE_CHARS] = '\0';
}

/* --- copying ------------------------------------------------------------------------------------------------------ */

static bool copy_views(struct arena *a, struct sv *const views[], size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct sv copy = arena_sv(a, *views[i]);
        if (!copy.p)
            return false;
        *views[i] = copy;
    }
    return true;
}

static bool copy_model(struct arena *a, struct fleet_model *m) {
    struct sv *const views[] = { &m->id, &m->family, &m->params, &m->quant, &m->format, &m->digest };
    return copy_views(a, views, sizeof views / sizeof views[0]);
}

static bool copy_endpoint(struct building *b, const struct fleet_endpoint *from, struct fleet_endpoint *to, unsigned index) {
    *to = *from;
    to->index = index;
    to->dialer = dialer_ref(from->dialer);
    to->cell = cell_ref(from->cell);
    b->s->n_endpoints = index + 1; /* from here on snapshot_unref gives back what was shared */
    struct sv *const views[] = { &to->name, &to->url, &to->kind, &to->version, &to->reason, &to->host, &to->base_path,
                                 &to->auth };
    struct fleet_model *models = ARENA_ARRAY(b->a, struct fleet_model, from->n_models ? from->n_models : 1);
    if (!models || !copy_views(b->a, views, sizeof views / sizeof views[0]))
        return false;
    for (size_t i = 0; i < from->n_models; i++) {
        models[i] = from->models[i];
        if (!copy_model(b->a, &models[i]))
            return false;
    }
    to->models = models;
    return true;
}

/* --- slugs -------------------------------------------------------------------------------------------------------- */

static struct growing *slug_named(struct building *b, struct sv name) {
    struct growing *g = map_get(&b->by_name, name);
    if (g)
        return g;
    g = &b->slugs[b->n_slugs];
    g->slug.name = name;
    if (!map_put(&b->by_name, name, g))
        return NULL;
    b->n_slugs++;
    return g;
}

static bool slug_add(struct building *b, struct growing *g, const struct fleet_target *t) {
    for (size_t i = 0; i < g->slug.n_targets; i++)
        if (g->targets[i] == t)
            return true;
    if (g->slug.n_targets == SCHEDULE_TARGETS_MAX)
        return true;
    if (g->slug.n_targets == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 2;
        const struct fleet_target **more = ARENA_ARRAY(b->a, const struct fleet_target *, cap);
        if (!more)
            return false;
        if (g->cap)
            memcpy(more, g->targets, g->slug.n_targets * sizeof *more);
        g->targets = more;
        g->cap = cap;
    }
    g->targets[g->slug.n_targets++] = t;
    return true;
}

static bool add_target(struct building *b, struct fleet_target *t, const struct fleet_endpoint *p, const struct fleet_model *m) {
    t->endpoint = p;
    t->model = m;
    t->cell = cell_ref(b->src->cells.target_cell(b->src->cells.arg, p, m->id));
    if (!t->cell)
        return false;
    char opaque[OPAQUE_CHARS + 1];
    static const unsigned char no_key[OPAQUE_KEY_BYTES] = { 0 };
    slug_opaque(no_key, p->name, m->id, opaque);
    memcpy(&t->id_hash, opaque, sizeof t->id_hash);
    struct sv name;
    if (b->src->opaque_key && !p->demo) {
        slug_opaque(b->src->opaque_key, p->name, m->id, opaque);
        name = arena_sv(b->a, (struct sv){ opaque, OPAQUE_CHARS });
    } else {
        name = slug_from_id(b->a, m->id);
    }
    struct growing *g = name.p ? slug_named(b, name) : NULL;
    return g && slug_add(b, g, t);
}

/* "cfg/gamma", where an endpoint is called cfg: that one alone is meant, whatever models of others call themselves. */
static bool names_endpoint(const struct building *b, struct sv words) {
    for (size_t i = 0; i < b->s->n_endpoints; i++) {
        struct sv name = b->s->endpoints[i].name;
        if (sv_starts(words, name) && words.n > name.n + 1 && words.p[name.n] == '/')
            return true;
    }
    return false;
}

/* Whether the operator's words "endpoint/model" or "model" mean this target. */
static bool means(const struct building *b, struct sv words, const struct fleet_target *t) {
    struct sv name = t->endpoint->name, id = t->model->id, rest = words;
    if (sv_starts(words, name) && words.n > name.n + 1 && words.p[name.n] == '/') {
        rest = sv_from(words, name.n + 1);
        if (sv_glob(rest, id) || (rest.n + 7 == id.n && sv_starts(id, rest) && sv_ends(id, SV(":latest"))))
            return true;
    }
    if (names_endpoint(b, words))
        return false;
    return sv_glob(words, id) || (words.n + 7 == id.n && sv_starts(id, words) && sv_ends(id, SV(":latest")));
}

static bool copy_list(struct building *b, const struct config_list *from, const struct sv **ret) {
    struct sv *v = ARENA_ARRAY(b->a, struct sv, from->n ? from->n : 1);
    for (size_t i = 0; v && i < from->n; i++) {
        v[i] = arena_sv(b->a, from->v[i]);
        if (!v[i].p)
            return false;
    }
    *ret = v;
    return v != NULL;
}

static bool add_alias(struct building *b, struct sv alias, const struct growing *of) {
    struct sv name = arena_sv(b->a, alias);
    struct growing *g = name.p && !map_get(&b->by_name, name) ? slug_named(b, name) : NULL;
    if (!name.p)
        return false;
    if (!g)
        return true; /* a model has that name already: the model wins */
    g->slug = of->slug;
    g->slug.alias_of = of->slug.name;
    g->slug.name = name;
    g->slug.is_alias = true;
    g->slug.hidden = false; /* also for the alias of a pattern */
    g->targets = of->targets;
    g->cap = 0;
    return true;
}

static bool add_configured(struct building *b, const struct config_model *m) {
    struct sv name = arena_sv(b->a, m->slug);
    if (!name.p)
        return false;
    bool pattern = sv_find_char(name, '*') >= 0;
    struct growing *g;
    if (pattern) {
        g = &b->slugs[b->n_slugs++];
        g->slug.name = name;
        g->slug.hidden = true;
    } else {
        g = slug_named(b, name);
        if (!g)
            return false;
        g->slug.n_targets = 0; /* what a person wrote wins over a model that happens to have the name */
        g->slug.is_alias = false;
        g->slug.alias_of = SV_NULL;
    }
    g->slug.strict = m->strict;
    g->slug.reasoning = m->reasoning;
    g->slug.context_guard = m->context_guard;
    g->slug.system = m->system;
    g->slug.defaults = m->defaults;
    g->slug.force = m->force;
    g->slug.price = m->price;
    if (!copy_views(b->a, (struct sv *const[]){ &g->slug.system, &g->slug.defaults, &g->slug.force }, 3))
        return false;
    g->slug.amends = m->reasoning != CONFIG_REASONING_ASIS || m->context_guard || m->system.n;
    g->slug.n_fallback = m->fallback.n;
    if (!copy_list(b, &m->fallback, &g->slug.fallback))
        return false;
    for (size_t w = 0; w < m->targets.n; w++)
        for (size_t i = 0; i < b->s->n_targets; i++)
            if (means(b, m->targets.v[w], &b->s->targets[i]) && !slug_add(b, g, &b->s->targets[i]))
                return false;
    if (pattern)
        b->patterns[b->n_patterns++] = (struct fleet_pattern){ .glob = name, .slug = (const void *)g };
    for (size_t i = 0; i < m->aliases.n; i++)
        if (!add_alias(b, m->aliases.v[i], g))
            return false;
    return true;
}

static int by_listing(const void *x, const void *y) {
    const struct fleet_slug *a = x, *b = y;
    bool ha = a->is_alias || a->hidden, hb = b->is_alias || b->hidden;
    if (ha != hb)
        return ha ? 1 : -1;
    size_t n = a->name.n < b->name.n ? a->name.n : b->name.n;
    int c = n ? memcmp(a->name.p, b->name.p, n) : 0;
    return c ? c : a->name.n < b->name.n ? -1 : a->name.n > b->name.n;
}

static bool finish(struct building *b) {
    struct snapshot *s = b->s;
    struct fleet_slug *slugs = ARENA_ARRAY(b->a, struct fleet_slug, b->n_slugs + 1);
    if (!slugs)
        return false;
    for (size_t i = 0; i < b->n_slugs; i++) {
        slugs[i] = b->slugs[i].slug;
        slugs[i].targets = b->slugs[i].targets;
    }
    qsort(slugs, b->n_slugs, sizeof *slugs, by_listing);
    s->slugs = slugs;
    s->n_slugs = b->n_slugs;
    for (size_t i = 0; i < b->n_slugs; i++) {
        if (!slugs[i].is_alias && !slugs[i].hidden)
            s->n_listed = i + 1;
        if (!slugs[i].hidden && !map_put(&s->by_name, slugs[i].name, &slugs[i]))
            return false;
    }
    for (size_t p = 0; p < b->n_patterns; p++) {
        const struct growing *g = (const void *)b->patterns[p].slug;
        for (size_t i = 0; i < s->n_slugs; i++)
            if (slugs[i].hidden && slugs[i].name.p == g->slug.name.p)
                b->patterns[p].slug = &slugs[i];
    }
    s->patterns = b->patterns;
    s->n_patterns = b->n_patterns;
    return true;
}

static bool build(struct building *b) {
    const struct snapshot_source *src = b->src;
    size_t n_targets = 0, n_names = src->n_models + 1, n = 0;
    struct fleet_endpoint *endpoints = ARENA_ARRAY(b->a, struct fleet_endpoint, src->n_endpoints ? src->n_endpoints : 1);
    b->s->endpoints = endpoints;
    for (size_t i = 0; endpoints && i < src->n_endpoints; i++) {
        if (!copy_endpoint(b, &src->endpoints[i], &endpoints[i], (unsigned)i))
            return false;
        n_targets += endpoints[i].n_models;
    }
    for (size_t i = 0; i < src->n_models; i++)
        n_names += src->models[i].aliases.n;
    struct fleet_target *targets = ARENA_ARRAY(b->a, struct fleet_target, n_targets ? n_targets : 1);
    b->slugs = ARENA_ARRAY(b->a, struct growing, n_targets + n_names);
    b->patterns = ARENA_ARRAY(b->a, struct fleet_pattern, src->n_models ? src->n_models : 1);
    b->s->targets = targets;
    if (!endpoints || !targets || !b->slugs || !b->patterns)
        return false;
    for (size_t i = 0; i < src->n_endpoints; i++) {
        for (size_t m = 0; m < endpoints[i].n_models; m++) {
            b->s->n_targets = n + 1;
            if (!add_target(b, &targets[n++], &endpoints[i], &endpoints[i].models[m]))
                return false;
        }
    }
    for (size_t i = 0; i < src->n_models; i++)
        if (!add_configured(b, &src->models[i]))
            return false;
    return finish(b);
}

struct snapshot *snapshot_build(const struct snapshot_source *src, struct err *e) {
    struct snapshot *s = mem_new(sizeof *s);
    if (!s) {
        err_no_memory(e);
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->version = src->version;
    s->is_opaque = src->opaque_key != NULL;
    map_init(&s->by_name);
    arena_init(&s->arena, SNAPSHOT_BYTES_MAX, NULL);
    struct building b = { .s = s, .src = src, .a = &s->arena };
    map_init(&b.by_name);
    bool ok = build(&b);
    map_deinit(&b.by_name);
    if (!ok) {
        err_no_memory(e);
        return snapshot_unref(s);
    }
    return s;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static const struct fleet_slug *find_plain(const struct snapshot *s, struct sv name) {
    const struct fleet_slug *slug = map_get(&s->by_name, name);
    char latest[SLUG_MAX + 8];
    if (!slug && name.n && name.n <= SLUG_MAX && sv_find_char(name, ':') < 0) {
        memcpy(latest, name.p, name.n);
        memcpy(latest + name.n, ":latest", 7);
        slug = map_get(&s->by_name, (struct sv){ latest, name.n + 7 });
    }
    if (!slug && sv_ends(name, SV(":latest")))
        slug = map_get(&s->by_name, sv_first(name, name.n - 7));
    for (size_t i = 0; !slug && i < s->n_patterns; i++)
        if (sv_glob(s->patterns[i].glob, name))
            slug = s->patterns[i].slug;
    return slug;
}

/* Under opaque names none can be named. */
static bool has_endpoint(const struct snapshot *s, struct sv name) {
    for (size_t i = 0; i < s->n_endpoints && !s->is_opaque; i++)
        if (sv_eq(s->endpoints[i].name, name))
            return true;
    return false;
}

const struct fleet_slug *snapshot_find(const struct snapshot *s, struct sv asked, struct sv *ret_node) {
    *ret_node = SV_NULL;
    ptrdiff_t at = sv_rfind_char(asked, '@');
    /* A place that is named is meant, also where a model of another calls itself so. */
    const struct fleet_slug *slug = at > 0 && has_endpoint(s, sv_from(asked, (size_t)at + 1)) ? find_plain(s, sv_first(asked, (size_t)at)) : NULL;
    if (!slug)
        return find_plain(s, asked);
    *ret_node = sv_from(asked, (size_t)at + 1);
    return slug;
}

/* Levenshtein distance, up to 64 bytes of each. */
static unsigned distance(struct sv a, struct sv b) {
    enum { LONGEST = 64 };
    unsigned row[LONGEST + 1];
    a = sv_first(a, LONGEST);
    b = sv_first(b, LONGEST);
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned up = row[j], best = corner + (a.p[i - 1] != b.p[j - 1]);
            best = best < up + 1 ? best : up + 1;
            best = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
            corner = up;
            row[j] = best;
        }
    }
    return row[b.n];
}

struct sv snapshot_suggest(const struct snapshot *s, struct sv asked, struct arena *a) {
    enum { SHOWN = 3 };
    struct sv near[SHOWN];
    unsigned dist[SHOWN], n = 0;
    for (size_t i = 0; i < s->n_listed && i < 1000; i++) {
        struct sv name = s->slugs[i].name;
        unsigned d = sv_find(name, asked) >= 0 && asked.n > 2 ? 1 : distance(asked, name);
        if (d > asked.n / 2 + 1)
            continue;
        unsigned at = n < SHOWN ? n : SHOWN;
        while (at > 0 && dist[at - 1] > d)
            at--;
        for (unsigned j = n < SHOWN ? n : SHOWN - 1; j > at; j--) {
            near[j] = near[j - 1];
            dist[j] = dist[j - 1];
        }
        if (at < SHOWN) {
            near[at] = name;
            dist[at] = d;
            n += n < SHOWN;
        }
    }
    if (n == 0)
        return SV_NULL;
    char *text = n == 1 ? arena_printf(a, "%.*s", SV_FMT(near[0]))
               : n == 2 ? arena_printf(a, "%.*s, %.*s", SV_FMT(near[0]), SV_FMT(near[1]))
                        : arena_printf(a, "%.*s, %.*s, %.*s", SV_FMT(near[0]), SV_FMT(near[1]), SV_FMT(near[2]));
    return sv_of(text);
}
