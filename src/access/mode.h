/* access/mode.h - Dev or Live: whether what is risky takes the permission key.
 *
 * In Dev whoever has the role may do everything it allows. In Live, for a fleet that others depend on, risky acts take the
 * permission key with each of them. Going to Live is one step; going back takes the key, if there is one, and lasts for a while. The
 * state outlives the process. The UNIX socket is not bound by it: who has the machine has the last word. Control loop only. */
#ifndef DROVER_ACCESS_MODE_H
#define DROVER_ACCESS_MODE_H

#include "access/access.h"
#include "access/passphrase.h"

struct mode_state {
    bool is_live;
    uint64_t since_ms, until_ms; /* wall clock; until: Dev falls back to Live then, 0: it stays */
    struct sv by;                /* who set it; empty: nobody yet */
    bool has_key;
};

struct mode;
/* Reads the state from the store; blocks for that. on_changed (may be NULL) runs when the mode has changed. */
struct mode *mode_new(struct loop *l, struct store *s, struct passphrases *p, void (*on_changed)(void *owner), void *owner, struct err *e) MUST_CHECK;
/* Before store_close and passphrases_free. NULL is fine. */
void mode_free(struct mode *m);
void mode_now(const struct mode *m, struct mode_state *ret);

typedef void mode_done(void *arg, const struct err *e);
/* All copy, and call done once, later; false: refused at once.
 * To Live; or to Dev with the permission key if there is one and by does not come from the socket, for ttl_ms (0: for good). */
bool mode_set(struct mode *m, bool live, struct sv key, uint64_t ttl_ms, const struct access_actor *by, mode_done *done, void *arg, struct err *e);
/* A new permission key, or none where it is empty; current: the one there is. */
bool mode_set_key(struct mode *m, struct sv key, struct sv current, const struct access_actor *by, mode_done *done, void *arg, struct err *e);
/* Whether the key fits: done with ERR_LOCKED when it does not. */
bool mode_check_key(struct mode *m, struct sv key, const struct access_actor *by, mode_done *done, void *arg, struct err *e);

#endif
