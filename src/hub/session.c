/* hub/session.c - one link of a node, on the control loop: ask (who is it?) -> hello -> welcome -> register_agent -> registered -> heartbeats,
 * capabilities -> the end. The socket itself lives on a worker; what it says comes through its wire.
 *
 *   asked       the gate was told yes; hello is awaited
 *   greeting    hello came; the epoch is being written, and welcome goes when it is on the disk
 *   welcomed    register_agent is awaited
 *   up          the node is a place of the fleet
 *   retiring    a newer link of the same run took over; running streams may finish
 *
 * Two links of one node: the same run's newer one wins at once; another machine with the same identity gets in only when the old link is silent. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rand.h"
#include "hub/moment.h"
#include "hub/session_room.h"
#include "hub/usage.h"

/* --- the fleet ---------------------------------------------------------------------------------------------------------------------------- */

/* How long its certificate has been over, in seconds; negative: it is good. */
static int64_t expired_s(const struct session *s) {
    return s->node->not_after_s ? (int64_t)(clock_wall_ms() / 1000) - s->node->not_after_s : -1;
}

enum fleet_state session__state(const struct session *s, struct sv *ret_why) {
    uint64_t beat = (*s->hub->house->config)->hub.heartbeat_ms;
    *ret_why = SV("");
    if (s->node->drained)
        return *ret_why = SV("draining: no new work is sent there (drover node resume)"), FLEET_DOWN;
    if (strcmp(s->beat_state, "draining") == 0)
        return *ret_why = SV("it says that it is draining: no new work is sent there (drover node order NODE undrain)"), FLEET_DOWN;
    if (expired_s(s) >= 0)
        return *ret_why = SV("its certificate has ended: no new work is sent there until it is renewed"), FLEET_DOWN;
    if (session__now_ms(s->hub) - s->heard_ms >= STALE_BEATS * beat)
        return *ret_why = SV("its heartbeats are missing: no new work is sent there"), FLEET_DOWN;
    if (strcmp(s->beat_state, "maintenance") == 0 || strcmp(s->beat_state, "stopping") == 0 || strcmp(s->beat_state, "error") == 0)
        return *ret_why = s->error[0] ? sv_of(s->error) : sv_of(s->beat_state), FLEET_DOWN;
    if (strcmp(s->beat_state, "starting") == 0)
        return *ret_why = SV("starting"), FLEET_LOADING;
    if (strcmp(s->beat_state, "degraded") == 0)
        return *ret_why = s->error[0] ? sv_of(s->error) : SV("it says that something is wrong"), FLEET_DEGRADED;
    return FLEET_UP;
}

/* with_models: they have changed. */
static void feed(struct session *s, bool with_models) {
    struct node *n = s->node;
    char url[160];
    snprintf(url, sizeof url, "link:%s", n->id);
    struct fleet_fed fed = {
        .name = sv_of(n->name), .url = sv_of(url), .dialer = way_dialer(s->way), .version = sv_of(s->version)
    };
    struct fleet_model *list = with_models && s->models.n ? mem_alloc(s->models.n * sizeof *list) : NULL;
    struct err e;
    size_t at = 0;
    if (!n->is_place && !s->models.n)
        return; /* nothing to serve: many nodes may be here for other things */
    if (with_models && s->models.n && !list)
        return; /* the next capabilities or heartbeat try again */
    for (struct map_entry *m; list && (m = map_next(&s->models, &at));)
        list[fed.n_models++] = *(const struct fleet_model *)m->value;
    fed.state = session__state(s, &fed.reason);
    fed.has_models = with_models;
    fed.models = list;
    if (!s->allows) {
        fed.state = FLEET_DOWN;
        fed.reason = SV("the node's own settings do not allow its hub to use the models (join.allow.inference)");
    }
    bool fed_it = fleet_feed(s->hub->house->fleet, &fed, &e);
    n->is_place = n->is_place || fed_it;
    if (!fed_it)
        log_event(LOG_WARN, "a node cannot be a place of this fleet", F_STR("node", n->name), F_STR("cause", e.text));
    mem_free(list);
}

