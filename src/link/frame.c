#include "link/frame.h"

#include <assert.h>

enum { FLAG_FIN = 1 };

static uint32_t get32(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static uint8_t *put32(uint8_t *to, uint32_t v) {
    to[0] = (uint8_t)(v >> 24);
    to[1] = (uint8_t)(v >> 16);
    to[2] = (uint8_t)(v >> 8);
    to[3] = (uint8_t)v;
    return to + 4;
}

static enum frame_result parse_open(struct sv in, struct frame *f) {
    if (in.n < FRAME_OPEN_HEAD)
        return FRAME_BAD_OPEN;
    size_t meta_n = (size_t)(unsigned char)in.p[2] << 8 | (unsigned char)in.p[3];
    f->service = (uint8_t)in.p[0];
    f->priority = (uint8_t)in.p[1];
    f->deadline_ms = get32(in.p + 4);
    in = sv_from(in, FRAME_OPEN_HEAD);
    if (meta_n > in.n || meta_n > FRAME_META_MAX)
        return FRAME_BAD_OPEN;
    f->meta = sv_first(in, meta_n);
    f->data = sv_from(in, meta_n);
    return FRAME_OK;
}

enum frame_result frame_parse(struct sv message, struct frame *ret) {
    *ret = (struct frame){ 0 };
    if (message.n < FRAME_HEAD || message.p[2] || message.p[3])
        return FRAME_BAD;
    unsigned type = (unsigned char)message.p[0], flags = (unsigned char)message.p[1];
    bool may_fin = type == FRAME_OPEN || type == FRAME_DATA;
    struct sv in = sv_from(message, FRAME_HEAD);
    ret->type = (enum frame_type)type;
    ret->id = get32(message.p + 4);
    ret->fin = flags & FLAG_FIN;
    if (flags & ~(may_fin ? (unsigned)FLAG_FIN : 0u) || ret->id > FRAME_ID_MAX)
        return FRAME_BAD;
    switch (type) {
    case FRAME_OPEN:
        return ret->id ? parse_open(in, ret) : FRAME_BAD;
    case FRAME_DATA:
        ret->data = in;
        return ret->id ? FRAME_OK : FRAME_BAD;
    case FRAME_CREDIT:
        if (in.n != 4)
            return FRAME_BAD;
        ret->credit = get32(in.p);
        return FRAME_OK;
    case FRAME_RESET:
        if (!ret->id || in.n < 4 || in.n > 4 + FRAME_REASON_MAX)
            return FRAME_BAD;
        ret->code = get32(in.p);
        ret->reason = sv_from(in, 4);
        return FRAME_OK;
    case FRAME_GOAWAY:
        if (ret->id || in.n < 12 || in.n > 12 + FRAME_REASON_MAX)
            return FRAME_BAD;
        ret->last_id = get32(in.p);
        ret->code = get32(in.p + 4);
        ret->retry_ms = get32(in.p + 8);
        ret->reason = sv_from(in, 12);
        return FRAME_OK;
    }
    return FRAME_BAD;
}

static uint8_t *put_reason(uint8_t *to, struct sv reason) {
    reason = sv_first(reason, FRAME_REASON_MAX);
    if (reason.n)
        memcpy(to, reason.p, reason.n);
    return to + reason.n;
}

size_t frame_head(const struct frame *f, uint8_t to[static FRAME_FIXED_MAX]) {
    uint8_t *at = to;
    assert(f->id <= FRAME_ID_MAX && f->meta.n <= FRAME_META_MAX);
    *at++ = (uint8_t)f->type;
    *at++ = f->fin ? FLAG_FIN : 0;
    *at++ = 0;
    *at++ = 0;
    at = put32(at, f->id);
    switch (f->type) {
    case FRAME_OPEN:
        *at++ = f->service;
        *at++ = f->priority;
        *at++ = (uint8_t)(f->meta.n >> 8);
        *at++ = (uint8_t)f->meta.n;
        at = put32(at, f->deadline_ms);
        break;
    case FRAME_DATA:
        break;
    case FRAME_CREDIT:
        at = put32(at, f->credit);
        break;
    case FRAME_RESET:
        at = put_reason(put32(at, f->code), f->reason);
        break;
    case FRAME_GOAWAY:
        at = put_reason(put32(put32(put32(at, f->last_id), f->code), f->retry_ms), f->reason);
        break;
    }
    return (size_t)(at - to);
}
