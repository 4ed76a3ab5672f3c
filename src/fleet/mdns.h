/* fleet/mdns.h - private to fleet: asks the LAN once by multicast DNS who announces a runtime, and listens for a while.
 *
 * Life: mdns_new -> done, once, never before mdns_new has returned -> mdns_free; mdns_free at any time ends it. It only asks:
 * nothing is announced, and no group is joined, as answers come by unicast (RFC 6762 sections 5.1 and 6.7). Control loop. */
#ifndef DROVER_FLEET_MDNS_H
#define DROVER_FLEET_MDNS_H

#include "fleet/mdns_read.h"
#include "io/loop.h"

enum {
    MDNS_LISTEN_MS = 3000,
    MDNS_MESSAGES_MAX = 128, /* read in a round; then it is deaf until its end */
    MDNS_LINKS_MAX = 32,     /* interfaces that are asked */
};

struct mdns;

struct mdns_how {
    unsigned listen_ms;
    const char *link; /* the only interface to use; NULL: all that are up and know multicast, but not loopback */
};

/* Asks at once. done borrows f until mdns_free. NULL: there is no interface to ask on, or memory is out. */
struct mdns *mdns_new(struct loop *l, const struct mdns_how *how, void (*done)(void *owner, const struct mdns_found *f),
                      void *owner) MUST_CHECK;
/* NULL is fine; always returns NULL. */
struct mdns *mdns_free(struct mdns *m);

#endif
