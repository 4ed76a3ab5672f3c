/* llm/scan_text.h - the loop over the text of strings, included by scan_run.c for each set of instructions.
 *
 * Nobody can predict where the next escape or umlaut stands, and a branch guessed wrong costs more than all the work on a
 * block of 64 bytes. So each block goes through the same steps, and the only branches are for what is rare or comes in long
 * stretches: the end of the text, \u, the first character beyond ASCII.
 *
 * A set is a uint64_t: bit i speaks of byte i of the block. Characters of several bytes are checked by looking at each byte
 * together with the three in front of it; of the block before, only one bit is carried on (open).
 *
 * The includer defines NAME and TARGET (name and attributes of the functions), struct NAME(block) of VECS vectors of WIDTH
 * bytes, NAME(set), and on vectors x and y of unsigned bytes: LOAD, ALL, OR, AND, XOR, EQUAL, BELOW (signed), AT_MOST, LESS
 * (x - y, but not below 0), UPPER (half of each byte), LOOKUP (by the lower half, if x is ASCII) and IS_ZERO. */

#define BLOCK struct NAME(block)
#define ROW(name) LOAD(t->name.of)

TARGET static inline uint64_t NAME(equals)(BLOCK b, VEC c) {
    for (unsigned i = 0; i < VECS; i++)
        b.v[i] = EQUAL(b.v[i], c);
    return NAME(set)(b);
}

TARGET static inline uint64_t NAME(below)(BLOCK b, VEC c) {
    for (unsigned i = 0; i < VECS; i++)
        b.v[i] = BELOW(b.v[i], c);
    return NAME(set)(b);
}

TARGET static inline uint64_t NAME(quotes_and_controls)(BLOCK b, const struct tables *t) {
    for (unsigned i = 0; i < VECS; i++)
        b.v[i] = OR(EQUAL(b.v[i], ROW(quote)), AT_MOST(b.v[i], ROW(control)));
    return NAME(set)(b);
}

/* What may stand behind a backslash, u apart. */
TARGET static inline uint64_t NAME(escapable)(BLOCK b, const struct tables *t) {
    for (unsigned i = 0; i < VECS; i++) {
        VEC x = b.v[i];
        b.v[i] = OR(OR(EQUAL(x, ROW(quote)), EQUAL(x, ROW(r))), EQUAL(x, LOOKUP(ROW(escape), x)));
    }
    return NAME(set)(b);
}

/* RFC 3629 section 4. */
TARGET static inline bool NAME(is_utf8)(BLOCK b, const char *p, const struct tables *t) {
    VEC wrong = ALL(0);
    for (unsigned i = 0; i < VECS; i++, p += WIDTH) {
        VEC x = b.v[i], before = LOAD(p - 1);
        VEC pair = AND(LOOKUP(ROW(upper), UPPER(before)), LOOKUP(ROW(lower), AND(before, ALL(15))));
        VEC due = OR(LESS(LOAD(p - 2), ROW(third)), LESS(LOAD(p - 3), ROW(fourth)));
        wrong = OR(wrong, XOR(AND(pair, LOOKUP(ROW(next), UPPER(x))), AND(due, ROW(top))));
    }
    return IS_ZERO(wrong);
}

/* other: what stands behind a backslash and is not escapable: the u of \u, or a fault. Returns the backslashes of faults,
 * and in *ret_cut those of escapes and pairs of escapes that end beyond the block. */
TARGET static uint64_t NAME(unicode)(const char *p, uint64_t other, uint64_t *ret_cut) {
    BLOCK b, letters;
    for (unsigned i = 0; i < VECS; i++) {
        b.v[i] = LOAD(p + i * WIDTH);
        letters.v[i] = OR(b.v[i], ALL(0x20));
    }
    uint64_t u = other & NAME(equals)(b, ALL('u')), late = u & FROM(60);
    uint64_t hex = (NAME(below)(b, ALL('9' + 1)) & ~NAME(below)(b, ALL('0'))) |
                   (NAME(below)(letters, ALL('f' + 1)) & ~NAME(below)(letters, ALL('a')));
    uint64_t whole = u & hex >> 1 & hex >> 2 & hex >> 3 & hex >> 4;
    /* d800 to dfff are halves of a character: one from d800, then one from dc00. */
    uint64_t half = whole & NAME(equals)(letters, ALL('d')) >> 1 & ~NAME(below)(b, ALL('8')) >> 2;
    uint64_t low = half & ~NAME(below)(letters, ALL('c')) >> 2, high = half & ~low, far = high & FROM(54);
    uint64_t lone = (high & ~far & ~(low >> 6)) | (low & ~(high << 6));
    *ret_cut = (late | far) >> 1;
    return ((other & ~whole & ~late) | lone) >> 1;
}

