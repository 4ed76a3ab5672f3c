/* hub/leaves.h - private to hub: the leaves behind a node, as the hub knows them over one link: docs/protocol.md, "Leaf relay". Control
 * loop.
 *
 * A node announces a leaf by agent_status; what it passes on of any other is refused (unknown_id), and it announces that one then. The
 * table ends with the link: the next one begins with all of them again. Leaves have no streams, so they are no places of the fleet. */
#ifndef DROVER_HUB_LEAVES_H
#define DROVER_HUB_LEAVES_H

#include "base/buf.h"
#include "base/list.h"
#include "link/link.h"

enum { LEAVES_PER_NODE = 64 };

struct hub;
struct node;
struct session;

struct leaves {
    struct list all; /* of struct leaf_of */
    unsigned n;
};

void leaves__init(struct leaves *l);
void leaves__deinit(struct leaves *l);
/* A message in the name of a leaf, or about one; its payload has passed its schema. */
void leaves__take(struct leaves *l, struct hub *h, struct node *n, struct session *s, struct envelope *m);
bool leaves__has(const struct leaves *l, struct sv agent); /* and it is connected */
/* A member of a JSON object: "leaves". Nothing where there are none. */
void leaves__print(const struct leaves *l, uint64_t now_ms, struct buf *out);

#endif
