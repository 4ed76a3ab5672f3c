/* fuzz/fuzz_events.c - no byte of an event stream is lost or made up, and cutting it elsewhere changes no event.
 * First byte: kind (bit 0) and the largest event; second byte: length of the cuts. */
#undef NDEBUG /* the properties are the point, in release builds, too */
#include <assert.h>
#include <stdlib.h>

#include "http/events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct buf raw, events;
};

static void on_event(void *arg, const struct event *ev) {
    struct seen *t = arg;
    assert(ev->raw.n > 0 && buf_add(&t->raw, ev->raw));
    if (ev->piece)
        assert(ev->data.n == 0 && ev->name.n == 0);
    if (ev->data.n || ev->name.n || ev->comment)
        assert(buf_printf(&t->events, "%d[%.*s|%.*s]", ev->comment, SV_FMT(ev->name), SV_FMT(ev->data)));
}

static bool run(struct seen *t, enum events_kind kind, size_t max, struct sv stream, size_t step) {
    struct events s;
    buf_init(&t->raw, SIZE_MAX / 4);
    buf_init(&t->events, SIZE_MAX / 4);
    events_init(&s, kind, max);
    for (size_t at = 0; at < stream.n; at += step) {
        size_t n = step < stream.n - at ? step : stream.n - at;
        char *exact = malloc(n);
        assert(exact);
        memcpy(exact, stream.p + at, n);
        events_feed(&s, (struct sv){ exact, n }, on_event, t);
        free(exact);
        assert(t->raw.n + events_held(&s).n == at + n && events_held(&s).n <= max);
    }
    events_end(&s, on_event, t);
    assert(sv_eq(buf_sv(&t->raw), stream));
    bool overflow = s.overflow;
    events_deinit(&s);
    return overflow;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct seen whole, split;
    if (size < 2)
        return 0;
    struct sv stream = { (const char *)data + 2, size - 2 };
    enum events_kind kind = data[0] & 1 ? EVENTS_NDJSON : EVENTS_SSE;
    size_t max = data[0] < 2 ? 1 << 20 : data[0];
    bool over = run(&whole, kind, max, stream, stream.n ? stream.n : 1);
    bool over2 = run(&split, kind, max, stream, 1 + data[1] % 16);
    if (!over && !over2)
        assert(sv_eq(buf_sv(&whole.events), buf_sv(&split.events)));
    buf_deinit(&whole.raw);
    buf_deinit(&whole.events);
    buf_deinit(&split.raw);
    buf_deinit(&split.events);
    return 0;
}
