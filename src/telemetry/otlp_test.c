/* What is printed is read back as JSON and looked at by path; so no test depends on the order of members. */
#include "telemetry/otlp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "telemetry/otlp_words.h"

static const struct otlp_source from = { { "1.2.3", 5 }, { "hub", 3 } };

static const struct trace_attempt second = { .span = { 2 }, .endpoint = { "big", 3 }, .runtime = { "llamacpp", 8 }, .model = { "qwen\"3", 6 },
                                             .host = { "[::1]:8080", 10 }, .start_us = 3000000, .first_us = 3500000, .end_us = 5000000, .status = 200 };
static const struct trace_attempt first = { &second, .span = { 1 }, .endpoint = { "old", 3 }, .runtime = { "vllm", 4 }, .model = { "qwen3", 5 },
                                            .host = { "gpu.lan:8000", 12 }, .start_us = 2000000, .end_us = 3000000, .error = { "connect", 7 } };

static struct trace a_trace(void) {
    return (struct trace){
        .own = { .trace = { 0xab, 0xcd }, .span = { 9 }, .flags = TRACE_SAMPLED }, .parent = { 7 }, .has_parent = true, .state = SV("a=1"),
        .method = SV("POST"), .operation = SV("chat"), .attempts = &first,
        .r = { .id = SV("id"), .key = SV("k1"), .slug = SV("coder"), .model = SV("qwen\"3"), .endpoint = SV("big"), .runtime = SV("llamacpp"),
               .dialect = SV("openai"), .api = SV("/v1/chat/completions"), .ended_ms = 1790000005000, .result = RESULT_OK, .status = 200, .stream = true,
               .attempts = 2, .received_us = 1000000, .body_us = 1500000, .sent_us = 3000000, .first_us = 3500000, .last_us = 4500000,
               .done_us = 5000000, .queue_us = 250000, .input = 21, .cached = 16, .output = 11, .reasoning = -1, .input_source = TOKENS_REPORTED,
               .output_source = TOKENS_ESTIMATED, .cost = 1234, .cost_source = COST_PRICE },
    };
}

static yyjson_doc *parsed(const struct buf *b) {
    yyjson_doc *doc = json_parse(buf_sv(b));
    if (!doc)
        fail_msg("no JSON: %.*s", SV_FMT(buf_sv(b)));
    return doc;
}

/* The value of an attribute as text. */
static const char *attribute(yyjson_val *list, const char *key, char space[static 64]) {
    yyjson_val *one, *v;
    size_t i, n;
    snprintf(space, 64, "(none)");
    yyjson_arr_foreach(list, i, n, one) {
        if (!sv_eq(json_str(one, "key"), sv_of(key)))
            continue;
        v = json_get(one, "value");
        assert_int_equal(yyjson_obj_size(v), 1);
        struct sv text = json_str(v, "stringValue"), number = json_str(v, "intValue");
        if (text.p || number.p)
            snprintf(space, 64, "%.*s", SV_FMT(text.p ? text : number));
        else if (json_get(v, "boolValue"))
            snprintf(space, 64, "%s", json_bool(v, "boolValue", false) ? "true" : "false");
        else
            snprintf(space, 64, "%g", json_f64(v, "doubleValue", -1));
    }
    return space;
}

static void is(yyjson_val *span, const char *key, const char *expected) {
    char space[64];
    const char *got = attribute(json_get(span, "attributes"), key, space);
    if (strcmp(got, expected) != 0)
        fail_msg("%s: %s instead of %s", key, got, expected);
}

static yyjson_val *spans_of(yyjson_doc *doc) {
    yyjson_val *scope = yyjson_arr_get_first(json_at(yyjson_arr_get_first(json_get(yyjson_doc_get_root(doc), "resourceSpans")), "scopeSpans"));
    return json_get(scope, "spans");
}

