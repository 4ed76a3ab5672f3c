/* Lines as schedule_next sees them: whose turn it is, who is woken, and that over threads nobody overtakes or is forgotten. */
#include "fleet/fleet.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fleet/line.h"

/* Places a and b with the model m, and room for one each. */
static struct house {
    struct fleet_endpoint endpoints[2];
    struct fleet_model model;
    struct fleet_target targets[2];
    const struct fleet_target *list[2];
    struct fleet_slug both, only_a;
} h;

static int setup(void **state) {
    (void)state;
    h = (struct house){ .model = { .id = SV("m"), .loaded = FLEET_LOADED_YES } };
    for (unsigned i = 0; i < 2; i++) {
        h.endpoints[i] = (struct fleet_endpoint){ .name = i ? SV("b") : SV("a"), .state = FLEET_UP, .speaks = LLM_SPEAKS_CHAT, .weight = 100,
                                                  .max_concurrent = 1, .cell = cell_new() };
        h.targets[i] = (struct fleet_target){ &h.endpoints[i], &h.model, cell_new(), i };
        h.list[i] = &h.targets[i];
    }
    h.both = (struct fleet_slug){ .name = SV("m"), .targets = h.list, .n_targets = 2 };
    h.only_a = (struct fleet_slug){ .name = SV("m"), .targets = h.list, .n_targets = 1 };
    return 0;
}

static int teardown(void **state) {
    bool clean = true;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct cell *c = h.endpoints[i].cell;
        clean = clean && c->in_flight == 0 && c->first == NULL && c->refs == 1 && cell_queued(c) == 0;
        cell_unref(c);
        cell_unref(h.targets[i].cell);
    }
    return clean ? 0 : -1;
}

struct client {
    struct waker waker;
    struct ticket ticket;
    struct schedule s;
    struct schedule_want want;
    unsigned n_woken;
};

static void on_wake(struct waker *w) {
    CONTAINER(w, struct client, waker)->n_woken++;
}

static void client_init(struct client *c, const struct fleet_slug *slug, uint64_t who, int32_t priority) {
    *c = (struct client){ .waker = { on_wake }, .s = { .slug = slug } };
    ticket_init(&c->ticket, who, priority, &c->waker);
    c->want = (struct schedule_want){ .speaks = LLM_SPEAKS_CHAT, .ticket = &c->ticket, .now_us = 1000000 };
}

static bool try(struct client *c) {
    return schedule_next(&c->s, &c->want);
}

/* It came and found no room. */
static void wait_for(struct client *c, const struct fleet_slug *slug, uint64_t who) {
    client_init(c, slug, who, 0);
    assert_false(try(c));
    assert_false(ticket_wait(&c->ticket, &c->s));
}

static void leave(struct client *c, uint64_t now_us) {
    schedule_release(&c->s, now_us);
}

static void nobody_overtakes_those_who_wait(void **state) {
    struct client in, first, second, late;
    (void)state;
    client_init(&in, &h.only_a, 1, 0);
    assert_true(try(&in));
    wait_for(&first, &h.only_a, 1);
    wait_for(&second, &h.only_a, 2);
    leave(&in, 5);
    assert_int_equal(first.n_woken, 1);
    assert_int_equal(second.n_woken, 0);
    client_init(&late, &h.only_a, 3, 0);
    assert_false(try(&late)); /* there is room, but not for it */
    assert_int_equal(late.s.verdicts[0], SCHEDULE_BUSY);
    assert_false(ticket_wait(&late.ticket, &late.s));
    assert_false(try(&second));
    assert_true(try(&first));
    leave(&first, 6);
    assert_int_equal(second.n_woken, 1);
    assert_true(try(&second));
    leave(&second, 7);
    assert_int_equal(late.n_woken, 1);
    assert_true(try(&late));
    leave(&late, 8);
}

