/* console/requests.c - the rows of the ledger, newest first, page by page.
 *
 * Rows stand in the order of (ended_ms, id), both falling. A page ends with a cursor that names the last row that was looked at, and the
 * next begins behind it: so no row comes twice and none is left out, however many ended in one millisecond and whatever is written
 * meanwhile. What is asked for is sifted here and not by the database: a page looks at LOOKED_AT rows at most, and is handed over with
 * what it found, so that a key that was used a year ago does not hold up everybody who reads. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "console/request.h"
#include "telemetry/record.h"

enum {
    PAGE_USUAL = 100,
    PAGE_MAX = 500,
    LOOKED_AT = 50000, /* some 0.1 s of the reader */
    ID_BYTES = 64,     /* of a request's id in a cursor */
    NAME_BYTES = 256,  /* of a filter: more than the ledger keeps of a name */
};

/* A text that is wanted; not is_set: any. */
struct wanted {
    bool is_set;
    size_t n;
    char text[NAME_BYTES];
};

struct look {
    struct question q;
    struct wanted key, model, endpoint;
    int status_from, status_to; /* both included */
    unsigned results;           /* bits 1 << enum request_result; 0: any */
    int64_t from_ms, limit;
    int64_t before_ms; /* rows that ended before, or then with a smaller id */
    size_t before_id_n;
    char before_id[ID_BYTES];
    char currency[4];
};

/* --- a row --------------------------------------------------------------------------------------------------------- */

/* A count that is unknown is null. */
static void put_count(struct buf *out, const char *key, int64_t v) {
    put_name(out, key);
    if (v < 0)
        buf_add(out, SV("null"));
    else
        buf_add_u64(out, (uint64_t)v);
}

static void put_cost(struct buf *out, int64_t millionths) {
    if (millionths < 0) {
        put_name(out, "cost");
        buf_add(out, SV("null"));
    } else {
        put_money(out, "cost", millionths);
    }
}

void put_record(struct buf *out, const struct request_record *r) {
    put_text(out, "id", r->id);
    put_text(out, "key", r->key);
    if (r->key_name.n)
        put_text(out, "key_name", r->key_name);
    put_text(out, "slug", r->slug);
    put_text(out, "model", r->model);
    put_text(out, "endpoint", r->endpoint);
    put_text(out, "runtime", r->runtime);
    put_text(out, "dialect", r->dialect);
    put_text(out, "api", r->api);
    put_number(out, "ended_ms", r->ended_ms);
    put_truth(out, "stream", r->stream);
    put_number(out, "status", (uint64_t)r->status);
    put_text(out, "result", sv_of(request_result_name(r->result)));
    put_number(out, "attempts", r->attempts);
    put_count(out, "input_tokens", r->input);
    put_count(out, "cached_tokens", r->cached);
    put_count(out, "output_tokens", r->output);
    put_count(out, "reasoning_tokens", r->reasoning);
    put_text(out, "input_source", sv_of(token_source_name(r->input_source)));
    put_text(out, "output_source", sv_of(token_source_name(r->output_source)));
    put_number(out, "queue_us", r->queue_us);
    put_count(out, "first_us", r->first_us ? (int64_t)r->first_us : -1);
    put_number(out, "total_us", r->done_us);
    put_number(out, "bytes_in", r->bytes_in);
    put_number(out, "bytes_out", r->bytes_out);
    put_cost(out, r->cost);
    put_text(out, "cost_source", sv_of(cost_source_name(r->cost_source)));
}

