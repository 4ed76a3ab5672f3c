/* hub/relay.c - a leaf comes -> its box -> what it says goes into the box, letters to the disk first -> up, as the link takes it -> the hub
 * has it -> the leaf is told. And down: who is it for, is it there, may the hub ask that of this node -> to the leaf.
 *
 * The relay says nothing in a leaf's name that the leaf did not say: of its own are acks of scope "relay", agent_status, and the refusal of
 * what this node's settings forbid. */
#include "hub/relay.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/member_room.h"
#include "hub/record.h"
#include "hub/room.h"

static const char *const presences[] = { "disconnected", "connected", "stale" };

static uint64_t now_ms(const struct relay *r) {
    return loop_now_ms(r->loop);
}

/* --- who there is --------------------------------------------------------------------------------------------------------------------- */

struct held *relay__find(const struct relay *r, struct sv agent) {
    LIST_FOR(it, &r->held)
        if (sv_eq(agent, sv_of(CONTAINER(it, struct held, all)->box->agent)))
            return CONTAINER(it, struct held, all);
    return NULL;
}

static void let_go(struct relay *r, struct held *h) {
    r->bytes -= h->box->bytes;
    r->n_held--;
    list_drop(&h->all);
    box_free(h->box);
    mem_free(h);
}

/* One that is away, and of which nothing waits. */
static bool make_room(struct relay *r) {
    LIST_FOR(it, &r->held) {
        struct held *h = CONTAINER(it, struct held, all);
        if (h->caller || h->box->n)
            continue;
        let_go(r, h);
        return true;
    }
    return false;
}

struct held *relay__hold(struct relay *r, struct sv agent) {
    struct held *h = relay__find(r, agent);
    if (h || (r->n_held >= RELAY_BOXES && !make_room(r)))
        return h;
    h = mem_new(sizeof *h);
    if (h)
        h->box = box_new(agent);
    if (!h || !h->box) {
        mem_free(h);
        return NULL;
    }
    list_init(&h->all);
    list_push_back(&r->held, &h->all);
    h->since_ms = clock_wall_ms();
    h->is_told = true; /* that it was never here, nobody has to be told */
    r->n_held++;
    return h;
}

static void set_presence(struct held *h, enum leaf_presence to) {
    if (h->presence == to)
        return;
    h->presence = to;
    h->since_ms = clock_wall_ms();
    h->is_told = false;
    log_event(to == LEAF_STALE ? LOG_WARN : LOG_INFO,
              to == LEAF_STALE       ? "a leaf's heartbeats are missing"
              : to == LEAF_CONNECTED ? "a leaf has come"
                                     : "a leaf has gone",
              F_STR("agent", h->box->agent), F_STR("peer", h->peer));
}

/* --- to a leaf ------------------------------------------------------------------------------------------------------------------------ */

static void say(struct held *h, enum link_kind kind, struct sv payload, struct sv re) {
    if (!h->caller)
        return;
    leaf_send(caller_leaf(h->caller), &(struct envelope_head){ .kind = kind, .re = re }, payload);
    caller_flush(h->caller);
}

static void say_hub(const struct relay *r, struct held *h) {
    char text[64];
    bool is_full = box_is_full(h->box) || r->bytes >= RELAY_BYTES;
    snprintf(text, sizeof text, "{\"state\":\"%s\",\"backlog\":%zu}", r->is_up && !is_full ? "ready" : "away",
             h->box->n);
    say(h, KIND_HUB_STATUS, sv_of(text), SV_NULL);
}

static void say_queued(struct held *h, struct sv re) {
    say(h, KIND_ACK, SV("{\"scope\":\"relay\",\"queued\":true}"), re);
}

static void refuse(struct held *h, enum link_fault code, const char *text, struct sv re, uint32_t retry_ms) {
    leaf_refuse(caller_leaf(h->caller), code, text, re, retry_ms);
    caller_flush(h->caller);
}

