/* app/cli_cert.c - `drover cert`: the fleet's certificates as they are, renewing them before their time, and replacing the root. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/cli_verbs.h"
#include "base/clock.h"

enum { WATCH_S = 1, WATCH_FAULTS_MAX = 60 /* a hub that restarts meanwhile is waited for so long */ };

bool cert_option(struct cert_options *o, int argc, char **argv, int *i, bool *ret_bad) {
    static const struct {
        const char *name;
        size_t at;
    } flags[] = {
        { "--issued", offsetof(struct cert_options, issued) },
        { "--all", offsetof(struct cert_options, all) },
        { "--own", offsetof(struct cert_options, own) },
        { "--emergency", offsetof(struct cert_options, emergency) },
        { "--back", offsetof(struct cert_options, back) },
        { "--force", offsetof(struct cert_options, force) },
        { "--watch", offsetof(struct cert_options, watch) },
        { "--chain", offsetof(struct cert_options, chain) },
        { "--once", offsetof(struct cert_options, once) },
        { "--crl", offsetof(struct cert_options, crl) },
    };
    const char *arg = argv[*i];
    for (size_t f = 0; f < sizeof flags / sizeof flags[0]; f++)
        if (strcmp(arg, flags[f].name) == 0)
            return *(bool *)((char *)o + flags[f].at) = true;
    return strcmp(arg, "--trust") == 0 || option(arg, "--node", argc, argv, i, &o->node, ret_bad) ||
           option(arg, "--skip", argc, argv, i, &o->skip, ret_bad) ||
           option(arg, "--dir", argc, argv, i, &o->dir, ret_bad) ||
           option(arg, "--fleet", argc, argv, i, &o->fleet, ret_bad);
}

/* --- showing ---------------------------------------------------------------------------------------------------------- */

static void line(const char *what, struct sv v) {
    printf("  %-10s", what);
    put(v, 0);
    putchar('\n');
}

static void print_cert(yyjson_val *v, struct arena *a) {
    if (json_str(v, "uri").n)
        line("uri", json_str(v, "uri"));
    line("pin", json_str(v, "pin"));
    line("serial", json_str(v, "serial"));
    line("begins", moment(a, json_i64(v, "begins_ms", 0)));
    line("ends", moment(a, json_i64(v, "ends_ms", 0)));
}

static void print_roots(yyjson_val *list, struct arena *a) {
    yyjson_val *it;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, it) {
        printf("root ");
        put(json_str(it, "name"), 0);
        printf(json_bool(it, "issues", false)    ? ", issues\n"
               : json_bool(it, "trusted", false) ? ", trusted\n"
                                                 : ", not in use yet\n");
        print_cert(it, a);
    }
}

static void print_nodes(yyjson_val *list, struct arena *a) {
    yyjson_val *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table || yyjson_arr_size(list) == 0)
        return;
    table[0] = (struct table){ { SV("NODE"), SV("ROOT"), SV("ISSUED"), SV("ENDS"), SV("SERIAL"), SV("STATE") } };
    yyjson_arr_foreach(list, i, n, it) {
        int64_t begins = json_i64(it, "begins_ms", 0), ends = json_i64(it, "ends_ms", 0);
        struct sv state = json_get(it, "void_ms")            ? SV("void: needs drover hub invite --node")
                          : json_bool(it, "to_renew", false) ? SV("to be renewed")
                          : json_bool(it, "shown", false)    ? SV("in use")
                                                             : SV("not seen yet");
        table[rows++] =
            (struct table){ { json_str(it, "name"), dash(json_str(it, "ca")), begins ? moment(a, begins) : SV("-"),
                              ends ? moment(a, ends) : SV("-"), dash(json_str(it, "serial")), state } };
    }
    print_table(table, rows, 6);
}

/* One line for a person who waits, and one for each that is missing. */
static void print_rotation(yyjson_val *v, struct arena *a) {
    yyjson_val *r = json_get(v, "rotation"), *it;
    size_t i, n;
    (void)a;
    if (!r)
        return;
    printf("%s replaces %.*s by %.*s: stage ", json_bool(r, "emergency", false) ? "an emergency" : "a rotation",
           SV_FMT(json_str(r, "old")), SV_FMT(json_str(r, "new")));
    put(json_str(r, "stage"), 0);
    printf(", %lld missing of %lld nodes\n", (long long)json_i64(r, "missing", 0), (long long)json_i64(r, "nodes", 0));
    yyjson_arr_foreach(json_get(r, "waits_for"), i, n, it) {
        printf(json_str(it, "invite").n ? "  invitation " : "  ");
        put(json_str(it, "invite").n ? json_str(it, "invite") : json_str(it, "name"), 0);
        putchar(' ');
        put(json_str(it, "why"), 0);
        printf(json_get(it, "linked") && !json_bool(it, "linked", false) ? ", and is not linked\n" : "\n");
    }
    yyjson_arr_foreach(json_get(r, "skipped"), i, n, it) {
        printf("  not waited for: ");
        put(json_sv(it), 0);
        putchar('\n');
    }
    if (json_str(r, "fault").n) {
        printf("  it does not go on: ");
        put(json_str(r, "fault"), 0);
        putchar('\n');
    }
}

