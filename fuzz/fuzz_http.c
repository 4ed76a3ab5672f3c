/* HTTP/1.1 heads and bodies: a message read whole and read byte by byte is the same message, and what is accepted has one
 * statement of its length. The first byte chooses request or response. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/h1.h"

static const struct h1_limits limits = { 200, 400, 800, 12, 60 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_in_steps(struct sv in, size_t step, bool response, struct buf *out) {
    struct h1 h;
    struct arena a;
    arena_init(&a, 1 << 20, NULL);
    h1_init(&h, response, &limits);
    bool bad = false;
    struct buf held = BUF_MAX(1 << 20);
    h1_begin(&h, &a, false);
    for (size_t at = 0; at < in.n && !bad; at += step) {
        buf_add(&held, sv_first(sv_from(in, at), step));
        for (bool more = false; !bad && !more;) {
            struct sv rest = buf_sv(&held), body;
            size_t before = rest.n;
            enum h1_event e = h1_next(&h, &rest, &body);
            if (e == H1_HEAD) {
                buf_printf(out, "[head %.*s %.*s %d %lld %d %d]", SV_FMT(h.head.method), SV_FMT(h.head.target), h.head.status,
                           (long long)h.head.length, h.head.chunked, h.head.keep_alive);
                assert(!(h.head.chunked && h.head.length >= 0));
                for (unsigned i = 0; i < h.head.n_headers; i++) {
                    buf_printf(out, "%.*s=%.*s;", SV_FMT(h.head.headers[i].name), SV_FMT(h.head.headers[i].value));
                    for (size_t j = 0; j < h.head.headers[i].value.n; j++)
                        assert(h.head.headers[i].value.p[j] != '\r' && h.head.headers[i].value.p[j] != '\n');
                }
            } else if (e == H1_BODY) {
                assert(body.n > 0);
                buf_add(out, body);
            } else if (e == H1_END) {
                buf_add(out, SV("[end]"));
                h1_begin(&h, &a, false);
            } else if (e == H1_BAD) {
                buf_add(out, SV("[bad]"));
                bad = true;
            } else {
                more = true;
            }
            if (!h1_has_pieces(&h)) /* pieces are views on what was held: keep it until they are taken */
                buf_consume(&held, held.n - rest.n);
            else
                assert(before >= rest.n);
            while (h1_has_pieces(&h) && !bad) {
                struct sv none = SV_NULL;
                assert(h1_next(&h, &none, &body) == H1_BODY);
                buf_add(out, body);
                if (!h1_has_pieces(&h))
                    buf_consume(&held, held.n - rest.n);
            }
        }
    }
    if (!bad)
        buf_printf(out, "[eof %d]", h1_eof(&h));
    buf_deinit(&held);
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 4096)
        return 0;
    struct sv in = { (const char *)data + 1, size - 1 };
    bool response = data[0] & 1;
    struct buf whole = BUF_MAX(8 << 20), bytes = BUF_MAX(8 << 20);
    read_in_steps(in, in.n ? in.n : 1, response, &whole);
    read_in_steps(in, 1, response, &bytes);
    if (!sv_eq(buf_sv(&whole), buf_sv(&bytes))) {
        fprintf(stderr, "whole: %.*s\nbytes: %.*s\n", SV_FMT(buf_sv(&whole)), SV_FMT(buf_sv(&bytes)));
        abort();
    }
    buf_deinit(&whole);
    buf_deinit(&bytes);
    return 0;
}
