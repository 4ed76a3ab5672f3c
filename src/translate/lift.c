#include "translate/lift.h"

#include <stdio.h>

enum { DEPTH_MAX = 64 }; /* as llm/scan.h has it */

/* Members whose string is text for the model. */
static bool holds_text(struct sv name) {
    static const char *const names[] = { "content", "text", "system", "instructions", "prompt", "description", "thinking", "output" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sv_eq(name, sv_of(names[i])))
            return true;
    return false;
}

/* The end of a string that begins at p (behind its quote): the place of the closing quote. */
static const char *string_end(const char *p, const char *end) {
    while ((p = memchr(p, '"', (size_t)(end - p)))) {
        const char *back = p;
        while (back[-1] == '\\')
            back--;
        if ((p - back) % 2 == 0)
            return p;
        p++;
    }
    return end;
}

static void put_mark(const struct lift *l, unsigned i, struct buf *out) {
    char mark[LIFT_MARK + 1];
    snprintf(mark, sizeof mark, "@lift%016llx:%03u@", (unsigned long long)l->nonce, i);
    buf_add(out, (struct sv){ mark, LIFT_MARK });
}

bool lift_body(struct lift *l, struct sv body, struct sv only, uint64_t nonce, struct buf *out) {
    const char *p = body.p, *end = body.p + body.n, *copied = p;
    uint64_t closed = 0; /* a bit for each open bracket: within it nothing is lifted */
    unsigned depth = 0;
    struct sv key = SV_NULL, top = SV_NULL; /* the member; that of the outermost object */
    bool after_colon = false;
    l->n = 0;
    l->nonce = nonce;
    while (p < end && depth < DEPTH_MAX) {
        char c = *p++;
        switch (c) {
        case '"': {
            struct sv text = { p, (size_t)(string_end(p, end) - p) };
            const char *next = text.p + text.n + 1;
            while (next < end && (*next == ' ' || *next == '\n' || *next == '\r' || *next == '\t'))
                next++;
            bool is_key = !after_colon && next < end && *next == ':';
            if (is_key) {
                key = text;
                top = depth == 1 ? key : top;
            } else if (after_colon && text.n >= LIFT_MIN && l->n < LIFT_MAX && !(closed & 1) && holds_text(key) &&
                       (!only.n || sv_eq(top, only))) {
                if (sv_starts_nocase(text, SV("error"))) /* canon_mark_error looks for the word */
                    text = sv_from(text, 5);
                buf_add(out, (struct sv){ copied, (size_t)(text.p - copied) });
                put_mark(l, l->n, out);
                l->texts[l->n++] = text;
                copied = text.p + text.n;
            }
            after_colon = false;
            p = text.p + text.n + 1; /* behind the closing quote */
            break;
        }
        case ':': after_colon = true; break;
        case '{':
        case '[':
            depth++;
            closed = closed << 1 | ((closed & 1) || (c == '{' && after_colon && (sv_eq(key, SV("input")) || sv_eq(key, SV("arguments")))));
            after_colon = false;
            break;
        case '}':
        case ']':
            depth--;
            closed >>= 1;
            after_colon = false;
            break;
        case ',': after_colon = false; break;
        default: break; /* a bare word or number has none of these in it */
        }
    }
    if (l->n && depth < DEPTH_MAX && p >= end)
        buf_add(out, (struct sv){ copied, (size_t)(end - copied) });
    else
        l->n = 0;
    if (l->n && !out->failed)
        return true;
    l->n = 0;
    buf_reset(out);
    return false;
}

unsigned lift_pieces(const struct lift *l, struct sv printed, struct sv pieces[static LIFT_PIECES]) {
    char begin[22 + 1];
    unsigned n = 0, used = 0;
    snprintf(begin, sizeof begin, "@lift%016llx:", (unsigned long long)l->nonce);
    /* A mark is looked for by its first letters alone, so that one that lost its end is found out, too. */
    for (ptrdiff_t at; (at = sv_find(printed, sv_of(begin))) >= 0; printed = sv_from(printed, (size_t)at + LIFT_MARK)) {
        struct sv mark = sv_first(sv_from(printed, (size_t)at), LIFT_MARK);
        unsigned i = 0;
        if (mark.n < LIFT_MARK || mark.p[LIFT_MARK - 1] != '@' || used++ == l->n)
            return 0;
        for (const char *d = mark.p + 22; d < mark.p + 25; d++) {
            if (*d < '0' || *d > '9')
                return 0;
            i = i * 10 + (unsigned)(*d - '0');
        }
        if (i >= l->n)
            return 0;
        if (at)
            pieces[n++] = sv_first(printed, (size_t)at);
        pieces[n++] = l->texts[i];
    }
    if (sv_find(printed, sv_first(sv_of(begin), 12)) >= 0)
        return 0; /* a mark that was cut within its nonce */
    if (printed.n)
        pieces[n++] = printed;
    return n;
}
