/* gateway/media.c - links in a prompt that the runtime would fetch from where it stands (threat model C-74).
 *
 * A runtime behind Drover can reach what the client cannot: the router, other services, a cloud's metadata. So a link to a
 * picture, sound or file is passed on only when its host is public (endpoints[].media_urls: public, the default), always
 * (pass), or never (refuse). Data URLs and inline data are no links. Names are judged by their form; what a public name
 * resolves to is the runtime's own risk. Bodies without such parts never come here; those with are parsed, once. */
#include "gateway/exchange.h"

#include <arpa/inet.h>

#include "base/json.h"

enum { DEPTH_MAX = 16 };

static bool is_private_v4(const unsigned char b[4]) {
    return b[0] == 0 || b[0] == 10 || b[0] == 127 || b[0] >= 224 || (b[0] == 100 && (b[1] & 0xc0) == 64) ||
           (b[0] == 169 && b[1] == 254) || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168) ||
           (b[0] == 192 && b[1] == 0 && b[2] == 0) || (b[0] == 198 && (b[1] & 0xfe) == 18);
}

static bool is_private_v6(const unsigned char b[16]) {
    static const unsigned char nat64[12] = { 0, 0x64, 0xff, 0x9b }, mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (memcmp(b, mapped, 12) == 0 || memcmp(b, nat64, 12) == 0)
        return is_private_v4(b + 12);
    if (b[0] == 0x20 && b[1] == 0x02) /* 6to4 */
        return is_private_v4(b + 2);
    return (b[0] & 0xe0) != 0x20; /* global unicast is 2000::/3; loopback, link-local, unique local, multicast are not */
}

/* Whether a host may only be what is near: an address of a private range in any spelling, or a name no public zone has. */
static bool is_near(struct sv host) {
    char text[256];
    unsigned char b[16];
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n >= 2 && host.p[0] == '[') {
        host = sv_first(sv_from(host, 1), host.n - 2);
        return !sv_to_cstr(host, text, sizeof text) || inet_pton(AF_INET6, text, b) != 1 || is_private_v6(b);
    }
    if (host.n == 0 || !sv_to_cstr(host, text, sizeof text))
        return true;
    if (inet_pton(AF_INET, text, b) == 1)
        return is_private_v4(b);
    struct in_addr odd; /* "127.1", "0x7f000001", "2130706433": what the C library of a runtime may take for an address */
    if (inet_aton(text, &odd))
        return true;
    static const char *const zones[] = { "localhost", ".localhost", ".local", ".internal", ".lan", ".home", ".home.arpa",
                                         ".intranet", ".corp", ".private" };
    if (sv_find_char(host, '.') < 0)
        return true;
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        struct sv z = sv_of(zones[i]);
        if (host.n >= z.n && sv_eq_nocase(sv_from(host, host.n - z.n), z))
            return true;
    }
    return false;
}

/* The host of a link; the NULL view when v is none. */
static struct sv host_of(struct sv v) {
    while (v.n && (unsigned char)v.p[0] <= ' ')
        v = sv_from(v, 1);
    ptrdiff_t colon = sv_find_char(v, ':');
    if (colon <= 0 || sv_eq_nocase(sv_first(v, (size_t)colon), SV("data")))
        return SV_NULL;
    struct sv rest = sv_from(v, (size_t)colon + 1);
    if (!sv_starts(rest, SV("//")) && !sv_starts(rest, SV("\\\\")) && !sv_starts(rest, SV("/\\")) && !sv_starts(rest, SV("\\/")))
        return sv_eq_nocase(sv_first(v, (size_t)colon), SV("file")) ? SV("") : SV_NULL;
    rest = sv_from(rest, 2);
    size_t n = 0;
    while (n < rest.n && !strchr("/\\?#", rest.p[n]))
        n++;
    rest = sv_first(rest, n);
    ptrdiff_t at = sv_rfind_char(rest, '@');
    if (at >= 0)
        rest = sv_from(rest, (size_t)at + 1);
    ptrdiff_t port = sv_rfind_char(rest, ':');
    if (port >= 0 && (rest.p[0] != '[' || rest.p[port - 1] == ']'))
        rest = sv_first(rest, (size_t)port);
    return rest.n ? rest : SV("");
}

static bool may_hold_link(struct sv key) {
    return sv_eq(key, SV("url")) || sv_eq(key, SV("uri")) || sv_eq(key, SV("image")) || sv_ends(key, SV("_url"));
}

static bool check(yyjson_val *v, bool linked, int policy, unsigned depth, struct err *e) {
    if (depth > DEPTH_MAX)
        return true; /* content parts do not stand that deep */
    if (linked && yyjson_is_str(v)) {
        struct sv host = host_of(json_sv(v));
        if (!host.p)
            return true;
        if (policy == CONFIG_MEDIA_REFUSE)
            return err_set(e, ERR_BAD_REQUEST, "links to media are switched off for this model (endpoints[].media_urls: refuse); send "
                           "the data inline");
        if (is_near(host))
            return err_set(e, ERR_BAD_REQUEST, "a link to media names a private or local host (\"%.*s\"), which the runtime would fetch "
                           "from inside; send the data inline", SV_FMT(sv_first(host, 100)));
        return true;
    }
    size_t i, n;
    yyjson_val *key, *item;
    if (yyjson_is_obj(v)) {
        yyjson_obj_foreach(v, i, n, key, item) {
            if (!check(item, linked || may_hold_link(json_sv(key)), policy, depth + 1, e))
                return false;
        }
    } else if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, n, item) {
            if (!check(item, linked, policy, depth + 1, e))
                return false;
        }
    }
    return true;
}

bool media__check(struct exchange *x, struct err *e) {
    static const char *const places[] = { "messages", "input", "content", "system" };
    int policy = x->sched.taken->endpoint->media;
    if (!x->is_json || !(x->scan.has_media || x->scan.has_image) || policy == CONFIG_MEDIA_PASS)
        return true;
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse((struct sv){ x->body, x->body_n });
    if (!doc)
        return err_no_memory(e); /* the scan has accepted it as JSON */
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (!check(json_get(yyjson_doc_get_root(doc), places[i]), false, policy, 0, e))
            return false;
    return true;
}
