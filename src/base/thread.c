#include "base/thread.h"

#include <pthread.h>
#include <stdio.h>

void thread_name(const char *name) {
    char kept[16]; /* Linux refuses a longer one */
    snprintf(kept, sizeof kept, "%s", name);
#if defined(__linux__)
    pthread_setname_np(pthread_self(), kept);
#elif defined(__APPLE__)
    pthread_setname_np(kept);
#endif
}
