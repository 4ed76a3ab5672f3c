/* hub/leaf.c - feed: bytes -> WebSocket messages -> within the rate? -> a message by all the rules -> may this leaf say it? -> told.
 *
 * A leaf is trusted less than a node: it says nothing in another's name, and nothing that only nodes say. */
#include "hub/leaf.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rand.h"
#include "http/ws.h"

struct bucket { /* a rate with a burst */
    double level;
    uint64_t at_ms;
};
struct strikes { /* within windows of a minute */
    unsigned n;
    uint64_t since_ms;
};

struct leaf {
    const struct leaf_events *on;
    void *owner;
    struct ws ws;
    struct buf out, held;
    char agent[LINK_IDENT_MAX + 1]; /* empty: register_agent is awaited */
    struct sv site;
    bool ended, paused;
    struct bucket messages, bytes;
    struct strikes invalid, rated;
    unsigned n_binary, n_mismatch, n_state, n_late_pongs;
    uint64_t began_ms, heard_ms, ping_due_ms, pinged_ms;
    bool pong_due;
    uint64_t now_ms; /* of the call under way */
    struct leaf_facts facts;
};

/* --- the end -------------------------------------------------------------------------------------------------------------------------- */

static void end(struct leaf *f, unsigned code, struct sv why) {
    if (f->ended)
        return;
    f->ended = true;
    f->on->on_end(f->owner, code, why);
}

void leaf_close(struct leaf *f, unsigned code, struct sv why) {
    if (f->ended)
        return;
    bool said = ws_close(&f->ws, code, why, &f->out);
    end(f, said ? code : CLOSE_SILENT, why);
}

void leaf_cut(struct leaf *f, struct sv why) {
    buf_deinit(&f->out);
    end(f, CLOSE_SILENT, why);
}

/* --- saying --------------------------------------------------------------------------------------------------------------------------- */

static void say_text(struct leaf *f, struct sv text) {
    if (!f->ended && !ws_send(&f->ws, WS_TEXT, text, &f->out))
        leaf_cut(f, SV("it does not read what it is told, or memory is out"));
}

bool leaf_send(struct leaf *f, const struct envelope_head *from, struct sv payload) {
    struct envelope_head h = *from;
    struct buf text = BUF_MAX(ENGINE_TEXT_MAX);
    h.is_down = true;
    h.site_id = f->site;
    h.agent_id = sv_of(f->agent);
    envelope_print(&text, &h, payload);
    if (text.failed)
        leaf_cut(f, SV("memory is out"));
    else
        say_text(f, buf_sv(&text));
    buf_deinit(&text);
    return !f->ended;
}

void leaf_send_text(struct leaf *f, struct sv text) {
    say_text(f, text);
}

static void say_fault(struct leaf *f, enum link_fault code, const char *path, const char *text, struct sv re,
                      bool fatal, uint32_t retry_ms) {
    struct buf p = BUF_MAX(2048);
    buf_printf(&p, "{\"code\":\"%s\",\"message\":", link_fault_name(code));
    buf_add_json(&p, sv_of(text));
    buf_printf(&p, ",\"fatal\":%s", fatal ? "true" : "false");
    if (retry_ms)
        buf_printf(&p, ",\"retry_ms\":%u", retry_ms);
    if (path[0]) {
        buf_add(&p, SV(",\"path\":"));
        buf_add_json(&p, sv_of(path));
    }
    buf_add_char(&p, '}');
    if (!p.failed)
        leaf_send(f, &(struct envelope_head){ .kind = KIND_ERROR, .re = re }, buf_sv(&p));
    buf_deinit(&p);
}

void leaf_refuse(struct leaf *f, enum link_fault code, const char *text, struct sv re, uint32_t retry_ms) {
    say_fault(f, code, "", text, re, false, retry_ms);
}

/* --- what a leaf may say -------------------------------------------------------------------------------------------------------------- */

