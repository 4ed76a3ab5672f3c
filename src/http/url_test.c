#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/url.h"

/* In a block of exactly its size, so that ASan sees one byte too many. */
static char *exact(struct sv v) {
    char *p = malloc(v.n ? v.n : 1);
    memcpy(p, v.p, v.n);
    return p;
}

static void urls_are_taken_apart(void **state) {
    /* clang-format off */
    static const struct {
        const char *text;
        enum url_scheme scheme;
        enum url_host kind;
        const char *host, *authority, *prefix;
        unsigned port;
    } cases[] = {
        { "http://a", URL_HTTP, URL_NAME, "a", "a", "", 80 },
        { "http://a/", URL_HTTP, URL_NAME, "a", "a", "", 80 },
        { "HTTPS://Big.Home", URL_HTTPS, URL_NAME, "Big.Home", "Big.Home", "", 443 },
        { "http://127.0.0.1:11434", URL_HTTP, URL_IPV4, "127.0.0.1", "127.0.0.1:11434", "", 11434 },
        { "http://[::1]:8000/v1/", URL_HTTP, URL_IPV6, "::1", "[::1]:8000", "/v1", 8000 },
        { "https://[2001:db8::7f00:1]/engines/llama.cpp", URL_HTTPS, URL_IPV6, "2001:db8::7f00:1", "[2001:db8::7f00:1]", "/engines/llama.cpp", 443 },
        { "http://my_box-2.lan:1/a%20b/c;d=e,f~g", URL_HTTP, URL_NAME, "my_box-2.lan", "my_box-2.lan:1", "/a%20b/c;d=e,f~g", 1 },
        { "http://h:65535", URL_HTTP, URL_NAME, "h", "h:65535", "", 65535 },
        { "http://0xbox", URL_HTTP, URL_NAME, "0xbox", "0xbox", "", 80 },
        { "http://1a.2b", URL_HTTP, URL_NAME, "1a.2b", "1a.2b", "", 80 },
        { "http://1.2.3.4x", URL_HTTP, URL_NAME, "1.2.3.4x", "1.2.3.4x", "", 80 },
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { 0 };
        struct url u;
        struct sv text = sv_of(cases[i].text);
        char *p = exact(text);
        if (!url_parse((struct sv){ p, text.n }, &u, &e))
            print_error("%s: %s\n", cases[i].text, e.text);
        assert_true(url_parse((struct sv){ p, text.n }, &u, &e));
        assert_int_equal(u.scheme, cases[i].scheme);
        assert_int_equal(u.host_kind, cases[i].kind);
        assert_int_equal(u.port, cases[i].port);
        assert_true(sv_eq(u.host, sv_of(cases[i].host)));
        assert_true(sv_eq(u.authority, sv_of(cases[i].authority)));
        assert_true(sv_eq(u.prefix, sv_of(cases[i].prefix)));
        assert_int_equal(u.socket.n, 0);
        free(p);
    }
}

static void sockets_have_a_path_only(void **state) {
    static const char *const good[] = { "unix:/run/x.sock", "unix:///run/x.sock", "UNIX:/run/x.sock" };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct url u;
        assert_true(url_parse(sv_of(good[i]), &u, NULL));
        assert_int_equal(u.scheme, URL_UNIX);
        assert_true(sv_eq(u.socket, SV("/run/x.sock")));
        assert_int_equal(u.port, 0);
        assert_int_equal(u.host.n + u.authority.n + u.prefix.n, 0);
    }
}

