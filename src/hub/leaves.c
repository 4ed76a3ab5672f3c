#include "hub/leaves.h"

#include <stdio.h>

#include "base/log.h"
#include "base/utf8.h"
#include "hub/room.h"
#include "hub/usage.h"

struct leaf_of {
    struct list all;
    char agent[LINK_IDENT_MAX + 1], name[129], version[65], peer[129], since[36];
    char presence[16], state[16]; /* as the node says it is there; as it says of itself */
    uint64_t heard_ms;            /* loop time */
    size_t n_models;
};

static struct leaf_of *find(const struct leaves *l, struct sv agent) {
    LIST_FOR(it, &l->all)
        if (sv_eq(agent, sv_of(CONTAINER(it, struct leaf_of, all)->agent)))
            return CONTAINER(it, struct leaf_of, all);
    return NULL;
}

static bool is_connected(const struct leaf_of *f) {
    return strcmp(f->presence, "connected") == 0;
}

static void drop(struct leaves *l, struct leaf_of *f) {
    list_drop(&f->all);
    l->n--;
    mem_free(f);
}

/* NULL: there are as many as a hub knows of one node, and all are there. */
static struct leaf_of *enter(struct leaves *l, struct sv agent) {
    struct leaf_of *f = find(l, agent);
    if (f)
        return f;
    LIST_FOR_SAFE(it, &l->all) {
        f = CONTAINER(it, struct leaf_of, all);
        if (l->n >= LEAVES_PER_NODE && strcmp(f->presence, "disconnected") == 0)
            drop(l, f);
    }
    f = l->n < LEAVES_PER_NODE ? mem_new(sizeof *f) : NULL;
    if (!f)
        return NULL;
    (void)!sv_to_cstr(agent, f->agent, sizeof f->agent);
    list_init(&f->all);
    list_push_back(&l->all, &f->all);
    l->n++;
    return f;
}

/* What it said, as it may be shown; never larger than the place for it. */
static void keep(struct sv from, char *to, size_t size) {
    char text[HUB_DETAIL_MAX];
    struct sv v = sv_first(hub__clean(sv_first(from, size - 1), text), size - 1);
    while (v.n && !utf8_valid(v)) /* what replaced a byte may be longer than it */
        v.n--;
    (void)!sv_to_cstr(v, to, size);
}

/* --- what is said --------------------------------------------------------------------------------------------------------------------- */

static void take_status(struct leaves *l, struct hub *h, struct node *n, struct session *s, const struct envelope *m) {
    char was[16] = "", text[HUB_DETAIL_MAX];
    struct leaf_of *f;
    if (!sv_eq(json_str(m->payload, "agent_id"), m->agent_id)) {
        session__refuse(s, FAULT_AGENT, "agent_id of the envelope and of the payload differ", m);
        return;
    }
    if (!(f = enter(l, m->agent_id))) {
        session__refuse(s, FAULT_TOO_LARGE, "a hub knows 64 leaves of one node", m);
        return;
    }
    memcpy(was, f->presence, sizeof was);
    keep(json_str(m->payload, "state"), f->presence, sizeof f->presence);
    keep(json_str(m->payload, "since"), f->since, sizeof f->since);
    keep(json_str(m->payload, "peer"), f->peer, sizeof f->peer);
    session__say_to(s, KIND_ACK, m->agent_id, SV("{\"scope\":\"hub\"}"), m->msg_id);
    if (strcmp(was, f->presence) == 0)
        return;
    snprintf(text, sizeof text, "%s %s", f->agent, f->presence);
    hub__event(h, n, "leaf", sv_of(text));
    if (is_connected(f))
        orders__leaf_up(h, n, m->agent_id);
}

