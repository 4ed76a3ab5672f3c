#include "link/engine.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "http/ws.h"

/* An end of a link, and what it told. */
struct end {
    struct engine *g;
    struct buf story;
    struct mux_stream *stream;
    unsigned code;   /* of the end; 1: none yet */
    bool is_up;
    struct sv answer; /* what it answers hello or register_agent with by itself; empty: nothing */
};

enum { NONE = 1 };
static uint64_t now = 100000;

#define HELLO "{\"proto\":{\"min\":1,\"max\":1},\"node_id\":\"n1\",\"instance\":\"i1\",\"clock\":\"2026-11-21T09:14:03.218Z\"}"
#define WELCOME "{\"epoch\":1,\"link_id\":\"l\",\"hub_id\":\"h\",\"heartbeat_ms\":15000}"
#define BEAT "{\"state\":\"running\",\"uptime_ms\":1}"

static void on_open(void *owner, struct mux_stream *s, const struct mux_open *o) {
    struct end *e = owner;
    buf_printf(&e->story, "open:%u:%u ", mux_id(s), o->service);
    e->stream = s;
    mux_own(s, e);
}
static void on_data(void *x, struct sv bytes) {
    struct end *e = x;
    buf_printf(&e->story, "data:%.*s ", SV_FMT(bytes));
    mux_consumed(e->stream, bytes.n, now);
}
static void on_fin(void *x) {
    struct end *e = x;
    buf_add(&e->story, SV("fin "));
}
static void on_reset(void *x, uint32_t code, struct sv reason) {
    struct end *e = x;
    (void)reason;
    buf_printf(&e->story, "reset:%s ", reset_name(code));
    mux_release(e->stream, RESET_CANCEL, SV_NULL);
    e->stream = NULL;
}
static void on_drain(void *x) {
    (void)x;
}
static void on_goaway(void *owner, uint32_t last_id, uint32_t code, uint32_t retry_ms, struct sv reason) {
    struct end *e = owner;
    (void)code;
    (void)reason;
    buf_printf(&e->story, "goaway:%u:%u ", last_id, retry_ms);
}
static void on_control(void *owner, struct envelope *m) {
    struct end *e = owner;
    buf_printf(&e->story, "%s ", link_kind_name(m->kind));
    if (m->kind == KIND_ERROR)
        buf_printf(&e->story, "(%.*s) ", SV_FMT(json_str(m->payload, "code")));
    if (m->kind == KIND_HELLO)
        engine_send(e->g, KIND_WELCOME, SV(WELCOME), m->msg_id);
    if (m->kind == KIND_WELCOME)
        engine_send(e->g, KIND_REGISTER, SV("{\"name\":\"attic\"}"), SV_NULL);
    if (m->kind == KIND_REGISTER)
        engine_send(e->g, KIND_REGISTERED, SV("{\"accepted\":true}"), m->msg_id);
}
static void on_up(void *owner) {
    struct end *e = owner;
    e->is_up = true;
    buf_add(&e->story, SV("up "));
}
static void on_end(void *owner, unsigned code, struct sv why) {
    struct end *e = owner;
    assert_int_equal(e->code, NONE);
    e->code = code;
    buf_printf(&e->story, "end:%u ", code);
    (void)why;
}

static const struct engine_events events = { { on_open, on_data, on_fin, on_reset, on_drain, on_goaway }, on_control, on_up, on_end };

static void end_init(struct end *e, bool is_hub, bool is_lane) {
    const struct engine_spec spec = { is_hub, !is_hub, is_lane, is_hub ? MUX_LIMITS_HUB : MUX_LIMITS_NODE, { "n1", 2 } };
    *e = (struct end){ .code = NONE };
    buf_init(&e->story, 1 << 20);
    e->g = engine_new(&spec, &events, e, now);
    assert_non_null(e->g);
}

static void end_deinit(struct end *e) {
    if (e->stream)
        mux_release(e->stream, RESET_CANCEL, SV_NULL);
    engine_free(e->g);
    buf_deinit(&e->story);
}

/* Moves bytes from one to the other, step at a time, each piece in a block of exactly its size. */
static bool carry(struct end *from, struct end *to, size_t step) {
    struct buf out = BUF_MAX(16 << 20);
    engine_fill(from->g, 64 << 10, &out);
    struct sv bytes = buf_sv(&out);
    bool any = bytes.n > 0;
    while (bytes.n) {
        struct sv piece = sv_first(bytes, step);
        char *exact = malloc(piece.n);
        memcpy(exact, piece.p, piece.n);
        engine_feed(to->g, (struct sv){ exact, piece.n }, now);
        free(exact);
        bytes = sv_from(bytes, piece.n);
    }
    buf_deinit(&out);
    return any;
}

