/* fleet/fleet.c - owns the endpoints, gathers what they know, and publishes it.
 *
 *   something changed -> changed -> (at most every 50 ms) publish -> snapshot_build -> on_snapshot
 *
 * Endpoints come from the configuration (a person's word wins), from discovery, and one may be built in. The book keeps the
 * cell of each (endpoint, model) over snapshots, so that measured speeds and counts survive. */
#include "fleet/discovery.h"
#include "fleet/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "http/url.h"

enum {
    PUBLISH_MS = 50,           /* between two snapshots */
    RETRY_MS = 1000,           /* after memory was out */
    TICK_BUSY_MS = 100,        /* of the breakers, while requests end somewhere */
    TICK_IDLE_MS = 1000,
    FOUND_MAX = 256,           /* endpoints found by discovery */
    FOUND_GONE_MS = 600000,    /* down for so long, a found endpoint is forgotten */
    BOOK_KEEPS = 16,           /* snapshots a cell outlives its model by */
    GATHER_MAX = 64 << 20,
    MODELS_MAX = 20000,        /* of all endpoints together: a snapshot has to hold them (SNAPSHOT_BYTES_MAX) */
};

struct page { /* of the book */
    struct cell *cell;
    uint64_t used;             /* version of the last snapshot it was in */
    size_t key_n;
    char key[];                /* endpoint NUL model */
};

struct fleet {
    struct loop *loop;
    struct endpoint_home home;
    struct config *config;
    const struct fleet_events *on;
    void *owner;

    struct list endpoints;     /* of struct endpoint, by in_fleet: configured ones first, in their order */
    struct endpoint *demo;
    struct discovery *discovery;
    size_t n_found;

    struct map book;           /* of struct page */
    struct snapshot *snapshot;
    struct timer publish, tick;
    struct loop_flush soon;
    uint64_t published_ms;
    bool calm;                 /* everything known at the start is published: from now on changes may wait a little */
    bool dirty, searched, settled;
    bool lacks_some;           /* a configured endpoint could not be made */

    unsigned char opaque_key[OPAQUE_KEY_BYTES];
    bool has_opaque_key;
};

static struct endpoint *endpoint_at(struct list *l) {
    return CONTAINER(l, struct endpoint, in_fleet);
}

/* --- the book of cells -------------------------------------------------------------------------------------------- */

static void page_free(struct page *g) {
    cell_unref(g->cell);
    mem_free(g);
}

static struct cell *book_cell(void *arg, const struct fleet_endpoint *p, struct sv id) {
    struct fleet *f = arg;
    size_t n = p->name.n + 1 + id.n;
    struct page *g = mem_new(sizeof *g + n);
    if (!g)
        return NULL;
    memcpy(g->key, p->name.p, p->name.n);
    memcpy(g->key + p->name.n + 1, id.p, id.n);
    g->key_n = n;
    struct page *known = map_get(&f->book, (struct sv){ g->key, n });
    if (!known) {
        g->cell = cell_new();
        if (!g->cell || !map_put(&f->book, (struct sv){ g->key, n }, g)) {
            page_free(g);
            return NULL;
        }
        known = g;
    } else {
        mem_free(g);
    }
    known->used = f->snapshot ? f->snapshot->version + 1 : 1;
    return known->cell;
}

/* Forgets models that have been gone for a while: names come from others and must not pile up. */
static void book_sweep(struct fleet *f) {
    struct page *old[64];
    size_t n = 0, at = 0;
    for (struct map_entry *e; n < 64 && (e = map_next(&f->book, &at));) {
        struct page *g = e->value;
        if (g->used + BOOK_KEEPS < f->snapshot->version)
            old[n++] = g;
    }
    for (size_t i = 0; i < n; i++) {
        map_del(&f->book, (struct sv){ old[i]->key, old[i]->key_n });
        page_free(old[i]);
    }
}

