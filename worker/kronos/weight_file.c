/*
 * weight_file.c - One file of the weight cache: written whole or not at all, and when to trust it.
 *
 * Nothing of a file is used before its owner, its mode, its size, its header and the checksum of
 * its bytes were compared; the sum finds damage, the owner and the mode find strangers. Since the
 * size must be what this program expects, no number of the file ever becomes an offset.
 *
 * Pages: a file written in pieces of 2 MiB lies in large pages of the page cache where the file
 * system has them (ext4 from Linux 6.16 on, xfs, btrfs), and a mapping that begins at a multiple
 * of 2 MiB can then use them as they are. Elsewhere the same code gets small pages.
 */
#include "worker/kronos/weight_cache_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; not in every libc's headers */
#endif

#define LARGE_PAGE ((size_t)2 * 1024 * 1024)
#define ORDER_MARK 0x01020304u

static const char magic[8] = {'K', 'Q', 'W', 'E', 'I', 'G', 'H', 'T'};

_Static_assert(sizeof(struct weight_file_header) <= WEIGHT_FILE_HEADER_BYTES, "it fits its page");
_Static_assert(WEIGHT_FILE_HEADER_BYTES % WEIGHT_CACHE_ALIGNMENT == 0, "the data is aligned");

/* ---- memory ---- */

/*
 * ${bytes} of address space that begin at a multiple of a large page, to map something over. The
 * slack on both sides is given back.
 */
static unsigned char *
reserve(size_t bytes)
{
    size_t whole = bytes + LARGE_PAGE, page = (size_t)sysconf(_SC_PAGESIZE);
    size_t used = (bytes + page - 1) / page * page, before;
    unsigned char *base;

    base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    before = (LARGE_PAGE - (uintptr_t)base % LARGE_PAGE) % LARGE_PAGE;
    if (before > 0)
        munmap(base, before);
    if (whole - before > used)
        munmap(base + before + used, whole - before - used);
    return base + before;
}

void *
weight_pages_map(size_t bytes)
{
    unsigned char *base = reserve(bytes);
    void *memory;

    if (base == NULL)
        return NULL;
    memory =
        mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (memory == MAP_FAILED) {
        munmap(base, bytes);
        return NULL;
    }
    (void)madvise(memory, bytes, MADV_HUGEPAGE); /* only a hint */
    return memory;
}

/* The whole file, read-only and shared, in large pages if it has them. */
static unsigned char *
map_file(int fd, size_t bytes, const char *name, struct error *err)
{
    unsigned char *base = reserve(bytes);

    if (base == NULL) {
        error_errno(err, "map %s", name);
        return NULL;
    }
    if (mmap(base, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        error_errno(err, "map %s", name);
        goto unmap;
    }
    (void)madvise(base, bytes, MADV_HUGEPAGE); /* a hint: if it comes from disk, in large pages */
    /*
     * A sector that cannot be read is an error here and would be SIGBUS later. Before Linux 5.14 there
     * is no such question, hence EINVAL.
     */
    if (madvise(base, bytes, MADV_POPULATE_READ) == -1 && errno != EINVAL) {
        error_errno(err, "read %s", name);
        goto unmap;
    }
    return base;

unmap:
    munmap(base, bytes);
    return NULL;
}

/* ---- the header ---- */

static void
sum_of(unsigned char sum[16], const void *bytes, size_t n)
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, n));
    memcpy(sum, canonical.digest, 16);
}

static void
header_fill(struct weight_file_header *h, const char *key, const unsigned char *data, size_t bytes)
{
    *h = (struct weight_file_header){
        .version = WEIGHT_FILE_VERSION,
        .byte_order = ORDER_MARK,
        .header_bytes = WEIGHT_FILE_HEADER_BYTES,
        .data_bytes = bytes,
    };
    memcpy(h->magic, magic, sizeof(magic));
    memcpy(h->key, key, strlen(key)); /* shorter than the field, which weight_cache_open() saw to */
    sum_of(h->sum, data, bytes);
    sum_of(h->header_sum, h, offsetof(struct weight_file_header, header_sum));
}

/* ${base} holds the header's page and ${bytes} more. */
static int
header_check(
    const unsigned char *base, const char *name, const char *key, size_t bytes, struct error *err)
{
    struct weight_file_header h;
    char wanted[WEIGHT_CACHE_KEY_MAX] = {0};
    unsigned char sum[16];

    memcpy(&h, base, sizeof(h));
    memcpy(wanted, key, strlen(key));
    if (memcmp(h.magic, magic, sizeof(magic)) != 0)
        return error_set(err, ERR_CORRUPT, "%s is no weight cache", name);
    if (h.version != WEIGHT_FILE_VERSION || h.byte_order != ORDER_MARK ||
        h.header_bytes != WEIGHT_FILE_HEADER_BYTES)
        return error_set(err, ERR_CORRUPT, "%s is of another version", name);
    sum_of(sum, &h, offsetof(struct weight_file_header, header_sum));
    if (memcmp(sum, h.header_sum, sizeof(sum)) != 0)
        return error_set(err, ERR_CORRUPT, "%s: its header is damaged", name);
    if (memcmp(h.key, wanted, sizeof(wanted)) != 0 || h.data_bytes != bytes)
        return error_set(err, ERR_CORRUPT, "%s holds other weights", name);
    sum_of(sum, base + WEIGHT_FILE_HEADER_BYTES, bytes);
    if (memcmp(sum, h.sum, sizeof(sum)) != 0)
        return error_set(err, ERR_CORRUPT, "%s: its bytes are damaged", name);
    return 0;
}

