/* app/cli_env.c - `drover env`, `drover launch` and `drover completion`: getting other programs, and the shell, to use Drover. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/cli_verbs.h"
#include "base/mem.h"

/* --- variables ---------------------------------------------------------------------------------------------------- */

/* What the clients of each vendor read. */
static const struct {
    const char *name, *after;
    bool is_key, no_scheme;
} variables[] = {
    { "OPENAI_BASE_URL", "/v1", false, false },
    { "OPENAI_API_BASE", "/v1", false, false }, /* aider, LiteLLM and older ones */
    { "OPENAI_API_KEY", "", true, false },
    { "ANTHROPIC_BASE_URL", "", false, false },
    { "ANTHROPIC_API_KEY", "", true, false },
    { "OLLAMA_HOST", "", false, true },
};
enum { VARIABLES = sizeof variables / sizeof variables[0] };

/* The first address that is no UNIX socket; with what listens on all addresses, this machine's. In the arena. */
static struct sv address_of(yyjson_val *status, struct arena *a) {
    yyjson_val *one;
    size_t i, n;
    yyjson_arr_foreach(json_get(status, "listen"), i, n, one) {
        struct sv v = json_sv(one), any = SV("//0.0.0.0:");
        ptrdiff_t at = sv_find(v, any);
        if (at >= 0)
            return fmt(a, "%.*s//127.0.0.1:%.*s", (int)at, v.p, SV_FMT(sv_from(v, (size_t)at + any.n)));
        if (sv_starts(v, SV("http")))
            return arena_sv(a, v);
    }
    return SV_NULL;
}

/* From --key-file or DROVER_API_KEY; SDKs insist on some key even where none is asked for. */
static bool read_key(const struct cli *c, char *key, size_t size) {
    const char *given = getenv("DROVER_API_KEY");
    snprintf(key, size, "%s", given && *given ? given : "unused");
    if (!c->key_file)
        return true;
    FILE *f = open_secret(c->key_file);
    if (!f)
        return false;
    bool ok = fgets(key, (int)size, f) != NULL;
    fclose(f);
    if (!ok)
        fprintf(stderr, "drover: %s holds no key\n", c->key_file);
    key[strcspn(key, "\r\n")] = '\0';
    return ok;
}

/* Calls set(name, value) for each. Returns an exit code. */
static int each_variable(const struct cli *c, void (*set)(const char *name, const char *value)) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    char key[512];
    struct arena a;
    if (!read_key(c, key, sizeof key))
        return CLI_FAILED;
    int code = ask(c, SV("GET"), SV("/drover/v1/status"), SV_NULL, SV_NULL, &out);
    arena_init(&a, 1 << 20, NULL);
    if (code == CLI_DONE) {
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&out));
        struct sv address = address_of(yyjson_doc_get_root(doc), &a);
        if (!address.n) {
            fprintf(stderr, "drover: the daemon listens on no address that clients could be pointed at\n");
            code = CLI_FAILED;
        }
        for (int i = 0; address.n && i < VARIABLES; i++) {
            ptrdiff_t at = variables[i].no_scheme ? sv_find(address, SV("//")) + 2 : 0;
            struct sv shown = sv_starts(address, SV("https")) ? address : sv_from(address, (size_t)at);
            char value[600];
            snprintf(value, sizeof value, "%.*s%s", SV_FMT(shown), variables[i].after);
            set(variables[i].name, variables[i].is_key ? key : value);
        }
    }
    arena_deinit(&a);
    buf_deinit(&out);
    return code;
}

/* In single quotes, as every POSIX shell reads it. */
static void print_export(const char *name, const char *value) {
    printf("export %s='", name);
    for (; *value; value++)
        if (*value == '\'')
            printf("'\\''");
        else
            putchar(*value);
    printf("'\n");
}

static void print_plain(const char *name, const char *value) {
    printf("%s=%s\n", name, value);
}

static void set_it(const char *name, const char *value) {
    setenv(name, value, 1);
}

int verb_env(struct cli *c) {
    return each_variable(c, c->plain ? print_plain : print_export);
}

int verb_launch(struct cli *c) {
    int code = each_variable(c, set_it);
    if (code != CLI_DONE)
        return code;
    execvp(c->launch[0], c->launch);
    fprintf(stderr, "drover: start %s: %s\n", c->launch[0], strerror(errno));
    return errno == ENOENT ? CLI_NOT_FOUND : CLI_FAILED;
}

/* --- completion --------------------------------------------------------------------------------------------------- */

static const char *const words[][2] = {
    { "endpoint", "list add set rm test help --key-file" },
    { "key", "list add show set rotate revoke help" },
    { "audit", "list verify" },
    { "cert", "show rotate rotate-ca export --issued --node --all --own --emergency --back --skip --force --watch --trust --chain --crl init serve --fleet --dir --yes --once" },
    { "hub", "invite status invites void --name --node --ttl" },
    { "node", "ls show history doctor approve refuse rename label drain resume order orders cancel revoke rm --wait --yes" },
    { "config", "check show set unset" },
    { "completion", "bash zsh fish" },
    { "usage", "--by --days --csv" },
    { "requests", "--key --model --endpoint --status --result --from --to -n --csv" },
    { "logs", "-f -n" },
    { "backup", "--check" },
};
enum { WORDS = sizeof words / sizeof words[0] };

static void bash(const char *verbs) {
    printf("_drover() {\n  local words\n  if [ \"$COMP_CWORD\" -eq 1 ]; then words='%s'; else\n    case ${COMP_WORDS[1]} in\n", verbs);
    for (int i = 0; i < WORDS; i++)
        printf("    %s) words='%s' ;;\n", words[i][0], words[i][1]);
    printf("    *) words='--config --json --set' ;;\n    esac\n  fi\n"
           "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _drover drover\n");
}

static void zsh(const char *verbs) {
    printf("#compdef drover\n_drover() {\n  if (( CURRENT == 2 )); then compadd -- %s; return; fi\n  case ${words[2]} in\n", verbs);
    for (int i = 0; i < WORDS; i++)
        printf("  %s) compadd -- %s ;;\n", words[i][0], words[i][1]);
    printf("  *) compadd -- --config --json --set ;;\n  esac\n  _files\n}\ncompdef _drover drover\n");
}

static void fish(const char *verbs) {
    printf("complete -c drover -n __fish_use_subcommand -f -a '%s'\n", verbs);
    for (int i = 0; i < WORDS; i++)
        printf("complete -c drover -n '__fish_seen_subcommand_from %s' -a '%s'\n", words[i][0], words[i][1]);
    printf("complete -c drover -l config -r -d 'configuration file'\ncomplete -c drover -l json -d 'print JSON'\n");
}

int completion_print(const char *shell, const char *verbs) {
    static const struct {
        const char *name, *cure;
        void (*print)(const char *verbs);
    } shells[] = {
        { "bash", "drover completion bash > ~/.local/share/bash-completion/completions/drover", bash },
        { "zsh", "drover completion zsh > a directory of $fpath, as _drover", zsh },
        { "fish", "drover completion fish > ~/.config/fish/completions/drover.fish", fish },
    };
    for (int i = 0; i < 3; i++) {
        if (strcmp(shell, shells[i].name) != 0)
            continue;
        shells[i].print(verbs);
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "To install it: %s\n", shells[i].cure);
        return CLI_DONE;
    }
    fprintf(stderr, "usage: drover completion bash | zsh | fish\n");
    return CLI_USAGE;
}
