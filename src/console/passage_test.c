/* What goes through to a node's console and back: paths, where a node may send a browser, the fields of requests and answers. */
#include "console/passage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define TICKET "0123456789abcdefghijklmnopqrstuvwxyz-_ABCDE"
#define BASE "/node/attic-1/~" TICKET "/"

static void paths_are_read_strictly(void **state) {
    static const struct {
        const char *path;
        enum passage_place place;
        const char *rest;
    } rows[] = {
        { "/node/attic-1", PASSAGE_DOOR, "" },
        { "/node/attic-1/", PASSAGE_DOOR, "" },
        { "/node/a.b_C-9/", PASSAGE_DOOR, "" },
        { BASE, PASSAGE_INSIDE, "/" },
        { BASE "console/", PASSAGE_INSIDE, "/console/" },
        { BASE "drover/v1/keys/a%20b", PASSAGE_INSIDE, "/drover/v1/keys/a%20b" },
        { BASE "~" TICKET "/", PASSAGE_INSIDE, "/~" TICKET "/" },
        { "/node/", PASSAGE_NOWHERE, "" },
        { "/node/%61/", PASSAGE_NOWHERE, "" },
        { "/node/a;b/", PASSAGE_NOWHERE, "" },
        { "/node/attic-1/console/", PASSAGE_NOWHERE, "" },
        { "/node/attic-1/~" TICKET, PASSAGE_NOWHERE, "" },
        { "/node/attic-1/~" TICKET "x/", PASSAGE_NOWHERE, "" },
        { "/node/attic-1/~short/", PASSAGE_NOWHERE, "" },
        { "/node/attic-1/" TICKET "x/", PASSAGE_NOWHERE, "" },
        { "/node/attic-1/~0123456789abcdefghijklmnopqrstuvwxyz-_ABCD./", PASSAGE_NOWHERE, "" },
        { "/node/0123456789012345678901234567890123456789012345678901234567890123/", PASSAGE_DOOR, "" },
        { "/node/01234567890123456789012345678901234567890123456789012345678901234/", PASSAGE_NOWHERE, "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct passage at;
        size_t n = strlen(rows[i].path);
        char *exact = malloc(n);
        memcpy(exact, rows[i].path, n);
        if (passage_read((struct sv){ exact, n }, &at) != rows[i].place)
            fail_msg("%s", rows[i].path);
        if (rows[i].place == PASSAGE_INSIDE) {
            assert_true(sv_eq(at.rest, sv_of(rows[i].rest)) && sv_eq(at.base, SV(BASE)));
            assert_true(sv_eq(at.node, SV("attic-1")) && sv_eq(at.ticket, SV(TICKET)));
        }
        free(exact);
    }
}

static void a_node_sends_nobody_out_of_its_path(void **state) {
    static const struct {
        const char *from, *to; /* to NULL: refused */
    } rows[] = {
        { "/", BASE },
        { "/console/", BASE "console/" },
        { "/console/?a=/../b#/fleet", BASE "console/?a=/../b#/fleet" },
        { "http://node/console/", BASE "console/" },
        { "HTTPS://NODE/x", BASE "x" },
        { "", NULL },
        { "console/", NULL },
        { "../../console/", NULL },
        { "/../console/", NULL },
        { "/a/%2e%2e/b", NULL },
        { "/a%2fb", NULL },
        { "/a\\b", NULL },
        { "/?a\\b", NULL },
        { "//evil.example/", NULL },
        { "/\\evil.example/", NULL },
        { "http://evil.example/", NULL },
        { "http://node.evil.example/", NULL },
        { "http://node@evil.example/", NULL },
        { "http://node//evil.example/", NULL },
        { "javascript:alert(1)", NULL },
        { "data:text/html,x", NULL },
        { "/a\tb", NULL },
    };
    struct arena a;
    (void)state;
    arena_init(&a, 64 << 10, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sv to;
        bool ok = passage_rebase(sv_of(rows[i].from), SV(BASE), &a, &to);
        if (ok != (rows[i].to != NULL) || (ok && !sv_eq(to, sv_of(rows[i].to))))
            fail_msg("%s", rows[i].from);
    }
    arena_deinit(&a);
}

#define F(name, value)                                                                                                 \
    {                                                                                                                  \
        { name, sizeof(name) - 1 }, {                                                                                  \
            value, sizeof(value) - 1                                                                                   \
        }                                                                                                              \
    }

static struct sv field(const struct http_header *h, int n, const char *name) {
    struct sv found = SV_NULL;
    for (int i = 0; i < n; i++)
        if (sv_eq(h[i].name, sv_of(name))) {
            assert_null(found.p); /* once */
            found = h[i].value;
        }
    return found;
}

static void only_listed_fields_of_a_request_reach_the_node(void **state) {
    struct http_header from[] = { F("cookie", "drover-session=x"),
                                  F("authorization", "Bearer x"),
                                  F("x-api-key", "x"),
                                  F("api-key", "x"),
                                  F("proxy-authorization", "x"),
                                  F("forwarded", "for=1"),
                                  F("x-forwarded-for", "1"),
                                  F("x-forwarded-host", "h"),
                                  F("via", "1.1 x"),
                                  F("x-real-ip", "1"),
                                  F("drover-visit", "admin fresh"),
                                  F("drover-principal", "root"),
                                  F("drover-hops", "0"),
                                  F("drover-role", "admin"),
                                  F("drover-link", "1"),
                                  F("drover-console", "1"),
                                  F("origin", "null"),
                                  F("referer", "x"),
                                  F("host", "hub"),
                                  F("connection", "x-mine"),
                                  F("x-mine", "1"),
                                  F("sec-fetch-site", "cross-site"),
                                  F("accept", "*/*"),
                                  F("content-type", "application/json"),
                                  F("drover-permission-key", "k") };
    const struct http_head head = { .headers = from, .n_headers = sizeof from / sizeof from[0] };
    struct http_header to[PASSAGE_REQUEST];
    (void)state;
    int n = passage_request(&head, to);
    assert_int_equal(n, 3);
    assert_true(sv_eq(field(to, n, "accept"), SV("*/*")) && sv_eq(field(to, n, "drover-permission-key"), SV("k")) &&
                field(to, n, "content-type").p);
    struct http_header many[PASSAGE_REQUEST + 1];
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++)
        many[i] = (struct http_header)F("accept", "*/*");
    const struct http_head full = { .headers = many, .n_headers = PASSAGE_REQUEST + 1 };
    assert_int_equal(passage_request(&full, to), -1);
}

