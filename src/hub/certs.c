/* hub/certs.c - what the hub knows of certificates: which one each node has and has shown, what it is told to renew, and the log of all issued.
 *
 * No node acknowledges anything. What it was given last is in its record, what it comes with is seen at the gate, and what is to change is told
 * as a state: the number of the roots it should have, and the moment before which its certificate must not begin. So a node that was away
 * learns it with its next welcome, and one that is told twice does nothing twice. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/room.h"

enum {
    TOLD_PER_TICK = 200,    /* as many renewals a second may follow */
    SPREAD_MS_PER_NODE = 5, /* the same for those who learn it in one moment, by their welcome */
    SPREAD_MS_MAX = 60000,
};

static const struct access_actor the_hub = { { "hub", 3 }, { "-", 1 } };

static int64_t now_s(void) {
    return (int64_t)(clock_wall_ms() / 1000);
}

/* --- the issuance log -------------------------------------------------------------------------------------------------------------------- */

void certs__log(struct record *r, const struct access_actor *by, const struct pki_cert *cert, const char *ca) {
    struct buf detail = BUF_MAX(1024);
    char spki[65];
    sodium_bin2hex(spki, sizeof spki, cert->is.spki, sizeof cert->is.spki);
    buf_printf(&detail, "{\"serial\":\"%s\",\"ca\":\"%s\",\"spki\":\"%s\",\"from_s\":%lld,\"to_s\":%lld,\"server\":%s}",
               cert->is.serial, ca, spki, (long long)cert->is.not_before_s, (long long)cert->is.not_after_s,
               cert->is_server ? "true" : "false");
    record_audit(r, by, "cert.issue", sv_of(cert->is.uri), buf_sv(&detail));
    buf_deinit(&detail);
}

static void on_logged(void *arg, const struct err *e) {
    (void)arg;
    if (e)
        log_event(LOG_ERROR, "the hub's own certificate is missing in the log of those issued",
                  F_STR("cause", e->text));
}

void certs__log_own(struct hub *h) {
    const char *serial = authority_leaf(h->authority)->is.serial;
    struct record *r = strcmp(serial, h->logged) != 0 ? record_new(h->loop) : NULL;
    struct err e;
    if (!r)
        return;
    snprintf(h->logged, sizeof h->logged, "%s", serial);
    certs__log(r, &the_hub, authority_leaf(h->authority), authority_issuer(h->authority));
    if (!record_submit(h->house->store, r, on_logged, NULL, &e))
        on_logged(NULL, &e);
}

/* --- what a node has, and what it is told ------------------------------------------------------------------------------------------------- */

bool certs__keep_key(struct hub *h) {
    return enrol__names_key(h, authority_leaf(h->authority)->is.spki);
}

void certs__shown(struct hub *h, struct node *n, bool is_last) {
    struct record *r = is_last && !roster_has_shown(n) && n->serial[0] ? record_new(h->loop) : NULL;
    if (!r)
        return;
    memcpy(n->shown, n->serial, sizeof n->shown);
    const struct store_value v[] = { STORE_TEXT(sv_of(n->id)), STORE_TEXT(sv_of(n->shown)) };
    record_add(r, "UPDATE node SET shown = $2 WHERE id = $1 AND serial = $2", v, 2);
    record_submit(h->house->store, r, NULL, NULL, NULL); /* lost with a crash, it is seen again at the next link */
}

/* Certificates that begin before this are to be renewed; 0: none. */
static int64_t leaf_not_before(struct hub *h, const struct node *n) {
    const struct pki_rotation *r = authority_rotation(h->authority);
    int64_t want = n->renew_before_s;
    if (!n->serial[0])
        return 0;
    if (!roster_has_shown(n) && n->not_before_s > want)
        want = n->not_before_s; /* what it was given last has not arrived: ask again */
    if (n->ca[0] && strcmp(n->ca, authority_issuer(h->authority)) != 0 && n->not_before_s + 1 > want)
        want = n->not_before_s + 1;
    if (!n->ca[0] && (r->stage == PKI_STAGE_ISSUE || r->stage == PKI_STAGE_PROVE) &&
        r->since_s - PKI_BACKDATE_S + 1 > want)
        want = r->since_s - PKI_BACKDATE_S + 1;
    return want;
}

static void put_moment(struct buf *out, const char *name, int64_t s) {
    char at[25];
    if (s > 0)
        buf_printf(out, ",\"%s\":\"%s\"", name, clock_iso8601((uint64_t)s * 1000, at));
}

