/* A URL that is accepted, printed from its parts, is accepted again with the same parts; a clean path decodes to one
 * that has no dot segment and no slash that was not there before. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>

#include "http/url.h"

static void check_url(struct sv text) {
    struct url u, v;
    struct err e;
    char again[URL_MAX + 32];
    if (!url_parse(text, &u, &e))
        return;
    int n = u.scheme == URL_UNIX
                ? snprintf(again, sizeof again, "unix:%.*s", SV_FMT(u.socket))
                : snprintf(again, sizeof again, "%s://%s%.*s%s:%u%.*s", u.scheme == URL_HTTP ? "http" : "https",
                           u.host_kind == URL_IPV6 ? "[" : "", SV_FMT(u.host), u.host_kind == URL_IPV6 ? "]" : "",
                           (unsigned)u.port, SV_FMT(u.prefix));
    assert(n > 0 && (size_t)n < sizeof again);
    if (n > URL_MAX) /* the port that was not written made it longer */
        return;
    assert(url_parse((struct sv){ again, (size_t)n }, &v, &e));
    assert(v.scheme == u.scheme && v.host_kind == u.host_kind && v.port == u.port && sv_eq(v.host, u.host) &&
           sv_eq(v.prefix, u.prefix) && sv_eq(v.socket, u.socket));
    assert(u.prefix.n == 0 || path_is_clean(u.prefix));
    assert(u.scheme == URL_UNIX ? u.socket.n > 1 : u.port != 0 && u.host.n != 0);
}

static void check_path(struct sv path) {
    char plain[4096];
    size_t n, slashes = 0, after = 0;
    if (path.n >= sizeof plain || !path_is_clean(path))
        return;
    assert(percent_decode(path, plain, sizeof plain, &n) && n <= path.n && plain[n] == '\0');
    for (size_t i = 0; i < path.n; i++)
        slashes += path.p[i] == '/';
    for (size_t i = 0; i < n; i++) {
        after += plain[i] == '/';
        assert((unsigned char)plain[i] >= 0x20 && plain[i] != '\\');
    }
    assert(slashes == after);
    struct sv rest = { plain + 1, n - 1 }, segment;
    while (sv_next(&rest, '/', &segment))
        assert(segment.n && !sv_eq(segment, SV(".")) && !sv_eq(segment, SV("..")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sv text = { (const char *)data, size };
    check_url(text);
    check_path(text);
    return 0;
}
