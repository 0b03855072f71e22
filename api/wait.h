/*
 * wait.h - Requests held until their task has ended: Prefer: wait, ?wait=, sync mode.
 *
 * The subscription of the process wakes them. A hold subscribes (long since), then reads the
 * task, then waits; it reads again at an event, every second, and when the subscription was
 * renewed, so that no lost message costs more than a second.
 */
#ifndef API_WAIT_H
#define API_WAIT_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "api/feed.h"
#include "api/lookup.h"
#include "common/error.h"

struct exchange;
struct waiters;

/** waiters_new(base, feed, ...): woken by ${feed}, which is freed first. */
struct waiters *waiters_new(struct event_base *base, struct feed *feed, struct store *store,
    struct models *models, size_t max, struct error *err);

/** waiters_free(waiters): nothing may be held any more. */
void waiters_free(struct waiters *waiters);

/** waiters_limit(waiters, max): from now on; what is held stays. */
void waiters_limit(struct waiters *waiters, size_t max);

size_t waiters_count(const struct waiters *waiters);
size_t waiters_room(const struct waiters *waiters); /* how many more may be held */

enum wait_end {
    WAIT_ENDED,   /* the task is terminal, or the answer is an outcome without a task */
    WAIT_OVER,    /* time is up, or the client has left */
    WAIT_STOPPING /* this process stops */
};

/* ${answer} is as new as can be; answer the request. */
typedef void (*wait_fn)(void *cookie, enum wait_end end, const struct lookup_answer *answer);

/**
 * wait_for_task(waiters, e, model, id, seconds, fn, cookie):
 * Hold ${e} until the task has ended or ${seconds} have passed; ${fn} is called once, never before
 * this returns. ${model} NULL: any. -1: no room or no memory, nothing is held, ${fn} is not called.
 */
int wait_for_task(struct waiters *waiters, struct exchange *e, struct model *model, const char *id,
    double seconds, wait_fn fn, void *cookie);

/** waiters_end_all(waiters): every hold is answered now, with the present state of its task. */
void waiters_end_all(struct waiters *waiters);

#endif /* API_WAIT_H */
