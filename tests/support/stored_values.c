/*
 * stored_values.c - Examples of what is stored, and when two of them are the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/stored_values.h"

#define MINUTE_US INT64_C(60000000)

/* ---- examples ---- */

struct task *
example_task(void)
{
    static const float candles[4][TASK_FIELDS] = {
        {1.5f, 1.625f, 1.375f, 1.5625f, 123.25f, 190.5f},
        {1.5625f, 1.75f, 1.5f, 1.6875f, 98.0f, 160.125f},
        {1.6875f, 1.6875f, 1.25f, 1.3125f, 0.0f, 0.0f},
        {1.3125f, 1.5f, 1.3f, 1.45f, 77.7f, 108.8f},
    };
    const int64_t first = 28928715; /* minutes: 2025-01-01T09:15:00 */
    struct error err;
    struct task *task = task_new(4, 3, &err);

    assert_non_null(task);
    memcpy(task->candles, candles, sizeof(candles));
    for (int i = 0; i < 4; i++)
        task->history_minutes[i] = first + 5 * i;
    for (int i = 0; i < 3; i++)
        task->horizon[i] = (struct task_time){(first + 20 + 5 * i) * MINUTE_US, 8 * 60};
    task->horizon[2].wall_us += 250000; /* a quarter of a second is kept */
    task->params = (struct task_params){
        .sample_count = 3,
        .top_k = 0,
        .temperature = 0.7f,
        .top_p = 0.9f,
        .seed = TASK_SEED_MAX,
        .context_mode = TASK_FIT,
    };
    task->output = (struct task_output){
        .quantiles = {0.1, 0.5, 0.9},
        .n_quantiles = 3,
        .stats = TASK_STAT_ALL,
        .paths = true,
        .repair = true,
        .columns = true,
        .stream = true,
    };
    return task;
}

struct task *
example_plain_task(void)
{
    static const float candle[TASK_FIELDS] = {100.25f, 101.0f, 99.75f, 100.5f, 0.0f, 0.0f};
    struct error err;
    struct task *task = task_new(1, 1, &err);

    assert_non_null(task);
    memcpy(task->candles, candle, sizeof(candle));
    task->history_minutes[0] = -1;
    task->horizon[0] = (struct task_time){0, TASK_NO_OFFSET};
    task->params = (struct task_params){
        .sample_count = 1,
        .top_k = 50,
        .temperature = 1.0f,
        .top_p = 1.0f,
        .seed = 42,
        .context_mode = TASK_EXACT,
    };
    return task;
}

static char *
copy(const char *text)
{
    char *own = strdup(text);

    assert_non_null(own);
    return own;
}

void
example_about(struct task_about *about)
{
    *about = (struct task_about){
        .series_id = copy("BTC-USD \xE2\x82\xBF"),
        .n_horizon = 3,
        .sample_count = 3,
        .n_metadata = 2,
        .columns = true,
    };
    about->metadata[0] = (struct task_metadata){copy("strategy"), copy("a1")};
    about->metadata[1] = (struct task_metadata){copy("note"), copy("")};
    task_about_warn(
        about, "unknown_member", "#/prioirty", "no such member, ignored: %s", "prioirty");
}

void
example_plain_about(struct task_about *about)
{
    *about = (struct task_about){.n_horizon = 1, .sample_count = 1};
}

void
example_plain_webhook(struct webhook *webhook)
{
    *webhook = (struct webhook){.url = "https://hooks.example/kronosq"};
}

void
example_webhook(struct webhook *webhook)
{
    *webhook = (struct webhook){
        .url = "https://hooks.example:8443/kronosq?desk=a",
        .include_result = true,
        .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    };
}

static void
example_origin(struct result *result)
{
    struct result_provenance *p = &result->provenance;

    memset(p->weights_sha256, 'a', 64);
    memset(p->tokenizer_sha256, 'b', 64);
    memset(p->forecast_sha256, '0', 64);
    strcpy(p->engine, "0.1.0");
    strcpy(p->kernel, "avx2");
    strcpy(p->precision, "fp32");
    strcpy(p->model_version, "NeoQuasar/Kronos-small");
    strcpy(p->tokenizer_version, "NeoQuasar/Kronos-Tokenizer-base");
    p->context = 512;
    result->timing = (struct result_timing){.run_ms = 1540, .batch_size = 40, .worker = "w-3f"};
}

