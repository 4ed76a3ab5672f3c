/* hub/hub.c - the hub's life, what is done to nodes, and what is told of them. */
#include "hub/hub.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "hub/room.h"

enum { TICK_MS = 1000, SLOW_TICKS = 60 };

const char *node_state_name(enum node_state s) {
    static const char *const names[] = { "waiting", "approved", "refused", "revoked" };
    return names[s];
}

/* --- life -------------------------------------------------------------------------------------------------------------------------------- */

struct hub *hub__ref(struct hub *h) {
    h->refs++;
    return h;
}

void hub__unref(struct hub *h) {
    if (--h->refs == 0)
        mem_free(h);
}

static void on_tick(void *arg) {
    struct hub *h = arg;
    timer_set(h->loop, &h->tick, TICK_MS, on_tick, h);
    session__tick(h);
    orders__tick(h);
    rotation__tick(h);
    certs__tick(h);
    inbox__tick(h);
    calls__tick(h);
    if (h->ticks++ % SLOW_TICKS)
        return;
    enrol__tick(h);
    if (h->n_new_links) /* their handshakes took memory for a moment, many at once after a restart */
        mem_give_back();
    h->n_new_links = 0;
}

struct hub *hub_new(const struct hub_house *house, struct err *e) {
    struct hub *h = mem_new(sizeof *h);
    if (!h) {
        err_no_memory(e);
        return NULL;
    }
    h->refs = 1;
    h->house = house;
    h->loop = house->loop;
    list_init(&h->invites);
    list_init(&h->inbox);
    list_init(&h->sessions);
    list_init(&h->orders.all);
    h->authority = authority_new(*house->config, e);
    if (!h->authority || !roster_load(&h->roster, house->store, e) || !enrol__load(h, e) || !inbox__load(h, e) || !orders__load(h, e) ||
        !authority_begin(h->authority, *house->config, certs__keep_key(h), e)) {
        hub_stop(h);
        hub_free(h);
        return NULL;
    }
    if (!authority_is_apart(h->authority))
        certs__log_own(h);
    timer_set(h->loop, &h->tick, TICK_MS, on_tick, h);
    return h;
}

void hub_drain(struct hub *h) {
    if (!h)
        return;
    h->draining = true;
    session__drain(h);
}

void hub_stop(struct hub *h) {
    if (!h)
        return;
    h->closing = true;
    timer_stop(h->loop, &h->tick);
    session__free_all(h);
    enrol__deinit(h);
    inbox__deinit(h);
    orders__deinit(h);
    roster_deinit(&h->roster);
    authority_free(h->authority);
    h->authority = NULL;
}

void hub_free(struct hub *h) {
    if (h)
        hub__unref(h);
}

struct tls_context *hub_tls(struct hub *h, int client_cert) {
    return authority_tls(h->authority, client_cert);
}

/* --- what happened ------------------------------------------------------------------------------------------------------------------------ */

struct sv hub__clean(struct sv from, char to[static HUB_DETAIL_MAX]) {
    size_t at = 0;
    for (size_t n; at + 4 <= HUB_DETAIL_MAX && (n = utf8_len(from)) > 0; from = sv_from(from, n)) {
        bool is_control = n == 1 && ((unsigned char)from.p[0] < 0x20 || from.p[0] == 0x7f);
        struct sv c = is_control ? SV("\xef\xbf\xbd") : sv_first(from, n);
        memcpy(to + at, c.p, c.n);
        at += c.n;
    }
    return (struct sv){ to, at };
}

void hub__tell(struct hub *h, const struct node *n, const char *what, struct sv detail) {
    struct buf told = BUF_MAX(4096);
    log_event(LOG_INFO, "node", F_STR("node", n->name), F_STR("event", what), F_SV("detail", detail));
    buf_add(&told, SV("{\"node\":"));
    buf_add_json(&told, sv_of(n->id));
    buf_add(&told, SV(",\"name\":"));
    buf_add_json(&told, sv_of(n->name));
    buf_printf(&told, ",\"what\":\"%s\",\"detail\":", what);
    buf_add_json(&told, detail);
    buf_add_char(&told, '}');
    if (h->house->on_event && !told.failed && !h->closing)
        h->house->on_event(h->house->owner, what, buf_sv(&told));
    buf_deinit(&told);
}

