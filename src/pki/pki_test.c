/* The authority and its leaves, identities, pins, tokens, the invite line. Times are made up; keys and files are real. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "pki/room.h"
#include "pki/try.h"

static char dir[64];
static struct pki_ca *ca;

static int begin(void **state) {
    (void)state;
    try_dir(dir);
    ca = try_ca(dir, NOW, PKI_P256);
    return 0;
}

static int end(void **state) {
    (void)state;
    ca = pki_ca_free(ca);
    try_remove(dir);
    return 0;
}

/* --- identities ---------------------------------------------------------------------------------------------------------------- */

static void an_identity_has_one_spelling(void **state) {
    (void)state;
    static const char *const good[] = { "drover://f/node/a", "drover://home-1/hub/h", "drover://f/client/a.b_c-d" };
    static const char *const bad[] = {
        "",
        "drover:",
        "drover://",
        "drover://f",
        "drover://f/node",
        "drover://f/node/",
        "drover:///node/a",
        "drover://f//a",
        "DROVER://f/node/a",
        "drover://F/node/a",
        "drover://f/Node/a",
        "drover://f/node/A",
        "drover://f/nodes/a",
        "drover://f/node/a/",
        "drover://f/node/a/b",
        "drover://f/node/-a",
        "drover://f/node/a-",
        "drover://f/node/a%20b",
        "drover://f.g/node/a",
        "drover://-f/node/a",
        "drover://f/node/a?x",
        "drover://f/node/a#x",
        "drover://u@f/node/a",
        "drover://f:1/node/a",
        " drover://f/node/a",
        "drover://f/node/a ",
        "https://f/node/a",
    };
    struct pki_identity id;
    char again[PKI_URI_MAX + 1], dns[PKI_DNS_MAX + 1], odd[128];
    for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(pki_identity_read(sv_of(good[i]), &id));
        pki_identity_print(&id, again);
        assert_string_equal(again, good[i]);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        if (pki_identity_read(sv_of(bad[i]), &id))
            fail_msg("\"%s\" was taken", bad[i]);
    assert_false(pki_identity_read(SV("drover://f/node/a\0b"), &id));
    snprintf(odd, sizeof odd, "drover://f/node/%065d", 1);
    assert_false(pki_identity_read(sv_of(odd), &id));
    snprintf(odd, sizeof odd, "drover://%041d/node/a", 1);
    assert_false(pki_identity_read(sv_of(odd), &id));
    assert_true(pki_identity_read(SV("drover://home-1/hub/h"), &id));
    assert_int_equal(id.role, PKI_HUB);
    assert_true(pki_identity_dns(&id, dns));
    assert_string_equal(dns, "h.home-1.drover.internal");
    assert_true(pki_identity_read(SV("drover://f/client/a.b_c-d"), &id));
    assert_false(pki_identity_dns(&id, dns)); /* its dot would reach into another's names */
}

/* --- the authority --------------------------------------------------------------------------------------------------------------- */

