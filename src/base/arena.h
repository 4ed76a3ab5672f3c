/* base/arena.h - memory that lives exactly as long as one task and goes in one stroke.
 *
 * Life: arena_init -> arena_alloc, arena_defer -> arena_deinit (runs the deferred calls newest first, then frees).
 * An arena has a ceiling (one below the usual first block makes that block so much smaller); past it, or out of memory, an allocation returns NULL and .overflow stays set; .full tells the two apart. Memory comes
 * zeroed. Not thread-safe: an arena belongs to its owner's loop. The first block can be recycled through an
 * arena_cache, which saves the allocator on the request path; under ASan nothing is recycled, so stale pointers show. */
#ifndef DROVER_BASE_ARENA_H
#define DROVER_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sv.h"

enum {
    ARENA_FIRST = 8192 - 64,  /* bytes of the first block: holds a usual request's head, exchange and reply head */
    ARENA_MORE_MAX = 65536,   /* each later block adds a quarter of what there is, up to this */
    ARENA_CACHE_MAX = 64,     /* first blocks a cache keeps */
};

struct arena_block;

struct arena_cache {
    struct arena_block *free;
    unsigned n;
};

struct arena_deferred {
    struct arena_deferred *next;
    void (*run)(void *arg);
    void *arg;
};

struct arena {
    struct arena_block *blocks; /* newest first */
    char *at, *end;             /* free part of the newest block */
    size_t used, max;           /* bytes of all blocks; their ceiling */
    struct arena_deferred *deferred;
    struct arena_cache *cache;  /* borrowed, may be NULL */
    bool overflow;              /* an allocation failed, */
    bool full;                  /* because of the ceiling */
};

void arena_init(struct arena *a, size_t max, struct arena_cache *cache);
void arena_deinit(struct arena *a);
void arena_cache_deinit(struct arena_cache *c);

/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *a, size_t bytes);
/* Checks n * size. */
void *arena_alloc_n(struct arena *a, size_t n, size_t size);
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc_n((a), (n), sizeof(type)))

/* A copy with a NUL behind it; the NUL view when memory is out (check .p when v was not empty). */
struct sv arena_sv(struct arena *a, struct sv v);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* run(arg) when the arena goes. False when memory is out: then run was not and will not be called. */
bool arena_defer(struct arena *a, void (*run)(void *arg), void *arg);

#endif
