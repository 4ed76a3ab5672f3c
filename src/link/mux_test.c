#include "link/mux.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"

/* Two ends in memory. A user is what stands behind a stream on either side. */
enum { USERS = 64 };

struct side;
struct user {
    struct side *side;
    struct mux_stream *s;
    uint64_t got, ended, reset, held; /* held: came and not consumed yet */
    uint32_t code;
    bool lazy;   /* consumes nothing by itself */
    unsigned drained;
};

struct side {
    struct mux *mux;
    struct side *peer;
    struct user users[USERS];
    unsigned n_opened;
    bool lazy;               /* new streams' users are */
    enum reset_code refuse;  /* != 0: new streams are refused so */
    uint32_t last_id, goaway_code;
    unsigned n_goaway;
    unsigned close_code;
    unsigned n_frames;
};

static uint64_t now = 1000;

static struct user *new_user(struct side *d, struct mux_stream *s) {
    for (int i = 0; i < USERS; i++)
        if (!d->users[i].s) {
            d->users[i] = (struct user){ .side = d, .s = s, .lazy = d->lazy };
            mux_own(s, &d->users[i]);
            return &d->users[i];
        }
    return NULL;
}

static void on_open(void *owner, struct mux_stream *s, const struct mux_open *o) {
    struct side *d = owner;
    d->n_opened++;
    if (d->refuse || o->service != SERVICE_HTTP)
        mux_release(s, d->refuse ? d->refuse : RESET_REFUSED_SERVICE, SV("no"));
    else if (!new_user(d, s))
        mux_release(s, RESET_BUSY, SV_NULL);
}

static void on_data(void *x, struct sv bytes) {
    struct user *u = x;
    u->got += bytes.n;
    u->held += bytes.n;
    if (!u->lazy) {
        mux_consumed(u->s, bytes.n, now);
        u->held = 0;
    }
}

static void on_end(void *x) {
    struct user *u = x;
    u->ended++;
}

static void on_reset(void *x, uint32_t code, struct sv reason) {
    struct user *u = x;
    (void)reason;
    u->reset++;
    u->code = code;
    mux_release(u->s, RESET_CANCEL, SV_NULL);
    u->s = NULL;
}

static void on_drain(void *x) {
    struct user *u = x;
    u->drained++;
}

static void on_goaway(void *owner, uint32_t last_id, uint32_t code, uint32_t retry_ms, struct sv reason) {
    struct side *d = owner;
    (void)retry_ms;
    (void)reason;
    d->n_goaway++;
    d->last_id = last_id;
    d->goaway_code = code;
}

static const struct mux_events events = { on_open, on_data, on_end, on_reset, on_drain, on_goaway };

static bool deliver(void *arg, struct sv head, struct sv meta, struct sv data) {
    struct side *to = arg;
    size_t n = head.n + meta.n + data.n;
    char *exact = malloc(n);
    const char *why;
    memcpy(exact, head.p, head.n);
    if (meta.n)
        memcpy(exact + head.n, meta.p, meta.n);
    if (data.n)
        memcpy(exact + head.n + meta.n, data.p, data.n);
    to->n_frames++;
    bool fine = to->close_code || mux_feed(to->mux, (struct sv){ exact, n }, now, &to->close_code, &why);
    assert_int_equal(fine, true);
    free(exact);
    return true;
}

static void exchange(struct side *a, struct side *b) {
    for (int i = 0; i < 10000 && (mux_has_output(a->mux) || mux_has_output(b->mux)); i++) {
        mux_take(a->mux, 64 << 10, deliver, b);
        mux_take(b->mux, 64 << 10, deliver, a);
    }
}

static void begin(struct side *hub, struct side *node) {
    *hub = (struct side){ .peer = node };
    *node = (struct side){ .peer = hub };
    hub->mux = mux_new(true, &MUX_LIMITS_HUB, &events, hub);
    node->mux = mux_new(false, &MUX_LIMITS_NODE, &events, node);
    assert_true(hub->mux && node->mux);
}

