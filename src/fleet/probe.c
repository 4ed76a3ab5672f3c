/* fleet/probe.c - start -> on_head -> on_body... -> finish; on_fail, on_late and an oversized body go to finish, too. */
#include "fleet/probe.h"

#include <stdio.h>

#include "base/log.h"

enum { ARENA_MAX = 512 << 10 }; /* the head, the request and the call; the body has its own buffer */

struct probe {
    struct loop *loop;
    struct arena arena;
    struct http_call *call;
    struct buf body;
    struct sv question;
    struct sv host, path;   /* for the log */
    struct timer deadline;
    struct probe_reply reply;
    struct err fault;
    probe_cb *done;
    void *arg;
};

static void probe_free(struct probe *p) {
    timer_stop(p->loop, &p->deadline);
    buf_deinit(&p->body);
    arena_deinit(&p->arena);
    mem_free(p);
}

/* The call is over or cancelled when this is reached. */
static void finish(struct probe *p, const struct err *fault) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = NULL;
    struct probe_reply *r = &p->reply;
    p->call = NULL;
    timer_stop(p->loop, &p->deadline);
    if (fault) {
        r->status = 0;
        r->fault = fault;
    } else {
        r->body = buf_sv(&p->body);
        struct sv text = sv_trim(r->body);
        if (!r->cut && text.n && (text.p[0] == '{' || text.p[0] == '[')) {
            bool mended;
            doc = json_parse_foreign(r->body, &mended);
            r->json = yyjson_doc_get_root(doc);
            if (mended)
                log_event(LOG_DEBUG, "an answer holds bytes that are no text", F_SV("host", p->host), F_SV("path", p->path));
        }
    }
    p->done(p->arg, r);
    probe_free(p);
}

static void on_ready(void *x) {
    struct probe *p = x;
    p->reply.connected = true;
    if (p->question.n) {
        http_call_send(p->call, &p->question, 1);
        http_call_sent(p->call);
    }
}

static void on_head(void *x, const struct http_head *head) {
    struct probe *p = x;
    p->reply.status = head->status;
    p->reply.minor = head->minor;
    p->reply.server = http_get(head, SV("server"));
    p->reply.type = http_get(head, SV("content-type"));
}

static void on_body(void *x, struct sv bytes) {
    struct probe *p = x;
    if (buf_add(&p->body, bytes))
        return;
    http_call_cancel(p->call);
    if (p->body.n + bytes.n > p->body.max) {
        p->reply.cut = true;
        finish(p, NULL);
    } else {
        err_no_memory(&p->fault);
        finish(p, &p->fault);
    }
}

static void on_end(void *x) {
    finish(x, NULL);
}

static void on_fail(void *x, const struct err *e, bool stale) {
    (void)stale; /* probes never take a pooled connection */
    struct probe *p = x;
    p->fault = *e;
    finish(p, &p->fault);
}

static void on_late(void *arg) {
    struct probe *p = arg;
    http_call_cancel(p->call);
    err_set(&p->fault, ERR_TIMEOUT, "no whole reply within %d ms", PROBE_TOTAL_MS);
    finish(p, &p->fault);
}

static const struct http_call_events call_events = { on_ready, on_head, on_body, on_end, on_fail, NULL };

struct probe *probe_start(struct loop *l, const struct probe_place *at, struct sv path, struct sv body, size_t reply_max,
                          probe_cb *done, void *arg, struct err *e) {
    struct probe *p = mem_new(sizeof *p);
    if (!p) {
        err_no_memory(e);
        return NULL;
    }
    p->loop = l;
    p->done = done;
    p->arg = arg;
    arena_init(&p->arena, ARENA_MAX, NULL);
    buf_init(&p->body, reply_max);
    char *target = arena_printf(&p->arena, "%.*s%.*s", SV_FMT(at->base_path), SV_FMT(path));
    p->question = arena_sv(&p->arena, body);
    p->host = at->host;
    p->path = sv_of(target);
    if (!target || (body.n && !p->question.p)) {
        probe_free(p);
        err_no_memory(e);
        return NULL;
    }
    struct http_header headers[5] = { { SV("host"), at->host },
                                      { SV("accept"), SV("application/json") },
                                      { SV("user-agent"), SV("drover-probe") } };
    unsigned n = 3;
    if (at->auth.n)
        headers[n++] = (struct http_header){ SV("authorization"), at->auth };
    if (body.n)
        headers[n++] = (struct http_header){ SV("content-type"), SV("application/json") };
    struct http_call_spec spec = { .dialer = at->dialer, .method = body.n ? SV("POST") : SV("GET"), .target = sv_of(target),
                                   .headers = headers, .n_headers = n, .length = (int64_t)body.n,
                                   .connect_ms = at->connect_ms ? at->connect_ms : PROBE_CONNECT_MS,
                                   .first_byte_ms = PROBE_READ_MS, .stall_ms = PROBE_READ_MS, .fresh = true };
    p->call = http_call_start(at->client, &p->arena, &spec, &call_events, p, e);
    if (!p->call) {
        probe_free(p);
        return NULL;
    }
    timer_set(l, &p->deadline, PROBE_TOTAL_MS, on_late, p);
    return p;
}

void probe_cancel(struct probe *p) {
    if (!p)
        return;
    http_call_cancel(p->call);
    probe_free(p);
}
