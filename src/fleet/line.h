/* fleet/line.h - private to fleet: who is next of those that wait at one place.
 *
 * Start-time fair queueing (Goyal, Vin, Cheng, 1996) with requests as packets. Each seat has a start tag: the line's virtual time
 * when it was taken, or where its principal's seat before it ends, whichever is later; a seat ends a cost after its start. The
 * lowest tag is next, among equals the one that came first, and virtual time moves on to the tag of whoever is granted. So each
 * principal gets a share in proportion to 1 / cost, however many requests it sends; one that was idle starts at the present
 * and hoards nothing.
 *
 * An engine: no clock, no lock; whoever shares a line between threads (queue.c) brings both. */
#ifndef DROVER_FLEET_LINE_H
#define DROVER_FLEET_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/mem.h"

enum {
    LINE_COST = 1 << 20,  /* of a request of priority 0, in units of virtual time: with 16 times as much 2^40 grants fit */
    LINE_IDLE_MAX = 256,  /* principals that are remembered though none of theirs wait, because their turn is not yet over */
};

/* One that waits. */
struct seat {
    struct list in_line;
    struct flow *flow;      /* its principal's share; NULL: not in a line */
    uint64_t start;
    uint32_t cost;
    unsigned place;         /* 1: next; as of the last line_place */
};

struct line {
    struct list seats;      /* of struct seat, by start, then by arrival */
    struct list flows;
    uint64_t now;           /* virtual */
    unsigned n, n_idle;
    bool is_counted;        /* the seats' places are right */
    uint64_t pace_us;       /* mean time from one grant to the next; 0: not measured */
};

void line_init(struct line *l);
/* Every seat has left. */
void line_deinit(struct line *l);

/* Takes a seat for one of who's requests. False: memory is out, and it has none. */
bool line_enter(struct line *l, struct seat *s, uint64_t who, uint32_t cost) MUST_CHECK;
/* It got what it waited for: its principal pays. */
void line_grant(struct line *l, struct seat *s);
/* It gave up. Those of its principal behind it move up by one turn each: who has left pays nothing. */
void line_leave(struct line *l, struct seat *s);
/* NULL: nobody waits. */
struct seat *line_first(const struct line *l);
unsigned line_place(struct line *l, struct seat *s);
/* It took so long until there was room for the next one. */
void line_moved(struct line *l, uint64_t took_us);

#endif
