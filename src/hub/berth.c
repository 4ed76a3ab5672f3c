/* hub/berth.c - one dial: order (from the control loop) -> HTTP upgrade -> checks -> wire_attach; or wire_refuse with what was said
 * instead. From then on the wire speaks for the lane, and only its streams come by here: stream -> http_serve_once. */
#include "hub/berth.h"

#include <sodium.h>

#include "base/log.h"
#include "http/client.h"
#include "http/ws.h"
#include "version.h"

enum { CONNECT_MS = 10000, UPGRADE_MS = 15000, HOST_MAX = 300, PREFIX_MAX = 256, SECRET_MAX = 160, RETRY_MAX_S = 3600 };

struct berth {
    struct loop *loop;
    struct http_server *server;
    struct gateway_listener *surface;
    struct http_client *client;
    struct link_host *host;
    struct list dialling; /* of struct order */
    _Atomic uint64_t n_streams;
};

struct order {
    struct msg msg;
    struct list dialling;
    struct berth *berth;
    struct dialer *dialer;
    struct wire *wire;
    struct http_call *call;
    struct arena arena;
    char key[WS_KEY];
    char host[HOST_MAX], path[PREFIX_MAX + 16], node_id[LINK_IDENT_MAX + 1];
    char bearer[SECRET_MAX], lane_token[SECRET_MAX];
    int status; /* of a refusal */
    uint32_t retry_s;
};

#define SUBPROTOCOL SV("drover.link.1")

static void order_free(struct order *o) {
    list_drop(&o->dialling);
    dialer_unref(o->dialer);
    arena_deinit(&o->arena);
    sodium_memzero(o->bearer, sizeof o->bearer);
    sodium_memzero(o->lane_token, sizeof o->lane_token);
    mem_free(o);
}

static void refuse(struct order *o, int status, struct sv why, uint32_t retry_s) {
    wire_refuse(o->wire, status, why, retry_s);
    order_free(o);
}

/* --- the lane ------------------------------------------------------------------------------------------------------------------------- */

static void on_stream(void *arg, struct stream *s) {
    struct berth *b = arg;
    atomic_fetch_add_explicit(&b->n_streams, 1, memory_order_relaxed);
    http_serve_once(b->server, s, b->surface);
}

static void on_upgrade(void *x, const struct http_head *head, struct stream *s, struct sv ahead) {
    struct order *o = x;
    struct berth *b = o->berth;
    struct err e;
    o->call = NULL;
    if (!ws_check_reply(head, o->key, SUBPROTOCOL, &e)) {
        stream_close(s);
        refuse(o, 0, sv_of(e.text), 0);
        return;
    }
    const struct wire_lane at = {
        .host = b->host,
        .spec = { .is_client = true,
                  .is_lane = o->lane_token[0] != '\0',
                  .limits = MUX_LIMITS_NODE,
                  .site = sv_of(o->node_id) },
        .on_stream = on_stream,
        .arg = b,
        .echo = true,
    };
    wire_attach(o->wire, s, ahead, &at);
    order_free(o);
}

/* --- instead of it -------------------------------------------------------------------------------------------------------------------- */

static void on_ready(void *x) {
    http_call_sent(((struct order *)x)->call);
}

static void on_head(void *x, const struct http_head *head) {
    struct order *o = x;
    uint64_t s;
    o->status = head->status;
    if (sv_to_u64(http_get(head, SV("retry-after")), &s))
        o->retry_s = s < RETRY_MAX_S ? (uint32_t)s : RETRY_MAX_S;
}

static void on_body(void *x, struct sv bytes) {
    (void)x; /* what it says to people stands in the hub's log; the status decides */
    (void)bytes;
}

static void on_end(void *x) {
    struct order *o = x;
    o->call = NULL;
    refuse(o, o->status, sv_of(http_reason(o->status)), o->retry_s);
}

static void on_fail(void *x, const struct err *e, bool stale) {
    struct order *o = x;
    (void)stale;
    o->call = NULL;
    refuse(o, o->status, sv_of(e->text), o->retry_s);
}

static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, NULL, on_upgrade };

/* --- the order ------------------------------------------------------------------------------------------------------------------------ */

