#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>
#include <uv.h>

#include "access/access.h"
#include "access/key.h"

/* --- keys --------------------------------------------------------------------------------------------------------- */

static void a_key_reads_as_it_was_made(void **state) {
    char text[KEY_TEXT + 1], other[KEY_TEXT + 1];
    struct sv id;
    (void)state;
    key_make(text);
    key_make(other);
    assert_int_equal(strlen(text), KEY_TEXT);
    assert_string_not_equal(text, other);
    assert_int_equal(key_read(sv_of(text), &id), KEY_OURS);
    assert_ptr_equal(id.p, text + 7);
    assert_int_equal(id.n, KEY_ID);
    assert_int_equal(key_read((struct sv){ text, KEY_TEXT - 1 }, &id), KEY_DAMAGED);
    assert_int_equal(key_read(SV("sk-drv-"), &id), KEY_DAMAGED);
    assert_int_equal(key_read(SV("sk-proj-abc"), &id), KEY_FOREIGN);
    assert_int_equal(key_read(SV_NULL, &id), KEY_FOREIGN);
    for (size_t i = 7; i < KEY_TEXT; i++) {
        char was = text[i];
        text[i] = was == 'a' ? 'b' : 'a';
        assert_int_equal(key_read(sv_of(text), &id), KEY_DAMAGED);
        text[i] = was;
    }
}

/* --- credentials -------------------------------------------------------------------------------------------------- */

#define H(n, v) { SV(n), SV(v) }

