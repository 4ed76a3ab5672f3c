/* app/cli_user.c - `drover user` and `drover mode`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <sodium.h>

#include "app/cli_verbs.h"
#include "app/offline.h"
#include "base/clock.h"
#include "base/mem.h"

_Static_assert((int)SECRET_LINE == (int)PASSPHRASE_MOST + 2, "a line with its end");

/* --- passphrases -------------------------------------------------------------------------------------------------- */

static bool read_line(FILE *from, char text[static PASSPHRASE_MOST + 2]) {
    bool ok = fgets(text, PASSPHRASE_MOST + 2, from) != NULL;
    text[ok ? strcspn(text, "\r\n") : 0] = '\0';
    return ok;
}

/* Asks on the terminal, without showing what is typed. */
static bool prompt(const char *what, char text[static PASSPHRASE_MOST + 2]) {
    struct termios was, quiet;
    FILE *tty = fopen("/dev/tty", "r+");
    if (!tty)
        return false;
    bool ok = tcgetattr(fileno(tty), &was) == 0;
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    if (ok) {
        fprintf(tty, "%s: ", what);
        fflush(tty);
        tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
        ok = read_line(tty, text);
        tcsetattr(fileno(tty), TCSAFLUSH, &was);
        fputc('\n', tty);
    }
    fclose(tty);
    return ok;
}

FILE *open_secret(const char *path) {
    FILE *f = fopen(path, "re");
    struct stat st;
    if (!f) {
        fprintf(stderr, "drover: open %s: %s\n", path, strerror(errno));
    } else if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077)) {
        fprintf(stderr, "drover: others can read %s; chmod 600 it\n", path);
        fclose(f);
        return NULL;
    }
    return f;
}

bool read_passphrase(const struct cli *c, const char *what, bool twice, char text[static SECRET_LINE]) {
    char again[PASSPHRASE_MOST + 2] = "";
    if (!c->passphrase_file) {
        bool ok = prompt(what, text) && (!twice || prompt("once more", again));
        if (!ok)
            fprintf(stderr, "drover: no terminal to ask on; give --passphrase-file FILE (- for standard input)\n");
        else if (twice && strcmp(text, again) != 0)
            fprintf(stderr, "drover: the two differ\n");
        ok = ok && (!twice || strcmp(text, again) == 0);
        sodium_memzero(again, sizeof again);
        return ok;
    }
    bool is_stdin = strcmp(c->passphrase_file, "-") == 0;
    FILE *f = is_stdin ? stdin : open_secret(c->passphrase_file);
    if (!f)
        return false;
    bool ok = read_line(f, text);
    if (!ok)
        fprintf(stderr, "drover: %s holds no passphrase\n", c->passphrase_file);
    if (!is_stdin)
        fclose(f);
    return ok;
}

/* --- users -------------------------------------------------------------------------------------------------------- */

static void print_users(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "users"), *u;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    uint64_t now = clock_wall_ms();
    if (!table)
        return;
    table[0] = (struct table){ { SV("USER"), SV("ROLE"), SV("STATE"), SV("SEEN") } };
    yyjson_arr_foreach(list, i, n, u) {
        uint64_t seen = (uint64_t)json_i64(u, "seen_ms", 0);
        table[rows++] = (struct table){ { json_str(u, "name"), json_str(u, "role"), json_bool(u, "enabled", false) ? SV("may sign in") : SV("switched off"),
                                          seen ? fmt(a, "%.*s ago", SV_FMT(duration(a, now > seen ? now - seen : 0))) : SV("never") } };
    }
    if (rows == 1)
        printf("nobody yet: drover user add NAME --role admin\n");
    else
        print_table(table, rows, 4);
}

static void print_sessions(yyjson_val *v, struct arena *a) {
    yyjson_val *list = json_get(v, "sessions"), *s;
    size_t i, n, rows = 1;
    struct table *table = ARENA_ARRAY(a, struct table, yyjson_arr_size(list) + 1);
    uint64_t now = clock_wall_ms();
    if (!table)
        return;
    table[0] = (struct table){ { SV("SESSION"), SV("USER"), SV("FROM"), SV("BEGAN"), SV("USED"), SV("PROGRAM") } };
    yyjson_arr_foreach(list, i, n, s) {
        uint64_t began = (uint64_t)json_i64(s, "created_ms", 0), used = (uint64_t)json_i64(s, "used_ms", 0);
        table[rows++] = (struct table){ { json_str(s, "id"), json_str(s, "user"), json_str(s, "peer"),
                                          fmt(a, "%.*s ago", SV_FMT(duration(a, now > began ? now - began : 0))),
                                          fmt(a, "%.*s ago", SV_FMT(duration(a, now > used ? now - used : 0))), json_str(s, "agent") } };
    }
    if (rows == 1)
        printf("nobody is signed in\n");
    else
        print_table(table, rows, 6);
}

static struct buf path_of(const char *room, const char *name) {
    struct buf b = BUF_MAX(2048);
    buf_printf(&b, "/drover/v1/%s/", room);
    add_escaped(&b, sv_of(name));
    return b;
}

