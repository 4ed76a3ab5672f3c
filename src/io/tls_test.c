/* TLS as Drover's parts speak it with each other: who is let in, who is told why not, and what is known of the other afterwards.
 * Real sockets of a pair; certificates are made here and now. */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "io/given.h"
#include "io/tls_meet.h"

/* --- certificates ---------------------------------------------------------------------------------------------------- */

struct id {
    EVP_PKEY *key;
    X509 *cert;
    char *pem, *key_pem;
    unsigned char pin[TLS_PIN];
};

struct profile {
    const char *san;    /* NULL: a CA */
    const char *usage;  /* of a leaf */
    long from_s, to_s;  /* from now */
    bool sloppy;        /* without key identifiers: lax verification takes it, strict does not */
};

static char *text_of(BIO *b) {
    char *p;
    long n = BIO_get_mem_data(b, &p);
    char *copy = mem_str(p, (size_t)n);
    BIO_free(b);
    return copy;
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
}

static struct id make(const struct id *by, const char *cn, struct profile p) {
    static long serial = 0x1234;
    struct id id = { EVP_EC_gen("P-256"), X509_new(), NULL, NULL, { 0 } };
    X509 *x = id.cert, *issuer = by ? by->cert : x;
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), p.from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), p.to_s);
    X509_set_pubkey(x, id.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer));
    if (!p.sloppy)
        extend(x, issuer, NID_subject_key_identifier, "hash");
    if (!p.sloppy && by)
        extend(x, issuer, NID_authority_key_identifier, "keyid");
    extend(x, issuer, NID_basic_constraints, p.san ? "critical,CA:FALSE" : "critical,CA:TRUE,pathlen:0");
    extend(x, issuer, NID_key_usage, p.san ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign");
    if (p.usage)
        extend(x, issuer, NID_ext_key_usage, p.usage);
    if (p.san)
        extend(x, issuer, NID_subject_alt_name, p.san);
    assert_true(X509_sign(x, by ? by->key : id.key, EVP_sha256()) > 0);
    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(b, x);
    id.pem = text_of(b);
    b = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(b, id.key, NULL, NULL, 0, NULL, NULL);
    id.key_pem = text_of(b);
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(id.key, &der);
    EVP_Digest(der, (size_t)n, id.pin, NULL, EVP_sha256(), NULL);
    OPENSSL_free(der);
    return id;
}

static struct id ca, other_ca, server, server2, client;
static const struct profile ca_profile = { NULL, NULL, -300, 86400, false };
#define HUB "hub-1.fleet.drover.internal"

static int make_all(void **state) {
    (void)state;
    ca = make(NULL, "test CA", ca_profile);
    other_ca = make(NULL, "other CA", ca_profile);
    server = make(&ca, "server", (struct profile){ "DNS:" HUB, "serverAuth", -300, 3600, false });
    server2 = make(&ca, "server 2", (struct profile){ "DNS:" HUB, "serverAuth", -300, 3600, false });
    client = make(&ca, "client", (struct profile){ "URI:drover://fleet/node/n1", "clientAuth", -300, 3600, false });
    return 0;
}

static void drop(struct id *id) {
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    mem_free(id->pem);
    mem_free(id->key_pem);
}

static int drop_all(void **state) {
    (void)state;
    struct id *all[] = { &ca, &other_ca, &server, &server2, &client };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        drop(all[i]);
    return 0;
}

/* --- two sides ------------------------------------------------------------------------------------------------------- */

static char *joined(const char *a, const char *b) {
    size_t n = strlen(a) + strlen(b) + 1;
    char *both = malloc(n);
    assert_non_null(both);
    snprintf(both, n, "%s%s", a, b);
    return both;
}

static struct tls_spec server_spec(const struct id *id, const struct id *trust, enum tls_ask ask) {
    return (struct tls_spec){ .server = true, .modern = true, .ask = ask, .chain_pem = sv_of(id->pem), .key_pem = sv_of(id->key_pem),
                              .trust_pem = trust ? sv_of(trust->pem) : SV_NULL };
}

static struct tls_spec client_spec(const struct id *id, const struct id *trust) {
    return (struct tls_spec){ .modern = true, .chain_pem = id ? sv_of(id->pem) : SV_NULL, .key_pem = id ? sv_of(id->key_pem) : SV_NULL,
                              .trust_pem = trust ? sv_of(trust->pem) : SV_NULL };
}

