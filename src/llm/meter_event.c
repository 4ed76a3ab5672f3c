/* llm/meter_event.c - reading one event of each dialect; the shapes: the reference on API dialects, 2.5, 4.5, 8.6, 9.6,
 * 10.3. */
#include "llm/meter_read.h"
#include "llm/peek.h"

void meter__text(struct meter *m, struct sv raw, enum meter_kind kind) {
    size_t bytes = peek_unescaped(raw);
    uint64_t milli = meter_estimate_milli(raw);
    m->milli_tokens += milli;
    switch (kind) {
    case METER_TEXT: m->text_bytes += bytes; break;
    case METER_TOOL: m->tool_bytes += bytes; break;
    case METER_REASONING:
        m->reasoning_bytes += bytes;
        m->milli_reasoning += milli;
        break;
    }
}

void meter__output(struct meter *m, struct meter_seen *seen, struct sv value, enum meter_kind kind) {
    if (!peek_is_something(value))
        return;
    seen->flags |= METER_OUTPUT;
    /* A frame with text and reasoning shows something, so text it is. */
    if (seen->n_output == 0 || seen->kind == METER_REASONING)
        seen->kind = kind;
    seen->text = seen->n_output++ == 0 ? peek_string(value) : SV_NULL;
    meter__text(m, peek_is_string(value) ? peek_string(value) : value, kind);
}

static void stop_reason(struct meter_seen *seen, struct sv v) {
    if (peek_string(v).n)
        seen->flags |= METER_FINAL;
}

static void failed(struct meter_seen *seen, struct sv v) {
    if (peek_is_something(v))
        seen->flags |= METER_ERROR;
}

/* -- OpenAI chat and completions ---------------------------------------------------------------------------------- */

static void tool_calls(struct meter *m, struct meter_seen *seen, struct sv calls) {
    struct peek c, f;
    struct sv call, name, v;
    if (!peek_open(&c, calls, '['))
        return;
    while (peek_element(&c, &call)) {
        struct sv function = peek_get(call, SV("function"));
        if (!peek_open(&f, function.n ? function : peek_get(call, SV("custom")), '{'))
            continue;
        while (peek_member(&f, &name, &v)) {
            if (sv_eq(name, SV("name")) || sv_eq(name, SV("arguments")) || sv_eq(name, SV("input")))
                meter__output(m, seen, v, METER_TOOL);
        }
    }
}

static void delta(struct meter *m, struct meter_seen *seen, struct sv object) {
    struct peek c;
    struct sv name, v, reasoning = SV_NULL;
    if (!peek_open(&c, object, '{'))
        return;
    while (peek_member(&c, &name, &v)) {
        if (sv_eq(name, SV("content")) || sv_eq(name, SV("refusal")))
            meter__output(m, seen, v, METER_TEXT);
        else if (sv_eq(name, SV("reasoning_content")) || (sv_eq(name, SV("reasoning")) && peek_is_string(v)))
            reasoning = reasoning.n > 2 ? reasoning : v; /* some servers send both, with the same text */
        else if (sv_eq(name, SV("tool_calls")))
            tool_calls(m, seen, v);
        else if (sv_eq(name, SV("function_call")) || sv_eq(name, SV("audio")))
            meter__output(m, seen, v, METER_TOOL);
    }
    meter__output(m, seen, reasoning, METER_REASONING);
    if (c.bad)
        m->anomalies |= METER_A_BAD_JSON;
}

/* Returns whether there was any choice. */
static bool choices(struct meter *m, struct meter_seen *seen, struct sv list) {
    struct peek c, d;
    struct sv choice, name, v;
    bool any = false;
    if (!peek_open(&c, list, '['))
        return false;
    for (; peek_element(&c, &choice); any = true) {
        if (!peek_open(&d, choice, '{'))
            continue;
        while (peek_member(&d, &name, &v)) {
            if (sv_eq(name, SV("delta")) || sv_eq(name, SV("message")))
                delta(m, seen, v);
            else if (sv_eq(name, SV("text")))
                meter__output(m, seen, v, METER_TEXT);
            else if (sv_eq(name, SV("finish_reason")))
                stop_reason(seen, v);
        }
    }
    return any;
}

