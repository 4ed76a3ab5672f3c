#include "console/request.h"

#include <sodium.h>
#include <stdio.h>

#include "base/money.h"
#include "http/url.h"

/* What a page of ours may do, and that nobody else's page may do anything with us (threat model C-43, C-44). */
unsigned request_headers(const struct request *r, struct http_header to[static REQUEST_HEADERS]) {
#define FIELD(name, value) { { name, sizeof(name) - 1 }, { value, sizeof(value) - 1 } }
    static const struct http_header always[] = {
        FIELD("content-security-policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                                         "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
                                         "require-trusted-types-for 'script'"),
        FIELD("x-content-type-options", "nosniff"),
        FIELD("x-frame-options", "DENY"),
        FIELD("referrer-policy", "no-referrer"),
        FIELD("cross-origin-opener-policy", "same-origin"),
        FIELD("cross-origin-resource-policy", "same-origin"),
        FIELD("strict-transport-security", "max-age=31536000"),
    };
#undef FIELD
    unsigned n = sizeof always / sizeof always[0] - !r->is_tls; /* the last only where it can be kept */
    memcpy(to, always, n * sizeof always[0]);
    return n;
}

void request_reply_with(struct request *r, int status, const struct http_header *more, unsigned n_more, struct buf *out) {
    struct http_header h[REQUEST_HEADERS + 8];
    unsigned n = request_headers(r, h);
    h[n++] = (struct http_header){ SV("cache-control"), SV("no-store") };
    for (unsigned i = 0; i < n_more && n < sizeof h / sizeof h[0]; i++)
        h[n++] = more[i];
    buf_add_char(out, '\n');
    if (out->failed)
        http_in_reply(r->in, 503, h, n, SV("application/json"), SV("{\"error\":{\"code\":\"out_of_memory\"}}\n"));
    else
        http_in_reply(r->in, status, h, n, SV("application/json"), buf_sv(out));
    if (out->p)
        sodium_memzero(out->p, out->n);
    buf_deinit(out);
}

void request_reply(struct request *r, int status, struct buf *out) {
    request_reply_with(r, status, NULL, 0, out);
}

void request_fail(struct request *r, const struct err *e, const char *hint) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    buf_printf(&out, "{\"error\":{\"code\":\"%s\",\"message\":", err_name(e->code));
    buf_add_json(&out, sv_of(e->text));
    if (hint) {
        buf_add(&out, SV(",\"hint\":"));
        buf_add_json(&out, sv_of(hint));
    }
    buf_add(&out, SV("}}"));
    char seconds[16];
    struct http_header later = { SV("retry-after"), { seconds, (size_t)snprintf(seconds, sizeof seconds, "%u", e->retry_after_s) } };
    request_reply_with(r, err_http(e->code), &later, e->retry_after_s > 0, &out);
}

struct sv request_query(struct request *r, struct sv name) {
    struct sv rest = r->in->head->query, pair, key;
    while (sv_next(&rest, '&', &pair)) {
        if (!sv_cut(&pair, '=', &key) || !sv_eq(key, name))
            continue;
        char *to = arena_alloc(&r->in->arena, pair.n + 1);
        size_t n;
        if (!to || !percent_decode(pair, to, pair.n + 1, &n))
            return SV_NULL;
        return (struct sv){ to, n };
    }
    return SV_NULL;
}

bool request_count(struct request *r, struct sv name, uint64_t usual, uint64_t most, int64_t *ret, struct err *e) {
    struct sv v = request_query(r, name);
    uint64_t n = usual;
    if (v.p && (!sv_to_u64(v, &n) || n < 1 || n > most))
        return err_set(e, ERR_BAD_REQUEST, "\"%.*s\" must be a whole number from 1 to %llu", SV_FMT(name), (unsigned long long)most);
    *ret = (int64_t)n;
    return true;
}

struct access_actor request_actor(const struct request *r) {
    return (struct access_actor){ r->who, r->peer };
}

bool request_may_go_on(const struct request *r) {
    return !r->cell || !atomic_load_explicit(&r->cell->revoked, memory_order_relaxed);
}

/* A member that stands twice is read differently by different programs, and what is deep is no request of ours. */
static bool is_plain(yyjson_val *v, unsigned depth, struct err *e) {
    enum { DEPTH_MAX = 8, MEMBERS_MAX = 64 };
    size_t i, j, n, m;
    yyjson_val *key, *other, *value, *skip;
    if (depth > DEPTH_MAX || (yyjson_is_obj(v) && yyjson_obj_size(v) > MEMBERS_MAX))
        return err_set(e, ERR_BAD_REQUEST, "the body has more than %d levels, or %d members in one object", DEPTH_MAX, MEMBERS_MAX);
    if (yyjson_is_arr(v))
        yyjson_arr_foreach(v, i, n, value)
            if (!is_plain(value, depth + 1, e))
                return false;
    if (!yyjson_is_obj(v))
        return true;
    yyjson_obj_foreach(v, i, n, key, value) {
        yyjson_obj_foreach(v, j, m, other, skip)
            if (j < i && sv_eq(json_sv(key), json_sv(other)))
                return err_set(e, ERR_BAD_REQUEST, "\"%.*s\" stands twice in the body", SV_FMT(sv_first(json_sv(key), 40)));
        if (!is_plain(value, depth + 1, e))
            return false;
    }
    (void)skip;
    return true;
}

