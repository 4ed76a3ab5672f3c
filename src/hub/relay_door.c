/* hub/relay_door.c - accept -> (TLS) -> GET /agent, Upgrade -> may it? -> 101 -> a caller: a leaf's engine on its socket -> its end.
 *
 * What a caller's engine says is written at the end of the turn, and what follows from its end happens there too: so nobody who speaks to a
 * leaf finds it gone in the middle. */
#include <sodium.h>
#include <stdio.h>

#include "base/log.h"
#include "http/server.h"
#include "http/ws.h"
#include "hub/member_room.h"
#include "hub/relay.h"
#include "io/sock.h"
#include "io/tls.h"

enum {
    WRITE_MS = 10000, /* without any progress of what is to be written */
    HANDSHAKE_MS = 10000,
    BACKLOG = 64,
    REQUEST_MS = 10000,
};

struct door_in {
    struct relay *relay;
    struct listener *listener;
    struct http_server *server;
    struct tls_context *tls; /* NULL: loopback, plain */
    struct list shaking;     /* of struct shaking */
    unsigned n_shaking;
    struct list callers;
    struct access_guard guard;
    unsigned char token[crypto_hash_sha256_BYTES]; /* its hash */
    bool has_token;
};

struct shaking { /* a connection in its TLS handshake */
    struct list all;
    struct door_in *door;
    struct tls_handshake *handshake;
    struct timer deadline;
};

struct caller {
    struct list all;
    struct door_in *door;
    struct stream *socket;
    struct leaf *leaf;
    struct held *held; /* NULL: it has not said who it is */
    struct loop_flush flush;
    uint64_t given, went, went_ms, dead_ms; /* bytes handed over, and those of them that went; loop time */
    unsigned code;
    bool dead, told, closed; /* told: the relay knows; closed: the socket has ended */
    char why[128];
};

static uint64_t now_ms(const struct door_in *d) {
    return loop_now_ms(d->relay->loop);
}

/* --- a caller's socket ---------------------------------------------------------------------------------------------------------------- */

struct leaf *caller_leaf(struct caller *c) {
    return c->leaf;
}
struct held *caller_held(const struct caller *c) {
    return c->held;
}
void caller_hold(struct caller *c, struct held *h) {
    c->held = h;
}
const char *caller_peer(const struct caller *c) {
    return c->socket->peer;
}

void caller_flush(struct caller *c) {
    loop_flush_later(c->door->relay->loop, &c->flush);
}

void caller_pause(struct caller *c, bool on) {
    leaf_pause(c->leaf, on, now_ms(c->door));
    stream_read(c->socket, !on);
    caller_flush(c);
}

static void caller_free(struct caller *c) {
    list_drop(&c->all);
    list_drop(&c->flush.dirty);
    c->door->relay->n_callers--;
    stream_close(c->socket);
    leaf_free(c->leaf);
    mem_free(c);
}

static void write_out(struct caller *c) {
    struct buf *out = leaf_output(c->leaf);
    if (c->closed || !out->n)
        return;
    if (stream_queued(c->socket) + out->n > LEAF_OUT_MAX) { /* a little is read now and then, which no deadline ends */
        leaf_cut(c->leaf, SV("it reads too slowly what it is told"));
        return;
    }
    c->given += out->n;
    stream_write1(c->socket, buf_sv(out));
    buf_reset(out);
    buf_trim(out);
}

static void tell_end(struct caller *c) {
    c->told = true;
    log_event(LOG_DEBUG, "a leaf's socket has ended", F_SV("agent", leaf_agent(c->leaf)),
              F_STR("peer", c->socket->peer), F_U64("code", c->code), F_STR("cause", c->why));
    relay__gone(c->door->relay, c);
}

static void on_flush(struct loop_flush *f) {
    struct caller *c = CONTAINER(f, struct caller, flush);
    write_out(c);
    if (!c->dead || c->told)
        return;
    tell_end(c);
    if (c->code == CLOSE_SILENT || c->closed)
        caller_free(c);
    else
        stream_end(c->socket); /* the leaf ends the connection then, or time does */
}

static void on_read(void *owner, struct sv bytes) {
    struct caller *c = owner;
    if (!c->dead)
        leaf_feed(c->leaf, bytes, now_ms(c->door));
    caller_flush(c);
}

static void on_socket_end(void *owner, const struct err *e) {
    struct caller *c = owner;
    c->closed = true;
    if (c->told)
        caller_free(c);
    else
        leaf_cut(c->leaf, e ? sv_of(e->text) : SV("the leaf ended the connection"));
}

static const struct stream_events socket_events = { on_read, on_socket_end, NULL, NULL };

static enum link_fault on_join(void *owner, struct sv agent_id) {
    struct caller *c = owner;
    return relay__join(c->door->relay, c, agent_id);
}

static void on_message(void *owner, struct envelope *m) {
    struct caller *c = owner;
    if (c->held)
        relay__heard(c->door->relay, c, m);
}

