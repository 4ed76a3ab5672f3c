/* llm/peek.h - private: looking into a small JSON text that lies in memory, without building anything.
 *
 * A value is the view of its raw bytes. Walking an object or array hands out such views one by one and skips what
 * nobody asks for at the speed of memchr; nothing is allocated. Names are compared as they stand (no runtime escapes
 * the names of its members). The text is trusted to be JSON as far as it is not looked at: what is malformed ends the
 * walk early and sets .bad, and never leads outside the view. */
#ifndef DROVER_LLM_PEEK_H
#define DROVER_LLM_PEEK_H

#include "base/sv.h"

struct peek {
    const char *p, *end;
    bool bad;
};

/* Starts a walk; false when value is no object ('{') or no array ('['). */
bool peek_open(struct peek *c, struct sv value, char bracket);
/* Next member of an object: its name without quotes, its value. False at the end. */
bool peek_member(struct peek *c, struct sv *ret_name, struct sv *ret_value);
bool peek_element(struct peek *c, struct sv *ret_value);

/* The value of one member, empty when object is no object or has none; the first one wins. */
struct sv peek_get(struct sv object, struct sv name);

static inline bool peek_is_null(struct sv v) {
    return v.n == 0 || v.p[0] == 'n';
}
static inline bool peek_is_string(struct sv v) {
    return v.n >= 2 && v.p[0] == '"';
}
static inline bool peek_is_object(struct sv v) {
    return v.n >= 2 && v.p[0] == '{';
}
/* Neither absent, null, false, zero, "" nor an empty bracket. */
bool peek_is_something(struct sv v);
/* What stands between the quotes, escapes as they are; empty when v is no string. */
struct sv peek_string(struct sv v);
/* How many bytes the inside of a string has after unescaping. */
size_t peek_unescaped(struct sv inside);
/* An integer, or an integral number such as 100.0; otherwise when it is anything else. */
int64_t peek_i64(struct sv v, int64_t otherwise);
double peek_f64(struct sv v, double otherwise);

#endif
