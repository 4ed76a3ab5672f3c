/* gateway/admit.c - the checks before anything is read or decided.
 *
 * Then who asks: the key, and whether it may use such a path at all; which models is for later (resolve.c).
 * A listener without credentials is safe only while no web page can use it: the Host must be a name of this machine (else
 * a rebinding name got here), and a request that a browser sends from another origin is refused (threat model C-40, C-122). */
#include "gateway/exchange.h"

#include <arpa/inet.h>
#include <sodium.h>

#include "base/clock.h"
#include "http/url.h"

static bool is_port(struct sv v) {
    uint64_t n;
    return v.n <= 5 && sv_to_u64(v, &n) && n <= 65535;
}

/* The name in "name[:port]"; the whole when what stands there is no port. */
static struct sv host_name(struct sv host) {
    struct sv name = host, rest = SV_NULL;
    ptrdiff_t end = host.n && host.p[0] == '[' ? sv_find_char(host, ']') + 1 : sv_find_char(host, ':');
    if (end > 0) {
        name = sv_first(host, (size_t)end);
        rest = sv_from(host, (size_t)end);
    }
    if (rest.n && (rest.p[0] != ':' || !is_port(sv_from(rest, 1))))
        return host;
    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    return name;
}

static bool is_loopback_name(struct sv name) {
    if (sv_eq_nocase(name, SV("localhost")) || sv_eq(name, SV("[::1]")))
        return true;
    if (!sv_starts(name, SV("127.")))
        return false;
    struct sv rest = name, part;
    unsigned parts = 0;
    for (; sv_next(&rest, '.', &part); parts++) {
        uint64_t v;
        if (part.n > 3 || !sv_to_u64(part, &v) || v > 255)
            return false;
    }
    return parts == 4;
}

/* No name can be rebound that was never looked up. */
static bool is_address(struct sv name) {
    char text[64], bytes[16];
    bool v6 = name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']';
    return sv_to_cstr(v6 ? sv_from(sv_first(name, name.n - 1), 1) : name, text, sizeof text) &&
           inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes) == 1;
}

static bool host_is_ours(const struct gateway_listener *l, struct sv name) {
    if (is_loopback_name(name) || (l->is_any && is_address(name)) || sv_eq_nocase(name, l->address))
        return true;
    for (size_t i = 0; i < l->names.n; i++)
        if (sv_eq_nocase(name, l->names.v[i]))
            return true;
    return false;
}

/* "scheme://host[:port]" of one of our names. "null" and foreign schemes are not. */
static bool origin_is_ours(const struct gateway_listener *l, struct sv origin) {
    if (sv_starts_nocase(origin, SV("http://")))
        origin = sv_from(origin, 7);
    else if (sv_starts_nocase(origin, SV("https://")))
        origin = sv_from(origin, 8);
    else
        return false;
    return host_is_ours(l, host_name(origin));
}

static bool check_host(const struct gateway_listener *l, const struct http_head *head, struct err *e) {
    return l->is_unix || !head->host.n || host_is_ours(l, host_name(head->host)) ||
           err_set(e, ERR_MISDIRECTED, "this service does not answer to the host name \"%.*s\" (add it to listen.names)",
                   SV_FMT(sv_first(head->host, 120)));
}

static bool check_sender(const struct gateway_listener *l, const struct http_head *head, struct err *e) {
    if (l->is_link) /* its certificate said who it is, and no browser is near */
        return true;
    if (!check_host(l, head, e))
        return false;
    bool has_origin = false, cross_site = false;
    for (unsigned i = 0; i < head->n_headers; i++) { /* each of them: nobody can say which one counts */
        struct http_header h = head->headers[i];
        if (sv_eq(h.name, SV("origin")) && !origin_is_ours(l, h.value))
            return err_set(e, ERR_DENIED, "requests from pages of another origin (%.*s) are refused", SV_FMT(sv_first(h.value, 120)));
        has_origin = has_origin || sv_eq(h.name, SV("origin"));
        cross_site = cross_site || (sv_eq(h.name, SV("sec-fetch-site")) && sv_eq_nocase(h.value, SV("cross-site")));
    }
    if (!has_origin && cross_site)
        return err_set(e, ERR_DENIED, "requests from pages of another site are refused");
    return true;
}

