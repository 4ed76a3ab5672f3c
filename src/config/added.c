/* config/added.c - endpoints that were added from the console, the API and the command line: the list "endpoints" of settings.yaml, behind
 * that of the configuration. Where a name is in both, the configuration's is meant and the other rests until that is gone.
 *
 * A key is sent to nobody but whom it was given for: with another address, or other certificates, it has to be given again. */
#include <stdio.h>

#include "config/load.h"

static const struct origin from_console = { FROM_CONSOLE, "console" };
static const char group[] = "endpoints";

static const struct items *the_items(void) {
    return setting_find(SV("endpoints"))->items;
}

/* One more than there are, for a new one. */
static struct config_endpoint *copy_list(struct loader *l, const struct config *layer) {
    struct config_endpoint *all = ARENA_ARRAY(&l->c->arena__, struct config_endpoint, layer->n_endpoints + 1);
    if (!all)
        no_memory(l);
    else if (layer->n_endpoints)
        memcpy(all, layer->endpoints, layer->n_endpoints * sizeof *all);
    return all;
}

static size_t find(const struct config_endpoint *all, size_t n, struct sv name) {
    size_t i = 0;
    while (i < n && !sv_eq(all[i].name, name))
        i++;
    return i;
}

/* --- one change --------------------------------------------------------------------------------------------------- */

static struct node *read_entry(struct loader *l) {
    bool empty;
    struct node *n = tree_read(l->src->endpoint->value, &from_console, &l->tmp, l->report, &empty);
    if (n && n->kind != NODE_MAP) {
        complain(l->report, &from_console, 0, 0, NULL, "expected the settings of an endpoint, such as {\"name\": \"gpu\", \"url\": \"http://10.0.0.2:8000\"}");
        return NULL;
    }
    if (!n && empty)
        complain(l->report, &from_console, 0, 0, NULL, "there is nothing to change");
    return n;
}

/* The node of "tls.ca" within an entry; NULL: there is none. */
static const struct node *member(const struct node *item, const char *path) {
    struct sv rest = sv_of(path), name;
    char text[64];
    bool more;
    do {
        more = sv_cut(&rest, '.', &name);
        if (!sv_to_cstr(more ? name : rest, text, sizeof text) || item->kind != NODE_MAP)
            return NULL;
        const struct node *child = node_child(item, text);
        if (child == item)
            return NULL;
        item = child;
    } while (more);
    return item;
}

/* What was sent as null goes back to its default, as far as it has one. */
static void reset_nulls(struct loader *l, const struct node *item, struct config_endpoint *me) {
    struct config_endpoint fresh = { 0 };
    assign_defaults(l, the_items()->prefix, &fresh);
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        const struct node *n = setting_in(s, the_items()->prefix) ? member(item, s->path + strlen(the_items()->prefix)) : NULL;
        if (n && node_is_null(n) && !s->required)
            memcpy((char *)me + s->at, (const char *)&fresh + s->at, setting_size(s->type));
    }
}

static bool goes_elsewhere(const struct config_endpoint *a, const struct config_endpoint *b) {
    return !sv_eq(a->url, b->url) || !sv_eq(a->tls.ca, b->tls.ca) || a->tls.insecure != b->tls.insecure;
}

static void assign_entry(struct loader *l, struct node *item, struct config_endpoint *all, size_t i) {
    struct config_endpoint *me = &all[i];
    const struct config_endpoint was = *me;
    bool is_new = l->src->endpoint->act == CONFIG_ENDPOINT_ADD;
    const struct node *key = member(item, "key");
    map_deinit(&l->seen);
    for (size_t other = 0; other < i; other++)
        if (!map_put(&l->seen, all[other].name, l))
            no_memory(l);
    if (is_new)
        assign_defaults(l, the_items()->prefix, me);
    else
        reset_nulls(l, item, me);
    if (key)
        me->key = (struct config_secret){ 0 };
    walk(l, item, the_items()->prefix, "", me);
    if (is_new)
        entry_check(l, the_items(), item, group);
    else if (!sv_eq(me->name, was.name))
        complain(l->report, &from_console, 0, 0, "name", "an endpoint keeps its name: remove it and add another one");
    else if (!key && me->key.n && goes_elsewhere(me, &was))
        complain(l->report, &from_console, 0, 0, "key", "give the key again, or null: with another address or other certificates it would be sent to somebody else");
    endpoint_finish(l, all, i, item);
}

