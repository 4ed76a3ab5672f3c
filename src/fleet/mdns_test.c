/* Rounds on the loopback interface, against a responder of this test's own. Nothing leaves this machine. */
#include "fleet/mdns.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

enum { LISTEN_MS = 450, PORT = 11434 };
#define SERVICE "_ollama._tcp.local"
#define INSTANCE "gpu." SERVICE
static const struct mdns_how on_loopback = { LISTEN_MS, "lo" };

/* --- a responder ---------------------------------------------------------------------------------------------------- */

struct world {
    struct loop loop;
    struct mdns *mdns;
    struct mdns_found found;
    unsigned n_done, n_questions;
    int ttl;                 /* of the last question */
    uv_poll_t poll;
    int ears, mouth;
    struct sockaddr_in asker;
    unsigned n_noise;        /* sent before each answer */
    bool whole;              /* everything in one answer, else only what was asked for */
};

struct message {
    unsigned char b[1000];
    size_t n;
};

static void put(struct message *m, const void *p, size_t n) {
    assert_true(m->n + n <= sizeof m->b);
    memcpy(m->b + m->n, p, n);
    m->n += n;
}

static void put_name(struct message *m, const char *name) {
    int n = ns_name_compress(name, m->b + m->n, sizeof m->b - m->n, NULL, NULL);
    assert_true(n > 0);
    m->n += (size_t)n;
}

static void put_record(struct message *m, const char *name, unsigned type, const struct message *data) {
    unsigned char head[10] = { 0 };
    ns_put16(type, head);
    ns_put16(ns_c_in, head + 2);
    ns_put16(10, head + 6);
    ns_put16((unsigned)data->n, head + 8);
    put_name(m, name);
    put(m, head, sizeof head);
    put(m, data->b, data->n);
    ns_put16(ns_get16(m->b + 6) + 1, m->b + 6);
}

static void put_answer(struct message *m, ns_type type) {
    struct message data = { .n = 0 };
    if (type == ns_t_ptr) {
        put_name(&data, INSTANCE);
        put_record(m, SERVICE, type, &data);
    } else if (type == ns_t_srv) {
        put(&data, "\0\0\0\0\x2c\xaa", 6);
        put_name(&data, "box.local");
        put_record(m, INSTANCE, type, &data);
    } else if (type == ns_t_a) {
        put(&data, "\x0a\1\2\3", 4);
        put_record(m, "box.local", type, &data);
    }
}

static void say(struct world *w, const void *p, size_t n) {
    assert_int_equal(sendto(w->mouth, p, n, 0, (struct sockaddr *)&w->asker, sizeof w->asker), n);
}

static void answer(struct world *w, const unsigned char *q, size_t n) {
    ns_msg in;
    ns_rr rr;
    struct message m = { .n = 0 };
    assert_int_equal(ns_initparse(q, (int)n, &in), 0);
    assert_int_equal(ns_parserr(&in, ns_s_qd, 0, &rr), 0);
    put(&m, q, 2);
    put(&m, "\x84\0\0\0\0\0\0\0\0\0", 10);
    for (unsigned i = 0; i < w->n_noise; i++)
        say(w, m.b, m.n);
    for (ns_type t = ns_t_a; t <= ns_t_srv; t++)
        if (w->whole || t == ns_rr_type(rr))
            put_answer(&m, t);
    say(w, m.b, m.n);
}

/* Another process may ask on this interface, too: this test, run a second time. */
static bool is_ours(const struct sockaddr_in *asker) {
    for (int fd = 0; fd < 256; fd++) {
        struct sockaddr_in own = { 0 };
        socklen_t n = sizeof own;
        if (getsockname(fd, (struct sockaddr *)&own, &n) == 0 && own.sin_family == AF_INET && own.sin_port == asker->sin_port)
            return ntohl(asker->sin_addr.s_addr) == INADDR_LOOPBACK;
    }
    return false;
}

static void on_question(uv_poll_t *h, int status, int events) {
    struct world *w = h->data;
    unsigned char q[2000];
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { q, sizeof q };
    struct msghdr m = { .msg_name = &w->asker, .msg_namelen = sizeof w->asker, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                        .msg_controllen = sizeof control.space };
    ssize_t n = recvmsg(w->ears, &m, MSG_DONTWAIT);
    if (n <= 0 || !is_ours(&w->asker))
        return;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
            memcpy(&w->ttl, CMSG_DATA(c), sizeof w->ttl);
    w->n_questions++;
    answer(w, q, (size_t)n);
}

static int udp(const char *host, unsigned port) {
    int one = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, host, &at.sin_addr), 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void world_open(struct world *w, unsigned mouth_port) {
    struct err e;
    struct ip_mreqn group = { .imr_address = { htonl(INADDR_LOOPBACK) } };
    int one = 1, zero = 0;
    memset(w, 0, sizeof *w);
    assert_true(loop_init(&w->loop, &e));
    w->ears = udp("224.0.0.251", MDNS_PORT);
    w->mouth = udp("127.0.0.1", mouth_port);
    assert_int_equal(inet_pton(AF_INET, "224.0.0.251", &group.imr_multiaddr), 1);
    assert_int_equal(setsockopt(w->ears, IPPROTO_IP, IP_MULTICAST_ALL, &zero, sizeof zero), 0);
    assert_int_equal(setsockopt(w->ears, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group), 0);
    assert_int_equal(setsockopt(w->ears, IPPROTO_IP, IP_RECVTTL, &one, sizeof one), 0);
    assert_int_equal(uv_poll_init(&w->loop.uv, &w->poll, w->ears), 0);
    w->poll.data = w;
    uv_poll_start(&w->poll, UV_READABLE, on_question);
}

