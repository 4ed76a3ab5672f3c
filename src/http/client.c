/* http/client.c - a call is dialled or takes a pooled connection, sends, and reads one reply. A connection belongs to
 * one call or lies in the pool of its dialer, newest first; in the pool it goes on reading, so that its end is seen at
 * once and nothing a server says unasked can be taken for a reply. */
#include "http/client.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

enum {
    POOL_MAX = 512,       /* idle connections kept per dialer and loop */
    INTERIM_MAX = 16,     /* 1xx heads read over in one call */
    HEAD_MAX = 256 << 10, /* bytes of a request head: whatever limits.head lets in at their ceilings, and our own fields */
};

struct pool {
    struct dialer *dialer;
    struct list idle;    /* of struct up, by up.idle, newest first */
    unsigned n_idle, n_up;
};

struct up { /* an upstream connection */
    struct http_client *client;
    struct pool *pool;
    struct stream *stream;
    struct http_call *call; /* NULL while idle */
    struct list idle;
    struct timer idle_timer;
    struct h1 h1;
    unsigned n_calls;
    bool stepping, closed;
};

struct http_call {
    struct http_client *client;
    struct pool *pool;
    struct arena *arena;
    const struct http_call_events *on;
    void *x;
    struct dial *dial;
    struct up *up;
    struct buf head;        /* the rendered head, until the connection stands */
    struct timer timer;
    uint64_t since_us;      /* of the last byte read behind the head, or the start of waiting */
    uint32_t first_byte_ms, stall_ms, pool_idle_ms;
    unsigned n_interim;
    bool chunked, head_only, reading, got_bytes, got_head, sent, upgrade;
};

struct http_client {
    struct loop *loop;
    struct h1_limits head;
    struct map pools;       /* by the dialer's address */
};

static void call_fail(struct http_call *c, const struct err *e, bool stale);
static void on_call_timer(void *arg);

/* --- pools -------------------------------------------------------------------------------------------------------- */

static struct sv pool_key(struct pool *p) {
    return (struct sv){ (const char *)&p->dialer, sizeof p->dialer };
}

static struct pool *pool_of(struct http_client *k, struct dialer *d) {
    struct pool *p = map_get(&k->pools, (struct sv){ (const char *)&d, sizeof d });
    if (p)
        return p;
    p = mem_new(sizeof *p);
    if (!p)
        return NULL;
    p->dialer = dialer_ref(d);
    list_init(&p->idle);
    if (!map_put(&k->pools, pool_key(p), p)) {
        dialer_unref(d);
        mem_free(p);
        return NULL;
    }
    return p;
}

