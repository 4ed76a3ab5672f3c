/* app/cli_join.c - `drover join` and `drover leave`. With a daemon running, it does the work and this tells how it goes; without one the
 * same code (hub/member.h) runs here on a loop of its own until there is an answer, and what it wrote is what the daemon begins with. */
#include <sodium.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "app/cli_verbs.h"
#include "app/daemon.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/client.h"
#include "hub/member.h"

enum { LOOK_MS = 300, WAIT_MS = 600000, HOPELESS_MS = 30000, LINE_MAX_ = PKI_INVITE_MAX + 2 };

/* How it stands, from the daemon's answer or from the member here. Views are borrowed. */
struct standing {
    struct sv state, error, fingerprint, hub, fleet, name, node_id;
    int64_t next_try_ms, models, endpoints;
};

struct progress {
    const struct cli *c;
    char state[16], error[ERR_TEXT_MAX]; /* as last told */
    uint64_t until_ms;                   /* monotonic */
    int code;
    /* without a daemon */
    struct loop loop;
    struct member *member;
    struct timer look;
};

static bool is(const struct standing *s, const char *state) {
    return sv_eq(s->state, sv_of(state));
}

static void say(const char *label, struct sv v) {
    printf("%s", label);
    put(v, 0);
    putchar('\n');
}

static void tell_end(const struct standing *s, bool linked) {
    say(linked ? "linked to the fleet " : "joined the fleet ", s->fleet);
    say("  as         ", s->name);
    say("  node       ", s->node_id);
    say("  hub        ", s->hub);
    if (linked)
        printf("  it sees    %lld model%s of %lld endpoint%s\n", (long long)s->models, s->models == 1 ? "" : "s",
               (long long)s->endpoints, s->endpoints == 1 ? "" : "s");
}

/* Says what is new; true: that was the end, with p->code. */
static bool tell(struct progress *p, const struct standing *s) {
    bool quiet = p->c->json;
    if (is(s, "linked") || is(s, "joined")) {
        if (!quiet)
            tell_end(s, is(s, "linked"));
        p->code = CLI_DONE;
        return true;
    }
    if (is(s, "off") || is(s, "stopped")) {
        fprintf(stderr, "drover: it was called off meanwhile (drover leave, or the daemon stops)\n");
        p->code = CLI_FAILED;
        return true;
    }
    if (is(s, "denied") || is(s, "broken")) {
        fprintf(stderr, "drover: %.*s\n", SV_FMT(s->error));
        p->code = is(s, "denied") ? CLI_REFUSED : CLI_FAILED;
        return true;
    }
    if (!sv_eq(s->state, sv_of(p->state)) && !quiet) {
        if (is(s, "waiting")) {
            printf("waiting for the hub's operator, who should see this fingerprint and say yes:\n");
            say("  ", s->fingerprint);
        } else if (is(s, "dialling") || is(s, "awaiting")) {
            say("joined the fleet ", s->fleet);
        }
    }
    if (s->error.n && !sv_eq(s->error, sv_of(p->error)))
        fprintf(stderr, "drover: %.*s\n", SV_FMT(s->error));
    fflush(stdout);
    (void)!sv_to_cstr(s->state, p->state, sizeof p->state);
    (void)!sv_to_cstr(sv_first(s->error, sizeof p->error - 1), p->error, sizeof p->error);
    if (s->error.n && s->next_try_ms > (int64_t)clock_wall_ms() + HOPELESS_MS) {
        fprintf(stderr, "        it is tried again in %lld s\n",
                (long long)(s->next_try_ms - (int64_t)clock_wall_ms()) / 1000);
        p->code = CLI_FAILED;
        return true;
    }
    if (clock_mono_us() / 1000 >= p->until_ms) {
        fprintf(stderr, "drover: no end yet; the daemon goes on: drover join --status\n");
        p->code = CLI_TIMED_OUT;
        return true;
    }
    return false;
}

/* --- with a daemon -------------------------------------------------------------------------------------------------------------------- */

