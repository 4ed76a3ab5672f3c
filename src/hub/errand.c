/* hub/errand.c - take (known: say where it stands, and no more) -> check -> journal -> ack -> turn -> journal -> run -> journal -> result,
 * again and again until the hub has it.
 *
 * errand_step is the one place that looks at an errand as a whole: what has changed is written before anybody is told, one row at a time. */
#include "hub/errand.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/member_room.h"
#include "hub/moment.h"
#include "hub/room.h"

enum {
    LOOK_MS = 200,        /* while something runs */
    TICK_MS = 1000,       /* while something is not over, or not told */
    SAY_LEAST_MS = 1000,  /* between two steps of progress of one */
    SAY_MOST_MS = 10000,
    AGAIN_MS = 30000,     /* until a result is told again on the same link */
    TOLD_AT_ONCE = 20,    /* results told in one tick: what the hub takes of a link's messages is bounded */
};

static void on_tick(void *arg);
static void errand_step(struct errands *x, struct errand *d);

static uint64_t now_ms(const struct errands *x) {
    return loop_now_ms(x->loop);
}

static void arm(struct errands *x) {
    if (!timer_is_set(&x->tick) && !x->is_stopping)
        timer_set(x->loop, &x->tick, x->n_running ? LOOK_MS : TICK_MS, on_tick, x);
}

/* --- saying --------------------------------------------------------------------------------------------------------------------------------- */

static void put(struct buf *out, const char *name, const char *v) {
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, sv_of(v));
}

static void send_and_free(struct member *m, enum link_kind kind, struct buf *out, struct sv re) {
    if (m->now && !out->failed)
        wire_send(m->now->wire, kind, buf_sv(out), re);
    buf_deinit(out);
}

static void say_ack(struct member *m, struct sv id, const char *code, const char *message, struct sv re) {
    struct buf out = BUF_MAX(4096);
    buf_add(&out, SV("{\"scope\":\"node\",\"directive_id\":"));
    buf_add_json(&out, id);
    buf_printf(&out, ",\"accepted\":%s", code ? "false" : "true");
    if (code) {
        put(&out, "code", code);
        put(&out, "message", message);
    }
    buf_add_char(&out, '}');
    send_and_free(m, KIND_ACK, &out, re);
}

static void say_progress(struct errands *x, struct errand *d) {
    struct buf out = BUF_MAX(4096);
    buf_add(&out, SV("{\"directive_id\":"));
    buf_add_json(&out, sv_of(d->id));
    put(&out, "stage", op__stage(d));
    put(&out, "message", d->message);
    buf_add_char(&out, '}');
    send_and_free(x->member, KIND_DIRECTIVE_PROGRESS, &out, SV_NULL);
    d->said_ms = now_ms(x);
}

static void say_result(struct errands *x, struct errand *d) {
    struct buf out = BUF_MAX(DIRECTIVE_DETAIL_MAX + 4096);
    char at[25];
    buf_add(&out, SV("{\"directive_id\":"));
    buf_add_json(&out, sv_of(d->id));
    put(&out, "status", directive_state_name(d->state));
    if (d->code[0])
        put(&out, "code", d->code);
    buf_add(&out, SV(",\"detail\":"));
    if (d->detail.n)
        buf_add(&out, buf_sv(&d->detail));
    else
        buf_add(&out, SV("null"));
    if (d->started_ms)
        put(&out, "started_at", clock_iso8601(d->started_ms, at));
    put(&out, "finished_at", clock_iso8601(d->ended_ms, at));
    buf_add_char(&out, '}');
    send_and_free(x->member, KIND_DIRECTIVE_RESULT, &out, SV_NULL);
    d->sent_ms = now_ms(x);
}

/* Where it stands, to a hub that asks (again). */
static void say_state(struct errands *x, struct errand *d, struct sv re) {
    bool refused = d->state == DIRECTIVE_REFUSED;
    say_ack(x->member, sv_of(d->id), refused ? d->code : NULL, d->message, re);
    if (d->state == DIRECTIVE_RUNNING && (!d->said_ms || now_ms(x) - d->said_ms >= SAY_LEAST_MS))
        say_progress(x, d);
    else if (directive_is_over(d->state) && !refused && d->on_disk == d->state)
        say_result(x, d);
}

/* --- one step ------------------------------------------------------------------------------------------------------------------------------- */

static void detail_message(struct errand *d) {
    if (d->detail.n || !d->message[0])
        return;
    buf_add(&d->detail, SV("{\"message\":"));
    buf_add_json(&d->detail, sv_of(d->message));
    buf_add_char(&d->detail, '}');
}

