/* link/frame.h - private to link: one binary message of the link, as bytes and as a struct. No I/O, no state.
 *
 * Layout (docs/protocol.md, "Stream frames"): type u8, flags u8, reserved u16 = 0, stream id u32, payload; big-endian. The length is that of
 * the WebSocket message. */
#ifndef DROVER_LINK_FRAME_H
#define DROVER_LINK_FRAME_H

#include "base/sv.h"

enum frame_type { FRAME_OPEN = 1, FRAME_DATA, FRAME_CREDIT, FRAME_RESET, FRAME_GOAWAY };

enum {
    FRAME_HEAD = 8,
    FRAME_OPEN_HEAD = 8,  /* of an OPEN's payload, before the meta */
    FRAME_META_MAX = 4096,
    FRAME_REASON_MAX = 200,
    FRAME_FIXED_MAX = FRAME_HEAD + 12 + FRAME_REASON_MAX, /* bytes of any frame but OPEN and DATA */
    FRAME_ID_MAX = 0x7fffffff,
};

struct frame {
    enum frame_type type;
    bool fin;             /* this side sends no more; OPEN and DATA */
    uint32_t id;          /* 0: the whole link; CREDIT and GOAWAY */
    uint8_t service, priority;  /* OPEN */
    uint32_t deadline_ms; /* OPEN; 0: none */
    struct sv meta;       /* OPEN: JSON or empty */
    struct sv data;       /* DATA, and the early data of OPEN */
    uint32_t credit;      /* CREDIT */
    uint32_t code;        /* RESET, GOAWAY */
    uint32_t last_id, retry_ms; /* GOAWAY */
    struct sv reason;     /* RESET, GOAWAY */
};

enum frame_result {
    FRAME_OK,
    FRAME_BAD,      /* not a frame of this protocol: the link ends (4002) */
    FRAME_BAD_OPEN, /* an OPEN whose inside is wrong: that stream alone is refused; type and id are set */
};

/* Views of *ret are borrowed from message. Looks at the shape alone: ids, states and windows are the multiplexer's business. */
enum frame_result frame_parse(struct sv message, struct frame *ret);

/* The bytes before data (OPEN: before meta and data), at most FRAME_FIXED_MAX; returns how many. Whoever sends it puts meta and data behind. */
size_t frame_head(const struct frame *f, uint8_t to[static FRAME_FIXED_MAX]);

#endif
