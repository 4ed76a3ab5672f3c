/* config/assign.c - one value from the document, the environment or a flag becomes one field, or a complaint. */
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "base/money.h"
#include "config/load.h"

/* ${NAME} becomes the variable's value; $${ is a plain ${. Only what a file says is expanded, and only once. */
static bool expand(struct loader *l, struct node *n, const char *key) {
    char out[8192]; /* on the stack, so that a secret leaves no copy behind */
    size_t at = 0;
    bool ok = false;
    if (n->origin->kind != FROM_FILE || sv_find(n->text, SV("${")) < 0)
        return true;
    for (struct sv v = n->text; v.n;) {
        struct sv piece = sv_first(v, 1), rest = sv_from(v, 2), name;
        size_t used = 1;
        if (sv_starts(v, SV("$${"))) {
            piece = SV("${");
            used = 3;
        } else if (sv_starts(v, SV("${"))) {
            char cname[128];
            if (!sv_cut(&rest, '}', &name) || !sv_to_cstr(name, cname, sizeof cname) || name.n == 0) {
                COMPLAIN(l, n, key, "expected ${NAME} with its closing brace; write $${ for a plain ${");
                goto out;
            }
            piece = env_get(l, cname);
            if (!piece.p) {
                char shown[QUOTED_MAX];
                COMPLAIN(l, n, key, "the environment variable %s is not set", quoted(name, shown));
                goto out;
            }
            used = name.n + 3;
            n->expanded = true;
        }
        if (piece.n > sizeof out - at) {
            COMPLAIN(l, n, key, "longer than %zu bytes once ${NAME} is replaced", sizeof out);
            goto out;
        }
        memcpy(out + at, piece.p, piece.n);
        at += piece.n;
        v = sv_from(v, used);
    }
    n->text = arena_sv(&l->tmp, (struct sv){ out, at });
    ok = n->text.p || no_memory(l);
out:
    sodium_memzero(out, sizeof out);
    return ok;
}

/* "expected <what>, got <value>"; the value is shown only when the document itself spells it out. */
static void expected(struct loader *l, const struct setting *s, const struct node *n, const char *key) {
    char shown[QUOTED_MAX], text[256] = "a value";
    struct buf b = BUF_MAX(sizeof text);
    if (expected_text(s, &b))
        sv_to_cstr(buf_sv(&b), text, sizeof text);
    buf_deinit(&b);
    const char *got = n->kind == NODE_MAP    ? "a group"
                      : n->kind == NODE_LIST ? "a list"
                      : n->expanded          ? "something else"
                                             : quoted(n->text, shown);
    COMPLAIN(l, n, key, "expected %s, got %s", text, got);
}

static bool number(struct loader *l, const struct setting *s, const struct node *n, const char *key,
                   int64_t *ret_value) {
    char bound[VALUE_TEXT];
    struct sv text = sv_trim(n->text);
    uint64_t u = 0;
    bool ok = false;
    switch (s->type) {
    case T_SIZE:
        ok = size_parse(text, &u);
        break;
    case T_RATE:
        ok = size_parse(sv_ends(text, SV("/s")) ? sv_first(text, text.n - 2) : text, &u);
        break;
    case T_PACE:
        ok = pace_parse(text, &u);
        break;
    case T_DURATION:
        ok = duration_parse(text, &u);
        break;
    case T_MONEY:
        ok = money_read(text, ret_value);
        break;
    case T_PERCENT:
        ok = sv_ends(text, SV("%")) && sv_to_u64(sv_first(text, text.n - 1), &u) && u <= INT_MAX;
        break;
    default:
        ok = int_parse(text, ret_value);
        break;
    }
    if (s->type != T_INT && s->type != T_MONEY)
        *ret_value = (int64_t)u;
    if (!ok && !sv_eq(text, SV("0")))
        expected(l, s, n, key);
    else if (!ok || (*ret_value == 0 && s->min > 0))
        COMPLAIN(l, n, key, "0 does not mean \"no limit\" here: the least is %s", number_text(s->type, s->min, bound));
    else if (*ret_value < s->min)
        COMPLAIN(l, n, key, "less than %s, the least there may be", number_text(s->type, s->min, bound));
    else if (*ret_value > s->max)
        COMPLAIN(l, n, key, "more than %s, the most there may be", number_text(s->type, s->max, bound));
    else
        return true;
    return false;
}

