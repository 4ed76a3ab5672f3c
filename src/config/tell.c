/* config/tell.c - settings, what differs between two of them, and what is wrong with them, as JSON for those who change them. */
#include <sodium.h>

#include "config/schema.h"

enum { VALUE_MAX = 1 << 20, FORM_MAX = 4096 };

static void put_member(struct buf *out, const char *name, struct sv value) {
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, value);
}

/* As it would be written; empty: not set. */
static bool put_value(const struct config *c, const struct setting *s, const char *name, struct buf *out) {
    struct buf value = BUF_MAX(VALUE_MAX);
    struct printer p = { .out = &value, .style = s->type == T_ITEMS ? CONFIG_JSON : CONFIG_YAML, .ok = true };
    print_value(&p, s, c);
    put_member(out, name, sv_eq(buf_sv(&value), SV("null")) ? SV("") : buf_sv(&value));
    buf_deinit(&value);
    return p.ok;
}

static void put_origin(const struct config *c, const struct setting *s, struct buf *out) {
    static const char *const origins[] = { "default", "console", "file", "environment", "flag" };
    const struct config_origin *from = &c->origins__[s - settings];
    put_member(out, "origin", sv_of(origins[from->kind]));
    if (from->line)
        buf_printf(out, ",\"line\":%u", from->line);
}

static bool is_number(enum setting_type t) {
    return t == T_INT || t == T_SIZE || t == T_RATE || t == T_PACE || t == T_DURATION || t == T_PERCENT || t == T_MONEY;
}

static void put_bounds(const struct setting *s, struct buf *out) {
    char text[VALUE_TEXT];
    if (!is_number(s->type))
        return;
    put_member(out, "least", sv_of(number_text(s->type, s->min, text)));
    put_member(out, "most", sv_of(number_text(s->type, s->max, text)));
}

/* What a form needs to offer a control for it. */
static void put_control(const struct setting *s, struct buf *out) {
    static const char *const kinds[] = { [T_BOOL] = "bool", [T_INT] = "number", [T_SIZE] = "size", [T_RATE] = "rate", [T_PACE] = "pace",
                                         [T_DURATION] = "duration", [T_PERCENT] = "percent", [T_MONEY] = "money", [T_STRING] = "text",
                                         [T_ENUM] = "choice", [T_ENUMS] = "choices", [T_LIST] = "list" };
    put_member(out, "kind", sv_of(kinds[s->type]));
    put_bounds(s, out);
    if (!s->choices)
        return;
    buf_add(out, SV(",\"choices\":["));
    bool first = true;
    for (const struct choice *c = s->choices; c->word; c++) {
        if (c->value < 0)
            continue;
        buf_printf(out, "%s{\"word\":\"%s\"", first ? "" : ",", c->word);
        put_member(out, "means", sv_of(c->means));
        buf_add_char(out, '}');
        first = false;
    }
    buf_add_char(out, ']');
}

static bool put_setting(const struct config *c, const struct setting *s, struct buf *out) {
    struct buf form = BUF_MAX(FORM_MAX);
    bool ok = expected_text(s, &form);
    buf_printf(out, "{\"name\":\"%s\"", s->path);
    ok = put_value(c, s, "value", out) && ok;
    put_member(out, "default", sv_of(s->dflt ? s->dflt : ""));
    put_origin(c, s, out);
    buf_printf(out, ",\"restart\":%s", s->reload == RESTART ? "true" : "false");
    put_member(out, "type", buf_sv(&form));
    put_member(out, "help", sv_of(s->text ? s->text : ""));
    buf_printf(out, ",\"changeable\":%s", s->console ? "true" : "false");
    if (s->console)
        put_control(s, out);
    buf_add_char(out, '}');
    buf_deinit(&form);
    return ok && !out->failed;
}

static bool is_told(const struct setting *s) {
    return s->type < T_MOVED && setting_in(s, "");
}

bool config_list(const struct config *c, struct buf *out) {
    bool first = true, ok = buf_add_char(out, '[');
    for (size_t i = 0; ok && i < n_settings; i++) {
        if (!is_told(&settings[i]))
            continue;
        ok = (first || buf_add_char(out, ',')) && put_setting(c, &settings[i], out);
        first = false;
    }
    return ok && buf_add_char(out, ']');
}

bool config_differences(const struct config *old, const struct config *new_, struct buf *out) {
    bool first = true, ok = buf_add_char(out, '[');
    for (size_t i = 0; ok && i < n_settings; i++) {
        const struct setting *s = &settings[i];
        bool unset = old->layer__->origins__[i].kind != new_->layer__->origins__[i].kind; /* also where something else wins */
        if (!is_told(s) || (!unset && old->origins__[i].kind == new_->origins__[i].kind && !setting_differs(s, old, new_)))
            continue;
        buf_printf(out, "%s{\"key\":\"%s\"", first ? "" : ",", s->path);
        ok = put_value(old, s, "from", out) && put_value(new_, s, "to", out);
        put_origin(new_, s, out);
        buf_printf(out, ",\"restart\":%s}", s->reload == RESTART ? "true" : "false");
        first = false;
    }
    return ok && buf_add_char(out, ']');
}

/* "discovery.lan[2]" is of discovery.lan. */
static const struct setting *row_of(const struct config_complaint *c) {
    return setting_find((struct sv){ c->key, strcspn(c->key, "[") });
}

bool config_report_list(const struct config_report *r, struct buf *out) {
    buf_add_char(out, '[');
    for (size_t i = 0; i < r->n; i++) {
        const struct config_complaint *c = &r->complaints[i];
        const struct setting *s = row_of(c);
        struct buf form = BUF_MAX(FORM_MAX);
        buf_add(out, i ? SV(",{\"key\":") : SV("{\"key\":"));
        buf_add_json(out, sv_of(c->key));
        put_member(out, "message", sv_of(c->text));
        if (s && s->type < T_MOVED && expected_text(s, &form))
            put_member(out, "expected", buf_sv(&form));
        if (s)
            put_bounds(s, out);
        put_member(out, "source", sv_of(c->source));
        if (c->line)
            buf_printf(out, ",\"line\":%u,\"column\":%u", c->line, c->column);
        buf_add_char(out, '}');
        buf_deinit(&form);
    }
    return buf_add_char(out, ']');
}

uint64_t config_version(const struct config *c) {
    struct buf all = BUF_MAX(16 << 20);
    struct printer p = { .out = &all, .style = CONFIG_YAML, .ok = true, .only = c->layer__ };
    static unsigned char key[crypto_generichash_KEYBYTES]; /* without it, who sees the number could try out what the keys might be */
    static bool has_key;
    unsigned char hash[crypto_generichash_BYTES];
    uint64_t n = 0;
    if (!has_key)
        randombytes_buf(key, sizeof key);
    has_key = true;
    (void)config_list(c, &all);
    print_rows(&p, "", c->layer__, 0, false);
    crypto_generichash(hash, sizeof hash, (const unsigned char *)all.p, all.n, key, sizeof key);
    if (all.base)
        sodium_memzero(all.base, all.cap);
    buf_deinit(&all);
    memcpy(&n, hash, sizeof n);
    return n >> 12; /* what JavaScript's numbers hold */
}
