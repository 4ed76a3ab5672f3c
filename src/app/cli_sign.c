/* app/cli_sign.c - `drover cert init` and `drover cert serve`: the fleet's authority on a machine of its own (hub.ca: apart).
 *
 * The key stays here. `serve` asks the hub what waits, shows it, signs what a person says yes to, and brings the certificates. A request of
 * somebody who was signed for before is a renewal, as this machine's own list says: that is what --yes is for. What the hub says of a request
 * decides nothing but the words: for a node only a client's certificate is signed, and whose it is stands on the screen. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "app/cli_verbs.h"
#include "base/clock.h"
#include "pki/pki.h"

enum { LOOK_S = 5, LIFE_MOST_S = 90 * PKI_DAY_S, LIST_MAX = 4 << 20, PATH_MOST = 4096, FAULTS_MOST = 12 };

static int64_t now_s(void) {
    return (int64_t)(clock_wall_ms() / 1000);
}

static int failed(const struct err *e) {
    fprintf(stderr, "drover: %s\n", e->text);
    return CLI_FAILED;
}

/* --- the authority ---------------------------------------------------------------------------------------------------- */

int cert_init(struct cli *c) {
    const struct cert_options *o = &c->cert;
    char name[PKI_CA_NAME_MAX + 1], secret[SECRET_LINE] = "", pin[PKI_PIN_TEXT + 1];
    struct err e;
    if (!o->fleet || !o->dir) {
        fprintf(stderr, "usage: drover cert init --fleet NAME --dir DIR [--passphrase]\n");
        return CLI_USAGE;
    }
    if (pki_ca_newest(o->dir, name, &e)) {
        fprintf(stderr, "drover: there is an authority in %s already, %s\n", o->dir, name);
        return CLI_REFUSED;
    }
    if ((c->passphrase || c->passphrase_file) && !read_passphrase(c, "Passphrase of the key", true, secret))
        return CLI_FAILED;
    struct pki_ca *ca = NULL;
    if (pki_ca_next(o->dir, now_s(), name, &e)) {
        const struct pki_ca_wish wish = {
            .name = name, .fleet = sv_of(o->fleet), .type = PKI_P256, .passphrase = sv_of(secret), .now_s = now_s()
        };
        ca = pki_ca_make(o->dir, &wish, &e);
    }
    sodium_memzero(secret, sizeof secret);
    if (!ca)
        return failed(&e);
    pki_pin_print(pki_ca_cert(ca)->is.spki, pin);
    printf("The authority of the fleet %s is in %s; its key never leaves this machine.\nIts pin is %s.\n\n"
           "On the hub: set hub.ca to apart, and copy %s/fleet/%s.crt to data_dir/pki/fleet/. Then here: drover cert "
           "serve --dir %s --hub URL\n",
           o->fleet, o->dir, pin, o->dir, name, o->dir);
    pki_ca_free(ca);
    return CLI_DONE;
}

static struct pki_ca *load_ca(struct cli *c) {
    char name[PKI_CA_NAME_MAX + 1], secret[SECRET_LINE] = "";
    struct err e;
    struct pki_ca *ca = pki_ca_newest(c->cert.dir, name, &e) ? pki_ca_load(c->cert.dir, name, SV_NULL, &e) : NULL;
    if (!ca && e.code == ERR_LOCKED && read_passphrase(c, "Passphrase of the key", false, secret))
        ca = pki_ca_load(c->cert.dir, name, sv_of(secret), &e);
    sodium_memzero(secret, sizeof secret);
    if (!ca)
        failed(&e);
    return ca;
}

/* --- whom it has signed for ------------------------------------------------------------------------------------------- */

static bool list_path(const struct cli *c, char path[static PATH_MOST]) {
    return (size_t)snprintf(path, PATH_MOST, "%s/signed", c->cert.dir) < PATH_MOST;
}

static bool was_signed(const struct cli *c, const char *uri) {
    char path[PATH_MOST], line[PKI_URI_MAX + 2];
    bool found = false;
    FILE *f = list_path(c, path) ? fopen(path, "re") : NULL;
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        found = strcmp(line, uri) == 0;
    }
    if (f)
        fclose(f);
    return found;
}

