/* The same bytes give the same events and answers, whole or one at a time; what is delivered keeps the limits. The
 * first byte chooses the role. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>

#include "http/ws.h"

static const struct ws_limits limits = { .frame = 300, .message = 500, .fragments = 8, .control_per_s = 6 };

/* Writes down every event; masks are random, so of our own frames only their number of bytes counts. */
static void play(enum ws_role role, struct sv bytes, size_t step, struct buf *told) {
    struct ws w;
    struct buf out = BUF_MAX(1 << 20);
    enum ws_event ev = WS_MORE;
    assert(ws_init(&w, role, &limits));
    while (bytes.n && ev == WS_MORE) {
        struct sv in = sv_first(bytes, step);
        bytes = sv_from(bytes, in.n);
        while ((ev = ws_feed(&w, &in, 1000, &out)) != WS_MORE) {
            assert(w.data.n <= limits.message);
            assert((ev == WS_FAILED) == (w.err.code != ERR_NONE));
            buf_printf(told, "%d %u %zu ", (int)ev, w.code, w.data.n);
            buf_add(told, w.data);
            if (ev == WS_CLOSED || ev == WS_FAILED)
                break;
        }
        assert(ev != WS_MORE || in.n == 0);
    }
    buf_printf(told, " out %zu", out.n);
    ws_deinit(&w);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf whole = BUF_MAX(16 << 20), bytes = BUF_MAX(16 << 20);
    if (size == 0)
        return 0;
    enum ws_role role = data[0] & 1 ? WS_CLIENT : WS_SERVER;
    struct sv text = { (const char *)data + 1, size - 1 };
    play(role, text, SIZE_MAX, &whole);
    play(role, text, 1, &bytes);
    assert(!whole.failed && !bytes.failed && sv_eq(buf_sv(&whole), buf_sv(&bytes)));
    buf_deinit(&whole);
    buf_deinit(&bytes);
    return 0;
}
