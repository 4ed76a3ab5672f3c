/* Frames from a peer that keeps to no rule: the multiplexer never holds more than the windows it gave, never has more streams than it
 * allows, and what it answers are frames. The first byte chooses the role; then come messages, each behind its length in two bytes; a
 * length above 0x8000 is a step of our own instead. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>

#include "link/mux.h"

enum { USERS = 128 };

struct user {
    struct mux_stream *s;
    uint64_t held;
};

static struct mux *mux;
static struct user users[USERS];
static uint64_t now;

static struct user *free_user(void) {
    for (int i = 0; i < USERS; i++)
        if (!users[i].s)
            return &users[i];
    return NULL;
}

static void on_open(void *owner, struct mux_stream *s, const struct mux_open *o) {
    struct user *u = free_user();
    (void)owner;
    if (o->service != SERVICE_HTTP || !u) {
        mux_release(s, RESET_REFUSED_SERVICE, SV_NULL);
        return;
    }
    *u = (struct user){ s, 0 };
    mux_own(s, u);
}
static void on_data(void *x, struct sv bytes) {
    ((struct user *)x)->held += bytes.n;
}
static void on_end(void *x) {
    (void)x;
}
static void on_reset(void *x, uint32_t code, struct sv reason) {
    struct user *u = x;
    (void)code;
    (void)reason;
    mux_release(u->s, RESET_CANCEL, SV_NULL);
    u->s = NULL;
}
static void on_goaway(void *owner, uint32_t last_id, uint32_t code, uint32_t retry_ms, struct sv reason) {
    (void)owner;
    (void)last_id;
    (void)code;
    (void)retry_ms;
    (void)reason;
}
static const struct mux_events events = { on_open, on_data, on_end, on_reset, on_end, on_goaway };

static bool sink(void *arg, struct sv head, struct sv meta, struct sv data) {
    struct buf whole = BUF_MAX(1 << 20);
    struct frame f;
    (void)arg;
    buf_add(&whole, head);
    buf_add(&whole, meta);
    buf_add(&whole, data);
    assert(!whole.failed && frame_parse(buf_sv(&whole), &f) == FRAME_OK);
    buf_deinit(&whole);
    return true;
}

static void own_step(unsigned what) {
    struct user *u = &users[what / 8 % USERS];
    now += what % 97;
    if (what % 8 == 0)
        mux_tick(mux, now, 1000);
    else if (what % 8 == 1)
        mux_take(mux, what, sink, NULL);
    else if (what % 8 == 2 && !u->s && (u->s = mux_open(mux, &(struct mux_open){ .service = SERVICE_HTTP }, now, NULL)))
        mux_own(u->s, u);
    else if (u->s && what % 8 == 3) {
        struct mux_stream *s = u->s;
        u->s = NULL;
        u->held = 0;
        mux_release(s, RESET_CANCEL, SV_NULL);
    } else if (u->s && what % 8 == 4)
        assert(mux_write(u->s, SV("0123456789")));
    else if (u->s && what % 8 == 5)
        mux_finish(u->s);
    else if (u->s && u->held) {
        uint64_t n = u->held;
        u->held = 0;
        mux_consumed(u->s, n, now);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    bool is_hub = data[0] & 1;
    struct mux_limits limits = is_hub ? MUX_LIMITS_HUB : MUX_LIMITS_NODE;
    limits.link_window = 64 << 10;
    mux = mux_new(is_hub, &limits, &events, NULL);
    assert(mux);
    now = 1000;
    for (size_t at = 1; at + 2 <= size;) {
        unsigned n = (unsigned)data[at] << 8 | data[at + 1], code;
        const char *why;
        struct mux_facts f;
        at += 2;
        if (n & 0x8000) {
            own_step(n & 0x7fff);
            continue;
        }
        n = n < size - at ? n : (unsigned)(size - at);
        bool fine = mux_feed(mux, (struct sv){ (const char *)data + at, n }, now, &code, &why);
        assert(fine == (code == 0));
        at += n;
        mux_facts(mux, &f);
        assert(f.n_theirs <= limits.max_streams && f.buffered <= (16 << 20));
        if (!fine)
            break;
    }
    mux_lost(mux);
    for (int i = 0; i < USERS; i++)
        assert(!users[i].s);
    mux_free(mux);
    return 0;
}
