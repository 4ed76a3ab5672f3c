/* access/mode.c - ask (key -> compared) -> a job that writes the settings and the audit row -> in force -> told. */
#include "access/mode.h"

#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "io/loop.h"
#include "store/store.h"

enum { BY_MAX = 65, WRONG_MAX = 5, ASKING_MAX = 2, WRONG_WAIT_MS = 30000, VALUE_MAX = 512 };

struct mode {
    struct loop *loop;
    struct store *store;
    struct passphrases *passphrases;
    void (*on_changed)(void *owner);
    void *owner;
    struct mode_state is;
    char by[BY_MAX];
    char key_hash[PASSPHRASE_HASH]; /* empty: there is no key */
    struct timer fall_back;
    unsigned n_wrong, n_asking; /* asking: being compared now */
    uint64_t wait_until_ms;         /* monotonic; after too many wrong keys */
    bool closing;
    unsigned refs;
};

enum ask_kind { ASK_CHECK, ASK_MODE, ASK_KEY };

struct ask {
    struct store_job job;
    struct mode *mode;
    enum ask_kind kind;
    mode_done *done;
    void *arg;
    struct mode_state to;
    char by[BY_MAX], peer[64], key_hash[PASSPHRASE_HASH], value[VALUE_MAX];
    char text[PASSPHRASE_MOST];     /* the new key, until it is hashed */
    size_t text_n;
    bool hash_new;
};

static void unref(struct mode *m) {
    if (--m->refs == 0)
        mem_free(m);
}

static void ask_free(struct ask *a) {
    unref(a->mode);
    sodium_memzero(a, sizeof *a);
    mem_free(a);
}

static void finish(struct ask *a, const struct err *e) {
    if (a->done)
        a->done(a->arg, e);
    ask_free(a);
}

static void fail(struct ask *a, enum err_code code, const char *text) {
    struct err e;
    err_set(&e, code, "%s", text);
    finish(a, &e);
}

