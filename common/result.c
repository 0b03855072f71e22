/*
 * result.c - The memory of a finished forecast, and what must hold of it.
 *
 * How it becomes bytes is result_codec.c; how its figures are computed is
 * worker/summary.c.
 */
#include "common/result.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/task_internal.h"
#include "common/utf8.h"

struct result *
result_new(
    size_t n_horizon, const struct task_output *output, uint32_t sample_count, struct error *err)
{
    size_t n_times, n_doubles, n_floats, n_quantiles, n_p_up, n_return, step_values;
    bool is_sampled = output->repair && output->stream;
    struct result *result;
    double *doubles;
    float *floats;

    if (n_horizon < 1 || n_horizon > TASK_HORIZON_MAX) {
        error_set(err, ERR_INVALID, "%zu steps are not 1 to %d", n_horizon, TASK_HORIZON_MAX);
        return NULL;
    }
    if (sample_count < 1 || sample_count > TASK_SAMPLES_MAX) {
        error_set(err, ERR_INVALID, "sample_count %u is not 1 to %d", (unsigned)sample_count,
            TASK_SAMPLES_MAX);
        return NULL;
    }
    if (task_check_output(output, n_horizon, sample_count, err) == -1)
        return NULL;

    /* One block, the wider types first: none needs padding. The limits above keep it small. */
    n_times = n_horizon;
    n_quantiles = output->n_quantiles * TASK_FIELDS * n_horizon;
    n_p_up = output->stats & TASK_STAT_P_UP ? n_horizon : 0;
    n_return = output->stats & TASK_STAT_RETURN ? n_horizon : 0;
    n_doubles = n_quantiles + n_p_up + 2 * n_return;
    step_values = n_horizon * TASK_FIELDS;
    n_floats = step_values * (1 + (is_sampled ? 1u : 0u) + (output->paths ? sample_count : 0u));
    result = calloc(1, sizeof(*result) + n_times * sizeof(*result->times) +
                           n_doubles * sizeof(double) + n_floats * sizeof(float));
    if (result == NULL) {
        error_set(err, ERR_MEMORY, "out of memory for a result of %zu steps", n_horizon);
        return NULL;
    }

    result->n_horizon = n_horizon;
    result->output = *output;
    result->provenance.params.sample_count = sample_count;
    result->times = (struct task_time *)(result + 1);
    doubles = (double *)(result->times + n_times);
    if (n_quantiles > 0)
        result->quantiles = doubles;
    if (n_p_up > 0)
        result->stats.p_up = doubles + n_quantiles;
    if (n_return > 0) {
        result->stats.return_mean = doubles + n_quantiles + n_p_up;
        result->stats.return_std = result->stats.return_mean + n_return;
    }
    floats = (float *)(doubles + n_doubles);
    result->prediction = floats;
    floats += step_values;
    if (is_sampled) {
        result->sampled = floats;
        floats += step_values;
    }
    if (output->paths)
        result->paths = floats;
    return result;
}

void
result_free(struct result *result)
{
    free(result);
}

void
result_warn(struct result *result, const char *code, const char *pointer, const char *format, ...)
{
    va_list args;

    if (result->n_warnings >= TASK_WARNINGS_MAX)
        return;
    va_start(args, format);
    task_warning_set(&result->warnings[result->n_warnings++], code, pointer, format, args);
    va_end(args);
}

const float *
result_candles(const struct result *result)
{
    return result->sampled != NULL ? result->sampled : result->prediction;
}

static bool
all_finite(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

static bool
all_within(const double *values, size_t n, double low, double high)
{
    for (size_t i = 0; i < n; i++)
        if (!(values[i] >= low && values[i] <= high)) /* refuses NaN too */
            return false;
    return true;
}

static bool
all_nan(const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i]))
            return false;
    return true;
}

static int
check_values(const struct result *result, struct error *err)
{
    const struct task_output *output = &result->output;
    size_t step_values = result->n_horizon * TASK_FIELDS;

    if (!all_finite(result->prediction, step_values))
        return error_set(err, ERR_INVALID, "prediction has a value that is not finite");
    if (output->repair && output->stream &&
        (result->sampled == NULL || !all_finite(result->sampled, step_values)))
        return error_set(err, ERR_INVALID, "sampled is not here or not finite");
    if (output->n_quantiles > 0 &&
        (result->quantiles == NULL ||
            !all_within(
                result->quantiles, output->n_quantiles * step_values, -(double)FLT_MAX, FLT_MAX)))
        return error_set(err, ERR_INVALID, "quantiles are not here or not finite");
    if (output->paths &&
        (result->paths == NULL ||
            !all_finite(result->paths, result->provenance.params.sample_count * step_values)))
        return error_set(err, ERR_INVALID, "paths are not here or not finite");
    return 0;
}

