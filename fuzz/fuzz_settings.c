/* Any edits of what is set from the console give settings or a complaint; what they set is nothing that only a file may, and what is
 * taken back is as it was. A line is NAME=VALUE, or -NAME to take it back. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>

#include "config/schema.h"

enum { EDITS_MAX = 64 };

static const char *const environment[] = { "HOME=/home/eve", "NAME=value", "DROVER_GATEWAY_PARK_MAX=7", NULL };
static struct config_report report;

static struct config *load(const struct config_edit *edits, size_t n) {
    struct config_source src = { .path = "f.yaml",
                                 .text = SV("gateway: {deadline: 4m}\n"),
                                 .environment = environment,
                                 .no_files = true,
                                 .edits = edits,
                                 .n_edits = n,
                                 .memory_bytes = 1 << 30,
                                 .cores = 2 };
    return config_load(&src, &report);
}

static size_t read_edits(struct sv text, struct config_edit edits[static EDITS_MAX]) {
    size_t n = 0;
    struct sv line;
    while (n < EDITS_MAX && sv_next(&text, '\n', &line)) {
        struct config_edit *e = &edits[n++];
        *e = (struct config_edit){ .name = line, .unset = sv_starts(line, SV("-")) };
        if (e->unset) {
            e->name = sv_from(line, 1);
        } else {
            e->value = line;
            if (!sv_cut(&e->value, '=', &e->name))
                e->name = line;
        }
    }
    return n;
}

static void check(const struct config *was, const struct config *c) {
    struct buf out = BUF_MAX(8 << 20);
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        bool here = c->origins__[i].kind == CONFIG_FROM_CONSOLE;
        assert(!here || s->console);
        if (s->type < T_MOVED && setting_in(s, "") && !here)
            assert(c->origins__[i].kind == was->origins__[i].kind && !setting_differs(s, was, c));
    }
    assert(c->gateway.deadline_ms == 240000 && c->gateway.park_max == 7); /* a file and a variable win */
    assert(config_differences(was, c, &out));
    assert(config_is_same(was, c) == (config_version(was) == config_version(c)));
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct config_edit edits[EDITS_MAX];
    struct buf told = BUF_MAX(1 << 20);
    size_t n = read_edits((struct sv){ (const char *)data, size }, edits);
    struct config *was = load(NULL, 0), *c = load(edits, n);
    assert(was && !c == (report.n > 0));
    assert(config_report_list(&report, &told));
    if (c)
        check(was, c);
    buf_deinit(&told);
    config_unref(c);
    config_unref(was);
    return 0;
}