static void feed_down(struct hub *h, struct node *n, const char *why) {
    char url[160];
    struct err e;
    if (!n->is_place)
        return;
    snprintf(url, sizeof url, "link:%s", n->id);
    const struct fleet_fed fed = { .name = sv_of(n->name), .url = sv_of(url), .dialer = way_dialer(n->way), .state = FLEET_DOWN, .reason = sv_of(why) };
    if (!fleet_feed(h->house->fleet, &fed, &e))
        log_event(LOG_DEBUG, "a node cannot be a place of this fleet", F_STR("node", n->name), F_STR("cause", e.text));
}

void hub__feed(struct hub *h, struct node *n) {
    (void)h;
    if (n->session && n->session->state == UP)
        feed(n->session, n->session->has_models);
}

/* --- ending --------------------------------------------------------------------------------------------------------------------------------- */

static void free_lane(struct lane_of *l, unsigned code, const char *why) {
    list_drop(&l->all);
    wire_free(l->wire, code, sv_of(why));
    mem_free(l);
}

void session__free(struct session *s, unsigned code, const char *why) {
    for (struct list *it; (it = s->lanes.next) != &s->lanes;)
        free_lane(CONTAINER(it, struct lane_of, all), code, why);
    wire_free(s->wire, code, sv_of(why));
    list_drop(&s->all);
    yyjson_doc_free(s->beat);
    yyjson_doc_free(s->told);
    leaves__deinit(&s->leaves);
    map_deinit(&s->models);
    arena_deinit(&s->arena);
    way_unref(s->way);
    sodium_memzero(s->lane_token, sizeof s->lane_token);
    hub__unref(s->hub);
    mem_free(s);
}

/* When it was heard last, on the disk. */
static void write_seen(struct session *s) {
    struct record *r = record_new(s->hub->loop);
    s->seen_ms = session__now_ms(s->hub);
    if (!r)
        return;
    const struct store_value v[] = { STORE_TEXT(sv_of(s->node->id)), STORE_I64((int64_t)s->node->seen_ms) };
    record_add(r, "UPDATE node SET seen_ms = $2 WHERE id = $1", v, 2);
    record_submit(s->hub->house->store, r, NULL, NULL, NULL);
}

/* The link that was to retire goes on: the one that came for it never got up. */
static bool reinstate(struct node *n) {
    struct session *old = n->retiring;
    if (!old || old->left)
        return false;
    n->retiring = NULL;
    n->session = old;
    old->state = UP;
    old->hub->n_sessions++;
    return true;
}

/* Takes it off its node, and undoes what followed from its being up. */
static void leave(struct session *s, const char *why) {
    struct hub *h = s->hub;
    struct node *n = s->node;
    bool was_current = n && n->session == s;
    if (n && n->retiring == s) {
        n->retiring = NULL;
        if (!s->left) /* and the one that came for it is not up yet */
            feed_down(h, n, why);
    }
    if (!was_current)
        return;
    n->session = NULL;
    if (s->state != UP && reinstate(n))
        return;
    n->down_since_ms = clock_wall_ms();
    snprintf(n->last_error, sizeof n->last_error, "%s", why);
    if (s->state == UP) {
        h->n_sessions--;
        feed_down(h, n, why);
        write_seen(s);
        hub__event(h, n, "link_down", sv_of(why));
    }
}

static void end_session(struct session *s, unsigned code, const char *why) {
    leave(s, why);
    s->state = ENDED;
    session__free(s, code, why);
}

void hub__cut(struct hub *h, struct node *n, unsigned code, const char *why) {
    (void)h;
    if (n->retiring)
        end_session(n->retiring, code, why);
    for (struct list *it = h->sessions.next, *next; it != &h->sessions; it = next) { /* those that are still in the handshake, too */
        struct session *s = CONTAINER(it, struct session, all);
        next = it->next;
        if (s->node == n)
            end_session(s, code, why);
    }
}

/* No new streams on any of its lanes; who dials takes another way. */
static void goaway(struct session *s, uint32_t retry_ms, const char *why) {
    wire_goaway(s->wire, retry_ms, sv_of(why));
    LIST_FOR(it, &s->lanes)
    wire_goaway(CONTAINER(it, struct lane_of, all)->wire, retry_ms, sv_of(why));
}

void session__drain(struct hub *h) {
    LIST_FOR(it, &h->sessions) {
        struct session *s = CONTAINER(it, struct session, all);
        uint32_t retry_ms = 1000 + rand_below(4000);
        struct buf bye = BUF_MAX(256);
        if (s->state != UP)
            continue;
        buf_printf(&bye, "{\"reason\":\"the hub is stopping\",\"retry_ms\":%u}", retry_ms);
        wire_send(s->wire, KIND_GOODBYE, buf_sv(&bye), SV_NULL);
        goaway(s, retry_ms, "the hub is stopping");
        buf_deinit(&bye);
    }
}

