/*
 * result.h - A finished forecast and its stored form (`output` in the task hash).
 *
 * Written by a worker, read by the API (which treats it as hostile bytes) and by
 * anyone who reads schemas/result.md. Numbers of the forecast are binary32, bins of
 * little-endian values; times are the client's wall clock as it wrote them.
 */
#ifndef COMMON_RESULT_H
#define COMMON_RESULT_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/task.h"

#define RESULT_FORMAT    1 /* rules for raising it: see TASK_FORMAT */
#define RESULT_NAME_MAX  128
#define RESULT_BYTES_MAX (8 * 1024 * 1024) /* the largest paths are 131072 * 6 * 4 = 3 MiB */

struct result_provenance {
    char weights_sha256[65];
    char tokenizer_sha256[65];
    char engine[32];    /* version, "0.1.0" */
    char kernel[32];    /* "avx512", "avx2", "portable" */
    char precision[16]; /* "fp32", "fp16-weights", "fp16-kv", "fp16" */
    char model_version[RESULT_NAME_MAX];
    char tokenizer_version[RESULT_NAME_MAX];
    struct task_params params; /* as applied */
    uint32_t context;          /* C of the model */
    uint32_t rows_given;       /* L */
    uint32_t rows_used;        /* history rows the first step saw */
    uint32_t recomputed_windows;
    char forecast_sha256[65]; /* over prediction as returned: P * 6 little-endian binary32 */
};

struct result_timing {
    int64_t run_ms;
    uint32_t batch_size; /* most sequences that stepped together with it */
    char worker[64];     /* the worker's short name */
};

/* Statistics over paths (schemas/result.md has the formulas); a member holds, and an array is
 * not NULL, only if its TASK_STAT_* bit is set in output.stats; last_close with any of them.
 * NaN stands for null (return_std of one path, realized_vol with every path excluded). */
struct result_stats {
    double last_close;
    double *p_up;        /* [n_horizon] */
    double *return_mean; /* [n_horizon] */
    double *return_std;  /* [n_horizon] */
    double realized_vol_mean, realized_vol_q10, realized_vol_q90;
    uint32_t realized_vol_excluded;
    double max_drawdown_mean, max_drawdown_q90;
    double range_high_mean, range_high_q90, range_low_mean, range_low_q10;
};

struct result {
    size_t n_horizon;
    struct task_time *times;   /* [n_horizon] */
    float *prediction;         /* [n_horizon, TASK_FIELDS], repaired if output.repair */
    struct task_output output; /* which optional parts are here, and the layout */
    double *quantiles;         /* [n_quantiles, TASK_FIELDS, n_horizon] or NULL; each value is a
                                  binary32's: stored and shown as one, like the paths it is from */
    float *paths;              /* [sample_count, n_horizon, TASK_FIELDS] or NULL */
    struct result_stats stats;
    float *sampled; /* [n_horizon, TASK_FIELDS] the prediction before repair, as it was streamed:
                                  with output.repair and output.stream, else NULL */
    uint32_t repaired_ohlc, repaired_volume; /* candles changed, when output.repair */
    struct result_provenance provenance;
    struct result_timing timing;
    uint32_t n_warnings;
    struct task_warning warnings[TASK_WARNINGS_MAX];
};

/**
 * result_new(n_horizon, output, sample_count, err): room for every part ${output} asks
 * for, zeroed. ERR_INVALID beyond the limits of task.h.
 */
struct result *result_new(
    size_t n_horizon, const struct task_output *output, uint32_t sample_count, struct error *err);
void result_free(struct result *result);

/** result_warn(result, code, pointer, format, ...): as task_about_warn(). */
void result_warn(struct result *result, const char *code, const char *pointer, const char *format,
    ...) __attribute__((format(printf, 4, 5)));

/** result_check(result, err): is all that ${output} asks for here and in range? ERR_INVALID. What encode and decode enforce. */
int result_check(const struct result *result, struct error *err);

/** result_candles(result): what a stream shows: the prediction before repair. */
const float *result_candles(const struct result *result);

int result_encode(const struct result *result, struct task_bytes *out, struct error *err);

/**
 * result_decode(data, size, err): hostile bytes -> a checked result for result_free(), or
 * NULL with ERR_CORRUPT (ERR_MEMORY). What it allocates is bounded by ${size}.
 */
struct result *result_decode(const void *data, size_t size, struct error *err);

#endif /* COMMON_RESULT_H */