void errand__end(struct errands *x, struct errand *d, enum directive_state how, const char *code, const char *message) {
    x->n_running -= d->state == DIRECTIVE_RUNNING;
    d->state = how;
    d->ended_ms = clock_wall_ms();
    if (*code)
        snprintf(d->code, sizeof d->code, "%s", code);
    if (*message)
        snprintf(d->message, sizeof d->message, "%s", message);
    detail_message(d);
    log_event(how == DIRECTIVE_SUCCEEDED ? LOG_INFO : LOG_WARN, "a directive of the hub has ended", F_STR("directive", d->id), F_STR("op", directive_op_name(d->op)),
              F_STR("status", directive_state_name(how)), F_STR("code", d->code));
    errand_step(x, d);
}

static void take_step(struct errands *x, struct errand *d, enum op_step s) {
    if (d->state != DIRECTIVE_RUNNING)
        return; /* ended by what its operation did */
    if (s == OP_DONE)
        errand__end(x, d, DIRECTIVE_SUCCEEDED, "", "");
    else if (s == OP_FAILED)
        errand__end(x, d, DIRECTIVE_FAILED, "", "");
}

static void begin(struct errands *x, struct errand *d) {
    d->is_begun = true;
    d->begun_ms = now_ms(x);
    log_event(LOG_INFO, "a directive of the hub begins", F_STR("directive", d->id), F_STR("op", directive_op_name(d->op)));
    say_progress(x, d);
    take_step(x, d, op__begin(x->member, d));
    if (d->state == DIRECTIVE_RUNNING && !x->is_stopping)
        timer_set(x->loop, &x->tick, LOOK_MS, on_tick, x);
}

static void errand_step(struct errands *x, struct errand *d) {
    struct err e;
    arm(x);
    if (d->is_writing || !d->has_row)
        return;
    if ((d->on_disk != d->state || d->told_on_disk != d->is_told) && !journal__write(x, d, NULL, &e)) {
        log_event(LOG_WARN, "the journal of directives cannot be written; it is tried again", F_STR("directive", d->id), F_STR("cause", e.text));
        return;
    }
    if (d->is_writing)
        return;
    if (d->state == DIRECTIVE_RUNNING && !d->is_begun && !x->is_stopping)
        begin(x, d);
    else if (directive_is_over(d->state) && d->state != DIRECTIVE_REFUSED && !d->is_told && !d->sent_ms)
        say_result(x, d);
}

/* --- whose turn it is ----------------------------------------------------------------------------------------------------------------------- */

/* Whether one before it is not over that has to be. */
static bool is_behind(const struct errands *x, const struct errand *d) {
    enum directive_line line = directive_op_line(d->op);
    LIST_FOR(it, &x->all) {
        const struct errand *o = CONTAINER(it, struct errand, all);
        if (o == d)
            return false;
        if (line != LINE_NONE && directive_op_line(o->op) == line && !directive_is_over(o->state))
            return true;
    }
    return false;
}

static void start_those_due(struct errands *x) {
    uint64_t wall = clock_wall_ms();
    LIST_FOR(it, &x->all) {
        struct errand *d = CONTAINER(it, struct errand, all);
        if (d->state != DIRECTIVE_QUEUED || !d->has_row || d->is_writing || x->is_stopping)
            continue;
        if (wall >= d->expires_ms) {
            errand__end(x, d, DIRECTIVE_EXPIRED, "expired", "it could not begin in time");
        } else if (!is_behind(x, d) && (x->n_running < ERRANDS_RUNNING || d->op == OP_CANCEL)) {
            d->state = DIRECTIVE_RUNNING;
            d->started_ms = wall;
            x->n_running++;
            errand_step(x, d);
        }
    }
}

void errand__written(struct errands *x, struct errand *d, const struct err *e) {
    if (e && !d->has_row) { /* it was never taken */
        log_event(LOG_WARN, "a directive of the hub was refused: the journal cannot be written", F_STR("directive", d->id), F_STR("cause", e->text));
        say_ack(x->member, sv_of(d->id), "internal", "the journal of this node cannot be written", SV_NULL);
        errand__free(x, d);
        return;
    }
    if (e) {
        arm(x); /* the next tick tries again */
        return;
    }
    if (d->state == DIRECTIVE_QUEUED || d->state == DIRECTIVE_REFUSED)
        say_state(x, d, SV_NULL);
    if (d->state != DIRECTIVE_QUEUED)
        errand_step(x, d);
    start_those_due(x);
}

/* --- taking one ------------------------------------------------------------------------------------------------------------------------------ */

/* Both moments are the hub's, so that the clocks need not agree. What the journal has forgotten is older than this. */
static bool is_forgotten(const struct envelope *m) {
    int64_t issued = moment_ms(json_str(m->payload, "issued_at")), sent = moment_ms(m->ts);
    return issued < 0 || sent < 0 || sent - issued >= ERRAND_KEEP_MS;
}

