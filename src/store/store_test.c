/* Jobs, values and statements, and how it ends. */
#include "store/store_bench.h"

#include <math.h>

/* --- jobs ---------------------------------------------------------------------------------------------------------- */

static void what_is_written_is_there_after_reopening(void **state) {
    (void)state;
    struct place p;
    place_init(&p);
    place_open(&p);
    assert_true(status(p.s).was_clean);
    assert_int_equal(status(p.s).version, 2);
    assert_true(put(p.s, 1, 10));
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 10);
    place_close(&p);
    place_open(&p);
    assert_true(status(p.s).was_clean);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 10);
    struct store_status st = status(p.s);
    assert_int_equal(st.state, STORE_WELL);
    assert_int_equal(st.check, STORE_UNCHECKED);
    assert_true(st.file_bytes > 4096 && st.reads == 1 && st.writes == 0 && st.text[0] == '\0');
    place_deinit(&p);
}

static struct {
    struct loop loop;
    uv_thread_t thread;
    bool same;
} home;

static void on_done_at_home(struct store_job *job, const struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    uv_thread_t self = uv_thread_self();
    t->ok = !e;
    home.same = uv_thread_equal(&self, &home.thread);
    loop_stop(&home.loop);
}

static void done_runs_at_home(void **state) {
    (void)state;
    struct place p;
    struct task t;
    place_init(&p);
    place_open(&p);
    assert_true(loop_init(&home.loop, NULL));
    home.thread = uv_thread_self();
    for (int reads = 0; reads < 2; reads++) {
        home.same = false;
        task_init(&t, reads ? run_number : run_insert, reads);
        t.text = reads ? SV("SELECT 1 FROM item") : SV("x");
        t.job.home = &home.loop;
        t.job.done = on_done_at_home;
        task_submit(p.s, &t);
        loop_run(&home.loop);
        assert_true(t.ok && home.same);
    }
    loop_deinit(&home.loop);
    place_deinit(&p);
}

static bool run_note(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    return STORE_RUN(tx, e, "INSERT INTO item (id, who) VALUES ($1, $2)", STORE_I64(t->id), STORE_I64(t->number)) &&
           STORE_RUN(tx, e, "INSERT INTO note (item) VALUES ($1)", STORE_I64(t->id));
}

enum { SENDERS = 3, SENT = 300 };

struct sender {
    struct store *s;
    int number;
    struct task tasks[SENT];
    _Atomic int turn;
};

static void send_all(void *arg) {
    struct sender *w = arg;
    for (int i = 0; i < SENT; i++) {
        task_init(&w->tasks[i], run_note, false);
        w->tasks[i].id = w->number * 100000 + i;
        w->tasks[i].number = w->number;
        w->tasks[i].turn = &w->turn;
        task_submit(w->s, &w->tasks[i]);
        store_is_well(w->s);
        status(w->s);
    }
    for (int i = 0; i < SENT; i++)
        task_end(&w->tasks[i]);
}

