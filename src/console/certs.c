/* console/certs.c - certificates of the fleet over the admin API: which there are, which were issued, renewing them, and replacing the root.
 *
 * What is known and what is done is the hub's (hub/hub.h). Nothing here is secret: keys never leave the files they lie in. */
#include "console/request.h"
#include "hub/hub.h"

/* --- looking ---------------------------------------------------------------------------------------------------------- */

void certs_get(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (!h)
        return;
    buf_add_char(&out, '{');
    hub_certs(h, &out);
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

static void on_done(void *arg, struct sv json, const struct err *e) {
    struct request *r = request_resume(arg);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (r && e) {
        request_fail(r, e, NULL);
    } else if (r) {
        buf_add(&out, json);
        request_reply(r, 200, &out);
    }
}

void certs_export(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct sv what = h ? request_query(r, SV("what")) : SV_NULL;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    struct err e;
    if (!h)
        return;
    if (sv_eq(what, SV("crl"))) {
        struct waiting *w = request_wait(r);
        if (w)
            request_begun(r, w, hub_crl(h, on_done, w, &e), &e);
        return;
    }
    if (what.n && !sv_eq(what, SV("trust")) && !sv_eq(what, SV("chain"))) {
        err_set(&e, ERR_BAD_REQUEST,
                "\"what\" must be trust (the roots), chain (the hub's own certificate and its root) or crl (what is good no more)");
        request_fail(r, &e, NULL);
        return;
    }
    buf_add_char(&out, '{');
    put_text(&out, "pem", hub_pem(h, sv_eq(what, SV("chain")) ? HUB_PEM_CHAIN : HUB_PEM_TRUST));
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

struct issued {
    struct question q;
    int64_t before, limit;
};

/* Rows of the audit log, so that their chain of hashes is the log's. */
static bool run_issued(struct store_tx *tx, struct question *q, struct err *e) {
    const struct issued *l = (const struct issued *)q;
    const struct store_value v[] = { STORE_I64(l->before), STORE_I64(l->limit) };
    struct store_rows *rows = store_query(tx, e,
                                          "SELECT seq, at_ms, actor, peer, object, detail FROM audit WHERE action = "
                                          "'cert.issue' AND seq < $1 ORDER BY seq DESC LIMIT $2",
                                          v, 2);
    bool first = true;
    buf_add(&q->out, SV("{\"issued\":["));
    for (enum store_step step; rows && (step = store_next(rows, e)) != STORE_END; first = false) {
        if (step == STORE_FAULT)
            return false;
        buf_add(&q->out, first ? SV("{") : SV(",{"));
        put_number(&q->out, "seq", (uint64_t)store_i64(rows, 0));
        put_number(&q->out, "at_ms", (uint64_t)store_i64(rows, 1));
        put_text(&q->out, "by", store_text(rows, 2));
        put_text(&q->out, "peer", store_text(rows, 3));
        put_text(&q->out, "uri", store_text(rows, 4));
        put_name(&q->out, "certificate");
        buf_add(&q->out, store_text(rows, 5));
        buf_add_char(&q->out, '}');
    }
    buf_add(&q->out, SV("]}"));
    return rows != NULL;
}

void certs_issued(struct request *r) {
    enum { ROWS_USUAL = 100, ROWS_MAX = 500 };
    struct issued l = { .q.run = run_issued };
    struct err e;
    if (!nodes__hub(r))
        return;
    if (!request_count(r, SV("before"), INT64_MAX, INT64_MAX, &l.before, &e) ||
        !request_count(r, SV("limit"), ROWS_USUAL, ROWS_MAX, &l.limit, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    request_ask(r, &l.q, sizeof l);
}

/* --- acting ----------------------------------------------------------------------------------------------------------- */

/* What a body may say. */
struct member_wish {
    const char *name;
    yyjson_type type;
};

static bool read_body(yyjson_val *root, const struct member_wish *may, size_t n_may, struct err *e) {
    size_t i, n;
    yyjson_val *key, *v;
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_BAD_REQUEST, "the body must be an object");
    yyjson_obj_foreach(root, i, n, key, v) {
        size_t m = 0;
        while (m < n_may && !sv_eq(json_sv(key), sv_of(may[m].name)))
            m++;
        if (m == n_may)
            return err_set(e, ERR_BAD_REQUEST, "\"%.*s\" is no member of this", SV_FMT(sv_first(json_sv(key), 40)));
        if (yyjson_get_type(v) != may[m].type)
            return err_set(e, ERR_BAD_REQUEST, "\"%s\" must be %s", may[m].name,
                           may[m].type == YYJSON_TYPE_STR ? "a text" : "true or false");
    }
    return yyjson_obj_size(root) <= 1 || err_set(e, ERR_BAD_REQUEST, "one member at most");
}

static bool begin_renewal(struct request *r, struct hub *h, yyjson_val *root, struct waiting *w, struct err *e) {
    struct access_actor by = request_actor(r);
    if (json_str(root, "node").n)
        return hub_certs_renew(h, HUB_RENEW_NODE, json_str(root, "node"), &by, on_done, w, e);
    if (json_bool(root, "nodes", false))
        return hub_certs_renew(h, HUB_RENEW_ALL, SV_NULL, &by, on_done, w, e);
    if (json_bool(root, "hub", false))
        return hub_certs_renew(h, HUB_RENEW_OWN, SV_NULL, &by, on_done, w, e);
    return err_set(e, ERR_BAD_REQUEST, "say whose: \"node\" (an id or a name), \"nodes\": true, or \"hub\": true");
}

static bool begin_rotation(struct request *r, struct hub *h, yyjson_val *root, struct waiting *w, struct err *e) {
    struct access_actor by = request_actor(r);
    return hub_rotate(h, json_bool(root, "emergency", false), &by, on_done, w, e);
}

static bool begin_back(struct request *r, struct hub *h, yyjson_val *root, struct waiting *w, struct err *e) {
    struct access_actor by = request_actor(r);
    (void)root;
    return hub_rotate_back(h, &by, on_done, w, e);
}

static bool begin_skip(struct request *r, struct hub *h, yyjson_val *root, struct waiting *w, struct err *e) {
    struct access_actor by = request_actor(r);
    if (!json_str(root, "node").n && !json_bool(root, "missing", false))
        return err_set(e, ERR_BAD_REQUEST,
                       "say who is not to be waited for: \"node\" (an id or a name), or \"missing\": true for all that "
                       "are missing");
    return hub_rotate_skip(h, json_str(root, "node"), &by, on_done, w, e);
}

static void act(struct request *r, const struct member_wish *may, size_t n_may,
                bool (*begin)(struct request *r, struct hub *h, yyjson_val *root, struct waiting *w, struct err *e)) {
    struct hub *h = nodes__hub(r);
    struct err e = { 0 };
    CLEANUP(json_doc_freep) yyjson_doc *doc = h ? request_json(r) : NULL;
    if (!doc)
        return;
    if (!read_body(yyjson_doc_get_root(doc), may, n_may, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, begin(r, h, yyjson_doc_get_root(doc), w, &e), &e);
}

void certs_renew(struct request *r) {
    static const struct member_wish may[] = { { "node", YYJSON_TYPE_STR },
                                              { "nodes", YYJSON_TYPE_BOOL },
                                              { "hub", YYJSON_TYPE_BOOL } };
    act(r, may, sizeof may / sizeof may[0], begin_renewal);
}

void certs_rotate(struct request *r) {
    static const struct member_wish may[] = { { "emergency", YYJSON_TYPE_BOOL } };
    act(r, may, 1, begin_rotation);
}

void certs_back(struct request *r) {
    act(r, NULL, 0, begin_back);
}

void certs_skip(struct request *r) {
    static const struct member_wish may[] = { { "node", YYJSON_TYPE_STR }, { "missing", YYJSON_TYPE_BOOL } };
    act(r, may, sizeof may / sizeof may[0], begin_skip);
}

/* --- who signs elsewhere ---------------------------------------------------------------------------------------------- */

void certs_inbox(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (!h)
        return;
    buf_add_char(&out, '{');
    hub_inbox(h, &out);
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

static bool begin_signing(struct request *r, struct hub *h, yyjson_val *root, struct waiting *w, struct err *e) {
    struct access_actor by = request_actor(r);
    if (!json_str(root, "chain").n)
        return err_set(e, ERR_BAD_REQUEST, "\"chain\" must be the certificate and its root in PEM");
    return hub_inbox_sign(h, r->rest, json_str(root, "chain"), &by, on_done, w, e);
}

/* What is brought proves itself: who calls needs no more rights than to look after the fleet. */
void certs_sign(struct request *r) {
    static const struct member_wish may[] = { { "chain", YYJSON_TYPE_STR } };
    act(r, may, 1, begin_signing);
}
