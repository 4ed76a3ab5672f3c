/* Damage, checks and backups. */
#include "store/store_bench.h"

/* --- damage --------------------------------------------------------------------------------------------------------- */

static bool run_read_all(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct store_rows *r = store_query(tx, e, "SELECT id, name FROM item ORDER BY name", NULL, 0);
    enum store_step step;
    if (!r)
        return false;
    while ((step = store_next(r, e)) == STORE_ROW)
        ;
    return step == STORE_END;
}

static void damage_is_reported_and_no_crash(void **state) {
    (void)state;
    static char noise[30000];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * 2654435761u >> 13);
    for (int kind = 0; kind < 3; kind++) {
        struct place p;
        struct task t;
        struct err e = { 0 };
        struct stat st;
        place_init(&p);
        place_open(&p);
        for (int i = 0; i < 20; i++)
            assert_true(put(p.s, 1 + i * 500, 500));
        place_close(&p);
        assert_int_equal(stat(p.path, &st), 0);
        if (kind == 0)
            write_at(p.path, st.st_size / 2, noise, sizeof noise);
        else if (kind == 1)
            assert_int_equal(truncate(p.path, st.st_size / 2), 0);
        else
            write_at(p.path, 4096 * 6 + 5, "\xff\xff\xff", 3); /* one page's head */
        p.s = try_open(&p, tables, 0, &e);
        if (p.s) {
            task_init(&t, run_read_all, true);
            task_submit(p.s, &t);
            if (!task_end(&t)) {
                assert_int_equal(t.fault.code, ERR_STORE);
                assert_int_equal(status(p.s).state, STORE_DAMAGED);
            }
            assert_false(is_fine(p.s));
            assert_int_equal(status(p.s).check, STORE_BAD);
            assert_int_equal(status(p.s).state, STORE_DAMAGED);
            task_init(&t, run_insert, false);
            assert_false(store_submit(p.s, &t.job, &e));
        }
        assert_int_equal(e.code, ERR_STORE);
        place_deinit(&p);
    }
}

/* --- checks and backups --------------------------------------------------------------------------------------------- */

static void a_shell_says(const char *path, const char *sql) {
    sqlite3 *h;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(h);
}

static void after_an_unclean_end_damage_is_found_in_the_background(void **state) {
    (void)state;
    static char noise[30000];
    struct place p;
    struct stat st;
    place_init(&p);
    place_open(&p);
    for (int i = 0; i < 20; i++)
        assert_true(put(p.s, 1 + i * 500, 500));
    place_close(&p);
    a_shell_says(p.path, "UPDATE store_mark SET value = 0 WHERE name = 'clean'");
    assert_int_equal(stat(p.path, &st), 0);
    memset(noise, 0x55, sizeof noise);
    write_at(p.path, st.st_size / 2, noise, sizeof noise);
    place_open(&p); /* damage or not: opening does not wait for the check */
    wait_check(p.s, STORE_BAD);
    wait_state(p.s, STORE_DAMAGED);
    assert_true(status(p.s).check_text[0] != '\0');
    assert_false(store_is_well(p.s));
    place_close(&p);
    place_open(&p); /* a damaged store is never marked as clean */
    assert_false(status(p.s).was_clean);
    place_deinit(&p);
}

static void a_full_check_reads_references_too(void **state) {
    (void)state;
    struct place p;
    place_init(&p);
    place_open(&p);
    assert_true(put(p.s, 1, 100));
    assert_true(is_fine(p.s));
    assert_int_equal(status(p.s).check, STORE_FINE);
    assert_true(status(p.s).check_ms > 0);
    place_close(&p);
    /* A reference to nothing cannot be made through the store; a shell does not look. */
    a_shell_says(p.path, "INSERT INTO note (item) VALUES (4711)");
    place_open(&p);
    assert_false(is_fine(p.s));
    assert_int_equal(status(p.s).state, STORE_DAMAGED);
    assert_non_null(strstr(status(p.s).check_text, "note"));
    place_deinit(&p);
}