static void a_request_is_a_span_with_one_below_for_each_attempt(void **state) {
    struct trace t = a_trace();
    struct buf b = BUF_MAX(1 << 20);
    (void)state;
    assert_true(otlp_traces_begin(&b, &from) && otlp_traces_add(&b, &t, true) && otlp_traces_add(&b, &t, false) && otlp_traces_end(&b));
    yyjson_doc *doc = parsed(&b);
    yyjson_val *resource = json_at(yyjson_arr_get_first(json_get(yyjson_doc_get_root(doc), "resourceSpans")), "resource");
    is(resource, "service.name", "drover");
    is(resource, "service.instance.id", "hub");
    yyjson_val *spans = spans_of(doc), *request = yyjson_arr_get(spans, 0), *failed = yyjson_arr_get(spans, 1), *went = yyjson_arr_get(spans, 2);
    assert_int_equal(yyjson_arr_size(spans), 6);
    assert_int_equal(otlp_spans(&t), 3);

    assert_string_equal(json_str(request, "traceId").p, "abcd0000000000000000000000000000");
    assert_string_equal(json_str(request, "spanId").p, "0900000000000000");
    assert_string_equal(json_str(request, "parentSpanId").p, "0700000000000000");
    assert_string_equal(json_str(request, "traceState").p, "a=1");
    assert_string_equal(json_str(request, "name").p, "POST /v1/chat/completions");
    assert_int_equal(json_i64(request, "kind", 0), 2);
    assert_int_equal(json_i64(request, "flags", 0), 0x301);
    assert_string_equal(json_str(request, "startTimeUnixNano").p, "1790000001000000000");
    assert_string_equal(json_str(request, "endTimeUnixNano").p, "1790000005000000000");
    assert_null(json_get(request, "status"));
    is(request, "gen_ai.provider.name", "llama_cpp");
    is(request, "gen_ai.request.model", "coder");
    is(request, "gen_ai.response.model", "qwen\"3");
    is(request, "http.response.status_code", "200");
    is(request, "gen_ai.usage.input_tokens", "21");
    is(request, "gen_ai.usage.cache_read.input_tokens", "16");
    is(request, "gen_ai.usage.reasoning.output_tokens", "(none)");
    is(request, "drover.usage.output_source", "estimated");
    is(request, "gen_ai.response.time_to_first_chunk", "2");
    is(request, "gen_ai.request.stream", "true");
    is(request, "drover.queue.duration", "0.25");
    is(request, "drover.cost", "0.001234");
    is(request, "error.type", "(none)");

    assert_string_equal(json_str(failed, "parentSpanId").p, "0900000000000000");
    assert_int_equal(json_i64(failed, "kind", 0), 3);
    assert_int_equal(json_i64(failed, "flags", 0), 0x101);
    assert_int_equal(json_i64(json_get(failed, "status"), "code", 0), 2);
    assert_string_equal(json_str(failed, "name").p, "chat qwen3");
    is(failed, "error.type", "connect");
    is(failed, "server.address", "gpu.lan");
    is(failed, "server.port", "8000");
    is(failed, "gen_ai.usage.input_tokens", "(none)");
    assert_null(json_get(went, "status"));
    assert_string_equal(json_str(went, "startTimeUnixNano").p, "1790000003000000000");
    is(went, "server.address", "::1");
    is(went, "gen_ai.request.model", "qwen\"3");
    is(went, "gen_ai.usage.output_tokens", "11");
    is(went, "gen_ai.response.time_to_first_chunk", "0.5");
    is(went, "drover.attempt", "2");
    yyjson_doc_free(doc);
    buf_deinit(&b);
}