/* Also the events of the audio and image APIs, which have a type and a delta and end in ".done" or ".completed". */
static void openai(struct meter *m, struct meter_seen *seen, struct peek *c) {
    struct sv name, v, type = SV_NULL;
    bool any_choice = false, usage = false;
    while (peek_member(c, &name, &v)) {
        if (sv_eq(name, SV("choices"))) {
            any_choice = choices(m, seen, v);
        } else if (sv_eq(name, SV("usage"))) {
            usage = meter__usage(m, v);
        } else if (sv_eq(name, SV("timings"))) {
            meter__timings(m, v);
            seen->plain = false;
        } else if (sv_eq(name, SV("stats"))) {
            meter__stats(m, v);
            seen->plain = false;
        } else if (sv_eq(name, SV("error"))) {
            failed(seen, v);
        } else if (sv_eq(name, SV("type"))) {
            type = peek_string(v);
        } else if (sv_eq(name, SV("object")) && sv_eq(v, SV("\"error\""))) {
            seen->flags |= METER_ERROR;
        } else if (sv_eq(name, SV("delta")) || sv_eq(name, SV("audio")) || sv_eq(name, SV("b64_json"))) {
            meter__output(m, seen, v, METER_TEXT);
        }
    }
    if (usage)
        seen->flags |= any_choice || seen->n_output ? METER_USAGE : METER_USAGE | METER_USAGE_ONLY;
    if (sv_ends(type, SV(".done")) || sv_ends(type, SV(".completed")))
        seen->flags = (seen->flags | METER_FINAL) & ~(unsigned)METER_USAGE_ONLY;
}

/* -- OpenAI Responses --------------------------------------------------------------------------------------------- */

static void responses(struct meter *m, struct meter_seen *seen, struct peek *c, struct sv type) {
    struct sv name, v, piece = SV_NULL, item = SV_NULL, response = SV_NULL;
    while (peek_member(c, &name, &v)) {
        if (sv_eq(name, SV("type")))
            type = peek_string(v);
        else if (sv_eq(name, SV("delta")))
            piece = v;
        else if (sv_eq(name, SV("item")))
            item = v;
        else if (sv_eq(name, SV("response")))
            response = v;
        else if (sv_eq(name, SV("error")))
            failed(seen, v);
    }
    if (sv_ends(type, SV(".delta"))) {
        bool reasoning = sv_find(type, SV("reasoning")) >= 0;
        bool tool = sv_find(type, SV("arguments")) >= 0 || sv_find(type, SV("_call")) >= 0;
        meter__output(m, seen, piece, reasoning ? METER_REASONING : tool ? METER_TOOL : METER_TEXT);
    } else if (sv_eq(type, SV("response.output_item.added"))) {
        if (sv_ends(peek_string(peek_get(item, SV("type"))), SV("_call")))
            meter__output(m, seen, peek_get(item, SV("name")), METER_TOOL);
    } else if (sv_eq(type, SV("response.completed")) || sv_eq(type, SV("response.incomplete")) ||
               sv_eq(type, SV("response.failed")) || sv_eq(type, SV("response.cancelled"))) {
        seen->flags |= METER_FINAL | METER_LAST | (sv_ends(type, SV("failed")) ? METER_ERROR : 0);
        if (meter__usage(m, peek_get(response, SV("usage"))))
            seen->flags |= METER_USAGE;
    } else if (sv_eq(type, SV("error"))) {
        seen->flags |= METER_ERROR;
    }
}

/* -- Anthropic ---------------------------------------------------------------------------------------------------- */

static void block_delta(struct meter *m, struct meter_seen *seen, struct sv object) {
    struct peek c;
    struct sv name, v;
    if (!peek_open(&c, object, '{'))
        return;
    while (peek_member(&c, &name, &v)) { /* a signature is no output */
        if (sv_eq(name, SV("text")))
            meter__output(m, seen, v, METER_TEXT);
        else if (sv_eq(name, SV("thinking")))
            meter__output(m, seen, v, METER_REASONING);
        else if (sv_eq(name, SV("partial_json")))
            meter__output(m, seen, v, METER_TOOL);
        else if (sv_eq(name, SV("stop_reason")))
            stop_reason(seen, v);
    }
}

static void anthropic(struct meter *m, struct meter_seen *seen, struct peek *c, struct sv type) {
    struct sv name, v;
    while (peek_member(c, &name, &v)) {
        bool usage = false;
        if (sv_eq(name, SV("type"))) {
            type = peek_string(v);
        } else if (sv_eq(name, SV("delta"))) {
            block_delta(m, seen, v);
        } else if (sv_eq(name, SV("content_block"))) {
            block_delta(m, seen, v);
            meter__output(m, seen, peek_get(v, SV("name")), METER_TOOL);
        } else if (sv_eq(name, SV("message"))) {
            usage = meter__usage_anthropic(m, peek_get(v, SV("usage")));
        } else if (sv_eq(name, SV("usage"))) {
            usage = meter__usage_anthropic(m, v);
        } else if (sv_eq(name, SV("error"))) {
            failed(seen, v);
        }
        seen->flags |= usage ? METER_USAGE : 0;
    }
    if (sv_eq(type, SV("message_stop")))
        seen->flags |= METER_FINAL | METER_LAST;
}