static void a_backup_is_one_state_while_others_write(void **state) {
    (void)state;
    struct place p;
    struct backup k;
    char path[128];
    int64_t id = 1;
    place_init(&p);
    place_open(&p);
    for (; id < 20000; id += 500)
        assert_true(put(p.s, id, 500));
    snprintf(path, sizeof path, "%s/copy.db", p.dir);
    int64_t before = ask(p.s, "SELECT count(*) FROM item");
    backup_begin(p.s, &k, path, on_backed_up);
    int n_meanwhile = 0;
    while (uv_sem_trywait(&k.over) != 0) {
        assert_true(put(p.s, id, 100)); /* jobs of 100 rows: a copy with a part of one is not one state */
        id += 100;
        n_meanwhile++;
    }
    uv_sem_post(&k.over);
    if (!backup_end(&k))
        fail_msg("%s", k.fault.text);
    assert_int_equal(mode_of(path), 0600);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, k.b.ret_bytes);
    backup_begin(p.s, &k, path, on_backed_up);
    assert_false(backup_end(&k));
    assert_int_equal(k.fault.code, ERR_EXISTS);
    backup_begin(p.s, &k, "/no/such/directory/copy.db", on_backed_up);
    assert_false(backup_end(&k));
    assert_true(store_is_well(p.s)); /* another disk's faults are not the store's */
    place_close(&p);
    assert_int_equal(n_files(p.dir), 3); /* the store, its lock, the copy; nothing half-made */
    snprintf(p.path, sizeof p.path, "%s", path);
    place_open(&p);
    int64_t n = ask(p.s, "SELECT count(*) FROM item");
    assert_true(n >= before && n <= before + (int64_t)n_meanwhile * 100 && (n - before) % 100 == 0);
    assert_int_equal(ask(p.s, "SELECT max(id) FROM item"), n);
    assert_true(is_fine(p.s));
    place_deinit(&p);
}

static void a_full_disk_of_the_backup_leaves_nothing(void **state) {
    (void)state;
    struct place p;
    struct backup k;
    char path[128];
    place_init(&p);
    place_open(&p);
    for (int i = 0; i < 40; i++)
        assert_true(put(p.s, 1 + i * 500, 500));
    assert_true(is_fine(p.s));
    snprintf(path, sizeof path, "%s/copy.db", p.dir);
    limit_files(300000);
    backup_begin(p.s, &k, path, on_backed_up);
    bool ok = backup_end(&k);
    limit_files(RLIM_INFINITY);
    assert_false(ok);
    assert_int_equal(k.fault.code, ERR_STORE);
    assert_true(store_is_well(p.s));
    place_close(&p);
    assert_int_equal(n_files(p.dir), 2);
    place_deinit(&p);
}

static void closing_ends_a_backup(void **state) {
    (void)state;
    struct place p;
    struct backup k[3];
    char path[3][128];
    place_init(&p);
    place_open(&p);
    for (int i = 0; i < 40; i++)
        assert_true(put(p.s, 1 + i * 500, 500));
    for (int i = 0; i < 3; i++) {
        snprintf(path[i], sizeof path[i], "%s/copy%d.db", p.dir, i);
        backup_begin(p.s, &k[i], path[i], on_backed_up);
    }
    place_close(&p);
    int n_done = 0;
    for (int i = 0; i < 3; i++) {
        bool ok = backup_end(&k[i]);
        n_done += ok;
        assert_true(ok || k[i].fault.code == ERR_CANCELED);
    }
    assert_int_equal(n_files(p.dir), 2 + n_done);
    place_deinit(&p);
}

int main(void) {
    log_set_level(LOG_ERROR - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_is_reported_and_no_crash),
        cmocka_unit_test(after_an_unclean_end_damage_is_found_in_the_background),
        cmocka_unit_test(a_full_check_reads_references_too),
        cmocka_unit_test(a_backup_is_one_state_while_others_write),
        cmocka_unit_test(a_full_disk_of_the_backup_leaves_nothing),
        cmocka_unit_test(closing_ends_a_backup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
