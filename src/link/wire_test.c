/* Links over real sockets between loops of three threads: the control loop of both ends is the test's own. */
#include "link/link.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/sock.h"

#define HELLO "{\"proto\":{\"min\":1,\"max\":1},\"node_id\":\"n1\",\"instance\":\"i1\"}"
#define WELCOME "{\"epoch\":1,\"link_id\":\"l\",\"hub_id\":\"h\",\"heartbeat_ms\":15000}"

static struct loop home;

static bool turn_until(bool (*is)(void *), void *arg) {
    uint64_t end = clock_mono_us() + 20000000;
    while (!is(arg) && clock_mono_us() < end)
        uv_run(&home.uv, UV_RUN_ONCE);
    return is(arg);
}

/* --- a thread with a loop ---------------------------------------------------------------------------------------------------------------- */

struct house {
    struct loop loop;
    struct link_host *host;
    pthread_t thread;
    bool echoes;
    _Atomic unsigned n_streams, n_cut; /* n_cut: that ended by a reset */
};

static void *run(void *arg) {
    struct house *h = arg;
    loop_run(&h->loop);
    return NULL;
}

static void house_open(struct house *h) {
    memset(h, 0, sizeof *h);
    assert_true(loop_init(&h->loop, NULL));
    h->host = link_host_new(&h->loop, NULL);
    assert_non_null(h->host);
}

static void house_start(struct house *h) {
    assert_int_equal(pthread_create(&h->thread, NULL, run, h), 0);
}

static void house_close(struct house *h) {
    loop_stop(&h->loop);
    pthread_join(h->thread, NULL);
    link_host_free(h->host);
    loop_deinit(&h->loop);
}

struct task { /* something to do on a house's loop */
    struct msg msg;
    void (*run)(struct task *t);
    struct wire *wire;
    int fd;
    struct wire_lane at;
};

static void on_task(struct msg *m) {
    struct task *t = CONTAINER(m, struct task, msg);
    t->run(t);
    free(t);
}

static void attach(struct task *t) {
    struct house *h = t->at.arg;
    struct stream *s = sock_stream(&h->loop, t->fd, NULL);
    wire_attach(t->wire, s, SV_NULL, &t->at);
}

/* What the node serves: it says hello back, word for word. */
struct served {
    struct stream *s;
    struct house *h;
};

static void on_served_read(void *owner, struct sv bytes) {
    struct served *v = owner;
    stream_write1(v->s, SV("heard:"));
    stream_write1(v->s, bytes);
}
static void on_served_end(void *owner, const struct err *e) {
    struct served *v = owner;
    atomic_fetch_add(&v->h->n_cut, e != NULL);
    atomic_fetch_sub(&v->h->n_streams, 1);
    stream_close(v->s);
    free(v);
}
static const struct stream_events served_on = { on_served_read, on_served_end, NULL, NULL };

static void serve(void *arg, struct stream *s) {
    struct served *v = malloc(sizeof *v);
    v->s = s;
    v->h = arg;
    atomic_fetch_add(&v->h->n_streams, 1);
    stream_own(s, &served_on, v);
    stream_read(s, true);
}

/* --- the two ends' control loops ------------------------------------------------------------------------------------------------------------ */

struct far_end {
    struct wire *wire;
    bool is_hub, up, ended;
    unsigned code;
    unsigned n_beats;
};

static void on_control(void *owner, struct envelope *m) {
    struct far_end *e = owner;
    if (m->kind == KIND_HELLO)
        wire_send(e->wire, KIND_WELCOME, SV(WELCOME), m->msg_id);
    if (m->kind == KIND_WELCOME)
        wire_send(e->wire, KIND_REGISTER, SV("{}"), SV_NULL);
    if (m->kind == KIND_REGISTER)
        wire_send(e->wire, KIND_REGISTERED, SV("{\"accepted\":true}"), m->msg_id);
    e->n_beats += m->kind == KIND_HEARTBEAT;
}
static void on_up(void *owner) {
    struct far_end *e = owner;
    e->up = true;
}
static void on_end(void *owner, int status, unsigned code, struct sv why, uint32_t retry_after_s) {
    struct far_end *e = owner;
    (void)status;
    (void)why;
    (void)retry_after_s;
    assert_false(e->ended);
    e->ended = true;
    e->code = code;
}
static const struct wire_events wire_on = { on_control, on_up, on_end };

struct net {
    struct house hub, node;
    struct far_end at_hub, at_node;
    struct way *way;
};

static bool both_up(void *arg) {
    struct net *n = arg;
    return n->at_hub.up && n->at_node.up && way_lanes(n->way) == 1;
}
static bool both_ended(void *arg) {
    struct net *n = arg;
    return n->at_hub.ended && n->at_node.ended;
}

static void post_attach(struct house *h, struct wire *w, int fd, bool is_hub, struct way *way) {
    struct task *t = calloc(1, sizeof *t);
    t->msg.deliver = on_task;
    t->run = attach;
    t->wire = wire_ref(w);
    t->fd = fd;
    t->at = (struct wire_lane){ .host = h->host, .spec = { is_hub, !is_hub, false, is_hub ? MUX_LIMITS_HUB : MUX_LIMITS_NODE, { "n1", 2 } }, .way = way,
                                .on_stream = is_hub ? NULL : serve, .arg = h };
    assert_true(loop_post(&h->loop, &t->msg));
}

