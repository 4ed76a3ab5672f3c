/* A front server that hands on to a back server, all in memory on one loop: bodies both ways, upgrades, ends in the middle, and each
 * allocation failing once. */
#include "http/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/buf.h"
#include "io/pair.h"

static struct house {
    struct loop loop;
    struct http_server *front, *back;
    struct http_client *client;
    struct dialer *dialer;
    struct http_proxy *proxy;
    struct stream *browser, *joined; /* joined: the back's end of an upgraded connection */
    struct buf heard, back_heard;    /* what the browser got; what the upgraded back got */
    bool ended, joined_ended, back_closed;
    unsigned n_gone;
} *house;

/* --- the back: echoes bodies, upgrades /up, answers /big with a megabyte and /slow never --------------------------- */

struct echo {
    struct http_in *in;
    struct buf body;
};

static void on_joined_read(void *owner, struct sv bytes) {
    (void)owner;
    buf_add(&house->back_heard, bytes);
    stream_write1(house->joined, bytes);
}
static void on_joined_end(void *owner, const struct err *e) {
    (void)owner;
    (void)e;
    house->joined_ended = true;
    stream_close(house->joined);
    house->joined = NULL;
}
static const struct stream_events joined_events = { on_joined_read, on_joined_end, NULL, NULL };

static void on_body(void *x, struct sv bytes) {
    buf_add(&((struct echo *)x)->body, bytes);
}
static void on_body_end(void *x) {
    struct echo *e = x;
    struct http_header h[] = { { SV("x-back"), SV("yes") }, { SV("connection"), SV("x-hop") }, { SV("x-hop"), SV("stays") } };
    http_in_reply(e->in, 201, h, 3, SV("text/plain"), buf_sv(&e->body));
}
static void on_back_gone(void *x, const struct err *e) {
    (void)x;
    (void)e;
    house->n_gone++;
}
static const struct http_in_events echo_events = { on_body, on_body_end, NULL, on_back_gone, NULL };

static void echo_free(void *arg) {
    buf_deinit(&((struct echo *)arg)->body);
}

static void upgrade(struct http_in *in) {
    struct sv ahead;
    stream_write1(in->stream, SV("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\nearly"));
    house->joined = http_in_upgrade(in, &ahead);
    stream_own(house->joined, &joined_events, NULL);
    stream_read(house->joined, true);
    if (ahead.n)
        on_joined_read(NULL, ahead);
}

static void on_back_request(void *owner, struct http_in *in) {
    (void)owner;
    struct echo *e = ARENA_NEW(&in->arena, struct echo);
    if (!e || !arena_defer(&in->arena, echo_free, e)) {
        http_in_abort(in);
        return;
    }
    e->in = in;
    buf_init(&e->body, 1 << 20);
    in->on = &echo_events;
    in->x = e;
    if (sv_eq(in->head->path, SV("/up"))) {
        upgrade(in);
    } else if (sv_eq(in->head->path, SV("/big"))) {
        char *bytes = calloc(1, 1 << 20);
        memset(bytes, 'b', 1 << 20);
        http_in_reply(in, 200, NULL, 0, SV("text/plain"), (struct sv){ bytes, 1 << 20 });
        free(bytes);
    } else if (sv_eq(in->head->path, SV("/slow"))) {
        ;
    } else if (in->head->length > 0 || in->head->chunked) {
        http_in_body(in);
    } else {
        on_body_end(e);
    }
}
static const struct http_server_events back_events = { on_back_request, NULL, NULL };

/* --- the front ---------------------------------------------------------------------------------------------------- */

static void on_front_request(void *owner, struct http_in *in) {
    static const struct http_header h[] = { { { "host", 4 }, { "back", 4 } }, { { "x-told", 6 }, { "1", 1 } } };
    (void)owner;
    http_proxy_pass(house->proxy, in, in->head->target, h, 2);
}
static const struct http_server_events front_events = { on_front_request, NULL, NULL };

static void on_back_accept(void *owner, struct stream *s) {
    (void)owner;
    if (house->back_closed)
        stream_close(s);
    else
        http_serve(house->back, s, NULL);
}

static void on_browser_read(void *owner, struct sv bytes) {
    (void)owner;
    buf_add(&house->heard, bytes);
}
static void on_browser_end(void *owner, const struct err *e) {
    (void)owner;
    (void)e;
    house->ended = true;
}
static const struct stream_events browser_events = { on_browser_read, on_browser_end, NULL, NULL };

