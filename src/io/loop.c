/* io/loop.c - a libuv loop with four additions.
 *
 * Mailbox: one locked list and one async handle; the handle is a hint, the list is the truth.
 * Flush: streams that were written to in a turn are flushed once, just before the loop waits again, so everything one
 * turn produced leaves in one system call.
 * Timers: a hashed wheel. A connection sets and moves its deadlines several times per request, which must cost two list
 * operations and no heap or tree; one libuv timer is armed for the nearest slot that holds anything.
 * Time: read at most once a turn. */
#include "io/loop.h"

#include "base/clock.h"

static void on_wake(uv_async_t *h) {
    struct loop *l = h->data;
    struct list batch = LIST_INIT(batch);
    uv_mutex_lock(&l->sync.lock);
    list_move(&batch, &l->sync.inbox);
    uv_mutex_unlock(&l->sync.lock);
    for (struct list *it; (it = list_pop(&batch));) {
        struct msg *m = CONTAINER(it, struct msg, queued);
        m->deliver(m);
    }
}

static void flush_all(struct loop *l) {
    for (struct list *it; (it = list_pop(&l->dirty));) {
        struct loop_flush *f = CONTAINER(it, struct loop_flush, dirty);
        f->run(f);
    }
}

static void on_before_poll(uv_prepare_t *h) {
    struct loop *l = h->data;
    flush_all(l);
    l->now_us = 0;
}

static void on_after_poll(uv_check_t *h) {
    struct loop *l = h->data;
    flush_all(l);
}

static void on_stop(struct msg *m) {
    struct loop *l = ((struct { struct msg m; struct loop *l; } *)(void *)m)->l;
    mem_free(m);
    uv_stop(&l->uv);
}

bool loop_init(struct loop *l, struct err *e) {
    memset(l, 0, sizeof *l);
    list_init(&l->sync.inbox);
    list_init(&l->dirty);
    for (int i = 0; i < TIMER_SLOTS; i++)
        list_init(&l->wheel[i]);
    l->scratch = mem_alloc(LOOP_SCRATCH);
    if (!l->scratch)
        return err_no_memory(e);
    int rc = uv_loop_init(&l->uv);
    if (rc != 0) {
        mem_free(l->scratch);
        return err_set(e, ERR_INTERNAL, "event loop: %s", uv_strerror(rc));
    }
    uv_mutex_init(&l->sync.lock);
    rc = uv_async_init(&l->uv, &l->wake, on_wake);
    if (rc != 0) {
        uv_loop_close(&l->uv);
        uv_mutex_destroy(&l->sync.lock);
        mem_free(l->scratch);
        return err_set(e, ERR_INTERNAL, "event loop: %s", uv_strerror(rc));
    }
    l->uv.data = l->wake.data = l;
    uv_prepare_init(&l->uv, &l->before_poll);
    uv_check_init(&l->uv, &l->after_poll);
    uv_timer_init(&l->uv, &l->tick);
    l->before_poll.data = l->after_poll.data = l->tick.data = l;
    uv_prepare_start(&l->before_poll, on_before_poll);
    uv_check_start(&l->after_poll, on_after_poll);
    uv_unref((uv_handle_t *)&l->before_poll);
    uv_unref((uv_handle_t *)&l->after_poll);
    l->wheel_at_ms = loop_now_ms(l);
    return true;
}

void loop_run(struct loop *l) {
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l) {
    struct {
        struct msg m;
        struct loop *l;
    } *stop = mem_new(sizeof *stop);
    if (!stop)
        return;
    stop->m.deliver = on_stop;
    stop->l = l;
    if (!loop_post(l, &stop->m))
        mem_free(stop);
}

