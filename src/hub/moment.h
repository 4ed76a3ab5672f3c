/* hub/moment.h - private to hub: moments as the link has them, "2026-11-21T05:06:07.089Z" (docs/protocol.md, "Values in the tables"). */
#ifndef DROVER_HUB_MOMENT_H
#define DROVER_HUB_MOMENT_H

#include <stdint.h>

#include "base/sv.h"

/* Milliseconds since 1970; negative: no such moment. */
int64_t moment_ms(struct sv text);

#endif
