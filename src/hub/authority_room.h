/* hub/authority_room.h - private to authority*.c: what they share. */
#ifndef DROVER_HUB_AUTHORITY_ROOM_H
#define DROVER_HUB_AUTHORITY_ROOM_H

#include "hub/authority.h"

enum { AUTHORITY_ASKS = 3, AUTHORITY_DIR = 4096 };

struct authority {
    char dir[AUTHORITY_DIR], where[AUTHORITY_DIR + 8]; /* <data>/pki; <data>/pki/hub */
    struct pki_rotation rotation;
    struct pki_ca *ca;    /* issues */
    struct pki_ca *other; /* while the root changes: the one that does not; NULL: it is not there yet, or out of use */
    struct pki_trust trust;
    struct buf bundle; /* the same, signed */
    struct pki_pair pair;
    bool has_pair;
    struct pki_identity who;
    bool apart;          /* another machine signs */
    struct buf next_key; /* apart: of the certificate that is asked for; empty: none is */
    struct tls_context *tls[AUTHORITY_ASKS];
    int pq;
    int64_t retry_at_s; /* of a renewal that failed */
};

/* authority.c */
bool authority__load_pair(struct authority *a, struct err *e) MUST_CHECK;
bool authority__contexts(struct authority *a, struct err *e) MUST_CHECK;
/* authority_apart.c */
bool authority__open_apart(struct authority *a, struct err *e) MUST_CHECK;

#endif