void session__free_all(struct hub *h) {
    while (!list_empty(&h->sessions)) {
        struct session *s = CONTAINER(h->sessions.next, struct session, all);
        s->node->session = s->node->retiring = NULL;
        session__free(s, 1001, "the hub is stopping");
    }
}

/* --- saying --------------------------------------------------------------------------------------------------------------------------------- */

static void say_error_to(struct session *s, enum link_fault code, const char *text, struct sv agent, struct sv re) {
    struct buf p = BUF_MAX(1024);
    buf_printf(&p, "{\"code\":\"%s\",\"message\":", link_fault_name(code));
    buf_add_json(&p, sv_of(text));
    buf_add(&p, SV(",\"fatal\":false}"));
    session__say_to(s, KIND_ERROR, agent, buf_sv(&p), re);
    buf_deinit(&p);
}

static void say_error(struct session *s, enum link_fault code, const char *text, struct sv re) {
    say_error_to(s, code, text, SV_NULL, re);
}

struct sv session__leaf_of(const struct node *n, const struct envelope *m) {
    return sv_eq(m->agent_id, sv_of(n->id)) ? SV_NULL : m->agent_id;
}

void session__refuse(struct session *s, enum link_fault code, const char *text, const struct envelope *m) {
    say_error_to(s, code, text, session__leaf_of(s->node, m), m->msg_id);
}

static void audit(struct session *s, const char *action, const char *detail) {
    struct record *r = record_new(s->hub->loop);
    const struct access_actor who = { sv_of(s->node->name), sv_of(s->peer) };
    if (!r)
        return;
    record_audit(r, &who, action, sv_of(s->node->id), sv_of(detail));
    record_submit(s->hub->house->store, r, NULL, NULL, NULL);
}

bool session__is_up(const struct session *s) {
    return s && s->state == UP;
}

void session__say_to(struct session *s, enum link_kind kind, struct sv agent, struct sv payload, struct sv re) {
    wire_send_as(s->wire, &(struct envelope_head){ .kind = kind, .agent_id = agent, .re = re }, payload);
}

bool session__has_leaf(const struct session *s, struct sv agent) {
    return leaves__has(&s->leaves, agent);
}

static void refuse_identity(struct session *s, struct sv re) {
    struct buf p = BUF_MAX(512);
    audit(s, "node.identity_mismatch", "hello names another node than the credentials");
    buf_add(&p, SV("{\"code\":\"identity_mismatch\",\"message\":\"hello.node_id or site_id is not the node that the "
                   "credentials belong to\","
                   "\"fatal\":true}"));
    wire_send(s->wire, KIND_ERROR, buf_sv(&p), re);
    buf_deinit(&p);
    end_session(s, CLOSE_IDENTITY, "hello names another node than the credentials");
}

static void refuse_twin(struct session *s, struct sv re) {
    struct hub *h = s->hub;
    struct node *n = s->node;
    struct buf p = BUF_MAX(512);
    audit(s, "node.duplicate", s->peer);
    n->twin_ms = clock_wall_ms();
    hub__event(h, n, "duplicate", sv_of(s->peer));
    log_event(LOG_WARN, "a second machine uses the identity of a node: it is refused; if the first one is the copy, revoke the node", F_STR("node", n->name),
              F_STR("peer", s->peer), F_STR("linked", n->session ? n->session->peer : ""));
    buf_add(&p, SV("{\"code\":\"duplicate_node\",\"message\":\"another machine with this identity is linked\",\"retry_ms\":60000,\"fatal\":true}"));
    wire_send(s->wire, KIND_ERROR, buf_sv(&p), re);
    buf_deinit(&p);
    end_session(s, CLOSE_REPLACED, "another machine with this identity is linked");
}

