/* hub/caller.h - a worker's part in links that the hub begins (mode direct): it connects, and from then on the node is client and the hub is
 * server as ever (RFC 8071 calls it calling home). What answers must prove within TLS to be the node that was meant; then the connection is
 * served like one that came to a listener with the role `link`.
 *
 * Each worker has one. Worker's thread, but for what says otherwise. */
#ifndef DROVER_HUB_CALLER_H
#define DROVER_HUB_CALLER_H

#include "http/server.h"
#include "io/dialer.h"
#include "pki/pki.h"

struct caller;

/* Borrows server. tag goes with each request of such a connection, as a listener's does. */
struct caller *caller_new(struct loop *l, struct http_server *server, void *tag, struct err *e) MUST_CHECK;
/* Ends what is under way, and what comes from now on; its callers are not told. NULL is fine, below too. */
void caller_close(struct caller *c);
/* When its loop is gone: that still hands out what it holds. */
void caller_free(struct caller *c);

/* An order, and what became of it: one message both ways. */
struct call {
    struct msg msg;
    struct list under_way;
    struct caller *caller;
    struct loop *home;
    struct dialer *dialer;    /* bare TCP; owned */
    struct tls_context *tls;  /* the hub's, which requires a certificate; owned */
    char uri[PKI_URI_MAX + 1]; /* of the node that is meant */
    bool ok;                  /* it is being served */
    char why[200];            /* it is not */
    void (*done)(struct call *c); /* home loop, once; NULL: nobody asks any more. Ends with call_free */
    void *arg;
    char id[PKI_ID_MAX + 1];
    /* The worker's. */
    struct dial *dial;
    struct tls_handshake *shaking;
    struct timer deadline;
};
struct call *call_new(void) MUST_CHECK;
void call_free(struct call *c);
/* Any thread. Takes k on success. */
bool caller_call(struct caller *c, struct call *k) MUST_CHECK;

#endif
