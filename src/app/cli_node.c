/* app/cli_node.c - `drover node`: the machines of this hub's fleet. */
#include <stdio.h>
#include <string.h>

#include "app/cli_verbs.h"
#include "base/clock.h"

/* --- printing ----------------------------------------------------------------------------------------------------- */

/* One word for how it is: what somebody decided first, then how its link is. */
static struct sv state_of(yyjson_val *n) {
    if (!sv_eq(json_str(n, "state"), SV("approved")))
        return json_str(n, "state");
    if (json_bool(n, "drained", false))
        return SV("drained");
    if (json_str(n, "health").n)
        return json_str(n, "health");
    return json_bool(n, "linked", false) ? SV("linking") : SV("no link");
}

static struct sv ago(struct arena *a, int64_t ms) {
    int64_t now = (int64_t)clock_wall_ms();
    return ms <= 0 ? SV("-") : duration(a, (uint64_t)(now > ms ? now - ms : 0));
}

static struct sv since_of(yyjson_val *n, struct arena *a) {
    yyjson_val *link = json_get(n, "link");
    struct sv state = json_str(n, "state");
    if (link)
        return duration(a, (uint64_t)json_i64(link, "up_ms", 0));
    if (sv_eq(state, SV("waiting")))
        return ago(a, json_i64(n, "created_ms", 0));
    return ago(a, sv_eq(state, SV("approved")) ? json_i64(n, "down_since_ms", json_i64(n, "seen_ms", 0))
                                               : json_i64(n, "decided_ms", 0));
}

static struct sv rtt_of(yyjson_val *link, struct arena *a) {
    int64_t us = json_i64(link, "rtt_us", 0);
    return us > 0 ? fmt(a, "%.1f ms", (double)us / 1000) : SV("-");
}

static struct table row_of(yyjson_val *n, struct arena *a) {
    yyjson_val *link = json_get(n, "link");
    struct sv version = json_str(json_get(n, "registration"), "version"), why = json_str(n, "reason");
    return (struct table){ { json_str(n, "name"), state_of(n), since_of(n, a),
                             link ? fmt(a, "%.*s%s", SV_FMT(json_str(n, "mode")),
                                        json_bool(link, "post_quantum", false) ? ", pq" : "")
                                  : json_str(n, "mode"),
                             rtt_of(link, a), link ? fmt(a, "%lld", (long long)json_i64(n, "models", 0)) : SV("-"),
                             dash(version.n ? version : json_str(json_get(n, "told"), "version")),
                             why.n  ? why
                             : link ? SV("")
                                    : json_str(n, "last_error") } };
}

/* Those that wait for somebody stand first. */
static void print_nodes(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "nodes"), *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table)
        return;
    table[0] = (struct table){ { SV("NODE"), SV("STATE"), SV("SINCE"), SV("LINK"), SV("RTT"), SV("MODELS"),
                                 SV("VERSION"), SV("REASON") } };
    for (int first = 1; first >= 0; first--)
        yyjson_arr_foreach(list, i, n, it) if (sv_eq(json_str(it, "state"), SV("waiting")) == first) table[rows++] =
            row_of(it, a);
    if (rows == 1)
        printf("no nodes yet: drover hub invite prints the line to run on a machine that is to join\n");
    else
        print_table(table, rows, 8);
}

static void line(const char *what, struct sv v) {
    if (!v.n)
        return;
    printf("  %-14s", what);
    put(v, 0);
    putchar('\n');
}

static void print_link(yyjson_val *n, yyjson_val *link, struct arena *a) {
    line("link",
         fmt(a, "%.*s from %.*s, for %.*s", SV_FMT(json_str(n, "mode")), SV_FMT(sv_first(json_str(link, "peer"), 64)),
             SV_FMT(duration(a, (uint64_t)json_i64(link, "up_ms", 0)))));
    line("key exchange", fmt(a, "%.*s, %s", SV_FMT(sv_first(dash(json_str(link, "group")), 64)),
                             json_bool(link, "post_quantum", false) ? "post-quantum" : "not post-quantum"));
    line("round trip", rtt_of(link, a));
    line("carries", fmt(a, "%lld requests over %lld connections", (long long)json_i64(link, "streams", 0),
                        (long long)json_i64(link, "lanes", 0)));
    line("bytes", fmt(a, "%lld in, %lld out", (long long)json_i64(link, "bytes_in", 0),
                      (long long)json_i64(link, "bytes_out", 0)));
    line("models", fmt(a, "%lld", (long long)json_i64(n, "models", 0)));
}