static void what_could_be_read_two_ways_is_refused(void **state) {
    /* clang-format off */
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "", "starts with" }, { "a", "starts with" }, { "//a", "starts with" }, { "http:/a", "starts with" }, { "http:a", "starts with" },
        { "ftp://a", "starts with" }, { "httpx://a", "starts with" }, { "file:///etc/passwd", "starts with" }, { "gopher://a", "starts with" },
        { " http://a", "byte 1 of" }, { "http://a ", "byte 9 of" }, { "http://a\r\nX: y", "byte 9 of" }, { "http://a\tb", "byte 9 of" },
        { "http://a\x7f", "byte 9 of" }, { "http://\xc3\xa4", "byte 8 of" }, { "http://a\\b", "byte 9 of" }, { "http:\\\\a", "byte 6 of" },
        { "http://u@a", "user and password" }, { "http://u:p@a", "user and password" }, { "http://@a", "user and password" },
        { "http://a@b@c", "user and password" }, { "http://a:80@b", "user and password" },
        { "http://a?b", "query" }, { "http://a/?", "query" }, { "http://a#b", "query" }, { "http://a/b#", "query" },
        { "http://", "host name" }, { "http:///x", "host name" }, { "http://:80", "host name" }, { "http://.", "host name" },
        { "http://a.", "host name" }, { "http://a..b", "host name" }, { "http://-a", "host name" }, { "http://a-", "host name" }, { "http://a%41", "host name" },
        { "http://a,b", "host name" }, { "http://a*", "host name" },
        { "http://a:", "port" }, { "http://a:0", "port" }, { "http://a:65536", "port" }, { "http://a:+1", "port" }, { "http://a:1x", "port" },
        { "http://a:000080", "port" }, { "http://::1", "port" }, { "http://a:b:80", "port" }, { "http://[::1]x", "port" }, { "http://[::1]:", "port" },
        { "http://[::1", "closing bracket" }, { "http://[]", "IPv6" }, { "http://[a]", "IPv6" }, { "http://[fe80::1%25eth0]", "IPv6" }, { "http://[127.0.0.1]", "IPv6" },
        { "http://[v1.x]", "IPv6" }, { "http://[[::1]]", "IPv6" }, { "http://[::1]]", "IPv6" }, { "http://a[::1]", "port" },
        { "http://127.1", "four decimal" }, { "http://2130706433", "four decimal" }, { "http://0x7f000001", "four decimal" }, { "http://0177.0.0.1", "four decimal" },
        { "http://127.0.0.01", "four decimal" }, { "http://127.0.0.0x1", "four decimal" }, { "http://1.2.3.4.5", "four decimal" }, { "http://1.2.3.256", "four decimal" },
        { "http://a.1", "four decimal" }, { "http://0", "four decimal" },
        { "http://a//b", "path prefix" }, { "http://a/./b", "path prefix" }, { "http://a/b/..", "path prefix" }, { "http://a/%2e%2E/b", "path prefix" },
        { "http://a/b%2fc", "path prefix" }, { "http://a/%", "path prefix" }, { "http://a/%4", "path prefix" }, { "http://a/%zz", "path prefix" }, { "http://a/%00", "path prefix" },
        { "http://a/\"", "path prefix" }, { "http://a/{b}", "path prefix" },
        { "unix:", "socket" }, { "unix:x", "socket" }, { "unix:/", "socket" }, { "unix://host/x", "socket" }, { "unix:/a/../b", "socket" }, { "unix:/a%20b", "socket" },
    };
    /* clang-format on */
    (void)state;
    int n_wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { 0 };
        struct sv text = sv_of(cases[i].text);
        char *p = exact(text);
        struct url u = { .port = 4242 };
        bool ok = url_parse((struct sv){ p, text.n }, &u, &e);
        if (ok || !strstr(e.text, cases[i].why) || u.port != 4242) {
            print_error("%s: want \"%s\", got \"%s\"\n", cases[i].text, cases[i].why, ok ? "ok" : e.text);
            n_wrong++;
        }
        free(p);
    }
    assert_int_equal(n_wrong, 0);
    assert_false(url_parse(SV("http://a\0b"), &(struct url){ 0 }, NULL));
}

