/* hub/enrol.c - how a machine becomes a node: invite -> enrol (a token proves it, or a person says yes) -> certificate; later renew.
 *
 * That a token is used once is settled by the store: the row of the invitation is marked in the transaction that writes the node. Whoever asks
 * again with the same key before its first link gets the same node: the answer may have been lost on the way. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rand.h"
#include "http/url.h"
#include "hub/room.h"

enum {
    INVITES_MAX = 1000,
    INVITE_KEPT_MS = 3600000,  /* after it ended: a lost answer may be asked for again */
    WAITING_MAX = 100,         /* machines that wait for a yes: anybody can make one more */
    WAITING_RETRY_S = 5,
    ANSWER_MAX = 256 << 10,
    DEFAULT_PORT = 7443,
};

/* --- answers ------------------------------------------------------------------------------------------------------------------------------ */

static void put(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, "%s\"%s\":", out->n && out->p[out->n - 1] != '{' ? "," : "", name);
    buf_add_json(out, v);
}

static void put_urls(const struct hub *h, struct buf *out) {
    const struct config_list *set = &(*h->house->config)->hub.urls;
    buf_add(out, SV(",\"urls\":["));
    for (size_t i = 0; i < set->n; i++) {
        buf_add(out, i ? SV(",") : SV_NULL);
        buf_add_json(out, set->v[i]);
    }
    for (size_t i = 0; set->n == 0 && h->house->urls[i]; i++) {
        buf_add(out, i ? SV(",") : SV_NULL);
        buf_add_json(out, sv_of(h->house->urls[i]));
    }
    buf_add_char(out, ']');
}

/* chain: a fresh one for n; token: its bearer in clear. */
static void print_approved(const struct hub *h, const struct node *n, struct sv chain, const char *token, struct buf *out) {
    uint64_t sequence;
    struct sv trust = authority_trust(h->authority, &sequence);
    buf_add(out, SV("{\"state\":\"approved\""));
    put(out, "fleet", sv_of(authority_fleet(h->authority)));
    put(out, "hub_id", sv_of(authority_hub_id(h->authority)));
    put(out, "node_id", sv_of(n->id));
    put(out, "name", sv_of(n->name));
    put(out, "chain", chain);
    put(out, "trust", trust);
    put(out, "bundle", authority_bundle(h->authority));
    buf_printf(out, ",\"trust_sequence\":%llu,\"renew_grace_s\":%d", (unsigned long long)sequence, HUB_RENEW_GRACE_S);
    put(out, "token", sv_of(token));
    put_urls(h, out);
    buf_add(out, SV("}\n"));
}

static void print_waiting(const struct node *n, struct buf *out) {
    buf_printf(out, "{\"state\":\"waiting\",\"fingerprint\":\"sha256:%s\",\"retry_s\":%d}\n", n->spki, WAITING_RETRY_S);
}

/* --- invitations --------------------------------------------------------------------------------------------------------------------------- */

struct inviting {
    struct hub *hub;
    struct invite *invite;
    struct buf line;
    hub_done *done;
    void *arg;
};

static void inviting_free(struct inviting *a) {
    pki_wipe(&a->line);
    mem_free(a->invite);
    hub__unref(a->hub);
    mem_free(a);
}

static void print_invite(const struct invite *i, struct buf *out) {
    buf_add_char(out, '{');
    put(out, "id", sv_of(i->id));
    put(out, "name", sv_of(i->name));
    buf_printf(out, ",\"created_ms\":%llu,\"expires_ms\":%llu,\"used\":%s", (unsigned long long)i->created_ms, (unsigned long long)i->expires_ms,
               i->spki[0] ? "true" : "false");
    if (i->spki[0])
        put(out, "fingerprint", sv_of(i->spki));
    if (i->node[0])
        put(out, "node", sv_of(i->node));
    buf_add_char(out, '}');
}

static void on_invited(void *arg, const struct err *e) {
    struct inviting *a = arg;
    struct buf out = BUF_MAX(8192);
    if (!e && !a->hub->closing) {
        print_invite(a->invite, &out);
        out.n--;
        put(&out, "line", buf_sv(&a->line));
        buf_add_char(&out, '}');
        list_push_back(&a->hub->invites, &a->invite->all);
        a->invite = NULL;
    }
    a->done(a->arg, buf_sv(&out), e);
    pki_wipe(&out);
    inviting_free(a);
}

