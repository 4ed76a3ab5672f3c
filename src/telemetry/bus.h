/* telemetry/bus.h - what happens, as numbered events that readers follow at their own pace.
 *
 * A ring of bounded number and size: the oldest give way, and a reader that comes too late is told how many it has missed. A reader
 * that was away goes on behind the last number it saw; numbers start anew with each process, whose name is bus_boot. Control loop only. */
#ifndef DROVER_TELEMETRY_BUS_H
#define DROVER_TELEMETRY_BUS_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/sv.h"

#define BUS_TOPICS(X)          \
    X(BUS_HUB, "hub")          \
    X(BUS_FLEET, "fleet")      \
    X(BUS_NODE, "node")        \
    X(BUS_REQUEST, "request")  \
    X(BUS_KEY, "key")          \
    X(BUS_USER, "user")        \
    X(BUS_MODE, "mode")        \
    X(BUS_CONFIG, "config")    \
    X(BUS_ALERT, "alert")
#define X(id, text) id,
enum bus_topic { BUS_TOPICS(X) BUS_TOPIC_COUNT };
#undef X
const char *bus_topic_name(enum bus_topic t);

enum { BUS_BOOT = 16 };

struct bus;
struct bus *bus_new(size_t events_max, size_t bytes_max) MUST_CHECK;
void bus_free(struct bus *b);
const char *bus_boot(const struct bus *b);
uint64_t bus_last(const struct bus *b); /* number of the latest event; 0: none yet */

/* data: a JSON object; copied. One that is larger than the whole ring, or finds no memory, is lost like one that gave way. */
void bus_publish(struct bus *b, enum bus_topic topic, uint64_t wall_ms, struct sv data);

struct bus_event {
    uint64_t id, at_ms;
    enum bus_topic topic;
    struct sv data; /* borrowed until the next bus_publish */
};
/* The first event behind number `after`. *ret_missed: how many before it are gone. False: there is none yet. */
bool bus_next(const struct bus *b, uint64_t after, struct bus_event *ret, uint64_t *ret_missed);

#endif
