/*
 * queue_metrics.h - What all processes have counted, in Redis.
 *
 * A process sends its increments about once a second. One batch is out at a time; it keeps its number
 * until it is known to have arrived, and the script counts a number once, so a lost reply loses
 * nothing and counts nothing twice.
 */
#ifndef COMMON_QUEUE_QUEUE_METRICS_H
#define COMMON_QUEUE_QUEUE_METRICS_H

#include "common/metrics_set.h"
#include "common/queue/queue.h"

#define QUEUE_METRICS_FLUSH_MS  1000
#define QUEUE_METRICS_SILENT_MS 5000 /* a process that has not flushed for so long has no gauges */

/** queue_metrics_add_call(process, batch, is_leaving, call, err): ${process} is a UUID of this run of it. */
int queue_metrics_add_call(const char *process, const struct metrics_batch *batch, bool is_leaving,
    struct queue_call *call, struct error *err);
/** queue_metrics_add_parse(reply, n_refused, err): 0: it is counted, now or before. */
int queue_metrics_add_parse(const redisReply *reply, int *n_refused, struct error *err);

/** queue_metrics_flush(c, process, is_leaving, err): take a batch there; nothing to say is fine. */
int queue_metrics_flush(redisContext *c, const char *process, bool is_leaving, struct error *err);

int queue_metrics_read_call(struct queue_call *call, struct error *err);
/** queue_metrics_read_parse(reply, sums, gauges, err): adds to the sets what our versions write. */
int queue_metrics_read_parse(const redisReply *reply, struct metrics_set *sums,
    struct metrics_set *gauges, struct error *err);

/* Sums that the scripts of one model keep: the fields of :stats that are metrics. */
struct queue_totals {
    uint64_t ends[TASK_PRIORITY_COUNT][TASK_STATUS_COUNT]; /* of the terminal states */
    uint64_t recovered_pop, recovered_lease, fenced;
    uint64_t hook_delivered, hook_retry, hook_failed, hook_disabled;
};
int queue_totals_call(const struct queue *q, struct queue_call *call, struct error *err);
int queue_totals_parse(const redisReply *reply, struct queue_totals *out, struct error *err);

#endif /* COMMON_QUEUE_QUEUE_METRICS_H */
