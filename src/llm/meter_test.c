#include "llm/meter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "llm/scan.h"

static const struct meter_request plain = { .input_estimate = 50 };

struct line {
    const char *name, *data;
    uint64_t ms;
    unsigned flags;
};

static unsigned event(struct meter *m, const char *name, const char *data, uint64_t now_us) {
    char *exact = mem_copy(data, strlen(data));
    unsigned flags = meter_event(m, sv_of(name), (struct sv){ exact, strlen(data) }, now_us);
    mem_free(exact);
    return flags;
}

/* Feeds lines up to one without data; each must give its flags. */
static void feed(struct meter *m, enum llm_api api, const struct line *lines) {
    meter_init(m, api);
    for (; lines->data; lines++) {
        unsigned flags = event(m, lines->name, lines->data, lines->ms * 1000);
        if (flags != lines->flags)
            fail_msg("%s: flags %u, expected %u", lines->data, flags, lines->flags);
    }
}

static void counts(const struct meter *m, int64_t input, int64_t cached, int64_t write, int64_t output, int64_t reasoning) {
    assert_int_equal(m->input, input);
    assert_int_equal(m->cached, cached);
    assert_int_equal(m->cache_write, write);
    assert_int_equal(m->output, output);
    assert_int_equal(m->reasoning, reasoning);
}

/* A whole reply, as one piece and byte by byte. */
static void whole(struct meter *m, enum llm_api api, const char *body, struct meter_request rq) {
    for (size_t step = strlen(body); step; step = step > 1 ? step / 3 + (step < 3) : 0) {
        meter_init(m, api);
        for (size_t at = 0; at < strlen(body); at += step)
            meter_body(m, sv_first(sv_from(sv_of(body), at), step), 5000);
        meter_end(m, &rq, 6000);
        assert_null(m->reply);
    }
}

#define CHUNK(rest) "{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"m\"," rest "}"
#define TEXT(t) CHUNK("\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" t "\"},\"finish_reason\":null}]")
#define FINISH CHUNK("\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]")

static void m1_chat_usage_of_a_whole_reply(void **state) {
    struct meter m;
    (void)state;
    whole(&m, LLM_CHAT,
          "{\"choices\":[{\"message\":{\"content\":\"Four.\"}}],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":9,"
          "\"total_tokens\":30,\"prompt_tokens_details\":{\"cached_tokens\":16},"
          "\"completion_tokens_details\":{\"reasoning_tokens\":6}}}",
          plain);
    counts(&m, 21, 16, -1, 9, 6);
    assert_true(m.input_source == METER_REPORTED && m.output_source == METER_REPORTED && m.saw_final && !m.saw_error);
    assert_int_equal(meter_tpot_us(&m), -1);
}

static void m2_m3_anthropic_overwrites(void **state) {
    struct meter m;
    (void)state;
    feed(&m, LLM_MESSAGES, (const struct line[]){
        { "message_start", "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":16,"
                           "\"cache_creation_input_tokens\":0,\"output_tokens\":1}}}", 1, METER_USAGE },
        { "ping", "{\"type\":\"ping\"}", 2, 0 },
        { "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}", 3, 0 },
        { "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Four\"}}", 4, METER_OUTPUT },
        { "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\".\"}}", 5, METER_OUTPUT },
        { "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"s\"}}", 6, 0 },
        { "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9,\"input_tokens\":null}}", 7, METER_USAGE | METER_FINAL },
        { "message_stop", "{\"type\":\"message_stop\"}", 8, METER_FINAL | METER_LAST }, { 0 } });
    meter_end(&m, &plain, 9000);
    counts(&m, 21, 16, 0, 9, -1);
    feed(&m, LLM_MESSAGES, (const struct line[]){
        { "message_start", "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":30,\"output_tokens\":0}}}", 1, METER_USAGE },
        { "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":21,\"output_tokens\":9}}", 7, METER_USAGE | METER_FINAL }, { 0 } });
    meter_end(&m, &plain, 9000);
    counts(&m, 21, -1, -1, 9, -1);
}

