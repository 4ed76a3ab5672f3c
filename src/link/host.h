/* link/host.h - private to link: what links need on one loop. */
#ifndef DROVER_LINK_HOST_H
#define DROVER_LINK_HOST_H

#include "io/join.h"
#include "link/link.h"

struct link_host {
    struct loop *loop;
    struct list lanes;    /* of struct lane, by lane.h */
    struct joints joined; /* streams of other loops, each with one of a lane */
};

#endif
