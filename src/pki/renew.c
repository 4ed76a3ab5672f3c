/* When a certificate is due. Decided by the wall clock at every look: a laptop that slept through the moment renews when it wakes. */
#include <openssl/evp.h>

#include "base/rand.h"
#include "pki/pki.h"

enum { RETRY_LEAST_S = 60, CA_SPARE_S = 30 * PKI_DAY_S };

int64_t pki_renew_at(int64_t not_before_s, int64_t not_after_s, const char *serial) {
    unsigned char hash[32] = { 0 };
    int64_t life_s = not_after_s - not_before_s;
    EVP_Digest(serial, strlen(serial), hash, NULL, EVP_sha256(), NULL);
    int64_t part = (int64_t)hash[0] << 8 | hash[1]; /* of 65,536 */
    return not_before_s + life_s * 2 / 3 + life_s / 20 * part / 65536;
}

bool pki_renew_due(int64_t not_before_s, int64_t not_after_s, const char *serial, int64_t now_s) {
    return now_s >= pki_renew_at(not_before_s, not_after_s, serial);
}

int64_t pki_renew_retry_s(int64_t not_before_s, int64_t not_after_s) {
    int64_t most_s = (not_after_s - not_before_s) / 40;
    return most_s > RETRY_LEAST_S ? RETRY_LEAST_S + (int64_t)rand_below((uint32_t)(most_s - RETRY_LEAST_S + 1)) : RETRY_LEAST_S;
}

bool pki_ca_ends_soon(int64_t ca_not_after_s, int64_t longest_leaf_s, int64_t now_s) {
    return ca_not_after_s - now_s < 2 * longest_leaf_s + CA_SPARE_S;
}