static void write_history(struct hub *h, const struct node *n, const char *what, struct sv detail) {
    struct record *r = record_new(h->loop);
    struct err e;
    if (!r)
        return;
    const struct store_value row[] = { STORE_TEXT(sv_of(n->id)), STORE_I64((int64_t)clock_wall_ms()), STORE_TEXT(sv_of(what)), STORE_TEXT(detail) };
    record_add(r, "INSERT INTO node_event (seq, node_id, at_ms, what, detail) SELECT COALESCE(MAX(seq), 0) + 1, $1, $2, $3, $4 FROM node_event", row, 4);
    const struct store_value old[] = { STORE_TEXT(sv_of(n->id)), STORE_I64(HUB_EVENTS_KEPT) };
    record_add(r,
               "DELETE FROM node_event WHERE node_id = $1 AND seq <= (SELECT seq FROM node_event WHERE node_id = $1 "
               "ORDER BY seq DESC LIMIT 1 OFFSET $2)",
               old, 2);
    if (!record_submit(h->house->store, r, NULL, NULL, &e))
        log_event(LOG_WARN, "a node's history lost a line", F_STR("node", n->name), F_STR("event", what), F_STR("cause", e.text));
}

void hub__event(struct hub *h, const struct node *n, const char *what, struct sv detail) {
    char text[HUB_DETAIL_MAX];
    detail = hub__clean(detail, text);
    hub__tell(h, n, what, detail);
    write_history(h, n, what, detail);
}

/* --- acts --------------------------------------------------------------------------------------------------------------------------------- */

struct act {
    struct hub *hub;
    enum node_act what;
    char id[PKI_ID_MAX + 1], name[HUB_NAME_MAX + 1], by[66];
    char *text;
    uint64_t now_ms;
    hub_done *done;
    void *arg;
};

static const struct {
    const char *audit, *event;
    unsigned from; /* states it may be done in, as bits */
} acts[] = {
    [NODE_APPROVE] = { "node.approve", "approved", 1u << NODE_WAITING | 1u << NODE_REFUSED },
    [NODE_REFUSE] = { "node.refuse", "refused", 1u << NODE_WAITING },
    [NODE_RENAME] = { "node.rename", "renamed", 1u << NODE_WAITING | 1u << NODE_APPROVED },
    [NODE_LABEL] = { "node.label", "labelled", 1u << NODE_WAITING | 1u << NODE_APPROVED },
    [NODE_DRAIN] = { "node.drain", "draining", 1u << NODE_APPROVED },
    [NODE_RESUME] = { "node.resume", "resumed", 1u << NODE_APPROVED },
    [NODE_REVOKE] = { "node.revoke", "revoked", 1u << NODE_APPROVED },
    [NODE_REMOVE] = { "node.remove", "removed", ~0u },
};

static void act_free(struct act *a) {
    hub__unref(a->hub);
    mem_free(a->text);
    mem_free(a);
}

/* By its name, which may have a new owner by now: only what is its own. */
static void leave_fleet(struct hub *h, struct node *n) {
    if (n->is_place)
        fleet_unfeed(h->house->fleet, sv_of(n->name));
    n->is_place = false;
}

