/* A context from its spec: own certificate, whom to trust, which versions and groups. Everything is read here, once; what is
 * wrong is said here, and not in the first handshake. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

#include "base/buf.h"
#include "io/tls_room.h"

enum {
    PEM_MAX = 8 << 20,  /* bytes of a file with certificates; the bundles of systems have about 250 KiB */
};

bool tls__fault(struct err *e, const char *what) {
    unsigned long code = ERR_get_error();
    char text[160] = "unknown";
    if (code)
        ERR_error_string_n(code, text, sizeof text);
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return err_set(e, ERR_IO, "%s: %s", what, reason ? reason : text);
}

/* --- own certificate ----------------------------------------------------------------------------------------------- */

/* Without it OpenSSL would ask the terminal. */
static int no_passphrase(char *to, int size, int writing, void *arg) {
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static BIO *reader(struct sv pem) {
    return BIO_new_mem_buf(pem.p ? pem.p : "", (int)pem.n);
}

/* Reading on to where no more blocks come leaves just this in the queue. */
static bool is_pem_end(void) {
    unsigned long last = ERR_peek_last_error();
    bool end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (end)
        ERR_clear_error();
    return end;
}

static bool use_chain(SSL_CTX *ctx, struct sv pem, struct err *e) {
    BIO *in = reader(pem);
    X509 *leaf = in ? PEM_read_bio_X509_AUX(in, NULL, no_passphrase, NULL) : NULL;
    bool ok = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1;
    X509_free(leaf);
    for (X509 *x; ok && (x = PEM_read_bio_X509(in, NULL, no_passphrase, NULL));) {
        ok = SSL_CTX_add0_chain_cert(ctx, x) == 1;
        if (!ok)
            X509_free(x);
    }
    ok = ok && is_pem_end();
    BIO_free(in);
    return ok || tls__fault(e, "own certificate");
}

static bool use_key(SSL_CTX *ctx, struct sv pem, struct err *e) {
    BIO *in = reader(pem);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL) : NULL;
    bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    EVP_PKEY_free(key);
    BIO_free(in);
    return ok || tls__fault(e, "own key");
}

/* --- whom to trust --------------------------------------------------------------------------------------------------- */

static bool use_roots(SSL_CTX *ctx, struct sv pem, struct err *e) {
    BIO *in = reader(pem);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    unsigned n = 0;
    bool ok = in != NULL;
    for (X509 *x; ok && (x = PEM_read_bio_X509_AUX(in, NULL, no_passphrase, NULL)); n++) {
        ok = X509_STORE_add_cert(store, x) == 1;
        X509_free(x);
    }
    BIO_free(in);
    if (!ok || !is_pem_end())
        return tls__fault(e, "trusted certificates");
    return n > 0 || err_set(e, ERR_CONFIG, "trusted certificates: there is none");
}

static bool use_pins(struct tls_context *c, const struct tls_spec *spec, struct err *e) {
    if (spec->n_pins == 0)
        return true;
    c->pins = mem_copy(spec->pins, spec->n_pins * sizeof *spec->pins);
    c->n_pins = spec->n_pins;
    return c->pins ? true : err_no_memory(e);
}

static bool set_trust(struct tls_context *c, const struct tls_spec *spec, struct err *e) {
    bool asks = spec->server ? spec->ask != TLS_ASK_OFF : !spec->insecure;
    if (!asks) {
        SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
        return spec->n_pins == 0 || err_set(e, ERR_CONFIG, "TLS: pins, but no certificate is checked");
    }
    if (spec->pins_alone && spec->n_pins == 0)
        return err_set(e, ERR_CONFIG, "TLS: no pin to trust");
    if (spec->trust_pem.n) {
        if (!use_roots(c->ctx, spec->trust_pem, e))
            return false;
    } else if (!spec->pins_alone) {
        if (spec->server)
            return err_set(e, ERR_CONFIG, "TLS: certificates are asked for, but no root is given to check them against");
        if (spec->modern && spec->n_pins == 0)
            return err_set(e, ERR_CONFIG, "TLS: neither a root nor a pin to know the server by");
        if (SSL_CTX_set_default_verify_paths(c->ctx) != 1)
            return tls__fault(e, "system certificates");
    }
    c->pins_alone = spec->pins_alone;
    c->hides_name = spec->hides_name;
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER | (spec->ask == TLS_ASK_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    SSL_CTX_set_cert_verify_callback(c->ctx, tls__judge, c);
    if (spec->modern)
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c->ctx), X509_V_FLAG_X509_STRICT);
    return use_pins(c, spec, e);
}