static void on_order(struct msg *m) {
    struct order *o = CONTAINER(m, struct order, msg);
    struct berth *b = o->berth;
    struct err e;
    unsigned n = 0;
    struct http_header h[12];
    list_push_back(&b->dialling, &o->dialling);
    ws_new_key(o->key);
    char *auth = arena_printf(&o->arena, "Bearer %s", o->bearer);
    h[n++] = (struct http_header){ SV("host"), sv_of(o->host) };
    h[n++] = (struct http_header){ SV("connection"), SV("upgrade") };
    h[n++] = (struct http_header){ SV("upgrade"), SV("websocket") };
    h[n++] = (struct http_header){ SV("sec-websocket-version"), SV("13") };
    h[n++] = (struct http_header){ SV("sec-websocket-key"), sv_of(o->key) };
    h[n++] = (struct http_header){ SV("sec-websocket-protocol"), SUBPROTOCOL };
    h[n++] = (struct http_header){ SV("user-agent"), SV("drover/" DROVER_VERSION) };
    h[n++] = (struct http_header){ SV("drover-node"), sv_of(o->node_id) };
    h[n++] = (struct http_header){ SV("authorization"), sv_of(auth) };
    if (o->lane_token[0])
        h[n++] = (struct http_header){ SV("drover-lane"), sv_of(o->lane_token) };
    const struct http_call_spec spec = { .dialer = o->dialer,
                                         .method = SV("GET"),
                                         .target = sv_of(o->path),
                                         .headers = h,
                                         .n_headers = n,
                                         .connect_ms = CONNECT_MS,
                                         .first_byte_ms = UPGRADE_MS,
                                         .stall_ms = UPGRADE_MS,
                                         .pool_idle_ms = 1,
                                         .fresh = true,
                                         .upgrade = true };
    o->call = auth ? http_call_start(b->client, &o->arena, &spec, &call_events, o, &e) : NULL;
    if (!auth)
        err_no_memory(&e);
    if (!o->call)
        refuse(o, 0, sv_of(e.text), 0);
    else if (http_call_is_ready(o->call))
        http_call_sent(o->call);
}

bool berth_dial(struct berth *b, const struct berth_dial *d) {
    struct order *o = mem_new(sizeof *o);
    char prefix[PREFIX_MAX];
    if (!o)
        return false;
    list_init(&o->dialling);
    arena_init(&o->arena, 256 << 10, NULL);
    if (sv_to_cstr(d->host, o->host, sizeof o->host) && sv_to_cstr(d->prefix, prefix, sizeof prefix) &&
        sv_to_cstr(d->node_id, o->node_id, sizeof o->node_id) && sv_to_cstr(d->bearer, o->bearer, sizeof o->bearer) &&
        sv_to_cstr(d->lane_token, o->lane_token, sizeof o->lane_token)) {
        snprintf(o->path, sizeof o->path, "%s/link/v1", prefix);
        o->berth = b;
        o->dialer = dialer_ref(d->dialer);
        o->wire = d->wire;
        o->msg.deliver = on_order;
        if (loop_post(b->loop, &o->msg))
            return true;
    }
    order_free(o);
    return false;
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

uint64_t berth_streams(const struct berth *b) {
    return atomic_load_explicit(&b->n_streams, memory_order_relaxed);
}

void berth_free(struct berth *b) {
    if (!b)
        return;
    while (!list_empty(&b->dialling)) {
        struct order *o = CONTAINER(b->dialling.next, struct order, dialling);
        http_call_cancel(o->call);
        o->call = NULL;
        refuse(o, 0, SV("stopping"), 0);
    }
    http_client_free(b->client);
    mem_free(b);
}

struct berth *berth_new(struct loop *l, struct link_host *links, struct http_server *server,
                        struct gateway_listener *surface, struct err *e) {
    static const struct h1_limits head = { 0, 16384, 65536, 100, 256 };
    struct berth *b = mem_new(sizeof *b);
    if (!b) {
        err_no_memory(e);
        return NULL;
    }
    *b = (struct berth){ .loop = l, .host = links, .server = server, .surface = surface };
    list_init(&b->dialling);
    b->client = http_client_new(l, &head, e);
    if (!b->client) {
        berth_free(b);
        return NULL;
    }
    return b;
}
