#include "access/key.h"

#include <assert.h>
#include <sodium.h>

#include "base/rand.h"

#define PREFIX "sk-drv-"
enum { PREFIX_N = sizeof PREFIX - 1 };

static void check_of(struct sv body, char check[static KEY_CHECK]) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t hash[crypto_generichash_BYTES_MIN];
    uint64_t v = 0;
    crypto_generichash(hash, sizeof hash, (const unsigned char *)body.p, body.n, NULL, 0);
    for (size_t i = 0; i < sizeof v; i++)
        v = v << 8 | hash[i];
    for (size_t i = 0; i < KEY_CHECK; i++, v /= 62)
        check[i] = digits[v % 62];
}

void key_make(char text[static KEY_TEXT + 1]) {
    char id[KEY_ID + 1];
    rand_text(id, KEY_ID);
    key_renew((struct sv){ id, KEY_ID }, text);
}

void key_renew(struct sv id, char text[static KEY_TEXT + 1]) {
    assert(id.n == KEY_ID);
    memcpy(text, PREFIX, PREFIX_N);
    memcpy(text + PREFIX_N, id.p, KEY_ID);
    rand_text(text + PREFIX_N + KEY_ID, KEY_SECRET);
    check_of((struct sv){ text, KEY_TEXT - KEY_CHECK }, text + KEY_TEXT - KEY_CHECK);
    text[KEY_TEXT] = '\0';
}

enum key_shape key_read(struct sv text, struct sv *ret_id) {
    char check[KEY_CHECK];
    if (!sv_starts(text, SV(PREFIX)))
        return KEY_FOREIGN;
    if (text.n != KEY_TEXT)
        return KEY_DAMAGED;
    check_of(sv_first(text, KEY_TEXT - KEY_CHECK), check);
    if (sodium_memcmp(check, text.p + KEY_TEXT - KEY_CHECK, KEY_CHECK) != 0)
        return KEY_DAMAGED;
    *ret_id = sv_first(sv_from(text, PREFIX_N), KEY_ID);
    return KEY_OURS;
}

void key_hash(struct sv text, uint8_t hash[static KEY_HASH]) {
    crypto_generichash(hash, KEY_HASH, (const unsigned char *)text.p, text.n, NULL, 0);
}
