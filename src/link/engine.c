/* link/engine.c - feed: bytes -> WebSocket messages -> a control message (checked, then told) or a frame (for the multiplexer).
 *
 * The n-th control message has the number n, whether it could be read or not: so a gap is seen even after one that was no JSON. */
#include "link/engine.h"

#include "base/mem.h"
#include "base/rand.h"
#include "http/ws.h"

struct bucket { /* a rate with a burst */
    double level;
    uint64_t at_ms;
};

struct engine {
    struct engine_spec spec;
    const struct engine_events *on;
    void *owner;
    bool ended;
    enum link_phase phase;   /* what may come from the peer */
    bool up_told;
    struct ws ws;
    struct mux *mux;
    struct buf out;
    uint64_t seq_in, seq_out;
    uint64_t phase_ms, heard_ms, ping_due_ms, pinged_ms;
    bool pong_due;
    unsigned n_late_pongs, n_wrong_state, n_invalid, n_rated;
    uint64_t invalid_since_ms, rated_since_ms;
    struct bucket messages, bytes, opens;
    uint64_t rtt_us, bytes_in, bytes_out, n_messages, n_invalid_all;
    uint64_t now_ms;         /* of the call under way */
};

/* --- the end ---------------------------------------------------------------------------------------------------------------------------- */

static void end(struct engine *g, unsigned code, struct sv why) {
    if (g->ended)
        return;
    g->ended = true;
    mux_lost(g->mux);
    g->on->on_end(g->owner, code, why);
}

void engine_close(struct engine *g, unsigned code, struct sv why) {
    if (g->ended)
        return;
    bool said = ws_close(&g->ws, code, why, &g->out);
    end(g, said ? code : CLOSE_SILENT, why);
}

void engine_cut(struct engine *g, struct sv why) {
    buf_deinit(&g->out);
    end(g, CLOSE_SILENT, why);
}

/* --- sending ---------------------------------------------------------------------------------------------------------------------------- */

static void set_phase(struct engine *g, enum link_phase to) {
    g->phase = to;
    g->phase_ms = g->now_ms;
    if (to == PHASE_UP && !g->up_told) {
        g->up_told = true;
        g->on->on_up(g->owner);
    }
}

/* What was said moves the handshake as much as what was heard. */
static void follow_sent(struct engine *g, enum link_kind k, bool accepted) {
    if (k == KIND_HELLO)
        set_phase(g, PHASE_WELCOME);
    else if (k == KIND_WELCOME)
        set_phase(g, PHASE_REGISTER);
    else if (k == KIND_REGISTER && g->phase != PHASE_UP)
        set_phase(g, PHASE_CONFIRM);
    else if (k == KIND_REGISTERED && accepted)
        set_phase(g, PHASE_UP);
}

bool engine_send_as(struct engine *g, const struct envelope_head *from, struct sv payload) {
    struct envelope_head h = *from;
    struct buf text = BUF_MAX(ENGINE_TEXT_MAX);
    if (g->ended || g->spec.is_lane)
        return false;
    h.is_down = g->spec.is_hub;
    h.seq = g->seq_out + 1;
    if (!h.site_id.n)
        h.site_id = g->spec.site;
    envelope_print(&text, &h, payload);
    bool ok = !text.failed && ws_send(&g->ws, WS_TEXT, buf_sv(&text), &g->out);
    buf_deinit(&text);
    if (!ok)
        return false;
    g->seq_out++;
    follow_sent(g, h.kind, sv_find(payload, SV("\"accepted\":true")) >= 0);
    return true;
}

bool engine_send(struct engine *g, enum link_kind k, struct sv payload, struct sv re) {
    return engine_send_as(g, &(struct envelope_head){ .kind = k, .re = re }, payload);
}

static void say_fault(struct engine *g, enum link_fault code, const char *path, const char *text, const char *re, bool fatal, uint32_t retry_ms) {
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
        engine_send(g, KIND_ERROR, buf_sv(&p), sv_of(re)); /* no room: the close that follows says it */
    buf_deinit(&p);
}

static bool frame_sink(void *arg, struct sv head, struct sv meta, struct sv data) {
    struct engine *g = arg;
    const struct sv pieces[] = { head, meta, data };
    return ws_send_pieces(&g->ws, pieces, 3, &g->out);
}

bool engine_fill(struct engine *g, size_t budget, struct buf *out) {
    bool more = false;
    if (!g->ended && g->out.n < budget)
        more = mux_take(g->mux, budget - g->out.n, frame_sink, g);
    if (buf_add(out, buf_sv(&g->out))) {
        g->bytes_out += g->out.n;
        buf_reset(&g->out);
        buf_trim(&g->out);
    }
    return more || g->out.n;
}

bool engine_has_output(const struct engine *g) {
    return g->out.n || (!g->ended && mux_has_output(g->mux));
}

/* --- receiving -------------------------------------------------------------------------------------------------------------------------- */

static bool take_from(struct bucket *b, double per_s, double burst, double n, uint64_t now_ms) {
    b->level += (double)(now_ms - b->at_ms) * per_s / 1000;
    b->at_ms = now_ms;
    b->level = b->level > burst ? burst : b->level;
    if (b->level < n)
        return false;
    b->level -= n;
    return true;
}

