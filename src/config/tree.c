/* config/tree.c - libyaml's events become a tree, and what YAML offers beyond plain data is refused.
 *
 * Aliases are refused because a few lines of them can stand for gigabytes, and because a setting should stand where it
 * is read; tags because a value's type is the table's business. libyaml keeps copies of what it scans that nobody
 * wipes: that is why the manual recommends key_file over a key in the document. */
#include "config/tree.h"

#include <stdio.h>
#include <yaml.h>

#include "base/utf8.h"

struct reader {
    yaml_parser_t parser;
    const struct origin *origin;
    struct arena *arena;
    struct config_report *report;
    struct sv text;
    size_t n_nodes;
    bool bad;
};

const struct node *node_child(const struct node *map, const char *key) {
    const struct node *n = map->first;
    while (n && !sv_eq(n->key, sv_of(key)))
        n = n->next;
    return n ? n : map;
}

bool node_is_null(const struct node *n) {
    return n->kind == NODE_SCALAR && n->plain &&
           (n->text.n == 0 || sv_eq(n->text, SV("~")) || sv_eq_nocase(n->text, SV("null")));
}

struct node *tree_scalar(struct sv text, const struct origin *o, struct arena *a) {
    struct node *n = ARENA_NEW(a, struct node);
    struct sv copy = arena_sv(a, text);
    if (!n || !copy.p)
        return NULL;
    n->kind = NODE_SCALAR;
    n->text = copy;
    n->origin = o;
    return n;
}

