#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "access/book.h"
#include "access/key.h"
#include "base/clock.h"
#include "io/loop.h"

static char dir[] = "/tmp/drover-book-XXXXXX";
static char file[64];

/* One run of the book: a loop, a store, the keys. */
static struct {
    struct loop loop;
    struct store *store;
    struct access *access;
    struct access_snapshot *snapshot;
    unsigned n_snapshots, n_revoked, n_done;
    enum err_code code;
    char text[KEY_TEXT + 1], id[KEY_ID + 1];
    int64_t version;
    struct timer deadline;
    bool late;
} b;

static void on_snapshot(void *owner, struct access_snapshot *s) {
    (void)owner;
    access_snapshot_unref(b.snapshot);
    b.snapshot = access_snapshot_ref(s);
    b.n_snapshots++;
}
static void on_revoked(void *owner, struct access_cell *cell) {
    (void)owner;
    (void)cell;
    b.n_revoked++;
}
static const struct access_events on = { on_snapshot, on_revoked };
static const struct access_limits defaults = { .requests_per_min = 600, .requests_burst = 20, .concurrent = 8, .tokens_per_min = 200000 };
static const struct access_actor me = { { "tester", 6 }, { "unix", 4 } };

static void open_book(void) {
    struct err e = { 0 };
    struct store_options o = { .path = sv_of(file) };
    memset(&b, 0, sizeof b);
    assert_true(loop_init(&b.loop, &e));
    b.store = store_open(&o, &e);
    if (!b.store)
        fail_msg("%s", e.text);
    b.access = access_new(&b.loop, b.store, &defaults, &on, NULL, &e);
    if (!b.access)
        fail_msg("%s", e.text);
}

static void close_book(void) {
    access_free(b.access);
    store_close(b.store, 5000);
    access_snapshot_unref(b.snapshot);
    timer_stop(&b.loop, &b.deadline);
    loop_deinit(&b.loop);
}

static void on_late(void *arg) {
    (void)arg;
    b.late = true;
}

/* Turns the loop until *count has grown, or fails. */
static void turn_until(const unsigned *count, unsigned at_least) {
    b.late = false;
    timer_set(&b.loop, &b.deadline, 10000, on_late, NULL);
    while (*count < at_least && !b.late)
        uv_run(&b.loop.uv, UV_RUN_ONCE);
    timer_stop(&b.loop, &b.deadline);
    assert_false(b.late);
}

static void on_done(void *arg, const struct access_key *key, const char *text, const struct err *e) {
    (void)arg;
    b.n_done++;
    b.code = e ? e->code : ERR_NONE;
    snprintf(b.text, sizeof b.text, "%s", text ? text : "");
    sv_to_cstr(key->id, b.id, sizeof b.id);
    b.version = key->version;
}

static const struct sv all[] = { { "*", 1 } };

static struct access_key draft(const char *name) {
    return (struct access_key){ .name = sv_of(name), .enabled = true, .models = all, .n_models = 1, .endpoints = all, .n_endpoints = 1 };
}

static enum err_code finish(bool accepted, const struct err *e) {
    if (!accepted)
        return e->code;
    turn_until(&b.n_done, b.n_done + 1);
    return b.code;
}

static enum err_code make(const struct access_key *d) {
    struct err e = { 0 };
    return finish(access_make_key(b.access, d, &me, on_done, NULL, &e), &e);
}

static bool opens(const char *text) {
    return access_identify(b.snapshot ? b.snapshot : access_now(b.access), sv_of(text), clock_wall_ms(), SV("unix"), &(struct err){ 0 }) != NULL;
}

