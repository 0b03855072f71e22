/*
 * summary.c - What a finished run tells the client: forecast, repair, hash, warnings.
 *
 * Pure: numbers in, a struct result out. Statistics are over the paths as the model
 * gave them (path_stats.c); the repair touches the prediction alone; the hash is over
 * the prediction as the client gets it.
 */
#include "worker/summary.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "common/little_endian.h"
#include "worker/path_stats.h"

enum { OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT }; /* places in a candle */

#define FEW_PATHS 20 /* below it a quantile or a share says little */

bool
summary_wants_paths(const struct task *task)
{
    return task->output.paths || task->output.n_quantiles > 0 || task->output.stats != 0;
}

static int
check_finite(const char *what, const float *values, size_t n_values, struct error *err)
{
    for (size_t i = 0; i < n_values; i++)
        if (!isfinite(values[i]))
            return error_set(err, ERR_NOT_FINITE, "%s: field %zu of candle %zu is not finite", what,
                i % TASK_FIELDS, i / TASK_FIELDS);
    return 0;
}

/* Low and high are widened to contain open and close, volume and amount raised to 0. */
static void
repair(struct result *result)
{
    for (size_t step = 0; step < result->n_horizon; step++) {
        float *candle = result->prediction + step * TASK_FIELDS;
        float top = fmaxf(candle[OPEN], candle[CLOSE]);
        float bottom = fminf(candle[OPEN], candle[CLOSE]);

        if (candle[HIGH] < top || candle[LOW] > bottom)
            result->repaired_ohlc++;
        candle[HIGH] = fmaxf(candle[HIGH], top);
        candle[LOW] = fminf(candle[LOW], bottom);

        if (candle[VOLUME] < 0 || candle[AMOUNT] < 0)
            result->repaired_volume++;
        if (candle[VOLUME] < 0)
            candle[VOLUME] = 0;
        if (candle[AMOUNT] < 0)
            candle[AMOUNT] = 0;
    }
}

