/* hub/member.c - off -> asking -> (waiting) -> joined or dialling <-> linked; resting in between, as long as member_plan.c says. It
 * never gives up by itself but when the operator said no, and its log says what it waits for. */
#include "hub/member_room.h"

#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "http/url.h"
#include "hub/relay.h"

#define X(id, word) [id] = word,
static const char *const words[] = { MEMBER_PHASES(X) };
#undef X

static uint32_t chance(void *arg, uint32_t below) {
    (void)arg;
    return rand_below(below);
}
const struct plan_chance member__chance = { chance, NULL };

/* --- where it stands ------------------------------------------------------------------------------------------------------------------ */

void member__goto(struct member *m, enum member_phase to) {
    if (m->phase == to)
        return;
    log_event(LOG_DEBUG, "membership", F_STR("from", words[m->phase]), F_STR("to", words[to]));
    m->phase = to;
    m->since_ms = clock_wall_ms();
    if (to != MEMBER_RESTING && to != MEMBER_ASKING && to != MEMBER_WAITING)
        m->next_try_ms = 0;
    if (m->house.on_change)
        m->house.on_change(m->house.owner);
}

void member__failed(struct member *m, const struct err *e) {
    if (e)
        m->last = *e;
    else
        m->last = (struct err){ 0 };
}

static const char *current_url(const struct member *m) {
    const struct member_urls *u = m->has_state ? &m->state.urls : m->has_wish ? &m->wish.urls : NULL;
    if (!u || !u->n)
        return "";
    return m->n_order == u->n && m->at < m->n_order ? u->v[m->order[m->at]] : u->v[0];
}

static const char *waits_for(enum member_phase phase) {
    if (phase == MEMBER_WAITING)
        return "the hub has not approved this node yet: its operator compares the fingerprint and says yes";
    return phase == MEMBER_ASKING ? "this node could not ask the hub to let it join; it tries again"
                                  : "no link to the hub; it is tried again";
}

/* Once a minute, or when something else is in the way than last time. */
void member__rest(struct member *m, enum member_phase phase, uint64_t wait_ms, const struct plan_end *end,
                  void (*run)(void *arg)) {
    uint64_t now = clock_wall_ms();
    uint64_t hash = hash_sv(sv_of(m->last.text)) + phase;
    m->next_try_ms = now + wait_ms;
    if (hash != m->told_hash || now - m->told_at_ms >= MEMBER_TELL_MS) {
        m->told_at_ms = now;
        m->told_hash = hash;
        log_event(phase == MEMBER_WAITING ? LOG_INFO : LOG_WARN, waits_for(phase), F_STR("hub", current_url(m)),
                  F_STR("cause", m->last.text), F_I64("status", end->status), F_U64("code", end->code),
                  F_U64("wait_ms", wait_ms), F_STR("fingerprint", m->fingerprint));
    }
    member__goto(m, phase);
    timer_set(m->house.loop, &m->next, wait_ms, run, m);
}

const char *member__url(struct member *m) {
    const struct member_urls *u = m->has_state ? &m->state.urls : &m->wish.urls;
    if (m->n_order != u->n || m->at >= m->n_order) {
        m->n_order = u->n;
        m->at = 0;
        for (unsigned i = 0; i < u->n; i++)
            m->order[i] = i;
        for (unsigned i = u->n; i > 1; i--) {
            unsigned j = rand_below(i), was = m->order[i - 1];
            m->order[i - 1] = m->order[j];
            m->order[j] = was;
        }
    }
    return u->v[m->order[m->at]];
}

void member__proceed(void *arg) {
    struct member *m = arg;
    if (m->is_stopping || !m->has_state)
        return;
    errands__open(m);
    relay__open(m);
    if (m->house.n_berths == 0)
        member__goto(m, MEMBER_JOINED);
    else if (member__cert_has_ended(m))
        member__renew(m);
    else if (direct__is_on(m))
        direct__open(m);
    else
        member__dial(m);
    if (m->house.n_berths && !timer_is_set(&m->look))
        timer_set(m->house.loop, &m->look, 1000, member__look, m);
}

/* --- the beginning -------------------------------------------------------------------------------------------------------------------- */

static void broken(struct member *m, const struct err *e) {
    member__failed(m, e);
    log_event(LOG_ERROR, "the membership in a fleet cannot be used", F_STR("cause", e->text));
    member__goto(m, MEMBER_BROKEN);
}

