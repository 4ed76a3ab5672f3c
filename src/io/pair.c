#include "io/pair.h"

#include "base/buf.h"
#include "io/dialer.h"

enum { PAIR_MAX = 256 << 20 };

struct half {
    struct stream s;
    struct half *peer;  /* NULL when the other side closed */
    struct buf out;     /* on its way to the peer */
    struct loop_flush flush;
    bool reading, ending, end_told, closed;
    bool broken;        /* memory was out and bytes are lost: both sides are told */
    unsigned refs;
};

static void unhold(struct half *h) {
    if (--h->refs == 0)
        mem_free(h);
}

static void tell_end(struct half *h, bool broken) {
    struct err e;
    if (h->end_told)
        return;
    h->end_told = true;
    err_no_memory(&e);
    h->s.on->on_end(h->s.owner, broken ? &e : NULL);
}

/* Moves what this side wrote to the other side, if that one reads. */
static void deliver(struct half *h) {
    struct half *to = h->peer;
    while (to && !to->closed && to->reading && h->out.n) {
        struct buf chunk = h->out; /* the reader may cause writes: take the bytes out first */
        buf_init(&h->out, PAIR_MAX);
        struct sv rest = buf_sv(&chunk);
        struct stream_space space = { 0 };
        while (rest.n && to && !to->closed && to->reading) {
            struct sv piece = rest;
            if (to->s.on->on_space)
                space = to->s.on->on_space(to->s.owner);
            if (space.n) {
                piece = sv_first(rest, space.n);
                memcpy(space.p, piece.p, piece.n);
                piece.p = space.p;
            }
            rest = sv_from(rest, piece.n);
            to->s.on->on_read(to->s.owner, piece);
            to = h->peer;
        }
        if (rest.n) { /* the reader paused: what is left goes back in front of anything newer */
            struct buf newer = h->out;
            buf_consume(&chunk, chunk.n - rest.n);
            h->out = chunk;
            h->broken = h->broken || !buf_add(&h->out, buf_sv(&newer));
            buf_deinit(&newer);
            return;
        }
        buf_deinit(&chunk);
        to = h->peer;
    }
    if (to && !to->closed && to->reading && (h->ending || h->broken) && h->out.n == 0)
        tell_end(to, h->broken);
}

static void on_flush(struct loop_flush *f) {
    struct half *h = CONTAINER(f, struct half, flush);
    h->refs++;
    if (!h->closed || h->out.n || h->ending)
        deliver(h);
    if (!h->closed && (!h->peer || h->broken) && h->reading)
        tell_end(h, h->broken);
    if (!h->closed && h->s.wants_drain && h->out.n <= STREAM_LOW) {
        h->s.wants_drain = false;
        if (h->s.on && h->s.on->on_drain)
            h->s.on->on_drain(h->s.owner);
    }
    unhold(h);
}

static void half_read(struct stream *s, bool on) {
    struct half *h = CONTAINER(s, struct half, s);
    h->reading = on;
    if (on && h->peer)
        loop_flush_later(s->loop, &h->peer->flush);
    if (on && !h->peer)
        loop_flush_later(s->loop, &h->flush);
}

static void half_write(struct stream *s, const struct sv *v, unsigned n) {
    struct half *h = CONTAINER(s, struct half, s);
    if (!h->peer || h->ending)
        return;
    for (unsigned i = 0; i < n; i++)
        h->broken = h->broken || !buf_add(&h->out, v[i]);
    loop_flush_later(s->loop, &h->flush);
}

static size_t half_offer(struct stream *s, const struct sv *v, unsigned n) {
    size_t total = 0;
    half_write(s, v, n);
    for (unsigned i = 0; i < n; i++)
        total += v[i].n;
    return total;
}

static size_t half_queued(const struct stream *s) {
    return CONTAINER(s, struct half, s)->out.n;
}

static void half_end(struct stream *s) {
    struct half *h = CONTAINER(s, struct half, s);
    h->ending = true;
    loop_flush_later(s->loop, &h->flush);
}

static void half_close(struct stream *s) {
    struct half *h = CONTAINER(s, struct half, s);
    if (h->closed)
        return;
    h->closed = true;
    list_drop(&h->flush.dirty);
    buf_deinit(&h->out);
    if (h->peer) {
        h->peer->peer = NULL;
        loop_flush_later(s->loop, &h->peer->flush);
        h->peer = NULL;
    }
    unhold(h);
}

static const struct stream_ops half_ops = { half_read, half_write, half_offer, half_queued, half_end, half_close, NULL };

static struct half *half_new(struct loop *l) {
    struct half *h = mem_new(sizeof *h);
    if (!h)
        return NULL;
    h->s.ops = &half_ops;
    h->s.loop = l;
    h->refs = 1;
    memcpy(h->s.peer, "memory", 7);
    buf_init(&h->out, PAIR_MAX);
    list_init(&h->flush.dirty);
    h->flush.run = on_flush;
    return h;
}

bool stream_pair(struct loop *l, struct stream **ret_a, struct stream **ret_b, struct err *e) {
    struct half *a = half_new(l), *b = half_new(l);
    if (!a || !b) {
        mem_free(a);
        mem_free(b);
        return err_no_memory(e);
    }
    a->peer = b;
    b->peer = a;
    *ret_a = &a->s;
    *ret_b = &b->s;
    return true;
}

/* --- as a dialer -------------------------------------------------------------------------------------------------- */

struct pair_dialer {
    struct dialer d;
    void (*on_accept)(void *owner, struct stream *s);
    void *owner;
};

struct dial {
    struct pair_dialer *d;
    struct loop *loop;
    dial_cb *done;
    void *arg;
    struct loop_flush soon;
};

static void pair_cancel(struct dial *a) {
    list_drop(&a->soon.dirty);
    dialer_unref(&a->d->d);
    mem_free(a);
}

static void on_soon(struct loop_flush *f) {
    struct dial *a = CONTAINER(f, struct dial, soon);
    struct stream *ours = NULL, *theirs = NULL;
    struct err e = { 0 };
    dial_cb *done = a->done;
    void *arg = a->arg;
    if (stream_pair(a->loop, &ours, &theirs, &e))
        a->d->on_accept(a->d->owner, theirs);
    pair_cancel(a);
    done(arg, ours, ours ? NULL : &e);
}

static struct dial *pair_dial(struct dialer *base, struct loop *l, uint64_t timeout_ms, dial_cb *done, void *arg, struct err *e) {
    struct dial *a = mem_new(sizeof *a);
    (void)timeout_ms;
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    *a = (struct dial){ CONTAINER(base, struct pair_dialer, d), l, done, arg, { .run = on_soon } };
    dialer_ref(base);
    list_init(&a->soon.dirty);
    loop_flush_later(l, &a->soon);
    return a;
}

static void pair_free(struct dialer *base) {
    mem_free(CONTAINER(base, struct pair_dialer, d));
}

static const struct dialer_ops pair_ops = { pair_dial, pair_cancel, pair_free };

struct dialer *dialer_pair(void (*on_accept)(void *owner, struct stream *s), void *owner, struct err *e) {
    struct pair_dialer *d = mem_new(sizeof *d);
    if (!d) {
        err_no_memory(e);
        return NULL;
    }
    d->d.ops = &pair_ops;
    atomic_init(&d->d.refs, 1);
    d->on_accept = on_accept;
    d->owner = owner;
    return &d->d;
}
