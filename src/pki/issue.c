/* A leaf: everything in it is written here, and nothing comes from the request but the key. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pki/room.h"

enum {
    CLOCK_BACK_S = 3600,
    LEAST_LIFE_S = 60,
};

/* --- names -------------------------------------------------------------------------------------------------------------- */

static bool is_host(struct sv v) {
    if (sv_starts(v, SV("*.")))
        v = sv_from(v, 2);
    size_t label = 0;
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        bool is_inner = c == '-' || c == '_';
        if (c == '.' ? label == 0 || v.p[i - 1] == '-' : !(is_inner ? label > 0 : (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0 && v.p[v.n - 1] != '-';
}

static bool has_name(const GENERAL_NAMES *all, int type, const void *p, int n) {
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        const ASN1_STRING *s = g->d.ia5; /* all of ours are strings of octets */
        if (g->type == type && ASN1_STRING_length(s) == n && memcmp(ASN1_STRING_get0_data(s), p, (size_t)n) == 0)
            return true;
    }
    return false;
}

static bool add_name(GENERAL_NAMES *all, int type, const void *p, size_t n, struct err *e) {
    if (has_name(all, type, p, (int)n))
        return true;
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *s = ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    if (g && s && ASN1_STRING_set(s, p, (int)n) == 1) {
        GENERAL_NAME_set0_value(g, type, s);
        s = NULL;
        if (sk_GENERAL_NAME_push(all, g) > 0)
            return true;
    }
    ASN1_STRING_free(s);
    GENERAL_NAME_free(g);
    return err_no_memory(e);
}

static bool add_listed(GENERAL_NAMES *all, struct sv name, struct err *e) {
    char text[PKI_DNS_MAX + 1];
    unsigned char ip[16];
    if (!sv_to_cstr(name, text, sizeof text) || name.n == 0)
        return err_set(e, ERR_CONFIG, "a name for a certificate has 1 to %d bytes", PKI_DNS_MAX);
    if (inet_pton(AF_INET, text, ip) == 1)
        return add_name(all, GEN_IPADD, ip, 4, e);
    if (inet_pton(AF_INET6, text, ip) == 1)
        return add_name(all, GEN_IPADD, ip, 16, e);
    for (char *p = text; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p | 0x20);
    if (!is_host((struct sv){ text, name.n }))
        return err_set(e, ERR_CONFIG, "\"%.*s\" is no DNS name or address that a certificate could have", SV_FMT(name));
    return add_name(all, GEN_DNS, text, name.n, e);
}

static bool add_names(X509 *x, const struct pki_wish *w, struct err *e) {
    char uri[PKI_URI_MAX + 1], dns[PKI_DNS_MAX + 1];
    GENERAL_NAMES *all = GENERAL_NAMES_new();
    if (!all)
        return err_no_memory(e);
    pki_identity_print(&w->who, uri);
    bool ok = add_name(all, GEN_URI, uri, strlen(uri), e);
    if (ok && (w->usage & PKI_USE_SERVER))
        ok = pki_identity_dns(&w->who, dns)
                 ? add_name(all, GEN_DNS, dns, strlen(dns), e)
                 : err_set(e, ERR_CONFIG, "\"%s\" cannot be part of a DNS name, so it cannot be a server's", w->who.id);
    for (unsigned i = 0; ok && i < w->n_names; i++)
        ok = add_listed(all, w->names[i], e);
    if (ok && X509_add1_ext_i2d(x, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) != 1)
        ok = pki__fault(e, ERR_INTERNAL, "names of a certificate");
    GENERAL_NAMES_free(all);
    return ok;
}

/* --- the whole ----------------------------------------------------------------------------------------------------------- */

static bool check_wish(const struct pki_ca *ca, const struct pki_wish *w, struct err *e) {
    struct pki_identity again;
    if (!pki_identity_set(&again, w->who.role, sv_of(w->who.fleet), sv_of(w->who.id)) || strcmp(w->who.fleet, pki_ca_fleet(ca)) != 0)
        return err_set(e, ERR_CONFIG, "\"%s\" is no identity of the fleet \"%s\"", w->who.id, pki_ca_fleet(ca));
    if (!(w->usage & (PKI_USE_SERVER | PKI_USE_CLIENT)) || w->n_names > PKI_NAMES_MAX)
        return err_set(e, ERR_CONFIG, "a certificate of no use, or with more than %d names", PKI_NAMES_MAX);
    if (w->n_names && !(w->usage & PKI_USE_SERVER))
        return err_set(e, ERR_CONFIG, "names are for servers");
    int64_t newest_s = w->newest_s > pki_ca_cert(ca)->is.not_before_s ? w->newest_s : pki_ca_cert(ca)->is.not_before_s;
    if (w->now_s < newest_s - CLOCK_BACK_S)
        return err_set(e, ERR_UNAVAILABLE,
                       "the clock went back %lld min behind the newest certificate; set it, nothing is issued until then",
                       (long long)(newest_s - w->now_s) / 60);
    return true;
}

static EVP_PKEY *wished_key(const struct pki_wish *w, struct err *e) {
    if (w->csr_pem.n)
        return pki__csr_key(w->csr_pem, e);
    EVP_PKEY *key = NULL;
    if (sv_find(w->key_pem, SV("-----BEGIN PUBLIC KEY-----")) >= 0 && w->key_pem.n <= PKI_PEM_MAX) {
        BIO *b = BIO_new_mem_buf(w->key_pem.p, (int)w->key_pem.n);
        key = b ? PEM_read_bio_PUBKEY(b, NULL, NULL, NULL) : NULL;
        BIO_free(b);
        if (!key)
            pki__fault(e, ERR_BAD_REQUEST, "not a public key in PEM");
    } else {
        key = pki__key_read(w->key_pem, SV_NULL, NULL, e);
    }
    if (key && pki__key_ok(key, e))
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static X509 *make(struct pki_ca *ca, const struct pki_wish *w, EVP_PKEY *key, struct err *e) {
    X509 *root = pki__ca_root(ca);
    int64_t end_s = w->now_s + (w->life_s > 0 ? w->life_s : PKI_LEAF_LIFE_S), last_s = pki_ca_cert(ca)->is.not_after_s - PKI_DAY_S;
    if (end_s > last_s)
        end_s = last_s;
    if (end_s < w->now_s + LEAST_LIFE_S) {
        err_set(e, ERR_UNAVAILABLE, "the authority %s ends too soon to issue anything; change it (drover cert rotate-ca)", pki_ca_name(ca));
        return NULL;
    }
    X509 *x = pki__cert_new(w->who.id, root, key, w->now_s - PKI_BACKDATE_S, end_s, e);
    if (!x)
        return NULL;
    const char *use = w->usage == PKI_USE_SERVER ? "serverAuth" : w->usage == PKI_USE_CLIENT ? "clientAuth" : "serverAuth,clientAuth";
    bool ok = (pki__cert_extend(x, root, NID_basic_constraints, "critical,CA:FALSE") &&
               pki__cert_extend(x, root, NID_key_usage, "critical,digitalSignature") && pki__cert_extend(x, root, NID_ext_key_usage, use) &&
               pki__cert_extend(x, root, NID_subject_key_identifier, "hash") &&
               pki__cert_extend(x, root, NID_authority_key_identifier, "keyid:always")) ||
              pki__fault(e, ERR_INTERNAL, "make a leaf");
    if (ok && add_names(x, w, e) && pki__ca_sign(ca, x, e))
        return x;
    X509_free(x);
    return NULL;
}

static bool verified(struct pki_ca *ca, const struct pki_wish *w, X509 *x, struct err *e) {
    char dns[PKI_DNS_MAX + 1] = "";
    STACK_OF(X509) *chain = sk_X509_new_null(), *roots = sk_X509_new_null();
    bool ok = chain && roots && sk_X509_push(chain, x) > 0 && sk_X509_push(roots, pki__ca_root(ca)) > 0;
    if (w->usage & PKI_USE_SERVER)
        pki_identity_dns(&w->who, dns);
    ok = ok ? pki__verify(chain, roots, w->usage, dns[0] ? dns : NULL, w->now_s, e) : err_no_memory(e);
    sk_X509_free(chain);
    sk_X509_free(roots);
    return ok;
}

bool pki_issue(struct pki_ca *ca, const struct pki_wish *wish, struct buf *ret_chain, struct pki_cert *ret, struct err *e) {
    struct buf pem = BUF_MAX(PKI_PEM_MAX);
    struct pki_cert cert;
    ERR_clear_error();
    if (!check_wish(ca, wish, e))
        return false;
    EVP_PKEY *key = wished_key(wish, e);
    X509 *x = key ? make(ca, wish, key, e) : NULL;
    bool ok = x && verified(ca, wish, x, e) && pki__cert_print(x, &pem, e) && pki__cert_facts(x, &cert, e);
    if (ok && !(buf_add(&pem, pki_ca_pem(ca)) && buf_add(ret_chain, buf_sv(&pem))))
        ok = err_no_memory(e);
    if (ok)
        *ret = cert;
    X509_free(x);
    EVP_PKEY_free(key);
    buf_deinit(&pem);
    return ok;
}
