/* hub/order.c - make -> on the disk -> send -> (again on the next link) -> acknowledged -> progress -> result on the disk -> acknowledged to
 * the node. No answer in time: unknown, and the node is asked to cancel it, should it have it after all. */
#include "hub/order.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "hub/room.h"

enum {
    ANSWER_MS = 5000,            /* then it is sent once more, and after that again the node counts as silent about it */
    LATE_MS = 30000,             /* after the end of expires_ms an answer may still be on its way */
    RESULT_MS = 24 * 3600 * 1000, /* so long the node's journal keeps it at least: no result comes after that */
    TELL_MS = 1000,              /* between two steps of progress that followers are told */
    ASK_CANCEL_MS = 3600000,
    EXPIRES_MS = 300000,         /* unless whoever asks says otherwise */
    MESSAGE_BYTES = 64 << 10,
};

struct order {
    struct list all;
    char id[ORDER_ID + 1], node_id[PKI_ID_MAX + 1], by[66];
    char agent[LINK_IDENT_MAX + 1]; /* a leaf of that node, whose it is; empty: the node's own */
    enum directive_op op;
    enum directive_state state;
    char *args, *reason;
    uint64_t issued_ms, expires_ms; /* wall clock; expires: must have begun by then */
    uint64_t timeout_ms;
    bool is_kept;     /* on the disk: nothing is sent before */
    bool is_settling; /* its end is being written */
    bool again, unanswered;
    uint64_t sent_ms, told_ms; /* loop time */
    char stage[65], message[DIRECTIVE_TEXT_MAX]; /* the last progress */
    double pct;                                  /* negative: it did not say */
};

static uint64_t now_ms(const struct hub *h) {
    return loop_now_ms(h->loop);
}

/* --- the books ------------------------------------------------------------------------------------------------------------------------------ */

static void order_free(struct order *o) {
    mem_free(o->args);
    mem_free(o->reason);
    mem_free(o);
}

static void drop(struct hub *h, struct order *o) {
    list_drop(&o->all);
    (void)map_del(&h->orders.by_id, sv_of(o->id));
    h->orders.n--;
    order_free(o);
}

static bool enter(struct hub *h, struct order *o) {
    if (!map_put(&h->orders.by_id, sv_of(o->id), o))
        return false;
    list_push_back(&h->orders.all, &o->all);
    h->orders.n++;
    return true;
}

/* Of that node, or of that leaf of it: what it says of another's is about none. */
static struct order *find(const struct hub *h, struct sv node_id, struct sv agent, struct sv id) {
    struct order *o = map_get(&h->orders.by_id, id);
    return o && sv_eq(node_id, sv_of(o->node_id)) && sv_eq(agent, sv_of(o->agent)) ? o : NULL;
}

static unsigned count_of(const struct hub *h, const struct node *n) {
    unsigned count = 0;
    LIST_FOR(it, &h->orders.all)
        count += strcmp(CONTAINER(it, struct order, all)->node_id, n->id) == 0;
    return count;
}

/* --- telling -------------------------------------------------------------------------------------------------------------------------------- */

static void put(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, v);
}

static void put_ms(struct buf *out, const char *name, uint64_t ms) {
    buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)ms);
}

static void print_order(const struct order *o, struct buf *out) {
    buf_add(out, SV("{\"id\":"));
    buf_add_json(out, sv_of(o->id));
    put(out, "node", sv_of(o->node_id));
    put(out, "agent", sv_of(o->agent));
    put(out, "op", sv_of(directive_op_name(o->op)));
    put(out, "state", sv_of(directive_state_name(o->state)));
    buf_add(out, SV(",\"args\":"));
    buf_add(out, sv_of(o->args));
    put(out, "reason", sv_of(o->reason));
    put(out, "by", sv_of(o->by));
    put_ms(out, "issued_ms", o->issued_ms);
    put_ms(out, "expires_ms", o->expires_ms);
    put_ms(out, "timeout_ms", o->timeout_ms);
    buf_add_char(out, '}');
}

/* What is known only while it goes on. */
static void print_progress(const struct order *o, struct buf *out) {
    buf_printf(out, ",\"unanswered\":%s", o->unanswered ? "true" : "false");
    if (!o->stage[0])
        return;
    buf_add(out, SV(",\"progress\":{\"stage\":"));
    buf_add_json(out, sv_of(o->stage));
    put(out, "message", sv_of(o->message));
    if (o->pct >= 0)
        buf_printf(out, ",\"pct\":%.1f", o->pct);
    buf_add_char(out, '}');
}

