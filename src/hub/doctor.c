/* hub/doctor.c - what is not as it should be, before somebody trips over it: one rule after the other, each with its cure.
 *
 * Told from what the hub knows at this moment; nothing is asked for, written or kept. Texts never hold a secret. */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "hub/room.h"

enum {
    HOUR_S = 3600,
    CLOCK_OFF_MS = 60000,
    CLOCK_WRONG_MS = 300000, /* the latter: certificates are issued with a start this far back (pki.h) */
    NEVER_LINKED_MS = 600000,
    TWIN_MS = 24 * HOUR_S * 1000,
    DRAINED_MS = 24 * HOUR_S * 1000,
    ROOT_SOON_S = 180 * PKI_DAY_S,
    LATE_PART = 28, /* of its life, that a certificate may be behind its own renewal: 6 h of 7 days */
    SIGNER_AWAY_MS = HOUR_S * 1000,
    ROTATION_LONG_MS = 24 * HOUR_S * 1000,
    BEATS = 3, /* heartbeats, as session.c counts them */
};

/* --- telling ------------------------------------------------------------------------------------------------------ */

struct ward { /* whom the rules are asked about */
    struct hub *hub;
    const struct node *node;          /* NULL: the hub itself */
    const struct session_facts *link; /* its link; NULL: there is none */
    uint64_t now_ms;
    hub_found *found;
    void *arg;
};

static void tell(const struct ward *w, const char *code, const char *severity, const char *where, const char *cure,
                 const char *fmt, ...) __attribute__((format(printf, 6, 7)));
static void tell(const struct ward *w, const char *code, const char *severity, const char *where, const char *cure,
                 const char *fmt, ...) {
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const struct hub_finding f = { code,         severity,    sv_of(what),
                                   sv_of(where), sv_of(cure), w->node ? sv_of(w->node->name) : SV_NULL };
    w->found(w->arg, &f);
}

static void tell_node(const struct ward *w, const char *code, const char *severity, const char *cure, const char *fmt,
                      ...) __attribute__((format(printf, 5, 6)));
static void tell_node(const struct ward *w, const char *code, const char *severity, const char *cure, const char *fmt,
                      ...) {
    char what[400], where[HUB_NAME_MAX + 8];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    snprintf(where, sizeof where, "node %s", w->node->name);
    tell(w, code, severity, where, cure, "%s", what);
}

/* "3 h", the largest unit that leaves at least two. */
static const char *span(uint64_t ms, char text[static 24]) {
    uint64_t s = ms / 1000;
    unsigned long long n = s < 120 ? s : s < 7200 ? s / 60 : s < 172800 ? s / HOUR_S : s / PKI_DAY_S;
    snprintf(text, 24, "%llu %s", n, s < 120 ? "s" : s < 7200 ? "min" : s < 172800 ? "h" : "days");
    return text;
}

static uint64_t since(const struct ward *w, uint64_t at_ms) {
    return w->now_ms > at_ms ? w->now_ms - at_ms : 0;
}

/* --- of a node ---------------------------------------------------------------------------------------------------- */

static void look_waiting(const struct ward *w) {
    const struct node *n = w->node;
    char cure[300], t[24];
    snprintf(cure, sizeof cure,
             "compare the fingerprint sha256:%s with the one the machine shows, then: drover node approve %s (or: "
             "drover node refuse %s)",
             n->spki, n->name, n->name);
    tell_node(w, "node_waiting", "warning", cure, "waits for somebody to let it in since %s",
              span(since(w, n->created_ms), t));
}

static void look_link(const struct ward *w) {
    const struct node *n = w->node;
    char t[24];
    if (w->link)
        return;
    uint64_t last = n->down_since_ms ? n->down_since_ms : n->seen_ms;
    char cure[600];
    snprintf(cure, sizeof cure,
             "this hub calls it at %s: see whether that is the machine's address (join.reached_at there), whether its port is open for this hub, "
             "and whether drover runs there",
             n->url);
    if (n->epoch == 0 && since(w, n->decided_ms) >= NEVER_LINKED_MS)
        tell_node(w, "never_linked", "warning",
                  n->url[0] ? cure : "see there whether drover runs, and what its log says of the hub (drover logs)",
                  "was let in %s ago and has never linked since%s%s", span(since(w, n->decided_ms), t), n->last_error[0] ? ": " : "", n->last_error);
    else if (n->epoch)
        tell_node(w, "link_down", n->drained ? "warning" : "error",
                  n->url[0] ? cure
                            : "see whether the machine is on and reaches this hub, and whether drover runs there; its log says why "
                              "it cannot link (drover logs)",
                  "no link since %s%s%s", last ? span(since(w, last), t) : "the hub's start",
                  n->last_error[0] ? ": " : "", n->last_error);
}

