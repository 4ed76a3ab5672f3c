/* store/store.h - the record store: what must outlive the process, in one database on threads of its own.
 *
 * Life: store_open -> store_submit of jobs, from any thread -> store_close. A job is embedded in a struct of the caller's,
 * which owns all it points to until done has run. Its run function speaks SQL on a thread of the store; its done function runs
 * at home, on the caller's loop, when what it wrote is safe: on the disk, whatever happens to the process or the machine.
 *
 * Three threads: the writer takes all jobs that wait into one transaction, each behind a savepoint, so that one sync of the
 * disk serves many and a failing job fails alone. The reader serves jobs that only read, one after another, each on one
 * consistent state; it never waits for the writer. The keeper does what may take minutes (checks and backups) and has a
 * connection only meanwhile, so that a page of the console does not wait behind a backup.
 *
 * SQL is written in what SQLite and PostgreSQL have in common: parameters are $1 .. $n; types are BIGINT, DOUBLE PRECISION, TEXT and
 * (as migrations write it) BLOB; ON CONFLICT instead of OR REPLACE; no deferred constraints; one statement per call. After a fault
 * the job can only end: later calls fail too, and it fails whatever its run function returns.
 *
 * Text is UTF-8 without NUL, numbers are not NaN: other values are refused (ERR_BAD_REQUEST) and the job fails. So a job that
 * stores what came from outside cleans it first, or one bad name costs all the rows of the job.
 *
 * When the disk fails (full, read-only, broken) the store is failing: jobs that write are refused at once with ERR_STORE, jobs
 * that read are tried. Each second, if the disk has room, a small write is probed on a fresh connection; when it succeeds all is
 * well again. A damaged database stays damaged until it is replaced. */
#ifndef DROVER_STORE_STORE_H
#define DROVER_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "io/loop.h"

enum {
    STORE_QUEUE_MAX = 1024,   /* jobs that may wait per thread, unless the options say otherwise */
    STORE_GROUP_JOBS = 512,   /* jobs of one transaction: bounds what one failing commit takes along */
    STORE_GROUP_MS = 5,       /* how long a transaction takes in further jobs: bounds what the first one waits */
    STORE_PROBE_MS = 1000,    /* between attempts to write while failing */
    STORE_ROOM_BYTES = 8 << 20, /* free on the disk before a store that failed is well again: else each group would fail anew */
    STORE_VALUES_MAX = 512,   /* parameters of one statement */
};

struct store;
struct store_tx;   /* what a job's run function is given: its transaction */
struct store_rows; /* what a query has found */

/* One step of the schema. Lists end with a row of zeros and ascend. A step that was released is never changed; a new one is added. */
struct store_migration {
    int version;      /* 1 .. */
    const char *name; /* what it does, in a few words */
    const char *sql;  /* statements, each with its semicolon; no BEGIN, no COMMIT */
};

/* The schema of this version of Drover (schema.c). */
extern const struct store_migration store_schema[];

struct store_options {
    struct sv path;      /* the file; its directory is made if only that is missing. "-wal", "-shm" and ".lock" stand beside it */
    unsigned queue_max;  /* 0: STORE_QUEUE_MAX */
    const struct store_migration *migrations; /* borrowed during the call; NULL: store_schema */
};

/* Opens or creates the database and brings its schema up to date. Copies the path. Returns owned (store_close), or NULL with *e set:
 * ERR_EXISTS when another process (or another store of this one) has the file; ERR_CONFIG when others may write to the directory
 * or read the file, or the file is of a newer Drover or of another program; ERR_STORE when the disk or the file is at fault.
 * After an unclean end a quick check begins in the background. Blocks for some disk reads: call it before loops run. */
struct store *store_open(const struct store_options *o, struct err *e) MUST_CHECK;

/* Takes no more jobs, works off those that wait for up to deadline_ms, marks the clean end and frees s. Blocks. What is not
 * done by then fails with ERR_CANCELED; a check or backup is ended at once. done functions may still lie in the inboxes of their loops
 * when this returns, so loops end after the store; one that takes no more messages has them run on another thread. Not from a done
 * function without a home. NULL is fine. */
void store_close(struct store *s, unsigned deadline_ms);

/* --- jobs --------------------------------------------------------------------------------------------------------- */

struct store_job {
    struct msg msg;    /* the store's */
    struct loop *home; /* where done runs; NULL: on a thread of the store, perhaps before store_submit has returned */
    bool reads;        /* only reads: its writes would be refused */
    /* On a thread of the store. May be long, but others wait meanwhile. False with *e set takes back what it wrote. */
    bool (*run)(struct store_tx *tx, struct store_job *job, struct err *e);
    /* Exactly once, if the job was accepted; then job is the caller's again. e is NULL when what was written is on the disk; borrowed
     * until it returns. When e is set, nothing of the job is in the database; only if the disk failed in the commit itself and the
     * process ends before the store is well again, the next start may find it there. */
    void (*done)(struct store_job *job, const struct err *e);
    /* The store's. */
    unsigned char side;
    bool failed;
    struct err fault;
};

/* Any thread. False: not accepted, done will not run, and job is the caller's. ERR_UNAVAILABLE when too many wait or the store
 * is closing, ERR_STORE when it cannot write now. Jobs of one submitter that write commit in the order submitted. */
bool store_submit(struct store *s, struct store_job *job, struct err *e) MUST_CHECK;

/* Runs a job that reads and waits for it: for starts, before loops run. Not from a thread of the store. */
bool store_read(struct store *s, bool (*run)(struct store_tx *tx, void *arg, struct err *e), void *arg, struct err *e) MUST_CHECK;