/* --- versions, groups, protocols ------------------------------------------------------------------------------------- */

/* From the most to the least that libraries understand. The first makes a server insist on the hybrid with a client that has it,
 * and a client send both shares; OpenSSL before 3.5 refuses a list with one name it does not know, so trying is the only probe. */
static const char *const group_lists[] = {
    "?*X25519MLKEM768/?*X25519:?P-256:?P-384",
    "X25519MLKEM768:X25519:P-256:P-384",
    "X25519:P-256:P-384",
};

static bool set_groups(SSL_CTX *ctx, const struct tls_spec *spec, struct err *e) {
    unsigned n = sizeof group_lists / sizeof *group_lists;
    if (spec->pq == TLS_PQ_AUTO && !spec->modern)
        return true;
    if (spec->pq == TLS_PQ_REQUIRED) {
        SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION); /* below, a cipher without any group could be agreed on */
        if (SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768") == 1)
            return true;
        ERR_clear_error();
        return err_set(e, ERR_CONFIG, "pq: required, but %s has no X25519MLKEM768; it needs OpenSSL 3.5 or later, or pq: auto",
                       OpenSSL_version(OPENSSL_VERSION));
    }
    for (unsigned i = spec->pq == TLS_PQ_OFF ? n - 1 : 0; i < n; i++) {
        if (SSL_CTX_set1_groups_list(ctx, group_lists[i]) == 1)
            return true;
        if (i + 1 < n)
            ERR_clear_error();
    }
    return tls__fault(e, "TLS groups");
}

static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_n, const unsigned char *in, unsigned in_n, void *arg) {
    const struct tls_context *c = arg;
    (void)ssl;
    for (unsigned at = 0; at < in_n && in[at] < in_n - at; at += 1u + in[at]) {
        if (in[at] != c->alpn[0] || memcmp(in + at + 1, c->alpn + 1, c->alpn[0]) != 0)
            continue;
        *ret = in + at + 1;
        *ret_n = in[at];
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2 */
}

static bool set_protocol(struct tls_context *c, struct sv name, struct err *e) {
    if (name.n == 0)
        return true;
    if (name.n > TLS_NAME_MAX)
        return err_set(e, ERR_CONFIG, "TLS: ALPN name too long");
    c->alpn[0] = (unsigned char)name.n;
    memcpy(c->alpn + 1, name.p, name.n);
    SSL_CTX_set_alpn_select_cb(c->ctx, choose_protocol, c); /* each is heard on its own side only */
    return SSL_CTX_set_alpn_protos(c->ctx, c->alpn, (unsigned)name.n + 1) == 0 || tls__fault(e, "ALPN");
}

static bool set_modern(SSL_CTX *ctx, struct err *e) {
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_PRIORITIZE_CHACHA); /* a small client without AES units asks for it first and gets it */
    return (SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") == 1 &&
            SSL_CTX_set1_sigalgs_list(ctx, "ECDSA+SHA256:ECDSA+SHA384:ed25519:RSA-PSS+SHA256") == 1) ||
           tls__fault(e, "TLS algorithms");
}

/* Or a client whose root is trusted no more comes back with an old session, unseen. */
static void forbid_resumption(SSL_CTX *ctx) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
}

/* --- the whole -------------------------------------------------------------------------------------------------------- */

