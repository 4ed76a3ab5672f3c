#include "app/worker.h"

#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "base/thread.h"
#include "console/door.h"
#include "console/visitor.h"
#include "hub/gate.h"
#include "io/sock.h"
#include "io/tls.h"

enum { PAGES_MAX = 256 }; /* live connections of consoles per worker */

struct port {
    struct worker *worker;
    struct listener *listener;
    struct worker_port is;
};

struct worker {
    struct loop loop;
    pthread_t thread;
    unsigned number;      /* in its thread's name */
    struct http_server *server;
    struct gateway *gateway;
    struct http_client *to_console;
    struct http_proxy *console;
    struct visitor *visitor; /* of nodes' consoles; NULL: no nodes */
    struct link_host *links;
    struct gate *gate;    /* NULL: no nodes */
    struct demo_host *demo;
    struct berth *berth;
    struct gateway_listener link; /* of what comes over its lanes */
    struct caller *caller;        /* NULL: no nodes */
    struct gateway_listener called; /* of the connections it makes */
    struct metrics_shard *metrics;
    struct config *config;
    struct port *ports;
    size_t n_ports;
    struct list shaking;  /* TLS handshakes under way */
    unsigned connections; /* as last told to the metrics */
    void (*on_empty)(void *arg);
    void *empty_arg;
};

/* A parcel from the control thread. */
struct parcel {
    struct msg msg;
    struct worker *worker;
    struct snapshot *snapshot;
    struct config *config;
    struct access_snapshot *access;
    struct access_cell *revoked;
    struct gateway_report *report;
    struct tls_context *tls;
    int ask;
    enum worker_word word;
    char id[65]; /* what the word is about: a request, a key, a person; empty: there is none */
    bool drain, stop;
};

static void set_limits(struct worker *w) {
    const struct config *c = w->config;
    const struct config_limits *m = &c->limits;
    struct http_server_limits l = {
        .head = { (uint32_t)m->head.request_line, (uint32_t)m->head.field, (uint32_t)m->head.total, (uint32_t)m->head.fields,
                  (uint32_t)m->body.chunk_line },
        .body_max = c->gateway.body_max,
        .body_limit = LIMIT_BODY_MAX,
        .head_deadline_ms = (uint32_t)m->head.deadline_ms,
        .keepalive_idle_ms = (uint32_t)m->conn.keepalive_idle_ms,
        .body_idle_ms = (uint32_t)m->body.idle_ms,
        .client_stall_ms = (uint32_t)m->stream.client_stall_ms,
        .lifetime_ms = (uint32_t)m->conn.lifetime_ms,
        .body_min_rate = (uint32_t)m->body.min_rate,
        .pipeline_ahead = (uint32_t)m->pipeline.ahead,
        .requests_per_connection = (uint32_t)m->conn.requests_per_connection,
    };
    http_server_limits(w->server, &l);
}

static void count_connections(struct worker *w) {
    unsigned now = http_server_connections(w->server);
    metrics_connections(w->metrics, (int)now - (int)w->connections);
    w->connections = now;
}

/* --- accepting ---------------------------------------------------------------------------------------------------- */

struct shaking { /* a TLS handshake under way */
    struct list all;
    struct port *port;
    struct tls_handshake *handshake;
    struct timer deadline;
};

static void shaking_free(struct shaking *k) {
    timer_stop(&k->port->worker->loop, &k->deadline);
    list_drop(&k->all);
    mem_free(k);
}

static void shaking_end(struct shaking *k) {
    tls_cancel(k->handshake);
    shaking_free(k);
}

static void on_handshake_late(void *arg) {
    struct shaking *k = arg;
    metrics_limit(k->port->worker->metrics, LIMIT_TLS_HANDSHAKE);
    shaking_end(k);
}

static void on_handshake(void *arg, struct stream *s, const struct err *e) {
    struct shaking *k = arg;
    struct port *p = k->port;
    shaking_free(k);
    if (s)
        http_serve(p->worker->server, s, &p->is.listener);
    else
        log_event(LOG_DEBUG, "TLS handshake failed", F_STR("cause", e->text));
}

