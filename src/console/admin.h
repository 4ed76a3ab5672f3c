/* console/admin.h - the admin API under /drover/v1 and the console's pages, served on the control loop.
 *
 * Two ways lead in: the daemon's UNIX socket, and whoever may open it may do everything; and the door (console/door.h), through which
 * the workers send what comes to their listeners: there each row of the table of routes asks for a role. The table is held against
 * docs/openapi.yaml by a test. Control thread only. */
#ifndef DROVER_CONSOLE_ADMIN_H
#define DROVER_CONSOLE_ADMIN_H

#include "access/mode.h"
#include "access/people.h"
#include "config/config.h"
#include "fleet/fleet.h"
#include "gateway/gateway.h"
#include "hub/member.h"
#include "telemetry/metrics.h"

struct gateway_report;

/* What the API shows and does; borrowed while the admin server lives. */
struct admin_house {
    struct fleet *fleet;
    struct metrics *metrics;
    struct access *access;
    struct people *people;
    struct mode *mode;
    struct store *store;
    struct ledger *ledger;
    struct hub *hub;                 /* NULL: this daemon accepts no nodes */
    struct config *const *config;    /* the settings in force: the pointer is read at each request */
    uint64_t started_ms;             /* wall clock */
    const char *const *addresses;    /* what is listened on, for people; NULL-terminated */
    /* The workers: how many there are; sends a report to the i-th (app/worker.h); tells all of them a word about a request. */
    unsigned (*n_workers)(void *owner);
    bool (*report)(void *owner, unsigned i, struct gateway_report *r);
    void (*stop)(void *owner, struct sv id);
    void (*stop_key)(void *owner, struct sv key);
    void (*see)(void *owner, struct sv id, bool on);
    _Atomic bool *watched;           /* of struct gateway_shared */
    struct member *member;           /* NULL: not yet */
    const struct config_source *source; /* where the settings come from */
    /* Reads the configuration again; false with *e set when the new one is refused. */
    bool (*reload)(void *owner, struct err *e);
    void *owner;
};

struct admin;
/* Listens on a UNIX socket at path (0660, replaces a stale one). Returns owned (admin_free). */
struct admin *admin_new(struct loop *l, const struct admin_house *house, struct sv path, struct err *e) MUST_CHECK;
void admin_free(struct admin *a);
/* Through which workers reach it; borrowed until admin_free. */
struct dialer *admin_door(struct admin *a);
/* Who visits which node (console/visits.h); borrowed likewise. */
struct visits *admin_visits(struct admin *a);

/* What has changed, for the pages that follow: the fleet's snapshot; keys, people, the mode, the settings. */
void admin_fleet_changed(struct admin *a, struct snapshot *s);
/* Something happened to a node: an object as struct hub_house's on_event gives it. */
void admin_node_event(struct admin *a, struct sv json);
enum admin_change { ADMIN_KEYS, ADMIN_USERS, ADMIN_MODE, ADMIN_CONFIG };
void admin_changed(struct admin *a, enum admin_change what);

/* The routes, for the test of docs/openapi.yaml: "PUT /drover/v1/keys/{id} admin fresh key" and so on; NULL past the last. */
const char *admin_route_at(unsigned i);

#endif
