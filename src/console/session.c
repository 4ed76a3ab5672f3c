/* console/session.c - signing in and out, the first admin, and who is signed in where. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "console/request.h"
#include "version.h"

/* --- a session as JSON -------------------------------------------------------------------------------------------- */

/* Whoever visits from the hub has no session here; it ends there. */
static void put_visitor(const struct request *r, struct buf *out) {
    put_text(out, "version", SV(DROVER_VERSION));
    put_text(out, "user", r->who);
    put_text(out, "role", sv_of(access_role_name(r->role)));
    put_number(out, "now_ms", clock_wall_ms());
    put_truth(out, "visit", true);
}

/* s: NULL: nobody has signed in. */
static void put_state(struct request *r, struct buf *out, const struct session *s) {
    const struct admin_house *h = r->admin->house;
    struct mode_state mode;
    mode_now(h->mode, &mode);
    buf_add_char(out, '{');
    put_truth(out, "signed_in", s || r->is_visitor);
    put_truth(out, "setup", !people_has_admin(h->people));
    put_text(out, "name", (*h->config)->name);
    if (s) {
        put_text(out, "version", SV(DROVER_VERSION));
        put_text(out, "user", s->person->name);
        put_text(out, "role", sv_of(access_role_name(s->person->role)));
        put_text(out, "session", s->id);
        put_number(out, "now_ms", clock_wall_ms());
        put_number(out, "created_ms", s->created_ms);
        put_number(out, "expires_ms", s->expires_ms);
        put_number(out, "idle_ms", (*h->config)->access.session_idle_ms);
        put_number(out, "fresh_until_ms", s->fresh_until_ms);
    } else if (r->is_visitor) {
        put_visitor(r, out);
    }
    if (s || r->is_visitor)
        put_text(out, "mode", mode.is_live ? SV("live") : SV("dev"));
    buf_add_char(out, '}');
}

void session_get(struct request *r) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    put_state(r, &out, r->session);
    request_reply(r, 200, &out);
}

/* --- in and out --------------------------------------------------------------------------------------------------- */

enum { COOKIE_MAX = 256 };

/* The cookie of this connection: nobody but us can read it, and no other site can make it be sent. */
static struct sv cookie(const struct request *r, struct sv secret, uint64_t max_age_s, char to[static COOKIE_MAX]) {
    int n = snprintf(to, COOKIE_MAX, "%s=%.*s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%llu%s",
                     r->is_tls ? ACCESS_COOKIE_TLS : ACCESS_COOKIE_PLAIN, SV_FMT(secret), (unsigned long long)max_age_s, r->is_tls ? "; Secure" : "");
    return (struct sv){ to, (size_t)n };
}

static void answer_state(struct request *r, int status, const struct session *s, struct sv secret) {
    char text[COOKIE_MAX];
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    struct http_header set = { SV("set-cookie"), cookie(r, secret, s ? (*r->admin->house->config)->access.session_ttl_ms / 1000 : 0, text) };
    put_state(r, &out, s);
    request_reply_with(r, status, &set, 1, &out);
    sodium_memzero(text, sizeof text);
}

static void on_begun(void *arg, const struct people_result *result, const struct err *e) {
    struct request *r = request_resume(arg);
    if (!r)
        return;
    if (e)
        request_fail(r, e, NULL);
    else
        answer_state(r, 201, result->session, result->secret);
}

static bool inside(struct request *r) {
    struct err e;
    if (r->is_outside)
        return false;
    err_set(&e, ERR_BAD_REQUEST, "the socket needs no session: who may open it may do everything");
    request_fail(r, &e, NULL);
    return true;
}

void session_begin(struct request *r) {
    struct sv name, passphrase, agent = http_get(r->in->head, SV("user-agent"));
    struct err e;
    CLEANUP(json_doc_freep) yyjson_doc *doc = inside(r) ? NULL : request_json(r);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!doc)
        return;
    if (!request_text(root, "name", &name, &e) || !request_text(root, "passphrase", &passphrase, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, people_sign_in(r->admin->house->people, name, passphrase, r->peer, agent, on_begun, w, &e), &e);
}

static bool is_near(struct sv peer) {
    return sv_starts(peer, SV("127.")) || sv_eq(peer, SV("::1"));
}