/* A line of the node's history where it begins and ends; in between followers alone are told. */
static void tell(struct hub *h, const struct order *o, bool in_history, struct sv more) {
    const struct node *n = roster_find(&h->roster, sv_of(o->node_id));
    char text[HUB_DETAIL_MAX];
    if (!n)
        return;
    snprintf(text, sizeof text, "%s %s %s%s%.*s", directive_op_name(o->op), o->id, directive_state_name(o->state), more.n ? ": " : "",
             SV_FMT(sv_first(more, 100)));
    if (in_history)
        hub__event(h, n, "directive", sv_of(text));
    else
        hub__tell(h, n, "directive", sv_of(text));
}

/* --- sending -------------------------------------------------------------------------------------------------------------------------------- */

static void print_directive(const struct order *o, uint64_t left_ms, struct buf *out) {
    char at[25];
    buf_add(out, SV("{\"directive_id\":"));
    buf_add_json(out, sv_of(o->id));
    put(out, "op", sv_of(directive_op_name(o->op)));
    buf_add(out, SV(",\"args\":"));
    buf_add(out, sv_of(o->args));
    put(out, "issued_at", sv_of(clock_iso8601(o->issued_ms, at)));
    put_ms(out, "expires_ms", left_ms < DIRECTIVE_EXPIRES_MIN_MS ? DIRECTIVE_EXPIRES_MIN_MS : left_ms);
    put_ms(out, "timeout_ms", o->timeout_ms);
    put(out, "principal", sv_of(o->by));
    put(out, "reason", sv_of(o->reason));
    buf_add_char(out, '}');
}

/* A state on the way, on the disk too: after a restart of the hub it goes on from there. */
static void note(struct hub *h, struct order *o, enum directive_state to) {
    struct record *r = record_new(h->loop);
    assert(directive_may(o->state, to));
    o->state = to;
    tell(h, o, false, SV_NULL);
    if (!r)
        return; /* the state before is as good: it is sent again, and answered with where it stands */
    const struct store_value v[] = { STORE_TEXT(sv_of(o->id)), STORE_I64(to) };
    record_add(r, "UPDATE directive SET state = $2 WHERE id = $1 AND ended_ms = 0", v, 2);
    record_submit(h->house->store, r, NULL, NULL, NULL);
}

static void send_order(struct hub *h, struct order *o) {
    struct node *n = roster_find(&h->roster, sv_of(o->node_id));
    struct buf out = BUF_MAX(MESSAGE_BYTES);
    uint64_t now = clock_wall_ms();
    if (!n || !session__is_up(n->session) || !o->is_kept || o->is_settling || (o->agent[0] && !session__has_leaf(n->session, sv_of(o->agent))))
        return;
    print_directive(o, o->expires_ms > now ? o->expires_ms - now : 0, &out);
    if (!out.failed) {
        session__say_to(n->session, KIND_DIRECTIVE, sv_of(o->agent), buf_sv(&out), SV_NULL);
        o->sent_ms = now_ms(h);
        if (o->state == DIRECTIVE_QUEUED)
            note(h, o, DIRECTIVE_SENT);
    }
    buf_deinit(&out);
}

void orders__up(struct hub *h, struct node *n) {
    LIST_FOR(it, &h->orders.all) {
        struct order *o = CONTAINER(it, struct order, all);
        o->again = false;
        if (strcmp(o->node_id, n->id) == 0 && (o->state == DIRECTIVE_QUEUED || o->state == DIRECTIVE_SENT))
            send_order(h, o);
    }
}

void orders__leaf_up(struct hub *h, struct node *n, struct sv agent) {
    LIST_FOR(it, &h->orders.all) {
        struct order *o = CONTAINER(it, struct order, all);
        if (strcmp(o->node_id, n->id) != 0 || !sv_eq(agent, sv_of(o->agent)) || (o->state != DIRECTIVE_QUEUED && o->state != DIRECTIVE_SENT))
            continue;
        o->again = false;
        send_order(h, o);
    }
}

/* The node may forget the result: it is here, or nobody here wants it. */
static void acknowledge(struct hub *h, struct sv node_id, struct sv agent, struct sv id, struct sv re, const char *code) {
    struct node *n = roster_find(&h->roster, node_id);
    struct buf out = BUF_MAX(1024);
    buf_add(&out, SV("{\"scope\":\"hub\",\"directive_id\":"));
    buf_add_json(&out, id);
    if (*code)
        put(&out, "code", sv_of(code));
    buf_add_char(&out, '}');
    if (n && session__is_up(n->session) && !out.failed)
        session__say_to(n->session, KIND_ACK, agent, buf_sv(&out), re);
    buf_deinit(&out);
}

