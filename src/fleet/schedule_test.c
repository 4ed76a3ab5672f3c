#include "fleet/fleet.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PLACES = 4 };

/* Places a, b, c, d, each with the model "m". */
struct bench {
    struct fleet_endpoint endpoints[PLACES];
    struct fleet_model models[PLACES];
    struct fleet_target targets[PLACES];
    const struct fleet_target *list[PLACES];
    struct fleet_slug slug;
};

static void bench_init(struct bench *b, size_t n) {
    static const char *const names[] = { "a", "b", "c", "d" };
    *b = (struct bench){ .slug = { .name = SV("m"), .targets = b->list, .n_targets = n } };
    for (size_t i = 0; i < PLACES; i++) {
        b->endpoints[i] = (struct fleet_endpoint){ .name = sv_of(names[i]), .state = FLEET_UP, .speaks = LLM_SPEAKS_CHAT,
                                                   .weight = 100, .local = true, .cell = cell_new() };
        b->models[i] = (struct fleet_model){ .id = SV("m"), .loaded = FLEET_LOADED_YES };
        b->targets[i] = (struct fleet_target){ &b->endpoints[i], &b->models[i], cell_new(), 0x9e3779b97f4a7c15u * (i + 1) };
        b->list[i] = &b->targets[i];
    }
}

static void bench_deinit(struct bench *b) {
    for (size_t i = 0; i < PLACES; i++) {
        assert_int_equal(b->endpoints[i].cell->in_flight, 0);
        assert_int_equal(b->targets[i].cell->in_flight, 0);
        assert_int_equal(b->endpoints[i].cell->trial, 0);
        cell_unref(b->endpoints[i].cell);
        cell_unref(b->targets[i].cell);
    }
}

static const struct schedule_want chat = { .speaks = LLM_SPEAKS_CHAT, .now_us = 1000000 };

static size_t chosen(struct bench *b, const struct schedule_want *w) {
    struct schedule s = { .slug = &b->slug };
    if (!schedule_next(&s, w))
        return PLACES;
    size_t i = (size_t)(s.taken - b->targets);
    schedule_release(&s, chat.now_us);
    return i;
}

/* --- verdicts ----------------------------------------------------------------------------------------------------- */

static void each_obstacle_has_its_verdict_and_its_words(void **state) {
    static const struct {
        enum schedule_verdict verdict;
        enum err_code code;
    } cases[] = {
        { SCHEDULE_OTHER_NODE, ERR_NO_MODEL },  { SCHEDULE_NOT_ALLOWED, ERR_DENIED },  { SCHEDULE_DOWN, ERR_UNAVAILABLE },    { SCHEDULE_LOADING, ERR_UNAVAILABLE },
        { SCHEDULE_BREAKER, ERR_UNAVAILABLE },  { SCHEDULE_AVOIDED, ERR_UNAVAILABLE }, { SCHEDULE_BUSY, ERR_UNAVAILABLE },
        { SCHEDULE_DIALECT, ERR_UNSUPPORTED },
    };
    static const struct sv others = { "not-this-*", 10 };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench b;
        struct schedule_want w = chat;
        struct err e;
        bench_init(&b, 1);
        struct fleet_endpoint *p = &b.endpoints[0];
        switch (cases[i].verdict) {
        case SCHEDULE_OTHER_NODE: w.node = SV("elsewhere"); break;
        case SCHEDULE_NOT_ALLOWED: w.only = &others, w.n_only = 1; break;
        case SCHEDULE_DOWN: p->state = FLEET_DOWN; break;
        case SCHEDULE_LOADING: p->state = FLEET_LOADING; break;
        case SCHEDULE_BREAKER: p->cell->breaker = BREAKER_OPEN; break;
        case SCHEDULE_AVOIDED: p->cell->retry_after_us = w.now_us + 1; break;
        case SCHEDULE_BUSY: p->max_concurrent = 1; break;
        case SCHEDULE_DIALECT: w.speaks = LLM_SPEAKS_ANTHROPIC; break;
        default: break;
        }
        struct schedule other = { .slug = &b.slug }, s = { .slug = &b.slug };
        if (cases[i].verdict == SCHEDULE_BUSY)
            assert_true(schedule_next(&other, &w));
        if (schedule_next(&s, &w) || s.verdicts[0] != cases[i].verdict)
            fail_msg("%s, expected: %s", schedule_verdict_text(s.verdicts[0]), schedule_verdict_text(cases[i].verdict));
        schedule_fault(&s, &w, &e);
        assert_int_equal(e.code, cases[i].code);
        assert_true(strlen(schedule_verdict_text(cases[i].verdict)) > 0);
        schedule_release(&other, chat.now_us);
        schedule_release(&s, chat.now_us); /* nothing taken: harmless */
        bench_deinit(&b);
    }
}

