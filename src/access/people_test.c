#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "access/crowd.h"
#include "access/mode.h"
#include "base/clock.h"

static char dir[] = "/tmp/drover-people-XXXXXX";
static char file[64];

/* One run: a loop, a store, keys, people, the mode. */
static struct {
    struct loop loop;
    struct store *store;
    struct access *access;
    struct people *people;
    struct mode *mode;
    struct people_settings settings;
    unsigned n_done, n_revoked, n_changed;
    enum err_code codes[64]; /* as they came */
    char secret[SESSION_SECRET + 1], session[SESSION_ID + 1];
    uint32_t retry_after_s;
    struct timer deadline;
    bool late;
} b;

static void on_snapshot(void *owner, struct access_snapshot *s) {
    (void)owner;
    (void)s;
}
static void on_revoked(void *owner, struct access_cell *cell) {
    (void)owner;
    (void)cell;
    b.n_revoked++;
}
static const struct access_events access_on = { on_snapshot, on_revoked };
static void on_changed(void *owner) {
    (void)owner;
    b.n_changed++;
}
static const struct people_events people_on = { on_changed };
static const struct access_actor me = { { "tester", 6 }, { "unix", 4 } };

#define PASS SV("four words in a row")

static void begin(void) {
    struct err e = { 0 };
    static const struct access_limits none;
    struct store_options o = { .path = sv_of(file) };
    memset(&b, 0, sizeof b);
    b.settings = (struct people_settings){ 8 * 3600000, 3600000 };
    assert_true(loop_init(&b.loop, &e));
    b.store = store_open(&o, &e);
    assert_non_null(b.store);
    b.access = access_new(&b.loop, b.store, &none, &access_on, NULL, &e);
    assert_non_null(b.access);
    b.people = people_new(&b.loop, b.store, b.access, &b.settings, &people_on, NULL, &e);
    assert_non_null(b.people);
    b.mode = mode_new(&b.loop, b.store, people_passphrases(b.people), NULL, NULL, &e);
    assert_non_null(b.mode);
}

static void finish(void) {
    mode_free(b.mode);
    people_free(b.people);
    access_free(b.access);
    store_close(b.store, 5000);
    timer_stop(&b.loop, &b.deadline);
    loop_deinit(&b.loop);
}

static void again(void) {
    finish();
    begin();
}

static void on_late(void *arg) {
    (void)arg;
    b.late = true;
}

static void turn_until(unsigned at_least) {
    b.late = false;
    timer_set(&b.loop, &b.deadline, 60000, on_late, NULL);
    while (b.n_done < at_least && !b.late)
        uv_run(&b.loop.uv, UV_RUN_ONCE);
    timer_stop(&b.loop, &b.deadline);
    assert_false(b.late);
}

static void note(const struct err *e) {
    b.codes[b.n_done++ % 64] = e ? e->code : ERR_NONE;
    b.retry_after_s = e ? e->retry_after_s : 0;
}

static void on_done(void *arg, const struct people_result *r, const struct err *e) {
    (void)arg;
    note(e);
    if (!e && r->secret.n)
        sv_to_cstr(r->secret, b.secret, sizeof b.secret);
    if (!e && r->session)
        sv_to_cstr(r->session->id, b.session, sizeof b.session);
}

static void on_mode_done(void *arg, const struct err *e) {
    (void)arg;
    note(e);
}

static enum err_code settle(bool accepted, const struct err *e) {
    if (!accepted)
        return e->code;
    unsigned at = b.n_done;
    turn_until(at + 1);
    return b.codes[at % 64];
}

static enum err_code add(const char *name, enum access_role role) {
    struct err e = { 0 };
    return settle(people_add(b.people, sv_of(name), role, PASS, &me, on_done, NULL, &e), &e);
}

static enum err_code sign_in(const char *name, struct sv passphrase, const char *peer) {
    struct err e = { 0 };
    return settle(people_sign_in(b.people, sv_of(name), passphrase, sv_of(peer), SV("a browser"), on_done, NULL, &e), &e);
}

