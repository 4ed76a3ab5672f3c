#include "llm/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/scan_run.h"

static struct scan scan;
static struct err err;

/* Feeds text in blocks of exactly n bytes each (0 = whole). */
static enum scan_result feed(struct scan *s, struct sv text, size_t n) {
    for (size_t at = 0; at < text.n;) {
        size_t len = n && n < text.n - at ? n : text.n - at;
        char *exact = mem_copy(text.p + at, len);
        assert_non_null(exact);
        enum scan_result r = scan_feed(s, (struct sv){ exact, len });
        mem_free(exact);
        at += len;
        if (r == SCAN_BAD)
            break;
    }
    return scan_end(s, &err);
}

static void same_findings(const struct scan *a, const struct scan *b) {
    assert_int_equal(a->model_state, b->model_state);
    assert_int_equal(a->model_len, b->model_len);
    assert_memory_equal(a->model, b->model, a->model_len);
    assert_memory_equal(&a->model_raw, &b->model_raw, sizeof a->model_raw);
    assert_memory_equal(&a->stream_options, &b->stream_options, sizeof a->stream_options);
    assert_memory_equal(&a->include_usage_raw, &b->include_usage_raw, sizeof a->stream_options);
    assert_true(a->stream == b->stream && a->include_usage == b->include_usage && a->think == b->think);
    assert_true(a->max_tokens == b->max_tokens && a->n == b->n && a->num_predict == b->num_predict);
    assert_true(a->has_tools == b->has_tools && a->has_image == b->has_image && a->has_media == b->has_media && a->n_images == b->n_images);
    assert_true(a->input_bytes == b->input_bytes && a->blob_bytes == b->blob_bytes && a->n_messages == b->n_messages);
    assert_true(a->open == b->open && a->empty == b->empty && a->n_members == b->n_members);
    assert_memory_equal(a->n_utf8, b->n_utf8, sizeof a->n_utf8);
    assert_true(scan_affinity(a) == scan_affinity(b));
}

/* Whole, byte by byte, and in two halves at every place when short; the findings stay in `scan`. */
static enum scan_result run(struct sv text) {
    struct scan other;
    struct err whole;
    scan_init(&scan);
    enum scan_result r = feed(&scan, text, 0);
    whole = err;
    for (size_t n = 1; n < 9; n++) {
        scan_init(&other);
        assert_int_equal(feed(&other, text, n), r);
        if (r == SCAN_BAD)
            assert_string_equal(whole.text, err.text);
        else
            same_findings(&scan, &other);
    }
    return r;
}

static const char *const good[] = {
    "{}", " \t\r\n{ } \n", "{\"a\":1}", "{\"a\":-0.5e+10,\"b\":0,\"c\":1E5,\"d\":-0}", "{\"\":[]}", "{\"a\":[[],{},\"\",null,true,false]}",
    "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\uDE00\"}", "{\"a\":\"\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80\x7f\"}",
    "{\"a\":\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"}", "{ \"a\" : [ 1 , 2 ] , \"b\" : { \"c\" : null } }", "{\"a\":1e999}",
    "{\"x\":1,\"x\":2}", "{\"a\":{\"model\":1,\"model\":2}}",
    "{\"model\":\"a long string with \\\" quotes and \\\\ slashes to make the fast loop stop in its middle\"}",
};

