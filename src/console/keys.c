/* console/keys.c - keys and the audit log over the admin API. A key's text is shown once, in the answer that makes it. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/money.h"
#include "console/request.h"

/* --- a key as JSON ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *word;
    enum access_right right;
} rights[] = { { "pass", ACCESS_MAY_PASS }, { "manage", ACCESS_MAY_MANAGE }, { "measure", ACCESS_MAY_MEASURE } };
enum { RIGHTS = sizeof rights / sizeof rights[0] };

static const struct {
    const char *name;
    size_t at; /* in struct access_limits */
    enum { LIMIT_SMALL, LIMIT_WIDE, LIMIT_MONEY } kind; /* uint32_t, uint64_t, uint64_t of millionths */
} limits[] = {
    { "requests_per_min", offsetof(struct access_limits, requests_per_min), LIMIT_SMALL },
    { "requests_burst", offsetof(struct access_limits, requests_burst), LIMIT_SMALL },
    { "concurrent", offsetof(struct access_limits, concurrent), LIMIT_SMALL },
    { "tokens_per_min", offsetof(struct access_limits, tokens_per_min), LIMIT_WIDE },
    { "tokens_per_day", offsetof(struct access_limits, budget[ACCESS_TOKENS][ACCESS_DAY]), LIMIT_WIDE },
    { "tokens_per_month", offsetof(struct access_limits, budget[ACCESS_TOKENS][ACCESS_MONTH]), LIMIT_WIDE },
    { "money_per_day", offsetof(struct access_limits, budget[ACCESS_MONEY][ACCESS_DAY]), LIMIT_MONEY },
    { "money_per_month", offsetof(struct access_limits, budget[ACCESS_MONEY][ACCESS_MONTH]), LIMIT_MONEY },
};
enum { OVERLAP_USUAL_MS = 86400000 };
enum { LIMITS = sizeof limits / sizeof limits[0] };

/* Nothing when it is not set. */
static void put_limit(struct buf *out, const struct access_limits *all, size_t i) {
    const void *at = (const char *)all + limits[i].at;
    uint64_t v = limits[i].kind == LIMIT_SMALL ? *(const uint32_t *)at : *(const uint64_t *)at;
    if (limits[i].kind != LIMIT_MONEY)
        put_known(out, limits[i].name, v);
    else if (v)
        put_money(out, limits[i].name, (int64_t)v);
}

static void put_list(struct buf *out, const char *key, const struct sv *list, size_t n) {
    put_name(out, key);
    buf_add_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(out, ',');
        buf_add_json(out, list[i]);
    }
    buf_add_char(out, ']');
}

static void put_key(struct buf *out, const struct access_key *k) {
    char network[ACCESS_NETWORK_TEXT];
    uint64_t used = k->cell ? atomic_load_explicit(&k->cell->used_ms, memory_order_relaxed) : 0;
    put_text(out, "id", k->id);
    put_text(out, "name", k->name);
    put_text(out, "owner", k->owner);
    put_truth(out, "enabled", k->enabled);
    put_number(out, "created_ms", k->created_ms);
    put_known(out, "expires_ms", k->expires_ms);
    put_known(out, "old_secret_until_ms", k->old_until_ms > clock_wall_ms() ? k->old_until_ms : 0);
    put_list(out, "models", k->models, k->n_models);
    put_list(out, "endpoints", k->endpoints, k->n_endpoints);
    put_name(out, "networks");
    buf_add_char(out, '[');
    for (size_t i = 0; i < k->n_networks; i++)
        buf_printf(out, "%s\"%s\"", i ? "," : "", access_network_text(&k->networks[i], network));
    buf_add(out, SV("]"));
    put_name(out, "rights");
    buf_add_char(out, '[');
    for (size_t i = 0, n = 0; i < RIGHTS; i++)
        if (k->rights & rights[i].right)
            buf_printf(out, "%s\"%s\"", n++ ? "," : "", rights[i].word);
    buf_add_char(out, ']');
    put_name(out, "priority");
    buf_printf(out, "%d", k->priority);
    put_name(out, "limits");
    buf_add_char(out, '{');
    for (size_t i = 0; i < LIMITS; i++)
        put_limit(out, &k->limits, i);
    buf_add_char(out, '}');
    put_number(out, "in_flight", k->cell ? atomic_load_explicit(&k->cell->in_flight, memory_order_relaxed) : 0);
    put_known(out, "used_ms", used);
    put_number(out, "version", (uint64_t)k->version);
}

/* --- and back ----------------------------------------------------------------------------------------------------- */

