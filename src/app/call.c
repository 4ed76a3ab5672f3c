#include "app/call.h"

#include "http/client.h"

struct calling {
    struct loop loop;
    struct http_call *call;
    struct sv body;
    void (*on_body)(void *arg, struct sv bytes);
    void *arg;
    int status;
    struct err *e;
};

static void send_body(struct calling *c) {
    if (c->body.n)
        http_call_send(c->call, &c->body, 1);
    http_call_sent(c->call);
}

static void on_ready(void *x) {
    send_body(x);
}

static void on_head(void *x, const struct http_head *head) {
    struct calling *c = x;
    c->status = head->status;
}

static void on_body(void *x, struct sv bytes) {
    struct calling *c = x;
    c->on_body(c->arg, bytes);
}

static void on_end(void *x) {
    struct calling *c = x;
    uv_stop(&c->loop.uv);
}

static void on_fail(void *x, const struct err *e, bool stale) {
    struct calling *c = x;
    (void)stale;
    *c->e = *e;
    c->status = 0;
    uv_stop(&c->loop.uv);
}

static const struct http_call_events events = { on_ready, on_head, on_body, on_end, on_fail, NULL };

int call_admin(struct sv socket, struct sv method, struct sv target, struct sv version, struct sv body,
               void (*take)(void *arg, struct sv bytes),
               void *arg, struct err *e) {
    static const struct h1_limits limits = { 0, 16384, 65536, 100, 256 };
    struct calling c = { .body = body, .on_body = take, .arg = arg, .e = e };
    struct arena arena;
    struct http_header headers[] = { { SV("host"), SV("localhost") }, { SV("content-type"), SV("application/json") },
                                    { SV("if-match"), version } };
    if (!loop_init(&c.loop, e))
        return 0;
    arena_init(&arena, 1 << 20, NULL);
    struct dialer *dialer = dialer_unix(socket, e);
    struct http_client *client = dialer ? http_client_new(&c.loop, &limits, e) : NULL;
    if (client) {
        struct http_call_spec spec = { .dialer = dialer, .method = method, .target = target, .headers = headers, .n_headers = version.n ? 3 : 2,
                                       .length = (int64_t)body.n, .connect_ms = 5000, .first_byte_ms = 30000,
                                       .stall_ms = UINT32_MAX };
        c.call = http_call_start(client, &arena, &spec, &events, &c, e);
        if (c.call)
            loop_run(&c.loop);
    }
    http_client_free(client);
    dialer_unref(dialer);
    arena_deinit(&arena);
    loop_deinit(&c.loop);
    return c.status;
}
