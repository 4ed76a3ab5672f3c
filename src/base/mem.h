/* base/mem.h - the one door to the heap.
 *
 * Thin names over malloc and friends, so that a test can make the n-th allocation of a thread fail and see that the
 * caller copes. libuv, OpenSSL and yyjson are routed through it where they offer a hook. Memory is thread-agnostic. */
#ifndef DROVER_BASE_MEM_H
#define DROVER_BASE_MEM_H

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* All return NULL when memory is out. mem_new gives zeroed bytes. */
void *mem_new(size_t bytes) MUST_CHECK;
void *mem_alloc(size_t bytes) MUST_CHECK;
void *mem_resize(void *p, size_t bytes) MUST_CHECK;
void *mem_copy(const void *from, size_t bytes) MUST_CHECK;
/* Once, before threads start: freed memory of a few requests is kept for the next ones. Else the C library gives the top of its
 * heap back after every request that parsed a body, and each page costs a fault when it comes again. */
void mem_keep_some(void);
/* Gives back what is free: after a task that used much memory and will not come again soon, as reading the configuration. */
void mem_give_back(void);
/* A NUL-terminated copy of n bytes. */
char *mem_str(const char *from, size_t n) MUST_CHECK;
void mem_free(void *p);

/* Tests only: the n-th allocation of this thread from now on fails (1 = the next), and with sticky every later one too;
 * 0 switches it off. mem_fail_hit tells whether it struck since it was armed. */
void mem_fail_at(long n, int sticky);
int mem_fail_hit(void);

#endif
