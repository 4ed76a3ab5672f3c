/* app/again.h - the same program takes this process over, as `drover serve` with the same settings.
 *
 * Not an end that a supervisor makes good: there may be none, and those that do not count a clean end as a failure would leave the machine
 * without its daemon. The program is the one that runs, also when its file was replaced meanwhile: what a hub may ask for is a start anew,
 * not an upgrade. */
#ifndef DROVER_APP_AGAIN_H
#define DROVER_APP_AGAIN_H

#include "app/daemon.h"

/* After everything was taken down. Returns, with an exit code, only when it could not. */
int again_run(const struct daemon_options *o);

#endif
