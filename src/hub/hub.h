/* hub/hub.h - the fleet this hub is for: who belongs to it, how they join, and the links they keep.
 *
 * A hub lives on the control loop; workers hand it the links that reach their listeners (gate.h). Nodes become places of the fleet's
 * snapshot (fleet_feed) for as long as their links are up. Life: hub_new -> everything else -> hub_drain -> hub_stop -> hub_free.
 * Control loop only. */
#ifndef DROVER_HUB_HUB_H
#define DROVER_HUB_HUB_H

#include "access/access.h"
#include "config/config.h"
#include "fleet/fleet.h"
#include "link/link.h"
#include "store/store.h"

enum {
    HUB_NAME_MAX = 64,
    HUB_EVENTS_KEPT = 200,      /* per node, of its link's history */
    HUB_RENEW_GRACE_S = 30 * 86400, /* after the end of its certificate a node may still renew it */
};

enum node_state { NODE_WAITING, NODE_APPROVED, NODE_REFUSED, NODE_REVOKED };
const char *node_state_name(enum node_state s);
/* Letters, digits, '.', '_' and '-', the first of them a letter or a digit: names stand in paths and on command lines. */
bool hub_name_is_good(struct sv v);
#define HUB_NAME_RULE "a node's name is 1 to %d letters, digits, '.', '_' or '-', and begins with a letter or a digit"

struct hub;
struct way;
struct caller;

struct hub_house {
    struct loop *loop;
    struct store *store;
    struct fleet *fleet;
    struct config *const *config;
    const char *version;
    /* Where nodes reach this hub, when hub.urls does not say: filled in before the first invite. NULL-terminated. */
    const char *const *urls;
    /* Workers' callers, in turn; NULL: nodes of the mode direct are not called. */
    struct caller *(*caller)(void *owner, unsigned turn);
    void (*on_tls)(void *owner);  /* the listeners' contexts are others now (hub_tls) */
    /* Something happened to a node: for those who follow. detail: JSON object. */
    void (*on_event)(void *owner, const char *what, struct sv detail);
    void *owner;
};

/* Borrows house. Makes the fleet's authority where there is none. */
struct hub *hub_new(const struct hub_house *house, struct err *e) MUST_CHECK;
/* Says goodbye to all nodes and takes no more; streams that run may finish. NULL is fine, as for the next two. */
void hub_drain(struct hub *h);
/* Cuts the links; nothing happens any more. After the workers have ended. */
void hub_stop(struct hub *h);
/* After the loop has ended. */
void hub_free(struct hub *h);
/* For a listener with tls: ca that asks for client certificates so. Borrowed until on_tls. */
struct tls_context *hub_tls(struct hub *h, int client_cert);

/* --- joining ------------------------------------------------------------------------------------------------------------------------------ */

/* All that follow: done comes once, on the loop, never before the call has returned; false with *e set: it will not come. */
typedef void hub_done(void *arg, struct sv json, const struct err *e); /* json: the answer's body, borrowed; e NULL: it is so */

/* name: what the node shall be called, or empty. node: the id or name of one that is known and comes back with a new key; its record stays, the old
 * key is out. ttl_ms 0: hub.invite_ttl. The answer holds the line, this once. */
bool hub_invite(struct hub *h, struct sv name, struct sv node, uint64_t ttl_ms, const struct access_actor *by,
                hub_done *done, void *arg, struct err *e);
void hub_invites(struct hub *h, struct buf *out); /* those still open: a JSON array */
bool hub_invite_void(struct hub *h, struct sv id, const struct access_actor *by, hub_done *done, void *arg, struct err *e);

struct hub_enrolment { /* all borrowed during the call */
    struct sv csr, token, name, version, hostname, os, arch, mode, url;
    struct sv peer;
};
/* The answer's body is that of docs/protocol.md, "Enrolment". *ret_status: 200, or 202 while somebody has to approve. */
typedef void hub_enrolled(void *arg, int status, struct sv json, const struct err *e);
bool hub_enrol(struct hub *h, const struct hub_enrolment *in, hub_enrolled *done, void *arg, struct err *e);
struct hub_renewal {
    struct sv csr, node_id, bearer, spki; /* spki: hex, of the client certificate; empty: there was none */
    struct sv mode, url;                  /* as in an enrolment; mode empty: as it was */
    struct sv peer;
};
bool hub_renew(struct hub *h, const struct hub_renewal *in, hub_enrolled *done, void *arg, struct err *e);

/* --- certificates (certs.c, rotation.c) ------------------------------------------------------------------------------------------------------ */

void hub_certs(struct hub *h,
               struct buf *out); /* members of a JSON object: roots, the hub's, the nodes', the rotation */
/* What of them: one node's (id or name), every node's, or the hub's own. */
enum hub_renewed { HUB_RENEW_NODE, HUB_RENEW_ALL, HUB_RENEW_OWN };
bool hub_certs_renew(struct hub *h, enum hub_renewed what, struct sv node, const struct access_actor *by,
                     hub_done *done, void *arg, struct err *e);
