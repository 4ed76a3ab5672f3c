/* Key pairs, and requests that carry a public key to whoever signs for it. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "pki/room.h"

enum {
    RSA_LEAST = 3072,
    RSA_MOST = 8192,   /* bits: checking a signature of a larger one takes too long */
    SALT = 16,         /* bytes */
    SCRYPT_N = 1 << 14, /* with r = 8 16 MiB and 40 ms; OpenSSL refuses more than 32 MiB */
};

bool pki__fault(struct err *e, enum err_code code, const char *what) {
    unsigned long why = ERR_peek_last_error();
    const char *reason = why ? ERR_reason_error_string(why) : NULL;
    ERR_clear_error();
    return reason ? err_set(e, code, "%s: %s", what, reason) : err_set(e, code, "%s", what);
}

/* --- making ----------------------------------------------------------------------------------------------------------- */

EVP_PKEY *pki__key_new(enum pki_key type, struct err *e) {
    EVP_PKEY *key = type == PKI_RSA4096   ? EVP_RSA_gen(4096)
                    : type == PKI_ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                          : EVP_EC_gen("P-256");
    if (!key)
        pki__fault(e, ERR_INTERNAL, "make a key");
    return key;
}

/* Appends what was written to b, and frees b with its bytes wiped. */
static bool take(BIO *b, bool ok, struct buf *ret, struct err *e) {
    char *p = NULL;
    long n = b ? BIO_get_mem_data(b, &p) : 0;
    ok = ok || pki__fault(e, ERR_INTERNAL, "print a key");
    if (ok && !buf_add(ret, (struct sv){ p, (size_t)n }))
        ok = err_no_memory(e);
    if (n > 0)
        OPENSSL_cleanse(p, (size_t)n);
    BIO_free(b);
    return ok;
}

/* PKCS#8 under a key that scrypt makes of the passphrase; the function that does it all in one would use few rounds of PBKDF2. */
static bool print_locked(EVP_PKEY *key, struct sv passphrase, BIO *b) {
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
    X509_ALGOR *how = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, SALT, NULL, SCRYPT_N, 8, 1);
    X509_SIG *locked = plain && how ? PKCS8_set0_pbe(passphrase.p, (int)passphrase.n, plain, how) : NULL;
    if (!locked)
        X509_ALGOR_free(how);
    bool ok = locked && PEM_write_bio_PKCS8(b, locked) == 1;
    X509_SIG_free(locked);
    PKCS8_PRIV_KEY_INFO_free(plain);
    return ok;
}

bool pki__key_print(EVP_PKEY *key, struct sv passphrase, struct buf *ret, struct err *e) {
    BIO *b = BIO_new(BIO_s_mem());
    bool ok = b && (passphrase.n ? print_locked(key, passphrase, b) : PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1);
    return take(b, ok, ret, e);
}

bool pki_key_make(enum pki_key type, struct buf *ret_pem, struct err *e) {
    EVP_PKEY *key = pki__key_new(type, e);
    bool ok = key && pki__key_print(key, SV_NULL, ret_pem, e);
    EVP_PKEY_free(key);
    return ok;
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

struct asking {
    struct sv passphrase;
    bool was_asked;
};

static int give_passphrase(char *to, int size, int writing, void *arg) {
    struct asking *a = arg;
    (void)writing;
    a->was_asked = true;
    if (a->passphrase.n == 0 || a->passphrase.n > (size_t)size)
        return -1;
    memcpy(to, a->passphrase.p, a->passphrase.n);
    return (int)a->passphrase.n;
}

EVP_PKEY *pki__key_read(struct sv pem, struct sv passphrase, bool *ret_locked, struct err *e) {
    struct asking asking = { .passphrase = passphrase };
    EVP_PKEY *key = NULL;
    if (pem.n <= PKI_PEM_MAX) {
        BIO *b = BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n);
        key = b ? PEM_read_bio_PrivateKey(b, NULL, give_passphrase, &asking) : NULL;
        BIO_free(b);
    }
    if (ret_locked)
        *ret_locked = asking.was_asked;
    if (!key && asking.was_asked)
        pki__fault(e, passphrase.n ? ERR_DENIED : ERR_LOCKED,
                   passphrase.n ? "the passphrase does not open the key" : "the key needs its passphrase");
    else if (!key)
        pki__fault(e, ERR_CONFIG, "not a private key in PEM");
    ERR_clear_error();
    return key;
}

