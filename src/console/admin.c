/* console/admin.c - one table of routes, one function per row; each prints what the control thread knows as JSON. */
#include "console/request.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "console/door.h"
#include "console/settings.h"
#include "console/visits.h"
#include "http/url.h"
#include "io/dialer.h"
#include "io/sock.h"
#include "store/store.h"
#include "telemetry/bus.h"
#include "telemetry/ledger.h"
#include "translate/translate.h"
#include "version.h"

enum { LOG_LOOK_MS = 200, BUS_EVENTS = 10000, BUS_BYTES = 16 << 20 };

/* --- status ------------------------------------------------------------------------------------------------------- */

/* How the records fare. */
static void put_records(struct buf *out, const struct admin_house *h) {
    struct store_status s;
    struct ledger_status l;
    store_status(h->store, &s);
    ledger_status(h->ledger, &l);
    put_name(out, "records");
    buf_add_char(out, '{');
    put_text(out, "state", sv_of(store_state_name(s.state)));
    put_text(out, "fault", sv_of(s.text));
    put_number(out, "since_ms", s.since_ms);
    put_number(out, "file_bytes", s.file_bytes);
    put_text(out, "check", sv_of(store_finding_name(s.check)));
    put_number(out, "rows_written", l.written);
    put_number(out, "rows_waiting", l.waiting);
    put_number(out, "rows_lost", l.lost);
    buf_add_char(out, '}');
}

static void status(struct request *r) {
    const struct admin_house *h = r->admin->house;
    const struct snapshot *s = fleet_snapshot(h->fleet);
    struct metrics_totals t;
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    size_t up = 0;
    for (size_t i = 0; s && i < s->n_endpoints; i++)
        up += s->endpoints[i].state == FLEET_UP || s->endpoints[i].state == FLEET_DEGRADED;
    metrics_totals(h->metrics, &t);
    buf_add_char(&out, '{');
    put_text(&out, "version", SV(DROVER_VERSION));
    put_text(&out, "name", (*h->config)->name);
    put_number(&out, "pid", (uint64_t)getpid());
    put_number(&out, "uptime_ms", clock_wall_ms() - h->started_ms);
    buf_add(&out, SV(",\"listen\":["));
    for (const char *const *a = h->addresses; *a; a++) {
        if (a != h->addresses)
            buf_add_char(&out, ',');
        buf_add_json(&out, sv_of(*a));
    }
    buf_add_char(&out, ']');
    put_number(&out, "endpoints", s ? s->n_endpoints : 0);
    put_number(&out, "endpoints_up", up);
    put_number(&out, "models", s ? s->n_listed : 0);
    put_number(&out, "requests", t.requests);
    put_number(&out, "failed", t.failed);
    put_number(&out, "cancelled", t.cancelled);
    put_number(&out, "in_flight", t.in_flight);
    put_number(&out, "queued", t.queued);
    put_number(&out, "connections", t.connections);
    put_number(&out, "input_tokens", t.input_tokens);
    put_number(&out, "output_tokens", t.output_tokens);
    put_truth(&out, "settled", fleet_is_settled(h->fleet));
    put_truth(&out, "hub", h->hub != NULL);
    join_status(r->admin, &out);
    put_records(&out, h);
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

static void version(struct request *r) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    buf_add_char(&out, '{');
    put_text(&out, "version", SV(DROVER_VERSION));
    buf_add_char(&out, '}');
    request_reply(r, 200, &out);
}

/* --- explain ------------------------------------------------------------------------------------------------------ */

/* The bits an API can be translated to. */
static unsigned through(unsigned speaks) {
    unsigned bits = 0;
    for (int api = 0; api < LLM_APIS; api++)
        if (llm_speaks((enum llm_api)api) & speaks)
            bits |= translate_through((enum llm_api)api);
    return bits;
}