static void anthropic_input_that_holds_the_cached_tokens_is_not_added_to(void **state) {
    struct meter m;
    (void)state;
    const char *body = "{\"content\":[],\"usage\":{\"input_tokens\":50,\"cache_read_input_tokens\":40,\"output_tokens\":2}}";
    whole(&m, LLM_MESSAGES, body, plain);
    counts(&m, 50, 40, -1, 2, -1);
    assert_true(m.anomalies & METER_A_INCLUSIVE);
    whole(&m, LLM_MESSAGES, body, (struct meter_request){ .input_estimate = 50, .quirks = METER_Q_EXCLUSIVE });
    counts(&m, 90, 40, -1, 2, -1);
}

static void m4_ollama_without_prompt_count(void **state) {
    struct meter m;
    (void)state;
    feed(&m, LLM_OLLAMA_CHAT, (const struct line[]){
        { "", "{\"model\":\"q\",\"created_at\":\"2026-08-21T10:00:00.1Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"add\"},\"done\":false}", 1, METER_OUTPUT },
        { "", "{\"model\":\"q\",\"created_at\":\"2026-08-21T10:00:00.2Z\",\"message\":{\"role\":\"assistant\",\"content\":\"Four.\"},\"done\":false}", 2, METER_OUTPUT },
        { "", "{\"model\":\"q\",\"created_at\":\"2026-08-21T10:00:00.25Z\",\"message\":{\"role\":\"assistant\",\"content\":\"!\"},\"done\":false}", 3, METER_OUTPUT },
        { "", "{\"model\":\"q\",\"created_at\":\"2026-08-21T10:00:00.4Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\","
              "\"load_duration\":31000000,\"prompt_eval_duration\":90000000,\"eval_count\":12,\"eval_duration\":640000000}", 4, METER_FINAL | METER_LAST }, { 0 } });
    assert_true(m.t_first_us == 1000 && m.t_visible_us == 2000 && m.t_last_us == 3000);
    meter_end(&m, &plain, 9000);
    assert_true(m.input == 50 && m.input_source == METER_ESTIMATED && m.output == 12 && m.output_source == METER_REPORTED);
    assert_true(m.prompt_ms == 90 && m.predicted_ms == 640 && m.load_ms == 31);
    assert_true(m.reasoning_estimated && m.reasoning == 4); /* 12 x 3 of 9 bytes */
}

static void ollama_replies_and_quirks(void **state) {
    struct meter m;
    (void)state;
    const char *body = "{\"message\":{\"content\":\"Four.\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":26,\"eval_count\":12}";
    whole(&m, LLM_OLLAMA_CHAT, body, plain);
    counts(&m, 26, -1, -1, 12, -1);
    whole(&m, LLM_OLLAMA_CHAT, body, (struct meter_request){ .input_estimate = 50, .quirks = METER_Q_UNCACHED_INPUT });
    assert_true(m.input == 50 && m.input_source == METER_ESTIMATED);
    whole(&m, LLM_OLLAMA_GENERATE, "{\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}", plain);
    assert_true(m.input == 0 && m.output == 0 && m.input_source == METER_NONE);
    whole(&m, LLM_OLLAMA_EMBED, "{\"embeddings\":[[0.5]],\"prompt_eval_count\":4}", plain);
    counts(&m, 4, -1, -1, 0, -1);
}

static void m5_m6_the_last_usage_counts_and_zeros_do_not(void **state) {
    struct meter m;
    (void)state;
#define WITH(t, u) CHUNK("\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" t "\"}}],\"usage\":{" u "}")
    feed(&m, LLM_CHAT, (const struct line[]){
        { "", WITH("a", "\"prompt_tokens\":21,\"completion_tokens\":1"), 1, METER_OUTPUT | METER_USAGE },
        { "", WITH("b", "\"prompt_tokens\":21,\"completion_tokens\":2"), 2, METER_OUTPUT | METER_USAGE },
        { "", WITH("c", "\"prompt_tokens\":21,\"completion_tokens\":3"), 3, METER_OUTPUT | METER_USAGE },
        { "", "[DONE]", 4, METER_DONE | METER_FINAL | METER_LAST }, { 0 } });
    meter_end(&m, &plain, 9000);
    counts(&m, 21, -1, -1, 3, -1);
    feed(&m, LLM_COMPLETIONS, (const struct line[]){
        { "", "{\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}", 1, METER_OUTPUT | METER_USAGE },
        { "", "{\"choices\":[{\"text\":\"b\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}", 1, METER_OUTPUT | METER_USAGE },
        { "", "{\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}", 1, METER_FINAL | METER_USAGE }, { 0 } });
    meter_end(&m, &plain, 9000);
    counts(&m, 7, -1, -1, 3, -1);
}

