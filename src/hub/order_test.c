/* A hub's directives: on the disk before anything else, there again after a restart, and over exactly once. No node is linked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/clock.h"
#include "base/log.h"
#include "hub/room.h"
#include "pki/try.h"

static char home[64];
static struct loop loop;
static struct hub_house house;
static struct hub *hub;
static struct node *attic, *loft;
static struct {
    unsigned n;
    enum err_code code;
    char id[64], state[32];
} answer;
static const struct access_actor sam = { { "sam", 3 }, { "unix", 4 } };

static void on_done(void *arg, struct sv json, const struct err *e) {
    (void)arg;
    yyjson_doc *doc = json_parse(json);
    answer.n++;
    answer.code = e ? e->code : ERR_NONE;
    (void)!sv_to_cstr(json_str(yyjson_doc_get_root(doc), "id"), answer.id, sizeof answer.id);
    (void)!sv_to_cstr(json_str(yyjson_doc_get_root(doc), "state"), answer.state, sizeof answer.state);
    yyjson_doc_free(doc);
}

static struct node *node_of(const char *id) {
    struct node *n = roster_add(&hub->roster, sv_of(id), sv_of(id), "");
    assert_non_null(n);
    n->state = NODE_APPROVED;
    return n;
}

static void begin_hub(void) {
    struct err e;
    char path[128];
    snprintf(path, sizeof path, "%s/drover.db", home);
    struct store *s = store_open(&(struct store_options){ .path = sv_of(path) }, &e);
    if (!s)
        fail_msg("%s", e.text);
    house = (struct hub_house){ .loop = &loop, .store = s };
    hub = mem_new(sizeof *hub);
    assert_non_null(hub);
    hub->refs = 1;
    hub->house = &house;
    hub->loop = &loop;
    list_init(&hub->roster.all);
    map_init(&hub->roster.by_id);
    map_init(&hub->roster.by_spki);
    attic = node_of("attic-1");
    loft = node_of("loft-1");
    assert_true(orders__load(hub, &e));
}

static void end_hub(void) {
    hub->closing = true;
    orders__deinit(hub);
    roster_deinit(&hub->roster);
    store_close(house.store, 5000);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    hub__unref(hub);
}

static int begin(void **state) {
    struct err e;
    (void)state;
    try_dir(home);
    log_set_level(LOG_ERROR);
    assert_true(loop_init(&loop, &e));
    begin_hub();
    return 0;
}

static int end(void **state) {
    (void)state;
    end_hub();
    loop_deinit(&loop);
    try_remove(home);
    return 0;
}

static void on_late(void *arg) {
    *(bool *)arg = true;
}

static void wait_for(unsigned n) {
    struct timer deadline = { 0 };
    bool late = false;
    timer_set(&loop, &deadline, 20000, on_late, &late);
    while (answer.n < n && !late)
        uv_run(&loop.uv, UV_RUN_ONCE);
    timer_stop(&loop, &deadline);
    assert_false(late);
}

static bool order(struct node *n, const char *op, uint64_t expires_ms, struct err *e) {
    return hub_order(hub, sv_of(n->id), &(struct hub_order){ .op = sv_of(op), .expires_ms = expires_ms }, &sam, on_done, NULL, e);
}

static void make(struct node *n, const char *op, uint64_t expires_ms) {
    struct err e;
    answer.n = 0;
    if (!order(n, op, expires_ms, &e))
        fail_msg("%s", e.text);
    wait_for(1);
    assert_int_equal(answer.code, ERR_NONE);
}

static void look_up(const char *id) {
    struct err e;
    answer.n = 0;
    assert_true(hub_directive(hub, sv_of(id), on_done, NULL, &e));
    wait_for(1);
}

static void say(struct node *n, enum link_kind kind, const char *payload) {
    yyjson_doc *doc = json_parse(sv_of(payload));
    struct envelope m = { .kind = kind, .msg_id = SV("m1"), .payload = yyjson_doc_get_root(doc) };
    assert_non_null(doc);
    if (kind == KIND_ACK)
        orders__take_ack(hub, n, &m);
    else
        orders__take_result(hub, n, &m);
    yyjson_doc_free(doc);
}

static void what_is_not_over_is_there_after_a_restart(void **state) {
    char id[64];
    (void)state;
    make(attic, "undrain", 0);
    memcpy(id, answer.id, sizeof id);
    assert_string_equal(answer.state, "queued");
    end_hub();
    begin_hub();
    assert_int_equal(hub->orders.n, 1);
    look_up(id);
    assert_string_equal(answer.state, "queued");
    struct err e;
    answer.n = 0;
    assert_true(hub_order_cancel(hub, sv_of(id), &sam, on_done, NULL, &e));
    assert_false(hub_order_cancel(hub, sv_of(id), &sam, on_done, NULL, &e)); /* it is being ended */
    assert_int_equal(e.code, ERR_NOT_FOUND);
    wait_for(1);
    assert_string_equal(answer.state, "cancelled");
    assert_int_equal(hub->orders.n, 0);
    end_hub();
    begin_hub();
    assert_int_equal(hub->orders.n, 0);
    look_up(id);
    assert_string_equal(answer.state, "cancelled");
}

