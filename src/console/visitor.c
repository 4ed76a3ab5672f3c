/* console/visitor.c - one request: visitor_take -> (the control loop: whose ticket is it?) -> on_answer -> a stream of the
 * node's link, through a proxy that each visit has here. A visit that is over is cut, with all that goes on, when the next look
 * finds it so. */
#include "console/visitor.h"

#include <sodium.h>
#include <stdio.h>

#include "base/list.h"
#include "gateway/gateway.h"

enum {
    LOOK_MS = 250,
    JOINED_MAX = 16, /* live connections of one visit on one worker */
    BUSY_MAX = 64,   /* with its requests under way: the node has streams for others, too */
};

struct visitor {
    struct loop *loop;
    struct visits *visits;
    struct http_client *client;
    struct list stays; /* of struct stay */
    struct timer look;
    _Atomic unsigned refs; /* its own, and questions under way */
    bool closed;
};

struct stay { /* a visit on this worker */
    struct list all;
    struct visit *visit; /* shared */
    struct way *way;     /* shared */
    struct http_proxy *proxy;
};

struct call { /* in the request's arena, until it goes on or ends */
    struct http_in *in;
    struct question *question; /* under way */
};

struct question {
    struct visit_ask ask;
    struct visitor *visitor; /* counted */
    struct call *call;       /* NULL: the client has left */
};

static void visitor_unref(struct visitor *v) {
    if (atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1)
        mem_free(v);
}

static void question_free(struct question *q) {
    visit_unref(q->ask.visit);
    way_unref(q->ask.way);
    visitor_unref(q->visitor);
    mem_free(q);
}

/* --- visits on this worker ---------------------------------------------------------------------------------------- */

static void stay_free(struct stay *s) {
    list_drop(&s->all);
    http_proxy_cut(s->proxy);
    http_proxy_free(s->proxy);
    way_unref(s->way);
    visit_unref(s->visit);
    mem_free(s);
}

static void on_look(void *arg) {
    struct visitor *v = arg;
    for (struct list *it = v->stays.next, *next; it != &v->stays; it = next) {
        struct stay *s = CONTAINER(it, struct stay, all);
        next = it->next;
        if (visit_is_over(s->visit) || http_proxy_busy(s->proxy) == 0)
            stay_free(s);
    }
    if (!list_empty(&v->stays))
        timer_set(v->loop, &v->look, LOOK_MS, on_look, v);
}

static struct stay *stay_of(struct visitor *v, const struct visit_ask *a, struct err *e) {
    LIST_FOR(it, &v->stays) {
        struct stay *s = CONTAINER(it, struct stay, all);
        if (s->visit == a->visit && s->way == a->way)
            return s;
    }
    struct stay *s = mem_new(sizeof *s);
    struct http_proxy *p = s ? http_proxy_new(v->loop, v->client, way_dialer(a->way), JOINED_MAX, e) : NULL;
    if (!p) {
        mem_free(s);
        return NULL;
    }
    http_proxy_filtered(p, passage_answer, passage_refuse);
    *s = (struct stay){ .visit = visit_ref(a->visit), .way = way_ref(a->way), .proxy = p };
    list_init(&s->all);
    list_push_back(&v->stays, &s->all);
    if (!timer_is_set(&v->look))
        timer_set(v->loop, &v->look, LOOK_MS, on_look, v);
    return s;
}

/* --- going on ----------------------------------------------------------------------------------------------------- */

static void pass(struct visitor *v, struct http_in *in, const struct visit_ask *a) {
    struct http_header h[PASSAGE_REQUEST + 4];
    struct passage at;
    char role[32];
    struct err e;
    struct stay *s = stay_of(v, a, &e);
    int n = passage_request(in->head, h);
    if (!s || n < 0) {
        passage_fail(in, s ? 431 : 503, s ? "headers_too_large" : "unavailable",
                     s ? SV("too many fields") : SV("out of memory"));
        return;
    }
    if (http_proxy_busy(s->proxy) >= BUSY_MAX) {
        passage_fail(in, 503, "unavailable", SV("too many requests of this visit at one time; close a page"));
        return;
    }
    (void)passage_read(in->head->path, &at);
    snprintf(role, sizeof role, "%s%s", access_role_name(a->role), a->is_fresh ? " fresh" : "");
    h[n++] = (struct http_header){ SV("host"), SV("node") };
    h[n++] = (struct http_header){ SV(GATEWAY_VISIT), sv_of(role) };
    h[n++] = (struct http_header){ SV(GATEWAY_PRINCIPAL), sv_of(a->who) };
    h[n++] = (struct http_header){ SV(GATEWAY_HOPS), SV("1") };
    const char *target =
        arena_printf(&in->arena, "%.*s%s%.*s", SV_FMT(at.rest), in->head->query.n ? "?" : "", SV_FMT(in->head->query));
    if (target)
        http_proxy_pass(s->proxy, in, sv_of(target), h, (unsigned)n);
    else
        passage_fail(in, 431, "headers_too_large", SV("the path is too long"));
}

