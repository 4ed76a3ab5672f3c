/* Certificates: made, printed, read, checked. Everything here is RFC 5280 as a strict peer takes it. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

#include "base/rand.h"
#include "pki/room.h"

/* --- making ----------------------------------------------------------------------------------------------------------- */

/* 159 random bits: positive, never zero, of twenty octets (RFC 5280 section 4.1.2.2). */
static bool set_serial(X509 *x) {
    unsigned char bytes[20];
    rand_bytes(bytes, sizeof bytes);
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

X509 *pki__cert_new(const char *cn, X509 *issuer, EVP_PKEY *key, int64_t from_s, int64_t to_s, struct err *e) {
    X509 *x = X509_new();
    bool ok = x && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from_s) &&
              ASN1_TIME_set(X509_getm_notAfter(x), (time_t)to_s) && X509_set_pubkey(x, key) == 1 &&
              X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0) == 1 &&
              X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x)) == 1;
    if (ok)
        return x;
    pki__fault(e, ERR_INTERNAL, "make a certificate");
    X509_free(x);
    return NULL;
}

bool pki__cert_extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(x, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

bool pki__cert_print(X509 *x, struct buf *ret, struct err *e) {
    BIO *b = BIO_new(BIO_s_mem());
    char *p = NULL;
    bool ok = b && PEM_write_bio_X509(b, x) == 1;
    long n = ok ? BIO_get_mem_data(b, &p) : 0;
    ok = ok && buf_add(ret, (struct sv){ p, (size_t)n });
    BIO_free(b);
    return ok || err_no_memory(e);
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

STACK_OF(X509) * pki__certs_read(struct sv pem, int max, struct err *e) {
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *b = BIO_new_mem_buf(pem.n ? pem.p : "", (int)(pem.n <= PKI_PEM_MAX ? pem.n : 0));
    bool ok = all && b;
    X509 *x;
    ERR_clear_error();
    while (ok && (x = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
        ok = sk_X509_num(all) < max && sk_X509_push(all, x) > 0;
        if (!ok)
            X509_free(x);
    }
    BIO_free(b);
    if (ok && sk_X509_num(all) > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) { /* the end */
        ERR_clear_error();
        return all;
    }
    if (!ok && sk_X509_num(all) == max)
        err_set(e, ERR_CONFIG, "more than %d certificate%s in one PEM text", max, max == 1 ? "" : "s");
    else
        pki__fault(e, ERR_CONFIG, "not a certificate in PEM");
    pki__certs_free(all);
    return NULL;
}

void pki__certs_free(STACK_OF(X509) * certs) {
    sk_X509_pop_free(certs, X509_free);
}

bool pki__cert_facts(X509 *x, struct pki_cert *ret, struct err *e) {
    struct pki_cert c = { 0 };
    if (!tls_facts_of(x, &c.is))
        return err_no_memory(e);
    c.is_ca = X509_check_ca(x) == 1;
    c.is_server = !c.is_ca && X509_check_purpose(x, X509_PURPOSE_SSL_SERVER, 0) == 1;
    c.is_client = !c.is_ca && X509_check_purpose(x, X509_PURPOSE_SSL_CLIENT, 0) == 1;
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, c.subject, sizeof c.subject);
    ERR_clear_error(); /* what was odd in it shows in the answers */
    *ret = c;
    return true;
}

bool pki_cert_read(struct sv pem, struct pki_cert *ret, struct err *e) {
    STACK_OF(X509) *all = pki__certs_read(pem, 8, e);
    bool ok = all && pki__cert_facts(sk_X509_value(all, 0), ret, e);
    pki__certs_free(all);
    return ok;
}

/* --- pins ------------------------------------------------------------------------------------------------------------- */

bool pki_pin_of(struct sv cert_pem, unsigned char pin[static TLS_PIN], struct err *e) {
    struct pki_cert c;
    if (!pki_cert_read(cert_pem, &c, e))
        return false;
    memcpy(pin, c.is.spki, TLS_PIN);
    return true;
}

void pki_pin_print(const unsigned char pin[static TLS_PIN], char text[static PKI_PIN_TEXT + 1]) {
    memcpy(text, "sha256:", 7);
    sodium_bin2hex(text + 7, 2 * TLS_PIN + 1, pin, TLS_PIN);
}

/* Upper case too: people copy pins from other tools. */
bool pki_pin_read(struct sv text, unsigned char pin[static TLS_PIN]) {
    unsigned char read[TLS_PIN];
    size_t n;
    if (text.n != PKI_PIN_TEXT || !sv_starts(text, SV("sha256:")) ||
        sodium_hex2bin(read, sizeof read, text.p + 7, text.n - 7, NULL, &n, NULL) != 0 || n != TLS_PIN)
        return false;
    memcpy(pin, read, TLS_PIN);
    return true;
}

/* --- checking --------------------------------------------------------------------------------------------------------- */

static bool verify_for(STACK_OF(X509) * chain, X509_STORE *store, int purpose, const char *name, int64_t now_s, struct err *e) {
    X509_STORE_CTX *c = X509_STORE_CTX_new();
    bool ok = c && X509_STORE_CTX_init(c, store, sk_X509_value(chain, 0), chain) == 1;
    X509_VERIFY_PARAM *param = ok ? X509_STORE_CTX_get0_param(c) : NULL;
    ok = ok && X509_VERIFY_PARAM_set_purpose(param, purpose) == 1 && X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT) == 1 &&
         (!name || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 || X509_VERIFY_PARAM_set1_host(param, name, 0) == 1);
    if (!ok) {
        pki__fault(e, ERR_INTERNAL, "check a certificate");
    } else {
        X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
        ok = X509_verify_cert(c) == 1 ||
             err_set(e, ERR_CONFIG, "the certificate is not good for a %s: %s", purpose == X509_PURPOSE_SSL_SERVER ? "server" : "client",
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(c)));
    }
    X509_STORE_CTX_free(c);
    ERR_clear_error();
    return ok;
}

