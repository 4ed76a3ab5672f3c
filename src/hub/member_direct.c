/* hub/member_direct.c - the mode direct: listen -> accept -> TLS, where this side speaks first as its client -> upgrade -> met; from there on
 * it is a tie like any other (member_link.c).
 *
 * Anybody can come to the port. What they get is a TLS hello that names nobody, and no certificate of ours before theirs was found good
 * (RFC 8446, section 4.4.2: the client's comes after the server's). Few are heard at one time and each has little time; where there is no
 * room a newcomer takes the place of one from its own address, or of the oldest, so a stranger who holds places does not keep the hub out. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "hub/member_room.h"
#include "io/given.h"
#include "io/sock.h"

enum {
    PENDING = 4,
    PENDING_MS = 10000,
    BACKLOG = 16,
    WINDOW_MS = 100,
    ACCEPTS = 10, /* in a window */
};

struct direct {
    struct member *member;
    struct listener *listener;
    struct tls_context *tls; /* for the certificate and the roots of: */
    char serial[TLS_SERIAL_MAX + 1];
    uint64_t trust_sequence;
    uint64_t window_ms; /* loop time */
    unsigned n_accepted;
    struct pending {
        struct direct *direct;
        struct tie *tie; /* NULL: free */
        int fd;          /* the connection once more: to cut it, whatever another loop does with it */
        uint64_t since_ms;
        char peer[STREAM_PEER_TEXT];
        struct timer deadline;
    } pending[PENDING];
};

/* --- what the settings say ---------------------------------------------------------------------------------------------------------------- */

bool direct__is_on(const struct member *m) {
    int mode = (*m->house.config)->join.mode;
    const char *joined = m->has_state ? m->state.mode : m->wish.mode;
    return mode == CONFIG_JOIN_DIRECT || (mode == CONFIG_JOIN_AUTO && strcmp(joined, "direct") == 0);
}

void direct__address(const struct member *m, char to[static MEMBER_CALLED_MAX + 1]) {
    const struct config *c = *m->house.config;
    struct sv at = c->join.reached_at.n ? c->join.reached_at : c->join.listen;
    to[0] = '\0';
    if (direct__is_on(m))
        snprintf(to, MEMBER_CALLED_MAX + 1, "https://%.*s", SV_FMT(at));
}

bool direct__is_untold(const struct member *m) {
    char now[MEMBER_CALLED_MAX + 1];
    if (!m->has_state || !m->house.n_berths)
        return false;
    direct__address(m, now);
    return strcmp(now, m->state.called_at) != 0;
}

/* --- those who have come ------------------------------------------------------------------------------------------------------------------ */

static struct pending *place_of(const struct tie *t) {
    struct direct *d = t->member->direct;
    for (unsigned i = 0; d && i < PENDING; i++)
        if (d->pending[i].tie == t)
            return &d->pending[i];
    return NULL;
}

/* The tie is its caller's from here on. */
static struct tie *vacate(struct pending *p) {
    struct tie *t = p->tie;
    timer_stop(p->direct->member->house.loop, &p->deadline);
    close(p->fd);
    p->tie = NULL;
    return t;
}

static void cut(struct pending *p, struct sv why) {
    if (!p->tie)
        return;
    log_event(LOG_DEBUG, "a connection to the port for the hub was cut", F_STR("peer", p->peer), F_SV("cause", why));
    shutdown(p->fd, SHUT_RDWR);
    tie__end(vacate(p), 1000, why);
}

static void on_late(void *arg) {
    cut(arg, SV("it did not prove to be the hub in time"));
}

void direct__met(struct tie *t) {
    struct member *m = t->member;
    struct pending *p = place_of(t);
    if (!p)
        return;
    (void)vacate(p);
    tie__end(m->fresh, CLOSE_REPLACED, SV("the hub has begun a newer connection"));
    m->fresh = t;
    if (!m->now)
        member__goto(m, MEMBER_DIALLING);
}

bool direct__ended(struct tie *t, int status, struct sv why) {
    struct member *m = t->member;
    struct pending *p = place_of(t);
    struct err e;
    if (!p)
        return false;
    if (status)
        err_set(&e, ERR_IO, "the hub answered %d: %.*s", status, SV_FMT(why));
    else
        err_set(&e, ERR_IO, "%s connected, and is not this node's hub, or did not trust this node", p->peer);
    if (!m->now)
        member__failed(m, &e);
    log_event(status ? LOG_WARN : LOG_DEBUG, "a connection to the port for the hub came to nothing", F_STR("peer", p->peer), F_I64("status", status),
              F_SV("cause", why));
    tie__end(vacate(p), 1000, SV_NULL);
    return true;
}

