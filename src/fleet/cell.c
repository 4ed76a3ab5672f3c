#include "base/mem.h"
#include "fleet/fleet.h"
#include "fleet/queue.h"

enum {
    AVOID_US = 1000000,   /* a worker may keep traffic off a failing place this long without the control loop's verdict */
    SPEED_TOKENS_MIN = 8, /* shorter outputs say more about the network than about the model */
    SPEED_WEIGHT = 8,     /* the newest measurement counts 1/8 */
};

static const char *const state_names[] = { "unknown", "up", "degraded", "loading", "down" };

const char *fleet_state_name(enum fleet_state s) {
    return state_names[s];
}

struct cell *cell_new(void) {
    struct cell *c = mem_new(sizeof *c);
    if (c)
        atomic_init(&c->refs, 1);
    return c;
}

struct cell *cell_ref(struct cell *c) {
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

struct cell *cell_unref(struct cell *c) {
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        queue__free(atomic_load_explicit(&c->queue, memory_order_relaxed));
        mem_free(c);
    }
    return NULL;
}

bool cell_wait(struct cell *c, uint32_t max) {
    uint32_t now = atomic_load_explicit(&c->waiting, memory_order_relaxed);
    do {
        if (now >= max)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->waiting, &now, now + 1, memory_order_relaxed, memory_order_relaxed));
    cell_ref(c);
    return true;
}

struct cell *cell_unwait(struct cell *c) {
    if (c)
        atomic_fetch_sub_explicit(&c->waiting, 1, memory_order_relaxed);
    return cell_unref(c);
}

void cell_outcome(struct cell *c, enum outcome o, uint64_t now_us) {
    if (o == OUTCOME_OK) {
        atomic_fetch_add_explicit(&c->n_ok, 1, memory_order_relaxed);
        if (atomic_load_explicit(&c->failed_in_row, memory_order_relaxed))
            atomic_store_explicit(&c->failed_in_row, 0, memory_order_relaxed);
    } else if (o == OUTCOME_FAILED) {
        atomic_fetch_add_explicit(&c->n_failed, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&c->failed_in_row, 1, memory_order_relaxed);
        atomic_store_explicit(&c->avoid_until_us, now_us + AVOID_US, memory_order_relaxed);
    }
}

void target_failed(const struct fleet_target *t, uint64_t now_us) {
    if (t->endpoint->is_many)
        cell_outcome(t->endpoint->cell, OUTCOME_OK, now_us); /* it is there, after all */
    cell_outcome(t->endpoint->is_many ? t->cell : t->endpoint->cell, OUTCOME_FAILED, now_us);
}

void target_rests(const struct fleet_target *t, uint64_t retry_us, uint64_t now_us) {
    struct cell *c = t->endpoint->is_many ? t->cell : t->endpoint->cell;
    atomic_store_explicit(&c->retry_after_us, now_us + (retry_us ? retry_us : 1000000u), memory_order_relaxed);
}

static void blend(_Atomic uint32_t *mean, uint64_t sample) {
    uint32_t was = atomic_load_explicit(mean, memory_order_relaxed);
    uint64_t next = was ? ((uint64_t)was * (SPEED_WEIGHT - 1) + sample) / SPEED_WEIGHT : sample;
    /* Two workers at once may lose one sample: harmless for a mean. */
    atomic_store_explicit(mean, next > UINT32_MAX ? UINT32_MAX : next ? (uint32_t)next : 1, memory_order_relaxed);
}

void cell_speed(struct cell *c, uint64_t first_us, uint64_t output_us, int64_t tokens) {
    if (tokens < SPEED_TOKENS_MIN)
        return;
    blend(&c->us_to_first, first_us);
    blend(&c->us_per_token, output_us / (uint64_t)(tokens - 1));
}
