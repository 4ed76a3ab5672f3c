/* What a node remembers: whole or not at all, whatever is in the way. */
#include "hub/member_state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/clock.h"
#include "pki/try.h"

static char home[64], dir[128], ca_dir[64];
static struct pki_ca *ca;
static struct try_leaf leaf[2];

#define BEARER_A "drst_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BEARER_B "drst_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define JOINER "drjt_cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static int begin(void **state) {
    (void)state;
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    try_dir(ca_dir);
    ca = try_ca(ca_dir, now_s, PKI_P256);
    for (unsigned i = 0; i < 2; i++)
        leaf[i] = try_leaf(ca, PKI_NODE, "attic-1", PKI_USE_CLIENT, PKI_P256, now_s);
    return 0;
}

static int end(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++)
        try_drop(&leaf[i]);
    pki_ca_free(ca);
    try_remove(ca_dir);
    return 0;
}

static int fresh(void **state) {
    (void)state;
    try_dir(home);
    snprintf(dir, sizeof dir, "%s/join", home);
    return 0;
}

static int clear(void **state) {
    (void)state;
    try_remove(home);
    return 0;
}

static struct member_state whole(void) {
    struct member_state s = { .fleet = "fleet",
                              .hub_id = "hub",
                              .node_id = "attic-1",
                              .name = "attic",
                              .mode = "direct",
                              .called_at = "https://attic.example:7444",
                              .boot_count = 7,
                              .last_epoch = 41,
                              .renew_grace_s = 2592000,
                              .token = BEARER_A,
                              .pair = { .chain = BUF_MAX(PKI_PEM_MAX), .key = BUF_MAX(PKI_PEM_MAX) },
                              .trust = { .sequence = 3, .pem = BUF_MAX(PKI_PEM_MAX) } };
    member_urls_add(&s.urls, SV("https://10.0.0.1:7443"));
    member_urls_add(&s.urls, SV("https://[fd00::1]:7443"));
    member_urls_add(&s.urls, SV("https://10.0.0.1:7443"));
    assert_true(buf_add(&s.pair.chain, buf_sv(&leaf[0].chain)) && buf_add(&s.pair.key, buf_sv(&leaf[0].key)) &&
                buf_add(&s.trust.pem, pki_ca_pem(ca)));
    return s;
}

static void adopt(void) {
    struct member_state s = whole();
    struct err e = { 0 };
    if (!member_state_adopt(dir, &s, &e))
        fail_msg("%s", e.text);
    member_state_deinit(&s);
}

static void expect(enum err_code code, const char *token, unsigned leaf_i) {
    struct member_state s;
    struct err e = { 0 };
    bool ok = member_state_load(dir, &s, &e);
    assert_int_equal(ok ? ERR_NONE : e.code, code);
    if (ok) {
        assert_string_equal(s.token, token);
        assert_true(sv_eq(buf_sv(&s.pair.chain), buf_sv(&leaf[leaf_i].chain)));
    }
    member_state_deinit(&s);
}

static void put_file(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, 0600);
}

static void a_membership_is_read_as_it_was_written(void **state) {
    struct member_state s;
    struct err e = { 0 };
    struct stat st;
    (void)state;
    expect(ERR_NOT_FOUND, NULL, 0);
    adopt();
    assert_true(member_state_load(dir, &s, &e));
    assert_string_equal(s.fleet, "fleet");
    assert_string_equal(s.hub_id, "hub");
    assert_string_equal(s.name, "attic");
    assert_string_equal(s.mode, "direct");
    assert_string_equal(s.called_at, "https://attic.example:7444");
    assert_int_equal(s.urls.n, 2);
    assert_string_equal(s.urls.v[1], "https://[fd00::1]:7443");
    assert_int_equal(s.boot_count, 7);
    assert_int_equal(s.last_epoch, 41);
    assert_int_equal(s.trust.sequence, 3);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    s.boot_count = 8;
    assert_true(member_state_note(dir, &s, &e));
    member_state_deinit(&s);
    assert_true(member_state_load(dir, &s, &e));
    assert_int_equal(s.boot_count, 8);
    member_state_deinit(&s);
}

static void damage_is_told_from_absence(void **state) {
    static const char *const members[] = {
        "",
        "{",
        "[]",
        "{\"v\":2}",
        "{\"v\":1}",
        "{\"v\":1,\"fleet\":\"fleet\",\"hub_id\":\"hub\",\"node_id\":\"../x\",\"name\":\"n\",\"urls\":[\"https://h\"]}",
        "{\"v\":1,\"fleet\":\"fleet\",\"hub_id\":\"hub\",\"node_id\":\"n1\",\"name\":\"n\",\"urls\":[]}"
    };
    static const char *const files[] = { "token", "pair/current", "fleet/trust.pem" };
    char path[256];
    (void)state;
    for (unsigned i = 0; i < sizeof members / sizeof *members; i++) {
        adopt();
        put_file("member.json", members[i]);
        expect(ERR_CONFIG, NULL, 0);
    }
    adopt();
    put_file("token", "drst_short");
    expect(ERR_CONFIG, NULL, 0);
    for (unsigned i = 0; i < 3; i++) {
        adopt();
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        assert_int_equal(unlink(path), 0);
        if (i != 1) /* a lost `current` is mended by the newest generation */
            expect(ERR_CONFIG, NULL, 0);
        else
            expect(ERR_NONE, BEARER_A, 0);
    }
    adopt();
    snprintf(path, sizeof path, "%s/token", dir);
    chmod(path, 0644);
    expect(ERR_CONFIG, NULL, 0);
}