static void on_leaf_end(void *owner, unsigned code, struct sv why) {
    struct caller *c = owner;
    c->dead = true;
    c->dead_ms = now_ms(c->door);
    c->code = code;
    snprintf(c->why, sizeof c->why, "%.*s", SV_FMT(sv_first(why, sizeof c->why - 1)));
    caller_flush(c);
}

static const struct leaf_events leaf_events = { on_join, on_message, on_leaf_end };

static void caller_tick(struct caller *c) {
    uint64_t now = now_ms(c->door), went = c->given - stream_queued(c->socket);
    if (went != c->went || stream_queued(c->socket) == 0) {
        c->went = went;
        c->went_ms = now;
    }
    if (c->told && now - c->dead_ms >= ENGINE_CLOSE_MS) {
        caller_free(c);
        return;
    }
    if (!c->dead && now - c->went_ms >= WRITE_MS)
        leaf_cut(c->leaf, SV("nothing could be sent for 10 s"));
    else if (!c->dead)
        leaf_tick(c->leaf, now);
    caller_flush(c);
}

void door_in__tick(struct relay *r) {
    if (!r->door)
        return;
    LIST_FOR_SAFE(it, &r->door->callers)
        caller_tick(CONTAINER(it, struct caller, all));
}

/* Takes s, on which the upgrade is complete. */
static void call(struct door_in *d, struct stream *s, struct sv early) {
    struct caller *c = mem_new(sizeof *c);
    if (c)
        c->leaf = leaf_new(&leaf_events, c, now_ms(d));
    if (!c || !c->leaf) {
        mem_free(c);
        stream_close(s);
        return;
    }
    c->door = d;
    c->socket = s;
    c->went_ms = now_ms(d);
    c->flush.run = on_flush;
    list_init(&c->flush.dirty);
    list_init(&c->all);
    list_push_back(&d->callers, &c->all);
    d->relay->n_callers++;
    leaf_site(c->leaf, sv_of(d->relay->node_id));
    stream_own(s, &socket_events, c);
    stream_read(s, true);
    if (early.n)
        leaf_feed(c->leaf, early, now_ms(d));
    caller_flush(c);
}

/* --- requests ------------------------------------------------------------------------------------------------------------------------- */

static void on_body(void *x, struct sv bytes) {
    (void)x;
    (void)bytes;
}
static void on_body_end(void *x) {
    (void)x;
}
static void on_gone(void *x, const struct err *e) {
    (void)x;
    (void)e;
}
static const struct http_in_events in_events = { on_body, on_body_end, NULL, on_gone, NULL };

static void no(struct http_in *in, int status, const char *code, const char *text, uint32_t retry_s) {
    struct buf body = BUF_MAX(1024);
    char retry[12];
    snprintf(retry, sizeof retry, "%u", retry_s);
    const struct http_header more[2] = { { SV("retry-after"), sv_of(retry) },
                                         { SV("sec-websocket-version"), SV("13") } };
    buf_printf(&body, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    buf_add_json(&body, sv_of(text));
    buf_add(&body, SV("}}\n"));
    http_in_reply(in, status, retry_s ? more : more + 1, retry_s || status == 426, SV("application/json"),
                  buf_sv(&body));
    buf_deinit(&body);
}

static bool has_token(const struct door_in *d, const struct http_head *head) {
    struct sv auth = http_get(head, SV("authorization"));
    unsigned char hash[crypto_hash_sha256_BYTES];
    if (!sv_starts_nocase(auth, SV("bearer ")))
        return false;
    auth = sv_trim(sv_from(auth, 7));
    crypto_hash_sha256(hash, (const unsigned char *)auth.p, auth.n);
    bool same = sodium_memcmp(hash, d->token, sizeof hash) == 0;
    sodium_memzero(hash, sizeof hash);
    return same;
}

static bool is_welcome(struct door_in *d, struct http_in *in) {
    struct err e = { 0 };
    if (!d->has_token || has_token(d, in->head))
        return true;
    err_set(&e, ERR_AUTH, "the token is missing or wrong (relay.token of this node)");
    access_guard_count(&d->guard, sv_of(in->stream->peer), loop_now_us(d->relay->loop), &e);
    if (e.code == ERR_LIMIT)
        no(in, 429, "rate_limited", e.text, e.retry_after_s);
    else
        no(in, 401, "unauthenticated", e.text, 0);
    return false;
}

static void upgrade(struct door_in *d, struct http_in *in, const char *accept) {
    char head[256];
    struct sv early;
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: "
                     "websocket\r\nsec-websocket-accept: %s\r\n\r\n",
                     accept);
    struct stream *s = http_in_upgrade(in, &early);
    stream_write1(s, (struct sv){ head, (size_t)n });
    call(d, s, early);
}

