#include "base/money.h"

#include <inttypes.h>
#include <stdio.h>

enum { DECIMALS = 6 };

bool money_read(struct sv text, int64_t *ret_millionths) {
    struct sv whole = text, part = text;
    uint64_t units = 0, millionths = 0;
    bool has_point = sv_cut(&part, '.', &whole);
    if (!sv_to_u64(whole, &units) || units > (uint64_t)(MONEY_MAX / MONEY_ONE))
        return false;
    if (has_point && (part.n > DECIMALS || !sv_to_u64(part, &millionths)))
        return false;
    for (size_t n = has_point ? part.n : DECIMALS; n < DECIMALS; n++)
        millionths *= 10;
    int64_t all = (int64_t)units * MONEY_ONE + (int64_t)millionths;
    if (all > MONEY_MAX)
        return false;
    *ret_millionths = all;
    return true;
}

/* Both operands of the division are exact and it rounds to the nearest, so it gives the very double that the decimal text reads as. */
bool money_of_double(double v, int64_t *ret_millionths) {
    if (!(v >= 0 && v <= (double)(MONEY_MAX / MONEY_ONE)))
        return false;
    int64_t all = (int64_t)(v * (double)MONEY_ONE + 0.5);
    if ((double)all / (double)MONEY_ONE != v)
        return false;
    *ret_millionths = all;
    return true;
}

char *money_text(int64_t millionths, char text[static MONEY_TEXT]) {
    uint64_t all = millionths < 0 ? 0 - (uint64_t)millionths : (uint64_t)millionths;
    const char *sign = millionths < 0 ? "-" : "";
    int n = snprintf(text, MONEY_TEXT, "%s%" PRIu64 ".%06" PRIu64, sign, all / (uint64_t)MONEY_ONE, all % (uint64_t)MONEY_ONE);
    while (text[n - 1] == '0')
        text[--n] = '\0';
    if (text[n - 1] == '.')
        text[n - 1] = '\0';
    return text;
}