static bool print_line(struct hub *h, const struct invite *i, const char *token, struct buf *out, struct err *e) {
    struct pki_invite line = { .expires_s = (int64_t)(i->expires_ms / 1000) };
    const struct config_list *set = &(*h->house->config)->hub.urls;
    for (size_t u = 0; u < set->n && line.n_urls < PKI_INVITE_URLS; u++)
        line.n_urls += sv_to_cstr(set->v[u], line.urls[line.n_urls], sizeof line.urls[0]);
    for (size_t u = 0; set->n == 0 && h->house->urls[u] && line.n_urls < PKI_INVITE_URLS; u++)
        line.n_urls += sv_to_cstr(sv_of(h->house->urls[u]), line.urls[line.n_urls], sizeof line.urls[0]);
    if (line.n_urls == 0)
        return err_set(e, ERR_CONFIG, "no listener has the role link, and hub.urls is not set: nodes have nowhere to go");
    memcpy(line.pin, authority_pin(h->authority), sizeof line.pin);
    memcpy(line.token, token, sizeof line.token);
    snprintf(line.fleet, sizeof line.fleet, "%s", authority_fleet(h->authority));
    bool ok = pki_invite_print(&line, out);
    sodium_memzero(&line, sizeof line);
    return ok || err_set(e, ERR_CONFIG, "hub.urls: one of them cannot stand in an invitation (at most %d printable characters)", PKI_INVITE_URL_MAX);
}

/* A node that is let in already, and has lost its certificate, or the machine that had it. */
static bool find_returner(struct hub *h, struct sv node, const struct node **ret, struct err *e) {
    *ret = node.n ? roster_named(&h->roster, node) : NULL;
    if (node.n && !*ret)
        return err_set(e, ERR_NOT_FOUND, "there is no node \"%.*s\" (drover node ls)", SV_FMT(sv_first(node, 80)));
    return !*ret || (*ret)->state == NODE_APPROVED ||
           err_set(e, ERR_EXISTS, "node %s is %s: an invitation brings back only nodes that are let in", (*ret)->name,
                   node_state_name((*ret)->state));
}

bool hub_invite(struct hub *h, struct sv name, struct sv node, uint64_t ttl_ms, const struct access_actor *by,
                hub_done *done, void *arg, struct err *e) {
    unsigned n = 0;
    const struct node *back;
    if (!find_returner(h, node, &back, e))
        return false;
    if (back)
        name = sv_of(back->name);
    if (name.n && !hub_name_is_good(name))
        return err_set(e, ERR_BAD_REQUEST, HUB_NAME_RULE, HUB_NAME_MAX);
    LIST_FOR(it, &h->invites)
    n += !CONTAINER(it, struct invite, all)->spki[0];
    if (n >= INVITES_MAX)
        return err_set(e, ERR_UNAVAILABLE, "%d invitations are open already; wait until some have ended", INVITES_MAX);
    struct inviting *a = mem_new(sizeof *a);
    struct invite *i = a ? mem_new(sizeof *i) : NULL;
    struct record *r = i ? record_new(h->loop) : NULL;
    if (!r) {
        mem_free(i);
        mem_free(a);
        return err_no_memory(e);
    }
    char token[PKI_TOKEN_TEXT + 1];
    *a = (struct inviting){ .hub = hub__ref(h), .invite = i, .line = BUF_MAX(PKI_INVITE_MAX), .done = done, .arg = arg };
    list_init(&i->all);
    rand_text(i->id, sizeof i->id - 1);
    snprintf(i->name, sizeof i->name, "%.*s", SV_FMT(name));
    i->created_ms = clock_wall_ms();
    i->expires_ms = i->created_ms + (ttl_ms ? ttl_ms : (*h->house->config)->hub.invite_ttl_ms);
    sodium_bin2hex(i->pin, sizeof i->pin, authority_pin(h->authority), TLS_PIN);
    snprintf(i->node, sizeof i->node, "%s", back ? back->id : "");
    pki_token_make(PKI_TOKEN_JOIN, token);
    bool ok = pki_token_hash(PKI_TOKEN_JOIN, sv_of(token), i->hash) && print_line(h, i, token, &a->line, e);
    sodium_memzero(token, sizeof token);
    const struct store_value v[] = {
        STORE_TEXT(sv_of(i->id)),   STORE_BLOB(((struct sv){ (const char *)i->hash, PKI_TOKEN })),
        STORE_TEXT(sv_of(i->name)), STORE_I64((int64_t)i->created_ms),
        STORE_TEXT(by->name),       STORE_I64((int64_t)i->expires_ms),
        STORE_TEXT(sv_of(i->pin)),  STORE_TEXT(sv_of(i->node))
    };
    record_add(r,
               "INSERT INTO invite (id, hash, name, created_ms, created_by, expires_ms, used_ms, spki, pin, node_id) "
               "VALUES ($1, $2, $3, $4, $5, $6, 0, '', "
               "$7, $8)",
               v, 8);
    record_audit(r, by, "node.invite", sv_of(i->id), name);
    if (!ok)
        record_free(r);
    if (ok && record_submit(h->house->store, r, on_invited, a, e))
        return true;
    inviting_free(a);
    return false;
}

void hub_invites(struct hub *h, struct buf *out) {
    bool first = true;
    buf_add_char(out, '[');
    LIST_FOR(it, &h->invites) {
        buf_add(out, first ? SV_NULL : SV(","));
        first = false;
        print_invite(CONTAINER(it, struct invite, all), out);
    }
    buf_add_char(out, ']');
}

