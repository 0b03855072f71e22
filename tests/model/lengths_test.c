/*
 * lengths_test.c - The engine is the plain twin at every length and in every window mode, and
 * what a task returns depends on nothing but the task.
 *
 * The context is small, so that every length around it is tried: shorter, equal, longer,
 * sliding once, sliding at every step. The first half compares greedy paths with the
 * twin; the second half compares sampled ones with themselves, byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/engine_run.h"
#include "tests/model/golden.h"
#include "tests/model/walk.h"

#define CONTEXT      24 /* C: small, for the twin computes every window of every step */
#define HORIZON      6
#define LONG_CONTEXT 48
#define TAILS        11 /* C for the other instruction sets: no multiple of their widths */
#define BATCH_MAX    16

static const char *const models[] = {"tiny-seed7", "tail-seed7"};
static const enum forecast_window windows[] = {FORECAST_EXACT, FORECAST_FIT, FORECAST_BLOCK};
static const char *const window_names[] = {"exact", "fit", "block"};

/* One length in one mode, against the twin. */
static void
check_twin(const struct model *model, struct forecast_pool *pool, const char *name,
    size_t max_context, const struct engine_series *series, enum forecast_window window)
{
    struct forecast_options options = engine_greedy(window);
    struct engine_result r = engine_run(pool, model, series, &options);
    char what[128];

    snprintf(what, sizeof(what), "%s, %s, C %zu, L %zu, P %zu", name, window_names[window],
        max_context, series->n_past, series->horizon);
    if (!engine_is_twin(what, model, series, max_context, window, &r))
        fail_msg("%s differs from the twin", what);
    engine_clear(&r);
}

static void
check_every_length(const char *name, size_t max_context)
{
    struct walk walk;
    struct model *model = golden_model(name);
    struct forecast_pool *pool = engine_pool(model, 1, max_context);

    for (size_t n_past = 1; n_past <= max_context + 3; n_past++) {
        struct engine_series series = walk_series(walk_make(&walk, n_past), n_past, HORIZON);

        check_twin(model, pool, name, max_context, &series, FORECAST_EXACT);
        /* without overflow the three modes are one, which the next test shows byte for byte */
        if (n_past + HORIZON - 1 > max_context) {
            check_twin(model, pool, name, max_context, &series, FORECAST_FIT);
            check_twin(model, pool, name, max_context, &series, FORECAST_BLOCK);
        }
    }
    forecast_pool_free(pool);
    model_close(model);
}

static void
the_engine_is_the_twin_at_every_length_of_tiny(void **state)
{
    (void)state;
    check_every_length("tiny-seed7", golden_is_full() ? 48 : CONTEXT);
}

static void
the_engine_is_the_twin_at_every_length_of_odd_widths(void **state)
{
    (void)state;
    check_every_length("tail-seed7", golden_is_full() ? 48 : CONTEXT);
}

/* Prefills of many tiles of rows. */
static void
a_long_prefill_is_the_twin_too(void **state)
{
    static const size_t lengths[] = {31, 32, 33, 43, 44, 48, 51};

    (void)state;
    for (size_t m = 0; m < 2; m++) {
        struct walk walk;
        struct model *model = golden_model(models[m]);
        struct forecast_pool *pool = engine_pool(model, 1, LONG_CONTEXT);

        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            struct engine_series series = walk_series(walk_make(&walk, i), lengths[i], HORIZON);

            for (size_t w = 0; w < 3; w++)
                check_twin(model, pool, models[m], LONG_CONTEXT, &series, windows[w]);
        }
        forecast_pool_free(pool);
        model_close(model);
    }
}

static void
every_instruction_set_is_the_twin(void **state)
{
    (void)state;
    for (size_t i = 0; engine_kernels(i) != NULL; i++) {
        check_every_length("tiny-seed7", TAILS);
        check_every_length("tail-seed7", TAILS);
    }
}