static bool opens(const char *secret) {
    return people_session(b.people, sv_of(secret)) != NULL;
}

static bool at_gateway(const char *secret) {
    return access_session(access_now(b.access), sv_of(secret), clock_wall_ms(), &(struct err){ 0 }) != NULL;
}

static void a_session_lives_from_signing_in_to_signing_out(void **state) {
    struct err e = { 0 };
    char first[SESSION_SECRET + 1];
    (void)state;
    begin();
    assert_int_equal(add("ann", ROLE_ADMIN), ERR_NONE);
    assert_int_equal(add("ann", ROLE_VIEWER), ERR_EXISTS);
    assert_int_equal(sign_in("ann", SV("something else"), "192.0.2.1"), ERR_AUTH);
    assert_int_equal(sign_in("bob", PASS, "192.0.2.1"), ERR_AUTH);
    assert_int_equal(sign_in("ann", PASS, "192.0.2.1"), ERR_NONE);
    memcpy(first, b.secret, sizeof first);
    assert_true(opens(first) && at_gateway(first));
    assert_false(opens("0000000000000000000000000000000000000000000"));
    const struct session *s = people_session(b.people, sv_of(first));
    assert_true(sv_eq(s->peer, SV("192.0.2.1")) && sv_eq(s->agent, SV("a browser")) && s->person->role == ROLE_ADMIN);
    again();
    assert_true(opens(first) && at_gateway(first));
    assert_int_equal(people_session(b.people, sv_of(first))->fresh_until_ms, 0);
    s = people_session(b.people, sv_of(first));
    assert_int_equal(settle(people_confirm(b.people, s, SV("wrong wrong"), SV("192.0.2.1"), on_done, NULL, &e), &e), ERR_AUTH);
    assert_int_equal(settle(people_confirm(b.people, s, PASS, SV("192.0.2.1"), on_done, NULL, &e), &e), ERR_NONE);
    assert_true(people_session(b.people, sv_of(first))->fresh_until_ms > clock_wall_ms());
    assert_int_equal(settle(people_end_session(b.people, s->id, &me, on_done, NULL, &e), &e), ERR_NONE);
    assert_false(opens(first) || at_gateway(first));
    assert_int_equal(b.n_revoked, 1);
    again();
    assert_false(opens(first));
    finish();
}

static void rights_that_change_end_sessions(void **state) {
    struct err e = { 0 };
    (void)state;
    begin();
    assert_int_equal(add("ben", ROLE_OPERATOR), ERR_NONE);
    static const struct person_change changes[] = { { ROLE_VIEWER, -1, { 0 } }, { ROLE_NONE, -1, { "another few words", 17 } }, { ROLE_NONE, 0, { 0 } } };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(sign_in("ben", i < 2 ? PASS : SV("another few words"), "192.0.2.2"), ERR_NONE);
        assert_true(opens(b.secret));
        const struct person *p = people_find(b.people, SV("ben"));
        assert_int_equal(settle(people_change(b.people, SV("ben"), p->version - 1, &changes[i], &me, on_done, NULL, &e), &e), ERR_STALE);
        assert_int_equal(settle(people_change(b.people, SV("ben"), p->version, &changes[i], &me, on_done, NULL, &e), &e), ERR_NONE);
        assert_false(opens(b.secret) || at_gateway(b.secret));
    }
    assert_int_equal(sign_in("ben", SV("another few words"), "192.0.2.2"), ERR_AUTH); /* switched off */
    assert_int_equal(settle(people_remove(b.people, SV("ben"), &me, on_done, NULL, &e), &e), ERR_NONE);
    assert_null(people_find(b.people, SV("ben")));
    finish();
}

