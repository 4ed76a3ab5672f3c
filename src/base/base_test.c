/* The tools of the ground floor, each at its edges. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/utf8.h"

static void views_cut_and_compare(void **state) {
    (void)state;
    struct sv v = SV("a,b,,c"), piece;
    const char *want[] = { "a", "b", "", "c" };
    for (int i = 0; i < 4; i++) {
        assert_true(sv_next(&v, ',', &piece));
        assert_true(sv_eq(piece, sv_of(want[i])));
    }
    assert_false(sv_next(&v, ',', &piece));
    v = SV("key=value");
    assert_true(sv_cut(&v, '=', &piece));
    assert_true(sv_eq(piece, SV("key")) && sv_eq(v, SV("value")));
    assert_false(sv_cut(&v, '=', &piece));
    assert_true(sv_eq(v, SV("value")));
    assert_true(sv_eq_nocase(SV("Content-Length"), SV("content-LENGTH")));
    assert_false(sv_eq_nocase(SV("\xc3\x84"), SV("\xc3\xa4")));
    assert_int_equal(sv_find(SV("abc"), SV("")), 0);
    assert_int_equal(sv_find(SV("abc"), SV("bc")), 1);
    assert_int_equal(sv_find(SV_NULL, SV("x")), -1);
    assert_true(sv_eq(sv_trim(SV(" \t x \t")), SV("x")));
    assert_true(sv_eq(SV_NULL, SV("")));
    char small[4];
    assert_true(sv_to_cstr(SV("abc"), small, sizeof small));
    assert_false(sv_to_cstr(SV("abcd"), small, sizeof small));
    assert_false(sv_to_cstr((struct sv){ "a\0b", 3 }, small, sizeof small));
}

static void numbers_are_digits_within_range(void **state) {
    (void)state;
    uint64_t v = 7;
    assert_true(sv_to_u64(SV("18446744073709551615"), &v) && v == UINT64_MAX);
    assert_false(sv_to_u64(SV("18446744073709551616"), &v));
    const char *bad[] = { "", "-1", "+1", " 1", "1 ", "0x1", "1e3" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(sv_to_u64(sv_of(bad[i]), &v));
    assert_true(v == UINT64_MAX); /* untouched by failures */
}

static void patterns_match_whole_names(void **state) {
    (void)state;
    assert_true(sv_glob(SV("*"), SV("")));
    assert_true(sv_glob(SV("gpt-*"), SV("gpt-4/x")));
    assert_true(sv_glob(SV("*a*b*"), SV("xxaxxbxx")));
    assert_true(sv_glob(SV("a?c"), SV("abc")));
    assert_true(sv_glob(SV("a*"), SV("a*")));
    assert_false(sv_glob(SV("a?c"), SV("ac")));
    assert_false(sv_glob(SV("*a"), SV("ab")));
    char many[200];
    memset(many, 'a', sizeof many); /* no blow-up */
    assert_false(sv_glob(SV("*a*a*a*a*a*a*a*a*b"), (struct sv){ many, sizeof many }));
}

static void a_buffer_keeps_its_ceiling(void **state) {
    (void)state;
    struct buf b = BUF_MAX(10);
    assert_true(buf_add(&b, SV("12345")));
    assert_false(buf_add(&b, SV("678901")));
    assert_true(b.failed);
    assert_true(sv_eq(buf_sv(&b), SV("12345")));
    assert_false(buf_printf(&b, "%d", 123456));
    assert_true(sv_eq(buf_sv(&b), SV("12345")));
    buf_consume(&b, 5);
    assert_true(buf_add(&b, SV("1234567890")));
    buf_deinit(&b);
}

static void a_buffer_is_a_queue(void **state) {
    (void)state;
    struct buf b = BUF_MAX(1 << 20);
    size_t in = 0, out = 0;
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 37; i++)
            assert_true(buf_add_char(&b, (char)in++));
        for (int i = 0; i < 36; i++) {
            assert_int_equal((unsigned char)b.p[0], (unsigned char)out++);
            buf_consume(&b, 1);
        }
    }
    assert_int_equal(b.n, in - out);
    buf_deinit(&b);
}

