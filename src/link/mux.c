/* link/mux.c - feed: frame -> (stream) -> event; take: urgent frames, then data by class, one frame per stream and turn.
 *
 * Credit is counted twice, per stream and per link. What came for a stream that is gone still counts on the link's account and is given back
 * at once: forgetting it would leak the link's window until everything stands still. Ids that were used are remembered as one number per side. */
#include "link/mux.h"

#include <assert.h>

#include "base/mem.h"
#include "io/stream.h"

enum {
    CLOSE_PROTOCOL = 4002,
    CLOSE_FLOW = 4009,
    CLOSE_FLOOD = 4011,
    RESETS_PER_S = 200, /* of streams that had not ended, for two seconds in a row */
};
static const unsigned weights[PRIORITIES] = { 8, 4, 1 };

struct window {
    uint32_t size;   /* as granted; grows */
    int64_t room;    /* what the peer may still send */
    uint64_t unused; /* consumed and not given back yet */
    uint64_t spent;  /* consumed since... */
    uint64_t since_ms;
};

struct mux_stream {
    struct list ready;   /* in mux.ready while it has something that may be sent */
    struct list all;
    struct list opening; /* in mux.opening until its OPEN went: numbers must rise on the wire, whatever the class */
    struct mux *mux;
    void *user;
    uint32_t id;
    struct mux_open open; /* meta is owned until the OPEN went */
    bool open_due;       /* the OPEN has not gone yet */
    bool is_ours;
    bool fin_due, fin_sent, fin_got;
    bool gone;           /* reset, or lost: nothing more happens */
    bool orphan;         /* released, but what was written is still to go */
    bool wants_drain;
    uint64_t deadline_ms; /* 0: none */
    int64_t credit;      /* what we may send */
    struct buf out;
    struct window in;
    uint64_t buffered;   /* came, not consumed */
    uint64_t consumed_ms; /* when something was consumed last, or the first byte came */
};

struct mux {
    bool is_hub, is_lost, goaway_sent, goaway_got;
    struct mux_limits ours, theirs;
    const struct mux_events *on;
    void *owner;
    struct map by_id;
    struct list streams, opening, ready[PRIORITIES];
    unsigned turns[PRIORITIES];
    uint32_t next_id, peer_top;
    unsigned n_ours, n_theirs;
    int64_t credit;      /* what we may send on the link */
    struct window in;
    uint64_t buffered;
    struct buf urgent;   /* a length byte (of two), then a frame */
    uint64_t rtt_us;
    uint64_t second_ms;  /* the second in which resets are counted */
    unsigned n_resets_now, n_bad_seconds;
    uint64_t sent, received, n_opened, n_resets;
    const char *why;
};

#define X(id, text) [id] = text,
static const char *const reset_names[] = { RESET_TABLE(X) };
#undef X
const char *reset_name(uint32_t code) {
    return code < RESET_CODES ? reset_names[code] : reset_names[RESET_INTERNAL];
}

static uint32_t clamp(uint32_t v, uint32_t least, uint32_t most) {
    return v < least ? least : v > most ? most : v;
}

void mux_clamp(struct mux_limits *l) {
    l->max_streams = clamp(l->max_streams, 1, 4096);
    l->max_frame = clamp(l->max_frame, 1 << 10, 256 << 10);
    l->stream_window = clamp(l->stream_window, 1 << 10, 1 << 20);
    l->link_window = clamp(l->link_window, 64 << 10, 16 << 20);
}

static struct sv id_key(const uint32_t *id) {
    return (struct sv){ (const char *)id, sizeof *id };
}

static struct mux_stream *find(struct mux *m, uint32_t id) {
    return map_get(&m->by_id, id_key(&id));
}

/* --- credits, resets and goodbyes: small and first -------------------------------------------------------------------------------------- */

static void put_urgent(struct mux *m, const struct frame *f) {
    uint8_t bytes[2 + FRAME_FIXED_MAX];
    size_t n = frame_head(f, bytes + 2);
    bytes[0] = (uint8_t)(n >> 8);
    bytes[1] = (uint8_t)n;
    if (!m->is_lost)
        buf_add(&m->urgent, (struct sv){ (char *)bytes, n + 2 }); /* failed: the next mux_feed ends the link */
}

