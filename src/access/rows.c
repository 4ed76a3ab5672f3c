/* access/rows.c - keys as rows of the store, and what a key may be. */
#include <arpa/inet.h>
#include <stdio.h>

#include "access/book.h"
#include "base/buf.h"
#include "base/utf8.h"

enum { LIST_MAX = 256, PATTERN_MAX = 255, NAME_MAX_BYTES = 64, LIST_BYTES = 128 << 10 };

/* --- networks ----------------------------------------------------------------------------------------------------- */

bool access_network_read(struct sv text, struct access_network *ret, struct err *e) {
    struct sv address = text, bits = text;
    char name[INET6_ADDRSTRLEN];
    uint64_t n = 0;
    *ret = (struct access_network){ .bytes = { [10] = 0xff, [11] = 0xff } };
    bool has_bits = sv_cut(&bits, '/', &address);
    bool v6 = sv_find_char(address, ':') >= 0;
    unsigned most = v6 ? 128 : 32;
    bool ok = sv_to_cstr(address, name, sizeof name) && inet_pton(v6 ? AF_INET6 : AF_INET, name, v6 ? ret->bytes : ret->bytes + 12) == 1 &&
              (!has_bits || (sv_to_u64(bits, &n) && n <= most));
    ret->bits = (uint8_t)((has_bits ? n : most) + (v6 ? 0 : 96));
    return ok || err_set(e, ERR_BAD_REQUEST, "\"networks\" holds \"%.*s\", which is no address or network such as 10.0.0.0/8",
                         SV_FMT(sv_first(text, 64)));
}

char *access_network_text(const struct access_network *n, char text[static ACCESS_NETWORK_TEXT]) {
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    bool v4 = n->bits >= 96 && memcmp(n->bytes, mapped, 12) == 0;
    char address[INET6_ADDRSTRLEN] = "";
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? n->bytes + 12 : n->bytes, address, sizeof address);
    snprintf(text, ACCESS_NETWORK_TEXT, "%s/%u", address, v4 ? n->bits - 96u : n->bits);
    return text;
}

/* --- drafts ------------------------------------------------------------------------------------------------------- */

static bool is_plain(struct sv v) {
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
            return false;
    return utf8_valid(v);
}

/* Characters that show nothing, or turn others around: U+200B..200F, 202A..202E, 2060..206F, FEFF. */
static bool has_invisible(struct sv v) {
    for (size_t i = 0; i + 2 < v.n; i++) {
        unsigned char a = (unsigned char)v.p[i], b = (unsigned char)v.p[i + 1], c = (unsigned char)v.p[i + 2];
        if ((a == 0xe2 && b == 0x80 && ((c >= 0x8b && c <= 0x8f) || (c >= 0xaa && c <= 0xae))) || (a == 0xe2 && b == 0x81 && c >= 0xa0) ||
            (a == 0xef && b == 0xbb && c == 0xbf))
            return true;
    }
    return false;
}

/* A name that people read and write, also in an address. */
static bool is_name(struct sv v) {
    return v.n >= 1 && v.n <= NAME_MAX_BYTES && is_plain(v) && !has_invisible(v) && v.p[0] != '-' && v.p[0] != ' ' && v.p[v.n - 1] != ' ' &&
           sv_find_char(v, '/') < 0;
}

static bool check_list(const struct sv *list, size_t n, const char *what, struct err *e) {
    if (n > LIST_MAX)
        return err_set(e, ERR_BAD_REQUEST, "\"%s\" has %zu entries; at most %d", what, n, LIST_MAX);
    for (size_t i = 0; i < n; i++)
        if (list[i].n == 0 || list[i].n > PATTERN_MAX || !is_plain(list[i]))
            return err_set(e, ERR_BAD_REQUEST, "\"%s[%zu]\" must be a pattern of 1 to %d visible bytes", what, i, PATTERN_MAX);
    return true;
}

bool access__check_draft(const struct access_key *k, struct err *e) {
    if (!is_name(k->name))
        return err_set(e, ERR_BAD_REQUEST, "\"name\" must have 1 to %d visible bytes without '/', not begin with '-', and neither begin nor end with a blank",
                       NAME_MAX_BYTES);
    if (k->owner.n && !is_name(k->owner))
        return err_set(e, ERR_BAD_REQUEST, "\"owner\" must be a name of at most %d visible bytes, without '/'", NAME_MAX_BYTES);
    if (k->priority < -100 || k->priority > 100)
        return err_set(e, ERR_BAD_REQUEST, "\"priority\" must be from -100 to 100");
    if (k->n_networks > LIST_MAX)
        return err_set(e, ERR_BAD_REQUEST, "\"networks\" has %zu entries; at most %d", k->n_networks, LIST_MAX);
    for (unsigned i = 0; i < ACCESS_UNITS * ACCESS_SPANS; i++)
        if (k->limits.budget[i / ACCESS_SPANS][i % ACCESS_SPANS] > INT64_MAX / 4)
            return err_set(e, ERR_BAD_REQUEST, "a budget is larger than anybody can spend");
    return check_list(k->models, k->n_models, "models", e) && check_list(k->endpoints, k->n_endpoints, "endpoints", e);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static void add_lines(struct buf *out, const struct sv *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(out, '\n');
        buf_add(out, list[i]);
    }
}

