/* gateway/gateway.h - the data plane: one per worker, fed with requests by the worker's HTTP server.
 *
 * A request's life is a struct exchange (exchange.h): admit -> read -> resolve -> (park) -> forward -> relay -> account.
 * Settings and fleet reach a gateway as immutable snapshots; nothing here queries or formats logs on the way, or locks but where
 * requests wait in line. Life: gateway_new -> gateway_config, gateway_snapshot -> gateway_request... -> gateway_free. Worker's thread only. */
#ifndef DROVER_GATEWAY_GATEWAY_H
#define DROVER_GATEWAY_GATEWAY_H

#include "access/access.h"
#include "access/people.h"
#include "config/config.h"
#include "fleet/fleet.h"
#include "http/server.h"
#include "telemetry/export.h"
#include "telemetry/ledger.h"
#include "telemetry/metrics.h"

struct gateway;

/* The few numbers all gateways of the process share. */
struct gateway_shared {
    _Atomic uint64_t buffered;  /* bytes of request bodies held */
    _Atomic unsigned streams;   /* exchanges under way */
    _Atomic unsigned from_hub;  /* those of them that our hub asked for, over the link */
    struct metrics *metrics;
    struct ledger *ledger;      /* NULL: nothing is recorded */
    struct export *export;      /* NULL: there is no way out for traces */
    uint64_t started_ms;        /* wall clock */
    struct access_guard guard;  /* against guessing keys */
    struct access_refusals *refusals; /* NULL: nothing is noted */
    _Atomic bool watched;       /* ended requests are kept for the next report (gateway/watch.h) */
};

/* What a listener allows; the tag of its connections. */
struct gateway_listener {
    struct config_list names;   /* accepted in Host besides loopback names and the address itself */
    struct sv address;          /* host part of the bound address, "127.0.0.1" or "[::1]" */
    bool is_unix;
    bool is_any;                /* bound to all addresses of the machine */
    bool needs_key;             /* else whoever reaches it may use the models */
    bool no_console;            /* only the models: it stands in for another program's port */
    bool no_gateway;            /* no models */
    bool has_links;             /* nodes join and link here */
    bool is_link; /* streams of the link to our hub, which says for whom it asks; surface.c has its rules */
    bool may_infer, may_manage; /* of a link: join.allow.inference, join.allow.models */
    int console;                /* of a link: enum config_reach, join.allow.console */
};

/* What a hub adds to a request that it sends over a link; of anybody else these are never believed. */
#define GATEWAY_HOPS "drover-hops"           /* how many links it has come over */
#define GATEWAY_PRINCIPAL "drover-principal" /* for whom */
#define GATEWAY_VISIT "drover-visit"         /* somebody there visits the console: "viewer", "operator" or "admin", "admin fresh" */

/* Somebody at our hub who visits the console here, with no more rights than join.allow.console gives. */
struct gateway_visitor {
    enum access_role role;
    bool is_fresh; /* the passphrase was given at the hub within the last minutes */
    struct sv who; /* "hub:ALICE", in the request's arena */
};

struct gateway *gateway_new(struct loop *l, struct gateway_shared *shared, struct metrics_shard *metrics, struct config *c,
                            struct err *e) MUST_CHECK;
/* Shares. New exchanges use it; those under way finish with what they began with. */
void gateway_config(struct gateway *g, struct config *c);
void gateway_snapshot(struct gateway *g, struct snapshot *s);
void gateway_access(struct gateway *g, struct access_snapshot *s);
/* Ends every exchange whose key has this cell. */
void gateway_revoke(struct gateway *g, const struct access_cell *cell);
/* Whether a request comes from where it should: its Host is one of ours and no other site's page has sent it. Else it is answered. */
bool gateway_admits(struct gateway *g, struct http_in *in);
/* The same for what may come from the page of a node that is visited, which has no origin ("null"). */
bool gateway_admits_visit(struct gateway *g, struct http_in *in);
/* Whether it is a visitor's. Only what gateway_admits has let through. */
bool gateway_visitor(struct http_in *in, struct gateway_visitor *ret);
/* Handles one request; in->tag is a struct gateway_listener. */
void gateway_request(struct gateway *g, struct http_in *in);
/* The body for a request that could not even be read, in the envelope its path suggests. */
void gateway_bad(struct sv path, const struct err *e, struct buf *out, struct sv *ret_type);
/* After the HTTP server is gone: every exchange has ended. */
void gateway_free(struct gateway *g);

#endif