/* Nothing more is read of a leaf whose letters nobody takes: so its own outbox fills, and nothing is lost. */
static void look_at_room(struct relay *r, struct held *h) {
    bool is_full = box_is_full(h->box) || r->bytes >= RELAY_BYTES;
    if (!h->caller || is_full == h->is_paused)
        return;
    h->is_paused = is_full;
    say_hub(r, h);
    if (is_full)
        log_event(LOG_WARN, "a leaf is not read: what it said before waits for the hub", F_STR("agent", h->box->agent),
                  F_U64("messages", h->box->n), F_U64("bytes", h->box->bytes));
    caller_pause(h->caller, is_full);
}

/* --- up ------------------------------------------------------------------------------------------------------------------------------- */

static bool may_send(struct relay *r) {
    uint64_t now = now_ms(r);
    r->allowance += (double)(now - r->allowance_at_ms) * RELAY_PER_S / 1000;
    r->byte_allowance += (double)(now - r->allowance_at_ms) * RELAY_BYTES_PER_S / 1000;
    r->allowance_at_ms = now;
    r->allowance = r->allowance > RELAY_BURST ? RELAY_BURST : r->allowance;
    r->byte_allowance = r->byte_allowance > RELAY_BYTES_PER_S ? RELAY_BYTES_PER_S : r->byte_allowance;
    return r->allowance >= 1 && r->byte_allowance > 0;
}

static void send_up(struct relay *r, const struct held *h, const struct envelope_head *head, struct sv payload) {
    struct envelope_head as = *head;
    as.agent_id = sv_of(h->box->agent);
    r->allowance--;
    r->byte_allowance -= (double)payload.n;
    wire_send_as(r->member->now->wire, &as, payload);
}

static void send_note(struct relay *r, const struct held *h, const struct note *t) {
    const struct envelope_head head = {
        .kind = t->kind, .msg_id = sv_of(t->msg_id), .re = sv_of(t->re), .ts = sv_of(t->ts), .via = sv_of(t->via)
    };
    send_up(r, h, &head, (struct sv){ t->payload, t->n });
}

static void send_presence(struct relay *r, struct held *h) {
    char at[25];
    struct buf out = BUF_MAX(512);
    buf_printf(&out, "{\"agent_id\":\"%s\",\"state\":\"%s\",\"since\":\"%s\",\"peer\":", h->box->agent,
               presences[h->presence], clock_iso8601(h->since_ms, at));
    buf_add_json(&out, sv_of(h->peer));
    buf_add_char(&out, '}');
    if (!out.failed) {
        send_up(r, h, &(struct envelope_head){ .kind = KIND_AGENT_STATUS }, buf_sv(&out));
        h->is_told = true;
    }
    buf_deinit(&out);
}

static bool send_next(struct relay *r, struct held *h) {
    struct note *t;
    if (!h->is_told) {
        send_presence(r, h);
        return h->is_told;
    }
    if (!(t = box_next(h->box, now_ms(r))))
        return false;
    send_note(r, h, t);
    box_sent(h->box, t, now_ms(r));
    return true;
}

/* One message of each in turn, as many as the link takes now; whose turn it was stands last then, so the next time begins with others. */
static void pump(struct relay *r) {
    bool any = r->is_up && r->member && r->member->now && !r->is_stopping;
    while (any) {
        any = false;
        for (unsigned i = 0; i < r->n_held; i++) {
            struct held *h = CONTAINER(r->held.next, struct held, all);
            if (!may_send(r))
                return;
            list_drop(&h->all);
            list_push_back(&r->held, &h->all);
            any = send_next(r, h) || any;
        }
    }
}

/* --- what a leaf says ----------------------------------------------------------------------------------------------------------------- */

