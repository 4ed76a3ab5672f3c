/* Files of keys and certificates: ours alone, never seen half written, and there after a power cut. */

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "pki/room.h"

void pki_wipe(struct buf *b) {
    if (b->base)
        OPENSSL_cleanse(b->base, b->cap);
    buf_deinit(b);
}

bool pki__path(char to[static PKI_PATH], const char *dir, const char *name, struct err *e) {
    return (size_t)snprintf(to, PKI_PATH, "%s/%s", dir, name) < PKI_PATH || err_set(e, ERR_CONFIG, "%s/%s: path too long", dir, name);
}

bool pki__dir_check(const char *path, struct err *e) {
    struct stat st;
    if (lstat(path, &st) != 0)
        return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_STORE, "look at %s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_CONFIG, "%s is no directory", path);
    if (st.st_uid != geteuid())
        return err_set(e, ERR_CONFIG, "%s belongs to another user (%u)", path, (unsigned)st.st_uid);
    if (st.st_mode & 022)
        return err_set(e, ERR_CONFIG, "%s can be written by others; chmod 700 it", path);
    return true;
}

bool pki__dir(const char *path, struct err *e) {
    char above[PKI_PATH];
    ptrdiff_t slash = sv_rfind_char(sv_of(path), '/');
    int rc = mkdir(path, 0700);
    if (rc != 0 && errno == ENOENT && slash > 0 && sv_to_cstr(sv_first(sv_of(path), (size_t)slash), above, sizeof above)) {
        if (!pki__dir(above, e))
            return false;
        rc = mkdir(path, 0700);
    }
    if (rc != 0 && errno != EEXIST)
        return err_set(e, ERR_STORE, "create %s: %s", path, strerror(errno));
    return pki__dir_check(path, e);
}

/* Not to be seen by others is asked of keys only; not to be changed by others, of all: who can change trust.pem is trusted. */
static bool is_ours(const char *path, const struct stat *st, bool is_private, struct err *e) {
    if (!S_ISREG(st->st_mode))
        return err_set(e, ERR_CONFIG, "%s is no plain file", path);
    if (st->st_uid != geteuid())
        return err_set(e, ERR_CONFIG, "%s belongs to another user (%u)", path, (unsigned)st->st_uid);
    if (is_private && (st->st_mode & 077))
        return err_set(e, ERR_CONFIG, "%s can be read or written by others (mode %03o); chmod 600 it", path, (unsigned)st->st_mode & 0777);
    if (st->st_mode & 022)
        return err_set(e, ERR_CONFIG, "%s can be written by others (mode %03o); chmod 644 it", path, (unsigned)st->st_mode & 0777);
    if (st->st_size > PKI_PEM_MAX)
        return err_set(e, ERR_CONFIG, "%s has more than %d KiB", path, PKI_PEM_MAX >> 10);
    return true;
}

bool pki__read(const char *path, bool is_private, struct buf *to, struct err *e) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP)
        return err_set(e, ERR_CONFIG, "%s is a symbolic link; put the file itself there", path);
    if (fd < 0)
        return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_STORE, "open %s: %s", path, strerror(errno));
    bool ok = fstat(fd, &st) == 0 || err_set(e, ERR_STORE, "look at %s: %s", path, strerror(errno));
    ok = ok && is_ours(path, &st, is_private, e);
    char *room = ok ? buf_reserve(to, (size_t)st.st_size + 1) : NULL; /* one block: no copy of a key stays behind */
    ssize_t n = room ? read(fd, room, (size_t)st.st_size + 1) : 0;
    if (ok && !room)
        ok = err_no_memory(e);
    else if (ok && n < 0)
        ok = err_set(e, ERR_STORE, "read %s: %s", path, strerror(errno));
    else if (ok && n != st.st_size)
        ok = err_set(e, ERR_STORE, "%s changed while it was read", path);
    if (ok)
        buf_added(to, (size_t)n);
    close(fd);
    return ok;
}

bool pki__sync(const char *dir, struct err *e) {
    return durable_dir(dir) || err_set(e, ERR_STORE, "sync %s: %s", dir, strerror(errno));
}

bool pki__write(const char *dir, const char *name, struct sv bytes, bool is_private, struct err *e) {
    char path[PKI_PATH], beside[PKI_PATH];
    if (!pki__path(path, dir, name, e) || (size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside)
        return err_set(e, ERR_CONFIG, "%s/%s: path too long", dir, name);
    unlink(beside); /* a crash may have left one */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, is_private ? 0600 : 0644);
    if (fd < 0)
        return err_set(e, ERR_STORE, "create %s: %s", beside, strerror(errno));
    bool ok = durable_write(fd, bytes);
    if (!ok)
        err_set(e, ERR_STORE, "write %s: %s", beside, strerror(errno));
    close(fd);
    if (ok && rename(beside, path) != 0)
        ok = err_set(e, ERR_STORE, "rename %s: %s", beside, strerror(errno));
    if (!ok)
        unlink(beside);
    return ok && pki__sync(dir, e);
}

bool pki__remove(const char *dir, const char *name, struct err *e) {
    char path[PKI_PATH];
    if (!pki__path(path, dir, name, e))
        return false;
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set(e, ERR_STORE, "remove %s: %s", path, strerror(errno));
    return pki__sync(dir, e);
}

bool pki_file_write(const char *dir, const char *name, struct sv bytes, struct err *e) {
    return pki__dir(dir, e) && pki__write(dir, name, bytes, true, e);
}

bool pki_file_read(const char *dir, const char *name, struct buf *to, struct err *e) {
    char path[PKI_PATH];
    return pki__path(path, dir, name, e) && pki__read(path, true, to, e);
}

bool pki_file_remove(const char *dir, const char *name, struct err *e) {
    struct err gone = { 0 };
    if (!pki__dir_check(dir, &gone) && gone.code == ERR_NOT_FOUND)
        return true;
    return pki__remove(dir, name, e);
}