static void
without_overflow_all_windows_return_the_same_bytes(void **state)
{
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        struct walk walk;
        struct model *model = golden_model(models[m]);
        struct forecast_pool *pool = engine_pool(model, 3, CONTEXT);

        for (size_t n_past = 1; n_past + HORIZON - 1 <= CONTEXT; n_past++) {
            struct engine_series series = walk_series(walk_make(&walk, n_past), n_past, HORIZON);
            struct forecast_options options = engine_sampled(2, n_past);
            struct engine_result exact = engine_run(pool, model, &series, &options), other;

            assert_int_equal(exact.progress.recomputed_windows, 0);
            for (size_t w = 1; w < 3; w++) {
                options.window = windows[w];
                other = engine_run(pool, model, &series, &options);
                assert_true(engine_same_bytes(&exact, &other));
                engine_clear(&other);
            }
            engine_clear(&exact);
        }
        forecast_pool_free(pool);
        model_close(model);
    }
}

/* The horizon fills the context: nothing of the history is left in the last windows. */
static void
a_horizon_as_long_as_the_context_is_the_twin_too(void **state)
{
    static const size_t lengths[] = {1, 2, CONTEXT - 1, CONTEXT, CONTEXT + 3};
    struct walk walk;
    struct model *model = golden_model("tail-seed7");
    struct forecast_pool *pool = engine_pool(model, 1, CONTEXT);

    (void)state;
    walk_make(&walk, 5);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct engine_series series = walk_series(&walk, lengths[i], CONTEXT);

        for (size_t w = 0; w < 3; w++)
            check_twin(model, pool, "tail-seed7", CONTEXT, &series, windows[w]);
    }
    forecast_pool_free(pool);
    model_close(model);
}

static void
the_smallest_contexts_are_the_twin_too(void **state)
{
    struct model *model = golden_model("tiny-seed7");

    (void)state;
    for (size_t context = 2; context <= 5; context++) {
        struct forecast_pool *pool = engine_pool(model, 1, context);

        for (size_t n_past = 1; n_past <= context + 2; n_past++) {
            for (size_t horizon = 1; horizon <= context; horizon++) {
                struct walk walk;
                struct engine_series series =
                    walk_series(walk_make(&walk, n_past + horizon), n_past, horizon);

                for (size_t w = 0; w < 3; w++)
                    check_twin(model, pool, "tiny-seed7", context, &series, windows[w]);
            }
        }
        forecast_pool_free(pool);
    }
    model_close(model);
}

/* Two words for one thing: no temperature, or one candidate. */
static void
temperature_0_is_greedy(void **state)
{
    struct walk walk;
    struct model *model = golden_model("tiny-seed7");
    struct forecast_pool *pool = engine_pool(model, 1, CONTEXT);
    struct engine_series series = walk_series(walk_make(&walk, 3), CONTEXT - 2, HORIZON);
    struct forecast_options options = engine_greedy(FORECAST_EXACT);
    struct engine_result greedy = engine_run(pool, model, &series, &options), cold;

    (void)state;
    options.temperature = 0.0f;
    options.top_k = 0;
    options.top_p = 0.9f;
    cold = engine_run(pool, model, &series, &options);
    assert_true(engine_same_bytes(&greedy, &cold));
    engine_clear(&greedy);
    engine_clear(&cold);
    forecast_pool_free(pool);
    model_close(model);
}

static void
the_same_seed_gives_the_same_bytes_and_another_seed_another_path(void **state)
{
    struct walk walk;
    struct model *model = golden_model("tiny-seed7");
    struct forecast_pool *pool = engine_pool(model, 3, CONTEXT);
    struct engine_series series = walk_series(walk_make(&walk, 1), CONTEXT - 3, 12);
    struct forecast_options options = engine_sampled(3, 42);
    struct engine_result first = engine_run(pool, model, &series, &options);
    struct engine_result again = engine_run(pool, model, &series, &options), other;

    (void)state;
    assert_true(engine_same_bytes(&first, &again));
    /* the paths of one task are drawn apart */
    assert_memory_not_equal(
        first.paths, first.paths + 12 * FORECAST_FIELDS, 12 * FORECAST_FIELDS * sizeof(float));
    options.seed = 43;
    other = engine_run(pool, model, &series, &options);
    assert_false(engine_same_bytes(&first, &other));
    engine_clear(&first);
    engine_clear(&again);
    engine_clear(&other);
    forecast_pool_free(pool);
    model_close(model);
}