static void talk(struct end *a, struct end *b, size_t step) {
    for (int i = 0; i < 1000; i++)
        if (!carry(a, b, step) & !carry(b, a, step))
            return;
}

static void link_up(struct end *hub, struct end *node, size_t step) {
    end_init(hub, true, false);
    end_init(node, false, false);
    assert_true(engine_send(node->g, KIND_HELLO, SV(HELLO), SV_NULL));
    talk(hub, node, step);
    assert_true(hub->is_up && node->is_up);
}

static void told(struct end *e, const char *want) {
    struct sv got = buf_sv(&e->story);
    if (!sv_eq(got, sv_of(want)))
        print_error("told: %.*s\nwant: %s\n", SV_FMT(got), want);
    assert_true(sv_eq(got, sv_of(want)));
    buf_reset(&e->story);
}

static void a_link_comes_up_and_carries_streams(void **state) {
    static const size_t steps[] = { 1, 7, 1 << 20 };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct end hub, node;
        link_up(&hub, &node, steps[i]);
        told(&hub, "hello register_agent up ");
        told(&node, "welcome registered up ");
        hub.stream = mux_open(engine_mux(hub.g), &(struct mux_open){ .service = SERVICE_HTTP, .priority = 1, .meta = SV("{\"x\":\"e1\"}") }, now, NULL);
        mux_own(hub.stream, &hub);
        assert_true(mux_write(hub.stream, SV("GET /")));
        mux_finish(hub.stream);
        assert_true(engine_send(node.g, KIND_HEARTBEAT, SV(BEAT), SV_NULL));
        talk(&hub, &node, steps[i]);
        assert_true(mux_write(node.stream, SV("200")));
        mux_finish(node.stream);
        talk(&hub, &node, steps[i]);
        told(&node, "open:2:1 data:GET / fin ");
        told(&hub, "heartbeat data:200 fin ");
        engine_close(hub.g, CLOSE_REPLACED, SV("a newer link"));
        talk(&hub, &node, steps[i]);
        told(&hub, "reset:link lost end:4010 ");
        told(&node, "reset:link lost end:4010 ");
        end_deinit(&hub);
        end_deinit(&node);
    }
}

/* A node that sends whatever the test wants, in frames of its own. */
struct raw {
    struct end hub;
    struct ws ws;
    uint64_t seq;
};

static void raw_feed(struct raw *r, struct buf *out) {
    engine_feed(r->hub.g, buf_sv(out), now);
    buf_deinit(out);
    buf_init(out, 4 << 20);
}

static void raw_init(struct raw *r, bool up) {
    struct buf out = BUF_MAX(4 << 20);
    *r = (struct raw){ 0 };
    end_init(&r->hub, true, false);
    assert_true(ws_init(&r->ws, WS_CLIENT, &WS_LIMITS));
    if (!up)
        return;
    static const struct { enum link_kind k; struct sv payload; } first[] = { { KIND_HELLO, { HELLO, sizeof HELLO - 1 } }, { KIND_REGISTER, { "{}", 2 } } };
    for (int i = 0; i < 2; i++) {
        struct buf text = BUF_MAX(65536);
        envelope_print(&text, &(struct envelope_head){ .kind = first[i].k, .seq = ++r->seq }, first[i].payload);
        assert_true(ws_send(&r->ws, WS_TEXT, buf_sv(&text), &out));
        buf_deinit(&text);
        raw_feed(r, &out);
    }
    buf_deinit(&out);
    assert_true(r->hub.is_up);
    buf_reset(&r->hub.story);
}

static void raw_text(struct raw *r, struct sv text) {
    struct buf out = BUF_MAX(4 << 20);
    assert_true(ws_send(&r->ws, WS_TEXT, text, &out));
    raw_feed(r, &out);
    buf_deinit(&out);
}

static void raw_kind(struct raw *r, const char *kind, uint64_t seq, const char *payload) {
    struct buf text = BUF_MAX(1 << 20);
    buf_printf(&text, "{\"v\":1,\"kind\":\"%s\",\"msg_id\":\"m%llu\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"seq\":%llu,\"payload\":%s}", kind,
               (unsigned long long)seq, (unsigned long long)seq, payload);
    raw_text(r, buf_sv(&text));
    buf_deinit(&text);
}

static void raw_binary(struct raw *r, const char *bytes, size_t n) {
    struct buf out = BUF_MAX(4 << 20);
    assert_true(ws_send(&r->ws, WS_BINARY, (struct sv){ bytes, n }, &out));
    raw_feed(r, &out);
    buf_deinit(&out);
}

