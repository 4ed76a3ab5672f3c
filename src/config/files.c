/* config/files.c - what settings touch on disk: the document, certificates, secrets, and who else may read them. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/load.h"

enum { SECRET_MAX = 4096 };

static void closep(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}

struct sv path_absolute(struct loader *l, struct sv path, enum origin_kind from) {
    if (sv_starts(path, SV("/")))
        return arena_sv(&l->c->arena__, path);
    struct sv dir = from == FROM_FILE ? l->base : l->cwd;
    if (sv_starts(path, SV("~/")) && env_get(l, "HOME").n) {
        dir = env_get(l, "HOME");
        path = sv_from(path, 2);
    }
    if (sv_starts(path, SV("./")))
        path = sv_from(path, 2);
    return sv_of(arena_printf(&l->c->arena__, "%.*s/%.*s", SV_FMT(sv_eq(dir, SV("/")) ? SV_NULL : dir), SV_FMT(path)));
}

/* O_NONBLOCK, so that a FIFO or device that a setting names holds nobody up before it is refused. */
static int open_regular(struct loader *l, const struct node *n, const char *key, struct sv path, bool is_private) {
    struct stat st;
    struct sv trusted = env_get(l, "CREDENTIALS_DIRECTORY");
    bool credential = trusted.n && sv_starts(path, trusted) && sv_starts(sv_from(path, trusted.n), SV("/"));
    int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        COMPLAIN(l, n, key, "cannot read %s: %s", path.p, strerror(errno));
    else if (fstat(fd, &st) != 0)
        COMPLAIN(l, n, key, "cannot look at %s: %s", path.p, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        COMPLAIN(l, n, key, "%s is no regular file", path.p);
    else if (is_private && !credential && (st.st_mode & 077))
        COMPLAIN(l, n, key, "%s holds a secret and others can get at it (mode %04o): chmod 600 %s", path.p,
                 (unsigned)st.st_mode & 07777, path.p);
    else
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

bool file_is_good(struct loader *l, const struct node *n, const char *key, struct sv path, bool is_private) {
    CLEANUP(closep) int fd = open_regular(l, n, key, path, is_private);
    return fd >= 0;
}

static void secret_free(void *p) {
    sodium_free(p);
}

bool secret_set(struct loader *l, const struct node *n, const char *key, struct sv value,
                struct config_secret *ret_secret) {
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] <= 0x20 || (unsigned char)value.p[i] >= 0x7f) {
            COMPLAIN(l, n, key,
                     "expected a key of visible ASCII characters without blanks; byte %zu of this one is not", i + 1);
            return false;
        }
    if (value.n == 0 || value.n > SECRET_MAX) {
        COMPLAIN(l, n, key, "expected a key of 1 to %d bytes, got %zu", SECRET_MAX, value.n);
        return false;
    }
    char *copy = sodium_malloc(value.n + 1);
    if (!copy)
        return no_memory(l);
    memcpy(copy, value.p, value.n);
    copy[value.n] = '\0';
    sodium_mprotect_readonly(copy);
    if (!arena_defer(&l->c->arena__, secret_free, copy)) {
        sodium_free(copy);
        return no_memory(l);
    }
    ret_secret->value = copy;
    ret_secret->n = value.n;
    return true;
}

bool secret_from_file(struct loader *l, const struct node *n, const char *key, struct config_secret *ret_secret) {
    char text[SECRET_MAX + 3]; /* CR LF and one byte too many */
    size_t used = 0;
    bool ok = false;
    CLEANUP(closep) int fd = open_regular(l, n, key, ret_secret->file, true);
    if (fd < 0)
        return false;
    for (ssize_t got; used < sizeof text; used += (size_t)got) {
        got = read(fd, text + used, sizeof text - used);
        if (got < 0 && errno == EINTR)
            got = 0;
        else if (got < 0) {
            COMPLAIN(l, n, key, "cannot read %s: %s", ret_secret->file.p, strerror(errno));
            goto out;
        } else if (got == 0)
            break;
    }
    struct sv value = { text, used };
    if (sv_ends(value, SV("\n")))
        value.n--;
    if (sv_ends(value, SV("\r")))
        value.n--;
    ok = secret_set(l, n, key, value, ret_secret);
out:
    sodium_memzero(text, sizeof text);
    return ok;
}

bool config_file_read(struct loader *l, const struct origin *o, const char *path, struct buf *out, bool *ret_absent) {
    struct stat st;
    *ret_absent = false;
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* as above */
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        *ret_absent = true;
        return false;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        complain(l->report, o, 0, 0, NULL, "cannot be read: %s", strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        complain(l->report, o, 0, 0, NULL, "is no regular file");
        return false;
    }
    l->file_mode = (unsigned)st.st_mode & 0777;
    if (st.st_mode & S_IWOTH)
        warn(l->report, o, 0, 0, NULL, "everyone on this machine can change this file: chmod o-w %s", path);
    /* The whole block at once: a growing buffer would leave copies of inline secrets behind. */
    if (!buf_reserve(out, CONFIG_FILE_MAX + 1))
        return no_memory(l);
    for (;;) {
        ssize_t got = read(fd, out->p + out->n, CONFIG_FILE_MAX + 1 - out->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            complain(l->report, o, 0, 0, NULL, "cannot be read: %s", strerror(errno));
            return false;
        }
        if (got == 0)
            return true;
        buf_added(out, (size_t)got);
        if (out->n > CONFIG_FILE_MAX)
            return true; /* tree_read refuses it */
    }
}
