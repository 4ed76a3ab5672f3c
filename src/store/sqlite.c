/* SQLite as a backend: connections, statements, faults.
 *
 * Durability: WAL with synchronous=FULL, so a commit has returned from fsync (on macOS from F_FULLFSYNC) before it counts. No
 * memory-mapped reading: a file that shrinks or a bad sector shall be an error, not a signal. Sorting goes to memory, never to a
 * temporary file somewhere else. SQLite's memory is ours (base/mem.h), so tests can refuse it piece by piece.
 *
 * Statements stay prepared, per connection, in a list whose front was used last: a job asks for the same few again and
 * again. Parameters are $1 .. $n by name; SQLite counts them as they come, so each statement keeps the order. */
#include "store/sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

enum {
    STATEMENTS_MAX = 64,       /* prepared per connection; a few KiB each */
    BUSY_MS = 2000,            /* waiting for another program, such as a shell on the same file; all jobs wait meanwhile */
    WAL_KEPT_BYTES = 64 << 20, /* what stays of the log file after a long reader */
    CACHE_KIB = 8192,          /* pages, per connection */
    APPLICATION_ID = 0x44525652, /* "DRVR": file(1) and we see whose it is */
};

struct statement {
    struct store_rows rows; /* first */
    sqlite3_stmt *h;
    struct list used;
    char *sql;
    size_t sql_len;
    bool busy;     /* somebody steps through it */
    bool lone;     /* not in the list: the one in the list was busy */
    unsigned n;    /* parameters */
    uint16_t order[]; /* SQLite's i-th parameter is $order[i] */
};

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* SQLite asks for the size of a block, so each carries it in front. */
struct block {
    size_t bytes;
};

static void *on_alloc(int n) {
    struct block *b = mem_alloc(sizeof *b + (size_t)n);
    if (!b)
        return NULL;
    b->bytes = (size_t)n;
    return b + 1;
}

static void on_free(void *p) {
    if (p)
        mem_free((struct block *)p - 1);
}

static void *on_resize(void *p, int n) {
    struct block *b = mem_resize((struct block *)p - 1, sizeof *b + (size_t)n);
    if (!b)
        return NULL;
    b->bytes = (size_t)n;
    return b + 1;
}

static int on_size(void *p) {
    return p ? (int)((struct block *)p - 1)->bytes : 0;
}

static int on_round(int n) {
    return (n + 7) & ~7;
}

static int on_init(void *arg) {
    (void)arg;
    return SQLITE_OK;
}

static void on_shutdown(void *arg) {
    (void)arg;
}

static void set_up(void) {
    static const sqlite3_mem_methods ours = { on_alloc, on_free, on_resize, on_size, on_round, on_init, on_shutdown, NULL };
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* else a mutex of the process around each allocation */
    sqlite3_config(SQLITE_CONFIG_URI, 0);
}

/* --- faults ------------------------------------------------------------------------------------------------------- */

/* The first table a statement names: the word after INTO, FROM, UPDATE or TABLE. */
static struct sv table_of(struct sv sql) {
    static const char *const before[] = { "INTO", "FROM", "UPDATE", "TABLE" };
    bool now = false;
    for (size_t i = 0; i < sql.n;) {
        size_t at = i;
        while (i < sql.n && strchr(" \t\n\r(),;", sql.p[i]) == NULL)
            i++;
        struct sv word = { sql.p + at, i - at };
        if (now && word.n)
            return sv_first(word, 64);
        for (size_t k = 0; k < sizeof before / sizeof *before; k++)
            now |= sv_eq_nocase(word, sv_of(before[k]));
        i += i == at;
    }
    return SV("a statement");
}

/* Why the system refused. SQLite forgets it when a commit fails; then errno often still tells, if nothing but the disk explains it. */
static int cause(sqlite3 *h, int now) {
    static const int plausible[] = { ENOSPC, EFBIG, EDQUOT, EIO, EROFS, EACCES, EPERM, EMFILE, ENFILE, ESTALE, ENODEV, ENXIO };
    int os = h ? sqlite3_system_errno(h) : 0;
    for (size_t i = 0; !os && i < sizeof plausible / sizeof *plausible; i++)
        os = now == plausible[i] ? now : 0;
    return os;
}