/* Estimates and self-descriptions err: what stands in the way for certain is said first, and waited for. */
static void a_doubtful_target_is_a_last_resort_and_its_other_obstacles_come_first(void **state) {
    for (int context = 0; context < 2; context++) {
        struct bench b;
        struct schedule_want w = chat;
        bench_init(&b, 1);
        if (context) {
            b.models[0].context = 1000;
            w.tokens = 1151;
        } else {
            b.models[0].can_known = true;
            w.can = LLM_CAN_VISION;
        }
        b.endpoints[0].state = FLEET_LOADING;
        struct schedule s = { .slug = &b.slug };
        assert_false(schedule_next(&s, &w));
        assert_int_equal(s.verdicts[0], SCHEDULE_LOADING);
        b.endpoints[0].state = FLEET_UP;
        assert_true(schedule_next(&s, &w));
        schedule_release(&s, chat.now_us);
        bench_deinit(&b);
    }
    (void)state;
}

static void a_name_without_targets_is_unavailable(void **state) {
    struct bench b;
    struct err e;
    bench_init(&b, 0);
    struct schedule s = { .slug = &b.slug };
    assert_false(schedule_next(&s, &chat));
    schedule_fault(&s, &chat, &e);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    bench_deinit(&b);
}

static void what_is_unknown_may_be_tried(void **state) {
    struct bench b;
    bench_init(&b, 1);
    struct schedule_want w = chat;
    w.can = LLM_CAN_VISION | LLM_CAN_TOOLS;
    w.tokens = 1000000;
    assert_int_equal(chosen(&b, &w), 0);
    b.models[0].context = 1000;
    w.tokens = 1150; /* estimates err */
    assert_int_equal(chosen(&b, &w), 0);
    b.endpoints[0].deficient = LLM_SPEAKS_CHAT;
    assert_int_equal(chosen(&b, &w), PLACES);
    bench_deinit(&b);
}

/* --- order -------------------------------------------------------------------------------------------------------- */

static void every_candidate_is_tried_once_and_in_order(void **state) {
    struct bench b;
    bench_init(&b, 4);
    b.endpoints[0].local = false;
    b.endpoints[1].priority = -5;
    b.endpoints[2].priority = 5;
    struct schedule s = { .slug = &b.slug };
    size_t order[PLACES], n = 0;
    while (schedule_next(&s, &chat)) {
        order[n++] = (size_t)(s.taken - b.targets);
        schedule_release(&s, chat.now_us);
    }
    assert_int_equal(n, 4);
    assert_int_equal(order[0], 2); /* priority */
    assert_int_equal(order[1], 3); /* local before remote */
    assert_int_equal(order[2], 0);
    assert_int_equal(order[3], 1); /* below the usual priority */
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(s.verdicts[i], SCHEDULE_TRIED);
    bench_deinit(&b);
}

