/* console/settings.c - settings over the admin API: shown, checked, and changed all or nothing.
 *
 * A change: the settings as they would be are loaded like any others (config_load with edits) -> a job writes the audit row -> on_noted ->
 * settings__apply: the file of what was set here, then the reload that SIGHUP makes; when that is refused the file is put back. One
 * change at a time, and each says which settings it has seen: what two people do at once cannot mix. */
#include "console/settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "console/request.h"

enum {
    EDITS_MAX = 64,         /* settings changed in one go; there are hardly more */
    DETAIL_MAX = 2000,      /* bytes of what the audit log says of it */
};

struct change {
    struct store_job job;
    struct admin *admin; /* NULL: it has ended */
    struct waiting *waits;
    struct config *next;
    struct buf actor, peer, object, detail, differences;
    struct sv action;
};

/* Of the last load; large; the control thread only. */
static struct config_report report;

/* --- looking ------------------------------------------------------------------------------------------------------ */

void settings_get(struct request *r) {
    const struct config *c = *r->admin->house->config;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    buf_add_char(&out, '{');
    if (c->file.n)
        put_text(&out, "file", c->file);
    put_number(&out, "version", config_version(c));
    put_name(&out, "settings");
    if (!config_list(c, &out))
        out.failed = true;
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

/* --- reading what shall be changed -------------------------------------------------------------------------------- */

struct edits {
    struct config_edit list[EDITS_MAX];
    size_t n;
};

static bool add_list(struct request *r, yyjson_val *v, struct sv *ret) {
    struct buf text = BUF_MAX(r->body.n * 6 + 16);
    size_t i, n;
    yyjson_val *one;
    bool ok = buf_add_char(&text, '[');
    yyjson_arr_foreach(v, i, n, one) {
        ok = ok && yyjson_is_str(one) && (i == 0 || buf_add_char(&text, ',')) && buf_add_json(&text, json_sv(one));
    }
    *ret = ok && buf_add_char(&text, ']') ? arena_sv(&r->in->arena, buf_sv(&text)) : SV_NULL;
    buf_deinit(&text);
    return ret->p;
}

static bool add_plain(struct request *r, yyjson_val *v, struct sv *ret) {
    char *text = yyjson_val_write(v, 0, NULL);
    *ret = text ? arena_sv(&r->in->arena, sv_of(text)) : SV_NULL;
    free(text);
    return ret->p;
}

/* As a variable would hold it: the settings' own rules judge it then. */
static bool read_value(struct request *r, yyjson_val *v, struct sv *ret) {
    *ret = json_sv(v);
    return yyjson_is_str(v) || (yyjson_is_arr(v) && add_list(r, v, ret)) || ((yyjson_is_bool(v) || yyjson_is_num(v)) && add_plain(r, v, ret));
}

static bool has_room(const struct edits *all, struct err *e) {
    return all->n < EDITS_MAX || err_set(e, ERR_BAD_REQUEST, "more than %d settings at once", EDITS_MAX);
}

static bool read_set(struct request *r, yyjson_val *set, struct edits *all, struct err *e) {
    size_t i, n;
    yyjson_val *key, *v;
    if (set && !yyjson_is_obj(set))
        return err_set(e, ERR_BAD_REQUEST, "\"set\" must be an object, such as {\"gateway.stall_timeout\": \"2m\"}");
    yyjson_obj_foreach(set, i, n, key, v) {
        if (!has_room(all, e))
            return false;
        struct config_edit *one = &all->list[all->n++];
        *one = (struct config_edit){ .name = json_sv(key) };
        if (!read_value(r, v, &one->value))
            return err_set(e, ERR_BAD_REQUEST, "\"set\": the value of \"%.*s\" must be a text, a number, true, false or a list of texts",
                           SV_FMT(sv_first(one->name, 80)));
    }
    return true;
}

static bool read_unset(yyjson_val *unset, struct edits *all, struct err *e) {
    size_t i, n;
    yyjson_val *v;
    if (unset && !yyjson_is_arr(unset))
        return err_set(e, ERR_BAD_REQUEST, "\"unset\" must be a list of settings");
    yyjson_arr_foreach(unset, i, n, v) {
        if (!yyjson_is_str(v))
            return err_set(e, ERR_BAD_REQUEST, "\"unset[%zu]\" must be the name of a setting", i);
        if (!has_room(all, e))
            return false;
        all->list[all->n++] = (struct config_edit){ .name = json_sv(v), .unset = true };
    }
    return true;
}

static bool read_edits(struct request *r, yyjson_val *root, struct edits *all, struct err *e) {
    size_t i, n;
    yyjson_val *key, *v;
    all->n = 0;
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_BAD_REQUEST, "the body must be an object with \"set\", \"unset\" or both");
    yyjson_obj_foreach(root, i, n, key, v)
        if (!sv_eq(json_sv(key), SV("set")) && !sv_eq(json_sv(key), SV("unset")))
            return err_set(e, ERR_BAD_REQUEST, "\"%.*s\" is no member of this: there are \"set\" and \"unset\"", SV_FMT(sv_first(json_sv(key), 40)));
    (void)v;
    return read_set(r, json_get(root, "set"), all, e) && read_unset(json_get(root, "unset"), all, e) &&
           (all->n || err_set(e, ERR_BAD_REQUEST, "there is nothing to change: \"set\" and \"unset\" are empty"));
}