/* In force from here on. */
static void apply(struct hub *h, struct node *n, const struct act *a) {
    if (a->what != NODE_RENAME && a->what != NODE_LABEL) {
        n->decided_ms = a->now_ms;
        snprintf(n->decided_by, sizeof n->decided_by, "%s", a->by);
    }
    switch (a->what) {
    case NODE_APPROVE:
        n->state = NODE_APPROVED;
        break;
    case NODE_REFUSE:
        n->state = NODE_REFUSED;
        break;
    case NODE_RENAME:
        leave_fleet(h, n);
        snprintf(n->name, sizeof n->name, "%s", a->name);
        hub__feed(h, n);
        break;
    case NODE_LABEL:
        roster_text(&n->labels, sv_of(a->text));
        break;
    case NODE_DRAIN:
    case NODE_RESUME:
        n->drained = a->what == NODE_DRAIN;
        hub__feed(h, n);
        break;
    case NODE_REVOKE:
        n->state = NODE_REVOKED;
        hub__cut(h, n, CLOSE_IDENTITY, "revoked");
        leave_fleet(h, n);
        break;
    case NODE_REMOVE:
        hub__cut(h, n, CLOSE_IDENTITY, "removed");
        leave_fleet(h, n);
        orders__drop(h, sv_of(n->id));
        roster_remove(&h->roster, n);
        break;
    }
}

static void on_acted(void *arg, const struct err *e) {
    struct act *a = arg;
    struct hub *h = a->hub;
    struct node *n = h->closing ? NULL : roster_find(&h->roster, sv_of(a->id));
    struct buf out = BUF_MAX(64 << 10);
    struct err gone;
    if (!e && !n) {
        err_set(&gone, ERR_NOT_FOUND, "the node has gone meanwhile");
        e = &gone;
    }
    if (!e) {
        if (a->what == NODE_REMOVE) /* its history has gone with it */
            hub__tell(h, n, acts[a->what].event, sv_of(a->by));
        else
            hub__event(h, n, acts[a->what].event, sv_of(a->by));
        apply(h, n, a);
        if (a->what != NODE_REMOVE)
            (void)hub_node(h, sv_of(a->id), &out);
        else
            buf_add(&out, SV("{\"removed\":true}"));
    }
    if (a->done)
        a->done(a->arg, buf_sv(&out), e);
    buf_deinit(&out);
    act_free(a);
}

static void add_statement(struct record *r, const struct act *a) {
    const struct store_value id = STORE_TEXT(sv_of(a->id)), now = STORE_I64((int64_t)a->now_ms), by = STORE_TEXT(sv_of(a->by));
    const struct store_value decided[] = { id, STORE_I64(a->what == NODE_APPROVE ? NODE_APPROVED : a->what == NODE_REFUSE ? NODE_REFUSED : NODE_REVOKED), now, by };
    switch (a->what) {
    case NODE_APPROVE:
    case NODE_REFUSE:
    case NODE_REVOKE:
        record_add(r, "UPDATE node SET state = $2, decided_ms = $3, decided_by = $4 WHERE id = $1", decided, 4);
        break;
    case NODE_RENAME:
        record_add(r, "UPDATE node SET name = $2 WHERE id = $1", (struct store_value[]){ id, STORE_TEXT(sv_of(a->name)) }, 2);
        break;
    case NODE_LABEL:
        record_add(r, "UPDATE node SET labels = $2 WHERE id = $1", (struct store_value[]){ id, STORE_TEXT(sv_of(a->text)) }, 2);
        break;
    case NODE_DRAIN:
    case NODE_RESUME:
        record_add(r, "UPDATE node SET drained = $2, decided_ms = $3, decided_by = $4 WHERE id = $1",
                   (struct store_value[]){ id, STORE_I64(a->what == NODE_DRAIN), now, by }, 4);
        break;
    case NODE_REMOVE:
        orders__forget(r, sv_of(a->id));
        record_add(r, "DELETE FROM node_usage WHERE node_id = $1", &id, 1); /* its sums stay, as those of a key do */
        record_add(r, "DELETE FROM node_event WHERE node_id = $1", &id, 1);
        record_add(r, "DELETE FROM node WHERE id = $1", &id, 1);
        break;
    }
    record_must_change(r, ERR_NOT_FOUND, "the node has gone meanwhile");
}