bool sqlite__fault(struct sqlite *s, int rc, struct sv what, bool says_more, struct err *e) {
    int now = errno;
    static const struct {
        int rc;
        enum err_code code;
        enum store_state ill;
        const char *cure;
    } known[] = {
        { SQLITE_NOMEM, ERR_NO_MEMORY, STORE_WELL, "" },
        { SQLITE_INTERRUPT, ERR_CANCELED, STORE_WELL, "" },
        { SQLITE_TOOBIG, ERR_TOO_LARGE, STORE_WELL, "" },
        { SQLITE_FULL, ERR_STORE, STORE_FAILING, "; make room on its disk" },
        { SQLITE_READONLY, ERR_STORE, STORE_FAILING, "; let drover write to its data_dir" },
        { SQLITE_BUSY, ERR_STORE, STORE_FAILING, "; end the other program that has the file open" },
        { SQLITE_LOCKED, ERR_STORE, STORE_FAILING, "" },
        { SQLITE_IOERR, ERR_STORE, STORE_FAILING, "" },
        { SQLITE_CANTOPEN, ERR_STORE, STORE_FAILING, "" },
        { SQLITE_PROTOCOL, ERR_STORE, STORE_FAILING, "" },
        { SQLITE_PERM, ERR_STORE, STORE_FAILING, "" },
        { SQLITE_AUTH, ERR_STORE, STORE_FAILING, "" },
        { SQLITE_CORRUPT, ERR_STORE, STORE_DAMAGED, "; restore a backup" },
        { SQLITE_NOTADB, ERR_STORE, STORE_DAMAGED, "; restore a backup" },
    };
    enum err_code code = ERR_INTERNAL;
    enum store_state ill = STORE_WELL;
    const char *cure = "";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].rc == (rc & 0xff)) {
            code = known[i].code;
            ill = known[i].ill;
            cure = known[i].cure;
        }
    }
    if (rc == SQLITE_IOERR_NOMEM) {
        code = ERR_NO_MEMORY;
        ill = STORE_WELL;
    } else if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_ROWID) {
        code = ERR_EXISTS;
    }
    if (ill > s->db.ill)
        s->db.ill = ill;
    s->db.ill_io |= ill != STORE_WELL && (rc & 0xff) == SQLITE_IOERR;
    int os = ill == STORE_FAILING ? cause(s->h, now) : 0;
    says_more = s->h && (says_more || (rc & 0xff) == SQLITE_CONSTRAINT);
    return err_set(e, code, "%.*s: %s%s%s%s%s", SV_FMT(what), says_more ? sqlite3_errmsg(s->h) : sqlite3_errstr(rc & 0xff),
                   os ? " (" : "", os ? strerror(os) : "", os ? ")" : "", cure);
}

/* --- statements ---------------------------------------------------------------------------------------------------- */

static void statement_free(struct sqlite *s, struct statement *t) {
    if (!t->lone) {
        list_drop(&t->used);
        s->n_statements--;
    }
    sqlite3_finalize(t->h);
    mem_free(t->sql);
    mem_free(t);
}

/* The one used longest ago makes room. */
static void forget_one(struct sqlite *s) {
    for (struct list *it = s->statements.prev; it != &s->statements; it = it->prev) {
        struct statement *t = CONTAINER(it, struct statement, used);
        if (!t->busy) {
            statement_free(s, t);
            return;
        }
    }
}

/* Which value goes where. False when the parameters are not $1 .. $n. */
static bool read_order(struct statement *t, struct err *e) {
    for (unsigned i = 0; i < t->n; i++) {
        const char *name = sqlite3_bind_parameter_name(t->h, (int)i + 1);
        uint64_t k;
        if (!name || name[0] != '$' || !sv_to_u64(sv_of(name + 1), &k) || k < 1 || k > t->n)
            return err_set(e, ERR_INTERNAL, "%.*s: parameters are $1 to $n, each of them used", SV_FMT(table_of(sv_of(t->sql))));
        t->order[i] = (uint16_t)k;
    }
    return true;
}

