/* store/store_bench.h - for the tests of this room: a database of their own, jobs that one can wait for, gates that hold a thread. */
#ifndef DROVER_STORE_STORE_BENCH_H
#define DROVER_STORE_STORE_BENCH_H

#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

struct place {
    char dir[64], path[96];
    struct store *s;
};

static inline void place_init(struct place *p) {
    snprintf(p->dir, sizeof p->dir, "/tmp/drover-store-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/drover.db", p->dir);
    p->s = NULL;
}

static inline struct store *try_open(const struct place *p, const struct store_migration *list, unsigned queue_max, struct err *e) {
    return store_open(&(struct store_options){ .path = sv_of(p->path), .migrations = list, .queue_max = queue_max }, e);
}

static inline void place_open(struct place *p) {
    struct err e = { 0 };
    p->s = try_open(p, tables, 0, &e);
    if (!p->s)
        fail_msg("%s", e.text);
}

static inline void place_close(struct place *p) {
    store_close(p->s, 10000);
    p->s = NULL;
}

static inline void place_deinit(struct place *p) {
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

static inline void on_done(struct store_job *job, const struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    t->ok = !e;
    if (e)
        t->fault = *e;
    if (t->turn)
        t->turn_was = (*t->turn)++;
    uv_sem_post(&t->over);
}

static inline void task_init(struct task *t, bool (*run)(struct store_tx *, struct store_job *, struct err *), bool reads) {
    memset(t, 0, sizeof *t);
    uv_sem_init(&t->over, 0);
    t->job.run = run;
    t->job.done = on_done;
    t->job.reads = reads;
}

static inline void task_submit(struct store *s, struct task *t) {
    struct err e = { 0 };
    if (!store_submit(s, &t->job, &e))
        fail_msg("%s", e.text);
}

static inline bool task_end(struct task *t) {
    uv_sem_wait(&t->over);
    uv_sem_destroy(&t->over);
    return t->ok;
}

static inline bool insert(struct store_tx *tx, int64_t id, int64_t who, struct sv name, struct err *e) {
    return STORE_RUN(tx, e, "INSERT INTO item (id, who, name, data, size) VALUES ($1, $2, $3, $4, $5)", STORE_I64(id), STORE_I64(who),
                     STORE_TEXT(name), STORE_NULL, STORE_REAL(0.5));
}

static inline bool run_insert(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    for (int64_t i = 0; i < (t->n ? t->n : 1); i++)
        if (!insert(tx, t->id + i, t->number, t->text.n ? t->text : SV("a"), e))
            return false;
    return true;
}

static inline bool run_gate(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    uv_sem_post(t->reached);
    uv_sem_wait(t->go);
    return t->job.reads || run_insert(tx, job, e);
}

static inline bool run_number(struct store_tx *tx, struct store_job *job, struct err *e) {
    struct task *t = CONTAINER(job, struct task, job);
    struct store_rows *r = store_query(tx, e, t->text.p, NULL, 0);
    if (!r || store_next(r, e) != STORE_ROW)
        return false;
    t->number = store_i64(r, 0);
    return true;
}

/* The number that one query finds. */
static inline int64_t ask(struct store *s, const char *sql) {
    struct task t;
    task_init(&t, run_number, true);
    t.text = sv_of(sql);
    task_submit(s, &t);
    if (!task_end(&t))
        fail_msg("%s", t.fault.text);
    return t.number;
}

static inline bool put(struct store *s, int64_t id, int64_t n) {
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

static inline void gate_shut(struct gate *g, struct store *s, bool reads, int64_t id) {
    uv_sem_init(&g->reached, 0);
    uv_sem_init(&g->go, 0);
    task_init(&g->task, run_gate, reads);
    g->task.reached = &g->reached;
    g->task.go = &g->go;
    g->task.id = id;
    task_submit(s, &g->task);
    uv_sem_wait(&g->reached);
}

static inline bool gate_open(struct gate *g) {
    uv_sem_post(&g->go);
    bool ok = task_end(&g->task);
    uv_sem_destroy(&g->reached);
    uv_sem_destroy(&g->go);
    return ok;
}

static inline struct store_status status(struct store *s) {
    struct store_status st;
    store_status(s, &st);
    return st;
}

static inline void wait_state(struct store *s, enum store_state state) {
    for (int i = 0; i < 3000 && status(s).state != state; i++)
        usleep(10000);
    assert_int_equal(status(s).state, state);
}

static inline void wait_check(struct store *s, enum store_finding finding) {
    for (int i = 0; i < 3000 && status(s).check != finding; i++)
        usleep(10000);
    if (status(s).check != finding)
        fail_msg("check: %s %s", store_finding_name(status(s).check), status(s).check_text);
}

static inline void write_at(const char *path, off_t at, const char *bytes, size_t n) {
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
    close(fd);
}

static inline void limit_files(rlim_t bytes) {
    struct rlimit l;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

struct check {
    struct store_check c;
    uv_sem_t over;
    struct err fault;
};

static inline void on_checked(struct store_job *job, const struct err *e) {
    struct check *k = CONTAINER(job, struct check, c.job);
    if (e)
        k->fault = *e;
    uv_sem_post(&k->over);
}

static inline void check_begin(struct store *s, struct check *k, void (*done)(struct store_job *job, const struct err *e)) {
    struct err e = { 0 };
    memset(k, 0, sizeof *k);
    uv_sem_init(&k->over, 0);
    k->c.job.done = done;
    if (!store_check(s, &k->c, &e))
        fail_msg("%s", e.text);
}

static inline void check_end(struct check *k) {
    uv_sem_wait(&k->over);
    uv_sem_destroy(&k->over);
}

/* The answer of a full check. A fault of it is a failed test. */
static inline bool is_fine(struct store *s) {
    struct check k;
    check_begin(s, &k, on_checked);
    check_end(&k);
    if (k.fault.code)
        fail_msg("%s", k.fault.text);
    assert_int_equal(k.c.ret_text[0] == '\0', k.c.ret_fine);
    return k.c.ret_fine;
}

struct backup {
    struct store_backup b;
    uv_sem_t over;
    bool ok;
    struct err fault;
};

static inline void on_backed_up(struct store_job *job, const struct err *e) {
    struct backup *k = CONTAINER(job, struct backup, b.job);
    k->ok = !e;
    if (e)
        k->fault = *e;
    uv_sem_post(&k->over);
}

static inline void backup_begin(struct store *s, struct backup *k, const char *path,
                         void (*done)(struct store_job *job, const struct err *e)) {
    struct err e = { 0 };
    memset(k, 0, sizeof *k);
    uv_sem_init(&k->over, 0);
    k->b.job.done = done;
    k->b.path = path;
    if (!store_backup(s, &k->b, &e))
        fail_msg("%s", e.text);
}

static inline bool backup_end(struct backup *k) {
    uv_sem_wait(&k->over);
    uv_sem_destroy(&k->over);
    return k->ok;
}

static inline int n_files(const char *dir) {
    char command[160];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", dir);
    FILE *f = popen(command, "r");
    int n = 0;
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

static inline int mode_of(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (int)(st.st_mode & 0777);
}

#endif