static const struct choice *choose(struct loader *l, const struct setting *s, const struct node *n, const char *key) {
    char text[256] = "one of its words", shown[QUOTED_MAX];
    const struct choice *near = NULL;
    size_t best = 3;
    for (const struct choice *c = s->choices; c->word; c++) {
        if (sv_eq(n->text, sv_of(c->word)) && c->value >= 0)
            return c;
        if (sv_eq(n->text, sv_of(c->word))) {
            COMPLAIN(l, n, key, "\"%s\" is not in this version of Drover", c->word);
            return NULL;
        }
        size_t d = edit_distance(n->text, sv_of(c->word), best);
        if (d < best && d < n->text.n && c->value >= 0) {
            best = d;
            near = c;
        }
    }
    struct buf b = BUF_MAX(sizeof text);
    struct setting one = *s;
    one.type = T_ENUM;
    if (expected_text(&one, &b))
        sv_to_cstr(buf_sv(&b), text, sizeof text);
    buf_deinit(&b);
    COMPLAIN(l, n, key, "expected %s, got %s%s%s%s", text, n->expanded ? "something else" : quoted(n->text, shown),
             near ? "; did you mean \"" : "", near ? near->word : "", near ? "\"?" : "");
    return NULL;
}

/* What the row's judge, or that of the app, says about a piece of text. */
static bool judge(struct loader *l, const struct setting *s, const struct node *n, const char *key) {
    struct err e = { 0 };
    char shown[QUOTED_MAX];
    if (n->text.n && memchr(n->text.p, '\0', n->text.n)) {
        COMPLAIN(l, n, key, "holds a NUL byte");
        return false;
    }
    if (!s->check || s->check(n->text, &e))
        return true;
    if (n->expanded)
        COMPLAIN(l, n, key, "%s", e.text);
    else
        COMPLAIN(l, n, key, "%s, got %s", e.text, quoted(n->text, shown));
    return false;
}

static bool list(struct loader *l, const struct setting *s, struct node *n, const char *key, void *field) {
    struct config_list out = { NULL, 0 };
    unsigned mask = 0;
    struct sv *v = NULL;
    if ((int64_t)n->n > s->max && s->type == T_LIST) {
        COMPLAIN(l, n, key, "%zu entries, but %d are all there may be", n->n, (int)s->max);
        return false;
    }
    if ((int64_t)n->n < s->min) {
        COMPLAIN(l, n, key, "needs at least %d entry", (int)s->min);
        return false;
    }
    if (s->type == T_LIST && n->n && !(v = ARENA_ARRAY(&l->c->arena__, struct sv, n->n)))
        return no_memory(l);
    size_t i = 0;
    bool ok = true;
    for (struct node *item = n->first; item; item = item->next, i++) {
        char at[160];
        snprintf(at, sizeof at, "%s[%zu]", key, i);
        if (item->kind != NODE_SCALAR || node_is_null(item)) {
            COMPLAIN(l, item, at, "expected a word");
            ok = false;
        } else if (!expand(l, item, at)) {
            ok = false;
        } else if (s->type == T_ENUMS) {
            const struct choice *c = choose(l, s, item, at);
            ok = ok && c;
            mask |= c ? 1u << c->value : 0;
        } else if (!judge(l, s, item, at)) {
            ok = false;
        } else {
            v[i] = arena_sv(&l->c->arena__, item->text);
            if (!v[i].p)
                return no_memory(l);
        }
    }
    out.v = v;
    out.n = n->n;
    if (ok && s->type == T_LIST)
        *(struct config_list *)field = out;
    else if (ok)
        *(unsigned *)field = mask;
    return ok;
}

void entry_check(struct loader *l, const struct items *it, const struct node *item, const char *shown) {
    for (size_t r = 0; r < n_settings; r++) {
        const struct node *k = item->first;
        if (!settings[r].required || !setting_in(&settings[r], it->prefix))
            continue;
        const char *name = settings[r].path + strlen(it->prefix);
        while (k && !sv_eq(k->key, sv_of(name)))
            k = k->next;
        if (!k || node_is_null(k))
            COMPLAIN(l, item, shown, "%s is missing", name);
    }
}