/* --- the end -------------------------------------------------------------------------------------------------------------------------------- */

/* How it ended, until that is on the disk. */
struct ending {
    struct hub *hub;
    char id[DIRECTIVE_ID_MAX + 1], node_id[PKI_ID_MAX + 1], agent[LINK_IDENT_MAX + 1], re[ENVELOPE_ID], message[DIRECTIVE_TEXT_MAX];
    enum directive_state to;
    bool by_node; /* it waits for an acknowledgement */
};

static void ask_cancel(struct hub *h, const struct order *o);

static void on_ended(void *arg, const struct err *e) {
    struct ending *x = arg;
    struct hub *h = x->hub;
    struct order *o = h->closing ? NULL : find(h, sv_of(x->node_id), sv_of(x->agent), sv_of(x->id));
    bool is_gone = e && e->code == ERR_NOT_FOUND; /* it was over before, or is no directive of that node's */
    if (o)
        o->is_settling = false;
    if (!h->closing && x->by_node && (!e || is_gone))
        acknowledge(h, sv_of(x->node_id), sv_of(x->agent), sv_of(x->id), sv_of(x->re), is_gone ? "unknown_id" : "");
    if (o && !e) {
        o->state = x->to;
        tell(h, o, true, sv_of(x->message));
        if (x->to == DIRECTIVE_UNKNOWN && o->op != OP_CANCEL)
            ask_cancel(h, o);
        drop(h, o);
    } else if (o && is_gone) { /* its row is not there any more: nothing of it is left to keep */
        drop(h, o);
    } else if (e && !is_gone) {
        log_event(LOG_WARN, "the end of a directive was not written; the node tells it again", F_STR("directive", x->id), F_STR("cause", e->text));
    }
    hub__unref(h);
    mem_free(x);
}

struct how { /* all borrowed */
    enum directive_state to;
    struct sv code, message, detail; /* detail: JSON, or empty */
    struct sv re;
    bool by_node;
};

/* Whatever stands here of it: a late answer may be about one that is unknown already, and then the row alone is asked. */
static void end_order(struct hub *h, struct sv node_id, struct sv agent, struct sv id, const struct how *how) {
    struct order *o = find(h, node_id, agent, id);
    struct ending *x = o && o->is_settling ? NULL : mem_new(sizeof *x);
    struct record *r = x ? record_new(h->loop) : NULL;
    char text[HUB_DETAIL_MAX];
    struct err e;
    if (!r) {
        mem_free(x);
        return; /* the node tells it again, the next tick tries again */
    }
    x->hub = hub__ref(h);
    x->to = how->to;
    x->by_node = how->by_node;
    (void)!sv_to_cstr(id, x->id, sizeof x->id);
    (void)!sv_to_cstr(node_id, x->node_id, sizeof x->node_id);
    (void)!sv_to_cstr(agent, x->agent, sizeof x->agent);
    (void)!sv_to_cstr(how->re, x->re, sizeof x->re);
    struct sv message = hub__clean(how->message.n ? how->message : how->code, text);
    snprintf(x->message, sizeof x->message, "%.*s", SV_FMT(message));
    const struct store_value v[] = { STORE_TEXT(id),      STORE_TEXT(node_id), STORE_I64(how->to), STORE_TEXT(how->code),
                                     STORE_TEXT(message), STORE_TEXT(how->detail), STORE_I64((int64_t)clock_wall_ms()), STORE_I64(DIRECTIVE_UNKNOWN),
                                     STORE_TEXT(agent) };
    record_add(r,
               "UPDATE directive SET state = $3, code = $4, message = $5, detail = $6, ended_ms = $7 WHERE id = $1 AND node_id = $2 "
               "AND agent_id = $9 AND (ended_ms = 0 OR (state = $8 AND $3 <> $8))",
               v, 9);
    record_must_change(r, ERR_NOT_FOUND, "no such directive is open");
    if (!record_submit(h->house->store, r, on_ended, x, &e)) {
        hub__unref(h);
        mem_free(x);
        return;
    }
    if (o)
        o->is_settling = true;
}

/* --- what the node says --------------------------------------------------------------------------------------------------------------------- */

/* A word of the protocol, as it may be kept. */
static struct sv code_of(yyjson_val *payload) {
    struct sv code = json_str(payload, "code");
    return link_is_ident(code) ? code : SV_NULL;
}

