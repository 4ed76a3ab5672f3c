/* link/envelope.h - a control message of the link: read with every rule checked, and printed. No I/O, no state.
 *
 * Reading judges in the order of docs/protocol.md, "Control envelope": JSON, its shape, the envelope, the kind, the payload by the kind's
 * schema (kinds.c). Size and UTF-8 are checked by the WebSocket before. What passes can be read with the getters of base/json.h without a
 * second look at types and ranges. Unknown members are kept in the document but mean nothing. */
#ifndef DROVER_LINK_ENVELOPE_H
#define DROVER_LINK_ENVELOPE_H

#include "base/json.h"
#include "base/mem.h"

/* Delivery classes: A at least once by the sender's outbox, B the latest counts, C best effort; N: neither. */
enum link_class { LINK_CLASS_N, LINK_CLASS_A, LINK_CLASS_B, LINK_CLASS_C };

/* In which state of the handshake a kind may come: bits. */
enum link_phase {
    PHASE_HELLO = 1 << 0,    /* the hub waits for hello */
    PHASE_WELCOME = 1 << 1,  /* the node waits for welcome */
    PHASE_REGISTER = 1 << 2, /* the hub waits for register_agent */
    PHASE_CONFIRM = 1 << 3,  /* the node waits for registered */
    PHASE_UP = 1 << 4,
    PHASE_ANY = 0x1f,
};

enum { KIND_UP = 1, KIND_DOWN = 2, KIND_BOTH = 3 };

/*    id                       name                        direction  class          phases                                          */
#define LINK_KINDS(X)                                                                                                                \
    X(KIND_HELLO,              "hello",                    KIND_UP,   LINK_CLASS_N, PHASE_HELLO)                                     \
    X(KIND_WELCOME,            "welcome",                  KIND_DOWN, LINK_CLASS_N, PHASE_WELCOME)                                   \
    X(KIND_REGISTER,           "register_agent",           KIND_UP,   LINK_CLASS_A, PHASE_REGISTER | PHASE_UP)                       \
    X(KIND_REGISTERED,         "registered",               KIND_DOWN, LINK_CLASS_N, PHASE_CONFIRM | PHASE_UP)                        \
    X(KIND_HEARTBEAT,          "heartbeat",                KIND_UP,   LINK_CLASS_B, PHASE_UP)                                        \
    X(KIND_CAPABILITIES,       "capabilities",             KIND_UP,   LINK_CLASS_B, PHASE_UP)                                        \
    X(KIND_METRICS,            "metrics",                  KIND_UP,   LINK_CLASS_C, PHASE_UP)                                        \
    X(KIND_OFFER_CAPACITY,     "offer_capacity",           KIND_UP,   LINK_CLASS_B, PHASE_UP)                                        \
    X(KIND_RESOURCE_PROFILES,  "resource_profiles",        KIND_UP,   LINK_CLASS_B, PHASE_UP)                                        \
    X(KIND_MODEL_CAPACITY,     "available_model_capacity", KIND_UP,   LINK_CLASS_B, PHASE_UP)                                        \
    X(KIND_USAGE_REPORT,       "usage_report",             KIND_UP,   LINK_CLASS_A, PHASE_UP)                                        \
    X(KIND_DIRECTIVE,          "directive",                KIND_DOWN, LINK_CLASS_A, PHASE_UP)                                        \
    X(KIND_DIRECTIVE_PROGRESS, "directive_progress",       KIND_UP,   LINK_CLASS_C, PHASE_UP)                                        \
    X(KIND_DIRECTIVE_RESULT,   "directive_result",         KIND_UP,   LINK_CLASS_A, PHASE_UP)                                        \
    X(KIND_JOB_UPDATE,         "job_update",               KIND_UP,   LINK_CLASS_B, PHASE_UP)                                        \
    X(KIND_AGENT_STATUS,       "agent_status",             KIND_UP,   LINK_CLASS_A, PHASE_UP)                                        \
    X(KIND_HUB_STATUS,         "hub_status",               KIND_DOWN, LINK_CLASS_B, PHASE_UP)                                        \
    X(KIND_LOG_EVENT,          "log_event",                KIND_UP,   LINK_CLASS_C, PHASE_UP)                                        \
    X(KIND_ACK,                "ack",                      KIND_BOTH, LINK_CLASS_N, PHASE_UP)                                        \
    X(KIND_ERROR,              "error",                    KIND_BOTH, LINK_CLASS_N, PHASE_ANY)                                       \
    X(KIND_GOODBYE,            "goodbye",                  KIND_BOTH, LINK_CLASS_N, PHASE_ANY)
#define X(id, name, dir, cls, phases) id,
enum link_kind { LINK_KINDS(X) LINK_KIND_COUNT };
#undef X
const char *link_kind_name(enum link_kind k);
enum link_class link_kind_class(enum link_kind k);
unsigned link_kind_phases(enum link_kind k);