static void explain(struct request *r) {
    const struct snapshot *s = fleet_snapshot(r->admin->house->fleet);
    struct sv asked = request_query(r, SV("model")), api = request_query(r, SV("api")), node = SV_NULL;
    const struct fleet_slug *slug = s && asked.n ? snapshot_find(s, asked, &node) : NULL;
    struct err e;
    if (!asked.n) {
        err_set(&e, ERR_BAD_REQUEST, "\"model\" is missing");
        request_fail(r, &e, NULL);
        return;
    }
    if (!slug) {
        struct sv near = s ? snapshot_suggest(s, asked, &r->in->arena) : SV_NULL;
        err_set(&e, ERR_NO_MODEL, near.n ? "model \"%.*s\" is unknown; near: %.*s" : "model \"%.*s\" is unknown%.*s",
                SV_FMT(sv_first(asked, 200)), SV_FMT(near));
        request_fail(r, &e, "drover models lists what can be asked for");
        return;
    }
    struct schedule sched = { .slug = slug };
    struct schedule_want want = { .node = node, .now_us = loop_now_us(r->admin->loop) };
    if (api.n && !(want.speaks = llm_speaks_parse(api))) {
        err_set(&e, ERR_BAD_REQUEST, "api \"%.*s\" is unknown", SV_FMT(sv_first(api, 60)));
        request_fail(r, &e, "one of openai-chat, openai-completions, openai-responses, openai-embeddings, anthropic, ollama, ...");
        return;
    }
    want.through = through(want.speaks);
    schedule_explain(&sched, &want);
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    buf_add_char(&out, '{');
    put_text(&out, "asked", asked);
    put_text(&out, "slug", slug->is_alias ? slug->alias_of : slug->name);
    put_truth(&out, "alias", slug->is_alias);
    buf_add(&out, SV(",\"candidates\":["));
    for (size_t i = 0; i < slug->n_targets; i++) {
        const struct fleet_target *t = slug->targets[i];
        buf_add(&out, i ? SV(",{") : SV("{"));
        put_text(&out, "endpoint", t->endpoint->name);
        put_text(&out, "model", t->model->id);
        put_text(&out, "verdict", sv_of(schedule_verdict_text(sched.verdicts[i])));
        put_truth(&out, "taken", sched.verdicts[i] == SCHEDULE_TAKEN);
        if (want.speaks)
            put_truth(&out, "native", (t->endpoint->speaks & ~t->endpoint->deficient & want.speaks) && !slug->amends);
        put_text(&out, "state", sv_of(fleet_state_name(t->endpoint->state)));
        put_text(&out, "reason", t->endpoint->reason);
        put_number(&out, "in_flight", atomic_load(&t->endpoint->cell->in_flight));
        put_known(&out, "max_concurrent", t->endpoint->max_concurrent);
        put_known(&out, "slots", t->model->slots);
        put_known(&out, "us_per_token", atomic_load(&t->cell->us_per_token));
        put_truth(&out, "local", t->endpoint->local);
        put_number(&out, "priority", t->endpoint->priority);
        put_loaded(&out, t->model);
        buf_add_char(&out, '}');
    }
    buf_add(&out, SV("],\"fallback\":["));
    for (size_t i = 0; i < slug->n_fallback; i++) {
        if (i)
            buf_add_char(&out, ',');
        buf_add_json(&out, slug->fallback[i]);
    }
    buf_add(&out, SV("]}"));
    request_reply(r, 200, &out);
}

/* --- settings and logs -------------------------------------------------------------------------------------------- */

static void config_get(struct request *r) {
    struct buf out = BUF_MAX(REQUEST_ANSWER_MAX);
    if (!config_show(*r->admin->house->config, &out, CONFIG_JSON))
        out.failed = true;
    request_reply(r, 200, &out);
}

static void reload(struct request *r) {
    struct err e;
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    if (!r->admin->house->reload(r->admin->house->owner, &e)) {
        request_fail(r, &e, "the running settings stay in force; drover config check FILE shows every complaint");
        return;
    }
    buf_add(&out, SV("{\"reloaded\":true}"));
    request_reply(r, 200, &out);
}

static void refresh(struct request *r) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    fleet_refresh(r->admin->house->fleet);
    buf_add(&out, SV("{\"refreshing\":true}"));
    request_reply(r, 202, &out);
}

static void log_level_get(struct request *r) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    buf_printf(&out, "{\"level\":\"%s\"}", log_level_name((enum log_level)log_level_now()));
    request_reply(r, 200, &out);
}

static void log_level_put(struct request *r) {
    enum log_level level;
    struct err e;
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&r->body));
    if (!log_level_parse(json_str(yyjson_doc_get_root(doc), "level"), &level)) {
        err_set(&e, ERR_BAD_REQUEST, "\"level\" must be error, warn, info or debug");
        request_fail(r, &e, NULL);
        return;
    }
    log_set_level(level);
    log_level_get(r);
}

/* {"missed":N}: lines that gave way before they were read; {"held":N}: in Live, those that nobody has to act on. */
static void send_count(struct request *r, const char *what, uint64_t n) {
    char told[64];
    int m = snprintf(told, sizeof told, "{\"%s\":%llu}\n", what, (unsigned long long)n);
    if (n)
        http_in_send(r->in, (struct sv){ told, (size_t)m });
}

static void send_logs(struct request *r) {
    char line[LOG_LINE_MAX + 1];
    uint64_t missed, held = 0;
    size_t n;
    struct mode_state mode;
    mode_now(r->admin->house->mode, &mode);
    while (http_in_queued(r->in) < 256 << 10 && (n = log_read(&r->log_seq, line, &missed))) {
        send_count(r, "missed", missed);
        if (r->is_outside && mode.is_live && log_line_level((struct sv){ line, n }) > LOG_WARN) {
            held++;
            continue;
        }
        line[n] = '\n';
        http_in_send(r->in, (struct sv){ line, n + 1 });
    }
    send_count(r, "held", held);
}