void orders__take_ack(struct hub *h, struct node *n, const struct envelope *m) {
    struct sv id = json_str(m->payload, "directive_id");
    struct order *o = find(h, sv_of(n->id), session__leaf_of(n, m), id);
    yyjson_val *accepted = json_get(m->payload, "accepted");
    if (!directive_id_is_good(id) || !yyjson_is_bool(accepted))
        return; /* acknowledges something else, or none of ours */
    if (!yyjson_get_bool(accepted)) {
        end_order(h, sv_of(n->id), session__leaf_of(n, m), id, &(struct how){ .to = DIRECTIVE_REFUSED, .code = code_of(m->payload), .message = json_str(m->payload, "message") });
    } else if (o && o->state == DIRECTIVE_SENT) {
        o->unanswered = false;
        note(h, o, DIRECTIVE_ACCEPTED);
    }
}

void orders__take_progress(struct hub *h, struct node *n, const struct envelope *m) {
    struct order *o = find(h, sv_of(n->id), session__leaf_of(n, m), json_str(m->payload, "directive_id"));
    char text[HUB_DETAIL_MAX];
    if (!o || o->is_settling || (o->state != DIRECTIVE_RUNNING && !directive_may(o->state, DIRECTIVE_RUNNING)))
        return;
    snprintf(o->stage, sizeof o->stage, "%.*s", SV_FMT(hub__clean(sv_first(json_str(m->payload, "stage"), sizeof o->stage - 1), text)));
    snprintf(o->message, sizeof o->message, "%.*s", SV_FMT(hub__clean(json_str(m->payload, "message"), text)));
    o->pct = json_f64(m->payload, "pct", -1);
    if (o->state != DIRECTIVE_RUNNING)
        note(h, o, DIRECTIVE_RUNNING);
    else if (now_ms(h) - o->told_ms >= TELL_MS)
        tell(h, o, false, sv_of(o->message[0] ? o->message : o->stage));
    else
        return;
    o->told_ms = now_ms(h);
}

void orders__take_result(struct hub *h, struct node *n, const struct envelope *m) {
    yyjson_val *detail = json_get(m->payload, "detail");
    size_t size = 0;
    struct sv id = json_str(m->payload, "directive_id");
    struct how how = { .code = code_of(m->payload), .message = json_str(detail, "message"), .re = m->msg_id, .by_node = true };
    if (!directive_end_read(json_str(m->payload, "status"), &how.to))
        return; /* the schema lets no other word through */
    if (!directive_id_is_good(id)) { /* none of ours */
        acknowledge(h, sv_of(n->id), session__leaf_of(n, m), id, m->msg_id, "unknown_id");
        return;
    }
    char *text = yyjson_is_obj(detail) ? yyjson_val_write_opts(detail, 0, &json_heap, &size, NULL) : NULL;
    how.detail = size <= DIRECTIVE_DETAIL_MAX ? (struct sv){ text, text ? size : 0 } : SV("{\"dropped\":\"larger than a hub keeps\"}");
    end_order(h, sv_of(n->id), session__leaf_of(n, m), id, &how);
    mem_free(text);
}

/* --- time ----------------------------------------------------------------------------------------------------------------------------------- */

static void look(struct hub *h, struct order *o, uint64_t wall) {
    struct how how = { .to = DIRECTIVE_UNKNOWN, .message = SV("no answer came") };
    bool was_sent = o->state != DIRECTIVE_QUEUED;
    uint64_t until = o->state == DIRECTIVE_ACCEPTED || o->state == DIRECTIVE_RUNNING ? o->expires_ms + o->timeout_ms + RESULT_MS
                                                                                    : o->expires_ms + (was_sent ? LATE_MS : 0);
    if (!o->is_kept || o->is_settling)
        return;
    if (wall >= until) {
        if (!was_sent)
            how = (struct how){ .to = DIRECTIVE_EXPIRED, .code = SV("expired"), .message = o->agent[0] ? SV("the leaf was not there in time") : SV("the node had no link in time") };
        end_order(h, sv_of(o->node_id), sv_of(o->agent), sv_of(o->id), &how);
    } else if (o->state == DIRECTIVE_QUEUED) { /* memory was out when the link came up */
        send_order(h, o);
    } else if (o->state == DIRECTIVE_SENT && now_ms(h) - o->sent_ms >= ANSWER_MS && !o->unanswered) {
        o->unanswered = o->again;
        if (!o->again)
            send_order(h, o);
        o->again = true;
    }
}

void orders__tick(struct hub *h) {
    uint64_t wall = clock_wall_ms();
    LIST_FOR_SAFE(it, &h->orders.all)
        look(h, CONTAINER(it, struct order, all), wall);
}