enum link_fault relay__join(struct relay *r, struct caller *c, struct sv agent_id) {
    struct held *h = relay__find(r, agent_id);
    if (sv_eq(agent_id, sv_of(r->node_id)))
        return FAULT_IDENTITY;
    if (h && h->caller && now_ms(r) - leaf_heard_ms(caller_leaf(h->caller)) < RELAY_SILENT_MS) {
        log_event(LOG_WARN, "a second leaf of one name is refused", F_SV("agent", agent_id),
                  F_STR("peer", caller_peer(c)), F_STR("connected", h->peer));
        return FAULT_DUPLICATE_AGENT;
    }
    if (h && h->caller) {
        leaf_close(caller_leaf(h->caller), CLOSE_REPLACED, SV("another agent of this name took over"));
        caller_hold(h->caller, NULL);
    }
    if (!(h = relay__hold(r, agent_id)))
        return FAULT_BUSY;
    h->caller = c;
    h->is_paused = false;
    h->beat_ms = now_ms(r);
    snprintf(h->peer, sizeof h->peer, "%s", caller_peer(c));
    caller_hold(c, h);
    return FAULT_NONE;
}

static void take_letter(struct relay *r, struct held *h, struct note *t) {
    struct sv id = sv_of(t->msg_id);
    uint64_t wall = clock_wall_ms();
    struct err e;
    const struct letter *known = box_find(h->box, id);
    if (known) { /* once more: nothing goes on twice */
        if (known->is_stored && !r->is_up)
            say_queued(h, id);
        return;
    }
    if (box_has_seen(h->box, id, wall)) {
        say(h, KIND_ACK, SV("{\"scope\":\"hub\"}"), id);
        return;
    }
    struct letter *l = box_add(h->box, t, r->next_no++, wall);
    if (!l || !rows__write(r, h->box, l, &e)) {
        refuse(h, FAULT_INTERNAL, "it could not be stored; send it again later", id, 5000);
        if (l)
            box_drop(h->box, l);
        return;
    }
    r->bytes += l->note.n;
    box_see(h->box, id, wall);
}

void relay__written(struct relay *r, const char *agent, int64_t no, const struct err *e) {
    struct held *h = r->member ? relay__find(r, sv_of(agent)) : NULL;
    struct letter *l = h ? box_numbered(h->box, no) : NULL;
    if (!l)
        return;
    l->is_stored = !e;
    if (e) {
        log_event(LOG_WARN, "a leaf's message was not stored: it is told to send it again", F_STR("agent", agent),
                  F_STR("cause", e->text));
        if (h->caller)
            refuse(h, FAULT_INTERNAL, "it could not be stored; send it again later", sv_of(l->note.msg_id), 5000);
        box_unsee(h->box, sv_of(l->note.msg_id));
        r->bytes -= l->note.n;
        box_drop(h->box, l);
        return;
    }
    if (!r->is_up)
        say_queued(h, sv_of(l->note.msg_id));
    pump(r);
}

/* Answers to what the hub said, and steps of progress: now, or never. */
static void pass_now(struct relay *r, struct held *h, const struct note *t) {
    if (r->is_up && r->member->now && !r->is_stopping && may_send(r))
        send_note(r, h, t);
    else
        r->n_dropped++;
}

static void note_beat(struct relay *r, struct held *h, enum link_kind kind) {
    if (kind != KIND_HEARTBEAT && kind != KIND_REGISTER)
        return;
    h->beat_ms = now_ms(r);
    set_presence(h, LEAF_CONNECTED);
}

void relay__heard(struct relay *r, struct caller *c, struct envelope *m) {
    struct held *h = caller_held(c);
    enum box_slot slot = box_slot_of(m->kind);
    struct note t;
    if (!note_init(&t, m, r->node_id)) {
        note_deinit(&t);
        refuse(h, FAULT_TOO_LARGE, "with its envelope it is more than the link carries", m->msg_id, 0);
        return;
    }
    bool is_first = m->kind == KIND_REGISTER && h->presence == LEAF_DISCONNECTED;
    note_beat(r, h, m->kind);
    if (slot == SLOT_METRICS && !r->is_up) {
        r->n_dropped++;
    } else if (slot != BOX_SLOTS) {
        box_set(h->box, slot, &t);
        if (slot == SLOT_REGISTER && !r->is_up)
            say_queued(h, m->msg_id);
    } else if (link_kind_class(m->kind) == LINK_CLASS_A) {
        take_letter(r, h, &t);
    } else {
        pass_now(r, h, &t);
    }
    note_deinit(&t);
    if (is_first)
        say_hub(r, h);
    if ((*r->member->house.config)->relay.compat == CONFIG_COMPAT_TEXT_OK)
        leaf_send_text(caller_leaf(c), SV("ok"));
    caller_flush(c);
    look_at_room(r, h);
    pump(r);
}

