/* console/events.c - live events over one WebSocket per page: what happened (resumed by number), what goes on, figures, log lines.
 *
 * A page says what it wants; five times a second it gets what is new, as much as its connection takes. What only tells of the present
 * (live, figures) is skipped while output is queued; events wait in the bus, log lines in the log's ring, and what gave way meanwhile
 * is told as a gap. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "console/live.h"
#include "console/request.h"
#include "http/ws.h"
#include "telemetry/bus.h"

enum {
    FLUSH_MS = 200,
    QUEUE_MAX = 256 << 10, /* bytes queued towards a page before it gets no more for the moment */
    OUT_MAX = 4 << 20,
    EVENTS_PER_FLUSH = 500,
    LINES_PER_FLUSH = 500,
    PING_MS = 20000,
    DEAD_MS = 60000,
    LOOK_EVERY_MS = 200,   /* each look is a row of the audit log */
    CLOSE_MS = 5000,       /* for the other side to end the connection after our last word */
    PAGES_MAX = 512,
    PAGES_PER_PERSON = 32,
    CLOSE_SIGNED_OUT = 4401,
};

enum want { WANT_EVENTS = 1 << 0, WANT_LIVE = 1 << 1, WANT_FIGURES = 1 << 2, WANT_LOG = 1 << 3 };

struct pages {
    struct admin *admin;
    struct list all; /* of struct page */
    unsigned n;
    struct timer flush;
};

struct page {
    struct list all;
    struct pages *pages;
    struct stream *stream; /* NULL: closed; only an audit row keeps it */
    struct ws ws;
    struct buf out;
    unsigned wants;
    bool is_watching;      /* counted in live_watch */
    uint64_t at;           /* number of the last event it has */
    uint64_t log_at;
    enum log_level log_level;
    uint64_t heard_ms, pinged_ms, looked_ms; /* looked: asked to see a request */
    enum access_role role;
    bool is_outside, closing;
    struct access_cell *cell;
    char who[65], peer[64];
    char seen[33];         /* the request whose bytes it watches; empty: none */
    unsigned refs;
};

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void page_unref(struct page *p) {
    if (--p->refs)
        return;
    ws_deinit(&p->ws);
    buf_deinit(&p->out);
    access_cell_unref(p->cell);
    mem_free(p);
}

static bool is_seen_elsewhere(const struct page *p) {
    LIST_FOR(it, &p->pages->all) {
        const struct page *o = CONTAINER(it, struct page, all);
        if (o != p && strcmp(o->seen, p->seen) == 0)
            return true;
    }
    return false;
}

static void set_watching(struct page *p) {
    bool on = p->stream && !p->closing && ((p->wants & (WANT_EVENTS | WANT_LIVE | WANT_FIGURES)) || p->seen[0]);
    if (p->is_watching != on)
        live_watch(p->pages->admin->live, on ? 1 : -1);
    p->is_watching = on;
}

static void stop_seeing(struct page *p) {
    const struct admin_house *h = p->pages->admin->house;
    if (p->seen[0] && !is_seen_elsewhere(p))
        h->see(h->owner, sv_of(p->seen), false);
    p->seen[0] = '\0';
    set_watching(p);
}

static void page_close(struct page *p) {
    if (!p->stream)
        return;
    p->closing = true;
    stop_seeing(p);
    stream_close(p->stream);
    p->stream = NULL;
    list_drop(&p->all);
    p->pages->n--;
    page_unref(p);
}

static void write_out(struct page *p) {
    if (p->stream && p->out.n)
        stream_write1(p->stream, buf_sv(&p->out));
    buf_reset(&p->out);
    buf_trim(&p->out);
}

static bool is_full(const struct page *p) {
    return stream_queued(p->stream) + p->out.n > QUEUE_MAX;
}

static void post(struct page *p, struct buf *message) {
    if (!message->failed)
        (void)ws_send(&p->ws, WS_TEXT, buf_sv(message), &p->out);
    buf_deinit(message);
}

/* A message of one member whose value is JSON already. */
static void send_member(struct page *p, const char *name, struct sv json) {
    struct buf m = BUF_MAX(OUT_MAX);
    buf_printf(&m, "{\"%s\":", name);
    buf_add(&m, json);
    buf_add_char(&m, '}');
    post(p, &m);
}