static void m7_a_cut_stream_is_estimated(void **state) {
    struct meter m;
    (void)state;
    feed(&m, LLM_CHAT, (const struct line[]){ { "", TEXT("ab"), 1, METER_OUTPUT }, { "", TEXT("cd"), 2, METER_OUTPUT },
                                              { "", TEXT("ef"), 3, METER_OUTPUT }, { 0 } });
    assert_int_equal(meter_output_so_far(&m, 0), 3);
    meter_end(&m, &plain, 9000);
    assert_true(m.output == 3 && m.output_source == METER_ESTIMATED && !m.saw_final);
    assert_true(m.input == 50 && m.input_source == METER_ESTIMATED && m.text_bytes == 6);
    meter_end(&m, &(struct meter_request){ .input_estimate = 50, .output_ratio = 1 }, 9000);
    assert_int_equal(m.output, 6);
}

static void m8_m9_times_are_those_of_output(void **state) {
    struct meter m;
    (void)state;
    meter_init(&m, LLM_CHAT);
    assert_int_equal(event(&m, "", CHUNK("\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]"), 10000), 0);
    for (unsigned i = 0; i < 11; i++) {
        assert_int_equal(event(&m, "", TEXT("x"), 900000 + i * 100000), METER_OUTPUT);
        assert_int_equal(m.gap_us, i ? 100000 : 0);
    }
    assert_int_equal(event(&m, "", FINISH, 1900000), METER_FINAL);
    assert_int_equal(event(&m, "", CHUNK("\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":11}"), 1900000),
                     METER_USAGE | METER_USAGE_ONLY);
    meter_end(&m, &plain, 1900000);
    assert_true(m.t_first_us == 900000 && m.t_last_us == 1900000 && meter_tpot_us(&m) == 100000 && !m.burst);
    feed(&m, LLM_CHAT, (const struct line[]){ { "", TEXT("a"), 7, METER_OUTPUT }, { "", TEXT("b"), 7, METER_OUTPUT },
                                              { "", FINISH, 7, METER_FINAL }, { 0 } });
    meter_end(&m, &plain, 7000);
    assert_true(m.has_first && m.burst && meter_tpot_us(&m) == -1);
}

static void m10_llamacpp_timings_stand_in_for_usage(void **state) {
    struct meter m;
    (void)state;
    feed(&m, LLM_CHAT, (const struct line[]){
        { "", TEXT("a"), 1, METER_OUTPUT },
        { "", CHUNK("\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"timings\":{\"cache_n\":16,\"prompt_n\":5,"
                    "\"prompt_ms\":12.5,\"predicted_n\":9,\"predicted_ms\":80.25}"), 2, METER_FINAL }, { 0 } });
    meter_end(&m, &plain, 9000);
    counts(&m, 21, 16, -1, 9, -1);
    assert_true(m.prompt_ms == 12.5 && m.predicted_ms == 80.25 && m.input_source == METER_REPORTED);
}

static void m11_m12_m13_other_places(void **state) {
    struct meter m;
    (void)state;
    whole(&m, LLM_CHAT, "{\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":9,\"reasoning_tokens\":4,\"prompt_tokens_details\":null}}", plain);
    counts(&m, 21, -1, -1, 9, 4);
    meter_init(&m, LLM_CHAT);
    assert_int_equal(event(&m, "", CHUNK("\"choices\":[],\"usage\":null"), 1), 0);
    assert_int_equal(event(&m, "", CHUNK("\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}"), 1), METER_USAGE | METER_USAGE_ONLY);
    whole(&m, LLM_LMSTUDIO1_CHAT, "{\"output\":[{\"type\":\"message\",\"content\":\"Done.\"}],\"stats\":{\"input_tokens\":646,"
          "\"total_output_tokens\":586,\"reasoning_output_tokens\":195,\"time_to_first_token_seconds\":1.5,\"model_load_time_seconds\":2}}", plain);
    counts(&m, 646, -1, -1, 586, 195);
    assert_true(m.prompt_ms == 1500 && m.load_ms == 2000);
    feed(&m, LLM_LMSTUDIO1_CHAT, (const struct line[]){
        { "chat.start", "{\"type\":\"chat.start\",\"model_instance_id\":\"m\"}", 1, 0 },
        { "prompt_processing.progress", "{\"type\":\"prompt_processing.progress\",\"progress\":0.5}", 2, 0 },
        { "reasoning.delta", "{\"type\":\"reasoning.delta\",\"content\":\"hm\"}", 3, METER_OUTPUT },
        { "message.delta", "{\"type\":\"message.delta\",\"content\":\"Do\"}", 4, METER_OUTPUT },
        { "message.delta", "{\"type\":\"message.delta\",\"content\":\"ne\"}", 5, METER_OUTPUT },
        { "chat.end", "{\"type\":\"chat.end\",\"result\":{\"stats\":{\"input_tokens\":646,\"total_output_tokens\":586,\"reasoning_output_tokens\":195}}}", 6, METER_FINAL | METER_LAST | METER_USAGE },
        { 0 } });
    assert_true(m.t_first_us == 3000 && m.t_visible_us == 4000 && m.text_bytes == 4 && m.reasoning_bytes == 2);
    meter_end(&m, &plain, 9000);
    counts(&m, 646, -1, -1, 586, 195);
}

static void responses_end_with_their_usage(void **state) {
    struct meter m;
    (void)state;
    feed(&m, LLM_RESPONSES, (const struct line[]){
        { "response.created", "{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"usage\":null,\"error\":null}}", 1, 0 },
        { "response.output_item.added", "{\"type\":\"response.output_item.added\",\"item\":{\"type\":\"message\"}}", 2, 0 },
        { "response.reasoning_text.delta", "{\"type\":\"response.reasoning_text.delta\",\"sequence_number\":8,\"delta\":\"add\"}", 3, METER_OUTPUT },
        { "response.reasoning_text.delta", "{\"type\":\"response.reasoning_text.delta\",\"sequence_number\":10,\"delta\":\"it\"}", 3, METER_OUTPUT },
        { "response.output_text.delta", "{\"type\":\"response.output_text.delta\",\"sequence_number\":11,\"delta\":\"Four.\",\"logprobs\":[]}", 4, METER_OUTPUT },
        { "response.output_text.done", "{\"type\":\"response.output_text.done\",\"text\":\"Four.\"}", 5, 0 },
        { "response.output_item.added", "{\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"\"}}", 6, METER_OUTPUT },
        { "response.completed", "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{\"input_tokens\":21,"
          "\"input_tokens_details\":{\"cached_tokens\":3,\"cache_write_tokens\":2},\"output_tokens\":9,\"output_tokens_details\":{\"reasoning_tokens\":4}}}}", 7, METER_FINAL | METER_LAST | METER_USAGE },
        { 0 } });
    assert_true(m.reasoning_bytes == 5 && m.text_bytes == 5 && m.tool_bytes == 1 && m.t_visible_us == 4000);
    meter_end(&m, &plain, 9000);
    counts(&m, 21, 3, 2, 9, 4);
    meter_init(&m, LLM_RESPONSES);
    assert_int_equal(event(&m, "response.failed", "{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"x\"}}}", 1), METER_FINAL | METER_LAST | METER_ERROR);
    assert_int_equal(event(&m, "error", "{\"type\":\"error\",\"code\":\"x\",\"message\":\"y\"}", 1), METER_ERROR);
}

static void tool_calls_reasoning_and_errors_are_told_apart(void **state) {
    struct meter m;
    (void)state;
    feed(&m, LLM_CHAT, (const struct line[]){
        { "", CHUNK("\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]"), 1, 0 },
        { "", CHUNK("\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\",\"reasoning\":\"hm\"}}]"), 2, METER_OUTPUT },
        { "", CHUNK("\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]"), 3, METER_OUTPUT },
        { "", CHUNK("\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":\"}}]}}]"), 4, METER_OUTPUT },
        { "", CHUNK("\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"1}\"}}]}}]"), 5, METER_OUTPUT },
        { "", CHUNK("\"choices\":[{\"delta\":null,\"finish_reason\":\"tool_calls\"}]"), 6, METER_FINAL },
        { "", "{\"error\":{\"message\":\"x\"}}", 7, METER_ERROR },
        { "error", "{\"message\":\"x\"}", 8, METER_ERROR },
        { "", "{\"object\":\"error\",\"message\":\"x\"}", 8, METER_ERROR },
        { "", "{\"error\":null,\"choices\":[]}", 9, 0 }, { 0 } });
    assert_true(m.reasoning_bytes == 2 && m.tool_bytes == 8 && m.t_visible_us == 3000 && m.saw_error);
}