/* SHA-256 over the prediction: n_horizon * 6 little-endian binary32, candle by candle. */
static int
hash_forecast(struct result *result, struct error *err)
{
    uint8_t bytes[TASK_HORIZON_MAX * TASK_FIELDS * 4], digest[EVP_MAX_MD_SIZE];
    size_t n_values = result->n_horizon * TASK_FIELDS;
    char *text = result->provenance.forecast_sha256;
    unsigned int n;

    for (size_t i = 0; i < n_values; i++)
        le_put_float(bytes + 4 * i, result->prediction[i]);
    if (EVP_Digest(bytes, n_values * 4, digest, &n, EVP_sha256(), NULL) != 1 || n != 32)
        return error_set(err, ERR_MEMORY, "SHA-256 of the forecast failed");
    for (unsigned int i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

/* ---- warnings ---- */

/* Quantiles and shares of what was cut or reshaped are not those of the model. */
static void
warn_narrowed(struct result *result, const struct task_params *p)
{
    char cut[48] = "", reshaped[64] = "";

    if (p->top_k > 0)
        snprintf(cut, sizeof(cut), "top_k %u cuts the tails", (unsigned)p->top_k);
    else if (p->top_p < 1)
        snprintf(cut, sizeof(cut), "top_p %g cuts the tails", (double)p->top_p);
    if (p->temperature != 1)
        snprintf(reshaped, sizeof(reshaped), "temperature %g %s the distribution",
            (double)p->temperature, p->temperature < 1 ? "narrows" : "widens");
    if (cut[0] != '\0' || reshaped[0] != '\0')
        result_warn(result, "narrowed_distribution", "", "%s%s%s", cut,
            cut[0] != '\0' && reshaped[0] != '\0' ? ", " : "", reshaped);
}

static void
warn_few_paths(struct result *result, const struct task_params *p)
{
    const struct task_output *output = &result->output;

    if (p->sample_count < FEW_PATHS) {
        result_warn(result, "few_paths", "",
            "figures over fewer than %d paths are rough, here over %u", FEW_PATHS,
            (unsigned)p->sample_count);
        return;
    }
    for (uint32_t i = 0; i < output->n_quantiles; i++) {
        double q = output->quantiles[i];

        if (p->sample_count * fmin(q, 1 - q) < 1) {
            result_warn(result, "few_paths", "", "%u paths are too few for the quantile %g",
                (unsigned)p->sample_count, q);
            return;
        }
    }
}

/* ${asked} is what the task wants; the result holds what was applied. Which options the client
 * wrote and which are defaults the worker cannot know: option_ignored is the API's to say. */
static void
warn_options(struct result *result, const struct task_params *asked, const struct summary_run *run)
{
    bool is_greedy = asked->temperature == 0 || asked->top_k == 1;

    if (result->output.n_quantiles > 0 || result->output.stats != 0) {
        warn_narrowed(result, asked);
        warn_few_paths(result, asked);
    }
    if (is_greedy && asked->sample_count > 1)
        result_warn(result, "paths_identical", "", "%s makes all %u paths the same",
            asked->temperature == 0 ? "temperature 0" : "top_k 1", (unsigned)asked->sample_count);
    if (asked->top_k > run->vocabulary)
        result_warn(result, "option_clamped", "", "top_k %u is above the vocabulary of %u",
            (unsigned)asked->top_k, (unsigned)run->vocabulary);
}

static void
warn_context(struct result *result, const struct task *task, const struct summary_run *run)
{
    if (task->n_history > run->context)
        result_warn(result, "context_truncated", "",
            "%zu candles exceed the context of %u: the first step saw the last %u", task->n_history,
            (unsigned)run->context, (unsigned)run->rows_used);
    if (task->params.context_mode == TASK_EXACT && run->recomputed_windows > 0)
        result_warn(result, "windows_recomputed", "",
            "the context of %u slid %u times and was recomputed each time: slower; "
            "with up to %zu candles it would not",
            (unsigned)run->context, (unsigned)run->recomputed_windows,
            run->context - task->n_horizon + 1);
}

static void
warn_repaired(struct result *result)
{
    if (result->repaired_ohlc > 0 || result->repaired_volume > 0)
        result_warn(result, "repaired", "",
            "high or low widened in %u candles, volume or amount raised to 0 in %u",
            (unsigned)result->repaired_ohlc, (unsigned)result->repaired_volume);
}

static void
fill_provenance(struct result_provenance *p, const struct task *task, const struct summary_run *run)
{
    p->params = task->params;
    if (p->params.top_k > run->vocabulary)
        p->params.top_k = run->vocabulary;
    p->context = run->context;
    p->rows_given = (uint32_t)task->n_history;
    p->rows_used = run->rows_used;
    p->recomputed_windows = run->recomputed_windows;
}

struct result *
summary_new(const struct task *task, const struct summary_run *run, const float *prediction,
    const float *paths, struct error *err)
{
    const size_t n_values = task->n_horizon * TASK_FIELDS;
    const struct paths all = {paths, task->params.sample_count, task->n_horizon};
    struct result *result;

    if (task->n_horizon > run->context) {
        error_set(err, ERR_INVALID, "%zu steps exceed the context of %u", task->n_horizon,
            (unsigned)run->context);
        return NULL;
    }
    if (summary_wants_paths(task) && paths == NULL) {
        error_set(err, ERR_INVALID, "paths are needed for quantiles, stats and paths");
        return NULL;
    }
    if (check_finite("prediction", prediction, n_values, err) == -1 ||
        (paths != NULL && check_finite("paths", paths, all.n_paths * n_values, err) == -1))
        return NULL;
    result = result_new(task->n_horizon, &task->output, task->params.sample_count, err);
    if (result == NULL)
        return NULL;

    memcpy(result->times, task->horizon, task->n_horizon * sizeof(*result->times));
    memcpy(result->prediction, prediction, n_values * sizeof(*prediction));
    fill_provenance(&result->provenance, task, run);
    if (result->paths != NULL)
        memcpy(result->paths, paths, all.n_paths * n_values * sizeof(*paths));
    if (result->quantiles != NULL)
        path_stats_quantiles(
            &all, task->output.quantiles, task->output.n_quantiles, result->quantiles);
    path_stats_fill(&all, (double)task->candles[(task->n_history - 1) * TASK_FIELDS + CLOSE],
        task->output.stats, &result->stats);
    if (result->sampled != NULL)
        memcpy(result->sampled, prediction, n_values * sizeof(*prediction));
    if (task->output.repair)
        repair(result);
    if (hash_forecast(result, err) == -1) {
        result_free(result);
        return NULL;
    }
    warn_options(result, &task->params, run);
    warn_context(result, task, run);
    warn_repaired(result);
    return result;
}
