/*
 * path_stats.h - Quantiles and statistics over the sampled paths of one forecast.
 *
 * schemas/result.md has the formulas. Paths are [n_paths, n_steps, TASK_FIELDS], as
 * de-normalised and before repair; n_paths <= TASK_SAMPLES_MAX, every value finite.
 * Everything is computed in double. Nothing is allocated, nothing can fail.
 */
#ifndef WORKER_PATH_STATS_H
#define WORKER_PATH_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "common/result.h"
#include "common/task.h"

struct paths {
    const float *values; /* [n_paths, n_steps, TASK_FIELDS] */
    size_t n_paths, n_steps;
};

/** path_stats_quantile(sorted, n, q): type 7: linear between the two nearest of ${n} ascending values. */
double path_stats_quantile(const double *sorted, size_t n, double q);

/** path_stats_quantiles(paths, quantiles, n, out): [n, TASK_FIELDS, n_steps], each rounded to binary32. */
void path_stats_quantiles(
    const struct paths *paths, const double *quantiles, size_t n, double *out);

/** path_stats_fill(paths, last_close, wanted, stats): the TASK_STAT_* of ${wanted}; ${stats} has the arrays. */
void path_stats_fill(
    const struct paths *paths, double last_close, uint32_t wanted, struct result_stats *stats);

#endif /* WORKER_PATH_STATS_H */
