/*
 * submit_tasks.c - A judged request becomes the call that stores its tasks.
 *
 * What it costs, when it should be done, whom to tell: everything the queue keeps of a submit, encoded.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/models.h"
#include "api/server.h"
#include "api/submission.h"
#include "common/webhook.h"

#define SUBMIT_CONTEXT_UNKNOWN 512 /* C of a model no worker has told about: that of Kronos */

_Static_assert(REQUEST_BATCH_SERIES_MAX <= QUEUE_SERIES_MAX, "a batch is one submission");

static struct task_cost
cost_of(const struct submission *s, const struct task *task)
{
    uint32_t context = s->model->context != 0 ? s->model->context : SUBMIT_CONTEXT_UNKNOWN;

    return task_cost(task->n_history, task->n_horizon, task->params.sample_count,
        task->params.context_mode, context);
}

/* One series as the script takes it; what it points to is the caller's to free. */
static int
encode_series(const struct submission *s, size_t i, struct queue_series *series, struct error *err)
{
    const struct request_series *r = &s->request.series[i];
    struct task_bytes input = {0}, about = {0};
    struct task_cost cost = cost_of(s, r->task);

    if (task_encode(r->task, &input, err) == -1)
        return -1;
    if (task_about_encode(&r->about, &about, err) == -1) {
        free(input.data);
        return -1;
    }
    *series = (struct queue_series){
        .task_id = s->task_ids[i],
        .prefill_tokens = cost.prefill_tokens,
        .decode_steps = cost.decode_steps,
        .horizon = (uint32_t)r->task->n_horizon,
        .input = input.data,
        .input_size = input.size,
        .about = about.data,
        .about_size = about.size,
    };
    return 0;
}

static void
free_encoded(struct queue_series *series, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free((void *)series[i].input);
        free((void *)series[i].about);
    }
    free(series);
}

static struct queue_submission
submission_args(const struct submission *s, const char *id, const struct queue_series *series,
    const struct task_bytes *webhook)
{
    const struct config *config = s->exchange->server->config;

    return (struct queue_submission){
        .id = id,
        .priority = s->request.priority,
        .owner = s->exchange->caller.name,
        .idempotency = s->scope[0] != '\0' ? s->scope : NULL,
        .digest = s->digest,
        .result_ttl_ms = s->request.result_ttl_ms,
        .idem_ttl_ms = QUEUE_IDEM_TTL_MS,
        .deadline_in_ms = s->request.deadline_ms,
        .max_attempts = QUEUE_MAX_ATTEMPTS,
        .max_queued =
            s->is_unmeetable || s->is_short ? 0 : config_integer(config, CONFIG_QUEUE_MAX_TASKS),
        .max_bytes = config_integer(config, CONFIG_QUEUE_MAX_MB) * 1024 * 1024,
        .webhook = webhook->data,
        .webhook_size = webhook->size,
        .webhook_events = s->request.webhook.events,
        .n_series = s->request.n_series,
        .eta_ms = s->eta_ms,
        .trace_id = s->trace_id,
        .series = series,
    };
}

bool
submit_estimate(const struct submission *s, const struct queue_load *load, double *finish_seconds)
{
    struct queue_work works[REQUEST_BATCH_SERIES_MAX];
    double start_seconds;

    for (size_t i = 0; i < s->request.n_series; i++) {
        const struct task *task = s->request.series[i].task;

        works[i] = (struct queue_work){
            .priority = s->request.priority,
            .prefill_tokens = cost_of(s, task).prefill_tokens,
            .horizon = (uint32_t)task->n_horizon,
            .samples = task->params.sample_count,
        };
    }
    return queue_estimate_group(load, works, s->request.n_series, &start_seconds, finish_seconds);
}

/* For the worker, which tells how good the estimates are: when the one task would be done, 0 unknown. */
static int64_t
eta_ms_of(const struct submission *s)
{
    const struct queue_load *load = models_recent_load(s->model);
    double finish_seconds;

    if (s->kind != REQUEST_SINGLE || load == NULL || !submit_estimate(s, load, &finish_seconds))
        return 0;
    return (int64_t)ceil(finish_seconds * 1000);
}

/* Whom to tell, as it is stored. */
static int
encode_webhook(const struct submission *s, struct task_bytes *bytes, struct error *err)
{
    struct webhook webhook = {.include_result = s->request.webhook.include_result};

    strncpy(webhook.url, s->request.webhook.url, sizeof(webhook.url) - 1);
    memcpy(webhook.traceparent, s->exchange->traceparent, sizeof(webhook.traceparent));
    return webhook_encode(&webhook, bytes, err);
}

void
submit_note_facts(struct submission *s)
{
    s->facts = (struct request_facts){
        .model = s->request.model,
        .priority = task_priority_name(s->request.priority),
        .n_series = s->request.n_series,
    };
    if (s->kind == REQUEST_SINGLE)
        s->facts.series_id = s->request.series[0].about.series_id;
    for (size_t i = 0; i < s->request.n_series; i++) {
        s->facts.rows += s->request.series[i].task->n_history;
        s->facts.pred_len += s->request.series[i].task->n_horizon;
    }
    s->exchange->facts = &s->facts;
}

int
submit_build_call(struct submission *s, struct queue_call *call, struct error *err)
{
    size_t n = s->request.n_series;
    struct queue_series *series = calloc(n, sizeof(*series));
    struct queue_submission args;
    struct task_bytes webhook = {0};
    char batch_id[ID_LEN + 1];
    int status = -1;

    s->task_ids = calloc(n, sizeof(*s->task_ids));
    if (series == NULL || s->task_ids == NULL) {
        error_set(err, ERR_MEMORY, "no memory to store a task");
        goto free_series;
    }
    for (size_t i = 0; i < n; i++) {
        id_new(s->task_ids[i]);
        if (encode_series(s, i, &series[i], err) == -1)
            goto free_series;
    }
    s->eta_ms = eta_ms_of(s);
    trace_id_of(s->exchange->traceparent, s->trace_id);
    if (s->request.webhook.url != NULL && encode_webhook(s, &webhook, err) == -1)
        goto free_series;
    id_new(batch_id);
    args =
        submission_args(s, s->kind == REQUEST_BATCH ? batch_id : s->task_ids[0], series, &webhook);
    status = queue_submit_call(&s->model->queue, &args, call, err);

free_series:
    free(webhook.data);
    free_encoded(series, series != NULL ? n : 0);
    return status;
}
