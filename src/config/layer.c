/* config/layer.c - what was set from the console, the API and the command line: one small file in data_dir that Drover alone writes.
 *
 * It is read by the road of the configuration file, so a damaged one is refused with its line. What a person wrote into that file, a
 * variable or a flag wins; what it wins over is read and kept all the same, and counts again once that is gone. Rows of the table say
 * what may be set here at all. ${NAME} is not replaced: whoever may use the console need not know what is in the environment.
 *
 * A file whole or not at all: beside it first, to the disk, then in its place, and that to the disk. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/err.h"
#include "config/load.h"

enum { PATH_ROOM = 4096 };

static const struct origin from_console = { FROM_CONSOLE, "console" };

/* --- reading ------------------------------------------------------------------------------------------------------ */

static struct config *layer_new(struct loader *l) {
    struct config *layer = ARENA_NEW(&l->c->arena__, struct config);
    if (layer)
        layer->origins__ = ARENA_ARRAY(&l->c->arena__, struct config_origin, n_settings);
    return layer && layer->origins__ ? layer : NULL;
}

static void read_file(struct loader *l, struct config *layer) {
    struct buf text = BUF_MAX(CONFIG_FILE_MAX + 1);
    struct origin *o = ARENA_NEW(&l->tmp, struct origin);
    char *path = arena_printf(&l->tmp, "%.*s/settings.yaml", SV_FMT(l->c->data_dir));
    bool absent;
    if (!o || !path) {
        no_memory(l);
        return;
    }
    *o = (struct origin){ FROM_CONSOLE, path };
    if (l->src->may_miss_layer && access(path, R_OK) != 0 && errno == EACCES)
        warn(l->report, o, 0, 0, NULL,
             "cannot be read: what was set from the console is not in this. Ask the daemon, or run it as its user");
    else if (config_file_read(l, o, path, &text, &absent))
        read_rows(l, buf_sv(&text), o, layer);
    if (text.base) /* keys of endpoints */
        sodium_memzero(text.base, text.cap);
    buf_deinit(&text);
}

/* Who set it, and wins over the console. */
static void complain_locked(struct loader *l, const struct setting *s, const char *key) {
    const struct config_origin *from = &l->c->origins__[s - settings];
    char variable[80];
    if (from->kind == CONFIG_FROM_FILE)
        complain(l->report, &from_console, 0, 0, key, "is set by %s, line %u, which wins: change it there, or take that line out first",
                 l->c->file.p, from->line);
    else if (from->kind == CONFIG_FROM_ENVIRONMENT)
        complain(l->report, &from_console, 0, 0, key, "is set by the variable %s, which wins: start the hub without it first",
                 setting_variable(s, variable, sizeof variable));
    else
        complain(l->report, &from_console, 0, 0, key, "is set by a flag, --set %s, which wins: start the hub without it first", s->path);
}

static bool is_twice(const struct config_source *src, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (sv_eq(src->edits[i].name, src->edits[j].name))
            return true;
    return false;
}

static void edit(struct loader *l, size_t i, struct config *layer) {
    const struct config_edit *e = &l->src->edits[i];
    const struct setting *s = setting_find(e->name);
    struct config_origin *is = s ? &layer->origins__[s - settings] : NULL;
    if (!s)
        unknown_path(l, e->name, &from_console);
    else if (is_twice(l->src, i))
        complain(l->report, &from_console, 0, 0, s->path, "is here twice: set it or unset it, once");
    else if (s->added)
        complain(l->report, &from_console, 0, 0, s->path, "is not for the console to set as a whole: add, change or remove one entry");
    else if (e->unset && is->kind != CONFIG_FROM_CONSOLE)
        complain(l->report, &from_console, 0, 0, s->path, "is not set from the console, so there is nothing to take back");
    else if (e->unset)
        is->kind = CONFIG_FROM_DEFAULT;
    else if (s->console && l->c->origins__[s - settings].kind != CONFIG_FROM_DEFAULT)
        complain_locked(l, s, s->path);
    else
        assign_text(l, s, e->value, &from_console, layer);
}

/* --- putting it in force ------------------------------------------------------------------------------------------ */

/* A value that was sent is no document: the line of a list in it says nothing. */
static void drop_lines(struct config_report *r) {
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->complaints[i].source, from_console.label) == 0)
            r->complaints[i].line = r->complaints[i].column = 0;
}

void layer_apply(struct loader *l) {
    struct config *c = l->c, *layer = layer_new(l);
    if (!layer) {
        no_memory(l);
        return;
    }
    c->layer__ = layer;
    if (!l->src->no_files && c->data_dir.n)
        read_file(l, layer);
    for (size_t i = 0; i < l->src->n_edits; i++)
        edit(l, i, layer);
    added_apply(l, layer);
    drop_lines(l->report);
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (s->added || layer->origins__[i].kind != CONFIG_FROM_CONSOLE || c->origins__[i].kind != CONFIG_FROM_DEFAULT)
            continue;
        memcpy((char *)c + s->at, (const char *)layer + s->at, setting_size(s->type));
        c->origins__[i] = layer->origins__[i];
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static bool replace(const char *path, struct sv text, struct err *e) {
    char beside[PATH_ROOM + 32], dir[PATH_ROOM + 32];
    snprintf(beside, sizeof beside, "%s.new", path);
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    (void)unlink(beside); /* of a life that was cut short */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && durable_write(fd, text);
    int why = errno;
    if (fd >= 0 && close(fd) != 0 && ok) {
        ok = false;
        why = errno;
    }
    if (ok && rename(beside, path) == 0 && durable_dir(*dir ? dir : "/"))
        return true;
    if (ok)
        why = errno;
    (void)unlink(beside);
    return err_set(e, ERR_CONFIG, "write %s: %s", path, strerror(why));
}

static bool save(const struct config *c, const char *path, struct err *e) {
    struct buf text = BUF_MAX(CONFIG_FILE_MAX);
    struct printer p = { .out = &text, .style = CONFIG_YAML, .ok = true, .only = c->layer__ };
    bool ok = buf_reserve(&text, CONFIG_FILE_MAX); /* at once: a growing buffer would leave copies of keys behind */
    buf_add(&text, SV("# What was set from the console, the API or \"drover config set\". "
                      "Drover writes this file; the configuration file wins over it."));
    print_rows(&p, "", c->layer__, 0, false);
    buf_add_char(&text, '\n');
    ok = (ok && p.ok && !text.failed) || err_no_memory(e);
    ok = ok && replace(path, buf_sv(&text), e);
    if (text.base)
        sodium_memzero(text.base, text.cap);
    buf_deinit(&text);
    return ok;
}

bool config_layer_save(const struct config *c, struct err *e) {
    char path[PATH_ROOM + 32];
    if (c->data_dir.n >= PATH_ROOM)
        return err_set(e, ERR_CONFIG, "data_dir: path too long");
    snprintf(path, sizeof path, "%.*s/settings.yaml", SV_FMT(c->data_dir));
    return save(c, path, e);
}

bool config_layer_copy(const struct config *c, const char *path, struct err *e) {
    if (strlen(path) >= PATH_ROOM || !strrchr(path, '/'))
        return err_set(e, ERR_CONFIG, "%s: no absolute path, or too long", path);
    return save(c, path, e);
}
