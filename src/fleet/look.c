/* fleet/look.c - look_new -> on_soon -> go_on -> { look_next, probe -> on_reply, look_take -> go_on }... -> end_look.
 *
 * look_next and look_take do no I/O. While the kind is unknown the decision table says what to ask; from the verdict on the
 * steps of the runtime do. The first answer that decides the look's end is kept; what a later, optional step says only adds facts. */
#include "fleet/runtime.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/utf8.h"

/* --- findings ----------------------------------------------------------------------------------------------------- */

void look_init(struct look *l, const struct runtime *rt) {
    *l = (struct look){ .rt = rt, .asked = FP_NONE, .step = rt ? rt->steps : NULL };
    arena_init(&l->arena, LOOK_ARENA_MAX, NULL);
    map_init(&l->by_id);
    list_init(&l->soon.dirty);
    fingerprint_init(&l->print);
}

void look_deinit(struct look *l) {
    map_deinit(&l->by_id);
    arena_deinit(&l->arena);
}

struct sv look_keep(struct look *l, struct sv v) {
    return v.n ? arena_sv(&l->arena, sv_first(v, LOOK_ID_MAX)) : SV_NULL;
}

struct fleet_model *look_find(struct look *l, struct sv id) {
    uintptr_t at = (uintptr_t)map_get(&l->by_id, id);
    return at ? &l->models[at - 1] : NULL;
}

static bool grow(struct look *l) {
    size_t cap = l->cap ? l->cap * 2 : 16;
    struct fleet_model *more = ARENA_ARRAY(&l->arena, struct fleet_model, cap);
    if (!more)
        return false;
    if (l->n_models)
        memcpy(more, l->models, l->n_models * sizeof *more);
    l->models = more;
    l->cap = cap;
    return true;
}

/* Not UTF-8, or with the mark of a character that was lost: nobody could ask for it by this name. */
static bool is_text(struct sv v) {
    return utf8_valid(v) && sv_find(v, SV("\xef\xbf\xbd")) < 0;
}

struct fleet_model *look_add(struct look *l, struct sv id) {
    if (id.n == 0 || id.n > LOOK_ID_MAX || map_get(&l->by_id, id))
        return NULL;
    if (!is_text(id)) {
        l->n_nameless++;
        return NULL;
    }
    if (l->n_models == LOOK_MODELS_MAX) {
        l->n_refused++;
        return NULL;
    }
    struct sv kept = look_keep(l, id);
    if (!kept.p || (l->n_models == l->cap && !grow(l)) ||
        !map_put(&l->by_id, kept, (void *)(uintptr_t)(l->n_models + 1)))
        return NULL;
    struct fleet_model *m = &l->models[l->n_models++];
    *m = (struct fleet_model){ .id = kept };
    return m;
}

void look_fail(struct look *l, enum look_end end, const char *fmt, ...) {
    if (l->end != LOOK_GOOD)
        return;
    l->end = end;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->reason, sizeof l->reason, fmt, ap);
    va_end(ap);
}

uint64_t look_u64(yyjson_val *obj, const char *key) {
    int64_t v = json_i64(obj, key, 0);
    return v > 0 && v <= LOOK_NUMBER_MAX ? (uint64_t)v : 0;
}

uint32_t look_slots(yyjson_val *obj, const char *key) {
    uint64_t n = look_u64(obj, key);
    return n <= UINT32_MAX ? (uint32_t)n : 0;
}

void look_loaded(struct look *l, int loaded) {
    for (size_t i = 0; i < l->n_models; i++)
        if (l->models[i].loaded == FLEET_LOADED_UNKNOWN)
            l->models[i].loaded = loaded;
}

void look_list(struct look *l, const struct probe_reply *r, const char *owner,
               void (*fill)(struct look *l, struct fleet_model *m, yyjson_val *entry)) {
    yyjson_val *data = json_get(r->json, "data"), *entry;
    if (!yyjson_is_arr(data) && !yyjson_is_null(data)) {
        l->mismatch = true;
        look_fail(l, LOOK_FAILED, r->cut ? "its list of models is larger than %d MiB" : "its answer to a request for models is none",
                  PROBE_LIST_MAX >> 20);
        return;
    }
    l->has_list = true;
    struct sv first_owner = json_str(yyjson_arr_get_first(data), "owned_by");
    if (owner && yyjson_arr_size(data) && !sv_eq(first_owner, sv_of(owner)))
        l->mismatch = true;
    size_t i, n;
    yyjson_arr_foreach(data, i, n, entry) {
        struct fleet_model *m = look_add(l, json_str(entry, "id"));
        if (!m)
            continue;
        m->created_s = look_u64(entry, "created");
        if (fill)
            fill(l, m, entry);
    }
}

void look_notes_deinit(struct look_notes *notes) {
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&notes->by_digest, &at));)
        mem_free(e->value);
    map_deinit(&notes->by_digest);
}

/* --- the walk ----------------------------------------------------------------------------------------------------- */

/* What an answer says before anyone reads it. */
static void judge(struct look *l, const struct probe_reply *r, const char *path, unsigned flags) {
    if (!r->status && !r->connected && r->fault->code == ERR_IO)
        look_fail(l, LOOK_REFUSED, "%s", r->fault->text);
    else if (!r->status)
        look_fail(l, LOOK_FAILED, "%s", r->fault->text);
    else if (r->status == 401 || r->status == 403) {
        l->wants_key = true;
        look_fail(l, LOOK_POOR, l->at.auth.n ? "it refuses the key (GET %s: %d)" : "it wants a key (GET %s: %d)", path, r->status);
    } else if (r->status == 503 && ((flags & STEP_503_LOADS) || sv_find(r->body, SV("Loading model")) >= 0))
        look_fail(l, LOOK_LOADING, "loading its model");
    else {
        l->mismatch = r->status == 404 || r->status == 405;
        look_fail(l, LOOK_FAILED, "GET %s: status %d", path, r->status);
    }
}