static void one_bad_string_does_not_cost_a_foreign_document(void **state) {
    static const struct {
        const char *text, *name; /* NULL: no document */
        bool mended;
    } cases[] = {
        { "{\"a\":\"x\"}", "x", false },
        { "{\"a\":\"\\ud83d\\ude00\"}", "\xf0\x9f\x98\x80", false },
        { "{\"a\":\"x\\ud800\"}", "x\xef\xbf\xbd", true },
        { "{\"a\":\"\\uDC00y\"}", "\xef\xbf\xbdy", true },
        { "{\"a\":\"\\ud800\\ud83d\\ude00\\udc00\"}", "\xef\xbf\xbd\xf0\x9f\x98\x80\xef\xbf\xbd", true },
        { "{\"a\":\"\\\\ud800\",\"b\":\"\\ud800\"}", "\\ud800", true }, /* no escape behind an escaped backslash */
        { "{\"a\":\"\\ud800\\u00e9\"}", "\xef\xbf\xbd\xc3\xa9", true },
        { "{\"a\":\"x\xff\"}", "x\xff", true },
        { "{\"a\":\"x\",\"b\":1e999}", "x", true },
        { "{\"a\":\"\\ud8\"}", NULL, false },
        { "{\"a\":\"\\ud800", NULL, false },
        { "\\ud800", NULL, false },
        { "\\", NULL, false },
        { "", NULL, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = strlen(cases[i].text);
        char *exact = mem_copy(cases[i].text, n);
        bool mended = false;
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse_foreign((struct sv){ exact, n }, &mended);
        assert_int_equal(mended, cases[i].mended);
        assert_int_equal(doc != NULL, cases[i].name != NULL);
        if (doc)
            assert_true(sv_eq(json_str(yyjson_doc_get_root(doc), "a"), sv_of(cases[i].name)));
        mem_free(exact);
    }
}

static void json_strings_are_always_valid(void **state) {
    (void)state;
    struct buf b = BUF_MAX(1000);
    assert_true(buf_add_json(&b, (struct sv){ "a\"\\\n\x01\x7f\xc3\xa9\xff\xed\xa0\x80z", 13 }));
    assert_true(sv_starts(buf_sv(&b), SV("\"a\\\"\\\\\\n\\u0001\\u007f\xc3\xa9\xef\xbf\xbd")));
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&b));
    assert_non_null(doc);
    buf_deinit(&b);
}

/* Eight bytes are looked at at once: whatever stands where, the answer is the same. */
static void utf8_is_checked_wherever_it_stands(void **state) {
    (void)state;
    for (size_t n = 0; n < 40; n++) {
        for (size_t at = 0; at <= n; at++) {
            static const struct {
                const char *bytes;
                size_t n;
                bool valid;
            } pieces[] = { { "\xc3\xa9", 2, true }, { "\xf0\x9f\x98\x80", 4, true }, { "\x80", 1, false }, { "\xf0\x9f\x98", 3, false } };
            for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
                size_t all = n + pieces[i].n;
                char *exact = malloc(all);
                memset(exact, 'a', all);
                memcpy(exact + at, pieces[i].bytes, pieces[i].n);
                assert_int_equal(utf8_valid((struct sv){ exact, all }), pieces[i].valid);
                free(exact);
            }
        }
    }
    assert_true(utf8_valid(SV_NULL));
}

static void utf8_is_shortest_form_only(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } table[] = { { "a", 1 }, { "\xc2\x80", 2 }, { "\xc0\x80", 0 }, { "\xc1\xbf", 0 }, { "\xe0\xa0\x80", 3 }, { "\xe0\x9f\xbf", 0 },
                  { "\xed\x9f\xbf", 3 }, { "\xed\xa0\x80", 0 }, { "\xf0\x90\x80\x80", 4 }, { "\xf0\x8f\xbf\xbf", 0 },
                  { "\xf4\x8f\xbf\xbf", 4 }, { "\xf4\x90\x80\x80", 0 }, { "\xf5\x80\x80\x80", 0 }, { "\x80", 0 }, { "\xe2\x82", 0 } };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_int_equal(utf8_len(sv_of(table[i].bytes)), table[i].len);
}

