/* http/ws.h - WebSocket (RFC 6455) as a protocol engine: bytes and time in, events and bytes out. No I/O, no clock.
 *
 * Life: the handshake checks below, on heads that somebody else sent and read; then ws_init -> ws_feed as bytes
 * arrive, ws_send, ws_ping, ws_close at will -> ws_deinit. Bytes for the peer are appended to the caller's buffer,
 * whole frames or nothing. Pings are answered and a close is echoed within ws_feed. Extensions, compression among
 * them, are never agreed to. wslay reads and writes the frames; what it leaves open (masks, fragments, limits, UTF-8,
 * close codes) is here. One thread at a time. */
#ifndef DROVER_HTTP_WS_H
#define DROVER_HTTP_WS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/sv.h"
#include "http/h1.h"

struct ws_limits {
    size_t frame, message;  /* payload bytes; past either: 1009 */
    unsigned fragments;     /* frames of one message; past it: 1008 */
    unsigned control_per_s; /* pings, pongs and closes; past it: 1008 */
    size_t text;            /* of a text message, where it is less than message; 0: the same. Past it: 1009 */
};
#define WS_LIMITS ((struct ws_limits){ 1 << 20, 4 << 20, 1024, 20, 0 })

enum ws_role { WS_SERVER, WS_CLIENT };

enum ws_event {
    WS_MORE,   /* all input used up */
    WS_TEXT,   /* w->data is a whole message, valid UTF-8 */
    WS_BINARY, /* w->data is a whole message */
    WS_PONG,   /* w->data came back */
    WS_CLOSED, /* the peer closed: w->code and w->data say why; write out the buffer, then close the stream */
    WS_FAILED, /* the peer broke a rule: w->err, w->code; our close frame is in the buffer: write it, then close */
};

enum ws_state {
    WS_OPEN,
    WS_CLOSING, /* our close is sent; what still comes is read over until the peer's */
    WS_ENDED,   /* WS_CLOSED or WS_FAILED was returned; ws_feed only repeats it */
};

enum {
    WS_CONTROL_MAX = 125, /* payload of a control frame; section 5.5 */
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_BAD_PROTOCOL = 1002,
    WS_NO_CODE = 1005,
    WS_BAD_TEXT = 1007,
    WS_POLICY = 1008,
    WS_TOO_BIG = 1009,
    WS_INTERNAL = 1011,
};

struct wslay_frame_context;

struct ws {
    enum ws_state state;
    struct sv data; /* good until the next call of ws_feed */
    unsigned code;  /* of the close, the peer's or ours; WS_NO_CODE when the peer gave none */
    struct err err;
    /* The rest belongs to ws.c. */
    enum ws_role role;
    struct ws_limits limits;
    enum ws_event end; /* what WS_ENDED repeats */
    struct wslay_frame_context *frames;
    struct sv *in;   /* while ws_feed runs */
    struct buf *out; /* while a frame is written */
    struct buf message;
    unsigned opcode; /* of the message being read; 0: none */
    unsigned n_fragments;
    uint64_t frame_left; /* payload bytes of the present frame that are still to come */
    bool in_frame, frame_fin, delivered;
    unsigned frame_opcode;
    char control[WS_CONTROL_MAX];
    size_t control_n;
    uint64_t window_ms; /* start of the second in which control frames are counted */
    unsigned n_control;
};

/* False when memory is out; w is then as after ws_deinit. */
bool ws_init(struct ws *w, enum ws_role role, const struct ws_limits *limits) MUST_CHECK;
void ws_deinit(struct ws *w);

/* Takes from the front of *in until an event or the end of *in; call until WS_MORE, WS_CLOSED or WS_FAILED. now_ms:
 * any clock that does not go back. out must have room for a control frame (WS_CONTROL_MAX + 8 bytes), else
 * WS_FAILED. */
enum ws_event ws_feed(struct ws *w, struct sv *in, uint64_t now_ms, struct buf *out);

/* Each appends one message, or nothing and returns false: not WS_OPEN, too large for limits.message or for out, a text
 * that is no UTF-8, or memory is out. Long messages go out in frames of at most limits.frame bytes. */
bool ws_send(struct ws *w, enum ws_event kind, struct sv data, struct buf *out);
/* One binary message of n pieces in one frame: 1 byte to limits.frame. */
bool ws_send_pieces(struct ws *w, const struct sv *pieces, unsigned n, struct buf *out);
bool ws_ping(struct ws *w, struct sv data, struct buf *out); /* at most WS_CONTROL_MAX bytes */
/* Starts the closing handshake; the reason is cut to fit. Further sends fail; go on feeding until WS_CLOSED. */
bool ws_close(struct ws *w, unsigned code, struct sv reason, struct buf *out);

/* ---- the handshake, section 4 ---- */

enum { WS_KEY = 25, WS_ACCEPT = 29 }; /* base64 of 16 and 20 bytes, with the NUL */

/* What proves that a server read the key. False when the key is no base64 of 16 bytes. */
bool ws_accept_key(struct sv key, char accept[static WS_ACCEPT]);

enum ws_handshake { WS_HANDSHAKE_OK, WS_HANDSHAKE_BAD, WS_HANDSHAKE_VERSION };
/* A server's look at a request. OK: accept holds the value for Sec-WebSocket-Accept. VERSION: the answer is 426 with
 * "Sec-WebSocket-Version: 13". BAD: *e. Host and Origin are the caller's business. */
enum ws_handshake ws_check_request(const struct http_head *head, char accept[static WS_ACCEPT], struct err *e);
/* Whether the request offers this subprotocol. */
bool ws_offers(const struct http_head *head, struct sv protocol);

/* A fresh random key for a client. */
void ws_new_key(char key[static WS_KEY]);
/* A client's look at the reply. protocol: the one that was offered, or empty; the server must have chosen just that. */
bool ws_check_reply(const struct http_head *head, const char *key, struct sv protocol, struct err *e) MUST_CHECK;

#endif
