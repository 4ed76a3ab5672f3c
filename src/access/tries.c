/* access/tries.c - guessing passphrases gets slow, by address and by name, and never locks anybody out for good. */
#include <sodium.h>

#include "access/crowd.h"

enum {
    WINDOW_MS = 600000,           /* failures older than this are forgotten */
    PEER_FREE = 20, NAME_FREE = 5, /* failures that cost nothing */
    FIRST_MS = 2000,
    PEER_MOST_MS = 900000,
    NAME_MOST_MS = 30000,         /* who knows the passphrase must not be kept out by others' guesses */
};

static uint64_t key_of(const struct tries *t, char kind, struct sv v) {
    uint64_t sum[crypto_generichash_BYTES_MIN / sizeof(uint64_t)];
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, sizeof sum);
    crypto_generichash_update(&h, (const unsigned char *)&t->secret, sizeof t->secret);
    crypto_generichash_update(&h, (const unsigned char *)&kind, 1);
    crypto_generichash_update(&h, (const unsigned char *)v.p, v.n);
    crypto_generichash_final(&h, (unsigned char *)sum, sizeof sum);
    return sum[0] | 1;
}

bool tries_may(const struct tries *t, struct sv peer, struct sv name, uint64_t now_ms, struct err *e) {
    uint8_t half[8];
    const uint64_t keys[] = { key_of(t, 'p', access__place(peer, half)), key_of(t, 'n', name) };
    for (int i = 0; i < 2; i++) {
        uint64_t until = t->slots[keys[i] % TRIES].key == keys[i] ? t->slots[keys[i] % TRIES].until_ms : 0;
        if (until <= now_ms)
            continue;
        err_set(e, ERR_LIMIT, "too many wrong names or passphrases; try again in %llu s", (unsigned long long)(until - now_ms) / 1000 + 1);
        e->retry_after_s = (uint32_t)((until - now_ms) / 1000 + 1);
        return false;
    }
    return true;
}

static void count(struct tries *t, uint64_t key, unsigned n_free, uint64_t most_ms, uint64_t now_ms) {
    unsigned at = key % TRIES;
    if (t->slots[at].key != key && now_ms < t->slots[at].until_ms)
        return; /* whoever has the slot is being slowed: that stays */
    if (t->slots[at].key != key || now_ms - t->slots[at].last_ms > WINDOW_MS) {
        t->slots[at].key = key;
        t->slots[at].n = 0;
    }
    t->slots[at].last_ms = now_ms;
    if (++t->slots[at].n <= n_free)
        return;
    unsigned doublings = t->slots[at].n - n_free - 1 < 16 ? t->slots[at].n - n_free - 1 : 16;
    uint64_t wait = (uint64_t)FIRST_MS << doublings;
    t->slots[at].until_ms = now_ms + (wait < most_ms ? wait : most_ms);
}

/* All people and programs of this machine share its address: one of them must not keep the others out. */
static uint64_t most_ms(struct sv peer) {
    return sv_starts(peer, SV("127.")) || sv_eq(peer, SV("::1")) ? NAME_MOST_MS : PEER_MOST_MS;
}

void tries_begin(struct tries *t, struct sv peer, struct sv name, uint64_t now_ms) {
    uint8_t half[8];
    if (!sv_eq(peer, SV("unix")))
        count(t, key_of(t, 'p', access__place(peer, half)), PEER_FREE, most_ms(peer), now_ms);
    count(t, key_of(t, 'n', name), NAME_FREE, NAME_MOST_MS, now_ms);
}

/* All is forgiven to the name; to the address only this one. */
void tries_passed(struct tries *t, struct sv peer, struct sv name) {
    uint8_t half[8];
    uint64_t by_name = key_of(t, 'n', name), by_peer = key_of(t, 'p', access__place(peer, half));
    if (t->slots[by_name % TRIES].key == by_name) {
        t->slots[by_name % TRIES].n = 0;
        t->slots[by_name % TRIES].until_ms = 0;
    }
    if (t->slots[by_peer % TRIES].key == by_peer && t->slots[by_peer % TRIES].n)
        t->slots[by_peer % TRIES].n--;
}
