/* bench/load.c - a closed-loop load generator that checks every answer and watches what the proxy uses meanwhile.
 *
 *   load -p PORT [-c CONNECTIONS] [-w WARMUP_S] [-d SECONDS | -n REQUESTS] [-b BODY_BYTES] [-m first|last]
 *        [-s DELTAS [-r PER_SECOND]] [-a chat|messages|ollama|responses] [-t] [-K KEY] [-P PROXY_PID]
 *        [-Q MOCK_PID]
 *   load -p PORT -k [-A CORE] -- COMMAND...     starts COMMAND, prints how long its first answer took, ends it
 *
 * One thread, one epoll, 127.0.0.1 only. Each connection has one request under way; the next goes out when the answer is
 * complete and right (reply.h). What ends before the warm-up is over counts for nothing. The proxy's processor time is
 * read at both ends of the window by this program itself, so it covers the counted requests and no others; its memory
 * at the end, under load. One line of JSON on stdout. Exit status 1: nothing was measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hist.h"
#include "proc.h"
#include "reply.h"

enum {
    TAIL = 160,       /* bytes after the prompt, padded, so that every body of a run has one length */
    FAULTS_MAX = 200, /* after so many the run ends: it is lost anyway */
    READ_SIZE = 64 << 10,
};

struct conn {
    int fd;
    unsigned deltas; /* asked for in this request */
    bool connecting, want_out;
    size_t sent;              /* bytes of the request, over its three parts */
    uint64_t t_start, t_last; /* ns: first byte out; last event in */
    char tail[TAIL + 1];
    struct reply reply;
};

static struct {
    uint16_t port;
    unsigned n_conns, deltas, pace;
    double warmup_s, seconds;
    uint64_t requests; /* stop after so many; 0: by time */
    size_t body_bytes;
    bool model_last, cold;
    enum reply_api api;
    bool translated; /* the mock speaks another API */
    int core; /* of the program that -k starts; -1: any */
    const char *key; /* sent with each request */
    pid_t proxy, mock;
} opt = {.key = "sk-unused", .n_conns = 1, .warmup_s = 0.3, .seconds = 1, .body_bytes = 1024, .core = -1};

static struct conn *conns;
static int epoll_fd;
static char *head, *body; /* body: without the tail */
static size_t head_n, body_n;
static bool counting;
static unsigned n_opened, n_open; /* so far; now */
static uint64_t started;          /* requests, warm-up included */

static struct {
    uint64_t requests, frames, faults, reconnects;
    const char *fault; /* the first */
    struct hist latency, ttft, jitter;
} seen;

static uint64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Prose as it occurs in prompts: words, an escape in every line, now and then a byte that is not ASCII. */
static void fill_prompt(char *at, size_t n) {
    static const char text[] = "The quick brown fox jumps over the lazy dog while the caf\xc3\xa9 is still closed, "
                               "and nobody in \\\"town\\\" seems to mind.\\nThen it starts to rain. ";
    for (; n >= sizeof text - 1; at += sizeof text - 1, n -= sizeof text - 1)
        memcpy(at, text, sizeof text - 1);
    memset(at, '.', n);
}

/* Each API's path, its request up to the prompt's text, and the end of that text with what follows. The limit of the output
 * carries what the mock is to do: deltas, and 10000 for each delta per second. */
static const struct {
    const char *name, *path, *open, *close;
} apis[] = {
    [REPLY_CHAT] = {"chat", "/v1/chat/completions", "\"messages\":[{\"role\":\"user\",\"content\":\"", "\"}],\"stream\":%s,\"max_tokens\":%u"},
    [REPLY_MESSAGES] = {"messages", "/v1/messages", "\"messages\":[{\"role\":\"user\",\"content\":\"", "\"}],\"stream\":%s,\"max_tokens\":%u"},
    [REPLY_OLLAMA] = {"ollama", "/api/chat", "\"messages\":[{\"role\":\"user\",\"content\":\"", "\"}],\"stream\":%s,\"options\":{\"num_predict\":%u}"},
    [REPLY_RESPONSES] = {"responses", "/v1/responses", "\"input\":[{\"role\":\"user\",\"content\":\"", "\"}],\"stream\":%s,\"max_output_tokens\":%u"},
};

