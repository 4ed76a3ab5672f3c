/* gateway/exchange.c - the story of a request from its head to its end; the chapters are the files beside this one.
 *
 * gateway_request -> admit__check -> (local__answer) or read the body -> resolve__start -> forward__start -> relay ->
 * exchange__end. The exchange lives in the request's arena: what it shares (settings, snapshot) is given back with it. */
#include "gateway/exchange.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"

static const struct {
    const char *name;
    unsigned next;
} state_info[] = {
#define X(id, text, next) [id] = { text, next },
    EXCHANGE_STATES(X)
#undef X
};

void exchange__goto(struct exchange *x, enum exchange_state to) {
    assert(state_info[x->state].next & TO(to)); /* an illegal step is our bug, never the peer's */
    log_event(LOG_DEBUG, "exchange", F_U64("id", x->in->id), F_STR("from", state_info[x->state].name),
              F_STR("to", state_info[to].name));
    x->state = to;
}

void exchange__drop_body(struct exchange *x) {
    atomic_fetch_sub_explicit(&x->g->shared->buffered, x->body_charged, memory_order_relaxed);
    x->body_charged = 0;
    mem_free(x->body);
    x->body = NULL;
    buf_deinit(&x->translated);
}

/* The arena goes: what the exchange holds outside of it goes too. */
static void exchange_free(void *arg) {
    struct exchange *x = arg;
    exchange__drop_body(x);
    translate_free(x->translate);
    buf_deinit(&x->kept);
    buf_deinit(&x->seen);
    if (x->has_events)
        events_deinit(&x->events);
    snapshot_unref(x->snapshot);
    access_snapshot_unref(x->access);
    config_unref(x->config);
}

void exchange__end(struct exchange *x, enum request_result result) {
    if (x->state == EX_DONE)
        return; /* a late event after a cancel is normal */
    struct gateway *g = x->g;
    exchange__goto(x, EX_DONE);
    wait__end(x);
    timer_stop(g->loop, &x->heartbeat);
    timer_stop(g->loop, &x->limit);
    http_call_cancel(x->call);
    x->call = NULL;
    count__end(x);
    watch__end(x);
    account__finish(x, result);
    access_end(&x->hold);
    schedule_release(&x->sched, loop_now_us(g->loop));
    list_drop(&x->all);
    metrics_in_flight(g->metrics, -1);
    atomic_fetch_sub_explicit(&g->shared->streams, 1, memory_order_relaxed);
    if (x->is_from_hub)
        atomic_fetch_sub_explicit(&g->shared->from_hub, 1, memory_order_relaxed);
    wait__look_later(g);
}

/* --- reading the body --------------------------------------------------------------------------------------------- */

enum { BODY_FIRST = 1 << 20 }; /* bytes: a body announced as larger gets more room as it comes */

static bool body_charge(struct exchange *x, size_t bytes, struct err *e) {
    uint64_t max = x->config->limits.body.buffered_total;
    uint64_t held = atomic_fetch_add_explicit(&x->g->shared->buffered, bytes, memory_order_relaxed) + bytes;
    x->body_charged += bytes;
    if (held <= max)
        return true;
    return err_limit(e, LIMIT_BODY_BUFFERED, "request bodies under way fill limits.body.buffered_total (%llu bytes); try again shortly",
                     (unsigned long long)max);
}

static bool body_room(struct exchange *x, size_t more, struct err *e) {
    size_t need = x->body_n + more;
    if (need <= x->body_cap)
        return true;
    uint64_t announced = x->in->head->length > 0 ? (uint64_t)x->in->head->length : UINT64_MAX;
    size_t cap = x->body_cap ? x->body_cap * 2 : announced <= BODY_FIRST ? (size_t)announced : BODY_FIRST / 16;
    if (!x->body_cap && announced != UINT64_MAX && announced > BODY_FIRST)
        cap = BODY_FIRST;
    while (cap < need)
        cap *= 2;
    if (cap > announced && announced >= need)
        cap = (size_t)announced;
    char *body = mem_resize(x->body, cap);
    if (!body)
        return err_no_memory(e);
    x->body = body;
    x->body_cap = cap;
    return true;
}

