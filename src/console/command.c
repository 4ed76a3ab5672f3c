/* console/command.c - an alert for a program of the operator's: step -> start -> on_exit, or on_deadline before it.
 *
 * The program is what the configuration file says, word by word: no shell ever sees it, and nothing of an alert stands in its arguments
 * or environment, only on its standard input. It has no other file of ours, a process group of its own that ends with it when it is late,
 * and its output goes nowhere, so that it can neither block on us nor fill anything. */
#include "console/outlet.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    AT_ONCE = 2,
    DEADLINE_MS = 30000,
    WORDS_MAX = 64, /* as the row of alerts.command has it */
};

struct command {
    struct loop *loop;
    struct config *config; /* shared; NULL before the first */
    struct outbox outbox;
    struct list running; /* of struct run */
    unsigned n_running;
};

/* Freed when both handles are closed. */
struct run {
    struct list running;
    struct command *command; /* NULL: its owner has gone */
    struct loop *loop;
    uv_process_t process;
    uv_pipe_t in;
    uv_write_t write;
    unsigned n_handles;
    struct timer deadline;
    struct message *message;
    uint64_t began_us;
    bool is_late;
};

static void on_closed(uv_handle_t *h) {
    struct run *r = h->data;
    if (--r->n_handles == 0)
        mem_free(r);
}

/* Closes what is open; the program, if it still runs, is nobody's any more. */
static void let_go(struct run *r) {
    struct command *c = r->command;
    timer_stop(r->loop, &r->deadline);
    list_drop(&r->running);
    if (c)
        c->n_running--;
    r->command = NULL;
    if (!uv_is_closing((uv_handle_t *)&r->in))
        uv_close((uv_handle_t *)&r->in, on_closed);
    uv_close((uv_handle_t *)&r->process, on_closed);
}

static void on_exit_status(uv_process_t *p, int64_t status, int signal) {
    struct run *r = p->data;
    struct command *c = r->command;
    struct message *m = r->message;
    char fault[64];
    if (r->is_late)
        snprintf(fault, sizeof fault, "killed: it ran longer than %d s", DEADLINE_MS / 1000);
    else if (signal)
        snprintf(fault, sizeof fault, "it was ended by signal %d", signal);
    else
        snprintf(fault, sizeof fault, "it exited with %d", (int)status);
    log_event(status == 0 && !signal ? LOG_INFO : LOG_WARN, "the command for alerts has ended", F_STR("alert", m->id),
              F_I64("exit", status), F_U64("signal", (uint64_t)signal), F_U64("ms", (clock_mono_us() - r->began_us) / 1000));
    let_go(r);
    if (status == 0 && !signal)
        outbox_taken(&c->outbox, m);
    else
        outbox_lost(&c->outbox, m, fault);
    command_step(c);
}

static void kill_all_of_it(struct run *r) {
    if (r->process.pid > 0)
        kill(-r->process.pid, SIGKILL);
}

static void on_deadline(void *arg) {
    struct run *r = arg;
    r->is_late = true;
    kill_all_of_it(r);
}

/* Written, or it closed its end without reading: either is its own affair. */
static void on_written(uv_write_t *w, int status) {
    struct run *r = w->data;
    (void)status;
    if (!uv_is_closing((uv_handle_t *)&r->in))
        uv_close((uv_handle_t *)&r->in, on_closed);
}

/* What we open closes on exec; this is for what we were started with. */
static void close_on_exec(void) {
#ifdef CLOSE_RANGE_CLOEXEC
    if (close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return;
#endif
    uv_disable_stdio_inheritance(); /* an older kernel: all up to the first gap behind 15 */
}

static int spawn(struct run *r, const struct config_list *words) {
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C.UTF-8";
    char *args[WORDS_MAX + 1] = { 0 }, *env[] = { path, lang, NULL };
    uv_stdio_container_t stdio[3] = { { .flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&r->in },
                                      { .flags = UV_IGNORE },
                                      { .flags = UV_IGNORE } };
    for (size_t i = 0; i < words->n && i < WORDS_MAX; i++)
        args[i] = (char *)(uintptr_t)words->v[i].p; /* uv_spawn changes none of them */
    const uv_process_options_t options = { .exit_cb = on_exit_status,
                                           .file = args[0],
                                           .args = args,
                                           .env = env,
                                           .cwd = "/",
                                           .flags = UV_PROCESS_DETACHED,
                                           .stdio_count = 3,
                                           .stdio = stdio };
    close_on_exec();
    return uv_spawn(&r->loop->uv, &r->process, &options);
}

static void start(struct command *c, struct message *m) {
    struct run *r = mem_new(sizeof *r);
    if (!r) {
        outbox_lost(&c->outbox, m, "out of memory");
        return;
    }
    *r = (struct run){ .command = c, .loop = c->loop, .message = m, .n_handles = 2, .began_us = clock_mono_us() };
    list_init(&r->running);
    list_push_back(&c->running, &r->running);
    c->n_running++;
    uv_pipe_init(&c->loop->uv, &r->in, 0);
    r->process.data = r->in.data = r->write.data = r;
    int code = spawn(r, &c->config->alerts.command);
    if (code != 0) {
        char fault[160];
        snprintf(fault, sizeof fault, "start %.100s: %s", c->config->alerts.command.v[0].p, uv_strerror(code));
        let_go(r);
        outbox_lost(&c->outbox, m, fault);
        return;
    }
    timer_set(c->loop, &r->deadline, DEADLINE_MS, on_deadline, r);
    uv_buf_t body = uv_buf_init(m->json, (unsigned)m->n);
    if (uv_write(&r->write, (uv_stream_t *)&r->in, &body, 1, on_written) != 0)
        uv_close((uv_handle_t *)&r->in, on_closed);
}

void command_step(struct command *c) {
    struct message *m;
    while (c->n_running < AT_ONCE && command_is_set(c) && (m = outbox_take(&c->outbox)))
        start(c, m);
}

void command_set(struct command *c, struct config *config) {
    struct config *was = c->config;
    c->config = config_ref(config);
    config_unref(was);
    if (!command_is_set(c))
        outbox_clear(&c->outbox, "there is no command any more");
}

bool command_is_set(const struct command *c) {
    return c->config && c->config->alerts.command.n > 0;
}

struct outbox *command_outbox(struct command *c) {
    return &c->outbox;
}

struct command *command_new(struct loop *l, struct err *e) {
    struct command *c = mem_new(sizeof *c);
    if (!c) {
        err_no_memory(e);
        return NULL;
    }
    c->loop = l;
    outbox_init(&c->outbox, "command");
    list_init(&c->running);
    return c;
}

void command_free(struct command *c) {
    if (!c)
        return;
    for (struct list *it; (it = c->running.next) != &c->running;) {
        struct run *r = CONTAINER(it, struct run, running);
        struct message *m = r->message;
        kill_all_of_it(r);
        let_go(r);
        outbox_lost(&c->outbox, m, "Drover ends");
    }
    outbox_clear(&c->outbox, "Drover ends");
    config_unref(c->config);
    mem_free(c);
}
