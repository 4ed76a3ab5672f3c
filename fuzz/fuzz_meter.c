/* fuzz/fuzz_meter.c - remembering the shape of events changes no count: a meter that has forgotten it before each event
 * finds the same. And whatever comes, the settled counts keep their invariants, whole replies however they are cut.
 * First byte: the API. The rest: lines, one event each. */
#undef NDEBUG /* the properties are the point, in release builds, too */
#include <assert.h>
#include <stdlib.h>

#include "llm/meter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void invariants(struct meter *m) {
    assert(m->input >= 0 && m->output >= 0 && m->reasoning <= m->output);
    assert((m->cached > 0 ? m->cached : 0) + (m->cache_write > 0 ? m->cache_write : 0) <= m->input);
    assert(m->t_first_us <= m->t_last_us && !m->reply);
}

static const struct meter_request rq = { .input_estimate = 10 };

static void as_stream(enum llm_api api, struct sv stream) {
    struct meter m, forgetful;
    struct sv line;
    uint64_t now = 1;
    meter_init(&m, api);
    meter_init(&forgetful, api);
    for (; sv_next(&stream, '\n', &line); now++) {
        char *exact = malloc(line.n ? line.n : 1);
        assert(exact);
        if (line.n)
            memcpy(exact, line.p, line.n);
        unsigned flags = meter_event(&m, SV_NULL, (struct sv){ exact, line.n }, now);
        forgetful.shape_head = 0;
        unsigned flags2 = meter_event(&forgetful, SV_NULL, (struct sv){ exact, line.n }, now);
        assert(flags == flags2 && m.saw_final == forgetful.saw_final);
        free(exact);
    }
    assert(m.r_input == forgetful.r_input && m.r_output == forgetful.r_output);
    assert(m.n_output_events == forgetful.n_output_events && m.milli_tokens == forgetful.milli_tokens);
    assert(m.text_bytes == forgetful.text_bytes && m.reasoning_bytes == forgetful.reasoning_bytes);
    meter_end(&m, &rq, now);
    invariants(&m);
}

static void as_reply(enum llm_api api, struct sv body, size_t step, struct meter *m) {
    meter_init(m, api);
    for (size_t at = 0; at < body.n; at += step) {
        struct sv part = sv_first(sv_from(body, at), step);
        char *exact = malloc(part.n);
        assert(exact);
        memcpy(exact, part.p, part.n);
        meter_body(m, (struct sv){ exact, part.n }, 1);
        free(exact);
    }
    meter_end(m, &rq, 2);
    invariants(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct meter whole, split;
    if (size < 2)
        return 0;
    enum llm_api api = (enum llm_api)(data[0] % LLM_APIS);
    struct sv rest = { (const char *)data + 1, size - 1 };
    as_stream(api, rest);
    as_reply(api, rest, rest.n, &whole);
    as_reply(api, rest, 3, &split);
    assert(whole.input == split.input && whole.output == split.output && whole.cached == split.cached);
    assert(whole.reasoning == split.reasoning && whole.saw_error == split.saw_error);
    return 0;
}