const EVP_MD *pki__digest(EVP_PKEY *key) {
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

bool pki__key_ok(EVP_PKEY *key, struct err *e) {
    char curve[32] = "";
    int bits = EVP_PKEY_get_bits(key);
    if (EVP_PKEY_is_a(key, "ED25519"))
        return true;
    if (EVP_PKEY_is_a(key, "RSA"))
        return (bits >= RSA_LEAST && bits <= RSA_MOST) ||
               err_set(e, ERR_BAD_REQUEST, "an RSA key of %d bits; from %d to %d are taken", bits, RSA_LEAST, RSA_MOST);
    if (EVP_PKEY_is_a(key, "EC")) {
        EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL);
        if (strcmp(curve, "prime256v1") == 0 || strcmp(curve, "P-256") == 0 || strcmp(curve, "secp384r1") == 0 ||
            strcmp(curve, "P-384") == 0)
            return true;
    }
    return err_set(e, ERR_BAD_REQUEST, "a key of another kind than P-256, P-384, Ed25519 or RSA");
}

/* --- requests --------------------------------------------------------------------------------------------------------- */

bool pki_csr_make(struct sv key_pem, struct buf *ret_pem, struct err *e) {
    EVP_PKEY *key = pki__key_read(key_pem, SV_NULL, NULL, e);
    if (!key)
        return false;
    X509_REQ *r = X509_REQ_new();
    BIO *b = BIO_new(BIO_s_mem());
    bool ok = r && b && X509_REQ_set_version(r, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(r, key) == 1 &&
              X509_REQ_sign(r, key, pki__digest(key)) > 0 && PEM_write_bio_X509_REQ(b, r) == 1;
    X509_REQ_free(r);
    EVP_PKEY_free(key);
    return take(b, ok, ret_pem, e);
}

EVP_PKEY *pki__csr_key(struct sv pem, struct err *e) {
    if (pem.n == 0 || pem.n > PKI_CSR_MAX) {
        err_set(e, ERR_BAD_REQUEST, "a certificate request has 1 to %d bytes, this one %zu", PKI_CSR_MAX, pem.n);
        return NULL;
    }
    BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509_REQ *r = b ? PEM_read_bio_X509_REQ(b, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key = r ? X509_REQ_get0_pubkey(r) : NULL;
    bool ok = key && pki__key_ok(key, e); /* before its signature is worked out: that may be expensive */
    if (!key)
        pki__fault(e, ERR_BAD_REQUEST, "not a certificate request in PEM");
    else if (ok && X509_REQ_verify(r, key) != 1)
        ok = pki__fault(e, ERR_BAD_REQUEST, "the signature of the certificate request is wrong");
    if (ok)
        EVP_PKEY_up_ref(key);
    X509_REQ_free(r);
    BIO_free(b);
    ERR_clear_error();
    return ok ? key : NULL;
}

bool pki_csr_pin(struct sv csr_pem, unsigned char pin[static TLS_PIN], struct err *e) {
    EVP_PKEY *key = pki__csr_key(csr_pem, e);
    unsigned char *der = NULL;
    int n = key ? i2d_PUBKEY(key, &der) : 0;
    bool ok = n > 0 && EVP_Digest(der, (size_t)n, pin, NULL, EVP_sha256(), NULL) == 1;
    if (key && !ok)
        pki__fault(e, ERR_NO_MEMORY, "a key's fingerprint");
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return ok;
}

bool pki_pair_check(struct sv chain_pem, struct sv key_pem, struct err *e) {
    STACK_OF(X509) *chain = pki__certs_read(chain_pem, 8, e);
    EVP_PKEY *key = chain ? pki__key_read(key_pem, SV_NULL, NULL, e) : NULL;
    bool ok = key && (X509_check_private_key(sk_X509_value(chain, 0), key) == 1 ||
                      pki__fault(e, ERR_CONFIG, "the key does not belong to the certificate"));
    EVP_PKEY_free(key);
    pki__certs_free(chain);
    return ok;
}
