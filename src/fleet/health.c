/* fleet/health.c - the states of an endpoint.
 *
 *   unknown   not looked at yet: nothing is sent there
 *   up        the last look was good
 *   degraded  alive, but something is wrong, or it flaps: gets work when others have much more
 *   loading   it answers and says that it cannot serve yet
 *   down      two looks failed, or nobody listens and no request succeeded meanwhile: nothing is sent there
 *
 * One failed look changes nothing: networks hiccup. A refused connection is no hiccup, unless traffic proves otherwise. */
#include "fleet/health.h"

#include <assert.h>

#define TO(s) (1u << (s))

static const unsigned may_follow[] = {
    [FLEET_UNKNOWN] = TO(FLEET_UP) | TO(FLEET_DEGRADED) | TO(FLEET_LOADING) | TO(FLEET_DOWN),
    [FLEET_UP] = TO(FLEET_DEGRADED) | TO(FLEET_LOADING) | TO(FLEET_DOWN),
    [FLEET_DEGRADED] = TO(FLEET_UP) | TO(FLEET_LOADING) | TO(FLEET_DOWN),
    [FLEET_LOADING] = TO(FLEET_UP) | TO(FLEET_DEGRADED) | TO(FLEET_DOWN),
    [FLEET_DOWN] = TO(FLEET_UP) | TO(FLEET_DEGRADED) | TO(FLEET_LOADING),
};

bool health_goto(struct health *h, enum fleet_state to, uint64_t now_ms) {
    if (to == h->state)
        return false;
    assert(may_follow[h->state] & TO(to));
    /* Coming to know it, and loading to be ready, are no flaps. */
    if (h->state != FLEET_UNKNOWN && !(h->state == FLEET_LOADING && to == FLEET_UP)) {
        uint64_t *oldest = &h->changes_ms[h->n_changes % HEALTH_FLAPS];
        if (h->n_changes >= HEALTH_FLAPS && now_ms - *oldest < HEALTH_FLAP_WINDOW_MS)
            h->damped = true;
        *oldest = now_ms;
        h->n_changes++;
    }
    h->state = to;
    return true;
}

static bool take_good(struct health *h, enum look_end end, uint64_t now_ms) {
    h->bad_in_row = 0;
    h->good_in_row = end == LOOK_GOOD ? h->good_in_row + 1 : 0;
    if (h->damped && h->good_in_row >= HEALTH_DAMPED_GOOD)
        h->damped = false;
    return health_goto(h, end == LOOK_GOOD && !h->damped ? FLEET_UP : FLEET_DEGRADED, now_ms);
}

bool health_take(struct health *h, enum look_end end, bool serving, uint64_t now_ms) {
    switch (end) {
    case LOOK_GOOD:
    case LOOK_POOR:
        return take_good(h, end, now_ms);
    case LOOK_LOADING:
        h->good_in_row = h->bad_in_row = 0;
        return health_goto(h, FLEET_LOADING, now_ms);
    case LOOK_REFUSED:
        h->bad_in_row += serving ? 1 : HEALTH_DOWN_AFTER;
        break;
    case LOOK_FAILED:
        h->bad_in_row++;
        break;
    }
    h->good_in_row = 0;
    /* Of a place never seen alive one failure is all there is to know. */
    if (h->bad_in_row >= HEALTH_DOWN_AFTER || h->state == FLEET_UNKNOWN)
        return health_goto(h, FLEET_DOWN, now_ms);
    return false;
}
