/* console/passage.h - what goes through between a visitor's browser and a node's console: paths, the fields of requests, those of answers.
 *
 * A node is another machine, with another operator; its page is shown under the hub's address and must not act there. So:
 *   - the page runs in a sandbox without an origin (CSP sandbox, put on every answer): no cookie, no storage, nothing of the hub's pages;
 *   - it may ask for nothing but what stands under its own path (CSP sources), which holds the ticket that opens it;
 *   - of a node's answer only listed fields go on: it sets no cookie, sends nobody elsewhere, relaxes no policy;
 *   - of a browser's request only listed fields go to the node, none that the hub would believe or that tells who asks.
 * Pure functions over heads; any thread. */
#ifndef DROVER_CONSOLE_PASSAGE_H
#define DROVER_CONSOLE_PASSAGE_H

#include "http/proxy.h"

enum {
    PASSAGE_NODE_MAX = 64,
    PASSAGE_TICKET = 43,  /* 32 bytes as base64url */
    PASSAGE_REQUEST = 40, /* fields of a request that go to the node, with ours */
};

enum passage_place {
    PASSAGE_NOWHERE,
    PASSAGE_DOOR,   /* /node/ID/: whoever comes without a ticket */
    PASSAGE_INSIDE, /* /node/ID/~TICKET/... */
};

struct passage { /* views on the path */
    struct sv node, ticket;
    struct sv base; /* "/node/ID/~TICKET/" */
    struct sv rest; /* as the node gets it: "/console/" */
};

/* Whether a path is for us at all. */
bool passage_wants(const struct http_head *head);
/* The path must be clean (path_is_clean). */
enum passage_place passage_read(struct sv path, struct passage *ret);
/* The fields that go to the node; to has room for PASSAGE_REQUEST. -1: there are more than that. */
int passage_request(const struct http_head *head, struct http_header to[static PASSAGE_REQUEST]);
/* Whether an OPTIONS asks only whether the page may ask: a browser does, since the page has no origin. */
bool passage_is_preflight(const struct http_head *head);
/* Answers it: yes, for what the console sends. */
void passage_preflight(struct http_in *in);
/* The filter of answers. in's path is PASSAGE_INSIDE. */
int passage_answer(struct http_in *in, const struct http_head *head, struct http_header h[static HTTP_PROXY_FIELDS],
                   unsigned n);
void passage_refuse(struct http_in *in, int status); /* where the node gives none */
/* An answer of the hub's own to a page inside. */
void passage_fail(struct http_in *in, int status, const char *code, struct sv text);
/* The page of the hub's own for whoever has no ticket: it leads to the console. node is a PASSAGE_DOOR's. */
void passage_door(struct http_in *in, struct sv node);
/* Where the node sends a browser, as a path below base. False: out of it, or nobody can tell. */
bool passage_rebase(struct sv location, struct sv base, struct arena *a, struct sv *ret);

#endif
