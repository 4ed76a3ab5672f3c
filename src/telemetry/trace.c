#include "telemetry/trace.h"

/* "00-" trace "-" span "-" flags */
enum { AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53, LENGTH = 55 };

/* Lower case only, as the specification has it. */
static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *p, uint8_t *to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int high = digit(p[2 * i]), low = digit(p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const uint8_t *p, size_t n) {
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

bool trace_parent_read(struct sv text, struct trace_parent *ret) {
    struct trace_parent p;
    uint8_t version, flags;
    if (text.n < LENGTH || !read_hex(text.p, &version, 1) || version == 0xff)
        return false;
    if (version == 0 ? text.n != LENGTH : text.n > LENGTH && text.p[LENGTH] != '-')
        return false;
    if (text.p[AT_TRACE - 1] != '-' || text.p[AT_SPAN - 1] != '-' || text.p[AT_FLAGS - 1] != '-')
        return false;
    if (!read_hex(text.p + AT_TRACE, p.trace, TRACE_ID) || !read_hex(text.p + AT_SPAN, p.span, TRACE_SPAN) ||
        !read_hex(text.p + AT_FLAGS, &flags, 1))
        return false;
    if (is_zero(p.trace, TRACE_ID) || is_zero(p.span, TRACE_SPAN))
        return false;
    p.flags = flags & (TRACE_SAMPLED | TRACE_RANDOM);
    *ret = p;
    return true;
}

static char *put_hex(char *to, const uint8_t *from, size_t n) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *to++ = digits[from[i] >> 4];
        *to++ = digits[from[i] & 15];
    }
    return to;
}

char *trace_parent_text(const struct trace_parent *p, char text[static TRACE_PARENT_TEXT]) {
    char *to = text;
    *to++ = '0';
    *to++ = '0';
    *to++ = '-';
    to = put_hex(to, p->trace, TRACE_ID);
    *to++ = '-';
    to = put_hex(to, p->span, TRACE_SPAN);
    *to++ = '-';
    to = put_hex(to, &p->flags, 1);
    *to = '\0';
    return text;
}
