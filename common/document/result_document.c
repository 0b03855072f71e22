/*
 * result_document.c - A finished forecast as JSON: `data` of a task, body of its result.
 *
 * Forecast numbers are binary32 and printed as such, statistics are doubles; optional parts
 * are there when the request asked for them.
 */
#include "common/document/task_document.h"

#include <stdlib.h>

#include "common/little_endian.h"

static const char *const field_names[TASK_FIELDS] = {
    "open", "high", "low", "close", "volume", "amount"};

static void
write_time_of_bar(struct json_out *out, const char *name, const struct task_time *time)
{
    char text[TASK_TIME_TEXT_MAX];

    json_out_text_n(out, name, text, task_time_format(time, 'T', text));
}

static void
write_candle(
    struct json_out *out, const char *name, const struct task_time *time, const float *values)
{
    json_out_open(out, name, '{');
    write_time_of_bar(out, "timestamp", time);
    for (size_t f = 0; f < TASK_FIELDS; f++)
        json_out_float(out, field_names[f], values[f]);
    json_out_close(out, '}');
}

void
task_candle_write(const struct task_candle *candle, struct json_out *out)
{
    json_out_open(out, NULL, '{');
    json_out_text(out, "task_id", candle->task_id);
    json_out_text(out, "series_id", candle->series_id);
    json_out_integer(out, "step", candle->step);
    json_out_integer(out, "total", candle->total);
    write_candle(out, "candle", candle->time, candle->values);
    json_out_close(out, '}');
}

static void
write_prediction(const struct result *r, struct json_out *out)
{
    if (r->output.columns) {
        json_out_open(out, "prediction", '{');
        json_out_open(out, "timestamp", '[');
        for (size_t i = 0; i < r->n_horizon; i++)
            write_time_of_bar(out, NULL, &r->times[i]);
        json_out_close(out, ']');
        for (size_t f = 0; f < TASK_FIELDS; f++) {
            json_out_open(out, field_names[f], '[');
            for (size_t i = 0; i < r->n_horizon; i++)
                json_out_float(out, NULL, r->prediction[i * TASK_FIELDS + f]);
            json_out_close(out, ']');
        }
        json_out_close(out, '}');
        return;
    }
    json_out_open(out, "prediction", '[');
    for (size_t i = 0; i < r->n_horizon; i++)
        write_candle(out, NULL, &r->times[i], r->prediction + i * TASK_FIELDS);
    json_out_close(out, ']');
}

static void
write_quantiles(const struct result *r, struct json_out *out)
{
    const double *values = r->quantiles; /* [n_quantiles, TASK_FIELDS, n_horizon] */

    json_out_open(out, "quantiles", '{');
    for (uint32_t q = 0; q < r->output.n_quantiles; q++) {
        char name[40];

        name[json_format_double(r->output.quantiles[q], name)] = '\0';
        json_out_open(out, name, '{');
        for (size_t f = 0; f < TASK_FIELDS; f++) {
            json_out_open(out, field_names[f], '[');
            for (size_t i = 0; i < r->n_horizon; i++)
                json_out_float(out, NULL, (float)*values++);
            json_out_close(out, ']');
        }
        json_out_close(out, '}');
    }
    json_out_close(out, '}');
}