static void the_least_loaded_place_is_chosen(void **state) {
    struct bench b;
    bench_init(&b, 2);
    struct schedule first = { .slug = &b.slug }, second = { .slug = &b.slug };
    assert_true(schedule_next(&first, &chat) && schedule_next(&second, &chat));
    assert_ptr_not_equal(first.taken, second.taken);
    schedule_release(&first, chat.now_us);
    schedule_release(&second, chat.now_us);
    b.targets[0].cell->us_per_token = 40000; /* slow */
    b.targets[1].cell->us_per_token = 10000;
    assert_int_equal(chosen(&b, &chat), 1);
    b.endpoints[0].weight = 1000; /* but the operator insists */
    assert_int_equal(chosen(&b, &chat), 0);
    bench_deinit(&b);
}

static void degraded_and_unloaded_places_come_last(void **state) {
    struct bench b;
    bench_init(&b, 3);
    b.endpoints[0].state = FLEET_DEGRADED;
    b.models[1].loaded = FLEET_LOADED_NO;
    assert_int_equal(chosen(&b, &chat), 2);
    b.endpoints[2].state = FLEET_DOWN;
    assert_int_equal(chosen(&b, &chat), 0);
    b.endpoints[0].state = FLEET_DOWN;
    assert_int_equal(chosen(&b, &chat), 1);
    bench_deinit(&b);
}

static void a_place_that_failed_a_moment_ago_is_better_than_none(void **state) {
    struct bench b;
    bench_init(&b, 2);
    cell_outcome(b.endpoints[0].cell, OUTCOME_FAILED, chat.now_us);
    assert_int_equal(chosen(&b, &chat), 1);
    cell_outcome(b.endpoints[1].cell, OUTCOME_FAILED, chat.now_us);
    assert_true(chosen(&b, &chat) < PLACES);
    b.endpoints[0].cell->retry_after_us = b.endpoints[1].cell->retry_after_us = chat.now_us + 1; /* but not one that asked to rest */
    assert_int_equal(chosen(&b, &chat), PLACES);
    struct schedule_want later = chat;
    later.now_us += 2000000;
    assert_true(chosen(&b, &later) < PLACES);
    bench_deinit(&b);
}

/* Another Drover answers 503 for one of its models: its others are as good as before. */
static void a_place_of_many_is_not_blamed_for_one_model(void **state) {
    struct bench b;
    bench_init(&b, 2);
    struct fleet_target other = b.targets[0];
    other.cell = cell_new();
    assert_non_null(other.cell);
    b.endpoints[0].is_many = true;
    target_failed(&other, chat.now_us);
    target_rests(&other, 60000000, chat.now_us);
    b.endpoints[1].state = FLEET_DOWN;
    assert_int_equal(chosen(&b, &chat), 0);
    target_failed(&b.targets[0], chat.now_us);
    assert_int_equal(chosen(&b, &chat), 0); /* better than none */
    target_rests(&b.targets[0], 60000000, chat.now_us);
    assert_int_equal(chosen(&b, &chat), PLACES);
    assert_int_equal(b.endpoints[0].cell->n_failed, 0);
    b.endpoints[0].is_many = false; /* of one runtime the place is meant */
    target_failed(&other, chat.now_us);
    assert_int_equal(b.endpoints[0].cell->n_failed, 1);
    cell_unref(other.cell);
    bench_deinit(&b);
}

static void what_is_said_to_be_impossible_is_tried_last(void **state) {
    struct bench b;
    bench_init(&b, 3);
    struct schedule_want w = chat;
    w.can = LLM_CAN_TOOLS;
    w.tokens = 5000;
    b.models[0].can_known = true; /* cannot */
    b.models[1].context = 1000;   /* too short */
    assert_int_equal(chosen(&b, &w), 2);
    cell_outcome(b.endpoints[2].cell, OUTCOME_FAILED, w.now_us); /* a capable place that stumbled goes before them */
    assert_int_equal(chosen(&b, &w), 2);
    b.endpoints[2].state = FLEET_DOWN;
    assert_true(chosen(&b, &w) < 2);
    b.endpoints[0].cell->retry_after_us = b.endpoints[1].cell->retry_after_us = w.now_us + 1;
    assert_int_equal(chosen(&b, &w), PLACES);
    bench_deinit(&b);
}

