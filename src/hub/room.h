/* hub/room.h - private to hub: what its files share. */
#ifndef DROVER_HUB_ROOM_H
#define DROVER_HUB_ROOM_H

#include "hub/authority.h"
#include "hub/gate.h"
#include "hub/hub.h"
#include "hub/order.h"
#include "hub/roster.h"

struct invite {
    struct list all;
    char id[17], name[HUB_NAME_MAX + 1];
    unsigned char hash[PKI_TOKEN];
    uint64_t created_ms, expires_ms;
    char spki[65]; /* of who used it; empty: nobody yet */
};

struct hub {
    const struct hub_house *house;
    struct loop *loop;
    struct authority *authority;
    struct roster roster;
    struct list invites; /* of struct invite, open ones and those used within the hour */
    struct list sessions;
    struct orders orders;
    unsigned n_sessions, n_new_links; /* the latter: since they were last looked at */
    struct access_guard guard;
    struct timer tick;
    uint64_t ticks;
    uint64_t allowance_at_ms; /* of new links */
    double allowance;
    unsigned refs;       /* records under way; the last one frees */
    bool draining, closing;
};

struct hub *hub__ref(struct hub *h);
void hub__unref(struct hub *h);
/* The line of a node's history, and what followers are told. detail: for people. */
void hub__event(struct hub *h, const struct node *n, const char *what, struct sv detail);
/* The latter alone. */
void hub__tell(struct hub *h, const struct node *n, const char *what, struct sv detail);
/* What a peer said, as it may be kept and shown: whole characters of UTF-8, and none that control a terminal. */
enum { HUB_DETAIL_MAX = 256 };
struct sv hub__clean(struct sv from, char to[static HUB_DETAIL_MAX]);
/* Ends the links of a node at once. */
void hub__cut(struct hub *h, struct node *n, unsigned code, const char *why);
/* Tells the fleet how a node is now. */
void hub__feed(struct hub *h, struct node *n);

/* enrol.c */
bool enrol__load(struct hub *h, struct err *e) MUST_CHECK;
void enrol__deinit(struct hub *h);
void enrol__tick(struct hub *h);

/* session.c */
/* Who asks at a gate: fills the answer. */
void session__ask(struct hub *h, struct gate_ask *a);
void session__tick(struct hub *h);
void session__drain(struct hub *h);
void session__free_all(struct hub *h);
/* Whether the link of a node is up; NULL: it has none. */
bool session__is_up(const struct session *s);
/* An error that ends nothing. */
void session__refuse(struct session *s, enum link_fault code, const char *text, struct sv re);
void session__say(struct session *s, enum link_kind kind, struct sv payload, struct sv re);
/* What a session knows of its node, as members of a JSON object. */
void session__print(const struct session *s, struct buf *out);
void session__feed(struct hub *h, struct node *n);
/* The same for the doctor. */
struct session_facts {
    bool is_up, has_models, allows, is_pq;
    size_t n_models;
    uint64_t silent_ms;
    int64_t clock_off_ms;              /* its clock less ours, as its last message said; a message's way is in it */
    int64_t endpoints, endpoints_well; /* as its last heartbeat said; negative: it did not say */
    struct sv version;                 /* borrowed */
    struct sv console;                 /* borrowed: "off", "view", "full", or empty */
};
void session__facts(const struct session *s, struct session_facts *ret);

/* doctor.c */
/* What is not as it should be with a node whose link is so; NULL: it has none. */
void doctor__look(struct hub *h, const struct node *n, const struct session_facts *link, hub_found *found, void *arg);

#endif
