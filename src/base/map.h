/* base/map.h - a hash table from views to pointers, keyed so that outsiders cannot aim at one bucket.
 *
 * Life: map_init -> map_put, map_get, map_del -> map_deinit. Keys are borrowed: they usually stand inside the value and
 * must outlive the entry. Values are borrowed too. Open addressing, SipHash with a key per process. After its last
 * map_put a map may be read by many threads. */
#ifndef DROVER_BASE_MAP_H
#define DROVER_BASE_MAP_H

#include "base/mem.h"
#include "base/sv.h"

struct map_entry {
    struct sv key;
    void *value; /* NULL = free place */
    uint64_t hash;
};

struct map {
    struct map_entry *entries;
    size_t n, cap; /* cap is a power of two or 0 */
};

void map_init(struct map *m);
void map_deinit(struct map *m);
void *map_get(const struct map *m, struct sv key);
/* value must not be NULL; an entry with the same key is replaced (key too). False: out of memory, nothing changed. */
bool map_put(struct map *m, struct sv key, void *value) MUST_CHECK;
/* Returns the value that was there, or NULL. */
void *map_del(struct map *m, struct sv key);
/* Next live entry from *at on (start with 0), or NULL. The map must not change meanwhile. */
struct map_entry *map_next(const struct map *m, size_t *at);

/* The keyed hash the tables use; the same within one process only. */
uint64_t hash_sv(struct sv v);

#endif
