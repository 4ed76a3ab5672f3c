/* translate/think.h - private to translate: reasoning that a runtime left in the text, between tags.
 *
 * A tag counts only at the very beginning of the text (after white space); its closing tag ends the reasoning. Nothing is
 * held back but the bytes that may be part of a tag, however the text is cut. Tags: the reference on API dialects, 11. */
#ifndef DROVER_TRANSLATE_THINK_H
#define DROVER_TRANSLATE_THINK_H

#include "base/sv.h"

enum { THINK_HELD_MAX = 64 }; /* bytes: white space before a tag, and the longest tag */

struct think {
    enum { THINK_START, THINK_INSIDE, THINK_AFTER, THINK_OVER } state;
    unsigned tag;               /* the pair that is open */
    size_t n;                   /* bytes held */
    char held[THINK_HELD_MAX];
};

typedef void think_cb(void *arg, bool is_reasoning, struct sv text);

void think_init(struct think *t);
void think_deinit(struct think *t);
void think_feed(struct think *t, struct sv text, think_cb *cb, void *arg);
/* The text is over: what was held goes out. May be called again without harm. */
void think_end(struct think *t, think_cb *cb, void *arg);

#endif
