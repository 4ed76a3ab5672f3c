/* hub/errand_ops.c - what each directive does here. Those that take a while are looked at a few times a second until they are done. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/member_room.h"

static enum op_step fail(struct errand *d, const char *code, const char *message) {
    snprintf(d->code, sizeof d->code, "%s", code);
    snprintf(d->message, sizeof d->message, "%s", message);
    return OP_FAILED;
}

/* --- refresh_inventory ---------------------------------------------------------------------------------------------------------------------- */

static bool has_endpoint(const struct snapshot *s, struct sv name) {
    for (size_t i = 0; s && i < s->n_endpoints; i++)
        if (sv_eq(s->endpoints[i].name, name))
            return true;
    return false;
}

/* marks: [0] when it began, in loop time, [1] whether all looks have ended: a moment later the snapshot has what they saw */
static enum op_step refresh_begin(struct member *m, struct errand *d, yyjson_val *args) {
    struct sv name = json_str(args, "endpoint_id");
    if (name.n && !has_endpoint(fleet_snapshot(m->house.fleet), name))
        return fail(d, "unknown_id", "this node has no such endpoint");
    fleet_refresh(m->house.fleet);
    d->marks[0] = loop_now_ms(m->house.loop);
    return OP_GOES_ON;
}

static enum op_step refresh_look(struct member *m, struct errand *d) {
    unsigned all, healthy;
    const struct snapshot *s = fleet_snapshot(m->house.fleet);
    if (fleet_is_looking(m->house.fleet, d->marks[0]) || !d->marks[1]++)
        return OP_GOES_ON;
    member_endpoints(s, &all, &healthy);
    buf_printf(&d->detail, "{\"endpoints\":%u,\"healthy\":%u,\"models\":%zu}", all, healthy, s ? s->n_listed : 0);
    return OP_DONE;
}

/* --- set_log_level -------------------------------------------------------------------------------------------------------------------------- */

static void on_level_over(void *arg) {
    const struct member *m = arg;
    enum log_level level = (enum log_level)(*m->house.config)->log.level;
    log_set_level(level);
    log_event(LOG_INFO, "the level of the log is what the settings say again", F_STR("level", log_level_name(level)));
}

static enum op_step level_begin(struct member *m, struct errand *d, yyjson_val *args) {
    enum log_level level, was = (enum log_level)log_level_now();
    uint64_t ttl_ms = (uint64_t)json_i64(args, "ttl_ms", DIRECTIVE_LEVEL_TTL_MS);
    char until[25];
    if (!log_level_parse(json_str(args, "level"), &level))
        return fail(d, "invalid_payload", "no such level");
    log_event(LOG_WARN, "the hub sets the level of the log for a while", F_STR("level", log_level_name(level)), F_U64("ttl_ms", ttl_ms));
    log_set_level(level);
    timer_set(m->house.loop, &m->level, ttl_ms, on_level_over, m);
    buf_printf(&d->detail, "{\"level\":\"%s\",\"was\":\"%s\",\"until\":\"%s\"}", log_level_name(level), log_level_name(was),
               clock_iso8601(clock_wall_ms() + ttl_ms, until));
    return OP_DONE;
}

/* --- restart -------------------------------------------------------------------------------------------------------------------------------- */

/* It has succeeded when the next process reads the journal. */
static enum op_step restart_begin(struct member *m, struct errand *d, yyjson_val *args) {
    if (m->house.restart && m->house.restart(m->house.owner, (uint64_t)json_i64(args, "grace_ms", DIRECTIVE_GRACE_MS)))
        return OP_GOES_ON;
    return fail(d, "busy", "the daemon is stopping already");
}

/* --- drain, undrain ------------------------------------------------------------------------------------------------------------------------- */

/* marks: [0] the deadline in loop time, [1] whether what is left then is ended, [2] how many were */
static enum op_step drain_begin(struct member *m, struct errand *d, yyjson_val *args) {
    m->is_draining = true;
    d->marks[0] = loop_now_ms(m->house.loop) + (uint64_t)json_i64(args, "deadline_ms", DIRECTIVE_DRAIN_MS);
    d->marks[1] = sv_eq(json_str(args, "mode"), SV("hard"));
    report__tick(m);
    return OP_GOES_ON;
}

