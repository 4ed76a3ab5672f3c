/* What passes the checks can be printed, and what is printed passes with the same kind and the same payload. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>

#include "base/mem.h"
#include "link/envelope.h"

static void check_again(const struct envelope *m, bool is_down) {
    size_t n;
    char *payload = yyjson_val_write_opts(m->payload, 0, &json_heap, &n, NULL);
    struct buf text = BUF_MAX(4 << 20);
    struct envelope again;
    struct envelope_fault f;
    if (!payload)
        return;
    envelope_print(&text, &(struct envelope_head){ m->kind, is_down, m->msg_id, m->site_id, m->agent_id, m->re, m->seq }, (struct sv){ payload, n });
    assert(!text.failed && envelope_read(buf_sv(&text), is_down, false, &again, &f));
    assert(again.kind == m->kind && again.seq == m->seq && sv_eq(again.msg_id, m->msg_id) && sv_eq(again.re, m->re));
    envelope_free(&again);
    buf_deinit(&text);
    mem_free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct envelope m;
    struct envelope_fault f;
    for (int down = 0; down < 2; down++) {
        bool ok = envelope_read((struct sv){ (const char *)data, size }, down, false, &m, &f);
        assert(ok == (f.code == FAULT_NONE) && (ok || !m.doc));
        if (!ok)
            continue;
        assert(m.payload && m.msg_id.n && m.kind < LINK_KIND_COUNT);
        check_again(&m, down);
        envelope_free(&m);
    }
    return 0;
}
