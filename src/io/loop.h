/* io/loop.h - one thread's event loop: mailbox, coarse timers, deferred flushes and the scratch memory of its streams.
 *
 * Every object belongs to exactly one loop and is touched only on that loop's thread. Another thread posts a message
 * and, with it, everything the message points to. Life: loop_init -> loop_run (returns after loop_stop) -> loop_deinit
 * (runs pending closes). All functions are for the loop's own thread except loop_post and loop_stop. */
#ifndef DROVER_IO_LOOP_H
#define DROVER_IO_LOOP_H

#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"

enum {
    LOOP_SCRATCH = 64 << 10, /* bytes of the shared read buffer: idle connections hold none */
    TIMER_SLOT_MS = 4,       /* resolution of timers */
    TIMER_SLOTS = 1024,
};

/* A message: embed it first in a struct of your own. deliver runs once on the receiving loop and then owns m. */
struct msg {
    struct list queued;
    void (*deliver)(struct msg *m);
};

/* A coarse one-shot timer. Zeroed memory is a timer that is not set. */
struct timer {
    struct list slot;
    uint64_t due_ms; /* loop time; 0 = not set */
    void (*on_time)(void *arg);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    struct { /* any thread, with the lock held */
        uv_mutex_t lock;
        struct list inbox;
        bool closed;
    } sync;
    uv_async_t wake;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_timer_t tick;
    struct list wheel[TIMER_SLOTS];
    uint64_t wheel_at_ms;   /* slots before this time have fired */
    uint64_t tick_due_ms;   /* when the tick is armed for; 0 = not armed */
    unsigned n_timers;
    struct list dirty;      /* of struct loop_flush: run before the loop waits again */
    uint64_t now_us;        /* cached for one turn; 0 = read the clock again */
    char *scratch;
    struct arena_cache arenas;
    void *owner;            /* whoever runs the loop hangs its state here */
};

/* Work to do at the end of this turn, once however often it is asked for. */
struct loop_flush {
    struct list dirty; /* list_init it */
    void (*run)(struct loop_flush *f);
};

bool loop_init(struct loop *l, struct err *e) MUST_CHECK;
void loop_run(struct loop *l);
void loop_stop(struct loop *l); /* any thread */
void loop_deinit(struct loop *l);

/* Any thread. False when the loop takes no more messages: the sender keeps m. */
bool loop_post(struct loop *l, struct msg *m) MUST_CHECK;

/* Monotonic, read at most once per turn. */
uint64_t loop_now_us(struct loop *l);
static inline uint64_t loop_now_ms(struct loop *l) {
    return loop_now_us(l) / 1000u;
}

/* Fires once, between after_ms and after_ms + 2 * TIMER_SLOT_MS from now; setting it again moves it. */
void timer_set(struct loop *l, struct timer *t, uint64_t after_ms, void (*on_time)(void *arg), void *arg);
void timer_stop(struct loop *l, struct timer *t);
static inline bool timer_is_set(const struct timer *t) {
    return t->due_ms != 0;
}

/* What waits for the end of the turn, now: before the loop ends, so that last words still go out. */
void loop_flush_now(struct loop *l);
static inline void loop_flush_later(struct loop *l, struct loop_flush *f) {
    if (list_empty(&f->dirty))
        list_push_back(&l->dirty, &f->dirty);
}

#endif
