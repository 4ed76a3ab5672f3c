#include "telemetry/bus.h"

#include "base/rand.h"

#define X(id, text) [id] = text,
static const char *const topic_names[] = { BUS_TOPICS(X) };
#undef X

struct kept {
    uint64_t at_ms;
    enum bus_topic topic;
    char *data; /* NULL: it was lost */
    size_t n;
};

struct bus {
    struct kept *ring; /* of events_max; event `id` stands at id % events_max */
    size_t events_max, bytes_max, bytes;
    uint64_t first, last; /* numbers of those kept; last 0: none */
    char boot[BUS_BOOT + 1];
};

const char *bus_topic_name(enum bus_topic t) {
    return topic_names[t];
}

struct bus *bus_new(size_t events_max, size_t bytes_max) {
    struct bus *b = mem_new(sizeof *b);
    if (!b || !(b->ring = mem_new(events_max * sizeof *b->ring))) {
        mem_free(b);
        return NULL;
    }
    b->events_max = events_max;
    b->bytes_max = bytes_max;
    b->first = 1;
    rand_text(b->boot, BUS_BOOT);
    return b;
}

static void drop_first(struct bus *b) {
    struct kept *k = &b->ring[b->first++ % b->events_max];
    b->bytes -= k->n;
    mem_free(k->data);
    *k = (struct kept){ 0 };
}

void bus_free(struct bus *b) {
    if (!b)
        return;
    while (b->first <= b->last)
        drop_first(b);
    mem_free(b->ring);
    mem_free(b);
}

const char *bus_boot(const struct bus *b) {
    return b->boot;
}

uint64_t bus_last(const struct bus *b) {
    return b->last;
}

void bus_publish(struct bus *b, enum bus_topic topic, uint64_t wall_ms, struct sv data) {
    char *copy = data.n <= b->bytes_max ? mem_copy(data.p, data.n) : NULL;
    size_t n = copy ? data.n : 0;
    while (b->first <= b->last && (b->last - b->first + 1 >= b->events_max || b->bytes + n > b->bytes_max))
        drop_first(b);
    b->ring[++b->last % b->events_max] = (struct kept){ wall_ms, topic, copy, n };
    b->bytes += n;
}

bool bus_next(const struct bus *b, uint64_t after, struct bus_event *ret, uint64_t *ret_missed) {
    uint64_t id = after < b->first ? b->first : after + 1;
    while (id <= b->last && !b->ring[id % b->events_max].data)
        id++;
    if (id > b->last)
        return false;
    const struct kept *k = &b->ring[id % b->events_max];
    *ret = (struct bus_event){ id, k->at_ms, k->topic, { k->data, k->n } };
    *ret_missed = id - after - 1;
    return true;
}
