/* hub/berth.h - a worker's landing place for the lanes of this node's link: it dials the hub, and serves what the hub asks over them.
 *
 * Each worker has one. A lane lives on its loop, and every stream of it that the hub opens is one exchange of the worker's own HTTP server,
 * under the listener of the link. Worker's thread, but for what says otherwise. */
#ifndef DROVER_HUB_BERTH_H
#define DROVER_HUB_BERTH_H

#include "gateway/gateway.h"
#include "link/link.h"

struct berth;

/* Borrows links, server and surface, the listener whose rules hold for the streams (is_link). */
struct berth *berth_new(struct loop *l, struct link_host *links, struct http_server *server,
                        struct gateway_listener *surface, struct err *e) MUST_CHECK;
/* Before links: ends what is being dialled; their wires hear it. NULL is fine. */
void berth_free(struct berth *b);

/* What to dial. All is copied or shared. */
struct berth_dial {
    struct dialer *dialer;
    struct sv host, prefix; /* for the Host field; in front of the path */
    struct sv bearer, node_id;
    struct sv lane_token; /* empty: the first lane */
    struct wire *wire;    /* a handle (wire_ref), taken on success: it ends in wire_attach or wire_refuse */
};
/* Any thread. False: it did not go, and nothing was taken. */
bool berth_dial(struct berth *b, const struct berth_dial *d) MUST_CHECK;

/* Streams that have come so far. Any thread. */
uint64_t berth_streams(const struct berth *b);

#endif