void relay__gone(struct relay *r, struct caller *c) {
    struct held *h = caller_held(c);
    if (!h || h->caller != c)
        return;
    h->caller = NULL;
    for (unsigned i = 0; i < BOX_SLOTS; i++) { /* what it has is not there without it */
        note_deinit(&h->box->slots[i].note);
        h->box->slots[i].is_full = false;
    }
    set_presence(h, LEAF_DISCONNECTED);
    pump(r);
}

/* --- what the hub says ---------------------------------------------------------------------------------------------------------------- */

static void remove_letter(struct relay *r, struct held *h, struct letter *l) {
    rows__drop(r, l->no);
    r->bytes -= l->note.n;
    box_drop(h->box, l);
    look_at_room(r, h);
}

/* A refusal that time mends is no refusal. */
static bool is_for_later(struct sv code) {
    static const char *const later[] = { "busy", "rate_limited", "internal", "draining", "unknown_id" };
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
        if (sv_eq(code, sv_of(later[i])))
            return true;
    return false;
}

static void pass_down(struct held *h, const struct envelope *e, const char *name) {
    struct buf out = BUF_MAX(ENGINE_TEXT_MAX);
    if (h->caller && kind_print(e->kind, e->payload, &out)) {
        leaf_send(
            caller_leaf(h->caller),
            &(struct envelope_head){ .kind = e->kind, .msg_id = e->msg_id, .re = e->re, .ts = e->ts, .name = name },
            buf_sv(&out));
        caller_flush(h->caller);
    }
    buf_deinit(&out);
}

static void take_ack(struct relay *r, struct held *h, const struct envelope *e) {
    struct letter *l = box_find(h->box, e->re);
    if (!l)
        return; /* of agent_status, or of what is settled */
    pass_down(h, e, NULL);
    remove_letter(r, h, l);
    pump(r);
}

static void take_error(struct relay *r, struct held *h, const struct envelope *e) {
    struct letter *l = box_find(h->box, e->re);
    struct sv code = json_str(e->payload, "code");
    int64_t retry_ms = json_i64(e->payload, "retry_ms", 0);
    if (sv_eq(code, SV("unknown_id")))
        h->is_told = false; /* the hub does not know it on this link */
    if (l && is_for_later(code)) {
        l->sent_ms = 0;
        l->not_before_ms = now_ms(r) + (retry_ms > 1000 && retry_ms < 3600000 ? (uint64_t)retry_ms
                                        : sv_eq(code, SV("rate_limited"))     ? 60000
                                                                              : 1000);
        return;
    }
    pass_down(h, e, NULL);
    if (!l)
        return;
    log_event(LOG_WARN, "the hub refused a leaf's message", F_STR("agent", h->box->agent),
              F_STR("kind", link_kind_name(l->note.kind)), F_SV("code", code));
    r->n_dropped++;
    remove_letter(r, h, l);
}

static void say_offline(struct relay *r, struct sv agent, struct sv re) {
    wire_send_as(
        r->member->now->wire, &(struct envelope_head){ .kind = KIND_ERROR, .agent_id = agent, .re = re },
        SV("{\"code\":\"agent_offline\",\"message\":\"this agent is not connected to this node\",\"fatal\":false}"));
}