static struct ask *ask_new(struct mode *m, enum ask_kind kind, const struct access_actor *by, mode_done *done, void *arg, struct err *e) {
    struct ask *a = mem_new(sizeof *a);
    if (!a) {
        err_no_memory(e);
        return NULL;
    }
    a->mode = m;
    a->kind = kind;
    a->done = done;
    a->arg = arg;
    a->to = m->is;
    snprintf(a->by, sizeof a->by, "%.*s", SV_FMT(by->name));
    snprintf(a->peer, sizeof a->peer, "%.*s", SV_FMT(by->peer));
    memcpy(a->key_hash, m->key_hash, sizeof a->key_hash);
    m->refs++;
    return a;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void arm(struct mode *m);

static bool run_ask(struct store_tx *tx, struct store_job *job, struct err *e) {
    const struct ask *a = CONTAINER(job, struct ask, job);
    const struct access_act act = { sv_of(a->by), sv_of(a->peer), a->kind == ASK_KEY ? SV("mode.key") : SV("mode.set"),
                                    a->kind == ASK_KEY ? SV("permission key") : a->to.is_live ? SV("live") : SV("dev"),
                                    a->kind == ASK_KEY ? (a->key_hash[0] ? SV("set") : SV("none")) : SV(""), clock_wall_ms() };
    return STORE_RUN(tx, e, "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                     STORE_TEXT(SV("mode")), STORE_TEXT(sv_of(a->value))) &&
           access_audit(tx, &act, e);
}

static void on_written(struct store_job *job, const struct err *e) {
    struct ask *a = CONTAINER(job, struct ask, job);
    struct mode *m = a->mode;
    if (!e && !m->closing) {
        memcpy(m->by, a->by, sizeof m->by);
        memcpy(m->key_hash, a->key_hash, sizeof m->key_hash);
        m->is = a->to;
        m->is.by = sv_of(m->by);
        m->is.has_key = m->key_hash[0] != '\0';
        arm(m);
        if (m->on_changed)
            m->on_changed(m->owner);
    }
    finish(a, e);
}

static bool submit(struct ask *a, struct err *e) {
    struct buf out = { .p = a->value, .base = a->value, .cap = sizeof a->value - 1, .max = sizeof a->value - 1 };
    buf_printf(&out, "{\"live\":%s,\"since\":%llu,\"until\":%llu,\"by\":", a->to.is_live ? "true" : "false", (unsigned long long)a->to.since_ms,
               (unsigned long long)a->to.until_ms);
    buf_add_json(&out, sv_of(a->by));
    buf_printf(&out, ",\"key\":\"%s\"}", a->key_hash);
    a->value[out.n] = '\0';
    a->job = (struct store_job){ .home = a->mode->loop, .run = run_ask, .done = on_written };
    return store_submit(a->mode->store, &a->job, e);
}

static void record(struct ask *a) {
    struct err e;
    if (!submit(a, &e))
        finish(a, &e);
}

/* As the first step: nobody is called back then. */
static bool begin(struct ask *a, struct err *e) {
    if (submit(a, e))
        return true;
    ask_free(a);
    return false;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static void on_hashed(void *arg, struct sv hash, const struct err *e) {
    struct ask *a = arg;
    if (e || !sv_to_cstr(hash, a->key_hash, sizeof a->key_hash))
        finish(a, e);
    else
        record(a);
}

static bool hash_or_write(struct ask *a, bool first, struct err *e) {
    if (!a->hash_new)
        return first ? begin(a, e) : (record(a), true);
    if (passphrase_hash(a->mode->passphrases, (struct sv){ a->text, a->text_n }, on_hashed, a, e))
        return true;
    if (first)
        ask_free(a);
    return false;
}

static void on_compared(void *arg, bool fits, bool stale) {
    struct ask *a = arg;
    struct mode *m = a->mode;
    struct err e;
    (void)stale;
    m->n_asking--;
    if (m->closing) {
        fail(a, ERR_CANCELED, "the service is stopping");
    } else if (!fits) {
        if (++m->n_wrong >= WRONG_MAX)
            m->wait_until_ms = loop_now_ms(m->loop) + WRONG_WAIT_MS;
        fail(a, ERR_LOCKED, "this is not the permission key");
    } else {
        m->n_wrong = 0;
        if (a->kind == ASK_CHECK)
            finish(a, NULL);
        else if (!hash_or_write(a, false, &e))
            finish(a, &e);
    }
}

/* Compares first, where there is something to compare with. */
static bool ask_key(struct ask *a, struct sv key, bool is_operator, struct err *e) {
    struct mode *m = a->mode;
    if (!m->is.has_key || is_operator)
        return hash_or_write(a, true, e);
    uint64_t now = loop_now_ms(m->loop);
    bool ok = true;
    if (m->n_asking >= ASKING_MAX) { /* many at once are no way around the wait */
        ok = err_set(e, ERR_LIMIT, "other permission keys are being looked at; try again");
        e->retry_after_s = 1;
    } else if (m->wait_until_ms > now) {
        ok = err_set(e, ERR_LIMIT, "too many wrong permission keys; wait a little");
        e->retry_after_s = (uint32_t)((m->wait_until_ms - now) / 1000 + 1);
    } else if (key.n == 0) {
        ok = err_set(e, ERR_LOCKED, "this fleet is Live: the permission key is needed for that");
    }
    if (ok && passphrase_compare(m->passphrases, key, sv_of(m->key_hash), on_compared, a, e)) {
        m->n_asking++;
        return true;
    }
    ask_free(a);
    return false;
}

static bool is_operator(const struct access_actor *by) {
    return sv_eq(by->peer, SV("unix"));
}

bool mode_check_key(struct mode *m, struct sv key, const struct access_actor *by, mode_done *done, void *arg, struct err *e) {
    if (!m->is.has_key)
        return err_set(e, ERR_LOCKED, "this fleet is Live and has no permission key: an admin sets one in Dev, or with drover mode");
    struct ask *a = ask_new(m, ASK_CHECK, by, done, arg, e);
    return a && ask_key(a, key, false, e);
}

bool mode_set(struct mode *m, bool live, struct sv key, uint64_t ttl_ms, const struct access_actor *by, mode_done *done, void *arg, struct err *e) {
    struct ask *a = ask_new(m, ASK_MODE, by, done, arg, e);
    if (!a)
        return false;
    a->to.is_live = live;
    a->to.since_ms = clock_wall_ms();
    a->to.until_ms = !live && ttl_ms ? a->to.since_ms + ttl_ms : 0;
    return live || !m->is.is_live ? begin(a, e) : ask_key(a, key, is_operator(by), e);
}

bool mode_set_key(struct mode *m, struct sv key, struct sv current, const struct access_actor *by, mode_done *done, void *arg, struct err *e) {
    if (key.n && !passphrase_check(key, e))
        return err_ctx(e, "permission key");
    struct ask *a = ask_new(m, ASK_KEY, by, done, arg, e);
    if (!a)
        return false;
    a->hash_new = key.n > 0;
    a->key_hash[0] = '\0';
    memcpy(a->text, key.p ? key.p : "", key.n);
    a->text_n = key.n;
    return ask_key(a, current, is_operator(by), e);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void on_fall_back(void *arg) {
    struct mode *m = arg;
    struct err e;
    if (m->is.until_ms && clock_wall_ms() >= m->is.until_ms) {
        if (!mode_set(m, true, SV_NULL, 0, &(struct access_actor){ SV("clock"), SV("") }, NULL, NULL, &e))
            log_event(LOG_WARN, "the mode could not go back to Live", F_STR("cause", e.text));
    }
    arm(m);
}

/* In steps, since the wall clock may be set. */
static void arm(struct mode *m) {
    timer_stop(m->loop, &m->fall_back);
    if (m->is.until_ms)
        timer_set(m->loop, &m->fall_back, 1000, on_fall_back, m);
}

void mode_now(const struct mode *m, struct mode_state *ret) {
    *ret = m->is;
    ret->is_live = ret->is_live || (ret->until_ms && clock_wall_ms() >= ret->until_ms); /* the timer comes a moment later */
}

static bool read_state(struct store_tx *tx, void *arg, struct err *e) {
    struct mode *m = arg;
    struct store_rows *r = STORE_QUERY(tx, e, "SELECT value FROM setting WHERE name = $1", STORE_TEXT(SV("mode")));
    enum store_step step = r ? store_next(r, e) : STORE_FAULT;
    if (step != STORE_ROW)
        return step == STORE_END || err_ctx(e, "read the mode");
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(store_text(r, 0));
    yyjson_val *root = yyjson_doc_get_root(doc);
    m->is.is_live = json_bool(root, "live", false);
    m->is.since_ms = (uint64_t)json_i64(root, "since", 0);
    m->is.until_ms = (uint64_t)json_i64(root, "until", 0);
    snprintf(m->by, sizeof m->by, "%.*s", SV_FMT(json_str(root, "by")));
    snprintf(m->key_hash, sizeof m->key_hash, "%.*s", SV_FMT(json_str(root, "key")));
    store_end(r);
    return true;
}

struct mode *mode_new(struct loop *l, struct store *s, struct passphrases *p, void (*on_changed)(void *owner), void *owner, struct err *e) {
    struct mode *m = mem_new(sizeof *m);
    if (!m) {
        err_no_memory(e);
        return NULL;
    }
    *m = (struct mode){ .loop = l, .store = s, .passphrases = p, .on_changed = on_changed, .owner = owner, .refs = 1 };
    if (!store_read(s, read_state, m, e)) {
        mem_free(m);
        return NULL;
    }
    m->is.by = sv_of(m->by);
    m->is.has_key = m->key_hash[0] != '\0';
    arm(m);
    return m;
}

void mode_free(struct mode *m) {
    if (!m)
        return;
    m->closing = true;
    timer_stop(m->loop, &m->fall_back);
    unref(m);
}
