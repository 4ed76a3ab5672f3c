/* llm/scan_text.h - the loops over the text of strings, included by scan_run.c for each set of instructions.
 *
 * Nobody can predict where the next escape or umlaut stands, and a branch guessed wrong costs more than all the work on a
 * block of 64 bytes. So each block goes through the same steps, and the only branches are for what is rare or comes in long
 * stretches: the end of the text, \u. Characters beyond ASCII are more work than escapes and stand in fewer blocks. So
 * there are two looks: the first, at every block, knows escapes and where the text ends, and notes without a branch which
 * blocks have such characters; the second checks and counts them, in these blocks only.
 *
 * A set is a uint64_t: bit i speaks of byte i of the block. Characters of several bytes are checked by looking at each byte
 * together with the three in front of it, so that each block can be looked at alone.
 *
 * The includer defines NAME and TARGET (name and attributes of the functions), VECS vectors VEC of WIDTH bytes to a block,
 * and on vectors x and y of unsigned bytes: LOAD, ROW (16 bytes, again and again), ALL, OR, AND, XOR, ADD, LESS (x - y, but
 * not below 0), UPPER (half of each byte), LOOKUP (by the lower half, if x is ASCII), IS_ZERO, IS_ASCII and HOLD (in a
 * register). What holds for which byte comes as BITS: from EQUAL, BELOW (signed), AT_MOST and HIGH (the top bit is set), and
 * from ESCAPABLE where there is a better way than the one here. NAME(set) makes BITS a set; NAME(sum) adds the bytes of a
 * vector up. */

#ifndef ESCAPABLE
#define ESCAPABLE(x, t) OR(EQUAL(x, ROW((t)->r)), EQUAL(x, LOOKUP(ROW((t)->escape), x)))
#endif

#define BLOCK struct NAME(block)

BLOCK {
    VEC v[VECS];
};

TARGET static inline BLOCK NAME(load)(const char *p) {
    BLOCK b;
    for (unsigned i = 0; i < VECS; i++)
        b.v[i] = LOAD(p + i * WIDTH);
    return b;
}

TARGET static inline uint64_t NAME(equals)(BLOCK b, VEC c) {
    BITS bits[VECS];
    for (unsigned i = 0; i < VECS; i++)
        bits[i] = EQUAL(b.v[i], c);
    return NAME(set)(bits);
}

TARGET static inline uint64_t NAME(below)(BLOCK b, VEC c) {
    BITS bits[VECS];
    for (unsigned i = 0; i < VECS; i++)
        bits[i] = BELOW(b.v[i], c);
    return NAME(set)(bits);
}

TARGET static inline uint64_t NAME(high)(BLOCK b) {
    BITS bits[VECS];
    for (unsigned i = 0; i < VECS; i++)
        bits[i] = HIGH(b.v[i]);
    return NAME(set)(bits);
}

TARGET static inline uint64_t NAME(quotes_and_controls)(BLOCK b, const struct tables *t) {
    BITS bits[VECS];
    for (unsigned i = 0; i < VECS; i++)
        bits[i] = AT_MOST(XOR(b.v[i], ROW(t->swap)), ROW(t->blank));
    return NAME(set)(bits);
}

/* What may stand behind a backslash, b and u apart. */
TARGET static inline uint64_t NAME(escapable)(BLOCK b, const struct tables *t) {
    BITS bits[VECS];
    for (unsigned i = 0; i < VECS; i++)
        bits[i] = ESCAPABLE(b.v[i], t);
    return NAME(set)(bits);
}

/* Does a character beyond ASCII stand in the block, or end right before it? */
TARGET static inline bool NAME(is_wide)(BLOCK b, const char *p) {
    VEC any = LOAD(p - 1);
    for (unsigned i = 0; i < VECS; i++)
        any = OR(any, b.v[i]);
    return !IS_ASCII(any);
}

/* other: what stands behind a backslash and is not escapable: the u of \u, the b of \b, or a fault. Returns the backslashes
 * of faults and of what ends beyond the block, an escape or a pair of escapes; in *ret_cut only the latter. */
TARGET static uint64_t NAME(unicode)(const char *p, uint64_t other, uint64_t *ret_cut) {
    BLOCK b = NAME(load)(p), letters;
    for (unsigned i = 0; i < VECS; i++)
        letters.v[i] = OR(b.v[i], ALL(0x20));
    uint64_t u = other & NAME(equals)(b, ALL('u')), late = u & FROM(60);
    uint64_t hex = (NAME(below)(b, ALL('9' + 1)) & ~NAME(below)(b, ALL('0'))) |
                   (NAME(below)(letters, ALL('f' + 1)) & ~NAME(below)(letters, ALL('a')));
    uint64_t whole = u & hex >> 1 & hex >> 2 & hex >> 3 & hex >> 4;
    /* d800 to dfff are halves of a character: one from d800, then one from dc00. */
    uint64_t half = whole & NAME(equals)(letters, ALL('d')) >> 1 & ~NAME(below)(b, ALL('8')) >> 2;
    uint64_t low = half & ~NAME(below)(letters, ALL('c')) >> 2, high = half & ~low, far = high & FROM(54);
    uint64_t lone = (high & ~far & ~(low >> 6)) | (low & ~(high << 6));
    uint64_t fault = (other & ~NAME(equals)(b, ALL('b')) & ~whole & ~late) | lone;
    *ret_cut = (late | far) >> 1;
    return *ret_cut | fault >> 1;
}

/* The first look, at blocks that begin at last or before. Returns where it came to, not between a backslash and what that
 * escapes. */