/* One slot runs three samples in three rounds, two slots in two, three and more at once. */
static void
the_number_of_slots_leaves_no_trace_in_the_values(void **state)
{
    static const uint32_t slots[] = {1, 2, 5};
    static const size_t lengths[] = {1, 33, LONG_CONTEXT - 4, LONG_CONTEXT, LONG_CONTEXT + 3};

    (void)state;
    for (size_t m = 0; m < 2; m++) {
        struct walk walk;
        struct model *model = golden_model(models[m]);
        struct forecast_pool *three = engine_pool(model, 3, LONG_CONTEXT);

        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]) * 3; i++) {
            struct engine_series series = walk_series(walk_make(&walk, i), lengths[i / 3], 9);
            struct forecast_options options = engine_sampled(3, 1000 + i);
            struct engine_result wanted, r;

            options.window = windows[i % 3];
            wanted = engine_run(three, model, &series, &options);
            for (size_t k = 0; k < sizeof(slots) / sizeof(slots[0]); k++) {
                struct forecast_pool *pool = engine_pool(model, slots[k], LONG_CONTEXT);

                r = engine_run(pool, model, &series, &options);
                if (!engine_same_bytes(&wanted, &r))
                    fail_msg("%s, %s, L %zu: %u slots give other bytes than 3", models[m],
                        window_names[i % 3], series.n_past, slots[k]);
                engine_clear(&r);
                forecast_pool_free(pool);
            }
            engine_clear(&wanted);
        }
        forecast_pool_free(three);
        model_close(model);
    }
}

static void
a_path_does_not_depend_on_how_many_others_were_asked_for(void **state)
{
    struct walk walk;
    struct model *model = golden_model("tail-seed7");
    struct forecast_pool *pool = engine_pool(model, 5, CONTEXT);
    struct engine_series series = walk_series(walk_make(&walk, 9), CONTEXT - 2, HORIZON);
    struct forecast_options options = engine_sampled(5, 7);
    struct engine_result five = engine_run(pool, model, &series, &options);

    (void)state;
    for (uint32_t samples = 1; samples < 5; samples++) {
        struct engine_result r;

        options.samples = samples;
        r = engine_run(pool, model, &series, &options);
        assert_memory_equal(
            r.paths, five.paths, samples * HORIZON * FORECAST_FIELDS * sizeof(float));
        engine_clear(&r);
    }
    engine_clear(&five);
    forecast_pool_free(pool);
    model_close(model);
}

/* A task of a mixed batch: what it asks for, and what it returned when it ran alone. */
struct member {
    struct walk walk;
    struct engine_series series;
    struct forecast_options options;
    struct engine_result alone;
    struct forecast *running;
    size_t begins_at; /* step of the whole batch */
    bool is_checked;
};

static void
make_member(struct member *m, const struct model *model, size_t max_context, uint64_t seed)
{
    uint64_t random = seed * 0x9e3779b97f4a7c15u + 1;
    struct forecast_pool *pool = engine_pool(model, 4, max_context);

    for (int i = 0; i < 8; i++)
        walk_random(&random);
    walk_make(&m->walk, seed);
    m->series = walk_series(
        &m->walk, 1 + walk_random(&random) % (max_context + 8), 1 + walk_random(&random) % 16);
    m->options = engine_sampled(1 + (uint32_t)(walk_random(&random) % 4), seed);
    m->options.window = windows[walk_random(&random) % 3];
    m->options.top_k = walk_random(&random) % 3 == 0 ? 5 : 0;
    m->begins_at = walk_random(&random) % 12;
    m->alone = engine_run(pool, model, &m->series, &m->options);
    forecast_pool_free(pool);
}

