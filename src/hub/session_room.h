/* hub/session_room.h - private to session.c and its parts: what a session is. Control loop only.
 *
 *   session.c         the story of a link
 *   session_ask.c     who asks at the gate, and whether a session begins
 *   session_models.c  the models that it told of
 *   session_tell.c    how it stands */
#ifndef DROVER_HUB_SESSION_ROOM_H
#define DROVER_HUB_SESSION_ROOM_H

#include "hub/leaves.h"
#include "hub/room.h"

enum {
    MODELS_BYTES = 8 << 20,
    RETIRE_MS = 30000,
    SILENT_MS = 25000,
    SILENT_BEATS = 2, /* an old link without a word for so long, whichever is more, gives way to another machine */
    STALE_BEATS = 3,
    LOST_BEATS = 6,
    EXPIRED_S = 3600, /* what runs when a certificate ends has so long; reference on certificates, section 10 (drain_max) */
    SEEN_EVERY_MS = 600000, /* on the disk; and when a link ends */
    LANE_TOKEN = 32,
};

enum session_state { ASKED, GREETING, WELCOMED, UP, RETIRING, ENDED };

struct session {
    struct list all;
    struct hub *hub;
    struct node *node;           /* NULL: it has gone */
    struct wire *wire;
    struct way *way;
    enum session_state state;
    struct list lanes;           /* of struct lane_of */
    char instance[65], lane_token[LANE_TOKEN * 2 + 1], link_id[17], peer[STREAM_PEER_TEXT], group[32];
    bool is_pq;
    uint64_t epoch, began_ms, up_ms, heard_ms, retire_ms, seen_ms; /* loop time */
    char hello_id[ENVELOPE_ID];
    struct mux_limits limits;
    uint64_t rev;                /* of its capabilities */
    struct arena arena;          /* of its models */
    struct map models;           /* of struct fleet_model, by id */
    char version[65];
    char beat_state[16], error[160];
    yyjson_doc *beat;            /* the last heartbeat */
    yyjson_doc *told;            /* register_agent, without its models */
    bool has_models, allows;
    bool is_expired;      /* its certificate has ended; as told to the fleet */
    bool relays;          /* it may speak for leaves */
    struct leaves leaves;
    bool left;            /* RETIRING: it was told that its time is over */
    int64_t clock_off_ms; /* its clock less ours */
};

struct lane_of {
    struct list all;
    struct session *session;
    struct wire *wire;
};

static inline uint64_t session__now_ms(const struct hub *h) {
    return loop_now_ms(h->loop);
}

/* session.c */
extern const struct wire_events session__events, session__lane_events; /* owners: struct session, struct lane_of */
enum fleet_state session__state(const struct session *s, struct sv *ret_why); /* why: borrowed */
/* Frees s; code and why go to the node. */
void session__free(struct session *s, unsigned code, const char *why);

/* session_models.c */
/* False: more than are kept of one node, or memory is out. */
bool session__take_models(struct session *s, yyjson_val *list);
void session__forget_models(struct session *s);

#endif