/* The settings as they would be; NULL: see report. */
static struct config *load(struct request *r, const struct edits *all) {
    struct config_source source = *r->admin->house->source;
    source.edits = all->list;
    source.n_edits = all->n;
    return config_load(&source, &report);
}

/* Reads and loads. False: answered. *ret_next NULL: see report. */
static bool read_request(struct request *r, struct config **ret_next) {
    struct edits all;
    struct err e;
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    if (!doc)
        return false;
    if (!read_edits(r, yyjson_doc_get_root(doc), &all, &e)) {
        request_fail(r, &e, NULL);
        return false;
    }
    *ret_next = load(r, &all);
    return true;
}

/* --- what is wrong with it ---------------------------------------------------------------------------------------- */

static void put_complaints(struct buf *out) {
    put_name(out, "complaints");
    config_report_list(&report, out);
    put_known(out, "more_complaints", report.n_more);
}

static void put_warnings(struct buf *out) {
    put_name(out, "warnings");
    buf_add_char(out, '[');
    for (size_t i = 0; i < report.n_warnings; i++) {
        buf_add(out, i ? SV(",{") : SV("{"));
        put_text(out, "key", sv_of(report.warnings[i].key));
        put_text(out, "message", sv_of(report.warnings[i].text));
        put_text(out, "source", sv_of(report.warnings[i].source));
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void refuse(struct request *r) {
    const struct config_complaint *first = &report.complaints[0];
    struct buf out = BUF_MAX(REQUEST_BODY_MAX), text = BUF_MAX(4096);
    char more[32] = "";
    if (report.n + report.n_more > 1)
        snprintf(more, sizeof more, " (and %zu more)", report.n + report.n_more - 1);
    if (first->line)
        buf_printf(&text, "%s:%u: ", first->source, first->line);
    buf_printf(&text, "%s%s%s%s", first->key, first->key[0] ? ": " : "", first->text, more);
    buf_add(&out, SV("{\"error\":{\"code\":\"bad_request\""));
    put_text(&out, "message", buf_sv(&text));
    put_text(&out, "hint", SV("nothing was changed"));
    buf_add_char(&out, '}');
    put_complaints(&out);
    buf_add_char(&out, '}');
    buf_deinit(&text);
    request_reply(r, 400, &out);
}

void settings_check(struct request *r) {
    struct config *next;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (!read_request(r, &next))
        return;
    buf_add_char(&out, '{');
    put_truth(&out, "good", next != NULL);
    put_number(&out, "version", config_version(*r->admin->house->config));
    put_complaints(&out);
    put_warnings(&out);
    put_name(&out, "changes");
    if (!next)
        buf_add(&out, SV("[]"));
    else if (!config_differences(*r->admin->house->config, next, &out))
        out.failed = true;
    buf_add_char(&out, '}');
    config_unref(next);
    request_reply(r, 200, &out);
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

bool settings__apply(const struct admin_house *h, const struct config *next, struct err *e) {
    struct config *was = config_ref(*h->config);
    struct err back;
    bool written = config_layer_save(next, e), ok = written && h->reload(h->owner, e);
    if (!ok && !config_layer_save(was, &back) && written) {
        log_event(LOG_ERROR, "settings that were refused are still on the disk, and hold at the next start", F_STR("cause", back.text));
        err_ctx(e, "the settings on the disk could not be put back (%s)", back.text);
    }
    config_unref(was);
    return ok;
}

static void change_free(struct change *c) {
    if (c->admin && c->admin->change == c)
        c->admin->change = NULL;
    config_unref(c->next);
    buf_deinit(&c->actor);
    buf_deinit(&c->peer);
    buf_deinit(&c->object);
    buf_deinit(&c->detail);
    buf_deinit(&c->differences);
    mem_free(c);
}

void settings__drop(struct change *c) {
    if (c)
        c->admin = NULL;
}

static bool run_note(struct store_tx *tx, struct store_job *job, struct err *e) {
    const struct change *c = CONTAINER(job, struct change, job);
    const struct access_act act = { buf_sv(&c->actor), buf_sv(&c->peer), c->action, buf_sv(&c->object), buf_sv(&c->detail), clock_wall_ms() };
    return access_audit(tx, &act, e);
}

static void on_refusal_noted(struct store_job *job, const struct err *e) {
    if (e)
        log_event(LOG_ERROR, "the audit log does not say that changed settings were refused", F_STR("cause", e->text));
    change_free(CONTAINER(job, struct change, job));
}

/* The row that said what would be done is followed by one that says it was not. Takes c. */
static void note_refusal(struct change *c, const struct err *why) {
    struct err e;
    buf_reset(&c->detail);
    buf_add(&c->detail, sv_of(why->text));
    c->action = SV("settings.refused"); /* of this object */
    c->job = (struct store_job){ .home = c->admin->loop, .run = run_note, .done = on_refusal_noted };
    if (!store_submit(c->admin->house->store, &c->job, &e))
        on_refusal_noted(&c->job, &e);
}

static void answer(struct request *r, const struct change *c) {
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    buf_add_char(&out, '{');
    put_number(&out, "version", config_version(*c->admin->house->config));
    put_name(&out, "changes");
    buf_add(&out, buf_sv(&c->differences));
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

static void on_noted(struct store_job *job, const struct err *e) {
    struct change *c = CONTAINER(job, struct change, job);
    struct request *r = request_resume(c->waits);
    struct err fault;
    if (!c->admin || e) {
        err_set(&fault, ERR_CANCELED, "the hub is stopping; nothing was changed");
        if (r)
            request_fail(r, e ? e : &fault, NULL);
        change_free(c);
    } else if (settings__apply(c->admin->house, c->next, &fault)) {
        if (r)
            answer(r, c);
        change_free(c);
    } else {
        if (r)
            request_fail(r, &fault, "the running settings stay in force");
        note_refusal(c, &fault);
    }
}

/* "url: http://..., key: (given)": what was sent of an endpoint. */
static void describe_endpoint(struct change *c, struct sv sent) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(sent);
    size_t i, n;
    yyjson_val *key, *v;
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, n, key, v) {
        bool is_secret = sv_eq(json_sv(key), SV("key"));
        char *text = is_secret ? NULL : yyjson_val_write(v, 0, NULL);
        struct sv shown = is_secret ? (yyjson_is_null(v) ? SV("(taken away)") : SV("(given)")) : text ? sv_of(text) : SV("?");
        if (c->detail.n < DETAIL_MAX - 300)
            buf_printf(&c->detail, "%s%.*s: %.*s", i ? ", " : "", SV_FMT(sv_first(json_sv(key), 40)), SV_FMT(sv_first(shown, 200)));
        free(text);
    }
}

/* "gateway.stall_timeout: 5m -> 2m, ..." */
static void describe(struct change *c) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&c->differences));
    size_t i, n;
    yyjson_val *one;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, one) {
        struct sv key = json_str(one, "key"), from = json_str(one, "from"), to = json_str(one, "to");
        if (c->detail.n > DETAIL_MAX - 300) {
            buf_printf(&c->detail, ", and %zu more", n - i);
            return;
        }
        buf_printf(&c->detail, "%s%.*s: %.*s -> %.*s%s", i ? ", " : "", SV_FMT(key), SV_FMT(sv_first(from, 80)), SV_FMT(sv_first(to, 80)),
                   sv_eq(json_str(one, "origin"), SV("default")) ? " (default)" : "");
    }
}