/* The code of the last error message the hub sent, or "". */
static void raw_error(struct raw *r, char code[static 64]) {
    struct buf out = BUF_MAX(16 << 20);
    struct ws reader;
    code[0] = '\0';
    engine_fill(r->hub.g, 1 << 20, &out);
    struct sv in = buf_sv(&out);
    assert_true(ws_init(&reader, WS_CLIENT, &WS_LIMITS));
    struct buf back = BUF_MAX(1 << 20);
    for (enum ws_event ev; (ev = ws_feed(&reader, &in, now, &back)) != WS_MORE && ev != WS_CLOSED && ev != WS_FAILED;) {
        struct envelope m;
        struct envelope_fault f;
        if (ev != WS_TEXT || !envelope_read(reader.data, true, true, &m, &f))
            continue;
        if (m.kind == KIND_ERROR)
            (void)sv_to_cstr(json_str(m.payload, "code"), code, 64);
        envelope_free(&m);
    }
    ws_deinit(&reader);
    buf_deinit(&out);
    buf_deinit(&back);
}

static void raw_deinit(struct raw *r) {
    end_deinit(&r->hub);
    ws_deinit(&r->ws);
}

static void each_bad_message_gets_its_answer(void **state) {
    static const struct {
        const char *kind, *payload;
        int seq;         /* from the right one */
        const char *error;
        unsigned code;
    } rows[] = {
        { "heartbeat", BEAT, 0, "", NONE },
        { "heartbeat", BEAT, 1, "", 4002 },                                                    /* 16: skipped */
        { "heartbeat", BEAT, -1, "", 4002 },                                                   /* 16: repeated */
        { "frobnicate", "{}", 0, "unknown_kind", NONE },                                       /* 18 */
        { "heartbeat", "{\"state\":\"sleepy\",\"uptime_ms\":1}", 0, "invalid_payload", NONE }, /* 20 */
        { "hello", HELLO, 0, "wrong_state", NONE },
        { "welcome", WELCOME, 0, "wrong_direction", NONE },
        { "metrics", "{\"gauges\":{\"no_such_metric\":1}}", 0, "", NONE },                     /* 24 */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct raw r;
        char code[64];
        raw_init(&r, true);
        raw_kind(&r, rows[i].kind, r.seq + 1 + (uint64_t)(int64_t)rows[i].seq, rows[i].payload);
        raw_error(&r, code);
        assert_string_equal(code, rows[i].error);
        assert_int_equal(r.hub.code, rows[i].code);
        raw_deinit(&r);
    }
}

static void each_bad_frame_ends_the_link(void **state) {
    static const char short_frame[] = { 2, 0, 0, 0, 0, 0, 1 };
    static const char unknown[] = { 9, 0, 0, 0, 0, 0, 0, 1 };
    static const char reserved[] = { 2, 0, 0, 1, 0, 0, 0, 1 };
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = { { short_frame, 7 }, { unknown, 8 }, { reserved, 8 } }; /* 28 */
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct raw r;
        raw_init(&r, true);
        raw_binary(&r, rows[i].bytes, rows[i].n);
        assert_int_equal(r.hub.code, 4002);
        raw_deinit(&r);
    }
}

static void the_order_of_the_handshake_is_kept(void **state) {
    struct raw r;
    char code[64];
    static const char open[] = { 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0 };
    (void)state;
    raw_init(&r, false);
    raw_binary(&r, open, sizeof open); /* 8 */
    assert_int_equal(r.hub.code, 4002);
    raw_deinit(&r);
    raw_init(&r, false);
    for (uint64_t seq = 1; seq <= 3; seq++) { /* 23 */
        assert_int_equal(r.hub.code, NONE);
        raw_kind(&r, "heartbeat", seq, BEAT);
        raw_error(&r, code);
        assert_string_equal(code, "wrong_state");
    }
    assert_int_equal(r.hub.code, 4002);
    raw_deinit(&r);
}

static void time_runs_out(void **state) {
    struct end hub, node;
    (void)state;
    end_init(&hub, true, false);
    now += 4999;
    engine_tick(hub.g, now);
    assert_int_equal(hub.code, NONE);
    now += 1;
    engine_tick(hub.g, now); /* 7: nothing for 5 s */
    assert_int_equal(hub.code, 4004);
    end_deinit(&hub);
    link_up(&hub, &node, 1 << 20);
    for (int i = 0; i < 200; i++) { /* pings keep it alive */
        now += 1000;
        engine_tick(hub.g, now);
        engine_tick(node.g, now);
        talk(&hub, &node, 1 << 20);
    }
    assert_int_equal(hub.code, NONE);
    for (int i = 0; i < 61; i++) { /* and silence ends it */
        now += 1000;
        engine_tick(hub.g, now);
    }
    assert_int_equal(hub.code, CLOSE_SILENT);
    end_deinit(&hub);
    end_deinit(&node);
}

