#include "hub/authority.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/authority_names.h"
#include "hub/authority_room.h"

static int64_t now_s(void) {
    return (int64_t)(clock_wall_ms() / 1000);
}

/* --- the hub's leaf --------------------------------------------------------------------------------------------------------------------- */

static void forget_pair(struct authority *a) {
    if (a->has_pair)
        pki_pair_deinit(&a->pair);
    a->has_pair = false;
}

bool authority__load_pair(struct authority *a, struct err *e) {
    forget_pair(a);
    a->has_pair = pki_pair_load(a->where, &a->pair, e);
    if (!a->has_pair)
        pki_pair_deinit(&a->pair);
    return a->has_pair;
}

static bool make_leaf(struct authority *a, const struct config *c, bool keep_key, struct err *e) {
    struct buf key = BUF_MAX(PKI_PEM_MAX), chain = BUF_MAX(PKI_PEM_MAX);
    struct authority_names *names = mem_new(sizeof *names);
    struct pki_cert cert;
    unsigned generation;
    bool ok = names || err_no_memory(e);
    if (ok)
        authority__names(c, names);
    if (ok && keep_key && a->has_pair)
        ok = buf_reserve(&key, a->pair.key.n + 1) && buf_add(&key, buf_sv(&a->pair.key)) ? true : err_no_memory(e);
    else
        ok = ok && pki_key_make(PKI_P256, &key, e);
    const struct pki_wish wish = { .who = a->who,
                                   .usage = PKI_USE_SERVER | PKI_USE_CLIENT,
                                   .names = names ? names->v : NULL,
                                   .n_names = names ? names->n : 0,
                                   .key_pem = buf_sv(&key),
                                   .now_s = now_s(),
                                   .life_s = (int64_t)(c->hub.leaf_life_ms / 1000),
                                   .newest_s = a->has_pair ? a->pair.cert.is.not_before_s : 0 };
    ok = ok && pki_issue(a->ca, &wish, &chain, &cert, e) && pki_pair_store(a->where, buf_sv(&chain), buf_sv(&key), &generation, e);
    pki_wipe(&key);
    buf_deinit(&chain);
    mem_free(names);
    return ok && authority__load_pair(a, e);
}

/* Whether it is of the authority that issues now: pki_issue puts its root behind the leaf. */
static bool leaf_is_of_issuer(const struct authority *a) {
    return a->has_pair && sv_ends(buf_sv(&a->pair.chain), pki_ca_pem(a->ca));
}

bool authority__contexts(struct authority *a, struct err *e) {
    static const enum tls_ask asks[AUTHORITY_ASKS] = { [CONFIG_CLIENT_CERT_OFF] = TLS_ASK_OFF,
                                                       [CONFIG_CLIENT_CERT_OPTIONAL] = TLS_ASK_OPTIONAL,
                                                       [CONFIG_CLIENT_CERT_REQUIRED] = TLS_ASK_REQUIRED };
    struct tls_context *next[AUTHORITY_ASKS] = { NULL };
    bool ok = true;
    for (int i = 0; ok && i < AUTHORITY_ASKS; i++) {
        const struct tls_spec spec = { .server = true, .chain_pem = buf_sv(&a->pair.chain), .key_pem = buf_sv(&a->pair.key),
                                       .trust_pem = asks[i] == TLS_ASK_OFF ? SV_NULL : buf_sv(&a->trust.pem), .ask = asks[i], .modern = true,
                                       .pq = (enum tls_pq)a->pq };
        ok = (next[i] = tls_context_new(&spec, e)) != NULL;
    }
    for (int i = 0; i < AUTHORITY_ASKS; i++) {
        tls_unref(ok ? a->tls[i] : next[i]);
        if (ok)
            a->tls[i] = next[i];
    }
    return ok;
}

/* --- the roots -------------------------------------------------------------------------------------------------------------------------- */

