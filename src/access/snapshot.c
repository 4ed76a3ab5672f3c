/* access/snapshot.c - the keys as workers see them: a copy that never changes. */
#include "access/access.h"

enum { SNAPSHOT_MAX = 256 << 20 };

static bool copy_list(struct arena *a, const struct sv **list, size_t n) {
    struct sv *to = ARENA_ARRAY(a, struct sv, n);
    for (size_t i = 0; to && i < n; i++) {
        to[i] = arena_sv(a, (*list)[i]);
        if (!to[i].p)
            return false;
    }
    *list = to;
    return to != NULL;
}

static bool copy_networks(struct arena *a, struct access_key *k) {
    struct access_network *to = ARENA_ARRAY(a, struct access_network, k->n_networks);
    if (to && k->n_networks)
        memcpy(to, k->networks, k->n_networks * sizeof *to);
    k->networks = to;
    return to != NULL;
}

static bool copy_key(struct access_snapshot *s, struct access_key *to, const struct access_key *from) {
    struct arena *a = &s->arena;
    *to = *from;
    to->cell = access_cell_ref(from->cell);
    to->id = arena_sv(a, from->id);
    to->name = arena_sv(a, from->name);
    to->owner = arena_sv(a, from->owner);
    return to->id.p && to->name.p && to->owner.p && copy_list(a, &to->models, to->n_models) &&
           copy_list(a, &to->endpoints, to->n_endpoints) && copy_networks(a, to) && map_put(&s->by_id, to->id, to);
}

struct access_snapshot *access_snapshot_new(const struct access_key *keys, size_t n, uint64_t version) {
    struct access_snapshot *s = mem_new(sizeof *s);
    if (!s)
        return NULL;
    arena_init(&s->arena, SNAPSHOT_MAX, NULL);
    map_init(&s->by_id);
    atomic_init(&s->refs, 1);
    s->version = version;
    struct access_key *copies = ARENA_ARRAY(&s->arena, struct access_key, n + 1);
    s->keys = copies;
    for (size_t i = 0; copies && i < n; i++) {
        s->n_keys++;
        if (!copy_key(s, &copies[i], &keys[i]))
            return access_snapshot_unref(s);
    }
    return copies ? s : access_snapshot_unref(s);
}

struct access_snapshot *access_snapshot_ref(struct access_snapshot *s) {
    if (s)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct access_snapshot *access_snapshot_unref(struct access_snapshot *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    for (size_t i = 0; i < s->n_keys; i++)
        access_cell_unref(s->keys[i].cell);
    map_deinit(&s->by_id);
    arena_deinit(&s->arena);
    mem_free(s);
    return NULL;
}