/* ---- reading ---- */

static int
check_status(int fd, const char *name, size_t bytes, struct error *err)
{
    struct stat st;

    if (fstat(fd, &st) == -1)
        return error_errno(err, "stat %s", name);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_CORRUPT, "%s is not a regular file", name);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return error_set(err, ERR_CORRUPT, "%s belongs to user %u", name, (unsigned)st.st_uid);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return error_set(err, ERR_CORRUPT, "%s may be written by others (mode %03o)", name,
            (unsigned)(st.st_mode & 0777));
    if ((uintmax_t)st.st_size != WEIGHT_FILE_HEADER_BYTES + bytes)
        return error_set(err, ERR_CORRUPT, "%s has %jd bytes, not %zu", name, (intmax_t)st.st_size,
            WEIGHT_FILE_HEADER_BYTES + bytes);
    return 0;
}

int
weight_file_open(struct weight_cache *cache, int dir_fd, const char *name, const char *key,
    size_t bytes, struct error *err)
{
    static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    size_t whole = WEIGHT_FILE_HEADER_BYTES + bytes;
    unsigned char *base;
    int fd;

    /* not blocking, should somebody have put a pipe there */
    if ((fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) == -1) {
        if (errno == ENOENT)
            return error_set(err, ERR_NOT_FOUND, "there is no %s", name);
        if (errno == ELOOP)
            return error_set(err, ERR_CORRUPT, "%s is a symbolic link", name);
        return error_errno(err, "open %s", name);
    }
    if (check_status(fd, name, bytes, err) == -1)
        goto close_file;
    if ((base = map_file(fd, whole, name, err)) == NULL)
        goto close_file;
    if (header_check(base, name, key, bytes, err) == -1) {
        munmap(base, whole);
        goto close_file;
    }
    /*
     * In use, so that nobody clears it away; and used today. Where a file system has no locks, or the
     * file is root's, what can happen is that it is built again one day.
     */
    (void)flock(fd, LOCK_SH | LOCK_NB);
    (void)futimens(fd, now);
    cache->fd = fd;
    cache->base = base;
    cache->mapped_bytes = whole;
    cache->data = base + WEIGHT_FILE_HEADER_BYTES;
    cache->bytes = bytes;
    return 0;

close_file:
    close(fd);
    return -1;
}

/* ---- writing ---- */

static int
write_all(int fd, const unsigned char *bytes, size_t n, struct error *err)
{
    for (size_t done = 0; done < n;) {
        size_t piece = n - done < LARGE_PAGE ? n - done : LARGE_PAGE;
        ssize_t written = write(fd, bytes + done, piece);

        if (written == -1 && errno == EINTR)
            continue;
        if (written == -1)
            return error_errno(err, "write the weight cache");
        done += (size_t)written;
    }
    return 0;
}

/* A write beyond this limit would not fail but end the process by SIGXFSZ. */
static bool
is_over_file_limit(size_t n)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           n > limit.rlim_cur;
}

int
weight_file_write(int dir_fd, const char *name, unsigned char *image, const char *key, size_t bytes,
    struct error *err)
{
    size_t whole = WEIGHT_FILE_HEADER_BYTES + bytes;
    char temporary[96];
    int fd;

    header_fill(
        (struct weight_file_header *)(void *)image, key, image + WEIGHT_FILE_HEADER_BYTES, bytes);
    if (is_over_file_limit(whole))
        return error_set(err, ERR_SYSTEM,
            "write the weight cache: %zu bytes are over the file size limit", whole);
    snprintf(
        temporary, sizeof(temporary), "%s.tmp", name); /* one builder at a time: a fixed name */
    (void)unlinkat(dir_fd, temporary, 0);              /* of a builder that was killed */
    fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd == -1)
        return error_errno(err, "create the weight cache");
    if (fchmod(fd, 0600) == -1) { /* whatever the umask */
        error_errno(err, "set the mode of the weight cache");
        goto remove_file;
    }
    /*
     * Asked for in full first, which finds a full disk before anything is written. Not every file
     * system can; the writes tell then.
     */
    if (posix_fallocate(fd, 0, (off_t)whole) == ENOSPC) {
        errno = ENOSPC;
        error_errno(err, "write the weight cache");
        goto remove_file;
    }
    if (write_all(fd, image, whole, err) == -1)
        goto remove_file;
    /* Before the rename, or a power cut could leave a name for bytes that never arrived. */
    if (fsync(fd) == -1) {
        error_errno(err, "write the weight cache");
        goto remove_file;
    }
    close(fd);
    if (renameat(dir_fd, temporary, dir_fd, name) == -1) {
        error_errno(err, "rename the weight cache");
        (void)unlinkat(dir_fd, temporary, 0);
        return -1;
    }
    return 0;

remove_file:
    close(fd);
    (void)unlinkat(dir_fd, temporary, 0);
    return -1;
}
