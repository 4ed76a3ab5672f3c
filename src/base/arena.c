#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define ARENA_RECYCLE 0
#else
#define ARENA_RECYCLE 1
#endif

enum { ALIGN = _Alignof(max_align_t) };

struct arena_block {
    struct arena_block *next;
    size_t bytes; /* of data */
    _Alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max, struct arena_cache *cache) {
    *a = (struct arena){ .max = max, .cache = cache };
}

static void block_drop(struct arena *a, struct arena_block *b) {
    if (ARENA_RECYCLE && a->cache && b->bytes == ARENA_FIRST && a->cache->n < ARENA_CACHE_MAX) {
        b->next = a->cache->free;
        a->cache->free = b;
        a->cache->n++;
        return;
    }
    mem_free(b);
}

void arena_deinit(struct arena *a) {
    for (struct arena_deferred *d; (d = a->deferred);) {
        a->deferred = d->next;
        d->run(d->arg);
    }
    for (struct arena_block *b; (b = a->blocks);) {
        a->blocks = b->next;
        block_drop(a, b);
    }
    *a = (struct arena){ .max = a->max, .cache = a->cache };
}

void arena_cache_deinit(struct arena_cache *c) {
    for (struct arena_block *b; (b = c->free);) {
        c->free = b->next;
        mem_free(b);
    }
    c->n = 0;
}

/* A task that outgrows its first block does so by a little, as a rule: a whole second one would be waste. */
static size_t block_usual(const struct arena *a) {
    size_t more = a->used / 4 & ~(size_t)(ALIGN - 1);
    if (!a->blocks)
        return ARENA_FIRST < a->max ? ARENA_FIRST : a->max;
    return more < ARENA_MORE_MAX ? more : ARENA_MORE_MAX;
}

static bool block_add(struct arena *a, size_t bytes) {
    struct arena_block *b = NULL;
    size_t usual = block_usual(a), size = bytes > usual ? bytes : usual;
    if (size > a->max || a->used > a->max - size) {
        a->overflow = a->full = true;
        return false;
    }
    if (size == ARENA_FIRST && a->cache && a->cache->free) {
        b = a->cache->free;
        a->cache->free = b->next;
        a->cache->n--;
    } else {
        b = mem_alloc(sizeof *b + size);
    }
    if (!b) {
        a->overflow = true;
        return false;
    }
    b->bytes = size;
    a->used += size;
    if (a->blocks && bytes > usual) { /* a big one gets a block of its own; the current block goes on being filled */
        b->next = a->blocks->next;
        a->blocks->next = b;
        return true;
    }
    b->next = a->blocks;
    a->blocks = b;
    a->at = b->data;
    a->end = b->data + size;
    return true;
}

void *arena_alloc(struct arena *a, size_t bytes) {
    if (bytes > SIZE_MAX - ALIGN)
        return NULL;
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (bytes > (size_t)(a->end - a->at)) {
        bool own = a->blocks && bytes > block_usual(a);
        if (!block_add(a, bytes))
            return NULL;
        if (own) {
            void *p = a->blocks->next->data;
            return memset(p, 0, bytes);
        }
    }
    void *p = a->at;
    a->at += bytes;
    return memset(p, 0, bytes);
}

void *arena_alloc_n(struct arena *a, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        a->overflow = true;
        return NULL;
    }
    return arena_alloc(a, bytes);
}

struct sv arena_sv(struct arena *a, struct sv v) {
    char *p = arena_alloc(a, v.n + 1);
    if (!p)
        return SV_NULL;
    if (v.n)
        memcpy(p, v.p, v.n);
    return (struct sv){ p, v.n };
}

char *arena_printf(struct arena *a, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

bool arena_defer(struct arena *a, void (*run)(void *arg), void *arg) {
    struct arena_deferred *d = ARENA_NEW(a, struct arena_deferred);
    if (!d)
        return false;
    *d = (struct arena_deferred){ a->deferred, run, arg };
    a->deferred = d;
    return true;
}
