/*
 * summary.h - What a finished run tells the client: forecast, repair, statistics, warnings.
 */
#ifndef WORKER_SUMMARY_H
#define WORKER_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/result.h"
#include "common/task.h"

/* What the engine knows of the run that the task does not say. */
struct summary_run {
    uint32_t context;            /* C of the model */
    uint32_t vocabulary;         /* entries of the larger of its token tables */
    uint32_t rows_used;          /* history rows the first step saw */
    uint32_t recomputed_windows; /* prefills after the first one, per path */
};

/**
 * summary_new(task, run, prediction, paths, err):
 * Everything of a result that follows from its numbers.
 *
 *   prediction  [n_horizon, TASK_FIELDS]                as forecast_read() gave it
 *   paths       [sample_count, n_horizon, TASK_FIELDS]  the same; NULL is allowed when
 *                                                       summary_wants_paths() is false
 *
 * Copies what it keeps. Left to the caller: the identity in provenance (both hashes,
 * engine, kernel, precision, both versions) and timing. Returns a result for
 * result_free(), or NULL: ERR_NOT_FINITE, ERR_INVALID (paths are needed), ERR_MEMORY.
 */
struct result *summary_new(const struct task *task, const struct summary_run *run,
    const float *prediction, const float *paths, struct error *err);

/** summary_wants_paths(task): are single paths needed, beside their mean? */
bool summary_wants_paths(const struct task *task);

#endif /* WORKER_SUMMARY_H */
