/* llm/meter.c - the meter's hot path, and the settling at the end.
 *
 * A stream consists of hundreds of events that differ only in one string. So the bytes around that string are
 * remembered when an event has been read in full and was nothing but output; a later event with the same bytes around
 * one string needs no reading. Runs of digits may differ (times, sequence numbers): they cannot change what the members
 * mean, for an event with counts in it is never remembered. Whatever does not match is read in full: text that merely
 * looks like a member ("usage": in an answer about JSON) can therefore not fool the meter. Searching each event for the
 * few names that matter was tried on paper and dropped: four passes, and every hit still has to be parsed to know what
 * it is. */
#include "llm/meter.h"

#include <math.h>

#include "llm/meter_read.h"
#include "llm/peek.h"

void meter_init(struct meter *m, enum llm_api api) {
    memset(m, 0, offsetof(struct meter, shape));
    m->api = api;
    m->input = m->cached = m->cache_write = m->output = m->reasoning = -1;
    m->r_input = m->r_cached = m->r_write = m->r_output = m->r_reasoning = -1;
    m->t_cached = m->t_prompt = m->t_predicted = -1;
    m->prompt_ms = m->predicted_ms = m->load_ms = -1;
}

/* -- events ------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Whether v begins with shape, digits aside. Returns how many bytes of v that takes, 0 = no. */
static size_t match(const char *shape, size_t n, struct sv v) {
    size_t i = 0, j = 0;
    while (i < n) {
        while (n - i >= 8 && v.n - j >= 8 && memcmp(shape + i, v.p + j, 8) == 0) {
            i += 8;
            j += 8;
        }
        while (i < n && j < v.n && shape[i] == v.p[j]) {
            i++;
            j++;
        }
        if (i == n)
            break;
        /* The first difference must lie in, or just behind, a run of digits on both sides. */
        bool in_run = i > 0 && is_digit(shape[i - 1]), here = is_digit(shape[i]), there = j < v.n && is_digit(v.p[j]);
        if (j == v.n || (!here && !there) || (!in_run && !(here && there)))
            return 0;
        while (i < n && is_digit(shape[i]))
            i++;
        while (j < v.n && is_digit(v.p[j]))
            j++;
    }
    return j;
}

/* Behind the string's last byte, its closing quote; NULL without one. */
static const char *string_stop(const char *p, const char *end) {
    const char *from = p;
    while ((p = memchr(p, '"', (size_t)(end - p)))) {
        const char *slash = p;
        while (slash > from && slash[-1] == '\\')
            slash--;
        if (((p - slash) & 1) == 0)
            return p;
        from = ++p;
        if (p == end)
            return NULL;
    }
    return NULL;
}

static bool same_shape(const struct meter *m, struct sv data, struct sv *ret_text) {
    size_t head = m->shape_head ? match(m->shape, m->shape_head, data) : 0;
    const char *end = data.p + data.n, *stop = head && head < data.n ? string_stop(data.p + head, end) : NULL;
    if (!stop)
        return false;
    struct sv tail = { stop, (size_t)(end - stop) };
    *ret_text = (struct sv){ data.p + head, (size_t)(stop - data.p) - head };
    return match(m->shape + m->shape_head, m->shape_tail, tail) == tail.n;
}

static void remember_shape(struct meter *m, struct sv data, const struct meter_seen *seen) {
    if (!seen->plain || seen->n_output != 1 || !seen->text.p || data.n - seen->text.n > METER_SHAPE_MAX)
        return;
    size_t head = (size_t)(seen->text.p - data.p), tail = data.n - head - seen->text.n;
    memcpy(m->shape, data.p, head);
    memcpy(m->shape + head, seen->text.p + seen->text.n, tail);
    m->shape_head = (uint16_t)head;
    m->shape_tail = (uint16_t)tail;
    m->shape_kind = (uint8_t)seen->kind;
}

static void on_output(struct meter *m, enum meter_kind kind, uint64_t now_us) {
    m->gap_us = m->has_first && now_us > m->t_last_us ? now_us - m->t_last_us : 0;
    if (!m->has_first)
        m->t_first_us = now_us;
    m->has_first = true;
    if (!m->has_visible && kind != METER_REASONING) {
        m->has_visible = true;
        m->t_visible_us = now_us;
    }
    m->t_last_us = now_us;
    m->n_output_events++;
}

