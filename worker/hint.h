/*
 * hint.h - One connection that waits in BLPOP for a hint that a task is queued.
 *
 * BLPOP deletes the element before the client has it, so a hint is worth one claim
 * attempt and nothing more; losing one costs a repair by the sweep. The caller polls
 * hint_fd() next to whatever else it waits for.
 */
#ifndef WORKER_HINT_H
#define WORKER_HINT_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/queue/queue.h"
#include "common/redis.h"

struct hint_wait {
    redisContext *connection; /* NULL: closed */
    char client_id[24];       /* for CLIENT UNBLOCK */
    bool is_waiting;          /* a BLPOP is in flight */
    bool is_cut;              /* and was told to return */
    unsigned priorities;      /* 1u << priority of each list it waits on */
    int64_t since_ms;         /* monotonic */
};

struct hint {
    enum task_priority priority;
    const char *id; /* NULL: the time was over, or the wait was cut */
    size_t len;
    redisReply *reply; /* holds id; freeReplyObject() */
};

int hint_open(struct hint_wait *w, const struct redis_settings *settings, struct error *err);
void hint_close(struct hint_wait *w);

/** hint_send(w, queue, order, n, timeout_ms, err): BLPOP on the lists of ${order} [n], first come first served. */
int hint_send(struct hint_wait *w, const struct queue *queue, const enum task_priority *order,
    int n, int timeout_ms, struct error *err);
int hint_fd(const struct hint_wait *w); /* -1 while nothing is in flight */

/** hint_read(w, queue, hint, err): hint_fd() is readable: the answer. Returns 1, 0 if it is not complete yet, -1. */
int hint_read(struct hint_wait *w, const struct queue *queue, struct hint *hint, struct error *err);

/**
 * hint_cut(w, other, err): CLIENT UNBLOCK through ${other}. The wait then answers nil, or
 * with an element that came first. A socket inside BLPOP is never closed: Redis could pop
 * for a client that has gone.
 */
int hint_cut(struct hint_wait *w, redisContext *other, struct error *err);

/** hint_return(queue, hint, other, err): put a hint nobody will use back at the head of its list. */
int hint_return(
    const struct queue *queue, const struct hint *hint, redisContext *other, struct error *err);

#endif /* WORKER_HINT_H */