static struct invite *find_invite(struct hub *h, struct sv id) {
    LIST_FOR(it, &h->invites)
        if (sv_eq(sv_of(CONTAINER(it, struct invite, all)->id), id))
            return CONTAINER(it, struct invite, all);
    return NULL;
}

struct voiding {
    struct hub *hub;
    char id[17];
    hub_done *done;
    void *arg;
};

static void on_voided(void *arg, const struct err *e) {
    struct voiding *a = arg;
    struct invite *i = e || a->hub->closing ? NULL : find_invite(a->hub, sv_of(a->id));
    if (i) {
        list_drop(&i->all);
        mem_free(i);
    }
    a->done(a->arg, SV("{\"removed\":true}"), e);
    hub__unref(a->hub);
    mem_free(a);
}

bool hub_invite_void(struct hub *h, struct sv id, const struct access_actor *by, hub_done *done, void *arg, struct err *e) {
    const struct invite *i = find_invite(h, id);
    if (!i)
        return err_set(e, ERR_NOT_FOUND, "there is no open invitation of that id");
    struct voiding *a = mem_new(sizeof *a);
    struct record *r = a ? record_new(h->loop) : NULL;
    if (!r) {
        mem_free(a);
        return err_no_memory(e);
    }
    *a = (struct voiding){ .hub = hub__ref(h), .done = done, .arg = arg };
    memcpy(a->id, i->id, sizeof a->id);
    record_add(r, "DELETE FROM invite WHERE id = $1", (struct store_value[]){ STORE_TEXT(sv_of(i->id)) }, 1);
    record_audit(r, by, "node.invite_void", sv_of(i->id), SV(""));
    if (record_submit(h->house->store, r, on_voided, a, e))
        return true;
    hub__unref(h);
    mem_free(a);
    return false;
}

static bool load(struct store_tx *tx, void *arg, struct err *e) {
    struct hub *h = arg;
    struct store_rows *rows =
        store_query(tx, e, "SELECT id, hash, name, created_ms, expires_ms, spki, pin, node_id FROM invite", NULL, 0);
    if (!rows)
        return false;
    for (enum store_step step; (step = store_next(rows, e)) != STORE_END;) {
        struct invite *i = step == STORE_ROW ? mem_new(sizeof *i) : NULL;
        if (!i) {
            if (step == STORE_ROW)
                store_end(rows);
            return step == STORE_ROW ? err_no_memory(e) : false;
        }
        list_init(&i->all);
        list_push_back(&h->invites, &i->all);
        (void)sv_to_cstr(store_text(rows, 0), i->id, sizeof i->id);
        if (store_blob(rows, 1).n == PKI_TOKEN)
            memcpy(i->hash, store_blob(rows, 1).p, PKI_TOKEN);
        (void)sv_to_cstr(store_text(rows, 2), i->name, sizeof i->name);
        i->created_ms = (uint64_t)store_i64(rows, 3);
        i->expires_ms = (uint64_t)store_i64(rows, 4);
        (void)sv_to_cstr(store_text(rows, 5), i->spki, sizeof i->spki);
        (void)sv_to_cstr(store_text(rows, 6), i->pin, sizeof i->pin);
        (void)sv_to_cstr(store_text(rows, 7), i->node, sizeof i->node);
    }
    return true;
}

bool enrol__load(struct hub *h, struct err *e) {
    return store_read(h->house->store, load, h, e) || err_ctx(e, "read the open invitations");
}

void enrol__deinit(struct hub *h) {
    for (struct list *it; (it = list_pop(&h->invites));)
        mem_free(CONTAINER(it, struct invite, all));
}

void enrol__tick(struct hub *h) {
    uint64_t now = clock_wall_ms();
    LIST_FOR_SAFE(it, &h->invites) {
        struct invite *i = CONTAINER(it, struct invite, all);
        struct record *r = now > i->expires_ms + INVITE_KEPT_MS ? record_new(h->loop) : NULL;
        if (!r)
            continue;
        record_add(r, "DELETE FROM invite WHERE id = $1", (struct store_value[]){ STORE_TEXT(sv_of(i->id)) }, 1);
        list_drop(it);
        mem_free(i);
        record_submit(h->house->store, r, NULL, NULL, NULL); /* the next start tries again */
    }
}

bool enrol__names_key(struct hub *h, const unsigned char pin[static TLS_PIN]) {
    char text[65];
    sodium_bin2hex(text, sizeof text, pin, TLS_PIN);
    LIST_FOR(it, &h->invites)
    if (strcmp(CONTAINER(it, struct invite, all)->pin, text) == 0)
        return true;
    return false;
}

bool enrol__is_open(const struct invite *i) {
    return !i->spki[0] && i->expires_ms > clock_wall_ms();
}

void enrol__forget(struct hub *h, const unsigned char *but_pin) {
    char text[65] = "";
    if (but_pin)
        sodium_bin2hex(text, sizeof text, but_pin, TLS_PIN);
    LIST_FOR_SAFE(it, &h->invites) {
        struct invite *i = CONTAINER(it, struct invite, all);
        if (but_pin && (i->spki[0] || strcmp(i->pin, text) == 0))
            continue;
        list_drop(it);
        mem_free(i);
    }
}

