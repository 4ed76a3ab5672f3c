/* http/ws.c - the rules of RFC 6455 around wslay's frames.
 *
 * wslay's frame layer checks header lengths, control frames and reserved length bits, and takes masks off. Its event
 * layer was tried on paper and dropped: it counts neither fragments nor control frames, does not look at masks by
 * role, and holds a message before it knows its size. A frame's header is seen together with its first payload byte. */
#include "http/ws.h"

#include <assert.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <wslay/wslay.h>

#include "base/rand.h"
#include "base/utf8.h"

enum {
    CONTROL_WINDOW_MS = 1000,
    HEADER_MAX = 14, /* section 5.2 */
};

/* ---- wslay's callbacks: they only move bytes ---- */

static ssize_t on_want(uint8_t *to, size_t n, int flags, void *arg) {
    struct ws *w = arg;
    struct sv got = sv_first(*w->in, n);
    if (got.n == 0)
        return -1; /* wslay: nothing there at the moment */
    memcpy(to, got.p, got.n);
    *w->in = sv_from(*w->in, got.n);
    return (ssize_t)got.n;
}

static ssize_t on_give(const uint8_t *from, size_t n, int flags, void *arg) {
    struct ws *w = arg;
    return buf_add(w->out, (struct sv){ (const char *)from, n }) ? (ssize_t)n : -1;
}

static int on_mask(uint8_t *to, size_t n, void *arg) {
    rand_bytes(to, n); /* section 5.3: from a strong source, fresh for every frame */
    return 0;
}

static const struct wslay_frame_callbacks callbacks = { on_give, on_want, on_mask };

bool ws_init(struct ws *w, enum ws_role role, const struct ws_limits *limits) {
    *w = (struct ws){ .role = role, .limits = *limits };
    buf_init(&w->message, limits->message);
    if (wslay_frame_context_init(&w->frames, &callbacks, w) == 0)
        return true;
    w->frames = NULL;
    w->state = WS_ENDED;
    w->end = WS_FAILED;
    return false;
}

void ws_deinit(struct ws *w) {
    if (w->frames)
        wslay_frame_context_free(w->frames);
    w->frames = NULL;
    buf_deinit(&w->message);
}

/* ---- out ---- */

/* One frame or nothing: room for all of it is made first, so that no half frame can stand in out. */
static bool put_frame(struct ws *w, unsigned opcode, bool fin, struct sv data, struct buf *out) {
    struct wslay_frame_iocb f = { .fin = fin,
                                  .opcode = (uint8_t)opcode,
                                  .payload_length = data.n,
                                  .mask = w->role == WS_CLIENT,
                                  .data = (const uint8_t *)data.p,
                                  .data_length = data.n };
    if (data.n > SIZE_MAX - HEADER_MAX || !buf_reserve(out, data.n + HEADER_MAX))
        return false;
    w->out = out;
    ssize_t sent = wslay_frame_send(w->frames, &f);
    w->out = NULL;
    return sent == (ssize_t)data.n;
}

/* Codes that may stand in a frame: section 7.4 and the IANA registry. */
static bool is_code(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static bool put_close(struct ws *w, unsigned code, struct sv reason, struct buf *out) {
    char payload[WS_CONTROL_MAX];
    assert(code == WS_NO_CODE || is_code(code));
    reason = sv_first(reason, sizeof payload - 2);
    while (reason.n && !utf8_valid(reason))
        reason.n--; /* not in the middle of a character */
    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xff);
    if (reason.n)
        memcpy(payload + 2, reason.p, reason.n);
    return put_frame(w, WSLAY_CONNECTION_CLOSE, true, (struct sv){ payload, code == WS_NO_CODE ? 0 : reason.n + 2 },
                     out);
}

bool ws_send(struct ws *w, enum ws_event kind, struct sv data, struct buf *out) {
    size_t was = out->n, frame = w->limits.frame, n_frames = data.n / frame + 1;
    if (w->state != WS_OPEN || data.n > w->limits.message || (kind == WS_TEXT && !utf8_valid(data)) ||
        !buf_reserve(out, data.n + n_frames * HEADER_MAX))
        return false;
    unsigned opcode = kind == WS_TEXT ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME;
    bool ok, fin;
    do {
        fin = data.n <= frame;
        ok = put_frame(w, opcode, fin, sv_first(data, frame), out);
        data = sv_from(data, frame);
        opcode = WSLAY_CONTINUATION_FRAME;
    } while (ok && !fin);
    if (!ok)
        out->n = was;
    return ok;
}

