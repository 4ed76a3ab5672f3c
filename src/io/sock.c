/* io/sock.c - sockets over uv_poll rather than uv_tcp.
 *
 * A proxy wants three things uv_tcp does not give: read into memory the owner names, see at the end of a turn how much
 * the kernel took, and pause accepting when descriptors run out. uv_poll leaves read, sendmsg and accept4 to us and
 * keeps libuv's epoll. Output waits in one buffer, filled during a turn and sent at its end; only when the kernel is full
 * do we ask for writability. */
#include "io/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

enum {
    READS_PER_WAKE = 4,          /* full buffers taken from one socket before others get their turn */
    ACCEPTS_PER_WAKE = 32,
    ACCEPT_PAUSE_MS = 100,
    PAUSE_TELL_MS = 1000,        /* between two log lines about it */
    SEND_NOW = 16 << 10,         /* from this size on a write goes out at once, uncopied */
    OUT_KEPT = 1024,             /* bytes of an empty output buffer that stay: idle streams are many */
    OUT_MAX = 1 << 30,           /* owners bound their own queues; this only stops a bug */
};

struct sock {
    struct stream s;
    uv_poll_t poll;
    int fd;
    int armed;                   /* events libuv watches for us */
    bool reading, blocked, ending, ended, eof, broken, closed;
    struct buf out;
    struct loop_flush flush;
    struct err fault;            /* to be told at the end of the turn */
};

static void on_poll(uv_poll_t *h, int status, int events);

static void arm(struct sock *k) {
    int want = 0;
    if (!k->closed && !k->broken) {
        want = (k->reading && !k->eof ? UV_READABLE : 0) | (k->blocked ? UV_WRITABLE : 0);
    }
    if (want == k->armed)
        return;
    k->armed = want;
    if (want)
        uv_poll_start(&k->poll, want, on_poll);
    else
        uv_poll_stop(&k->poll);
}

static void breaks(struct sock *k, const char *what, int error) {
    if (k->broken)
        return;
    k->broken = true;
    err_set(&k->fault, error == ENOMEM ? ERR_NO_MEMORY : ERR_IO, "%s: %s", what, strerror(error));
    buf_deinit(&k->out);
    arm(k);
    loop_flush_later(k->s.loop, &k->flush); /* the owner hears of it at the end of the turn, never inside its own call */
}