/* The one with this token, whatever became of it. All are compared: how long it takes tells nothing. */
static struct invite *invite_of(struct hub *h, struct sv token) {
    unsigned char hash[PKI_TOKEN];
    struct invite *found = NULL;
    if (!pki_token_hash(PKI_TOKEN_JOIN, token, hash))
        return NULL;
    LIST_FOR(it, &h->invites)
        if (sodium_memcmp(CONTAINER(it, struct invite, all)->hash, hash, sizeof hash) == 0)
            found = CONTAINER(it, struct invite, all);
    return found;
}

/* --- enrolment ------------------------------------------------------------------------------------------------------------------------------ */

struct enrolling {
    struct hub *hub;
    struct node *fresh;     /* a new node, not in the roster yet; NULL: id names one that is */
    char id[PKI_ID_MAX + 1];
    char invite[17];
    char spki[65];
    struct pki_cert cert;
    char ca[PKI_CA_NAME_MAX + 1];
    uint64_t trust_sequence;
    unsigned char bearer[PKI_TOKEN];
    char url[CALLS_URL_MAX + 1]; /* where it is called; empty: it dials */
    bool has_url;                /* it said so */
    bool is_unsigned;            /* what it asks for waits to be signed elsewhere */
    bool renews, waits, returns; /* the latter: a node that is known comes with another key */
    bool is_again;               /* the certificate that it was given last never reached it: the one before stays that */
    struct timer soon; /* of an answer that needs no record */
    struct buf answer;
    hub_enrolled *done;
    void *arg;
};

static void enrolling_free(struct enrolling *a) {
    pki_wipe(&a->answer);
    sodium_memzero(a->bearer, sizeof a->bearer);
    hub__unref(a->hub);
    mem_free(a);
}

static void take_certificate(struct hub *h, struct node *n, const struct enrolling *a) {
    if (a->returns) { /* whatever holds the key and the token of before is somebody else now */
        hub__cut(h, n, CLOSE_IDENTITY, "the node joined anew with another key");
        n->old_spki[0] = n->shown[0] = '\0';
        sodium_memzero(n->old_bearer, sizeof n->old_bearer);
    } else if (a->renews && !a->is_again) {
        snprintf(n->old_spki, sizeof n->old_spki, "%s", n->spki);
        memcpy(n->old_bearer, n->bearer, sizeof n->old_bearer);
    }
    if ((a->renews || a->returns) && !roster_rekey(&h->roster, n, a->spki))
        log_event(LOG_ERROR, "a node's new key is known after the next start only", F_STR("node", n->name),
                  F_STR("cause", "out of memory"));
    memcpy(n->bearer, a->bearer, sizeof n->bearer);
    snprintf(n->serial, sizeof n->serial, "%s", a->cert.is.serial);
    snprintf(n->ca, sizeof n->ca, "%s", a->ca);
    n->not_before_s = a->cert.is.not_before_s;
    n->not_after_s = a->cert.is.not_after_s;
    n->trust_sequence = a->trust_sequence;
    n->void_ms = 0;
    calls__moved(h, n);
}

static void take_url(struct hub *h, struct node *n, const struct enrolling *a) {
    if (!a->has_url || strcmp(n->url, a->url) == 0)
        return;
    if (!roster_text(&n->url, sv_of(a->url)))
        log_event(LOG_ERROR, "where a node is called is known after the next start only", F_STR("node", n->name), F_STR("cause", "out of memory"));
    calls__moved(h, n);
}

static void on_enrolled(void *arg, const struct err *e) {
    struct enrolling *a = arg;
    struct hub *h = a->hub;
    struct node *n = h->closing ? NULL : roster_find(&h->roster, sv_of(a->id));
    struct err gone;
    if (!e && (h->closing || !n)) {
        err_set(&gone, h->closing ? ERR_UNAVAILABLE : ERR_NOT_FOUND, h->closing ? "the hub is stopping" : "the node has gone meanwhile");
        e = &gone;
    }
    struct invite *i = e || !a->invite[0] ? NULL : find_invite(h, sv_of(a->invite));
    if (i)
        snprintf(i->spki, sizeof i->spki, "%s", a->spki);
    bool comes_later = a->is_unsigned && !a->returns; /* nothing has changed yet */
    if (!e)
        take_url(h, n, a);
    if (!e && !a->waits && !comes_later)
        take_certificate(h, n, a);
    if (!e && !comes_later)
        hub__event(h, n,
                   a->waits     ? "waiting"
                   : a->renews  ? "renewed"
                   : a->returns ? "returned"
                                : "joined",
                   a->waits ? sv_of(n->spki) : sv_of(a->cert.is.serial));
    if (e && n && a->fresh == n)
        roster_remove(&h->roster, n); /* its row was not written */
    a->done(a->arg, a->waits || a->is_unsigned ? 202 : 200, buf_sv(&a->answer), e);
    enrolling_free(a);
}

