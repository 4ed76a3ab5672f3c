/* fleet/discovery.c - a round: next_place -> try_place -> on_looked -> next_place ... -> round_over -> (interval) -> again.
 *
 * Near places come first (known ports of the loopback address, then labelled containers), then what announces itself by
 * multicast DNS, then the LAN addresses that the operator listed. At most 16 looks are under way, so even a listed /22 sees a
 * trickle. A place that answers but is no runtime is left alone for ten minutes. An announcement only says where to look. */
#include "fleet/discovery.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "fleet/containers.h"
#include "fleet/foreign.h"
#include "fleet/mdns.h"

enum {
    AT_ONCE = 16,           /* looks under way */
    LAN_CONNECT_MS = 1000,
    HOST_MAX = 64,
};

/* The usual ports, and the ones next to those that often hold a second server. 80, where TGI and TEI containers listen, is
 * left out: on this machine it is somebody's web server. */
static const uint16_t near_ports[] = { 11434, 1234, 8080, 8000, 30000, 3000, 5000, 5001, 1337, 13305, 12434, 9000, 7997, 8001, 8081 };
static const uint16_t lan_ports[] = { 11434, 1234, 8080, 8000, 30000, 5000, 5001, 1337, 13305, 12434, 7997 };

enum { N_NEAR = sizeof near_ports / sizeof near_ports[0], N_LAN = sizeof lan_ports / sizeof lan_ports[0] };

struct place {
    char host[HOST_MAX];
    uint16_t port;
    char name[HOST_MAX + 1];
    bool is_lan;
    bool is_here;           /* announced, and at an address of this machine */
};

struct attempt {
    struct list under_way;
    struct discovery *d;
    struct place at;
    char authority[HOST_MAX + 8];
    struct dialer *dialer;
    struct look *look;
};

struct discovery {
    const struct endpoint_home *home;
    struct config *config;
    const struct discovery_events *on;
    void *owner;
    struct timer next;
    struct list under_way;   /* of struct attempt */
    unsigned n_under_way, n_near_under_way;
    struct foreign foreign;  /* by "host:port" */
    bool in_round, settled;
    bool again;              /* another round was asked for meanwhile */

    /* Where the round is. */
    enum { AT_PORTS, AT_HINT, AT_CONTAINERS, AT_MDNS, AT_LAN, AT_END } stage;
    size_t port, entry;
    uint32_t address;        /* within the LAN entry */
    struct probe *containers;
    struct dialer *socket;
    struct place boxes[CONTAINERS_MAX];
    size_t n_boxes, box;
    struct mdns *mdns;       /* listening */
    struct place announced[MDNS_PLACES_MAX];
    size_t n_announced, next_announced;
};

static void pump(struct discovery *d);

/* --- what is left alone ------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *host) {
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static bool listens_there(const struct config_listen *n, const struct place *at) {
    const struct sockaddr_in *v4 = (const void *)&n->addr;
    const struct sockaddr_in6 *v6 = (const void *)&n->addr;
    char text[INET6_ADDRSTRLEN] = "";
    if (n->addr.ss_family == AF_INET && ntohs(v4->sin_port) == at->port) {
        if (v4->sin_addr.s_addr == INADDR_ANY)
            return at->is_here || is_loopback(at->host);
        return inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text) && strcmp(text, at->host) == 0;
    }
    if (n->addr.ss_family == AF_INET6 && ntohs(v6->sin6_port) == at->port) {
        if (memcmp(&v6->sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
            return at->is_here || is_loopback(at->host);
        return inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text) && strcmp(text, at->host) == 0;
    }
    return false;
}

/* Drover's own listeners. What slips through (a port taken over, another address of this machine, another Drover) is seen by
 * its answers: a port meant to be taken over may as well still belong to the runtime that had it first. */
static bool is_own(const struct config *c, const struct place *at) {
    for (size_t i = 0; i < c->n_listen; i++)
        if (listens_there(&c->listen[i], at))
            return true;
    return false;
}

static struct sv key_of(const struct place *at, char space[static FOREIGN_KEY_MAX]) {
    int n = snprintf(space, FOREIGN_KEY_MAX, "%s:%u", at->host, at->port);
    return (struct sv){ space, (size_t)n };
}

