/* console/endpoints.c - models and endpoints over the admin API: what there is, and those that a person adds.
 *
 * An addition is a change of settings like any other (settings.c); before it, a person may have the place looked at (fleet_try). */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "console/request.h"
#include "console/settings.h"

enum { TRIALS_MAX = 4 }; /* at one time */

/* --- models and endpoints ----------------------------------------------------------------------------------------- */

static void capabilities(struct buf *out, unsigned can) {
    bool first = true;
    buf_add(out, SV(",\"capabilities\":["));
    for (unsigned i = 0; i < LLM_CAN_N; i++) {
        if (!(can & 1u << i))
            continue;
        buf_printf(out, "%s\"%s\"", first ? "" : ",", llm_can_name(1u << i));
        first = false;
    }
    buf_add_char(out, ']');
}

void put_loaded(struct buf *out, const struct fleet_model *m) {
    buf_printf(out, ",\"loaded\":%s", m->loaded == FLEET_LOADED_YES ? "true" : m->loaded == FLEET_LOADED_NO ? "false" : "null");
}

void models_list(struct request *r) {
    const struct snapshot *s = fleet_snapshot(r->admin->house->fleet);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    buf_add(&out, SV("{\"models\":["));
    for (size_t i = 0; s && i < s->n_listed; i++) {
        const struct fleet_slug *slug = &s->slugs[i];
        buf_add(&out, i ? SV(",{") : SV("{"));
        put_text(&out, "slug", slug->name);
        buf_add(&out, SV(",\"targets\":["));
        for (size_t t = 0; t < slug->n_targets; t++) {
            const struct fleet_target *g = slug->targets[t];
            buf_add(&out, t ? SV(",{") : SV("{"));
            put_text(&out, "endpoint", g->endpoint->name);
            put_text(&out, "kind", g->endpoint->kind);
            put_text(&out, "model", g->model->id);
            put_text(&out, "state", sv_of(fleet_state_name(g->endpoint->state)));
            put_loaded(&out, g->model);
            put_known(&out, "context", g->model->context);
            put_number(&out, "in_flight", atomic_load(&g->cell->in_flight));
            put_known(&out, "us_per_token", atomic_load(&g->cell->us_per_token));
            buf_add_char(&out, '}');
        }
        buf_add(&out, SV("]}"));
    }
    buf_add(&out, SV("]}"));
    request_reply(r, 200, &out);
}

static void one_model(struct buf *out, const struct snapshot *s, const struct fleet_endpoint *p, const struct fleet_model *m) {
    buf_add_char(out, '{');
    put_text(out, "id", m->id);
    for (size_t i = 0; i < s->n_slugs; i++) {
        const struct fleet_slug *slug = &s->slugs[i];
        bool here = false;
        for (size_t t = 0; t < slug->n_targets && !slug->is_alias && !slug->hidden; t++)
            here = here || (slug->targets[t]->endpoint == p && slug->targets[t]->model == m);
        if (here) {
            put_text(out, "slug", slug->name);
            break;
        }
    }
    put_loaded(out, m);
    put_known(out, "context", m->context);
    put_known(out, "context_max", m->context_max);
    put_known(out, "size_bytes", m->size_bytes);
    put_known(out, "vram_bytes", m->vram_bytes);
    put_known(out, "slots", m->slots);
    put_known(out, "expires", m->expires_s);
    if (m->family.n)
        put_text(out, "family", m->family);
    if (m->params.n)
        put_text(out, "parameters", m->params);
    if (m->quant.n)
        put_text(out, "quantization", m->quant);
    capabilities(out, m->can);
    buf_add_char(out, '}');
}

/* Where it comes from; of those that the settings name, what they say. */
static void put_settings(struct buf *out, const struct request *r, const struct fleet_endpoint *p) {
    const struct config *c = *r->admin->house->config;
    const struct config_endpoint *e = NULL;
    for (size_t i = 0; i < c->n_endpoints && !p->is_node && !p->demo; i++)
        if (sv_eq(c->endpoints[i].name, p->name))
            e = &c->endpoints[i];
    put_text(out, "origin", sv_of(p->demo ? "demonstration" : p->is_node ? "node" : !e ? "found" : e->added ? "console" : "configuration"));
    if (!e)
        return;
    put_name(out, "settings");
    if (!config_endpoint_show(e, out))
        out->failed = true;
}