static void begin_member(struct member *m) {
    struct err e;
    m->state.boot_count++;
    if (m->house.n_berths && !member_state_note(m->dir, &m->state, &e))
        log_event(LOG_WARN, "the start could not be noted beside the membership", F_STR("cause", e.text));
    member__proceed(m);
}

/* From a line of `drover hub invite`, a bare token beside `url`, or a URL alone. */
static bool wish_from(struct member_wish *w, struct sv line, struct sv url, struct err *e) {
    struct pki_invite in;
    unsigned char hash[PKI_TOKEN];
    struct url u;
    line = sv_trim(line);
    *w = (struct member_wish){ .key = BUF_MAX(PKI_PEM_MAX + 1) };
    if (url.n)
        member_urls_add(&w->urls, url);
    if (sv_starts_nocase(line, SV("http://")) || sv_starts_nocase(line, SV("https://"))) {
        member_urls_add(&w->urls, line);
    } else if (url.n && pki_token_hash(PKI_TOKEN_JOIN, line, hash)) {
        (void)!sv_to_cstr(line, w->token, sizeof w->token);
    } else if (line.n) {
        if (!pki_invite_read(line, (int64_t)(clock_wall_ms() / 1000), &in, e))
            return false;
        for (unsigned i = 0; i < in.n_urls; i++)
            member_urls_add(&w->urls, sv_of(in.urls[i]));
        w->has_pin = true;
        memcpy(w->pin, in.pin, sizeof w->pin);
        memcpy(w->token, in.token, sizeof w->token);
        w->expires_s = in.expires_s;
        sodium_memzero(&in, sizeof in);
    }
    for (unsigned i = 0; i < w->urls.n; i++)
        if (!member__url_parse(sv_of(w->urls.v[i]), &u, e))
            return false;
    return w->urls.n > 0 ||
           err_set(e, ERR_BAD_REQUEST, "expected the line that drover hub invite printed, or the hub's address");
}

static void begin_wish(struct member *m) {
    m->has_wish = true;
    m->n_order = m->at = 0;
    m->plan = (struct plan){ 0 };
    member__goto(m, MEMBER_ASKING);
    member__ask(m);
}

/* What the settings ask for. A request that was under way goes on with its key where it asks the same. */
static void begin_settings(struct member *m, bool had_wish) {
    const struct config *c = *m->house.config;
    struct sv line = { c->join.token.value, c->join.token.n };
    struct member_wish w;
    struct err e;
    if (!c->join.url.n && !line.n) {
        if (had_wish)
            begin_wish(m);
        return;
    }
    if (!wish_from(&w, line, c->join.url, &e)) {
        member_wish_deinit(&w);
        if (had_wish && e.code == ERR_BAD_REQUEST) { /* such as a line that has run out while we waited for a person */
            begin_wish(m);
            return;
        }
        err_ctx(&e, "join");
        broken(m, &e);
        return;
    }
    if (had_wish) {
        memcpy(w.mode, m->wish.mode, sizeof w.mode);
        buf_add(&w.key, buf_sv(&m->wish.key));
        member_wish_deinit(&m->wish);
    }
    m->wish = w;
    if (member_wish_store(m->dir, &m->wish, &e))
        begin_wish(m);
    else
        broken(m, &e);
}

static void begin(struct member *m) {
    struct err e = { 0 };
    if (member_state_load(m->dir, &m->state, &e)) {
        m->has_state = true;
        if (m->state.pair.is_fallback)
            log_event(LOG_WARN, "the newest certificate is damaged; the one before is used",
                      F_STR("cause", m->state.pair.why.text));
        if ((*m->house.config)->join.url.n)
            member_urls_add(&m->state.urls, (*m->house.config)->join.url);
        begin_member(m);
        return;
    }
    member_state_deinit(&m->state);
    if (e.code != ERR_NOT_FOUND) {
        broken(m, &e);
        return;
    }
    bool had_wish = member_wish_load(m->dir, &m->wish, &e);
    if (!had_wish)
        member_wish_deinit(&m->wish);
    begin_settings(m, had_wish);
}

static bool is_name(struct sv v) {
    for (size_t i = 0; i < v.n; i++)
        if (!((v.p[i] >= 'a' && v.p[i] <= 'z') || (v.p[i] >= 'A' && v.p[i] <= 'Z') ||
              (v.p[i] >= '0' && v.p[i] <= '9') || strchr("._-", v.p[i])))
            return false;
    return v.n <= MEMBER_NAME_MAX;
}

