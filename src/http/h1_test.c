/* What is refused, what is understood, and that it does not matter how the bytes are cut. */
#include "http/h1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/buf.h"
#include "base/mem.h"

static const struct h1_limits limits = { 100, 200, 400, 10, 40 };

/* Reads one message in pieces of `step` bytes and writes what happened as text. */
static void transcript(struct sv in, size_t step, bool response, struct buf *out) {
    struct h1 h;
    struct arena a;
    arena_init(&a, 1 << 20, NULL);
    h1_init(&h, response, &limits);
    h1_begin(&h, &a, false);
    bool over = false;
    for (size_t at = 0; at < in.n && !over; at += step) {
        size_t n = in.n - at < step ? in.n - at : step;
        char *exact = malloc(n);
        memcpy(exact, in.p + at, n);
        struct sv piece = { exact, n }, body;
        for (bool more = false; !over && !more;) {
            switch (h1_next(&h, &piece, &body)) {
            case H1_MORE:
                more = true;
                break;
            case H1_HEAD:
                buf_printf(out, "HEAD %.*s %.*s %d len=%lld chunked=%d keep=%d\n", SV_FMT(h.head.method), SV_FMT(h.head.path),
                           h.head.status, (long long)h.head.length, h.head.chunked, h.head.keep_alive);
                for (unsigned i = 0; i < h.head.n_headers; i++)
                    buf_printf(out, "%.*s=%.*s\n", SV_FMT(h.head.headers[i].name), SV_FMT(h.head.headers[i].value));
                buf_add(out, SV("BODY "));
                break;
            case H1_BODY:
                buf_add(out, body);
                break;
            case H1_END:
                buf_printf(out, " END");
                over = true;
                break;
            case H1_BAD:
                buf_printf(out, " BAD %d", response ? 502 : h.bad_status);
                over = true;
                break;
            }
        }
        free(exact);
    }
    if (!over) {
        enum h1_event e = h1_eof(&h);
        buf_printf(out, e == H1_END ? " END" : e == H1_MORE ? " NOTHING" : " CUT");
    }
    arena_deinit(&a);
}

static void expect(struct sv in, bool response, const char *want, const char *name) {
    for (size_t step = in.n; step; step = step > 7 ? step / 3 : step - 1) {
        struct buf out = BUF_MAX(1 << 16);
        transcript(in, step, response, &out);
        buf_add_char(&out, '\0');
        if (!strstr(out.p, want))
            fail_msg("%s, in pieces of %zu: wanted \"%s\" in:\n%s", name, step, want, out.p);
        bool in_body = strncmp(name, "chunk", 5) == 0 || strcmp(name, "trailers") == 0;
        if (strncmp(want, "BAD", 3) == 0 && !in_body && strstr(out.p, "HEAD")) /* once it reached the handler */
            fail_msg("%s, in pieces of %zu: a refused head was handed out:\n%s", name, step, out.p);
        buf_deinit(&out);
    }
}

