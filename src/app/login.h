/* app/login.h - sessions on hubs elsewhere, as the command line keeps them: one file of mode 0600 in the user's configuration. */
#ifndef DROVER_APP_LOGIN_H
#define DROVER_APP_LOGIN_H

#include "base/arena.h"
#include "base/err.h"

struct login {
    struct sv user, secret, ca_file; /* ca_file: empty: the system's */
};

/* What is kept for a hub, in the arena. False: nothing is, or *e says why it cannot be used. */
bool login_read(struct sv url, struct arena *a, struct login *ret, struct err *e);
/* Keeps it, or with NULL forgets it. */
bool login_write(struct sv url, const struct login *l, struct err *e) MUST_CHECK;

#endif