static enum op_step drain_look(struct member *m, struct errand *d) {
    unsigned left = m->house.hub_requests ? m->house.hub_requests(m->house.owner) : 0;
    bool is_late = loop_now_ms(m->house.loop) >= d->marks[0];
    report__tick(m);
    if (left && is_late && d->marks[1] && m->house.stop_hub_requests) { /* again while any come: the hub may not have heard yet */
        m->house.stop_hub_requests(m->house.owner);
        d->marks[2] += left;
    }
    if (left && (!is_late || d->marks[1]))
        return OP_GOES_ON;
    buf_printf(&d->detail, "{\"cancelled\":%llu,\"left\":%u}", (unsigned long long)d->marks[2], left);
    return OP_DONE;
}

static enum op_step undrain_begin(struct member *m) {
    m->is_draining = false;
    report__tick(m);
    return OP_DONE;
}

/* --- rotate_certs --------------------------------------------------------------------------------------------------------------------------- */

static uint64_t serial_of(const struct member *m) {
    return hash_sv(sv_of(m->state.pair.cert.is.serial));
}

/* marks: [0] which certificate there was, [1] the link's epoch. Done when a link with the new one is up. */
static enum op_step rotate_begin(struct member *m, struct errand *d) {
    if (!m->now)
        return fail(d, "busy", "there is no link at this moment; the certificate is renewed by itself when it is due");
    d->marks[0] = serial_of(m);
    d->marks[1] = m->now->epoch;
    member__renew(m);
    return OP_GOES_ON;
}

static enum op_step rotate_look(struct member *m, struct errand *d) {
    char until[25];
    if (m->renewing)
        return OP_GOES_ON;
    if (serial_of(m) == d->marks[0])
        return fail(d, "internal", m->renew_why);
    if (!m->now || m->fresh || m->now->epoch == d->marks[1])
        return OP_GOES_ON;
    buf_printf(&d->detail, "{\"not_after\":\"%s\",\"epoch\":%llu}", clock_iso8601((uint64_t)m->state.pair.cert.is.not_after_s * 1000, until),
               (unsigned long long)m->now->epoch);
    return OP_DONE;
}

/* --- cancel --------------------------------------------------------------------------------------------------------------------------------- */

static enum op_step cancel_begin(struct member *m, struct errand *d, yyjson_val *args) {
    struct errand *other = errand__find(m->errands, json_str(args, "id"));
    if (!sv_eq(json_str(args, "what"), SV("directive")))
        return fail(d, "unsupported_op", "this version cancels directives only");
    if (!other || other == d || directive_is_over(other->state)) { /* it does not run, which is what was asked for */
        snprintf(d->code, sizeof d->code, "unknown_id");
        return OP_DONE;
    }
    if (other->state == DIRECTIVE_RUNNING && !op__stop(m, other))
        return fail(d, "busy", "it has gone too far to be stopped");
    errand__end(m->errands, other, DIRECTIVE_CANCELLED, "", "");
    return OP_DONE;
}

/* --- all of them ---------------------------------------------------------------------------------------------------------------------------- */

enum op_step op__begin(struct member *m, struct errand *d) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(sv_of(d->args));
    yyjson_val *args = yyjson_doc_get_root(doc);
    if (!doc)
        return fail(d, "internal", "out of memory");
    switch (d->op) {
    case OP_REFRESH:
        return refresh_begin(m, d, args);
    case OP_LOG_LEVEL:
        return level_begin(m, d, args);
    case OP_RESTART:
        return restart_begin(m, d, args);
    case OP_DRAIN:
        return drain_begin(m, d, args);
    case OP_UNDRAIN:
        return undrain_begin(m);
    case OP_CANCEL:
        return cancel_begin(m, d, args);
    case OP_ROTATE_CERTS:
        return rotate_begin(m, d);
    default: /* refused when it came; the row is a newer Drover's */
        return fail(d, "unsupported_op", "this version does not carry it out");
    }
}

enum op_step op__look(struct member *m, struct errand *d) {
    switch (d->op) {
    case OP_REFRESH:
        return refresh_look(m, d);
    case OP_DRAIN:
        return drain_look(m, d);
    case OP_ROTATE_CERTS:
        return rotate_look(m, d);
    default: /* a restart ends with the process */
        return OP_GOES_ON;
    }
}

bool op__stop(struct member *m, struct errand *d) {
    if (d->op == OP_RESTART)
        return false;
    if (d->op == OP_DRAIN && d->is_begun) {
        m->is_draining = false;
        report__tick(m);
    }
    return true;
}

const char *op__stage(const struct errand *d) {
    switch (d->op) {
    case OP_REFRESH:
        return "looking";
    case OP_DRAIN:
        return "draining";
    case OP_RESTART:
        return "stopping";
    case OP_ROTATE_CERTS:
        return "renewing";
    default:
        return "running";
    }
}
