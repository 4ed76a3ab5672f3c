/* console/request.h - private to console: one call of the admin API, and how it is answered.
 *
 * A handler answers at once (request_reply, request_fail), or keeps the request until something has happened (request_wait) and
 * answers then, if the caller is still there. Control thread only. */
#ifndef DROVER_CONSOLE_REQUEST_H
#define DROVER_CONSOLE_REQUEST_H

#include "base/json.h"
#include "base/log.h"
#include "console/admin.h"
#include "http/server.h"
#include "store/store.h"
#include "telemetry/record.h"

enum { REQUEST_BODY_MAX = 1 << 20, REQUEST_ANSWER_MAX = 64 << 20 };

struct route;
struct request;
typedef void handler(struct request *r);

struct admin {
    struct loop *loop;
    const struct admin_house *house;
    struct http_server *server;
    struct listener *listener;
    char path[108];
    struct dialer *door; /* also the tag of what comes through it */
    struct bus *bus;
    struct live *live;
    struct pages *pages;
    struct alerts *alerts;
    struct list trials;    /* places that are being looked at (endpoints.c) */
    struct visits *visits;
    struct change *change; /* of settings, until its row of the audit log is written; NULL: none */
    struct snapshot *told; /* the fleet as the bus last told of it */
};

struct request { /* in the arena of its http_in */
    struct admin *admin;
    struct http_in *in;
    struct buf body;
    const struct route *route;
    struct sv rest;          /* what stands for {id} in the path, decoded; else empty */
    struct timer timer;
    uint64_t log_seq;
    struct waiting *waits;   /* NULL: for nothing */
    bool is_outside;         /* it came through the door */
    bool is_visitor;         /* over the link to our hub, by somebody who visits the console; has no session here */
    bool is_fresh;           /* the passphrase was given lately; a visitor's at the hub */
    bool is_tls;
    enum access_role role;   /* ROLE_NONE: nobody has signed in */
    struct sv who, peer;     /* the person's name, or "operator"; the client's address, or "unix" */
    const struct session *session; /* until the first return to the loop; NULL: on the socket, or nobody has signed in */
    struct access_cell *cell; /* shared: the session's; NULL: none */
};

/* Whether what goes on for a long time may still go on: the session lives. */
bool request_may_go_on(const struct request *r);
/* A connection that came through the door. Takes fd. */
void admin__serve(struct admin *a, int fd);
/* Fields of each answer: what a browser may do with it. */
enum { REQUEST_HEADERS = 10 };
unsigned request_headers(const struct request *r, struct http_header to[static REQUEST_HEADERS]);
/* As request_reply, with further fields. What was in out is wiped: it may be a secret. */
void request_reply_with(struct request *r, int status, const struct http_header *more, unsigned n_more, struct buf *out);
/* The body as JSON; NULL, and answered, when it is none. Free with json_doc_freep. */
yyjson_doc *request_json(struct request *r);
/* A required text member; false with *e set when it is missing or no text. */
bool request_text(yyjson_val *root, const char *name, struct sv *ret, struct err *e);
/* The version that the caller has seen, from If-Match: "3". */
bool request_version(struct request *r, int64_t *ret, struct err *e);

void request_reply(struct request *r, int status, struct buf *out); /* frees out */
void request_fail(struct request *r, const struct err *e, const char *hint);
/* The decoded value of one query parameter; NULL view when it is absent. */
struct sv request_query(struct request *r, struct sv name);
/* A whole number of the query, from 1 to most; what is absent is `usual`. False with *e set. */
bool request_count(struct request *r, struct sv name, uint64_t usual, uint64_t most, int64_t *ret, struct err *e);
/* Who calls, for the audit log. */
struct access_actor request_actor(const struct request *r);

/* A request that is answered later: hand the waiting to whoever calls back, which asks for the request once. */
struct waiting {
    struct request *request; /* NULL: the caller has left */
};
/* NULL, and answered, when memory is out. */
struct waiting *request_wait(struct request *r);
struct request *request_resume(struct waiting *w); /* frees w; NULL: there is nobody to tell */
/* What the first step of an act said: when it is refused nobody calls back, so the waiting ends here. */
void request_begun(struct request *r, struct waiting *w, bool ok, const struct err *e);

/* A question to the store, answered with what run printed. Stands first in a struct of the asker's. */
struct question {
    struct store_job job;
    bool (*run)(struct store_tx *tx, struct question *q, struct err *e); /* on the store's thread; prints to out */
    struct buf out;
    struct waiting *waits;
};
/* Copies q, of `size` bytes, with its run and what is behind it. Always ends in an answer. */
void request_ask(struct request *r, const struct question *q, size_t size);