/* Line and column, from 1, of a byte. Columns count characters as libyaml does. */
static void place(struct sv text, size_t at, unsigned *ret_line, unsigned *ret_column) {
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < at && i < text.n; i++) {
        if (text.p[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

static void no_memory(struct reader *r) {
    r->bad = true;
    complain_no_memory(r->report);
}

#define REFUSE(r, mark, ...)                                                                                           \
    ((r)->bad = true,                                                                                                  \
     complain((r)->report, (r)->origin, (unsigned)(mark).line + 1, (unsigned)(mark).column + 1, NULL, __VA_ARGS__))

static void syntax(struct reader *r) {
    const yaml_parser_t *p = &r->parser;
    unsigned line = (unsigned)p->problem_mark.line + 1, column = (unsigned)p->problem_mark.column + 1;
    if (p->error == YAML_MEMORY_ERROR) {
        no_memory(r);
        return;
    }
    if (p->error == YAML_READER_ERROR)
        place(r->text, p->problem_offset, &line, &column);
    r->bad = true;
    complain(r->report, r->origin, line, column, NULL, "this is no YAML: %s%s%s",
             p->problem ? p->problem : "cannot be read", p->context ? " " : "", p->context ? p->context : "");
}

/* False: a complaint was made, or memory is out. */
static bool next(struct reader *r, yaml_event_t *ev) {
    if (yaml_parser_parse(&r->parser, ev))
        return true;
    syntax(r);
    return false;
}

static bool has_extras(struct reader *r, const yaml_event_t *ev) {
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        anchor = ev->data.scalar.anchor;
        tag = ev->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = ev->data.sequence_start.anchor;
        tag = ev->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = ev->data.mapping_start.anchor;
        tag = ev->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (ev->type == YAML_ALIAS_EVENT || anchor)
        REFUSE(r, ev->start_mark, "anchors and aliases (& and *) are not used here: write the value out");
    else if (tag)
        REFUSE(r, ev->start_mark, "tags (!) are not used here: write the plain value");
    return r->bad;
}

static struct node *value(struct reader *r, yaml_event_t *ev, unsigned depth);

static bool known_key(const struct node *map, struct sv key) {
    for (const struct node *n = map->first; n; n = n->next)
        if (sv_eq(n->key, key))
            return true;
    return false;
}

/* The rest of a mapping or list, up to its end event. */
static bool children(struct reader *r, struct node *n, unsigned depth) {
    enum { KEYS_MAX = 256 }; /* no group has a third of that; bounds the search for a key given twice */
    struct node **end = &n->first;
    for (;;) {
        yaml_event_t ev;
        struct sv key = SV_NULL;
        unsigned key_line = 0, key_column = 0;
        if (!next(r, &ev))
            return false;
        if (ev.type == YAML_SEQUENCE_END_EVENT || ev.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&ev);
            return true;
        }
        if (n->kind == NODE_MAP) {
            yaml_mark_t at = ev.start_mark;
            char shown[QUOTED_MAX];
            if (!has_extras(r, &ev) && ev.type != YAML_SCALAR_EVENT)
                REFUSE(r, at, "expected the name of a setting");
            if (!r->bad) {
                key = arena_sv(r->arena, (struct sv){ (const char *)ev.data.scalar.value, ev.data.scalar.length });
                if (!key.p)
                    no_memory(r);
                else if (known_key(n, key))
                    REFUSE(r, at, "%s is here a second time", quoted(key, shown));
                else if (n->n == KEYS_MAX)
                    REFUSE(r, at, "more than %d keys in one place", KEYS_MAX);
            }
            yaml_event_delete(&ev);
            key_line = (unsigned)at.line + 1;
            key_column = (unsigned)at.column + 1;
            if (r->bad || !next(r, &ev))
                return false;
        }
        struct node *child = value(r, &ev, depth);
        if (!child)
            return false;
        child->key = key;
        child->key_line = key_line;
        child->key_column = key_column;
        *end = child;
        end = &child->next;
        n->n++;
    }
}

/* Takes ev, the first of the value. Recursion is bounded by CONFIG_DEPTH_MAX. */
static struct node *value(struct reader *r, yaml_event_t *ev, unsigned depth) {
    struct node *n = NULL;
    if (has_extras(r, ev))
        goto out;
    if (++r->n_nodes > CONFIG_NODES_MAX) {
        REFUSE(r, ev->start_mark, "more than %d values in one document", CONFIG_NODES_MAX);
        goto out;
    }
    n = ARENA_NEW(r->arena, struct node);
    if (!n) {
        no_memory(r);
        goto out;
    }
    n->origin = r->origin;
    n->line = (unsigned)ev->start_mark.line + 1;
    n->column = (unsigned)ev->start_mark.column + 1;
    if (ev->type == YAML_SCALAR_EVENT) {
        n->kind = NODE_SCALAR;
        n->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        n->text = arena_sv(r->arena, (struct sv){ (const char *)ev->data.scalar.value, ev->data.scalar.length });
        if (!n->text.p)
            no_memory(r);
    } else if (depth == CONFIG_DEPTH_MAX) {
        REFUSE(r, ev->start_mark, "nested deeper than %d levels", CONFIG_DEPTH_MAX);
    } else {
        n->kind = ev->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST;
        children(r, n, depth + 1);
    }
out:
    yaml_event_delete(ev);
    return r->bad ? NULL : n;
}

/* stream start, document start, one value, document end, stream end. */
static struct node *document(struct reader *r, bool *ret_empty) {
    struct node *root = NULL;
    for (;;) {
        yaml_event_t ev;
        if (!next(r, &ev))
            return NULL;
        switch (ev.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (root)
                REFUSE(r, ev.start_mark, "a second document starts here; one is all there may be");
            break;
        case YAML_STREAM_END_EVENT:
            yaml_event_delete(&ev);
            *ret_empty = !root;
            return root;
        default:
            root = value(r, &ev, 0);
            if (!root)
                return NULL;
            continue; /* value took the event */
        }
        yaml_event_delete(&ev);
        if (r->bad)
            return NULL;
    }
}

struct node *tree_read(struct sv text, const struct origin *o, struct arena *a, struct config_report *report,
                       bool *ret_empty) {
    struct reader r = { .origin = o, .arena = a, .report = report, .text = text };
    *ret_empty = false;
    if (text.n > CONFIG_FILE_MAX) {
        complain(report, o, 0, 0, NULL, "is larger than %d bytes", CONFIG_FILE_MAX);
        return NULL;
    }
    for (size_t at = 0; at < text.n;) {
        size_t len = utf8_len(sv_from(text, at));
        if (len == 0) {
            unsigned line, column;
            place(text, at, &line, &column);
            complain(report, o, line, column, NULL, "byte 0x%02x is no UTF-8: save the file as UTF-8",
                     (unsigned)(unsigned char)text.p[at]);
            return NULL;
        }
        at += len;
    }
    if (!yaml_parser_initialize(&r.parser)) {
        complain_no_memory(report);
        return NULL;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    struct node *root = document(&r, ret_empty);
    yaml_parser_delete(&r.parser);
    return root;
}
