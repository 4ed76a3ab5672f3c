/* config/load.c - from a source to settings: defaults, then the file, then the environment, then flags, each by the
 * same road (walk -> assign), so that one layer cannot accept what another refuses. What was set from the console comes
 * after them (layer.c), where none of them has spoken: only then is it known where it lies. Last come the values that
 * depend on this machine, and then either the settings are good as a whole or nobody sees them. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/load.h"

extern char **environ;

enum {
    TREES_MAX = 64 << 20, /* the trees: CONFIG_NODES_MAX nodes and the text of a few documents */
    KEPT_MAX = 64 << 20,  /* the settings: 4096 models with all their lists */
    KEY_MAX = 160,        /* bytes of a path as complaints show it */
};

static const struct origin from_default = { FROM_DEFAULT, "default" };
static const struct origin from_flag = { FROM_FLAG, "--set" };

bool no_memory(struct loader *l) {
    complain_no_memory(l->report);
    return false;
}

struct sv env_get(const struct loader *l, const char *name) {
    const char *const *env = l->src->environment ? l->src->environment : (const char *const *)environ;
    size_t n = strlen(name);
    for (; *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return sv_of(*env + n + 1);
    return SV_NULL;
}

/* ---- finding rows ---- */

static const struct setting *row(const char *path, bool *ret_is_file) {
    size_t n = strlen(path);
    *ret_is_file = false;
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (strcmp(s->path, path) == 0)
            return s;
        size_t own = strlen(s->path);
        if (s->type == T_SECRET && own + 5 == n && memcmp(s->path, path, own) == 0 &&
            strcmp(path + own, "_file") == 0) {
            *ret_is_file = true;
            return s;
        }
    }
    return NULL;
}

static bool is_group(const char *path) {
    size_t n = strlen(path);
    for (size_t i = 0; i < n_settings; i++)
        if (strncmp(settings[i].path, path, n) == 0 && settings[i].path[n] == '.')
            return true;
    return false;
}

/* The name at this place that is most like the one that was written; else a setting of that name elsewhere. */
static void unknown(struct loader *l, const struct node *n, const char *table, const char *key) {
    size_t depth = strlen(table), best = 2 + n->key.n / 4, limit = best;
    char near[KEY_MAX] = "";
    for (size_t i = 0; i < n_settings; i++) {
        const char *path = settings[i].path;
        if (strncmp(path, table, depth) != 0 || settings[i].type == T_LATER)
            continue;
        struct sv name = { path + depth, strcspn(path + depth, ".[") };
        size_t d = edit_distance(n->key, name, limit);
        if (d == 0 && !strchr(path, '[')) { /* only where single settings are given: --set, DROVER_... */
            complain(l->report, n->origin, n->key_line, n->key_column, key, "a group of settings; give one of them, such as %s",
                     path);
            return;
        }
        if (d < best && d < n->key.n) {
            best = d;
            snprintf(near, sizeof near, "%.*s", SV_FMT(name));
        }
    }
    for (size_t i = 0; !near[0] && i < n_settings; i++) {
        const char *path = settings[i].path, *dot = strrchr(path, '.');
        if (dot && settings[i].type < T_MOVED && sv_eq(n->key, sv_of(dot + 1)))
            snprintf(near, sizeof near, "%s", path);
    }
    complain(l->report, n->origin, n->key_line, n->key_column, key, "unknown setting; %s%s%s",
             near[0] ? "did you mean " : "docs/config.md lists them all", near, near[0] ? "?" : "");
}

