/* app/cli_requests.c - `drover requests`: rows of the ledger, page after page until there are enough. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "app/cli_verbs.h"
#include "base/clock.h"
#include "base/mem.h"

enum { PAGE = 500, ROWS_USUAL = 100, ROWS_MAX = 100000, COLUMNS = 8 };

/* In the order of struct cli's where. */
static const struct {
    const char *name, *parameter;
    bool is_time;
} options[REQUEST_OPTIONS] = {
    { "--key", "key", false },       { "--model", "model", false }, { "--endpoint", "endpoint", false }, { "--status", "status", false },
    { "--result", "result", false }, { "--from", "from_ms", true }, { "--to", "to_ms", true },
};

bool requests_option(const char *values[static REQUEST_OPTIONS], int argc, char **argv, int *i, bool *ret_bad) {
    for (int o = 0; o < REQUEST_OPTIONS; o++)
        if (option(argv[*i], options[o].name, argc, argv, i, &values[o], ret_bad))
            return true;
    return false;
}

/* "2h": so long ago; "2026-11-21", "2026-11-21T08:30", "2026-11-21T08:30:15": UTC. */
static bool read_time(const char *text, uint64_t *ret_ms) {
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = { { 'd', 86400000 }, { 'h', 3600000 }, { 'm', 60000 } };
    static const char *const forms[] = { "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S" };
    struct sv v = sv_of(text);
    uint64_t n, now = clock_wall_ms();
    for (size_t i = 0; v.n > 1 && i < sizeof units / sizeof units[0]; i++)
        if (v.p[v.n - 1] == units[i].unit && sv_to_u64(sv_first(v, v.n - 1), &n) && n < 100000) {
            *ret_ms = now > n * units[i].ms ? now - n * units[i].ms : 1;
            return true;
        }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm tm = { 0 };
        const char *end = strptime(text, forms[i], &tm);
        if (end && !*end && tm.tm_year >= 70) {
            *ret_ms = (uint64_t)timegm(&tm) * 1000;
            return true;
        }
    }
    return false;
}

