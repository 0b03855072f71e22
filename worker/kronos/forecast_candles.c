/*
 * forecast_candles.c - From drawn tokens to candles: all at the end, or each as soon as it is exact.
 *
 * The decoder is causal and its window is fixed from the first step on: it begins at place
 * max(0, L + P - C), whatever windows the model went through. So a candle is final when the last
 * sample's token of its step was drawn. A forecast that is asked early keeps the decoder's keys and
 * values of its present samples in their slots and adds the candles of every sample, in the order
 * of the samples, to a sum; a forecast that is only read decodes one sample after the other in the
 * pool's slab. Both go the same way through the decoder, so both give the same bytes.
 */
#include <math.h>
#include <string.h>

#include "worker/kronos/forecast_internal.h"

/* The place where the decoded window begins; at most L, because P is at most C. */
static size_t
window_start(const struct forecast *f)
{
    size_t end = f->n_past + f->horizon, context = f->pool->options.max_context;

    return end > context ? end - context : 0;
}

static int
cancelled(struct error *err)
{
    return error_set(err, ERR_CANCELLED, "stopped while decoding");
}

static int
remember_history(struct forecast *f, void *slab, struct error *err)
{
    struct block_watch watch = forecast_watch(f);
    size_t start = window_start(f);

    if (tokenizer_remember(&f->pool->tokenizer, slab, f->s1 + start, f->s2 + start,
            f->n_past - start, &watch) == -1)
        return cancelled(err);
    return 0;
}

/* Back to the history's units; float32 and two roundings, as the reference. */
static int
denormalise(const struct forecast *f, size_t first, size_t n, float *candles, struct error *err)
{
    for (size_t i = 0; i < n * FORECAST_FIELDS; i++) {
        candles[i] = candles[i] * f->std[i % FORECAST_FIELDS] + f->mean[i % FORECAST_FIELDS];
        if (!isfinite(candles[i]))
            return error_set(
                err, ERR_NOT_FINITE, "bar %zu is not a finite number", first + i / FORECAST_FIELDS);
    }
    return 0;
}

/* Steps ${first}.. of sample ${sample}, as rows whose own slab is ${own}. Appended at ${n_rows}. */
static void
gather(struct forecast *f, size_t sample, void *shared, void *own, size_t first, size_t n,
    size_t n_rows)
{
    struct forecast_pool *pool = f->pool;
    size_t n_shared = f->n_past - window_start(f), at = sample * pool->horizon_max + first;

    memcpy(pool->decode_s1 + n_rows, f->drawn_s1 + at, n * sizeof(uint16_t));
    memcpy(pool->decode_s2 + n_rows, f->drawn_s2 + at, n * sizeof(uint16_t));
    for (size_t i = 0; i < n; i++)
        pool->rows[n_rows + i] = (struct block_row){.shared = shared,
            .own = own,
            .n_shared = (uint32_t)n_shared,
            .position = (uint32_t)(n_shared + first + i)};
}

/* The rows gathered -> pool->candles [n, 6]. */
static int
decode(struct forecast *f, size_t n, struct error *err)
{
    struct forecast_pool *pool = f->pool;
    struct block_watch watch = forecast_watch(f);

    if (tokenizer_decode(&pool->tokenizer, pool->decode_s1, pool->decode_s2, pool->rows, n, &watch,
            pool->candles) == -1)
        return cancelled(err);
    return 0;
}

static int
check_finite_logits(const struct forecast *f, struct error *err)
{
    if (f->is_not_finite)
        return error_set(err, ERR_NOT_FINITE, "the model computed logits that are not finite");
    return 0;
}

/* ---- as soon as they are exact ---- */

void
forecast_candles_begin(struct forecast *f)
{
    f->decoded_round = f->decoded_steps = 0;
    f->has_decode_history = false;
    f->is_decode_broken = false;
    memset(f->sum, 0, f->horizon * FORECAST_FIELDS * sizeof(f->sum[0]));
}

static size_t
sequences_of(const struct forecast *f, uint32_t round)
{
    size_t left = f->options.samples - (size_t)round * f->round_size;

    return left < f->round_size ? left : f->round_size;
}