/* docs/protocol.md, "Error and close codes". */
#define LINK_FAULTS(X)                                                                                                                \
    X(FAULT_NONE, "") X(FAULT_BAD_JSON, "bad_json") X(FAULT_BAD_UTF8, "bad_utf8") X(FAULT_TOO_LARGE, "too_large")                    \
    X(FAULT_TOO_DEEP, "too_deep") X(FAULT_DUPLICATE_MEMBER, "duplicate_member") X(FAULT_INVALID_ENVELOPE, "invalid_envelope")        \
    X(FAULT_UNKNOWN_KIND, "unknown_kind") X(FAULT_WRONG_DIRECTION, "wrong_direction") X(FAULT_WRONG_STATE, "wrong_state")            \
    X(FAULT_INVALID_PAYLOAD, "invalid_payload") X(FAULT_IDENTITY, "identity_mismatch") X(FAULT_AGENT, "agent_mismatch")              \
    X(FAULT_AGENT_OFFLINE, "agent_offline") X(FAULT_DUPLICATE_NODE, "duplicate_node") X(FAULT_DUPLICATE_AGENT, "duplicate_agent")    \
    X(FAULT_STALE_EPOCH, "stale_epoch") X(FAULT_GAP, "capabilities_gap") X(FAULT_NOT_ALLOWED, "not_allowed")                         \
    X(FAULT_UNKNOWN_ID, "unknown_id") X(FAULT_FORGOTTEN, "directive_forgotten") X(FAULT_EXPIRED, "expired")                          \
    X(FAULT_SUPERSEDED, "superseded") X(FAULT_STALE_GENERATION, "stale_generation") X(FAULT_REVERTED, "reverted")                    \
    X(FAULT_INSUFFICIENT_MEMORY, "insufficient_memory") X(FAULT_BUSY, "busy") X(FAULT_DRAINING, "draining")                          \
    X(FAULT_RATE_LIMITED, "rate_limited") X(FAULT_RELAY_LOOP, "relay_loop") X(FAULT_BINARY, "binary_not_allowed")                    \
    X(FAULT_INTERNAL, "internal")
#define X(id, name) id,
enum link_fault { LINK_FAULTS(X) };
#undef X
const char *link_fault_name(enum link_fault f);

enum {
    ENVELOPE_DEPTH = 16,
    ENVELOPE_VALUES = 65536,
    ENVELOPE_STRING = 64 << 10,
    ENVELOPE_PATH = 128,   /* of a fault: JSON Pointer, cut */
    ENVELOPE_ID = 65,      /* a msg_id with its NUL */
    LINK_IDENT_MAX = 64,   /* node_id, agent_id, keys of labels */
    LINK_TEXT_MAX = 512,   /* free text */
    LINK_VIA_MAX = 4,
};

struct envelope {
    yyjson_doc *doc;       /* owned: envelope_free; views and payload live in it */
    enum link_kind kind;
    bool is_down;
    struct sv msg_id, ts, site_id, agent_id, re; /* empty: absent or null */
    uint64_t seq;          /* 0: absent */
    yyjson_val *via;       /* array of strings, or NULL */
    yyjson_val *payload;
};

struct envelope_fault {
    enum link_fault code;
    char path[ENVELOPE_PATH]; /* empty: the message as a whole */
    char text[160];           /* for people */
    char re[ENVELOPE_ID];     /* msg_id of the message, as far as it was understood; else empty */
};

/* is_down: the direction of the socket it came on. False: *f says why, and ret holds nothing. needs_seq: seq must be there. */
bool envelope_read(struct sv text, bool is_down, bool needs_seq, struct envelope *ret, struct envelope_fault *f) MUST_CHECK;
void envelope_free(struct envelope *m);

/* Who sends; empty views are null. */
struct envelope_head {
    enum link_kind kind;
    bool is_down;
    struct sv msg_id;      /* empty: a fresh one */
    struct sv site_id, agent_id, re;
    uint64_t seq;          /* 0: left out */
    struct sv ts;          /* empty: now */
    struct sv via;         /* a JSON array; empty: left out */
    const char *name;      /* in place of the kind's own, as a leaf knows it; NULL: none */
};
/* payload: a JSON object. */
void envelope_print(struct buf *out, const struct envelope_head *h, struct sv payload);

/* [a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])? */
bool link_is_ident(struct sv v);
/* Whether payload is what the kind's schema asks for. path and text tell where it is not. */
bool kind_check(enum link_kind k, yyjson_val *payload, struct envelope_fault *f);
/* Appends a payload that was checked, without the members that its schema does not have: so that they mean nothing anywhere further on. */
bool kind_print(enum link_kind k, yyjson_val *payload, struct buf *out) MUST_CHECK;

#endif
