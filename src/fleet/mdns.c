/* fleet/mdns.c - a round: mdns_new -> ask -> (on_readable ...) -> on_time: ask for the rest, twice -> done.
 *
 * One socket per IP version, on a port of its own choosing: a one-shot query. The index of the interface goes with each
 * message, both ways, so that a question leaves on every link and an answer is judged by the link it came in on. The group's
 * port 5353 is not shared with the system's own responder, which may be missing or be the one that answers. */
#include "fleet/mdns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"

enum {
    MESSAGES_PER_WAKE = 16,
    STEPS = 3,     /* of equal length; at the end of each but the last the rest is asked for */
    TTL = 255,     /* RFC 6762 section 11 */
};

struct ear {
    struct mdns *m;
    uv_poll_t poll;
    int fd; /* -1: closed, or never opened */
};

struct link {
    unsigned index;
    struct in_addr v4; /* an address of ours there, the source of questions; 0: none */
    bool v6;
};

struct mdns {
    struct loop *loop;
    struct timer timer;
    unsigned step, step_ms, n_messages;
    uint16_t id; /* of the questions; answers repeat it */
    struct ear v4, v6;
    unsigned n_handles; /* not closed yet */
    struct link links[MDNS_LINKS_MAX];
    struct mdns_net nets[MDNS_NETS_MAX];
    size_t n_links, n_nets;
    struct mdns_found found;
    void (*done)(void *owner, const struct mdns_found *f);
    void *owner;
};

/* --- the interfaces ----------------------------------------------------------------------------------------------- */

static bool read_address(const struct sockaddr *a, struct mdns_address *ret) {
    if (!a || (a->sa_family != AF_INET && a->sa_family != AF_INET6))
        return false;
    *ret = (struct mdns_address){ .family = a->sa_family };
    if (a->sa_family == AF_INET)
        memcpy(ret->bytes, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
    else
        memcpy(ret->bytes, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 16);
    return true;
}

static unsigned count_bits(const struct mdns_address *mask) {
    unsigned n = 0;
    for (size_t i = 0; i < (mask->family == AF_INET ? 4 : 16); i++)
        n += (unsigned)__builtin_popcount(mask->bytes[i]);
    return n;
}

static void add_link(struct mdns *m, const struct mdns_net *net) {
    size_t i = 0;
    while (i < m->n_links && m->links[i].index != net->link)
        i++;
    if (i == MDNS_LINKS_MAX)
        return;
    if (i == m->n_links)
        m->links[m->n_links++] = (struct link){ .index = net->link };
    if (net->at.family == AF_INET6)
        m->links[i].v6 = true;
    else if (!m->links[i].v4.s_addr)
        memcpy(&m->links[i].v4, net->at.bytes, 4);
}

static void read_interfaces(struct mdns *m, const char *only) {
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        struct mdns_net net;
        struct mdns_address mask = { 0 };
        bool is_link = (i->ifa_flags & (IFF_MULTICAST | IFF_LOOPBACK)) == IFF_MULTICAST;
        if (!(i->ifa_flags & IFF_UP) || !read_address(i->ifa_addr, &net.at) || !read_address(i->ifa_netmask, &mask))
            continue;
        net.link = if_nametoindex(i->ifa_name);
        net.bits = count_bits(&mask);
        if (m->n_nets < MDNS_NETS_MAX)
            m->nets[m->n_nets++] = net;
        if (net.link && (only ? strcmp(only, i->ifa_name) == 0 : is_link))
            add_link(m, &net);
    }
    freeifaddrs(all);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

/* What cannot be sent on one link is not sent: another link may do, and the next round comes. */
static void send_to(int fd, const void *group, size_t group_n, const unsigned char *q, size_t n, const struct in_pktinfo *link) {
    union {
        char space[CMSG_SPACE(sizeof *link)];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { (void *)(uintptr_t)q, n };
    struct msghdr h = { .msg_name = (void *)(uintptr_t)group, .msg_namelen = (socklen_t)group_n, .msg_iov = &iov, .msg_iovlen = 1 };
    if (link) {
        h.msg_control = &control;
        h.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        *c = (struct cmsghdr){ .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof *link) };
        memcpy(CMSG_DATA(c), link, sizeof *link);
    }
    if (sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_event(LOG_DEBUG, "multicast DNS: not sent", F_STR("cause", strerror(errno)));
}

static void send_all(struct mdns *m, const unsigned char *q, size_t n) {
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(MDNS_PORT), .sin_addr = { htonl(0xe00000fb) } }; /* 224.0.0.251 */
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(MDNS_PORT),
                               .sin6_addr = { { { 0xff, 2, [15] = 0xfb } } } }; /* ff02::fb */
    for (size_t i = 0; i < m->n_links; i++) {
        const struct link *to = &m->links[i];
        struct in_pktinfo link = { .ipi_ifindex = (int)to->index, .ipi_spec_dst = to->v4 };
        v6.sin6_scope_id = to->index;
        if (to->v4.s_addr && m->v4.fd >= 0)
            send_to(m->v4.fd, &v4, sizeof v4, q, n, &link);
        if (to->v6 && m->v6.fd >= 0)
            send_to(m->v6.fd, &v6, sizeof v6, q, n, NULL);
    }
}

