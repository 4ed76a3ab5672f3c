/* link/engine.h - private to link: one socket of a link as a protocol engine. Bytes and time in, events and bytes out; no I/O, no clock.
 *
 * It holds the WebSocket (after its HTTP upgrade), the order of the handshake, the checks of control messages, liveness and the multiplexer.
 * What messages mean is decided above: this engine says only whether they may come. A lane besides the first carries streams alone.
 *
 * Life: engine_new -> engine_feed as bytes come, engine_fill as the socket has room, engine_tick about twice a second -> engine_free. When
 * on_end has come nothing more happens: what engine_fill still gives is to be written, then the socket is closed. */
#ifndef DROVER_LINK_ENGINE_H
#define DROVER_LINK_ENGINE_H

#include "link/envelope.h"
#include "link/mux.h"

/* docs/protocol.md, "Error and close codes"; beside those of RFC 6455 in http/ws.h. */
enum {
    CLOSE_DATA_TYPE = 1003,
    CLOSE_TRY_LATER = 1013,
    CLOSE_VERSION = 4001,
    CLOSE_PROTOCOL = 4002,
    CLOSE_IDENTITY = 4003,
    CLOSE_HANDSHAKE = 4004,
    CLOSE_REFUSED = 4005,
    CLOSE_HEARTBEATS = 4008,
    CLOSE_FLOW = 4009,
    CLOSE_REPLACED = 4010,
    CLOSE_FLOOD = 4011,
    CLOSE_RATE = 4029,
    CLOSE_SILENT = 0, /* the connection was dropped without a word */
};

enum {
    ENGINE_TEXT_MAX = 256 << 10, /* bytes of a control message; what hello and welcome announce */
    ENGINE_TICK_MS = 500,
    ENGINE_OUT_MAX = 4 << 20, /* control messages and pongs that wait; past it the peer does not read */
    ENGINE_PING_MS = 20000,
    ENGINE_READ_MS = 60000,
    ENGINE_PONG_MS = 25000, /* three in a row not answered in time end the link */
    ENGINE_HELLO_MS = 5000,
    ENGINE_REGISTER_MS = 10000,
    ENGINE_CLOSE_MS = 3000,
    ENGINE_CONTROL_PER_S = 50,
    ENGINE_CONTROL_BURST = 200,
    ENGINE_CONTROL_BYTES_PER_S = 1 << 20,
    ENGINE_OPENS_PER_S = 100,
    ENGINE_OPENS_BURST = 500, /* what a hub takes of a node */
    ENGINE_INVALID_MAX = 10,  /* invalid messages within a minute */
};

struct engine;

struct engine_events {
    struct mux_events streams; /* their owner is the same */
    /* A message that may come here and now. Borrowed; m->doc may be taken (leave NULL). */
    void (*on_control)(void *owner, struct envelope *m);
    /* The handshake is over: streams may go. On a lane: at once. */
    void (*on_up)(void *owner);
    /* The end, once. code: as sent or received, CLOSE_SILENT: neither. why is borrowed. */
    void (*on_end)(void *owner, unsigned code, struct sv why);
};

struct engine_spec {
    bool is_hub;
    bool is_client; /* who dialled masks its frames */
    bool is_lane;   /* not the first one: no control messages */
    struct mux_limits limits; /* what we accept */
    struct sv site; /* the node's id; borrowed for the engine's life */
};

/* NULL: out of memory. Borrows on. */
struct engine *engine_new(const struct engine_spec *spec, const struct engine_events *on, void *owner, uint64_t now_ms) MUST_CHECK;
void engine_free(struct engine *g);

void engine_feed(struct engine *g, struct sv bytes, uint64_t now_ms);
void engine_tick(struct engine *g, uint64_t now_ms);
/* Appends what may go out now to out: all that is urgent, and of streams about budget bytes. Returns whether more is left. */
bool engine_fill(struct engine *g, size_t budget, struct buf *out);
bool engine_has_output(const struct engine *g);

/* payload: a JSON object; re: the message it answers, or empty. False: not in this state, or no room: the link is ending then. */
bool engine_send(struct engine *g, enum link_kind k, struct sv payload, struct sv re);
/* One that goes on in somebody else's name, or again: with its own id. */
bool engine_send_as(struct engine *g, const struct envelope_head *h, struct sv payload);
/* on_end comes before this returns. */
void engine_close(struct engine *g, unsigned code, struct sv why);
/* The socket broke, or nothing could be written for too long. */
void engine_cut(struct engine *g, struct sv why);
bool engine_is_up(const struct engine *g);
bool engine_has_ended(const struct engine *g);

struct mux *engine_mux(struct engine *g);
/* What hello or welcome announces (its member "limits"): absent members stay as otherwise has them. */
struct mux_limits link_limits_read(yyjson_val *limits, struct mux_limits otherwise);

struct engine_facts {
    struct mux_facts streams;
    uint64_t rtt_us; /* exponential average; 0: not measured yet */
    uint64_t bytes_in, bytes_out, n_messages, n_invalid;
};
void engine_facts(const struct engine *g, struct engine_facts *ret);

#endif