bool hub_name_is_good(struct sv v) {
    bool ok = v.n >= 1 && v.n <= HUB_NAME_MAX;
    for (size_t i = 0; ok && i < v.n; i++) {
        char c = v.p[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (i && (c == '.' || c == '_' || c == '-'));
    }
    return ok;
}

static bool check_act(struct hub *h, enum node_act what, const struct node *n, struct sv text, struct err *e) {
    if (!(acts[what].from & 1u << n->state))
        return err_set(e, ERR_EXISTS, "node %s is %s: that does not fit", n->name, node_state_name(n->state));
    if (what == NODE_RENAME && !hub_name_is_good(text))
        return err_set(e, ERR_BAD_REQUEST, HUB_NAME_RULE, HUB_NAME_MAX);
    const struct node *other = what == NODE_RENAME ? roster_named(&h->roster, text) : NULL;
    if (other && other != n && other->state < NODE_REFUSED)
        return err_set(e, ERR_EXISTS, "another node is called %s", other->name);
    return true;
}

bool hub_act(struct hub *h, enum node_act what, struct sv id, struct sv text, const struct access_actor *by, hub_done *done, void *arg, struct err *e) {
    struct node *n = roster_named(&h->roster, id);
    if (!n)
        return err_set(e, ERR_NOT_FOUND, "there is no node \"%.*s\" (drover node ls)", SV_FMT(sv_first(id, 80)));
    if (!check_act(h, what, n, text, e))
        return false;
    struct act *a = mem_new(sizeof *a);
    struct record *r = record_new(h->loop);
    if (!a || !r || !(a->text = mem_str(text.n ? text.p : "", text.n))) {
        mem_free(a);
        record_free(r);
        return err_no_memory(e);
    }
    a->hub = hub__ref(h);
    a->what = what;
    a->now_ms = clock_wall_ms();
    a->done = done;
    a->arg = arg;
    memcpy(a->id, n->id, sizeof a->id);
    snprintf(a->name, sizeof a->name, "%.*s", SV_FMT(what == NODE_RENAME ? text : SV_NULL));
    snprintf(a->by, sizeof a->by, "%.*s", SV_FMT(by->name));
    record_audit(r, by, acts[what].audit, sv_of(n->id), what == NODE_RENAME || what == NODE_LABEL ? sv_first(text, 200) : sv_of(n->name));
    add_statement(r, a);
    if (record_submit(h->house->store, r, on_acted, a, e))
        return true;
    act_free(a);
    return false;
}

/* --- telling ------------------------------------------------------------------------------------------------------------------------------ */

static void put(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, v);
}

static void put_at(struct buf *out, const char *name, uint64_t ms) {
    if (ms)
        buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)ms);
}

static void print_node(const struct node *n, struct buf *out) {
    buf_add(out, SV("{\"id\":"));
    buf_add_json(out, sv_of(n->id));
    put(out, "name", sv_of(n->name));
    put(out, "state", sv_of(node_state_name(n->state)));
    buf_printf(out, ",\"drained\":%s", n->drained ? "true" : "false");
    put(out, "mode", n->url[0] ? SV("direct") : SV("reverse"));
    if (n->url[0])
        put(out, "url", sv_of(n->url));
    buf_add(out, SV(",\"labels\":"));
    buf_add(out, sv_of(n->labels));
    buf_add(out, SV(",\"told\":"));
    buf_add(out, sv_of(n->info));
    put(out, "fingerprint", sv_of(n->spki));
    put_at(out, "created_ms", n->created_ms);
    put_at(out, "decided_ms", n->decided_ms);
    if (n->decided_by[0])
        put(out, "decided_by", sv_of(n->decided_by));
    put_at(out, "seen_ms", n->seen_ms);
    put_at(out, "certificate_ends_ms", n->serial[0] ? (uint64_t)n->not_after_s * 1000 : 0);
    put_at(out, "void_ms", n->void_ms);
    put_at(out, "down_since_ms", n->session ? 0 : n->down_since_ms);
    if (n->last_error[0])
        put(out, "last_error", sv_of(n->last_error));
    buf_printf(out, ",\"epoch\":%llu,\"linked\":%s", (unsigned long long)n->epoch, n->session ? "true" : "false");
    if (n->session)
        session__print(n->session, out);
    buf_add_char(out, '}');
}

