/* link/lane.c - bytes from the socket -> engine; engine -> bytes for the socket, once per turn of the loop and again as it drains. */
#include "link/lane.h"

#include <stdio.h>

#include "base/mem.h"
#include "http/ws.h"
#include "link/lane_stream.h"

enum {
    FILL = 64 << 10,       /* taken from the engine at a time */
    QUEUE_MAX = 256 << 10, /* bytes that wait for the socket; a reset or a token overtakes the rest */
    TICK_IDLE_MS = 5000,   /* where no stream is open: nodes are many */
    WRITE_MS = 10000,      /* without any progress */
};

struct lane {
    struct list all;
    struct loop *loop;
    struct stream *socket;
    struct engine *engine;
    const struct lane_events *on;
    void *owner;
    char site[LINK_IDENT_MAX + 1];
    bool echo;
    bool closed;               /* the socket is */
    bool dead, told;           /* dead: the engine has ended; what it still has to say is being written. told: the owner knows */
    unsigned code;             /* of the end */
    char why[128];
    uint64_t dead_ms;
    struct buf early;          /* came behind the head of the upgrade */
    struct loop_flush flush;
    struct timer tick;
    uint64_t given;            /* bytes handed to the socket */
    uint64_t went, went_ms;    /* of which so many were gone at that time */
};

static void lane_free(struct lane *n) {
    engine_free(n->engine); /* its streams still flush through us */
    timer_stop(n->loop, &n->tick);
    list_drop(&n->flush.dirty);
    list_drop(&n->all);
    stream_close(n->socket);
    buf_deinit(&n->early);
    mem_free(n);
}

static void tell_end(struct lane *n) {
    if (n->told)
        return;
    n->told = true;
    n->on->on_end(n->owner, n->code, sv_of(n->why));
}

/* --- out -------------------------------------------------------------------------------------------------------------------------------- */

static bool has_room(const struct lane *n) {
    return stream_queued(n->socket) < QUEUE_MAX;
}

static void write_out(struct lane *n) {
    struct buf out = BUF_MAX(16 << 20);
    while (has_room(n) && engine_has_output(n->engine)) {
        bool more = engine_fill(n->engine, FILL, &out);
        if (!out.n)
            break;
        n->given += out.n;
        stream_write1(n->socket, buf_sv(&out));
        buf_reset(&out);
        if (!more)
            break;
    }
    buf_deinit(&out);
    if (engine_has_output(n->engine))
        stream_want_drain(n->socket);
}

static void on_flush(struct loop_flush *f) {
    struct lane *n = CONTAINER(f, struct lane, flush);
    if (n->early.n && !n->dead)
        engine_feed(n->engine, buf_sv(&n->early), loop_now_ms(n->loop));
    buf_deinit(&n->early);
    write_out(n);
    if (!n->dead || n->told)
        return;
    tell_end(n);
    if (n->code == CLOSE_SILENT || n->closed)
        lane_free(n);
    else
        stream_end(n->socket); /* the other side ends the connection then, or time does */
}

void lane_flush(struct lane *n) {
    loop_flush_later(n->loop, &n->flush);
}

static void on_flush(struct loop_flush *f);

/* --- in --------------------------------------------------------------------------------------------------------------------------------- */

static void on_read(void *owner, struct sv bytes) {
    struct lane *n = owner;
    if (n->early.n)
        on_flush(&n->flush); /* in their order */
    if (!n->dead)
        engine_feed(n->engine, bytes, loop_now_ms(n->loop));
    lane_flush(n);
}

static void on_socket_end(void *owner, const struct err *e) {
    struct lane *n = owner;
    n->closed = true;
    if (n->told)
        lane_free(n);
    else
        engine_cut(n->engine, e ? sv_of(e->text) : SV("the other side ended the connection"));
}

static void on_drain(void *owner) {
    lane_flush(owner);
}

static const struct stream_events socket_events = { on_read, on_socket_end, on_drain, NULL };

/* --- what the engine tells -------------------------------------------------------------------------------------------------------------- */

static void on_open(void *owner, struct mux_stream *m, const struct mux_open *o) {
    struct lane *n = owner;
    bool wanted = o->service == SERVICE_HTTP ? n->on->on_stream != NULL : o->service == SERVICE_ECHO && n->echo;
    struct stream *s = wanted ? lane_stream_new(n, n->loop, m) : NULL;
    if (!wanted)
        mux_release(m, RESET_REFUSED_SERVICE, SV_NULL);
    else if (!s)
        mux_release(m, RESET_INTERNAL, SV("out of memory"));
    else if (o->service == SERVICE_ECHO)
        lane_stream_echo(s);
    else
        n->on->on_stream(n->owner, s, o);
}

