/* The process is killed, the disk is full or fails: what was told is there, and the rest is told. */
#include "store/store_bench.h"

#ifdef __linux__
#include <sys/syscall.h>
#endif

/* --- kill -9 ------------------------------------------------------------------------------------------------------- */

enum { CHILD_JOBS = 64, CHILD_ROWS = 10 };

static struct store *child_store;
static int64_t child_next;

/* Tells the parent the first row of what is safe, and sends the next job from the store's own thread. */
static void on_child_done(struct store_job *job, const struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    if (e || write(1, &t->id, sizeof t->id) != sizeof t->id)
        _exit(3);
    t->id = child_next;
    child_next += CHILD_ROWS;
    struct err why;
    if (!store_submit(child_store, &t->job, &why))
        _exit(4);
}

static bool run_child_insert(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    for (int i = 0; i < CHILD_ROWS; i++)
        if (!insert(tx, t->id + i, i, SV("a row that must not be lost once it was acknowledged"), e))
            return false;
    return true;
}

static int child(char *path) {
    static struct task tasks[CHILD_JOBS];
    struct err e;
    child_store = store_open(&(struct store_options){ .path = sv_of(path), .migrations = tables }, &e);
    if (!child_store)
        return 2;
    child_next = ask(child_store, "SELECT coalesce(max(id), 0) + 1 FROM item");
    struct gate g;
    gate_shut(&g, child_store, false, -child_next); /* all are queued before the first is done */
    for (int i = 0; i < CHILD_JOBS; i++) {
        task_init(&tasks[i], run_child_insert, false);
        tasks[i].job.done = on_child_done;
        tasks[i].id = child_next;
        child_next += CHILD_ROWS;
        task_submit(child_store, &tasks[i]);
    }
    gate_open(&g);
    for (;;)
        pause();
}

static void nothing_acknowledged_is_lost_by_a_kill(void **state) {
    (void)state;
    struct place p;
    int64_t id, all = 0;
    place_init(&p);
    for (int round = 0; round < 10; round++) {
        int ends[2], n = 0, n_before_kill = 1 + round * 40;
        int64_t first = -1, last = -1;
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(ends[1], 1);
            close(ends[0]);
            close(ends[1]);
            execl("/proc/self/exe", "failing_test", "--child", p.path, (char *)NULL);
            _exit(5);
        }
        close(ends[1]);
        while (read(ends[0], &id, sizeof id) == sizeof id) { /* also what it said between the kill and its end */
            first = first < 0 ? id : first;
            last = id;
            if (++n == n_before_kill)
                kill(pid, SIGKILL);
        }
        close(ends[0]);
        int how;
        assert_int_equal(waitpid(pid, &how, 0), pid);
        assert_true(WIFSIGNALED(how) && n >= n_before_kill);
        assert_int_equal(last - first, (int64_t)(n - 1) * CHILD_ROWS); /* in the order submitted */
        place_open(&p);
        assert_false(status(p.s).was_clean);
        char sql[128];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM item WHERE id >= %lld AND id < %lld", (long long)first, (long long)last + CHILD_ROWS);
        assert_int_equal(ask(p.s, sql), (int64_t)n * CHILD_ROWS);
        all += (int64_t)n * CHILD_ROWS;
        assert_true(ask(p.s, "SELECT count(*) FROM item") >= all);
        assert_int_equal(ask(p.s, "SELECT count(*) FROM item WHERE who = 0 AND id > 0"), /* jobs are whole */
                         ask(p.s, "SELECT count(*) FROM item WHERE who = 9"));
        wait_check(p.s, STORE_FINE);
        place_close(&p);
    }
    place_deinit(&p);
}

/* --- a disk that fails ---------------------------------------------------------------------------------------------- */

