/*
 * equality_test.c - 200 random tasks: what each returns alone it returns in any company.
 *
 * Every task is run alone once, then all of them are run in pools with any number of slots and
 * threads: begun at any step, in rounds, beside tasks of other modes that slide or do not, some
 * of them stopped half way and begun again later, in whatever slots are free. Not one bit of a
 * forecast may tell. The seed is printed; KRONOSQ_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/model/engine_run.h"
#include "tests/model/golden.h"
#include "tests/model/walk.h"

#define TASKS       200
#define CONTEXT     32
#define HORIZON_MAX 16
#define SLOTS_ALONE 3 /* so that the longest tasks alone run in rounds as well */
#define SLOTS_MAX   16

static const char *const window_names[] = {"exact", "fit", "block"};

struct random_task {
    struct walk walk;
    struct engine_series series;
    struct forecast_options options;
    struct engine_result alone;
    struct forecast *running; /* NULL: not yet, or done */
    atomic_bool stop;
    size_t stops_at; /* steps after its beginning; 0: never */
    size_t n_steps;
    bool is_done;
};

static uint64_t seed, state;
static size_t n_tasks;

static uint64_t
below(uint64_t n)
{
    return walk_random(&state) % n;
}

static float
one_of(const float *values, size_t n)
{
    return values[below(n)];
}

/* Histories that fit with their horizon, that fill the context to the bar, and that slide at once. */
static size_t
random_length(size_t horizon)
{
    switch (below(4)) {
    case 0:
        return 1 + below(8);
    case 1:
        return CONTEXT - horizon + below(3);
    case 2:
        return CONTEXT - 1 + below(12);
    default:
        return 1 + below(CONTEXT + 30);
    }
}

static void
make_task(struct random_task *t, const struct model *model, struct forecast_pool *pool)
{
    static const float temperatures[] = {0.0f, 0.1f, 0.7f, 1.0f, 1.0f, 3.0f};
    static const float top_ps[] = {0.01f, 0.5f, 0.9f, 1.0f};
    static const uint32_t top_ks[] = {0, 0, 0, 1, 2, 7, 100000};
    size_t horizon = 1 + below(HORIZON_MAX);

    walk_make(&t->walk, walk_random(&state));
    t->series = walk_series(&t->walk, random_length(horizon), horizon);
    t->options = engine_sampled(1 + (uint32_t)below(7), walk_random(&state));
    t->options.window = (enum forecast_window)below(3);
    t->options.temperature = one_of(temperatures, sizeof(temperatures) / sizeof(temperatures[0]));
    t->options.top_p = one_of(top_ps, sizeof(top_ps) / sizeof(top_ps[0]));
    t->options.top_k = top_ks[below(sizeof(top_ks) / sizeof(top_ks[0]))];
    t->alone = engine_run(pool, model, &t->series, &t->options);
    t->options.stop = &t->stop;
}

static void
begin(struct random_task *t, struct forecast_pool *pool)
{
    struct error err;

    t->options.max_slots = (uint32_t)below(5); /* 0: as many as there are */
    atomic_store(&t->stop, false);
    t->stops_at = below(6) == 0 ? 1 + below(t->series.horizon) : 0;
    t->n_steps = 0;
    t->running = forecast_begin(pool, t->series.history, t->series.minutes, t->series.n_past,
        t->series.horizon, &t->options, &err);
    if (t->running == NULL)
        assert_int_equal(err.code, ERR_UNAVAILABLE); /* full: another time */
}

static void
compare(struct random_task *t, const struct model *model, size_t i, const char *company)
{
    struct engine_result r = engine_keep(t->running, model, &t->series, t->options.samples);

    if (!engine_same_bytes(&t->alone, &r))
        fail_msg("task %zu (%s, L %zu, P %zu, S %u, T %g, k %u, p %g) of seed %llu returned other "
                 "bytes than alone in %s",
            i, window_names[t->options.window], t->series.n_past, t->series.horizon,
            t->options.samples, (double)t->options.temperature, t->options.top_k,
            (double)t->options.top_p, (unsigned long long)seed, company);
    engine_clear(&r);
}

