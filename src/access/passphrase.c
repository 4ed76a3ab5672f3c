#include "access/passphrase.h"

#include <sodium.h>
#include <stdio.h>

#include "base/list.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "io/loop.h"

_Static_assert((int)PASSPHRASE_HASH == (int)crypto_pwhash_STRBYTES, "argon2id's text as libsodium makes it");
enum { PASSES = 3, MEMORY = 64 << 20 };

struct work {
    uv_work_t req;
    struct list waiting;
    struct passphrases *of;
    char text[PASSPHRASE_MOST];
    size_t text_n;
    char hash[PASSPHRASE_HASH];
    passphrase_hashed *hashed; /* else it is compared */
    passphrase_compared *compared;
    void *arg;
    bool ok, stale;
};

struct passphrases {
    struct loop *loop;
    struct list waiting; /* of struct work */
    unsigned n_waiting, n_running;
    bool closing;
    char nobody[PASSPHRASE_HASH]; /* of no passphrase at all, with our parameters */
};

static void work_free(struct work *w) {
    sodium_memzero(w->text, sizeof w->text);
    sodium_memzero(w->hash, sizeof w->hash);
    mem_free(w);
}

/* On the pool's thread. */
static void on_work(uv_work_t *req) {
    struct work *w = CONTAINER(req, struct work, req);
    if (w->hashed) {
        w->ok = crypto_pwhash_str_alg(w->hash, w->text, w->text_n, PASSES, MEMORY, crypto_pwhash_ALG_ARGON2ID13) == 0;
        return;
    }
    w->ok = crypto_pwhash_str_verify(w->hash, w->text, w->text_n) == 0;
    w->stale = w->ok && crypto_pwhash_str_needs_rehash(w->hash, PASSES, MEMORY) != 0;
}

static void run_next(struct passphrases *p);

static void tell(struct work *w, bool ok, bool cancelled) {
    struct err e;
    if (w->compared)
        w->compared(w->arg, ok, w->stale);
    else if (ok)
        w->hashed(w->arg, sv_of(w->hash), NULL);
    else
        w->hashed(w->arg, SV_NULL, (cancelled ? err_set(&e, ERR_CANCELED, "the service is stopping") : err_no_memory(&e), &e));
    work_free(w);
}

static void on_worked(uv_work_t *req, int status) {
    struct work *w = CONTAINER(req, struct work, req);
    struct passphrases *p = w->of;
    bool closing = p->closing;
    if (--p->n_running == 0 && closing)
        mem_free(p);
    else if (!closing)
        run_next(p);
    tell(w, status == 0 && w->ok && !closing, closing);
}

static void run_next(struct passphrases *p) {
    while (p->n_running < PASSPHRASE_AT_ONCE && !list_empty(&p->waiting)) {
        struct work *w = CONTAINER(list_pop(&p->waiting), struct work, waiting);
        p->n_waiting--;
        p->n_running++;
        uv_queue_work(&p->loop->uv, &w->req, on_work, on_worked); /* fails only without a function to run */
    }
}

struct passphrases *passphrases_new(struct loop *l) {
    struct passphrases *p = mem_new(sizeof *p);
    char salt[23], sum[44];
    if (!p)
        return NULL;
    p->loop = l;
    list_init(&p->waiting);
    rand_text(salt, sizeof salt - 1);
    rand_text(sum, sizeof sum - 1);
    salt[21] = 'A'; /* 16 and 32 bytes in base64 without padding: the last digit holds 2 and 4 bits */
    sum[42] = 'A';
    snprintf(p->nobody, sizeof p->nobody, "$argon2id$v=19$m=%d,t=%d,p=1$%s$%s", MEMORY / 1024, PASSES, salt, sum);
    return p;
}

void passphrases_free(struct passphrases *p) {
    if (!p)
        return;
    p->closing = true;
    for (struct list *it; (it = list_pop(&p->waiting));)
        tell(CONTAINER(it, struct work, waiting), false, true);
    if (p->n_running == 0)
        mem_free(p);
}

bool passphrase_check(struct sv text, struct err *e) {
    return (text.n >= PASSPHRASE_LEAST && text.n <= PASSPHRASE_MOST && utf8_valid(text)) ||
           err_set(e, ERR_BAD_REQUEST, "a passphrase must have %d to %d bytes; a few words you remember make a good one", PASSPHRASE_LEAST,
                   PASSPHRASE_MOST);
}

static bool begin(struct passphrases *p, struct sv text, struct sv hash, const struct work *what, struct err *e) {
    if (p->n_waiting >= PASSPHRASE_WAITING) {
        err_set(e, ERR_UNAVAILABLE, "too many people sign in at this moment; try again in a few seconds");
        e->retry_after_s = 5;
        return false;
    }
    struct work *w = mem_copy(what, sizeof *what);
    if (!w)
        return err_no_memory(e);
    w->of = p;
    w->text_n = text.n < sizeof w->text ? text.n : sizeof w->text;
    if (w->text_n)
        memcpy(w->text, text.p, w->text_n);
    if (!sv_to_cstr(hash.n ? hash : sv_of(p->nobody), w->hash, sizeof w->hash))
        w->hash[0] = '\0'; /* a damaged row fits nothing */
    list_init(&w->waiting);
    list_push_back(&p->waiting, &w->waiting);
    p->n_waiting++;
    run_next(p);
    return true;
}

bool passphrase_hash(struct passphrases *p, struct sv text, passphrase_hashed *done, void *arg, struct err *e) {
    return passphrase_check(text, e) && begin(p, text, SV_NULL, &(struct work){ .hashed = done, .arg = arg }, e);
}

bool passphrase_compare(struct passphrases *p, struct sv text, struct sv hash, passphrase_compared *done, void *arg, struct err *e) {
    return begin(p, text, hash, &(struct work){ .compared = done, .arg = arg }, e);
}