static void say_forbidden(struct relay *r, const struct held *h, const struct envelope *e, const char *setting) {
    struct buf out = BUF_MAX(2048);
    buf_add(&out, SV("{\"scope\":\"relay\",\"directive_id\":"));
    buf_add_json(&out, json_str(e->payload, "directive_id"));
    buf_printf(&out,
               ",\"accepted\":false,\"code\":\"not_allowed\",\"message\":\"the settings of this leaf's node do not "
               "allow it: %s\"}",
               setting);
    if (!out.failed)
        wire_send_as(r->member->now->wire,
                     &(struct envelope_head){ .kind = KIND_ACK, .agent_id = sv_of(h->box->agent), .re = e->msg_id },
                     buf_sv(&out));
    buf_deinit(&out);
}

/* Operations that the original agents know, by their names; others under ours. */
static const char *name_for_leaf(enum directive_op op) {
    switch (op) {
    case OP_LOAD_MODEL:
        return "preload_model";
    case OP_UNLOAD_MODEL:
        return "evict_model";
    case OP_RUN_JOB:
        return "assign_workload";
    case OP_UPDATE_REGISTRY:
        return "update_registry";
    case OP_DRAIN:
        return "drain";
    case OP_RESTART:
        return "restart_agent";
    default:
        return NULL;
    }
}

/* In this machine's audit log, as what the node itself is asked for. */
static void audit(struct relay *r, const struct held *h, const struct envelope *e, bool is_refused) {
    const struct access_actor hub = { SV("hub"), SV("link") };
    struct record *rec = record_new(r->loop);
    struct buf detail = BUF_MAX(512);
    char by[HUB_DETAIL_MAX];
    if (!rec)
        return;
    struct sv id = json_str(e->payload, "directive_id");
    buf_printf(&detail, "%.*s for %s, asked by %.*s", SV_FMT(directive_id_is_good(id) ? id : SV("-")), h->box->agent,
               SV_FMT(hub__clean(json_str(e->payload, "principal"), by)));
    record_audit(rec, &hub, is_refused ? "hub.leaf_directive_refused" : "hub.leaf_directive",
                 json_str(e->payload, "op"), buf_sv(&detail));
    record_submit(r->store, rec, NULL, NULL, NULL);
    buf_deinit(&detail);
}

static void take_directive(struct relay *r, struct held *h, const struct envelope *e) {
    enum directive_op op;
    if (!directive_op_read(json_str(e->payload, "op"), &op))
        return; /* the schema lets no other word through */
    bool is_refused = !directive_is_allowed(*r->member->house.config, directive_op_need(op));
    audit(r, h, e, is_refused);
    if (is_refused)
        say_forbidden(r, h, e, directive_need_setting(directive_op_need(op)));
    else
        pass_down(h, e, name_for_leaf(op));
}

void relay__take(struct member *m, const struct envelope *e) {
    struct relay *r = m->relay;
    struct held *h = r ? relay__find(r, e->agent_id) : NULL;
    if (!r || !m->now)
        return;
    if (!h || (!h->caller && e->kind != KIND_ACK && e->kind != KIND_ERROR)) {
        if (e->kind == KIND_DIRECTIVE)
            say_offline(r, e->agent_id, e->msg_id);
        return;
    }
    switch (e->kind) {
    case KIND_ACK:
        take_ack(r, h, e);
        break;
    case KIND_ERROR:
        take_error(r, h, e);
        break;
    case KIND_DIRECTIVE:
        take_directive(r, h, e);
        break;
    case KIND_REGISTERED:
    case KIND_HUB_STATUS:
        pass_down(h, e, NULL);
        break;
    default: /* kinds between hub and node alone */
        break;
    }
}

void relay__up(struct member *m, bool relays) {
    struct relay *r = m->relay;
    if (!r)
        return;
    if (!relays && r->n_held)
        log_event(LOG_WARN, "this hub does not hear leaves (feature leaf_relay): what they say waits here");
    r->is_up = relays;
    LIST_FOR(it, &r->held) {
        struct held *h = CONTAINER(it, struct held, all);
        box_new_link(h->box);
        h->is_told = !h->caller && !h->box->n;
        if (relays)
            say_hub(r, h);
    }
    pump(r);
}

void relay__down(struct member *m) {
    struct relay *r = m->relay;
    if (!r || !r->is_up)
        return;
    r->is_up = false;
    LIST_FOR(it, &r->held) {
        struct held *h = CONTAINER(it, struct held, all);
        say_hub(r, h);
    }
}

