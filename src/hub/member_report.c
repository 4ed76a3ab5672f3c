/* hub/member_report.c - the messages of the first lane: hello, the registration, heartbeats, what has changed, metrics. Only what is
 * really known is said: an absent member is better than a made-up figure. */
#include "hub/member_room.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "version.h"

enum { METRICS_ROOM = 200 << 10 };

static void put_text(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, v);
}

static void put_count(struct buf *out, const char *name, uint64_t v) {
    buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)v);
}

static void put_truth(struct buf *out, const char *name, bool v) {
    buf_printf(out, ",\"%s\":%s", name, v ? "true" : "false");
}

static struct snapshot *fleet_of(const struct member *m) {
    return fleet_snapshot(m->house.fleet);
}

static void say(struct tie *t, enum link_kind k, struct buf *payload) {
    if (payload->failed)
        log_event(LOG_ERROR, "a message to the hub was not sent", F_STR("kind", link_kind_name(k)),
                  F_STR("cause", "too large, or out of memory"));
    else
        wire_send(t->wire, k, buf_sv(payload), SV_NULL);
    buf_deinit(payload);
}

/* --- hello ---------------------------------------------------------------------------------------------------------------------------- */

void report__hello(struct tie *t) {
    static const struct mux_limits l = MUX_LIMITS_NODE;
    const struct member *m = t->member;
    char at[25];
    struct buf out = BUF_MAX(8192);
    buf_add(&out, SV("{\"proto\":{\"min\":1,\"max\":1}"));
    put_text(&out, "node_id", sv_of(m->state.node_id));
    put_text(&out, "instance", sv_of(m->instance));
    put_count(&out, "boot_count", m->state.boot_count);
    buf_add(&out, SV(",\"build\":{\"name\":\"drover\",\"version\":\"" DROVER_VERSION
                     "\"},\"features\":[\"lanes\",\"echo\",\"leaf_relay\"]"));
    buf_printf(
        &out,
        ",\"limits\":{\"max_text\":%d,\"max_frame\":%u,\"max_streams\":%u,\"stream_window\":%u,\"link_window\":%u}",
        (int)ENGINE_TEXT_MAX, l.max_frame, l.max_streams, l.stream_window, l.link_window);
    if (m->state.last_epoch)
        put_count(&out, "last_epoch", m->state.last_epoch);
    else
        buf_add(&out, SV(",\"last_epoch\":null"));
    put_text(&out, "clock", sv_of(clock_iso8601(clock_wall_ms(), at)));
    buf_add_char(&out, '}');
    say(t, KIND_HELLO, &out);
}

/* --- the registration ----------------------------------------------------------------------------------------------------------------- */

static void put_self(const struct member *m, struct buf *out) {
    struct utsname u;
    put_text(out, "name", sv_of(m->state.name));
    put_text(out, "version", SV(DROVER_VERSION));
    if (uname(&u) == 0) {
        put_text(out, "hostname", sv_first(sv_of(u.nodename), 64));
        put_text(out, "os", SV("linux"));
        put_text(out, "arch", sv_first(sv_of(u.machine), 64));
    }
}

static void put_hardware(struct buf *out) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (cpus < 1 || pages < 1 || page < 1)
        return;
    buf_printf(out, ",\"hardware\":{\"cpus\":%ld,\"mem_bytes\":%llu}", cpus,
               (unsigned long long)pages * (unsigned long long)page);
}

static const char *const reaches[] = { [CONFIG_REACH_OFF] = "off", [CONFIG_REACH_VIEW] = "view", [CONFIG_REACH_FULL] = "full" };

static void put_allow(const struct config *c, struct buf *out) {
    buf_add(out, SV(",\"allow\":{\"inference\":"));
    buf_add(out, c->join.allow.inference ? SV("true") : SV("false"));
    put_truth(out, "models", c->join.allow.models);
    put_truth(out, "config", c->join.allow.config);
    put_truth(out, "certs", c->join.allow.certs);
    put_truth(out, "jobs", c->join.allow.jobs);
    put_truth(out, "restart", c->join.allow.restart);
    buf_printf(out, ",\"console\":\"%s\"", reaches[c->join.allow.console]);
    buf_add_char(out, '}');
}

