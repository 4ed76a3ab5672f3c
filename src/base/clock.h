/* base/clock.h - the two clocks. Engines take time as an argument; only loops and edges read a clock. Any thread. */
#ifndef DROVER_BASE_CLOCK_H
#define DROVER_BASE_CLOCK_H

#include <stdint.h>

/* Never goes back; its zero has no meaning. */
uint64_t clock_mono_us(void);
/* The same, but it goes on while the machine sleeps, where the system can tell. */
uint64_t clock_boot_ms(void);
/* Since 1970-01-01 UTC. */
uint64_t clock_wall_ms(void);
/* Tests only: the wall clock goes so much ahead (or behind), in all threads. */
void clock_wall_shift(int64_t ms);
/* "2026-11-21T05:06:07.089Z" into 25 bytes; returns text. */
char *clock_iso8601(uint64_t wall_ms, char text[static 25]);

#endif