static void add_text(struct buf *out, const char *member, struct sv v) {
    buf_printf(out, "%s\"%s\":", out->p[out->n - 1] == '{' ? "" : ",", member);
    buf_add_json(out, v);
}

static int tell(const struct cli *c, int code, const struct buf *out, const char *text) {
    if (code == CLI_DONE && c->json)
        printf("%.*s", SV_FMT(buf_sv(out)));
    else if (code == CLI_DONE)
        printf("%s\n", text);
    return code;
}

/* Where no daemon answers, into its records themselves: it may not start before somebody is in charge. */
static int add_offline(const struct cli *c, const char *name, enum access_role role, struct sv passphrase) {
    struct err e;
    struct config *cfg = settings_of(c);
    if (!cfg)
        return CLI_FAILED;
    bool ok = offline_add_user(cfg, sv_of(name), role, passphrase, &e);
    config_unref(cfg);
    if (!ok) {
        fprintf(stderr, "drover: %s\n", e.text);
        return e.code == ERR_DENIED ? CLI_REFUSED : CLI_FAILED;
    }
    printf("added (no daemon runs; it is in the records)\n");
    return CLI_DONE;
}

static int user_add(struct cli *c) {
    char text[PASSPHRASE_MOST + 2];
    struct buf body = BUF_MAX(16384), out = BUF_MAX(ANSWER_MAX);
    enum access_role role;
    int code = CLI_USAGE;
    if (c->hub && !daemon_runs(c)) {
        fprintf(stderr, "drover: %s does not answer\n", c->hub);
        return CLI_UNREACHABLE;
    }
    if (!c->role || !access_role_read(sv_of(c->role), &role)) {
        fprintf(stderr, "drover: --role takes viewer, operator or admin\n");
        return code;
    }
    if (read_passphrase(c, "passphrase of the new user", true, text)) {
        buf_add_char(&body, '{');
        add_text(&body, "name", sv_of(c->args[1]));
        add_text(&body, "role", sv_of(c->role));
        add_text(&body, "passphrase", sv_of(text));
        buf_add_char(&body, '}');
        code = daemon_runs(c) ? tell(c, ask(c, SV("POST"), SV("/drover/v1/users"), SV_NULL, buf_sv(&body), &out), &out, "added")
                              : add_offline(c, c->args[1], role, sv_of(text));
    }
    sodium_memzero(text, sizeof text);
    sodium_memzero(body.p, body.n);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

/* The version of a user as it is now; negative, and said, when there is none. */
static int64_t version_of(const struct cli *c, const char *name, int *ret_code) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    int64_t version = -1;
    *ret_code = ask(c, SV("GET"), SV("/drover/v1/users"), SV_NULL, SV_NULL, &out);
    if (*ret_code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        yyjson_val *u;
        size_t i, n;
        yyjson_arr_foreach(json_get(yyjson_doc_get_root(doc), "users"), i, n, u)
            if (sv_eq(json_str(u, "name"), sv_of(name)))
                version = json_i64(u, "version", 0);
        if (version < 0) {
            fprintf(stderr, "drover: there is no user \"%s\"\n", name);
            *ret_code = CLI_NOT_FOUND;
        }
    }
    buf_deinit(&out);
    return version;
}

static int user_set(struct cli *c) {
    char text[PASSPHRASE_MOST + 2] = "", version[24];
    struct buf path = path_of("users", c->args[1]), body = BUF_MAX(16384), out = BUF_MAX(ANSWER_MAX);
    int code = CLI_USAGE;
    bool switched = c->enabled && (strcmp(c->enabled, "yes") == 0 || strcmp(c->enabled, "no") == 0);
    if (!c->role && !switched && !c->passphrase && !c->passphrase_file) {
        fprintf(stderr, "usage: drover user set NAME [--role viewer|operator|admin] [--enabled yes|no] [--passphrase | --passphrase-file FILE]\n");
    } else if ((!c->passphrase && !c->passphrase_file) || read_passphrase(c, "new passphrase", true, text)) {
        int64_t seen = version_of(c, c->args[1], &code);
        buf_add_char(&body, '{');
        if (c->role)
            add_text(&body, "role", sv_of(c->role));
        if (switched)
            buf_printf(&body, "%s\"enabled\":%s", body.n > 1 ? "," : "", strcmp(c->enabled, "yes") == 0 ? "true" : "false");
        if (text[0])
            add_text(&body, "passphrase", sv_of(text));
        buf_add_char(&body, '}');
        snprintf(version, sizeof version, "\"%lld\"", (long long)seen);
        if (seen >= 0)
            code = tell(c, ask(c, SV("PUT"), buf_sv(&path), sv_of(version), buf_sv(&body), &out), &out, "changed; sessions with the old rights have ended");
    }
    sodium_memzero(text, sizeof text);
    sodium_memzero(body.p, body.n);
    buf_deinit(&path);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

static int drop(struct cli *c, const char *room, const char *done) {
    struct buf path = path_of(room, c->args[1]), out = BUF_MAX(ANSWER_MAX);
    int code = tell(c, ask(c, SV("DELETE"), buf_sv(&path), SV_NULL, SV_NULL, &out), &out, done);
    buf_deinit(&path);
    buf_deinit(&out);
    return code;
}

static int user_rm(struct cli *c) {
    return drop(c, "users", "removed, and signed out everywhere");
}

static int user_end(struct cli *c) {
    return drop(c, "sessions", "ended");
}

/* The link that makes the first admin. */
static int user_setup(struct cli *c) {
    struct buf out = BUF_MAX(ANSWER_MAX), status = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("POST"), SV("/drover/v1/setup/token"), SV_NULL, SV_NULL, &out);
    if (code == CLI_DONE && c->json) {
        printf("%.*s", SV_FMT(buf_sv(&out)));
    } else if (code == CLI_DONE && (code = ask(c, SV("GET"), SV("/drover/v1/status"), SV_NULL, SV_NULL, &status)) == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out)), *about = json_parse(buf_sv(&status));
        struct sv at = json_sv(yyjson_arr_get_first(json_get(yyjson_doc_get_root(about), "listen")));
        printf("%.*s/console/#setup=%.*s\n", SV_FMT(at), SV_FMT(json_str(yyjson_doc_get_root(doc), "token")));
        fprintf(stderr, "Open it in a browser on this machine, once, within the hour: it makes the first admin.\n");
    }
    buf_deinit(&out);
    buf_deinit(&status);
    return code;
}

