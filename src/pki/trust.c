/* The bundle of roots: as a file, and as a signed message to those who trust one of them already.
 *
 * The file is PEM behind a first line with its number, so any tool can read it and both change in one rename:
 *   Drover trust bundle 3
 * The message is the fleet and the number, the signature over both and all PEM that follows, and the PEM:
 *   drover-trust 1 <fleet> <number> <signature, base64>
 *   -----BEGIN CERTIFICATE-----
 * The number is what stops a replay: a bundle from before a stolen root was dropped has a smaller one. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdio.h>

#include "pki/room.h"

enum { ROOTS_MAX = 2, SIGNATURE_MAX = 1024, HEAD_MAX = 128 };
static const char file_head[] = "Drover trust bundle ", message_head[] = "drover-trust 1 ";

/* --- roots --------------------------------------------------------------------------------------------------------------- */

bool pki__root_name(X509 *root, char fleet[static PKI_FLEET_MAX + 1], char name[static PKI_CA_NAME_MAX + 1]) {
    char cn[64 + 2];
    int n = X509_NAME_get_text_by_NID(X509_get_subject_name(root), NID_commonName, cn, sizeof cn);
    struct sv rest = { cn, n > 0 ? (size_t)n : 0 }, found;
    struct pki_identity any;
    if (!sv_starts(rest, SV("Drover CA ")))
        return false;
    rest = sv_from(rest, 10);
    if (!sv_cut(&rest, ' ', &found) || !pki_identity_set(&any, PKI_HUB, found, SV("x")) || rest.n > PKI_CA_NAME_MAX - 3)
        return false;
    memcpy(fleet, any.fleet, sizeof any.fleet);
    snprintf(name, PKI_CA_NAME_MAX + 1, "ca-%.*s", SV_FMT(rest));
    return true;
}

bool pki__roots_check(STACK_OF(X509) * roots, char ret_fleet[PKI_FLEET_MAX + 1], struct err *e) {
    char fleet[2][PKI_FLEET_MAX + 1] = { 0 }, name[PKI_CA_NAME_MAX + 1];
    int n = sk_X509_num(roots);
    for (int i = 0; i < n; i++) {
        X509 *x = sk_X509_value(roots, i);
        if (X509_check_ca(x) != 1 || X509_self_signed(x, 1) != 1)
            return pki__fault(e, ERR_CONFIG, "not the root of an authority: it must be a CA and have signed itself");
        if (!pki__root_name(x, fleet[i & 1], name))
            return err_set(e, ERR_CONFIG, "not the root of a Drover fleet");
        if (i > 0 && (strcmp(fleet[0], fleet[1]) != 0 || X509_cmp(sk_X509_value(roots, 0), x) == 0))
            return err_set(e, ERR_CONFIG, "two roots of one bundle must be of one fleet, and not the same");
    }
    if (ret_fleet)
        memcpy(ret_fleet, fleet[0], sizeof fleet[0]);
    ERR_clear_error();
    return true;
}

static STACK_OF(X509) * roots_read(struct sv pem, char ret_fleet[PKI_FLEET_MAX + 1], struct err *e) {
    STACK_OF(X509) *roots = pki__certs_read(pem, ROOTS_MAX, e);
    if (roots && pki__roots_check(roots, ret_fleet, e))
        return roots;
    pki__certs_free(roots);
    return NULL;
}

/* The same roots in our own spelling: whatever else stood in the text is gone. */
static bool roots_print(STACK_OF(X509) * roots, struct buf *to, struct err *e) {
    bool ok = true;
    for (int i = 0; ok && i < sk_X509_num(roots); i++)
        ok = pki__cert_print(sk_X509_value(roots, i), to, e);
    return ok;
}

/* --- the file ------------------------------------------------------------------------------------------------------------ */

void pki_trust_deinit(struct pki_trust *t) {
    buf_deinit(&t->pem);
}

static bool parse_file(struct sv text, struct pki_trust *ret, struct err *e) {
    struct sv line;
    if (!sv_cut(&text, '\n', &line) || !sv_starts(line, sv_of(file_head)) ||
        !sv_to_u64(sv_from(line, sizeof file_head - 1), &ret->sequence))
        return err_set(e, ERR_CONFIG, "the first line is not \"%sN\"", file_head);
    STACK_OF(X509) *roots = roots_read(text, NULL, e);
    bool ok = roots && roots_print(roots, &ret->pem, e);
    ret->n_roots = ok ? (unsigned)sk_X509_num(roots) : 0;
    pki__certs_free(roots);
    return ok;
}

bool pki_trust_read(const char *dir, struct pki_trust *ret, struct err *e) {
    char fleet[PKI_PATH], path[PKI_PATH];
    struct buf text = BUF_MAX(PKI_PEM_MAX + 1);
    *ret = (struct pki_trust){ .pem = BUF_MAX(PKI_PEM_MAX) };
    bool ok = pki__path(fleet, dir, "fleet", e) && pki__path(path, fleet, "trust.pem", e) && pki__dir_check(fleet, e) &&
              pki__read(path, false, &text, e) && (parse_file(buf_sv(&text), ret, e) || err_ctx(e, "%s", path));
    buf_deinit(&text);
    return ok;
}

bool pki_trust_write(const char *dir, struct sv roots_pem, uint64_t sequence, struct err *e) {
    char fleet[PKI_PATH];
    struct buf text = BUF_MAX(PKI_PEM_MAX);
    STACK_OF(X509) *roots = roots_read(roots_pem, NULL, e);
    bool ok = roots && pki__path(fleet, dir, "fleet", e) && pki__dir(dir, e) && pki__dir(fleet, e);
    ok = ok && (buf_printf(&text, "%s%llu\n", file_head, (unsigned long long)sequence) || err_no_memory(e)) &&
         roots_print(roots, &text, e) && pki__write(fleet, "trust.pem", buf_sv(&text), false, e);
    pki__certs_free(roots);
    buf_deinit(&text);
    return ok;
}

