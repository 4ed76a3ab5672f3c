/* console/mode.c - Dev and Live over the admin API. */
#include "console/request.h"

static void answer(struct request *r) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    struct mode_state m;
    mode_now(r->admin->house->mode, &m);
    buf_add_char(&out, '{');
    put_text(&out, "mode", m.is_live ? SV("live") : SV("dev"));
    put_known(&out, "since_ms", m.since_ms);
    put_known(&out, "until_ms", m.until_ms);
    put_text(&out, "by", m.by);
    put_truth(&out, "has_key", m.has_key);
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

void mode_get(struct request *r) {
    answer(r);
}

static void on_done(void *arg, const struct err *e) {
    struct request *r = request_resume(arg);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r);
}

void mode_put(struct request *r) {
    struct access_actor by = request_actor(r);
    struct sv word;
    struct err e;
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    yyjson_val *root = yyjson_doc_get_root(doc), *ttl = json_get(root, "ttl_ms");
    if (!doc)
        return;
    bool ok = request_text(root, "mode", &word, &e);
    bool live = ok && sv_eq(word, SV("live"));
    ok = ok && (live || sv_eq(word, SV("dev")) || err_set(&e, ERR_BAD_REQUEST, "\"mode\" must be dev or live"));
    ok = ok && (!ttl || (yyjson_is_uint(ttl) && yyjson_get_uint(ttl) <= 30ull * 86400000) ||
                err_set(&e, ERR_BAD_REQUEST, "\"ttl_ms\" must be a whole number of milliseconds, 30 days at most (0: for good)"));
    if (!ok) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, mode_set(r->admin->house->mode, live, json_str(root, "permission_key"), yyjson_get_uint(ttl), &by, on_done, w, &e), &e);
}

void mode_key_put(struct request *r) {
    struct access_actor by = request_actor(r);
    struct sv key;
    struct err e;
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!doc)
        return;
    if (!request_text(root, "permission_key", &key, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, mode_set_key(r->admin->house->mode, key, json_str(root, "current"), &by, on_done, w, &e), &e);
}
