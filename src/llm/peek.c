#include "llm/peek.h"

#include <stdlib.h>

static const char *blank(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* p stands on the opening quote; returns the place behind the closing one, or NULL. */
static const char *skip_string(const char *p, const char *end) {
    const char *from = ++p;
    while (p < end) {
        const char *q = memchr(p, '"', (size_t)(end - p)), *slash = q;
        if (!q)
            return NULL;
        while (slash > from && slash[-1] == '\\')
            slash--;
        if (((q - slash) & 1) == 0)
            return q + 1;
        p = from = q + 1; /* the escaped quote is behind us, and so are its slashes */
    }
    return NULL;
}

static const char *skip_brackets(const char *p, const char *end) {
    size_t depth = 0;
    while (p && p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
            continue;
        }
        if (*p == '{' || *p == '[')
            depth++;
        else if ((*p == '}' || *p == ']') && --depth == 0)
            return p + 1;
        p++;
    }
    return NULL;
}

static const char *skip_value(const char *p, const char *end) {
    if (p == end)
        return NULL;
    if (*p == '"')
        return skip_string(p, end);
    if (*p == '{' || *p == '[')
        return skip_brackets(p, end);
    const char *from = p;
    while (p < end && *p != ',' && *p != '}' && *p != ']' && (unsigned char)*p > ' ')
        p++;
    return p > from ? p : NULL;
}

bool peek_open(struct peek *c, struct sv value, char bracket) {
    *c = (struct peek){ .bad = true };
    if (value.n == 0)
        return false;
    const char *end = value.p + value.n, *p = blank(value.p, end);
    if (p == end || *p != bracket)
        return false;
    *c = (struct peek){ .p = blank(p + 1, end), .end = end };
    return true;
}

static bool stop(struct peek *c) {
    c->bad = true;
    return false;
}

static bool take(struct peek *c, char close, struct sv *ret_value) {
    const char *to = skip_value(c->p, c->end);
    if (!to)
        return stop(c);
    *ret_value = (struct sv){ c->p, (size_t)(to - c->p) };
    c->p = blank(to, c->end);
    if (c->p == c->end || (*c->p != ',' && *c->p != close))
        return stop(c);
    if (*c->p == ',')
        c->p = blank(c->p + 1, c->end);
    return true;
}

bool peek_member(struct peek *c, struct sv *ret_name, struct sv *ret_value) {
    if (c->bad || c->p == c->end)
        return c->bad ? false : stop(c);
    if (*c->p == '}')
        return false;
    const char *quote = c->p, *to = *quote == '"' ? skip_string(quote, c->end) : NULL;
    if (!to)
        return stop(c);
    c->p = blank(to, c->end);
    if (c->p == c->end || *c->p != ':')
        return stop(c);
    c->p = blank(c->p + 1, c->end);
    *ret_name = (struct sv){ quote + 1, (size_t)(to - quote) - 2 };
    return take(c, '}', ret_value);
}

bool peek_element(struct peek *c, struct sv *ret_value) {
    if (c->bad || c->p == c->end)
        return c->bad ? false : stop(c);
    return *c->p != ']' && take(c, ']', ret_value);
}

struct sv peek_get(struct sv object, struct sv name) {
    struct peek c;
    struct sv member, value;
    if (peek_open(&c, object, '{')) {
        while (peek_member(&c, &member, &value)) {
            if (sv_eq(member, name))
                return value;
        }
    }
    return SV_NULL;
}

bool peek_is_something(struct sv v) {
    if (peek_is_null(v) || v.p[0] == 'f')
        return false;
    if (v.p[0] == '"')
        return v.n > 2;
    if (v.p[0] == '{' || v.p[0] == '[')
        return blank(v.p + 1, v.p + v.n) + 1 < v.p + v.n;
    return v.p[0] == 't' || peek_f64(v, 0) != 0;
}

struct sv peek_string(struct sv v) {
    return peek_is_string(v) ? (struct sv){ v.p + 1, v.n - 2 } : SV_NULL;
}

size_t peek_unescaped(struct sv s) {
    size_t bytes = s.n;
    if (s.n == 0)
        return 0;
    const char *end = s.p + s.n;
    for (const char *p = s.p; p < end && (p = memchr(p, '\\', (size_t)(end - p)));) {
        if (end - p >= 6 && p[1] == 'u') { /* from U+0800 on three bytes; a surrogate pair comes out two too long */
            bytes -= p[2] == '0' && p[3] < '8' ? (p[3] == '0' && p[4] < '8' ? 5 : 4) : 3;
            p += 6;
        } else {
            bytes--;
            p += end - p >= 2 ? 2 : 1;
        }
    }
    return bytes;
}

double peek_f64(struct sv v, double otherwise) {
    char text[40];
    if (v.n == 0 || !(v.p[0] == '-' || (v.p[0] >= '0' && v.p[0] <= '9')) || !sv_to_cstr(v, text, sizeof text))
        return otherwise;
    char *end;
    double d = strtod(text, &end);
    return *end == '\0' && d - d == 0 ? d : otherwise; /* not infinite */
}

int64_t peek_i64(struct sv v, int64_t otherwise) {
    uint64_t u;
    if (sv_to_u64(v, &u))
        return u <= INT64_MAX ? (int64_t)u : otherwise;
    double d = peek_f64(v, 0.5);
    return d > -9007199254740992.0 && d < 9007199254740992.0 && d == (double)(int64_t)d ? (int64_t)d : otherwise;
}