static void make_request(void) {
    static const char model[] = "\"model\":\"bench-model\",";
    const char *open = apis[opt.api].open;
    body = malloc(opt.body_bytes + strlen(open) + sizeof model);
    head = malloc(512);
    if (!body || !head)
        abort();
    body_n = (size_t)sprintf(body, "{%s%s", opt.model_last ? "" : model, open);
    if (opt.body_bytes < body_n + TAIL + 8) {
        fprintf(stderr, "load: a body has at least %zu bytes\n", body_n + TAIL + 8);
        exit(2);
    }
    size_t prompt = opt.body_bytes - TAIL - body_n;
    fill_prompt(body + body_n, prompt);
    body_n += prompt;
    head_n = (size_t)sprintf(head,
                             "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAccept: application/json\r\n"
                             "User-Agent: drover-bench/1\r\nContent-Type: application/json\r\n"
                             "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
                             apis[opt.api].path, opt.port, opt.key, body_n + TAIL);
}

static void make_tail(struct conn *c) {
    char text[TAIL + 1];
    int n = snprintf(text, sizeof text, apis[opt.api].close, opt.deltas ? "true" : "false",
                     (opt.deltas ? c->deltas : 64) + 10000 * opt.pace);
    n += snprintf(text + n, sizeof text - (size_t)n, "%s}", opt.model_last ? ",\"model\":\"bench-model\"" : "");
    int quote = 4; /* the padding goes between the members, where JSON allows it */
    memset(c->tail, ' ', TAIL);
    memcpy(c->tail, text, (size_t)quote);
    memcpy(c->tail + TAIL - (n - quote), text + quote, (size_t)(n - quote));
}

static void watch(struct conn *c, int op, bool out) {
    struct epoll_event ev = {.events = out ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    c->want_out = out;
    epoll_ctl(epoll_fd, op, c->fd, &ev);
}

static void drop(struct conn *c) {
    if (c->fd >= 0) {
        close(c->fd);
        n_open--;
    }
    c->fd = -1;
}

static int dial(int flags) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), on = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static void fail(struct conn *c, const char *fault);

static void conn_open(struct conn *c) {
    c->fd = dial(SOCK_NONBLOCK);
    if (c->fd < 0) {
        fail(c, "connect: refused");
        return;
    }
    n_open++;
    c->connecting = true;
    watch(c, EPOLL_CTL_ADD, true);
}

/* Counts a fault; the connection is opened anew by the main loop. */
static void fail(struct conn *c, const char *fault) {
    seen.faults++;
    if (!seen.fault)
        seen.fault = fault;
    drop(c);
}

static void send_request(struct conn *c) {
    struct iovec part[3] = {{head, head_n}, {body, body_n}, {c->tail, TAIL}};
    size_t skip = c->sent, total = head_n + body_n + TAIL;
    int from = 0;
    for (; from < 3 && skip >= part[from].iov_len; from++)
        skip -= part[from].iov_len;
    if (from < 3) {
        part[from].iov_base = (char *)part[from].iov_base + skip;
        part[from].iov_len -= skip;
        struct msghdr m = {.msg_iov = part + from, .msg_iovlen = (size_t)(3 - from)};
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            fail(c, "send: connection lost");
            return;
        }
        c->sent += n > 0 ? (size_t)n : 0;
    }
    if (c->want_out != (c->sent < total))
        watch(c, EPOLL_CTL_MOD, c->sent < total);
}