static void text_that_looks_like_a_member_fools_nobody(void **state) {
    struct meter m;
    (void)state;
    feed(&m, LLM_CHAT, (const struct line[]){
        { "", TEXT("a"), 1, METER_OUTPUT },
        { "", TEXT("\\\",\\\"usage\\\":{\\\"prompt_tokens\\\":1},\\\"finish_reason\\\":\\\"stop\\\""), 2, METER_OUTPUT },
        { "", TEXT("\\\\"), 3, METER_OUTPUT },
        { "", TEXT("\\\\\\\""), 4, METER_OUTPUT },
        { "", TEXT("\"},\"finish_reason\":\"stop\"}],\"x\":[{\"y\":{\"z\":\""), 5, METER_FINAL }, /* no text at all, but a real member */
        { 0 } });
}

static void the_second_event_of_a_shape_is_not_read(void **state) {
    struct meter m;
    (void)state;
    meter_init(&m, LLM_CHAT);
    event(&m, "", TEXT("a"), 1);
    assert_true(m.shape_head > 0);
    uint16_t head = m.shape_head;
    static const char later[] = "{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000123,\"model\":\"m\",\"choices\":[{"
                                "\"index\":0,\"delta\":{\"content\":\"\\\"usage\\\" \"},\"finish_reason\":null}]}";
    assert_int_equal(event(&m, "", later, 2), METER_OUTPUT);
    assert_true(memcmp(m.shape, TEXT(""), head) == 0); /* still the first one's: "created" differs in digits only */
    assert_int_equal(event(&m, "", TEXT(""), 3), 0);
    assert_int_equal(event(&m, "", FINISH, 4), METER_FINAL);
}