static void say_welcome(struct session *s) {
    const struct config *c = *s->hub->house->config;
    struct buf p = BUF_MAX(4096);
    char clock[25];
    buf_printf(&p, "{\"epoch\":%llu,\"link_id\":\"%s\",\"hub_id\":\"%s\",\"fleet_id\":\"%s\",\"build\":{\"name\":\"drover\",\"version\":\"%s\"},"
               "\"features\":[\"echo\",\"lanes\",\"leaf_relay\"],\"limits\":{\"max_text\":%d,\"max_frame\":%u,\"max_streams\":%u,\"stream_window\":%u,\"link_window\":%u},",
               (unsigned long long)s->epoch, s->link_id, authority_hub_id(s->hub->authority), authority_fleet(s->hub->authority), s->hub->house->version,
               ENGINE_TEXT_MAX, MUX_LIMITS_HUB.max_frame, MUX_LIMITS_HUB.max_streams, MUX_LIMITS_HUB.stream_window, MUX_LIMITS_HUB.link_window);
    buf_printf(&p,
               "\"heartbeat_ms\":%llu,\"metrics_ms\":10000,\"ping_ms\":%d,\"read_timeout_ms\":%d,\"clock\":\"%s\","
               "\"outbox_acked\":0,\"config_generation\":0,"
               "\"lane_token\":\"%s\",\"lanes\":%d,\"hub_state\":\"ready\"",
               (unsigned long long)c->hub.heartbeat_ms, ENGINE_PING_MS, ENGINE_READ_MS,
               clock_iso8601(clock_wall_ms(), clock), s->lane_token,
               c->workers < 1 || s->node->url[0] ? 1
               : c->workers > 8 ? 8
                                : c->workers);
    certs__put(s->hub, s->node, &p);
    buf_add_char(&p, '}');
    wire_peer_limits(s->wire, &s->limits);
    wire_send(s->wire, KIND_WELCOME, buf_sv(&p), sv_of(s->hello_id));
    buf_deinit(&p);
    s->state = WELCOMED;
}

bool session__tell(struct hub *h, struct node *n) {
    struct session *s = n->session;
    struct buf p = BUF_MAX(1024);
    if (!s || s->state != UP)
        return false;
    buf_printf(&p, "{\"state\":\"%s\"", h->draining ? "draining" : "ready");
    certs__put(h, n, &p);
    buf_add_char(&p, '}');
    wire_send(s->wire, KIND_HUB_STATUS, buf_sv(&p), SV_NULL);
    buf_deinit(&p);
    return true;
}

/* A newer link of the same run is in its handshake. New streams still go here until that one is up: no request fails in between. */
static void retire(struct session *s) {
    if (s->node->retiring)
        end_session(s->node->retiring, CLOSE_REPLACED, "a newer link took over");
    if (s->state != UP) {
        end_session(s, CLOSE_REPLACED, "a newer link took over");
        return;
    }
    s->hub->n_sessions--;
    s->node->retiring = s;
    s->state = RETIRING;
    s->retire_ms = session__now_ms(s->hub) + RETIRE_MS;
}

/* The newer one is up. */
static void let_go(struct session *s) {
    s->left = true;
    s->retire_ms = session__now_ms(s->hub) + RETIRE_MS;
    goaway(s, 0, "a newer link took over");
}

/* --- hello ---------------------------------------------------------------------------------------------------------------------------------- */

struct epoch_note { /* the epoch is on the disk before welcome tells it */
    struct hub *hub;
    char link_id[17];
};

static struct session *find_session(struct hub *h, const char *link_id) {
    LIST_FOR(it, &h->sessions)
        if (strcmp(CONTAINER(it, struct session, all)->link_id, link_id) == 0)
            return CONTAINER(it, struct session, all);
    return NULL;
}

static void on_epoch(void *arg, const struct err *e) {
    struct epoch_note *t = arg;
    struct session *s = t->hub->closing ? NULL : find_session(t->hub, t->link_id);
    if (s && s->state == GREETING && e)
        end_session(s, 1011, "the hub cannot write its records");
    else if (s && s->state == GREETING)
        say_welcome(s);
    hub__unref(t->hub);
    mem_free(t);
}

static void write_epoch(struct session *s) {
    struct epoch_note *t = mem_new(sizeof *t);
    struct record *r = t ? record_new(s->hub->loop) : NULL;
    struct err e;
    if (!r) {
        mem_free(t);
        end_session(s, 1011, "out of memory");
        return;
    }
    t->hub = hub__ref(s->hub);
    memcpy(t->link_id, s->link_id, sizeof t->link_id);
    const struct store_value v[] = { STORE_TEXT(sv_of(s->node->id)), STORE_I64((int64_t)s->epoch) };
    record_add(r, "UPDATE node SET epoch = $2 WHERE id = $1 AND epoch < $2", v, 2);
    if (record_submit(s->hub->house->store, r, on_epoch, t, &e))
        return;
    hub__unref(t->hub);
    mem_free(t);
    end_session(s, 1011, "the hub cannot write its records");
}

