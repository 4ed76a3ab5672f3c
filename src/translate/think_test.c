#include "translate/think.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct seen {
    char text[2][512];
    size_t n[2];
};

static void on_text(void *arg, bool is_reasoning, struct sv text) {
    struct seen *s = arg;
    assert_true(text.n > 0);
    memcpy(s->text[is_reasoning] + s->n[is_reasoning], text.p, text.n);
    s->n[is_reasoning] += text.n;
}

static void check(const char *text, const char *reasoning, const char *answer) {
    struct sv v = sv_of(text);
    for (size_t step = 1; step <= v.n; step++) { /* cut anywhere */
        struct seen s = { 0 };
        struct think t;
        think_init(&t);
        for (size_t at = 0; at < v.n; at += step)
            think_feed(&t, sv_first(sv_from(v, at), step < v.n - at ? step : v.n - at), on_text, &s);
        think_end(&t, on_text, &s);
        think_end(&t, on_text, &s);
        assert_string_equal(s.text[1], reasoning);
        assert_string_equal(s.text[0], answer);
    }
}

static void tags_at_the_beginning_are_taken_out(void **state) {
    (void)state;
    check("<think>a < b</think>\n\nYes", "a < b", "Yes");
    check(" \n<thinking>x</think></thinking>y", "x</think>", "y");
    check("[THINK]x[/THINK]y", "x", "y");
    check("<|channel|>analysis<|message|>x<|end|>y", "x", "y");
    check("<think>a</thi</think>b", "a</thi", "b");
    check("<think></think>b", "", "b");
}

static void what_is_no_tag_stays_text(void **state) {
    (void)state;
    check("Hello <think>x</think>", "", "Hello <think>x</think>");
    check("<thin air", "", "<thin air");
    check("<", "", "<");
    check("  ", "", "  ");
    check("<think>a</think>b<think>c</think>", "a", "b<think>c</think>");
    check("                                                                     <think>x</think>", "",
          "                                                                     <think>x</think>");
}

static void an_unclosed_tag_is_reasoning_to_the_end(void **state) {
    (void)state;
    check("<think>a</thin", "a</thin", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_at_the_beginning_are_taken_out),
        cmocka_unit_test(what_is_no_tag_stays_text),
        cmocka_unit_test(an_unclosed_tag_is_reasoning_to_the_end),
    };
    return cmocka_run_group_tests_name("translate/think", tests, NULL, NULL);
}