static struct statement *prepare(struct sqlite *s, struct sv sql, struct err *e) {
    sqlite3_stmt *h = NULL;
    const char *rest = NULL;
    int rc = sqlite3_prepare_v3(s->h, sql.p, (int)sql.n + 1, SQLITE_PREPARE_PERSISTENT, &h, &rest);
    if (rc != SQLITE_OK) {
        sqlite__fault(s, rc, table_of(sql), true, e);
        return NULL;
    }
    int n = sqlite3_bind_parameter_count(h);
    struct statement *t = NULL;
    if (!h || rest[strspn(rest, " \t\r\n;")])
        err_set(e, ERR_INTERNAL, "%.*s: one statement per call", SV_FMT(table_of(sql)));
    else if (s->db.reads && !sqlite3_stmt_readonly(h))
        err_set(e, ERR_INTERNAL, "%.*s: a job that only reads may not write", SV_FMT(table_of(sql)));
    else if (n > STORE_VALUES_MAX)
        err_set(e, ERR_INTERNAL, "%.*s: more than %d parameters", SV_FMT(table_of(sql)), STORE_VALUES_MAX);
    else if (!(t = mem_new(sizeof *t + (size_t)n * sizeof *t->order)))
        err_no_memory(e);
    if (!t) {
        sqlite3_finalize(h);
        return NULL;
    }
    t->h = h;
    t->rows.db = &s->db;
    list_init(&t->rows.open);
    list_init(&t->used);
    t->n = (unsigned)n;
    t->sql_len = sql.n;
    t->lone = true;
    t->sql = mem_str(sql.p, sql.n);
    bool ok = t->sql || err_no_memory(e);
    if (!ok || !read_order(t, e)) {
        statement_free(s, t);
        return NULL;
    }
    return t;
}

static struct statement *find(struct sqlite *s, struct sv sql, struct err *e) {
    bool is_busy = false;
    LIST_FOR(it, &s->statements) {
        struct statement *t = CONTAINER(it, struct statement, used);
        if (t->sql_len != sql.n || memcmp(t->sql, sql.p, sql.n) != 0)
            continue;
        is_busy = t->busy;
        if (is_busy)
            break;
        list_drop(&t->used);
        list_push_front(&s->statements, &t->used);
        return t;
    }
    struct statement *t = prepare(s, sql, e);
    if (!t || is_busy)
        return t;
    if (s->n_statements >= STATEMENTS_MAX)
        forget_one(s);
    t->lone = false;
    s->n_statements++;
    list_push_front(&s->statements, &t->used);
    return t;
}

static int bind_one(sqlite3_stmt *h, int at, const struct store_value *v) {
    const char *p = v->v.p ? v->v.p : ""; /* NULL would be stored as NULL */
    switch (v->kind) {
    case STORE_V_I64: return sqlite3_bind_int64(h, at, v->i);
    case STORE_V_REAL: return sqlite3_bind_double(h, at, v->r);
    case STORE_V_TEXT: return sqlite3_bind_text64(h, at, p, v->v.n, SQLITE_STATIC, SQLITE_UTF8);
    case STORE_V_BLOB: return sqlite3_bind_blob64(h, at, p, v->v.n, SQLITE_STATIC);
    case STORE_V_NULL: break;
    }
    return sqlite3_bind_null(h, at);
}

static void on_end(struct store_rows *r) {
    struct statement *t = CONTAINER(r, struct statement, rows);
    struct sqlite *s = CONTAINER(r->db, struct sqlite, db);
    sqlite3_reset(t->h);
    t->busy = false;
    if (t->lone)
        statement_free(s, t);
}

static struct store_rows *on_query(struct store_db *db, struct err *e, const char *sql, const struct store_value *values, size_t n) {
    struct sqlite *s = CONTAINER(db, struct sqlite, db);
    struct statement *t = find(s, sv_of(sql), e);
    if (!t)
        return NULL;
    t->busy = true;
    bool ok = t->n == n || err_set(e, ERR_INTERNAL, "%.*s: %u parameters and %zu values", SV_FMT(table_of(sv_of(sql))), t->n, n);
    for (unsigned i = 0; ok && i < t->n; i++) {
        int rc = bind_one(t->h, (int)i + 1, &values[t->order[i] - 1]);
        ok = rc == SQLITE_OK || sqlite__fault(s, rc, table_of(sv_of(sql)), false, e);
    }
    if (!ok) {
        on_end(&t->rows);
        return NULL;
    }
    return &t->rows;
}

static enum store_step on_next(struct store_rows *r, struct err *e) {
    struct statement *t = CONTAINER(r, struct statement, rows);
    errno = 0;
    int rc = sqlite3_step(t->h);
    if (rc == SQLITE_ROW)
        return STORE_ROW;
    if (rc == SQLITE_DONE)
        return STORE_END;
    sqlite__fault(CONTAINER(r->db, struct sqlite, db), rc, table_of((struct sv){ t->sql, t->sql_len }), false, e);
    return STORE_FAULT;
}

