/* app/cli_key.c - `drover key` and `drover audit`. */
#include <stdio.h>
#include <string.h>

#include "app/cli_verbs.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/money.h"

enum option_kind { O_TEXT, O_LIST, O_COUNT, O_LIMIT, O_MONEY, O_EXPIRES, O_SWITCH };

static const struct {
    const char *name, *value, *member, *help;
    enum option_kind kind;
} options[KEY_OPTIONS] = {
    { "--owner", "NAME", "owner", "whose key it is", O_TEXT },
    { "--models", "PATTERN,...", "models", "models it may use; all when not given at its making", O_LIST },
    { "--endpoints", "PATTERN,...", "endpoints", "endpoints that may serve it", O_LIST },
    { "--from", "NETWORK,...", "networks", "where it may come from: 10.0.0.0/8,2001:db8::/32; '' for anywhere", O_LIST },
    { "--rights", "RIGHT,...", "rights", "pass (unknown /v1 paths, requests without a model), manage (pull, load, delete), measure (/metrics)", O_LIST },
    { "--expires", "TIME", "expires_ms", "from now on: 90d, 12h, 30m; or never", O_EXPIRES },
    { "--priority", "N", "priority", "-100 to 100; its share where requests wait doubles with every 25", O_COUNT },
    { "--requests", "N", "requests_per_min", "requests per minute; 0 for the default", O_LIMIT },
    { "--burst", "N", "requests_burst", "of these at once", O_LIMIT },
    { "--concurrent", "N", "concurrent", "requests at one time", O_LIMIT },
    { "--tokens", "N", "tokens_per_min", "tokens per minute", O_LIMIT },
    { "--tokens-per-day", "N", "tokens_per_day", "budget of a day (UTC); 0 for none", O_LIMIT },
    { "--tokens-per-month", "N", "tokens_per_month", "budget of a month (UTC); 0 for none", O_LIMIT },
    { "--money-per-day", "AMOUNT", "money_per_day", "budget of a day (UTC) in telemetry.currency, such as 0.50; 0 for none", O_MONEY },
    { "--money-per-month", "AMOUNT", "money_per_month", "budget of a month (UTC); 0 for none", O_MONEY },
    { "--enabled", "yes|no", "enabled", "switch it on or off", O_SWITCH },
};

bool key_option(const char *values[static KEY_OPTIONS], int argc, char **argv, int *i, bool *ret_bad) {
    for (int o = 0; o < KEY_OPTIONS; o++)
        if (option(argv[*i], options[o].name, argc, argv, i, &values[o], ret_bad))
            return true;
    return false;
}

/* --- the body ----------------------------------------------------------------------------------------------------- */

static void add_list(struct buf *out, struct sv v) {
    struct sv one;
    buf_add_char(out, '[');
    for (unsigned n = 0; sv_next(&v, ',', &one);) {
        one = sv_trim(one);
        if (!one.n)
            continue;
        if (n++)
            buf_add_char(out, ',');
        buf_add_json(out, one);
    }
    buf_add_char(out, ']');
}

/* Milliseconds of UNIX time; 0 is never. */
static bool read_expiry(struct sv v, uint64_t *ret) {
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = { { 'd', 86400000 }, { 'h', 3600000 }, { 'm', 60000 } };
    uint64_t n;
    *ret = 0;
    if (sv_eq(v, SV("never")))
        return true;
    for (size_t i = 0; v.n > 1 && i < 3; i++)
        if (v.p[v.n - 1] == units[i].unit && sv_to_u64(sv_first(v, v.n - 1), &n) && n > 0 && n < 1000000) {
            *ret = clock_wall_ms() + n * units[i].ms;
            return true;
        }
    return false;
}

static bool add_member(struct buf *out, int o, struct sv v) {
    char text[MONEY_TEXT];
    uint64_t n;
    int64_t money;
    bool minus = v.n && v.p[0] == '-';
    buf_printf(out, "%s\"%s\":", out->n && out->p[out->n - 1] != '{' ? "," : "", options[o].member);
    switch (options[o].kind) {
    case O_TEXT: return buf_add_json(out, v);
    case O_LIST: add_list(out, v); return true;
    case O_SWITCH: return (sv_eq(v, SV("yes")) || sv_eq(v, SV("no"))) && buf_add(out, sv_eq(v, SV("yes")) ? SV("true") : SV("false"));
    case O_EXPIRES: return read_expiry(v, &n) && buf_add_u64(out, n);
    case O_MONEY: return money_read(v, &money) && buf_add(out, sv_of(money_text(money, text)));
    case O_COUNT:
    case O_LIMIT: return sv_to_u64(minus ? sv_from(v, 1) : v, &n) && buf_add(out, v);
    }
    return false;
}

