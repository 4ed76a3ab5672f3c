/* fleet/schedule.c - where a request goes; between requests for a place that is full, its line decides (queue.c).
 *
 * First the questions with a hard answer: is it the endpoint asked for, does it live, does it speak the dialect, can the
 * model do what is asked, is there room. Among those that remain the order is: higher priority, a free slot before none,
 * local before remote, then the least outstanding work divided by speed and weight. A conversation keeps returning to the
 * place that rendezvous hashing gives it, which holds its prefix in its cache, unless that place has clearly more to do than
 * the best one. */
#include "fleet/queue.h"

enum {
    AFFINITY_SLACK = 2,        /* outstanding requests a conversation's own place may be ahead by before it loses it */
    DEFAULT_US_PER_TOKEN = 20000,
    CONTEXT_SLACK_PERCENT = 115, /* estimates err: beyond this the request is refused here, below the runtime decides */
};

static const char *const verdict_texts[] = {
#define X(id, text) [id] = text,
    SCHEDULE_VERDICTS(X)
#undef X
};

const char *schedule_verdict_text(enum schedule_verdict v) {
    return verdict_texts[v];
}

/* splitmix64's finisher: spreads close inputs over all bits. */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint32_t in_flight(const struct cell *c) {
    return atomic_load_explicit(&((struct cell *)(uintptr_t)c)->in_flight, memory_order_relaxed);
}

static bool is_allowed(const struct schedule_want *w, struct sv endpoint) {
    for (size_t i = 0; i < w->n_only; i++)
        if (sv_glob(w->only[i], endpoint))
            return true;
    return !w->only;
}

/* Either asked to be left alone until later, or failed a moment ago; the target's own word counts where the place stands for many. */
static bool is_later(uint64_t place_us, const struct fleet_target *t, const _Atomic uint64_t *own_us, uint64_t now_us) {
    return place_us > now_us || (t->endpoint->is_many && atomic_load_explicit(own_us, memory_order_relaxed) > now_us);
}

static bool rests(const struct fleet_target *t, uint64_t now_us) {
    return is_later(atomic_load_explicit(&t->endpoint->cell->retry_after_us, memory_order_relaxed), t, &t->cell->retry_after_us, now_us);
}

static bool failed_lately(const struct fleet_target *t, uint64_t now_us) {
    return is_later(atomic_load_explicit(&t->endpoint->cell->avoid_until_us, memory_order_relaxed), t, &t->cell->avoid_until_us, now_us);
}

static enum schedule_verdict judge(const struct fleet_target *t, const struct schedule_want *w) {
    const struct fleet_endpoint *p = t->endpoint;
    struct cell *c = p->cell;
    if (w->node.n && !sv_eq(w->node, p->name))
        return SCHEDULE_OTHER_NODE;
    if (!is_allowed(w, p->name))
        return SCHEDULE_NOT_ALLOWED;
    if (w->speaks && !(p->speaks & ~p->deficient & (w->speaks | w->through)))
        return SCHEDULE_DIALECT;
    if (p->state == FLEET_DOWN || p->state == FLEET_UNKNOWN)
        return SCHEDULE_DOWN;
    if (p->state == FLEET_LOADING)
        return SCHEDULE_LOADING;
    uint32_t word = atomic_load_explicit(&c->breaker, memory_order_acquire);
    if (word == BREAKER_OPEN || (word == BREAKER_TRIAL && atomic_load_explicit(&c->trial, memory_order_relaxed)))
        return SCHEDULE_BREAKER;
    if (rests(t, w->now_us))
        return SCHEDULE_AVOIDED;
    if (p->max_concurrent && (in_flight(c) >= p->max_concurrent || queue__others_first(c, w->ticket)))
        return SCHEDULE_BUSY;
    if (word != BREAKER_TRIAL && failed_lately(t, w->now_us))
        return SCHEDULE_AVOIDED; /* behind the turn: as a last resort it is taken all the same */
    if (t->model->can_known && (w->can & ~t->model->can))
        return SCHEDULE_CANNOT;
    if (t->model->context && w->tokens * 100 > t->model->context * CONTEXT_SLACK_PERCENT)
        return SCHEDULE_CONTEXT;
    return SCHEDULE_SPARE;
}