static void a_key_lives_from_its_making_to_its_revocation(void **state) {
    char text[KEY_TEXT + 1], id[KEY_ID + 1];
    struct err e = { 0 };
    (void)state;
    open_book();
    struct access_key d = draft("ci");
    assert_int_equal(make(&d), ERR_NONE);
    memcpy(text, b.text, sizeof text);
    memcpy(id, b.id, sizeof id);
    assert_true(opens(text));
    assert_int_equal(make(&d), ERR_EXISTS);
    const struct access_key *k = access_find_key(b.access, SV("ci"));
    assert_true(k && sv_eq(k->id, sv_of(id)) && k->version == 1);
    assert_int_equal(b.snapshot->keys[0].limits.requests_per_min, 600); /* the defaults' */

    struct access_network net;
    const struct sv models[] = { SV("coder"), SV("qwen*") };
    assert_true(access_network_read(SV("10.0.0.0/8"), &net, &e));
    d = *k;
    d.models = models, d.n_models = 2, d.networks = &net, d.n_networks = 1, d.rights = ACCESS_MAY_PASS, d.priority = -5;
    d.limits = (struct access_limits){ .requests_per_min = 60, .budget = { { 1000, 2000 }, { 3000, 4000 } } };
    assert_int_equal(finish(access_change_key(b.access, sv_of(id), 1, &d, &me, on_done, NULL, &e), &e), ERR_NONE);
    assert_false(opens(text)); /* from here it may not come */
    d.name = SV("ci"), d.owner = SV_NULL, d.endpoints = all;
    assert_int_equal(finish(access_change_key(b.access, sv_of(id), 1, &d, &me, on_done, NULL, &e), &e), ERR_STALE);
    close_book();

    open_book(); /* all of it was kept */
    k = access_find_key(b.access, sv_of(id));
    assert_non_null(k);
    assert_true(k->n_models == 2 && sv_eq(k->models[1], SV("qwen*")) && k->n_networks == 1 && k->networks[0].bits == 104);
    assert_true(k->rights == ACCESS_MAY_PASS && k->priority == -5 && k->limits.budget[ACCESS_MONEY][ACCESS_MONTH] == 4000 && k->version == 2);
    assert_int_equal(finish(access_revoke_key(b.access, SV("ci"), &me, on_done, NULL, &e), &e), ERR_NONE);
    assert_int_equal(b.n_revoked, 1);
    assert_false(opens(text));
    assert_null(access_find_key(b.access, sv_of(id)));
    assert_int_equal(finish(access_revoke_key(b.access, SV("ci"), &me, on_done, NULL, &e), &e), ERR_NOT_FOUND);
    d = draft("ci"); /* the name is free again */
    assert_int_equal(make(&d), ERR_NONE);
    close_book();
}

static enum err_code rotate(const char *name, uint64_t overlap_ms) {
    struct err e = { 0 };
    return finish(access_rotate_key(b.access, sv_of(name), overlap_ms, &me, on_done, NULL, &e), &e);
}

static bool opens_at(const char *text, uint64_t ms) {
    return access_identify(access_now(b.access), sv_of(text), ms, SV("unix"), &(struct err){ 0 }) != NULL;
}

static void a_key_takes_another_secret_and_both_open_it_for_a_while(void **state) {
    enum { HOUR = 3600000 };
    char first[KEY_TEXT + 1], second[KEY_TEXT + 1];
    struct err e = { 0 };
    (void)state;
    open_book();
    struct access_key d = draft("turning");
    d.limits.budget[ACCESS_TOKENS][ACCESS_DAY] = 1000;
    assert_int_equal(make(&d), ERR_NONE);
    memcpy(first, b.text, sizeof first);
    struct access_cell *cell = access_find_key(b.access, SV("turning"))->cell;
    unsigned n_revoked = b.n_revoked;
    assert_int_equal(rotate("turning", HOUR), ERR_NONE);
    memcpy(second, b.text, sizeof second);
    const struct access_key *k = access_find_key(b.access, SV("turning"));
    uint64_t until = k->old_until_ms;
    assert_int_equal(k->version, 2);
    assert_int_equal(b.n_revoked, n_revoked); /* what goes on goes on */
    assert_string_not_equal(first, second);
    assert_memory_equal(first, second, 7 + KEY_ID); /* the same id */
    assert_true(opens(first) && opens(second));
    assert_ptr_equal(access_identify(access_now(b.access), sv_of(first), until - 1, SV("unix"), &e)->cell, cell); /* one budget for both */
    assert_ptr_equal(access_identify(access_now(b.access), sv_of(second), until - 1, SV("unix"), &e)->cell, cell);
    assert_true(opens_at(first, until - 1) && !opens_at(first, until) && opens_at(second, until));
    assert_null(access_identify(access_now(b.access), sv_of(first), until, SV("unix"), &e));
    assert_non_null(strstr(e.text, "was given another secret"));
    assert_int_equal(rotate("turning", HOUR), ERR_EXISTS); /* three at a time there are not */
    close_book();

    open_book(); /* both are there after a start */
    assert_true(opens(first) && opens(second));
    k = access_find_key(b.access, SV("turning"));
    assert_int_equal(k->old_until_ms, until);
    struct access_key changed = *k;
    changed.priority = 5;
    assert_int_equal(finish(access_change_key(b.access, k->id, k->version, &changed, &me, on_done, NULL, &e), &e), ERR_NONE);
    assert_true(opens(first) && opens(second)); /* a change of something else leaves them alone */
    n_revoked = b.n_revoked;
    assert_int_equal(rotate("turning", 0), ERR_NONE);
    assert_true(!opens(first) && !opens(second) && opens(b.text));
    assert_int_equal(b.n_revoked, n_revoked + 1); /* what went on has ended */
    assert_int_equal(rotate("nobody", 0), ERR_NOT_FOUND);
    assert_int_equal(rotate("turning", (ACCESS_OVERLAP_DAYS + 1) * UINT64_C(86400000)), ERR_BAD_REQUEST);
    memcpy(first, b.text, sizeof first);
    assert_int_equal(rotate("turning", HOUR), ERR_NONE);
    assert_int_equal(finish(access_revoke_key(b.access, SV("turning"), &me, on_done, NULL, &e), &e), ERR_NONE);
    assert_true(!opens(first) && !opens(second));
    close_book();
    open_book();
    assert_null(access_find_key(b.access, SV("turning")));
    close_book();
}

