/* fleet/queue.c - a place's line, shared by all threads.
 *
 * A line has a lock, taken only where somebody waits; cell.first is its word to those who do not: whose turn it is, or that nobody
 * waits. Only who reads its own seat there (or nobody's, as a newcomer) may reserve the place, and a seat is given up by its
 * own thread alone, so a turn that was seen stays good. A newcomer that takes a seat in front in the very same moment came later.
 *
 * That nobody is forgotten: whenever there is room and somebody in line, a call to the first one's waker is under way. Room comes by
 * queue__released, which calls it; the first one changes when it is granted or leaves, which calls the next; and who takes a
 * seat looks for room after that. This look and cell.first on one side, the count of those in flight and the look at
 * cell.first on the other are sequentially consistent: one of the two sees the other. */
#include "fleet/queue.h"

#include <math.h>
#include <pthread.h>

#include "fleet/line.h"

struct queue {
    pthread_mutex_t lock;
    struct line line;     /* with the lock held */
};

/* A ticket's seat at one place. */
struct waiter {
    struct list seats;    /* of its ticket; its thread only */
    struct ticket *ticket;
    struct cell *cell;    /* shared */
    struct seat seat;
};

void queue__free(struct queue *q) {
    if (!q)
        return;
    line_deinit(&q->line);
    pthread_mutex_destroy(&q->lock);
    mem_free(q);
}

static struct queue *queue_of(struct cell *c) {
    return atomic_load_explicit(&c->queue, memory_order_acquire);
}

/* NULL: memory is out. */
static struct queue *make_queue(struct cell *c) {
    struct queue *q = queue_of(c), *made;
    if (q || !(made = mem_new(sizeof *made)))
        return q;
    pthread_mutex_init(&made->lock, NULL);
    line_init(&made->line);
    if (atomic_compare_exchange_strong(&c->queue, &q, made))
        return made;
    queue__free(made); /* another thread was faster */
    return q;
}

/* The rest is called with the lock held where it says q. */

static void publish(struct cell *c, const struct queue *q) {
    atomic_store(&c->first, line_first(&q->line));
}

static void wake_first(const struct queue *q) {
    struct seat *s = line_first(&q->line);
    if (s) {
        struct waker *w = CONTAINER(s, struct waiter, seat)->ticket->waker;
        w->wake(w);
    }
}

/* --- whose turn it is --------------------------------------------------------------------------------------------- */

bool queue__others_first(const struct cell *c, const struct ticket *t) {
    const struct seat *first = atomic_load_explicit(&((struct cell *)(uintptr_t)c)->first, memory_order_relaxed);
    if (!first || !t)
        return first != NULL;
    LIST_FOR(it, &t->seats)
        if (&CONTAINER(it, struct waiter, seats)->seat == first)
            return false;
    return true;
}

void queue__released(struct cell *c, uint64_t now_us) {
    if (!atomic_load(&c->first)) {
        if (atomic_load_explicit(&c->released_us, memory_order_relaxed))
            atomic_store_explicit(&c->released_us, 0, memory_order_relaxed);
        return;
    }
    struct queue *q = queue_of(c);
    uint64_t was = atomic_exchange_explicit(&c->released_us, now_us, memory_order_relaxed);
    pthread_mutex_lock(&q->lock);
    if (was && now_us > was)
        line_moved(&q->line, now_us - was);
    wake_first(q);
    pthread_mutex_unlock(&q->lock);
}

static void waiter_free(struct waiter *w) {
    list_drop(&w->seats);
    cell_unref(w->cell);
    mem_free(w);
}

static void waiter_leave(struct waiter *w) {
    struct queue *q = queue_of(w->cell);
    pthread_mutex_lock(&q->lock);
    bool was_first = line_first(&q->line) == &w->seat;
    line_leave(&q->line, &w->seat);
    publish(w->cell, q);
    if (was_first)
        wake_first(q);
    pthread_mutex_unlock(&q->lock);
    waiter_free(w);
}

static bool has_room(const struct fleet_endpoint *p) {
    return !p->max_concurrent || atomic_load(&p->cell->in_flight) < p->max_concurrent;
}

static void waiter_granted(struct waiter *w, const struct fleet_endpoint *p) {
    struct queue *q = queue_of(w->cell);
    pthread_mutex_lock(&q->lock);
    line_grant(&q->line, &w->seat);
    publish(w->cell, q);
    if (has_room(p))
        wake_first(q);
    pthread_mutex_unlock(&q->lock);
    waiter_free(w);
}

void queue__granted(struct ticket *t, const struct fleet_endpoint *p) {
    if (!t)
        return;
    LIST_FOR_SAFE(it, &t->seats) {
        struct waiter *w = CONTAINER(it, struct waiter, seats);
        if (w->cell == p->cell && p->max_concurrent)
            waiter_granted(w, p);
        else /* where there is no limit nobody has to wait for a turn, and none is paid for */
            waiter_leave(w);
    }
}

