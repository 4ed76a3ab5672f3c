/* console/upkeep.c - copies and checks of the records, while the daemon runs. */
#include "console/request.h"
#include "store/store.h"

struct copy {
    struct store_backup backup;
    struct waiting *waits;
    char path[4096];
};

static void on_copied(struct store_job *job, const struct err *e) {
    struct store_backup *b = CONTAINER(job, struct store_backup, job);
    struct copy *c = CONTAINER(b, struct copy, backup);
    struct request *r = request_resume(c->waits);
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    if (r && e) {
        request_fail(r, e, NULL);
    } else if (r) {
        buf_add_char(&out, '{');
        put_text(&out, "path", sv_of(c->path));
        put_number(&out, "bytes", b->ret_bytes);
        buf_add_char(&out, '}');
        request_reply(r, 201, &out);
    }
    mem_free(c);
}

static bool read_path(struct request *r, char *path, size_t size, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&r->body));
    struct sv v = json_str(yyjson_doc_get_root(doc), "path");
    return (v.n && v.p[0] == '/' && sv_to_cstr(v, path, size)) ||
           err_set(e, ERR_BAD_REQUEST, "\"path\" must be the absolute path of a file that is not there yet");
}

/* The caller may open the admin socket: it may write where the daemon may, but never over a file that is there. */
void backup_make(struct request *r) {
    struct err e;
    struct waiting *w = request_wait(r);
    struct copy *c = w ? mem_new(sizeof *c) : NULL;
    if (!w)
        return;
    bool ok = c != NULL || err_no_memory(&e);
    if (ok) {
        c->waits = w;
        c->backup = (struct store_backup){ .job = { .home = r->admin->loop, .done = on_copied }, .path = c->path };
        ok = read_path(r, c->path, sizeof c->path, &e) && store_backup(r->admin->house->store, &c->backup, &e);
    }
    if (ok)
        return;
    mem_free(c);
    (void)request_resume(w);
    request_fail(r, &e, NULL);
}

struct check {
    struct store_check check;
    struct waiting *waits;
};

static void on_checked(struct store_job *job, const struct err *e) {
    struct store_check *k = CONTAINER(job, struct store_check, job);
    struct check *c = CONTAINER(k, struct check, check);
    struct request *r = request_resume(c->waits);
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    if (r && e) {
        request_fail(r, e, NULL);
    } else if (r) {
        buf_add_char(&out, '{');
        put_truth(&out, "fine", k->ret_fine);
        put_text(&out, "findings", sv_of(k->ret_text));
        buf_add_char(&out, '}');
        request_reply(r, 200, &out);
    }
    mem_free(c);
}

void store_check_run(struct request *r) {
    struct err e;
    struct waiting *w = request_wait(r);
    struct check *c = w ? mem_new(sizeof *c) : NULL;
    if (!w)
        return;
    bool ok = c != NULL || err_no_memory(&e);
    if (ok) {
        c->waits = w;
        c->check = (struct store_check){ .job = { .home = r->admin->loop, .done = on_checked } };
        ok = store_check(r->admin->house->store, &c->check, &e);
    }
    if (ok)
        return;
    mem_free(c);
    (void)request_resume(w);
    request_fail(r, &e, NULL);
}
