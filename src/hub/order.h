/* hub/order.h - private to hub: the directives this hub has for its nodes. Control loop.
 *
 * Each is a row before it is sent. What is not over stands here, too, at most ORDERS_PER_NODE for one node and ORDERS_MAX in all; what is
 * over is in the store alone, the last ORDERS_KEPT of each node. Life of one: order__make (hub_order) -> on the disk -> sent on the link
 * there is, and again on each later one until it is answered -> acknowledged -> its result is on the disk, and acknowledged to the node. */
#ifndef DROVER_HUB_ORDER_H
#define DROVER_HUB_ORDER_H

#include "base/list.h"
#include "base/map.h"
#include "hub/directive.h"
#include "hub/hub.h"
#include "link/link.h"

enum { ORDERS_PER_NODE = 64, ORDERS_MAX = 4096, ORDERS_KEPT = 200, ORDER_ID = 20 };

struct node;
struct record;

struct orders {
    struct list all; /* of struct order, not over; the oldest first */
    struct map by_id;
    size_t n;
};

bool orders__load(struct hub *h, struct err *e) MUST_CHECK;
void orders__deinit(struct hub *h);
void orders__tick(struct hub *h);
/* The link of a node is up: what was not answered goes out again. */
void orders__up(struct hub *h, struct node *n);
/* The same of a leaf of it that is there now. */
void orders__leaf_up(struct hub *h, struct node *n, struct sv agent);
/* A node is removed: the statement that forgets its directives, and what stands here. */
void orders__forget(struct record *r, struct sv node_id);
void orders__drop(struct hub *h, struct sv node_id);

/* What the node says of them; m's payload has passed its schema. */
void orders__take_ack(struct hub *h, struct node *n, const struct envelope *m);
void orders__take_progress(struct hub *h, struct node *n, const struct envelope *m);
void orders__take_result(struct hub *h, struct node *n, const struct envelope *m);

#endif
