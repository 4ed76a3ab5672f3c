/* app/worker.h - one thread of the data plane: a loop, an HTTP server, a gateway, and its own accept queues.
 *
 * Life: worker_start -> worker_snapshot, worker_config (any number) -> worker_drain -> worker_join. All functions are called
 * by the control thread; what they hand over travels as messages. */
#ifndef DROVER_APP_WORKER_H
#define DROVER_APP_WORKER_H

#include "app/demo.h"
#include "gateway/gateway.h"
#include "gateway/watch.h"
#include "hub/berth.h"
#include "hub/caller.h"

struct worker;

/* What a worker listens on: one socket of its own per address, and what holds for its connections. */
struct worker_port {
    int fd;                           /* taken */
    struct gateway_listener listener; /* views borrowed until the worker ends */
    struct tls_context *tls;          /* shared; NULL = plain */
    bool by_ca;                       /* tls is of the fleet's authority, for ask, and will be renewed (worker_tls) */
    int ask;                          /* enum config_client_cert */
};

/* What a worker is given: the same for all but its number; borrowed until it ends. */
struct worker_house {
    struct gateway_shared *shared;
    struct census *census;
    struct demo *demo;
    struct dialer *door;              /* to the console */
    struct hub *hub;                  /* NULL: no nodes */
    struct visits *visits;            /* of nodes' consoles */
    struct loop *control;
    unsigned number;                  /* of this worker */
};
/* Shares the settings and the keys. */
struct worker *worker_start(const struct worker_house *house, struct metrics_shard *metrics, struct config *c, struct access_snapshot *access,
                            const struct worker_port *ports, size_t n_ports, struct err *e) MUST_CHECK;
void worker_snapshot(struct worker *w, struct snapshot *s); /* shares */
void worker_config(struct worker *w, struct config *c);     /* shares */
void worker_access(struct worker *w, struct access_snapshot *s); /* shares */
/* New connections of the listeners that ask for client certificates so get this one; shares it. */
void worker_tls(struct worker *w, int ask, struct tls_context *tls);
/* Ends the exchanges of a key; shares its cell. */
void worker_revoke(struct worker *w, struct access_cell *cell);
/* Sends r there; it comes back to r->home, filled, and r->msg.deliver runs. False: it did not go, and stays the caller's. */
bool worker_report(struct worker *w, struct gateway_report *r) MUST_CHECK;
/* A word about the request of that x-request-id, if it is this worker's; about all of a key; STOP_HUB: about all that our hub asked for,
 * without an id. */
enum worker_word { WORKER_STOP, WORKER_STOP_KEY, WORKER_STOP_HUB, WORKER_SEE, WORKER_UNSEE };
void worker_tell(struct worker *w, enum worker_word word, struct sv id);
/* Where lanes of the link to our hub land; borrowed until worker_join. */
struct berth *worker_berth(struct worker *w);
/* Who calls the nodes of our fleet that want it; borrowed likewise. NULL: no nodes. */
struct caller *worker_caller(struct worker *w);
/* Stops accepting and ends what is idle; on_empty runs on the worker's thread when the last connection is gone. */
void worker_drain(struct worker *w, void (*on_empty)(void *arg), void *arg);
/* Cuts what is left, ends the thread and frees everything. */
void worker_join(struct worker *w);

#endif
