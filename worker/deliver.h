/*
 * deliver.h - Tells Redis what became of a job, until it answers.
 */
#ifndef WORKER_DELIVER_H
#define WORKER_DELIVER_H

#include <hiredis/hiredis.h>

#include "common/error.h"
#include "worker/handoff.h"
#include "worker/settings.h"

struct delivery; /* one finished job Redis has not answered for */

struct deliveries { /* the link's */
    struct delivery *first;
};

/** deliveries_collect(d, handoff): add what the engine has finished since. */
void deliveries_collect(struct deliveries *d, struct handoff *handoff);

/**
 * deliveries_send(d, settings, handoff, work, err):
 * Offer every one to Redis; those it answered for are logged, counted and forgotten.
 * ${work} may be NULL: then only those go for which nothing may be written any more.
 * Returns -1 if the connection failed; what was not answered stays, last in the line.
 */
int deliveries_send(struct deliveries *d, const struct worker_settings *settings,
    struct handoff *handoff, redisContext *work, struct error *err);

/** deliveries_clear(d): forget the list; the jobs are the handoff's. */
void deliveries_clear(struct deliveries *d);

#endif /* WORKER_DELIVER_H */
