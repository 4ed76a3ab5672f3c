/* gateway/account.c - a finished exchange becomes one record: what it used, what it cost, how fast it was. */
#include "gateway/exchange.h"

#include "base/clock.h"
#include "telemetry/cost.h"

static enum token_source source_of(enum meter_source s) {
    static const enum token_source map[] = { TOKENS_NONE, TOKENS_REPORTED, TOKENS_COUNTED, TOKENS_ESTIMATED, TOKENS_PARTIAL };
    return map[s];
}

/* --- what it costs ------------------------------------------------------------------------------------------------ */

static uint32_t n_there(const struct exchange *x) {
    return atomic_load_explicit(&x->sched.taken->endpoint->cell->in_flight, memory_order_relaxed);
}

void account__took(struct exchange *x) {
    x->took_us = loop_now_us(x->g->loop);
    x->n_beside = n_there(x);
}

void account__left(struct exchange *x) {
    if (!x->took_us || !x->sched.taken)
        return;
    x->energy_uj += cost_share_uj(x->sched.taken->endpoint->watts, loop_now_us(x->g->loop) - x->took_us, x->n_beside, n_there(x));
    x->took_us = 0;
}

/* By the slug's price, else by the energy of the machine. Returns what the key's budget is charged with: of a cost that is not
 * known in full, what is known of it. */
static int64_t set_cost(const struct exchange *x, struct request_record *r) {
    if (!x->sent_us)
        return 0; /* it reached no runtime */
    const struct config_price *price = &x->sched.slug->price;
    const struct config_money *kwh = &x->config->telemetry.energy_price;
    const struct fleet_target *t = x->sched.taken;
    bool answered = x->reply && x->reply->status < 400;
    int64_t cost = 0;
    r->cost = -1;
    if (cost_has_price(price)) {
        r->cost_source = COST_PRICE;
        cost = cost_by_price(price, r->input, r->cached, r->output, answered);
        if (answered && cost_lacks_count(price, r->input, r->output))
            return cost;
    } else if (kwh->is_set && (x->energy_uj || (t && t->endpoint->watts))) {
        r->cost_source = COST_ENERGY;
        cost = cost_by_energy(x->energy_uj, kwh->millionths);
    } else {
        return 0;
    }
    return r->cost = cost;
}

/* --- the record --------------------------------------------------------------------------------------------------- */

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
        .key = x->key ? x->key->id : x->principal,
        .key_name = x->key ? x->key->name : x->principal,
        .api = sv_of(x->route->path),
        .ended_ms = clock_wall_ms(),
        .slug = x->sched.slug ? x->sched.slug->name : SV("other"),
        .model = t ? t->model->id : SV_NULL,
        .endpoint = t ? t->endpoint->name : SV_NULL,
        .runtime = t ? t->endpoint->kind : SV_NULL,
        .result = result,
        .status = x->status                    ? x->status
                  : result == RESULT_CANCELLED ? 499
                                               : 0,
        .stream = x->is_stream,
        .is_from_hub = x->is_from_hub,
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
    account__left(x);
    access_settle(&x->hold, tokens_of(&r), set_cost(x, &r));
    metrics_request(x->g->metrics, &r);
    if (atomic_load_explicit(&x->g->shared->watched, memory_order_relaxed))
        watch__ended(x->g, &r);
    if (x->g->ledger)
        ledger_add(x->g->ledger, &r);
    trace__finish(x, &r);
}