static void finish(struct side *hub, struct side *node) {
    for (int i = 0; i < USERS; i++) {
        if (hub->users[i].s)
            mux_release(hub->users[i].s, RESET_CANCEL, SV_NULL);
        if (node->users[i].s)
            mux_release(node->users[i].s, RESET_CANCEL, SV_NULL);
        hub->users[i].s = node->users[i].s = NULL;
    }
    mux_free(hub->mux);
    mux_free(node->mux);
}

static const struct mux_open http = { .service = SERVICE_HTTP, .priority = PRIORITY_NORMAL };

static struct user *open_from(struct side *d) {
    struct mux_stream *s = mux_open(d->mux, &http, now, NULL);
    struct user *u = s ? new_user(d, s) : NULL;
    if (s && !u)
        mux_release(s, RESET_CANCEL, SV_NULL);
    return u;
}

static void write_n(struct user *u, size_t n) {
    static char bytes[64 << 10];
    while (n) {
        size_t k = n < sizeof bytes ? n : sizeof bytes;
        assert_true(mux_write(u->s, (struct sv){ bytes, k }));
        n -= k;
    }
}

/* Nothing is left on either side, and the link's windows are whole: what one may send is what the other's window is. */
static void windows_are_whole(struct side *a, struct side *b) {
    struct mux_facts f;
    exchange(a, b);
    mux_facts(a->mux, &f);
    assert_int_equal(f.buffered, 0);
    assert_int_equal(f.n_streams, 0);
}

static void bytes_go_both_ways_and_end(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    struct user *u = open_from(&hub);
    write_n(u, 1000000); /* more than the stream's window */
    mux_finish(u->s);
    exchange(&hub, &node);
    struct user *v = &node.users[0];
    assert_int_equal(v->got, 1000000);
    assert_int_equal(v->ended, 1);
    write_n(v, 8 << 20); /* more than the link's */
    mux_finish(v->s);
    exchange(&hub, &node);
    assert_int_equal(u->got, 8 << 20);
    assert_int_equal(u->ended, 1);
    assert_int_equal(u->reset + v->reset, 0);
    mux_release(u->s, RESET_CANCEL, SV_NULL);
    mux_release(v->s, RESET_CANCEL, SV_NULL);
    u->s = v->s = NULL;
    unsigned frames = hub.n_frames + node.n_frames;
    windows_are_whole(&hub, &node);
    assert_int_equal(hub.n_frames + node.n_frames, frames); /* an end on both sides needs no reset */
    finish(&hub, &node);
}

static void early_data_and_end_travel_with_the_open(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    struct user *u = open_from(&hub);
    write_n(u, 100);
    mux_finish(u->s);
    exchange(&hub, &node);
    assert_int_equal(node.n_frames, 1);
    assert_int_equal(node.users[0].got, 100);
    assert_int_equal(node.users[0].ended, 1);
    finish(&hub, &node);
}

static void one_that_does_not_read_stops_only_itself(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    node.lazy = true;
    struct user *slow = open_from(&hub);
    write_n(slow, 1 << 20);
    exchange(&hub, &node);
    node.lazy = false;
    assert_int_equal(node.users[0].got, 64 << 10); /* its window, not a byte more */
    struct user *fast = open_from(&hub);
    write_n(fast, 8 << 20);
    exchange(&hub, &node);
    assert_int_equal(node.users[1].got, 8 << 20);
    mux_want_drain(slow->s);
    for (int i = 0; i < 100 && node.users[0].held; i++) {
        size_t held = node.users[0].held;
        node.users[0].held = 0;
        mux_consumed(node.users[0].s, held, now);
        exchange(&hub, &node);
    }
    assert_int_equal(node.users[0].got, 1 << 20);
    assert_int_equal(slow->drained, 1);
    finish(&hub, &node);
}

