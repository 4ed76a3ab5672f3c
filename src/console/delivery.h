/* console/delivery.h - private to console: alerts on their way out of the house, to a webhook and to a command (docs/alerts.md).
 *
 * Each of the two has an outbox of its own, bounded: when it is full the oldest message goes and the log says which. Nothing of it ever
 * holds up an alert in the console. Control thread only. Life: delivery_new -> delivery_set -> delivery_tell... -> delivery_free. */
#ifndef DROVER_CONSOLE_DELIVERY_H
#define DROVER_CONSOLE_DELIVERY_H

#include "base/buf.h"
#include "config/config.h"
#include "io/loop.h"

struct delivery;

struct delivery *delivery_new(struct loop *l, struct err *e) MUST_CHECK;
/* New settings, in force for what waits and for what comes. Shares c. False: the webhook cannot be used, and is told nothing until there
 * are others. */
bool delivery_set(struct delivery *d, struct config *c, struct err *e);
/* Something to tell whoever is set. Copies; id is for the log. */
void delivery_tell(struct delivery *d, const char *id, bool is_raised, struct sv json);
/* {"webhook":{...},"command":{...}}, those that are set. */
void delivery_print(const struct delivery *d, struct buf *out);
/* Ends what is under way: the command is killed. NULL is fine. */
void delivery_free(struct delivery *d);

#endif
