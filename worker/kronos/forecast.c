/*
 * forecast.c - A forecast from its beginning to its candles; MODEL.md has the equations.
 *
 * Reads as the life of a task: begin, step, end. The windows are forecast_window.c's, the candles
 * forecast_candles.c's, the memory forecast_pool.c's. A step first moves each sequence over the token drawn last
 * (the first step starts from the prefill), then draws s1 and, given s1, s2; so the last pair
 * is drawn and never fed back.
 */
#include "worker/kronos/forecast.h"

#include <math.h>
#include <string.h>

#include "worker/kronos/forecast_internal.h"
#include "worker/kronos/philox.h"

enum { DRAW_S1, DRAW_S2 }; /* third word of the random counter */

static int
check_request(const struct forecast_pool *pool, size_t n_past, size_t horizon,
    const struct forecast_options *o, struct error *err)
{
    if (n_past < 1 || n_past > FORECAST_HISTORY_MAX)
        return error_set(err, ERR_INVALID, "a history of %zu bars: 1..%d are possible", n_past,
            FORECAST_HISTORY_MAX);
    if (horizon < 1 || horizon > pool->horizon_max)
        return error_set(err, ERR_INVALID, "a horizon of %zu bars: 1..%zu are possible", horizon,
            pool->horizon_max);
    if (o->samples < 1 || o->samples > FORECAST_SAMPLES_MAX)
        return error_set(err, ERR_INVALID, "%u samples: 1..%d are possible", (unsigned)o->samples,
            FORECAST_SAMPLES_MAX);
    if (!(o->temperature >= 0.0f) || !isfinite(o->temperature))
        return error_set(
            err, ERR_INVALID, "temperature %g is not 0 or above", (double)o->temperature);
    if (!(o->top_p > 0.0f && o->top_p <= 1.0f))
        return error_set(err, ERR_INVALID, "top_p %g is outside (0, 1]", (double)o->top_p);
    if (o->window != FORECAST_EXACT && o->window != FORECAST_FIT && o->window != FORECAST_BLOCK)
        return error_set(err, ERR_INVALID, "window mode %d is unknown", (int)o->window);
    return 0;
}

static bool
is_told_to_stop(const struct forecast *f)
{
    return f->options.stop != NULL && atomic_load_explicit(f->options.stop, memory_order_relaxed);
}

static bool
is_finished(const struct forecast *f)
{
    return f->round == f->n_rounds;
}

/* A free entry with as many free slots as it needs; the caller has made sure that there are. */
static struct forecast *
take_forecast(struct forecast_pool *pool, uint32_t n_slots)
{
    struct forecast *f = pool->forecasts;
    uint32_t taken = 0;

    while (f->is_taken)
        f++; /* every task holds a slot, so an entry is free while a slot is */
    f->is_taken = true;
    f->pool = pool;
    f->round_size = n_slots;
    for (struct forecast_slot *slot = pool->slots; taken < n_slots; slot++) {
        if (slot->is_taken)
            continue;
        slot->is_taken = true;
        f->slots[taken++] = slot;
    }
    pool->n_free -= n_slots;
    return f;
}

struct forecast *
forecast_begin(struct forecast_pool *pool, const float *history, const int64_t *minutes,
    size_t n_past, size_t horizon, const struct forecast_options *options, struct error *err)
{
    struct forecast *f;
    struct block_watch watch;
    uint32_t n_slots;

    if (check_request(pool, n_past, horizon, options, err) == -1)
        return NULL;
    n_slots = pool->options.n_slots;
    if (options->max_slots > 0 && options->max_slots < n_slots)
        n_slots = options->max_slots;
    if (options->samples < n_slots)
        n_slots = options->samples;
    if (pool->n_free < n_slots) {
        error_set(err, ERR_UNAVAILABLE, "%u slots are free, %u are needed", (unsigned)pool->n_free,
            (unsigned)n_slots);
        return NULL;
    }
    f = take_forecast(pool, n_slots);
    f->options = *options;
    f->n_past = n_past;
    f->horizon = horizon;
    f->n_rounds = (options->samples + n_slots - 1) / n_slots;
    f->round = f->step = f->recomputed_windows = 0;
    f->is_stopped = f->is_not_finite = false;
    f->first_start = forecast_first_start(f);
    forecast_candles_begin(f);
    if (forecast_take_input(f, history, minutes, err) == -1)
        goto end;
    watch = forecast_watch(f);
    if (tokenizer_encode(&pool->tokenizer, pool->input, n_past, &watch, f->s1, f->s2) == -1 ||
        forecast_fill(f) == -1) {
        error_set(err, ERR_CANCELLED, "stopped during the prefill");
        goto end;
    }
    return f;

end:
    forecast_end(f);
    return NULL;
}