/* Takes next; NULL with *e set: it is not yours any more either. */
/* sent: of an endpoint; empty: of settings. */
static struct change *change_new(struct request *r, struct config *next, const char *action, struct sv object, struct sv sent, struct err *e) {
    struct change *c = mem_new(sizeof *c);
    if (!c) {
        config_unref(next);
        err_no_memory(e);
        return NULL;
    }
    c->admin = r->admin;
    c->next = next;
    c->action = sv_of(action);
    buf_init(&c->actor, 256);
    buf_init(&c->peer, 256);
    buf_init(&c->object, 256);
    buf_init(&c->detail, DETAIL_MAX + 256);
    buf_init(&c->differences, REQUEST_ANSWER_MAX);
    bool ok = buf_add(&c->actor, r->who) && buf_add(&c->peer, r->peer) && buf_add(&c->object, object) && config_differences(*r->admin->house->config, next, &c->differences);
    if (sent.n)
        describe_endpoint(c, sent);
    else
        describe(c);
    if (ok && !c->detail.failed)
        return c;
    change_free(c);
    err_no_memory(e);
    return NULL;
}

static bool is_seen(struct request *r, struct err *e) {
    int64_t seen;
    if (!request_version(r, &seen, e))
        return false;
    if (r->admin->change || (uint64_t)seen != config_version(*r->admin->house->config))
        return err_set(e, ERR_STALE, "the settings were changed since you looked at them: look again, then change them");
    return true;
}