/* "n-" where a name gives nothing. */
static void make_id(const struct hub *h, struct sv name, char id[static PKI_ID_MAX + 1]) {
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    do {
        size_t n = 0;
        for (size_t i = 0; i < name.n && n < 40; i++) {
            char c = name.p[i];
            c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
            if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && n))
                id[n++] = c;
        }
        while (n && id[n - 1] == '-')
            n--;
        if (n == 0)
            id[n++] = 'n';
        id[n++] = '-';
        for (int i = 0; i < 6; i++)
            id[n++] = letters[rand_below(sizeof letters - 1)];
        id[n] = '\0';
    } while (roster_find(&h->roster, sv_of(id)));
}

static void put_told(struct buf *out, const char *name, struct sv v) {
    if (v.n)
        put(out, name, sv_first(v, 64));
}

/* Where it wants to be called, if it says anything of it. */
static bool take_mode(struct enrolling *a, struct sv mode, struct sv url, struct sv peer, struct err *e) {
    a->has_url = mode.n > 0;
    return !sv_eq(mode, SV("direct")) || calls__address(url, peer, a->url, e);
}

static bool describe(struct node *n, const struct hub_enrolment *in, const struct enrolling *a, struct err *e) {
    struct buf info = BUF_MAX(NODE_INFO_MAX);
    buf_add_char(&info, '{');
    put_told(&info, "version", in->version);
    put_told(&info, "hostname", in->hostname);
    put_told(&info, "os", in->os);
    put_told(&info, "arch", in->arch);
    put_told(&info, "address", in->peer);
    buf_add_char(&info, '}');
    bool ok = !info.failed && roster_text(&n->info, buf_sv(&info)) && roster_text(&n->csr, in->csr) &&
              roster_text(&n->url, sv_of(a->url));
    buf_deinit(&info);
    return ok || err_no_memory(e);
}

/* Who asks for a certificate, and for which key. */
struct petitioner {
    struct sv csr, peer;
    struct access_actor who;
};

/* Where a node that is known is called from now on, if it said anything of it; also while its certificate waits to be signed. */
static void add_url(struct record *r, const struct enrolling *a) {
    const struct store_value at[] = { STORE_TEXT(sv_of(a->id)), STORE_TEXT(sv_of(a->url)) };
    if (a->has_url)
        record_add(r, "UPDATE node SET url = $2 WHERE id = $1", at, 2);
}

/* The key in a request, as hex; the signature is proven. */
static bool key_of(struct sv csr, char spki[static 65], struct err *e) {
    unsigned char pin[TLS_PIN];
    if (!pki_csr_pin(csr, pin, e))
        return false;
    sodium_bin2hex(spki, 65, pin, sizeof pin);
    return true;
}

static void print_unsigned(const char *spki, struct buf *out) {
    buf_printf(out, "{\"state\":\"waiting\",\"fingerprint\":\"sha256:%s\",\"retry_s\":%d}\n", spki, WAITING_RETRY_S);
}

/* The chain that was signed elsewhere for this key, or the request for it. */
static bool fetch_chain(struct hub *h, struct enrolling *a, const struct node *n, const struct petitioner *by,
                        struct record *r, struct buf *chain, struct err *e) {
    if (!key_of(by->csr, a->spki, e))
        return false;
    struct sv ready = inbox__chain(h, sv_of(n->id), a->spki);
    a->is_unsigned = ready.n == 0;
    if (a->is_unsigned) {
        print_unsigned(a->spki, &a->answer);
        return inbox__ask(h, r, sv_of(n->id), a->spki, by->csr, by->peer, e);
    }
    bool ok = buf_add(chain, ready) || err_no_memory(e);
    ok = ok && authority_check_node(h->authority, sv_of(n->id), ready, &a->cert, e);
    inbox__drop(h, r, sv_of(n->id));
    return ok;
}

/* Signs, makes a bearer and prints the answer; or, where another machine signs, keeps the request. Adds to r the row of the log of those issued. */
static bool certify(struct hub *h, struct enrolling *a, const struct node *n, const struct petitioner *by,
                    struct record *r, struct err *e) {
    struct buf chain = BUF_MAX(PKI_PEM_MAX);
    char token[PKI_TOKEN_TEXT + 1];
    bool apart = authority_is_apart(h->authority);
    bool ok = apart ? fetch_chain(h, a, n, by, r, &chain, e)
                    : authority_sign(h->authority, *h->house->config, sv_of(n->id), by->csr, &chain, &a->cert, e);
    if (ok && !a->is_unsigned) {
        (void)authority_trust(h->authority, &a->trust_sequence);
        snprintf(a->ca, sizeof a->ca, "%s", authority_issuer(h->authority));
        pki_token_make(PKI_TOKEN_BEARER, token);
        (void)pki_token_hash(PKI_TOKEN_BEARER, sv_of(token), a->bearer);
        sodium_bin2hex(a->spki, sizeof a->spki, a->cert.is.spki, sizeof a->cert.is.spki);
        print_approved(h, n, buf_sv(&chain), token, &a->answer);
        sodium_memzero(token, sizeof token);
    }
    ok = ok && (!a->answer.failed || err_no_memory(e));
    if (ok && !apart)
        certs__log(r, &by->who, &a->cert, a->ca);
    buf_deinit(&chain);
    return ok;
}

