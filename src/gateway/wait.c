/* gateway/wait.c - those that wait: for their turn at a target that is full or loading, or for a lease of their key's budget.
 *
 * Bounded in time and, for each target over all workers, in number (cell_wait). The order is that of the lines in fleet/: fair
 * between principals, over all workers. Each worker keeps its own in one list and looks at them when something ended here, a
 * snapshot came, or the bell rang: another thread gave back what one of them is next for. What comes about with time alone (a
 * place that asked for a pause, a trial of the breaker) is seen every WAIT_LOOK_MS. */
#include "gateway/exchange.h"

#include <stdio.h>

enum {
    WAIT_LOOK_MS = 50,
    RETRY_AFTER_MAX_S = 600,
};

/* On the heap: it may still be on its way through the loop's inbox when the gateway goes. */
struct bell {
    struct msg msg;
    struct waker waker;
    struct loop *loop;
    struct gateway *g;    /* loop's thread; NULL: gone, and the bell goes when it has rung */
    _Atomic bool rings;
};

static void on_ring(struct waker *w) {
    struct bell *b = CONTAINER(w, struct bell, waker);
    if (!atomic_exchange(&b->rings, true) && !loop_post(b->loop, &b->msg))
        atomic_store(&b->rings, false);
}

static void on_bell(struct msg *m) {
    struct bell *b = CONTAINER(m, struct bell, msg);
    if (!b->g) {
        mem_free(b);
        return;
    }
    atomic_exchange(&b->rings, false); /* before the look: whatever comes now rings again */
    wait__look_later(b->g);
}

static void on_look(struct loop_flush *f) {
    wait__look(CONTAINER(f, struct gateway, look));
}

bool wait__init(struct gateway *g, struct err *e) {
    list_init(&g->parked);
    list_init(&g->look.dirty);
    g->look.run = on_look;
    g->bell = mem_new(sizeof *g->bell);
    if (!g->bell)
        return err_no_memory(e);
    *g->bell = (struct bell){ .msg = { .deliver = on_bell }, .waker = { on_ring }, .loop = g->loop, .g = g };
    return true;
}

void wait__deinit(struct gateway *g) {
    timer_stop(g->loop, &g->park_timer);
    list_drop(&g->look.dirty);
    if (!g->bell)
        return;
    g->bell->g = NULL;
    if (!atomic_load(&g->bell->rings)) /* nobody waits, so nobody rings it any more */
        mem_free(g->bell);
    g->bell = NULL;
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

static void on_time(void *arg) {
    wait__look(arg);
}

static void look_in_time(struct gateway *g) {
    if (g->n_parked && !timer_is_set(&g->park_timer))
        timer_set(g->loop, &g->park_timer, WAIT_LOOK_MS, on_time, g);
}

void wait__look(struct gateway *g) {
    unsigned n = g->n_parked;
    timer_stop(g->loop, &g->park_timer);
    for (struct list *it = g->parked.next; n-- && it != &g->parked;) {
        struct list *next = it->next; /* looking at one ends at most that one */
        resolve__look_again(CONTAINER(it, struct exchange, parked));
        it = next;
    }
    look_in_time(g);
}

void wait__look_later(struct gateway *g) {
    if (g->n_parked)
        loop_flush_later(g->loop, &g->look);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static void wait_begin(struct exchange *x) {
    struct gateway *g = x->g;
    if (x->state != EX_PARKED)
        exchange__goto(x, EX_PARKED);
    x->parked_us = loop_now_us(g->loop);
    x->park_until_us = x->parked_us + x->config->gateway.park_timeout_ms * 1000;
    list_push_back(&g->parked, &x->parked);
    g->n_parked++;
    metrics_queued(g->metrics, 1);
    relay__heartbeat_start(x);
    look_in_time(g);
}

/* A waiting place at the first target that has one, of those that are busy or loading. Where it stays counted, even when a
 * later snapshot leads it elsewhere. */
static struct cell *waiting_place(const struct exchange *x) {
    const struct schedule *s = &x->sched;
    for (size_t i = 0; i < s->slug->n_targets; i++) {
        const struct fleet_target *t = s->slug->targets[i];
        struct cell *c = place__is_meant(x) ? t->endpoint->cell : t->cell; /* the former's target is its own */
        if ((s->verdicts[i] == SCHEDULE_BUSY || s->verdicts[i] == SCHEDULE_LOADING) &&
            cell_wait(c, (uint32_t)x->config->gateway.park_max))
            return c;
    }
    return NULL;
}

/* All requests without a key are one principal, but for those of our hub, which says whose they are. */
static uint64_t principal(const struct exchange *x) {
    return x->key ? hash_sv(x->key->id) : x->principal.n ? hash_sv(x->principal) : 0;
}

static uint64_t seconds(uint64_t ms) {
    return ms / 1000 + (ms % 1000 != 0);
}

/* 0 stays unknown. */
static uint32_t retry_after_s(uint64_t expect_ms) {
    return seconds(expect_ms) > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (uint32_t)seconds(expect_ms);
}

bool wait__in_line(struct exchange *x, struct err *e) {
    x->waits_at = waiting_place(x);
    if (!x->waits_at) {
        err_limit(e, LIMIT_PARK_MAX, "\"%.*s\" is busy and gateway.park_max (%d) requests wait already; try again shortly",
                  SV_FMT(x->sched.slug->name), x->config->gateway.park_max);
        e->retry_after_s = retry_after_s(schedule_expect_ms(&x->sched));
        return false;
    }
    ticket_init(&x->ticket, principal(x), x->key ? x->key->priority : 0, &x->g->bell->waker);
    wait_begin(x);
    wait__on(x);
    return true;
}

void wait__for_lease(struct exchange *x) {
    wait_begin(x);
}

void wait__on(struct exchange *x) {
    if (ticket_wait(&x->ticket, &x->sched))
        wait__look_later(x->g);
    ticket_tell(&x->ticket, &x->queue_place, &x->queue_expect_ms);
    if (!x->queue_began)
        x->queue_began = x->queue_place;
}

void wait__end(struct exchange *x) {
    if (list_empty(&x->parked))
        return;
    list_drop(&x->parked);
    x->g->n_parked--;
    x->waits_at = cell_unwait(x->waits_at);
    ticket_leave(&x->ticket);
    x->queue_place = 0;
    x->queue_expect_ms = 0;
    metrics_queued(x->g->metrics, -1);
}

/* --- what the client is told -------------------------------------------------------------------------------------- */

void wait__words(const struct exchange *x, struct err *e) {
    unsigned long long waited_s = (loop_now_us(x->g->loop) - x->parked_us) / 1000000, more_s = seconds(x->queue_expect_ms);
    if (!x->queue_place)
        return;
    e->retry_after_s = retry_after_s(x->queue_expect_ms);
    if (more_s)
        err_ctx(e, "place %u of the queue after %llu s, about %llu s from its turn", x->queue_place, waited_s, more_s);
    else
        err_ctx(e, "place %u of the queue after %llu s", x->queue_place, waited_s);
}

struct sv wait__beat(const struct exchange *x, char text[static WAIT_BEAT_MAX]) {
    struct sv usual = llm_keepalive(x->route->api);
    unsigned long long more_s = seconds(x->queue_expect_ms);
    if (!x->queue_place || !sv_starts(usual, SV(":"))) /* no comment */
        return usual;
    if (more_s)
        snprintf(text, WAIT_BEAT_MAX, ": queued, place %u, about %llu s\n", x->queue_place, more_s);
    else
        snprintf(text, WAIT_BEAT_MAX, ": queued, place %u\n", x->queue_place);
    return sv_of(text);
}
