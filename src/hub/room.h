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
    char pin[65];  /* the key its line names, in hex; empty: the root's, of an older version */
    char node[PKI_ID_MAX + 1]; /* that it brings back; empty: it makes a new one */
};

struct hub {
    const struct hub_house *house;
    struct loop *loop;
    struct authority *authority;
    struct roster roster;
    struct list invites; /* of struct invite, open ones and those used within the hour */
    struct list inbox;   /* of struct petition (inbox.c) */
    uint64_t inbox_told_ms; /* when the log said last that they wait */
    struct list sessions;
    struct orders orders;
    unsigned n_sessions, n_new_links; /* the latter: since they were last looked at */
    struct {
        unsigned n, turn;          /* under way; of the workers */
        char last[PKI_ID_MAX + 1]; /* who had its turn last */
    } calls;
    struct access_guard guard;
    struct timer tick;
    uint64_t ticks;
    uint64_t allowance_at_ms; /* of new links */
    double allowance;
    unsigned refs;       /* records under way; the last one frees */
    struct {
        bool busy;                       /* a record is under way */
        uint64_t not_before_ms, step_ms; /* loop time: of the next try after a fault; of the next step */
        char fault[200];                 /* of the last try; empty: it went well */
    } rotation;
    char logged[TLS_SERIAL_MAX + 1]; /* the hub's own certificate, as the log of those issued has it last */
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
/* Whether a line that was given out names this key, so that the hub has to keep it. */
bool enrol__names_key(struct hub *h, const unsigned char pin[static TLS_PIN]);
bool enrol__is_open(const struct invite *i);
/* Takes them out of memory: all, or the open ones whose line names another key. */
void enrol__forget(struct hub *h, const unsigned char *but_pin);

/* certs.c */
/* Adds the row of the issuance log. */
void certs__log(struct record *r, const struct access_actor *by, const struct pki_cert *cert, const char *ca);
/* The same of the hub's own, which was made just now. */
void certs__log_own(struct hub *h);
/* The hub's key has to outlive its certificate. */
bool certs__keep_key(struct hub *h);
/* A node has come, with the certificate it was given last or with one before that. */
void certs__shown(struct hub *h, struct node *n, bool is_last);
/* What a node is to be told of certificates, as members of welcome and hub_status; it counts as said then. */
void certs__put(struct hub *h, struct node *n, struct buf *out);
/* Tells the nodes that have not been told, a bounded number of them. */
void certs__tick(struct hub *h);

/* inbox.c */
bool inbox__load(struct hub *h, struct err *e) MUST_CHECK;
void inbox__deinit(struct hub *h);
void inbox__tick(struct hub *h);
/* Adds the statement that keeps a request, in the place of an older one of the node. One with the same key stays. */
bool inbox__ask(struct hub *h, struct record *r, struct sv node, const char *spki, struct sv csr, struct sv peer,
                struct err *e) MUST_CHECK;
/* What was signed for that key; empty: it waits, or was not asked for. Borrowed until the next change of the inbox. */
struct sv inbox__chain(struct hub *h, struct sv node, const char *spki);
/* Adds the statement that removes it. */
void inbox__drop(struct hub *h, struct record *r, struct sv node);
/* Since when the oldest waits, 0: none does. */
uint64_t inbox__waits_since(struct hub *h, unsigned *ret_n);

/* rotation.c */
void rotation__tick(struct hub *h);
/* Whether the present stage waits for the node. */
bool rotation__awaits(struct hub *h, const struct node *n);
/* "rotation" and "not_back", members of a JSON object. */
void rotation__print(struct hub *h, struct buf *out);

/* calls.c */
enum { CALLS_URL_MAX = 300 };
/* The address that a node says, with the one it comes from in the place of "all of them" (0.0.0.0, [::]). */
bool calls__address(struct sv url, struct sv peer, char to[static CALLS_URL_MAX + 1], struct err *e) MUST_CHECK;
/* It is to be called elsewhere, or has another certificate: a link that is up is replaced by one that has that. */
void calls__moved(struct hub *h, struct node *n);
void calls__tick(struct hub *h);

/* session.c */
/* Who asks at a gate: fills the answer. */
void session__ask(struct hub *h, struct gate_ask *a);
void session__tick(struct hub *h);
void session__drain(struct hub *h);
void session__free_all(struct hub *h);
/* Sends hub_status to a node that is linked. False: it is not. */
bool session__tell(struct hub *h, struct node *n);
/* Whether the link of a node is up; NULL: it has none. */
bool session__is_up(const struct session *s);
/* An error that ends nothing: to whoever said m, the node or a leaf of it. */
void session__refuse(struct session *s, enum link_fault code, const char *text, const struct envelope *m);
/* agent: a leaf of the node; empty: the node itself. */
void session__say_to(struct session *s, enum link_kind kind, struct sv agent, struct sv payload, struct sv re);
bool session__has_leaf(const struct session *s, struct sv agent);
/* The leaf that m is about; empty: it is about the node. */
struct sv session__leaf_of(const struct node *n, const struct envelope *m);
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