void certs__put(struct hub *h, struct node *n, struct buf *out) {
    uint64_t spread = (uint64_t)h->n_sessions * SPREAD_MS_PER_NODE;
    (void)authority_trust(h->authority, &n->said_sequence);
    n->said_leaf_s = leaf_not_before(h, n);
    buf_printf(out, ",\"trust_sequence\":%llu,\"renew_spread_ms\":%llu", (unsigned long long)n->said_sequence,
               (unsigned long long)(spread < SPREAD_MS_MAX ? spread : SPREAD_MS_MAX));
    put_moment(out, "leaf_not_before", n->said_leaf_s);
}

void certs__tick(struct hub *h) {
    unsigned told = 0;
    uint64_t sequence;
    (void)authority_trust(h->authority, &sequence);
    if (authority_tick(h->authority, *h->house->config, certs__keep_key(h))) {
        certs__log_own(h);
        if (h->house->on_tls)
            h->house->on_tls(h->house->owner);
    }
    LIST_FOR(it, &h->roster.all) {
        struct node *n = CONTAINER(it, struct node, all);
        if (n->session && (n->said_sequence != sequence || n->said_leaf_s != leaf_not_before(h, n)) &&
            session__tell(h, n) && ++told == TOLD_PER_TICK)
            return;
    }
}

/* --- renewing before the time --------------------------------------------------------------------------------------------------------------- */

struct renewing {
    struct hub *hub;
    enum hub_renewed what;
    char id[PKI_ID_MAX + 1];
    int64_t before_s;
    hub_done *done;
    void *arg;
};

static bool is_meant(const struct renewing *a, const struct node *n) {
    return n->state == NODE_APPROVED && n->serial[0] && (a->what == HUB_RENEW_ALL || strcmp(n->id, a->id) == 0);
}

static bool renew_own(struct hub *h, struct err *e) {
    if (!authority_renew(h->authority, *h->house->config, certs__keep_key(h), e))
        return false;
    certs__log_own(h);
    if (h->house->on_tls)
        h->house->on_tls(h->house->owner);
    return true;
}

static void on_renewing(void *arg, const struct err *e) {
    struct renewing *a = arg;
    struct hub *h = a->hub;
    struct buf out = BUF_MAX(256);
    struct err fault;
    unsigned n = 0;
    if (!e && h->closing) {
        err_set(&fault, ERR_UNAVAILABLE, "the hub is stopping");
        e = &fault;
    }
    if (!e && a->what == HUB_RENEW_OWN && !renew_own(h, &fault))
        e = &fault;
    if (!e && a->what != HUB_RENEW_OWN)
        LIST_FOR(it, &h->roster.all) {
            struct node *one = CONTAINER(it, struct node, all);
            if (!is_meant(a, one))
                continue;
            one->renew_before_s = a->before_s;
            n++;
        }
    buf_printf(&out, "{\"nodes\":%u,\"hub\":%s}", n, a->what == HUB_RENEW_OWN ? "true" : "false");
    a->done(a->arg, buf_sv(&out), e);
    buf_deinit(&out);
    hub__unref(h);
    mem_free(a);
}

bool hub_certs_renew(struct hub *h, enum hub_renewed what, struct sv node, const struct access_actor *by,
                     hub_done *done, void *arg, struct err *e) {
    const struct node *n = what == HUB_RENEW_NODE ? roster_named(&h->roster, node) : NULL;
    if (what == HUB_RENEW_NODE && !n)
        return err_set(e, ERR_NOT_FOUND, "there is no node \"%.*s\" (drover node ls)", SV_FMT(sv_first(node, 80)));
    if (n && (n->state != NODE_APPROVED || !n->serial[0]))
        return err_set(e, ERR_EXISTS, "node %s has no certificate that could be renewed", n->name);
    struct renewing *a = mem_new(sizeof *a);
    struct record *r = a ? record_new(h->loop) : NULL;
    if (!r) {
        mem_free(a);
        return err_no_memory(e);
    }
    *a = (struct renewing){
        .hub = hub__ref(h), .what = what, .before_s = now_s() - PKI_BACKDATE_S + 1, .done = done, .arg = arg
    };
    snprintf(a->id, sizeof a->id, "%s", n ? n->id : "");
    record_audit(r, by, "cert.rotate",
                 n                       ? sv_of(n->id)
                 : what == HUB_RENEW_ALL ? SV("nodes")
                                         : SV("hub"),
                 n ? sv_of(n->name) : SV(""));
    const struct store_value v[] = { STORE_I64(a->before_s), STORE_I64(NODE_APPROVED), STORE_TEXT(sv_of(a->id)) };
    if (what == HUB_RENEW_ALL)
        record_add(r, "UPDATE node SET renew_before_s = $1 WHERE state = $2 AND serial <> ''", v, 2);
    else if (n)
        record_add(r, "UPDATE node SET renew_before_s = $1 WHERE state = $2 AND id = $3", v, 3);
    if (record_submit(h->house->store, r, on_renewing, a, e))
        return true;
    hub__unref(h);
    mem_free(a);
    return false;
}