/* --- publishing --------------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct config_endpoint *s, struct sv id) {
    bool in = s->models.include.n == 0;
    for (size_t i = 0; i < s->models.include.n && !in; i++)
        in = sv_glob(s->models.include.v[i], id);
    for (size_t i = 0; i < s->models.exclude.n && in; i++)
        in = !sv_glob(s->models.exclude.v[i], id);
    return in;
}

static bool filter_models(struct arena *a, const struct config_endpoint *s, struct fleet_endpoint *p) {
    if (!s || !(s->models.include.n || s->models.exclude.n) || p->n_models == 0)
        return true;
    struct fleet_model *left = ARENA_ARRAY(a, struct fleet_model, p->n_models);
    if (!left)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < p->n_models; i++)
        if (is_wanted(s, p->models[i].id))
            left[n++] = p->models[i];
    p->models = left;
    p->n_models = n;
    return true;
}

static bool gather(struct fleet *f, struct arena *a, struct snapshot_source *src) {
    size_t n = 0, room = MODELS_MAX;
    LIST_FOR(it, &f->endpoints)
        n++;
    struct fleet_endpoint *all = ARENA_ARRAY(a, struct fleet_endpoint, n ? n : 1);
    if (!all)
        return false;
    LIST_FOR(it, &f->endpoints) {
        struct endpoint *p = endpoint_at(it);
        struct fleet_endpoint *out = &all[src->n_endpoints++];
        endpoint_show(p, out);
        if (!filter_models(a, p->settings, out))
            return false;
        if (out->n_models > room)
            log_event(LOG_WARN, "more models than fit into the fleet", F_SV("endpoint", out->name),
                      F_U64("left_out", out->n_models - room));
        out->n_models = out->n_models < room ? out->n_models : room;
        room -= out->n_models;
    }
    src->endpoints = all;
    return true;
}

static bool build(struct fleet *f, struct err *e) {
    struct arena a;
    arena_init(&a, GATHER_MAX, NULL);
    struct snapshot_source src = { .models = f->config->models, .n_models = f->config->n_models,
                                   .opaque_key = f->config->slugs == CONFIG_SLUGS_OPAQUE ? f->opaque_key : NULL,
                                   .cells = { book_cell, f }, .version = f->snapshot ? f->snapshot->version + 1 : 1 };
    struct snapshot *s = gather(f, &a, &src) ? snapshot_build(&src, e) : NULL;
    if (!s && !src.endpoints)
        err_no_memory(e);
    arena_deinit(&a);
    if (!s)
        return false;
    snapshot_unref(f->snapshot);
    f->snapshot = s;
    f->published_ms = loop_now_ms(f->loop);
    book_sweep(f);
    return true;
}

static void publish(struct fleet *f) {
    struct err e;
    f->dirty = false;
    f->calm = f->settled;
    if (build(f, &e)) {
        f->on->on_snapshot(f->owner, f->snapshot); /* last */
        return;
    }
    log_event(LOG_ERROR, "the fleet's new state cannot be published", F_STR("cause", e.text), F_U64("retry_ms", RETRY_MS));
    f->published_ms = loop_now_ms(f->loop) + RETRY_MS;
    f->dirty = true;
    loop_flush_later(f->loop, &f->soon);
}

static void on_publish(void *arg) {
    struct fleet *f = arg;
    if (f->dirty)
        publish(f);
}

static void on_soon(struct loop_flush *l) {
    struct fleet *f = CONTAINER(l, struct fleet, soon);
    uint64_t now = loop_now_ms(f->loop), next = f->published_ms + PUBLISH_MS;
    if (!f->dirty || timer_is_set(&f->publish))
        return;
    if (!f->calm || (now >= next && f->published_ms <= now))
        publish(f);
    else
        timer_set(f->loop, &f->publish, next - now, on_publish, f);
}

static void changed(struct fleet *f) {
    f->dirty = true;
    loop_flush_later(f->loop, &f->soon);
}

static void settle(struct fleet *f) {
    bool all = f->searched;
    LIST_FOR(it, &f->endpoints)
        all = all && (endpoint_at(it)->n_looks || endpoint_at(it)->demo);
    f->settled = f->settled || all;
}

static void on_endpoint_change(void *owner, struct endpoint *p) {
    struct fleet *f = owner;
    settle(f);
    changed(f);
}

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

static void drop(struct fleet *f, struct endpoint *p, const char *what, const char *why) {
    log_event(LOG_INFO, what, F_STR("endpoint", p->name), F_STR("url", p->url), F_STR("why", why));
    f->n_found -= p->found;
    endpoint_free(p);
    changed(f);
}

static struct endpoint *find_same(struct fleet *f, const struct endpoint_place *at) {
    LIST_FOR(it, &f->endpoints)
        if (!endpoint_at(it)->found && !endpoint_at(it)->demo && !endpoint_at(it)->fed && endpoint_is(endpoint_at(it), at))
            return endpoint_at(it);
    return NULL;
}

/* Host names of one machine are one place. */
static struct sv plain_host(struct sv host) {
    return sv_eq_nocase(host, SV("localhost")) || sv_eq(host, SV("::1")) ? SV("127.0.0.1") : host;
}

static bool is_at(const struct endpoint *p, struct sv host, uint16_t port) {
    struct url u;
    return !p->demo && url_parse(sv_of(p->url), &u, NULL) && u.port == port && sv_eq_nocase(plain_host(u.host), plain_host(host));
}

