/* hub/authority_apart.c - the authority's key lies on another machine: the hub has the root, makes its own keys, and asks for certificates.
 *
 * The key of the certificate that is asked for waits in <data>/pki/hub/next.key, so that what is signed days later still fits after a restart. */
#include "base/clock.h"
#include "base/log.h"
#include "hub/authority_names.h"
#include "hub/authority_room.h"

static const char key_file[] = "next.key";

static int64_t now_s(void) {
    return (int64_t)(clock_wall_ms() / 1000);
}

bool authority__open_apart(struct authority *a, struct err *e) {
    struct err fault;
    a->ca = pki_ca_open(a->dir, &fault);
    if (!a->ca && fault.code == ERR_NOT_FOUND)
        return err_set(e, ERR_CONFIG,
                       "hub.ca is apart, and there is no root in %s/fleet: make one on the machine that is to sign "
                       "(drover cert init) and copy its .crt "
                       "there",
                       a->dir);
    if (!a->ca && e)
        *e = fault;
    buf_init(&a->next_key, PKI_PEM_MAX + 1);
    if (a->ca && !pki_file_read(a->where, key_file, &a->next_key, &fault) && fault.code != ERR_NOT_FOUND)
        return err_set(e, fault.code, "%s", fault.text);
    return a->ca != NULL;
}

bool authority_is_apart(const struct authority *a) {
    return a->apart;
}

bool authority_is_signed(const struct authority *a) {
    return a->tls[CONFIG_CLIENT_CERT_OFF] != NULL;
}

/* When half of the life is over: a signer that is away for some days does no harm. */
bool authority_wants_leaf(const struct authority *a) {
    const struct tls_facts *is = &a->pair.cert.is;
    return a->apart && (!a->has_pair || !authority_is_signed(a) ||
                        now_s() >= is->not_before_s + (is->not_after_s - is->not_before_s) / 2);
}

bool authority_request(struct authority *a, struct buf *ret_csr, struct err *e) {
    if (!a->next_key.n &&
        (!pki_key_make(PKI_P256, &a->next_key, e) || !pki_file_write(a->where, key_file, buf_sv(&a->next_key), e))) {
        pki_wipe(&a->next_key);
        buf_init(&a->next_key, PKI_PEM_MAX + 1);
        return err_ctx(e, "the key of the hub's next certificate");
    }
    return pki_csr_make(buf_sv(&a->next_key), ret_csr, e);
}

/* Names and addresses that the certificate should have: a JSON array. */
void authority_print_names(const struct config *c, struct buf *out) {
    struct authority_names *names = mem_new(sizeof *names);
    buf_add_char(out, '[');
    if (names)
        authority__names(c, names);
    for (unsigned i = 0; names && i < names->n; i++) {
        buf_add(out, i ? SV(",") : SV_NULL);
        buf_add_json(out, names->v[i]);
    }
    buf_add_char(out, ']');
    mem_free(names);
}

/* What a signer brings is believed as little as what anybody else brings: it has to be of our root, for this key, and say just who. */
static bool check(const struct authority *a, const struct pki_identity *who, unsigned usage, struct sv chain,
                  struct pki_cert *ret, struct err *e) {
    char uri[PKI_URI_MAX + 1];
    pki_identity_print(who, uri);
    if (!pki_chain_verify(chain, buf_sv(&a->trust.pem), usage, SV_NULL, now_s(), e) || !pki_cert_read(chain, ret, e))
        return false;
    if (strcmp(ret->is.uri, uri) != 0)
        return err_set(e, ERR_BAD_REQUEST, "the certificate is for %s, not for %s", ret->is.uri, uri);
    return (ret->is_server == ((usage & PKI_USE_SERVER) != 0) && !ret->is_ca) ||
           err_set(e, ERR_BAD_REQUEST, "the certificate is for another use than was asked for");
}

bool authority_check_node(const struct authority *a, struct sv node_id, struct sv chain, struct pki_cert *ret,
                          struct err *e) {
    struct pki_identity who;
    if (!pki_identity_set(&who, PKI_NODE, sv_of(a->who.fleet), node_id))
        return err_set(e, ERR_INTERNAL, "\"%.*s\" is no node's id", SV_FMT(node_id));
    return check(a, &who, PKI_USE_CLIENT, chain, ret, e);
}

bool authority_check_own(const struct authority *a, struct sv chain, struct pki_cert *ret, struct err *e) {
    return check(a, &a->who, PKI_USE_SERVER | PKI_USE_CLIENT, chain, ret, e) &&
           pki_pair_check(chain, buf_sv(&a->next_key), e);
}

bool authority_take(struct authority *a, struct sv chain, struct err *e) {
    struct pki_cert cert;
    unsigned generation;
    struct err left;
    if (!authority_check_own(a, chain, &cert, e) ||
        !pki_pair_store(a->where, chain, buf_sv(&a->next_key), &generation, e) || !authority__load_pair(a, e) ||
        !authority__contexts(a, e))
        return err_ctx(e, "the hub's certificate");
    if (!pki_file_remove(a->where, key_file, &left))
        log_event(LOG_WARN, "a key that is no longer needed could not be removed", F_STR("cause", left.text));
    pki_wipe(&a->next_key);
    buf_init(&a->next_key, PKI_PEM_MAX + 1);
    log_event(LOG_INFO, "the hub's certificate was signed", F_STR("serial", a->pair.cert.is.serial));
    return true;
}
