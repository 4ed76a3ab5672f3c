/* console/users.c - the people who may use the console, over the admin API. */
#include "console/request.h"

static void put_person(struct buf *out, const struct person *who) {
    buf_add_char(out, '{');
    put_text(out, "name", who->name);
    put_text(out, "role", sv_of(access_role_name(who->role)));
    put_truth(out, "enabled", who->enabled);
    put_number(out, "created_ms", who->created_ms);
    put_known(out, "seen_ms", who->seen_ms);
    put_number(out, "version", (uint64_t)who->version);
    buf_add_char(out, '}');
}

void users_list(struct request *r) {
    const struct people *p = r->admin->house->people;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    bool first = true;
    buf_add(&out, SV("{\"users\":["));
    for (const struct person *who = NULL; (who = people_next(p, who)); first = false) {
        if (!first)
            buf_add_char(&out, ',');
        put_person(&out, who);
    }
    buf_add(&out, SV("]}"));
    request_reply(r, 200, &out);
}

static void answer(struct request *r, int status, const struct person *who) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    if (who)
        put_person(&out, who);
    else
        buf_add(&out, SV("{\"removed\":true}"));
    request_reply(r, status, &out);
}

static void on_added(void *arg, const struct people_result *result, const struct err *e) {
    struct request *r = request_resume(arg);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r, 201, result->person);
}

static void on_changed(void *arg, const struct people_result *result, const struct err *e) {
    struct request *r = request_resume(arg);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r, 200, result->person);
}

/* Each member known, and of its type. All are optional here. */
static bool read_user(yyjson_val *root, struct sv *name, struct person_change *c, struct err *e) {
    size_t i, n;
    yyjson_val *key, *v;
    *c = (struct person_change){ .enabled = -1 };
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_BAD_REQUEST, "the body must be a JSON object that describes a user");
    yyjson_obj_foreach(root, i, n, key, v) {
        struct sv what = json_sv(key);
        bool ok = true;
        if (sv_eq(what, SV("name")) && name)
            ok = request_text(root, "name", name, e);
        else if (sv_eq(what, SV("role")))
            ok = access_role_read(json_sv(v), &c->role) || err_set(e, ERR_BAD_REQUEST, "\"role\" must be viewer, operator or admin");
        else if (sv_eq(what, SV("enabled")))
            ok = yyjson_is_bool(v) ? (c->enabled = yyjson_is_true(v), true) : err_set(e, ERR_BAD_REQUEST, "\"enabled\" must be true or false");
        else if (sv_eq(what, SV("passphrase")))
            ok = request_text(root, "passphrase", &c->passphrase, e) && passphrase_check(c->passphrase, e);
        else
            ok = err_set(e, ERR_BAD_REQUEST, "\"%.*s\" is no member of a user that can be set", SV_FMT(sv_first(what, 40)));
        if (!ok)
            return false;
    }
    return true;
}

void users_add(struct request *r) {
    struct access_actor by = request_actor(r);
    struct sv name = SV_NULL;
    struct person_change c;
    struct err e;
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    if (!doc)
        return;
    bool ok = read_user(yyjson_doc_get_root(doc), &name, &c, &e) &&
              ((name.n && c.role != ROLE_NONE && c.passphrase.n && c.enabled < 0) ||
               err_set(&e, ERR_BAD_REQUEST, "a new user has \"name\", \"role\" and \"passphrase\""));
    if (!ok) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, people_add(r->admin->house->people, name, c.role, c.passphrase, &by, on_added, w, &e), &e);
}

void users_change(struct request *r) {
    struct access_actor by = request_actor(r);
    struct person_change c;
    struct err e;
    int64_t version;
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    if (!doc)
        return;
    if (!request_version(r, &version, &e) || !read_user(yyjson_doc_get_root(doc), NULL, &c, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, people_change(r->admin->house->people, r->rest, version, &c, &by, on_changed, w, &e), &e);
}

void users_remove(struct request *r) {
    struct access_actor by = request_actor(r);
    struct err e;
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, people_remove(r->admin->house->people, r->rest, &by, on_changed, w, &e), &e);
}
