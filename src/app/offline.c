#include "app/offline.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "io/loop.h"
#include "store/store.h"

enum { CLOSE_MS = 5000 };

struct adding {
    struct loop loop;
    struct store *store;
    struct access *access;
    struct people *people;
    bool ok;
    struct err *e;
};

static void on_added(void *arg, const struct people_result *r, const struct err *e) {
    struct adding *a = arg;
    (void)r;
    a->ok = e == NULL;
    if (e)
        *a->e = *e;
    uv_stop(&a->loop.uv);
}

static bool open_records(struct adding *a, const struct config *c, struct err *e) {
    static const struct access_limits none;
    const struct people_settings settings = { (uint64_t)c->access.session_ttl_ms, (uint64_t)c->access.session_idle_ms };
    char dir[4096], path[4096 + 16];
    if (!sv_to_cstr(c->data_dir, dir, sizeof dir))
        return err_set(e, ERR_CONFIG, "data_dir: path too long");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_set(e, ERR_CONFIG, "data_dir: create %s: %s", dir, strerror(errno));
    snprintf(path, sizeof path, "%s/drover.db", dir);
    a->store = store_open(&(struct store_options){ .path = sv_of(path) }, e);
    a->access = a->store ? access_new(&a->loop, a->store, &none, NULL, NULL, e) : NULL;
    a->people = a->access ? people_new(&a->loop, a->store, a->access, &settings, NULL, NULL, e) : NULL;
    return a->people != NULL;
}

bool offline_add_user(const struct config *c, struct sv name, enum access_role role, struct sv passphrase, struct err *e) {
    static const struct access_actor by = { { "operator", 8 }, { "offline", 7 } };
    struct adding a = { .e = e };
    if (!loop_init(&a.loop, e))
        return false;
    if (open_records(&a, c, e) && people_add(a.people, name, role, passphrase, &by, on_added, &a, e))
        loop_run(&a.loop);
    people_free(a.people);
    access_free(a.access);
    store_close(a.store, CLOSE_MS);
    loop_deinit(&a.loop);
    return a.ok;
}
