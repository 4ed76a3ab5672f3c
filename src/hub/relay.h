/* hub/relay.h - private to hub: the node's relay for leaves, agents on its local network that have no link of their own. They speak to the
 * node, the node to the hub, in both directions. docs/protocol.md, "Leaf relay". Control loop: leaves are few.
 *
 *   leaf.c        one leaf's socket, as an engine
 *   leaf_box.c    what is held of one leaf
 *   relay.c       the story: who is there, what goes up, what comes down
 *   relay_door.c  the listener, and sockets as callers
 *   relay_rows.c  what outlives the process */
#ifndef DROVER_HUB_RELAY_H
#define DROVER_HUB_RELAY_H

#include "access/access.h"
#include "hub/leaf.h"
#include "hub/leaf_box.h"
#include "io/loop.h"
#include "pki/pki.h"

enum {
    RELAY_LEAVES = 64,
    RELAY_BOXES = 128,      /* those of leaves that are away, but not all they said is at the hub, counted in */
    RELAY_BYTES = 64 << 20, /* of letters of all boxes */
    RELAY_VISITORS = 32,    /* connections that are not leaves yet */
    RELAY_PER_S = 25,
    RELAY_BURST = 50,              /* messages up, for all leaves: half of what a hub takes of a node's link, or less */
    RELAY_BYTES_PER_S = 256 << 10, /* the same in bytes; one message may go past it, and the next then waits */
    RELAY_TICK_MS = 250,
    RELAY_SILENT_MS = 25000, /* a leaf without a word for so long gives way to another of its name */
    RELAY_BEATS = 3,         /* missed heartbeats: stale */
    RELAY_BEAT_MS = 15000,   /* where no link has said how often they are due */
};

enum leaf_presence { LEAF_DISCONNECTED, LEAF_CONNECTED, LEAF_STALE };

struct member;
struct store;
struct door_in;

struct held { /* a box, and where its leaf is */
    struct box *box;
    struct list all;
    struct caller *caller; /* NULL: it is away */
    enum leaf_presence presence;
    bool is_paused;    /* nothing is read of it */
    bool is_told;      /* of the presence, on this link */
    uint64_t since_ms; /* wall clock: of the presence */
    uint64_t beat_ms;  /* loop time: of its last heartbeat, or its coming */
    char peer[STREAM_PEER_TEXT];
};

/* Counted: rows that are being written hold it. */
struct relay {
    struct member *member; /* NULL: closed */
    struct loop *loop;
    struct store *store;
    char node_id[PKI_ID_MAX + 1]; /* empty: not a node yet, so no leaf is let in */
    struct list held;             /* of struct held, in the order in which they are served */
    unsigned n_held, n_callers;
    size_t bytes;
    int64_t next_no;
    struct timer tick;
    double allowance, byte_allowance; /* of messages up; the latter may be negative */
    uint64_t allowance_at_ms;
    uint64_t n_dropped; /* messages that were not passed on, since the start */
    bool is_up;         /* the link there is takes what leaves say */
    bool is_stopping;
    unsigned refs;
    struct door_in *door;
};

/* Opens the listener of the settings, where there is one: relay.listen. */
bool relay__listen(struct member *m, struct err *e) MUST_CHECK;
/* This machine is a node: what is on the disk is read. */
void relay__open(struct member *m);
/* No leaf any more; forget: the rows go, too. The listener stays. */
void relay__leave(struct member *m, bool forget);
void relay__stop(struct member *m);
void relay__free(struct member *m);
/* A link is up; relays: its hub hears leaves. A link is down. */
void relay__up(struct member *m, bool relays);
void relay__down(struct member *m);
/* A message of the hub for a leaf. */
void relay__take(struct member *m, const struct envelope *e);

/* --- relay.c, for its callers --------------------------------------------------------------------------------------------------------- */
/* A leaf's first word; on success its box is found or made. */
enum link_fault relay__join(struct relay *r, struct caller *c, struct sv agent_id);
void relay__heard(struct relay *r, struct caller *c, struct envelope *m);
void relay__gone(struct relay *r, struct caller *c);
struct held *relay__find(const struct relay *r, struct sv agent);
struct held *relay__hold(struct relay *r, struct sv agent) MUST_CHECK;
struct relay *relay__unref(struct relay *r);
/* A row was written, or not. */
void relay__written(struct relay *r, const char *agent, int64_t no, const struct err *e);

/* --- relay_rows.c --------------------------------------------------------------------------------------------------------------------- */
bool rows__load(struct relay *r, struct err *e) MUST_CHECK;
bool rows__write(struct relay *r, const struct box *b, const struct letter *l, struct err *e) MUST_CHECK;
void rows__drop(struct relay *r, int64_t no);
void rows__forget(struct relay *r);

/* --- relay_door.c --------------------------------------------------------------------------------------------------------------------- */
bool door_in__open(struct relay *r, struct err *e) MUST_CHECK;
void door_in__close(struct relay *r);
void door_in__tick(struct relay *r);
struct leaf *caller_leaf(struct caller *c);
struct held *caller_held(const struct caller *c);
void caller_hold(struct caller *c, struct held *h);
const char *caller_peer(const struct caller *c);
/* What it was told is written at the end of this turn; pause: nothing is read of it. */
void caller_flush(struct caller *c);
void caller_pause(struct caller *c, bool on);

#endif
