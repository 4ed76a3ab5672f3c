/* http/h1.h - HTTP/1.x messages as a protocol engine: bytes in, heads and body pieces out. No I/O, no clock.
 *
 * llhttp reads heads and chunked framing, strictly; lengths are counted here, so that body bytes can be read straight into
 * the owner's memory. What two parsers could understand differently is refused (RFC 9112 section 11.2): see h1.c.
 * Life: h1_init -> per message { h1_begin -> h1_next... until H1_END } -> nothing to free (the head is in the arena). */
#ifndef DROVER_HTTP_H1_H
#define DROVER_HTTP_H1_H

#include <llhttp.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/sv.h"

struct http_header {
    struct sv name, value; /* the name in lower case */
};

/* One message head; all views live in the message's arena. */
struct http_head {
    struct sv method;      /* requests */
    struct sv target;      /* as it came */
    struct sv path, query; /* of the target; query without '?' */
    struct sv host;        /* requests: the Host field, or the authority of an absolute-form target */
    int status;            /* responses */
    unsigned minor;        /* HTTP/1.minor */
    struct http_header *headers;
    unsigned n_headers;
    int64_t length;        /* Content-Length; -1 when there is none */
    bool chunked;          /* Transfer-Encoding: chunked */
    bool until_eof;        /* responses: the body ends with the connection */
    bool keep_alive;       /* the connection may carry another message */
    bool expects_continue;
    bool upgrade;          /* Connection: upgrade with an Upgrade field */
};

struct h1_limits {
    uint32_t line;         /* bytes of the request target */
    uint32_t field;        /* bytes of one field, name and value */
    uint32_t total;        /* bytes of all fields, trailers too */
    uint32_t fields;       /* their number */
    uint32_t chunk_line;   /* bytes of one chunk's extensions */
};

enum h1_event {
    H1_MORE, /* all input used up */
    H1_HEAD, /* h->head is complete */
    H1_BODY, /* *ret_body has a piece of the body */
    H1_END,  /* the message is over; h1_begin before the next */
    H1_BAD,  /* h->err says why; the connection must not be used again */
};

enum { H1_SPANS = 16 };

struct h1 {
    llhttp_t ll;
    const struct h1_limits *limits;
    struct arena *arena;
    struct http_head head;
    struct err err;
    int bad_status;        /* for a request that is H1_BAD: the HTTP status that fits, e.g. 431 */
    enum h1_phase { H1_IN_HEAD, H1_IN_LENGTH, H1_IN_CHUNKS, H1_IN_EOF, H1_ENDED, H1_BROKEN } phase;
    bool is_response, no_body, started;
    /* private */
    char *text;            /* head bytes in the arena; cut into views when the head is complete */
    uint32_t text_n, text_cap, url_n, total_n, chunk_line_n;
    struct h1_cut {
        uint32_t name, name_n, value, value_n;
    } *cuts;
    uint32_t n_cuts, cap_cuts;
    bool in_value, head_done, message_done, has_version;
    uint64_t left;         /* of a length body */
    const char *feed;      /* what llhttp reads now, and the bytes it read before: where the words of the request line stand */
    uint64_t fed, word_end;
    struct sv spans[H1_SPANS];
    unsigned n_spans, at_span;
};

void h1_init(struct h1 *h, bool is_response, const struct h1_limits *limits);
/* Starts a message whose head goes to arena. no_body: a response to HEAD. */
void h1_begin(struct h1 *h, struct arena *arena, bool no_body);
/* Takes from the front of *in; call until H1_MORE, H1_END or H1_BAD. */
enum h1_event h1_next(struct h1 *h, struct sv *in, struct sv *ret_body);
/* The connection ended: H1_END when that completes the message, H1_MORE when none had begun, else H1_BAD. */
enum h1_event h1_eof(struct h1 *h);
/* Where body bytes of a length body still to come may be counted from outside: bytes left, 0 in other phases. */
static inline uint64_t h1_left(const struct h1 *h) {
    return h->phase == H1_IN_LENGTH ? h->left : 0;
}

/* Body pieces already cut out of the input stand ready: they must be taken before that input goes away. */
static inline bool h1_has_pieces(const struct h1 *h) {
    return h->at_span < h->n_spans;
}

/* What was understood of the path of a request whose head is not complete or was refused; for its answer only. */
struct sv h1_path_so_far(const struct h1 *h);
/* The first field with this (lower case) name, or the NULL view. */
struct sv http_get(const struct http_head *head, struct sv name);
/* Whether the comma-separated list in value has this token, ASCII case ignored. */
bool http_has_token(struct sv value, struct sv token);
/* "OK", "Not Found", ...: never NULL. */
const char *http_reason(int status);

#endif
