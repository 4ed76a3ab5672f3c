/* config/show.c - the effective settings in print, and what differs between two of them. Both walk the table. */
#include <sodium.h>

#include "config/schema.h"

static void put(struct printer *p, struct sv v) {
    p->ok = p->ok && buf_add(p->out, v);
}

/* A word that YAML reads back as the same string without quotes. */
static bool is_plain(struct sv v) {
    static const char also[] = "._/-";
    if (v.n == 0 || !(v.p[0] == '/' || ((v.p[0] | 0x20) >= 'a' && (v.p[0] | 0x20) <= 'z')))
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (!(v.p[i] >= '0' && v.p[i] <= '9') && !((v.p[i] | 0x20) >= 'a' && (v.p[i] | 0x20) <= 'z') &&
            !memchr(also, v.p[i], 4))
            return false;
    return !sv_eq_nocase(v, SV("null")) && !sv_eq_nocase(v, SV("true")) && !sv_eq_nocase(v, SV("false"));
}

static void put_string(struct printer *p, struct sv v) {
    if (p->style == CONFIG_YAML && is_plain(v)) {
        put(p, v);
        return;
    }
    if (p->style == CONFIG_JSON || p->only || sv_find(v, SV("${")) < 0) {
        p->ok = p->ok && buf_add_json(p->out, v);
        return;
    }
    struct buf escaped = BUF_MAX(2 * v.n + 1); /* $${, or reading a file back would expand it */
    for (size_t i = 0; i < v.n; i++) {
        if (sv_starts(sv_from(v, i), SV("${")))
            p->ok = buf_add_char(&escaped, '$') && p->ok;
        p->ok = buf_add_char(&escaped, v.p[i]) && p->ok;
    }
    p->ok = p->ok && buf_add_json(p->out, buf_sv(&escaped));
    buf_deinit(&escaped);
}

static void put_or_null(struct printer *p, struct sv v) {
    if (v.n)
        put_string(p, v);
    else
        put(p, SV("null"));
}

static const char *word(const struct choice *c, int value) {
    while (c->word && c->value != value)
        c++;
    return c->word;
}

static void put_number(struct printer *p, const struct setting *s, int64_t value) {
    char text[VALUE_TEXT];
    bool quotes = p->style == CONFIG_JSON && s->type != T_INT;
    if (value == 0 && !s->dflt) {
        put(p, SV("null"));
        return;
    }
    number_text(s->type, value, text);
    put(p, quotes ? SV("\"") : SV_NULL);
    put(p, sv_of(text));
    put(p, quotes ? SV("\"") : SV_NULL);
}

static void put_items(struct printer *p, const struct setting *s, const struct config *c, unsigned depth);

void print_value(struct printer *p, const struct setting *s, const void *base) {
    const void *field = s->at == NO_FIELD ? NULL : (const char *)base + s->at;
    bool first = true;
    char text[VALUE_TEXT];
    switch (s->type) {
    case T_BOOL:
        put(p, *(const bool *)field ? SV("true") : SV("false"));
        break;
    case T_INT:
    case T_PACE:
    case T_PERCENT:
        put_number(p, s, *(const int *)field);
        break;
    case T_SIZE:
    case T_RATE:
        put_number(p, s, (int64_t) * (const size_t *)field);
        break;
    case T_DURATION:
        put_number(p, s, (int64_t) * (const uint64_t *)field);
        break;
    case T_MONEY:
        if (((const struct config_money *)field)->is_set)
            put(p, sv_of(number_text(s->type, ((const struct config_money *)field)->millionths, text)));
        else
            put(p, SV("null"));
        break;
    case T_STRING:
    case T_PATH:
    case T_FILE:
    case T_KEY_FILE:
        put_or_null(p, *(const struct sv *)field);
        break;
    case T_ENUM:
        put_string(p, sv_of(field ? word(s->choices, *(const int *)field) : s->dflt));
        break;
    case T_ENUMS:
        put(p, SV("["));
        for (const struct choice *c = s->choices; c->word; c++)
            if (c->value >= 0 && *(const unsigned *)field & 1u << c->value) {
                put(p, first ? SV_NULL : SV(", "));
                put_string(p, sv_of(c->word));
                first = false;
            }
        put(p, SV("]"));
        break;
    case T_LIST:
        put(p, SV("["));
        for (size_t i = 0; i < ((const struct config_list *)field)->n; i++) {
            put(p, i ? SV(", ") : SV_NULL);
            put_string(p, ((const struct config_list *)field)->v[i]);
        }
        put(p, SV("]"));
        break;
    case T_JSON:
        if (((const struct sv *)field)->n)
            put(p, *(const struct sv *)field); /* JSON is YAML */
        else
            put(p, SV("{}"));
        break;
    case T_SECRET: /* with blanks inside, which no key may have: reading it back is refused */
        if (p->only && ((const struct config_secret *)field)->value)
            put_string(p, (struct sv){ ((const struct config_secret *)field)->value, ((const struct config_secret *)field)->n });
        else
            put_or_null(p, ((const struct config_secret *)field)->value ? SV("(set, not shown)") : SV_NULL);
        break;
    case T_ITEMS:
        put_items(p, s, base, 0);
        break;
    case T_MOVED:
    case T_FIXED:
    case T_LATER:
        break;
    }
}

