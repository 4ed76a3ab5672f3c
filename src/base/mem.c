#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static _Thread_local long fail_in;     /* allocations left until one is refused; 0 = off */
static _Thread_local int fail_sticky, fail_struck;

static int refused(void) {
    if (__builtin_expect(fail_in == 0, 1))
        return 0;
    if (fail_in > 1) {
        fail_in--;
        return 0;
    }
    fail_struck = 1;
    if (!fail_sticky)
        fail_in = 0;
    return 1;
}

void mem_fail_at(long n, int sticky) {
    fail_in = n;
    fail_sticky = sticky;
    fail_struck = 0;
}

int mem_fail_hit(void) {
    return fail_struck;
}

void *mem_new(size_t bytes) {
    return refused() ? NULL : calloc(1, bytes ? bytes : 1);
}

void *mem_alloc(size_t bytes) {
    return refused() ? NULL : malloc(bytes ? bytes : 1);
}

void *mem_resize(void *p, size_t bytes) {
    return refused() ? NULL : realloc(p, bytes ? bytes : 1);
}

void *mem_copy(const void *from, size_t bytes) {
    void *p = mem_alloc(bytes);
    if (p && bytes)
        memcpy(p, from, bytes);
    return p;
}

char *mem_str(const char *from, size_t n) {
    char *s = mem_alloc(n + 1);
    if (s) {
        if (n)
            memcpy(s, from, n);
        s[n] = '\0';
    }
    return s;
}

void mem_free(void *p) {
    free(p);
}

void mem_keep_some(void) {
#ifdef M_TRIM_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 4 << 20); /* both, for setting one alone stops the library from tuning the other */
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
#endif
}

void mem_give_back(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
