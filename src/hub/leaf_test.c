#include "hub/leaf.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "http/ws.h"

/* A leaf's socket at the node, what the node was told, and the agent's own end of it. */
struct scene {
    struct leaf *f;
    struct ws ws;
    struct buf to_node, story, heard; /* heard: what the agent got, as "kind(code) " */
    unsigned code;
    enum link_fault verdict;
    bool pauses;
    uint64_t n;
    size_t step; /* bytes at a time; 0: all */
};

enum { NONE = 1 };
static uint64_t now = 100000;

static enum link_fault on_join(void *owner, struct sv agent_id) {
    struct scene *s = owner;
    buf_printf(&s->story, "join:%.*s ", SV_FMT(agent_id));
    return s->verdict;
}
static void on_message(void *owner, struct envelope *m) {
    struct scene *s = owner;
    buf_printf(&s->story, "%s ", link_kind_name(m->kind));
    if (s->pauses)
        leaf_pause(s->f, true, now);
}
static void on_end(void *owner, unsigned code, struct sv why) {
    struct scene *s = owner;
    assert_int_equal(s->code, NONE);
    assert_true(why.n < 200);
    s->code = code;
}
static const struct leaf_events events = { on_join, on_message, on_end };

static bool scene_try(struct scene *s) {
    const struct ws_limits limits = WS_LIMITS;
    *s = (struct scene){ .code = NONE };
    buf_init(&s->to_node, 4 << 20);
    buf_init(&s->story, 1 << 20);
    buf_init(&s->heard, 1 << 20);
    if (!ws_init(&s->ws, WS_CLIENT, &limits))
        return false;
    s->f = leaf_new(&events, s, now);
    if (!s->f) {
        ws_deinit(&s->ws);
        return false;
    }
    leaf_site(s->f, SV("attic"));
    return true;
}
static void scene_init(struct scene *s) {
    assert_true(scene_try(s));
}
static void scene_deinit(struct scene *s) {
    leaf_free(s->f);
    ws_deinit(&s->ws);
    buf_deinit(&s->to_node);
    buf_deinit(&s->story);
    buf_deinit(&s->heard);
}

/* All that is on its way, each piece in a block of exactly its size. */
static void carry(struct scene *s) {
    size_t step = s->step ? s->step : 1 << 20;
    struct sv up = buf_sv(&s->to_node);
    while (up.n) {
        struct sv piece = sv_first(up, step);
        char *exact = malloc(piece.n);
        assert_non_null(exact);
        memcpy(exact, piece.p, piece.n);
        if (!leaf_has_ended(s->f))
            leaf_feed(s->f, (struct sv){ exact, piece.n }, now);
        free(exact);
        up = sv_from(up, piece.n);
    }
    buf_reset(&s->to_node);
    struct buf *out = leaf_output(s->f);
    struct sv down = buf_sv(out);
    for (enum ws_event ev;
         (ev = ws_feed(&s->ws, &down, now, &s->to_node)) != WS_MORE && ev != WS_CLOSED && ev != WS_FAILED;) {
        if (ev != WS_TEXT)
            continue;
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(s->ws.data);
        yyjson_val *root = yyjson_doc_get_root(doc);
        buf_printf(&s->heard, "%.*s", SV_FMT(root ? json_str(root, "kind") : s->ws.data));
        if (json_str(json_get(root, "payload"), "code").n)
            buf_printf(&s->heard, "(%.*s)", SV_FMT(json_str(json_get(root, "payload"), "code")));
        buf_add_char(&s->heard, ' ');
    }
    buf_reset(out);
}

static void say(struct scene *s, struct sv text) {
    assert_true(ws_send(&s->ws, WS_TEXT, text, &s->to_node));
    carry(s);
}

/* more: further members of the envelope. */
static void say_kind(struct scene *s, const char *kind, const char *agent, const char *payload, const char *more) {
    char text[4096];
    snprintf(text, sizeof text,
             "{\"kind\":\"%s\",\"msg_id\":\"m%llu\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",%s%s%"
             "s\"payload\":%s%s}",
             kind, (unsigned long long)++s->n, agent ? "\"agent_id\":\"" : "", agent ? agent : "", agent ? "\"," : "",
             payload, more);
    say(s, sv_of(text));
}
static void join(struct scene *s) {
    say_kind(s, "register_agent", "bench-1", "{\"name\":\"bench\"}", "");
}
static bool was_told(const struct buf *b, const char *text) {
    return sv_find(buf_sv(b), sv_of(text)) >= 0;
}
#define STORY(s, text) assert_true(sv_eq(buf_sv(&(s)->story), SV(text)))
#define BEAT "{\"state\":\"running\",\"uptime_ms\":1}"