static void a_named_node_is_the_only_one(void **state) {
    struct bench b;
    bench_init(&b, 4);
    struct schedule_want w = chat;
    w.node = SV("c");
    for (int i = 0; i < 5; i++)
        assert_int_equal(chosen(&b, &w), 2);
    b.endpoints[2].state = FLEET_DOWN;
    assert_int_equal(chosen(&b, &w), PLACES);
    bench_deinit(&b);
}

/* --- affinity ----------------------------------------------------------------------------------------------------- */

static void a_conversation_stays_and_conversations_spread(void **state) {
    struct bench b;
    size_t home[200], n[PLACES] = { 0 };
    bench_init(&b, 4);
    for (uint64_t k = 0; k < 200; k++) {
        struct schedule_want w = chat;
        w.affinity = (k + 1) * 0x100000001b3u;
        home[k] = chosen(&b, &w);
        assert_int_equal(chosen(&b, &w), home[k]);
        n[home[k]]++;
    }
    for (size_t i = 0; i < 4; i++)
        assert_in_range(n[i], 25, 80);
    b.slug.n_targets = 3; /* d goes away: only its conversations move */
    for (uint64_t k = 0; k < 200; k++) {
        struct schedule_want w = chat;
        w.affinity = (k + 1) * 0x100000001b3u;
        size_t now = chosen(&b, &w);
        assert_true(home[k] == 3 ? now < 3 : now == home[k]);
    }
    bench_deinit(&b);
}

static void a_conversation_leaves_a_place_that_is_busier_than_others(void **state) {
    struct bench b;
    bench_init(&b, 2);
    struct schedule_want w = chat;
    w.affinity = 42;
    size_t own = chosen(&b, &w);
    b.endpoints[own].cell->in_flight = 2;
    assert_int_equal(chosen(&b, &w), own);
    b.endpoints[own].cell->in_flight = 4;
    assert_int_equal(chosen(&b, &w), 1 - own);
    b.endpoints[own].cell->in_flight = 0;
    bench_deinit(&b);
}

static void affinity_does_not_outrank_priority(void **state) {
    struct bench b;
    bench_init(&b, 2);
    b.endpoints[1].priority = 1;
    for (uint64_t k = 1; k < 50; k++) {
        struct schedule_want w = chat;
        w.affinity = k;
        assert_int_equal(chosen(&b, &w), 1);
    }
    bench_deinit(&b);
}

/* --- limits and trials ---------------------------------------------------------------------------------------------- */

/* The figure a runtime tells of itself: a preference, never a bound. */
static void a_place_with_a_free_slot_comes_before_a_full_one(void **state) {
    struct bench b;
    struct schedule s[6];
    bench_init(&b, 2);
    b.models[0].slots = 1;
    b.models[1].slots = 2;
    b.endpoints[0].weight = 10000; /* by load it would get everything */
    for (int i = 0; i < 6; i++) {
        s[i] = (struct schedule){ .slug = &b.slug };
        assert_true(schedule_next(&s[i], &chat));
        assert_ptr_equal(s[i].taken, &b.targets[i == 1 || i == 2]); /* full, all of them: by load again */
    }
    for (int i = 0; i < 6; i++)
        schedule_release(&s[i], chat.now_us);

    b.endpoints[1].local = false; /* a free slot elsewhere is better than a place in the queue here ... */
    s[0] = s[1] = (struct schedule){ .slug = &b.slug };
    assert_true(schedule_next(&s[0], &chat) && schedule_next(&s[1], &chat));
    assert_ptr_equal(s[0].taken, &b.targets[0]);
    assert_ptr_equal(s[1].taken, &b.targets[1]);
    schedule_release(&s[1], chat.now_us);
    b.endpoints[0].priority = 1; /* ... but the operator's word is stronger, on the order and on the bound */
    s[1] = (struct schedule){ .slug = &b.slug };
    assert_true(schedule_next(&s[1], &chat));
    assert_ptr_equal(s[1].taken, &b.targets[0]);
    schedule_release(&s[1], chat.now_us);
    b.endpoints[0].priority = 0;
    b.endpoints[0].max_concurrent = 2;
    assert_int_equal(chosen(&b, &chat), 0);
    schedule_release(&s[0], chat.now_us);
    bench_deinit(&b);
}

