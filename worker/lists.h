/*
 * lists.h - Which priority lists a worker looks at, and in which order: rules without Redis.
 */
#ifndef WORKER_LISTS_H
#define WORKER_LISTS_H

#include "common/task.h"
#include "worker/handoff.h"
#include "worker/settings.h"

/**
 * lists_order(turns, weights, order): in which order to look at the lists this time. Each priority
 * is first in its share of the turns, evenly spread, so nothing with a weight starves; the others
 * follow urgent first. By default 28, 3 and 1 of 32. All weights 0 is as 1, 0, 0.
 */
struct lists_turns {
    int64_t credit[TASK_PRIORITY_COUNT]; /* zero at the start */
};
void lists_order(struct lists_turns *turns, const unsigned weights[TASK_PRIORITY_COUNT],
    enum task_priority order[TASK_PRIORITY_COUNT]);

extern const unsigned lists_default_weights[TASK_PRIORITY_COUNT];

/**
 * lists_wanted(settings, load): bits (1u << priority) of the lists a worker with ${load} has
 * slots for. Normal and low do not get the reserve; a job that waits for slots counts as holding them, so at most one of each class waits.
 */
unsigned lists_wanted(const struct worker_settings *settings, const struct handoff_load *load);

#endif /* WORKER_LISTS_H */
