/* Any bytes give settings or a complaint; settings that are shown read back as the same settings. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>

#include "config/config.h"

static const char *const environment[] = { "HOME=/home/eve", "NAME=value", "EMPTY=", NULL };

static struct config *load(struct sv text, struct config_report *r) {
    struct config_source src = { .path = "f.yaml",
                                 .text = text,
                                 .environment = environment,
                                 .no_files = true,
                                 .memory_bytes = 1 << 30,
                                 .cores = 2 };
    return config_load(&src, r);
}

static bool has_secret(const struct config *c) {
    for (size_t i = 0; i < c->n_endpoints; i++)
        if (c->endpoints[i].key.value)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct config_report r;
    struct config *c = load((struct sv){ (const char *)data, size }, &r);
    assert(!c == (r.n > 0));
    struct buf report = BUF_MAX(1 << 20);
    assert(config_report_print(&r, &report));
    buf_deinit(&report);
    if (!c)
        return 0;
    for (int style = CONFIG_YAML; style <= CONFIG_JSON; style++) {
        struct buf a = BUF_MAX(8 << 20), b = BUF_MAX(8 << 20);
        assert(config_show(c, &a, (enum config_style)style));
        struct config *again = has_secret(c) || a.n > CONFIG_FILE_MAX ? NULL : load(buf_sv(&a), &r);
        /* JSON knows no $${: a text that holds "${" is no reference when it is read as JSON. */
        if (style == CONFIG_YAML && !has_secret(c) && a.n <= CONFIG_FILE_MAX)
            assert(again && config_show(again, &b, CONFIG_YAML) && sv_eq(buf_sv(&a), buf_sv(&b)));
        config_unref(again);
        buf_deinit(&a);
        buf_deinit(&b);
    }
    config_unref(c);
    return 0;
}