/* Sends pieces until done or the kernel is full; returns bytes sent. */
static size_t send_some(struct sock *k, struct iovec *iov, unsigned n) {
    size_t sent = 0;
    while (n) {
        struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
        ssize_t got = sendmsg(k->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                breaks(k, "write", errno);
            else
                k->blocked = true;
            break;
        }
        sent += (size_t)got;
        while (n && (size_t)got >= iov->iov_len) {
            got -= (ssize_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n) {
            iov->iov_base = (char *)iov->iov_base + got;
            iov->iov_len -= (size_t)got;
        }
    }
    return sent;
}

static void flush(struct sock *k) {
    if (k->broken || k->blocked)
        return;
    if (k->out.n) {
        struct iovec iov = { k->out.p, k->out.n };
        size_t sent = send_some(k, &iov, 1);
        if (k->broken)
            return;
        buf_consume(&k->out, sent);
    }
    if (k->out.n == 0) {
        if (k->out.cap > OUT_KEPT)
            buf_trim(&k->out);
        if (k->ending && !k->ended) {
            k->ended = true;
            shutdown(k->fd, SHUT_WR);
        }
    }
    arm(k);
}

static void on_flush(struct loop_flush *f) {
    struct sock *k = CONTAINER(f, struct sock, flush);
    if (k->closed)
        return;
    flush(k);
    if (k->broken) {
        const struct stream_events *on = k->s.on;
        if (on && k->fault.code) {
            struct err e = k->fault;
            k->fault.code = ERR_NONE;
            on->on_end(k->s.owner, &e);
        }
        return;
    }
    if (k->s.wants_drain && !k->blocked && k->out.n <= STREAM_LOW) {
        k->s.wants_drain = false;
        if (k->s.on && k->s.on->on_drain)
            k->s.on->on_drain(k->s.owner);
    }
}

static void read_some(struct sock *k) {
    bool placed = false;
    for (int turn = 0; turn < READS_PER_WAKE && k->reading && !k->eof && !k->broken && !k->closed; turn++) {
        struct stream_space to = { 0 };
        if (k->s.on->on_space)
            to = k->s.on->on_space(k->s.owner);
        if (to.n == 0 && placed) /* what the owner wanted is whole: nothing more is expected, and poll will tell */
            return;
        placed = to.n != 0;
        if (!placed)
            to = (struct stream_space){ k->s.loop->scratch, LOOP_SCRATCH };
        ssize_t got;
        do
            got = recv(k->fd, to.p, to.n, MSG_DONTWAIT);
        while (got < 0 && errno == EINTR);
        if (got < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                breaks(k, "read", errno);
            return;
        }
        if (got == 0) {
            k->eof = true;
            arm(k);
            k->s.on->on_end(k->s.owner, NULL);
            return;
        }
        k->s.on->on_read(k->s.owner, (struct sv){ to.p, (size_t)got });
        if ((size_t)got < to.n)
            return;
    }
}

static void on_poll(uv_poll_t *h, int status, int events) {
    struct sock *k = h->data;
    if (status < 0) { /* POLLERR: the read or write itself will tell why */
        k->armed = 0;
        events = UV_READABLE | UV_WRITABLE;
        k->blocked = true;
    }
    if ((events & UV_WRITABLE) && k->blocked) {
        k->blocked = false;
        loop_flush_later(k->s.loop, &k->flush);
    }
    if (events & UV_READABLE) {
        bool was = k->reading;
        if (status < 0)
            k->reading = true;
        read_some(k);
        if (status < 0 && !k->closed) {
            k->reading = was;
            arm(k);
        }
    }
}

static void sock_read(struct stream *s, bool on) {
    struct sock *k = CONTAINER(s, struct sock, s);
    k->reading = on;
    arm(k);
}

/* Queue and pieces in one call to the kernel; returns how many bytes of the pieces went. */
static size_t send_now(struct sock *k, const struct sv *v, unsigned n) {
    struct iovec iov[STREAM_WRITE_MAX + 1] = { { k->out.p, k->out.n } };
    unsigned used = k->out.n ? 1 : 0;
    for (unsigned i = 0; i < n; i++)
        if (v[i].n)
            iov[used++] = (struct iovec){ (void *)(uintptr_t)v[i].p, v[i].n };
    size_t queued = k->out.n, sent = send_some(k, iov, used);
    if (k->broken)
        return 0;
    size_t of_queue = sent < queued ? sent : queued;
    buf_consume(&k->out, of_queue);
    return sent - of_queue;
}

static void sock_write(struct stream *s, const struct sv *v, unsigned n) {
    struct sock *k = CONTAINER(s, struct sock, s);
    size_t total = 0, sent = 0;
    for (unsigned i = 0; i < n; i++)
        total += v[i].n;
    if (k->broken || k->ending || total == 0)
        return;
    loop_flush_later(s->loop, &k->flush);
    if (total >= SEND_NOW && !k->blocked)
        sent = send_now(k, v, n);
    for (unsigned i = 0; i < n && !k->broken; i++) {
        size_t skip = sent < v[i].n ? sent : v[i].n;
        sent -= skip;
        if (!buf_add(&k->out, sv_from(v[i], skip)))
            breaks(k, "write", ENOMEM);
    }
    if (k->blocked)
        arm(k);
}

static size_t sock_offer(struct stream *s, const struct sv *v, unsigned n) {
    struct sock *k = CONTAINER(s, struct sock, s);
    if (k->broken || k->ending || k->blocked)
        return 0;
    loop_flush_later(s->loop, &k->flush);
    size_t sent = send_now(k, v, n);
    arm(k);
    return sent;
}

static size_t sock_queued(const struct stream *s) {
    return CONTAINER(s, struct sock, s)->out.n;
}

static void sock_end(struct stream *s) {
    struct sock *k = CONTAINER(s, struct sock, s);
    k->ending = true;
    loop_flush_later(s->loop, &k->flush);
}

static void on_closed(uv_handle_t *h) {
    struct sock *k = h->data;
    mem_free(k);
}

int sock_release(struct stream *s) {
    struct sock *k = CONTAINER(s, struct sock, s);
    k->closed = true;
    list_drop(&k->flush.dirty);
    buf_deinit(&k->out);
    uv_close((uv_handle_t *)&k->poll, on_closed);
    return k->fd;
}

static void sock_close(struct stream *s) {
    if (!CONTAINER(s, struct sock, s)->closed)
        close(sock_release(s));
}

static const struct stream_ops sock_ops = { sock_read, sock_write, sock_offer, sock_queued, sock_end, sock_close, NULL };

static void peer_text(struct sock *k) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getpeername(k->fd, (struct sockaddr *)&a, &len) != 0)
        return;
    if (a.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&a)->sin_addr, k->s.peer, sizeof k->s.peer);
    else if (a.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a)->sin6_addr, k->s.peer, sizeof k->s.peer);
    else if (a.ss_family == AF_UNIX)
        memcpy(k->s.peer, "unix", 5);
}

