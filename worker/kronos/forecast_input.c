/*
 * forecast_input.c - From the client's history to what the tokenizer reads.
 *
 * Every column by its own mean and population deviation over all its bars, in float32 and in the
 * order of the reference's sums: a token is the sign of a number, and a mean one unit in the
 * last place off turns signs near zero.
 */
#include <math.h>

#include "worker/kronos/forecast_internal.h"

/* Added to every deviation, so that a constant column does not divide by zero. */
#define DEVIATION_FLOOR 1e-5f

/*
 * Blocks of up to 128 numbers in eight partial sums, blocks pairwise. The reference's columns
 * lie contiguous in memory (pandas keeps them so), which is why numpy sums them this way.
 */
float
forecast_pairwise_sum(const float *a, size_t n)
{
    size_t half;

    if (n < 8) {
        float sum = 0.0f;

        for (size_t i = 0; i < n; i++)
            sum += a[i];
        return sum;
    }
    if (n <= 128) {
        float part[8], sum;
        size_t i;

        for (size_t j = 0; j < 8; j++)
            part[j] = a[j];
        for (i = 8; i < n - n % 8; i += 8)
            for (size_t j = 0; j < 8; j++)
                part[j] += a[i + j];
        sum = ((part[0] + part[1]) + (part[2] + part[3])) +
              ((part[4] + part[5]) + (part[6] + part[7]));
        for (; i < n; i++)
            sum += a[i];
        return sum;
    }
    half = n / 2;
    half -= half % 8;
    return forecast_pairwise_sum(a, half) + forecast_pairwise_sum(a + half, n - half);
}

static int
normalise(struct forecast *f, const float *history, struct error *err)
{
    static const char *const names[FORECAST_FIELDS] = {
        "open", "high", "low", "close", "volume", "amount"};
    struct forecast_pool *pool = f->pool;
    float *column = pool->column, *squares = pool->column + FORECAST_HISTORY_MAX;
    float clip = pool->options.clip;
    size_t n = f->n_past;

    for (size_t c = 0; c < FORECAST_FIELDS; c++) {
        float mean, std;

        for (size_t i = 0; i < n; i++) {
            column[i] = history[i * FORECAST_FIELDS + c];
            if (!isfinite(column[i]))
                return error_set(
                    err, ERR_INVALID, "%s of bar %zu is not a finite number", names[c], i);
        }
        mean = forecast_pairwise_sum(column, n) / (float)n;
        for (size_t i = 0; i < n; i++)
            squares[i] = (column[i] - mean) * (column[i] - mean);
        std = sqrtf(forecast_pairwise_sum(squares, n) / (float)n);
        if (!isfinite(mean) || !isfinite(std))
            return error_set(err, ERR_INVALID,
                "%s is too large: its mean or deviation leaves single precision", names[c]);
        for (size_t i = 0; i < n; i++) {
            float z = (column[i] - mean) / (std + DEVIATION_FLOOR);

            pool->input[i * FORECAST_FIELDS + c] = z < -clip ? -clip : z > clip ? clip : z;
        }
        f->mean[c] = mean;
        f->std[c] = std + DEVIATION_FLOOR;
    }
    return 0;
}

int
forecast_take_input(
    struct forecast *f, const float *history, const int64_t *minutes, struct error *err)
{
    for (size_t i = 0; i < f->n_past + f->horizon; i++)
        if (!calendar_split(minutes[i], &f->times[i]))
            return error_set(
                err, ERR_INVALID, "time of bar %zu is outside the years 1900..2261", i);
    return normalise(f, history, err);
}