/* What is queued still goes; then the other side ends it, or time does. */
static void end_page(struct page *p) {
    p->closing = true;
    p->heard_ms = loop_now_ms(p->pages->admin->loop);
    stop_seeing(p);
    write_out(p);
    stream_end(p->stream);
}

static void say_bye(struct page *p, unsigned code, const char *word, const char *text) {
    struct buf m = BUF_MAX(1024);
    if (p->closing)
        return;
    buf_add(&m, SV("{\"bye\":{"));
    put_text(&m, "code", sv_of(word));
    put_text(&m, "text", sv_of(text));
    buf_add(&m, SV("}}"));
    post(p, &m);
    (void)ws_close(&p->ws, code, sv_of(text), &p->out);
    end_page(p);
}

/* --- what is new -------------------------------------------------------------------------------------------------- */

static void send_hello(struct page *p) {
    const struct bus *bus = p->pages->admin->bus;
    struct buf m = BUF_MAX(1024);
    buf_add(&m, SV("{\"hello\":{"));
    put_text(&m, "boot", sv_of(bus_boot(bus)));
    put_number(&m, "last", bus_last(bus));
    put_text(&m, "role", sv_of(access_role_name(p->role)));
    buf_add(&m, SV("}}"));
    post(p, &m);
}

static void send_events(struct page *p) {
    const struct bus *bus = p->pages->admin->bus;
    struct bus_event e;
    uint64_t missed;
    for (unsigned n = 0; n < EVENTS_PER_FLUSH && !is_full(p) && bus_next(bus, p->at, &e, &missed); n++) {
        struct buf m = BUF_MAX(OUT_MAX);
        if (missed)
            buf_printf(&m, "{\"gap\":{\"from\":%llu,\"to\":%llu}}", (unsigned long long)(p->at + 1), (unsigned long long)(e.id - 1));
        if (missed) {
            post(p, &m);
            buf_init(&m, OUT_MAX);
        }
        buf_printf(&m, "{\"event\":{\"id\":%llu,\"at_ms\":%llu,\"topic\":\"%s\",\"data\":", (unsigned long long)e.id, (unsigned long long)e.at_ms,
                   bus_topic_name(e.topic));
        buf_add(&m, e.data);
        buf_add(&m, SV("}}"));
        post(p, &m);
        p->at = e.id;
    }
}

/* In Live only what somebody should act on; the rest is counted. */
static void send_log(struct page *p) {
    char line[LOG_LINE_MAX];
    uint64_t missed, lost = 0;
    unsigned n = 0, held = 0;
    size_t len;
    struct mode_state mode;
    struct buf m = BUF_MAX(OUT_MAX);
    mode_now(p->pages->admin->house->mode, &mode);
    buf_add(&m, SV("{\"log\":["));
    for (unsigned i = 0; i < LINES_PER_FLUSH && m.n + p->out.n < QUEUE_MAX && (len = log_read(&p->log_at, line, &missed)); i++) {
        enum log_level level = log_line_level((struct sv){ line, len });
        lost += missed;
        if (level > p->log_level)
            continue;
        if (p->is_outside && mode.is_live && level > LOG_WARN) {
            held++;
            continue;
        }
        if (n++)
            buf_add_char(&m, ',');
        buf_add(&m, (struct sv){ line, len });
    }
    buf_printf(&m, "],\"missed\":%llu,\"held\":%u}", (unsigned long long)lost, held);
    if (n || lost || held)
        post(p, &m);
    else
        buf_deinit(&m);
}

static void flush_page(struct page *p, uint64_t now_ms) {
    if (now_ms - p->heard_ms > (p->closing ? CLOSE_MS : DEAD_MS)) {
        page_close(p);
        return;
    }
    if (p->closing)
        return;
    if (p->cell && atomic_load_explicit(&p->cell->revoked, memory_order_relaxed)) {
        say_bye(p, CLOSE_SIGNED_OUT, "signed_out", "the session has ended");
        return;
    }
    if (now_ms - p->pinged_ms >= PING_MS) {
        p->pinged_ms = now_ms;
        (void)ws_ping(&p->ws, SV(""), &p->out);
    }
    if ((p->wants & WANT_EVENTS) && !is_full(p))
        send_events(p);
    if ((p->wants & WANT_LOG) && !is_full(p))
        send_log(p);
    write_out(p);
}