yyjson_doc *request_json(struct request *r) {
    struct err e;
    yyjson_doc *doc = json_parse(buf_sv(&r->body));
    if ((doc || err_set(&e, ERR_BAD_REQUEST, "the body must be JSON")) && is_plain(yyjson_doc_get_root(doc), 0, &e))
        return doc;
    yyjson_doc_free(doc);
    request_fail(r, &e, NULL);
    return NULL;
}

bool request_text(yyjson_val *root, const char *name, struct sv *ret, struct err *e) {
    yyjson_val *v = json_get(root, name);
    *ret = json_sv(v);
    return yyjson_is_str(v) || err_set(e, ERR_BAD_REQUEST, "\"%s\" must be a text", name);
}

bool request_version(struct request *r, int64_t *ret, struct err *e) {
    struct sv v = sv_trim(http_get(r->in->head, SV("if-match")));
    uint64_t n = 0;
    bool ok = v.n > 2 && v.p[0] == '"' && v.p[v.n - 1] == '"' && sv_to_u64(sv_first(sv_from(v, 1), v.n - 2), &n) && n < INT64_MAX;
    *ret = (int64_t)n;
    return ok || err_set(e, ERR_BAD_REQUEST, "the header If-Match must hold the version that is to be changed, in quotes");
}

struct waiting *request_wait(struct request *r) {
    struct err e;
    r->waits = mem_new(sizeof *r->waits);
    if (r->waits) {
        r->waits->request = r;
        return r->waits;
    }
    err_no_memory(&e);
    request_fail(r, &e, NULL);
    return NULL;
}

struct request *request_resume(struct waiting *w) {
    struct request *r = w->request;
    if (r)
        r->waits = NULL;
    mem_free(w);
    return r;
}

void request_begun(struct request *r, struct waiting *w, bool ok, const struct err *e) {
    if (ok)
        return;
    (void)request_resume(w);
    request_fail(r, e, NULL);
}

static bool run_question(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct question *q = CONTAINER(job, struct question, job);
    return q->run(tx, q, e);
}

static void on_answered(struct store_job *job, const struct err *e) {
    struct question *q = CONTAINER(job, struct question, job);
    struct request *r = request_resume(q->waits);
    if (r && e)
        request_fail(r, e, NULL);
    else if (r)
        request_reply(r, 200, &q->out);
    buf_deinit(&q->out);
    mem_free(q);
}

void request_ask(struct request *r, const struct question *what, size_t size) {
    struct err e;
    struct waiting *w = request_wait(r);
    if (!w)
        return;
    struct question *q = mem_copy(what, size);
    bool ok = q || err_no_memory(&e);
    if (ok) {
        q->job = (struct store_job){ .home = r->admin->loop, .reads = true, .run = run_question, .done = on_answered };
        q->waits = w;
        buf_init(&q->out, REQUEST_ANSWER_MAX);
        ok = store_submit(r->admin->house->store, &q->job, &e);
    }
    if (ok)
        return;
    mem_free(q);
    (void)request_resume(w);
    request_fail(r, &e, NULL);
}

enum log_level log_line_level(struct sv line) {
    enum log_level level = LOG_INFO;
    ptrdiff_t at = sv_find(line, SV("\"level\":\""));
    struct sv rest = at < 0 ? SV_NULL : sv_from(line, (size_t)at + 9), word;
    return sv_cut(&rest, '"', &word) && log_level_parse(word, &level) ? level : LOG_INFO;
}

void put_name(struct buf *out, const char *key) {
    buf_printf(out, "%s\"%s\":", out->n && out->p[out->n - 1] != '{' ? "," : "", key);
}

void put_text(struct buf *out, const char *key, struct sv v) {
    put_name(out, key);
    buf_add_json(out, v);
}

void put_number(struct buf *out, const char *key, uint64_t v) {
    put_name(out, key);
    buf_add_u64(out, v);
}

void put_known(struct buf *out, const char *key, uint64_t v) {
    if (v)
        put_number(out, key, v);
}

void put_money(struct buf *out, const char *key, int64_t millionths) {
    char text[MONEY_TEXT];
    put_name(out, key);
    buf_add(out, sv_of(money_text(millionths, text)));
}

void put_truth(struct buf *out, const char *key, bool v) {
    put_name(out, key);
    buf_add(out, v ? SV("true") : SV("false"));
}
