/* app/cli.c - every verb but `serve` and part of `config` is a client of the running daemon's admin socket, which it finds through
 * the same configuration. Text from models, runtimes and logs is printed with control bytes made visible. */
#include "app/cli_verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/daemon.h"
#include "app/login.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/utf8.h"
#include "http/url.h"
#include "llm/llm.h"
#include "version.h"

struct config_source source_of(const struct cli *c) {
    return (struct config_source){ .path = c->config_path, .overrides = c->overrides, .check_url = url_check };
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

/* One cell: control, escape and bidirectional characters become visible, so that no name can draw on the terminal. */
static int put_to(FILE *to, struct sv v, int width) {
    int columns = 0;
    while (v.n) {
        size_t len = utf8_len(v);
        unsigned char c = (unsigned char)v.p[0];
        bool bidi = len == 3 && c == 0xe2 && (((unsigned char)v.p[1] == 0x80 && ((unsigned char)v.p[2] & 0xf0) >= 0x80 &&
                    ((unsigned char)v.p[2] >= 0xa8 || (unsigned char)v.p[2] <= 0x8f)) || (unsigned char)v.p[1] == 0x81);
        if (len == 0 || c < 0x20 || c == 0x7f || bidi || (len == 2 && c == 0xc2 && (unsigned char)v.p[1] < 0xa0)) {
            columns += fprintf(to, "\\x%02x", c);
            len = 1;
        } else {
            fwrite(v.p, 1, len, to);
            columns++;
        }
        v = sv_from(v, len);
    }
    if (width > 0)
        fprintf(to, "%*s", columns < width ? width - columns + 2 : 2, "");
    return columns;
}

int put(struct sv v, int width) {
    return put_to(stdout, v, width);
}

static int width_of(struct sv v) {
    int n = 0;
    for (; v.n; n++) {
        size_t len = utf8_len(v);
        v = sv_from(v, len ? len : 1);
    }
    return n;
}

/* Rows of n cells; the first row is the head. The last column is not padded. */
void print_table(const struct table *rows, size_t n_rows, int n) {
    int widths[8] = { 0 };
    for (size_t r = 0; r < n_rows; r++)
        for (int i = 0; i < n; i++) {
            int w = width_of(rows[r].cells[i]);
            widths[i] = w > widths[i] ? w : widths[i];
        }
    for (size_t r = 0; r < n_rows; r++) {
        for (int i = 0; i < n; i++)
            put(rows[r].cells[i], i + 1 < n ? widths[i] : 0);
        putchar('\n');
    }
}

struct sv fmt(struct arena *a, const char *format, ...) {
    char text[256];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return arena_sv(a, (struct sv){ text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1 });
}

struct sv dash(struct sv v) {
    return v.n ? v : SV("-");
}

struct sv duration(struct arena *a, uint64_t ms) {
    uint64_t s = (ms + 500) / 1000; /* to the nearest: 90 days less a moment are 90 days */
    if (s < 120)
        return fmt(a, "%llus", (unsigned long long)s);
    if (s < 7200)
        return fmt(a, "%llum", (unsigned long long)(s + 30) / 60);
    if (s < 172800)
        return fmt(a, "%lluh", (unsigned long long)(s + 1800) / 3600);
    return fmt(a, "%llud", (unsigned long long)(s + 43200) / 86400);
}

/* --- asking the daemon -------------------------------------------------------------------------------------------- */

static void collect(void *arg, struct sv bytes) {
    buf_add(arg, bytes);
}

static int fault_code(int status) {
    return status == 404 ? CLI_NOT_FOUND : status == 403 || status == 401 ? CLI_REFUSED : status == 504 ? CLI_TIMED_OUT : CLI_FAILED;
}

struct config *settings_of(const struct cli *c) {
    static struct config_report report;
    struct config_source s = source_of(c);
    s.no_files = true;
    struct config *cfg = config_load(&s, &report);
    struct buf out = BUF_MAX(64 << 10);
    if (!cfg && config_report_print(&report, &out))
        fprintf(stderr, "%.*s", SV_FMT(buf_sv(&out)));
    buf_deinit(&out);
    return cfg;
}

static bool find_socket(const struct cli *c, struct arena *a, struct call_place *ret) {
    char path[108];
    struct config *cfg = settings_of(c);
    bool ok = cfg && daemon_socket(cfg, path, sizeof path) && (ret->socket = arena_sv(a, sv_of(path))).p;
    config_unref(cfg);
    return ok;
}

bool find_hub(const struct cli *c, struct arena *a, struct call_place *ret) {
    struct login l;
    struct err e = { 0 };
    *ret = (struct call_place){ 0 };
    if (!c->hub)
        return find_socket(c, a, ret);
    ret->url = sv_of(c->hub);
    ret->ca_file = c->ca_file;
    if (!login_read(ret->url, a, &l, &e)) {
        if (e.code != ERR_NONE)
            fprintf(stderr, "drover: %s\n", e.text);
        else
            fprintf(stderr, "drover: nobody has signed in at %s from here; drover login --hub %s --user NAME\n", c->hub, c->hub);
        return false;
    }
    ret->secret = l.secret;
    if (!ret->ca_file && l.ca_file.n)
        ret->ca_file = l.ca_file.p;
    return true;
}

int unreachable(const struct call_place *at, const struct err *e) {
    if (at->socket.n)
        fprintf(stderr, "drover: no daemon answers on %.*s (%s)\n        start one with: drover serve\n", SV_FMT(at->socket), e->text);
    else
        fprintf(stderr, "drover: %.*s does not answer (%s)\n", SV_FMT(at->url), e->text);
    return e->code == ERR_TIMEOUT ? CLI_TIMED_OUT : CLI_UNREACHABLE;
}

bool daemon_runs(const struct cli *c) {
    struct call_place at;
    struct arena a;
    struct err e = { 0 };
    const struct call_what what = { .method = SV("GET"), .target = SV("/drover/v1/session") };
    arena_init(&a, 1 << 16, NULL);
    bool runs = find_hub(c, &a, &at) && (call_hub(&at, &what, &e) != 0 || e.code == ERR_TIMEOUT);
    arena_deinit(&a);
    return runs;
}

/* Asks and, on success, leaves the answer in out. Prints faults. Returns an exit code. */
int ask(const struct cli *c, struct sv method, struct sv target, struct sv version, struct sv body, struct buf *out) {
    struct call_place at;
    struct arena a;
    struct err e;
    const struct call_what what = { .method = method, .target = target, .version = version, .body = body, .on_body = collect, .arg = out };
    arena_init(&a, 1 << 16, NULL);
    bool found = find_hub(c, &a, &at);
    int status = found ? call_hub(&at, &what, &e) : 0, code = found && status == 0 ? unreachable(&at, &e) : CLI_FAILED;
    arena_deinit(&a);
    if (status == 0)
        return code;
    if (status < 300)
        return CLI_DONE;
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(out));
    yyjson_val *fault = json_get(yyjson_doc_get_root(doc), "error");
    if (c->json) {
        printf("%.*s", SV_FMT(buf_sv(out)));
    } else {
        struct sv hint = json_str(fault, "hint");
        fprintf(stderr, "drover: ");
        put_to(stderr, json_str(fault, "message"), 0);
        fputc('\n', stderr);
        if (hint.n)
            fprintf(stderr, "        %.*s\n", SV_FMT(hint));
    }
    return fault_code(status);
}