struct result *
example_result(void)
{
    struct task *task = example_task();
    struct error err;
    struct result *result =
        result_new(task->n_horizon, &task->output, task->params.sample_count, &err);
    struct result_stats *s;

    assert_non_null(result);
    example_origin(result);
    memcpy(result->times, task->horizon, task->n_horizon * sizeof(*result->times));
    for (size_t i = 0; i < 3 * TASK_FIELDS; i++)
        result->prediction[i] = 1.0f + 0.1f * (float)i;
    for (size_t i = 0; i < (size_t)3 * TASK_FIELDS * 3; i++) {
        result->paths[i] = -2.0f + 0.3f * (float)i;
        result->quantiles[i] = (double)(0.7f * (float)i);
    }
    s = &result->stats;
    s->last_close = 1.45;
    for (int i = 0; i < 3; i++) {
        s->p_up[i] = i / 3.0;
        s->return_mean[i] = -0.01 * i;
        s->return_std[i] = 0.02 * i;
    }
    s->realized_vol_mean = 0.011;
    s->realized_vol_q10 = 0.01;
    s->realized_vol_q90 = 0.0125;
    s->realized_vol_excluded = 1;
    s->max_drawdown_mean = 0.05;
    s->max_drawdown_q90 = 0.07;
    s->range_high_mean = 1.7;
    s->range_high_q90 = 1.9;
    s->range_low_mean = 1.2;
    s->range_low_q10 = 1.1;
    for (size_t i = 0; i < result->n_horizon * TASK_FIELDS; i++)
        result->sampled[i] = result->prediction[i] - (i % 7 == 0 ? 0.25f : 0.0f);
    result->repaired_ohlc = 2;
    result->repaired_volume = 1;
    result->provenance.params = task->params;
    result->provenance.rows_given = 4;
    result->provenance.rows_used = 4;
    result_warn(result, "few_paths", "", "figures over fewer than %d paths are rough", 20);
    result_warn(result, "repaired", "", "high or low widened in 2 candles");
    task_free(task);
    return result;
}

struct result *
example_plain_result(void)
{
    struct task *task = example_plain_task();
    struct error err;
    struct result *result = result_new(1, &task->output, task->params.sample_count, &err);

    assert_non_null(result);
    example_origin(result);
    result->times[0] = task->horizon[0];
    for (size_t i = 0; i < TASK_FIELDS; i++)
        result->prediction[i] = 100.0f + (float)i;
    result->provenance.params = task->params;
    result->provenance.rows_given = 1;
    result->provenance.rows_used = 1;
    task_free(task);
    return result;
}

/* ---- sameness ---- */

static bool
same_times(const struct task_time *a, const struct task_time *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].wall_us != b[i].wall_us || a[i].offset_minutes != b[i].offset_minutes)
            return false;
    return true;
}

static bool
same_params(const struct task_params *a, const struct task_params *b)
{
    return a->sample_count == b->sample_count && a->top_k == b->top_k &&
           a->temperature == b->temperature && a->top_p == b->top_p && a->seed == b->seed &&
           a->context_mode == b->context_mode;
}

static bool
same_output(const struct task_output *a, const struct task_output *b)
{
    return a->n_quantiles == b->n_quantiles &&
           memcmp(a->quantiles, b->quantiles, a->n_quantiles * sizeof(double)) == 0 &&
           a->stats == b->stats && a->paths == b->paths && a->repair == b->repair &&
           a->columns == b->columns && a->stream == b->stream;
}

static bool
same_warnings(const struct task_warning *a, const struct task_warning *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(a[i].code, b[i].code) != 0 || strcmp(a[i].pointer, b[i].pointer) != 0 ||
            strcmp(a[i].detail, b[i].detail) != 0)
            return false;
    return true;
}

