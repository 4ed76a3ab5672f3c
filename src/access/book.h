/* access/book.h - private to access: keys as the control loop keeps them, and their way to and from the store. */
#ifndef DROVER_ACCESS_BOOK_H
#define DROVER_ACCESS_BOOK_H

#include "access/access.h"
#include "base/list.h"
#include "store/store.h"

/* A deep copy, but for the cell, which is shared. False: out of memory. */
bool access__copy_key(struct arena *a, struct access_key *to, const struct access_key *from);

size_t access__key_bytes(const struct access_key *k); /* an arena that holds such a copy */

/* rows.c. Lists are kept as lines. */
bool access__insert_key(struct store_tx *tx, const struct access_key *k, struct err *e);
/* *ret_found: it was there, and at that version. */
bool access__update_key(struct store_tx *tx, const struct access_key *k, bool *ret_found, struct err *e);
bool access__delete_key(struct store_tx *tx, struct sv id, uint64_t now_ms, bool *ret_found, struct err *e);
/* Each key that is not revoked, in the arena. False: a fault, or one of each() ended it. */
bool access__read_keys(struct store_tx *tx, struct arena *a, bool (*each)(void *arg, const struct access_key *k), void *arg, struct err *e);
/* Whether a draft is one that may be kept. */
bool access__check_draft(const struct access_key *k, struct err *e);

#endif