static void two_admins_cannot_remove_each_other(void **state) {
    struct err e = { 0 };
    (void)state;
    begin();
    assert_int_equal(add("cat", ROLE_ADMIN), ERR_NONE);
    unsigned at = b.n_done; /* ann and cat, at the same moment */
    assert_true(people_remove(b.people, SV("ann"), &me, on_done, NULL, &e));
    assert_true(people_remove(b.people, SV("cat"), &me, on_done, NULL, &e));
    turn_until(at + 2);
    assert_int_equal(b.codes[at], ERR_NONE);
    assert_int_equal(b.codes[at + 1], ERR_DENIED);
    assert_true(people_has_admin(b.people));
    assert_int_equal(settle(people_remove(b.people, SV("cat"), &me, on_done, NULL, &e), &e), ERR_DENIED);
    again();
    assert_true(people_has_admin(b.people) && !people_find(b.people, SV("ann")));
    finish();
}

static void sessions_end_with_their_time_and_their_number(void **state) {
    char secrets[SESSIONS_PER_PERSON + 1][SESSION_SECRET + 1];
    (void)state;
    begin();
    for (int i = 0; i <= SESSIONS_PER_PERSON; i++) {
        assert_int_equal(sign_in("cat", PASS, "192.0.2.3"), ERR_NONE);
        memcpy(secrets[i], b.secret, sizeof b.secret);
    }
    assert_false(opens(secrets[0])); /* it made room */
    assert_true(opens(secrets[1]) && opens(secrets[SESSIONS_PER_PERSON]));
    b.settings.session_idle_ms = 1; /* as if an hour had passed */
    people_set(b.people, &b.settings);
    usleep(3000);
    assert_false(opens(secrets[SESSIONS_PER_PERSON]));
    b.settings = (struct people_settings){ 1, 3600000 };
    people_set(b.people, &b.settings);
    assert_false(opens(secrets[1]));
    finish();
}

static void a_clock_that_is_set_ends_no_session_early_and_none_goes_on_for_a_year(void **state) {
    (void)state;
    begin();
    assert_int_equal(sign_in("cat", PASS, "192.0.2.3"), ERR_NONE);
    clock_wall_shift(-3600000);
    assert_true(opens(b.secret) && at_gateway(b.secret));
    clock_wall_shift(0);
    assert_true(opens(b.secret));
    clock_wall_shift(INT64_C(366) * 86400000);
    assert_false(opens(b.secret) || at_gateway(b.secret));
    clock_wall_shift(0);
    finish();
}

static void the_setup_token_works_once_and_only_without_an_admin(void **state) {
    char token[SETUP_TOKEN + 1], spare[64];
    struct err e = { 0 };
    (void)state;
    begin();
    assert_false(people_setup_token(b.people, token));
    finish();
    snprintf(spare, sizeof spare, "%s", file);
    snprintf(file, sizeof file, "%s/other.db", dir);
    begin();
    assert_true(people_setup_token(b.people, token));
    assert_int_equal(settle(people_setup(b.people, SV("wrong"), SV("dan"), PASS, SV("127.0.0.1"), SV(""), on_done, NULL, &e), &e), ERR_DENIED);
    assert_int_equal(settle(people_setup(b.people, sv_of(token), SV("dan"), SV("short"), SV("127.0.0.1"), SV(""), on_done, NULL, &e), &e), ERR_BAD_REQUEST);
    assert_int_equal(settle(people_setup(b.people, sv_of(token), SV("-dan"), PASS, SV("127.0.0.1"), SV(""), on_done, NULL, &e), &e), ERR_BAD_REQUEST);
    assert_int_equal(settle(people_setup(b.people, sv_of(token), SV("dan"), PASS, SV("127.0.0.1"), SV(""), on_done, NULL, &e), &e), ERR_NONE);
    assert_true(opens(b.secret) && people_has_admin(b.people));
    assert_int_equal(settle(people_setup(b.people, sv_of(token), SV("eve"), PASS, SV("127.0.0.1"), SV(""), on_done, NULL, &e), &e), ERR_DENIED);
    finish();
    snprintf(file, sizeof file, "%s", spare);
}

