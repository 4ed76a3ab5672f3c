/* console/alerts.c - few, preset, and with a thing to do: what somebody should look at now.
 *
 * Every two seconds each rule is asked about each thing it watches. It says "on" past one threshold and "off" past another, so that
 * nothing flaps; an alert fires when it was on for long enough and goes when it is off. Silences outlive the process.
 *
 * Whoever is told outside the console (delivery.h) hears of an alert once, when it is neither silenced nor explained by another, and of the
 * end of what was told. */
#include "console/alerts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"
#include "console/delivery.h"
#include "telemetry/bus.h"

enum {
    LOOK_MS = 2000,
    ALERTS_MAX = 1000,
    SILENCE_MOST_MS = 7 * 86400000,
};

static const struct {
    const char *word;
    const char *unit;
    bool bad;
    uint64_t for_ms;
    const char *link, *cure;
} kinds[] = {
#define X(id, ...) [id] = { __VA_ARGS__ },
    ALERT_KINDS(X)
#undef X
};

struct alert {
    struct list all;
    char id[40], object[80], text[200];
    enum alert_kind kind;
    bool fires, seen;          /* seen: in this look */
    bool is_told;              /* delivered: then its end will be, too */
    double value, threshold;
    uint64_t on_since_ms;      /* monotonic */
    uint64_t since_ms;         /* wall clock: since it fires */
    uint64_t silenced_until_ms; /* wall clock */
};

/* What goes without saying when another alert fires: of the same thing, or of anything. */
static const struct {
    enum alert_kind what, by;
    bool same_object;
} folds[] = {
    { ALERT_RECORDS, ALERT_DISK, false },    { ALERT_ERRORS, ALERT_ENDPOINT, false }, { ALERT_FIRST_TOKEN, ALERT_ENDPOINT, false },
    { ALERT_QUEUE, ALERT_ENDPOINT, false },  { ALERT_BUDGET_NEAR, ALERT_BUDGET, true },
};

struct silence {
    struct list all;
    char id[40];
    uint64_t until_ms;
};

/* --- one thing under one rule ------------------------------------------------------------------------------------- */

static struct alert *find(const struct alerts *a, struct sv id) {
    LIST_FOR(it, &a->all)
        if (sv_eq(sv_of(CONTAINER(it, struct alert, all)->id), id))
            return CONTAINER(it, struct alert, all);
    return NULL;
}

static uint64_t silenced_until(const struct alerts *a, const char *id) {
    LIST_FOR(it, &a->silences)
        if (strcmp(CONTAINER(it, struct silence, all)->id, id) == 0)
            return CONTAINER(it, struct silence, all)->until_ms;
    return 0;
}

static void tell(const struct alerts *a, const struct alert *t) {
    struct buf out = BUF_MAX(1024);
    buf_add_char(&out, '{');
    put_text(&out, "id", sv_of(t->id));
    put_text(&out, "kind", sv_of(kinds[t->kind].word));
    put_text(&out, "object", sv_of(t->object));
    put_truth(&out, "fires", t->fires);
    put_text(&out, "text", sv_of(t->text));
    buf_add_char(&out, '}');
    if (!out.failed)
        bus_publish(a->admin->bus, BUS_ALERT, clock_wall_ms(), buf_sv(&out));
    buf_deinit(&out);
    log_event(kinds[t->kind].bad && t->fires ? LOG_ERROR : LOG_WARN, t->fires ? "alert" : "alert over", F_STR("kind", kinds[t->kind].word),
              F_STR("object", t->object), F_STR("text", t->text));
}

/* The alert that explains it; NULL: none does. */
static const struct alert *explained_by(const struct alerts *a, const struct alert *t) {
    for (size_t i = 0; i < sizeof folds / sizeof folds[0]; i++) {
        if (folds[i].what != t->kind)
            continue;
        LIST_FOR(it, &a->all) {
            const struct alert *o = CONTAINER(it, struct alert, all);
            if (o->fires && o->kind == folds[i].by && (!folds[i].same_object || strcmp(o->object, t->object) == 0))
                return o;
        }
    }
    return NULL;
}