static void what_was_never_sent_expires(void **state) {
    char id[64];
    (void)state;
    make(attic, "undrain", 1000);
    memcpy(id, answer.id, sizeof id);
    orders__tick(hub);
    assert_int_equal(hub->orders.n, 1);
    usleep(1100000);
    orders__tick(hub);
    orders__tick(hub); /* its end is on its way */
    while (hub->orders.n)
        uv_run(&loop.uv, UV_RUN_ONCE);
    look_up(id);
    assert_string_equal(answer.state, "expired");
}

static void a_result_counts_once_and_for_its_own_node(void **state) {
    char id[64], text[256];
    (void)state;
    make(attic, "undrain", 0);
    memcpy(id, answer.id, sizeof id);
    snprintf(text, sizeof text, "{\"directive_id\":\"%s\",\"status\":\"succeeded\"}", id);
    say(loft, KIND_DIRECTIVE_RESULT, text);
    look_up(id);
    assert_string_equal(answer.state, "queued");
    say(attic, KIND_DIRECTIVE_RESULT, text);
    snprintf(text, sizeof text, "{\"directive_id\":\"%s\",\"status\":\"failed\"}", id);
    say(attic, KIND_DIRECTIVE_RESULT, text);
    while (hub->orders.n)
        uv_run(&loop.uv, UV_RUN_ONCE);
    say(attic, KIND_DIRECTIVE_RESULT, text);
    snprintf(text, sizeof text, "{\"directive_id\":\"%s\",\"accepted\":false,\"code\":\"not_allowed\"}", id);
    say(attic, KIND_ACK, text);
    look_up(id);
    look_up(id); /* behind all that was written */
    assert_string_equal(answer.state, "succeeded");
}

static void a_node_has_so_many_and_a_hub_has_so_many(void **state) {
    struct err e;
    (void)state;
    answer.n = 0;
    for (unsigned i = 0; i < ORDERS_PER_NODE; i++)
        assert_true(order(attic, "undrain", 0, &e));
    assert_false(order(attic, "undrain", 0, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    assert_true(order(loft, "undrain", 0, &e));
    wait_for(ORDERS_PER_NODE + 1);
    hub->orders.n += ORDERS_MAX;
    assert_false(order(loft, "undrain", 0, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    hub->orders.n -= ORDERS_MAX;
    orders__drop(hub, sv_of(attic->id));
    assert_int_equal(hub->orders.n, 1);
    attic->state = NODE_REVOKED;
    assert_false(order(attic, "undrain", 0, &e));
    assert_int_equal(e.code, ERR_EXISTS);
}

static void each_failing_allocation_leaves_it_made_or_not(void **state) {
    unsigned made = 0;
    int hit = 1;
    (void)state;
    for (long n = 1; hit; n++) {
        struct err e = { 0 };
        answer.n = 0;
        mem_fail_at(n, 0);
        bool begun = order(n % 2 ? attic : loft, "undrain", 0, &e);
        while (begun && answer.n == 0)
            uv_run(&loop.uv, UV_RUN_ONCE);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        if (!begun && e.code != ERR_NO_MEMORY)
            fail_msg("allocation %ld: %s", n, e.text);
        made += begun && answer.code == ERR_NONE;
        assert_int_equal(hub->orders.n, made);
    }
    end_hub();
    begin_hub();
    assert_int_equal(hub->orders.n, made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_not_over_is_there_after_a_restart, begin, end),
        cmocka_unit_test_setup_teardown(what_was_never_sent_expires, begin, end),
        cmocka_unit_test_setup_teardown(a_result_counts_once_and_for_its_own_node, begin, end),
        cmocka_unit_test_setup_teardown(a_node_has_so_many_and_a_hub_has_so_many, begin, end),
        cmocka_unit_test_setup_teardown(each_failing_allocation_leaves_it_made_or_not, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