static void what_no_key_may_be_is_refused(void **state) {
    const struct sv odd[] = { SV("a\nb") };
    (void)state;
    open_book();
    struct access_key bad[] = { draft(""), draft("-x"), draft("a\tb"), draft("\xff"), draft("x"), draft("x"),
                               draft(" x"), draft("x "), draft("a/b"), draft("a\xe2\x80\x8b"), draft("\xe2\x80\xaex") };
    char longest[66];
    memset(longest, 'a', 65);
    longest[65] = '\0';
    bad[4].models = odd;
    bad[5].name = sv_of(longest);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(make(&bad[i]), ERR_BAD_REQUEST);
    close_book();
}

static void networks_read_and_print(void **state) {
    static const struct {
        const char *text, *shown; /* NULL: refused */
    } rows[] = {
        { "10.0.0.0/8", "10.0.0.0/8" }, { "192.0.2.7", "192.0.2.7/32" }, { "2001:db8::/32", "2001:db8::/32" }, { "::1", "::1/128" },
        { "0.0.0.0/0", "0.0.0.0/0" }, { "10.0.0.0/33", NULL }, { "10.0.0/8", NULL }, { "x", NULL }, { "", NULL }, { "::/129", NULL },
        { "1.2.3.4/", NULL }, { "/8", NULL },
    };
    char text[ACCESS_NETWORK_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct access_network n;
        struct err e;
        bool ok = access_network_read(sv_of(rows[i].text), &n, &e);
        assert_int_equal(ok, rows[i].shown != NULL);
        if (ok)
            assert_string_equal(access_network_text(&n, text), rows[i].shown);
    }
}

/* --- budgets ------------------------------------------------------------------------------------------------------ */

/* Of the one budget that k has. */
static int64_t spend(const struct access_key *k, int64_t each, unsigned rounds) {
    bool is_money = access_has_money_budget(k);
    int64_t tokens = is_money ? 0 : each, money = is_money ? each : 0;
    int64_t spent = 0;
    static uint64_t later_us; /* rates are not what is looked at: each request comes a minute after the one before */
    for (unsigned i = 0; i < rounds; i++) {
        struct access_hold h;
        struct err e;
        later_us += 60000000u;
        assert_true(access_begin(&h, k, clock_mono_us() + later_us, 1, &e));
        enum access_reserved got;
        while ((got = access_reserve(&h, tokens, money, clock_mono_us() + later_us, &e)) == ACCESS_LATER)
            uv_run(&b.loop.uv, UV_RUN_ONCE);
        if (got == ACCESS_RESERVED) {
            access_settle(&h, tokens, money);
            spent += each;
        }
        access_end(&h);
    }
    return spent;
}