void walk(struct loader *l, struct node *map, const char *table, const char *shown, void *base) {
    for (struct node *n = map->first; n; n = n->next) {
        char path[KEY_MAX], key[KEY_MAX], name[QUOTED_MAX];
        bool is_file;
        struct sv k = sv_first(n->key, 64); /* longer than any row: an unknown one anyway */
        quoted(k, name);
        snprintf(path, sizeof path, "%s%.*s", table, SV_FMT(k));
        snprintf(key, sizeof key, "%s%.*s", shown, (int)strcspn(name + 1, "\""), name + 1);
        const struct setting *s = n->key.n <= 64 && !strpbrk(path + strlen(table), ".[") ? row(path, &is_file) : NULL;
        if (s) {
            assign(l, s, n, key, base, is_file);
        } else if (n->key.n == 0 || strpbrk(path + strlen(table), ".[") || !is_group(path)) {
            unknown(l, n, table, key);
        } else if (n->kind == NODE_MAP) {
            strncat(path, ".", sizeof path - strlen(path) - 1);
            strncat(key, ".", sizeof key - strlen(key) - 1);
            walk(l, n, path, key, base);
        } else if (strcmp(path, "listen[].tls") == 0 && n->kind == NODE_SCALAR && sv_eq(n->text, SV("off"))) {
            continue;
        } else if (strcmp(path, "listen[].tls") == 0 && n->kind == NODE_SCALAR && sv_eq(n->text, SV("ca"))) {
            ((struct config_listen *)base)->tls_ca = true; /* short for {ca: true} */
        } else if (!node_is_null(n)) {
            COMPLAIN(l, n, key, "expected a group of settings, such as {name: value}");
        }
    }
}

/* ---- the layers ---- */

static struct node *read_value(struct loader *l, const struct setting *s, struct sv text, const struct origin *o) {
    bool empty;
    bool is_list = s->type == T_LIST || s->type == T_ENUMS;
    if (s->type == T_ITEMS || (is_list && sv_starts(text, SV("["))))
        return tree_read(text, o, &l->tmp, l->report, &empty);
    struct node *n = tree_scalar(text, o, &l->tmp);
    if (!n)
        no_memory(l);
    if (!n || !is_list)
        return n;
    n->kind = NODE_LIST; /* a, b */
    struct node **end = &n->first;
    for (struct sv piece; sv_next(&text, ',', &piece); n->n++, end = &(*end)->next)
        if (!(*end = tree_scalar(sv_trim(piece), o, &l->tmp))) {
            no_memory(l);
            return NULL;
        }
    return n;
}

void assign_text(struct loader *l, const struct setting *s, struct sv text, const struct origin *o, void *base) {
    struct node *n = read_value(l, s, text, o);
    if (n)
        assign(l, s, n, s->path, base, false);
}

void assign_defaults(struct loader *l, const char *prefix, void *base) {
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (s->dflt && s->dflt[0] != '(' && s->type < T_MOVED && s->at != NO_FIELD && setting_in(s, prefix))
            assign_text(l, s, sv_of(s->dflt), &from_default, base);
    }
}

static bool is_variable(const struct setting *s, struct sv name) {
    char text[KEY_MAX];
    return strlen(s->path) + 7 == name.n && sv_eq(sv_of(setting_variable(s, text, sizeof text)), name);
}

static void apply_environment(struct loader *l) {
    const char *const *env = l->src->environment ? l->src->environment : (const char *const *)environ;
    for (; *env; env++) {
        struct sv text = sv_of(*env), name;
        if (!sv_starts(text, SV("DROVER_")) || !sv_cut(&text, '=', &name))
            continue;
        char *label = arena_printf(&l->tmp, "environment variable %.*s", SV_FMT(name));
        struct origin *o = ARENA_NEW(&l->tmp, struct origin);
        if (!label || !o) {
            no_memory(l);
            return;
        }
        *o = (struct origin){ FROM_ENVIRONMENT, label };
        const struct setting *s = NULL;
        for (size_t i = 0; i < n_settings && !s; i++)
            if (setting_in(&settings[i], "") && is_variable(&settings[i], name))
                s = &settings[i];
        if (!s)
            warn(l->report, o, 0, 0, NULL, "names no setting and is ignored");
        else if (text.n) /* set but empty, as container files write it, is not set */
            assign_text(l, s, text, o, l->c);
    }
}

