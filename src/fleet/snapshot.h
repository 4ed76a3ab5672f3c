/* fleet/snapshot.h - private to fleet: builds snapshots from what the control loop knows. */
#ifndef DROVER_FLEET_SNAPSHOT_H
#define DROVER_FLEET_SNAPSHOT_H

#include "fleet/fleet.h"

enum {
    SLUG_MAX = 255,         /* bytes of a slug */
    OPAQUE_CHARS = 11,      /* base 62: 65 bits */
    OPAQUE_KEY_BYTES = 32,
    SNAPSHOT_BYTES_MAX = 64 << 20,
};

/* Keeps the cell of one (endpoint, model) pair over snapshots. Returns borrowed; NULL when memory is out. */
struct cell_book {
    struct cell *(*target_cell)(void *arg, const struct fleet_endpoint *p, struct sv model_id);
    void *arg;
};

struct snapshot_source {
    const struct fleet_endpoint *endpoints; /* copied, views and models too; dialers and cells are shared */
    size_t n_endpoints;
    const struct config_model *models;
    size_t n_models;
    const unsigned char *opaque_key;        /* OPAQUE_KEY_BYTES, or NULL: slugs are names */
    struct cell_book cells;
    uint64_t version;
};

/* Returns owned (snapshot_unref), or NULL with *e set. */
struct snapshot *snapshot_build(const struct snapshot_source *src, struct err *e) MUST_CHECK;

/* The public name of a runtime's own id: the id itself where it is a clean name, else made from its last part. */
struct sv slug_from_id(struct arena *a, struct sv id);
bool slug_is_clean(struct sv name);
/* The opaque name: a keyed hash over endpoint and model. */
void slug_opaque(const unsigned char key[OPAQUE_KEY_BYTES], struct sv endpoint, struct sv id, char ret[OPAQUE_CHARS + 1]);

#endif