static void the_root_is_what_the_profile_says(void **state) {
    (void)state;
    const struct pki_cert *c = pki_ca_cert(ca);
    struct err e = { 0 };
    assert_true(c->is_ca && !c->is_server && !c->is_client);
    assert_string_equal(c->subject, "Drover CA fleet 2026-1");
    assert_string_equal(pki_ca_name(ca), "ca-2026-1");
    assert_string_equal(pki_ca_fleet(ca), "fleet");
    assert_int_equal(c->is.not_before_s, NOW - 300);
    assert_int_equal(c->is.not_after_s, NOW + PKI_CA_LIFE_S);
    assert_int_equal(strlen(c->is.serial), 40);
    X509 *x = pki__ca_root(ca);
    assert_int_equal(X509_get_pathlen(x), 0);
    assert_int_equal(X509_get_key_usage(x), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    assert_int_equal(X509_get_ext_by_NID(x, NID_name_constraints, -1), -1);
    struct pki_trust t;
    assert_true(pki_trust_read(dir, &t, &e)); /* the first is trusted at once */
    assert_int_equal(t.sequence, 1);
    assert_int_equal(t.n_roots, 1);
    assert_true(sv_eq(buf_sv(&t.pem), pki_ca_pem(ca)));
    pki_trust_deinit(&t);
}

static void an_authority_is_loaded_again_whatever_its_kind_of_key_and_with_its_passphrase_only(void **state) {
    (void)state;
    static const enum pki_key kinds[] = { PKI_P256, PKI_ED25519, PKI_RSA4096 };
    for (unsigned i = 0; i < 3; i++) {
        char name[PKI_CA_NAME_MAX + 1], again[PKI_CA_NAME_MAX + 1];
        struct err e = { 0 };
        struct sv secret = i == 1 ? SV("a passphrase of some words") : SV_NULL;
        assert_true(pki_ca_next(dir, NOW, name, &e));
        struct pki_ca_wish w = { name, SV("fleet"), kinds[i], secret, NOW, 0 };
        struct pki_ca *made = pki_ca_make(dir, &w, &e);
        if (!made)
            fail_msg("%s", e.text);
        assert_null(pki_ca_make(dir, &w, &e));
        assert_int_equal(e.code, ERR_EXISTS);
        if (secret.n) {
            assert_null(pki_ca_load(dir, name, SV_NULL, &e));
            assert_int_equal(e.code, ERR_LOCKED);
            assert_null(pki_ca_load(dir, name, SV("another"), &e));
            assert_int_equal(e.code, ERR_DENIED);
            char path[128], *text = NULL;
            snprintf(path, sizeof path, "%s/fleet/%s.key", dir, name);
            text = try_file(path);
            assert_non_null(strstr(text, "BEGIN ENCRYPTED PRIVATE KEY"));
            free(text);
        }
        struct pki_ca *loaded = pki_ca_load(dir, name, secret, &e);
        if (!loaded)
            fail_msg("%s", e.text);
        assert_true(sv_eq(pki_ca_pem(made), pki_ca_pem(loaded)));
        assert_true(pki_ca_newest(dir, again, &e));
        assert_string_equal(again, name);
        struct try_leaf leaf = try_leaf(loaded, PKI_NODE, "n1", PKI_USE_CLIENT, PKI_P256, NOW);
        try_drop(&leaf);
        pki_ca_free(made);
        pki_ca_free(loaded);
    }
}

static void names_of_authorities_never_come_twice(void **state) {
    (void)state;
    char name[PKI_CA_NAME_MAX + 1];
    struct err e = { 0 };
    assert_true(pki_ca_next(dir, NOW, name, &e));
    assert_string_equal(name, "ca-2026-5"); /* after the four above */
    assert_true(pki_ca_next(dir, NOW + 400 * (int64_t)PKI_DAY_S, name, &e));
    assert_string_equal(name, "ca-2027-1");
    assert_true(pki_ca_next(dir, NOW - 400 * (int64_t)PKI_DAY_S, name, &e));
    assert_string_equal(name, "ca-2026-5");
    assert_true(pki_ca_next("/nonexistent", NOW, name, &e));
    assert_string_equal(name, "ca-2026-1");
    assert_false(pki_ca_newest("/nonexistent", name, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void a_key_without_its_root_is_made_anew(void **state) {
    (void)state;
    char path[128];
    struct err e = { 0 };
    snprintf(path, sizeof path, "%s/fleet/ca-2026-9.key", dir); /* as a crash leaves it */
    try_write(path, "half", 0600);
    struct pki_ca_wish w = { "ca-2026-9", SV("fleet"), PKI_P256, SV_NULL, NOW, 0 };
    pki_ca_free(pki_ca_make(dir, &w, &e));
    struct pki_ca *c = pki_ca_load(dir, "ca-2026-9", SV_NULL, &e);
    assert_non_null(c);
    pki_ca_free(c);
    snprintf(path, sizeof path, "%s/fleet/ca-2026-9.crt", dir);
    try_write(path, try_text(pki_ca_pem(ca)), 0644); /* another one's root under this name */
    assert_null(pki_ca_load(dir, "ca-2026-9", SV_NULL, &e));
    unlink(path);
    snprintf(path, sizeof path, "%s/fleet/ca-2026-9.key", dir);
    unlink(path);
}

static void a_retired_authority_leaves_its_root_and_its_name(void **state) {
    (void)state;
    char name[PKI_CA_NAME_MAX + 1], newest[PKI_CA_NAME_MAX + 1];
    struct err e = { 0 };
    struct pki_ca *c = try_ca(dir, NOW + 800 * (int64_t)PKI_DAY_S, PKI_P256);
    assert_string_equal(pki_ca_name(c), "ca-2029-1");
    pki_ca_free(c);
    assert_true(pki_ca_retire(dir, "ca-2029-1", &e));
    assert_true(pki_ca_retire(dir, "ca-2029-1", &e));
    assert_false(pki_ca_retire(dir, "../x", &e));
    assert_null(pki_ca_load(dir, "ca-2029-1", SV_NULL, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_true(pki_ca_newest(dir, newest, &e));
    assert_string_not_equal(newest, "ca-2029-1");
    assert_true(pki_ca_next(dir, NOW, name, &e));
    assert_string_equal(name, "ca-2029-2");
}

/* --- leaves ---------------------------------------------------------------------------------------------------------------------- */

static void a_leaf_says_what_was_wished_and_nothing_that_the_request_said(void **state) {
    (void)state;
    struct err e = { 0 };
    struct buf key = BUF_MAX(PKI_PEM_MAX), chain = BUF_MAX(PKI_PEM_MAX);
    struct pki_cert c;
    assert_true(pki_key_make(PKI_P256, &key, &e));
    EVP_PKEY *k = pki__key_read(buf_sv(&key), SV_NULL, NULL, &e);
    X509_REQ *r = X509_REQ_new(); /* one that asks for more than it should */
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(r), "CN", MBSTRING_ASC, (const unsigned char *)"root", -1, -1, 0);
    STACK_OF(X509_EXTENSION) *wishes = sk_X509_EXTENSION_new_null();
    sk_X509_EXTENSION_push(wishes, X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE"));
    sk_X509_EXTENSION_push(wishes, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "URI:drover://fleet/hub/other"));
    X509_REQ_add_extensions(r, wishes);
    sk_X509_EXTENSION_pop_free(wishes, X509_EXTENSION_free);
    X509_REQ_set_pubkey(r, k);
    X509_REQ_sign(r, k, EVP_sha256());
    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_REQ(b, r);
    char *p;
    long n = BIO_get_mem_data(b, &p);
    struct pki_wish w = { .usage = PKI_USE_CLIENT, .csr_pem = { p, (size_t)n }, .now_s = NOW };
    assert_true(pki_identity_set(&w.who, PKI_NODE, SV("fleet"), SV("n1")));
    if (!pki_issue(ca, &w, &chain, &c, &e))
        fail_msg("%s", e.text);
    assert_string_equal(c.is.uri, "drover://fleet/node/n1");
    assert_string_equal(c.subject, "n1");
    assert_true(c.is_client && !c.is_server && !c.is_ca);
    assert_int_equal(c.is.not_before_s, NOW - 300);
    assert_int_equal(c.is.not_after_s, NOW + 7 * 86400);
    assert_int_equal(strlen(c.is.serial), 40);
    assert_true(pki_pair_check(buf_sv(&chain), buf_sv(&key), &e));
    assert_true(sv_ends(buf_sv(&chain), pki_ca_pem(ca))); /* the root comes along */
    p[n / 2] ^= 1;                                        /* a request whose signature is not its own */
    assert_false(pki_issue(ca, &w, &chain, &c, &e));
    assert_int_equal(e.code, ERR_BAD_REQUEST);
    BIO_free(b);
    X509_REQ_free(r);
    EVP_PKEY_free(k);
    pki_wipe(&key);
    buf_deinit(&chain);
}

static void a_listener_has_its_names_and_addresses(void **state) {
    (void)state;
    struct err e = { 0 };
    struct sv names[] = { SV("GPU.example.net"), SV("gpu.example.net"), SV("192.0.2.7"),
                          SV("2001:db8::7"),     SV("localhost"),       SV("*.example.org") };
    struct buf key = BUF_MAX(PKI_PEM_MAX), chain = BUF_MAX(PKI_PEM_MAX);
    struct pki_cert c;
    assert_true(pki_key_make(PKI_ED25519, &key, &e));
    struct pki_wish w = { .usage = PKI_USE_SERVER | PKI_USE_CLIENT, .names = names, .n_names = 6, .key_pem = buf_sv(&key), .now_s = NOW };
    assert_true(pki_identity_set(&w.who, PKI_HUB, SV("fleet"), SV("h1")));
    if (!pki_issue(ca, &w, &chain, &c, &e))
        fail_msg("%s", e.text);
    assert_true(c.is_server && c.is_client);
    static const char *const good[] = { "gpu.example.net",          "192.0.2.7",    "2001:db8::7", "localhost",
                                        "h1.fleet.drover.internal", "a.example.org" };
    static const char *const bad[] = { "example.net", "192.0.2.8", "h2.fleet.drover.internal", "h1.other.drover.internal" };
    for (unsigned i = 0; i < 6; i++)
        assert_true(pki_chain_verify(buf_sv(&chain), pki_ca_pem(ca), PKI_USE_SERVER, sv_of(good[i]), NOW, &e));
    for (unsigned i = 0; i < 4; i++)
        assert_false(pki_chain_verify(buf_sv(&chain), pki_ca_pem(ca), PKI_USE_SERVER, sv_of(bad[i]), NOW, &e));
    static const char *const odd[] = { "", "a b", "a..b", "-a", "a-", ".a", "a.", "x\ty", "DNS:a", "a,b", "*", "*.", "a*.b" };
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        names[0] = sv_of(odd[i]);
        if (pki_issue(ca, &w, &chain, &c, &e))
            fail_msg("\"%s\" was taken for a name", odd[i]);
        assert_int_equal(e.code, ERR_CONFIG);
    }
    names[0] = SV("a\0b");
    assert_false(pki_issue(ca, &w, &chain, &c, &e));
    pki_wipe(&key);
    buf_deinit(&chain);
}

static void odd_wishes_are_refused(void **state) {
    (void)state;
    struct err e = { 0 };
    struct buf key = BUF_MAX(PKI_PEM_MAX), chain = BUF_MAX(PKI_PEM_MAX);
    struct pki_cert c;
    assert_true(pki_key_make(PKI_P256, &key, &e));
    struct pki_wish w = { .usage = PKI_USE_CLIENT, .key_pem = buf_sv(&key), .now_s = NOW }, x;
    assert_true(pki_identity_set(&w.who, PKI_NODE, SV("fleet"), SV("n.1")));
    x = w;
    x.usage = 0;
    assert_false(pki_issue(ca, &x, &chain, &c, &e));
    x.usage = PKI_USE_SERVER; /* "n.1" is no label */
    assert_false(pki_issue(ca, &x, &chain, &c, &e));
    x = w;
    assert_true(pki_identity_set(&x.who, PKI_NODE, SV("other"), SV("n1")));
    assert_false(pki_issue(ca, &x, &chain, &c, &e));
    x = w;
    x.who.id[0] = '/';
    assert_false(pki_issue(ca, &x, &chain, &c, &e));
    assert_int_equal(chain.n, 0);
    /* keys */
    static const struct {
        const char *kind, *group;
        unsigned bits;
        bool good;
    } keys[] = { { "EC", "P-256", 0, true }, { "EC", "P-384", 0, true }, { "EC", "P-521", 0, false }, { "EC", "secp256k1", 0, false },
                 { "RSA", NULL, 2048, false }, { "RSA", NULL, 3072, true }, { "ED25519", NULL, 0, true }, { "ED448", NULL, 0, false } };
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
        EVP_PKEY *k = keys[i].group  ? EVP_EC_gen(keys[i].group)
                      : keys[i].bits ? EVP_RSA_gen(keys[i].bits)
                                     : EVP_PKEY_Q_keygen(NULL, NULL, keys[i].kind);
        struct buf pem = BUF_MAX(PKI_PEM_MAX), csr = BUF_MAX(PKI_PEM_MAX);
        assert_true(pki__key_print(k, SV_NULL, &pem, &e));
        if (strcmp(keys[i].kind, "ED448") != 0) { /* signs without a digest, as Ed25519 does: our CSRs do not know it */
            assert_true(pki_csr_make(buf_sv(&pem), &csr, &e));
            x = w;
            x.key_pem = SV_NULL;
            x.csr_pem = buf_sv(&csr);
            assert_int_equal(pki_issue(ca, &x, &chain, &c, &e), keys[i].good);
        }
        x = w;
        x.key_pem = buf_sv(&pem);
        assert_int_equal(pki_issue(ca, &x, &chain, &c, &e), keys[i].good);
        pki_wipe(&pem);
        buf_deinit(&csr);
        EVP_PKEY_free(k);
    }
    /* requests */
    static char large[PKI_CSR_MAX + 1];
    memset(large, 'A', sizeof large);
    struct sv odd[] = { SV("nonsense"),
                        { large, sizeof large },
                        SV("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n") };
    for (unsigned i = 0; i < 3; i++) {
        x = w;
        x.csr_pem = odd[i];
        assert_false(pki_issue(ca, &x, &chain, &c, &e));
        assert_int_equal(e.code, ERR_BAD_REQUEST);
    }
    pki_wipe(&key);
    buf_deinit(&chain);
}

static void nothing_outlives_its_authority_and_nothing_is_issued_when_the_clock_went_back(void **state) {
    (void)state;
    struct err e = { 0 };
    struct buf key = BUF_MAX(PKI_PEM_MAX), chain = BUF_MAX(PKI_PEM_MAX);
    struct pki_cert c;
    int64_t ca_end = pki_ca_cert(ca)->is.not_after_s;
    assert_true(pki_key_make(PKI_P256, &key, &e));
    struct pki_wish w = { .usage = PKI_USE_CLIENT, .key_pem = buf_sv(&key), .now_s = ca_end - 3 * PKI_DAY_S };
    assert_true(pki_identity_set(&w.who, PKI_NODE, SV("fleet"), SV("n1")));
    assert_true(pki_issue(ca, &w, &chain, &c, &e));
    assert_int_equal(c.is.not_after_s, ca_end - PKI_DAY_S);
    w.now_s = ca_end - PKI_DAY_S;
    assert_false(pki_issue(ca, &w, &chain, &c, &e));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "ends too soon"));
    w.now_s = NOW - 4000; /* before the CA itself was made */
    assert_false(pki_issue(ca, &w, &chain, &c, &e));
    w.now_s = NOW + PKI_DAY_S;
    w.newest_s = NOW + 3 * PKI_DAY_S;
    assert_false(pki_issue(ca, &w, &chain, &c, &e));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "the clock went back 2880 min"));
    w.newest_s = NOW + PKI_DAY_S + 1800;
    assert_true(pki_issue(ca, &w, &chain, &c, &e));
    assert_true(pki_ca_ends_soon(NOW + 44 * PKI_DAY_S - 1, PKI_LEAF_LIFE_S, NOW));
    assert_false(pki_ca_ends_soon(NOW + 44 * PKI_DAY_S, PKI_LEAF_LIFE_S, NOW));
    w.life_s = 3600;
    w.newest_s = 0;
    w.now_s = 2600000000; /* 2052: GeneralizedTime, and past 32 bits... of the signed kind */
    struct pki_ca_wish far = { "ca-2050-1", SV("fleet"), PKI_P256, SV_NULL, 2600000000, 0 };
    struct pki_ca *late = pki_ca_make(dir, &far, &e);
    assert_non_null(late);
    assert_true(pki_issue(late, &w, &chain, &c, &e));
    assert_int_equal(c.is.not_after_s, 2600003600);
    pki_ca_free(late);
    pki_wipe(&key);
    buf_deinit(&chain);
}