static void a_leaf_joins_and_is_heard(void **state) {
    for (size_t step = 1; step < 1 << 20; step = step == 1 ? 7 : 1 << 20) {
        struct scene s;
        (void)state;
        scene_init(&s);
        s.step = step;
        join(&s);
        say_kind(&s, "heartbeat", "bench-1", BEAT, ",\"site_id\":\"another\"");
        say_kind(&s, "ack", "bench-1", "{\"directive_id\":\"d1\",\"accepted\":true}", "");
        carry(&s);
        STORY(&s, "join:bench-1 register_agent heartbeat ack ");
        assert_int_equal(s.heard.n, 0);
        struct leaf_facts facts;
        leaf_facts(s.f, &facts);
        assert_int_equal(facts.n_messages, 3);
        assert_int_equal(facts.n_sites, 1); /* 46 */
        assert_true(
            leaf_send(s.f, &(struct envelope_head){ .kind = KIND_DIRECTIVE, .name = "preload_model" }, SV("{}")));
        leaf_send_text(s.f, SV("ok"));
        carry(&s);
        assert_true(sv_eq(buf_sv(&s.heard), SV("preload_model ok ")));
        assert_int_equal(s.code, NONE);
        scene_deinit(&s);
    }
}

/* The rows of link-protocol's table of bad inputs that a leaf can bring about, and those of the relay. */
static void each_bad_message_gets_its_answer(void **state) {
    static const struct {
        const char *kind, *agent, *payload, *more, *code;
    } rows[] = {
        { "preload_model", "bench-1", "{}", "", "wrong_direction" },
        { "restart_agent", "bench-1", "{}", "", "wrong_direction" },
        { "registered", "bench-1", "{\"accepted\":true}", "", "wrong_direction" },
        { "directive", "bench-1", "{}", "", "wrong_direction" },
        { "hub_status", "bench-1", "{\"state\":\"ready\"}", "", "wrong_direction" },
        { "frobnicate", "bench-1", "{}", "", "unknown_kind" },
        { "hello", "bench-1", "{\"proto\":{\"min\":1,\"max\":1},\"node_id\":\"n1\",\"instance\":\"i1\"}", "",
          "not_allowed" },
        { "agent_status", "bench-1", "{\"agent_id\":\"bench-1\",\"state\":\"connected\"}", "", "not_allowed" },
        { "capabilities", "bench-1", "{\"rev\":1}", "", "not_allowed" },
        { "log_event", "bench-1", "{\"level\":\"warn\",\"message\":\"x\"}", "", "not_allowed" },
        { "heartbeat", "bench-2", BEAT, "", "agent_mismatch" },
        { "register_agent", "bench-1", "{\"agent_id\":\"bench-2\"}", "", "agent_mismatch" },
        { "heartbeat", NULL, BEAT, "", "invalid_envelope" },
        { "heartbeat", "Bench 1", BEAT, "", "invalid_envelope" },
        { "heartbeat", "bench-1", "{\"state\":\"sleepy\"}", "", "invalid_payload" },
        { "heartbeat", "bench-1", "{\"state\":\"running\",\"uptime_ms\":-0.5}", "", "invalid_payload" },
        { "heartbeat", "bench-1", "{\"state\":\"running\",\"uptime_ms\":1e400}", "", "invalid_payload" },
        { "heartbeat", "bench-1", "[]", "", "invalid_envelope" },
        { "heartbeat", "bench-1", BEAT, ",\"kind\":\"heartbeat\"", "duplicate_member" },
        { "heartbeat", "bench-1", BEAT, ",\"v\":2", "invalid_envelope" },
        { "heartbeat", "bench-1", BEAT, ",\"x\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", "too_deep" },
        { "heartbeat", "bench-1", BEAT, ",\"via\":[\"shed\",\"attic\"]", "relay_loop" },
        { "heartbeat", "bench-1", BEAT, ",\"via\":[\"a\",\"b\",\"c\",\"d\"]", "relay_loop" },
        { "heartbeat", "bench-1", BEAT, ",\"via\":[\"a\",\"b\",\"c\",\"d\",\"e\"]", "relay_loop" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene s;
        char want[64];
        scene_init(&s);
        join(&s);
        say_kind(&s, rows[i].kind, rows[i].agent, rows[i].payload, rows[i].more);
        snprintf(want, sizeof want, "error(%s) ", rows[i].code);
        if (!sv_eq(buf_sv(&s.heard), sv_of(want)))
            fail_msg("row %zu: wanted %s, heard %.*s", i, want, SV_FMT(buf_sv(&s.heard)));
        STORY(&s, "join:bench-1 register_agent ");
        assert_int_equal(s.code, NONE); /* once is forgiven */
        say_kind(&s, "heartbeat", "bench-1", "{\"state\":\"running\",\"uptime_ms\":1,\"unknown\":{}}",
                 ",\"more\":1"); /* 19 */
        STORY(&s, "join:bench-1 register_agent heartbeat ");
        scene_deinit(&s);
    }
}

static void ten_invalid_messages_in_a_minute_end_it(void **state) {
    struct scene s;
    (void)state;
    scene_init(&s);
    for (int i = 0; i < 9; i++)
        say(&s, SV("[1,2]")); /* 13 */
    assert_int_equal(s.code, NONE);
    now += 61000;
    leaf_feed(s.f, SV(""), now);
    for (int i = 0; i < 9; i++)
        say(&s, i % 2 ? SV("\"x\"") : SV("{} {}"));
    assert_int_equal(s.code, NONE);
    say(&s, SV("{"));
    assert_int_equal(s.code, WS_POLICY);
    STORY(&s, "");
    scene_deinit(&s);
}

static void another_name_ends_it_at_the_second_time(void **state) {
    struct scene s;
    (void)state;
    scene_init(&s);
    join(&s);
    say_kind(&s, "heartbeat", "bench-2", BEAT, "");
    assert_int_equal(s.code, NONE);
    say_kind(&s, "heartbeat", "bench-3", BEAT, "");
    assert_int_equal(s.code, WS_POLICY); /* 45 */
    scene_deinit(&s);
}

static void the_first_message_is_register_agent(void **state) {
    struct scene s;
    (void)state;
    scene_init(&s);
    for (int i = 0; i < 3; i++)
        say_kind(&s, "heartbeat", "bench-1", BEAT, "");
    assert_true(was_told(&s.heard, "error(wrong_state) error(wrong_state) error(wrong_state) "));
    assert_int_equal(s.code, CLOSE_PROTOCOL); /* 23 */
    STORY(&s, "");
    scene_deinit(&s);
}

static void who_may_not_join_is_told_why(void **state) {
    static const struct {
        enum link_fault verdict;
        unsigned code;
    } rows[] = { { FAULT_DUPLICATE_AGENT, CLOSE_REPLACED },
                 { FAULT_IDENTITY, CLOSE_IDENTITY },
                 { FAULT_BUSY, CLOSE_REFUSED } };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct scene s;
        char want[64];
        scene_init(&s);
        s.verdict = rows[i].verdict;
        join(&s);
        snprintf(want, sizeof want, "error(%s) ", link_fault_name(rows[i].verdict));
        assert_true(sv_eq(buf_sv(&s.heard), sv_of(want)));
        assert_int_equal(s.code, rows[i].code);
        STORY(&s, "join:bench-1 ");
        scene_deinit(&s);
    }
}