static bool is_limit(int o) {
    return options[o].kind == O_LIMIT || options[o].kind == O_MONEY;
}

/* What an answer says of a limit, as the option takes it. False: it is not set. */
static bool limit_text(yyjson_val *limits, int o, char text[static MONEY_TEXT]) {
    int64_t n = json_i64(limits, options[o].member, 0);
    if (options[o].kind == O_MONEY && money_of_double(json_f64(limits, options[o].member, 0), &n))
        money_text(n, text);
    else
        snprintf(text, MONEY_TEXT, "%lld", (long long)n);
    return n != 0;
}

/* was: the limits that stay where none is given; NULL when the key is made. */
static bool add_limits(struct buf *out, const char *const values[static KEY_OPTIONS], yyjson_val *was, int *ret_wrong) {
    bool any = false;
    for (int o = 0; o < KEY_OPTIONS; o++)
        any = any || (is_limit(o) && values[o]);
    if (!any)
        return true;
    buf_printf(out, "%s\"limits\":{", out->p[out->n - 1] != '{' ? "," : "");
    for (int o = 0; o < KEY_OPTIONS; o++) {
        char kept[MONEY_TEXT];
        if (!is_limit(o) || (!values[o] && !limit_text(was, o, kept)))
            continue;
        *ret_wrong = o;
        if (!add_member(out, o, sv_of(values[o] ? values[o] : kept)))
            return false;
    }
    return buf_add_char(out, '}');
}

/* False, and said, when a value makes no sense. */
static bool make_body(struct buf *out, const struct cli *c, struct sv name, yyjson_val *limits) {
    int wrong = 0;
    buf_add_char(out, '{');
    bool ok = !name.n || (buf_add(out, SV("\"name\":")) && buf_add_json(out, name));
    for (int o = 0; ok && o < KEY_OPTIONS; o++) {
        wrong = o;
        if (!is_limit(o) && c->key[o])
            ok = add_member(out, o, sv_of(c->key[o]));
    }
    ok = ok && add_limits(out, c->key, limits, &wrong);
    if (!ok)
        fprintf(stderr, "drover: %s takes %s: %s\n", options[wrong].name, options[wrong].value, options[wrong].help);
    return ok && buf_add_char(out, '}');
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static struct sv joined(struct arena *a, yyjson_val *list, struct sv none) {
    struct buf b = BUF_MAX(4096);
    yyjson_val *one;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, one) {
        if (i)
            buf_add(&b, SV(", "));
        buf_add(&b, json_sv(one));
    }
    struct sv v = n ? arena_sv(a, buf_sv(&b)) : none;
    buf_deinit(&b);
    return v;
}

static struct sv until(struct arena *a, yyjson_val *k) {
    int64_t ms = json_i64(k, "expires_ms", 0), now = (int64_t)clock_wall_ms();
    if (!json_bool(k, "enabled", true))
        return SV("switched off");
    return !ms ? SV("never expires") : ms <= now ? SV("expired") : fmt(a, "expires in %.*s", SV_FMT(duration(a, (uint64_t)(ms - now))));
}

static void print_list(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "keys"), *k;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    uint64_t now = clock_wall_ms();
    if (!table)
        return;
    table[0] = (struct table){ { SV("KEY"), SV("ID"), SV("OWNER"), SV("STATE"), SV("MODELS"), SV("USED"), SV("BUSY") } };
    yyjson_arr_foreach(list, i, n, k) {
        uint64_t used = (uint64_t)json_i64(k, "used_ms", 0);
        table[rows++] = (struct table){ { json_str(k, "name"), json_str(k, "id"), dash(json_str(k, "owner")), until(a, k),
            joined(a, json_get(k, "models"), SV("none")), used ? fmt(a, "%.*s ago", SV_FMT(duration(a, now > used ? now - used : 0))) : SV("-"),
            fmt(a, "%lld", (long long)json_i64(k, "in_flight", 0)) } };
    }
    if (rows == 1)
        printf("no keys yet: drover key add NAME makes one\n");
    else
        print_table(table, rows, 7);
}

