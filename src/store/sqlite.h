/* store/sqlite.h - SQLite's side of the backend, shared by its two files. */
#ifndef DROVER_STORE_SQLITE_H
#define DROVER_STORE_SQLITE_H

#include <sqlite3.h>

#include "store/backend.h"

struct sqlite {
    struct store_db db; /* first */
    sqlite3 *h;
    struct list statements; /* of struct statement, the one used last in front */
    unsigned n_statements;
};

/* Turns SQLite's code into a fault, "WHAT: CAUSE", and notes in s->db when disk or file are at fault. Returns false.
 * says_more: SQLite's own message may be shown; it names tables and columns, and it is asked for only where it cannot hold values. */
bool sqlite__fault(struct sqlite *s, int rc, struct sv what, bool says_more, struct err *e);

bool sqlite__backup(struct store_db *db, const char *path, const atomic_bool *stop, uint64_t *ret_bytes, struct err *e);
bool sqlite__check(struct store_db *db, bool full, bool *ret_fine, char text[static STORE_CHECK_TEXT], struct err *e);

#endif