unsigned meter_event(struct meter *m, struct sv name, struct sv data, uint64_t now_us) {
    struct meter_seen seen;
    struct sv text;
    if (data.n == 0)
        return 0;
    m->n_events++;
    if (name.n == 0 || !sv_eq(name, SV("error"))) {
        if (same_shape(m, data, &text)) {
            if (text.n == 0)
                return 0;
            meter__text(m, text, (enum meter_kind)m->shape_kind);
            on_output(m, (enum meter_kind)m->shape_kind, now_us);
            return METER_OUTPUT;
        }
        if (sv_eq(data, SV("[DONE]"))) {
            m->saw_done = m->saw_final = true;
            return METER_DONE | METER_FINAL | METER_LAST;
        }
    }
    meter__event(m, name, data, &seen);
    remember_shape(m, data, &seen);
    if (seen.flags & METER_OUTPUT)
        on_output(m, seen.kind, now_us);
    m->saw_final |= (seen.flags & METER_FINAL) != 0;
    m->saw_error |= (seen.flags & METER_ERROR) != 0;
    return seen.flags;
}

/* -- settling ----------------------------------------------------------------------------------------------------- */

static int64_t estimated_output(const struct meter *m, double ratio) {
    uint64_t bytes = m->text_bytes + m->reasoning_bytes + m->tool_bytes;
    uint64_t tokens = ratio > 0 ? (uint64_t)ceil((double)bytes / ratio) : (m->milli_tokens + 999) / 1000;
    if (!m->whole && tokens < m->n_output_events) /* at least one token per event */
        tokens = m->n_output_events;
    return (int64_t)tokens;
}

int64_t meter_output_so_far(const struct meter *m, double output_ratio) {
    int64_t estimate = estimated_output(m, output_ratio);
    return m->r_output > estimate ? m->r_output : estimate;
}

/* Anthropic counts cached tokens apart. Some servers that imitate it do not subtract them: then the sum is
 * implausible. */
static void sum_input(struct meter *m, const struct meter_request *rq) {
    int64_t cached = m->r_cached > 0 ? m->r_cached : 0, write = m->r_write > 0 ? m->r_write : 0;
    if (m->r_input < 0 || m->api != LLM_MESSAGES)
        return;
    bool can_tell = cached && !(rq->quirks & METER_Q_EXCLUSIVE) && !rq->has_images && rq->input_estimate > 0;
    if (can_tell && m->r_input >= cached && (double)(m->r_input + cached) > 1.3 * (double)rq->input_estimate) {
        m->anomalies |= METER_A_INCLUSIVE;
        return;
    }
    m->r_input += cached + write;
}

static bool doubtful(const struct meter_request *rq, int64_t n, int64_t estimate) {
    return (rq->quirks & METER_Q_DOUBT) && estimate > 0 && n >= 0 && (n > 3 * estimate || 3 * n < estimate);
}

static void settle_input(struct meter *m, const struct meter_request *rq) {
    sum_input(m, rq);
    m->input = m->r_input;
    m->cached = m->r_cached;
    m->cache_write = m->r_write;
    if (m->input < 0 && m->t_prompt >= 0) {
        m->input = m->t_prompt + (m->t_cached > 0 ? m->t_cached : 0);
        m->cached = m->t_cached;
    }
    if (rq->quirks & METER_Q_NO_DETAILS)
        m->cached = m->cache_write = m->r_reasoning = -1;
    if (doubtful(rq, m->input, rq->input_estimate)) {
        m->anomalies |= METER_A_DOUBTED;
        m->input = -1;
    }
    m->input_source = m->input >= 0 ? METER_REPORTED : METER_ESTIMATED;
    if ((rq->quirks & METER_Q_UNCACHED_INPUT) && rq->input_estimate > m->input) {
        m->input = -1;
        m->input_source = METER_ESTIMATED;
    }
    if (m->input < 0)
        m->input = rq->input_estimate;
    if (m->input < 0)
        m->input_source = METER_NONE;
}