static struct request_record record_of(struct store_rows *r) {
    int64_t first_us = store_i64(r, 20);
    return (struct request_record){
        .id = store_text(r, 0),
        .key = store_text(r, 1),
        .slug = store_text(r, 2),
        .model = store_text(r, 3),
        .endpoint = store_text(r, 4),
        .runtime = store_text(r, 5),
        .dialect = store_text(r, 6),
        .api = store_text(r, 7),
        .ended_ms = (uint64_t)store_i64(r, 8),
        .stream = store_i64(r, 9) != 0,
        .status = (int)store_i64(r, 10),
        .result = (enum request_result)store_i64(r, 11),
        .attempts = (unsigned)store_i64(r, 12),
        .input = store_i64(r, 13),
        .cached = store_i64(r, 14),
        .output = store_i64(r, 15),
        .reasoning = store_i64(r, 16),
        .input_source = (enum token_source)store_i64(r, 17),
        .output_source = (enum token_source)store_i64(r, 18),
        .queue_us = (uint64_t)store_i64(r, 19),
        .first_us = first_us > 0 ? (uint64_t)first_us : 0,
        .done_us = (uint64_t)store_i64(r, 21),
        .bytes_in = (uint64_t)store_i64(r, 22),
        .bytes_out = (uint64_t)store_i64(r, 23),
        .cost = store_is_null(r, 24) ? -1 : store_i64(r, 24),
        .cost_source = (enum cost_source)store_i64(r, 25),
        .key_name = store_text(r, 26),
    };
}

/* --- a page ------------------------------------------------------------------------------------------------------- */

static bool is(const struct wanted *w, struct sv v) {
    return !w->is_set || sv_eq((struct sv){ w->text, w->n }, v);
}

static bool fits(const struct look *l, const struct request_record *r) {
    return is(&l->key, r->key) && (is(&l->model, r->slug) || is(&l->model, r->model)) && is(&l->endpoint, r->endpoint) &&
           r->status >= l->status_from && r->status <= l->status_to && (!l->results || (l->results & 1u << r->result));
}

/* The cursor behind a row; the ids that we make are hexadecimal. */
static void put_next(struct buf *out, const char *id, int64_t ended_ms) {
    char text[ID_BYTES + 32];
    snprintf(text, sizeof text, "%" PRId64 ".%s", ended_ms, id);
    put_text(out, "next", sv_of(text));
    put_number(out, "looked_to_ms", (uint64_t)ended_ms);
}

static bool run_list(struct store_tx *tx, struct question *q, struct err *e) {
    struct look *l = CONTAINER(q, struct look, q);
    struct store_rows *rows =
        STORE_QUERY(tx, e,
                    "SELECT r.id, key_id, slug, model, endpoint, runtime, dialect, api, ended_ms, stream, status, result, attempts, "
                    "tokens_in, tokens_cached, tokens_out, tokens_reasoning, in_source, out_source, queue_us, first_us, total_us, "
                    "bytes_in, bytes_out, cost, cost_source, k.name FROM request r LEFT JOIN api_key k ON k.id = r.key_id "
                    "WHERE ended_ms <= $1 AND ended_ms >= $2 AND (ended_ms < $1 OR r.id < $3) "
                    "ORDER BY ended_ms DESC, r.id DESC",
                    STORE_I64(l->before_ms), STORE_I64(l->from_ms), STORE_TEXT(((struct sv){ l->before_id, l->before_id_n })));
    enum store_step step = STORE_FAULT;
    char last_id[ID_BYTES] = "";
    int64_t last_ms = 0, looked = 0, n = 0;
    buf_add_char(&q->out, '{');
    put_text(&q->out, "currency", sv_of(l->currency));
    put_name(&q->out, "requests");
    buf_add_char(&q->out, '[');
    while (rows && (step = store_next(rows, e)) == STORE_ROW && n < l->limit && looked < LOOKED_AT) {
        const struct request_record row = record_of(rows);
        looked++;
        last_ms = (int64_t)row.ended_ms;
        sv_to_cstr(row.id, last_id, sizeof last_id);
        if (!fits(l, &row))
            continue;
        buf_add(&q->out, n++ ? SV(",{") : SV("{"));
        put_record(&q->out, &row);
        buf_add_char(&q->out, '}');
    }
    buf_add_char(&q->out, ']');
    if (step == STORE_ROW) { /* there are more */
        store_end(rows);
        put_next(&q->out, last_id, last_ms);
    }
    buf_add_char(&q->out, '}');
    return step != STORE_FAULT;
}