static void put_reset(struct mux *m, uint32_t id, enum reset_code code, struct sv reason) {
    assert(code != RESET_LINK_LOST);
    put_urgent(m, &(struct frame){ .type = FRAME_RESET, .id = id, .code = code, .reason = reason });
}

/* A full window within two round trips: the window is what holds the peer back. */
static uint32_t grow(struct window *w, uint32_t most, uint64_t now_ms, uint64_t rtt_us) {
    if (w->spent < w->size)
        return 0;
    bool fast = (now_ms - w->since_ms) * 1000 <= 2 * rtt_us;
    uint32_t more = fast && w->size < most ? (w->size < most - w->size ? w->size : most - w->size) : 0;
    w->spent = 0;
    w->since_ms = now_ms;
    w->size += more;
    return more;
}

/* In parts of half a stream's window. Of the link's an eighth: unread streams may hold up to three quarters of it for a while (find_due),
 * and who waits for the rest must not also wait for what was kept back here. */
static void give_back(struct mux *m, struct window *w, uint32_t id, uint32_t most, uint64_t n, uint64_t now_ms) {
    w->unused += n;
    w->spent += n;
    w->unused += grow(w, most, now_ms, m->rtt_us);
    if (w->unused * (id ? 2 : 8) < w->size)
        return;
    put_urgent(m, &(struct frame){ .type = FRAME_CREDIT, .id = id, .credit = (uint32_t)w->unused });
    w->room += (int64_t)w->unused;
    w->unused = 0;
}

static void link_consumed(struct mux *m, uint64_t n, uint64_t now_ms) {
    give_back(m, &m->in, 0, MUX_LINK_WINDOW_MAX, n, now_ms);
}

/* --- streams ---------------------------------------------------------------------------------------------------------------------------- */

static unsigned class_of(const struct mux_stream *s) {
    return s->open.priority < PRIORITIES ? s->open.priority : PRIORITY_BULK;
}

static bool may_send(const struct mux_stream *s) {
    if (s->gone || s->fin_sent)
        return false;
    return s->open_due || (s->out.n ? s->credit > 0 : s->fin_due);
}

static void look_ready(struct mux_stream *s) {
    if (may_send(s) && list_empty(&s->ready))
        list_push_back(&s->mux->ready[class_of(s)], &s->ready);
}

/* It counts no more, and frames for it are late ones. */
static void detach(struct mux_stream *s) {
    struct mux *m = s->mux;
    if (find(m, s->id) != s)
        return;
    (void)map_del(&m->by_id, id_key(&s->id));
    *(s->is_ours ? &m->n_ours : &m->n_theirs) -= 1;
    list_drop(&s->ready);
    list_drop(&s->opening);
}

static void stream_free(struct mux_stream *s) {
    detach(s);
    list_drop(&s->all);
    buf_deinit(&s->out);
    mem_free((void *)s->open.meta.p);
    mem_free(s);
}

static struct mux_stream *stream_new(struct mux *m, uint32_t id, bool is_ours, const struct mux_open *o, uint64_t now_ms) {
    struct mux_stream *s = mem_new(sizeof *s);
    if (!s)
        return NULL;
    *s = (struct mux_stream){ .mux = m, .id = id, .is_ours = is_ours, .open = *o, .credit = m->theirs.stream_window, .consumed_ms = now_ms };
    s->in = (struct window){ .size = m->ours.stream_window, .room = m->ours.stream_window, .since_ms = now_ms };
    s->open.meta = SV_NULL;
    s->deadline_ms = o->deadline_ms ? now_ms + o->deadline_ms : 0;
    buf_init(&s->out, MUX_OUT_MAX);
    list_init(&s->ready);
    list_init(&s->all);
    list_init(&s->opening);
    if (is_ours && o->meta.n && !(s->open.meta.p = mem_copy(o->meta.p, o->meta.n))) {
        mem_free(s);
        return NULL;
    }
    s->open.meta.n = is_ours ? o->meta.n : 0;
    if (!map_put(&m->by_id, id_key(&s->id), s)) {
        mem_free((void *)s->open.meta.p);
        mem_free(s);
        return NULL;
    }
    list_push_back(&m->streams, &s->all);
    *(is_ours ? &m->n_ours : &m->n_theirs) += 1;
    m->n_opened++;
    return s;
}

