/* io/join.h - two streams joined: what comes from one goes to the other, with back-pressure, until both have ended. Loop thread only. */
#ifndef DROVER_IO_JOIN_H
#define DROVER_IO_JOIN_H

#include "base/list.h"
#include "io/stream.h"

/* A set of joined pairs, embedded in whoever has them. */
struct joints {
    struct list all;
    unsigned n;
};

void joints_init(struct joints *j);
/* Takes both streams, which are paused. When memory is out both are closed and false is returned. */
bool stream_join(struct joints *j, struct stream *a, struct stream *b);
/* The same, where whoever has a's other end never ends only its own side: a's end closes b, too, at once. */
bool stream_join_user(struct joints *j, struct stream *a, struct stream *b);
/* Cuts what is left. */
void joints_deinit(struct joints *j);

#endif
