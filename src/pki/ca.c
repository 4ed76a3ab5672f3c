/* The fleet's authority: its root, and the one place that reads, uses and wipes its key.
 *
 * <dir>/fleet/ca-2026-1.key and .crt. The key is written first: a key without a certificate has signed nothing and may be made
 * anew, while a certificate without its key could only be looked at. */
#include <dirent.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "pki/room.h"

struct pki_ca {
    EVP_PKEY *key;
    X509 *root;
    char name[PKI_CA_NAME_MAX + 1], fleet[PKI_FLEET_MAX + 1];
    struct buf pem; /* of the root */
    struct pki_cert cert;
};

const char *pki_ca_name(const struct pki_ca *ca) {
    return ca->name;
}

const char *pki_ca_fleet(const struct pki_ca *ca) {
    return ca->fleet;
}

struct sv pki_ca_pem(const struct pki_ca *ca) {
    return buf_sv(&ca->pem);
}

const struct pki_cert *pki_ca_cert(const struct pki_ca *ca) {
    return &ca->cert;
}

X509 *pki__ca_root(const struct pki_ca *ca) {
    return ca->root;
}

struct pki_ca *pki_ca_free(struct pki_ca *ca) {
    if (ca) {
        EVP_PKEY_free(ca->key);
        X509_free(ca->root);
        buf_deinit(&ca->pem);
        mem_free(ca);
    }
    return NULL;
}

static bool has_key(const struct pki_ca *ca, struct err *e) {
    return ca->key || err_set(e, ERR_UNAVAILABLE, "the key of the authority %s lies on another machine", ca->name);
}

bool pki__ca_sign(struct pki_ca *ca, X509 *leaf, struct err *e) {
    if (!has_key(ca, e))
        return false;
    return X509_sign(leaf, ca->key, pki__digest(ca->key)) > 0 || pki__fault(e, ERR_INTERNAL, "sign a certificate");
}

bool pki__ca_sign_crl(const struct pki_ca *ca, X509_CRL *crl, struct err *e) {
    return has_key(ca, e) && (X509_CRL_sign(crl, ca->key, pki__digest(ca->key)) > 0 || pki__fault(e, ERR_INTERNAL, "sign a list of revoked certificates"));
}

bool pki__ca_sign_bytes(const struct pki_ca *ca, struct sv bytes, struct buf *ret_signature, struct err *e) {
    if (!has_key(ca, e))
        return false;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    size_t n = (size_t)EVP_PKEY_get_size(ca->key);
    unsigned char *to = (unsigned char *)buf_reserve(ret_signature, n);
    bool ok = c && to && EVP_DigestSignInit(c, NULL, pki__digest(ca->key), NULL, ca->key) == 1 &&
              EVP_DigestSign(c, to, &n, (const unsigned char *)bytes.p, bytes.n) == 1;
    EVP_MD_CTX_free(c);
    if (ok)
        buf_added(ret_signature, n);
    return ok || pki__fault(e, ERR_INTERNAL, "sign a bundle");
}

/* --- names ------------------------------------------------------------------------------------------------------------- */

/* "ca-2026-1": digits without leading zeros, as pki_ca_next prints them. */
static bool name_read(struct sv name, unsigned *ret_year, unsigned *ret_n) {
    struct sv year;
    uint64_t y, n;
    if (name.n > PKI_CA_NAME_MAX || !sv_starts(name, SV("ca-")))
        return false;
    name = sv_from(name, 3);
    if (!sv_cut(&name, '-', &year) || year.n != 4 || year.p[0] == '0' || !sv_to_u64(year, &y) || name.n > 4 || !name.n ||
        name.p[0] == '0' || !sv_to_u64(name, &n))
        return false;
    *ret_year = (unsigned)y;
    *ret_n = (unsigned)n;
    return true;
}

static bool has_file(const char *dir, const char *name, const char *end) {
    char path[PKI_PATH];
    struct stat st;
    return (size_t)snprintf(path, sizeof path, "%s/%s%s", dir, name, end) < sizeof path && lstat(path, &st) == 0;
}

/* Over all files of authorities: the newest year, and its highest number. With complete only those with key and root. */
static bool newest(const char *dir, bool complete, unsigned *ret_year, unsigned *ret_n, struct err *e) {
    char fleet[PKI_PATH], name[PKI_CA_NAME_MAX + 1];
    *ret_year = *ret_n = 0;
    if (!pki__path(fleet, dir, "fleet", e))
        return false;
    DIR *d = opendir(fleet);
    if (!d)
        return errno == ENOENT || err_set(e, ERR_STORE, "open %s: %s", fleet, strerror(errno));
    for (struct dirent *it; (it = readdir(d));) {
        struct sv file = sv_of(it->d_name);
        unsigned year, n;
        ptrdiff_t dot = sv_rfind_char(file, '.');
        if (dot < 0 || !name_read(sv_first(file, (size_t)dot), &year, &n) || !sv_to_cstr(sv_first(file, (size_t)dot), name, sizeof name))
            continue;
        if (complete && !(has_file(fleet, name, ".key") && has_file(fleet, name, ".crt")))
            continue;
        if (year > *ret_year || (year == *ret_year && n > *ret_n)) {
            *ret_year = year;
            *ret_n = n;
        }
    }
    closedir(d);
    return true;
}