static bool is_named(const struct config *c, const char *name) {
    for (size_t i = 0; i < c->n_endpoints; i++)
        if (sv_eq(c->endpoints[i].name, sv_of(name)))
            return true;
    return false;
}

/* Takes over what the configuration says. What is wrong with one endpoint is its own misfortune. */
static void take_configured(struct fleet *f) {
    struct list old = LIST_INIT(old), found = LIST_INIT(found);
    LIST_FOR_SAFE(it, &f->endpoints) {
        struct endpoint *p = endpoint_at(it);
        list_drop(it);
        list_push_back(p->found || p->demo || p->fed ? &found : &old, it);
    }
    list_move(&f->endpoints, &old); /* find_same looks here; those that stay move to the end, in the new order */
    LIST_FOR(it, &f->endpoints) {
        endpoint_at(it)->listed = false;
        endpoint_at(it)->settings = NULL;
    }
    f->lacks_some = false;
    for (size_t i = 0; i < f->config->n_endpoints; i++) {
        const struct config_endpoint *s = &f->config->endpoints[i];
        struct endpoint_place at = endpoint_place_of(s);
        struct err e;
        struct endpoint *p = find_same(f, &at);
        if (p) {
            list_drop(&p->in_fleet);
        } else {
            p = endpoint_new(&f->home, &at, &e);
            if (!p) {
                log_event(LOG_ERROR, "an endpoint cannot be used", F_SV("endpoint", s->name), F_STR("cause", e.text));
                f->lacks_some = true;
                continue;
            }
            endpoint_watch(p);
        }
        p->settings = s;
        p->listed = true;
        list_push_back(&f->endpoints, &p->in_fleet);
    }
    LIST_FOR_SAFE(it, &f->endpoints)
        if (!endpoint_at(it)->listed && is_named(f->config, endpoint_at(it)->name))
            drop(f, endpoint_at(it), "endpoint changed", "its address, kind, key or certificates are others now: it starts anew");
        else if (!endpoint_at(it)->listed)
            drop(f, endpoint_at(it), "endpoint removed", "it is no longer configured");
    list_move(&f->endpoints, &found);
}

/* A person's word wins over what was found at the same place, and a name is taken only once. */
static void drop_shadowed(struct fleet *f) {
    LIST_FOR_SAFE(it, &f->endpoints) {
        struct endpoint *p = endpoint_at(it);
        bool shadowed = false;
        LIST_FOR(other, &f->endpoints) {
            const struct endpoint *o = endpoint_at(other);
            struct url u;
            shadowed = shadowed || (o->settings && ((url_parse(sv_of(p->url), &u, NULL) && is_at(o, u.host, u.port)) ||
                                                    strcmp(o->name, p->name) == 0));
        }
        if ((p->found || p->fed) && shadowed)
            drop(f, p, "endpoint removed", "the configuration names it");
    }
}

/* --- found ones --------------------------------------------------------------------------------------------------- */

static bool is_known(void *owner, struct sv host, uint16_t port) {
    struct fleet *f = owner;
    LIST_FOR(it, &f->endpoints)
        if (is_at(endpoint_at(it), host, port))
            return true;
    return false;
}

static bool has_name(struct fleet *f, const char *name) {
    LIST_FOR(it, &f->endpoints)
        if (strcmp(endpoint_at(it)->name, name) == 0)
            return true;
    return is_named(f->config, name);
}

/* Kind alone on this machine and the usual port, else with port, or with address: the same place gets the same name after a
 * restart, whatever else was found. */
static void name_found(struct fleet *f, const struct discovery_found *at, char *name, size_t size) {
    const struct runtime *rt = runtime_of(at->kind);
    char base[96];
    if (at->name.n)
        snprintf(base, sizeof base, "%.*s", SV_FMT(sv_first(at->name, 64)));
    else if (!sv_eq(plain_host(at->host), SV("127.0.0.1")))
        snprintf(base, sizeof base, "%s-%.*s", runtime_name(at->kind), SV_FMT(sv_first(at->host, 45)));
    else if (rt->port == at->port)
        snprintf(base, sizeof base, "%s", runtime_name(at->kind));
    else
        snprintf(base, sizeof base, "%s-%u", runtime_name(at->kind), at->port);
    for (char *c = base; *c; c++)
        if (*c == '.' || *c == ':')
            *c = '-';
    snprintf(name, size, "%s", base);
    for (unsigned i = 2; has_name(f, name); i++)
        snprintf(name, size, "%s-%u", base, i);
}

