/* Whom a hub calls: the nodes that want it, a bounded number at one time, each in its turn; and what may be an address. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/log.h"
#include "hub/caller.h"
#include "hub/room.h"
#include "pki/try.h"

static char home[64];
static struct loop loop;
static struct config *config;
static struct hub_house house;
static struct hub hub;
static struct caller *caller;
static int silent; /* listens, and says nothing to those who come */
static char silent_url[64], closed_url[64];

static struct caller *caller_of(void *owner, unsigned turn) {
    (void)owner;
    (void)turn;
    return caller;
}

static struct config *config_of(void) {
    static const char *const environment[] = { NULL };
    static struct config_report r;
    char text[256];
    snprintf(text, sizeof text, "data_dir: %s\nrun_dir: %s\nhub: {name: home}\n", home, home);
    struct config_source src = { .path = "test.yaml", .text = sv_of(text), .environment = environment };
    struct config *c = config_load(&src, &r);
    if (!c)
        fail_msg("%s: %s", r.complaints[0].key, r.complaints[0].text);
    return c;
}

static int listening(char url[static 64]) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 512), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(url, 64, "https://127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

static int begin(void **state) {
    struct err e = { 0 };
    (void)state;
    try_dir(home);
    log_set_level(LOG_ERROR);
    assert_true(loop_init(&loop, &e));
    config = config_of();
    silent = listening(silent_url);
    close(listening(closed_url));
    caller = caller_new(&loop, NULL, NULL, &e);
    assert_non_null(caller);
    house = (struct hub_house){ .loop = &loop, .config = &config, .caller = caller_of };
    hub = (struct hub){ .refs = 1, .house = &house, .loop = &loop };
    list_init(&hub.roster.all);
    map_init(&hub.roster.by_id);
    map_init(&hub.roster.by_spki);
    hub.authority = authority_new(config, &e);
    if (!hub.authority || !authority_begin(hub.authority, config, false, &e))
        fail_msg("%s", e.text);
    return 0;
}

static void on_over(void *arg) {
    *(bool *)arg = true;
}

/* Lets what is under way go on. */
static void go_on(uint64_t ms) {
    struct timer t = { 0 };
    bool over = false;
    timer_set(&loop, &t, ms, on_over, &over);
    while (!over) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        usleep(500);
    }
}

static int end(void **state) {
    (void)state;
    hub.closing = true;
    go_on(20); /* orders under way arrive before the caller ends, as a worker's stop comes behind them */
    caller_close(caller);
    caller_free(caller);
    roster_deinit(&hub.roster);
    authority_free(hub.authority);
    loop_deinit(&loop);
    config_unref(config);
    close(silent);
    try_remove(home);
    return 0;
}

static struct node *node_of(unsigned i, const char *url) {
    char id[16];
    snprintf(id, sizeof id, "node-%u", i);
    struct node *n = roster_add(&hub.roster, sv_of(id), sv_of(id), "");
    assert_non_null(n);
    n->state = NODE_APPROVED;
    assert_true(roster_text(&n->url, sv_of(url)));
    return n;
}

static unsigned accepted(void) {
    unsigned n = 0;
    for (int fd; (fd = accept(silent, NULL, NULL)) >= 0; n++)
        close(fd);
    return n;
}

static void at_most_64_are_called_at_one_time(void **state) {
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        (void)node_of(i, silent_url);
    for (int i = 0; i < 5; i++) {
        calls__tick(&hub);
        assert_int_equal(hub.calls.n, 64);
        go_on(50);
    }
    assert_int_equal(accepted(), 64);
    for (int i = 0; i < 100 && hub.calls.n; i++) /* they hung up */
        go_on(20);
    assert_int_equal(hub.calls.n, 0);
    calls__tick(&hub); /* first the 36 that had no turn; the others rest */
    go_on(50);
    assert_true(accepted() >= 36);
    unsigned never = 0;
    LIST_FOR(it, &hub.roster.all)
    never += !CONTAINER(it, struct node, all)->call.plan.n && !CONTAINER(it, struct node, all)->call.is_under_way;
    assert_int_equal(never, 0);
}