/* --- coming ------------------------------------------------------------------------------------------------------------------------------- */

static struct pending *make_room(struct direct *d, const char *peer) {
    struct pending *same = NULL, *oldest = NULL;
    for (unsigned i = 0; i < PENDING; i++) {
        struct pending *p = &d->pending[i];
        if (!p->tie)
            return p;
        if (!oldest || p->since_ms < oldest->since_ms)
            oldest = p;
        if (strcmp(p->peer, peer) == 0 && (!same || p->since_ms < same->since_ms))
            same = p;
    }
    struct pending *p = same ? same : oldest;
    cut(p, SV("another one came"));
    return p;
}

/* Made anew when there is another certificate, or other roots. */
static bool renew_context(struct direct *d, struct err *e) {
    const struct member_state *s = &d->member->state;
    if (d->tls && strcmp(d->serial, s->pair.cert.is.serial) == 0 && d->trust_sequence == s->trust.sequence)
        return true;
    tls_unref(d->tls);
    d->tls = member__called_context(d->member, e);
    snprintf(d->serial, sizeof d->serial, "%s", s->pair.cert.is.serial);
    d->trust_sequence = s->trust.sequence;
    return d->tls != NULL;
}

static bool take(struct direct *d, struct pending *p, int fd, struct err *e) {
    p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (p->fd < 0) {
        close(fd);
        return err_set(e, ERR_IO, "%s", strerror(errno));
    }
    struct dialer *given = dialer_given(fd, d->tls, e);
    struct tie *t = given ? tie__given(d->member, given, e) : NULL;
    dialer_unref(given);
    if (!t) {
        close(p->fd);
        return false;
    }
    p->tie = t;
    p->since_ms = loop_now_ms(d->member->house.loop);
    timer_set(d->member->house.loop, &p->deadline, PENDING_MS, on_late, p);
    return true;
}

static void on_accept(void *owner, struct stream *s) {
    struct direct *d = owner;
    struct err e = { 0 };
    d->n_accepted++;
    if (member__cert_has_ended(d->member) || !renew_context(d, &e)) { /* with the next one: the hub comes again */
        stream_close(s);
        return;
    }
    struct pending *p = make_room(d, s->peer);
    memcpy(p->peer, s->peer, sizeof p->peer);
    if (!take(d, p, sock_release(s), &e))
        log_event(LOG_WARN, "a connection to the port for the hub could not be taken", F_STR("peer", p->peer), F_STR("cause", e.text));
}

static bool can_accept(void *owner) {
    struct direct *d = owner;
    uint64_t now = loop_now_ms(d->member->house.loop);
    if (now - d->window_ms >= WINDOW_MS) {
        d->window_ms = now;
        d->n_accepted = 0;
    }
    return d->n_accepted < ACCEPTS;
}

static const struct listener_events port_events = { on_accept, can_accept };

/* --- life --------------------------------------------------------------------------------------------------------------------------------- */

static bool start(struct member *m, struct err *e) {
    struct sv at = (*m->house.config)->join.listen;
    struct sockaddr_storage addr;
    socklen_t len;
    struct direct *d = mem_new(sizeof *d);
    if (!d)
        return err_no_memory(e);
    d->member = m;
    for (unsigned i = 0; i < PENDING; i++)
        d->pending[i].direct = d;
    int fd = config_address(at, &addr, &len, e) ? listen_socket((struct sockaddr *)&addr, len, false, BACKLOG, e) : -1;
    d->listener = fd >= 0 ? listener_new(m->house.loop, fd, &port_events, d, e) : NULL;
    if (!d->listener) {
        if (fd >= 0)
            close(fd);
        mem_free(d);
        return err_ctx(e, "join.listen %.*s", SV_FMT(at));
    }
    m->direct = d;
    direct__address(m, m->address);
    log_event(LOG_INFO, "listening for the hub, which dials this machine", F_SV("address", at), F_STR("called_at", m->address));
    return true;
}

void direct__open(struct member *m) {
    struct err e;
    if (!m->direct && !start(m, &e)) {
        const struct plan_end end = { 0 };
        member__failed(m, &e);
        member__rest(m, MEMBER_RESTING, plan_wait_ms(&m->plan, &end, &member__chance), &end, member__proceed);
        return;
    }
    if (!m->now && !m->fresh)
        member__goto(m, MEMBER_AWAITING);
}

void direct__close(struct member *m) {
    struct direct *d = m->direct;
    if (!d)
        return;
    for (unsigned i = 0; i < PENDING; i++)
        cut(&d->pending[i], SV("stopping"));
    listener_close(d->listener);
    tls_unref(d->tls);
    mem_free(d);
    m->direct = NULL;
    m->address[0] = '\0';
}