/* A bin of little-endian binary32, path by path. */
static void
write_packed_paths(const float *values, size_t n, struct json_out *out)
{
    unsigned char *bytes = malloc(n * sizeof(float)); /* at most 3 MiB, by TASK_PATH_VALUES_MAX */

    if (bytes == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        le_put_float(bytes + i * sizeof(float), values[i]);
    json_out_bytes(out, "data", bytes, n * sizeof(float));
    free(bytes);
}

static void
write_paths(const struct result *r, struct json_out *out)
{
    const float *values = r->paths; /* [sample_count, n_horizon, TASK_FIELDS] */
    uint32_t n_paths = r->provenance.params.sample_count;

    json_out_open(out, "paths", '{');
    json_out_open(out, "shape", '[');
    json_out_integer(out, NULL, n_paths);
    json_out_integer(out, NULL, (int64_t)r->n_horizon);
    json_out_integer(out, NULL, TASK_FIELDS);
    json_out_close(out, ']');
    json_out_open(out, "fields", '[');
    for (size_t f = 0; f < TASK_FIELDS; f++)
        json_out_text(out, NULL, field_names[f]);
    json_out_close(out, ']');
    if (out->is_msgpack) {
        write_packed_paths(values, n_paths * r->n_horizon * TASK_FIELDS, out);
        json_out_close(out, '}');
        return;
    }
    json_out_open(out, "data", '[');
    for (uint32_t s = 0; s < n_paths; s++) {
        json_out_open(out, NULL, '[');
        for (size_t i = 0; i < r->n_horizon; i++) {
            json_out_open(out, NULL, '[');
            for (size_t f = 0; f < TASK_FIELDS; f++)
                json_out_float(out, NULL, *values++);
            json_out_close(out, ']');
        }
        json_out_close(out, ']');
    }
    json_out_close(out, ']');
    json_out_close(out, '}');
}

static void
write_series(struct json_out *out, const char *name, const double *values, size_t n)
{
    json_out_open(out, name, '[');
    for (size_t i = 0; i < n; i++)
        json_out_double(out, NULL, values[i]); /* NaN becomes null */
    json_out_close(out, ']');
}

static void
write_stats(const struct result *r, struct json_out *out)
{
    const struct result_stats *s = &r->stats;

    json_out_open(out, "stats", '{');
    json_out_integer(out, "n_paths", r->provenance.params.sample_count);
    json_out_double(out, "last_close", s->last_close);
    if ((r->output.stats & TASK_STAT_P_UP) != 0) {
        write_series(out, "p_up", s->p_up, r->n_horizon);
        json_out_double(out, "p_up_final", s->p_up[r->n_horizon - 1]);
    }
    if ((r->output.stats & TASK_STAT_RETURN) != 0) {
        write_series(out, "return_mean", s->return_mean, r->n_horizon);
        write_series(out, "return_std", s->return_std, r->n_horizon);
    }
    if ((r->output.stats & TASK_STAT_REALIZED_VOL) != 0) {
        json_out_open(out, "realized_vol", '{');
        json_out_double(out, "mean", s->realized_vol_mean);
        json_out_double(out, "q10", s->realized_vol_q10);
        json_out_double(out, "q90", s->realized_vol_q90);
        json_out_integer(out, "excluded", s->realized_vol_excluded);
        json_out_close(out, '}');
    }
    if ((r->output.stats & TASK_STAT_MAX_DRAWDOWN) != 0) {
        json_out_open(out, "max_drawdown", '{');
        json_out_double(out, "mean", s->max_drawdown_mean);
        json_out_double(out, "q90", s->max_drawdown_q90);
        json_out_close(out, '}');
    }
    if ((r->output.stats & TASK_STAT_RANGE) != 0) {
        json_out_open(out, "range", '{');
        json_out_double(out, "high_mean", s->range_high_mean);
        json_out_double(out, "high_q90", s->range_high_q90);
        json_out_double(out, "low_mean", s->range_low_mean);
        json_out_double(out, "low_q10", s->range_low_q10);
        json_out_close(out, '}');
    }
    json_out_close(out, '}');
}

static void
write_provenance(const struct result *r, struct json_out *out)
{
    const struct result_provenance *p = &r->provenance;

    json_out_open(out, "provenance", '{');
    json_out_text(out, "weights_sha256", p->weights_sha256);
    json_out_text(out, "tokenizer_sha256", p->tokenizer_sha256);
    json_out_text(out, "engine", p->engine);
    json_out_text(out, "kernel", p->kernel);
    json_out_text(out, "precision", p->precision);
    json_out_integer(out, "seed", (int64_t)p->params.seed);
    json_out_text(
        out, "rng", "philox4x32-10"); /* the one there is; a second goes into the result */
    json_out_open(out, "params", '{');
    json_out_integer(out, "pred_len", (int64_t)r->n_horizon);
    json_out_float(out, "temperature", p->params.temperature);
    json_out_integer(out, "top_k", p->params.top_k);
    json_out_float(out, "top_p", p->params.top_p);
    json_out_integer(out, "sample_count", p->params.sample_count);
    json_out_text(out, "context_mode", task_context_mode_name(p->params.context_mode));
    json_out_close(out, '}');
    json_out_integer(out, "context", p->context);
    json_out_integer(out, "rows_given", p->rows_given);
    json_out_integer(out, "rows_used", p->rows_used);
    json_out_integer(out, "recomputed_windows", p->recomputed_windows);
    json_out_text(out, "forecast_sha256", p->forecast_sha256);
    json_out_close(out, '}');
}

static void
write_timing(const struct task_document *d, struct json_out *out)
{
    const struct result_timing *t = &d->result->timing;

    json_out_open(out, "timing", '{');
    json_out_integer(out, "queue_ms", d->view.started_ms - d->view.created_ms);
    json_out_integer(out, "run_ms", t->run_ms);
    json_out_integer(out, "batch_size", t->batch_size);
    json_out_text(out, "worker", t->worker);
    json_out_close(out, '}');
}

void
task_result_write(const struct task_document *d, const char *name, struct json_out *out)
{
    const struct result *r = d->result;

    json_out_open(out, name, '{');
    json_out_text(out, "task_id", d->id);
    json_out_text(out, "series_id", d->about.series_id);
    write_prediction(r, out);
    json_out_text(out, "model_version", r->provenance.model_version);
    json_out_text(out, "tokenizer_version", r->provenance.tokenizer_version);
    if (r->quantiles != NULL)
        write_quantiles(r, out);
    if (r->paths != NULL)
        write_paths(r, out);
    if (r->output.stats != 0)
        write_stats(r, out);
    if (r->output.repair) {
        json_out_open(out, "repaired", '{');
        json_out_integer(out, "ohlc", r->repaired_ohlc);
        json_out_integer(out, "volume", r->repaired_volume);
        json_out_close(out, '}');
    }
    write_provenance(r, out);
    write_timing(d, out);
    task_warnings_write(d, out);
    json_out_close(out, '}');
}