static struct pki_ca *make_root(struct authority *a, const char *name, struct err *e) {
    const struct pki_ca_wish wish = { .name = name, .fleet = sv_of(a->who.fleet), .type = PKI_P256, .now_s = now_s() };
    return pki_ca_make(a->dir, &wish, e);
}

static struct pki_ca *load_root(struct authority *a, const char *name, bool may_make, struct err *e) {
    struct err fault = { 0 };
    struct pki_ca *ca = pki_ca_load(a->dir, name, SV_NULL, &fault);
    if (!ca && may_make && fault.code == ERR_NOT_FOUND)
        return make_root(a, name, e);
    if (!ca && e)
        *e = fault;
    return ca;
}

static bool is_named(const struct pki_ca *ca, const char *name) {
    return ca && strcmp(pki_ca_name(ca), name) == 0;
}

static bool new_one_issues(const struct pki_rotation *r) {
    return r->stage == PKI_STAGE_ISSUE || r->stage == PKI_STAGE_PROVE || r->stage == PKI_STAGE_TRUST_NEW ||
           r->stage == PKI_STAGE_RETIRE;
}

/* One of the two is on its way out: its key is no longer asked for, and may have gone. */
static bool is_alone(const struct pki_rotation *r) {
    return r->stage == PKI_STAGE_TRUST_NEW || r->stage == PKI_STAGE_RETIRE || r->stage == PKI_STAGE_BACK;
}

/* Both of a rotation, each in its part. On failure all is as it was. */
static bool take_roots(struct authority *a, struct err *e) {
    const struct pki_rotation *r = &a->rotation;
    const char *issuer = new_one_issues(r) ? r->new_ca : r->old_ca, *beside = new_one_issues(r) ? r->old_ca : r->new_ca;
    if (is_named(a->ca, issuer) && (is_alone(r) ? !a->other : is_named(a->other, beside)))
        return true;
    struct pki_ca *ca = load_root(a, issuer, false, e),
                  *other = ca && !is_alone(r) ? load_root(a, beside, r->stage == PKI_STAGE_MAKE, e) : NULL;
    if (!ca || (!other && !is_alone(r))) {
        pki_ca_free(ca);
        return false;
    }
    pki_ca_free(a->ca);
    pki_ca_free(a->other);
    a->ca = ca;
    a->other = other;
    return true;
}

/* The newest that is complete; the first one is made. */
static bool open_root(struct authority *a, struct err *e) {
    char name[PKI_CA_NAME_MAX + 1];
    struct err fault;
    if (a->apart)
        return authority__open_apart(a, e);
    if (pki_ca_newest(a->dir, name, &fault))
        return (a->ca = pki_ca_load(a->dir, name, SV_NULL, e)) != NULL;
    if (fault.code != ERR_NOT_FOUND) {
        if (e)
            *e = fault;
        return false;
    }
    if (!pki_ca_next(a->dir, now_s(), name, e))
        return false;
    a->ca = make_root(a, name, e);
    if (a->ca)
        log_event(LOG_INFO, "a fleet was founded", F_STR("fleet", a->who.fleet), F_STR("authority", name),
                  F_STR("directory", a->dir));
    return a->ca != NULL;
}

static bool check_fleet(const struct authority *a, const struct config *c, struct err *e) {
    return sv_eq(sv_of(pki_ca_fleet(a->ca)), c->hub.name) ||
           err_set(e, ERR_CONFIG,
                   "hub.name is %.*s, but the authority in %s is of the fleet %s: nodes know that name. Set it back, "
                   "or move the "
                   "directory away to begin anew",
                   SV_FMT(c->hub.name), a->dir, pki_ca_fleet(a->ca));
}

static bool open_roots(struct authority *a, const struct config *c, struct err *e) {
    return pki_rotation_load(a->dir, &a->rotation, e) &&
           (a->rotation.stage == PKI_STAGE_NONE ? open_root(a, e) : take_roots(a, e)) && check_fleet(a, c, e);
}

