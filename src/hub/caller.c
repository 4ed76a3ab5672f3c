/* hub/caller.c - order -> connect -> TLS, where the node speaks first -> is it the one that was meant? -> http_serve; and word goes home. */
#include "hub/caller.h"

#include <stdio.h>

enum { CONNECT_MS = 10000, TLS_MS = 10000 };

struct caller {
    struct loop *loop;
    struct http_server *server;
    void *tag;
    struct list under_way; /* of struct call */
    bool is_closed;
};

struct call *call_new(void) {
    struct call *k = mem_new(sizeof *k);
    if (k)
        list_init(&k->under_way);
    return k;
}

void call_free(struct call *k) {
    if (!k)
        return;
    list_drop(&k->under_way);
    dialer_unref(k->dialer);
    tls_unref(k->tls);
    mem_free(k);
}

static void on_home(struct msg *m) {
    struct call *k = CONTAINER(m, struct call, msg);
    k->done(k);
}

static void finish(struct call *k, const char *why) {
    timer_stop(k->caller->loop, &k->deadline);
    list_drop(&k->under_way);
    k->ok = !why;
    snprintf(k->why, sizeof k->why, "%s", why ? why : "");
    k->msg = (struct msg){ .deliver = on_home };
    if (!loop_post(k->home, &k->msg))
        call_free(k); /* the control loop has ended */
}

static void on_tls(void *arg, struct stream *s, const struct err *e) {
    struct call *k = arg;
    struct tls_facts f;
    k->shaking = NULL;
    if (!s) {
        finish(k, e->text);
    } else if (!tls_facts(s, &f) || strcmp(f.uri, k->uri) != 0) {
        stream_close(s);
        finish(k, "another machine answers there");
    } else {
        http_serve(k->caller->server, s, k->caller->tag);
        finish(k, NULL);
    }
}

static void on_late(void *arg) {
    struct call *k = arg;
    tls_cancel(k->shaking);
    k->shaking = NULL;
    finish(k, "something accepts connections there, but it does not begin a TLS handshake as a node does");
}

static void on_connected(void *arg, struct stream *s, const struct err *e) {
    struct call *k = arg;
    struct err fault;
    k->dial = NULL;
    if (!s) {
        finish(k, e->text);
        return;
    }
    k->shaking = tls_start(k->tls, s, SV_NULL, on_tls, k, &fault);
    if (k->shaking)
        timer_set(k->caller->loop, &k->deadline, TLS_MS, on_late, k);
    else
        finish(k, fault.text);
}

static void on_order(struct msg *m) {
    struct call *k = CONTAINER(m, struct call, msg);
    struct err e;
    if (k->caller->is_closed) { /* a loop that ends still hands out what it holds */
        call_free(k);
        return;
    }
    list_push_back(&k->caller->under_way, &k->under_way);
    k->dial = dialer_dial(k->dialer, k->caller->loop, CONNECT_MS, on_connected, k, &e);
    if (!k->dial)
        finish(k, e.text);
}

bool caller_call(struct caller *c, struct call *k) {
    k->caller = c;
    k->msg = (struct msg){ .deliver = on_order };
    return loop_post(c->loop, &k->msg);
}

static void drop(struct call *k) {
    if (k->dial)
        dialer_cancel(k->dialer, k->dial);
    tls_cancel(k->shaking);
    timer_stop(k->caller->loop, &k->deadline);
    call_free(k);
}

void caller_close(struct caller *c) {
    if (!c)
        return;
    c->is_closed = true;
    for (struct list *it; (it = list_pop(&c->under_way));)
        drop(CONTAINER(it, struct call, under_way));
}

void caller_free(struct caller *c) {
    mem_free(c);
}

struct caller *caller_new(struct loop *l, struct http_server *server, void *tag, struct err *e) {
    struct caller *c = mem_new(sizeof *c);
    if (!c) {
        err_no_memory(e);
        return NULL;
    }
    *c = (struct caller){ .loop = l, .server = server, .tag = tag };
    list_init(&c->under_way);
    return c;
}
