#include "app/call.h"

#include "http/client.h"
#include "http/url.h"
#include "http/ws.h"

enum { CONNECT_MS = 5000, REPLY_MS = 30000 };

struct calling {
    struct loop loop;
    struct http_call *call;
    const struct call_what *what;
    int status;
    struct err *e;
    /* a socket that is followed */
    struct stream *stream;
    struct ws ws;
    struct buf out;
    struct sv hello;
    char key[WS_KEY];
    bool (*on_text)(void *arg, struct sv text);
    void *arg;
};

static void stop(struct calling *c) {
    uv_stop(&c->loop.uv);
}

/* --- one call ----------------------------------------------------------------------------------------------------- */

static void on_ready(void *x) {
    struct calling *c = x;
    if (c->what->body.n)
        http_call_send(c->call, &c->what->body, 1);
    http_call_sent(c->call);
}

static void on_head(void *x, const struct http_head *head) {
    struct calling *c = x;
    c->status = head->status;
    for (unsigned i = 0; c->what->on_cookie && i < head->n_headers; i++)
        if (sv_eq(head->headers[i].name, SV("set-cookie")))
            c->what->on_cookie(c->what->arg, head->headers[i].value);
}

static void on_body(void *x, struct sv bytes) {
    struct calling *c = x;
    if (c->what->on_body)
        c->what->on_body(c->what->arg, bytes);
}

static void on_end(void *x) {
    stop(x);
}

static void on_fail(void *x, const struct err *e, bool stale) {
    struct calling *c = x;
    (void)stale;
    *c->e = *e;
    c->status = 0;
    stop(c);
}

/* --- following ---------------------------------------------------------------------------------------------------- */

static void write_out(struct calling *c) {
    stream_write1(c->stream, buf_sv(&c->out));
    buf_reset(&c->out);
}

static void end_following(struct calling *c) {
    stream_close(c->stream);
    c->stream = NULL;
    stop(c);
}

static void on_stream_read(void *owner, struct sv bytes) {
    struct calling *c = owner;
    for (;;) {
        enum ws_event e = ws_feed(&c->ws, &bytes, loop_now_ms(&c->loop), &c->out);
        if (e == WS_MORE)
            break;
        if ((e == WS_TEXT && !c->on_text(c->arg, c->ws.data)) || e == WS_CLOSED || e == WS_FAILED) {
            end_following(c);
            return;
        }
    }
    write_out(c);
}

static void on_stream_end(void *owner, const struct err *e) {
    (void)e;
    end_following(owner);
}

static const struct stream_events stream_events = { on_stream_read, on_stream_end, NULL, NULL };

static void on_upgrade(void *x, const struct http_head *head, struct stream *s, struct sv ahead) {
    struct calling *c = x;
    c->call = NULL;
    c->status = head->status;
    c->stream = s;
    stream_own(s, &stream_events, c);
    if (!ws_check_reply(head, c->key, SV_NULL, c->e) || !ws_init(&c->ws, WS_CLIENT, &WS_LIMITS)) {
        c->status = 0;
        end_following(c);
        return;
    }
    (void)ws_send(&c->ws, WS_TEXT, c->hello, &c->out);
    write_out(c);
    stream_read(s, true);
    if (ahead.n)
        on_stream_read(c, ahead);
}

static const struct http_call_events events = { on_ready, on_head, on_body, on_end, on_fail, NULL, on_upgrade };

/* --- where -------------------------------------------------------------------------------------------------------- */

static struct dialer *dialer_of(const struct call_place *at, struct sv *ret_host, struct err *e) {
    struct url u;
    struct tls_context *tls = NULL;
    *ret_host = SV("localhost");
    if (at->socket.n)
        return dialer_unix(at->socket, e);
    if (!url_parse(at->url, &u, e))
        return NULL;
    *ret_host = u.authority;
    if (u.scheme == URL_HTTPS && !(tls = tls_client_context(at->ca_file, false, e)))
        return NULL;
    struct dialer *d = dialer_tcp(u.host, u.port, tls, e);
    tls_unref(tls);
    return d;
}

static int run(struct calling *c, const struct call_place *at, bool follow, struct err *e) {
    static const struct h1_limits limits = { 0, 16384, 65536, 100, 256 };
    struct arena arena;
    struct sv host;
    struct http_header headers[12];
    unsigned n = 0;
    if (!loop_init(&c->loop, e))
        return 0;
    arena_init(&arena, 1 << 20, NULL);
    struct dialer *dialer = dialer_of(at, &host, e);
    struct http_client *client = dialer ? http_client_new(&c->loop, &limits, e) : NULL;
    headers[n++] = (struct http_header){ SV("host"), host };
    headers[n++] = (struct http_header){ SV("content-type"), SV("application/json") };
    headers[n++] = (struct http_header){ SV("drover-console"), SV("1") };
    headers[n++] = (struct http_header){ SV("user-agent"), SV("drover") };
    if (c->what->version.n)
        headers[n++] = (struct http_header){ SV("if-match"), c->what->version };
    if (at->secret.n)
        headers[n++] = (struct http_header){ SV("authorization"), sv_of(arena_printf(&arena, "Bearer %.*s", SV_FMT(at->secret))) };
    if (follow) {
        ws_new_key(c->key);
        headers[n++] = (struct http_header){ SV("connection"), SV("upgrade") };
        headers[n++] = (struct http_header){ SV("upgrade"), SV("websocket") };
        headers[n++] = (struct http_header){ SV("sec-websocket-version"), SV("13") };
        headers[n++] = (struct http_header){ SV("sec-websocket-key"), sv_of(c->key) };
    }
    if (client) {
        struct http_call_spec spec = { .dialer = dialer, .method = c->what->method, .target = c->what->target, .headers = headers, .n_headers = n,
                                       .length = (int64_t)c->what->body.n, .connect_ms = CONNECT_MS, .first_byte_ms = REPLY_MS, .stall_ms = UINT32_MAX,
                                       .pool_idle_ms = follow ? 1 : 0, .upgrade = follow };
        c->call = http_call_start(client, &arena, &spec, &events, c, e);
        if (c->call)
            loop_run(&c->loop);
    }
    http_client_free(client);
    dialer_unref(dialer);
    arena_deinit(&arena);
    loop_deinit(&c->loop);
    return c->status;
}

int call_hub(const struct call_place *at, const struct call_what *what, struct err *e) {
    struct calling c = { .what = what, .e = e };
    return run(&c, at, false, e);
}

int call_follow(const struct call_place *at, struct sv hello, bool (*on_text)(void *arg, struct sv text), void *arg, struct err *e) {
    const struct call_what what = { .method = SV("GET"), .target = SV("/drover/v1/events") };
    struct calling c = { .what = &what, .e = e, .hello = hello, .on_text = on_text, .arg = arg, .out = BUF_MAX(1 << 20) };
    int status = run(&c, at, true, e);
    if (status == 101)
        ws_deinit(&c.ws);
    buf_deinit(&c.out);
    return status;
}
