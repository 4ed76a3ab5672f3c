/* llm/scan_note.h - private to scan*.c: the states of the machine, and what it notes while it runs.
 *
 * scan.c knows the grammar and calls these hooks; scan_note.c knows what the names mean. The two checks that run for
 * every value are here, to be inlined. */
#ifndef DROVER_LLM_SCAN_NOTE_H
#define DROVER_LLM_SCAN_NOTE_H

#include "llm/scan.h"

enum {
    AT_START,
    AT_FIRST_KEY,   /* a name or '}' */
    AT_KEY,         /* a name, after a comma */
    AT_COLON,
    AT_FIRST_VALUE, /* a value or ']' */
    AT_VALUE,
    AT_COMMA,       /* after a value: a comma or the closing bracket */
    AT_STRING,
    AT_UTF8,        /* inside a character of several bytes */
    AT_ESCAPE,
    AT_HEX,
    AT_LOW_SLASH,   /* after a high surrogate: its partner must follow */
    AT_LOW_U,
    AT_NUMBER,
    AT_LITERAL,
    AT_END,
    AT_BAD,
};

enum { NUM_MINUS, NUM_ZERO, NUM_INT, NUM_DOT, NUM_FRAC, NUM_E, NUM_SIGN, NUM_EXP, NUM_DONE, NUM_BAD };
enum { FAULT_SYNTAX, FAULT_TWICE, FAULT_DEEP, FAULT_MEMBERS };

/* What the value of the member just named is good for. */
enum {
    WANT_NONE,
    WANT_OPAQUE, /* nothing inside it matters */
    WANT_TOOLS,  /* the same, but whether it is empty does */
    WANT_MODEL,
    WANT_FLAG,
    WANT_INT,
    WANT_TYPE,
    WANT_ROLE,
    WANT_IMAGE,
    WANT_IMAGES,
    WANT_BLOB,
};

static inline uint64_t scan__offset(const struct scan *s, const char *p) {
    return s->base + (uint64_t)(p - s->feed);
}

static inline bool scan__in_object(const struct scan *s) {
    return s->stack & 1;
}

/* Stops the machine; returns NULL, as the at_... functions do. expected belongs to FAULT_SYNTAX, or is the name for
 * FAULT_TWICE. */
const char *scan__fault(struct scan *s, const char *p, unsigned kind, const char *expected);

void scan__top_begin(struct scan *s, const char *p);
void scan__top_end(struct scan *s, const char *p);
void scan__element_begin(struct scan *s, const char *p);
void scan__element_end(struct scan *s, const char *p);
/* A name is complete; p stands behind its closing quote. NULL: fault. */
const char *scan__key_end(struct scan *s, const char *p, struct sv name);
/* A wanted string value; p stands behind its closing quote, v is its text if it was to be kept. */
void scan__string(struct scan *s, const char *p, struct sv v);
void scan__number(struct scan *s, struct sv v);
void scan__literal(struct scan *s);
/* A value that is not what its name promised. */
void scan__wrong_kind(struct scan *s);
/* A bracket is opened at p; s->depth and s->stack have counted it. */
void scan__opened(struct scan *s, const char *p, bool is_object);
/* The bracket just opened is not closed at once. */
void scan__not_empty(struct scan *s);
/* The feed ends at p (or a fault stops the machine there): takes what is not over yet of a value copied or hashed. */
void scan__suspend(struct scan *s, const char *p);

static inline void scan__value_begin(struct scan *s, const char *p) {
    if (s->depth == 1) {
        scan__top_begin(s, p);
    } else if (s->depth == 2 && s->listing) {
        scan__element_begin(s, p);
    } else if (s->want == WANT_FLAG && s->depth == 2) {
        s->flag_open = true;
        s->include_usage_raw.at = scan__offset(s, p);
    }
}

/* p stands just after the value. */
static inline const char *scan__value_end(struct scan *s, const char *p) {
    s->at = AT_COMMA;
    if (s->depth == 1) {
        scan__top_end(s, p);
    } else if (s->depth == 2 && s->listing) {
        scan__element_end(s, p);
    } else if (s->depth == 2 && s->flag_open) {
        s->include_usage_raw.n = scan__offset(s, p) - s->include_usage_raw.at;
        s->flag_open = false;
    }
    return p;
}

#endif