/* What nobody will read any more is consumed as far as the link is concerned. */
static void forget_buffered(struct mux_stream *s, uint64_t now_ms) {
    struct mux *m = s->mux;
    m->buffered -= s->buffered;
    if (s->buffered && !m->is_lost)
        link_consumed(m, s->buffered, now_ms);
    s->buffered = 0;
}

static void die(struct mux_stream *s, uint64_t now_ms, uint32_t code, struct sv reason) {
    if (s->gone)
        return;
    s->gone = true;
    detach(s);
    forget_buffered(s, now_ms);
    buf_deinit(&s->out);
    if (s->user)
        s->mux->on->on_reset(s->user, code, reason); /* s may be gone */
    else
        stream_free(s);
}

static void end_stream(struct mux_stream *s, uint64_t now_ms, enum reset_code code, struct sv reason) {
    put_reset(s->mux, s->id, code, reason);
    die(s, now_ms, code, reason);
}

struct mux_stream *mux_open(struct mux *m, const struct mux_open *o, uint64_t now_ms, struct err *e) {
    assert(o->meta.n <= FRAME_META_MAX);
    if (m->is_lost || m->goaway_got || m->goaway_sent)
        return err_set(e, ERR_UNAVAILABLE, "the link is ending"), NULL;
    if (m->n_ours >= m->theirs.max_streams) {
        err_set(e, ERR_UNAVAILABLE, "the link carries %u streams already, which is what the other side takes", m->n_ours);
        return NULL;
    }
    if (m->next_id > FRAME_ID_MAX - 2) {
        mux_goaway(m, RESET_NO_ERROR, 0, SV("stream numbers are used up"));
        return err_set(e, ERR_UNAVAILABLE, "the link's stream numbers are used up"), NULL;
    }
    struct mux_stream *s = stream_new(m, m->next_id, true, o, now_ms);
    if (!s)
        return err_no_memory(e), NULL;
    m->next_id += 2;
    s->open_due = true;
    list_push_back(&m->opening, &s->opening);
    look_ready(s);
    return s;
}

void mux_own(struct mux_stream *s, void *user) {
    s->user = user;
}

uint32_t mux_id(const struct mux_stream *s) {
    return s->id;
}

bool mux_write(struct mux_stream *s, struct sv bytes) {
    if (s->gone || s->fin_due)
        return true;
    if (!buf_add(&s->out, bytes))
        return false;
    look_ready(s);
    return true;
}

size_t mux_queued(const struct mux_stream *s) {
    return s->out.n;
}

void mux_want_drain(struct mux_stream *s) {
    s->wants_drain = true;
}

void mux_finish(struct mux_stream *s) {
    s->fin_due = true;
    look_ready(s);
}

void mux_consumed(struct mux_stream *s, size_t n, uint64_t now_ms) {
    struct mux *m = s->mux;
    if (s->gone)
        return;
    assert(n <= s->buffered);
    s->buffered -= n;
    m->buffered -= n;
    s->consumed_ms = now_ms;
    if (!s->fin_got)
        give_back(m, &s->in, s->id, MUX_STREAM_WINDOW_MAX, n, now_ms);
    link_consumed(m, n, now_ms);
}

void mux_release(struct mux_stream *s, enum reset_code code, struct sv reason) {
    struct mux *m = s->mux;
    s->user = NULL;
    if (!s->gone && !m->is_lost && s->open_due) { /* the peer never heard of it, but ids must rise without its OPEN too: they may skip */
        s->gone = true;
    } else if (!s->gone && !m->is_lost && s->fin_got && !s->fin_due) {
        put_urgent(m, &(struct frame){ .type = FRAME_DATA, .id = s->id, .fin = true });
    } else if (!s->gone && !m->is_lost && s->fin_got && s->fin_due && !s->fin_sent) {
        forget_buffered(s, s->consumed_ms);
        s->orphan = true;
        return;
    } else if (!s->gone && !m->is_lost && !(s->fin_got && s->fin_sent)) {
        put_reset(m, s->id, code, reason);
    }
    forget_buffered(s, s->consumed_ms);
    stream_free(s);
}

