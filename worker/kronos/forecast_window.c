/*
 * forecast_window.c - Which bars the model sees at a step, and computing a window afresh.
 *
 * When a window slides, every position gets another hidden state, and nothing cheaper than a
 * new prefill is exact. Its history part is computed once for all samples, then the drawn rows
 * in groups whose size may follow the number of slots without a trace in the values.
 */
#include <string.h>

#include "worker/kronos/forecast_internal.h"

/* What FORECAST_BLOCK drops at a time: 64, and no more than half of a small context. */
#define BLOCK_DROP 64

size_t
forecast_first_start(const struct forecast *f)
{
    size_t context = f->pool->options.max_context;
    size_t seen = f->options.window == FORECAST_FIT ? f->n_past + f->horizon - 1 : f->n_past;

    return seen > context ? seen - context : 0;
}

size_t
forecast_next_start(const struct forecast *f)
{
    size_t context = f->pool->options.max_context, end = f->n_past + f->step;

    if (end - f->start <= context)
        return f->start;
    if (f->options.window == FORECAST_EXACT)
        return end - context;
    return f->start + (context / 2 < BLOCK_DROP ? context / 2 : BLOCK_DROP);
}

size_t
forecast_round_sequences(const struct forecast *f)
{
    size_t done = (size_t)f->round * f->round_size, left = f->options.samples - done;

    return left < f->round_size ? left : f->round_size;
}

struct block_watch
forecast_watch(const struct forecast *f)
{
    return (struct block_watch){.stop = f->options.stop, .ticks = f->options.ticks};
}

struct transformer_token
forecast_token(const struct forecast *f, size_t j, size_t place)
{
    const struct calendar *time = &f->times[place];
    struct transformer_token token;

    if (place < f->n_past) {
        token.s1 = f->s1[place];
        token.s2 = f->s2[place];
    } else {
        size_t sample = (size_t)f->round * f->round_size + j;
        size_t at = sample * f->pool->horizon_max + (place - f->n_past);

        token.s1 = f->drawn_s1[at];
        token.s2 = f->drawn_s2[at];
    }
    token.time[TIME_MINUTE] = time->minute;
    token.time[TIME_HOUR] = time->hour;
    token.time[TIME_WEEKDAY] = time->weekday;
    token.time[TIME_DAY] = time->day;
    token.time[TIME_MONTH] = time->month;
    return token;
}

struct block_row
forecast_row(const struct forecast *f, size_t j, size_t place)
{
    return (struct block_row){
        .shared = f->slots[0]->slab,
        .own = f->slots[j]->slab,
        .n_shared = (uint32_t)(f->n_past > f->start ? f->n_past - f->start : 0),
        .position = (uint32_t)(place - f->start),
    };
}

/* The window's history, into the leader's slab. Leaves its last hidden state in ${c} unless NULL. */
static int
fill_history(struct forecast *f, float *c)
{
    struct forecast_pool *pool = f->pool;
    struct block_watch watch = forecast_watch(f);
    size_t d = pool->transformer.size.d;

    for (size_t place = f->start, n; place < f->n_past; place += n) {
        const float *hidden;

        n = f->n_past - place < BLOCK_ROWS_MAX ? f->n_past - place : BLOCK_ROWS_MAX;
        for (size_t m = 0; m < n; m++) {
            pool->tokens[m] = forecast_token(f, 0, place + m);
            pool->rows[m] = forecast_row(f, 0, place + m);
            pool->rows[m].n_shared = 0; /* the leader's own rows: nobody was here before */
        }
        hidden = transformer_pass(&pool->transformer, pool->tokens, pool->rows, n, &watch, 1);
        if (hidden == NULL)
            return -1;
        if (c != NULL)
            memcpy(c, hidden + (n - 1) * d, d * sizeof(float));
    }
    return 0;
}

int
forecast_fill(struct forecast *f)
{
    f->start = f->first_start;
    f->has_history = false;
    if (fill_history(f, f->first_c) == -1)
        return -1;
    f->has_history = true;
    return 0;
}

int
forecast_recompute(struct forecast *f, size_t n_sequences)
{
    struct forecast_pool *pool = f->pool;
    struct block_watch watch = forecast_watch(f);
    size_t d = pool->transformer.size.d, end = f->n_past + f->step;
    size_t first = f->start > f->n_past ? f->start : f->n_past, n_own = end - first;
    size_t at_once = BLOCK_ROWS_MAX / n_own; /* >= 1: a horizon is at most BLOCK_ROWS_MAX */

    f->has_history = false;
    if (fill_history(f, NULL) == -1)
        return -1;
    for (size_t j = 0, take; j < n_sequences; j += take) {
        const float *hidden;

        take = n_sequences - j < at_once ? n_sequences - j : at_once;
        for (size_t m = 0; m < take * n_own; m++) {
            pool->tokens[m] = forecast_token(f, j + m / n_own, first + m % n_own);
            pool->rows[m] = forecast_row(f, j + m / n_own, first + m % n_own);
        }
        hidden =
            transformer_pass(&pool->transformer, pool->tokens, pool->rows, take * n_own, &watch, 1);
        if (hidden == NULL)
            return -1;
        for (size_t i = 0; i < take; i++)
            memcpy(f->slots[j + i]->c, hidden + ((i + 1) * n_own - 1) * d, d * sizeof(float));
    }
    return 0;
}

_Static_assert(FORECAST_HORIZON_MAX <= BLOCK_ROWS_MAX, "one sequence's own rows fit one pass");