static bool check_coding(const struct http_head *head, struct err *e) {
    for (unsigned i = 0; i < head->n_headers; i++) {
        struct sv coding = head->headers[i].value;
        if (sv_eq(head->headers[i].name, SV("content-encoding")) && coding.n && !sv_eq_nocase(coding, SV("identity")))
            return err_set(e, ERR_MEDIA, "request bodies must not be compressed (content-encoding: %.*s)",
                           SV_FMT(sv_first(coding, 40)));
    }
    return true;
}

/* The body names the model. Some runtimes would rather believe the query, so it may not name one too (C-10). */
static bool check_query(const struct llm_route *route, struct sv query, struct err *e) {
    struct sv piece;
    char name[16];
    size_t n;
    while ((route->flags & (LLM_R_BODY_MODEL | LLM_R_FORM_MODEL)) && sv_next(&query, '&', &piece)) {
        ptrdiff_t eq = sv_find_char(piece, '=');
        if (percent_decode(eq < 0 ? piece : sv_first(piece, (size_t)eq), name, sizeof name, &n) &&
            sv_eq((struct sv){ name, n }, SV("model")))
            return err_set(e, ERR_BAD_REQUEST, "the model belongs in the body; the query must not name one too");
    }
    return true;
}

bool gateway_admits(struct gateway *g, struct http_in *in) {
    const struct gateway_listener *l = in->tag;
    struct err e;
    if (l->is_link && !(surface__is_visit(in) ? surface__shows(in, &e) : surface__allows(g, in, NULL, &e))) {
        answer__error(g, in, NULL, &e, NULL);
        return false;
    }
    if (check_sender(in->tag, in->head, &e) &&
        (path_is_clean(in->head->path) || err_set(&e, ERR_BAD_REQUEST, "the path has empty or dot segments, or escapes that hide a slash")))
        return true;
    answer__error(g, in, NULL, &e, NULL);
    return false;
}

bool gateway_admits_visit(struct gateway *g, struct http_in *in) {
    const struct http_head *head = in->head;
    struct err e;
    bool ok = check_host(in->tag, head, &e);
    for (unsigned i = 0; ok && i < head->n_headers; i++)
        ok = !sv_eq(head->headers[i].name, SV("origin")) || sv_eq(head->headers[i].value, SV("null")) ||
             err_set(&e, ERR_DENIED, "a node's console is for its own page alone");
    ok = ok && (path_is_clean(head->path) ||
                err_set(&e, ERR_BAD_REQUEST, "the path has empty or dot segments, or escapes that hide a slash"));
    if (!ok)
        answer__error(g, in, NULL, &e, NULL);
    return ok;
}

/* A page of the console, by its session. */
static bool identify_page(struct gateway *g, struct http_in *in, struct sv credential, const struct access_key **ret, struct err *e) {
    struct sv secret;
    *ret = NULL;
    if (!access_from_page(in->head))
        return true;
    if (!access_cookie(in->head, &secret, e))
        return false;
    if (secret.n && credential.n)
        return err_set(e, ERR_BAD_REQUEST, "the request carries a key and a session; send one");
    return secret.n == 0 || (*ret = access_session(g->access, secret, clock_wall_ms(), e)) != NULL;
}

/* Whose request it is. Where no key is needed one of ours is taken as such all the same, and any other word a client insists on
 * sending is nobody's business. */