static bool has_output(enum llm_api api) {
    switch (api) {
    case LLM_EMBEDDINGS:
    case LLM_RERANK:
    case LLM_SCORE:
    case LLM_MODERATIONS:
    case LLM_COUNT_TOKENS:
    case LLM_RESPONSES_TOKENS:
    case LLM_OLLAMA_EMBED:
    case LLM_OLLAMA_EMBEDDINGS:
    case LLM_LMSTUDIO0_EMBEDDINGS: return false;
    default: return true;
    }
}

static void settle_output(struct meter *m, const struct meter_request *rq) {
    bool over = m->whole || m->saw_final;
    int64_t estimate = estimated_output(m, rq->output_ratio);
    m->output = m->r_output >= 0 ? m->r_output : m->t_predicted;
    if (doubtful(rq, m->output, estimate)) {
        m->anomalies |= METER_A_DOUBTED;
        m->output = -1;
    }
    m->output_source = METER_REPORTED;
    if (m->output < 0) {
        m->output = estimate;
        m->output_source = estimate > 0 ? METER_ESTIMATED : METER_NONE;
    } else if (!over && estimate > m->output) { /* continuous usage, or message_start's, and then a cut */
        m->output = m->api == LLM_MESSAGES ? estimate : m->output;
        m->output_source = m->api == LLM_MESSAGES ? METER_ESTIMATED : METER_PARTIAL;
    } else if (!over) {
        m->output_source = METER_PARTIAL;
    }
}

static void settle_reasoning(struct meter *m, const struct meter_request *rq) {
    uint64_t all = m->text_bytes + m->reasoning_bytes + m->tool_bytes;
    m->reasoning = m->r_reasoning;
    if (m->thought_aloud && rq->structured && m->output_source == METER_REPORTED) {
        /* Ollama's second pass reports its own counters only, with the first one's thinking in its prompt. */
        int64_t thinking = (int64_t)((m->milli_reasoning + 999) / 1000);
        m->output += thinking;
        m->input = m->input > thinking ? m->input - thinking : m->input;
        m->reasoning = thinking;
        m->reasoning_estimated = true;
    } else if (m->reasoning < 0 && m->reasoning_bytes > 0) {
        m->reasoning = (int64_t)((double)m->output * (double)m->reasoning_bytes / (double)all + 0.5);
        m->reasoning_estimated = true;
    }
}

static void clamp(struct meter *m) {
    if (m->input >= 0 && m->cached > m->input) {
        m->anomalies |= METER_A_CACHED;
        m->cached = m->input;
    }
    int64_t rest = m->input - (m->cached > 0 ? m->cached : 0);
    if (m->input >= 0 && m->cache_write > rest) {
        m->anomalies |= METER_A_CACHED;
        m->cache_write = rest;
    }
    if (m->output >= 0 && m->reasoning > m->output) {
        m->anomalies |= METER_A_REASONING;
        m->reasoning = m->output;
    }
}

static void settle_nothing(struct meter *m) {
    m->input = m->output = 0;
    m->cached = m->cache_write = m->reasoning = -1;
    m->input_source = m->output_source = METER_NONE;
}

void meter_end(struct meter *m, const struct meter_request *rq, uint64_t now_us) {
    (void)now_us; /* the end of the reply is no event of output */
    meter__reply_end(m);
    m->burst = m->n_output_events > 1 && m->t_first_us == m->t_last_us;
    if (rq->refused || (m->empty_run && m->r_input < 0 && m->r_output < 0)) {
        settle_nothing(m);
        return;
    }
    settle_input(m, rq);
    if (has_output(m->api)) {
        settle_output(m, rq);
        settle_reasoning(m, rq);
    } else {
        m->output = 0;
        m->output_source = METER_NONE;
    }
    clamp(m);
}

int64_t meter_tpot_us(const struct meter *m) {
    if (m->whole || m->burst || m->output < 2 || m->t_last_us <= m->t_first_us)
        return -1;
    return (int64_t)((m->t_last_us - m->t_first_us) / (uint64_t)(m->output - 1));
}