static void meet_specs(struct tls_spec s, struct tls_spec c, const char *name, struct side *ret_s, struct side *ret_c) {
    struct err e = { 0 };
    struct tls_context *sc = tls_context_new(&s, &e), *cc = tls_context_new(&c, &e);
    if (!sc || !cc)
        fail_msg("%s", e.text);
    meet(sc, cc, name, ret_s, ret_c);
    tls_unref(sc);
    tls_unref(cc);
}

/* --- tests ----------------------------------------------------------------------------------------------------------- */

static void both_prove_who_they_are_and_each_knows_the_other(void **state) {
    (void)state;
    struct side s, c;
    meet_specs(server_spec(&server, &ca, TLS_ASK_REQUIRED), client_spec(&client, &ca), HUB, &s, &c);
    assert_true(met(&s, &c));
    assert_string_equal(s.facts.uri, "drover://fleet/node/n1");
    assert_memory_equal(s.facts.spki, client.pin, TLS_PIN);
    assert_memory_equal(c.facts.spki, server.pin, TLS_PIN);
    assert_true(s.facts.has_cert);
    assert_string_equal(c.facts.uri, "");
    assert_int_equal(s.facts.not_after_s - s.facts.not_before_s, 3900);
    unsigned char hash[32];
    X509_digest(client.cert, EVP_sha256(), hash, NULL);
    assert_memory_equal(s.facts.leaf_sha256, hash, 32);
    char serial[41];
    snprintf(serial, sizeof serial, "%04lx", ASN1_INTEGER_get(X509_get0_serialNumber(client.cert)));
    assert_string_equal(s.facts.serial, serial);
}

static void a_plain_stream_has_no_facts(void **state) {
    (void)state;
    int fd[2];
    struct tls_facts f;
    assert_true(loop_init(&loop, NULL));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    struct stream *s = sock_stream(&loop, fd[0], NULL);
    assert_false(tls_facts(s, &f));
    stream_close(s);
    close(fd[1]);
    loop_deinit(&loop);
}

static void a_client_without_a_certificate_is_refused_where_one_is_required_and_learns_it_at_its_first_read(void **state) {
    (void)state;
    struct side s, c;
    meet_specs(server_spec(&server, &ca, TLS_ASK_REQUIRED), client_spec(NULL, &ca), HUB, &s, &c);
    assert_null(s.s);
    assert_non_null(c.s); /* its side of the handshake was complete */
    says(&s, "the client sent no certificate");
    says(&c, "the server wants a certificate, and we sent none");
}

static void an_optional_certificate_may_be_missing_but_not_wrong(void **state) {
    (void)state;
    struct side s, c;
    struct id stranger = make(&other_ca, "stranger", (struct profile){ "URI:drover://fleet/node/n1", "clientAuth", -300, 3600, false });
    meet_specs(server_spec(&server, &ca, TLS_ASK_OPTIONAL), client_spec(NULL, &ca), HUB, &s, &c);
    assert_true(met(&s, &c));
    assert_false(s.facts.has_cert);
    meet_specs(server_spec(&server, &ca, TLS_ASK_OPTIONAL), client_spec(&client, &ca), HUB, &s, &c);
    assert_true(met(&s, &c));
    assert_true(s.facts.has_cert);
    meet_specs(server_spec(&server, &ca, TLS_ASK_OPTIONAL), client_spec(&stranger, &ca), HUB, &s, &c);
    assert_null(s.s);
    says(&s, "the client's certificate");
    says(&c, "does not trust whoever signed our certificate");
    drop(&stranger);
}

