/*
 * twin.h - The plain twin: Kronos once more, loop by loop, to check the engine with.
 *
 * Written to be read next to worker/kronos/MODEL.md, and slow: no cache, no batch, no
 * kernel; the whole window is computed again at every step. It shares the weights
 * (model.h) and the contract's enum (forecast.h) with the engine, and no code.
 */
#ifndef TESTS_MODEL_TWIN_H
#define TESTS_MODEL_TWIN_H

#include <stddef.h>
#include <stdint.h>

#include "worker/kronos/forecast.h"
#include "worker/kronos/model.h"

/** twin_pairwise_sum(a, n): numpy's sum of a contiguous float32 axis, bit for bit. */
float twin_pairwise_sum(const float *a, size_t n);

/**
 * twin_normalise(history, n, clip, mean, std, z):
 * history, z [n, 6]; mean, std [6].
 */
void twin_normalise(const float *history, size_t n, float clip, float mean[MODEL_INPUTS],
    float std[MODEL_INPUTS], float *z);

/**
 * twin_tokenize(model, z, n, s1, s2, signs):
 * ${signs} [n, s1_bits + s2_bits] are the values of which only the sign counts.
 */
void twin_tokenize(
    const struct model *model, const float *z, size_t n, uint16_t *s1, uint16_t *s2, float *signs);

/**
 * twin_step(model, s1, s2, minutes, n, take_s1, s1_logits, s2_logits):
 * One forward pass over a window of ${n} tokens. The s2 logits are those after
 * ${take_s1}, or after the best s1 where that is -1.
 */
void twin_step(const struct model *model, const uint16_t *s1, const uint16_t *s2,
    const int64_t *minutes, size_t n, int take_s1, float *s1_logits, float *s2_logits);

/** twin_decode(model, s1, s2, n, rows): ${rows} [n, 6], normalised. */
void twin_decode(
    const struct model *model, const uint16_t *s1, const uint16_t *s2, size_t n, float *rows);

/** twin_best(logits, n): the lowest index of the largest. */
size_t twin_best(const float *logits, size_t n);

/** twin_block_drop(max_context): how many tokens FORECAST_BLOCK drops on overflow. */
size_t twin_block_drop(size_t max_context);

/* One greedy forecast. Where tokens to follow are given, they are taken instead of the best. */
struct twin_request {
    const float *history;   /* [n_past, 6] */
    const int64_t *minutes; /* [n_past + horizon] */
    size_t n_past, horizon;
    size_t max_context;
    float clip;
    enum forecast_window window;
    const uint16_t *follow_context_s1, *follow_context_s2;     /* [n_past] or NULL */
    const uint16_t *follow_generated_s1, *follow_generated_s2; /* [horizon] or NULL */
};

struct twin_forecast {
    uint16_t *context_s1, *context_s2;        /* [n_past] */
    uint16_t *generated_s1, *generated_s2;    /* [horizon] */
    float *first_s1_logits, *first_s2_logits; /* [vocabulary] */
    float *forecast;                          /* [horizon, 6], in the history's units */
    /*
     * How far the followed tokens are from being the best ones: the largest pre-sign
     * value with the other sign, the largest distance below the best logit. 0 when
     * nothing was followed or all agreed; up to 1e-5 it is a tie, decided by rounding.
     */
    float context_regret, generated_regret;
};

/** twin_forecast_new(model, request): ends the program when memory does. */
struct twin_forecast *twin_forecast_new(
    const struct model *model, const struct twin_request *request);
void twin_forecast_free(struct twin_forecast *f);

#endif /* TESTS_MODEL_TWIN_H */
