/* fleet/queue.h - private to fleet: what the scheduler and the cells do with a place's line. Any thread. */
#ifndef DROVER_FLEET_QUEUE_H
#define DROVER_FLEET_QUEUE_H

#include "fleet/fleet.h"

/* Whether others must be served there before this one; NULL: a newcomer. One load where nobody waits. */
bool queue__others_first(const struct cell *c, const struct ticket *t);
/* The ticket got what it waited for, at p; NULL: it was a newcomer. */
void queue__granted(struct ticket *t, const struct fleet_endpoint *p);
/* There is room again. Two loads where nobody waits. */
void queue__released(struct cell *c, uint64_t now_us);
void queue__free(struct queue *q);

#endif
