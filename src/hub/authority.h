/* hub/authority.h - private to hub: the fleet's authority as this hub has it, its own leaf, and the TLS contexts that are made of both.
 *
 * Life: authority_new (makes or reads the root) -> authority_begin (the hub's leaf) -> authority_tls, authority_sign -> authority_tick now
 * and then. While the root changes: authority_rotate -> authority_settle, authority_step, as hub/rotation.c drives it. Control loop. */
#ifndef DROVER_HUB_AUTHORITY_H
#define DROVER_HUB_AUTHORITY_H

#include "config/config.h"
#include "pki/pki.h"

struct authority;

/* Borrows nothing. ERR_CONFIG when the fleet's name is no DNS label, or files are not as they should be. */
struct authority *authority_new(const struct config *c, struct err *e) MUST_CHECK;
void authority_free(struct authority *a);
/* A fresh leaf of the hub, and the contexts. keep_key, as below: with the key of the one before, since invitations name it. */
bool authority_begin(struct authority *a, const struct config *c, bool keep_key, struct err *e) MUST_CHECK;

/* For a listener that asks for client certificates so (enum config_client_cert). Borrowed until authority_tick, _settle, _renew say true. */
struct tls_context *authority_tls(struct authority *a, int ask);
/* Renews the hub's leaf when it is due. True: the contexts are others now. */
bool authority_tick(struct authority *a, const struct config *c, bool keep_key);
/* Renews it now. On failure all is as it was. */
bool authority_renew(struct authority *a, const struct config *c, bool keep_key, struct err *e) MUST_CHECK;

const char *authority_fleet(const struct authority *a);
const char *authority_hub_id(const struct authority *a);
/* The key that invite lines made now name: the root's; while the root changes, the hub's own, which lasts. */
const unsigned char *authority_pin(const struct authority *a);
/* What nodes are to trust. */
struct sv authority_trust(const struct authority *a, uint64_t *ret_sequence);
/* The same, signed by a root that those who are to be told trust already. */
struct sv authority_bundle(const struct authority *a);
const struct pki_cert *authority_leaf(const struct authority *a);
struct sv authority_chain(const struct authority *a);
/* Of the authority that issues now. */
const struct pki_cert *authority_root(const struct authority *a);
struct sv authority_root_pem(const struct authority *a);
const char *authority_issuer(const struct authority *a);
/* Of the other one while the root changes; NULL: there is none, or it is out of use. */
const struct pki_cert *authority_other_root(const struct authority *a);
/* A node's leaf, with its root behind it. ERR_UNAVAILABLE: nothing is signed at this moment. */
bool authority_sign(struct authority *a, const struct config *c, struct sv node_id, struct sv csr_pem,
                    struct buf *ret_chain, struct pki_cert *ret, struct err *e) MUST_CHECK;

/* A list of certificates that are good no more, by the authority that issues. */
bool authority_crl(const struct authority *a, const char (*serials)[TLS_SERIAL_MAX + 1], size_t n, struct buf *ret_pem, struct err *e) MUST_CHECK;

/* --- the key elsewhere (hub.ca: apart) ------------------------------------------------------------------------------------------------------ */

bool authority_is_apart(const struct authority *a);
/* The hub has a certificate; without one there are no contexts. */
bool authority_is_signed(const struct authority *a);
bool authority_wants_leaf(const struct authority *a);
/* The request for the hub's next certificate: the same key until that is taken. */
bool authority_request(struct authority *a, struct buf *ret_csr, struct err *e) MUST_CHECK;
void authority_print_names(const struct config *c, struct buf *out);
/* Whether a chain that was signed elsewhere is what was asked for; the caller compares a node's key. */
bool authority_check_node(const struct authority *a, struct sv node_id, struct sv chain, struct pki_cert *ret,
                          struct err *e) MUST_CHECK;
bool authority_check_own(const struct authority *a, struct sv chain, struct pki_cert *ret, struct err *e) MUST_CHECK;
/* The hub's own, from here on; the contexts are others now. */
bool authority_take(struct authority *a, struct sv chain, struct err *e) MUST_CHECK;

/* --- changing the root ------------------------------------------------------------------------------------------------------------------- */

const struct pki_rotation *authority_rotation(const struct authority *a);
/* Begins one. ERR_EXISTS: one is under way, and this is no emergency. */
bool authority_rotate(struct authority *a, bool is_emergency, struct err *e) MUST_CHECK;
/* Makes true what the present stage says: roots, bundle, issuer, the hub's leaf. May be repeated. *ret_changed: the contexts are others now. */
bool authority_settle(struct authority *a, const struct config *c, bool keep_key, bool *ret_changed,
                      struct err *e) MUST_CHECK;
/* The next stage has begun, on the disk: settle it. To NONE: the other authority's key is gone, too. */
bool authority_step(struct authority *a, enum pki_stage to, bool *ret_changed, struct err *e) MUST_CHECK;

#endif