/* The usual verb: get, print as JSON or by show. */
int show(const struct cli *c, struct sv target, void (*print)(yyjson_val *root, struct arena *a)) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("GET"), target, SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE && c->json) {
        printf("%.*s", SV_FMT(buf_sv(&out)));
    } else if (code == CLI_DONE) {
        struct arena a;
        arena_init(&a, ANSWER_MAX, NULL);
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        print(yyjson_doc_get_root(doc), &a);
        arena_deinit(&a);
    }
    buf_deinit(&out);
    return code;
}

/* --- verbs -------------------------------------------------------------------------------------------------------- */

static void print_records(yyjson_val *records) {
    struct sv state = json_str(records, "state"), fault = json_str(records, "fault");
    if (!records || sv_eq(state, SV("well")))
        return;
    printf("  records    ");
    put(state, 0);
    if (fault.n) {
        printf(": ");
        put(fault, 0);
    }
    printf("; requests of keys are not served meanwhile\n");
}

static void print_join(yyjson_val *join) {
    if (!join)
        return;
    printf("  node of    ");
    put(dash(json_str(join, "fleet")), 0);
    printf(": ");
    put(json_str(join, "state"), 0);
    if (json_str(join, "error").n) {
        printf("; ");
        put(json_str(join, "error"), 0);
    }
    putchar('\n');
}