static void take_register(struct session *s, struct leaf_of *f, const struct envelope *m) {
    struct buf out = BUF_MAX(1024);
    keep(json_str(m->payload, "name"), f->name, sizeof f->name);
    keep(json_str(m->payload, "version"), f->version, sizeof f->version);
    f->n_models = yyjson_arr_size(json_get(m->payload, "models"));
    buf_add(&out, SV("{\"accepted\":true,\"name\":"));
    buf_add_json(&out, sv_of(f->name[0] ? f->name : f->agent));
    buf_add_char(&out, '}');
    if (!out.failed)
        session__say_to(s, KIND_REGISTERED, m->agent_id, buf_sv(&out), m->msg_id);
    buf_deinit(&out);
}

static void take_error(struct node *n, struct leaf_of *f, const struct envelope *m) {
    struct sv code = json_str(m->payload, "code");
    log_event(LOG_WARN, "a leaf, or its node for it, refused a message", F_STR("node", n->name),
              F_STR("agent", f->agent), F_SV("code", code),
              F_SV("message", sv_first(json_str(m->payload, "message"), 200)));
    if (sv_eq(code, SV("agent_offline")))
        snprintf(f->presence, sizeof f->presence, "disconnected");
}

void leaves__take(struct leaves *l, struct hub *h, struct node *n, struct session *s, struct envelope *m) {
    struct leaf_of *f = find(l, m->agent_id);
    if (m->kind == KIND_AGENT_STATUS) {
        take_status(l, h, n, s, m);
        return;
    }
    if (!f) {
        if (m->kind != KIND_ERROR && m->kind != KIND_ACK)
            session__refuse(s, FAULT_UNKNOWN_ID, "no agent_status has told of this leaf on this link", m);
        return;
    }
    f->heard_ms = loop_now_ms(h->loop);
    switch (m->kind) {
    case KIND_REGISTER:
        take_register(s, f, m);
        break;
    case KIND_HEARTBEAT:
        keep(json_str(m->payload, "state"), f->state, sizeof f->state);
        break;
    case KIND_USAGE_REPORT:
        usage__take(h, n, s, m);
        break;
    case KIND_ACK:
        orders__take_ack(h, n, m);
        break;
    case KIND_DIRECTIVE_PROGRESS:
        orders__take_progress(h, n, m);
        break;
    case KIND_DIRECTIVE_RESULT:
        orders__take_result(h, n, m);
        break;
    case KIND_ERROR:
        take_error(n, f, m);
        break;
    default: /* of class B and C: nothing is made of it yet. Others are a node's alone */
        if (link_kind_class(m->kind) == LINK_CLASS_A)
            session__refuse(s, FAULT_NOT_ALLOWED, "this kind is not for leaves", m);
        break;
    }
}

/* --- telling -------------------------------------------------------------------------------------------------------------------------- */

bool leaves__has(const struct leaves *l, struct sv agent) {
    const struct leaf_of *f = find(l, agent);
    return f && is_connected(f);
}

static void put(struct buf *out, const char *name, const char *v) {
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, sv_of(v));
}

void leaves__print(const struct leaves *l, uint64_t now_ms, struct buf *out) {
    const char *comma = "";
    if (!l->n)
        return;
    buf_add(out, SV(",\"leaves\":["));
    LIST_FOR(it, &l->all) {
        const struct leaf_of *f = CONTAINER(it, struct leaf_of, all);
        buf_printf(out, "%s{\"agent_id\":\"%s\"", comma, f->agent);
        put(out, "name", f->name);
        put(out, "version", f->version);
        put(out, "presence", f->presence);
        put(out, "since", f->since);
        put(out, "peer", f->peer);
        put(out, "state", f->state);
        buf_printf(out, ",\"models\":%zu,\"silent_ms\":%llu}", f->n_models,
                   f->heard_ms ? (unsigned long long)(now_ms - f->heard_ms) : 0ull);
        comma = ",";
    }
    buf_add_char(out, ']');
}

void leaves__init(struct leaves *l) {
    list_init(&l->all);
    l->n = 0;
}

void leaves__deinit(struct leaves *l) {
    while (l->n)
        drop(l, CONTAINER(l->all.next, struct leaf_of, all));
}
