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

#endif /* WORKER_LINK_H */