struct stream *sock_stream(struct loop *l, int fd, struct err *e) {
    struct sock *k = mem_new(sizeof *k);
    if (!k) {
        err_no_memory(e);
        return NULL;
    }
    k->s.ops = &sock_ops;
    k->s.loop = l;
    k->fd = fd;
    buf_init(&k->out, OUT_MAX);
    list_init(&k->flush.dirty);
    k->flush.run = on_flush;
    int rc = uv_poll_init(&l->uv, &k->poll, fd);
    if (rc != 0) {
        mem_free(k);
        err_set(e, ERR_IO, "watch socket: %s", uv_strerror(rc));
        return NULL;
    }
    k->poll.data = k;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on UNIX sockets, which need none */
    peer_text(k);
    return &k->s;
}

/* --- connecting ------------------------------------------------------------------------------------------------- */

struct sock_connect {
    uv_poll_t poll;
    struct loop *loop;
    struct loop_flush soon; /* a connect that ended at once is told at the end of the turn */
    int fd, error;
    sock_connect_cb *done;
    void *arg;
};

static void on_connect_closed(uv_handle_t *h) {
    mem_free(h->data);
}

static void connect_finish(struct sock_connect *c, int error) {
    sock_connect_cb *done = c->done;
    void *arg = c->arg;
    struct loop *l = c->loop;
    int fd = c->fd;
    list_drop(&c->soon.dirty);
    uv_close((uv_handle_t *)&c->poll, on_connect_closed);
    struct err e = { 0 };
    struct stream *s = NULL;
    if (error)
        err_set(&e, ERR_IO, "connect: %s", strerror(error));
    else
        s = sock_stream(l, fd, &e);
    if (!s)
        close(fd);
    done(arg, s, s ? NULL : &e);
}

static void on_connect_poll(uv_poll_t *h, int status, int events) {
    struct sock_connect *c = h->data;
    int error = 0;
    socklen_t len = sizeof error;
    (void)status;
    (void)events;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    connect_finish(c, error);
}

static void on_connect_soon(struct loop_flush *f) {
    struct sock_connect *c = CONTAINER(f, struct sock_connect, soon);
    connect_finish(c, c->error);
}

struct sock_connect *sock_connect(struct loop *l, const struct sockaddr *addr, socklen_t len, sock_connect_cb *done, void *arg,
                                  struct err *e) {
    struct sock_connect *c = mem_new(sizeof *c);
    if (!c) {
        err_no_memory(e);
        return NULL;
    }
    *c = (struct sock_connect){ .loop = l, .done = done, .arg = arg };
    list_init(&c->soon.dirty);
    c->soon.run = on_connect_soon;
    c->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        err_set(e, ERR_IO, "socket: %s", strerror(errno));
        mem_free(c);
        return NULL;
    }
    int rc;
    do
        rc = connect(c->fd, addr, len);
    while (rc != 0 && errno == EINTR);
    c->error = rc == 0 ? 0 : errno;
    int uvrc = uv_poll_init(&l->uv, &c->poll, c->fd);
    if (uvrc != 0) {
        err_set(e, ERR_IO, "watch socket: %s", uv_strerror(uvrc));
        close(c->fd);
        mem_free(c);
        return NULL;
    }
    c->poll.data = c;
    if (c->error == EINPROGRESS)
        uv_poll_start(&c->poll, UV_WRITABLE, on_connect_poll);
    else
        loop_flush_later(l, &c->soon);
    return c;
}