/* Counts within windows of a minute. */
static bool too_many(unsigned *n, uint64_t *since_ms, unsigned most, uint64_t now_ms) {
    if (now_ms - *since_ms >= 60000) {
        *since_ms = now_ms;
        *n = 0;
    }
    return ++*n >= most;
}

static void refuse_message(struct engine *g, const struct envelope_fault *f) {
    bool last = too_many(&g->n_invalid, &g->invalid_since_ms, ENGINE_INVALID_MAX, g->now_ms);
    g->n_invalid_all++;
    say_fault(g, f->code, f->path, f->text, f->re, last, 0);
    if (last)
        engine_close(g, WS_POLICY, SV("too many invalid messages"));
}

static bool is_in_rate(struct engine *g, struct sv text) {
    bool few = take_from(&g->messages, ENGINE_CONTROL_PER_S, ENGINE_CONTROL_BURST, 1, g->now_ms);
    bool small = take_from(&g->bytes, ENGINE_CONTROL_BYTES_PER_S, ENGINE_CONTROL_BYTES_PER_S, (double)text.n, g->now_ms);
    if (few && small)
        return true;
    bool last = too_many(&g->n_rated, &g->rated_since_ms, 3, g->now_ms);
    say_fault(g, FAULT_RATE_LIMITED, "", "more control messages than the link takes", "", last, 1000);
    if (last)
        engine_close(g, CLOSE_RATE, SV("more control messages than the link takes"));
    return false;
}

/* What comes next waits for our answer: until it has gone only errors may come. */
static void follow_heard(struct engine *g, enum link_kind k) {
    if (k == KIND_HELLO || k == KIND_WELCOME || (k == KIND_REGISTER && g->phase == PHASE_REGISTER))
        g->phase = 0;
}

static void take_control(struct engine *g, struct envelope *m) {
    unsigned phases = link_kind_phases(m->kind);
    if (phases != PHASE_ANY && !(phases & g->phase)) {
        bool last = ++g->n_wrong_state >= 3;
        char re[ENVELOPE_ID];
        g->n_invalid_all++;
        say_fault(g, FAULT_WRONG_STATE, "/kind", "this kind may not come in this state of the link", sv_to_cstr(m->msg_id, re, sizeof re) ? re : "", last, 0);
        if (last)
            engine_close(g, CLOSE_PROTOCOL, SV("messages in the wrong state"));
        return;
    }
    bool confirmed = m->kind == KIND_REGISTERED && json_bool(m->payload, "accepted", false);
    follow_heard(g, m->kind);
    g->on->on_control(g->owner, m); /* may take the document */
    if (confirmed && !g->ended)
        set_phase(g, PHASE_UP);
}

static void take_text(struct engine *g, struct sv text) {
    struct envelope m;
    struct envelope_fault f;
    g->n_messages++;
    g->seq_in++;
    if (g->spec.is_lane) {
        engine_close(g, CLOSE_PROTOCOL, SV("control messages go on the first lane"));
        return;
    }
    if (!is_in_rate(g, text))
        return;
    if (!envelope_read(text, !g->spec.is_hub, true, &m, &f)) {
        refuse_message(g, &f);
        return;
    }
    if (m.seq != g->seq_in)
        engine_close(g, CLOSE_PROTOCOL, SV("the number of a message (seq) was skipped or repeated"));
    else
        take_control(g, &m);
    envelope_free(&m);
}

/* A hub opens a stream per request, as fast as they come: how many at one time is what bounds it (max_streams). A node has little to ask. */
static bool may_open(struct engine *g) {
    return !g->spec.is_hub || take_from(&g->opens, ENGINE_OPENS_PER_S, ENGINE_OPENS_BURST, 1, g->now_ms);
}

static void take_binary(struct engine *g, struct sv message) {
    unsigned code;
    const char *why;
    if (g->phase != PHASE_UP)
        engine_close(g, CLOSE_PROTOCOL, SV("a stream before the link was up"));
    else if (message.n && message.p[0] == FRAME_OPEN && !may_open(g))
        engine_close(g, CLOSE_RATE, SV("more new streams than the link takes"));
    else if (!mux_feed(g->mux, message, g->now_ms, &code, &why))
        engine_close(g, code, sv_of(why));
}

static void take_pong(struct engine *g, struct sv stamp) {
    uint64_t sent_ms;
    if (stamp.n != sizeof sent_ms)
        return;
    memcpy(&sent_ms, stamp.p, sizeof sent_ms);
    if (!g->pong_due || sent_ms != g->pinged_ms)
        return;
    uint64_t us = (g->now_ms - sent_ms) * 1000;
    g->rtt_us = g->rtt_us ? (g->rtt_us * 7 + us) / 8 : us;
    g->pong_due = false;
    g->n_late_pongs = 0;
}