static void jobs_of_one_submitter_commit_in_order(void **state) {
    (void)state;
    static struct sender senders[SENDERS];
    struct place p;
    uv_thread_t threads[SENDERS];
    place_init(&p);
    place_open(&p);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].s = p.s;
        senders[i].number = i + 1;
        senders[i].turn = 0;
        assert_int_equal(uv_thread_create(&threads[i], send_all, &senders[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++)
        uv_thread_join(&threads[i]);
    for (int i = 0; i < SENDERS; i++) {
        for (int k = 0; k < SENT; k++) {
            assert_true(senders[i].tasks[k].ok);
            assert_int_equal(senders[i].tasks[k].turn_was, k);
        }
    }
    assert_int_equal(ask(p.s, "SELECT count(*) FROM note"), SENDERS * SENT);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM note a JOIN note b ON a.item + 1 = b.item AND a.seq > b.seq"), 0);
    place_deinit(&p);
}

static void many_jobs_share_a_commit(void **state) {
    (void)state;
    enum { N = 400 };
    static struct task tasks[N];
    struct place p;
    struct gate g;
    place_init(&p);
    place_open(&p);
    uint64_t before = status(p.s).commits;
    gate_shut(&g, p.s, false, 1000000);
    for (int i = 0; i < N; i++) {
        task_init(&tasks[i], run_insert, false);
        tasks[i].id = i + 1;
        task_submit(p.s, &tasks[i]);
    }
    assert_int_equal(status(p.s).waiting, N);
    assert_true(gate_open(&g));
    for (int i = 0; i < N; i++)
        assert_true(task_end(&tasks[i]));
    struct store_status st = status(p.s);
    assert_int_equal(st.writes, N + 1);
    assert_true(st.commits - before < N / 4); /* mostly 2 to 10: some milliseconds each */
    assert_int_equal(st.waiting, 0);
    place_deinit(&p);
}

static bool run_half_and_twice(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    return insert(tx, t->id, 0, SV("half"), e) && insert(tx, 1, 0, SV("secret-value"), e);
}

static bool run_swallow(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    if (insert(tx, t->id, 0, SV("half"), NULL) && !insert(tx, t->id, 0, SV("again"), NULL))
        return true;
    return err_set(e, ERR_INTERNAL, "expected a fault");
}

static bool run_say_no(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    return insert(tx, t->id, 0, SV("half"), e) && err_set(e, ERR_DENIED, "no");
}

static void one_failing_job_fails_alone(void **state) {
    (void)state;
    struct place p;
    struct gate g;
    struct task t[7];
    place_init(&p);
    place_open(&p);
    gate_shut(&g, p.s, false, 1);
    for (int i = 0; i < 7; i++) {
        task_init(&t[i], i == 1 ? run_half_and_twice : i == 3 ? run_swallow : i == 5 ? run_say_no : run_insert, false);
        t[i].id = 100 + i;
        task_submit(p.s, &t[i]);
    }
    assert_true(gate_open(&g));
    for (int i = 0; i < 7; i++)
        assert_int_equal(task_end(&t[i]), i % 2 == 0);
    assert_int_equal(t[1].fault.code, ERR_EXISTS);
    assert_non_null(strstr(t[1].fault.text, "item"));
    assert_null(strstr(t[1].fault.text, "secret"));
    assert_int_equal(t[3].fault.code, ERR_EXISTS); /* swallowed, and told all the same */
    assert_int_equal(t[5].fault.code, ERR_DENIED);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item WHERE id > 100"), 3);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item WHERE name = 'half'"), 0);
    assert_int_equal(status(p.s).failed, 3);
    assert_true(store_is_well(p.s));
    place_deinit(&p);
}

static void a_full_queue_refuses(void **state) {
    (void)state;
    struct place p;
    struct gate g;
    struct task t[5];
    struct err e = { 0 };
    place_init(&p);
    assert_non_null(p.s = try_open(&p, tables, 4, &e));
    gate_shut(&g, p.s, false, 1);
    for (int i = 0; i < 5; i++) {
        task_init(&t[i], run_insert, false);
        t[i].id = 2 + i;
        if (i < 4)
            task_submit(p.s, &t[i]);
    }
    assert_false(store_submit(p.s, &t[4].job, &e));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "full"));
    assert_true(gate_open(&g));
    for (int i = 0; i < 4; i++)
        assert_true(task_end(&t[i]));
    task_submit(p.s, &t[4]);
    assert_true(task_end(&t[4]));
    place_deinit(&p);
}

static void a_reader_waits_for_no_writer(void **state) {
    (void)state;
    struct place p;
    struct gate g;
    place_init(&p);
    place_open(&p);
    assert_true(put(p.s, 1, 5));
    gate_shut(&g, p.s, false, 100); /* a transaction is open */
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 5);
    assert_true(gate_open(&g));
    gate_shut(&g, p.s, true, 0);
    assert_true(put(p.s, 200, 1)); /* nor the other way round */
    assert_true(gate_open(&g));
    place_deinit(&p);
}