static struct standing read_standing(yyjson_val *v) {
    return (struct standing){ json_str(v, "state"),       json_str(v, "error"),          json_str(v, "fingerprint"),
                              json_str(v, "hub"),         json_str(v, "fleet"),          json_str(v, "name"),
                              json_str(v, "node_id"),     json_i64(v, "next_try_ms", 0), json_i64(v, "models", 0),
                              json_i64(v, "endpoints", 0) };
}

static bool look(struct progress *p, struct buf *out) {
    buf_reset(out);
    p->code = ask(p->c, SV("GET"), SV("/drover/v1/join"), SV_NULL, SV_NULL, out);
    if (p->code != CLI_DONE)
        return true;
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(out));
    struct standing s = read_standing(yyjson_doc_get_root(doc));
    return tell(p, &s);
}

static int join_daemon(struct progress *p, struct sv body) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    int code = ask(p->c, SV("POST"), SV("/drover/v1/join"), SV_NULL, body, &out);
    if (code == CLI_DONE) {
        static const struct timespec pause = { 0, LOOK_MS * 1000000L };
        if (!p->c->json)
            printf("key made; asking the hub\n");
        fflush(stdout);
        while (!look(p, &out))
            nanosleep(&pause, NULL);
        code = p->code;
        if (p->c->json && out.n)
            printf("%.*s", SV_FMT(buf_sv(&out)));
    }
    buf_deinit(&out);
    return code;
}

/* --- without one ---------------------------------------------------------------------------------------------------------------------- */

static void on_look(void *arg) {
    struct progress *p = arg;
    struct member_facts f;
    member_facts(p->member, &f);
    const struct standing s = { sv_of(f.state), f.error,   sv_of(f.fingerprint),   f.hub,    f.fleet,
                                f.name,         f.node_id, (int64_t)f.next_try_ms, f.models, f.endpoints };
    if (tell(p, &s))
        uv_stop(&p->loop.uv);
    else
        timer_set(&p->loop, &p->look, LOOK_MS, on_look, p);
}

static int join_here(struct progress *p, struct sv line) {
    static const struct h1_limits head = { 0, 16384, 65536, 100, 256 };
    struct config *c = settings_of(p->c);
    struct http_client *client = NULL;
    struct err e = { 0 };
    p->code = CLI_FAILED;
    log_set_level(LOG_ERROR);
    if (c && loop_init(&p->loop, &e)) {
        client = http_client_new(&p->loop, &head, &e);
        const struct member_house house = { .loop = &p->loop, .client = client, .config = &c };
        p->member = client ? member_new(&house, &e) : NULL;
        if (p->member && member_join(p->member, line, sv_of(p->c->node_name), sv_of(p->c->join_mode), &e)) {
            if (!p->c->json)
                printf("key made; asking the hub (no daemon runs here)\n");
            fflush(stdout);
            timer_set(&p->loop, &p->look, LOOK_MS, on_look, p);
            loop_run(&p->loop);
            timer_stop(&p->loop, &p->look);
        } else {
            fprintf(stderr, "drover: %s\n", e.text);
        }
        member_free(p->member);
        http_client_free(client);
        loop_deinit(&p->loop);
    }
    config_unref(c);
    if (p->code == CLI_DONE && !p->c->and_serve)
        printf(p->c->json ? "{\"state\":\"joined\"}\n" : "the link comes about when the daemon runs: drover serve\n");
    return p->code;
}

/* --- verbs ---------------------------------------------------------------------------------------------------------------------------- */