static void next_request(struct conn *c) {
    if (opt.requests && started >= opt.requests) {
        drop(c);
        return;
    }
    started++;
    c->sent = 0;
    c->t_start = now_ns(CLOCK_MONOTONIC);
    reply_start(&c->reply, opt.api, opt.deltas > 0, c->deltas);
    c->reply.lenient = opt.translated;
    send_request(c);
}

static void on_events(struct conn *c, unsigned n, bool first, uint64_t now) {
    if (!counting)
        return;
    seen.frames += n;
    if (first)
        hist_add(&seen.ttft, now - c->t_start);
    else if (opt.pace && c->reply.deltas < c->deltas) {
        int64_t late = (int64_t)(now - c->t_last) - 1000000000 / (int64_t)opt.pace;
        hist_add(&seen.jitter, (uint64_t)(late < 0 ? -late : late));
    }
}

static void on_complete(struct conn *c, uint64_t now) {
    if (counting) {
        seen.requests++;
        hist_add(&seen.latency, now - c->t_start);
    }
    c->deltas = opt.deltas; /* only the first streams of a paced run are shorter */
    make_tail(c);
    if (c->reply.close) {
        seen.reconnects += counting;
        drop(c);
        return;
    }
    next_request(c);
}

/* What a proxy said instead of the answer, fit for a JSON string. */
static const char *refusal(int status, const char *data, size_t n) {
    static char text[240];
    if (seen.fault) /* only the first is kept */
        return seen.fault;
    const char *blank = memmem(data, n, "\r\n\r\n", 4);
    size_t rest = blank ? n - (size_t)(blank + 4 - data) : 0;
    int at =
        snprintf(text, sizeof text, "status %d: %.*s", status, rest < 200 ? (int)rest : 200, blank ? blank + 4 : "");
    for (int i = 0; i < at; i++)
        if (text[i] == '"' || text[i] == '\\' || (unsigned char)text[i] < ' ' || (unsigned char)text[i] > '~')
            text[i] = text[i] == '"' ? '\'' : ' ';
    return text;
}

static void on_readable(struct conn *c) {
    static char buf[READ_SIZE];
    ssize_t n = recv(c->fd, buf, sizeof buf, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        fail(c, n < 0 ? "recv: connection lost" : "the connection was closed within a reply");
        return;
    }
    unsigned events = c->reply.events, deltas = c->reply.deltas;
    enum reply_result r = reply_feed(&c->reply, buf, (size_t)n);
    uint64_t now = now_ns(CLOCK_MONOTONIC);
    if (r == REPLY_BAD) {
        fail(c, c->reply.status && c->reply.status != 200 ? refusal(c->reply.status, buf, (size_t)n) : c->reply.fault);
        return;
    }
    if (c->reply.events > events) {
        on_events(c, c->reply.events - events, !deltas, now);
        c->t_last = now;
    }
    if (r == REPLY_DONE)
        on_complete(c, now);
}

static void on_event(struct conn *c, uint32_t events) {
    if (c->connecting && (events & EPOLLOUT)) {
        int e = 0;
        socklen_t size = sizeof e;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &size);
        if (e) {
            fail(c, "connect: no answer");
            return;
        }
        c->connecting = false;
        next_request(c);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(c);
    else if (events & EPOLLOUT)
        send_request(c);
}

