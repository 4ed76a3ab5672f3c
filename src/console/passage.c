#include "console/passage.h"

#include "http/url.h"

/* --- paths -------------------------------------------------------------------------------------------------------- */

#define HEAD SV("/node/")

bool passage_wants(const struct http_head *head) {
    return sv_starts(head->path, HEAD);
}

static bool is_word(struct sv v, bool dots) {
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              (dots && c == '.')))
            return false;
    }
    return true;
}

enum passage_place passage_read(struct sv path, struct passage *ret) {
    struct sv rest = sv_from(path, HEAD.n), part;
    *ret = (struct passage){ 0 };
    if (!sv_cut(&rest, '/', &ret->node)) {
        ret->node = rest;
        rest = SV_NULL;
    }
    if (ret->node.n == 0 || ret->node.n > PASSAGE_NODE_MAX || !is_word(ret->node, true))
        return PASSAGE_NOWHERE;
    if (rest.n == 0)
        return PASSAGE_DOOR;
    if (!sv_cut(&rest, '/', &part) || part.n != PASSAGE_TICKET + 1 || part.p[0] != '~' ||
        !is_word(sv_from(part, 1), false))
        return PASSAGE_NOWHERE;
    ret->ticket = sv_from(part, 1);
    ret->base = sv_first(path, path.n - rest.n);
    ret->rest = sv_from(path, path.n - rest.n - 1); /* with the slash that ends the base */
    return PASSAGE_INSIDE;
}

/* What a node writes is below its own root; "http://node" is how we call it (Host). */
bool passage_rebase(struct sv location, struct sv base, struct arena *a, struct sv *ret) {
    static const char *const names[] = { "http://node/", "https://node/" };
    struct sv path = location;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sv_starts_nocase(location, sv_of(names[i])))
            path = sv_from(location, sv_of(names[i]).n - 1);
    size_t n = 0;
    while (n < path.n && path.p[n] != '?' && path.p[n] != '#')
        n++;
    if (!path_is_clean(sv_first(path, n)) || !http_value_is_clean(path) || sv_find_char(path, '\\') >= 0)
        return false;
    *ret = sv_of(arena_printf(a, "%.*s%.*s", SV_FMT(base), SV_FMT(sv_from(path, 1))));
    return ret->p != NULL;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static bool is_listed(struct sv name, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (sv_eq(name, sv_of(list[i])))
            return true;
    return false;
}

int passage_request(const struct http_head *head, struct http_header to[static PASSAGE_REQUEST]) {
    /* The permission key is the node's own, typed into the node's own page. */
    static const char *const fields[] = { "accept",
                                          "accept-encoding",
                                          "accept-language",
                                          "anthropic-beta",
                                          "anthropic-version",
                                          "content-type",
                                          "drover-permission-key",
                                          "if-match",
                                          "if-modified-since",
                                          "if-none-match",
                                          "last-event-id",
                                          "range",
                                          "sec-websocket-key",
                                          "sec-websocket-version",
                                          "user-agent" };
    int n = 0;
    for (unsigned i = 0; i < head->n_headers; i++) {
        if (!is_listed(head->headers[i].name, fields, sizeof fields / sizeof fields[0]) ||
            !http_value_is_clean(head->headers[i].value))
            continue;
        if (n == PASSAGE_REQUEST)
            return -1;
        to[n++] = head->headers[i];
    }
    return n;
}

bool passage_is_preflight(const struct http_head *head) {
    return sv_eq(head->method, SV("OPTIONS")) && http_get(head, SV("access-control-request-method")).p;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

#define FIELD(name, value)                                                                                             \
    {                                                                                                                  \
        { name, sizeof(name) - 1 }, {                                                                                  \
            value, sizeof(value) - 1                                                                                   \
        }                                                                                                              \
    }

/* "name:port" as a policy can write it, which has no way to write an IPv6 address. */
static bool is_source(struct sv host) {
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] != ':' && !is_word((struct sv){ host.p + i, 1 }, true))
            return false;
    return host.n > 0;
}

/* The sources of a page: its own path alone. Where that cannot be written its whole address has to do: the page still has no origin, and
 * the hub answers it only below its path. */
static struct sv policy(struct http_in *in, struct sv base) {
    struct sv host = in->head->host;
    bool can = is_source(host);
    const char *s = in->stream->is_tls ? "s" : "";
    const char *own = can ? arena_printf(&in->arena, "http%s://%.*s%.*s", s, SV_FMT(host), SV_FMT(base)) : "'self'";
    const char *live = can ? arena_printf(&in->arena, " ws%s://%.*s%.*s", s, SV_FMT(host), SV_FMT(base)) : "";
    if (!own || !live)
        return SV_NULL;
    return sv_of(arena_printf(
        &in->arena,
        "sandbox allow-scripts allow-forms allow-modals allow-downloads; default-src 'none'; script-src %s; style-src "
        "%s; "
        "img-src %s data:; font-src %s; connect-src %s%s; form-action %s; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'",
        own, own, own, own, own, live, own));
}

/* What stands on every answer below a ticket, the node's and our own. "null" is the origin of a page without one; whoever knows
 * the ticket may read. 0: memory is out. */