static void put_figure(struct buf *out, const char *key, double v) {
    put_name(out, key);
    buf_printf(out, "%.15g", (double)(int64_t)(v * 10000 + 0.5) / 10000);
}

/* What the list and those outside are told alike. */
static void put_alert(struct buf *out, const struct alert *t) {
    put_text(out, "id", sv_of(t->id));
    put_text(out, "kind", sv_of(kinds[t->kind].word));
    put_text(out, "severity", kinds[t->kind].bad ? SV("bad") : SV("warn"));
    put_text(out, "object", sv_of(t->object));
    put_text(out, "text", sv_of(t->text));
    if (kinds[t->kind].unit[0]) {
        put_figure(out, "value", t->value);
        put_figure(out, "threshold", t->threshold);
        put_text(out, "unit", sv_of(kinds[t->kind].unit));
    }
    put_text(out, "cure", sv_of(kinds[t->kind].cure));
    put_text(out, "link", sv_of(kinds[t->kind].link));
    put_number(out, "since_ms", t->since_ms);
}

static void deliver(const struct alerts *a, struct alert *t) {
    struct buf out = BUF_MAX(8192);
    t->is_told = t->fires;
    buf_add_char(&out, '{');
    put_text(&out, "state", t->fires ? SV("raised") : SV("cleared"));
    put_alert(&out, t);
    put_number(&out, "at_ms", clock_wall_ms());
    put_text(&out, "node", (*a->admin->house->config)->name);
    buf_add_char(&out, '}');
    if (!out.failed)
        delivery_tell(a->delivery, t->id, t->fires, buf_sv(&out));
    buf_deinit(&out);
}

static void drop(struct alerts *a, struct alert *t) {
    list_drop(&t->all);
    a->n--;
    mem_free(t);
}

void alerts__judge(struct alerts *a, enum alert_kind kind, struct sv object, struct reading r, const char *fmt, ...) {
    char id[40];
    uint64_t now = loop_now_ms(a->admin->loop);
    snprintf(id, sizeof id, "%s-%016" PRIx64, kinds[kind].word, object.n ? hash_sv(object) : 0);
    struct alert *t = find(a, sv_of(id));
    if (!t && r.sign == ON && a->n < ALERTS_MAX && (t = mem_new(sizeof *t))) {
        *t = (struct alert){ .kind = kind, .on_since_ms = now, .silenced_until_ms = silenced_until(a, id) };
        memcpy(t->id, id, sizeof t->id);
        snprintf(t->object, sizeof t->object, "%.*s", SV_FMT(object));
        list_init(&t->all);
        list_push_back(&a->all, &t->all);
        a->n++;
    }
    if (!t)
        return;
    if (r.sign == OFF)
        return; /* not seen: it ends */
    t->seen = true;
    t->value = r.value;
    t->threshold = r.threshold;
    if (r.sign == BETWEEN && !t->fires)
        t->on_since_ms = now;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->text, sizeof t->text, fmt, ap);
    va_end(ap);
    if (!t->fires && r.sign == ON && now - t->on_since_ms >= kinds[kind].for_ms) {
        t->fires = true;
        t->since_ms = clock_wall_ms();
        tell(a, t);
    }
}

/* --- looking ------------------------------------------------------------------------------------------------------- */