/* --- the message ----------------------------------------------------------------------------------------------------------- */

/* What is signed: the head without the signature, and the certificates. */
static bool add_signed(struct buf *to, struct sv fleet, uint64_t sequence, struct sv pem) {
    return buf_printf(to, "%s%.*s %llu\n", message_head, SV_FMT(fleet), (unsigned long long)sequence) && buf_add(to, pem);
}

bool pki_bundle_sign(const struct pki_ca *ca, struct sv roots_pem, uint64_t sequence, struct buf *ret, struct err *e) {
    char fleet[PKI_FLEET_MAX + 1], text[sodium_base64_ENCODED_LEN(SIGNATURE_MAX, sodium_base64_VARIANT_ORIGINAL)];
    struct buf pem = BUF_MAX(PKI_PEM_MAX), body = BUF_MAX(PKI_PEM_MAX + HEAD_MAX), signature = BUF_MAX(SIGNATURE_MAX);
    STACK_OF(X509) *roots = roots_read(roots_pem, fleet, e);
    bool ok = roots && (strcmp(fleet, pki_ca_fleet(ca)) == 0 || err_set(e, ERR_CONFIG, "roots of another fleet, \"%s\"", fleet));
    ok = ok && roots_print(roots, &pem, e) && (add_signed(&body, sv_of(fleet), sequence, buf_sv(&pem)) || err_no_memory(e)) &&
         pki__ca_sign_bytes(ca, buf_sv(&body), &signature, e);
    if (ok) {
        sodium_bin2base64(text, sizeof text, (const unsigned char *)signature.p, signature.n, sodium_base64_VARIANT_ORIGINAL);
        ok = (buf_printf(ret, "%s%s %llu %s\n", message_head, fleet, (unsigned long long)sequence, text) && buf_add(ret, buf_sv(&pem))) ||
             err_no_memory(e);
    }
    pki__certs_free(roots);
    buf_deinit(&pem);
    buf_deinit(&body);
    buf_deinit(&signature);
    return ok;
}

static bool signed_by(X509 *root, struct sv body, const unsigned char *signature, size_t n) {
    EVP_PKEY *key = X509_get0_pubkey(root);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = key && c && EVP_DigestVerifyInit(c, NULL, pki__digest(key), NULL, key) == 1 &&
              EVP_DigestVerify(c, signature, n, (const unsigned char *)body.p, body.n) == 1;
    EVP_MD_CTX_free(c);
    ERR_clear_error();
    return ok;
}

struct message {
    struct sv fleet, pem;
    uint64_t sequence;
    unsigned char signature[SIGNATURE_MAX];
    size_t signature_n;
};

static bool parse_message(struct sv text, struct message *m) {
    struct sv line, number;
    if (text.n > PKI_PEM_MAX || !sv_cut(&text, '\n', &line) || !sv_starts(line, sv_of(message_head)))
        return false;
    line = sv_from(line, sizeof message_head - 1);
    m->pem = text;
    return sv_cut(&line, ' ', &m->fleet) && sv_cut(&line, ' ', &number) && sv_to_u64(number, &m->sequence) && line.n > 0 &&
           sodium_base642bin(m->signature, sizeof m->signature, line.p, line.n, NULL, &m->signature_n, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0;
}

bool pki_bundle_read(struct sv bundle, const struct pki_trust *now, struct pki_trust *ret, struct err *e) {
    struct message m;
    char fleet[PKI_FLEET_MAX + 1], theirs[PKI_FLEET_MAX + 1];
    struct buf body = BUF_MAX(PKI_PEM_MAX + HEAD_MAX);
    *ret = (struct pki_trust){ .pem = BUF_MAX(PKI_PEM_MAX) };
    if (!parse_message(bundle, &m))
        return err_set(e, ERR_BAD_REQUEST, "not a trust bundle of version 1");
    STACK_OF(X509) *ours = roots_read(buf_sv(&now->pem), fleet, e);
    bool ok = ours && (add_signed(&body, m.fleet, m.sequence, m.pem) || err_no_memory(e)), known = false;
    for (int i = 0; ok && !known && i < sk_X509_num(ours); i++)
        known = signed_by(sk_X509_value(ours, i), buf_sv(&body), m.signature, m.signature_n);
    buf_deinit(&body);
    pki__certs_free(ours);
    if (ok && !known)
        ok = err_set(e, ERR_DENIED, "the trust bundle %llu is signed by nobody that is trusted here", (unsigned long long)m.sequence);
    if (ok && m.sequence <= now->sequence)
        ok = err_set(e, ERR_STALE, "the trust bundle %llu is not newer than %llu, which is in use", (unsigned long long)m.sequence,
                     (unsigned long long)now->sequence);
    STACK_OF(X509) *roots = ok ? roots_read(m.pem, theirs, e) : NULL;
    bool same = roots && sv_eq(m.fleet, sv_of(fleet)) && strcmp(theirs, fleet) == 0;
    if (roots && !same)
        err_set(e, ERR_DENIED, "the trust bundle is of another fleet");
    ok = same && roots_print(roots, &ret->pem, e);
    if (ok) {
        ret->sequence = m.sequence;
        ret->n_roots = (unsigned)sk_X509_num(roots);
    }
    pki__certs_free(roots);
    return ok;
}
