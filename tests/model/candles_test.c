/*
 * candles_test.c - A candle asked for as soon as it is exact is the row of the final forecast, byte
 * for byte, whenever it was asked for and whoever stepped beside it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/model/engine_run.h"
#include "tests/model/golden.h"

#define CONTEXT     48
#define HISTORY_MAX 60
#define HORIZON_MAX                                                                                \
    40 /* more rows than one pass of all samples can take at once, with 16 samples */
#define CELL (FORECAST_FIELDS * sizeof(float))

static const enum forecast_window windows[] = {FORECAST_EXACT, FORECAST_FIT, FORECAST_BLOCK};
static struct model *model;
static float history[HISTORY_MAX * FORECAST_FIELDS];
static int64_t minutes[HISTORY_MAX + HORIZON_MAX];

static int
open_model(void **state)
{
    (void)state;
    model = golden_model("tiny-seed7");
    for (size_t i = 0; i < HISTORY_MAX * FORECAST_FIELDS; i++)
        history[i] = 50.0f + (float)((i * 41 + i / 6 * 7) % 29) / 3.0f;
    for (size_t i = 0; i < HISTORY_MAX + HORIZON_MAX; i++)
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
begin(struct forecast_pool *pool, size_t n_past, size_t horizon, const struct forecast_options *o)
{
    struct error err;
    struct forecast *f = forecast_begin(pool, history, minutes, n_past, horizon, o, &err);

    if (f == NULL)
        fail_msg("%s", err.text);
    return f;
}

/* What there is of ${f} now; checks that rows already seen stay as they were. */
static size_t
look(struct forecast *f, float *seen, size_t n_seen)
{
    struct error err;
    const float *rows;
    size_t n;

    if (forecast_candles(f, &rows, &n, &err) == -1)
        fail_msg("%s", err.text);
    assert_true(n >= n_seen);
    assert_memory_equal(rows, seen, n_seen * CELL);
    memcpy(seen, rows, n * CELL);
    return n;
}

/* Never asked, and asked after every ${every}th step: is each row there in time, and the same? */
static void
check(uint32_t slots, size_t n_past, size_t horizon, const struct forecast_options *o, size_t every)
{
    struct forecast_pool *pool = engine_pool(model, slots, CONTEXT);
    uint32_t rounds = (o->samples + slots - 1) / slots;
    float whole[HORIZON_MAX * FORECAST_FIELDS], seen[HORIZON_MAX * FORECAST_FIELDS];
    float mean[HORIZON_MAX * FORECAST_FIELDS];
    size_t path_bytes = o->samples * horizon * CELL, n_seen = 0, steps = 0;
    float *paths = malloc(path_bytes), *other_paths = malloc(path_bytes);
    struct error err;
    struct forecast *f;

    assert_non_null(paths);
    assert_non_null(other_paths);
    f = begin(pool, n_past, horizon, o);
    while (!forecast_progress(f).is_finished)
        forecast_step(pool, &f, 1);
    assert_int_equal(forecast_read(f, whole, paths, &err), 0);
    forecast_end(f);

    f = begin(pool, n_past, horizon, o);
    assert_int_equal(look(f, seen, 0), 0);
    while (!forecast_progress(f).is_finished) {
        forecast_step(pool, &f, 1);
        if (++steps % every != 0)
            continue;
        n_seen = look(f, seen, n_seen);
        /* of the last round every step drawn is a candle; of those before it none is */
        assert_int_equal(
            n_seen, steps > (rounds - 1) * horizon ? steps - (rounds - 1) * horizon : 0);
        assert_memory_equal(seen, whole, n_seen * CELL);
    }
    assert_int_equal(forecast_read(f, mean, NULL, &err), 0);
    assert_memory_equal(mean, whole, horizon * CELL);
    assert_int_equal(forecast_read(f, mean, other_paths, &err), 0);
    assert_memory_equal(mean, whole, horizon * CELL);
    assert_memory_equal(other_paths, paths, path_bytes);
    assert_int_equal(look(f, seen, n_seen), horizon);
    forecast_end(f);
    free(other_paths);
    free(paths);
    forecast_pool_free(pool);
}

static void
a_candle_is_the_row_of_the_final_forecast_at_every_step_of_every_mode(void **state)
{
    /* both sides of C, one window that slides from the first step on, and a horizon of all of C */
    static const size_t lengths[][2] = {{1, 5}, {40, 8}, {40, 9}, {40, 30}, {60, 40}};

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (size_t w = 0; w < 3; w++) {
            struct forecast_options one = engine_sampled(1, 5), three = engine_sampled(3, 6);

            one.window = three.window = windows[w];
            check(1, lengths[i][0], lengths[i][1], &one, 1);
            check(3, lengths[i][0], lengths[i][1], &three, 7);
        }
    }
}

