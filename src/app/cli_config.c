/* app/cli_config.c - `drover config`: check and show read the files themselves; set and unset go through the running daemon. */
#include <stdio.h>
#include <string.h>

#include "app/cli_verbs.h"
#include "base/mem.h"

static int load(struct cli *c, bool is_show) {
    static struct config_report report;
    struct config_source s = source_of(c);
    struct buf out = BUF_MAX(ANSWER_MAX);
    if (c->n_args > 1)
        s.path = c->args[1];
    s.may_miss_layer = true;
    struct config *cfg = config_load(&s, &report);
    if (config_report_print(&report, &out) && out.n)
        fprintf(stderr, "%.*s", SV_FMT(buf_sv(&out)));
    buf_reset(&out);
    int code = cfg ? CLI_DONE : CLI_FAILED;
    if (cfg && is_show && config_tell(cfg, &out, c->json ? CONFIG_JSON : CONFIG_YAML))
        printf("%.*s%s", SV_FMT(buf_sv(&out)), c->json ? "\n" : "");
    else if (cfg && !is_show)
        printf("%s: good\n", cfg->file.n ? cfg->file.p : "defaults (no file)");
    buf_deinit(&out);
    config_unref(cfg);
    return code;
}

/* "gateway.stall_timeout: 5m -> 2m", and what else the change brought. */
static void print_changes(struct sv answer) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(answer);
    yyjson_val *list = json_get(yyjson_doc_get_root(doc), "changes"), *one;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, one) {
        put(json_str(one, "key"), 0);
        printf(": ");
        put(dash(json_str(one, "from")), 0);
        printf(" -> ");
        put(dash(json_str(one, "to")), 0);
        printf("%s%s\n", sv_eq(json_str(one, "origin"), SV("default")) ? " (default)" : "",
               json_bool(one, "restart", false) ? ", after a restart" : "");
    }
    if (n == 0)
        printf("nothing to change: it is so already\n");
}

/* value NULL: unset. */
static bool make_body(struct buf *body, const char *key, const char *value) {
    buf_add(body, value ? SV("{\"set\":{") : SV("{\"unset\":["));
    buf_add_json(body, sv_of(key));
    if (value) {
        buf_add_char(body, ':');
        buf_add_json(body, sv_of(value));
    }
    return buf_add(body, value ? SV("}}") : SV("]}"));
}

static int change(struct cli *c, const char *key, const char *value) {
    struct buf was = BUF_MAX(ANSWER_MAX), body = BUF_MAX(64 << 10), out = BUF_MAX(ANSWER_MAX);
    char version[24];
    int code = CLI_USAGE;
    if (!make_body(&body, key, value))
        fprintf(stderr, "drover: the value is too long\n");
    else
        code = ask(c, SV("GET"), SV("/drover/v1/settings"), SV_NULL, SV_NULL, &was);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&was));
        snprintf(version, sizeof version, "\"%lld\"", (long long)json_i64(yyjson_doc_get_root(doc), "version", 0));
        code = ask(c, SV("PATCH"), SV("/drover/v1/settings"), sv_of(version), buf_sv(&body), &out);
    }
    if (code == CLI_DONE && c->json)
        printf("%.*s", SV_FMT(buf_sv(&out)));
    else if (code == CLI_DONE)
        print_changes(buf_sv(&out));
    buf_deinit(&was);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

int verb_config(struct cli *c) {
    const char *what = c->args[0];
    if (strcmp(what, "check") == 0 && c->n_args <= 2)
        return load(c, false);
    if (strcmp(what, "show") == 0 && c->n_args == 1)
        return load(c, true);
    if (strcmp(what, "set") == 0 && c->n_args == 3)
        return change(c, c->args[1], c->args[2]);
    if (strcmp(what, "unset") == 0 && c->n_args == 2)
        return change(c, c->args[1], NULL);
    fprintf(stderr, "usage: drover config check [FILE] | show | set KEY VALUE | unset KEY\n");
    return CLI_USAGE;
}
