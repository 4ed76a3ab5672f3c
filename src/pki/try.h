/* pki/try.h - for tests: an authority in a directory of its own, leaves of it, files. Include it behind cmocka. */
#ifndef DROVER_PKI_TRY_H
#define DROVER_PKI_TRY_H

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pki/pki.h"

enum { NOW = 1795000000 }; /* November 2026 */

static inline void try_dir(char path[static 64]) {
    snprintf(path, 64, "/tmp/drover-pki-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static inline int try_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline void try_remove(const char *path) {
    nftw(path, try_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void try_write(const char *path, const char *text, mode_t mode) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* With a NUL; free it. */
static inline char *try_file(const char *path) {
    char *text = calloc(1, PKI_PEM_MAX + 1);
    int fd = open(path, O_RDONLY);
    assert_non_null(text);
    assert_true(fd >= 0);
    assert_true(read(fd, text, PKI_PEM_MAX) >= 0);
    close(fd);
    return text;
}

/* In static memory. */
static inline const char *try_text(struct sv v) {
    static char text[PKI_PEM_MAX];
    assert_true(sv_to_cstr(v, text, sizeof text));
    return text;
}

static inline struct pki_ca *try_ca(const char *dir, int64_t now_s, enum pki_key type) {
    char name[PKI_CA_NAME_MAX + 1];
    struct err e = { 0 };
    assert_true(pki_ca_next(dir, now_s, name, &e));
    struct pki_ca_wish w = { name, SV("fleet"), type, SV_NULL, now_s, 0 };
    struct pki_ca *ca = pki_ca_make(dir, &w, &e);
    if (!ca)
        fail_msg("%s", e.text);
    return ca;
}

struct try_leaf {
    struct buf key, chain;
    struct pki_cert cert;
};

static inline struct try_leaf try_leaf(struct pki_ca *ca, enum pki_role role, const char *id, unsigned usage, enum pki_key type,
                                       int64_t now_s) {
    struct try_leaf l = { .key = BUF_MAX(PKI_PEM_MAX), .chain = BUF_MAX(PKI_PEM_MAX) };
    struct buf csr = BUF_MAX(PKI_CSR_MAX);
    struct err e = { 0 };
    struct pki_wish w = { .usage = usage, .now_s = now_s };
    assert_true(pki_identity_set(&w.who, role, sv_of(pki_ca_fleet(ca)), sv_of(id)));
    assert_true(pki_key_make(type, &l.key, &e));
    assert_true(pki_csr_make(buf_sv(&l.key), &csr, &e));
    w.csr_pem = buf_sv(&csr);
    if (!pki_issue(ca, &w, &l.chain, &l.cert, &e))
        fail_msg("%s", e.text);
    buf_deinit(&csr);
    return l;
}

static inline void try_drop(struct try_leaf *l) {
    pki_wipe(&l->key);
    buf_deinit(&l->chain);
}

#endif
