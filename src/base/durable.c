#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool durable_write(int fd, struct sv bytes) {
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno != EINTR)
            return false;
        bytes = sv_from(bytes, n < 0 ? 0 : (size_t)n);
    }
    return fsync(fd) == 0;
}

bool durable_dir(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0 || errno == EINVAL; /* some file systems cannot, and need not */
    int why = errno;
    close(fd);
    errno = why;
    return ok;
}