static bool
same_doubles(const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

bool
same_task(const struct task *a, const struct task *b)
{
    return a->n_history == b->n_history && a->n_horizon == b->n_horizon &&
           memcmp(a->candles, b->candles, a->n_history * TASK_FIELDS * sizeof(float)) == 0 &&
           memcmp(a->history_minutes, b->history_minutes, a->n_history * sizeof(int64_t)) == 0 &&
           same_times(a->horizon, b->horizon, a->n_horizon) &&
           same_params(&a->params, &b->params) && same_output(&a->output, &b->output);
}

static bool
same_text(const char *a, const char *b)
{
    return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

bool
same_about(const struct task_about *a, const struct task_about *b)
{
    if (!same_text(a->series_id, b->series_id) || a->n_horizon != b->n_horizon ||
        a->sample_count != b->sample_count || a->columns != b->columns ||
        a->n_metadata != b->n_metadata || a->n_warnings != b->n_warnings ||
        !same_warnings(a->warnings, b->warnings, a->n_warnings))
        return false;
    for (uint32_t i = 0; i < a->n_metadata; i++)
        if (!same_text(a->metadata[i].name, b->metadata[i].name) ||
            !same_text(a->metadata[i].value, b->metadata[i].value))
            return false;
    return true;
}

static bool
same_stats(const struct result_stats *a, const struct result_stats *b, uint32_t bits, size_t n)
{
    const double scalars_a[] = {a->realized_vol_mean, a->realized_vol_q10, a->realized_vol_q90,
        a->max_drawdown_mean, a->max_drawdown_q90, a->range_high_mean, a->range_high_q90,
        a->range_low_mean, a->range_low_q10, a->last_close};
    const double scalars_b[] = {b->realized_vol_mean, b->realized_vol_q10, b->realized_vol_q90,
        b->max_drawdown_mean, b->max_drawdown_q90, b->range_high_mean, b->range_high_q90,
        b->range_low_mean, b->range_low_q10, b->last_close};

    if (!same_doubles(scalars_a, scalars_b, sizeof(scalars_a) / sizeof(double)) ||
        a->realized_vol_excluded != b->realized_vol_excluded)
        return false;
    if (bits & TASK_STAT_P_UP && !same_doubles(a->p_up, b->p_up, n))
        return false;
    return !(bits & TASK_STAT_RETURN) || (same_doubles(a->return_mean, b->return_mean, n) &&
                                             same_doubles(a->return_std, b->return_std, n));
}

bool
same_result(const struct result *a, const struct result *b)
{
    const struct result_provenance *p = &a->provenance, *q = &b->provenance;
    size_t n = a->n_horizon, values = n * TASK_FIELDS;

    if (n != b->n_horizon || !same_output(&a->output, &b->output) ||
        !same_params(&p->params, &q->params) || !same_times(a->times, b->times, n) ||
        memcmp(a->prediction, b->prediction, values * sizeof(float)) != 0)
        return false;
    if (memcmp(result_candles(a), result_candles(b), values * sizeof(float)) != 0)
        return false;
    if (a->output.paths &&
        memcmp(a->paths, b->paths, p->params.sample_count * values * sizeof(float)) != 0)
        return false;
    if (!same_doubles(a->quantiles, b->quantiles, a->output.n_quantiles * values) ||
        !same_stats(&a->stats, &b->stats, a->output.stats, n))
        return false;
    return a->repaired_ohlc == b->repaired_ohlc && a->repaired_volume == b->repaired_volume &&
           strcmp(p->weights_sha256, q->weights_sha256) == 0 &&
           strcmp(p->tokenizer_sha256, q->tokenizer_sha256) == 0 &&
           strcmp(p->forecast_sha256, q->forecast_sha256) == 0 &&
           strcmp(p->engine, q->engine) == 0 && strcmp(p->kernel, q->kernel) == 0 &&
           strcmp(p->precision, q->precision) == 0 &&
           strcmp(p->model_version, q->model_version) == 0 &&
           strcmp(p->tokenizer_version, q->tokenizer_version) == 0 && p->context == q->context &&
           p->rows_given == q->rows_given && p->rows_used == q->rows_used &&
           p->recomputed_windows == q->recomputed_windows && a->timing.run_ms == b->timing.run_ms &&
           a->timing.batch_size == b->timing.batch_size &&
           strcmp(a->timing.worker, b->timing.worker) == 0 && a->n_warnings == b->n_warnings &&
           same_warnings(a->warnings, b->warnings, a->n_warnings);
}
