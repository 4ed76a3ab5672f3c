/* console/usage.c - what was used, by whom and of what: sums per day. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/map.h"
#include "console/request.h"

#define SINCE " FROM usage_day u WHERE u.day >= $1"
#define EACH \
    "u.requests, u.failed, u.tokens_in, u.tokens_cached, u.tokens_out, u.tokens_reasoning, u.total_us, u.cost_unknown, u.cost" SINCE
#define SUMS \
    "sum(u.requests), sum(u.failed), sum(u.tokens_in), sum(u.tokens_cached), sum(u.tokens_out), sum(u.tokens_reasoning), " \
    "sum(u.total_us), sum(u.cost_unknown), sum(u.cost)" SINCE

/* Each way to group is a statement of its own: none is ever built from what came in. Days are in the order of the index; of the
 * others we make the groups ourselves (fold): the database would sort a year's rows, hundreds of thousands, for what is a lookup per
 * row, and took twice as long. */
static const struct way {
    const char *by, *sql;
    bool is_summed;
} ways[] = {
    { "key", "SELECT u.key_id, " EACH, false },
    { "model", "SELECT u.model, " EACH, false },
    { "slug", "SELECT u.slug, " EACH, false },
    { "endpoint", "SELECT u.endpoint, " EACH, false },
    /* what nodes tell of their own clients (join.report_usage); what this hub sent there is under "endpoint" */
    { "node", "SELECT u.node_id, u.requests, u.failed, u.tokens_in, u.tokens_cached, u.tokens_out, u.tokens_reasoning, u.total_us, u.requests, 0 "
              "FROM node_usage_day u WHERE u.day >= $1", false },
    { "day", "SELECT u.day, " SUMS " GROUP BY u.day ORDER BY u.day DESC LIMIT $2", true },
};
enum { WAYS = sizeof ways / sizeof ways[0], DAYS_USUAL = 30, DAYS_MAX = 3660, ROWS_MAX = 10000, GROUPS_BYTES = 64 << 20 };

struct look {
    struct question q;
    const struct way *way;
    int64_t from_day, limit;
    char currency[4];
};

/* What each row of usage_day has, and each group, behind its name. */
enum { SUM_REQUESTS = 0, SUM_TOKENS_IN = 2, SUM_TOKENS_OUT = 4, SUM_COUNTS = 8, SUM_COST = SUM_COUNTS, SUMS_N };

struct group {
    struct sv name;
    int64_t sums[SUMS_N];
};

static void put_day(struct buf *out, int64_t day) {
    char text[25];
    put_text(out, "day", sv_first(sv_of(clock_iso8601((uint64_t)day * 86400000u, text)), 10));
}

static void put_sums(struct buf *out, const int64_t sums[static SUMS_N]) {
    static const char *const names[SUM_COUNTS] = { "requests", "failed", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens",
                                                   "total_us", "cost_unknown" };
    for (int i = 0; i < SUM_COUNTS; i++)
        put_number(out, names[i], (uint64_t)sums[i]);
    put_money(out, "cost", sums[SUM_COST]);
}

static bool put_days(struct look *l, struct store_rows *r, struct err *e) {
    enum store_step step;
    for (size_t n = 0; (step = store_next(r, e)) == STORE_ROW; n++) {
        int64_t sums[SUMS_N];
        for (int i = 0; i < SUMS_N; i++)
            sums[i] = store_i64(r, 1 + i);
        buf_add(&l->q.out, n ? SV(",{") : SV("{"));
        put_day(&l->q.out, store_i64(r, 0));
        put_sums(&l->q.out, sums);
        buf_add_char(&l->q.out, '}');
    }
    return step == STORE_END;
}

/* The group of that name, made when it is new. NULL: out of memory. */
static struct group *group_of(struct map *groups, struct arena *a, struct sv name) {
    struct group *g = map_get(groups, name);
    if (g || !(g = ARENA_ARRAY(a, struct group, 1)))
        return g;
    g->name = arena_sv(a, name);
    return g->name.p && map_put(groups, g->name, g) ? g : NULL;
}

static bool fold(struct store_rows *r, struct map *groups, struct arena *a, struct err *e) {
    struct group *g = NULL;
    enum store_step step;
    while ((step = store_next(r, e)) == STORE_ROW) {
        struct sv name = store_text(r, 0);
        if (!g || !sv_eq(g->name, name)) /* neighbours are often of one group */
            g = group_of(groups, a, name);
        if (!g) {
            store_end(r);
            return err_no_memory(e);
        }
        for (int i = 0; i < SUMS_N; i++)
            g->sums[i] += store_i64(r, 1 + i);
    }
    return step == STORE_END;
}

