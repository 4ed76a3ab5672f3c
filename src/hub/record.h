/* hub/record.h - private to hub: statements that are written together with the audit row that tells of them. Control loop.
 *
 * Life: record_new -> record_add..., with values that are copied -> record_submit, which takes it; done comes once, on the loop. */
#ifndef DROVER_HUB_RECORD_H
#define DROVER_HUB_RECORD_H

#include "access/access.h"
#include "base/arena.h"
#include "store/store.h"

enum { RECORD_STATEMENTS = 6, RECORD_ACTS = 2 };

typedef void record_done(void *arg, const struct err *e); /* e is NULL when it is on the disk */

struct record {
    struct store_job job;
    struct arena arena;
    struct statement {
        const char *sql;
        struct store_value *values;
        size_t n;
        enum err_code unless; /* no row was changed: the record fails with this; ERR_NONE: that is fine */
        const char *why;
    } statements[RECORD_STATEMENTS];
    unsigned n;
    bool failed;              /* memory was out while it was made */
    struct access_act acts[RECORD_ACTS]; /* written before the statements */
    unsigned n_acts;
    record_done *done;
    void *arg;
};

/* NULL: out of memory. */
struct record *record_new(struct loop *home) MUST_CHECK;
void record_free(struct record *r);
/* Text that lives as long as the record. */
struct sv record_text(struct record *r, struct sv v);
/* values are copied, texts and bytes too. */
void record_add(struct record *r, const char *sql, const struct store_value *values, size_t n);
/* Of the statement added last: some row must have been changed. */
void record_must_change(struct record *r, enum err_code unless, const char *why);
void record_audit(struct record *r, const struct access_actor *by, const char *action, struct sv object, struct sv detail);
/* Takes r. False with *e set: it was not accepted, done will not run. */
bool record_submit(struct store *s, struct record *r, record_done *done, void *arg, struct err *e);

#endif
