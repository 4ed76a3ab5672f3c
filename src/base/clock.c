#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static _Atomic int64_t shift_ms;

void clock_wall_shift(int64_t ms) {
    atomic_store_explicit(&shift_ms, ms, memory_order_relaxed);
}

uint64_t clock_mono_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_boot_ms(void) {
    struct timespec t;
#ifdef CLOCK_BOOTTIME
    clock_gettime(CLOCK_BOOTTIME, &t);
#else
    clock_gettime(CLOCK_MONOTONIC, &t); /* where it does not stand still in sleep, as on macOS */
#endif
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

uint64_t clock_wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u + (uint64_t)atomic_load_explicit(&shift_ms, memory_order_relaxed);
}

char *clock_iso8601(uint64_t wall_ms, char text[static 25]) {
    time_t s = (time_t)(wall_ms / 1000u);
    struct tm tm;
    gmtime_r(&s, &tm);
    char whole[64];
    snprintf(whole, sizeof whole, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(wall_ms % 1000u));
    snprintf(text, 25, "%.24s", whole);
    return text;
}
