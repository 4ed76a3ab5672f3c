/* link/link.h - the node-hub link: one long-lived connection that carries control messages and many byte streams.
 *
 * The wire is told in docs/protocol.md. Its parts, from the wire up: frame.h and envelope.h (bytes and shapes), mux.h (streams), engine.h
 * (one socket's rules), lane.h (the engine on a loop). What other rooms need stands here:
 *   struct link_host  what links need on one loop: the lanes that live there, and streams from other loops that pass through
 *   struct wire       one lane as the control loop sees it: the lane lives on another loop, messages go between
 *   struct way        how a node is reached: its lanes on all loops, as a dialer for anybody */
#ifndef DROVER_LINK_LINK_H
#define DROVER_LINK_LINK_H

#include "io/dialer.h"
#include "link/engine.h"

/* --- on each loop that lanes live on ---------------------------------------------------------------------------------------------------- */

struct link_host;
struct link_host *link_host_new(struct loop *l, struct err *e) MUST_CHECK;
/* Cuts all lanes and joined streams; their wires hear it. NULL is fine. */
void link_host_free(struct link_host *h);

/* --- how a node is reached -------------------------------------------------------------------------------------------------------------- */

/* Counted; any thread. A dial opens a stream on the lane of the dialling loop, where there is one: nothing crosses threads then. Else the
 * stream passes through the loop of another lane. Without any lane it fails at once (ERR_UNAVAILABLE). */
struct way;
struct way *way_new(struct sv name, struct err *e) MUST_CHECK; /* copies name: for faults */
struct way *way_ref(struct way *w);
struct way *way_unref(struct way *w);
/* Borrowed from w, and counted with it: dialer_ref keeps both. */
struct dialer *way_dialer(struct way *w);
unsigned way_lanes(struct way *w);

/* --- a lane, seen from the control loop ------------------------------------------------------------------------------------------------- */

struct wire;

struct wire_events { /* on the home loop */
    void (*on_control)(void *owner, struct envelope *m); /* borrowed */
    void (*on_up)(void *owner);
    /* Once, and the last. status: the HTTP status where the upgrade was refused; 0: none. code: of the close. why is borrowed. */
    void (*on_end)(void *owner, int status, unsigned code, struct sv why, uint32_t retry_after_s);
    /* The lane is there, before anything was said on it: a node says hello now. May be NULL. */
    void (*on_open)(void *owner);
};

/* Where incoming streams of SERVICE_HTTP go, on the lane's loop: takes s, paused. */
typedef void wire_stream_cb(void *arg, struct stream *s);

/* Home loop. Borrows on. Returns owned (wire_free). */
struct wire *wire_new(struct loop *home, const struct wire_events *on, void *owner, struct err *e) MUST_CHECK;
/* A handle for whoever will attach it, on another thread: give it back with wire_attach, wire_refuse or wire_drop. */
struct wire *wire_ref(struct wire *w);
/* No event any more; the lane is closed with code. Home loop; NULL is fine. */
void wire_free(struct wire *w, unsigned code, struct sv why);
/* Says goodbye on the wire; on_end comes. */
void wire_close(struct wire *w, unsigned code, struct sv why);
void wire_send(struct wire *w, enum link_kind k, struct sv payload, struct sv re);
void wire_send_as(struct wire *w, const struct envelope_head *h, struct sv payload);
/* What hello or welcome announced, before any stream; limits as the engine reads them. */
void wire_peer_limits(struct wire *w, const struct mux_limits *l);
void wire_goaway(struct wire *w, uint32_t retry_ms, struct sv reason);
/* Figures of the lane, as of its last report (every few seconds). */
void wire_facts(const struct wire *w, struct engine_facts *ret);

struct wire_lane {
    struct link_host *host;   /* of this loop */
    struct engine_spec spec;
    struct way *way;          /* shared: the lane is added while it is up; NULL: the peer is not dialled */
    const struct mux_limits *
        peer; /* what it accepts, where that is known; borrowed for the call; NULL: the defaults until wire_peer_limits */
    wire_stream_cb *on_stream; /* NULL: no streams are taken (RESET_REFUSED_SERVICE) */
    void *arg;
    bool echo;
};

/* Far loop. Takes the handle and s, on which the upgrade is complete; ahead is borrowed. */
void wire_attach(struct wire *w, struct stream *s, struct sv ahead, const struct wire_lane *at);
/* There will be no lane: the home hears on_end. */
void wire_refuse(struct wire *w, int status, struct sv why, uint32_t retry_after_s);

#endif
