/* link/lane.h - private to link: the engine on a socket of a loop, and its streams as ordinary struct stream.
 *
 * Life: lane_new -> lane_open... -> lane_close, or the peer or the network ends it; on_end comes once and is the last word to the owner. The lane
 * itself stays a moment longer, until its goodbye is out. Streams that are still held then have been told, and stay their owners' until they close them. Loop thread only. */
#ifndef DROVER_LINK_LANE_H
#define DROVER_LINK_LANE_H

#include "io/stream.h"
#include "link/host.h"

struct lane;

struct lane_events {
    void (*on_control)(void *owner, struct envelope *m);
    void (*on_up)(void *owner);
    /* The peer opened a stream for SERVICE_HTTP: takes s, paused. Meta is borrowed. NULL: none is welcome (RESET_REFUSED_SERVICE). */
    void (*on_stream)(void *owner, struct stream *s, const struct mux_open *o);
    void (*on_end)(void *owner, unsigned code, struct sv why);
};

/* Takes s, also on failure; ahead: what came behind the head of the upgrade, borrowed. Copies spec->site. Borrows on. The lane stands in the
 * host's list until it is gone. */
struct lane *lane_new(struct link_host *h, struct stream *s, struct sv ahead, const struct engine_spec *spec, bool echo, const struct lane_events *on,
                      void *owner, struct err *e) MUST_CHECK;
/* Says goodbye on the wire; on_end comes soon, not within this call. */
void lane_close(struct lane *n, unsigned code, struct sv why);
/* Ends all lanes of a list at once; each owner hears on_end. */
void lanes_end(struct list *lanes);

/* A new stream to the peer, ready for use at once, paused. */
struct stream *lane_open(struct lane *n, const struct mux_open *o, struct err *e) MUST_CHECK;
struct engine *lane_engine(struct lane *n);
/* After something was said through the engine. */
void lane_flush(struct lane *n);

#endif
