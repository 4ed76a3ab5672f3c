/* link/wire.c - two halves of one thing: near, on the home loop, and far, where the lane lives. Each touches only its own; all else are messages,
 * and messages between two loops keep their order. A message holds a reference, so either half may go first. */
#include <stdio.h>

#include "base/mem.h"
#include "link/way.h"

enum { TEXT_MAX = 256, REPORT_MS = 15000 };

struct wire {
    _Atomic unsigned refs;
    struct loop *home;
    _Atomic(struct loop *) far_loop; /* while the lane is there: its loop may end after it */
    struct { /* home loop */
        const struct wire_events *on;
        void *owner;
        bool closed, ended; /* closed: nobody listens any more */
        struct engine_facts facts;
    } near;
    struct { /* the lane's loop */
        struct lane *lane;
        struct wire_lane at;
        struct timer report;
    } far;
    _Atomic bool unwanted;           /* closed before there was a lane */
};

enum note_kind {
    NOTE_OPEN,
    NOTE_UP,
    NOTE_CONTROL,
    NOTE_END,
    NOTE_FACTS,
    NOTE_SAY,
    NOTE_CLOSE,
    NOTE_LIMITS,
    NOTE_GOAWAY
};

struct note {
    struct msg msg;
    struct wire *wire;
    enum note_kind kind;
    struct envelope m;          /* CONTROL */
    struct engine_facts facts;  /* FACTS */
    struct mux_limits limits;   /* LIMITS */
    enum link_kind say;         /* SAY */
    char *payload, *agent_id, *re, *msg_id, *site_id;
    int status;                 /* END */
    unsigned code;              /* END, CLOSE */
    uint32_t retry;             /* END: s; GOAWAY: ms */
    char text[TEXT_MAX];
};

static void wire_unref(struct wire *w) {
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) == 1)
        mem_free(w);
}

struct wire *wire_ref(struct wire *w) {
    atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    return w;
}

static void note_free(struct note *t) {
    envelope_free(&t->m);
    mem_free(t->payload);
    mem_free(t->agent_id);
    mem_free(t->re);
    mem_free(t->msg_id);
    mem_free(t->site_id);
    wire_unref(t->wire);
    mem_free(t);
}

static struct note *note_new(struct wire *w, enum note_kind k) {
    struct note *t = mem_new(sizeof *t);
    if (!t)
        return NULL;
    t->kind = k;
    t->wire = wire_ref(w);
    return t;
}

/* --- at home ----------------------------------------------------------------------------------------------------------------------------- */

static void at_home(struct msg *msg) {
    struct note *t = CONTAINER(msg, struct note, msg);
    struct wire *w = t->wire;
    bool listens = !w->near.closed && !w->near.ended;
    if (t->kind == NOTE_FACTS)
        w->near.facts = t->facts;
    else if (t->kind == NOTE_END)
        w->near.ended = true;
    if (listens && t->kind == NOTE_OPEN && w->near.on->on_open)
        w->near.on->on_open(w->near.owner);
    else if (listens && t->kind == NOTE_UP)
        w->near.on->on_up(w->near.owner);
    else if (listens && t->kind == NOTE_CONTROL)
        w->near.on->on_control(w->near.owner, &t->m);
    else if (listens && t->kind == NOTE_END)
        w->near.on->on_end(w->near.owner, t->status, t->code, sv_of(t->text), t->retry);
    note_free(t);
}

static void to_home(struct note *t) {
    t->msg.deliver = at_home;
    if (!loop_post(t->wire->home, &t->msg))
        note_free(t);
}

/* --- at the lane ------------------------------------------------------------------------------------------------------------------------- */

static void at_lane(struct msg *msg) {
    struct note *t = CONTAINER(msg, struct note, msg);
    struct lane *lane = t->wire->far.lane;
    if (lane && t->kind == NOTE_SAY) {
        const struct envelope_head h = { .kind = t->say, .msg_id = sv_of(t->msg_id), .site_id = sv_of(t->site_id), .agent_id = sv_of(t->agent_id), .re = sv_of(t->re) };
        engine_send_as(lane_engine(lane), &h, sv_of(t->payload));
        lane_flush(lane);
    } else if (lane && t->kind == NOTE_CLOSE) {
        lane_close(lane, t->code, sv_of(t->text));
    } else if (lane && t->kind == NOTE_LIMITS) {
        mux_peer_limits(engine_mux(lane_engine(lane)), &t->limits);
    } else if (lane && t->kind == NOTE_GOAWAY) {
        if (t->wire->far.at.way)
            way_remove(t->wire->far.at.way, lane); /* who dials takes another one */
        mux_goaway(engine_mux(lane_engine(lane)), RESET_DRAINING, t->retry, sv_of(t->text));
        lane_flush(lane);
    }
    note_free(t);
}

/* False: there is no lane yet, or its loop has ended. */
static bool to_lane(struct note *t) {
    struct loop *far = atomic_load_explicit(&t->wire->far_loop, memory_order_acquire);
    t->msg.deliver = at_lane;
    if (far && loop_post(far, &t->msg))
        return true;
    note_free(t);
    return false;
}

static void on_control(void *owner, struct envelope *m) {
    struct wire *w = owner;
    struct note *t = note_new(w, NOTE_CONTROL);
    if (!t) {
        lane_close(w->far.lane, 1011, SV("out of memory"));
        return;
    }
    t->m = *m;
    m->doc = NULL;
    to_home(t);
}

static void on_up(void *owner) {
    struct wire *w = owner;
    struct note *t = note_new(w, NOTE_UP);
    if (w->far.at.way)
        way_add(w->far.at.way, w->far.at.host, w->far.lane);
    if (t)
        to_home(t);
    else
        lane_close(w->far.lane, 1011, SV("out of memory"));
}