static void each_fault_of_a_certificate_has_its_words_on_both_sides(void **state) {
    (void)state;
    static const struct {
        struct profile p;
        const char *server, *client;
    } clients[] = {
        { { "URI:drover://f/node/n", "clientAuth", -7200, -3600, false },
          "client's certificate (/CN=x): expired",
          "our certificate has expired" },
        { { "URI:drover://f/node/n", "clientAuth", 3600, 7200, false }, "not yet valid", "not yet valid or damaged; is a clock wrong?" },
        { { "URI:drover://f/node/n", "serverAuth", -300, 3600, false }, "purpose", "for another use" },
        { { "URI:drover://f/node/n", "clientAuth", -300, 3600, true }, "ey Identifier", "our certificate" },
    };
    static const struct {
        struct profile p;
        const char *client;
    } servers[] = {
        { { "DNS:" HUB, "serverAuth", -7200, -3600, false }, "the server's certificate (/CN=x): expired" },
        { { "DNS:" HUB, "serverAuth", 3600, 7200, false }, "not yet valid: it begins" },
        { { "DNS:" HUB, "clientAuth", -300, 3600, false }, "purpose" },
        { { "DNS:other.fleet.drover.internal", "serverAuth", -300, 3600, false }, "ostname mismatch" },
        { { "DNS:" HUB, "serverAuth", -300, 3600, true }, "ey Identifier" },
    };
    struct side s, c;
    for (unsigned i = 0; i < sizeof clients / sizeof *clients; i++) {
        struct id bad = make(&ca, "x", clients[i].p);
        meet_specs(server_spec(&server, &ca, TLS_ASK_REQUIRED), client_spec(&bad, &ca), HUB, &s, &c);
        assert_null(s.s);
        says(&s, clients[i].server);
        says(&c, clients[i].client);
        drop(&bad);
    }
    for (unsigned i = 0; i < sizeof servers / sizeof *servers; i++) {
        struct id bad = make(&ca, "x", servers[i].p);
        meet_specs(server_spec(&bad, &ca, TLS_ASK_REQUIRED), client_spec(&client, &ca), HUB, &s, &c);
        assert_null(s.s);
        assert_null(c.s);
        says(&c, servers[i].client);
        drop(&bad);
    }
}

static void the_name_of_the_context_is_verified_in_place_of_the_dialled_one(void **state) {
    (void)state;
    struct side s, c;
    struct tls_spec spec = client_spec(NULL, &ca);
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, "127.0.0.1", &s, &c);
    says(&c, "address mismatch");
    spec.name = SV(HUB);
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, "127.0.0.1", &s, &c);
    assert_true(met(&s, &c));
    spec.name = SV("hub-2.fleet.drover.internal");
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, HUB, &s, &c);
    says(&c, "ostname mismatch");
}

/* What a client says first to whoever is at the other end of fd. */
static size_t first_words(struct tls_spec spec, char *to, size_t size) {
    int fd[2];
    struct side c = { 0 };
    struct err e = { 0 };
    struct tls_context *tls = tls_context_new(&spec, &e);
    assert_non_null(tls);
    assert_true(loop_init(&loop, NULL));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    struct dialer *d = dialer_given(fd[1], tls, &e);
    struct dial *a = dialer_dial(d, &loop, 100, on_done, &c, &e);
    assert_non_null(a);
    assert_null(dialer_dial(d, &loop, 100, on_done, &c, &e)); /* one connection is one dial */
    assert_non_null(strstr(e.text, "used already"));
    uint64_t begin = clock_mono_us();
    while (!c.done && clock_mono_us() - begin < 5000000)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_null(c.s);
    says(&c, "in time");
    assert_true(clock_mono_us() - begin >= 100000);
    ssize_t n = recv(fd[0], to, size, MSG_DONTWAIT);
    assert_true(n > 0);
    assert_int_equal(recv(fd[0], to + n, size - (size_t)n, MSG_DONTWAIT), 0); /* and hangs up */
    close(fd[0]);
    dialer_unref(d);
    tls_unref(tls);
    loop_deinit(&loop);
    return (size_t)n;
}

static void a_connection_that_was_given_speaks_first_and_may_say_no_name(void **state) {
    (void)state;
    char hello[8192];
    struct tls_spec spec = client_spec(&client, &ca);
    spec.name = SV(HUB);
    size_t n = first_words(spec, hello, sizeof hello);
    assert_non_null(memmem(hello, n, HUB, strlen(HUB)));
    spec.hides_name = true;
    n = first_words(spec, hello, sizeof hello);
    assert_null(memmem(hello, n, "drover", 6));
    struct side s, c; /* it is verified all the same */
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, "", &s, &c);
    assert_true(met(&s, &c));
    spec.name = SV("hub-2.fleet.drover.internal");
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, "", &s, &c);
    says(&c, "ostname mismatch");
}