/* --- making one ----------------------------------------------------------------------------------------------------------------------------- */

struct making {
    struct hub *hub;
    char id[ORDER_ID + 1];
    hub_done *done;
    void *arg;
};

static void on_made(void *arg, const struct err *e) {
    struct making *x = arg;
    struct hub *h = x->hub;
    struct order *o = h->closing ? NULL : map_get(&h->orders.by_id, sv_of(x->id));
    struct buf out = BUF_MAX(MESSAGE_BYTES);
    struct err gone;
    if (!e && !o) {
        err_set(&gone, ERR_NOT_FOUND, "the node has gone meanwhile");
        e = &gone;
    }
    if (o && e) {
        drop(h, o);
    } else if (o) {
        o->is_kept = true;
        tell(h, o, true, sv_of(o->by));
        send_order(h, o);
        print_order(o, &out);
    }
    if (x->done)
        x->done(x->arg, buf_sv(&out), e);
    buf_deinit(&out);
    hub__unref(h);
    mem_free(x);
}

static void add_row(struct record *r, const struct order *o) {
    const struct store_value v[] = { STORE_TEXT(sv_of(o->id)), STORE_TEXT(sv_of(o->node_id)), STORE_TEXT(sv_of(directive_op_name(o->op))),
                                     STORE_TEXT(sv_of(o->args)), STORE_TEXT(sv_of(o->reason)), STORE_TEXT(sv_of(o->by)), STORE_I64(o->state),
                                     STORE_I64((int64_t)o->issued_ms), STORE_I64((int64_t)o->expires_ms), STORE_I64((int64_t)o->timeout_ms),
                                     STORE_TEXT(sv_of(o->agent)) };
    record_add(r,
               "INSERT INTO directive (id, node_id, op, args, reason, asked_by, state, code, message, detail, issued_ms, expires_ms, timeout_ms, ended_ms, agent_id) "
               "VALUES ($1, $2, $3, $4, $5, $6, $7, '', '', '', $8, $9, $10, 0, $11)",
               v, 11);
    const struct store_value old[] = { v[1], STORE_I64(ORDERS_KEPT) };
    record_add(r,
               "DELETE FROM directive WHERE node_id = $1 AND ended_ms > 0 AND issued_ms < (SELECT issued_ms FROM directive WHERE node_id = $1 "
               "ORDER BY issued_ms DESC LIMIT 1 OFFSET $2)",
               old, 2);
}

static struct order *order_new(const struct node *n, const struct hub_order *in, struct sv by) {
    struct order *o = mem_new(sizeof *o);
    if (!o)
        return NULL;
    list_init(&o->all);
    rand_text(o->id, ORDER_ID);
    memcpy(o->node_id, n->id, sizeof n->id);
    snprintf(o->by, sizeof o->by, "%.*s", SV_FMT(by));
    (void)!sv_to_cstr(in->agent, o->agent, sizeof o->agent);
    o->state = DIRECTIVE_QUEUED;
    o->issued_ms = clock_wall_ms();
    o->expires_ms = o->issued_ms + (in->expires_ms ? in->expires_ms : EXPIRES_MS);
    o->timeout_ms = in->timeout_ms ? in->timeout_ms : DIRECTIVE_TIMEOUT_MS;
    o->pct = -1;
    if (roster_text(&o->args, in->args.n ? in->args : SV("{}")) && roster_text(&o->reason, in->reason))
        return o;
    order_free(o);
    return NULL;
}

static bool check(const struct hub *h, const struct node *n, const struct hub_order *in, enum directive_op *ret_op, struct err *e) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = in->args.n ? json_parse(in->args) : NULL;
    if (n->state != NODE_APPROVED)
        return err_set(e, ERR_EXISTS, "node %s is %s: it takes no directives", n->name, node_state_name(n->state));
    if (in->agent.n && !link_is_ident(in->agent))
        return err_set(e, ERR_BAD_REQUEST, "\"agent\" must be the agent_id of a leaf: 1 to %d of a-z 0-9 . _ -", LINK_IDENT_MAX);
    if (!directive_op_read(in->op, ret_op))
        return err_set(e, ERR_BAD_REQUEST, "\"%.*s\" is no directive", SV_FMT(sv_first(in->op, 40)));
    if ((in->args.n && !doc) || in->args.n > DIRECTIVE_ARGS_MAX)
        return err_set(e, ERR_BAD_REQUEST, "\"args\" must be an object of at most %d bytes", DIRECTIVE_ARGS_MAX);
    if (!directive_args_check(*ret_op, yyjson_doc_get_root(doc), true, e))
        return false;
    if (count_of(h, n) >= ORDERS_PER_NODE * (*ret_op == OP_CANCEL ? 2 : 1)) /* that one makes room */
        return err_set(e, ERR_LIMIT, "node %s has %d directives that are not over, which is the most; wait for them, or cancel some", n->name, ORDERS_PER_NODE);
    if (h->orders.n >= ORDERS_MAX)
        return err_set(e, ERR_LIMIT, "%d directives of this hub are not over, which is the most; wait for them, or cancel some", ORDERS_MAX);
    return true;
}

