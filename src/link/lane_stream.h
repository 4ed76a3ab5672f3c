/* link/lane_stream.h - private to link: a stream of a lane as struct stream. Loop thread only. */
#ifndef DROVER_LINK_LANE_STREAM_H
#define DROVER_LINK_LANE_STREAM_H

#include "io/stream.h"
#include "link/mux.h"

struct lane;

/* Owns m (mux_own) from now on. NULL: out of memory, m stays the caller's. */
struct stream *lane_stream_new(struct lane *n, struct loop *l, struct mux_stream *m) MUST_CHECK;
/* Gives back all that comes, until the end. Takes s. */
void lane_stream_echo(struct stream *s);

/* The multiplexer's events; user is what lane_stream_new made. */
void lane_stream_data(void *user, struct sv bytes);
void lane_stream_fin(void *user);
void lane_stream_reset(void *user, uint32_t code, struct sv reason);
void lane_stream_drain(void *user);

#endif