/* A certificate with less than this left should have been renewed. */
static int64_t late_s(const struct ward *w) {
    int64_t life_s = (int64_t)((*w->hub->house->config)->hub.leaf_life_ms / 1000);
    return life_s / 3 - life_s / LATE_PART;
}

static void look_void(const struct ward *w) {
    const struct node *n = w->node;
    char cure[300], t[24];
    snprintf(cure, sizeof cure, "drover leave there, then join with the line of: drover hub invite --node %s", n->name);
    if (n->void_ms)
        tell_node(w, "certificate_void", "error", cure,
                  "its certificate was made void %s ago, when the fleet's root was replaced",
                  span(since(w, n->void_ms), t));
}

static void look_certificate(const struct ward *w) {
    const struct node *n = w->node;
    int64_t left_s = n->not_after_s - (int64_t)(w->now_ms / 1000);
    char t[24];
    if (!n->serial[0])
        return; /* let in, and not yet come for its certificate; or it is void */
    if (left_s <= -HUB_RENEW_GRACE_S)
        tell_node(w, "certificate_ended", "error",
                  "it can no longer renew it: have the machine join anew (drover hub invite)",
                  "its certificate ended %s ago", span((uint64_t)-left_s * 1000, t));
    else if (left_s <= 0)
        tell_node(w, "certificate_ended", "error",
                  "it renews it by itself as soon as it reaches the hub: see to its network and its log",
                  "its certificate ended %s ago", span((uint64_t)-left_s * 1000, t));
    else if (left_s < late_s(w))
        tell_node(w, "certificate_late", left_s < PKI_DAY_S ? "error" : "warning",
                  "it should have renewed it by itself: see its log, and whether join.allow.certs is true there",
                  "its certificate ends in %s and was not renewed in time", span((uint64_t)left_s * 1000, t));
}

static void look_twin(const struct ward *w) {
    const struct node *n = w->node;
    char cure[300], t[24];
    if (!n->twin_ms || since(w, n->twin_ms) > TWIN_MS)
        return;
    snprintf(cure, sizeof cure,
             "one of the two is a copy. Put the node out (drover node revoke %s), delete the copy's data directory, "
             "and let the machine "
             "join anew",
             n->name);
    tell_node(w, "duplicate_identity", "error", cure,
              "another machine came with the same identity %s ago; it was refused", span(since(w, n->twin_ms), t));
}

static void look_drained(const struct ward *w) {
    const struct node *n = w->node;
    char cure[120], t[24];
    if (!n->drained || since(w, n->decided_ms) < DRAINED_MS)
        return;
    snprintf(cure, sizeof cure, "if it was forgotten: drover node resume %s", n->name);
    tell_node(w, "drained_long", "warning", cure, "gets no new work since %s ago, when %s drained it",
              span(since(w, n->decided_ms), t), n->decided_by);
}

/* The configuration's word wins: the node's models cannot be asked for. */
static void look_shadow(const struct ward *w) {
    const struct snapshot *s = fleet_snapshot(w->hub->house->fleet);
    const struct node *n = w->node;
    char url[160], cure[160];
    snprintf(url, sizeof url, "link:%s", n->id);
    snprintf(cure, sizeof cure, "drover node rename %s NAME, or give the endpoint of the configuration another name",
             n->name);
    for (size_t i = 0; s && i < s->n_endpoints; i++)
        if (sv_eq(s->endpoints[i].name, sv_of(n->name)) && !sv_eq(s->endpoints[i].url, sv_of(url)))
            tell_node(w, "name_taken", "error", cure,
                      "an endpoint of the configuration has the same name, so nobody gets to the node's models");
}