/* --- telling ------------------------------------------------------------------------------------------------------------------------------ */

static void put(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, "%s\"%s\":", out->n && out->p[out->n - 1] != '{' ? "," : "", name);
    buf_add_json(out, v);
}

static void put_cert(struct buf *out, const struct pki_cert *c) {
    char pin[PKI_PIN_TEXT + 1];
    pki_pin_print(c->is.spki, pin);
    put(out, "subject", sv_of(c->subject));
    if (c->is.uri[0])
        put(out, "uri", sv_of(c->is.uri));
    put(out, "pin", sv_of(pin));
    put(out, "serial", sv_of(c->is.serial));
    buf_printf(out, ",\"begins_ms\":%lld,\"ends_ms\":%lld", (long long)c->is.not_before_s * 1000,
               (long long)c->is.not_after_s * 1000);
}

static void print_root(struct buf *out, const char *name, const struct pki_cert *c, bool issues, bool is_trusted) {
    buf_add_char(out, '{');
    put(out, "name", sv_of(name));
    put_cert(out, c);
    buf_printf(out, ",\"issues\":%s,\"trusted\":%s}", issues ? "true" : "false", is_trusted ? "true" : "false");
}

static void print_node(struct hub *h, const struct node *n, struct buf *out) {
    buf_add_char(out, '{');
    put(out, "id", sv_of(n->id));
    put(out, "name", sv_of(n->name));
    put(out, "fingerprint", sv_of(n->spki));
    put(out, "serial", sv_of(n->serial));
    put(out, "ca", sv_of(n->ca));
    buf_printf(out, ",\"begins_ms\":%lld,\"ends_ms\":%lld,\"trust_sequence\":%llu,\"shown\":%s,\"linked\":%s",
               (long long)n->not_before_s * 1000, (long long)n->not_after_s * 1000,
               (unsigned long long)n->trust_sequence, roster_has_shown(n) ? "true" : "false",
               n->session ? "true" : "false");
    if (n->void_ms)
        buf_printf(out, ",\"void_ms\":%llu", (unsigned long long)n->void_ms);
    if (n->serial[0] && leaf_not_before(h, n) > n->not_before_s)
        buf_add(out, SV(",\"to_renew\":true"));
    buf_add_char(out, '}');
}

void hub_certs(struct hub *h, struct buf *out) {
    const struct pki_rotation *r = authority_rotation(h->authority);
    const struct pki_cert *other = authority_other_root(h->authority);
    const char *issuer = authority_issuer(h->authority),
               *beside = strcmp(issuer, r->new_ca) == 0 ? r->old_ca : r->new_ca;
    uint64_t sequence;
    bool first = true;
    (void)authority_trust(h->authority, &sequence);
    put(out, "fleet", sv_of(authority_fleet(h->authority)));
    buf_printf(out, ",\"trust_sequence\":%llu,\"roots\":[", (unsigned long long)sequence);
    print_root(out, issuer, authority_root(h->authority), true, true);
    if (other) {
        buf_add_char(out, ',');
        print_root(out, beside, other, false, r->stage != PKI_STAGE_MAKE);
    }
    buf_add(out, SV("],\"hub\":{"));
    put_cert(out, authority_leaf(h->authority));
    put(out, "ca", sv_of(issuer));
    buf_add(out, SV("},\"nodes\":["));
    LIST_FOR(it, &h->roster.all) {
        const struct node *n = CONTAINER(it, struct node, all);
        if (!n->serial[0] && !n->void_ms)
            continue;
        buf_add(out, first ? SV_NULL : SV(","));
        first = false;
        print_node(h, n, out);
    }
    buf_add_char(out, ']');
    rotation__print(h, out);
}

struct sv hub_pem(struct hub *h, enum hub_pem what) {
    uint64_t sequence;
    return what == HUB_PEM_CHAIN ? authority_chain(h->authority) : authority_trust(h->authority, &sequence);
}
