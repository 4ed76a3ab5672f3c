#include "console/request.h"

#include <sys/socket.h>

#include "http/url.h"

void request_reply(struct request *r, int status, struct buf *out) {
    buf_add_char(out, '\n');
    if (out->failed)
        http_in_reply(r->in, 503, NULL, 0, SV("application/json"), SV("{\"error\":{\"code\":\"out_of_memory\"}}\n"));
    else
        http_in_reply(r->in, status, NULL, 0, SV("application/json"), buf_sv(out));
    buf_deinit(out);
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
    request_reply(r, err_http(e->code), &out);
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

struct access_actor request_actor(const struct request *r) {
    (void)r;
    return (struct access_actor){ SV("operator"), SV("unix") }; /* the socket is the only way in */
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

void put_truth(struct buf *out, const char *key, bool v) {
    put_name(out, key);
    buf_add(out, v ? SV("true") : SV("false"));
}