static void print_status(yyjson_val *v, struct arena *a) {
    printf("Drover %.*s, pid %lld, up %.*s\n", SV_FMT(json_str(v, "version")), (long long)json_i64(v, "pid", 0),
           SV_FMT(duration(a, (uint64_t)json_i64(v, "uptime_ms", 0))));
    yyjson_val *it;
    size_t i, n;
    yyjson_arr_foreach(json_get(v, "listen"), i, n, it) {
        printf("  listening  ");
        put(json_sv(it), 0);
        putchar('\n');
    }
    printf("  endpoints  %lld of %lld up, %lld models\n", (long long)json_i64(v, "endpoints_up", 0),
           (long long)json_i64(v, "endpoints", 0), (long long)json_i64(v, "models", 0));
    printf("  requests   %lld done, %lld failed, %lld cancelled, %lld under way, %lld waiting\n",
           (long long)json_i64(v, "requests", 0), (long long)json_i64(v, "failed", 0), (long long)json_i64(v, "cancelled", 0),
           (long long)json_i64(v, "in_flight", 0), (long long)json_i64(v, "queued", 0));
    printf("  tokens     %lld in, %lld out\n", (long long)json_i64(v, "input_tokens", 0),
           (long long)json_i64(v, "output_tokens", 0));
    print_join(json_get(v, "join"));
    print_records(json_get(v, "records"));
}

static void print_models(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "models"), *it, *t;
    size_t i, n, j, m, rows = 1, room = 1;
    yyjson_arr_foreach(list, i, n, it)
        room += yyjson_arr_size(json_get(it, "targets"));
    struct table *table = ARENA_ARRAY(a, struct table, room);
    if (!table)
        return;
    table[0] = (struct table){ { SV("MODEL"), SV("ENDPOINT"), SV("KIND"), SV("STATE"), SV("LOADED"), SV("CONTEXT") } };
    yyjson_arr_foreach(list, i, n, it) {
        yyjson_arr_foreach(json_get(it, "targets"), j, m, t) {
            yyjson_val *is_loaded = json_get(t, "loaded");
            int64_t context = json_i64(t, "context", 0);
            table[rows++] = (struct table){ { j ? SV("") : json_str(it, "slug"), json_str(t, "endpoint"), json_str(t, "kind"),
                json_str(t, "state"), yyjson_is_bool(is_loaded) ? (yyjson_get_bool(is_loaded) ? SV("yes") : SV("no")) : SV("-"),
                context ? fmt(a, "%lld", (long long)context) : SV("-") } };
        }
    }
    if (rows == 1)
        printf("no models: no runtime was found yet (drover endpoints)\n");
    else
        print_table(table, rows, 6);
}

