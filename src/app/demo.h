/* app/demo.h - the demonstration endpoint: a newcomer without a runtime sees a streamed answer in the first minute.
 *
 * It is reached like any endpoint, through a dialer, but in memory; every worker hosts its own copy. It says in its first
 * words that it is no model. Off unless settings or `./dev run` ask for it. */
#ifndef DROVER_APP_DEMO_H
#define DROVER_APP_DEMO_H

#include "io/dialer.h"

struct demo;
struct demo_host;

/* Returns owned (demo_free), after all hosts are gone. */
struct demo *demo_new(struct err *e) MUST_CHECK;
struct dialer *demo_dialer(struct demo *d); /* borrowed until demo_free */
void demo_free(struct demo *d);

/* Serves the endpoint on one loop: dials made there are answered there. */
struct demo_host *demo_host_new(struct demo *d, struct loop *l, struct err *e) MUST_CHECK;
void demo_host_free(struct demo_host *h);

#endif
