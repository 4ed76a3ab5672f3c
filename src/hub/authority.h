/* hub/authority.h - private to hub: the fleet's authority as this hub has it, its own leaf, and the TLS contexts that are made of both.
 *
 * Life: authority_new (makes what is missing) -> authority_tls, authority_sign -> authority_tick now and then. Control loop. */
#ifndef DROVER_HUB_AUTHORITY_H
#define DROVER_HUB_AUTHORITY_H

#include "config/config.h"
#include "pki/pki.h"

struct authority;

/* Borrows nothing. ERR_CONFIG when the fleet's name is no DNS label, or files are not as they should be. */
struct authority *authority_new(const struct config *c, struct err *e) MUST_CHECK;
void authority_free(struct authority *a);

/* For a listener that asks for client certificates so (enum config_client_cert). Borrowed until the next tick that says true. */
struct tls_context *authority_tls(struct authority *a, int ask);
/* Renews the hub's leaf when it is due. True: the contexts are others now. */
bool authority_tick(struct authority *a, const struct config *c);

const char *authority_fleet(const struct authority *a);
const char *authority_hub_id(const struct authority *a);
/* The root's pin, which invite lines carry. */
const unsigned char *authority_pin(const struct authority *a);
/* What nodes are to trust. */
struct sv authority_trust(const struct authority *a, uint64_t *ret_sequence);
const struct pki_cert *authority_leaf(const struct authority *a);
const struct pki_cert *authority_root(const struct authority *a);
/* A node's leaf, with its root behind it. */
bool authority_sign(struct authority *a, struct sv node_id, struct sv csr_pem, struct buf *ret_chain, struct pki_cert *ret, struct err *e) MUST_CHECK;

#endif
