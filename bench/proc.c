/* bench/proc.c - see proc.h. schedstat is read for each thread: /proc/PID/schedstat is the first thread's alone. */
#include "proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The start of a file, ended by a NUL. */
static bool slurp(const char *path, char *buf, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buf, size - 1);
    close(fd);
    buf[n > 0 ? n : 0] = 0;
    return n >= 0;
}

static uint64_t kib_after(const char *text, const char *label) {
    const char *at = strstr(text, label);
    return at ? strtoull(at + strlen(label), NULL, 10) : 0;
}

static void add(pid_t pid, bool with_memory, struct proc_use *use) {
    char path[128], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return;
    use->processes++;
    if (with_memory) {
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
        if (slurp(path, text, sizeof text)) {
            use->pss_kib += kib_after(text, "\nPss:");
            use->rss_kib += kib_after(text, "\nRss:");
        }
    }
    for (struct dirent *d; (d = readdir(tasks));) {
        if (d->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", (int)pid, d->d_name);
        if (slurp(path, text, sizeof text)) {
            char *rest;
            uint64_t cpu_ns = strtoull(text, &rest, 10);
            use->cpu_ns += cpu_ns;
            use->wait_ns += strtoull(rest, NULL, 10);
            use->threads++;
            snprintf(path, sizeof path, "/proc/%d/task/%.20s/comm", (int)pid, d->d_name);
            if (slurp(path, text, sizeof text)) {
                use->workers_ns += strncmp(text, "worker-", 7) == 0 ? cpu_ns : 0;
                use->store_ns += strncmp(text, "store-", 6) == 0 ? cpu_ns : 0;
            }
        }
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, d->d_name);
        if (!slurp(path, text, sizeof text))
            continue;
        for (char *at = text, *end; strtol(at, &end, 10) > 0 && end != at; at = end)
            add((pid_t)strtol(at, NULL, 10), with_memory, use);
    }
    closedir(tasks);
}

bool proc_use(pid_t root, bool with_memory, struct proc_use *ret_use) {
    struct proc_use use = {0};
    add(root, with_memory, &use);
    if (!use.processes)
        return false;
    *ret_use = use;
    return true;
}
