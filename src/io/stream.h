/* io/stream.h - a duplex byte stream with back-pressure, whatever carries it.
 *
 * TCP and UNIX sockets, TLS over any stream and in-memory pairs implement it; links and tunnels will. A stream belongs
 * to one loop and has one owner, which receives its events. Life: a listener or dialer hands it over paused ->
 * stream_own -> stream_read -> ... -> stream_close. After stream_close the owner hears nothing more and must not touch it;
 * closing inside one of its own callbacks is fine. No function here calls the owner back before it has returned. */
#ifndef DROVER_IO_STREAM_H
#define DROVER_IO_STREAM_H

#include "base/err.h"
#include "base/sv.h"
#include "io/loop.h"

struct stream;

struct stream_space {
    char *p;
    size_t n;
};

struct stream_events {
    /* Bytes arrived; borrowed until the callback returns. */
    void (*on_read)(void *owner, struct sv bytes);
    /* The peer sends no more (e is NULL), or the stream is broken (e is borrowed). At most once. After an end without
     * fault the other direction still works. */
    void (*on_end)(void *owner, const struct err *e);
    /* Queued output has fallen to the low-water mark after stream_wants_drain. May be NULL. */
    void (*on_drain)(void *owner);
    /* Where the next bytes should go, so that a large body needs no copy; return n = 0 for the loop's scratch buffer.
     * A stream may ignore it. May be NULL. */
    struct stream_space (*on_space)(void *owner);
};

struct stream_ops {
    void (*read)(struct stream *s, bool on);
    void (*write)(struct stream *s, const struct sv *v, unsigned n);
    size_t (*offer)(struct stream *s, const struct sv *v, unsigned n);
    size_t (*queued)(const struct stream *s);
    void (*end)(struct stream *s);
    void (*close)(struct stream *s);
    void (*want_drain)(struct stream *s); /* for streams that stand on another; may be NULL */
};

enum {
    STREAM_LOW = 16 << 10, /* queued bytes at which on_drain comes */
    STREAM_WRITE_MAX = 16, /* pieces per stream_write or stream_offer */
    STREAM_PEER_TEXT = 64,
};

struct stream {
    const struct stream_ops *ops;
    struct loop *loop;
    const struct stream_events *on;
    void *owner;
    bool wants_drain;
    bool is_tls;
    char peer[STREAM_PEER_TEXT]; /* "192.0.2.7" or "2001:db8::1" without the port; "unix"; empty when unknown */
};

static inline void stream_own(struct stream *s, const struct stream_events *on, void *owner) {
    s->on = on;
    s->owner = owner;
}
static inline void stream_read(struct stream *s, bool on) {
    s->ops->read(s, on);
}
/* Takes all bytes (copies what the transport does not accept at once). What one turn writes leaves together at its end;
 * a large piece tries to leave at once. A fault shows later as on_end. n <= STREAM_WRITE_MAX. */
static inline void stream_write(struct stream *s, const struct sv *v, unsigned n) {
    s->ops->write(s, v, n);
}
static inline void stream_write1(struct stream *s, struct sv v) {
    s->ops->write(s, &v, 1);
}
/* Hands over what the transport takes at once, behind anything queued, and returns how many bytes that was; the rest stays
 * the caller's, who asks for on_drain and offers again. For large bodies that should be copied nowhere. A transport that
 * cannot tell takes all. */
static inline size_t stream_offer(struct stream *s, const struct sv *v, unsigned n) {
    return s->ops->offer(s, v, n);
}
/* Bytes accepted and not yet handed to the transport. */
static inline size_t stream_queued(const struct stream *s) {
    return s->ops->queued(s);
}
/* Asks for one on_drain when queued bytes are at or below STREAM_LOW; it may come on the next turn. */
static inline void stream_want_drain(struct stream *s) {
    s->wants_drain = true;
    if (s->ops->want_drain)
        s->ops->want_drain(s);
}
/* Sends what is queued, then tells the peer that no more comes. */
static inline void stream_end(struct stream *s) {
    s->ops->end(s);
}
/* Drops what is queued. NULL is fine. */
static inline void stream_close(struct stream *s) {
    if (s)
        s->ops->close(s);
}

#endif
