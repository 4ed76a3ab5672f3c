/* llm/print.h - private: printing JSON into a buffer without counting commas.
 *
 * A comma goes in front of whatever does not follow an opening bracket. Nothing here checks for failure; the caller
 * prints between print_begin and print_end, and a buffer that overflowed is put back as it was. */
#ifndef DROVER_LLM_PRINT_H
#define DROVER_LLM_PRINT_H

#include <inttypes.h>

#include "base/buf.h"

struct print {
    struct buf *to;
    size_t was;
};

static inline struct print print_begin(struct buf *to) {
    return (struct print){ to, to->n };
}

static inline bool print_end(struct print *p) {
    if (p->to->failed)
        p->to->n = p->was;
    return !p->to->failed;
}

static inline void print_comma(struct print *p) {
    size_t n = p->to->n;
    if (n > p->was && p->to->p[n - 1] != '{' && p->to->p[n - 1] != '[' && p->to->p[n - 1] != ' ')
        buf_add_char(p->to, ',');
}

/* Name may be NULL: an element, or the text itself. */
static inline void print_name(struct print *p, const char *name) {
    print_comma(p);
    if (name) {
        buf_add_char(p->to, '"');
        buf_add(p->to, sv_of(name));
        buf_add(p->to, SV("\":"));
    }
}

static inline void print_open(struct print *p, const char *name, char bracket) {
    print_name(p, name);
    buf_add_char(p->to, bracket);
}

static inline void print_close(struct print *p, char bracket) {
    buf_add_char(p->to, bracket);
}

static inline void print_str(struct print *p, const char *name, struct sv value) {
    print_name(p, name);
    buf_add_json(p->to, value);
}

/* null when it is empty. */
static inline void print_str_or_null(struct print *p, const char *name, struct sv value) {
    print_name(p, name);
    if (value.n)
        buf_add_json(p->to, value);
    else
        buf_add(p->to, SV("null"));
}

static inline void print_int(struct print *p, const char *name, int64_t value) {
    print_name(p, name);
    if (value < 0)
        buf_add_char(p->to, '-');
    buf_add_u64(p->to, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* Left out when it is unknown. */
static inline void print_fact(struct print *p, const char *name, int64_t value) {
    if (value >= 0)
        print_int(p, name, value);
}

static inline void print_bool(struct print *p, const char *name, bool value) {
    print_name(p, name);
    buf_add(p->to, value ? SV("true") : SV("false"));
}

#endif
