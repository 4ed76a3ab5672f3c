/* access/snapshot.c - the keys as workers see them: a copy that never changes. */
#include "access/book.h"

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

static size_t text_bytes(struct sv v) {
    enum { ALIGN = _Alignof(max_align_t) };
    return (v.n + 1 + ALIGN - 1) / ALIGN * ALIGN;
}

size_t access__key_bytes(const struct access_key *k) {
    size_t bytes = text_bytes(k->id) + text_bytes(k->name) + text_bytes(k->owner) + (k->n_networks + 1) * sizeof *k->networks;
    for (size_t i = 0; i < k->n_models; i++)
        bytes += sizeof *k->models + text_bytes(k->models[i]);
    for (size_t i = 0; i < k->n_endpoints; i++)
        bytes += sizeof *k->endpoints + text_bytes(k->endpoints[i]);
    return bytes + 4 * _Alignof(max_align_t);
}

bool access__copy_key(struct arena *a, struct access_key *to, const struct access_key *from) {
    *to = *from;
    to->cell = access_cell_ref(from->cell);
    to->id = arena_sv(a, from->id);
    to->name = arena_sv(a, from->name);
    to->owner = arena_sv(a, from->owner);
    return to->id.p && to->name.p && to->owner.p && copy_list(a, &to->models, to->n_models) &&
           copy_list(a, &to->endpoints, to->n_endpoints) && copy_networks(a, to);
}

static bool copy_keys(struct arena *a, struct access_keys from, const struct access_key **ret, size_t *ret_n) {
    struct access_key *to = ARENA_ARRAY(a, struct access_key, from.n + 1);
    *ret = to;
    for (size_t i = 0; to && i < from.n; i++) {
        ++*ret_n; /* what was copied in part holds its cell, too */
        if (!access__copy_key(a, &to[i], &from.v[i]))
            return false;
    }
    return to != NULL;
}

struct access_snapshot *access_snapshot_new(struct access_keys keys, struct access_keys sessions, uint64_t version) {
    struct access_snapshot *s = mem_new(sizeof *s);
    if (!s)
        return NULL;
    arena_init(&s->arena, SNAPSHOT_MAX, NULL);
    map_init(&s->by_id);
    atomic_init(&s->refs, 1);
    s->version = version;
    bool ok = copy_keys(&s->arena, keys, &s->keys, &s->n_keys) && copy_keys(&s->arena, sessions, &s->sessions, &s->n_sessions);
    for (size_t i = 0; ok && i < s->n_keys; i++)
        ok = map_put(&s->by_id, s->keys[i].id, (void *)&s->keys[i]);
    return ok ? s : access_snapshot_unref(s);
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
    for (size_t i = 0; i < s->n_sessions; i++)
        access_cell_unref(s->sessions[i].cell);
    map_deinit(&s->by_id);
    arena_deinit(&s->arena);
    mem_free(s);
    return NULL;
}
