/* The client against a scripted server in memory: pools, stale connections, interim replies, faults. */
#include "http/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/buf.h"
#include "io/pair.h"

enum { CONNS = 8 };

static struct house {
    struct loop loop;
    struct http_client *client;
    struct dialer *dialer;
    struct stream *server[CONNS]; /* the far ends, in the order of their dialling */
    unsigned n_server;
    struct buf heard;             /* all bytes the far ends got */
    bool far_end_closed;
} *house;

struct call {
    struct arena arena;
    struct http_call *call;
    struct buf body;
    int status;
    unsigned ready, ended, failed;
    bool stale;
    struct err e;
};

static void far_read(void *owner, struct sv bytes) {
    (void)owner;
    buf_add(&house->heard, bytes);
}
static void far_end(void *owner, const struct err *e) {
    (void)owner;
    (void)e;
    house->far_end_closed = true;
}
static const struct stream_events far_events = { far_read, far_end, NULL, NULL };

static void on_accept(void *owner, struct stream *s) {
    (void)owner;
    assert_true(house->n_server < CONNS);
    house->server[house->n_server++] = s;
    stream_own(s, &far_events, NULL);
    stream_read(s, true);
}

static void on_ready(void *x) {
    struct call *c = x;
    c->ready++;
}
static void on_head(void *x, const struct http_head *head) {
    struct call *c = x;
    c->status = head->status;
}
static void on_body(void *x, struct sv bytes) {
    struct call *c = x;
    buf_add(&c->body, bytes);
}
static void on_end(void *x) {
    struct call *c = x;
    c->ended++;
    c->call = NULL;
}
static void on_fail(void *x, const struct err *e, bool stale) {
    struct call *c = x;
    c->failed++;
    c->stale = stale;
    c->e = *e;
    c->call = NULL;
}
static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, NULL };

static void turn(int n) {
    while (n--)
        uv_run(&house->loop.uv, UV_RUN_NOWAIT);
}

static int open_house(void **state) {
    (void)state;
    static const struct h1_limits limits = { 0, 1000, 4000, 50, 100 };
    house = calloc(1, sizeof *house);
    assert_true(loop_init(&house->loop, NULL));
    house->client = http_client_new(&house->loop, &limits, NULL);
    house->dialer = dialer_pair(on_accept, NULL, NULL);
    buf_init(&house->heard, 1 << 20);
    return 0;
}

static int close_house(void **state) {
    (void)state;
    for (unsigned i = 0; i < house->n_server; i++)
        stream_close(house->server[i]);
    http_client_free(house->client);
    dialer_unref(house->dialer);
    turn(3);
    loop_deinit(&house->loop);
    buf_deinit(&house->heard);
    free(house);
    return 0;
}

static void start(struct call *c, uint32_t pool_ms, uint32_t wait_ms) {
    static const struct http_header headers[] = { { { "host", 4 }, { "h", 1 } } };
    struct http_call_spec spec = { .dialer = house->dialer, .method = SV("POST"), .target = SV("/x"), .headers = headers,
                                   .n_headers = 1, .length = 2, .connect_ms = 1000, .first_byte_ms = wait_ms, .stall_ms = wait_ms,
                                   .pool_idle_ms = pool_ms };
    *c = (struct call){ 0 };
    arena_init(&c->arena, 1 << 20, NULL);
    buf_init(&c->body, 1 << 20);
    c->call = http_call_start(house->client, &c->arena, &spec, &call_events, c, &c->e);
    assert_non_null(c->call);
    bool ready = http_call_is_ready(c->call);
    turn(3);
    assert_true(ready || c->ready == 1);
    struct sv body = SV("hi");
    http_call_send(c->call, &body, 1);
    http_call_sent(c->call);
    turn(2);
}

static void finish(struct call *c) {
    http_call_cancel(c->call);
    buf_deinit(&c->body);
    arena_deinit(&c->arena);
}

static void answer(unsigned i, const char *text) {
    stream_write1(house->server[i], sv_of(text));
    turn(3);
}