static void print_explain(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "candidates"), *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table)
        return;
    put(json_str(v, "asked"), 0);
    printf(" -> ");
    put(json_str(v, "slug"), 0);
    printf("%s\n", json_bool(v, "alias", false) ? " (alias)" : "");
    table[0] = (struct table){ { SV("ENDPOINT"), SV("MODEL"), SV("VERDICT"), SV("API"), SV("STATE"), SV("BUSY"), SV("MS/TOKEN"),
                                 SV("REASON") } };
    yyjson_arr_foreach(list, i, n, it) {
        int64_t max = json_i64(it, "max_concurrent", json_i64(it, "slots", 0)), speed = json_i64(it, "us_per_token", 0);
        struct sv api = !json_get(it, "native") ? SV("-") : json_bool(it, "native", false) ? SV("native") : SV("translated");
        table[rows++] = (struct table){ { json_str(it, "endpoint"), json_str(it, "model"), json_str(it, "verdict"), api,
            json_str(it, "state"),
            max ? fmt(a, "%lld/%lld", (long long)json_i64(it, "in_flight", 0), (long long)max)
                : fmt(a, "%lld", (long long)json_i64(it, "in_flight", 0)),
            speed ? fmt(a, "%.1f", (double)speed / 1000) : SV("-"), json_str(it, "reason") } };
    }
    print_table(table, rows, 8);
    yyjson_arr_foreach(json_get(v, "fallback"), i, n, it) {
        printf(i ? ", " : "else ");
        put(json_sv(it), 0);
    }
    if (n)
        putchar('\n');
}

static int verb_status(struct cli *c) {
    return show(c, SV("/drover/v1/status"), print_status);
}

static int verb_models(struct cli *c) {
    return show(c, SV("/drover/v1/models"), print_models);
}

/* Query values: everything but unreserved characters is escaped. */
void add_escaped(struct buf *b, struct sv v) {
    for (size_t i = 0; i < v.n; i++) {
        char ch = v.p[i];
        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || strchr("-._~", ch))
            buf_add_char(b, ch);
        else
            buf_printf(b, "%%%02X", (unsigned char)ch);
    }
}

static int verb_explain(struct cli *c) {
    if (c->api && !llm_speaks_parse(sv_of(c->api))) {
        fprintf(stderr, "drover: --api takes one of lmstudio");
        for (unsigned i = 0; i < LLM_SPEAKS_N; i++)
            fprintf(stderr, ", %s", llm_speaks_name(1u << i));
        fputc('\n', stderr);
        return CLI_USAGE;
    }
    struct buf target = BUF_MAX(8192);
    buf_add(&target, SV("/drover/v1/explain?model="));
    add_escaped(&target, sv_of(c->args[0]));
    if (c->api) {
        buf_add(&target, SV("&api="));
        add_escaped(&target, sv_of(c->api));
    }
    int code = show(c, buf_sv(&target), print_explain);
    buf_deinit(&target);
    return code;
}

static int verb_reload(struct cli *c) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("POST"), SV("/drover/v1/reload"), SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE)
        printf(c->json ? "{\"reloaded\":true}\n" : "reloaded\n");
    buf_deinit(&out);
    return code;
}

/* Lines as they come: raw with --json, else the terminal form of base/log. */
struct tail {
    struct buf part;
    bool json;
};

static void print_log_line(struct sv line, bool json) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json ? NULL : json_parse(line);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!root) {
        printf("%.*s\n", SV_FMT(line));
        return;
    }
    put(sv_first(sv_from(json_str(root, "time"), 11), 12), 0);
    printf(" %-5.*s ", SV_FMT(json_str(root, "level")));
    put(json_str(root, "msg"), 0);
    size_t i, n;
    yyjson_val *key, *val;
    yyjson_obj_foreach(root, i, n, key, val) {
        struct sv k = json_sv(key);
        if (sv_eq(k, SV("time")) || sv_eq(k, SV("level")) || sv_eq(k, SV("msg")))
            continue;
        printf("  %.*s=", SV_FMT(k));
        if (yyjson_is_str(val))
            put(json_sv(val), 0);
        else if (yyjson_is_num(val))
            printf("%.15g", yyjson_get_num(val));
        else
            printf("%s", yyjson_get_bool(val) ? "true" : "false");
    }
    putchar('\n');
}

static void on_log_bytes(void *arg, struct sv bytes) {
    struct tail *t = arg;
    buf_add(&t->part, bytes);
    struct sv rest = buf_sv(&t->part), line;
    while (sv_cut(&rest, '\n', &line))
        print_log_line(line, t->json);
    buf_consume(&t->part, t->part.n - rest.n);
    fflush(stdout);
}

