#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/ws.h"

/* What a stream gives, as text: "text:hi closed:1000:bye | 88 02 03 e8" (events, then the bytes for the peer). */
struct story {
    char text[4000];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void tell(struct story *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(s->text + s->n, sizeof s->text - s->n, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < sizeof s->text - s->n);
    s->n += (size_t)n;
}

static void tell_event(struct story *s, const struct ws *w, enum ws_event ev) {
    static const char *const names[] = { "more", "text", "binary", "pong", "closed", "failed" };
    if (s->n)
        tell(s, " ");
    if (ev == WS_CLOSED)
        tell(s, "closed:%u:%.*s", w->code, SV_FMT(w->data));
    else if (ev == WS_FAILED)
        tell(s, "failed:%u", w->code);
    else
        tell(s, "%s:%.*s", names[ev], (int)(w->data.n > 40 ? 40 : w->data.n), w->data.p ? w->data.p : "");
}

/* Feeds pieces of at most step bytes, each in a block of exactly its size. */
static void play(enum ws_role role, const struct ws_limits *limits, struct sv bytes, size_t step, struct story *s) {
    struct ws w;
    struct buf out = BUF_MAX(1 << 20);
    enum ws_event ev = WS_MORE;
    s->n = 0;
    s->text[0] = '\0';
    assert_true(ws_init(&w, role, limits));
    while (bytes.n && ev != WS_CLOSED && ev != WS_FAILED) {
        struct sv piece = sv_first(bytes, step);
        char *exact = malloc(piece.n);
        memcpy(exact, piece.p, piece.n);
        struct sv in = { exact, piece.n };
        while ((ev = ws_feed(&w, &in, 5000, &out)) != WS_MORE) {
            tell_event(s, &w, ev);
            if (ev == WS_CLOSED || ev == WS_FAILED) {
                assert_int_equal(w.state, WS_ENDED);
                assert_int_equal(ws_feed(&w, &in, 5000, &out), ev); /* and stays so */
                break;
            }
        }
        if (ev == WS_MORE)
            assert_int_equal(in.n, 0);
        free(exact);
        bytes = sv_from(bytes, piece.n);
    }
    if (out.n)
        tell(s, " |");
    for (size_t i = 0; i < out.n && i < 12; i++)
        tell(s, " %02x", (unsigned)(unsigned char)out.p[i]);
    ws_deinit(&w);
    buf_deinit(&out);
}

#define B(literal)                                                                                                     \
    { "" literal, sizeof(literal) - 1 }
#define M0 "\0\0\0\0" /* a mask that changes nothing */

static void frames_become_events_whole_and_byte_by_byte(void **state) {
    /* clang-format off */
    static const struct {
        enum ws_role role;
        struct sv bytes;
        const char *want;
    } cases[] = {
        { WS_SERVER, B("\x81\x82" M0 "hi"), "text:hi" },
        { WS_SERVER, B("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "text:Hello" }, /* section 5.7 */
        { WS_CLIENT, B("\x81\x05Hello"), "text:Hello" },
        { WS_CLIENT, B("\x01\x03Hel\x80\x02lo"), "text:Hello" },
        { WS_CLIENT, B("\x81\x00"), "text:" },
        { WS_CLIENT, B("\x82\x00\x81\x01x"), "binary: text:x" },
        { WS_CLIENT, B("\x82\x02\xff\xfe"), "binary:\xff\xfe" },
        { WS_CLIENT, B("\x01\x00\x00\x00\x80\x01x"), "text:x" },
        { WS_CLIENT, B("\x01\x01""a\x8a\x01p\x00\x01""b\x8a\x00\x80\x01""c"), "pong:p pong: text:abc" },
        { WS_SERVER, B("\x89\x83" M0 "abc"), " | 8a 03 61 62 63" },
        { WS_SERVER, B("\x01\x81" M0 "a\x89\x80" M0 "\x80\x81" M0 "b"), "text:ab | 8a 00" },
        { WS_SERVER, B("\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), " | 8a 05 48 65 6c 6c 6f" },
        { WS_SERVER, B("\x88\x80" M0), "closed:1005: | 88 00" },
        { WS_SERVER, B("\x88\x82" M0 "\x03\xe8"), "closed:1000: | 88 02 03 e8" },
        { WS_SERVER, B("\x88\x85" M0 "\x03\xe9" "bye\x81\x81" M0 "x"), "closed:1001:bye | 88 02 03 e9" },
        { WS_SERVER, B("\x88\x82" M0 "\x0b\xb8"), "closed:3000: | 88 02 0b b8" },
        { WS_CLIENT, B("\x82\x7e\x00\x7e" "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                       "01234567890123456789012345"), "binary:0123456789012345678901234567890123456789" },
        /* what is refused, and the code it gets */
        { WS_SERVER, B("\x81\x02hi"), "failed:1002 | 88 26 03 ea 61 20 66 72 61 6d 65 20" },
        { WS_CLIENT, B("\x81\x82" M0 "hi"), "failed:1002 |" },
        { WS_CLIENT, B("\xc1\x01x"), "failed:1002 |" },  /* RSV1: compression that nobody agreed on */
        { WS_CLIENT, B("\xa1\x01x"), "failed:1002 |" },
        { WS_CLIENT, B("\x91\x01x"), "failed:1002 |" },
        { WS_CLIENT, B("\x83\x01x"), "failed:1002 |" },  /* opcodes 3 to 7 and 11 to 15 */
        { WS_CLIENT, B("\x87\x01x"), "failed:1002 |" },
        { WS_CLIENT, B("\x8b\x01x"), "failed:1002 |" },
        { WS_CLIENT, B("\x8f\x00"), "failed:1002 |" },
        { WS_CLIENT, B("\x80\x01x"), "failed:1002 |" },
        { WS_CLIENT, B("\x01\x01x\x81\x01y"), "failed:1002 |" },
        { WS_CLIENT, B("\x01\x01x\x02\x01y"), "failed:1002 |" },
        { WS_CLIENT, B("\x09\x00"), "failed:1002 |" },  /* a ping in fragments */
        { WS_CLIENT, B("\x89\x7e\x00\x7e"), "failed:1002 |" },  /* a ping of 126 bytes */
        { WS_CLIENT, B("\x82\x7e\x00\x05hello"), "failed:1002 |" },  /* not the shortest length */
        { WS_CLIENT, B("\x82\x7f\0\0\0\0\0\0\0\x05hello"), "failed:1002 |" },
        { WS_CLIENT, B("\x82\x7f\x80\0\0\0\0\0\0\x05hello"), "failed:1002 |" },
        { WS_CLIENT, B("\x81\x02\xc3\x28"), "failed:1007 |" },
        { WS_CLIENT, B("\x81\x01\xc3"), "failed:1007 |" },
        { WS_CLIENT, B("\x81\x03\xed\xa0\x80"), "failed:1007 |" },
        { WS_CLIENT, B("\x01\x01\xc3\x80\x01\xa4"), "text:\xc3\xa4" }, /* cut within a character */
        { WS_CLIENT, B("\x88\x01x"), "failed:1002 |" },
        { WS_CLIENT, B("\x88\x02\x03\xe7"), "failed:1002 |" },  /* 999 */
        { WS_CLIENT, B("\x88\x02\x03\xec"), "failed:1002 |" },  /* 1004 */
        { WS_CLIENT, B("\x88\x02\x03\xed"), "failed:1002 |" },  /* 1005 */
        { WS_CLIENT, B("\x88\x02\x03\xee"), "failed:1002 |" },  /* 1006 */
        { WS_CLIENT, B("\x88\x02\x03\xf7"), "failed:1002 |" },  /* 1015 */
        { WS_CLIENT, B("\x88\x02\x0b\xb7"), "failed:1002 |" },  /* 2999 */
        { WS_CLIENT, B("\x88\x02\x13\x88"), "failed:1002 |" },  /* 5000 */
        { WS_CLIENT, B("\x88\x04\x03\xe8\xc3\x28"), "failed:1007 |" },
    };
    /* clang-format on */
    (void)state;
    int n_wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct story whole, bytes;
        const char *want = cases[i].want;
        bool is_head = want[strlen(want) - 1] == '|'; /* the close frame a client sends is masked at random */
        play(cases[i].role, &WS_LIMITS, cases[i].bytes, SIZE_MAX, &whole);
        play(cases[i].role, &WS_LIMITS, cases[i].bytes, 1, &bytes);
        char *end = is_head ? strchr(whole.text, '|') : NULL;
        if (end)
            end[1] = '\0';
        end = is_head ? strchr(bytes.text, '|') : NULL;
        if (end)
            end[1] = '\0';
        if (strcmp(whole.text, want) != 0 || strcmp(bytes.text, want) != 0) {
            print_error("row %zu\n   want: %s\n  whole: %s\n  bytes: %s\n", i, want, whole.text, bytes.text);
            n_wrong++;
        }
    }
    assert_int_equal(n_wrong, 0);
}

static void limits_close_with_their_codes(void **state) {
    static const struct ws_limits small = { .frame = 16, .message = 24, .fragments = 4, .control_per_s = 3 };
    /* clang-format off */
    static const struct {
        struct sv bytes;
        const char *want;
    } cases[] = {
        { B("\x82\x10" "0123456789abcdef"), "binary:0123456789abcdef" },
        { B("\x82\x11" "0123456789abcdefg"), "failed:1009" },
        { B("\x02\x10" "0123456789abcdef\x80\x08" "01234567"), "binary:0123456789abcdef01234567" },
        { B("\x02\x10" "0123456789abcdef\x80\x09" "012345678"), "failed:1009" },
        { B("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffx"), "failed:1009" },
        { B("\x02\x01""a\x00\x01""b\x00\x01""c\x80\x01""d"), "binary:abcd" },
        { B("\x02\x01""a\x00\x01""b\x00\x01""c\x00\x01""d\x80\x01""e"), "failed:1008" },
        { B("\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "failed:1008" },
        { B("\x8a\x00\x8a\x00\x8a\x00\x81\x01x"), "pong: pong: pong: text:x" },
        { B("\x8a\x00\x8a\x00\x8a\x00\x8a\x00"), "pong: pong: pong: failed:1008" },
        { B("\x82\x10" "0123456789abcdef\x82\x10" "0123456789abcdef\x82\x10" "0123456789abcdef"),
          "binary:0123456789abcdef binary:0123456789abcdef binary:0123456789abcdef" },
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= 64; step += 63) {
            struct story s;
            play(WS_CLIENT, &small, cases[i].bytes, step, &s);
            char *bar = strstr(s.text, " |");
            if (bar)
                *bar = '\0';
            assert_string_equal(s.text, cases[i].want);
        }
}

static void control_frames_are_counted_by_the_second(void **state) {
    struct ws w;
    struct buf out = BUF_MAX(1 << 16);
    (void)state;
    assert_true(ws_init(&w, WS_SERVER, &WS_LIMITS));
    for (uint64_t ms = 0; ms < 5000; ms += 50) { /* just 20 in any second */
        struct sv in = B("\x89\x80" M0);
        assert_int_equal(ws_feed(&w, &in, 1000000 + ms, &out), WS_MORE);
    }
    enum ws_event ev = WS_MORE;
    for (int i = 0; i < 21 && ev == WS_MORE; i++) {
        struct sv in = B("\x89\x80" M0);
        ev = ws_feed(&w, &in, 2000000, &out);
    }
    assert_int_equal(ev, WS_FAILED);
    assert_int_equal(w.code, WS_POLICY);
    ws_deinit(&w);
    buf_deinit(&out);
}

/* Everything one side sends the other understands. */
static void two_ends_understand_each_other(void **state) {
    static const struct ws_limits limits = { 1000, 70000, 100, 20 };
    static const size_t sizes[] = { 0, 1, 125, 126, 127, 999, 1000, 1001, 2000, 2001, 4096, 4097, 65535, 65536, 70000 };
    (void)state;
    char *big = malloc(70001);
    for (size_t i = 0; i < 70001; i++)
        big[i] = (char)('a' + i % 23);
    for (int role = WS_SERVER; role <= WS_CLIENT; role++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct ws a, b;
            struct buf out = BUF_MAX(1 << 20), back = BUF_MAX(1 << 20);
            assert_true(ws_init(&a, (enum ws_role)role, &limits) &&
                        ws_init(&b, role == WS_SERVER ? WS_CLIENT : WS_SERVER, &limits));
            assert_true(ws_send(&a, WS_TEXT, (struct sv){ big, sizes[i] }, &out));
            assert_true(ws_ping(&a, SV("p"), &out));
            assert_true(ws_send(&a, WS_BINARY, (struct sv){ big, sizes[i] }, &out));
            assert_true(ws_close(&a, WS_GOING_AWAY, SV("bye"), &out));
            assert_false(ws_send(&a, WS_TEXT, SV("late"), &out));
            assert_false(ws_ping(&a, SV(""), &out));
            assert_false(ws_close(&a, WS_NORMAL, SV(""), &out));
            struct sv in = buf_sv(&out);
            assert_int_equal(ws_feed(&b, &in, 1, &back), WS_TEXT);
            assert_true(sv_eq(b.data, (struct sv){ big, sizes[i] }));
            assert_int_equal(ws_feed(&b, &in, 1, &back), WS_BINARY);
            assert_true(sv_eq(b.data, (struct sv){ big, sizes[i] }));
            assert_int_equal(ws_feed(&b, &in, 1, &back), WS_CLOSED);
            assert_int_equal(b.code, WS_GOING_AWAY);
            assert_true(sv_eq(b.data, SV("bye")));
            in = buf_sv(&back);
            assert_int_equal(ws_feed(&a, &in, 1, &out), WS_CLOSED); /* the pong is read over */
            assert_int_equal(a.code, WS_GOING_AWAY);
            ws_deinit(&a);
            ws_deinit(&b);
            buf_deinit(&out);
            buf_deinit(&back);
        }
    free(big);
}

static void a_client_masks_each_frame_anew(void **state) {
    struct ws w;
    struct buf out = BUF_MAX(1 << 16);
    (void)state;
    assert_true(ws_init(&w, WS_CLIENT, &WS_LIMITS));
    for (int i = 0; i < 4; i++)
        assert_true(ws_send(&w, WS_TEXT, SV("xxxxxxxx"), &out));
    assert_int_equal(out.n, 4 * 14);
    for (int i = 0; i < 4; i++) {
        assert_int_equal((unsigned char)out.p[14 * i + 1], 0x88);
        assert_true(i == 0 || memcmp(out.p + 14 * i + 2, out.p + 2, 4) != 0);
    }
    ws_deinit(&w);
    buf_deinit(&out);
}

static void after_our_close_the_rest_is_read_over(void **state) {
    struct ws w;
    struct buf out = BUF_MAX(1 << 16);
    struct sv in = B("\x81\x01x\x89\x00\x01\x01y\x80\x01z\x88\x02\x03\xe8\x81\x01x");
    (void)state;
    assert_true(ws_init(&w, WS_CLIENT, &WS_LIMITS));
    assert_true(ws_close(&w, WS_NORMAL, SV(""), &out));
    size_t n = out.n;
    assert_int_equal(ws_feed(&w, &in, 1, &out), WS_CLOSED);
    assert_int_equal(w.code, WS_NORMAL);
    assert_int_equal(out.n, n); /* no pong and no second close */
    ws_deinit(&w);
    buf_deinit(&out);
}

static void a_long_reason_is_cut_between_characters(void **state) {
    struct ws w;
    struct buf out = BUF_MAX(1 << 16);
    char reason[200];
    (void)state;
    reason[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof reason; i += 2)
        memcpy(reason + i, "\xc3\xa4", 2);
    assert_true(ws_init(&w, WS_SERVER, &WS_LIMITS));
    assert_true(ws_close(&w, WS_NORMAL, (struct sv){ reason, sizeof reason - 1 }, &out));
    assert_int_equal(out.n, 2 + 2 + 123);
    assert_int_equal((unsigned char)out.p[out.n - 1], 0xa4);
    ws_deinit(&w);
    buf_deinit(&out);
}

static void nothing_is_half_sent(void **state) {
    struct ws w;
    struct buf out = BUF_MAX(100);
    char data[200];
    struct sv in = B("\x89\x80" M0);
    (void)state;
    memset(data, 'x', sizeof data);
    assert_true(ws_init(&w, WS_SERVER, &(struct ws_limits){ 50, 150, 10, 20 }));
    assert_false(ws_send(&w, WS_BINARY, (struct sv){ data, 90 }, &out));  /* no room for the worst case */
    assert_false(ws_send(&w, WS_BINARY, (struct sv){ data, 151 }, &out)); /* beyond our own limit */
    assert_false(ws_send(&w, WS_TEXT, SV("\xff"), &out));
    assert_false(ws_ping(&w, (struct sv){ data, 126 }, &out));
    assert_int_equal(out.n, 0);
    assert_true(ws_send(&w, WS_BINARY, (struct sv){ data, 70 }, &out));
    assert_true(ws_send(&w, WS_BINARY, (struct sv){ data, 1 }, &out));
    size_t n = out.n;
    assert_int_equal(n, 74 + 3);
    out.max = n + 5;
    assert_int_equal(ws_feed(&w, &in, 1, &out), WS_FAILED); /* no room for a pong */
    assert_int_equal(w.err.code, ERR_NO_MEMORY);
    assert_int_equal(out.n, n);
    ws_deinit(&w);
    buf_deinit(&out);
}

static void refused_memory_ends_the_connection_cleanly(void **state) {
    (void)state;
    bool done = false;
    for (long n = 1; !done; n++) {
        struct ws w;
        struct buf out = BUF_MAX(1 << 16);
        struct sv in = B("\x89\x80" M0 "\x01\x81" M0 "a\x80\x81" M0 "b");
        assert_true(ws_init(&w, WS_SERVER, &WS_LIMITS));
        mem_fail_at(n, 1);
        enum ws_event ev = ws_feed(&w, &in, 1, &out);
        done = !mem_fail_hit();
        mem_fail_at(0, 0);
        assert_int_equal(ev, done ? WS_TEXT : WS_FAILED);
        if (!done)
            assert_int_equal(w.err.code, ERR_NO_MEMORY);
        ws_deinit(&w);
        ws_deinit(&w); /* harmless */
        buf_deinit(&out);
    }
}

/* ---- the handshake ---- */

static void the_accept_key_is_that_of_the_specification(void **state) {
    static const char *const bad[] = { "",
                                       "dGhlIHNhbXBsZSBub25jZQ=",
                                       "dGhlIHNhbXBsZSBub25jZQ===",
                                       "dGhlIHNhbXBsZSBub25jZQAA",
                                       "dGhlIHNhbXBsZSBub25jZ ==",
                                       "dGhlIHNhbXBsZSBub25jZR==",
                                       "dGhlIHNhbXBsZSBub25jZ!==" };
    char accept[WS_ACCEPT], key[WS_KEY], other[WS_KEY];
    (void)state;
    assert_true(ws_accept_key(SV("dGhlIHNhbXBsZSBub25jZQ=="), accept)); /* section 1.3 */
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ws_accept_key(sv_of(bad[i]), accept));
    ws_new_key(key);
    ws_new_key(other);
    assert_int_equal(strlen(key), WS_KEY - 1);
    assert_string_not_equal(key, other);
    assert_true(ws_accept_key(sv_of(key), accept));
}

#define H(n, v)                                                                                                        \
    { B(n), B(v) }
#define KEY H("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
#define UP H("upgrade", "websocket")
#define CON H("connection", "keep-alive, Upgrade")
#define V13 H("sec-websocket-version", "13")

static void requests_are_checked(void **state) {
    /* clang-format off */
    static const struct {
        const char *what;
        const char *method;
        unsigned minor;
        int64_t length;
        bool upgrade;
        struct http_header h[6];
        enum ws_handshake want;
    } cases[] = {
        { "good", "GET", 1, -1, true, { UP, CON, V13, KEY }, WS_HANDSHAKE_OK },
        { "length 0", "GET", 1, 0, true, { UP, CON, V13, KEY }, WS_HANDSHAKE_OK },
        { "any case", "GET", 1, -1, true, { H("upgrade", "WebSocket"), CON, V13, KEY }, WS_HANDSHAKE_OK },
        { "extensions offered", "GET", 1, -1, true, { UP, CON, V13, KEY, H("sec-websocket-extensions", "permessage-deflate") }, WS_HANDSHAKE_OK },
        { "post", "POST", 1, -1, true, { UP, CON, V13, KEY }, WS_HANDSHAKE_BAD },
        { "http/1.0", "GET", 0, -1, true, { UP, CON, V13, KEY }, WS_HANDSHAKE_BAD },
        { "with a body", "GET", 1, 5, true, { UP, CON, V13, KEY }, WS_HANDSHAKE_BAD },
        { "no connection: upgrade", "GET", 1, -1, false, { UP, V13, KEY }, WS_HANDSHAKE_BAD },
        { "other upgrade", "GET", 1, -1, true, { H("upgrade", "h2c"), CON, V13, KEY }, WS_HANDSHAKE_BAD },
        { "no version", "GET", 1, -1, true, { UP, CON, KEY }, WS_HANDSHAKE_VERSION },
        { "old version", "GET", 1, -1, true, { UP, CON, KEY, H("sec-websocket-version", "8") }, WS_HANDSHAKE_VERSION },
        { "no key", "GET", 1, -1, true, { UP, CON, V13 }, WS_HANDSHAKE_BAD },
        { "two keys", "GET", 1, -1, true, { UP, CON, V13, KEY, KEY }, WS_HANDSHAKE_BAD },
        { "short key", "GET", 1, -1, true, { UP, CON, V13, H("sec-websocket-key", "AAAA") }, WS_HANDSHAKE_BAD },
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_head head = { .method = sv_of(cases[i].method),
                                  .minor = cases[i].minor,
                                  .length = cases[i].length,
                                  .upgrade = cases[i].upgrade,
                                  .headers = (struct http_header *)(uintptr_t)cases[i].h };
        char accept[WS_ACCEPT] = "";
        struct err e = { 0 };
        while (head.n_headers < 6 && cases[i].h[head.n_headers].name.n)
            head.n_headers++;
        enum ws_handshake got = ws_check_request(&head, accept, &e);
        if (got != cases[i].want)
            print_error("%s: %s\n", cases[i].what, e.text);
        assert_int_equal(got, cases[i].want);
        assert_int_equal(got == WS_HANDSHAKE_OK, accept[0] != '\0');
        assert_int_equal(got == WS_HANDSHAKE_OK, e.code == ERR_NONE);
    }
    struct http_header offers[] = { H("sec-websocket-protocol", "chat, drover.v1"), H("sec-websocket-protocol", "x") };
    struct http_head head = { .headers = offers, .n_headers = 2 };
    assert_true(ws_offers(&head, SV("drover.v1")) && ws_offers(&head, SV("chat")) && ws_offers(&head, SV("x")));
    assert_false(ws_offers(&head, SV("drover")) || ws_offers(&head, SV("Chat")) || ws_offers(&head, SV("")));
}

#define ACC H("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

static void replies_are_checked(void **state) {
    /* clang-format off */
    static const struct {
        const char *what;
        int status;
        bool upgrade;
        const char *protocol;
        struct http_header h[5];
        const char *want; /* NULL: good */
    } cases[] = {
        { "good", 101, true, "", { UP, CON, ACC }, NULL },
        { "with protocol", 101, true, "a", { UP, CON, ACC, H("sec-websocket-protocol", "a") }, NULL },
        { "200", 200, false, "", { UP, CON, ACC }, "answered 200" },
        { "no upgrade", 101, false, "", { CON, ACC }, "no WebSocket" },
        { "other upgrade", 101, true, "", { H("upgrade", "h2c"), CON, ACC }, "no WebSocket" },
        { "no accept", 101, true, "", { UP, CON }, "does not belong" },
        { "wrong accept", 101, true, "", { UP, CON, H("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xO0=") }, "does not belong" },
        { "two accepts", 101, true, "", { UP, CON, ACC, ACC }, "does not belong" },
        { "extension", 101, true, "", { UP, CON, ACC, H("sec-websocket-extensions", "x") }, "extension" },
        { "unasked protocol", 101, true, "", { UP, CON, ACC, H("sec-websocket-protocol", "a") }, "subprotocol" },
        { "other protocol", 101, true, "b", { UP, CON, ACC, H("sec-websocket-protocol", "a") }, "subprotocol" },
        { "missing protocol", 101, true, "b", { UP, CON, ACC }, "subprotocol" },
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_head head = { .status = cases[i].status,
                                  .minor = 1,
                                  .upgrade = cases[i].upgrade,
                                  .headers = (struct http_header *)(uintptr_t)cases[i].h };
        struct err e = { 0 };
        while (head.n_headers < 5 && cases[i].h[head.n_headers].name.n)
            head.n_headers++;
        bool ok = ws_check_reply(&head, "dGhlIHNhbXBsZSBub25jZQ==", sv_of(cases[i].protocol), &e);
        if (ok != !cases[i].want || (!ok && !strstr(e.text, cases[i].want)))
            print_error("%s: %s\n", cases[i].what, e.text);
        assert_int_equal(ok, !cases[i].want);
        assert_true(ok || strstr(e.text, cases[i].want));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_become_events_whole_and_byte_by_byte),
        cmocka_unit_test(limits_close_with_their_codes),
        cmocka_unit_test(control_frames_are_counted_by_the_second),
        cmocka_unit_test(two_ends_understand_each_other),
        cmocka_unit_test(a_client_masks_each_frame_anew),
        cmocka_unit_test(after_our_close_the_rest_is_read_over),
        cmocka_unit_test(a_long_reason_is_cut_between_characters),
        cmocka_unit_test(nothing_is_half_sent),
        cmocka_unit_test(refused_memory_ends_the_connection_cleanly),
        cmocka_unit_test(the_accept_key_is_that_of_the_specification),
        cmocka_unit_test(requests_are_checked),
        cmocka_unit_test(replies_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