bool ws_send_pieces(struct ws *w, const struct sv *pieces, unsigned n, struct buf *out) {
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += pieces[i].n;
    if (w->state != WS_OPEN || total == 0 || total > w->limits.frame || !buf_reserve(out, total + HEADER_MAX))
        return false;
    struct wslay_frame_iocb f = { .fin = 1, .opcode = WSLAY_BINARY_FRAME, .payload_length = total, .mask = w->role == WS_CLIENT };
    bool ok = true;
    w->out = out;
    for (unsigned i = 0; ok && i < n; i++) { /* wslay goes on where it stopped until the whole payload was there */
        f.data = (const uint8_t *)pieces[i].p;
        f.data_length = pieces[i].n;
        ok = f.data_length == 0 || wslay_frame_send(w->frames, &f) == (ssize_t)f.data_length;
    }
    w->out = NULL;
    return ok; /* room was made: it cannot end half-way */
}

bool ws_ping(struct ws *w, struct sv data, struct buf *out) {
    return w->state == WS_OPEN && data.n <= WS_CONTROL_MAX && put_frame(w, WSLAY_PING, true, data, out);
}

bool ws_close(struct ws *w, unsigned code, struct sv reason, struct buf *out) {
    if (w->state != WS_OPEN || !put_close(w, code, reason, out))
        return false;
    w->state = WS_CLOSING;
    return true;
}

/* ---- in ---- */

static enum ws_event end(struct ws *w, enum ws_event how) {
    w->state = WS_ENDED;
    w->end = how;
    return how;
}

static enum ws_event broken(struct ws *w, unsigned code, enum err_code fault, const char *why, struct buf *out) {
    err_set(&w->err, fault, "%s", why);
    w->code = code;
    w->data = SV_NULL;
    if (w->state == WS_OPEN)
        put_close(w, code, sv_of(why), out); /* when there is no room the peer sees the stream end */
    return end(w, WS_FAILED);
}

static enum ws_event closed(struct ws *w, struct buf *out) {
    struct sv payload = { w->control, w->control_n };
    unsigned code = WS_NO_CODE;
    if (payload.n == 1)
        return broken(w, WS_BAD_PROTOCOL, ERR_BAD_REQUEST, "a close frame of one byte", out);
    if (payload.n >= 2) {
        code = (unsigned)(unsigned char)payload.p[0] << 8 | (unsigned char)payload.p[1];
        payload = sv_from(payload, 2);
        if (!is_code(code))
            return broken(w, WS_BAD_PROTOCOL, ERR_BAD_REQUEST, "a close code that may not be sent", out);
        if (!utf8_valid(payload))
            return broken(w, WS_BAD_TEXT, ERR_BAD_REQUEST, "a close reason that is no UTF-8", out);
    }
    w->code = code;
    w->data = payload;
    if (w->state == WS_OPEN)
        put_close(w, code, SV_NULL, out);
    return end(w, WS_CLOSED);
}

/* A complete control frame; WS_MORE: nothing for the caller. */
static enum ws_event control(struct ws *w, struct buf *out) {
    w->data = (struct sv){ w->control, w->control_n };
    switch (w->frame_opcode) {
    case WSLAY_CONNECTION_CLOSE:
        return closed(w, out);
    case WSLAY_PING:
        if (w->state == WS_OPEN && !put_frame(w, WSLAY_PONG, true, w->data, out))
            return broken(w, WS_INTERNAL, ERR_NO_MEMORY, "no room to answer a ping", out);
        return WS_MORE;
    default:
        return w->state == WS_OPEN ? WS_PONG : WS_MORE;
    }
}

static enum ws_event message(struct ws *w, struct buf *out) {
    unsigned opcode = w->opcode;
    w->opcode = 0;
    if (w->state != WS_OPEN) {
        buf_reset(&w->message);
        return WS_MORE;
    }
    w->data = buf_sv(&w->message);
    w->delivered = true;
    if (opcode == WSLAY_BINARY_FRAME)
        return WS_BINARY;
    if (!utf8_valid(w->data))
        return broken(w, WS_BAD_TEXT, ERR_BAD_REQUEST, "a text message that is no UTF-8", out);
    return WS_TEXT;
}