static void
with_more_samples_than_slots_candles_come_in_the_last_round(void **state)
{
    (void)state;
    for (size_t w = 0; w < 3; w++) {
        struct forecast_options five = engine_sampled(5, 9), many = engine_sampled(21, 10);

        five.window = many.window = windows[w];
        check(2, 40, 12, &five, 1);
        check(2, 40, 12, &five, 5);
        check(16, 30, 40, &many, w == 0 ? 80 : 33); /* 80: when both rounds are over */
    }
}

static void
every_instruction_set_gives_the_same_candle_early_and_late(void **state)
{
    struct forecast_options three = engine_sampled(3, 6);

    (void)state;
    for (size_t i = 0; engine_kernels(i) != NULL; i++) {
        check(3, 40, 12, &three, 1);
        check(2, 45, 33, &three, 9);
    }
}

static void
neighbours_in_the_batch_do_not_show_in_a_candle(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 6, CONTEXT);
    struct forecast_options mine = engine_sampled(2, 3), others = engine_sampled(2, 4);
    float alone[HORIZON_MAX * FORECAST_FIELDS], seen[HORIZON_MAX * FORECAST_FIELDS];
    float beside[HORIZON_MAX * FORECAST_FIELDS];
    struct forecast *batch[3];
    struct error err;
    size_t n_seen = 0, n_beside = 0;

    (void)state;
    batch[0] = begin(pool, 40, 20, &mine);
    while (!forecast_progress(batch[0]).is_finished)
        forecast_step(pool, batch, 1);
    assert_int_equal(forecast_read(batch[0], alone, NULL, &err), 0);
    forecast_end(batch[0]);

    batch[1] = begin(pool, 12, 25, &others);
    forecast_step(pool, batch + 1, 1);
    batch[0] = begin(pool, 40, 20, &mine);
    batch[2] = begin(pool, 30, 6, &others);
    while (!forecast_progress(batch[0]).is_finished) {
        forecast_step(pool, batch, 3);
        n_beside = look(batch[1], beside, n_beside);
        n_seen = look(batch[0], seen, n_seen);
    }
    assert_int_equal(n_seen, 20);
    assert_memory_equal(seen, alone, 20 * CELL);
    for (size_t i = 0; i < 3; i++)
        forecast_end(batch[i]);
    forecast_pool_free(pool);
}

static void
a_slot_that_was_asked_for_candles_serves_the_next_task_as_if_new(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 2, CONTEXT);
    struct forecast_options first = engine_sampled(2, 3), second = engine_sampled(2, 8);
    float fresh[HORIZON_MAX * FORECAST_FIELDS], seen[HORIZON_MAX * FORECAST_FIELDS];
    struct forecast *f = begin(pool, 33, 20, &second);
    struct error err;
    size_t n = 0;

    (void)state;
    while (!forecast_progress(f).is_finished)
        forecast_step(pool, &f, 1);
    assert_int_equal(forecast_read(f, fresh, NULL, &err), 0);
    forecast_end(f);
    f = begin(pool, 48, 17, &first);
    for (int i = 0; i < 9; i++)
        forecast_step(pool, &f, 1);
    look(f, seen, 0);
    forecast_end(f); /* in the middle */
    f = begin(pool, 33, 20, &second);
    while (!forecast_progress(f).is_finished) {
        forecast_step(pool, &f, 1);
        n = look(f, seen, n);
    }
    assert_memory_equal(seen, fresh, 20 * CELL);
    forecast_end(f);
    forecast_pool_free(pool);
}

static void
a_stop_ends_the_decoding_for_good(void **state)
{
    struct forecast_pool *pool = engine_pool(model, 1, CONTEXT);
    struct forecast_options o = engine_sampled(1, 3);
    atomic_bool stop = false;
    const float *rows;
    struct forecast *f;
    struct error err;
    size_t n;

    (void)state;
    o.stop = &stop;
    f = begin(pool, 20, 5, &o);
    forecast_step(pool, &f, 1);
    atomic_store(&stop, true);
    assert_int_equal(forecast_candles(f, &rows, &n, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    atomic_store(&stop, false);
    assert_int_equal(forecast_candles(f, &rows, &n, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(n, 0);
    forecast_end(f);
    forecast_pool_free(pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_candle_is_the_row_of_the_final_forecast_at_every_step_of_every_mode),
        cmocka_unit_test(with_more_samples_than_slots_candles_come_in_the_last_round),
        cmocka_unit_test(every_instruction_set_gives_the_same_candle_early_and_late),
        cmocka_unit_test(neighbours_in_the_batch_do_not_show_in_a_candle),
        cmocka_unit_test(a_slot_that_was_asked_for_candles_serves_the_next_task_as_if_new),
        cmocka_unit_test(a_stop_ends_the_decoding_for_good),
    };

    return cmocka_run_group_tests(tests, open_model, close_model);
}
