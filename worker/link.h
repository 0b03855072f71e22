/*
 * link.h - The thread between Redis and the engine: waits for hints, claims tasks,
 * delivers what became of them.
 */
#ifndef WORKER_LINK_H
#define WORKER_LINK_H

#include "common/error.h"
#include "worker/handoff.h"
#include "worker/settings.h"

struct link;

/** link_start(settings, handoff, err): both must outlive it. Ends by itself when stopping and empty. */
struct link *link_start(
    const struct worker_settings *settings, struct handoff *handoff, struct error *err);

/** link_join(link): wait for the thread and free it; NULL is allowed. */
void link_join(struct link *link);

/**
 * link_order(turns, weights, order): in which order to look at the lists this time. Each priority
 * is first in its share of the turns, evenly spread, so nothing with a weight starves; the others
 * follow urgent first. By default 28, 3 and 1 of 32. All weights 0 is as 1, 0, 0.
 */
struct link_turns {
    int64_t credit[TASK_PRIORITY_COUNT]; /* zero at the start */
};
void link_order(struct link_turns *turns, const unsigned weights[TASK_PRIORITY_COUNT],
    enum task_priority order[TASK_PRIORITY_COUNT]);

extern const unsigned link_default_weights[TASK_PRIORITY_COUNT];

/**
 * link_wanted(settings, load): bits (1u << priority) of the lists a worker with ${load} has
 * slots for. Normal and low do not get the reserve; a job that waits for slots counts as holding them, so at most one of each class waits.
 */
unsigned link_wanted(const struct worker_settings *settings, const struct handoff_load *load);

#endif /* WORKER_LINK_H */