static bool identify(struct gateway *g, struct http_in *in, const struct access_key **ret, struct err *e) {
    const struct gateway_listener *l = in->tag;
    char scratch[ACCESS_CREDENTIAL_MAX];
    struct sv credential;
    *ret = NULL;
    if (l->is_link)
        return true;
    bool ok = access_credential(in->head, scratch, &credential, e) || !l->needs_key;
    ok = ok && identify_page(g, in, credential, ret, e);
    if (ok && !*ret && (l->needs_key || sv_starts(credential, SV("sk-drv-")))) {
        *ret = access_identify(g->access, credential, clock_wall_ms(), sv_of(in->stream->peer), e);
        ok = *ret != NULL;
        if (!ok && credential.n) {
            access_refused(g->shared->refusals, access_credential_id(credential), sv_of(in->stream->peer), sv_of(e->text));
            access_guard_count(&g->shared->guard, sv_of(in->stream->peer), loop_now_us(g->loop), e);
        }
    }
    sodium_memzero(scratch, sizeof scratch);
    return ok;
}

static bool check_rights(const struct llm_route *route, const struct access_key *key, struct err *e) {
    if ((route->flags & LLM_R_MANAGE) && !access_may(key, ACCESS_MAY_MANAGE))
        return err_set(e, ERR_DENIED, "this key may not change what a runtime holds (it lacks the right \"manage\")");
    if (route->api == LLM_OTHER && !access_may(key, ACCESS_MAY_PASS))
        return err_set(e, ERR_DENIED, "this key may not use paths that Drover does not know (it lacks the right \"pass\")");
    return true;
}

/* Health, metrics and version. True: it was one of those, and is answered. */
static bool answer_page(struct gateway *g, struct http_in *in) {
    const struct gateway_listener *l = in->tag;
    const struct access_key *key;
    struct err e;
    bool open;
    if (!local__is_page(in->head->path, &open))
        return false;
    if (open || !l->needs_key)
        local__page(g, in);
    else if (identify(g, in, &key, &e) && (access_may(key, ACCESS_MAY_MEASURE) ||
                                           err_set(&e, ERR_DENIED, "this key may not read metrics (it lacks the right \"measure\")")))
        local__page(g, in);
    else
        answer__error(g, in, NULL, &e, NULL);
    return true;
}

bool admit__check(struct gateway *g, struct http_in *in, struct admission *ret) {
    const struct http_head *head = in->head;
    struct err e = { 0 };
    ret->route = llm_route(head->method, head->path, http_get(head, SV("anthropic-version")).p != NULL, &e);
    struct err route_fault = e;
    if (!check_sender(in->tag, head, &e)) {
        answer__error(g, in, ret->route, &e, NULL);
        return false;
    }
    const struct gateway_listener *l = in->tag;
    if (l->is_link && !surface__allows(g, in, ret->route, &e)) {
        answer__error(g, in, e.code == ERR_NOT_FOUND || e.code == ERR_BAD_REQUEST ? NULL : ret->route, &e, NULL);
        return false;
    }
    if (!l->is_link && surface__hops(in) > HOPS_MAX) {
        err_set(&e, ERR_LOOP, "the request has gone through more than %d Drovers: they are each other's endpoints, in a circle", HOPS_MAX);
        answer__error(g, in, ret->route, &e, NULL);
        return false;
    }
    bool names_model = ret->route && ((ret->route)->flags & LLM_R_PATH_MODEL); /* answered here; an id may hold a slash */
    if (!names_model && !path_is_clean(head->path)) {
        err_set(&e, ERR_BAD_REQUEST, "the path has empty or dot segments, or escapes that hide a slash");
        answer__error(g, in, NULL, &e, NULL);
        return false;
    }
    if (answer_page(g, in))
        return false;
    if (!identify(g, in, &ret->key, &e)) {
        answer__error(g, in, ret->route, &e, NULL);
        return false;
    }
    if (!ret->route) {
        answer__error(g, in, NULL, &route_fault, NULL);
        return false;
    }
    if (!check_rights(ret->route, ret->key, &e)) {
        access_refused(g->shared->refusals, ret->key->id, sv_of(in->stream->peer), sv_of(e.text));
        answer__error(g, in, ret->route, &e, NULL);
        return false;
    }
    if (!check_coding(head, &e)) {
        answer__error(g, in, ret->route, &e, "send it without content-encoding");
        return false;
    }
    if (!check_query(ret->route, head->query, &e)) {
        answer__error(g, in, ret->route, &e, NULL);
        return false;
    }
    return true;
}