static void the_third_binary_message_ends_it(void **state) {
    struct scene s;
    (void)state;
    scene_init(&s);
    join(&s);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s.code, NONE);
        assert_true(ws_send(&s.ws, WS_BINARY, SV("x"), &s.to_node));
        carry(&s);
    }
    assert_true(
        sv_eq(buf_sv(&s.heard), SV("error(binary_not_allowed) error(binary_not_allowed) error(binary_not_allowed) ")));
    assert_int_equal(s.code, CLOSE_DATA_TYPE);
    scene_deinit(&s);
}

static void frames_that_are_none_and_texts_too_large_end_it(void **state) {
    static char big[300 << 10];
    struct scene s;
    (void)state;
    scene_init(&s);
    memset(big, ' ', sizeof big);
    assert_true(ws_send(&s.ws, WS_TEXT, (struct sv){ big, sizeof big }, &s.to_node));
    carry(&s);
    assert_int_equal(s.code, WS_TOO_BIG); /* 11 */
    scene_deinit(&s);
    scene_init(&s);
    leaf_feed(s.f, SV("\x81\x02{}"), now);
    assert_int_equal(s.code, WS_BAD_PROTOCOL); /* 6: no mask */
    scene_deinit(&s);
    scene_init(&s);
    leaf_feed(s.f, SV("\x81\x81\x01\x02\x03\x04\xfe"), now);
    assert_int_equal(s.code, WS_BAD_TEXT); /* 12 */
    scene_deinit(&s);
}