void setup(struct request *r) {
    struct sv token, name, passphrase, agent = http_get(r->in->head, SV("user-agent"));
    struct err e;
    CLEANUP(json_doc_freep) yyjson_doc *doc = inside(r) ? NULL : request_json(r);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!doc)
        return;
    bool ok = is_near(r->peer) || err_set(&e, ERR_DENIED, "the setup link works on the machine itself only (or through an SSH tunnel to it)");
    if (!ok || !request_text(root, "token", &token, &e) || !request_text(root, "name", &name, &e) ||
        !request_text(root, "passphrase", &passphrase, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, people_setup(r->admin->house->people, token, name, passphrase, r->peer, agent, on_begun, w, &e), &e);
}

void setup_token(struct request *r) {
    char token[SETUP_TOKEN + 1];
    struct err e;
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    if (!people_setup_token(r->admin->house->people, token)) {
        err_set(&e, ERR_EXISTS, "there is an admin already; drover user set NAME --passphrase gives a new passphrase");
        request_fail(r, &e, NULL);
        return;
    }
    buf_add_char(&out, '{');
    put_text(&out, "token", sv_of(token));
    buf_add_char(&out, '}');
    sodium_memzero(token, sizeof token);
    request_reply(r, 201, &out);
}

static void on_ended(void *arg, const struct people_result *result, const struct err *e) {
    struct request *r = request_resume(arg);
    (void)result;
    if (!r)
        return;
    if (e)
        request_fail(r, e, NULL);
    else
        answer_state(r, 200, NULL, SV(""));
}

void session_end(struct request *r) {
    struct access_actor by = request_actor(r);
    struct err e;
    struct waiting *w = inside(r) ? NULL : request_wait(r);
    if (w)
        request_begun(r, w, people_end_session(r->admin->house->people, r->session->id, &by, on_ended, w, &e), &e);
}

static void on_confirmed(void *arg, const struct people_result *result, const struct err *e) {
    struct request *r = request_resume(arg);
    if (!r)
        return;
    if (e) {
        request_fail(r, e, NULL);
        return;
    }
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    put_state(r, &out, result->session);
    request_reply(r, 200, &out);
}

void session_confirm(struct request *r) {
    struct sv passphrase;
    struct err e;
    CLEANUP(json_doc_freep) yyjson_doc *doc = inside(r) ? NULL : request_json(r);
    if (!doc)
        return;
    if (!request_text(yyjson_doc_get_root(doc), "passphrase", &passphrase, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, people_confirm(r->admin->house->people, r->session, passphrase, r->peer, on_confirmed, w, &e), &e);
}

/* --- who is signed in where --------------------------------------------------------------------------------------- */

/* One's own; an admin sees all. What one may not see is not there. */
static bool may_see(const struct request *r, const struct session *s) {
    return r->role == ROLE_ADMIN || sv_eq(s->person->name, r->who);
}

void sessions_list(struct request *r) {
    const struct people *p = r->admin->house->people;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    bool first = true;
    buf_add(&out, SV("{\"sessions\":["));
    for (const struct session *s = NULL; (s = people_next_session(p, s));) {
        if (!may_see(r, s))
            continue;
        buf_add(&out, first ? SV("{") : SV(",{"));
        put_text(&out, "id", s->id);
        put_text(&out, "user", s->person->name);
        put_text(&out, "role", sv_of(access_role_name(s->person->role)));
        put_number(&out, "created_ms", s->created_ms);
        put_number(&out, "used_ms", s->used_ms);
        put_number(&out, "expires_ms", s->expires_ms);
        put_text(&out, "peer", s->peer);
        put_text(&out, "agent", s->agent);
        put_truth(&out, "current", s == r->session);
        buf_add_char(&out, '}');
        first = false;
    }
    buf_add(&out, SV("]}"));
    request_reply(r, 200, &out);
}

static void on_other_ended(void *arg, const struct people_result *result, const struct err *e) {
    struct request *r = request_resume(arg);
    (void)result;
    if (!r)
        return;
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    if (e) {
        request_fail(r, e, NULL);
        return;
    }
    buf_add(&out, SV("{\"ended\":true}"));
    request_reply(r, 200, &out);
}

void sessions_end(struct request *r) {
    struct people *p = r->admin->house->people;
    struct access_actor by = request_actor(r);
    struct err e;
    const struct session *s = NULL;
    while ((s = people_next_session(p, s)) && !(sv_eq(s->id, r->rest) && may_see(r, s)))
        ;
    if (!s) {
        err_set(&e, ERR_NOT_FOUND, "there is no session \"%.*s\"", SV_FMT(sv_first(r->rest, 40)));
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, people_end_session(p, s->id, &by, on_other_ended, w, &e), &e);
}