/* One step of all that run; returns how many ended for good. */
static size_t
step(struct random_task *tasks, const struct model *model, struct forecast_pool *pool,
    const char *company)
{
    struct forecast *batch[SLOTS_MAX];
    size_t n_batch = 0, n_done = 0, first = below(n_tasks);

    /* from anywhere on, so that the order in a batch is not that of beginning */
    for (size_t k = 0; k < n_tasks; k++) {
        struct random_task *t = &tasks[(first + k) % n_tasks];

        if (t->running == NULL)
            continue;
        if (t->stops_at > 0 && t->n_steps == t->stops_at)
            atomic_store(&t->stop, true);
        t->n_steps++;
        batch[n_batch++] = t->running;
    }
    forecast_step(pool, batch, n_batch);
    for (size_t i = 0; i < n_tasks; i++) {
        struct random_task *t = &tasks[i];
        struct forecast_progress progress;

        if (t->running == NULL)
            continue;
        progress = forecast_progress(t->running);
        if (!progress.is_finished && !progress.is_stopped)
            continue;
        if (progress.is_finished) {
            atomic_store(&t->stop, false);
            compare(t, model, i, company);
            t->is_done = true;
            n_done++;
        }
        forecast_end(t->running);
        t->running = NULL;
    }
    return n_done;
}

/* All tasks through one pool, in whatever order and company chance brings them. */
static void
run_together(
    struct random_task *tasks, const struct model *model, uint32_t n_slots, size_t n_threads)
{
    struct forecast_pool *pool = engine_pool_of(model, n_slots, CONTEXT, n_threads);
    size_t n_done = 0, n_steps = 0;
    char company[64];

    snprintf(company, sizeof(company), "%u slots with %zu threads", n_slots, n_threads);
    for (size_t i = 0; i < n_tasks; i++)
        tasks[i].is_done = false;
    while (n_done < n_tasks) {
        size_t n_tries = below(4), first = below(n_tasks);

        for (size_t k = 0; k < n_tasks && n_tries > 0; k++) {
            struct random_task *t = &tasks[(first + k) % n_tasks];

            if (t->is_done || t->running != NULL)
                continue;
            begin(t, pool);
            n_tries--;
        }
        n_done += step(tasks, model, pool, company);
        assert_true(++n_steps < 100000);
    }
    assert_int_equal(forecast_pool_free_slots(pool), n_slots);
    forecast_pool_free(pool);
}

static void
check_model(const char *name, size_t n)
{
    struct model *model = golden_model(name);
    struct forecast_pool *alone = engine_pool(model, SLOTS_ALONE, CONTEXT);
    struct random_task *tasks = calloc(n, sizeof(*tasks));

    assert_non_null(tasks);
    n_tasks = n;
    for (size_t i = 0; i < n_tasks; i++)
        make_task(&tasks[i], model, alone);
    forecast_pool_free(alone);
    run_together(tasks, model, 1, 1);
    run_together(tasks, model, SLOTS_MAX, 1);
    run_together(tasks, model, 2 + (uint32_t)below(SLOTS_MAX - 2), 2);
    run_together(tasks, model, SLOTS_MAX, 3);
    for (size_t i = 0; i < n_tasks; i++)
        engine_clear(&tasks[i].alone);
    free(tasks);
    model_close(model);
}

static void
random_tasks_of_even_widths_return_the_same_bytes_in_any_company(void **unused)
{
    (void)unused;
    check_model("tiny-seed7", TASKS);
}

static void
random_tasks_of_odd_widths_return_the_same_bytes_in_any_company(void **unused)
{
    (void)unused;
    check_model("tail-seed7", TASKS / 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_tasks_of_even_widths_return_the_same_bytes_in_any_company),
        cmocka_unit_test(random_tasks_of_odd_widths_return_the_same_bytes_in_any_company),
    };
    const char *given = getenv("KRONOSQ_SEED");

    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < 8; i++)
        walk_random(&state);
    print_message("KRONOSQ_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
