/* gateway/surface.c - what comes over the link to our hub: who is in charge there has been let in by certificate, so no key is asked
 * for, but the operator of this machine has the last word (join.allow), and nothing is served here but the models, and the console
 * to people at the hub who visit it.
 *
 * Paths are judged as strictly as the hub was to judge them before it sent them: what two programs could read differently goes no
 * further. */
#include "gateway/exchange.h"

#include "http/url.h"

enum { PRINCIPAL_MAX = 128 };

static bool is_link(const struct http_in *in) {
    return ((const struct gateway_listener *)in->tag)->is_link;
}

static bool reads(const struct http_head *head) {
    return sv_eq(head->method, SV("GET")) || sv_eq(head->method, SV("HEAD"));
}

static bool not_here(const struct http_head *head, struct err *e) {
    return err_set(e, ERR_NOT_FOUND, "%.*s is not served over the link", SV_FMT(sv_first(head->path, 120)));
}

unsigned surface__hops(const struct http_in *in) {
    uint64_t n = 0;
    struct sv told = http_get(in->head, SV(GATEWAY_HOPS));
    if (!told.p && !is_link(in)) /* as nearly every request */
        return 0;
    if (!told.p)
        return 1; /* a hub that does not count has handed it on once all the same */
    if (!sv_to_u64(told, &n))
        return HOPS_MAX + 1; /* nobody counts so */
    return n > HOPS_MAX ? HOPS_MAX + 1 : (unsigned)n;
}

/* Drover's own list of models names endpoints and the runtimes' ids: not where names are opaque. */
static bool is_list(const struct gateway *g, struct sv path) {
    return sv_eq(path, SV("/drover/v1/models")) && g->snapshot && !g->snapshot->is_opaque;
}

bool surface__allows(const struct gateway *g, const struct http_in *in, const struct llm_route *route, struct err *e) {
    const struct gateway_listener *l = in->tag;
    const struct http_head *head = in->head;
    bool is_health = sv_eq(head->path, SV("/healthz"));
    if (!path_is_clean(head->path))
        return err_set(e, ERR_BAD_REQUEST, "the path has empty or dot segments, or escapes that hide a slash");
    if ((is_health || is_list(g, head->path)) && !reads(head))
        return err_set(e, ERR_METHOD, "only GET works here");
    if (is_health)
        return true;
    if (!route && !is_list(g, head->path))
        return not_here(head, e);
    if (surface__hops(in) > HOPS_MAX)
        return err_set(e, ERR_LOOP,
                       "the request has come over more than %d links: hubs and nodes are joined in a circle", HOPS_MAX);
    bool manages = route && ((route->flags & LLM_R_MANAGE) || route->api == LLM_OTHER);
    if (manages && surface__is_visit(in))
        return err_set(e, ERR_DENIED, "who visits this node's console may use its models, not load, unload or fetch them");
    if (manages)
        return l->may_manage ||
               err_set(e, ERR_DENIED,
                       "this node does not let its hub load, unload or fetch models, or use paths that Drover does not "
                       "know (join.allow.models)");
    return l->may_infer || err_set(e, ERR_DENIED, "this node lets its hub use no models (join.allow.inference)");
}

struct sv surface__principal(struct http_in *in) {
    if (!is_link(in)) /* as nearly every request */
        return SV_NULL;
    struct sv who = http_get(in->head, SV(GATEWAY_PRINCIPAL));
    if (who.n == 0 || who.n > PRINCIPAL_MAX || !http_value_is_clean(who) || sv_find_char(who, '\t') >= 0)
        return SV("hub");
    return sv_of(arena_printf(&in->arena, "hub:%.*s", SV_FMT(who)));
}

/* --- visitors of the console -------------------------------------------------------------------------------------- */

bool surface__is_visit(const struct http_in *in) {
    return is_link(in) && http_get(in->head, SV(GATEWAY_VISIT)).p;
}

static bool read_visit(const struct http_in *in, enum access_role *ret_role, bool *ret_fresh) {
    struct sv word = SV_NULL, rest = http_get(in->head, SV(GATEWAY_VISIT));
    if (!sv_cut(&rest, ' ', &word)) {
        word = rest;
        rest = SV_NULL;
    }
    *ret_fresh = sv_eq(rest, SV("fresh"));
    return access_role_read(word, ret_role) && (*ret_fresh || rest.n == 0);
}

bool surface__shows(const struct http_in *in, struct err *e) {
    const struct gateway_listener *l = in->tag;
    enum access_role role;
    bool fresh;
    if (!path_is_clean(in->head->path))
        return err_set(e, ERR_BAD_REQUEST, "the path has empty or dot segments, or escapes that hide a slash");
    if (l->console == CONFIG_REACH_OFF)
        return err_set(e, ERR_DENIED, "this node does not show its console to its hub (join.allow.console)");
    return read_visit(in, &role, &fresh) ||
           err_set(e, ERR_BAD_REQUEST, "\"" GATEWAY_VISIT "\" must name a role: viewer, operator or admin");
}

bool gateway_visitor(struct http_in *in, struct gateway_visitor *ret) {
    const struct gateway_listener *l = in->tag;
    if (!surface__is_visit(in) || l->console == CONFIG_REACH_OFF || !read_visit(in, &ret->role, &ret->is_fresh))
        return false;
    if (l->console != CONFIG_REACH_FULL)
        ret->role = ROLE_VIEWER;
    ret->who = surface__principal(in);
    return true;
}