static void items(struct loader *l, const struct setting *s, struct node *n, const char *key, void *config) {
    const struct items *it = s->items;
    char *all = NULL;
    if ((int64_t)n->n < s->min || n->n > it->max) {
        COMPLAIN(l, n, key, "%zu entries; there may be %d to %zu", n->n, (int)s->min, it->max);
        return;
    }
    if (n->n && !(all = arena_alloc_n(&l->c->arena__, n->n, it->size))) {
        no_memory(l);
        return;
    }
    map_deinit(&l->seen);
    size_t i = 0;
    for (struct node *item = n->first; item; item = item->next, i++) {
        char shown[64], prefix[72];
        void *base = all + i * it->size;
        snprintf(shown, sizeof shown, "%s[%zu]", key, i);
        snprintf(prefix, sizeof prefix, "%s.", shown);
        if (item->kind != NODE_MAP) {
            COMPLAIN(l, item, shown, "expected a group of settings, such as {%s: ...}", s[1].path + strlen(it->prefix));
            continue;
        }
        assign_defaults(l, it->prefix, base);
        walk(l, item, it->prefix, prefix, base);
        entry_check(l, it, item, shown);
        it->finish(l, all, i, item);
    }
    *(void **)(void *)((char *)config + s->at) = all;
    *(size_t *)(void *)((char *)config + it->count_at) = n->n;
}

static bool is_list(enum setting_type t) {
    return t == T_LIST || t == T_ENUMS || t == T_ITEMS;
}

static void path(struct loader *l, const struct setting *s, const struct node *n, const char *key, struct sv *field) {
    struct sv full = path_absolute(l, n->text, n->origin->kind);
    if (!full.p) {
        no_memory(l);
        return;
    }
    if (full.n > (size_t)s->max)
        COMPLAIN(l, n, key, "%zu bytes long; %d are all there may be", full.n, (int)s->max);
    else if (s->type == T_PATH || l->src->no_files || file_is_good(l, n, key, full, s->type == T_KEY_FILE))
        *field = full;
}

static void secret(struct loader *l, struct node *n, const char *key, struct config_secret *field, bool is_file) {
    if (field->value || field->file.n) {
        COMPLAIN(l, n, key, "give the key or its file, not both");
        return;
    }
    if (is_file && n->origin->kind == FROM_CONSOLE) {
        COMPLAIN(l, n, key, "only the configuration file can name a file whose content is sent away: give the key itself");
        return;
    }
    if (!is_file) {
        if (n->origin->kind == FROM_FLAG)
            COMPLAIN(l, n, key, "a secret on the command line can be seen by every user of this machine: use key_file");
        else if (n->origin->kind == FROM_FILE && !n->expanded && (l->file_mode & 077))
            COMPLAIN(l, n, key,
                     "this file holds a secret and others can get at it (mode %04o): chmod 600 %s, or use key_file",
                     l->file_mode, n->origin->label);
        else {
            if (n->expanded || n->origin->kind == FROM_ENVIRONMENT)
                WARN(l, n, key,
                     "a secret in the environment is passed on to child processes: prefer key_file");
            secret_set(l, n, key, n->text, field);
        }
        sodium_memzero((char *)(uintptr_t)n->text.p, n->text.n); /* the arena's copy */
        return;
    }
    struct sv dir = env_get(l, "CREDENTIALS_DIRECTORY"); /* systemd hands credentials over by name */
    field->file = dir.n && sv_find_char(n->text, '/') < 0
                      ? sv_of(arena_printf(&l->c->arena__, "%.*s/%.*s", SV_FMT(dir), SV_FMT(n->text)))
                      : SV_NULL;
    if (!field->file.p || l->src->no_files || access(field->file.p, F_OK) != 0)
        field->file = path_absolute(l, n->text, n->origin->kind);
    if (!field->file.p)
        no_memory(l);
    else if (!l->src->no_files)
        secret_from_file(l, n, key, field);
}

/* What a plain word means in YAML: true, false, null and numbers are what JSON takes them for; the rest is text. */
static void scalar_json(struct buf *out, const struct node *n) {
    yyjson_doc *doc = n->plain ? json_parse(n->text) : NULL;
    if (node_is_null(n))
        buf_add(out, SV("null"));
    else if (doc)
        buf_add(out, n->text);
    else
        buf_add_json(out, n->text);
    yyjson_doc_free(doc);
}

/* Depth is bounded by tree_read. */
static void node_json(struct buf *out, const struct node *n) {
    bool first = true;
    if (n->kind == NODE_SCALAR) {
        scalar_json(out, n);
        return;
    }
    buf_add_char(out, n->kind == NODE_MAP ? '{' : '[');
    for (const struct node *child = n->first; child; child = child->next, first = false) {
        if (!first)
            buf_add_char(out, ',');
        if (n->kind == NODE_MAP) {
            buf_add_json(out, child->key);
            buf_add_char(out, ':');
        }
        node_json(out, child);
    }
    buf_add_char(out, n->kind == NODE_MAP ? '}' : ']');
}

