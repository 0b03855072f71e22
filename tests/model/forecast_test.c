/*
 * forecast_test.c - The rules of a pool: what it refuses, who gets slots, who may stop it.
 *
 * Values are golden_test's and lengths_test's; here it is the contract around them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "tests/model/engine_run.h"
#include "tests/model/golden.h"
#include "worker/kronos/crew.h"
#include "worker/kronos/forecast.h"

#define CONTEXT 48
#define L       40
#define P       12

static struct model *model;
static float history[L * FORECAST_FIELDS];
static int64_t minutes[L + P];

static int
open_model(void **state)
{
    (void)state;
    model = golden_model("tiny-seed7");
    for (size_t i = 0; i < L * FORECAST_FIELDS; i++)
        history[i] = 100.0f + (float)((i * 37) % 23);
    for (size_t i = 0; i < L + P; i++)
        minutes[i] = 28000000 + 5 * (int64_t)i;
    return 0;
}

static int
close_model(void **state)
{
    (void)state;
    model_close(model);
    return 0;
}

static struct forecast *
begin(struct forecast_pool *pool, const struct forecast_options *options, struct error *err)
{
    return forecast_begin(pool, history, minutes, L, P, options, err);
}

static void
a_request_out_of_its_limits_is_refused_by_name_and_takes_no_slot(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 3, CONTEXT);
    struct forecast_options good = engine_sampled(2, 1), bad;
    struct error err;

    (void)state;
#define REFUSED(n_past, horizon, word)                                                             \
    do {                                                                                           \
        assert_null(forecast_begin(pool, history, minutes, n_past, horizon, &bad, &err));          \
        assert_int_equal(err.code, ERR_INVALID);                                                   \
        assert_non_null(strstr(err.text, word));                                                   \
        assert_int_equal(forecast_pool_free_slots(pool), 3);                                       \
    } while (0)
    bad = good;
    REFUSED(0, P, "history");
    REFUSED(FORECAST_HISTORY_MAX + 1, P, "history");
    REFUSED(L, 0, "horizon");
    REFUSED(L, CONTEXT + 1, "horizon");
    bad.samples = 0;
    REFUSED(L, P, "samples");
    bad.samples = FORECAST_SAMPLES_MAX + 1;
    REFUSED(L, P, "samples");
    bad = good;
    bad.temperature = -1.0f;
    REFUSED(L, P, "temperature");
    bad.temperature = NAN;
    REFUSED(L, P, "temperature");
    bad = good;
    bad.top_p = 0.0f;
    REFUSED(L, P, "top_p");
    bad.top_p = 1.5f;
    REFUSED(L, P, "top_p");
    bad = good;
    history[6 * 3 + 1] = INFINITY;
    REFUSED(L, P, "high of bar 3");
    history[6 * 3 + 1] = 3e38f;
    REFUSED(L, P, "high is too large");
    history[6 * 3 + 1] = 100.0f;
    minutes[L + 2] = INT64_MAX;
    REFUSED(L, P, "time of bar 42");
    minutes[L + 2] = 28000000 + 5 * (L + 2);
    forecast_pool_free(pool);
}

static void
a_pool_out_of_its_limits_is_not_made(void **state)
{
    const struct forecast_pool_options bad[] = {
        {.n_slots = 0, .max_context = CONTEXT, .clip = 5.0f, .n_threads = 1},
        {.n_slots = 257, .max_context = CONTEXT, .clip = 5.0f, .n_threads = 1},
        {.n_slots = 1, .max_context = 1, .clip = 5.0f, .n_threads = 1},
        {.n_slots = 1, .max_context = MODEL_CONTEXT_MAX + 1, .clip = 5.0f, .n_threads = 1},
        {.n_slots = 1, .max_context = CONTEXT, .clip = 0.0f, .n_threads = 1},
        {.n_slots = 1, .max_context = CONTEXT, .clip = NAN, .n_threads = 1},
        {.n_slots = 1, .max_context = CONTEXT, .clip = 5.0f, .n_threads = CREW_THREADS_MAX + 1},
    };
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(forecast_pool_new(model, &bad[i], &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    forecast_pool_free(NULL);
}

static void
a_task_takes_a_slot_per_sample_and_gives_them_back_at_any_time(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 4, CONTEXT);
    struct forecast_options three = engine_sampled(3, 1), two = engine_sampled(2, 2);
    struct forecast *a, *b;
    struct error err;

    (void)state;
    a = begin(pool, &three, &err);
    assert_non_null(a);
    assert_int_equal(forecast_pool_free_slots(pool), 1);
    assert_null(begin(pool, &two, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    forecast_step(pool, &a, 1);
    forecast_end(a); /* in the middle */
    assert_int_equal(forecast_pool_free_slots(pool), 4);
    a = begin(pool, &two, &err);
    b = begin(pool, &two, &err);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(forecast_pool_free_slots(pool), 0);
    forecast_end(a);
    forecast_end(b);
    forecast_end(NULL);
    assert_int_equal(forecast_pool_free_slots(pool), 4);
    forecast_pool_free(pool);
}

