/* io/sock.h - TCP and UNIX sockets as streams, and the listeners that accept them. Loop thread only. */
#ifndef DROVER_IO_SOCK_H
#define DROVER_IO_SOCK_H

#include <sys/socket.h>

#include "io/stream.h"

/* A paused stream over a connected, non-blocking socket. Takes fd on success. */
struct stream *sock_stream(struct loop *l, int fd, struct err *e) MUST_CHECK;
/* The socket of a stream that was neither read nor written, for another loop to make a stream of; s is gone. */
int sock_release(struct stream *s);

/* Starts a non-blocking connect. done runs once, never before this returns: with a paused stream, or NULL and the
 * fault. Returns NULL with *e set when it could not even start (done will not run). */
struct sock_connect;
typedef void sock_connect_cb(void *arg, struct stream *s, const struct err *e);
struct sock_connect *sock_connect(struct loop *l, const struct sockaddr *addr, socklen_t len, sock_connect_cb *done, void *arg,
                                  struct err *e) MUST_CHECK;
/* done will not run any more. NULL is fine; call it at most once, and not from done. */
void sock_connect_cancel(struct sock_connect *c);

struct listener;
struct listener_events {
    /* Takes s. */
    void (*on_accept)(void *owner, struct stream *s);
    /* Whether one more connection is welcome; when not, accepting pauses until listener_resume or 100 ms. May be NULL. */
    bool (*can_accept)(void *owner);
};

/* Binds and returns the listening socket, or -1. share: SO_REUSEPORT, so that each worker has its own queue. */
int listen_socket(const struct sockaddr *addr, socklen_t len, bool share, int backlog, struct err *e);
/* Accepts on fd (taken on success). When descriptors or memory run out accepting pauses for 100 ms: no busy loop. */
struct listener *listener_new(struct loop *l, int fd, const struct listener_events *on, void *owner, struct err *e) MUST_CHECK;
void listener_close(struct listener *n);

#endif
