/* console/nodes.c - the fleet of this hub over the admin API: its nodes, its invitations, and the two routes by which machines come in.
 *
 * What is known and what is done is the hub's (hub/hub.h); here stands what may be asked, how it is checked and in which words it is
 * answered. Answers that carry a secret (the line of an invitation, a node's token) are built in one block and wiped when they are sent. */
#include <sodium.h>
#include <stdio.h>

#include "console/door.h"
#include "console/request.h"
#include "hub/hub.h"
#include "http/url.h"

enum {
    TTL_MIN_MS = 60000, /* as of hub.invite_ttl */
    LABELS_MOST = 8192,
    LABEL_NAME_MOST = 63,
    LABEL_VALUE_MOST = 255,
    ENROL_VERSION = 1,
    TEXT_MOST = 64,
    URL_MOST = 255,
    CSR_MOST = 16 << 10,
    TOKEN_MOST = 128,
    RETRY_LATER_S = 30,
    RETRY_WAITING_S = 5,
};
#define TTL_MOST_MS (30 * UINT64_C(86400000))

/* --- answering ---------------------------------------------------------------------------------------------------- */

struct hub *nodes__hub(struct request *r) {
    struct err e;
    if (r->admin->house->hub)
        return r->admin->house->hub;
    err_set(&e, ERR_NOT_FOUND, "this daemon is no hub: it accepts no nodes");
    request_fail(r, &e, "set hub.name, and give a listener the role link");
    return NULL;
}

/* json: an answer of the hub's, which may hold a secret. */
static void answer(struct request *r, int status, const struct http_header *more, unsigned n_more, struct sv json) {
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    json = sv_trim(json);
    buf_reserve(&out, json.n + 1); /* one block, so that no copy is left behind in a smaller one */
    buf_add(&out, json);
    request_reply_with(r, status, more, n_more, &out);
}

static void on_done(void *arg, struct sv json, const struct err *e) {
    struct request *r = request_resume(arg);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r, 200, NULL, 0, json);
}

/* Acts that say all in their path. */
static bool has_no_body(struct request *r) {
    struct err e;
    struct sv body = sv_trim(buf_sv(&r->body));
    if (body.n == 0 || sv_eq(body, SV("{}")))
        return true;
    err_set(&e, ERR_BAD_REQUEST, "this takes no members");
    request_fail(r, &e, NULL);
    return false;
}

