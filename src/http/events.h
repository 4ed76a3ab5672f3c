/* http/events.h - framing of event streams: Server-Sent Events and NDJSON.
 *
 * Life: events_init -> events_feed as bytes arrive -> events_end -> events_deinit (safe at any time after init). Rules:
 * WHATWG HTML, "Server-sent events", read leniently: a complete last event without its blank line counts. The raw bytes
 * of all callbacks, put together, are the bytes fed, so a relay may pass on `raw` and leave out events as it likes. An
 * event that lies within one feed is not copied, unless it has several data lines. One thread at a time; no clock, no
 * I/O. */
#ifndef DROVER_HTTP_EVENTS_H
#define DROVER_HTTP_EVENTS_H

#include "base/buf.h"
#include "base/sv.h"

enum events_kind { EVENTS_SSE, EVENTS_NDJSON };

/* Views are good until the callback returns. An NDJSON line has only data. */
struct event {
    struct sv name;    /* of the event: line; empty without one */
    struct sv data;    /* data lines joined with LF; empty for a comment, a blank line, a piece of a large event */
    struct sv raw;     /* all its bytes with the terminator */
    bool comment;      /* nothing but comment lines */
    bool piece;        /* not a whole event: part of one that was too large to hold, or an unfinished end */
};

typedef void event_cb(void *arg, const struct event *ev);

struct events {
    enum events_kind kind;
    size_t event_max; /* bytes of one event */
    bool overflow;    /* an event was larger, or memory was out, and has passed in pieces */
    /* The rest belongs to events.c. */
    bool passing;     /* inside such an event */
    bool after_cr;    /* the byte before was a CR that ended a line: an LF now belongs to it */
    bool begun;       /* past the first event, in front of which a byte order mark may stand */
    bool line_open;   /* the present line has bytes */
    struct buf held;  /* raw bytes of the unfinished event */
    struct buf joined; /* data of an event with several data lines */
};

void events_init(struct events *s, enum events_kind kind, size_t event_max);
void events_deinit(struct events *s);

/* cb runs for each event completed by these bytes, in order; it must not call back into s. */
void events_feed(struct events *s, struct sv bytes, event_cb *cb, void *arg);
/* The stream is over. What is held is delivered: as an event when its data is one whole JSON text or [DONE], else as a
 * piece, so that no byte is lost. */
void events_end(struct events *s, event_cb *cb, void *arg);

/* Raw bytes of the unfinished event; borrowed until the next call. */
struct sv events_held(const struct events *s);

#endif