static void one_credential_is_found_wherever_it_stands(void **state) {
    static const struct {
        struct http_header h[3];
        const char *expected; /* NULL: refused */
    } rows[] = {
        { { H("host", "x") }, "" },
        { { H("authorization", "Bearer abc") }, "abc" },
        { { H("authorization", "bearer   abc ") }, "abc" },
        { { H("x-api-key", "abc") }, "abc" },
        { { H("api-key", "abc") }, "abc" },
        { { H("authorization", "Basic dXNlcjphYmM=") }, "abc" },
        { { H("authorization", "Basic OmFiYw==") }, "abc" },
        { { H("authorization", "Bearer abc"), H("x-api-key", "abc"), H("api-key", "abc") }, "abc" },
        { { H("x-api-key", "abc"), H("authorization", "Basic dXNlcjphYmM=") }, "abc" },
        { { H("x-api-key", "") }, "" },
        { { H("authorization", "Bearer abc"), H("x-api-key", "abd") }, NULL },
        { { H("authorization", "Bearer abc"), H("authorization", "Bearer abd") }, NULL },
        { { H("x-api-key", "abd"), H("authorization", "Basic dXNlcjphYmM=") }, NULL },
        { { H("authorization", "Digest abc") }, NULL },
        { { H("authorization", "abc") }, NULL },
        { { H("authorization", "Basic ###") }, NULL },
        { { H("authorization", "Basic YWJj") }, NULL }, /* no colon in it */
        { { H("authorization", "Bearerabc") }, NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_header h[3];
        struct http_head head = { .headers = h };
        char scratch[ACCESS_CREDENTIAL_MAX];
        struct sv got;
        struct err e;
        memcpy(h, rows[i].h, sizeof h);
        while (head.n_headers < 3 && h[head.n_headers].name.n)
            head.n_headers++;
        bool ok = access_credential(&head, scratch, &got, &e);
        assert_int_equal(ok, rows[i].expected != NULL);
        if (ok)
            assert_true(sv_eq(got, sv_of(rows[i].expected)));
        else
            assert_int_equal(e.code, ERR_BAD_REQUEST);
    }
}

static void a_long_basic_password_does_not_fit_and_is_refused(void **state) {
    char text[4096] = "Basic ", scratch[ACCESS_CREDENTIAL_MAX];
    struct http_header h = { SV("authorization"), SV_NULL };
    struct http_head head = { .headers = &h, .n_headers = 1 };
    struct sv got;
    struct err e;
    (void)state;
    memset(text + 6, 'A', sizeof text - 6);
    h.value = (struct sv){ text, sizeof text };
    assert_false(access_credential(&head, scratch, &got, &e));
}

/* --- who it is ---------------------------------------------------------------------------------------------------- */

static struct sv all[] = { { "*", 1 } };

static struct access_key key_of(const char *text, struct access_cell *cell) {
    struct access_key k = { .name = SV("ci"), .enabled = true, .models = all, .n_models = 1, .endpoints = all, .n_endpoints = 1, .cell = cell };
    assert_int_equal(key_read(sv_of(text), &k.id), KEY_OURS);
    key_hash(sv_of(text), k.hash);
    return k;
}

static void identify(const struct access_snapshot *s, const char *text, const char *peer, enum err_code expected) {
    struct err e = { 0 };
    const struct access_key *k = access_identify(s, sv_of(text), 5000, sv_of(peer), &e);
    assert_int_equal(k == NULL, expected != ERR_NONE);
    assert_int_equal(e.code, expected);
}

static void a_key_opens_only_as_it_is_allowed(void **state) {
    struct access_network nets[] = { { { [10] = 0xff, 0xff, 10, 1 }, 112 }, { { 0x20, 0x01, 0x0d, 0xb8 }, 33 } };
    char good[KEY_TEXT + 1], off[KEY_TEXT + 1], old[KEY_TEXT + 1], near[KEY_TEXT + 1], gone[KEY_TEXT + 1], forged[KEY_TEXT + 1];
    struct access_cell *cell = access_cell_new();
    (void)state;
    key_make(good), key_make(off), key_make(old), key_make(near), key_make(gone);
    struct access_key keys[] = { key_of(good, cell), key_of(off, cell), key_of(old, cell), key_of(near, cell) };
    keys[1].enabled = false;
    keys[2].expires_ms = 5000;
    keys[3].networks = nets;
    keys[3].n_networks = 2;
    struct access_snapshot *s = access_snapshot_new((struct access_keys){ keys, 4 }, (struct access_keys){ 0 }, 1);
    assert_non_null(s);
    identify(s, good, "192.0.2.1", ERR_NONE);
    identify(s, off, "192.0.2.1", ERR_AUTH);
    identify(s, old, "192.0.2.1", ERR_AUTH);
    identify(s, gone, "192.0.2.1", ERR_AUTH);
    identify(s, "", "192.0.2.1", ERR_AUTH);
    identify(s, "sk-other", "192.0.2.1", ERR_AUTH);
    identify(NULL, good, "192.0.2.1", ERR_AUTH);
    for (int tries = 0; tries < 50; tries++) { /* the right id with another secret */
        key_make(forged);
        memcpy(forged + 7, good + 7, KEY_ID);
        identify(s, forged, "192.0.2.1", ERR_AUTH);
    }
    identify(s, near, "10.1.255.9", ERR_NONE);
    identify(s, near, "10.2.0.1", ERR_DENIED);
    identify(s, near, "2001:db8:7fff::1", ERR_NONE);
    identify(s, near, "2001:db8:8000::1", ERR_DENIED);
    identify(s, near, "unix", ERR_DENIED);
    access_snapshot_unref(s);
    access_cell_unref(cell);
}

static void an_empty_list_allows_nothing(void **state) {
    struct sv some[] = { SV("coder"), SV("qwen*") };
    struct access_key k = { .models = some, .n_models = 2 };
    (void)state;
    assert_true(access_may_use_model(&k, SV("coder")));
    assert_true(access_may_use_model(&k, SV("qwen3:8b")));
    assert_false(access_may_use_model(&k, SV("coder2")));
    assert_false(access_may_use_endpoint(&k, SV("big")));
    assert_true(access_may_use_model(NULL, SV("x")));
    k.n_models = 0;
    assert_false(access_may_use_model(&k, SV("coder")));
}

static void a_snapshot_survives_the_loss_of_memory(void **state) {
    char text[KEY_TEXT + 1];
    struct access_cell *cell = access_cell_new();
    (void)state;
    key_make(text);
    struct access_key k = key_of(text, cell);
    int hit = 1;
    for (long n = 1; hit; n++) {
        mem_fail_at(n, 0);
        struct access_snapshot *s = access_snapshot_new((struct access_keys){ &k, 1 }, (struct access_keys){ 0 }, 1);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_int_equal(s == NULL, hit);
        access_snapshot_unref(s);
    }
    assert_int_equal(atomic_load(&cell->refs), 1);
    access_cell_unref(cell);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static struct access_cell *cell;
static int set_up(void **state) {
    (void)state;
    cell = access_cell_new();
    return cell ? 0 : -1;
}
static int take_down(void **state) {
    (void)state;
    assert_int_equal(atomic_load(&cell->refs), 1);
    assert_int_equal(atomic_load(&cell->in_flight), 0);
    access_cell_unref(cell);
    return 0;
}

static bool once(const struct access_key *k, uint64_t now_us, struct err *e) {
    struct access_hold h;
    bool ok = access_begin(&h, k, now_us, 1, e);
    access_end(&h);
    return ok;
}

static void the_rate_of_requests_has_a_burst_and_comes_back(void **state) {
    struct access_key k = { .cell = cell, .limits = { .requests_per_min = 600, .requests_burst = 20 } };
    struct err e;
    uint64_t now = 1000000;
    (void)state;
    for (int i = 0; i < 20; i++)
        assert_true(once(&k, now, &e));
    assert_false(once(&k, now, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    assert_int_equal(e.retry_after_s, 1);
    assert_false(once(&k, now + 99999, &e));
    assert_true(once(&k, now + 100000, &e));
    unsigned n = 0;
    for (uint64_t t = now; t < now + 60000000; t += 1000)
        n += once(&k, t, &e);
    assert_in_range(n, 598, 600);
}

static void as_many_at_one_time_as_allowed(void **state) {
    struct access_key k = { .cell = cell, .limits = { .concurrent = 2 } };
    struct access_hold a, b, c;
    struct err e;
    (void)state;
    assert_true(access_begin(&a, &k, 1, 1, &e));
    assert_true(access_begin(&b, &k, 1, 1, &e));
    assert_false(access_begin(&c, &k, 1, 1, &e));
    access_end(&c);
    access_end(&a);
    access_end(&a);
    assert_true(access_begin(&c, &k, 1, 1, &e));
    access_end(&c);
    access_end(&b);
    atomic_store(&cell->revoked, 1);
    assert_false(access_begin(&c, &k, 1, 1, &e));
    assert_int_equal(e.code, ERR_AUTH);
}

static void tokens_are_taken_before_and_settled_after(void **state) {
    struct access_key k = { .cell = cell, .limits = { .tokens_per_min = 60000 } };
    struct access_hold a, b;
    struct access_room room;
    struct err e;
    (void)state;
    assert_true(access_begin(&a, &k, 0, 1, &e));
    assert_true(access_begin(&b, &k, 0, 1, &e));
    assert_int_equal(access_reserve(&a, 50000, 0, 0, &e), ACCESS_RESERVED);
    assert_int_equal(access_reserve(&b, 20000, 0, 0, &e), ACCESS_REFUSED);
    assert_int_equal(e.retry_after_s, 10);
    access_settle(&a, 1000, 0);
    access_room(&a, 0, &room);
    assert_int_equal(room.tokens_limit, 60000);
    assert_int_equal(room.tokens_left, 59000);
    assert_int_equal(room.tokens_reset_ms, 1000);
    assert_int_equal(access_reserve(&b, 20000, 0, 0, &e), ACCESS_RESERVED);
    access_settle(&b, 80000, 0); /* it took more than it said: who comes next waits for it */
    access_end(&a);
    assert_true(access_begin(&a, &k, 0, 1, &e));
    assert_int_equal(access_reserve(&a, 1, 0, 0, &e), ACCESS_REFUSED);
    assert_int_equal(access_reserve(&a, 1000000, 0, 81000000, &e), ACCESS_RESERVED); /* more than a minute's worth: the whole minute */
    access_end(&a); /* never settled: given back */
    access_room(&b, 81000000, &room);
    assert_int_equal(room.tokens_left, 60000);
    access_end(&b);
}

static void a_budget_is_never_overspent(void **state) {
    struct access_key k = { .cell = cell, .limits = { .budget = { [ACCESS_TOKENS] = { [ACCESS_DAY] = 1000, [ACCESS_MONTH] = 5000 } } } };
    struct access_purse *day = &cell->purse[ACCESS_TOKENS][ACCESS_DAY], *month = &cell->purse[ACCESS_TOKENS][ACCESS_MONTH];
    struct access_hold a, b;
    struct err e;
    (void)state;
    atomic_store(&day->left, 1000);
    assert_true(access_begin(&a, &k, 0, 1, &e));
    assert_true(access_begin(&b, &k, 0, 1, &e));
    assert_int_equal(access_reserve(&a, 600, 0, 0, &e), ACCESS_LATER); /* nothing is leased for the month yet */
    assert_int_equal(atomic_load(&month->wanted), 600);
    assert_int_equal(atomic_load(&day->left), 1000);
    atomic_store(&month->left, 1000);
    assert_int_equal(access_reserve(&a, 600, 7, 0, &e), ACCESS_RESERVED);
    atomic_store(&day->spent, true);
    assert_int_equal(access_reserve(&b, 600, 0, 0, &e), ACCESS_REFUSED);
    assert_int_equal(e.code, ERR_BUDGET);
    assert_non_null(strstr(e.text, "400 tokens left today (of 1000)"));
    assert_int_equal(atomic_load(&month->left), 400);
    access_settle(&a, 100, 0);
    assert_int_equal(atomic_load(&day->left), 900);
    assert_int_equal(access_reserve(&b, 600, 0, 0, &e), ACCESS_RESERVED);
    atomic_fetch_add(&cell->span_no[ACCESS_DAY], 1); /* midnight */
    atomic_store(&day->left, 1000);
    access_end(&b);
    assert_int_equal(atomic_load(&day->left), 1000); /* what belonged to yesterday stays there */
    assert_int_equal(atomic_load(&month->left), 900);
    access_end(&a);
}

static void money_is_taken_beside_tokens(void **state) {
    struct access_key k = { .cell = cell, .limits = { .budget = { [ACCESS_TOKENS] = { [ACCESS_DAY] = 1000 }, [ACCESS_MONEY] = { [ACCESS_MONTH] = 2500000 } } } };
    struct access_purse *tokens = &cell->purse[ACCESS_TOKENS][ACCESS_DAY], *money = &cell->purse[ACCESS_MONEY][ACCESS_MONTH];
    struct access_hold h;
    struct err e;
    (void)state;
    assert_true(access_has_money_budget(&k));
    assert_false(access_has_money_budget(NULL));
    atomic_store(&tokens->left, 1000);
    atomic_store(&money->left, 2500000);
    atomic_store(&money->spent, true);
    assert_true(access_begin(&h, &k, 0, 1, &e));
    assert_int_equal(access_reserve(&h, 100, 2500001, 0, &e), ACCESS_REFUSED);
    assert_non_null(strstr(e.text, "budget of money has 2.5 left this month (of 2.5), and this request may take 2.500001"));
    assert_int_equal(atomic_load(&tokens->left), 1000); /* all or nothing */
    assert_int_equal(access_reserve(&h, 100, 1000000, 0, &e), ACCESS_RESERVED);
    assert_int_equal(access_extend(&h, 50, 900000, &e), ACCESS_RESERVED); /* it has that already */
    assert_int_equal(atomic_load(&money->left), 1500000);
    assert_int_equal(access_extend(&h, 300, 2000000, &e), ACCESS_RESERVED);
    assert_int_equal(atomic_load(&tokens->left), 700);
    assert_int_equal(atomic_load(&money->left), 500000);
    assert_int_equal(access_extend(&h, 400, 9000000, &e), ACCESS_REFUSED);
    assert_int_equal(atomic_load(&tokens->left), 700);
    access_settle(&h, 250, 2600000); /* it cost more than there is: that is owed */
    assert_int_equal(atomic_load(&tokens->left), 750);
    assert_int_equal(atomic_load(&money->left), -100000);
    access_end(&h);
    assert_true(access_begin(&h, &k, 0, 1, &e));
    assert_int_equal(access_reserve(&h, 100, 1, 0, &e), ACCESS_REFUSED);
    assert_int_equal(access_reserve(&h, 100, 0, 0, &e), ACCESS_RESERVED); /* what costs nothing needs no money */
    access_end(&h);
}

enum { THREADS = 4, ROUNDS = 20000 };
static _Atomic int64_t spent;
static struct access_key crowd_key;

static void crowd(void *arg) {
    uint64_t seed = (uintptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct access_hold h;
        struct err e;
        if (!access_begin(&h, &crowd_key, 0, 1, &e))
            continue;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int64_t want = 1 + (int64_t)(seed >> 60), used = want / 2;
        if (access_reserve(&h, want, 0, 0, &e) == ACCESS_RESERVED && i % 3) {
            access_settle(&h, used, 0);
            atomic_fetch_add(&spent, used);
        }
        access_end(&h);
    }
}

static void limits_hold_over_all_threads(void **state) {
    uv_thread_t threads[THREADS];
    struct access_purse *day = &cell->purse[ACCESS_TOKENS][ACCESS_DAY];
    (void)state;
    crowd_key = (struct access_key){ .cell = cell, .limits = { .concurrent = 3, .budget = { [ACCESS_TOKENS] = { 100000, 0 } } } };
    atomic_store(&day->left, 100000);
    atomic_store(&day->spent, true);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(uv_thread_create(&threads[i], crowd, (void *)(i + 1)), 0);
    for (size_t i = 0; i < THREADS; i++)
        uv_thread_join(&threads[i]);
    assert_int_equal(atomic_load(&spent) + atomic_load(&day->left), 100000);
    assert_true(atomic_load(&day->left) >= 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_reads_as_it_was_made),
        cmocka_unit_test(one_credential_is_found_wherever_it_stands),
        cmocka_unit_test(a_long_basic_password_does_not_fit_and_is_refused),
        cmocka_unit_test(a_key_opens_only_as_it_is_allowed),
        cmocka_unit_test(an_empty_list_allows_nothing),
        cmocka_unit_test(a_snapshot_survives_the_loss_of_memory),
        cmocka_unit_test_setup_teardown(the_rate_of_requests_has_a_burst_and_comes_back, set_up, take_down),
        cmocka_unit_test_setup_teardown(as_many_at_one_time_as_allowed, set_up, take_down),
        cmocka_unit_test_setup_teardown(tokens_are_taken_before_and_settled_after, set_up, take_down),
        cmocka_unit_test_setup_teardown(a_budget_is_never_overspent, set_up, take_down),
        cmocka_unit_test_setup_teardown(money_is_taken_beside_tokens, set_up, take_down),
        cmocka_unit_test_setup_teardown(limits_hold_over_all_threads, set_up, take_down),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
