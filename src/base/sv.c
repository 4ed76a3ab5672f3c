#include "base/sv.h"

static unsigned char lower(unsigned char c) {
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

bool sv_eq_nocase(struct sv a, struct sv b) {
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower((unsigned char)a.p[i]) != lower((unsigned char)b.p[i]))
            return false;
    return true;
}

bool sv_starts_nocase(struct sv v, struct sv head) {
    return v.n >= head.n && sv_eq_nocase(sv_first(v, head.n), head);
}

ptrdiff_t sv_find_char(struct sv v, char c) {
    const char *at = v.n ? memchr(v.p, c, v.n) : NULL;
    return at ? at - v.p : -1;
}

ptrdiff_t sv_rfind_char(struct sv v, char c) {
    const char *at = v.n ? memrchr(v.p, c, v.n) : NULL;
    return at ? at - v.p : -1;
}

ptrdiff_t sv_find(struct sv v, struct sv needle) {
    if (needle.n == 0)
        return 0;
    const char *at = v.n ? memmem(v.p, v.n, needle.p, needle.n) : NULL;
    return at ? at - v.p : -1;
}

bool sv_cut(struct sv *v, char sep, struct sv *ret_head) {
    ptrdiff_t at = sv_find_char(*v, sep);
    if (at < 0)
        return false;
    *ret_head = sv_first(*v, (size_t)at);
    *v = sv_from(*v, (size_t)at + 1);
    return true;
}

bool sv_next(struct sv *v, char sep, struct sv *ret_piece) {
    if (v->n == 0)
        return false;
    if (!sv_cut(v, sep, ret_piece)) {
        *ret_piece = *v;
        *v = sv_from(*v, v->n);
    }
    return true;
}

struct sv sv_trim(struct sv v) {
    while (v.n && (v.p[0] == ' ' || v.p[0] == '\t'))
        v = sv_from(v, 1);
    while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

bool sv_to_u64(struct sv v, uint64_t *ret_value) {
    uint64_t value = 0;
    if (v.n == 0)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(v.p[i] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return true;
}

bool sv_to_cstr(struct sv v, char *dst, size_t size) {
    if (size)
        dst[0] = '\0';
    if (v.n >= size || (v.n && memchr(v.p, '\0', v.n)))
        return false;
    if (v.n)
        memcpy(dst, v.p, v.n);
    dst[v.n] = '\0';
    return true;
}

bool sv_glob(struct sv pattern, struct sv v) {
    size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;
    while (i < v.n) {
        if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == v.p[i]) && pattern.p[p] != '*') {
            p++;
            i++;
        } else if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            mark = i;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}
