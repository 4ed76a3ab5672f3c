/* The schema goes forward, one transaction per version, and the database knows how its last use ended.
 *
 * Two small tables belong to the store itself. store_migration has a row per version taken; the highest is the database's. store_mark
 * holds numbers by name: "clean" is 1 only between a store_close that went well and the next store_open, "probe" is what the
 * probes of a failing store write. They are tables, not pragmas, so that they are the same on every backend. */
#include <assert.h>

#include "base/clock.h"
#include "store/room.h"

#define OWN_TABLES                                                                                                     \
    "CREATE TABLE IF NOT EXISTS store_migration (version BIGINT PRIMARY KEY, name TEXT NOT NULL, at_ms BIGINT NOT "    \
    "NULL);"                                                                                                           \
    "CREATE TABLE IF NOT EXISTS store_mark (name TEXT PRIMARY KEY, value BIGINT NOT NULL);"

/* fn in a transaction of its own. */
static bool alone(struct store_db *db, bool (*fn)(struct store_tx *tx, void *arg, struct err *e), void *arg,
                  struct err *e) {
    struct store_tx tx = { .db = db };
    store__tx_init(&tx, db);
    if (!db->backend->begin(db, e))
        return false;
    bool ok = fn(&tx, arg, e);
    store__tx_end_rows(&tx);
    if (!ok || !db->backend->commit(db, e)) {
        db->backend->rollback(db);
        return false;
    }
    return true;
}

/* The one number sql finds, or missing if it finds no row. */
static bool number(struct store_tx *tx, const char *sql, int64_t missing, int64_t *ret_number, struct err *e) {
    struct store_rows *r = store_query(tx, e, sql, NULL, 0);
    if (!r)
        return false;
    enum store_step step = store_next(r, e);
    if (step == STORE_FAULT)
        return false;
    *ret_number = step == STORE_ROW && !store_is_null(r, 0) ? store_i64(r, 0) : missing;
    if (step == STORE_ROW)
        store_end(r);
    return true;
}

static bool set_mark(struct store_tx *tx, const char *name, int64_t value, struct err *e) {
    return STORE_RUN(
        tx, e,
        "INSERT INTO store_mark (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        STORE_TEXT(sv_of(name)), STORE_I64(value));
}

static bool own_tables(struct store_tx *tx, void *arg, struct err *e) {
    (void)arg;
    return tx->db->backend->script(tx->db, OWN_TABLES, e);
}

static bool take_step(struct store_tx *tx, void *arg, struct err *e) {
    const struct store_migration *m = arg;
    if (!(tx->db->backend->script(tx->db, m->sql, e) &&
          STORE_RUN(tx, e, "INSERT INTO store_migration (version, name, at_ms) VALUES ($1, $2, $3)",
                    STORE_I64(m->version), STORE_TEXT(sv_of(m->name)), STORE_I64((int64_t)clock_wall_ms()))))
        return err_ctx(e, "bring the schema to version %d (%s)", m->version, m->name);
    return true;
}

static bool read_version(struct store_tx *tx, void *arg, struct err *e) {
    return number(tx, "SELECT max(version) FROM store_migration", 0, arg, e);
}

bool store__migrate(struct store_db *db, const char *path, const struct store_migration *list, int *ret_version,
                    struct err *e) {
    int64_t version = 0;
    int newest = 0;
    for (const struct store_migration *m = list; m->version; m++) {
        assert(m->version > newest); /* the list ascends */
        newest = m->version;
    }
    if (!alone(db, own_tables, NULL, e) || !alone(db, read_version, &version, e))
        return err_ctx(e, "%s", path);
    if (version > newest)
        return err_set(
            e, ERR_CONFIG,
            "%s was written by a newer drover (its schema is %lld, this program knows %d); start that version, or "
            "restore a backup made before it",
            path, (long long)version, newest);
    for (; list->version; list++)
        if (list->version > version && !alone(db, take_step, (void *)list, e))
            return err_ctx(e, "%s", path);
    *ret_version = newest;
    return true;
}

static bool look_and_mark(struct store_tx *tx, void *arg, struct err *e) {
    /* A new file has no mark: nothing went wrong with it yet. */
    return number(tx, "SELECT value FROM store_mark WHERE name = 'clean'", 1, arg, e) && set_mark(tx, "clean", 0, e);
}

bool store__mark_open(struct store_db *db, bool *ret_was_clean, struct err *e) {
    int64_t clean = 0;
    if (!alone(db, look_and_mark, &clean, e))
        return err_ctx(e, "mark the database as open");
    *ret_was_clean = clean == 1;
    return true;
}

static bool mark_clean(struct store_tx *tx, void *arg, struct err *e) {
    (void)arg;
    return set_mark(tx, "clean", 1, e);
}

bool store__mark_clean(struct store_db *db, struct err *e) {
    return alone(db, mark_clean, NULL, e);
}

static bool write_probe(struct store_tx *tx, void *arg, struct err *e) {
    (void)arg;
    return set_mark(tx, "probe", (int64_t)clock_wall_ms(), e);
}

bool store__probe(struct store_db *db, struct err *e) {
    return alone(db, write_probe, NULL, e);
}