/* Steps first..first+n of all samples of the round to decode, into f->sum. */
static int
add_steps(struct forecast *f, size_t first, size_t n, struct error *err)
{
    struct forecast_pool *pool = f->pool;
    size_t n_sequences = sequences_of(f, f->decoded_round);
    const float *candle = pool->candles;

    for (size_t j = 0; j < n_sequences; j++)
        gather(f, (size_t)f->decoded_round * f->round_size + j, f->slots[0]->decode_slab,
            f->slots[j]->decode_slab, first, n, j * n);
    if (decode(f, n_sequences * n, err) == -1)
        return -1;
    for (size_t j = 0; j < n_sequences; j++)
        for (size_t i = first * FORECAST_FIELDS; i < (first + n) * FORECAST_FIELDS; i++)
            f->sum[i] += (double)*candle++;
    return 0;
}

/* The rows of the mean from ${first} on have every sample. */
static int
finish_rows(struct forecast *f, size_t first, size_t n, struct error *err)
{
    float *rows = f->rows + first * FORECAST_FIELDS;
    const double *sum = f->sum + first * FORECAST_FIELDS;

    for (size_t i = 0; i < n * FORECAST_FIELDS; i++)
        rows[i] = (float)(sum[i] / (double)f->options.samples);
    return denormalise(f, first, n, rows, err);
}

/* Steps of the round to decode that have been drawn. */
static size_t
drawn_steps(const struct forecast *f)
{
    return f->decoded_round < f->round ? f->horizon : f->step;
}

static int
catch_up(struct forecast *f, struct error *err)
{
    if (!f->has_decode_history && remember_history(f, f->slots[0]->decode_slab, err) == -1)
        return -1;
    f->has_decode_history = true;
    while (f->decoded_round < f->n_rounds && f->decoded_steps < drawn_steps(f)) {
        size_t at_once = BLOCK_ROWS_MAX / sequences_of(f, f->decoded_round); /* >= 2 */
        size_t first = f->decoded_steps, n = drawn_steps(f) - first;

        n = n < at_once ? n : at_once;
        if (add_steps(f, first, n, err) == -1 ||
            (f->decoded_round + 1 == f->n_rounds && finish_rows(f, first, n, err) == -1))
            return -1;
        f->decoded_steps += (uint32_t)n;
        if (f->decoded_steps == f->horizon && f->decoded_round + 1 < f->n_rounds) {
            f->decoded_round++;
            f->decoded_steps = 0;
        }
    }
    return 0;
}

int
forecast_candles(struct forecast *f, const float **rows, size_t *n, struct error *err)
{
    *rows = f->rows;
    *n = 0;
    if (check_finite_logits(f, err) == -1)
        return -1;
    if (f->is_decode_broken)
        return error_set(err, ERR_CANCELLED, "decoding was stopped before");
    if (catch_up(f, err) == -1) {
        f->is_decode_broken = true; /* what the slabs hold may be half done */
        return -1;
    }
    if (f->decoded_round + 1 == f->n_rounds)
        *n = f->decoded_steps;
    return 0;
}

/* ---- at the end ---- */

int
forecast_read(struct forecast *f, float *mean, float *paths, struct error *err)
{
    struct forecast_pool *pool = f->pool;
    void *slab = pool->tokenizer.slab;
    size_t P = f->horizon, n_values = P * FORECAST_FIELDS;

    if (f->round < f->n_rounds)
        return error_set(err, ERR_INVALID, "a forecast is read after its last step");
    if (check_finite_logits(f, err) == -1)
        return -1;
    if (f->has_decode_history && !f->is_decode_broken) { /* what was shown is what is returned */
        if (catch_up(f, err) == -1)
            return -1;
        memcpy(mean, f->rows, n_values * sizeof(float));
        if (paths == NULL)
            return 0;
    }
    if (remember_history(f, slab, err) == -1)
        return -1;
    memset(pool->sum, 0, n_values * sizeof(double));
    for (size_t sample = 0; sample < f->options.samples; sample++) {
        gather(f, sample, slab, slab, 0, P, 0);
        if (decode(f, P, err) == -1)
            return -1;
        for (size_t i = 0; i < n_values; i++)
            pool->sum[i] += (double)pool->candles[i];
        if (paths != NULL) {
            float *path = paths + sample * n_values;

            memcpy(path, pool->candles, n_values * sizeof(float));
            if (denormalise(f, 0, P, path, err) == -1)
                return -1;
        }
    }
    if (f->has_decode_history && !f->is_decode_broken)
        return 0;
    for (size_t i = 0; i < n_values; i++)
        mean[i] = (float)(pool->sum[i] / (double)f->options.samples);
    return denormalise(f, 0, P, mean, err);
}
