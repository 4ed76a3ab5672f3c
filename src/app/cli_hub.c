/* app/cli_hub.c - `drover hub` (the fleet this daemon is for, and invitations into it) and `drover doctor`. */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "app/cli_verbs.h"
#include "base/clock.h"

/* --- the fleet ---------------------------------------------------------------------------------------------------- */

static void line(const char *what, struct sv v) {
    printf("  %-14s", what);
    put(v, 0);
    putchar('\n');
}

struct sv moment(struct arena *a, int64_t ms) {
    char at[25];
    uint64_t now = clock_wall_ms();
    if (ms <= 0)
        return SV("-");
    clock_iso8601((uint64_t)ms, at);
    return (uint64_t)ms > now ? fmt(a, "%s, in %.*s", at, SV_FMT(duration(a, (uint64_t)ms - now)))
                              : fmt(a, "%s, %.*s ago", at, SV_FMT(duration(a, now - (uint64_t)ms)));
}

static void print_hub(yyjson_val *v, struct arena *a) {
    yyjson_val *n = json_get(v, "nodes");
    printf("fleet ");
    put(json_str(v, "fleet"), 0);
    putchar('\n');
    line("nodes", fmt(a, "%lld, %lld of them linked; %lld waiting, %lld refused, %lld put out",
                      (long long)json_i64(n, "approved", 0), (long long)json_i64(n, "linked", 0),
                      (long long)json_i64(n, "waiting", 0), (long long)json_i64(n, "refused", 0),
                      (long long)json_i64(n, "revoked", 0)));
    line("certificate", moment(a, json_i64(v, "certificate_ends_ms", 0)));
    line("root", moment(a, json_i64(v, "root_ends_ms", 0)));
    line("pin", json_str(v, "pin"));
}

/* --- invitations -------------------------------------------------------------------------------------------------- */

static void print_invites(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "invites"), *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    int64_t now = (int64_t)clock_wall_ms();
    if (!table)
        return;
    table[0] = (struct table){ { SV("INVITATION"), SV("STATE"), SV("ENDS"), SV("NAME") } };
    yyjson_arr_foreach(list, i, n, it) {
        int64_t ends = json_i64(it, "expires_ms", 0);
        struct sv state = json_bool(it, "used", false) ? SV("used") : ends > now ? SV("open") : SV("ended");
        table[rows++] = (struct table){ { json_str(it, "id"), state, moment(a, ends), dash(json_str(it, "name")) } };
    }
    if (rows == 1)
        printf("no invitations: drover hub invite makes one\n");
    else
        print_table(table, rows, 4);
}

static void add_member(struct buf *body, const char *name, const char *value) {
    if (!value)
        return;
    buf_printf(body, "%s\"%s\":", body->n > 1 ? "," : "", name);
    buf_add_json(body, sv_of(value));
}

/* One line to copy on standard output; what it is stands beside it. */
static int invite(struct cli *c) {
    struct buf body = BUF_MAX(4096), out = BUF_MAX(ANSWER_MAX);
    buf_add_char(&body, '{');
    add_member(&body, "name", c->name);
    add_member(&body, "node", c->node);
    add_member(&body, "ttl", c->ttl);
    buf_add_char(&body, '}');
    int code = ask(c, SV("POST"), SV("/drover/v1/invites"), SV_NULL, buf_sv(&body), &out);
    if (code == CLI_DONE && c->json) {
        printf("%.*s", SV_FMT(buf_sv(&out)));
    } else if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        yyjson_val *v = yyjson_doc_get_root(doc);
        char until[25];
        fprintf(
            stderr,
            "Run this on the machine that is to join. It is good for one machine, until %s; whoever has it can join.\n",
            clock_iso8601((uint64_t)json_i64(v, "expires_ms", 0), until));
        printf("drover join '%.*s'\n", SV_FMT(json_str(v, "line")));
    }
    if (out.p)
        sodium_memzero(out.p, out.n);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

static int void_invite(struct cli *c) {
    struct buf path = BUF_MAX(2048), out = BUF_MAX(ANSWER_MAX);
    buf_add(&path, SV("/drover/v1/invites/"));
    add_escaped(&path, sv_of(c->args[1]));
    int code = ask(c, SV("DELETE"), buf_sv(&path), SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE)
        printf(c->json ? "%.*s" : "void: it opens nothing any more\n", SV_FMT(buf_sv(&out)));
    buf_deinit(&path);
    buf_deinit(&out);
    return code;
}

int verb_hub(struct cli *c) {
    if (strcmp(c->args[0], "status") == 0 && c->n_args == 1)
        return show(c, SV("/drover/v1/hub"), print_hub);
    if (strcmp(c->args[0], "invites") == 0 && c->n_args == 1)
        return show(c, SV("/drover/v1/invites"), print_invites);
    if (strcmp(c->args[0], "invite") == 0 && c->n_args == 1)
        return invite(c);
    if (strcmp(c->args[0], "void") == 0 && c->n_args == 2)
        return void_invite(c);
    fprintf(stderr, "usage: drover hub invite [--name NAME | --node NODE] [--ttl 1h]\n"
                    "       drover hub status | invites | void INVITATION\n");
    return CLI_USAGE;
}

/* --- what is not as it should be ---------------------------------------------------------------------------------- */

static void print_finding(yyjson_val *f) {
    put(json_str(f, "severity"), 8);
    put(json_str(f, "where"), 0);
    printf(": ");
    put(json_str(f, "what"), 0);
    printf("\n          cure: ");
    put(json_str(f, "cure"), 0);
    putchar('\n');
}

int show_findings(struct cli *c, struct sv path) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("GET"), path, SV_NULL, SV_NULL, &out);
    if (code != CLI_DONE) {
        buf_deinit(&out);
        return code;
    }
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
    yyjson_val *list = json_get(yyjson_doc_get_root(doc), "findings"), *f;
    size_t i, n;
    if (c->json)
        printf("%.*s", SV_FMT(buf_sv(&out)));
    else if (yyjson_arr_size(list) == 0)
        printf("all is well\n");
    yyjson_arr_foreach(list, i, n, f) {
        if (!c->json)
            print_finding(f);
        if (sv_eq(json_str(f, "severity"), SV("error")))
            code = CLI_FAILED;
    }
    buf_deinit(&out);
    return code;
}

int verb_doctor(struct cli *c) {
    return show_findings(c, SV("/drover/v1/doctor"));
}