static void lasts_over_restarts(const char *name, enum access_unit unit, enum access_span span) {
    struct access_key d = draft(name);
    d.limits = (struct access_limits){ .requests_per_min = 1000000, .tokens_per_min = 100000000 };
    d.limits.budget[unit][span] = 100000;
    open_book();
    assert_int_equal(make(&d), ERR_NONE);
    assert_int_equal(spend(&b.snapshot->keys[b.snapshot->n_keys - 1], 1000, 30), 30000);
    close_book();
    open_book(); /* a clean end gives back what was leased and not spent */
    const struct access_snapshot *s = access_now(b.access);
    assert_int_equal(spend(&s->keys[s->n_keys - 1], 1000, 1), 1000);
    assert_true(access_budget_used(&s->keys[s->n_keys - 1]) > 0.3099 && access_budget_used(&s->keys[s->n_keys - 1]) < 0.3101);
    assert_int_equal(spend(&s->keys[s->n_keys - 1], 1000, 100), 69000);
    close_book();
    open_book();
    s = access_now(b.access);
    assert_int_equal(spend(&s->keys[s->n_keys - 1], 1, 1), 0);
    assert_true(access_budget_used(&s->keys[s->n_keys - 1]) == 1.0);
    close_book();
}

static void a_budget_lasts_over_restarts_and_is_never_overspent(void **state) {
    (void)state;
    lasts_over_restarts("poor", ACCESS_TOKENS, ACCESS_DAY);
    lasts_over_restarts("thrifty", ACCESS_MONEY, ACCESS_MONTH);
}

#define HOUR_MS INT64_C(3600000)

static void turn_for_a_while(void) {
    uint64_t until = clock_mono_us() + 80000; /* some looks of the book */
    while (clock_mono_us() < until)
        uv_run(&b.loop.uv, UV_RUN_NOWAIT);
}

static void a_clock_that_is_set_brings_no_budget_again_and_a_new_day_does(void **state) {
    static const int64_t back[] = { -HOUR_MS, -25 * HOUR_MS, -40 * 24 * HOUR_MS };
    struct access_key d = draft("set");
    (void)state;
    d.limits = (struct access_limits){ .requests_per_min = 1000000, .tokens_per_min = 100000000 };
    d.limits.budget[ACCESS_TOKENS][ACCESS_DAY] = 50000;
    d.expires_ms = clock_wall_ms() + 30 * 24 * (uint64_t)HOUR_MS;
    open_book();
    assert_int_equal(make(&d), ERR_NONE);
    const struct access_snapshot *s = access_now(b.access);
    assert_int_equal(spend(&s->keys[s->n_keys - 1], 1000, 60), 50000);
    for (size_t i = 0; i < 3; i++) { /* while it runs, and over a restart */
        clock_wall_shift(back[i]);
        turn_for_a_while();
        s = access_now(b.access);
        assert_int_equal(spend(&s->keys[s->n_keys - 1], 1000, 3), 0);
        close_book();
        open_book();
        s = access_now(b.access);
        assert_int_equal(spend(&s->keys[s->n_keys - 1], 1000, 3), 0);
        clock_wall_shift(0);
    }
    clock_wall_shift(25 * HOUR_MS);
    turn_for_a_while();
    s = access_now(b.access);
    assert_int_equal(spend(&s->keys[s->n_keys - 1], 1000, 60), 50000);
    unsigned at = b.n_revoked;
    clock_wall_shift(366 * 24 * HOUR_MS);
    for (int i = 0; i < 20 && b.n_revoked == at; i++)
        turn_for_a_while();
    assert_int_equal(b.n_revoked, at + 1); /* its time is over: what went on with it ends */
    s = access_now(b.access);
    const struct access_key *k = &s->keys[s->n_keys - 1];
    assert_true(k->expires_ms < clock_wall_ms()); /* and identify refuses it */
    clock_wall_shift(0);
    close_book();
}

/* --- the audit log ------------------------------------------------------------------------------------------------ */

struct look {
    struct store_job job;
    const char *sql;
    struct access_verdict verdict;
    bool ok;
    unsigned done;
};

static bool run_look(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct look *l = CONTAINER(job, struct look, job);
    return l->sql ? store_run(tx, e, l->sql, NULL, 0, NULL) : access_audit_verify(tx, &l->verdict, e);
}

static void on_look(struct store_job *job, const struct err *e) {
    struct look *l = CONTAINER(job, struct look, job);
    l->ok = !e;
    l->done++;
}

static struct access_verdict look(const char *sql) {
    struct look l = { .job = { .home = &b.loop, .reads = !sql, .run = run_look, .done = on_look }, .sql = sql };
    assert_true(store_submit(b.store, &l.job, NULL));
    turn_until(&l.done, 1);
    assert_true(l.ok);
    return l.verdict;
}