/* Why it is not taken; NULL: it is. message is filled with why. */
static const char *verdict(const struct errands *x, const struct envelope *m, enum directive_op op, char message[static DIRECTIVE_TEXT_MAX]) {
    const struct config *c = *x->member->house.config;
    struct err e;
    const char *code = NULL;
    message[0] = '\0';
    if (!directive_op_is_done_here(op)) {
        code = "unsupported_op";
        snprintf(message, DIRECTIVE_TEXT_MAX, "this version does not carry out %s", directive_op_name(op));
    } else if (!directive_is_allowed(c, directive_op_need(op))) {
        code = "not_allowed";
        snprintf(message, DIRECTIVE_TEXT_MAX, "the settings of this node do not allow it: %s", directive_need_setting(directive_op_need(op)));
    } else if (!directive_args_check(op, json_get(m->payload, "args"), false, &e)) {
        code = "invalid_payload";
        snprintf(message, DIRECTIVE_TEXT_MAX, "%s", e.text);
    } else if (is_forgotten(m)) {
        code = "directive_forgotten";
        snprintf(message, DIRECTIVE_TEXT_MAX, "\"issued_at\" is missing or a day old: a journal that has forgotten it could not tell it from a new one");
    }
    return code;
}

static char *print_args(yyjson_val *args) {
    size_t n = 0;
    char *text = args ? yyjson_val_write_opts(args, 0, &json_heap, &n, NULL) : mem_str("{}", 2);
    if (n <= DIRECTIVE_ARGS_MAX)
        return text;
    mem_free(text);
    return NULL;
}

/* Who asked, for the audit log of this machine. */
static void print_audit(const struct envelope *m, const struct errand *d, char to[static 400]) {
    char by[HUB_DETAIL_MAX], why[HUB_DETAIL_MAX];
    struct sv principal = hub__clean(sv_first(json_str(m->payload, "principal"), 64), by), reason = hub__clean(sv_first(json_str(m->payload, "reason"), 100), why);
    snprintf(to, 400, "%s for %.*s%s%.*s%s%s", d->id, SV_FMT(principal), reason.n ? ": " : "", SV_FMT(reason), d->code[0] ? "; " : "", d->code);
}

static void supersede(struct errands *x, struct sv id) {
    struct errand *d = id.n ? errand__find(x, id) : NULL;
    if (d && d->state == DIRECTIVE_QUEUED)
        errand__end(x, d, DIRECTIVE_SUPERSEDED, "superseded", "");
}

static bool fill(struct errands *x, struct errand *d, const struct envelope *m, enum directive_op op) {
    uint64_t wall = clock_wall_ms();
    const char *code = verdict(x, m, op, d->message);
    d->op = op;
    d->state = code ? DIRECTIVE_REFUSED : DIRECTIVE_QUEUED;
    snprintf(d->code, sizeof d->code, "%s", code ? code : "");
    d->received_ms = wall;
    d->expires_ms = wall + (uint64_t)json_i64(m->payload, "expires_ms", DIRECTIVE_EXPIRES_MIN_MS);
    d->timeout_ms = (uint64_t)json_i64(m->payload, "timeout_ms", 0);
    d->timeout_ms = d->timeout_ms ? d->timeout_ms : DIRECTIVE_TIMEOUT_MS;
    d->ended_ms = code ? wall : 0;
    d->is_told = code != NULL; /* the ack is all there is to tell */
    d->args = code ? mem_str("{}", 2) : print_args(json_get(m->payload, "args"));
    return d->args != NULL;
}

static void take_new(struct errands *x, const struct envelope *m, struct sv id, enum directive_op op) {
    struct errand *d = x->n < ERRANDS_MAX ? errand__new(x, id) : NULL;
    char audit[400];
    struct err e;
    if (!d) {
        say_ack(x->member, id, "busy", "the journal of this node holds as many directives as it may; the oldest go after a day", m->msg_id);
        return;
    }
    if (!fill(x, d, m, op)) {
        say_ack(x->member, id, "too_large", "\"args\" is larger than a node keeps, or memory is out", m->msg_id);
        errand__free(x, d);
        return;
    }
    if (d->state == DIRECTIVE_QUEUED)
        supersede(x, json_str(m->payload, "supersedes"));
    print_audit(m, d, audit);
    if (!journal__write(x, d, audit, &e))
        errand__written(x, d, &e);
}