static void a_full_disk_is_told_at_once_and_heals(void **state) {
    (void)state;
    struct place p;
    struct err e = { 0 };
    struct task t;
    int64_t id = 1, n_good = 0;
    place_init(&p);
    place_open(&p);
    for (int round = 0; round < 2; round++) {
        limit_files(round ? 0 : (rlim_t)status(p.s).file_bytes + 200000);
        for (bool ok = true; ok; id += 100) {
            task_init(&t, run_insert, false);
            t.id = id;
            t.n = 100;
            if (!store_submit(p.s, &t.job, &e)) {
                fail_msg("refused before it failed: %s", e.text);
            }
            ok = task_end(&t);
            n_good += ok ? 100 : 0;
        }
        assert_int_equal(t.fault.code, ERR_STORE);
        assert_non_null(strstr(t.fault.text, strerror(EFBIG)));
        if (round) { /* in the other round small writes still fit, so a probe may have succeeded meanwhile */
            assert_false(store_is_well(p.s));
            assert_int_equal(status(p.s).state, STORE_FAILING);
            assert_false(store_submit(p.s, &t.job, &e));
            assert_int_equal(e.code, ERR_STORE);
            assert_non_null(strstr(e.text, "failing"));
            assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), n_good); /* reading goes on */
            uint64_t since = status(p.s).since_ms;
            usleep(1500000); /* longer than a probe takes to come: it is still failing */
            assert_int_equal(status(p.s).state, STORE_FAILING);
            assert_int_equal(status(p.s).since_ms, since);
        }
        limit_files(RLIM_INFINITY);
        wait_state(p.s, STORE_WELL);
        assert_true(status(p.s).text[0] != '\0');
        assert_true(put(p.s, id, 10));
        id += 10;
        n_good += 10;
        assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), n_good);
        wait_check(p.s, STORE_FINE); /* the device failed, so all was looked at */
    }
    place_close(&p);
    place_open(&p);
    assert_true(status(p.s).was_clean);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), n_good);
    place_deinit(&p);
}

static void jobs_that_wait_when_the_disk_fails_are_told(void **state) {
    (void)state;
    struct place p;
    struct gate g;
    struct task t[50];
    place_init(&p);
    place_open(&p);
    gate_shut(&g, p.s, false, 1);
    for (int i = 0; i < 50; i++) {
        task_init(&t[i], run_insert, false);
        t[i].id = 1000 * (i + 1);
        t[i].n = 100;
        task_submit(p.s, &t[i]);
    }
    limit_files(0);
    uv_sem_post(&g.go);
    for (int i = 0; i < 50; i++) {
        assert_false(task_end(&t[i]));
        assert_int_equal(t[i].fault.code, ERR_STORE);
    }
    assert_false(task_end(&g.task));
    limit_files(RLIM_INFINITY);
    wait_state(p.s, STORE_WELL);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 0);
    place_deinit(&p);
}

/* The program's own fdatasync stands before the C library's, for SQLite as well. */
#ifdef __linux__
static _Atomic bool sync_fails;

int fdatasync(int fd) {
    if (!sync_fails)
        return (int)syscall(SYS_fdatasync, fd);
    errno = EIO;
    return -1;
}

static void a_failed_sync_is_never_taken_for_a_success(void **state) {
    (void)state;
    struct place p;
    struct task t;
    place_init(&p);
    place_open(&p);
    assert_true(put(p.s, 1, 10));
    sync_fails = true;
    task_init(&t, run_insert, false);
    t.id = 100;
    task_submit(p.s, &t);
    assert_false(task_end(&t));
    assert_int_equal(t.fault.code, ERR_STORE);
    assert_non_null(strstr(t.fault.text, strerror(EIO)));
    assert_int_equal(status(p.s).state, STORE_FAILING);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 10);
    sync_fails = false;
    wait_state(p.s, STORE_WELL);
    wait_check(p.s, STORE_FINE); /* the device failed, so all is read again */
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 10);
    assert_true(put(p.s, 200, 10));
    place_close(&p);
    place_open(&p);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 20);
    place_deinit(&p);
}
#endif

static void another_program_that_locks_the_file_is_named(void **state) {
    (void)state;
    struct place p;
    struct task t;
    sqlite3 *h;
    place_init(&p);
    place_open(&p);
    assert_int_equal(sqlite3_open(p.path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    task_init(&t, run_insert, false);
    task_submit(p.s, &t);
    assert_false(task_end(&t));
    assert_int_equal(t.fault.code, ERR_STORE);
    assert_non_null(strstr(t.fault.text, "other program"));
    assert_false(store_is_well(p.s));
    assert_int_equal(sqlite3_exec(h, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    wait_state(p.s, STORE_WELL);
    sqlite3_close(h);
    assert_true(put(p.s, 1, 1));
    place_deinit(&p);
}

/* failing_test --child FILE is what nothing_acknowledged_is_lost_by_a_kill starts. */
int main(int argc, char **argv) {
    log_set_level(LOG_ERROR - 1);
    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return child(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_by_a_kill),
        cmocka_unit_test(a_full_disk_is_told_at_once_and_heals),
        cmocka_unit_test(jobs_that_wait_when_the_disk_fails_are_told),
#ifdef __linux__
        cmocka_unit_test(a_failed_sync_is_never_taken_for_a_success),
#endif
        cmocka_unit_test(another_program_that_locks_the_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
