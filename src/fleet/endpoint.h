/* fleet/endpoint.h - private to fleet: one place where a runtime is, or should be, and the watch over it.
 *
 * Life: endpoint_new -> endpoint_watch (looks again and again) -> endpoint_free. How it was found does not matter afterwards.
 * Control loop only; only the cell is shared with others. */
#ifndef DROVER_FLEET_ENDPOINT_H
#define DROVER_FLEET_ENDPOINT_H

#include "base/list.h"
#include "fleet/breaker.h"
#include "fleet/health.h"
#include "fleet/runtime.h"

enum {
    ENDPOINT_LOOK_MS = 10000,     /* between looks, give or take a fifth */
    ENDPOINT_SOON_MS = 1000,      /* while it loads, and after one failure */
    ENDPOINT_BACK_MS = 2000,      /* when it went down less than ENDPOINT_HOPE_MS ago: restarts are short */
    ENDPOINT_HOPE_MS = 120000,
    ENDPOINT_KIND_MS = 600000,    /* a fingerprint is good for so long */
};

struct endpoint;

/* What the place needs of its surroundings; borrowed for its life. */
struct endpoint_home {
    struct loop *loop;
    struct http_client *client;
    /* Something that a snapshot shows has changed, or the first look is over. */
    void (*on_change)(void *owner, struct endpoint *p);
    void *owner;
};

/* Where it is. All views are copied. */
struct endpoint_place {
    struct sv name, url;
    int kind;               /* CONFIG_KIND_AUTO: find out */
    struct sv key;          /* secret; empty: none */
    struct sv ca;
    bool insecure;
    struct dialer *dialer;  /* shared; NULL: made from url */
    bool fed;               /* it tells of itself (endpoint_feed); nothing is asked there */
};

struct endpoint {
    struct list in_fleet;
    const struct endpoint_home *home;

    /* Identity; fixed. */
    char *name, *url;
    char *host, *base_path;
    char *auth;             /* "Bearer ..."; wiped at the end */
    char *ca;
    bool insecure;
    int kind;
    struct dialer *dialer;
    bool local;

    /* The owner's. */
    const struct config_endpoint *settings; /* NULL: found by discovery, or built in */
    bool found, demo, fed;
    bool listed;            /* a mark for those who sweep */

    /* What is known. */
    const struct runtime *rt; /* NULL: not recognised yet */
    uint64_t rt_since_ms;
    struct look *facts;     /* the last look that brought a list; NULL: none yet */
    struct look_notes notes;
    struct health health;
    char reason[LOOK_REASON_MAX];
    uint64_t since_ms;      /* wall clock, of the state */
    uint64_t alive_ms;      /* when it last answered anything; loop time */
    bool wants_key;
    unsigned n_looks;

    struct cell *cell;
    struct breaker breaker;
    uint64_t seen_ok;       /* at the start of the last look */
    uint32_t seen_row;

    struct look *look;      /* under way */
    uint64_t look_ms;       /* when the last one began */
    struct timer next;
};

/* Where a configured one is; views are borrowed from it. */
struct endpoint_place endpoint_place_of(const struct config_endpoint *s);
/* Returns owned (endpoint_free), or NULL with *e set. Makes no connection yet. */
struct endpoint *endpoint_new(const struct endpoint_home *home, const struct endpoint_place *at, struct err *e) MUST_CHECK;
/* Looks soon, and from then on regularly. */
void endpoint_watch(struct endpoint *p);
/* Looks now, if it is not just looking. again: with a new fingerprint. */
void endpoint_look(struct endpoint *p, bool again);
/* What a fed place tells, in place of a look. False: memory is out, nothing changed. */
bool endpoint_feed(struct endpoint *p, const struct fleet_fed *fed) MUST_CHECK;
/* Moves the breaker. True when there was any outcome, or it is not closed: then tick again soon. */
bool endpoint_tick(struct endpoint *p, uint64_t now_ms);
bool endpoint_is(const struct endpoint *p, const struct endpoint_place *at);
/* Fills what belongs to the place itself; views are borrowed from it. Models are not filtered. */
void endpoint_show(const struct endpoint *p, struct fleet_endpoint *out);
void endpoint_free(struct endpoint *p);

/* fleet.c: the surroundings of the fleet's own. */
const struct endpoint_home *fleet__home(const struct fleet *f);

#endif
