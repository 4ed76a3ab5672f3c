/* pki/room.h - private to pki: OpenSSL objects and files, as its parts hand them to each other. */
#ifndef DROVER_PKI_ROOM_H
#define DROVER_PKI_ROOM_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "pki/pki.h"

enum { PKI_PATH = 4200 };

/* Sets *e from OpenSSL's queue, and empties that. Returns false. */
bool pki__fault(struct err *e, enum err_code code, const char *what);

/* --- files.c --- */

/* "dir/name" */
bool pki__path(char to[static PKI_PATH], const char *dir, const char *name, struct err *e);
/* Ours, and written by nobody else; no link. ERR_NOT_FOUND without one. */
bool pki__dir_check(const char *path, struct err *e);
/* The same, and makes it with mode 0700 if need be, with those above it. */
bool pki__dir(const char *path, struct err *e);
/* The whole of a plain file of ours that only we can write, and with is_private, read. ERR_NOT_FOUND without one. */
bool pki__read(const char *path, bool is_private, struct buf *to, struct err *e);
/* Replaces dir/name by rename, synced; on failure the old one stays. Mode 0600, or 0644. */
bool pki__write(const char *dir, const char *name, struct sv bytes, bool is_private, struct err *e);
/* It is gone for good; that it was not there is fine. */
bool pki__remove(const char *dir, const char *name, struct err *e);
bool pki__sync(const char *dir, struct err *e);

/* --- key.c --- */

/* NULL with *e set. passphrase: for an encrypted one; *ret_locked (may be NULL): it is encrypted. */
EVP_PKEY *pki__key_read(struct sv pem, struct sv passphrase, bool *ret_locked, struct err *e);
EVP_PKEY *pki__key_new(enum pki_key type, struct err *e);
bool pki__key_print(EVP_PKEY *key, struct sv passphrase, struct buf *ret, struct err *e);
/* The key of a request that proves to have it. */
EVP_PKEY *pki__csr_key(struct sv pem, struct err *e);
/* Whether we sign for a key of this kind and size. */
bool pki__key_ok(EVP_PKEY *key, struct err *e);
/* What such a key signs with: NULL for Ed25519. */
const EVP_MD *pki__digest(EVP_PKEY *key);

/* --- cert.c --- */

/* A version 3 certificate with a random serial, these times and names; unsigned. issuer NULL: itself. */
X509 *pki__cert_new(const char *cn, X509 *issuer, EVP_PKEY *key, int64_t from_s, int64_t to_s, struct err *e);
bool pki__cert_extend(X509 *x, X509 *issuer, int nid, const char *value);
bool pki__cert_print(X509 *x, struct buf *ret, struct err *e);
bool pki__cert_facts(X509 *x, struct pki_cert *ret, struct err *e);
/* All certificates of a PEM text, at most max of them; free with pki__certs_free. */
STACK_OF(X509) * pki__certs_read(struct sv pem, int max, struct err *e);
void pki__certs_free(STACK_OF(X509) * certs);
bool pki__verify(STACK_OF(X509) * chain, STACK_OF(X509) * roots, unsigned usage, const char *name, int64_t now_s, struct err *e);

/* --- ca.c --- */

X509 *pki__ca_root(const struct pki_ca *ca);
bool pki__ca_sign(struct pki_ca *ca, X509 *leaf, struct err *e);
bool pki__ca_sign_crl(const struct pki_ca *ca, X509_CRL *crl, struct err *e);
bool pki__ca_sign_bytes(const struct pki_ca *ca, struct sv bytes, struct buf *ret_signature, struct err *e);

/* --- trust.c --- */

/* One or two roots of one fleet, each its own issuer and a CA, not the same. Their fleet, if ret is not NULL. */
bool pki__roots_check(STACK_OF(X509) * roots, char ret_fleet[PKI_FLEET_MAX + 1], struct err *e);
/* "Drover CA <fleet> <year>-<n>" */
bool pki__root_name(X509 *root, char fleet[static PKI_FLEET_MAX + 1], char name[static PKI_CA_NAME_MAX + 1]);

#endif
