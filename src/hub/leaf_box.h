/* hub/leaf_box.h - private to hub: what a node holds of one leaf on its way to the hub, also while the leaf or the hub is away. No I/O, no
 * clock.
 *
 * Three kinds of holding, by the class of a message (docs/protocol.md, "Leaf relay"): A waits in line until the hub has it, on the disk too
 * (relay_rows.c); of B, and of the registration, the newest counts, in a slot; C is not held. */
#ifndef DROVER_HUB_LEAF_BOX_H
#define DROVER_HUB_LEAF_BOX_H

#include "base/list.h"
#include "link/link.h"

enum {
    BOX_LETTERS = 1000,
    BOX_BYTES = 4 << 20,
    BOX_KEEP_MS = 24 * 3600 * 1000,
    BOX_SEEN = 4096,          /* of the newest ids of class A, as long as BOX_KEEP_MS */
    BOX_BEAT_LEAST_MS = 1000, /* between two messages of one slot */
    BOX_METRICS_LEAST_MS = 5000,
    BOX_AGAIN_MS = 30000, /* until a letter without an answer is sent again on the same link */
    BOX_VIA = (LINK_IDENT_MAX + 3) * LINK_VIA_MAX + 8,
};

/* A message, checked and printed anew. */
struct note {
    enum link_kind kind;
    char msg_id[ENVELOPE_ID], re[ENVELOPE_ID], ts[36];
    char via[BOX_VIA]; /* a JSON array: where it came through, this node the last */
    char *payload;     /* JSON */
    size_t n;
};
/* False: memory is out, or it is larger than a message may be. */
bool note_init(struct note *t, const struct envelope *m, const char *node_id) MUST_CHECK;
void note_deinit(struct note *t);

struct letter {
    struct list all;
    struct note note;
    int64_t no;     /* of its row */
    uint64_t at_ms; /* wall clock */
    bool is_stored;
    uint64_t sent_ms, not_before_ms; /* loop time; sent 0: not on this link */
};

enum box_slot { SLOT_REGISTER, SLOT_HEARTBEAT, SLOT_METRICS, SLOT_OFFER, SLOT_PROFILES, SLOT_CAPACITY, BOX_SLOTS };

struct box {
    struct list all;
    char agent[LINK_IDENT_MAX + 1];
    struct list letters; /* the oldest first */
    size_t n, bytes;
    struct slot {
        struct note note;
        bool is_full; /* something waits, or was sent on this link (the registration) */
        bool is_sent;
        uint64_t due_ms; /* loop time: not before */
    } slots[BOX_SLOTS];
    struct seen {
        uint64_t hash, at_ms; /* wall clock; 0: free */
    } * seen;                 /* BOX_SEEN of them, in a ring */
    unsigned seen_at;
};

struct box *box_new(struct sv agent) MUST_CHECK;
void box_free(struct box *b);
bool box_is_full(const struct box *b);

/* Which slot a kind has; BOX_SLOTS: none. */
enum box_slot box_slot_of(enum link_kind k);
/* Takes t. */
void box_set(struct box *b, enum box_slot s, struct note *t);
/* Another link: what a link is told is told anew, and what is of class C is gone. */
void box_new_link(struct box *b);

/* Takes t: into the line, as the newest. NULL: memory is out. */
struct letter *box_add(struct box *b, struct note *t, int64_t no, uint64_t at_ms) MUST_CHECK;
struct letter *box_find(const struct box *b, struct sv msg_id);
struct letter *box_numbered(const struct box *b, int64_t no);
void box_drop(struct box *b, struct letter *l);
void box_see(struct box *b, struct sv msg_id, uint64_t wall_ms);
bool box_has_seen(const struct box *b, struct sv msg_id, uint64_t wall_ms);
void box_unsee(struct box *b, struct sv msg_id);

/* What goes next: the registration, then letters one after another, then slots that are due. NULL: nothing now. */
struct note *box_next(struct box *b, uint64_t now_ms);
/* It went: what box_next gave last. */
void box_sent(struct box *b, const struct note *t, uint64_t now_ms);

#endif