void mux_goaway(struct mux *m, uint32_t code, uint32_t retry_ms, struct sv reason) {
    if (m->goaway_sent)
        return;
    m->goaway_sent = true;
    put_urgent(m, &(struct frame){ .type = FRAME_GOAWAY, .last_id = m->peer_top, .code = code, .retry_ms = retry_ms, .reason = reason });
}

/* --- frames in -------------------------------------------------------------------------------------------------------------------------- */

static unsigned bad(struct mux *m, unsigned code, const char *why) {
    m->why = why;
    return code;
}

static bool is_ours(const struct mux *m, uint32_t id) {
    return (id % 2 == 0) == m->is_hub;
}

static bool was_opened(const struct mux *m, uint32_t id) {
    return is_ours(m, id) ? id < m->next_id : id <= m->peer_top;
}

/* Takes n bytes off the link's window. False: the peer sends more than it may. */
static bool count_in(struct mux *m, size_t n) {
    m->in.room -= (int64_t)n;
    m->received += n;
    return m->in.room >= 0;
}

static unsigned take_data(struct mux *m, struct mux_stream *s, const struct frame *f, uint64_t now_ms) {
    uint32_t id = s->id;
    size_t n = f->data.n;
    if (s->fin_got || n > m->ours.max_frame || s->in.room < (int64_t)n) {
        link_consumed(m, n, now_ms);
        if (s->fin_got)
            end_stream(s, now_ms, RESET_PROTOCOL, SV("data after the end"));
        else if (n > m->ours.max_frame)
            end_stream(s, now_ms, RESET_PROTOCOL, SV("a frame larger than max_frame"));
        else
            end_stream(s, now_ms, RESET_FLOW_CONTROL, SV("more than the stream's window"));
        return 0;
    }
    if (!s->buffered)
        s->consumed_ms = now_ms;
    s->in.room -= (int64_t)n;
    s->buffered += n;
    m->buffered += n;
    if (n && s->user)
        m->on->on_data(s->user, f->data);
    if (!f->fin || (s = find(m, id)) == NULL)
        return 0;
    s->fin_got = true;
    if (s->fin_sent)
        detach(s);
    if (s->user)
        m->on->on_end(s->user);
    return 0;
}

static unsigned take_open(struct mux *m, const struct frame *f, bool well_made, uint64_t now_ms) {
    const struct mux_open o = { f->service, f->priority, f->deadline_ms, f->meta };
    if (is_ours(m, f->id))
        return bad(m, CLOSE_PROTOCOL, "a stream with our own numbers");
    if (f->id <= m->peer_top)
        return bad(m, CLOSE_PROTOCOL, "stream numbers must rise");
    m->peer_top = f->id;
    if (!count_in(m, f->data.n))
        return bad(m, CLOSE_FLOW, "more than the link's window");
    struct mux_stream *s = NULL;
    enum reset_code no = RESET_NO_ERROR;
    if (!well_made)
        no = RESET_PROTOCOL;
    else if (m->goaway_sent)
        no = RESET_DRAINING;
    else if (m->n_theirs >= m->ours.max_streams)
        no = RESET_BUSY;
    else if (!(s = stream_new(m, f->id, false, &o, now_ms)))
        no = RESET_INTERNAL;
    if (!s) {
        put_reset(m, f->id, no, SV_NULL);
        link_consumed(m, f->data.n, now_ms);
        return 0;
    }
    m->on->on_open(m->owner, s, &o);
    s = find(m, f->id);
    if (!s) { /* refused */
        link_consumed(m, f->data.n, now_ms);
        return 0;
    }
    assert(s->user);
    return f->data.n || f->fin ? take_data(m, s, f, now_ms) : 0;
}

