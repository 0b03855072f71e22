/*
 * engine_run.h - One forecast through the engine's contract, and all it said on the way.
 */
#ifndef TESTS_MODEL_ENGINE_RUN_H
#define TESTS_MODEL_ENGINE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/model/twin.h"
#include "worker/kronos/forecast.h"
#include "worker/kronos/model.h"

/**
 * engine_kernels(i): choose the ${i}th instruction set this machine has, 0 the best; its
 * name, or NULL when there are no more, and then the best one is chosen again.
 */
const char *engine_kernels(size_t i);

/* The input of one task. */
struct engine_series {
    const float *history;   /* [n_past, 6] */
    const int64_t *minutes; /* [n_past + horizon] */
    size_t n_past, horizon;
};

/* What came of it, copied: the forecast itself is ended. */
struct engine_result {
    size_t n_past, horizon, samples;
    uint16_t *context_s1, *context_s2;        /* [n_past] */
    uint16_t *generated_s1, *generated_s2;    /* [horizon], of path 0 */
    float *first_s1_logits, *first_s2_logits; /* [vocabulary] */
    float *mean;                              /* [horizon, 6] */
    float *paths;                             /* [samples, horizon, 6] */
    struct forecast_progress progress;
};

/** engine_pool(model, n_slots, max_context): a pool for forecast_pool_free(); engine_pool_of() with threads. */
struct forecast_pool *engine_pool(const struct model *model, uint32_t n_slots, size_t max_context);
struct forecast_pool *engine_pool_of(
    const struct model *model, uint32_t n_slots, size_t max_context, size_t n_threads);

/** engine_greedy(window), engine_sampled(samples, seed): options as the tests use them. */
struct forecast_options engine_greedy(enum forecast_window window);
struct forecast_options engine_sampled(uint32_t samples, uint64_t seed);

/** engine_run(pool, series, options): begin, step to the end, keep everything, end. */
struct engine_result engine_run(struct forecast_pool *pool, const struct model *model,
    const struct engine_series *series, const struct forecast_options *options);

/** engine_keep(f, model, series, samples): the last half of it, for a forecast stepped elsewhere. */
struct engine_result engine_keep(struct forecast *f, const struct model *model,
    const struct engine_series *series, size_t samples);
void engine_clear(struct engine_result *r);

/** engine_same_bytes(a, b): mean, paths and tokens, bit for bit. */
bool engine_same_bytes(const struct engine_result *a, const struct engine_result *b);

/**
 * engine_is_twin(what, model, series, max_context, window, r):
 * Does the plain twin, following the tokens the engine took, agree that each was best (or
 * a tie), and with first logits, forecast and the number of rows seen? Says where not.
 */
bool engine_is_twin(const char *what, const struct model *model, const struct engine_series *series,
    size_t max_context, enum forecast_window window, const struct engine_result *r);

#endif /* TESTS_MODEL_ENGINE_RUN_H */