static bool is_silent(const struct session *s) {
    uint64_t beats = SILENT_BEATS * (*s->hub->house->config)->hub.heartbeat_ms;
    return session__now_ms(s->hub) - s->heard_ms >= (beats > SILENT_MS ? beats : SILENT_MS);
}

static bool has_feature(yyjson_val *payload, struct sv name) {
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(json_get(payload, "features"), i, n, v) if (sv_eq(json_sv(v), name)) return true;
    return false;
}

static void take_hello(struct session *s, const struct envelope *m) {
    struct node *n = s->node;
    struct session *old = n->session;
    if (!sv_eq(json_str(m->payload, "node_id"), sv_of(n->id))) {
        refuse_identity(s, m->msg_id);
        return;
    }
    (void)sv_to_cstr(json_str(m->payload, "instance"), s->instance, sizeof s->instance);
    if (old && old != s && strcmp(old->instance, s->instance) != 0 && !is_silent(old)) {
        refuse_twin(s, m->msg_id);
        return;
    }
    s->limits = link_limits_read(json_get(m->payload, "limits"), MUX_LIMITS_NODE);
    s->relays = has_feature(m->payload, SV("leaf_relay"));
    if (old && old != s && strcmp(old->instance, s->instance) != 0)
        end_session(old, CLOSE_REPLACED, "another machine with this identity took over");
    else if (old && old != s)
        retire(old);
    n->session = s;
    s->epoch = ++n->epoch;
    s->state = GREETING;
    (void)sv_to_cstr(m->msg_id, s->hello_id, sizeof s->hello_id);
    write_epoch(s);
}

/* --- registration, heartbeats ----------------------------------------------------------------------------------------------------------------- */

static yyjson_doc *keep_without_models(yyjson_val *payload) {
    yyjson_mut_doc *d = yyjson_mut_doc_new(&json_heap);
    yyjson_mut_val *root = d ? yyjson_val_mut_copy(d, payload) : NULL;
    yyjson_doc *kept = NULL;
    if (root) {
        yyjson_mut_obj_remove_key(root, "models");
        yyjson_mut_doc_set_root(d, root);
        kept = yyjson_mut_doc_imut_copy(d, &json_heap);
    }
    yyjson_mut_doc_free(d);
    return kept;
}

static void on_registered_up(struct session *s) {
    s->state = UP;
    s->up_ms = s->seen_ms = session__now_ms(s->hub);
    s->hub->n_sessions++;
    s->hub->n_new_links++;
    s->node->last_error[0] = '\0';
    s->node->seen_ms = clock_wall_ms();
    hub__event(s->hub, s->node, "link_up", sv_of(s->peer));
    if (s->node->retiring)
        let_go(s->node->retiring);
}

static void take_register(struct session *s, const struct envelope *m) {
    struct buf p = BUF_MAX(1024);
    bool first = s->state != UP;
    yyjson_doc *told = keep_without_models(m->payload);
    session__forget_models(s);
    if (!told || !session__take_models(s, yyjson_obj_get(m->payload, "models"))) {
        yyjson_doc_free(told);
        buf_add(&p, SV("{\"accepted\":false,\"code\":\"too_large\",\"message\":\"more models than a hub keeps of one node\"}"));
        wire_send(s->wire, KIND_REGISTERED, buf_sv(&p), m->msg_id);
        buf_deinit(&p);
        end_session(s, CLOSE_REFUSED, "more models than a hub keeps of one node");
        return;
    }
    yyjson_doc_free(s->told);
    s->told = told;
    s->has_models = true;
    s->rev = (uint64_t)json_i64(m->payload, "capabilities_rev", 0);
    (void)sv_to_cstr(json_str(m->payload, "version"), s->version, sizeof s->version);
    s->allows = json_bool(yyjson_obj_get(m->payload, "allow"), "inference", true);
    if (first)
        snprintf(s->beat_state, sizeof s->beat_state, "running");
    buf_add(&p, SV("{\"accepted\":true,\"name\":"));
    buf_add_json(&p, sv_of(s->node->name));
    buf_add_char(&p, '}');
    wire_send(s->wire, KIND_REGISTERED, buf_sv(&p), m->msg_id);
    buf_deinit(&p);
    if (first)
        on_registered_up(s);
    feed(s, true);
    if (first)
        orders__up(s->hub, s->node);
}