/* --- time ----------------------------------------------------------------------------------------------------------------------------- */

static void drop_old(struct relay *r, struct held *h, uint64_t wall) {
    uint64_t dropped = 0;
    while (h->box->n) {
        struct letter *l = CONTAINER(h->box->letters.next, struct letter, all);
        if (wall < l->at_ms + BOX_KEEP_MS || !l->is_stored)
            break;
        remove_letter(r, h, l);
        dropped++;
    }
    r->n_dropped += dropped;
    if (dropped)
        log_event(LOG_ERROR, "messages of a leaf were dropped: the hub was away for more than a day",
                  F_STR("agent", h->box->agent), F_U64("messages", dropped));
}

static void look_at_beat(struct relay *r, struct held *h) {
    uint64_t beat = r->member->now ? r->member->now->heartbeat_ms : RELAY_BEAT_MS;
    if (h->caller && h->presence == LEAF_CONNECTED && now_ms(r) - h->beat_ms >= RELAY_BEATS * beat)
        set_presence(h, LEAF_STALE);
}

static void on_tick(void *arg) {
    struct relay *r = arg;
    uint64_t wall = clock_wall_ms();
    door_in__tick(r);
    LIST_FOR(it, &r->held) {
        struct held *h = CONTAINER(it, struct held, all);
        drop_old(r, h, wall);
        look_at_beat(r, h);
        look_at_room(r, h); /* of all boxes, others may have made some */
    }
    pump(r);
    timer_set(r->loop, &r->tick, RELAY_TICK_MS, on_tick, r);
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

struct relay *relay__unref(struct relay *r) {
    if (r && --r->refs == 0)
        mem_free(r);
    return NULL;
}

bool relay__listen(struct member *m, struct err *e) {
    struct relay *r;
    if (!(*m->house.config)->relay.listen.n || !m->house.n_berths || !m->house.store)
        return true;
    if (!(r = mem_new(sizeof *r)))
        return err_no_memory(e);
    *r = (struct relay){ .member = m, .loop = m->house.loop, .store = m->house.store, .refs = 1 };
    list_init(&r->held);
    if (!door_in__open(r, e)) {
        mem_free(r);
        return err_ctx(e, "relay.listen %.*s", SV_FMT((*m->house.config)->relay.listen));
    }
    m->relay = r;
    if (m->has_state)
        relay__open(m);
    timer_set(r->loop, &r->tick, RELAY_TICK_MS, on_tick, r);
    return true;
}

void relay__open(struct member *m) {
    struct relay *r = m->relay;
    struct err e;
    if (!r || r->node_id[0])
        return;
    snprintf(r->node_id, sizeof r->node_id, "%s", m->state.node_id);
    if (rows__load(r, &e))
        return;
    log_event(LOG_ERROR, "no leaves are let in: what they said before cannot be read", F_STR("cause", e.text));
    relay__leave(m, false);
}

void relay__leave(struct member *m, bool forget) {
    struct relay *r = m->relay;
    if (!r)
        return;
    LIST_FOR_SAFE(it, &r->held) {
        struct held *h = CONTAINER(it, struct held, all);
        if (h->caller) {
            leaf_close(caller_leaf(h->caller), CLOSE_REFUSED, SV("this machine is no node any more"));
            caller_hold(h->caller, NULL);
        }
        let_go(r, h);
    }
    if (forget && r->node_id[0])
        rows__forget(r);
    r->is_up = false;
    r->node_id[0] = '\0';
}

void relay__stop(struct member *m) {
    struct relay *r = m->relay;
    if (!r)
        return;
    r->is_stopping = true;
    timer_stop(r->loop, &r->tick);
    door_in__close(r);
}

void relay__free(struct member *m) {
    struct relay *r = m->relay;
    if (!r)
        return;
    relay__stop(m);
    relay__leave(m, false);
    r->member = NULL;
    m->relay = relay__unref(r);
}
