/*
 * redis.c - Opens blocking connections that are known to be good.
 *
 * Knows addresses, passwords and time-outs; knows no key. Writing to a socket
 * whose other end is gone raises SIGPIPE: every daemon ignores it.
 */
#include "common/redis.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/clock.h"
#include "common/redis_handshake.h"

#define CONNECT_TIMEOUT_MS 1500
#define COMMAND_TIMEOUT_MS 7000
#define DEFAULT_PORT       6379
#define DATABASE_MAX       1000000 /* Redis's own `databases` decides; this only bounds the text */

/* A dead peer is noticed after 30 + 3 * 10 s even where nobody writes. */
#define KEEPALIVE_IDLE_S     30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES     3

#define BACKOFF_FIRST_MS 50
#define BACKOFF_LAST_MS  2000

/* ---- settings ---- */

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decode %XX of ${from} [len] into ${to} [size]: a password may hold @ and /. */
static int
percent_decode(
    const char *what, const char *from, size_t len, char *to, size_t size, struct error *err)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = from[i];

        if (c == '%') {
            int high = i + 2 < len ? hex_digit(from[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(from[i + 2]) : -1;

            if (high == -1 || low == -1 || (high == 0 && low == 0))
                return error_set(err, ERR_INVALID, "Redis URL: a %% in the %s is not %%XX", what);
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (n + 1 >= size)
            return error_set(
                err, ERR_INVALID, "Redis URL: the %s is over %zu bytes", what, size - 1);
        to[n++] = c;
    }
    to[n] = '\0';
    return 0;
}

static int
parse_number(const char *what, const char *text, size_t len, int minimum, int maximum, int *value,
    struct error *err)
{
    int number = 0;

    if (len == 0 || len > 7 || strspn(text, "0123456789") < len)
        return error_set(
            err, ERR_INVALID, "Redis URL: %s is not a number in %d..%d", what, minimum, maximum);
    for (size_t i = 0; i < len; i++)
        number = number * 10 + (text[i] - '0');
    if (number < minimum || number > maximum)
        return error_set(
            err, ERR_INVALID, "Redis URL: %s %d is not in %d..%d", what, number, minimum, maximum);
    *value = number;
    return 0;
}

/* host, host:port or [v6]:port in ${text} [len]. */
static int
parse_address(struct redis_settings *s, const char *text, size_t len, struct error *err)
{
    const char *host = text, *port = NULL;
    size_t host_len = len, port_len = 0;

    if (len > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', len);

        if (close == NULL)
            return error_set(err, ERR_INVALID, "Redis URL: no ] behind the IPv6 address");
        host = text + 1;
        host_len = (size_t)(close - host);
        if (close + 1 < text + len) {
            if (close[1] != ':')
                return error_set(err, ERR_INVALID, "Redis URL: no :port behind ]");
            port = close + 2;
        }
    } else {
        const char *colon = memchr(text, ':', len);

        if (colon != NULL) {
            host_len = (size_t)(colon - text);
            port = colon + 1;
        }
    }
    if (host_len == 0)
        return error_set(err, ERR_INVALID, "Redis URL: no host");
    if (host_len >= sizeof(s->host))
        return error_set(
            err, ERR_INVALID, "Redis URL: the host is over %zu bytes", sizeof(s->host) - 1);
    memcpy(s->host, host, host_len);
    s->host[host_len] = '\0';
    s->port = DEFAULT_PORT;
    if (port == NULL)
        return 0;
    port_len = (size_t)(text + len - port);
    return parse_number("port", port, port_len, 1, 65535, &s->port, err);
}

/* redis://[user[:password]@]host[:port][/db], behind the scheme. */
static int
parse_tcp(struct redis_settings *s, const char *rest, struct error *err)
{
    size_t len = strlen(rest), authority_len = strcspn(rest, "/?#");
    const char *address = rest, *at = memrchr(rest, '@', authority_len);

    if (at != NULL) {
        size_t login_len = (size_t)(at - rest);
        const char *colon = memchr(rest, ':', login_len);
        size_t user_len = colon != NULL ? (size_t)(colon - rest) : login_len;

        address = at + 1;
        if (percent_decode("user", rest, user_len, s->user, sizeof(s->user), err) == -1)
            return -1;
        if (colon != NULL && percent_decode("password", colon + 1, (size_t)(at - colon - 1),
                                 s->password, sizeof(s->password), err) == -1)
            return -1;
    }
    if (parse_address(s, address, (size_t)(rest + authority_len - address), err) == -1)
        return -1;
    if (authority_len == len || strcmp(rest + authority_len, "/") == 0)
        return 0;
    if (rest[authority_len] != '/')
        return error_set(
            err, ERR_INVALID, "Redis URL: only /db may follow the address; %% encodes ? # / @");
    return parse_number("database", rest + authority_len + 1, len - authority_len - 1, 0,
        DATABASE_MAX, &s->database, err);
}

/* unix:///path.sock[?db=N], behind unix:// */
static int
parse_unix(struct redis_settings *s, const char *rest, struct error *err)
{
    size_t path_len = strcspn(rest, "?");
    const char *query = rest + path_len;

    if (rest[0] != '/')
        return error_set(err, ERR_INVALID, "Redis URL: unix:// needs an absolute path");
    if (path_len >= sizeof(s->path))
        return error_set(err, ERR_INVALID, "Redis URL: the socket's path is over %zu bytes",
            sizeof(s->path) - 1);
    memcpy(s->path, rest, path_len);
    s->path[path_len] = '\0';
    if (query[0] == '\0')
        return 0;
    if (strncmp(query, "?db=", 4) != 0)
        return error_set(err, ERR_INVALID, "Redis URL: only ?db=N may follow the socket's path");
    return parse_number(
        "database", query + 4, strlen(query + 4), 0, DATABASE_MAX, &s->database, err);
}

static int
read_password(struct redis_settings *s, const char *path, struct error *err)
{
    char line[sizeof(s->password) + 2]; /* newline and terminator */
    FILE *file = fopen(path, "re");
    size_t len;
    int status = -1;

    if (file == NULL)
        return error_errno(err, "open the Redis password file %s", path);
    setvbuf(file, NULL, _IONBF, 0); /* no second copy of the secret in a buffer */
    if (fgets(line, sizeof(line), file) == NULL) {
        if (ferror(file))
            error_errno(err, "read the Redis password file %s", path);
        else
            error_set(err, ERR_INVALID, "the Redis password file %s is empty", path);
        goto close_file;
    }
    len = strcspn(line, "\r\n");
    line[len] = '\0';
    if (len == 0)
        error_set(err, ERR_INVALID, "the first line of the Redis password file %s is empty", path);
    else if (len >= sizeof(s->password))
        error_set(err, ERR_INVALID, "the password in %s is over %zu bytes", path,
            sizeof(s->password) - 1);
    else {
        memcpy(s->password, line, len + 1);
        status = 0;
    }

close_file:
    OPENSSL_cleanse(line, sizeof(line));
    fclose(file);
    return status;
}

int
redis_settings_parse(
    struct redis_settings *s, const char *url, const char *password_file, struct error *err)
{
    int status;

    *s = (struct redis_settings){
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .command_timeout_ms = COMMAND_TIMEOUT_MS,
    };
    if (strncmp(url, "redis://", 8) == 0)
        status = parse_tcp(s, url + 8, err);
    else if (strncmp(url, "unix://", 7) == 0)
        status = parse_unix(s, url + 7, err);
    else if (strncmp(url, "rediss://", 9) == 0)
        status = error_set(err, ERR_INVALID, "Redis URL: TLS is not built in; use a TLS tunnel");
    else
        status = error_set(
            err, ERR_INVALID, "Redis URL: neither redis://host:port/db nor unix:///path.sock");
    if (status == 0 && password_file != NULL)
        status = read_password(s, password_file, err);
    if (status == -1)
        redis_settings_clear(s);
    return status;
}

void
redis_settings_clear(struct redis_settings *s)
{
    OPENSSL_cleanse(s->password, sizeof(s->password));
}

void
redis_settings_describe(const struct redis_settings *s, char *text, size_t size)
{
    if (s->path[0] != '\0')
        snprintf(text, size, "%s/%d", s->path, s->database);
    else if (strchr(s->host, ':') != NULL)
        snprintf(text, size, "[%s]:%d/%d", s->host, s->port, s->database);
    else
        snprintf(text, size, "%s:%d/%d", s->host, s->port, s->database);
}

/* ---- connections ---- */

static struct timeval
timeval_from_ms(int ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

int
redis_keep_alive(int fd, const struct redis_settings *s, struct error *err)
{
    const struct {
        int level, option, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
    };

    if (s->path[0] != '\0') /* the kernel closes both ends of a unix socket */
        return 0;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(int)) ==
            -1)
            return error_errno(err, "TCP keepalive");
    }
    return 0;
}