/* --- tickets ------------------------------------------------------------------------------------------------------ */

void ticket_init(struct ticket *t, uint64_t who, int32_t priority, struct waker *w) {
    enum { HIGHEST = 100, DOUBLES = 25 };
    int32_t p = priority > HIGHEST ? HIGHEST : priority < -HIGHEST ? -HIGHEST : priority;
    *t = (struct ticket){ .who = who, .cost = (uint32_t)(LINE_COST * exp2(-(double)p / DOUBLES)), .waker = w };
    list_init(&t->seats);
}

/* Whether to stand in line at its i-th target. */
static bool is_for(const struct schedule *s, size_t i) {
    return s->verdicts[i] == SCHEDULE_BUSY || s->verdicts[i] == SCHEDULE_LOADING;
}

static bool is_wanted(const struct schedule *s, const struct cell *c) {
    for (size_t i = 0; i < s->slug->n_targets; i++)
        if (s->slug->targets[i]->endpoint->cell == c && is_for(s, i))
            return true;
    return false;
}

static bool has_seat(const struct ticket *t, const struct cell *c) {
    LIST_FOR(it, &t->seats)
        if (CONTAINER(it, struct waiter, seats)->cell == c)
            return true;
    return false;
}

/* True: it is its turn, and there is room. */
static bool take_seat(struct ticket *t, const struct fleet_endpoint *p) {
    struct queue *q = make_queue(p->cell);
    struct waiter *w = q ? mem_new(sizeof *w) : NULL;
    if (!w)
        return false;
    w->ticket = t;
    pthread_mutex_lock(&q->lock);
    bool ok = line_enter(&q->line, &w->seat, t->who, t->cost);
    publish(p->cell, q);
    pthread_mutex_unlock(&q->lock);
    if (!ok) {
        mem_free(w);
        return false;
    }
    w->cell = cell_ref(p->cell);
    list_init(&w->seats);
    list_push_back(&t->seats, &w->seats);
    return has_room(p) && !queue__others_first(p->cell, t);
}

bool ticket_wait(struct ticket *t, const struct schedule *s) {
    bool room = false;
    LIST_FOR_SAFE(it, &t->seats) {
        struct waiter *w = CONTAINER(it, struct waiter, seats);
        if (!is_wanted(s, w->cell))
            waiter_leave(w);
    }
    for (size_t i = 0; i < s->slug->n_targets; i++) {
        const struct fleet_endpoint *p = s->slug->targets[i]->endpoint;
        if (is_for(s, i) && !has_seat(t, p->cell))
            room = take_seat(t, p) || room;
    }
    return room;
}

void ticket_leave(struct ticket *t) {
    LIST_FOR_SAFE(it, &t->seats)
        waiter_leave(CONTAINER(it, struct waiter, seats));
}

/* --- what is told ------------------------------------------------------------------------------------------------- */

/* 0: unknown. */
static uint64_t expect_ms(const struct line *l, unsigned place) {
    uint64_t ms = place * l->pace_us / 1000;
    return l->pace_us && ms == 0 ? 1 : ms;
}

static void sooner(uint64_t *best_ms, uint64_t ms) {
    if (ms && (!*best_ms || ms < *best_ms))
        *best_ms = ms;
}

void ticket_tell(const struct ticket *t, unsigned *ret_place, uint64_t *ret_expect_ms) {
    *ret_place = 0;
    *ret_expect_ms = 0;
    LIST_FOR(it, &t->seats) {
        struct waiter *w = CONTAINER(it, struct waiter, seats);
        struct queue *q = queue_of(w->cell);
        pthread_mutex_lock(&q->lock);
        unsigned place = line_place(&q->line, &w->seat);
        uint64_t ms = expect_ms(&q->line, place);
        pthread_mutex_unlock(&q->lock);
        if (!*ret_place || place < *ret_place)
            *ret_place = place;
        sooner(ret_expect_ms, ms);
    }
}

uint64_t schedule_expect_ms(const struct schedule *s) {
    uint64_t best = 0;
    for (size_t i = 0; i < s->slug->n_targets; i++) {
        struct queue *q = queue_of(s->slug->targets[i]->endpoint->cell);
        if (!q || s->verdicts[i] != SCHEDULE_BUSY)
            continue;
        pthread_mutex_lock(&q->lock);
        sooner(&best, expect_ms(&q->line, q->line.n + 1));
        pthread_mutex_unlock(&q->lock);
    }
    return best;
}

unsigned cell_queued(struct cell *c) {
    struct queue *q = queue_of(c);
    if (!q)
        return 0;
    pthread_mutex_lock(&q->lock);
    unsigned n = q->line.n;
    pthread_mutex_unlock(&q->lock);
    return n;
}
