#include "hub/gate.h"

#include <sodium.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "http/ws.h"
#include "hub/room.h"

#define PROTOCOL "drover.link.1"

enum { BEGUN_PER_S = 250, BEGUN_BURST = 250, TOLD_MS = 10000 }; /* on each worker: a core does some 1,000 handshakes a second */

struct gate {
    struct loop *loop, *control;
    struct link_host *host;
    struct hub *hub;
    _Atomic unsigned refs;
    _Atomic bool closed; /* its loop is going, or gone */
    double room;         /* connections that may begin now */
    uint64_t room_ms, told_ms, n_turned_away; /* loop time; since it was told */
};

struct gate_visit { /* in the request's arena; gone with it */
    struct http_in *in;
    struct gate_ask *ask;      /* under way; its visit is NULL once we are gone */
    char accept[WS_ACCEPT];
};

static struct gate *gate_ref(struct gate *g) {
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

static void gate_unref(struct gate *g) {
    if (atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) == 1)
        mem_free(g);
}

static void ask_free(struct gate_ask *a) {
    sodium_memzero(a->bearer, sizeof a->bearer);
    way_unref(a->way);
    gate_unref(a->gate);
    mem_free(a);
}

/* --- answers ----------------------------------------------------------------------------------------------------------------------------- */

