/* access/people_rows.c - people and sessions as rows of the store. */
#include "access/crowd.h"

bool people__insert(struct store_tx *tx, const struct person *who, struct sv hash, struct err *e) {
    bool ok = STORE_RUN(tx, e, "INSERT INTO person (name, role, enabled, hash, created_ms, seen_ms, version) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                        STORE_TEXT(who->name), STORE_I64(who->role), STORE_I64(who->enabled), STORE_TEXT(hash),
                        STORE_I64((int64_t)who->created_ms), STORE_I64((int64_t)who->seen_ms), STORE_I64(who->version));
    if (!ok && e->code == ERR_EXISTS)
        err_set(e, ERR_EXISTS, "there is a person named \"%.*s\" already", SV_FMT(who->name));
    return ok;
}

bool people__update(struct store_tx *tx, const struct person *who, struct sv hash, bool *ret_found, struct err *e) {
    int64_t changed = 0;
    const struct store_value v[] = { STORE_TEXT(who->name), STORE_I64(who->role), STORE_I64(who->enabled), STORE_I64(who->version), STORE_TEXT(hash) };
    bool ok = store_run(tx, e, "UPDATE person SET role = $2, enabled = $3, version = $4, hash = CASE WHEN $5 = '' THEN hash ELSE $5 END "
                               "WHERE name = $1 AND version = $4 - 1", v, 5, &changed);
    *ret_found = changed == 1;
    return ok;
}

bool people__delete(struct store_tx *tx, struct sv name, struct err *e) {
    return STORE_RUN(tx, e, "DELETE FROM person WHERE name = $1", STORE_TEXT(name));
}

bool people__keeps_admin(struct store_tx *tx, struct err *e) {
    struct store_rows *r = STORE_QUERY(tx, e, "SELECT 1 FROM person WHERE role = $1 AND enabled = 1 LIMIT 1", STORE_I64(ROLE_ADMIN));
    enum store_step step = r ? store_next(r, e) : STORE_FAULT;
    if (step == STORE_ROW)
        store_end(r);
    return step == STORE_ROW || (step == STORE_END && err_set(e, ERR_DENIED, "then there would be no admin left; make another one first"));
}

bool people__seen(struct store_tx *tx, struct sv name, uint64_t seen_ms, struct sv hash, struct err *e) {
    return STORE_RUN(tx, e, "UPDATE person SET seen_ms = $2, hash = CASE WHEN $3 = '' THEN hash ELSE $3 END WHERE name = $1", STORE_TEXT(name),
                     STORE_I64((int64_t)seen_ms), STORE_TEXT(hash));
}

bool people__insert_session(struct store_tx *tx, const struct session *s, struct sv person, const uint8_t hash[static ACCESS_HASH], struct err *e) {
    return STORE_RUN(tx, e, "INSERT INTO session (id, hash, person, created_ms, used_ms, peer, agent) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                     STORE_TEXT(s->id), STORE_BLOB(((struct sv){ (const char *)hash, ACCESS_HASH })), STORE_TEXT(person),
                     STORE_I64((int64_t)s->created_ms), STORE_I64((int64_t)s->used_ms), STORE_TEXT(s->peer), STORE_TEXT(s->agent));
}

bool people__delete_session(struct store_tx *tx, struct sv id, struct err *e) {
    return STORE_RUN(tx, e, "DELETE FROM session WHERE id = $1", STORE_TEXT(id));
}

bool people__delete_sessions(struct store_tx *tx, struct sv person, struct err *e) {
    return STORE_RUN(tx, e, "DELETE FROM session WHERE person = $1", STORE_TEXT(person));
}

bool people__use_session(struct store_tx *tx, struct sv id, uint64_t used_ms, struct err *e) {
    return STORE_RUN(tx, e, "UPDATE session SET used_ms = $2 WHERE id = $1", STORE_TEXT(id), STORE_I64((int64_t)used_ms));
}

static bool read_people(struct store_tx *tx, struct people *p, struct err *e) {
    struct store_rows *r = store_query(tx, e, "SELECT name, role, enabled, hash, created_ms, seen_ms, version FROM person ORDER BY name", NULL, 0);
    enum store_step step;
    if (!r)
        return false;
    while ((step = store_next(r, e)) == STORE_ROW) {
        int64_t role = store_i64(r, 1);
        struct person who = { .name = store_text(r, 0), .role = role > ROLE_NONE && role < ROLES ? (enum access_role)role : ROLE_VIEWER,
                              .enabled = store_i64(r, 2) != 0, .created_ms = (uint64_t)store_i64(r, 4),
                              .seen_ms = (uint64_t)store_i64(r, 5), .version = store_i64(r, 6) };
        if (!people__take_member(p, &who, store_text(r, 3))) {
            store_end(r);
            return err_no_memory(e);
        }
    }
    return step == STORE_END;
}

static bool read_sessions(struct store_tx *tx, struct people *p, struct err *e) {
    struct store_rows *r = store_query(tx, e, "SELECT id, hash, person, created_ms, used_ms, peer, agent FROM session ORDER BY created_ms, id", NULL, 0);
    enum store_step step;
    if (!r)
        return false;
    while ((step = store_next(r, e)) == STORE_ROW) {
        struct member *m = people__member(p, store_text(r, 2));
        struct sv blob = store_blob(r, 1);
        uint8_t hash[ACCESS_HASH];
        struct session s = { .id = store_text(r, 0), .created_ms = (uint64_t)store_i64(r, 3), .used_ms = (uint64_t)store_i64(r, 4),
                             .peer = store_text(r, 5), .agent = store_text(r, 6) };
        if (!m || blob.n != sizeof hash)
            continue;
        memcpy(hash, blob.p, sizeof hash);
        if (!people__take_visit(p, m, &s, hash)) {
            store_end(r);
            return err_no_memory(e);
        }
    }
    return step == STORE_END;
}

bool people__read(struct store_tx *tx, struct people *p, struct err *e) {
    return read_people(tx, p, e) && read_sessions(tx, p, e);
}
