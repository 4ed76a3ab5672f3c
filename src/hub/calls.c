/* hub/calls.c - links that the hub begins: each approved node of the mode direct that has no link is called where its record says, with the
 * waits of member_plan.h. Only who is called, and when, is here: the connection is a worker's (caller.h), and a link that came about so is a
 * session like any other.
 *
 * A node can say any address: the hub sends nothing there before a node of its own has proven itself, reads nothing but a TLS hello, and tells
 * nobody but its operator what became of it. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "http/url.h"
#include "hub/caller.h"
#include "hub/room.h"

enum {
    CALLS_MAX = 64,       /* under way at one time */
    GREETING_MS = 20000,  /* from the end of TLS until there has to be a link */
    ANEW_AFTER_MS = 2000, /* so that the node has stored the certificate that it was given */
};

static uint32_t chance(void *arg, uint32_t below) {
    (void)arg;
    return rand_below(below);
}

/* --- where -------------------------------------------------------------------------------------------------------- */

static bool is_any(struct sv host) {
    return sv_eq(host, SV("0.0.0.0")) || sv_eq(host, SV("::"));
}

bool calls__address(struct sv url, struct sv peer, char to[static CALLS_URL_MAX + 1], struct err *e) {
    struct url u;
    struct err bad;
    if (!url_parse(url, &u, &bad) || u.scheme != URL_HTTPS || u.prefix.n || url.n > CALLS_URL_MAX)
        return err_set(e, ERR_BAD_REQUEST, "\"url\" must be https://HOST:PORT, under which the hub reaches a direct node, of at most %d bytes",
                       CALLS_URL_MAX);
    if (!is_any(u.host)) {
        snprintf(to, CALLS_URL_MAX + 1, "%.*s", SV_FMT(url));
        return true;
    }
    bool is_v6 = sv_find_char(peer, ':') >= 0;
    snprintf(to, CALLS_URL_MAX + 1, "https://%s%.*s%s:%u", is_v6 ? "[" : "", SV_FMT(peer), is_v6 ? "]" : "", u.port);
    return url_parse(sv_of(to), &u, &bad) ||
           err_set(e, ERR_BAD_REQUEST, "the hub cannot tell from where this machine comes: it has to say its address (join.reached_at)");
}

void calls__moved(struct hub *h, struct node *n) {
    n->call = (struct node_call){ .again = n->url[0] && n->session, .next_ms = loop_now_ms(h->loop) + ANEW_AFTER_MS, .is_under_way = n->call.is_under_way };
}

/* --- one call ----------------------------------------------------------------------------------------------------- */

static void rest(struct hub *h, struct node *n, uint64_t up_ms, uint64_t least_ms) {
    const struct plan_chance by = { chance, NULL };
    n->call.next_ms = loop_now_ms(h->loop) + least_ms + plan_wait_ms(&n->call.plan, &(struct plan_end){ .up_ms = up_ms }, &by);
}

static void failed(struct hub *h, struct node *n, const char *why) {
    char text[sizeof n->last_error];
    snprintf(text, sizeof text, "called at %.60s: %.90s", n->url, why);
    rest(h, n, 0, 0);
    if (n->session)
        return;
    if (strcmp(text, n->last_error) != 0)
        log_event(LOG_WARN, "a node cannot be called; it is tried again", F_STR("node", n->name), F_STR("url", n->url), F_STR("cause", why));
    memcpy(n->last_error, text, sizeof n->last_error);
}

static void on_called(struct call *k) {
    struct hub *h = k->arg;
    struct node *n = h->closing ? NULL : roster_find(&h->roster, sv_of(k->id));
    h->calls.n--;
    if (n)
        n->call.is_under_way = false;
    if (n && k->ok) {
        n->call.again = false;
        rest(h, n, 0, GREETING_MS);
    } else if (n) {
        failed(h, n, k->why);
    }
    call_free(k);
}

static bool fill(struct hub *h, struct call *k, const struct node *n, struct err *e) {
    struct pki_identity who;
    struct url u;
    if (!url_parse(sv_of(n->url), &u, e) || !(k->dialer = dialer_tcp(u.host, u.port, NULL, e)))
        return false;
    if (!pki_identity_set(&who, PKI_NODE, sv_of(authority_fleet(h->authority)), sv_of(n->id)))
        return err_set(e, ERR_INTERNAL, "its id can be no node's");
    pki_identity_print(&who, k->uri);
    k->tls = tls_ref(authority_tls(h->authority, CONFIG_CLIENT_CERT_REQUIRED));
    if (!k->tls)
        return err_set(e, ERR_UNAVAILABLE, "the hub's own certificate is not signed yet");
    k->home = h->loop;
    k->done = on_called;
    k->arg = h;
    memcpy(k->id, n->id, sizeof k->id);
    return true;
}

static void begin(struct hub *h, struct node *n) {
    struct call *k = call_new();
    struct err e;
    snprintf(h->calls.last, sizeof h->calls.last, "%s", n->id);
    bool ok = k ? fill(h, k, n, &e) : err_no_memory(&e);
    struct caller *by = ok ? h->house->caller(h->house->owner, h->calls.turn++) : NULL;
    if (ok && caller_call(by, k)) {
        n->call.is_under_way = true;
        h->calls.n++;
        return;
    }
    call_free(k);
    failed(h, n, ok ? "the hub is stopping" : e.text);
}

/* --- whose turn it is --------------------------------------------------------------------------------------------- */

static void look(struct hub *h, struct node *n) {
    uint64_t now = loop_now_ms(h->loop);
    if (n->state != NODE_APPROVED || !n->url[0] || n->call.is_under_way)
        return;
    if (n->session || n->retiring) {
        if (!n->call.up_ms && session__is_up(n->session))
            n->call.up_ms = now;
        if (!n->call.again)
            return;
    } else if (n->call.up_ms || n->call.epoch != n->epoch) { /* its link has ended since, which may have been a short one */
        rest(h, n, n->call.up_ms ? now - n->call.up_ms : 0, 0);
        n->call.up_ms = 0;
        n->call.epoch = n->epoch;
    }
    if (now >= n->call.next_ms)
        begin(h, n);
}

/* From where the last turn ended, so that nodes that cannot be reached take nobody else's. */
void calls__tick(struct hub *h) {
    struct node *last = roster_find(&h->roster, sv_of(h->calls.last));
    struct list *end = last ? &last->all : &h->roster.all, *it = end;
    if (h->draining || !h->house->caller || h->calls.n >= CALLS_MAX)
        return;
    do {
        it = it->next;
        if (it != &h->roster.all)
            look(h, CONTAINER(it, struct node, all));
    } while (it != end && h->calls.n < CALLS_MAX);
}