static void guesses_get_slow_by_name_and_by_address_and_never_for_good(void **state) {
    struct tries *t = calloc(1, sizeof *t);
    struct err e = { 0 };
    uint64_t now = 1000000;
    unsigned allowed = 0;
    (void)state;
    t->secret = 42;
    for (unsigned i = 0; i < 100; i++, now += 10)
        if (tries_may(t, SV("198.51.100.1"), SV("ann"), now, &e)) {
            allowed++;
            tries_begin(t, SV("198.51.100.1"), SV("ann"), now);
        }
    assert_in_range(allowed, 5, 8);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_in_range(e.retry_after_s, 1, 30);
    assert_true(tries_may(t, SV("198.51.100.2"), SV("bob"), now, &e));
    assert_false(tries_may(t, SV("198.51.100.2"), SV("ann"), now, &e)); /* the name is slow from everywhere */
    now += 31000;
    assert_true(tries_may(t, SV("198.51.100.2"), SV("ann"), now, &e)); /* but half a minute at most */
    for (unsigned i = 0; i < 40; i++) { /* one address, many names */
        char name[16];
        snprintf(name, sizeof name, "n%u", i);
        if (tries_may(t, SV("2001:db8:1:2:3::4"), sv_of(name), now, &e))
            tries_begin(t, SV("2001:db8:1:2:3::4"), sv_of(name), now);
    }
    assert_false(tries_may(t, SV("2001:db8:1:2:ffff::1"), SV("fresh"), now, &e)); /* the same /64 */
    assert_true(tries_may(t, SV("2001:db8:1:3::1"), SV("fresh"), now, &e));
    assert_true(tries_may(t, SV("2001:db8:1:2:ffff::1"), SV("fresh"), now + 900001, &e));
    for (unsigned i = 0; i < 40; i++) { /* however the address is written */
        char peer[40], name[16];
        snprintf(peer, sizeof peer, "fd00::%x:%x:%x:%x", i + 1, i, i, i);
        snprintf(name, sizeof name, "m%u", i);
        tries_begin(t, sv_of(peer), sv_of(name), now);
    }
    assert_false(tries_may(t, SV("fd00::aaaa:1:2:3"), SV("other"), now, &e));
    for (unsigned i = 0; i < 100; i++) { /* who knows the passphrase is not slowed */
        assert_true(tries_may(t, SV("198.51.100.77"), SV("gil"), now, &e));
        tries_begin(t, SV("198.51.100.77"), SV("gil"), now);
        tries_passed(t, SV("198.51.100.77"), SV("gil"));
    }
    free(t);
}

