/* bench/reply.h - reads one HTTP/1.1 reply of the mock runtime (mock.c) as it came through a proxy, in pieces of any size,
 * and judges it: a reply that is cut, changed or out of order must never be counted as a fast one.
 *
 * Life: reply_start -> reply_feed until it is not REPLY_MORE. Nothing is allocated. */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REPLY_HEAD_MAX = 8192, /* bytes of head we keep; a proxy adds a few fields to the mock's four */
    REPLY_LINE_MAX = 8192, /* bytes of one event: the last one of a Responses stream repeats everything */
    REPLY_BODY_MAX = 4096, /* bytes of a whole body */
};

/* The API of the answer. Chat is checked to the byte, the others, which a proxy made itself, by their deltas and their end. */
enum reply_api { REPLY_CHAT, REPLY_MESSAGES, REPLY_OLLAMA, REPLY_RESPONSES };

enum reply_result { REPLY_MORE, REPLY_DONE, REPLY_BAD };

struct reply {
    bool stream; /* expected: an event stream, else one JSON document */
    enum reply_api api;
    bool lenient; /* chat that a proxy made: a first chunk with the role alone is fine */
    unsigned want_deltas;
    int status;
    unsigned deltas, events; /* so far; events counts the closing ones too */
    bool close;              /* the proxy ends the connection after this reply */
    const char *fault;       /* set with REPLY_BAD */

    /* Private. */
    int state;
    bool chunked, finished, done;
    uint64_t left; /* bytes of the body or of the current chunk */
    size_t n;      /* bytes in buf: head, then chunk line, then the event that is not complete yet */
    size_t n_line;
    char buf[REPLY_HEAD_MAX];
    char line[256]; /* chunk size line */
};

void reply_start(struct reply *r, enum reply_api api, bool stream, unsigned want_deltas);
/* Borrows data. Bytes after the end of the reply are a fault: nobody asked for them. */
enum reply_result reply_feed(struct reply *r, const char *data, size_t n);

#endif
