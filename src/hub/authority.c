#include "hub/authority.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/url.h"

enum { ASKS = 3, DIR_MAX = 4096 };

struct authority {
    char dir[DIR_MAX], where[DIR_MAX + 8]; /* <data>/pki; <data>/pki/hub */
    struct pki_ca *ca;
    struct pki_trust trust;
    struct pki_pair pair;
    bool has_pair;
    struct pki_identity who;
    struct tls_context *tls[ASKS];
    int pq;
    int64_t retry_at_s; /* of a renewal that failed */
};

static int64_t now_s(void) {
    return (int64_t)(clock_wall_ms() / 1000);
}

/* --- the names of this machine --------------------------------------------------------------------------------------------------------- */

struct names {
    struct sv v[PKI_NAMES_MAX];
    unsigned n;
    char space[PKI_NAMES_MAX][64];
};

static void add_name(struct names *s, struct sv name) {
    if (name.n && s->n < PKI_NAMES_MAX)
        s->v[s->n++] = name;
}

static void add_address(struct names *s, const struct sockaddr *a) {
    char *text = s->n < PKI_NAMES_MAX ? s->space[s->n] : NULL;
    if (!text || !a)
        return;
    if (a->sa_family == AF_INET && inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, text, 64))
        add_name(s, sv_of(text));
    else if (a->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr) &&
             inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, text, 64))
        add_name(s, sv_of(text));
}

/* A host that a certificate can name: others are left out, for somebody may have set what no name can be. */
static bool is_dns(struct sv name) {
    bool ok = name.n >= 1 && name.n <= 253 && name.p[0] != '-' && name.p[0] != '.';
    for (size_t i = 0; ok && i < name.n; i++)
        ok = (name.p[i] >= 'a' && name.p[i] <= 'z') || (name.p[i] >= 'A' && name.p[i] <= 'Z') || (name.p[i] >= '0' && name.p[i] <= '9') || name.p[i] == '-' ||
             name.p[i] == '.';
    return ok;
}

static void gather(const struct config *c, struct names *s) {
    static char host[256];
    struct ifaddrs *all = NULL;
    add_name(s, SV("localhost"));
    if (gethostname(host, sizeof host - 1) == 0 && is_dns(sv_of(host)))
        add_name(s, sv_of(host));
    for (size_t i = 0; i < c->n_listen; i++)
        for (size_t j = 0; j < c->listen[i].names.n; j++)
            if (is_dns(c->listen[i].names.v[j]))
                add_name(s, c->listen[i].names.v[j]);
    for (size_t i = 0; i < c->hub.urls.n; i++) {
        struct url u;
        if (url_parse(c->hub.urls.v[i], &u, NULL))
            add_name(s, u.host);
    }
    if (getifaddrs(&all) == 0)
        for (struct ifaddrs *a = all; a; a = a->ifa_next)
            add_address(s, a->ifa_addr);
    freeifaddrs(all);
}

/* --- the hub's leaf --------------------------------------------------------------------------------------------------------------------- */

static void forget_pair(struct authority *a) {
    if (a->has_pair)
        pki_pair_deinit(&a->pair);
    a->has_pair = false;
}

static bool make_leaf(struct authority *a, const struct config *c, struct err *e) {
    struct buf key = BUF_MAX(PKI_PEM_MAX), chain = BUF_MAX(PKI_PEM_MAX);
    struct names *names = mem_new(sizeof *names);
    struct pki_cert cert;
    unsigned generation;
    bool ok = names || err_no_memory(e);
    if (ok)
        gather(c, names);
    ok = ok && pki_key_make(PKI_P256, &key, e);
    const struct pki_wish wish = { .who = a->who, .usage = PKI_USE_SERVER | PKI_USE_CLIENT, .names = names ? names->v : NULL, .n_names = names ? names->n : 0,
                                   .key_pem = buf_sv(&key), .now_s = now_s(), .newest_s = a->has_pair ? a->pair.cert.is.not_before_s : 0 };
    ok = ok && pki_issue(a->ca, &wish, &chain, &cert, e) && pki_pair_store(a->where, buf_sv(&chain), buf_sv(&key), &generation, e);
    pki_wipe(&key);
    buf_deinit(&chain);
    mem_free(names);
    if (!ok)
        return false;
    forget_pair(a);
    a->has_pair = pki_pair_load(a->where, &a->pair, e);
    if (!a->has_pair)
        pki_pair_deinit(&a->pair);
    return a->has_pair;
}

static bool make_contexts(struct authority *a, struct err *e) {
    static const enum tls_ask asks[ASKS] = { [CONFIG_CLIENT_CERT_OFF] = TLS_ASK_OFF, [CONFIG_CLIENT_CERT_OPTIONAL] = TLS_ASK_OPTIONAL,
                                             [CONFIG_CLIENT_CERT_REQUIRED] = TLS_ASK_REQUIRED };
    struct tls_context *next[ASKS] = { NULL };
    bool ok = true;
    for (int i = 0; ok && i < ASKS; i++) {
        const struct tls_spec spec = { .server = true, .chain_pem = buf_sv(&a->pair.chain), .key_pem = buf_sv(&a->pair.key),
                                       .trust_pem = asks[i] == TLS_ASK_OFF ? SV_NULL : buf_sv(&a->trust.pem), .ask = asks[i], .modern = true,
                                       .pq = (enum tls_pq)a->pq };
        ok = (next[i] = tls_context_new(&spec, e)) != NULL;
    }
    for (int i = 0; i < ASKS; i++) {
        tls_unref(ok ? a->tls[i] : next[i]);
        if (ok)
            a->tls[i] = next[i];
    }
    return ok;
}

