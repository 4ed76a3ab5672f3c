/* hub/member_link.c - dial -> hello -> welcome -> register_agent -> registered -> in use -> (replaced by another, or ended).
 *
 * At most three ties at one time: one is being made (fresh), one is in use (now), one ends (old). A link moves by making the next one
 * first: to a new certificate, or to another address when the hub says goodbye. Lanes beside the first are opened once streams come, one
 * per worker. */
#include "hub/member_room.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/url.h"
#include "hub/relay.h"

static const struct wire_events tie_events;

/* --- lanes beside the first ----------------------------------------------------------------------------------------------------------- */

static void order(struct member *m, struct wire *w, unsigned berth, struct dialer *d, struct sv host, struct sv prefix, const char *lane_token) {
    struct berth_dial what = { .dialer = d,
                               .host = host,
                               .prefix = prefix,
                               .bearer = sv_of(m->state.token),
                               .node_id = sv_of(m->state.node_id),
                               .lane_token = sv_of(lane_token),
                               .wire = wire_ref(w) };
    bool ok = berth_dial(m->house.berth(m->house.owner, berth), &what);
    if (!ok)
        wire_refuse(what.wire, 0, SV("out of memory"), 0); /* its end comes as that of any other */
}

static bool dial_wire(struct member *m, struct wire *w, unsigned berth, const char *url, const char *lane_token,
                      struct err *e) {
    struct sv host, prefix;
    struct dialer *d = member__dialer(m, url, true, &host, &prefix, e);
    if (!d)
        return false;
    order(m, w, berth, d, host, prefix, lane_token);
    dialer_unref(d);
    return true;
}

static void on_lane_up(void *owner) {
    struct lane_tie *n = owner;
    n->is_up = true;
    log_event(LOG_DEBUG, "another lane to the hub", F_U64("lane", (uint64_t)(n - n->tie->lanes)));
}

static void on_lane_control(void *owner, struct envelope *m) {
    (void)owner; /* the engine takes none on a lane */
    (void)m;
}

static void on_lane_end(void *owner, int status, unsigned code, struct sv why, uint32_t retry_s) {
    struct lane_tie *n = owner;
    struct member *m = n->tie->member;
    uint64_t pause = retry_s ? (uint64_t)retry_s * 1000 : MEMBER_LANE_PAUSE_MS;
    log_event(LOG_DEBUG, "a lane to the hub has ended", F_I64("status", status), F_U64("code", code),
              F_SV("cause", why));
    wire_free(n->wire, 1000, SV_NULL);
    n->wire = NULL;
    n->is_up = false;
    n->pause_ms = loop_now_ms(m->house.loop) + pause;
}

static const struct wire_events lane_events = { on_lane_control, on_lane_up, on_lane_end, NULL };

static void open_lane(struct tie *t, unsigned i) {
    struct member *m = t->member;
    struct lane_tie *n = &t->lanes[i];
    struct err e;
    n->tie = t;
    n->wire = wire_new(m->house.loop, &lane_events, n, &e);
    if (n->wire && dial_wire(m, n->wire, i, t->url, t->lane_token, &e))
        return;
    wire_free(n->wire, 1000, SV_NULL);
    n->wire = NULL;
    n->pause_ms = loop_now_ms(m->house.loop) + MEMBER_LANE_PAUSE_MS;
}

/* Whether streams came anywhere since the last look; notes on each lane when its own did. */
static bool streams_came(struct tie *t, uint64_t now) {
    struct member *m = t->member;
    bool came = false;
    for (unsigned i = 0; i < m->house.n_berths; i++) {
        uint64_t n = berth_streams(m->house.berth(m->house.owner, i));
        if (n != t->lanes[i].n_streams)
            t->lanes[i].busy_ms = now;
        came = came || n != t->lanes[i].n_streams;
        t->lanes[i].n_streams = n;
    }
    return came;
}

static unsigned streams_of(const struct wire *w) {
    struct engine_facts f;
    wire_facts(w, &f);
    return f.streams.n_streams;
}

