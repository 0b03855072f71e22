/*
 * path_stats.c - Quantiles and statistics over the sampled paths of one forecast.
 *
 * Letters as in schemas/result.md: S paths s, P steps t = 1..P, c(s,t) the close of
 * path s at step t, c(s,0) = c0 the last close of the history.
 */
#include "worker/path_stats.h"

#include <math.h>
#include <stdlib.h>

enum { HIGH = 1, LOW = 2, CLOSE = 3 }; /* places in a candle */

/* One figure per path; S is at most this. */
struct sample {
    double values[TASK_SAMPLES_MAX];
    size_t n;
};

static double
value(const struct paths *paths, size_t path, size_t step, size_t field)
{
    return (double)paths->values[(path * paths->n_steps + step) * TASK_FIELDS + field];
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void
sort(struct sample *sample)
{
    qsort(sample->values, sample->n, sizeof(sample->values[0]), compare);
}

static double
mean(const struct sample *sample)
{
    double sum = 0;

    for (size_t i = 0; i < sample->n; i++)
        sum += sample->values[i];
    return sum / (double)sample->n;
}

/* Sample standard deviation, divisor S - 1; of one value it is not defined: NaN. */
static double
deviation(const struct sample *sample, double average)
{
    double sum = 0;

    if (sample->n < 2)
        return NAN;
    for (size_t i = 0; i < sample->n; i++)
        sum += (sample->values[i] - average) * (sample->values[i] - average);
    return sqrt(sum / (double)(sample->n - 1));
}

double
path_stats_quantile(const double *sorted, size_t n, double q)
{
    double h = (double)(n - 1) * q;
    size_t k = (size_t)floor(h);

    if (k + 1 >= n)
        return sorted[n - 1];
    return sorted[k] + (h - (double)k) * (sorted[k + 1] - sorted[k]);
}

void
path_stats_quantiles(const struct paths *paths, const double *quantiles, size_t n, double *out)
{
    struct sample sample = {.n = paths->n_paths};

    for (size_t field = 0; field < TASK_FIELDS; field++) {
        for (size_t step = 0; step < paths->n_steps; step++) {
            for (size_t path = 0; path < paths->n_paths; path++)
                sample.values[path] = value(paths, path, step, field);
            sort(&sample);
            for (size_t i = 0; i < n; i++)
                out[(i * TASK_FIELDS + field) * paths->n_steps + step] =
                    (double)(float)path_stats_quantile(sample.values, sample.n, quantiles[i]);
        }
    }
}

/* p_up[t] = 1/S sum over s of 1 if c(s,t) > c0, 1/2 if equal, else 0 */
static void
fill_p_up(const struct paths *paths, double last_close, double *p_up)
{
    for (size_t step = 0; step < paths->n_steps; step++) {
        double ups = 0;

        for (size_t path = 0; path < paths->n_paths; path++) {
            double close = value(paths, path, step, CLOSE);

            ups += close > last_close ? 1 : close == last_close ? 0.5 : 0;
        }
        p_up[step] = ups / (double)paths->n_paths;
    }
}

/* Mean and deviation over s of c(s,t) / c0 - 1 */
static void
fill_return(const struct paths *paths, double last_close, double *return_mean, double *return_std)
{
    struct sample sample = {.n = paths->n_paths};

    for (size_t step = 0; step < paths->n_steps; step++) {
        for (size_t path = 0; path < paths->n_paths; path++)
            sample.values[path] = value(paths, path, step, CLOSE) / last_close - 1;
        return_mean[step] = mean(&sample);
        return_std[step] = deviation(&sample, return_mean[step]);
    }
}

/* sqrt(1/P sum over t of ln^2(c(s,t) / c(s,t-1))); -1 if a close is not above 0 */
static double
realized_vol(const struct paths *paths, size_t path, double last_close)
{
    double before = last_close, sum = 0;

    for (size_t step = 0; step < paths->n_steps; step++) {
        double close = value(paths, path, step, CLOSE), change;

        if (close <= 0)
            return -1;
        change = log(close / before);
        sum += change * change;
        before = close;
    }
    return sqrt(sum / (double)paths->n_steps);
}

static void
fill_realized_vol(const struct paths *paths, double last_close, struct result_stats *stats)
{
    struct sample sample = {.n = 0};

    for (size_t path = 0; path < paths->n_paths; path++) {
        double vol = realized_vol(paths, path, last_close);

        if (vol >= 0)
            sample.values[sample.n++] = vol;
    }
    stats->realized_vol_excluded = (uint32_t)(paths->n_paths - sample.n);
    if (sample.n == 0) {
        stats->realized_vol_mean = stats->realized_vol_q10 = stats->realized_vol_q90 = NAN;
        return;
    }
    stats->realized_vol_mean = mean(&sample);
    sort(&sample);
    stats->realized_vol_q10 = path_stats_quantile(sample.values, sample.n, 0.1);
    stats->realized_vol_q90 = path_stats_quantile(sample.values, sample.n, 0.9);
}

/* Per path the largest over t of 1 - c(s,t) / max over u = 0..t of c(s,u). With u = 0 in it
 * the maximum is at least c0 > 0: no path divides by 0, and a first fall counts. */
static void
fill_max_drawdown(const struct paths *paths, double last_close, struct result_stats *stats)
{
    struct sample sample = {.n = paths->n_paths};

    for (size_t path = 0; path < paths->n_paths; path++) {
        double peak = last_close, deepest = 0; /* at u = t it is never below 0 */

        for (size_t step = 0; step < paths->n_steps; step++) {
            double close = value(paths, path, step, CLOSE);

            peak = close > peak ? close : peak;
            deepest = fmax(deepest, 1 - close / peak);
        }
        sample.values[path] = deepest;
    }
    stats->max_drawdown_mean = mean(&sample);
    sort(&sample);
    stats->max_drawdown_q90 = path_stats_quantile(sample.values, sample.n, 0.9);
}

/* Per path the highest high and the lowest low over t */
static void
fill_range(const struct paths *paths, struct result_stats *stats)
{
    struct sample highs = {.n = paths->n_paths}, lows = {.n = paths->n_paths};

    for (size_t path = 0; path < paths->n_paths; path++) {
        highs.values[path] = value(paths, path, 0, HIGH);
        lows.values[path] = value(paths, path, 0, LOW);
        for (size_t step = 1; step < paths->n_steps; step++) {
            highs.values[path] = fmax(highs.values[path], value(paths, path, step, HIGH));
            lows.values[path] = fmin(lows.values[path], value(paths, path, step, LOW));
        }
    }
    stats->range_high_mean = mean(&highs);
    stats->range_low_mean = mean(&lows);
    sort(&highs);
    sort(&lows);
    stats->range_high_q90 = path_stats_quantile(highs.values, highs.n, 0.9);
    stats->range_low_q10 = path_stats_quantile(lows.values, lows.n, 0.1);
}

void
path_stats_fill(
    const struct paths *paths, double last_close, uint32_t wanted, struct result_stats *stats)
{
    if (wanted == 0)
        return;
    stats->last_close = last_close;
    if (wanted & TASK_STAT_P_UP)
        fill_p_up(paths, last_close, stats->p_up);
    if (wanted & TASK_STAT_RETURN)
        fill_return(paths, last_close, stats->return_mean, stats->return_std);
    if (wanted & TASK_STAT_REALIZED_VOL)
        fill_realized_vol(paths, last_close, stats);
    if (wanted & TASK_STAT_MAX_DRAWDOWN)
        fill_max_drawdown(paths, last_close, stats);
    if (wanted & TASK_STAT_RANGE)
        fill_range(paths, stats);
}