static bool read_count(yyjson_val *v, const char *path, uint64_t most, uint64_t *ret, struct err *e) {
    *ret = yyjson_get_uint(v);
    return (yyjson_is_uint(v) && *ret <= most) ||
           err_set(e, ERR_BAD_REQUEST, "\"%s\" must be a whole number from 0 to %" PRIu64 " (0: the default)", path, most);
}

static bool read_money(yyjson_val *v, const char *path, uint64_t *ret, struct err *e) {
    int64_t millionths = 0;
    bool ok = yyjson_is_num(v) && money_of_double(yyjson_get_num(v), &millionths);
    *ret = (uint64_t)millionths;
    return ok || err_set(e, ERR_BAD_REQUEST, "\"%s\" must be an amount from 0 to %lld with at most 6 decimals (0: none)", path,
                         (long long)(MONEY_MAX / MONEY_ONE));
}

static bool read_texts(struct request *r, yyjson_val *v, const char *name, const struct sv **ret, size_t *ret_n, struct err *e) {
    size_t i, n;
    yyjson_val *one;
    if (!yyjson_is_arr(v))
        return err_set(e, ERR_BAD_REQUEST, "\"%s\" must be a list of texts", name);
    struct sv *list = ARENA_ARRAY(&r->in->arena, struct sv, yyjson_arr_size(v) + 1);
    if (!list)
        return err_no_memory(e);
    *ret_n = 0;
    *ret = list;
    yyjson_arr_foreach(v, i, n, one) {
        if (!yyjson_is_str(one))
            return err_set(e, ERR_BAD_REQUEST, "\"%s[%zu]\" must be a text", name, i);
        list[(*ret_n)++] = json_sv(one);
    }
    return true;
}

static bool read_networks(struct request *r, yyjson_val *v, struct access_key *k, struct err *e) {
    const struct sv *texts;
    if (!read_texts(r, v, "networks", &texts, &k->n_networks, e))
        return false;
    struct access_network *list = ARENA_ARRAY(&r->in->arena, struct access_network, k->n_networks + 1);
    if (!list)
        return err_no_memory(e);
    for (size_t i = 0; i < k->n_networks; i++)
        if (!access_network_read(texts[i], &list[i], e))
            return false;
    k->networks = list;
    return true;
}

static bool read_rights(yyjson_val *v, struct access_key *k, struct err *e) {
    size_t i, n;
    yyjson_val *one;
    k->rights = 0;
    if (!yyjson_is_arr(v))
        return err_set(e, ERR_BAD_REQUEST, "\"rights\" must be a list of pass, manage, measure");
    yyjson_arr_foreach(v, i, n, one) {
        size_t at = 0;
        while (at < RIGHTS && !sv_eq(json_sv(one), sv_of(rights[at].word)))
            at++;
        if (at == RIGHTS)
            return err_set(e, ERR_BAD_REQUEST, "\"rights[%zu]\" must be pass, manage or measure", i);
        k->rights |= rights[at].right;
    }
    return true;
}

static bool read_limits(yyjson_val *v, struct access_key *k, struct err *e) {
    size_t i, n;
    yyjson_val *key, *value;
    char path[64];
    k->limits = (struct access_limits){ 0 };
    if (!yyjson_is_obj(v))
        return err_set(e, ERR_BAD_REQUEST, "\"limits\" must be a group of limits");
    yyjson_obj_foreach(v, i, n, key, value) {
        uint64_t count;
        size_t at = 0;
        while (at < LIMITS && !sv_eq(json_sv(key), sv_of(limits[at].name)))
            at++;
        if (at == LIMITS)
            return err_set(e, ERR_BAD_REQUEST, "\"limits.%.*s\" is no limit of a key", SV_FMT(sv_first(json_sv(key), 40)));
        snprintf(path, sizeof path, "limits.%s", limits[at].name);
        bool small = limits[at].kind == LIMIT_SMALL;
        bool ok = limits[at].kind == LIMIT_MONEY ? read_money(value, path, &count, e)
                                                 : read_count(value, path, small ? INT32_MAX : INT64_MAX / 4, &count, e);
        if (!ok)
            return false;
        void *to = (char *)&k->limits + limits[at].at;
        if (small)
            *(uint32_t *)to = (uint32_t)count;
        else
            *(uint64_t *)to = count;
    }
    return true;
}