#define NEW_CERTIFICATE                                                                                                \
    "serial = $2, not_after_s = $3, bearer = $4, spki = $5, ca = $6, not_before_s = $7, trust_sequence = $8, void_ms " \
    "= 0 WHERE id = $1"

static void add_certificate(struct record *r, const struct enrolling *a, const struct node *n) {
    static const unsigned char none[PKI_TOKEN];
    const struct store_value v[] = { STORE_TEXT(sv_of(n->id)),
                                     STORE_TEXT(sv_of(a->cert.is.serial)),
                                     STORE_I64(a->cert.is.not_after_s),
                                     STORE_BLOB(((struct sv){ (const char *)a->bearer, PKI_TOKEN })),
                                     STORE_TEXT(sv_of(a->spki)),
                                     STORE_TEXT(sv_of(a->ca)),
                                     STORE_I64(a->cert.is.not_before_s),
                                     STORE_I64((int64_t)a->trust_sequence),
                                     STORE_BLOB(((struct sv){ (const char *)none, PKI_TOKEN })) };
    if (a->returns)
        record_add(r, "UPDATE node SET old_spki = '', old_bearer = $9, shown = '', " NEW_CERTIFICATE, v, 9);
    else if (a->renews && !a->is_again)
        record_add(r, "UPDATE node SET old_spki = spki, old_bearer = bearer, " NEW_CERTIFICATE, v, 8);
    else
        record_add(r, "UPDATE node SET " NEW_CERTIFICATE, v, 8);
    record_must_change(r, ERR_NOT_FOUND, "the node has gone meanwhile");
}

static struct enrolling *enrolling_new(struct hub *h, hub_enrolled *done, void *arg) {
    struct enrolling *a = mem_new(sizeof *a);
    if (a)
        *a = (struct enrolling){ .hub = hub__ref(h), .answer = BUF_MAX(ANSWER_MAX), .done = done, .arg = arg };
    return a;
}

static void use_invite(struct enrolling *a, const struct invite *i, struct record *r) {
    memcpy(a->invite, i->id, sizeof a->invite);
    const struct store_value v[] = { STORE_TEXT(sv_of(i->id)), STORE_I64((int64_t)clock_wall_ms()),
                                     STORE_TEXT(sv_of(a->spki)) };
    record_add(r, "UPDATE invite SET used_ms = $2, spki = $3 WHERE id = $1 AND used_ms = 0 AND expires_ms > $2", v, 3);
    record_must_change(
        r, ERR_AUTH, "the invitation was used already, has ended, or never was; ask for a new one (drover hub invite)");
}

/* A new one: with a token at once, without for a person to approve. */
static bool add_node(struct hub *h, const struct hub_enrolment *in, const struct petitioner *by, struct enrolling *a,
                     const char *spki, struct invite *i, struct record *r, struct err *e) {
    char id[PKI_ID_MAX + 1], name[HUB_NAME_MAX + 1];
    struct sv wish = i && i->name[0] ? sv_of(i->name) : in->name;
    make_id(h, wish, id);
    roster_name(&h->roster, wish.n ? wish : sv_of(id), name);
    struct node *n = roster_add(&h->roster, sv_of(id), sv_of(name), spki);
    if (!n)
        return err_no_memory(e);
    a->fresh = n;
    memcpy(a->id, n->id, sizeof a->id);
    memcpy(a->spki, n->spki, sizeof a->spki);
    n->state = i ? NODE_APPROVED : NODE_WAITING;
    n->created_ms = clock_wall_ms();
    n->decided_ms = i ? n->created_ms : 0;
    snprintf(n->decided_by, sizeof n->decided_by, "%s", i ? "invite" : "");
    a->waits = !i;
    bool ok = describe(n, in, a, e);
    if (ok && i)
        ok = certify(h, a, n, by, r, e);
    else if (ok)
        print_waiting(n, &a->answer);
    if (!ok)
        return false;
    take_certificate(h, n, a); /* the row has it from the beginning */
    roster_insert(r, n);
    if (i)
        use_invite(a, i, r);
    return true;
}

/* One that is known comes with a new key, by an invitation that was made for it. */
static bool bring_back(struct hub *h, const struct petitioner *by, struct enrolling *a, struct invite *i,
                       struct record *r, struct err *e) {
    struct node *n = roster_find(&h->roster, sv_of(i->node));
    if (!n || n->state != NODE_APPROVED)
        return err_set(e, ERR_AUTH,
                       "the node that the invitation is for is no longer one of this fleet; ask for a new one (drover "
                       "hub invite)");
    memcpy(a->id, n->id, sizeof a->id);
    a->returns = true;
    if (!certify(h, a, n, by, r, e))
        return false;
    add_certificate(r, a, n); /* its key, at least, is another from now on */
    use_invite(a, i, r);
    return true;
}

