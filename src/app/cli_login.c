/* app/cli_login.c - `drover login`, `drover logout`, and `drover events`. */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "app/cli_verbs.h"
#include "app/login.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/url.h"

/* --- login -------------------------------------------------------------------------------------------------------- */

struct answer {
    struct buf body;
    char secret[128];
};

static void on_body(void *arg, struct sv bytes) {
    buf_add(&((struct answer *)arg)->body, bytes);
}

/* NAME=SECRET; ... */
static void on_cookie(void *arg, struct sv cookie) {
    struct answer *a = arg;
    struct sv name, value = cookie, first;
    if (sv_cut(&value, '=', &name) && (sv_cut(&value, ';', &first) || (first = value, true)))
        sv_to_cstr(first, a->secret, sizeof a->secret);
}

static int keep(const struct cli *c, const struct answer *a) {
    struct err e;
    const struct login l = { sv_of(c->user), sv_of(a->secret), sv_of(c->ca_file ? c->ca_file : "") };
    if (!login_write(sv_of(c->hub), &l, &e)) {
        fprintf(stderr, "drover: %s\n", e.text);
        return CLI_FAILED;
    }
    printf("signed in at %s as %s\n", c->hub, c->user);
    return CLI_DONE;
}

static int refused(const struct answer *a, int status) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&a->body));
    struct sv message = json_str(json_get(yyjson_doc_get_root(doc), "error"), "message");
    if (message.n)
        fprintf(stderr, "drover: %.*s\n", SV_FMT(message));
    else
        fprintf(stderr, "drover: what answers there (status %d) is no Drover\n", status);
    return status == 401 || status == 403 || status == 429 ? CLI_REFUSED : CLI_FAILED;
}

/* Encrypted, or not leaving this machine. */
static bool is_private(struct sv url) {
    struct url u;
    struct err e;
    return url_parse(url, &u, &e) && (u.scheme == URL_HTTPS || sv_starts(u.host, SV("127.")) || sv_eq(u.host, SV("::1")) || sv_eq_nocase(u.host, SV("localhost")));
}

int verb_login(struct cli *c) {
    char text[SECRET_LINE];
    struct buf body = BUF_MAX(16384);
    struct answer a = { .body = BUF_MAX(ANSWER_MAX) };
    struct err e;
    if (!c->hub || !c->user) {
        fprintf(stderr, "usage: drover login --hub URL --user NAME [--passphrase-file FILE] [--ca FILE]\n");
        return CLI_USAGE;
    }
    if (!is_private(sv_of(c->hub))) {
        fprintf(stderr, "drover: %s is not encrypted, and the passphrase would be read on its way; use https, or a tunnel to the machine itself\n", c->hub);
        return CLI_REFUSED;
    }
    if (!read_passphrase(c, "passphrase", false, text))
        return CLI_USAGE;
    buf_add(&body, SV("{\"name\":"));
    buf_add_json(&body, sv_of(c->user));
    buf_add(&body, SV(",\"passphrase\":"));
    buf_add_json(&body, sv_of(text));
    buf_add_char(&body, '}');
    sodium_memzero(text, sizeof text);
    const struct call_place at = { .url = sv_of(c->hub), .ca_file = c->ca_file };
    const struct call_what what = { .method = SV("POST"), .target = SV("/drover/v1/session"), .body = buf_sv(&body), .on_body = on_body, .on_cookie = on_cookie,
                                    .arg = &a };
    int status = call_hub(&at, &what, &e);
    int code = status == 0 ? unreachable(&at, &e) : status == 201 && a.secret[0] ? keep(c, &a) : refused(&a, status);
    sodium_memzero(body.p, body.n);
    sodium_memzero(a.secret, sizeof a.secret);
    buf_deinit(&body);
    buf_deinit(&a.body);
    return code;
}

int verb_logout(struct cli *c) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    struct err e;
    if (!c->hub) {
        fprintf(stderr, "usage: drover logout --hub URL\n");
        return CLI_USAGE;
    }
    int code = ask(c, SV("DELETE"), SV("/drover/v1/session"), SV_NULL, SV_NULL, &out);
    buf_deinit(&out);
    if (code != CLI_DONE && code != CLI_REFUSED) /* a session that has ended already is one that may be forgotten */
        return code;
    if (!login_write(sv_of(c->hub), NULL, &e)) {
        fprintf(stderr, "drover: %s\n", e.text);
        return CLI_FAILED;
    }
    printf("signed out at %s\n", c->hub);
    return CLI_DONE;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

struct follower {
    bool json, goes_on;
    uint64_t last; /* of the events there were when it began */
    int code;
};

static void print_event(yyjson_val *event) {
    char when[25];
    char *data = yyjson_val_write(json_get(event, "data"), 0, NULL);
    printf("%lld  %s  %-8.*s ", (long long)json_i64(event, "id", 0), clock_iso8601((uint64_t)json_i64(event, "at_ms", 0), when),
           SV_FMT(json_str(event, "topic")));
    put(sv_of(data ? data : ""), 0);
    putchar('\n');
    free(data);
}

static bool on_text(void *arg, struct sv text) {
    struct follower *f = arg;
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(text);
    yyjson_val *root = yyjson_doc_get_root(doc), *hello = json_get(root, "hello"), *event = json_get(root, "event"), *gap = json_get(root, "gap");
    if (hello)
        f->last = (uint64_t)json_i64(hello, "last", 0);
    else if (f->json)
        printf("%.*s\n", SV_FMT(text));
    else if (event)
        print_event(event);
    else if (gap)
        printf("-  events %lld to %lld are gone\n", (long long)json_i64(gap, "from", 0), (long long)json_i64(gap, "to", 0));
    else if (json_get(root, "bye"))
        fprintf(stderr, "drover: %.*s\n", SV_FMT(json_str(json_get(root, "bye"), "text")));
    fflush(stdout);
    if (json_get(root, "bye"))
        f->code = CLI_REFUSED;
    return f->goes_on || (f->last > 0 && !(event && (uint64_t)json_i64(event, "id", 0) >= f->last));
}

int verb_events(struct cli *c) {
    struct follower f = { .json = c->json, .goes_on = c->follow, .code = CLI_DONE };
    struct call_place at;
    struct arena a;
    struct err e;
    struct buf hello = BUF_MAX(256);
    uint64_t since = 0;
    if (c->since && !sv_to_u64(sv_of(c->since), &since)) {
        fprintf(stderr, "drover: --since takes the number of an event\n");
        return CLI_USAGE;
    }
    buf_printf(&hello, "{\"subscribe\":[\"events\"],\"since\":%llu}", (unsigned long long)since);
    arena_init(&a, 1 << 16, NULL);
    bool found = find_hub(c, &a, &at);
    int status = found ? call_follow(&at, buf_sv(&hello), on_text, &f, &e) : 0;
    int code = status == 101 ? f.code : status ? CLI_REFUSED : found ? unreachable(&at, &e) : CLI_FAILED;
    arena_deinit(&a);
    buf_deinit(&hello);
    return code;
}