static void take_capabilities(struct session *s, const struct envelope *m) {
    yyjson_arr_iter it;
    uint64_t rev = (uint64_t)json_i64(m->payload, "rev", 0);
    if (rev != s->rev + 1) {
        say_error(s, FAULT_GAP, "this is not the change after the last one: register anew", m->msg_id);
        return;
    }
    if (yyjson_arr_iter_init(yyjson_obj_get(m->payload, "models_remove"), &it))
        for (yyjson_val *v; (v = yyjson_arr_iter_next(&it));)
            (void)map_del(&s->models, json_sv(v));
    if (!session__take_models(s, yyjson_obj_get(m->payload, "models_upsert"))) { /* the arena holds what was replaced, too: a fresh registration empties it */
        say_error(s, FAULT_GAP, "too many changes at once: register anew", m->msg_id);
        return;
    }
    s->rev = rev;
    feed(s, true);
}

static void take_heartbeat(struct session *s, struct envelope *m) {
    char was[sizeof s->beat_state];
    bool was_stale = session__now_ms(s->hub) - s->heard_ms >= STALE_BEATS * (*s->hub->house->config)->hub.heartbeat_ms;
    memcpy(was, s->beat_state, sizeof was);
    (void)sv_to_cstr(json_str(m->payload, "state"), s->beat_state, sizeof s->beat_state);
    (void)sv_to_cstr(sv_first(json_str(m->payload, "error_message"), sizeof s->error - 1), s->error, sizeof s->error);
    s->heard_ms = session__now_ms(s->hub);
    if (strcmp(was, s->beat_state) != 0 || was_stale)
        feed(s, false);
    yyjson_doc_free(s->beat);
    s->beat = m->doc;
    m->doc = NULL;
}

/* Its next heartbeat may say that it stays after all. */
static void take_goodbye(struct session *s, const struct envelope *m) {
    hub__event(s->hub, s->node, "goodbye", json_str(m->payload, "reason"));
    if (s->state != UP)
        return;
    snprintf(s->beat_state, sizeof s->beat_state, "stopping");
    feed(s, false);
}

static void take_message(struct session *s, struct envelope *m) {
    switch (m->kind) {
    case KIND_HELLO:
        take_hello(s, m);
        break;
    case KIND_REGISTER:
        take_register(s, m);
        break;
    case KIND_HEARTBEAT:
        take_heartbeat(s, m);
        break;
    case KIND_CAPABILITIES:
        take_capabilities(s, m);
        break;
    case KIND_LOG_EVENT:
        log_event(sv_eq(json_str(m->payload, "level"), SV("error")) ? LOG_ERROR : LOG_WARN, "node says", F_STR("node", s->node->name),
                  F_SV("message", sv_first(json_str(m->payload, "message"), LINK_TEXT_MAX)));
        break;
    case KIND_GOODBYE:
        take_goodbye(s, m);
        break;
    case KIND_ACK:
        orders__take_ack(s->hub, s->node, m);
        break;
    case KIND_USAGE_REPORT:
        usage__take(s->hub, s->node, s, m);
        break;
    case KIND_DIRECTIVE_PROGRESS:
        orders__take_progress(s->hub, s->node, m);
        break;
    case KIND_DIRECTIVE_RESULT:
        orders__take_result(s->hub, s->node, m);
        break;
    case KIND_ERROR:
        log_event(LOG_WARN, "a node refused a message", F_STR("node", s->node->name), F_SV("code", json_str(m->payload, "code")),
                  F_SV("message", sv_first(json_str(m->payload, "message"), 200)));
        break;
    default:
        if (link_kind_class(m->kind) == LINK_CLASS_A)
            say_error(s, FAULT_NOT_ALLOWED, "this hub does not keep messages of this kind yet", m->msg_id);
        break;
    }
}

static void note_clock(struct session *s, struct sv ts) {
    int64_t ms = moment_ms(ts);
    if (ms >= 0)
        s->clock_off_ms = ms - (int64_t)clock_wall_ms();
}