/* end - p >= RUN_BLOCK; three bytes in front of p can be read. */
TARGET static const char *NAME(text)(const char *p, const char *end, uint64_t n_utf8[3]) {
    const struct tables *t = &tables;
    __asm__("" : "+r"(t)); /* else the compiler makes some of its rows anew, every time around */
    const char *last = end - RUN_BLOCK;
    const uint64_t odd = 0xaaaaaaaaaaaaaaaa;
    uint64_t open = 0;              /* 1: the byte in front of p is a backslash that escapes what comes */
    uint64_t n2 = 0, n3 = 0, n4 = 0;
    unsigned wide = 0;              /* so many blocks are looked through for characters beyond ASCII */
    while (p <= last) {
        BLOCK b;
        for (unsigned i = 0; i < VECS; i++)
            b.v[i] = LOAD(p + i * WIDTH);
        uint64_t slash = NAME(equals)(b, ROW(slash)), fresh = slash & ~open;
        uint64_t rows = (((fresh << 1) | odd) - fresh) ^ odd; /* in a row of backslashes, each second one is escaped */
        uint64_t after = rows ^ (slash | open), other = after & ~NAME(escapable)(b, t);
        uint64_t stop = NAME(quotes_and_controls)(b, t) & ~after, cut = 0;
        if (other & open) { /* once more, with its backslash */
            p--;
            open = 0;
            continue;
        }
        if (other)
            stop |= NAME(unicode)(p, other, &cut);
        uint64_t high = NAME(set)(b);
        if (high)
            wide = STRETCH;
        uint64_t over = stop | cut, in = (over - 1) & ~over; /* in: below the lowest bit of over */
        if (wide) {
            wide--;
            if (!NAME(is_utf8)(b, p, t))
                break;
            uint64_t three = high & ~NAME(below)(b, ROW(e0)), four = 0; /* so many bytes or more */
            if (three) {
                four = high & ~NAME(below)(b, ROW(f0));
                n3 += (uint64_t)__builtin_popcountll(three & ~four & in);
                n4 += (uint64_t)__builtin_popcountll(four & in);
            }
            n2 += (uint64_t)__builtin_popcountll(high & ~NAME(below)(b, ROW(c0)) & ~three & in);
        }
        if (!over) {
            p += RUN_BLOCK;
            open = (rows & slash) >> 63;
            continue;
        }
        p += __builtin_ctzll(over);
        open = 0;
        if (stop & over & -over)
            break;
    }
    p -= open;
    for (int i = 1; i <= 3; i++) { /* a character that goes on behind p is the machine's, from its first byte on */
        unsigned char c = (unsigned char)p[-i];
        if (c < (i == 1 ? 0xc0 : i == 2 ? 0xe0 : 0xf0))
            continue;
        *(c >= 0xf0 ? &n4 : c >= 0xe0 ? &n3 : &n2) -= 1;
        p -= i;
        break;
    }
    n_utf8[0] += n2;
    n_utf8[1] += n3;
    n_utf8[2] += n4;
    return p;
}

#undef BLOCK
#undef ROW
#undef NAME
#undef TARGET
#undef VEC
#undef WIDTH
#undef VECS
#undef LOAD
#undef ALL
#undef OR
#undef AND
#undef XOR
#undef EQUAL
#undef BELOW
#undef AT_MOST
#undef LESS
#undef UPPER
#undef LOOKUP
#undef IS_ZERO