/* Admit who is due and fits, step all that run, retire who is finished. */
static size_t
step_members(struct forecast_pool *pool, const struct model *model, struct member *members,
    size_t n_members, size_t now)
{
    struct forecast *batch[BATCH_MAX] = {NULL};
    size_t n_batch = 0, n_done = 0;
    struct error err;

    for (size_t i = 0; i < n_members; i++) {
        struct member *m = &members[i];

        if (m->running == NULL && !m->is_checked && m->begins_at <= now) {
            m->running = forecast_begin(pool, m->series.history, m->series.minutes,
                m->series.n_past, m->series.horizon, &m->options, &err);
            if (m->running == NULL)
                assert_int_equal(err.code, ERR_UNAVAILABLE); /* full: again at the next step */
        }
        if (m->running != NULL)
            batch[n_batch++] = m->running;
    }
    forecast_step(pool, batch, n_batch);
    for (size_t i = 0; i < n_members; i++) {
        struct member *m = &members[i];

        if (m->running != NULL && forecast_progress(m->running).is_finished) {
            struct engine_result r = engine_keep(m->running, model, &m->series, m->options.samples);

            if (!engine_same_bytes(&m->alone, &r))
                fail_msg("member %zu (%s, L %zu, P %zu, S %u) returned other bytes than alone", i,
                    window_names[m->options.window], m->series.n_past, m->series.horizon,
                    m->options.samples);
            engine_clear(&r);
            forecast_end(m->running);
            m->running = NULL;
            m->is_checked = true;
        }
        n_done += m->is_checked;
    }
    return n_done;
}

static void
check_batches(
    const char *name, size_t max_context, size_t n_members, uint32_t n_slots, size_t n_batches)
{
    struct model *model = golden_model(name);
    struct forecast_pool *pool = engine_pool(model, n_slots, max_context);
    struct member *members = calloc(n_members, sizeof(*members));

    assert_non_null(members);
    assert_true(n_members <= BATCH_MAX);
    for (size_t k = 0; k < n_batches; k++) {
        size_t now = 0;

        memset(members, 0, n_members * sizeof(*members));
        for (size_t i = 0; i < n_members; i++)
            make_member(&members[i], model, max_context, 100 * (k + 1) + i);
        while (step_members(pool, model, members, n_members, now) < n_members)
            assert_true(++now < 1000);
        assert_int_equal(forecast_pool_free_slots(pool), n_slots);
        for (size_t i = 0; i < n_members; i++)
            engine_clear(&members[i].alone);
    }
    free(members);
    forecast_pool_free(pool);
    model_close(model);
}

static void
two_tasks_that_step_together_return_what_each_returns_alone(void **state)
{
    (void)state;
    check_batches("tiny-seed7", CONTEXT, 2, 8, 6);
    check_batches("tail-seed7", LONG_CONTEXT, 2, 8, 6);
}

/* More tasks than slots, begun at any time, some in rounds, some sliding. */
static void
a_task_in_any_company_returns_what_it_returns_alone(void **state)
{
    (void)state;
    for (size_t i = 0; engine_kernels(i) != NULL; i++) {
        check_batches("tiny-seed7", LONG_CONTEXT, 12, 11, 3);
        check_batches("tail-seed7", CONTEXT, 12, 3, 3);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_engine_is_the_twin_at_every_length_of_tiny),
        cmocka_unit_test(the_engine_is_the_twin_at_every_length_of_odd_widths),
        cmocka_unit_test(a_long_prefill_is_the_twin_too),
        cmocka_unit_test(every_instruction_set_is_the_twin),
        cmocka_unit_test(without_overflow_all_windows_return_the_same_bytes),
        cmocka_unit_test(a_horizon_as_long_as_the_context_is_the_twin_too),
        cmocka_unit_test(the_smallest_contexts_are_the_twin_too),
        cmocka_unit_test(temperature_0_is_greedy),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes_and_another_seed_another_path),
        cmocka_unit_test(the_number_of_slots_leaves_no_trace_in_the_values),
        cmocka_unit_test(a_path_does_not_depend_on_how_many_others_were_asked_for),
        cmocka_unit_test(two_tasks_that_step_together_return_what_each_returns_alone),
        cmocka_unit_test(a_task_in_any_company_returns_what_it_returns_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
