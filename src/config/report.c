#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"
#include "config/tree.h"

__attribute__((format(printf, 6, 0))) static void fill(struct config_complaint *c, const struct origin *o,
                                                       unsigned line, unsigned column, const char *key, const char *fmt,
                                                       va_list ap) {
    snprintf(c->source, sizeof c->source, "%s", o ? o->label : "");
    snprintf(c->key, sizeof c->key, "%s", key ? key : "");
    c->line = line;
    c->column = column;
    vsnprintf(c->text, sizeof c->text, fmt, ap);
}

void complain(struct config_report *r, const struct origin *o, unsigned line, unsigned column, const char *key,
              const char *fmt, ...) {
    if (r->no_memory)
        return;
    if (r->n == CONFIG_COMPLAINTS_MAX) {
        r->n_more++;
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    fill(&r->complaints[r->n++], o, line, column, key, fmt, ap);
    va_end(ap);
}

void warn(struct config_report *r, const struct origin *o, unsigned line, unsigned column, const char *key,
          const char *fmt, ...) {
    if (r->n_warnings == CONFIG_WARNINGS_MAX) {
        r->n_more_warnings++;
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    fill(&r->warnings[r->n_warnings++], o, line, column, key, fmt, ap);
    va_end(ap);
}

void complain_no_memory(struct config_report *r) {
    if (r->no_memory)
        return;
    r->n = r->n_more = 0;
    complain(r, NULL, 0, 0, NULL, "out of memory");
    r->no_memory = true;
}

void report_sort(struct config_report *r) {
    for (size_t i = 1; i < r->n; i++)
        for (size_t j = i; j > 0; j--) {
            struct config_complaint *a = &r->complaints[j - 1], *b = &r->complaints[j];
            if (strcmp(a->source, b->source) != 0 || !b->line ||
                (a->line && (a->line < b->line || (a->line == b->line && a->column <= b->column))))
                break;
            struct config_complaint swap = *a;
            *a = *b;
            *b = swap;
        }
}

static bool print(const struct config_complaint *c, const char *grade, struct buf *out) {
    bool ok = true;
    if (c->source[0])
        ok = buf_printf(out, "%s:", c->source);
    if (c->line)
        ok = ok && buf_printf(out, "%u:%u:", c->line, c->column);
    if (c->source[0])
        ok = ok && buf_add_char(out, ' ');
    ok = ok && buf_printf(out, "%s", grade);
    if (c->key[0])
        ok = ok && buf_printf(out, "%s: ", c->key);
    return ok && buf_printf(out, "%s\n", c->text);
}

bool config_report_print(const struct config_report *r, struct buf *out) {
    bool ok = true;
    for (size_t i = 0; i < r->n; i++)
        ok = ok && print(&r->complaints[i], "", out);
    if (r->n_more)
        ok = ok && buf_printf(out, "and %zu more\n", r->n_more);
    for (size_t i = 0; i < r->n_warnings; i++)
        ok = ok && print(&r->warnings[i], "warning: ", out);
    if (r->n_more_warnings)
        ok = ok && buf_printf(out, "and %zu more warnings\n", r->n_more_warnings);
    return ok;
}

char *quoted(struct sv v, char text[static QUOTED_MAX]) {
    size_t at = 0, room = QUOTED_MAX - 8;
    text[at++] = '"';
    while (v.n && at < room) {
        size_t len = utf8_len(v);
        bool show = len > 1 || (len == 1 && (unsigned char)v.p[0] >= 0x20 && v.p[0] != 0x7f);
        if (len > 1 && at + len > room)
            break;
        if (show)
            memcpy(text + at, v.p, len);
        else
            text[at] = '?';
        at += show ? len : 1;
        v = sv_from(v, len ? len : 1);
    }
    memcpy(text + at, v.n ? "...\"" : "\"", v.n ? 5 : 2);
    return text;
}
