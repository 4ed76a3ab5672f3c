/* config/schema.h - the table of settings, for the rest of this room only.
 *
 * Everything the room does walks this table: reading and checking (load.c), printing (show.c), the manual (manual.c).
 * A path names the place in the document; "endpoints[].url" is a key of each entry of the list "endpoints". Rows of one
 * group stand together, which show.c relies on and a test holds. */
#ifndef DROVER_CONFIG_SCHEMA_H
#define DROVER_CONFIG_SCHEMA_H

#include "base/err.h"
#include "config/config.h"

enum setting_type {
    T_BOOL,     /* bool */
    T_INT,      /* int */
    T_SIZE,     /* size_t: 64MiB */
    T_RATE,     /* size_t: 2KiB/s */
    T_PACE,     /* int per minute: 600/min */
    T_DURATION, /* uint64_t ms: 5m */
    T_PERCENT,  /* int: 25% */
    T_MONEY,    /* struct config_money: 0.15 */
    T_STRING,   /* struct sv */
    T_PATH,     /* struct sv, made absolute; with a maximum it is a directory whose length is bounded */
    T_FILE,     /* struct sv, made absolute; must be readable */
    T_KEY_FILE, /* the same, and private to its owner */
    T_ENUM,     /* int */
    T_ENUMS,    /* unsigned, a bit for each */
    T_LIST,     /* struct config_list */
    T_JSON,     /* struct sv: a group of members of any form, as JSON text */
    T_SECRET,   /* struct config_secret; answers to <path>_file too */
    T_ITEMS,    /* pointer and count of structs: .items tells which */
    T_MOVED,    /* the setting is called .text; from here on there are no values */
    T_FIXED,    /* documented, but built in: .dflt is its value */
    T_LATER,    /* belongs to a later version */
};

enum setting_reload { LIVE, RESTART };

struct choice {
    const char *word, *means; /* NULL word ends the list */
    int value;                /* -1: in a later version */
};

struct loader;
struct node;

/* A list of structs. finish looks at one complete entry. */
struct items {
    const char *prefix; /* "endpoints[]." */
    size_t size, max;
    size_t count_at; /* where the count is, in struct config */
    void (*finish)(struct loader *l, void *all, size_t i, const struct node *item);
};

struct setting {
    const char *path;
    enum setting_type type;
    enum setting_reload reload;
    size_t at;        /* in struct config, or in the struct of the list */
    const char *dflt; /* as it would be written; NULL: not set; in parentheses: worked out at start */
    int64_t min, max; /* of the value; of a string's bytes; of a list's entries */
    const struct choice *choices;
    const struct items *items;
    /* Judges a string, or each one of a list: "expected ..." in *e. */
    bool (*check)(struct sv text, struct err *e);
    bool required;
    bool console;     /* may also be set from the console, the API and the command line (layer.c) */
    bool added;       /* of an entry of a list that may also come from there, each as a whole (added.c) */
    bool file_only;   /* what the daemon may run: nothing but the configuration file sets it */
    const char *over; /* limits: what exceeding it gets */
    const char *text; /* the manual's sentence */
};

#define NO_FIELD ((size_t)-1) /* .at of a row whose only value needs no place */

extern const struct setting settings[];
extern const size_t n_settings;

/* The row of a setting of the document itself; NULL: there is none. */
const struct setting *setting_find(struct sv path);
/* Bytes of its field; not of lists of structs. */
size_t setting_size(enum setting_type t);
/* log.level -> DROVER_LOG_LEVEL, cut to size. */
char *setting_variable(const struct setting *s, char *text, size_t size);

/* show.c, for the files that print: */
struct printer {
    struct buf *out;
    enum config_style style;
    bool ok;
    bool tells;                       /* where each value comes from, too */
    const struct config *only;        /* not NULL: only what its origins say was set from the console, with its secrets */
};
void print_rows(struct printer *p, const char *prefix, const void *base, unsigned depth, bool in_item);
void print_value(struct printer *p, const struct setting *s, const void *base);
/* "file, line 3" */
bool print_origin(const struct config *c, const struct setting *s, struct buf *out);
bool setting_differs(const struct setting *s, const struct config *a, const struct config *b);

/* load.c: what no single key of an entry can tell. */
void listen_finish(struct loader *l, void *all, size_t i, const struct node *item);
void endpoint_finish(struct loader *l, void *all, size_t i, const struct node *item);
void model_finish(struct loader *l, void *all, size_t i, const struct node *item);

/* Whether a row is a key of the given list ("endpoints[]."), or, with "", of the document itself. */
bool setting_in(const struct setting *s, const char *prefix);

/* schema.c's judges of text, also used by the finishers in load.c. */
bool check_url(struct sv text, struct err *e);

/* value.c: words to values and back. Each parse tells only whether the text has that form. */
bool size_parse(struct sv text, uint64_t *ret_bytes);
bool duration_parse(struct sv text, uint64_t *ret_ms);
bool pace_parse(struct sv text, uint64_t *ret_per_min);
bool int_parse(struct sv text, int64_t *ret_value);
enum { VALUE_TEXT = 32 };
char *size_text(uint64_t bytes, char text[static VALUE_TEXT]);
char *duration_text(uint64_t ms, char text[static VALUE_TEXT]);
/* A number as a setting of this type is written. */
char *number_text(enum setting_type type, int64_t value, char text[static VALUE_TEXT]);
/* What a value of this row looks like: "a size from 1KiB to 1GiB, such as 64MiB". */
bool expected_text(const struct setting *s, struct buf *out);
/* Edits (insert, drop, replace, swap neighbours) from a to b, or limit + 1. */
size_t edit_distance(struct sv a, struct sv b, size_t limit);

/* "127.0.0.1:80", "[::1]:80", "localhost:80", "unix:/path". */
bool address_parse(struct sv text, struct sockaddr_storage *ret_addr, socklen_t *ret_len, struct err *e);
bool address_is_local(const struct sockaddr_storage *addr);

#endif
