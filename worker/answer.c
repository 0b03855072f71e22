/*
 * answer.c - Reads a finished forecast, has it summed up, adds who made it, encodes it.
 *
 * What follows from the numbers alone is summary.c's.
 */
#include "worker/answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/result.h"
#include "worker/summary.h"

/* Mean and, where something needs them, single paths. Sizes are within the limits of task.h. */
static struct result *
sum_up(const struct answer_maker *maker, const struct task *task, struct forecast *forecast,
    struct error *err)
{
    struct forecast_progress progress = forecast_progress(forecast);
    struct summary_run run = {
        .context = maker->context,
        .vocabulary = maker->vocabulary,
        .rows_used = progress.rows_used,
        .recomputed_windows = progress.recomputed_windows,
    };
    size_t n_values = task->n_horizon * TASK_FIELDS;
    float *mean = malloc(n_values * sizeof(*mean));
    float *paths = NULL;
    struct result *result = NULL;

    if (summary_wants_paths(task))
        paths = malloc(task->params.sample_count * n_values * sizeof(*paths));
    if (mean == NULL || (paths == NULL && summary_wants_paths(task)))
        error_set(err, ERR_MEMORY, "out of memory");
    else if (forecast_read(forecast, mean, paths, err) == 0)
        result = summary_new(task, &run, mean, paths, err);
    free(paths);
    free(mean);
    return result;
}

static void
sign(const struct answer_maker *maker, const struct job *job, struct result *result)
{
    struct result_provenance *p = &result->provenance;
    const struct model_identity *identity = maker->identity;

    snprintf(p->weights_sha256, sizeof(p->weights_sha256), "%s", identity->weights_sha256);
    snprintf(p->tokenizer_sha256, sizeof(p->tokenizer_sha256), "%s", identity->tokenizer_sha256);
    snprintf(p->model_version, sizeof(p->model_version), "%s", identity->model_version);
    snprintf(p->tokenizer_version, sizeof(p->tokenizer_version), "%s", identity->tokenizer_version);
    snprintf(p->engine, sizeof(p->engine), "%s", KRONOSQ_VERSION);
    snprintf(p->kernel, sizeof(p->kernel), "%s", maker->kernel);
    snprintf(p->precision, sizeof(p->precision), "%s", maker->precision);
    result->timing.run_ms = job->run_ms;
    result->timing.batch_size = job->batch_size;
    snprintf(result->timing.worker, sizeof(result->timing.worker), "%s", maker->worker);
}

int
answer_make(
    const struct answer_maker *maker, struct job *job, struct forecast *forecast, struct error *err)
{
    struct result *result = sum_up(maker, job->task, forecast, err);
    int status;

    if (result == NULL)
        return -1;
    sign(maker, job, result);
    status = result_encode(result, &job->output, err);
    result_free(result);
    if (status == 0 && job->output.size > RESULT_BYTES_MAX)
        return error_set(err, ERR_INVALID,
            "the result has %zu bytes, %d are allowed: ask for fewer paths", job->output.size,
            RESULT_BYTES_MAX);
    return status;
}