bool hub_order(struct hub *h, struct sv node, const struct hub_order *in, const struct access_actor *by, hub_done *done, void *arg, struct err *e) {
    struct node *n = roster_named(&h->roster, node);
    enum directive_op op;
    if (!n)
        return err_set(e, ERR_NOT_FOUND, "there is no node \"%.*s\" (drover node ls)", SV_FMT(sv_first(node, 80)));
    if (!check(h, n, in, &op, e))
        return false;
    struct order *o = order_new(n, in, by->name);
    struct making *x = o ? mem_new(sizeof *x) : NULL;
    struct record *r = x ? record_new(h->loop) : NULL;
    char detail[128];
    if (!r || !enter(h, o)) {
        record_free(r);
        mem_free(x);
        if (o)
            order_free(o);
        return err_no_memory(e);
    }
    o->op = op;
    *x = (struct making){ .hub = hub__ref(h), .done = done, .arg = arg };
    memcpy(x->id, o->id, sizeof x->id);
    snprintf(detail, sizeof detail, "%s %s", directive_op_name(op), o->id);
    record_audit(r, by, "node.directive", sv_of(n->id), sv_of(detail));
    add_row(r, o);
    if (record_submit(h->house->store, r, on_made, x, e))
        return true;
    drop(h, o);
    hub__unref(h);
    mem_free(x);
    return false;
}

/* --- cancelling ----------------------------------------------------------------------------------------------------------------------------- */

static void print_cancel(const struct order *o, struct buf *args) {
    buf_add(args, SV("{\"what\":\"directive\",\"id\":"));
    buf_add_json(args, sv_of(o->id));
    buf_add_char(args, '}');
}

/* Nobody waits for this one's answer; should the directive turn up at the node after all, it is not to run. */
static void ask_cancel(struct hub *h, const struct order *o) {
    const struct access_actor by = { SV("hub"), SV("-") };
    struct buf args = BUF_MAX(512);
    struct err e;
    print_cancel(o, &args);
    const struct hub_order in = { .op = SV("cancel"), .args = buf_sv(&args), .reason = SV("no answer came"), .agent = sv_of(o->agent),
                                   .expires_ms = ASK_CANCEL_MS };
    if (!hub_order(h, sv_of(o->node_id), &in, &by, NULL, NULL, &e))
        log_event(LOG_WARN, "a node could not be asked to cancel a directive", F_STR("directive", o->id), F_STR("cause", e.text));
    buf_deinit(&args);
}

/* Not sent yet: it ends here. */
struct voiding {
    struct hub *hub;
    char id[ORDER_ID + 1];
    hub_done *done;
    void *arg;
};

static void on_voided(void *arg, const struct err *e) {
    struct voiding *x = arg;
    struct hub *h = x->hub;
    struct order *o = h->closing ? NULL : map_get(&h->orders.by_id, sv_of(x->id));
    struct buf out = BUF_MAX(MESSAGE_BYTES);
    if (o)
        o->is_settling = false;
    if (o && !e) {
        o->state = DIRECTIVE_CANCELLED;
        tell(h, o, true, SV_NULL);
        print_order(o, &out);
        drop(h, o);
    }
    x->done(x->arg, buf_sv(&out), e);
    buf_deinit(&out);
    hub__unref(h);
    mem_free(x);
}

static bool void_order(struct hub *h, struct order *o, const struct access_actor *by, hub_done *done, void *arg, struct err *e) {
    struct voiding *x = mem_new(sizeof *x);
    struct record *r = x ? record_new(h->loop) : NULL;
    if (!r) {
        mem_free(x);
        return err_no_memory(e);
    }
    *x = (struct voiding){ .hub = hub__ref(h), .done = done, .arg = arg };
    memcpy(x->id, o->id, sizeof x->id);
    const struct store_value v[] = { STORE_TEXT(sv_of(o->id)), STORE_I64(DIRECTIVE_CANCELLED), STORE_I64((int64_t)clock_wall_ms()) };
    record_audit(r, by, "node.directive_cancel", sv_of(o->node_id), sv_of(o->id));
    record_add(r, "UPDATE directive SET state = $2, ended_ms = $3 WHERE id = $1 AND ended_ms = 0", v, 3);
    o->is_settling = true;
    if (record_submit(h->house->store, r, on_voided, x, e))
        return true;
    o->is_settling = false;
    hub__unref(h);
    mem_free(x);
    return false;
}

