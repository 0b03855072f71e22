/*
 * redis_server.c - Starts, stops, freezes and kills a private redis-server.
 *
 * Two children per server. Redis itself is tied to the test by PR_SET_PDEATHSIG.
 * The keeper waits for the end of a pipe whose other end only the test holds: an
 * assertion, a sanitizer's abort or a SIGKILL closes it, and the keeper removes
 * the directory.
 */
#include "tests/support/redis_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_WITHIN_MS 20000 /* a loaded machine under sanitizers; normally some 30 ms */
#define ENDED_WITHIN_MS 20000
#define RETRY_EVERY_MS  5
#define CLIENT_TIMEOUT  5 /* seconds */
#define OPTIONS_MAX     64

struct redis_server {
    char directory[64];
    char socket_path[96];
    char url[112];
    const char *const *options;
    pid_t pid;       /* 0: not running */
    pid_t keeper;    /* removes the directory if we do not */
    int keeper_pipe; /* its end tells the keeper that we are gone */
};

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    (void)remove(path); /* what cannot be removed must not keep the rest */
    return 0;
}

static void
remove_directory(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void
print_log(const struct redis_server *s)
{
    char path[128], line[512];
    FILE *log;

    snprintf(path, sizeof(path), "%s/redis.log", s->directory);
    if ((log = fopen(path, "re")) == NULL)
        return;
    while (fgets(line, sizeof(line), log) != NULL)
        fprintf(stderr, "redis-server: %s", line);
    fclose(log);
}

/* The keeper: in a session of its own, so that a signal to the test's group spares it. */
static void
keep(const char *directory, int alive_fd)
{
    char byte;

    setsid();
    signal(SIGPIPE, SIG_IGN);
    if (alive_fd != 0 && dup2(alive_fd, 0) == -1)
        _exit(1);
    /* Holding another keeper's pipe or the test's stdout open would make others wait for us. */
    syscall(SYS_close_range, 1U, ~0U, 0U);
    while (read(0, &byte, 1) == -1 && errno == EINTR)
        ;
    remove_directory(directory);
    /* Redis dies at the same moment as the test and may write one more file before it does. */
    for (int i = 0; i < 200 && access(directory, F_OK) == 0; i++) {
        poll(NULL, 0, RETRY_EVERY_MS);
        remove_directory(directory);
    }
    _exit(0);
}

static int
start_keeper(struct redis_server *s)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) == -1) {
        perror("redis_server: pipe");
        return -1;
    }
    s->keeper = fork();
    if (s->keeper == 0)
        keep(s->directory, ends[0]);
    close(ends[0]);
    if (s->keeper == -1) {
        perror("redis_server: fork");
        close(ends[1]);
        return -1;
    }
    s->keeper_pipe = ends[1];
    return 0;
}

static void
become_redis(const struct redis_server *s, pid_t parent)
{
    const char *argv[OPTIONS_MAX];
    const char *const fixed[] = {"redis-server", "--port", "0", "--unixsocket", s->socket_path,
        "--dir", s->directory, "--logfile", "redis.log", "--loglevel", "warning", "--appendonly",
        "yes", "--appendfsync", "no", "--save", "", "--maxmemory-policy", "noeviction",
        "--enable-debug-command", "local", "--databases", "16"};
    size_t n = sizeof(fixed) / sizeof(fixed[0]);
    sigset_t none;
    int null_fd;

    memcpy(argv, fixed, sizeof(fixed));
    for (const char *const *option = s->options; option != NULL && *option != NULL; option++) {
        if (n == OPTIONS_MAX - 1)
            _exit(126);
        argv[n++] = *option;
    }
    argv[n] = NULL;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before the line above */
        _exit(126);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if ((null_fd = open("/dev/null", O_RDWR)) != -1) {
        dup2(null_fd, 0);
        dup2(null_fd, 1);
        dup2(null_fd, 2);
    }
    syscall(SYS_close_range, 3U, ~0U, 0U);
    execvp("redis-server", (char *const *)argv);
    _exit(127);
}

/* Has the process ended within ${limit_ms}? Reaps it. */
static int
wait_for_end(struct redis_server *s, int limit_ms)
{
    int64_t deadline = now_ms() + limit_ms;
    int status;

    for (;;) {
        pid_t ended = waitpid(s->pid, &status, WNOHANG);

        if (ended == s->pid || (ended == -1 && errno == ECHILD)) {
            s->pid = 0;
            return 0;
        }
        if (now_ms() >= deadline)
            return -1;
        poll(NULL, 0, RETRY_EVERY_MS);
    }
}