static void only_who_was_let_in_wants_it_and_has_no_link_is_called(void **state) {
    (void)state;
    struct node *waits = node_of(0, silent_url), *dials = node_of(1, ""), *revoked = node_of(2, silent_url), *linked = node_of(3, silent_url);
    waits->state = NODE_WAITING;
    revoked->state = NODE_REVOKED;
    linked->retiring = (struct session *)(void *)&hub; /* never looked into */
    calls__tick(&hub);
    assert_int_equal(hub.calls.n, 0);
    linked->call.again = true; /* another certificate */
    calls__tick(&hub);
    assert_int_equal(hub.calls.n, 1);
    linked->retiring = NULL;
    assert_true(roster_text(&linked->url, SV("")));
    hub.draining = true;
    waits->state = NODE_APPROVED;
    calls__tick(&hub);
    assert_int_equal(hub.calls.n, 1);
    hub.draining = false;
    calls__tick(&hub);
    assert_int_equal(hub.calls.n, 2);
    assert_false(dials->call.is_under_way);
}

static void a_failure_is_told_and_waited_out(void **state) {
    (void)state;
    struct node *n = node_of(0, closed_url);
    unsigned calls = 0;
    for (int i = 0; i < 60; i++) { /* 1.5 s */
        unsigned was = n->call.plan.n;
        calls__tick(&hub);
        go_on(25);
        calls += n->call.plan.n != was;
    }
    assert_in_range(calls, 2, 6); /* at least 250 ms between two */
    assert_non_null(strstr(n->last_error, closed_url));
    assert_non_null(strstr(n->last_error, "refused"));
    calls__moved(&hub, n);
    assert_int_equal(n->call.plan.n, 0);
}

static void an_address_is_https_host_and_port_and_all_of_them_is_where_it_comes_from(void **state) {
    (void)state;
    static const struct {
        const char *url, *peer, *is;
    } rows[] = {
        { "https://node.example:7444", "192.0.2.1", "https://node.example:7444" },
        { "https://[2001:db8::7]:7444", "192.0.2.1", "https://[2001:db8::7]:7444" },
        { "https://0.0.0.0:7444", "192.0.2.1", "https://192.0.2.1:7444" },
        { "https://0.0.0.0:7444", "2001:db8::1", "https://[2001:db8::1]:7444" },
        { "https://[::]:9", "192.0.2.1", "https://192.0.2.1:9" },
        { "https://0.0.0.0:7444", "", NULL },
        { "http://node.example:7444", "192.0.2.1", NULL },
        { "https://node.example:7444/link", "192.0.2.1", NULL },
        { "https://node.example:0", "192.0.2.1", NULL },
        { "https://", "192.0.2.1", NULL },
        { "unix:/run/x", "192.0.2.1", NULL },
    };
    char to[CALLS_URL_MAX + 1], url[CALLS_URL_MAX + 64];
    struct err e;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool ok = calls__address(sv_of(rows[i].url), sv_of(rows[i].peer), to, &e);
        if (ok != (rows[i].is != NULL))
            fail_msg("%s from %s: %s", rows[i].url, rows[i].peer, ok ? to : e.text);
        if (ok)
            assert_string_equal(to, rows[i].is);
        else
            assert_int_equal(e.code, ERR_BAD_REQUEST);
    }
    memset(url, 'a', sizeof url);
    memcpy(url, "https://", 8);
    url[CALLS_URL_MAX + 1] = '\0';
    assert_false(calls__address(sv_of(url), SV("192.0.2.1"), to, &e));
    assert_non_null(strstr(e.text, "300 bytes"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(at_most_64_are_called_at_one_time, begin, end),
        cmocka_unit_test_setup_teardown(only_who_was_let_in_wants_it_and_has_no_link_is_called, begin, end),
        cmocka_unit_test_setup_teardown(a_failure_is_told_and_waited_out, begin, end),
        cmocka_unit_test_setup_teardown(an_address_is_https_host_and_port_and_all_of_them_is_where_it_comes_from, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
