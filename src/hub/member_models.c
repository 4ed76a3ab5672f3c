#include "hub/member_models.h"

#include "base/mem.h"

enum { MODELS, ENDPOINTS, KEY_MAX = 200, ID_MAX = 200, ENDPOINT_ID_MAX = 64, SHORT_MAX = 64, ENTRY_MAX = 4096 };

struct told {
    uint64_t hash;
    bool seen; /* in the pass under way */
    size_t key_n;
    char key[KEY_MAX];
};

/* --- one entry ------------------------------------------------------------------------------------------------------------------------ */

static void put_text(struct buf *out, const char *name, struct sv v, size_t most) {
    if (v.n == 0 || v.n > most)
        return;
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, v);
}

static void put_known(struct buf *out, const char *name, uint64_t v) {
    if (v)
        buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)v);
}

static bool serves(const struct fleet_target *t) {
    return t->endpoint->state == FLEET_UP || t->endpoint->state == FLEET_DEGRADED;
}

static unsigned rank(const struct fleet_target *t) {
    return (serves(t) ? 2 : t->endpoint->state == FLEET_LOADING) * 2 + (t->model->loaded == FLEET_LOADED_YES);
}

/* Where a request for it would best go. NULL: nowhere but to the demonstration. */
static const struct fleet_target *best_of(const struct fleet_slug *s) {
    const struct fleet_target *best = NULL;
    for (size_t i = 0; i < s->n_targets; i++)
        if (!s->targets[i]->endpoint->demo && (!best || rank(s->targets[i]) > rank(best)))
            best = s->targets[i];
    return best;
}

static const char *type_of(const struct fleet_model *m) {
    static const struct {
        unsigned can;
        const char *type;
    } types[] = { { LLM_CAN_CHAT, "chat" },
                  { LLM_CAN_EMBED, "embedding" },
                  { LLM_CAN_RERANK, "rerank" },
                  { LLM_CAN_IMAGE, "image" },
                  { LLM_CAN_SPEECH | LLM_CAN_TRANSCRIBE, "audio" },
                  { LLM_CAN_COMPLETION, "completion" } };
    for (unsigned i = 0; m->can_known && i < sizeof types / sizeof types[0]; i++)
        if (m->can & types[i].can)
            return types[i].type;
    return NULL;
}

/* In Drover's own words, and where the link has another word for it, in that too. */
static void put_features(struct buf *out, const struct fleet_model *m) {
    const char *comma = "";
    if (!m->can_known)
        return;
    buf_add(out, SV(",\"features\":["));
    for (unsigned i = 0; i < LLM_CAN_N; i++)
        if (m->can & 1u << i) {
            buf_printf(out, "%s\"%s\"", comma, llm_can_name(1u << i));
            comma = ",";
        }
    if (m->can & LLM_CAN_THINKING)
        buf_printf(out, "%s\"reasoning\"", comma);
    buf_add_char(out, ']');
}

static const char *state_of(const struct fleet_target *t) {
    if (t->endpoint->state == FLEET_LOADING)
        return "loading";
    if (!serves(t))
        return "failed";
    return t->model->loaded == FLEET_LOADED_YES ? "loaded" : "available";
}

static void print_model(struct buf *out, const struct fleet_slug *s, const struct fleet_target *t, bool opaque) {
    const struct fleet_model *m = t->model;
    const char *type = type_of(m);
    buf_add(out, SV("{\"key\":"));
    buf_add_json(out, s->name);
    if (!opaque) {
        put_text(out, "endpoint_id", t->endpoint->name, ENDPOINT_ID_MAX);
        put_text(out, "id", m->id, ID_MAX);
        put_text(out, "family", m->family, SHORT_MAX);
    }
    if (type)
        buf_printf(out, ",\"type\":\"%s\"", type);
    buf_printf(out, ",\"state\":\"%s\"", state_of(t));
    put_known(out, "context_max", m->context_max ? m->context_max : m->context);
    if (m->loaded == FLEET_LOADED_YES)
        put_known(out, "context_loaded", m->context);
    put_known(out, "size_bytes", m->size_bytes);
    put_known(out, "vram_bytes", m->vram_bytes);
    put_text(out, "quant", m->quant, SHORT_MAX);
    put_text(out, "params", m->params, SHORT_MAX);
    put_features(out, m);
    put_known(out, "max_concurrent", t->endpoint->max_concurrent ? t->endpoint->max_concurrent : m->slots);
    buf_add_char(out, '}');
}

