/* app/cli_endpoint.c - `drover endpoint`: the runtimes, and those that a person adds while the daemon runs. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "app/cli_verbs.h"
#include "base/clock.h"

enum { BODY_MAX = 64 << 10, KEY_MAX = 4098 };

static const char usage[] =
    "usage: drover endpoint list\n"
    "       drover endpoint test URL [KEY=VALUE...] [--key-file FILE]\n"
    "       drover endpoint add NAME URL [KEY=VALUE...] [--key-file FILE]\n"
    "       drover endpoint set NAME KEY=VALUE... [--key-file FILE]\n"
    "       drover endpoint rm NAME\n"
    "KEY is one of docs/config.md, \"endpoints\", such as kind, max_concurrent, weight, models.include or tls.insecure;\n"
    "lists as a,b; KEY= is its default.\n";

/* --- printing ----------------------------------------------------------------------------------------------------- */

static void print_endpoints(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "endpoints"), *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table)
        return;
    uint64_t now = clock_wall_ms();
    table[0] = (struct table){ { SV("ENDPOINT"), SV("KIND"), SV("VERSION"), SV("STATE"), SV("SINCE"), SV("MODELS"), SV("URL"),
                                 SV("REASON") } };
    yyjson_arr_foreach(list, i, n, it) {
        uint64_t since = (uint64_t)json_i64(it, "since_ms", 0);
        table[rows++] = (struct table){ { json_str(it, "name"), dash(json_str(it, "kind")), dash(json_str(it, "version")),
            json_str(it, "state"), since && since <= now ? duration(a, now - since) : SV("-"),
            fmt(a, "%zu", yyjson_arr_size(json_get(it, "models"))), dash(json_str(it, "url")), json_str(it, "reason") } };
    }
    if (rows == 1)
        printf("no endpoints: none configured, none found on this machine\n");
    else
        print_table(table, rows, 8);
}

int verb_endpoints(struct cli *c) {
    return show(c, SV("/drover/v1/endpoints"), print_endpoints);
}

/* False: it could not serve. */
static bool print_found(struct sv answer) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(answer);
    yyjson_val *v = yyjson_doc_get_root(doc), *models = json_get(v, "models"), *one;
    struct sv state = json_str(v, "state"), kind = json_str(v, "kind"), reason = json_str(v, "reason");
    size_t i, n;
    put(state, 0);
    printf(" after %lld ms: ", (long long)json_i64(v, "took_ms", 0));
    put(kind.n ? kind : SV("not recognised"), 0);
    if (json_str(v, "version").n) {
        printf(" ");
        put(json_str(v, "version"), 0);
    }
    printf(", %zu models\n", yyjson_arr_size(models));
    if (reason.n) {
        put(reason, 0);
        printf("\n");
    }
    if (json_bool(v, "wants_key", false))
        printf("it wants an API key: --key-file FILE\n");
    yyjson_arr_foreach(models, i, n, one) {
        printf("  ");
        put(json_sv(one), 0);
        printf("\n");
    }
    return sv_eq(state, SV("up")) || sv_eq(state, SV("degraded")) || sv_eq(state, SV("loading"));
}

/* --- what is sent ------------------------------------------------------------------------------------------------- */

static bool is_list(struct sv key) {
    return sv_eq(key, SV("models.include")) || sv_eq(key, SV("models.exclude")) || sv_eq(key, SV("dialects"));
}

static void add_value(struct buf *body, struct sv key, struct sv value) {
    bool first = true;
    if (!value.n) {
        buf_add(body, SV("null"));
        return;
    }
    if (!is_list(key)) {
        buf_add_json(body, value);
        return;
    }
    buf_add_char(body, '[');
    for (struct sv one; sv_next(&value, ',', &one); first = false) {
        buf_add(body, first ? SV_NULL : SV(","));
        buf_add_json(body, sv_trim(one));
    }
    buf_add_char(body, ']');
}

static void add_member(struct buf *body, struct sv name, struct sv key, struct sv value) {
    char last = body->p[body->n - 1];
    buf_add(body, last == '{' ? SV_NULL : SV(","));
    buf_add_json(body, name);
    buf_add_char(body, ':');
    add_value(body, key, value);
}

/* All words of the group that the i-th begins, as one object: {"tls":{"ca":...}}. There are at most ARGS_MAX words. */
static void add_group(const struct cli *c, unsigned i, struct sv group, struct buf *body) {
    buf_add_char(body, ',');
    buf_add_json(body, group);
    buf_add(body, SV(":{"));
    for (; i < c->n_args; i++) {
        struct sv value = sv_of(c->args[i]), key, name, g;
        if (sv_cut(&value, '=', &key) && (name = key, sv_cut(&name, '.', &g)) && sv_eq(g, group))
            add_member(body, name, key, value);
    }
    buf_add_char(body, '}');
}

static bool is_begun(const struct cli *c, unsigned from, unsigned i, struct sv group) {
    for (; from < i; from++)
        if (sv_starts(sv_of(c->args[from]), group) && c->args[from][group.n] == '.')
            return true;
    return false;
}