static void a_newcomer_whose_turn_comes_first_goes_first(void **state) {
    struct client in, more[3], late;
    (void)state;
    client_init(&in, &h.only_a, 1, 0);
    assert_true(try(&in));
    for (unsigned i = 0; i < 3; i++)
        wait_for(&more[i], &h.only_a, 1);
    leave(&in, 5);
    assert_true(try(&more[0]));
    leave(&more[0], 6);
    client_init(&late, &h.only_a, 2, 0);
    assert_false(try(&late));
    assert_true(ticket_wait(&late.ticket, &late.s)); /* in front of the other's second one, and there is room */
    assert_false(try(&more[1]));
    assert_true(try(&late));
    leave(&late, 7);
    for (unsigned i = 1; i < 3; i++) {
        assert_true(try(&more[i]));
        leave(&more[i], 8);
    }
}

static void one_that_leaves_passes_its_turn_on(void **state) {
    struct client in, first, second;
    (void)state;
    client_init(&in, &h.only_a, 1, 0);
    assert_true(try(&in));
    wait_for(&first, &h.only_a, 2);
    wait_for(&second, &h.only_a, 3);
    leave(&in, 5);
    ticket_leave(&first.ticket);
    assert_int_equal(second.n_woken, 1);
    assert_true(try(&second));
    leave(&second, 6);
    ticket_leave(&first.ticket); /* twice is harmless */
}

static void more_room_wakes_the_next_one(void **state) {
    struct client in, first, second;
    (void)state;
    client_init(&in, &h.only_a, 1, 0);
    assert_true(try(&in));
    wait_for(&first, &h.only_a, 2);
    wait_for(&second, &h.only_a, 3);
    h.endpoints[0].max_concurrent = 3; /* as a snapshot would say */
    assert_true(try(&first));
    assert_int_equal(second.n_woken, 1);
    assert_true(try(&second));
    leave(&in, 5), leave(&first, 5), leave(&second, 5);
}

static void one_that_may_go_to_two_places_takes_the_first_to_have_room(void **state) {
    struct client in[2], here, either, next;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        client_init(&in[i], &h.both, 1, 0);
        assert_true(try(&in[i]));
    }
    wait_for(&here, &h.only_a, 2);
    wait_for(&either, &h.both, 3);
    wait_for(&next, &h.both, 4);
    assert_int_equal(cell_queued(h.endpoints[0].cell), 3);
    assert_int_equal(cell_queued(h.endpoints[1].cell), 2);
    unsigned place;
    uint64_t ms;
    ticket_tell(&either.ticket, &place, &ms);
    assert_int_equal(place, 1); /* at b */
    unsigned b = in[0].s.taken == &h.targets[1] ? 0 : 1;
    leave(&in[b], 5);
    assert_int_equal(either.n_woken, 1);
    assert_true(try(&either));
    assert_ptr_equal(either.s.taken, &h.targets[1]);
    assert_int_equal(cell_queued(h.endpoints[0].cell), 2); /* it waits nowhere any more */
    assert_int_equal(cell_queued(h.endpoints[1].cell), 1);
    leave(&in[!b], 6);
    assert_false(try(&next));
    assert_true(try(&here));
    leave(&either, 7);
    assert_true(try(&next));
    leave(&here, 8), leave(&next, 8);
}

static void seats_follow_the_verdicts(void **state) {
    struct client in[2], one;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        client_init(&in[i], &h.both, 1, 0);
        assert_true(try(&in[i]));
    }
    wait_for(&one, &h.both, 2);
    h.endpoints[0].state = FLEET_DOWN;
    assert_false(try(&one));
    assert_false(ticket_wait(&one.ticket, &one.s));
    assert_int_equal(cell_queued(h.endpoints[0].cell), 0);
    assert_int_equal(cell_queued(h.endpoints[1].cell), 1);
    h.endpoints[0].state = FLEET_LOADING;
    assert_false(try(&one));
    assert_false(ticket_wait(&one.ticket, &one.s));
    assert_int_equal(cell_queued(h.endpoints[0].cell), 1);
    h.endpoints[0].state = FLEET_UP;
    ticket_leave(&one.ticket);
    leave(&in[0], 5), leave(&in[1], 5);
}

