/* app/daemon.c - the wiring: settings -> control loop (fleet, admin API) -> workers.
 *
 * Start: settings, directories, sockets, control loop, workers; anything that cannot be done is said in one line and ends
 * the start. Running: the fleet's snapshots and new settings go to every worker as messages. Stop: no more accepting, idle
 * connections close, answers under way get stop.drain to finish, then everything is taken down in reverse. */
#include "app/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/again.h"
#include "app/worker.h"
#include "base/clock.h"
#include "base/log.h"
#include "console/admin.h"
#include "http/client.h"
#include "http/url.h"
#include "hub/hub.h"
#include "hub/member.h"
#include "store/store.h"
#include "io/sock.h"
#include "version.h"

enum {
    PORTS_MAX = CONFIG_LISTEN_MAX + 2,
    WORKERS_MAX = 64,
    WATCH_MS = 2000,      /* how often the configuration file is looked at */
    STORE_CLOSE_MS = 5000,/* for what is still to be written at the end */
    EXPORT_CLOSE_MS = 2000,/* and sent to a collector */
    QUIET_MS = 300,       /* after a change it is left alone so long: an editor may be in the middle of writing it */
    ADDRESS_TEXT = 96,
    LINK_PORT = 7443,     /* where nodes come, when no listener is for them */
    HUB_URLS = 4,         /* told to nodes */
};

struct place { /* one address we listen on */
    struct sockaddr_storage addr;
    socklen_t len;
    struct gateway_listener listener;
    struct tls_context *tls;
    bool by_ca;
    int ask; /* enum config_client_cert */
    char text[ADDRESS_TEXT]; /* "http://127.0.0.1:11430" */
    char host[64];
};

struct daemon {
    const struct daemon_options *options;
    struct config *config;
    struct loop loop;
    bool has_loop;
    struct metrics *metrics;
    struct gateway_shared shared;
    struct census *census;
    struct http_client *client;
    struct fleet *fleet;
    struct store *store;
    struct access *access;
    struct people *people;
    struct mode *mode;
    struct demo *demo;
    struct demo_host *demo_host;
    struct hub *hub;  /* NULL: no nodes */
    struct hub_house hub_house;
    char hub_urls[HUB_URLS][ADDRESS_TEXT];
    const char *hub_url_list[HUB_URLS + 1];
    struct admin *admin;
    struct admin_house house;
    struct member *member;
    struct place places[PORTS_MAX];
    size_t n_places;
    const char *addresses[PORTS_MAX + 1];
    struct worker *workers[WORKERS_MAX];
    unsigned n_workers, n_empty;
    uv_signal_t signals[3];
    uv_fs_poll_t watch;
    bool watching, has_signals, stopping, told;
    bool again; /* it stops in order to start anew */
    struct timer drain, settle, changed;
};

