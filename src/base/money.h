/* base/money.h - amounts of money: whole millionths of whatever currency is meant, and their decimal text.
 *
 * Sums are integers, so that nothing is lost or made by adding. Text and JSON have at most six digits behind the point. */
#ifndef DROVER_BASE_MONEY_H
#define DROVER_BASE_MONEY_H

#include "base/sv.h"

#define MONEY_ONE INT64_C(1000000)               /* millionths in one of the currency */
#define MONEY_MAX (INT64_C(1000000000) * MONEY_ONE) /* what may be given; a double still tells its millionths apart */

/* "12", "0.15": no sign, no exponent. False for another form, a seventh digit behind the point, and beyond MONEY_MAX. */
bool money_read(struct sv text, int64_t *ret_millionths);
/* The same of a JSON number. */
bool money_of_double(double v, int64_t *ret_millionths);

/* "0.15", without zeros at the end. */
enum { MONEY_TEXT = 28 };
char *money_text(int64_t millionths, char text[static MONEY_TEXT]);

#endif
