/* hub/inbox.c - requests for certificates that wait for the machine that signs (hub.ca: apart).
 *
 * A node's request comes by enrolment or renewal, which answer 202 meanwhile; it asks again with the same key, and finds the chain. The hub asks for
 * its own. One request per node: the newest counts. Whoever signs brings chains by the admin API; each is held against what was asked for. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "hub/room.h"

enum { TELL_MS = 3600000, AWAY_MS = 3600000 };

struct petition {
    struct list all;
    char id[17], node[PKI_ID_MAX + 1], spki[65], peer[STREAM_PEER_TEXT]; /* node empty: the hub's own */
    char *csr, *chain;                                                   /* chain empty: it waits */
    uint64_t created_ms;
};

static void petition_free(struct petition *p) {
    list_drop(&p->all);
    mem_free(p->csr);
    mem_free(p->chain);
    mem_free(p);
}

static struct petition *find(struct hub *h, struct sv node) {
    LIST_FOR(it, &h->inbox)
    if (sv_eq(sv_of(CONTAINER(it, struct petition, all)->node), node))
        return CONTAINER(it, struct petition, all);
    return NULL;
}

static struct petition *petition_new(struct sv id, struct sv node, struct sv spki, struct sv csr, struct sv peer,
                                     struct sv chain, uint64_t created_ms) {
    struct petition *p = mem_new(sizeof *p);
    if (!p)
        return NULL;
    list_init(&p->all);
    p->created_ms = created_ms;
    bool ok = sv_to_cstr(id, p->id, sizeof p->id) && sv_to_cstr(node, p->node, sizeof p->node) &&
              sv_to_cstr(spki, p->spki, sizeof p->spki);
    snprintf(p->peer, sizeof p->peer, "%.*s", SV_FMT(peer));
    if (ok && roster_text(&p->csr, csr) && roster_text(&p->chain, chain))
        return p;
    petition_free(p);
    return NULL;
}

/* --- its life ------------------------------------------------------------------------------------------------------------------------------ */

static bool load(struct store_tx *tx, void *arg, struct err *e) {
    struct hub *h = arg;
    struct store_rows *rows =
        store_query(tx, e, "SELECT id, node_id, spki, csr, peer, chain, created_ms FROM cert_request", NULL, 0);
    if (!rows)
        return false;
    for (enum store_step step; (step = store_next(rows, e)) != STORE_END;) {
        if (step == STORE_FAULT)
            return false;
        struct petition *p =
            petition_new(store_text(rows, 0), store_text(rows, 1), store_text(rows, 2), store_text(rows, 3),
                         store_text(rows, 4), store_text(rows, 5), (uint64_t)store_i64(rows, 6));
        if (!p) {
            store_end(rows);
            return err_no_memory(e);
        }
        list_push_back(&h->inbox, &p->all);
    }
    return true;
}

bool inbox__load(struct hub *h, struct err *e) {
    return store_read(h->house->store, load, h, e) || err_ctx(e, "read the requests for certificates");
}

void inbox__deinit(struct hub *h) {
    while (!list_empty(&h->inbox))
        petition_free(CONTAINER(h->inbox.next, struct petition, all));
}

/* --- what asks ----------------------------------------------------------------------------------------------------------------------------- */

bool inbox__ask(struct hub *h, struct record *r, struct sv node, const char *spki, struct sv csr, struct sv peer,
                struct err *e) {
    struct petition *was = find(h, node);
    char id[17];
    if (was && strcmp(was->spki, spki) == 0)
        return true;
    rand_text(id, sizeof id - 1);
    id[sizeof id - 1] = '\0';
    struct petition *p = petition_new(sv_of(id), node, sv_of(spki), csr, peer, SV(""), clock_wall_ms());
    if (!p)
        return err_no_memory(e);
    if (was)
        petition_free(was);
    list_push_back(&h->inbox, &p->all);
    const struct store_value v[] = { STORE_TEXT(node), STORE_TEXT(sv_of(p->id)),   STORE_TEXT(sv_of(spki)),
                                     STORE_TEXT(csr),  STORE_TEXT(sv_of(p->peer)), STORE_I64((int64_t)p->created_ms) };
    record_add(r,
               "INSERT INTO cert_request (node_id, id, spki, csr, peer, created_ms, chain) VALUES ($1, $2, $3, $4, $5, "
               "$6, '') ON CONFLICT (node_id) DO UPDATE SET "
               "id = excluded.id, spki = excluded.spki, csr = excluded.csr, peer = excluded.peer, created_ms = "
               "excluded.created_ms, chain = ''",
               v, 6);
    return true;
}