static void add_networks(struct buf *out, const struct access_key *k) {
    char text[ACCESS_NETWORK_TEXT];
    for (size_t i = 0; i < k->n_networks; i++) {
        struct sv one = sv_of(access_network_text(&k->networks[i], text));
        add_lines(out, &one, 1);
        if (i + 1 < k->n_networks)
            buf_add_char(out, '\n');
    }
}

enum { COLUMNS = 24 };
#define COLUMN_NAMES                                                                                                      \
    "id, name, owner, hash, enabled, expires_ms, models, endpoints, networks, rights, priority, requests_per_min, "      \
    "requests_burst, concurrent, tokens_per_min, day_tokens, month_tokens, day_money, month_money, created_ms, version, " \
    "revoked_ms, old_hash, old_until_ms"

struct row {
    struct buf models, endpoints, networks;
    struct store_value v[COLUMNS];
};

static bool row_make(struct row *r, const struct access_key *k, struct err *e) {
    const struct access_limits *l = &k->limits;
    *r = (struct row){ BUF_MAX(LIST_BYTES), BUF_MAX(LIST_BYTES), BUF_MAX(LIST_BYTES), { { 0 } } };
    add_lines(&r->models, k->models, k->n_models);
    add_lines(&r->endpoints, k->endpoints, k->n_endpoints);
    add_networks(&r->networks, k);
    const struct store_value v[COLUMNS] = {
        STORE_TEXT(k->id), STORE_TEXT(k->name), STORE_TEXT(k->owner), STORE_BLOB(((struct sv){ (const char *)k->hash, ACCESS_HASH })),
        STORE_I64(k->enabled), STORE_I64((int64_t)k->expires_ms), STORE_TEXT(buf_sv(&r->models)), STORE_TEXT(buf_sv(&r->endpoints)),
        STORE_TEXT(buf_sv(&r->networks)), STORE_I64(k->rights), STORE_I64(k->priority), STORE_I64(l->requests_per_min),
        STORE_I64(l->requests_burst), STORE_I64(l->concurrent), STORE_I64((int64_t)l->tokens_per_min),
        STORE_I64((int64_t)l->budget[ACCESS_TOKENS][ACCESS_DAY]), STORE_I64((int64_t)l->budget[ACCESS_TOKENS][ACCESS_MONTH]),
        STORE_I64((int64_t)l->budget[ACCESS_MONEY][ACCESS_DAY]), STORE_I64((int64_t)l->budget[ACCESS_MONEY][ACCESS_MONTH]),
        STORE_I64((int64_t)k->created_ms), STORE_I64(k->version), STORE_I64(0),
        STORE_BLOB(((struct sv){ (const char *)k->old_hash, k->old_until_ms ? ACCESS_HASH : 0 })), STORE_I64((int64_t)k->old_until_ms),
    };
    memcpy(r->v, v, sizeof v);
    return !(r->models.failed || r->endpoints.failed || r->networks.failed) || err_no_memory(e);
}

static void row_drop(struct row *r) {
    buf_deinit(&r->models);
    buf_deinit(&r->endpoints);
    buf_deinit(&r->networks);
}

bool access__insert_key(struct store_tx *tx, const struct access_key *k, struct err *e) {
    struct row r;
    bool ok = row_make(&r, k, e) && store_run(tx, e,
                                              "INSERT INTO api_key (" COLUMN_NAMES ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
                                              "$13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)",
                                              r.v, COLUMNS, NULL);
    row_drop(&r);
    if (!ok && e->code == ERR_EXISTS)
        err_set(e, ERR_EXISTS, "a key named \"%.*s\" exists already", SV_FMT(k->name));
    return ok;
}