static void refuse(struct http_in *in, int status, const char *code, const char *text, uint32_t retry_s) {
    struct buf body = BUF_MAX(4096);
    char retry[16];
    struct http_header more[3];
    unsigned n = 0;
    if (status == 426) { /* RFC 6455, sections 4.2.2 and 4.4 */
        more[n++] = (struct http_header){ SV("sec-websocket-protocol"), SV(PROTOCOL) };
        more[n++] = (struct http_header){ SV("sec-websocket-version"), SV("13") };
    }
    if (retry_s) {
        snprintf(retry, sizeof retry, "%u", retry_s);
        more[n++] = (struct http_header){ SV("retry-after"), sv_of(retry) };
    }
    buf_printf(&body, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    buf_add_json(&body, sv_of(text));
    buf_add(&body, SV("}}\n"));
    http_in_reply(in, status, more, n, SV("application/json"), buf_sv(&body));
    buf_deinit(&body);
}

static const char *code_of(int status) {
    return status == 401 ? "unauthenticated" : status == 403 ? "denied" : status == 404 ? "not_found" : status == 429 ? "rate_limited" : status == 503 ? "unavailable" : "bad_request";
}

static void upgrade(struct gate *g, struct gate_visit *v, struct gate_ask *a) {
    char head[256];
    struct sv early;
    int n = snprintf(head, sizeof head, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: %s\r\n"
                     "sec-websocket-protocol: " PROTOCOL "\r\n\r\n", v->accept);
    struct stream *s = http_in_upgrade(v->in, &early);
    const struct wire_lane at = {
        .host = g->host,
        .way = a->way,
        .echo = true,
        .peer = a->is_lane ? &a->limits : NULL,
        .spec = { .is_hub = true, .is_lane = a->is_lane, .limits = MUX_LIMITS_HUB, .site = sv_of(a->site) }
    };
    stream_write1(s, (struct sv){ head, (size_t)n });
    wire_attach(a->wire, s, early, &at);
}

static void on_answer(struct msg *m) {
    struct gate_ask *a = CONTAINER(m, struct gate_ask, msg);
    struct gate_visit *v = a->visit;
    if (v)
        v->ask = NULL;
    if (a->status == 101 && v && !atomic_load(&a->gate->closed))
        upgrade(a->gate, v, a);
    else if (a->status == 101)
        wire_refuse(a->wire, 0, SV("the node has left"), 0);
    else if (v)
        refuse(v->in, a->status, code_of(a->status), a->text, a->retry_after_s);
    ask_free(a);
}

static void on_ask(struct msg *m) {
    struct gate_ask *a = CONTAINER(m, struct gate_ask, msg);
    if (atomic_load(&a->gate->closed)) { /* the control loop hands out its last messages when the workers are gone */
        ask_free(a);
        return;
    }
    session__ask(a->hub, a);
    a->msg = (struct msg){ .deliver = on_answer };
    if (loop_post(a->gate->loop, &a->msg))
        return;
    if (a->status == 101)
        wire_refuse(a->wire, 0, SV("stopping"), 0);
    ask_free(a);
}

/* --- connections ------------------------------------------------------------------------------------------------------------------------- */

bool gate_has_room(struct gate *g) {
    uint64_t now = loop_now_ms(g->loop);
    g->room += (double)(now - g->room_ms) * BEGUN_PER_S / 1000;
    g->room = g->room > BEGUN_BURST ? BEGUN_BURST : g->room;
    g->room_ms = now;
    if (g->room >= 1) {
        g->room--;
        return true;
    }
    g->n_turned_away++;
    if (now - g->told_ms >= TOLD_MS) {
        log_event(LOG_WARN, "more machines dial than can be greeted at one time; they come again", F_U64("turned_away", g->n_turned_away));
        g->told_ms = now;
        g->n_turned_away = 0;
    }
    return false;
}

/* --- requests ---------------------------------------------------------------------------------------------------------------------------- */

static void on_gone(void *x, const struct err *e) {
    struct gate_visit *v = x;
    (void)e;
    if (v->ask)
        v->ask->visit = NULL;
}

static void on_body(void *x, struct sv bytes) {
    (void)x;
    (void)bytes;
}
static void on_body_end(void *x) {
    (void)x;
}
static const struct http_in_events in_events = { on_body, on_body_end, NULL, on_gone, NULL };

static bool single(const struct http_head *head, const char *name, char *to, size_t size) {
    unsigned n = 0;
    to[0] = '\0';
    for (unsigned i = 0; i < head->n_headers; i++)
        if (sv_eq(head->headers[i].name, sv_of(name)) && (++n > 1 || !sv_to_cstr(head->headers[i].value, to, size)))
            return false;
    return true;
}

static bool read_credentials(const struct http_head *head, struct gate_ask *a) {
    char auth[160];
    bool ok = single(head, "drover-node", a->node, sizeof a->node) && single(head, "drover-lane", a->lane, sizeof a->lane) &&
              single(head, "authorization", auth, sizeof auth) && (!auth[0] || sv_starts_nocase(sv_of(auth), SV("bearer ")));
    if (ok && auth[0])
        ok = sv_to_cstr(sv_trim(sv_from(sv_of(auth), 7)), a->bearer, sizeof a->bearer);
    sodium_memzero(auth, sizeof auth);
    return ok;
}

static struct gate_ask *ask_new(struct gate *g, struct http_in *in) {
    struct gate_ask *a = mem_new(sizeof *a);
    if (!a)
        return NULL;
    a->msg.deliver = on_ask;
    a->gate = gate_ref(g);
    a->hub = g->hub;
    a->is_tls = tls_facts(in->stream, &a->tls);
    snprintf(a->peer, sizeof a->peer, "%s", in->stream->peer);
    return a;
}

bool gate_wants(const struct http_head *head) {
    return sv_eq(head->path, SV("/link/v1"));
}

void gate_take(struct gate *g, struct http_in *in) {
    struct gate_visit *v = ARENA_NEW(&in->arena, struct gate_visit);
    struct gate_ask *a = v ? ask_new(g, in) : NULL;
    struct err e;
    if (!a) {
        http_in_abort(in);
        return;
    }
    const char *fault = NULL;
    int status = 400;
    enum ws_handshake shape;
    if (http_get(in->head, SV("origin")).p) {
        status = 403;
        fault = "links never come from web pages";
    } else if ((shape = ws_check_request(in->head, v->accept, &e)) != WS_HANDSHAKE_OK) {
        status = shape == WS_HANDSHAKE_VERSION ? 426 : 400;
        fault = e.text;
    } else if (!ws_offers(in->head, SV(PROTOCOL))) {
        status = 426;
        fault = "this hub speaks " PROTOCOL;
    } else if (!read_credentials(in->head, a)) {
        fault = "each credential once, and of its form";
    }
    if (fault) {
        refuse(in, status, status == 426 ? "upgrade_required" : code_of(status), fault, 0);
        ask_free(a);
        return;
    }
    v->in = in;
    v->ask = a;
    a->visit = v;
    in->on = &in_events;
    in->x = v;
    if (loop_post(g->control, &a->msg))
        return;
    refuse(in, 503, "unavailable", "the hub is stopping", 5);
    ask_free(a);
}

struct gate *gate_new(struct loop *l, struct link_host *host, struct loop *control, struct hub *hub, struct err *e) {
    struct gate *g = mem_new(sizeof *g);
    if (!g) {
        err_no_memory(e);
        return NULL;
    }
    g->loop = l;
    g->control = control;
    g->host = host;
    g->hub = hub;
    g->room = BEGUN_BURST;
    g->room_ms = loop_now_ms(l);
    atomic_init(&g->refs, 1);
    return g;
}

void gate_free(struct gate *g) {
    if (!g)
        return;
    atomic_store(&g->closed, true);
    gate_unref(g);
}
