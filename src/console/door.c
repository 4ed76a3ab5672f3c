#include "console/door.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/socket.h>
#include <unistd.h>

#include "console/request.h"
#include "io/ready.h"
#include "io/sock.h"
#include "io/tls.h"

/* --- the dialer --------------------------------------------------------------------------------------------------- */

struct door {
    struct dialer dialer;
    struct loop *control;
    struct admin *admin; /* control loop only; NULL: closed */
};

struct parcel { /* the control loop's end of a pair */
    struct msg msg;
    struct door *door; /* shared */
    int fd;
};

static void on_parcel(struct msg *m) {
    struct parcel *p = CONTAINER(m, struct parcel, msg);
    if (p->door->admin)
        admin__serve(p->door->admin, p->fd);
    else
        close(p->fd);
    dialer_unref(&p->door->dialer);
    mem_free(p);
}

static bool hand_over(struct door *d, int fd, struct err *e) {
    struct parcel *p = mem_new(sizeof *p);
    if (!p)
        return err_no_memory(e);
    *p = (struct parcel){ .msg.deliver = on_parcel, .door = d, .fd = fd };
    dialer_ref(&d->dialer);
    if (loop_post(d->control, &p->msg))
        return true;
    dialer_unref(&d->dialer);
    mem_free(p);
    return err_set(e, ERR_UNAVAILABLE, "the service is stopping");
}

static struct dial *door_dial(struct dialer *base, struct loop *l, uint64_t timeout_ms, dial_cb *done, void *arg, struct err *e) {
    struct door *d = CONTAINER(base, struct door, dialer);
    int fds[2];
    (void)timeout_ms;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        err_set(e, ERR_UNAVAILABLE, "no more descriptors");
        return NULL;
    }
    struct stream *s = sock_stream(l, fds[0], e);
    if (!s)
        close(fds[0]);
    if (!s || !hand_over(d, fds[1], e)) {
        stream_close(s);
        close(fds[1]);
        return NULL;
    }
    return dial_ready(base, l, s, done, arg, e);
}

static void door_free(struct dialer *base) {
    mem_free(CONTAINER(base, struct door, dialer));
}

static const struct dialer_ops door_ops = { door_dial, dial_ready_cancel, door_free };

struct dialer *door_new(struct admin *a, struct err *e) {
    struct door *d = mem_new(sizeof *d);
    if (!d) {
        err_no_memory(e);
        return NULL;
    }
    d->dialer.ops = &door_ops;
    atomic_init(&d->dialer.refs, 1);
    d->control = a->loop;
    d->admin = a;
    return &d->dialer;
}

void door_close(struct dialer *door) {
    CONTAINER(door, struct door, dialer)->admin = NULL;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static bool accepts_html(const struct http_head *head) {
    return sv_find(http_get(head, SV("accept")), SV("text/html")) >= 0;
}

/* "/" is also where Ollama's clients greet: only a browser is sent to the console. */
bool door_wants(const struct http_head *head) {
    struct sv p = head->path;
    return sv_starts(p, SV("/drover/v1/")) || sv_eq(p, SV("/console")) || sv_starts(p, SV("/console/")) ||
           (sv_eq(p, SV("/")) && accepts_html(head));
}

bool door_enrols(const struct http_head *head) {
    return sv_eq(head->path, SV("/drover/v1/enrol")) || sv_eq(head->path, SV("/drover/v1/enrol/renew"));
}

void door_pass(struct http_proxy *p, struct http_in *in) {
    /* What the admin reads; nothing else of a client's head gets there. */
    static const char *const fields[] = {
        "accept",
        "accept-encoding",
        "authorization",
        "content-type",
        "cookie",
        "drover-console",
        "drover-node",
        "drover-permission-key",
        "if-match",
        "if-none-match",
        "origin",
        "sec-fetch-site",
        "sec-websocket-key",
        "sec-websocket-version",
        "user-agent",
    };
    enum { N = sizeof fields / sizeof fields[0], MOST = 32 };
    struct http_header h[MOST];
    struct gateway_visitor visitor;
    struct tls_facts tls;
    char spki[2 * TLS_PIN + 1];
    unsigned n = 0;
    h[n++] = (struct http_header){ SV("host"), SV("drover") };
    h[n++] = (struct http_header){ SV(DOOR_PEER), sv_of(in->stream->peer) };
    if (http_value_is_clean(in->head->host))
        h[n++] = (struct http_header){ SV(DOOR_HOST), in->head->host };
    if (in->stream->is_tls)
        h[n++] = (struct http_header){ SV(DOOR_TLS), SV("1") };
    if (tls_facts(in->stream, &tls) && tls.has_cert)
        h[n++] =
            (struct http_header){ SV(DOOR_SPKI), sv_of(sodium_bin2hex(spki, sizeof spki, tls.spki, sizeof tls.spki)) };
    if (((const struct gateway_listener *)in->tag)->is_link)
        h[n++] = (struct http_header){ SV(DOOR_LINK), SV("1") };
    if (gateway_visitor(in, &visitor)) {
        h[n++] = (struct http_header){ SV(DOOR_ROLE), sv_of(access_role_name(visitor.role)) };
        h[n++] = (struct http_header){ SV(DOOR_WHO), visitor.who };
        if (visitor.is_fresh)
            h[n++] = (struct http_header){ SV(DOOR_FRESH), SV("1") };
    }
    for (unsigned i = 0; i < in->head->n_headers; i++)
        for (unsigned f = 0; f < N; f++)
            if (sv_eq(in->head->headers[i].name, sv_of(fields[f])) && http_value_is_clean(in->head->headers[i].value)) {
                if (n == MOST) { /* never a part of them: one that is left out may be the one that matters */
                    http_in_reply(in, 431, NULL, 0, SV("application/json"), SV("{\"error\":{\"code\":\"headers_too_large\",\"message\":\"too many fields\"}}\n"));
                    return;
                }
                h[n++] = in->head->headers[i];
                break;
            }
    struct buf target = BUF_MAX(64 << 10);
    buf_add(&target, in->head->path); /* the target itself may be in absolute form */
    if (in->head->query.n) {
        buf_add_char(&target, '?');
        buf_add(&target, in->head->query);
    }
    if (target.failed)
        http_in_abort(in);
    else
        http_proxy_pass(p, in, buf_sv(&target), h, n);
    buf_deinit(&target);
}
