/* What a node does with directives when its process ends anywhere, and when memory does: once or not at all, and it is known which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "hub/member_room.h"
#include "pki/try.h"
#include "store/store.h"

static char home[64];
static struct loop loop;
static struct config config;
static struct config *const config_now = &config;
static struct member m;
static unsigned n_requests, n_restarts;

static unsigned requests(void *owner) {
    (void)owner;
    return n_requests;
}

static bool restarts(void *owner, uint64_t grace_ms) {
    (void)owner;
    n_restarts++;
    return grace_ms == 5;
}

static void begin_process(void) {
    struct err e;
    char path[128];
    snprintf(path, sizeof path, "%s/drover.db", home);
    struct store *s = store_open(&(struct store_options){ .path = sv_of(path) }, &e);
    if (!s)
        fail_msg("%s", e.text);
    memset(&m, 0, sizeof m);
    m.house = (struct member_house){ .loop = &loop, .config = &config_now, .store = s, .n_berths = 1, .hub_requests = requests, .restart = restarts };
    snprintf(m.state.node_id, sizeof m.state.node_id, "attic-1");
    errands__open(&m);
    assert_non_null(m.errands);
}

/* What goes on is not finished. */
static void end_process(void) {
    struct store *s = m.house.store;
    timer_stop(&loop, &m.level);
    errands__close(&m, false);
    store_close(s, 5000);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
}

static int begin(void **state) {
    struct err e;
    (void)state;
    try_dir(home);
    config.join.allow.inference = config.join.allow.restart = true;
    n_requests = n_restarts = 0;
    assert_true(loop_init(&loop, &e));
    begin_process();
    return 0;
}

static int end(void **state) {
    (void)state;
    end_process();
    loop_deinit(&loop);
    try_remove(home);
    return 0;
}

static void take(const char *id, const char *op, const char *args) {
    char text[512];
    snprintf(text, sizeof text, "{\"directive_id\":\"%s\",\"op\":\"%s\",\"args\":%s,\"expires_ms\":60000,\"issued_at\":\"2026-11-21T05:06:07.089Z\"}", id, op, args);
    yyjson_doc *doc = yyjson_read_opts(text, strlen(text), 0, NULL, NULL); /* not from the heap that fails */
    struct envelope e = { .kind = KIND_DIRECTIVE, .ts = SV("2026-11-21T05:06:08Z"), .payload = yyjson_doc_get_root(doc) };
    errands__take(&m, &e);
    yyjson_doc_free(doc);
}

static struct errand *find(const char *id) {
    return errand__find(m.errands, sv_of(id));
}

static bool is_settled(const struct errand *d, enum directive_state s) {
    return !d || (d->state == s && d->on_disk == s && !d->is_writing);
}

static void on_late(void *arg) {
    *(bool *)arg = true;
}

/* Until the errand is in that state, in memory and on the disk, or gone. */
static void settle(const char *id, enum directive_state s) {
    struct timer deadline = { 0 };
    bool late = false;
    timer_set(&loop, &deadline, 20000, on_late, &late);
    while (!is_settled(find(id), s) && !late)
        uv_run(&loop.uv, UV_RUN_ONCE);
    timer_stop(&loop, &deadline);
    if (late)
        fail_msg("%s is %s", id, directive_state_name(find(id)->state));
}

static void expect(const char *id, enum directive_state s, const char *code) {
    const struct errand *d = find(id);
    assert_non_null(d);
    assert_string_equal(directive_state_name(d->state), directive_state_name(s));
    assert_string_equal(d->code, code);
}

