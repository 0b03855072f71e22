/*
 * deliver.c - complete, fail or release, one script for each finished job.
 *
 * Which of them is said here; whether it still counts is said by the script, which
 * compares id, fence and worker. A repeated delivery therefore does no harm, and an
 * unanswered one is simply repeated.
 */
#include "worker/deliver.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/queue/queue.h"

#define LOGGER       "worker.link"
#define FENCED_TRIES 3 /* of an output whose lease is reported gone */

struct delivery {
    struct job *job;
    int tries;
    struct delivery *next;
};

static void
append(struct deliveries *d, struct delivery *last)
{
    struct delivery **end = &d->first;

    while (*end != NULL)
        end = &(*end)->next;
    last->next = NULL;
    *end = last;
}

void
deliveries_collect(struct deliveries *d, struct handoff *handoff)
{
    struct job *job;

    while ((job = handoff_next_finished(handoff)) != NULL) {
        struct delivery *delivery = calloc(1, sizeof(*delivery));

        if (delivery == NULL) {
            /* Its lease runs out, and the sweep gives it to somebody with memory. */
            log_error(LOGGER, "out of memory, a result is lost", LOG_TEXT("task_id", job->id));
            handoff_forget(handoff, job);
            continue;
        }
        delivery->job = job;
        append(d, delivery);
    }
}

void
deliveries_clear(struct deliveries *d)
{
    while (d->first != NULL) {
        struct delivery *delivery = d->first;

        d->first = delivery->next;
        free(delivery);
    }
}

/* The queue's code for a run that was told to stop. */
static const char *
stop_code(enum job_stop reason)
{
    switch (reason) {
    case JOB_STOP_CANCELLED:
        return "cancelled_by_client";
    case JOB_STOP_DEADLINE:
        return "deadline_exceeded";
    default:
        return "run_timeout";
    }
}

static int
say(const struct job *job, const struct worker_settings *s, redisContext *work, enum queue_end *end,
    struct error *err)
{
    struct queue_token token = {job->id, job->fence, s->worker};
    enum job_stop reason = job_stop_reason(job);
    char text[96];

    if (job->outcome == JOB_COMPLETED) {
        int status;

        FAILPOINT(BEFORE_COMPLETE, work->fd);
        status =
            queue_complete_measured(work, &s->queue, &token, job->output.data, job->output.size,
                &(struct queue_speed){job->prefill_seconds, job->step_seconds}, end, err);
        FAILPOINT(AFTER_COMPLETE, work->fd);
        return status;
    }
    if (job->outcome != JOB_FAILED && reason == JOB_STOP_RELEASE) {
        FAILPOINT(BEFORE_RELEASE, work->fd);
        return queue_release(work, &s->queue, &token, end, err);
    }
    FAILPOINT(BEFORE_FAIL, work->fd);
    if (job->outcome == JOB_FAILED)
        return queue_fail(
            work, &s->queue, &token, job->error_code, job->error_text, job->is_retryable, end, err);
    snprintf(text, sizeof(text), "stopped %lld ms after its claim: %s", (long long)job->run_ms,
        job_stop_name(reason));
    return queue_fail(work, &s->queue, &token, stop_code(reason), text, false, end, err);
}

static const char *
text_or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void
log_end(const struct job *job, const struct worker_settings *s, enum queue_end end)
{
    const struct task *task = job->task; /* NULL: its input did not decode */

    if (job->outcome == JOB_FAILED)
        log_warning(LOGGER, "task failed", LOG_TEXT("task_id", job->id),
            LOG_TEXT("error_type", job->error_code), LOG_TEXT("error_message", job->error_text));
    log_info(LOGGER, "task finished", LOG_TEXT("event", "task_finished"),
        LOG_TEXT("task_id", job->id), LOG_TEXT("batch_id", text_or_null(job->batch_id)),
        LOG_TEXT("trace_id", text_or_null(job->trace_id)),
        LOG_TEXT("owner", text_or_null(job->owner)), LOG_TEXT("model", s->name),
        LOG_TEXT("priority", task_priority_name(job->priority)), LOG_INT("attempt", job->attempt),
        LOG_INT("wait_ms", job->wait_ms), LOG_INT("run_ms", job->run_ms),
        LOG_TEXT("status", queue_end_name(end)),
        LOG_INT("rows", task != NULL ? task->n_history : 0),
        LOG_INT("pred_len", task != NULL ? task->n_horizon : 0),
        LOG_INT("samples", task != NULL ? task->params.sample_count : 0),
        LOG_INT("seed", task != NULL ? task->params.seed : 0),
        LOG_INT("steps", atomic_load(&job->step)), LOG_INT("batch_size", job->batch_size),
        LOG_TEXT("worker_id", s->worker));
}

/* A run whose output was published by it. */
static void
count_completed(const struct job *job, const struct worker_settings *s)
{
    double wait_seconds = (double)job->wait_ms / 1000, run_seconds = (double)job->run_ms / 1000;

    metrics_observe(METRIC_TASK_WAIT, wait_seconds, task_priority_name(job->priority));
    metrics_observe(METRIC_TASK_RUN, run_seconds, s->name);
    metrics_observe(METRIC_MODEL_INFERENCE, run_seconds,
        job->batch_id[0] != '\0' ? METRICS_BATCH_ROUTE : METRICS_SINGLE_ROUTE);
    if (job->attempt == 1 && job->eta_ms > 0)
        metrics_observe(
            METRIC_ETA_ERROR, (wait_seconds + run_seconds) / ((double)job->eta_ms / 1000), s->name);
}

/* Redis has answered, or nothing may be written any more. */
static void
settle(struct delivery *delivery, const struct worker_settings *s, struct handoff *handoff,
    enum queue_end end)
{
    struct handoff_shared *shared = handoff_shared(handoff);

    log_end(delivery->job, s, end);
    if (end == QUEUE_END_COMPLETED || end == QUEUE_END_ALREADY) {
        atomic_fetch_add(&shared->n_done, 1);
        count_completed(delivery->job, s);
    } else if (end == QUEUE_END_FAILED) {
        atomic_fetch_add(&shared->n_failed, 1);
    }
    handoff_forget(handoff, delivery->job);
    free(delivery);
    if (s->once)
        atomic_store(&shared->is_stopping, true);
}

int
deliveries_send(struct deliveries *d, const struct worker_settings *s, struct handoff *handoff,
    redisContext *work, struct error *err)
{
    struct delivery **place = &d->first, *failed = NULL;

    while (*place != NULL) {
        struct delivery *delivery = *place;
        const struct job *job = delivery->job;
        bool is_fenced = job_stop_reason(job) == JOB_STOP_FENCED;
        enum queue_end end = QUEUE_END_FENCED;

        /* An output is offered although its lease is said to be gone: so it also looks when
         * `complete` was done and only the reply got lost. The script knows. */
        if (!is_fenced || (job->outcome == JOB_COMPLETED && delivery->tries < FENCED_TRIES)) {
            if (work == NULL || failed != NULL) {
                place = &delivery->next;
                continue;
            }
            delivery->tries++;
            if (say(job, s, work, &end, err) == -1) {
                failed = delivery;
                *place = delivery->next;
                continue;
            }
        }
        *place = delivery->next;
        settle(delivery, s, handoff, end);
    }
    if (failed == NULL)
        return 0;
    append(d, failed); /* last, should it be this one that Redis cannot take */
    return -1;
}