/* In a child that may write no file of more than n bytes, as on a full disk; false: it noticed. */
static bool with_little_room(rlim_t n, bool (*act)(void)) {
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit small = { n, n };
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &small);
        _exit(act() ? 0 : 7);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 7));
    return WEXITSTATUS(status) == 0;
}

static bool adopt_again(void) {
    struct member_state s = whole();
    struct err e;
    return member_state_adopt(dir, &s, &e);
}

static bool renew(void) {
    struct member_state s;
    struct err e;
    return member_state_load(dir, &s, &e) &&
           member_state_renew(dir, &s, buf_sv(&leaf[1].chain), buf_sv(&leaf[1].key), BEARER_B, &e);
}

static void a_disk_without_room_leaves_no_half_membership(void **state) {
    (void)state;
    for (rlim_t n = 0; n < 3000; n += 60) {
        bool ok = with_little_room(n, adopt_again);
        expect(ok ? ERR_NONE : ERR_NOT_FOUND, BEARER_A, 0);
        struct err e = { 0 };
        assert_true(member_forget(dir, &e));
    }
    expect(ERR_NOT_FOUND, NULL, 0);
}

static void a_renewal_that_finds_no_room_leaves_the_old_certificate(void **state) {
    bool any[2] = { false, false };
    (void)state;
    for (rlim_t n = 0; n < 3000; n += 60) {
        adopt();
        bool ok = with_little_room(n, renew);
        any[ok] = true;
        expect(ERR_NONE, ok ? BEARER_B : BEARER_A, ok ? 1 : 0);
    }
    assert_true(any[0] && any[1]);
}

static void a_crash_between_pair_and_bearer_leaves_both_usable(void **state) {
    struct err e = { 0 };
    char where[256];
    unsigned generation;
    (void)state;
    adopt();
    snprintf(where, sizeof where, "%s/pair", dir);
    assert_true(pki_pair_store(where, buf_sv(&leaf[1].chain), buf_sv(&leaf[1].key), &generation, &e));
    expect(ERR_NONE, BEARER_A, 1);
}

static void a_wish_keeps_its_key(void **state) {
    struct member_wish w = { .has_pin = true, .token = JOINER, .name = "attic", .expires_s = 1234567890 }, again;
    struct err e = { 0 };
    (void)state;
    memset(w.pin, 0x5a, sizeof w.pin);
    member_urls_add(&w.urls, SV("https://hub.example:7443"));
    assert_false(member_wish_load(dir, &again, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    member_wish_deinit(&again);
    assert_true(member_wish_store(dir, &w, &e));
    assert_true(member_wish_load(dir, &again, &e));
    assert_true(sv_eq(buf_sv(&w.key), buf_sv(&again.key)) && again.key.n > 100);
    assert_memory_equal(w.pin, again.pin, sizeof w.pin);
    assert_string_equal(again.token, JOINER);
    assert_string_equal(again.urls.v[0], "https://hub.example:7443");
    assert_true(member_wish_store(dir, &again, &e));
    member_wish_deinit(&again);
    put_file("wish.json", "{\"v\":1,\"pin\":\"sha256:zz\",\"token\":\"\",\"name\":\"\",\"urls\":[\"https://h\"]}");
    assert_false(member_wish_load(dir, &again, &e));
    assert_int_equal(e.code, ERR_CONFIG);
    member_wish_deinit(&again);
    assert_true(member_wish_remove(dir, &e) && member_wish_remove(dir, &e));
    assert_false(member_wish_load(dir, &again, &e));
    member_wish_deinit(&again);
    member_wish_deinit(&w);
}

static void who_left_is_nobody(void **state) {
    struct err e = { 0 };
    struct stat st;
    (void)state;
    assert_true(member_forget(dir, &e));
    adopt();
    assert_true(member_forget(dir, &e));
    assert_int_not_equal(stat(dir, &st), 0);
    expect(ERR_NOT_FOUND, NULL, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, clear)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_membership_is_read_as_it_was_written),
        TEST(damage_is_told_from_absence),
        TEST(a_disk_without_room_leaves_no_half_membership),
        TEST(a_renewal_that_finds_no_room_leaves_the_old_certificate),
        TEST(a_crash_between_pair_and_bearer_leaves_both_usable),
        TEST(a_wish_keeps_its_key),
        TEST(who_left_is_nobody),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