static const char *code_of(int status) {
    return status == 401 ? "unauthenticated" : status == 403 ? "denied" : status == 404 ? "not_found" : "unavailable";
}

static bool is_navigation(const struct http_head *head) {
    return sv_eq(head->method, SV("GET")) && sv_find(http_get(head, SV("accept")), SV("text/html")) >= 0;
}

static void turn_away(struct http_in *in, const struct visit_ask *a) {
    struct passage at;
    (void)passage_read(in->head->path, &at);
    if (a->status == 401 && is_navigation(in->head)) /* a person, not a page: back to where it is opened */
        passage_door(in, at.node);
    else
        passage_fail(in, a->status, code_of(a->status), sv_of(a->why));
}

static void on_answer(struct visit_ask *a) {
    struct question *q = CONTAINER(a, struct question, ask);
    struct http_in *in = q->call ? q->call->in : NULL;
    if (in)
        q->call->question = NULL;
    if (in && a->status == 200 && !q->visitor->closed)
        pass(q->visitor, in, a);
    else if (in)
        turn_away(in, a);
    question_free(q);
}

static void on_dropped(struct visit_ask *a) {
    question_free(CONTAINER(a, struct question, ask));
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void on_gone(void *x, const struct err *e) {
    struct call *c = x;
    (void)e;
    if (c->question)
        c->question->call = NULL;
}

static void on_body(void *x, struct sv bytes) {
    (void)x; /* none is asked for before it goes on */
    (void)bytes;
}

static void on_body_end(void *x) {
    (void)x;
}

static const struct http_in_events waiting_events = { on_body, on_body_end, NULL, on_gone, NULL };

static bool is_method(struct sv m) {
    static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (sv_eq(m, sv_of(known[i])))
            return true;
    return false;
}

static void ask(struct visitor *v, struct http_in *in, const struct passage *at) {
    struct call *c = ARENA_NEW(&in->arena, struct call);
    struct question *q = c ? mem_new(sizeof *q) : NULL;
    if (!q) {
        http_in_abort(in);
        return;
    }
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    q->visitor = v;
    q->call = c;
    q->ask.home = v->loop;
    q->ask.on_answer = on_answer;
    (void)sv_to_cstr(at->node, q->ask.node, sizeof q->ask.node);
    (void)sv_to_cstr(at->ticket, q->ask.ticket, sizeof q->ask.ticket);
    *c = (struct call){ in, q };
    in->on = &waiting_events;
    in->x = c;
    if (visits_ask(v->visits, &q->ask, on_dropped))
        return;
    sodium_memzero(q->ask.ticket, sizeof q->ask.ticket);
    question_free(q);
    passage_fail(in, 503, "unavailable", SV("the hub is stopping"));
}

static void not_here(struct http_in *in, int status, const char *text) {
    http_in_reply(in, status, NULL, 0, SV("application/json"), sv_of(text));
}

void visitor_take(struct visitor *v, struct http_in *in) {
    struct passage at;
    enum passage_place place = passage_read(in->head->path, &at);
    if (!sv_starts(in->head->target, SV("/")))
        not_here(in, 400, "{\"error\":{\"code\":\"bad_request\",\"message\":\"the target must be a path\"}}\n");
    else if (place == PASSAGE_NOWHERE)
        not_here(in, 404,
                 "{\"error\":{\"code\":\"not_found\",\"message\":\"no such path; a node's console is opened from the "
                 "hub's\"}}\n");
    else if (place == PASSAGE_DOOR && (sv_eq(in->head->method, SV("GET")) || sv_eq(in->head->method, SV("HEAD"))))
        passage_door(in, at.node);
    else if (place == PASSAGE_INSIDE && passage_is_preflight(in->head))
        passage_preflight(in);
    else if (place == PASSAGE_INSIDE && is_method(in->head->method))
        ask(v, in, &at);
    else
        not_here(in, 405, "{\"error\":{\"code\":\"method_not_allowed\",\"message\":\"method not allowed here\"}}\n");
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct visitor *visitor_new(struct loop *l, struct visits *visits, struct err *e) {
    static const struct h1_limits head = { 0, 16384, 65536, 100, 4096 };
    struct visitor *v = mem_new(sizeof *v);
    if (!v) {
        err_no_memory(e);
        return NULL;
    }
    atomic_init(&v->refs, 1);
    v->loop = l;
    list_init(&v->stays);
    v->client = http_client_new(l, &head, e);
    if (!v->client) {
        mem_free(v);
        return NULL;
    }
    v->visits = visits_ref(visits);
    return v;
}

void visitor_free(struct visitor *v) {
    if (!v)
        return;
    v->closed = true;
    timer_stop(v->loop, &v->look);
    while (!list_empty(&v->stays))
        stay_free(CONTAINER(v->stays.next, struct stay, all));
    http_client_free(v->client);
    visits_unref(v->visits);
    visitor_unref(v);
}