static const struct {
    const char *text, *says;
} refused[] = {
    { "", "body ends at byte 0: expected one JSON object (the body is empty)" },
    { "  ", "body ends at byte 2: expected one JSON object (the body is empty)" },
    { "[]", "body, byte 0: expected '{' (the body must be one JSON object), found '['" },
    { "\xef\xbb\xbf{}", "body, byte 0: expected '{' first of all (and no byte order mark), found byte 0xef" },
    { "{} x", "body, byte 3: expected nothing but white space after the object, found 'x'" },
    { "{}{}", "body, byte 2: expected nothing but white space after the object, found '{'" },
    { "{\"a\"}", "body, byte 4: expected ':' after a member name, found '}'" },
    { "{\"a\":}", "body, byte 5: expected a value, found '}'" },
    { "{\"a\":1,}", "body, byte 7: expected a member name in quotes, found '}'" },
    { "{,}", "body, byte 1: expected a member name in quotes, found ','" },
    { "{a:1}", "body, byte 1: expected a member name in quotes, found 'a'" },
    { "{\"a\":[1,]}", "body, byte 8: expected a value, found ']'" },
    { "{\"a\":[1}", "body, byte 7: expected ',' or ']' after an element, found '}'" },
    { "{\"a\":1]", "body, byte 6: expected ',' or '}' after a member, found ']'" },
    { "{\"a\":01}", "body, byte 6: expected ',' or '}' after a member, found '1'" },
    { "{\"a\":-}", "body, byte 6: expected a digit, found '}'" },
    { "{\"a\":1.}", "body, byte 7: expected a digit, found '}'" },
    { "{\"a\":1e}", "body, byte 7: expected a digit, found '}'" },
    { "{\"a\":1e+}", "body, byte 8: expected a digit, found '}'" },
    { "{\"a\":.5}", "body, byte 5: expected a value, found '.'" },
    { "{\"a\":+1}", "body, byte 5: expected a value, found '+'" },
    { "{\"a\":nul}", "body, byte 8: expected true, false or null, found '}'" },
    { "{\"a\":True}", "body, byte 5: expected a value, found 'T'" },
    { "{\"a\":truex}", "body, byte 9: expected ',' or '}' after a member, found 'x'" },
    { "{\"a\":\"\x01\"}", "body, byte 6: expected no control byte inside a string (escape it), found byte 0x01" },
    { "{\"a\":\"\n\"}", "body, byte 6: expected no control byte inside a string (escape it), found byte 0x0a" },
    { "{\"a\":\"\\x\"}", "body, byte 7: expected an escape: one of \" \\ / b f n r t u, found 'x'" },
    { "{\"a\":\"\\u12g4\"}", "body, byte 10: expected four hexadecimal digits after \\u, found 'g'" },
    { "{\"a\":\"\\ud83d\"}", "body, byte 12: expected a low surrogate (\\udc00 to \\udfff), found '\"'" },
    { "{\"a\":\"\\ud83dx\"}", "body, byte 12: expected a low surrogate (\\udc00 to \\udfff), found 'x'" },
    { "{\"a\":\"\\ud83d\\n\"}", "body, byte 13: expected a low surrogate (\\udc00 to \\udfff), found 'n'" },
    { "{\"a\":\"\\ud83d\\u0041\"}", "body, byte 17: expected a low surrogate (\\udc00 to \\udfff), found '1'" },
    { "{\"a\":\"\\ude00\"}", "body, byte 11: expected no low surrogate without a high one before it, found '0'" },
    { "{\"a\":\"\x80\"}", "body, byte 6: expected valid UTF-8 in a string, found byte 0x80" },
    { "{\"a\":\"\xc0\xaf\"}", "body, byte 6: expected valid UTF-8 in a string, found byte 0xc0" },
    { "{\"a\":\"\xe0\x9f\xbf\"}", "body, byte 7: expected a byte that continues a UTF-8 character, found byte 0x9f" },
    { "{\"a\":\"\xed\xa0\x80\"}", "body, byte 7: expected a byte that continues a UTF-8 character, found byte 0xa0" },
    { "{\"a\":\"\xf4\x90\x80\x80\"}", "body, byte 7: expected a byte that continues a UTF-8 character, found byte 0x90" },
    { "{\"a\":\"\xe4\xbd\"}", "body, byte 8: expected a byte that continues a UTF-8 character, found '\"'" },
    { "{\"a\":\"", "body ends at byte 6: expected the end of a string" },
    { "{\"a\":12", "body ends at byte 7: expected the rest of a number or the end of the object" },
    { "{\"a\":tru", "body ends at byte 8: expected true, false or null" },
    { "{\"a\":1", "body ends at byte 6: expected the rest of a number or the end of the object" },
    { "{\"a\":[1 ", "body ends at byte 8: expected ',' or ']' after an element" },
    { "{", "body ends at byte 1: expected a member name or '}'" },
    { "{\"model\":\"a\",\"model\":\"b\"}", "body, byte 19: the member \"model\" appears twice" },
    { "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", "body, byte 24: the member \"model\" appears twice" },
    { "{\"stream\":true,\"stream\":false}", "body, byte 22: the member \"stream\" appears twice" },
    { "{\"stream_options\":{},\"stream_options\":{}}", "body, byte 36: the member \"stream_options\" appears twice" },
    { "{\"stream_options\":{\"include_usage\":true,\"include_usage\":false}}",
      "body, byte 54: the member \"stream_options.include_usage\" appears twice" },
};