static int verb_logs(struct cli *c) {
    struct err e;
    struct call_place at;
    struct arena a;
    struct tail tail = { .part = BUF_MAX(1 << 20), .json = c->json };
    struct buf target = BUF_MAX(256);
    uint64_t lines = 100;
    if (c->lines && (!sv_to_u64(sv_of(c->lines), &lines) || lines > LOG_RING_LINES)) {
        fprintf(stderr, "drover: -n takes a number from 0 to %d\n", LOG_RING_LINES);
        return CLI_USAGE;
    }
    buf_printf(&target, "/drover/v1/logs?follow=%d&lines=", c->follow);
    add_escaped(&target, sv_of(c->lines ? c->lines : "100"));
    const struct call_what what = { .method = SV("GET"), .target = buf_sv(&target), .on_body = on_log_bytes, .arg = &tail };
    arena_init(&a, 1 << 16, NULL);
    bool found = find_hub(c, &a, &at);
    int status = found ? call_hub(&at, &what, &e) : 0;
    int code = status >= 300 ? fault_code(status) : status ? CLI_DONE : found ? unreachable(&at, &e) : CLI_FAILED;
    arena_deinit(&a);
    buf_deinit(&target);
    buf_deinit(&tail.part);
    return code;
}

static int verb_version(struct cli *c) {
    printf(c->json ? "{\"version\":\"%s\"}\n" : "drover %s\n", DROVER_VERSION);
    return CLI_DONE;
}

static int verb_serve(struct cli *c) {
    struct daemon_options o = { .source = source_of(c), .demo_if_empty = c->demo_if_empty };
    return daemon_run(&o);
}

