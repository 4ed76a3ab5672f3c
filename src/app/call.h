/* app/call.h - the command line's side of the admin socket: one call, waited for. */
#ifndef DROVER_APP_CALL_H
#define DROVER_APP_CALL_H

#include "base/buf.h"
#include "base/err.h"

/* Sends one request over the UNIX socket; version goes into If-Match unless it is empty. Body bytes go to on_body as they come (arg is passed on); returns the status, or
 * 0 with *e set: ERR_IO when no daemon answers. */
int call_admin(struct sv socket, struct sv method, struct sv target, struct sv version, struct sv body,
               void (*on_body)(void *arg, struct sv bytes),
               void *arg, struct err *e);

#endif
