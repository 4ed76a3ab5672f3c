/* gateway/account.c - a finished exchange becomes one record: metrics, measured speed. */
#include "gateway/exchange.h"

#include "base/clock.h"

static enum token_source source_of(enum meter_source s) {
    static const enum token_source map[] = { TOKENS_NONE, TOKENS_REPORTED, TOKENS_COUNTED, TOKENS_ESTIMATED, TOKENS_PARTIAL };
    return map[s];
}

bool account__spend(struct exchange *x, struct err *e) {
    enum { LOOK_EVERY = 64, NEAR = 256 };
    struct access_hold *h = &x->hold;
    if (!h->is_reserved || x->meter.n_output_events % LOOK_EVERY || !access_has_budget(x->key))
        return true;
    int64_t input = count__input(x), so_far = meter_output_so_far(&x->meter, 0) + (input > 0 ? input : 0);
    return so_far + NEAR < h->taken[ACCESS_TOKENS] || access_extend(h, so_far + EXCHANGE_SHARE, e) != ACCESS_REFUSED;
}

/* What the key is charged with. Cached tokens count as tokens; what never reached a runtime, nothing. */
static int64_t tokens_of(const struct request_record *r) {
    return (r->input > 0 ? r->input : 0) + (r->output > 0 ? r->output : 0);
}

void account__finish(struct exchange *x, enum request_result result) {
    const struct fleet_target *t = x->sched.taken;
    struct meter *m = &x->meter;
    uint64_t now = loop_now_us(x->g->loop);
    bool metered = x->reply != NULL && x->route->api != LLM_NONE;
    if (metered && !x->settled) {
        struct meter_request rq = { .input_estimate = count__input(x), .refused = x->reply->status >= 400 };
        meter_end(m, &rq, now);
    }
    char id[33];
    answer__request_id(x->in, id);
    struct request_record r = {
        .id = sv_of(id),
        .key = x->key ? x->key->id : SV_NULL,
        .api = sv_of(x->route->path),
        .ended_ms = clock_wall_ms(),
        .slug = x->sched.slug ? x->sched.slug->name : SV("other"),
        .model = t ? t->model->id : SV_NULL,
        .endpoint = t ? t->endpoint->name : SV_NULL,
        .runtime = t ? t->endpoint->kind : SV_NULL,
        .result = result,
        .status = x->status ? x->status : result == RESULT_CANCELLED ? 499 : 0,
        .stream = x->is_stream,
        .attempts = x->attempts,
        .received_us = x->in->received_us,
        .sent_us = x->sent_us,
        .body_us = x->body_us,
        .queue_us = x->queue_us,
        .done_us = now,
        .input = -1,
        .cached = -1,
        .output = -1,
        .reasoning = -1,
        .bytes_in = x->body_n,
        .bytes_out = x->bytes_out,
    };
    static const char *const dialects[] = { "plain", "openai", "anthropic", "ollama", "lmstudio" };
    r.dialect = sv_of(dialects[llm_dialect(x->route->api)]);
    if (metered) {
        r.input = m->input;
        r.cached = m->cached;
        r.output = m->output;
        r.reasoning = m->reasoning;
        r.input_source = m->input_source == METER_ESTIMATED && count__is_exact(x) ? TOKENS_COUNTED : source_of(m->input_source);
        r.output_source = source_of(m->output_source);
        r.first_us = m->has_first ? m->t_first_us : 0;
        r.last_us = m->has_first ? m->t_last_us : 0;
        r.burst = m->burst || m->whole;
        r.anomalies = m->anomalies;
        if (t && result == RESULT_OK && x->has_events && m->has_first && !m->burst)
            cell_speed(t->cell, m->t_first_us - x->sent_us, m->t_last_us - m->t_first_us, m->output);
        meter_deinit(m);
    }
    access_settle(&x->hold, tokens_of(&r), 0);
    metrics_request(x->g->metrics, &r);
    if (x->g->ledger)
        ledger_add(x->g->ledger, &r);
}
