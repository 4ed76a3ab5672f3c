/* hub/leaf.h - private to hub: the socket of one leaf, an agent on the local network that speaks to this node (docs/protocol.md, "Leaf
 * relay"), as a protocol engine. Bytes and time in, events and bytes out; no I/O, no clock.
 *
 * It holds the WebSocket after its upgrade, the checks of each message, the rates, and liveness. What a message is worth, and where it
 * goes, is decided above (relay.c). Life: leaf_new -> leaf_feed as bytes come, leaf_tick about twice a second; what is to be written lies in
 * leaf_output -> leaf_free. After on_end nothing more happens: the output is to be written, then the socket closed. */
#ifndef DROVER_HUB_LEAF_H
#define DROVER_HUB_LEAF_H

#include "link/link.h"

enum {
    LEAF_PER_S = 20, /* messages */
    LEAF_BURST = 100,
    LEAF_BYTES_PER_S = 256 << 10,
    LEAF_BYTES_BURST = 512 << 10, /* two of the largest messages */
    LEAF_RATED_MAX = 3,           /* messages beyond the rate within a minute: 4029 */
    LEAF_BINARY_MAX = 3,          /* binary messages: 1003 */
    LEAF_MISMATCH_MAX = 2,        /* messages in the name of another agent: 1008 */
    LEAF_STATE_MAX = 3,           /* messages before register_agent: 4002 */
    LEAF_OUT_MAX = 1 << 20,       /* what waits to be written; 1 MiB that a leaf does not read end its connection */
    LEAF_HELD_MAX = 128 << 10,    /* input that came with the message after which nothing is to be read */
};

struct leaf;

struct leaf_events {
    /* The first register_agent: who it is. FAULT_NONE: it is in, and on_message follows; else it is told so, and the socket closed. */
    enum link_fault (*on_join)(void *owner, struct sv agent_id);
    /* A message that may come, checked whole, in the leaf's own name. Borrowed. */
    void (*on_message)(void *owner, struct envelope *m);
    /* The end, once. code: as sent or received, CLOSE_SILENT: neither. why is borrowed. */
    void (*on_end)(void *owner, unsigned code, struct sv why);
};

/* NULL: out of memory. Borrows on. */
struct leaf *leaf_new(const struct leaf_events *on, void *owner, uint64_t now_ms) MUST_CHECK;
void leaf_free(struct leaf *f);
void leaf_feed(struct leaf *f, struct sv bytes, uint64_t now_ms);
void leaf_tick(struct leaf *f, uint64_t now_ms);
/* Takes no message from now on: what is fed meanwhile is held, up to LEAF_HELD_MAX, and the deadline of the reading side rests. off: goes
 * on with what was held. */
void leaf_pause(struct leaf *f, bool on, uint64_t now_ms);
/* For the caller to write and reset. */
struct buf *leaf_output(struct leaf *f);

/* False: it has ended, or reads too slowly: it ends then. h: agent_id is filled in. */
bool leaf_send(struct leaf *f, const struct envelope_head *h, struct sv payload);
/* A bare text, as `relay.compat: text_ok` has it. */
void leaf_send_text(struct leaf *f, struct sv text);
/* An error that ends nothing. */
void leaf_refuse(struct leaf *f, enum link_fault code, const char *text, struct sv re, uint32_t retry_ms);
void leaf_close(struct leaf *f, unsigned code, struct sv why);
void leaf_cut(struct leaf *f, struct sv why);

struct sv leaf_agent(const struct leaf *f); /* empty: it has not said yet */
bool leaf_has_ended(const struct leaf *f);
uint64_t leaf_heard_ms(const struct leaf *f);
struct leaf_facts {
    uint64_t n_messages, n_invalid,
        n_sites; /* the last: those that named another site than ours, which means nothing */
};
void leaf_facts(const struct leaf *f, struct leaf_facts *ret);
/* What it shall be told about: whose site this is, for leaf_facts. Borrowed for the leaf's life. */
void leaf_site(struct leaf *f, struct sv site);

#endif
