/* translate/lift.h - private to translate: long texts travel around the translation, not through it.
 *
 * A long string of a request (a prompt, a file shown to the model, a tool's manual) is the same bytes in every API. Before
 * parsing, each is replaced by a short mark; where the printer wrote the mark, the client's own bytes are sent. So a large body
 * is neither parsed, copied nor escaped again. Only strings whose members hold plain text are lifted, never what lies within the
 * arguments of a tool call, which may be printed as text inside of text. */
#ifndef DROVER_TRANSLATE_LIFT_H
#define DROVER_TRANSLATE_LIFT_H

#include "base/buf.h"
#include "base/sv.h"

enum {
    LIFT_MIN = 1024,   /* bytes of a string that is worth it */
    LIFT_MAX = 128,    /* strings of one body */
    LIFT_PIECES = 2 * LIFT_MAX + 1,
    LIFT_MARK = 26,    /* bytes of a mark */
};

struct lift {
    uint64_t nonce;
    unsigned n;
    struct sv texts[LIFT_MAX]; /* raw, between the quotes; borrowed from the body */
};

/* Puts the body with marks into out. only: the one top-level member within which texts are lifted; empty: all. nonce:
 * unpredictable. False: nothing was lifted, or memory is out; out is then empty. Borrows body, which must be valid JSON
 * (llm/scan.h). */
bool lift_body(struct lift *l, struct sv body, struct sv only, uint64_t nonce, struct buf *out);
/* What was printed, as pieces with the texts in their places: views on printed and on the body. Returns how many; 0: a mark was
 * damaged on its way (a text was cut), and the translation must be done again without lifting. */
unsigned lift_pieces(const struct lift *l, struct sv printed, struct sv pieces[static LIFT_PIECES]);

#endif
