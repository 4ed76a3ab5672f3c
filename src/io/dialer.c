/* io/dialer.c - one attempt: resolve -> connect (each address in turn) -> handshake -> done. Whatever step runs, a
 * timer bounds the whole, and every path ends in finish, once. */
#include "io/dialer.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include "io/sock.h"

enum { HOST_MAX = 255 };

struct host_dialer {
    struct dialer d;
    struct tls_context *tls;
    uint16_t port;
    bool literal;
    struct sockaddr_storage addr; /* literal or UNIX */
    socklen_t addr_len;
    char host[HOST_MAX + 1];
};

struct dial {
    struct host_dialer *d;
    struct loop *loop;
    dial_cb *done;
    void *arg;
    struct timer deadline;
    struct loop_flush soon;
    struct err fault;
    uv_getaddrinfo_t lookup;
    bool looking_up;
    struct addrinfo *found, *next;
    struct sock_connect *connecting;
    struct tls_handshake *shaking;
};

static void dial_free(struct dial *a) {
    uv_freeaddrinfo(a->found);
    dialer_unref(&a->d->d);
    mem_free(a);
}

/* Stops whatever step is under way. Memory goes now, or when a lookup that cannot be stopped comes home. */
static void dial_drop(struct dial *a) {
    timer_stop(a->loop, &a->deadline);
    list_drop(&a->soon.dirty);
    sock_connect_cancel(a->connecting);
    tls_cancel(a->shaking);
    a->connecting = NULL;
    a->shaking = NULL;
    a->done = NULL;
    if (a->looking_up)
        uv_cancel((uv_req_t *)&a->lookup);
    else
        dial_free(a);
}

static void finish(struct dial *a, struct stream *s) {
    dial_cb *done = a->done;
    void *arg = a->arg;
    struct err e = a->fault;
    dial_drop(a);
    done(arg, s, s ? NULL : &e);
}

static void on_deadline(void *arg) {
    struct dial *a = arg;
    err_limit(&a->fault, LIMIT_UPSTREAM_CONNECT, "connect to %s: timed out", a->d->host);
    finish(a, NULL);
}

static void try_next(struct dial *a);

static void on_tls(void *arg, struct stream *s, const struct err *e) {
    struct dial *a = arg;
    a->shaking = NULL;
    if (!s)
        a->fault = *e;
    finish(a, s);
}

static void on_connected(void *arg, struct stream *s, const struct err *e) {
    struct dial *a = arg;
    a->connecting = NULL;
    if (!s) {
        a->fault = *e;
        try_next(a);
        return;
    }
    if (!a->d->tls) {
        finish(a, s);
        return;
    }
    a->shaking = tls_start(a->d->tls, s, sv_of(a->d->host), on_tls, a, &a->fault);
    if (!a->shaking)
        finish(a, NULL);
}

/* The next address, or the end with the last fault. Called from completions only. */
static void try_next(struct dial *a) {
    while (a->next) {
        struct addrinfo *at = a->next;
        a->next = at->ai_next;
        a->connecting = sock_connect(a->loop, at->ai_addr, at->ai_addrlen, on_connected, a, &a->fault);
        if (a->connecting)
            return;
    }
    err_ctx(&a->fault, "%s", a->d->host);
    finish(a, NULL);
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *found) {
    struct dial *a = req->data;
    a->looking_up = false;
    a->found = a->next = found;
    if (!a->done) {
        dial_free(a);
        return;
    }
    if (status != 0)
        err_set(&a->fault, ERR_IO, "resolve: %s", uv_strerror(status));
    if (status != 0 && sv_eq_nocase(sv_of(a->d->host), SV("localhost"))) { /* RFC 6761 section 6.3; bare roots have no hosts file */
        struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(a->d->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        a->connecting = sock_connect(a->loop, (struct sockaddr *)&here, sizeof here, on_connected, a, &a->fault);
        if (a->connecting)
            return;
    }
    try_next(a);
}

static void on_soon(struct loop_flush *f) {
    finish(CONTAINER(f, struct dial, soon), NULL);
}

static struct dial *host_dial(struct dialer *base, struct loop *l, uint64_t timeout_ms, dial_cb *done, void *arg, struct err *e) {
    struct host_dialer *d = CONTAINER(base, struct host_dialer, d);
    struct dial *a = mem_new(sizeof *a);
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    *a = (struct dial){ .d = d, .loop = l, .done = done, .arg = arg };
    list_init(&a->soon.dirty);
    a->soon.run = on_soon;
    dialer_ref(base);
    if (d->literal) {
        a->connecting = sock_connect(l, (struct sockaddr *)&d->addr, d->addr_len, on_connected, a, &a->fault);
        if (!a->connecting)
            loop_flush_later(l, &a->soon);
    } else {
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
        char port[8];
        snprintf(port, sizeof port, "%u", d->port);
        a->lookup.data = a;
        int rc = uv_getaddrinfo(&l->uv, &a->lookup, on_lookup, d->host, port, &hints);
        a->looking_up = rc == 0;
        if (rc != 0) {
            err_set(&a->fault, ERR_IO, "resolve %s: %s", d->host, uv_strerror(rc));
            loop_flush_later(l, &a->soon);
        }
    }
    timer_set(l, &a->deadline, timeout_ms, on_deadline, a);
    return a;
}

static void host_free(struct dialer *base) {
    struct host_dialer *d = CONTAINER(base, struct host_dialer, d);
    tls_unref(d->tls);
    mem_free(d);
}

static const struct dialer_ops host_ops = { host_dial, dial_drop, host_free };

static struct host_dialer *host_new(struct sv host, struct err *e) {
    struct host_dialer *d = mem_new(sizeof *d);
    if (!d) {
        err_no_memory(e);
        return NULL;
    }
    d->d.ops = &host_ops;
    atomic_init(&d->d.refs, 1);
    if (!sv_to_cstr(host, d->host, sizeof d->host) || host.n == 0) {
        err_set(e, ERR_CONFIG, "host name empty or longer than %d bytes", HOST_MAX);
        mem_free(d);
        return NULL;
    }
    return d;
}

struct dialer *dialer_tcp(struct sv host, uint16_t port, struct tls_context *tls, struct err *e) {
    struct host_dialer *d = host_new(host, e);
    if (!d)
        return NULL;
    d->tls = tls_ref(tls);
    d->port = port;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&d->addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&d->addr;
    if (inet_pton(AF_INET, d->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        d->addr_len = sizeof *v4;
        d->literal = true;
    } else if (inet_pton(AF_INET6, d->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        d->addr_len = sizeof *v6;
        d->literal = true;
    }
    return &d->d;
}

struct dialer *dialer_unix(struct sv path, struct err *e) {
    struct host_dialer *d = host_new(path, e);
    if (!d)
        return NULL;
    struct sockaddr_un *u = (struct sockaddr_un *)&d->addr;
    u->sun_family = AF_UNIX;
    if (!sv_to_cstr(path, u->sun_path, sizeof u->sun_path)) {
        err_set(e, ERR_CONFIG, "socket path longer than %zu bytes: %.*s", sizeof u->sun_path - 1, SV_FMT(path));
        mem_free(d);
        return NULL;
    }
    d->addr_len = sizeof *u;
    d->literal = true;
    return &d->d;
}

struct dialer *dialer_ref(struct dialer *d) {
    if (d)
        atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

struct dialer *dialer_unref(struct dialer *d) {
    if (d && atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) == 1)
        d->ops->free(d);
    return NULL;
}
