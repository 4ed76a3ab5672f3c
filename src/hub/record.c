#include "hub/record.h"

#include "base/clock.h"
#include "base/mem.h"

enum { RECORD_BYTES = 512 << 10 };

struct record *record_new(struct loop *home) {
    struct record *r = mem_new(sizeof *r);
    if (!r)
        return NULL;
    arena_init(&r->arena, RECORD_BYTES, NULL);
    r->job.home = home;
    return r;
}

void record_free(struct record *r) {
    if (!r)
        return;
    arena_deinit(&r->arena);
    mem_free(r);
}

struct sv record_text(struct record *r, struct sv v) {
    struct sv copy = arena_sv(&r->arena, v);
    r->failed = r->failed || (v.n && !copy.p);
    return copy.p ? copy : SV("");
}

void record_add(struct record *r, const char *sql, const struct store_value *values, size_t n) {
    struct store_value *own = ARENA_ARRAY(&r->arena, struct store_value, n ? n : 1);
    r->failed = r->failed || !own || r->n == RECORD_STATEMENTS;
    if (r->failed)
        return;
    for (size_t i = 0; i < n; i++) {
        own[i] = values[i];
        if (own[i].kind == STORE_V_TEXT || own[i].kind == STORE_V_BLOB)
            own[i].v = record_text(r, values[i].v);
    }
    r->statements[r->n++] = (struct statement){ sql, own, n, ERR_NONE, NULL };
}

void record_must_change(struct record *r, enum err_code unless, const char *why) {
    if (r->failed)
        return;
    r->statements[r->n - 1].unless = unless;
    r->statements[r->n - 1].why = why;
}

void record_audit(struct record *r, const struct access_actor *by, const char *action, struct sv object, struct sv detail) {
    r->failed = r->failed || r->n_acts == RECORD_ACTS;
    if (r->failed)
        return;
    r->acts[r->n_acts++] = (struct access_act){ record_text(r, by->name), record_text(r, by->peer), sv_of(action),
                                                record_text(r, object),   record_text(r, detail),   clock_wall_ms() };
}

static bool run(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct record *r = CONTAINER(job, struct record, job);
    for (unsigned i = 0; i < r->n_acts; i++)
        if (!access_audit(tx, &r->acts[i], e)) /* before the act */
            return false;
    for (unsigned i = 0; i < r->n; i++) {
        const struct statement *s = &r->statements[i];
        int64_t changed = 0;
        if (!store_run(tx, e, s->sql, s->values, s->n, &changed))
            return false;
        if (s->unless != ERR_NONE && changed == 0)
            return err_set(e, s->unless, "%s", s->why);
    }
    return true;
}

static void done(struct store_job *job, const struct err *e) {
    struct record *r = CONTAINER(job, struct record, job);
    if (r->done)
        r->done(r->arg, e);
    record_free(r);
}

bool record_submit(struct store *s, struct record *r, record_done *told, void *arg, struct err *e) {
    r->job.run = run;
    r->job.done = done;
    r->done = told;
    r->arg = arg;
    if (r->failed ? err_no_memory(e) : store_submit(s, &r->job, e))
        return true;
    record_free(r);
    return false;
}
