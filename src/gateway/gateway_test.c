/* The whole way of a request in one loop and one thread: client, server, gateway, HTTP client and a runtime, joined by pairs of
 * streams in memory. Each case is run again with each of its allocations failing: the client must get the right answer, an
 * honest error or a cut connection, nothing may be left behind, and the next request must be served. */
#include "gateway/gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fleet/snapshot.h"
#include "io/pair.h"

#define WHOLE "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"real\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," \
              "\"content\":\"Hi.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}"
#define CHUNK(delta, finish) "data: {\"id\":\"c\",\"model\":\"real\",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":" finish "}]}\n\n"
#define USAGE "data: {\"id\":\"c\",\"model\":\"real\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n"

enum { WAIT_MS = 5000, ROOM_MS = 1 };

static struct house {
    struct loop loop;
    struct metrics *metrics;
    struct gateway_shared shared;
    struct config *config;
    struct gateway *gateway;
    struct http_server *front, *back;
    struct dialer *dialer;
    struct cell *cell, *target_cell;
    struct fleet_endpoint endpoint;
    struct fleet_model model;
    struct gateway_listener listener;
    struct timer late;
    struct buf got;
    struct schedule held; /* the only place of the runtime, while it is full */
    struct timer room;
    bool fills;           /* it is when the request comes, for a moment */
    bool ended, is_late, cuts; /* cuts: the runtime's stream just ends */
    int status;       /* of the runtime */
    const char *count; /* what its tokenizer says */
    unsigned n_counts;
} h;

/* --- the runtime -------------------------------------------------------------------------------------------------- */

static char back_body[4096]; /* not through mem.c: the runtime's memory does not fail */
static size_t back_n;

static void on_back_body(void *x, struct sv bytes) {
    (void)x;
    assert_true(back_n + bytes.n < sizeof back_body);
    memcpy(back_body + back_n, bytes.p, bytes.n);
    back_n += bytes.n;
}

static void on_back_body_end(void *x);

static void on_back_gone(void *x, const struct err *e) {
    (void)x;
    (void)e;
}

static const struct http_in_events back_in = { on_back_body, on_back_body_end, NULL, on_back_gone, NULL };
static struct http_in *asked;

static void on_back_body_end(void *x) {
    struct http_in *in = asked;
    bool stream = sv_find((struct sv){ back_body, back_n }, SV("\"stream\":true")) >= 0;
    struct http_header type = { SV("content-type"), SV("text/event-stream") };
    (void)x;
    if (sv_eq(in->head->path, SV("/v1/messages/count_tokens"))) {
        h.n_counts++;
        http_in_reply(in, 200, NULL, 0, SV("application/json"), sv_of(h.count));
    } else if (h.status != 200) {
        http_in_reply(in, h.status, NULL, 0, SV("application/json"), SV("{\"error\":{\"message\":\"no\"}}"));
    } else if (!stream) {
        http_in_reply(in, 200, NULL, 0, SV("application/json"), SV(WHOLE));
    } else {
        http_in_start(in, 200, &type, 1, -1);
        http_in_send(in, SV(CHUNK("\"role\":\"assistant\",\"content\":\"\"", "null") CHUNK("\"content\":\"Hi\"", "null")));
        if (h.cuts) {
            http_in_finish(in);
            return;
        }
        http_in_send(in, SV(CHUNK("\"content\":\".\"", "null") CHUNK("", "\"stop\"") USAGE "data: [DONE]\n\n"));
        http_in_finish(in);
    }
}

static void on_back_request(void *owner, struct http_in *in) {
    (void)owner;
    back_n = 0;
    asked = in;
    in->on = &back_in;
    in->x = in;
    http_in_body(in);
}

static const struct http_server_events back_events = { on_back_request, NULL, NULL };

static void on_dial(void *owner, struct stream *s) {
    (void)owner;
    http_serve(h.back, s, NULL);
}

/* --- the house ---------------------------------------------------------------------------------------------------- */

static void on_front_request(void *owner, struct http_in *in) {
    gateway_request(owner, in);
}

static const struct http_server_events front_events = { on_front_request, NULL, NULL };

