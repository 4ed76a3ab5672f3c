/* hub/directive.h - private to hub: what a directive is, at both of its ends: the operations, what each takes and which permission of the
 * node it needs, and the life of one. docs/protocol.md, "Directives". Pure: no store, no clock, no link.
 *
 * The hub's side is order.h (rows that are sent until they are answered), the node's errand.h (a journal, and the carrying out). */
#ifndef DROVER_HUB_DIRECTIVE_H
#define DROVER_HUB_DIRECTIVE_H

#include "base/err.h"
#include "base/json.h"
#include "config/config.h"

enum {
    DIRECTIVE_ID_MAX = 128,
    DIRECTIVE_ARGS_MAX = 16 << 10, /* bytes of JSON */
    DIRECTIVE_DETAIL_MAX = 8 << 10,
    DIRECTIVE_REASON_MAX = 512,
    DIRECTIVE_CODE_MAX = 64,
    DIRECTIVE_TEXT_MAX = 256,      /* of a message that is kept */
    DIRECTIVE_EXPIRES_MIN_MS = 1000,
    DIRECTIVE_EXPIRES_MAX_MS = 86400000,
    DIRECTIVE_TIMEOUT_MAX_MS = 86400000,
};

/* Numbers are on the disk: new ones go to the end. At the node: queued, refused, running, and those that end. */
#define TO(s) (1u << (s))
#define DIRECTIVE_ENDS                                                                                                                      \
    (TO(DIRECTIVE_SUCCEEDED) | TO(DIRECTIVE_FAILED) | TO(DIRECTIVE_CANCELLED) | TO(DIRECTIVE_TIMED_OUT) | TO(DIRECTIVE_EXPIRED) |           \
     TO(DIRECTIVE_SUPERSEDED))
#define DIRECTIVE_STATES(X)                                                                                                                 \
    /* on the disk, and not yet told the node; at the node: not yet begun */                                                                \
    X(DIRECTIVE_QUEUED, "queued", TO(DIRECTIVE_SENT) | TO(DIRECTIVE_RUNNING) | DIRECTIVE_ENDS)                                              \
    /* on its way; sent again on each link until there is an answer */                                                                      \
    X(DIRECTIVE_SENT, "sent", TO(DIRECTIVE_ACCEPTED) | TO(DIRECTIVE_REFUSED) | TO(DIRECTIVE_RUNNING) | TO(DIRECTIVE_UNKNOWN) | DIRECTIVE_ENDS) \
    /* the node has it in its journal: a result will come, whatever happens there */                                                        \
    X(DIRECTIVE_ACCEPTED, "accepted", TO(DIRECTIVE_RUNNING) | TO(DIRECTIVE_UNKNOWN) | DIRECTIVE_ENDS)                                       \
    X(DIRECTIVE_REFUSED, "refused", 0)                                                                                                      \
    X(DIRECTIVE_RUNNING, "running", TO(DIRECTIVE_UNKNOWN) | DIRECTIVE_ENDS)                                                                 \
    X(DIRECTIVE_SUCCEEDED, "succeeded", 0)                                                                                                  \
    X(DIRECTIVE_FAILED, "failed", 0)                                                                                                        \
    X(DIRECTIVE_CANCELLED, "cancelled", 0)                                                                                                  \
    X(DIRECTIVE_TIMED_OUT, "timed_out", 0)                                                                                                  \
    X(DIRECTIVE_EXPIRED, "expired", 0)       /* it could not begin in time */                                                               \
    X(DIRECTIVE_SUPERSEDED, "superseded", 0)                                                                                                \
    /* the hub has waited long enough; a late answer still counts */                                                                        \
    X(DIRECTIVE_UNKNOWN, "unknown", TO(DIRECTIVE_REFUSED) | DIRECTIVE_ENDS)

