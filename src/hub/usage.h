/* hub/usage.h - private to hub: what nodes say that their own clients used. Control loop.
 *
 * Rows are kept for USAGE_KEPT_MS, so that one that comes again is not counted again; sums per node and day stay. They are no part of
 * this hub's ledger: nobody's budget and no key's usage here knows of them. */
#ifndef DROVER_HUB_USAGE_H
#define DROVER_HUB_USAGE_H

#include "hub/hub.h"
#include "link/link.h"

enum {
    USAGE_ROWS = 500,             /* of one message */
    USAGE_ROWS_PER_HOUR = 100000, /* of one node */
    USAGE_TOKENS_MOST = 1000000000, /* of one row; more is counted as this */
};
#define USAGE_KEPT_MS (7 * UINT64_C(86400000))

struct node;
struct session;
/* Acknowledged when it is on the disk. */
void usage__take(struct hub *h, struct node *n, struct session *s, const struct envelope *m);

#endif
