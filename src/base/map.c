#include "base/map.h"

#include <pthread.h>
#include <sodium.h>

static unsigned char hash_key[crypto_shorthash_KEYBYTES];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void hash_seed(void) {
    if (sodium_init() >= 0)
        randombytes_buf(hash_key, sizeof hash_key);
}

uint64_t hash_sv(struct sv v) {
    unsigned char out[crypto_shorthash_BYTES];
    uint64_t h;
    pthread_once(&hash_once, hash_seed);
    crypto_shorthash(out, (const unsigned char *)(v.p ? v.p : ""), v.n, hash_key);
    memcpy(&h, out, sizeof h);
    return h;
}

void map_init(struct map *m) {
    *m = (struct map){ 0 };
}

void map_deinit(struct map *m) {
    mem_free(m->entries);
    map_init(m);
}

/* The entry with this key, or the free place where it would go. */
static struct map_entry *place(const struct map *m, struct sv key, uint64_t hash) {
    size_t mask = m->cap - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct map_entry *e = &m->entries[i];
        if (!e->value || (e->hash == hash && sv_eq(e->key, key)))
            return e;
    }
}

void *map_get(const struct map *m, struct sv key) {
    return m->cap ? place(m, key, hash_sv(key))->value : NULL;
}

static bool grow(struct map *m) {
    struct map bigger = { .cap = m->cap ? m->cap * 2 : 16, .n = m->n };
    bigger.entries = mem_new(bigger.cap * sizeof *bigger.entries);
    if (!bigger.entries)
        return false;
    for (size_t i = 0; i < m->cap; i++)
        if (m->entries[i].value)
            *place(&bigger, m->entries[i].key, m->entries[i].hash) = m->entries[i];
    mem_free(m->entries);
    *m = bigger;
    return true;
}

bool map_put(struct map *m, struct sv key, void *value) {
    if ((m->n + 1) * 4 > m->cap * 3 && !grow(m))
        return false;
    uint64_t hash = hash_sv(key);
    struct map_entry *e = place(m, key, hash);
    if (!e->value)
        m->n++;
    *e = (struct map_entry){ key, value, hash };
    return true;
}

void *map_del(struct map *m, struct sv key) {
    if (!m->cap)
        return NULL;
    struct map_entry *e = place(m, key, hash_sv(key));
    void *was = e->value;
    if (!was)
        return NULL;
    m->n--;
    size_t mask = m->cap - 1, hole = (size_t)(e - m->entries);
    for (size_t i = (hole + 1) & mask; m->entries[i].value; i = (i + 1) & mask) { /* close the gap, no tombstones */
        size_t home = m->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->entries[hole] = m->entries[i];
            hole = i;
        }
    }
    m->entries[hole] = (struct map_entry){ 0 };
    return was;
}

struct map_entry *map_next(const struct map *m, size_t *at) {
    while (*at < m->cap) {
        struct map_entry *e = &m->entries[(*at)++];
        if (e->value)
            return e;
    }
    return NULL;
}