static void on_settled(void *arg) {
    report__changed(arg);
}

void report__register(struct member *m, struct tie *t) {
    struct buf out = BUF_MAX(ENGINE_TEXT_MAX);
    bool more = false;
    buf_add(&out, SV("{\"agent_id\":"));
    buf_add_json(&out, sv_of(m->state.node_id));
    put_self(m, &out);
    put_hardware(&out);
    buf_add(&out, SV(",\"services\":[\"http\",\"echo\"],\"delegation\":null"));
    put_allow(*m->house.config, &out);
    put_count(&out, "capabilities_rev", m->rev);
    if (!member_models_all(&m->models, fleet_of(m), MEMBER_ROOM, &out, &more))
        out.failed = true;
    if (m->models.n_left_out)
        log_event(LOG_WARN, "the hub is not told of all models", F_U64("left_out", m->models.n_left_out),
                  F_U64("limit", MEMBER_MODELS));
    buf_add_char(&out, '}');
    say(t, KIND_REGISTER, &out);
    if (more && t == m->now)
        timer_set(m->house.loop, &m->settle, MEMBER_MORE_MS, on_settled, m);
}

/* The models are those of the link in use: while another is being made, that one's registration is the last word, and changes wait for
 * it. */
void report__changed(struct member *m) {
    struct buf members = BUF_MAX(ENGINE_TEXT_MAX), out = BUF_MAX(ENGINE_TEXT_MAX);
    bool more = false;
    if (!m->now || m->is_stopping || m->fresh) {
        if (m->fresh)
            timer_set(m->house.loop, &m->settle, MEMBER_SETTLE_MS, on_settled, m);
        return;
    }
    if (!member_models_changes(&m->models, fleet_of(m), MEMBER_ROOM, &members, &more)) {
        more = true; /* memory may come back */
    } else if (members.n) {
        buf_printf(&out, "{\"rev\":%llu", (unsigned long long)++m->rev);
        buf_add(&out, buf_sv(&members));
        buf_add_char(&out, '}');
        say(m->now, KIND_CAPABILITIES, &out);
    }
    buf_deinit(&members);
    buf_deinit(&out);
    report__tick(m); /* a change of state goes at once */
    if (more)
        timer_set(m->house.loop, &m->settle, MEMBER_MORE_MS, on_settled, m);
}

/* --- heartbeats ----------------------------------------------------------------------------------------------------------------------- */

static const char *state_of(const struct member *m, unsigned all, unsigned healthy) {
    if (m->is_stopping)
        return "stopping";
    if (m->is_draining)
        return "draining";
    if (!fleet_is_settled(m->house.fleet))
        return "starting";
    return all && !healthy ? "degraded" : "running";
}

/* From /proc/meminfo: what programs hold and could not be given back. 0: unknown. */
static uint64_t memory_used(void) {
    unsigned long long total = 0, available = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f) && !(total && available)) {
        (void)!sscanf(line, "MemTotal: %llu kB", &total);
        (void)!sscanf(line, "MemAvailable: %llu kB", &available);
    }
    fclose(f);
    return total > available && available ? (total - available) * 1024 : 0;
}