/* What stands before an '@' is a name and a password; none can be there, and none shall go out. */
static struct sv redacted(struct sv url) {
    ptrdiff_t at = sv_rfind_char(url, '@'), scheme = sv_find(url, SV("://"));
    return at >= 0 || scheme < 0 ? SV_NULL : url;
}

static void print_endpoint(struct buf *out, const struct fleet_endpoint *p) {
    const char *comma = "";
    buf_add(out, SV("{\"endpoint_id\":"));
    buf_add_json(out, p->name);
    put_text(out, "kind", p->kind, SHORT_MAX);
    put_text(out, "base_url_redacted", redacted(p->url), 512);
    buf_add(out, SV(",\"dialects\":["));
    for (unsigned i = 0, n = 0; i < LLM_SPEAKS_N && n < 16; i++)
        if (p->speaks & ~p->deficient & 1u << i) {
            buf_printf(out, "%s\"%s\"", comma, llm_speaks_name(1u << i));
            comma = ",";
            n++;
        }
    buf_printf(out, "],\"health\":\"%s\",\"models\":%zu", fleet_state_name(p->state), p->n_models);
    put_known(out, "max_concurrent", p->max_concurrent);
    buf_add_char(out, '}');
}

/* --- what was told -------------------------------------------------------------------------------------------------------------------- */

struct pass {
    struct member_models *m;
    int kind;
    const char *name; /* of the list of entries in the payload */
    struct buf *out;
    size_t room;
    bool begun, more, failed;
};

static void begin(struct pass *p, const char *name) {
    if (!p->begun)
        buf_printf(p->out, ",\"%s\":[", name);
    else
        buf_add_char(p->out, ',');
    p->begun = true;
}

static void finish(struct pass *p) {
    if (p->begun)
        buf_add_char(p->out, ']');
    p->begun = false;
}

/* The entry as it is now: printed unless the hub knows just that. */
static void offer(struct pass *p, struct sv key, const struct buf *entry) {
    struct map *told = &p->m->told[p->kind];
    struct told *t = map_get(told, key);
    uint64_t hash = hash_sv(buf_sv(entry));
    if (t)
        t->seen = true;
    if (entry->failed || (t && t->hash == hash))
        return;
    if (entry->n + 1 > p->room) {
        p->more = true;
        return;
    }
    if (!t && (t = mem_new(sizeof *t))) {
        memcpy(t->key, key.p, key.n);
        t->key_n = key.n;
        t->seen = true;
        if (!map_put(told, (struct sv){ t->key, t->key_n }, t)) {
            mem_free(t);
            t = NULL;
        }
    }
    if (!t) {
        p->failed = true;
        return;
    }
    t->hash = hash;
    begin(p, p->name);
    buf_add(p->out, buf_sv(entry));
    p->room -= entry->n + 1;
}

static void offer_models(struct pass *p, const struct snapshot *s) {
    struct buf entry = BUF_MAX(ENTRY_MAX);
    unsigned n = 0;
    p->m->n_left_out = 0;
    for (size_t i = 0; s && i < s->n_listed; i++) {
        const struct fleet_target *best = best_of(&s->slugs[i]);
        if (!best)
            continue;
        if (n == MEMBER_MODELS || s->slugs[i].name.n > KEY_MAX) {
            p->m->n_left_out++;
            continue;
        }
        n++;
        buf_reset(&entry);
        print_model(&entry, &s->slugs[i], best, s->is_opaque);
        offer(p, s->slugs[i].name, &entry);
    }
    buf_deinit(&entry);
}

