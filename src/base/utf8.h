/* base/utf8.h - UTF-8 as RFC 3629 has it: shortest forms only, no surrogates, nothing above U+10FFFF. */
#ifndef DROVER_BASE_UTF8_H
#define DROVER_BASE_UTF8_H

#include "base/sv.h"

/* Length (1..4) of the code point v starts with, 0 when v is empty or starts with anything else. */
size_t utf8_len(struct sv v);
bool utf8_valid(struct sv v);

#endif
