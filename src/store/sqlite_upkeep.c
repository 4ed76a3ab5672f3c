/* Backup and check of a SQLite database. Both run inside a transaction that reads, so they see one state while others write.
 *
 * The copy is made by SQLite's backup interface. Without the transaction it would begin anew after each write of another
 * connection, and on a busy store never end. */
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rand.h"
#include "store/room.h"

enum {
    STEP_PAGES = 256,  /* copied between two looks at stop: a megabyte */
    FINDINGS_MAX = 10, /* lines of a check */
};

/* A fresh name beside path: "x.db.partial-Ab3dE6gh". */
static char *partial_name(const char *path, struct err *e) {
    char mark[9];
    size_t room = strlen(path) + sizeof ".partial-" + sizeof mark;
    char *name = mem_alloc(room);
    if (!name) {
        err_no_memory(e);
        return NULL;
    }
    rand_text(mark, sizeof mark - 1);
    snprintf(name, room, "%s.partial-%s", path, mark);
    return name;
}

/* A fault of the copy's disk is not one of the store's; a page of ours that cannot be read is. */
static bool copy_fault(struct sqlite *s, int rc, struct err *e) {
    struct sqlite nobody = { .h = NULL };
    bool ours = (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB || rc == SQLITE_IOERR_READ ||
                rc == SQLITE_IOERR_SHORT_READ;
    return sqlite__fault(ours ? s : &nobody, rc, SV("copy"), false, e);
}

static bool copy(struct sqlite *s, sqlite3 *to, const atomic_bool *stop, struct err *e) {
    sqlite3_extended_result_codes(to, 1);
    sqlite3_exec(to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL,
                 NULL); /* it is synced once, at the end */
    sqlite3_backup *b = sqlite3_backup_init(to, "main", s->h, "main");
    if (!b)
        return copy_fault(s, sqlite3_extended_errcode(to), e);
    int rc = SQLITE_OK;
    errno = 0;
    while (rc == SQLITE_OK && !atomic_load_explicit(stop, memory_order_relaxed))
        rc = sqlite3_backup_step(b, STEP_PAGES);
    int end = sqlite3_backup_finish(b);
    if (rc == SQLITE_OK)
        return err_set(e, ERR_CANCELED, "the store is closing");
    return (rc == SQLITE_DONE && end == SQLITE_OK) || copy_fault(s, rc == SQLITE_DONE ? end : rc, e);
}

/* The copy into the empty file name. */
static bool fill(struct sqlite *s, const char *name, const atomic_bool *stop, struct err *e) {
    sqlite3 *to = NULL;
    int rc = sqlite3_open_v2(name, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    bool ok = rc == SQLITE_OK ? copy(s, to, stop, e) : copy_fault(s, rc, e);
    rc = sqlite3_close(to);
    return ok && (rc == SQLITE_OK || copy_fault(s, rc, e));
}

static bool sync_file(const char *name, uint64_t *ret_bytes, struct err *e) {
    struct stat st;
    int fd = open(name, O_RDWR | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0 && fstat(fd, &st) == 0;
    if (ok)
        *ret_bytes = (uint64_t)st.st_size;
    else
        err_set(e, ERR_STORE, "sync: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

/* A link refuses an existing name, which rename would replace. Sticks that know no links get a rename after a last look. */
static bool name_it(const char *from, const char *to, struct err *e) {
    bool ok = link(from, to) == 0;
    if (ok) {
        unlink(from);
    } else if (errno == EPERM || errno == ENOTSUP || errno == EMLINK || errno == ENOSYS) {
        struct stat st;
        errno = EEXIST;
        ok = lstat(to, &st) != 0 && rename(from, to) == 0;
    }
    if (ok)
        return store__sync_dir(to, e);
    return errno == EEXIST ? err_set(e, ERR_EXISTS, "it is there already; choose another name")
                           : err_set(e, ERR_STORE, "%s", strerror(errno));
}

bool sqlite__backup(struct store_db *db, const char *path, const atomic_bool *stop, uint64_t *ret_bytes,
                    struct err *e) {
    struct sqlite *s = CONTAINER(db, struct sqlite, db);
    struct stat st;
    if (lstat(path, &st) == 0)
        return err_set(e, ERR_EXISTS, "backup to %s: it is there already; choose another name", path);
    char *name = partial_name(path, e);
    if (!name)
        return false;
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 || err_set(e, ERR_STORE, "%s", strerror(errno));
    if (fd >= 0) {
        close(fd);
        ok = fill(s, name, stop, e) && sync_file(name, ret_bytes, e) && name_it(name, path, e);
        if (!ok)
            unlink(name);
    }
    mem_free(name);
    return ok || err_ctx(e, "backup to %s", path);
}

/* --- check --------------------------------------------------------------------------------------------------------- */

/* Adds what a pragma complains of to text. Its lines name tables, indices, pages and row numbers, no values. */
static bool complaints(struct sqlite *s, const char *sql, bool *fine, char text[static STORE_CHECK_TEXT],
                       struct err *e) {
    sqlite3_stmt *h = NULL;
    int rc = sqlite3_prepare_v2(s->h, sql, -1, &h, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(h)) == SQLITE_ROW) {
        const char *line = (const char *)sqlite3_column_text(h, 0);
        size_t n = strlen(text);
        rc = SQLITE_OK;
        if (line && strcmp(line, "ok") == 0)
            continue;
        *fine = false;
        snprintf(text + n, STORE_CHECK_TEXT - n, "%s%s%s", n ? "; " : "", line ? line : "?",
                 sqlite3_column_count(h) > 1 ? " refers to a row that is not there" : "");
    }
    bool ok = rc == SQLITE_OK || rc == SQLITE_DONE;
    if (!ok && ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)) {
        *fine = false;
        if (!text[0])
            snprintf(text, STORE_CHECK_TEXT, "%s", sqlite3_errmsg(s->h));
        ok = true;
    }
    if (!ok)
        sqlite__fault(s, rc, SV("check"), false, e);
    sqlite3_finalize(h);
    return ok;
}

bool sqlite__check(struct store_db *db, bool full, bool *ret_fine, char text[static STORE_CHECK_TEXT], struct err *e) {
    struct sqlite *s = CONTAINER(db, struct sqlite, db);
    char sql[64];
    bool fine = true;
    text[0] = '\0';
    snprintf(sql, sizeof sql, "PRAGMA %s(%d)", full ? "integrity_check" : "quick_check", FINDINGS_MAX);
    if (!complaints(s, sql, &fine, text, e) ||
        (full && fine && !complaints(s, "PRAGMA foreign_key_check", &fine, text, e)))
        return false;
    *ret_fine = fine;
    return true;
}
