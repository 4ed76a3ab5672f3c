/* io/pair.h - two streams in memory, each the other's peer. For tests and for serving a built-in endpoint without a
 * socket. Bytes written on one side arrive on the other at the end of the turn. Loop thread only. */
#ifndef DROVER_IO_PAIR_H
#define DROVER_IO_PAIR_H

#include "io/stream.h"

bool stream_pair(struct loop *l, struct stream **ret_a, struct stream **ret_b, struct err *e) MUST_CHECK;

/* A dialer whose every dial makes a pair and hands one side to on_accept (on the dialling loop, at the end of the turn). */
struct dialer;
struct dialer *dialer_pair(void (*on_accept)(void *owner, struct stream *s), void *owner, struct err *e) MUST_CHECK;

#endif