static void on_flush(void *arg) {
    struct pages *ps = arg;
    uint64_t now = loop_now_ms(ps->admin->loop);
    for (struct list *it = ps->all.next, *next; it != &ps->all; it = next) {
        next = it->next;
        flush_page(CONTAINER(it, struct page, all), now);
    }
    if (ps->n)
        timer_set(ps->admin->loop, &ps->flush, FLUSH_MS, on_flush, ps);
}

static void to_all(struct pages *ps, enum want want, const char *name, struct sv json) {
    LIST_FOR(it, &ps->all) {
        struct page *p = CONTAINER(it, struct page, all);
        if (!(p->wants & want) || p->closing || stream_queued(p->stream) > 0)
            continue;
        send_member(p, name, json);
        write_out(p);
    }
}

static void on_live(void *owner, struct sv json) {
    to_all(owner, WANT_LIVE, "live", json);
}

static void on_figures(void *owner, struct sv json) {
    to_all(owner, WANT_FIGURES, "figures", json);
}

static void on_seen(void *owner, const struct live_seen *s) {
    struct pages *ps = owner;
    struct buf m = BUF_MAX(OUT_MAX);
    size_t room = sodium_base64_ENCODED_LEN(s->bytes.n, sodium_base64_VARIANT_ORIGINAL);
    buf_add_char(&m, '{');
    put_text(&m, "id", s->id);
    put_text(&m, "dialect", s->dialect);
    put_truth(&m, "stream", s->is_stream);
    put_number(&m, "from", s->from);
    put_truth(&m, "end", s->end);
    put_text(&m, "bytes", SV(""));
    m.n--; /* the closing quote comes behind the bytes */
    char *to = buf_reserve(&m, room);
    if (to) {
        sodium_bin2base64(to, room, (const unsigned char *)s->bytes.p, s->bytes.n, sodium_base64_VARIANT_ORIGINAL);
        buf_added(&m, room - 1);
        buf_add(&m, SV("\"}"));
    }
    LIST_FOR(it, &ps->all) {
        struct page *p = CONTAINER(it, struct page, all);
        if (to && !m.failed && !p->closing && sv_eq(sv_of(p->seen), s->id) && !is_full(p)) {
            send_member(p, "watch", buf_sv(&m));
            write_out(p);
        }
    }
    buf_deinit(&m);
}

static const struct live_events live_events = { on_live, on_figures, on_seen };

/* --- what a page says --------------------------------------------------------------------------------------------- */

static void refuse_seeing(struct page *p, struct sv id, const char *why) {
    struct buf m = BUF_MAX(1024);
    buf_add(&m, SV("{\"watch\":{"));
    put_text(&m, "id", id);
    put_text(&m, "refused", sv_of(why));
    buf_add(&m, SV("}}"));
    post(p, &m);
}

/* That somebody looks at what another is being told goes into the audit log first. */
struct looking {
    struct store_job job;
    struct page *page;
    char id[33];
};

static bool run_looking(struct store_tx *tx, struct store_job *job, struct err *e) {
    const struct looking *l = CONTAINER(job, struct looking, job);
    const struct access_act act = { sv_of(l->page->who), sv_of(l->page->peer), SV("content.watch"), sv_of(l->id), SV(""), clock_wall_ms() };
    return access_audit(tx, &act, e);
}

static void on_looking(struct store_job *job, const struct err *e) {
    struct looking *l = CONTAINER(job, struct looking, job);
    struct page *p = l->page;
    if (p->stream && !e) {
        const struct admin_house *h = p->pages->admin->house;
        stop_seeing(p);
        memcpy(p->seen, l->id, sizeof p->seen);
        set_watching(p);
        h->see(h->owner, sv_of(p->seen), true);
    } else if (p->stream) {
        refuse_seeing(p, sv_of(l->id), "it could not be written into the audit log");
        write_out(p);
    }
    page_unref(p);
    mem_free(l);
}

static void see(struct page *p, struct sv id) {
    const struct admin *a = p->pages->admin;
    struct looking *l = NULL;
    uint64_t now = loop_now_ms(a->loop);
    bool soon = p->looked_ms && now - p->looked_ms < LOOK_EVERY_MS;
    p->looked_ms = now;
    if (soon)
        refuse_seeing(p, id, "too many at once; ask again in a moment");
    else if (p->role < ROLE_OPERATOR)
        refuse_seeing(p, id, "this needs the role operator");
    else if (!(*a->house->config)->telemetry.content)
        refuse_seeing(p, id, "content is not shown here: telemetry.content is off");
    else if (!(l = mem_new(sizeof *l)) || !sv_to_cstr(id, l->id, sizeof l->id))
        refuse_seeing(p, id, "there is no such request");
    else {
        l->job = (struct store_job){ .home = a->loop, .run = run_looking, .done = on_looking };
        l->page = p;
        p->refs++;
        if (store_submit(a->house->store, &l->job, NULL))
            return;
        p->refs--;
        refuse_seeing(p, id, "it could not be written into the audit log");
    }
    mem_free(l);
}

