/*
 * redis_server.h - A private Redis for one test program.
 *
 * Listens on a unix socket in a directory of its own, writes an AOF, never
 * evicts and stays quiet. Nothing is left behind whatever becomes of the test:
 * Redis dies with the thread that started it (start it from main), and a small
 * keeper process removes the directory once the test is gone.
 */
#ifndef TESTS_SUPPORT_REDIS_SERVER_H
#define TESTS_SUPPORT_REDIS_SERVER_H

#include <hiredis/hiredis.h>
#include <sys/types.h>

struct redis_server;

/**
 * redis_server_new(options): start Redis and wait until it answers. ${options} are further
 * command line words, such as "--requirepass", "secret", ending in NULL; it may be NULL and
 * must outlive the server. Returns NULL after printing what went wrong and Redis's own log.
 */
struct redis_server *redis_server_new(const char *const *options);

/** redis_server_free(s): kill it and remove its directory. */
void redis_server_free(struct redis_server *s);

/* Each returns 0, or -1 after printing why; stop and kill wait until the process is gone. */
int redis_server_stop(struct redis_server *s); /* TERM: Redis writes what it has to and exits */
int redis_server_kill(struct redis_server *s); /* KILL */
int redis_server_start(
    struct redis_server *s); /* again, on the same data; waits until it answers */
int redis_server_freeze(struct redis_server *s); /* SIGSTOP: connected, accepts, never answers */
int redis_server_thaw(struct redis_server *s);   /* SIGCONT */

/* Borrowed from ${s}. */
const char *redis_server_url(const struct redis_server *s);       /* "unix:///..." */
const char *redis_server_socket(const struct redis_server *s);    /* the socket's path */
const char *redis_server_directory(const struct redis_server *s); /* scratch space for the test */
pid_t redis_server_pid(const struct redis_server *s);             /* 0 while it is not running */

/** redis_server_connect(s): a plain connection for redisFree(), time-out 5 s, or NULL. */
redisContext *redis_server_connect(const struct redis_server *s);

#endif /* TESTS_SUPPORT_REDIS_SERVER_H */