/* --- asked from outside --------------------------------------------------------------------------------------------------------------- */

/* The settings' word goes before that of `drover join`. */
static bool mode_fits(const struct config *c, struct sv mode, struct err *e) {
    bool direct = sv_eq(mode, SV("direct"));
    if (mode.n && !direct && !sv_eq(mode, SV("reverse")))
        return err_set(e, ERR_BAD_REQUEST, "the mode is reverse or direct");
    return !mode.n || c->join.mode == CONFIG_JOIN_AUTO || direct == (c->join.mode == CONFIG_JOIN_DIRECT) ||
           err_set(e, ERR_BAD_REQUEST, "the settings say join.mode: %s; change it there, or join without --mode", direct ? "reverse" : "direct");
}

bool member_join(struct member *m, struct sv line, struct sv name, struct sv mode, struct err *e) {
    struct member_wish w;
    struct buf key = BUF_MAX(PKI_PEM_MAX + 1);
    if (m->has_state)
        return err_set(e, ERR_EXISTS, "this machine is %s in the fleet \"%s\" already; drover leave first",
                       m->state.node_id, m->state.fleet);
    if (m->phase == MEMBER_BROKEN && m->last.code == ERR_CONFIG)
        return err_set(e, ERR_EXISTS, "%s", m->last.text);
    if (m->is_stopping)
        return err_set(e, ERR_UNAVAILABLE, "the daemon is stopping");
    if (!is_name(name))
        return err_set(e, ERR_BAD_REQUEST, "a name has 1 to %d letters, digits, '.', '_' or '-'", MEMBER_NAME_MAX);
    if (!mode_fits(*m->house.config, mode, e))
        return false;
    if (!line.n)
        return err_set(e, ERR_BAD_REQUEST, "\"line\" is empty");
    if (!wish_from(&w, line, SV_NULL, e)) {
        member_wish_deinit(&w);
        return false;
    }
    (void)!sv_to_cstr(name, w.name, sizeof w.name);
    (void)!sv_to_cstr(mode, w.mode, sizeof w.mode);
    if (m->has_wish) { /* the same key, so that a hub that knows it already knows it again */
        buf_add(&key, buf_sv(&m->wish.key));
        member__cancel(m);
        member_wish_deinit(&m->wish);
        w.key = key;
    }
    m->wish = w;
    if (!member_wish_store(m->dir, &m->wish, e)) {
        m->has_wish = false;
        member_wish_deinit(&m->wish);
        member__goto(m, MEMBER_OFF);
        return false;
    }
    member__failed(m, NULL);
    begin_wish(m);
    return true;
}

static void end_ties(struct member *m, unsigned code, struct sv why) {
    tie__end(m->fresh, code, why);
    tie__end(m->now, code, why);
    tie__end(m->old, code, why);
    m->fresh = m->now = m->old = NULL;
}

static void stop_timers(struct member *m) {
    timer_stop(m->house.loop, &m->next);
    timer_stop(m->house.loop, &m->tick);
    timer_stop(m->house.loop, &m->look);
    timer_stop(m->house.loop, &m->settle);
    timer_stop(m->house.loop, &m->level);
}

static void drop(struct member *m) {
    errands__close(m, false);
    usage__close(m);
    if (m->has_state)
        member_state_deinit(&m->state);
    if (m->has_wish)
        member_wish_deinit(&m->wish);
    m->has_state = m->has_wish = false;
    pki_wipe(&m->renew_key);
    m->wanted_at_ms = 0;
    m->fingerprint[0] = '\0';
}

bool member_leave(struct member *m, struct err *e) {
    if (m->phase == MEMBER_OFF)
        return err_set(e, ERR_NOT_FOUND, "this machine is no node of a fleet, and does not ask to be");
    if (!member_forget(m->dir, e))
        return false;
    report__goodbye(m, SV("leaving"));
    log_event(LOG_INFO, "left the fleet", F_STR("fleet", m->has_state ? m->state.fleet : ""),
              F_STR("node", m->has_state ? m->state.node_id : ""));
    member__cancel(m);
    stop_timers(m);
    direct__close(m);
    end_ties(m, 1000, SV("leaving"));
    errands__close(m, true);
    relay__leave(m, true);
    drop(m);
    member__failed(m, NULL);
    m->plan = (struct plan){ 0 };
    member__goto(m, MEMBER_OFF);
    return true;
}

