/* hub/member_models.h - private to hub: which models and endpoints the hub has been told of, and what has changed since.
 *
 * One entry per listed name, with the facts of its best target: where names are opaque, the hub learns no others. The demonstration
 * endpoint is nobody's business. What was told is remembered as a hash per entry, so that a change costs one message with what is
 * different. Pure. */
#ifndef DROVER_HUB_MEMBER_MODELS_H
#define DROVER_HUB_MEMBER_MODELS_H

#include "base/buf.h"
#include "fleet/fleet.h"

enum {
    MEMBER_MODELS = 4096, /* link protocol, section 7 */
    MEMBER_ENDPOINTS = 64,
    MEMBER_ROOM = 200 << 10, /* bytes of entries in one message: well below 256 KiB */
};

struct member_models {
    struct map told[2];  /* of struct told: models, endpoints */
    unsigned n_left_out; /* models beyond MEMBER_MODELS, or with names too long for the link */
};

void member_models_init(struct member_models *m);
void member_models_deinit(struct member_models *m);
/* Nothing was told yet. */
void member_models_forget(struct member_models *m);

/* Both append members of a payload, each with a comma in front, and count what they print as told. *ret_more: something did not fit into
 * `room` bytes; call member_models_changes for it. False: out of memory. */
/* For register_agent: "models" and "endpoints", from nothing. s may be NULL. */
bool member_models_all(struct member_models *m, const struct snapshot *s, size_t room, struct buf *out, bool *ret_more);
/* For capabilities: the upserts and removes. Nothing is appended when nothing has changed. */
bool member_models_changes(struct member_models *m, const struct snapshot *s, size_t room, struct buf *out,
                           bool *ret_more);

/* Endpoints that count here: all but the demonstration's; of them those that can serve. */
void member_endpoints(const struct snapshot *s, unsigned *ret_all, unsigned *ret_healthy);

#endif
