/* app/cli_order.c - `drover node order`, `orders` and `cancel`: what nodes are asked to do, and what became of it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app/cli_verbs.h"
#include "base/clock.h"

enum { LOOK_MS = 300, FIRST_ARG = 3, SPARE_MS = 35000 };

/* --- printing ----------------------------------------------------------------------------------------------------- */

static const char *const open_states[] = { "queued", "sent", "accepted", "running" };

static bool is_open(struct sv state) {
    for (size_t i = 0; i < sizeof open_states / sizeof open_states[0]; i++)
        if (sv_eq(state, sv_of(open_states[i])))
            return true;
    return false;
}

static struct sv why_of(yyjson_val *d) {
    struct sv why = json_str(d, "message"), stage = json_str(json_get(d, "progress"), "stage");
    if (why.n)
        return why;
    return stage.n ? stage : json_str(d, "code");
}

static void print_orders(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "directives"), *it;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    if (!table)
        return;
    table[0] = (struct table){ { SV("WHEN"), SV("ID"), SV("WHAT"), SV("STATE"), SV("BY"), SV("WHY") } };
    yyjson_arr_foreach(list, i, n, it) {
        char when[25];
        table[rows++] = (struct table){ { fmt(a, "%s", clock_iso8601((uint64_t)json_i64(it, "issued_ms", 0), when)), json_str(it, "id"), json_str(it, "op"),
                                          json_str(it, "state"), json_str(it, "by"), why_of(it) } };
    }
    if (rows == 1)
        printf("this node was asked nothing yet: drover node order NODE refresh_inventory\n");
    else
        print_table(table, rows, 6);
}

static void print_order(yyjson_val *d) {
    struct sv why = why_of(d);
    size_t n;
    char *detail = yyjson_is_obj(json_get(d, "detail")) ? yyjson_val_write_opts(json_get(d, "detail"), 0, &json_heap, &n, NULL) : NULL;
    put(json_str(d, "id"), 0);
    putchar(' ');
    put(json_str(d, "op"), 0);
    fputs(": ", stdout);
    put(json_str(d, "state"), 0);
    if (why.n) {
        fputs(", ", stdout);
        put(why, 0);
    }
    if (detail) {
        putchar(' ');
        put((struct sv){ detail, n }, 0);
    }
    putchar('\n');
    mem_free(detail);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void add_value(struct buf *out, struct sv v) {
    uint64_t number;
    if (sv_to_u64(v, &number))
        buf_add_u64(out, number);
    else
        buf_add_json(out, v);
}

static bool is_about_order(struct sv name) {
    return sv_eq(name, SV("reason")) || sv_eq(name, SV("agent")) || sv_eq(name, SV("timeout_ms")) || sv_eq(name, SV("expires_ms"));
}

/* reason, agent, timeout_ms and expires_ms are about the directive itself, what else there is goes to the node. */
static bool make_body(const struct cli *c, struct buf *body) {
    struct sv name, value;
    buf_add(body, SV("{\"op\":"));
    buf_add_json(body, sv_of(c->args[2]));
    for (int own = 0; own < 2; own++) {
        bool first = true;
        buf_add(body, own ? SV(",\"args\":{") : SV(""));
        for (unsigned i = FIRST_ARG; i < c->n_args; i++) {
            value = sv_of(c->args[i]);
            if (!sv_cut(&value, '=', &name) || !name.n) {
                fprintf(stderr, "drover: \"%s\" is no KEY=VALUE\n", c->args[i]);
                return false;
            }
            if (is_about_order(name) == (own == 1))
                continue;
            buf_add(body, own && first ? SV("") : SV(","));
            first = false;
            buf_add_json(body, name);
            buf_add_char(body, ':');
            add_value(body, value);
        }
    }
    buf_add(body, SV("}}"));
    return true;
}

static struct buf path_to(const char *id) {
    struct buf path = BUF_MAX(1024);
    buf_add(&path, SV("/drover/v1/directives/"));
    add_escaped(&path, sv_of(id));
    return path;
}

/* Until it is over; as long as it may take at most. */
static int wait_for(const struct cli *c, const char *id, struct buf *out) {
    struct buf path = path_to(id);
    int code = CLI_DONE;
    for (uint64_t until = 0;;) {
        out->n = 0;
        code = ask(c, SV("GET"), buf_sv(&path), SV_NULL, SV_NULL, out);
        CLEANUP(json_doc_freep) yyjson_doc *doc = code == CLI_DONE ? json_parse(buf_sv(out)) : NULL;
        yyjson_val *d = yyjson_doc_get_root(doc);
        if (!until)
            until = (uint64_t)json_i64(d, "expires_ms", 0) + (uint64_t)json_i64(d, "timeout_ms", 0) + SPARE_MS;
        if (!d || !is_open(json_str(d, "state")) || clock_wall_ms() >= until)
            break;
        nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
    }
    buf_deinit(&path);
    return code;
}

static int show_answer(const struct cli *c, struct buf *out) {
    char id[64];
    int code = CLI_DONE;
    CLEANUP(json_doc_freep) yyjson_doc *first = json_parse(buf_sv(out));
    if (c->wait && sv_to_cstr(json_str(yyjson_doc_get_root(first), "id"), id, sizeof id))
        code = wait_for(c, id, out);
    if (code != CLI_DONE)
        return code;
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(out));
    yyjson_val *d = yyjson_doc_get_root(doc);
    if (c->json)
        printf("%.*s\n", SV_FMT(sv_trim(buf_sv(out))));
    else
        print_order(d);
    return !c->wait || sv_eq(json_str(d, "state"), SV("succeeded")) ? CLI_DONE : CLI_FAILED;
}

int node_order(struct cli *c) {
    struct buf path = BUF_MAX(2048), body = BUF_MAX(64 << 10), out = BUF_MAX(ANSWER_MAX);
    int code = CLI_USAGE;
    buf_add(&path, SV("/drover/v1/nodes/"));
    add_escaped(&path, sv_of(c->args[1]));
    buf_add(&path, SV("/directives"));
    if (make_body(c, &body))
        code = ask(c, SV("POST"), buf_sv(&path), SV_NULL, buf_sv(&body), &out);
    if (code == CLI_DONE)
        code = show_answer(c, &out);
    buf_deinit(&path);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

int node_cancel(struct cli *c) {
    struct buf path = path_to(c->args[1]), out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("DELETE"), buf_sv(&path), SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE)
        code = show_answer(c, &out);
    buf_deinit(&path);
    buf_deinit(&out);
    return code;
}

int node_orders(struct cli *c) {
    struct buf path = BUF_MAX(2048);
    buf_add(&path, SV("/drover/v1/nodes/"));
    add_escaped(&path, sv_of(c->args[1]));
    buf_add(&path, SV("/directives"));
    int code = show(c, buf_sv(&path), print_orders);
    buf_deinit(&path);
    return code;
}
