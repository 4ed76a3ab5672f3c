/* link/way.h - private to link: how lanes come and go on a way. On the lane's loop. */
#ifndef DROVER_LINK_WAY_H
#define DROVER_LINK_WAY_H

#include "link/lane.h"

void way_add(struct way *w, struct link_host *host, struct lane *lane);
void way_remove(struct way *w, const struct lane *lane);

#endif