/* A leaf with one thing wrong, signed by the right key all the same. */
struct deviant {
    const char *what, *constraints, *key_usage, *ext_usage, *san;
    bool no_akid, other_key;
    int64_t from_s, to_s;
};

static void each_deviation_from_the_profile_is_refused(void **state) {
    (void)state;
#define CORE .constraints = "critical,CA:FALSE", .key_usage = "critical,digitalSignature"
#define NAME "DNS:h1.fleet.drover.internal"
#define GOOD CORE, .ext_usage = "serverAuth", .san = NAME
    static const struct deviant all[] = {
        { "nothing", GOOD },
        { "purpose", CORE, .ext_usage = "clientAuth", .san = NAME },
        { "no name", CORE, .ext_usage = "serverAuth" },
        { "other name", CORE, .ext_usage = "serverAuth", .san = "DNS:h1.other.drover.internal" },
        { "key usage", .constraints = "critical,CA:FALSE", .key_usage = "critical,nonRepudiation", .ext_usage = "serverAuth", .san = NAME },
        { "a CA", .constraints = "critical,CA:TRUE", .key_usage = "critical,digitalSignature", .ext_usage = "serverAuth", .san = NAME },
        { "no key identifier", GOOD, .no_akid = true },
        { "expired", GOOD, .from_s = -2 * PKI_DAY_S, .to_s = -1 },
        { "not yet valid", GOOD, .from_s = 1, .to_s = PKI_DAY_S },
        { "another key under the CA's name", GOOD, .other_key = true },
    };
#undef GOOD
#undef NAME
#undef CORE
    char other_dir[64];
    try_dir(other_dir);
    struct pki_ca *other = try_ca(other_dir, NOW, PKI_P256); /* same name, other key */
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        const struct deviant *d = &all[i];
        struct err e = { 0 };
        struct pki_ca *by = d->other_key ? other : ca;
        X509 *root = pki__ca_root(by);
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *x = pki__cert_new("x", root, key, NOW + d->from_s, NOW + (d->to_s ? d->to_s : 3600), &e);
        assert_true(pki__cert_extend(x, root, NID_basic_constraints, d->constraints));
        assert_true(pki__cert_extend(x, root, NID_key_usage, d->key_usage));
        assert_true(pki__cert_extend(x, root, NID_ext_key_usage, d->ext_usage));
        assert_true(pki__cert_extend(x, root, NID_subject_key_identifier, "hash"));
        if (!d->no_akid)
            assert_true(pki__cert_extend(x, root, NID_authority_key_identifier, "keyid:always"));
        if (d->san)
            assert_true(pki__cert_extend(x, root, NID_subject_alt_name, d->san));
        assert_true(pki__ca_sign(by, x, &e));
        struct buf pem = BUF_MAX(PKI_PEM_MAX);
        assert_true(pki__cert_print(x, &pem, &e));
        bool good = pki_chain_verify(buf_sv(&pem), pki_ca_pem(ca), PKI_USE_SERVER, SV("h1.fleet.drover.internal"), NOW, &e);
        if (good != (i == 0))
            fail_msg("%s: %s %s", d->what, good ? "taken" : "refused:", e.text);
        buf_deinit(&pem);
        X509_free(x);
        EVP_PKEY_free(key);
    }
    pki_ca_free(other);
    try_remove(other_dir);
}

