/* console/alerts.c - few, preset, and with a thing to do: what somebody should look at now.
 *
 * Every two seconds each rule is asked about each thing it watches. It says "on" past one threshold and "off" past another, so that
 * nothing flaps; an alert fires when it was on for long enough and goes when it is off. Silences outlive the process. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "console/live.h"
#include "telemetry/bus.h"
#include "telemetry/history.h"
#include "telemetry/ledger.h"

enum {
    LOOK_MS = 2000,
    ALERTS_MAX = 1000,
    WINDOW = 60,              /* seconds of the history that rates are taken over */
    SILENCE_MOST_MS = 7 * 86400000,
};

#define DAY_MS UINT64_C(86400000)
#define GIB (UINT64_C(1) << 30)

/*    kind               word           bad    for_ms  link              cure */
#define ALERT_KINDS(X)                                                                                                                        \
    X(ALERT_RECORDS,     "records",     true,  0,      "#/settings",     "free the disk or mend it; drover status tells how the records fare")  \
    X(ALERT_DISK,        "disk",        true,  10000,  "#/settings",     "delete what is not needed on the disk of data_dir, or shorten telemetry.retain") \
    X(ALERT_ENDPOINT,    "endpoint",    true,  30000,  "#/fleet",        "start the runtime, or take it out of the configuration; drover endpoints tells why") \
    X(ALERT_ERRORS,      "errors",      true,  10000,  "#/pulse",        "look at the failed requests and the runtime they went to")            \
    X(ALERT_FIRST_TOKEN, "first_token", false, 30000,  "#/pulse",        "the runtimes are busy or cold: add one, or lower what is asked of them") \
    X(ALERT_QUEUE,       "queue",       false, 0,      "#/pulse",        "the endpoints are full: raise max_concurrent where there is room, or add one") \
    X(ALERT_LOGINS,      "logins",      true,  0,      "#/settings",     "somebody guesses passphrases: the audit log tells from where")         \
    X(ALERT_BUDGET,      "budget",      false, 0,      "#/keys",         "raise the budget of the key, or wait for its next day or month")       \
    X(ALERT_KEY,         "key",         false, 0,      "#/keys",         "make a new key and give it to whoever uses this one, or set a later end")
#define X(id, ...) id,
enum alert_kind { ALERT_KINDS(X) ALERT_KIND_COUNT };
#undef X
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