static unsigned take_credit(struct mux *m, const struct frame *f) {
    if (f->credit == 0 || f->credit > MUX_CREDIT_MAX)
        return bad(m, CLOSE_FLOW, "a credit of nothing, or of more than there can be");
    if (f->id == 0) {
        if (m->credit > (int64_t)MUX_CREDIT_MAX - (int64_t)f->credit)
            return bad(m, CLOSE_FLOW, "the link's credit overflows");
        m->credit += f->credit;
        return 0;
    }
    struct mux_stream *s = find(m, f->id);
    if (!s)
        return was_opened(m, f->id) ? 0 : bad(m, CLOSE_PROTOCOL, "credit for a stream that never was");
    if (s->credit > (int64_t)MUX_CREDIT_MAX - (int64_t)f->credit)
        return bad(m, CLOSE_FLOW, "a stream's credit overflows");
    s->credit += f->credit;
    look_ready(s);
    return 0;
}

/* Streams that are opened and reset before we answered cost us work and the peer nothing: a second of too many is a burst, two are an
 * attack (as CVE-2023-44487 was for HTTP/2). */
static bool is_flood(struct mux *m, uint64_t now_ms) {
    if (now_ms - m->second_ms >= 1000) {
        m->n_bad_seconds = m->n_resets_now > RESETS_PER_S && now_ms - m->second_ms < 2000 ? m->n_bad_seconds + 1 : 0;
        m->second_ms = now_ms;
        m->n_resets_now = 0;
    }
    m->n_resets_now++;
    return m->n_bad_seconds >= 1 && m->n_resets_now > RESETS_PER_S;
}

static unsigned take_reset(struct mux *m, const struct frame *f, uint64_t now_ms) {
    struct mux_stream *s = find(m, f->id);
    if (!s && !was_opened(m, f->id))
        return bad(m, CLOSE_PROTOCOL, "a reset of a stream that never was");
    m->n_resets++;
    if (!s)
        return !is_ours(m, f->id) && is_flood(m, now_ms) ? bad(m, CLOSE_FLOOD, "too many streams opened and reset") : 0;
    bool costly = !s->is_ours && !s->fin_sent;
    die(s, now_ms, f->code < RESET_CODES && f->code != RESET_LINK_LOST ? f->code : RESET_INTERNAL, f->reason);
    return costly && is_flood(m, now_ms) ? bad(m, CLOSE_FLOOD, "too many streams opened and reset") : 0;
}

static unsigned take_goaway(struct mux *m, const struct frame *f, uint64_t now_ms) {
    m->goaway_got = true;
    for (struct list *it = m->streams.next, *next; it != &m->streams; it = next) {
        struct mux_stream *s = CONTAINER(it, struct mux_stream, all);
        next = it->next;
        if (s->is_ours && s->id > f->last_id && !s->gone) {
            die(s, now_ms, RESET_REFUSED_STREAM, f->reason);
            next = m->streams.next; /* its user may have ended others */
        }
    }
    m->on->on_goaway(m->owner, f->last_id, f->code, f->retry_ms, f->reason);
    return 0;
}

static unsigned take_frame(struct mux *m, struct sv message, uint64_t now_ms) {
    struct frame f;
    enum frame_result shape = frame_parse(message, &f);
    if (shape == FRAME_BAD)
        return bad(m, CLOSE_PROTOCOL, "not a frame of this protocol");
    if (f.type == FRAME_OPEN)
        return take_open(m, &f, shape == FRAME_OK, now_ms);
    if (f.type == FRAME_CREDIT)
        return take_credit(m, &f);
    if (f.type == FRAME_RESET)
        return take_reset(m, &f, now_ms);
    if (f.type == FRAME_GOAWAY)
        return take_goaway(m, &f, now_ms);
    struct mux_stream *s = find(m, f.id);
    if (!s && !was_opened(m, f.id))
        return bad(m, CLOSE_PROTOCOL, "data for a stream that never was");
    if (!count_in(m, f.data.n))
        return bad(m, CLOSE_FLOW, "more than the link's window");
    if (s)
        return take_data(m, s, &f, now_ms);
    link_consumed(m, f.data.n, now_ms); /* a late one */
    return 0;
}

