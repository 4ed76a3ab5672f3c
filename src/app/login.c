#include "app/login.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"

enum { FILE_MAX = 1 << 20 };

static bool place(char *path, size_t size, bool make_dirs) {
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char dir[3000];
    int n = xdg && xdg[0] == '/' ? snprintf(dir, sizeof dir, "%s", xdg) : home && home[0] == '/' ? snprintf(dir, sizeof dir, "%s/.config", home) : -1;
    if (n < 0 || (size_t)n >= sizeof dir - 16)
        return false;
    if (make_dirs)
        (void)mkdir(dir, 0700);
    snprintf(dir + n, sizeof dir - (size_t)n, "/drover");
    if (make_dirs)
        (void)mkdir(dir, 0700);
    n = snprintf(path, size, "%s/login.json", dir);
    return n > 0 && (size_t)n < size;
}

/* NULL: there is none, or *e says why it is not read. */
static yyjson_doc *read_file(struct err *e) {
    char path[3100];
    struct stat st;
    struct buf text = BUF_MAX(FILE_MAX);
    int fd = place(path, sizeof path, false) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    yyjson_doc *doc = NULL;
    bool is_file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < FILE_MAX;
    if (is_file && (st.st_mode & 077)) {
        err_set(e, ERR_CONFIG, "others can read %s; chmod 600 it, or sign in again after deleting it", path);
    } else if (is_file) {
        char *to = buf_reserve(&text, (size_t)st.st_size + 1);
        ssize_t n = to ? read(fd, to, (size_t)st.st_size) : -1;
        if (n > 0)
            doc = json_parse((struct sv){ to, (size_t)n });
    }
    if (fd >= 0)
        close(fd);
    buf_deinit(&text);
    return doc;
}

bool login_read(struct sv url, struct arena *a, struct login *ret, struct err *e) {
    e->code = ERR_NONE;
    CLEANUP(json_doc_freep) yyjson_doc *doc = read_file(e);
    yyjson_val *hub = yyjson_obj_getn(json_get(yyjson_doc_get_root(doc), "hubs"), url.p, url.n);
    if (!hub)
        return false;
    *ret = (struct login){ arena_sv(a, json_str(hub, "user")), arena_sv(a, json_str(hub, "secret")), arena_sv(a, json_str(hub, "ca")) };
    return ret->secret.n > 0;
}

static void put_hub(struct buf *out, struct sv url, const struct login *l) {
    buf_add(out, out->p[out->n - 1] == '{' ? SV_NULL : SV(","));
    buf_add_json(out, url);
    buf_add(out, SV(":{\"user\":"));
    buf_add_json(out, l->user);
    buf_add(out, SV(",\"secret\":"));
    buf_add_json(out, l->secret);
    buf_add(out, SV(",\"ca\":"));
    buf_add_json(out, l->ca_file);
    buf_add_char(out, '}');
}

/* Beside it first, so that a full disk costs nothing that was there. */
static bool replace(struct sv text, struct err *e) {
    char path[3100], beside[3116];
    if (!place(path, sizeof path, true))
        return err_set(e, ERR_CONFIG, "there is no home directory to keep a login in (HOME)");
    snprintf(beside, sizeof beside, "%s.new", path);
    (void)unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    ok = ok && rename(beside, path) == 0;
    return ok || err_set(e, ERR_CONFIG, "write %s: %s", path, strerror(errno));
}

bool login_write(struct sv url, const struct login *l, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = read_file(NULL); /* one that others could read is not worth keeping */
    struct buf out = BUF_MAX(FILE_MAX);
    yyjson_val *key, *hub;
    size_t i, n;
    buf_add(&out, SV("{\"hubs\":{"));
    yyjson_obj_foreach(json_get(yyjson_doc_get_root(doc), "hubs"), i, n, key, hub) {
        const struct login kept = { json_str(hub, "user"), json_str(hub, "secret"), json_str(hub, "ca") };
        if (!sv_eq(json_sv(key), url))
            put_hub(&out, json_sv(key), &kept);
    }
    if (l)
        put_hub(&out, url, l);
    buf_add(&out, SV("}}\n"));
    bool ok = !out.failed ? replace(buf_sv(&out), e) : err_no_memory(e);
    buf_deinit(&out);
    return ok;
}
