/* console/door.h - how requests for the console and the admin API get from a worker's listener to the control loop.
 *
 * Each worker has a proxy whose dialer makes a pair of connected sockets and hands one end to the control loop: what comes that way is
 * a request from outside, whatever its head says, and needs a session; the UNIX socket is another way in. The door tells the admin
 * what only the worker knows: the client's address, and whether its connection is encrypted. */
#ifndef DROVER_CONSOLE_DOOR_H
#define DROVER_CONSOLE_DOOR_H

#include "console/admin.h"
#include "http/proxy.h"

/* Any thread may hold and use it. Control loop; returns owned (dialer_unref), after door_close. */
struct dialer *door_new(struct admin *a, struct err *e) MUST_CHECK;
/* Control loop: what comes from now on, or is on its way, finds it closed. */
void door_close(struct dialer *door);
/* Whether a request is meant for the console rather than for the gateway. Any thread. */
bool door_wants(const struct http_head *head);
/* Whether it is a machine that joins, or renews its certificate. Any thread. */
bool door_enrols(const struct http_head *head);
/* Worker's thread. Takes in, whose Host and Origin were found to be ours. */
void door_pass(struct http_proxy *p, struct http_in *in);

/* What the door adds; never taken from a client. */
#define DOOR_PEER "drover-peer"
#define DOOR_TLS "drover-tls"
#define DOOR_SPKI "drover-spki" /* of the client's certificate, where it proved one: SHA-256 of its key, in hex */
#define DOOR_LINK "drover-link" /* our hub asks, and the gateway found that it may ask for just this */
#define DOOR_ROLE "drover-role" /* besides: for somebody who visits the console, who may so much here */
#define DOOR_WHO "drover-who"   /* "hub:ALICE" */
#define DOOR_FRESH "drover-fresh" /* the passphrase was given lately, at the hub */
#define DOOR_HOST "drover-host" /* as the client wrote it, port included */

#endif
