/* What lies on the disk: modes, the own pair in generations, the bundle of roots, the stages of a rotation; and what is left after a crash
 * or on a full disk. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "pki/room.h"
#include "pki/try.h"

static char dir[64], hub[128];
static struct pki_ca *ca;

static int begin(void **state) {
    (void)state;
    try_dir(dir);
    snprintf(hub, sizeof hub, "%s/hub", dir);
    ca = try_ca(dir, NOW, PKI_P256);
    return 0;
}

static int end(void **state) {
    (void)state;
    ca = pki_ca_free(ca);
    try_remove(dir);
    return 0;
}

static mode_t mode_of(const char *path) {
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static const char *under(const char *name) {
    static char path[4][PKI_PATH];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, PKI_PATH, "%s/%s", dir, name);
    return p;
}

/* --- modes ------------------------------------------------------------------------------------------------------------------------ */

static void keys_are_private_and_anything_else_is_refused_with_the_way_out(void **state) {
    (void)state;
    struct err e = { 0 };
    assert_int_equal(mode_of(under("fleet")), 0700);
    assert_int_equal(mode_of(under("fleet/ca-2026-1.key")), 0600);
    assert_int_equal(mode_of(under("fleet/ca-2026-1.crt")), 0644);
    assert_int_equal(mode_of(under("fleet/trust.pem")), 0644);
    static const struct {
        const char *path;
        mode_t wrong, right;
        const char *words;
    } files[] = {
        { "fleet/ca-2026-1.key", 0640, 0600, "chmod 600" }, { "fleet/ca-2026-1.key", 0604, 0600, "chmod 600" },
        { "fleet/ca-2026-1.crt", 0664, 0644, "chmod 644" }, { "fleet/trust.pem", 0666, 0644, "chmod 644" },
        { "fleet", 0770, 0700, "chmod 700" }, { "", 0702, 0700, "chmod 700" },
    };
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        assert_int_equal(chmod(under(files[i].path), files[i].wrong), 0);
        assert_null(pki_ca_load(dir, "ca-2026-1", SV_NULL, &e));
        assert_int_equal(e.code, ERR_CONFIG);
        if (!strstr(e.text, files[i].words))
            fail_msg("%s", e.text);
        assert_int_equal(chmod(under(files[i].path), files[i].right), 0);
    }
    assert_int_equal(rename(under("fleet/ca-2026-1.key"), under("elsewhere")), 0);
    assert_int_equal(symlink(under("elsewhere"), under("fleet/ca-2026-1.key")), 0);
    assert_null(pki_ca_load(dir, "ca-2026-1", SV_NULL, &e));
    assert_non_null(strstr(e.text, "symbolic link"));
    assert_int_equal(rename(under("elsewhere"), under("fleet/ca-2026-1.key")), 0);
    assert_int_equal(rename(under("fleet"), under("real")), 0);
    assert_int_equal(symlink(under("real"), under("fleet")), 0);
    assert_null(pki_ca_load(dir, "ca-2026-1", SV_NULL, &e));
    assert_non_null(strstr(e.text, "no directory"));
    assert_int_equal(unlink(under("fleet")), 0);
    assert_int_equal(rename(under("real"), under("fleet")), 0);
    assert_int_equal(rename(under("fleet/ca-2026-1.key"), under("elsewhere")), 0);
    assert_int_equal(mkfifo(under("fleet/ca-2026-1.key"), 0600), 0); /* must not wait for a writer */
    assert_null(pki_ca_load(dir, "ca-2026-1", SV_NULL, &e));
    assert_non_null(strstr(e.text, "no plain file"));
    assert_int_equal(rename(under("elsewhere"), under("fleet/ca-2026-1.key")), 0);
    struct pki_ca *again = pki_ca_load(dir, "ca-2026-1", SV_NULL, &e);
    assert_non_null(again);
    pki_ca_free(again);
}

/* --- the own pair ------------------------------------------------------------------------------------------------------------------ */

static void stores(const char *id, unsigned generation) {
    struct err e = { 0 };
    unsigned n = 0;
    struct try_leaf l = try_leaf(ca, PKI_HUB, id, PKI_USE_SERVER | PKI_USE_CLIENT, PKI_P256, NOW);
    if (!pki_pair_store(hub, buf_sv(&l.chain), buf_sv(&l.key), &n, &e))
        fail_msg("%s", e.text);
    assert_int_equal(n, generation);
    try_drop(&l);
}

