#include "translate/think.h"

static const struct {
    const char *open, *close;
} tags[] = {
    { "<think>", "</think>" },
    { "<thinking>", "</thinking>" },
    { "<reasoning>", "</reasoning>" },
    { "<seed:think>", "</seed:think>" },
    { "[THINK]", "[/THINK]" },
    { "<|channel|>analysis<|message|>", "<|end|>" },
};

enum { N_TAGS = sizeof tags / sizeof tags[0] };

void think_init(struct think *t) {
    *t = (struct think){ 0 };
}

void think_deinit(struct think *t) {
    t->n = 0;
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void out(think_cb *cb, void *arg, bool is_reasoning, struct sv text) {
    if (text.n)
        cb(arg, is_reasoning, text);
}

/* Takes one byte of the beginning into what is held; false: it has no room there. */
static bool begin(struct think *t, char c) {
    size_t blanks = 0;
    bool may_be = false;
    if (t->n == sizeof t->held) {
        t->state = THINK_OVER;
        return false;
    }
    t->held[t->n++] = c;
    while (blanks < t->n && is_space(t->held[blanks]))
        blanks++;
    struct sv seen = { t->held + blanks, t->n - blanks };
    for (unsigned i = 0; i < N_TAGS; i++) {
        struct sv open = sv_of(tags[i].open);
        if (sv_eq(seen, open)) {
            t->state = THINK_INSIDE;
            t->tag = i;
            t->n = 0;
            return true;
        }
        may_be = may_be || sv_starts(open, seen);
    }
    if (!may_be)
        t->state = THINK_OVER;
    return true;
}

/* Returns what is left of text once it is clear whether it begins with a tag. */
static struct sv begin_all(struct think *t, struct sv text, think_cb *cb, void *arg) {
    struct sv rest = text;
    size_t held_before = t->n;
    while (rest.n && t->state == THINK_START)
        rest = sv_from(rest, begin(t, rest.p[0]));
    if (t->state != THINK_OVER)
        return rest;
    out(cb, arg, false, (struct sv){ t->held, held_before });
    t->n = 0;
    return text; /* in one piece, as it came */
}

/* How many bytes at the end of text may begin the tag. */
static size_t tail_of(struct sv text, struct sv tag) {
    size_t n = tag.n - 1 < text.n ? tag.n - 1 : text.n;
    while (n && !sv_starts(tag, sv_from(text, text.n - n)))
        n--;
    return n;
}

/* Reasoning up to the closing tag; returns how many bytes of text were used. */
static size_t inside(struct think *t, struct sv text, think_cb *cb, void *arg) {
    struct sv close = sv_of(tags[t->tag].close);
    if (t->n) { /* a part of the tag was held: decide byte by byte */
        t->held[t->n++] = text.p[0];
        struct sv seen = { t->held, t->n };
        if (sv_eq(seen, close)) {
            t->state = THINK_AFTER;
            t->n = 0;
            return 1;
        }
        if (!sv_starts(close, seen)) {
            size_t rest = tail_of(seen, close);
            out(cb, arg, true, sv_first(seen, seen.n - rest));
            memmove(t->held, t->held + seen.n - rest, rest);
            t->n = rest;
        }
        return 1;
    }
    ptrdiff_t at = sv_find(text, close);
    if (at >= 0) {
        out(cb, arg, true, sv_first(text, (size_t)at));
        t->state = THINK_AFTER;
        return (size_t)at + close.n;
    }
    size_t rest = tail_of(text, close);
    out(cb, arg, true, sv_first(text, text.n - rest));
    memcpy(t->held, text.p + text.n - rest, rest);
    t->n = rest;
    return text.n;
}

void think_feed(struct think *t, struct sv text, think_cb *cb, void *arg) {
    while (text.n && t->state != THINK_OVER) {
        size_t used = 1;
        switch (t->state) {
        case THINK_START:
            text = begin_all(t, text, cb, arg);
            used = 0;
            break;
        case THINK_INSIDE: used = inside(t, text, cb, arg); break;
        default: /* white space between the reasoning and the answer belongs to neither */
            if (!is_space(text.p[0])) {
                t->state = THINK_OVER;
                used = 0;
            }
        }
        text = sv_from(text, used);
    }
    out(cb, arg, false, text);
}

void think_end(struct think *t, think_cb *cb, void *arg) {
    out(cb, arg, t->state == THINK_INSIDE, (struct sv){ t->held, t->n });
    t->n = 0;
    if (t->state != THINK_INSIDE)
        t->state = THINK_OVER;
}
