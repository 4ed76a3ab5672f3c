/* http/server.c - one connection: idle -> reading a head -> exchange (body in, answer out, in any overlap) -> idle.
 *
 * conn_step is the one place that looks at the whole: it feeds what waits in `ahead` to the engine and acts on what
 * comes out, until there is nothing left to do or the handler has to answer first. Callbacks only record and call it.
 * A client that closes its sending side while its answer is under way counts as gone (as nginx and Go see it): for a
 * service that spends GPU time on behalf of its clients, half-open requests cost more than they serve.
 * After an answer to a request that was not read whole, the connection lingers: output is ended, and input thrown away
 * for a moment, so that the reset does not overtake the answer. */
#include "http/server.h"

#include <stdio.h>


enum {
    LINGER_MS = 1000,
    LINGER_BYTES = 1 << 20,
    REQUEST_ARENA_MAX = 4 << 20, /* head, exchange and small answers; bodies have their own memory */
    HEAD_OUT = 2048,
    HEAD_READ = 16 << 10,
    MIN_RATE_GRACE_MS = 5000,
    OUT_AHEAD = 64 << 10, /* bytes of answers not taken yet at which the next pipelined request waits */
};

enum conn_state {
    CONN_IDLE,     /* between requests; nothing of the next has come */
    CONN_HEAD,     /* part of a head has come */
    CONN_EXCHANGE, /* a handler owns the request */
    CONN_LINGER,   /* answer sent, input thrown away until the peer closes or the time is up */
    CONN_CLOSED,
};

struct conn {
    struct http_in in;          /* valid in CONN_EXCHANGE */
    struct http_server *server;
    struct list all;
    struct stream *stream;
    struct census_entry *address; /* NULL: not counted */
    enum conn_state state;
    struct h1 h1;
    struct buf ahead;           /* bytes the client sent that were not looked at yet */
    struct sv *rest;            /* while a handler meets its request: what came behind the head */
    struct timer timer;         /* head deadline, idle, body idle, stall or linger: the state tells which */
    struct loop_flush step;     /* a step to take at the end of the turn */
    uint64_t opened_ms, body_began_ms, body_bytes;
    uint64_t progress;          /* bytes at the last look (watch); UINT64_MAX before the first */
    unsigned still;             /* looks in a row that saw the same */
    unsigned n_requests;
    size_t lingered;            /* bytes thrown away */
    uint32_t lingered_ms;
    bool body_wanted, body_done, reading, chunked_out, close_after, head_only, started, eof, held, stepping, once;
};

struct http_server {
    struct loop *loop;
    const struct http_server_events *on;
    void *owner;
    struct http_server_limits limits;
    struct list conns;
    struct census *census;
    unsigned n;
    uint64_t next_id;
    bool draining;
    void (*on_empty)(void *owner);
    struct loop_flush empty;
};

static void conn_step(struct conn *c);
static void conn_close(struct conn *c);

/* --- time --------------------------------------------------------------------------------------------------------- */

static void on_timer(void *arg);

static void wait_for(struct conn *c, uint32_t ms) {
    timer_set(c->server->loop, &c->timer, ms, on_timer, c);
}

/* A count of bytes is watched by looking at it LOOKS times per limit: one that stood still for the whole limit is found an
 * eighth of it later, and nothing has to be noted per byte. */
enum { LOOKS = 8 };

static void look_later(struct conn *c, uint32_t limit_ms) {
    wait_for(c, limit_ms < LOOKS ? 1 : limit_ms / LOOKS);
}

static void watch(struct conn *c, uint32_t limit_ms) {
    c->progress = UINT64_MAX;
    look_later(c, limit_ms);
}

/* One look. False: it goes on, and so does the watch. */
static bool stands_still(struct conn *c, uint64_t bytes, uint32_t limit_ms) {
    c->still = c->progress == bytes ? c->still + 1 : 0;
    c->progress = bytes;
    if (c->still >= LOOKS)
        return true;
    look_later(c, limit_ms);
    return false;
}