static void on_log_look(void *arg) {
    struct request *r = arg;
    if (!request_may_go_on(r)) {
        http_in_finish(r->in);
        return;
    }
    send_logs(r);
    timer_set(r->admin->loop, &r->timer, LOG_LOOK_MS, on_log_look, r);
}

static void logs(struct request *r) {
    struct sv lines = request_query(r, SV("lines")), follow = request_query(r, SV("follow"));
    uint64_t back = 100;
    struct err e;
    if (lines.n && (!sv_to_u64(lines, &back) || back > LOG_RING_LINES))
        err_set(&e, ERR_BAD_REQUEST, "\"lines\" must be a number from 0 to %d", LOG_RING_LINES);
    else if (follow.n && !sv_eq(follow, SV("0")) && !sv_eq(follow, SV("1")))
        err_set(&e, ERR_BAD_REQUEST, "\"follow\" must be 0 or 1");
    else
        e.code = ERR_NONE;
    if (e.code != ERR_NONE) {
        request_fail(r, &e, NULL);
        return;
    }
    r->log_seq = log_seq(back);
    struct http_header h[REQUEST_HEADERS + 2];
    unsigned n = request_headers(r, h);
    h[n++] = (struct http_header){ SV("content-type"), SV("application/x-ndjson") };
    h[n++] = (struct http_header){ SV("cache-control"), SV("no-store") };
    http_in_start(r->in, 200, h, n, -1);
    send_logs(r);
    if (!sv_eq(follow, SV("1"))) {
        http_in_finish(r->in);
        return;
    }
    timer_set(r->admin->loop, &r->timer, LOG_LOOK_MS, on_log_look, r);
}

/* --- what has changed --------------------------------------------------------------------------------------------- */

static const struct fleet_endpoint *endpoint_named(const struct snapshot *s, struct sv name) {
    for (size_t i = 0; s && i < s->n_endpoints; i++)
        if (sv_eq(s->endpoints[i].name, name))
            return &s->endpoints[i];
    return NULL;
}

static void publish(struct admin *a, enum bus_topic topic, struct buf *data) {
    if (!data->failed)
        bus_publish(a->bus, topic, clock_wall_ms(), buf_sv(data));
    buf_deinit(data);
}

static void tell_endpoint(struct admin *a, struct sv name, const char *state, const char *was, struct sv reason, size_t n_models) {
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    buf_add_char(&out, '{');
    put_text(&out, "endpoint", name);
    put_text(&out, "state", sv_of(state));
    put_text(&out, "was", sv_of(was));
    put_text(&out, "reason", reason);
    put_number(&out, "models", n_models);
    buf_add_char(&out, '}');
    publish(a, BUS_FLEET, &out);
}

void admin_fleet_changed(struct admin *a, struct snapshot *s) {
    for (size_t i = 0; i < s->n_endpoints; i++) {
        const struct fleet_endpoint *now = &s->endpoints[i], *was = endpoint_named(a->told, now->name);
        if (!was || was->state != now->state || was->n_models != now->n_models)
            tell_endpoint(a, now->name, fleet_state_name(now->state), was ? fleet_state_name(was->state) : "new", now->reason, now->n_models);
    }
    for (size_t i = 0; a->told && i < a->told->n_endpoints; i++)
        if (!endpoint_named(s, a->told->endpoints[i].name))
            tell_endpoint(a, a->told->endpoints[i].name, "gone", fleet_state_name(a->told->endpoints[i].state), SV(""), 0);
    snapshot_unref(a->told);
    a->told = snapshot_ref(s);
}

void admin_changed(struct admin *a, enum admin_change what) {
    static const enum bus_topic topics[] = { BUS_KEY, BUS_USER, BUS_MODE, BUS_CONFIG };
    struct buf out = BUF_MAX(256);
    struct mode_state mode;
    if (what == ADMIN_CONFIG)
        alerts_config(a->alerts);
    buf_add_char(&out, '{');
    mode_now(a->house->mode, &mode);
    if (what == ADMIN_MODE)
        put_text(&out, "mode", mode.is_live ? SV("live") : SV("dev"));
    buf_add_char(&out, '}');
    publish(a, topics[what], &out);
}