static void look_clock(const struct ward *w) {
    int64_t off = w->link->clock_off_ms < 0 ? -w->link->clock_off_ms : w->link->clock_off_ms;
    char t[24];
    if (off >= CLOCK_OFF_MS)
        tell_node(w, "clock_off", off >= CLOCK_WRONG_MS ? "error" : "warning",
                  "set its clock (NTP), or the hub's, if that is the wrong one", "its clock is %s %s the hub's",
                  span((uint64_t)off, t), w->link->clock_off_ms < 0 ? "behind" : "ahead of");
}

static bool read_version(struct sv v, unsigned ret[static 3]) {
    char text[32];
    return sv_to_cstr(v, text, sizeof text) && sscanf(text, "%u.%u.%u", &ret[0], &ret[1], &ret[2]) == 3;
}

static void look_version(const struct ward *w, struct sv version) {
    const char *ours = w->hub->house->version;
    unsigned there[3], here[3];
    if (!read_version(version, there) || !read_version(sv_of(ours), here))
        return;
    for (int i = 0; i < 3; i++) {
        if (there[i] < here[i])
            tell_node(w, "version_old", "warning", "update drover there", "runs drover %u.%u.%u, the hub %s", there[0],
                      there[1], there[2], ours);
        if (there[i] != here[i])
            return;
    }
}

static void look_models(const struct ward *w) {
    const struct session_facts *f = w->link;
    if (!f->allows)
        tell_node(w, "inference_not_allowed", "warning",
                  "if it shall serve: set join.allow.inference to true there, and restart drover",
                  "its own settings do not let the hub use its models");
    else if (f->has_models && f->n_models == 0)
        tell_node(w, "no_models", "warning", "see there: drover endpoints; it needs a runtime that has a model",
                  "is linked and has no model");
    if (f->endpoints > 0 && f->endpoints_well == 0)
        tell_node(w, "endpoints_down", "error", "see there: drover endpoints says why",
                  "none of its %lld runtimes is well", (long long)f->endpoints);
}

static void look_linked(const struct ward *w) {
    uint64_t beat = (*w->hub->house->config)->hub.heartbeat_ms;
    const struct session_facts *f = w->link;
    char t[24];
    if (!f || !f->is_up)
        return;
    if (f->silent_ms >= BEATS * beat)
        tell_node(w, "heartbeats_missing", "error",
                  "its connection lives, but the program does not answer: look at it there, and restart it if need be",
                  "has said nothing for %s", span(f->silent_ms, t));
    look_clock(w);
    look_version(w, f->version);
    look_models(w);
    if (!f->is_pq && (*w->hub->house->config)->pq != CONFIG_PQ_OFF)
        tell_node(w, "no_post_quantum", "info",
                  "both sides need an OpenSSL with X25519MLKEM768 (3.5 or later), and pq not off",
                  "its link is encrypted, but not against a later quantum computer");
}

void doctor__look(struct hub *h, const struct node *n, const struct session_facts *link, hub_found *found, void *arg) {
    const struct ward w = { h, n, link, clock_wall_ms(), found, arg };
    if (n->state == NODE_WAITING)
        look_waiting(&w);
    if (n->state != NODE_APPROVED)
        return;
    look_link(&w);
    look_void(&w);
    look_certificate(&w);
    look_twin(&w);
    look_drained(&w);
    look_shadow(&w);
    look_linked(&w);
}

static void look_node(struct hub *h, const struct node *n, hub_found *found, void *arg) {
    struct session_facts f;
    if (n->session)
        session__facts(n->session, &f);
    doctor__look(h, n, n->session ? &f : NULL, found, arg);
}

/* --- of the hub --------------------------------------------------------------------------------------------------- */

static void look_inbox(const struct ward *w) {
    unsigned n;
    uint64_t at_ms = inbox__waits_since(w->hub, &n);
    char t[24];
    if (!authority_is_signed(w->hub->authority))
        tell(w, "hub_unsigned", "error", "the hub's certificate",
             "on the machine with the authority's key: drover cert serve",
             "it has not been signed yet: no node can reach this hub");
    if (at_ms && since(w, at_ms) >= SIGNER_AWAY_MS)
        tell(w, "signer_away", "warning", "the fleet's authority", "on the machine with its key: drover cert serve",
             "%u requests for certificates wait to be signed, the oldest since %s", n, span(since(w, at_ms), t));
}

