/* The store against real files: order, groups, faults, a killed process, a full disk, damage. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/clock.h"
#include "base/log.h"

static const struct store_migration tables[] = {
    { 1, "items", "CREATE TABLE item (id BIGINT PRIMARY KEY, who BIGINT NOT NULL, name TEXT, data BLOB, size DOUBLE PRECISION);"
                  "CREATE INDEX item_who ON item (who);" },
    { 2, "notes", "CREATE TABLE note (seq INTEGER PRIMARY KEY, item BIGINT NOT NULL REFERENCES item (id));" },
    { 0 },
};

/* --- a bench ------------------------------------------------------------------------------------------------------- */

struct place {
    char dir[64], path[96];
    struct store *s;
};

static void place_init(struct place *p) {
    snprintf(p->dir, sizeof p->dir, "/tmp/drover-store-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/drover.db", p->dir);
    p->s = NULL;
}

static struct store *try_open(const struct place *p, const struct store_migration *list, unsigned queue_max, struct err *e) {
    return store_open(&(struct store_options){ .path = sv_of(p->path), .migrations = list, .queue_max = queue_max }, e);
}

static void place_open(struct place *p) {
    struct err e = { 0 };
    p->s = try_open(p, tables, 0, &e);
    if (!p->s)
        fail_msg("%s", e.text);
}

static void place_close(struct place *p) {
    store_close(p->s, 10000);
    p->s = NULL;
}

static void place_deinit(struct place *p) {
    char command[128];
    place_close(p);
    snprintf(command, sizeof command, "rm -rf '%s'", p->dir);
    assert_int_equal(system(command), 0);
}

/* A job one can wait for, and what the tests' run functions need. */
struct task {
    struct store_job job;
    uv_sem_t over;
    bool ok;
    struct err fault;
    int64_t id, number, n;
    struct sv text;
    uv_sem_t *reached, *go; /* a gate: it says that it is there, and waits */
    _Atomic int *turn;
    int turn_was;
};

static void on_done(struct store_job *job, const struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    t->ok = !e;
    if (e)
        t->fault = *e;
    if (t->turn)
        t->turn_was = (*t->turn)++;
    uv_sem_post(&t->over);
}

static void task_init(struct task *t, bool (*run)(struct store_tx *, struct store_job *, struct err *), bool reads) {
    memset(t, 0, sizeof *t);
    uv_sem_init(&t->over, 0);
    t->job.run = run;
    t->job.done = on_done;
    t->job.reads = reads;
}

static void task_submit(struct store *s, struct task *t) {
    struct err e = { 0 };
    if (!store_submit(s, &t->job, &e))
        fail_msg("%s", e.text);
}

static bool task_end(struct task *t) {
    uv_sem_wait(&t->over);
    uv_sem_destroy(&t->over);
    return t->ok;
}

static bool insert(struct store_tx *tx, int64_t id, int64_t who, struct sv name, struct err *e) {
    return STORE_RUN(tx, e, "INSERT INTO item (id, who, name, data, size) VALUES ($1, $2, $3, $4, $5)", STORE_I64(id), STORE_I64(who),
                     STORE_TEXT(name), STORE_NULL, STORE_REAL(0.5));
}

static bool run_insert(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    for (int64_t i = 0; i < (t->n ? t->n : 1); i++)
        if (!insert(tx, t->id + i, t->number, t->text.n ? t->text : SV("a"), e))
            return false;
    return true;
}

static bool run_gate(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    uv_sem_post(t->reached);
    uv_sem_wait(t->go);
    return t->job.reads || run_insert(tx, job, e);
}

static bool run_number(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    struct store_rows *r = store_query(tx, e, t->text.p, NULL, 0);
    if (!r || store_next(r, e) != STORE_ROW)
        return false;
    t->number = store_i64(r, 0);
    return true;
}

/* The number that one query finds. */
static int64_t ask(struct store *s, const char *sql) {
    struct task t;
    task_init(&t, run_number, true);
    t.text = sv_of(sql);
    task_submit(s, &t);
    if (!task_end(&t))
        fail_msg("%s", t.fault.text);
    return t.number;
}

static bool put(struct store *s, int64_t id, int64_t n) {
    struct task t;
    task_init(&t, run_insert, false);
    t.id = id;
    t.n = n;
    task_submit(s, &t);
    return task_end(&t);
}

/* A job that holds its thread until gate_open. */
struct gate {
    struct task task;
    uv_sem_t reached, go;
};

static void gate_shut(struct gate *g, struct store *s, bool reads, int64_t id) {
    uv_sem_init(&g->reached, 0);
    uv_sem_init(&g->go, 0);
    task_init(&g->task, run_gate, reads);
    g->task.reached = &g->reached;
    g->task.go = &g->go;
    g->task.id = id;
    task_submit(s, &g->task);
    uv_sem_wait(&g->reached);
}

static bool gate_open(struct gate *g) {
    uv_sem_post(&g->go);
    bool ok = task_end(&g->task);
    uv_sem_destroy(&g->reached);
    uv_sem_destroy(&g->go);
    return ok;
}

static struct store_status status(struct store *s) {
    struct store_status st;
    store_status(s, &st);
    return st;
}

