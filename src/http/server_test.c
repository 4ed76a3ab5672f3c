/* The server over a stream in memory: what a client sends, whole or byte by byte, and what it gets. */
#include "http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/mem.h"
#include "io/pair.h"

/* A handler that echoes bodies and plays a few tricks by path. */
struct echo {
    struct http_in *in;
    struct buf body;
    unsigned gone;
};

struct house {
    struct loop loop;
    struct http_server *server;
    struct stream *client;
    struct buf got;
    bool ended;
    unsigned requests, gone;
    struct http_in *held; /* a request to "/hold": answered by the test */
};

static struct house *house;

static void echo_free(void *arg) {
    buf_deinit(&((struct echo *)arg)->body);
}

static void on_body(void *x, struct sv bytes) {
    struct echo *e = x;
    buf_add(&e->body, bytes);
}

static void on_body_end(void *x) {
    struct echo *e = x;
    http_in_reply(e->in, 200, NULL, 0, SV("text/plain"), buf_sv(&e->body));
}

static void on_gone(void *x, const struct err *e) {
    (void)x;
    (void)e;
    house->gone++;
    house->held = NULL;
}

static const struct http_in_events echo_events = { on_body, on_body_end, NULL, on_gone, NULL };

static void on_request(void *owner, struct http_in *in) {
    (void)owner;
    house->requests++;
    struct echo *e = ARENA_NEW(&in->arena, struct echo);
    if (!e || !arena_defer(&in->arena, echo_free, e)) {
        http_in_abort(in);
        return;
    }
    e->in = in;
    buf_init(&e->body, 1 << 20);
    in->on = &echo_events;
    in->x = e;
    if (sv_eq(in->head->path, SV("/hold"))) {
        house->held = in;
    } else if (sv_eq(in->head->path, SV("/chunks"))) {
        http_in_start(in, 200, NULL, 0, -1);
        http_in_send(in, SV("one"));
        http_in_send(in, SV("twotwotwotwotwotwo"));
        http_in_finish(in);
    } else if (sv_eq(in->head->path, SV("/unread"))) {
        http_in_reply(in, 200, NULL, 0, SV("text/plain"), SV("no thanks"));
    } else {
        http_in_body(in);
    }
}

static const struct http_server_events events = { on_request, NULL, NULL };

static void client_read(void *owner, struct sv bytes) {
    (void)owner;
    buf_add(&house->got, bytes);
}

static void client_end(void *owner, const struct err *e) {
    (void)owner;
    (void)e;
    house->ended = true;
}

static const struct stream_events client_events = { client_read, client_end, NULL, NULL };

static void turn(int n) {
    while (n--)
        uv_run(&house->loop.uv, UV_RUN_NOWAIT);
}

static void open_house_for(void (*serve)(struct http_server *v, struct stream *s, void *tag)) {
    struct stream *theirs;
    house = calloc(1, sizeof *house);
    assert_true(loop_init(&house->loop, NULL));
    house->server = http_server_new(&house->loop, &events, NULL, NULL);
    struct http_server_limits limits = {
        { 1000, 1000, 4000, 50, 100 }, 1000, 10000, 10000, 10000, 10000, 1000000, 0, 500, 1000, LIMIT_BODY_MAX
    };
    http_server_limits(house->server, &limits);
    buf_init(&house->got, 1 << 20);
    assert_true(stream_pair(&house->loop, &house->client, &theirs, NULL));
    stream_own(house->client, &client_events, NULL);
    stream_read(house->client, true);
    serve(house->server, theirs, NULL);
}

static void open_house(void) {
    open_house_for(http_serve);
}

static void close_house(void) {
    stream_close(house->client);
    turn(3);
    http_server_free(house->server);
    loop_deinit(&house->loop);
    buf_deinit(&house->got);
    free(house);
}

static void send_in_steps(struct sv bytes, size_t step) {
    for (size_t at = 0; at < bytes.n; at += step) {
        stream_write1(house->client, sv_first(sv_from(bytes, at), step));
        turn(2);
    }
    turn(4);
}

static bool got(const char *text) {
    return sv_find(buf_sv(&house->got), sv_of(text)) >= 0;
}

static void expect(struct sv bytes, const char *want, bool ends) {
    for (size_t step = bytes.n; step; step = step > 9 ? step / 4 : step - 1) {
        open_house();
        send_in_steps(bytes, step);
        buf_add_char(&house->got, '\0');
        if (!got(want) || house->ended != ends)
            fail_msg("in pieces of %zu, ended %d: wanted \"%s\" in:\n%s", step, house->ended, want, house->got.p);
        close_house();
    }
}

#define H "Host: a\r\n"