static struct cell *target_cell(void *arg, const struct fleet_endpoint *p, struct sv id) {
    (void)arg;
    (void)p;
    (void)id;
    return h.target_cell;
}

/* context: of the model, in tokens, with a guard; 0: neither */
static void publish_guarded(unsigned speaks, uint64_t context) {
    const struct config_model slug = { .slug = SV("shown"), .targets = { (struct sv[]){ SV("it/real") }, 1 }, .context_guard = context > 0 };
    h.endpoint.speaks = speaks;
    h.model.context = context;
    struct snapshot_source src = { .endpoints = &h.endpoint, .n_endpoints = 1, .models = &slug, .n_models = 1, .cells = { target_cell, NULL }, .version = 1 };
    struct err e;
    struct snapshot *s = snapshot_build(&src, &e);
    assert_non_null(s);
    gateway_snapshot(h.gateway, s);
    snapshot_unref(s);
}

static void publish(unsigned speaks) {
    publish_guarded(speaks, 0);
}

static int setup(void **state) {
    struct err e;
    struct config_report report = { 0 };
    const struct config_source source = { .path = "test", .text = SV("slugs: names\n"), .no_files = true };
    (void)state;
    assert_true(loop_init(&h.loop, &e));
    h.config = config_load(&source, &report);
    assert_non_null(h.config);
    h.metrics = metrics_new(1, 64);
    h.shared.metrics = h.metrics;
    h.gateway = gateway_new(&h.loop, &h.shared, metrics_shard(h.metrics, 0), h.config, &e);
    h.front = http_server_new(&h.loop, &front_events, h.gateway, &e);
    h.back = http_server_new(&h.loop, &back_events, NULL, &e);
    assert_true(h.gateway && h.front && h.back);
    struct http_server_limits limits = {
        .head = { 8192, 8192, 32768, 100, 4096 }, .body_max = 1 << 20, .head_deadline_ms = 5000, .keepalive_idle_ms = 5000, .body_idle_ms = 5000,
        .client_stall_ms = 5000, .lifetime_ms = 100000, .pipeline_ahead = 65536, .requests_per_connection = 1000,
    };
    http_server_limits(h.front, &limits);
    http_server_limits(h.back, &limits);
    h.dialer = dialer_pair(on_dial, NULL, &e);
    h.cell = cell_new();
    h.target_cell = cell_new();
    h.model = (struct fleet_model){ .id = SV("real"), .loaded = FLEET_LOADED_YES };
    h.endpoint = (struct fleet_endpoint){ .name = SV("it"), .url = SV("http://it"), .kind = SV("openai"), .state = FLEET_UP, .dialer = h.dialer,
                                          .host = SV("it"), .usage_switch = true, .weight = 100, .local = true, .cell = h.cell, .models = &h.model, .n_models = 1 };
    h.listener.address = SV("127.0.0.1");
    buf_init(&h.got, 1 << 20);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    http_server_free(h.front);
    gateway_free(h.gateway);
    http_server_free(h.back);
    dialer_unref(h.dialer);
    timer_stop(&h.loop, &h.late);
    loop_deinit(&h.loop);
    cell_unref(h.cell);
    cell_unref(h.target_cell);
    metrics_free(h.metrics);
    config_unref(h.config);
    buf_deinit(&h.got);
    return 0;
}

/* --- the client --------------------------------------------------------------------------------------------------- */

static void on_read(void *owner, struct sv bytes) {
    (void)owner;
    char *to = realloc(h.got.base, h.got.n + bytes.n + 1); /* not through mem.c: it must not fail */
    assert_non_null(to);
    memcpy(to + h.got.n, bytes.p, bytes.n);
    h.got.base = h.got.p = to;
    h.got.n += bytes.n;
    to[h.got.n] = '\0';
}

static void on_end(void *owner, const struct err *e) {
    (void)owner;
    (void)e;
    h.ended = true;
}

static const struct stream_events client_events = { on_read, on_end, NULL, NULL };

static struct cell other;

static void make_room(void *arg) {
    (void)arg;
    timer_stop(&h.loop, &h.room);
    schedule_release(&h.held, loop_now_us(&h.loop));
}

