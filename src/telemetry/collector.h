/* telemetry/collector.h - private to export.c: the collector's address, and one body on its way to one of its paths.
 *
 * A sender holds a body until the collector has taken or refused it: what may be taken later is tried again, later and later, or when the
 * collector said so. Control loop only. */
#ifndef DROVER_TELEMETRY_COLLECTOR_H
#define DROVER_TELEMETRY_COLLECTOR_H

#include "base/arena.h"
#include "base/buf.h"
#include "config/config.h"
#include "http/client.h"

struct collector {
    struct loop *loop;
    struct http_client *client;
    struct config *config;       /* shared; NULL before the first */
    struct dialer *dialer;       /* NULL: nowhere */
    struct sv prefix, authority; /* views on the settings */
    char *user_agent;
    char *credential;            /* value of the field key_header; wiped */
    size_t credential_n;
};

bool collector_init(struct collector *c, struct loop *l, struct sv version, struct err *e) MUST_CHECK;
/* Shares. A call under way goes on with what it began with. False: the address cannot be used, so it is nowhere. */
bool collector_set(struct collector *c, struct config *config, struct err *e);
void collector_deinit(struct collector *c); /* senders first; safe after a failed or missing init */

enum sender_end { SENDER_TAKEN, SENDER_REFUSED, SENDER_LATER /* the body stays */ };

struct sender {
    struct collector *to;
    const char *path, *member;   /* member: of the answer, with what it did not want of the body */
    /* A call is over; the body is still there. rejected: how much of it was not wanted. */
    void (*on_over)(struct sender *s, enum sender_end end, uint64_t rejected);
    /* Then: another may go out, if the body is gone. */
    void (*on_idle)(struct sender *s);
    void *owner;

    struct buf body;
    bool has_body;
    unsigned n, rows;            /* spans and requests in it */

    /* The sender's own. */
    struct http_call *call;
    struct buf reply;
    struct arena arena;
    int status;                  /* of the last call; 0: none came */
    uint64_t retry_after_ms;     /* as the answer has it; 0: it says nothing */
    uint64_t next_ms;            /* loop time: not before */
    unsigned n_failed;           /* in a row, of this body */
    bool failing;                /* as last told to the log */
};

bool sender_is_free(const struct sender *s, uint64_t now_ms);
void sender_send(struct sender *s);   /* it is free and has a body */
void sender_forget(struct sender *s); /* the body goes, and with it what was waited for */
void sender_cancel(struct sender *s); /* the call ends, the body stays; no event follows */

#endif