static void world_close(struct world *w) {
    w->mdns = mdns_free(w->mdns);
    uv_close((uv_handle_t *)&w->poll, NULL);
    close(w->ears);
    close(w->mouth);
    loop_deinit(&w->loop);
}

static void on_done(void *owner, const struct mdns_found *f) {
    struct world *w = owner;
    w->n_done++;
    w->found = *f;
    w->mdns = mdns_free(w->mdns);
    loop_stop(&w->loop);
}

static const struct mdns_instance *run(struct world *w) {
    w->mdns = mdns_new(&w->loop, &on_loopback, on_done, w);
    assert_non_null(w->mdns);
    assert_int_equal(w->n_done, 0);
    loop_run(&w->loop);
    assert_int_equal(w->n_done, 1);
    assert_true(w->found.n <= 1);
    return w->found.n ? &w->found.v[0] : NULL;
}

static bool is_whole(const struct mdns_instance *it) {
    static const unsigned char at[] = { 10, 1, 2, 3 };
    return it->service == MDNS_OLLAMA && it->port == PORT && it->at.family == AF_INET && memcmp(it->at.bytes, at, 4) == 0;
}

/* --- tests ---------------------------------------------------------------------------------------------------------- */

static void an_answer_ends_in_a_place_after_the_listening_time(void **state) {
    struct world w;
    world_open(&w, MDNS_PORT);
    w.whole = true;
    uint64_t from_us = loop_now_us(&w.loop);
    const struct mdns_instance *it = run(&w);
    assert_true(loop_now_us(&w.loop) - from_us >= LISTEN_MS * 900);
    assert_true(it && is_whole(it));
    assert_int_equal(w.n_questions, 1); /* nothing was missing */
    assert_int_equal(w.ttl, 255);
    world_close(&w);
}

static void what_comes_in_pieces_is_asked_for(void **state) {
    struct world w;
    world_open(&w, MDNS_PORT);
    const struct mdns_instance *it = run(&w);
    assert_true(it && is_whole(it));
    assert_int_equal(w.n_questions, 3);
    world_close(&w);
}

static void an_answer_from_another_port_is_not_heard(void **state) {
    struct world w;
    world_open(&w, 0);
    w.whole = true;
    assert_null(run(&w));
    assert_int_equal(w.n_questions, 1);
    world_close(&w);
}

static void a_flood_is_read_up_to_a_bound(void **state) {
    struct world w;
    world_open(&w, MDNS_PORT);
    w.whole = true;
    w.n_noise = MDNS_MESSAGES_MAX - 1;
    const struct mdns_instance *it = run(&w);
    assert_true(it && is_whole(it));
    w.n_done = 0;
    w.n_noise = MDNS_MESSAGES_MAX;
    assert_null(run(&w));
    world_close(&w);
}

static void an_interface_that_is_not_there_cannot_be_asked(void **state) {
    struct world w;
    world_open(&w, MDNS_PORT);
    assert_null(mdns_new(&w.loop, &(struct mdns_how){ LISTEN_MS, "no such" }, on_done, &w));
    world_close(&w);
}

static void it_may_end_at_any_moment(void **state) {
    for (unsigned turns = 0; turns < 12; turns++) {
        struct world w;
        world_open(&w, MDNS_PORT);
        w.mdns = mdns_new(&w.loop, &on_loopback, on_done, &w);
        assert_non_null(w.mdns);
        for (unsigned i = 0; i < turns && !w.n_done; i++)
            uv_run(&w.loop.uv, UV_RUN_NOWAIT);
        world_close(&w);
    }
}

static void out_of_memory_is_no_round(void **state) {
    struct world w;
    world_open(&w, MDNS_PORT);
    for (long n = 1;; n++) {
        mem_fail_at(n, 0);
        w.mdns = mdns_new(&w.loop, &on_loopback, on_done, &w);
        bool hit = mem_fail_hit();
        mem_fail_at(0, 0);
        if (!hit)
            break;
        assert_null(w.mdns);
    }
    assert_non_null(w.mdns);
    world_close(&w);
}

int main(void) {
    if (sodium_init() < 0)
        return 1;
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_ends_in_a_place_after_the_listening_time),
        cmocka_unit_test(what_comes_in_pieces_is_asked_for),
        cmocka_unit_test(an_answer_from_another_port_is_not_heard),
        cmocka_unit_test(a_flood_is_read_up_to_a_bound),
        cmocka_unit_test(an_interface_that_is_not_there_cannot_be_asked),
        cmocka_unit_test(it_may_end_at_any_moment),
        cmocka_unit_test(out_of_memory_is_no_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