static void a_connection_that_nobody_dials_is_closed(void **state) {
    (void)state;
    int fd[2];
    char c;
    struct tls_spec spec = client_spec(NULL, &ca);
    struct tls_context *tls = tls_context_new(&spec, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    assert_true(loop_init(&loop, NULL));
    struct stream *s = sock_stream(&loop, fd[1], NULL);
    assert_int_equal(sock_release(s), fd[1]);
    struct dialer *d = dialer_given(fd[1], tls, NULL);
    assert_int_equal(recv(fd[0], &c, 1, MSG_DONTWAIT), -1);
    dialer_unref(d);
    assert_int_equal(recv(fd[0], &c, 1, MSG_DONTWAIT), 0);
    close(fd[0]);
    tls_unref(tls);
    loop_deinit(&loop);
}

static void a_pin_is_needed_beside_the_chain_never_instead_of_it(void **state) {
    (void)state;
    static const unsigned char wrong[TLS_PIN] = { 1 };
    unsigned char pins[2][TLS_PIN];
    struct side s, c;
    struct tls_spec spec = client_spec(NULL, &ca);
    memcpy(pins[0], server.pin, TLS_PIN);
    memcpy(pins[1], wrong, TLS_PIN);
    spec.pins = (const unsigned char(*)[TLS_PIN])pins;
    spec.n_pins = 1;
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, HUB, &s, &c);
    assert_true(met(&s, &c));
    meet_specs(server_spec(&server2, NULL, TLS_ASK_OFF), spec, HUB, &s, &c); /* right CA, wrong pin */
    assert_null(c.s);
    says(&c, "its key is not the one that was expected, but sha256:");
    says(&s, "our key is not the one that it expects");
    spec.n_pins = 2;
    memcpy(pins[1], server2.pin, TLS_PIN);
    meet_specs(server_spec(&server2, NULL, TLS_ASK_OFF), spec, HUB, &s, &c);
    assert_true(met(&s, &c));
    spec.trust_pem = sv_of(other_ca.pem); /* right pin, wrong CA */
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, HUB, &s, &c);
    says(&c, "the server's certificate");
    spec.trust_pem = sv_of(ca.pem);
    memcpy(pins[0], ca.pin, TLS_PIN); /* the key of one that vouches for the leaf */
    spec.n_pins = 1;
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, HUB, &s, &c);
    assert_true(met(&s, &c));
}

static void a_pinned_certificate_that_only_comes_along_proves_nothing(void **state) {
    (void)state;
    struct side s, c;
    char *chain = joined(server2.pem, server.pem);
    struct tls_spec sspec = server_spec(&server2, NULL, TLS_ASK_OFF), spec = client_spec(NULL, &ca);
    sspec.chain_pem = sv_of(chain);
    spec.pins = (const unsigned char(*)[TLS_PIN])&server.pin;
    spec.n_pins = 1;
    meet_specs(sspec, spec, HUB, &s, &c);
    assert_null(c.s);
    says(&c, "its key is not the one");
    spec.pins_alone = true;
    spec.trust_pem = SV_NULL;
    meet_specs(sspec, spec, HUB, &s, &c);
    assert_null(c.s);
    says(&c, "the server's certificate");
    free(chain);
}