bool daemon_socket(const struct config *c, char *path, size_t size) {
    int n = snprintf(path, size, "%.*s/drover.sock", SV_FMT(c->run_dir));
    return n > 0 && (size_t)n < size;
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

static void print_report(const struct config_report *r) {
    struct buf out = BUF_MAX(64 << 10);
    if (config_report_print(r, &out) && out.n)
        fprintf(stderr, "%.*s", SV_FMT(buf_sv(&out)));
    buf_deinit(&out);
}

static struct config_report report; /* of the last load; large; the control thread only */

static void log_warnings(void) {
    for (size_t i = 0; i < report.n_warnings; i++)
        log_event(LOG_WARN, "configuration", F_STR("file", report.warnings[i].source), F_U64("line", report.warnings[i].line),
                  F_STR("key", report.warnings[i].key), F_STR("warning", report.warnings[i].text));
    if (report.n_more_warnings)
        log_event(LOG_WARN, "configuration: more warnings, drover config check", F_U64("count", report.n_more_warnings));
}

static bool load(const struct config_source *source, struct config **ret, struct err *e) {
    struct config_source s = *source;
    struct config *c = config_load(&s, &report);
    if (!c) {
        const struct config_complaint *first = &report.complaints[0];
        err_set(e, ERR_CONFIG, "%s:%u:%u: %s: %s", first->source, first->line, first->column, first->key, first->text);
        print_report(&report);
        return false;
    }
    *ret = c;
    return true;
}

/* A collector that cannot be used is no reason not to serve. */
static void set_export(struct daemon *d) {
    struct err fault;
    if (!export_set(d->shared.export, d->config, &fault))
        log_event(LOG_ERROR, "nothing is exported", F_STR("cause", fault.text));
}

static void set_census(struct daemon *d) {
    const struct config_limits *m = &d->config->limits;
    struct census_limits l = { (unsigned)m->conn.max, (unsigned)m->conn.per_address, (unsigned)m->conn.per_loopback,
                               (unsigned)m->conn.new_per_address_per_s, (unsigned)m->conn.new_per_address_burst,
                               (unsigned)m->conn.new_per_loopback_per_s, (unsigned)m->conn.new_per_loopback_burst };
    census_set(d->census, &l);
}

static struct access_limits default_limits(const struct config *c) {
    return (struct access_limits){ .requests_per_min = (uint32_t)c->access.default_rate.requests,
                                   .requests_burst = (uint32_t)c->access.default_rate.burst,
                                   .concurrent = (uint32_t)c->access.default_rate.concurrent,
                                   .tokens_per_min = (uint64_t)c->access.default_rate.tokens };
}

static struct people_settings people_settings(const struct config *c) {
    return (struct people_settings){ (uint64_t)c->access.session_ttl_ms, (uint64_t)c->access.session_idle_ms };
}

static bool reload(void *owner, struct err *e) {
    struct daemon *d = owner;
    struct config *next = NULL;
    struct buf names = BUF_MAX(4096);
    if (!load(&d->options->source, &next, e)) {
        log_event(LOG_ERROR, "configuration refused, the running settings stay in force", F_STR("cause", e->text));
        return false;
    }
    if (config_is_same(d->config, next) && fleet_is_complete(d->fleet)) { /* as when the file was changed and a reload asked for */
        log_event(LOG_INFO, "configuration read again, nothing in it has changed", F_SV("file", next->file));
        config_unref(next);
        return true;
    }
    log_warnings();
    if (config_needs_restart(d->config, next, &names))
        log_event(LOG_WARN, "some settings apply only after a restart", F_SV("keys", buf_sv(&names)));
    buf_deinit(&names);
    struct config *was = d->config;
    d->config = next;
    log_set_level((enum log_level)next->log.level);
    fleet_apply(d->fleet, next);
    const struct access_limits limits = default_limits(next);
    access_set_defaults(d->access, &limits);
    const struct people_settings people = people_settings(next);
    people_set(d->people, &people);
    ledger_set(d->shared.ledger, (uint64_t)next->limits.ledger.queue_rows, next->telemetry.retain_ms);
    set_export(d);
    set_census(d);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_config(d->workers[i], next);
    config_unref(was);
    admin_changed(d->admin, ADMIN_CONFIG);
    mem_give_back();
    log_event(LOG_INFO, "configuration reloaded", F_SV("file", next->file));
    return true;
}

static void on_file_quiet(void *arg) {
    struct err e;
    (void)reload(arg, &e);
}

static void on_file_change(uv_fs_poll_t *h, int status, const uv_stat_t *was, const uv_stat_t *now) {
    struct daemon *d = h->data;
    (void)was;
    (void)now;
    if (status == 0)
        timer_set(&d->loop, &d->changed, QUIET_MS, on_file_quiet, d);
}

/* --- places ------------------------------------------------------------------------------------------------------- */

static bool make_dir(struct sv path, const char *what, struct err *e) {
    char text[4096];
    struct stat st;
    if (!sv_to_cstr(path, text, sizeof text))
        return err_set(e, ERR_CONFIG, "%s: path too long", what);
    for (char *slash = text + 1; (slash = strchr(slash, '/')); *slash++ = '/') { /* parents, as a user's state dir needs */
        *slash = '\0';
        if (mkdir(text, 0700) != 0 && errno != EEXIST && errno != EACCES && errno != EROFS)
            return err_set(e, ERR_CONFIG, "%s: create %s: %s", what, text, strerror(errno));
    }
    if (mkdir(text, 0700) != 0 && errno != EEXIST)
        return err_set(e, ERR_CONFIG, "%s: create %s: %s", what, text, strerror(errno));
    if (stat(text, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(e, ERR_CONFIG, "%s: %s is not a directory", what, text);
    if (st.st_mode & 022)
        return err_set(e, ERR_CONFIG, "%s: %s can be written by others; chmod 700 it", what, text);
    return true;
}

static void describe(struct place *p) {
    char ip[64];
    const char *scheme = p->tls || p->by_ca ? "https" : "http";
    if (p->addr.ss_family == AF_INET) {
        struct sockaddr_in *a = (struct sockaddr_in *)&p->addr;
        inet_ntop(AF_INET, &a->sin_addr, ip, sizeof ip);
        snprintf(p->host, sizeof p->host, "%s", ip);
        snprintf(p->text, sizeof p->text, "%s://%s:%u", scheme, ip, ntohs(a->sin_port));
    } else if (p->addr.ss_family == AF_INET6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)&p->addr;
        inet_ntop(AF_INET6, &a->sin6_addr, ip, sizeof ip - 2);
        snprintf(p->host, sizeof p->host, "[%.60s]", ip);
        snprintf(p->text, sizeof p->text, "%s://[%.60s]:%u", scheme, ip, ntohs(a->sin6_port));
    } else {
        snprintf(p->text, sizeof p->text, "unix socket");
        p->listener.is_unix = true;
    }
    p->listener.address = sv_of(p->host);
    p->listener.is_any = sv_eq(p->listener.address, SV("0.0.0.0")) || sv_eq(p->listener.address, SV("[::]"));
}

/* Binds once without sharing: a port that another program holds must not be shared with it by accident. A port of 0
 * becomes the one the kernel chose. */
static bool claim(struct place *p, struct err *e) {
    int fd = listen_socket((struct sockaddr *)&p->addr, p->len, false, 1, e);
    if (fd < 0)
        return false;
    getsockname(fd, (struct sockaddr *)&p->addr, &p->len);
    close(fd);
    return true;
}

static bool add_place(struct daemon *d, const struct config_listen *l, struct err *e) {
    struct place *p = &d->places[d->n_places];
    *p = (struct place){ .addr = l->addr, .len = l->addr_len, .by_ca = l->tls_ca, .ask = l->client_cert,
                         .listener = { .names = l->names, .needs_key = l->auth == CONFIG_AUTH_KEY, .no_console = !(l->roles & 1u << CONFIG_ROLE_CONSOLE),
                                       .no_gateway = !(l->roles & 1u << CONFIG_ROLE_GATEWAY), .has_links = (l->roles & 1u << CONFIG_ROLE_LINK) != 0 } };
    if (p->by_ca && !d->config->hub.name.n)
        return err_set(e, ERR_CONFIG, "listen %.*s: tls: ca needs a fleet: set hub.name", SV_FMT(l->address));
    if (l->tls && !p->by_ca && !(p->tls = tls_server_context(l->tls_cert.p, l->tls_key.p, e)))
        return err_ctx(e, "listen %.*s", SV_FMT(l->address));
    if (p->addr.ss_family != AF_UNIX && !claim(p, e)) {
        tls_unref(p->tls);
        return err_ctx(e, "%.*s (is another program using it? drover serve --set listen='[{address: \"127.0.0.1:PORT\"}]' takes "
                       "another port)", SV_FMT(l->address));
    }
    describe(p);
    d->addresses[d->n_places++] = p->text;
    return true;
}

static void add_takeover(struct daemon *d, uint16_t port) {
    struct config_listen l = { .address = SV("takeover"), .roles = 1u << CONFIG_ROLE_GATEWAY };
    struct sockaddr_in *a = (struct sockaddr_in *)&l.addr;
    struct err e;
    a->sin_family = AF_INET;
    a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a->sin_port = htons(port);
    l.addr_len = sizeof *a;
    if (!add_place(d, &l, &e))
        log_event(LOG_INFO, "takeover: the port is in use, so it stays with its owner", F_U64("port", port));
}

/* Where nodes come when the settings say nothing of it: they prove who they are, so it is open to the network. */
static bool add_link_place(struct daemon *d, struct err *e) {
    struct config_listen l = { .address = SV("0.0.0.0:7443"), .tls = true, .tls_ca = true, .client_cert = CONFIG_CLIENT_CERT_OPTIONAL,
                               .roles = 1u << CONFIG_ROLE_LINK };
    struct sockaddr_in *a = (struct sockaddr_in *)&l.addr;
    for (size_t i = 0; i < d->n_places; i++)
        if (d->places[i].listener.has_links)
            return true;
    a->sin_family = AF_INET;
    a->sin_port = htons(LINK_PORT);
    l.addr_len = sizeof *a;
    return add_place(d, &l, e) || err_ctx(e, "for nodes (or give a listener the role link)");
}

static void add_hub_url(struct daemon *d, const char *host, uint16_t port) {
    for (size_t i = 0; i < HUB_URLS; i++)
        if (!d->hub_url_list[i]) {
            snprintf(d->hub_urls[i], sizeof d->hub_urls[i], "https://%s:%u", host, port);
            d->hub_url_list[i] = d->hub_urls[i];
            return;
        }
}

/* What nodes can dial of it: the machine's own addresses where it listens on all. */
static void add_hub_urls(struct daemon *d, const struct place *p) {
    const struct sockaddr_in *a = (const struct sockaddr_in *)&p->addr;
    struct ifaddrs *all = NULL;
    char ip[64];
    if (!p->listener.has_links || p->listener.is_unix)
        return;
    uint16_t port = ntohs(p->addr.ss_family == AF_INET ? a->sin_port : ((const struct sockaddr_in6 *)&p->addr)->sin6_port);
    if (!p->listener.is_any) {
        add_hub_url(d, p->host, port);
        return;
    }
    if (getifaddrs(&all) != 0)
        return;
    for (struct ifaddrs *it = all; it; it = it->ifa_next) {
        const struct sockaddr_in *one = (const struct sockaddr_in *)(const void *)it->ifa_addr;
        if (one && one->sin_family == AF_INET && ntohl(one->sin_addr.s_addr) >> 24 != 127 && inet_ntop(AF_INET, &one->sin_addr, ip, sizeof ip))
            add_hub_url(d, ip, port);
    }
    freeifaddrs(all);
}

static bool add_places(struct daemon *d, struct err *e) {
    for (size_t i = 0; i < d->config->n_listen; i++)
        if (!add_place(d, &d->config->listen[i], e))
            return false;
    if (d->config->hub.name.n && !add_link_place(d, e))
        return false;
    for (size_t i = 0; d->config->hub.name.n && i < d->n_places; i++)
        add_hub_urls(d, &d->places[i]);
    if (d->config->takeover & 1u << CONFIG_TAKEOVER_OLLAMA)
        add_takeover(d, 11434);
    if (d->config->takeover & 1u << CONFIG_TAKEOVER_LMSTUDIO)
        add_takeover(d, 1234);
    return true;
}

static bool start_worker(struct daemon *d, unsigned index, struct err *e) {
    struct worker_port ports[PORTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < d->n_places; i++) {
        struct place *p = &d->places[i];
        if (p->listener.is_unix && index > 0)
            continue; /* a UNIX socket has one queue: the first worker's */
        int fd = listen_socket((struct sockaddr *)&p->addr, p->len, !p->listener.is_unix, d->config->limits.listen.backlog, e);
        if (fd < 0) {
            while (n)
                close(ports[--n].fd);
            return err_ctx(e, "%s", p->text);
        }
        ports[n++] = (struct worker_port){ fd, p->listener, p->by_ca ? hub_tls(d->hub, p->ask) : p->tls, p->by_ca, p->ask };
    }
    const struct worker_house house = { &d->shared, d->census, d->demo, admin_door(d->admin), d->hub, admin_visits(d->admin),
                                        &d->loop, index };
    d->workers[index] = worker_start(&house, metrics_shard(d->metrics, index), d->config, access_now(d->access), ports, n, e);
    if (!d->workers[index])
        return false;
    d->n_workers = index + 1;
    return true;
}

/* --- fleet -------------------------------------------------------------------------------------------------------- */

static void on_snapshot(void *owner, struct snapshot *s) {
    struct daemon *d = owner;
    if (d->admin)
        admin_fleet_changed(d->admin, s);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_snapshot(d->workers[i], s);
    if (d->member)
        member_snapshot(d->member);
}

static const struct fleet_events fleet_events = { on_snapshot };

static struct sv first_that_serves(const struct snapshot *s) {
    for (size_t i = 0; s && i < s->n_listed; i++)
        for (size_t t = 0; t < s->slugs[i].n_targets; t++)
            if (s->slugs[i].targets[t]->endpoint->state == FLEET_UP)
                return s->slugs[i].name;
    return SV_NULL;
}

/* What a newcomer needs to know, once, when everything was looked at. */
static void tell(struct daemon *d) {
    const struct snapshot *s = fleet_snapshot(d->fleet);
    printf("Drover %s is ready at %s\n", DROVER_VERSION, d->n_places ? d->places[0].text : "its admin socket");
    for (size_t i = 0; s && i < s->n_endpoints; i++) {
        const struct fleet_endpoint *p = &s->endpoints[i];
        printf("  %-12.*s %-10.*s %-8s %zu model%s%s\n", SV_FMT(p->name), SV_FMT(p->kind), fleet_state_name(p->state),
               p->n_models, p->n_models == 1 ? "" : "s", p->demo ? "  (built-in sample text, not a model)" : "");
    }
    struct sv model = first_that_serves(s);
    if (!s || s->n_listed == 0) {
        printf("  no runtime found yet: start Ollama, LM Studio, llama-server, vLLM, ... and it appears here by itself\n");
    } else if (model.n == 0) {
        printf("  nothing of it can serve yet: drover endpoints tells why\n");
    } else {
        printf("Try:\n  curl -N %s/v1/chat/completions -H 'content-type: application/json' \\\n"
               "    -d '{\"model\":\"%.*s\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'\n",
               d->n_places ? d->places[0].text : "http://127.0.0.1:11430", SV_FMT(model));
    }
    char token[SETUP_TOKEN + 1];
    if (d->n_places && people_setup_token(d->people, token))
        printf("Console: open %s/console/#setup=%s (once, within the hour: it makes the first admin)\n", d->places[0].text, token);
    else if (d->n_places)
        printf("Console: %s/console/\n", d->places[0].text);
    fflush(stdout);
}

static bool nothing_serves(const struct snapshot *s) {
    for (size_t i = 0; s && i < s->n_endpoints; i++)
        if (s->endpoints[i].state != FLEET_DOWN && s->endpoints[i].state != FLEET_UNKNOWN)
            return false;
    return true;
}

static void on_settle_look(void *arg) {
    struct daemon *d = arg;
    if (!fleet_is_settled(d->fleet)) {
        timer_set(&d->loop, &d->settle, 50, on_settle_look, d);
        return;
    }
    if (d->options->demo_if_empty && !d->config->demo.enabled && nothing_serves(fleet_snapshot(d->fleet))) {
        fleet_demo(d->fleet, demo_dialer(d->demo));
        if (!d->told) {
            d->told = true; /* once more when the demonstration is in the snapshot */
            timer_set(&d->loop, &d->settle, 200, on_settle_look, d);
            return;
        }
    }
    mem_give_back();
    tell(d);
}

/* --- signals and stopping ----------------------------------------------------------------------------------------- */

struct emptied {
    struct msg msg;
    struct daemon *daemon;
};

static void stop_now(void *arg) {
    struct daemon *d = arg;
    uv_stop(&d->loop.uv);
}

static void on_emptied(struct msg *m) {
    struct daemon *d = CONTAINER(m, struct emptied, msg)->daemon;
    mem_free(m);
    if (++d->n_empty >= d->n_workers)
        stop_now(d);
}

/* On the worker's thread. */
static void on_worker_empty(void *arg) {
    struct daemon *d = arg;
    struct emptied *m = mem_new(sizeof *m);
    if (!m)
        return; /* the drain deadline will do */
    m->msg.deliver = on_emptied;
    m->daemon = d;
    if (!loop_post(&d->loop, &m->msg))
        mem_free(m);
}

static void stop(struct daemon *d, const char *why) {
    if (d->stopping) { /* asked twice: at once, and for good */
        d->again = false;
        stop_now(d);
        return;
    }
    d->stopping = true;
    member_stop(d->member);
    log_event(LOG_INFO, "stopping", F_STR("cause", why), F_U64("drain_ms", d->config->limits.stop.drain_ms));
    hub_drain(d->hub);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_drain(d->workers[i], on_worker_empty, d);
    timer_set(&d->loop, &d->drain, d->config->limits.stop.drain_ms, stop_now, d);
}

static void on_signal(uv_signal_t *h, int number) {
    struct daemon *d = h->data;
    struct err e;
    if (number == SIGHUP)
        (void)reload(d, &e);
    else
        stop(d, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void watch_signals(struct daemon *d) {
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&d->loop.uv, &d->signals[i]);
        d->signals[i].data = d;
        uv_signal_start(&d->signals[i], on_signal, numbers[i]);
    }
    d->has_signals = true;
    if (d->config->file.n) {
        uv_fs_poll_init(&d->loop.uv, &d->watch);
        d->watch.data = d;
        uv_fs_poll_start(&d->watch, on_file_change, d->config->file.p, WATCH_MS);
        d->watching = true;
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void harden(void) {
    struct rlimit core = { 0, 0 }, files;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a full disk: the store tells of it */
    setrlimit(RLIMIT_CORE, &core); /* keys must not end up in a core file */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* the leak checker needs to look at its own process */
#endif
    umask(077);
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static void on_keys(void *owner, struct access_snapshot *s) {
    struct daemon *d = owner;
    if (d->admin)
        admin_changed(d->admin, ADMIN_KEYS);
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_access(d->workers[i], s);
}

static void on_revoked(void *owner, struct access_cell *cell) {
    struct daemon *d = owner;
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_revoke(d->workers[i], cell);
}

static const struct access_events access_events = { on_keys, on_revoked };

static void on_people(void *owner) {
    struct daemon *d = owner;
    if (d->admin)
        admin_changed(d->admin, ADMIN_USERS);
}

static const struct people_events people_events = { on_people };

static void on_mode(void *owner) {
    struct daemon *d = owner;
    if (d->admin)
        admin_changed(d->admin, ADMIN_MODE);
}

/* --- the workers, for the console --------------------------------------------------------------------------------- */

static unsigned n_workers(void *owner) {
    return ((struct daemon *)owner)->n_workers;
}

static bool report_of(void *owner, unsigned i, struct gateway_report *r) {
    return worker_report(((struct daemon *)owner)->workers[i], r);
}

static void stop_request(void *owner, struct sv id) {
    struct daemon *d = owner;
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_tell(d->workers[i], WORKER_STOP, id);
}

static void stop_key(void *owner, struct sv key) {
    struct daemon *d = owner;
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_tell(d->workers[i], WORKER_STOP_KEY, key);
}

static void see_request(void *owner, struct sv id, bool on) {
    struct daemon *d = owner;
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_tell(d->workers[i], on ? WORKER_SEE : WORKER_UNSEE, id);
}

static bool open_records(struct daemon *d, struct err *e) {
    char path[4096];
    const struct access_limits limits = default_limits(d->config);
    snprintf(path, sizeof path, "%.*s/drover.db", SV_FMT(d->config->data_dir));
    const struct store_options options = { .path = sv_of(path) };
    d->store = store_open(&options, e);
    d->access = d->store ? access_new(&d->loop, d->store, &limits, &access_events, d, e) : NULL;
    const struct people_settings people = people_settings(d->config);
    d->people = d->access ? people_new(&d->loop, d->store, d->access, &people, &people_events, d, e) : NULL;
    d->mode = d->people ? mode_new(&d->loop, d->store, people_passphrases(d->people), on_mode, d, e) : NULL;
    d->shared.ledger = d->mode ? ledger_new(&d->loop, d->store, (uint64_t)d->config->limits.ledger.queue_rows, d->config->telemetry.retain_ms, e)
                                 : NULL;
    if (d->shared.ledger)
        ledger_number(d->shared.ledger, d->config->join.report_usage);
    d->shared.refusals = d->shared.ledger ? access_refusals_new(&d->loop, d->store) : NULL;
    return d->shared.refusals || (d->shared.ledger && err_no_memory(e));
}

static bool is_loopback(const struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->ss_family == AF_UNIX || IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

/* Others reach us only when somebody is in charge (threat model C-120). Nodes alone need nobody: each was invited, or is approved. */
static bool check_admin(const struct daemon *d, struct err *e) {
    for (size_t i = 0; i < d->n_places && !people_has_admin(d->people); i++)
        if (!is_loopback(&d->places[i].addr) && !(d->places[i].listener.no_console && d->places[i].listener.no_gateway))
            return err_set(e, ERR_CONFIG, "%s can be reached by other machines, and nobody is in charge yet. First: drover user add NAME "
                           "--role admin; then start again: drover serve", d->places[i].text);
    return true;
}

static void on_hub_tls(void *owner) {
    struct daemon *d = owner;
    for (unsigned i = 0; i < d->n_workers; i++)
        for (int ask = CONFIG_CLIENT_CERT_OFF; ask <= CONFIG_CLIENT_CERT_REQUIRED; ask++)
            worker_tls(d->workers[i], ask, hub_tls(d->hub, ask));
}

static void on_hub_event(void *owner, const char *what, struct sv detail) {
    struct daemon *d = owner;
    (void)what;
    if (d->admin)
        admin_node_event(d->admin, detail);
}

static struct caller *caller_of(void *owner, unsigned turn) {
    struct daemon *d = owner;
    return worker_caller(d->workers[turn % d->n_workers]);
}

static bool open_hub(struct daemon *d, struct err *e) {
    if (!d->config->hub.name.n)
        return true;
    d->hub_house = (struct hub_house){ .loop = &d->loop, .store = d->store, .fleet = d->fleet, .config = &d->config, .version = DROVER_VERSION,
                                       .urls = d->hub_url_list, .caller = caller_of, .on_tls = on_hub_tls, .on_event = on_hub_event, .owner = d };
    return (d->hub = hub_new(&d->hub_house, e)) != NULL;
}

/* --- a node of a hub ------------------------------------------------------------------------------------------------ */

static struct berth *berth_of(void *owner, unsigned i) {
    return worker_berth(((struct daemon *)owner)->workers[i]);
}

static unsigned hub_requests(void *owner) {
    return atomic_load_explicit(&((struct daemon *)owner)->shared.from_hub, memory_order_relaxed);
}

static void stop_hub_requests(void *owner) {
    struct daemon *d = owner;
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_tell(d->workers[i], WORKER_STOP_HUB, SV_NULL);
}

/* What is under way has until then; once all is down, again_run takes over. */
static bool restart(void *owner, uint64_t grace_ms) {
    struct daemon *d = owner;
    if (d->stopping)
        return false;
    d->again = true;
    stop(d, "the hub asked for a restart");
    if (grace_ms < d->config->limits.stop.drain_ms)
        timer_set(&d->loop, &d->drain, grace_ms, stop_now, d);
    return true;
}

static bool open_member(struct daemon *d, struct err *e) {
    const struct member_house house = { .loop = &d->loop,
                                        .client = d->client,
                                        .config = (struct config *const *)&d->config,
                                        .fleet = d->fleet,
                                        .metrics = d->metrics,
                                        .store = d->store,
                                        .hub_requests = hub_requests,
                                        .stop_hub_requests = stop_hub_requests,
                                        .restart = restart,
                                        .berth = berth_of,
                                        .n_berths = d->n_workers,
                                        .owner = d };
    d->member = member_new(&house, e);
    d->house.member = d->member;
    return d->member && member_listen(d->member, e);
}

static bool build(struct daemon *d, struct err *e) {
    const struct config *c = d->config;
    const struct h1_limits head = { 0, (uint32_t)c->limits.upstream.head, (uint32_t)c->limits.upstream.head, 500, 4096 };
    char socket[108];
    unsigned workers = c->workers < 1 ? 1 : c->workers > WORKERS_MAX ? WORKERS_MAX : (unsigned)c->workers;
    if (!make_dir(c->data_dir, "data_dir", e) || !make_dir(c->run_dir, "run_dir", e) || !loop_init(&d->loop, e))
        return false;
    d->has_loop = true;
    d->shared.started_ms = clock_wall_ms();
    d->census = census_new(e);
    if (!d->census)
        return false;
    set_census(d);
    d->metrics = metrics_new(workers, (unsigned)c->limits.metrics.series_per_name);
    if (!d->metrics)
        return err_no_memory(e);
    d->shared.metrics = d->metrics;
    d->demo = demo_new(e);
    d->demo_host = d->demo ? demo_host_new(d->demo, &d->loop, e) : NULL;
    d->client = d->demo_host ? http_client_new(&d->loop, &head, e) : NULL;
    if (!d->client || !add_places(d, e))
        return false;
    d->shared.export = export_new(&d->loop, SV(DROVER_VERSION), c->name, e);
    if (!d->shared.export || !open_records(d, e) || !check_admin(d, e))
        return false;
    set_export(d);
    d->fleet = fleet_new(&d->loop, d->client, d->config, &fleet_events, d, e);
    if (!d->fleet || !open_hub(d, e))
        return false;
    if (c->demo.enabled)
        fleet_demo(d->fleet, demo_dialer(d->demo));
    d->house = (struct admin_house){ .fleet = d->fleet, .metrics = d->metrics, .access = d->access, .people = d->people, .mode = d->mode,
                                     .store = d->store, .ledger = d->shared.ledger, .config = &d->config, .source = &d->options->source, .started_ms = d->shared.started_ms,
                                     .addresses = d->addresses, .n_workers = n_workers, .report = report_of, .stop = stop_request, .stop_key = stop_key,
                                     .see = see_request, .hub = d->hub, .watched = &d->shared.watched, .reload = reload, .owner = d };
    if (!daemon_socket(c, socket, sizeof socket))
        return err_set(e, ERR_CONFIG, "run_dir is too long for a socket: %.*s", SV_FMT(c->run_dir));
    d->admin = admin_new(&d->loop, &d->house, sv_of(socket), e);
    for (unsigned i = 0; d->admin && i < workers; i++)
        if (!start_worker(d, i, e))
            return false;
    return d->admin && open_member(d, e);
}

static void close_handle(uv_handle_t *h) {
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void take_down(struct daemon *d) {
    member_free(d->member); /* before the workers, on which its lanes live */
    for (unsigned i = 0; i < d->n_workers; i++)
        worker_join(d->workers[i]);
    export_finish(d->shared.export, EXPORT_CLOSE_MS);
    hub_stop(d->hub);
    admin_free(d->admin);
    d->admin = NULL;
    mode_free(d->mode);
    people_free(d->people);
    access_free(d->access);
    access_refusals_free(d->shared.refusals);
    ledger_flush(d->shared.ledger);
    store_close(d->store, STORE_CLOSE_MS);
    ledger_free(d->shared.ledger);
    export_free(d->shared.export);
    if (d->fleet)
        fleet_free(d->fleet);
    http_client_free(d->client);
    demo_host_free(d->demo_host);
    demo_free(d->demo);
    for (size_t i = 0; i < d->n_places; i++)
        tls_unref(d->places[i].tls);
    if (d->has_loop) {
        timer_stop(&d->loop, &d->drain);
        timer_stop(&d->loop, &d->settle);
        for (int i = 0; d->has_signals && i < 3; i++)
            close_handle((uv_handle_t *)&d->signals[i]);
        timer_stop(&d->loop, &d->changed);
        if (d->watching)
            close_handle((uv_handle_t *)&d->watch);
        loop_deinit(&d->loop);
    }
    hub_free(d->hub); /* the loop may have held questions of the gates */
    census_free(d->census);
    metrics_free(d->metrics);
    config_unref(d->config);
}

int daemon_run(const struct daemon_options *options) {
    struct daemon *d = mem_new(sizeof *d);
    struct err e;
    bool again = false;
    int code = 1;
    if (!d)
        return 1;
    d->options = options;
    harden();
    if (load(&options->source, &d->config, &e)) {
        log_set_level((enum log_level)d->config->log.level);
        log_start(STDERR_FILENO, (enum log_format)d->config->log.format);
        log_warnings();
        mem_keep_some();
        if (build(d, &e)) {
            watch_signals(d);
            for (size_t i = 0; i < d->n_places; i++)
                log_event(LOG_INFO, "listening", F_STR("address", d->places[i].text), F_U64("workers", d->n_workers));
            if (fleet_snapshot(d->fleet))
                on_snapshot(d, fleet_snapshot(d->fleet));
            timer_set(&d->loop, &d->settle, 50, on_settle_look, d);
            loop_run(&d->loop);
            code = 0;
            again = d->again;
        } else {
            log_event(LOG_ERROR, "start failed", F_STR("cause", e.text));
        }
    }
    take_down(d);
    log_stop();
    mem_free(d);
    return again ? again_run(options) : code;
}