static void all_threads_work_at_once(void **state) {
    (void)state;
    static struct sender senders[SENDERS];
    struct place p;
    struct backup k;
    char path[128];
    uv_thread_t threads[SENDERS];
    place_init(&p);
    place_open(&p);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].s = p.s;
        senders[i].number = i + 1;
        assert_int_equal(uv_thread_create(&threads[i], send_all, &senders[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/copy%d.db", p.dir, i);
        backup_begin(p.s, &k, path, on_backed_up);
        assert_int_equal(ask(p.s, "SELECT (SELECT count(*) FROM item) - (SELECT count(*) FROM note)"), 0);
        assert_true(is_fine(p.s));
        assert_true(backup_end(&k));
    }
    for (int i = 0; i < SENDERS; i++)
        uv_thread_join(&threads[i]);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), SENDERS * SENT);
    place_deinit(&p);
}

/* --- values and statements ----------------------------------------------------------------------------------------- */

static bool run_round_trip(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    /* $2 stands before $1: values go by number, not by place */
    if (!STORE_RUN(tx, e, "INSERT INTO item (name, data, id, who, size) VALUES ($2, $3, $1, $1, $4)", STORE_I64(INT64_MIN),
                   STORE_TEXT(t->text), STORE_BLOB(t->text), STORE_REAL(-1e300)))
        return false;
    struct store_rows *r = STORE_QUERY(tx, e, "SELECT name, data, id, size, who FROM item WHERE name = $1", STORE_TEXT(t->text));
    if (!r || store_next(r, e) != STORE_ROW)
        return err_set(e, ERR_INTERNAL, "not found");
    bool same = sv_eq(store_text(r, 0), t->text) && sv_eq(store_blob(r, 1), t->text) && store_i64(r, 2) == INT64_MIN &&
                store_real(r, 3) == -1e300 && !store_is_null(r, 4) && store_i64(r, 0) == 0 && store_text(r, 2).n == 0;
    struct store_rows *again = STORE_QUERY(tx, e, "SELECT name, data, id, size, who FROM item WHERE name = $1", STORE_TEXT(t->text));
    same = same && again && store_next(again, e) == STORE_ROW; /* the same statement a second time, while the first is open */
    if (again)
        store_end(again);
    if (!same || store_next(r, e) != STORE_END)
        return err_set(e, ERR_INTERNAL, "not the same");
    int64_t n = 0;
    return store_run(tx, e, "DELETE FROM item WHERE id = $1", &STORE_I64(INT64_MIN), 1, &n) &&
           (n == 1 || err_set(e, ERR_INTERNAL, "not deleted"));
}

static void hostile_texts_are_only_texts(void **state) {
    (void)state;
    static char large[1 << 20];
    memset(large, '\'', sizeof large);
    const struct sv texts[] = {
        SV(""), SV("'; DROP TABLE item; --"), SV("\"$1\" $2 ? ?1 :a @b"), SV("\\'\\\"%_\x01\x7f\r\n"), SV("\xf0\x9f\x90\x91 \xe2\x80\xae"),
        { large, sizeof large },
    };
    struct place p;
    place_init(&p);
    place_open(&p);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct task t;
        task_init(&t, run_round_trip, false);
        t.text = texts[i];
        task_submit(p.s, &t);
        if (!task_end(&t))
            fail_msg("text %zu: %s", i, t.fault.text);
    }
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 0);
    place_deinit(&p);
}

static bool run_wrong(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    switch (t->id) {
    case 0: return insert(tx, 1, 1, SV("a\0b"), e);
    case 1: return insert(tx, 1, 1, SV("\xc0\xaf"), e);
    case 2: return STORE_RUN(tx, e, "INSERT INTO item (id, who, size) VALUES (1, 1, $1)", STORE_REAL((double)NAN));
    case 3: return STORE_RUN(tx, e, "INSERT INTO item (id, who) VALUES (1, $1)");
    case 4: return STORE_RUN(tx, e, "INSERT INTO item (id, who) VALUES (1, $1)", STORE_I64(1), STORE_I64(2));
    case 5: return STORE_RUN(tx, e, "INSERT INTO item (id, who) VALUES (1, ?)", STORE_I64(1));
    case 6: return STORE_RUN(tx, e, "INSERT INTO item (id, who) VALUES (1, 1); DELETE FROM item");
    case 7: return STORE_RUN(tx, e, "INSERT INTO item (id, who) VALUES (1, $1)", STORE_NULL);
    case 8: return STORE_RUN(tx, e, "INSERT INTO note (item) VALUES ($1)", STORE_I64(4711));
    case 9: return STORE_RUN(tx, e, "INSERT INTO nothere (item) VALUES ($1)", STORE_I64(1));
    case 10: return STORE_RUN(tx, e, "");
    case 11: return STORE_RUN(tx, e, "SELECT count(*) FROM item WHERE name = \"item\"");
    default: return false;
    }
}

