#include "http/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

/* What a stream gave, as text: "[name|data]" for an event, "(:)" for a comment; blank lines and pieces leave no mark but
 * count in raw. */
struct story {
    struct buf text, raw;
    unsigned pieces;
};

static void on_event(void *arg, const struct event *ev) {
    struct story *t = arg;
    mem_fail_at(0, 0);
    assert_true(buf_add(&t->raw, ev->raw));
    assert_true(ev->raw.n > 0);
    t->pieces += ev->piece;
    if (ev->comment)
        buf_add(&t->text, SV("(:)"));
    else if (ev->data.n || ev->name.n)
        buf_printf(&t->text, "[%.*s|%.*s]", SV_FMT(ev->name), SV_FMT(ev->data));
}

static void story_init(struct story *t) {
    buf_init(&t->text, 1 << 20);
    buf_init(&t->raw, 1 << 20);
    t->pieces = 0;
}

static void story_deinit(struct story *t) {
    buf_deinit(&t->text);
    buf_deinit(&t->raw);
}

static void run(struct story *t, enum events_kind kind, size_t max, struct sv stream, size_t step, bool *ret_overflow) {
    struct events s;
    story_init(t);
    events_init(&s, kind, max);
    for (size_t at = 0; at < stream.n; at += step) {
        size_t n = step < stream.n - at ? step : stream.n - at;
        char *exact = mem_copy(stream.p + at, n);
        events_feed(&s, (struct sv){ exact, n }, on_event, t);
        mem_free(exact);
        assert_true(t->raw.n + events_held(&s).n == at + n);
    }
    events_end(&s, on_event, t);
    *ret_overflow = s.overflow;
    events_deinit(&s);
    assert_true(sv_eq(buf_sv(&t->raw), stream));
}

static const struct {
    enum events_kind kind;
    struct sv stream;
    const char *story;
} rows[] = {
#define S EVENTS_SSE
#define N EVENTS_NDJSON
    { S, { "", 0 }, "" },
    { S, SV("data: a\n\ndata: b\n\n"), "[|a][|b]" },
    { S, SV("data: a\r\n\r\ndata: b\r\n\r\n"), "[|a][|b]" },
    { S, SV("data: a\r\rdata: b\r\r"), "[|a][|b]" },
    { S, SV("data: a\r\n\ndata: b\n\r\ndata: c\r\r\n"), "[|a][|b][|c]" },
    { S, SV("\xef\xbb\xbf" "data: a\n\n"), "[|a]" },
    { S, SV("\xef\xbb\xbf\ndata: a\n\n"), "[|a]" },
    { S, SV("data: a\n\n\xef\xbb\xbf" "data: b\n\n"), "[|a]" },
    { S, SV("data:a\n\ndata:  a\n\ndata\n\ndata:\n\n"), "[|a][| a]" },
    { S, SV("data: a\ndata: b\ndata:\ndata\n\n"), "[|a\nb\n\n]" },
    { S, SV("data:\ndata: b\n\n"), "[|\nb]" },
    { S, SV("event: x\ndata: {\"a\":1}\nid: 3\nretry: 9\nother\n\n"), "[x|{\"a\":1}]" },
    { S, SV("event: x\nevent:y\ndata: a\n\ndata: b\n\n"), "[y|a][|b]" },
    { S, SV(": ping\n\ndata: a\n\n:\n\n:a\n:b\n\n"), "(:)[|a](:)(:)" },
    { S, SV(": ping\ndata: a\n\n"), "[|a]" },
    { S, SV("\n\n\r\n\rdata: a\n\n\n\n"), "[|a]" },
    { S, SV("event: ping\n\n"), "[ping|]" },
    { S, SV("data: a: b\nDATA: no\ndatax: no\n\n"), "[|a: b]" },
    { S, SV("data: {\"a\":1}"), "[|{\"a\":1}]" },
    { S, SV("data: {\"a\":1}\n"), "[|{\"a\":1}]" },
    { S, SV("data: {\"a\":1}\r\n"), "[|{\"a\":1}]" },
    { S, SV("data: [DONE]"), "[|[DONE]]" },
    { S, SV("data: a\n\ndata: {\"a\":"), "[|a]" },
    { S, SV("data: a\n\nevent: x\n"), "[|a]" },
    { S, SV("data: a\n\n: tail"), "[|a]" },
    { N, SV("{\"a\":1}\n{\"b\":2}\r\n\n{\"c\":3}"), "[|{\"a\":1}][|{\"b\":2}][|{\"c\":3}]" },
    { N, SV("\xef\xbb\xbf{\"a\":1}\n"), "[|{\"a\":1}]" },
    { N, SV("{\"a\":1}\n{\"b\":"), "[|{\"a\":1}]" },
    { N, SV("{\"a\":\"\r\"}\n"), "[|{\"a\":\"\r\"}]" },
#undef S
#undef N
};