TARGET static inline const char *NAME(escapes)(const char *p, const char *last, struct notes *notes,
                                               const struct tables *t) {
    const uint64_t odd = 0xaaaaaaaaaaaaaaaa;
    uint64_t open = 0; /* 1: the byte in front of p is a backslash that escapes what comes */
    size_t n = 0;
    notes->beyond[0] = notes->beyond[1] = notes->beyond[2] = 0;
    while (p <= last) {
        BLOCK b = NAME(load)(p);
        uint64_t slash = NAME(equals)(b, ROW(t->slash)), fresh = slash & ~open;
        uint64_t rows = (((fresh << 1) | odd) - fresh) ^ odd; /* in a row of backslashes, each second one is escaped */
        uint64_t after = rows ^ (slash | open), other = after & ~NAME(escapable)(b, t);
        uint64_t over = NAME(quotes_and_controls)(b, t) & ~after, cut = 0;
        if (other) {
            if (other & open) { /* once more, with its backslash */
                p--;
                open = 0;
                continue;
            }
            over |= NAME(unicode)(p, other, &cut);
        }
        notes->at[n] = p;
        n += NAME(is_wide)(b, p);
        if (__builtin_expect(!over, 1)) {
            p += RUN_BLOCK;
            open = (rows & slash) >> 63;
            continue;
        }
        uint64_t first = over & -over, beyond = NAME(high)(b) & -first;
        if (beyond) {
            uint64_t three = beyond & ~NAME(below)(b, ALL(0xe0)), four = beyond & ~NAME(below)(b, ALL(0xf0));
            notes->beyond[0] += (uint64_t)__builtin_popcountll(beyond & ~NAME(below)(b, ALL(0xc0)) & ~three);
            notes->beyond[1] += (uint64_t)__builtin_popcountll(three & ~four);
            notes->beyond[2] += (uint64_t)__builtin_popcountll(four);
        }
        p += __builtin_ctzll(over);
        open = 0;
        if (!(cut & first))
            break;
    }
    notes->n = n;
    return p - open;
}

/* The second look: RFC 3629 section 4. Returns NULL, or the first block with a fault; then nothing was counted. */
TARGET static inline const char *NAME(characters)(const struct notes *notes, uint64_t n_utf8[3], const struct tables *t) {
    VEC two = ALL(0), three = two, four = two; /* for each place in a vector, how many characters begin there */
    for (size_t k = 0; k < notes->n; k++) {
        const char *p = notes->at[k];
        VEC wrong = ALL(0);
        for (unsigned i = 0; i < VECS; i++, p += WIDTH) {
            VEC before = LOAD(p - 1), upper = UPPER(LOAD(p));
            HOLD(before); /* else it is loaded once for each use */
            VEC pair = AND(LOOKUP(ROW(t->upper), UPPER(before)), LOOKUP(ROW(t->lower), AND(before, ALL(15))));
            VEC due = OR(LESS(LOAD(p - 2), ROW(t->third)), LESS(LOAD(p - 3), ROW(t->fourth)));
            wrong = OR(wrong, XOR(AND(pair, LOOKUP(ROW(t->next), upper)), AND(due, ROW(t->top))));
            two = ADD(two, LOOKUP(ROW(t->two), upper));
            three = ADD(three, LOOKUP(ROW(t->three), upper));
            four = ADD(four, LOOKUP(ROW(t->four), upper));
        }
        if (!IS_ZERO(wrong))
            return notes->at[k];
    }
    n_utf8[0] += NAME(sum)(two) - notes->beyond[0];
    n_utf8[1] += NAME(sum)(three) - notes->beyond[1];
    n_utf8[2] += NAME(sum)(four) - notes->beyond[2];
    return NULL;
}

/* end - p >= RUN_BLOCK; three bytes in front of p can be read. */
TARGET static const char *NAME(text)(const char *p, const char *end, uint64_t n_utf8[3]) {
    const struct tables *t = &tables;
    __asm__("" : "+r"(t)); /* else the compiler makes some of its rows anew, every time around */
    const char *last = end - RUN_BLOCK;
    struct notes notes;
    for (;;) {
        const char *far = last - p > REACH ? p + REACH : last;
        const char *to = NAME(escapes)(p, far, &notes, t);
        const char *fault = notes.n ? NAME(characters)(&notes, n_utf8, t) : NULL;
        if (fault) { /* once more, and only the blocks in front of it */
            last = fault - 1;
            continue;
        }
        p = to;
        if (p <= far || far == last) /* it was stopped, or there is no more */
            break;
    }
    for (int i = 1; i <= 3; i++) { /* a character that goes on behind p is the machine's, from its first byte on */
        unsigned char c = (unsigned char)p[-i];
        if (c < (i == 1 ? 0xc0 : i == 2 ? 0xe0 : 0xf0))
            continue;
        n_utf8[c >= 0xf0 ? 2 : c >= 0xe0 ? 1 : 0] -= 1;
        p -= i;
        break;
    }
    return p;
}

#undef BLOCK
#undef NAME
#undef TARGET
#undef VEC
#undef BITS
#undef WIDTH
#undef VECS
#undef LOAD
#undef ROW
#undef ALL
#undef OR
#undef AND
#undef XOR
#undef ADD
#undef LESS
#undef UPPER
#undef LOOKUP
#undef EQUAL
#undef BELOW
#undef AT_MOST
#undef ESCAPABLE
#undef HIGH
#undef IS_ZERO
#undef IS_ASCII
