#include "app/demo.h"

#include <pthread.h>
#include <stdio.h>

#include "http/server.h"
#include "io/pair.h"
#include "llm/llm.h"
#include "llm/scan.h"

enum { WORD_MS = 40, HOSTS_MAX = 65, BODY_MAX = 8 << 20 };

static const char *const thinking[] = { "This", " is", " where", " a", " reasoning", " model", " would", " think", " aloud." };
static const char *const words[] = { "[Drover", " demonstration,", " not", " a", " model]", " Your", " request", " travelled",
                                     " through", " the", " gateway", " and", " back", " as", " a", " stream.", " Start",
                                     " Ollama,", " LM", " Studio", " or", " llama-server", " on", " this", " machine,", " and",
                                     " its", " models", " will", " answer", " here", " instead." };
enum { N_THINKING = sizeof thinking / sizeof thinking[0], N_WORDS = sizeof words / sizeof words[0] };

struct demo {
    struct dialer *dialer;
    pthread_mutex_t lock;
    struct demo_host *hosts[HOSTS_MAX]; /* with the lock held */
    unsigned n_hosts;
};

struct demo_host {
    struct demo *demo;
    struct loop *loop;
    struct http_server *server;
};

struct answer { /* one request, in its arena */
    struct demo_host *host;
    struct http_in *in;
    struct scan scan;
    struct timer timer;
    const struct llm_route *route;
    int64_t input;
    unsigned at;
};

static void chunk(struct answer *a, const char *field, const char *text, const char *finish) {
    char line[512];
    bool chat = a->route->api == LLM_CHAT;
    int n;
    if (chat)
        n = snprintf(line, sizeof line,
                     "data: {\"id\":\"demo\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"drover-demo\","
                     "\"choices\":[{\"index\":0,\"delta\":{%s%s%s%s%s},\"finish_reason\":%s}]}\n\n",
                     text ? "\"" : "", text ? field : "", text ? "\":\"" : "", text ? text : "", text ? "\"" : "", finish);
    else
        n = snprintf(line, sizeof line,
                     "data: {\"id\":\"demo\",\"object\":\"text_completion\",\"created\":0,\"model\":\"drover-demo\","
                     "\"choices\":[{\"index\":0,\"text\":\"%s\",\"finish_reason\":%s}]}\n\n",
                     text ? text : "", finish);
    http_in_send(a->in, (struct sv){ line, (size_t)n });
}

static int usage(const struct answer *a, char *to, size_t size) {
    int out = N_WORDS + (a->route->api == LLM_CHAT ? N_THINKING : 0);
    return snprintf(to, size,
                    "\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%d,\"total_tokens\":%lld,"
                    "\"completion_tokens_details\":{\"reasoning_tokens\":%d}}",
                    (long long)a->input, out, (long long)a->input + out, a->route->api == LLM_CHAT ? N_THINKING : 0);
}

static void on_word(void *arg) {
    struct answer *a = arg;
    unsigned first = a->route->api == LLM_CHAT ? 0 : N_THINKING, i = a->at++ + first;
    if (i < N_THINKING) {
        chunk(a, "reasoning_content", thinking[i], "null");
    } else if (i < N_THINKING + N_WORDS) {
        chunk(a, "content", words[i - N_THINKING], "null");
    } else {
        char last[512], counts[256];
        usage(a, counts, sizeof counts);
        chunk(a, NULL, NULL, "\"stop\"");
        if (a->scan.include_usage == SCAN_TRUE) {
            int n = snprintf(last, sizeof last, "data: {\"id\":\"demo\",\"object\":\"chat.completion.chunk\",\"created\":0,"
                             "\"model\":\"drover-demo\",\"choices\":[],%s}\n\n", counts);
            http_in_send(a->in, (struct sv){ last, (size_t)n });
        }
        http_in_send(a->in, SV("data: [DONE]\n\n"));
        http_in_finish(a->in);
        return;
    }
    timer_set(a->host->loop, &a->timer, WORD_MS, on_word, a);
}

static void whole(struct answer *a) {
    struct buf text = BUF_MAX(16 << 10), out = BUF_MAX(16 << 10);
    char counts[256];
    usage(a, counts, sizeof counts);
    for (unsigned i = 0; i < N_WORDS; i++)
        buf_add(&text, sv_of(words[i]));
    bool chat = a->route->api == LLM_CHAT;
    buf_printf(&out, "{\"id\":\"demo\",\"object\":\"%s\",\"created\":0,\"model\":\"drover-demo\",\"choices\":[{\"index\":0,",
               chat ? "chat.completion" : "text_completion");
    buf_add(&out, chat ? SV("\"message\":{\"role\":\"assistant\",\"content\":") : SV("\"text\":"));
    buf_add_json(&out, buf_sv(&text));
    buf_printf(&out, "%s,\"finish_reason\":\"stop\"}],%s}\n", chat ? "}" : "", counts);
    http_in_reply(a->in, 200, NULL, 0, SV("application/json"), buf_sv(&out));
    buf_deinit(&text);
    buf_deinit(&out);
}