/* An endpoint is there, or it is just being looked at. */
static bool is_seen(struct discovery *d, const char *host, uint16_t port) {
    LIST_FOR(it, &d->under_way) {
        const struct attempt *a = CONTAINER(it, struct attempt, under_way);
        if (a->at.port == port && strcmp(a->at.host, host) == 0)
            return true;
    }
    return d->on->is_known(d->owner, sv_of(host), port);
}

static bool is_left_alone(struct discovery *d, const struct place *at) {
    char space[FOREIGN_KEY_MAX];
    return is_own(d->config, at) || foreign_has(&d->foreign, key_of(at, space), loop_now_ms(d->home->loop)) ||
           is_seen(d, at->host, at->port) || (at->is_here && is_seen(d, "127.0.0.1", at->port));
}

static void leave_alone(struct discovery *d, const struct place *at) {
    char space[FOREIGN_KEY_MAX];
    foreign_add(&d->foreign, key_of(at, space), loop_now_ms(d->home->loop));
}

/* --- the places of a round ------------------------------------------------------------------------------------------ */

static struct place near_place(const char *host, uint16_t port) {
    struct place at = { .port = port };
    snprintf(at.host, sizeof at.host, "%s", host);
    return at;
}

/* OLLAMA_HOST as Ollama itself reads it, as far as it means this machine. */
static bool hint(struct place *ret) {
    const char *text = getenv("OLLAMA_HOST");
    struct sv v = sv_trim(sv_of(text)), head;
    uint64_t port = 11434;
    if (v.n == 0)
        return false;
    ptrdiff_t scheme = sv_find(v, SV("://"));
    if (scheme >= 0)
        v = sv_from(v, (size_t)scheme + 3);
    if (sv_cut(&v, '/', &head))
        v = head;
    ptrdiff_t colon = sv_rfind_char(v, ':');
    struct sv host = colon < 0 ? v : sv_first(v, (size_t)colon);
    if (colon >= 0 && (!sv_to_u64(sv_from(v, (size_t)colon + 1), &port) || port == 0 || port > 65535))
        return false;
    if (host.n && !sv_eq(host, SV("0.0.0.0")) && !sv_eq(host, SV("localhost")) && !sv_starts(host, SV("127.")))
        return false;
    *ret = near_place("127.0.0.1", (uint16_t)port);
    return true;
}

/* Address number i of an entry, without the network's own and its broadcast address. */
static bool lan_address(struct sv entry, uint32_t i, char *host, size_t size) {
    struct sv bits_text = entry, address = entry;
    uint64_t bits = 32;
    struct in_addr a;
    bool range = sv_cut(&bits_text, '/', &address);
    if (!sv_to_cstr(address, host, size))
        return false;
    if (!range)
        return i == 0;
    if (inet_pton(AF_INET, host, &a) != 1 || !sv_to_u64(bits_text, &bits) || bits < 22 || bits > 32)
        return false;
    uint32_t n = 1u << (32 - bits), first = ntohl(a.s_addr) & ~(n - 1), skip = n > 2;
    if (i >= n - 2 * skip)
        return false;
    a.s_addr = htonl(first + skip + i);
    return inet_ntop(AF_INET, &a, host, (socklen_t)size) != NULL;
}

static bool next_lan(struct discovery *d, struct place *ret) {
    for (; d->entry < d->config->discovery.lan.n; d->entry++, d->address = 0, d->port = 0) {
        for (; lan_address(d->config->discovery.lan.v[d->entry], d->address, ret->host, sizeof ret->host);
             d->address++, d->port = 0) {
            if (d->port == N_LAN)
                continue;
            ret->port = lan_ports[d->port++];
            ret->is_lan = true;
            return true;
        }
    }
    return false;
}

static void enter(struct discovery *d, int stage) {
    d->stage = stage;
    d->port = d->entry = d->box = d->next_announced = 0;
    d->address = 0;
}

