/* access/passphrase.h - argon2id on the blocking pool: what a person types becomes what may be stored, and is compared with it.
 *
 * Each takes 64 MiB and a good part of a second on purpose, so at most two run at once and sixteen wait; more are refused. A
 * passphrase that belongs to nobody is compared with a hash that fits nothing, so that names cannot be told from the time it
 * takes (threat model C-31). Control loop only. */
#ifndef DROVER_ACCESS_PASSPHRASE_H
#define DROVER_ACCESS_PASSPHRASE_H

#include "base/err.h"
#include "base/sv.h"

enum {
    PASSPHRASE_LEAST = 8, PASSPHRASE_MOST = 1024, /* bytes */
    PASSPHRASE_HASH = 128,                        /* of the stored text, its NUL included; parameters and salt are in it */
    PASSPHRASE_AT_ONCE = 2, PASSPHRASE_WAITING = 16,
};

struct loop;
struct passphrases;
struct passphrases *passphrases_new(struct loop *l) MUST_CHECK;
/* What waits fails at once with ERR_CANCELED, what runs when it has come home: its loop must go on turning until then. NULL is fine. */
void passphrases_free(struct passphrases *p);

/* Whether it may become one. */
bool passphrase_check(struct sv text, struct err *e) MUST_CHECK;

/* hash: of the passphrase, good until it returns; empty when e is set. */
typedef void passphrase_hashed(void *arg, struct sv hash, const struct err *e);
/* stale: it fits, and its hash was made with other parameters than ours: make a new one while the text is at hand. */
typedef void passphrase_compared(void *arg, bool fits, bool stale);

/* Both copy, wipe their copies, and call done once, later. False: ERR_UNAVAILABLE when too many wait; done will not run. */
bool passphrase_hash(struct passphrases *p, struct sv text, passphrase_hashed *done, void *arg, struct err *e) MUST_CHECK;
/* hash: as stored; empty: there is nobody of that name, and it takes as long. */
bool passphrase_compare(struct passphrases *p, struct sv text, struct sv hash, passphrase_compared *done, void *arg, struct err *e) MUST_CHECK;

#endif