static void net_open(struct net *n) {
    int fds[2];
    memset(n, 0, sizeof *n);
    assert_true(loop_init(&home, NULL));
    house_open(&n->hub);
    house_open(&n->node);
    n->way = way_new(SV("n1"), NULL);
    n->at_hub.wire = wire_new(&home, &wire_on, &n->at_hub, NULL);
    n->at_node.wire = wire_new(&home, &wire_on, &n->at_node, NULL);
    assert_true(n->way && n->at_hub.wire && n->at_node.wire);
    house_start(&n->hub);
    house_start(&n->node);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    post_attach(&n->node, n->at_node.wire, fds[1], false, NULL);
    post_attach(&n->hub, n->at_hub.wire, fds[0], true, n->way);
    for (int i = 0; i < 1000 && !n->at_node.up; i++) { /* the lane is there some time after the post */
        if (i == 50)
            wire_send(n->at_node.wire, KIND_HELLO, SV(HELLO), SV_NULL);
        uv_run(&home.uv, UV_RUN_NOWAIT);
        uv_sleep(2);
    }
    assert_true(turn_until(both_up, n));
}

static void net_close(struct net *n) {
    wire_free(n->at_hub.wire, 1001, SV("test over"));
    wire_free(n->at_node.wire, 1001, SV("test over"));
    house_close(&n->hub);
    house_close(&n->node);
    way_unref(n->way);
    loop_deinit(&home);
}

struct caller {
    struct stream *s;
    char got[256];
    size_t n;
    bool done, failed;
};

static void on_caller_read(void *owner, struct sv bytes) {
    struct caller *c = owner;
    memcpy(c->got + c->n, bytes.p, bytes.n);
    c->n += bytes.n;
    c->done = c->n >= 11;
}
static void on_caller_end(void *owner, const struct err *e) {
    struct caller *c = owner;
    (void)e;
    c->failed = true;
}
static const struct stream_events caller_on = { on_caller_read, on_caller_end, NULL, NULL };

static void on_dialled(void *arg, struct stream *s, const struct err *e) {
    struct caller *c = arg;
    (void)e;
    assert_non_null(s);
    c->s = s;
    stream_own(s, &caller_on, c);
    stream_write1(s, SV("hello"));
    stream_read(s, true);
}
static bool is_done(void *arg) {
    struct caller *c = arg;
    return c->done || c->failed;
}
static bool has_failed(void *arg) {
    struct caller *c = arg;
    return c->failed;
}
static bool none_open(void *arg) {
    struct net *n = arg;
    uv_sleep(1);
    return atomic_load(&n->node.n_streams) == 0;
}

static void another_threads_dial_passes_through_the_lanes_loop(void **state) {
    struct net n;
    (void)state;
    net_open(&n);
    for (int i = 0; i < 20; i++) {
        struct caller c = { 0 };
        assert_non_null(dialer_dial(way_dialer(n.way), &home, 1000, on_dialled, &c, NULL));
        assert_true(turn_until(is_done, &c));
        assert_memory_equal(c.got, "heard:hello", 11);
        stream_close(c.s);
    }
    struct timer wake = { 0 };
    (void)wake;
    uint64_t end = clock_mono_us() + 5000000;
    while (!none_open(&n) && clock_mono_us() < end)
        uv_run(&home.uv, UV_RUN_NOWAIT);
    assert_true(none_open(&n));
    assert_int_equal(atomic_load(&n.node.n_cut), 20); /* who closes wants no more: that is no orderly end */
    net_close(&n);
}

static void a_link_that_ends_tells_everybody(void **state) {
    struct net n;
    struct err e;
    (void)state;
    net_open(&n);
    struct caller c = { 0 };
    assert_non_null(dialer_dial(way_dialer(n.way), &home, 1000, on_dialled, &c, NULL));
    assert_true(turn_until(is_done, &c));
    wire_close(n.at_hub.wire, CLOSE_IDENTITY, SV("revoked"));
    assert_true(turn_until(both_ended, &n));
    assert_int_equal(n.at_hub.code, CLOSE_IDENTITY);
    assert_int_equal(n.at_node.code, CLOSE_IDENTITY);
    assert_true(turn_until(has_failed, &c));
    stream_close(c.s);
    assert_int_equal(way_lanes(n.way), 0);
    assert_null(dialer_dial(way_dialer(n.way), &home, 1000, on_dialled, &c, &e));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    net_close(&n);
}

static void control_messages_go_both_ways(void **state) {
    struct net n;
    (void)state;
    net_open(&n);
    for (int i = 0; i < 20; i++)
        wire_send(n.at_node.wire, KIND_HEARTBEAT, SV("{\"state\":\"running\",\"uptime_ms\":1}"), SV_NULL);
    uint64_t end = clock_mono_us() + 5000000;
    while (n.at_hub.n_beats < 20 && clock_mono_us() < end)
        uv_run(&home.uv, UV_RUN_NOWAIT);
    assert_int_equal(n.at_hub.n_beats, 20);
    net_close(&n);
}

/* Workers end before the hub that keeps the wires. */
static void a_wire_outlives_its_lanes_loop(void **state) {
    struct net n;
    (void)state;
    net_open(&n);
    house_close(&n.hub);
    assert_true(turn_until(both_ended, &n));
    assert_int_equal(n.at_node.code, 1001); /* its last word arrived */
    house_close(&n.node);
    wire_send(n.at_hub.wire, KIND_ACK, SV("{}"), SV_NULL);
    wire_goaway(n.at_hub.wire, 0, SV("late"));
    wire_free(n.at_hub.wire, 1001, SV("test over"));
    wire_free(n.at_node.wire, 1001, SV("test over"));
    way_unref(n.way);
    loop_deinit(&home);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_threads_dial_passes_through_the_lanes_loop),
        cmocka_unit_test(a_link_that_ends_tells_everybody),
        cmocka_unit_test(control_messages_go_both_ways),
        cmocka_unit_test(a_wire_outlives_its_lanes_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