/* False at the end of the round, or while the list of containers or announcements are awaited. */
static bool next_place(struct discovery *d, struct place *ret) {
    *ret = (struct place){ 0 };
    switch (d->stage) {
    case AT_PORTS:
        if (d->config->discovery.local && d->port < N_NEAR) {
            *ret = near_place("127.0.0.1", near_ports[d->port++]);
            return true;
        }
        enter(d, AT_HINT);
        /* fall through */
    case AT_HINT:
        enter(d, AT_CONTAINERS);
        if (d->config->discovery.local && hint(ret))
            return true;
        /* fall through */
    case AT_CONTAINERS:
        if (d->containers)
            return false;
        if (d->box < d->n_boxes) {
            *ret = d->boxes[d->box++];
            return true;
        }
        enter(d, AT_MDNS);
        /* fall through */
    case AT_MDNS:
        if (d->mdns)
            return false;
        if (d->next_announced < d->n_announced) {
            *ret = d->announced[d->next_announced++];
            return true;
        }
        enter(d, AT_LAN);
        /* fall through */
    case AT_LAN:
        if (next_lan(d, ret))
            return true;
        enter(d, AT_END);
        /* fall through */
    case AT_END:
        return false;
    }
    return false;
}

/* --- one place ---------------------------------------------------------------------------------------------------- */

static void attempt_free(struct attempt *a) {
    a->d->n_under_way--;
    a->d->n_near_under_way -= !a->at.is_lan;
    list_drop(&a->under_way);
    look_free(a->look);
    dialer_unref(a->dialer);
    mem_free(a);
}

/* Whether this is surely a runtime. A stranger with a list of models is one only if there is something in it. */
static bool is_runtime(const struct look *l) {
    if (!l->rt || l->is_drover)
        return false;
    if (l->rt->kind == CONFIG_KIND_OPENAI)
        return l->end == LOOK_GOOD && l->n_models > 0;
    return l->end == LOOK_GOOD || l->end == LOOK_POOR || l->end == LOOK_LOADING;
}

static void on_looked(void *owner, struct look *l) {
    struct attempt *a = owner;
    struct discovery *d = a->d;
    if (is_runtime(l)) {
        struct discovery_found found = { sv_of(a->at.host), a->at.port, l->rt->kind, sv_of(a->at.name) };
        d->on->on_found(d->owner, &found);
    } else if (l->answered) {
        leave_alone(d, &a->at);
    }
    attempt_free(a);
    pump(d);
}

static void try_place(struct discovery *d, const struct place *at) {
    struct attempt *a;
    if (is_left_alone(d, at))
        return;
    a = mem_new(sizeof *a);
    if (!a)
        return; /* the next round comes */
    list_push_back(&d->under_way, &a->under_way);
    d->n_under_way++;
    d->n_near_under_way += !at->is_lan;
    a->d = d;
    a->at = *at;
    snprintf(a->authority, sizeof a->authority, strchr(at->host, ':') ? "[%s]:%u" : "%s:%u", at->host, at->port);
    struct err e;
    a->dialer = dialer_tcp(sv_of(at->host), at->port, NULL, &e);
    struct probe_place place = { .client = d->home->client, .dialer = a->dialer, .host = sv_of(a->authority),
                                 .connect_ms = at->is_lan ? LAN_CONNECT_MS : 0 };
    a->look = a->dialer ? look_new(d->home->loop, &place, NULL, NULL, on_looked, a) : NULL;
    if (!a->look)
        attempt_free(a);
}

/* --- containers --------------------------------------------------------------------------------------------------- */

static void on_containers(void *arg, const struct probe_reply *r) {
    struct discovery *d = arg;
    size_t i, n;
    yyjson_val *box;
    d->containers = NULL;
    d->socket = dialer_unref(d->socket);
    if (r->status == 200 && yyjson_is_arr(r->json)) {
        yyjson_arr_foreach(r->json, i, n, box) {
            struct container_place at;
            struct place *to = &d->boxes[d->n_boxes];
            if (d->n_boxes == CONTAINERS_MAX || !container_read(box, &at) || at.host.n >= sizeof to->host)
                continue;
            *to = (struct place){ .port = at.port };
            memcpy(to->host, at.host.p, at.host.n);
            memcpy(to->name, at.name.p ? at.name.p : "", at.name.n);
            d->n_boxes++;
        }
    }
    pump(d);
}

static void ask_containers(struct discovery *d) {
    static const char *const paths[] = { "/var/run/docker.sock", "/run/podman/podman.sock" };
    struct err e;
    d->n_boxes = 0;
    if (!d->config->discovery.containers)
        return;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0] && !d->containers; i++) {
        if (access(paths[i], R_OK | W_OK) != 0)
            continue;
        d->socket = dialer_unix(sv_of(paths[i]), &e);
        struct probe_place at = { .client = d->home->client, .dialer = d->socket, .host = SV("localhost") };
        if (d->socket)
            d->containers = probe_start(d->home->loop, &at, SV(CONTAINERS_PATH), SV_NULL, PROBE_LIST_MAX, on_containers, d, &e);
        if (!d->containers)
            d->socket = dialer_unref(d->socket);
    }
}