static void nonsense_is_noted_and_harmless(void **state) {
    struct meter m;
    (void)state;
    meter_init(&m, LLM_CHAT);
    static const char *const bad[] = { "{", "{\"choices\":", "{\"choices\":[{]}", "[1", "nonsense", "{\"usage\":{\"a\"}", "{\"a\":\"\\" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        m.anomalies = 0;
        event(&m, "", bad[i], 1);
        assert_true(m.anomalies & METER_A_BAD_JSON);
    }
    whole(&m, LLM_CHAT, "{\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":1.5}}", plain);
    assert_true((m.anomalies & METER_A_BAD_COUNT) && m.input_source == METER_ESTIMATED);
    whole(&m, LLM_CHAT, "{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":11},\"reasoning_tokens\":6}}", plain);
    counts(&m, 10, 10, -1, 5, 5);
    assert_int_equal(m.anomalies, METER_A_CACHED | METER_A_REASONING);
    whole(&m, LLM_CHAT, "<html>", plain);
    assert_true((m.anomalies & METER_A_BAD_JSON) && !m.saw_final && m.output == 0);
    whole(&m, LLM_CHAT, "{\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":5}}", (struct meter_request){ .input_estimate = 50, .quirks = METER_Q_DOUBT });
    assert_true(m.input == 50 && (m.anomalies & METER_A_DOUBTED));
}

