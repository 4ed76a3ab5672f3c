/* access/audit.c - the audit log: an append-only chain of hashes.
 *
 * hash = BLAKE2b-256(hash of the row before, number, time, and each text with its length). Whoever changes a row must change all that
 * follow, and the head of the chain can be noted elsewhere. */
#include <inttypes.h>
#include <sodium.h>

#include "access/access.h"
#include "store/store.h"

static void feed_u64(crypto_generichash_state *h, uint64_t v) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    crypto_generichash_update(h, bytes, sizeof bytes);
}

static void feed_text(crypto_generichash_state *h, struct sv text) {
    feed_u64(h, text.n);
    crypto_generichash_update(h, (const unsigned char *)text.p, text.n);
}

static void hash_row(const uint8_t before[static ACCESS_HASH], uint64_t seq, const struct access_act *act, uint8_t hash[static ACCESS_HASH]) {
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, ACCESS_HASH);
    crypto_generichash_update(&h, before, ACCESS_HASH);
    feed_u64(&h, seq);
    feed_u64(&h, act->at_ms);
    feed_text(&h, act->actor);
    feed_text(&h, act->peer);
    feed_text(&h, act->action);
    feed_text(&h, act->object);
    feed_text(&h, act->detail);
    crypto_generichash_final(&h, hash, ACCESS_HASH);
}

static bool read_head(struct store_tx *tx, uint64_t *ret_seq, uint8_t hash[static ACCESS_HASH], struct err *e) {
    struct store_rows *rows = store_query(tx, e, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", NULL, 0);
    memset(hash, 0, ACCESS_HASH);
    *ret_seq = 0;
    if (!rows)
        return false;
    enum store_step step = store_next(rows, e);
    if (step == STORE_ROW) {
        struct sv blob = store_blob(rows, 1);
        *ret_seq = (uint64_t)store_i64(rows, 0);
        memcpy(hash, blob.p, blob.n < ACCESS_HASH ? blob.n : ACCESS_HASH);
        store_end(rows);
    }
    return step != STORE_FAULT;
}

bool access_audit(struct store_tx *tx, const struct access_act *act, struct err *e) {
    uint8_t before[ACCESS_HASH], hash[ACCESS_HASH];
    uint64_t seq;
    if (!read_head(tx, &seq, before, e))
        return false;
    hash_row(before, ++seq, act, hash);
    return STORE_RUN(tx, e, "INSERT INTO audit (seq, at_ms, actor, peer, action, object, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                     STORE_I64((int64_t)seq), STORE_I64((int64_t)act->at_ms), STORE_TEXT(act->actor), STORE_TEXT(act->peer),
                     STORE_TEXT(act->action), STORE_TEXT(act->object), STORE_TEXT(act->detail),
                     STORE_BLOB(((struct sv){ (const char *)hash, sizeof hash })));
}

bool access_audit_verify(struct store_tx *tx, struct access_verdict *ret, struct err *e) {
    struct store_rows *rows =
        store_query(tx, e, "SELECT seq, at_ms, actor, peer, action, object, detail, hash FROM audit ORDER BY seq", NULL, 0);
    enum store_step step;
    *ret = (struct access_verdict){ 0 };
    if (!rows)
        return false;
    while ((step = store_next(rows, e)) == STORE_ROW) {
        struct access_act act = { store_text(rows, 2), store_text(rows, 3), store_text(rows, 4), store_text(rows, 5), store_text(rows, 6),
                                  (uint64_t)store_i64(rows, 1) };
        struct sv said = store_blob(rows, 7);
        uint8_t hash[ACCESS_HASH];
        hash_row(ret->head, ++ret->n, &act, hash);
        bool fits = (uint64_t)store_i64(rows, 0) == ret->n && said.n == sizeof hash && memcmp(said.p, hash, sizeof hash) == 0;
        if (!fits && !ret->broken_at)
            ret->broken_at = ret->n;
        memcpy(ret->head, hash, sizeof hash);
    }
    return step == STORE_END;
}