static void a_window_grows_for_who_reads_fast(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    mux_tick(node.mux, now, 50000); /* a round trip of 50 ms */
    node.lazy = true;
    struct user *u = open_from(&hub);
    write_n(u, 32 << 20);
    size_t most = 0;
    for (int i = 0; i < 200; i++) {
        exchange(&hub, &node);
        size_t held = node.users[0].held;
        most = held > most ? held : most;
        node.users[0].held = 0;
        mux_consumed(node.users[0].s, held, now);
        now += 10;
    }
    assert_true(most >= 512 << 10 && most <= 1 << 20);
    finish(&hub, &node);
}

static void readers_that_died_free_the_link(void **state) {
    struct side hub, node;
    struct mux_facts f;
    (void)state;
    begin(&hub, &node);
    node.lazy = true;
    for (int i = 0; i < 60; i++)
        write_n(open_from(&hub), 1 << 20);
    exchange(&hub, &node);
    mux_facts(node.mux, &f);
    assert_true(f.buffered > (3 << 20)); /* above three quarters of the window */
    now += MUX_SHED_MS;
    mux_tick(node.mux, now, 1000);
    mux_facts(node.mux, &f);
    assert_true(f.buffered <= (3 << 20));
    exchange(&hub, &node);
    now += MUX_STALLED_MS;
    mux_tick(node.mux, now, 1000);
    exchange(&hub, &node);
    unsigned reset = 0;
    for (int i = 0; i < USERS; i++)
        reset += hub.users[i].reset && hub.users[i].code == RESET_STALLED;
    assert_int_equal(reset, 60);
    windows_are_whole(&hub, &node);
    struct user *u = open_from(&hub); /* and the link works on */
    node.lazy = false;
    write_n(u, 16 << 20);
    exchange(&hub, &node);
    assert_int_equal(mux_queued(u->s), 0);
    finish(&hub, &node);
}

/* Unread streams may hold the link's window up to the mark at which they are shed. The rest of it must go on turning. */
static void unread_streams_do_not_stop_the_link_below_the_mark(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    node.lazy = true;
    for (int i = 0; i < 40; i++)
        write_n(open_from(&hub), 64 << 10); /* 2.5 of 4 MiB */
    exchange(&hub, &node);
    node.lazy = false;
    struct user *fast = open_from(&hub);
    write_n(fast, 8 << 20);
    exchange(&hub, &node);
    assert_int_equal(node.users[40].got, 8 << 20);
    finish(&hub, &node);
}

static void a_deadline_ends_a_stream(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    struct mux_open o = http;
    o.deadline_ms = 100;
    struct user *u = new_user(&hub, mux_open(hub.mux, &o, now, NULL));
    exchange(&hub, &node);
    now += 100;
    mux_tick(node.mux, now, 0);
    exchange(&hub, &node);
    assert_int_equal(u->code, RESET_DEADLINE);
    finish(&hub, &node);
}

static void too_many_streams_are_refused(void **state) {
    struct side hub, node;
    struct err e;
    (void)state;
    begin(&hub, &node);
    for (int i = 0; i < USERS; i++) /* the hub takes 64 */
        assert_non_null(open_from(&node));
    assert_null(mux_open(node.mux, &http, now, &e));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    const struct mux_limits more = { 4096, 32 << 10, 64 << 10, 4 << 20 };
    finish(&hub, &node);
    begin(&hub, &node);
    mux_peer_limits(node.mux, &more); /* one that does not keep to it */
    for (int i = 0; i < USERS; i++)
        open_from(&node);
    exchange(&hub, &node);
    struct mux_stream *s = mux_open(node.mux, &http, now, NULL);
    struct user extra = { .side = &node, .s = s };
    mux_own(s, &extra);
    exchange(&hub, &node);
    assert_int_equal(extra.code, RESET_BUSY);
    finish(&hub, &node);
}

