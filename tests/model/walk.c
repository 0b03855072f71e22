/*
 * walk.c - Histories to forecast: random walks, the same for a seed.
 */
#include "tests/model/walk.h"

#include <math.h>

uint64_t
walk_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

const struct walk *
walk_make(struct walk *w, uint64_t seed)
{
    uint64_t random = seed * 2654435761u + 88172645463325252u;
    double close = 20.0 + (double)(seed % 7);

    for (size_t p = 0; p < WALK_LENGTH_MAX; p++) {
        double open = close, change = (double)(walk_random(&random) % 2001) / 1000.0 - 1.0;
        double volume = (double)(walk_random(&random) % 90000) / 100.0 + 1.0;

        close = open + 0.2 * change;
        w->history[p * FORECAST_FIELDS + 0] = (float)open;
        w->history[p * FORECAST_FIELDS + 1] = (float)(fmax(open, close) + 0.05);
        w->history[p * FORECAST_FIELDS + 2] = (float)(fmin(open, close) - 0.04);
        w->history[p * FORECAST_FIELDS + 3] = (float)close;
        w->history[p * FORECAST_FIELDS + 4] = (float)volume;
        w->history[p * FORECAST_FIELDS + 5] = (float)(volume * close);
    }
    for (size_t p = 0; p < 2 * (size_t)WALK_LENGTH_MAX; p++)
        w->minutes[p] = 28474560 + (int64_t)(37 * p); /* 2024-02-24 00:00 */
    return w;
}

struct engine_series
walk_series(const struct walk *w, size_t n_past, size_t horizon)
{
    return (struct engine_series){
        .history = w->history, .minutes = w->minutes, .n_past = n_past, .horizon = horizon};
}