static void indent(struct printer *p, unsigned depth) {
    while (depth--)
        put(p, SV("  "));
}

/* Before a key: the comma that JSON wants, a new line, the indentation. first_in_item: the "- " stands there
 * already. */
static void put_key(struct printer *p, struct sv key, unsigned depth, bool first_in_item) {
    bool json = p->style == CONFIG_JSON;
    char last = p->out->n ? p->out->p[p->out->n - 1] : '\0';
    if (!first_in_item || json) {
        if (json && last != '{')
            put(p, SV(","));
        if (json || p->out->n)
            put(p, SV("\n"));
        indent(p, depth);
    }
    if (json)
        put(p, SV("\""));
    put(p, key);
    put(p, json ? SV("\": ") : SV(":"));
}

static void put_items(struct printer *p, const struct setting *s, const struct config *c, unsigned depth) {
    const char *all = *(const char *const *)(const void *)((const char *)c + s->at);
    size_t n = *(const size_t *)(const void *)((const char *)c + s->items->count_at);
    bool json = p->style == CONFIG_JSON;
    if (n == 0 || json)
        put(p, n == 0 && !json ? SV(" [") : SV("["));
    for (size_t i = 0; i < n; i++) {
        put(p, json && i ? SV(",\n") : SV("\n"));
        indent(p, depth + 1);
        put(p, json ? SV("{") : SV("- "));
        print_rows(p, s->items->prefix, all + i * s->items->size, depth + 2, true);
        if (json) {
            put(p, SV("\n"));
            indent(p, depth + 1);
            put(p, SV("}"));
        }
    }
    if (n && json) {
        put(p, SV("\n"));
        indent(p, depth);
    }
    if (n == 0 || json)
        put(p, SV("]"));
}

static void close_groups(struct printer *p, unsigned n, unsigned depth) {
    while (p->style == CONFIG_JSON && n--) {
        put(p, SV("\n"));
        indent(p, --depth);
        put(p, SV("}"));
    }
}

bool print_origin(const struct config *c, const struct setting *s, struct buf *out) {
    static const char *const words[] = { "default", "console", "file", "environment", "flag" };
    const struct config_origin *from = &c->origins__[s - settings];
    return buf_printf(out, from->line ? "%s, line %u" : "%s", words[from->kind], from->line);
}

static void put_origin(struct printer *p, const struct setting *s, const struct config *c) {
    if (!p->tells || p->style == CONFIG_JSON || c->origins__[s - settings].kind == CONFIG_FROM_DEFAULT)
        return;
    put(p, SV(" # "));
    p->ok = p->ok && print_origin(c, s, p->out);
}

/* A list of entries tells it beside its name. */
static void put_items_told(struct printer *p, const struct setting *s, const struct config *c, unsigned depth) {
    bool any = *(const size_t *)(const void *)((const char *)c + s->items->count_at) > 0;
    if (any)
        put_origin(p, s, c);
    put_items(p, s, c, depth);
    if (!any)
        put_origin(p, s, c);
}

static bool is_left_out(const struct printer *p, const struct setting *s, const char *prefix) {
    return s->type >= T_MOVED || !setting_in(s, prefix) || (!*prefix && p->only && p->only->origins__[s - settings].kind != CONFIG_FROM_CONSOLE);
}

/* Every row of one scope; groups are opened and closed as the paths go along. */
void print_rows(struct printer *p, const char *prefix, const void *base, unsigned depth, bool in_item) {
    struct sv open[8]; /* names of the groups we are in */
    unsigned n_open = 0;
    bool first = in_item;
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (is_left_out(p, s, prefix))
            continue;
        struct sv rest = sv_of(s->path + strlen(prefix)), name;
        unsigned at = 0;
        for (struct sv v = rest; sv_cut(&v, '.', &name) && at < n_open && sv_eq(open[at], name); rest = v)
            at++;
        close_groups(p, n_open - at, depth + n_open);
        for (n_open = at; sv_cut(&rest, '.', &name); n_open++) {
            put_key(p, name, depth + n_open, first);
            if (p->style == CONFIG_JSON)
                put(p, SV("{"));
            first = false;
            open[n_open] = name;
        }
        put_key(p, rest, depth + n_open, first);
        first = false;
        if (s->type == T_ITEMS) {
            put_items_told(p, s, base, depth + n_open);
            continue;
        }
        put(p, p->style == CONFIG_YAML ? SV(" ") : SV_NULL);
        print_value(p, s, base);
        if (!*prefix)
            put_origin(p, s, base);
        if (s->type == T_SECRET) {
            char twin[64];
            struct sv file = ((const struct config_secret *)(const void *)((const char *)base + s->at))->file;
            memcpy(twin, rest.p, rest.n);
            memcpy(twin + rest.n, "_file", 5);
            put_key(p, (struct sv){ twin, rest.n + 5 }, depth + n_open, false);
            put(p, p->style == CONFIG_YAML ? SV(" ") : SV_NULL);
            put_or_null(p, file);
        }
    }
    close_groups(p, n_open, depth + n_open);
}

