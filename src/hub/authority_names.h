/* hub/authority_names.h - private to authority*.c: the names of this machine. */
#ifndef DROVER_HUB_AUTHORITY_NAMES_H
#define DROVER_HUB_AUTHORITY_NAMES_H

#include "config/config.h"
#include "pki/pki.h"

struct authority_names { /* zeroed; views on its own room and on the configuration */
    struct sv v[PKI_NAMES_MAX];
    unsigned n;
    char space[PKI_NAMES_MAX][64], host[256];
};
/* Those of the listeners, of hub.urls, of the host, and its addresses. */
void authority__names(const struct config *c, struct authority_names *s);

#endif