static void take_evidence(struct look *l, const struct probe_reply *r) {
    int probe = l->asked;
    l->asked = FP_NONE;
    fingerprint_take(&l->print, (enum fp_probe)probe, r);
    if (!r->status && (probe == FP_MODELS || !r->connected))
        judge(l, r, fingerprint_path((enum fp_probe)probe), 0);
    else if (probe == FP_MODELS)
        l->models_status = r->status;
}

static void take_step(struct look *l, const struct probe_reply *r) {
    const struct step *s = l->step++;
    if (s->flags & STEP_NEED && r->status != 200)
        judge(l, r, s->path, s->flags);
    else if (r->status == 503 && (s->flags & STEP_503_LOADS))
        look_fail(l, LOOK_LOADING, "starting: GET %s: status 503", s->path);
    else if (r->status == 200 || (r->status && (s->flags & STEP_ANY)))
        s->take(l, r);
}

void look_take(struct look *l, const struct probe_reply *r) {
    l->answered = l->answered || r->status;
    if (l->asked != FP_NONE)
        take_evidence(l, r);
    else
        take_step(l, r);
}

static bool verdict_taken(struct look *l, int verdict) {
    l->is_drover = verdict == FP_DROVER;
    l->rt = verdict == FP_UNKNOWN ? NULL : runtime_of(l->is_drover ? CONFIG_KIND_DROVER : verdict);
    l->step = l->rt ? l->rt->steps : NULL;
    if (!l->rt && l->models_status >= 500)
        look_fail(l, LOOK_FAILED, "GET /v1/models: status %d", l->models_status);
    else if (!l->rt)
        look_fail(l, LOOK_FAILED, "it answers, but as no runtime that is known");
    return l->rt != NULL;
}

/* Whether a step has something to ask now. */
static bool asks(struct look *l, const struct step *s, struct buf *question) {
    if (l->end == LOOK_LOADING && !(s->flags & STEP_NEED))
        return false; /* facts can wait */
    return (!s->wanted || s->wanted(l)) && (!s->question || s->question(l, question));
}

bool look_next(struct look *l, struct look_question *q) {
    if (l->end == LOOK_FAILED || l->end == LOOK_REFUSED)
        return false;
    *q = (struct look_question){ .reply_max = PROBE_BODY_MAX };
    if (!l->step) {
        int verdict, probe = fingerprint_next(&l->print, &verdict);
        if (probe != FP_NONE) {
            l->asked = probe;
            q->path = fingerprint_path((enum fp_probe)probe);
            q->reply_max = probe == FP_MODELS ? PROBE_LIST_MAX : PROBE_BODY_MAX;
            return true;
        }
        if (!verdict_taken(l, verdict))
            return false;
    }
    for (; l->step->path; l->step++) {
        struct buf body = { .p = q->space, .base = q->space, .cap = sizeof q->space, .max = sizeof q->space };
        if (!asks(l, l->step, &body))
            continue;
        q->path = l->step->path;
        q->body = buf_sv(&body);
        q->reply_max = l->step->flags & STEP_LIST ? PROBE_LIST_MAX : PROBE_BODY_MAX;
        return true;
    }
    return false;
}

void look_conclude(struct look *l) {
    if (l->n_refused)
        log_event(LOG_WARN, "an endpoint lists more models than are kept", F_SV("host", l->at.host), F_U64("kept", l->n_models),
                  F_U64("left_out", l->n_refused));
    if (l->arena.overflow)
        look_fail(l, LOOK_POOR, "what it says about its models does not fit into memory");
}

/* --- with I/O ----------------------------------------------------------------------------------------------------- */

static void go_on(struct look *l);

static void end_look(struct look *l) {
    timer_stop(l->loop, &l->deadline);
    probe_cancel(l->probe);
    l->probe = NULL;
    look_conclude(l);
    l->done(l->owner, l); /* last: l may be gone now */
}

static void on_reply(void *arg, const struct probe_reply *r) {
    struct look *l = arg;
    l->probe = NULL;
    look_take(l, r);
    go_on(l);
}

static void go_on(struct look *l) {
    struct look_question q;
    struct err e;
    if (look_next(l, &q)) {
        l->probe = probe_start(l->loop, &l->at, sv_of(q.path), q.body, q.reply_max, on_reply, l, &e);
        if (l->probe)
            return;
        look_fail(l, LOOK_FAILED, "%s", e.text);
    }
    end_look(l);
}

static void on_soon(struct loop_flush *f) {
    go_on(CONTAINER(f, struct look, soon));
}

static void on_late(void *arg) {
    struct look *l = arg;
    look_fail(l, LOOK_FAILED, "it takes more than %d s to answer a few questions", LOOK_TOTAL_MS / 1000);
    end_look(l);
}

struct look *look_new(struct loop *loop, const struct probe_place *at, const struct runtime *rt, struct look_notes *notes,
                      void (*done)(void *owner, struct look *l), void *owner) {
    struct look *l = mem_new(sizeof *l);
    if (!l)
        return NULL;
    look_init(l, rt);
    l->loop = loop;
    l->at = *at;
    l->notes = notes;
    l->done = done;
    l->owner = owner;
    l->soon.run = on_soon;
    loop_flush_later(loop, &l->soon);
    timer_set(loop, &l->deadline, LOOK_TOTAL_MS, on_late, l);
    return l;
}

void look_free(struct look *l) {
    if (!l)
        return;
    list_drop(&l->soon.dirty);
    timer_stop(l->loop, &l->deadline);
    probe_cancel(l->probe);
    look_deinit(l);
    mem_free(l);
}