static void line(const char *what, struct sv v) {
    printf("  %-18s", what);
    put(v, 0);
    putchar('\n');
}

static void print_key(yyjson_val *k, struct arena *a) {
    char made[25];
    put(json_str(k, "name"), 0);
    putchar('\n');
    line("id", json_str(k, "id"));
    line("owner", dash(json_str(k, "owner")));
    line("state", until(a, k));
    if (json_i64(k, "old_secret_until_ms", 0))
        line("secret before", fmt(a, "works until %s", clock_iso8601((uint64_t)json_i64(k, "old_secret_until_ms", 0), made)));
    line("made", sv_of(clock_iso8601((uint64_t)json_i64(k, "created_ms", 0), made)));
    line("models", joined(a, json_get(k, "models"), SV("none")));
    line("endpoints", joined(a, json_get(k, "endpoints"), SV("none")));
    line("from", joined(a, json_get(k, "networks"), SV("anywhere")));
    line("rights", joined(a, json_get(k, "rights"), SV("-")));
    line("priority", fmt(a, "%lld", (long long)json_i64(k, "priority", 0)));
    for (int o = 0; o < KEY_OPTIONS; o++) {
        char text[MONEY_TEXT];
        if (is_limit(o) && limit_text(json_get(k, "limits"), o, text))
            line(options[o].name + 2, fmt(a, "%s", text));
    }
}

/* --- verbs -------------------------------------------------------------------------------------------------------- */

static struct buf path_of(const char *name) {
    struct buf b = BUF_MAX(2048);
    buf_add(&b, SV("/drover/v1/keys/"));
    add_escaped(&b, sv_of(name));
    return b;
}

static int add(struct cli *c) {
    struct buf body = BUF_MAX(256 << 10), out = BUF_MAX(ANSWER_MAX);
    int code = CLI_USAGE;
    if (make_body(&body, c, sv_of(c->args[1]), NULL))
        code = ask(c, SV("POST"), SV("/drover/v1/keys"), SV_NULL, buf_sv(&body), &out);
    if (code == CLI_DONE && c->json) {
        printf("%.*s", SV_FMT(buf_sv(&out)));
    } else if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        printf("%.*s\n", SV_FMT(json_str(yyjson_doc_get_root(doc), "key")));
        fprintf(stderr, "This is the only time the key is shown. Clients send it as \"Authorization: Bearer KEY\".\n");
    }
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

static int set(struct cli *c) {
    struct buf path = path_of(c->args[1]), was = BUF_MAX(ANSWER_MAX), body = BUF_MAX(256 << 10), out = BUF_MAX(ANSWER_MAX);
    char version[24];
    int code = ask(c, SV("GET"), buf_sv(&path), SV_NULL, SV_NULL, &was);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&was));
        yyjson_val *key = yyjson_doc_get_root(doc);
        snprintf(version, sizeof version, "\"%lld\"", (long long)json_i64(key, "version", 0));
        code = make_body(&body, c, SV_NULL, json_get(key, "limits")) ? ask(c, SV("PUT"), buf_sv(&path), sv_of(version), buf_sv(&body), &out)
                                                                   : CLI_USAGE;
    }
    if (code == CLI_DONE)
        printf(c->json ? "%.*s" : "changed\n", SV_FMT(buf_sv(&out)));
    buf_deinit(&path);
    buf_deinit(&was);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

static int rotate(struct cli *c) {
    struct buf path = path_of(c->args[1]), body = BUF_MAX(4096), out = BUF_MAX(ANSWER_MAX);
    int code = CLI_USAGE;
    buf_add(&path, SV("/rotate"));
    buf_add(&body, SV("{\"overlap\":"));
    buf_add_json(&body, sv_of(c->overlap ? c->overlap : "24h"));
    if (buf_add_char(&body, '}'))
        code = ask(c, SV("POST"), buf_sv(&path), SV_NULL, buf_sv(&body), &out);
    else
        fprintf(stderr, "drover: --overlap takes a duration, such as 24h\n");
    if (code == CLI_DONE && c->json) {
        printf("%.*s", SV_FMT(buf_sv(&out)));
    } else if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        int64_t until = json_i64(yyjson_doc_get_root(doc), "old_secret_until_ms", 0);
        char when[25];
        printf("%.*s\n", SV_FMT(json_str(yyjson_doc_get_root(doc), "key")));
        fprintf(stderr, "This is the only time the new secret is shown. The one before ");
        if (until)
            fprintf(stderr, "works until %s.\n", clock_iso8601((uint64_t)until, when));
        else
            fprintf(stderr, "works no longer, and what went on with the key has ended.\n");
    }
    buf_deinit(&path);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

