#include "fleet/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Seats of principals called by a letter, each with its number among theirs: 'a' comes as a1, a2, ... */
enum { SEATS = 200, TEXT = 1024 };
static struct bench {
    struct line line;
    struct {
        struct seat seat;
        char who;
        unsigned no;
    } all[SEATS];
    unsigned n;
} b;

static int setup(void **state) {
    (void)state;
    memset(&b, 0, sizeof b);
    line_init(&b.line);
    return 0;
}

/* A line that nobody is in any more remembers nobody. */
static int teardown(void **state) {
    (void)state;
    while (line_first(&b.line))
        line_leave(&b.line, line_first(&b.line));
    bool forgot = list_empty(&b.line.flows) && b.line.n == 0 && b.line.n_idle == 0 && b.line.now == 0;
    line_deinit(&b.line);
    return forgot ? 0 : -1;
}

static struct seat *come_at_cost(char who, uint32_t cost) {
    unsigned no = 1;
    assert_true(b.n < SEATS);
    for (unsigned i = 0; i < b.n; i++)
        no += b.all[i].who == who;
    b.all[b.n].who = who;
    b.all[b.n].no = no;
    assert_true(line_enter(&b.line, &b.all[b.n].seat, (uint64_t)who, cost));
    return &b.all[b.n++].seat;
}

static struct seat *come(char who) {
    return come_at_cost(who, LINE_COST);
}

static void come_all(const char *whos) {
    for (; *whos; whos++)
        come(*whos);
}

static char who(const struct seat *s) {
    for (unsigned i = 0; i < b.n; i++)
        if (&b.all[i].seat == s)
            return b.all[i].who;
    return '?';
}

static struct seat *seat(char whose, unsigned no) {
    for (unsigned i = 0; i < b.n; i++)
        if (b.all[i].who == whose && b.all[i].no == no)
            return &b.all[i].seat;
    fail_msg("there is no %c%u", whose, no);
    return NULL;
}

/* Grants n turns; whose they were. */
static const char *served(unsigned n) {
    static char text[TEXT];
    unsigned i = 0;
    for (; i < n && line_first(&b.line); i++) {
        struct seat *s = line_first(&b.line);
        text[i] = who(s);
        line_grant(&b.line, s);
    }
    text[i] = '\0';
    return text;
}

static void alone_one_is_served_as_one_came(void **state) {
    (void)state;
    come_all("aaaa");
    for (unsigned no = 1; no <= 4; no++) {
        assert_ptr_equal(line_first(&b.line), seat('a', no));
        served(1);
    }
    assert_null(line_first(&b.line));
}

static void a_greedy_one_does_not_starve_a_polite_one(void **state) {
    (void)state;
    come_all("gggggggggggggggggggggggggggggggggggggggg");
    come('p');
    assert_string_equal(served(3), "gpg"); /* g came first, then it is p's turn */
    for (int round = 0; round < 20; round++) { /* however late p comes, one of g at most is before it */
        served(1);
        come('p');
        assert_non_null(strchr(served(2), 'p'));
    }
}

static void those_who_send_alike_take_turns(void **state) {
    (void)state;
    come_all("aaaabbbbcccc");
    assert_string_equal(served(12), "abcabcabcabc");
}

static void weights_are_kept(void **state) {
    (void)state;
    for (int i = 0; i < 40; i++)
        come_at_cost('h', LINE_COST / 4); /* four times the share */
    for (int i = 0; i < 40; i++)
        come_at_cost('u', LINE_COST);
    const char *order = served(50);
    unsigned h = 0;
    for (const char *c = order; *c; c++)
        h += *c == 'h';
    assert_int_equal(h, 40);
    assert_int_equal(strspn(order, "h"), 1); /* both at once: the one that came first goes first, then the other one */
    assert_int_equal(order[1], 'u');
    assert_memory_equal(order + 2, "hhhhuhhhhu", 10);
}

static void a_heavy_one_that_comes_singly_pays_all_the_same(void **state) {
    (void)state;
    come_all("nnnnnnnnnnnnnnnnnnnnnnnn");
    come_at_cost('x', 4 * LINE_COST);
    assert_string_equal(served(2), "nx");
    come_at_cost('x', 4 * LINE_COST); /* its next one: it waits until what it has had is made up for */
    assert_string_equal(served(5), "nnnnx");
}

static void the_idle_hoard_no_credit(void **state) {
    (void)state;
    come_all("aaaaaaaaaaaaaaaaaaaabbbbb");
    come('z');
    served(20); /* z was served once and then was silent */
    come_all("zzzz");
    assert_string_equal(served(4), "zaza"); /* not zzzz */
}

static void who_leaves_pays_nothing(void **state) {
    (void)state;
    come_all("aaaaabb");
    line_leave(&b.line, seat('a', 1));
    line_leave(&b.line, seat('a', 3));
    assert_ptr_equal(line_first(&b.line), seat('a', 2)); /* moved up */
    assert_string_equal(served(9), "ababa");
    come_all("aabb");
    for (unsigned no = 6; no <= 7; no++)
        line_leave(&b.line, seat('a', no));
    come_all("a"); /* as if it had never asked */
    assert_string_equal(served(9), "bab");
    assert_int_equal(b.line.n, 0);
}