static void a_leaf_cannot_sign_another(void **state) {
    (void)state;
    struct err e = { 0 };
    struct try_leaf middle = try_leaf(ca, PKI_HUB, "h1", PKI_USE_SERVER, PKI_P256, NOW);
    STACK_OF(X509) *chain = pki__certs_read(buf_sv(&middle.chain), 8, &e);
    EVP_PKEY *by = pki__key_read(buf_sv(&middle.key), SV_NULL, NULL, &e), *key = EVP_EC_gen("P-256");
    X509 *issuer = sk_X509_value(chain, 0), *x = pki__cert_new("x", issuer, key, NOW - 1, NOW + 3600, &e);
    assert_true(pki__cert_extend(x, issuer, NID_ext_key_usage, "serverAuth"));
    assert_true(pki__cert_extend(x, issuer, NID_authority_key_identifier, "keyid:always"));
    assert_true(X509_sign(x, by, EVP_sha256()) > 0);
    struct buf pem = BUF_MAX(PKI_PEM_MAX);
    assert_true(pki__cert_print(x, &pem, &e));
    assert_true(buf_add(&pem, buf_sv(&middle.chain)));
    assert_false(pki_chain_verify(buf_sv(&pem), pki_ca_pem(ca), PKI_USE_SERVER, SV_NULL, NOW, &e));
    buf_deinit(&pem);
    X509_free(x);
    EVP_PKEY_free(by);
    EVP_PKEY_free(key);
    pki__certs_free(chain);
    try_drop(&middle);
}