static void offer_endpoints(struct pass *p, const struct snapshot *s) {
    struct buf entry = BUF_MAX(ENTRY_MAX);
    unsigned n = 0;
    for (size_t i = 0; s && !s->is_opaque && i < s->n_endpoints && n < MEMBER_ENDPOINTS; i++) {
        const struct fleet_endpoint *at = &s->endpoints[i];
        if (at->demo || at->name.n > ENDPOINT_ID_MAX)
            continue;
        n++;
        buf_reset(&entry);
        print_endpoint(&entry, at);
        offer(p, at->name, &entry);
    }
    buf_deinit(&entry);
}

/* What the hub knows and this pass did not see is gone. Not while entries still wait: then a later pass tells. */
static void remove_unseen(struct pass *p, const char *name) {
    struct map *told = &p->m->told[p->kind];
    size_t at = 0;
    for (struct map_entry *it; (it = map_next(told, &at));) {
        struct told *t = it->value;
        if (t->seen)
            continue;
        if (6 * t->key_n + 3 > p->room) { /* at worst each byte is escaped */
            p->more = true;
            break;
        }
        begin(p, name);
        buf_add_json(p->out, it->key);
        p->room -= 6 * t->key_n + 3;
        map_del(told, it->key);
        mem_free(t);
        at = 0; /* the table has changed: from its beginning */
    }
    finish(p);
}

static void unsee(struct map *told) {
    size_t at = 0;
    for (struct map_entry *it; (it = map_next(told, &at));)
        ((struct told *)it->value)->seen = false;
}

static bool tell(struct member_models *m, const struct snapshot *s, const char *const names[4], size_t room,
                 struct buf *out, bool *ret_more) {
    struct pass p = { .m = m, .out = out, .room = room };
    for (p.kind = ENDPOINTS; p.kind >= MODELS; p.kind--) { /* endpoints first: models name them */
        unsee(&m->told[p.kind]);
        p.name = names[p.kind];
        if (p.kind == MODELS)
            offer_models(&p, s);
        else
            offer_endpoints(&p, s);
        finish(&p);
        remove_unseen(&p, names[2 + p.kind]);
    }
    *ret_more = p.more;
    return !p.failed && !out->failed;
}

bool member_models_all(struct member_models *m, const struct snapshot *s, size_t room, struct buf *out,
                       bool *ret_more) {
    static const char *const names[4] = { "models", "endpoints", "", "" };
    member_models_forget(m);
    return tell(m, s, names, room, out, ret_more);
}

bool member_models_changes(struct member_models *m, const struct snapshot *s, size_t room, struct buf *out,
                           bool *ret_more) {
    static const char *const names[4] = { "models_upsert", "endpoints_upsert", "models_remove", "endpoints_remove" };
    return tell(m, s, names, room, out, ret_more);
}

void member_models_forget(struct member_models *m) {
    for (int kind = 0; kind < 2; kind++) {
        size_t at = 0;
        for (struct map_entry *it; (it = map_next(&m->told[kind], &at));)
            mem_free(it->value);
        map_deinit(&m->told[kind]);
        map_init(&m->told[kind]);
    }
}

void member_models_init(struct member_models *m) {
    *m = (struct member_models){ 0 };
    map_init(&m->told[MODELS]);
    map_init(&m->told[ENDPOINTS]);
}

void member_models_deinit(struct member_models *m) {
    member_models_forget(m);
}

void member_endpoints(const struct snapshot *s, unsigned *ret_all, unsigned *ret_healthy) {
    *ret_all = *ret_healthy = 0;
    for (size_t i = 0; s && i < s->n_endpoints; i++) {
        *ret_all += !s->endpoints[i].demo;
        *ret_healthy +=
            !s->endpoints[i].demo && (s->endpoints[i].state == FLEET_UP || s->endpoints[i].state == FLEET_DEGRADED);
    }
}
