/* base/thread.h - what a thread is called, for whoever looks at them from outside (ps, perf, a debugger). */
#ifndef DROVER_BASE_THREAD_H
#define DROVER_BASE_THREAD_H

/* The calling thread's; 15 bytes are kept. Where the system has no names for threads: nothing. */
void thread_name(const char *name);

#endif