/* Its payload has passed its schema, as a node's; whether it may come at all, the relay's rules say. */
static void take_for_leaf(struct session *s, struct envelope *m) {
    if (s->state != UP)
        session__refuse(s, FAULT_WRONG_STATE, "leaves come after the registration of their node", m);
    else if (!s->relays)
        session__refuse(s, FAULT_NOT_ALLOWED, "hello did not name the feature leaf_relay", m);
    else
        leaves__take(&s->leaves, s->hub, s->node, s, m);
}

static void on_control(void *owner, struct envelope *m) {
    struct session *s = owner;
    if (s->state == RETIRING) /* what counts is what the newer link says */
        return;
    if (m->site_id.n && !sv_eq(m->site_id, sv_of(s->node->id)) && s->state < UP) {
        refuse_identity(s, m->msg_id);
        return;
    }
    if (m->site_id.n && !sv_eq(m->site_id, sv_of(s->node->id))) {
        say_error(s, FAULT_IDENTITY, "site_id is another node's", m->msg_id);
        return;
    }
    s->heard_ms = m->kind == KIND_HEARTBEAT ? s->heard_ms : session__now_ms(s->hub);
    if (session__leaf_of(s->node, m).n) {
        take_for_leaf(s, m);
        return;
    }
    note_clock(s, m->ts);
    take_message(s, m);
}

static void on_up(void *owner) {
    (void)owner; /* registered went: that was ours to say */
}

static void on_end(void *owner, int status, unsigned code, struct sv why, uint32_t retry_after_s) {
    struct session *s = owner;
    char text[128];
    (void)status;
    (void)retry_after_s;
    snprintf(text, sizeof text, "%.*s%s", SV_FMT(sv_first(why, 100)), why.n ? "" : "the link ended");
    log_event(LOG_DEBUG, "link ended", F_STR("node", s->node ? s->node->id : ""), F_U64("code", code), F_STR("why", text));
    end_session(s, 1000, text);
}

const struct wire_events session__events = { on_control, on_up, on_end };

/* --- lanes ---------------------------------------------------------------------------------------------------------------------------------- */

static void on_lane_control(void *owner, struct envelope *m) {
    (void)owner; /* the engine lets none through */
    (void)m;
}

static void on_lane_end(void *owner, int status, unsigned code, struct sv why, uint32_t retry_after_s) {
    (void)status;
    (void)retry_after_s;
    (void)why;
    free_lane(owner, code ? 1000 : 1001, "ended");
}

const struct wire_events session__lane_events = { on_lane_control, on_up, on_lane_end };

/* --- time ------------------------------------------------------------------------------------------------------------------------------------- */

static void tick_up(struct session *s) {
    uint64_t beat = (*s->hub->house->config)->hub.heartbeat_ms, silent = session__now_ms(s->hub) - s->heard_ms;
    if (silent >= LOST_BEATS * beat) {
        end_session(s, CLOSE_HEARTBEATS, "its heartbeats are missing, though its connection lives: the node's control loop may be stuck");
        return;
    }
    if (expired_s(s) >= EXPIRED_S) {
        end_session(s, CLOSE_IDENTITY, "its certificate ended an hour ago and was not renewed");
        return;
    }
    bool expired = expired_s(s) >= 0;
    if (expired != s->is_expired || (silent >= STALE_BEATS * beat && silent < STALE_BEATS * beat + 1500))
        feed(s, false);
    s->is_expired = expired;
    if (silent < 1500)
        s->node->seen_ms = clock_wall_ms();
    if (session__now_ms(s->hub) - s->seen_ms >= SEEN_EVERY_MS)
        write_seen(s);
}

void session__tick(struct hub *h) {
    for (struct list *it = h->sessions.next, *next; it != &h->sessions; it = next) {
        struct session *s = CONTAINER(it, struct session, all);
        next = it->next;
        if (s->state == UP)
            tick_up(s);
        else if (s->state == RETIRING && session__now_ms(h) >= s->retire_ms)
            end_session(s, CLOSE_REPLACED, "a newer link took over");
        else if (s->state < UP && session__now_ms(h) - s->began_ms >= ENGINE_HELLO_MS + ENGINE_REGISTER_MS + 5000)
            end_session(s, CLOSE_HANDSHAKE, "the handshake took too long");
    }
}