static int revoke(struct cli *c) {
    struct buf path = path_of(c->args[1]), out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("DELETE"), buf_sv(&path), SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE)
        printf(c->json ? "%.*s" : "revoked: it opens nothing any more, and what went on with it has ended\n", SV_FMT(buf_sv(&out)));
    buf_deinit(&path);
    buf_deinit(&out);
    return code;
}

static int show_one(struct cli *c) {
    struct buf path = path_of(c->args[1]);
    int code = show(c, buf_sv(&path), print_key);
    buf_deinit(&path);
    return code;
}

static void key_usage(FILE *to) {
    fprintf(to, "usage: drover key list | show KEY | revoke KEY | rotate KEY [--overlap 24h]\n"
                "       drover key add NAME [OPTION...] | set KEY [OPTION...]\n\n"
                "KEY is a key's name or id.\n\n");
    for (int o = 0; o < KEY_OPTIONS; o++)
        fprintf(to, "  %-18s %-12s %s\n", options[o].name, options[o].value, options[o].help);
}

int verb_key(struct cli *c) {
    static const struct {
        const char *name;
        unsigned args;
        int (*run)(struct cli *c);
    } acts[] = { { "add", 2, add }, { "set", 2, set }, { "show", 2, show_one }, { "revoke", 2, revoke }, { "rotate", 2, rotate } };
    if (strcmp(c->args[0], "help") == 0) {
        key_usage(stdout);
        return CLI_DONE;
    }
    if (strcmp(c->args[0], "list") == 0 && c->n_args == 1)
        return show(c, SV("/drover/v1/keys"), print_list);
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (strcmp(c->args[0], acts[i].name) == 0 && c->n_args == acts[i].args)
            return acts[i].run(c);
    key_usage(stderr);
    return CLI_USAGE;
}

static void print_acts(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "acts"), *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table)
        return;
    table[0] = (struct table){ { SV("NO"), SV("WHEN"), SV("WHO"), SV("FROM"), SV("DID"), SV("TO"), SV("DETAIL") } };
    yyjson_arr_foreach(list, i, n, it) {
        char when[25];
        table[rows++] = (struct table){ { fmt(a, "%lld", (long long)json_i64(it, "seq", 0)),
            fmt(a, "%s", clock_iso8601((uint64_t)json_i64(it, "at_ms", 0), when)), json_str(it, "actor"), json_str(it, "peer"),
            json_str(it, "action"), json_str(it, "object"), json_str(it, "detail") } };
    }
    print_table(table, rows, 7);
}

int verb_audit(struct cli *c) {
    if (strcmp(c->args[0], "list") == 0)
        return show(c, SV("/drover/v1/audit?limit=500"), print_acts);
    if (strcmp(c->args[0], "verify") != 0) {
        fprintf(stderr, "usage: drover audit list | verify\n");
        return CLI_USAGE;
    }
    struct buf out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("POST"), SV("/drover/v1/audit/verify"), SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        yyjson_val *v = yyjson_doc_get_root(doc);
        bool intact = json_bool(v, "intact", false);
        if (c->json)
            printf("%.*s", SV_FMT(buf_sv(&out)));
        else if (intact)
            printf("intact: %lld rows, head %.*s\n", (long long)json_i64(v, "rows", 0), SV_FMT(json_str(v, "head")));
        else
            printf("NOT intact: %lld rows are there of %lld that were written; row %lld does not fit or is missing\n",
                   (long long)json_i64(v, "rows", 0), (long long)json_i64(v, "rows_written", 0), (long long)json_i64(v, "broken_at", 0));
        code = intact ? CLI_DONE : CLI_FAILED;
    }
    buf_deinit(&out);
    return code;
}
