/* hub/member_plan.c - wait = uniform(least, min(most, base x 2^n)), with the three by cause. Full jitter, so that nodes that lost the
 * same hub do not come back in one second. A wait that the hub names is kept, plus up to a quarter. */
#include "hub/member_plan.h"

#include <stdbool.h>

#include "link/link.h"

static const struct pace {
    uint32_t least_ms, base_ms, most_ms;
} usual = { 250, 1000, 60000 }, identity = { 60000, 60000, 900000 }, version = { 300000, 300000, 300000 },
  minute = { 60000, 60000, 60000 };

static const struct pace *pace_of(const struct plan_end *end) {
    switch (end->status) {
    case 401:
    case 403:
        return &identity;
    case 404: /* no hub there: somebody has to set one up */
        return &minute;
    case 426:
        return &version;
    default:
        break;
    }
    switch (end->code) {
    case CLOSE_IDENTITY:
        return &identity;
    case CLOSE_VERSION:
        return &version;
    case 1008: /* policy */
    case CLOSE_REFUSED:
    case CLOSE_REPLACED:
    case CLOSE_FLOOD:
        return &minute;
    default:
        return &usual;
    }
}

static uint32_t between(const struct plan_chance *c, uint32_t least, uint32_t most) {
    return most > least ? least + c->below(c->arg, most - least + 1) : least;
}

uint32_t plan_wait_ms(struct plan *p, const struct plan_end *end, const struct plan_chance *chance) {
    const struct pace *pace = pace_of(end);
    if (end->up_ms >= PLAN_STEADY_MS)
        p->n = 0;
    unsigned n = p->n++;
    if (end->told_ms) {
        uint32_t told = end->told_ms < PLAN_TOLD_MAX_MS ? end->told_ms : PLAN_TOLD_MAX_MS;
        return between(chance, told, told + told / 4);
    }
    if (end->code == CLOSE_HEARTBEATS && n == 0)
        return 0; /* our control loop was stuck; it is not now */
    uint64_t most = (uint64_t)pace->base_ms << (n < 20 ? n : 20);
    most = most < pace->most_ms ? most : pace->most_ms;
    uint32_t spread =
        pace->least_ms + pace->least_ms / 4; /* even where the floor is also the ceiling nobody comes in step */
    return between(chance, pace->least_ms, most > spread ? (uint32_t)most : spread);
}