struct alerts {
    struct admin *admin;
    struct list all;           /* of struct alert */
    unsigned n;
    struct timer look;
    struct list silences;      /* of struct silence: of alerts that do not fire now, too */
    uint64_t refused_at_start, refused_window_ms;
    uint64_t disk_free, disk_all, disk_look_ms;
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

enum sign { OFF, BETWEEN, ON };

/* What a rule says of a thing now. */
static void judge(struct alerts *a, enum alert_kind kind, struct sv object, enum sign sign, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static void judge(struct alerts *a, enum alert_kind kind, struct sv object, enum sign sign, const char *fmt, ...) {
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

/* --- the rules ---------------------------------------------------------------------------------------------------- */

static void judge_records(struct alerts *a) {
    const struct admin_house *h = a->admin->house;
    struct store_status s;
    store_status(h->store, &s);
    bool ledger = ledger_is_well(h->ledger);
    if (s.state != STORE_WELL)
        judge(a, ALERT_RECORDS, SV(""), ON, "the records are %s: %.120s", store_state_name(s.state), s.text);
    else
        judge(a, ALERT_RECORDS, SV(""), ledger ? OFF : ON, "the ledger cannot keep up; requests of keys are not served");
}

static void judge_disk(struct alerts *a) {
    enum { EVERY_MS = 30000 };
    struct statvfs v;
    uint64_t now = loop_now_ms(a->admin->loop);
    char dir[4096];
    if (now >= a->disk_look_ms && sv_to_cstr((*a->admin->house->config)->data_dir, dir, sizeof dir) && statvfs(dir, &v) == 0) {
        a->disk_look_ms = now + EVERY_MS;
        a->disk_free = (uint64_t)v.f_bavail * v.f_frsize;
        a->disk_all = (uint64_t)v.f_blocks * v.f_frsize;
    }
    bool low = a->disk_free < GIB || a->disk_free < a->disk_all / 20, fine = a->disk_free > 2 * GIB && a->disk_free > a->disk_all / 10;
    if (a->disk_all)
        judge(a, ALERT_DISK, SV(""), low ? ON : fine ? OFF : BETWEEN, "%.1f GiB of %.1f are free on the disk of data_dir", (double)a->disk_free / (double)GIB,
              (double)a->disk_all / (double)GIB);
}

static void judge_endpoints(struct alerts *a) {
    const struct snapshot *s = fleet_snapshot(a->admin->house->fleet);
    for (size_t i = 0; s && i < s->n_endpoints; i++) {
        const struct fleet_endpoint *p = &s->endpoints[i];
        enum sign sign = p->state == FLEET_DOWN ? ON : p->state == FLEET_UP || p->state == FLEET_DEGRADED ? OFF : BETWEEN;
        judge(a, ALERT_ENDPOINT, p->name, sign, "%.*s is %s: %.*s", SV_FMT(sv_first(p->name, 60)), fleet_state_name(p->state), SV_FMT(sv_first(p->reason, 100)));
    }
}

struct minute {
    uint64_t requests, failed, n, n_first, sum_p95_ms;
    uint32_t least_queued, queued;
};

static struct minute last_minute(const struct history *h) {
    struct minute m = { .least_queued = UINT32_MAX };
    const struct history_point *p;
    unsigned n = 0;
    while (history_at(h, n))
        n++;
    for (unsigned i = n > WINDOW ? n - WINDOW : 0; (p = history_at(h, i)); i++) {
        m.n++;
        m.requests += p->requests;
        m.failed += p->failed;
        m.n_first += p->first_p95_ms > 0;
        m.sum_p95_ms += p->first_p95_ms;
        m.queued = p->queued;
        m.least_queued = p->queued < m.least_queued ? p->queued : m.least_queued;
    }
    return m;
}

static void judge_traffic(struct alerts *a) {
    enum { FEW = 20, QUEUED = 5, SLOW_MS = 10000 };
    struct minute m = last_minute(live_history(a->admin->live));
    bool many = m.requests >= FEW, wrong = many && m.failed * 20 >= m.requests, right = m.failed * 50 < m.requests || m.failed == 0;
    judge(a, ALERT_ERRORS, SV(""), wrong ? ON : right || !many ? OFF : BETWEEN, "%" PRIu64 " of %" PRIu64 " requests of the last minute failed at a runtime",
          m.failed, m.requests);
    uint64_t p95 = m.n_first >= 5 ? m.sum_p95_ms / m.n_first : 0;
    judge(a, ALERT_FIRST_TOKEN, SV(""), p95 >= SLOW_MS ? ON : p95 < SLOW_MS / 2 ? OFF : BETWEEN, "the first token takes %.1f s (95th percentile of the last minute)",
          (double)p95 / 1000);
    judge(a, ALERT_QUEUE, SV(""), m.n >= WINDOW && m.least_queued >= QUEUED ? ON : m.queued == 0 || m.least_queued == 0 ? OFF : BETWEEN,
          "at least %u requests have waited for room all through the last minute", m.least_queued);
}

static void judge_logins(struct alerts *a) {
    enum { MANY = 20, TEN_MINUTES_MS = 600000 };
    uint64_t now = loop_now_ms(a->admin->loop), all = people_refused(a->admin->house->people);
    if (now - a->refused_window_ms > TEN_MINUTES_MS) {
        a->refused_window_ms = now;
        a->refused_at_start = all;
    }
    uint64_t lately = all - a->refused_at_start;
    judge(a, ALERT_LOGINS, SV(""), lately >= MANY ? ON : lately == 0 ? OFF : BETWEEN, "%" PRIu64 " sign-ins were refused in the last ten minutes", lately);
}

static bool is_used_up(const struct access_key *k) {
    for (unsigned i = 0; i < ACCESS_UNITS * ACCESS_SPANS; i++) {
        struct access_purse *p = &k->cell->purse[i / ACCESS_SPANS][i % ACCESS_SPANS];
        if (k->limits.budget[i / ACCESS_SPANS][i % ACCESS_SPANS] && atomic_load_explicit(&p->spent, memory_order_relaxed) &&
            atomic_load_explicit(&p->left, memory_order_relaxed) <= 0)
            return true;
    }
    return false;
}

static void judge_keys(struct alerts *a) {
    uint64_t now = clock_wall_ms();
    for (const struct access_key *k = NULL; (k = access_next_key(a->admin->house->access, k));) {
        bool ends = k->enabled && k->expires_ms > now && k->expires_ms - now < 3 * DAY_MS;
        if (access_has_budget(k))
            judge(a, ALERT_BUDGET, k->id, is_used_up(k) ? ON : OFF, "the key \"%.*s\" has used up its budget", SV_FMT(k->name));
        if (ends)
            judge(a, ALERT_KEY, k->id, ON, "the key \"%.*s\" ends in %" PRIu64 " h", SV_FMT(k->name), (k->expires_ms - now) / 3600000);
    }
}

static void on_look(void *arg) {
    struct alerts *a = arg;
    LIST_FOR(it, &a->all)
        CONTAINER(it, struct alert, all)->seen = false;
    judge_records(a);
    judge_disk(a);
    judge_endpoints(a);
    judge_traffic(a);
    judge_logins(a);
    judge_keys(a);
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
