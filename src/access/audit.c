/* access/audit.c - the audit log: an append-only chain of hashes.
 *
 * hash = BLAKE2b-256(hash of the row before, number, time, and each text with its length). Whoever changes a row must change all that
 * follow. Number and hash of the last row stand beside the log too (audit_head), written with it: rows that are taken off the end, or all
 * of them, are missed. Who can write the file can change that as well; so the head can be noted elsewhere. */
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

/* Number and hash that a query finds; 0 and zeros when it finds none. */
static bool read_link(struct store_tx *tx, const char *sql, uint64_t *ret_seq, uint8_t hash[static ACCESS_HASH], struct err *e) {
    struct store_rows *rows = store_query(tx, e, sql, NULL, 0);
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

static bool read_head(struct store_tx *tx, uint64_t *ret_seq, uint8_t hash[static ACCESS_HASH], struct err *e) {
    return read_link(tx, "SELECT seq, hash FROM audit_head", ret_seq, hash, e);
}

/* Behind which the next row goes. A row that stands behind the head is no reason to refuse all acts from now on: the chain goes on from
 * it, and holds if it fits. Rows that are missing before the head leave a gap that no later row closes. */
static bool read_end(struct store_tx *tx, uint64_t *ret_seq, uint8_t hash[static ACCESS_HASH], struct err *e) {
    uint8_t last_hash[ACCESS_HASH];
    uint64_t last;
    if (!read_head(tx, ret_seq, hash, e) || !read_link(tx, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", &last, last_hash, e))
        return false;
    if (last > *ret_seq) {
        *ret_seq = last;
        memcpy(hash, last_hash, ACCESS_HASH);
    }
    return true;
}

bool access_audit(struct store_tx *tx, const struct access_act *act, struct err *e) {
    uint8_t before[ACCESS_HASH], hash[ACCESS_HASH];
    uint64_t seq;
    if (!read_end(tx, &seq, before, e))
        return false;
    hash_row(before, ++seq, act, hash);
    const struct sv bytes = { (const char *)hash, sizeof hash };
    return STORE_RUN(tx, e,
                     "INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, "
                     "hash = excluded.hash",
                     STORE_I64((int64_t)seq), STORE_BLOB(bytes)) &&
           STORE_RUN(tx, e,
                     "INSERT INTO audit (seq, at_ms, actor, peer, action, object, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                     STORE_I64((int64_t)seq), STORE_I64((int64_t)act->at_ms), STORE_TEXT(act->actor), STORE_TEXT(act->peer),
                     STORE_TEXT(act->action), STORE_TEXT(act->object), STORE_TEXT(act->detail), STORE_BLOB(bytes));
}

/* The head must be the last row's. */
static bool compare_head(struct store_tx *tx, struct access_verdict *ret, struct err *e) {
    uint8_t head[ACCESS_HASH];
    if (!read_head(tx, &ret->n_told, head, e))
        return false;
    if (!ret->broken_at && ret->n_told != ret->n)
        ret->broken_at = ret->n + 1;
    else if (!ret->broken_at && memcmp(head, ret->head, sizeof head) != 0)
        ret->broken_at = ret->n;
    return true;
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
    return step == STORE_END && compare_head(tx, ret, e);
}