/* Bring the round's sequences to where their next draw starts; -1 when told to stop. */
static int
start_round(struct forecast *f)
{
    if ((f->start != f->first_start || !f->has_history) && forecast_fill(f) == -1)
        return -1;
    for (size_t j = 0; j < forecast_round_sequences(f); j++)
        memcpy(f->slots[j]->c, f->first_c, f->pool->transformer.size.d * sizeof(float));
    return 0;
}

/*
 * Prepare one forecast for the step: a round's first step and a slid window are computed at
 * once and alone, everything else adds a row per sequence to the common pass. Returns the
 * number of rows with those of ${f}; a stop on the way marks ${f}.
 */
static size_t
gather(struct forecast *f, size_t n_rows)
{
    size_t n = forecast_round_sequences(f), start;

    if (f->step == 0) {
        f->is_stopped = start_round(f) == -1;
        return n_rows;
    }
    start = forecast_next_start(f);
    if (start != f->start) {
        f->start = start;
        f->recomputed_windows += f->round == 0;
        f->is_stopped = forecast_recompute(f, n) == -1;
        return n_rows;
    }
    return n_rows + n;
}

/* Whether ${f} takes part in the common pass of this step. */
static bool
moves(const struct forecast *f)
{
    return f != NULL && !f->is_stopped && !is_finished(f);
}

/* One pass over the weights for all sequences whose window did not slide. */
static void
pass_together(
    struct forecast_pool *pool, struct forecast *const *batch, const bool *is_in_pass, size_t n)
{
    size_t n_rows = 0, n_watches = 0, d = pool->transformer.size.d;
    const float *c;

    for (size_t i = 0; i < n; i++) {
        struct forecast *f = batch[i];

        if (!is_in_pass[i])
            continue;
        for (size_t j = 0; j < forecast_round_sequences(f); j++, n_rows++) {
            pool->tokens[n_rows] = forecast_token(f, j, f->n_past + f->step - 1);
            pool->rows[n_rows] = forecast_row(f, j, f->n_past + f->step - 1);
        }
        pool->watches[n_watches++] = (struct block_watch){.ticks = f->options.ticks};
    }
    if (n_rows == 0)
        return;
    /* Nobody stops this pass: it is short, and the others' as well. */
    c = transformer_pass(
        &pool->transformer, pool->tokens, pool->rows, n_rows, pool->watches, n_watches);
    for (size_t i = 0; i < n; i++)
        if (is_in_pass[i])
            for (size_t j = 0; j < forecast_round_sequences(batch[i]); j++, c += d)
                memcpy(batch[i]->slots[j]->c, c, d * sizeof(float));
}

/* Draw one half of the pair for every sequence, from pool->logits [rows, n_logits]. */
static void
draw(struct forecast_pool *pool, struct forecast *const *batch, size_t n, uint32_t which)
{
    size_t row = 0, n_logits = which == DRAW_S1 ? pool->n_s1 : pool->n_s2;

    for (size_t i = 0; i < n; i++) {
        struct forecast *f = batch[i];
        uint16_t *drawn = which == DRAW_S1 ? f->drawn_s1 : f->drawn_s2;
        struct sampler_options options;

        if (!moves(f))
            continue;
        options = (struct sampler_options){
            .temperature = f->options.temperature,
            .top_k = f->options.top_k,
            .top_p = f->options.top_p,
        };
        for (size_t j = 0; j < forecast_round_sequences(f); j++, row++) {
            const float *logits = pool->logits + row * n_logits;
            uint32_t sample = f->round * f->round_size + (uint32_t)j;
            struct philox_block counter = {{sample, f->step, which, 0}};
            double unit = philox_unit(philox(counter, f->options.seed));

            if (sample == 0 && f->step == 0)
                memcpy(which == DRAW_S1 ? f->first_s1_logits : f->first_s2_logits, logits,
                    n_logits * sizeof(float));
            if (sampler_draw(logits, n_logits, &options, unit, &pool->sampler, &pool->draws[row]) ==
                -1)
                f->is_not_finite = true;
            drawn[sample * pool->horizon_max + f->step] = pool->draws[row];
        }
    }
}

