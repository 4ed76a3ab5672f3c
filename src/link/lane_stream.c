#include "link/lane_stream.h"

#include <stdio.h>

#include "base/mem.h"
#include "link/lane.h"

enum {
    OFFER_MAX = 64 << 10, /* bytes of a stream that wait for credit before an offer is refused */
    IN_MAX = MUX_STREAM_WINDOW_MAX * 16,
};

struct lane_stream {
    struct stream s;
    struct lane *lane;    /* NULL once m is */
    struct mux_stream *m; /* NULL: reset, or the lane is gone */
    struct buf in;        /* came while the owner did not read; credit bounds it */
    bool reading, fin, fin_told, broken, broken_told, closed;
    struct err fault;
    struct loop_flush flush;
    unsigned refs;
};

static void unhold(struct lane_stream *k) {
    if (--k->refs == 0)
        mem_free(k);
}

static void leave(struct lane_stream *k, enum reset_code code) {
    if (!k->m)
        return;
    mux_release(k->m, code, SV_NULL);
    lane_flush(k->lane);
    k->m = NULL;
    k->lane = NULL;
}

static void breaks(struct lane_stream *k, enum err_code code, const char *what, struct sv why) {
    k->broken = true;
    if (why.n)
        err_set(&k->fault, code, "link stream: %s: %.*s", what, SV_FMT(why));
    else
        err_set(&k->fault, code, "link stream: %s", what);
    loop_flush_later(k->s.loop, &k->flush);
}

static void no_memory(struct lane_stream *k) {
    leave(k, RESET_INTERNAL);
    if (!k->broken)
        breaks(k, ERR_NO_MEMORY, "out of memory", SV_NULL);
}

/* --- in --------------------------------------------------------------------------------------------------------------------------------- */

static void hand_on(struct lane_stream *k, struct sv bytes) {
    k->s.on->on_read(k->s.owner, bytes);
    if (k->m)
        mux_consumed(k->m, bytes.n, loop_now_ms(k->s.loop));
    if (k->lane)
        lane_flush(k->lane); /* credit may be due */
}

void lane_stream_data(void *user, struct sv bytes) {
    struct lane_stream *k = user;
    k->refs++;
    if (k->reading && !k->in.n && k->s.on)
        hand_on(k, bytes);
    else if (!buf_add(&k->in, bytes))
        no_memory(k);
    unhold(k);
}

/* Every end is told at the end of the turn: behind the bytes, and never inside one of the owner's calls. */
void lane_stream_fin(void *user) {
    struct lane_stream *k = user;
    k->fin = true;
    loop_flush_later(k->s.loop, &k->flush);
}

void lane_stream_reset(void *user, uint32_t code, struct sv reason) {
    struct lane_stream *k = user;
    bool refused = code == RESET_REFUSED_STREAM || code == RESET_REFUSED_SERVICE || code == RESET_BUSY || code == RESET_DRAINING;
    leave(k, RESET_CANCEL);
    breaks(k, refused ? ERR_UNAVAILABLE : code == RESET_DEADLINE ? ERR_TIMEOUT : ERR_IO, reset_name(code), reason);
}

void lane_stream_drain(void *user) {
    struct lane_stream *k = user;
    loop_flush_later(k->s.loop, &k->flush);
}

static void tell(struct lane_stream *k) {
    if (!k->closed && k->reading && k->in.n) {
        struct buf bytes = k->in;
        buf_init(&k->in, IN_MAX);
        hand_on(k, buf_sv(&bytes));
        buf_deinit(&bytes);
    }
    if (!k->closed && k->broken && !k->broken_told) {
        k->broken_told = true;
        k->s.on->on_end(k->s.owner, &k->fault);
    } else if (!k->closed && k->reading && k->fin && !k->fin_told && !k->in.n && !k->broken) {
        k->fin_told = true;
        k->s.on->on_end(k->s.owner, NULL);
    }
    if (!k->closed && k->s.wants_drain && k->m && mux_queued(k->m) <= STREAM_LOW) {
        k->s.wants_drain = false;
        if (k->s.on->on_drain)
            k->s.on->on_drain(k->s.owner);
    }
}

