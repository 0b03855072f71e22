/*
 * queue_metrics_out.h - What an evented process has counted, on its way to Redis: one batch at a time.
 *
 * A batch whose reply did not come goes again under its number, so it is counted once; what happens
 * meanwhile waits for the next. When to flush is the owner's business.
 */
#ifndef COMMON_QUEUE_QUEUE_METRICS_OUT_H
#define COMMON_QUEUE_QUEUE_METRICS_OUT_H

#include "common/queue/queue_metrics.h"

struct queue_metrics_out_events {
    /* As queue_send(), over the owner's link. */
    int (*send)(void *cookie, struct queue_call *call, queue_reply_fn fn, void *fn_cookie);
    /* Redis has ${batch}; NULL: it did not answer, or refused it. The next may be flushed from here. */
    void (*ended)(void *cookie, const struct metrics_batch *batch);
    void *cookie;
    const char *logger;
};

struct queue_metrics_out {
    struct queue_metrics_out_events events;
    char process[ID_LEN + 1];
    struct metrics_batch batch; /* that is out */
    bool is_out, is_refusal_told;
};

/** queue_metrics_out_init(out, events): of a new run of this process. */
void queue_metrics_out_init(
    struct queue_metrics_out *out, const struct queue_metrics_out_events *events);
void queue_metrics_out_clear(struct queue_metrics_out *out);

/** queue_metrics_out_flush(out, is_leaving): none is out; nothing to say, nothing sent. -1: no memory, it stays for the next time. */
int queue_metrics_out_flush(struct queue_metrics_out *out, bool is_leaving);

#endif /* COMMON_QUEUE_QUEUE_METRICS_OUT_H */