/* k->version is the new one. */
bool access__update_key(struct store_tx *tx, const struct access_key *k, bool *ret_found, struct err *e) {
    struct row r;
    int64_t changed = 0;
    bool ok = row_make(&r, k, e) &&
              store_run(tx, e,
                        "UPDATE api_key SET name = $2, owner = $3, hash = $4, enabled = $5, expires_ms = $6, models = $7, endpoints = $8, "
                        "networks = $9, rights = $10, priority = $11, requests_per_min = $12, requests_burst = $13, concurrent = $14, "
                        "tokens_per_min = $15, day_tokens = $16, month_tokens = $17, day_money = $18, month_money = $19, created_ms = $20, "
                        "version = $21, old_hash = $23, old_until_ms = $24 WHERE id = $1 AND version = $21 - 1 AND revoked_ms = $22",
                        r.v, COLUMNS, &changed);
    row_drop(&r);
    *ret_found = changed == 1;
    if (!ok && e->code == ERR_EXISTS)
        err_set(e, ERR_EXISTS, "a key named \"%.*s\" exists already", SV_FMT(k->name));
    return ok;
}

/* The row stays for the ledger's sake; its secret goes. */
bool access__delete_key(struct store_tx *tx, struct sv id, uint64_t now_ms, bool *ret_found, struct err *e) {
    int64_t changed = 0;
    const struct store_value v[] = { STORE_TEXT(id), STORE_I64((int64_t)now_ms), STORE_BLOB(SV("")) };
    bool ok = store_run(tx, e,
                        "UPDATE api_key SET revoked_ms = $2, hash = $3, old_hash = $3, old_until_ms = 0, enabled = 0 "
                        "WHERE id = $1 AND revoked_ms = 0",
                        v, 3, &changed);
    *ret_found = changed == 1;
    return ok;
}

static size_t count_lines(struct sv text) {
    size_t n = text.n > 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    return n;
}

static bool read_lines(struct arena *a, struct sv text, const struct sv **ret, size_t *ret_n) {
    struct sv copy = arena_sv(a, text), line, *list = ARENA_ARRAY(a, struct sv, count_lines(text));
    *ret_n = 0;
    while (list && copy.p && sv_next(&copy, '\n', &line))
        list[(*ret_n)++] = line;
    *ret = list;
    return list && copy.p;
}

static bool read_networks(struct arena *a, struct sv text, struct access_key *k) {
    struct access_network *list = ARENA_ARRAY(a, struct access_network, count_lines(text));
    struct sv line;
    k->networks = list;
    while (list && sv_next(&text, '\n', &line))
        if (access_network_read(line, &list[k->n_networks], NULL))
            k->n_networks++;
    return list != NULL;
}

bool access__read_keys(struct store_tx *tx, struct arena *a, bool (*each)(void *arg, const struct access_key *k), void *arg, struct err *e) {
    struct store_rows *r = store_query(tx, e, "SELECT " COLUMN_NAMES " FROM api_key WHERE revoked_ms = 0 ORDER BY created_ms, id", NULL, 0);
    enum store_step step;
    if (!r)
        return false;
    while ((step = store_next(r, e)) == STORE_ROW) {
        struct sv hash = store_blob(r, 3), old = store_blob(r, 22);
        struct access_key k = { .id = store_text(r, 0), .name = store_text(r, 1), .owner = store_text(r, 2), .enabled = store_i64(r, 4) != 0,
                                .expires_ms = (uint64_t)store_i64(r, 5), .rights = (unsigned)store_i64(r, 9),
                                .priority = (int32_t)store_i64(r, 10), .created_ms = (uint64_t)store_i64(r, 19), .version = store_i64(r, 20),
                                .old_until_ms = (uint64_t)store_i64(r, 23) };
        k.limits = (struct access_limits){
            .requests_per_min = (uint32_t)store_i64(r, 11), .requests_burst = (uint32_t)store_i64(r, 12),
            .concurrent = (uint32_t)store_i64(r, 13), .tokens_per_min = (uint64_t)store_i64(r, 14),
            .budget = { [ACCESS_TOKENS] = { (uint64_t)store_i64(r, 15), (uint64_t)store_i64(r, 16) },
                        [ACCESS_MONEY] = { (uint64_t)store_i64(r, 17), (uint64_t)store_i64(r, 18) } },
        };
        memcpy(k.hash, hash.p, hash.n < ACCESS_HASH ? hash.n : ACCESS_HASH);
        if (old.n == ACCESS_HASH)
            memcpy(k.old_hash, old.p, ACCESS_HASH);
        else
            k.old_until_ms = 0;
        bool ok = read_lines(a, store_text(r, 6), &k.models, &k.n_models) && read_lines(a, store_text(r, 7), &k.endpoints, &k.n_endpoints) &&
                  read_networks(a, store_text(r, 8), &k);
        if (!ok || !each(arg, &k)) {
            store_end(r);
            return err_no_memory(e);
        }
    }
    return step == STORE_END;
}