bool hub_order_cancel(struct hub *h, struct sv id, const struct access_actor *by, hub_done *done, void *arg, struct err *e) {
    struct order *o = map_get(&h->orders.by_id, id);
    struct buf args = BUF_MAX(512);
    if (!o || !o->is_kept || o->is_settling)
        return err_set(e, ERR_NOT_FOUND, "no directive \"%.*s\" is open: it is over, or there never was one", SV_FMT(sv_first(id, 80)));
    if (o->state == DIRECTIVE_QUEUED)
        return void_order(h, o, by, done, arg, e);
    if (o->op == OP_CANCEL)
        return err_set(e, ERR_EXISTS, "that is a cancellation itself, and on its way");
    print_cancel(o, &args);
    bool ok = hub_order(h, sv_of(o->node_id), &(struct hub_order){ .op = SV("cancel"), .args = buf_sv(&args), .agent = sv_of(o->agent) }, by, done, arg, e);
    buf_deinit(&args);
    return ok;
}

/* --- what there is -------------------------------------------------------------------------------------------------------------------------- */

struct asking {
    struct store_job job;
    struct hub *hub;
    bool is_one;
    char id[PKI_ID_MAX + ORDER_ID + 1]; /* of the directive, or of the node */
    struct buf out, progress;
    hub_done *done;
    void *arg;
};

static void print_row(struct store_rows *r, struct buf *out) {
    static const char *const texts[] = { "id", "node", "op", "reason", "by", "code", "message" };
    int64_t state = store_i64(r, 7);
    buf_printf(out, "{\"state\":\"%s\"", directive_state_name(state >= 0 && state < DIRECTIVE_STATE_COUNT ? (enum directive_state)state : DIRECTIVE_UNKNOWN));
    for (int i = 0; i < 7; i++)
        put(out, texts[i], store_text(r, i));
    buf_add(out, SV(",\"args\":"));
    buf_add(out, store_text(r, 8));
    buf_add(out, SV(",\"detail\":"));
    buf_add(out, store_text(r, 9).n ? store_text(r, 9) : SV("null"));
    put(out, "agent", store_text(r, 14));
    put_ms(out, "issued_ms", (uint64_t)store_i64(r, 10));
    put_ms(out, "expires_ms", (uint64_t)store_i64(r, 11));
    put_ms(out, "timeout_ms", (uint64_t)store_i64(r, 12));
    if (store_i64(r, 13))
        put_ms(out, "ended_ms", (uint64_t)store_i64(r, 13));
}

#define COLUMNS "SELECT id, node_id, op, reason, asked_by, code, message, state, args, detail, issued_ms, expires_ms, timeout_ms, ended_ms, agent_id FROM directive"

static bool run_asking(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct asking *q = CONTAINER(job, struct asking, job);
    const struct store_value id = STORE_TEXT(sv_of(q->id));
    struct store_rows *rows = store_query(tx, e, q->is_one ? COLUMNS " WHERE id = $1" : COLUMNS " WHERE node_id = $1 ORDER BY issued_ms DESC, id", &id, 1);
    bool any = false;
    buf_add(&q->out, q->is_one ? SV("") : SV("["));
    for (enum store_step step; rows && (step = store_next(rows, e)) != STORE_END; any = true) {
        if (step == STORE_FAULT)
            return false;
        buf_add(&q->out, any ? SV(",") : SV(""));
        print_row(rows, &q->out);
        buf_add(&q->out, buf_sv(&q->progress));
        buf_add_char(&q->out, '}');
    }
    buf_add(&q->out, q->is_one ? SV("") : SV("]"));
    if (rows && q->is_one && !any)
        return err_set(e, ERR_NOT_FOUND, "there is no directive \"%s\"", q->id);
    return rows && (!q->out.failed || err_no_memory(e));
}

static void on_asked(struct store_job *job, const struct err *e) {
    struct asking *q = CONTAINER(job, struct asking, job);
    q->done(q->arg, buf_sv(&q->out), e);
    buf_deinit(&q->out);
    buf_deinit(&q->progress);
    hub__unref(q->hub);
    mem_free(q);
}