static void fill(void) {
    static const struct fleet_target target = { .endpoint = &h.endpoint, .model = &h.model, .cell = &other };
    static const struct fleet_target *list[] = { &target };
    static const struct fleet_slug slug = { .targets = list, .n_targets = 1 };
    const struct schedule_want any = { .now_us = loop_now_us(&h.loop) };
    h.held = (struct schedule){ .slug = &slug };
    assert_true(schedule_next(&h.held, &any));
    timer_set(&h.loop, &h.room, ROOM_MS, make_room, NULL);
}

static void on_late(void *arg) {
    (void)arg;
    h.is_late = true;
}

/* Whether all of the answer is there; the server would wait for us to close a moment longer. */
static bool is_complete(void) {
    struct sv all = { h.got.base, h.got.n };
    ptrdiff_t blank = h.got.n ? sv_find(all, SV("\r\n\r\n")) : -1, length = blank < 0 ? -1 : sv_find(all, SV("content-length: "));
    if (blank < 0)
        return false;
    if (length < 0 || length > blank)
        return h.got.n >= 5 && memcmp(h.got.base + h.got.n - 5, "0\r\n\r\n", 5) == 0;
    return h.got.n - (size_t)blank - 4 >= strtoull(h.got.base + length + 16, NULL, 10);
}

/* One request on a connection of its own; fail_at 0: no allocation fails. Returns what came back, as text. */
static const char *ask(const char *path, const char *body, long fail_at, int *ret_hit) {
    struct stream *client, *server;
    struct err e;
    char request[2048];
    int n = snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
                     "content-length: %zu\r\n\r\n%s", path, strlen(body), body);
    h.got.n = 0;
    if (h.got.base)
        h.got.base[0] = '\0';
    h.ended = h.is_late = false;
    assert_true(stream_pair(&h.loop, &client, &server, &e));
    stream_own(client, &client_events, NULL);
    stream_read(client, true);
    http_serve(h.front, server, &h.listener);
    if (h.fills)
        fill();
    stream_write1(client, (struct sv){ request, (size_t)n });
    if (fail_at) /* from here on: the connection and what was sent are there */
        mem_fail_at(fail_at, (int)(fail_at % 2));
    timer_set(&h.loop, &h.late, WAIT_MS, on_late, NULL);
    while (!h.ended && !h.is_late && !is_complete())
        uv_run(&h.loop.uv, UV_RUN_NOWAIT); /* never waits: what pairs carry arrives between two turns */
    *ret_hit = mem_fail_hit();
    mem_fail_at(0, 0);
    timer_stop(&h.loop, &h.late);
    make_room(NULL);
    stream_close(client);
    if (h.is_late)
        print_error("no answer and no end for allocation %ld; so far: %.300s\n", fail_at, h.got.base ? h.got.base : "");
    assert_false(h.is_late);
    for (int i = 0; i < 4; i++) /* what ends at the end of a turn */
        uv_run(&h.loop.uv, UV_RUN_NOWAIT);
    return h.got.n ? h.got.base : "";
}

static void nothing_is_left(void) {
    assert_int_equal(atomic_load(&h.shared.buffered), 0);
    assert_int_equal(atomic_load(&h.shared.streams), 0);
    assert_int_equal(atomic_load(&h.cell->in_flight), 0);
    assert_int_equal(atomic_load(&h.target_cell->in_flight), 0);
    assert_int_equal(atomic_load(&h.target_cell->waiting), 0);
    assert_int_equal(cell_queued(h.cell), 0);
}

/* Failures speak against the place; here they were ours. */
static void forgive(void) {
    atomic_store(&h.cell->avoid_until_us, 0);
    atomic_store(&h.cell->failed_in_row, 0);
    atomic_store(&h.cell->retry_after_us, 0);
}

