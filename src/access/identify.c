/* access/identify.c - from the head of a request to the key it is made with. */
#include <arpa/inet.h>
#include <sodium.h>

#include "access/access.h"
#include "access/key.h"

_Static_assert((int)ACCESS_HASH == (int)KEY_HASH, "the door shows the hash as it is made");

/* --- the credential ----------------------------------------------------------------------------------------------- */

/* The password of user:password in base64; RFC 7617 section 2. */
static bool basic_password(struct sv base64, char scratch[static ACCESS_CREDENTIAL_MAX], struct sv *ret) {
    size_t n;
    struct sv user;
    if (sodium_base642bin((unsigned char *)scratch, ACCESS_CREDENTIAL_MAX, base64.p, base64.n, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    *ret = (struct sv){ scratch, n };
    return sv_cut(ret, ':', &user);
}

static bool scheme_is(struct sv value, struct sv scheme, struct sv *ret_rest) {
    if (!sv_starts_nocase(value, scheme) || value.n == scheme.n || value.p[scheme.n] != ' ')
        return false;
    *ret_rest = sv_trim(sv_from(value, scheme.n));
    return true;
}

static bool authorization(struct sv value, char scratch[static ACCESS_CREDENTIAL_MAX], struct sv *ret, struct err *e) {
    struct sv rest;
    if (scheme_is(value, SV("bearer"), ret))
        return true;
    if (!scheme_is(value, SV("basic"), &rest))
        return err_set(e, ERR_BAD_REQUEST, "the Authorization header must be \"Bearer KEY\", or Basic with the key as password");
    if (!basic_password(rest, scratch, ret))
        return err_set(e, ERR_BAD_REQUEST, "the Authorization header's Basic credentials are malformed");
    return true;
}

bool access_credential(const struct http_head *head, char scratch[static ACCESS_CREDENTIAL_MAX], struct sv *ret, struct err *e) {
    char second[ACCESS_CREDENTIAL_MAX] = { 0 }; /* a further one is only held against the first */
    bool ok = true;
    *ret = SV_NULL;
    for (unsigned i = 0; ok && i < head->n_headers; i++) {
        struct sv name = head->headers[i].name, value = sv_trim(head->headers[i].value), found = value;
        bool is_authorization = sv_eq(name, SV("authorization"));
        if (!is_authorization && !sv_eq(name, SV("x-api-key")) && !sv_eq(name, SV("api-key")))
            continue;
        ok = !is_authorization || authorization(value, ret->n ? second : scratch, &found, e);
        if (!ok || found.n == 0)
            continue;
        if (ret->n && !sv_eq(*ret, found))
            ok = err_set(e, ERR_BAD_REQUEST, "the request carries two different keys; send one");
        else
            *ret = ret->n ? *ret : found;
    }
    sodium_memzero(second, sizeof second);
    return ok;
}

/* name=value; name=value (RFC 6265 section 4.2). */
static bool cookie_in(struct sv line, struct sv *ret, struct err *e) {
    struct sv pair, name;
    while (sv_next(&line, ';', &pair)) {
        if (!sv_cut(&pair, '=', &name))
            continue;
        name = sv_trim(name);
        pair = sv_trim(pair);
        if (!sv_eq(name, SV(ACCESS_COOKIE_TLS)) && !sv_eq(name, SV(ACCESS_COOKIE_PLAIN)))
            continue;
        if (ret->n && !sv_eq(*ret, pair))
            return err_set(e, ERR_BAD_REQUEST, "the request carries two different sessions; sign out and in again");
        *ret = pair;
    }
    return true;
}

bool access_cookie(const struct http_head *head, struct sv *ret, struct err *e) {
    *ret = SV_NULL;
    for (unsigned i = 0; i < head->n_headers; i++)
        if (sv_eq(head->headers[i].name, SV("cookie")) && !cookie_in(head->headers[i].value, ret, e))
            return false;
    return true;
}

bool access_from_page(const struct http_head *head) {
    return http_get(head, SV("drover-console")).p != NULL;
}

/* --- its owner ---------------------------------------------------------------------------------------------------- */

static bool is_within(const struct access_network *n, const uint8_t address[static 16]) {
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    return memcmp(n->bytes, address, whole) == 0 && (!rest || ((n->bytes[whole] ^ address[whole]) >> (8 - rest)) == 0);
}

static bool comes_from(const struct access_key *k, struct sv peer) {
    char text[INET6_ADDRSTRLEN];
    uint8_t address[16] = { [10] = 0xff, [11] = 0xff };
    if (k->n_networks == 0)
        return true;
    if (!sv_to_cstr(peer, text, sizeof text) || (inet_pton(AF_INET, text, address + 12) != 1 && inet_pton(AF_INET6, text, address) != 1))
        return false;
    for (size_t i = 0; i < k->n_networks; i++)
        if (is_within(&k->networks[i], address))
            return true;
    return false;
}

struct sv access_credential_id(struct sv credential) {
    struct sv id = SV_NULL;
    return key_read(credential, &id) == KEY_OURS ? id : SV_NULL;
}

const struct access_key *access_identify(const struct access_snapshot *s, struct sv credential, uint64_t wall_ms, struct sv peer,
                                         struct err *e) {
    static const uint8_t nobody[KEY_HASH];
    struct sv id;
    uint8_t hash[KEY_HASH];
    if (credential.n == 0) {
        err_set(e, ERR_AUTH, "an API key is needed: send \"Authorization: Bearer sk-drv-...\" (drover key add makes one)");
        return NULL;
    }
    switch (key_read(credential, &id)) {
    case KEY_OURS: break;
    case KEY_DAMAGED: err_set(e, ERR_AUTH, "the API key is incomplete or mistyped: its check digits do not fit"); return NULL;
    case KEY_FOREIGN: err_set(e, ERR_AUTH, "the API key is not one of this service; its keys begin with sk-drv-"); return NULL;
    }
    const struct access_key *k = s ? map_get(&s->by_id, id) : NULL;
    key_hash(credential, hash);
    bool same = sodium_memcmp(hash, k ? k->hash : nobody, sizeof hash) == 0;
    bool same_as_old = sodium_memcmp(hash, k ? k->old_hash : nobody, sizeof hash) == 0;
    sodium_memzero(hash, sizeof hash);
    if (!k || (!same && !same_as_old))
        err_set(e, ERR_AUTH, "the API key is unknown or revoked");
    else if (!same && wall_ms >= k->old_until_ms)
        err_set(e, ERR_AUTH, "the API key \"%.*s\" was given another secret, and this one works no longer", SV_FMT(sv_first(k->name, 80)));
    else if (!k->enabled)
        err_set(e, ERR_AUTH, "the API key \"%.*s\" is switched off", SV_FMT(sv_first(k->name, 80)));
    else if (k->expires_ms && wall_ms >= k->expires_ms)
        err_set(e, ERR_AUTH, "the API key \"%.*s\" has expired", SV_FMT(sv_first(k->name, 80)));
    else if (!comes_from(k, peer))
        err_set(e, ERR_DENIED, "the API key \"%.*s\" may not be used from %.*s", SV_FMT(sv_first(k->name, 80)), SV_FMT(peer));
    else
        return k;
    return NULL;
}

const struct access_key *access_session(const struct access_snapshot *s, struct sv secret, uint64_t wall_ms, struct err *e) {
    uint8_t hash[KEY_HASH];
    const struct access_key *found = NULL;
    crypto_generichash(hash, sizeof hash, (const unsigned char *)secret.p, secret.n, NULL, 0);
    for (size_t i = 0; s && i < s->n_sessions; i++)
        if (sodium_memcmp(hash, s->sessions[i].hash, sizeof hash) == 0)
            found = &s->sessions[i];
    sodium_memzero(hash, sizeof hash);
    if (found && wall_ms < found->expires_ms && !atomic_load_explicit(&found->cell->revoked, memory_order_relaxed))
        return found;
    err_set(e, ERR_AUTH, "the session has ended; sign in again");
    return NULL;
}

/* --- what it may -------------------------------------------------------------------------------------------------- */

static bool allows(const struct sv *patterns, size_t n, struct sv name) {
    for (size_t i = 0; i < n; i++)
        if (sv_glob(patterns[i], name))
            return true;
    return false;
}

bool access_has_budget(const struct access_key *k) {
    bool has = false;
    for (unsigned i = 0; k && i < ACCESS_UNITS * ACCESS_SPANS; i++)
        has = has || k->limits.budget[i / ACCESS_SPANS][i % ACCESS_SPANS];
    return has;
}

double access_budget_used(const struct access_key *k) {
    double most = 0;
    for (unsigned i = 0; i < ACCESS_UNITS * ACCESS_SPANS; i++) {
        const struct access_purse *p = &k->cell->purse[i / ACCESS_SPANS][i % ACCESS_SPANS];
        int64_t limit = (int64_t)k->limits.budget[i / ACCESS_SPANS][i % ACCESS_SPANS];
        int64_t used = atomic_load_explicit(&p->leased, memory_order_relaxed) - atomic_load_explicit(&p->left, memory_order_relaxed);
        double share = limit ? (double)used / (double)limit : 0;
        most = share > most ? share : most;
    }
    return most < 1 ? most : 1;
}

bool access_has_money_budget(const struct access_key *k) {
    return k && (k->limits.budget[ACCESS_MONEY][ACCESS_DAY] || k->limits.budget[ACCESS_MONEY][ACCESS_MONTH]);
}

bool access_may(const struct access_key *k, enum access_right right) {
    return !k || (k->rights & right);
}

bool access_may_use_model(const struct access_key *k, struct sv slug) {
    return !k || allows(k->models, k->n_models, slug);
}

bool access_may_use_endpoint(const struct access_key *k, struct sv endpoint) {
    return !k || allows(k->endpoints, k->n_endpoints, endpoint);
}