static void on_found(void *owner, const struct discovery_found *found) {
    struct fleet *f = owner;
    char name[128], url[128];
    struct err e;
    if (f->n_found >= FOUND_MAX || is_known(f, found->host, found->port))
        return;
    name_found(f, found, name, sizeof name);
    bool v6 = sv_find_char(found->host, ':') >= 0;
    snprintf(url, sizeof url, v6 ? "http://[%.*s]:%u" : "http://%.*s:%u", SV_FMT(found->host), found->port);
    struct endpoint_place at = { .name = sv_of(name), .url = sv_of(url), .kind = CONFIG_KIND_AUTO };
    struct endpoint *p = endpoint_new(&f->home, &at, &e);
    if (!p) {
        log_event(LOG_WARN, "a found endpoint cannot be used", F_STR("url", url), F_STR("cause", e.text));
        return;
    }
    p->found = true;
    p->rt = runtime_of(found->kind);
    p->rt_since_ms = loop_now_ms(f->loop);
    f->n_found++;
    list_push_back(&f->endpoints, &p->in_fleet);
    log_event(LOG_INFO, "endpoint found", F_STR("endpoint", p->name), F_STR("url", p->url));
    endpoint_look(p, false);
}

static void on_searched(void *owner) {
    struct fleet *f = owner;
    f->searched = true;
    settle(f);
    changed(f);
}

static const struct discovery_events discovery_events = { is_known, on_found, on_searched };

/* --- time --------------------------------------------------------------------------------------------------------- */

static void on_tick(void *arg) {
    struct fleet *f = arg;
    uint64_t now_ms = loop_now_ms(f->loop);
    bool busy = false;
    LIST_FOR_SAFE(it, &f->endpoints) {
        struct endpoint *p = endpoint_at(it);
        busy = endpoint_tick(p, now_ms) || busy;
        if (p->found && p->health.state == FLEET_DOWN && now_ms - p->alive_ms > FOUND_GONE_MS)
            drop(f, p, "endpoint removed", "it has been down for long");
    }
    timer_set(f->loop, &f->tick, busy ? TICK_BUSY_MS : TICK_IDLE_MS, on_tick, f);
}

/* --- the key of opaque names ---------------------------------------------------------------------------------------- */

static bool read_key(int fd, unsigned char *key) {
    size_t n = 0;
    for (ssize_t got; n < OPAQUE_KEY_BYTES && (got = read(fd, key + n, OPAQUE_KEY_BYTES - n)) > 0;)
        n += (size_t)got;
    return n == OPAQUE_KEY_BYTES;
}

static bool make_key(const char *path, unsigned char *key, struct err *e) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(e, ERR_IO, "create %s: %s", path, strerror(errno));
    rand_bytes(key, OPAQUE_KEY_BYTES);
    bool ok = write(fd, key, OPAQUE_KEY_BYTES) == OPAQUE_KEY_BYTES && fsync(fd) == 0;
    int why = errno;
    close(fd);
    if (ok)
        return true;
    unlink(path);
    return err_set(e, ERR_IO, "write %s: %s", path, strerror(why));
}

/* 32 random bytes in data_dir/slug.key: losing them renames every model. */
static bool load_key(struct fleet *f, struct err *e) {
    char path[4096];
    if (f->config->slugs != CONFIG_SLUGS_OPAQUE || f->has_opaque_key)
        return true;
    if ((size_t)snprintf(path, sizeof path, "%.*s/slug.key", SV_FMT(f->config->data_dir)) >= sizeof path)
        return err_set(e, ERR_CONFIG, "data_dir is too long");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno != ENOENT)
        return err_set(e, ERR_IO, "open %s: %s", path, strerror(errno));
    if (fd < 0) {
        f->has_opaque_key = make_key(path, f->opaque_key, e);
    } else {
        f->has_opaque_key = read_key(fd, f->opaque_key);
        close(fd);
        if (!f->has_opaque_key)
            err_set(e, ERR_IO, "%s is damaged: it should hold %d bytes", path, OPAQUE_KEY_BYTES);
    }
    return f->has_opaque_key;
}

/* --- the door ----------------------------------------------------------------------------------------------------- */

struct fleet *fleet_new(struct loop *l, struct http_client *client, struct config *c, const struct fleet_events *on, void *owner,
                        struct err *e) {
    struct fleet *f = mem_new(sizeof *f);
    if (!f) {
        err_no_memory(e);
        return NULL;
    }
    f->loop = l;
    f->home = (struct endpoint_home){ l, client, on_endpoint_change, f };
    f->config = config_ref(c);
    f->on = on;
    f->owner = owner;
    f->soon.run = on_soon;
    list_init(&f->soon.dirty);
    list_init(&f->endpoints);
    map_init(&f->book);
    bool ok = load_key(f, e);
    if (ok) {
        take_configured(f);
        f->discovery = discovery_new(&f->home, c, &discovery_events, f);
        ok = f->discovery ? build(f, e) : err_no_memory(e);
    }
    if (!ok) {
        err_ctx(e, "start the fleet");
        fleet_free(f);
        return NULL;
    }
    changed(f);
    on_tick(f);
    return f;
}