/* {"nodes":[...]} and the like. */
static void answer_list(struct request *r, const char *name, void (*print)(struct hub *h, struct buf *out)) {
    struct hub *h = nodes__hub(r);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (!h)
        return;
    buf_add_char(&out, '{');
    put_name(&out, name);
    print(h, &out);
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

/* --- the hub and its nodes ---------------------------------------------------------------------------------------- */

void nodes_hub(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (!h)
        return;
    buf_add_char(&out, '{');
    hub_status(h, &out);
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

void nodes_list(struct request *r) {
    answer_list(r, "nodes", hub_nodes);
}

void nodes_get(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    struct err e;
    if (!h)
        return;
    if (hub_node(h, r->rest, &out)) {
        request_reply(r, 200, &out);
        return;
    }
    err_set(&e, ERR_NOT_FOUND, "there is no node \"%.*s\"", SV_FMT(sv_first(r->rest, 80)));
    request_fail(r, &e, "drover node ls shows all");
}

static void on_history(void *arg, struct sv json, const struct err *e) {
    struct request *r = request_resume(arg);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (r && e) {
        request_fail(r, e, NULL);
    } else if (r) {
        buf_add_char(&out, '{');
        put_name(&out, "events");
        buf_add(&out, json);
        buf_add_char(&out, '}');
        request_reply(r, 200, &out);
    }
}

void nodes_history(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct err e;
    struct waiting *w = h ? request_wait(r) : NULL;
    if (w)
        request_begun(r, w, hub_history(h, r->rest, on_history, w, &e), &e);
}

/* --- acts --------------------------------------------------------------------------------------------------------- */

static void act(struct request *r, enum node_act what) {
    struct hub *h = nodes__hub(r);
    struct err e;
    struct waiting *w = h && has_no_body(r) ? request_wait(r) : NULL;
    if (!w)
        return; /* answered: r is gone */
    struct access_actor by = request_actor(r);
    request_begun(r, w, hub_act(h, what, r->rest, SV_NULL, &by, on_done, w, &e), &e);
}

void nodes_approve(struct request *r) {
    act(r, NODE_APPROVE);
}

void nodes_refuse(struct request *r) {
    act(r, NODE_REFUSE);
}

void nodes_revoke(struct request *r) {
    act(r, NODE_REVOKE);
}

void nodes_drain(struct request *r) {
    act(r, NODE_DRAIN);
}

void nodes_resume(struct request *r) {
    act(r, NODE_RESUME);
}

void nodes_remove(struct request *r) {
    act(r, NODE_REMOVE);
}

static bool is_label(struct sv name) {
    bool ok = name.n >= 1 && name.n <= LABEL_NAME_MOST;
    for (size_t i = 0; ok && i < name.n; i++) {
        char c = name.p[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             (i && (c == '.' || c == '_' || c == '-' || c == '/'));
    }
    return ok;
}

static bool is_plain_text(struct sv v) {
    bool ok = true;
    for (size_t i = 0; ok && i < v.n; i++)
        ok = (unsigned char)v.p[i] >= 0x20 && v.p[i] != 0x7f;
    return ok;
}

/* All labels a node is to have, as the hub keeps them. */
static bool read_labels(yyjson_val *v, struct buf *out, struct err *e) {
    size_t i, n;
    yyjson_val *key, *value;
    if (!yyjson_is_obj(v))
        return err_set(e, ERR_BAD_REQUEST, "\"labels\" must be an object of texts");
    buf_add_char(out, '{');
    yyjson_obj_foreach(v, i, n, key, value) {
        struct sv name = json_sv(key);
        if (!is_label(name))
            return err_set(
                e, ERR_BAD_REQUEST,
                "a label's name is 1 to %d letters, digits, '.', '_', '-' or '/', and begins with a letter or a digit",
                LABEL_NAME_MOST);
        if (!yyjson_is_str(value) || json_sv(value).n > LABEL_VALUE_MOST || !is_plain_text(json_sv(value)))
            return err_set(e, ERR_BAD_REQUEST, "\"labels.%.*s\" must be a text of at most %d bytes on one line",
                           SV_FMT(name), LABEL_VALUE_MOST);
        if (i)
            buf_add_char(out, ',');
        buf_add_json(out, name);
        buf_add_char(out, ':');
        buf_add_json(out, json_sv(value));
    }
    buf_add_char(out, '}');
    return !out->failed || err_set(e, ERR_BAD_REQUEST, "the labels of a node may have %d bytes", LABELS_MOST);
}

struct node_change {
    struct sv name; /* empty: as it is */
    bool has_labels;
    struct buf labels;
};

static bool read_change(yyjson_val *root, struct node_change *c, struct err *e) {
    size_t i, n;
    yyjson_val *key, *v;
    if (!yyjson_is_obj(root) || yyjson_obj_size(root) == 0)
        return err_set(e, ERR_BAD_REQUEST, "the body must be an object with \"name\", \"labels\" or both");
    yyjson_obj_foreach(root, i, n, key, v) {
        bool ok;
        if (sv_eq(json_sv(key), SV("name"))) {
            c->name = json_sv(v);
            ok = (yyjson_is_str(v) && hub_name_is_good(c->name)) ||
                 err_set(e, ERR_BAD_REQUEST, HUB_NAME_RULE, HUB_NAME_MAX);
        } else if (sv_eq(json_sv(key), SV("labels"))) {
            c->has_labels = true;
            ok = read_labels(v, &c->labels, e);
        } else {
            ok = err_set(e, ERR_BAD_REQUEST, "\"%.*s\" is no member of a node that can be set",
                         SV_FMT(sv_first(json_sv(key), 40)));
        }
        if (!ok)
            return false;
    }
    return true;
}

/* Both at once: all that can be refused is found out before the first of them is written, and the hub's queue keeps their order. */
static bool begin_change(struct request *r, struct hub *h, const struct node_change *c, struct waiting *w,
                         struct err *e) {
    struct access_actor by = request_actor(r);
    if (c->name.n &&
        !hub_act(h, NODE_RENAME, r->rest, c->name, &by, c->has_labels ? NULL : on_done, c->has_labels ? NULL : w, e))
        return false;
    return !c->has_labels || hub_act(h, NODE_LABEL, r->rest, buf_sv(&c->labels), &by, on_done, w, e);
}

void nodes_change(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct node_change c = { .labels = BUF_MAX(LABELS_MOST) };
    struct err e = { 0 };
    CLEANUP(json_doc_freep) yyjson_doc *doc = h ? request_json(r) : NULL;
    if (!doc)
        return;
    if (read_change(yyjson_doc_get_root(doc), &c, &e)) {
        struct waiting *w = request_wait(r);
        if (w)
            request_begun(r, w, begin_change(r, h, &c, w, &e), &e);
    } else {
        request_fail(r, &e, NULL);
    }
    buf_deinit(&c.labels);
}

/* --- invitations -------------------------------------------------------------------------------------------------- */

void invites_list(struct request *r) {
    answer_list(r, "invites", hub_invites);
}

static void on_invited(void *arg, struct sv json, const struct err *e) {
    struct request *r = request_resume(arg);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r, 201, NULL, 0, json);
}

struct invite_wish {
    struct sv name, node; /* empty: not given */
    uint64_t ttl_ms;
};

static bool read_invite(yyjson_val *root, struct invite_wish *w, struct err *e) {
    size_t i, n;
    yyjson_val *key, *v;
    *w = (struct invite_wish){ 0 };
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_BAD_REQUEST,
                       "the body must be an object with \"name\" or \"node\", and \"ttl\", at most");
    yyjson_obj_foreach(root, i, n, key, v) {
        bool ok;
        if (sv_eq(json_sv(key), SV("name"))) {
            w->name = json_sv(v);
            ok = (yyjson_is_str(v) && hub_name_is_good(w->name)) ||
                 err_set(e, ERR_BAD_REQUEST, HUB_NAME_RULE, HUB_NAME_MAX);
        } else if (sv_eq(json_sv(key), SV("node"))) {
            w->node = json_sv(v);
            ok = (yyjson_is_str(v) && w->node.n) ||
                 err_set(e, ERR_BAD_REQUEST, "\"node\" must be the id or the name of a node that comes back");
        } else if (sv_eq(json_sv(key), SV("ttl"))) {
            ok = (yyjson_is_str(v) && config_duration(json_sv(v), &w->ttl_ms) && w->ttl_ms >= TTL_MIN_MS &&
                  w->ttl_ms <= TTL_MOST_MS) ||
                 err_set(e, ERR_BAD_REQUEST, "\"ttl\" must be a duration from 1m to 30d, such as \"1h\"");
        } else {
            ok = err_set(e, ERR_BAD_REQUEST, "\"%.*s\" is no member of an invitation",
                         SV_FMT(sv_first(json_sv(key), 40)));
        }
        if (!ok)
            return false;
    }
    return !w->name.n || !w->node.n ||
           err_set(e, ERR_BAD_REQUEST, "\"name\" is for a new node, \"node\" for one that comes back: not both");
}

void invites_make(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct err e = { 0 };
    struct invite_wish wish;
    CLEANUP(json_doc_freep) yyjson_doc *doc = h ? request_json(r) : NULL;
    if (!doc)
        return;
    struct access_actor by = request_actor(r);
    if (!read_invite(yyjson_doc_get_root(doc), &wish, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, hub_invite(h, wish.name, wish.node, wish.ttl_ms, &by, on_invited, w, &e), &e);
}

void invites_void(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct err e;
    struct waiting *w = h && has_no_body(r) ? request_wait(r) : NULL;
    if (!w)
        return;
    struct access_actor by = request_actor(r);
    request_begun(r, w, hub_invite_void(h, r->rest, &by, on_done, w, &e), &e);
}

/* --- machines that come in ---------------------------------------------------------------------------------------- */

/* docs/protocol.md, "Enrolment". Members this hub does not know are a newer node's, and ignored. */
static bool read_member(yyjson_val *root, const char *name, size_t most, struct sv *ret, struct err *e) {
    yyjson_val *v = json_get(root, name);
    *ret = json_sv(v);
    if (v && !yyjson_is_null(v) && !yyjson_is_str(v))
        return err_set(e, ERR_BAD_REQUEST, "\"%s\" must be a text", name);
    if (ret->n > most)
        return err_set(e, ERR_BAD_REQUEST, "\"%s\" may have %zu bytes", name, most);
    return is_plain_text(*ret) || err_set(e, ERR_BAD_REQUEST, "\"%s\" must not hold control characters", name);
}

static bool read_csr(yyjson_val *root, struct sv *ret, struct err *e) {
    if (!request_text(root, "csr", ret, e))
        return false;
    bool ok = ret->n > 0 && ret->n <= CSR_MOST;
    for (size_t i = 0; ok && i < ret->n; i++)
        ok = ((unsigned char)ret->p[i] >= 0x20 || ret->p[i] == '\n' || ret->p[i] == '\r') &&
             (unsigned char)ret->p[i] < 0x7f;
    return ok || err_set(e, ERR_BAD_REQUEST, "\"csr\" must be a request for a certificate in PEM, of at most %d bytes",
                         CSR_MOST);
}

/* Who dials whom, and with direct where. */
static bool read_mode(yyjson_val *root, struct sv *ret_mode, struct sv *ret_url, struct err *e) {
    struct err bad;
    if (!read_member(root, "mode", TEXT_MOST, ret_mode, e) || !read_member(root, "url", URL_MOST, ret_url, e))
        return false;
    bool is_direct = sv_eq(*ret_mode, SV("direct"));
    if (ret_mode->n && !is_direct && !sv_eq(*ret_mode, SV("reverse")))
        return err_set(e, ERR_BAD_REQUEST, "\"mode\" must be reverse or direct");
    return !is_direct || (sv_starts(*ret_url, SV("https://")) && url_check(*ret_url, &bad)) ||
           err_set(e, ERR_BAD_REQUEST, "\"url\" must be the https address under which the hub reaches a direct node");
}

static bool read_enrolment(yyjson_val *root, struct hub_enrolment *in, struct err *e) {
    if (!yyjson_is_obj(root) || json_i64(root, "v", 0) != ENROL_VERSION)
        return err_set(e, ERR_BAD_REQUEST,
                       "the body must be an object with \"v\": %d, which is the only version this hub speaks",
                       ENROL_VERSION);
    if (!read_csr(root, &in->csr, e) || !read_member(root, "token", TOKEN_MOST, &in->token, e) ||
        !read_member(root, "name", HUB_NAME_MAX, &in->name, e) ||
        !read_member(root, "version", TEXT_MOST, &in->version, e) ||
        !read_member(root, "hostname", TEXT_MOST, &in->hostname, e) ||
        !read_member(root, "os", TEXT_MOST, &in->os, e) || !read_member(root, "arch", TEXT_MOST, &in->arch, e))
        return false;
    return read_mode(root, &in->mode, &in->url, e);
}

/* 200 with a certificate, or 202: ask again in a moment. */
static void on_enrolled(void *arg, int status, struct sv json, const struct err *e) {
    struct request *r = request_resume(arg);
    char seconds[16];
    struct http_header later = { SV("retry-after"),
                                 { seconds, (size_t)snprintf(seconds, sizeof seconds, "%d", RETRY_WAITING_S) } };
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        answer(r, status, &later, status == 202, json);
}

/* The machine is to come again when it was the hub's state, not the machine's, that was in the way. */
static void begun(struct request *r, struct waiting *w, bool ok, struct err *e) {
    if (!ok && err_http(e->code) == 503 && !e->retry_after_s)
        e->retry_after_s = RETRY_LATER_S;
    request_begun(r, w, ok, e);
}

void enrol(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct err e = { 0 };
    CLEANUP(json_doc_freep) yyjson_doc *doc = h ? request_json(r) : NULL;
    if (!doc)
        return;
    struct hub_enrolment in = { .peer = r->peer };
    if (!read_enrolment(yyjson_doc_get_root(doc), &in, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        begun(r, w, hub_enrol(h, &in, on_enrolled, w, &e), &e);
}

void enrol_renew(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct err e = { 0 };
    CLEANUP(json_doc_freep) yyjson_doc *doc = h ? request_json(r) : NULL;
    if (!doc)
        return;
    struct sv bearer = http_get(r->in->head, SV("authorization"));
    struct hub_renewal in = { .node_id = http_get(r->in->head, SV("drover-node")), .peer = r->peer };
    in.bearer = sv_starts_nocase(bearer, SV("bearer ")) ? sv_trim(sv_from(bearer, 7)) : SV_NULL;
    in.spki = r->is_outside ? http_get(r->in->head, SV(DOOR_SPKI)) : SV_NULL; /* only the door knows who proved what */
    if (!read_csr(yyjson_doc_get_root(doc), &in.csr, &e) || !read_mode(yyjson_doc_get_root(doc), &in.mode, &in.url, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        begun(r, w, hub_renew(h, &in, on_enrolled, w, &e), &e);
}