bool member_leave_offline(const struct config *c, struct err *e) {
    char dir[MEMBER_PATH];
    if ((size_t)snprintf(dir, sizeof dir, "%.*s/join", SV_FMT(c->data_dir)) >= sizeof dir)
        return err_set(e, ERR_CONFIG, "data_dir: path too long");
    if (access(dir, F_OK) != 0)
        return err_set(e, ERR_NOT_FOUND, "this machine is no node of a fleet, and does not ask to be");
    return member_forget(dir, e);
}

void member_stop(struct member *m) {
    if (m->is_stopping)
        return;
    m->is_stopping = true;
    errands__stop(m);
    relay__stop(m);
    member__cancel(m);
    stop_timers(m);
    direct__close(m);
    tie__end(m->fresh, 1001, SV("stopping"));
    m->fresh = NULL;
    report__goodbye(m, SV("stopping"));
    if (m->now) /* what is under way may finish */
        wire_goaway(m->now->wire, 0, SV("stopping"));
    for (unsigned i = 1; m->now && i < MEMBER_LANES; i++)
        if (m->now->lanes[i].wire)
            wire_goaway(m->now->lanes[i].wire, 0, SV("stopping"));
    member__goto(m, MEMBER_STOPPED);
}

static void on_settled(void *arg) {
    report__changed(arg);
}

void member_snapshot(struct member *m) {
    if (m->now && !m->is_stopping && !timer_is_set(&m->settle))
        timer_set(m->house.loop, &m->settle, MEMBER_SETTLE_MS, on_settled, m);
}

void member_facts(const struct member *m, struct member_facts *ret) {
    struct engine_facts f = { 0 };
    const struct tie *t = m->now;
    *ret = (struct member_facts){ .phase = m->phase,
                                  .state = words[m->phase],
                                  .since_ms = m->since_ms,
                                  .next_try_ms = m->next_try_ms,
                                  .hub = sv_of(m->now ? m->now->url : current_url(m)),
                                  .error = sv_of(m->last.text),
                                  .called_at = sv_of(m->address),
                                  .renewal_error = m->renew_not_before_ms ? sv_of(m->renew_why) : SV_NULL,
                                  .models = (unsigned)m->models.told[0].n,
                                  .endpoints = (unsigned)m->models.told[1].n };
    memcpy(ret->fingerprint, m->fingerprint, sizeof ret->fingerprint);
    if (m->has_state) {
        ret->hub_id = sv_of(m->state.hub_id);
        ret->fleet = sv_of(m->state.fleet);
        ret->node_id = sv_of(m->state.node_id);
        ret->name = sv_of(m->state.name);
        ret->not_after_s = m->state.pair.cert.is.not_after_s;
    }
    if (!t)
        return;
    wire_facts(t->wire, &f);
    ret->epoch = t->epoch;
    ret->rtt_us = f.rtt_us;
    ret->lanes = tie__lanes(t);
    ret->streams = tie__streams(t);
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

static void make_instance(char to[static MEMBER_INSTANCE]) {
    unsigned char b[16]; /* RFC 9562, version 4 */
    rand_bytes(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(to, MEMBER_INSTANCE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

struct member *member_new(const struct member_house *house, struct err *e) {
    const struct config *c = *house->config;
    struct member *m = mem_new(sizeof *m);
    if (!m) {
        err_no_memory(e);
        return NULL;
    }
    m->house = *house;
    m->house.n_berths = house->n_berths < MEMBER_LANES ? house->n_berths : MEMBER_LANES;
    m->since_ms = m->started_ms = clock_wall_ms();
    m->started_mono_ms = loop_now_ms(house->loop);
    member_models_init(&m->models);
    make_instance(m->instance);
    if ((size_t)snprintf(m->dir, sizeof m->dir, "%.*s/join", SV_FMT(c->data_dir)) >= sizeof m->dir) {
        struct err why;
        err_set(&why, ERR_CONFIG, "data_dir: path too long");
        broken(m, &why);
        return m;
    }
    begin(m);
    return m;
}

bool member_listen(struct member *m, struct err *e) {
    return relay__listen(m, e);
}

void member_free(struct member *m) {
    if (!m)
        return;
    member__cancel(m);
    stop_timers(m);
    direct__close(m);
    end_ties(m, 1001, SV("stopping"));
    relay__free(m);
    drop(m);
    member_models_deinit(&m->models);
    mem_free(m);
}