static void beat(struct member *m, const char *state, unsigned all, unsigned healthy) {
    struct buf out = BUF_MAX(4096);
    struct metrics_totals sum;
    double load;
    char at[25];
    metrics_totals(m->house.metrics, &sum);
    buf_printf(&out, "{\"state\":\"%s\"", state);
    put_count(&out, "uptime_ms", loop_now_ms(m->house.loop) - m->started_mono_ms);
    put_count(&out, "healthy_endpoints", healthy);
    put_count(&out, "total_endpoints", all);
    put_count(&out, "active_requests", sum.in_flight);
    put_count(&out, "queued_requests", sum.queued);
    put_count(&out, "open_streams", tie__streams(m->now));
    put_count(&out, "total_requests", sum.requests);
    put_count(&out, "total_errors", sum.failed);
    put_count(&out, "capabilities_rev", m->rev);
    if (getloadavg(&load, 1) == 1)
        buf_printf(&out, ",\"load1\":%.2f", load);
    uint64_t used = memory_used();
    if (used)
        put_count(&out, "mem_used_bytes", used);
    put_text(&out, "cert_not_after", sv_of(clock_iso8601((uint64_t)m->state.pair.cert.is.not_after_s * 1000, at)));
    if (strcmp(state, "degraded") == 0)
        put_text(&out, "error_message", SV("no endpoint can serve"));
    buf_add_char(&out, '}');
    say(m->now, KIND_HEARTBEAT, &out);
}

/* --- metrics -------------------------------------------------------------------------------------------------------------------------- */

/* Requests at each model that has any, or had when it was told last. */
static void put_models(const struct snapshot *s, struct buf *out) {
    const char *comma = "";
    buf_add(out, SV(",\"models\":["));
    for (size_t i = 0; s && i < s->n_listed && out->n < METRICS_ROOM; i++) {
        uint64_t active = 0, queued = 0;
        const struct fleet_slug *slug = &s->slugs[i];
        for (size_t k = 0; k < slug->n_targets; k++) {
            active += atomic_load_explicit(&slug->targets[k]->cell->in_flight, memory_order_relaxed);
            queued += atomic_load_explicit(&slug->targets[k]->cell->waiting, memory_order_relaxed);
        }
        if ((!active && !queued) || slug->name.n > 200)
            continue;
        buf_printf(out, "%s{\"key\":", comma);
        buf_add_json(out, slug->name);
        buf_printf(out, ",\"active\":%llu,\"queued\":%llu}", (unsigned long long)active, (unsigned long long)queued);
        comma = ",";
    }
    buf_add_char(out, ']');
}

static void measure(struct member *m) {
    struct buf out = BUF_MAX(ENGINE_TEXT_MAX);
    char at[25];
    buf_printf(&out, "{\"at\":\"%s\",\"interval_ms\":%u", clock_iso8601(clock_wall_ms(), at), m->now->metrics_ms);
    size_t head = out.n;
    put_models(fleet_of(m), &out);
    bool any = out.n > head + sizeof ",\"models\":[]" - 1;
    buf_add_char(&out, '}');
    if (any || m->metrics_told) /* the last one says that all is quiet */
        say(m->now, KIND_METRICS, &out);
    buf_deinit(&out);
    m->metrics_told = any;
}

void report__tick(struct member *m) {
    uint64_t now = loop_now_ms(m->house.loop);
    unsigned all, healthy;
    if (!m->now)
        return;
    member_endpoints(fleet_of(m), &all, &healthy);
    const char *state = state_of(m, all, healthy);
    bool changed =
        m->beat_state != state && now - m->beat_ms >= MEMBER_BEAT_LEAST_MS; /* words are literals of one place */
    if (!m->beat_state || now >= m->beat_due_ms || changed) {
        beat(m, state, all, healthy);
        m->beat_state = state;
        m->beat_ms = now;
        m->beat_due_ms = now + m->now->heartbeat_ms;
    }
    if (now >= m->metrics_due_ms) {
        measure(m);
        m->metrics_due_ms = now + m->now->metrics_ms;
    }
}

void report__goodbye(struct member *m, struct sv reason) {
    struct buf out = BUF_MAX(1024);
    unsigned all, healthy;
    if (!m->now)
        return;
    member_endpoints(fleet_of(m), &all, &healthy);
    beat(m, "stopping", all, healthy);
    buf_add(&out, SV("{\"reason\":"));
    buf_add_json(&out, reason);
    buf_add_char(&out, '}');
    say(m->now, KIND_GOODBYE, &out);
}