bool pki_ca_next(const char *dir, int64_t now_s, char name[static PKI_CA_NAME_MAX + 1], struct err *e) {
    unsigned year, n;
    time_t now = (time_t)now_s;
    struct tm tm;
    if (!newest(dir, false, &year, &n, e))
        return false;
    unsigned this_year = gmtime_r(&now, &tm) ? (unsigned)tm.tm_year + 1900u : 0;
    if (this_year < 1970 || this_year > 9999 || n >= 9999)
        return err_set(e, ERR_CONFIG, "no name is left for another authority in the year %u", this_year);
    if (this_year > year) {
        year = this_year;
        n = 0;
    }
    snprintf(name, PKI_CA_NAME_MAX + 1, "ca-%u-%u", year % 10000, (n + 1) % 10000);
    return true;
}

bool pki_ca_newest(const char *dir, char name[static PKI_CA_NAME_MAX + 1], struct err *e) {
    unsigned year, n;
    if (!newest(dir, true, &year, &n, e))
        return false;
    if (year == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no authority under %s/fleet", dir);
    snprintf(name, PKI_CA_NAME_MAX + 1, "ca-%u-%u", year % 10000, n % 10000);
    return true;
}

/* --- making and loading ------------------------------------------------------------------------------------------------- */

static struct pki_ca *ca_new(struct sv name, struct err *e) {
    unsigned year, n;
    if (!name_read(name, &year, &n)) {
        err_set(e, ERR_CONFIG, "%.*s is no name of an authority, as ca-2026-1 is", SV_FMT(name));
        return NULL;
    }
    struct pki_ca *ca = mem_new(sizeof *ca);
    if (!ca) {
        err_no_memory(e);
        return NULL;
    }
    memcpy(ca->name, name.p, name.n);
    buf_init(&ca->pem, PKI_PEM_MAX);
    return ca;
}

static bool make_root(struct pki_ca *ca, const struct pki_ca_wish *w, struct err *e) {
    char cn[64 + 1];
    struct pki_identity any;
    if (!pki_identity_set(&any, PKI_HUB, w->fleet, SV("x")))
        return err_set(e, ERR_CONFIG, "the fleet's name has 1 to %d of a-z, 0-9 and, inside, -", PKI_FLEET_MAX);
    memcpy(ca->fleet, w->fleet.p, w->fleet.n);
    snprintf(cn, sizeof cn, "Drover CA %s %s", ca->fleet, ca->name + 3);
    int64_t life_s = w->life_s ? w->life_s : PKI_CA_LIFE_S;
    ca->key = pki__key_new(w->type, e);
    ca->root = ca->key ? pki__cert_new(cn, NULL, ca->key, w->now_s - PKI_BACKDATE_S, w->now_s + life_s, e) : NULL;
    if (!ca->root)
        return false;
    bool ok = pki__cert_extend(ca->root, ca->root, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
              pki__cert_extend(ca->root, ca->root, NID_key_usage, "critical,keyCertSign,cRLSign") &&
              pki__cert_extend(ca->root, ca->root, NID_subject_key_identifier, "hash");
    if (!ok)
        return pki__fault(e, ERR_INTERNAL, "make a root");
    return pki__ca_sign(ca, ca->root, e) && pki__cert_print(ca->root, &ca->pem, e) && pki__cert_facts(ca->root, &ca->cert, e);
}

/* The first authority is trusted from the start; also when a crash came between its root and the bundle. */
static bool first_trust(struct pki_ca *ca, const char *dir, struct err *e) {
    struct pki_trust trust;
    struct err why = { 0 };
    bool ok = pki_trust_read(dir, &trust, &why);
    pki_trust_deinit(&trust);
    if (!ok && why.code == ERR_NOT_FOUND)
        ok = pki_trust_write(dir, buf_sv(&ca->pem), 1, e);
    else if (!ok)
        err_set(e, why.code, "%s", why.text);
    return ok;
}

static bool write_ca(struct pki_ca *ca, const char *dir, struct sv passphrase, struct err *e) {
    char fleet[PKI_PATH], key_file[PKI_CA_NAME_MAX + 5], root_file[PKI_CA_NAME_MAX + 5];
    struct buf key = BUF_MAX(PKI_PEM_MAX);
    snprintf(key_file, sizeof key_file, "%s.key", ca->name);
    snprintf(root_file, sizeof root_file, "%s.crt", ca->name);
    if (!pki__dir(dir, e) || !pki__path(fleet, dir, "fleet", e) || !pki__dir(fleet, e))
        return false;
    if (has_file(fleet, root_file, ""))
        return err_set(e, ERR_EXISTS, "%s/%s exists", fleet, root_file);
    bool ok = pki__key_print(ca->key, passphrase, &key, e) && pki__write(fleet, key_file, buf_sv(&key), true, e) &&
              pki__write(fleet, root_file, buf_sv(&ca->pem), false, e);
    pki_wipe(&key);
    return ok && first_trust(ca, dir, e);
}

struct pki_ca *pki_ca_make(const char *dir, const struct pki_ca_wish *wish, struct err *e) {
    struct pki_ca *ca = ca_new(sv_of(wish->name), e);
    if (!ca)
        return NULL;
    ERR_clear_error();
    if (make_root(ca, wish, e) && write_ca(ca, dir, wish->passphrase, e))
        return ca;
    err_ctx(e, "make the authority %s", wish->name);
    return pki_ca_free(ca);
}

static bool load_root(struct pki_ca *ca, const char *fleet, struct err *e) {
    char path[PKI_PATH], named[PKI_CA_NAME_MAX + 1];
    if ((size_t)snprintf(path, sizeof path, "%s/%s.crt", fleet, ca->name) >= sizeof path)
        return err_set(e, ERR_CONFIG, "%s: path too long", fleet);
    struct buf text = BUF_MAX(PKI_PEM_MAX + 1);
    STACK_OF(X509) *roots = pki__read(path, false, &text, e) ? pki__certs_read(buf_sv(&text), 1, e) : NULL;
    buf_deinit(&text);
    if (!roots)
        return err_ctx(e, "%s", path);
    bool ok = pki__roots_check(roots, ca->fleet, e);
    ca->root = sk_X509_value(roots, 0);
    X509_up_ref(ca->root);
    pki__certs_free(roots);
    if (!ok || !pki__root_name(ca->root, ca->fleet, named) || strcmp(named, ca->name) != 0)
        return ok ? err_set(e, ERR_CONFIG, "%s is the root of another authority", path) : err_ctx(e, "%s", path);
    return true;
}

static bool load_key(struct pki_ca *ca, const char *fleet, struct sv passphrase, struct err *e) {
    char path[PKI_PATH];
    struct buf key = BUF_MAX(PKI_PEM_MAX + 1);
    snprintf(path, sizeof path, "%s/%s.key", fleet, ca->name);
    bool ok = pki__read(path, true, &key, e);
    ca->key = ok ? pki__key_read(buf_sv(&key), passphrase, NULL, e) : NULL;
    pki_wipe(&key);
    if (!ca->key)
        return ok ? err_ctx(e, "%s", path) : false;
    if (X509_check_private_key(ca->root, ca->key) != 1)
        return pki__fault(e, ERR_CONFIG, "key and root do not belong together") || err_ctx(e, "%s", path);
    return true;
}

static bool load(struct pki_ca *ca, const char *dir, bool with_key, struct sv passphrase, struct err *e) {
    char fleet[PKI_PATH];
    if (!pki__path(fleet, dir, "fleet", e) || !pki__dir_check(dir, e) || !pki__dir_check(fleet, e) ||
        !load_root(ca, fleet, e))
        return false;
    if (!with_key && has_file(fleet, ca->name, ".key"))
        return err_set(
            e, ERR_CONFIG,
            "the key of the authority lies in %s/%s.key: move it to the machine that is to sign (drover cert serve)",
            fleet, ca->name);
    return (!with_key || load_key(ca, fleet, passphrase, e)) && pki__cert_print(ca->root, &ca->pem, e) &&
           pki__cert_facts(ca->root, &ca->cert, e) && first_trust(ca, dir, e);
}

struct pki_ca *pki_ca_open(const char *dir, struct err *e) {
    char name[PKI_CA_NAME_MAX + 1];
    unsigned year, n;
    if (!newest(dir, false, &year, &n, e))
        return NULL;
    if (year == 0) {
        err_set(e, ERR_NOT_FOUND, "there is no root under %s/fleet", dir);
        return NULL;
    }
    snprintf(name, sizeof name, "ca-%u-%u", year % 10000, n % 10000);
    struct pki_ca *ca = ca_new(sv_of(name), e);
    ERR_clear_error();
    return ca && load(ca, dir, false, SV_NULL, e) ? ca : pki_ca_free(ca);
}

struct pki_ca *pki_ca_load(const char *dir, const char *name, struct sv passphrase, struct err *e) {
    struct pki_ca *ca = ca_new(sv_of(name), e);
    ERR_clear_error();
    return ca && load(ca, dir, true, passphrase, e) ? ca : pki_ca_free(ca);
}

bool pki_ca_retire(const char *dir, const char *name, struct err *e) {
    char fleet[PKI_PATH], file[PKI_CA_NAME_MAX + 5];
    unsigned year, n;
    if (!name_read(sv_of(name), &year, &n))
        return err_set(e, ERR_CONFIG, "%s is no name of an authority", name);
    snprintf(file, sizeof file, "%s.key", name);
    return pki__path(fleet, dir, "fleet", e) && pki__remove(fleet, file, e);
}