struct sv inbox__chain(struct hub *h, struct sv node, const char *spki) {
    const struct petition *p = find(h, node);
    return p && strcmp(p->spki, spki) == 0 ? sv_of(p->chain) : SV("");
}

void inbox__drop(struct hub *h, struct record *r, struct sv node) {
    struct petition *p = find(h, node);
    record_add(r, "DELETE FROM cert_request WHERE node_id = $1", &STORE_TEXT(node), 1);
    if (p)
        petition_free(p);
}

/* Of a node that is none any more. */
static bool is_void(struct hub *h, const struct petition *p) {
    const struct node *n = p->node[0] ? roster_find(&h->roster, sv_of(p->node)) : NULL;
    return p->node[0] && (!n || n->state != NODE_APPROVED);
}

static void sweep(struct hub *h) {
    LIST_FOR_SAFE(it, &h->inbox) {
        const struct petition *p = CONTAINER(it, struct petition, all);
        struct record *r = is_void(h, p) ? record_new(h->loop) : NULL;
        if (!r)
            continue;
        inbox__drop(h, r, sv_of(p->node));
        record_submit(h->house->store, r, NULL, NULL, NULL); /* the next start tries again */
    }
}

static void ask_own(struct hub *h) {
    struct buf csr = BUF_MAX(PKI_CSR_MAX);
    unsigned char pin[TLS_PIN];
    char spki[65];
    struct record *r = record_new(h->loop);
    struct err e;
    bool ok = r ? authority_request(h->authority, &csr, &e) && pki_csr_pin(buf_sv(&csr), pin, &e) : err_no_memory(&e);
    if (ok) {
        sodium_bin2hex(spki, sizeof spki, pin, sizeof pin);
        ok = inbox__ask(h, r, SV(""), spki, buf_sv(&csr), SV("-"), &e);
    }
    buf_deinit(&csr);
    if (!ok)
        record_free(r);
    if (ok ? !record_submit(h->house->store, r, NULL, NULL, &e) : true) {
        if (!ok)
            log_event(LOG_ERROR, "the hub cannot ask for its next certificate", F_STR("cause", e.text));
        return;
    }
    log_event(LOG_INFO, "the hub's next certificate waits to be signed (drover cert serve)");
}

uint64_t inbox__waits_since(struct hub *h, unsigned *ret_n) {
    uint64_t since = 0;
    *ret_n = 0;
    LIST_FOR(it, &h->inbox) {
        const struct petition *p = CONTAINER(it, struct petition, all);
        if (p->chain[0])
            continue;
        ++*ret_n;
        since = !since || p->created_ms < since ? p->created_ms : since;
    }
    return since;
}

void inbox__tick(struct hub *h) {
    unsigned n;
    if (!authority_is_apart(h->authority))
        return;
    sweep(h);
    if (authority_wants_leaf(h->authority) && !find(h, SV("")))
        ask_own(h);
    uint64_t since = inbox__waits_since(h, &n), now = clock_wall_ms();
    if (!since || now < since + AWAY_MS || now < h->inbox_told_ms + TELL_MS)
        return;
    h->inbox_told_ms = now;
    log_event(LOG_WARN, "requests for certificates wait for who signs: run drover cert serve there",
              F_U64("requests", n), F_U64("since_ms", since));
}

/* --- who signs ------------------------------------------------------------------------------------------------------------------------------ */

static void put(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, "%s\"%s\":", out->n && out->p[out->n - 1] != '{' ? "," : "", name);
    buf_add_json(out, v);
}

