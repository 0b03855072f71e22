/*
 * redis.h - Blocking Redis connections: address, password, time-outs, backoff.
 *
 * Used by the worker, one connection per thread. The evented twin for the API
 * is redis_link.h. A connection is handed out only when Redis answered, the
 * password was right, and ROLE says master.
 */
#ifndef COMMON_REDIS_H
#define COMMON_REDIS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct redis_settings {
    char host[256];         /* empty when path is set */
    int port;               /* 1..65535 */
    char path[108];         /* unix socket; empty for TCP */
    int database;           /* 0..15 and up */
    char user[64];          /* empty: the default user */
    char password[256];     /* empty: no AUTH; cleared with redis_settings_clear() */
    int connect_timeout_ms; /* 1500 */
    int command_timeout_ms; /* 7000: longer than the longest BLPOP */
};

/**
 * redis_settings_parse(s, url, password_file, err):
 * redis://[user[:password]@]host[:port][/db] or unix:///path.sock[?db=N];
 * ${password_file} may be NULL; its first line wins over the URL. Error texts
 * never contain a password.
 */
int redis_settings_parse(
    struct redis_settings *s, const char *url, const char *password_file, struct error *err);
void redis_settings_clear(struct redis_settings *s);

#define REDIS_DESCRIBE_MAX 288

/** redis_settings_describe(s, text, size): "127.0.0.1:6379/0", fit for logs. */
void redis_settings_describe(const struct redis_settings *s, char *text, size_t size);

/**
 * redis_open(s, name, err): connect, authenticate, select, CLIENT SETNAME ${name},
 * check ROLE is master. Returns a connection for redisFree(), or NULL.
 */
redisContext *redis_open(const struct redis_settings *s, const char *name, struct error *err);

/** redis_run_id(c, id, err): Redis's run id (40 hex digits) into ${id} [41]; changes when Redis restarts. */
int redis_run_id(redisContext *c, char *id, struct error *err);

/**
 * redis_error_is_connection(reply): READONLY, UNBLOCKED, LOADING, MASTERDOWN and
 * CLUSTERDOWN errors are treated as a lost connection.
 */
bool redis_error_is_connection(const redisReply *reply);

/**
 * redis_connection_error(c, where, err): why ${c} (may be NULL) failed just now, as
 * ERR_UNAVAILABLE; ${where} is redis_settings_describe()'s text. Always -1. Call it before
 * anything changes errno.
 */
int redis_connection_error(const redisContext *c, const char *where, struct error *err);

/** redis_keep_alive(fd, s, err): TCP keepalive after 30 s; nothing to do on a unix socket. */
int redis_keep_alive(int fd, const struct redis_settings *s, struct error *err);

/**
 * redis_refusal(c, err): does this Redis lose work? Checks version >= 7.0,
 * maxmemory-policy noeviction and AOF. 0: safe, and ${err} is ERR_NONE with an empty
 * text or one worth a warning (tcp-keepalive 0; a check this user may not make).
 * -1: ERR_INVALID, the text says what is wrong and the command that mends it; or
 * ERR_UNAVAILABLE when the connection broke.
 */
int redis_refusal(redisContext *c, struct error *err);

/** redis_info_refusal(info, err): the same from an answer to INFO, for who may not block. Says nothing of tcp-keepalive. */
int redis_info_refusal(const redisReply *info, struct error *err);

/**
 * redis_memory_share(info, share): how full the memory is that Redis may use, by an answer to INFO
 * memory: 0.85 is 85 %, 0 without a limit. 0, or -1 when the answer does not tell.
 */
int redis_memory_share(const redisReply *info, double *share);

#define REDIS_LOOK_MS 1500 /* how long redis_look() may take to connect, or to be answered */

/**
 * redis_look(s, name, logger, allow_volatile, is_there, err): what an evented daemon asks before it
 * runs. 0, also when Redis does not answer yet; what is worth a warning is logged. -1 with
 * ERR_INVALID: it does not let us in, or may lose tasks and ${allow_volatile} is false.
 */
int redis_look(const struct redis_settings *s, const char *name, const char *logger,
    bool allow_volatile, bool *is_there, struct error *err);

/** redis_keepalive_is_off(c): tcp-keepalive 0, so dead clients stay; false when it may not be read. */
bool redis_keepalive_is_off(redisContext *c);

/* Delay before the next connection attempt: doubles from 50 ms to 2 s, times 0.5 to 1. */
struct redis_backoff {
    int attempts; /* failed in a row, counted until the delay has its full length */
};
int redis_backoff_next_ms(struct redis_backoff *b);
void redis_backoff_reset(struct redis_backoff *b);

#endif /* COMMON_REDIS_H */