static void print_not_back(yyjson_val *v) {
    yyjson_val *it;
    size_t i, n;
    yyjson_arr_foreach(json_get(v, "not_back"), i, n, it) {
        printf(i ? ", "
                 : "not back, each needs an invitation (drover hub invite --node NODE, after drover leave there): ");
        put(json_sv(it), 0);
    }
    if (n)
        putchar('\n');
}

static void print_certs(yyjson_val *v, struct arena *a) {
    print_rotation(v, a);
    print_roots(json_get(v, "roots"), a);
    printf("hub, of %.*s\n", SV_FMT(json_str(json_get(v, "hub"), "ca")));
    print_cert(json_get(v, "hub"), a);
    print_nodes(json_get(v, "nodes"), a);
    print_not_back(v);
}

static void print_issued(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "issued"), *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table)
        return;
    table[0] = (struct table){ { SV("ISSUED"), SV("WHO"), SV("ROOT"), SV("ENDS"), SV("SERIAL"), SV("ASKED BY") } };
    yyjson_arr_foreach(list, i, n, it) {
        yyjson_val *c = json_get(it, "certificate");
        table[rows++] =
            (struct table){ { moment(a, json_i64(it, "at_ms", 0)), json_str(it, "uri"), json_str(c, "ca"),
                              moment(a, json_i64(c, "to_s", 0) * 1000), json_str(c, "serial"), json_str(it, "by") } };
    }
    print_table(table, rows, 6);
}

/* --- acting ----------------------------------------------------------------------------------------------------------- */

