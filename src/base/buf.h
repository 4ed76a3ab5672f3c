/* base/buf.h - a growing byte buffer that knows how big it may get.
 *
 * Life: buf_init (or BUF_MAX(n)) -> appends and consumes -> buf_deinit. Appending past the ceiling or out of memory
 * returns false, leaves the contents as they were and sets .failed, so a run of appends can be checked once at its end.
 * Bytes are [p, p+n). One thread at a time. */
#ifndef DROVER_BASE_BUF_H
#define DROVER_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/sv.h"

struct buf {
    char *p;         /* first live byte */
    size_t n;        /* live bytes */
    char *base;      /* start of the block; NULL while empty */
    size_t cap;      /* bytes of the block */
    size_t max;      /* ceiling of n */
    bool failed;     /* an append was refused since init or reset */
};

#define BUF_MAX(bytes) { .max = (bytes) }

static inline void buf_init(struct buf *b, size_t max) {
    *b = (struct buf)BUF_MAX(max);
}
void buf_deinit(struct buf *b);
/* Empties it and keeps the block; buf_trim gives the block back when it is empty. */
void buf_reset(struct buf *b);
void buf_trim(struct buf *b);

/* Room for at least n more bytes at the end; returns where they go (then buf_added), or NULL. */
char *buf_reserve(struct buf *b, size_t n);
static inline void buf_added(struct buf *b, size_t n) {
    b->n += n;
}
static inline size_t buf_room(const struct buf *b) {
    return b->base ? b->cap - (size_t)(b->p - b->base) - b->n : 0;
}

bool buf_add_slow(struct buf *b, struct sv v);
static inline bool buf_add(struct buf *b, struct sv v) {
    if (v.n <= buf_room(b) && b->n + v.n <= b->max) {
        if (v.n)
            memcpy(b->p + b->n, v.p, v.n);
        b->n += v.n;
        return true;
    }
    return buf_add_slow(b, v);
}
static inline bool buf_add_char(struct buf *b, char c) {
    return buf_add(b, (struct sv){ &c, 1 });
}
/* In decimal; far cheaper than buf_printf. */
bool buf_add_u64(struct buf *b, uint64_t v);
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* A JSON string with its quotes; control bytes escaped, bytes that are not UTF-8 replaced by U+FFFD. */
bool buf_add_json(struct buf *b, struct sv v);

/* Drops n bytes from the front, n <= b->n. */
void buf_consume(struct buf *b, size_t n);

static inline struct sv buf_sv(const struct buf *b) {
    return (struct sv){ b->p, b->n };
}

#endif