static int64_t on_changed(struct store_db *db) {
    return sqlite3_changes64(CONTAINER(db, struct sqlite, db)->h);
}

static bool is_number(sqlite3_stmt *h, int column) {
    int type = sqlite3_column_type(h, column);
    return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

static int64_t on_i64(struct store_rows *r, int column) {
    sqlite3_stmt *h = CONTAINER(r, struct statement, rows)->h;
    return is_number(h, column) ? sqlite3_column_int64(h, column) : 0;
}

static double on_real(struct store_rows *r, int column) {
    sqlite3_stmt *h = CONTAINER(r, struct statement, rows)->h;
    return is_number(h, column) ? sqlite3_column_double(h, column) : 0;
}

/* Text as well is fetched as bytes: that needs no NUL behind it and so no memory that could be missing. */
static struct sv on_bytes(struct store_rows *r, int column, bool text) {
    sqlite3_stmt *h = CONTAINER(r, struct statement, rows)->h;
    if (sqlite3_column_type(h, column) != (text ? SQLITE_TEXT : SQLITE_BLOB))
        return SV_NULL;
    const char *p = sqlite3_column_blob(h, column);
    return (struct sv){ p, p ? (size_t)sqlite3_column_bytes(h, column) : 0 };
}

static bool on_is_null(struct store_rows *r, int column) {
    return sqlite3_column_type(CONTAINER(r, struct statement, rows)->h, column) == SQLITE_NULL;
}

/* --- transactions -------------------------------------------------------------------------------------------------- */

/* One of our own statements, prepared once like the others. */
static bool say(struct store_db *db, const char *sql, struct sv what, struct err *e) {
    struct sqlite *s = CONTAINER(db, struct sqlite, db);
    struct statement *t = find(s, sv_of(sql), e);
    if (!t)
        return err_ctx(e, "%.*s", SV_FMT(what));
    errno = 0;
    int rc = sqlite3_step(t->h);
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW || sqlite__fault(s, rc, what, false, e);
    on_end(&t->rows);
    return ok;
}

static bool on_in_tx(struct store_db *db) {
    return !sqlite3_get_autocommit(CONTAINER(db, struct sqlite, db)->h);
}

static void on_rollback(struct store_db *db) {
    if (on_in_tx(db) && !say(db, "ROLLBACK", SV("rollback"), NULL) && on_in_tx(db))
        sqlite3_exec(CONTAINER(db, struct sqlite, db)->h, "ROLLBACK", NULL, NULL, NULL); /* memory was short: once more */
}

static bool on_begin(struct store_db *db, struct err *e) {
    on_rollback(db); /* of a transaction that could not be ended for want of memory */
    if (on_in_tx(db))
        return err_no_memory(e);
    return say(db, db->reads ? "BEGIN" : "BEGIN IMMEDIATE", SV("begin"), e);
}

static bool on_commit(struct store_db *db, struct err *e) {
    return say(db, "COMMIT", SV("commit"), e);
}

static bool on_mark(struct store_db *db, struct err *e) {
    return say(db, "SAVEPOINT job", SV("savepoint"), e);
}

static bool on_keep(struct store_db *db, struct err *e) {
    return say(db, "RELEASE SAVEPOINT job", SV("savepoint"), e);
}

static bool on_undo(struct store_db *db, struct err *e) {
    return say(db, "ROLLBACK TO SAVEPOINT job", SV("take a job back"), e) && on_keep(db, e);
}

static bool on_script(struct store_db *db, const char *sql, struct err *e) {
    struct sqlite *s = CONTAINER(db, struct sqlite, db);
    while (sql[strspn(sql, " \t\r\n;")]) {
        sqlite3_stmt *h = NULL;
        int rc = sqlite3_prepare_v2(s->h, sql, -1, &h, &sql);
        while (rc == SQLITE_OK && h && (rc = sqlite3_step(h)) == SQLITE_ROW)
            rc = SQLITE_OK;
        bool ok = rc == SQLITE_OK || rc == SQLITE_DONE || sqlite__fault(s, rc, SV("script"), true, e);
        sqlite3_finalize(h);
        if (!ok)
            return false;
    }
    return true;
}

/* --- connections --------------------------------------------------------------------------------------------------- */

static void on_close(struct store_db *db) {
    if (!db)
        return;
    struct sqlite *s = CONTAINER(db, struct sqlite, db);
    for (struct list *it; (it = s->statements.next) != &s->statements;)
        statement_free(s, CONTAINER(it, struct statement, used));
    sqlite3_close(s->h);
    mem_free(s);
}

static void on_interrupt(struct store_db *db) {
    sqlite3_interrupt(CONTAINER(db, struct sqlite, db)->h);
}

/* A number a pragma or a query of one row answers; false with *e set when there is none. */
static bool ask(struct sqlite *s, const char *sql, int64_t *ret_value, struct err *e) {
    sqlite3_stmt *h = NULL;
    int rc = sqlite3_prepare_v2(s->h, sql, -1, &h, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(h)) == SQLITE_ROW) {
        *ret_value = sqlite3_column_int64(h, 0);
        rc = SQLITE_OK;
    }
    bool ok = rc == SQLITE_OK || sqlite__fault(s, rc, SV("open"), true, e);
    sqlite3_finalize(h);
    return ok;
}