/* {"member":"text"}, {"member":true}, or {}. */
static int post(struct cli *c, struct sv target, const char *member, const char *text,
                void (*print)(yyjson_val *root, struct arena *a)) {
    struct buf body = BUF_MAX(2048), out = BUF_MAX(ANSWER_MAX);
    buf_add_char(&body, '{');
    if (member)
        buf_printf(&body, "\"%s\":", member);
    if (member && text)
        buf_add_json(&body, sv_of(text));
    else if (member)
        buf_add(&body, SV("true"));
    buf_add_char(&body, '}');
    int code = ask(c, SV("POST"), target, SV_NULL, buf_sv(&body), &out);
    if (code == CLI_DONE && c->json) {
        printf("%.*s", SV_FMT(buf_sv(&out)));
    } else if (code == CLI_DONE) {
        struct arena a;
        arena_init(&a, ANSWER_MAX, NULL);
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        print(yyjson_doc_get_root(doc), &a);
        arena_deinit(&a);
    }
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

static void print_renewing(yyjson_val *v, struct arena *a) {
    (void)a;
    if (json_bool(v, "hub", false))
        printf("the hub's certificate was renewed\n");
    else
        printf("%lld to renew: each does it when it is told, at its next link at the latest (drover cert show)\n",
               (long long)json_i64(v, "nodes", 0));
}

static int rotate(struct cli *c) {
    const struct cert_options *o = &c->cert;
    if ((o->node != NULL) + o->all + o->own != 1) {
        fprintf(stderr, "usage: drover cert rotate --node NODE | --all | --own\n");
        return CLI_USAGE;
    }
    return post(c, SV("/drover/v1/certs/renew"), o->node ? "node" : o->all ? "nodes" : "hub", o->node, print_renewing);
}

/* Until nothing is under way, telling of each change. */
static int watch(struct cli *c) {
    struct buf was = BUF_MAX(ANSWER_MAX);
    int code = CLI_DONE;
    unsigned faults = 0;
    for (bool goes_on = true; goes_on;) {
        struct buf out = BUF_MAX(ANSWER_MAX);
        code = ask(c, SV("GET"), SV("/drover/v1/certs"), SV_NULL, SV_NULL, &out);
        CLEANUP(json_doc_freep) yyjson_doc *doc = code == CLI_DONE ? json_parse(buf_sv(&out)) : NULL;
        yyjson_val *v = yyjson_doc_get_root(doc);
        faults = code == CLI_DONE ? 0 : faults + 1;
        goes_on =
            code == CLI_DONE ? json_get(v, "rotation") != NULL : code == CLI_UNREACHABLE && faults < WATCH_FAULTS_MAX;
        if (v && !sv_eq(buf_sv(&out), buf_sv(&was))) {
            if (c->json)
                printf("%.*s", SV_FMT(buf_sv(&out)));
            else if (goes_on)
                print_rotation(v, NULL);
            fflush(stdout);
            buf_reset(&was);
            buf_add(&was, buf_sv(&out));
        }
        if (v && !goes_on && !c->json) {
            printf("done: ");
            put(json_str(yyjson_arr_get_first(json_get(v, "roots")), "name"), 0);
            printf(" issues\n");
            print_not_back(v);
        }
        buf_deinit(&out);
        if (goes_on)
            sleep(WATCH_S);
    }
    buf_deinit(&was);
    return code;
}

/* An emergency asks for a word, typed, unless --yes said it. */
static int confirm(const struct cli *c) {
    char typed[16] = "";
    if (!c->cert.emergency || c->yes)
        return CLI_DONE;
    FILE *tty = fopen("/dev/tty", "r+e");
    if (!tty) {
        fprintf(stderr, "drover: no terminal to ask on; give --yes\n");
        return CLI_REFUSED;
    }
    fprintf(tty, "Every node loses its certificate and its link at once, and needs an invitation of its own to come "
                 "back.\nType emergency to go on: ");
    fflush(tty);
    bool ok = fgets(typed, sizeof typed, tty) && strcmp(typed, "emergency\n") == 0;
    fclose(tty);
    if (!ok)
        fprintf(stderr, "drover: nothing was changed\n");
    return ok ? CLI_DONE : CLI_REFUSED;
}

static int rotate_ca(struct cli *c) {
    const struct cert_options *o = &c->cert;
    if (o->emergency + o->back + o->force + (o->skip != NULL) > 1) {
        fprintf(stderr, "usage: drover cert rotate-ca [--emergency | --back | --skip NODE | --force] [--watch]\n");
        return CLI_USAGE;
    }
    int code = confirm(c);
    if (code != CLI_DONE)
        return code;
    if (o->skip || o->force)
        code = post(c, SV("/drover/v1/certs/rotation/skip"), o->skip ? "node" : "missing", o->skip, print_rotation);
    else if (o->back)
        code = post(c, SV("/drover/v1/certs/rotation/back"), NULL, NULL, print_rotation);
    else
        code = post(c, SV("/drover/v1/certs/rotation"), o->emergency ? "emergency" : NULL, NULL, print_rotation);
    return code == CLI_DONE && o->watch ? watch(c) : code;
}

static void print_pem(yyjson_val *v, struct arena *a) {
    (void)a;
    printf("%.*s", SV_FMT(json_str(v, "pem")));
}

int verb_cert(struct cli *c) {
    if (strcmp(c->args[0], "show") == 0)
        return c->cert.issued  ? show(c, SV("/drover/v1/certs/issued"), print_issued)
               : c->cert.watch ? watch(c)
                               : show(c, SV("/drover/v1/certs"), print_certs);
    if (strcmp(c->args[0], "rotate") == 0)
        return rotate(c);
    if (strcmp(c->args[0], "rotate-ca") == 0)
        return rotate_ca(c);
    if (strcmp(c->args[0], "export") == 0)
        return show(c,
                    c->cert.crl     ? SV("/drover/v1/certs/export?what=crl")
                    : c->cert.chain ? SV("/drover/v1/certs/export?what=chain")
                                    : SV("/drover/v1/certs/export?what=trust"),
                    print_pem);
    if (strcmp(c->args[0], "init") == 0)
        return cert_init(c);
    if (strcmp(c->args[0], "serve") == 0)
        return cert_serve(c);
    fprintf(stderr, "usage: drover cert show [--issued]\n"
                    "       drover cert rotate --node NODE | --all | --own\n"
                    "       drover cert rotate-ca [--emergency | --back | --skip NODE | --force] [--watch]\n"
                    "       drover cert export [--trust | --chain | --crl]\n"
                    "       drover cert init --fleet NAME --dir DIR [--passphrase]\n"
                    "       drover cert serve --dir DIR [--hub URL] [--yes] [--once]\n");
    return CLI_USAGE;
}
