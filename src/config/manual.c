/* config/manual.c - the tables of docs/config.md and docs/limits.md and the list of drover-config(5), printed from the table of settings so that they
 * cannot grow apart. */
#include "config/schema.h"

static bool cell_default(const struct setting *s, struct buf *out) {
    if (!s->dflt)
        return buf_add(out, s->required ? SV("required") : SV("not set"));
    if (s->dflt[0] == '(') {
        struct sv words = sv_of(s->dflt + 1);
        words.n--;
        return buf_add(out, words);
    }
    return buf_printf(out, "`%s`", s->dflt);
}

static bool cell_values(const struct setting *s, struct buf *out) {
    char min[VALUE_TEXT], max[VALUE_TEXT];
    bool ok = true, first = true;
    switch (s->type) {
    case T_BOOL:
        return buf_add(out, s->max ? SV("`true`, `false`") : SV("`false`; `true` in a later version"));
    case T_INT:
    case T_SIZE:
    case T_RATE:
    case T_PACE:
    case T_DURATION:
    case T_PERCENT:
    case T_MONEY:
        return buf_printf(out, "%s to %s", number_text(s->type, s->min, min), number_text(s->type, s->max, max));
    case T_ENUM:
    case T_ENUMS:
        ok = s->type == T_ENUM || buf_add(out, SV("list of "));
        for (const struct choice *c = s->choices; c->word; c++) {
            if (c->value < 0)
                continue;
            ok = ok && buf_printf(out, "%s`%s`", first ? "" : ", ", c->word);
            if (c->means[0])
                ok = ok && buf_printf(out, " (%s)", c->means);
            first = false;
        }
        return ok;
    case T_LIST:
        return buf_printf(out, "list, at most %d", (int)s->max);
    case T_ITEMS:
        return buf_printf(out, "list of groups, at most %zu", s->items->max);
    case T_PATH:
        return buf_add(out, SV("path"));
    case T_FILE:
    case T_KEY_FILE:
        return buf_add(out, SV("path of a file"));
    case T_SECRET:
        return buf_add(out, SV("secret"));
    case T_STRING:
        return buf_add(out, SV("text"));
    case T_JSON:
        return buf_add(out, SV("group of request members"));
    case T_MOVED:
    case T_FIXED:
    case T_LATER:
        break;
    }
    return true;
}

/* "limits.conn.max" -> "limits"; "listen[].address" -> "listen" */
static struct sv chapter(const struct setting *s) {
    return (struct sv){ s->path, strcspn(s->path, ".[") };
}

static bool title(const char *name, size_t n, const char *quote, struct buf *out) {
    return buf_printf(
        out, "%s### %s%.*s%s\n\n| key | default | values | change | what it does |\n| --- | --- | --- | --- | --- |\n",
        out->n ? "\n" : "", quote, (int)n, name, quote);
}

static bool line(const struct setting *s, struct buf *out) {
    return buf_printf(out, "| `%s`%s | ", s->path, s->type == T_SECRET ? " or its `_file`" : "") &&
           cell_default(s, out) && buf_add(out, SV(" | ")) && cell_values(s, out) &&
           buf_printf(out, " | %s%s | %s |\n", s->reload == LIVE ? "at once" : "restart", s->console ? ", console" : "", s->text);
}

/* First the settings that are alone in their chapter, then chapter by chapter; limits have a page of their own. */
bool config_manual(struct buf *out) {
    bool ok = title("General", 7, "", out);
    for (size_t i = 0; ok && i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (s->type < T_MOVED && s->type != T_ITEMS && chapter(s).n == strlen(s->path))
            ok = line(s, out);
    }
    struct sv was = SV_NULL;
    for (size_t i = 0; ok && i < n_settings; i++) {
        const struct setting *s = &settings[i];
        struct sv now = chapter(s);
        if (s->type >= T_MOVED || sv_eq(now, SV("limits")) || (s->type != T_ITEMS && now.n == strlen(s->path)))
            continue;
        if (!sv_eq(now, was))
            ok = title(now.p, now.n, "`", out);
        was = now;
        ok = ok && line(s, out);
    }
    return ok;
}

bool config_limits_manual(struct buf *out) {
    char max[VALUE_TEXT];
    bool ok =
        buf_add(out, SV("| key | default | ceiling | beyond it | what it bounds |\n| --- | --- | --- | --- | --- |\n"));
    for (size_t i = 0; ok && i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (s->over)
            ok = buf_printf(out, "| `%s` | `%s` | %s | %s | %s |\n", s->path, s->dflt,
                            s->type == T_FIXED ? "built in" : number_text(s->type, s->max, max), s->over, s->text);
    }
    return ok;
}

/* --- drover-config(5), in mdoc(7) --------------------------------------------------------------------------------- */

/* Text of a line of its own: backslashes kept, no request by a point or an apostrophe at its begin, no Markdown. */
static bool plain(struct sv text, struct buf *out) {
    bool ok = text.n == 0 || (text.p[0] != '.' && text.p[0] != '\'') || buf_add(out, SV("\\&"));
    for (size_t i = 0; ok && i < text.n; i++)
        if (text.p[i] == '\\')
            ok = buf_add(out, SV("\\e"));
        else if (text.p[i] != '`')
            ok = buf_add_char(out, text.p[i]);
    return ok;
}

static bool man_entry(const struct setting *s, struct buf *out) {
    struct buf dflt = BUF_MAX(4096), values = BUF_MAX(4096);
    bool ok = cell_default(s, &dflt) && cell_values(s, &values);
    ok = ok && buf_printf(out, ".It Ic %s%s\n", s->path, s->type == T_SECRET ? " No or Ic _file" : "");
    ok = ok && plain(sv_of(s->text), out) && buf_add(out, SV(".\n"));
    if (values.n)
        ok = ok && buf_add(out, SV("Values: ")) && plain(buf_sv(&values), out) && buf_add(out, SV(".\n"));
    ok = ok && buf_add(out, SV("Default: ")) && plain(buf_sv(&dflt), out) && buf_add(out, SV(".\n"));
    if (s->over)
        ok = ok && buf_add(out, SV("Beyond it: ")) && plain(sv_of(s->over), out) && buf_add(out, SV(".\n"));
    ok = ok && buf_printf(out, "%s%s.\n", s->reload == LIVE ? "A change holds at once" : "A change takes a restart",
                          s->console ? ", and can be made from the console" : "");
    buf_deinit(&dflt);
    buf_deinit(&values);
    return ok;
}

bool config_man(struct buf *out) {
    bool ok = buf_add(out, SV(".Bl -tag -width Ds\n"));
    for (size_t i = 0; ok && i < n_settings; i++)
        if (settings[i].type <= T_ITEMS)
            ok = man_entry(&settings[i], out);
    return ok && buf_add(out, SV(".El\n"));
}
