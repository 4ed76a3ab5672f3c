/* fleet/breaker.c - closed -> open -> trial -> closed, or back to open for twice as long.
 *
 * Failures count, not durations: a black hole that fails at once looks idle and fast to the scheduler, and only this stops
 * the flood into it. In a trial one request at a time goes out (the permit is the scheduler's); its outcome shows as a
 * difference of the counters. Outcomes of requests that were under way when the breaker opened count as well: they are
 * just as true. */
#include "fleet/breaker.h"

static void forget_window(struct breaker *b) {
    memset(b->window, 0, sizeof b->window);
}

static bool go(struct breaker *b, enum breaker_word to) {
    b->word = to;
    b->n_good = 0;
    forget_window(b);
    return true;
}

static bool open_up(struct breaker *b, uint64_t now_ms, uint32_t jitter) {
    uint32_t ms = b->open_ms ? b->open_ms * 2 : BREAKER_OPEN_MS;
    b->open_ms = ms > BREAKER_OPEN_MAX_MS ? BREAKER_OPEN_MAX_MS : ms;
    b->until_ms = now_ms + b->open_ms + jitter % (b->open_ms / 5 + 1); /* up to a fifth longer: no stampede */
    return go(b, BREAKER_OPEN);
}

static void count(struct breaker *b, uint64_t ok, uint64_t failed, uint64_t now_ms) {
    uint64_t slot = now_ms / (BREAKER_WINDOW_MS / BREAKER_SLOTS) + 1; /* 0 is an empty slot */
    size_t i = slot % BREAKER_SLOTS;
    if (b->window[i].slot != slot) {
        b->window[i].slot = slot;
        b->window[i].ok = b->window[i].failed = 0;
    }
    b->window[i].ok += ok;
    b->window[i].failed += failed;
}

static bool window_is_bad(const struct breaker *b, uint64_t now_ms) {
    uint64_t slot = now_ms / (BREAKER_WINDOW_MS / BREAKER_SLOTS) + 1, ok = 0, failed = 0;
    for (size_t i = 0; i < BREAKER_SLOTS; i++) {
        if (b->window[i].slot + BREAKER_SLOTS <= slot)
            continue;
        ok += b->window[i].ok;
        failed += b->window[i].failed;
    }
    return ok + failed >= BREAKER_OUTCOMES && failed * 100 >= (ok + failed) * BREAKER_PERCENT;
}

bool breaker_tick(struct breaker *b, struct breaker_counts now, uint64_t now_ms, uint32_t jitter) {
    uint64_t ok = now.n_ok - b->seen_ok, failed = now.n_failed - b->seen_failed;
    b->seen_ok = now.n_ok;
    b->seen_failed = now.n_failed;
    switch (b->word) {
    case BREAKER_CLOSED:
        if (ok || failed)
            count(b, ok, failed, now_ms);
        if (failed && (now.failed_in_row >= BREAKER_ROW || window_is_bad(b, now_ms)))
            return open_up(b, now_ms, jitter);
        if (ok && !failed && b->open_ms && now_ms - b->until_ms > BREAKER_OPEN_MAX_MS)
            b->open_ms = 0; /* a minute of health: the next opening is a first one again */
        return false;
    case BREAKER_OPEN:
        return now_ms >= b->until_ms && go(b, BREAKER_TRIAL);
    case BREAKER_TRIAL:
        if (failed)
            return open_up(b, now_ms, jitter);
        b->n_good += ok > BREAKER_TRIALS ? BREAKER_TRIALS : (unsigned)ok;
        if (b->n_good < BREAKER_TRIALS)
            return false;
        b->until_ms = now_ms;
        return go(b, BREAKER_CLOSED);
    }
    return false;
}

void breaker_reset(struct breaker *b, struct breaker_counts now) {
    *b = (struct breaker){ .seen_ok = now.n_ok, .seen_failed = now.n_failed };
}