static void bodies_come_back(void **state) {
    (void)state;
    expect(SV("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"), "content-length: 5\r\n\r\nhello", false);
    expect(SV("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2\r\nyo\r\n0\r\n\r\n"), "\r\n\r\nhelloyo", false);
    expect(SV("GET /chunks HTTP/1.1\r\n" H "\r\n"), "\r\n\r\n3\r\none\r\n12\r\ntwotwotwotwotwotwo\r\n0\r\n\r\n", false);
    expect(SV("GET /chunks HTTP/1.0\r\n\r\n"), "\r\n\r\nonetwotwotwotwotwotwo", true);
    expect(SV("HEAD /chunks HTTP/1.1\r\n" H "\r\n"), "transfer-encoding: chunked\r\n\r\n", false);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    (void)state;
    expect(SV("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n1POST / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n2"
              "GET /chunks HTTP/1.1\r\n" H "Connection: close\r\n\r\n"),
           "\r\n\r\n1HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n\r\n2HTTP/1.1 200 OK\r\n", true);
}

static void nothing_after_a_broken_request_is_read(void **state) {
    (void)state;
    expect(SV("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhelloGET /chunks HTTP/1.1\r\n" H "\r\n"),
           "HTTP/1.1 400 Bad Request\r\n", true);
    open_house();
    send_in_steps(SV("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nzz\r\nGET /chunks HTTP/1.1\r\n" H "\r\n"), 1000);
    assert_true(got("400 Bad Request"));
    assert_false(got("twotwo"));
    assert_int_equal(house->gone, 1);
    close_house();
}

static void a_body_that_was_not_read_ends_the_connection(void **state) {
    (void)state;
    expect(SV("POST /unread HTTP/1.1\r\n" H "Content-Length: 30\r\n\r\nGET /chunks HTTP/1.1\r\n\r\n"), "no thanks", true);
}

static void a_body_past_the_limit_is_refused_before_it_is_read(void **state) {
    (void)state;
    expect(SV("POST / HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\nxxx"), "HTTP/1.1 413 ", true);
}

static void a_client_that_expects_continue_is_told(void **state) {
    (void)state;
    open_house();
    send_in_steps(SV("POST / HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"), 1000);
    assert_true(got("HTTP/1.1 100 Continue\r\n\r\n"));
    send_in_steps(SV("hi"), 1);
    assert_true(got("\r\n\r\nhi"));
    close_house();
}

static void a_client_that_leaves_is_noticed_at_once(void **state) {
    (void)state;
    open_house();
    send_in_steps(SV("GET /hold HTTP/1.1\r\n" H "\r\n"), 1000);
    assert_non_null(house->held);
    stream_end(house->client);
    turn(3);
    assert_int_equal(house->gone, 1);
    close_house();
}

static void a_held_request_stops_reading_ahead_at_the_limit(void **state) {
    (void)state;
    open_house();
    send_in_steps(SV("GET /hold HTTP/1.1\r\n" H "\r\n"), 1000);
    for (int i = 0; i < 100; i++)
        send_in_steps(SV("GET /chunks HTTP/1.1\r\n" H "\r\n"), 1000);
    assert_int_equal(house->requests, 1);
    assert_true(stream_queued(house->client) > 0); /* the rest waits on the client's side */
    http_in_reply(house->held, 200, NULL, 0, SV("text/plain"), SV("held"));
    turn(300);
    assert_int_equal(house->requests, 101);
    close_house();
}

static void draining_closes_idle_connections_and_lets_others_finish(void **state) {
    (void)state;
    open_house();
    send_in_steps(SV("GET /hold HTTP/1.1\r\n" H "\r\n"), 1000);
    http_server_drain(house->server, NULL);
    turn(3);
    assert_false(house->ended);
    http_in_reply(house->held, 200, NULL, 0, SV("text/plain"), SV("held"));
    turn(5);
    assert_true(got("connection: close\r\n"));
    assert_true(house->ended);
    close_house();
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (long n = 1; n < 200; n++) {
        open_house();
        mem_fail_at(n, 0);
        send_in_steps(SV("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"), 7);
        bool struck = mem_fail_hit();
        mem_fail_at(0, 0);
        if (!struck)
            assert_true(got("hello"));
        close_house();
        if (!struck)
            return;
    }
    fail_msg("more than 200 allocations for one small request");
}

static void a_stream_for_one_exchange_ends_after_it(void **state) {
    (void)state;
    open_house_for(http_serve_once);
    send_in_steps(SV("GET /chunks HTTP/1.1\r\n" H "\r\nGET /second HTTP/1.1\r\n" H "\r\n"), 200);
    assert_int_equal(house->requests, 1);
    assert_true(got("connection: close") && got("\r\n0\r\n\r\n") && house->ended);
    close_house();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_come_back),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(nothing_after_a_broken_request_is_read),
        cmocka_unit_test(a_body_that_was_not_read_ends_the_connection),
        cmocka_unit_test(a_body_past_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(a_client_that_expects_continue_is_told),
        cmocka_unit_test(a_client_that_leaves_is_noticed_at_once),
        cmocka_unit_test(a_held_request_stops_reading_ahead_at_the_limit),
        cmocka_unit_test(draining_closes_idle_connections_and_lets_others_finish),
        cmocka_unit_test(a_stream_for_one_exchange_ends_after_it),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
