/* What others send in PEM: a request for a certificate, a certificate, a bundle of roots. What is taken of them is of a kind that we
 * sign for, and can be printed again. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <openssl/err.h>
#include <stdint.h>
#include <string.h>

#include "pki/room.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sv pem = { (const char *)data, size };
    struct err e = { 0 };
    struct pki_cert cert;
    struct pki_identity id;
    EVP_PKEY *key = pki__csr_key(pem, &e);
    if (key)
        assert(pki__key_ok(key, &e));
    else
        assert(e.code == ERR_BAD_REQUEST);
    EVP_PKEY_free(key);
    if (pki_cert_read(pem, &cert, &e)) {
        assert(cert.is.has_cert && strlen(cert.is.serial) <= TLS_SERIAL_MAX && strlen(cert.is.uri) <= TLS_URI_MAX);
        if (pki_identity_read(sv_of(cert.is.uri), &id))
            assert(strlen(cert.is.uri) <= PKI_URI_MAX);
        struct pki_trust now = { .pem = BUF_MAX(PKI_PEM_MAX) }, got;
        assert(buf_add(&now.pem, pem)); /* whoever trusts this root gets this bundle: it is not signed */
        assert(!pki_bundle_read(pem, &now, &got, &e));
        pki_trust_deinit(&got);
        pki_trust_deinit(&now);
    }
    assert(ERR_peek_error() == 0); /* or the next TLS call of the thread would take it for its own */
    return 0;
}