static void a_goodbye_refuses_what_did_not_arrive(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    struct user *old = open_from(&hub);
    write_n(old, 10);
    exchange(&hub, &node);
    mux_goaway(node.mux, RESET_DRAINING, 500, SV("restart"));
    struct user *late = open_from(&hub); /* crosses */
    write_n(late, 10);
    mux_take(node.mux, 1 << 20, deliver, &hub);
    assert_int_equal(late->code, RESET_REFUSED_STREAM);
    assert_int_equal(hub.last_id, 2);
    exchange(&hub, &node);
    assert_int_equal(old->reset, 0);
    assert_null(mux_open(hub.mux, &http, now, NULL));
    finish(&hub, &node);
}

static void a_lost_link_tells_everybody(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    struct user *a = open_from(&hub), *b = open_from(&hub);
    exchange(&hub, &node);
    mux_lost(hub.mux);
    assert_int_equal(a->code, RESET_LINK_LOST);
    assert_int_equal(b->code, RESET_LINK_LOST);
    finish(&hub, &node);
}

/* --- a peer that keeps to no rule ------------------------------------------------------------------------------------------------------- */

static unsigned feed(struct side *d, const struct frame *f, size_t data_n) {
    static char block[400 << 10];
    uint8_t head[FRAME_FIXED_MAX];
    const char *why;
    size_t n = frame_head(f, head);
    memset(block, 0, sizeof block);
    memcpy(block, head, n);
    bool fine = mux_feed(d->mux, (struct sv){ block, n + data_n }, now, &d->close_code, &why);
    assert_int_equal(fine, d->close_code == 0);
    return d->close_code;
}

static uint32_t last_reset; /* code of the last RESET that went out */
static uint32_t credited;
static bool note(void *arg, struct sv head, struct sv meta, struct sv data) {
    struct frame f;
    (void)arg;
    (void)meta;
    (void)data;
    if (frame_parse(head, &f) == FRAME_OK && f.type == FRAME_RESET)
        last_reset = f.code;
    if (frame_parse(head, &f) == FRAME_OK && f.type == FRAME_CREDIT && f.id == 0)
        credited += f.credit;
    return true;
}

static uint32_t reset_sent(struct side *d) {
    last_reset = 99;
    mux_take(d->mux, 1 << 20, note, NULL);
    return last_reset;
}

#define F_OPEN(n) (&(struct frame){ .type = FRAME_OPEN, .id = (n), .service = SERVICE_HTTP })
#define F_DATA(n) (&(struct frame){ .type = FRAME_DATA, .id = (n) })
#define F_FIN(n) (&(struct frame){ .type = FRAME_DATA, .id = (n), .fin = true })
#define F_CREDIT(n, c) (&(struct frame){ .type = FRAME_CREDIT, .id = (n), .credit = (c) })
#define F_RESET(n, c) (&(struct frame){ .type = FRAME_RESET, .id = (n), .code = (c) })

