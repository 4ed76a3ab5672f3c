/* gateway/share.c - an exchange's share of its key's budgets: the most it may come to is reserved before it is sent, a stream
 * takes more as it goes on, account__finish settles what it came to.
 *
 * Money follows the slug's price. Where only the energy of the machine has one, what is reserved is an estimate by the pace
 * measured there: nobody knows how long an answer takes before it has ended. */
#include "gateway/exchange.h"

#include "llm/amend.h"
#include "telemetry/cost.h"

enum { USUAL_US_PER_TOKEN = 20000 }; /* of a place that was not measured yet */

struct amount {
    int64_t input, output; /* tokens */
};

/* The output limit of the request; -1: none. */
static int64_t output_limit(const struct scan *s) {
    const int64_t said[] = { s->max_completion_tokens, s->max_output_tokens, s->max_tokens, s->num_predict };
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        if (said[i] >= 0)
            return said[i];
    return -1;
}

/* The longest context of those that may serve it, less its prompt. */
static int64_t longest_room(const struct exchange *x, int64_t input) {
    int64_t longest = -1;
    for (size_t i = 0; i < x->sched.slug->n_targets; i++) {
        int64_t room = (int64_t)x->sched.slug->targets[i]->model->context - input;
        longest = room > longest ? room : longest;
    }
    return longest;
}

/* The most this request may come to: its prompt, and what it may put out. A stream takes a part of that and gets more as it
 * goes on; a whole answer can only be stopped before it begins. What the slug forces upon requests counts, not what they say. */
static struct amount worst_case(const struct exchange *x) {
    const struct scan *s = &x->scan;
    int64_t input = x->is_json ? meter_estimate_input(s, 0) : 0, output = x->is_json ? output_limit(s) : 0, n = x->is_json ? s->n : 1;
    struct amount a = { .input = input > 0 ? input : 0 };
    if (!(x->route->flags & LLM_R_STREAMS))
        return a;
    if (x->want.through)
        amend_limits(x->route->api, x->sched.slug->force, &output, &n);
    if (output < 0 && !x->is_stream && access_has_budget(x->key))
        output = longest_room(x, a.input);
    if (output < 0 || (output > EXCHANGE_SHARE && (x->is_stream || !access_has_budget(x->key))))
        output = EXCHANGE_SHARE;
    a.output = output * (n > 1 ? n : 1);
    return a;
}

/* --- money -------------------------------------------------------------------------------------------------------- */

/* Of the dearest place that may serve it, alone there. */
static int64_t energy_cost(const struct exchange *x, int64_t output) {
    uint64_t most = 0;
    for (size_t i = 0; i < x->sched.slug->n_targets; i++) {
        const struct fleet_target *t = x->sched.slug->targets[i];
        uint64_t each = atomic_load_explicit(&t->cell->us_per_token, memory_order_relaxed);
        uint64_t us = (uint64_t)output * (each ? each : USUAL_US_PER_TOKEN);
        us += atomic_load_explicit(&t->cell->us_to_first, memory_order_relaxed);
        uint64_t share = cost_share_uj(t->endpoint->watts, us, 1, 1);
        most = share > most ? share : most;
    }
    return cost_by_energy(most, x->config->telemetry.energy_price.millionths); /* 0 where it has none */
}

static int64_t cost_of(const struct exchange *x, struct amount a) {
    const struct config_price *price = &x->sched.slug->price;
    return cost_has_price(price) ? cost_most(price, a.input, a.output) : energy_cost(x, a.output);
}

/* Whoever serves it, its cost will be known. */
static bool has_cost(const struct exchange *x) {
    const struct fleet_slug *slug = x->sched.slug;
    bool all = x->config->telemetry.energy_price.is_set;
    for (size_t i = 0; i < slug->n_targets; i++)
        all = all && slug->targets[i]->endpoint->watts;
    return all || cost_has_price(&slug->price);
}

/* --- the share ---------------------------------------------------------------------------------------------------- */

enum access_reserved share__reserve(struct exchange *x, struct err *e) {
    struct amount a = worst_case(x);
    bool has_money = access_has_money_budget(x->key);
    if (has_money && x->config->access.unpriced == CONFIG_UNPRICED_REFUSE && !has_cost(x)) {
        err_set(e, ERR_DENIED, "\"%.*s\" has no price, and requests of keys with a budget of money are refused then (access.unpriced)",
                SV_FMT(x->sched.slug->name));
        return ACCESS_REFUSED;
    }
    return access_reserve(&x->hold, a.input + a.output, has_money ? cost_of(x, a) : 0, loop_now_us(x->g->loop), e);
}

bool share__is_of_slug(const struct exchange *x) {
    return x->hold.is_reserved && access_has_money_budget(x->key);
}

void share__give_back(struct exchange *x) {
    access_settle(&x->hold, 0, 0);
}

bool share__extend(struct exchange *x, struct err *e) {
    enum { LOOK_EVERY = 64, NEAR = 256 };
    struct access_hold *h = &x->hold;
    if (!h->is_reserved || x->meter.n_output_events % LOOK_EVERY || !access_has_budget(x->key))
        return true;
    int64_t input = count__input(x), output = meter_output_so_far(&x->meter, 0);
    struct amount near = { input > 0 ? input : 0, output + NEAR }, more = { near.input, output + EXCHANGE_SHARE };
    bool has_money = access_has_money_budget(x->key);
    if (near.input + near.output < h->taken[ACCESS_TOKENS] && (!has_money || cost_of(x, near) <= h->taken[ACCESS_MONEY]))
        return true;
    return access_extend(h, more.input + more.output, has_money ? cost_of(x, more) : 0, e) != ACCESS_REFUSED;
}
