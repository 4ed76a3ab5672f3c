/* app/cli_backup.c - `drover backup`. */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "app/cli_verbs.h"
#include "base/mem.h"

static int check(const struct cli *c) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("POST"), SV("/drover/v1/store/check"), SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        yyjson_val *v = yyjson_doc_get_root(doc);
        bool fine = json_bool(v, "fine", false);
        if (c->json)
            printf("%.*s", SV_FMT(buf_sv(&out)));
        else if (fine)
            printf("fine\n");
        else
            printf("damaged: %.*s\n", SV_FMT(json_str(v, "findings")));
        code = fine ? CLI_DONE : CLI_FAILED;
    }
    buf_deinit(&out);
    return code;
}

int verb_backup(struct cli *c) {
    char here[PATH_MAX];
    const char *path = c->args[0];
    struct buf full = BUF_MAX(8192), body = BUF_MAX(32768), out = BUF_MAX(ANSWER_MAX);
    if (c->check)
        return check(c);
    if (!path) {
        fprintf(stderr, "usage: drover backup FILE | drover backup --check\n");
        return CLI_USAGE;
    }
    if (path[0] != '/' && getcwd(here, sizeof here)) /* the daemon has a directory of its own */
        buf_printf(&full, "%s/", here);
    buf_add(&full, sv_of(path));
    buf_add(&body, SV("{\"path\":"));
    buf_add_json(&body, buf_sv(&full));
    buf_add_char(&body, '}');
    int code = ask(c, SV("POST"), SV("/drover/v1/backup"), SV_NULL, buf_sv(&body), &out);
    if (code == CLI_DONE && c->json) {
        printf("%.*s", SV_FMT(buf_sv(&out)));
    } else if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        printf("written: %.*s, %lld bytes. It holds hashes of keys, not keys; put it in place of data_dir/drover.db to restore it.\n"
               "written: %.*s: what was set from the console, with the keys of endpoints that were added; its place is\n"
               "data_dir/settings.yaml. The fleet's authority (data_dir/pki) is in neither: keep a copy of that apart.\n",
               SV_FMT(buf_sv(&full)), (long long)json_i64(yyjson_doc_get_root(doc), "bytes", 0),
               SV_FMT(json_str(yyjson_doc_get_root(doc), "settings")));
    }
    buf_deinit(&full);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}