void admin_node_event(struct admin *a, struct sv json) {
    bus_publish(a->bus, BUS_NODE, clock_wall_ms(), json);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

enum {
    FRESH = 1 << 0,   /* the passphrase was given within the last minutes (threat model C-53) */
    RISKY = 1 << 1,   /* in Live only with the permission key */
    INSIDE = 1 << 2,  /* on the socket only */
    PROGRAM = 1 << 3, /* for programs that bring their own proof; no page may ask, and no session counts */
    HOME = 1 << 4,    /* never for visitors from the hub: who may be here, and whose this machine is, is decided here */
};

static const struct route {
    const char *method, *path;
    handler *run;
    enum access_role role; /* ROLE_NONE: whoever reaches us */
    unsigned flags;
    size_t body_max;       /* bytes */
} routes[] = {
    { "GET", "/drover/v1/alerts", alerts_list, ROLE_VIEWER, 0, 0 },
    { "PUT", "/drover/v1/alerts/{id}/silence", alerts_silence, ROLE_OPERATOR, 0, 1024 },
    { "GET", "/drover/v1/audit", audit_list, ROLE_ADMIN, 0, 0 },
    { "POST", "/drover/v1/audit/verify", audit_verify, ROLE_ADMIN, 0, 1024 },
    { "POST", "/drover/v1/backup", backup_make, ROLE_ADMIN, INSIDE, 16384 },
    { "GET", "/drover/v1/certs", certs_get, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/certs/export", certs_export, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/certs/inbox", certs_inbox, ROLE_OPERATOR, 0, 0 },
    { "POST", "/drover/v1/certs/inbox/{id}", certs_sign, ROLE_OPERATOR, 0, 128 << 10 },
    { "GET", "/drover/v1/certs/issued", certs_issued, ROLE_ADMIN, 0, 0 },
    { "POST", "/drover/v1/certs/renew", certs_renew, ROLE_ADMIN, FRESH, 1024 },
    { "POST", "/drover/v1/certs/rotation", certs_rotate, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "POST", "/drover/v1/certs/rotation/back", certs_back, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "POST", "/drover/v1/certs/rotation/skip", certs_skip, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "GET", "/drover/v1/config", config_get, ROLE_ADMIN, 0, 0 },
    { "DELETE", "/drover/v1/directives/{id}", directives_cancel, ROLE_ADMIN, RISKY, 1024 },
    { "GET", "/drover/v1/directives/{id}", directives_get, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/doctor", doctor_get, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/endpoints", endpoints_list, ROLE_VIEWER, 0, 0 },
    { "POST", "/drover/v1/endpoints", endpoints_add, ROLE_ADMIN, FRESH | RISKY, 64 << 10 },
    { "POST", "/drover/v1/endpoints/refresh", refresh, ROLE_OPERATOR, 0, 1024 },
    { "POST", "/drover/v1/endpoints/test", endpoints_test, ROLE_ADMIN, 0, 64 << 10 },
    { "DELETE", "/drover/v1/endpoints/{name}", endpoints_remove, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "PATCH", "/drover/v1/endpoints/{name}", endpoints_change, ROLE_ADMIN, FRESH | RISKY, 64 << 10 },
    { "POST", "/drover/v1/enrol", enrol, ROLE_NONE, PROGRAM, 32 << 10 },
    { "POST", "/drover/v1/enrol/renew", enrol_renew, ROLE_NONE, PROGRAM, 32 << 10 },
    { "GET", "/drover/v1/events", events_open, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/explain", explain, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/history", history_get, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/hub", nodes_hub, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/invites", invites_list, ROLE_ADMIN, 0, 0 },
    { "POST", "/drover/v1/invites", invites_make, ROLE_ADMIN, FRESH | RISKY, 4096 },
    { "DELETE", "/drover/v1/invites/{id}", invites_void, ROLE_ADMIN, 0, 1024 },
    { "DELETE", "/drover/v1/join", join_end, ROLE_ADMIN, FRESH | RISKY | HOME, 1024 },
    { "GET", "/drover/v1/join", join_get, ROLE_VIEWER, 0, 0 },
    { "POST", "/drover/v1/join", join_begin, ROLE_ADMIN, INSIDE, 16384 },
    { "GET", "/drover/v1/keys", keys_list, ROLE_ADMIN, 0, 0 },
    { "POST", "/drover/v1/keys", keys_make, ROLE_ADMIN, FRESH | RISKY, 256 << 10 },
    { "DELETE", "/drover/v1/keys/{id}", keys_delete, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "GET", "/drover/v1/keys/{id}", keys_get, ROLE_ADMIN, 0, 0 },
    { "PUT", "/drover/v1/keys/{id}", keys_put, ROLE_ADMIN, FRESH | RISKY, 256 << 10 },
    { "POST", "/drover/v1/keys/{id}/rotate", keys_rotate, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "GET", "/drover/v1/live", live_get, ROLE_VIEWER, 0, 0 },
    { "POST", "/drover/v1/live/stop", live_stop_key, ROLE_OPERATOR, 0, 1024 },
    { "POST", "/drover/v1/live/{id}/stop", live_stop, ROLE_OPERATOR, 0, 1024 },
    { "GET", "/drover/v1/log-level", log_level_get, ROLE_OPERATOR, 0, 0 },
    { "PUT", "/drover/v1/log-level", log_level_put, ROLE_OPERATOR, RISKY, 1024 },
    { "GET", "/drover/v1/logs", logs, ROLE_OPERATOR, 0, 0 },
    { "GET", "/drover/v1/mode", mode_get, ROLE_VIEWER, 0, 0 },
    { "PUT", "/drover/v1/mode", mode_put, ROLE_ADMIN, FRESH | HOME, 4096 },
    { "PUT", "/drover/v1/mode/key", mode_key_put, ROLE_ADMIN, FRESH | HOME, 4096 },
    { "GET", "/drover/v1/models", models_list, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/nodes", nodes_list, ROLE_VIEWER, 0, 0 },
    { "DELETE", "/drover/v1/nodes/{id}", nodes_remove, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "GET", "/drover/v1/nodes/{id}", nodes_get, ROLE_VIEWER, 0, 0 },
    { "PUT", "/drover/v1/nodes/{id}", nodes_change, ROLE_ADMIN, 0, 16384 },
    { "POST", "/drover/v1/nodes/{id}/approve", nodes_approve, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "GET", "/drover/v1/nodes/{id}/directives", directives_list, ROLE_VIEWER, 0, 0 },
    { "POST", "/drover/v1/nodes/{id}/directives", directives_make, ROLE_ADMIN, RISKY, 32 << 10 },
    { "GET", "/drover/v1/nodes/{id}/doctor", doctor_node, ROLE_VIEWER, 0, 0 },
    { "POST", "/drover/v1/nodes/{id}/drain", nodes_drain, ROLE_OPERATOR, 0, 1024 },
    { "GET", "/drover/v1/nodes/{id}/history", nodes_history, ROLE_VIEWER, 0, 0 },
    { "POST", "/drover/v1/nodes/{id}/refuse", nodes_refuse, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "POST", "/drover/v1/nodes/{id}/resume", nodes_resume, ROLE_OPERATOR, 0, 1024 },
    { "POST", "/drover/v1/nodes/{id}/revoke", nodes_revoke, ROLE_ADMIN, FRESH | RISKY, 1024 },
    { "POST", "/drover/v1/nodes/{id}/visit", visits_make, ROLE_VIEWER, HOME, 1024 },
    { "POST", "/drover/v1/reload", reload, ROLE_ADMIN, RISKY, 1024 },
    { "GET", "/drover/v1/requests", requests_list, ROLE_VIEWER, 0, 0 },
    { "DELETE", "/drover/v1/session", session_end, ROLE_VIEWER, HOME, 1024 },
    { "GET", "/drover/v1/session", session_get, ROLE_NONE, 0, 0 },
    { "POST", "/drover/v1/session", session_begin, ROLE_NONE, HOME, 8192 },
    { "POST", "/drover/v1/session/confirm", session_confirm, ROLE_VIEWER, HOME, 8192 },
    { "GET", "/drover/v1/sessions", sessions_list, ROLE_VIEWER, 0, 0 },
    { "DELETE", "/drover/v1/sessions/{id}", sessions_end, ROLE_VIEWER, HOME, 1024 },
    { "POST", "/drover/v1/setup", setup, ROLE_NONE, HOME, 8192 },
    { "POST", "/drover/v1/setup/token", setup_token, ROLE_ADMIN, INSIDE, 1024 },
    { "GET", "/drover/v1/settings", settings_get, ROLE_ADMIN, 0, 0 },
    { "PATCH", "/drover/v1/settings", settings_patch, ROLE_ADMIN, FRESH | RISKY, 64 << 10 },
    { "POST", "/drover/v1/settings/check", settings_check, ROLE_ADMIN, 0, 64 << 10 },
    { "GET", "/drover/v1/status", status, ROLE_VIEWER, 0, 0 },
    { "POST", "/drover/v1/store/check", store_check_run, ROLE_ADMIN, 0, 1024 },
    { "GET", "/drover/v1/usage", usage_get, ROLE_VIEWER, 0, 0 },
    { "GET", "/drover/v1/users", users_list, ROLE_ADMIN, 0, 0 },
    { "POST", "/drover/v1/users", users_add, ROLE_ADMIN, FRESH | RISKY | HOME, 8192 },
    { "DELETE", "/drover/v1/users/{name}", users_remove, ROLE_ADMIN, FRESH | RISKY | HOME, 1024 },
    { "PUT", "/drover/v1/users/{name}", users_change, ROLE_ADMIN, FRESH | RISKY | HOME, 8192 },
    { "GET", "/drover/v1/version", version, ROLE_VIEWER, 0, 0 },
};
enum { ROUTES = sizeof routes / sizeof routes[0] };

const char *admin_route_at(unsigned i) {
    static char name[128];
    if (i >= ROUTES)
        return NULL;
    snprintf(name, sizeof name, "%s %s %s%s%s%s%s%s", routes[i].method, routes[i].path, access_role_name(routes[i].role),
             routes[i].flags & FRESH ? " fresh" : "", routes[i].flags & RISKY ? " key" : "",
             routes[i].flags & INSIDE ? " socket" : "", routes[i].flags & PROGRAM ? " program" : "",
             routes[i].flags & HOME ? " home" : "");
    return name;
}

/* Whether a path is a row's; what stands for {id} goes to *ret_rest. */
static bool path_is(struct sv path, struct sv row, struct sv *ret_rest) {
    ptrdiff_t at = sv_find_char(row, '{');
    *ret_rest = SV_NULL;
    if (at < 0)
        return sv_eq(path, row);
    struct sv tail = sv_from(row, (size_t)sv_find_char(row, '}') + 1), rest = sv_from(path, (size_t)at);
    if (!sv_starts(path, sv_first(row, (size_t)at)) || rest.n <= tail.n || !sv_ends(rest, tail))
        return false;
    *ret_rest = sv_first(rest, rest.n - tail.n);
    return sv_find_char(*ret_rest, '/') < 0;
}

static const struct route *find_route(const struct http_head *head, struct sv *ret_rest, struct err *e) {
    bool path_known = false;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!path_is(head->path, sv_of(routes[i].path), ret_rest))
            continue;
        path_known = true;
        if (sv_eq(head->method, sv_of(routes[i].method)))
            return &routes[i];
    }
    err_set(e, path_known ? ERR_METHOD : ERR_NOT_FOUND, path_known ? "method not allowed here" : "no such path");
    return NULL;
}