#define H "Host: a\r\n"
static const struct {
    const char *name, *bytes, *want;
} requests[] = {
    { "plain get", "GET /x?q=1 HTTP/1.1\r\n" H "\r\n", "HEAD GET /x 0 len=-1 chunked=0 keep=1\nhost=a\nBODY  END" },
    { "empty lines before it", "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", "HEAD GET / " },
    { "body with length", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", "BODY hello END" },
    { "body of no bytes", "POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "BODY  END" },
    { "chunks", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "BODY hello world END" },
    { "chunk extensions are read over", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", "BODY hello END" },
    { "trailers are dropped", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nAuthorization: k\r\n\r\n", "BODY x END" },
    { "close", "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "keep=0" },
    { "1.0", "GET / HTTP/1.0\r\n\r\n", "keep=0" },
    { "absolute form", "GET http://a/x HTTP/1.1\r\n" H "\r\n", "HEAD GET /x" },
    { "field with blanks around it", "GET / HTTP/1.1\r\n" H "A:  b \t\r\n\r\n", "a=b\n" },
    { "value with high bytes", "GET / HTTP/1.1\r\n" H "A: \xc3\xa9\r\n\r\n", "a=\xc3\xa9\n" },
    { "empty value", "GET / HTTP/1.1\r\nA:\r\n" H "\r\n", "a=\nhost=a\n" },
    { "length and chunked", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "chunked and length", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "two lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "BAD 400" },
    { "two equal lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "BAD 400" },
    { "list of lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\nhello", "BAD 400" },
    { "signed length", "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nhello", "BAD 400" },
    { "negative length", "POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\nhello", "BAD 400" },
    { "hex length", "POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\nhello", "BAD 400" },
    { "length too large", "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", "BAD 400" },
    { "length past int64", "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551615\r\n\r\n", "BAD 400" },
    { "empty length", "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", "BAD 400" },
    { "other coding", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", "BAD 400" },
    { "coding list", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "coding twice", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "coding then identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "coding disguised with a tab", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", "END" },
    { "coding disguised by a vertical tab", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "coding with a suffix", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "coding quoted", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "BAD 400" },
    { "blank before the colon", "GET / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\nhello", "BAD 400" },
    { "blank before the name", "GET / HTTP/1.1\r\n" H " A: b\r\n\r\n", "BAD 400" },
    { "folded line", "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", "BAD 400" },
    { "no name", "GET / HTTP/1.1\r\n" H ": b\r\n\r\n", "BAD 400" },
    { "no colon", "GET / HTTP/1.1\r\n" H "A\r\n\r\n", "BAD 400" },
    { "bare LF after a field", "GET / HTTP/1.1\r\n" H "A: b\n\r\n", "BAD 400" },
    { "bare LF after the line", "GET / HTTP/1.1\n" H "\r\n", "BAD 400" },
    { "bare CR in a value", "GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n", "BAD 400" },
    { "NUL in a value", "GET / HTTP/1.1\r\n" H "A: b\001c\r\n\r\n", "BAD 400" },
    { "DEL in a value", "GET / HTTP/1.1\r\n" H "A: b\177\r\n\r\n", "BAD 400" },
    { "no host", "GET / HTTP/1.1\r\n\r\n", "BAD 400" },
    { "an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "BAD 400" },
    { "two spaces before the target", "GET  / HTTP/1.1\r\n" H "\r\n", "BAD 400" },
    { "two spaces behind the target", "GET /  HTTP/1.1\r\n" H "\r\n", "BAD 400" },
    { "two hosts", "GET / HTTP/1.1\r\n" H "Host: b\r\n\r\n", "BAD 400" },
    { "two equal hosts", "GET / HTTP/1.1\r\n" H H "\r\n", "BAD 400" },
    { "host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "BAD 400" },
    { "host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "BAD 400" },
    { "host that differs from the target", "GET http://b/x HTTP/1.1\r\n" H "\r\n", "BAD 400" },
    { "target with userinfo", "GET http://u@a/x HTTP/1.1\r\nHost: u@a\r\n\r\n", "BAD 400" },
    { "target without slash", "GET x HTTP/1.1\r\n" H "\r\n", "BAD 400" },
    { "target with a fragment", "GET /x#y HTTP/1.1\r\n" H "\r\n", "BAD 400" },
    { "target with high bytes", "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n", "BAD 400" },
    { "unknown method", "FOO / HTTP/1.1\r\n" H "\r\n", "BAD 400" },
    { "http 0.9", "GET /\r\n\r\n", "BAD" },
    { "http 1.2", "GET / HTTP/1.2\r\n" H "\r\n", "BAD" },
    { "http 2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "BAD" },
    { "bad expectation", "GET / HTTP/1.1\r\n" H "Expect: 200-maybe\r\n\r\n", "BAD 417" },
    { "chunk size with sign", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", "BAD 400" },
    { "chunk size with 0x", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", "BAD 400" },
    { "chunk size too large", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", "BAD 400" },
    { "chunk size with a blank", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", "BAD 400" },
    { "chunk without its end", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", "BAD 400" },
    { "chunk size ended by LF", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", "BAD 400" },
    { "chunk data ended by LF", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", "BAD 400" },
    { "chunk extension too long", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=b\r\nhello\r\n0\r\n\r\n", "BAD 400" },
    { "body cut short", "POST / HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\nhello", " CUT" },
    { "head cut short", "POST / HTTP/1.1\r\n" H, " CUT" },
};

static void requests_are_read_strictly_however_they_are_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        expect(sv_of(requests[i].bytes), false, requests[i].want, requests[i].name);
}

static const struct {
    const char *name, *bytes, *want;
} responses[] = {
    { "length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HEAD   200 len=2 chunked=0 keep=1\ncontent-length=2\nBODY hi END" },
    { "until the end", "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhi", "BODY hi END" },
    { "no content", "HTTP/1.1 204 No Content\r\n\r\n", "BODY  END" },
    { "interim", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", "HEAD   103" },
    { "chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "BODY hi END" },
    { "lie about the length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", " CUT" },
    { "chunks cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", " CUT" },
    { "both", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "BAD" },
    { "no http", "SSH-2.0-x\r\n", "BAD" },
    { "folded", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "BAD" },
    { "bare LF", "HTTP/1.1 200 OK\nA: b\n\n", "BAD" },
    { "least status", "HTTP/1.1 100 Huh\r\n\r\n", "HEAD   100" },
    { "largest status", "HTTP/1.1 599 Huh\r\nContent-Length: 0\r\n\r\n", "HEAD   599" },
    { "status too low", "HTTP/1.1 099 Huh\r\nContent-Length: 0\r\n\r\n", "BAD" },
    { "status too high", "HTTP/1.1 600 Huh\r\nContent-Length: 0\r\n\r\n", "BAD" },
    { "header injection", "HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n", "BAD" },
};

static void replies_are_read_strictly_however_they_are_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof responses / sizeof responses[0]; i++)
        expect(sv_of(responses[i].bytes), true, responses[i].want, responses[i].name);
}

static void limits_of_a_head_are_kept(void **state) {
    (void)state;
    char big[4096];
    snprintf(big, sizeof big, "GET /%0150d HTTP/1.1\r\n" H "\r\n", 1);
    expect(sv_of(big), false, "BAD 414", "target");
    snprintf(big, sizeof big, "GET / HTTP/1.1\r\n" H "A: %0250d\r\n\r\n", 1);
    expect(sv_of(big), false, "BAD 431", "field");
    snprintf(big, sizeof big, "GET / HTTP/1.1\r\n" H "A: %0190d\r\nB: %0190d\r\nC: %0190d\r\n\r\n", 1, 2, 3);
    expect(sv_of(big), false, "BAD 431", "total");
    expect(SV("GET / HTTP/1.1\r\n" H "a:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\nj:\r\n\r\n"), false, "BAD 431", "number");
    snprintf(big, sizeof big, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nA: %0190d\r\nB: %0190d\r\nC: %0190d\r\n\r\n",
             1, 2, 3);
    expect(sv_of(big), false, "BAD 431", "trailers");
}

static void the_bytes_behind_a_message_stay(void **state) {
    (void)state;
    struct h1 h;
    struct arena a;
    struct sv in = SV("GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\n"), body;
    arena_init(&a, 1 << 20, NULL);
    h1_init(&h, false, &limits);
    for (int i = 1; i <= 2; i++) {
        h1_begin(&h, &a, false);
        assert_int_equal(h1_next(&h, &in, &body), H1_HEAD);
        assert_int_equal(h.head.path.p[1], '0' + i);
        assert_int_equal(h1_next(&h, &in, &body), H1_END);
    }
    assert_int_equal(in.n, 0);
    arena_deinit(&a);
}

static void a_head_survives_every_refused_allocation(void **state) {
    (void)state;
    for (long n = 1;; n++) {
        struct buf out = BUF_MAX(1 << 16);
        buf_reserve(&out, 1 << 14);
        mem_fail_at(n, 0);
        transcript(SV("GET / HTTP/1.1\r\n" H "A: b\r\nC: d\r\n\r\n"), 5, false, &out);
        bool struck = mem_fail_hit();
        mem_fail_at(0, 0);
        if (struck)
            assert_true(sv_find(buf_sv(&out), SV("BAD 503")) >= 0);
        buf_deinit(&out);
        if (!struck)
            break;
        assert_true(n < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read_strictly_however_they_are_cut),
        cmocka_unit_test(replies_are_read_strictly_however_they_are_cut),
        cmocka_unit_test(limits_of_a_head_are_kept),
        cmocka_unit_test(the_bytes_behind_a_message_stay),
        cmocka_unit_test(a_head_survives_every_refused_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