void unknown_path(struct loader *l, struct sv path, const struct origin *o) {
    char table[KEY_MAX], key[KEY_MAX], shown[QUOTED_MAX];
    struct sv last = path;
    while (sv_find_char(last, '.') >= 0)
        last = sv_from(last, (size_t)sv_find_char(last, '.') + 1);
    struct node n = { .key = last, .origin = o };
    if (!sv_to_cstr(sv_first(path, path.n - last.n), table, sizeof table))
        table[0] = '\0';
    quoted(path, shown);
    snprintf(key, sizeof key, "%.*s", (int)strcspn(shown + 1, "\""), shown + 1);
    unknown(l, &n, table, key);
}

static void apply_overrides(struct loader *l) {
    for (const char *const *o = l->src->overrides; o && *o; o++) {
        struct sv text = sv_of(*o), path;
        char cpath[KEY_MAX];
        bool is_file, has_value = sv_cut(&text, '=', &path);
        if (!has_value || !sv_to_cstr(path, cpath, sizeof cpath) || !path.n) {
            complain(l->report, &from_flag, 0, 0, NULL, "expected PATH=VALUE, such as log.level=debug");
            continue;
        }
        const struct setting *s = row(cpath, &is_file);
        if (s && setting_in(s, "") && !is_file)
            assign_text(l, s, text, &from_flag, l->c);
        else
            unknown_path(l, path, &from_flag);
    }
}

/* ---- the file ---- */

static bool try_path(struct loader *l, const char *path, struct origin *o, struct buf *text, bool may_be_absent) {
    bool absent;
    o->kind = FROM_FILE;
    o->label = path;
    if (!config_file_read(l, o, path, text, &absent)) {
        if (absent && !may_be_absent)
            complain(l->report, o, 0, 0, NULL, "there is no such file");
        return !absent; /* a file that is there but cannot be read ends the search */
    }
    return true;
}

/* Finds and reads the document; o->label stays NULL when there is none. */
static void find_file(struct loader *l, struct origin *o, struct buf *text) {
    struct sv xdg = env_get(l, "XDG_CONFIG_HOME"), home = env_get(l, "HOME");
    char *paths[3] = { NULL, NULL, NULL };
    if (l->src->path) {
        try_path(l, l->src->path, o, text, false);
        return;
    }
    if (sv_starts(xdg, SV("/")))
        paths[0] = arena_printf(&l->tmp, "%.*s/drover/drover.yaml", SV_FMT(xdg));
    if (sv_starts(home, SV("/")))
        paths[1] = arena_printf(&l->tmp, "%.*s/.config/drover/drover.yaml", SV_FMT(home));
    paths[2] = arena_printf(&l->tmp, "/etc/drover/drover.yaml");
    for (size_t i = 0; i < 3; i++)
        if (paths[i] && try_path(l, paths[i], o, text, true))
            return;
    o->label = NULL;
}

void read_rows(struct loader *l, struct sv text, struct origin *o, struct config *base) {
    bool empty;
    struct node *root = tree_read(text, o, &l->tmp, l->report, &empty);
    if (root && root->kind != NODE_MAP && !node_is_null(root))
        COMPLAIN(l, root, NULL, "expected settings, such as \"log: {level: debug}\"");
    else if (root && root->kind == NODE_MAP)
        walk(l, root, "", "", base);
}

static void read_document(struct loader *l, struct sv text, struct origin *o) {
    char *path = *o->label == '/' ? arena_printf(&l->c->arena__, "%s", o->label)
                                  : arena_printf(&l->c->arena__, "%.*s/%s", SV_FMT(l->cwd), o->label);
    if (!path) {
        no_memory(l);
        return;
    }
    l->c->file = sv_of(path);
    l->base = sv_first(l->c->file, (size_t)sv_rfind_char(l->c->file, '/'));
    read_rows(l, text, o, l->c);
}

