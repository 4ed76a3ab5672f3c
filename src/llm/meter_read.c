/* llm/meter_read.c - the members that carry counts, per dialect; table: the reference on metering, section 2. */
#include "llm/meter_read.h"

#include "llm/peek.h"

enum { COUNT_MAX = 1 << 30 }; /* more tokens than that in one reply is nonsense */

/* A count; -1 for null or nonsense. */
static int64_t count(struct meter *m, struct sv v) {
    if (peek_is_null(v))
        return -1;
    int64_t n = peek_i64(v, -2);
    if (n >= 0 && n <= COUNT_MAX)
        return n;
    m->anomalies |= METER_A_BAD_COUNT;
    return -1;
}

static void set(int64_t *to, int64_t n) {
    if (n >= 0)
        *to = n;
}

struct usage {
    int64_t input, cached, write, output, reasoning, total;
};

static void read_details(struct meter *m, struct usage *u, struct sv details) {
    struct peek c;
    struct sv name, v;
    if (!peek_open(&c, details, '{'))
        return;
    while (peek_member(&c, &name, &v)) {
        if (sv_eq(name, SV("cached_tokens")))
            set(&u->cached, count(m, v));
        else if (sv_eq(name, SV("cache_write_tokens")))
            set(&u->write, count(m, v));
        else if (sv_eq(name, SV("reasoning_tokens")) || sv_eq(name, SV("thinking_tokens")))
            set(&u->reasoning, count(m, v));
    }
}

static void read_count(struct meter *m, struct usage *u, struct sv name, struct sv v) {
    if (sv_eq(name, SV("prompt_tokens")) || sv_eq(name, SV("input_tokens")))
        set(&u->input, count(m, v));
    else if (sv_eq(name, SV("completion_tokens")) || sv_eq(name, SV("output_tokens")))
        set(&u->output, count(m, v));
    else if (sv_eq(name, SV("total_tokens")))
        set(&u->total, count(m, v));
    else if (sv_eq(name, SV("reasoning_tokens")))
        set(&u->reasoning, count(m, v));
    else if (sv_eq(name, SV("cache_read_input_tokens")))
        set(&u->cached, count(m, v));
    else if (sv_eq(name, SV("cache_creation_input_tokens")))
        set(&u->write, count(m, v));
    else if (sv_ends(name, SV("_tokens_details")))
        read_details(m, u, v);
}

static bool read_usage(struct meter *m, struct sv object, struct usage *u) {
    struct peek c;
    struct sv name, v;
    *u = (struct usage){ -1, -1, -1, -1, -1, -1 };
    if (!peek_open(&c, object, '{'))
        return false;
    while (peek_member(&c, &name, &v))
        read_count(m, u, name, v);
    if (c.bad)
        m->anomalies |= METER_A_BAD_JSON;
    return true;
}

/* The last usage object wins as a whole; one of zeros is no news, for no prompt has no tokens (rules 1 and 2). */
bool meter__usage(struct meter *m, struct sv object) {
    struct usage u;
    if (!read_usage(m, object, &u))
        return false;
    if (u.input < 0 && u.total >= 0)
        u.input = u.total - (u.output > 0 ? u.output : 0);
    if (u.input <= 0 && u.output <= 0)
        return true;
    m->r_input = u.input > 0 ? u.input : -1;
    m->r_output = u.output;
    m->r_cached = u.cached;
    m->r_write = u.write;
    m->r_reasoning = u.reasoning;
    return true;
}

/* Here each member that is present overwrites (rule 3). */
bool meter__usage_anthropic(struct meter *m, struct sv object) {
    struct usage u;
    if (!read_usage(m, object, &u))
        return false;
    set(&m->r_input, u.input);
    set(&m->r_cached, u.cached);
    set(&m->r_write, u.write);
    set(&m->r_output, u.output);
    set(&m->r_reasoning, u.reasoning);
    return true;
}

void meter__timings(struct meter *m, struct sv timings) {
    struct peek c;
    struct sv name, v;
    if (!peek_open(&c, timings, '{'))
        return;
    while (peek_member(&c, &name, &v)) {
        if (sv_eq(name, SV("cache_n")))
            set(&m->t_cached, count(m, v));
        else if (sv_eq(name, SV("prompt_n")))
            set(&m->t_prompt, count(m, v));
        else if (sv_eq(name, SV("predicted_n")))
            set(&m->t_predicted, count(m, v));
        else if (sv_eq(name, SV("prompt_ms")))
            m->prompt_ms = peek_f64(v, -1);
        else if (sv_eq(name, SV("predicted_ms")))
            m->predicted_ms = peek_f64(v, -1);
    }
}

static double ms_of_seconds(struct sv v) {
    double s = peek_f64(v, -1);
    return s >= 0 ? s * 1000 : -1;
}

void meter__stats(struct meter *m, struct sv stats) {
    struct peek c;
    struct sv name, v;
    if (!peek_open(&c, stats, '{'))
        return;
    while (peek_member(&c, &name, &v)) {
        if (sv_eq(name, SV("input_tokens")))
            set(&m->r_input, count(m, v));
        else if (sv_eq(name, SV("total_output_tokens")))
            set(&m->r_output, count(m, v));
        else if (sv_eq(name, SV("reasoning_output_tokens")))
            set(&m->r_reasoning, count(m, v));
        else if (sv_eq(name, SV("time_to_first_token")) || sv_eq(name, SV("time_to_first_token_seconds")))
            m->prompt_ms = ms_of_seconds(v);
        else if (sv_eq(name, SV("generation_time")))
            m->predicted_ms = ms_of_seconds(v);
        else if (sv_eq(name, SV("model_load_time_seconds")))
            m->load_ms = ms_of_seconds(v);
    }
}

static double ms_of_nanoseconds(struct sv v) {
    double ns = peek_f64(v, -1);
    return ns >= 0 ? ns / 1e6 : -1;
}

void meter__ollama(struct meter *m, struct sv name, struct sv v) {
    if (sv_eq(name, SV("prompt_eval_count")))
        set(&m->r_input, count(m, v));
    else if (sv_eq(name, SV("eval_count")))
        set(&m->r_output, count(m, v));
    else if (sv_eq(name, SV("prompt_eval_duration")))
        m->prompt_ms = ms_of_nanoseconds(v);
    else if (sv_eq(name, SV("eval_duration")))
        m->predicted_ms = ms_of_nanoseconds(v);
    else if (sv_eq(name, SV("load_duration")))
        m->load_ms = ms_of_nanoseconds(v);
    else if (sv_eq(name, SV("done_reason")))
        m->empty_run = sv_eq(v, SV("\"load\"")) || sv_eq(v, SV("\"unload\""));
}