static void close_ours(uv_handle_t *h) {
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void loop_deinit(struct loop *l) {
    uv_mutex_lock(&l->sync.lock);
    l->sync.closed = true;
    uv_mutex_unlock(&l->sync.lock);
    on_wake(&l->wake); /* late messages still reach their owners, who free them */
    flush_all(l);
    close_ours((uv_handle_t *)&l->wake);
    close_ours((uv_handle_t *)&l->before_poll);
    close_ours((uv_handle_t *)&l->after_poll);
    close_ours((uv_handle_t *)&l->tick);
    while (uv_run(&l->uv, UV_RUN_NOWAIT))
        ;
    uv_loop_close(&l->uv);
    uv_mutex_destroy(&l->sync.lock);
    arena_cache_deinit(&l->arenas);
    mem_free(l->scratch);
    l->scratch = NULL;
}

void loop_flush_now(struct loop *l) {
    flush_all(l);
}

bool loop_post(struct loop *l, struct msg *m) {
    uv_mutex_lock(&l->sync.lock);
    bool open = !l->sync.closed;
    if (open) {
        list_push_back(&l->sync.inbox, &m->queued);
        uv_async_send(&l->wake);
    }
    uv_mutex_unlock(&l->sync.lock);
    return open;
}

uint64_t loop_now_us(struct loop *l) {
    if (l->now_us == 0)
        l->now_us = clock_mono_us();
    return l->now_us;
}

static void on_tick(uv_timer_t *h);

static void arm(struct loop *l, uint64_t due_ms) {
    uint64_t now = loop_now_ms(l), after = due_ms > now ? due_ms - now : 0;
    if (uv_timer_start(&l->tick, on_tick, after + 1, 0) == 0)
        l->tick_due_ms = due_ms;
}

static void arm_nearest(struct loop *l) {
    uint64_t slot = l->wheel_at_ms / TIMER_SLOT_MS;
    for (unsigned i = 0; i < TIMER_SLOTS; i++) {
        if (!list_empty(&l->wheel[(slot + i) % TIMER_SLOTS])) {
            arm(l, (slot + i + 1) * TIMER_SLOT_MS);
            return;
        }
    }
}

static void on_tick(uv_timer_t *h) {
    struct loop *l = h->data;
    l->now_us = 0;
    uint64_t now = loop_now_ms(l);
    struct list due = LIST_INIT(due);
    unsigned turns = 0;
    l->tick_due_ms = 0;
    /* Slots that have wholly passed; entries of a later round of the wheel stay. */
    for (; l->wheel_at_ms + TIMER_SLOT_MS <= now && turns < TIMER_SLOTS; turns++) {
        struct list *slot = &l->wheel[l->wheel_at_ms / TIMER_SLOT_MS % TIMER_SLOTS];
        LIST_FOR_SAFE(it, slot) {
            if (CONTAINER(it, struct timer, slot)->due_ms <= now) {
                list_drop(it);
                list_push_back(&due, it);
            }
        }
        l->wheel_at_ms = (l->wheel_at_ms / TIMER_SLOT_MS + 1) * TIMER_SLOT_MS;
    }
    if (turns == TIMER_SLOTS)
        l->wheel_at_ms = now / TIMER_SLOT_MS * TIMER_SLOT_MS;
    for (struct list *it; (it = list_pop(&due));) { /* a callback may stop a timer that is still in due: it drops out */
        struct timer *t = CONTAINER(it, struct timer, slot);
        t->due_ms = 0;
        l->n_timers--;
        t->on_time(t->arg);
    }
    if (l->n_timers) /* also when a callback armed it: that one may not be the nearest */
        arm_nearest(l);
}

void timer_set(struct loop *l, struct timer *t, uint64_t after_ms, void (*on_time)(void *arg), void *arg) {
    uint64_t now = loop_now_ms(l);
    if (l->n_timers == 0 || (l->n_timers == 1 && t->due_ms)) { /* an empty wheel may jump to the present */
        uint64_t present = now / TIMER_SLOT_MS * TIMER_SLOT_MS;
        l->wheel_at_ms = present > l->wheel_at_ms ? present : l->wheel_at_ms;
    }
    if (t->due_ms)
        list_drop(&t->slot);
    else
        l->n_timers++;
    t->due_ms = now + after_ms;
    t->on_time = on_time;
    t->arg = arg;
    uint64_t due = t->due_ms > l->wheel_at_ms ? t->due_ms : l->wheel_at_ms;
    list_init(&t->slot);
    list_push_back(&l->wheel[due / TIMER_SLOT_MS % TIMER_SLOTS], &t->slot);
    uint64_t fires = (due / TIMER_SLOT_MS + 1) * TIMER_SLOT_MS;
    if (!l->tick_due_ms || fires < l->tick_due_ms)
        arm(l, fires);
}

void timer_stop(struct loop *l, struct timer *t) {
    if (!t->due_ms)
        return;
    list_drop(&t->slot);
    t->due_ms = 0;
    l->n_timers--;
}