/* Each member once, none that is unknown; views borrow from the document. What is not named stays as *k has it. */
static bool read_key(struct request *r, yyjson_val *root, struct access_key *k, struct err *e) {
    size_t i, n;
    yyjson_val *key, *v;
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_BAD_REQUEST, "the body must be a JSON object that describes a key");
    yyjson_obj_foreach(root, i, n, key, v) {
        struct sv name = json_sv(key);
        uint64_t count;
        bool ok = true;
        if (sv_eq(name, SV("name")) || sv_eq(name, SV("owner"))) {
            *(sv_eq(name, SV("name")) ? &k->name : &k->owner) = json_sv(v);
            ok = yyjson_is_str(v) || err_set(e, ERR_BAD_REQUEST, "\"%.*s\" must be a text", SV_FMT(name));
        } else if (sv_eq(name, SV("enabled"))) {
            k->enabled = yyjson_is_true(v);
            ok = yyjson_is_bool(v) || err_set(e, ERR_BAD_REQUEST, "\"enabled\" must be true or false");
        } else if (sv_eq(name, SV("expires_ms"))) {
            ok = yyjson_is_null(v) ? (count = 0, true) : read_count(v, "expires_ms", 253402300799999, &count, e);
            k->expires_ms = count;
        } else if (sv_eq(name, SV("models"))) {
            ok = read_texts(r, v, "models", &k->models, &k->n_models, e);
        } else if (sv_eq(name, SV("endpoints"))) {
            ok = read_texts(r, v, "endpoints", &k->endpoints, &k->n_endpoints, e);
        } else if (sv_eq(name, SV("networks"))) {
            ok = read_networks(r, v, k, e);
        } else if (sv_eq(name, SV("rights"))) {
            ok = read_rights(v, k, e);
        } else if (sv_eq(name, SV("limits"))) {
            ok = read_limits(v, k, e);
        } else if (sv_eq(name, SV("priority"))) {
            k->priority = (int32_t)yyjson_get_sint(v);
            ok = (yyjson_is_int(v) && yyjson_get_sint(v) >= -100 && yyjson_get_sint(v) <= 100) ||
                 err_set(e, ERR_BAD_REQUEST, "\"priority\" must be a whole number from -100 to 100");
        } else {
            ok = err_set(e, ERR_BAD_REQUEST, "\"%.*s\" is no member of a key that can be set", SV_FMT(sv_first(name, 40)));
        }
        if (!ok)
            return false;
    }
    return true;
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

void keys_list(struct request *r) {
    const struct access *a = r->admin->house->access;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    bool first = true;
    buf_add(&out, SV("{\"keys\":["));
    for (const struct access_key *k = NULL; (k = access_next_key(a, k)); first = false) {
        buf_add(&out, first ? SV("{") : SV(",{"));
        put_key(&out, k);
        buf_add_char(&out, '}');
    }
    buf_add(&out, SV("]}"));
    request_reply(r, 200, &out);
}

static const struct access_key *find(struct request *r, struct err *e) {
    const struct access_key *k = access_find_key(r->admin->house->access, r->rest);
    if (!k)
        err_set(e, ERR_NOT_FOUND, "there is no key \"%.*s\"", SV_FMT(sv_first(r->rest, 80)));
    return k;
}

static void answer_key(struct request *r, int status, const struct access_key *k, const char *text) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    buf_add_char(&out, '{');
    put_key(&out, k);
    if (text)
        put_text(&out, "key", sv_of(text));
    buf_add_char(&out, '}');
    request_reply(r, status, &out);
}

void keys_get(struct request *r) {
    struct err e;
    const struct access_key *k = find(r, &e);
    if (k)
        answer_key(r, 200, k, NULL);
    else
        request_fail(r, &e, "drover key list shows all");
}

static void on_done(void *arg, const struct access_key *key, const char *text, const struct err *e) {
    struct request *r = request_resume(arg);
    if (!r)
        return;
    if (e)
        request_fail(r, e, NULL);
    else
        answer_key(r, text ? 201 : 200, key, text);
}