static void a_pin_alone_is_an_anchor_of_its_own(void **state) {
    (void)state;
    struct side s, c;
    struct id late = make(&ca, "late", (struct profile){ "DNS:" HUB, "serverAuth", -7200, -3600, false });
    struct id no_server = make(&ca, "no server", (struct profile){ "DNS:" HUB, "clientAuth", -300, 3600, false });
    struct tls_spec spec = client_spec(NULL, NULL);
    spec.pins_alone = true;
    spec.n_pins = 1;
    spec.pins = (const unsigned char(*)[TLS_PIN])&server.pin;
    meet_specs(server_spec(&server, NULL, TLS_ASK_OFF), spec, "192.0.2.1", &s, &c); /* whatever its name */
    assert_true(met(&s, &c));
    meet_specs(server_spec(&server2, NULL, TLS_ASK_OFF), spec, HUB, &s, &c);
    says(&c, "its key is not the one that was expected");
    spec.pins = (const unsigned char(*)[TLS_PIN])&late.pin;
    meet_specs(server_spec(&late, NULL, TLS_ASK_OFF), spec, HUB, &s, &c);
    says(&c, "expired");
    spec.pins = (const unsigned char(*)[TLS_PIN])&no_server.pin;
    meet_specs(server_spec(&no_server, NULL, TLS_ASK_OFF), spec, HUB, &s, &c);
    says(&c, "purpose");
    char *chain = joined(server2.pem, ca.pem);
    struct tls_spec sspec = server_spec(&server2, NULL, TLS_ASK_OFF);
    sspec.chain_pem = sv_of(chain);
    spec.pins = (const unsigned char(*)[TLS_PIN])&ca.pin; /* the root's, which is sent along: any leaf of it will do */
    meet_specs(sspec, spec, HUB, &s, &c);
    assert_true(met(&s, &c));
    meet_specs(server_spec(&server2, NULL, TLS_ASK_OFF), spec, HUB, &s, &c); /* not sent: nothing to check against */
    assert_null(c.s);
    free(chain);
    drop(&late);
    drop(&no_server);
}

static void a_root_that_is_gone_is_gone_for_all(void **state) {
    (void)state;
    struct side s, c;
    struct tls_spec spec = server_spec(&server, &ca, TLS_ASK_REQUIRED), old = client_spec(&client, &ca);
    struct tls_context *before = tls_context_new(&spec, NULL), *node = tls_context_new(&old, NULL);
    spec.trust_pem = sv_of(other_ca.pem);
    struct tls_context *after = tls_context_new(&spec, NULL);
    meet(before, node, HUB, &s, &c);
    assert_true(met(&s, &c));
    meet(before, node, HUB, &s, &c);
    assert_true(met(&s, &c) && s.facts.has_cert);
    meet(after, node, HUB, &s, &c);
    assert_null(s.s);
    says(&c, "does not trust whoever signed our certificate");
    tls_unref(before);
    tls_unref(after);
    tls_unref(node);
}

/* A client straight from the library, which keeps sessions and speaks up to version (0: all). *ret_resumable: it was given what it
 * would need to come back with the same session. */
static void meet_raw(struct tls_spec spec, int version, struct side *ret_s, bool *ret_resumable) {
    struct tls_context *ctx = tls_context_new(&spec, NULL);
    char text[64];
    int fd[2], rc = 0;
    *ret_s = (struct side){ .got = BUF_MAX(64) };
    assert_non_null(ctx);
    assert_true(loop_init(&loop, NULL));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    SSL_CTX *raw = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(raw, version);
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_CLIENT);
    SSL *ssl = SSL_new(raw);
    SSL_set_fd(ssl, fd[1]);
    assert_non_null(tls_start(ctx, sock_stream(&loop, fd[0], NULL), SV_NULL, on_done, ret_s, NULL));
    uint64_t end = clock_mono_us() + 2000000;
    for (bool heard = false; clock_mono_us() < end && !heard && !ret_s->fault.code;) {
        if (rc != 1)
            rc = SSL_connect(ssl);
        else
            heard = SSL_read(ssl, text, sizeof text) > 0;
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
    SSL_SESSION *session = SSL_get1_session(ssl);
    *ret_resumable = session && SSL_SESSION_is_resumable(session);
    SSL_SESSION_free(session);
    stream_close(ret_s->s);
    SSL_free(ssl);
    SSL_CTX_free(raw);
    close(fd[1]);
    tls_unref(ctx);
    loop_deinit(&loop);
}

static void parts_speak_1_3_only_and_others_may_speak_1_2(void **state) {
    (void)state;
    struct side s;
    bool resumable;
    struct tls_spec spec = server_spec(&server, NULL, TLS_ASK_OFF);
    meet_raw(spec, TLS1_2_VERSION, &s, &resumable);
    assert_null(s.s);
    says(&s, "the client and we have no version of TLS in common");
    spec.modern = false;
    meet_raw(spec, TLS1_2_VERSION, &s, &resumable);
    assert_non_null(s.s);
}

