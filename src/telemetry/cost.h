/* telemetry/cost.h - what a request costs, in millionths of telemetry.currency: pure sums, without clock or state.
 *
 * By price: tokens times the price of a million of them, cached ones at their own price, plus what each answered request costs.
 * By energy: the watts of the machine, times the time for which the request held its place there, divided by how many shared
 * the machine then: the mean of their number at the beginning and at the end. Both round up, once, at the end: what many
 * small requests cost must not vanish. docs/costs.md tells it to operators. */
#ifndef DROVER_TELEMETRY_COST_H
#define DROVER_TELEMETRY_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "telemetry/record.h"

bool cost_has_price(const struct config_price *p);
/* Counts of -1 are unknown and cost nothing; n: requests that were answered. */
int64_t cost_by_price(const struct config_price *p, int64_t input, int64_t cached, int64_t output, int64_t n);
/* The most one request of so many tokens may come to: whatever comes from a cache. */
int64_t cost_most(const struct config_price *p, int64_t input, int64_t output);
/* Whether a count that is not known stands where the price asks for one. */
bool cost_lacks_count(const struct config_price *p, int64_t input, int64_t output);

/* A request's part of a machine's energy, in watts times microseconds: microjoules. */
uint64_t cost_share_uj(uint32_t watts, uint64_t held_us, uint32_t n_at_start, uint32_t n_at_end);
int64_t cost_by_energy(uint64_t energy_uj, int64_t price_per_kwh);

#endif