static void explaining_reserves_nothing(void **state) {
    struct bench b;
    bench_init(&b, 2);
    struct schedule s = { .slug = &b.slug };
    assert_true(schedule_explain(&s, &chat));
    assert_int_equal(s.verdicts[s.taken - b.targets], SCHEDULE_TAKEN);
    bench_deinit(&b); /* sees that nothing is in flight */
}

static void a_trial_takes_the_only_permit(void **state) {
    struct bench b;
    bench_init(&b, 1);
    b.endpoints[0].cell->breaker = BREAKER_TRIAL;
    cell_outcome(b.endpoints[0].cell, OUTCOME_FAILED, chat.now_us); /* the trial is the breaker's word, not the moment's */
    struct schedule first = { .slug = &b.slug }, second = { .slug = &b.slug };
    assert_true(schedule_next(&first, &chat));
    assert_true(first.is_trial);
    assert_false(schedule_next(&second, &chat));
    assert_int_equal(second.verdicts[0], SCHEDULE_BREAKER);
    schedule_release(&first, chat.now_us);
    schedule_release(&first, chat.now_us); /* twice is harmless */
    assert_true(schedule_next(&second, &chat));
    schedule_release(&second, chat.now_us);
    b.endpoints[0].max_concurrent = 1; /* a full place gives the permit back */
    b.endpoints[0].cell->in_flight = 1;
    assert_false(schedule_next(&first, &chat));
    b.endpoints[0].cell->in_flight = 0;
    bench_deinit(&b);
}

struct hammer {
    struct bench *b;
    uint32_t max;
    uint64_t seed;
    _Atomic unsigned *worst, *inside, *n_taken;
};

static void *hammer(void *arg) {
    struct hammer *h = arg;
    uint64_t x = h->seed;
    for (int i = 0; i < 20000; i++) {
        struct schedule s = { .slug = &h->b->slug };
        if (!schedule_next(&s, &chat))
            continue;
        unsigned now = atomic_fetch_add(h->inside, 1) + 1, worst = atomic_load(h->worst);
        while (now > worst && !atomic_compare_exchange_weak(h->worst, &worst, now))
            ;
        x = x * 6364136223846793005u + 1442695040888963407u;
        cell_outcome(s.taken->endpoint->cell, x >> 63 ? OUTCOME_OK : OUTCOME_NEUTRAL, chat.now_us);
        cell_speed(s.taken->cell, x >> 44, x >> 40, 16);
        atomic_fetch_add(h->n_taken, 1);
        atomic_fetch_sub(h->inside, 1);
        schedule_release(&s, chat.now_us);
    }
    return NULL;
}