static void on_accept(void *owner, struct stream *s) {
    struct port *p = owner;
    struct worker *w = p->worker;
    count_connections(w);
    if (!p->is.tls && p->is.by_ca) { /* the hub's certificate has not been signed yet: never in the clear instead */
        stream_close(s);
        return;
    }
    if (!p->is.tls) {
        http_serve(w->server, s, &p->is.listener);
        count_connections(w);
        return;
    }
    const struct gateway_listener *l = &p->is.listener;
    bool is_for_nodes = l->has_links && l->no_gateway && l->no_console;
    if (is_for_nodes && w->gate && !gate_has_room(w->gate)) {
        stream_close(s);
        return;
    }
    struct shaking *k = mem_new(sizeof *k);
    if (!k) {
        stream_close(s);
        return;
    }
    k->port = p;
    k->handshake = tls_start(p->is.tls, s, SV_NULL, on_handshake, k, NULL);
    if (!k->handshake) {
        mem_free(k);
        return;
    }
    list_init(&k->all);
    list_push_back(&w->shaking, &k->all);
    timer_set(&w->loop, &k->deadline, w->config->limits.conn.tls_handshake_ms, on_handshake_late, k);
}

static bool can_accept(void *owner) {
    struct port *p = owner;
    bool room = http_server_has_room(p->worker->server);
    if (!room)
        metrics_limit(p->worker->metrics, LIMIT_CONN_MAX);
    return room;
}

static const struct listener_events port_events = { on_accept, can_accept };

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void not_here(struct http_in *in) {
    http_in_reply(in, 404, NULL, 0, SV("application/json"),
                  SV("{\"error\":{\"code\":\"not_found\",\"message\":\"this listener has no such path (listen[].roles says what it is for)\"}}\n"));
}

/* Nodes come under any name the hub has; they prove it otherwise, and a web page cannot be one. */
static void from_node(struct worker *w, struct http_in *in) {
    const struct gateway_listener *l = in->tag;
    if (!w->gate || !l->has_links)
        not_here(in);
    else if (gate_wants(in->head))
        gate_take(w->gate, in);
    else
        door_pass(w->console, in);
}

/* A person at the console, who visits a node. */
static void to_node(struct worker *w, struct http_in *in) {
    const struct gateway_listener *l = in->tag;
    if (l->no_console || l->is_link)
        not_here(in);
    else if (gateway_admits_visit(w->gateway, in))
        visitor_take(w->visitor, in);
}

static void on_request(void *owner, struct http_in *in) {
    struct worker *w = owner;
    const struct gateway_listener *l = in->tag;
    count_connections(w);
    if (gate_wants(in->head) || door_enrols(in->head))
        from_node(w, in);
    else if (w->visitor && passage_wants(in->head))
        to_node(w, in);
    else if (!l->no_console && door_wants(in->head)) {
        if (gateway_admits(w->gateway, in))
            door_pass(w->console, in);
    } else if (l->no_gateway) {
        not_here(in);
    } else {
        gateway_request(w->gateway, in);
    }
}

static void on_bad(void *owner, void *tag, struct sv path, const struct err *e, struct buf *out, struct sv *ret_type) {
    (void)owner;
    (void)tag;
    gateway_bad(path, e, out, ret_type);
}

static void on_limit(void *owner, enum err_limit limit) {
    struct worker *w = owner;
    metrics_limit(w->metrics, limit);
}

static const struct http_server_events server_events = { on_request, on_bad, on_limit };

/* --- parcels ------------------------------------------------------------------------------------------------------ */

static void on_server_empty(void *owner) {
    struct worker *w = owner;
    if (w->on_empty)
        w->on_empty(w->empty_arg);
}

static void stop_accepting(struct worker *w) {
    for (size_t i = 0; i < w->n_ports; i++) {
        listener_close(w->ports[i].listener);
        w->ports[i].listener = NULL;
    }
}

static void parcel_drop(struct parcel *p) {
    config_unref(p->config);
    snapshot_unref(p->snapshot);
    access_snapshot_unref(p->access);
    access_cell_unref(p->revoked);
    tls_unref(p->tls);
}

static void take_tls(struct worker *w, const struct parcel *p) {
    for (size_t i = 0; i < w->n_ports; i++) {
        struct worker_port *is = &w->ports[i].is;
        if (!is->by_ca || is->ask != p->ask)
            continue;
        tls_unref(is->tls);
        is->tls = tls_ref(p->tls);
    }
}