/* Begins to replace the root. ERR_EXISTS: that is under way. */
bool hub_rotate(struct hub *h, bool is_emergency, const struct access_actor *by, hub_done *done, void *arg,
                struct err *e);
/* Undoes it; ERR_EXISTS: it is too late. */
bool hub_rotate_back(struct hub *h, const struct access_actor *by, hub_done *done, void *arg, struct err *e);
/* Does not wait for a node (id or name), or, when that is empty, for all it waits for now, open invitations too. */
bool hub_rotate_skip(struct hub *h, struct sv node, const struct access_actor *by, hub_done *done, void *arg,
                     struct err *e);
/* PEM of what others may want: the roots, or the hub's chain. */
enum hub_pem { HUB_PEM_TRUST, HUB_PEM_CHAIN };
struct sv hub_pem(struct hub *h, enum hub_pem what);
/* A list of what the issuing authority signed and is good no more, for a day; {"pem":...}. ERR_UNAVAILABLE where its key is elsewhere. */
bool hub_crl(struct hub *h, hub_done *done, void *arg, struct err *e);

/* With hub.ca: apart, what waits to be signed (members of a JSON object), and bringing what was: a chain, leaf first. */
void hub_inbox(struct hub *h, struct buf *out);
bool hub_inbox_sign(struct hub *h, struct sv id, struct sv chain, const struct access_actor *by, hub_done *done,
                    void *arg, struct err *e);

/* --- nodes -------------------------------------------------------------------------------------------------------------------------------- */

enum node_act { NODE_APPROVE, NODE_REFUSE, NODE_RENAME, NODE_LABEL, NODE_DRAIN, NODE_RESUME, NODE_REVOKE, NODE_REMOVE };
/* id: a node's id or name; text: the new name, or the labels as a JSON object. ERR_NOT_FOUND, ERR_EXISTS (the name is taken, or the act does
 * not fit the state it is in). */
bool hub_act(struct hub *h, enum node_act act, struct sv id, struct sv text, const struct access_actor *by, hub_done *done, void *arg, struct err *e);
/* A JSON array of all nodes; one of them; its link's history. False: there is none of that name. */
void hub_nodes(struct hub *h, struct buf *out);
bool hub_node(struct hub *h, struct sv id, struct buf *out);
bool hub_history(struct hub *h, struct sv id, hub_done *done, void *arg, struct err *e);

/* --- directives ---------------------------------------------------------------------------------------------------------------------------- */

/* What a node is asked to do: docs/protocol.md, "Directives". All borrowed during the call. */
struct hub_order {
    struct sv op, args, reason;      /* args: a JSON object, or empty */
    struct sv agent;                 /* a leaf of the node, whose it is; empty: the node's own */
    uint64_t expires_ms, timeout_ms; /* it must begin within, and end within then; 0: the usual */
};
/* The answer is the directive as it stands, which is on the disk then. ERR_NOT_FOUND: no such node; ERR_EXISTS: the node is not let in;
 * ERR_BAD_REQUEST: op or args; ERR_LIMIT: too many are not over. */
bool hub_order(struct hub *h, struct sv node, const struct hub_order *in, const struct access_actor *by, hub_done *done, void *arg, struct err *e);
/* One that was not sent ends at once; else the answer is the directive that asks the node to cancel it. */
bool hub_order_cancel(struct hub *h, struct sv id, const struct access_actor *by, hub_done *done, void *arg, struct err *e);
/* One; a JSON array of those of a node, the newest first. */
bool hub_directive(struct hub *h, struct sv id, hub_done *done, void *arg, struct err *e);
bool hub_directives(struct hub *h, struct sv node, hub_done *done, void *arg, struct err *e);

/* --- visits -------------------------------------------------------------------------------------------------------------------------------- */

/* How a node is reached, for those who visit its console. False: ERR_NOT_FOUND, there is none of that name that was let in;
 * ERR_UNAVAILABLE, it has no link. */
struct hub_reach {
    struct sv id, name; /* borrowed until this returns to the loop */
    struct way *way;    /* borrowed likewise */
    int console;        /* enum config_reach, as the node told; off when it said nothing */
};
bool hub_reach(struct hub *h, struct sv id, struct hub_reach *ret, struct err *e) MUST_CHECK;

/* --- what is wrong, and how it is ----------------------------------------------------------------------------------------------------------- */

/* What is not as it should be with the fleet, or with one of its nodes, as far as this hub can see; never a secret. */
struct hub_finding {
    const char *code, *severity; /* "link_down"; "error", "warning" or "info" */
    struct sv what, where, cure; /* borrowed during the call */
    struct sv node;              /* its name; empty: it is the hub's own */
};
typedef void hub_found(void *arg, const struct hub_finding *f);
void hub_doctor(struct hub *h, hub_found *found, void *arg);
/* False: there is none of that name. */
bool hub_doctor_node(struct hub *h, struct sv id, hub_found *found, void *arg);
void hub_status(struct hub *h, struct buf *out); /* members of a JSON object: fleet, certificate ends, counts */

#endif
