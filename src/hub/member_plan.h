/* hub/member_plan.h - private to hub: when a node dials again (link protocol, section 15). Pure: time and chance are arguments. */
#ifndef DROVER_HUB_MEMBER_PLAN_H
#define DROVER_HUB_MEMBER_PLAN_H

#include <stdint.h>

struct plan {
    unsigned n; /* failures in a row; back to 0 after a link that stayed up for PLAN_STEADY_MS */
};

/* How the last try, or the last link, ended. */
struct plan_end {
    int status;       /* of the refused upgrade or enrolment; 0: there was none */
    unsigned code;    /* of the close; 0: the connection broke, or never came about */
    uint32_t told_ms; /* Retry-After, or retry_ms of a goodbye; 0: nothing was said */
    uint64_t up_ms;   /* how long the link was up */
};

/* Uniform in [0, below). */
struct plan_chance {
    uint32_t (*below)(void *arg, uint32_t below);
    void *arg;
};

enum {
    PLAN_STEADY_MS = 60000,
    PLAN_TOLD_MAX_MS = 3600000, /* however long a hub asks us to stay away */
};

/* How long to wait before the next try; counts this one. */
uint32_t plan_wait_ms(struct plan *p, const struct plan_end *end, const struct plan_chance *chance);

#endif