static void print_result(double seconds, const struct proc_use *p0, const struct proc_use *p1,
                         const struct proc_use *m0, const struct proc_use *m1, uint64_t own_ns) {
    printf("{\"seconds\":%.4f,\"requests\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"faults\":%" PRIu64 ",\"fault\":%s%s%s,"
           "\"reconnects\":%" PRIu64,
           seconds, seen.requests, seen.frames, seen.faults, seen.fault ? "\"" : "", seen.fault ? seen.fault : "null",
           seen.fault ? "\"" : "", seen.reconnects);
    const struct {
        const char *name;
        const struct hist *h;
    } hists[] = {{"latency", &seen.latency}, {"ttft", &seen.ttft}, {"jitter", &seen.jitter}};
    for (size_t i = 0; i < 3; i++)
        printf(",\"%s_p50_us\":%.1f,\"%s_p99_us\":%.1f", hists[i].name, (double)hist_at(hists[i].h, 0.5) / 1e3,
               hists[i].name, (double)hist_at(hists[i].h, 0.99) / 1e3);
    printf(",\"workers_ns\":%" PRIu64 ",\"store_ns\":%" PRIu64, p1->workers_ns - p0->workers_ns, p1->store_ns - p0->store_ns);
    printf(",\"proxy_wait_ns\":%" PRIu64 ",\"proxy_cpu_ns\":%" PRIu64 ",\"mock_cpu_ns\":%" PRIu64
           ",\"load_cpu_ns\":%" PRIu64 ",\"pss_kib\":%" PRIu64 ",\"rss_kib\":%" PRIu64 ",\"threads\":%u}\n",
           p1->wait_ns - p0->wait_ns, p1->cpu_ns - p0->cpu_ns, m1->cpu_ns - m0->cpu_ns, own_ns, p1->pss_kib,
           p1->rss_kib, p1->threads);
}

/* Opens what should be open by now: paced streams join over the first half of the warm-up, others at once. */
static void open_more(double since_s) {
    double ramp = opt.pace ? opt.warmup_s / 2 : 0;
    unsigned want = since_s >= ramp ? opt.n_conns : (unsigned)(opt.n_conns * since_s / ramp);
    for (; n_opened < want; n_opened++)
        conn_open(&conns[n_opened]);
    if (n_open == n_opened || (opt.requests && started >= opt.requests))
        return;
    for (unsigned i = 0; i < n_opened; i++)
        if (conns[i].fd < 0)
            conn_open(&conns[i]);
}

static int run_load(void) {
    struct proc_use p0 = {0}, p1 = {0}, m0 = {0}, m1 = {0};
    uint64_t own = 0, t0 = now_ns(CLOCK_MONOTONIC), t_count = 0, t_end = 0;
    make_request();
    conns = calloc(opt.n_conns, sizeof *conns);
    if (!conns)
        abort();
    for (unsigned i = 0; i < opt.n_conns; i++) {
        /* The first paced streams have all lengths, so that later ones do not begin all at once. */
        conns[i].deltas =
            opt.pace && !opt.requests ? 1 + (unsigned)((uint64_t)opt.deltas * i / opt.n_conns) : opt.deltas;
        conns[i].fd = -1;
        make_tail(&conns[i]);
    }
    while (seen.faults < FAULTS_MAX) {
        uint64_t now = now_ns(CLOCK_MONOTONIC);
        double since = (double)(now - t0) / 1e9;
        open_more(since);
        if (!counting && (opt.requests || since >= opt.warmup_s)) {
            if (opt.proxy && !proc_use(opt.proxy, false, &p0))
                break;
            if (opt.mock)
                proc_use(opt.mock, false, &m0);
            own = now_ns(CLOCK_PROCESS_CPUTIME_ID);
            t_count = now = now_ns(CLOCK_MONOTONIC);
            counting = true;
        }
        if (opt.requests ? started >= opt.requests && !n_open
                         : counting && (double)(now - t_count) / 1e9 >= opt.seconds) {
            t_end = now;
            break;
        }
        struct epoll_event events[128];
        int n = epoll_wait(epoll_fd, events, 128, n_opened < opt.n_conns ? 1 : 20);
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr, events[i].events);
    }
    if (!t_end)
        t_end = now_ns(CLOCK_MONOTONIC);
    own = now_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    if (opt.mock)
        proc_use(opt.mock, false, &m1);
    if (opt.proxy && !proc_use(opt.proxy, true, &p1)) {
        p1 = p0;
        seen.faults++;
        seen.fault = "the proxy has ended";
    }
    print_result((double)(t_end - t_count) / 1e9, &p0, &p1, &m0, &m1, own);
    return seen.requests || seen.frames ? 0 : 1;
}