static void
advance(struct forecast *f)
{
    if (++f->step < f->horizon)
        return;
    if (++f->round < f->n_rounds)
        f->step = 0;
}

void
forecast_step(struct forecast_pool *pool, struct forecast *const *batch, size_t n)
{
    bool is_in_pass[FORECAST_SLOTS_MAX];
    size_t d = pool->transformer.size.d, n_rows = 0;

    if (n > FORECAST_SLOTS_MAX)
        n = FORECAST_SLOTS_MAX; /* more tasks than slots cannot exist */
    for (size_t i = 0; i < n; i++) {
        size_t before = n_rows;

        is_in_pass[i] = false;
        if (!moves(batch[i]))
            continue;
        if (is_told_to_stop(batch[i])) {
            batch[i]->is_stopped = true;
            continue;
        }
        n_rows = gather(batch[i], n_rows);
        is_in_pass[i] = n_rows > before;
    }
    pass_together(pool, batch, is_in_pass, n);

    /* The heads, for every sequence that moves, whichever way it came here. */
    n_rows = 0;
    for (size_t i = 0; i < n; i++) {
        struct forecast *f = batch[i];

        if (!moves(f))
            continue;
        for (size_t j = 0; j < forecast_round_sequences(f); j++, n_rows++) {
            memcpy(pool->c + n_rows * d, f->slots[j]->c, d * sizeof(float));
            pool->rows[n_rows] = forecast_row(f, j, f->n_past + f->step - 1);
        }
    }
    if (n_rows == 0)
        return;
    transformer_s1(&pool->transformer, pool->c, n_rows, pool->logits);
    draw(pool, batch, n, DRAW_S1);
    transformer_s2(&pool->transformer, pool->c, pool->draws, pool->rows, n_rows, pool->logits);
    draw(pool, batch, n, DRAW_S2);
    for (size_t i = 0; i < n; i++)
        if (moves(batch[i]))
            advance(batch[i]);
}

struct forecast_progress
forecast_progress(const struct forecast *f)
{
    bool is_done = is_finished(f);
    uint64_t steps = (uint64_t)f->round * f->horizon + (is_done ? 0 : f->step);

    return (struct forecast_progress){
        .done = (uint32_t)(steps / f->n_rounds),
        .total = (uint32_t)f->horizon,
        .is_finished = is_done,
        .is_stopped = f->is_stopped,
        .rows_used = (uint32_t)(f->n_past - f->first_start),
        .recomputed_windows = f->recomputed_windows,
    };
}

void
forecast_end(struct forecast *f)
{
    if (f == NULL || !f->is_taken)
        return;
    for (uint32_t j = 0; j < f->round_size; j++)
        f->slots[j]->is_taken = false;
    f->pool->n_free += f->round_size;
    f->is_taken = false;
}

int
forecast_run(struct forecast_pool *pool, const float *history, const int64_t *minutes,
    size_t n_past, size_t horizon, const struct forecast_options *options, forecast_step_fn on_step,
    void *cookie, float *mean, float *paths, struct error *err)
{
    struct forecast *f;
    struct forecast_progress progress;
    int rc;

    f = forecast_begin(pool, history, minutes, n_past, horizon, options, err);
    if (f == NULL)
        return -1;
    do {
        forecast_step(pool, &f, 1);
        progress = forecast_progress(f);
        if (on_step != NULL)
            on_step(cookie, progress.done, progress.total);
    } while (!progress.is_finished && !progress.is_stopped);
    rc = progress.is_finished ? forecast_read(f, mean, paths, err)
                              : error_set(err, ERR_CANCELLED, "stopped at step %u of %u",
                                    (unsigned)progress.done, (unsigned)progress.total);
    forecast_end(f);
    return rc;
}

struct forecast_trace
forecast_trace(const struct forecast *f)
{
    return (struct forecast_trace){
        .context_s1 = f->s1,
        .context_s2 = f->s2,
        .generated_s1 = f->drawn_s1,
        .generated_s2 = f->drawn_s2,
        .first_s1_logits = f->first_s1_logits,
        .first_s2_logits = f->first_s2_logits,
    };
}
