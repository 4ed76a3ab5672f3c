/* http/client.h - HTTP/1.1 calls from one loop, over whatever a dialer reaches, with pooled connections.
 *
 * Life of a call: http_call_start -> (on_ready) -> http_call_send... -> on_head -> on_body... -> on_end; or on_fail, or
 * http_call_cancel by the caller, at any time. After on_end, on_fail or a cancel the call is gone. The call and the
 * reply's head live in the caller's arena, which must outlive the call. Redirects are not followed. Loop thread only. */
#ifndef DROVER_HTTP_CLIENT_H
#define DROVER_HTTP_CLIENT_H

#include "http/h1.h"
#include "io/dialer.h"

struct http_call;

struct http_call_events {
    /* The head is on its way and the body may follow. Not called when http_call_is_ready was true right after the start. */
    void (*on_ready)(void *x);
    /* The head of the final reply; 1xx are read over. Lives as long as the arena. */
    void (*on_head)(void *x, const struct http_head *head);
    void (*on_body)(void *x, struct sv bytes);
    /* The reply is complete. */
    void (*on_end)(void *x);
    /* e is borrowed. stale: a pooled connection ended before it gave a byte of reply, as servers do that close idle
     * connections: the request may go out again on a fresh one. */
    void (*on_fail)(void *x, const struct err *e, bool stale);
    /* Queued request bytes fell to STREAM_LOW after http_call_want_drain. May be NULL. */
    void (*on_drain)(void *x);
    /* The server switched protocols, as the call asked it to (spec.upgrade): s is the owner's now, paused; ahead is what the server sent
     * already, borrowed until this returns. The call is gone. */
    void (*on_upgrade)(void *x, const struct http_head *head, struct stream *s, struct sv ahead);
};

struct http_call_spec {
    struct dialer *dialer;             /* shared by the pool */
    struct sv method, target;
    const struct http_header *headers; /* Host too; no framing fields */
    unsigned n_headers;
    int64_t length;                    /* of the body; 0 = none, -1 = chunked */
    uint32_t connect_ms, first_byte_ms, stall_ms;
    uint32_t pool_idle_ms;             /* keep the connection this long after the call; 0 = close it */
    bool fresh;                        /* do not take a pooled connection */
    bool upgrade;                      /* a reply 101 is welcome: on_upgrade; the headers ask for it; needs pool_idle_ms */
};

struct http_client;
struct http_client *http_client_new(struct loop *l, const struct h1_limits *head, struct err *e) MUST_CHECK;
/* Closes pooled connections; calls under way must be cancelled first. */
void http_client_free(struct http_client *k);

/* NULL with *e set when nothing could be started. spec and what it points to are borrowed during the call. */
struct http_call *http_call_start(struct http_client *k, struct arena *arena, const struct http_call_spec *spec,
                                  const struct http_call_events *on, void *x, struct err *e) MUST_CHECK;
bool http_call_is_ready(const struct http_call *c);
/* Pieces of the body, copied where the transport does not take them; in all exactly length bytes. n <= STREAM_WRITE_MAX - 2. */
void http_call_send(struct http_call *c, const struct sv *pieces, unsigned n);
/* As http_call_send, but only what the transport takes without a copy: returns how many bytes; the rest is offered again
 * on_drain. For bodies with a length. n <= STREAM_WRITE_MAX. */
size_t http_call_offer(struct http_call *c, const struct sv *pieces, unsigned n);
/* After the last piece. */
void http_call_sent(struct http_call *c);
size_t http_call_queued(const struct http_call *c);
void http_call_want_drain(struct http_call *c);
/* Pauses and resumes the reply. What was read already may still be delivered. */
void http_call_read(struct http_call *c, bool on);
/* Closes the connection, so that the server stops working on it. No event follows. NULL is fine. */
void http_call_cancel(struct http_call *c);
/* Whether the call runs on a connection that served another call before. */
bool http_call_is_reused(const struct http_call *c);

#endif