static void whoever_proves_itself_by_certificate_gets_no_session_to_come_back_with(void **state) {
    (void)state;
    struct side s;
    bool resumable;
    static const int versions[] = { 0, TLS1_2_VERSION };
    for (unsigned i = 0; i < 2; i++) {
        struct tls_spec spec = server_spec(&server, NULL, TLS_ASK_OFF);
        spec.modern = false;
        meet_raw(spec, versions[i], &s, &resumable);
        assert_true(s.s && resumable); /* a public listener, for contrast */
        spec.ask = TLS_ASK_OPTIONAL;
        spec.trust_pem = sv_of(ca.pem);
        meet_raw(spec, versions[i], &s, &resumable);
        assert_true(s.s && !resumable);
    }
    meet_raw(server_spec(&server, NULL, TLS_ASK_OFF), 0, &s, &resumable);
    assert_true(s.s && !resumable);
}

/* Sends what the library's client has to say, cut after the first `cut` bytes (0: not cut), and lets the server take each part alone. */
static size_t send_cut(BIO *from, int fd, size_t cut) {
    char *p;
    size_t n = (size_t)BIO_get_mem_data(from, &p), at = cut && cut < n ? cut : n;
    assert_int_equal(write(fd, p, at), (ssize_t)at);
    for (int i = 0; i < 3 && at < n; i++)
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    if (at < n)
        assert_int_equal(write(fd, p + at, n - at), (ssize_t)(n - at));
    (void)BIO_reset(from);
    return n;
}

static void a_client_hello_may_come_in_two_parts_cut_anywhere(void **state) {
    (void)state;
    struct tls_spec spec = server_spec(&server, NULL, TLS_ASK_OFF);
    struct tls_context *ctx = tls_context_new(&spec, NULL);
    SSL_CTX *raw = SSL_CTX_new(TLS_client_method());
    size_t hello = 2;
    for (size_t cut = 1; cut < hello; cut += 3) { /* a hybrid one has 1,450 bytes and never fits one packet */
        struct side s = { .got = BUF_MAX(64) };
        char text[16 << 10];
        int fd[2];
        assert_true(loop_init(&loop, NULL));
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
        SSL *ssl = SSL_new(raw);
        BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
        SSL_set_bio(ssl, in, out);
        assert_non_null(tls_start(ctx, sock_stream(&loop, fd[0], NULL), SV_NULL, on_done, &s, NULL));
        assert_int_equal(SSL_connect(ssl), -1);
        hello = send_cut(out, fd[1], cut);
        uint64_t end = clock_mono_us() + 2000000;
        while (clock_mono_us() < end && !s.done) {
            uv_run(&loop.uv, UV_RUN_NOWAIT);
            ssize_t n = read(fd[1], text, sizeof text);
            if (n > 0 && BIO_write(in, text, (int)n) == n && SSL_connect(ssl) == 1)
                send_cut(out, fd[1], 0);
        }
        if (!s.s)
            fail_msg("cut after %zu: %s", cut, s.fault.text);
        stream_close(s.s);
        SSL_free(ssl);
        close(fd[1]);
        loop_deinit(&loop);
    }
    SSL_CTX_free(raw);
    tls_unref(ctx);
}

static bool library_has_hybrid(void) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    bool has = SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768") == 1;
    SSL_CTX_free(ctx);
    return has;
}

static void the_hybrid_group_is_agreed_on_where_the_library_has_it_and_required_says_so_where_not(void **state) {
    (void)state;
    struct side s, c;
    struct err e = { 0 };
    bool has = library_has_hybrid();
    struct tls_spec ss = server_spec(&server, NULL, TLS_ASK_OFF), cs = client_spec(NULL, &ca);
    meet_specs(ss, cs, HUB, &s, &c);
    assert_true(met(&s, &c));
    assert_int_equal(c.facts.is_pq, has);
    assert_int_equal(s.facts.is_pq, has);
    assert_non_null(strcasestr(c.group, "x25519"));
    cs.pq = TLS_PQ_OFF;
    meet_specs(ss, cs, HUB, &s, &c);
    assert_true(met(&s, &c));
    assert_false(c.facts.is_pq);
    cs.pq = TLS_PQ_REQUIRED;
    if (!has) {
        assert_null(tls_context_new(&cs, &e));
        assert_non_null(strstr(e.text, "pq: required"));
        assert_non_null(strstr(e.text, "OpenSSL 3.5"));
        return;
    }
    meet_specs(ss, cs, HUB, &s, &c);
    assert_true(c.facts.is_pq);
    ss.pq = TLS_PQ_OFF;
    meet_specs(ss, cs, HUB, &s, &c);
    assert_null(s.s);
}

