/* bench/mock.c - a runtime that costs next to nothing, for measuring what stands in front of it.
 *
 *   mock [-p PORT]       listens on 127.0.0.1 (port 0: any free one) and prints the port
 *
 * One thread, one epoll. A request is read but for its middle: of a body only the first and the last bytes are looked at
 * (the kernel drops the rest with MSG_TRUNC, uncopied), as text, for "stream":true, "include_usage":true and
 * "max_tokens":N (deltas, and 10000 for each delta per second; none: all at once). It speaks chat completions and
 * Anthropic messages. Every answer is bytes made at the start; each delta is one write. A body must have a Content-Length, and requests on a connection come one after the other. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAD_MAX = 8192,   /* of a request: head, or head and small body */
    TAIL = 1024,       /* bytes of a large body that are kept from its end */
    DELTAS_MAX = 8192, /* of one stream */
    EVENT_MAX = 256,   /* bytes of one chunk with its event */
    SLOTS = 2048,      /* of the timer wheel, one for each ms: the slowest pace is one delta per second */
};

struct conn {
    int fd; /* -1: closed, waiting only to be taken off the wheel */
    bool in_wheel;
    bool want_out;      /* EPOLLOUT is registered */
    struct conn *next;  /* in its slot of the wheel */
    uint64_t body_left; /* bytes of the body not yet read; meaningful once head_n is set */
    size_t n, head_n;   /* bytes in `in`; of them the head (0: not complete) */
    /* The answer: either one block or a stream. */
    const char *block;
    size_t block_n, sent; /* sent: of the block or of the current event */
    bool stream, usage, messages;
    unsigned at, deltas;        /* next event; deltas in this stream, then finish, usage, end */
    uint64_t period_us, due_us; /* 0: at once */
    char in[HEAD_MAX + TAIL + 1];
};

struct text { /* bytes made at the start */
    size_t n;
    char b[1024];
};

static struct {
    uint16_t n;
    char b[EVENT_MAX];
} deltas[2][DELTAS_MAX]; /* of chat, of messages */
static struct text stream_head, finish, finish_usage, json, models, missing;
static struct text messages_head, messages_finish, messages_json;
static struct conn *wheel[SLOTS];
static uint64_t wheel_ms;
static unsigned n_in_wheel;
static int epoll_fd, timer_fd;

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void text_add(struct text *t, const char *s) {
    size_t n = strlen(s);
    if (t->n + n > sizeof t->b)
        abort();
    memcpy(t->b + t->n, s, n);
    t->n += n;
}

static void whole_reply(struct text *t, const char *status, const char *body) {
    char head[256];
    snprintf(head, sizeof head,
             "HTTP/1.1 %s\r\nServer: mock\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", status,
             strlen(body));
    text_add(t, head);
    text_add(t, body);
}

static void chunk(struct text *t, const char *event) {
    char size[32];
    snprintf(size, sizeof size, "%zx\r\n", strlen(event));
    text_add(t, size);
    text_add(t, event);
    text_add(t, "\r\n");
}

#define CHUNK_HEAD                                                                                                     \
    "data: {\"id\":\"chatcmpl-b3n4h\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,"                    \
    "\"model\":\"bench-model\",\"choices\":["
#define USAGE "\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":22,\"total_tokens\":42}}"

#define MESSAGE "\"id\":\"msg_b3n4h\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench-model\","