/* --- multicast DNS ------------------------------------------------------------------------------------------------- */

/* Another Drover is told of, once in ten minutes, and left alone: it is no runtime. Its key is none of a place, so that an
 * announcement cannot hide a runtime. */
static void note_drover(struct discovery *d, const struct place *at) {
    char space[FOREIGN_KEY_MAX];
    int n = snprintf(space, sizeof space, "drover %s:%u", at->host, at->port);
    struct sv key = { space, (size_t)n };
    if (is_own(d->config, at) || foreign_has(&d->foreign, key, loop_now_ms(d->home->loop)))
        return;
    foreign_add(&d->foreign, key, loop_now_ms(d->home->loop));
    log_event(LOG_INFO, "another Drover announces itself", F_STR("host", at->host), F_U64("port", at->port));
}

static void on_announced(void *owner, const struct mdns_found *f) {
    struct discovery *d = owner;
    for (size_t i = 0; i < f->n; i++) {
        const struct mdns_instance *it = &f->v[i];
        struct place *to = &d->announced[d->n_announced];
        *to = (struct place){ .port = it->port, .is_lan = true, .is_here = it->is_here };
        if (!it->at.family || !inet_ntop(it->at.family, it->at.bytes, to->host, sizeof to->host))
            continue;
        if (it->service == MDNS_DROVER)
            note_drover(d, to);
        else
            d->n_announced++;
    }
    d->mdns = mdns_free(d->mdns);
    pump(d);
}

static void ask_mdns(struct discovery *d) {
    struct mdns_how how = { .listen_ms = MDNS_LISTEN_MS };
    d->n_announced = 0;
    if (d->config->discovery.mdns)
        d->mdns = mdns_new(d->home->loop, &how, on_announced, d);
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

static void begin_round(void *arg) {
    struct discovery *d = arg;
    d->again = d->in_round;
    if (!d->in_round) {
        d->in_round = true;
        enter(d, AT_PORTS);
        ask_containers(d);
        ask_mdns(d);
    }
    pump(d);
}

static void pump(struct discovery *d) {
    struct place at;
    if (!d->in_round)
        return;
    while (d->n_under_way < AT_ONCE && next_place(d, &at))
        try_place(d, &at);
    if (d->stage >= AT_MDNS && d->n_near_under_way == 0 && !d->settled) {
        d->settled = true;
        d->on->on_settled(d->owner);
    }
    if (d->stage == AT_END && d->n_under_way == 0 && !d->containers) {
        d->in_round = false;
        timer_set(d->home->loop, &d->next, d->again ? 0 : d->config->discovery.interval_ms, begin_round, d);
    }
}

struct discovery *discovery_new(const struct endpoint_home *home, struct config *c, const struct discovery_events *on, void *owner) {
    struct discovery *d = mem_new(sizeof *d);
    if (!d)
        return NULL;
    d->home = home;
    d->config = config_ref(c);
    d->on = on;
    d->owner = owner;
    list_init(&d->under_way);
    foreign_init(&d->foreign);
    timer_set(home->loop, &d->next, 0, begin_round, d);
    return d;
}

void discovery_apply(struct discovery *d, struct config *c) {
    config_unref(d->config);
    d->config = config_ref(c);
    d->mdns = mdns_free(d->mdns);
    if (d->in_round)
        enter(d, AT_END); /* its lists are gone; what is under way comes home */
    timer_set(d->home->loop, &d->next, 0, begin_round, d);
}

void discovery_now(struct discovery *d) {
    foreign_forget(&d->foreign);
    timer_set(d->home->loop, &d->next, 0, begin_round, d);
}

void discovery_free(struct discovery *d) {
    if (!d)
        return;
    timer_stop(d->home->loop, &d->next);
    mdns_free(d->mdns);
    probe_cancel(d->containers);
    dialer_unref(d->socket);
    while (!list_empty(&d->under_way))
        attempt_free(CONTAINER(d->under_way.next, struct attempt, under_way));
    foreign_deinit(&d->foreign);
    config_unref(d->config);
    mem_free(d);
}