static int
check_stats(const struct result *result, struct error *err)
{
    const struct result_stats *s = &result->stats;
    const uint32_t bits = result->output.stats;
    const size_t n = result->n_horizon;
    const double vol[] = {s->realized_vol_mean, s->realized_vol_q10, s->realized_vol_q90};
    const double rest[] = {s->max_drawdown_mean, s->max_drawdown_q90};
    const double range[] = {
        s->range_high_mean, s->range_high_q90, s->range_low_mean, s->range_low_q10};

    if (bits != 0 && !(s->last_close > 0 && s->last_close <= DBL_MAX))
        return error_set(err, ERR_INVALID, "last_close is not above 0");
    if (bits & TASK_STAT_P_UP && (s->p_up == NULL || !all_within(s->p_up, n, 0, 1)))
        return error_set(err, ERR_INVALID, "p_up is not here or not 0 to 1");
    if (bits & TASK_STAT_RETURN) {
        if (s->return_mean == NULL || !all_within(s->return_mean, n, -DBL_MAX, DBL_MAX))
            return error_set(err, ERR_INVALID, "return_mean is not here or not finite");
        if (s->return_std == NULL ||
            (!all_within(s->return_std, n, 0, DBL_MAX) && !all_nan(s->return_std, n)))
            return error_set(err, ERR_INVALID, "return_std is neither 0 or more nor null");
    }
    if (bits & TASK_STAT_REALIZED_VOL) {
        if (!all_within(vol, 3, 0, DBL_MAX) && !all_nan(vol, 3))
            return error_set(err, ERR_INVALID, "realized_vol is neither 0 or more nor null");
        if (s->realized_vol_excluded > result->provenance.params.sample_count)
            return error_set(err, ERR_INVALID, "realized_vol excludes more paths than there are");
    }
    if (bits & TASK_STAT_MAX_DRAWDOWN && !all_within(rest, 2, -DBL_MAX, DBL_MAX))
        return error_set(err, ERR_INVALID, "max_drawdown is not finite");
    if (bits & TASK_STAT_RANGE && !all_within(range, 4, -DBL_MAX, DBL_MAX))
        return error_set(err, ERR_INVALID, "range is not finite");
    return 0;
}

static bool
is_sha256(const char text[65])
{
    for (int i = 0; i < 64; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    return text[64] == '\0';
}

static bool
is_name(const char *text, size_t size)
{
    size_t len = strnlen(text, size);

    return len > 0 && len < size && utf8_is_valid(text, len);
}

static int
check_origin(const struct result *result, struct error *err)
{
    const struct result_provenance *p = &result->provenance;
    const struct result_timing *t = &result->timing;

    if (!is_sha256(p->weights_sha256) || !is_sha256(p->tokenizer_sha256) ||
        !is_sha256(p->forecast_sha256))
        return error_set(err, ERR_INVALID, "a SHA-256 of the provenance is not 64 hex digits");
    if (!is_name(p->engine, sizeof(p->engine)) || !is_name(p->kernel, sizeof(p->kernel)) ||
        !is_name(p->precision, sizeof(p->precision)) ||
        !is_name(p->model_version, sizeof(p->model_version)) ||
        !is_name(p->tokenizer_version, sizeof(p->tokenizer_version)))
        return error_set(err, ERR_INVALID, "a name of the provenance is empty or not UTF-8");
    if (p->context < 1 || p->rows_given < 1 || p->rows_given > TASK_HISTORY_MAX ||
        p->rows_used < 1 || p->rows_used > p->rows_given)
        return error_set(err, ERR_INVALID, "context %u, rows given %u and used %u do not agree",
            (unsigned)p->context, (unsigned)p->rows_given, (unsigned)p->rows_used);
    if (t->run_ms < 0)
        return error_set(err, ERR_INVALID, "run_ms is below 0");
    if (!is_name(t->worker, sizeof(t->worker)))
        return error_set(err, ERR_INVALID, "the worker's name is empty or not UTF-8");
    return 0;
}

int
result_check(const struct result *result, struct error *err)
{
    if (result->n_horizon < 1 || result->n_horizon > TASK_HORIZON_MAX)
        return error_set(
            err, ERR_INVALID, "%zu steps are not 1 to %d", result->n_horizon, TASK_HORIZON_MAX);
    if (task_check_times(result->times, result->n_horizon, err) == -1 ||
        task_check_params(&result->provenance.params, err) == -1 ||
        task_check_output(
            &result->output, result->n_horizon, result->provenance.params.sample_count, err) == -1)
        return -1;
    if (check_values(result, err) == -1 || check_stats(result, err) == -1 ||
        check_origin(result, err) == -1)
        return -1;
    if (result->repaired_ohlc > result->n_horizon || result->repaired_volume > result->n_horizon)
        return error_set(err, ERR_INVALID, "more candles were repaired than there are");
    return task_check_warnings(result->warnings, result->n_warnings, err);
}
