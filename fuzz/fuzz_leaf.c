/* The same bytes give the same story, whole or one at a time; whatever passes is said in the one name, is still good when it is printed anew,
 * and nothing passes after the end. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>

#include "hub/leaf.h"

struct end {
    struct leaf *f;
    struct buf *story;
    bool ended;
};

static enum link_fault on_join(void *owner, struct sv agent_id) {
    struct end *e = owner;
    assert(link_is_ident(agent_id) && !e->ended);
    buf_printf(e->story, "join %.*s ", SV_FMT(agent_id));
    return sv_eq(agent_id, SV("attic")) ? FAULT_IDENTITY : FAULT_NONE;
}
static void on_message(void *owner, struct envelope *m) {
    struct end *e = owner;
    struct envelope_fault fault;
    struct buf out = BUF_MAX(1 << 20);
    assert(!e->ended && sv_eq(m->agent_id, leaf_agent(e->f)));
    assert(kind_print(m->kind, m->payload, &out));
    CLEANUP(json_doc_freep) yyjson_doc *again = json_parse_exact(buf_sv(&out));
    assert(again && kind_check(m->kind, yyjson_doc_get_root(again), &fault));
    buf_printf(e->story, "%s ", link_kind_name(m->kind));
    buf_add(e->story, buf_sv(&out));
    buf_deinit(&out);
}
static void on_end(void *owner, unsigned code, struct sv why) {
    struct end *e = owner;
    (void)why;
    assert(!e->ended);
    e->ended = true;
    buf_printf(e->story, "end %u ", code);
}
static const struct leaf_events events = { on_join, on_message, on_end };

static void play(struct sv bytes, size_t step, struct buf *story) {
    struct end e = { .story = story };
    e.f = leaf_new(&events, &e, 1000);
    assert(e.f);
    leaf_site(e.f, SV("attic"));
    while (bytes.n && !e.ended) {
        leaf_feed(e.f, sv_first(bytes, step), 1000);
        assert(leaf_output(e.f)->n <= LEAF_OUT_MAX);
        bytes = sv_from(bytes, step < bytes.n ? step : bytes.n);
    }
    leaf_free(e.f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct sv bytes = { (const char *)data, size };
    struct buf whole = BUF_MAX(64 << 20), single = BUF_MAX(64 << 20);
    if (size > 64 << 10)
        return 0;
    play(bytes, SIZE_MAX, &whole);
    play(bytes, 1, &single);
    assert(sv_eq(buf_sv(&whole), buf_sv(&single)));
    buf_deinit(&whole);
    buf_deinit(&single);
    return 0;
}
