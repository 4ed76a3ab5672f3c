/* The invite line: what is taken prints to the same line again, and what is refused says why. An input that begins with a byte of
 * zero is the body of a line: it gets its length, its checksum and its head, so that what stands behind them is reached. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "pki/pki.h"

enum { BODY_MAX = 1400, CHECK = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_whole(struct buf *line, const uint8_t *data, size_t size) {
    unsigned char body[BODY_MAX + CHECK], hash[32];
    char text[2 * (BODY_MAX + CHECK)];
    size_t n = size < BODY_MAX ? size : BODY_MAX;
    memcpy(body, data, n);
    if (n >= 2) {
        body[0] = (unsigned char)((n - 2 + CHECK) >> 8);
        body[1] = (unsigned char)(n - 2 + CHECK);
    }
    EVP_Digest(body, n, hash, NULL, EVP_sha256(), NULL);
    memcpy(body + n, hash, CHECK);
    sodium_bin2base64(text, sizeof text, body, n + CHECK, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_add(line, SV("drover://join/1/"));
    buf_add(line, sv_of(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf line = BUF_MAX(2 * PKI_INVITE_MAX), again = BUF_MAX(PKI_INVITE_MAX);
    struct pki_invite in;
    struct err e = { 0 };
    struct sv v = { (const char *)data, size };
    if (size && data[0] == 0) {
        add_whole(&line, data, size);
        v = buf_sv(&line);
    }
    if (pki_invite_read(v, 0, &in, &e)) {
        assert(in.n_urls >= 1 && in.n_urls <= PKI_INVITE_URLS && in.expires_s >= 0);
        assert(pki_invite_print(&in, &again));
        assert(sv_eq(sv_first(sv_from(v, (size_t)sv_find(v, SV("drover:"))), again.n), buf_sv(&again)));
    } else {
        assert(e.code == ERR_BAD_REQUEST && e.text[0]);
    }
    buf_deinit(&line);
    buf_deinit(&again);
    return 0;
}