static void print_leaves(yyjson_val *list, struct arena *a) {
    yyjson_val *it;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, it) {
        struct sv state = json_str(it, "state"), name = json_str(it, "name");
        line("leaf", fmt(a, "%.*s%s%.*s%s, %.*s since %.*s%s%.*s, %lld models", SV_FMT(json_str(it, "agent_id")), name.n ? " (" : "", SV_FMT(name), name.n ? ")" : "",
                         SV_FMT(json_str(it, "presence")), SV_FMT(dash(json_str(it, "since"))), state.n ? ", " : "", SV_FMT(state), (long long)json_i64(it, "models", 0)));
    }
}

static void print_node(yyjson_val *v, struct arena *a) {
    yyjson_val *link = json_get(v, "link"), *told = json_get(v, "told"), *key, *value;
    struct buf labels = BUF_MAX(16384);
    size_t i, n;
    put(json_str(v, "name"), 0);
    putchar('\n');
    line("id", json_str(v, "id"));
    line("state", fmt(a, "%.*s for %.*s", SV_FMT(state_of(v)), SV_FMT(since_of(v, a))));
    line("reason", json_str(v, "reason"));
    line("last error", link ? SV_NULL : json_str(v, "last_error"));
    if (link)
        print_link(v, link, a);
    print_leaves(json_get(v, "leaves"), a);
    line("address", json_str(v, "url"));
    line("fingerprint", fmt(a, "sha256:%.*s", SV_FMT(json_str(v, "fingerprint"))));
    line("certificate",
         json_i64(v, "certificate_ends_ms", 0) ? moment(a, json_i64(v, "certificate_ends_ms", 0)) : SV("none yet"));
    line("came", moment(a, json_i64(v, "created_ms", 0)));
    if (json_str(v, "decided_by").n)
        line("decided", fmt(a, "by %.*s, %.*s ago", SV_FMT(json_str(v, "decided_by")),
                            SV_FMT(ago(a, json_i64(v, "decided_ms", 0)))));
    line("machine", fmt(a, "%.*s, %.*s %.*s, drover %.*s, from %.*s", SV_FMT(dash(json_str(told, "hostname"))),
                        SV_FMT(json_str(told, "os")), SV_FMT(json_str(told, "arch")),
                        SV_FMT(dash(json_str(told, "version"))), SV_FMT(dash(json_str(told, "address")))));
    yyjson_obj_foreach(json_get(v, "labels"), i, n, key, value) {
        buf_add(&labels, i ? SV(", ") : SV_NULL);
        buf_add(&labels, json_sv(key));
        buf_add_char(&labels, '=');
        buf_add(&labels, json_sv(value));
    }
    line("labels", buf_sv(&labels));
    buf_deinit(&labels);
}

static void print_history(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "events"), *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table)
        return;
    table[0] = (struct table){ { SV("WHEN"), SV("WHAT"), SV("DETAIL") } };
    yyjson_arr_foreach(list, i, n, it) {
        char when[25];
        table[rows++] = (struct table){ { fmt(a, "%s", clock_iso8601((uint64_t)json_i64(it, "at_ms", 0), when)),
                                          json_str(it, "what"), json_str(it, "detail") } };
    }
    print_table(table, rows, 3);
}

/* --- acts --------------------------------------------------------------------------------------------------------- */

static struct buf path_of(const char *node, const char *tail) {
    struct buf b = BUF_MAX(2048);
    buf_add(&b, SV("/drover/v1/nodes/"));
    add_escaped(&b, sv_of(node));
    buf_add(&b, sv_of(tail));
    return b;
}

static int change(struct cli *c, struct sv method, const char *tail, struct sv body, const char *done) {
    struct buf path = path_of(c->args[1], tail), out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, method, buf_sv(&path), SV_NULL, body, &out);
    if (code == CLI_DONE && c->json)
        printf("%.*s", SV_FMT(buf_sv(&out)));
    else if (code == CLI_DONE)
        printf("%s\n", done);
    buf_deinit(&path);
    buf_deinit(&out);
    return code;
}

/* What loses something asks for the node's name, typed, unless --yes said it. */
static int confirm(struct cli *c, const char *what) {
    struct buf path = path_of(c->args[1], ""), out = BUF_MAX(ANSWER_MAX);
    char typed[128] = "";
    int code = ask(c, SV("GET"), buf_sv(&path), SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE && !c->yes) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        struct sv name = json_str(yyjson_doc_get_root(doc), "name");
        FILE *tty = fopen("/dev/tty", "r+e");
        if (tty) {
            fprintf(tty, "%s\nType the node's name, %.*s, to go on: ", what,
                    SV_FMT(name)); /* the hub lets only plain names in */
            fflush(tty);
            if (!fgets(typed, sizeof typed, tty))
                typed[0] = '\0';
            typed[strcspn(typed, "\r\n")] = '\0';
            fclose(tty);
        }
        code = tty && sv_eq(sv_of(typed), name) ? CLI_DONE : CLI_REFUSED;
        if (code != CLI_DONE)
            fprintf(stderr, tty ? "drover: that is another name; nothing was changed\n"
                                : "drover: no terminal to ask on; give --yes\n");
    }
    buf_deinit(&path);
    buf_deinit(&out);
    return code;
}

