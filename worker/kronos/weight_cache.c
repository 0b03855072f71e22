/*
 * weight_cache.c - Which file, who builds it, and which old ones go.
 *
 * Whoever finds no sound file takes the directory's lock, looks again (the one before may have
 * built it), prepares the bytes in private memory, writes them and then maps the file like
 * everybody else. So bytes are never written through a mapping, where a full disk is SIGBUS, and
 * when the file cannot be kept the work is done all the same: the private memory is the answer.
 *
 * A process holds a shared lock on the file it uses. Files that nobody holds are cleared away when
 * another one is built: all but the last few, and those that were not used for a month.
 */
#include "worker/kronos/weight_cache_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define NAME_PREFIX "weights-"
#define NAME_SUFFIX ".kq"
#define NAME_BYTES  (sizeof(NAME_PREFIX NAME_SUFFIX) + 32) /* 32 digits between; the terminator */
#define LOCK_NAME   "weights.lock"

#define UNUSED_KEPT                                                                                \
    3 /* files that nobody uses now: a model that is being switched back and forth */
#define UNUSED_SECONDS ((int64_t)30 * 24 * 3600)
#define UNUSED_LISTED  64 /* looked at in one go */

/*
 * As long as another process may take to build: some seconds, on a slow disk. Then we go our own
 * way, for a builder that hangs must not keep the others from starting.
 */
#define LOCK_WAIT_MS 30000
#define LOCK_POLL_MS 5

static void
format_name(char name[NAME_BYTES], const char *key)
{
    XXH128_hash_t hash = XXH3_128bits(key, strlen(key)); /* the file holds the whole key */

    snprintf(name, NAME_BYTES, NAME_PREFIX "%016llx%016llx" NAME_SUFFIX,
        (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

/* ---- the directory ---- */

/* mkdir -p; what is there already is looked at when it is opened. */
static void
make_directories(const char *dir)
{
    char path[ERROR_TEXT_MAX * 16];
    size_t len = strlen(dir);

    if (len >= sizeof(path))
        return;
    memcpy(path, dir, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (path[i] != '/')
            continue;
        path[i] = '\0';
        (void)mkdir(path, 0700);
        path[i] = '/';
    }
    (void)mkdir(path, 0700);
}

/*
 * The directory is the operator's choice, so a link to it is followed (systemd's /var/cache/NAME is
 * one). In a directory that others can write to, they could take our files away from under us.
 */
static int
open_directory(const char *dir, struct error *err)
{
    struct stat st;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1 && errno == ENOENT) {
        make_directories(dir);
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd == -1)
        return error_errno(err, "open the cache directory %s", dir);
    if (fstat(fd, &st) == -1) {
        error_errno(err, "stat the cache directory %s", dir);
        goto close_directory;
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        error_set(err, ERR_INVALID, "the cache directory %s belongs to user %u", dir,
            (unsigned)st.st_uid);
        goto close_directory;
    }
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        error_set(err, ERR_INVALID, "the cache directory %s may be written by others (mode %03o)",
            dir, (unsigned)(st.st_mode & 0777));
        goto close_directory;
    }
    return fd;

close_directory:
    close(fd);
    return -1;
}

/* The descriptor that holds the lock, for close(); or -1. */
static int
lock_directory(int dir_fd, struct error *err)
{
    static const struct timespec poll = {.tv_nsec = LOCK_POLL_MS * 1000000L};
    int fd =
        openat(dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd == -1)
        return error_errno(err, "open the lock of the cache directory");
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) == -1; waited_ms += LOCK_POLL_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            error_errno(err, "lock the cache directory");
            goto close_lock;
        }
        if (waited_ms >= LOCK_WAIT_MS) {
            error_set(err, ERR_UNAVAILABLE,
                "another process has been building in the cache directory for %d s",
                LOCK_WAIT_MS / 1000);
            goto close_lock;
        }
        (void)nanosleep(&poll, NULL);
    }
    return fd;

close_lock:
    close(fd);
    return -1;
}

/* ---- old files ---- */

struct unused {
    char name[NAME_BYTES];
    int64_t used_at; /* seconds since 1970 */
};

static bool
is_cache_name(const char *name, const char *suffix)
{
    size_t n_prefix = strlen(NAME_PREFIX), n = n_prefix + 32;

    return strlen(name) == n + strlen(suffix) && strncmp(name, NAME_PREFIX, n_prefix) == 0 &&
           strspn(name + n_prefix, "0123456789abcdef") == 32 && strcmp(name + n, suffix) == 0;
}

/* A file of ours that no process holds: true, with the time of its last use. */
static bool
is_unused(int dir_fd, const char *name, int64_t *used_at)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    bool is = false;

    if (fd == -1)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *used_at = st.st_mtim.tv_sec;
        is = true;
    }
    close(fd);
    return is;
}

static int
compare_latest_first(const void *a, const void *b)
{
    const struct unused *x = a, *y = b;

    return (x->used_at < y->used_at) - (x->used_at > y->used_at);
}

