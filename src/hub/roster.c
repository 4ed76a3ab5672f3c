#include "hub/roster.h"

#include <sodium.h>
#include <stdio.h>

#include "base/mem.h"
#include "link/link.h"

bool roster_text(char **field, struct sv text) {
    char *copy = mem_str(text.n ? text.p : "", text.n);
    if (!copy)
        return false;
    mem_free(*field);
    *field = copy;
    return true;
}

static void node_free(struct node *n) {
    sodium_memzero(n->bearer, sizeof n->bearer);
    mem_free(n->labels);
    mem_free(n->info);
    mem_free(n->csr);
    mem_free(n->url);
    way_unref(n->way);
    mem_free(n);
}

struct node *roster_find(const struct roster *r, struct sv id) {
    return map_get(&r->by_id, id);
}

struct node *roster_named(const struct roster *r, struct sv id_or_name) {
    struct node *n = roster_find(r, id_or_name);
    if (n)
        return n;
    LIST_FOR(it, &r->all) {
        struct node *one = CONTAINER(it, struct node, all);
        if (!sv_eq(sv_of(one->name), id_or_name))
            continue;
        if (one->state < NODE_REFUSED)
            return one;
        n = one; /* one that is out, unless the name has a new owner */
    }
    return n;
}

struct node *roster_with_key(const struct roster *r, const char *spki) {
    return map_get(&r->by_spki, sv_of(spki));
}

struct node *roster_add(struct roster *r, struct sv id, struct sv name, const char *spki) {
    struct node *n = mem_new(sizeof *n);
    if (!n)
        return NULL;
    list_init(&n->all);
    bool ok = sv_to_cstr(id, n->id, sizeof n->id) && sv_to_cstr(name, n->name, sizeof n->name) && sv_to_cstr(sv_of(spki), n->spki, sizeof n->spki) &&
              roster_text(&n->labels, SV("{}")) && roster_text(&n->info, SV("{}")) && roster_text(&n->csr, SV_NULL) && roster_text(&n->url, SV_NULL) &&
              map_put(&r->by_id, sv_of(n->id), n);
    if (ok && n->spki[0] && !map_put(&r->by_spki, sv_of(n->spki), n)) {
        (void)map_del(&r->by_id, sv_of(n->id));
        ok = false;
    }
    if (!ok) {
        node_free(n);
        return NULL;
    }
    list_push_back(&r->all, &n->all);
    r->n++;
    return n;
}

static void forget_key(struct roster *r, struct node *n) {
    if (n->spki[0] && roster_with_key(r, n->spki) == n)
        (void)map_del(&r->by_spki, sv_of(n->spki));
}

bool roster_rekey(struct roster *r, struct node *n, const char *spki) {
    char was[sizeof n->spki];
    memcpy(was, n->spki, sizeof was);
    forget_key(r, n);
    snprintf(n->spki, sizeof n->spki, "%s", spki);
    return map_put(&r->by_spki, sv_of(n->spki), n);
}

void roster_remove(struct roster *r, struct node *n) {
    forget_key(r, n);
    (void)map_del(&r->by_id, sv_of(n->id));
    list_drop(&n->all);
    r->n--;
    node_free(n);
}

void roster_name(const struct roster *r, struct sv wish, char name[static HUB_NAME_MAX + 1]) {
    snprintf(name, HUB_NAME_MAX + 1, "%.*s", SV_FMT(sv_first(wish, HUB_NAME_MAX)));
    const struct node *n;
    for (unsigned i = 2; (n = roster_named(r, sv_of(name))) && n->state < NODE_REFUSED; i++)
        snprintf(name, HUB_NAME_MAX + 1, "%.*s-%u", SV_FMT(sv_first(wish, HUB_NAME_MAX - 8)), i);
}

bool roster_has_shown(const struct node *n) {
    return n->serial[0] && strcmp(n->shown, n->serial) == 0;
}

/* --- rows -------------------------------------------------------------------------------------------------------------------------------- */

#define COLUMNS                                                                                                        \
    "id, name, state, drained, created_ms, decided_ms, decided_by, seen_ms, labels, info, csr, url, spki, old_spki, "  \
    "serial, not_after_s, bearer, "                                                                                    \
    "old_bearer, epoch, ca, not_before_s, trust_sequence, shown, renew_before_s, skipped, void_ms"

