/* config/tree.h - a YAML document as a small tree with a place for every key and value. Private to this room. */
#ifndef DROVER_CONFIG_TREE_H
#define DROVER_CONFIG_TREE_H

#include "base/arena.h"
#include "config/config.h"

enum origin_kind {
    FROM_DEFAULT = CONFIG_FROM_DEFAULT,
    FROM_CONSOLE = CONFIG_FROM_CONSOLE,
    FROM_FILE = CONFIG_FROM_FILE,
    FROM_ENVIRONMENT = CONFIG_FROM_ENVIRONMENT,
    FROM_FLAG = CONFIG_FROM_FLAG,
};

struct origin {
    enum origin_kind kind;
    const char *label; /* for complaints */
};

enum node_kind { NODE_SCALAR, NODE_MAP, NODE_LIST };

struct node {
    enum node_kind kind;
    bool plain;    /* a scalar without quotes */
    bool expanded; /* ${NAME} was replaced: never shown */
    unsigned line, column;
    struct sv text; /* of a scalar; borrowed from the arena */
    struct sv key;  /* in a mapping */
    unsigned key_line, key_column;
    struct node *first, *next;
    size_t n; /* children */
    const struct origin *origin;
};

/* Reads one document into the arena. Borrows text during the call, o as long as the tree. NULL: see the report (or the
 * document was empty, which is no fault: then *ret_empty is true). */
struct node *tree_read(struct sv text, const struct origin *o, struct arena *a, struct config_report *r,
                       bool *ret_empty);
/* A scalar from outside a document. NULL when memory is out. */
struct node *tree_scalar(struct sv text, const struct origin *o, struct arena *a);
/* Nothing, ~ or null: as if the line were not there. */
bool node_is_null(const struct node *n);
/* The value under this key; the mapping itself when there is none. */
const struct node *node_child(const struct node *map, const char *key);

void complain(struct config_report *r, const struct origin *o, unsigned line, unsigned column, const char *key,
              const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void warn(struct config_report *r, const struct origin *o, unsigned line, unsigned column, const char *key,
          const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void complain_no_memory(struct config_report *r);
/* Complaints by line, those without one last, otherwise as they came. */
void report_sort(struct config_report *r);

/* Puts at most 60 bytes of v in quotes, control bytes and broken UTF-8 as '?'. */
enum { QUOTED_MAX = 72 };
char *quoted(struct sv v, char text[static QUOTED_MAX]);

#endif