void keys_make(struct request *r) {
    static const struct sv all[] = { { "*", 1 } };
    struct access_key k = { .enabled = true, .models = all, .n_models = 1, .endpoints = all, .n_endpoints = 1 };
    struct access_actor by = request_actor(r);
    struct err e = { 0 };
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    if (!doc)
        return;
    if (!read_key(r, yyjson_doc_get_root(doc), &k, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, access_make_key(r->admin->house->access, &k, &by, on_done, w, &e), &e);
}

void keys_put(struct request *r) {
    struct access_actor by = request_actor(r);
    struct err e = { 0 };
    int64_t version;
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    if (!doc)
        return;
    const struct access_key *was = find(r, &e);
    struct access_key k = was ? *was : (struct access_key){ 0 };
    if (!was || !request_version(r, &version, &e) || !read_key(r, yyjson_doc_get_root(doc), &k, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, access_change_key(r->admin->house->access, was->id, version, &k, &by, on_done, w, &e), &e);
}

/* {"overlap": "24h"}, or nothing: a day. */
static bool read_overlap(yyjson_val *root, uint64_t *ret_ms, struct err *e) {
    yyjson_val *v = json_get(root, "overlap");
    *ret_ms = OVERLAP_USUAL_MS;
    if (!yyjson_is_obj(root) || yyjson_obj_size(root) != (v != NULL))
        return err_set(e, ERR_BAD_REQUEST, "the body must be an object with \"overlap\" at most, such as {\"overlap\": \"24h\"}");
    return !v || (yyjson_is_str(v) && config_duration(json_sv(v), ret_ms)) ||
           err_set(e, ERR_BAD_REQUEST, "\"overlap\" must be a duration with its unit, such as \"24h\", or \"0\" for none");
}

void keys_rotate(struct request *r) {
    struct access_actor by = request_actor(r);
    struct err e = { 0 };
    uint64_t overlap_ms;
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    if (!doc)
        return;
    if (!read_overlap(yyjson_doc_get_root(doc), &overlap_ms, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, access_rotate_key(r->admin->house->access, r->rest, overlap_ms, &by, on_done, w, &e), &e);
}

void keys_delete(struct request *r) {
    struct access_actor by = request_actor(r);
    struct err e = { 0 };
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, access_revoke_key(r->admin->house->access, r->rest, &by, on_done, w, &e), &e);
}

/* --- the audit log ------------------------------------------------------------------------------------------------ */

struct page {
    struct question q;
    uint64_t before, limit;  /* rows with smaller numbers, at most so many */
};

static bool run_list(struct store_tx *tx, struct question *q, struct err *e) {
    const struct page *l = CONTAINER(q, struct page, q);
    struct store_rows *rows = STORE_QUERY(tx, e,
                                          "SELECT seq, at_ms, actor, peer, action, object, detail FROM audit WHERE seq < $1 ORDER BY seq DESC "
                                          "LIMIT $2",
                                          STORE_I64((int64_t)l->before), STORE_I64((int64_t)l->limit));
    enum store_step step = rows ? STORE_ROW : STORE_FAULT;
    static const char *const names[] = { "actor", "peer", "action", "object", "detail" };
    buf_add(&q->out, SV("{\"acts\":["));
    for (size_t n = 0; rows && (step = store_next(rows, e)) == STORE_ROW; n++) {
        buf_add(&q->out, n ? SV(",{") : SV("{"));
        put_number(&q->out, "seq", (uint64_t)store_i64(rows, 0));
        put_number(&q->out, "at_ms", (uint64_t)store_i64(rows, 1));
        for (int i = 0; i < 5; i++)
            put_text(&q->out, names[i], store_text(rows, 2 + i));
        buf_add_char(&q->out, '}');
    }
    buf_add(&q->out, SV("]}"));
    return step == STORE_END;
}

static bool run_verify(struct store_tx *tx, struct question *q, struct err *e) {
    struct access_verdict v;
    char head[2 * ACCESS_HASH + 1];
    if (!access_audit_verify(tx, &v, e))
        return false;
    sodium_bin2hex(head, sizeof head, v.head, sizeof v.head);
    buf_add_char(&q->out, '{');
    put_truth(&q->out, "intact", v.broken_at == 0);
    put_number(&q->out, "rows", v.n);
    put_number(&q->out, "rows_written", v.n_told);
    put_known(&q->out, "broken_at", v.broken_at);
    put_text(&q->out, "head", sv_of(head));
    buf_add_char(&q->out, '}');
    return true;
}

void audit_list(struct request *r) {
    enum { ROWS_USUAL = 100, ROWS_MAX = 500 };
    struct sv before = request_query(r, SV("before")), limit = request_query(r, SV("limit"));
    struct page l = { .q.run = run_list, .before = INT64_MAX, .limit = ROWS_USUAL };
    struct err e;
    if ((before.p && (!sv_to_u64(before, &l.before) || l.before > INT64_MAX)) ||
        (limit.p && (!sv_to_u64(limit, &l.limit) || l.limit < 1 || l.limit > ROWS_MAX))) {
        err_set(&e, ERR_BAD_REQUEST, "\"before\" must be the number of a row, \"limit\" from 1 to %d", ROWS_MAX);
        request_fail(r, &e, NULL);
        return;
    }
    request_ask(r, &l.q, sizeof l);
}

void audit_verify(struct request *r) {
    request_ask(r, &(struct question){ .run = run_verify }, sizeof(struct question));
}