/* Expected wait, in microseconds of decoding: lower is better. */
static uint64_t load_of(const struct fleet_target *t) {
    uint32_t speed = atomic_load_explicit(&t->cell->us_per_token, memory_order_relaxed);
    uint64_t work = (uint64_t)in_flight(t->endpoint->cell) + 1;
    uint64_t weight = t->endpoint->weight ? t->endpoint->weight : 1;
    uint64_t load = work * (speed ? speed : DEFAULT_US_PER_TOKEN) * 100 / weight;
    if (t->endpoint->state == FLEET_DEGRADED)
        load *= 4;
    if (t->model->loaded == FLEET_LOADED_NO) /* loading it takes seconds: only when the loaded ones drown */
        load *= 8;
    return load;
}

/* The runtime works on as many as it said it can: what comes now would queue there. Only a reason to prefer others: it may be
 * shared, queue for long, and answer small questions without a slot. The bound is max_concurrent. */
static bool is_full(const struct fleet_target *t) {
    return !t->endpoint->max_concurrent && t->model->slots && in_flight(t->cell) >= t->model->slots;
}

/* Groups that come before or after others whatever their load. Lower is better. */
static uint64_t rank_of(const struct fleet_target *t) {
    enum { HIGHEST = 1000 };
    int64_t priority = t->endpoint->priority > HIGHEST ? HIGHEST : t->endpoint->priority;
    return (uint64_t)(HIGHEST - priority) * 4 + (is_full(t) ? 2 : 0) + (t->endpoint->local ? 0 : 1);
}

/* Better than nobody: a place that failed a moment ago, or one whose own words (often incomplete) or our estimate (always
 * rough) say that it cannot. Its answer will be the truth. */
static bool last_resort(const struct fleet_target *t, enum schedule_verdict v, const struct schedule_want *w) {
    if (v == SCHEDULE_CANNOT || v == SCHEDULE_CONTEXT)
        return true; /* judged last: nothing else stands in the way */
    return v == SCHEDULE_AVOIDED && !rests(t, w->now_us);
}

static const struct fleet_target *choose(struct schedule *s, const struct schedule_want *w) {
    const struct fleet_slug *slug = s->slug;
    const struct fleet_target *best = NULL, *own = NULL;
    uint64_t best_rank = UINT64_MAX, best_load = UINT64_MAX, own_hash = 0;
    for (int pass = 0; pass < 3; pass++) { /* the good ones, then those that failed a moment ago, then any last resort */
        for (size_t i = 0; i < slug->n_targets; i++) {
            const struct fleet_target *t = slug->targets[i];
            if (pass == 0)
                s->verdicts[i] = s->tried & (1ull << i) ? SCHEDULE_TRIED : judge(t, w);
            enum schedule_verdict v = s->verdicts[i];
            bool usable = pass == 0 ? v == SCHEDULE_SPARE : (pass == 2 || v == SCHEDULE_AVOIDED) && last_resort(t, v, w);
            if (!usable)
                continue;
            uint64_t rank = rank_of(t), load = load_of(t);
            if (rank < best_rank || (rank == best_rank && load < best_load)) {
                if (rank < best_rank)
                    own = NULL, own_hash = 0;
                best = t;
                best_rank = rank;
                best_load = load;
            }
            if (w->affinity && rank == best_rank) {
                uint64_t h = mix(w->affinity ^ t->id_hash);
                if (!own || h > own_hash) {
                    own = t;
                    own_hash = h;
                }
            }
        }
        if (best)
            break;
    }
    if (own && own != best && rank_of(own) == best_rank &&
        in_flight(own->endpoint->cell) <= in_flight(best->endpoint->cell) + AFFINITY_SLACK && load_of(own) / 4 <= best_load)
        best = own;
    return best;
}

static size_t index_of(const struct schedule *s, const struct fleet_target *t) {
    size_t i = 0;
    while (s->slug->targets[i] != t)
        i++;
    return i;
}