void hub_inbox(struct hub *h, struct buf *out) {
    bool first = true;
    put(out, "fleet", sv_of(authority_fleet(h->authority)));
    put(out, "hub_id", sv_of(authority_hub_id(h->authority)));
    buf_printf(out, ",\"apart\":%s,\"life_s\":%llu,\"requests\":[", authority_is_apart(h->authority) ? "true" : "false",
               (unsigned long long)((*h->house->config)->hub.leaf_life_ms / 1000));
    LIST_FOR(it, &h->inbox) {
        const struct petition *p = CONTAINER(it, struct petition, all);
        const struct node *n = roster_find(&h->roster, sv_of(p->node));
        if (p->chain[0] || is_void(h, p))
            continue;
        buf_add(out, first ? SV("{") : SV(",{"));
        first = false;
        put(out, "id", sv_of(p->id));
        put(out, "node", sv_of(p->node));
        put(out, "name", n ? sv_of(n->name) : SV("hub"));
        put(out, "fingerprint", sv_of(p->spki));
        put(out, "csr", sv_of(p->csr));
        put(out, "peer", sv_of(p->peer));
        buf_printf(out, ",\"created_ms\":%llu", (unsigned long long)p->created_ms);
        if (!p->node[0]) {
            buf_add(out, SV(",\"names\":"));
            authority_print_names(*h->house->config, out);
        }
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

struct signing {
    struct hub *hub;
    char node[PKI_ID_MAX + 1], spki[65];
    struct buf chain;
    hub_done *done;
    void *arg;
};

static void on_signed(void *arg, const struct err *e) {
    struct signing *a = arg;
    struct hub *h = a->hub;
    struct petition *p = h->closing ? NULL : find(h, sv_of(a->node));
    struct err why;
    if (!e && (!p || strcmp(p->spki, a->spki) != 0)) {
        err_set(&why, ERR_NOT_FOUND, "the request has gone meanwhile");
        e = &why;
    }
    if (!e && a->node[0] && !roster_text(&p->chain, buf_sv(&a->chain))) {
        err_no_memory(&why);
        e = &why;
    }
    if (!e && !a->node[0]) {
        petition_free(p); /* its row went with the record */
        if (!authority_take(h->authority, buf_sv(&a->chain), &why))
            e = &why;
        else if (h->house->on_tls)
            h->house->on_tls(h->house->owner);
    }
    a->done(a->arg, SV("{\"signed\":true}"), e);
    buf_deinit(&a->chain);
    hub__unref(h);
    mem_free(a);
}

static bool check(struct hub *h, const struct petition *p, struct sv chain, struct pki_cert *cert, struct err *e) {
    char spki[65];
    if (!(p->node[0] ? authority_check_node(h->authority, sv_of(p->node), chain, cert, e)
                     : authority_check_own(h->authority, chain, cert, e)))
        return false;
    sodium_bin2hex(spki, sizeof spki, cert->is.spki, sizeof cert->is.spki);
    return strcmp(spki, p->spki) == 0 ||
           err_set(e, ERR_BAD_REQUEST, "the certificate is for another key than was asked for");
}

bool hub_inbox_sign(struct hub *h, struct sv id, struct sv chain, const struct access_actor *by, hub_done *done,
                    void *arg, struct err *e) {
    const struct petition *p = NULL;
    struct pki_cert cert;
    LIST_FOR(it, &h->inbox)
    if (sv_eq(sv_of(CONTAINER(it, struct petition, all)->id), id))
        p = CONTAINER(it, struct petition, all);
    if (!p || p->chain[0])
        return err_set(e, ERR_NOT_FOUND, "there is no request of that id that waits");
    if (!check(h, p, chain, &cert, e)) {
        e->code = e->code == ERR_CONFIG ? ERR_BAD_REQUEST : e->code;
        return false;
    }
    struct signing *a = mem_new(sizeof *a);
    struct record *r = a ? record_new(h->loop) : NULL;
    if (!r) {
        mem_free(a);
        return err_no_memory(e);
    }
    *a = (struct signing){ .hub = hub__ref(h), .chain = BUF_MAX(PKI_PEM_MAX), .done = done, .arg = arg };
    memcpy(a->node, p->node, sizeof a->node);
    memcpy(a->spki, p->spki, sizeof a->spki);
    record_audit(r, by, "cert.sign", p->node[0] ? sv_of(p->node) : SV("hub"), sv_of(p->spki));
    certs__log(r, by, &cert, authority_issuer(h->authority));
    if (p->node[0])
        record_add(r, "UPDATE cert_request SET chain = $2 WHERE id = $1",
                   (struct store_value[]){ STORE_TEXT(sv_of(p->id)), STORE_TEXT(chain) }, 2);
    else
        record_add(r, "DELETE FROM cert_request WHERE id = $1", (struct store_value[]){ STORE_TEXT(sv_of(p->id)) }, 1);
    record_must_change(r, ERR_NOT_FOUND, "the request has gone meanwhile");
    if (!buf_add(&a->chain, chain))
        r->failed = true;
    if (record_submit(h->house->store, r, on_signed, a, e))
        return true;
    buf_deinit(&a->chain);
    hub__unref(h);
    mem_free(a);
    return false;
}