/* --- pins, tokens, time ------------------------------------------------------------------------------------------------------------ */

static void a_pin_reads_as_it_is_written(void **state) {
    (void)state;
    struct err e = { 0 };
    unsigned char pin[TLS_PIN], again[TLS_PIN];
    char text[PKI_PIN_TEXT + 1];
    struct try_leaf leaf = try_leaf(ca, PKI_HUB, "h1", PKI_USE_SERVER, PKI_P256, NOW);
    assert_true(pki_pin_of(buf_sv(&leaf.chain), pin, &e));
    assert_memory_equal(pin, leaf.cert.is.spki, TLS_PIN);
    pki_pin_print(pin, text);
    assert_true(pki_pin_read(sv_of(text), again));
    assert_memory_equal(pin, again, TLS_PIN);
    assert_false(pki_pin_read(sv_first(sv_of(text), PKI_PIN_TEXT - 2), again));
    text[10] = 'g';
    assert_false(pki_pin_read(sv_of(text), again));
    assert_false(pki_pin_of(SV("nonsense"), pin, &e));
    try_drop(&leaf);
}

static void a_token_matches_the_hashes_it_has_and_nothing_empty(void **state) {
    (void)state;
    char a[PKI_TOKEN_TEXT + 1], b[PKI_TOKEN_TEXT + 1];
    unsigned char hashes[4][PKI_TOKEN] = { 0 };
    pki_token_make(PKI_TOKEN_BEARER, a);
    pki_token_make(PKI_TOKEN_BEARER, b);
    assert_true(strncmp(a, "drst_", 5) == 0 && strlen(a) == 69 && strcmp(a, b) != 0);
    assert_true(pki_token_hash(PKI_TOKEN_BEARER, sv_of(a), hashes[1]));
    assert_true(pki_token_hash(PKI_TOKEN_BEARER, sv_of(b), hashes[2]));
    memcpy(hashes[3], hashes[1], PKI_TOKEN);
    const unsigned char(*h)[PKI_TOKEN] = (const unsigned char(*)[PKI_TOKEN])hashes;
    assert_int_equal(pki_token_matches(PKI_TOKEN_BEARER, sv_of(a), h, 4), 1 << 1 | 1 << 3);
    assert_int_equal(pki_token_matches(PKI_TOKEN_BEARER, sv_of(b), h, 4), 1 << 2);
    assert_int_equal(pki_token_matches(PKI_TOKEN_BEARER, sv_of(b), h, 2), 0);
    assert_int_equal(pki_token_matches(PKI_TOKEN_JOIN, sv_of(a), h, 4), 0);
    assert_int_equal(pki_token_matches(PKI_TOKEN_BEARER, SV_NULL, h, 4), 0);
    assert_int_equal(pki_token_matches(PKI_TOKEN_BEARER, SV("drst_"), h, 1), 0);
    a[68] = a[68] == '0' ? '1' : '0';
    assert_int_equal(pki_token_matches(PKI_TOKEN_BEARER, sv_of(a), h, 4), 0);
    a[68] = 'F';
    assert_false(pki_token_hash(PKI_TOKEN_BEARER, sv_of(a), hashes[0]));
    char join[PKI_TOKEN_TEXT + 1];
    pki_token_make(PKI_TOKEN_JOIN, join);
    assert_true(pki_token_hash(PKI_TOKEN_JOIN, sv_of(join), hashes[0]));
}