/* Compare-and-add below the limit; takes the trial permit when the breaker asks for one. */
static bool reserve(struct schedule *s, const struct fleet_target *t) {
    struct cell *c = t->endpoint->cell;
    s->is_trial = false;
    if (atomic_load_explicit(&c->breaker, memory_order_acquire) == BREAKER_TRIAL) {
        uint32_t none = 0;
        if (!atomic_compare_exchange_strong(&c->trial, &none, 1))
            return false;
        s->is_trial = true;
    }
    uint32_t now = in_flight(c), max = t->endpoint->max_concurrent ? t->endpoint->max_concurrent : UINT32_MAX;
    do {
        if (now >= max) {
            if (s->is_trial)
                atomic_store(&c->trial, 0);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&c->in_flight, &now, now + 1, memory_order_acq_rel, memory_order_relaxed));
    atomic_fetch_add_explicit(&t->cell->in_flight, 1, memory_order_relaxed);
    return true;
}

bool schedule_next(struct schedule *s, const struct schedule_want *w) {
    for (unsigned race = 0; race < 8; race++) {
        const struct fleet_target *t = choose(s, w);
        if (!t)
            return false;
        size_t i = index_of(s, t);
        if (reserve(s, t)) {
            s->taken = t;
            s->tried |= 1ull << i;
            s->verdicts[i] = SCHEDULE_TAKEN;
            queue__granted(w->ticket, t->endpoint);
            return true;
        }
        s->verdicts[i] = SCHEDULE_BUSY; /* another worker was faster: look again */
    }
    return false;
}

bool schedule_explain(struct schedule *s, const struct schedule_want *w) {
    s->taken = choose(s, w);
    if (s->taken)
        s->verdicts[index_of(s, s->taken)] = SCHEDULE_TAKEN;
    return s->taken != NULL;
}

void schedule_release(struct schedule *s, uint64_t now_us) {
    if (!s->taken)
        return;
    struct cell *c = s->taken->endpoint->cell;
    if (s->is_trial)
        atomic_store_explicit(&c->trial, 0, memory_order_release);
    atomic_fetch_sub_explicit(&s->taken->cell->in_flight, 1, memory_order_relaxed);
    atomic_fetch_sub(&c->in_flight, 1); /* before the look at the line, in the order that all threads see (queue.c) */
    queue__released(c, now_us);
    s->taken = NULL;
    s->is_trial = false;
}

/* Doubts about capability and context are no reason: such targets are a last resort, so they were taken. */
void schedule_fault(const struct schedule *s, const struct schedule_want *w, struct err *e) {
    unsigned counts[SCHEDULE_CONTEXT + 1] = { 0 };
    for (size_t i = 0; i < s->slug->n_targets; i++)
        counts[s->verdicts[i]]++;
    int n = (int)s->slug->name.n;
    const char *name = s->slug->name.p;
    if (s->slug->n_targets == 0)
        err_set(e, ERR_UNAVAILABLE, "no endpoint offers any of the models that \"%.*s\" stands for now (drover endpoints)", n, name);
    else if (s->slug->n_targets == counts[SCHEDULE_NOT_ALLOWED] + counts[SCHEDULE_OTHER_NODE] && counts[SCHEDULE_NOT_ALLOWED])
        err_set(e, ERR_DENIED, "this key may not use an endpoint that serves \"%.*s\"", n, name);
    else if (s->slug->n_targets == counts[SCHEDULE_OTHER_NODE])
        err_set(e, ERR_NO_MODEL, "model \"%.*s\" is not served by \"%.*s\"", n, name, SV_FMT(w->node));
    else if (counts[SCHEDULE_BUSY])
        err_set(e, ERR_UNAVAILABLE, "every endpoint that serves \"%.*s\" is at its concurrency limit; try again shortly", n, name);
    else if (counts[SCHEDULE_LOADING])
        err_set(e, ERR_UNAVAILABLE, "\"%.*s\" is still loading; try again shortly", n, name);
    else if (counts[SCHEDULE_DOWN] + counts[SCHEDULE_BREAKER] + counts[SCHEDULE_AVOIDED])
        err_set(e, ERR_UNAVAILABLE, "no endpoint that serves \"%.*s\" is healthy now (drover explain %.*s tells why)", n, name, n,
                name);
    else if (counts[SCHEDULE_DIALECT])
        err_set(e, ERR_UNSUPPORTED, "no endpoint that serves \"%.*s\" speaks this API or one that it could be translated to", n, name);
    else
        err_set(e, ERR_UNAVAILABLE, "no endpoint can serve \"%.*s\" now", n, name);
}
