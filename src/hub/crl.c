/* hub/crl.c - what was issued and is good no more, as a list of revoked certificates: from the log of those issued, without what is still taken. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/room.h"

enum { LISTED_MAX = 50000, PEM_MAX = 8 << 20 };

struct listing {
    struct store_job job;
    struct hub *hub;
    char ca[PKI_CA_NAME_MAX + 1];
    int64_t now_s;
    struct map good; /* keys that are taken, in hex */
    struct arena arena;
    char (*serials)[TLS_SERIAL_MAX + 1];
    size_t n;
    hub_done *done;
    void *arg;
};

static void listing_free(struct listing *l) {
    map_deinit(&l->good);
    arena_deinit(&l->arena);
    mem_free(l->serials);
    hub__unref(l->hub);
    mem_free(l);
}

static bool take(struct listing *l, struct sv detail, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(detail);
    yyjson_val *c = yyjson_doc_get_root(doc);
    if (!sv_eq(json_str(c, "ca"), sv_of(l->ca)) || json_i64(c, "to_s", 0) <= l->now_s || map_get(&l->good, json_str(c, "spki")))
        return true;
    if (l->n == LISTED_MAX)
        return err_set(e, ERR_LIMIT, "more than %d certificates are good no more: that is the most that a list holds", LISTED_MAX);
    l->n += sv_to_cstr(json_str(c, "serial"), l->serials[l->n], sizeof l->serials[0]);
    return true;
}

static bool run(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct listing *l = CONTAINER(job, struct listing, job);
    struct store_rows *rows = store_query(tx, e, "SELECT detail FROM audit WHERE action = 'cert.issue'", NULL, 0);
    for (enum store_step step; rows && (step = store_next(rows, e)) != STORE_END;) {
        if (step == STORE_FAULT)
            return false;
        if (!take(l, store_text(rows, 0), e)) {
            store_end(rows);
            return false;
        }
    }
    return rows != NULL;
}

static void on_listed(struct store_job *job, const struct err *e) {
    struct listing *l = CONTAINER(job, struct listing, job);
    struct buf pem = BUF_MAX(PEM_MAX), out = BUF_MAX(2 * PEM_MAX);
    struct err why;
    if (!e && l->hub->closing) {
        err_set(&why, ERR_UNAVAILABLE, "the hub is stopping");
        e = &why;
    }
    if (!e && !authority_crl(l->hub->authority, (const char(*)[TLS_SERIAL_MAX + 1])l->serials, l->n, &pem, &why))
        e = &why;
    if (!e) {
        buf_add(&out, SV("{\"pem\":"));
        buf_add_json(&out, buf_sv(&pem));
        buf_add_char(&out, '}');
    }
    l->done(l->arg, buf_sv(&out), e);
    buf_deinit(&pem);
    buf_deinit(&out);
    listing_free(l);
}

/* A node's present key, and the one before: the gate takes both. */
static bool add_good(struct listing *l, const char *spki) {
    struct sv key = arena_sv(&l->arena, sv_of(spki));
    return !spki[0] || (key.p && map_put(&l->good, key, l));
}

static bool gather(struct hub *h, struct listing *l) {
    char own[65];
    sodium_bin2hex(own, sizeof own, authority_leaf(h->authority)->is.spki, TLS_PIN);
    bool ok = add_good(l, own);
    LIST_FOR(it, &h->roster.all) {
        const struct node *n = CONTAINER(it, struct node, all);
        if (n->state == NODE_APPROVED && n->serial[0])
            ok = ok && add_good(l, n->spki) && add_good(l, n->old_spki);
    }
    return ok;
}

bool hub_crl(struct hub *h, hub_done *done, void *arg, struct err *e) {
    struct listing *l = mem_new(sizeof *l);
    if (!l)
        return err_no_memory(e);
    *l = (struct listing){ .job = { .home = h->loop, .reads = true, .run = run, .done = on_listed },
                           .hub = hub__ref(h),
                           .now_s = (int64_t)(clock_wall_ms() / 1000),
                           .serials = mem_alloc(LISTED_MAX * sizeof l->serials[0]),
                           .done = done,
                           .arg = arg };
    map_init(&l->good);
    arena_init(&l->arena, 8 << 20, NULL);
    snprintf(l->ca, sizeof l->ca, "%s", authority_issuer(h->authority));
    if ((l->serials && gather(h, l)) ? store_submit(h->house->store, &l->job, e) : err_no_memory(e))
        return true;
    listing_free(l);
    return false;
}