void fleet_apply(struct fleet *f, struct config *c) {
    struct config *old = f->config;
    struct err e;
    f->config = config_ref(c);
    if (!load_key(f, &e)) { /* never an unkeyed name: until the file can be had, names last as long as this process */
        log_event(LOG_ERROR, "opaque names will change with the next start", F_STR("cause", e.text));
        rand_bytes(f->opaque_key, sizeof f->opaque_key);
    }
    take_configured(f);
    drop_shadowed(f);
    config_unref(old);
    discovery_apply(f->discovery, c);
    changed(f);
}

bool fleet_is_complete(const struct fleet *f) {
    return !f->lacks_some && (f->config->slugs != CONFIG_SLUGS_OPAQUE || f->has_opaque_key);
}

void fleet_demo(struct fleet *f, struct dialer *d) {
    struct err e;
    if (f->demo)
        endpoint_free(f->demo);
    f->demo = NULL;
    changed(f);
    if (!d)
        return;
    struct endpoint_place at = { .name = SV("demo"), .url = SV("demo:"), .kind = CONFIG_KIND_OPENAI, .dialer = d };
    f->demo = endpoint_new(&f->home, &at, &e);
    if (!f->demo) {
        log_event(LOG_ERROR, "the demo endpoint cannot be used", F_STR("cause", e.text));
        return;
    }
    f->demo->demo = true;
    health_goto(&f->demo->health, FLEET_UP, loop_now_ms(f->loop));
    list_push_back(&f->endpoints, &f->demo->in_fleet);
}

static struct endpoint *find_fed(struct fleet *f, struct sv name) {
    LIST_FOR(it, &f->endpoints)
        if (endpoint_at(it)->fed && sv_eq(sv_of(endpoint_at(it)->name), name))
            return endpoint_at(it);
    return NULL;
}

bool fleet_feed(struct fleet *f, const struct fleet_fed *fed, struct err *e) {
    struct endpoint *p = find_fed(f, fed->name);
    char name[128];
    if (!p) {
        if (sv_to_cstr(fed->name, name, sizeof name) && has_name(f, name))
            return err_set(e, ERR_EXISTS, "an endpoint is called %s already", name);
        struct endpoint_place at = { .name = fed->name, .url = fed->url, .kind = CONFIG_KIND_DROVER, .dialer = fed->dialer, .fed = true };
        p = endpoint_new(&f->home, &at, e);
        if (!p)
            return false;
        list_push_back(&f->endpoints, &p->in_fleet);
    }
    return endpoint_feed(p, fed) || err_no_memory(e);
}

void fleet_unfeed(struct fleet *f, struct sv name) {
    struct endpoint *p = find_fed(f, name);
    if (p)
        drop(f, p, "endpoint removed", "the node is gone from this hub");
}

bool fleet_is_settled(const struct fleet *f) {
    return f->settled && !f->dirty;
}

void fleet_refresh(struct fleet *f) {
    LIST_FOR(it, &f->endpoints)
        endpoint_look(endpoint_at(it), true);
    discovery_now(f->discovery);
}

const struct endpoint_home *fleet__home(const struct fleet *f) {
    return &f->home;
}

bool fleet_is_looking(const struct fleet *f, uint64_t begun_ms) {
    LIST_FOR(it, &f->endpoints) {
        const struct endpoint *p = endpoint_at(it);
        if (p->look && p->look_ms <= begun_ms)
            return true;
    }
    return false;
}

struct snapshot *fleet_snapshot(struct fleet *f) {
    return f->snapshot;
}

void fleet_free(struct fleet *f) {
    if (!f)
        return;
    discovery_free(f->discovery);
    for (struct list *l; (l = list_pop(&f->endpoints));)
        endpoint_free(endpoint_at(l));
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&f->book, &at));)
        page_free(e->value);
    map_deinit(&f->book);
    timer_stop(f->loop, &f->publish);
    timer_stop(f->loop, &f->tick);
    list_drop(&f->soon.dirty);
    snapshot_unref(f->snapshot);
    config_unref(f->config);
    sodium_memzero(f->opaque_key, sizeof f->opaque_key);
    mem_free(f);
}
