/* io/given.h - a dialer for one connection that is there already: somebody called us, and from here on it is as if we had dialled. */
#ifndef DROVER_IO_GIVEN_H
#define DROVER_IO_GIVEN_H

#include "io/dialer.h"

/* The first dial, on whichever loop, gets this socket with TLS over it, of which this side is the client; those that follow get ERR_IO. The
 * context says whom to verify. Takes fd (connected, non-blocking), also on failure, and closes it when nobody dials. Shares tls. */
struct dialer *dialer_given(int fd, struct tls_context *tls, struct err *e) MUST_CHECK;

#endif
