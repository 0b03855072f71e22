/*
 * regular_file.c - Open a file a user named, and nothing that only looks like one.
 *
 * O_NONBLOCK keeps the open of a pipe without a writer from hanging the start; on a
 * regular file it changes nothing.
 */
#include "worker/kronos/regular_file.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

int
regular_file_open(const char *path, size_t *size_bytes, struct error *err)
{
    struct stat st;
    int fd;

    if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) == -1)
        return error_errno(err, "open %s", path);
    if (fstat(fd, &st) == -1) {
        error_errno(err, "stat %s", path);
        goto close_file;
    }
    if (!S_ISREG(st.st_mode)) {
        error_set(err, ERR_INVALID, "%s is not a regular file", path);
        goto close_file;
    }
    if ((uintmax_t)st.st_size > SIZE_MAX) {
        error_set(err, ERR_INVALID, "%s is larger than memory can address", path);
        goto close_file;
    }
    *size_bytes = (size_t)st.st_size;
    return fd;

close_file:
    close(fd);
    return -1;
}