/* Printing a member: a comma in front unless an object has just begun. */
void put_name(struct buf *out, const char *key);
void put_text(struct buf *out, const char *key, struct sv v);
void put_number(struct buf *out, const char *key, uint64_t v);
void put_known(struct buf *out, const char *key, uint64_t v); /* nothing when it is 0 */
void put_money(struct buf *out, const char *key, int64_t millionths); /* as a number: 0.15 */
void put_truth(struct buf *out, const char *key, bool v);

/* assets.c: the console's own files. False: the path is none of its. */
bool assets_answer(struct request *r);

/* endpoints.c */
void models_list(struct request *r);
void put_loaded(struct buf *out, const struct fleet_model *m);
void endpoints_list(struct request *r);
void endpoints_add(struct request *r);
void endpoints_change(struct request *r);
void endpoints_remove(struct request *r);
void endpoints_test(struct request *r);
void endpoints__drop(struct admin *a); /* the admin server ends */

/* nodes.c */
struct hub *nodes__hub(struct request *r); /* NULL, and answered: this daemon is no hub */
void nodes_hub(struct request *r);
void nodes_list(struct request *r);
void nodes_get(struct request *r);
void nodes_history(struct request *r);
void nodes_change(struct request *r);
void nodes_approve(struct request *r);
void nodes_refuse(struct request *r);
void nodes_revoke(struct request *r);
void nodes_drain(struct request *r);
void nodes_resume(struct request *r);
void nodes_remove(struct request *r);
void invites_list(struct request *r);
void invites_make(struct request *r);
void invites_void(struct request *r);
void enrol(struct request *r);
void enrol_renew(struct request *r);

/* certs.c */
void certs_get(struct request *r);
void certs_issued(struct request *r);
void certs_export(struct request *r);
void certs_renew(struct request *r);
void certs_rotate(struct request *r);
void certs_back(struct request *r);
void certs_skip(struct request *r);
void certs_inbox(struct request *r);
void certs_sign(struct request *r);

/* directives.c */
void directives_list(struct request *r);
void directives_make(struct request *r);
void directives_get(struct request *r);
void directives_cancel(struct request *r);

/* visits.c */
void visits_make(struct request *r);

/* doctor.c */
void doctor_get(struct request *r);
void doctor_node(struct request *r);

/* session.c */
void session_get(struct request *r);
void session_begin(struct request *r);
void session_end(struct request *r);
void session_confirm(struct request *r);
void sessions_list(struct request *r);
void sessions_end(struct request *r);
void setup(struct request *r);
void setup_token(struct request *r);

/* users.c */
void users_list(struct request *r);
void users_add(struct request *r);
void users_change(struct request *r);
void users_remove(struct request *r);

/* mode.c */
void mode_get(struct request *r);
void mode_put(struct request *r);
void mode_key_put(struct request *r);

/* The level of a log line in its JSON form; info when it tells none. */
enum log_level log_line_level(struct sv line);

/* events.c: pages that follow what happens. */
struct pages *pages_new(struct admin *a); /* and a->live; NULL: out of memory */
void pages_free(struct pages *ps);
void events_open(struct request *r);

/* alerts.c */
struct alerts *alerts_new(struct admin *a, struct err *e) MUST_CHECK;
void alerts_free(struct alerts *a);
void alerts_config(struct alerts *a); /* there are new settings */
void alerts_copied(struct alerts *a); /* a copy of the records has been made just now */
void alerts_list(struct request *r);
void alerts_silence(struct request *r);

/* live.c */
void live_get(struct request *r);
void live_stop(struct request *r);
void live_stop_key(struct request *r);
void history_get(struct request *r);

/* settings.c */
void settings_get(struct request *r);
void settings_check(struct request *r);
void settings_patch(struct request *r);

/* keys.c */
void keys_list(struct request *r);
void keys_make(struct request *r);
void keys_get(struct request *r);
void keys_put(struct request *r);
void keys_rotate(struct request *r);
void keys_delete(struct request *r);
void audit_list(struct request *r);
void audit_verify(struct request *r);

/* upkeep.c */
void backup_make(struct request *r);
void store_check_run(struct request *r);

/* usage.c */
void usage_get(struct request *r);

/* join.c */
void join_get(struct request *r);
void join_begin(struct request *r);
void join_end(struct request *r);
/* A member of the status: nothing where this machine is no node and does not ask to be. */
void join_status(const struct admin *a, struct buf *out);

/* requests.c */
/* An ended request as the API tells it; moments relative to received_us = 0. */
void put_record(struct buf *out, const struct request_record *r);
void requests_list(struct request *r);

#endif
