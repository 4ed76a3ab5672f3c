/* gateway/media.c - links in a prompt that the runtime would fetch from where it stands (threat model C-74).
 *
 * A runtime behind Drover can reach what the client cannot: the router, other services, a cloud's metadata. So a link to a
 * picture, sound or file is passed on only when its host is public (endpoints[].media_urls: public, the default), always
 * (pass), or never (refuse). Data URLs and inline data are no links. Programs read odd URLs differently, so nothing is
 * guessed: a host that is not plainly written is refused. Names are judged by their form; what a public name resolves to is
 * the runtime's own risk. The scan of a body says whether it has members that may hold a link; only then is it parsed, once. */
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

/* Whether a plainly written host may only be what is near: an address of a private range, or a name no public zone has. */
static bool is_near(struct sv host) {
    char text[256];
    unsigned char b[16];
    if (!sv_to_cstr(host, text, sizeof text))
        return true;
    if (inet_pton(AF_INET6, text, b) == 1)
        return is_private_v6(b);
    if (inet_pton(AF_INET, text, b) == 1)
        return is_private_v4(b);
    static const char *const zones[] = { "localhost", ".localhost", ".local", ".internal", ".lan", ".home", ".home.arpa",
                                         ".intranet", ".corp", ".private" };
    ptrdiff_t dot = sv_rfind_char(host, '.');
    /* No zone begins with a digit: "127.1" and "1.0x7f" are what a C library may take for an address. */
    if (dot < 0 || (host.p[dot + 1] >= '0' && host.p[dot + 1] <= '9'))
        return true;
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        struct sv z = sv_of(zones[i]);
        if (host.n >= z.n && sv_eq_nocase(sv_from(host, host.n - z.n), z))
            return true;
    }
    return false;
}