bool mux_feed(struct mux *m, struct sv message, uint64_t now_ms, unsigned *ret_code, const char **ret_why) {
    unsigned code = take_frame(m, message, now_ms);
    if (!code && m->urgent.failed)
        code = bad(m, CLOSE_FLOOD, "too many streams refused");
    *ret_code = code;
    *ret_why = m->why;
    return code == 0;
}

/* --- frames out ------------------------------------------------------------------------------------------------------------------------- */

static bool take_urgent(struct mux *m, size_t *budget, mux_sink *sink, void *arg) {
    while (m->urgent.n && *budget) {
        const unsigned char *p = (const unsigned char *)m->urgent.p;
        size_t n = (size_t)p[0] << 8 | p[1];
        if (!sink(arg, (struct sv){ m->urgent.p + 2, n }, SV_NULL, SV_NULL))
            return false;
        buf_consume(&m->urgent, n + 2);
        *budget -= n < *budget ? n : *budget;
    }
    buf_trim(&m->urgent);
    return m->urgent.n == 0;
}

/* The class whose turn it is among those that have something; PRIORITIES: none has. */
static unsigned next_class(struct mux *m) {
    for (int again = 0; again < 2; again++) {
        for (unsigned c = 0; c < PRIORITIES; c++)
            if (!list_empty(&m->ready[c]) && m->turns[c]) {
                m->turns[c]--;
                return c;
            }
        memcpy(m->turns, weights, sizeof weights);
    }
    return PRIORITIES;
}

static bool send_one(struct mux_stream *s, size_t *budget, mux_sink *sink, void *arg) {
    struct mux *m = s->mux;
    uint8_t head[FRAME_FIXED_MAX];
    size_t n = s->out.n;
    n = (int64_t)n > s->credit ? (size_t)s->credit : n;
    n = (int64_t)n > m->credit ? (size_t)m->credit : n;
    n = n > m->theirs.max_frame ? m->theirs.max_frame : n;
    struct frame f = { .type = s->open_due ? FRAME_OPEN : FRAME_DATA, .id = s->id, .fin = s->fin_due && n == s->out.n, .service = s->open.service,
                       .priority = s->open.priority, .deadline_ms = s->open.deadline_ms, .meta = s->open.meta, .data = sv_first(buf_sv(&s->out), n) };
    if (!sink(arg, (struct sv){ (char *)head, frame_head(&f, head) }, s->open_due ? f.meta : SV_NULL, f.data))
        return false;
    if (s->open_due) {
        mem_free((void *)s->open.meta.p);
        s->open.meta = SV_NULL;
        s->open_due = false;
        list_drop(&s->opening);
    }
    s->fin_sent = f.fin;
    s->credit -= (int64_t)n;
    m->credit -= (int64_t)n;
    m->sent += n;
    buf_consume(&s->out, n);
    buf_trim(&s->out);
    *budget -= n + FRAME_HEAD < *budget ? n + FRAME_HEAD : *budget;
    return true;
}

static void tell_drained(struct mux_stream *s) {
    if (!s->wants_drain || s->out.n > STREAM_LOW || !s->user)
        return;
    s->wants_drain = false;
    s->mux->on->on_drain(s->user);
}

bool mux_take(struct mux *m, size_t budget, mux_sink *sink, void *arg) {
    if (m->is_lost || !take_urgent(m, &budget, sink, arg))
        return !m->is_lost && m->urgent.n;
    while (budget && m->credit > 0) {
        unsigned c = next_class(m);
        if (c == PRIORITIES)
            break;
        struct mux_stream *s = CONTAINER(m->ready[c].next, struct mux_stream, ready);
        if (s->open_due)
            s = CONTAINER(m->opening.next, struct mux_stream, opening);
        if (!send_one(s, &budget, sink, arg))
            return true;
        list_drop(&s->ready);
        look_ready(s);
        if (s->fin_sent && s->fin_got)
            detach(s);
        if (s->orphan && s->fin_sent)
            stream_free(s);
        else
            tell_drained(s);
    }
    return mux_has_output(m);
}