static void every_change_is_in_the_audit_log_and_no_row_can_be_changed_unnoticed(void **state) {
    (void)state;
    open_book();
    struct access_verdict v = look(NULL), was = v;
    assert_true(v.n >= 5 && v.broken_at == 0);
    struct access_key d = draft("audited");
    assert_int_equal(make(&d), ERR_NONE);
    v = look(NULL);
    assert_int_equal(v.n, was.n + 1);
    assert_memory_not_equal(v.head, was.head, sizeof v.head);
    look("UPDATE audit SET detail = 'nobody' WHERE seq = 3");
    assert_int_equal(look(NULL).broken_at, 3);
    look("DELETE FROM audit WHERE seq = 2");
    assert_int_equal(look(NULL).broken_at, 2);
    close_book();
}

/* The log as it is now, and what is found when some of it is not there; then all is as before. */
static void missing(const char *sql, uint64_t rows, uint64_t broken_at) {
    uint64_t n = look(NULL).n;
    look("CREATE TABLE kept AS SELECT * FROM audit");
    look("CREATE TABLE kept_head AS SELECT * FROM audit_head");
    look(sql);
    struct access_verdict v = look(NULL);
    assert_int_equal(v.n, rows);
    assert_int_equal(v.broken_at, broken_at);
    look("DELETE FROM audit");
    look("DELETE FROM audit_head");
    look("INSERT INTO audit SELECT * FROM kept");
    look("INSERT INTO audit_head SELECT * FROM kept_head");
    look("DROP TABLE kept");
    look("DROP TABLE kept_head");
    v = look(NULL);
    assert_true(v.n == n && v.n_told == n && v.broken_at == 0);
}

/* What the step of the schema makes of a log that was written before it. */
static void take_the_step_of_the_head(void) {
    const struct store_migration *m = store_schema;
    while (m->version && !strstr(m->sql, "CREATE TABLE audit_head"))
        m++;
    const char *second = strchr(m->sql, ';');
    char first[256];
    assert_non_null(second);
    snprintf(first, sizeof first, "%.*s", (int)(second - m->sql), m->sql);
    look("DROP TABLE audit_head");
    look(first);
    look(second + 1);
}

static void rows_that_are_taken_off_the_end_or_all_of_them_are_missed(void **state) {
    (void)state;
    open_book();
    look("DELETE FROM audit"); /* other tests have changed rows */
    look("DELETE FROM audit_head");
    assert_true(look(NULL).n == 0 && look(NULL).broken_at == 0);
    struct access_key d = draft("truncated");
    assert_int_equal(make(&d), ERR_NONE);
    d = draft("emptied");
    assert_int_equal(make(&d), ERR_NONE);
    uint64_t n = look(NULL).n;
    take_the_step_of_the_head();
    assert_true(n >= 2 && look(NULL).n_told == n && look(NULL).broken_at == 0);
    missing("DELETE FROM audit", 0, 1);
    missing("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", n - 1, n);
    missing("DELETE FROM audit_head", n, n + 1);
    missing("UPDATE audit_head SET hash = x'00'", n, n);
    look("DELETE FROM audit"); /* what is written then goes on behind the gap */
    d = draft("later");
    assert_int_equal(make(&d), ERR_NONE);
    struct access_verdict v = look(NULL);
    assert_true(v.n == 1 && v.n_told == n + 1 && v.broken_at == 1);
    close_book();
}

static void tidy(void) {
    char path[96];
    static const char *const ends[] = { "", "-wal", "-shm", ".lock" };
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", file, ends[i]);
        unlink(path);
    }
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_lives_from_its_making_to_its_revocation),
        cmocka_unit_test(a_key_takes_another_secret_and_both_open_it_for_a_while),
        cmocka_unit_test(what_no_key_may_be_is_refused),
        cmocka_unit_test(networks_read_and_print),
        cmocka_unit_test(a_budget_lasts_over_restarts_and_is_never_overspent),
        cmocka_unit_test(a_clock_that_is_set_brings_no_budget_again_and_a_new_day_does),
        cmocka_unit_test(every_change_is_in_the_audit_log_and_no_row_can_be_changed_unnoticed),
        cmocka_unit_test(rows_that_are_taken_off_the_end_or_all_of_them_are_missed),
    };
    if (sodium_init() < 0 || !mkdtemp(dir))
        return 1;
    snprintf(file, sizeof file, "%s/drover.db", dir);
    int failed = cmocka_run_group_tests_name("access/book", tests, NULL, NULL);
    tidy();
    return failed;
}
