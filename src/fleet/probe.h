/* fleet/probe.h - private to fleet: one question to a server, one answer, bounded in time and size.
 *
 * Life: probe_start -> done, once, never before probe_start has returned; or probe_cancel. Everything of a probe lives in
 * its own arena. Control loop only. */
#ifndef DROVER_FLEET_PROBE_H
#define DROVER_FLEET_PROBE_H

#include "base/json.h"
#include "http/client.h"

enum {
    PROBE_BODY_MAX = 256 << 10, /* bytes of an ordinary reply */
    PROBE_LIST_MAX = 4 << 20,   /* of a list of models: some 10,000 entries */
    PROBE_CONNECT_MS = 2000,
    PROBE_READ_MS = 3000,       /* without a byte */
    PROBE_TOTAL_MS = 6000,      /* for those who drip */
};

/* Where to ask. The views are borrowed while a probe runs. */
struct probe_place {
    struct http_client *client;
    struct dialer *dialer;
    struct sv host, base_path;
    struct sv auth;       /* value for Authorization, or empty; secret */
    uint32_t connect_ms;  /* 0: PROBE_CONNECT_MS */
};

struct probe_reply {
    int status;           /* 0: no whole reply came, and fault says why */
    unsigned minor;       /* HTTP/1.minor */
    struct sv server, type;
    struct sv body;
    yyjson_val *json;     /* the body's root, or NULL */
    bool cut;             /* the body is longer than was allowed */
    bool connected;       /* a connection stood, whatever came of it */
    const struct err *fault;
};

struct probe;
typedef void probe_cb(void *arg, const struct probe_reply *r); /* borrows r; the probe is gone afterwards */

/* GET of path, or POST when body is not empty (copied; only for reads that take their question in a body). NULL with *e set
 * when nothing could be started: done does not run then. */
struct probe *probe_start(struct loop *l, const struct probe_place *at, struct sv path, struct sv body, size_t reply_max,
                          probe_cb *done, void *arg, struct err *e) MUST_CHECK;
/* done will not run. NULL is fine. */
void probe_cancel(struct probe *p);

#endif