/* The words KEY=VALUE from the i-th on. */
static bool add_words(const struct cli *c, unsigned from, struct buf *body) {
    for (unsigned i = from; i < c->n_args; i++) {
        struct sv value = sv_of(c->args[i]), key, group, name;
        if (!sv_cut(&value, '=', &key) || !key.n) {
            fprintf(stderr, "drover: expected KEY=VALUE, such as max_concurrent=4, got %s\n", c->args[i]);
            return false;
        }
        if (sv_eq(key, SV("key")) && value.n) {
            fprintf(stderr, "drover: a secret on the command line can be seen by every user of this machine: use --key-file FILE\n");
            return false;
        }
        name = key;
        if (!sv_cut(&name, '.', &group))
            add_member(body, key, key, value);
        else if (!is_begun(c, from, i, group))
            add_group(c, i, group, body);
    }
    return true;
}

static bool add_key(const struct cli *c, struct buf *body) {
    char text[KEY_MAX];
    if (!c->key_file)
        return true;
    FILE *f = open_secret(c->key_file);
    if (!f)
        return false;
    bool ok = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    if (ok) {
        buf_add(body, SV(",\"key\":"));
        buf_add_json(body, (struct sv){ text, strcspn(text, "\r\n") });
    } else {
        fprintf(stderr, "drover: %s is empty\n", c->key_file);
    }
    sodium_memzero(text, sizeof text);
    return ok;
}

/* name, url: empty: left out. */
static bool make_body(const struct cli *c, struct sv name, struct sv url, unsigned from, struct buf *body) {
    buf_add(body, SV("{\"name\":"));
    buf_add_json(body, name);
    if (url.n) {
        buf_add(body, SV(",\"url\":"));
        buf_add_json(body, url);
    }
    return add_words(c, from, body) && add_key(c, body) && buf_add_char(body, '}');
}

/* --- the verbs ---------------------------------------------------------------------------------------------------- */

static int deliver(struct cli *c, struct sv method, struct sv target, struct sv version, struct buf *body, struct buf *ret_answer) {
    int code = ask(c, method, target, version, buf_sv(body), ret_answer);
    if (body->base)
        sodium_memzero(body->base, body->cap);
    if (code == CLI_DONE && c->json)
        printf("%.*s", SV_FMT(buf_sv(ret_answer)));
    return code;
}

static int test(struct cli *c) {
    struct buf body = BUF_MAX(BODY_MAX), answer = BUF_MAX(ANSWER_MAX);
    int code = CLI_USAGE;
    if (make_body(c, SV("drover-endpoint-test"), sv_of(c->args[1]), 2, &body))
        code = deliver(c, SV("POST"), SV("/drover/v1/endpoints/test"), SV_NULL, &body, &answer);
    if (code == CLI_DONE && !c->json && !print_found(buf_sv(&answer)))
        code = CLI_FAILED;
    buf_deinit(&body);
    buf_deinit(&answer);
    return code;
}

static int add(struct cli *c) {
    struct buf body = BUF_MAX(BODY_MAX), answer = BUF_MAX(ANSWER_MAX);
    int code = CLI_USAGE;
    if (make_body(c, sv_of(c->args[1]), sv_of(c->args[2]), 3, &body))
        code = deliver(c, SV("POST"), SV("/drover/v1/endpoints"), SV_NULL, &body, &answer);
    if (code == CLI_DONE && !c->json)
        printf("%s is added; drover endpoint list tells what it is\n", c->args[1]);
    buf_deinit(&body);
    buf_deinit(&answer);
    return code;
}

/* body: taken for PATCH, empty for DELETE. */
static int change(struct cli *c, struct sv method, struct buf *body, const char *done) {
    struct buf was = BUF_MAX(ANSWER_MAX), target = BUF_MAX(512), answer = BUF_MAX(ANSWER_MAX);
    char version[24];
    buf_add(&target, SV("/drover/v1/endpoints/"));
    add_escaped(&target, sv_of(c->args[1]));
    int code = ask(c, SV("GET"), SV("/drover/v1/endpoints"), SV_NULL, SV_NULL, &was);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&was));
        snprintf(version, sizeof version, "\"%lld\"", (long long)json_i64(yyjson_doc_get_root(doc), "version", 0));
        code = deliver(c, method, buf_sv(&target), sv_of(version), body, &answer);
    }
    if (code == CLI_DONE && !c->json)
        printf("%s %s\n", c->args[1], done);
    buf_deinit(&was);
    buf_deinit(&target);
    buf_deinit(&answer);
    return code;
}

static int set(struct cli *c) {
    struct buf body = BUF_MAX(BODY_MAX);
    int code = make_body(c, sv_of(c->args[1]), SV_NULL, 2, &body) ? change(c, SV("PATCH"), &body, "is changed") : CLI_USAGE;
    buf_deinit(&body);
    return code;
}

static int drop(struct cli *c) {
    struct buf none = BUF_MAX(1);
    return change(c, SV("DELETE"), &none, "is removed");
}

int verb_endpoint(struct cli *c) {
    const char *what = c->args[0];
    if ((strcmp(what, "list") == 0 || strcmp(what, "ls") == 0) && c->n_args == 1)
        return verb_endpoints(c);
    if (strcmp(what, "test") == 0 && c->n_args >= 2)
        return test(c);
    if (strcmp(what, "add") == 0 && c->n_args >= 3)
        return add(c);
    if (strcmp(what, "set") == 0 && (c->n_args >= 3 || (c->n_args == 2 && c->key_file)))
        return set(c);
    if (strcmp(what, "rm") == 0 && c->n_args == 2)
        return drop(c);
    fputs(usage, strcmp(what, "help") == 0 ? stdout : stderr);
    return strcmp(what, "help") == 0 ? CLI_DONE : CLI_USAGE;
}
