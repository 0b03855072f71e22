/*
 * secret_file.c - A file that holds secrets: API keys, master secrets.
 *
 * A group may read it, because service managers hand credentials over that way; everybody may not.
 */
#include "common/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Judged on the open descriptor: between a look at a path and its opening it may change. */
static int
check(int fd, const char *path, size_t *size, struct error *err)
{
    struct stat st;

    if (fstat(fd, &st) == -1)
        return error_errno(err, "stat %.100s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_INVALID, "%.100s is not a regular file", path);
    if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0)
        return error_set(err, ERR_INVALID,
            "%.100s may be read or written by everybody (mode %03o): chmod o-rwx it", path,
            (unsigned)(st.st_mode & 0777));
    if (st.st_size > SECRET_FILE_BYTES_MAX)
        return error_set(err, ERR_INVALID, "%.100s has %lld bytes, the limit is %d", path,
            (long long)st.st_size, SECRET_FILE_BYTES_MAX);
    *size = (size_t)st.st_size;
    return 0;
}

char *
secret_file_read(const char *path, size_t *len, struct error *err)
{
    /* not blocking, so that opening a FIFO does not wait for a writer */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    size_t size = 0, used = 0;
    char *text = NULL;
    ssize_t n = 0;

    if (fd == -1) {
        error_errno(err, "open %.100s", path);
        return NULL;
    }
    if (check(fd, path, &size, err) == -1)
        goto close_fd;
    if ((text = malloc(size + 1)) == NULL) {
        error_set(err, ERR_MEMORY, "no memory to read %.100s", path);
        goto close_fd;
    }
    while (used < size && (n = read(fd, text + used, size - used)) != 0) {
        if (n == -1 && errno != EINTR) {
            error_errno(err, "read %.100s", path);
            goto free_text;
        }
        used += n > 0 ? (size_t)n : 0;
    }
    text[used] = '\0';
    if (strlen(text) != used) {
        error_set(err, ERR_INVALID, "%.100s has a zero byte", path);
        goto free_text;
    }
    *len = used;
    close(fd);
    return text;

free_text:
    secret_file_free(text, used);
    text = NULL;
close_fd:
    close(fd);
    return text;
}

void
secret_file_free(char *text, size_t len)
{
    if (text == NULL)
        return;
    explicit_bzero(text, len);
    free(text);
}