/* --- the root --------------------------------------------------------------------------------------------------------------------------- */

static bool open_root(struct authority *a, const struct config *c, struct err *e) {
    char name[PKI_CA_NAME_MAX + 1];
    struct err fault;
    if (pki_ca_newest(a->dir, name, &fault)) {
        a->ca = pki_ca_load(a->dir, name, SV_NULL, e);
        if (a->ca && !sv_eq(sv_of(pki_ca_fleet(a->ca)), c->hub.name))
            return err_set(e, ERR_CONFIG, "hub.name is %.*s, but the authority in %s is of the fleet %s: nodes know that name. Set it back, or move the "
                           "directory away to begin anew", SV_FMT(c->hub.name), a->dir, pki_ca_fleet(a->ca));
        return a->ca != NULL;
    }
    if (fault.code != ERR_NOT_FOUND) {
        if (e)
            *e = fault;
        return false;
    }
    if (!pki_ca_next(a->dir, now_s(), name, e))
        return false;
    const struct pki_ca_wish wish = { .name = name, .fleet = c->hub.name, .type = PKI_P256, .now_s = now_s() };
    a->ca = pki_ca_make(a->dir, &wish, e);
    if (a->ca)
        log_event(LOG_INFO, "a fleet was founded", F_SV("fleet", c->hub.name), F_STR("authority", name), F_STR("directory", a->dir));
    return a->ca != NULL;
}

struct authority *authority_new(const struct config *c, struct err *e) {
    struct authority *a = mem_new(sizeof *a);
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    a->pq = c->pq;
    bool ok = (size_t)snprintf(a->dir, sizeof a->dir, "%.*s/pki", SV_FMT(c->data_dir)) < sizeof a->dir || err_set(e, ERR_CONFIG, "data_dir is too long");
    snprintf(a->where, sizeof a->where, "%s/hub", a->dir);
    ok = ok && (pki_identity_set(&a->who, PKI_HUB, c->hub.name, SV("hub")) ||
                err_set(e, ERR_CONFIG, "hub.name: \"%.*s\" cannot be a fleet's name: 1 to %d of a-z, 0-9 and '-', as in a host name", SV_FMT(c->hub.name), PKI_FLEET_MAX));
    ok = ok && open_root(a, c, e) && pki_trust_read(a->dir, &a->trust, e) && make_leaf(a, c, e) && make_contexts(a, e);
    if (ok)
        return a;
    err_ctx(e, "the fleet's certificates");
    authority_free(a);
    return NULL;
}

void authority_free(struct authority *a) {
    if (!a)
        return;
    for (int i = 0; i < ASKS; i++)
        tls_unref(a->tls[i]);
    forget_pair(a);
    pki_trust_deinit(&a->trust);
    pki_ca_free(a->ca);
    mem_free(a);
}

bool authority_tick(struct authority *a, const struct config *c) {
    const struct tls_facts *is = &a->pair.cert.is;
    struct err e;
    if (now_s() < a->retry_at_s || !pki_renew_due(is->not_before_s, is->not_after_s, is->serial, now_s()))
        return false;
    if (make_leaf(a, c, &e) && make_contexts(a, &e)) {
        log_event(LOG_INFO, "the hub's certificate was renewed", F_STR("serial", a->pair.cert.is.serial));
        return true;
    }
    a->retry_at_s = now_s() + pki_renew_retry_s(is->not_before_s, is->not_after_s);
    log_event(LOG_ERROR, "the hub's certificate could not be renewed; the old one stays in use", F_STR("cause", e.text), F_I64("ends_s", is->not_after_s));
    return false;
}

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
    return pki_ca_cert(a->ca)->is.spki;
}

struct sv authority_trust(const struct authority *a, uint64_t *ret_sequence) {
    *ret_sequence = a->trust.sequence;
    return buf_sv(&a->trust.pem);
}

const struct pki_cert *authority_leaf(const struct authority *a) {
    return &a->pair.cert;
}

const struct pki_cert *authority_root(const struct authority *a) {
    return pki_ca_cert(a->ca);
}

/* Never for a server: a node must not be able to stand in for the hub before one that knows only the root's pin. */
bool authority_sign(struct authority *a, struct sv node_id, struct sv csr_pem, struct buf *ret_chain, struct pki_cert *ret, struct err *e) {
    struct pki_wish wish = { .usage = PKI_USE_CLIENT, .csr_pem = csr_pem, .now_s = now_s() };
    if (!pki_identity_set(&wish.who, PKI_NODE, sv_of(a->who.fleet), node_id))
        return err_set(e, ERR_INTERNAL, "\"%.*s\" is no node's id", SV_FMT(node_id));
    return pki_issue(a->ca, &wish, ret_chain, ret, e);
}
