/* store/backend.h - what a database must be able to do. One table of functions per kind of database.
 *
 * A struct store_db is one connection; one thread at a time uses it, except for interrupt. All functions that can fail set
 * *e, whose text names the statement's table and the cause, never a value; when disk or file are at fault they also set db->ill. */
#ifndef DROVER_STORE_BACKEND_H
#define DROVER_STORE_BACKEND_H

#include <stdatomic.h>

#include "store/store.h"

struct store_backend;

/* Each backend embeds this first. */
struct store_db {
    const struct store_backend *backend;
    bool reads;              /* refuses to write */
    enum store_state ill;    /* STORE_WELL, or what a fault has shown; never set back */
    bool ill_io;             /* and it was an error of the device: what it holds must be read again */
};

struct store_rows {
    struct store_db *db;
    struct store_tx *tx;
    struct list open; /* of the transaction, while it is under way */
};

struct store_backend {
    const char *name;

    /* Returns owned (close), or NULL. On NULL *ret_ill tells whether disk or file are at fault. */
    struct store_db *(*open)(const char *path, bool reads, enum store_state *ret_ill, struct err *e);
    void (*close)(struct store_db *db);        /* NULL is fine */
    void (*interrupt)(struct store_db *db);    /* any thread: what runs now ends with ERR_CANCELED, if it can */

    bool (*begin)(struct store_db *db, struct err *e);
    bool (*commit)(struct store_db *db, struct err *e); /* on the disk when it returns true */
    void (*rollback)(struct store_db *db);              /* harmless without a transaction */
    bool (*in_tx)(struct store_db *db);                 /* some faults end the transaction by themselves */
    bool (*mark)(struct store_db *db, struct err *e);   /* a savepoint */
    bool (*keep)(struct store_db *db, struct err *e);   /* ends it: what was done since stays in the transaction */
    bool (*undo)(struct store_db *db, struct err *e);   /* ends it: what was done since is taken back */

    bool (*script)(struct store_db *db, const char *sql, struct err *e); /* several statements */
    struct store_rows *(*query)(struct store_db *db, struct err *e, const char *sql, const struct store_value *values, size_t n);
    enum store_step (*next)(struct store_rows *r, struct err *e);
    int64_t (*changed)(struct store_db *db);   /* by the statement that ended last */
    void (*end)(struct store_rows *r);         /* once per query that succeeded */
    int64_t (*i64)(struct store_rows *r, int column);
    double (*real)(struct store_rows *r, int column);
    struct sv (*bytes)(struct store_rows *r, int column, bool text);
    bool (*is_null)(struct store_rows *r, int column);

    /* Both within a transaction that reads. stop, when it becomes true, ends them with ERR_CANCELED. */
    bool (*backup)(struct store_db *db, const char *path, const atomic_bool *stop, uint64_t *ret_bytes, struct err *e);
    bool (*check)(struct store_db *db, bool full, bool *ret_fine, char text[static STORE_CHECK_TEXT], struct err *e);
};

extern const struct store_backend store__sqlite;

#endif
