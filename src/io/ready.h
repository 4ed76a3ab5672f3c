/* io/ready.h - for dialers whose stream is there at once: who dialled still hears of it only after the call has returned. */
#ifndef DROVER_IO_READY_H
#define DROVER_IO_READY_H

#include "io/dialer.h"

/* Takes s, also on failure; shares d. What a dialer_ops.dial may return. */
struct dial *dial_ready(struct dialer *d, struct loop *l, struct stream *s, dial_cb *done, void *arg, struct err *e) MUST_CHECK;
/* For dialer_ops.cancel. */
void dial_ready_cancel(struct dial *a);

#endif