static void on_request(void *owner, struct http_in *in) {
    struct door_in *d = owner;
    char accept[WS_ACCEPT];
    struct err e;
    in->on = &in_events;
    if (http_get(in->head, SV("origin")).p) {
        no(in, 403, "denied", "leaves never come from web pages", 0);
        return;
    }
    if (!sv_eq(in->head->path, SV("/agent"))) {
        no(in, 404, "not_found", "leaves come to /agent", 0);
        return;
    }
    if (!is_welcome(d, in))
        return;
    enum ws_handshake shape = ws_check_request(in->head, accept, &e);
    if (shape != WS_HANDSHAKE_OK)
        no(in, shape == WS_HANDSHAKE_VERSION ? 426 : 400,
           shape == WS_HANDSHAKE_VERSION ? "upgrade_required" : "bad_request", e.text, 0);
    else if (!d->relay->node_id[0])
        no(in, 503, "unavailable", "this machine is no node of a fleet yet: drover join", 60);
    else if (d->relay->n_callers >= RELAY_LEAVES)
        no(in, 503, "unavailable", "64 leaves are connected, which is the most", 60);
    else
        upgrade(d, in, accept);
}

static const struct http_server_events server_events = { on_request, NULL, NULL };

/* --- connections ---------------------------------------------------------------------------------------------------------------------- */

static void shaking_free(struct shaking *k) {
    timer_stop(k->door->relay->loop, &k->deadline);
    list_drop(&k->all);
    k->door->n_shaking--;
    mem_free(k);
}

static void on_late(void *arg) {
    struct shaking *k = arg;
    tls_cancel(k->handshake);
    shaking_free(k);
}

static void on_handshake(void *arg, struct stream *s, const struct err *e) {
    struct shaking *k = arg;
    struct door_in *d = k->door;
    shaking_free(k);
    if (s)
        http_serve(d->server, s, d);
    else
        log_event(LOG_DEBUG, "TLS handshake of a leaf failed", F_STR("cause", e->text));
}

static void on_accept(void *owner, struct stream *s) {
    struct door_in *d = owner;
    if (!d->tls) {
        http_serve(d->server, s, d);
        return;
    }
    struct shaking *k = mem_new(sizeof *k);
    if (k)
        k->handshake = tls_start(d->tls, s, SV_NULL, on_handshake, k, NULL);
    else
        stream_close(s);
    if (!k || !k->handshake) {
        mem_free(k);
        return;
    }
    k->door = d;
    list_init(&k->all);
    list_push_back(&d->shaking, &k->all);
    d->n_shaking++;
    timer_set(d->relay->loop, &k->deadline, HANDSHAKE_MS, on_late, k);
}

static bool can_accept(void *owner) {
    const struct door_in *d = owner;
    return http_server_connections(d->server) + d->n_shaking < RELAY_VISITORS;
}

static const struct listener_events listener_events = { on_accept, can_accept };

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

static void door_free(struct door_in *d) {
    http_server_free(d->server);
    tls_unref(d->tls);
    sodium_memzero(d->token, sizeof d->token);
    mem_free(d);
}

static bool listen_at(struct door_in *d, const struct config *c, struct err *e) {
    int fd = listen_socket((const struct sockaddr *)&c->relay.addr, c->relay.addr_len, false, BACKLOG, e);
    if (fd < 0)
        return false;
    d->listener = listener_new(d->relay->loop, fd, &listener_events, d, e);
    if (!d->listener)
        close(fd);
    return d->listener != NULL;
}

bool door_in__open(struct relay *r, struct err *e) {
    const struct config *c = *r->member->house.config;
    const struct http_server_limits limits = { { 8192, 8192, 16384, 60, 256 },
                                               0,
                                               REQUEST_MS,
                                               REQUEST_MS,
                                               REQUEST_MS,
                                               REQUEST_MS,
                                               60000,
                                               0,
                                               16384,
                                               8,
                                               LIMIT_BODY_ADMIN };
    struct door_in *d = mem_new(sizeof *d);
    if (!d)
        return err_no_memory(e);
    d->relay = r;
    list_init(&d->shaking);
    list_init(&d->callers);
    d->has_token = c->relay.token.n > 0;
    crypto_hash_sha256(d->token, (const unsigned char *)c->relay.token.value, c->relay.token.n);
    d->server = http_server_new(r->loop, &server_events, d, e);
    if (d->server)
        http_server_limits(d->server, &limits);
    bool ok = d->server &&
              (!c->relay.tls_cert.n || (d->tls = tls_server_context(c->relay.tls_cert.p, c->relay.tls_key.p, e))) &&
              listen_at(d, c, e);
    if (!ok) {
        door_free(d);
        return false;
    }
    r->door = d;
    log_event(LOG_INFO, "leaves may come", F_SV("address", c->relay.listen), F_STR("tls", d->tls ? "yes" : "no"),
              F_STR("token", d->has_token ? "yes" : "no"));
    return true;
}

void door_in__close(struct relay *r) {
    struct door_in *d = r->door;
    if (!d)
        return;
    listener_close(d->listener);
    LIST_FOR_SAFE(it, &d->shaking) {
        struct shaking *k = CONTAINER(it, struct shaking, all);
        tls_cancel(k->handshake);
        shaking_free(k);
    }
    LIST_FOR_SAFE(it, &d->callers) {
        struct caller *c = CONTAINER(it, struct caller, all);
        leaf_close(c->leaf, 1001, SV("the node is stopping"));
        write_out(c);
        if (!c->told)
            tell_end(c);
        caller_free(c);
    }
    r->door = NULL;
    door_free(d);
}
