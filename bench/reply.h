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
    REPLY_LINE_MAX = 1024, /* bytes of one event; the mock's are about 200 */
    REPLY_BODY_MAX = 1024, /* bytes of a whole body; the mock's is about 300 */
};

enum reply_result { REPLY_MORE, REPLY_DONE, REPLY_BAD };

struct reply {
    bool stream; /* expected: an event stream, else one JSON document */
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
    char line[REPLY_LINE_MAX]; /* chunk size line */
};

void reply_start(struct reply *r, bool stream, unsigned want_deltas);
/* Borrows data. Bytes after the end of the reply are a fault: nobody asked for them. */
enum reply_result reply_feed(struct reply *r, const char *data, size_t n);

#endif
