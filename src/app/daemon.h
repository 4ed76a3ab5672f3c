/* app/daemon.h - `drover serve`: builds the house, runs the control loop, takes it down again. */
#ifndef DROVER_APP_DAEMON_H
#define DROVER_APP_DAEMON_H

#include "config/config.h"

struct daemon_options {
    struct config_source source; /* views into the command line */
    bool demo_if_empty;          /* switch the demonstration endpoint on when nothing is found */
};

/* Runs until SIGTERM, SIGINT or a fault at the start. Returns the exit code. When its hub asked for a restart the same program takes
 * the process over once all is down: the same settings, the same process id, nobody outside needs to help. */
int daemon_run(const struct daemon_options *options);

/* The admin socket of the daemon that has these settings. */
bool daemon_socket(const struct config *c, char *path, size_t size);

#endif