static bool take_from(struct bucket *b, double per_s, double burst, double n, uint64_t now_ms) {
    b->level += (double)(now_ms - b->at_ms) * per_s / 1000;
    b->at_ms = now_ms;
    b->level = b->level > burst ? burst : b->level;
    if (b->level < n)
        return false;
    b->level -= n;
    return true;
}

static bool strike(struct strikes *s, unsigned most, uint64_t now_ms) {
    if (now_ms - s->since_ms >= 60000)
        *s = (struct strikes){ 0, now_ms };
    return ++s->n >= most;
}

static bool is_in_rate(struct leaf *f, struct sv text) {
    bool few = take_from(&f->messages, LEAF_PER_S, LEAF_BURST, 1, f->now_ms);
    bool small = take_from(&f->bytes, LEAF_BYTES_PER_S, LEAF_BYTES_BURST, (double)text.n, f->now_ms);
    if (few && small)
        return true;
    bool last = strike(&f->rated, LEAF_RATED_MAX, f->now_ms);
    say_fault(f, FAULT_RATE_LIMITED, "", "more than 20 messages or 256 KiB a second: this one was not taken", SV_NULL,
              last, few ? 1000 : 100);
    if (last)
        leaf_close(f, CLOSE_RATE, SV("more messages than a node takes of a leaf"));
    return false;
}

static void refuse_invalid(struct leaf *f, const struct envelope_fault *why) {
    bool last = strike(&f->invalid, ENGINE_INVALID_MAX, f->now_ms);
    f->facts.n_invalid++;
    say_fault(f, why->code, why->path, why->text, sv_of(why->re), last, 0);
    if (last)
        leaf_close(f, WS_POLICY, SV("too many invalid messages"));
}

static void refuse_as_invalid(struct leaf *f, const struct envelope *m, enum link_fault code, const char *path,
                              const char *text) {
    struct envelope_fault why = { .code = code };
    snprintf(why.path, sizeof why.path, "%s", path);
    snprintf(why.text, sizeof why.text, "%s", text);
    snprintf(why.re, sizeof why.re, "%.*s", SV_FMT(m->msg_id));
    refuse_invalid(f, &why);
}

/* The kinds of docs/protocol.md, "Leaf relay", on their way up. */
static bool is_for_leaves(enum link_kind k) {
    switch (k) {
    case KIND_REGISTER:
    case KIND_HEARTBEAT:
    case KIND_METRICS:
    case KIND_OFFER_CAPACITY:
    case KIND_RESOURCE_PROFILES:
    case KIND_MODEL_CAPACITY:
    case KIND_USAGE_REPORT:
    case KIND_DIRECTIVE_PROGRESS:
    case KIND_DIRECTIVE_RESULT:
    case KIND_ACK:
    case KIND_ERROR:
        return true;
    default:
        return false;
    }
}

static void refuse_name(struct leaf *f, const struct envelope *m) {
    bool last = ++f->n_mismatch >= LEAF_MISMATCH_MAX;
    f->facts.n_invalid++;
    say_fault(f, FAULT_AGENT, "/agent_id", "a socket is one agent's: it cannot change its name", m->msg_id, last, 0);
    if (last)
        leaf_close(f, WS_POLICY, SV("messages in the name of another agent"));
}

static void refuse_early(struct leaf *f, const struct envelope *m) {
    bool last = ++f->n_state >= LEAF_STATE_MAX;
    f->facts.n_invalid++;
    say_fault(f, FAULT_WRONG_STATE, "/kind", "the first message must be register_agent", m->msg_id, last, 0);
    if (last)
        leaf_close(f, CLOSE_PROTOCOL, SV("messages before register_agent"));
}