static void on_body(void *x, struct sv bytes) {
    struct answer *a = x;
    scan_feed(&a->scan, bytes);
}

static void on_body_end(void *x) {
    struct answer *a = x;
    struct err e;
    a->input = (int64_t)(a->scan.input_bytes / 4 + 1);
    if (scan_end(&a->scan, &e) != SCAN_OK) {
        http_in_reply(a->in, 400, NULL, 0, SV("application/json"), SV("{\"error\":{\"message\":\"bad JSON\"}}"));
    } else if (a->scan.stream != SCAN_TRUE) {
        whole(a);
    } else {
        struct http_header h[] = { { SV("content-type"), SV("text/event-stream") } };
        http_in_start(a->in, 200, h, 1, -1);
        timer_set(a->host->loop, &a->timer, WORD_MS, on_word, a);
    }
}

static void on_gone(void *x, const struct err *e) {
    struct answer *a = x;
    (void)e;
    timer_stop(a->host->loop, &a->timer);
}

static const struct http_in_events answer_events = { on_body, on_body_end, NULL, on_gone, NULL };

static void on_request(void *owner, struct http_in *in) {
    struct answer *a = ARENA_NEW(&in->arena, struct answer);
    const struct llm_route *route = llm_route(in->head->method, in->head->path, false, NULL);
    if (!a || !route || (route->api != LLM_CHAT && route->api != LLM_COMPLETIONS)) {
        http_in_reply(in, 404, NULL, 0, SV("application/json"), SV("{\"error\":{\"message\":\"not here\"}}"));
        return;
    }
    a->host = owner;
    a->in = in;
    a->route = route;
    scan_init(&a->scan);
    in->on = &answer_events;
    in->x = a;
    http_in_body(in);
}

static const struct http_server_events host_events = { on_request, NULL, NULL };

/* A dial on some loop: its host there takes the other end. */
static void on_dial(void *owner, struct stream *s) {
    struct demo *d = owner;
    struct demo_host *found = NULL;
    pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < d->n_hosts; i++)
        if (d->hosts[i]->loop == s->loop)
            found = d->hosts[i];
    pthread_mutex_unlock(&d->lock);
    if (found)
        http_serve(found->server, s, NULL);
    else
        stream_close(s);
}

struct demo *demo_new(struct err *e) {
    struct demo *d = mem_new(sizeof *d);
    if (!d) {
        err_no_memory(e);
        return NULL;
    }
    pthread_mutex_init(&d->lock, NULL);
    d->dialer = dialer_pair(on_dial, d, e);
    if (!d->dialer) {
        mem_free(d);
        return NULL;
    }
    return d;
}

struct dialer *demo_dialer(struct demo *d) {
    return d->dialer;
}

void demo_free(struct demo *d) {
    if (!d)
        return;
    dialer_unref(d->dialer);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

struct demo_host *demo_host_new(struct demo *d, struct loop *l, struct err *e) {
    struct demo_host *h = mem_new(sizeof *h);
    if (!h) {
        err_no_memory(e);
        return NULL;
    }
    h->demo = d;
    h->loop = l;
    h->server = http_server_new(l, &host_events, h, e);
    if (!h->server) {
        mem_free(h);
        return NULL;
    }
    struct http_server_limits limits = { { 8192, 8192, 65536, 200, 256 }, BODY_MAX, 10000, 75000, 15000, 60000, 86400000, 0, 65536, 1000000,
                                         LIMIT_BODY_MAX };
    http_server_limits(h->server, &limits);
    pthread_mutex_lock(&d->lock);
    if (d->n_hosts < HOSTS_MAX)
        d->hosts[d->n_hosts++] = h;
    pthread_mutex_unlock(&d->lock);
    return h;
}

void demo_host_free(struct demo_host *h) {
    if (!h)
        return;
    pthread_mutex_lock(&h->demo->lock);
    for (unsigned i = 0; i < h->demo->n_hosts; i++)
        if (h->demo->hosts[i] == h)
            h->demo->hosts[i] = h->demo->hosts[--h->demo->n_hosts];
    pthread_mutex_unlock(&h->demo->lock);
    http_server_free(h->server);
    mem_free(h);
}
