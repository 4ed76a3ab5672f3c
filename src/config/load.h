/* config/load.h - what the files that fill in a struct config share. Private to this room. */
#ifndef DROVER_CONFIG_LOAD_H
#define DROVER_CONFIG_LOAD_H

#include "base/map.h"
#include "config/schema.h"
#include "config/tree.h"

struct loader {
    const struct config_source *src;
    struct config_report *report;
    struct config *c; /* being filled; its arena holds what stays */
    struct arena tmp; /* the documents; gone after the load */
    struct map seen;  /* names that must be unique in the list being read */
    const struct node *models; /* first entry of the last `models` that was read */
    struct sv base;   /* absolute directory that relative paths of the file start from */
    struct sv cwd;
    unsigned file_mode; /* permission bits of the file; 0 when there is none */
};

/* False with a complaint, for "return no_memory(l)". */
bool no_memory(struct loader *l);
/* At the node, or at the origin when the node has no line. */
#define COMPLAIN(l, node, key, ...)                                                                                    \
    complain((l)->report, (node)->origin, (node)->line, (node)->column, key, __VA_ARGS__)

#define WARN(l, node, key, ...)                                                                                        \
    warn((l)->report, (node)->origin, (node)->line, (node)->column, key, __VA_ARGS__)

/* load.c: the value of NAME in the environment, or the NULL view. */
struct sv env_get(const struct loader *l, const char *name);

/* assign.c: puts one value in its place. base is the struct config or the entry of a list. key is for complaints. */
void assign(struct loader *l, const struct setting *s, struct node *n, const char *key, void *base, bool is_file_twin);
/* assign.c: complains of what an entry of a list must have and does not. */
void entry_check(struct loader *l, const struct items *it, const struct node *item, const char *shown);
/* load.c: every child of a mapping finds its row. table is the prefix of paths, shown what complaints call it. */
void walk(struct loader *l, struct node *map, const char *table, const char *shown, void *base);
void assign_defaults(struct loader *l, const char *prefix, void *base);

/* layer.c: what was set from the console, read and with the source's edits, where nothing else has set it. Needs c's data_dir. */
void layer_apply(struct loader *l);
/* added.c: endpoints that were added from the console: the source's change of them, and all of them behind the configuration's own. */
void added_apply(struct loader *l, struct config *layer);
/* load.c: complains of a path that is no setting, with what is near. */
void unknown_path(struct loader *l, struct sv path, const struct origin *o);
/* load.c: one document, into base. */
void read_rows(struct loader *l, struct sv text, struct origin *o, struct config *base);
/* load.c: a value as variables and flags hold it. */
void assign_text(struct loader *l, const struct setting *s, struct sv text, const struct origin *o, void *base);

/* names.c: warns of names that lead nowhere in a document that is good otherwise. */
void check_names(struct loader *l);

/* files.c */
struct sv path_absolute(struct loader *l, struct sv path, enum origin_kind from);
/* Readable, a regular file and, if asked, private. False after a complaint at n. */
bool file_is_good(struct loader *l, const struct node *n, const char *key, struct sv path, bool is_private);
/* Reads a secret and takes its line end off. False after a complaint at n. */
bool secret_from_file(struct loader *l, const struct node *n, const char *key, struct config_secret *ret_secret);
bool secret_set(struct loader *l, const struct node *n, const char *key, struct sv value,
                struct config_secret *ret_secret);
/* The configuration file itself into out. *ret_absent: there is none at this place; no complaint then. */
bool config_file_read(struct loader *l, const struct origin *o, const char *path, struct buf *out, bool *ret_absent);

#endif