static void on_goaway(void *owner, uint32_t last_id, uint32_t code, uint32_t retry_ms, struct sv reason) {
    (void)owner; /* new streams fail from now on; the link's owner hears goodbye */
    (void)last_id;
    (void)code;
    (void)retry_ms;
    (void)reason;
}

static void on_control(void *owner, struct envelope *m) {
    struct lane *n = owner;
    n->on->on_control(n->owner, m);
}

static void on_up(void *owner) {
    struct lane *n = owner;
    n->on->on_up(n->owner);
}

static void on_engine_end(void *owner, unsigned code, struct sv why) {
    struct lane *n = owner;
    n->dead = true;
    n->dead_ms = loop_now_ms(n->loop);
    n->code = code;
    snprintf(n->why, sizeof n->why, "%.*s", SV_FMT(why));
    lane_flush(n);
}

static const struct engine_events engine_on = {
    { on_open, lane_stream_data, lane_stream_fin, lane_stream_reset, lane_stream_drain, on_goaway }, on_control, on_up, on_engine_end
};

/* --- time ------------------------------------------------------------------------------------------------------------------------------- */

static void on_tick(void *arg) {
    struct lane *n = arg;
    uint64_t now = loop_now_ms(n->loop);
    struct engine_facts f;
    uint64_t went = n->given - stream_queued(n->socket);
    if (went != n->went || stream_queued(n->socket) == 0) {
        n->went = went;
        n->went_ms = now;
    }
    if (n->told && now - n->dead_ms >= ENGINE_CLOSE_MS) {
        lane_free(n);
        return;
    }
    if (!n->dead && now - n->went_ms >= WRITE_MS)
        engine_cut(n->engine, SV("nothing could be sent for 10 s"));
    else if (!n->dead)
        engine_tick(n->engine, now);
    engine_facts(n->engine, &f);
    bool busy = n->dead || f.streams.n_streams || !engine_is_up(n->engine) || stream_queued(n->socket);
    timer_set(n->loop, &n->tick, busy ? ENGINE_TICK_MS : TICK_IDLE_MS, on_tick, n);
    lane_flush(n);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------------- */

struct stream *lane_open(struct lane *n, const struct mux_open *o, struct err *e) {
    if (!engine_is_up(n->engine)) {
        err_set(e, ERR_UNAVAILABLE, "the link is not up");
        return NULL;
    }
    struct mux_stream *m = mux_open(engine_mux(n->engine), o, loop_now_ms(n->loop), e);
    struct stream *s = m ? lane_stream_new(n, n->loop, m) : NULL;
    if (m && !s) {
        mux_release(m, RESET_INTERNAL, SV_NULL);
        err_no_memory(e);
    }
    lane_flush(n);
    return s;
}

struct engine *lane_engine(struct lane *n) {
    return n->engine;
}

void lane_close(struct lane *n, unsigned code, struct sv why) {
    engine_close(n->engine, code, why);
    lane_flush(n);
}

void lanes_end(struct list *lanes) {
    if (list_empty(lanes))
        return;
    LIST_FOR(it, lanes)
    lane_close(CONTAINER(it, struct lane, all), WS_GOING_AWAY, SV("stopping"));
    loop_flush_now(CONTAINER(lanes->next, struct lane, all)->loop); /* what they say is in the kernel's hands then */
    while (!list_empty(lanes)) {
        struct lane *n = CONTAINER(lanes->next, struct lane, all);
        tell_end(n);
        lane_free(n);
    }
}

struct lane *lane_new(struct link_host *h, struct stream *s, struct sv ahead, const struct engine_spec *spec, bool echo, const struct lane_events *on,
                      void *owner, struct err *e) {
    struct loop *l = h->loop;
    struct lane *n = mem_new(sizeof *n);
    struct engine_spec own = *spec;
    if (!n || !sv_to_cstr(spec->site, n->site, sizeof n->site)) {
        err_no_memory(e);
        mem_free(n);
        stream_close(s);
        return NULL;
    }
    own.site = sv_of(n->site);
    n->loop = l;
    n->on = on;
    n->owner = owner;
    n->echo = echo;
    n->went_ms = loop_now_ms(l);
    n->flush.run = on_flush;
    list_init(&n->flush.dirty);
    n->engine = engine_new(&own, &engine_on, n, loop_now_ms(l));
    buf_init(&n->early, ENGINE_TEXT_MAX);
    if (!n->engine || !buf_add(&n->early, ahead)) {
        err_no_memory(e);
        engine_free(n->engine);
        mem_free(n);
        stream_close(s);
        return NULL;
    }
    list_init(&n->all);
    list_push_back(&h->lanes, &n->all);
    n->socket = s;
    stream_own(s, &socket_events, n);
    timer_set(l, &n->tick, ENGINE_TICK_MS, on_tick, n);
    stream_read(s, true);
    lane_flush(n);
    return n;
}
