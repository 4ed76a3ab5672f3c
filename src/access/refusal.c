/* access/refusal.c - uses of keys that were refused, on their way into the audit log.
 *
 * Any thread adds; equal ones are counted together. Every few seconds the control loop writes what has gathered: so many rows and one
 * that tells how many more there were, so that whoever knocks all day cannot fill the disk. */
#include <inttypes.h>
#include <stdio.h>

#include "access/access.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "io/loop.h"
#include "store/store.h"

enum { FLUSH_MS = 3000, KINDS_MAX = 24, KEY_MAX = 80, PEER_MAX = 64, WHY_MAX = 160 };

struct refusal {
    char key[KEY_MAX], peer[PEER_MAX], why[WHY_MAX];
    uint64_t n;
};

struct access_refusals {
    uv_mutex_t lock;
    struct refusal kinds[KINDS_MAX]; /* with the lock held */
    unsigned n;
    uint64_t n_more;
    struct loop *loop;
    struct store *store;
    struct timer flush;
};

struct writing {
    struct store_job job;
    uint64_t at_ms, n_more;
    unsigned n;
    struct refusal kinds[KINDS_MAX];
};

/* Text of a client's: only what the store takes. */
static void copy(char *to, size_t size, struct sv from) {
    size_t n = from.n < size ? from.n : size - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = (unsigned char)from.p[i] >= 0x20 && (unsigned char)from.p[i] < 0x7f ? from.p[i] : '?';
    to[n] = '\0';
}

void access_refused(struct access_refusals *r, struct sv key, struct sv peer, struct sv why) {
    struct refusal one = { .n = 1 };
    if (!r)
        return;
    copy(one.key, sizeof one.key, key);
    copy(one.peer, sizeof one.peer, peer);
    copy(one.why, sizeof one.why, why);
    uv_mutex_lock(&r->lock);
    unsigned i = 0;
    while (i < r->n && !(strcmp(r->kinds[i].key, one.key) == 0 && strcmp(r->kinds[i].peer, one.peer) == 0 && strcmp(r->kinds[i].why, one.why) == 0))
        i++;
    if (i < r->n)
        r->kinds[i].n++;
    else if (r->n < KINDS_MAX)
        r->kinds[r->n++] = one;
    else
        r->n_more++;
    uv_mutex_unlock(&r->lock);
}

static bool write_row(struct store_tx *tx, const struct writing *w, const char *key, const char *peer, const char *why, uint64_t n, struct err *e) {
    char detail[WHY_MAX + 32];
    snprintf(detail, sizeof detail, n > 1 ? "%s (%" PRIu64 " times)" : "%s", why, n);
    const struct access_act act = { sv_of(key[0] ? key : "nobody"), sv_of(peer), SV("key.refuse"), sv_of(key), sv_of(detail), w->at_ms };
    return access_audit(tx, &act, e);
}

static bool run_writing(struct store_tx *tx, struct store_job *job, struct err *e) {
    const struct writing *w = CONTAINER(job, struct writing, job);
    for (unsigned i = 0; i < w->n; i++)
        if (!write_row(tx, w, w->kinds[i].key, w->kinds[i].peer, w->kinds[i].why, w->kinds[i].n, e))
            return false;
    return w->n_more == 0 || write_row(tx, w, "", "", "others, not told one by one", w->n_more, e);
}

static void on_written(struct store_job *job, const struct err *e) {
    (void)e; /* while records cannot be written requests of keys are refused anyway */
    mem_free(CONTAINER(job, struct writing, job));
}

static void flush(struct access_refusals *r) {
    struct writing *w = mem_new(sizeof *w);
    if (!w)
        return;
    uv_mutex_lock(&r->lock);
    w->n = r->n;
    w->n_more = r->n_more;
    memcpy(w->kinds, r->kinds, r->n * sizeof r->kinds[0]);
    r->n = 0;
    r->n_more = 0;
    uv_mutex_unlock(&r->lock);
    w->at_ms = clock_wall_ms();
    w->job = (struct store_job){ .home = r->loop, .run = run_writing, .done = on_written };
    if (!w->n || !store_submit(r->store, &w->job, NULL))
        mem_free(w);
}

static void on_flush(void *arg) {
    struct access_refusals *r = arg;
    flush(r);
    timer_set(r->loop, &r->flush, FLUSH_MS, on_flush, r);
}

struct access_refusals *access_refusals_new(struct loop *l, struct store *s) {
    struct access_refusals *r = mem_new(sizeof *r);
    if (!r || uv_mutex_init(&r->lock) != 0) {
        mem_free(r);
        return NULL;
    }
    r->loop = l;
    r->store = s;
    timer_set(l, &r->flush, FLUSH_MS, on_flush, r);
    return r;
}

void access_refusals_free(struct access_refusals *r) {
    if (!r)
        return;
    flush(r);
    timer_stop(r->loop, &r->flush);
    uv_mutex_destroy(&r->lock);
    mem_free(r);
}
