/* Each allocation fails once. */
#include "store/store_bench.h"

/* --- memory --------------------------------------------------------------------------------------------------------- */

static void opening_survives_each_failing_allocation(void **state) {
    (void)state;
    struct place p;
    place_init(&p);
    for (int fresh = 0; fresh < 2; fresh++) {
        for (long n = 1;; n += n < 80 ? 1 : fresh ? 23 : 5) {
            struct err e = { 0 };
            if (fresh)
                unlink(p.path);
            mem_fail_at(n, n % 2);
            p.s = try_open(&p, tables, 0, &e);
            int hit = mem_fail_hit();
            mem_fail_at(0, 0);
            if (!p.s && (!hit || e.code != ERR_NO_MEMORY))
                fail_msg("allocation %ld: %s", n, e.text);
            place_close(&p);
            if (!hit)
                break;
        }
    }
    place_open(&p);
    assert_true(put(p.s, 1, 1));
    place_deinit(&p);
}

static bool run_short_of_memory(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    char sql[128];
    mem_fail_at(t->n, 0);
    snprintf(sql, sizeof sql, "SELECT who, name FROM item WHERE id > %ld ORDER BY name", (long)t->n); /* in no cache */
    struct store_rows *r = store_query(tx, e, sql, NULL, 0);
    enum store_step step = STORE_FAULT;
    while (r && (step = store_next(r, e)) == STORE_ROW)
        ;
    return step == STORE_END && (t->job.reads || (insert(tx, t->id, 1, t->text, e) && insert(tx, t->id + 1, 2, t->text, e)));
}

static void on_short_done(struct store_job *job, const struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    t->number = mem_fail_hit();
    mem_fail_at(0, 0);
    on_done(job, e);
}

static void jobs_survive_each_failing_allocation(void **state) {
    (void)state;
    static char large[20000];
    struct place p;
    memset(large, 'x', sizeof large);
    place_init(&p);
    place_open(&p);
    for (int reads = 0; reads < 2; reads++) {
        int64_t id = 1, n_rows = ask(p.s, "SELECT count(*) FROM item");
        for (long n = 1, hit = 1; hit; n++) {
            struct task t;
            task_init(&t, run_short_of_memory, reads);
            t.job.done = on_short_done;
            t.text = (struct sv){ large, sizeof large };
            t.id = id += 2;
            t.n = n;
            task_submit(p.s, &t);
            bool ok = task_end(&t);
            hit = t.number;
            if (!ok && t.fault.code != ERR_NO_MEMORY)
                fail_msg("allocation %ld: %s", n, t.fault.text);
            assert_true(ok || hit);
            n_rows += ok && !reads ? 2 : 0;
            assert_true(store_is_well(p.s));
        }
        assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), n_rows);
    }
    assert_true(is_fine(p.s));
    place_deinit(&p);
}

/* done functions without a home run on the keeper, so one of them can arm the allocator for the job that comes next. */
static long keeper_fails_at;
static int keeper_hit;

static void on_arm(struct store_job *job, const struct err *e) {
    on_checked(job, e);
    mem_fail_at(keeper_fails_at, 0);
}

static void on_disarm(struct store_job *job, const struct err *e) {
    keeper_hit = mem_fail_hit();
    mem_fail_at(0, 0);
    on_backed_up(job, e);
}

static void on_disarm_check(struct store_job *job, const struct err *e) {
    keeper_hit = mem_fail_hit();
    mem_fail_at(0, 0);
    on_checked(job, e);
}

static void the_keeper_survives_each_failing_allocation(void **state) {
    (void)state;
    struct place p;
    char path[128];
    place_init(&p);
    place_open(&p);
    assert_true(put(p.s, 1, 500));
    snprintf(path, sizeof path, "%s/copy.db", p.dir);
    for (int checks = 0; checks < 2; checks++) {
        keeper_hit = 1;
        for (keeper_fails_at = 1; keeper_hit; keeper_fails_at += keeper_fails_at < 50 ? 1 : 9) {
            struct check arm, check = { 0 };
            struct backup copy = { 0 };
            check_begin(p.s, &arm, on_arm);
            check_end(&arm);
            if (checks) {
                check_begin(p.s, &check, on_disarm_check);
                check_end(&check);
            } else {
                backup_begin(p.s, &copy, path, on_disarm);
                backup_end(&copy);
            }
            const struct err *e = checks ? &check.fault : &copy.fault;
            if (e->code && (!keeper_hit || e->code != ERR_NO_MEMORY))
                fail_msg("allocation %ld: %s", keeper_fails_at, e->text);
            assert_int_equal(n_files(p.dir), checks || e->code ? 4 : 5); /* the store's four, and the copy or nothing */
            assert_true(store_is_well(p.s));
            unlink(path);
        }
    }
    place_deinit(&p);
}

int main(void) {
    log_set_level(LOG_ERROR - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_survives_each_failing_allocation),
        cmocka_unit_test(jobs_survive_each_failing_allocation),
        cmocka_unit_test(the_keeper_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