static bool set_up(struct tls_context *c, const struct tls_spec *spec, struct err *e) {
    static const unsigned char id[] = "drover";
    if (spec->chain_pem.n > PEM_MAX || spec->key_pem.n > PEM_MAX || spec->trust_pem.n > PEM_MAX)
        return err_set(e, ERR_CONFIG, "certificates: more than %d MiB", PEM_MAX >> 20);
    if ((spec->chain_pem.n == 0) != (spec->key_pem.n == 0) || (spec->server && spec->chain_pem.n == 0))
        return err_set(e, ERR_CONFIG, "TLS: own certificate and key belong together, one is missing");
    if (!sv_to_cstr(spec->name, c->name, sizeof c->name))
        return err_set(e, ERR_CONFIG, "TLS: server name too long");
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Of TLS 1.2 only what is forward secret and authenticated as one: no CBC (Lucky 13). */
    if (spec->server && SSL_CTX_set_cipher_list(c->ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        return tls__fault(e, "TLS algorithms");
    if (spec->server)
        SSL_CTX_set_session_id_context(c->ctx, id, sizeof id - 1);
    if (spec->modern && !set_modern(c->ctx, e))
        return false;
    if (spec->modern || (spec->server && spec->ask != TLS_ASK_OFF))
        forbid_resumption(c->ctx);
    if (!set_groups(c->ctx, spec, e) || !set_protocol(c, spec->alpn, e) || !set_trust(c, spec, e))
        return false;
    return spec->chain_pem.n == 0 || (use_chain(c->ctx, spec->chain_pem, e) && use_key(c->ctx, spec->key_pem, e));
}

struct tls_context *tls_context_new(const struct tls_spec *spec, struct err *e) {
    struct tls_context *c = mem_new(sizeof *c);
    if (!c) {
        err_no_memory(e);
        return NULL;
    }
    ERR_clear_error();
    c->server = spec->server;
    atomic_init(&c->refs, 1);
    c->ctx = SSL_CTX_new(spec->server ? TLS_server_method() : TLS_client_method());
    if (!c->ctx) {
        tls__fault(e, "TLS");
        return tls_unref(c);
    }
    return set_up(c, spec, e) ? c : tls_unref(c);
}

struct tls_context *tls_ref(struct tls_context *c) {
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

struct tls_context *tls_unref(struct tls_context *c) {
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        SSL_CTX_free(c->ctx);
        mem_free(c->pins);
        mem_free(c);
    }
    return NULL;
}

/* --- from files -------------------------------------------------------------------------------------------------------- */

static bool read_file(const char *path, struct buf *to, struct err *e) {
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    size_t n;
    do {
        char *room = buf_reserve(to, 16 << 10);
        n = room ? fread(room, 1, 16 << 10, f) : 0;
        buf_added(to, n);
    } while (n);
    bool ok = !ferror(f);
    if (!ok)
        err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    else if (to->failed)
        ok = err_set(e, ERR_IO, "%s: more than %d MiB", path, PEM_MAX >> 20);
    fclose(f);
    return ok;
}

static void wipe(struct buf *b) {
    if (b->base)
        OPENSSL_cleanse(b->base, b->cap);
    buf_deinit(b);
}

struct tls_context *tls_server_context(const char *cert_file, const char *key_file, struct err *e) {
    struct buf chain = BUF_MAX(PEM_MAX), key = BUF_MAX(PEM_MAX);
    struct tls_context *c = NULL;
    if (read_file(cert_file, &chain, e) && read_file(key_file, &key, e)) {
        struct tls_spec spec = { .server = true, .chain_pem = buf_sv(&chain), .key_pem = buf_sv(&key) };
        c = tls_context_new(&spec, e);
        if (!c)
            err_ctx(e, "%s, %s", cert_file, key_file);
    }
    buf_deinit(&chain);
    wipe(&key);
    return c;
}

struct tls_context *tls_client_context(const char *ca_file, bool insecure, struct err *e) {
    struct buf roots = BUF_MAX(PEM_MAX);
    struct tls_context *c = NULL;
    if (!ca_file || insecure || read_file(ca_file, &roots, e)) {
        struct tls_spec spec = { .trust_pem = buf_sv(&roots), .insecure = insecure };
        if (ca_file && !insecure && roots.n == 0)
            err_set(e, ERR_IO, "%s: empty", ca_file);
        else if (!(c = tls_context_new(&spec, e)) && ca_file)
            err_ctx(e, "%s", ca_file);
    }
    buf_deinit(&roots);
    return c;
}
