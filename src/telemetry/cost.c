#include "telemetry/cost.h"

#define COST_MAX (INT64_MAX / 4) /* sums of a few still fit */
#define PRICED_TOKENS 1000000    /* what a price is for */
#define KWH_UJ UINT64_C(3600000000000) /* a kilowatt-hour in microjoules */

const char *cost_source_name(enum cost_source s) {
    static const char *const names[] = {
#define X(id, text) [id] = text,
        COST_SOURCES(X)
#undef X
    };
    return names[s];
}

bool cost_has_price(const struct config_price *p) {
    return p->input.is_set || p->cached.is_set || p->output.is_set || p->request.is_set;
}

static int64_t up(unsigned __int128 sum, uint64_t divisor) {
    sum = (sum + divisor - 1) / divisor;
    return sum < COST_MAX ? (int64_t)sum : COST_MAX;
}

static int64_t known(int64_t n) {
    return n > 0 ? n : 0;
}

/* What is not set is 0: it costs nothing. */
static unsigned __int128 times(int64_t n, int64_t price) {
    return (unsigned __int128)known(n) * (uint64_t)price;
}

static int64_t cached_price(const struct config_price *p) {
    return p->cached.is_set ? p->cached.millionths : p->input.millionths;
}

int64_t cost_by_price(const struct config_price *p, int64_t input, int64_t cached, int64_t output, int64_t n) {
    cached = known(cached) < known(input) ? known(cached) : known(input);
    return up(times(known(input) - cached, p->input.millionths) + times(cached, cached_price(p)) + times(output, p->output.millionths) +
              times(n, p->request.millionths) * PRICED_TOKENS, PRICED_TOKENS);
}

int64_t cost_most(const struct config_price *p, int64_t input, int64_t output) {
    bool cached_is_dearer = cached_price(p) > p->input.millionths;
    return cost_by_price(p, input, cached_is_dearer ? input : 0, output, 1);
}

bool cost_lacks_count(const struct config_price *p, int64_t input, int64_t output) {
    return (input < 0 && (p->input.millionths || p->cached.millionths)) || (output < 0 && p->output.millionths);
}

uint64_t cost_share_uj(uint32_t watts, uint64_t held_us, uint32_t n_at_start, uint32_t n_at_end) {
    uint64_t n = (uint64_t)(n_at_start ? n_at_start : 1) + (n_at_end ? n_at_end : 1); /* twice the mean */
    unsigned __int128 share = (unsigned __int128)watts * held_us * 2 / n;
    return share < UINT64_MAX ? (uint64_t)share : UINT64_MAX;
}

int64_t cost_by_energy(uint64_t energy_uj, int64_t price_per_kwh) {
    return up((unsigned __int128)energy_uj * (uint64_t)price_per_kwh, KWH_UJ);
}