int
redis_connection_error(const redisContext *c, const char *where, struct error *err)
{
    if (c == NULL)
        return error_set(err, ERR_MEMORY, "Redis at %s: out of memory", where);
    if (c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK))
        return error_set(err, ERR_UNAVAILABLE, "Redis at %s: no answer in time", where);
    return error_set(err, ERR_UNAVAILABLE, "Redis at %s: %s", where, c->errstr);
}

static int
shake_hands(redisContext *c, const struct redis_settings *s, const char *name, struct error *err)
{
    char where[REDIS_DESCRIBE_MAX];

    redis_settings_describe(s, where, sizeof(where));
    for (int step = 0; step < REDIS_HANDSHAKE_RUN_ID; step++) {
        struct redis_handshake_command command;
        redisReply *reply;
        int status;

        redis_handshake_command((enum redis_handshake_step)step, s, name, &command);
        if (command.argc == 0)
            continue;
        reply = redisCommandArgv(c, command.argc, command.argv, NULL);
        if (reply == NULL)
            return redis_connection_error(c, where, err);
        status = redis_handshake_check((enum redis_handshake_step)step, reply, s, err);
        freeReplyObject(reply);
        if (status == -1)
            return -1;
    }
    return 0;
}

redisContext *
redis_open(const struct redis_settings *s, const char *name, struct error *err)
{
    struct timeval connect_limit = timeval_from_ms(s->connect_timeout_ms);
    struct timeval command_limit = timeval_from_ms(s->command_timeout_ms);
    char where[REDIS_DESCRIBE_MAX];
    redisContext *c;

    redis_settings_describe(s, where, sizeof(where));
    if (s->path[0] != '\0')
        c = redisConnectUnixWithTimeout(s->path, connect_limit);
    else
        c = redisConnectWithTimeout(s->host, s->port, connect_limit);
    if (c == NULL || c->err != 0) {
        redis_connection_error(c, where, err);
        goto free_context;
    }
    /* The handshake may take as long as connecting; only then is a BLPOP's patience due. */
    if (redisSetTimeout(c, connect_limit) != REDIS_OK) {
        redis_connection_error(c, where, err);
        goto free_context;
    }
    if (redis_keep_alive(c->fd, s, err) == -1 || shake_hands(c, s, name, err) == -1)
        goto free_context;
    if (redisSetTimeout(c, command_limit) != REDIS_OK) {
        redis_connection_error(c, where, err);
        goto free_context;
    }
    return c;

free_context:
    if (c != NULL)
        redisFree(c);
    return NULL;
}