static void make_messages(void) {
    whole_reply(&messages_json, "200 OK",
                "{" MESSAGE "\"content\":[{\"type\":\"text\",\"text\":\"A short answer.\"}],\"stop_reason\":\"end_turn\","
                "\"stop_sequence\":null,\"usage\":{\"input_tokens\":20,\"output_tokens\":22}}");
    messages_head = stream_head;
    chunk(&messages_head, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{" MESSAGE
                          "\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":20,\"output_tokens\":1}}}\n\n");
    chunk(&messages_head, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
                          "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    chunk(&messages_finish, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
    chunk(&messages_finish, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
                            "\"end_turn\"},\"usage\":{\"output_tokens\":22}}\n\n");
    chunk(&messages_finish, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    text_add(&messages_finish, "0\r\n\r\n");
}

static void make_replies(void) {
    whole_reply(&models, "200 OK",
                "{\"object\":\"list\",\"data\":[{\"id\":\"bench-model\",\"object\":\"model\","
                "\"created\":1767225600,\"owned_by\":\"bench\"}]}");
    whole_reply(&missing, "404 Not Found",
                "{\"error\":{\"message\":\"no such path\",\"type\":\"invalid_request_error\"}}");
    whole_reply(
        &json, "200 OK",
        "{\"id\":\"chatcmpl-b3n4h\",\"object\":\"chat.completion\",\"created\":1767225600,\"model\":\"bench-model\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"A short answer.\"},"
        "\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE);
    text_add(&stream_head, "HTTP/1.1 200 OK\r\nServer: mock\r\nContent-Type: text/event-stream\r\n"
                           "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (unsigned i = 0; i < DELTAS_MAX; i++) {
        struct text t = {0};
        char event[EVENT_MAX];
        snprintf(event, sizeof event,
                 CHUNK_HEAD "{\"index\":0,\"delta\":{%s\"content\":\" t%05u\"},\"finish_reason\":null}]}\n\n",
                 i ? "" : "\"role\":\"assistant\",", i);
        chunk(&t, event);
        if (t.n > EVENT_MAX)
            abort();
        memcpy(deltas[0][i].b, t.b, t.n);
        deltas[0][i].n = (uint16_t)t.n;
        t.n = 0;
        snprintf(event, sizeof event,
                 "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
                 "\"text_delta\",\"text\":\" t%05u\"}}\n\n", i);
        chunk(&t, event);
        memcpy(deltas[1][i].b, t.b, t.n);
        deltas[1][i].n = (uint16_t)t.n;
    }
    chunk(&finish, CHUNK_HEAD "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    finish_usage = finish;
    chunk(&finish_usage, CHUNK_HEAD "]," USAGE "\n\n");
    chunk(&finish, "data: [DONE]\n\n");
    chunk(&finish_usage, "data: [DONE]\n\n");
    text_add(&finish, "0\r\n\r\n");
    text_add(&finish_usage, "0\r\n\r\n");
    make_messages();
}

/* Connections. Closing one leaves its memory to the wheel if that still points at it. */
static void conn_close(struct conn *c) {
    if (c->fd >= 0)
        close(c->fd); /* epoll forgets it */
    c->fd = -1;
    if (!c->in_wheel)
        free(c);
}

static void want_out(struct conn *c, bool on) {
    if (c->want_out == on)
        return;
    c->want_out = on;
    struct epoll_event ev = {.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

static void set_timer(bool on) {
    struct itimerspec every_ms = {.it_interval.tv_nsec = on ? 1000000 : 0, .it_value.tv_nsec = on ? 1000000 : 0};
    timerfd_settime(timer_fd, 0, &every_ms, NULL);
}

static void wheel_add(struct conn *c) {
    if (!n_in_wheel++) {
        wheel_ms = now_us() / 1000;
        set_timer(true);
    }
    uint64_t ms = (c->due_us + 999) / 1000;
    struct conn **slot = &wheel[(ms > wheel_ms ? ms : wheel_ms + 1) % SLOTS];
    c->next = *slot;
    c->in_wheel = true;
    *slot = c;
}

/* Sends bytes from *sent on. True when all are out; else either the socket is full or the connection is gone. */
enum sent { SENT_ALL, SENT_SOME, SENT_GONE };
static enum sent push(struct conn *c, const char *b, size_t n) {
    while (c->sent < n) {
        ssize_t w = send(c->fd, b + c->sent, n - c->sent, MSG_NOSIGNAL);
        if (w < 0)
            return errno == EAGAIN ? SENT_SOME : SENT_GONE;
        c->sent += (size_t)w;
    }
    c->sent = 0;
    return SENT_ALL;
}

/* Sends what is due. Called when an answer begins, when the socket takes bytes again and by the wheel. False: closed. */
static bool answer(struct conn *c) {
    enum sent sent = SENT_ALL;
    if (c->block) {
        sent = push(c, c->block, c->block_n);
        if (sent == SENT_ALL)
            c->block = NULL;
    }
    uint64_t now = c->stream && c->period_us ? now_us() : 0;
    while (sent == SENT_ALL && c->stream && c->due_us <= now) {
        if (c->at < c->deltas) {
            sent = push(c, deltas[c->messages][c->at].b, deltas[c->messages][c->at].n);
        } else {
            const struct text *last = c->messages ? &messages_finish : c->usage ? &finish_usage : &finish;
            sent = push(c, last->b, last->n);
            if (sent == SENT_ALL)
                c->stream = false;
        }
        if (sent == SENT_ALL) {
            c->at++;
            c->due_us += c->period_us;
        }
    }
    if (sent == SENT_GONE) {
        conn_close(c);
        return false;
    }
    want_out(c, sent == SENT_SOME);
    if (c->stream && c->period_us && sent == SENT_ALL && !c->in_wheel)
        wheel_add(c);
    return true;
}

static void on_timer(void) {
    uint64_t ticks;
    if (read(timer_fd, &ticks, sizeof ticks) < 0)
        return;
    uint64_t now = now_us() / 1000;
    while (wheel_ms < now) {
        wheel_ms++; /* first: what is put back on the wheel meanwhile belongs in a later slot */
        struct conn *c = wheel[wheel_ms % SLOTS], *next;
        wheel[wheel_ms % SLOTS] = NULL;
        for (; c; c = next) {
            next = c->next;
            c->in_wheel = false;
            n_in_wheel--;
            if (c->fd < 0)
                conn_close(c);
            else
                answer(c);
        }
    }
    if (!n_in_wheel)
        set_timer(false);
}

static const char *find(const struct conn *c, const char *what) {
    const char *at = memmem(c->in + c->head_n, c->n - c->head_n, what, strlen(what));
    return at ? at + strlen(what) : NULL;
}

static void request(struct conn *c) {
    const struct text *reply = &missing;
    if (strncmp(c->in, "GET /v1/models ", 15) == 0) {
        reply = &models;
    } else if (strncmp(c->in, "POST /v1/chat/completions ", 26) == 0 || strncmp(c->in, "POST /v1/messages ", 18) == 0) {
        c->messages = c->in[9] == 'm';
        reply = c->messages ? &messages_json : &json;
        c->in[c->n] = 0; /* so that strtoul ends */
        if (find(c, "\"stream\":true")) {
            const char *n = find(c, "\"max_tokens\":");
            unsigned long limit = n ? strtoul(n, NULL, 10) : 64, want = limit % 10000, rate = limit / 10000;
            reply = c->messages ? &messages_head : &stream_head;
            c->stream = true;
            c->usage = find(c, "\"include_usage\":true");
            c->at = 0;
            c->deltas = (unsigned)(want < DELTAS_MAX ? want : DELTAS_MAX);
            c->period_us = rate ? 1000000 / rate : 0;
            c->due_us = rate ? now_us() : 0;
        }
    }
    c->block = reply->b;
    c->block_n = reply->n;
    c->n = c->head_n = 0;
    answer(c);
}

/* The head is in c->in. False when the connection cannot go on. */
static bool head_done(struct conn *c, size_t head_n) {
    c->head_n = head_n;
    c->body_left = 0;
    for (const char *line = c->in, *end = c->in + head_n; line < end;) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        if (strncasecmp(line, "content-length:", 15) == 0)
            c->body_left = strtoull(line + 15, NULL, 10);
        else if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            return false;
        line = eol + 1;
    }
    size_t have = c->n - head_n;
    if (have > c->body_left)
        return false;
    c->body_left -= have;
    return true;
}

static void on_readable(struct conn *c) {
    for (;;) {
        bool drop = c->head_n && c->n == HEAD_MAX && c->body_left > TAIL;
        size_t want = !c->head_n                                          ? HEAD_MAX - c->n
                      : drop                                              ? (size_t)c->body_left - TAIL
                      : c->n < HEAD_MAX && c->body_left > HEAD_MAX - c->n ? HEAD_MAX - c->n
                                                                          : (size_t)c->body_left;
        ssize_t got = recv(c->fd, c->in + c->n, want, drop ? MSG_TRUNC : 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0 || c->stream || c->block) { /* gone, or it speaks out of turn */
            conn_close(c);
            return;
        }
        if (!drop)
            c->n += (size_t)got;
        if (c->head_n) {
            c->body_left -= (size_t)got;
        } else {
            char *blank = memmem(c->in, c->n, "\r\n\r\n", 4);
            if (!blank && c->n < HEAD_MAX)
                continue;
            if (!blank || !head_done(c, (size_t)(blank - c->in) + 4)) {
                conn_close(c);
                return;
            }
        }
        if (!c->body_left) {
            request(c);
            return; /* c may be gone; level-triggered: what comes next wakes us again */
        }
    }
}

static void on_connection(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct conn *c = fd < 0 ? NULL : calloc(1, sizeof *c);
    if (!c)
        return;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->fd = fd;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

static int listen_on(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0) {
        perror("mock: listen");
        exit(1);
    }
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    unsigned long port = 0;
    for (int opt; (opt = getopt(argc, argv, "p:")) != -1;) {
        if (opt != 'p')
            return 2;
        port = strtoul(optarg, NULL, 10);
    }
    signal(SIGPIPE, SIG_IGN);
    make_replies();
    int listener = listen_on((uint16_t)port);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev);
    ev.data.ptr = &timer_fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &ev);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll_fd, events, 64, -1);
        bool timer = false;
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (events[i].data.ptr == &listener)
                on_connection(listener);
            else if (events[i].data.ptr == &timer_fd)
                timer = true; /* last: it may free connections that this batch still names */
            else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_readable(c);
            else
                answer(c);
        }
        if (timer)
            on_timer();
    }
}