static bool is_letter(char c) {
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_word(char c, const char *more) {
    return is_letter(c) || (c >= '0' && c <= '9') || (c && strchr(more, c));
}

static bool is_made_of(struct sv v, const char *more) {
    for (size_t i = 0; i < v.n; i++)
        if (!is_word(v.p[i], more))
            return false;
    return true;
}

/* The host of what stands behind "scheme://", without brackets and the dot at its end; false when it is not plainly written. */
static bool plain_host(struct sv rest, struct sv *ret_host) {
    size_t n = 0;
    while (n < rest.n && !strchr("/?#", rest.p[n]))
        n++;
    struct sv host = sv_first(rest, n), user;
    if (sv_cut(&host, '@', &user) && !is_made_of(user, "-._~!$&'()*+,;=:%"))
        return false;
    ptrdiff_t end = host.n && host.p[0] == '[' ? sv_find_char(host, ']') : -1;
    bool v6 = end > 0;
    struct sv port = v6 ? sv_from(host, (size_t)end + 1) : SV_NULL;
    if (v6) {
        host = sv_from(sv_first(host, (size_t)end), 1);
    } else if ((end = sv_find_char(host, ':')) >= 0) {
        port = sv_from(host, (size_t)end);
        host = sv_first(host, (size_t)end);
    }
    if (port.n && (port.p[0] != ':' || sv_find_char(sv_from(port, 1), ':') >= 0))
        return false;
    for (size_t i = 1; i < port.n; i++)
        if (port.p[i] < '0' || port.p[i] > '9')
            return false;
    if (!v6 && sv_ends(host, SV(".")))
        host.n--;
    *ret_host = host;
    return host.n && is_made_of(host, v6 ? ":." : "-._") && (v6 ? sv_find_char(host, ':') >= 0 : (host.p[0] != '.' && !sv_ends(host, SV(".")) && sv_find(host, SV("..")) < 0));
}

/* A scheme is looked for as leniently as any fetcher reads one: behind blanks and brackets, with line ends inside, behind
 * another ("url:http:"). */
enum media_link media__link(struct sv v, struct sv *ret_host) {
    for (;;) {
        char scheme[32];
        size_t n = 0, at = 0;
        *ret_host = SV_NULL;
        while (v.n && !is_letter(v.p[0]))
            v = sv_from(v, 1);
        for (; at < v.n && v.p[at] != ':'; at++) {
            if (v.p[at] == '\t' || v.p[at] == '\r' || v.p[at] == '\n')
                continue;
            if (n == sizeof scheme || !is_word(v.p[at], "+-."))
                return MEDIA_NO_LINK;
            scheme[n++] = v.p[at];
        }
        struct sv is = { scheme, n }, rest = sv_from(v, at + 1), host;
        if (at == v.n || sv_eq_nocase(is, SV("data")))
            return MEDIA_NO_LINK;
        if (sv_eq_nocase(is, SV("file")))
            return MEDIA_NEAR;
        bool fetched = sv_eq_nocase(is, SV("http")) || sv_eq_nocase(is, SV("https")) || sv_eq_nocase(is, SV("ftp"));
        if (!fetched && (!rest.n || !strchr("/\\", rest.p[0]))) { /* "Note: ..." is text, "url:http:" not */
            if (rest.n && is_letter(rest.p[0])) {
                v = rest;
                continue;
            }
            return MEDIA_NO_LINK;
        }
        if (!sv_starts(rest, SV("//")) || !plain_host(sv_from(rest, 2), &host))
            return MEDIA_UNCLEAR;
        *ret_host = host;
        return is_near(host) ? MEDIA_NEAR : MEDIA_PUBLIC;
    }
}

static bool may_pass(struct sv link, int policy, struct err *e) {
    struct sv host;
    enum media_link is = media__link(link, &host);
    if (is == MEDIA_NO_LINK || (is == MEDIA_PUBLIC && policy == CONFIG_MEDIA_PUBLIC))
        return true;
    if (policy == CONFIG_MEDIA_REFUSE)
        return err_set(e, ERR_BAD_REQUEST, "links to media are switched off for this model (endpoints[].media_urls: refuse); send "
                       "the data inline");
    if (is == MEDIA_UNCLEAR)
        return err_set(e, ERR_BAD_REQUEST, "a link to media does not name its host plainly, so it may be a private or local host; write "
                       "https://HOST/..., HOST of letters, digits, dots and hyphens, or send the data inline");
    return err_set(e, ERR_BAD_REQUEST, "a link to media names a private or local host (\"%.*s\"), which the runtime would fetch "
                   "from inside; send the data inline", SV_FMT(sv_first(host, 100)));
}

/* Members in which names mean something else: tools, schemas, notes; what a tool is called with; plain text. */
static bool is_no_prompt(struct sv name, unsigned depth) {
    static const char *const names[] = { "arguments", "format", "functions", "input_schema", "integrations", "mcp_servers", "metadata",
                                         "parameters", "response_format", "schema", "text", "tools" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sv_eq(name, sv_of(names[i])))
            return true;
    return depth > 0 && sv_eq(name, SV("input"));
}

static bool check(yyjson_val *v, bool linked, int policy, unsigned depth, struct err *e) {
    size_t i, n;
    yyjson_val *key, *item;
    if (depth > DEPTH_MAX)
        return true; /* content parts do not stand that deep */
    if (linked && yyjson_is_str(v))
        return may_pass(json_sv(v), policy, e);
    if (yyjson_is_obj(v)) {
        yyjson_obj_foreach(v, i, n, key, item) {
            if (!is_no_prompt(json_sv(key), depth) && !check(item, linked || scan_is_link_name(json_sv(key)), policy, depth + 1, e))
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

/* The scan knows where these APIs keep their prompts; of others it does not look below the top. */
static bool may_hold_links(const struct exchange *x) {
    switch (x->route->api) {
    case LLM_RERANK:
    case LLM_SCORE:
    case LLM_MODERATIONS:
    case LLM_SPEECH:
    case LLM_IMAGES:
    case LLM_IMAGE_EDITS:
    case LLM_OTHER: return true;
    default: return x->scan.has_media || x->scan.has_image;
    }
}

bool media__check(struct exchange *x, struct err *e) {
    int policy = x->sched.taken->endpoint->media;
    if (!x->is_json || policy == CONFIG_MEDIA_PASS || !may_hold_links(x))
        return true;
    if (!exchange__may_parse(x, e))
        return false;
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse((struct sv){ x->body, x->body_n });
    if (!doc)
        return err_no_memory(e); /* the scan has accepted it as JSON */
    return check(yyjson_doc_get_root(doc), false, policy, 0, e);
}