static void send_report(struct worker *w, struct gateway_report *r) {
    void (*deliver)(struct msg *m) = r->msg.deliver;
    gateway_report(w->gateway, r);
    r->msg = (struct msg){ .deliver = deliver };
    if (!loop_post(r->home, &r->msg)) { /* its sender is gone */
        arena_deinit(&r->arena);
        mem_free(r);
    }
}

static void on_word(struct worker *w, enum worker_word word, struct sv id) {
    if (word == WORKER_STOP)
        (void)gateway_stop(w->gateway, id);
    else if (word == WORKER_STOP_KEY)
        gateway_stop_key(w->gateway, id);
    else if (word == WORKER_STOP_HUB)
        gateway_stop_hub(w->gateway);
    else
        (void)gateway_see(w->gateway, id, word == WORKER_SEE);
}

static void on_parcel(struct msg *m) {
    struct parcel *p = CONTAINER(m, struct parcel, msg);
    struct worker *w = p->worker;
    if (p->config) {
        config_unref(w->config);
        w->config = config_ref(p->config);
        gateway_config(w->gateway, p->config);
        set_limits(w);
    }
    if (p->snapshot)
        gateway_snapshot(w->gateway, p->snapshot);
    if (p->access)
        gateway_access(w->gateway, p->access);
    if (p->revoked)
        gateway_revoke(w->gateway, p->revoked);
    if (p->report)
        send_report(w, p->report);
    if (p->tls)
        take_tls(w, p);
    if (p->id[0] || p->word == WORKER_STOP_HUB)
        on_word(w, p->word, sv_of(p->id));
    if (p->drain || p->stop) {
        stop_accepting(w);
        http_server_drain(w->server, on_server_empty);
    }
    if (p->stop)
        uv_stop(&w->loop.uv);
    parcel_drop(p);
    mem_free(p);
}

static bool post(struct worker *w, struct parcel what) {
    struct parcel *p = mem_new(sizeof *p);
    if (p) {
        *p = what;
        p->msg.deliver = on_parcel;
        p->worker = w;
        if (loop_post(&w->loop, &p->msg))
            return true;
    }
    parcel_drop(&what);
    mem_free(p);
    return false;
}

void worker_snapshot(struct worker *w, struct snapshot *s) {
    if (!post(w, (struct parcel){ .snapshot = snapshot_ref(s) }))
        log_event(LOG_ERROR, "a worker did not get the new routes", F_STR("cause", "out of memory"));
}

void worker_config(struct worker *w, struct config *c) {
    if (!post(w, (struct parcel){ .config = config_ref(c) }))
        log_event(LOG_ERROR, "a worker did not get the new settings", F_STR("cause", "out of memory"));
}

void worker_access(struct worker *w, struct access_snapshot *s) {
    if (!post(w, (struct parcel){ .access = access_snapshot_ref(s) }))
        log_event(LOG_ERROR, "a worker did not get the new keys", F_STR("cause", "out of memory"));
}

void worker_revoke(struct worker *w, struct access_cell *cell) {
    if (!post(w, (struct parcel){ .revoked = access_cell_ref(cell) })) /* new requests are refused all the same: the cell says so */
        log_event(LOG_ERROR, "a worker was not told to end the streams of a key", F_STR("cause", "out of memory"));
}

void worker_tls(struct worker *w, int ask, struct tls_context *tls) {
    if (!post(w, (struct parcel){ .tls = tls_ref(tls), .ask = ask }))
        log_event(LOG_ERROR, "a worker did not get the new certificate", F_STR("cause", "out of memory"));
}

bool worker_report(struct worker *w, struct gateway_report *r) {
    return post(w, (struct parcel){ .report = r });
}

void worker_tell(struct worker *w, enum worker_word word, struct sv id) {
    struct parcel p = { .word = word };
    if (sv_to_cstr(id, p.id, sizeof p.id))
        (void)post(w, p);
}

void worker_drain(struct worker *w, void (*on_empty)(void *arg), void *arg) {
    w->on_empty = on_empty; /* the post below orders this before the worker reads it */
    w->empty_arg = arg;
    post(w, (struct parcel){ .drain = true });
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void free_parts(struct worker *w) {
    stop_accepting(w);
    for (struct list *it; (it = list_pop(&w->shaking));)
        shaking_end(CONTAINER(it, struct shaking, all));
    caller_close(w->caller);
    gate_free(w->gate);
    berth_free(w->berth);
    link_host_free(w->links);
    http_server_free(w->server);
    visitor_free(w->visitor);
    http_proxy_free(w->console);
    http_client_free(w->to_console);
    gateway_free(w->gateway);
    demo_host_free(w->demo);
    loop_deinit(&w->loop);
    caller_free(w->caller);
    for (size_t i = 0; i < w->n_ports; i++)
        tls_unref(w->ports[i].is.tls);
    config_unref(w->config);
    mem_free(w->ports);
    mem_free(w);
}

static void *run(void *arg) {
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof name, "worker-%u", w->number);
    thread_name(name);
    loop_run(&w->loop);
    return NULL;
}