static void put_origins(struct printer *p, const struct config *c) {
    bool first = true;
    put(p, SV(",\n  \"origins\": {"));
    for (size_t i = 0; i < n_settings; i++) {
        if (settings[i].type >= T_MOVED || !setting_in(&settings[i], "") || c->origins__[i].kind == CONFIG_FROM_DEFAULT)
            continue;
        p->ok = p->ok && buf_printf(p->out, "%s\n    \"%s\": \"", first ? "" : ",", settings[i].path) && print_origin(c, &settings[i], p->out);
        put(p, SV("\""));
        first = false;
    }
    put(p, first ? SV("}") : SV("\n  }"));
}

static bool print(const struct config *c, struct buf *out, enum config_style style, bool tells) {
    struct buf text = BUF_MAX(out->max);
    struct printer p = { .out = &text, .style = style, .ok = true, .tells = tells };
    if (style == CONFIG_JSON)
        put(&p, SV("{"));
    print_rows(&p, "", c, style == CONFIG_JSON ? 1 : 0, false);
    if (style == CONFIG_JSON && tells)
        put_origins(&p, c);
    put(&p, style == CONFIG_JSON ? SV("\n}\n") : SV("\n"));
    bool ok = p.ok && buf_add(out, buf_sv(&text));
    buf_deinit(&text);
    return ok;
}

bool config_show(const struct config *c, struct buf *out, enum config_style style) {
    return print(c, out, style, false);
}

bool config_tell(const struct config *c, struct buf *out, enum config_style style) {
    return print(c, out, style, true);
}

bool config_endpoint_show(const struct config_endpoint *from, struct buf *out) {
    struct config_endpoint bare = *from, *e = &bare;
    bare.key.file = SV_NULL; /* paths of this machine are for those who may read its configuration */
    bare.tls.ca = SV_NULL;
    struct printer p = { .out = out, .style = CONFIG_JSON, .ok = buf_add_char(out, '{') };
    print_rows(&p, "endpoints[].", e, 0, true);
    return buf_add_char(out, '}') && p.ok;
}

bool setting_differs(const struct setting *s, const struct config *a, const struct config *b) {
    struct buf x = BUF_MAX(1 << 20), y = BUF_MAX(1 << 20);
    struct printer px = { .out = &x, .style = CONFIG_JSON, .ok = true }, py = { .out = &y, .style = CONFIG_JSON, .ok = true };
    print_value(&px, s, a);
    print_value(&py, s, b);
    bool same = px.ok && py.ok && sv_eq(buf_sv(&x), buf_sv(&y)); /* out of memory: rather say so once too often */
    buf_deinit(&x);
    buf_deinit(&y);
    return !same;
}

bool config_needs_restart(const struct config *old, const struct config *new_, struct buf *names) {
    bool any = false;
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (s->reload != RESTART || s->type >= T_MOVED || !setting_in(s, "") || !setting_differs(s, old, new_))
            continue;
        buf_printf(names, "%s%s", any ? ", " : "", s->path);
        any = true;
    }
    return any;
}

/* What print cannot tell: the secrets of one scope. */
static bool has_same_secrets(const char *prefix, const void *a, const void *b) {
    for (size_t i = 0; i < n_settings; i++) {
        if (settings[i].type != T_SECRET || !setting_in(&settings[i], prefix))
            continue;
        const struct config_secret *x = (const void *)((const char *)a + settings[i].at);
        const struct config_secret *y = (const void *)((const char *)b + settings[i].at);
        if (x->n != y->n || (x->n && sodium_memcmp(x->value, y->value, x->n) != 0))
            return false;
    }
    return true;
}

/* The same number of entries in both. */
static bool has_same_secrets_in(const struct setting *s, const struct config *a, const struct config *b) {
    const char *x = *(const char *const *)(const void *)((const char *)a + s->at);
    const char *y = *(const char *const *)(const void *)((const char *)b + s->at);
    size_t n = *(const size_t *)(const void *)((const char *)a + s->items->count_at), size = s->items->size;
    for (size_t i = 0; i < n; i++)
        if (!has_same_secrets(s->items->prefix, x + i * size, y + i * size))
            return false;
    return true;
}

bool config_is_same(const struct config *a, const struct config *b) {
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (s->type >= T_MOVED || !setting_in(s, ""))
            continue;
        if (a->origins__[i].kind != b->origins__[i].kind || a->layer__->origins__[i].kind != b->layer__->origins__[i].kind ||
            ((s->console || s->added) && setting_differs(s, a->layer__, b->layer__)) ||
            (s->added && !has_same_secrets_in(s, a->layer__, b->layer__)))
            return false;
        if (setting_differs(s, a, b) || (s->type == T_ITEMS && !has_same_secrets_in(s, a, b)))
            return false;
    }
    return sv_eq(a->file, b->file) && has_same_secrets("", a, b);
}