void roster_insert(struct record *r, const struct node *n) {
    const struct store_value v[] = {
        STORE_TEXT(sv_of(n->id)),
        STORE_TEXT(sv_of(n->name)),
        STORE_I64(n->state),
        STORE_I64(n->drained),
        STORE_I64((int64_t)n->created_ms),
        STORE_I64((int64_t)n->decided_ms),
        STORE_TEXT(sv_of(n->decided_by)),
        STORE_I64((int64_t)n->seen_ms),
        STORE_TEXT(sv_of(n->labels)),
        STORE_TEXT(sv_of(n->info)),
        STORE_TEXT(sv_of(n->csr)),
        STORE_TEXT(sv_of(n->url)),
        STORE_TEXT(sv_of(n->spki)),
        STORE_TEXT(sv_of(n->old_spki)),
        STORE_TEXT(sv_of(n->serial)),
        STORE_I64(n->not_after_s),
        STORE_BLOB(((struct sv){ (const char *)n->bearer, PKI_TOKEN })),
        STORE_BLOB(((struct sv){ (const char *)n->old_bearer, PKI_TOKEN })),
        STORE_I64((int64_t)n->epoch),
        STORE_TEXT(sv_of(n->ca)),
        STORE_I64(n->not_before_s),
        STORE_I64((int64_t)n->trust_sequence),
        STORE_TEXT(sv_of(n->shown)),
        STORE_I64(n->renew_before_s),
        STORE_TEXT(sv_of(n->skipped)),
        STORE_I64((int64_t)n->void_ms),
    };
    record_add(
        r,
        "INSERT INTO node (" COLUMNS
        ") VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25,$26)",
        v, sizeof v / sizeof v[0]);
}

static bool take_row(struct roster *r, struct store_rows *rows) {
    char spki[65];
    if (!sv_to_cstr(store_text(rows, 12), spki, sizeof spki))
        spki[0] = '\0';
    struct node *n = roster_add(r, store_text(rows, 0), store_text(rows, 1), spki);
    if (!n)
        return false;
    n->state = (enum node_state)store_i64(rows, 2);
    n->drained = store_i64(rows, 3) != 0;
    n->created_ms = (uint64_t)store_i64(rows, 4);
    n->decided_ms = (uint64_t)store_i64(rows, 5);
    (void)sv_to_cstr(store_text(rows, 6), n->decided_by, sizeof n->decided_by);
    n->seen_ms = (uint64_t)store_i64(rows, 7);
    (void)sv_to_cstr(store_text(rows, 13), n->old_spki, sizeof n->old_spki);
    (void)sv_to_cstr(store_text(rows, 14), n->serial, sizeof n->serial);
    n->not_after_s = store_i64(rows, 15);
    struct sv bearer = store_blob(rows, 16), old = store_blob(rows, 17);
    if (bearer.n == PKI_TOKEN)
        memcpy(n->bearer, bearer.p, PKI_TOKEN);
    if (old.n == PKI_TOKEN)
        memcpy(n->old_bearer, old.p, PKI_TOKEN);
    n->epoch = (uint64_t)store_i64(rows, 18);
    (void)sv_to_cstr(store_text(rows, 19), n->ca, sizeof n->ca);
    n->not_before_s = store_i64(rows, 20);
    n->trust_sequence = (uint64_t)store_i64(rows, 21);
    (void)sv_to_cstr(store_text(rows, 22), n->shown, sizeof n->shown);
    n->renew_before_s = store_i64(rows, 23);
    (void)sv_to_cstr(store_text(rows, 24), n->skipped, sizeof n->skipped);
    n->void_ms = (uint64_t)store_i64(rows, 25);
    return roster_text(&n->labels, store_text(rows, 8)) && roster_text(&n->info, store_text(rows, 9)) && roster_text(&n->csr, store_text(rows, 10)) &&
           roster_text(&n->url, store_text(rows, 11));
}

static bool load(struct store_tx *tx, void *arg, struct err *e) {
    struct store_rows *rows = store_query(tx, e, "SELECT " COLUMNS " FROM node ORDER BY created_ms, id", NULL, 0);
    if (!rows)
        return false;
    for (enum store_step step; (step = store_next(rows, e)) != STORE_END;) {
        if (step == STORE_FAULT)
            return false;
        if (!take_row(arg, rows)) {
            store_end(rows);
            return err_no_memory(e);
        }
    }
    return true;
}

bool roster_load(struct roster *r, struct store *s, struct err *e) {
    *r = (struct roster){ 0 };
    list_init(&r->all);
    map_init(&r->by_id);
    map_init(&r->by_spki);
    return store_read(s, load, r, e) || err_ctx(e, "read the fleet's nodes");
}

void roster_deinit(struct roster *r) {
    if (!r->all.next)
        return;
    while (!list_empty(&r->all))
        roster_remove(r, CONTAINER(r->all.next, struct node, all));
    map_deinit(&r->by_id);
    map_deinit(&r->by_spki);
}