static bool listen_all(struct worker *w, const struct worker_port *ports, size_t n, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        struct port *p = &w->ports[w->n_ports];
        *p = (struct port){ .worker = w, .is = ports[i] };
        p->is.tls = tls_ref(ports[i].tls);
        p->listener = listener_new(&w->loop, ports[i].fd, &port_events, p, e);
        if (!p->listener) {
            tls_unref(p->is.tls);
            return false;
        }
        w->n_ports++;
    }
    return true;
}

static bool open_console(struct worker *w, struct dialer *door, struct err *e) {
    const struct h1_limits head = { 0, 16384, 65536, 200, 4096 };
    w->to_console = http_client_new(&w->loop, &head, e);
    w->console = w->to_console ? http_proxy_new(&w->loop, w->to_console, door, PAGES_MAX, e) : NULL;
    return w->console != NULL;
}

static bool open_berth(struct worker *w, struct err *e) {
    const struct config *c = w->config;
    w->link = (struct gateway_listener){ .is_link = true,
                                         .may_infer = c->join.allow.inference,
                                         .may_manage = c->join.allow.models,
                                         .console = c->join.allow.console };
    w->berth = berth_new(&w->loop, w->links, w->server, &w->link, e);
    return w->berth != NULL;
}

struct berth *worker_berth(struct worker *w) {
    return w->berth;
}

/* What comes over a connection that we made to a node is a link or nothing. */
static bool open_caller(struct worker *w, struct err *e) {
    w->called = (struct gateway_listener){ .no_console = true, .no_gateway = true, .has_links = true };
    w->caller = caller_new(&w->loop, w->server, &w->called, e);
    return w->caller != NULL;
}

struct caller *worker_caller(struct worker *w) {
    return w->caller;
}

struct worker *worker_start(const struct worker_house *house, struct metrics_shard *metrics, struct config *c, struct access_snapshot *access,
                            const struct worker_port *ports, size_t n_ports, struct err *e) {
    struct worker *w = mem_new(sizeof *w);
    if (!w || !(w->ports = mem_new((n_ports + 1) * sizeof *w->ports)) || !loop_init(&w->loop, e)) {
        if (w)
            mem_free(w->ports);
        mem_free(w);
        err_no_memory(e);
        return NULL;
    }
    list_init(&w->shaking);
    w->number = house->number;
    w->metrics = metrics;
    w->config = config_ref(c);
    w->loop.owner = w;
    w->server = http_server_new(&w->loop, &server_events, w, e);
    if (w->server)
        http_server_census(w->server, house->census);
    w->gateway = w->server ? gateway_new(&w->loop, house->shared, metrics, c, e) : NULL;
    w->links = w->gateway ? link_host_new(&w->loop, e) : NULL;
    w->gate = w->links && house->hub ? gate_new(&w->loop, w->links, house->control, house->hub, e) : NULL;
    w->demo = w->links && (w->gate || !house->hub) && open_console(w, house->door, e) ? demo_host_new(house->demo, &w->loop, e) : NULL;
    w->visitor = w->demo && house->hub ? visitor_new(&w->loop, house->visits, e) : NULL;
    if (!w->demo || (house->hub && (!w->visitor || !open_caller(w, e))) || !open_berth(w, e) || !listen_all(w, ports, n_ports, e)) {
        free_parts(w);
        return NULL;
    }
    set_limits(w);
    gateway_access(w->gateway, access);
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        err_set(e, ERR_INTERNAL, "start a worker thread");
        free_parts(w);
        return NULL;
    }
    return w;
}

void worker_join(struct worker *w) {
    if (!w)
        return;
    while (!post(w, (struct parcel){ .stop = true }))
        ; /* memory comes back when others end */
    pthread_join(w->thread, NULL);
    free_parts(w);
}