void errands__take(struct member *m, const struct envelope *e) {
    struct errands *x = m->errands;
    struct sv id = json_str(e->payload, "directive_id");
    enum directive_op op;
    if (!x) {
        say_ack(m, id, "internal", "the journal of this node cannot be read", e->msg_id);
        return;
    }
    if (x->is_stopping)
        return; /* no answer: the hub sends it again on the next link */
    struct errand *known = errand__find(x, id);
    if (known) {
        if (known->has_row)
            say_state(x, known, e->msg_id);
        return;
    }
    if (!directive_id_is_good(id) || !directive_op_read(json_str(e->payload, "op"), &op)) {
        say_ack(x->member, id, "invalid_payload", "directive_id must be 1 to 128 of A-Z a-z 0-9 . _ : -", e->msg_id);
        return;
    }
    take_new(x, e, id, op);
}

void errands__acknowledged(struct member *m, yyjson_val *payload) {
    struct errand *d = m->errands ? errand__find(m->errands, json_str(payload, "directive_id")) : NULL;
    if (!d || d->is_told || !directive_is_over(d->state) || d->on_disk != d->state)
        return;
    d->is_told = true;
    errand_step(m->errands, d);
}

/* --- time ----------------------------------------------------------------------------------------------------------------------------------- */

static void look(struct errands *x, struct errand *d) {
    uint64_t now = now_ms(x);
    if (d->state != DIRECTIVE_RUNNING || !d->is_begun) {
        if (d->has_row && !d->is_writing && (d->on_disk != d->state || d->told_on_disk != d->is_told))
            errand_step(x, d);
        return;
    }
    if (now - d->begun_ms >= d->timeout_ms) {
        (void)op__stop(x->member, d);
        errand__end(x, d, DIRECTIVE_TIMED_OUT, "", "it was not done within its time");
        return;
    }
    take_step(x, d, op__look(x->member, d));
    if (d->state == DIRECTIVE_RUNNING && now - d->said_ms >= SAY_MOST_MS)
        say_progress(x, d);
}

static void tell_again(struct errands *x) {
    uint64_t now = now_ms(x);
    unsigned n = 0;
    LIST_FOR(it, &x->all) {
        struct errand *d = CONTAINER(it, struct errand, all);
        if (x->member->now && n < TOLD_AT_ONCE && directive_is_over(d->state) && !d->is_told && d->on_disk == d->state &&
            (!d->sent_ms || now - d->sent_ms >= AGAIN_MS)) {
            say_result(x, d);
            n++;
        }
    }
}

static bool is_idle(const struct errands *x) {
    LIST_FOR(it, &x->all) {
        const struct errand *d = CONTAINER(it, struct errand, all);
        if (!directive_is_over(d->state) || !d->is_told || d->on_disk != d->state || d->told_on_disk != d->is_told)
            return false;
    }
    return true;
}

static void on_tick(void *arg) {
    struct errands *x = arg;
    LIST_FOR(it, &x->all)
        look(x, CONTAINER(it, struct errand, all));
    start_those_due(x);
    tell_again(x);
    journal__prune(x, clock_wall_ms());
    if (!is_idle(x))
        arm(x);
}

void errands__up(struct member *m) {
    struct errands *x = m->errands;
    if (!x)
        return;
    LIST_FOR(it, &x->all)
        CONTAINER(it, struct errand, all)->sent_ms = 0;
    arm(x);
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------------- */

/* What ran when the process ended: nobody knows how far it came, so it is not run again. */
static void settle(struct errands *x) {
    LIST_FOR(it, &x->all) {
        struct errand *d = CONTAINER(it, struct errand, all);
        if (d->state == DIRECTIVE_RUNNING) {
            x->n_running++;
            if (d->op == OP_RESTART)
                errand__end(x, d, DIRECTIVE_SUCCEEDED, "", "started anew");
            else
                errand__end(x, d, DIRECTIVE_FAILED, "interrupted", "this node ended while it ran");
        }
    }
    arm(x);
}

void errands__open(struct member *m) {
    struct err e;
    if (m->errands || !m->house.store || !m->house.n_berths)
        return;
    struct errands *x = errands__new(m, m->house.store, m->house.loop, m->state.node_id);
    if (x && journal__load(x, &e)) {
        m->errands = x;
        settle(x);
        return;
    }
    log_event(LOG_ERROR, "no directives are taken: their journal cannot be read", F_STR("cause", x ? e.text : "out of memory"));
    errands__unref(x);
}

void errands__stop(struct member *m) {
    if (!m->errands)
        return;
    m->errands->is_stopping = true;
    timer_stop(m->errands->loop, &m->errands->tick);
}

void errands__close(struct member *m, bool forget) {
    struct errands *x = m->errands;
    if (!x)
        return;
    m->errands = NULL;
    m->is_draining = false;
    if (forget)
        journal__forget(x);
    timer_stop(x->loop, &x->tick);
    x->member = NULL;
    errands__unref(x);
}
