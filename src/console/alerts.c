/* console/alerts.c - few, preset, and with a thing to do: what somebody should look at now.
 *
 * Every two seconds each rule is asked about each thing it watches. It says "on" past one threshold and "off" past another, so that
 * nothing flaps; an alert fires when it was on for long enough and goes when it is off. Silences outlive the process. */
#include "console/alerts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"
#include "telemetry/bus.h"

enum {
    LOOK_MS = 2000,
    ALERTS_MAX = 1000,
    SILENCE_MOST_MS = 7 * 86400000,
};

static const struct {
    const char *word;
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
    uint64_t on_since_ms;      /* monotonic */
    uint64_t since_ms;         /* wall clock: since it fires */
    uint64_t silenced_until_ms; /* wall clock */
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

static void drop(struct alerts *a, struct alert *t) {
    list_drop(&t->all);
    a->n--;
    mem_free(t);
}

void alerts__judge(struct alerts *a, enum alert_kind kind, struct sv object, enum sign sign, const char *fmt, ...) {
    char id[40];
    uint64_t now = loop_now_ms(a->admin->loop);
    snprintf(id, sizeof id, "%s-%016" PRIx64, kinds[kind].word, object.n ? hash_sv(object) : 0);
    struct alert *t = find(a, sv_of(id));
    if (!t && sign == ON && a->n < ALERTS_MAX && (t = mem_new(sizeof *t))) {
        *t = (struct alert){ .kind = kind, .on_since_ms = now, .silenced_until_ms = silenced_until(a, id) };
        memcpy(t->id, id, sizeof t->id);
        snprintf(t->object, sizeof t->object, "%.*s", SV_FMT(object));
        list_init(&t->all);
        list_push_back(&a->all, &t->all);
        a->n++;
    }
    if (!t)
        return;
    if (sign == OFF)
        return; /* not seen: it ends */
    t->seen = true;
    if (sign == BETWEEN && !t->fires)
        t->on_since_ms = now;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->text, sizeof t->text, fmt, ap);
    va_end(ap);
    if (!t->fires && sign == ON && now - t->on_since_ms >= kinds[kind].for_ms) {
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
        drop(a, t);
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
        put_text(&out, "id", sv_of(t->id));
        put_text(&out, "kind", sv_of(kinds[t->kind].word));
        put_text(&out, "severity", kinds[t->kind].bad ? SV("bad") : SV("warn"));
        put_text(&out, "object", sv_of(t->object));
        put_text(&out, "text", sv_of(t->text));
        put_text(&out, "cure", sv_of(kinds[t->kind].cure));
        put_text(&out, "link", sv_of(kinds[t->kind].link));
        put_number(&out, "since_ms", t->since_ms);
        if (t->silenced_until_ms > now)
            put_number(&out, "silenced_until_ms", t->silenced_until_ms);
        buf_add_char(&out, '}');
    }
    buf_add(&out, SV("]}"));
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

/* --- life --------------------------------------------------------------------------------------------------------- */

static bool read_silences(struct store_tx *tx, void *arg, struct err *e) {
    struct alerts *a = arg;
    struct store_rows *r = store_query(tx, e, "SELECT name, value FROM setting WHERE name LIKE 'silence:%'", NULL, 0);
    enum store_step step;
    char id[40];
    uint64_t until;
    if (!r)
        return false;
    while ((step = store_next(r, e)) == STORE_ROW)
        if (sv_to_cstr(sv_from(store_text(r, 0), 8), id, sizeof id) && sv_to_u64(store_text(r, 1), &until) && until > clock_wall_ms())
            (void)keep_silence(a, id, until);
    return step == STORE_END;
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
    if (!store_read(admin->house->store, read_silences, a, e)) {
        alerts_free(a);
        return NULL;
    }
    a->refused_window_ms = loop_now_ms(admin->loop);
    timer_set(admin->loop, &a->look, LOOK_MS, on_look, a);
    return a;
}

void alerts_free(struct alerts *a) {
    if (!a)
        return;
    timer_stop(a->admin->loop, &a->look);
    while (!list_empty(&a->all))
        drop(a, CONTAINER(a->all.next, struct alert, all));
    for (struct list *it; (it = list_pop(&a->silences));)
        mem_free(CONTAINER(it, struct silence, all));
    mem_free(a);
}