/* False: it was not let in, and the socket is closed. */
static bool join(struct leaf *f, const struct envelope *m) {
    enum link_fault no = f->on->on_join(f->owner, m->agent_id);
    const char *why = no == FAULT_DUPLICATE_AGENT ? "another agent of this name is connected"
                      : no == FAULT_IDENTITY      ? "that is the name of the node itself"
                      : no == FAULT_BUSY          ? "this node keeps as many agents as it can"
                                                  : "not now";
    if (f->ended)
        return false;
    if (no == FAULT_NONE)
        return sv_to_cstr(m->agent_id, f->agent, sizeof f->agent);
    say_fault(f, no, "/agent_id", why, m->msg_id, true, 60000);
    leaf_close(f,
               no == FAULT_DUPLICATE_AGENT ? CLOSE_REPLACED
               : no == FAULT_IDENTITY      ? CLOSE_IDENTITY
                                           : CLOSE_REFUSED,
               sv_of(why));
    return false;
}

static void take_message(struct leaf *f, struct envelope *m) {
    struct sv named = m->kind == KIND_REGISTER ? json_str(m->payload, "agent_id") : SV_NULL;
    if (!is_for_leaves(m->kind))
        refuse_as_invalid(f, m, FAULT_NOT_ALLOWED, "/kind", "this kind is not for leaves");
    else if (!m->agent_id.n)
        refuse_as_invalid(f, m, FAULT_INVALID_ENVELOPE, "/agent_id", "a leaf says who it is in each message");
    else if (!f->agent[0] && m->kind != KIND_REGISTER)
        refuse_early(f, m);
    else if ((f->agent[0] && !sv_eq(m->agent_id, sv_of(f->agent))) || (named.n && !sv_eq(named, m->agent_id)))
        refuse_name(f, m);
    else if (f->agent[0] || join(f, m)) {
        f->facts.n_sites += m->site_id.n && !sv_eq(m->site_id, f->site);
        f->on->on_message(f->owner, m);
    }
}

static bool is_looping(const struct leaf *f, const struct envelope *m) {
    yyjson_val *v;
    size_t i, n;
    if (!m->via)
        return false;
    yyjson_arr_foreach(m->via, i, n, v) if (sv_eq(json_sv(v), f->site)) return true;
    return yyjson_arr_size(m->via) >= LINK_VIA_MAX; /* with us it were one too many */
}

static void take_text(struct leaf *f, struct sv text) {
    struct envelope m;
    struct envelope_fault why;
    f->facts.n_messages++;
    if (!is_in_rate(f, text))
        return;
    if (!envelope_read(text, false, false, &m, &why)) {
        refuse_invalid(f, &why);
        return;
    }
    if (is_looping(f, &m))
        refuse_as_invalid(f, &m, FAULT_RELAY_LOOP, "/via", "it came through this node before, or through too many");
    else
        take_message(f, &m);
    envelope_free(&m);
}

static void take_binary(struct leaf *f) {
    bool last = ++f->n_binary >= LEAF_BINARY_MAX;
    say_fault(f, FAULT_BINARY, "", "leaves have no streams: text messages only", SV_NULL, last, 0);
    if (last)
        leaf_close(f, CLOSE_DATA_TYPE, SV("binary messages"));
}

static void take_pong(struct leaf *f) {
    uint64_t sent_ms;
    if (f->ws.data.n != sizeof sent_ms)
        return;
    memcpy(&sent_ms, f->ws.data.p, sizeof sent_ms);
    if (!f->pong_due || sent_ms != f->pinged_ms)
        return;
    f->pong_due = false;
    f->n_late_pongs = 0;
}

static void feed(struct leaf *f, struct sv *bytes) {
    while (!f->ended && !f->paused) {
        switch (ws_feed(&f->ws, bytes, f->now_ms, &f->out)) {
        case WS_MORE:
            return;
        case WS_TEXT:
            take_text(f, f->ws.data);
            break;
        case WS_BINARY:
            take_binary(f);
            break;
        case WS_PONG:
            take_pong(f);
            break;
        case WS_CLOSED:
            end(f, f->ws.code, f->ws.data);
            return;
        case WS_FAILED:
            end(f, f->ws.code, sv_of(f->ws.err.text));
            return;
        }
    }
}