static void look_at_lanes(struct tie *t) {
    struct member *m = t->member;
    uint64_t now = loop_now_ms(m->house.loop);
    bool came = streams_came(t, now);
    for (unsigned i = 1; i < t->n_lanes && i < m->house.n_berths; i++) {
        struct lane_tie *n = &t->lanes[i];
        if (!n->wire && came && now >= n->pause_ms) {
            n->busy_ms = now;
            open_lane(t, i);
        } else if (n->wire && now - n->busy_ms >= MEMBER_LANE_IDLE_MS && streams_of(n->wire) == 0) {
            wire_free(n->wire, 1000, SV("idle"));
            n->wire = NULL;
            n->is_up = false;
        }
    }
}

unsigned tie__lanes(const struct tie *t) {
    unsigned n = 1;
    for (unsigned i = 1; i < MEMBER_LANES; i++)
        n += t->lanes[i].wire && t->lanes[i].is_up;
    return n;
}

unsigned tie__streams(const struct tie *t) {
    unsigned n = streams_of(t->wire);
    for (unsigned i = 1; i < MEMBER_LANES; i++)
        n += t->lanes[i].wire ? streams_of(t->lanes[i].wire) : 0;
    return n;
}

/* --- the end of a tie ----------------------------------------------------------------------------------------------------------------- */

void tie__end(struct tie *t, unsigned code, struct sv why) {
    if (!t)
        return;
    for (unsigned i = 1; i < MEMBER_LANES; i++)
        wire_free(t->lanes[i].wire, code, why);
    wire_free(t->wire, code, why);
    timer_stop(t->member->house.loop, &t->retire);
    mem_free(t);
}

static void rest(struct member *m, const struct plan_end *end) {
    uint64_t wait = plan_wait_ms(&m->plan, end, &member__chance);
    if (m->now) { /* the link there is goes on meanwhile */
        timer_set(m->house.loop, &m->next, wait, member__proceed, m);
        return;
    }
    if (direct__is_on(m)) {
        direct__open(m);
        return;
    }
    member__rest(m, MEMBER_RESTING, wait, end, member__proceed);
}

/* Nobody answered there: the other addresses of this round first. */
static bool try_next_address(struct member *m, int status, unsigned code, bool was_up) {
    m->at++;
    return !was_up && !direct__is_on(m) && code == CLOSE_SILENT && (status == 0 || status == 503) && m->at < m->n_order;
}

static void on_end(void *owner, int status, unsigned code, struct sv why, uint32_t retry_s) {
    struct tie *t = owner;
    struct member *m = t->member;
    struct err e;
    if (t->is_given && direct__ended(t, status, why))
        return;
    bool was_old = t == m->old, was_up = t->is_up;
    struct plan_end end = { .status = status,
                            .code = code,
                            .told_ms = t->told_ms ? t->told_ms : retry_s * 1000,
                            .up_ms = was_up ? loop_now_ms(m->house.loop) - t->up_ms : 0 };
    log_event(was_old || !was_up ? LOG_DEBUG : LOG_INFO,
              was_up ? "a link to the hub has ended" : "a link to the hub did not come about", F_STR("hub", t->url),
              F_I64("status", status), F_U64("code", code), F_SV("cause", why), F_U64("up_ms", end.up_ms));
    if (m->now == t) {
        m->now = NULL;
        relay__down(m);
    }
    if (m->fresh == t)
        m->fresh = NULL;
    if (m->old == t)
        m->old = NULL;
    tie__end(t, 1000, SV_NULL);
    bool lives = m->now || m->fresh;
    if (was_old || m->is_stopping || (code == CLOSE_REPLACED && lives))
        return; /* the other one of ours is meant to live */
    if (status)
        err_set(&e, ERR_IO, "the hub answered %d: %.*s", status, SV_FMT(why));
    else if (code)
        err_set(&e, ERR_IO, "the link ended with %u: %.*s", code, SV_FMT(why));
    else
        err_set(&e, ERR_IO, "%.*s", SV_FMT(why));
    member__failed(m, &e);
    if (m->fresh)
        return; /* the next one is on its way */
    if (m->now)
        report__register(m, m->now); /* what the failed one was told, this one may not have been */
    bool next = try_next_address(m, status, code, was_up);
    if (next && !m->now)
        member__rest(m, MEMBER_RESTING, 250, &end, member__proceed);
    else
        rest(m, &end);
}

/* --- what the hub says ---------------------------------------------------------------------------------------------------------------- */