/* ---- the entries of lists, each seen as a whole ---- */

static bool is_new(struct loader *l, struct sv name) {
    if (map_get(&l->seen, name))
        return false;
    if (!map_put(&l->seen, name, l))
        no_memory(l);
    return true;
}

void listen_finish(struct loader *l, void *all, size_t i, const struct node *item) {
    struct config_listen *one = all;
    struct config_listen *me = &one[i];
    const struct node *at = node_child(item, "address");
    struct err e = { 0 };
    char key[64], shown[QUOTED_MAX];
    snprintf(key, sizeof key, "listen[%zu].address", i);
    if (!me->address.n)
        return; /* complained about */
    quoted(me->address, shown);
    if (!address_parse(me->address, &me->addr, &me->addr_len, &e)) {
        COMPLAIN(l, at, key, "%s, got %s", e.text, at->expanded ? "something else" : shown);
        return;
    }
    bool link_only = me->roles == 1u << CONFIG_ROLE_LINK; /* nodes prove who they are by other means */
    me->tls = me->tls_ca || (me->tls_cert.n && me->tls_key.n);
    if (!me->roles)
        me->roles = 1u << CONFIG_ROLE_GATEWAY | 1u << CONFIG_ROLE_CONSOLE;
    if (!address_is_local(&me->addr) && ((me->auth != CONFIG_AUTH_KEY && !link_only) || !me->tls))
        COMPLAIN(l, at, key,
                 "%s can be reached from other machines: that needs %stls: {cert: FILE, key: FILE} or tls: ca; or listen on "
                 "127.0.0.1, [::1] or a unix: path",
                 shown, link_only ? "" : "auth: key and ");
    if (me->client_cert == CONFIG_CLIENT_CERT_OFF && me->tls_ca && (me->roles & 1u << CONFIG_ROLE_LINK))
        me->client_cert = CONFIG_CLIENT_CERT_OPTIONAL; /* nodes show theirs: else none could renew it */
    if (me->client_cert != CONFIG_CLIENT_CERT_OFF && !me->tls_ca) {
        snprintf(key, sizeof key, "listen[%zu].client_cert", i);
        COMPLAIN(l, node_child(item, "client_cert"), key, "needs tls: ca, whose certificates it asks for");
    }
    snprintf(key, sizeof key, "listen[%zu].tls", i);
    at = node_child(item, "tls");
    if (at != item && at->kind == NODE_MAP) {
        const struct node *cert = node_child(at, "cert"), *tls_key = node_child(at, "key");
        bool has_cert = cert != at && !node_is_null(cert), has_key = tls_key != at && !node_is_null(tls_key);
        if (me->tls_ca && (has_cert || has_key))
            COMPLAIN(l, at, key, "either ca: true or files, not both");
        else if (!me->tls_ca && (has_cert != has_key || !at->n)) /* both null is how config_show writes "off" */
            COMPLAIN(l, at, key, "%s missing: TLS needs cert and key",
                     has_cert  ? "key is"
                     : has_key ? "cert is"
                               : "both are");
    }
    if (me->tls && me->addr.ss_family == AF_UNIX)
        COMPLAIN(l, at, key, "there is no TLS on a unix: socket");
    for (size_t j = 0; j < i; j++) /* CONFIG_LISTEN_MAX keeps this short */
        if (sv_eq(one[j].address, me->address) && !sv_ends(me->address, SV(":0")))
            COMPLAIN(l, item, NULL, "listen[%zu] has the same address, %s", j, shown);
}