static void begin(struct request *r, struct config *next, const char *action, struct sv object, struct sv sent) {
    struct err e;
    struct change *c = change_new(r, next, action, object, sent, &e);
    if (!c) {
        request_fail(r, &e, NULL);
        return;
    }
    if (config_is_same(*r->admin->house->config, next)) { /* set to what it is set to */
        answer(r, c);
        change_free(c);
        return;
    }
    c->waits = request_wait(r);
    if (!c->waits) {
        change_free(c);
        return;
    }
    c->job = (struct store_job){ .home = r->admin->loop, .run = run_note, .done = on_noted };
    r->admin->change = c;
    if (store_submit(r->admin->house->store, &c->job, &e))
        return;
    request_begun(r, c->waits, false, &e);
    change_free(c);
}

void settings_patch(struct request *r) {
    struct config *next;
    struct err e;
    if (!is_seen(r, &e))
        request_fail(r, &e, "GET /drover/v1/settings tells the version; it goes into If-Match");
    else if (!read_request(r, &next))
        return;
    else if (!next)
        refuse(r);
    else
        begin(r, next, "settings.set", SV("settings"), SV_NULL);
}

/* --- one endpoint ------------------------------------------------------------------------------------------------- */

bool settings__seen(struct request *r) {
    struct err e;
    if (is_seen(r, &e))
        return true;
    request_fail(r, &e, "GET /drover/v1/endpoints tells the version; it goes into If-Match");
    return false;
}

struct config *settings__with(struct request *r, const struct config_endpoint_edit *edit) {
    struct config_source source = *r->admin->house->source;
    source.endpoint = edit;
    struct config *next = config_load(&source, &report);
    if (!next)
        refuse(r);
    return next;
}

void settings__endpoint(struct request *r, const struct config_endpoint_edit *edit, const char *action, struct sv object) {
    struct err e;
    struct config *next;
    if (r->admin->change) {
        err_set(&e, ERR_STALE, "the settings are being changed at this moment: try again");
        request_fail(r, &e, NULL);
    } else if ((next = settings__with(r, edit))) {
        begin(r, next, action, object, edit->value);
    }
}
