/* config/names.c - names of the document that lead nowhere in it: a target's endpoint, a fallback, and fallbacks that go in a
 * circle. None of it is a fault, since discovery may find an endpoint of that name and a runtime may list a model of it. Most
 * are slips, though, and without a word they show only as a client's 404. */
#include <stdio.h>

#include "config/load.h"

enum { KEY_MAX = 96, NEAR = 2 }; /* edits a slip may be away from what was meant */

enum mark { UNSEEN, UNDER_WAY, DONE };

struct names {
    struct loader *l;
    struct map endpoints;      /* of struct config_endpoint */
    struct map slugs;          /* of struct config_model; aliases too */
    const struct node **items; /* of the document, by index in models */
    enum mark *marks;
};

/* What another variable or file put there is not repeated. */
static const char *show(const struct node *at, struct sv name, char text[static QUOTED_MAX]) {
    return at->expanded ? "what stands here" : quoted(name, text);
}

/* "; did you mean "near"?", or nothing. */
static char *suggest(const struct names *w, const struct map *known, struct sv name, char text[static QUOTED_MAX + 32]) {
    size_t best = NEAR + 1, at = 0;
    char near[QUOTED_MAX];
    text[0] = '\0';
    if (w->l->report->n_warnings == CONFIG_WARNINGS_MAX)
        return text; /* only counted */
    for (struct map_entry *e; (e = map_next(known, &at));) {
        size_t d = edit_distance(name, e->key, NEAR);
        if (d >= best || d >= name.n)
            continue;
        best = d;
        snprintf(text, QUOTED_MAX + 32, "; did you mean %s?", quoted(e->key, near));
    }
    return text;
}

static const struct node *entry(const struct node *item, const char *list, size_t i) {
    const struct node *n = node_child(item, list);
    for (n = n == item ? NULL : n->first; n && i--;)
        n = n->next;
    return n ? n : item;
}

/* A bare model's id may hold a slash, too: only where the file names endpoints does the first part say anything. */
static void check_target(struct names *w, size_t i, size_t t) {
    struct sv target = w->l->c->models[i].targets.v[t], rest = target, name;
    char key[KEY_MAX], shown[QUOTED_MAX], whole[QUOTED_MAX], near[QUOTED_MAX + 32];
    if (!w->l->c->n_endpoints || !sv_cut(&rest, '/', &name) || sv_find_char(name, '*') >= 0 || map_get(&w->endpoints, name))
        return;
    const struct node *at = entry(w->items[i], "targets", t);
    snprintf(key, sizeof key, "models[%zu].targets[%zu]", i, t);
    WARN(w->l, at, key, "%s is no endpoint of this file: it leads somewhere only if one is found under that name, or a runtime "
         "lists %s as a whole%s", show(at, name, shown), show(at, target, whole), suggest(w, &w->endpoints, name, near));
}

/* Whoever serves a fallback, as fleet/snapshot.c finds it: a slug, an alias, the same with or without ":latest", a pattern. */
static const struct config_model *find(const struct names *w, struct sv name) {
    const struct config *c = w->l->c;
    const struct config_model *m = map_get(&w->slugs, name);
    if (!m && sv_ends(name, SV(":latest")))
        m = map_get(&w->slugs, sv_first(name, name.n - 7));
    for (size_t i = 0; i < c->n_models && !m; i++)
        if (sv_find_char(c->models[i].slug, '*') >= 0 && sv_glob(c->models[i].slug, name))
            m = &c->models[i];
    return m;
}

static void check_fallback(struct names *w, size_t i, size_t f, const struct config_model *to) {
    struct sv name = w->l->c->models[i].fallback.v[f];
    char key[KEY_MAX], shown[QUOTED_MAX], near[QUOTED_MAX + 32];
    const struct node *at = entry(w->items[i], "fallback", f);
    snprintf(key, sizeof key, "models[%zu].fallback[%zu]", i, f);
    if (!to)
        WARN(w->l, at, key, "%s is no slug or alias of this file: it leads somewhere only if a runtime lists a model of that name%s",
             show(at, name, shown), suggest(w, &w->slugs, name, near));
    else if (w->marks[to - w->l->c->models] == UNDER_WAY)
        WARN(w->l, at, key, "goes in a circle: %s falls back to this one, by itself or by way of others", quoted(to->slug, shown));
}

/* Depth first; CONFIG_MODELS_MAX bounds how deep. */
static void follow(struct names *w, size_t i) {
    const struct config_model *m = &w->l->c->models[i];
    w->marks[i] = UNDER_WAY;
    for (size_t f = 0; f < m->fallback.n; f++) {
        const struct config_model *to = find(w, m->fallback.v[f]);
        check_fallback(w, i, f, to);
        if (to && w->marks[to - w->l->c->models] == UNSEEN)
            follow(w, (size_t)(to - w->l->c->models));
    }
    w->marks[i] = DONE;
}

static bool gather(struct names *w, const struct node *item) {
    struct config *c = w->l->c;
    w->items = ARENA_ARRAY(&w->l->tmp, const struct node *, c->n_models);
    w->marks = ARENA_ARRAY(&w->l->tmp, enum mark, c->n_models);
    bool ok = w->items && w->marks;
    for (size_t i = 0; i < c->n_endpoints && ok; i++)
        ok = map_put(&w->endpoints, c->endpoints[i].name, (void *)(uintptr_t)&c->endpoints[i]);
    for (size_t i = 0; i < c->n_models && ok; i++, item = item->next) {
        const struct config_model *m = &c->models[i];
        w->items[i] = item;
        ok = map_put(&w->slugs, m->slug, (void *)(uintptr_t)m);
        for (size_t a = 0; a < m->aliases.n && ok; a++)
            ok = map_put(&w->slugs, m->aliases.v[a], (void *)(uintptr_t)m);
    }
    return ok;
}

void check_names(struct loader *l) {
    struct names w = { .l = l };
    if (!l->c->n_models)
        return;
    map_init(&w.endpoints);
    map_init(&w.slugs);
    if (gather(&w, l->models)) {
        for (size_t i = 0; i < l->c->n_models; i++) {
            for (size_t t = 0; t < l->c->models[i].targets.n; t++)
                check_target(&w, i, t);
            if (w.marks[i] == UNSEEN)
                follow(&w, i);
        }
    } else {
        no_memory(l);
    }
    map_deinit(&w.endpoints);
    map_deinit(&w.slugs);
}