static int verb_help(struct cli *c);
static int verb_completion(struct cli *c);

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const struct verb {
    const char *name, *args, *help;
    unsigned args_min, args_max;
    int (*run)(struct cli *c);
} verbs[] = {
    { "serve", "", "run the daemon in the foreground", 0, 0, verb_serve },
    { "status", "", "what the running daemon is doing", 0, 0, verb_status },
    { "models", "", "the models that can be asked for, and where they are", 0, 0, verb_models },
    { "endpoints", "", "the runtimes, their state and why", 0, 0, verb_endpoints },
    { "endpoint", "add | set | rm | test ...", "add a runtime by its address, after a look (drover endpoint help)", 1,
      ARGS_MAX, verb_endpoint },
    { "explain", "MODEL [--api API]", "who would serve MODEL now, and why not the others", 1, 1, verb_explain },
    { "hub", "invite | status | invites | void ID", "the fleet this daemon is for, and invitations into it", 1, 2,
      verb_hub },
    { "node", "ls | show | approve | drain ...", "the machines of the fleet (drover node help)", 1, ARGS_MAX,
      verb_node },
    { "cert", "show | rotate | rotate-ca | export ...", "the fleet's certificates, and replacing them or their root", 1, 1,
      verb_cert },
    { "doctor", "", "what is not as it should be, and the cure", 0, 0, verb_doctor },
    { "key", "list | add | set | rotate | revoke ...",
      "API keys: who may use which models, and how much (drover key help)", 1, 2, verb_key },
    { "user", "list | add | set | rm ...",
      "people at the console, their roles and sessions; setup prints the link for the first", 1, 2, verb_user },
    { "mode", "[live | dev | key]", "whether risky acts at the console take the permission key", 0, 1, verb_mode },
    { "audit", "list | verify", "what was changed by whom, and whether that record is whole", 1, 1, verb_audit },
    { "usage", "[--by WHAT] [--days N] [--csv]", "requests and tokens by key, model, slug, endpoint, node or day", 0, 0,
      verb_usage },
    { "requests", "[--key KEY] [--status 5xx] ...", "single requests of the ledger, newest first; -n N, --csv", 0, 0,
      verb_requests },
    { "backup", "FILE | --check", "copy the records while they are in use, or check them", 0, 1, verb_backup },
    { "env", "[--shell | --plain] ...", "variables that point OpenAI, Anthropic and Ollama clients here", 0, 0,
      verb_env },
    { "launch", "PROGRAM [ARGUMENT...]", "run PROGRAM with those variables set", 0, 0, verb_launch },
    { "completion", "bash | zsh | fish", "print what makes the shell complete drover's verbs", 1, 1, verb_completion },
    { "events", "[-f] [--since ID]", "what has happened since then, or happens from now on; -f goes on", 0, 0,
      verb_events },
    { "login", "--hub URL --user NAME", "sign in at a hub elsewhere; verbs with --hub URL go there then", 0, 0,
      verb_login },
    { "logout", "--hub URL", "sign out there", 0, 0, verb_logout },
    { "logs", "[-f] [-n LINES]", "the daemon's log; -f follows it", 0, 0, verb_logs },
    { "join", "LINE [--name NAME] [--mode MODE] [--serve] | --status", "make this machine a node of the hub that printed LINE", 0, 1,
      verb_join },
    { "leave", "", "be a node no more: tell the hub, forget key and certificate", 0, 0, verb_leave },
    { "reload", "", "read the configuration again, all or nothing", 0, 0, verb_reload },
    { "config", "check | show | set | unset ...",
      "validate the configuration, print the effective one, or change a setting", 1, 3, verb_config },
    { "version", "", "print the version", 0, 0, verb_version },
    { "help", "", "print this text", 0, 0, verb_help },
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

static int verb_completion(struct cli *c) {
    struct buf names = BUF_MAX(4096);
    for (int i = 0; i < VERBS; i++)
        buf_printf(&names, "%s%s", i ? " " : "", verbs[i].name);
    buf_add_char(&names, '\0');
    int code = names.failed ? CLI_FAILED : completion_print(c->args[0], names.p);
    buf_deinit(&names);
    return code;
}

static void usage(FILE *to) {
    fprintf(to, "usage: drover VERB [ARGUMENT...] [--config FILE] [--json] [--set KEY=VALUE]...\n\n");
    for (int i = 0; i < VERBS; i++)
        fprintf(to, "  %-10s %-31s %s\n", verbs[i].name, verbs[i].args, verbs[i].help);
    fprintf(to, "\nEvery setting can also be given as DROVER_<PATH>, e.g. DROVER_LOG_LEVEL=debug. drover(1) has the whole story.\n");
}

static int verb_help(struct cli *c) {
    (void)c;
    usage(stdout);
    return CLI_DONE;
}

static int wrong(const char *what, const char *which) {
    fprintf(stderr, "drover: %s%s%s (drover help)\n", what, which ? ": " : "", which ? which : "");
    return CLI_USAGE;
}

/* Options that take a value: "--name VALUE" or "--name=VALUE". */
bool option(const char *arg, const char *name, int argc, char **argv, int *i, const char **ret_value, bool *ret_bad) {
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || (arg[n] != '\0' && arg[n] != '='))
        return false;
    if (arg[n] == '=')
        *ret_value = arg + n + 1;
    else if (*i + 1 < argc)
        *ret_value = argv[++*i];
    else
        *ret_bad = true;
    return true;
}