/* A request inside as the worker has it. */
static int answered(struct arena *a, struct sv host, int status, const struct http_header *from, unsigned n,
                    struct http_header to[static HTTP_PROXY_FIELDS]) {
    struct stream s = { .is_tls = true };
    struct http_head head = { .path = SV(BASE "console/"), .host = host };
    struct http_in in = { .arena = *a, .head = &head, .stream = &s };
    struct http_header copy[HTTP_PROXY_FIELDS];
    const struct http_head answer = { .status = status, .headers = copy, .n_headers = n };
    if (n)
        memcpy(copy, from, n * sizeof *from);
    if (n)
        memcpy(to, from, n * sizeof *from);
    int m = passage_answer(&in, &answer, to, n);
    *a = in.arena;
    return m;
}

static void only_listed_fields_of_an_answer_reach_the_browser(void **state) {
    static const struct http_header from[] = { F("set-cookie", "drover-session=evil; Path=/"),
                                               F("set-cookie2", "x"),
                                               F("clear-site-data", "\"*\""),
                                               F("service-worker-allowed", "/"),
                                               F("strict-transport-security", "max-age=0"),
                                               F("content-security-policy", "default-src *"),
                                               F("access-control-allow-origin", "*"),
                                               F("access-control-allow-credentials", "true"),
                                               F("referrer-policy", "unsafe-url"),
                                               F("cross-origin-opener-policy", "unsafe-none"),
                                               F("x-frame-options", "ALLOWALL"),
                                               F("refresh", "0; url=/console/"),
                                               F("link", "</x>; rel=preload"),
                                               F("www-authenticate", "Basic realm=hub"),
                                               F("alt-svc", "h3=\":1\""),
                                               F("report-to", "{}"),
                                               F("nel", "{}"),
                                               F("permissions-policy", "camera=*"),
                                               F("cache-control", "public, max-age=9"),
                                               F("content-type", "text/html"),
                                               F("etag", "\"3\""),
                                               F("drover-model", "m"),
                                               F("retry-after", "1"),
                                               F("location", "/x") };
    struct http_header to[HTTP_PROXY_FIELDS];
    struct arena a;
    (void)state;
    arena_init(&a, 64 << 10, NULL);
    int n = answered(&a, SV("hub.example:8443"), 201, from, sizeof from / sizeof from[0], to);
    static const char *const gone[] = { "set-cookie",
                                        "set-cookie2",
                                        "clear-site-data",
                                        "service-worker-allowed",
                                        "strict-transport-security",
                                        "access-control-allow-credentials",
                                        "refresh",
                                        "link",
                                        "www-authenticate",
                                        "alt-svc",
                                        "report-to",
                                        "nel",
                                        "permissions-policy" };
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
        assert_null(field(to, n, gone[i]).p);
    assert_true(sv_eq(field(to, n, "location"), SV(BASE "x")) && sv_eq(field(to, n, "content-type"), SV("text/html")) &&
                sv_eq(field(to, n, "etag"), SV("\"3\"")));
    assert_true(sv_eq(field(to, n, "access-control-allow-origin"), SV("null")) &&
                sv_eq(field(to, n, "cache-control"), SV("no-store")));
    assert_true(sv_eq(field(to, n, "referrer-policy"), SV("no-referrer")) &&
                sv_eq(field(to, n, "x-frame-options"), SV("DENY")));
    struct sv csp = field(to, n, "content-security-policy");
    assert_true(sv_starts(csp, SV("sandbox allow-scripts ")) && sv_find(csp, SV("allow-same-origin")) < 0 &&
                sv_find(csp, SV("allow-popups")) < 0);
    assert_true(sv_find(csp, SV("connect-src https://hub.example:8443" BASE " wss://hub.example:8443" BASE ";")) > 0);
    assert_true(sv_find(csp, SV("frame-ancestors 'none'")) > 0);

    n = answered(&a, SV("[::1]:8443"), 200, NULL, 0, to); /* a policy cannot say this address */
    assert_true(sv_find(field(to, n, "content-security-policy"), SV("connect-src 'self';")) > 0);
    n = answered(&a, SV("hub; script-src *"), 200, NULL, 0, to);
    assert_true(sv_find(field(to, n, "content-security-policy"), SV("script-src *")) < 0);

    static const struct http_header out[] = { F("location", "//evil.example/") };
    assert_int_equal(answered(&a, SV("hub"), 302, out, 1, to), -1);
    static const struct http_header up[] = { F("upgrade", "websocket"), F("sec-websocket-accept", "x"),
                                             F("sec-websocket-extensions", "permessage-deflate"),
                                             F("set-cookie", "a=b") };
    assert_int_equal(answered(&a, SV("hub"), 101, up, 4, to), 2);
    assert_true(sv_eq(field(to, 2, "upgrade"), SV("websocket")) &&
                sv_eq(field(to, 2, "sec-websocket-accept"), SV("x")));
    assert_int_equal(answered(&a, SV("hub"), 101, up, 1, to), -1);
    static const struct http_header h2[] = { F("upgrade", "h2c"), F("sec-websocket-accept", "x") };
    assert_int_equal(answered(&a, SV("hub"), 101, h2, 2, to), -1);
    arena_deinit(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_read_strictly),
        cmocka_unit_test(a_node_sends_nobody_out_of_its_path),
        cmocka_unit_test(only_listed_fields_of_a_request_reach_the_node),
        cmocka_unit_test(only_listed_fields_of_an_answer_reach_the_browser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