static void wrong_values_and_statements_are_faults(void **state) {
    (void)state;
    struct place p;
    place_init(&p);
    place_open(&p);
    for (int i = 0; i < 13; i++) {
        struct task t;
        task_init(&t, run_wrong, false);
        t.id = i;
        task_submit(p.s, &t);
        assert_false(task_end(&t));
        assert_int_equal(t.fault.code, i < 3 ? ERR_BAD_REQUEST : ERR_INTERNAL);
        assert_null(strstr(t.fault.text, "4711"));
        assert_true(t.fault.text[0] != '\0');
    }
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 0);
    struct task t;
    task_init(&t, run_insert, true);
    task_submit(p.s, &t);
    assert_false(task_end(&t));
    assert_non_null(strstr(t.fault.text, "only reads"));
    assert_true(store_is_well(p.s));
    place_deinit(&p);
}

static bool run_many_statements(struct store_tx *tx, struct store_job *job, struct err *e) {
    for (int i = 0; i < 300; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "SELECT id FROM item WHERE who = %d", i % 200);
        struct store_rows *r = store_query(tx, e, sql, NULL, 0);
        if (!r || (i % 3 && store_next(r, e) != STORE_END))
            return false;
    }
    return true;
}

static void statements_come_and_go(void **state) {
    (void)state;
    struct place p;
    struct task t;
    place_init(&p);
    place_open(&p);
    task_init(&t, run_many_statements, true);
    task_submit(p.s, &t);
    assert_true(task_end(&t));
    place_deinit(&p);
}

/* --- closing ------------------------------------------------------------------------------------------------------- */

static bool run_for_ever(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    uv_sem_post(t->reached);
    struct store_rows *r = store_query(tx, e, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", NULL, 0);
    return r && store_next(r, e) == STORE_ROW;
}

static void closing_works_off_the_queue_until_the_deadline(void **state) {
    (void)state;
    struct place p;
    struct gate g;
    struct task t[3];
    uv_sem_t reached;
    place_init(&p);
    place_open(&p);
    gate_shut(&g, p.s, false, 1);
    task_init(&t[0], run_insert, false);
    t[0].id = 2;
    task_submit(p.s, &t[0]);
    uv_sem_post(&g.go);
    place_close(&p);
    assert_true(task_end(&t[0]));
    assert_true(task_end(&g.task));
    place_open(&p);
    assert_true(status(p.s).was_clean);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 2);
    uv_sem_init(&reached, 0);
    task_init(&t[0], run_for_ever, false);
    t[0].reached = &reached;
    task_submit(p.s, &t[0]);
    uv_sem_wait(&reached);
    task_init(&t[1], run_insert, false);
    t[1].id = 3;
    task_submit(p.s, &t[1]);
    task_init(&t[2], run_for_ever, true);
    t[2].reached = &reached;
    task_submit(p.s, &t[2]);
    store_close(p.s, 50);
    for (int i = 0; i < 3; i++) {
        assert_false(task_end(&t[i]));
        assert_int_equal(t[i].fault.code, ERR_CANCELED);
    }
    place_open(&p);
    assert_true(status(p.s).was_clean);
    assert_int_equal(ask(p.s, "SELECT count(*) FROM item"), 2);
    place_deinit(&p);
}

/* --- speed ---------------------------------------------------------------------------------------------------------- */

enum { WIDE_ROWS = 100, WIDE_IN_FLIGHT = 64, WIDE_JOBS = 3000 };