/* --- what is trusted -------------------------------------------------------------------------------------------------------------------- */

/* Writes the bundle when it is another. */
static bool trust_roots(struct authority *a, const struct pki_ca *one, const struct pki_ca *two, bool *ret_changed,
                        struct err *e) {
    struct buf pem = BUF_MAX(PKI_PEM_MAX);
    struct pki_trust next = { 0 };
    bool ok = (buf_add(&pem, pki_ca_pem(one)) && (!two || buf_add(&pem, pki_ca_pem(two)))) || err_no_memory(e);
    if (ok && !sv_eq(buf_sv(&pem), buf_sv(&a->trust.pem))) {
        ok = pki_trust_write(a->dir, buf_sv(&pem), a->trust.sequence + 1, e) && pki_trust_read(a->dir, &next, e);
        if (ok) {
            pki_trust_deinit(&a->trust);
            a->trust = next;
            *ret_changed = true;
        } else {
            pki_trust_deinit(&next);
        }
    }
    buf_deinit(&pem);
    return ok;
}

/* While both are trusted the old one signs: that is the one all know. Afterwards all that are to be told know the one that issues. */
static bool sign_bundle(struct authority *a, struct err *e) {
    const struct pki_ca *by = a->other && is_named(a->other, a->rotation.old_ca) ? a->other : a->ca;
    struct buf next = BUF_MAX(PKI_PEM_MAX);
    if (!pki_bundle_sign(by, buf_sv(&a->trust.pem), a->trust.sequence, &next, e)) {
        buf_deinit(&next);
        return false;
    }
    buf_deinit(&a->bundle);
    a->bundle = next;
    return true;
}

static bool settle_trust(struct authority *a, bool *ret_changed, struct err *e) {
    switch (a->rotation.stage) {
    case PKI_STAGE_TRUST_BOTH:
        return trust_roots(a, a->ca, a->other, ret_changed, e);
    case PKI_STAGE_ISSUE:
    case PKI_STAGE_PROVE:
        return trust_roots(a, a->other, a->ca, ret_changed, e);
    case PKI_STAGE_TRUST_NEW:
    case PKI_STAGE_RETIRE:
        return trust_roots(a, a->ca, NULL, ret_changed, e);
    default: /* as it is; BACK ends with the old one alone, when nobody needs the new one any more */
        return true;
    }
}

bool authority_settle(struct authority *a, const struct config *c, bool keep_key, bool *ret_changed, struct err *e) {
    bool changed = false;
    if (a->rotation.stage != PKI_STAGE_NONE && !take_roots(a, e))
        return err_ctx(e, "the roots of %s and %s", a->rotation.old_ca, a->rotation.new_ca);
    if (!settle_trust(a, &changed, e) || !sign_bundle(a, e))
        return err_ctx(e, "the roots that are trusted");
    if (!leaf_is_of_issuer(a)) {
        if (!make_leaf(a, c, keep_key, e))
            return err_ctx(e, "the hub's certificate");
        changed = true;
    }
    if (changed && !authority__contexts(a, e))
        return false;
    *ret_changed = *ret_changed || changed;
    return true;
}

const struct pki_rotation *authority_rotation(const struct authority *a) {
    return &a->rotation;
}

/* An emergency over a planned one: whoever may have the one key may have the other, for they lie side by side. The one that issues now is what the
 * new one replaces, and the key of the other goes at once. */
bool authority_rotate(struct authority *a, bool is_emergency, struct err *e) {
    const struct pki_rotation was = a->rotation;
    char next[PKI_CA_NAME_MAX + 1];
    if (a->apart)
        return err_set(e, ERR_UNSUPPORTED,
                       "the authority's key lies on another machine (hub.ca: apart): this version replaces a root only "
                       "where its key is");
    if (!pki_ca_next(a->dir, now_s(), next, e) ||
        !pki_rotation_begin(a->dir, &a->rotation, pki_ca_name(a->ca), next, is_emergency, now_s(), e))
        return false;
    if (was.stage == PKI_STAGE_NONE)
        return true;
    a->other = pki_ca_free(a->other);
    return pki_ca_retire(a->dir, is_named(a->ca, was.old_ca) ? was.new_ca : was.old_ca, e);
}

