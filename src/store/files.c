/* The files of a store, as the file system sees them: private, ours alone, and there after a power cut.
 *
 * The lock is taken before the database file is touched at all: SQLite's own locks belong to the process, and closing any other
 * descriptor of that file would drop them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/durable.h"
#include "store/room.h"

enum { PATH_ROOM = 4200 };

/* The directory of path: "/a/b" -> "/a", "/b" -> "/", "b" -> ".". */
static bool dir_of(const char *path, char dir[static PATH_ROOM], struct err *e) {
    struct sv v = sv_of(path);
    ptrdiff_t slash = sv_rfind_char(v, '/');
    v = slash < 0 ? SV(".") : sv_first(v, slash ? (size_t)slash : 1);
    return sv_to_cstr(v, dir, PATH_ROOM) || err_set(e, ERR_CONFIG, "the path of the store is too long");
}

bool store__make_dir(const char *path, struct err *e) {
    char dir[PATH_ROOM];
    struct stat st;
    if (!dir_of(path, dir, e))
        return false;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_set(e, ERR_CONFIG, "create %s: %s", dir, strerror(errno));
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(e, ERR_CONFIG, "%s is no directory", dir);
    if (st.st_mode & 022)
        return err_set(e, ERR_CONFIG, "%s can be written by others; chmod 700 it", dir);
    return true;
}

bool store__sync_dir(const char *path, struct err *e) {
    char dir[PATH_ROOM];
    if (!dir_of(path, dir, e))
        return false;
    return durable_dir(dir) || err_set(e, ERR_STORE, "sync %s: %s", dir, strerror(errno));
}

/* The lock file says who has it: "1234\n". It is never removed, or two could lock two files of one name. */
static void who_has(int fd, char pid[static 16]) {
    ssize_t n = pread(fd, pid, 15, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
}

int store__lock(const char *path, struct err *e) {
    char name[PATH_ROOM], pid[16];
    if ((size_t)snprintf(name, sizeof name, "%s.lock", path) >= sizeof name) {
        err_set(e, ERR_CONFIG, "the path of the store is too long");
        return -1;
    }
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err_set(e, ERR_STORE, "open %s: %s", name, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        who_has(fd, pid);
        close(fd);
        if (why == EWOULDBLOCK)
            err_set(e, ERR_EXISTS, "%s is in use by another drover%s%s%s; stop that one, or set another data_dir", path,
                    pid[0] ? " (process " : "", pid, pid[0] ? ")" : "");
        else
            err_set(e, ERR_STORE, "lock %s: %s", name, strerror(why));
        return -1;
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
        err_set(e, ERR_STORE, "write %s: %s", name, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

bool store__make_file(const char *path, struct err *e) {
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(e, ERR_STORE, "open %s: %s", path, strerror(errno));
    bool ok = fstat(fd, &st) == 0;
    if (!ok)
        err_set(e, ERR_STORE, "look at %s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        ok = err_set(e, ERR_CONFIG, "%s is no plain file", path);
    else if (st.st_mode & 077)
        ok = err_set(e, ERR_CONFIG, "%s can be read or written by others; chmod 600 it", path);
    close(fd);
    return ok && (st.st_size > 0 || store__sync_dir(path, e));
}

bool store__has_room(const char *path, struct err *e) {
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return err_set(e, ERR_STORE, "look at the disk of %s: %s", path, strerror(errno));
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    return room >= STORE_ROOM_BYTES ||
           err_set(e, ERR_STORE, "the disk has %llu KiB left; make room on it", (unsigned long long)room >> 10);
}

uint64_t store__file_bytes(const char *path) {
    char wal[PATH_ROOM];
    struct stat st;
    uint64_t bytes = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    if ((size_t)snprintf(wal, sizeof wal, "%s-wal", path) < sizeof wal && stat(wal, &st) == 0)
        bytes += (uint64_t)st.st_size;
    return bytes;
}