/* right: in a complete good answer; its end. What is not complete must be a refusal, an error in the stream, or cut. */
static void check(const char *path, const char *body, const char *right, const char *end) {
    int hit = 1;
    const char *got = ask(path, body, 0, &hit);
    if (!strstr(got, right))
        print_error("%s\n", got);
    assert_non_null(strstr(got, "HTTP/1.1 200 "));
    assert_non_null(strstr(got, right));
    assert_non_null(strstr(got, end));
    nothing_is_left();
    hit = 1;
    for (long i = 1; hit; i++) {
        got = ask(path, body, i, &hit);
        bool whole = strstr(got, right) && strstr(got, end);
        bool refused = strstr(got, "HTTP/1.1 503 ") || strstr(got, "HTTP/1.1 502 ") || strstr(got, "HTTP/1.1 504 ") || strstr(got, "HTTP/1.1 500 ");
        bool told = strstr(got, "\"error\"") != NULL;
        bool is_cut = !strstr(got, "\r\n0\r\n\r\n") && !strstr(got, end);
        if (!whole && !refused && !told && !is_cut)
            print_error("allocation %ld: %s\n", i, got);
        assert_true(whole || refused || told || is_cut);
        nothing_is_left();
        forgive();
        int none;
        got = ask(path, body, 0, &none);
        if (!strstr(got, right) || !strstr(got, end))
            print_error("after allocation %ld: %s\n", i, got);
        assert_true(strstr(got, right) && strstr(got, end));
        nothing_is_left();
        assert_true(i < 2000);
    }
}

#define CHAT "{\"model\":\"shown\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define MESSAGES "{\"model\":\"shown\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void passed_through(void **state) {
    (void)state;
    publish(LLM_SPEAKS_CHAT);
    check("/v1/chat/completions", CHAT "}", "\"content\":\"Hi.\"", "\"total_tokens\":5}}");
    check("/v1/chat/completions", CHAT ",\"stream\":true}", "{\"content\":\".\"}", "data: [DONE]");
}

/* The request comes while there is no room. */
static void waited_in_line(void **state) {
    int none;
    (void)state;
    h.endpoint.max_concurrent = 1;
    publish(LLM_SPEAKS_CHAT);
    h.fills = true;
    assert_non_null(strstr(ask("/v1/chat/completions", CHAT "}", 0, &none), "drover-queue-place: 1\r\n"));
    check("/v1/chat/completions", CHAT "}", "\"content\":\"Hi.\"", "\"total_tokens\":5}}");
    h.fills = false;
    h.endpoint.max_concurrent = 0;
}

static void translated(void **state) {
    (void)state;
    publish(LLM_SPEAKS_CHAT);
    check("/v1/messages", MESSAGES "}", "\"text\":\"Hi.\"", "\"output_tokens\":2}}");
    check("/v1/messages", MESSAGES ",\"stream\":true}", "\"text\":\".\"", "\"type\":\"message_stop\"");
    check("/api/chat", CHAT "}", "\"content\":\".\"", "\"done\":true");
    check("/v1/responses", "{\"model\":\"shown\",\"input\":\"hi\",\"stream\":true}", "\"delta\":\".\"", "\"type\":\"response.completed\"");
}

/* The prompts have about ten tokens by the estimate. */
static void counted_first(void **state) {
    int none;
    (void)state;
    publish_guarded(LLM_SPEAKS_CHAT | LLM_SPEAKS_ANTHROPIC_COUNT, 20);
    h.count = "{\"input_tokens\":20}";
    h.n_counts = 0;
    check("/v1/chat/completions", CHAT "}", "\"content\":\"Hi.\"", "\"total_tokens\":5}}");
    check("/v1/messages", MESSAGES ",\"stream\":true}", "\"text\":\".\"", "\"type\":\"message_stop\"");
    assert_true(h.n_counts > 100);
    h.count = "{\"input_tokens\":21}";
    int hit = 1;
    for (long i = 0; hit; i++) { /* refused by the count, or without it served by the estimate */
        const char *got = ask("/v1/chat/completions", CHAT "}", i, &hit);
        bool refused = strstr(got, "HTTP/1.1 400 ") != NULL; /* without words when there is no memory for them */
        assert_true(i > 0 || strstr(got, "prompt is too long: 21 tokens, limit 20"));
        assert_true(refused || !*got || strstr(got, "HTTP/1.1 503 ") || strstr(got, "HTTP/1.1 502 ") || strstr(got, "\"total_tokens\":5}}"));
        hit = hit || i == 0;
        nothing_is_left();
        forgive();
    }
    h.count = "{\"input_tokens\":-21}";
    assert_non_null(strstr(ask("/v1/chat/completions", CHAT "}", 0, &none), "HTTP/1.1 200 "));
    publish_guarded(LLM_SPEAKS_CHAT | LLM_SPEAKS_ANTHROPIC_COUNT, 8);
    assert_non_null(strstr(ask("/v1/chat/completions", CHAT "}", 0, &none), " tokens (estimated), limit 8"));
    nothing_is_left();
}

