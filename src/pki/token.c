/* Tokens: 256 random bits in a form that scanners of leaked secrets can find. Only hashes of them are kept. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sodium.h>

#include "base/rand.h"
#include "pki/pki.h"

static const char prefixes[][6] = { [PKI_TOKEN_BEARER] = "drst_", [PKI_TOKEN_JOIN] = "drjt_" };

void pki_token_make(enum pki_token kind, char text[static PKI_TOKEN_TEXT + 1]) {
    unsigned char bytes[PKI_TOKEN];
    rand_bytes(bytes, sizeof bytes);
    memcpy(text, prefixes[kind], 5);
    sodium_bin2hex(text + 5, 2 * PKI_TOKEN + 1, bytes, sizeof bytes);
    sodium_memzero(bytes, sizeof bytes);
}

static bool is_form(enum pki_token kind, struct sv text) {
    unsigned odd = 0;
    if (text.n != PKI_TOKEN_TEXT || !sv_starts(text, sv_of(prefixes[kind])))
        return false;
    for (size_t i = 5; i < text.n; i++) {
        char c = text.p[i];
        odd |= !((c >= '0' && c <= '9') | (c >= 'a' && c <= 'f'));
    }
    return !odd;
}

bool pki_token_hash(enum pki_token kind, struct sv text, unsigned char hash[static PKI_TOKEN]) {
    return is_form(kind, text) && EVP_Digest(text.p, text.n, hash, NULL, EVP_sha256(), NULL) == 1;
}

unsigned pki_token_matches(enum pki_token kind, struct sv text, const unsigned char (*hashes)[PKI_TOKEN], unsigned n) {
    static const unsigned char none[PKI_TOKEN];
    unsigned char hash[PKI_TOKEN] = { 0 };
    unsigned found = 0;
    bool is_token = pki_token_hash(kind, text, hash);
    for (unsigned i = 0; i < n && i < PKI_TOKEN_HASHES; i++) {
        unsigned same = CRYPTO_memcmp(hash, hashes[i], PKI_TOKEN) == 0, empty = CRYPTO_memcmp(none, hashes[i], PKI_TOKEN) == 0;
        found |= (same & ~empty & 1u) << i;
    }
    sodium_memzero(hash, sizeof hash);
    return is_token ? found : 0;
}
