/*
 * script.c - Run embedded Lua scripts by their SHA-1, and read what comes back.
 *
 * EVALSHA first; a Redis that does not know the script (restarted, flushed, failed
 * over) says NOSCRIPT before doing anything, so the same arguments go again as EVAL,
 * which also loads it. Knows nothing of tasks.
 */
#include "common/queue/script.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/id.h"
#include "common/metrics.h"

#define FIXED_ARGS 4 /* EVALSHA sha 1 prefix */

void
queue_call_clear(struct queue_call *call)
{
    free(call->argv);
    free(call->lens);
    free(call->storage);
    *call = (struct queue_call){0};
}

/* ---- building ---- */

void
queue_args_begin_plain(struct queue_args *a, size_t n)
{
    *a = (struct queue_args){.capacity = n};
    a->call.argv = calloc(n, sizeof(*a->call.argv));
    a->call.lens = calloc(n, sizeof(*a->call.lens));
    a->offsets = calloc(n, sizeof(*a->offsets));
    a->failed = !a->call.argv || !a->call.lens || !a->offsets;
}

void
queue_args_begin(
    struct queue_args *a, const struct queue_script *script, const struct queue *q, size_t n)
{
    queue_args_begin_plain(a, n + FIXED_ARGS);
    a->call.script = script;
    queue_args_text(a, "EVALSHA");
    queue_args_text(a, script->sha1);
    queue_args_text(a, "1");
    queue_args_text(a, q->prefix);
}

void
queue_args_bytes(struct queue_args *a, const void *data, size_t size)
{
    size_t n = (size_t)a->call.argc, room;
    char *grown;

    if (a->failed)
        return;
    if (n >= a->capacity || size > SIZE_MAX / 4) {
        a->failed = true;
        return;
    }
    if (size + 1 > a->room - a->used) {
        room = (a->room + size + 1) * 2;
        if (!(grown = realloc(a->bytes, room))) {
            a->failed = true;
            return;
        }
        a->bytes = grown;
        a->room = room;
    }
    if (size > 0)
        memcpy(a->bytes + a->used, data, size);
    a->bytes[a->used + size] = '\0';
    a->offsets[n] = a->used; /* not a pointer: the bytes may still move */
    a->call.lens[n] = size;
    a->used += size + 1;
    a->call.argc++;
}

void
queue_args_text(struct queue_args *a, const char *text)
{
    queue_args_bytes(a, text ? text : "", text ? strlen(text) : 0);
}

void
queue_args_int(struct queue_args *a, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, value);
    queue_args_text(a, text);
}

void
queue_args_uint(struct queue_args *a, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    queue_args_text(a, text);
}

void
queue_args_seconds(struct queue_args *a, double value)
{
    char text[32] = "";

    if (value > 0) /* not for nan */
        snprintf(text, sizeof(text), "%.9g", value);
    queue_args_text(a, text);
}

int
queue_args_end(struct queue_args *a, struct queue_call *call, struct error *err)
{
    int rc = 0;

    *call = (struct queue_call){0};
    a->call.storage = a->bytes;
    if (a->failed) {
        queue_call_clear(&a->call);
        rc = error_set(err, ERR_MEMORY, "no memory for the arguments of a queue script");
    } else {
        for (int i = 0; i < a->call.argc; i++)
            a->call.argv[i] = a->bytes + a->offsets[i];
        *call = a->call;
    }
    free(a->offsets);
    *a = (struct queue_args){0};
    return rc;
}

/* ---- running ---- */

static const char *
call_name(const struct queue_call *call)
{
    return call->script ? call->script->name : call->argv[0];
}

bool
queue_call_is_unknown(const struct queue_call *call, const redisReply *reply)
{
    return call->script && queue_reply_is_error(reply, "NOSCRIPT");
}

void
queue_call_make_eval(const struct queue_script *script, const char **argv, size_t *lens)
{
    argv[0] = "EVAL";
    lens[0] = 4;
    argv[1] = script->source;
    lens[1] = script->size;
}

static redisReply *
run_eval(redisContext *c, const struct queue_call *call)
{
    size_t n = (size_t)call->argc;
    const char **argv = calloc(n, sizeof(*argv));
    size_t *lens = calloc(n, sizeof(*lens));
    redisReply *reply = NULL;

    if (argv && lens) {
        memcpy(argv, call->argv, n * sizeof(*argv));
        memcpy(lens, call->lens, n * sizeof(*lens));
        queue_call_make_eval(call->script, argv, lens);
        reply = redisCommandArgv(c, call->argc, argv, lens);
    }
    free(argv);
    free(lens);
    return reply;
}

void
queue_call_measured(const struct queue_call *call, const redisReply *reply, double began)
{
    if (!reply || reply->type == REDIS_REPLY_ERROR)
        metrics_count(METRIC_REDIS_ERRORS, call_name(call));
    if (reply)
        metrics_observe(METRIC_REDIS_SECONDS, clock_seconds() - began);
}

