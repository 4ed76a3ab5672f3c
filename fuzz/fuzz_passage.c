/* Paths below /node/, and where a node sends a browser: whatever is let through stays below the path it was given. The input is
 * a path and a Location, with a line feed between them. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>

#include "console/passage.h"
#include "http/url.h"

#define BASE SV("/node/attic/~0123456789abcdefghijklmnopqrstuvwxyz-_ABCDE/")

static void check_path(struct sv path) {
    struct passage at;
    if (!sv_starts(path, SV("/node/")) || !path_is_clean(path) || passage_read(path, &at) != PASSAGE_INSIDE)
        return;
    assert(at.ticket.n == PASSAGE_TICKET && at.node.n > 0 && at.node.n <= PASSAGE_NODE_MAX);
    assert(sv_starts(path, at.base) && sv_starts(at.rest, SV("/")) && at.base.n + at.rest.n == path.n + 1);
    assert(path_is_clean(at.rest));
}

static void check_location(struct sv location) {
    struct arena a;
    struct sv to;
    arena_init(&a, 1 << 20, NULL);
    if (passage_rebase(location, BASE, &a, &to)) {
        size_t n = 0;
        while (n < to.n && to.p[n] != '?' && to.p[n] != '#')
            n++;
        assert(sv_starts(to, BASE) && path_is_clean(sv_first(to, n)) && http_value_is_clean(to) &&
               sv_find_char(to, '\\') < 0);
    }
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sv all = { (const char *)data, size }, path;
    if (!sv_cut(&all, '\n', &path))
        return 0;
    check_path(path);
    check_location(all);
    return 0;
}