static void on_flush(struct loop_flush *f) {
    struct lane_stream *k = CONTAINER(f, struct lane_stream, flush);
    k->refs++;
    if (!k->closed && k->s.on)
        tell(k);
    unhold(k);
}

/* --- what the owner asks ---------------------------------------------------------------------------------------------------------------- */

static void ls_read(struct stream *s, bool on) {
    struct lane_stream *k = CONTAINER(s, struct lane_stream, s);
    k->reading = on;
    if (on && (k->in.n || k->fin || k->broken))
        loop_flush_later(s->loop, &k->flush);
}

static void ls_write(struct stream *s, const struct sv *v, unsigned n) {
    struct lane_stream *k = CONTAINER(s, struct lane_stream, s);
    for (unsigned i = 0; k->m && i < n; i++)
        if (!mux_write(k->m, v[i]))
            no_memory(k);
    if (k->lane)
        lane_flush(k->lane);
}

static size_t ls_offer(struct stream *s, const struct sv *v, unsigned n) {
    struct lane_stream *k = CONTAINER(s, struct lane_stream, s);
    size_t taken = 0;
    for (unsigned i = 0; k->m && i < n; i++) {
        size_t queued = mux_queued(k->m);
        struct sv piece = sv_first(v[i], queued < OFFER_MAX ? OFFER_MAX - queued : 0);
        if (!mux_write(k->m, piece))
            no_memory(k);
        taken += piece.n;
        if (piece.n < v[i].n)
            break;
    }
    if (k->lane)
        lane_flush(k->lane);
    return taken;
}

static size_t ls_queued(const struct stream *s) {
    const struct lane_stream *k = CONTAINER(s, struct lane_stream, s);
    return k->m ? mux_queued(k->m) : 0;
}

static void ls_end(struct stream *s) {
    struct lane_stream *k = CONTAINER(s, struct lane_stream, s);
    if (!k->m)
        return;
    mux_finish(k->m);
    lane_flush(k->lane);
}

static void ls_close(struct stream *s) {
    struct lane_stream *k = CONTAINER(s, struct lane_stream, s);
    if (k->closed)
        return;
    k->closed = true;
    leave(k, RESET_CANCEL);
    list_drop(&k->flush.dirty);
    buf_deinit(&k->in);
    unhold(k);
}

static void ls_want_drain(struct stream *s) {
    struct lane_stream *k = CONTAINER(s, struct lane_stream, s);
    if (!k->m)
        return;
    mux_want_drain(k->m);
    if (mux_queued(k->m) <= STREAM_LOW)
        loop_flush_later(s->loop, &k->flush);
}

static const struct stream_ops ops = { ls_read, ls_write, ls_offer, ls_queued, ls_end, ls_close, ls_want_drain };

struct stream *lane_stream_new(struct lane *n, struct loop *l, struct mux_stream *m) {
    struct lane_stream *k = mem_new(sizeof *k);
    if (!k)
        return NULL;
    k->s.ops = &ops;
    k->s.loop = l;
    k->lane = n;
    k->m = m;
    k->refs = 1;
    memcpy(k->s.peer, "link", 5);
    buf_init(&k->in, IN_MAX);
    k->flush.run = on_flush;
    list_init(&k->flush.dirty);
    mux_own(m, k);
    return &k->s;
}

/* --- echo ------------------------------------------------------------------------------------------------------------------------------- */

static void on_echo_read(void *owner, struct sv bytes) {
    struct stream *s = owner;
    stream_write1(s, bytes);
    if (stream_queued(s) > OFFER_MAX) {
        stream_read(s, false);
        stream_want_drain(s);
    }
}

static void on_echo_end(void *owner, const struct err *e) {
    struct stream *s = owner;
    if (!e)
        stream_end(s);
    stream_close(s);
}

static void on_echo_drain(void *owner) {
    stream_read(owner, true);
}

static const struct stream_events echo_events = { on_echo_read, on_echo_end, on_echo_drain, NULL };

void lane_stream_echo(struct stream *s) {
    stream_own(s, &echo_events, s);
    stream_read(s, true);
}