/* A copy of the database as it is when the job begins, in a new file of mode 0600. It is written beside path under another name,
 * synced and then renamed; an existing file is refused (ERR_EXISTS). A process that is killed meanwhile leaves "PATH.partial-...".
 * Fill in job.home, job.done and path. */
struct store_backup {
    struct store_job job;
    const char *path;   /* borrowed until done */
    uint64_t ret_bytes; /* for done */
};
bool store_backup(struct store *s, struct store_backup *b, struct err *e) MUST_CHECK;

/* Reads all of the database and compares rows, indices and references. Fill in job.home and job.done. That the database is
 * damaged is an answer, not a fault; it also makes the store damaged. */
enum { STORE_CHECK_TEXT = 256 };
struct store_check {
    struct store_job job;
    bool ret_fine; /* for done */
    char ret_text[STORE_CHECK_TEXT]; /* the first findings; empty when fine */
};
bool store_check(struct store *s, struct store_check *c, struct err *e) MUST_CHECK;

/* --- SQL, within a job's run function ------------------------------------------------------------------------------ */

struct store_value {
    enum { STORE_V_NULL, STORE_V_I64, STORE_V_REAL, STORE_V_TEXT, STORE_V_BLOB } kind;
    union {
        int64_t i;
        double r;
        struct sv v;
    };
};

#define STORE_NULL ((struct store_value){ .kind = STORE_V_NULL })
#define STORE_I64(x) ((struct store_value){ .kind = STORE_V_I64, .i = (x) })
#define STORE_REAL(x) ((struct store_value){ .kind = STORE_V_REAL, .r = (x) })
#define STORE_TEXT(x) ((struct store_value){ .kind = STORE_V_TEXT, .v = (x) })
#define STORE_BLOB(x) ((struct store_value){ .kind = STORE_V_BLOB, .v = (x) })

/* A statement without rows. Borrows sql and the values during the call. *ret_changed (may be NULL) gets the number of rows
 * inserted, updated or deleted. A value that is there already where it must be unique is ERR_EXISTS. No fault tells a value. */
bool store_run(struct store_tx *tx, struct err *e, const char *sql, const struct store_value *values, size_t n,
               int64_t *ret_changed) MUST_CHECK;

/* A statement with rows. Borrows sql during the call, and the bytes of the values until the rows end. Returns borrowed until
 * store_next does not say STORE_ROW, store_end or the end of the job; NULL with *e set. */
struct store_rows *store_query(struct store_tx *tx, struct err *e, const char *sql, const struct store_value *values,
                               size_t n) MUST_CHECK;
enum store_step { STORE_ROW, STORE_END, STORE_FAULT };
enum store_step store_next(struct store_rows *r, struct err *e) MUST_CHECK;
/* Leaves rows before their end. */
void store_end(struct store_rows *r);

/* Columns count from 0. Views are borrowed until the next store_next. What has another type is 0 or empty. */
int64_t store_i64(struct store_rows *r, int column);
double store_real(struct store_rows *r, int column);
struct sv store_text(struct store_rows *r, int column);
struct sv store_blob(struct store_rows *r, int column);
bool store_is_null(struct store_rows *r, int column);

/* STORE_RUN(tx, e, "INSERT INTO t (a, b) VALUES ($1, $2)", STORE_I64(x), STORE_TEXT(name)) */
#define STORE_VALUES_(...) (const struct store_value[]){ __VA_ARGS__ }
#define STORE_COUNT_(...) (sizeof(STORE_VALUES_(__VA_ARGS__)) / sizeof(struct store_value))
#define STORE_RUN(tx, e, sql, ...) store_run(tx, e, sql, STORE_VALUES_(__VA_ARGS__), STORE_COUNT_(__VA_ARGS__), NULL)
/* The array lives as long as the block it is written in. */
#define STORE_QUERY(tx, e, sql, ...) store_query(tx, e, sql, STORE_VALUES_(__VA_ARGS__), STORE_COUNT_(__VA_ARGS__))

/* --- how it is ----------------------------------------------------------------------------------------------------- */

enum store_state { STORE_WELL, STORE_FAILING, STORE_DAMAGED, STORE_STATES };
enum store_finding { STORE_UNCHECKED, STORE_CHECKING, STORE_FINE, STORE_BAD, STORE_CHECK_CUT, STORE_FINDINGS };

struct store_status {
    enum store_state state;
    uint64_t since_ms;        /* wall clock: when this state began */
    char text[ERR_TEXT_MAX];  /* the last fault of disk or file, also when it is over; empty: none since the start */
    unsigned waiting;         /* jobs, on all threads */
    uint64_t file_bytes;      /* the file and what is to be merged into it */
    int version;              /* of the schema */
    bool was_clean;           /* how the last end was; true for a new file */
    enum store_finding check; /* the latest check, whoever asked for it */
    uint64_t check_ms;        /* wall clock: when it ended; 0: never */
    char check_text[STORE_CHECK_TEXT];
    uint64_t commits;         /* transactions that wrote */
    uint64_t writes, reads;   /* jobs done with success */
    uint64_t failed;          /* jobs that were accepted and failed */
};

/* Any thread; a lock and two looks at the file system. */
void store_status(struct store *s, struct store_status *ret_status);
/* Any thread, one relaxed load: whether jobs that write are accepted. */
bool store_is_well(const struct store *s);
const char *store_state_name(enum store_state state);
const char *store_finding_name(enum store_finding finding);

#endif
