/* hub/errand.h - private to hub: what this node's hub asks it to do, and the journal of it. docs/protocol.md, "Directives". Control loop.
 *
 * An errand is a directive as the node carries it out. Each has a row in the store before the hub is told that it is taken, and again before
 * it begins and when it has ended: so it runs once at most, whatever happens to the process or the link, and its result goes out until the
 * hub has it.
 *   errand.c          the story: taken -> in the journal -> acknowledged -> its turn -> running -> ended -> told
 *   errand_journal.c  the rows
 *   errand_ops.c      what each operation does */
#ifndef DROVER_HUB_ERRAND_H
#define DROVER_HUB_ERRAND_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "hub/directive.h"
#include "io/loop.h"
#include "pki/pki.h"

enum {
    ERRANDS_RUNNING = 8,
    ERRANDS_KEPT = 1000,              /* of those that are over, at least, and at least for a day */
    ERRANDS_MAX = 4096,               /* in the journal: beyond, new ones are refused as busy */
    ERRAND_KEEP_MS = 24 * 3600 * 1000,
    ERRAND_SPARE_MS = 3600 * 1000,    /* kept so much longer: clocks may be set meanwhile */
};

struct member;
struct envelope;
struct store;

struct errand {
    struct list all;
    char id[DIRECTIVE_ID_MAX + 1];
    enum directive_op op;
    enum directive_state state, on_disk; /* on_disk: of its row, once there is one */
    bool has_row, is_writing;
    bool is_begun;                    /* RUNNING: its operation was called */
    bool is_told, told_on_disk;       /* the hub has the result */
    char *args;                       /* JSON */
    char code[DIRECTIVE_CODE_MAX + 1], message[DIRECTIVE_TEXT_MAX];
    struct buf detail;                /* JSON, or empty */
    uint64_t received_ms, expires_ms; /* wall clock; expires: must have begun by then */
    uint64_t timeout_ms, started_ms, ended_ms;
    uint64_t begun_ms, said_ms, sent_ms; /* loop time: of its operation, its last progress, its last result */
    uint64_t marks[3];                /* its operation's */
};

/* Counted: rows that are being written hold it. */
struct errands {
    struct member *member; /* NULL: closed */
    struct store *store;
    struct loop *loop;
    char node_id[PKI_ID_MAX + 1];
    struct list all;       /* in the order in which they came */
    struct map by_id;
    size_t n;
    unsigned n_running;
    struct timer tick;
    unsigned refs;
    bool is_stopping;
};

/* Reads the journal, once there is a node and a store. What ran when the process ended has failed, but for a restart, which has succeeded. */
void errands__open(struct member *m);
/* Begins nothing more. */
void errands__stop(struct member *m);
/* forget: the rows go, too. */
void errands__close(struct member *m, bool forget);
/* A link is up: results that the hub does not have go out again. */
void errands__up(struct member *m);
/* A directive that came, its payload checked. */
void errands__take(struct member *m, const struct envelope *e);
/* The payload of an ack. */
void errands__acknowledged(struct member *m, yyjson_val *payload);

/* --- errand.c, for its operations --- */
struct errand *errand__find(const struct errands *x, struct sv id);
/* Ends one that is queued or running; code and message may be empty. */
void errand__end(struct errands *x, struct errand *d, enum directive_state how, const char *code, const char *message);

/* --- errand_journal.c --- */
struct errands *errands__new(struct member *m, struct store *store, struct loop *l, const char *node_id) MUST_CHECK;
struct errands *errands__unref(struct errands *x);
bool journal__load(struct errands *x, struct err *e) MUST_CHECK;
/* Writes it as it stands; what becomes of that is told to errand__written. False: it did not go. With audit: a new row, who asked for it. */
bool journal__write(struct errands *x, struct errand *d, const char *audit, struct err *e) MUST_CHECK;
void errand__written(struct errands *x, struct errand *d, const struct err *e);
/* Forgets those that are old enough and that nobody asks for. */
void journal__prune(struct errands *x, uint64_t wall_ms);
void journal__forget(struct errands *x);
struct errand *errand__new(struct errands *x, struct sv id) MUST_CHECK; /* entered; NULL: out of memory */
void errand__free(struct errands *x, struct errand *d);

/* --- errand_ops.c --- */
enum op_step { OP_GOES_ON, OP_DONE, OP_FAILED };
/* d is running, and its row says so. OP_FAILED: code and message of d say why. */
enum op_step op__begin(struct member *m, struct errand *d);
/* How far it is, a few times a second. */
enum op_step op__look(struct member *m, struct errand *d);
/* It is to end now. False: this one cannot be stopped any more. */
bool op__stop(struct member *m, struct errand *d);
/* For people; a member of progress. */
const char *op__stage(const struct errand *d);

#endif