static void a_place_that_failed_a_moment_ago_has_its_order_too(void **state) {
    struct client in, first, late;
    (void)state;
    client_init(&in, &h.only_a, 1, 0);
    assert_true(try(&in));
    wait_for(&first, &h.only_a, 2);
    cell_outcome(h.endpoints[0].cell, OUTCOME_FAILED, 1000000);
    leave(&in, 5);
    client_init(&late, &h.only_a, 3, 0);
    assert_false(try(&late));
    assert_true(try(&first)); /* as a last resort */
    leave(&first, 6);
}

static void the_wait_is_told_once_the_pace_is_known(void **state) {
    struct client c[6];
    unsigned place;
    uint64_t ms;
    (void)state;
    client_init(&c[0], &h.only_a, 1, 0);
    assert_true(try(&c[0]));
    for (unsigned i = 1; i < 6; i++)
        wait_for(&c[i], &h.only_a, 1);
    leave(&c[0], 1000000);
    assert_true(try(&c[1]));
    ticket_tell(&c[5].ticket, &place, &ms);
    assert_int_equal(place, 4);
    assert_int_equal(ms, 0);
    leave(&c[1], 3000000);
    assert_true(try(&c[2]));
    ticket_tell(&c[5].ticket, &place, &ms);
    assert_int_equal(place, 3);
    assert_int_equal(ms, 3 * 2000);
    assert_int_equal(c[2].s.verdicts[0], SCHEDULE_TAKEN);
    assert_int_equal(schedule_expect_ms(&c[5].s), 4 * 2000);
    for (unsigned i = 3; i < 6; i++)
        ticket_leave(&c[i].ticket);
    leave(&c[2], 4000000); /* nobody waits: what comes after says nothing about the pace */
    client_init(&c[0], &h.only_a, 1, 0);
    assert_true(try(&c[0]));
    wait_for(&c[1], &h.only_a, 1);
    leave(&c[0], 900000000);
    ticket_tell(&c[1].ticket, &place, &ms);
    assert_int_equal(place, 1);
    assert_int_equal(ms, 2000);
    ticket_leave(&c[1].ticket);
}

static void a_share_doubles_with_every_25(void **state) {
    static const struct {
        int32_t priority;
        uint32_t cost;
    } cases[] = { { 0, LINE_COST }, { 25, LINE_COST / 2 }, { 100, LINE_COST / 16 }, { -25, LINE_COST * 2 }, { -100, LINE_COST * 16 },
                  { 5000, LINE_COST / 16 }, { -5000, LINE_COST * 16 } };
    struct ticket t;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ticket_init(&t, 1, cases[i].priority, NULL);
        assert_int_equal(t.cost, cases[i].cost);
    }
}

