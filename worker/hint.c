/*
 * hint.c - BLPOP written to a blocking connection by hand, so that the wait for its
 * answer can share a poll() with the engine's eventfd.
 */
#include "worker/hint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

int
hint_open(struct hint_wait *w, const struct redis_settings *settings, struct error *err)
{
    redisReply *reply;

    *w = (struct hint_wait){0};
    if ((w->connection = redis_open(settings, "kronosq-worker:wait", err)) == NULL)
        return -1;
    reply = redisCommand(w->connection, "CLIENT ID");
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        error_set(err, ERR_UNAVAILABLE, "CLIENT ID: %s",
            reply == NULL                      ? w->connection->errstr
            : reply->type == REDIS_REPLY_ERROR ? reply->str
                                               : "not a number");
        freeReplyObject(reply);
        hint_close(w);
        return -1;
    }
    snprintf(w->client_id, sizeof(w->client_id), "%lld", reply->integer);
    freeReplyObject(reply);
    return 0;
}

void
hint_close(struct hint_wait *w)
{
    if (w->connection != NULL)
        redisFree(w->connection);
    *w = (struct hint_wait){0};
}

int
hint_send(struct hint_wait *w, const struct queue *queue, const enum task_priority *order, int n,
    int timeout_ms, struct error *err)
{
    char keys[TASK_PRIORITY_COUNT][QUEUE_KEY_MAX];
    const char *argv[TASK_PRIORITY_COUNT + 2] = {"BLPOP"};
    char timeout[24];
    int done = 0;

    w->priorities = 0;
    for (int i = 0; i < n; i++) {
        queue_list_key(queue, order[i], keys[i]);
        argv[i + 1] = keys[i];
        w->priorities |= 1u << order[i];
    }
    snprintf(timeout, sizeof(timeout), "%d.%03d", timeout_ms / 1000, timeout_ms % 1000);
    argv[n + 1] = timeout;
    if (redisAppendCommandArgv(w->connection, n + 2, argv, NULL) != REDIS_OK)
        return error_set(err, ERR_UNAVAILABLE, "BLPOP: %s", w->connection->errstr);
    while (!done) {
        if (redisBufferWrite(w->connection, &done) != REDIS_OK)
            return error_set(err, ERR_UNAVAILABLE, "BLPOP: %s", w->connection->errstr);
    }
    w->is_waiting = true;
    w->is_cut = false;
    w->since_ms = clock_monotonic_ms();
    return 0;
}

int
hint_fd(const struct hint_wait *w)
{
    return w->is_waiting ? w->connection->fd : -1;
}

/* [list, element]; a nil array when the time was over or CLIENT UNBLOCK came. */
static int
parse(const struct queue *queue, redisReply *reply, struct hint *hint, struct error *err)
{
    const redisReply *key, *element;

    if (reply->type == REDIS_REPLY_NIL)
        return 0;
    if (reply->type == REDIS_REPLY_ERROR)
        return error_set(err, ERR_UNAVAILABLE, "BLPOP: %s", reply->str);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return error_set(err, ERR_UNAVAILABLE, "BLPOP answered neither nil nor a pair");
    key = reply->element[0];
    element = reply->element[1];
    if (key->type != REDIS_REPLY_STRING || element->type != REDIS_REPLY_STRING ||
        queue_list_priority(queue, key->str, (size_t)key->len, &hint->priority) == -1)
        return error_set(err, ERR_UNAVAILABLE, "BLPOP answered with a list nobody asked for");
    hint->id = element->str;
    hint->len = (size_t)element->len;
    return 0;
}

int
hint_read(struct hint_wait *w, const struct queue *queue, struct hint *hint, struct error *err)
{
    void *reply = NULL;

    *hint = (struct hint){0};
    if (redisBufferRead(w->connection) != REDIS_OK ||
        redisGetReplyFromReader(w->connection, &reply) != REDIS_OK)
        return error_set(err, ERR_UNAVAILABLE, "BLPOP: %s", w->connection->errstr);
    if (reply == NULL)
        return 0;
    w->is_waiting = false;
    hint->reply = reply;
    if (parse(queue, reply, hint, err) == -1) {
        freeReplyObject(reply);
        hint->reply = NULL;
        return -1;
    }
    return 1;
}

int
hint_cut(struct hint_wait *w, redisContext *other, struct error *err)
{
    redisReply *reply;

    w->is_cut = true;
    reply = redisCommand(other, "CLIENT UNBLOCK %s", w->client_id);
    if (reply == NULL)
        return error_set(err, ERR_UNAVAILABLE, "CLIENT UNBLOCK: %s", other->errstr);
    /* Whether it was still blocked does not matter; an error (an ACL without it) costs the time-out. */
    freeReplyObject(reply);
    return 0;
}

int
hint_return(
    const struct queue *queue, const struct hint *hint, redisContext *other, struct error *err)
{
    char key[QUEUE_KEY_MAX];
    redisReply *reply;

    queue_list_key(queue, hint->priority, key);
    reply = redisCommand(other, "LPUSH %s %b", key, hint->id, hint->len);
    if (reply == NULL)
        return error_set(err, ERR_UNAVAILABLE, "LPUSH: %s", other->errstr);
    freeReplyObject(reply);
    return 0;
}