static void loads(const char *id, unsigned generation, bool is_fallback) {
    struct err e = { 0 };
    struct pki_pair p;
    if (!pki_pair_load(hub, &p, &e))
        fail_msg("%s", e.text);
    assert_string_equal(p.cert.subject, id);
    assert_int_equal(p.generation, generation);
    assert_int_equal(p.is_fallback, is_fallback);
    assert_true(!is_fallback || p.why.text[0]);
    assert_true(pki_pair_check(buf_sv(&p.chain), buf_sv(&p.key), &e));
    pki_pair_deinit(&p);
}

static void the_pair_is_stored_beside_the_old_one_and_two_are_kept(void **state) {
    (void)state;
    struct err e = { 0 };
    struct pki_pair p;
    assert_false(pki_pair_load(hub, &p, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    pki_pair_deinit(&p);
    stores("one", 1);
    loads("one", 1, false);
    stores("two", 2);
    stores("three", 3);
    loads("three", 3, false);
    assert_int_equal(access(under("hub/gen-1"), F_OK), -1);
    assert_int_equal(access(under("hub/gen-2"), F_OK), 0);
    assert_int_equal(mode_of(under("hub/gen-3")), 0700);
    assert_int_equal(mode_of(under("hub/gen-3/key.pem")), 0600);
    struct try_leaf a = try_leaf(ca, PKI_HUB, "a", PKI_USE_SERVER, PKI_P256, NOW),
                    b = try_leaf(ca, PKI_HUB, "b", PKI_USE_SERVER, PKI_P256, NOW);
    unsigned n;
    assert_false(pki_pair_store(hub, buf_sv(&a.chain), buf_sv(&b.key), &n, &e)); /* not of each other */
    assert_non_null(strstr(e.text, "does not belong"));
    try_drop(&a);
    try_drop(&b);
    loads("three", 3, false);
}

static void a_damaged_pair_gives_way_to_the_one_before(void **state) {
    (void)state;
    static const struct {
        const char *path, *text;
        mode_t mode;
    } damages[] = {
        { "hub/gen-3/key.pem", "nonsense", 0600 }, { "hub/gen-3/key.pem", "", 0600 }, { "hub/gen-3/chain.pem", "", 0644 },
        { "hub/gen-3/key.pem", NULL, 0644 }, { "hub/current", "", 0644 }, { "hub/current", "9\n", 0644 }, { "hub/current", "x\n", 0644 },
    };
    for (unsigned i = 0; i < sizeof damages / sizeof *damages; i++) {
        char *was = try_file(under(damages[i].path));
        mode_t mode = mode_of(under(damages[i].path));
        try_write(under(damages[i].path), damages[i].text ? damages[i].text : was, damages[i].mode);
        bool lost_current = strstr(damages[i].path, "current") != NULL; /* then the newest whole one is it */
        loads(lost_current ? "three" : "two", lost_current ? 3 : 2, true);
        try_write(under(damages[i].path), was, mode);
        free(was);
    }
    loads("three", 3, false);
}

static void a_pair_that_was_lost_is_no_pair_that_never_was(void **state) {
    (void)state;
    struct err e = { 0 };
    struct pki_pair p;
    char deep[128];
    snprintf(deep, sizeof deep, "%s/a/b/node", dir); /* with what lies above it */
    struct try_leaf l = try_leaf(ca, PKI_NODE, "n1", PKI_USE_CLIENT, PKI_ED25519, NOW);
    unsigned n;
    assert_true(pki_pair_store(deep, buf_sv(&l.chain), buf_sv(&l.key), &n, &e));
    assert_int_equal(mode_of(under("a")), 0700);
    assert_int_equal(unlink(under("a/b/node/gen-1/key.pem")), 0);
    assert_false(pki_pair_load(deep, &p, &e));
    assert_int_equal(e.code, ERR_CONFIG);
    pki_pair_deinit(&p);
    assert_int_equal(unlink(under("a/b/node/current")), 0); /* as if the first store had been cut off */
    assert_false(pki_pair_load(deep, &p, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    pki_pair_deinit(&p);
    assert_true(pki_pair_store(deep, buf_sv(&l.chain), buf_sv(&l.key), &n, &e));
    assert_int_equal(n, 2);
    assert_int_equal(chmod(under("a/b/node"), 0720), 0);
    assert_false(pki_pair_load(deep, &p, &e));
    assert_int_equal(e.code, ERR_CONFIG);
    pki_pair_deinit(&p);
    try_drop(&l);
}

static void a_crash_between_any_two_steps_leaves_the_old_pair_and_the_next_store_goes_on(void **state) {
    (void)state;
    struct try_leaf l = try_leaf(ca, PKI_HUB, "half", PKI_USE_SERVER, PKI_P256, NOW);
    assert_int_equal(mkdir(under("hub/gen-4"), 0700), 0);
    loads("three", 3, false);
    try_write(under("hub/gen-4/key.pem.new"), "half a k", 0600);
    loads("three", 3, false);
    try_write(under("hub/gen-4/key.pem"), try_text(buf_sv(&l.key)), 0600);
    loads("three", 3, false);
    try_write(under("hub/gen-4/chain.pem"), try_text(buf_sv(&l.chain)), 0644); /* whole, but current does not name it yet */
    loads("three", 3, false);
    try_write(under("hub/current.new"), "4", 0644);
    loads("three", 3, false);
    stores("five", 5);
    loads("five", 5, false);
    assert_int_equal(access(under("hub/gen-4"), F_OK), -1);
    assert_int_equal(access(under("hub/gen-3"), F_OK), 0);
    assert_int_equal(access(under("hub/current.new"), F_OK), -1);
    try_drop(&l);
}

/* A file may grow to n bytes and no further: a write says so as on a full disk. */
static void disk_ends_at(rlim_t n) {
    struct rlimit r;
    getrlimit(RLIMIT_FSIZE, &r);
    r.rlim_cur = n;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void a_full_disk_leaves_what_was(void **state) {
    (void)state;
    struct err e = { 0 };
    struct try_leaf l = try_leaf(ca, PKI_HUB, "six", PKI_USE_SERVER, PKI_P256, NOW);
    static const rlim_t room[] = { 0, 1, 100, 300 }; /* within the key, and within the chain */
    struct pki_rotation r = { 0 };
    for (unsigned i = 0; i < sizeof room / sizeof *room; i++) {
        unsigned n = 0;
        disk_ends_at(room[i]);
        bool ok = pki_pair_store(hub, buf_sv(&l.chain), buf_sv(&l.key), &n, &e), trusted = pki_trust_write(dir, pki_ca_pem(ca), 9, &e),
             begun = room[i] < 100 && pki_rotation_begin(dir, &r, "ca-2026-1", "ca-2026-2", false, NOW, &e);
        disk_ends_at(RLIM_INFINITY);
        assert_false(ok || trusted || begun);
        assert_int_equal(e.code, ERR_STORE);
        loads("five", 5, false);
        struct pki_trust t;
        assert_true(pki_trust_read(dir, &t, &e));
        assert_int_equal(t.sequence, 1);
        pki_trust_deinit(&t);
        assert_true(pki_rotation_load(dir, &r, &e));
        assert_int_equal(r.stage, PKI_STAGE_NONE);
    }
    try_drop(&l);
    stores("six", 6);
    loads("six", 6, false);
}

/* --- trust ------------------------------------------------------------------------------------------------------------------------- */

static struct buf both_of(struct pki_ca *a, struct pki_ca *b) {
    struct buf both = BUF_MAX(PKI_PEM_MAX);
    assert_true(buf_add(&both, pki_ca_pem(a)) && buf_add(&both, pki_ca_pem(b)));
    return both;
}

static void a_bundle_holds_one_or_two_roots_of_one_fleet(void **state) {
    (void)state;
    struct err e = { 0 };
    char other_dir[64];
    try_dir(other_dir);
    struct pki_ca *next = try_ca(other_dir, NOW, PKI_ED25519);
    struct pki_ca_wish w = { "ca-2026-9", SV("elsewhere"), PKI_P256, SV_NULL, NOW, 0 };
    struct pki_ca *stranger = pki_ca_make(other_dir, &w, &e);
    struct try_leaf leaf = try_leaf(ca, PKI_HUB, "h", PKI_USE_SERVER, PKI_P256, NOW);
    struct pki_trust t;
    assert_non_null(stranger);
    struct buf both = both_of(ca, next);
    assert_true(pki_trust_write(dir, buf_sv(&both), 2, &e));
    assert_true(pki_trust_read(dir, &t, &e));
    assert_int_equal(t.n_roots, 2);
    assert_int_equal(t.sequence, 2);
    assert_true(sv_eq(buf_sv(&t.pem), buf_sv(&both)));
    pki_trust_deinit(&t);
    struct buf three = BUF_MAX(PKI_PEM_MAX), same = both_of(ca, ca), mixed = both_of(ca, stranger);
    assert_true(buf_add(&three, buf_sv(&both)) && buf_add(&three, pki_ca_pem(stranger)));
    struct sv bad[] = { SV(""), SV("nonsense"), buf_sv(&three), buf_sv(&same), buf_sv(&mixed), buf_sv(&leaf.chain) };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(pki_trust_write(dir, bad[i], 3, &e));
        assert_int_equal(e.code, ERR_CONFIG);
    }
    static const char *const heads[] = { "", "Drover trust bundle \n", "Drover trust bundle x\n", "drover trust bundle 3\n",
                                         "\nDrover trust bundle 3\n" };
    for (unsigned i = 0; i < sizeof heads / sizeof *heads; i++) {
        char *text = malloc(PKI_PEM_MAX);
        snprintf(text, PKI_PEM_MAX, "%s%s", heads[i], try_text(pki_ca_pem(ca)));
        try_write(under("fleet/trust.pem"), text, 0644);
        assert_false(pki_trust_read(dir, &t, &e));
        assert_int_equal(e.code, ERR_CONFIG);
        pki_trust_deinit(&t);
        free(text);
    }
    assert_true(pki_trust_write(dir, pki_ca_pem(ca), 1, &e));
    buf_deinit(&both);
    buf_deinit(&three);
    buf_deinit(&same);
    buf_deinit(&mixed);
    try_drop(&leaf);
    pki_ca_free(next);
    pki_ca_free(stranger);
    try_remove(other_dir);
}

static void a_bundle_is_taken_once_from_whom_is_trusted(void **state) {
    (void)state;
    static const enum pki_key kinds[] = { PKI_P256, PKI_ED25519, PKI_RSA4096 };
    for (unsigned i = 0; i < 3; i++) {
        char old_dir[64], new_dir[64];
        struct err e = { 0 };
        try_dir(old_dir);
        try_dir(new_dir);
        struct pki_ca *old = try_ca(old_dir, NOW, kinds[i]), *new = try_ca(new_dir, NOW, PKI_P256);
        struct pki_trust now, got;
        struct buf both = both_of(old, new), message = BUF_MAX(PKI_PEM_MAX), later = BUF_MAX(PKI_PEM_MAX), forged = BUF_MAX(PKI_PEM_MAX);
        assert_true(pki_trust_read(old_dir, &now, &e));
        assert_true(pki_bundle_sign(old, buf_sv(&both), 2, &message, &e));
        if (!pki_bundle_read(buf_sv(&message), &now, &got, &e))
            fail_msg("%s", e.text);
        assert_int_equal(got.n_roots, 2);
        assert_int_equal(got.sequence, 2);
        assert_true(pki_trust_write(old_dir, buf_sv(&got.pem), got.sequence, &e));
        pki_trust_deinit(&got);
        pki_trust_deinit(&now);
        assert_true(pki_trust_read(old_dir, &now, &e));
        assert_false(pki_bundle_read(buf_sv(&message), &now, &got, &e)); /* the same one again */
        assert_int_equal(e.code, ERR_STALE);
        pki_trust_deinit(&got);
        assert_true(pki_bundle_sign(old, pki_ca_pem(new), 3, &later, &e)); /* the old root hands over */
        assert_true(pki_bundle_read(buf_sv(&later), &now, &got, &e));
        assert_int_equal(got.n_roots, 1);
        pki_trust_deinit(&got);
        for (size_t at = 0; at < later.n; at += i ? 13 : 1) { /* a change of any byte is seen */
            later.p[at] ^= 1;
            if (pki_bundle_read(buf_sv(&later), &now, &got, &e))
                fail_msg("taken with byte %zu changed", at);
            pki_trust_deinit(&got);
            later.p[at] ^= 1;
        }
        pki_trust_deinit(&now);
        assert_true(pki_trust_write(old_dir, pki_ca_pem(new), 3, &e));
        assert_true(pki_trust_read(old_dir, &now, &e));
        assert_true(pki_bundle_sign(old, buf_sv(&both), 4, &forged, &e)); /* a stolen old key comes back */
        assert_false(pki_bundle_read(buf_sv(&forged), &now, &got, &e));
        assert_int_equal(e.code, ERR_DENIED);
        pki_trust_deinit(&got);
        static const char *const odd[] = { "",
                                           "\n",
                                           "drover-trust 1 fleet 9\n",
                                           "drover-trust 1 fleet 9 \n",
                                           "drover-trust 2 fleet 9 AAAA\n",
                                           "drover-trust 1 fleet 9 AAAA" };
        for (unsigned k = 0; k < sizeof odd / sizeof *odd; k++) {
            assert_false(pki_bundle_read(sv_of(odd[k]), &now, &got, &e));
            assert_int_equal(e.code, ERR_BAD_REQUEST);
            pki_trust_deinit(&got);
        }
        pki_trust_deinit(&now);
        buf_deinit(&both);
        buf_deinit(&message);
        buf_deinit(&later);
        buf_deinit(&forged);
        pki_ca_free(old);
        pki_ca_free(new);
        try_remove(old_dir);
        try_remove(new_dir);
    }
}

/* --- the key elsewhere ------------------------------------------------------------------------------------------------------------- */

static void a_root_without_its_key_verifies_and_signs_nothing(void **state) {
    (void)state;
    char where[64], file[128];
    struct err e = { 0 };
    struct buf key = BUF_MAX(PKI_PEM_MAX), chain = BUF_MAX(PKI_PEM_MAX), bundle = BUF_MAX(PKI_PEM_MAX);
    struct pki_cert cert;
    try_dir(where);
    assert_null(pki_ca_open(where, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    const struct pki_ca_wish wish = { .name = "ca-2026-1", .fleet = SV("home"), .now_s = NOW };
    struct pki_ca *whole = pki_ca_make(where, &wish, &e);
    assert_non_null(whole);
    assert_null(pki_ca_open(where, &e)); /* its key is here */
    assert_int_equal(e.code, ERR_CONFIG);
    snprintf(file, sizeof file, "%s/fleet/ca-2026-1.key", where);
    assert_int_equal(unlink(file), 0);
    struct pki_ca *root = pki_ca_open(where, &e);
    assert_non_null(root);
    assert_true(sv_eq(pki_ca_pem(root), pki_ca_pem(whole)));
    struct pki_wish leaf = { .usage = PKI_USE_CLIENT, .now_s = NOW };
    assert_true(pki_key_make(PKI_P256, &key, &e) && pki_identity_set(&leaf.who, PKI_NODE, SV("home"), SV("attic")));
    leaf.key_pem = buf_sv(&key);
    assert_true(pki_issue(whole, &leaf, &chain, &cert, &e));
    assert_true(pki_chain_verify(buf_sv(&chain), pki_ca_pem(root), PKI_USE_CLIENT, SV_NULL, NOW, &e));
    assert_false(pki_issue(root, &leaf, &chain, &cert, &e));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_false(pki_bundle_sign(root, pki_ca_pem(root), 2, &bundle, &e));
    pki_ca_free(root);
    pki_ca_free(whole);
    pki_wipe(&key);
    buf_deinit(&chain);
    buf_deinit(&bundle);
    try_remove(where);
}

/* --- rotation ---------------------------------------------------------------------------------------------------------------------- */

static void steps(struct pki_rotation *r, const enum pki_stage *way, unsigned n) {
    struct err e = { 0 };
    for (unsigned i = 0; i < n; i++) {
        struct pki_rotation after_crash;
        if (!pki_rotation_step(dir, r, way[i], NOW + (int64_t)i, &e) ||
            !pki_rotation_step(dir, r, way[i], NOW + 99, &e)) /* twice: nothing happens */
            fail_msg("%s", e.text);
        assert_true(pki_rotation_load(dir, &after_crash, &e)); /* what a process that has just started finds */
        assert_int_equal(after_crash.stage, way[i]);
        if (way[i] != PKI_STAGE_NONE) {
            assert_int_equal(after_crash.started_s, NOW);
            assert_int_equal(after_crash.since_s, NOW + (int64_t)i);
            assert_string_equal(after_crash.old_ca, "ca-2026-1");
            assert_string_equal(after_crash.new_ca, "ca-2026-2");
        }
        for (unsigned to = 0; to < PKI_STAGE_COUNT; to++) { /* no other way than the table's */
            struct pki_rotation try = *r;
            bool is_jump = (to > PKI_STAGE_TRUST_NEW && r->stage < PKI_STAGE_TRUST_NEW && to != PKI_STAGE_BACK) ||
                           (r->stage >= PKI_STAGE_TRUST_NEW && r->stage != PKI_STAGE_BACK && to != r->stage && to <= PKI_STAGE_PROVE &&
                            to != PKI_STAGE_NONE) ||
                           (r->stage == PKI_STAGE_TRUST_NEW && to == PKI_STAGE_BACK) ||
                           (r->stage == PKI_STAGE_NONE && to != PKI_STAGE_NONE);
            if (is_jump)
                assert_false(pki_rotation_step(dir, &try, (enum pki_stage)to, NOW, &e));
        }
    }
}

static void a_rotation_goes_step_by_step_and_a_crash_finds_its_place_again(void **state) {
    (void)state;
    static const enum pki_stage planned[] = { PKI_STAGE_TRUST_BOTH, PKI_STAGE_ISSUE,  PKI_STAGE_PROVE,
                                              PKI_STAGE_TRUST_NEW,  PKI_STAGE_RETIRE, PKI_STAGE_NONE };
    static const enum pki_stage back[] = { PKI_STAGE_TRUST_BOTH, PKI_STAGE_ISSUE, PKI_STAGE_BACK, PKI_STAGE_NONE };
    static const enum pki_stage emergency[] = { PKI_STAGE_TRUST_NEW, PKI_STAGE_RETIRE, PKI_STAGE_NONE };
    struct pki_rotation r = { 0 }, second = { 0 };
    struct err e = { 0 };
    assert_true(pki_rotation_load(dir, &r, &e));
    assert_int_equal(r.stage, PKI_STAGE_NONE);
    assert_false(pki_rotation_begin(dir, &r, "ca-2026-1", "ca-2026-1", false, NOW, &e));
    assert_true(pki_rotation_begin(dir, &r, "ca-2026-1", "ca-2026-2", false, NOW, &e));
    assert_false(pki_rotation_begin(dir, &second, "ca-2026-1", "ca-2026-3", false, NOW, &e));
    assert_int_equal(e.code, ERR_EXISTS);
    assert_non_null(strstr(e.text, "from ca-2026-1 to ca-2026-2 is under way (make)"));
    assert_false(pki_rotation_step(dir, &r, PKI_STAGE_TRUST_NEW, NOW, &e)); /* that is for emergencies */
    steps(&r, planned, 6);
    assert_true(pki_rotation_begin(dir, &r, "ca-2026-1", "ca-2026-2", false, NOW, &e));
    steps(&r, back, 4);
    assert_true(pki_rotation_begin(dir, &r, "ca-2026-1", "ca-2026-3", false, NOW, &e));
    assert_true(pki_rotation_begin(dir, &r, "ca-2026-1", "ca-2026-2", true, NOW, &e)); /* it does not wait for a planned one */
    assert_true(r.is_emergency && r.stage == PKI_STAGE_MAKE);
    assert_false(pki_rotation_begin(dir, &second, "ca-2026-1", "ca-2026-4", true, NOW, &e));
    assert_int_equal(e.code, ERR_EXISTS);
    steps(&r, emergency, 3);
    static const char *const damaged[] = { "",
                                           "{}",
                                           "nonsense",
                                           "{\"stage\":\"odd\",\"started\":1,\"since\":1,\"old\":\"a\",\"new\":\"b\"}",
                                           "{\"stage\":\"make\",\"started\":1,\"since\":1,\"old\":\"a\",\"new\":\"0123456789abcdef\"}",
                                           "{\"stage\":\"make\",\"started\":1,\"since\":1,\"old\":\"a\"}" };
    for (unsigned i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        try_write(under("rotation.json"), damaged[i], 0644);
        assert_false(pki_rotation_load(dir, &r, &e));
        assert_int_equal(e.code, ERR_CONFIG);
    }
    unlink(under("rotation.json"));
}

/* --- memory ------------------------------------------------------------------------------------------------------------------------ */

static struct try_leaf spare;
static struct buf spare_bundle;

static bool run_issue(struct err *e) {
    struct buf chain = BUF_MAX(PKI_PEM_MAX);
    struct pki_cert c;
    struct pki_wish w = { .usage = PKI_USE_SERVER, .key_pem = buf_sv(&spare.key), .now_s = NOW };
    bool ok = pki_identity_set(&w.who, PKI_HUB, SV("fleet"), SV("h")) && pki_issue(ca, &w, &chain, &c, e);
    assert_true(ok || chain.n == 0);
    buf_deinit(&chain);
    return ok;
}

static bool run_key(struct err *e) {
    struct buf key = BUF_MAX(PKI_PEM_MAX), csr = BUF_MAX(PKI_PEM_MAX);
    bool ok = pki_key_make(PKI_P256, &key, e) && pki_csr_make(buf_sv(&key), &csr, e);
    pki_wipe(&key);
    buf_deinit(&csr);
    return ok;
}

static bool run_load(struct err *e) {
    struct pki_ca *c = pki_ca_load(dir, "ca-2026-1", SV_NULL, e);
    pki_ca_free(c);
    return c != NULL;
}

static bool run_pair(struct err *e) {
    unsigned n;
    struct pki_pair p = { 0 };
    bool ok = pki_pair_store(hub, buf_sv(&spare.chain), buf_sv(&spare.key), &n, e) && pki_pair_load(hub, &p, e);
    ok = ok && (!p.is_fallback || err_set(e, p.why.code, "%s", p.why.text)); /* the one before it was told of the fault */
    pki_pair_deinit(&p);
    return ok;
}

static bool run_trust(struct err *e) {
    struct pki_trust now = { 0 }, got = { 0 };
    bool ok = pki_trust_write(dir, pki_ca_pem(ca), 1, e) && pki_trust_read(dir, &now, e) && pki_bundle_read(buf_sv(&spare_bundle), &now, &got, e);
    pki_trust_deinit(&now);
    pki_trust_deinit(&got);
    return ok;
}

static bool run_bundle(struct err *e) {
    struct buf to = BUF_MAX(PKI_PEM_MAX);
    bool ok = pki_bundle_sign(ca, pki_ca_pem(ca), 5, &to, e);
    buf_deinit(&to);
    return ok;
}

static bool run_rotation(struct err *e) {
    struct pki_rotation r = { 0 };
    bool ok = pki_rotation_begin(dir, &r, "ca-2026-1", "ca-2026-2", false, NOW, e) && pki_rotation_load(dir, &r, e) &&
              pki_rotation_step(dir, &r, PKI_STAGE_TRUST_BOTH, NOW, e);
    unlink(under("rotation.json"));
    return ok;
}

static void memory_that_is_out_is_a_fault_everywhere(void **state) {
    (void)state;
    bool (*const runs[])(struct err *) = { run_issue, run_key, run_load, run_pair, run_trust, run_bundle, run_rotation };
    struct err e = { 0 };
    spare = try_leaf(ca, PKI_HUB, "h", PKI_USE_SERVER, PKI_P256, NOW);
    buf_init(&spare_bundle, PKI_PEM_MAX);
    assert_true(pki_bundle_sign(ca, pki_ca_pem(ca), 2, &spare_bundle, &e));
    for (unsigned i = 0; i < sizeof runs / sizeof *runs; i++) {
        for (long n = 1; n < 200; n++) {
            e = (struct err){ 0 };
            mem_fail_at(n, 0);
            bool ok = runs[i](&e), hit = mem_fail_hit();
            mem_fail_at(0, 0);
            if (ok == hit || ok != !e.code)
                fail_msg("run %u, allocation %ld: %s, \"%s\"", i, n, ok ? "done" : "failed", e.text);
            if (!hit)
                break;
        }
    }
    try_drop(&spare);
    buf_deinit(&spare_bundle);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_private_and_anything_else_is_refused_with_the_way_out),
        cmocka_unit_test(the_pair_is_stored_beside_the_old_one_and_two_are_kept),
        cmocka_unit_test(a_damaged_pair_gives_way_to_the_one_before),
        cmocka_unit_test(a_pair_that_was_lost_is_no_pair_that_never_was),
        cmocka_unit_test(a_crash_between_any_two_steps_leaves_the_old_pair_and_the_next_store_goes_on),
        cmocka_unit_test(a_full_disk_leaves_what_was),
        cmocka_unit_test(a_bundle_holds_one_or_two_roots_of_one_fleet),
        cmocka_unit_test(a_bundle_is_taken_once_from_whom_is_trusted),
        cmocka_unit_test(a_root_without_its_key_verifies_and_signs_nothing),
        cmocka_unit_test(a_rotation_goes_step_by_step_and_a_crash_finds_its_place_again),
        cmocka_unit_test(memory_that_is_out_is_a_fault_everywhere),
    };
    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, begin, end);
}