static void streams_read_the_same_however_they_are_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t step = 1; step <= rows[i].stream.n + 1; step++) {
            struct story t;
            bool overflow;
            run(&t, rows[i].kind, 1 << 16, rows[i].stream, step, &overflow);
            assert_true(sv_eq(buf_sv(&t.text), sv_of(rows[i].story)));
            assert_false(overflow);
            story_deinit(&t);
        }
    }
}

static void an_event_over_the_limit_passes_in_pieces(void **state) {
    (void)state;
    static const struct sv stream = SV("data: a\n\ndata: 0123456789abcdef\ndata: x\n\ndata: b\n\n");
    for (size_t step = 1; step <= stream.n; step++) {
        struct story t;
        bool overflow;
        run(&t, EVENTS_SSE, 20, stream, step, &overflow);
        assert_true(overflow && t.pieces > 0);
        assert_true(sv_eq(buf_sv(&t.text), SV("[|a][|b]")));
        story_deinit(&t);
    }
}

static void a_line_over_the_limit_passes_in_pieces(void **state) {
    (void)state;
    static const struct sv stream = SV("{\"a\":1}\n{\"a\":\"0123456789abcdef\"}\n{\"b\":1}\n");
    for (size_t step = 1; step <= stream.n; step++) {
        struct story t;
        bool overflow;
        run(&t, EVENTS_NDJSON, 12, stream, step, &overflow);
        assert_true(overflow && sv_eq(buf_sv(&t.text), SV("[|{\"a\":1}][|{\"b\":1}]")));
        story_deinit(&t);
    }
}

static void no_byte_is_lost_when_memory_is_out(void **state) {
    (void)state;
    static const struct sv parts[] = { SV("data: a\nda"), SV("ta: b\n"), SV("\ndata: c\n\ndata: {\"d\":1}") };
    for (long n = 1; n < 12; n++) {
        struct events s;
        struct story t;
        size_t total = 0;
        story_init(&t);
        events_init(&s, EVENTS_SSE, 1 << 16);
        assert_non_null(buf_reserve(&t.text, 512));
        assert_non_null(buf_reserve(&t.raw, 512));
        mem_fail_at(n, 0);
        for (size_t i = 0; i < 3; i++) {
            events_feed(&s, parts[i], on_event, &t);
            total += parts[i].n;
        }
        events_end(&s, on_event, &t);
        mem_fail_at(0, 0);
        assert_int_equal(t.raw.n, total);
        assert_true(sv_find(buf_sv(&t.text), SV("[|c]")) >= 0);
        events_deinit(&s);
        story_deinit(&t);
    }
}

static void on_view(void *arg, const struct event *ev) {
    const struct sv *feed = arg;
    assert_true(ev->data.p >= feed->p && ev->data.p + ev->data.n <= feed->p + feed->n);
}

static void an_event_in_one_feed_is_not_copied(void **state) {
    (void)state;
    struct events s;
    struct sv feed = SV("data: {\"a\":1}\n\nevent: x\ndata: b\n\n");
    events_init(&s, EVENTS_SSE, 1 << 16);
    mem_fail_at(1, 1);
    events_feed(&s, feed, on_view, &feed);
    assert_false(mem_fail_hit());
    mem_fail_at(0, 0);
    assert_null(s.held.base);
    events_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_read_the_same_however_they_are_cut),
        cmocka_unit_test(an_event_over_the_limit_passes_in_pieces),
        cmocka_unit_test(a_line_over_the_limit_passes_in_pieces),
        cmocka_unit_test(no_byte_is_lost_when_memory_is_out),
        cmocka_unit_test(an_event_in_one_feed_is_not_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
