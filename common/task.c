/*
 * task.c - The words, limits and checks of a forecast to make.
 *
 * Every word a client, a log or a Redis hash uses for a state, a priority, a context
 * mode or a statistic stands in one of the tables here and nowhere else in C. How a
 * task becomes bytes is task_codec.c; what a client is shown of it is task_about.c.
 */
#include "common/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/task_internal.h"
#include "common/utf8.h"

#define MINUTE_US INT64_C(60000000)

static const char *const status_names[TASK_STATUS_COUNT] = {
    [TASK_QUEUED] = "queued",
    [TASK_PROCESSING] = "processing",
    [TASK_COMPLETED] = "completed",
    [TASK_FAILED] = "failed",
    [TASK_CANCELLED] = "cancelled",
    [TASK_EXPIRED] = "expired",
};

/* In Redis: waiting for its retry. A client need not know. */
static const char parked_name[] = "scheduled";

static const char *const priority_names[TASK_PRIORITY_COUNT] = {
    [TASK_URGENT] = "urgent",
    [TASK_NORMAL] = "normal",
    [TASK_LOW] = "low",
};

static const char *const context_mode_names[TASK_CONTEXT_MODE_COUNT] = {
    [TASK_EXACT] = "exact",
    [TASK_FIT] = "fit",
    [TASK_BLOCK] = "block",
};

static const char *const stat_names[TASK_STAT_COUNT] = {
    /* bit i */
    "p_up",
    "return",
    "realized_vol",
    "max_drawdown",
    "range",
};

static const char *
name_of(const char *const *names, size_t n, size_t index)
{
    return index < n ? names[index] : NULL;
}

/* The index of ${name}, or -1. */
static int
index_of(const char *const *names, size_t n, const char *name, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return (int)i;
    return -1;
}

const char *
task_status_name(enum task_status status)
{
    return name_of(status_names, TASK_STATUS_COUNT, (size_t)status);
}

const char *
task_priority_name(enum task_priority priority)
{
    return name_of(priority_names, TASK_PRIORITY_COUNT, (size_t)priority);
}

const char *
task_context_mode_name(enum task_context_mode mode)
{
    return name_of(context_mode_names, TASK_CONTEXT_MODE_COUNT, (size_t)mode);
}

const char *
task_stat_name(uint32_t stat)
{
    for (size_t i = 0; i < TASK_STAT_COUNT; i++)
        if (stat == UINT32_C(1) << i)
            return stat_names[i];
    return NULL;
}

int
task_status_from_name(const char *name, size_t len, enum task_status *status)
{
    int i = index_of(status_names, TASK_STATUS_COUNT, name, len);

    if (i == -1 && len == strlen(parked_name) && memcmp(name, parked_name, len) == 0)
        i = TASK_QUEUED;
    if (i == -1)
        return -1;
    *status = (enum task_status)i;
    return 0;
}

int
task_priority_from_name(const char *name, size_t len, enum task_priority *priority)
{
    int i = index_of(priority_names, TASK_PRIORITY_COUNT, name, len);

    if (i == -1)
        return -1;
    *priority = (enum task_priority)i;
    return 0;
}

int
task_context_mode_from_name(const char *name, size_t len, enum task_context_mode *mode)
{
    int i = index_of(context_mode_names, TASK_CONTEXT_MODE_COUNT, name, len);

    if (i == -1)
        return -1;
    *mode = (enum task_context_mode)i;
    return 0;
}

int
task_stat_from_name(const char *name, size_t len, uint32_t *stat)
{
    int i = index_of(stat_names, TASK_STAT_COUNT, name, len);

    if (i == -1)
        return -1;
    *stat = UINT32_C(1) << i;
    return 0;
}

bool
task_status_is_terminal(enum task_status status)
{
    return status != TASK_QUEUED && status != TASK_PROCESSING;
}

