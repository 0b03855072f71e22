/*
 * weight_cache_test.c - One file for all who want the same bytes, and no file that only looks
 * like it: everything that can be wrong with a cache ends in the right bytes all the same.
 *
 * Other workers are played by child processes. What a child finds out is its exit status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worker/kronos/weight_cache_internal.h"

#define KEY "weights of the test, version 1"
#define BYTES                                                                                      \
    ((size_t)5 * 1024 * 1024 + 100) /* over two large pages, and no whole number of them */
#define DAY (24 * 3600)

static char folder[64];

/* ---- a folder of its own for each test ---- */

static int
make_folder(void **state)
{
    (void)state;
    /* in memory where possible: hundreds of files are made here, and each waits for its disk */
    snprintf(folder, sizeof(folder), "%s/kronosq-cache-XXXXXX",
        access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static const char *
path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void
remove_all(const char *dir)
{
    DIR *list = opendir(dir);
    const struct dirent *entry;
    char path[512];

    assert_non_null(list);
    while ((entry = readdir(list)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (unlink(path) == -1)
            remove_all(path);
    }
    closedir(list);
    assert_int_equal(rmdir(dir), 0);
}

static int
remove_folder(void **state)
{
    (void)state;
    chmod(folder, 0700);
    remove_all(folder);
    return 0;
}

/* Cache files (".kq"), or whatever else ends in ${suffix}. */
static size_t
count_files(const char *suffix)
{
    DIR *list = opendir(folder);
    const struct dirent *entry;
    size_t n = 0;

    assert_non_null(list);
    while ((entry = readdir(list)) != NULL) {
        size_t len = strlen(entry->d_name);

        n += len > strlen(suffix) && strcmp(entry->d_name + len - strlen(suffix), suffix) == 0;
    }
    closedir(list);
    return n;
}

/* The path of the one cache file there is. */
static const char *
only_file(void)
{
    DIR *list = opendir(folder);
    const struct dirent *entry;
    const char *path = NULL;

    assert_non_null(list);
    while ((entry = readdir(list)) != NULL)
        if (strstr(entry->d_name, ".kq") != NULL)
            path = path_of(entry->d_name);
    closedir(list);
    assert_non_null(path);
    return path;
}

/* ---- bytes, and how often they were made ---- */

static unsigned n_filled;
static atomic_uint *n_filled_by_all; /* in memory that children share; or NULL */

static unsigned char
byte_at(size_t i)
{
    return (unsigned char)(i * 31 + i / 4096);
}

static int
fill(void *cookie, unsigned char *data, struct error *err)
{
    (void)err;
    n_filled++;
    if (n_filled_by_all != NULL)
        atomic_fetch_add(n_filled_by_all, 1);
    for (size_t i = 0; i < *(const size_t *)cookie; i++)
        data[i] = byte_at(i);
    return 0;
}

static bool
is_right(const struct weight_cache *cache, size_t bytes)
{
    if (cache->bytes != bytes || (uintptr_t)cache->data % WEIGHT_CACHE_ALIGNMENT != 0)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (cache->data[i] != byte_at(i))
            return false;
    return true;
}

static int
open_sized(struct weight_cache *cache, const char *dir, const char *key, size_t bytes)
{
    struct error err;
    int status;

    n_filled = 0;
    status = weight_cache_open(cache, dir, key, bytes, fill, &bytes, &err);
    if (status == -1)
        print_error("%s\n", err.text);
    return status;
}

/* Open, and compare every byte. */
static struct weight_cache
opened_key(const char *dir, const char *key)
{
    struct weight_cache cache;

    assert_int_equal(open_sized(&cache, dir, key, BYTES), 0);
    assert_true(is_right(&cache, BYTES));
    return cache;
}

static struct weight_cache
opened(const char *dir)
{
    return opened_key(dir, KEY);
}

static void
check_found(void)
{
    struct weight_cache cache = opened(folder);

    if (cache.origin != WEIGHT_CACHE_FOUND)
        fail_msg("not found but %s: %s", weight_cache_origin_name(cache.origin), cache.note);
    assert_int_equal(n_filled, 0);
    assert_string_equal(cache.note, "");
    weight_cache_close(&cache);
}

/* Build a good file; its path. */
static const char *
build(void)
{
    static char path[ERROR_TEXT_MAX];
    struct weight_cache cache = opened(folder);

    assert_int_equal(cache.origin, WEIGHT_CACHE_BUILT);
    strcpy(path, cache.path);
    weight_cache_close(&cache);
    return path;
}

/* Whatever is there now is not trusted: built again, saying why, and the next one finds it. */
static void
check_rebuilt(const char *why)
{
    struct weight_cache cache = opened(folder);

    if (cache.origin != WEIGHT_CACHE_BUILT || strstr(cache.note, why) == NULL)
        fail_msg("%s, \"%s\"; wanted built, \"%s\"", weight_cache_origin_name(cache.origin),
            cache.note, why);
    assert_int_equal(n_filled, 1);
    weight_cache_close(&cache);
    check_found();
}

static void
check_private(struct weight_cache *cache, const char *why)
{
    if (cache->origin != WEIGHT_CACHE_PRIVATE || strstr(cache->note, why) == NULL)
        fail_msg("%s, \"%s\"; wanted private, \"%s\"", weight_cache_origin_name(cache->origin),
            cache->note, why);
    assert_string_equal(cache->path, "");
    weight_cache_close(cache);
}

/* ---- the good days ---- */

static void
the_first_one_builds_the_file_and_the_next_ones_find_it(void **state)
{
    struct weight_cache first = opened(folder), second;
    struct stat st;

    (void)state;
    assert_int_equal(first.origin, WEIGHT_CACHE_BUILT);
    assert_string_equal(first.note, "");
    assert_int_equal(n_filled, 1);
    second = opened(folder); /* while the first one uses it */
    assert_int_equal(second.origin, WEIGHT_CACHE_FOUND);
    assert_int_equal(n_filled, 0);
    assert_string_equal(first.path, second.path);
    assert_int_equal(stat(first.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, WEIGHT_FILE_HEADER_BYTES + BYTES);
    weight_cache_close(&first);
    weight_cache_close(&second);
    weight_cache_close(&second); /* twice is once */
    check_found();
    assert_int_equal(count_files(".kq"), 1);
    assert_int_equal(count_files(".tmp"), 0);
}

static void
every_key_and_every_size_has_a_file_of_its_own(void **state)
{
    struct weight_cache a = opened_key(folder, "one"), b = opened_key(folder, "two"), c;

    (void)state;
    assert_string_not_equal(a.path, b.path);
    assert_int_equal(b.origin, WEIGHT_CACHE_BUILT);
    weight_cache_close(&a);
    weight_cache_close(&b);
    /* the same key with another size is a mistake of the program, not a reason to stop */
    assert_int_equal(open_sized(&c, folder, "one", 1), 0);
    assert_true(is_right(&c, 1));
    weight_cache_close(&c);
    assert_int_equal(open_sized(&c, folder, "one", BYTES), 0);
    assert_true(is_right(&c, BYTES));
    weight_cache_close(&c);
}

static void
the_directory_is_made_when_it_is_missing_also_its_parents(void **state)
{
    char deep[128], other[160];
    struct weight_cache cache;
    struct stat st;

    (void)state;
    snprintf(deep, sizeof(deep), "%s/a/b/cache", folder);
    cache = opened(deep);
    assert_int_equal(cache.origin, WEIGHT_CACHE_BUILT);
    weight_cache_close(&cache);
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    /* systemd's /var/cache/kronosq is a link when the user is dynamic */
    snprintf(other, sizeof(other), "%s/link", folder);
    assert_int_equal(symlink(deep, other), 0);
    cache = opened(other);
    assert_int_equal(cache.origin, WEIGHT_CACHE_FOUND);
    weight_cache_close(&cache);
}

static void
without_a_directory_the_bytes_are_private(void **state)
{
    struct weight_cache cache = opened(NULL);

    (void)state;
    assert_string_equal(cache.note, "");
    check_private(&cache, "");
}

static int
refuse(void *cookie, unsigned char *data, struct error *err)
{
    (void)cookie;
    (void)data;
    return error_set(err, ERR_CORRUPT, "tensor x is missing");
}

static void
what_cannot_be_filled_is_a_failure_and_leaves_no_file(void **state)
{
    struct weight_cache cache;
    struct error err;

    (void)state;
    assert_int_equal(weight_cache_open(&cache, folder, KEY, BYTES, refuse, NULL, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_string_equal(err.text, "tensor x is missing");
    weight_cache_close(&cache);
    assert_int_equal(weight_cache_open(&cache, NULL, KEY, BYTES, refuse, NULL, &err), -1);
    assert_int_equal(count_files(".kq"), 0);
    assert_int_equal(count_files(".tmp"), 0);
    weight_cache_close(&(struct weight_cache){.fd = -1});
}

static void
keys_and_sizes_out_of_bounds_are_refused(void **state)
{
    static const size_t sizes[] = {0, SIZE_MAX, SIZE_MAX / 2, WEIGHT_FILE_BYTES_MAX + 1};
    struct weight_cache cache;
    struct error err;
    char key[WEIGHT_CACHE_KEY_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(weight_cache_open(&cache, folder, KEY, sizes[i], refuse, NULL, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    assert_int_equal(weight_cache_open(&cache, folder, key, BYTES, refuse, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    key[WEIGHT_CACHE_KEY_MAX - 1] = '\0'; /* the longest */
    cache = opened_key(folder, key);
    assert_int_equal(cache.origin, WEIGHT_CACHE_BUILT);
    weight_cache_close(&cache);
    cache = opened_key(folder, key);
    assert_int_equal(cache.origin, WEIGHT_CACHE_FOUND);
    weight_cache_close(&cache);
}

/* ---- what is not trusted ---- */

static void
change_byte(const char *path, off_t at)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);

    assert_int_not_equal(fd, -1);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void
one_damaged_bit_anywhere_in_the_data_is_found(void **state)
{
    static const size_t places[] = {0, 1, 4095, 4096, BYTES / 2, 4194303, BYTES - 1};
    const char *path = build();

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        change_byte(path, (off_t)(WEIGHT_FILE_HEADER_BYTES + places[i]));
        check_rebuilt("its bytes are damaged");
    }
}

static void
a_hostile_header_is_refused_whatever_it_says(void **state)
{
    const char *path = build();

    (void)state;
    /* every byte of it: magic, version, order, sizes, sums, key */
    for (size_t i = 0; i < sizeof(struct weight_file_header); i += i < 64 ? 1 : 37) {
        change_byte(path, (off_t)i);
        check_rebuilt("weights-");
    }
}

/* Made by somebody who can compute checksums: a sound file, but of other weights. */
static void
a_sound_file_of_another_key_under_our_name_is_refused(void **state)
{
    struct weight_cache other = opened_key(folder, "other");
    char other_path[ERROR_TEXT_MAX];

    (void)state;
    strcpy(other_path, other.path);
    weight_cache_close(&other);
    assert_int_equal(rename(other_path, build()), 0);
    check_rebuilt("holds other weights");
}

static void
a_cut_or_grown_file_is_refused(void **state)
{
    static const size_t sizes[] = {
        0, 1, 4095, 4096, BYTES, BYTES + WEIGHT_FILE_HEADER_BYTES - 1, BYTES + 8192};
    const char *path = build();

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(truncate(path, (off_t)sizes[i]), 0);
        check_rebuilt("bytes, not");
    }
}

static void
what_is_no_regular_file_is_refused(void **state)
{
    const char *path = build();

    (void)state;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    check_rebuilt("is not a regular file");

    /* a link to a good file is no good file: it may point elsewhere tomorrow */
    assert_int_equal(rename(path, path_of("moved")), 0);
    assert_int_equal(symlink(path_of("moved"), path), 0);
    check_rebuilt("is a symbolic link");
}

/* Nothing can be renamed over a directory, so here it ends in private memory. */
static void
a_directory_in_its_place_is_left_alone(void **state)
{
    const char *path = build();
    struct weight_cache cache;

    (void)state;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    cache = opened(folder);
    check_private(&cache, "rename the weight cache");
    assert_int_equal(count_files(".tmp"), 0);
}

static void
a_file_that_others_may_write_is_refused(void **state)
{
    static const mode_t modes[] = {0620, 0602, 0666, 0777};
    const char *path = build();

    (void)state;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        check_rebuilt("may be written by others");
    }
    assert_int_equal(chmod(path, 0444), 0);
    check_found();
}

static void
a_file_of_another_user_is_refused(void **state)
{
    const char *path = build();

    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    assert_int_equal(chown(path, 4321, 4321), 0);
    check_rebuilt("belongs to user 4321");
}

static void
a_directory_of_others_is_not_used(void **state)
{
    struct weight_cache cache;

    (void)state;
    assert_int_equal(chmod(folder, 01777), 0);
    cache = opened(folder);
    check_private(&cache, "may be written by others (mode 777)");
    assert_int_equal(chmod(folder, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(folder, 4321, 4321), 0);
        cache = opened(folder);
        check_private(&cache, "belongs to user 4321");
        assert_int_equal(chown(folder, 0, 0), 0);
    }
    assert_int_equal(count_files(".kq"), 0);
}

static void
a_path_that_is_no_directory_is_not_used(void **state)
{
    struct weight_cache cache;
    char below[640];
    int fd = open(path_of("file"), O_WRONLY | O_CREAT, 0600);

    (void)state;
    assert_int_not_equal(fd, -1);
    close(fd);
    cache = opened(path_of("file"));
    check_private(&cache, "open the cache directory");
    snprintf(below, sizeof(below), "%s/below", path_of("file"));
    cache = opened(below);
    check_private(&cache, "open the cache directory");
    cache = opened("");
    check_private(&cache, "open the cache directory");
}

/* ---- other processes ---- */

/* Run ${child} in a process of its own; its exit status. */
static int
status_of(int (*child)(void))
{
    int status;
    pid_t pid = fork();

    assert_int_not_equal(pid, -1);
    if (pid == 0)
        _exit(child());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* 0 found, 1 built, 2 private; 9 wrong bytes. */
static int
open_once(void)
{
    struct weight_cache cache;
    int origin;

    if (open_sized(&cache, folder, KEY, BYTES) == -1 || !is_right(&cache, BYTES))
        return 9;
    origin = (int)cache.origin;
    weight_cache_close(&cache);
    return origin;
}

static int
open_with_little_room(void)
{
    struct rlimit limit = {BYTES / 2, BYTES / 2};

    return setrlimit(RLIMIT_FSIZE, &limit) == -1 ? 8 : open_once();
}

static int
open_as_somebody_else(void)
{
    if (geteuid() == 0 && (setgid(65534) == -1 || setuid(65534) == -1))
        return 8;
    return open_once();
}

static void
a_disk_that_takes_no_more_leaves_private_memory_and_no_file(void **state)
{
    (void)state;
    assert_int_equal(status_of(open_with_little_room), WEIGHT_CACHE_PRIVATE);
    assert_int_equal(count_files(".kq"), 0);
    assert_int_equal(count_files(".tmp"), 0);
    assert_int_equal(status_of(open_once), WEIGHT_CACHE_BUILT);
    /* what is there already needs no room */
    assert_int_equal(status_of(open_with_little_room), WEIGHT_CACHE_FOUND);
}

/* A cache that root has put there, in an image or by hand. */
static void
a_directory_that_cannot_be_written_serves_what_it_holds(void **state)
{
    (void)state;
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(status_of(open_as_somebody_else), WEIGHT_CACHE_PRIVATE);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(chmod(build(), 0444), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(status_of(open_as_somebody_else), WEIGHT_CACHE_FOUND);
}

static void
of_many_that_start_together_one_builds(void **state)
{
    enum { N = 6 };
    pid_t pids[N];
    unsigned n_built = 0;

    (void)state;
    n_filled_by_all = mmap(
        NULL, sizeof(*n_filled_by_all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(n_filled_by_all != MAP_FAILED);
    for (int round = 0; round < 5; round++) {
        atomic_store(n_filled_by_all, 0);
        n_built = 0;
        for (int i = 0; i < N; i++) {
            pids[i] = fork();
            assert_int_not_equal(pids[i], -1);
            if (pids[i] == 0)
                _exit(open_once());
        }
        for (int i = 0; i < N; i++) {
            int status;

            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_true(WIFEXITED(status));
            assert_true(WEXITSTATUS(status) <= WEIGHT_CACHE_BUILT);
            n_built += WEXITSTATUS(status) == WEIGHT_CACHE_BUILT;
        }
        assert_int_equal(n_built, 1);
        assert_int_equal(atomic_load(n_filled_by_all), 1);
        assert_int_equal(count_files(".kq"), 1);
        change_byte(only_file(), WEIGHT_FILE_HEADER_BYTES);
    }
    munmap(n_filled_by_all, sizeof(*n_filled_by_all));
    n_filled_by_all = NULL;
}

/* Dies with half of the bytes made, as by the OOM killer. */
static int
fill_and_die(void *cookie, unsigned char *data, struct error *err)
{
    (void)err;
    memset(data, 1, *(const size_t *)cookie / 2);
    raise(SIGKILL);
    return 0;
}

static int
open_and_die(void)
{
    struct weight_cache cache;
    struct error err;
    size_t bytes = BYTES;

    return weight_cache_open(&cache, folder, KEY, bytes, fill_and_die, &bytes, &err);
}

static void
a_builder_that_is_killed_is_in_nobodys_way(void **state)
{
    char left[ERROR_TEXT_MAX + 8];
    int fd;

    (void)state;
    assert_int_equal(status_of(open_and_die), 128 + SIGKILL);
    assert_int_equal(count_files(".kq"), 0);
    snprintf(left, sizeof(left), "%s.tmp", build());
    /* half a file, and the finished one gone */
    assert_int_equal(unlink(only_file()), 0);
    assert_int_not_equal(fd = open(left, O_WRONLY | O_CREAT, 0600), -1);
    assert_int_equal(ftruncate(fd, BYTES / 2), 0);
    close(fd);
    assert_int_equal(status_of(open_once), WEIGHT_CACHE_BUILT);
    assert_int_equal(count_files(".tmp"), 0);
    check_found();
}

/* A number in kB of the mapping of ${path} in a process; -1 when it has none. */
static long
mapping_kb(pid_t pid, const char *path, const char *field)
{
    char name[64], line[1024];
    bool is_ours = false;
    long total = -1, kb;
    FILE *f;

    snprintf(name, sizeof(name), "/proc/%d/smaps", (int)pid);
    assert_non_null(f = fopen(name, "r"));
    while (fgets(line, sizeof(line), f) != NULL) {
        unsigned long begin, end;

        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            is_ours = strstr(line, path) != NULL;
        else if (is_ours && strncmp(line, field, strlen(field)) == 0 &&
                 sscanf(line + strlen(field), ": %ld kB", &kb) == 1)
            total = (total < 0 ? 0 : total) + kb;
    }
    fclose(f);
    return total;
}

static void
two_workers_pay_for_one_copy(void **state)
{
    struct weight_cache ours = opened(folder);
    long whole_kb = (long)((WEIGHT_FILE_HEADER_BYTES + BYTES) / 1024);
    int ready[2], done[2];
    char byte = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    assert_int_not_equal(pid = fork(), -1);
    if (pid == 0) {
        struct weight_cache theirs;

        weight_cache_close(&ours); /* what a fork has inherited proves nothing */
        if (open_sized(&theirs, folder, KEY, BYTES) == -1 || !is_right(&theirs, BYTES) ||
            write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1)
            _exit(9);
        _exit((int)theirs.origin);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) == 1) {
        long rss = mapping_kb(pid, ours.path, "Rss"), pss = mapping_kb(pid, ours.path, "Pss");
        long our_pss = mapping_kb(getpid(), ours.path, "Pss");
        long dirty = mapping_kb(pid, ours.path, "Private_Dirty");

        assert_in_range(rss, whole_kb, whole_kb + 8);
        assert_in_range(pss + our_pss, whole_kb - 8, whole_kb + 8);
        assert_in_range(pss, whole_kb / 2 - 8, whole_kb / 2 + 8);
        assert_int_equal(dirty, 0);
    }
    assert_int_equal(write(done[1], &byte, 1), 1);
    {
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), WEIGHT_CACHE_FOUND);
    }
    close(ready[0]);
    close(done[0]);
    close(done[1]);
    weight_cache_close(&ours);
}

/* ---- old files ---- */

static void
set_age(const char *path, time_t seconds)
{
    struct timespec used = {.tv_sec = time(NULL) - seconds};
    struct timespec times[2] = {used, used};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
files_nobody_uses_are_cleared_away_and_those_in_use_never(void **state)
{
    enum { N = 8 };
    struct weight_cache caches[N], another;
    struct stat st;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        char key[16];

        snprintf(key, sizeof(key), "key %zu", i);
        caches[i] = opened_key(folder, key);
    }
    assert_int_equal(count_files(".kq"), N); /* all of them in use */
    for (size_t i = 0; i < N; i++)
        set_age(caches[i].path, (time_t)(i + 1) * DAY);
    set_age(caches[7].path, 300 * DAY);
    /* 7 stays in use; of the others the last three used are kept, but not over a month */
    for (size_t i = 0; i < 7; i++) {
        char path[ERROR_TEXT_MAX];

        strcpy(path, caches[i].path);
        weight_cache_close(&caches[i]);
        strcpy(caches[i].path, path);
    }
    set_age(caches[2].path, 31 * DAY);
    set_age(caches[3].path, 29 * DAY);
    set_age(caches[4].path, 32 * DAY);
    set_age(caches[5].path, 33 * DAY);
    set_age(caches[6].path, 34 * DAY);
    another = opened_key(folder, "another");
    assert_int_equal(another.origin, WEIGHT_CACHE_BUILT);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(stat(caches[i].path, &st) == 0, i == 0 || i == 1 || i == 3 || i == 7);

    /* found means used: it is new again */
    weight_cache_close(&another);
    another = opened_key(folder, "key 3");
    assert_int_equal(another.origin, WEIGHT_CACHE_FOUND);
    assert_int_equal(stat(another.path, &st), 0);
    assert_true(time(NULL) - st.st_mtim.tv_sec < DAY);
    weight_cache_close(&another);
    weight_cache_close(&caches[7]);
}

static void
what_is_not_ours_in_the_directory_stays(void **state)
{
    static const char *const names[] = {"weights-notes.kq", "README",
        "weights-0123456789abcdef0123456789abcdef.kq.bak",
        "weights-0123456789ABCDEF0123456789abcdef.kq"};
    struct stat st;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int fd = open(path_of(names[i]), O_WRONLY | O_CREAT, 0600);

        assert_int_not_equal(fd, -1);
        close(fd);
        set_age(path_of(names[i]), 300 * DAY);
    }
    build();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(stat(path_of(names[i]), &st), 0);
}

#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(the_first_one_builds_the_file_and_the_next_ones_find_it),
        CACHE_TEST(every_key_and_every_size_has_a_file_of_its_own),
        CACHE_TEST(the_directory_is_made_when_it_is_missing_also_its_parents),
        CACHE_TEST(without_a_directory_the_bytes_are_private),
        CACHE_TEST(what_cannot_be_filled_is_a_failure_and_leaves_no_file),
        CACHE_TEST(keys_and_sizes_out_of_bounds_are_refused),
        CACHE_TEST(one_damaged_bit_anywhere_in_the_data_is_found),
        CACHE_TEST(a_hostile_header_is_refused_whatever_it_says),
        CACHE_TEST(a_sound_file_of_another_key_under_our_name_is_refused),
        CACHE_TEST(a_cut_or_grown_file_is_refused),
        CACHE_TEST(what_is_no_regular_file_is_refused),
        CACHE_TEST(a_directory_in_its_place_is_left_alone),
        CACHE_TEST(a_file_that_others_may_write_is_refused),
        CACHE_TEST(a_file_of_another_user_is_refused),
        CACHE_TEST(a_directory_of_others_is_not_used),
        CACHE_TEST(a_path_that_is_no_directory_is_not_used),
        CACHE_TEST(a_disk_that_takes_no_more_leaves_private_memory_and_no_file),
        CACHE_TEST(a_directory_that_cannot_be_written_serves_what_it_holds),
        CACHE_TEST(of_many_that_start_together_one_builds),
        CACHE_TEST(a_builder_that_is_killed_is_in_nobodys_way),
        CACHE_TEST(two_workers_pay_for_one_copy),
        CACHE_TEST(files_nobody_uses_are_cleared_away_and_those_in_use_never),
        CACHE_TEST(what_is_not_ours_in_the_directory_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
