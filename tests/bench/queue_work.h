/*
 * queue_work.h - One task of 400 candles and 120 steps, as the queue sees it: submitted, claimed,
 * renewed, completed. Each call is one round trip, as API and workers make it; any refusal ends
 * the program. May be used by several threads at once, each with its own connection.
 */
#ifndef TESTS_BENCH_QUEUE_WORK_H
#define TESTS_BENCH_QUEUE_WORK_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "common/queue/queue.h"
#include "common/task.h"

struct queue_work {
    struct queue queue;
    struct task_bytes input, about, output;
    struct task_cost cost;
    char worker[ID_LEN + 1];
    char run_id[41];
};

void queue_work_init(struct queue_work *w);
void queue_work_clear(struct queue_work *w);

void queue_work_submit(const struct queue_work *w, redisContext *c, enum task_priority priority);

/** queue_work_claim(w, c, lease): without a hint, of urgent and normal; false when nothing waits. */
bool queue_work_claim(const struct queue_work *w, redisContext *c, struct queue_lease *lease);

/** queue_work_pop(w, c, lease): two round trips: BLPOP of urgent and normal, then the claim. */
void queue_work_pop(const struct queue_work *w, redisContext *c, struct queue_lease *lease);

void queue_work_renew(const struct queue_work *w, redisContext *c, const struct queue_lease *lease);
void queue_work_complete(
    const struct queue_work *w, redisContext *c, const struct queue_lease *lease);
void queue_work_beat(const struct queue_work *w, redisContext *c);
void queue_work_sweep(const struct queue_work *w, redisContext *c); /* throttled, as most are */

#endif /* TESTS_BENCH_QUEUE_WORK_H */