static bool decode_rest(struct request *r) {
    char *to = arena_alloc(&r->in->arena, r->rest.n + 1);
    return to && percent_decode(r->rest, to, r->rest.n + 1, &r->rest.n) && (r->rest.p = to, true);
}

static void request_free(void *arg) {
    struct request *r = arg;
    if (r->waits)
        r->waits->request = NULL;
    access_cell_unref(r->cell);
    sodium_memzero(r->body.p, r->body.n); /* it may hold a passphrase */
    buf_deinit(&r->body);
    timer_stop(r->admin->loop, &r->timer);
}

static void on_body(void *x, struct sv bytes) {
    struct request *r = x;
    buf_add(&r->body, bytes);
}

/* --- who may ------------------------------------------------------------------------------------------------------ */

/* The secret of a session, from the cookie of a page or from a program's Authorization: Bearer. */
static bool read_secret(const struct http_head *head, struct sv *ret, bool *ret_cookie, struct err *e) {
    struct sv cookie, bearer = http_get(head, SV("authorization"));
    if (!access_cookie(head, &cookie, e))
        return false;
    bearer = sv_starts_nocase(bearer, SV("bearer ")) ? sv_trim(sv_from(bearer, 7)) : SV_NULL;
    if (cookie.n && bearer.n && !sv_eq(cookie, bearer))
        return err_set(e, ERR_BAD_REQUEST, "the request carries two different sessions; send one");
    *ret_cookie = bearer.n == 0;
    *ret = bearer.n ? bearer : cookie;
    return true;
}