static void note(const struct cli *c, const char *uri) {
    char path[PATH_MOST];
    umask(077);
    FILE *f = list_path(c, path) ? fopen(path, "ae") : NULL;
    bool ok = f && fprintf(f, "%s\n", uri) > 0;
    ok = f && fclose(f) == 0 && ok;
    if (!ok)
        fprintf(stderr, "drover: %s could not be written: the next request of %s will be asked about again\n", path,
                uri);
}

/* --- one request ------------------------------------------------------------------------------------------------------ */

static void show_request(yyjson_val *q, const char *uri, bool is_renewal) {
    yyjson_val *it;
    size_t i, n;
    printf("%s for %s\n  name        ", is_renewal ? "a renewal" : "a FIRST certificate", uri);
    put(json_str(q, "name"), 0);
    printf("\n  fingerprint sha256:");
    put(json_str(q, "fingerprint"), 0);
    printf("\n  from        ");
    put(json_str(q, "peer"), 0);
    putchar('\n');
    yyjson_arr_foreach(json_get(q, "names"), i, n, it) {
        printf(i ? ", " : "  reached as  ");
        put(json_sv(it), 0);
    }
    if (n)
        putchar('\n');
    fflush(stdout);
}

static bool says_yes(const struct cli *c, bool is_renewal) {
    char typed[16] = "";
    if (c->yes && is_renewal)
        return true;
    FILE *tty = fopen("/dev/tty", "r+e");
    if (!tty) {
        fprintf(stderr, "drover: not signed: no terminal to ask on, and --yes is for renewals alone\n");
        return false;
    }
    fprintf(tty, "Sign it? Type yes: ");
    fflush(tty);
    bool ok = fgets(typed, sizeof typed, tty) && strcmp(typed, "yes\n") == 0;
    fclose(tty);
    return ok;
}

/* The key in the request is the one whose fingerprint was shown. */
static bool is_key_of(yyjson_val *q, struct err *e) {
    unsigned char pin[TLS_PIN];
    char text[65];
    if (!pki_csr_pin(json_str(q, "csr"), pin, e))
        return false;
    sodium_bin2hex(text, sizeof text, pin, sizeof pin);
    return sv_eq(json_str(q, "fingerprint"), sv_of(text)) ||
           err_set(e, ERR_BAD_REPLY, "the hub shows another fingerprint than the request has");
}

static bool sign(struct pki_ca *ca, yyjson_val *q, const struct pki_identity *who, int64_t life_s,
                 struct buf *ret_chain, struct err *e) {
    struct sv names[PKI_NAMES_MAX];
    unsigned n_names = 0;
    yyjson_val *it;
    size_t i, n;
    struct pki_cert cert;
    yyjson_arr_foreach(json_get(q, "names"), i, n, it) if (n_names < PKI_NAMES_MAX) names[n_names++] = json_sv(it);
    const struct pki_wish wish = { .who = *who,
                                   .usage = who->role == PKI_HUB ? PKI_USE_SERVER | PKI_USE_CLIENT : PKI_USE_CLIENT,
                                   .names = names,
                                   .n_names = who->role == PKI_HUB ? n_names : 0,
                                   .csr_pem = json_str(q, "csr"),
                                   .now_s = now_s(),
                                   .life_s = life_s > LIFE_MOST_S ? LIFE_MOST_S : life_s };
    return pki_issue(ca, &wish, ret_chain, &cert, e);
}

static int bring(const struct cli *c, struct sv id, struct sv chain) {
    struct buf path = BUF_MAX(256), body = BUF_MAX(2 * PKI_PEM_MAX), out = BUF_MAX(ANSWER_MAX);
    buf_add(&path, SV("/drover/v1/certs/inbox/"));
    add_escaped(&path, id);
    buf_add(&body, SV("{\"chain\":"));
    buf_add_json(&body, chain);
    buf_add_char(&body, '}');
    int code = ask(c, SV("POST"), buf_sv(&path), SV_NULL, buf_sv(&body), &out);
    buf_deinit(&path);
    buf_deinit(&body);
    buf_deinit(&out);
    return code;
}

