/* Leaves of the fleet in the handshakes they are made for: while the root changes, and while a node's own pair does. */
#include <openssl/pem.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/clock.h"
#include "io/tls_meet.h"
#include "pki/try.h"

static char dirs[2][64];
static struct pki_ca *ca[2];            /* old, new */
static struct try_leaf hub[2], node[2]; /* of them */
static struct buf trust[3];             /* old, both, new */
static int64_t now_s;

static int begin(void **state) {
    (void)state;
    now_s = (int64_t)(clock_wall_ms() / 1000);
    for (unsigned i = 0; i < 2; i++) {
        try_dir(dirs[i]);
        ca[i] = try_ca(dirs[i], now_s, i ? PKI_ED25519 : PKI_P256);
        hub[i] = try_leaf(ca[i], PKI_HUB, "h1", PKI_USE_SERVER | PKI_USE_CLIENT, PKI_P256, now_s);
        node[i] = try_leaf(ca[i], PKI_NODE, "n1", PKI_USE_SERVER | PKI_USE_CLIENT, PKI_ED25519, now_s);
    }
    for (unsigned i = 0; i < 3; i++) {
        buf_init(&trust[i], PKI_PEM_MAX);
        assert_true((i > 1 || buf_add(&trust[i], pki_ca_pem(ca[0]))) && (i < 1 || buf_add(&trust[i], pki_ca_pem(ca[1]))));
    }
    return 0;
}

static int end(void **state) {
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        buf_deinit(&trust[i]);
    for (unsigned i = 0; i < 2; i++) {
        try_drop(&hub[i]);
        try_drop(&node[i]);
        pki_ca_free(ca[i]);
        try_remove(dirs[i]);
    }
    return 0;
}

static struct tls_context *context(bool server, const struct try_leaf *l, const struct buf *roots) {
    struct err e = { 0 };
    struct tls_spec spec = { .server = server,
                             .modern = true,
                             .chain_pem = buf_sv(&l->chain),
                             .key_pem = buf_sv(&l->key),
                             .trust_pem = buf_sv(roots),
                             .ask = server ? TLS_ASK_REQUIRED : TLS_ASK_OFF,
                             .alpn = SV("http/1.1"),
                             .name = server ? SV_NULL : SV("h1.fleet.drover.internal") };
    struct tls_context *c = tls_context_new(&spec, &e);
    if (!c)
        fail_msg("%s", e.text);
    return c;
}

static bool do_meet(const struct try_leaf *h, const struct buf *h_trust, const struct try_leaf *n, const struct buf *n_trust,
                    struct side *s, struct side *c) {
    struct tls_context *sc = context(true, h, h_trust), *cc = context(false, n, n_trust);
    meet(sc, cc, "192.0.2.1", s, c);
    tls_unref(sc);
    tls_unref(cc);
    return met(s, c);
}

static void just_the_right_pairs_of_old_and_new_meet(void **state) {
    (void)state;
    struct side s, c;
    for (unsigned i = 0; i < 2 * 2 * 3 * 3; i++) {
        unsigned h = i & 1, n = i >> 1 & 1, h_trust = i / 4 % 3, n_trust = i / 12;
        bool hub_takes = h_trust == 1 || h_trust == 2 * n, node_takes = n_trust == 1 || n_trust == 2 * h;
        bool did = do_meet(&hub[h], &trust[h_trust], &node[n], &trust[n_trust], &s, &c);
        if (did != (hub_takes && node_takes))
            fail_msg("hub of root %u trusting %u, node of root %u trusting %u: %s; %s", h, h_trust, n, n_trust, s.fault.text, c.fault.text);
        if (did)
            assert_string_equal(s.facts.uri, "drover://fleet/node/n1");
        else if (node_takes)
            says(&c, "the server does not trust whoever signed our certificate");
        else
            says(&c, "the server's certificate");
    }
}

static void the_peer_is_who_its_certificate_was_issued_to(void **state) {
    (void)state;
    struct side s, c;
    struct pki_identity id;
    char text[PKI_PIN_TEXT + 1], other[PKI_PIN_TEXT + 1];
    assert_true(do_meet(&hub[0], &trust[0], &node[0], &trust[0], &s, &c));
    assert_true(pki_identity_read(sv_of(s.facts.uri), &id));
    assert_int_equal(id.role, PKI_NODE);
    assert_string_equal(id.id, "n1");
    assert_true(pki_identity_read(sv_of(c.facts.uri), &id));
    assert_int_equal(id.role, PKI_HUB);
    assert_string_equal(s.facts.serial, node[0].cert.is.serial);
    assert_memory_equal(s.facts.leaf_sha256, node[0].cert.is.leaf_sha256, 32);
    pki_pin_print(s.facts.spki, text);
    pki_pin_print(node[0].cert.is.spki, other);
    assert_string_equal(text, other);
}

