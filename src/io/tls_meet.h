/* io/tls_meet.h - for tests: two sides shake hands over a pair of sockets and say hello to each other. Include it behind cmocka. */
#ifndef DROVER_IO_TLS_MEET_H
#define DROVER_IO_TLS_MEET_H

#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/sock.h"
#include "io/tls.h"

static struct loop loop;

struct side {
    struct stream *s;
    struct buf got;
    bool done, ended;
    struct err fault;
    struct tls_facts facts;
    char group[32];
};

static inline void on_read(void *owner, struct sv bytes) {
    buf_add(&((struct side *)owner)->got, bytes);
}

static inline void on_end(void *owner, const struct err *e) {
    struct side *x = owner;
    x->ended = true;
    if (e)
        x->fault = *e;
}

static const struct stream_events events = { on_read, on_end, NULL, NULL };

static inline void on_done(void *arg, struct stream *s, const struct err *e) {
    struct side *x = arg;
    x->done = true;
    x->s = s;
    if (!s) {
        x->fault = *e;
        return;
    }
    stream_own(s, &events, x);
    stream_read(s, true);
    stream_write1(s, SV("hello"));
}

/* Shakes hands and says hello in both directions, until both have heard it or something failed. */
static inline void meet(struct tls_context *s, struct tls_context *c, const char *name, struct side *ret_s, struct side *ret_c) {
    int fd[2];
    *ret_s = (struct side){ .got = BUF_MAX(64) };
    *ret_c = (struct side){ .got = BUF_MAX(64) };
    assert_non_null(s);
    assert_non_null(c);
    assert_true(loop_init(&loop, NULL));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    assert_non_null(tls_start(s, sock_stream(&loop, fd[0], NULL), SV_NULL, on_done, ret_s, NULL));
    assert_non_null(tls_start(c, sock_stream(&loop, fd[1], NULL), sv_of(name), on_done, ret_c, NULL));
    uint64_t end = clock_mono_us() + 2000000;
    while (clock_mono_us() < end && !(ret_s->got.n && ret_c->got.n) &&
           !((ret_s->fault.code || ret_s->ended) && (ret_c->fault.code || ret_c->ended)))
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    struct side *both[] = { ret_s, ret_c };
    for (int i = 0; i < 2; i++) {
        if (both[i]->s) {
            assert_true(tls_facts(both[i]->s, &both[i]->facts));
            snprintf(both[i]->group, sizeof both[i]->group, "%s", both[i]->facts.group);
        }
        stream_close(both[i]->s);
        buf_deinit(&both[i]->got);
    }
    loop_deinit(&loop);
}

static inline bool met(const struct side *s, const struct side *c) {
    return !s->fault.code && !c->fault.code && s->s && c->s;
}

static inline void says(const struct side *x, const char *words) {
    if (!strstr(x->fault.text, words))
        fail_msg("\"%s\" does not say \"%s\"", x->fault.text, words);
}

#endif