static void on_stream(void *owner, struct stream *s, const struct mux_open *o) {
    struct wire *w = owner;
    (void)o;
    w->far.at.on_stream(w->far.at.arg, s);
}

static void tell_end(struct wire *w, int status, unsigned code, struct sv why, uint32_t retry_s) {
    struct note *t = note_new(w, NOTE_END);
    if (t) {
        t->status = status;
        t->code = code;
        t->retry = retry_s;
        snprintf(t->text, sizeof t->text, "%.*s", SV_FMT(why));
        to_home(t);
    }
}

static void on_end(void *owner, unsigned code, struct sv why) {
    struct wire *w = owner;
    timer_stop(w->far.at.host->loop, &w->far.report);
    if (w->far.at.way)
        way_remove(w->far.at.way, w->far.lane);
    w->far.at.way = way_unref(w->far.at.way);
    w->far.lane = NULL;
    atomic_store_explicit(&w->far_loop, NULL, memory_order_release);
    tell_end(w, 0, code, why, 0);
    wire_unref(w);
}

static const struct lane_events lane_on = { on_control, on_up, on_stream, on_end },
                                lane_on_alone = { on_control, on_up, NULL, on_end };

static void on_report(void *arg) {
    struct wire *w = arg;
    struct note *t = note_new(w, NOTE_FACTS);
    if (t) {
        engine_facts(lane_engine(w->far.lane), &t->facts);
        to_home(t);
    }
    timer_set(w->far.at.host->loop, &w->far.report, REPORT_MS, on_report, w);
}

void wire_attach(struct wire *w, struct stream *s, struct sv ahead, const struct wire_lane *at) {
    struct note *t;
    struct err e;
    w->far.at = *at;
    if (at->way)
        way_ref(at->way);
    atomic_store_explicit(&w->far_loop, at->host->loop, memory_order_release);
    w->far.lane = lane_new(at->host, s, ahead, &at->spec, at->echo, at->on_stream ? &lane_on : &lane_on_alone, w, &e);
    if (!w->far.lane) {
        atomic_store_explicit(&w->far_loop, NULL, memory_order_release);
        way_unref(at->way);
        tell_end(w, 0, CLOSE_SILENT, sv_of(e.text), 0);
        wire_unref(w);
        return;
    }
    if (at->peer)
        mux_peer_limits(engine_mux(lane_engine(w->far.lane)), at->peer);
    if ((t = note_new(w, NOTE_OPEN)))
        to_home(t);
    else
        lane_close(w->far.lane, 1011, SV("out of memory"));
    if (engine_is_up(lane_engine(w->far.lane)))
        on_up(w);
    timer_set(at->host->loop, &w->far.report, 1000, on_report, w);
    if (atomic_load_explicit(&w->unwanted, memory_order_acquire))
        lane_close(w->far.lane, 1001, SV("not wanted any more"));
}

void wire_refuse(struct wire *w, int status, struct sv why, uint32_t retry_after_s) {
    tell_end(w, status, CLOSE_SILENT, why, retry_after_s);
    wire_unref(w);
}

/* --- what the home asks for -------------------------------------------------------------------------------------------------------------- */

static char *copy(struct sv v) {
    return v.n ? mem_str(v.p, v.n) : NULL;
}

void wire_send_as(struct wire *w, const struct envelope_head *h, struct sv payload) {
    struct note *t = note_new(w, NOTE_SAY);
    if (!t)
        return;
    t->say = h->kind;
    t->payload = mem_str(payload.p, payload.n);
    t->agent_id = copy(h->agent_id);
    t->re = copy(h->re);
    t->msg_id = copy(h->msg_id);
    t->site_id = copy(h->site_id);
    if (t->payload)
        (void)to_lane(t);
    else
        note_free(t);
}

void wire_send(struct wire *w, enum link_kind k, struct sv payload, struct sv re) {
    wire_send_as(w, &(struct envelope_head){ .kind = k, .re = re }, payload);
}

void wire_peer_limits(struct wire *w, const struct mux_limits *l) {
    struct note *t = note_new(w, NOTE_LIMITS);
    if (!t)
        return;
    t->limits = *l;
    (void)to_lane(t);
}

void wire_goaway(struct wire *w, uint32_t retry_ms, struct sv reason) {
    struct note *t = note_new(w, NOTE_GOAWAY);
    if (!t)
        return;
    t->retry = retry_ms;
    snprintf(t->text, sizeof t->text, "%.*s", SV_FMT(reason));
    (void)to_lane(t);
}

void wire_close(struct wire *w, unsigned code, struct sv why) {
    struct note *t = note_new(w, NOTE_CLOSE);
    atomic_store_explicit(&w->unwanted, true, memory_order_release);
    if (!t)
        return;
    t->code = code;
    snprintf(t->text, sizeof t->text, "%.*s", SV_FMT(why));
    (void)to_lane(t);
}

void wire_facts(const struct wire *w, struct engine_facts *ret) {
    *ret = w->near.facts;
}

void wire_free(struct wire *w, unsigned code, struct sv why) {
    if (!w)
        return;
    w->near.closed = true;
    wire_close(w, code, why);
    wire_unref(w);
}

struct wire *wire_new(struct loop *home, const struct wire_events *on, void *owner, struct err *e) {
    struct wire *w = mem_new(sizeof *w);
    if (!w) {
        err_no_memory(e);
        return NULL;
    }
    atomic_init(&w->refs, 1);
    w->home = home;
    w->near.on = on;
    w->near.owner = owner;
    return w;
}
