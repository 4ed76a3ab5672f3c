/* gateway/watch.h - what goes on in one gateway, told to whoever watches: requests under way, those that have just ended, and, where the
 * operator allows it, what a client is being sent.
 *
 * The control loop makes a report, posts it to the worker (app/worker.h) and gets it back filled. While nobody watches nothing is
 * kept: one relaxed load per request. */
#ifndef DROVER_GATEWAY_WATCH_H
#define DROVER_GATEWAY_WATCH_H

#include "base/arena.h"
#include "io/loop.h"
#include "telemetry/record.h"

enum {
    REPORT_LIVE = 200,        /* requests under way per report; the longest under way come first */
    REPORT_ENDED = 256,       /* ended ones between two reports; more are counted */
    REPORT_SEEN = 4,          /* requests whose bytes are watched, per gateway */
    REPORT_SEEN_BYTES = 256 << 10, /* of one, between two reports */
    REPORT_ARENA = 4 << 20,
};

#define LIVE_STATES(X)             \
    X(LIVE_READING, "reading")     /* its body is coming */               \
    X(LIVE_QUEUED, "queued")       /* it waits for a target to have room */ \
    X(LIVE_WAITING, "waiting")     /* it was sent; not a byte of the reply yet */ \
    X(LIVE_ANSWERING, "answering")
#define X(id, text) id,
enum live_state { LIVE_STATES(X) };
#undef X
const char *live_state_name(enum live_state s);

/* One request under way. Durations in microseconds; counts of -1 are unknown. */
struct live_request {
    struct sv id, key, key_name, api, asked, slug, endpoint, model;
    enum live_state state;
    bool stream;
    unsigned attempts, place;    /* place: in the queue; 0: in none */
    uint64_t expect_ms;          /* until its turn; 0: unknown */
    uint64_t age_us, queue_us, first_us; /* first_us: until the first output; 0: not yet */
    int64_t input, output, reasoning;
    uint64_t bytes_out;
};

/* A piece of what a client was sent. */
struct live_seen {
    struct sv id, dialect, bytes;
    uint64_t from;               /* its first byte's place in the answer's body */
    bool is_stream, end;
};

/* A message to a worker and back: deliver and home are the sender's. All views live in its arena. */
struct gateway_report {
    struct msg msg;
    struct loop *home;
    void *owner;
    struct arena arena;
    struct live_request *live;
    unsigned n_live, total, queued;
    const struct request_record *ended; /* moments are relative to received_us, which is 0 */
    unsigned n_ended, n_lost;
    struct live_seen *seen;
    unsigned n_seen;
};

struct gateway;
/* Worker's thread. Fills it; what memory does not reach for is missing, and counted in total and n_lost. */
void gateway_report(struct gateway *g, struct gateway_report *r);
/* Ends the request of that x-request-id. False: it is not one of this gateway's. */
bool gateway_stop(struct gateway *g, struct sv id);
/* Ends all that goes on with a key, by its id, or for a person, by their name. What comes later is not stopped. */
void gateway_stop_key(struct gateway *g, struct sv key);
/* Ends all that our hub asked for. */
void gateway_stop_hub(struct gateway *g);
/* Keeps what its client is sent for the next reports, or keeps it no more. False: not one of this gateway's, or too many. */
bool gateway_see(struct gateway *g, struct sv id, bool on);

#endif