static void one_protocol_is_agreed_on_or_none(void **state) {
    (void)state;
    struct side s, c;
    struct tls_spec ss = server_spec(&server, NULL, TLS_ASK_OFF), cs = client_spec(NULL, &ca);
    ss.alpn = cs.alpn = SV("http/1.1");
    meet_specs(ss, cs, HUB, &s, &c);
    assert_true(met(&s, &c));
    cs.alpn = SV("h2");
    meet_specs(ss, cs, HUB, &s, &c);
    assert_null(s.s);
    says(&c, "no application protocol in common");
    cs.alpn = SV_NULL;
    meet_specs(ss, cs, HUB, &s, &c);
    assert_true(met(&s, &c));
}

static void a_spec_that_would_check_nothing_is_refused(void **state) {
    (void)state;
    static const unsigned char pin[1][TLS_PIN] = { { 1 } };
    struct tls_spec bad[] = {
        { .server = true },
        server_spec(&server, NULL, TLS_ASK_OPTIONAL),
        client_spec(NULL, NULL),
        client_spec(NULL, &ca),
        client_spec(NULL, &ca),
        client_spec(NULL, &ca),
        client_spec(&client, &ca),
        server_spec(&server, NULL, TLS_ASK_OFF),
    };
    bad[3].pins_alone = true;
    bad[4].insecure = true;
    bad[4].pins = pin;
    bad[4].n_pins = 1;
    bad[5].trust_pem = SV("no certificate at all");
    bad[6].key_pem = sv_of(server.key_pem); /* not of that certificate */
    bad[7].pins = pin;
    bad[7].n_pins = 1;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = { 0 };
        assert_null(tls_context_new(&bad[i], &e));
        assert_true(e.code);
    }
}

static void every_way_out_of_memory_is_a_fault(void **state) {
    (void)state;
    struct tls_spec spec = client_spec(&client, &ca);
    spec.pins = (const unsigned char(*)[TLS_PIN])&server.pin;
    spec.n_pins = 1;
    for (long n = 1;; n++) {
        struct err e = { 0 };
        mem_fail_at(n, 0);
        struct tls_context *c = tls_context_new(&spec, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_int_equal(c != NULL, !hit);
        tls_unref(c);
        if (!hit)
            break;
        assert_true(e.code);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_prove_who_they_are_and_each_knows_the_other),
        cmocka_unit_test(a_plain_stream_has_no_facts),
        cmocka_unit_test(a_client_without_a_certificate_is_refused_where_one_is_required_and_learns_it_at_its_first_read),
        cmocka_unit_test(an_optional_certificate_may_be_missing_but_not_wrong),
        cmocka_unit_test(each_fault_of_a_certificate_has_its_words_on_both_sides),
        cmocka_unit_test(the_name_of_the_context_is_verified_in_place_of_the_dialled_one),
        cmocka_unit_test(a_connection_that_was_given_speaks_first_and_may_say_no_name),
        cmocka_unit_test(a_connection_that_nobody_dials_is_closed),
        cmocka_unit_test(a_pin_is_needed_beside_the_chain_never_instead_of_it),
        cmocka_unit_test(a_pinned_certificate_that_only_comes_along_proves_nothing),
        cmocka_unit_test(a_pin_alone_is_an_anchor_of_its_own),
        cmocka_unit_test(a_root_that_is_gone_is_gone_for_all),
        cmocka_unit_test(whoever_proves_itself_by_certificate_gets_no_session_to_come_back_with),
        cmocka_unit_test(parts_speak_1_3_only_and_others_may_speak_1_2),
        cmocka_unit_test(a_client_hello_may_come_in_two_parts_cut_anywhere),
        cmocka_unit_test(the_hybrid_group_is_agreed_on_where_the_library_has_it_and_required_says_so_where_not),
        cmocka_unit_test(one_protocol_is_agreed_on_or_none),
        cmocka_unit_test(a_spec_that_would_check_nothing_is_refused),
        cmocka_unit_test(every_way_out_of_memory_is_a_fault),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_all, drop_all);
}
