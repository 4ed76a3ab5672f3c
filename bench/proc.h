/* bench/proc.h - what a process tree has used, read from /proc. */
#ifndef BENCH_PROC_H
#define BENCH_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_use {
    uint64_t cpu_ns;  /* time on a processor of all threads alive, from schedstat */
    uint64_t workers_ns, store_ns; /* of cpu_ns: threads named worker-*, and store-* */
    uint64_t wait_ns; /* time they were ready to run and another program had the processor */
    uint64_t pss_kib; /* memory, pages shared with n others counted as 1/n */
    uint64_t rss_kib; /* memory, shared pages counted in full in every process: too high for nginx, which forks */
    unsigned processes, threads;
};

/* Adds up `root` and all its descendants. Memory costs more to read and is left at 0 unless asked for. False when
 * root is gone. */
bool proc_use(pid_t root, bool with_memory, struct proc_use *ret_use);

#endif