static void wait_state(struct store *s, enum store_state state) {
    for (int i = 0; i < 3000 && status(s).state != state; i++)
        usleep(10000);
    assert_int_equal(status(s).state, state);
}

static void wait_check(struct store *s, enum store_finding finding) {
    for (int i = 0; i < 3000 && status(s).check != finding; i++)
        usleep(10000);
    if (status(s).check != finding)
        fail_msg("check: %s %s", store_finding_name(status(s).check), status(s).check_text);
}

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

static int mode_of(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (int)(st.st_mode & 0777);
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

static void write_at(const char *path, off_t at, const char *bytes, size_t n) {
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
    close(fd);
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
            execl("/proc/self/exe", "store_test", "--child", p.path, (char *)NULL);
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

static void limit_files(rlim_t bytes) {
    struct rlimit l;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void a_full_disk_is_told_at_once_and_heals(void **state) {
    (void)state;
    struct place p;
    struct err e = { 0 };
    struct task t;
    int64_t id = 1, n_good = 0;
    place_init(&p);
    place_open(&p);
    signal(SIGXFSZ, SIG_IGN);
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

struct check {
    struct store_check c;
    uv_sem_t over;
    struct err fault;
};

static void on_checked(struct store_job *job, const struct err *e) {
    struct check *k = CONTAINER(job, struct check, c.job);
    if (e)
        k->fault = *e;
    uv_sem_post(&k->over);
}

static void check_begin(struct store *s, struct check *k, void (*done)(struct store_job *job, const struct err *e)) {
    struct err e = { 0 };
    memset(k, 0, sizeof *k);
    uv_sem_init(&k->over, 0);
    k->c.job.done = done;
    if (!store_check(s, &k->c, &e))
        fail_msg("%s", e.text);
}

static void check_end(struct check *k) {
    uv_sem_wait(&k->over);
    uv_sem_destroy(&k->over);
}

/* The answer of a full check. A fault of it is a failed test. */
static bool is_fine(struct store *s) {
    struct check k;
    check_begin(s, &k, on_checked);
    check_end(&k);
    if (k.fault.code)
        fail_msg("%s", k.fault.text);
    assert_int_equal(k.c.ret_text[0] == '\0', k.c.ret_fine);
    return k.c.ret_fine;
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

struct backup {
    struct store_backup b;
    uv_sem_t over;
    bool ok;
    struct err fault;
};

static void on_backed_up(struct store_job *job, const struct err *e) {
    struct backup *k = CONTAINER(job, struct backup, b.job);
    k->ok = !e;
    if (e)
        k->fault = *e;
    uv_sem_post(&k->over);
}

static void backup_begin(struct store *s, struct backup *k, const char *path,
                         void (*done)(struct store_job *job, const struct err *e)) {
    struct err e = { 0 };
    memset(k, 0, sizeof *k);
    uv_sem_init(&k->over, 0);
    k->b.job.done = done;
    k->b.path = path;
    if (!store_backup(s, &k->b, &e))
        fail_msg("%s", e.text);
}

static bool backup_end(struct backup *k) {
    uv_sem_wait(&k->over);
    uv_sem_destroy(&k->over);
    return k->ok;
}

static int n_files(const char *dir) {
    char command[160];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", dir);
    FILE *f = popen(command, "r");
    int n = 0;
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
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

/* store_test --speed FILE measures; --child FILE is what nothing_acknowledged_is_lost_by_a_kill starts. */
int main(int argc, char **argv) {
    log_set_level(LOG_ERROR - 1);
    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return child(argv[2]);
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
        cmocka_unit_test(hostile_texts_are_only_texts),
        cmocka_unit_test(wrong_values_and_statements_are_faults),
        cmocka_unit_test(statements_come_and_go),
        cmocka_unit_test(the_second_opener_is_told_who_has_it),
        cmocka_unit_test(a_newer_file_is_refused_and_left_alone),
        cmocka_unit_test(a_step_that_fails_half_way_leaves_the_version_before),
        cmocka_unit_test(files_are_private),
        cmocka_unit_test(what_is_no_store_is_refused),
        cmocka_unit_test(the_schema_of_this_version_opens),
        cmocka_unit_test(closing_works_off_the_queue_until_the_deadline),
        cmocka_unit_test(nothing_acknowledged_is_lost_by_a_kill),
        cmocka_unit_test(a_full_disk_is_told_at_once_and_heals),
        cmocka_unit_test(jobs_that_wait_when_the_disk_fails_are_told),
#ifdef __linux__
        cmocka_unit_test(a_failed_sync_is_never_taken_for_a_success),
#endif
        cmocka_unit_test(another_program_that_locks_the_file_is_named),
        cmocka_unit_test(damage_is_reported_and_no_crash),
        cmocka_unit_test(after_an_unclean_end_damage_is_found_in_the_background),
        cmocka_unit_test(a_full_check_reads_references_too),
        cmocka_unit_test(a_backup_is_one_state_while_others_write),
        cmocka_unit_test(all_threads_work_at_once),
        cmocka_unit_test(a_full_disk_of_the_backup_leaves_nothing),
        cmocka_unit_test(closing_ends_a_backup),
        cmocka_unit_test(opening_survives_each_failing_allocation),
        cmocka_unit_test(jobs_survive_each_failing_allocation),
        cmocka_unit_test(the_keeper_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
