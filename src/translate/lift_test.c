#include "translate/lift.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char body[65536], back[65536];
static struct lift l;

/* %s stands for a long text with all that may confuse: escapes, escaped quotes, backslashes at the end. */
static struct sv fill(const char *format) {
    static char text[4096];
    size_t n = 0, b = 0;
    while (n < 1500)
        n += (size_t)snprintf(text + n, sizeof text - n, "say \\\"hi\\\", \\\\ and \\u00fc {[:,%zu ", n);
    snprintf(text + n, sizeof text - n, "end\\\\\\\\");
    for (const char *p = format; *p; p++) {
        if (*p == '%')
            b += (size_t)snprintf(body + b, sizeof body - b, "%s", text);
        else
            body[b++] = *p;
    }
    body[b] = '\0';
    return (struct sv){ body, b };
}

static void check(const char *format, unsigned lifted) {
    struct sv v = fill(format), pieces[LIFT_PIECES];
    struct buf out = BUF_MAX(1 << 20);
    size_t at = 0;
    bool any = lift_body(&l, v, SV_NULL, 0x1234567890abcdefu, &out);
    assert_int_equal(any, lifted > 0);
    assert_int_equal(l.n, lifted);
    if (any) {
        assert_true(out.n < v.n);
        unsigned n = lift_pieces(&l, buf_sv(&out), pieces);
        assert_true(n >= 2 * lifted - 1);
        for (unsigned i = 0; i < n; i++) {
            memcpy(back + at, pieces[i].p, pieces[i].n);
            at += pieces[i].n;
        }
        back[at] = '\0';
        assert_string_equal(back, body); /* what is printed as it came comes out as it came */
    }
    buf_deinit(&out);
}

static void long_texts_are_lifted_and_put_back(void **state) {
    (void)state;
    check("{\"messages\":[{\"role\":\"user\",\"content\":\"%\"}]}", 1);
    check("{ \"system\" : \"%\" , \"messages\" : [ { \"content\" : [ { \"text\":\"%\" } , {\"text\" : \"short\"} ] } ] }", 2);
    check("{\"tools\":[{\"name\":\"f\",\"description\":\"%\"}],\"messages\":[{\"content\":\"%\"}]}", 2);
    check("{\"input\":[{\"type\":\"message\",\"content\":\"%\"},{\"output\":\"%\"}]}", 2);
}

static void what_is_not_plain_text_stays(void **state) {
    (void)state;
    check("{\"messages\":[]}", 0);
    check("{\"messages\":[{\"content\":[{\"type\":\"tool_use\",\"input\":{\"content\":\"%\",\"deep\":{\"text\":\"%\"}}}]}]}", 0);
    check("{\"messages\":[{\"tool_calls\":[{\"function\":{\"arguments\":{\"text\":\"%\"}}}]}]}", 0);
    check("{\"messages\":[{\"tool_calls\":[{\"function\":{\"arguments\":\"%\"}}]}]}", 0);
    check("{\"url\":\"%\",\"data\":\"%\",\"x\":[\"%\"]}", 0);
    check("{\"content\":{\"%\":1}}", 0);
    check("{\"messages\":[{\"content\":[{\"input\":{\"a\":1}},{\"text\":\"%\"}]}]}", 1);
}

static void a_word_that_is_looked_for_stays_in_front(void **state) {
    struct sv v = fill("{\"messages\":[{\"content\":\"ERROR: %\"}]}"), pieces[LIFT_PIECES];
    struct buf out = BUF_MAX(1 << 20);
    (void)state;
    assert_true(lift_body(&l, v, SV_NULL, 7, &out));
    assert_true(sv_find(buf_sv(&out), SV("\"ERROR@lift")) > 0);
    assert_int_equal(lift_pieces(&l, buf_sv(&out), pieces), 3);
    buf_deinit(&out);
}

static void lifting_can_be_kept_to_one_member(void **state) {
    struct sv v = fill("{\"instructions\":\"%\",\"tools\":[{\"description\":\"%\"}],\"input\":[{\"content\":\"%\"}],\"text\":{\"text\":\"%\"}}");
    struct buf out = BUF_MAX(1 << 20);
    (void)state;
    assert_true(lift_body(&l, v, SV("input"), 7, &out));
    assert_int_equal(l.n, 1);
    buf_deinit(&out);
}

static void a_damaged_mark_is_noticed(void **state) {
    struct sv pieces[LIFT_PIECES], v = fill("{\"content\":\"%\"}");
    struct buf out = BUF_MAX(1 << 20);
    (void)state;
    assert_true(lift_body(&l, v, SV_NULL, 7, &out));
    struct sv printed = buf_sv(&out);
    for (size_t cut = 12 + LIFT_MARK - 1; cut > 12 + 12; cut--) {
        snprintf(back, sizeof back, "%.*s\"}", (int)cut, printed.p);
        assert_int_equal(lift_pieces(&l, sv_of(back), pieces), 0);
    }
    assert_int_equal(lift_pieces(&l, SV("{\"content\":\"gone\"}"), pieces), 1); /* a text may be left out */
    snprintf(back, sizeof back, "@lift0000000000000007:001@");
    assert_int_equal(lift_pieces(&l, sv_of(back), pieces), 0); /* nobody's */
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_texts_are_lifted_and_put_back),
        cmocka_unit_test(what_is_not_plain_text_stays),
        cmocka_unit_test(a_word_that_is_looked_for_stays_in_front),
        cmocka_unit_test(lifting_can_be_kept_to_one_member),
        cmocka_unit_test(a_damaged_mark_is_noticed),
    };
    return cmocka_run_group_tests_name("translate/lift", tests, NULL, NULL);
}