static void a_call_sends_what_it_should_and_reads_the_reply(void **state) {
    (void)state;
    struct call c;
    start(&c, 1000, 5000);
    assert_true(sv_eq(buf_sv(&house->heard), SV("POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")));
    answer(0, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Le");
    assert_int_equal(c.status, 0);
    answer(0, "ngth: 5\r\n\r\nhel");
    assert_int_equal(c.status, 200);
    answer(0, "lo");
    assert_int_equal(c.ended, 1);
    assert_true(sv_eq(buf_sv(&c.body), SV("hello")));
    finish(&c);
}

static void a_head_may_be_as_large_as_any_client_may_send_it(void **state) {
    (void)state;
    enum { BIG = 200 << 10, TOO_BIG = 300 << 10 };
    char *value = malloc(TOO_BIG);
    memset(value, 'v', TOO_BIG);
    struct call c = { 0 };
    arena_init(&c.arena, 1 << 20, NULL);
    struct http_header h = { SV("x"), { value, BIG } };
    struct http_call_spec spec = { .dialer = house->dialer, .method = SV("GET"), .target = SV("/"), .headers = &h, .n_headers = 1,
                                   .connect_ms = 1000, .first_byte_ms = 1000, .stall_ms = 1000 };
    c.call = http_call_start(house->client, &c.arena, &spec, &call_events, &c, &c.e);
    assert_non_null(c.call);
    turn(3);
    assert_true(house->heard.n > BIG);
    http_call_cancel(c.call);
    h.value.n = TOO_BIG;
    assert_null(http_call_start(house->client, &c.arena, &spec, &call_events, &c, &c.e));
    assert_int_equal(c.e.code, ERR_HEAD_LARGE);
    arena_deinit(&c.arena);
    free(value);
}

static void a_connection_is_used_again_and_an_unasked_word_ends_it(void **state) {
    (void)state;
    struct call c;
    for (int i = 0; i < 3; i++) {
        start(&c, 1000, 5000);
        assert_int_equal(house->n_server, 1);
        answer(0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
        assert_int_equal(c.ended, 1);
        finish(&c);
    }
    answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    start(&c, 1000, 5000);
    assert_int_equal(house->n_server, 2);
    answer(1, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodMORE"); /* bytes behind a reply: not pooled */
    assert_int_equal(c.ended, 1);
    assert_true(sv_eq(buf_sv(&c.body), SV("good")));
    finish(&c);
    start(&c, 1000, 5000);
    assert_int_equal(house->n_server, 3);
    finish(&c);
}

static void a_pooled_connection_that_had_ended_is_called_stale(void **state) {
    (void)state;
    struct call c;
    start(&c, 1000, 5000);
    answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    finish(&c);
    start(&c, 1000, 5000); /* goes out on the pooled one ... */
    stream_end(house->server[0]);
    turn(3);
    assert_int_equal(c.failed, 1);
    assert_true(c.stale);
    finish(&c);
    start(&c, 0, 5000);
    assert_int_equal(house->n_server, 2);
    stream_end(house->server[1]); /* ... a fresh one that ends is the server's fault */
    turn(3);
    assert_int_equal(c.failed, 1);
    assert_false(c.stale);
    finish(&c);
}

static void replies_that_break_off_or_break_rules_fail(void **state) {
    (void)state;
    static const char *const replies[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        "HTTP/1.1 200", "nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    };
    for (unsigned i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct call c;
        start(&c, 1000, 5000);
        answer(i, replies[i]);
        stream_end(house->server[i]);
        turn(3);
        if (c.failed != 1 || c.ended || c.stale || c.e.code != ERR_BAD_REPLY)
            fail_msg("reply %u: failed %u ended %u code %d %s", i, c.failed, c.ended, c.e.code, c.e.text);
        finish(&c);
    }
}

static void a_flood_of_interim_replies_ends_the_call(void **state) {
    (void)state;
    struct call c;
    start(&c, 1000, 5000);
    for (int i = 0; i < 40; i++)
        answer(0, "HTTP/1.1 102 Processing\r\n\r\n");
    assert_int_equal(c.failed, 1);
    finish(&c);
}

static void a_reply_without_length_lasts_until_the_end(void **state) {
    (void)state;
    struct call c;
    start(&c, 1000, 5000);
    answer(0, "HTTP/1.0 200 OK\r\n\r\nall of ");
    answer(0, "it");
    assert_int_equal(c.ended, 0);
    stream_end(house->server[0]);
    turn(3);
    assert_int_equal(c.ended, 1);
    assert_true(sv_eq(buf_sv(&c.body), SV("all of it")));
    finish(&c);
}

static void a_silent_server_times_out_and_a_cancelled_call_is_closed(void **state) {
    (void)state;
    struct call c;
    start(&c, 1000, 20);
    for (int i = 0; i < 2000 && !c.failed; i++) {
        turn(1);
        uv_sleep(1);
    }
    assert_int_equal(c.failed, 1);
    assert_int_equal(c.e.code, ERR_TIMEOUT);
    finish(&c);
    start(&c, 1000, 5000);
    house->far_end_closed = false;
    http_call_cancel(c.call);
    c.call = NULL;
    turn(2);
    assert_true(house->far_end_closed);
    assert_int_equal(c.failed + c.ended, 0);
    finish(&c);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, open_house, close_house)
    const struct CMUnitTest tests[] = {
        T(a_call_sends_what_it_should_and_reads_the_reply),
        T(a_head_may_be_as_large_as_any_client_may_send_it),
        T(a_connection_is_used_again_and_an_unasked_word_ends_it),
        T(a_pooled_connection_that_had_ended_is_called_stale),
        T(replies_that_break_off_or_break_rules_fail),
        T(a_flood_of_interim_replies_ends_the_call),
        T(a_reply_without_length_lasts_until_the_end),
        T(a_silent_server_times_out_and_a_cancelled_call_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
