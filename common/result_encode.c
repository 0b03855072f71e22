/*
 * result_encode.c - A finished forecast to bytes (schemas/result.md).
 *
 * Only what was asked for is written, after result_check(). The tables of names here
 * serve the reader, too.
 */
#include <math.h>

#include "common/little_endian.h"
#include "common/result_internal.h"
#include "common/task_internal.h"

const char *const result_member_names[R_COUNT] = {"version", "times_us", "times_offset_minutes",
    "prediction", "output", "provenance", "timing", "warnings", "quantiles", "paths", "stats",
    "repaired", "sampled"};

const char *const result_stats_names[S_COUNT] = {"last_close", "p_up", "return_mean", "return_std",
    "realized_vol", "realized_vol_excluded", "max_drawdown", "range"};

const char *const result_vol_names[VOL_FIGURES] = {"mean", "q10", "q90"};

const char *const result_drawdown_names[DRAWDOWN_FIGURES] = {"mean", "q90"};

const char *const result_range_names[RANGE_FIGURES] = {
    "high_mean", "high_q90", "low_mean", "low_q10"};

const char *const result_provenance_names[V_COUNT] = {"weights_sha256", "tokenizer_sha256",
    "engine", "kernel", "precision", "model_version", "tokenizer_version", "params", "context",
    "rows_given", "rows_used", "recomputed_windows", "forecast_sha256"};

const char *const result_timing_names[T_COUNT] = {"run_ms", "batch_size", "worker"};

const char *const result_repaired_names[F_COUNT] = {"ohlc", "volume"};

uint32_t
result_members(const struct task_output *output)
{
    uint32_t members = RESULT_ALWAYS;

    if (output->n_quantiles > 0)
        members |= 1u << R_QUANTILES;
    if (output->paths)
        members |= 1u << R_PATHS;
    if (output->stats != 0)
        members |= 1u << R_STATS;
    if (output->repair)
        members |= 1u << R_REPAIRED;
    if (output->repair && output->stream)
        members |= 1u << R_SAMPLED;
    return members;
}

uint32_t
result_stats_members(uint32_t stats)
{
    uint32_t members = 1u << S_LAST_CLOSE;

    if (stats & TASK_STAT_P_UP)
        members |= 1u << S_P_UP;
    if (stats & TASK_STAT_RETURN)
        members |= 1u << S_RETURN_MEAN | 1u << S_RETURN_STD;
    if (stats & TASK_STAT_REALIZED_VOL)
        members |= 1u << S_VOL | 1u << S_VOL_EXCLUDED;
    if (stats & TASK_STAT_MAX_DRAWDOWN)
        members |= 1u << S_DRAWDOWN;
    if (stats & TASK_STAT_RANGE)
        members |= 1u << S_RANGE;
    return members;
}

static void
write_reals(struct msgpack_write *w, const char *const *names, const double *values, size_t n)
{
    msgpack_write_map(w, n);
    for (size_t i = 0; i < n; i++) {
        msgpack_write_text(w, names[i]);
        if (isnan(values[i]))
            msgpack_write_nil(w);
        else
            msgpack_write_double(w, values[i]);
    }
}

static void
write_stats(struct msgpack_write *w, const struct result *result)
{
    const struct result_stats *s = &result->stats;
    const double vol[] = {s->realized_vol_mean, s->realized_vol_q10, s->realized_vol_q90};
    const double drawdown[] = {s->max_drawdown_mean, s->max_drawdown_q90};
    const double range[] = {
        s->range_high_mean, s->range_high_q90, s->range_low_mean, s->range_low_q10};
    uint32_t members = result_stats_members(result->output.stats);

    msgpack_write_map(w, (size_t)__builtin_popcount(members));
    for (int i = 0; i < S_COUNT; i++) {
        if (!(members & 1u << i))
            continue;
        msgpack_write_text(w, result_stats_names[i]);
        switch (i) {
        case S_LAST_CLOSE:
            msgpack_write_double(w, s->last_close);
            break;
        case S_P_UP:
            msgpack_write_doubles(w, s->p_up, result->n_horizon);
            break;
        case S_RETURN_MEAN:
            msgpack_write_doubles(w, s->return_mean, result->n_horizon);
            break;
        case S_RETURN_STD:
            if (isnan(s->return_std[0])) /* then all are: result_check() */
                msgpack_write_nil(w);
            else
                msgpack_write_doubles(w, s->return_std, result->n_horizon);
            break;
        case S_VOL:
            write_reals(w, result_vol_names, vol, VOL_FIGURES);
            break;
        case S_VOL_EXCLUDED:
            msgpack_write_uint(w, s->realized_vol_excluded);
            break;
        case S_DRAWDOWN:
            write_reals(w, result_drawdown_names, drawdown, DRAWDOWN_FIGURES);
            break;
        case S_RANGE:
            write_reals(w, result_range_names, range, RANGE_FIGURES);
            break;
        }
    }
}

