/*
 * forecast.h - Predict the bars that follow one market history.
 *
 * normalise -> tokens -> one step per bar -> candles. This header and model.h are
 * all the rest of the worker needs; MODEL.md has the equations.
 *
 * A forecast_pool holds the memory of n_slots sequences and allocates nothing after
 * it was made. A task with S samples takes min(S, max_slots) slots; S > max_slots runs in
 * rounds. All sequences of all forecasts given to forecast_step() move together, so
 * the weights are read once; the values of one never depend on its neighbours, the
 * number of slots, rounds or threads.
 */
#ifndef WORKER_KRONOS_FORECAST_H
#define WORKER_KRONOS_FORECAST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/kronos/packed.h"

#define FORECAST_FIELDS      6 /* open, high, low, close, volume, amount */
#define FORECAST_HISTORY_MAX 2048
#define FORECAST_HORIZON_MAX 512
#define FORECAST_SAMPLES_MAX 256

struct model; /* model.h */
struct forecast_pool;
struct forecast; /* one task in the pool */

/* What happens when history and horizon do not fit the context C together. */
enum forecast_window {
    FORECAST_EXACT, /* the window slides and is recomputed at every step past C: the reference */
    FORECAST_FIT,   /* the oldest L+P-1-C bars are dropped before the first step; never slides */
    FORECAST_BLOCK, /* on overflow drop the oldest 64, prefill again, go on */
};

struct forecast_options {
    uint32_t samples;   /* paths, 1..FORECAST_SAMPLES_MAX */
    uint32_t max_slots; /* slots it may take, so that others find some; 0: all of the pool */
    uint32_t top_k;     /* 0: off; else top_p is ignored (MODEL.md); above the vocabulary = all */
    float temperature;  /* >= 0; 0 is greedy */
    float top_p;        /* (0, 1] */
    uint64_t seed;      /* same seed, weights, engine, kernel: same bytes out */
    enum forecast_window window;
    const atomic_bool *stop;      /* looked at between steps and between rounds; may be NULL */
    atomic_uint_least64_t *ticks; /* bumped after every layer: proof of progress; may be NULL */
};

struct forecast_pool_options {
    uint32_t n_slots;      /* sequences held at once, 1..256 */
    uint32_t max_context;  /* C, 2..the limit of model.h */
    float clip;            /* of normalised inputs, 5 */
    uint32_t n_threads;    /* that compute together; 0 and 1: the caller alone */
    enum packed_format kv; /* how the model's keys and values are kept */
};

/** forecast_pool_new(model, options, err): allocates everything; ${model} must outlive it. */
struct forecast_pool *forecast_pool_new(
    const struct model *model, const struct forecast_pool_options *options, struct error *err);
void forecast_pool_free(struct forecast_pool *pool);
uint32_t forecast_pool_free_slots(const struct forecast_pool *pool);
size_t forecast_pool_bytes(const struct forecast_pool *pool); /* of keys, values and scratch */
/** "fp32", or what is kept in half precision: "fp16-weights", "fp16-kv", "fp16" for both. */
const char *forecast_pool_precision(const struct forecast_pool *pool);

/**
 * forecast_begin(pool, history, minutes, n_past, horizon, options, err):
 * Tokenise ${history} and run the prefill.
 *
 *   history  [n_past, FORECAST_FIELDS]  prices in quote currency, volume in units
 *                                       traded, amount in quote currency; oldest first
 *   minutes  [n_past + horizon]         whole minutes since 1970 on the client's wall
 *                                       clock; the model reads minute, hour, weekday, day, month
 *
 * Copies what it keeps; allocates nothing. Returns a forecast for forecast_end(), or
 * NULL: ERR_INVALID if a length is 0 or over its limit, horizon > C, or a value is not
 * finite; ERR_UNAVAILABLE when min(samples, max_slots) slots are not free; ERR_CANCELLED.
 */
struct forecast *forecast_begin(struct forecast_pool *pool, const float *history,
    const int64_t *minutes, size_t n_past, size_t horizon, const struct forecast_options *options,
    struct error *err);

/**
 * forecast_step(pool, batch, n):
 * Move ${n} forecasts one step on, each sequence in one pass over the weights. Those
 * that are done are skipped. A forecast whose stop flag is set does not move.
 */
void forecast_step(struct forecast_pool *pool, struct forecast *const *batch, size_t n);

/* Steps drawn so far and in all, counted over rounds: horizon * rounds. */
struct forecast_progress {
    uint32_t done, total; /* in steps of the horizon, 0..horizon: rounds are folded in */
    bool is_finished;
    bool is_stopped;
    uint32_t rows_used;          /* history rows seen by the first step */
    uint32_t recomputed_windows; /* prefills after the first one, per path */
};
struct forecast_progress forecast_progress(const struct forecast *f);

/**
 * forecast_read(f, mean, paths, err): after the last step, the mean path [horizon, 6]
 * (mean over samples taken before de-normalising, as the reference does) and, where
 * ${paths} is not NULL, every path [samples, horizon, 6], in the history's units.
 * ERR_NOT_FINITE if a value is not.
 */
int forecast_read(struct forecast *f, float *mean, float *paths, struct error *err);

/**
 * forecast_candles(f, rows, n, err): between steps, the rows of the mean that are final already:
 * ${rows} [n, 6] in the history's units, the first ${n} of what forecast_read() will give, byte for
 * byte; valid until the forecast ends. With more samples than slots they come in the last round.
 * ERR_NOT_FINITE; ERR_CANCELLED when its stop flag was seen, and then again at every call.
 */
int forecast_candles(struct forecast *f, const float **rows, size_t *n, struct error *err);

/** forecast_end(f): give the slots back; at any time. NULL is allowed. */
void forecast_end(struct forecast *f);

/**
 * forecast_run(...): begin, step to the end, read, end; ${on_step} (may be NULL) is
 * called after each step. For tools and tests; the worker steps by itself.
 */
typedef void (*forecast_step_fn)(void *cookie, uint32_t done, uint32_t total);
int forecast_run(struct forecast_pool *pool, const float *history, const int64_t *minutes,
    size_t n_past, size_t horizon, const struct forecast_options *options, forecast_step_fn on_step,
    void *cookie, float *mean, float *paths, struct error *err);

/* For tests: what the reference was recorded with. Tokens of path 0; logits of the first step. */
struct forecast_trace {
    const uint16_t *context_s1, *context_s2;        /* [n_past] */
    const uint16_t *generated_s1, *generated_s2;    /* [done steps] of path 0 */
    const float *first_s1_logits, *first_s2_logits; /* [vocabulary] */
};
struct forecast_trace forecast_trace(const struct forecast *f);

#endif /* WORKER_KRONOS_FORECAST_H */