static void edit(struct loader *l, struct config *layer) {
    const struct config_endpoint_edit *e = l->src->endpoint;
    struct config_endpoint *all = copy_list(l, layer);
    struct node *item = e->act == CONFIG_ENDPOINT_REMOVE ? NULL : read_entry(l);
    size_t n = layer->n_endpoints, at = e->act == CONFIG_ENDPOINT_ADD ? n : find(layer->endpoints, n, e->name);
    if (!all || (!item && e->act != CONFIG_ENDPOINT_REMOVE))
        return;
    if (e->act != CONFIG_ENDPOINT_ADD && at == n)
        complain(l->report, &from_console, 0, 0, "name", "no endpoint of this name was added here");
    else if (e->act == CONFIG_ENDPOINT_ADD && l->c->n_endpoints + n >= the_items()->max)
        complain(l->report, &from_console, 0, 0, NULL, "there are %zu endpoints already, which is all there may be", l->c->n_endpoints + n);
    else if (e->act == CONFIG_ENDPOINT_REMOVE)
        memmove(&all[at], &all[at + 1], (--n - at) * sizeof *all);
    else
        assign_entry(l, item, all, at);
    if (e->act == CONFIG_ENDPOINT_ADD) {
        if (find(l->c->endpoints, l->c->n_endpoints, all[at].name) < l->c->n_endpoints)
            complain(l->report, &from_console, 0, 0, "name", "the configuration has an endpoint of this name");
        n++;
    }
    layer->endpoints = all;
    layer->n_endpoints = n;
}

/* The caller sent one entry, not a list. */
static void name_plainly(struct config_report *r) {
    for (size_t i = 0; i < r->n + r->n_warnings; i++) {
        struct config_complaint *c = i < r->n ? &r->complaints[i] : &r->warnings[i - r->n];
        const char *rest = strstr(c->key, "].");
        if (strcmp(c->source, from_console.label) == 0 && strncmp(c->key, group, sizeof group - 1) == 0 && rest)
            memmove(c->key, rest + 2, strlen(rest + 2) + 1);
    }
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static void join(struct loader *l, const struct config *layer) {
    struct config *c = l->c;
    struct config_endpoint *all = ARENA_ARRAY(&c->arena__, struct config_endpoint, c->n_endpoints + layer->n_endpoints);
    struct sv *resting = ARENA_ARRAY(&c->arena__, struct sv, layer->n_endpoints);
    size_t n = c->n_endpoints;
    if (!all || !resting) {
        no_memory(l);
        return;
    }
    if (n)
        memcpy(all, c->endpoints, n * sizeof *all);
    for (size_t i = 0; i < layer->n_endpoints; i++) {
        struct sv name = layer->endpoints[i].name;
        if (find(c->endpoints, c->n_endpoints, name) < c->n_endpoints) {
            resting[c->resting.n++] = name;
            warn(l->report, &from_console, 0, 0, group, "\"%.*s\" was added from the console too: that one rests while the configuration has this name", SV_FMT(name));
            continue;
        }
        all[n] = layer->endpoints[i];
        all[n++].added = true;
    }
    c->resting.v = resting;
    c->endpoints = all;
    c->n_endpoints = n;
}

void added_apply(struct loader *l, struct config *layer) {
    size_t row = (size_t)(setting_find(SV("endpoints")) - settings);
    if (l->src->endpoint) {
        edit(l, layer);
        name_plainly(l->report);
    }
    layer->origins__[row].kind = layer->n_endpoints ? CONFIG_FROM_CONSOLE : CONFIG_FROM_DEFAULT;
    if (!layer->n_endpoints)
        return;
    if (l->c->origins__[row].kind == CONFIG_FROM_DEFAULT)
        l->c->origins__[row].kind = CONFIG_FROM_CONSOLE;
    join(l, layer);
}