/* -- Ollama ------------------------------------------------------------------------------------------------------- */

static void ollama_message(struct meter *m, struct meter_seen *seen, struct sv object) {
    struct peek c;
    struct sv name, v;
    if (!peek_open(&c, object, '{'))
        return;
    while (peek_member(&c, &name, &v)) {
        if (sv_eq(name, SV("content")))
            meter__output(m, seen, v, METER_TEXT);
        else if (sv_eq(name, SV("thinking")))
            meter__output(m, seen, v, METER_REASONING);
        else if (sv_eq(name, SV("tool_calls")))
            meter__output(m, seen, v, METER_TOOL);
    }
}

static void ollama(struct meter *m, struct meter_seen *seen, struct peek *c) {
    struct sv name, v;
    while (peek_member(c, &name, &v)) {
        if (sv_eq(name, SV("message")))
            ollama_message(m, seen, v);
        else if (sv_eq(name, SV("response")))
            meter__output(m, seen, v, METER_TEXT);
        else if (sv_eq(name, SV("thinking")))
            meter__output(m, seen, v, METER_REASONING);
        else if (sv_eq(name, SV("done")))
            seen->flags |= sv_eq(v, SV("true")) ? METER_FINAL | METER_LAST : 0;
        else if (sv_eq(name, SV("status"))) /* pull, push, create */
            seen->flags |= sv_eq(v, SV("\"success\"")) ? METER_FINAL | METER_LAST : 0;
        else if (sv_eq(name, SV("error")))
            failed(seen, v);
        else
            meter__ollama(m, name, v);
    }
    m->thought_aloud |= m->reasoning_bytes > 0;
}

/* -- LM Studio v1 ------------------------------------------------------------------------------------------------- */

static void lmstudio1(struct meter *m, struct meter_seen *seen, struct peek *c, struct sv type) {
    struct sv name, v, content = SV_NULL, tool = SV_NULL;
    while (peek_member(c, &name, &v)) {
        if (sv_eq(name, SV("type")))
            type = peek_string(v);
        else if (sv_eq(name, SV("content")))
            content = v;
        else if (sv_eq(name, SV("tool")))
            tool = v;
        else if (sv_eq(name, SV("error")))
            failed(seen, v);
        else if (sv_eq(name, SV("result")))
            meter__stats(m, peek_get(v, SV("stats")));
    }
    if (sv_eq(type, SV("message.delta")))
        meter__output(m, seen, content, METER_TEXT);
    else if (sv_eq(type, SV("reasoning.delta")))
        meter__output(m, seen, content, METER_REASONING);
    else if (sv_eq(type, SV("tool_call.start")))
        meter__output(m, seen, tool, METER_TOOL);
    else if (sv_eq(type, SV("chat.end")))
        seen->flags |= METER_FINAL | METER_LAST | METER_USAGE;
}

void meter__event(struct meter *m, struct sv name, struct sv data, struct meter_seen *seen) {
    struct peek c;
    *seen = (struct meter_seen){ .plain = true };
    if (!peek_open(&c, data, '{')) {
        m->anomalies |= METER_A_BAD_JSON;
        seen->plain = false;
        return;
    }
    switch (m->api) {
    case LLM_RESPONSES:
    case LLM_RESPONSES_STORED: responses(m, seen, &c, name); break;
    case LLM_MESSAGES: anthropic(m, seen, &c, name); break;
    case LLM_LMSTUDIO1_CHAT: lmstudio1(m, seen, &c, name); break;
    default:
        if (llm_dialect(m->api) == LLM_OLLAMA)
            ollama(m, seen, &c);
        else
            openai(m, seen, &c);
    }
    if (c.bad) {
        m->anomalies |= METER_A_BAD_JSON;
        seen->plain = false;
    }
    if (sv_eq(name, SV("error")))
        seen->flags |= METER_ERROR;
    if (seen->flags & ~(unsigned)METER_OUTPUT)
        seen->plain = false;
}