/* Most tokens first, then most requests; names make it the same each time. */
static int by_use(const void *left, const void *right) {
    const struct group *a = *(struct group *const *)left, *b = *(struct group *const *)right;
    int64_t ta = a->sums[SUM_TOKENS_IN] + a->sums[SUM_TOKENS_OUT], tb = b->sums[SUM_TOKENS_IN] + b->sums[SUM_TOKENS_OUT];
    if (ta != tb)
        return ta > tb ? -1 : 1;
    if (a->sums[SUM_REQUESTS] != b->sums[SUM_REQUESTS])
        return a->sums[SUM_REQUESTS] > b->sums[SUM_REQUESTS] ? -1 : 1;
    size_t n = a->name.n < b->name.n ? a->name.n : b->name.n;
    int first = n ? memcmp(a->name.p, b->name.p, n) : 0;
    return first ? first : a->name.n < b->name.n ? -1 : a->name.n > b->name.n;
}

static bool put_name_of(struct store_tx *tx, struct buf *out, const char *sql, struct sv id, struct err *e) {
    struct store_rows *r = STORE_QUERY(tx, e, sql, STORE_TEXT(id));
    enum store_step step = r ? store_next(r, e) : STORE_FAULT;
    if (step == STORE_FAULT)
        return false;
    put_text(out, "name", step == STORE_ROW ? store_text(r, 0) : SV(""));
    if (step == STORE_ROW)
        store_end(r);
    return true;
}

static bool put_groups(struct look *l, struct store_tx *tx, const struct map *groups, struct arena *a, struct err *e) {
    const char *names = sv_eq(sv_of(l->way->by), SV("key"))    ? "SELECT name FROM api_key WHERE id = $1"
                        : sv_eq(sv_of(l->way->by), SV("node")) ? "SELECT name FROM node WHERE id = $1"
                                                               : NULL;
    struct group **list = ARENA_ARRAY(a, struct group *, groups->n + 1);
    size_t n = 0;
    if (!list)
        return err_no_memory(e);
    struct map_entry *it;
    for (size_t at = 0; (it = map_next(groups, &at));)
        list[n++] = it->value;
    qsort(list, n, sizeof *list, by_use);
    for (size_t i = 0; i < n && i < (size_t)l->limit; i++) {
        buf_add(&l->q.out, i ? SV(",{") : SV("{"));
        put_text(&l->q.out, l->way->by, list[i]->name);
        if (names && !put_name_of(tx, &l->q.out, names, list[i]->name, e))
            return false;
        put_sums(&l->q.out, list[i]->sums);
        buf_add_char(&l->q.out, '}');
    }
    return true;
}

static bool run_groups(struct store_tx *tx, struct look *l, struct err *e) {
    struct arena a;
    struct map groups;
    arena_init(&a, GROUPS_BYTES, NULL);
    map_init(&groups);
    struct store_rows *r = STORE_QUERY(tx, e, l->way->sql, STORE_I64(l->from_day));
    bool ok = r && fold(r, &groups, &a, e) && put_groups(l, tx, &groups, &a, e);
    map_deinit(&groups);
    arena_deinit(&a);
    return ok;
}

static bool run_days(struct store_tx *tx, struct look *l, struct err *e) {
    struct store_rows *r = STORE_QUERY(tx, e, l->way->sql, STORE_I64(l->from_day), STORE_I64(l->limit));
    return r && put_days(l, r, e);
}

static bool run_sums(struct store_tx *tx, struct question *q, struct err *e) {
    struct look *l = CONTAINER(q, struct look, q);
    buf_add_char(&l->q.out, '{');
    put_text(&l->q.out, "by", sv_of(l->way->by));
    put_text(&l->q.out, "currency", sv_of(l->currency));
    put_name(&l->q.out, "rows");
    buf_add_char(&l->q.out, '[');
    bool ok = l->way->is_summed ? run_days(tx, l, e) : run_groups(tx, l, e);
    buf_add(&l->q.out, SV("]}"));
    return ok;
}

void usage_get(struct request *r) {
    struct sv by = request_query(r, SV("by"));
    struct look l = { .q.run = run_sums };
    int64_t days = DAYS_USUAL;
    struct err e = { 0 };
    for (size_t i = 0; i < WAYS; i++)
        if (by.p ? sv_eq(by, sv_of(ways[i].by)) : i == 0)
            l.way = &ways[i];
    if (!l.way)
        err_set(&e, ERR_BAD_REQUEST, "\"by\" must be key, model, slug, endpoint, node or day");
    if (!l.way || !request_count(r, SV("days"), DAYS_USUAL, DAYS_MAX, &days, &e) || !request_count(r, SV("limit"), ROWS_MAX, ROWS_MAX, &l.limit, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    l.from_day = (int64_t)(clock_wall_ms() / 86400000u) - days + 1;
    sv_to_cstr((*r->admin->house->config)->telemetry.currency, l.currency, sizeof l.currency);
    request_ask(r, &l.q, sizeof l);
}