/* The header of a frame. WS_MORE: it is in order. */
static enum ws_event begin_frame(struct ws *w, const struct wslay_frame_iocb *f, uint64_t now_ms, struct buf *out) {
    bool is_control = f->opcode & 8;
    if (f->rsv)
        return broken(w, WS_BAD_PROTOCOL, ERR_BAD_REQUEST, "a reserved bit is set, but no extension was agreed on",
                      out);
    if (f->mask != (w->role == WS_SERVER))
        return broken(w, WS_BAD_PROTOCOL, ERR_BAD_REQUEST,
                      w->role == WS_SERVER ? "a frame from a client must be masked"
                                           : "a frame from a server must not be masked",
                      out);
    if (f->opcode > WSLAY_PONG || (f->opcode > WSLAY_BINARY_FRAME && !is_control))
        return broken(w, WS_BAD_PROTOCOL, ERR_BAD_REQUEST, "an unknown opcode", out);
    w->frame_opcode = f->opcode;
    w->frame_fin = f->fin;
    w->frame_left = f->payload_length;
    if (is_control) {
        w->control_n = 0; /* wslay has refused fragments and more than WS_CONTROL_MAX bytes */
        if (now_ms - w->window_ms >= CONTROL_WINDOW_MS) {
            w->window_ms = now_ms;
            w->n_control = 0;
        }
        return ++w->n_control > w->limits.control_per_s
                   ? broken(w, WS_POLICY, ERR_LIMIT, "too many control frames in one second", out)
                   : WS_MORE;
    }
    if ((f->opcode == WSLAY_CONTINUATION_FRAME) != (w->opcode != 0))
        return broken(w, WS_BAD_PROTOCOL, ERR_BAD_REQUEST,
                      w->opcode ? "a new message within another" : "a continuation of no message", out);
    if (!w->opcode) {
        w->opcode = f->opcode;
        w->n_fragments = 0;
    }
    if (f->payload_length > w->limits.frame)
        return broken(w, WS_TOO_BIG, ERR_TOO_LARGE, "a frame larger than the limit", out);
    size_t most = w->opcode == WSLAY_TEXT_FRAME && w->limits.text ? w->limits.text : w->limits.message;
    if (f->payload_length > most - w->message.n)
        return broken(w, WS_TOO_BIG, ERR_TOO_LARGE, "a message larger than the limit", out);
    if (++w->n_fragments > w->limits.fragments)
        return broken(w, WS_POLICY, ERR_LIMIT, "a message in too many frames", out);
    return WS_MORE;
}

enum ws_event ws_feed(struct ws *w, struct sv *in, uint64_t now_ms, struct buf *out) {
    w->data = w->state == WS_ENDED ? w->data : SV_NULL;
    if (w->delivered) { /* the caller is done with the last message */
        buf_deinit(&w->message);
        w->delivered = false;
    }
    while (w->state != WS_ENDED) {
        struct wslay_frame_iocb f = { 0 };
        w->in = in;
        ssize_t n = wslay_frame_recv(w->frames, &f);
        w->in = NULL;
        if (n == WSLAY_ERR_WANT_READ)
            return WS_MORE;
        if (n < 0)
            return broken(w, WS_BAD_PROTOCOL, ERR_BAD_REQUEST, "a malformed frame header", out);
        enum ws_event ev = w->in_frame ? WS_MORE : begin_frame(w, &f, now_ms, out);
        if (ev != WS_MORE)
            return ev;
        struct sv piece = { (const char *)f.data, f.data_length };
        w->frame_left -= piece.n;
        w->in_frame = w->frame_left > 0;
        if (w->frame_opcode & 8) {
            if (piece.n)
                memcpy(w->control + w->control_n, piece.p, piece.n);
            w->control_n += piece.n;
        } else if (w->state == WS_OPEN && !buf_add(&w->message, piece)) {
            return broken(w, WS_INTERNAL, ERR_NO_MEMORY, "out of memory", out);
        }
        if (w->in_frame)
            continue;
        if (w->frame_opcode & 8)
            ev = control(w, out);
        else if (w->frame_fin)
            ev = message(w, out);
        if (ev != WS_MORE)
            return ev;
    }
    return w->end;
}

/* ---- the handshake ---- */

