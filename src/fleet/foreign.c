#include "fleet/foreign.h"

struct foreign_place {
    uint64_t until_ms;
    size_t key_n;
    char key[FOREIGN_KEY_MAX];
};

void foreign_init(struct foreign *f) {
    map_init(&f->by_key);
}

void foreign_deinit(struct foreign *f) {
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&f->by_key, &at));)
        mem_free(e->value);
    map_deinit(&f->by_key);
}

void foreign_forget(struct foreign *f) {
    foreign_deinit(f);
    foreign_init(f);
}

bool foreign_has(struct foreign *f, struct sv key, uint64_t now_ms) {
    struct foreign_place *p = map_get(&f->by_key, key);
    if (!p || p->until_ms > now_ms)
        return p != NULL;
    map_del(&f->by_key, key);
    mem_free(p);
    return false;
}

void foreign_add(struct foreign *f, struct sv key, uint64_t now_ms) {
    struct foreign_place *p = f->by_key.n < FOREIGN_MAX && key.n <= sizeof p->key ? mem_new(sizeof *p) : NULL;
    if (!p)
        return;
    *p = (struct foreign_place){ .until_ms = now_ms + FOREIGN_MS, .key_n = key.n };
    memcpy(p->key, key.p, key.n);
    struct sv kept = { p->key, p->key_n };
    if (map_get(&f->by_key, kept) || !map_put(&f->by_key, kept, p))
        mem_free(p);
}