void leaf_feed(struct leaf *f, struct sv bytes, uint64_t now_ms) {
    f->now_ms = now_ms;
    f->heard_ms = now_ms;
    feed(f, &bytes);
    if (!f->ended && f->paused && !buf_add(&f->held, bytes))
        leaf_cut(f, SV("more input than is held while nothing is read"));
}

void leaf_pause(struct leaf *f, bool on, uint64_t now_ms) {
    struct buf held = f->held;
    struct sv left = buf_sv(&held);
    f->now_ms = now_ms;
    f->paused = on;
    if (on || f->ended)
        return;
    f->heard_ms = now_ms;
    f->pong_due = false; /* what it answered meanwhile was not read */
    f->ping_due_ms = now_ms;
    buf_init(&f->held, LEAF_HELD_MAX);
    feed(f, &left);
    if (!f->ended && f->paused && !buf_add(&f->held, left))
        leaf_cut(f, SV("memory is out"));
    buf_deinit(&held);
}

/* --- time ----------------------------------------------------------------------------------------------------------------------------- */

static void ping(struct leaf *f) {
    f->pinged_ms = f->now_ms;
    f->pong_due = true;
    f->ping_due_ms = f->now_ms + ENGINE_PING_MS * 9 / 10 + rand_below(ENGINE_PING_MS / 5);
    (void)ws_ping(&f->ws, (struct sv){ (const char *)&f->pinged_ms, sizeof f->pinged_ms }, &f->out);
}

void leaf_tick(struct leaf *f, uint64_t now_ms) {
    f->now_ms = now_ms;
    if (f->ended || f->paused)
        return;
    if (now_ms - f->heard_ms >= ENGINE_READ_MS) {
        leaf_cut(f, SV("nothing was heard for 60 s"));
        return;
    }
    if (!f->agent[0] && now_ms - f->began_ms >= ENGINE_REGISTER_MS) {
        leaf_close(f, CLOSE_HANDSHAKE, SV("no register_agent within 10 s"));
        return;
    }
    if (f->pong_due && now_ms - f->pinged_ms >= ENGINE_PONG_MS) {
        f->pong_due = false;
        if (++f->n_late_pongs >= 3) {
            leaf_close(f, CLOSE_TRY_LATER, SV("three pings were not answered"));
            return;
        }
    }
    if (now_ms >= f->ping_due_ms && !f->pong_due)
        ping(f);
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

struct buf *leaf_output(struct leaf *f) {
    return &f->out;
}
struct sv leaf_agent(const struct leaf *f) {
    return sv_of(f->agent);
}
bool leaf_has_ended(const struct leaf *f) {
    return f->ended;
}
uint64_t leaf_heard_ms(const struct leaf *f) {
    return f->heard_ms;
}
void leaf_facts(const struct leaf *f, struct leaf_facts *ret) {
    *ret = f->facts;
}

void leaf_site(struct leaf *f, struct sv site) {
    f->site = site;
}

struct leaf *leaf_new(const struct leaf_events *on, void *owner, uint64_t now_ms) {
    const struct ws_limits limits = { 1 << 20, 1 << 20, 64, 20, ENGINE_TEXT_MAX };
    struct leaf *f = mem_new(sizeof *f);
    if (!f)
        return NULL;
    *f = (struct leaf){ .on = on, .owner = owner, .now_ms = now_ms, .began_ms = now_ms, .heard_ms = now_ms };
    f->messages = (struct bucket){ LEAF_BURST, now_ms };
    f->bytes = (struct bucket){ LEAF_BYTES_BURST, now_ms };
    f->ping_due_ms = now_ms + ENGINE_PING_MS * 9 / 10;
    buf_init(&f->out, LEAF_OUT_MAX);
    buf_init(&f->held, LEAF_HELD_MAX);
    if (ws_init(&f->ws, WS_SERVER, &limits))
        return f;
    mem_free(f);
    return NULL;
}

void leaf_free(struct leaf *f) {
    if (!f)
        return;
    ws_deinit(&f->ws);
    buf_deinit(&f->out);
    buf_deinit(&f->held);
    mem_free(f);
}