static void on_body(void *arg, struct sv bytes) {
    struct exchange *x = arg;
    struct err e;
    if (x->state != EX_READ)
        return;
    if (bytes.p != x->body + x->body_n || x->body == NULL) { /* not read in place */
        if (!body_room(x, bytes.n, &e)) {
            answer__fail(x, &e, RESULT_REJECTED);
            return;
        }
        memcpy(x->body + x->body_n, bytes.p, bytes.n);
    }
    struct sv piece = { x->body + x->body_n, bytes.n };
    x->body_n += bytes.n;
    if (!body_charge(x, bytes.n, &e)) {
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    if (x->is_json && scan_feed(&x->scan, piece) == SCAN_BAD) {
        scan_end(&x->scan, &e);
        answer__fail(x, &e, RESULT_REJECTED);
    }
}

/* A body of known length is read straight to its place. */
static struct stream_space on_space(void *arg) {
    struct exchange *x = arg;
    struct stream_space to = { 0 };
    if (x->state == EX_READ && x->in->head->length > LOOP_SCRATCH / 4 && body_room(x, 1, NULL))
        to = (struct stream_space){ x->body + x->body_n, x->body_cap - x->body_n };
    return to;
}

static void on_body_end(void *arg) {
    struct exchange *x = arg;
    struct err e;
    if (x->state != EX_READ)
        return;
    if (x->is_json && scan_end(&x->scan, &e) != SCAN_OK) {
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    resolve__start(x);
}

bool exchange__may_parse(const struct exchange *x, struct err *e) {
    return x->scan.n_values <= (unsigned)x->config->limits.json.values ||
           err_limit(e, LIMIT_JSON_VALUES, "the body has %u values; one that must be translated, or looked through for links, may have "
                     "limits.json.values (%d)", x->scan.n_values, x->config->limits.json.values);
}

static void on_gone(void *arg, const struct err *e) {
    struct exchange *x = arg;
    (void)e;
    exchange__end(x, RESULT_CANCELLED);
}

static void on_drain(void *arg) {
    relay__drain(arg);
}

static const struct http_in_events in_events = { on_body, on_body_end, on_space, on_gone, on_drain };

/* --- the beginning ------------------------------------------------------------------------------------------------ */

static struct exchange *exchange_new(struct gateway *g, struct http_in *in, const struct admission *who) {
    const struct llm_route *route = who->route;
    struct exchange *x = ARENA_NEW(&in->arena, struct exchange);
    if (!x || !arena_defer(&in->arena, exchange_free, x))
        return NULL;
    x->g = g;
    x->in = in;
    x->route = route;
    x->key = who->key;
    x->principal = surface__principal(in);
    x->hops = surface__hops(in);
    x->access = who->key ? access_snapshot_ref(g->access) : NULL;
    x->config = config_ref(g->config);
    x->snapshot = snapshot_ref(g->snapshot);
    bool multipart = sv_starts_nocase(http_get(in->head, SV("content-type")), SV("multipart/form-data"));
    x->is_form = (route->flags & LLM_R_FORM_MODEL) && multipart;
    x->is_json = (route->flags & LLM_R_BODY_MODEL) && !x->is_form;
    list_init(&x->all);
    list_init(&x->parked);
    list_init(&x->ticket.seats);
    buf_init(&x->kept, 16 << 20);
    if (x->is_json) {
        scan_init(&x->scan);
        scan_limit(&x->scan, (unsigned)x->config->limits.json.depth, (unsigned)x->config->limits.json.members);
    }
    trace__begin(x);
    list_push_back(&g->all, &x->all);
    metrics_in_flight(g->metrics, 1);
    atomic_fetch_add_explicit(&g->shared->streams, 1, memory_order_relaxed);
    x->is_from_hub = ((const struct gateway_listener *)in->tag)->is_link;
    if (x->is_from_hub)
        atomic_fetch_add_explicit(&g->shared->from_hub, 1, memory_order_relaxed);
    return x;
}

/* The canonical path with the client's query. */
static bool make_path(struct exchange *x) {
    const struct http_head *head = x->in->head;
    struct buf out = BUF_MAX(64 << 10);
    bool ok = llm_route_upstream(&out, x->route, head->path);
    if (head->query.n)
        ok = ok && buf_add_char(&out, '?') && buf_add(&out, head->query);
    if (ok)
        x->upstream_path = arena_sv(&x->in->arena, buf_sv(&out));
    buf_deinit(&out);
    return ok && x->upstream_path.p;
}

void gateway_request(struct gateway *g, struct http_in *in) {
    struct admission who;
    struct err e;
    if (!admit__check(g, in, &who) || local__answer(g, in, &who))
        return;
    if (atomic_load_explicit(&g->shared->streams, memory_order_relaxed) >= (unsigned)g->config->limits.stream.max) {
        err_limit(&e, LIMIT_STREAMS, "limits.stream.max (%d) requests are under way; try again shortly", g->config->limits.stream.max);
        answer__error(g, in, who.route, &e, NULL);
        return;
    }
    if (who.key && g->shared->ledger && !ledger_is_well(g->shared->ledger)) {
        err_set(&e, ERR_STORE, "requests cannot be recorded now, so those of keys are not served; try again shortly (drover status tells why)");
        answer__error(g, in, who.route, &e, NULL);
        return;
    }
    struct exchange *x = exchange_new(g, in, &who);
    if (!x) {
        err_no_memory(&e);
        answer__error(g, in, who.route, &e, NULL);
        return;
    }
    in->on = &in_events;
    in->x = x;
    if (!make_path(x) ? (err_no_memory(&e), true) : !access_begin(&x->hold, x->key, loop_now_us(g->loop), clock_wall_ms(), &e)) {
        answer__fail(x, &e, RESULT_REJECTED);
        return;
    }
    if (in->head->length == 0 || (in->head->length < 0 && !in->head->chunked))
        on_body_end(x);
    else
        http_in_body(in);
}

/* --- the gateway -------------------------------------------------------------------------------------------------- */

struct gateway *gateway_new(struct loop *l, struct gateway_shared *shared, struct metrics_shard *metrics, struct config *c,
                            struct err *e) {
    struct gateway *g = mem_new(sizeof *g);
    if (!g) {
        err_no_memory(e);
        return NULL;
    }
    const struct config_limits *m = &c->limits;
    struct h1_limits head = { 0, (uint32_t)m->upstream.head, (uint32_t)m->upstream.head, 500, 4096 };
    g->loop = l;
    g->shared = shared;
    g->metrics = metrics;
    g->config = config_ref(c);
    list_init(&g->all);
    bool ok = wait__init(g, e);
    g->client = ok ? http_client_new(l, &head, e) : NULL;
    g->ledger = g->client && shared->ledger ? ledger_shard_new(shared->ledger, l) : NULL;
    g->export = g->client && shared->export ? export_shard_new(shared->export, l) : NULL;
    if (!g->client || (shared->ledger && !g->ledger && !err_no_memory(e)) || (shared->export && !g->export && !err_no_memory(e))) {
        gateway_free(g);
        return NULL;
    }
    return g;
}

void gateway_config(struct gateway *g, struct config *c) {
    config_ref(c);
    config_unref(g->config);
    g->config = c;
}

void gateway_snapshot(struct gateway *g, struct snapshot *s) {
    snapshot_ref(s);
    snapshot_unref(g->snapshot);
    g->snapshot = s;
    wait__look(g);
}

void gateway_access(struct gateway *g, struct access_snapshot *s) {
    access_snapshot_ref(s);
    access_snapshot_unref(g->access);
    g->access = s;
}

void gateway_revoke(struct gateway *g, const struct access_cell *cell) {
    struct err e;
    err_set(&e, ERR_AUTH, "the key or session of this request has ended, was revoked, or may something else now");
    LIST_FOR_SAFE(it, &g->all) {
        struct exchange *x = CONTAINER(it, struct exchange, all);
        if (x->hold.cell == cell)
            answer__fail(x, &e, x->sent_us ? RESULT_CLIENT_ERROR : RESULT_REJECTED);
    }
}

void gateway_free(struct gateway *g) {
    if (!g)
        return;
    wait__deinit(g);
    http_client_free(g->client);
    snapshot_unref(g->snapshot);
    access_snapshot_unref(g->access);
    ledger_shard_free(g->ledger);
    export_shard_free(g->export);
    watch__free(g);
    config_unref(g->config);
    mem_free(g);
}