static void live_takes_the_key_and_outlives_the_process(void **state) {
    static const struct access_actor page = { { "cat", 3 }, { "192.0.2.3", 9 } };
    struct mode_state now;
    struct err e = { 0 };
    (void)state;
    begin();
    mode_now(b.mode, &now);
    assert_false(now.is_live || now.has_key);
    assert_int_equal(settle(mode_check_key(b.mode, SV("any key at all"), &page, on_mode_done, NULL, &e), &e), ERR_LOCKED);
    assert_int_equal(settle(mode_set_key(b.mode, SV("open sesame"), SV_NULL, &page, on_mode_done, NULL, &e), &e), ERR_NONE);
    assert_int_equal(settle(mode_set_key(b.mode, SV("another one"), SV("wrong wrong"), &page, on_mode_done, NULL, &e), &e), ERR_LOCKED);
    assert_int_equal(settle(mode_set(b.mode, true, SV_NULL, 0, &page, on_mode_done, NULL, &e), &e), ERR_NONE);
    again();
    mode_now(b.mode, &now);
    assert_true(now.is_live && now.has_key && sv_eq(now.by, SV("cat")));
    assert_int_equal(settle(mode_check_key(b.mode, SV("open sesame"), &page, on_mode_done, NULL, &e), &e), ERR_NONE);
    assert_int_equal(settle(mode_set(b.mode, false, SV_NULL, 0, &page, on_mode_done, NULL, &e), &e), ERR_LOCKED);
    assert_int_equal(settle(mode_set(b.mode, false, SV("open sesame"), 0, &page, on_mode_done, NULL, &e), &e), ERR_NONE);
    assert_int_equal(settle(mode_set(b.mode, true, SV_NULL, 0, &page, on_mode_done, NULL, &e), &e), ERR_NONE);
    for (int i = 0; i < 5; i++)
        settle(mode_check_key(b.mode, SV("guess guess"), &page, on_mode_done, NULL, &e), &e);
    assert_int_equal(settle(mode_check_key(b.mode, SV("open sesame"), &page, on_mode_done, NULL, &e), &e), ERR_LIMIT);
    assert_int_equal(settle(mode_set(b.mode, false, SV_NULL, 0, &me, on_mode_done, NULL, &e), &e), ERR_NONE); /* from the socket */
    assert_int_equal(settle(mode_set_key(b.mode, SV_NULL, SV_NULL, &me, on_mode_done, NULL, &e), &e), ERR_NONE);
    mode_now(b.mode, &now);
    assert_false(now.is_live || now.has_key);
    finish();
}

static void an_end_in_the_middle_loses_nobody(void **state) {
    struct err e = { 0 };
    (void)state;
    begin();
    for (int i = 0; i < 20; i++) { /* two run, sixteen wait, the rest are refused */
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        (void)people_sign_in(b.people, sv_of(name), PASS, SV("192.0.2.9"), SV(""), on_done, NULL, &e);
    }
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    finish();
    assert_int_equal(b.n_done, PASSPHRASE_AT_ONCE + PASSPHRASE_WAITING); /* each was told */
}

static void memory_that_is_out_is_an_answer(void **state) {
    struct err e;
    (void)state;
    begin();
    for (long n = 1; n < 60; n++) {
        mem_fail_at(n, 0);
        e = (struct err){ 0 };
        bool accepted = people_add(b.people, SV("fay"), ROLE_VIEWER, PASS, &me, on_done, NULL, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(0, 0);
        enum err_code code = settle(accepted, &e);
        assert_true(code == ERR_NONE || code == ERR_NO_MEMORY || code == ERR_EXISTS);
        if (code == ERR_NONE)
            assert_int_equal(settle(people_remove(b.people, SV("fay"), &me, on_done, NULL, &e), &e), ERR_NONE);
        if (!hit)
            break;
    }
    finish();
}

static void tidy(void) {
    char path[128];
    static const char *const names[] = { "people.db", "other.db" }, *const ends[] = { "", "-wal", "-shm", ".lock" };
    for (size_t i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "%s/%s%s", dir, names[i / 4], ends[i % 4]);
        unlink(path);
    }
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_lives_from_signing_in_to_signing_out),
        cmocka_unit_test(rights_that_change_end_sessions),
        cmocka_unit_test(two_admins_cannot_remove_each_other),
        cmocka_unit_test(sessions_end_with_their_time_and_their_number),
        cmocka_unit_test(a_clock_that_is_set_ends_no_session_early_and_none_goes_on_for_a_year),
        cmocka_unit_test(the_setup_token_works_once_and_only_without_an_admin),
        cmocka_unit_test(guesses_get_slow_by_name_and_by_address_and_never_for_good),
        cmocka_unit_test(live_takes_the_key_and_outlives_the_process),
        cmocka_unit_test(an_end_in_the_middle_loses_nobody),
        cmocka_unit_test(memory_that_is_out_is_an_answer),
    };
    if (sodium_init() < 0 || !mkdtemp(dir))
        return 1;
    snprintf(file, sizeof file, "%s/people.db", dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tidy();
    return rc;
}
