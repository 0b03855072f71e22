/*
 * event_candles.h - The candles of one stream: which are known, and which were shown.
 *
 * They come in runs: when a task begins anew its candles do, too. Of one run they come in order, by
 * messages or by reads; from the result when the task has ended.
 */
#ifndef API_EVENT_CANDLES_H
#define API_EVENT_CANDLES_H

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/result.h"
#include "common/task.h"

struct event_candles {
    const char *task_id;
    char *series_id; /* NULL for null */
    uint32_t total;
    uint32_t attempt, n_shown;
    uint64_t fence;
    uint32_t n;              /* known of the run ${fence} */
    float *rows;             /* [total, TASK_FIELDS], NULL until there is one */
    struct task_time *times; /* [total], NULL until they are known: nothing is shown before */
    uint32_t seen_attempt, seen_step; /* by the client, on an earlier connection */
};

/** event_candles_init(c, task_id, about, err): ${task_id} must outlive it. 0, or -1 without memory. */
int event_candles_init(struct event_candles *c, const char *task_id, const struct task_about *about,
    struct error *err);
void event_candles_clear(struct event_candles *c);

/** event_candles_seen(c, last_event_id): the header of that name; what is none of ours is ignored. */
void event_candles_seen(struct event_candles *c, const char *last_event_id);

/** event_candles_run(c, attempt, fence): the task's run is this one; nothing of a new one is known. */
void event_candles_run(struct event_candles *c, uint32_t attempt, uint64_t fence);

/** event_candles_add(c, first, bytes, n): ${n} stored candles from the ${first} on; -1: some before are missing, or no memory. */
int event_candles_add(struct event_candles *c, uint32_t first, const void *bytes, size_t n);

/** event_candles_times(c, times, n): when they are; -1: not as many as there are candles, or no memory. */
int event_candles_times(struct event_candles *c, const struct task_time *times, size_t n);

/** event_candles_end(c, result, attempt): all of them, from the result of a run that was streamed. */
int event_candles_end(struct event_candles *c, const struct result *result, uint32_t attempt);

/** event_candles_show(c, out): events of what was not shown yet. 0, or -1 without memory. */
int event_candles_show(struct event_candles *c, struct evbuffer *out);

#endif /* API_EVENT_CANDLES_H */