static void what_failed_is_told_by_its_class(void **state) {
    static const struct {
        enum request_result result;
        int status;
        const char *type;
        bool is_error;
    } rows[] = {
        { RESULT_OK, 200, "(none)", false }, { RESULT_CLIENT_ERROR, 422, "422", false }, { RESULT_UPSTREAM_ERROR, 502, "502", true },
        { RESULT_UPSTREAM_ERROR, 200, "upstream_error", true }, { RESULT_CANCELLED, 499, "cancelled", false }, { RESULT_REJECTED, 404, "404", false },
        { RESULT_REJECTED, 503, "503", true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct trace t = a_trace();
        struct buf b = BUF_MAX(1 << 20);
        t.r.result = rows[i].result;
        t.r.status = rows[i].status;
        t.attempts = NULL;
        t.has_parent = false;
        assert_true(otlp_traces_begin(&b, &from) && otlp_traces_add(&b, &t, true) && otlp_traces_end(&b));
        yyjson_doc *doc = parsed(&b);
        yyjson_val *span = yyjson_arr_get(spans_of(doc), 0);
        is(span, "error.type", rows[i].type);
        assert_int_equal(json_get(span, "status") != NULL, rows[i].is_error);
        assert_null(json_get(span, "parentSpanId"));
        assert_int_equal(json_i64(span, "flags", 0), 0x101);
        yyjson_doc_free(doc);
        buf_deinit(&b);
    }
}

static void addresses_are_taken_apart(void **state) {
    static const struct {
        const char *host, *address;
        uint64_t port;
    } rows[] = { { "a:80", "a", 80 }, { "a", "a", 0 }, { "[::1]", "[::1]", 0 }, { "[fd00::5]:1", "fd00::5", 1 }, { "a:x", "a:x", 0 }, { "", "", 0 } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t port;
        assert_true(sv_eq(otlp__address(sv_of(rows[i].host), &port), sv_of(rows[i].address)));
        assert_int_equal(port, rows[i].port);
    }
}

/* Either it is all there, or nothing of it is. */
static void a_trace_without_room_leaves_the_body_whole(void **state) {
    struct trace t = a_trace();
    struct buf b = BUF_MAX(1 << 20);
    (void)state;
    assert_true(otlp_traces_begin(&b, &from) && otlp_traces_add(&b, &t, true));
    size_t one = b.n;
    b.max = one + 1000;
    assert_false(otlp_traces_add(&b, &t, false));
    assert_int_equal(b.n, one);
    assert_true(otlp_traces_end(&b));
    yyjson_doc *doc = parsed(&b);
    assert_int_equal(yyjson_arr_size(spans_of(doc)), 3);
    yyjson_doc_free(doc);
    buf_deinit(&b);
    for (long n = 1, struck = 1; struck; n++) {
        struct buf c = BUF_MAX(1 << 20);
        mem_fail_at(n, 0);
        bool ok = otlp_traces_begin(&c, &from) && otlp_traces_add(&c, &t, true) && otlp_traces_end(&c);
        struck = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(ok || struck);
        if (ok)
            yyjson_doc_free(parsed(&c));
        buf_deinit(&c);
    }
}

/* --- metrics ------------------------------------------------------------------------------------------------------ */

static yyjson_doc *metrics_of(const struct otlp_meter *m) {
    struct buf b = BUF_MAX(1 << 20);
    bool any;
    assert_true(otlp_metrics(&b, m, &from, 99, &any));
    assert_true(any);
    yyjson_doc *doc = parsed(&b);
    buf_deinit(&b);
    return doc;
}

/* The n-th point of a metric; NULL: there is none. */
static yyjson_val *point(yyjson_doc *doc, const char *name, size_t at) {
    yyjson_val *scope = yyjson_arr_get_first(json_at(yyjson_arr_get_first(json_get(yyjson_doc_get_root(doc), "resourceMetrics")), "scopeMetrics"));
    yyjson_val *one;
    size_t i, n;
    yyjson_arr_foreach(json_get(scope, "metrics"), i, n, one)
        if (sv_eq(json_str(one, "name"), sv_of(name))) {
            assert_int_equal(json_i64(json_get(one, "histogram"), "aggregationTemporality", 0), 2);
            return yyjson_arr_get(json_at(one, "histogram.dataPoints"), at);
        }
    return NULL;
}

static void buckets_are(yyjson_val *p, double value, const char *count) {
    yyjson_val *bounds = json_get(p, "explicitBounds"), *counts = json_get(p, "bucketCounts");
    size_t n = yyjson_arr_size(bounds), at = 0;
    assert_int_equal(yyjson_arr_size(counts), n + 1);
    while (at < n && value > yyjson_get_num(yyjson_arr_get(bounds, at)))
        at++;
    for (size_t i = 0; i <= n; i++)
        assert_string_equal(json_sv(yyjson_arr_get(counts, i)).p, i == at ? count : "0");
}

static void requests_become_histograms(void **state) {
    struct otlp_meter *m = otlp_meter_new(100, 11);
    struct trace t = a_trace();
    char space[64];
    (void)state;
    otlp_meter_add(m, &t);
    t.own.flags = 0; /* not sampled: it counts all the same */
    otlp_meter_add(m, &t);
    yyjson_doc *doc = metrics_of(m);
    yyjson_val *p = point(doc, "gen_ai.server.request.duration", 0);
    assert_string_equal(json_str(p, "count").p, "2");
    assert_string_equal(json_str(p, "startTimeUnixNano").p, "11");
    assert_string_equal(json_str(p, "timeUnixNano").p, "99");
    assert_true(json_f64(p, "sum", 0) == 8);
    buckets_are(p, 4, "2");
    assert_string_equal(attribute(json_get(p, "attributes"), "gen_ai.request.model", space), "coder");
    buckets_are(point(doc, "gen_ai.server.time_to_first_token", 0), 2, "2");
    buckets_are(point(doc, "gen_ai.server.time_per_output_token", 0), .1, "2"); /* 1 s for ten more: on its bound */
    p = point(doc, "gen_ai.client.operation.duration", 0);
    assert_string_equal(attribute(json_get(p, "attributes"), "error.type", space), "connect");
    assert_string_equal(attribute(json_get(p, "attributes"), "gen_ai.provider.name", space), "vllm");
    p = point(doc, "gen_ai.client.operation.duration", 1);
    assert_string_equal(attribute(json_get(p, "attributes"), "error.type", space), "(none)");
    p = point(doc, "gen_ai.client.token.usage", 0);
    assert_string_equal(attribute(json_get(p, "attributes"), "gen_ai.token.type", space), "input");
    buckets_are(p, 21, "2");
    assert_null(point(doc, "gen_ai.client.token.usage", 1)); /* the output was estimated */
    yyjson_doc_free(doc);
    otlp_meter_free(m);
}

static void series_beyond_the_bound_share_one(void **state) {
    enum { N = 10, BOUND = 4 };
    struct otlp_meter *m = otlp_meter_new(BOUND, 0);
    struct buf b = BUF_MAX(1 << 20);
    bool any = true;
    char space[64], name[8];
    (void)state;
    assert_true(otlp_metrics(&b, m, &from, 1, &any));
    assert_false(any);
    buf_deinit(&b);
    for (int i = 0; i < N; i++) {
        struct trace t = a_trace();
        snprintf(name, sizeof name, "m%d", i);
        t.r.slug = sv_of(name);
        t.attempts = NULL;
        otlp_meter_add(m, &t);
    }
    yyjson_doc *doc = metrics_of(m);
    yyjson_val *p = point(doc, "gen_ai.server.request.duration", BOUND);
    assert_string_equal(attribute(json_get(p, "attributes"), "otel.metric.overflow", space), "true");
    assert_string_equal(json_str(p, "count").p, "6");
    assert_null(point(doc, "gen_ai.server.request.duration", BOUND + 1));
    yyjson_doc_free(doc);
    otlp_meter_free(m);
}

static void the_meter_survives_the_loss_of_memory(void **state) {
    struct trace t = a_trace();
    (void)state;
    for (long n = 1, struck = 1; struck; n++) {
        struct buf b = BUF_MAX(1 << 20);
        bool any;
        mem_fail_at(n, 0);
        struct otlp_meter *m = otlp_meter_new(100, 0);
        if (m)
            otlp_meter_add(m, &t);
        bool ok = m && otlp_metrics(&b, m, &from, 1, &any);
        struck = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(ok || struck);
        if (ok)
            yyjson_doc_free(parsed(&b));
        buf_deinit(&b);
        otlp_meter_free(m);
    }
}

static void what_a_collector_did_not_want_is_read(void **state) {
    static const struct {
        const char *reply;
        uint64_t n;
        const char *why;
    } rows[] = {
        { "{}", 0, "" }, { "", 0, "" }, { "no JSON", 0, "" }, { "{\"partialSuccess\":{}}", 0, "" }, { "{\"partialSuccess\":null}", 0, "" },
        { "{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"too old\"}}", 3, "too old" },
        { "{\"partialSuccess\":{\"rejectedSpans\":4}}", 4, "" }, { "{\"partialSuccess\":{\"rejectedSpans\":-4}}", 0, "" },
        { "{\"partialSuccess\":{\"rejectedSpans\":\"x\"}}", 0, "" }, { "{\"partialSuccess\":{\"errorMessage\":\"a much longer text than fits\"}}", 0, "a much longer t" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char why[16];
        assert_int_equal(otlp_rejected(sv_of(rows[i].reply), "rejectedSpans", why, sizeof why), rows[i].n);
        assert_string_equal(why, rows[i].why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_a_span_with_one_below_for_each_attempt),
        cmocka_unit_test(what_failed_is_told_by_its_class),
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(a_trace_without_room_leaves_the_body_whole),
        cmocka_unit_test(requests_become_histograms),
        cmocka_unit_test(series_beyond_the_bound_share_one),
        cmocka_unit_test(the_meter_survives_the_loss_of_memory),
        cmocka_unit_test(what_a_collector_did_not_want_is_read),
    };
    return cmocka_run_group_tests_name("telemetry/otlp", tests, NULL, NULL);
}
