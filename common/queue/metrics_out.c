/*
 * metrics_out.c - See queue_metrics_out.h.
 */
#include "common/queue/queue_metrics_out.h"

#include "common/log.h"

/* Redis has the batch, or did not answer. */
static void
on_flushed(void *cookie, const redisReply *reply)
{
    struct queue_metrics_out *out = cookie;
    struct metrics_batch batch = out->batch;
    int n_refused;
    struct error err;
    bool has_arrived = reply != NULL && queue_metrics_add_parse(reply, &n_refused, &err) == 0;

    out->is_out = false;
    out->batch = (struct metrics_batch){0};
    if (reply != NULL && !has_arrived)
        log_warning(
            out->events.logger, "metrics could not be stored", LOG_TEXT("error_message", err.text));
    if (has_arrived) {
        metrics_batch_arrived(batch.number);
        if (n_refused > 0 && !out->is_refusal_told)
            log_warning(out->events.logger,
                "Redis holds as many metrics as it may: new ones are lost",
                LOG_INT("lost", n_refused));
        out->is_refusal_told = n_refused > 0;
    }
    out->events.ended(out->events.cookie, has_arrived ? &batch : NULL);
    metrics_batch_clear(&batch);
}

void
queue_metrics_out_init(struct queue_metrics_out *out, const struct queue_metrics_out_events *events)
{
    *out = (struct queue_metrics_out){.events = *events};
    id_new(out->process);
}

void
queue_metrics_out_clear(struct queue_metrics_out *out)
{
    metrics_batch_clear(&out->batch);
}

int
queue_metrics_out_flush(struct queue_metrics_out *out, bool is_leaving)
{
    struct queue_call call;
    struct error err;

    if (metrics_batch(&out->batch, &err) == -1)
        return -1;
    if (out->batch.n_gauges + out->batch.n == 0) {
        metrics_batch_clear(&out->batch);
        return 0;
    }
    if (queue_metrics_add_call(out->process, &out->batch, is_leaving, &call, &err) == -1 ||
        out->events.send(out->events.cookie, &call, on_flushed, out) == -1) {
        metrics_batch_clear(&out->batch);
        return -1;
    }
    out->is_out = true;
    return 0;
}
