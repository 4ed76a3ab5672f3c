/* fleet/discovery.h - private to fleet: finding runtimes nobody wrote down.
 *
 * On start, every discovery.interval and when asked to, a round: known ports of this machine, labelled containers, what
 * announces itself by multicast DNS (if that is on), and the LAN addresses that the operator listed; nothing else is ever
 * touched. What turns out to be a runtime is handed to on_found and is an endpoint like any other from then on. Control loop
 * only. */
#ifndef DROVER_FLEET_DISCOVERY_H
#define DROVER_FLEET_DISCOVERY_H

#include "fleet/endpoint.h"

struct discovery;

struct discovery_found {
    struct sv host;     /* an address, or a container's */
    uint16_t port;
    int kind;           /* as fingerprinted */
    struct sv name;     /* wanted by a label; often empty */
};

struct discovery_events {
    /* Whether an endpoint is at this place already: then it is left alone. */
    bool (*is_known)(void *owner, struct sv host, uint16_t port);
    /* Borrows found. */
    void (*on_found)(void *owner, const struct discovery_found *found);
    /* The first round is over (announcements and lists of LAN addresses take longer and are not waited for). */
    void (*on_settled)(void *owner);
};

/* Shares c. Returns owned, or NULL when memory is out. */
struct discovery *discovery_new(const struct endpoint_home *home, struct config *c, const struct discovery_events *on, void *owner)
    MUST_CHECK;
void discovery_apply(struct discovery *d, struct config *c);
void discovery_now(struct discovery *d);
void discovery_free(struct discovery *d);

#endif
