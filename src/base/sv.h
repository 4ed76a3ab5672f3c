/* base/sv.h - string views: a pointer and a length, passed by value, borrowed.
 *
 * A view never owns its bytes and need not end in NUL. The empty view may have a NULL pointer. Nothing here allocates. */
#ifndef DROVER_BASE_SV_H
#define DROVER_BASE_SV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sv {
    const char *p;
    size_t n;
};

#define SV(literal) ((struct sv){ "" literal, sizeof(literal) - 1 })
#define SV_NULL ((struct sv){ NULL, 0 })
/* For printf: "%.*s", SV_FMT(v). */
#define SV_FMT(v) (int)(v).n, (v).p ? (v).p : ""

static inline struct sv sv_of(const char *s) {
    return (struct sv){ s, s ? strlen(s) : 0 };
}

static inline bool sv_eq(struct sv a, struct sv b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline struct sv sv_from(struct sv v, size_t at) {
    return at >= v.n ? (struct sv){ v.p ? v.p + v.n : NULL, 0 } : (struct sv){ v.p + at, v.n - at };
}

static inline struct sv sv_first(struct sv v, size_t n) {
    return (struct sv){ v.p, n < v.n ? n : v.n };
}

static inline bool sv_starts(struct sv v, struct sv head) {
    return v.n >= head.n && (head.n == 0 || memcmp(v.p, head.p, head.n) == 0);
}

static inline bool sv_ends(struct sv v, struct sv tail) {
    return v.n >= tail.n && (tail.n == 0 || memcmp(v.p + v.n - tail.n, tail.p, tail.n) == 0);
}

/* ASCII case is ignored; all other bytes compare as they are. */
bool sv_eq_nocase(struct sv a, struct sv b);
bool sv_starts_nocase(struct sv v, struct sv head);

/* Index of the first c, or -1. */
ptrdiff_t sv_find_char(struct sv v, char c);
ptrdiff_t sv_rfind_char(struct sv v, char c);
/* Index of the first occurrence of needle, or -1. An empty needle is found at 0. */
ptrdiff_t sv_find(struct sv v, struct sv needle);

/* Cuts v at the first sep: *ret_head gets what stands before it, v what stands after. False (nothing changed) without sep. */
bool sv_cut(struct sv *v, char sep, struct sv *ret_head);
/* Takes the next piece of a list separated by sep; the last piece needs no sep. False when v is empty. */
bool sv_next(struct sv *v, char sep, struct sv *ret_piece);
/* Without blanks and tabs on both ends. */
struct sv sv_trim(struct sv v);

/* Digits only, no sign, no blank; false on overflow, an empty view or any other byte. */
bool sv_to_u64(struct sv v, uint64_t *ret_value);

/* Copies v and a NUL into dst; false when it does not fit or v holds a NUL (dst is then the empty string). */
bool sv_to_cstr(struct sv v, char *dst, size_t size);

/* Shell-style pattern: * matches any run of bytes (also '/'), ? any one byte. Linear memory, no recursion. */
bool sv_glob(struct sv pattern, struct sv v);

#endif