static void look_own_certificates(const struct ward *w) {
    int64_t now_s = (int64_t)(w->now_ms / 1000), leaf_s = authority_leaf(w->hub->authority)->is.not_after_s - now_s,
            root_s = authority_root(w->hub->authority)->is.not_after_s - now_s;
    char t[24];
    if (authority_is_signed(w->hub->authority) && leaf_s < late_s(w))
        tell(w, "hub_certificate_late", leaf_s < PKI_DAY_S ? "error" : "warning", "the hub's certificate",
             "it renews by itself: the log says why it did not (drover logs); see whether data_dir/pki can be written",
             leaf_s > 0 ? "it ends in %s" : "it ended %s ago",
             span((uint64_t)(leaf_s > 0 ? leaf_s : -leaf_s) * 1000, t));
    if (root_s < ROOT_SOON_S)
        tell(w, "root_ends", root_s < 30 * PKI_DAY_S ? "error" : "warning", "the fleet's authority",
             "drover cert rotate-ca replaces it while the fleet works",
             root_s > 0 ? "its root certificate ends in %s" : "its root certificate ended %s ago",
             span((uint64_t)(root_s > 0 ? root_s : -root_s) * 1000, t));
}

static void look_rotation(const struct ward *w) {
    const struct pki_rotation *r = authority_rotation(w->hub->authority);
    unsigned missing = 0;
    char t[24];
    LIST_FOR(it, &w->hub->roster.all)
    missing += rotation__awaits(w->hub, CONTAINER(it, struct node, all));
    if (r->stage == PKI_STAGE_NONE)
        return;
    if (w->hub->rotation.fault[0])
        tell(w, "rotation_stuck", "error", "the fleet's authority",
             "it is tried again; see what it says, and whether data_dir/pki can be written",
             "replacing the root does not go on: %s", w->hub->rotation.fault);
    else if (missing && since(w, (uint64_t)r->since_s * 1000) >= ROTATION_LONG_MS)
        tell(w, "rotation_waits", "warning", "the fleet's authority",
             "drover cert show tells for whom; bring them back, or go on without them: drover cert rotate-ca --skip "
             "NODE",
             "replacing the root waits since %s for %u nodes", span(since(w, (uint64_t)r->since_s * 1000), t), missing);
}

static bool is_loopback(const struct config_listen *l) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&l->addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&l->addr;
    return l->addr.ss_family == AF_INET ? (ntohl(v4->sin_addr.s_addr) >> 24) == 127
                                        : l->addr.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static bool has_open_invite(const struct ward *w) {
    LIST_FOR(it, &w->hub->invites) {
        const struct invite *i = CONTAINER(it, struct invite, all);
        if (!i->spki[0] && i->expires_ms > w->now_ms)
            return true;
    }
    return false;
}

/* Whether a machine elsewhere could come in at all. */
static void look_listeners(const struct ward *w) {
    const struct config *c = *w->hub->house->config;
    bool any = false, far = false; /* where none has the role, the daemon adds one for all addresses */
    for (size_t i = 0; i < c->n_listen; i++) {
        if (!(c->listen[i].roles & 1u << CONFIG_ROLE_LINK))
            continue;
        any = true;
        far = far || !is_loopback(&c->listen[i]);
    }
    if (any && !far && has_open_invite(w))
        tell(w, "link_on_loopback", "warning", "listen",
             "let the listener with the role link listen on an address of the network, such as 0.0.0.0:7443",
             "an invitation is open, but only programs of this machine reach the listener with the role link");
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

void hub_doctor(struct hub *h, hub_found *found, void *arg) {
    const struct ward w = { h, NULL, NULL, clock_wall_ms(), found, arg };
    look_own_certificates(&w);
    look_inbox(&w);
    look_rotation(&w);
    look_listeners(&w);
    LIST_FOR(it, &h->roster.all)
    look_node(h, CONTAINER(it, struct node, all), found, arg);
}

bool hub_doctor_node(struct hub *h, struct sv id, hub_found *found, void *arg) {
    const struct node *n = roster_named(&h->roster, id);
    if (n)
        look_node(h, n, found, arg);
    return n != NULL;
}
