/* link/mux.h - private to link: many byte streams over one socket, with credit per stream and per link. No I/O, no clock.
 *
 * Frames come in by mux_feed, events go out by callbacks, frames for the peer are fetched with mux_take as the socket has room. The rules are
 * those of docs/protocol.md, "Stream frames" to "Scheduling"; what differs by who one is (parity of ids) hangs on is_hub.
 *
 * A stream's life: mux_open, or on_open where the peer opened it -> mux_write, mux_finish / on_data, on_end -> mux_release. After on_reset only
 * mux_release is left. Whoever gets bytes says by mux_consumed when they have been used; only then the peer may send more. One loop's. */
#ifndef DROVER_LINK_MUX_H
#define DROVER_LINK_MUX_H

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "link/frame.h"

/*      code                    name                                                                                        */
#define RESET_TABLE(X)                                                                                                      \
    X(RESET_NO_ERROR,         "no error")                                                                                   \
    X(RESET_CANCEL,           "canceled")                                                                                   \
    X(RESET_REFUSED_STREAM,   "stream refused")                                                                             \
    X(RESET_REFUSED_SERVICE,  "service refused")                                                                            \
    X(RESET_BUSY,             "too many streams")                                                                           \
    X(RESET_DEADLINE,         "deadline passed")                                                                            \
    X(RESET_STALLED,          "nobody read it")                                                                             \
    X(RESET_FLOW_CONTROL,     "more than its window")                                                                       \
    X(RESET_PROTOCOL,         "protocol error")                                                                             \
    X(RESET_INTERNAL,         "internal error")                                                                             \
    X(RESET_LINK_LOST,        "link lost") /* local only, never on the wire */                                              \
    X(RESET_DRAINING,         "draining")                                                                                   \
    X(RESET_UPSTREAM,         "the service behind it failed")                                                               \
    X(RESET_FORBIDDEN,        "forbidden")
#define X(id, text) id,
enum reset_code { RESET_TABLE(X) RESET_CODES };
#undef X
const char *reset_name(uint32_t code);

enum { SERVICE_HTTP = 1, SERVICE_ECHO = 2 };
enum { PRIORITY_INTERACTIVE, PRIORITY_NORMAL, PRIORITY_BULK, PRIORITIES };

/* What one end accepts of the other; absent members of the announcement are the defaults, values outside the bounds are clamped. */
struct mux_limits {
    uint32_t max_streams;   /* opened by the peer at one time; 1..4096 */
    uint32_t max_frame;     /* payload bytes; 1 KiB..256 KiB */
    uint32_t stream_window; /* bytes at the start; 1 KiB..1 MiB */
    uint32_t link_window;   /* bytes at the start; 64 KiB..16 MiB */
};
#define MUX_LIMITS_NODE ((struct mux_limits){ 256, 32 << 10, 64 << 10, 4 << 20 })
#define MUX_LIMITS_HUB ((struct mux_limits){ 64, 32 << 10, 64 << 10, 4 << 20 })
void mux_clamp(struct mux_limits *l);

enum {
    MUX_STREAM_WINDOW_MAX = 1 << 20, /* to which a window grows */
    MUX_LINK_WINDOW_MAX = 16 << 20,
    MUX_CREDIT_MAX = 0x7fffffff,
    MUX_URGENT_MAX = 256 << 10,      /* bytes of credits and resets not yet taken; past it the peer floods */
    MUX_OUT_MAX = 256 << 20,         /* bytes written to a stream and not yet sent; writers look at mux_queued long before */
    MUX_STALLED_MS = 60000, MUX_SHED_MS = 5000,
};

struct mux;
struct mux_stream;

struct mux_open {
    uint8_t service, priority;
    uint32_t deadline_ms; /* 0: none */
    struct sv meta;       /* JSON of at most FRAME_META_MAX bytes, or empty */
};

struct mux_events {
    /* The peer opened a stream. The handler names who it belongs to (mux_own), or releases it with a code. Views are borrowed. */
    void (*on_open)(void *owner, struct mux_stream *s, const struct mux_open *o);
    /* The rest goes to the stream's user. */
    void (*on_data)(void *user, struct sv bytes);
    void (*on_end)(void *user); /* the peer sends no more */
    void (*on_reset)(void *user, uint32_t code, struct sv reason);
    void (*on_drain)(void *user); /* what waits fell to the mark after mux_want_drain */
    /* The peer opens no more: streams of ours above last_id have been reset (RESET_REFUSED_STREAM) already. */
    void (*on_goaway)(void *owner, uint32_t last_id, uint32_t code, uint32_t retry_ms, struct sv reason);
};

struct mux_facts {
    unsigned n_streams, n_ours, n_theirs;
    uint64_t buffered; /* bytes that came and have not been consumed */
    uint64_t sent, received; /* payload bytes */
    uint64_t n_opened, n_resets;
};

/* ours: what we accept; the peer's is told by mux_peer_limits before the first stream. Borrows on. NULL: out of memory. */
struct mux *mux_new(bool is_hub, const struct mux_limits *ours, const struct mux_events *on, void *owner) MUST_CHECK;
void mux_peer_limits(struct mux *m, const struct mux_limits *theirs);
/* Streams that are left are reset with RESET_LINK_LOST first: their users hear it, and release them then or before m goes. NULL is fine. */
void mux_free(struct mux *m);
/* Tells every user RESET_LINK_LOST; nothing is sent or taken any more. */
void mux_lost(struct mux *m);

/* One binary message. False: the link is to be closed with *ret_code, for the reason in *why. */
bool mux_feed(struct mux *m, struct sv message, uint64_t now_ms, unsigned *ret_code, const char **ret_why) MUST_CHECK;
/* Deadlines, readers that do not read. Call it about once a second. */
void mux_tick(struct mux *m, uint64_t now_ms, uint64_t rtt_us);

/* Hands frames to sink, in their order of urgency, until about budget bytes went or nothing may be sent. False from sink stops it: that frame
 * stays. Returns whether anything is left that could be sent now. */
typedef bool mux_sink(void *arg, struct sv head, struct sv meta, struct sv data);
bool mux_take(struct mux *m, size_t budget, mux_sink *sink, void *arg);
bool mux_has_output(const struct mux *m);

/* NULL with *e set: the peer's limit is reached, the ids are used up, or memory is out. */
struct mux_stream *mux_open(struct mux *m, const struct mux_open *o, uint64_t now_ms, struct err *e) MUST_CHECK;
void mux_own(struct mux_stream *s, void *user);
uint32_t mux_id(const struct mux_stream *s);
/* Copies. False: memory is out; the caller releases the stream then. */
bool mux_write(struct mux_stream *s, struct sv bytes) MUST_CHECK;
size_t mux_queued(const struct mux_stream *s);
void mux_want_drain(struct mux_stream *s);
void mux_finish(struct mux_stream *s);
void mux_consumed(struct mux_stream *s, size_t n, uint64_t now_ms);
/* The user is done. Where the peer has ended: what was finished with mux_finish still goes, else an end without more. Where it has not, the
 * stream is reset with code. */
void mux_release(struct mux_stream *s, enum reset_code code, struct sv reason);
/* Opens no more and accepts no more. */
void mux_goaway(struct mux *m, uint32_t code, uint32_t retry_ms, struct sv reason);
void mux_facts(const struct mux *m, struct mux_facts *ret);

#endif