bool pki__verify(STACK_OF(X509) * chain, STACK_OF(X509) * roots, unsigned usage, const char *name, int64_t now_s, struct err *e) {
    if (X509_get_extension_flags(sk_X509_value(chain, 0)) & EXFLAG_CA) /* OpenSSL takes a CA for a peer */
        return err_set(e, ERR_CONFIG, "the certificate is that of an authority, which no server and no client is");
    X509_STORE *store = X509_STORE_new();
    bool ok = store != NULL;
    for (int i = 0; ok && i < sk_X509_num(roots); i++)
        ok = X509_STORE_add_cert(store, sk_X509_value(roots, i)) == 1;
    if (!ok)
        err_no_memory(e);
    if (ok && (usage & PKI_USE_SERVER))
        ok = verify_for(chain, store, X509_PURPOSE_SSL_SERVER, name, now_s, e);
    if (ok && (usage & PKI_USE_CLIENT))
        ok = verify_for(chain, store, X509_PURPOSE_SSL_CLIENT, NULL, now_s, e);
    X509_STORE_free(store);
    return ok;
}

bool pki_chain_verify(struct sv chain_pem, struct sv trust_pem, unsigned usage, struct sv name, int64_t now_s, struct err *e) {
    char host[PKI_DNS_MAX + 1];
    if (!sv_to_cstr(name, host, sizeof host))
        return err_set(e, ERR_CONFIG, "a name of more than %d bytes", PKI_DNS_MAX);
    STACK_OF(X509) *chain = pki__certs_read(chain_pem, 8, e);
    STACK_OF(X509) *roots = chain ? pki__certs_read(trust_pem, 8, e) : NULL;
    bool ok = roots && pki__verify(chain, roots, usage, name.n ? host : NULL, now_s, e);
    pki__certs_free(chain);
    pki__certs_free(roots);
    return ok;
}