static bool changes(const struct http_head *head) {
    return !sv_eq(head->method, SV("GET")) && !sv_eq(head->method, SV("HEAD"));
}

/* A page of exactly this address, its port included: browsers send the cookies of a host to all its ports, and another program's page on
 * this machine is somebody else's. */
static bool is_same_origin(const struct request *r) {
    struct sv origin = http_get(r->in->head, SV("origin")), host = http_get(r->in->head, SV(DOOR_HOST));
    struct sv scheme = r->is_tls ? SV("https://") : SV("http://");
    return !origin.p || (sv_starts_nocase(origin, scheme) && sv_eq_nocase(sv_from(origin, scheme.n), host));
}

/* No other site's page can make a browser send this: not without asking us first, and we never say yes (threat model C-41). */
static bool check_page(const struct http_head *head, bool has_body, struct err *e) {
    struct sv type = http_get(head, SV("content-type"));
    if (changes(head) && !access_from_page(head))
        return err_set(e, ERR_DENIED, "requests that change something need the header \"drover-console: 1\"");
    if (has_body && !sv_starts_nocase(type, SV("application/json")))
        return err_set(e, ERR_MEDIA, "the body must be application/json");
    return true;
}

/* Our hub, which looks at the models and no more; or somebody there who visits the console. gateway/surface.c let it through. */
static bool identify_hub(struct request *r, struct err *e) {
    const struct http_head *head = r->in->head;
    struct sv role = http_get(head, SV(DOOR_ROLE));
    if (!role.p) {
        r->role = ROLE_VIEWER;
        r->who = SV("hub");
        return !changes(head) || err_set(e, ERR_DENIED, "a hub does not change anything here");
    }
    r->is_visitor = true;
    r->is_fresh = http_get(head, SV(DOOR_FRESH)).p;
    r->who = http_get(head, SV(DOOR_WHO));
    return access_role_read(role, &r->role) || err_set(e, ERR_BAD_REQUEST, "no such role");
}