static void pings_that_are_not_answered_end_it(void **state) {
    struct raw r;
    (void)state;
    raw_init(&r, true);
    for (int i = 0; i < 200 && r.hub.code == NONE; i++) {
        now += 1000;
        engine_tick(r.hub.g, now);
        raw_kind(&r, "heartbeat", ++r.seq, BEAT); /* other bytes come all the while */
        struct buf gone = BUF_MAX(1 << 20);
        engine_fill(r.hub.g, 1 << 20, &gone);
        buf_deinit(&gone);
    }
    assert_int_equal(r.hub.code, CLOSE_TRY_LATER);
    raw_deinit(&r);
}

static void too_many_messages_are_stopped(void **state) {
    struct raw r;
    char code[64];
    (void)state;
    raw_init(&r, true);
    for (int i = 0; i < 199; i++)
        raw_kind(&r, "heartbeat", ++r.seq, BEAT);
    assert_int_equal(r.hub.code, NONE);
    for (int i = 0; i < 5 && r.hub.code == NONE; i++)
        raw_kind(&r, "heartbeat", ++r.seq, BEAT);
    assert_int_equal(r.hub.code, 4029);
    raw_error(&r, code);
    assert_string_equal(code, "rate_limited");
    raw_deinit(&r);
    raw_init(&r, true);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(r.hub.code, NONE);
        raw_text(&r, SV("[1,2]"));
    }
    assert_int_equal(r.hub.code, 1008);
    raw_deinit(&r);
}

static void sizes_have_bounds(void **state) {
    struct raw r;
    static char big[(1 << 20) + 16];
    (void)state;
    memset(big, ' ', sizeof big);
    raw_init(&r, true);
    raw_text(&r, (struct sv){ big, 300 << 10 }); /* 11 */
    assert_int_equal(r.hub.code, 1009);
    raw_deinit(&r);
    raw_init(&r, true);
    memset(big, 0, sizeof big);
    big[0] = FRAME_OPEN;
    big[7] = 1;
    big[8] = SERVICE_HTTP;
    raw_binary(&r, big, 16 + 1000);
    big[0] = FRAME_DATA;
    raw_binary(&r, big, 300 << 10); /* 37: larger than max_frame, not than what may be read */
    assert_int_equal(r.hub.code, NONE);
    assert_true(sv_find(buf_sv(&r.hub.story), SV("reset:protocol error")) >= 0);
    raw_binary(&r, big, (1 << 20) + 1);
    assert_int_equal(r.hub.code, 1009);
    raw_deinit(&r);
}

static void a_lane_carries_streams_alone(void **state) {
    struct end hub, node;
    (void)state;
    end_init(&hub, true, true);
    end_init(&node, false, true);
    assert_true(engine_is_up(hub.g));
    assert_false(engine_send(node.g, KIND_HEARTBEAT, SV(BEAT), SV_NULL));
    hub.stream = mux_open(engine_mux(hub.g), &(struct mux_open){ .service = SERVICE_HTTP }, now, NULL);
    mux_own(hub.stream, &hub);
    talk(&hub, &node, 3);
    told(&node, "open:2:1 ");
    engine_cut(hub.g, SV("gone"));
    told(&hub, "reset:link lost end:0 ");
    end_deinit(&hub);
    end_deinit(&node);
}

static void no_memory_is_survived(void **state) {
    (void)state;
    for (long n = 1; n < 400; n++) {
        struct end hub, node;
        end_init(&hub, true, false);
        end_init(&node, false, false);
        mem_fail_at(n, 0);
        engine_send(node.g, KIND_HELLO, SV(HELLO), SV_NULL);
        talk(&hub, &node, 1 << 20);
        int hit = mem_fail_hit();
        mem_fail_at(0, 0);
        end_deinit(&hub);
        end_deinit(&node);
        if (!hit)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_comes_up_and_carries_streams),
        cmocka_unit_test(each_bad_message_gets_its_answer),
        cmocka_unit_test(each_bad_frame_ends_the_link),
        cmocka_unit_test(the_order_of_the_handshake_is_kept),
        cmocka_unit_test(time_runs_out),
        cmocka_unit_test(pings_that_are_not_answered_end_it),
        cmocka_unit_test(too_many_messages_are_stopped),
        cmocka_unit_test(sizes_have_bounds),
        cmocka_unit_test(a_lane_carries_streams_alone),
        cmocka_unit_test(no_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
