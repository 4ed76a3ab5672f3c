/* hub/session_ask.c - a machine at the gate: who is it -> may it -> a session, or another lane of one. Whoever is turned away is told one thing, and the
 * audit log the true one. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/rand.h"
#include "hub/session_room.h"

enum { NEW_LINKS_PER_S = 200, NEW_LINKS_BURST = 500 };

static void answer(struct gate_ask *a, int status, const char *text, uint32_t retry_s) {
    a->status = status;
    a->retry_after_s = retry_s;
    snprintf(a->text, sizeof a->text, "%s", text);
}

/* Who it is, by its certificate or its token; both have to be right where both are there. */
static struct node *authenticate(struct hub *h, struct gate_ask *a, const char **ret_why) {
    static const unsigned char none[PKI_TOKEN];
    struct pki_identity id;
    char spki[65];
    bool has_cert = a->is_tls && a->tls.has_cert;
    struct node *n = NULL;
    *ret_why = "no credentials";
    if (has_cert && (!pki_identity_read(sv_of(a->tls.uri), &id) || id.role != PKI_NODE || strcmp(id.fleet, authority_fleet(h->authority)) != 0))
        return *ret_why = "a certificate of no node of this fleet", NULL;
    n = roster_find(&h->roster, has_cert ? sv_of(id.id) : sv_of(a->node));
    unsigned char both[2][PKI_TOKEN];
    memcpy(both[0], n ? n->bearer : none, PKI_TOKEN);
    memcpy(both[1], n ? n->old_bearer : none, PKI_TOKEN);
    unsigned which = a->bearer[0] ? pki_token_matches(PKI_TOKEN_BEARER, sv_of(a->bearer), both, 2) : 0;
    bool token = which != 0;
    sodium_memzero(both, sizeof both);
    if (!n)
        return *ret_why = "unknown node", NULL;
    if (has_cert) {
        sodium_bin2hex(spki, sizeof spki, a->tls.spki, sizeof a->tls.spki);
        if (strcmp(spki, n->spki) != 0 && strcmp(spki, n->old_spki) != 0)
            return *ret_why = "a certificate that is not the node's present one", NULL;
    }
    if (a->bearer[0] ? !token : !has_cert)
        return *ret_why = "wrong token", NULL;
    if (n->state != NODE_APPROVED)
        return *ret_why = node_state_name(n->state), NULL;
    a->is_last = has_cert ? strcmp(a->tls.serial, n->serial) == 0 : which & 1;
    return n;
}

static void refuse_stranger(struct hub *h, struct gate_ask *a, const char *why) {
    struct err e;
    const struct access_actor who = { SV("nobody"), sv_of(a->peer) };
    err_set(&e, ERR_AUTH, "this machine is not a node of this fleet, or its credentials are not the ones the hub knows");
    access_guard_count(&h->guard, sv_of(a->peer), loop_now_us(h->loop), &e);
    answer(a, e.code == ERR_LIMIT ? 429 : 401, e.text, e.retry_after_s);
    struct record *r = e.code == ERR_LIMIT ? NULL : record_new(h->loop); /* who tries on and on does not fill the log */
    if (!r)
        return;
    record_audit(r, &who, "node.link_refused", sv_of(a->node[0] ? a->node : "-"), sv_of(why)); /* the true reason stays here */
    record_submit(h->house->store, r, NULL, NULL, NULL);
}

static bool may_begin(struct hub *h) {
    uint64_t now = session__now_ms(h);
    h->allowance += (double)(now - h->allowance_at_ms) * NEW_LINKS_PER_S / 1000;
    h->allowance_at_ms = now;
    h->allowance = h->allowance > NEW_LINKS_BURST ? NEW_LINKS_BURST : h->allowance;
    if (h->allowance < 1)
        return false;
    h->allowance--;
    return true;
}

static struct session *session_new(struct hub *h, struct node *n, const struct gate_ask *a, struct err *e) {
    struct session *s = mem_new(sizeof *s);
    if (!s)
        return err_no_memory(e), NULL;
    s->hub = hub__ref(h);
    s->node = n;
    list_init(&s->all);
    list_init(&s->lanes);
    leaves__init(&s->leaves);
    map_init(&s->models);
    arena_init(&s->arena, MODELS_BYTES, NULL);
    rand_text(s->link_id, sizeof s->link_id - 1);
    rand_text(s->lane_token, sizeof s->lane_token - 1);
    memcpy(s->peer, a->peer, sizeof s->peer);
    snprintf(s->group, sizeof s->group, "%s", a->is_tls && a->tls.group ? a->tls.group : "");
    s->is_pq = a->tls.is_pq;
    s->began_ms = s->heard_ms = session__now_ms(h);
    s->wire = wire_new(h->loop, &session__events, s, e);
    s->way = n->way ? way_ref(n->way) : way_new(sv_of(n->id), e);
    if (!s->wire || !s->way) {
        session__free(s, 1011, "out of memory");
        return NULL;
    }
    if (!n->way)
        n->way = way_ref(s->way);
    list_push_back(&h->sessions, &s->all);
    return s;
}

static void ask_lane(struct session *s, struct gate_ask *a) {
    struct err e;
    struct lane_of *l = mem_new(sizeof *l);
    if (l)
        l->wire = wire_new(s->hub->loop, &session__lane_events, l, &e);
    if (!l || !l->wire) {
        mem_free(l);
        answer(a, 503, "out of memory", 5);
        return;
    }
    l->session = s;
    list_init(&l->all);
    list_push_back(&s->lanes, &l->all);
    a->is_lane = true;
    a->limits = s->limits;
    a->wire = wire_ref(l->wire);
    a->way = way_ref(s->way);
    snprintf(a->site, sizeof a->site, "%s", s->node->id);
    a->status = 101;
}

static bool is_lane_of(const struct session *s, const struct gate_ask *a) {
    size_t n = strlen(s->lane_token);
    return s->state == UP && strlen(a->lane) == n && sodium_memcmp(s->lane_token, a->lane, n) == 0;
}

void session__ask(struct hub *h, struct gate_ask *a) {
    const char *why;
    struct err e;
    bool ends = h->closing || h->draining;
    struct node *n = ends ? NULL : authenticate(h, a, &why);
    sodium_memzero(a->bearer, sizeof a->bearer);
    if (ends) {
        answer(a, 503, "the hub is stopping", 5);
        return;
    }
    if (!n) {
        refuse_stranger(h, a, why);
        return;
    }
    if (!may_begin(h)) {
        answer(a, 503, "many nodes link at this moment; try again", 1 + rand_below(30));
        return;
    }
    unsigned n_lanes = 0;
    LIST_FOR(it, n->session ? &n->session->lanes : &h->invites)
        n_lanes += n->session != NULL;
    if (a->lane[0] && (!n->session || !is_lane_of(n->session, a) || n_lanes >= 7)) {
        answer(a, 401, "the link this lane belongs to is gone, or has enough lanes", 0);
        return;
    }
    if (a->lane[0]) {
        ask_lane(n->session, a);
        return;
    }
    certs__shown(h, n, a->is_last);
    struct session *s = session_new(h, n, a, &e);
    if (!s) {
        answer(a, 503, "out of memory", 5);
        return;
    }
    a->status = 101;
    a->wire = wire_ref(s->wire);
    a->way = way_ref(s->way);
    snprintf(a->site, sizeof a->site, "%s", n->id);
}