static const struct {
    const char *name;
    enum want want;
    enum access_role role;
} feeds[] = { { "events", WANT_EVENTS, ROLE_VIEWER }, { "live", WANT_LIVE, ROLE_VIEWER }, { "figures", WANT_FIGURES, ROLE_VIEWER }, { "log", WANT_LOG, ROLE_OPERATOR } };
enum { FEEDS = sizeof feeds / sizeof feeds[0] };

static bool read_feed(const struct page *p, yyjson_val *v, unsigned *wants, struct err *e) {
    size_t i = 0;
    while (i < FEEDS && !sv_eq(json_sv(v), sv_of(feeds[i].name)))
        i++;
    if (i == FEEDS)
        return err_set(e, ERR_BAD_REQUEST, "\"subscribe\" takes events, live, figures and log");
    if (p->role < feeds[i].role)
        return err_set(e, ERR_DENIED, "\"%s\" needs the role %s", feeds[i].name, access_role_name(feeds[i].role));
    *wants |= feeds[i].want;
    return true;
}

/* What may be had is had, whatever else was asked for. */
static void subscribe(struct page *p, yyjson_val *root, struct err *e) {
    yyjson_val *v, *since = json_get(root, "since"), *level = json_get(root, "log_level"), *list = json_get(root, "subscribe");
    size_t i, n;
    unsigned had = p->wants;
    uint64_t last = bus_last(p->pages->admin->bus);
    p->wants = 0;
    if (!yyjson_is_arr(list))
        err_set(e, ERR_BAD_REQUEST, "\"subscribe\" must be a list");
    yyjson_arr_foreach(list, i, n, v)
        (void)read_feed(p, v, &p->wants, e);
    if (since && !yyjson_is_null(since) && (!yyjson_is_uint(since) || yyjson_get_uint(since) > last))
        err_set(e, ERR_BAD_REQUEST, "\"since\" must be the number of an event, %llu at most", (unsigned long long)last);
    else if (yyjson_is_uint(since))
        p->at = yyjson_get_uint(since);
    else if (!(had & WANT_EVENTS))
        p->at = last;
    p->log_level = LOG_INFO;
    if (level && !log_level_parse(json_sv(level), &p->log_level))
        err_set(e, ERR_BAD_REQUEST, "\"log_level\" must be error, warn, info or debug");
    if ((p->wants & WANT_LOG) && !(had & WANT_LOG))
        p->log_at = log_seq(LOG_RING_LINES);
    set_watching(p);
}

static void say_error(struct page *p, const struct err *e) {
    struct buf m = BUF_MAX(2048);
    buf_add(&m, SV("{\"error\":{"));
    put_text(&m, "code", sv_of(err_name(e->code)));
    put_text(&m, "message", sv_of(e->text));
    buf_add(&m, SV("}}"));
    post(p, &m);
}

static void on_text(struct page *p, struct sv text) {
    struct err e = { 0 };
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(text);
    yyjson_val *root = yyjson_doc_get_root(doc), *watch = json_get(root, "watch"), *list = json_get(root, "subscribe");
    if (!yyjson_is_obj(root)) {
        say_bye(p, WS_POLICY, "bad_message", "messages are JSON objects");
        return;
    }
    if (list)
        subscribe(p, root, &e);
    if (yyjson_is_null(watch))
        stop_seeing(p);
    else if (yyjson_is_str(watch))
        see(p, json_sv(watch));
    else if (watch || !list)
        err_set(&e, ERR_BAD_REQUEST, watch ? "\"watch\" must be the id of a request, or null" : "a message says \"subscribe\" or \"watch\"");
    if (e.code != ERR_NONE)
        say_error(p, &e);
}

static void on_read(void *owner, struct sv bytes) {
    struct page *p = owner;
    if (!p->closing)
        p->heard_ms = loop_now_ms(p->pages->admin->loop);
    for (;;) {
        enum ws_event e = ws_feed(&p->ws, &bytes, p->heard_ms, &p->out);
        if (e == WS_MORE)
            break;
        if (e == WS_TEXT && !p->closing)
            on_text(p, p->ws.data);
        if (e == WS_CLOSED || e == WS_FAILED) {
            if (!p->closing)
                end_page(p);
            return;
        }
    }
    write_out(p);
}

