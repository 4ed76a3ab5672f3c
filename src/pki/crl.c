/* A list of certificates that are good no more, for others who want one. Between Drovers nobody asks for it: the hub knows each node's present
 * certificate, and takes no other. RFC 5280, section 5. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pki/room.h"

static bool add_one(X509_CRL *crl, const char *serial, ASN1_TIME *at, struct err *e) {
    X509_REVOKED *one = X509_REVOKED_new();
    BIGNUM *n = NULL;
    ASN1_INTEGER *number = BN_hex2bn(&n, serial) > 0 ? BN_to_ASN1_INTEGER(n, NULL) : NULL;
    bool ok = one && number && X509_REVOKED_set_serialNumber(one, number) == 1 && X509_REVOKED_set_revocationDate(one, at) == 1 && X509_CRL_add0_revoked(crl, one) == 1;
    BN_free(n);
    ASN1_INTEGER_free(number);
    if (!ok)
        X509_REVOKED_free(one);
    return ok || pki__fault(e, ERR_INTERNAL, "a list of revoked certificates");
}

/* Needed in a list of version 2; it only grows, as the time does. */
static bool add_number(X509_CRL *crl, int64_t now_s) {
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    bool ok = n && ASN1_INTEGER_set_int64(n, now_s) == 1 && X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;
    ASN1_INTEGER_free(n);
    return ok;
}

static bool add_issuer(X509_CRL *crl, X509 *root) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, root, NULL, NULL, crl, 0);
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    bool ok = x && X509_CRL_add_ext(crl, x, -1) == 1;
    X509_EXTENSION_free(x);
    return ok;
}

static bool print(X509_CRL *crl, struct buf *ret_pem, struct err *e) {
    BIO *b = BIO_new(BIO_s_mem());
    char *text;
    bool ok = b && PEM_write_bio_X509_CRL(b, crl) == 1;
    long n = ok ? BIO_get_mem_data(b, &text) : 0;
    ok = ok && buf_add(ret_pem, (struct sv){ text, (size_t)n });
    BIO_free(b);
    return ok || err_no_memory(e);
}

bool pki_crl_make(const struct pki_ca *ca, const char (*serials)[TLS_SERIAL_MAX + 1], size_t n, int64_t now_s, int64_t life_s, struct buf *ret_pem, struct err *e) {
    X509 *root = pki__ca_root(ca);
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *at = ASN1_TIME_set(NULL, (time_t)now_s), *until = ASN1_TIME_set(NULL, (time_t)(now_s + life_s));
    ERR_clear_error();
    bool ok = (crl && at && until && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 && X509_CRL_set_issuer_name(crl, X509_get_subject_name(root)) == 1 &&
               X509_CRL_set1_lastUpdate(crl, at) == 1 && X509_CRL_set1_nextUpdate(crl, until) == 1 && add_number(crl, now_s) && add_issuer(crl, root)) ||
              pki__fault(e, ERR_INTERNAL, "a list of revoked certificates");
    for (size_t i = 0; ok && i < n; i++)
        ok = add_one(crl, serials[i], at, e);
    ok = ok && X509_CRL_sort(crl) == 1 && pki__ca_sign_crl(ca, crl, e) && print(crl, ret_pem, e);
    ASN1_TIME_free(at);
    ASN1_TIME_free(until);
    X509_CRL_free(crl);
    return ok;
}