static void an_end_is_remembered_until_the_hub_has_it(void **state) {
    (void)state;
    take("d1", "undrain", "{}");
    settle("d1", DIRECTIVE_SUCCEEDED);
    end_process();
    begin_process();
    expect("d1", DIRECTIVE_SUCCEEDED, "");
    assert_false(find("d1")->is_told);
    yyjson_doc *ack = json_parse(SV("{\"directive_id\":\"d1\"}"));
    errands__acknowledged(&m, yyjson_doc_get_root(ack));
    yyjson_doc_free(ack);
    settle("d1", DIRECTIVE_SUCCEEDED);
    end_process();
    begin_process();
    assert_true(find("d1")->is_told);
    take("d1", "drain", "{}"); /* the same id: nothing runs */
    settle("d1", DIRECTIVE_SUCCEEDED);
    assert_false(m.is_draining);
}

static void what_ran_when_the_process_ended_is_not_run_again(void **state) {
    (void)state;
    n_requests = 1;
    take("d1", "drain", "{\"deadline_ms\":60000}");
    take("d2", "undrain", "{}");
    settle("d1", DIRECTIVE_RUNNING);
    settle("d2", DIRECTIVE_QUEUED);
    assert_true(m.is_draining);
    end_process();
    begin_process();
    expect("d1", DIRECTIVE_FAILED, "interrupted");
    assert_false(m.is_draining);
    settle("d2", DIRECTIVE_SUCCEEDED); /* it had not begun */
}

static void a_restart_has_succeeded_when_there_is_a_next_process(void **state) {
    (void)state;
    take("d1", "restart", "{\"grace_ms\":5}");
    settle("d1", DIRECTIVE_RUNNING);
    while (!n_restarts)
        uv_run(&loop.uv, UV_RUN_ONCE);
    take("d2", "restart", "{\"grace_ms\":6}"); /* its turn comes after the first */
    settle("d2", DIRECTIVE_QUEUED);
    assert_int_equal(n_restarts, 1);
    end_process();
    begin_process();
    expect("d1", DIRECTIVE_SUCCEEDED, "");
    settle("d2", DIRECTIVE_FAILED);
    expect("d2", DIRECTIVE_FAILED, "busy");
    assert_int_equal(n_restarts, 2);
}

static void rows_of_another_membership_are_not_read(void **state) {
    (void)state;
    take("d1", "undrain", "{}");
    settle("d1", DIRECTIVE_SUCCEEDED);
    end_process();
    begin_process();
    struct errands *other = errands__new(&m, m.house.store, &loop, "attic-2");
    struct err e;
    assert_true(journal__load(other, &e));
    assert_int_equal(other->n, 0);
    errands__unref(other);
    assert_int_equal(m.errands->n, 1);
}

static void each_failing_allocation_leaves_it_done_or_not_begun(void **state) {
    (void)state;
    int hit = 1;
    for (long n = 1; hit; n++) {
        char id[24];
        snprintf(id, sizeof id, "d%ld", n);
        m.is_draining = false;
        mem_fail_at(n, 0);
        take(id, "drain", "{\"mode\":\"hard\"}");
        while (find(id) && !mem_fail_hit() && !is_settled(find(id), DIRECTIVE_SUCCEEDED))
            uv_run(&loop.uv, UV_RUN_ONCE);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        if (find(id))
            settle(id, directive_is_over(find(id)->state) ? find(id)->state : DIRECTIVE_SUCCEEDED);
        bool done = find(id) && find(id)->state == DIRECTIVE_SUCCEEDED;
        assert_int_equal(done, m.is_draining);
        assert_true(done || !find(id) || find(id)->code[0]);
    }
    size_t known = m.errands->n;
    end_process();
    begin_process();
    assert_int_equal(m.errands->n, known);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_end_is_remembered_until_the_hub_has_it, begin, end),
        cmocka_unit_test_setup_teardown(what_ran_when_the_process_ended_is_not_run_again, begin, end),
        cmocka_unit_test_setup_teardown(a_restart_has_succeeded_when_there_is_a_next_process, begin, end),
        cmocka_unit_test_setup_teardown(rows_of_another_membership_are_not_read, begin, end),
        cmocka_unit_test_setup_teardown(each_failing_allocation_leaves_it_done_or_not_begun, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