static void refused_requests_cost_nothing(void **state) {
    struct meter m;
    (void)state;
    whole(&m, LLM_CHAT, "{\"error\":{\"message\":\"full\"}}", (struct meter_request){ .input_estimate = 50, .refused = true });
    assert_true(m.input == 0 && m.output == 0 && m.output_source == METER_NONE && m.saw_error);
    whole(&m, LLM_OLLAMA_CHAT, "{\"error\":\"\"}", plain);
    assert_false(m.saw_error);
}

static void a_rerank_reports_in_its_own_places(void **state) {
    struct meter m;
    (void)state;
    whole(&m, LLM_RERANK, "{\"results\":[],\"usage\":{\"total_tokens\":42}}", plain);
    counts(&m, 42, -1, -1, 0, -1);
    whole(&m, LLM_RERANK, "{\"results\":[],\"meta\":{\"tokens\":{\"input_tokens\":17}}}", plain);
    counts(&m, 17, -1, -1, 0, -1);
    whole(&m, LLM_EMBEDDINGS, "{\"data\":[],\"usage\":{\"prompt_tokens\":0,\"total_tokens\":0}}", plain);
    assert_true(m.input == 50 && m.input_source == METER_ESTIMATED);
}

static void a_reply_without_memory_is_estimated(void **state) {
    struct meter m;
    (void)state;
    meter_init(&m, LLM_CHAT);
    mem_fail_at(1, 1);
    meter_body(&m, SV("{\"usage\":{\"prompt_tokens\":10,"), 1);
    meter_body(&m, SV("\"completion_tokens\":5}}"), 2);
    mem_fail_at(0, 0);
    meter_end(&m, &plain, 3);
    assert_true((m.anomalies & METER_A_NO_MEMORY) && m.input == 50 && m.input_source == METER_ESTIMATED);
    meter_deinit(&m);
}

static void estimates_are_near(void **state) {
    static const struct {
        const char *text;
        unsigned least, most;
    } rows[] = {
        { "The quick brown fox jumps over the lazy dog and runs away", 11, 16 },
        { "\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c", 3, 4 },
        { "\\u4f60\\u597d\\u4e16\\u754c", 3, 4 },
        { "\xf0\x9f\x98\x80", 2, 2 },
        { "\\ud83d\\ude00", 2, 2 },
        { "\\n\\n\\\\", 1, 2 },
        { "\\u12", 1, 3 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_in_range((meter_estimate_milli(sv_of(rows[i].text)) + 999) / 1000, rows[i].least, rows[i].most);
    struct scan s;
    scan_init(&s);
    scan_feed(&s, SV("{\"messages\":[{\"role\":\"user\",\"content\":\"How are you, dear friend?\",\"images\":[\"x\"]}]}"));
    assert_in_range(meter_estimate_input(&s, 0), 600 + 15, 600 + 30);
    assert_in_range(meter_estimate_input(&s, 4), 600 + 15, 600 + 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(m1_chat_usage_of_a_whole_reply),
        cmocka_unit_test(m2_m3_anthropic_overwrites),
        cmocka_unit_test(anthropic_input_that_holds_the_cached_tokens_is_not_added_to),
        cmocka_unit_test(m4_ollama_without_prompt_count),
        cmocka_unit_test(ollama_replies_and_quirks),
        cmocka_unit_test(m5_m6_the_last_usage_counts_and_zeros_do_not),
        cmocka_unit_test(m7_a_cut_stream_is_estimated),
        cmocka_unit_test(m8_m9_times_are_those_of_output),
        cmocka_unit_test(m10_llamacpp_timings_stand_in_for_usage),
        cmocka_unit_test(m11_m12_m13_other_places),
        cmocka_unit_test(responses_end_with_their_usage),
        cmocka_unit_test(tool_calls_reasoning_and_errors_are_told_apart),
        cmocka_unit_test(text_that_looks_like_a_member_fools_nobody),
        cmocka_unit_test(the_second_event_of_a_shape_is_not_read),
        cmocka_unit_test(nonsense_is_noted_and_harmless),
        cmocka_unit_test(refused_requests_cost_nothing),
        cmocka_unit_test(a_rerank_reports_in_its_own_places),
        cmocka_unit_test(a_reply_without_memory_is_estimated),
        cmocka_unit_test(estimates_are_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
