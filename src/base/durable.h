/* base/durable.h - what a file and its directory need before a change counts as kept. Any thread; each call blocks. */
#ifndef DROVER_BASE_DURABLE_H
#define DROVER_BASE_DURABLE_H

#include "base/sv.h"

/* Writes all of the bytes and syncs the file; false with errno, the descriptor stays the caller's. */
bool durable_write(int fd, struct sv bytes);

/* Syncs a directory, so that a name made, moved or removed in it outlives a crash; false with errno. */
bool durable_dir(const char *dir);

#endif