static const struct store_migration wide[] = {
    { 1, "wide", "CREATE TABLE wide (c1 INTEGER PRIMARY KEY, c2 BIGINT, c3 BIGINT, c4 BIGINT, c5 BIGINT, c6 BIGINT, c7 BIGINT, c8 BIGINT,"
                 "c9 BIGINT, c10 BIGINT, c11 DOUBLE PRECISION, c12 DOUBLE PRECISION, c13 TEXT, c14 TEXT, c15 TEXT, c16 TEXT, c17 TEXT, c18 TEXT,"
                 "c19 BIGINT, c20 BIGINT);" },
    { 0 },
};

static bool run_wide(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    for (int64_t i = t->id; i < t->id + WIDE_ROWS; i++)
        if (!STORE_RUN(tx, e,
                       "INSERT INTO wide (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20) VALUES"
                       " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
                       STORE_I64(i), STORE_I64(1795000000000 + i), STORE_I64(i * 7), STORE_I64(200), STORE_I64(1024), STORE_I64(i % 4096),
                       STORE_I64(0), STORE_I64(12345), STORE_I64(99), STORE_I64(i * 3), STORE_REAL(0.25), STORE_REAL(1.5 * (double)i),
                       STORE_TEXT(SV("k-3f9a0c2b")), STORE_TEXT(SV("llama-3.3-70b-instruct")), STORE_TEXT(SV("ollama@gpu-3")),
                       STORE_TEXT(SV("openai-chat")), STORE_TEXT(SV("stop")), STORE_NULL, STORE_I64(1), STORE_I64(0)))
            return false;
    return true;
}

static int speed(char *path) {
    static struct task tasks[WIDE_IN_FLIGHT];
    struct err e;
    struct rusage a, b;
    struct store *s = store_open(&(struct store_options){ .path = sv_of(path), .migrations = wide }, &e);
    if (!s)
        return 1;
    getrusage(RUSAGE_SELF, &a);
    uint64_t begin = clock_mono_us();
    for (int i = 0; i < WIDE_JOBS + WIDE_IN_FLIGHT; i++) {
        struct task *t = &tasks[i % WIDE_IN_FLIGHT];
        if (i >= WIDE_IN_FLIGHT && !task_end(t))
            return 1;
        if (i < WIDE_JOBS) {
            task_init(t, run_wide, false);
            t->id = 1 + (int64_t)i * WIDE_ROWS;
            task_submit(s, t);
        }
    }
    double wall = (double)(clock_mono_us() - begin) / 1e6;
    getrusage(RUSAGE_SELF, &b);
    double cpu = (double)(b.ru_utime.tv_sec - a.ru_utime.tv_sec + b.ru_stime.tv_sec - a.ru_stime.tv_sec) +
                 (double)(b.ru_utime.tv_usec - a.ru_utime.tv_usec + b.ru_stime.tv_usec - a.ru_stime.tv_usec) / 1e6;
    struct store_status st = status(s);
    printf("%d rows, %llu commits: %.0f rows per second of CPU, %.0f per second; %llu bytes\n", WIDE_JOBS * WIDE_ROWS,
           (unsigned long long)st.commits, WIDE_JOBS * WIDE_ROWS / cpu, WIDE_JOBS * WIDE_ROWS / wall, (unsigned long long)st.file_bytes);
    store_close(s, 10000);
    return 0;
}

/* store_test --speed FILE measures. */
int main(int argc, char **argv) {
    log_set_level(LOG_ERROR - 1);
    if (argc == 3 && strcmp(argv[1], "--speed") == 0)
        return speed(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_there_after_reopening),
        cmocka_unit_test(done_runs_at_home),
        cmocka_unit_test(jobs_of_one_submitter_commit_in_order),
        cmocka_unit_test(many_jobs_share_a_commit),
        cmocka_unit_test(one_failing_job_fails_alone),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(a_reader_waits_for_no_writer),
        cmocka_unit_test(all_threads_work_at_once),
        cmocka_unit_test(hostile_texts_are_only_texts),
        cmocka_unit_test(wrong_values_and_statements_are_faults),
        cmocka_unit_test(statements_come_and_go),
        cmocka_unit_test(closing_works_off_the_queue_until_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