/* Requests a person said no to, so that they are not asked about again. */
struct refused {
    char ids[64][17];
    unsigned n;
};

static bool is_refused(const struct refused *r, struct sv id) {
    for (unsigned i = 0; i < r->n && i < 64; i++)
        if (sv_eq(sv_of(r->ids[i]), id))
            return true;
    return false;
}

static int one_request(struct cli *c, struct pki_ca *ca, yyjson_val *inbox, yyjson_val *q, struct refused *no) {
    struct sv node = json_str(q, "node"), id = json_str(q, "id");
    struct pki_identity who;
    struct buf chain = BUF_MAX(PKI_PEM_MAX);
    struct err e;
    char uri[PKI_URI_MAX + 1];
    int code = CLI_FAILED;
    if (!pki_identity_set(&who, node.n ? PKI_NODE : PKI_HUB, sv_of(pki_ca_fleet(ca)),
                          node.n ? node : json_str(inbox, "hub_id")) ||
        !is_key_of(q, &e)) {
        fprintf(stderr, "drover: a request from the hub is damaged; it is left alone\n");
        (void)!sv_to_cstr(id, no->ids[no->n++ % 64], sizeof no->ids[0]);
        return CLI_DONE;
    }
    pki_identity_print(&who, uri);
    bool is_renewal = was_signed(c, uri);
    show_request(q, uri, is_renewal);
    if (!says_yes(c, is_renewal)) {
        (void)!sv_to_cstr(id, no->ids[no->n++ % 64], sizeof no->ids[0]);
        return CLI_DONE;
    }
    if (!sign(ca, q, &who, json_i64(inbox, "life_s", 0), &chain, &e)) {
        failed(&e);
    } else {
        code = bring(c, id, buf_sv(&chain));
        if (code == CLI_DONE) {
            printf("  signed\n");
            if (!is_renewal)
                note(c, uri);
        }
    }
    fflush(stdout);
    buf_deinit(&chain);
    return code;
}

static int look(struct cli *c, struct pki_ca *ca, struct refused *no) {
    struct buf out = BUF_MAX(ANSWER_MAX);
    int code = ask(c, SV("GET"), SV("/drover/v1/certs/inbox"), SV_NULL, SV_NULL, &out);
    CLEANUP(json_doc_freep) yyjson_doc *doc = code == CLI_DONE ? json_parse(buf_sv(&out)) : NULL;
    yyjson_val *inbox = yyjson_doc_get_root(doc), *it;
    size_t i, n;
    buf_deinit(&out);
    if (doc && !json_bool(inbox, "apart", false)) {
        fprintf(stderr, "drover: that hub signs by itself (hub.ca is not apart)\n");
        return CLI_REFUSED;
    }
    if (doc && !sv_eq(json_str(inbox, "fleet"), sv_of(pki_ca_fleet(ca)))) {
        fprintf(stderr, "drover: that hub is of another fleet than the authority in %s\n", c->cert.dir);
        return CLI_REFUSED;
    }
    yyjson_arr_foreach(json_get(inbox, "requests"), i, n,
                       it) if (code == CLI_DONE && !is_refused(no, json_str(it, "id"))) code =
        one_request(c, ca, inbox, it, no);
    return code;
}

int cert_serve(struct cli *c) {
    struct refused no = { .n = 0 };
    int code = CLI_DONE;
    unsigned faults = 0;
    if (!c->cert.dir) {
        fprintf(stderr, "usage: drover cert serve --dir DIR [--hub URL] [--yes] [--once]\n");
        return CLI_USAGE;
    }
    struct pki_ca *ca = load_ca(c);
    if (!ca)
        return CLI_FAILED;
    do {
        code = look(c, ca, &no);
        faults = code == CLI_DONE ? 0 : faults + 1;
        if (code == CLI_REFUSED || c->cert.once)
            break;
        sleep(LOOK_S);
    } while (faults < FAULTS_MOST); /* a hub that restarts is waited for */
    pki_ca_free(ca);
    return code;
}