static void json(struct loader *l, const struct setting *s, const struct node *n, const char *key, struct sv *field) {
    struct buf out = BUF_MAX((size_t)s->max);
    struct err e;
    node_json(&out, n);
    if (out.failed)
        COMPLAIN(l, n, key, "more than %d bytes as JSON; that is all there may be", (int)s->max);
    else if (s->check && !s->check(buf_sv(&out), &e))
        COMPLAIN(l, n, key, "%s", e.text);
    else if (!(*field = arena_sv(&l->c->arena__, buf_sv(&out))).p)
        no_memory(l);
    buf_deinit(&out);
}

void assign(struct loader *l, const struct setting *s, struct node *n, const char *key, void *base, bool is_file_twin) {
    void *field = s->at == NO_FIELD ? NULL : (char *)base + s->at;
    const struct choice *c;
    int64_t value;
    bool is_true;
    char variable[80];

    if (s->type == T_LATER) {
        COMPLAIN(l, n, key, "is not in this version of Drover");
        return;
    }
    if (s->type == T_MOVED || s->type == T_FIXED) {
        COMPLAIN(l, n, key,
                 s->type == T_MOVED ? "this setting is called %s"
                                    : "is built in at %s and cannot be set in this version",
                 s->type == T_MOVED ? s->text : s->dflt);
        return;
    }
    if (s->file_only && n->origin && n->origin->kind != FROM_FILE) {
        COMPLAIN(l, n, key, "only the configuration file can set this");
        return;
    }
    if (node_is_null(n))
        return;
    if (n->origin->kind == FROM_CONSOLE && !s->console && !s->added) {
        COMPLAIN(l, n, key, "is not for the console to set: write it into the configuration file, or set %s",
                 setting_variable(s, variable, sizeof variable));
        return;
    }
    if (setting_in(s, ""))
        ((struct config *)base)->origins__[s - settings] =
            (struct config_origin){ (enum config_origin_kind)n->origin->kind, n->origin->kind == FROM_FILE ? n->line : 0 };
    if (n->kind != (is_list(s->type) ? NODE_LIST : s->type == T_JSON ? NODE_MAP : NODE_SCALAR)) {
        expected(l, s, n, key);
        return;
    }
    if (n->kind == NODE_SCALAR && !expand(l, n, key))
        return;
    switch (s->type) {
    case T_BOOL:
        is_true = sv_eq(n->text, SV("true"));
        if (!is_true && !sv_eq(n->text, SV("false")))
            expected(l, s, n, key);
        else if (is_true && s->max == 0)
            COMPLAIN(l, n, key, "true is not in this version of Drover");
        else
            *(bool *)field = is_true;
        break;
    case T_INT:
    case T_PACE:
    case T_PERCENT:
        if (number(l, s, n, key, &value))
            *(int *)field = (int)value;
        break;
    case T_SIZE:
    case T_RATE:
        if (number(l, s, n, key, &value))
            *(size_t *)field = (size_t)value;
        break;
    case T_DURATION:
        if (number(l, s, n, key, &value))
            *(uint64_t *)field = (uint64_t)value;
        break;
    case T_MONEY:
        if (number(l, s, n, key, &value))
            *(struct config_money *)field = (struct config_money){ value, true };
        break;
    case T_STRING:
        if (!judge(l, s, n, key))
            break;
        if (n->text.n < (size_t)s->min || n->text.n > (size_t)s->max)
            COMPLAIN(l, n, key, "expected %d to %d bytes, got %zu", (int)s->min, (int)s->max, n->text.n);
        else if (!(*(struct sv *)field = arena_sv(&l->c->arena__, n->text)).p)
            no_memory(l);
        break;
    case T_PATH:
    case T_FILE:
    case T_KEY_FILE:
        if (n->text.n == 0)
            expected(l, s, n, key);
        else if (judge(l, s, n, key))
            path(l, s, n, key, field);
        break;
    case T_ENUM:
        c = choose(l, s, n, key);
        if (c && field)
            *(int *)field = c->value;
        break;
    case T_LIST:
    case T_ENUMS:
        list(l, s, n, key, field);
        break;
    case T_JSON:
        json(l, s, n, key, field);
        break;
    case T_SECRET:
        if (is_file_twin && n->text.n == 0)
            COMPLAIN(l, n, key, "expected a path");
        else if (judge(l, s, n, key))
            secret(l, n, key, field, is_file_twin);
        break;
    case T_ITEMS:
        items(l, s, n, key, base);
        break;
    case T_MOVED:
    case T_FIXED:
    case T_LATER:
        break;
    }
}
