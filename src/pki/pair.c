/* The own certificate and key on the disk, in generations: gen-7/chain.pem, gen-7/key.pem, and `current` with "7".
 *
 * Nothing of a generation changes once current names it. What a crash leaves unfinished has a number that is not used again. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pki/room.h"

enum { GENERATIONS_LOOKED_AT = 16, NUMBER_MAX = 1000000000 };

void pki_pair_deinit(struct pki_pair *p) {
    buf_deinit(&p->chain);
    pki_wipe(&p->key);
}

static bool number_of(const char *name, unsigned *ret) {
    uint64_t n;
    struct sv v = sv_of(name);
    if (!sv_starts(v, SV("gen-")) || !sv_to_u64(sv_from(v, 4), &n) || n == 0 || n > NUMBER_MAX || v.p[4] == '0')
        return false;
    *ret = (unsigned)n;
    return true;
}

/* The highest generation below `below`, 0 without one. */
static bool highest(const char *where, unsigned below, unsigned *ret, struct err *e) {
    DIR *d = opendir(where);
    unsigned n;
    *ret = 0;
    if (!d)
        return errno == ENOENT || err_set(e, ERR_STORE, "open %s: %s", where, strerror(errno));
    for (struct dirent *it; (it = readdir(d));)
        if (number_of(it->d_name, &n) && n < below && n > *ret)
            *ret = n;
    closedir(d);
    return true;
}

static bool gen_path(char to[static PKI_PATH], const char *where, unsigned n, struct err *e) {
    char name[32];
    snprintf(name, sizeof name, "gen-%u", n);
    return pki__path(to, where, name, e);
}

/* --- loading ----------------------------------------------------------------------------------------------------------------- */

static bool read_current(const char *where, unsigned *ret, struct err *e) {
    char path[PKI_PATH];
    struct buf text = BUF_MAX(PKI_PEM_MAX + 1);
    uint64_t n = 0;
    bool ok = pki__path(path, where, "current", e) && pki__read(path, false, &text, e);
    struct sv v = buf_sv(&text);
    if (ok && (!sv_ends(v, SV("\n")) || !sv_to_u64(sv_first(v, v.n - 1), &n) || n == 0 || n > NUMBER_MAX))
        ok = err_set(e, ERR_CONFIG, "%s does not hold the number of a generation", path);
    buf_deinit(&text);
    *ret = (unsigned)n;
    return ok;
}

static bool load_generation(const char *where, unsigned n, struct pki_pair *p, struct err *e) {
    char dir[PKI_PATH], path[PKI_PATH];
    buf_reset(&p->chain);
    pki_wipe(&p->key);
    buf_init(&p->key, PKI_PEM_MAX + 1);
    if (!gen_path(dir, where, n, e))
        return false;
    bool ok = pki__path(path, dir, "chain.pem", e) && pki__read(path, false, &p->chain, e) && pki__path(path, dir, "key.pem", e) &&
              pki__read(path, true, &p->key, e);
    if (ok && !(pki_pair_check(buf_sv(&p->chain), buf_sv(&p->key), e) && pki_cert_read(buf_sv(&p->chain), &p->cert, e)))
        ok = err_ctx(e, "%s", dir);
    p->generation = n;
    return ok;
}

bool pki_pair_load(const char *where, struct pki_pair *ret, struct err *e) {
    unsigned n, current = 0, top;
    *ret = (struct pki_pair){ .chain = BUF_MAX(PKI_PEM_MAX + 1), .key = BUF_MAX(PKI_PEM_MAX + 1) };
    if (!highest(where, NUMBER_MAX + 1u, &top, e))
        return false;
    if (top == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no certificate under %s yet", where);
    if (!pki__dir_check(where, e))
        return false;
    if (read_current(where, &current, &ret->why) && load_generation(where, current, ret, &ret->why))
        return true;
    ret->is_fallback = true;
    n = current && current <= top ? current : top + 1; /* newer ones were never in use, or current is lost */
    struct err skipped;
    for (unsigned i = 0; i < GENERATIONS_LOOKED_AT && highest(where, n, &n, &skipped) && n; i++)
        if (load_generation(where, n, ret, &skipped))
            return true;
    if (current == 0 && ret->why.code == ERR_NOT_FOUND) /* a crash in the middle of the first store */
        return err_set(e, ERR_NOT_FOUND, "there is no whole certificate under %s yet", where);
    return err_set(e, ret->why.code == ERR_NOT_FOUND ? ERR_CONFIG : ret->why.code, "%s; and no other generation is whole", ret->why.text);
}

/* --- storing ----------------------------------------------------------------------------------------------------------------- */

static void remove_generation(const char *where, unsigned n) {
    static const char *const files[] = { "key.pem", "chain.pem", "key.pem.new", "chain.pem.new" };
    char dir[PKI_PATH], path[PKI_PATH];
    if (!gen_path(dir, where, n, NULL))
        return;
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        if (pki__path(path, dir, files[i], NULL))
            unlink(path);
    rmdir(dir);
}

/* All but the two newest that were in use. That one cannot be removed is no fault: the next time tries again. */
static void remove_old(const char *where, unsigned now, unsigned before) {
    unsigned n = now;
    while (highest(where, n, &n, NULL) && n)
        if (n != before)
            remove_generation(where, n);
}

bool pki_pair_store(const char *where, struct sv chain_pem, struct sv key_pem, unsigned *ret_generation, struct err *e) {
    char dir[PKI_PATH], text[32];
    unsigned top, before = 0;
    struct err why = { 0 };
    if (!pki_pair_check(chain_pem, key_pem, e) || !pki__dir(where, e) || !highest(where, NUMBER_MAX, &top, e))
        return false;
    unsigned n = top + 1;
    if (!read_current(where, &before, &why)) {
        if (why.code != ERR_NOT_FOUND && why.code != ERR_CONFIG)
            return err_set(e, why.code, "%s", why.text);
        before = top;
    }
    if (!gen_path(dir, where, n, e) || !pki__dir(dir, e))
        return false;
    snprintf(text, sizeof text, "%u\n", n);
    bool ok = pki__write(dir, "key.pem", key_pem, true, e) && pki__write(dir, "chain.pem", chain_pem, false, e) && pki__sync(where, e) &&
              pki__write(where, "current", sv_of(text), false, e);
    if (!ok) {
        remove_generation(where, n);
        return err_ctx(e, "store a new certificate");
    }
    remove_old(where, n, before);
    *ret_generation = n;
    return true;
}
