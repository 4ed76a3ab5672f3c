/* What a refused reload leaves behind: the settings of before, in force and on the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/err.h"
#include "console/settings.h"

static char dir[64], path[96];
static struct config_report report;

static int make_dir(void **state) {
    (void)state;
    strcpy(dir, "/tmp/drover-settings-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/settings.yaml", dir);
    return 0;
}

static int drop_dir(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static struct config *load(const struct config_edit *edits, size_t n) {
    static const char *const env[] = { NULL };
    char text[128];
    int len = snprintf(text, sizeof text, "data_dir: %s\n", dir);
    struct config_source src = { .path = "t.yaml", .text = { text, (size_t)len }, .environment = env, .edits = edits, .n_edits = n };
    struct config *c = config_load(&src, &report);
    assert_non_null(c);
    return c;
}

struct house {
    struct admin_house house;
    struct config *config;
    bool refuses, takes_the_disk;
    int n_reloads;
    int seen; /* gateway.retry_max as it stood on the disk */
};

static bool reload(void *owner, struct err *e) {
    struct house *h = owner;
    struct config *c = load(NULL, 0);
    h->n_reloads++;
    h->seen = c->gateway.retry_max;
    if (h->takes_the_disk) {
        char beside[128];
        snprintf(beside, sizeof beside, "%s.new", path);
        assert_int_equal(mkdir(beside, 0700), 0);
    }
    if (h->refuses) {
        config_unref(c);
        return err_set(e, ERR_CONFIG, "drover.yaml:1:1: the reason");
    }
    config_unref(h->config);
    h->config = c;
    return true;
}

static const struct config_edit five = { .name = { "gateway.retry_max", 17 }, .value = { "5", 1 } };
static const struct config_edit six = { .name = { "gateway.retry_max", 17 }, .value = { "6", 1 } };

static void begin(struct house *h) {
    *h = (struct house){ .house = { .reload = reload } };
    h->house.owner = h;
    h->house.config = &h->config;
    (void)unlink(path);
    h->config = load(NULL, 0);
}

static int on_disk(void) {
    struct config *c = load(NULL, 0);
    int n = c->gateway.retry_max;
    config_unref(c);
    return n;
}

static bool apply(struct house *h, const struct config_edit *edit, struct err *e) {
    struct config *next = load(edit, 1);
    bool ok = settings__apply(&h->house, next, e);
    config_unref(next);
    return ok;
}

static void a_change_is_on_the_disk_before_the_reload_reads_it(void **state) {
    struct house h;
    struct err e;
    (void)state;
    begin(&h);
    assert_true(apply(&h, &five, &e));
    assert_int_equal(h.n_reloads, 1);
    assert_int_equal(h.seen, 5);
    assert_int_equal(h.config->gateway.retry_max, 5);
    config_unref(h.config);
}

static void a_refused_reload_puts_the_old_file_back_and_says_why(void **state) {
    struct house h;
    struct err e;
    (void)state;
    begin(&h);
    assert_true(apply(&h, &five, &e));
    h.refuses = true;
    assert_false(apply(&h, &six, &e));
    assert_int_equal(h.seen, 6);
    assert_string_equal(e.text, "drover.yaml:1:1: the reason");
    assert_int_equal(h.config->gateway.retry_max, 5);
    assert_int_equal(on_disk(), 5);
    config_unref(h.config);
    begin(&h); /* the same where nothing was set before */
    h.refuses = true;
    assert_false(apply(&h, &six, &e));
    assert_int_equal(on_disk(), 2);
    config_unref(h.config);
}

static void what_cannot_be_put_back_is_said(void **state) {
    struct house h;
    struct err e;
    char beside[128];
    (void)state;
    begin(&h);
    h.refuses = h.takes_the_disk = true;
    assert_false(apply(&h, &six, &e));
    assert_non_null(strstr(e.text, "could not be put back"));
    assert_non_null(strstr(e.text, "the reason"));
    snprintf(beside, sizeof beside, "%s.new", path);
    assert_int_equal(rmdir(beside), 0);
    config_unref(h.config);
}

static void what_cannot_be_written_is_not_reloaded(void **state) {
    struct house h;
    struct err e;
    char beside[128];
    (void)state;
    begin(&h);
    snprintf(beside, sizeof beside, "%s.new", path);
    assert_int_equal(mkdir(beside, 0700), 0);
    assert_false(apply(&h, &five, &e));
    assert_int_equal(rmdir(beside), 0);
    assert_int_equal(h.n_reloads, 0);
    assert_int_equal(on_disk(), 2);
    config_unref(h.config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_on_the_disk_before_the_reload_reads_it),
        cmocka_unit_test(a_refused_reload_puts_the_old_file_back_and_says_why),
        cmocka_unit_test(what_cannot_be_put_back_is_said),
        cmocka_unit_test(what_cannot_be_written_is_not_reloaded),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