void sock_connect_cancel(struct sock_connect *c) {
    if (!c)
        return;
    list_drop(&c->soon.dirty);
    uv_close((uv_handle_t *)&c->poll, on_connect_closed);
    close(c->fd);
}

/* --- listening -------------------------------------------------------------------------------------------------- */

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    struct timer pause;
    uint64_t told_ms;            /* when the log last heard of a pause; 0 = never */
    int fd;
    bool closed;
    const struct listener_events *on;
    void *owner;
};

static void on_acceptable(uv_poll_t *h, int status, int events);

static void on_pause_over(void *arg) {
    struct listener *n = arg;
    uv_poll_start(&n->poll, UV_READABLE, on_acceptable);
}

static void pause_accepting(struct listener *n) {
    uv_poll_stop(&n->poll);
    timer_set(n->loop, &n->pause, ACCEPT_PAUSE_MS, on_pause_over, n);
}

static void tell_pause(struct listener *n, int error) {
    uint64_t now = loop_now_ms(n->loop);
    if (n->told_ms && now - n->told_ms < PAUSE_TELL_MS)
        return;
    n->told_ms = now ? now : 1;
    log_event(LOG_WARN, "accepting paused", F_STR("cause", strerror(error)), F_U64("pause_ms", ACCEPT_PAUSE_MS));
}

static void on_acceptable(uv_poll_t *h, int status, int events) {
    struct listener *n = h->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_WAKE && !n->closed; i++) {
        if (n->on->can_accept && !n->on->can_accept(n->owner)) {
            pause_accepting(n);
            return;
        }
        int fd = accept4(n->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                tell_pause(n, errno);
                pause_accepting(n);
            }
            return;
        }
        struct err e;
        struct stream *s = sock_stream(n->loop, fd, &e);
        if (!s) {
            close(fd);
            pause_accepting(n);
            return;
        }
        n->on->on_accept(n->owner, s);
    }
}

/* A process that was killed leaves the name of its UNIX socket behind; nobody answers there then. */
static bool drop_stale(const struct sockaddr *addr, socklen_t len) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool stale = fd >= 0 && connect(fd, addr, len) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    bool dropped = stale && unlink(((const struct sockaddr_un *)(const void *)addr)->sun_path) == 0;
    errno = EADDRINUSE; /* what bind said */
    return dropped;
}

static bool bind_to(int fd, const struct sockaddr *addr, socklen_t len) {
    if (bind(fd, addr, len) == 0)
        return true;
    bool again = errno == EADDRINUSE && addr->sa_family == AF_UNIX && drop_stale(addr, len);
    return again && bind(fd, addr, len) == 0;
}

int listen_socket(const struct sockaddr *addr, socklen_t len, bool share, int backlog, struct err *e) {
    int one = 1, fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_set(e, ERR_IO, "socket: %s", strerror(errno));
        return -1;
    }
    if (addr->sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (addr->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (share)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (!bind_to(fd, addr, len) || listen(fd, backlog) != 0) {
        err_set(e, ERR_IO, "listen: %s", strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

struct listener *listener_new(struct loop *l, int fd, const struct listener_events *on, void *owner, struct err *e) {
    struct listener *n = mem_new(sizeof *n);
    if (!n) {
        err_no_memory(e);
        return NULL;
    }
    *n = (struct listener){ .loop = l, .fd = fd, .on = on, .owner = owner };
    int rc = uv_poll_init(&l->uv, &n->poll, fd);
    if (rc != 0) {
        mem_free(n);
        err_set(e, ERR_IO, "watch listener: %s", uv_strerror(rc));
        return NULL;
    }
    n->poll.data = n;
    uv_poll_start(&n->poll, UV_READABLE, on_acceptable);
    return n;
}

static void on_listener_closed(uv_handle_t *h) {
    mem_free(h->data);
}

void listener_close(struct listener *n) {
    if (!n || n->closed)
        return;
    n->closed = true;
    timer_stop(n->loop, &n->pause);
    uv_close((uv_handle_t *)&n->poll, on_listener_closed);
    close(n->fd);
}