int
redis_run_id(redisContext *c, char *id, struct error *err)
{
    redisReply *reply = redisCommand(c, "INFO server");
    int status;

    if (reply == NULL)
        return redis_connection_error(c, "this connection", err);
    status = redis_handshake_run_id(reply, id, err);
    freeReplyObject(reply);
    return status;
}

bool
redis_error_is_connection(const redisReply *reply)
{
    static const char *const words[] = {
        "READONLY", "UNBLOCKED", "LOADING", "MASTERDOWN", "CLUSTERDOWN"};

    if (reply == NULL || reply->type != REDIS_REPLY_ERROR)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t len = strlen(words[i]);

        if (reply->len >= len && memcmp(reply->str, words[i], len) == 0 &&
            (reply->len == len || reply->str[len] == ' '))
            return true;
    }
    return false;
}

/* ---- is it fit to keep tasks? ---- */

static int
check_info(const redisReply *info, struct error *err)
{
    char value[64];

    if (redis_info_field(info, "redis_version", value, sizeof(value)) == -1)
        return error_set(err, ERR_INVALID, "Redis does not tell its version");
    if (strtol(value, NULL, 10) < 7)
        return error_set(
            err, ERR_INVALID, "Redis %s is too old: version 7.0 or later is needed", value);
    if (redis_info_field(info, "maxmemory_policy", value, sizeof(value)) == 0 &&
        strcmp(value, "noeviction") != 0)
        return error_set(err, ERR_INVALID,
            "Redis evicts tasks when memory is full (maxmemory-policy %s): "
            "CONFIG SET maxmemory-policy noeviction",
            value);
    if (redis_info_field(info, "aof_enabled", value, sizeof(value)) == 0 && strcmp(value, "0") == 0)
        return error_set(err, ERR_INVALID,
            "Redis loses accepted tasks when it restarts (appendonly no): "
            "CONFIG SET appendonly yes");
    return 0;
}