static bool ask_store(struct hub *h, bool is_one, struct sv id, hub_done *done, void *arg, struct err *e) {
    struct asking *q = mem_new(sizeof *q);
    const struct order *o = is_one ? map_get(&h->orders.by_id, id) : NULL;
    if (!q)
        return err_no_memory(e);
    *q = (struct asking){ .job = { .home = h->loop, .reads = true, .run = run_asking, .done = on_asked }, .hub = hub__ref(h), .is_one = is_one,
                          .out = BUF_MAX(8 << 20), .progress = BUF_MAX(2048), .done = done, .arg = arg };
    if (o)
        print_progress(o, &q->progress);
    if (sv_to_cstr(id, q->id, sizeof q->id) ? store_submit(h->house->store, &q->job, e)
                                            : err_set(e, ERR_NOT_FOUND, "there is no directive \"%.*s\"", SV_FMT(sv_first(id, 40))))
        return true;
    buf_deinit(&q->progress);
    hub__unref(h);
    mem_free(q);
    return false;
}

bool hub_directive(struct hub *h, struct sv id, hub_done *done, void *arg, struct err *e) {
    return ask_store(h, true, id, done, arg, e);
}

bool hub_directives(struct hub *h, struct sv node, hub_done *done, void *arg, struct err *e) {
    const struct node *n = roster_named(&h->roster, node);
    if (!n)
        return err_set(e, ERR_NOT_FOUND, "there is no node \"%.*s\" (drover node ls)", SV_FMT(sv_first(node, 80)));
    return ask_store(h, false, sv_of(n->id), done, arg, e);
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------------- */

static bool read_order(struct hub *h, struct store_rows *r, struct err *e) {
    struct order *o = mem_new(sizeof *o);
    if (!o)
        return err_no_memory(e);
    list_init(&o->all);
    bool known = sv_to_cstr(store_text(r, 0), o->id, sizeof o->id) && sv_to_cstr(store_text(r, 1), o->node_id, sizeof o->node_id) &&
                 sv_to_cstr(store_text(r, 4), o->by, sizeof o->by) && sv_to_cstr(store_text(r, 14), o->agent, sizeof o->agent) && directive_op_read(store_text(r, 2), &o->op) && store_i64(r, 7) >= 0 &&
                 store_i64(r, 7) < DIRECTIVE_STATE_COUNT;
    o->state = known ? (enum directive_state)store_i64(r, 7) : DIRECTIVE_UNKNOWN;
    o->issued_ms = (uint64_t)store_i64(r, 10);
    o->expires_ms = (uint64_t)store_i64(r, 11);
    o->timeout_ms = (uint64_t)store_i64(r, 12);
    o->is_kept = true;
    o->pct = -1;
    if (directive_is_over(o->state)) { /* not one of ours: a newer Drover's, or damage */
        order_free(o);
        return true;
    }
    if (roster_text(&o->args, store_text(r, 8)) && roster_text(&o->reason, store_text(r, 3)) && enter(h, o))
        return true;
    order_free(o);
    return err_no_memory(e);
}

static bool load(struct store_tx *tx, void *arg, struct err *e) {
    const struct store_value most = STORE_I64(ORDERS_MAX);
    struct store_rows *rows = store_query(tx, e, COLUMNS " WHERE ended_ms = 0 ORDER BY issued_ms LIMIT $1", &most, 1);
    enum store_step step = STORE_FAULT;
    while (rows && (step = store_next(rows, e)) == STORE_ROW)
        if (!read_order(arg, rows, e)) {
            store_end(rows);
            return false;
        }
    return step == STORE_END;
}

bool orders__load(struct hub *h, struct err *e) {
    list_init(&h->orders.all);
    map_init(&h->orders.by_id);
    return store_read(h->house->store, load, h, e) || err_ctx(e, "directives");
}

void orders__deinit(struct hub *h) {
    while (h->orders.n)
        drop(h, CONTAINER(h->orders.all.next, struct order, all));
    map_deinit(&h->orders.by_id);
}

void orders__forget(struct record *r, struct sv node_id) {
    record_add(r, "DELETE FROM directive WHERE node_id = $1", &STORE_TEXT(node_id), 1);
}

void orders__drop(struct hub *h, struct sv node_id) {
    LIST_FOR_SAFE(it, &h->orders.all) {
        struct order *o = CONTAINER(it, struct order, all);
        if (sv_eq(node_id, sv_of(o->node_id)))
            drop(h, o);
    }
}
