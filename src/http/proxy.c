/* http/proxy.c - pass: request -> call -> (body both ways) -> end; or, after a 101, two streams that are joined. */
#include "http/proxy.h"

#include "io/join.h"

enum {
    QUEUE_MAX = 64 << 10, /* bytes towards one side before the other is not read any more */
    CONNECT_MS = 5000, REPLY_MS = 120000, STALL_MS = 3600000, /* event streams may be silent for long */
    REPLY_FAR_MS = 600000, /* of a server of somebody else's, which may load a model first */
    IDLE_MS = 30000,
    HEADERS_MAX = 100, /* of a server's that go on */
};

struct http_proxy {
    struct loop *loop;
    struct http_client *client;
    struct dialer *dialer;
    struct joints joined;
    unsigned joined_max;
    struct list passes;        /* of struct pass */
    unsigned n_passes;
    http_proxy_filter *filter; /* NULL: everything goes on */
    http_proxy_refuse *refuse;
};

struct pass { /* one request, in its arena */
    struct list passes;
    struct http_proxy *proxy;
    struct http_in *in;
    struct http_call *call;
    bool wants_body, started;
};

static void leave(struct pass *p) {
    list_drop(&p->passes);
    p->proxy->n_passes--;
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

/* Whether a field is between the server and us alone. Framing is made anew. */
static bool is_hop(const struct http_head *head, struct sv name, bool upgraded) {
    static const char *const hop[] = { "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "content-length", "upgrade" };
    for (size_t i = 0; i < sizeof hop / sizeof hop[0]; i++)
        if (sv_eq(name, sv_of(hop[i])))
            return !(upgraded && sv_eq(name, SV("upgrade")));
    for (unsigned i = 0; i < head->n_headers; i++)
        if (sv_eq(head->headers[i].name, SV("connection")) && http_has_token(head->headers[i].value, name))
            return !upgraded || !sv_eq(name, SV("upgrade"));
    return false;
}

/* Negative: none of it may. */
static int goes_on(const struct pass *p, const struct http_head *head, bool upgraded, struct http_header to[static HTTP_PROXY_FIELDS]) {
    unsigned n = 0;
    for (unsigned i = 0; i < head->n_headers && n < HEADERS_MAX; i++)
        if (!is_hop(head, head->headers[i].name, upgraded) && http_value_is_clean(head->headers[i].value))
            to[n++] = head->headers[i];
    return p->proxy->filter ? p->proxy->filter(p->in, head, to, n) : (int)n;
}

static void refuse(struct http_in *in, int status) {
    http_in_reply(in, status, NULL, 0, SV("application/json"),
                  status == 503 ? SV("{\"error\":{\"code\":\"unavailable\",\"message\":\"too many live connections; close a page\"}}\n")
                                : SV("{\"error\":{\"code\":\"upstream_unreachable\",\"message\":\"the service behind this path does not answer\"}}\n"));
}

static void on_ready(void *x) {
    struct pass *p = x;
    if (p->wants_body)
        http_in_body(p->in);
}

static void on_head(void *x, const struct http_head *head) {
    struct pass *p = x;
    struct http_header headers[HTTP_PROXY_FIELDS];
    int n = goes_on(p, head, false, headers);
    if (n < 0) {
        http_call_cancel(p->call);
        leave(p);
        p->proxy->refuse(p->in, 502);
        return;
    }
    p->started = true;
    http_in_start(p->in, head->status, headers, (unsigned)n, head->chunked || head->until_eof ? -1 : head->length);
}

static void on_body(void *x, struct sv bytes) {
    struct pass *p = x;
    http_in_send(p->in, bytes);
    if (http_in_queued(p->in) > QUEUE_MAX) {
        http_call_read(p->call, false);
        http_in_want_drain(p->in);
    }
}

static void on_end(void *x) {
    struct pass *p = x;
    p->call = NULL;
    leave(p);
    http_in_finish(p->in);
}

static void on_fail(void *x, const struct err *e, bool stale) {
    struct pass *p = x;
    (void)e;
    (void)stale;
    p->call = NULL;
    leave(p);
    if (p->started)
        http_in_abort(p->in);
    else
        p->proxy->refuse(p->in, 502);
}

static void on_call_drain(void *x) {
    struct pass *p = x;
    http_in_read(p->in, true);
}

static void on_upgrade(void *x, const struct http_head *head, struct stream *server, struct sv ahead) {
    struct pass *p = x;
    struct http_header headers[HTTP_PROXY_FIELDS];
    int n = goes_on(p, head, true, headers);
    struct http_proxy *proxy = p->proxy;
    struct buf out = BUF_MAX(64 << 10);
    struct sv early;
    p->call = NULL;
    leave(p);
    bool is_full = proxy->joined.n >= proxy->joined_max; /* others may have come meanwhile */
    if (n < 0 || is_full) {
        stream_close(server);
        proxy->refuse(p->in, is_full ? 503 : 502);
        return;
    }
    buf_add(&out, SV("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"));
    for (int i = 0; i < n; i++)
        buf_printf(&out, "%.*s: %.*s\r\n", SV_FMT(headers[i].name), SV_FMT(headers[i].value));
    buf_add(&out, SV("\r\n"));
    buf_add(&out, ahead);
    if (out.failed) {
        stream_close(server);
        http_in_abort(p->in);
    } else {
        struct stream *client = http_in_upgrade(p->in, &early);
        stream_write1(client, buf_sv(&out));
        if (early.n)
            stream_write1(server, early);
        stream_join(&proxy->joined, client, server);
    }
    buf_deinit(&out);
}

static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, on_call_drain, on_upgrade };

/* --- the request -------------------------------------------------------------------------------------------------- */

static void on_in_body(void *x, struct sv bytes) {
    struct pass *p = x;
    http_call_send(p->call, &bytes, 1);
    if (http_call_queued(p->call) > QUEUE_MAX) {
        http_in_read(p->in, false);
        http_call_want_drain(p->call);
    }
}

static void on_in_body_end(void *x) {
    struct pass *p = x;
    http_call_sent(p->call);
}

static void on_gone(void *x, const struct err *e) {
    struct pass *p = x;
    (void)e;
    leave(p);
    http_call_cancel(p->call);
}

static void on_in_drain(void *x) {
    struct pass *p = x;
    http_call_read(p->call, true);
}

static const struct http_in_events in_events = { on_in_body, on_in_body_end, NULL, on_gone, on_in_drain };

static const struct http_header upgrade_headers[] = { { { "connection", 10 }, { "upgrade", 7 } }, { { "upgrade", 7 }, { "websocket", 9 } } };

void http_proxy_pass(struct http_proxy *proxy, struct http_in *in, struct sv target, const struct http_header *headers, unsigned n_headers) {
    const struct http_head *head = in->head;
    struct pass *p = ARENA_NEW(&in->arena, struct pass);
    struct http_header *all = ARENA_ARRAY(&in->arena, struct http_header, n_headers + 2);
    struct err e;
    if (!p || !all) {
        http_in_abort(in);
        return;
    }
    if (head->upgrade && proxy->joined.n >= proxy->joined_max) {
        proxy->refuse(in, 503);
        return;
    }
    memcpy(all, headers, n_headers * sizeof *all);
    if (head->upgrade)
        memcpy(all + n_headers, upgrade_headers, sizeof upgrade_headers);
    *p = (struct pass){ .proxy = proxy, .in = in, .wants_body = head->chunked || head->length > 0 };
    list_init(&p->passes);
    in->on = &in_events;
    in->x = p;
    struct http_call_spec spec = { .dialer = proxy->dialer, .method = head->method, .target = target, .headers = all,
                                   .n_headers = n_headers + (head->upgrade ? 2 : 0), .length = head->chunked ? -1 : head->length > 0 ? head->length : 0,
                                   .connect_ms = CONNECT_MS, .first_byte_ms = proxy->filter ? REPLY_FAR_MS : REPLY_MS, .stall_ms = STALL_MS, .pool_idle_ms = IDLE_MS,
                                   .fresh = p->wants_body || head->upgrade || proxy->filter, .upgrade = head->upgrade };
    p->call = http_call_start(proxy->client, &in->arena, &spec, &call_events, p, &e);
    if (!p->call) {
        proxy->refuse(in, 502);
        return;
    }
    list_push_back(&proxy->passes, &p->passes);
    proxy->n_passes++;
    if (http_call_is_ready(p->call))
        on_ready(p);
}

struct http_proxy *http_proxy_new(struct loop *l, struct http_client *client, struct dialer *dialer, unsigned joined_max, struct err *e) {
    struct http_proxy *p = mem_new(sizeof *p);
    if (!p) {
        err_no_memory(e);
        return NULL;
    }
    p->loop = l;
    p->client = client;
    p->dialer = dialer_ref(dialer);
    p->joined_max = joined_max;
    joints_init(&p->joined);
    list_init(&p->passes);
    p->refuse = refuse;
    return p;
}

void http_proxy_filtered(struct http_proxy *p, http_proxy_filter *filter, http_proxy_refuse *say_no) {
    p->filter = filter;
    p->refuse = say_no;
}

void http_proxy_cut(struct http_proxy *p) {
    while (!list_empty(&p->passes)) {
        struct pass *one = CONTAINER(p->passes.next, struct pass, passes);
        leave(one);
        http_call_cancel(one->call);
        http_in_abort(one->in);
    }
    joints_deinit(&p->joined);
}

unsigned http_proxy_busy(const struct http_proxy *p) {
    return p->n_passes + p->joined.n;
}

void http_proxy_free(struct http_proxy *p) {
    if (!p)
        return;
    joints_deinit(&p->joined);
    dialer_unref(p->dialer);
    mem_free(p);
}
