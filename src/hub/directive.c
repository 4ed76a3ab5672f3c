#include "hub/directive.h"

#include <stdio.h>

/* --- states --------------------------------------------------------------------------------------------------------------------------------- */

#define X(id, name, next) [id] = { name, next },
static const struct {
    const char *name;
    unsigned next;
} states[] = { DIRECTIVE_STATES(X) };
#undef X

const char *directive_state_name(enum directive_state s) {
    return states[s].name;
}

bool directive_may(enum directive_state from, enum directive_state to) {
    return (states[from].next & TO(to)) != 0;
}

bool directive_is_over(enum directive_state s) {
    return s == DIRECTIVE_REFUSED || s == DIRECTIVE_UNKNOWN || (TO(s) & DIRECTIVE_ENDS) != 0;
}

bool directive_id_is_good(struct sv id) {
    bool ok = id.n >= 1 && id.n <= DIRECTIVE_ID_MAX;
    for (size_t i = 0; ok && i < id.n; i++) {
        char c = id.p[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == ':' || c == '-';
    }
    return ok;
}

bool directive_end_read(struct sv word, enum directive_state *ret) {
    for (unsigned s = 0; s < DIRECTIVE_STATE_COUNT; s++)
        if ((TO(s) & DIRECTIVE_ENDS) && sv_eq(word, sv_of(states[s].name))) {
            *ret = (enum directive_state)s;
            return true;
        }
    return false;
}

/* --- operations ----------------------------------------------------------------------------------------------------------------------------- */

#define X(id, word, need, line, here) [id] = { word, need, line, here },
static const struct {
    const char *word;
    enum directive_need need;
    enum directive_line line;
    bool here;
} ops[] = { DIRECTIVE_OPS(X) };
#undef X

bool directive_op_read(struct sv word, enum directive_op *ret) {
    for (unsigned i = 0; i < DIRECTIVE_OP_COUNT; i++)
        if (sv_eq(word, sv_of(ops[i].word))) {
            *ret = (enum directive_op)i;
            return true;
        }
    return false;
}

const char *directive_op_name(enum directive_op op) {
    return ops[op].word;
}

enum directive_need directive_op_need(enum directive_op op) {
    return ops[op].need;
}

enum directive_line directive_op_line(enum directive_op op) {
    return ops[op].line;
}

bool directive_op_is_done_here(enum directive_op op) {
    return ops[op].here;
}

const char *directive_need_setting(enum directive_need need) {
    static const char *const settings[] = { [NEED_NOTHING] = "",
                                            [NEED_INFERENCE] = "join.allow.inference",
                                            [NEED_MODELS] = "join.allow.models",
                                            [NEED_CONFIG] = "join.allow.config",
                                            [NEED_CERTS] = "join.allow.certs",
                                            [NEED_JOBS] = "join.allow.jobs",
                                            [NEED_RESTART] = "join.allow.restart" };
    return settings[need];
}

bool directive_is_allowed(const struct config *c, enum directive_need need) {
    const bool allowed[] = { [NEED_NOTHING] = true,
                             [NEED_INFERENCE] = c->join.allow.inference,
                             [NEED_MODELS] = c->join.allow.models,
                             [NEED_CONFIG] = c->join.allow.config,
                             [NEED_CERTS] = c->join.allow.certs,
                             [NEED_JOBS] = c->join.allow.jobs,
                             [NEED_RESTART] = c->join.allow.restart };
    return allowed[need];
}

/* --- arguments ------------------------------------------------------------------------------------------------------------------------------ */

struct arg {
    const char *name;
    enum { ARG_WORD, ARG_TEXT, ARG_MS } kind;
    bool needed;
    int64_t min, max; /* of ARG_MS; max bytes of ARG_TEXT */
    const char *const *words;
};
static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
static const char *const modes[] = { "soft", "hard", NULL };
static const char *const whats[] = { "directive", "exchange", "job", NULL };

static const struct arg refresh[] = { { "endpoint_id", ARG_TEXT, false, 1, 64, NULL }, { 0 } };
static const struct arg log_level[] = { { "level", ARG_WORD, true, 0, 0, levels }, { "ttl_ms", ARG_MS, false, 1000, 86400000, NULL }, { 0 } };
static const struct arg restart[] = { { "grace_ms", ARG_MS, false, 0, 600000, NULL }, { 0 } };
static const struct arg drain[] = { { "mode", ARG_WORD, false, 0, 0, modes }, { "deadline_ms", ARG_MS, false, 0, 86400000, NULL }, { 0 } };
static const struct arg cancel[] = { { "what", ARG_WORD, true, 0, 0, whats }, { "id", ARG_TEXT, true, 1, DIRECTIVE_ID_MAX, NULL }, { 0 } };
static const struct arg none[] = { { 0 } };

/* NULL: not done here, so nobody here knows what it takes. */
static const struct arg *const takes[DIRECTIVE_OP_COUNT] = {
    [OP_REFRESH] = refresh, [OP_LOG_LEVEL] = log_level, [OP_RESTART] = restart,  [OP_DRAIN] = drain,
    [OP_UNDRAIN] = none,    [OP_CANCEL] = cancel,       [OP_ROTATE_CERTS] = none,
};

static bool check_word(const struct arg *a, yyjson_val *v, struct err *e) {
    char all[128] = "";
    size_t n = 0;
    for (const char *const *w = a->words; *w; w++) {
        if (sv_eq(json_sv(v), sv_of(*w)))
            return true;
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", *w);
    }
    return err_set(e, ERR_BAD_REQUEST, "args: \"%s\" must be one of %s", a->name, all);
}

static bool check_arg(const struct arg *a, yyjson_val *v, struct err *e) {
    int64_t ms;
    switch (a->kind) {
    case ARG_WORD:
        return check_word(a, v, e);
    case ARG_TEXT:
        return (yyjson_is_str(v) && json_sv(v).n >= (size_t)a->min && json_sv(v).n <= (size_t)a->max) ||
               err_set(e, ERR_BAD_REQUEST, "args: \"%s\" must be a text of 1 to %lld bytes", a->name, (long long)a->max);
    case ARG_MS:
        ms = yyjson_is_uint(v) && yyjson_get_uint(v) <= INT64_MAX ? (int64_t)yyjson_get_uint(v) : -1;
        return (ms >= a->min && ms <= a->max) ||
               err_set(e, ERR_BAD_REQUEST, "args: \"%s\" must be a whole number of milliseconds, %lld to %lld", a->name, (long long)a->min, (long long)a->max);
    }
    return false;
}

static const struct arg *find_arg(const struct arg *list, struct sv name) {
    for (; list->name; list++)
        if (sv_eq(name, sv_of(list->name)))
            return list;
    return NULL;
}

bool directive_args_check(enum directive_op op, yyjson_val *args, bool strict, struct err *e) {
    const struct arg *list = takes[op];
    size_t i, n;
    yyjson_val *key, *v;
    if (args && !yyjson_is_null(args) && !yyjson_is_obj(args))
        return err_set(e, ERR_BAD_REQUEST, "\"args\" must be an object");
    if (!list)
        return true;
    yyjson_obj_foreach(args, i, n, key, v) {
        const struct arg *a = find_arg(list, json_sv(key));
        if (!a && strict)
            return err_set(e, ERR_BAD_REQUEST, "args: %s takes no \"%.*s\"", ops[op].word, SV_FMT(sv_first(json_sv(key), 40)));
        if (a && !check_arg(a, v, e))
            return false;
    }
    for (; list->name; list++)
        if (list->needed && !json_get(args, list->name))
            return err_set(e, ERR_BAD_REQUEST, "args: %s needs \"%s\"", ops[op].word, list->name);
    return true;
}
