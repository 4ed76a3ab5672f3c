/* store/room.h - the store from inside: its threads, their queues, and what the files of this room offer each other. */
#ifndef DROVER_STORE_ROOM_H
#define DROVER_STORE_ROOM_H

#include <uv.h>

#include "store/backend.h"

enum store_side { SIDE_WRITER, SIDE_READER, SIDE_KEEPER, SIDES };

/* One thread and its queue. */
struct store_thread {
    struct store *store;
    enum store_side side;
    uv_thread_t id;
    /* With the store's lock held. */
    uv_cond_t work;
    struct list waiting; /* of struct store_job, by msg.queued */
    unsigned n_waiting;
    bool started, ended;
    struct store_db *db; /* set and cleared with the lock held, used by its thread without it */
};

struct store_tx {
    struct store *store; /* NULL while it opens */
    struct store_db *db;
    struct list rows; /* open ones */
    bool failed;      /* a call of this job failed: the rest fails too */
    struct err fault; /* the first */
};

struct store {
    const struct store_backend *backend;
    char *path;
    int lock_fd;
    unsigned queue_max;
    int version;
    bool was_clean;
    _Atomic int state;  /* enum store_state; written with the lock held */
    atomic_bool closing; /* no new jobs; checks and backups end */
    atomic_bool cut;     /* the deadline has passed: nothing new is begun */
    struct store_check quick; /* the background check's job */
    struct {                  /* any thread, with the lock held */
        uv_mutex_t lock;
        uv_cond_t gone; /* a thread has ended */
        uint64_t since_ms, check_ms;
        char text[ERR_TEXT_MAX], check_text[STORE_CHECK_TEXT];
        enum store_finding check;
        bool must_check;  /* the device failed: look at everything when it is back */
        bool quick_busy;  /* the background check is under way */
        uint64_t commits, writes, reads, failed;
    } sync;
    struct store_thread threads[SIDES];
};

/* --- store.c */
/* Takes the step to another state, if the table has it, and logs it. text is the cause; NULL when all is well again. */
void store__goto(struct store *s, enum store_state to, const char *text);
/* After work on t's connection: an ill one is given up, and the store's state follows. e is the fault that was met, or NULL. */
void store__look(struct store_thread *t, const struct err *e);
/* Opens t's connection if there is none. */
bool store__connect(struct store_thread *t, struct err *e);
void store__disconnect(struct store_thread *t);
/* Sends a job home; failed and fault are set. Nobody touches it here afterwards. */
void store__deliver(struct store *s, struct store_job *job);
/* With no lock held. A quick check on the keeper, unless one is under way. */
void store__check_soon(struct store *s);

/* --- writer.c, serve.c: the threads */
void store__writer(void *thread);
void store__serve(void *thread);
/* The next job of t, off its queue; NULL when none waits. */
struct store_job *store__take(struct store_thread *t);
void store__ended(struct store_thread *t);

/* --- tx.c */
void store__tx_init(struct store_tx *tx, struct store_db *db);
/* Ends the rows a job has left open. */
void store__tx_end_rows(struct store_tx *tx);
/* Runs one job's function in the transaction: job->failed and job->fault tell how it went. */
void store__tx_run(struct store_tx *tx, struct store_job *job);

/* --- migrate.c */
/* Brings the schema forward, one transaction per version. */
bool store__migrate(struct store_db *db, const char *path, const struct store_migration *list, int *ret_version, struct err *e);
/* Reads how the last end was and marks the database as in use. */
bool store__mark_open(struct store_db *db, bool *ret_was_clean, struct err *e);
bool store__mark_clean(struct store_db *db, struct err *e);
/* A small write, to see whether the disk takes it. */
bool store__probe(struct store_db *db, struct err *e);

/* --- files.c */
/* The directory, private to us; the lock file, locked: its descriptor, or -1; the database file, made if missing. */
bool store__make_dir(const char *path, struct err *e);
int store__lock(const char *path, struct err *e);
bool store__make_file(const char *path, struct err *e);
uint64_t store__file_bytes(const char *path);
/* Whether the disk has STORE_ROOM_BYTES left. */
bool store__has_room(const char *path, struct err *e);
/* Makes the name of path's new entry last. */
bool store__sync_dir(const char *path, struct err *e);

#endif