static void turn(int n) {
    while (n--)
        uv_run(&house->loop.uv, UV_RUN_NOWAIT);
}

static const struct http_server_limits limits = { { 1000, 1000, 8000, 50, 100 }, 1 << 20, 60000, 60000, 60000, 60000, 86400000, 0, 65536, 1000, LIMIT_BODY_MAX };

/* False: memory was out. */
static bool open_house_at(unsigned joined_max) {
    static const struct h1_limits head = { 0, 1000, 8000, 50, 100 };
    struct stream *far = NULL;
    house = calloc(1, sizeof *house);
    buf_init(&house->heard, 8 << 20);
    buf_init(&house->back_heard, 1 << 20);
    if (!loop_init(&house->loop, NULL))
        return false;
    house->front = http_server_new(&house->loop, &front_events, NULL, NULL);
    house->back = http_server_new(&house->loop, &back_events, NULL, NULL);
    house->client = http_client_new(&house->loop, &head, NULL);
    house->dialer = dialer_pair(on_back_accept, NULL, NULL);
    house->proxy = house->client && house->dialer ? http_proxy_new(&house->loop, house->client, house->dialer, joined_max, NULL) : NULL;
    if (!house->front || !house->back || !house->proxy || !stream_pair(&house->loop, &house->browser, &far, NULL))
        return false;
    http_server_limits(house->front, &limits);
    http_server_limits(house->back, &limits);
    stream_own(house->browser, &browser_events, NULL);
    stream_read(house->browser, true);
    http_serve(house->front, far, NULL);
    return true;
}

static void close_house(void) {
    stream_close(house->browser);
    stream_close(house->joined);
    http_server_free(house->front);
    http_proxy_free(house->proxy);
    http_client_free(house->client);
    dialer_unref(house->dialer);
    turn(3);
    http_server_free(house->back);
    loop_deinit(&house->loop);
    buf_deinit(&house->heard);
    buf_deinit(&house->back_heard);
    free(house);
}

static void say(const char *text) {
    stream_write1(house->browser, sv_of(text));
    turn(30);
}

static bool heard(const char *text) {
    return sv_find(buf_sv(&house->heard), sv_of(text)) >= 0;
}

