/* console/directives.c - what nodes are asked to do, over the admin API. What is known and done is the hub's (hub/hub.h). */
#include "console/request.h"
#include "hub/hub.h"

enum { REASON_MOST = 512, OP_MOST = 64, AGENT_MOST = 64, EXPIRES_LEAST_MS = 1000, DAY_MS = 86400000 };

static void answer(struct request *r, int status, const char *name, struct sv json) {
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (name) {
        buf_add_char(&out, '{');
        put_name(&out, name);
    }
    buf_add(&out, json);
    if (name)
        buf_add_char(&out, '}');
    request_reply(r, status, &out);
}

static void on_list(void *arg, struct sv json, const struct err *e) {
    struct request *r = request_resume(arg);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r, 200, "directives", json);
}

static void on_one(void *arg, struct sv json, const struct err *e) {
    struct request *r = request_resume(arg);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r, 200, NULL, json);
}

/* It is on the disk; what becomes of it is asked for by its id. */
static void on_taken(void *arg, struct sv json, const struct err *e) {
    struct request *r = request_resume(arg);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r, 202, NULL, json);
}

void directives_list(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct err e;
    struct waiting *w = h ? request_wait(r) : NULL;
    if (w)
        request_begun(r, w, hub_directives(h, r->rest, on_list, w, &e), &e);
}

void directives_get(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct err e;
    struct waiting *w = h ? request_wait(r) : NULL;
    if (w)
        request_begun(r, w, hub_directive(h, r->rest, on_one, w, &e), &e);
}

void directives_cancel(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct err e;
    struct waiting *w = h ? request_wait(r) : NULL;
    if (!w)
        return;
    struct access_actor by = request_actor(r);
    request_begun(r, w, hub_order_cancel(h, r->rest, &by, on_taken, w, &e), &e);
}

static bool read_ms(yyjson_val *v, const char *name, uint64_t least, uint64_t *ret, struct err *e) {
    *ret = yyjson_is_uint(v) ? yyjson_get_uint(v) : 0;
    return (yyjson_is_uint(v) && *ret >= least && *ret <= DAY_MS) ||
           err_set(e, ERR_BAD_REQUEST, "\"%s\" must be a whole number of milliseconds, %llu to %d", name, (unsigned long long)least, DAY_MS);
}

static bool read_text(yyjson_val *v, const char *name, size_t most, struct sv *ret, struct err *e) {
    *ret = json_sv(v);
    bool ok = yyjson_is_str(v) && ret->n <= most;
    for (size_t i = 0; ok && i < ret->n; i++)
        ok = (unsigned char)ret->p[i] >= 0x20 && ret->p[i] != 0x7f;
    return ok || err_set(e, ERR_BAD_REQUEST, "\"%s\" must be a text of at most %zu bytes on one line", name, most);
}

/* args: the text of that member, for the caller to free. */
static bool read_order(yyjson_val *root, struct hub_order *o, char **ret_args, struct err *e) {
    size_t i, n, size = 0;
    yyjson_val *key, *v;
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_BAD_REQUEST, "the body must be an object with \"op\"");
    yyjson_obj_foreach(root, i, n, key, v) {
        struct sv name = json_sv(key);
        bool ok = true;
        if (sv_eq(name, SV("op")))
            ok = read_text(v, "op", OP_MOST, &o->op, e);
        else if (sv_eq(name, SV("reason")))
            ok = read_text(v, "reason", REASON_MOST, &o->reason, e);
        else if (sv_eq(name, SV("agent")))
            ok = read_text(v, "agent", AGENT_MOST, &o->agent, e);
        else if (sv_eq(name, SV("timeout_ms")))
            ok = read_ms(v, "timeout_ms", 1, &o->timeout_ms, e);
        else if (sv_eq(name, SV("expires_ms")))
            ok = read_ms(v, "expires_ms", EXPIRES_LEAST_MS, &o->expires_ms, e);
        else if (!sv_eq(name, SV("args")))
            ok = err_set(e, ERR_BAD_REQUEST, "\"%.*s\" is no member of a directive", SV_FMT(sv_first(name, 40)));
        else if (!yyjson_is_obj(v))
            ok = err_set(e, ERR_BAD_REQUEST, "\"args\" must be an object");
        else if (!*ret_args && !(*ret_args = yyjson_val_write_opts(v, 0, &json_heap, &size, NULL)))
            ok = err_no_memory(e);
        if (!ok)
            return false;
    }
    o->args = (struct sv){ *ret_args, size };
    return o->op.n || err_set(e, ERR_BAD_REQUEST, "\"op\" is missing: what is the node to do?");
}

void directives_make(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct hub_order o = { 0 };
    struct err e = { 0 };
    char *args = NULL;
    CLEANUP(json_doc_freep) yyjson_doc *doc = h ? request_json(r) : NULL;
    if (!doc)
        return;
    if (read_order(yyjson_doc_get_root(doc), &o, &args, &e)) {
        struct access_actor by = request_actor(r);
        struct waiting *w = request_wait(r);
        if (w)
            request_begun(r, w, hub_order(h, r->rest, &o, &by, on_taken, w, &e), &e);
    } else {
        request_fail(r, &e, NULL);
    }
    mem_free(args);
}