static void on_end(void *owner, const struct err *e) {
    (void)e;
    page_close(owner);
}

static const struct stream_events stream_events = { on_read, on_end, NULL, NULL };

/* --- the handshake ------------------------------------------------------------------------------------------------ */

static unsigned pages_of(const struct pages *ps, struct sv who) {
    unsigned n = 0;
    LIST_FOR(it, &ps->all)
        n += sv_eq(sv_of(CONTAINER(it, struct page, all)->who), who);
    return n;
}

static bool check(struct request *r, char accept[static WS_ACCEPT], struct err *e) {
    const struct http_head *head = r->in->head;
    bool by_cookie = !http_get(head, SV("authorization")).p;
    if (!head->upgrade)
        return err_set(e, ERR_BAD_REQUEST, "this is a WebSocket; connect with one");
    if (r->is_outside && !r->is_visitor && by_cookie && !http_get(head, SV("origin")).p) /* the worker has found that an origin is ours */
        return err_set(e, ERR_DENIED, "a page must say where it is from (Origin)");
    if (r->admin->pages->n >= PAGES_MAX || pages_of(r->admin->pages, r->who) >= PAGES_PER_PERSON)
        return err_set(e, ERR_UNAVAILABLE, "%d pages may be open, %d of one person; close one", PAGES_MAX, PAGES_PER_PERSON);
    return ws_check_request(head, accept, e) == WS_HANDSHAKE_OK || (e->code != ERR_NONE ? false : err_set(e, ERR_BAD_REQUEST, "only WebSocket version 13"));
}

static struct page *page_new(struct request *r) {
    static const struct ws_limits limits = { 64 << 10, 64 << 10, 64, 20 };
    struct page *p = mem_new(sizeof *p);
    if (!p)
        return NULL;
    *p = (struct page){ .pages = r->admin->pages, .role = r->role, .is_outside = r->is_outside, .cell = access_cell_ref(r->cell), .refs = 1,
                        .out = BUF_MAX(OUT_MAX), .log_level = LOG_INFO };
    list_init(&p->all);
    snprintf(p->who, sizeof p->who, "%.*s", SV_FMT(r->who));
    snprintf(p->peer, sizeof p->peer, "%.*s", SV_FMT(r->peer));
    if (ws_init(&p->ws, WS_SERVER, &limits))
        return p;
    page_unref(p);
    return NULL;
}

void events_open(struct request *r) {
    char accept[WS_ACCEPT];
    struct err e = { 0 };
    struct pages *ps = r->admin->pages;
    struct page *p = NULL;
    struct sv ahead;
    if (!check(r, accept, &e) || (!(p = page_new(r)) && !err_no_memory(&e))) {
        request_fail(r, &e, NULL);
        return;
    }
    p->stream = http_in_upgrade(r->in, &ahead);
    p->heard_ms = p->pinged_ms = loop_now_ms(ps->admin->loop);
    stream_own(p->stream, &stream_events, p);
    list_push_back(&ps->all, &p->all);
    ps->n++;
    buf_printf(&p->out, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: %s\r\n\r\n", accept);
    send_hello(p);
    write_out(p);
    stream_read(p->stream, true);
    if (!timer_is_set(&ps->flush))
        timer_set(ps->admin->loop, &ps->flush, FLUSH_MS, on_flush, ps);
    if (ahead.n)
        on_read(p, ahead);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct pages *pages_new(struct admin *a) {
    struct pages *ps = mem_new(sizeof *ps);
    if (!ps)
        return NULL;
    ps->admin = a;
    list_init(&ps->all);
    a->live = live_new(a, &live_events, ps);
    if (a->live)
        return ps;
    mem_free(ps);
    return NULL;
}

void pages_free(struct pages *ps) {
    if (!ps)
        return;
    timer_stop(ps->admin->loop, &ps->flush);
    for (struct list *it; (it = ps->all.next) != &ps->all;) {
        struct page *p = CONTAINER(it, struct page, all);
        say_bye(p, WS_GOING_AWAY, "stopping", "the hub stops");
        page_close(p);
    }
    live_free(ps->admin->live);
    mem_free(ps);
}