int verb_user(struct cli *c) {
    static const struct {
        const char *name;
        unsigned args;
        int (*run)(struct cli *c);
    } acts[] = { { "add", 2, user_add }, { "set", 2, user_set }, { "rm", 2, user_rm }, { "end", 2, user_end }, { "setup", 1, user_setup } };
    if (strcmp(c->args[0], "list") == 0 && c->n_args == 1)
        return show(c, SV("/drover/v1/users"), print_users);
    if (strcmp(c->args[0], "sessions") == 0 && c->n_args == 1)
        return show(c, SV("/drover/v1/sessions"), print_sessions);
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (strcmp(c->args[0], acts[i].name) == 0 && c->n_args == acts[i].args)
            return acts[i].run(c);
    fprintf(stderr, "usage: drover user list | sessions | setup | rm NAME | end SESSION\n"
                    "       drover user add NAME --role viewer|operator|admin [--passphrase-file FILE]\n"
                    "       drover user set NAME [--role ROLE] [--enabled yes|no] [--passphrase | --passphrase-file FILE]\n");
    return CLI_USAGE;
}

/* --- mode --------------------------------------------------------------------------------------------------------- */

static void print_mode(yyjson_val *v, struct arena *a) {
    uint64_t until = (uint64_t)json_i64(v, "until_ms", 0), now = clock_wall_ms();
    printf("%.*s", SV_FMT(json_str(v, "mode")));
    if (json_str(v, "by").n) {
        printf(", set by ");
        put(json_str(v, "by"), 0);
    }
    if (until > now)
        printf(", Live again in %.*s", SV_FMT(duration(a, until - now)));
    printf("%s\n", json_bool(v, "has_key", false) ? "" : "; there is no permission key (drover mode key)");
}

static int mode_key(struct cli *c) {
    char text[PASSPHRASE_MOST + 2];
    struct buf body = BUF_MAX(16384), out = BUF_MAX(ANSWER_MAX);
    int code = CLI_USAGE;
    if (read_passphrase(c, "permission key", true, text)) {
        buf_add_char(&body, '{');
        add_text(&body, "permission_key", sv_of(text));
        buf_add_char(&body, '}');
        code = tell(c, ask(c, SV("PUT"), SV("/drover/v1/mode/key"), SV_NULL, buf_sv(&body), &out), &out, "set");
    }
    sodium_memzero(text, sizeof text);
    sodium_memzero(body.p, body.n);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

int verb_mode(struct cli *c) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    const char *word = c->n_args ? c->args[0] : "";
    if (!c->n_args)
        return show(c, SV("/drover/v1/mode"), print_mode);
    if (strcmp(word, "key") == 0)
        return mode_key(c);
    if (strcmp(word, "live") != 0 && strcmp(word, "dev") != 0) {
        fprintf(stderr, "usage: drover mode [live | dev | key [--passphrase-file FILE]]\n");
        return CLI_USAGE;
    }
    bool live = strcmp(word, "live") == 0;
    int code = ask(c, SV("PUT"), SV("/drover/v1/mode"), SV_NULL, live ? SV("{\"mode\":\"live\"}") : SV("{\"mode\":\"dev\"}"), &out);
    CLEANUP(json_doc_freep) yyjson_doc *doc = code == CLI_DONE ? json_parse(buf_sv(&out)) : NULL;
    bool has_key = json_bool(yyjson_doc_get_root(doc), "has_key", false);
    tell(c, code, &out, !live ? "Dev: everything a role allows is open"
                     : has_key ? "Live: the console asks for the permission key before risky acts"
                               : "Live: the console refuses risky acts, as there is no permission key yet (drover mode key sets one)");
    buf_deinit(&out);
    return code;
}