void endpoint_finish(struct loader *l, void *all, size_t i, const struct node *item) {
    const struct config_endpoint *e = (struct config_endpoint *)all + i;
    const struct node *url = node_child(item, "url");
    struct err fault = { 0 };
    char key[64];
    if (e->name.n && !is_new(l, e->name)) {
        snprintf(key, sizeof key, "endpoints[%zu].name", i);
        COMPLAIN(l, node_child(item, "name"), key, "another endpoint is called \"%s\" already", e->name.p);
    }
    snprintf(key, sizeof key, "endpoints[%zu].url", i);
    if (!e->url.n)
        return;
    /* The judges' words only, never the text: it may hold a password. */
    if (!check_url(e->url, &fault) || (l->src->check_url && !l->src->check_url(e->url, &fault))) {
        COMPLAIN(l, url, key, "%s", fault.text);
        return;
    }
    snprintf(key, sizeof key, "endpoints[%zu].tls", i);
    if ((e->tls.ca.n || e->tls.insecure) && !sv_starts_nocase(e->url, SV("https://")))
        COMPLAIN(l, node_child(item, "tls"), key, "has no effect on an http:// URL: write https://, or leave tls out");
    else if (e->tls.insecure)
        WARN(l, node_child(item, "tls"), key,
             "the certificate of \"%s\" is not checked: whoever is in between can read along",
             e->name.p ? e->name.p : "");
}

void model_finish(struct loader *l, void *all, size_t i, const struct node *item) {
    const struct config_model *m = (struct config_model *)all + i;
    bool is_pattern = sv_find_char(m->slug, '*') >= 0;
    char key[96];
    if (i == 0)
        l->models = item;
    if (m->slug.n && !is_new(l, m->slug)) {
        snprintf(key, sizeof key, "models[%zu].slug", i);
        COMPLAIN(l, node_child(item, "slug"), key, "\"%s\" is the slug or alias of another entry already", m->slug.p);
    }
    for (size_t a = 0; a < m->aliases.n; a++)
        if (!is_new(l, m->aliases.v[a])) {
            snprintf(key, sizeof key, "models[%zu].aliases[%zu]", i, a);
            COMPLAIN(l, node_child(item, "aliases"), key, "\"%s\" is a slug or alias already", m->aliases.v[a].p);
        }
    for (size_t t = 0; t < m->targets.n; t++) {
        ptrdiff_t star = sv_find_char(m->targets.v[t], '*');
        if (star < 0)
            continue;
        snprintf(key, sizeof key, "models[%zu].targets[%zu]", i, t);
        if (!is_pattern && m->slug.n)
            COMPLAIN(l, node_child(item, "targets"), key, "'*' takes what the slug's '*' stood for, and this slug has none");
        else if (sv_find_char(sv_from(m->targets.v[t], (size_t)star + 1), '*') >= 0)
            COMPLAIN(l, node_child(item, "targets"), key, "expected at most one '*'");
    }
    if (m->price.input.is_set != m->price.output.is_set) {
        snprintf(key, sizeof key, "models[%zu].price", i);
        WARN(l, node_child(item, "price"), key, "without a price, %s tokens cost nothing: give one, or 0 to say so",
             m->price.input.is_set ? "output" : "input");
    }
    for (size_t f = 0; f < m->fallback.n; f++)
        if (sv_eq(m->fallback.v[f], m->slug)) {
            snprintf(key, sizeof key, "models[%zu].fallback[%zu]", i, f);
            COMPLAIN(l, node_child(item, "fallback"), key, "a model cannot fall back to itself");
        }
}

/* ---- what depends on this machine ---- */

static size_t memory_bytes(const struct loader *l) {
    if (l->src->memory_bytes)
        return l->src->memory_bytes;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t bytes = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 30;
    static const char *const limits[] = { "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes" };
    for (size_t i = 0; i < 2; i++) {
        unsigned long long limit;
        FILE *f = fopen(limits[i], "re");
        if (f && fscanf(f, "%llu", &limit) == 1 && limit && limit < bytes)
            bytes = (size_t)limit;
        if (f)
            fclose(f);
    }
    return bytes;
}

