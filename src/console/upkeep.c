/* console/upkeep.c - copies and checks of the records, while the daemon runs. A copy of the records has what was set from the console beside it. */
#include <stdio.h>
#include <unistd.h>

#include "console/request.h"

/* One of the two; each of the store's structs has its job first. */
struct upkeep {
    union {
        struct store_job job;
        struct store_backup backup;
        struct store_check check;
    };
    struct waiting *waits;
    char path[4096], settings[4096 + 16]; /* settings: of the copy of what was set here */
};

/* status: of the answer that `put` prints, when all went well. */
static void finish(struct store_job *job, const struct err *e, int status,
                   void (*put)(struct request *r, struct buf *out, const struct upkeep *u)) {
    struct upkeep *u = CONTAINER(job, struct upkeep, job);
    struct request *r = request_resume(u->waits);
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    if (r && e) {
        request_fail(r, e, NULL);
    } else if (r) {
        buf_add_char(&out, '{');
        put(r, &out, u);
        buf_add_char(&out, '}');
        request_reply(r, status, &out);
    }
    mem_free(u);
}

/* Always ends in an answer. */
static void run(struct request *r, const struct upkeep *what, bool (*begin)(struct request *r, struct upkeep *u, struct err *e)) {
    struct err e;
    struct waiting *w = request_wait(r);
    if (!w)
        return;
    struct upkeep *u = mem_copy(what, sizeof *what);
    if (u) {
        u->waits = w;
        u->job.home = r->admin->loop;
        if (begin(r, u, &e))
            return;
    } else {
        err_no_memory(&e);
    }
    mem_free(u);
    (void)request_resume(w);
    request_fail(r, &e, NULL);
}

/* --- a copy ------------------------------------------------------------------------------------------------------- */

static void put_copy(struct request *r, struct buf *out, const struct upkeep *u) {
    alerts_copied(r->admin->alerts);
    put_text(out, "path", sv_of(u->path));
    put_text(out, "settings", sv_of(u->settings));
    put_number(out, "bytes", u->backup.ret_bytes);
}

static void on_copied(struct store_job *job, const struct err *e) {
    struct upkeep *u = CONTAINER(job, struct upkeep, job);
    struct err why;
    if (!e && u->waits->request && !config_layer_copy(*u->waits->request->admin->house->config, u->settings, &why)) {
        err_ctx(&why, "the records are copied, what was set from the console is not");
        e = &why;
    }
    finish(job, e, 201, put_copy);
}

static bool begin_copy(struct request *r, struct upkeep *u, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&r->body));
    struct sv v = json_str(yyjson_doc_get_root(doc), "path");
    if (!v.n || v.p[0] != '/' || !sv_to_cstr(v, u->path, sizeof u->path))
        return err_set(e, ERR_BAD_REQUEST, "\"path\" must be the absolute path of a file that is not there yet");
    snprintf(u->settings, sizeof u->settings, "%s.settings.yaml", u->path);
    if (access(u->settings, F_OK) == 0)
        return err_set(e, ERR_EXISTS, "%s is there already", u->settings);
    u->backup.path = u->path;
    return store_backup(r->admin->house->store, &u->backup, e);
}

/* The caller may open the admin socket: it may write where the daemon may, but never over a file that is there. */
void backup_make(struct request *r) {
    run(r, &(struct upkeep){ .backup.job.done = on_copied }, begin_copy);
}

/* --- a check ------------------------------------------------------------------------------------------------------ */

static void put_verdict(struct request *r, struct buf *out, const struct upkeep *u) {
    (void)r;
    put_truth(out, "fine", u->check.ret_fine);
    put_text(out, "findings", sv_of(u->check.ret_text));
}

static void on_checked(struct store_job *job, const struct err *e) {
    finish(job, e, 200, put_verdict);
}

static bool begin_check(struct request *r, struct upkeep *u, struct err *e) {
    return store_check(r->admin->house->store, &u->check, e);
}

void store_check_run(struct request *r) {
    run(r, &(struct upkeep){ .check.job.done = on_checked }, begin_check);
}