void hub_nodes(struct hub *h, struct buf *out) {
    bool first = true;
    buf_add_char(out, '[');
    LIST_FOR(it, &h->roster.all) {
        if (!first)
            buf_add_char(out, ',');
        first = false;
        print_node(CONTAINER(it, struct node, all), out);
    }
    buf_add_char(out, ']');
}

bool hub_node(struct hub *h, struct sv id, struct buf *out) {
    const struct node *n = roster_named(&h->roster, id);
    if (n)
        print_node(n, out);
    return n != NULL;
}

void hub_status(struct hub *h, struct buf *out) {
    unsigned counts[4] = { 0 };
    char pin[PKI_PIN_TEXT + 1];
    LIST_FOR(it, &h->roster.all)
        counts[CONTAINER(it, struct node, all)->state]++;
    pki_pin_print(authority_pin(h->authority), pin);
    buf_add(out, SV("\"fleet\":"));
    buf_add_json(out, sv_of(authority_fleet(h->authority)));
    put(out, "pin", sv_of(pin));
    buf_printf(out, ",\"nodes\":{\"approved\":%u,\"waiting\":%u,\"refused\":%u,\"revoked\":%u,\"linked\":%u}", counts[NODE_APPROVED], counts[NODE_WAITING],
               counts[NODE_REFUSED], counts[NODE_REVOKED], h->n_sessions);
    buf_printf(out, ",\"certificate_ends_ms\":%lld,\"root_ends_ms\":%lld", (long long)authority_leaf(h->authority)->is.not_after_s * 1000,
               (long long)authority_root(h->authority)->is.not_after_s * 1000);
}

/* --- history ------------------------------------------------------------------------------------------------------------------------------ */

struct history {
    struct store_job job;
    struct hub *hub;
    char id[PKI_ID_MAX + 1];
    struct buf out;
    hub_done *done;
    void *arg;
};

static bool run_history(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct history *q = CONTAINER(job, struct history, job);
    const struct store_value id = STORE_TEXT(sv_of(q->id));
    struct store_rows *rows = store_query(tx, e, "SELECT at_ms, what, detail FROM node_event WHERE node_id = $1 ORDER BY seq DESC", &id, 1);
    bool first = true;
    buf_add_char(&q->out, '[');
    for (enum store_step step; rows && (step = store_next(rows, e)) != STORE_END; first = false) {
        if (step == STORE_FAULT)
            return false;
        buf_printf(&q->out, "%s{\"at_ms\":%lld,\"what\":", first ? "" : ",", (long long)store_i64(rows, 0));
        buf_add_json(&q->out, store_text(rows, 1));
        buf_add(&q->out, SV(",\"detail\":"));
        buf_add_json(&q->out, store_text(rows, 2));
        buf_add_char(&q->out, '}');
    }
    buf_add_char(&q->out, ']');
    return rows && (!q->out.failed || err_no_memory(e));
}

static void on_history(struct store_job *job, const struct err *e) {
    struct history *q = CONTAINER(job, struct history, job);
    q->done(q->arg, buf_sv(&q->out), e);
    buf_deinit(&q->out);
    hub__unref(q->hub);
    mem_free(q);
}

bool hub_history(struct hub *h, struct sv id, hub_done *done, void *arg, struct err *e) {
    const struct node *n = roster_named(&h->roster, id);
    struct history *q = n ? mem_new(sizeof *q) : NULL;
    if (!q)
        return n ? err_no_memory(e) : err_set(e, ERR_NOT_FOUND, "there is no node \"%.*s\" (drover node ls)", SV_FMT(sv_first(id, 80)));
    *q = (struct history){ .job = { .home = h->loop, .reads = true, .run = run_history, .done = on_history }, .hub = hub__ref(h), .out = BUF_MAX(1 << 20),
                           .done = done, .arg = arg };
    memcpy(q->id, n->id, sizeof q->id);
    if (store_submit(h->house->store, &q->job, e))
        return true;
    hub__unref(h);
    mem_free(q);
    return false;
}