static unsigned deferred;
static void count_up(void *arg) {
    deferred = deferred * 10 + *(unsigned *)arg;
}

static void an_arena_zeroes_aligns_and_runs_what_was_deferred(void **state) {
    (void)state;
    struct arena_cache cache = { 0 };
    struct arena a;
    for (int round = 0; round < 3; round++) {
        arena_init(&a, 1 << 20, &cache);
        unsigned one = 1, two = 2;
        deferred = 0;
        assert_true(arena_defer(&a, count_up, &one));
        for (size_t n = 1; n < 9000; n = n * 2 + 1) {
            unsigned char *p = arena_alloc(&a, n);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xff, n);
        }
        assert_true(arena_defer(&a, count_up, &two));
        assert_null(arena_alloc_n(&a, SIZE_MAX / 2, 4));
        assert_null(arena_alloc(&a, 2 << 20));
        assert_true(a.overflow);
        arena_deinit(&a);
        assert_int_equal(deferred, 21); /* newest first */
    }
    arena_cache_deinit(&cache);
}

static void a_map_finds_what_was_put_and_forgets_what_was_deleted(void **state) {
    (void)state;
    enum { N = 3000 };
    static char keys[N][12];
    struct map m;
    map_init(&m);
    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        assert_true(map_put(&m, sv_of(keys[i]), keys[i]));
    }
    for (int i = 0; i < N; i += 3)
        assert_ptr_equal(map_del(&m, sv_of(keys[i])), keys[i]);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(map_get(&m, sv_of(keys[i])), i % 3 ? keys[i] : NULL);
    size_t at = 0, n = 0;
    while (map_next(&m, &at))
        n++;
    assert_int_equal(n, m.n);
    mem_fail_at(1, 1);
    struct map empty;
    map_init(&empty);
    assert_false(map_put(&empty, SV("x"), &empty));
    mem_fail_at(0, 0);
    assert_null(map_get(&empty, SV("x")));
    map_deinit(&m);
}

static void a_list_member_may_be_dropped_twice(void **state) {
    (void)state;
    struct list head = LIST_INIT(head), other = LIST_INIT(other), a, b;
    list_init(&a);
    list_init(&b);
    list_push_back(&head, &a);
    list_push_back(&head, &b);
    list_drop(&a);
    list_drop(&a);
    list_move(&other, &head);
    assert_true(list_empty(&head));
    assert_ptr_equal(list_pop(&other), &b);
    assert_null(list_pop(&other));
}

static void a_fault_tells_the_whole_chain(void **state) {
    (void)state;
    struct err e;
    assert_false(err_set(&e, ERR_IO, "open %s", "x"));
    assert_false(err_ctx(&e, "start %d", 1));
    assert_string_equal(e.text, "start 1: open x");
    assert_int_equal(err_http(e.code), 502);
    for (int i = 0; i < 100; i++)
        err_ctx(&e, "a long way up");
    assert_true(strlen(e.text) < ERR_TEXT_MAX);
    assert_false(err_set(NULL, ERR_IO, "nobody listens"));
}

/* What the log writes to a file of which JOURNAL_STREAM says that it is the journal's, or is not. */
static struct sv logged(enum log_format format, bool is_journal, char text[static 2048]) {
    char said[64];
    struct stat st;
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    snprintf(said, sizeof said, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + !is_journal);
    setenv("JOURNAL_STREAM", said, 1);
    log_set_level(LOG_DEBUG);
    assert_true(log_start(fileno(f), format));
    log_event(LOG_ERROR, "e");
    log_event(LOG_WARN, "w two", F_STR("k", "a b"), F_I64("n", -1));
    log_event(LOG_INFO, "i", F_STR("k", "line\nbreak"));
    log_event(LOG_DEBUG, "d", F_STR("k", "v"));
    log_stop();
    log_set_level(LOG_INFO);
    unsetenv("JOURNAL_STREAM");
    rewind(f);
    size_t n = fread(text, 1, 2048, f);
    fclose(f);
    return (struct sv){ text, n };
}

