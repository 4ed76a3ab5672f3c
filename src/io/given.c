/* io/given.c - a connection that another accepted: the first dial finds it, sock_stream -> handshake -> done; those that follow fail. */
#include "io/given.h"

#include <unistd.h>

#include "io/sock.h"

struct given {
    struct dialer d;
    _Atomic int fd; /* -1: it was dialled */
    struct tls_context *tls;
};

struct dial {
    struct given *given;
    struct loop *loop;
    struct tls_handshake *shaking;
    struct timer deadline;
    dial_cb *done;
    void *arg;
};

static void dial_free(struct dial *a) {
    timer_stop(a->loop, &a->deadline);
    dialer_unref(&a->given->d);
    mem_free(a);
}

static void finish(struct dial *a, struct stream *s, const struct err *e) {
    dial_cb *done = a->done;
    void *arg = a->arg;
    dial_free(a);
    done(arg, s, e);
}

static void on_tls(void *arg, struct stream *s, const struct err *e) {
    finish(arg, s, e);
}

static void given_cancel(struct dial *a) {
    tls_cancel(a->shaking);
    dial_free(a);
}

static void on_deadline(void *arg) {
    struct dial *a = arg;
    struct err e;
    err_set(&e, ERR_TIMEOUT, "whoever connected did not become a TLS server in time");
    tls_cancel(a->shaking);
    finish(a, NULL, &e);
}

static struct stream *stream_of(struct given *g, struct loop *l, struct err *e) {
    int fd = atomic_exchange_explicit(&g->fd, -1, memory_order_acq_rel);
    if (fd < 0) {
        err_set(e, ERR_IO, "this connection was used already");
        return NULL;
    }
    struct stream *s = sock_stream(l, fd, e);
    if (!s)
        close(fd);
    return s;
}

static struct dial *given_dial(struct dialer *base, struct loop *l, uint64_t timeout_ms, dial_cb *done, void *arg, struct err *e) {
    struct given *g = CONTAINER(base, struct given, d);
    struct stream *s = stream_of(g, l, e);
    struct dial *a = s ? mem_new(sizeof *a) : NULL;
    if (!a) {
        if (s)
            err_no_memory(e);
        stream_close(s);
        return NULL;
    }
    *a = (struct dial){ .given = g, .loop = l, .done = done, .arg = arg };
    a->shaking = tls_start(g->tls, s, SV_NULL, on_tls, a, e);
    if (!a->shaking) {
        mem_free(a);
        return NULL;
    }
    dialer_ref(base);
    timer_set(l, &a->deadline, timeout_ms, on_deadline, a);
    return a;
}

static void given_free(struct dialer *base) {
    struct given *g = CONTAINER(base, struct given, d);
    int fd = atomic_load_explicit(&g->fd, memory_order_relaxed);
    if (fd >= 0)
        close(fd);
    tls_unref(g->tls);
    mem_free(g);
}

static const struct dialer_ops given_ops = { given_dial, given_cancel, given_free };

struct dialer *dialer_given(int fd, struct tls_context *tls, struct err *e) {
    struct given *g = mem_new(sizeof *g);
    if (!g) {
        close(fd);
        err_no_memory(e);
        return NULL;
    }
    g->d.ops = &given_ops;
    atomic_init(&g->d.refs, 1);
    atomic_init(&g->fd, fd);
    g->tls = tls_ref(tls);
    return &g->d;
}