static bool identify(struct request *r, struct err *e) {
    const struct http_head *head = r->in->head;
    struct sv secret;
    bool by_cookie = false;
    if (r->in->tag != r->admin->door) {
        r->role = ROLE_ADMIN;
        r->who = SV("operator");
        r->peer = SV("unix");
        return true;
    }
    r->is_outside = true;
    r->peer = http_get(head, SV(DOOR_PEER));
    if (r->route->flags & PROGRAM)
        return !(http_get(head, SV("origin")).p || http_get(head, SV("sec-fetch-site")).p) ||
               err_set(e, ERR_DENIED, "this is for programs: no page may ask it");
    if (http_get(head, SV(DOOR_LINK)).p)
        return identify_hub(r, e);
    if (!read_secret(head, &secret, &by_cookie, e) || (by_cookie && !check_page(head, r->body.n > 0, e)))
        return false;
    if (by_cookie && !is_same_origin(r))
        return err_set(e, ERR_DENIED, "requests from pages of another origin, which another port is, are refused");
    r->session = secret.n ? people_session(r->admin->house->people, secret) : NULL;
    if (!r->session)
        return true;
    r->role = r->session->person->role;
    r->is_fresh = r->session->fresh_until_ms >= clock_wall_ms();
    r->cell = access_cell_ref((struct access_cell *)r->session->cell);
    r->who = arena_sv(&r->in->arena, r->session->person->name);
    return r->who.p || err_no_memory(e);
}

static bool may(const struct request *r, struct err *e) {
    const struct route *t = r->route;
    if (r->is_visitor && (t->flags & (HOME | PROGRAM | INSIDE)))
        return err_set(e, ERR_DENIED, "this is not for visitors from the hub: it is done on the node itself");
    if (t->role == ROLE_NONE)
        return true;
    if (r->is_outside && (t->flags & INSIDE))
        return err_set(e, ERR_DENIED, "this is done on the machine itself, with the drover command");
    if (r->role == ROLE_NONE)
        return err_set(e, ERR_AUTH, "sign in first");
    if (r->role < t->role)
        return err_set(e, ERR_DENIED, "this needs the role %s; \"%.*s\" is %s. An admin can change that", access_role_name(t->role),
                       SV_FMT(r->who), access_role_name(r->role));
    if (r->is_outside && (t->flags & FRESH) && !r->is_fresh)
        return r->is_visitor ? err_set(e, ERR_DENIED, "this needs a passphrase given lately: open the node's console again from the hub")
                             : err_set(e, ERR_REAUTH, "give your passphrase again for this");
    return true;
}

static void on_key_checked(void *arg, const struct err *e) {
    struct request *r = request_resume(arg);
    if (!r)
        return;
    if (!e && request_may_go_on(r)) {
        r->session = NULL; /* it may have ended meanwhile */
        r->route->run(r);
    } else {
        struct err gone;
        err_set(&gone, ERR_AUTH, "the session has ended; sign in again");
        request_fail(r, e ? e : &gone, NULL);
    }
}

/* Live: the permission key with each risky act. */
static void ask_key(struct request *r) {
    struct access_actor by = request_actor(r);
    struct err e;
    struct waiting *w = request_wait(r);
    if (w)
        request_begun(r, w, mode_check_key(r->admin->house->mode, http_get(r->in->head, SV("drover-permission-key")), &by, on_key_checked, w, &e), &e);
}

/* Once all of it is here: whose it is, whether they may, and then the route itself. */
static void admit(struct request *r) {
    struct err e;
    struct mode_state mode;
    mode_now(r->admin->house->mode, &mode);
    if (!identify(r, &e) || !may(r, &e))
        request_fail(r, &e, NULL);
    else if (r->is_outside && mode.is_live && (r->route->flags & RISKY))
        ask_key(r);
    else
        r->route->run(r);
}

static void on_body_end(void *x) {
    struct request *r = x;
    struct err e;
    if (r->body.failed) {
        err_set(&e, ERR_TOO_LARGE, "the body may have %zu bytes", r->route->body_max);
        request_fail(r, &e, NULL);
        return;
    }
    admit(r);
}

static void on_gone(void *x, const struct err *e) {
    (void)x;
    (void)e;
}

static const struct http_in_events request_events = { on_body, on_body_end, NULL, on_gone, NULL };