static void the_journal_gets_priorities_instead_of_times_and_levels(void **state) {
    (void)state;
    char text[2048];
    static const char want[] = "<3>e\n<4>w two  k=\"a b\"  n=-1\n<6>i  k=\"line\\nbreak\"\n<7>d  k=v\n";
    struct sv got = logged(LOG_AUTO, true, text);
    if (!sv_eq(got, sv_of(want)))
        fail_msg("%.*s", SV_FMT(got));
    assert_true(sv_eq(logged(LOG_TEXT, true, text), sv_of(want)));
    assert_true(sv_starts(logged(LOG_JSON, true, text), SV("{\"time\":")));  /* whoever asks for JSON gets it */
    assert_true(sv_starts(logged(LOG_AUTO, false, text), SV("{\"time\":"))); /* another's journal stream: not ours */
    got = logged(LOG_TEXT, false, text);
    assert_true(got.n > 20 && got.p[2] == ':' && sv_find(got, SV(" error e\n")) > 0);
    static const char *const odd[] = { "", "1", "1:", "x:y", "1:2:3", ":" };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        setenv("JOURNAL_STREAM", odd[i], 1);
        assert_true(log_start(STDERR_FILENO, LOG_AUTO));
        log_stop();
    }
    unsetenv("JOURNAL_STREAM");
}

static void the_log_gives_way_at_its_oldest_and_tells_how_many(void **state) {
    (void)state;
    int fds[2];
    char line[LOG_LINE_MAX];
    uint64_t missed, seq;
    assert_int_equal(pipe(fds), 0);
    close(fds[0]); /* nobody reads: writing fails, and nothing else happens */
    signal(SIGPIPE, SIG_IGN);
    assert_true(log_start(fds[1], LOG_JSON));
    seq = log_seq(0);
    for (int i = 0; i < LOG_RING_LINES + 10; i++)
        log_event(LOG_WARN, "line", F_I64("i", i));
    size_t n = log_read(&seq, line, &missed);
    assert_int_equal(missed, 10);
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse((struct sv){ line, n });
    assert_int_equal(json_i64(yyjson_doc_get_root(doc), "i", -1), 10);
    static char huge[LOG_LINE_MAX * 2];
    memset(huge, 'x', sizeof huge);
    seq = log_seq(0);
    log_event(LOG_WARN, "evil\n\x1b[2J", F_SV("k", ((struct sv){ huge, sizeof huge })));
    n = log_read(&seq, line, &missed);
    assert_true(n > 0 && n <= LOG_LINE_MAX);
    assert_null(memchr(line, '\n', n));
    assert_null(memchr(line, '\x1b', n));
    assert_non_null(memmem(line, n, "\"cut\":true", 10));
    log_stop();
    close(fds[1]);
}

static void times_and_random_texts_have_their_form(void **state) {
    (void)state;
    char text[25], id[33];
    assert_string_equal(clock_iso8601(1790000000123u, text), "2026-09-21T14:13:20.123Z");
    rand_text(id, 32);
    assert_int_equal(strlen(id), 32);
    assert_true(rand_below(3) < 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_cut_and_compare),
        cmocka_unit_test(numbers_are_digits_within_range),
        cmocka_unit_test(patterns_match_whole_names),
        cmocka_unit_test(a_buffer_keeps_its_ceiling),
        cmocka_unit_test(a_buffer_is_a_queue),
        cmocka_unit_test(json_strings_are_always_valid),
        cmocka_unit_test(one_bad_string_does_not_cost_a_foreign_document),
        cmocka_unit_test(utf8_is_shortest_form_only),
        cmocka_unit_test(utf8_is_checked_wherever_it_stands),
        cmocka_unit_test(an_arena_zeroes_aligns_and_runs_what_was_deferred),
        cmocka_unit_test(a_map_finds_what_was_put_and_forgets_what_was_deleted),
        cmocka_unit_test(a_list_member_may_be_dropped_twice),
        cmocka_unit_test(a_fault_tells_the_whole_chain),
        cmocka_unit_test(the_journal_gets_priorities_instead_of_times_and_levels),
        cmocka_unit_test(the_log_gives_way_at_its_oldest_and_tells_how_many),
        cmocka_unit_test(times_and_random_texts_have_their_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
