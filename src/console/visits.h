/* console/visits.h - who of the hub's people visits which node's console, and by which ticket. Behind the path of a ticket the
 * page of a node is shown, which has no cookie: the ticket alone opens it, and nothing but that.
 *
 * A ticket is 256 random bits, of which the hash is kept; it stands for a person's session and a node, with that person's role.
 * It ends with the session, with the node, after eight hours, and as a session does when nobody has used it for
 * access.session_idle. Nothing of it is stored. The table lives on the control loop; a worker asks with each request (struct
 * visit_ask) and gets what it needs to hand the request on. */
#ifndef DROVER_CONSOLE_VISITS_H
#define DROVER_CONSOLE_VISITS_H

#include "access/people.h"
#include "console/passage.h"
#include "link/link.h"

struct admin;

enum {
    VISITS_MAX = 256,
    VISITS_PER_SESSION = 8, /* the oldest gives way */
    VISIT_TTL_MS = 8 * 3600000,
    VISIT_WHO = 72,
};

/* One visit. Counted; any thread. */
struct visit;
struct visit *visit_ref(struct visit *v);
struct visit *visit_unref(struct visit *v);
/* What goes on with it must end. */
bool visit_is_over(const struct visit *v);

/* The table. Counted, so that questions may still be on their way when it is closed. */
struct visits;
struct visits *visits_new(struct admin *a, struct err *e) MUST_CHECK; /* control loop, as the next */
void visits_close(struct visits *vs);                                 /* all end; NULL is fine */
struct visits *visits_ref(struct visits *vs);
struct visits *visits_unref(struct visits *vs);

/* A question and its answer; one message both ways. */
struct visit_ask {
    struct msg msg;
    struct loop *home;
    void (*on_answer)(struct visit_ask *a); /* on home, once; then it is the asker's again */
    /* Asked. */
    char node[PASSAGE_NODE_MAX + 1], ticket[PASSAGE_TICKET + 1]; /* the latter is wiped */
    /* Answered. */
    int status; /* 200, or 401, 403, 404, 503 with why */
    char why[160];
    struct visit *visit; /* shared, as is the next */
    struct way *way;
    enum access_role role;
    bool is_fresh;
    char who[VISIT_WHO];
};
/* Any thread. False: it did not go; the hub is stopping. If home does not take the answer, drop is called on the control loop. */
bool visits_ask(struct visits *vs, struct visit_ask *a, void (*drop)(struct visit_ask *a)) MUST_CHECK;

#endif