/* --- what is asked for -------------------------------------------------------------------------------------------- */

static bool read_name(struct request *r, struct sv name, struct wanted *ret, struct err *e) {
    struct sv v = request_query(r, name);
    if (!v.p)
        return true;
    if (v.n > sizeof ret->text)
        return err_set(e, ERR_BAD_REQUEST, "\"%.*s\" may have %zu bytes", SV_FMT(name), sizeof ret->text);
    ret->is_set = true;
    ret->n = v.n;
    memcpy(ret->text, v.p, v.n);
    return true;
}

/* Rows have a key's id; people may ask by its name. */
static bool read_key(struct request *r, struct wanted *ret, struct err *e) {
    if (!read_name(r, SV("key"), ret, e))
        return false;
    const struct access_key *k = ret->n ? access_find_key(r->admin->house->access, (struct sv){ ret->text, ret->n }) : NULL;
    if (k) {
        ret->n = k->id.n;
        memcpy(ret->text, k->id.p, k->id.n);
    }
    return true;
}

/* "429", or a class such as "5xx". */
static bool read_status(struct request *r, struct look *l, struct err *e) {
    struct sv v = request_query(r, SV("status"));
    uint64_t n = 0;
    bool is_class = v.n == 3 && sv_ends(v, SV("xx")) && v.p[0] >= '1' && v.p[0] <= '5';
    l->status_to = INT32_MAX;
    if (!v.p)
        return true;
    if (!is_class && (v.n != 3 || !sv_to_u64(v, &n) || n < 100 || n > 599))
        return err_set(e, ERR_BAD_REQUEST, "\"status\" must be a status such as 429 or a class such as 5xx");
    l->status_from = is_class ? (v.p[0] - '0') * 100 : (int)n;
    l->status_to = is_class ? l->status_from + 99 : (int)n;
    return true;
}

static bool read_result(struct request *r, struct look *l, struct err *e) {
    struct sv v = request_query(r, SV("result"));
    for (unsigned i = 0; i <= RESULT_REJECTED; i++)
        if (sv_eq(v, sv_of(request_result_name((enum request_result)i))))
            l->results = 1u << i;
    if (sv_eq(v, SV("failed")))
        l->results = ~(1u << RESULT_OK);
    return !v.p || l->results ||
           err_set(e, ERR_BAD_REQUEST,
                   "\"result\" must be ok, client_error, upstream_error, cancelled, rejected, or failed for all but ok");
}

/* As put_next has made it. */
static bool read_cursor(struct request *r, struct look *l, struct err *e) {
    struct sv v = request_query(r, SV("cursor")), ms;
    uint64_t n;
    if (!v.p)
        return true;
    if (!sv_cut(&v, '.', &ms) || !sv_to_u64(ms, &n) || n > INT64_MAX || v.n > sizeof l->before_id)
        return err_set(e, ERR_BAD_REQUEST, "\"cursor\" must be what \"next\" of the page before said");
    if ((int64_t)n > l->before_ms) /* to_ms comes first */
        return true;
    l->before_ms = (int64_t)n;
    l->before_id_n = v.n;
    memcpy(l->before_id, v.p, v.n);
    return true;
}

void requests_list(struct request *r) {
    struct look l = { .q.run = run_list };
    struct err e;
    if (!request_count(r, SV("to_ms"), INT64_MAX, INT64_MAX, &l.before_ms, &e) ||
        !request_count(r, SV("from_ms"), 1, INT64_MAX, &l.from_ms, &e) ||
        !request_count(r, SV("limit"), PAGE_USUAL, PAGE_MAX, &l.limit, &e) || !read_key(r, &l.key, &e) ||
        !read_name(r, SV("model"), &l.model, &e) || !read_name(r, SV("endpoint"), &l.endpoint, &e) || !read_status(r, &l, &e) ||
        !read_result(r, &l, &e) || !read_cursor(r, &l, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    sv_to_cstr((*r->admin->house->config)->telemetry.currency, l.currency, sizeof l.currency);
    request_ask(r, &l.q, sizeof l);
}