static void print_status(yyjson_val *v, struct arena *a) {
    static const struct {
        const char *label, *name;
    } rows[] = { { "  fleet        ", "fleet" },       { "  name         ", "name" },
                 { "  node         ", "node_id" },     { "  hub          ", "hub" },
                 { "  called at    ", "called_at" },
                 { "  fingerprint  ", "fingerprint" }, { "  certificate  until ", "certificate_not_after" },
                 { "  last error   ", "error" } };
    uint64_t now = clock_wall_ms(), since = (uint64_t)json_i64(v, "since_ms", 0),
             next = (uint64_t)json_i64(v, "next_try_ms", 0);
    put(json_str(v, "state"), 0);
    printf(" for %.*s\n", SV_FMT(since && since <= now ? duration(a, now - since) : SV("-")));
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (json_str(v, rows[i].name).n)
            say(rows[i].label, json_str(v, rows[i].name));
    if (next > now)
        printf("  next try     in %.*s\n", SV_FMT(duration(a, next - now)));
    if (json_i64(v, "lanes", 0))
        printf("  link         %lld lane%s, %lld stream%s, round trip %.1f ms; told of %lld models\n",
               (long long)json_i64(v, "lanes", 0), json_i64(v, "lanes", 0) == 1 ? "" : "s",
               (long long)json_i64(v, "streams", 0), json_i64(v, "streams", 0) == 1 ? "" : "s",
               (double)json_i64(v, "rtt_us", 0) / 1000, (long long)json_i64(v, "models", 0));
}

/* A one-time token: on the command line it may be seen, from standard input not. */
static bool read_line(const struct cli *c, char line[static LINE_MAX_]) {
    if (!c->n_args)
        return false;
    if (strcmp(c->args[0], "-") != 0)
        return sv_to_cstr(sv_of(c->args[0]), line, LINE_MAX_);
    return fgets(line, LINE_MAX_, stdin) != NULL;
}

static int usage(void) {
    fprintf(stderr,
            "usage: drover join LINE | - [--name NAME] [--mode reverse|direct] [--serve]\n       drover join --status\n"
            "LINE is what drover hub invite printed at the hub; - reads it from standard input\n");
    return CLI_USAGE;
}

int verb_join(struct cli *c) {
    char line[LINE_MAX_] = "";
    struct progress p = { .c = c, .until_ms = clock_mono_us() / 1000 + WAIT_MS };
    struct buf body = BUF_MAX(16384);
    if (c->join_status)
        return c->n_args ? usage() : show(c, SV("/drover/v1/join"), print_status);
    if (c->hub) {
        fprintf(stderr, "drover: this is done on the machine itself, without --hub\n");
        return CLI_USAGE;
    }
    if (!read_line(c, line) || !sv_trim(sv_of(line)).n)
        return usage();
    struct sv text = sv_trim(sv_of(line));
    while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    bool runs = daemon_runs(c);
    buf_add(&body, SV("{\"line\":"));
    buf_add_json(&body, text);
    buf_add(&body, SV(",\"name\":"));
    buf_add_json(&body, sv_of(c->node_name));
    buf_add(&body, SV(",\"mode\":"));
    buf_add_json(&body, sv_of(c->join_mode));
    buf_add_char(&body, '}');
    int code = runs ? join_daemon(&p, buf_sv(&body)) : join_here(&p, text);
    sodium_memzero(line, sizeof line);
    sodium_memzero(body.p, body.n);
    buf_deinit(&body);
    if (code != CLI_DONE || !c->and_serve)
        return code;
    if (runs) {
        fprintf(stderr, "drover: the daemon runs already\n");
        return code;
    }
    log_set_level(LOG_INFO);
    const struct daemon_options o = { .source = source_of(c) };
    return daemon_run(&o);
}

static int leave_here(const struct cli *c) {
    struct config *cfg = settings_of(c);
    struct err e = { 0 };
    bool ok = cfg && member_leave_offline(cfg, &e);
    if (cfg && !ok)
        fprintf(stderr, "drover: %s\n", e.text);
    config_unref(cfg);
    return ok ? CLI_DONE : e.code == ERR_NOT_FOUND ? CLI_NOT_FOUND : CLI_FAILED;
}

int verb_leave(struct cli *c) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    int code =
        c->hub || daemon_runs(c) ? ask(c, SV("DELETE"), SV("/drover/v1/join"), SV_NULL, SV_NULL, &out) : leave_here(c);
    if (code == CLI_DONE)
        printf(c->json ? "{\"left\":true}\n" : "left the fleet; key, certificate and bearer are gone\n");
    buf_deinit(&out);
    return code;
}