static bool refuse(struct hub *h, const struct hub_enrolment *in, const char *why, struct err *e) {
    const struct access_actor nobody = { SV("nobody"), in->peer };
    err_set(e, ERR_AUTH, "the invitation was used already, has ended, or never was; ask for a new one (drover hub invite)");
    access_guard_count(&h->guard, in->peer, loop_now_us(h->loop), e);
    struct record *r =
        e->code == ERR_LIMIT ? NULL : record_new(h->loop); /* who tries on and on does not fill the log */
    if (!r)
        return false;
    record_audit(r, &nobody, "node.enrol_refused", in->name.n ? sv_first(in->name, 64) : SV("-"), sv_of(why));
    record_submit(h->house->store, r, NULL, NULL, NULL);
    return false;
}

static bool is_full(struct hub *h, bool waits, struct err *e) {
    size_t n = 0;
    LIST_FOR(it, &h->roster.all)
        n += CONTAINER(it, struct node, all)->state == NODE_WAITING;
    if (h->roster.n >= ROSTER_MAX)
        return !err_set(e, ERR_UNAVAILABLE, "this hub has %d nodes, which is its most", ROSTER_MAX);
    return waits && n >= WAITING_MAX &&
           !err_set(e, ERR_UNAVAILABLE, "%d machines wait for a yes already; the hub's operator decides (drover node ls), or give an invitation", WAITING_MAX);
}

/* What a machine that is known by its key gets. *ret_again: its certificate anew. */
static bool judge_known(struct hub *h, const struct hub_enrolment *in, const struct node *n, const struct invite *i, bool *ret_again, struct err *e) {
    (void)h;
    (void)in;
    *ret_again = n->state == NODE_APPROVED && !n->shown[0];
    if (n->state == NODE_REFUSED || n->state == NODE_REVOKED)
        return err_set(e, ERR_DENIED, "this machine was %s by the hub's operator", n->state == NODE_REFUSED ? "refused" : "put out");
    if (n->state == NODE_APPROVED && n->void_ms)
        return err_set(e, ERR_EXISTS,
                       "this machine's certificate was made void when the fleet's root was replaced: it needs an "
                       "invitation of its own (drover "
                       "hub invite --node %s), and leaves first (drover leave)",
                       n->name);
    if (n->state == NODE_APPROVED && n->shown[0])
        return err_set(e, ERR_EXISTS, "a node with this key is linked already; it renews its certificate, or joins anew with another key");
    if (n->state == NODE_APPROVED && i && !sv_eq(sv_of(i->spki), sv_of(n->spki)))
        return err_set(e, ERR_EXISTS, "this key joined by another invitation");
    return true;
}

static void on_still_waiting(void *arg) {
    struct enrolling *a = arg;
    a->done(a->arg, 202, buf_sv(&a->answer), NULL);
    enrolling_free(a);
}

/* Who asks again for what waits elsewhere changes nothing, and does not fill the log. */
static bool submit(struct hub *h, struct enrolling *a, struct record *r, struct err *e) {
    if (!a->is_unsigned || r->n || r->failed)
        return record_submit(h->house->store, r, on_enrolled, a, e);
    record_free(r);
    timer_set(h->loop, &a->soon, 0, on_still_waiting, a);
    return true;
}