redisReply *
queue_run(redisContext *c, const struct queue_call *call, struct error *err)
{
    double began = clock_seconds();
    redisReply *reply = redisCommandArgv(c, call->argc, call->argv, call->lens);

    if (reply && queue_call_is_unknown(call, reply)) {
        freeReplyObject(reply);
        reply = run_eval(c, call);
    }
    queue_call_measured(call, reply, began);
    if (!reply)
        error_set(err, ERR_UNAVAILABLE, "Redis, %s: %s", call_name(call),
            c->err ? c->errstr : "no answer");
    return reply;
}

redisReply *
queue_args_run(struct queue_args *a, redisContext *c, struct error *err)
{
    struct queue_call call;
    redisReply *reply;

    if (queue_args_end(a, &call, err) == -1)
        return NULL;
    reply = queue_run(c, &call, err);
    queue_call_clear(&call);
    return reply;
}

int
queue_load_scripts(redisContext *c, struct error *err)
{
    for (const struct queue_script *const *p = queue_scripts; *p; p++) {
        const struct queue_script *script = *p;
        redisReply *reply = redisCommand(c, "SCRIPT LOAD %b", script->source, script->size);
        bool is_same = queue_reply_is_string(reply) && strcmp(reply->str, script->sha1) == 0;

        if (!is_same)
            error_set(err, ERR_UNAVAILABLE, "Redis, loading script %s: %s", script->name,
                !reply                             ? c->errstr
                : reply->type == REDIS_REPLY_ERROR ? reply->str
                                                   : "an unexpected SHA-1");
        if (reply)
            freeReplyObject(reply);
        if (!is_same)
            return -1;
    }
    return 0;
}

/* ---- reading ---- */

bool
queue_reply_is_error(const redisReply *reply, const char *prefix)
{
    size_t n = strlen(prefix);

    return reply && reply->type == REDIS_REPLY_ERROR && reply->str &&
           strncmp(reply->str, prefix, n) == 0 && (reply->str[n] == ' ' || reply->str[n] == '\0');
}

int
queue_reply_strange(const char *script, struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "Redis, %s: a reply of an unknown form", script);
}

/* Refuse what is no answer of a script at all. */
static int
reply_check(const redisReply *reply, const char *script, struct error *err)
{
    if (!reply)
        return error_set(err, ERR_UNAVAILABLE, "Redis, %s: no answer", script);
    if (reply->type == REDIS_REPLY_ERROR)
        return error_set(
            err, ERR_UNAVAILABLE, "Redis, %s: %s", script, reply->str ? reply->str : "error");
    return 0;
}

int
queue_reply_array(const redisReply *reply, const char *script, size_t min, struct error *err)
{
    if (reply_check(reply, script, err) == -1)
        return -1;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < min)
        return queue_reply_strange(script, err);
    return 0;
}

int
queue_reply_code(const redisReply *reply, const char *script, int64_t *code, struct error *err)
{
    if (reply_check(reply, script, err) == -1)
        return -1;
    if (reply->type != REDIS_REPLY_INTEGER)
        return queue_reply_strange(script, err);
    *code = reply->integer;
    return 0;
}

bool
queue_reply_int(const redisReply *reply, int64_t *value)
{
    const char *p;
    char *end;
    long long parsed;

    if (!reply)
        return false;
    if (reply->type == REDIS_REPLY_INTEGER) {
        *value = reply->integer;
        return true;
    }
    if (!queue_reply_is_string(reply) || reply->len < 1 || reply->len > 20)
        return false;
    p = reply->str + (reply->str[0] == '-');
    if (p[0] < '0' || p[0] > '9') /* strtoll would also take blanks and '+' */
        return false;
    errno = 0;
    parsed = strtoll(reply->str, &end, 10);
    if (errno != 0 || end != reply->str + reply->len)
        return false;
    *value = parsed;
    return true;
}

bool
queue_reply_count(const redisReply *reply, uint32_t *value)
{
    int64_t wide;

    if (!queue_reply_int(reply, &wide) || wide < 0)
        return false;
    *value = wide > UINT32_MAX ? UINT32_MAX : (uint32_t)wide;
    return true;
}

void
queue_reply_text(const redisReply *reply, char *text, size_t size)
{
    size_t n = queue_reply_is_string(reply) ? strnlen(reply->str, (size_t)reply->len) : 0;

    if (n >= size)
        n = size - 1;
    memcpy(text, n > 0 ? reply->str : "", n);
    text[n] = '\0';
}

double
queue_reply_seconds(const redisReply *reply)
{
    double value;
    char *end;

    if (!queue_reply_is_string(reply) || reply->len < 1 || reply->len > 30)
        return 0;
    value = strtod(reply->str, &end);
    return end == reply->str + reply->len && value > 0 && value < 1e6 ? value : 0;
}

bool
queue_reply_id(const redisReply *reply, char *id)
{
    if (!queue_reply_is_string(reply) || reply->len != ID_LEN)
        return false;
    memcpy(id, reply->str, ID_LEN);
    id[ID_LEN] = '\0';
    return id_is_valid(id);
}