enum { SHIELD = 10 };
static unsigned shield(struct http_in *in, struct http_header to[static SHIELD]) {
    static const struct http_header always[] = {
        FIELD("x-content-type-options", "nosniff"),
        FIELD("x-frame-options", "DENY"),
        FIELD("referrer-policy", "no-referrer"),
        FIELD("cross-origin-opener-policy", "same-origin"),
        FIELD("cross-origin-resource-policy",
              "cross-origin"), /* to a page without an origin even its own files are another's */
        FIELD("access-control-allow-origin", "null"),
        FIELD("access-control-expose-headers",
              "retry-after, x-request-id, etag, drover-model, drover-endpoint, drover-attempts"),
        FIELD("cache-control", "no-store"),
    };
    struct passage at;
    (void)passage_read(in->head->path, &at);
    struct sv csp = policy(in, at.base);
    unsigned n = sizeof always / sizeof always[0];
    if (!csp.p)
        return 0;
    memcpy(to, always, sizeof always);
    to[n++] = (struct http_header){ SV("content-security-policy"), csp };
    return n;
}

static bool goes_on(struct sv name) {
    static const char *const fields[] = {
        "accept-ranges", "content-disposition", "content-encoding", "content-language", "content-range", "content-type",
        "etag",          "last-modified",       "retry-after",      "x-request-id"
    };
    return sv_starts(name, SV("drover-")) || is_listed(name, fields, sizeof fields / sizeof fields[0]);
}

/* A 101 is for a WebSocket or none. */
static int switched(const struct http_head *head, struct http_header h[static HTTP_PROXY_FIELDS]) {
    struct sv to = http_get(head, SV("upgrade")), accept = http_get(head, SV("sec-websocket-accept"));
    if (!sv_eq_nocase(to, SV("websocket")) || !accept.p)
        return -1;
    h[0] = (struct http_header){ SV("upgrade"), SV("websocket") };
    h[1] = (struct http_header){ SV("sec-websocket-accept"), accept };
    return 2;
}

int passage_answer(struct http_in *in, const struct http_head *head, struct http_header h[static HTTP_PROXY_FIELDS],
                   unsigned n) {
    struct passage at;
    unsigned kept = 0;
    if (head->status == 101)
        return switched(head, h);
    (void)passage_read(in->head->path, &at);
    for (unsigned i = 0; i < n; i++) {
        struct http_header f = h[i];
        if (sv_eq(f.name, SV("location")) && !passage_rebase(f.value, at.base, &in->arena, &f.value))
            return -1;
        if (goes_on(f.name) || sv_eq(f.name, SV("location")))
            h[kept++] = f;
    }
    if (kept > HTTP_PROXY_FIELDS - SHIELD)
        return -1;
    unsigned ours = shield(in, h + kept);
    return ours ? (int)(kept + ours) : -1;
}

void passage_fail(struct http_in *in, int status, const char *code, struct sv text) {
    struct http_header h[SHIELD];
    struct buf body = BUF_MAX(4096);
    unsigned n = shield(in, h);
    buf_printf(&body, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    buf_add_json(&body, text);
    buf_add(&body, SV("}}\n"));
    if (n && !body.failed)
        http_in_reply(in, status, h, n, SV("application/json"), buf_sv(&body));
    else
        http_in_abort(in);
    buf_deinit(&body);
}

void passage_refuse(struct http_in *in, int status) {
    if (status == 503)
        passage_fail(in, status, "unavailable", SV("too many live connections of this visit; close a page"));
    else
        passage_fail(in, status, "upstream_unreachable",
                     SV("the node does not answer, or with what is not let through"));
}

void passage_preflight(struct http_in *in) {
    static const struct http_header h[] = {
        FIELD("access-control-allow-origin", "null"),
        FIELD("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        FIELD("access-control-allow-headers", "content-type, drover-console, drover-permission-key, if-match"),
        FIELD("access-control-max-age", "600"),
        FIELD("cache-control", "no-store"),
    };
    http_in_reply(in, 204, h, sizeof h / sizeof h[0], SV_NULL, SV_NULL);
}

/* --- the hub's own page ------------------------------------------------------------------------------------------- */

void passage_door(struct http_in *in, struct sv node) {
    static const struct http_header h[] = {
        FIELD("content-security-policy",
              "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        FIELD("x-content-type-options", "nosniff"),
        FIELD("x-frame-options", "DENY"),
        FIELD("referrer-policy", "no-referrer"),
        FIELD("cross-origin-opener-policy", "same-origin"),
        FIELD("cross-origin-resource-policy", "same-origin"),
        FIELD("cache-control", "no-store"),
    };
    struct buf page = BUF_MAX(4096);
    buf_printf(&page,
               "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<meta http-equiv=\"refresh\" content=\"0; "
               "url=/console/#/fleet?node=%.*s\">\n<title>Drover</title>\n</head>\n<body>\n<main>\n<h1>%.*s</h1>\n"
               "<p>This node's console is opened from its hub: <a "
               "href=\"/console/#/fleet?node=%.*s\">Open</a></p>\n</main>\n</body>\n</html>\n",
               SV_FMT(node), SV_FMT(node), SV_FMT(node));
    if (page.failed)
        http_in_abort(in);
    else
        http_in_reply(in, 200, h, sizeof h / sizeof h[0], SV("text/html; charset=utf-8"), buf_sv(&page));
    buf_deinit(&page);
}