bool ws_accept_key(struct sv key, char accept[static WS_ACCEPT]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* section 1.3 */
    unsigned char raw[16], digest[EVP_MAX_MD_SIZE];
    char text[WS_KEY + sizeof guid];
    size_t raw_n = 0;
    unsigned digest_n = 0;
    if (key.n != WS_KEY - 1 ||
        sodium_base642bin(raw, sizeof raw, key.p, key.n, NULL, &raw_n, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        raw_n != sizeof raw)
        return false;
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, guid, sizeof guid - 1);
    if (EVP_Digest(text, key.n + sizeof guid - 1, digest, &digest_n, EVP_sha1(), NULL) != 1 || digest_n != 20)
        return false;
    sodium_bin2base64(accept, WS_ACCEPT, digest, digest_n, sodium_base64_VARIANT_ORIGINAL);
    return true;
}

/* The only field of this name. False when there is none or more than one. */
static bool single(const struct http_head *head, struct sv name, struct sv *ret_value) {
    unsigned n = 0;
    for (unsigned i = 0; i < head->n_headers; i++)
        if (sv_eq(head->headers[i].name, name)) {
            *ret_value = head->headers[i].value;
            n++;
        }
    return n == 1;
}

enum ws_handshake ws_check_request(const struct http_head *head, char accept[static WS_ACCEPT], struct err *e) {
    struct sv upgrade, version, key;
    if (!sv_eq(head->method, SV("GET")) || head->minor < 1 || head->chunked || head->length > 0)
        return err_set(e, ERR_BAD_REQUEST, "a WebSocket starts with an HTTP/1.1 GET without a body"), WS_HANDSHAKE_BAD;
    if (!head->upgrade || !single(head, SV("upgrade"), &upgrade) || !http_has_token(upgrade, SV("websocket")))
        return err_set(e, ERR_BAD_REQUEST,
                       "this address speaks WebSocket: send Connection: upgrade and Upgrade: websocket"),
               WS_HANDSHAKE_BAD;
    if (!single(head, SV("sec-websocket-version"), &version) || !sv_eq(version, SV("13")))
        return err_set(e, ERR_BAD_REQUEST, "WebSocket version 13 is spoken here"), WS_HANDSHAKE_VERSION;
    if (!single(head, SV("sec-websocket-key"), &key) || !ws_accept_key(key, accept))
        return err_set(e, ERR_BAD_REQUEST, "Sec-WebSocket-Key must be there once, the base64 of 16 bytes"),
               WS_HANDSHAKE_BAD;
    return WS_HANDSHAKE_OK;
}

bool ws_offers(const struct http_head *head, struct sv protocol) {
    for (unsigned i = 0; i < head->n_headers; i++) {
        struct sv rest = head->headers[i].value, one;
        if (!sv_eq(head->headers[i].name, SV("sec-websocket-protocol")))
            continue;
        while (sv_next(&rest, ',', &one))
            if (sv_eq(sv_trim(one), protocol)) /* case counts: section 11.3.4 */
                return true;
    }
    return false;
}

void ws_new_key(char key[static WS_KEY]) {
    unsigned char raw[16];
    rand_bytes(raw, sizeof raw);
    sodium_bin2base64(key, WS_KEY, raw, sizeof raw, sodium_base64_VARIANT_ORIGINAL);
}

bool ws_check_reply(const struct http_head *head, const char *key, struct sv protocol, struct err *e) {
    char accept[WS_ACCEPT];
    struct sv upgrade, given, chosen;
    if (head->status != 101)
        return err_set(e, ERR_BAD_REPLY, "the server answered %d instead of switching to WebSocket", head->status);
    if (!head->upgrade || !single(head, SV("upgrade"), &upgrade) || !sv_eq_nocase(upgrade, SV("websocket")))
        return err_set(e, ERR_BAD_REPLY, "the server switched to something that is no WebSocket");
    if (!ws_accept_key(sv_of(key), accept) || !single(head, SV("sec-websocket-accept"), &given) ||
        !sv_eq(given, sv_of(accept)))
        return err_set(e, ERR_BAD_REPLY, "the server's Sec-WebSocket-Accept does not belong to our key");
    if (http_get(head, SV("sec-websocket-extensions")).p)
        return err_set(e, ERR_BAD_REPLY, "the server uses an extension that was not offered");
    bool has_chosen = http_get(head, SV("sec-websocket-protocol")).p != NULL;
    if (has_chosen ? !single(head, SV("sec-websocket-protocol"), &chosen) || !sv_eq(chosen, protocol) || !protocol.n
                   : protocol.n > 0)
        return err_set(e, ERR_BAD_REPLY, "the server did not choose the subprotocol that was offered");
    return true;
}