static int approve(struct cli *c) {
    return change(c, SV("POST"), "/approve", SV_NULL,
                  "let in: it gets its certificate when it asks again, within seconds");
}

static int refuse(struct cli *c) {
    return change(c, SV("POST"), "/refuse", SV_NULL, "refused: it is told so when it asks again");
}

static int drain(struct cli *c) {
    return change(c, SV("POST"), "/drain", SV_NULL, "drained: it gets no new work; what runs there goes on");
}

static int resume(struct cli *c) {
    return change(c, SV("POST"), "/resume", SV_NULL, "resumed: it gets work again");
}

static int revoke_node(struct cli *c) {
    int code = confirm(c, "This puts the node out for good: its links end at once, with what runs over them, and its "
                          "certificate opens nothing any more.");
    return code != CLI_DONE ? code : change(c, SV("POST"), "/revoke", SV_NULL, "put out: its links have ended");
}

static int rm(struct cli *c) {
    int code = confirm(
        c, "This ends the node's links and forgets it, with its history; to be a node again it has to join anew.");
    return code != CLI_DONE ? code : change(c, SV("DELETE"), "", SV_NULL, "removed");
}

static int rename_node(struct cli *c) {
    struct buf body = BUF_MAX(4096);
    buf_add(&body, SV("{\"name\":"));
    buf_add_json(&body, sv_of(c->args[2]));
    buf_add_char(&body, '}');
    int code = change(c, SV("PUT"), "", buf_sv(&body), "renamed");
    buf_deinit(&body);
    return code;
}

/* --- labels ------------------------------------------------------------------------------------------------------- */

/* "k=v" or "k-": which label it is about. False: neither. */
static bool edit_of(const char *arg, struct sv *ret_name, struct sv *ret_value, bool *ret_gone) {
    struct sv v = sv_of(arg);
    *ret_value = v;
    *ret_gone = false;
    if (sv_cut(ret_value, '=', ret_name))
        return ret_name->n > 0;
    *ret_gone = v.n > 1 && v.p[v.n - 1] == '-';
    *ret_name = sv_first(v, v.n ? v.n - 1 : 0);
    return *ret_gone;
}

static bool is_edited(const struct cli *c, struct sv name) {
    struct sv other, value;
    bool gone;
    for (unsigned i = 2; i < c->n_args; i++)
        if (edit_of(c->args[i], &other, &value, &gone) && sv_eq(other, name))
            return true;
    return false;
}

static void add_label(struct buf *body, struct sv name, struct sv value) {
    if (body->p[body->n - 1] != '{')
        buf_add_char(body, ',');
    buf_add_json(body, name);
    buf_add_char(body, ':');
    buf_add_json(body, value);
}

/* All labels as they shall be: those there are, with what the arguments say of them. */
static void make_labels(const struct cli *c, yyjson_val *node, struct buf *body) {
    yyjson_val *key, *value;
    size_t i, n;
    struct sv name, text;
    bool gone;
    buf_add(body, SV("{\"labels\":{"));
    yyjson_obj_foreach(json_get(node, "labels"), i, n, key, value) if (!is_edited(c, json_sv(key)))
        add_label(body, json_sv(key), json_sv(value));
    for (unsigned a = 2; a < c->n_args; a++)
        if (edit_of(c->args[a], &name, &text, &gone) && !gone)
            add_label(body, name, text);
    buf_add(body, SV("}}"));
}

static int label(struct cli *c) {
    struct buf path = path_of(c->args[1], ""), was = BUF_MAX(ANSWER_MAX), body = BUF_MAX(64 << 10);
    struct sv name, value;
    bool gone;
    int code = CLI_DONE;
    for (unsigned i = 2; i < c->n_args; i++)
        if (!edit_of(c->args[i], &name, &value, &gone)) {
            fprintf(stderr, "drover: \"%s\" is no label; KEY=VALUE sets one, KEY- takes one away\n", c->args[i]);
            code = CLI_USAGE;
        }
    if (code == CLI_DONE)
        code = ask(c, SV("GET"), buf_sv(&path), SV_NULL, SV_NULL, &was);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&was));
        make_labels(c, yyjson_doc_get_root(doc), &body);
        code = change(c, SV("PUT"), "", buf_sv(&body), "labelled");
    }
    buf_deinit(&path);
    buf_deinit(&was);
    buf_deinit(&body);
    return code;
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static int show_node(struct cli *c) {
    struct buf path = path_of(c->args[1], "");
    int code = show(c, buf_sv(&path), print_node);
    buf_deinit(&path);
    return code;
}