static void on_look(void *arg) {
    struct alerts *a = arg;
    LIST_FOR(it, &a->all)
        CONTAINER(it, struct alert, all)->seen = false;
    alerts__look(a);
    LIST_FOR_SAFE(it, &a->all) {
        struct alert *t = CONTAINER(it, struct alert, all);
        if (t->seen)
            continue;
        bool fired = t->fires;
        t->fires = false;
        if (fired)
            tell(a, t);
        if (t->is_told)
            deliver(a, t);
        drop(a, t);
    }
    uint64_t now = clock_wall_ms();
    LIST_FOR(it, &a->all) {
        struct alert *t = CONTAINER(it, struct alert, all);
        if (t->fires && !t->is_told && t->silenced_until_ms <= now && !explained_by(a, t))
            deliver(a, t);
    }
    timer_set(a->admin->loop, &a->look, LOOK_MS, on_look, a);
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

void alerts_list(struct request *r) {
    const struct alerts *a = r->admin->alerts;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    uint64_t now = clock_wall_ms();
    bool first = true;
    buf_add(&out, SV("{\"alerts\":["));
    LIST_FOR(it, &a->all) {
        const struct alert *t = CONTAINER(it, struct alert, all);
        if (!t->fires)
            continue;
        buf_add(&out, first ? SV("{") : SV(",{"));
        first = false;
        const struct alert *by = explained_by(a, t);
        put_alert(&out, t);
        if (t->silenced_until_ms > now)
            put_number(&out, "silenced_until_ms", t->silenced_until_ms);
        if (by)
            put_text(&out, "explained_by", sv_of(by->id));
        buf_add_char(&out, '}');
    }
    buf_add(&out, SV("],\"delivery\":"));
    delivery_print(a->delivery, &out);
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

struct silencing {
    struct store_job job;
    struct waiting *waits;
    struct alerts *alerts;
    char id[40], name[64], by[65], peer[64];
    uint64_t until_ms;
};

static bool run_silencing(struct store_tx *tx, struct store_job *job, struct err *e) {
    const struct silencing *s = CONTAINER(job, struct silencing, job);
    char until[24];
    snprintf(until, sizeof until, "%" PRIu64, s->until_ms);
    const struct access_act act = { sv_of(s->by), sv_of(s->peer), SV("alert.silence"), sv_of(s->id), sv_of(until), clock_wall_ms() };
    return STORE_RUN(tx, e, "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                     STORE_TEXT(sv_of(s->name)), STORE_TEXT(sv_of(until))) &&
           access_audit(tx, &act, e);
}

/* False: memory is out. */
static bool keep_silence(struct alerts *a, const char *id, uint64_t until_ms) {
    struct silence *s = NULL;
    LIST_FOR(it, &a->silences)
        if (strcmp(CONTAINER(it, struct silence, all)->id, id) == 0)
            s = CONTAINER(it, struct silence, all);
    if (!s) {
        if (!(s = mem_new(sizeof *s)))
            return false;
        snprintf(s->id, sizeof s->id, "%s", id);
        list_init(&s->all);
        list_push_back(&a->silences, &s->all);
    }
    s->until_ms = until_ms;
    return true;
}

static void on_silenced(struct store_job *job, const struct err *e) {
    struct silencing *s = CONTAINER(job, struct silencing, job);
    struct request *r = request_resume(s->waits);
    if (r && e) {
        request_fail(r, e, NULL);
    } else if (r) { /* as long as somebody asks the house stands */
        struct alert *t = find(s->alerts, sv_of(s->id));
        if (t)
            t->silenced_until_ms = s->until_ms;
        (void)keep_silence(s->alerts, s->id, s->until_ms);
        alerts_list(r);
    }
    mem_free(s);
}

void alerts_silence(struct request *r) {
    struct alerts *a = r->admin->alerts;
    struct err e = { 0 };
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    yyjson_val *until = json_get(yyjson_doc_get_root(doc), "until_ms");
    uint64_t now = clock_wall_ms();
    if (!doc)
        return;
    const struct alert *t = find(a, r->rest);
    bool ok = t || err_set(&e, ERR_NOT_FOUND, "there is no alert \"%.*s\" now", SV_FMT(sv_first(r->rest, 40)));
    ok = ok && ((yyjson_is_uint(until) && yyjson_get_uint(until) <= now + SILENCE_MOST_MS) ||
                err_set(&e, ERR_BAD_REQUEST, "\"until_ms\" must be a time within the next seven days (0: the silence ends)"));
    struct silencing *s = ok ? mem_new(sizeof *s) : NULL;
    if (!s) {
        if (ok)
            err_no_memory(&e);
        request_fail(r, &e, NULL);
        return;
    }
    s->job = (struct store_job){ .home = r->admin->loop, .run = run_silencing, .done = on_silenced };
    s->alerts = a;
    s->until_ms = yyjson_get_uint(until);
    memcpy(s->id, t->id, sizeof s->id);
    snprintf(s->name, sizeof s->name, "silence:%s", t->id);
    snprintf(s->by, sizeof s->by, "%.*s", SV_FMT(r->who));
    snprintf(s->peer, sizeof s->peer, "%.*s", SV_FMT(r->peer));
    s->waits = request_wait(r);
    if (!s->waits) {
        mem_free(s);
        return;
    }
    if (store_submit(r->admin->house->store, &s->job, &e))
        return;
    request_begun(r, s->waits, false, &e);
    mem_free(s);
}

/* --- copies of the records ------------------------------------------------------------------------------------------ */

struct noting {
    struct store_job job;
    uint64_t at_ms;
};

static bool run_noting(struct store_tx *tx, struct store_job *job, struct err *e) {
    char at[24];
    snprintf(at, sizeof at, "%" PRIu64, CONTAINER(job, struct noting, job)->at_ms);
    return STORE_RUN(tx, e,
                     "INSERT INTO setting (name, value) VALUES ('backup', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                     STORE_TEXT(sv_of(at)));
}

static void on_noted(struct store_job *job, const struct err *e) {
    if (e)
        log_event(LOG_WARN, "the time of this copy of the records could not be noted", F_STR("cause", e->text));
    mem_free(CONTAINER(job, struct noting, job));
}

void alerts_copied(struct alerts *a) {
    struct noting *n = mem_new(sizeof *n);
    struct err e;
    a->backup_ms = clock_wall_ms();
    if (!n)
        return;
    *n = (struct noting){ .job = { .home = a->admin->loop, .run = run_noting, .done = on_noted }, .at_ms = a->backup_ms };
    if (!store_submit(a->admin->house->store, &n->job, &e))
        on_noted(&n->job, &e);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static bool read_kept(struct store_tx *tx, void *arg, struct err *e) {
    struct alerts *a = arg;
    struct store_rows *r = store_query(tx, e, "SELECT name, value FROM setting WHERE name LIKE 'silence:%' OR name = 'backup'", NULL, 0);
    enum store_step step;
    char id[40];
    uint64_t at_ms;
    if (!r)
        return false;
    while ((step = store_next(r, e)) == STORE_ROW) {
        if (!sv_to_u64(store_text(r, 1), &at_ms))
            continue;
        if (sv_eq(store_text(r, 0), SV("backup")))
            a->backup_ms = at_ms;
        else if (sv_to_cstr(sv_from(store_text(r, 0), 8), id, sizeof id) && at_ms > clock_wall_ms())
            (void)keep_silence(a, id, at_ms);
    }
    return step == STORE_END;
}

void alerts_config(struct alerts *a) {
    struct err e;
    if (!delivery_set(a->delivery, *a->admin->house->config, &e))
        log_event(LOG_ERROR, "alerts cannot go to the webhook", F_STR("cause", e.text));
}

struct alerts *alerts_new(struct admin *admin, struct err *e) {
    struct alerts *a = mem_new(sizeof *a);
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    a->admin = admin;
    list_init(&a->all);
    list_init(&a->silences);
    a->delivery = delivery_new(admin->loop, e);
    if (!a->delivery || !store_read(admin->house->store, read_kept, a, e)) {
        alerts_free(a);
        return NULL;
    }
    alerts_config(a);
    a->refused_window_ms = loop_now_ms(admin->loop);
    timer_set(admin->loop, &a->look, LOOK_MS, on_look, a);
    return a;
}

void alerts_free(struct alerts *a) {
    if (!a)
        return;
    timer_stop(a->admin->loop, &a->look);
    delivery_free(a->delivery);
    while (!list_empty(&a->all))
        drop(a, CONTAINER(a->all.next, struct alert, all));
    for (struct list *it; (it = list_pop(&a->silences));)
        mem_free(CONTAINER(it, struct silence, all));
    mem_free(a);
}