static void the_last_of_a_principal_may_leave_from_anywhere(void **state) {
    (void)state;
    come_all("abacabad");
    line_leave(&b.line, seat('a', 4));
    line_leave(&b.line, seat('c', 1));
    line_leave(&b.line, seat('b', 1));
    assert_string_equal(served(9), "abdaa"); /* b2 has b1's turn */
}

static void places_are_told(void **state) {
    (void)state;
    come_all("aaab");
    assert_int_equal(line_place(&b.line, seat('a', 1)), 1);
    assert_int_equal(line_place(&b.line, seat('b', 1)), 2);
    assert_int_equal(line_place(&b.line, seat('a', 2)), 3);
    assert_int_equal(line_place(&b.line, seat('a', 3)), 4);
    come('a');
    assert_int_equal(line_place(&b.line, seat('a', 4)), 5);
    come('c');
    assert_int_equal(line_place(&b.line, seat('c', 1)), 3);
    assert_int_equal(line_place(&b.line, seat('a', 4)), 6);
    served(1);
    assert_int_equal(line_place(&b.line, seat('b', 1)), 1);
    line_leave(&b.line, seat('a', 2));
    assert_int_equal(line_place(&b.line, seat('a', 3)), 3);
}

static void the_pace_is_a_mean(void **state) {
    (void)state;
    assert_int_equal(b.line.pace_us, 0);
    line_moved(&b.line, 8000);
    assert_int_equal(b.line.pace_us, 8000);
    line_moved(&b.line, 16000);
    assert_int_equal(b.line.pace_us, 9000);
}

static void only_so_many_are_remembered(void **state) {
    enum { PASSERS = 2 * LINE_IDLE_MAX };
    static struct seat passers[PASSERS];
    (void)state;
    come('s'); /* keeps the line from being empty */
    for (unsigned i = 0; i < PASSERS; i++) {
        assert_true(line_enter(&b.line, &passers[i], 1000 + i, 16 * LINE_COST));
        line_grant(&b.line, &passers[i]);
        assert_true(b.line.n_idle <= LINE_IDLE_MAX);
    }
    assert_int_equal(b.line.n_idle, LINE_IDLE_MAX);
}

static void without_memory_there_is_no_seat(void **state) {
    struct seat s = { 0 };
    (void)state;
    come('a');
    mem_fail_at(1, 0);
    assert_false(line_enter(&b.line, &s, 'b', LINE_COST));
    mem_fail_at(0, 0);
    assert_null(s.flow);
    assert_int_equal(b.line.n, 1);
}

/* Whatever comes, goes and is granted: the order of tags holds, places are 1 to n, and nobody's share runs ahead of another's
 * that waited all the time by more than one request of each. */
static void any_history_is_fair(void **state) {
    static struct seat seats[4][64];
    unsigned granted[4] = { 0 };
    uint64_t x = 88172645463325252u;
    (void)state;
    for (unsigned who = 0; who < 4; who++)
        for (unsigned i = 0; i < 64; i++)
            assert_true(line_enter(&b.line, &seats[who][i], 1 + who, LINE_COST));
    for (int step = 0; step < 20000; step++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        unsigned who = x % 4, i = x / 4 % 64;
        struct seat *s = x % 3 ? line_first(&b.line) : &seats[who][i];
        unsigned whose = (unsigned)(s - &seats[0][0]) / 64;
        if (x % 3) {
            line_grant(&b.line, s);
            granted[whose]++;
        } else {
            line_leave(&b.line, s);
        }
        assert_true(line_enter(&b.line, s, 1 + whose, LINE_COST)); /* it comes again */
        unsigned n = 0, least = UINT32_MAX, most = 0;
        uint64_t start = b.line.now;
        LIST_FOR(it, &b.line.seats) {
            struct seat *each = CONTAINER(it, struct seat, in_line);
            assert_true(each->start >= start);
            start = each->start;
            assert_int_equal(line_place(&b.line, each), ++n);
        }
        assert_int_equal(n, 4 * 64);
        for (unsigned k = 0; k < 4; k++) {
            least = granted[k] < least ? granted[k] : least;
            most = granted[k] > most ? granted[k] : most;
        }
        assert_true(most - least <= 1);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(alone_one_is_served_as_one_came),
        TEST(a_greedy_one_does_not_starve_a_polite_one),
        TEST(those_who_send_alike_take_turns),
        TEST(weights_are_kept),
        TEST(a_heavy_one_that_comes_singly_pays_all_the_same),
        TEST(the_idle_hoard_no_credit),
        TEST(who_leaves_pays_nothing),
        TEST(the_last_of_a_principal_may_leave_from_anywhere),
        TEST(places_are_told),
        TEST(the_pace_is_a_mean),
        TEST(only_so_many_are_remembered),
        TEST(without_memory_there_is_no_seat),
        TEST(any_history_is_fair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