/* Under the lock. What cannot be removed stays: nothing depends on it. */
static void
remove_old(int dir_fd, const char *own_name)
{
    struct unused files[UNUSED_LISTED];
    int64_t now = (int64_t)time(NULL);
    const struct dirent *entry;
    size_t n = 0;
    DIR *list;
    int fd;

    if ((fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
        return;
    if ((list = fdopendir(fd)) == NULL) {
        close(fd);
        return;
    }
    while ((entry = readdir(list)) != NULL && n < UNUSED_LISTED) {
        if (is_cache_name(entry->d_name, NAME_SUFFIX ".tmp"))
            (void)unlinkat(
                dir_fd, entry->d_name, 0); /* its builder died, or we would not be here */
        else if (is_cache_name(entry->d_name, NAME_SUFFIX) &&
                 strcmp(entry->d_name, own_name) != 0 &&
                 is_unused(dir_fd, entry->d_name, &files[n].used_at))
            memcpy(files[n++].name, entry->d_name, NAME_BYTES);
    }
    closedir(list);
    qsort(files, n, sizeof(files[0]), compare_latest_first);
    for (size_t i = 0; i < n; i++) {
        if (i >= UNUSED_KEPT || now - files[i].used_at > UNUSED_SECONDS)
            (void)unlinkat(dir_fd, files[i].name, 0);
    }
}

/* ---- open ---- */

/* The bytes in private memory, behind room for a header. */
static int
prepare(struct weight_cache *cache, size_t bytes, weight_cache_fill_fn fill, void *cookie,
    struct error *err)
{
    size_t whole = WEIGHT_FILE_HEADER_BYTES + bytes;
    unsigned char *image = weight_pages_map(whole);

    if (image == NULL)
        return error_set(err, ERR_MEMORY, "out of memory for %zu bytes of weights", bytes);
    if (fill(cookie, image + WEIGHT_FILE_HEADER_BYTES, err) == -1) {
        munmap(image, whole);
        return -1;
    }
    cache->base = image;
    cache->mapped_bytes = whole;
    cache->data = image + WEIGHT_FILE_HEADER_BYTES;
    cache->bytes = bytes;
    return 0;
}

/* ${cache} holds prepared bytes: from now on those of the file, or these with the reason. */
static void
publish(struct weight_cache *cache, int dir_fd, const char *name, const char *key)
{
    struct weight_cache file = *cache;
    struct error why;

    remove_old(dir_fd, name);
    if (weight_file_write(dir_fd, name, cache->base, key, cache->bytes, &why) == -1 ||
        weight_file_open(&file, dir_fd, name, key, cache->bytes, &why) == -1) {
        strcpy(cache->note, why.text);
        return;
    }
    munmap(cache->base, cache->mapped_bytes);
    *cache = file;
    cache->origin = WEIGHT_CACHE_BUILT;
}

static int
open_in_directory(struct weight_cache *cache, int dir_fd, const char *key, size_t bytes,
    weight_cache_fill_fn fill, void *cookie, struct error *err)
{
    char name[NAME_BYTES];
    struct error why;
    int lock, status;

    format_name(name, key);
    if (weight_file_open(cache, dir_fd, name, key, bytes, &why) == 0) {
        cache->origin = WEIGHT_CACHE_FOUND;
        return 0;
    }
    if ((lock = lock_directory(dir_fd, &why)) == -1) {
        strcpy(cache->note, why.text);
        return prepare(cache, bytes, fill, cookie, err);
    }
    if (weight_file_open(cache, dir_fd, name, key, bytes, &why) == 0) {
        cache->origin = WEIGHT_CACHE_FOUND;
        status = 0;
    } else {
        if (why.code != ERR_NOT_FOUND)
            strcpy(cache->note, why.text);
        if ((status = prepare(cache, bytes, fill, cookie, err)) == 0)
            publish(cache, dir_fd, name, key);
    }
    close(lock);
    return status;
}

int
weight_cache_open(struct weight_cache *cache, const char *dir, const char *key, size_t bytes,
    weight_cache_fill_fn fill, void *cookie, struct error *err)
{
    char name[NAME_BYTES];
    struct error why;
    int dir_fd, status;

    *cache = (struct weight_cache){.fd = -1, .origin = WEIGHT_CACHE_PRIVATE};
    if (strlen(key) >= WEIGHT_CACHE_KEY_MAX)
        return error_set(
            err, ERR_INVALID, "the key of the weights is over %d bytes", WEIGHT_CACHE_KEY_MAX - 1);
    if (bytes == 0 || bytes > WEIGHT_FILE_BYTES_MAX)
        return error_set(err, ERR_INVALID, "%zu bytes of weights", bytes);
    if (dir == NULL)
        status = prepare(cache, bytes, fill, cookie, err);
    else if ((dir_fd = open_directory(dir, &why)) == -1) {
        strcpy(cache->note, why.text);
        status = prepare(cache, bytes, fill, cookie, err);
    } else {
        status = open_in_directory(cache, dir_fd, key, bytes, fill, cookie, err);
        close(dir_fd);
    }
    if (status == -1)
        return -1;
    if (cache->origin == WEIGHT_CACHE_PRIVATE) {
        (void)mprotect(cache->base, cache->mapped_bytes, PROT_READ); /* as the file would be */
    } else {
        format_name(name, key);
        snprintf(cache->path, sizeof(cache->path), "%s/%s", dir, name);
    }
    return 0;
}

void
weight_cache_close(struct weight_cache *cache)
{
    if (cache->base == NULL)
        return;
    munmap(cache->base, cache->mapped_bytes);
    if (cache->fd != -1)
        close(cache->fd);
    *cache = (struct weight_cache){.fd = -1};
}

const char *
weight_cache_origin_name(enum weight_cache_origin origin)
{
    switch (origin) {
    case WEIGHT_CACHE_FOUND:
        return "found";
    case WEIGHT_CACHE_BUILT:
        return "built";
    case WEIGHT_CACHE_PRIVATE:
        break;
    }
    return "private";
}