static unsigned hammer_with(struct bench *b, unsigned *ret_taken) {
    enum { THREADS = 4 };
    _Atomic unsigned worst = 0, inside = 0, n_taken = 0;
    struct hammer h[THREADS];
    pthread_t t[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        h[i] = (struct hammer){ b, 0, i + 1, &worst, &inside, &n_taken };
        assert_int_equal(pthread_create(&t[i], NULL, hammer, &h[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    *ret_taken = n_taken;
    return worst;
}

static void threads_never_pass_the_limit_together(void **state) {
    struct bench b;
    unsigned n;
    bench_init(&b, 1);
    b.endpoints[0].max_concurrent = 2;
    assert_in_range(hammer_with(&b, &n), 1, 2);
    assert_true(n > 0);
    assert_true(b.endpoints[0].cell->n_ok <= n);
    b.endpoints[0].cell->breaker = BREAKER_TRIAL;
    b.endpoints[0].max_concurrent = 0;
    assert_int_equal(hammer_with(&b, &n), 1);
    bench_deinit(&b);
}

/* --- cells -------------------------------------------------------------------------------------------------------- */

static void outcomes_and_speeds_are_counted(void **state) {
    struct cell *c = cell_new();
    for (int i = 0; i < 3; i++)
        cell_outcome(c, OUTCOME_FAILED, 5);
    cell_outcome(c, OUTCOME_NEUTRAL, 5);
    assert_int_equal(c->failed_in_row, 3);
    assert_int_equal(c->avoid_until_us, 1000005);
    cell_outcome(c, OUTCOME_OK, 5);
    assert_int_equal(c->failed_in_row, 0);
    assert_int_equal(c->n_failed, 3);
    assert_int_equal(c->n_ok, 1);
    cell_speed(c, 1000, 1000000, 7); /* too short to tell */
    assert_int_equal(c->us_per_token, 0);
    cell_speed(c, 1000, 1000000, 101);
    assert_int_equal(c->us_per_token, 10000);
    assert_int_equal(c->us_to_first, 1000);
    cell_speed(c, 1000, 2000000, 101);
    assert_in_range(c->us_per_token, 10001, 12000);
    cell_speed(c, UINT64_MAX / 8, 0, 8); /* nonsense stays a number */
    assert_true(c->us_per_token > 0);
    assert_null(cell_unref(c));
    assert_null(cell_unref(NULL));
}

static void *wait_and_leave(void *arg) {
    struct cell *c = arg;
    for (int i = 0; i < 20000; i++)
        if (cell_wait(c, 3)) {
            assert_in_range(atomic_load(&c->waiting), 1, 3);
            cell_unwait(c);
        }
    return NULL;
}

static void waiting_places_are_counted_over_all_threads(void **state) {
    struct cell *c = cell_new();
    pthread_t t[4];
    assert_true(cell_wait(c, 2) && cell_wait(c, 2));
    assert_false(cell_wait(c, 2));
    assert_null(cell_unwait(c));
    assert_true(cell_wait(c, 2));
    cell_unwait(c), cell_unwait(c);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, wait_and_leave, c), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(c->waiting, 0);
    assert_int_equal(c->refs, 1);
    assert_null(cell_unwait(NULL));
    cell_unref(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_obstacle_has_its_verdict_and_its_words),
        cmocka_unit_test(a_doubtful_target_is_a_last_resort_and_its_other_obstacles_come_first),
        cmocka_unit_test(a_name_without_targets_is_unavailable),
        cmocka_unit_test(what_is_unknown_may_be_tried),
        cmocka_unit_test(every_candidate_is_tried_once_and_in_order),
        cmocka_unit_test(the_least_loaded_place_is_chosen),
        cmocka_unit_test(degraded_and_unloaded_places_come_last),
        cmocka_unit_test(a_place_that_failed_a_moment_ago_is_better_than_none),
        cmocka_unit_test(a_place_of_many_is_not_blamed_for_one_model),
        cmocka_unit_test(what_is_said_to_be_impossible_is_tried_last),
        cmocka_unit_test(a_named_node_is_the_only_one),
        cmocka_unit_test(a_conversation_stays_and_conversations_spread),
        cmocka_unit_test(a_conversation_leaves_a_place_that_is_busier_than_others),
        cmocka_unit_test(affinity_does_not_outrank_priority),
        cmocka_unit_test(a_place_with_a_free_slot_comes_before_a_full_one),
        cmocka_unit_test(explaining_reserves_nothing),
        cmocka_unit_test(a_trial_takes_the_only_permit),
        cmocka_unit_test(threads_never_pass_the_limit_together),
        cmocka_unit_test(outcomes_and_speeds_are_counted),
        cmocka_unit_test(waiting_places_are_counted_over_all_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
