/* fleet/health.h - private to fleet: from looks to a state, with hysteresis and damping. No I/O, no clock. */
#ifndef DROVER_FLEET_HEALTH_H
#define DROVER_FLEET_HEALTH_H

#include "fleet/look.h"

enum {
    HEALTH_DOWN_AFTER = 2,           /* failed looks in a row */
    HEALTH_FLAPS = 4,                /* more changes than that ... */
    HEALTH_FLAP_WINDOW_MS = 300000,  /* ... in this time are flapping ... */
    HEALTH_DAMPED_GOOD = 3,          /* ... and then up needs so many good looks in a row */
};

struct health {
    enum fleet_state state;
    unsigned good_in_row, bad_in_row;
    bool damped;                     /* it flapped, and has not yet been good for long enough */
    uint64_t changes_ms[HEALTH_FLAPS]; /* the latest ones, as a ring */
    unsigned n_changes;
};

/* Takes the end of a look. serving: requests succeeded there since the last look. True when the state changed. */
bool health_take(struct health *h, enum look_end end, bool serving, uint64_t now_ms);
/* The step by hand, with its assertion: only health.c and tests. */
bool health_goto(struct health *h, enum fleet_state to, uint64_t now_ms);

#endif