static void set_name(struct loader *l) {
    char host[256] = "";
    if (l->c->name.n)
        return;
    if (gethostname(host, sizeof host - 1) != 0 || !host[0])
        strcpy(host, "drover");
    host[strcspn(host, ".")] = '\0';
    host[64] = '\0';
    for (char *p = host; *p; p++)
        if (!(*p >= '0' && *p <= '9') && !((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') && *p != '-' && *p != '_')
            *p = '-';
    l->c->name = arena_sv(&l->c->arena__, sv_of(host[0] ? host : "drover"));
}

/* Architecture, section 9. A service is root, what systemd gave directories to, or whoever reads /etc/drover: so a verb
 * run by a user without a file of his own finds the service's socket. */
static void set_places(struct loader *l) {
    struct config *c = l->c;
    struct arena *a = &c->arena__;
    const struct origin *o = &from_default;
    struct sv state = env_get(l, "STATE_DIRECTORY"), run = env_get(l, "RUNTIME_DIRECTORY"),
              xdg_state = env_get(l, "XDG_STATE_HOME"), xdg_run = env_get(l, "XDG_RUNTIME_DIR"),
              home = env_get(l, "HOME"), first;
    bool own_state = c->data_dir.n > 0, is_service = geteuid() == 0 || sv_starts(c->file, SV("/etc/"));
    if (sv_cut(&state, ':', &first))
        state = first;
    if (sv_cut(&run, ':', &first))
        run = first;
    if (own_state)
        ;
    else if (sv_starts(state, SV("/")))
        c->data_dir = arena_sv(a, state);
    else if (is_service)
        c->data_dir = arena_sv(a, SV("/var/lib/drover"));
    else if (sv_starts(xdg_state, SV("/")))
        c->data_dir = sv_of(arena_printf(a, "%.*s/drover", SV_FMT(xdg_state)));
    else if (sv_starts(home, SV("/")))
        c->data_dir = sv_of(arena_printf(a, "%.*s/.local/state/drover", SV_FMT(home)));
    else {
        complain(l->report, o, 0, 0, "data_dir",
                 "there is no place for state, since neither HOME nor XDG_STATE_HOME is set: set data_dir");
        return;
    }
    if (c->run_dir.n)
        ;
    else if (sv_starts(run, SV("/")))
        c->run_dir = arena_sv(a, run);
    else if (own_state) /* whoever keeps state apart wants a daemon of its own, socket included */
        c->run_dir = sv_of(arena_printf(a, "%.*s/run", SV_FMT(c->data_dir)));
    else if (is_service)
        c->run_dir = arena_sv(a, SV("/run/drover"));
    else if (sv_starts(xdg_run, SV("/")))
        c->run_dir = sv_of(arena_printf(a, "%.*s/drover", SV_FMT(xdg_run)));
    else
        c->run_dir = sv_of(arena_printf(a, "%.*s/run", SV_FMT(c->data_dir)));
    if (c->run_dir.n > CONFIG_RUN_DIR_MAX)
        complain(l->report, o, 0, 0, "run_dir",
                 "%s is too long for a socket's path: set run_dir to one of at most %d bytes", c->run_dir.p,
                 CONFIG_RUN_DIR_MAX);
}

static void set_computed(struct loader *l) {
    struct config *c = l->c;
    long cores = l->src->cores > 0 ? l->src->cores : sysconf(_SC_NPROCESSORS_ONLN);
    set_name(l);
    if (!c->workers)
        c->workers = cores < 1 ? 1 : cores > 64 ? 64 : (int)cores;
    c->limits.body.buffered_total = memory_bytes(l) / 100 * (size_t)c->limits.body.buffered_percent;
    if (c->limits.head.field > c->limits.head.total)
        complain(l->report, &from_default, 0, 0, "limits.head.field",
                 "is larger than limits.head.total, which holds all fields");
}

/* Where leaves come. Who is let in is a question of its own: nothing but this machine may come without a token and TLS. */
enum { RELAY_TOKEN_LEAST = 16 };
static void check_relay(struct loader *l) {
    struct config *c = l->c;
    const struct origin *o = &from_default;
    bool has_token = c->relay.token.n || c->relay.token.file.n, has_tls = c->relay.tls_cert.n && c->relay.tls_key.n;
    struct err e = { 0 };
    if (!c->relay.listen.n)
        return;
    if (!address_parse(c->relay.listen, &c->relay.addr, &c->relay.addr_len, &e) || c->relay.addr.ss_family == AF_UNIX)
        complain(l->report, o, 0, 0, "relay.listen", "%s", e.text[0] ? e.text : "expected an address such as 127.0.0.1:9100: leaves come over the network");
    else if (!address_is_local(&c->relay.addr) && (!has_token || !has_tls))
        complain(l->report, o, 0, 0, "relay.listen", "can be reached from other machines: that needs relay.token_file and relay.tls: {cert: FILE, key: FILE}; or 127.0.0.1");
    if (c->relay.token.n && c->relay.token.n < RELAY_TOKEN_LEAST)
        complain(l->report, o, 0, 0, "relay.token", "expected at least %d bytes: it is all that stands between the network and this node's hub", RELAY_TOKEN_LEAST);
    if (!c->relay.tls_cert.n != !c->relay.tls_key.n)
        complain(l->report, o, 0, 0, "relay.tls", "%s missing: TLS needs cert and key", c->relay.tls_cert.n ? "key is" : "cert is");
}

/* ---- */

static void fill(struct loader *l) {
    struct buf file = BUF_MAX(CONFIG_FILE_MAX + 1);
    struct origin o = { FROM_FILE, NULL };
    struct config *c = l->c;
    char *cwd = getcwd(NULL, 0);
    l->cwd = arena_sv(&l->tmp, sv_of(cwd && *cwd == '/' ? cwd : "/"));
    free(cwd);
    l->base = l->cwd;
    c->origins__ = ARENA_ARRAY(&c->arena__, struct config_origin, n_settings);
    if (!l->cwd.p || !c->origins__) {
        no_memory(l);
        return;
    }
    assign_defaults(l, "", c);
    if (l->src->text.p) {
        o.label = l->src->path ? l->src->path : "drover.yaml";
        read_document(l, l->src->text, &o);
    } else {
        find_file(l, &o, &file);
        if (o.label && !l->report->n)
            read_document(l, buf_sv(&file), &o);
    }
    apply_environment(l);
    apply_overrides(l);
    set_places(l);
    layer_apply(l);
    set_computed(l);
    check_relay(l);
    if (!l->report->n)
        check_names(l);
    if (file.base)
        sodium_memzero(file.base, file.cap);
    buf_deinit(&file);
    if (l->tmp.overflow || c->arena__.overflow)
        no_memory(l);
}

struct config *config_load(const struct config_source *src, struct config_report *ret_report) {
    struct loader l = { .src = src, .report = ret_report, .c = mem_new(sizeof *l.c) };
    memset(ret_report, 0, sizeof *ret_report);
    if (!l.c || sodium_init() < 0) {
        mem_free(l.c);
        complain_no_memory(ret_report);
        return NULL;
    }
    l.c->refs__ = 1;
    arena_init(&l.c->arena__, KEPT_MAX, NULL);
    arena_init(&l.tmp, TREES_MAX, NULL);
    map_init(&l.seen);
    fill(&l);
    map_deinit(&l.seen);
    arena_deinit(&l.tmp);
    report_sort(ret_report);
    return ret_report->n ? config_unref(l.c) : l.c;
}

struct config *config_ref(struct config *c) {
    c->refs__++;
    return c;
}

struct config *config_unref(struct config *c) {
    if (c && --c->refs__ == 0) {
        arena_deinit(&c->arena__);
        mem_free(c);
    }
    return NULL;
}
