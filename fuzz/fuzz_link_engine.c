/* The same bytes give the same story, whole or one at a time; a link that has ended says nothing more. The first byte chooses who is played:
 * the hub's first lane, the node's, or a later lane. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>

#include "link/engine.h"

struct end {
    struct engine *g;
    struct buf *story;
    struct mux_stream *s;
    bool ended;
};

static void on_open(void *owner, struct mux_stream *s, const struct mux_open *o) {
    struct end *e = owner;
    buf_printf(e->story, "open %u %u ", mux_id(s), o->service);
    if (e->s) {
        mux_release(s, RESET_BUSY, SV_NULL);
        return;
    }
    e->s = s;
    mux_own(s, e);
}
static void on_data(void *x, struct sv bytes) {
    struct end *e = x;
    buf_add(e->story, bytes);
    mux_consumed(e->s, bytes.n, 1000);
}
static void on_fin(void *x) {
    buf_add(((struct end *)x)->story, SV("fin "));
}
static void on_reset(void *x, uint32_t code, struct sv reason) {
    struct end *e = x;
    (void)reason;
    buf_printf(e->story, "reset %u ", code);
    mux_release(e->s, RESET_CANCEL, SV_NULL);
    e->s = NULL;
}
static void on_drain(void *x) {
    (void)x;
}
static void on_goaway(void *owner, uint32_t last_id, uint32_t code, uint32_t retry_ms, struct sv reason) {
    (void)reason;
    buf_printf(((struct end *)owner)->story, "goaway %u %u %u ", last_id, code, retry_ms);
}
static void on_control(void *owner, struct envelope *m) {
    struct end *e = owner;
    buf_printf(e->story, "%s ", link_kind_name(m->kind));
    if (m->kind == KIND_HELLO)
        engine_send(e->g, KIND_WELCOME, SV("{\"epoch\":1,\"link_id\":\"l\",\"hub_id\":\"h\",\"heartbeat_ms\":15000}"), m->msg_id);
    if (m->kind == KIND_WELCOME)
        engine_send(e->g, KIND_REGISTER, SV("{}"), SV_NULL);
    if (m->kind == KIND_REGISTER)
        engine_send(e->g, KIND_REGISTERED, SV("{\"accepted\":true}"), m->msg_id);
}
static void on_up(void *owner) {
    buf_add(((struct end *)owner)->story, SV("up "));
}
static void on_end(void *owner, unsigned code, struct sv why) {
    struct end *e = owner;
    (void)why;
    assert(!e->ended);
    e->ended = true;
    buf_printf(e->story, "end %u ", code);
}
static const struct engine_events events = { { on_open, on_data, on_fin, on_reset, on_drain, on_goaway }, on_control, on_up, on_end };

static void play(unsigned who, struct sv bytes, size_t step, struct buf *story) {
    const struct engine_spec spec = { .is_hub = who % 3 == 0, .is_client = who % 3 == 1, .is_lane = who % 3 == 2, .limits = MUX_LIMITS_NODE, .site = SV("n1") };
    struct end e = { .story = story };
    struct buf out = BUF_MAX(16 << 20);
    e.g = engine_new(&spec, &events, &e, 1000);
    assert(e.g);
    if (who % 3 == 1)
        engine_send(e.g, KIND_HELLO, SV("{\"proto\":{\"min\":1,\"max\":1},\"node_id\":\"n1\",\"instance\":\"i\"}"), SV_NULL);
    while (bytes.n) {
        struct sv piece = sv_first(bytes, step);
        engine_feed(e.g, piece, 1000);
        bytes = sv_from(bytes, piece.n);
    }
    engine_tick(e.g, 3000);
    while (engine_fill(e.g, 65536, &out) && out.n < (8 << 20))
        ;
    assert(engine_has_ended(e.g) == e.ended);
    engine_cut(e.g, SV("over"));
    engine_free(e.g);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf whole = BUF_MAX(16 << 20), bytes = BUF_MAX(16 << 20);
    if (size == 0)
        return 0;
    struct sv text = { (const char *)data + 1, size - 1 };
    play(data[0], text, SIZE_MAX, &whole);
    play(data[0], text, 1, &bytes);
    assert(sv_eq(buf_sv(&whole), buf_sv(&bytes)));
    buf_deinit(&whole);
    buf_deinit(&bytes);
    return 0;
}
