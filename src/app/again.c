#include "app/again.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OVERRIDES_MOST = 64, ARGS_MOST = 2 * OVERRIDES_MOST + 8 };

int again_run(const struct daemon_options *o) {
    const char *args[ARGS_MOST];
    unsigned n = 0;
    args[n++] = "drover";
    args[n++] = "serve";
    if (o->source.path) {
        args[n++] = "--config";
        args[n++] = o->source.path;
    }
    for (unsigned i = 0; o->source.overrides && o->source.overrides[i] && i < OVERRIDES_MOST; i++) {
        args[n++] = "--set";
        args[n++] = o->source.overrides[i];
    }
    if (o->demo_if_empty)
        args[n++] = "--demo-if-empty";
    args[n] = NULL;
    execv("/proc/self/exe", (char *const *)args); /* exec takes char *const[] for history's sake and changes nothing */
    fprintf(stderr, "drover: it could not be started anew: %s\n", strerror(errno));
    return 1;
}