void endpoints_list(struct request *r) {
    static const char *const breakers[] = { "closed", "open", "trial" };
    const struct snapshot *s = fleet_snapshot(r->admin->house->fleet);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    buf_add_char(&out, '{');
    put_number(&out, "version", config_version(*r->admin->house->config));
    put_name(&out, "endpoints");
    buf_add_char(&out, '[');
    for (size_t i = 0; s && i < s->n_endpoints; i++) {
        const struct fleet_endpoint *p = &s->endpoints[i];
        bool first = true;
        buf_add(&out, i ? SV(",{") : SV("{"));
        put_text(&out, "name", p->name);
        put_text(&out, "url", p->url);
        put_text(&out, "kind", p->kind);
        put_text(&out, "version", p->version);
        put_text(&out, "state", sv_of(fleet_state_name(p->state)));
        put_text(&out, "reason", p->reason);
        put_number(&out, "since_ms", p->since_ms);
        put_text(&out, "breaker", sv_of(breakers[atomic_load(&p->cell->breaker) % 3]));
        put_number(&out, "in_flight", atomic_load(&p->cell->in_flight));
        put_known(&out, "max_concurrent", p->max_concurrent);
        put_number(&out, "ok", atomic_load(&p->cell->n_ok));
        put_number(&out, "failed", atomic_load(&p->cell->n_failed));
        put_truth(&out, "local", p->local);
        put_truth(&out, "demonstration", p->demo);
        put_settings(&out, r, p);
        buf_add(&out, SV(",\"speaks\":["));
        for (unsigned b = 0; b < LLM_SPEAKS_N; b++) {
            if (!(p->speaks & 1u << b))
                continue;
            buf_printf(&out, "%s\"%s\"", first ? "" : ",", llm_speaks_name(1u << b));
            first = false;
        }
        buf_add(&out, SV("],\"models\":["));
        for (size_t m = 0; m < p->n_models; m++) {
            if (m)
                buf_add_char(&out, ',');
            one_model(&out, s, p, &p->models[m]);
        }
        buf_add(&out, SV("]}"));
    }
    buf_add(&out, SV("]}"));
    request_reply(r, 200, &out);
}

/* --- adding, changing, removing ----------------------------------------------------------------------------------- */

/* The body as it came: the settings' own rules judge it. False: answered. */
static bool read_entry(struct request *r, struct config_endpoint_edit *edit, struct sv *ret_name) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    struct err e;
    if (!doc)
        return false;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(root)) {
        err_set(&e, ERR_BAD_REQUEST, "the body must be an object such as {\"name\": \"gpu\", \"url\": \"http://10.0.0.2:8000\"}");
        request_fail(r, &e, NULL);
        return false;
    }
    *ret_name = arena_sv(&r->in->arena, sv_first(json_str(root, "name"), 64));
    char *plain = yyjson_val_write(root, 0, NULL); /* without escapes that YAML has not: an emoji as JSON may write it */
    edit->value = plain ? arena_sv(&r->in->arena, sv_of(plain)) : SV_NULL;
    if (plain)
        sodium_memzero(plain, strlen(plain));
    free(plain);
    if (!edit->value.p) {
        err_no_memory(&e);
        request_fail(r, &e, NULL);
    }
    return edit->value.p != NULL;
}

static bool is_node(const struct request *r, struct sv name) {
    const struct snapshot *s = fleet_snapshot(r->admin->house->fleet);
    for (size_t i = 0; s && i < s->n_endpoints; i++)
        if (s->endpoints[i].is_node && sv_eq(s->endpoints[i].name, name))
            return true;
    return false;
}

void endpoints_add(struct request *r) {
    struct config_endpoint_edit edit = { .act = CONFIG_ENDPOINT_ADD };
    struct sv name;
    struct err e;
    if (!read_entry(r, &edit, &name))
        return;
    if (is_node(r, name)) {
        err_set(&e, ERR_EXISTS, "a node of this hub is called \"%.*s\": its models would be gone", SV_FMT(name));
        request_fail(r, &e, "choose another name, or rename the node (drover node rename)");
        return;
    }
    settings__endpoint(r, &edit, "endpoint.add", name);
}

static bool is_added(const struct config *c, struct sv name) {
    for (size_t i = 0; i < c->n_endpoints; i++)
        if (c->endpoints[i].added && sv_eq(c->endpoints[i].name, name))
            return true;
    return false;
}

/* Whether the one named in the path is a person's addition; false: answered. */
static bool find(struct request *r) {
    const struct snapshot *s = fleet_snapshot(r->admin->house->fleet);
    const struct config *c = *r->admin->house->config;
    struct err e;
    bool is_known = false;
    if (is_added(c, r->rest))
        return true;
    for (size_t i = 0; s && i < s->n_endpoints; i++)
        is_known = is_known || sv_eq(s->endpoints[i].name, r->rest);
    if (is_known)
        err_set(&e, ERR_LOCKED, "the endpoint \"%.*s\" was not added here", SV_FMT(sv_first(r->rest, 64)));
    else
        err_set(&e, ERR_NOT_FOUND, "there is no endpoint \"%.*s\"", SV_FMT(sv_first(r->rest, 64)));
    request_fail(r, &e, is_known ? "it comes from the configuration file, from looking around, or is a node: change it there" : NULL);
    return false;
}