static void on_request(void *owner, struct http_in *in) {
    struct request *r = ARENA_NEW(&in->arena, struct request);
    struct err e;
    if (!r || !arena_defer(&in->arena, request_free, r)) {
        http_in_abort(in);
        return;
    }
    r->admin = owner;
    r->in = in;
    r->is_tls = in->tag == r->admin->door && http_get(in->head, SV(DOOR_TLS)).p;
    if (assets_answer(r))
        return;
    r->route = find_route(in->head, &r->rest, &e);
    if (r->route && !decode_rest(r))
        r->route = (err_set(&e, ERR_NOT_FOUND, "no such path"), NULL);
    if (!r->route) {
        request_fail(r, &e, NULL);
        return;
    }
    buf_init(&r->body, r->route->body_max);
    in->on = &request_events;
    in->x = r;
    if (in->head->length <= 0 && !in->head->chunked)
        admit(r);
    else
        http_in_body(in);
}

static const struct http_server_events server_events = { on_request, NULL, NULL };

/* --- the socket --------------------------------------------------------------------------------------------------- */

static void on_accept(void *owner, struct stream *s) {
    struct admin *a = owner;
    http_serve(a->server, s, a);
}

static const struct listener_events listener_events = { on_accept, NULL };

void admin__serve(struct admin *a, int fd) {
    struct err e;
    struct stream *s = sock_stream(a->loop, fd, &e);
    if (s)
        http_serve(a->server, s, a->door);
    else
        close(fd);
}

/* A socket that nobody answers is left over from an unclean end; one that answers belongs to a running daemon. */
static bool take_place(const struct sockaddr_un *u, struct err *e) {
    struct stat st;
    if (lstat(u->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode)) /* never delete what is not ours */
        return err_set(e, ERR_EXISTS, "%s is in the way: it is not a socket", u->sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)u, sizeof *u) == 0) {
        close(fd);
        return err_set(e, ERR_EXISTS, "another drover is running: it answers on %s", u->sun_path);
    }
    if (fd >= 0)
        close(fd);
    if (unlink(u->sun_path) != 0 && errno != ENOENT)
        return err_set(e, ERR_CONFIG, "remove %s: %s", u->sun_path, strerror(errno));
    return true;
}

struct admin *admin_new(struct loop *l, const struct admin_house *house, struct sv path, struct err *e) {
    struct sockaddr_un u = { .sun_family = AF_UNIX };
    if (!sv_to_cstr(path, u.sun_path, sizeof u.sun_path)) {
        err_set(e, ERR_CONFIG, "run_dir is too long for a socket: %.*s", SV_FMT(path));
        return NULL;
    }
    if (!take_place(&u, e))
        return NULL;
    struct admin *a = mem_new(sizeof *a);
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    list_init(&a->trials);
    a->loop = l;
    a->house = house;
    memcpy(a->path, u.sun_path, sizeof u.sun_path);
    mode_t was = umask(0117); /* 0660 from its first moment */
    int fd = listen_socket((struct sockaddr *)&u, sizeof u, false, 64, e);
    umask(was);
    a->door = fd >= 0 ? door_new(a, e) : NULL;
    a->bus = bus_new(BUS_EVENTS, BUS_BYTES);
    a->pages = a->bus ? pages_new(a) : NULL;
    a->alerts = a->pages ? alerts_new(a, e) : NULL;
    a->visits = a->alerts ? visits_new(a, e) : NULL;
    a->server = a->door && a->visits ? http_server_new(l, &server_events, a, e) : NULL;
    a->listener = a->server ? listener_new(l, fd, &listener_events, a, e) : NULL;
    if (!a->listener) {
        err_ctx(e, "admin socket %s", a->path);
        if (fd >= 0)
            close(fd);
        http_server_free(a->server);
        dialer_unref(a->door);
        visits_close(a->visits);
        alerts_free(a->alerts);
        pages_free(a->pages);
        bus_free(a->bus);
        mem_free(a);
        return NULL;
    }
    struct http_server_limits limits = { { 8192, 8192, 32768, 100, 256 }, REQUEST_BODY_MAX, 10000, 75000, 15000, 60000, 86400000, 0, 65536, 10000, LIMIT_BODY_ADMIN };
    limits.body_max = (*house->config)->limits.body.admin;
    http_server_limits(a->server, &limits);
    return a;
}

struct dialer *admin_door(struct admin *a) {
    return a->door;
}

struct visits *admin_visits(struct admin *a) {
    return a->visits;
}

void admin_free(struct admin *a) {
    if (!a)
        return;
    settings__drop(a->change);
    endpoints__drop(a);
    door_close(a->door);
    dialer_unref(a->door);
    listener_close(a->listener);
    visits_close(a->visits);
    alerts_free(a->alerts);
    pages_free(a->pages);
    http_server_free(a->server);
    bus_free(a->bus);
    snapshot_unref(a->told);
    unlink(a->path);
    mem_free(a);
}
