/* app/offline.h - what is done to the records while no daemon runs: the first person, before it is reached by others. */
#ifndef DROVER_APP_OFFLINE_H
#define DROVER_APP_OFFLINE_H

#include "access/people.h"
#include "config/config.h"

/* Opens the records of these settings (which fails while a daemon has them), adds the person and closes them. Blocks. */
bool offline_add_user(const struct config *c, struct sv name, enum access_role role, struct sv passphrase, struct err *e) MUST_CHECK;

#endif
