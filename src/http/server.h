/* http/server.h - HTTP/1.1 for one loop: connections in, requests out, answers back.
 *
 * Each worker has its own server. A connection handles one request at a time; what a client sends ahead waits, bounded.
 * Life of a request: on_request -> (http_in_body) on_body... on_body_end -> http_in_start, http_in_send... ->
 * http_in_finish. on_gone may end it at any time instead. The request's arena lives until http_in_finish, http_in_abort
 * or the return of on_gone; so does everything the handler put into it. Loop thread only. */
#ifndef DROVER_HTTP_SERVER_H
#define DROVER_HTTP_SERVER_H

#include "base/buf.h"
#include "http/census.h"
#include "http/h1.h"
#include "io/stream.h"

struct http_in;

struct http_in_events {
    /* A piece of the body; borrowed until the callback returns. */
    void (*on_body)(void *x, struct sv bytes);
    void (*on_body_end)(void *x);
    /* Where body bytes should be read to; n = 0 for no wish. May be NULL. */
    struct stream_space (*on_space)(void *x);
    /* The client is gone, broke the framing or let a deadline pass. No answer is possible or needed. The arena goes when
     * this returns. */
    void (*on_gone)(void *x, const struct err *e);
    /* Queued output fell to STREAM_LOW after http_in_want_drain. May be NULL. */
    void (*on_drain)(void *x);
};

struct http_in {
    struct arena arena;
    struct http_head *head;
    struct stream *stream;             /* peer address, TLS; nothing else is the handler's business */
    void *tag;                         /* as given to http_serve */
    const struct http_in_events *on;   /* set by the handler, with x, before it returns from on_request */
    void *x;
    uint64_t received_us;              /* loop time when the head was complete */
    uint64_t sent;                     /* body bytes of the answer accepted so far */
    uint64_t id;                       /* unique in this process */
    int status;                        /* of the answer; 0 before http_in_start */
};

struct http_server_limits {
    struct h1_limits head;
    uint64_t body_max;                 /* bytes; a larger Content-Length is refused before a byte of it is read */
    uint32_t head_deadline_ms, keepalive_idle_ms, body_idle_ms, client_stall_ms, lifetime_ms;
    uint32_t body_min_rate;            /* bytes per second after the first 5 s */
    uint32_t pipeline_ahead;           /* bytes */
    uint32_t requests_per_connection;
    enum err_limit body_limit;         /* which limit body_max is */
};

struct http_server_events {
    void (*on_request)(void *owner, struct http_in *in);
    /* A request that could not be read: answer with a body for this fault. path is what was understood of it, or empty.
     * Fill *ret_type and append to out. May be NULL: then a plain JSON envelope is sent. */
    void (*on_bad)(void *owner, void *tag, struct sv path, const struct err *e, struct buf *out, struct sv *ret_type);
    /* A limit turned a connection or a request away, or ended it. May be NULL. */
    void (*on_limit)(void *owner, enum err_limit limit);
};

struct http_server;
struct http_server *http_server_new(struct loop *l, const struct http_server_events *on, void *owner, struct err *e) MUST_CHECK;
/* Copies; holds for connections accepted from now on. */
void http_server_limits(struct http_server *v, const struct http_server_limits *limits);
/* Counts connections in c from now on (borrowed until http_server_free); without one none are counted. */
void http_server_census(struct http_server *v, struct census *c);
/* Takes s. tag is handed to every request of this connection and must outlive it. */
void http_serve(struct http_server *v, struct stream *s, void *tag);
/* The same for one exchange: a stream of a link. Whoever opens streams is bounded otherwise, so the census does not count it. */
void http_serve_once(struct http_server *v, struct stream *s, void *tag);
bool http_server_has_room(const struct http_server *v);
unsigned http_server_connections(const struct http_server *v);
/* Idle connections close now, others after their current answer; on_empty (may be NULL) runs when none is left. */
void http_server_drain(struct http_server *v, void (*on_empty)(void *owner));
/* Cuts what is left and frees it. */
void http_server_free(struct http_server *v);

/* Lets the body come (a client that expects it is told 100). Until then nothing of it is read. Without it, the body is
 * never read and the connection ends after the answer. */
void http_in_body(struct http_in *in);
/* Stops and resumes body reading. */
void http_in_read(struct http_in *in, bool on);

/* length: bytes of the body to come, or -1: chunked, or until the end of the connection for HTTP/1.0 clients. Names and
 * values must be clean (http_value_is_clean). */
void http_in_start(struct http_in *in, int status, const struct http_header *headers, unsigned n, int64_t length);
void http_in_send(struct http_in *in, struct sv bytes);
/* Ends the answer; in is gone when this returns. */
void http_in_finish(struct http_in *in);
/* Cuts the connection, so that the client sees an incomplete answer; in is gone when this returns. */
void http_in_abort(struct http_in *in);
/* A whole answer at once. */
void http_in_reply(struct http_in *in, int status, const struct http_header *headers, unsigned n, struct sv type, struct sv body);
size_t http_in_queued(const struct http_in *in);
void http_in_want_drain(struct http_in *in);
/* Hands the connection's stream over for another protocol (after a 101 was sent by the handler on the stream itself).
 * ahead: bytes the client already sent, borrowed until the handler returns to the loop; in is gone. */
struct stream *http_in_upgrade(struct http_in *in, struct sv *ret_ahead);

/* No CR, LF, NUL or other control byte but tab. */
bool http_value_is_clean(struct sv v);

#endif