/* 1: tcp-keepalive is 0, 0: it is not, -1: not allowed to ask, or no connection. */
static int
keepalive_is_off(redisContext *c)
{
    redisReply *reply = redisCommand(c, "CONFIG GET tcp-keepalive");
    int off = -1;

    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[1]->type == REDIS_REPLY_STRING)
        off = strcmp(reply->element[1]->str, "0") == 0;
    freeReplyObject(reply);
    return off;
}

bool
redis_keepalive_is_off(redisContext *c)
{
    return keepalive_is_off(c) == 1;
}

int
redis_info_refusal(const redisReply *info, struct error *err)
{
    *err = (struct error){.code = ERR_NONE};
    if (info->type != REDIS_REPLY_ERROR)
        return check_info(info, err);
    /* Not allowed to look is not the same as wrong: the operator is warned. */
    error_set(err, ERR_NONE, "cannot check that Redis keeps tasks safe: %.120s", info->str);
    return 0;
}

/* A number of bytes in an answer to INFO; -1 when it is not there or is none. */
static double
info_bytes(const redisReply *info, const char *name)
{
    char text[32], *end;
    double value;

    if (redis_info_field(info, name, text, sizeof(text)) == -1)
        return -1;
    value = strtod(text, &end);
    return *end == '\0' && value >= 0 ? value : -1;
}

int
redis_memory_share(const redisReply *info, double *share)
{
    double used = info_bytes(info, "used_memory"), limit = info_bytes(info, "maxmemory");
    double uncounted = info_bytes(info, "mem_not_counted_for_evict");

    if (used < 0 || limit < 0)
        return -1;
    if (uncounted > 0 && uncounted < used) /* buffers that may go beyond the limit */
        used -= uncounted;
    *share = limit > 0 ? used / limit : 0;
    return 0;
}

int
redis_refusal(redisContext *c, struct error *err)
{
    struct error ignored;
    redisReply *info;
    bool is_unseen;
    int status, off;

    if (err == NULL)
        err = &ignored;
    if ((info = redisCommand(c, "INFO")) == NULL)
        return redis_connection_error(c, "this connection", err);
    is_unseen = info->type == REDIS_REPLY_ERROR;
    status = redis_info_refusal(info, err);
    freeReplyObject(info);
    if (status == -1 || is_unseen)
        return status;

    if ((off = keepalive_is_off(c)) == 1)
        error_set(err, ERR_NONE,
            "Redis never closes a dead client's connection (tcp-keepalive 0): "
            "CONFIG SET tcp-keepalive 300");
    else if (off == -1 && c->err != 0)
        return redis_connection_error(c, "this connection", err);
    else if (off == -1)
        error_set(
            err, ERR_NONE, "CONFIG GET is forbidden: cannot check that tcp-keepalive is not 0");
    return 0;
}

/* ---- backoff ---- */

int
redis_backoff_next_ms(struct redis_backoff *b)
{
    int limit_ms = BACKOFF_FIRST_MS;
    uint32_t random;

    for (int i = 0; i < b->attempts && limit_ms < BACKOFF_LAST_MS; i++)
        limit_ms *= 2;
    if (limit_ms >= BACKOFF_LAST_MS)
        limit_ms = BACKOFF_LAST_MS;
    else
        b->attempts++;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        random =
            (uint32_t)clock_monotonic_ms(); /* jitter: any difference between processes will do */
    return limit_ms / 2 + (int)(random % (uint32_t)(limit_ms / 2 + 1));
}

void
redis_backoff_reset(struct redis_backoff *b)
{
    b->attempts = 0;
}