/* A new file is marked as ours; one that holds something and bears no mark is not touched. */
static bool claim(struct sqlite *s, struct err *e) {
    int64_t id = 0, n_tables = 0;
    char sql[64];
    if (!ask(s, "PRAGMA application_id", &id, e))
        return false;
    if (id == APPLICATION_ID)
        return true;
    if (!ask(s, "SELECT count(*) FROM sqlite_master", &n_tables, e))
        return false;
    if (id != 0 || n_tables != 0)
        return err_set(e, ERR_CONFIG, "it is a database of another program; move it away");
    if (s->db.reads)
        return true;
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d", APPLICATION_ID);
    return on_script(&s->db, sql, e);
}

static bool set_modes(struct sqlite *s, struct err *e) {
    static const int off[] = { SQLITE_DBCONFIG_DQS_DML, SQLITE_DBCONFIG_DQS_DDL, SQLITE_DBCONFIG_TRUSTED_SCHEMA,
                               SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION };
    char sql[512];
    int64_t is_wal = 0;
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        sqlite3_db_config(s->h, off[i], 0, NULL);
    sqlite3_db_config(s->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_extended_result_codes(s->h, 1);
    sqlite3_busy_timeout(s->h, BUSY_MS);
    snprintf(sql, sizeof sql,
             "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -%d;"
             "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;"
             "PRAGMA secure_delete = FAST; PRAGMA journal_size_limit = %d; PRAGMA journal_mode = WAL; PRAGMA query_only = %s",
             CACHE_KIB, WAL_KEPT_BYTES, s->db.reads ? "ON" : "OFF");
    return claim(s, e) && on_script(&s->db, sql, e) &&
           ask(s, "SELECT journal_mode = 'wal' FROM pragma_journal_mode", &is_wal, e) &&
           (is_wal || err_set(e, ERR_STORE, "its file system cannot hold a write-ahead log; choose a local data_dir"));
}

static struct store_db *on_open(const char *path, bool reads, enum store_state *ret_ill, struct err *e) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up);
    *ret_ill = STORE_WELL;
    struct sqlite *s = mem_new(sizeof *s);
    if (!s) {
        err_no_memory(e);
        return NULL;
    }
    s->db.backend = &store__sqlite;
    s->db.reads = reads;
    list_init(&s->statements);
    int rc = sqlite3_open_v2(path, &s->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!(rc == SQLITE_OK ? set_modes(s, e) : sqlite__fault(s, rc, SV("open"), false, e))) {
        *ret_ill = s->db.ill;
        err_ctx(e, "%s", path);
        on_close(&s->db);
        return NULL;
    }
    return &s->db;
}

const struct store_backend store__sqlite = {
    .name = "sqlite",
    .open = on_open,
    .close = on_close,
    .interrupt = on_interrupt,
    .begin = on_begin,
    .commit = on_commit,
    .rollback = on_rollback,
    .in_tx = on_in_tx,
    .mark = on_mark,
    .keep = on_keep,
    .undo = on_undo,
    .script = on_script,
    .query = on_query,
    .next = on_next,
    .changed = on_changed,
    .end = on_end,
    .i64 = on_i64,
    .real = on_real,
    .bytes = on_bytes,
    .is_null = on_is_null,
    .backup = sqlite__backup,
    .check = sqlite__check,
};
