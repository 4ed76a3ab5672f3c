/* app/cli_verbs.h - private to the command line: what its verbs share. */
#ifndef DROVER_APP_CLI_VERBS_H
#define DROVER_APP_CLI_VERBS_H

#include <stdio.h>

#include "app/call.h"
#include "app/cli.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "config/config.h"

enum { OVERRIDES_MAX = 64, ARGS_MAX = 8, ANSWER_MAX = 64 << 20, KEY_OPTIONS = 16, REQUEST_OPTIONS = 7 };

struct cert_options {
    bool issued, all, own, emergency, back, force, watch, chain, crl, once;
    const char *node, *skip, *dir, *fleet;
};

struct cli {
    const char *config_path;
    const char *overrides[OVERRIDES_MAX + 1];
    unsigned n_overrides;
    bool json, follow, demo_if_empty;
    const char *lines, *api, *by, *days;
    bool csv, check, plain;
    const char *key_file;
    const char *overlap;
    const char *role, *enabled, *passphrase_file;
    const char *hub, *ca_file, *user, *since;
    bool passphrase, yes, wait;
    const char *name, *node, *ttl;
    struct cert_options cert;
    bool join_status, and_serve;
    const char *node_name, *join_mode;
    char **launch; /* the program and its arguments, to the end of argv */
    const char *key[KEY_OPTIONS]; /* values of cli_key.c's options, by their row; NULL: not given */
    const char *where[REQUEST_OPTIONS]; /* the same of cli_requests.c's */
    const char *args[ARGS_MAX];
    unsigned n_args;
};

/* One cell, with control, escape and bidirectional characters made visible; padded to width and two blanks unless it is 0. */
int put(struct sv v, int width);
struct table {
    struct sv cells[8];
};
/* Rows of n cells; the first row is the head. */
void print_table(const struct table *rows, size_t n_rows, int n);
struct sv fmt(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct sv dash(struct sv v);
struct sv duration(struct arena *a, uint64_t ms);

/* Asks the daemon; on success the answer is in out. Faults are printed. version: what If-Match shall say; empty: nothing. Returns an
 * exit code. */
int ask(const struct cli *c, struct sv method, struct sv target, struct sv version, struct sv body, struct buf *out);
/* Gets, and prints as JSON or by print. */
int show(const struct cli *c, struct sv target, void (*print)(yyjson_val *root, struct arena *a));
/* For paths and queries: everything but unreserved characters is escaped. */
void add_escaped(struct buf *b, struct sv v);

/* "--name VALUE" or "--name=VALUE" at argv[*i]. */
bool option(const char *arg, const char *name, int argc, char **argv, int *i, const char **ret_value, bool *ret_bad);

/* Where --config and --set say that settings come from; borrows c. */
struct config_source source_of(const struct cli *c);
/* The settings that --config and --set make, with a complaint on standard error when they are none; owned (config_unref). */
struct config *settings_of(const struct cli *c);
/* Where the daemon is: at --hub, else on the socket of these settings. Lives in a. False, and said, when that is nowhere. */
bool find_hub(const struct cli *c, struct arena *a, struct call_place *ret);
/* Whether a daemon answers there. */
bool daemon_runs(const struct cli *c);
/* What to say, and which exit code, when nobody answered. */
int unreachable(const struct call_place *at, const struct err *e);
/* Opens a file that holds a secret; the caller closes it. NULL, and said, when it cannot be read, or when others can. */
FILE *open_secret(const char *path);
/* From --passphrase-file, else asked for twice. False, and said, when there is none. */
enum { SECRET_LINE = 1026 };
bool read_passphrase(const struct cli *c, const char *what, bool twice, char text[static SECRET_LINE]);

/* cli_user.c */
int verb_user(struct cli *c);
int verb_mode(struct cli *c);
/* cli_login.c */
int verb_login(struct cli *c);
int verb_logout(struct cli *c);
int verb_events(struct cli *c);
/* cli_key.c */
bool key_option(const char *values[static KEY_OPTIONS], int argc, char **argv, int *i, bool *ret_bad);
int verb_key(struct cli *c);
int verb_audit(struct cli *c);
/* cli_cert.c */
bool cert_option(struct cert_options *o, int argc, char **argv, int *i, bool *ret_bad);
int verb_cert(struct cli *c);
/* cli_sign.c */
int cert_init(struct cli *c);
int cert_serve(struct cli *c);
/* cli_hub.c */
int verb_hub(struct cli *c);
int verb_doctor(struct cli *c);
/* Findings of a doctor with their cures; CLI_FAILED when one is an error. */
int show_findings(struct cli *c, struct sv path);
/* "2026-11-21T05:06:07.089Z, in 3h". */
struct sv moment(struct arena *a, int64_t ms);
/* cli_endpoint.c */
int verb_endpoints(struct cli *c);
int verb_endpoint(struct cli *c);
/* cli_node.c */
int verb_node(struct cli *c);
/* cli_order.c */
int node_order(struct cli *c);
int node_orders(struct cli *c);
int node_cancel(struct cli *c);
/* cli_env.c */
int verb_env(struct cli *c);
int verb_launch(struct cli *c);
int completion_print(const char *shell, const char *verbs);
/* cli_config.c */
int verb_config(struct cli *c);
/* cli_backup.c */
int verb_backup(struct cli *c);
/* cli_join.c */
int verb_join(struct cli *c);
int verb_leave(struct cli *c);
/* cli_usage.c */
int verb_usage(struct cli *c);
void csv_cell(struct sv v);
/* cli_requests.c */
bool requests_option(const char *values[static REQUEST_OPTIONS], int argc, char **argv, int *i, bool *ret_bad);
int verb_requests(struct cli *c);

#endif