/* One small request on a connection of its own; blocks. The time of its answer, or 0. *ret_listening: it was accepted. */
static uint64_t ask_once(bool *ret_listening) {
    struct conn c = {.deltas = 0};
    char buf[4096];
    int fd = dial(0);
    if (fd < 0)
        return 0;
    *ret_listening = true;
    struct timeval limit = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    make_tail(&c);
    reply_start(&c.reply, REPLY_CHAT, false, 0);
    struct iovec part[3] = {{head, head_n}, {body, body_n}, {c.tail, TAIL}};
    struct msghdr m = {.msg_iov = part, .msg_iovlen = 3};
    uint64_t done = 0;
    if (sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)(head_n + body_n + TAIL))
        for (ssize_t n; !done && (n = recv(fd, buf, sizeof buf, 0)) > 0;) {
            enum reply_result r = reply_feed(&c.reply, buf, (size_t)n);
            if (r == REPLY_DONE)
                done = now_ns(CLOCK_MONOTONIC);
            else if (r == REPLY_BAD)
                break;
        }
    close(fd);
    return done;
}

static int run_cold(char **command) {
    make_request();
    uint64_t t0 = now_ns(CLOCK_MONOTONIC), listening = 0, answered = 0;
    pid_t pid = fork();
    if (pid == 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        if (opt.core >= 0) {
            CPU_SET((size_t)opt.core, &set);
            sched_setaffinity(0, sizeof set, &set);
        }
        execvp(command[0], command);
        _exit(127);
    }
    while (!answered && now_ns(CLOCK_MONOTONIC) - t0 < UINT64_C(10000000000)) {
        bool accepted = false;
        answered = ask_once(&accepted);
        if (accepted && !listening)
            listening = now_ns(CLOCK_MONOTONIC);
        if (!answered)
            usleep(200);
    }
    kill(pid, SIGTERM);
    int status;
    for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
        if (i == 5000)
            kill(pid, SIGKILL);
        usleep(1000);
    }
    if (!answered)
        return 1;
    printf("{\"listening_ms\":%.3f,\"answered_ms\":%.3f}\n", (double)(listening - t0) / 1e6,
           (double)(answered - t0) / 1e6);
    return 0;
}

int main(int argc, char **argv) {
    for (int o; (o = getopt(argc, argv, "p:c:w:d:n:b:m:s:r:a:tK:P:Q:kA:")) != -1;) {
        switch (o) {
        case 'p':
            opt.port = (uint16_t)atoi(optarg);
            break;
        case 'c':
            opt.n_conns = (unsigned)atoi(optarg);
            break;
        case 'w':
            opt.warmup_s = atof(optarg);
            break;
        case 'd':
            opt.seconds = atof(optarg);
            break;
        case 'n':
            opt.requests = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            opt.body_bytes = strtoul(optarg, NULL, 10);
            break;
        case 'm':
            opt.model_last = strcmp(optarg, "last") == 0;
            break;
        case 's':
            opt.deltas = (unsigned)atoi(optarg);
            break;
        case 'r':
            opt.pace = (unsigned)atoi(optarg);
            break;
        case 'a':
            while (opt.api < REPLY_RESPONSES && strcmp(optarg, apis[opt.api].name) != 0)
                opt.api++;
            break;
        case 't':
            opt.translated = true;
            break;
        case 'K':
            if (strlen(optarg) > 200)
                return 2;
            opt.key = optarg;
            break;
        case 'P':
            opt.proxy = (pid_t)atoi(optarg);
            break;
        case 'Q':
            opt.mock = (pid_t)atoi(optarg);
            break;
        case 'k':
            opt.cold = true;
            break;
        case 'A':
            opt.core = atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    if (!opt.port || !opt.n_conns || (opt.cold && optind == argc))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    if (opt.cold)
        return run_cold(argv + optind);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return run_load();
}
