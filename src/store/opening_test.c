/* Who may open which file, and what becomes of its schema. */
#include "store/store_bench.h"

/* --- opening ------------------------------------------------------------------------------------------------------- */

static void the_second_opener_is_told_who_has_it(void **state) {
    (void)state;
    struct place p;
    struct err e = { 0 };
    char pid[32];
    place_init(&p);
    place_open(&p);
    assert_null(try_open(&p, tables, 0, &e));
    assert_int_equal(e.code, ERR_EXISTS);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(e.text, pid));
    assert_non_null(strstr(e.text, p.path));
    assert_true(put(p.s, 1, 1));
    place_close(&p);
    place_open(&p);
    place_deinit(&p);
}

static void a_newer_file_is_refused_and_left_alone(void **state) {
    (void)state;
    static const struct store_migration older[] = { { 1, "items", "never run" }, { 0 } };
    struct place p;
    struct err e = { 0 };
    place_init(&p);
    place_open(&p);
    assert_true(put(p.s, 1, 1));
    place_close(&p);
    assert_null(try_open(&p, older, 0, &e));
    assert_int_equal(e.code, ERR_CONFIG);
    assert_non_null(strstr(e.text, "newer drover"));
    place_open(&p);
    assert_true(status(p.s).was_clean);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 1);
    place_deinit(&p);
}

static void a_step_that_fails_half_way_leaves_the_version_before(void **state) {
    (void)state;
    static const struct store_migration broken[] = {
        { 1, "items", "never run" }, { 2, "notes", "never run" }, { 3, "more", "CREATE TABLE more (id BIGINT);" },
        { 4, "half", "CREATE TABLE half (id BIGINT); INSERT INTO item (id, who) VALUES (77, 7); INSERT INTO nothere VALUES (1);" }, { 0 },
    };
    static const struct store_migration mended[] = {
        { 1, "items", "never run" }, { 2, "notes", "never run" }, { 3, "more", "never run" },
        { 4, "half", "CREATE TABLE half (id BIGINT)" }, { 0 },
    };
    struct place p;
    struct err e = { 0 };
    place_init(&p);
    place_open(&p);
    place_close(&p);
    assert_null(try_open(&p, broken, 0, &e));
    assert_non_null(strstr(e.text, "version 4 (half)"));
    assert_non_null(p.s = try_open(&p, mended, 0, &e));
    assert_int_equal(status(p.s).version, 4);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 0);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM store_migration"), 4);
    place_deinit(&p);
}

static void files_are_private(void **state) {
    (void)state;
    static const char *const ends[] = { "", "-wal", "-shm", ".lock" };
    struct place p;
    struct err e = { 0 };
    char path[128];
    mode_t was = umask(0);
    place_init(&p);
    snprintf(path, sizeof path, "%s/new", p.dir);
    snprintf(p.path, sizeof p.path, "%s/new/drover.db", p.dir);
    place_open(&p);
    umask(was);
    assert_int_equal(mode_of(path), 0700);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(path, sizeof path, "%s%s", p.path, ends[i]);
        assert_int_equal(mode_of(path), 0600);
    }
    place_close(&p);
    assert_int_equal(chmod(p.path, 0640), 0);
    assert_null(try_open(&p, tables, 0, &e));
    assert_int_equal(e.code, ERR_CONFIG);
    assert_non_null(strstr(e.text, "chmod 600"));
    assert_int_equal(chmod(p.path, 0600), 0);
    snprintf(path, sizeof path, "%s/new", p.dir);
    assert_int_equal(chmod(path, 0770), 0);
    assert_null(try_open(&p, tables, 0, &e));
    assert_non_null(strstr(e.text, "chmod 700"));
    place_deinit(&p);
}

static void what_is_no_store_is_refused(void **state) {
    (void)state;
    struct place p;
    struct err e = { 0 };
    char command[256];
    static char noise[20000];
    memset(noise, 'x', sizeof noise);
    place_init(&p);
    write_at(p.path, 0, noise, sizeof noise);
    assert_null(try_open(&p, tables, 0, &e));
    assert_int_equal(e.code, ERR_STORE);
    assert_non_null(strstr(e.text, "restore a backup"));
    assert_int_equal(unlink(p.path), 0);
    assert_int_equal(mkdir(p.path, 0700), 0);
    assert_null(try_open(&p, tables, 0, &e));
    assert_int_equal(rmdir(p.path), 0);
    /* A database, but not ours: 0x0 as application id and a table in it. */
    place_open(&p);
    assert_true(put(p.s, 1, 1));
    place_close(&p);
    write_at(p.path, 68, "\0\0\0\0", 4);
    assert_null(try_open(&p, tables, 0, &e));
    assert_int_equal(e.code, ERR_CONFIG);
    assert_non_null(strstr(e.text, "another program"));
    snprintf(command, sizeof command, "%s/no/such/drover.db", p.dir);
    assert_null(store_open(&(struct store_options){ .path = sv_of(command), .migrations = tables }, &e));
    assert_int_equal(e.code, ERR_CONFIG);
    place_deinit(&p);
}

static void the_schema_of_this_version_opens(void **state) {
    (void)state;
    struct place p;
    struct err e = { 0 };
    place_init(&p);
    p.s = try_open(&p, NULL, 0, &e);
    assert_non_null(p.s);
    place_deinit(&p);
}

int main(void) {
    log_set_level(LOG_ERROR - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_opener_is_told_who_has_it),
        cmocka_unit_test(a_newer_file_is_refused_and_left_alone),
        cmocka_unit_test(a_step_that_fails_half_way_leaves_the_version_before),
        cmocka_unit_test(files_are_private),
        cmocka_unit_test(what_is_no_store_is_refused),
        cmocka_unit_test(the_schema_of_this_version_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