static void what_breaks_the_rules_is_answered_by_the_table(void **state) {
    struct side hub, node; /* the hub looks at a bad node: odd numbers */
    (void)state;
    begin(&hub, &node);
    hub.lazy = true;
    assert_int_equal(feed(&hub, F_OPEN(2), 0), 4002);               /* 29: our own parity */
    assert_int_equal(feed(&hub, F_OPEN(5), 0), 0);
    assert_int_equal(feed(&hub, F_OPEN(3), 0), 4002);               /* 29: not rising */
    assert_int_equal(feed(&hub, F_OPEN(5), 0), 4002);
    assert_int_equal(feed(&hub, F_DATA(7), 1), 4002);               /* 32: never opened */
    assert_int_equal(feed(&hub, F_DATA(2), 1), 4002);
    assert_int_equal(feed(&hub, F_RESET(9, 1), 0), 4002);
    assert_int_equal(feed(&hub, F_CREDIT(9, 1), 0), 4002);
    assert_int_equal(feed(&hub, F_CREDIT(3, 1), 0), 0);             /* below the highest: a late one */
    assert_int_equal(feed(&hub, F_CREDIT(5, 0), 0), 4009);          /* 36 */
    assert_int_equal(feed(&hub, F_CREDIT(5, 0x7fffffff), 0), 4009);
    assert_int_equal(feed(&hub, F_CREDIT(0, 0x7fffffff), 0), 4009);
    assert_int_equal(feed(&hub, F_CREDIT(0, 0x80000000u), 0), 4009);
    assert_int_equal(feed(&hub, F_FIN(5), 10), 0);
    assert_int_equal(hub.users[0].ended, 1);
    assert_int_equal(feed(&hub, F_DATA(5), 10), 0);                 /* 34: data after FIN */
    assert_int_equal(reset_sent(&hub), RESET_PROTOCOL);
    assert_int_equal(hub.users[0].code, RESET_PROTOCOL);
    assert_int_equal(feed(&hub, F_DATA(5), 10), 0);                 /* 33: a closed id */
    assert_int_equal(feed(&hub, F_OPEN(7), 0), 0);
    assert_int_equal(feed(&hub, F_DATA(7), (32 << 10) + 1), 0);     /* 37 */
    assert_int_equal(reset_sent(&hub), RESET_PROTOCOL);
    assert_int_equal(feed(&hub, F_OPEN(9), 0), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(feed(&hub, F_DATA(9), 32 << 10), 0);
    assert_int_equal(feed(&hub, F_DATA(9), 1), 0);                  /* 35: beyond the stream's window */
    assert_int_equal(reset_sent(&hub), RESET_FLOW_CONTROL);
    assert_int_equal(feed(&hub, &(struct frame){ .type = FRAME_OPEN, .id = 11, .service = 9 }, 0), 0);
    assert_int_equal(reset_sent(&hub), RESET_REFUSED_SERVICE);
    finish(&hub, &node);
}

static void the_links_window_is_kept(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    hub.lazy = true;
    uint32_t id = 1;
    for (int i = 0; i < 64; i++, id += 2) { /* 64 streams of 64 KiB are 4 MiB: just the window */
        assert_int_equal(feed(&hub, F_OPEN(id), 32 << 10), 0);
        assert_int_equal(feed(&hub, F_DATA(id), 32 << 10), 0);
    }
    assert_int_equal(feed(&hub, F_DATA(1), 1), 4009);
    finish(&hub, &node);
}

static void bytes_of_closed_streams_give_credit_back(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    hub.refuse = RESET_FORBIDDEN;
    credited = 0;
    for (uint32_t id = 1; id < 20001; id += 2) {
        assert_int_equal(feed(&hub, F_OPEN(id), 1000), 0);
        assert_int_equal(feed(&hub, F_DATA(id), 32 << 10), 0);
        (void)reset_sent(&hub);
    }
    assert_true(credited > 10000u * (33 << 10) - (5 << 20));
    finish(&hub, &node);
}

static void a_flood_of_resets_ends_the_link(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    uint32_t id = 1;
    now += 5000;
    unsigned code = 0;
    for (int i = 0; i < 900 && !code; i++, id += 2) { /* 300 a second */
        now += i % 3 ? 3 : 4;
        code = feed(&hub, F_OPEN(id), 0);
        code = code ? code : feed(&hub, F_RESET(id, RESET_CANCEL), 0);
        (void)reset_sent(&hub);
    }
    assert_int_equal(code, 4011);
    finish(&hub, &node);
    begin(&hub, &node);
    for (id = 1; id < 600; id += 2) { /* a burst is none */
        assert_int_equal(feed(&hub, F_OPEN(id), 0), 0);
        assert_int_equal(feed(&hub, F_RESET(id, RESET_CANCEL), 0), 0);
    }
    finish(&hub, &node);
}

static void resets_that_nobody_fetches_have_a_bound(void **state) {
    struct side hub, node;
    (void)state;
    begin(&hub, &node);
    hub.refuse = RESET_FORBIDDEN;
    unsigned code = 0;
    for (uint32_t id = 1; id < 60000 && !code; id += 2)
        code = feed(&hub, F_OPEN(id), 0);
    assert_int_equal(code, 4011);
    finish(&hub, &node);
}

/* --- everything at once ----------------------------------------------------------------------------------------------------------------- */

static void act(struct side *d, unsigned r) {
    struct user *u = &d->users[r / 16 % USERS];
    static char bytes[3000];
    if (!u->s) {
        if (r % 16 < 4)
            open_from(d);
        return;
    }
    switch (r % 16) {
    case 0:
        mux_release(u->s, RESET_CANCEL, SV("enough"));
        u->s = NULL;
        break;
    case 1:
        mux_finish(u->s);
        break;
    case 2:
    case 3:
        u->lazy = !u->lazy;
        break;
    default:
        if (mux_queued(u->s) < 200000)
            assert_true(mux_write(u->s, (struct sv){ bytes, r / 1024 % sizeof bytes }));
    }
    if (u->s && !u->lazy && u->held) {
        size_t held = u->held;
        u->held = 0;
        mux_consumed(u->s, held, now);
    }
}

static void a_million_steps_lose_no_credit(void **state) {
    struct side hub, node;
    unsigned seed = 7;
    (void)state;
    begin(&hub, &node);
    for (int i = 0; i < 1000000; i++) {
        now += i % 20 == 0;
        act(rand_r(&seed) & 1 ? &hub : &node, (unsigned)rand_r(&seed));
        if (i % 3 == 0)
            mux_take(hub.mux, (size_t)rand_r(&seed) % 9000, deliver, &node);
        if (i % 3 == 1)
            mux_take(node.mux, (size_t)rand_r(&seed) % 9000, deliver, &hub);
        assert_int_equal(hub.close_code | node.close_code, 0);
    }
    for (int i = 0; i < USERS; i++) {
        if (hub.users[i].s)
            mux_release(hub.users[i].s, RESET_CANCEL, SV_NULL);
        if (node.users[i].s)
            mux_release(node.users[i].s, RESET_CANCEL, SV_NULL);
        hub.users[i].s = node.users[i].s = NULL;
    }
    windows_are_whole(&hub, &node);
    windows_are_whole(&node, &hub);
    hub.lazy = node.lazy = false;
    struct user *u = open_from(&hub);
    write_n(u, 40 << 20); /* far more than the link's largest window: it moves only if all credit came back */
    exchange(&hub, &node);
    assert_int_equal(mux_queued(u->s), 0);
    finish(&hub, &node);
}

static void no_memory_is_survived(void **state) {
    (void)state;
    for (long n = 1; n < 200; n++) {
        struct side hub, node;
        begin(&hub, &node);
        mem_fail_at(n, 0);
        struct user *u = open_from(&hub);
        bool ok = !u || mux_write(u->s, SV("0123456789"));
        exchange(&hub, &node);
        mem_fail_at(0, 0);
        if (u && !ok && u->s) {
            mux_release(u->s, RESET_INTERNAL, SV_NULL);
            u->s = NULL;
        }
        finish(&hub, &node);
        if (n > 50)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways_and_end),
        cmocka_unit_test(early_data_and_end_travel_with_the_open),
        cmocka_unit_test(one_that_does_not_read_stops_only_itself),
        cmocka_unit_test(a_window_grows_for_who_reads_fast),
        cmocka_unit_test(readers_that_died_free_the_link),
        cmocka_unit_test(unread_streams_do_not_stop_the_link_below_the_mark),
        cmocka_unit_test(a_deadline_ends_a_stream),
        cmocka_unit_test(too_many_streams_are_refused),
        cmocka_unit_test(a_goodbye_refuses_what_did_not_arrive),
        cmocka_unit_test(a_lost_link_tells_everybody),
        cmocka_unit_test(what_breaks_the_rules_is_answered_by_the_table),
        cmocka_unit_test(the_links_window_is_kept),
        cmocka_unit_test(bytes_of_closed_streams_give_credit_back),
        cmocka_unit_test(a_flood_of_resets_ends_the_link),
        cmocka_unit_test(resets_that_nobody_fetches_have_a_bound),
        cmocka_unit_test(a_million_steps_lose_no_credit),
        cmocka_unit_test(no_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
