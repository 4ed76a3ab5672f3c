/* http/census.h - who is connected: counts over all workers, for the limits that hold for the whole process.
 *
 * A connection is let in by census_enter and let go by census_leave. A lock is taken once for each, never for a request. An
 * address stays known after its last connection until its allowance of new ones has filled up again. Any thread. */
#ifndef DROVER_HTTP_CENSUS_H
#define DROVER_HTTP_CENSUS_H

#include "base/err.h"
#include "base/sv.h"

struct census;
struct census_entry; /* one address */

struct census_limits {
    unsigned connections;                /* all addresses together */
    unsigned per_address, per_loopback;  /* of one address */
    unsigned new_per_s, new_burst;       /* new connections of one address */
    unsigned new_loopback_per_s, new_loopback_burst;
};

struct census *census_new(struct err *e) MUST_CHECK;
void census_free(struct census *c); /* after the last leave */
void census_set(struct census *c, const struct census_limits *limits);

/* Whether one more connection would be welcome, whoever it is. */
bool census_has_room(struct census *c);
/* NULL: turned away by *ret_limit, or, with LIMIT_NONE, memory is out. */
struct census_entry *census_enter(struct census *c, struct sv peer, uint64_t now_us, enum err_limit *ret_limit);
void census_leave(struct census *c, struct census_entry *a, uint64_t now_us);
/* Connections in all. */
unsigned census_count(struct census *c);

#endif