static bool
is_alphanumeric(char c) /* of ASCII, whatever the locale */
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool
task_model_name_is_valid(const char *name, size_t len)
{
    if (len < 1 || len > TASK_MODEL_NAME_MAX || !is_alphanumeric(name[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_alphanumeric(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
            return false;
    return true;
}

bool
task_series_id_is_valid(const char *id, size_t len)
{
    if (len > TASK_SERIES_ID_MAX || !utf8_is_valid(id, len))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)id[i] < 0x20 || id[i] == 0x7F)
            return false;
    return true;
}

int64_t
task_time_minutes(const struct task_time *time)
{
    int64_t minutes = time->wall_us / MINUTE_US;

    return time->wall_us % MINUTE_US < 0 ? minutes - 1 : minutes; /* C rounds towards 0 */
}

int64_t
task_time_instant_us(const struct task_time *time)
{
    if (time->offset_minutes == TASK_NO_OFFSET)
        return time->wall_us;
    return time->wall_us - time->offset_minutes * MINUTE_US;
}

struct task *
task_new(size_t n_history, size_t n_horizon, struct error *err)
{
    struct task *task;
    size_t minutes_at, candles_at;

    if (n_history < 1 || n_history > TASK_HISTORY_MAX) {
        error_set(err, ERR_INVALID, "%zu candles are not 1 to %d", n_history, TASK_HISTORY_MAX);
        return NULL;
    }
    if (n_horizon < 1 || n_horizon > TASK_HORIZON_MAX) {
        error_set(err, ERR_INVALID, "%zu steps are not 1 to %d", n_horizon, TASK_HORIZON_MAX);
        return NULL;
    }

    /* One block, the wider types first: none needs padding. The limits above keep the sum small. */
    minutes_at = sizeof(*task) + n_horizon * sizeof(*task->horizon);
    candles_at = minutes_at + n_history * sizeof(*task->history_minutes);
    task = calloc(1, candles_at + n_history * TASK_FIELDS * sizeof(*task->candles));
    if (task == NULL) {
        error_set(err, ERR_MEMORY, "out of memory for a task of %zu candles", n_history);
        return NULL;
    }
    task->n_history = n_history;
    task->n_horizon = n_horizon;
    task->horizon = (struct task_time *)(task + 1);
    task->history_minutes = (int64_t *)((char *)task + minutes_at);
    task->candles = (float *)((char *)task + candles_at);
    return task;
}

void
task_free(struct task *task)
{
    free(task);
}

int
task_check_times(const struct task_time *times, size_t n, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct task_time *t = &times[i];

        if (t->wall_us < TASK_WALL_US_MIN || t->wall_us > TASK_WALL_US_MAX)
            return error_set(err, ERR_INVALID, "time %zu is outside the years 1900 to 2261", i);
        if (t->offset_minutes != TASK_NO_OFFSET &&
            (t->offset_minutes < -1439 || t->offset_minutes > 1439))
            return error_set(err, ERR_INVALID, "time %zu has an offset of %d minutes", i,
                (int)t->offset_minutes);
        if (i == 0)
            continue;
        if ((t->offset_minutes == TASK_NO_OFFSET) != (times[0].offset_minutes == TASK_NO_OFFSET))
            return error_set(err, ERR_INVALID, "times with and without an offset are mixed");
        if (task_time_instant_us(t) <= task_time_instant_us(t - 1))
            return error_set(err, ERR_INVALID, "time %zu is not after the one before it", i);
    }
    return 0;
}

int
task_check_params(const struct task_params *p, struct error *err)
{
    if (p->sample_count < 1 || p->sample_count > TASK_SAMPLES_MAX)
        return error_set(err, ERR_INVALID, "sample_count %u is not 1 to %d",
            (unsigned)p->sample_count, TASK_SAMPLES_MAX);
    if (p->top_k > TASK_TOP_K_MAX)
        return error_set(
            err, ERR_INVALID, "top_k %u is over %d", (unsigned)p->top_k, TASK_TOP_K_MAX);
    if (!(p->temperature >= 0 && p->temperature <= TASK_TEMPERATURE_MAX)) /* refuses NaN too */
        return error_set(err, ERR_INVALID, "temperature %g is not 0 to %g", (double)p->temperature,
            TASK_TEMPERATURE_MAX);
    if (!(p->top_p > 0 && p->top_p <= 1))
        return error_set(err, ERR_INVALID, "top_p %g is not above 0 and up to 1", (double)p->top_p);
    if (p->seed > TASK_SEED_MAX)
        return error_set(err, ERR_INVALID, "seed is over 2^53 - 1");
    if (task_context_mode_name(p->context_mode) == NULL)
        return error_set(err, ERR_INVALID, "context_mode %d is none", (int)p->context_mode);
    return 0;
}

int
task_check_output(
    const struct task_output *output, size_t n_horizon, uint32_t sample_count, struct error *err)
{
    if (output->n_quantiles > TASK_QUANTILES_MAX)
        return error_set(err, ERR_INVALID, "%u quantiles are over %d",
            (unsigned)output->n_quantiles, TASK_QUANTILES_MAX);
    for (uint32_t i = 0; i < output->n_quantiles; i++) {
        if (!(output->quantiles[i] >= 0.01 && output->quantiles[i] <= 0.99))
            return error_set(
                err, ERR_INVALID, "quantile %g is not 0.01 to 0.99", output->quantiles[i]);
        if (i > 0 && output->quantiles[i] <= output->quantiles[i - 1])
            return error_set(err, ERR_INVALID, "quantiles are not ascending");
    }
    if (output->stats & ~(uint32_t)TASK_STAT_ALL)
        return error_set(err, ERR_INVALID, "stats hold an unknown one");
    if (output->paths && (uint64_t)sample_count * n_horizon > TASK_PATH_VALUES_MAX)
        return error_set(
            err, ERR_INVALID, "samples times steps of paths is over %d", TASK_PATH_VALUES_MAX);
    return 0;
}

int
task_check(const struct task *task, struct error *err)
{
    if (task->n_history < 1 || task->n_history > TASK_HISTORY_MAX)
        return error_set(
            err, ERR_INVALID, "%zu candles are not 1 to %d", task->n_history, TASK_HISTORY_MAX);
    if (task->n_horizon < 1 || task->n_horizon > TASK_HORIZON_MAX)
        return error_set(
            err, ERR_INVALID, "%zu steps are not 1 to %d", task->n_horizon, TASK_HORIZON_MAX);

    for (size_t i = 0; i < task->n_history; i++) {
        const float *candle = task->candles + i * TASK_FIELDS;
        struct task_time time = {.offset_minutes = TASK_NO_OFFSET};

        for (int field = 0; field < TASK_FIELDS; field++) {
            bool is_price = field < 4;

            if (!isfinite(candle[field]) || candle[field] < 0 || (is_price && candle[field] == 0))
                return error_set(err, ERR_INVALID, "field %d of candle %zu is %g, not %s", field, i,
                    (double)candle[field], is_price ? "above 0" : "0 or more");
        }
        /* compared in minutes, as the product could overflow */
        time.wall_us = TASK_WALL_US_MIN;
        if (task->history_minutes[i] < task_time_minutes(&time))
            return error_set(err, ERR_INVALID, "the time of candle %zu is before 1900", i);
        time.wall_us = TASK_WALL_US_MAX;
        if (task->history_minutes[i] > task_time_minutes(&time))
            return error_set(err, ERR_INVALID, "the time of candle %zu is after 2261", i);
    }
    if (task_check_times(task->horizon, task->n_horizon, err) == -1)
        return -1;
    if (task_check_params(&task->params, err) == -1)
        return -1;
    return task_check_output(&task->output, task->n_horizon, task->params.sample_count, err);
}

struct task_cost
task_cost(size_t n_history, size_t n_horizon, uint32_t samples, enum task_context_mode mode,
    size_t context)
{
    const uint64_t past = n_history, steps = n_horizon, paths = samples;
    const uint64_t window = context == 0 ? past + steps : context;
    struct task_cost cost = {.decode_steps = steps * paths};
    uint64_t slides = 0, refilled = window, first;

    if (steps == 0)
        return cost;
    if (past + steps > window + 1) {
        slides = past + steps - 1 - window;
        slides = slides < steps - 1 ? slides : steps - 1;
    }
    if (mode == TASK_FIT) {
        /* a horizon beyond the context is refused elsewhere; here it must not wrap */
        uint64_t room = window >= steps ? window - steps + 1 : 1;

        cost.prefill_tokens = past < room ? past : room;
        return cost;
    }
    if (mode == TASK_BLOCK) { /* one prefill per 64 steps, of what is left after 64 were dropped */
        slides = (slides + 63) / 64;
        refilled = window > 63 ? window - 63 : 1;
    }
    cost.prefill_tokens = past < window ? past : window;
    first = steps - slides;
    for (uint64_t i = first; i < steps && paths > 0; i++)
        cost.prefill_tokens += refilled + (paths - 1) * (i < refilled ? i : refilled);
    return cost;
}