static void a_request_and_its_answer_go_over(void **state) {
    (void)state;
    assert_true(open_house_at(4));
    say("POST /echo?x=1 HTTP/1.1\r\nhost: front\r\ncontent-length: 5\r\ncookie: secret\r\n\r\nhello");
    assert_true(heard("HTTP/1.1 201 Created") && heard("x-back: yes") && heard("\r\n\r\nhello"));
    assert_false(heard("x-hop")); /* between the two servers alone */
    buf_reset(&house->heard);
    say("POST /echo HTTP/1.1\r\nhost: front\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_true(heard("201 Created") && heard("\r\n\r\nabcdefg"));
    buf_reset(&house->heard);
    say("GET /big HTTP/1.1\r\nhost: front\r\n\r\n");
    turn(400);
    assert_true(house->heard.n > 1 << 20);
    buf_reset(&house->heard);
    say("HEAD /echo HTTP/1.1\r\nhost: front\r\n\r\n");
    assert_true(heard("201 Created"));
    close_house();
}

static void an_upgraded_connection_is_joined_until_either_side_ends(void **state) {
    (void)state;
    assert_true(open_house_at(1));
    say("GET /up HTTP/1.1\r\nhost: front\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_true(heard("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n") && heard("upgrade: websocket\r\n") && heard("sec-websocket-accept: x\r\n"));
    assert_true(heard("\r\n\r\nearly"));
    say("ping");
    assert_true(sv_eq(buf_sv(&house->back_heard), SV("ping")) && heard("earlyping"));
    stream_end(house->browser);
    turn(10);
    assert_true(house->joined_ended && house->ended);
    close_house();

    assert_true(open_house_at(1));
    say("GET /up HTTP/1.1\r\nhost: front\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    stream_close(house->joined);
    house->joined = NULL;
    turn(10);
    assert_true(house->ended);
    close_house();

    assert_true(open_house_at(0)); /* no room for one */
    say("GET /up HTTP/1.1\r\nhost: front\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_true(heard("503 Service Unavailable") && heard("too many live connections"));
    close_house();
}

static void who_leaves_and_who_does_not_answer(void **state) {
    (void)state;
    assert_true(open_house_at(4));
    say("GET /slow HTTP/1.1\r\nhost: front\r\n\r\n");
    stream_close(house->browser);
    house->browser = NULL;
    turn(10);
    assert_int_equal(house->n_gone, 1); /* the back is told */
    close_house();
    assert_true(open_house_at(4));
    house->back_closed = true;
    say("GET /echo HTTP/1.1\r\nhost: front\r\n\r\n");
    assert_true(heard("502 Bad Gateway") && heard("does not answer"));
    close_house();
    assert_true(open_house_at(4)); /* an unasked switch is no answer */
    say("GET /up HTTP/1.1\r\nhost: front\r\n\r\n");
    assert_true(heard("502 Bad Gateway"));
    close_house();
}

/* Nothing of the back's, one field of ours; 101 and /echo?no are not let through. */
static int filter(struct http_in *in, const struct http_head *head, struct http_header h[static HTTP_PROXY_FIELDS], unsigned n) {
    assert_true(n > 0);
    for (unsigned i = 0; i < n; i++)
        assert_false(sv_eq(h[i].name, SV("x-hop")));
    h[0] = (struct http_header){ SV("x-ours"), SV("yes") };
    return head->status == 101 || sv_eq(in->head->query, SV("no")) ? -1 : 1;
}

static void say_no(struct http_in *in, int status) {
    http_in_reply(in, status, NULL, 0, SV("text/plain"), SV("in our words"));
}

static void an_answer_is_filtered_or_refused(void **state) {
    (void)state;
    assert_true(open_house_at(4));
    http_proxy_filtered(house->proxy, filter, say_no);
    say("POST /echo HTTP/1.1\r\nhost: front\r\ncontent-length: 5\r\n\r\nhello");
    assert_true(heard("201 Created") && heard("x-ours: yes") && heard("\r\n\r\nhello"));
    assert_false(heard("x-back"));
    buf_reset(&house->heard);
    say("POST /echo?no HTTP/1.1\r\nhost: front\r\ncontent-length: 5\r\n\r\nhello");
    assert_true(heard("502 Bad Gateway") && heard("in our words"));
    assert_false(heard("x-ours"));
    assert_int_equal(http_proxy_busy(house->proxy), 0);
    close_house();
    assert_true(open_house_at(4));
    http_proxy_filtered(house->proxy, filter, say_no);
    say("GET /up HTTP/1.1\r\nhost: front\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_true(heard("502 Bad Gateway"));
    assert_false(heard("early"));
    close_house();
}

static void what_goes_on_can_be_cut(void **state) {
    static const char *const scenes[] = { "GET /slow HTTP/1.1\r\nhost: front\r\n\r\n",
                                          "POST /echo HTTP/1.1\r\nhost: front\r\ncontent-length: 5\r\n\r\nhel",
                                          "GET /up HTTP/1.1\r\nhost: front\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(open_house_at(4));
        say(scenes[i]);
        assert_int_equal(http_proxy_busy(house->proxy), 1);
        http_proxy_cut(house->proxy);
        assert_int_equal(http_proxy_busy(house->proxy), 0);
        turn(10);
        assert_true(house->ended && (house->joined_ended || house->n_gone == 1));
        close_house();
    }
}

static void each_allocation_may_fail(void **state) {
    static const char *const scenes[] = { "POST /echo HTTP/1.1\r\nhost: front\r\ncontent-length: 5\r\n\r\nhello",
                                          "GET /up HTTP/1.1\r\nhost: front\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                                          "GET /big HTTP/1.1\r\nhost: front\r\n\r\n" };
    (void)state;
    for (size_t s = 0; s < 3; s++)
        for (long n = 1; n < 400; n++) {
            assert_true(open_house_at(4));
            mem_fail_at(n, 0);
            say(scenes[s]);
            turn(60);
            bool hit = mem_fail_hit();
            mem_fail_at(0, 0);
            close_house();
            if (!hit)
                break;
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_and_its_answer_go_over),
        cmocka_unit_test(an_upgraded_connection_is_joined_until_either_side_ends),
        cmocka_unit_test(who_leaves_and_who_does_not_answer),
        cmocka_unit_test(an_answer_is_filtered_or_refused),
        cmocka_unit_test(what_goes_on_can_be_cut),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