static void more_than_the_rate_is_refused_and_then_ends_it(void **state) {
    struct scene s;
    (void)state;
    scene_init(&s);
    join(&s);
    for (int i = 0; i < 99; i++)
        say_kind(&s, "heartbeat", "bench-1", BEAT, "");
    assert_int_equal(s.heard.n, 0);
    for (int i = 0; i < 20 * 5; i++) { /* 20 a second, for as long as it likes */
        now += 50;
        say_kind(&s, "heartbeat", "bench-1", BEAT, "");
    }
    assert_int_equal(s.heard.n, 0);
    for (int i = 0; i < 3; i++) { /* 47 */
        assert_int_equal(s.code, NONE);
        say_kind(&s, "heartbeat", "bench-1", BEAT, "");
    }
    assert_true(sv_eq(buf_sv(&s.heard), SV("error(rate_limited) error(rate_limited) error(rate_limited) ")));
    assert_int_equal(s.code, CLOSE_RATE);
    scene_deinit(&s);
}

static void nothing_is_taken_while_it_is_paused(void **state) {
    struct scene s;
    (void)state;
    scene_init(&s);
    s.pauses = true;
    for (int i = 0; i < 2; i++)
        say_kind(&s, "register_agent", "bench-1", "{}", "");
    STORY(&s, "join:bench-1 register_agent ");
    now += 120000;
    leaf_tick(s.f, now); /* it is not its fault that nothing is heard */
    assert_int_equal(s.code, NONE);
    leaf_pause(s.f, false, now);
    STORY(&s, "join:bench-1 register_agent register_agent ");
    static char much[LEAF_HELD_MAX];
    leaf_feed(s.f, (struct sv){ much, sizeof much }, now);
    assert_int_equal(s.code, NONE);
    leaf_feed(s.f, SV("x"), now);
    assert_int_equal(s.code, CLOSE_SILENT);
    scene_deinit(&s);
}

static void time_runs_out(void **state) {
    struct scene s;
    (void)state;
    scene_init(&s);
    now += ENGINE_REGISTER_MS;
    leaf_tick(s.f, now);
    assert_int_equal(s.code, CLOSE_HANDSHAKE); /* 7 */
    scene_deinit(&s);
    scene_init(&s);
    join(&s);
    now += ENGINE_READ_MS;
    leaf_tick(s.f, now);
    assert_int_equal(s.code, CLOSE_SILENT);
    scene_deinit(&s);
    scene_init(&s); /* pings are answered by the agent's end */
    join(&s);
    for (int i = 0; i < 20; i++) {
        now += 11000;
        leaf_tick(s.f, now);
        carry(&s);
        carry(&s);
        assert_int_equal(s.code, NONE);
    }
    for (int i = 0; i < 60 && s.code == NONE; i++) { /* and then not, though it goes on talking */
        now += 5000;
        leaf_tick(s.f, now);
        buf_reset(leaf_output(s.f));
        say_kind(&s, "heartbeat", "bench-1", BEAT, "");
    }
    assert_int_equal(s.code, CLOSE_TRY_LATER);
    scene_deinit(&s);
}

static void no_memory_is_survived(void **state) {
    int hit = 1;
    (void)state;
    for (long n = 1; n < 400 && hit; n++) {
        struct scene s;
        mem_fail_at(n, 0);
        if (scene_try(&s)) {
            char text[] = "{\"kind\":\"register_agent\",\"msg_id\":\"m1\",\"ts\":\"2026-11-21T09:14:03.218Z\","
                          "\"direction\":\"up\",\"agent_id\":\"b\",\"payload\":{}}";
            if (ws_send(&s.ws, WS_TEXT, sv_of(text), &s.to_node))
                carry(&s);
            if (!leaf_has_ended(s.f))
                leaf_send(s.f, &(struct envelope_head){ .kind = KIND_ACK }, SV("{}"));
            hit = mem_fail_hit();
            mem_fail_at(0, 0);
            scene_deinit(&s);
        } else {
            hit = mem_fail_hit();
            mem_fail_at(0, 0);
            buf_deinit(&s.to_node);
            buf_deinit(&s.story);
            buf_deinit(&s.heard);
        }
    }
    assert_false(hit);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leaf_joins_and_is_heard),
        cmocka_unit_test(each_bad_message_gets_its_answer),
        cmocka_unit_test(ten_invalid_messages_in_a_minute_end_it),
        cmocka_unit_test(another_name_ends_it_at_the_second_time),
        cmocka_unit_test(the_first_message_is_register_agent),
        cmocka_unit_test(who_may_not_join_is_told_why),
        cmocka_unit_test(the_third_binary_message_ends_it),
        cmocka_unit_test(frames_that_are_none_and_texts_too_large_end_it),
        cmocka_unit_test(more_than_the_rate_is_refused_and_then_ends_it),
        cmocka_unit_test(nothing_is_taken_while_it_is_paused),
        cmocka_unit_test(time_runs_out),
        cmocka_unit_test(no_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