/* What all pages have in common. False, and said, when a time is none. */
static bool make_question(const struct cli *c, struct buf *target) {
    for (int o = 0; o < REQUEST_OPTIONS; o++) {
        uint64_t ms;
        if (!c->where[o])
            continue;
        buf_printf(target, "&%s=", options[o].parameter);
        if (!options[o].is_time)
            add_escaped(target, sv_of(c->where[o]));
        else if (read_time(c->where[o], &ms))
            buf_add_u64(target, ms);
        else
            return fprintf(stderr, "drover: %s %s is no time; expected 90m, 12h or 7d (ago), or 2026-11-21 or 2026-11-21T08:30 (UTC)\n",
                           options[o].name, c->where[o]),
                   false;
    }
    return true;
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

struct printer {
    const struct cli *c;
    struct arena arena;
    struct table *table; /* NULL: rows are printed as they come */
    size_t n;
};

static struct sv tokens(struct arena *a, yyjson_val *row, const char *member) {
    yyjson_val *v = json_get(row, member);
    return yyjson_is_int(v) ? fmt(a, "%lld", (long long)yyjson_get_sint(v)) : SV("-");
}

static void add_row(struct printer *p, yyjson_val *row) {
    struct arena *a = &p->arena;
    char at[25];
    struct sv key = json_str(row, "key_name"), slug = json_str(row, "slug");
    long long status = json_i64(row, "status", 0);
    clock_iso8601((uint64_t)json_i64(row, "ended_ms", 0), at);
    p->table[p->n] =
        (struct table){ { fmt(a, "%.19sZ", at), dash(arena_sv(a, key.n ? key : json_str(row, "key"))),
                          dash(arena_sv(a, slug.n ? slug : json_str(row, "model"))), dash(arena_sv(a, json_str(row, "endpoint"))),
                          fmt(a, "%.*s %lld", SV_FMT(json_str(row, "result")), status), tokens(a, row, "input_tokens"),
                          tokens(a, row, "output_tokens"), fmt(a, "%.1f", json_f64(row, "total_us", 0) / 1e6) } };
}

static const char *const members[] = { "id",       "ended_ms",     "key",           "key_name",      "slug",
                                       "model",    "endpoint",     "runtime",       "api",           "status",
                                       "result",   "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens",
                                       "queue_us", "first_us",     "total_us",      "cost" };
enum { MEMBERS = sizeof members / sizeof members[0] };

static void print_csv_row(yyjson_val *row, struct sv currency) {
    for (int i = 0; i < MEMBERS; i++) {
        yyjson_val *v = json_get(row, members[i]);
        if (yyjson_is_str(v))
            csv_cell(json_sv(v));
        else if (yyjson_is_int(v))
            printf("%lld", (long long)yyjson_get_sint(v));
        else if (yyjson_is_num(v))
            printf("%.6f", yyjson_get_num(v));
        putchar(',');
    }
    printf("%.*s\r\n", SV_FMT(currency));
}

static void print_json_row(yyjson_val *row) {
    char *text = yyjson_val_write_opts(row, 0, &json_heap, NULL, NULL);
    if (text)
        puts(text);
    mem_free(text);
}

static void begin(struct printer *p) {
    if (p->c->csv) {
        for (int i = 0; i < MEMBERS; i++)
            printf("%s,", members[i]);
        printf("currency\r\n");
    } else if (p->table) {
        p->table[p->n++] = (struct table){ { SV("ENDED"), SV("KEY"), SV("MODEL"), SV("ENDPOINT"), SV("RESULT"), SV("TOKENS IN"), SV("OUT"),
                                             SV("SECONDS") } };
    }
}

static void take(struct printer *p, yyjson_val *root, uint64_t most) {
    yyjson_val *row;
    size_t i, n;
    yyjson_arr_foreach(json_get(root, "requests"), i, n, row) {
        if (i == most)
            break;
        if (p->table)
            add_row(p, row);
        else if (p->c->csv)
            print_csv_row(row, json_str(root, "currency"));
        else
            print_json_row(row);
        p->n++;
    }
}

static void finish(struct printer *p) {
    if (p->table && p->n == 1)
        printf("no such request\n");
    else if (p->table)
        print_table(p->table, p->n, COLUMNS);
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

/* One page. *ret_next: where the next begins; empty: there is none. */
static int take_page(struct printer *p, struct sv question, uint64_t left, struct buf *cursor) {
    struct buf target = BUF_MAX(8192), out = BUF_MAX(ANSWER_MAX);
    buf_printf(&target, "/drover/v1/requests?limit=%llu", (unsigned long long)(left < PAGE ? left : PAGE));
    buf_add(&target, question);
    if (cursor->n) {
        buf_add(&target, SV("&cursor="));
        add_escaped(&target, buf_sv(cursor));
    }
    int code = ask(p->c, SV("GET"), buf_sv(&target), SV_NULL, SV_NULL, &out);
    buf_reset(cursor);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        take(p, yyjson_doc_get_root(doc), left);
        buf_add(cursor, json_str(yyjson_doc_get_root(doc), "next"));
    }
    buf_deinit(&target);
    buf_deinit(&out);
    return code;
}

int verb_requests(struct cli *c) {
    struct printer p = { .c = c };
    struct buf question = BUF_MAX(4096), cursor = BUF_MAX(256);
    uint64_t most = ROWS_USUAL;
    if (c->lines && (!sv_to_u64(sv_of(c->lines), &most) || most < 1 || most > ROWS_MAX)) {
        fprintf(stderr, "drover: -n must be a number from 1 to %d\n", ROWS_MAX);
        return CLI_USAGE;
    }
    arena_init(&p.arena, ANSWER_MAX * 4, NULL);
    if (!c->csv && !c->json)
        p.table = ARENA_ARRAY(&p.arena, struct table, most + 1);
    int code = make_question(c, &question) ? CLI_DONE : CLI_USAGE;
    if (code == CLI_DONE) {
        begin(&p);
        size_t head = p.n;
        do
            code = take_page(&p, buf_sv(&question), most - (p.n - head), &cursor);
        while (code == CLI_DONE && cursor.n && p.n - head < most);
        finish(&p);
    }
    buf_deinit(&question);
    buf_deinit(&cursor);
    arena_deinit(&p.arena);
    return code;
}