static void lengths_are_bounded(void **state) {
    char text[URL_MAX + 2];
    struct url u;
    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "http://h/", 9);
    assert_true(url_parse((struct sv){ text, URL_MAX }, &u, NULL));
    assert_false(url_parse((struct sv){ text, URL_MAX + 1 }, &u, NULL));
    text[8] = 'a'; /* now all of it is one label */
    assert_true(url_parse((struct sv){ text, 7 + 63 }, &u, NULL));
    assert_false(url_parse((struct sv){ text, 7 + 64 }, &u, NULL));
    for (size_t i = 7 + 50; i < sizeof text; i += 51)
        text[i] = '.';
    assert_true(url_parse((struct sv){ text, 7 + 253 }, &u, NULL));
    assert_false(url_parse((struct sv){ text, 7 + 254 }, &u, NULL));
    memcpy(text, "unix:/", 6);
    memset(text + 6, 'a', 200);
    assert_true(url_parse((struct sv){ text, 5 + 107 }, &u, NULL));
    assert_false(url_parse((struct sv){ text, 5 + 108 }, &u, NULL));
}

static void a_clean_path_means_one_thing(void **state) {
    static const char *const good[] = { "/",
                                        "/v1/models",
                                        "/v1/",
                                        "/a.b",
                                        "/...",
                                        "/..a",
                                        "/a..",
                                        "/.a",
                                        "/a%20b",
                                        "/%C3%A4",
                                        "/a:b@c!$&'()*+,;=-._~",
                                        "/api/tags",
                                        "/%2e%2e%2e",
                                        "/a;x/b",
                                        "/;",
                                        "/%25" };
    static const char *const bad[] = { "",          "a",         "*",     "http://x/", "//",     "//a",     "/a//b",
                                       "/a//",      "/.",        "/..",   "/./",       "/a/./b", "/a/../b", "/a/..",
                                       "/%2e",      "/%2E%2e/a", "/.%2e", "/..;x/a",   "/.;",    "/a%2fb",  "/a%2Fb",
                                       "/a%5cb",    "/a\\b",     "/a%00", "/a%0a",     "/a%0D",  "/a%7f",   "/a%1f",
                                       "/%",        "/%4",       "/%g0",  "/%0g",      "/a b",   "/a?b",    "/a#b",
                                       "/a\"b",     "/<",        "/a|b",  "/a[0]",     "/^",     "/`",      "/{x}",
                                       "/\xc3\xa4", "/\x7f",     "/\x01" };
    (void)state;
    int n_wrong = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good + sizeof bad / sizeof *bad; i++) {
        bool want = i < sizeof good / sizeof *good;
        struct sv text = sv_of(want ? good[i] : bad[i - sizeof good / sizeof *good]);
        char *p = exact(text);
        if (path_is_clean((struct sv){ p, text.n }) != want) {
            print_error("%s\n", text.p);
            n_wrong++;
        }
        free(p);
    }
    assert_int_equal(n_wrong, 0);
    assert_false(path_is_clean(SV("/a\0b")));
    assert_false(path_is_clean(SV_NULL));
}

static void escapes_are_decoded_once(void **state) {
    static const struct {
        const char *text, *want;
    } cases[] = { { "", "" },         { "abc", "abc" },   { "a%20b", "a b" },       { "a+b", "a+b" },
                  { "%41%42", "AB" }, { "%2525", "%25" }, { "%c3%A4", "\xc3\xa4" }, { "%", NULL },
                  { "a%4", NULL },    { "%zz", NULL },    { "%00", NULL },          { "%-1", NULL },
                  { "% 1", NULL } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sv text = sv_of(cases[i].text);
        char *p = exact(text);
        size_t n = 99, size = cases[i].want ? strlen(cases[i].want) + 1 : 64;
        char *to = malloc(size);
        assert_int_equal(percent_decode((struct sv){ p, text.n }, to, size, &n), cases[i].want != NULL);
        if (cases[i].want) {
            assert_string_equal(to, cases[i].want);
            assert_int_equal(n, size - 1);
            assert_false(percent_decode((struct sv){ p, text.n }, to, size - 1, &n)); /* one byte short */
        } else {
            assert_int_equal(n, 99);
        }
        free(to);
        free(p);
    }
    char in_place[] = "%41b%43";
    size_t n;
    assert_true(percent_decode((struct sv){ in_place, 7 }, in_place, sizeof in_place, &n));
    assert_string_equal(in_place, "AbC");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(sockets_have_a_path_only),
        cmocka_unit_test(what_could_be_read_two_ways_is_refused),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(a_clean_path_means_one_thing),
        cmocka_unit_test(escapes_are_decoded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