static int history(struct cli *c) {
    struct buf path = path_of(c->args[1], "/history");
    int code = show(c, buf_sv(&path), print_history);
    buf_deinit(&path);
    return code;
}

static int doctor(struct cli *c) {
    struct buf path = path_of(c->args[1], "/doctor");
    int code = show_findings(c, buf_sv(&path));
    buf_deinit(&path);
    return code;
}

/* --- its console -------------------------------------------------------------------------------------------------- */

/* Where people reach this hub: as they said, else its first address. Empty: it has none but sockets. */
static struct sv address_of(const struct cli *c, yyjson_val *status) {
    yyjson_val *it;
    size_t i, n;
    if (c->hub && sv_starts(sv_of(c->hub), SV("http")))
        return sv_ends(sv_of(c->hub), SV("/")) ? sv_first(sv_of(c->hub), strlen(c->hub) - 1) : sv_of(c->hub);
    yyjson_arr_foreach(json_get(status, "listen"), i, n, it) if (sv_starts(json_sv(it), SV("http"))) return json_sv(it);
    return SV_NULL;
}

/* Says the address; what opens it is a session, so that nothing here is a secret. */
static int tell_address(const struct cli *c, yyjson_val *node, yyjson_val *status) {
    struct sv reach = json_str(json_get(json_get(node, "registration"), "allow"), "console"), at = address_of(c, status);
    const char *why = !json_bool(node, "linked", false) ? "the node has no link to this hub at the moment"
                      : !reach.n || sv_eq(reach, SV("off")) ? "the node does not show its console to its hub (join.allow.console there)"
                      : !at.n ? "this hub listens on no address a browser could reach"
                              : NULL;
    if (why) {
        fprintf(stderr, "drover: %s\n", why);
        return CLI_FAILED;
    }
    printf(c->json ? "{\"url\":\"%.*s/node/%.*s/\"}\n" : "%.*s/node/%.*s/\n", SV_FMT(at), SV_FMT(json_str(node, "id")));
    return CLI_DONE;
}

static int open_node(struct cli *c) {
    struct buf path = path_of(c->args[1], ""), node = BUF_MAX(ANSWER_MAX), status = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("GET"), buf_sv(&path), SV_NULL, SV_NULL, &node);
    if (code == CLI_DONE)
        code = ask(c, SV("GET"), SV("/drover/v1/status"), SV_NULL, SV_NULL, &status);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *n = json_parse(buf_sv(&node));
        CLEANUP(json_doc_freep) yyjson_doc *s = json_parse(buf_sv(&status));
        code = tell_address(c, yyjson_doc_get_root(n), yyjson_doc_get_root(s));
    }
    buf_deinit(&path);
    buf_deinit(&node);
    buf_deinit(&status);
    return code;
}

static int list(struct cli *c) {
    return show(c, SV("/drover/v1/nodes"), print_nodes);
}

int verb_node(struct cli *c) {
    static const struct {
        const char *name;
        unsigned args_min, args_max;
        int (*run)(struct cli *c);
    } acts[] = {
        { "ls", 1, 1, list },
        { "list", 1, 1, list },
        { "show", 2, 2, show_node },
        { "history", 2, 2, history },
        { "open", 2, 2, open_node },
        { "doctor", 1, 1, verb_doctor },
        { "doctor", 2, 2, doctor },
        { "approve", 2, 2, approve },
        { "refuse", 2, 2, refuse },
        { "rename", 3, 3, rename_node },
        { "label", 3, ARGS_MAX, label },
        { "drain", 2, 2, drain },
        { "resume", 2, 2, resume },
        { "order", 3, ARGS_MAX, node_order },
        { "orders", 2, 2, node_orders },
        { "cancel", 2, 2, node_cancel },
        { "revoke", 2, 2, revoke_node },
        { "rm", 2, 2, rm },
    };
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (strcmp(c->args[0], acts[i].name) == 0 && c->n_args >= acts[i].args_min && c->n_args <= acts[i].args_max)
            return acts[i].run(c);
    fprintf(stderr, "usage: drover node ls | show NODE | history NODE | open NODE | doctor [NODE]\n"
                    "       drover node approve | refuse | drain | resume NODE\n"
                    "       drover node rename NODE NAME | label NODE KEY=VALUE... KEY-...\n"
                    "       drover node order NODE OP [KEY=VALUE...] [--wait] | orders NODE | cancel DIRECTIVE [--wait]\n"
                    "       drover node revoke | rm NODE [--yes]\n");
    return CLI_USAGE;
}
