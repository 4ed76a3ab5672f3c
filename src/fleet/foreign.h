/* fleet/foreign.h - private to fleet: places that answered and are none of ours, to be left alone for a while.
 *
 * Life: foreign_init -> foreign_has, foreign_add -> foreign_deinit. Time is an argument. */
#ifndef DROVER_FLEET_FOREIGN_H
#define DROVER_FLEET_FOREIGN_H

#include "base/map.h"

enum {
    FOREIGN_MS = 600000, /* how long a place is left alone */
    FOREIGN_MAX = 1024,  /* places that are remembered; others are looked at again in the next round */
    FOREIGN_KEY_MAX = 80,
};

struct foreign {
    struct map by_key; /* of struct foreign_place */
};

void foreign_init(struct foreign *f);
void foreign_deinit(struct foreign *f);
bool foreign_has(struct foreign *f, struct sv key, uint64_t now_ms);
/* Copies key; one of more than FOREIGN_KEY_MAX bytes is not kept. One that is there already keeps its time. */
void foreign_add(struct foreign *f, struct sv key, uint64_t now_ms);
void foreign_forget(struct foreign *f);

#endif
