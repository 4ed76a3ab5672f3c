/* hub/roster.h - private to hub: the nodes of this fleet, as the store has them and as they are now. Control loop.
 *
 * A node is known by its id, for ever; its name can change. Ids, names and labels have been checked when they are here. */
#ifndef DROVER_HUB_ROSTER_H
#define DROVER_HUB_ROSTER_H

#include "base/list.h"
#include "base/map.h"
#include "hub/hub.h"
#include "hub/member_plan.h"
#include "hub/record.h"
#include "pki/pki.h"

enum {
    ROSTER_MAX = 20000,
    NODE_INFO_MAX = 4096,    /* bytes of what it told of itself when it enrolled */
    NODE_LABELS_MAX = 8192,
};

struct session;

struct node {
    struct list all;
    char id[PKI_ID_MAX + 1], name[HUB_NAME_MAX + 1];
    enum node_state state;
    bool drained;
    uint64_t created_ms, decided_ms, seen_ms;
    char decided_by[66];
    char *labels, *info, *csr;        /* JSON; JSON; PEM, while it waits */
    char *url;                        /* where the hub dials it; empty: it dials the hub */
    char spki[65], old_spki[65];      /* hex; of the keys it may prove */
    char serial[TLS_SERIAL_MAX + 1];  /* of its certificate; empty: it has none, or that was made void */
    char shown[TLS_SERIAL_MAX + 1];   /* of the one it came with last */
    char ca[PKI_CA_NAME_MAX + 1];     /* that signed it; empty: from before this was noted */
    char skipped[PKI_CA_NAME_MAX + 1]; /* the new authority of a rotation that does not wait for it */
    int64_t not_before_s, not_after_s;
    int64_t renew_before_s; /* a certificate that begins earlier is to be renewed */
    uint64_t trust_sequence,
        void_ms; /* of the roots it was given last; when its certificate was made void, 0: it was not */
    unsigned char bearer[PKI_TOKEN], old_bearer[PKI_TOKEN]; /* hashes; zeros: none */
    uint64_t epoch;                   /* of its last link */
    /* Now. */
    struct way *way;                  /* NULL until its first link */
    struct session *session, *retiring;
    bool is_reporting;         /* a report of what its clients used is being written */
    uint64_t usage_hour;       /* of the loop's time: in which it has told */
    unsigned usage_rows;       /* so many rows */
    bool is_place; /* of the fleet's snapshot: it has, or had, models */
    char last_error[160];
    uint64_t down_since_ms;
    uint64_t said_sequence; /* to its present link, as the next */
    int64_t said_leaf_s;
    struct node_call { /* of the mode direct: calls.c */
        struct plan plan;
        uint64_t next_ms, up_ms; /* loop time: not before; since when there is a link, 0: there is none */
        uint64_t epoch;          /* of the last link whose end was seen */
        bool is_under_way, again; /* again: though it has a link, which the new one replaces */
    } call;
    uint64_t twin_ms; /* when another machine came with its identity last; 0: never since the start */
};

struct roster {
    struct list all;
    struct map by_id, by_spki;        /* by_spki: of the present key, and of the one a waiting node shows */
    size_t n;
};

bool roster_load(struct roster *r, struct store *s, struct err *e) MUST_CHECK;
void roster_deinit(struct roster *r);
struct node *roster_find(const struct roster *r, struct sv id);
/* By id or by name. */
struct node *roster_named(const struct roster *r, struct sv id_or_name);
struct node *roster_with_key(const struct roster *r, const char *spki);
/* The node is in the roster from now on; NULL: out of memory. Everything but id, name and key is the caller's to fill. */
struct node *roster_add(struct roster *r, struct sv id, struct sv name, const char *spki) MUST_CHECK;
void roster_remove(struct roster *r, struct node *n);
/* Changes its key in the books. */
bool roster_rekey(struct roster *r, struct node *n, const char *spki) MUST_CHECK;
/* A name no other node of the fleet has: wish, wish-2, ... */
void roster_name(const struct roster *r, struct sv wish, char name[static HUB_NAME_MAX + 1]);
/* Adds the statement that writes n as a new row. */
void roster_insert(struct record *r, const struct node *n);
/* Whether its link came with the certificate it was given last: then it has the roots that came along, too. */
bool roster_has_shown(const struct node *n);
/* Replaces a text; false: out of memory, it is as it was. */
bool roster_text(char **field, struct sv text);

#endif