static void renewal_comes_at_two_thirds_and_a_little_and_always_the_same(void **state) {
    (void)state;
    int64_t life = 7 * PKI_DAY_S, least = INT64_MAX, most = 0;
    for (int i = 0; i < 300; i++) {
        char serial[41];
        snprintf(serial, sizeof serial, "%040d", i);
        int64_t at = pki_renew_at(NOW, NOW + life, serial);
        assert_int_equal(at, pki_renew_at(NOW, NOW + life, serial));
        assert_true(at >= NOW + life * 2 / 3 && at <= NOW + life * 2 / 3 + life / 20);
        assert_false(pki_renew_due(NOW, NOW + life, serial, at - 1));
        assert_true(pki_renew_due(NOW, NOW + life, serial, at));
        assert_true(pki_renew_due(NOW, NOW + life, serial, at + 365 * PKI_DAY_S));
        least = at < least ? at : least;
        most = at > most ? at : most;
    }
    assert_true(most - least > life / 40);
    for (int i = 0; i < 100; i++) {
        int64_t wait = pki_renew_retry_s(NOW, NOW + life);
        assert_true(wait >= 60 && wait <= life / 40);
        assert_int_equal(pki_renew_retry_s(NOW, NOW + 600), 60);
    }
}

/* --- the invite ---------------------------------------------------------------------------------------------------------------------- */