void engine_feed(struct engine *g, struct sv bytes, uint64_t now_ms) {
    g->now_ms = now_ms;
    g->heard_ms = now_ms;
    g->bytes_in += bytes.n;
    while (!g->ended) {
        switch (ws_feed(&g->ws, &bytes, now_ms, &g->out)) {
        case WS_MORE:
            return;
        case WS_TEXT:
            take_text(g, g->ws.data);
            break;
        case WS_BINARY:
            take_binary(g, g->ws.data);
            break;
        case WS_PONG:
            take_pong(g, g->ws.data);
            break;
        case WS_CLOSED:
            end(g, g->ws.code, g->ws.data);
            return;
        case WS_FAILED:
            end(g, g->ws.code, sv_of(g->ws.err.text));
            return;
        }
    }
}

/* --- time ------------------------------------------------------------------------------------------------------------------------------- */

static void ping(struct engine *g) {
    g->pinged_ms = g->now_ms;
    g->pong_due = true;
    g->ping_due_ms = g->now_ms + ENGINE_PING_MS * 9 / 10 + rand_below(ENGINE_PING_MS / 5);
    (void)ws_ping(&g->ws, (struct sv){ (const char *)&g->pinged_ms, sizeof g->pinged_ms }, &g->out);
}

static bool is_late(const struct engine *g) {
    uint64_t limit = g->phase == PHASE_HELLO || g->phase == PHASE_WELCOME ? ENGINE_HELLO_MS : ENGINE_REGISTER_MS;
    return g->phase != PHASE_UP && g->now_ms - g->phase_ms >= limit;
}

void engine_tick(struct engine *g, uint64_t now_ms) {
    g->now_ms = now_ms;
    if (g->ended)
        return;
    if (now_ms - g->heard_ms >= ENGINE_READ_MS) {
        engine_cut(g, SV("nothing was heard for 60 s"));
        return;
    }
    if (is_late(g)) {
        engine_close(g, CLOSE_HANDSHAKE, SV("the handshake took too long"));
        return;
    }
    if (g->pong_due && now_ms - g->pinged_ms >= ENGINE_PONG_MS) {
        g->pong_due = false;
        if (++g->n_late_pongs >= 3) {
            engine_close(g, CLOSE_TRY_LATER, SV("three pings were not answered"));
            return;
        }
    }
    if (now_ms >= g->ping_due_ms && !g->pong_due)
        ping(g);
    mux_tick(g->mux, now_ms, g->rtt_us);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------------- */

bool engine_is_up(const struct engine *g) {
    return !g->ended && g->phase == PHASE_UP;
}

bool engine_has_ended(const struct engine *g) {
    return g->ended;
}

struct mux *engine_mux(struct engine *g) {
    return g->mux;
}

static uint32_t read_limit(yyjson_val *limits, const char *name, uint32_t otherwise) {
    int64_t v = json_i64(limits, name, otherwise);
    return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

struct mux_limits link_limits_read(yyjson_val *limits, struct mux_limits otherwise) {
    return (struct mux_limits){ read_limit(limits, "max_streams", otherwise.max_streams), read_limit(limits, "max_frame", otherwise.max_frame),
                                read_limit(limits, "stream_window", otherwise.stream_window), read_limit(limits, "link_window", otherwise.link_window) };
}

void engine_facts(const struct engine *g, struct engine_facts *ret) {
    mux_facts(g->mux, &ret->streams);
    ret->rtt_us = g->rtt_us;
    ret->bytes_in = g->bytes_in;
    ret->bytes_out = g->bytes_out;
    ret->n_messages = g->n_messages;
    ret->n_invalid = g->n_invalid_all;
}

struct engine *engine_new(const struct engine_spec *spec, const struct engine_events *on, void *owner, uint64_t now_ms) {
    const struct ws_limits limits = { 1 << 20, 1 << 20, 64, 20, ENGINE_TEXT_MAX };
    struct engine *g = mem_new(sizeof *g);
    if (!g)
        return NULL;
    *g = (struct engine){ .spec = *spec, .on = on, .owner = owner, .now_ms = now_ms, .phase_ms = now_ms, .heard_ms = now_ms };
    g->messages = (struct bucket){ ENGINE_CONTROL_BURST, now_ms };
    g->bytes = (struct bucket){ ENGINE_CONTROL_BYTES_PER_S, now_ms };
    g->opens = (struct bucket){ ENGINE_OPENS_BURST, now_ms };
    g->phase = spec->is_lane ? PHASE_UP : spec->is_hub ? PHASE_HELLO : 0;
    g->ping_due_ms = now_ms + 1000 + rand_below(1000); /* the first one early: it measures the round trip */
    buf_init(&g->out, ENGINE_OUT_MAX);
    g->mux = mux_new(spec->is_hub, &spec->limits, &on->streams, owner);
    if (!g->mux || !ws_init(&g->ws, spec->is_client ? WS_CLIENT : WS_SERVER, &limits)) {
        mux_free(g->mux);
        mem_free(g);
        return NULL;
    }
    return g;
}

void engine_free(struct engine *g) {
    if (!g)
        return;
    g->ended = true;
    mux_free(g->mux);
    ws_deinit(&g->ws);
    buf_deinit(&g->out);
    mem_free(g);
}
