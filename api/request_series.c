/*
 * request_series.c - One series: its members in the order of the schema, then its task.
 *
 * A single request is one series among other members, a batch item is a series alone; both
 * are read here.
 */
#include "api/request_internal.h"

#include <stdlib.h>
#include <string.h>

#define CONTROL_FREE_PATTERN "^[^\\x00-\\x1F\\x7F]*$"

static void
read_series_id(struct reader *r, const cJSON *item, const struct path *at, struct series *series)
{
    const char *text;

    if (!value_text(r, item, at, 0, TASK_SERIES_ID_MAX, &text))
        return;
    if (task_series_id_is_valid(text, strlen(text)))
        series->series_id = text;
    else /* the tree is UTF-8, so it is a control character */
        fault_pattern(r, at, CONTROL_FREE_PATTERN, item);
}

void
series_read(
    struct reader *r, const cJSON *const *found, const struct path *at, struct series *series)
{
    struct path id_at = {.parent = at, .name = "series_id"};
    struct path candles_at = {.parent = at, .name = "candles"};
    struct path history_at = {.parent = at, .name = "timestamps"};
    struct path horizon_at = {.parent = at, .name = "prediction_timestamps"};
    struct path overrides_at = {.parent = at, .name = "overrides"};
    const cJSON *pred_len = overrides_member(found[SERIES_OVERRIDES], "pred_len");

    if (value_is_given(found[SERIES_ID]))
        read_series_id(r, found[SERIES_ID], &id_at, series);
    else if (series->is_batch_item)
        fault_required(r, &id_at);

    if (found[SERIES_CANDLES] == NULL)
        fault_required(r, &candles_at);
    else
        candles_read(r, found[SERIES_CANDLES], &candles_at, &series->candles);

    if (found[SERIES_TIMESTAMPS] == NULL)
        fault_required(r, &history_at);
    else
        times_read_history(
            r, found[SERIES_TIMESTAMPS], &history_at, series->candles.n, &series->history);

    if (found[SERIES_PREDICTION] == NULL)
        fault_required(r, &horizon_at);
    else
        times_read_horizon(r, found[SERIES_PREDICTION], &horizon_at, &series->history,
            value_is_given(pred_len) ? pred_len : series->pred_len, &series->horizon);

    if (value_is_given(found[SERIES_OVERRIDES]))
        overrides_read(r, found[SERIES_OVERRIDES], &overrides_at, &series->overrides);
}

int
series_task(struct reader *r, struct series *series, const struct task_output *output,
    struct request_series *out)
{
    struct overrides *overrides = &series->overrides;
    struct error err;
    struct task *task;

    if ((task = task_new(series->candles.n, series->horizon.n, &err)) == NULL)
        goto no_memory; /* the lengths have been judged */
    out->task = task;
    candles_fill(&series->candles, task->candles);
    for (size_t i = 0; i < task->n_history; i++)
        task->history_minutes[i] = task_time_minutes(&series->history.list[i]);
    memcpy(task->horizon, series->horizon.list, task->n_horizon * sizeof(*task->horizon));
    if (!overrides->has_seed)
        overrides->params.seed = r->rules->draw_seed(r->rules->cookie) & TASK_SEED_MAX;
    task->params = overrides->params;
    task->output = *output;

    if (series->series_id != NULL && (out->about.series_id = strdup(series->series_id)) == NULL)
        goto no_memory;
    out->about.n_horizon = (uint32_t)task->n_horizon;
    out->about.sample_count = task->params.sample_count;
    out->about.columns = output->columns;
    return 0;

no_memory:
    r->out_of_memory = true;
    return -1;
}

void
series_clear(struct series *series)
{
    free(series->candles.fields);
    free(series->history.list);
    free(series->horizon.list);
    *series = (struct series){0};
}