bool hub_enrol(struct hub *h, const struct hub_enrolment *in, hub_enrolled *done, void *arg, struct err *e) {
    char spki[65];
    if (in->name.n && !hub_name_is_good(in->name))
        return err_set(e, ERR_BAD_REQUEST, HUB_NAME_RULE, HUB_NAME_MAX);
    if (in->csr.n > PKI_CSR_MAX)
        return err_set(e, ERR_BAD_REQUEST, "the request for a certificate is too large");
    if (!key_of(in->csr, spki, e))
        return false;
    struct node *known = roster_with_key(&h->roster, spki);
    struct invite *i = in->token.n ? invite_of(h, in->token) : NULL;
    bool again = false, returns = i && i->node[0] && !i->spki[0],
         fits = i && (i->spki[0] ? strcmp(i->spki, spki) == 0 : i->expires_ms > clock_wall_ms());
    if (in->token.n && !fits)
        return refuse(h, in, !i ? "unknown token" : i->spki[0] ? "token used by another key" : "token too late", e);
    if (known && !returns && !(known->state == NODE_WAITING && i) && !judge_known(h, in, known, i, &again, e))
        return false;
    if (known && returns && strcmp(known->id, i->node) != 0)
        return err_set(e, ERR_EXISTS,
                       "this key is another node's already; leave first (drover leave), so that a new one is made");
    if (!known && !returns && is_full(h, !i, e))
        return false;
    struct enrolling *a = enrolling_new(h, done, arg);
    struct record *r = a ? record_new(h->loop) : NULL;
    if (!r) {
        if (a)
            enrolling_free(a);
        return err_no_memory(e);
    }
    const struct access_actor machine = { i ? SV("invite") : SV("nobody"), in->peer };
    const struct petitioner by = { in->csr, in->peer, machine };
    bool ok = take_mode(a, in->mode, in->url, in->peer, e);
    if (!ok) {
        record_free(r);
        enrolling_free(a);
        return false;
    }
    if (returns) {
        ok = bring_back(h, &by, a, i, r, e);
    } else if (known && again) {
        memcpy(a->id, known->id, sizeof a->id);
        ok = certify(h, a, known, &by, r, e);
        if (ok && !a->is_unsigned)
            add_certificate(r, a, known);
    } else if (known && known->state == NODE_WAITING && !i) {
        memcpy(a->id, known->id, sizeof a->id);
        print_waiting(known, &a->answer);
        record_free(r);
        timer_set(h->loop, &a->soon, 0, on_still_waiting, a);
        return true;
    } else {
        if (known) { /* it waited, and now comes with an invitation */
            const struct store_value was = STORE_TEXT(sv_of(known->id));
            record_add(r, "DELETE FROM node_event WHERE node_id = $1", &was, 1);
            record_add(r, "DELETE FROM node WHERE id = $1", &was, 1);
            roster_remove(&h->roster, known);
        }
        ok = add_node(h, in, &by, a, spki, i, r, e);
    }
    if (ok && !a->fresh)
        add_url(r, a);
    record_audit(r, &machine,
                 returns ? "node.return"
                 : again ? "node.certify"
                 : i     ? "node.enrol"
                         : "node.ask",
                 sv_of(a->id), sv_of(spki));
    if (!ok)
        record_free(r);
    if (ok && submit(h, a, r, e))
        return true;
    if (a->fresh)
        roster_remove(&h->roster, a->fresh);
    enrolling_free(a);
    return false;
}

/* --- renewal ---------------------------------------------------------------------------------------------------------------------------------- */

static bool may_renew(const struct hub_renewal *in, const struct node *n) {
    static const unsigned char none[PKI_TOKEN];
    unsigned char both[2][PKI_TOKEN];
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    memcpy(both[0], n ? n->bearer : none, PKI_TOKEN);
    memcpy(both[1], n ? n->old_bearer : none, PKI_TOKEN);
    bool token = pki_token_matches(PKI_TOKEN_BEARER, in->bearer, both, 2) != 0; /* compared also where there is no such node */
    sodium_memzero(both, sizeof both);
    if (!n || !token || n->state != NODE_APPROVED)
        return false;
    if (in->spki.n)
        return sv_eq(in->spki, sv_of(n->spki)) || sv_eq(in->spki, sv_of(n->old_spki));
    return now_s >= n->not_after_s && now_s < n->not_after_s + HUB_RENEW_GRACE_S;
}

/* The answer to its last renewal was lost, perhaps not for the first time: it comes with the pair before, and was never seen with the other. */
static bool is_lost(const struct hub_renewal *in, const struct node *n) {
    return in->spki.n && sv_eq(in->spki, sv_of(n->old_spki)) && !roster_has_shown(n);
}

bool hub_renew(struct hub *h, const struct hub_renewal *in, hub_enrolled *done, void *arg, struct err *e) {
    struct node *n = roster_find(&h->roster, in->node_id);
    char spki[65];
    if (!may_renew(in, n)) {
        err_set(e, ERR_AUTH, "this node may not renew its certificate here: its token or its certificate is not the one the hub knows; join anew "
                "(drover hub invite)");
        access_guard_count(&h->guard, in->peer, loop_now_us(h->loop), e);
        return false;
    }
    if (in->csr.n > PKI_CSR_MAX)
        return err_set(e, ERR_BAD_REQUEST, "the request for a certificate is too large");
    if (!key_of(in->csr, spki, e))
        return false;
    struct node *other = roster_with_key(&h->roster, spki);
    if (other)
        return err_set(e, ERR_EXISTS, "a new certificate needs a new key");
    struct enrolling *a = enrolling_new(h, done, arg);
    struct record *r = a ? record_new(h->loop) : NULL;
    if (!r) {
        if (a)
            enrolling_free(a);
        return err_no_memory(e);
    }
    const struct access_actor machine = { sv_of(n->name), in->peer };
    a->renews = true;
    a->is_again = is_lost(in, n);
    memcpy(a->id, n->id, sizeof a->id);
    bool ok = take_mode(a, in->mode, in->url, in->peer, e) && certify(h, a, n, &(struct petitioner){ in->csr, in->peer, machine }, r, e);
    if (ok)
        add_url(r, a);
    if (ok && a->is_unsigned) {
        record_audit(r, &machine, "node.renew_ask", sv_of(n->id), sv_of(spki));
    } else if (ok) {
        add_certificate(r, a, n);
        record_audit(r, &machine, "node.renew", sv_of(n->id), sv_of(a->cert.is.serial));
    } else {
        record_free(r);
    }
    if (ok && submit(h, a, r, e))
        return true;
    enrolling_free(a);
    return false;
}