int cli_main(int argc, char **argv) {
    struct cli c = { .hub = getenv("DROVER_HUB") };
    const struct verb *verb = NULL;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *set = NULL;
        bool bad = false;
        if (verb && strcmp(a, "--") == 0) { /* the rest are no options */
            while (++i < argc && c.n_args < ARGS_MAX)
                c.args[c.n_args++] = argv[i];
            break;
        }
        if (strcmp(a, "--json") == 0)
            c.json = true;
        else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)
            return verb_help(&c);
        else if (strcmp(a, "--version") == 0)
            return verb_version(&c);
        else if (strcmp(a, "-f") == 0 || strcmp(a, "--follow") == 0)
            c.follow = true;
        else if (strcmp(a, "--csv") == 0)
            c.csv = true;
        else if (strcmp(a, "--check") == 0)
            c.check = true;
        else if (strcmp(a, "--shell") == 0) /* as it is without a word */
            c.plain = false;
        else if (strcmp(a, "--plain") == 0)
            c.plain = true;
        else if (strcmp(a, "--passphrase") == 0)
            c.passphrase = true;
        else if (verb && verb->run == verb_node && strcmp(a, "--wait") == 0)
            c.wait = true;
        else if (strcmp(a, "-y") == 0 || strcmp(a, "--yes") == 0)
            c.yes = true;
        else if (verb && verb->run == verb_hub &&
                 (option(a, "--name", argc, argv, &i, &c.name, &bad) ||
                  option(a, "--node", argc, argv, &i, &c.node, &bad) ||
                  option(a, "--ttl", argc, argv, &i, &c.ttl, &bad)))
            ;
        else if (verb && verb->run == verb_user && (option(a, "--role", argc, argv, &i, &c.role, &bad) || option(a, "--enabled", argc, argv, &i, &c.enabled, &bad)))
            ;
        else if (strcmp(a, "--demo-if-empty") == 0)
            c.demo_if_empty = true;
        else if (verb && verb->run == verb_key && option(a, "--overlap", argc, argv, &i, &c.overlap, &bad))
            ;
        else if (verb && verb->run == verb_key && key_option(c.key, argc, argv, &i, &bad))
            ;
        else if (verb && verb->run == verb_join && strcmp(a, "--status") == 0)
            c.join_status = true;
        else if (verb && verb->run == verb_join && strcmp(a, "--serve") == 0)
            c.and_serve = true;
        else if (verb && verb->run == verb_join &&
                 (option(a, "--name", argc, argv, &i, &c.node_name, &bad) ||
                  option(a, "--mode", argc, argv, &i, &c.join_mode, &bad)))
            ;
        else if (verb && verb->run == verb_cert && cert_option(&c.cert, argc, argv, &i, &bad))
            ;
        else if (verb && verb->run == verb_requests && requests_option(c.where, argc, argv, &i, &bad))
            ;
        else if (option(a, "--config", argc, argv, &i, &c.config_path, &bad) || option(a, "--api", argc, argv, &i, &c.api, &bad) ||
                 option(a, "--by", argc, argv, &i, &c.by, &bad) || option(a, "--key-file", argc, argv, &i, &c.key_file, &bad) ||
                 option(a, "--hub", argc, argv, &i, &c.hub, &bad) || option(a, "--ca", argc, argv, &i, &c.ca_file, &bad) ||
                 option(a, "--user", argc, argv, &i, &c.user, &bad) || option(a, "--since", argc, argv, &i, &c.since, &bad) ||
                 option(a, "--passphrase-file", argc, argv, &i, &c.passphrase_file, &bad) ||
                  option(a, "--days", argc, argv, &i, &c.days, &bad) ||
                 option(a, "-n", argc, argv, &i, &c.lines, &bad) || option(a, "--lines", argc, argv, &i, &c.lines, &bad))
            ;
        else if (option(a, "--set", argc, argv, &i, &set, &bad)) {
            if (c.n_overrides == OVERRIDES_MAX)
                return wrong("too many --set", NULL);
            if (set)
                c.overrides[c.n_overrides++] = set;
        } else if (a[0] == '-' && a[1]) {
            return wrong("unknown option", a);
        } else if (!verb) {
            for (int v = 0; v < VERBS && !verb; v++)
                if (strcmp(a, verbs[v].name) == 0)
                    verb = &verbs[v];
            if (!verb)
                return wrong("unknown verb", a);
            if (verb->run == verb_launch && i + 1 < argc) { /* what follows is the program's */
                c.launch = argv + i + 1;
                break;
            }
        } else if (c.n_args < ARGS_MAX) {
            c.args[c.n_args++] = a;
        }
        if (bad)
            return wrong("value missing for", a);
    }
    if (!verb) {
        usage(stderr);
        return CLI_USAGE;
    }
    if (c.n_args < verb->args_min || (verb->run == verb_launch && !c.launch) || c.n_args > verb->args_max) {
        fprintf(stderr, "usage: drover %s %s\n", verb->name, verb->args);
        return CLI_USAGE;
    }
    return verb->run(&c);
}