static void
more_samples_than_slots_take_them_all_and_count_steps_once(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 2, CONTEXT);
    struct forecast_options five = engine_sampled(5, 1);
    struct forecast *f;
    struct error err;
    uint32_t before = 0, calls = 0;

    (void)state;
    f = begin(pool, &five, &err);
    assert_non_null(f);
    assert_int_equal(forecast_pool_free_slots(pool), 0);
    while (!forecast_progress(f).is_finished) {
        forecast_step(pool, &f, 1);
        assert_true(forecast_progress(f).done >= before);
        before = forecast_progress(f).done;
        calls++;
    }
    assert_int_equal(calls, 3 * P); /* three rounds */
    assert_int_equal(before, P);
    assert_int_equal(forecast_progress(f).total, P);
    forecast_step(pool, &f, 1); /* one that is done is skipped */
    assert_int_equal(forecast_progress(f).done, P);
    forecast_end(f);
    forecast_pool_free(pool);
}

static void
a_stop_ends_the_prefill_and_gives_the_slots_back(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 2, CONTEXT);
    struct forecast_options options = engine_sampled(2, 1);
    atomic_bool stop = true;
    struct error err;

    (void)state;
    options.stop = &stop;
    assert_null(begin(pool, &options, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(forecast_pool_free_slots(pool), 2);
    forecast_pool_free(pool);
}

static void
a_stopped_task_stands_while_the_others_of_its_batch_go_on(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 2, CONTEXT);
    struct forecast_options options = engine_sampled(1, 1), free_one = engine_sampled(1, 2);
    atomic_bool stop = false;
    struct forecast *batch[2];
    float mean[P * FORECAST_FIELDS];
    struct error err;

    (void)state;
    options.stop = &stop;
    batch[0] = begin(pool, &options, &err);
    batch[1] = begin(pool, &free_one, &err);
    assert_non_null(batch[0]);
    assert_non_null(batch[1]);
    forecast_step(pool, batch, 2);
    atomic_store(&stop, true);
    forecast_step(pool, batch, 2);
    atomic_store(&stop, false); /* seen once, it stays stopped */
    forecast_step(pool, batch, 2);
    assert_true(forecast_progress(batch[0]).is_stopped);
    assert_int_equal(forecast_progress(batch[0]).done, 1);
    assert_false(forecast_progress(batch[1]).is_stopped);
    assert_int_equal(forecast_progress(batch[1]).done, 3);
    assert_int_equal(forecast_read(batch[0], mean, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    forecast_end(batch[0]);
    forecast_end(batch[1]);
    forecast_pool_free(pool);
}

static void
every_layer_ticks(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 1, CONTEXT);
    struct forecast_options options = engine_greedy(FORECAST_FIT);
    atomic_uint_least64_t ticks = 0;
    uint32_t encoder = model->tokenizer_config.n_enc_layers, layers = model->config.n_layers;
    struct forecast *f;
    struct error err;

    (void)state;
    options.ticks = &ticks;
    f = begin(pool, &options, &err);
    assert_non_null(f);
    assert_int_equal(atomic_load(&ticks), encoder + layers);
    forecast_step(pool, &f, 1); /* draws from the prefill */
    forecast_step(pool, &f, 1);
    assert_int_equal(atomic_load(&ticks), encoder + 2 * layers);
    forecast_end(f);
    forecast_pool_free(pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_out_of_its_limits_is_refused_by_name_and_takes_no_slot),
        cmocka_unit_test(a_pool_out_of_its_limits_is_not_made),
        cmocka_unit_test(a_task_takes_a_slot_per_sample_and_gives_them_back_at_any_time),
        cmocka_unit_test(more_samples_than_slots_take_them_all_and_count_steps_once),
        cmocka_unit_test(a_stop_ends_the_prefill_and_gives_the_slots_back),
        cmocka_unit_test(a_stopped_task_stands_while_the_others_of_its_batch_go_on),
        cmocka_unit_test(every_layer_ticks),
    };

    return cmocka_run_group_tests(tests, open_model, close_model);
}