static void authorities_and_keys_of_every_kind_shake_hands(void **state) {
    (void)state;
    static const enum pki_key kinds[] = { PKI_P256, PKI_RSA4096, PKI_ED25519 };
    struct side s, c;
    for (unsigned i = 0; i < 3; i++) {
        char dir[64];
        try_dir(dir);
        struct pki_ca *root = try_ca(dir, now_s, kinds[i]);
        struct try_leaf h = try_leaf(root, PKI_HUB, "h1", PKI_USE_SERVER, i == 2 ? PKI_ED25519 : PKI_P256, now_s);
        struct try_leaf n = try_leaf(root, PKI_NODE, "n1", PKI_USE_CLIENT, kinds[(i + 1) % 3], now_s);
        struct buf t = BUF_MAX(PKI_PEM_MAX);
        assert_true(buf_add(&t, pki_ca_pem(root)));
        if (!do_meet(&h, &t, &n, &t, &s, &c))
            fail_msg("%u: %s; %s", i, s.fault.text, c.fault.text);
        buf_deinit(&t);
        try_drop(&h);
        try_drop(&n);
        pki_ca_free(root);
        try_remove(dir);
    }
}

static void a_curve_of_384_bits_that_a_request_may_bring_is_good_in_a_handshake(void **state) {
    (void)state;
    struct side s, c;
    struct err e = { 0 };
    struct try_leaf n = { .key = BUF_MAX(PKI_PEM_MAX), .chain = BUF_MAX(PKI_PEM_MAX) };
    EVP_PKEY *key = EVP_EC_gen("P-384");
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL);
    long len = BIO_get_mem_data(b, &p);
    assert_true(buf_add(&n.key, (struct sv){ p, (size_t)len }));
    struct pki_wish w = { .usage = PKI_USE_CLIENT, .key_pem = buf_sv(&n.key), .now_s = now_s };
    assert_true(pki_identity_set(&w.who, PKI_NODE, SV("fleet"), SV("n1")));
    assert_true(pki_issue(ca[0], &w, &n.chain, &n.cert, &e));
    assert_true(do_meet(&hub[0], &trust[0], &n, &trust[0], &s, &c));
    BIO_free(b);
    EVP_PKEY_free(key);
    try_drop(&n);
}

static void a_node_joins_by_the_pin_of_its_invite_alone(void **state) {
    (void)state;
    struct side s, c;
    struct err e = { 0 };
    struct tls_spec server = { .server = true, .modern = true, .chain_pem = buf_sv(&hub[0].chain), .key_pem = buf_sv(&hub[0].key),
                               .trust_pem = buf_sv(&trust[0]), .ask = TLS_ASK_OPTIONAL };
    const unsigned char *pins[] = { hub[0].cert.is.spki, pki_ca_cert(ca[0])->is.spki, pki_ca_cert(ca[1])->is.spki };
    struct tls_context *sc = tls_context_new(&server, &e);
    for (unsigned i = 0; i < 3; i++) {
        struct tls_spec client = { .modern = true, .pins = (const unsigned char(*)[TLS_PIN])pins[i], .n_pins = 1, .pins_alone = true };
        struct tls_context *cc = tls_context_new(&client, &e);
        meet(sc, cc, "192.0.2.1", &s, &c);
        assert_int_equal(met(&s, &c), i < 2); /* the leaf's, and the root's: that one still holds when the leaf was renewed */
        tls_unref(cc);
    }
    tls_unref(sc);
}

static void a_leaf_is_replaced_by_another_context_while_the_old_one_ends_in_peace(void **state) {
    (void)state;
    struct side s, c;
    struct tls_context *current = context(true, &hub[0], &trust[1]), *client = context(false, &node[0], &trust[1]);
    for (unsigned i = 0; i < 20; i++) {
        struct tls_context *held = tls_ref(current); /* as a connection does */
        struct try_leaf fresh = try_leaf(ca[i & 1], PKI_HUB, "h1", PKI_USE_SERVER, PKI_P256, now_s);
        tls_unref(current);
        current = context(true, &fresh, &trust[1]);
        meet(current, client, "", &s, &c);
        assert_true(met(&s, &c));
        assert_memory_equal(c.facts.spki, fresh.cert.is.spki, TLS_PIN);
        meet(held, client, "", &s, &c);
        assert_true(met(&s, &c));
        tls_unref(held);
        try_drop(&fresh);
    }
    tls_unref(current);
    tls_unref(client);
}

static void clocks_that_differ_a_little_do_no_harm_and_much_is_said(void **state) {
    (void)state;
    struct side s, c;
    static const struct {
        int64_t ahead_s;
        const char *words;
    } clocks[] = { { -240, NULL }, { -3600, "not yet valid: it begins" }, { 6 * PKI_DAY_S, NULL }, { 8 * PKI_DAY_S, "expired" } };
    for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        clock_wall_shift(clocks[i].ahead_s * 1000);
        bool did = do_meet(&hub[0], &trust[0], &node[0], &trust[0], &s, &c);
        clock_wall_shift(0);
        assert_int_equal(did, clocks[i].words == NULL);
        if (!did)
            says(&c, clocks[i].words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(just_the_right_pairs_of_old_and_new_meet),
        cmocka_unit_test(the_peer_is_who_its_certificate_was_issued_to),
        cmocka_unit_test(authorities_and_keys_of_every_kind_shake_hands),
        cmocka_unit_test(a_curve_of_384_bits_that_a_request_may_bring_is_good_in_a_handshake),
        cmocka_unit_test(a_node_joins_by_the_pin_of_its_invite_alone),
        cmocka_unit_test(a_leaf_is_replaced_by_another_context_while_the_old_one_ends_in_peace),
        cmocka_unit_test(clocks_that_differ_a_little_do_no_harm_and_much_is_said),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, begin, end);
}