static void under_opaque_names(void **state) {
    (void)state;
    publish(LLM_SPEAKS_CHAT);
    h.config->slugs = CONFIG_SLUGS_OPAQUE;
    check("/v1/chat/completions", CHAT "}", "\"model\":\"shown\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi.\"}", "\"total_tokens\":5}}");
    check("/v1/chat/completions", CHAT ",\"stream\":true}", "\"model\":\"shown\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\".\"}", "data: [DONE]");
    h.config->slugs = CONFIG_SLUGS_NAMES;
}

static void a_runtime_that_fails(void **state) {
    int none;
    (void)state;
    publish(LLM_SPEAKS_CHAT);
    h.cuts = true;
    const char *got = ask("/v1/messages", MESSAGES ",\"stream\":true}", 0, &none);
    assert_non_null(strstr(got, "event: error\n"));
    assert_null(strstr(got, "message_stop"));
    forgive();
    got = ask("/v1/chat/completions", CHAT ",\"stream\":true}", 0, &none);
    assert_non_null(strstr(got, "data: {\"error\":"));
    h.cuts = false;
    forgive();
    h.status = 400;
    got = ask("/v1/messages", MESSAGES "}", 0, &none);
    assert_non_null(strstr(got, "HTTP/1.1 400 "));
    assert_non_null(strstr(got, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no\"}"));
    got = ask("/v1/chat/completions", CHAT "}", 0, &none);
    assert_non_null(strstr(got, "{\"error\":{\"message\":\"no\"}}"));
    h.status = 503;
    got = ask("/v1/messages", MESSAGES "}", 0, &none);
    assert_non_null(strstr(got, "\"type\":\"overloaded_error\""));
    h.status = 200;
    forgive();
    nothing_is_left();
}

static void what_cannot_be_translated(void **state) {
    int none;
    (void)state;
    publish(LLM_SPEAKS_EMBEDDINGS);
    assert_non_null(strstr(ask("/v1/messages", MESSAGES "}", 0, &none), "HTTP/1.1 501 "));
    publish(LLM_SPEAKS_CHAT);
    const char *got = ask("/v1/messages", MESSAGES ",\"mcp_servers\":[{}]}", 0, &none);
    assert_non_null(strstr(got, "HTTP/1.1 400 "));
    assert_non_null(strstr(got, "\\\"mcp_servers\\\" is not available on this model's runtime"));
    nothing_is_left();
}

/* The last one: the house is taken down while a word to one that waits is on its way. */
static void a_bell_that_still_rings_when_the_gateway_goes(void **state) {
    struct stream *client, *server;
    struct err e;
    char request[512];
    int n = snprintf(request, sizeof request, "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                     "content-length: %zu\r\n\r\n" CHAT "}", strlen(CHAT "}"));
    (void)state;
    h.endpoint.max_concurrent = 1;
    publish(LLM_SPEAKS_CHAT);
    assert_true(stream_pair(&h.loop, &client, &server, &e));
    stream_own(client, &client_events, NULL);
    http_serve(h.front, server, &h.listener);
    fill();
    timer_stop(&h.loop, &h.room);
    stream_write1(client, (struct sv){ request, (size_t)n });
    for (int turn = 0; turn < 1000 && cell_queued(h.cell) == 0; turn++)
        uv_run(&h.loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(cell_queued(h.cell), 1);
    make_room(NULL);
    stream_close(client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passed_through),
        cmocka_unit_test(waited_in_line),
        cmocka_unit_test(translated),
        cmocka_unit_test(counted_first),
        cmocka_unit_test(under_opaque_names),
        cmocka_unit_test(a_runtime_that_fails),
        cmocka_unit_test(what_cannot_be_translated),
        cmocka_unit_test(a_bell_that_still_rings_when_the_gateway_goes),
    };
    h.status = 200;
    return cmocka_run_group_tests_name("gateway/gateway", tests, setup, teardown);
}
