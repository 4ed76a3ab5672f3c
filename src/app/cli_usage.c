/* app/cli_usage.c - `drover usage`. */
#include <stdio.h>

#include "app/cli_verbs.h"
#include "base/mem.h"
#include "base/money.h"

static const struct {
    const char *member, *title;
} columns[] = { { "requests", "REQUESTS" }, { "failed", "FAILED" }, { "input_tokens", "TOKENS IN" }, { "cached_tokens", "CACHED" },
                { "output_tokens", "TOKENS OUT" }, { "reasoning_tokens", "REASONING" } };
enum { COLUMNS = sizeof columns / sizeof columns[0] };

/* What a row is about: a key's name with its id behind, where it still has one. */
static struct sv subject(struct arena *a, yyjson_val *row, struct sv by) {
    char member[16];
    struct sv name = json_str(row, "name"), what = sv_to_cstr(by, member, sizeof member) ? json_str(row, member) : SV_NULL;
    if (name.n)
        return fmt(a, "%.*s (%.*s)", SV_FMT(name), SV_FMT(what));
    return what.n ? what : sv_eq(by, SV("key")) ? SV("(no key)") : SV("-");
}

/* Of what is known; and of how many requests nothing is. */
static struct sv cost(struct arena *a, yyjson_val *row) {
    long long unknown = json_i64(row, "cost_unknown", 0);
    char text[MONEY_TEXT];
    snprintf(text, sizeof text, "%.6f", json_f64(row, "cost", 0));
    if (unknown && unknown == json_i64(row, "requests", 0))
        return SV("unknown");
    return unknown ? fmt(a, "%s, %lld unknown", text, unknown) : fmt(a, "%s", text);
}

static void print_usage(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "rows"), *row;
    size_t i, n, rows = 1;
    struct sv by = json_str(v, "by");
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table)
        return;
    table[0].cells[0] = sv_eq(by, SV("key")) ? SV("KEY") : sv_eq(by, SV("day")) ? SV("DAY") : sv_eq(by, SV("endpoint")) ? SV("ENDPOINT") : sv_eq(by, SV("node")) ? SV("NODE") : SV("MODEL");
    for (int c = 0; c < COLUMNS; c++)
        table[0].cells[1 + c] = sv_of(columns[c].title);
    table[0].cells[1 + COLUMNS] = fmt(a, "COST (%.*s)", SV_FMT(json_str(v, "currency")));
    yyjson_arr_foreach(list, i, n, row) {
        table[rows].cells[0] = subject(a, row, by);
        for (int c = 0; c < COLUMNS; c++)
            table[rows].cells[1 + c] = fmt(a, "%lld", (long long)json_i64(row, columns[c].member, 0));
        table[rows].cells[1 + COLUMNS] = cost(a, row);
        rows++;
    }
    if (rows == 1)
        printf("nothing was used yet\n");
    else
        print_table(table, rows, 2 + COLUMNS);
}

/* RFC 4180; a cell that a spreadsheet would take for a formula gets an apostrophe in front. */
void csv_cell(struct sv v) {
    putchar('"');
    if (v.n && strchr("=+-@\t\r", v.p[0]))
        putchar('\'');
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '"')
            putchar('"');
        putchar(v.p[i]);
    }
    putchar('"');
}

static void print_csv(yyjson_val *v, struct arena *a) {
    yyjson_val *row;
    size_t i, n;
    struct sv by = json_str(v, "by");
    (void)a;
    printf("%.*s,name", SV_FMT(by));
    for (int c = 0; c < COLUMNS; c++)
        printf(",%s", columns[c].member);
    printf(",cost,cost_unknown,currency\r\n");
    yyjson_arr_foreach(json_get(v, "rows"), i, n, row) {
        char member[16];
        csv_cell(sv_to_cstr(by, member, sizeof member) ? json_str(row, member) : SV_NULL);
        putchar(',');
        csv_cell(json_str(row, "name"));
        for (int c = 0; c < COLUMNS; c++)
            printf(",%lld", (long long)json_i64(row, columns[c].member, 0));
        printf(",%.6f,%lld,%.*s\r\n", json_f64(row, "cost", 0), (long long)json_i64(row, "cost_unknown", 0),
               SV_FMT(json_str(v, "currency")));
    }
}

int verb_usage(struct cli *c) {
    struct buf target = BUF_MAX(1024);
    buf_add(&target, SV("/drover/v1/usage?by="));
    add_escaped(&target, sv_of(c->by ? c->by : "key"));
    buf_add(&target, SV("&days="));
    add_escaped(&target, sv_of(c->days ? c->days : "30"));
    int code = show(c, buf_sv(&target), c->csv ? print_csv : print_usage);
    buf_deinit(&target);
    return code;
}