/* --- listening ---------------------------------------------------------------------------------------------------- */

static unsigned link_of(struct msghdr *h) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        struct in_pktinfo v4;
        struct in6_pktinfo v6;
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            memcpy(&v4, CMSG_DATA(c), sizeof v4);
            return (unsigned)v4.ipi_ifindex;
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            memcpy(&v6, CMSG_DATA(c), sizeof v6);
            return v6.ipi6_ifindex;
        }
    }
    return 0;
}

/* False when nothing is waiting. */
static bool receive(struct mdns *m, int fd) {
    union {
        char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
        struct cmsghdr align;
    } control;
    struct sockaddr_in6 a; /* has room for an IPv4 one */
    struct mdns_from from = { .nets = m->nets, .n_nets = m->n_nets };
    struct iovec iov = { m->loop->scratch, MDNS_MESSAGE_MAX };
    struct msghdr h = { .msg_name = &a, .msg_namelen = sizeof a, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                        .msg_controllen = sizeof control.space };
    ssize_t n = recvmsg(fd, &h, MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR;
    m->n_messages++;
    from.link = link_of(&h);
    /* Both families have the port at the same place. RFC 6762 section 6: answers come from the port of multicast DNS. */
    if ((h.msg_flags & MSG_TRUNC) || !read_address((struct sockaddr *)&a, &from.source) || ntohs(a.sin6_port) != MDNS_PORT)
        return true;
    mdns_read(&m->found, (struct sv){ m->loop->scratch, (size_t)n }, m->id, &from);
    return true;
}

static void deafen(struct ear *e) {
    if (e->fd >= 0)
        uv_poll_stop(&e->poll);
}

static void on_readable(uv_poll_t *h, int status, int events) {
    struct ear *e = h->data;
    struct mdns *m = e->m;
    (void)status;
    (void)events;
    for (int i = 0; i < MESSAGES_PER_WAKE && m->n_messages < MDNS_MESSAGES_MAX && receive(m, e->fd); i++)
        ;
    if (m->n_messages >= MDNS_MESSAGES_MAX) {
        deafen(&m->v4);
        deafen(&m->v6);
    }
}

static int open_socket(int family) {
    int on = 1, ttl = TTL, fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool ok = family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0 &&
                                      setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof ttl) == 0
                                : setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 &&
                                      setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0 &&
                                      setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &ttl, sizeof ttl) == 0;
    if (ok)
        return fd;
    close(fd);
    return -1;
}

static bool ear_open(struct ear *e, struct mdns *m, int family) {
    e->m = m;
    e->fd = open_socket(family);
    if (e->fd >= 0 && uv_poll_init(&m->loop->uv, &e->poll, e->fd) != 0) {
        close(e->fd);
        e->fd = -1;
    }
    if (e->fd < 0)
        return false;
    m->n_handles++;
    e->poll.data = e;
    return uv_poll_start(&e->poll, UV_READABLE, on_readable) == 0;
}

static void on_closed(uv_handle_t *h) {
    struct mdns *m = ((struct ear *)h->data)->m;
    if (--m->n_handles == 0)
        mem_free(m);
}

static void ear_close(struct ear *e) {
    if (e->fd < 0)
        return;
    uv_close((uv_handle_t *)&e->poll, on_closed);
    close(e->fd);
    e->fd = -1;
}

/* --- a round ------------------------------------------------------------------------------------------------------ */

static void on_time(void *arg) {
    struct mdns *m = arg;
    unsigned char q[MDNS_QUERY_MAX];
    if (++m->step == STEPS) {
        m->done(m->owner, &m->found); /* last: it may be gone now */
        return;
    }
    size_t n = mdns_ask_rest(&m->found, q, m->id);
    if (n)
        send_all(m, q, n);
    timer_set(m->loop, &m->timer, m->step_ms, on_time, m);
}

struct mdns *mdns_new(struct loop *l, const struct mdns_how *how, void (*done)(void *owner, const struct mdns_found *f),
                      void *owner) {
    unsigned char q[MDNS_QUERY_MAX];
    struct mdns *m = mem_new(sizeof *m);
    if (!m)
        return NULL;
    m->loop = l;
    m->done = done;
    m->owner = owner;
    m->step_ms = how->listen_ms / STEPS;
    m->v4.fd = m->v6.fd = -1;
    rand_bytes(&m->id, sizeof m->id);
    read_interfaces(m, how->link);
    bool v4 = ear_open(&m->v4, m, AF_INET), v6 = ear_open(&m->v6, m, AF_INET6);
    if (m->n_links == 0 || !(v4 || v6)) {
        log_event(LOG_DEBUG, "multicast DNS: no interface to ask on");
        return mdns_free(m);
    }
    send_all(m, q, mdns_ask(q, m->id));
    timer_set(l, &m->timer, m->step_ms, on_time, m);
    return m;
}

struct mdns *mdns_free(struct mdns *m) {
    if (!m)
        return NULL;
    timer_stop(m->loop, &m->timer);
    ear_close(&m->v4);
    ear_close(&m->v6);
    if (m->n_handles == 0)
        mem_free(m);
    return NULL;
}