/* One place for whatever ends a request here; the handler counts what it refuses itself. */
static void count_limit(struct conn *c, enum err_limit limit) {
    if (limit != LIMIT_NONE && c->server->on->on_limit)
        c->server->on->on_limit(c->server->owner, limit);
}

static void gone(struct conn *c, const struct err *e) {
    count_limit(c, e->limit);
    if (c->state == CONN_EXCHANGE && c->in.on) {
        const struct http_in_events *on = c->in.on;
        c->in.on = NULL;
        on->on_gone(c->in.x, e);
    }
    conn_close(c);
}

static void refuse(struct conn *c, const struct err *e, int status);

static void on_timer(void *arg) {
    struct conn *c = arg;
    struct err e;
    switch (c->state) {
    case CONN_HEAD:
        err_limit(&e, LIMIT_HEAD_DEADLINE, "the request head did not arrive within limits.head.deadline");
        refuse(c, &e, 408);
        return;
    case CONN_EXCHANGE: {
        uint64_t now = loop_now_ms(c->server->loop);
        if (c->body_wanted && !c->body_done && c->reading) {
            uint64_t spent = now - c->body_began_ms;
            bool idle = stands_still(c, c->body_bytes, c->server->limits.body_idle_ms);
            bool slow = spent > MIN_RATE_GRACE_MS && spent > c->server->limits.body_idle_ms && /* first of all it may be idle */
                        c->body_bytes < (spent - MIN_RATE_GRACE_MS) / 1000 * c->server->limits.body_min_rate;
            if (idle || slow) {
                err_limit(&e, idle ? LIMIT_BODY_IDLE : LIMIT_BODY_MIN_RATE,
                          idle ? "the request body stopped for longer than limits.body.idle"
                               : "the request body came slower than limits.body.min_rate");
                refuse(c, &e, 408);
            }
            return;
        }
        if (c->started && stream_queued(c->stream) > 0 &&
            stands_still(c, c->in.sent - stream_queued(c->stream), c->server->limits.client_stall_ms)) {
            err_limit(&e, LIMIT_CLIENT_STALL, "the client took no data for longer than limits.stream.client_stall");
            gone(c, &e);
        }
        return;
    }
    case CONN_LINGER:
        c->lingered_ms += LINGER_MS;
        if (stream_queued(c->stream) > 0 && c->lingered_ms < c->server->limits.client_stall_ms)
            wait_for(c, LINGER_MS);
        else
            conn_close(c);
        return;
    default:
        conn_close(c);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void on_server_empty(struct loop_flush *f) {
    struct http_server *v = CONTAINER(f, struct http_server, empty);
    if (v->n == 0 && v->on_empty) {
        void (*run)(void *) = v->on_empty;
        v->on_empty = NULL;
        run(v->owner);
    }
}

static void conn_free(struct conn *c) {
    struct http_server *v = c->server;
    list_drop(&c->all);
    list_drop(&c->step.dirty);
    v->n--;
    if (c->address)
        census_leave(v->census, c->address, loop_now_us(v->loop));
    buf_deinit(&c->ahead);
    arena_deinit(&c->in.arena);
    mem_free(c);
    if (v->draining && v->n == 0)
        loop_flush_later(v->loop, &v->empty);
}

/* Ends the connection. The memory goes at once, or when conn_step, which is on the stack, is through with it. */
static void conn_close(struct conn *c) {
    if (c->state != CONN_CLOSED) {
        c->state = CONN_CLOSED;
        timer_stop(c->server->loop, &c->timer);
        list_drop(&c->step.dirty);
        stream_close(c->stream);
        c->stream = NULL;
    }
    if (!c->stepping)
        conn_free(c);
}

static void conn_idle(struct conn *c) {
    arena_deinit(&c->in.arena);
    c->in.on = NULL;
    c->state = CONN_IDLE;
    c->body_wanted = c->body_done = c->started = c->chunked_out = c->head_only = false;
    arena_init(&c->in.arena, REQUEST_ARENA_MAX, &c->server->loop->arenas);
    h1_begin(&c->h1, &c->in.arena, false);
}

static void linger(struct conn *c) {
    c->state = CONN_LINGER;
    c->lingered = 0;
    c->lingered_ms = 0;
    buf_reset(&c->ahead);
    arena_deinit(&c->in.arena);
    stream_end(c->stream);
    wait_for(c, LINGER_MS);
    if (c->eof)
        loop_flush_later(c->server->loop, &c->step);
    else
        stream_read(c->stream, true);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

bool http_value_is_clean(struct sv v) {
    for (size_t i = 0; i < v.n; i++)
        if (((unsigned char)v.p[i] < 0x20 && v.p[i] != '\t') || (unsigned char)v.p[i] == 0x7f)
            return false;
    return true;
}

static void write_head(struct conn *c, int status, const struct http_header *headers, unsigned n, int64_t length) {
    char space[HEAD_OUT];
    struct buf out = { .p = space, .base = space, .cap = sizeof space, .max = sizeof space };
    bool none = status == 204 || status == 304;
    buf_add(&out, SV("HTTP/1.1 "));
    buf_add_u64(&out, (uint64_t)status);
    buf_add_char(&out, ' ');
    buf_add(&out, sv_of(http_reason(status)));
    buf_add(&out, SV("\r\n"));
    for (unsigned i = 0; i < n; i++) {
        if (out.n + headers[i].name.n + headers[i].value.n + 128 > sizeof space) { /* unusually large: send this part */
            stream_write1(c->stream, buf_sv(&out));
            out.n = 0;
            if (headers[i].name.n + headers[i].value.n + 128 > sizeof space) {
                struct sv parts[] = { headers[i].name, SV(": "), headers[i].value, SV("\r\n") };
                stream_write(c->stream, parts, 4);
                continue;
            }
        }
        buf_add(&out, headers[i].name);
        buf_add(&out, SV(": "));
        buf_add(&out, headers[i].value);
        buf_add(&out, SV("\r\n"));
    }
    if (length >= 0 && !none) {
        buf_add(&out, SV("content-length: "));
        buf_add_u64(&out, (uint64_t)length);
        buf_add(&out, SV("\r\n"));
    } else if (c->chunked_out) {
        buf_add(&out, SV("transfer-encoding: chunked\r\n"));
    }
    if (c->close_after)
        buf_add(&out, SV("connection: close\r\n"));
    else if (c->h1.head.minor == 0)
        buf_add(&out, SV("connection: keep-alive\r\n"));
    buf_add(&out, SV("\r\n"));
    stream_write1(c->stream, buf_sv(&out));
}

/* An answer to something that never became, or no longer is, a handler's request; then the connection ends. */
static void refuse(struct conn *c, const struct err *e, int status) {
    count_limit(c, e->limit);
    struct buf body = BUF_MAX(16 << 10);
    struct sv type = SV("application/json");
    struct http_server *v = c->server;
    if (c->state == CONN_EXCHANGE && c->in.on) {
        const struct http_in_events *on = c->in.on;
        c->in.on = NULL;
        on->on_gone(c->in.x, e);
    }
    if (c->started) { /* half an answer is out already */
        conn_close(c);
        return;
    }
    c->close_after = true;
    struct sv path = c->state == CONN_EXCHANGE ? c->h1.head.path : h1_path_so_far(&c->h1);
    if (v->on->on_bad) {
        v->on->on_bad(v->owner, c->in.tag, path, e, &body, &type);
    } else {
        buf_add(&body, SV("{\"error\":{\"code\":"));
        buf_add_json(&body, sv_of(err_name(e->code)));
        buf_add(&body, SV(",\"message\":"));
        buf_add_json(&body, sv_of(e->text));
        buf_add(&body, SV("}}\n"));
    }
    struct http_header h[] = { { SV("content-type"), type } };
    c->chunked_out = false;
    write_head(c, status, h, 1, (int64_t)body.n);
    stream_write1(c->stream, buf_sv(&body));
    buf_deinit(&body);
    linger(c);
}

void http_in_start(struct http_in *in, int status, const struct http_header *headers, unsigned n, int64_t length) {
    struct conn *c = CONTAINER(in, struct conn, in);
    c->started = true;
    in->status = status;
    c->head_only = sv_eq(in->head->method, SV("HEAD"));
    if (!in->head->keep_alive || c->server->draining || (!c->body_done && c->h1.phase != H1_ENDED) || c->once ||
        c->n_requests >= c->server->limits.requests_per_connection ||
        loop_now_ms(c->server->loop) - c->opened_ms > c->server->limits.lifetime_ms)
        c->close_after = true;
    if (length < 0) {
        c->chunked_out = in->head->minor == 1 && status != 204 && status != 304;
        c->close_after = c->close_after || in->head->minor == 0;
    }
    write_head(c, status, headers, n, length);
    if (c->body_done || !c->body_wanted)
        watch(c, c->server->limits.client_stall_ms);
}

void http_in_send(struct http_in *in, struct sv bytes) {
    struct conn *c = CONTAINER(in, struct conn, in);
    if (bytes.n == 0)
        return;
    in->sent += bytes.n;
    if (c->head_only)
        return;
    if (!c->chunked_out) {
        stream_write1(c->stream, bytes);
    } else {
        char line[20];
        static const char hex[] = "0123456789abcdef";
        char *at = line + sizeof line;
        *--at = '\n';
        *--at = '\r';
        for (size_t n = bytes.n; n; n >>= 4)
            *--at = hex[n & 15];
        struct sv parts[] = { { at, (size_t)(line + sizeof line - at) }, bytes, SV("\r\n") };
        stream_write(c->stream, parts, 3);
    }
    if (!timer_is_set(&c->timer))
        watch(c, c->server->limits.client_stall_ms);
}

void http_in_finish(struct http_in *in) {
    struct conn *c = CONTAINER(in, struct conn, in);
    if (c->chunked_out && !c->head_only)
        stream_write1(c->stream, SV("0\r\n\r\n"));
    in->on = NULL;
    timer_stop(c->server->loop, &c->timer);
    if (c->close_after || c->server->draining) {
        linger(c);
        return;
    }
    conn_idle(c);
    if (c->ahead.n || c->eof)
        loop_flush_later(c->server->loop, &c->step);
    else
        wait_for(c, c->server->limits.keepalive_idle_ms);
    stream_read(c->stream, true);
}

void http_in_abort(struct http_in *in) {
    struct conn *c = CONTAINER(in, struct conn, in);
    in->on = NULL;
    conn_close(c);
}

void http_in_reply(struct http_in *in, int status, const struct http_header *headers, unsigned n, struct sv type, struct sv body) {
    struct http_header all[24];
    unsigned used = 0;
    if (type.n)
        all[used++] = (struct http_header){ SV("content-type"), type };
    for (unsigned i = 0; i < n && used < sizeof all / sizeof all[0]; i++)
        all[used++] = headers[i];
    http_in_start(in, status, all, used, (int64_t)body.n);
    http_in_send(in, body);
    http_in_finish(in);
}

size_t http_in_queued(const struct http_in *in) {
    return stream_queued(CONTAINER(in, const struct conn, in)->stream);
}

void http_in_want_drain(struct http_in *in) {
    stream_want_drain(CONTAINER(in, struct conn, in)->stream);
}

void http_in_body(struct http_in *in) {
    struct conn *c = CONTAINER(in, struct conn, in);
    c->body_wanted = true;
    c->reading = true;
    if (in->head->expects_continue && c->ahead.n == 0)
        stream_write1(c->stream, SV("HTTP/1.1 100 Continue\r\n\r\n"));
    c->body_began_ms = loop_now_ms(c->server->loop);
    c->body_bytes = 0;
    loop_flush_later(c->server->loop, &c->step);
}

void http_in_read(struct http_in *in, bool on) {
    struct conn *c = CONTAINER(in, struct conn, in);
    c->reading = on;
    stream_read(c->stream, on);
    if (on)
        loop_flush_later(c->server->loop, &c->step);
}

struct stream *http_in_upgrade(struct http_in *in, struct sv *ret_ahead) {
    struct conn *c = CONTAINER(in, struct conn, in);
    struct stream *s = c->stream;
    *ret_ahead = c->rest ? *c->rest : buf_sv(&c->ahead);
    stream_own(s, NULL, NULL);
    c->stream = NULL;
    in->on = NULL;
    timer_stop(c->server->loop, &c->timer);
    c->state = CONN_CLOSED;
    if (!c->stepping) /* the handler may look at the bytes ahead until the end of the turn */
        loop_flush_later(c->server->loop, &c->step);
    return s;
}

/* --- input -------------------------------------------------------------------------------------------------------- */

static void request_begins(struct conn *c) {
    struct http_server *v = c->server;
    timer_stop(v->loop, &c->timer);
    c->state = CONN_EXCHANGE;
    c->n_requests++;
    c->in.head = &c->h1.head;
    c->in.received_us = loop_now_us(v->loop);
    c->in.sent = 0;
    c->in.status = 0;
    c->in.id = v->next_id++;
    c->body_done = !c->h1.head.chunked && c->h1.head.length <= 0;
    struct err e;
    if (c->h1.head.length > 0 && (uint64_t)c->h1.head.length > v->limits.body_max) {
        err_limit(&e, v->limits.body_limit, "the body has %lld bytes, %s allows %llu", (long long)c->h1.head.length,
                  err_limit_key(v->limits.body_limit), (unsigned long long)v->limits.body_max);
        refuse(c, &e, 413);
        return;
    }
    v->on->on_request(v->owner, &c->in);
}

static void body_piece(struct conn *c, struct sv piece) {
    c->body_bytes += piece.n;
    if (c->body_bytes > c->server->limits.body_max) {
        struct err e;
        err_limit(&e, c->server->limits.body_limit, "the body is larger than %s, %llu bytes",
                  err_limit_key(c->server->limits.body_limit), (unsigned long long)c->server->limits.body_max);
        refuse(c, &e, 413);
        return;
    }
    if (c->in.on)
        c->in.on->on_body(c->in.x, piece);
}

/* The client sends requests and takes no answers: nothing more is read or answered before it does. */
static void hold(struct conn *c) {
    c->held = true;
    stream_read(c->stream, false);
    stream_want_drain(c->stream);
    wait_for(c, c->server->limits.client_stall_ms);
}

/* Feeds the engine from *bytes and acts on what comes out. Leaves in *bytes what must wait. */
static void feed(struct conn *c, struct sv *bytes) {
    while (c->state != CONN_CLOSED && c->state != CONN_LINGER) {
        bool waits = c->state == CONN_EXCHANGE && (!c->body_wanted || !c->reading || c->body_done);
        if (waits && !h1_has_pieces(&c->h1))
            return;
        if (c->state == CONN_IDLE && bytes->n && stream_queued(c->stream) > OUT_AHEAD) {
            hold(c);
            return;
        }
        struct sv piece;
        size_t before = bytes->n;
        switch (h1_next(&c->h1, bytes, &piece)) {
        case H1_MORE:
            if (c->state == CONN_IDLE && before && c->h1.started) {
                c->state = CONN_HEAD;
                wait_for(c, c->server->limits.head_deadline_ms);
            }
            return;
        case H1_HEAD:
            c->rest = bytes;
            request_begins(c);
            c->rest = NULL;
            break;
        case H1_BODY:
            body_piece(c, piece);
            break;
        case H1_END:
            if (c->state == CONN_EXCHANGE && c->body_wanted && !c->body_done) {
                c->body_done = true;
                timer_stop(c->server->loop, &c->timer);
                if (c->in.on)
                    c->in.on->on_body_end(c->in.x);
            }
            break;
        case H1_BAD: {
            struct err e = c->h1.err;
            refuse(c, &e, c->h1.bad_status);
            return;
        }
        }
    }
}

static bool step_begin(struct conn *c) {
    if (c->stepping)
        return false;
    c->stepping = true;
    return true;
}

static void step_end(struct conn *c) {
    c->stepping = false;
    if (c->state == CONN_CLOSED)
        conn_free(c);
}

static void input_ended(struct conn *c) {
    struct err e;
    switch (c->state) {
    case CONN_HEAD:
        err_set(&e, ERR_BAD_REQUEST, "the connection ended inside the request head");
        refuse(c, &e, 400);
        return;
    case CONN_EXCHANGE:
        err_set(&e, ERR_CANCELED, "the client closed the connection");
        gone(c, &e);
        return;
    case CONN_IDLE:
        if (c->ahead.n == 0)
            linger(c); /* an answer may still be on its way out */
        return;
    case CONN_LINGER:
        if (stream_queued(c->stream) == 0)
            conn_close(c);
        return;
    case CONN_CLOSED:
        return;
    }
}

/* Bytes may be in `ahead`; the end of input may have come. */
static void conn_step(struct conn *c) {
    if (!step_begin(c))
        return;
    if (c->ahead.n || c->state == CONN_EXCHANGE) {
        struct buf taken = c->ahead;
        buf_init(&c->ahead, taken.max);
        struct sv bytes = buf_sv(&taken);
        feed(c, &bytes);
        if (c->state != CONN_CLOSED && c->state != CONN_LINGER && bytes.n) {
            buf_consume(&taken, taken.n - bytes.n);
            buf_deinit(&c->ahead);
            c->ahead = taken;
        } else {
            buf_deinit(&taken);
        }
    }
    if (c->state == CONN_EXCHANGE && c->body_wanted && !c->body_done && c->reading) {
        if (!timer_is_set(&c->timer))
            watch(c, c->server->limits.body_idle_ms);
        stream_read(c->stream, true);
    }
    if (c->eof)
        input_ended(c);
    step_end(c);
}

static void on_step(struct loop_flush *f) {
    struct conn *c = CONTAINER(f, struct conn, step);
    if (c->state == CONN_CLOSED)
        conn_free(c); /* an upgraded connection whose stream went elsewhere */
    else
        conn_step(c);
}

static void on_read(void *owner, struct sv bytes) {
    struct conn *c = owner;
    if (c->state == CONN_LINGER) {
        c->lingered += bytes.n;
        if (c->lingered > LINGER_BYTES)
            conn_close(c);
        return;
    }
    if (!step_begin(c))
        return;
    if (c->ahead.n == 0)
        feed(c, &bytes);
    if (bytes.n && c->state != CONN_CLOSED && c->state != CONN_LINGER) {
        struct err e;
        if (!buf_add(&c->ahead, bytes)) {
            err_no_memory(&e);
            gone(c, &e);
        } else if (c->ahead.n >= c->server->limits.pipeline_ahead) {
            stream_read(c->stream, false);
        }
    }
    step_end(c);
}

static void on_end(void *owner, const struct err *e) {
    struct conn *c = owner;
    if (e) {
        struct err gone_e;
        err_set(&gone_e, ERR_CANCELED, "the client's connection broke: %s", e->text);
        gone(c, &gone_e);
        return;
    }
    c->eof = true;
    conn_step(c);
}

static void on_drain(void *owner) {
    struct conn *c = owner;
    if (c->state == CONN_EXCHANGE && c->in.on && c->in.on->on_drain)
        c->in.on->on_drain(c->in.x);
    if (c->state == CONN_IDLE && c->held) {
        c->held = false;
        wait_for(c, c->server->limits.keepalive_idle_ms);
        stream_read(c->stream, true);
        loop_flush_later(c->server->loop, &c->step);
    }
}

/* A length body goes straight to where the handler wants it; so that not much of it has to be copied, the read that brings
 * the head is a short one. */
static struct stream_space on_space(void *owner) {
    struct conn *c = owner;
    struct stream_space none = { 0 };
    if (c->state == CONN_IDLE)
        return (struct stream_space){ c->server->loop->scratch, HEAD_READ };
    uint64_t left = h1_left(&c->h1);
    if (c->state != CONN_EXCHANGE || !c->body_wanted || left == 0 || c->ahead.n || !c->in.on || !c->in.on->on_space)
        return none;
    struct stream_space to = c->in.on->on_space(c->in.x);
    to.n = to.n > left ? (size_t)left : to.n;
    return to;
}

static const struct stream_events conn_events = { on_read, on_end, on_drain, on_space };

/* --- the server --------------------------------------------------------------------------------------------------- */

static bool is_counted(const struct conn *c) {
    struct sv peer = sv_of(c->stream->peer);
    return c->server->census && !c->once && peer.n && !sv_eq(peer, SV("unix")) && !sv_eq(peer, SV("memory"));
}

static void serve(struct http_server *v, struct stream *s, void *tag, bool once) {
    struct conn *c = v->draining ? NULL : mem_new(sizeof *c);
    if (!c) {
        stream_close(s);
        return;
    }
    c->server = v;
    c->stream = c->in.stream = s;
    c->in.tag = tag;
    c->once = once;
    list_init(&c->step.dirty);
    c->step.run = on_step;
    enum err_limit limit = LIMIT_NONE;
    if (is_counted(c) && !(c->address = census_enter(v->census, sv_of(s->peer), loop_now_us(v->loop), &limit))) {
        count_limit(c, limit);
        stream_close(s);
        mem_free(c);
        return;
    }
    c->opened_ms = loop_now_ms(v->loop);
    buf_init(&c->ahead, (size_t)v->limits.pipeline_ahead + LOOP_SCRATCH);
    list_init(&c->all);
    list_push_back(&v->conns, &c->all);
    v->n++;
    h1_init(&c->h1, false, &v->limits.head);
    conn_idle(c);
    stream_own(s, &conn_events, c);
    stream_read(s, true);
    wait_for(c, v->limits.head_deadline_ms);
}

void http_serve(struct http_server *v, struct stream *s, void *tag) {
    serve(v, s, tag, false);
}

void http_serve_once(struct http_server *v, struct stream *s, void *tag) {
    serve(v, s, tag, true);
}

struct http_server *http_server_new(struct loop *l, const struct http_server_events *on, void *owner, struct err *e) {
    struct http_server *v = mem_new(sizeof *v);
    if (!v) {
        err_no_memory(e);
        return NULL;
    }
    v->loop = l;
    v->on = on;
    v->owner = owner;
    list_init(&v->conns);
    list_init(&v->empty.dirty);
    v->empty.run = on_server_empty;
    return v;
}

void http_server_limits(struct http_server *v, const struct http_server_limits *limits) {
    v->limits = *limits;
}

void http_server_census(struct http_server *v, struct census *c) {
    v->census = c;
}

bool http_server_has_room(const struct http_server *v) {
    return !v->draining && (!v->census || census_has_room(v->census));
}

unsigned http_server_connections(const struct http_server *v) {
    return v->n;
}

void http_server_drain(struct http_server *v, void (*on_empty)(void *owner)) {
    v->draining = true;
    v->on_empty = on_empty;
    LIST_FOR_SAFE(it, &v->conns) {
        struct conn *c = CONTAINER(it, struct conn, all);
        if (c->state == CONN_IDLE && c->ahead.n == 0)
            conn_close(c);
        else
            c->close_after = c->close_after || !c->started;
    }
    loop_flush_later(v->loop, &v->empty);
}

void http_server_free(struct http_server *v) {
    if (!v)
        return;
    v->on_empty = NULL;
    struct err e;
    err_set(&e, ERR_CANCELED, "Drover is stopping");
    for (struct list *it; (it = list_pop(&v->conns));)
        gone(CONTAINER(it, struct conn, all), &e);
    list_drop(&v->empty.dirty);
    mem_free(v);
}
