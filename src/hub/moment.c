#include "hub/moment.h"

#include <stdio.h>
#include <time.h>

int64_t moment_ms(struct sv text) {
    struct tm t = { 0 };
    char copy[40];
    int ms = 0;
    if (!sv_to_cstr(text, copy, sizeof copy) ||
        sscanf(copy, "%4d-%2d-%2dT%2d:%2d:%2d.%3d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec, &ms) < 6)
        return -1;
    t.tm_year -= 1900;
    t.tm_mon--;
    return (int64_t)timegm(&t) * 1000 + ms;
}