#define X(id, name, next) id,
enum directive_state { DIRECTIVE_STATES(X) DIRECTIVE_STATE_COUNT };
#undef X
const char *directive_state_name(enum directive_state s);
bool directive_may(enum directive_state from, enum directive_state to);
/* 1 to DIRECTIVE_ID_MAX of A-Z a-z 0-9 . _ : - */
bool directive_id_is_good(struct sv id);
/* Nothing more is expected of it; DIRECTIVE_UNKNOWN is one of those, too. */
bool directive_is_over(enum directive_state s);
/* One of the words a node may end it with. */
bool directive_end_read(struct sv word, enum directive_state *ret);

/* What a node's settings must permit: join.allow. */
enum directive_need { NEED_NOTHING, NEED_INFERENCE, NEED_MODELS, NEED_CONFIG, NEED_CERTS, NEED_JOBS, NEED_RESTART };
bool directive_is_allowed(const struct config *c, enum directive_need need);
const char *directive_need_setting(enum directive_need need); /* "join.allow.config"; empty: none */

/* Directives with the same line run one after another, in the order in which they came. */
enum directive_line { LINE_NONE, LINE_DRAIN, LINE_CONFIG, LINE_CERTS, LINE_RESTART };

/*    operation        word                 needs           line          done here */
#define DIRECTIVE_OPS(X)                                                           \
    X(OP_REFRESH,      "refresh_inventory", NEED_INFERENCE, LINE_NONE,    true)    \
    X(OP_LOG_LEVEL,    "set_log_level",     NEED_CONFIG,    LINE_CONFIG,  true)    \
    X(OP_RESTART,      "restart",           NEED_RESTART,   LINE_RESTART, true)    \
    X(OP_DRAIN,        "drain",             NEED_INFERENCE, LINE_DRAIN,   true)    \
    X(OP_UNDRAIN,      "undrain",           NEED_INFERENCE, LINE_DRAIN,   true)    \
    X(OP_CANCEL,       "cancel",            NEED_NOTHING,   LINE_NONE,    true)    \
    X(OP_ROTATE_CERTS, "rotate_certs",      NEED_CERTS,     LINE_CERTS,   true)    \
    X(OP_UPDATE_CONFIG, "update_config",    NEED_CONFIG,    LINE_CONFIG,  false)   \
    X(OP_LOAD_MODEL,   "load_model",        NEED_MODELS,    LINE_NONE,    false)   \
    X(OP_UNLOAD_MODEL, "unload_model",      NEED_MODELS,    LINE_NONE,    false)   \
    X(OP_RUN_JOB,      "run_job",           NEED_JOBS,      LINE_NONE,    false)   \
    X(OP_CANCEL_JOB,   "cancel_job",        NEED_JOBS,      LINE_NONE,    false)   \
    X(OP_UPDATE_REGISTRY, "update_registry", NEED_INFERENCE, LINE_CONFIG, false)
#define X(id, word, need, line, here) id,
enum directive_op { DIRECTIVE_OPS(X) DIRECTIVE_OP_COUNT };
#undef X
bool directive_op_read(struct sv word, enum directive_op *ret);
const char *directive_op_name(enum directive_op op);
enum directive_need directive_op_need(enum directive_op op);
enum directive_line directive_op_line(enum directive_op op);
bool directive_op_is_done_here(enum directive_op op); /* this version carries it out as a node */

/* Whether args are what the operation takes: an object, or NULL for none. strict: members it does not have are faults, as where a person
 * typed them; else they are a newer hub's, and ignored. ERR_BAD_REQUEST. What passes can be read with base/json.h. */
bool directive_args_check(enum directive_op op, yyjson_val *args, bool strict, struct err *e) MUST_CHECK;
/* What holds where args do not say. */
enum { DIRECTIVE_LEVEL_TTL_MS = 900000, DIRECTIVE_GRACE_MS = 30000, DIRECTIVE_DRAIN_MS = 30000, DIRECTIVE_TIMEOUT_MS = 600000 };

#endif