static int
answers_ping(const struct redis_server *s)
{
    redisContext *c = redis_server_connect(s);
    redisReply *reply;
    int answered;

    if (c == NULL)
        return 0;
    reply = redisCommand(c, "PING");
    /* NOAUTH is an answer too: the test set a password. LOADING is not. */
    answered = reply != NULL &&
               (reply->type == REDIS_REPLY_STATUS ||
                   (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOAUTH", 6) == 0));
    freeReplyObject(reply);
    redisFree(c);
    return answered;
}

int
redis_server_start(struct redis_server *s)
{
    int64_t deadline = now_ms() + READY_WITHIN_MS;
    pid_t parent = getpid();

    if (s->pid != 0)
        return 0;
    /* A killed Redis leaves its socket behind: without it a refused connection means "not yet". */
    unlink(s->socket_path);
    s->pid = fork();
    if (s->pid == 0)
        become_redis(s, parent);
    if (s->pid == -1) {
        perror("redis_server: fork");
        s->pid = 0;
        return -1;
    }
    while (!answers_ping(s)) {
        if (wait_for_end(s, 0) == 0) {
            fprintf(stderr, "redis_server: redis-server ended at once; is it installed?\n");
            print_log(s);
            return -1;
        }
        if (now_ms() >= deadline) {
            fprintf(stderr, "redis_server: no answer within %d ms\n", READY_WITHIN_MS);
            print_log(s);
            return -1;
        }
        poll(NULL, 0, RETRY_EVERY_MS);
    }
    return 0;
}

struct redis_server *
redis_server_new(const char *const *options)
{
    struct redis_server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->options = options;
    snprintf(s->directory, sizeof(s->directory), "/tmp/kronosq-redis-XXXXXX");
    if (mkdtemp(s->directory) == NULL) {
        perror("redis_server: mkdtemp");
        goto free_server;
    }
    snprintf(s->socket_path, sizeof(s->socket_path), "%s/redis.sock", s->directory);
    snprintf(s->url, sizeof(s->url), "unix://%s", s->socket_path);
    if (start_keeper(s) == -1) {
        remove_directory(s->directory);
        goto free_server;
    }
    if (redis_server_start(s) == -1) {
        redis_server_free(s);
        return NULL;
    }
    return s;

free_server:
    free(s);
    return NULL;
}

void
redis_server_free(struct redis_server *s)
{
    if (s == NULL)
        return;
    (void)redis_server_kill(s); /* it has printed what went wrong */
    close(s->keeper_pipe);      /* now the keeper removes the directory */
    while (waitpid(s->keeper, NULL, 0) == -1 && errno == EINTR)
        ;
    free(s);
}

static int
end_by(struct redis_server *s, int signal_number)
{
    if (s->pid == 0)
        return 0;
    kill(s->pid, signal_number);
    kill(s->pid, SIGCONT); /* a frozen one would never see a TERM */
    if (wait_for_end(s, ENDED_WITHIN_MS) == 0)
        return 0;
    fprintf(stderr, "redis_server: still there %d ms after signal %d\n", ENDED_WITHIN_MS,
        signal_number);
    print_log(s);
    return -1;
}

int
redis_server_stop(struct redis_server *s)
{
    return end_by(s, SIGTERM);
}

int
redis_server_kill(struct redis_server *s)
{
    return end_by(s, SIGKILL);
}

int
redis_server_freeze(struct redis_server *s)
{
    return s->pid != 0 ? kill(s->pid, SIGSTOP) : -1;
}

int
redis_server_thaw(struct redis_server *s)
{
    return s->pid != 0 ? kill(s->pid, SIGCONT) : -1;
}

const char *
redis_server_url(const struct redis_server *s)
{
    return s->url;
}

const char *
redis_server_socket(const struct redis_server *s)
{
    return s->socket_path;
}

const char *
redis_server_directory(const struct redis_server *s)
{
    return s->directory;
}

pid_t
redis_server_pid(const struct redis_server *s)
{
    return s->pid;
}

redisContext *
redis_server_connect(const struct redis_server *s)
{
    struct timeval limit = {.tv_sec = CLIENT_TIMEOUT};
    redisContext *c = redisConnectUnixWithTimeout(s->socket_path, limit);

    if (c == NULL)
        return NULL;
    if (c->err != 0 || redisSetTimeout(c, limit) != REDIS_OK) {
        redisFree(c);
        return NULL;
    }
    return c;
}