bool mux_has_output(const struct mux *m) {
    if (m->is_lost)
        return false;
    bool ready = false;
    for (unsigned c = 0; c < PRIORITIES; c++)
        ready = ready || !list_empty(&m->ready[c]);
    return m->urgent.n || (ready && m->credit > 0);
}

/* --- time ------------------------------------------------------------------------------------------------------------------------------- */

static bool has_stalled(const struct mux_stream *s, uint64_t now_ms, uint64_t for_ms) {
    return !s->gone && s->buffered && now_ms - s->consumed_ms >= for_ms;
}

static struct mux_stream *find_due(struct mux *m, uint64_t now_ms, enum reset_code *ret_code) {
    bool shed = m->buffered > (uint64_t)m->in.size / 4 * 3;
    struct mux_stream *fullest = NULL;
    LIST_FOR(it, &m->streams) {
        struct mux_stream *s = CONTAINER(it, struct mux_stream, all);
        bool late = !s->gone && s->deadline_ms && now_ms >= s->deadline_ms && !(s->fin_got && s->fin_sent);
        if (late || has_stalled(s, now_ms, MUX_STALLED_MS)) {
            *ret_code = late ? RESET_DEADLINE : RESET_STALLED;
            return s;
        }
        if (shed && has_stalled(s, now_ms, MUX_SHED_MS) && (!fullest || s->buffered > fullest->buffered))
            fullest = s;
    }
    *ret_code = RESET_STALLED;
    return fullest;
}

void mux_tick(struct mux *m, uint64_t now_ms, uint64_t rtt_us) {
    enum reset_code code;
    m->rtt_us = rtt_us;
    for (struct mux_stream *s; !m->is_lost && (s = find_due(m, now_ms, &code));)
        end_stream(s, now_ms, code, sv_of(reset_name(code)));
}

/* --- life ------------------------------------------------------------------------------------------------------------------------------- */

void mux_facts(const struct mux *m, struct mux_facts *ret) {
    *ret = (struct mux_facts){ m->n_ours + m->n_theirs, m->n_ours, m->n_theirs, m->buffered, m->sent, m->received, m->n_opened, m->n_resets };
}

void mux_peer_limits(struct mux *m, const struct mux_limits *theirs) {
    m->theirs = *theirs;
    mux_clamp(&m->theirs);
    m->credit = m->theirs.link_window;
}

struct mux *mux_new(bool is_hub, const struct mux_limits *ours, const struct mux_events *on, void *owner) {
    struct mux *m = mem_new(sizeof *m);
    if (!m)
        return NULL;
    *m = (struct mux){ .is_hub = is_hub, .ours = *ours, .on = on, .owner = owner, .next_id = is_hub ? 2 : 1 };
    mux_clamp(&m->ours);
    mux_peer_limits(m, is_hub ? &MUX_LIMITS_NODE : &MUX_LIMITS_HUB);
    m->in = (struct window){ .size = m->ours.link_window, .room = m->ours.link_window };
    map_init(&m->by_id);
    list_init(&m->streams);
    list_init(&m->opening);
    for (unsigned c = 0; c < PRIORITIES; c++)
        list_init(&m->ready[c]);
    buf_init(&m->urgent, MUX_URGENT_MAX);
    return m;
}

void mux_lost(struct mux *m) {
    m->is_lost = true;
    buf_deinit(&m->urgent);
    for (struct list *it = m->streams.next; it != &m->streams;) {
        struct mux_stream *s = CONTAINER(it, struct mux_stream, all);
        it = it->next;
        if (s->gone)
            continue;
        die(s, 0, RESET_LINK_LOST, SV("the link is gone"));
        it = m->streams.next; /* its user may have ended others */
    }
}

void mux_free(struct mux *m) {
    if (!m)
        return;
    mux_lost(m);
    for (struct list *it; (it = list_pop(&m->streams));)
        stream_free(CONTAINER(it, struct mux_stream, all));
    map_deinit(&m->by_id);
    buf_deinit(&m->urgent);
    mem_free(m);
}