static uint32_t retry_of(yyjson_val *v) {
    int64_t ms = json_i64(v, "retry_ms", 0);
    return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static bool has_feature(yyjson_val *v, struct sv name) {
    size_t i, n;
    yyjson_val *it;
    yyjson_arr_foreach(json_get(v, "features"), i, n, it) if (sv_eq(json_sv(it), name)) return true;
    return false;
}

static void take_welcome(struct tie *t, yyjson_val *v) {
    struct member *m = t->member;
    const struct mux_limits l = link_limits_read(json_get(v, "limits"), MUX_LIMITS_HUB);
    struct err e;
    wire_peer_limits(t->wire, &l);
    t->epoch = (uint64_t)json_i64(v, "epoch", 0);
    t->relays = has_feature(v, SV("leaf_relay"));
    t->heartbeat_ms = (unsigned)json_i64(v, "heartbeat_ms", 15000);
    t->metrics_ms = (unsigned)json_i64(v, "metrics_ms", 10000);
    t->n_lanes = !t->is_given && sv_to_cstr(json_str(v, "lane_token"), t->lane_token, sizeof t->lane_token) && t->lane_token[0]
                     ? (unsigned)json_i64(v, "lanes", 1)
                     : 1;
    m->state.last_epoch = t->epoch;
    if (!member_state_note(m->dir, &m->state, &e))
        log_event(LOG_WARN, "the link's epoch could not be noted", F_STR("cause", e.text));
    m->wanted_at_ms = 0; /* what failed because the hub was away is tried again now that it is here */
    if (!m->renew_key.n)
        m->renew_not_before_ms = 0;
    member__want(m, v);
    report__register(m, t);
}

static void take_registered(struct tie *t, yyjson_val *v) {
    struct member *m = t->member;
    struct sv name = json_str(v, "name");
    size_t i, n;
    yyjson_val *it;
    struct err e;
    yyjson_arr_foreach(json_get(v, "warnings"), i, n, it)
        log_event(LOG_WARN, "the hub says of this node", F_SV("warning", json_sv(it)));
    if (!json_bool(v, "accepted", false)) {
        struct sv why = json_str(v, "message").n ? json_str(v, "message") : json_str(v, "code");
        log_event(LOG_ERROR, "the hub did not accept the registration", F_SV("cause", why));
        return; /* it closes */
    }
    if (name.n && name.n <= MEMBER_NAME_MAX && !sv_eq(name, sv_of(m->state.name))) {
        (void)!sv_to_cstr(name, m->state.name, sizeof m->state.name);
        if (!member_state_note(m->dir, &m->state, &e))
            log_event(LOG_WARN, "this node's name could not be noted", F_STR("cause", e.text));
    }
}

static void take_error(struct tie *t, yyjson_val *v) {
    struct member *m = t->member;
    struct sv code = json_str(v, "code");
    int64_t retry_ms = json_i64(v, "retry_ms", 0);
    log_event(LOG_WARN, "the hub complains", F_SV("code", code), F_SV("cause", json_str(v, "message")),
              F_SV("path", json_str(v, "path")));
    if (json_bool(v, "fatal", false) && retry_ms > 0)
        t->told_ms = retry_of(v);
    if (sv_eq(code, SV("capabilities_gap")) && t == m->now)
        report__register(m, t);
}

/* With another address the next link is made first; else the end of this one is waited for. */
static void take_goodbye(struct tie *t, yyjson_val *v) {
    struct member *m = t->member;
    t->told_ms = retry_of(v);
    log_event(LOG_INFO, "the hub says goodbye", F_SV("cause", json_str(v, "reason")), F_U64("retry_ms", t->told_ms));
    if (t != m->now || m->fresh || m->state.urls.n < 2 || direct__is_on(m))
        return;
    m->at++;
    member__dial(m);
}

static void on_control(void *owner, struct envelope *e) {
    struct tie *t = owner;
    if (e->agent_id.n && !sv_eq(e->agent_id, sv_of(t->member->state.node_id))) { /* about a leaf */
        if (t == t->member->now)
            relay__take(t->member, e);
        return;
    }
    switch (e->kind) {
    case KIND_WELCOME:
        take_welcome(t, e->payload);
        break;
    case KIND_REGISTERED:
        take_registered(t, e->payload);
        break;
    case KIND_ERROR:
        take_error(t, e->payload);
        break;
    case KIND_GOODBYE:
        take_goodbye(t, e->payload);
        break;
    case KIND_DIRECTIVE:
        if (t == t->member->now) /* on a link that ends it is not answered: the hub sends it again on the next one */
            errands__take(t->member, e);
        break;
    case KIND_ACK:
        errands__acknowledged(t->member, e->payload);
        usage__acknowledged(t->member, e->payload);
        break;
    case KIND_HUB_STATUS:
        log_event(LOG_INFO, "the hub's state", F_SV("state", json_str(e->payload, "state")));
        member__want(t->member, e->payload);
        break;
    default:
        break;
    }
}

static void on_open(void *owner) {
    struct tie *t = owner;
    if (t->is_given)
        direct__met(t);
    report__hello(t);
}

static void on_retired(void *arg) {
    struct tie *t = arg;
    t->member->old = NULL;
    tie__end(t, 1000, SV("replaced by a newer link"));
}

static void on_up(void *owner) {
    struct tie *t = owner;
    struct member *m = t->member;
    t->is_up = true;
    t->up_ms = loop_now_ms(m->house.loop);
    if (m->old)
        on_retired(m->old);
    if (m->now) { /* its streams have until then to end */
        m->old = m->now;
        timer_set(m->house.loop, &m->old->retire, MEMBER_RETIRE_MS, on_retired, m->old);
    }
    m->now = t;
    m->fresh = NULL;
    timer_stop(m->house.loop, &m->next);
    for (unsigned i = 0; i < m->house.n_berths; i++)
        t->lanes[i].n_streams = berth_streams(m->house.berth(m->house.owner, i));
    log_event(LOG_INFO, "linked to the hub", F_STR("hub", t->url), F_STR("fleet", m->state.fleet),
              F_U64("epoch", t->epoch), F_U64("lanes", t->n_lanes));
    member__failed(m, NULL);
    m->told_hash = 0;
    member__goto(m, MEMBER_LINKED);
    m->next_try_ms = 0;
    m->beat_due_ms = m->metrics_due_ms = 0;
    m->beat_state = NULL;
    member__tick(m);
    report__changed(m); /* what did not fit, or came about since the registration was printed */
    errands__up(m);
    usage__up(m);
    relay__up(m, t->relays);
    if (strcmp(t->serial, m->state.pair.cert.is.serial) != 0) /* there is a newer certificate since it was dialled */
        member__dial(m);
}

static const struct wire_events tie_events = { on_control, on_up, on_end, on_open };

void member__tick(void *arg) {
    struct member *m = arg;
    if (!m->now || m->is_stopping)
        return;
    report__tick(m);
    usage__tick(m);
    look_at_lanes(m->now);
    timer_set(m->house.loop, &m->tick, MEMBER_TICK_MS, member__tick, m);
}

/* --- the dial ------------------------------------------------------------------------------------------------------------------------- */

static struct tie *tie_new(struct member *m, const char *url, struct err *e) {
    struct tie *t = mem_new(sizeof *t);
    struct wire *w = t ? wire_new(m->house.loop, &tie_events, t, e) : NULL;
    if (!t)
        err_no_memory(e);
    if (!w) {
        mem_free(t);
        return NULL;
    }
    t->member = m;
    t->wire = w;
    snprintf(t->url, sizeof t->url, "%s", url);
    snprintf(t->serial, sizeof t->serial, "%s", m->state.pair.cert.is.serial);
    t->n_lanes = 1;
    return t;
}

void member__dial(struct member *m) {
    struct err e;
    if (m->fresh)
        return;
    struct tie *t = tie_new(m, member__url(m), &e);
    if (!m->now)
        member__goto(m, MEMBER_DIALLING);
    if (t && dial_wire(m, t->wire, 0, t->url, "", &e)) {
        m->fresh = t;
        return;
    }
    tie__end(t, 1000, SV_NULL);
    member__failed(m, &e);
    m->at++;
    rest(m, &(struct plan_end){ 0 });
}

struct tie *tie__given(struct member *m, struct dialer *d, struct err *e) {
    struct url hub;
    struct err odd;
    struct tie *t = tie_new(m, m->state.urls.v[0], e);
    if (!t)
        return NULL;
    t->is_given = true;
    /* No prefix: that is for a proxy in front of the hub, and none is in between here. */
    order(m, t->wire, 0, d, member__url_parse(sv_of(t->url), &hub, &odd) ? hub.authority : SV("hub"), SV_NULL, "");
    return t;
}
