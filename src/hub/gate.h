/* hub/gate.h - where links arrive: GET /link/v1 on a worker's listener. The worker asks the hub who it is, and upgrades where the answer is yes.
 *
 * One gate per worker, on its loop. What it asks travels to the control loop and back (struct gate_ask); the client may leave meanwhile. */
#ifndef DROVER_HUB_GATE_H
#define DROVER_HUB_GATE_H

#include "http/server.h"
#include "hub/hub.h"

enum { GATE_TEXT = 160 };

struct gate;

/* A question and its answer; one message both ways. */
struct gate_ask {
    struct msg msg;
    struct gate *gate;         /* counted */
    struct hub *hub;
    struct gate_visit *visit;  /* of the gate's loop only */
    /* Asked. */
    struct tls_facts tls;      /* zeroed: no TLS */
    bool is_tls;
    char peer[STREAM_PEER_TEXT], node[80], lane[129];
    char bearer[128];          /* wiped */
    /* Answered. */
    int status;                /* 101: welcome */
    uint32_t retry_after_s;
    char text[GATE_TEXT];
    struct wire *wire;         /* a handle for wire_attach */
    struct way *way;           /* counted */
    char site[80];
    bool is_lane;
    bool is_last;             /* it came with the certificate, or the token, that it was given last */
    struct mux_limits limits; /* of a lane: what hello said */
};

/* Borrows host; control is the hub's loop. */
struct gate *gate_new(struct loop *l, struct link_host *host, struct loop *control, struct hub *hub, struct err *e) MUST_CHECK;
/* Visits under way end. NULL is fine. */
void gate_free(struct gate *g);
/* Whether another connection is begun now. A handshake costs more than anything else that a node asks for: when all of them come in one moment
 * (the hub was away) most are closed before it and come again, instead of all being served too late. */
bool gate_has_room(struct gate *g);
/* Takes in, a request for /link/v1. */
void gate_take(struct gate *g, struct http_in *in);
bool gate_wants(const struct http_head *head);

#endif
