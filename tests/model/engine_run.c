/*
 * engine_run.c - One forecast through the engine's contract, and all it said on the way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/model/engine_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/golden.h"
#include "worker/kronos/kernels.h"

#define CLIP 5.0f

static void *
copy_of(const void *from, size_t n, size_t size)
{
    void *copy = malloc(n > 0 ? n * size : 1);

    assert_non_null(copy);
    if (from != NULL)
        memcpy(copy, from, n * size);
    return copy;
}

const char *
engine_kernels(size_t i)
{
    static const char *const names[] = {"avx512", "avx2", "portable"};

    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        if (kernels_choose(names[k]) == 0 && i-- == 0)
            return names[k];
    }
    assert_int_equal(kernels_choose(NULL), 0);
    return NULL;
}

struct forecast_pool *
engine_pool(const struct model *model, uint32_t n_slots, size_t max_context)
{
    return engine_pool_of(model, n_slots, max_context, 1);
}

struct forecast_pool *
engine_pool_of(const struct model *model, uint32_t n_slots, size_t max_context, size_t n_threads)
{
    struct forecast_pool_options options = {.n_slots = n_slots,
        .max_context = (uint32_t)max_context,
        .clip = CLIP,
        .n_threads = (uint32_t)n_threads};
    struct error err;
    struct forecast_pool *pool = forecast_pool_new(model, &options, &err);

    if (pool == NULL)
        fail_msg("%s", err.text);
    return pool;
}

struct forecast_options
engine_greedy(enum forecast_window window)
{
    return (struct forecast_options){
        .samples = 1, .top_k = 1, .temperature = 1.0f, .top_p = 1.0f, .window = window};
}

struct forecast_options
engine_sampled(uint32_t samples, uint64_t seed)
{
    return (struct forecast_options){.samples = samples,
        .temperature = 1.0f,
        .top_p = 0.9f,
        .seed = seed,
        .window = FORECAST_EXACT};
}

struct engine_result
engine_keep(struct forecast *f, const struct model *model, const struct engine_series *series,
    size_t samples)
{
    size_t n_s1 = (size_t)1 << model->config.s1_bits, n_s2 = (size_t)1 << model->config.s2_bits;
    size_t cells = series->horizon * FORECAST_FIELDS;
    struct forecast_trace trace = forecast_trace(f);
    struct engine_result r = {.n_past = series->n_past,
        .horizon = series->horizon,
        .samples = samples,
        .progress = forecast_progress(f)};
    struct error err;

    r.context_s1 = copy_of(trace.context_s1, r.n_past, sizeof(uint16_t));
    r.context_s2 = copy_of(trace.context_s2, r.n_past, sizeof(uint16_t));
    r.generated_s1 = copy_of(trace.generated_s1, r.horizon, sizeof(uint16_t));
    r.generated_s2 = copy_of(trace.generated_s2, r.horizon, sizeof(uint16_t));
    r.first_s1_logits = copy_of(trace.first_s1_logits, n_s1, sizeof(float));
    r.first_s2_logits = copy_of(trace.first_s2_logits, n_s2, sizeof(float));
    r.mean = copy_of(NULL, cells, sizeof(float));
    r.paths = copy_of(NULL, samples * cells, sizeof(float));
    if (forecast_read(f, r.mean, r.paths, &err) == -1)
        fail_msg("%s", err.text);
    return r;
}

struct engine_result
engine_run(struct forecast_pool *pool, const struct model *model,
    const struct engine_series *series, const struct forecast_options *options)
{
    struct engine_result r;
    struct forecast *f;
    struct error err;
    size_t n_steps = 0;

    f = forecast_begin(
        pool, series->history, series->minutes, series->n_past, series->horizon, options, &err);
    if (f == NULL)
        fail_msg("%s", err.text);
    while (!forecast_progress(f).is_finished) {
        forecast_step(pool, &f, 1);
        assert_true(++n_steps <= series->horizon * options->samples);
    }
    r = engine_keep(f, model, series, options->samples);
    forecast_end(f);
    return r;
}

void
engine_clear(struct engine_result *r)
{
    free(r->context_s1);
    free(r->context_s2);
    free(r->generated_s1);
    free(r->generated_s2);
    free(r->first_s1_logits);
    free(r->first_s2_logits);
    free(r->mean);
    free(r->paths);
    *r = (struct engine_result){0};
}

bool
engine_same_bytes(const struct engine_result *a, const struct engine_result *b)
{
    size_t cells = a->horizon * FORECAST_FIELDS * sizeof(float);

    return a->horizon == b->horizon && a->samples == b->samples &&
           memcmp(a->generated_s1, b->generated_s1, a->horizon * sizeof(uint16_t)) == 0 &&
           memcmp(a->generated_s2, b->generated_s2, a->horizon * sizeof(uint16_t)) == 0 &&
           memcmp(a->mean, b->mean, cells) == 0 &&
           memcmp(a->paths, b->paths, a->samples * cells) == 0;
}

static size_t
rows_seen(const struct engine_series *series, size_t max_context, enum forecast_window window)
{
    size_t over = series->n_past + series->horizon - 1;

    if (window == FORECAST_FIT)
        return over > max_context ? series->n_past - (over - max_context) : series->n_past;
    return series->n_past < max_context ? series->n_past : max_context;
}

static bool
compare_with_twin(const char *what, const struct model *model, const struct engine_series *series,
    const struct twin_forecast *t, const struct engine_result *r)
{
    if (!(t->context_regret <= GOLDEN_TIE) || !(t->generated_regret <= GOLDEN_TIE)) {
        fprintf(stderr, "%s: the engine's context tokens are off by %g, its steps by %g\n", what,
            (double)t->context_regret, (double)t->generated_regret);
        return false;
    }
    return golden_compare_logits(
               what, t->first_s1_logits, r->first_s1_logits, (size_t)1 << model->config.s1_bits) &&
           golden_compare_logits(
               what, t->first_s2_logits, r->first_s2_logits, (size_t)1 << model->config.s2_bits) &&
           golden_compare_forecast(
               what, series->history, series->n_past, t->forecast, r->mean, series->horizon);
}

bool
engine_is_twin(const char *what, const struct model *model, const struct engine_series *series,
    size_t max_context, enum forecast_window window, const struct engine_result *r)
{
    struct twin_request request = {.history = series->history,
        .minutes = series->minutes,
        .n_past = series->n_past,
        .horizon = series->horizon,
        .max_context = max_context,
        .clip = CLIP,
        .window = window,
        .follow_context_s1 = r->context_s1,
        .follow_context_s2 = r->context_s2,
        .follow_generated_s1 = r->generated_s1,
        .follow_generated_s2 = r->generated_s2};
    size_t rows = rows_seen(series, max_context, window);
    struct twin_forecast *t;
    bool same;

    if (r->progress.rows_used != rows) {
        fprintf(stderr, "%s: %u rows used, wanted %zu\n", what, r->progress.rows_used, rows);
        return false;
    }
    t = twin_forecast_new(model, &request);
    same = compare_with_twin(what, model, series, t, r);
    twin_forecast_free(t);
    return same;
}
