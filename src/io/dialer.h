/* io/dialer.h - turns an address into a stream; how a place is reached is only a choice of dialer.
 *
 * A dialer is immutable and counted: any thread may hold and use it. TCP (name or literal), TLS over it, UNIX sockets, and
 * in tests an in-memory peer; links, tunnels and hubs will add theirs by filling struct dialer_ops. */
#ifndef DROVER_IO_DIALER_H
#define DROVER_IO_DIALER_H

#include <stdatomic.h>

#include "io/stream.h"
#include "io/tls.h"

struct dialer;
struct dial; /* one attempt under way */
typedef void dial_cb(void *arg, struct stream *s, const struct err *e);

struct dialer_ops {
    struct dial *(*dial)(struct dialer *d, struct loop *l, uint64_t timeout_ms, dial_cb *done, void *arg, struct err *e);
    void (*cancel)(struct dial *a);
    void (*free)(struct dialer *d);
};

struct dialer {
    const struct dialer_ops *ops;
    _Atomic unsigned refs;
};

/* host: a name, an IPv4 or an IPv6 literal without brackets. Shares tls (NULL = plain). Copies host. */
struct dialer *dialer_tcp(struct sv host, uint16_t port, struct tls_context *tls, struct err *e) MUST_CHECK;
struct dialer *dialer_unix(struct sv path, struct err *e) MUST_CHECK;
struct dialer *dialer_ref(struct dialer *d);
struct dialer *dialer_unref(struct dialer *d);

/* done runs once on l's thread, never before this returns, with a paused stream or NULL and the fault (ERR_TIMEOUT after
 * timeout_ms). NULL with *e set when nothing could be started: then done does not run. */
static inline struct dial *dialer_dial(struct dialer *d, struct loop *l, uint64_t timeout_ms, dial_cb *done, void *arg,
                                       struct err *e) {
    return d->ops->dial(d, l, timeout_ms, done, arg, e);
}
/* done will not run. Not from done. */
static inline void dialer_cancel(struct dialer *d, struct dial *a) {
    d->ops->cancel(a);
}

#endif