static void pool_release(struct http_client *k, struct pool *p) {
    if (--p->n_up)
        return;
    map_del(&k->pools, pool_key(p));
    dialer_unref(p->dialer);
    mem_free(p);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void up_free(struct up *u) {
    pool_release(u->client, u->pool);
    mem_free(u);
}

static void up_close(struct up *u) {
    if (!u->closed) {
        u->closed = true;
        if (!list_empty(&u->idle)) {
            list_drop(&u->idle);
            u->pool->n_idle--;
        }
        timer_stop(u->client->loop, &u->idle_timer);
        stream_close(u->stream);
    }
    if (!u->stepping)
        up_free(u);
}

static void on_idle_over(void *arg) {
    up_close(arg);
}

static void up_park(struct up *u, uint32_t idle_ms) {
    if (idle_ms == 0 || u->pool->n_idle >= POOL_MAX) {
        up_close(u);
        return;
    }
    list_push_front(&u->pool->idle, &u->idle);
    u->pool->n_idle++;
    stream_read(u->stream, true);
    timer_set(u->client->loop, &u->idle_timer, idle_ms, on_idle_over, u);
}

/* Takes the call off its connection and its timer; nothing of it is touched afterwards. */
static struct up *call_detach(struct http_call *c) {
    struct up *u = c->up;
    timer_stop(c->client->loop, &c->timer);
    buf_deinit(&c->head);
    c->up = NULL;
    if (u)
        u->call = NULL;
    return u;
}

static void call_end(struct http_call *c, bool reusable) {
    const struct http_call_events *on = c->on;
    void *x = c->x;
    uint32_t idle_ms = c->pool_idle_ms;
    struct up *u = call_detach(c);
    if (reusable)
        up_park(u, idle_ms);
    else
        up_close(u);
    on->on_end(x);
}

static void call_fail(struct http_call *c, const struct err *e, bool stale) {
    const struct http_call_events *on = c->on;
    void *x = c->x;
    struct err copy = *e;
    struct up *u = call_detach(c);
    if (u)
        up_close(u);
    else
        pool_release(c->client, c->pool);
    on->on_fail(x, &copy, stale);
}

/* The connection's stream leaves us; what is left of it is closed as an empty shell. */
static void call_upgrade(struct http_call *c, struct up *u, struct sv ahead) {
    const struct http_call_events *on = c->on;
    const struct http_head head = u->h1.head;
    void *x = c->x;
    struct stream *s = u->stream;
    stream_read(s, false);
    stream_own(s, NULL, NULL);
    (void)call_detach(c);
    u->stream = NULL;
    up_close(u);
    on->on_upgrade(x, &head, s, ahead);
}

static void reply_head(struct http_call *c, struct up *u, struct sv ahead) {
    const struct http_head *head = &u->h1.head;
    if (head->status < 200 && head->status != 101)
        return; /* H1_END follows and the next head begins */
    if (head->status == 101 && c->upgrade && head->upgrade) {
        call_upgrade(c, u, ahead);
        return;
    }
    if (head->status == 101) {
        struct err e;
        err_set(&e, ERR_BAD_REPLY, "the server switched protocols unasked");
        call_fail(c, &e, false);
        return;
    }
    c->got_head = true;
    struct http_head *kept = ARENA_NEW(c->arena, struct http_head); /* the engine's own is used again */
    if (!kept) {
        struct err e;
        err_no_memory(&e);
        call_fail(c, &e, false);
        return;
    }
    *kept = *head;
    c->since_us = loop_now_us(c->client->loop);
    timer_set(c->client->loop, &c->timer, c->stall_ms, on_call_timer, c);
    c->on->on_head(c->x, kept);
}

static bool reply_end(struct http_call *c, struct up *u, struct sv rest) {
    if (!c->got_head) {
        if (++c->n_interim > INTERIM_MAX) {
            struct err e;
            err_set(&e, ERR_BAD_REPLY, "more than %d interim replies", INTERIM_MAX);
            call_fail(c, &e, false);
            return false;
        }
        h1_begin(&u->h1, c->arena, c->head_only);
        return true;
    }
    call_end(c, c->sent && rest.n == 0 && u->h1.head.keep_alive);
    return false;
}

static void feed(struct up *u, struct sv bytes) {
    struct http_call *c = u->call;
    c->got_bytes = true;
    if (c->got_head) /* bytes of a head buy no time */
        c->since_us = loop_now_us(u->client->loop);
    while (u->call == c && !u->closed) {
        struct sv piece;
        switch (h1_next(&u->h1, &bytes, &piece)) {
        case H1_MORE:
            return;
        case H1_HEAD:
            reply_head(c, u, bytes);
            break;
        case H1_BODY:
            c->on->on_body(c->x, piece);
            break;
        case H1_END:
            if (!reply_end(c, u, bytes))
                return;
            break;
        case H1_BAD: {
            struct err e = u->h1.err;
            call_fail(c, &e, false);
            return;
        }
        }
    }
}

static void on_read(void *owner, struct sv bytes) {
    struct up *u = owner;
    if (!u->call) { /* an idle server must not speak */
        up_close(u);
        return;
    }
    u->stepping = true;
    feed(u, bytes);
    u->stepping = false;
    if (u->closed)
        up_free(u);
}

static void on_stream_end(void *owner, const struct err *e) {
    struct up *u = owner;
    struct http_call *c = u->call;
    if (!c) {
        up_close(u);
        return;
    }
    bool stale = u->n_calls > 1 && !c->got_bytes;
    if (e) {
        call_fail(c, e, stale);
        return;
    }
    if (c->got_head && h1_eof(&u->h1) == H1_END) {
        call_end(c, false);
        return;
    }
    struct err cut;
    err_set(&cut, c->got_bytes ? ERR_BAD_REPLY : ERR_IO, "the server closed the connection %s",
            c->got_head ? "inside its reply" : "before it replied");
    call_fail(c, &cut, stale);
}

static void on_stream_drain(void *owner) {
    struct up *u = owner;
    if (u->call && u->call->on->on_drain)
        u->call->on->on_drain(u->call->x);
}

static const struct stream_events up_events = { on_read, on_stream_end, on_stream_drain, NULL };

/* --- time --------------------------------------------------------------------------------------------------------- */

/* One timer a call; it looks back rather than being moved for every byte. */
static void on_call_timer(void *arg) {
    struct http_call *c = arg;
    uint64_t now = loop_now_us(c->client->loop), waited_ms = (now - c->since_us) / 1000;
    uint32_t limit_ms = c->got_head ? c->stall_ms : c->first_byte_ms;
    if (!c->reading) { /* we are the ones who wait for our client */
        c->since_us = now;
        waited_ms = 0;
    }
    if (waited_ms < limit_ms) {
        timer_set(c->client->loop, &c->timer, limit_ms - waited_ms, on_call_timer, c);
        return;
    }
    struct err e;
    err_limit(&e, c->got_head ? LIMIT_STALL_TIMEOUT : LIMIT_UPSTREAM_FIRST_BYTE,
              c->got_head ? "no byte of the reply for %u ms" : "no reply within %u ms", limit_ms);
    call_fail(c, &e, false);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static bool render(struct http_call *c, struct buf *out, const struct http_call_spec *s) {
    buf_add(out, s->method);
    buf_add_char(out, ' ');
    buf_add(out, s->target);
    buf_add(out, SV(" HTTP/1.1\r\n"));
    for (unsigned i = 0; i < s->n_headers; i++) {
        buf_add(out, s->headers[i].name);
        buf_add(out, SV(": "));
        buf_add(out, s->headers[i].value);
        buf_add(out, SV("\r\n"));
    }
    if (s->length > 0 || (s->length == 0 && sv_eq(s->method, SV("POST")))) {
        buf_add(out, SV("content-length: "));
        buf_add_u64(out, (uint64_t)s->length);
        buf_add(out, SV("\r\n"));
    } else if (s->length < 0) {
        buf_add(out, SV("transfer-encoding: chunked\r\n"));
    }
    if (!s->pool_idle_ms)
        buf_add(out, SV("connection: close\r\n"));
    buf_add(out, SV("\r\n"));
    c->chunked = s->length < 0;
    c->sent = s->length == 0;
    return !out->failed;
}

static void render_fault(const struct http_call_spec *s, struct err *e) {
    size_t n = s->method.n + s->target.n;
    for (unsigned i = 0; i < s->n_headers; i++)
        n += s->headers[i].name.n + s->headers[i].value.n + 4;
    if (n > HEAD_MAX - 256)
        err_set(e, ERR_HEAD_LARGE, "the head of the request would have %zu bytes, and %d are all there may be", n, HEAD_MAX - 256);
    else
        err_no_memory(e);
}

static void begin_on(struct http_call *c, struct up *u) {
    c->up = u;
    u->call = c;
    u->n_calls++;
    c->since_us = loop_now_us(c->client->loop);
    h1_begin(&u->h1, c->arena, c->head_only);
    timer_set(c->client->loop, &c->timer, c->first_byte_ms, on_call_timer, c);
}

static struct up *up_new(struct http_call *c, struct stream *s) {
    struct up *u = mem_new(sizeof *u);
    if (!u)
        return NULL;
    u->client = c->client;
    u->pool = c->pool;
    u->stream = s;
    list_init(&u->idle);
    h1_init(&u->h1, true, &c->client->head);
    stream_own(s, &up_events, u);
    return u;
}

static void on_dialled(void *arg, struct stream *s, const struct err *e) {
    struct http_call *c = arg;
    struct err fault;
    c->dial = NULL;
    struct up *u = s ? up_new(c, s) : NULL;
    if (!u) {
        if (s) {
            stream_close(s);
            err_no_memory(&fault);
            e = &fault;
        }
        call_fail(c, e, false);
        return;
    }
    begin_on(c, u);
    stream_write1(s, buf_sv(&c->head));
    buf_deinit(&c->head);
    stream_read(s, c->reading);
    if (c->on->on_ready)
        c->on->on_ready(c->x);
}

struct http_call *http_call_start(struct http_client *k, struct arena *arena, const struct http_call_spec *spec,
                                  const struct http_call_events *on, void *x, struct err *e) {
    struct http_call *c = ARENA_NEW(arena, struct http_call);
    struct pool *p = c ? pool_of(k, spec->dialer) : NULL;
    if (!p) {
        err_no_memory(e);
        return NULL;
    }
    *c = (struct http_call){ .client = k, .pool = p, .arena = arena, .on = on, .x = x, .reading = true,
                             .first_byte_ms = spec->first_byte_ms, .stall_ms = spec->stall_ms,
                             .pool_idle_ms = spec->pool_idle_ms, .upgrade = spec->upgrade, .head_only = sv_eq(spec->method, SV("HEAD")) };
    buf_init(&c->head, HEAD_MAX);
    p->n_up++; /* the call keeps the pool until its connection does */
    if (!list_empty(&p->idle) && !spec->fresh) {
        struct up *u = CONTAINER(list_pop(&p->idle), struct up, idle);
        char space[2048];
        struct buf out = { .p = space, .base = space, .cap = sizeof space, .max = sizeof space };
        p->n_idle--;
        p->n_up--;
        timer_stop(k->loop, &u->idle_timer);
        if (render(c, &out, spec)) {
            stream_write1(u->stream, buf_sv(&out));
        } else if (render(c, &c->head, spec)) {
            stream_write1(u->stream, buf_sv(&c->head));
            buf_deinit(&c->head);
        } else {
            buf_deinit(&c->head);
            up_close(u);
            render_fault(spec, e);
            return NULL;
        }
        begin_on(c, u);
        return c;
    }
    if (!render(c, &c->head, spec))
        render_fault(spec, e);
    else
        c->dial = dialer_dial(p->dialer, k->loop, spec->connect_ms, on_dialled, c, e);
    if (!c->dial) {
        buf_deinit(&c->head);
        pool_release(k, p);
        return NULL;
    }
    return c;
}

bool http_call_is_ready(const struct http_call *c) {
    return c->up != NULL;
}

bool http_call_is_reused(const struct http_call *c) {
    return c->up && c->up->n_calls > 1;
}

void http_call_send(struct http_call *c, const struct sv *pieces, unsigned n) {
    if (!c->chunked) {
        stream_write(c->up->stream, pieces, n);
        return;
    }
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += pieces[i].n;
    if (total == 0)
        return;
    char space[24];
    struct buf line = { .p = space, .base = space, .cap = sizeof space, .max = sizeof space };
    buf_printf(&line, "%zx\r\n", total);
    stream_write1(c->up->stream, buf_sv(&line));
    stream_write(c->up->stream, pieces, n);
    stream_write1(c->up->stream, SV("\r\n"));
}

size_t http_call_offer(struct http_call *c, const struct sv *pieces, unsigned n) {
    return stream_offer(c->up->stream, pieces, n);
}

void http_call_sent(struct http_call *c) {
    if (c->chunked && !c->sent)
        stream_write1(c->up->stream, SV("0\r\n\r\n"));
    c->sent = true;
    c->since_us = loop_now_us(c->client->loop);
}

size_t http_call_queued(const struct http_call *c) {
    return c->up ? stream_queued(c->up->stream) : 0;
}

void http_call_want_drain(struct http_call *c) {
    if (c->up)
        stream_want_drain(c->up->stream);
}

void http_call_read(struct http_call *c, bool on) {
    if (c->reading == on)
        return;
    c->reading = on;
    c->since_us = loop_now_us(c->client->loop);
    if (c->up)
        stream_read(c->up->stream, on);
}

void http_call_cancel(struct http_call *c) {
    if (!c)
        return;
    struct dial *dial = c->dial;
    struct up *u = call_detach(c);
    c->dial = NULL;
    if (dial)
        dialer_cancel(c->pool->dialer, dial);
    if (u)
        up_close(u);
    else
        pool_release(c->client, c->pool);
}

struct http_client *http_client_new(struct loop *l, const struct h1_limits *head, struct err *e) {
    struct http_client *k = mem_new(sizeof *k);
    if (!k) {
        err_no_memory(e);
        return NULL;
    }
    k->loop = l;
    k->head = *head;
    map_init(&k->pools);
    return k;
}

void http_client_free(struct http_client *k) {
    if (!k)
        return;
    size_t at = 0;
    for (struct map_entry *m; (m = map_next(&k->pools, &at));) {
        struct pool *p = m->value;
        p->n_up++; /* hold it while its connections go */
        for (struct list *it; (it = list_pop(&p->idle));) {
            p->n_idle--;
            up_close(CONTAINER(it, struct up, idle));
        }
        pool_release(k, p);
        at = 0; /* the table has changed */
    }
    map_deinit(&k->pools);
    mem_free(k);
}