/* What has to be done before a stage may end: the other authority goes out of use. */
static bool finish(struct authority *a, bool *ret_changed, struct err *e) {
    const struct pki_rotation *r = &a->rotation;
    if (r->stage == PKI_STAGE_RETIRE)
        return pki_ca_retire(a->dir, r->old_ca, e);
    if (r->stage == PKI_STAGE_BACK)
        return trust_roots(a, a->ca, NULL, ret_changed, e) && sign_bundle(a, e) && pki_ca_retire(a->dir, r->new_ca, e);
    if (r->stage == PKI_STAGE_MAKE) /* given up */
        return pki_ca_retire(a->dir, r->new_ca, e);
    return true;
}

bool authority_step(struct authority *a, enum pki_stage to, bool *ret_changed, struct err *e) {
    bool changed = false;
    if (to == PKI_STAGE_NONE && !finish(a, &changed, e))
        return false;
    if (!pki_rotation_step(a->dir, &a->rotation, to, now_s(), e) || (changed && !authority__contexts(a, e)))
        return false;
    if (to == PKI_STAGE_NONE)
        a->other = pki_ca_free(a->other);
    *ret_changed = *ret_changed || changed;
    return true;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------------- */

struct authority *authority_new(const struct config *c, struct err *e) {
    struct authority *a = mem_new(sizeof *a);
    struct err none;
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    a->pq = c->pq;
    a->apart = c->hub.ca == CONFIG_CA_APART;
    bool ok = (size_t)snprintf(a->dir, sizeof a->dir, "%.*s/pki", SV_FMT(c->data_dir)) < sizeof a->dir || err_set(e, ERR_CONFIG, "data_dir is too long");
    snprintf(a->where, sizeof a->where, "%s/hub", a->dir);
    ok = ok && (pki_identity_set(&a->who, PKI_HUB, c->hub.name, SV("hub")) ||
                err_set(e, ERR_CONFIG, "hub.name: \"%.*s\" cannot be a fleet's name: 1 to %d of a-z, 0-9 and '-', as in a host name", SV_FMT(c->hub.name), PKI_FLEET_MAX));
    ok = ok && open_roots(a, c, e) && pki_trust_read(a->dir, &a->trust, e);
    if (ok && !authority__load_pair(a, &none)) /* the first start, or it is lost: there will be another */
        log_event(none.code == ERR_NOT_FOUND ? LOG_DEBUG : LOG_WARN, "there is no certificate of the hub yet",
                  F_STR("cause", none.text));
    if (ok)
        return a;
    err_ctx(e, "the fleet's certificates");
    authority_free(a);
    return NULL;
}

/* The leaf is made anew at each start: the machine's names may be others now. */
bool authority_begin(struct authority *a, const struct config *c, bool keep_key, struct err *e) {
    bool changed = false;
    if (a->apart)
        return !leaf_is_of_issuer(a) || a->pair.cert.is.not_after_s <= now_s() || authority__contexts(a, e);
    return (settle_trust(a, &changed, e) && sign_bundle(a, e) && make_leaf(a, c, keep_key, e) &&
            authority__contexts(a, e)) ||
           err_ctx(e, "the fleet's certificates");
}

void authority_free(struct authority *a) {
    if (!a)
        return;
    for (int i = 0; i < AUTHORITY_ASKS; i++)
        tls_unref(a->tls[i]);
    forget_pair(a);
    pki_trust_deinit(&a->trust);
    buf_deinit(&a->bundle);
    pki_wipe(&a->next_key);
    pki_ca_free(a->ca);
    pki_ca_free(a->other);
    mem_free(a);
}

bool authority_renew(struct authority *a, const struct config *c, bool keep_key, struct err *e) {
    if (a->apart)
        return err_set(e, ERR_UNSUPPORTED,
                       "the hub's certificate is signed elsewhere (hub.ca: apart): it asks for the next one by itself");
    if (!make_leaf(a, c, keep_key, e) || !authority__contexts(a, e))
        return false;
    log_event(LOG_INFO, "the hub's certificate was renewed", F_STR("serial", a->pair.cert.is.serial));
    return true;
}

bool authority_tick(struct authority *a, const struct config *c, bool keep_key) {
    const struct tls_facts is = a->pair.cert.is;
    struct err e;
    if (a->apart || now_s() < a->retry_at_s || !pki_renew_due(is.not_before_s, is.not_after_s, is.serial, now_s()))
        return false;
    if (authority_renew(a, c, keep_key, &e))
        return true;
    a->retry_at_s = now_s() + pki_renew_retry_s(is.not_before_s, is.not_after_s);
    log_event(LOG_ERROR, "the hub's certificate could not be renewed; the old one stays in use", F_STR("cause", e.text),
              F_I64("ends_s", is.not_after_s));
    return false;
}

/* --- what is asked of it ---------------------------------------------------------------------------------------------------------------- */

struct tls_context *authority_tls(struct authority *a, int ask) {
    return a->tls[ask];
}

const char *authority_fleet(const struct authority *a) {
    return a->who.fleet;
}

const char *authority_hub_id(const struct authority *a) {
    return a->who.id;
}

const unsigned char *authority_pin(const struct authority *a) {
    return a->rotation.stage == PKI_STAGE_NONE ? pki_ca_cert(a->ca)->is.spki : a->pair.cert.is.spki;
}

struct sv authority_trust(const struct authority *a, uint64_t *ret_sequence) {
    *ret_sequence = a->trust.sequence;
    return buf_sv(&a->trust.pem);
}

struct sv authority_bundle(const struct authority *a) {
    return buf_sv(&a->bundle);
}

const struct pki_cert *authority_leaf(const struct authority *a) {
    return &a->pair.cert;
}

struct sv authority_chain(const struct authority *a) {
    return buf_sv(&a->pair.chain);
}

const struct pki_cert *authority_root(const struct authority *a) {
    return pki_ca_cert(a->ca);
}

struct sv authority_root_pem(const struct authority *a) {
    return pki_ca_pem(a->ca);
}

const char *authority_issuer(const struct authority *a) {
    return pki_ca_name(a->ca);
}

const struct pki_cert *authority_other_root(const struct authority *a) {
    return a->other ? pki_ca_cert(a->other) : NULL;
}

bool authority_crl(const struct authority *a, const char (*serials)[TLS_SERIAL_MAX + 1], size_t n, struct buf *ret_pem, struct err *e) {
    return pki_crl_make(a->ca, serials, n, now_s(), PKI_DAY_S, ret_pem, e);
}

/* Never for a server: a node must not be able to stand in for the hub before one that knows only the root's pin. */
bool authority_sign(struct authority *a, const struct config *c, struct sv node_id, struct sv csr_pem,
                    struct buf *ret_chain, struct pki_cert *ret, struct err *e) {
    struct pki_wish wish = {
        .usage = PKI_USE_CLIENT, .csr_pem = csr_pem, .now_s = now_s(), .life_s = (int64_t)(c->hub.leaf_life_ms / 1000)
    };
    if (a->rotation.stage == PKI_STAGE_MAKE && a->rotation.is_emergency)
        return err_set(e, ERR_UNAVAILABLE, "the fleet's root is being replaced in an emergency: ask again in a moment");
    if (!pki_identity_set(&wish.who, PKI_NODE, sv_of(a->who.fleet), node_id))
        return err_set(e, ERR_INTERNAL, "\"%.*s\" is no node's id", SV_FMT(node_id));
    return pki_issue(a->ca, &wish, ret_chain, ret, e);
}