static void json_is_accepted(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(run(sv_of(good[i])), SCAN_OK);
}

static void faults_are_named_with_their_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(run(sv_of(refused[i].text)), SCAN_BAD);
        assert_string_equal(err.text, refused[i].says);
        assert_int_equal(err.code, ERR_BAD_REQUEST);
    }
}

static void nul_bytes_are_refused(void **state) {
    (void)state;
    assert_int_equal(run((struct sv){ "{}\0", 3 }), SCAN_BAD);
    assert_int_equal(run((struct sv){ "{\"a\":\"\0\"}", 9 }), SCAN_BAD);
}

static void every_beginning_is_incomplete(void **state) {
    struct sv v = SV("{\"model\":\"m\\u0041\xc3\xa9\",\"n\":-1.5e3,\"a\":[true,{\"b\":null}]}");
    (void)state;
    for (size_t n = 0; n < v.n; n++) {
        struct scan s;
        scan_init(&s);
        assert_int_equal(feed(&s, sv_first(v, n), 0), SCAN_BAD);
        assert_true(sv_starts(sv_of(err.text), SV("body ends at byte ")));
    }
    assert_int_equal(run(v), SCAN_OK);
}

static void depth_has_a_ceiling(void **state) {
    char text[256];
    (void)state;
    for (int depth = SCAN_DEPTH_MAX - 1; depth <= SCAN_DEPTH_MAX; depth++) { /* arrays inside the one object */
        int n = snprintf(text, sizeof text, "{\"a\":%.*s%.*s}", depth,
                         "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", depth,
                         "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
        assert_int_equal(run((struct sv){ text, (size_t)n }), depth < SCAN_DEPTH_MAX ? SCAN_OK : SCAN_BAD);
    }
    assert_string_equal(err.text, "body, byte 68: JSON is nested deeper than 64");
}

static void members_have_a_ceiling(void **state) {
    (void)state;
    for (int members = SCAN_MEMBERS_MAX; members <= SCAN_MEMBERS_MAX + 1; members++) {
        struct scan s;
        scan_init(&s);
        scan_feed(&s, SV("{\"a\":0"));
        for (int i = 1; i < members; i++)
            scan_feed(&s, SV(",\"b\":1"));
        scan_feed(&s, SV("}"));
        assert_int_equal(scan_end(&s, &err), members <= SCAN_MEMBERS_MAX ? SCAN_OK : SCAN_BAD);
    }
}

static void the_model_is_found_and_decoded(void **state) {
    static const struct {
        const char *text, *model;
        enum scan_model is;
        uint64_t at, n;
    } rows[] = {
        { "{\"model\":\"qwen3:8b\"}", "qwen3:8b", SCAN_MODEL_OK, 9, 10 },
        { "{\"mod\\u0065l\": \"a\\/b\\u00e9\\ud83d\\ude00\\n\"}", "a/b\xc3\xa9\xf0\x9f\x98\x80\n", SCAN_MODEL_OK, 15, 26 },
        { "{\"x\":{\"model\":\"no\"},\"model\":\"\"}", "", SCAN_MODEL_OK, 28, 2 },
        { "{\"messages\":[{\"model\":\"no\"}]}", "", SCAN_MODEL_NONE, 0, 0 },
        { "{\"model\":null}", "", SCAN_MODEL_NONE, 9, 4 },
        { "{\"model\":7}", "", SCAN_MODEL_NOT_STRING, 9, 1 },
        { "{\"model\":[\"x\"]}", "", SCAN_MODEL_NOT_STRING, 9, 5 },
        { "{\"model\":true}", "", SCAN_MODEL_NOT_STRING, 9, 4 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(run(sv_of(rows[i].text)), SCAN_OK);
        assert_int_equal(scan.model_state, rows[i].is);
        assert_string_equal(scan.model, rows[i].model);
        assert_int_equal(scan.model_raw.at, rows[i].at);
        assert_int_equal(scan.model_raw.n, rows[i].n);
    }
}

static void a_model_of_256_bytes_is_too_long(void **state) {
    char text[300];
    (void)state;
    for (int len = 255; len <= 256; len++) {
        int n = snprintf(text, sizeof text, "{\"model\":\"%0*d\"}", len, 0);
        assert_int_equal(run((struct sv){ text, (size_t)n }), SCAN_OK);
        assert_int_equal(scan.model_state, len == 255 ? SCAN_MODEL_OK : SCAN_MODEL_TOO_LONG);
        assert_int_equal(scan.model_raw.n, len + 2);
    }
}

static void flags_and_limits_are_read(void **state) {
    (void)state;
    assert_int_equal(run(SV("{\"stream\":true,\"think\":false,\"max_tokens\":100.0,\"max_completion_tokens\":2e2,\"n\":3,"
                            "\"options\":{\"num_predict\":64,\"x\":{\"num_predict\":1}},\"tools\":[{}]}")),
                     SCAN_OK);
    assert_true(scan.stream == SCAN_TRUE && scan.think == SCAN_FALSE);
    assert_true(scan.max_tokens == 100 && scan.max_completion_tokens == 200 && scan.n == 3 && scan.num_predict == 64);
    assert_true(scan.has_tools && !scan.has_image);
    assert_int_equal(scan_output_limit(&scan), 64);
    assert_int_equal(run(SV("{\"stream\":null,\"think\":\"high\",\"max_tokens\":-1,\"max_output_tokens\":1.5,\"tools\":[]}")),
                     SCAN_OK);
    assert_true(scan.stream == SCAN_NULL && scan.think == SCAN_OTHER && scan.max_tokens == -1);
    assert_true(scan.max_output_tokens == -1 && !scan.has_tools && scan_output_limit(&scan) == -1);
    assert_int_equal(run(SV("{\"stream\":\"true\",\"max_tokens\":99999999999999999999,\"tools\":null}")), SCAN_OK);
    assert_true(scan.stream == SCAN_OTHER && scan.max_tokens == INT64_MAX && !scan.has_tools);
    assert_int_equal(run(SV("{}")), SCAN_OK);
    assert_true(scan.stream == SCAN_ABSENT && scan.empty && scan.open == 1);
}

static void stream_options_are_found(void **state) {
    (void)state;
    assert_int_equal(run(SV("{ \"stream_options\" : { \"include_usage\" : false , \"a\":1 } }")), SCAN_OK);
    assert_true(scan.stream_options.at == 21 && scan.stream_options.n == 35 && scan.stream_options_open == 22);
    assert_true(scan.include_usage == SCAN_FALSE && scan.include_usage_raw.at == 41 && scan.include_usage_raw.n == 5);
    assert_false(scan.stream_options_empty);
    assert_int_equal(run(SV("{\"stream_options\":{\"include_usage\":{\"include_usage\":true}}}")), SCAN_OK);
    assert_true(scan.include_usage == SCAN_OTHER && scan.include_usage_raw.at == 35 && scan.include_usage_raw.n == 22);
    assert_int_equal(run(SV("{\"stream_options\":null,\"include_usage\":true}")), SCAN_OK);
    assert_true(scan.stream_options_kind == SCAN_NULL && scan.stream_options_open == 0 && scan.include_usage == SCAN_ABSENT);
    assert_int_equal(run(SV("{\"stream_options\":{}}")), SCAN_OK);
    assert_true(scan.stream_options_empty && scan.stream_options_open == 19);
}

static void images_are_seen_only_where_content_stands(void **state) {
    static const struct {
        const char *text;
        unsigned images;
        bool has;
    } rows[] = {
        { "{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:x\"}}]}]}", 1, true },
        { "{\"messages\":[{\"content\":[{\"image_url\":\"http://x\"}]}]}", 0, true },
        { "{\"messages\":[{\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"data\":\"\"}}]}]}", 1, true },
        { "{\"messages\":[{\"content\":[{\"type\":\"tool_result\",\"content\":[{\"type\":\"image\"}]}]}]}", 1, true },
        { "{\"input\":[{\"content\":[{\"type\":\"input_image\",\"image_url\":\"x\"}]}]}", 1, true },
        { "{\"messages\":[{\"role\":\"user\",\"images\":[\"AAAA\",\"BBBB\"]}]}", 2, true },
        { "{\"prompt\":\"x\",\"images\":[\"AAAA\"]}", 1, true },
        { "{\"prompt\":\"x\",\"images\":[]}", 0, false },
        { "{\"prompt\":\"x\",\"images\":null}", 0, false },
        { "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"image_url\"}]}]}", 0, false },
        { "{\"tools\":[{\"properties\":{\"image\":{\"type\":\"string\"},\"images\":[1]}},{\"type\":\"image\"}]}", 0, false },
        { "{\"messages\":[{\"content\":[{\"type\":\"tool_use\",\"input\":{\"image\":\"x\",\"a\":[{\"type\":\"image\"}]}}]}]}", 0, false },
        { "{\"messages\":[{\"tool_calls\":[{\"function\":{\"arguments\":{\"image\":\"x\"}}}]}]}", 0, false },
        { "{\"metadata\":{\"image\":\"x\"},\"type\":\"image\"}", 0, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(run(sv_of(rows[i].text)), SCAN_OK);
        assert_int_equal(scan.n_images, rows[i].images);
        assert_int_equal(scan.has_image, rows[i].has);
    }
}

static void a_body_that_may_hold_a_link_is_noticed(void **state) {
    static const struct {
        const char *text;
        bool may;
    } rows[] = {
        { "{\"messages\":[{\"content\":\"http://x/\"}]}", false },
        { "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}],\"metadata\":{\"url\":\"x\"}}", false },
        { "{\"messages\":[{\"content\":[{\"type\":\"tool_use\",\"input\":{\"url\":\"x\"}}]}]}", false },
        { "{\"messages\":[{\"content\":[{\"type\":\"sound\"}]}]}", true },
        { "{\"messages\":[{\"content\":[{\"video_url\":\"x\"}]}]}", true },
        { "{\"messages\":[{\"content\":[{\"input_a\\u0075dio\":{\"x\":1}}]}]}", true },
        { "{\"prompt\":\"x\",\"images\":[\"x\"]}", true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(run(sv_of(rows[i].text)), SCAN_OK);
        assert_int_equal(scan.has_media, rows[i].may);
    }
    assert_true(scan_is_link_name(SV("url")) && scan_is_link_name(SV("image_urls")) && scan_is_link_name(SV("file_data")));
    assert_false(scan_is_link_name(SV("curl")) || scan_is_link_name(SV("metadata")) || scan_is_link_name(SV("data_1")) || scan_is_link_name(SV("s")));
}

static void input_is_measured_without_its_images(void **state) {
    char text[600];
    (void)state;
    assert_int_equal(run(SV("{\"model\":\"m\",\"messages\":[1,2],\"system\":\"abc\",\"tools\":[ ],\"user\":\"x\"}")), SCAN_OK);
    assert_int_equal(scan.input_bytes, 5 + 5 + 3);
    assert_int_equal(scan.n_messages, 2);
    int n = snprintf(text, sizeof text, "{\"messages\":[{\"content\":[{\"image_url\":{\"url\":\"%0300d\"}},{\"data\":\"short\"}]}]}", 0);
    assert_int_equal(run((struct sv){ text, (size_t)n }), SCAN_OK);
    assert_int_equal(scan.blob_bytes, 300);
    assert_int_equal(scan.n_messages, 1);
}

static uint64_t affinity(const char *text) {
    assert_int_equal(run(sv_of(text)), SCAN_OK);
    return scan_affinity(&scan);
}

static void the_turns_of_a_conversation_share_a_key(void **state) {
    (void)state;
    const char *sys = "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"hi\"}]}";
    const char *sys2 = "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"hi\"},"
                       "{\"role\":\"assistant\",\"content\":\"yo\"},{\"role\":\"user\",\"content\":\"more\"}]}";
    const char *other = "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"ho\"}]}";
    assert_true(affinity(sys) != 0);
    assert_true(affinity(sys) == affinity(sys2));
    assert_true(affinity(sys) != affinity(other));
    const char *turn1 = "{\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    const char *turn2 = "{\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"x\"}]}";
    assert_true(affinity(turn1) == affinity(turn2));
    assert_true(affinity(turn1) != affinity("{\"system\":\"t\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"));
    assert_true(affinity("{\"prompt\":\"abc\"}") == affinity("{\"temperature\":1,\"prompt\":\"abc\"}"));
    assert_true(affinity("{\"prompt\":\"abc\"}") != affinity("{\"prompt\":\"abd\"}"));
    assert_true(affinity("{\"input\":[{\"role\":\"user\",\"content\":\"a\"}],\"instructions\":\"i\"}") != 0);
    assert_true(affinity("{\"model\":\"m\"}") == 0);
}

static void a_reply_gives_up_the_members_asked_for(void **state) {
    struct sv reply = SV("{\"id\":\"x\",\"choices\":[{\"usage\":{\"no\":1}}],\"usage\": {\"prompt_tokens\":21} ,\"model\":\"a\","
                         "\"model\":\"b\",\"lone\":\"\\ud83d\",\"us\\u0061ge2\":7,\"long\":\"0123456789\"}");
    (void)state;
    for (size_t step = 0; step < 9; step++) {
        char usage[64], seven[8], lng[4];
        struct scan_slot slots[] = { { .name = "usage", .text = usage, .room = sizeof usage },
                                     { .name = "usage2", .text = seven, .room = sizeof seven },
                                     { .name = "long", .text = lng, .room = sizeof lng },
                                     { .name = "choices" },
                                     { .name = "absent", .text = seven, .room = 0 } };
        struct scan s;
        scan_capture(&s, slots, 5);
        assert_int_equal(feed(&s, reply, step), SCAN_OK);
        assert_true(sv_eq((struct sv){ usage, (size_t)slots[0].n }, SV("{\"prompt_tokens\":21}")));
        assert_true(sv_eq((struct sv){ seven, (size_t)slots[1].n }, SV("7")));
        assert_true(slots[2].n == 12 && memcmp(lng, "\"012", 4) == 0);
        assert_true(slots[3].seen && slots[3].n == 20 && !slots[4].seen);
    }
}

static void a_bad_reply_still_gives_what_came_before(void **state) {
    char usage[64];
    struct scan_slot slot = { .name = "usage", .text = usage, .room = sizeof usage };
    struct scan s;
    (void)state;
    scan_capture(&s, &slot, 1);
    assert_int_equal(feed(&s, SV("{\"usage\":{\"a\":1},\"x\":oops}"), 0), SCAN_BAD);
    assert_true(slot.seen && slot.n == 7);
    assert_int_equal(scan_feed(&s, SV("more")), SCAN_BAD);
}

/* What one way makes of a text. */
struct told {
    enum scan_result is;
    uint64_t n_utf8[3];
    char text[sizeof err.text];
};

static struct told tell(enum run_way way, struct sv text, size_t step) {
    struct scan s;
    struct told t;
    scan_init(&s);
    s.way = way;
    t.is = feed(&s, text, step);
    memcpy(t.n_utf8, s.n_utf8, sizeof t.n_utf8);
    memcpy(t.text, err.text, sizeof t.text);
    return t;
}

static void same_told(struct told a, struct told b) {
    assert_int_equal(a.is, b.is);
    if (a.is == SCAN_BAD)
        assert_string_equal(a.text, b.text);
    else
        assert_memory_equal(a.n_utf8, b.n_utf8, sizeof a.n_utf8);
}

/* The vectors find what the machine finds. */
static struct told all_ways(struct sv text) {
    struct told machine = tell(RUN_BYTES, text, 0);
    for (enum run_way way = RUN_16; way <= run_best(); way++)
        same_told(tell(way, text, 0), machine);
    return machine;
}

static void fast_loops_stop_at_every_place(void **state) {
    static const char stops[] = { '"', '\\', 0x1f, (char)0x80, (char)0xff };
    char text[200], place[32];
    (void)state;
    for (size_t at = 0; at < 149; at++) {
        for (size_t i = 0; i < sizeof stops; i++) {
            int n = snprintf(text, sizeof text, "{\"a\":\"%0150d\"}", 0);
            text[6 + at] = stops[i];
            struct told t = all_ways((struct sv){ text, (size_t)n });
            assert_int_equal(t.is, SCAN_BAD);
            snprintf(place, sizeof place, "body, byte %zu:", 6 + at + (i < 2));
            assert_true(sv_starts(sv_of(t.text), sv_of(place)));
        }
    }
}

static void fast_loops_step_over_escapes_and_characters_at_every_place(void **state) {
    static const struct {
        const char *text;
        int good; /* index of n_utf8 that counts it, 3 = none, -1 = refused */
    } pieces[] = { { "\\n", 3 },      { "\\\"", 3 },      { "\\\\", 3 },       { "\\\\\\\\\\/", 3 }, { "\\u00e9", 3 },
                   { "\\b\\f\\r\\t", 3 },
                   { "\\uD83d\\udE00", 3 }, { "\xc3\xa9", 0 },  { "\xe4\xbd\xa0", 1 }, { "\xe0\xa4\x85", 1 },
                   { "\xed\x9f\xbf", 1 }, { "\xf0\x9f\x98\x80", 2 }, { "\xf4\x8f\xbf\xbf", 2 }, { "\xc3\x28", -1 },
                   { "\xe4\xbd\x28", -1 }, { "\xf1\x9f\x98\x28", -1 }, { "\xed\xa0\x80", -1 }, { "\xc1\x81", -1 },
                   { "\xc3\xa9\xa9", -1 }, { "\\q", -1 },     { "\\\\\\x", -1 },  { "\\u12g4", -1 },   { "\\udc00", -1 },
                   { "\\\x01", -1 },  { "\\2", -1 },
                   { "\\ud83d\\n", -1 }, { "\\ud83d\\ud83d", -1 }, { "\\\xc3\xa9", -1 } };
    char text[400];
    (void)state;
    for (size_t at = 0; at < 140; at++) {
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            int n = snprintf(text, sizeof text, "{\"a\":\"%0*d%s%0150d\",\"model\":\"m\"}", (int)at + 1, 0, pieces[i].text, 0);
            struct told t = all_ways((struct sv){ text, (size_t)n });
            assert_int_equal(t.is == SCAN_OK, pieces[i].good >= 0);
            for (int k = 0; k < 3 && t.is == SCAN_OK; k++)
                assert_int_equal(t.n_utf8[k], k == pieces[i].good);
        }
    }
}

static void fast_loops_leave_nothing_good_to_the_machine(void **state) {
    static const char *const pieces[] = { "\\b", "\\f", "\\n", "\\r", "\\t", "\\/", "\\\"", "\\\\", "\\u0aF9", "\\uD7ff", "\\ue000", "\\ud800\\udc00",
                                          "\\uDbFf\\uDfFf", "\xc2\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf" };
    char text[400];
    (void)state;
    for (enum run_way way = RUN_16; way <= run_best(); way++) {
        for (size_t at = 0; at < 140; at++) {
            for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
                uint64_t n_utf8[3] = { 0 };
                int n = snprintf(text, sizeof text, "000%.*s%s%0150d", (int)at, "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddaaaaaaaaaabbbbbbbbbb"
                                 "ccccccccccddddddddddaaaaaaaaaabbbbbbbbbbccccccccccddddddddddaaaaaaaaaabbbbbbbbbb", pieces[i], 0);
                assert_true(run_text(way, text + 3, text, text + n, n_utf8) > text + n - RUN_BLOCK);
            }
        }
    }
}

/* Each pair of bytes, and all that may matter of three and four, inside a block and across its border. */
static void fast_loops_know_every_character(void **state) {
    static const unsigned char next[] = { 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0 };
    enum { AT = 9, FAR = 61 }; /* the first block begins near the first escape */
    char text[260];
    (void)state;
    for (unsigned c = 0x80; c < 0x100; c++) {
        for (unsigned d = 0; d < 0x100; d++) {
            for (unsigned rest = 0; rest < sizeof next * sizeof next; rest++) {
                bool same = rest && d != 0x7f && d != 0x80 && d != 0x8f && d != 0x90 && d != 0x9f && d != 0xa0 && d != 0xbf;
                if (same || (c < 0xc0 && rest))
                    continue;
                for (unsigned at = AT; at <= FAR + 3; at = at == AT ? FAR : at + 1) {
                    int n = snprintf(text, sizeof text, "{\"a\":\"0000\\n%0180d\"}", 0);
                    unsigned char *to = (unsigned char *)text + 10 + at;
                    to[0] = (unsigned char)c;
                    to[1] = (unsigned char)d;
                    to[2] = rest ? next[rest / sizeof next] : '0';
                    to[3] = rest ? next[rest % sizeof next] : '0';
                    all_ways((struct sv){ text, (size_t)n });
                }
            }
        }
    }
}

static void any_text_is_the_same_to_all_ways_in_any_steps(void **state) {
    static const char *const pieces[] = { "a", "words and words", "0123456789abcdefghijklmnopqrstuvwxyz0123456789", "\\n", "\\\"", "\\\\", "\\b",
                                          "\\\\\\\\\\\\", "\\/", "\\u0041", "\\ud83d\\ude00", "\xc3\xa9", "\xe4\xbd\xa0", "\xe0\xa0\x80",
                                          "\xed\x9f\xbf", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\",\"b\":\"" };
    static const char *const faults[] = { "\x80", "\xc3", "\xe4\xbd", "\xf0\x9f\x98", "\xf5\x80\x80\x80", "\x01", "\\q", "\\u12", "\\ud83d",
                                          "\\ude00", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf" };
    static const size_t steps[] = { 0, 1, 63, 64, 65, 100 };
    uint32_t random = 1;
    char text[1200];
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct sv body = { text, (size_t)snprintf(text, sizeof text, "{\"a\":\"") };
        for (int left = 4 + round % 60; left; left--) {
            random = random * 1664525 + 1013904223;
            unsigned pick = random >> 8;
            bool bad = round % 3 == 0 && pick % 61 == 0;
            const char *piece = bad ? faults[(pick >> 8) % (sizeof faults / sizeof faults[0])]
                                    : pieces[(pick >> 8) % (sizeof pieces / sizeof pieces[0])];
            if (body.n + strlen(piece) > sizeof text - 80)
                break;
            memcpy(text + body.n, piece, strlen(piece));
            body.n += strlen(piece);
        }
        body.n += (size_t)snprintf(text + body.n, sizeof text - body.n, "%.*s\"}", round % 70,
                                   "......................................................................");
        struct told whole = all_ways(body);
        for (size_t i = 1; i < sizeof steps / sizeof steps[0]; i++)
            same_told(tell(run_best(), body, steps[i]), whole);
    }
}

static void reaches(struct sv text, const char *place) {
    for (enum run_way way = RUN_16; way <= run_best(); way++) {
        uint64_t n_utf8[3] = { 0 };
        assert_true(run_text(way, text.p + 6, text.p, text.p + text.n, n_utf8) > place);
    }
}

/* The fast loops look at some thousand bytes at a time; where that ends nothing may be lost, and no count may run over. */
static void fast_loops_go_through_long_texts(void **state) {
    static const char *const pieces[] = { "\xc3\xa9", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80", "\\\\", "\\u4f60", "\\ud83d\\ude00",
                                          "\xc3\xa9 \\u4f60", "a", "seven\xc3\xa9", "\\n\xe4\xbd\xa0\xc3\xa9" };
    enum { ROOM = 15000, ODD = 2900, FAR = 3700 }; /* bytes */
    char *text = malloc(ROOM + 80);
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        for (size_t at = 0; at < 64; at++) {
            size_t n = (size_t)sprintf(text, "{\"a\":\"\\n%0*d", (int)at + 1, 0);
            for (; n < ROOM; n += strlen(pieces[i]))
                memcpy(text + n, pieces[i], strlen(pieces[i]) + 1);
            n += (size_t)sprintf(text + n, "\"}");
            assert_int_equal(all_ways((struct sv){ text, n }).is, SCAN_OK);
            reaches((struct sv){ text, n }, text + n - 2 * RUN_BLOCK);
            for (size_t odd = ODD + at; odd < FAR; odd += 61) {
                char was = text[odd];
                text[odd] = at & 1 ? '\x80' : at & 2 ? '"' : '\xed';
                all_ways((struct sv){ text, n });
                reaches((struct sv){ text, n }, text + odd - 2 * RUN_BLOCK);
                text[odd] = was;
            }
        }
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_accepted),
        cmocka_unit_test(faults_are_named_with_their_place),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(every_beginning_is_incomplete),
        cmocka_unit_test(depth_has_a_ceiling),
        cmocka_unit_test(members_have_a_ceiling),
        cmocka_unit_test(the_model_is_found_and_decoded),
        cmocka_unit_test(a_model_of_256_bytes_is_too_long),
        cmocka_unit_test(flags_and_limits_are_read),
        cmocka_unit_test(stream_options_are_found),
        cmocka_unit_test(images_are_seen_only_where_content_stands),
        cmocka_unit_test(a_body_that_may_hold_a_link_is_noticed),
        cmocka_unit_test(input_is_measured_without_its_images),
        cmocka_unit_test(the_turns_of_a_conversation_share_a_key),
        cmocka_unit_test(a_reply_gives_up_the_members_asked_for),
        cmocka_unit_test(a_bad_reply_still_gives_what_came_before),
        cmocka_unit_test(fast_loops_stop_at_every_place),
        cmocka_unit_test(fast_loops_step_over_escapes_and_characters_at_every_place),
        cmocka_unit_test(fast_loops_leave_nothing_good_to_the_machine),
        cmocka_unit_test(fast_loops_know_every_character),
        cmocka_unit_test(fast_loops_go_through_long_texts),
        cmocka_unit_test(any_text_is_the_same_to_all_ways_in_any_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