static void
write_text_member(struct msgpack_write *w, const char *name, const char *text)
{
    msgpack_write_text(w, name);
    msgpack_write_text(w, text);
}

static void
write_uint_member(struct msgpack_write *w, const char *name, uint64_t value)
{
    msgpack_write_text(w, name);
    msgpack_write_uint(w, value);
}

static void
write_provenance(struct msgpack_write *w, const struct result_provenance *p)
{
    msgpack_write_map(w, V_COUNT);
    write_text_member(w, result_provenance_names[V_WEIGHTS], p->weights_sha256);
    write_text_member(w, result_provenance_names[V_TOKENIZER], p->tokenizer_sha256);
    write_text_member(w, result_provenance_names[V_ENGINE], p->engine);
    write_text_member(w, result_provenance_names[V_KERNEL], p->kernel);
    write_text_member(w, result_provenance_names[V_PRECISION], p->precision);
    write_text_member(w, result_provenance_names[V_MODEL], p->model_version);
    write_text_member(w, result_provenance_names[V_TOKENIZER_VERSION], p->tokenizer_version);
    msgpack_write_text(w, result_provenance_names[V_PARAMS]);
    task_write_params(w, &p->params);
    write_uint_member(w, result_provenance_names[V_CONTEXT], p->context);
    write_uint_member(w, result_provenance_names[V_ROWS_GIVEN], p->rows_given);
    write_uint_member(w, result_provenance_names[V_ROWS_USED], p->rows_used);
    write_uint_member(w, result_provenance_names[V_RECOMPUTED], p->recomputed_windows);
    write_text_member(w, result_provenance_names[V_FORECAST], p->forecast_sha256);
}

static void
write_quantiles(struct msgpack_write *w, const struct result *result)
{
    size_t n = result->output.n_quantiles * TASK_FIELDS * result->n_horizon;

    msgpack_write_bin(w, n * 4);
    for (size_t i = 0; i < n; i++) {
        uint8_t bytes[4];

        le_put_float(bytes, (float)result->quantiles[i]);
        msgpack_write_bytes(w, bytes, sizeof(bytes));
    }
}

int
result_encode(const struct result *result, struct task_bytes *out, struct error *err)
{
    size_t step_values = result->n_horizon * TASK_FIELDS;
    struct msgpack_write w;
    uint32_t members;

    *out = (struct task_bytes){0};
    if (result_check(result, err) == -1)
        return -1;
    members = result_members(&result->output);
    msgpack_write_init(&w);
    msgpack_write_map(&w, (size_t)__builtin_popcount(members));
    for (int i = 0; i < R_COUNT; i++) {
        if (!(members & 1u << i))
            continue;
        msgpack_write_text(&w, result_member_names[i]);
        switch (i) {
        case R_VERSION:
            msgpack_write_uint(&w, RESULT_FORMAT);
            break;
        case R_TIMES:
            task_write_wall_us(&w, result->times, result->n_horizon);
            break;
        case R_OFFSETS:
            task_write_offsets(&w, result->times, result->n_horizon);
            break;
        case R_PREDICTION:
            msgpack_write_floats(&w, result->prediction, step_values);
            break;
        case R_OUTPUT:
            task_write_output(&w, &result->output);
            break;
        case R_PROVENANCE:
            write_provenance(&w, &result->provenance);
            break;
        case R_TIMING:
            msgpack_write_map(&w, T_COUNT);
            write_uint_member(&w, result_timing_names[T_RUN], (uint64_t)result->timing.run_ms);
            write_uint_member(&w, result_timing_names[T_BATCH], result->timing.batch_size);
            write_text_member(&w, result_timing_names[T_WORKER], result->timing.worker);
            break;
        case R_WARNINGS:
            task_write_warnings(&w, result->warnings, result->n_warnings);
            break;
        case R_QUANTILES:
            write_quantiles(&w, result);
            break;
        case R_PATHS:
            msgpack_write_floats(
                &w, result->paths, result->provenance.params.sample_count * step_values);
            break;
        case R_STATS:
            write_stats(&w, result);
            break;
        case R_REPAIRED:
            msgpack_write_map(&w, F_COUNT);
            write_uint_member(&w, result_repaired_names[F_OHLC], result->repaired_ohlc);
            write_uint_member(&w, result_repaired_names[F_VOLUME], result->repaired_volume);
            break;
        case R_SAMPLED:
            msgpack_write_floats(&w, result->sampled, step_values);
            break;
        }
    }
    return msgpack_write_finish(&w, &out->data, &out->size, err);
}