static void refused(struct sv line, int64_t now_s, const char *words) {
    struct pki_invite in;
    struct err e = { 0 };
    char *exact = malloc(line.n ? line.n : 1);
    memcpy(exact, line.p, line.n);
    if (pki_invite_read((struct sv){ exact, line.n }, now_s, &in, &e))
        fail_msg("taken: %.*s", SV_FMT(line));
    assert_int_equal(e.code, ERR_BAD_REQUEST);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
    free(exact);
}

static void an_invite_survives_the_way_or_says_what_happened_to_it(void **state) {
    (void)state;
    struct pki_invite in = { .urls = { "https://hub.example.net:11434", "https://192.0.2.7:11434" },
                             .n_urls = 2,
                             .expires_s = NOW + 3600,
                             .fleet = "fleet" },
                      out;
    struct buf line = BUF_MAX(PKI_INVITE_MAX + 100);
    struct err e = { 0 };
    for (unsigned i = 0; i < TLS_PIN; i++)
        in.pin[i] = (unsigned char)(i * 7);
    pki_token_make(PKI_TOKEN_JOIN, in.token);
    assert_true(pki_invite_print(&in, &line));
    struct sv v = buf_sv(&line);
    if (!pki_invite_read(v, NOW, &out, &e))
        fail_msg("%s", e.text);
    assert_memory_equal(&in, &out, sizeof in);
    for (size_t n = 0; n < v.n; n++)
        refused(sv_first(v, n), NOW, n < 14 ? "not an invite" : "cut off");
    for (size_t i = 16; i < v.n; i++) { /* one character mistyped, wherever */
        char was = line.p[i];
        line.p[i] = was == 'A' ? 'B' : 'A';
        assert_false(pki_invite_read(v, NOW, &out, &e));
        line.p[i] = '\n';
        refused(v, NOW, i + 1 < v.n ? "broken into two lines" : "cut off");
        line.p[i] = '!';
        refused(v, NOW, "does not belong");
        line.p[i] = was;
    }
    refused(v, NOW + 3600 + 1200, "expired 20 min ago");
    assert_true(pki_invite_read(v, 0, &out, &e));
    buf_add(&line, SV(" \r\n"));
    assert_true(pki_invite_read(buf_sv(&line), NOW, &out, &e));
    line.n -= 3;
    buf_add(&line, SV("AAAA"));
    refused(buf_sv(&line), NOW, "damaged");
    line.p[14] = '2';
    refused(buf_sv(&line), NOW, "another version");
    refused(SV("https://hub.example.net/join/1/abc"), NOW, "not an invite");
    static char large[PKI_INVITE_MAX + 1];
    memset(large, 'A', sizeof large);
    refused((struct sv){ large, sizeof large }, NOW, "at most");
    /* what cannot be written */
    struct pki_invite bad = in;
    bad.n_urls = 0;
    assert_false(pki_invite_print(&bad, &line));
    bad = in;
    snprintf(bad.urls[1], sizeof bad.urls[1], "ftp://x");
    assert_false(pki_invite_print(&bad, &line));
    bad = in;
    bad.token[1] = 'x';
    assert_false(pki_invite_print(&bad, &line));
    bad = in;
    snprintf(bad.fleet, sizeof bad.fleet, "Fleet");
    assert_false(pki_invite_print(&bad, &line));
    bad = in;
    bad.n_urls = PKI_INVITE_URLS; /* the longest there can be */
    for (unsigned i = 0; i < PKI_INVITE_URLS; i++)
        snprintf(bad.urls[i], sizeof bad.urls[i], "https://%0247d", i);
    snprintf(bad.fleet, sizeof bad.fleet, "%040d", 1);
    buf_reset(&line);
    assert_true(pki_invite_print(&bad, &line));
    assert_true(line.n <= PKI_INVITE_MAX);
    assert_true(pki_invite_read(buf_sv(&line), NOW, &out, &e));
    assert_memory_equal(&bad, &out, sizeof bad);
    buf_deinit(&line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_identity_has_one_spelling),
        cmocka_unit_test(the_root_is_what_the_profile_says),
        cmocka_unit_test(an_authority_is_loaded_again_whatever_its_kind_of_key_and_with_its_passphrase_only),
        cmocka_unit_test(names_of_authorities_never_come_twice),
        cmocka_unit_test(a_key_without_its_root_is_made_anew),
        cmocka_unit_test(a_retired_authority_leaves_its_root_and_its_name),
        cmocka_unit_test(a_leaf_says_what_was_wished_and_nothing_that_the_request_said),
        cmocka_unit_test(a_listener_has_its_names_and_addresses),
        cmocka_unit_test(odd_wishes_are_refused),
        cmocka_unit_test(nothing_outlives_its_authority_and_nothing_is_issued_when_the_clock_went_back),
        cmocka_unit_test(each_deviation_from_the_profile_is_refused),
        cmocka_unit_test(a_leaf_cannot_sign_another),
        cmocka_unit_test(a_pin_reads_as_it_is_written),
        cmocka_unit_test(a_token_matches_the_hashes_it_has_and_nothing_empty),
        cmocka_unit_test(renewal_comes_at_two_thirds_and_a_little_and_always_the_same),
        cmocka_unit_test(an_invite_survives_the_way_or_says_what_happened_to_it),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
