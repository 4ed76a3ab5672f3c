/* console/live.h - private to console: what goes on now, as the workers report it, and the last quarter of an hour.
 *
 * While somebody watches, each worker is asked twice a second; while nobody does, nothing is asked and the workers keep nothing. */
#ifndef DROVER_CONSOLE_LIVE_H
#define DROVER_CONSOLE_LIVE_H

#include "console/request.h"
#include "gateway/watch.h"

struct live;

struct live_events {
    void (*on_live)(void *owner, struct sv json);                      /* all workers have told: {"at_ms":...,"requests":[...]} */
    void (*on_figures)(void *owner, struct sv json);                   /* a second has passed: one point of the history */
    void (*on_seen)(void *owner, const struct live_seen *s);           /* bytes of a request that somebody watches */
};

struct live *live_new(struct admin *a, const struct live_events *on, void *owner) MUST_CHECK;
/* Reports that are still under way come home to nobody. */
void live_free(struct live *v);
struct history;
const struct history *live_history(const struct live *v);
/* One more who watches, or (-1) one less. */
void live_watch(struct live *v, int by);

#endif