void endpoints_change(struct request *r) {
    struct config_endpoint_edit edit = { .act = CONFIG_ENDPOINT_CHANGE, .name = r->rest };
    struct sv name;
    if (find(r) && settings__seen(r) && read_entry(r, &edit, &name))
        settings__endpoint(r, &edit, "endpoint.change", r->rest);
}

void endpoints_remove(struct request *r) {
    const struct config_endpoint_edit edit = { .act = CONFIG_ENDPOINT_REMOVE, .name = r->rest };
    if (find(r) && settings__seen(r))
        settings__endpoint(r, &edit, "endpoint.remove", r->rest);
}

/* --- a look before that ------------------------------------------------------------------------------------------- */

struct trial {
    struct list in_admin;
    struct fleet_trial *look;
    struct config *config; /* holds what is looked at */
    struct waiting *waits;
};

static void trial_free(struct trial *t) {
    fleet_trial_free(t->look);
    config_unref(t->config);
    list_drop(&t->in_admin);
    mem_free(t);
}

void endpoints__drop(struct admin *a) {
    LIST_FOR_SAFE(it, &a->trials) {
        struct trial *t = CONTAINER(it, struct trial, in_admin);
        struct request *r = request_resume(t->waits);
        struct err e;
        err_set(&e, ERR_CANCELED, "the hub is stopping");
        if (r)
            request_fail(r, &e, NULL);
        trial_free(t);
    }
}

static void on_found(void *arg, const struct fleet_found *found) {
    struct trial *t = arg;
    struct request *r = request_resume(t->waits);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (!r) {
        trial_free(t);
        return;
    }
    buf_add_char(&out, '{');
    put_text(&out, "state", sv_of(fleet_state_name(found->state)));
    put_text(&out, "reason", found->reason);
    put_text(&out, "kind", found->kind);
    put_text(&out, "version", found->version);
    put_truth(&out, "wants_key", found->wants_key);
    put_truth(&out, "is_other_kind", found->is_other_kind);
    put_number(&out, "took_ms", found->took_ms);
    put_name(&out, "models");
    buf_add_char(&out, '[');
    for (size_t i = 0; i < found->n_models; i++) {
        buf_add(&out, i ? SV(",") : SV_NULL);
        buf_add_json(&out, found->models[i].id);
    }
    buf_add(&out, SV("]}"));
    trial_free(t); /* what found points to has been printed */
    request_reply(r, 200, &out);
}

static size_t count(const struct list *all) {
    size_t n = 0;
    LIST_FOR(it, all)
        n++;
    return n;
}

/* Takes c. */
static void look(struct request *r, struct config *c, struct sv name) {
    struct trial *t = mem_new(sizeof *t);
    struct err e;
    size_t i = c->n_endpoints - 1; /* the last of its name: it was added just now, or is the one that was */
    while (i > 0 && !sv_eq(c->endpoints[i].name, name))
        i--;
    if (!t || !(t->waits = request_wait(r))) {
        if (!t) {
            err_no_memory(&e);
            request_fail(r, &e, NULL);
        }
        mem_free(t);
        config_unref(c);
        return;
    }
    t->config = c;
    list_push_back(&r->admin->trials, &t->in_admin);
    t->look = fleet_try(r->admin->house->fleet, &c->endpoints[i], on_found, t, &e);
    if (!t->look) {
        request_begun(r, t->waits, false, &e);
        trial_free(t);
    }
}

void endpoints_test(struct request *r) {
    struct config_endpoint_edit edit = { .act = CONFIG_ENDPOINT_ADD };
    struct sv name;
    struct err e;
    struct config *c;
    if (count(&r->admin->trials) >= TRIALS_MAX) {
        err_set(&e, ERR_LIMIT, "%d places are being looked at already: try again in a few seconds", TRIALS_MAX);
        request_fail(r, &e, NULL);
        return;
    }
    if (!read_entry(r, &edit, &name))
        return;
    if (is_added(*r->admin->house->config, name)) { /* as it would be changed: its key counts where it still may */
        edit.act = CONFIG_ENDPOINT_CHANGE;
        edit.name = name;
    }
    if ((c = settings__with(r, &edit)))
        look(r, c, name);
}