static void without_memory_a_seat_is_taken_later(void **state) {
    struct client in, one;
    (void)state;
    client_init(&in, &h.only_a, 1, 0);
    assert_true(try(&in));
    client_init(&one, &h.only_a, 2, 0);
    assert_false(try(&one));
    static const long fails[] = { 1, 2, 2 }; /* the line; the seat, behind the line, which stays; the share behind the seat */
    for (size_t i = 0; i < sizeof fails / sizeof fails[0]; i++) {
        mem_fail_at(fails[i], 1);
        assert_false(ticket_wait(&one.ticket, &one.s));
        assert_true(mem_fail_hit());
        mem_fail_at(0, 0);
        assert_int_equal(cell_queued(h.endpoints[0].cell), 0);
    }
    assert_false(ticket_wait(&one.ticket, &one.s));
    assert_int_equal(cell_queued(h.endpoints[0].cell), 1);
    leave(&in, 5);
    assert_true(try(&one));
    leave(&one, 6);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

/* Each thread is a worker that sends requests and waits, as long as it takes, for its waker alone: one wake-up too few and the test
 * hangs. Some leave before their turn. */
enum { THREADS = 4, ROUNDS = 3000, AT_ONCE = 3, PATIENCE_S = 60 };

struct worker {
    struct waker waker;
    pthread_mutex_t lock;
    pthread_cond_t rung;
    bool rings;
    unsigned id;
    unsigned n_served;
};

static _Atomic unsigned inside, worst;

static void on_ring(struct waker *w) {
    struct worker *me = CONTAINER(w, struct worker, waker);
    pthread_mutex_lock(&me->lock);
    me->rings = true;
    pthread_cond_signal(&me->rung);
    pthread_mutex_unlock(&me->lock);
}

static void sleep_until_rung(struct worker *me) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&me->lock);
    while (!me->rings)
        if (pthread_cond_timedwait(&me->rung, &me->lock, &end) != 0) {
            print_error("worker %u was forgotten\n", me->id);
            abort();
        }
    me->rings = false;
    pthread_mutex_unlock(&me->lock);
}

static void serve(struct client *c, struct worker *me) {
    unsigned now = atomic_fetch_add(&inside, 1) + 1, was = atomic_load(&worst);
    while (now > was && !atomic_compare_exchange_weak(&worst, &was, now))
        ;
    me->n_served++;
    atomic_fetch_sub(&inside, 1);
    schedule_release(&c->s, 1);
}

static void *work(void *arg) {
    struct worker *me = arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct client c[AT_ONCE];
        unsigned left = AT_ONCE;
        bool again = false;
        for (unsigned i = 0; i < AT_ONCE; i++) {
            client_init(&c[i], round % 2 ? &h.both : &h.only_a, me->id + i % 2, 0);
            c[i].ticket.waker = &me->waker;
            c[i].n_woken = 0;
        }
        while (left) {
            for (unsigned i = 0; i < AT_ONCE; i++) {
                if (c[i].n_woken == UINT32_MAX) /* done */
                    continue;
                if (try(&c[i])) {
                    serve(&c[i], me);
                } else if (again && (round + i) % 7 == 0) {
                    ticket_leave(&c[i].ticket);
                } else {
                    while (ticket_wait(&c[i].ticket, &c[i].s) && try(&c[i])) {
                        serve(&c[i], me);
                        c[i].n_woken = UINT32_MAX;
                        left--;
                        break;
                    }
                    continue;
                }
                c[i].n_woken = UINT32_MAX;
                left--;
            }
            again = true;
            if (left)
                sleep_until_rung(me);
        }
    }
    return NULL;
}

static void no_thread_is_forgotten(void **state) {
    struct worker w[THREADS];
    pthread_t t[THREADS];
    unsigned n = 0;
    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        w[i] = (struct worker){ .waker = { on_ring }, .id = i };
        pthread_mutex_init(&w[i].lock, NULL);
        pthread_cond_init(&w[i].rung, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        n += w[i].n_served;
        pthread_mutex_destroy(&w[i].lock);
        pthread_cond_destroy(&w[i].rung);
    }
    assert_in_range(worst, 1, 2);
    assert_in_range(n, THREADS * ROUNDS, THREADS * ROUNDS * AT_ONCE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nobody_overtakes_those_who_wait),
        TEST(a_newcomer_whose_turn_comes_first_goes_first),
        TEST(one_that_leaves_passes_its_turn_on),
        TEST(more_room_wakes_the_next_one),
        TEST(one_that_may_go_to_two_places_takes_the_first_to_have_room),
        TEST(seats_follow_the_verdicts),
        TEST(a_place_that_failed_a_moment_ago_has_its_order_too),
        TEST(the_wait_is_told_once_the_pace_is_known),
        TEST(a_share_doubles_with_every_25),
        TEST(without_memory_a_seat_is_taken_later),
        TEST(no_thread_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
