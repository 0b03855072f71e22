/*
 * golden_test.c - Does the engine return what the Python reference returned?
 *
 * Every recorded case of the small random models, with every instruction set this machine
 * has; with KRONOSQ_FULL=1 (scripts/test --full) also those of the real shapes, with the best.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/engine_run.h"
#include "tests/model/golden.h"
#include "tests/model/twin.h"

/* Is the first wrong context token one whose pre-sign value is a tie? By the twin. */
static void
check_context_tie(const struct model *model, const struct golden_case *c, size_t place)
{
    size_t s1_bits = model->config.s1_bits, bits = s1_bits + model->config.s2_bits;
    float *z = calloc(c->n_past * MODEL_INPUTS, sizeof(float));
    float *signs = calloc(c->n_past * bits, sizeof(float));
    uint16_t *s1 = calloc(c->n_past, sizeof(uint16_t)), *s2 = calloc(c->n_past, sizeof(uint16_t));
    float mean[MODEL_INPUTS], std[MODEL_INPUTS], nearest = INFINITY;

    assert_true(z != NULL && signs != NULL && s1 != NULL && s2 != NULL);
    twin_normalise(c->history, c->n_past, 5.0f, mean, std, z);
    twin_tokenize(model, z, c->n_past, s1, s2, signs);
    for (size_t j = 0; j < bits; j++)
        nearest = fminf(nearest, fabsf(signs[place * bits + j]));
    if (!(nearest <= GOLDEN_TIE))
        fail_msg("%s: context token %zu differs and is no tie: the nearest value to 0 is %g",
            c->name, place, (double)nearest);
    free(z);
    free(signs);
    free(s1);
    free(s2);
}

/* At the first step taken otherwise than recorded: are both choices equally good? By the twin. */
static void
check_step_tie(const struct model *model, const struct golden_case *c,
    const struct engine_result *r, size_t step)
{
    size_t length = c->n_past + step;
    size_t start = length > c->max_context ? length - c->max_context : 0;
    uint16_t *s1 = calloc(length, sizeof(uint16_t)), *s2 = calloc(length, sizeof(uint16_t));
    float *s1_logits = calloc((size_t)1 << model->config.s1_bits, sizeof(float));
    float *s2_logits = calloc((size_t)1 << model->config.s2_bits, sizeof(float));
    float gap;

    assert_true(s1 != NULL && s2 != NULL && s1_logits != NULL && s2_logits != NULL);
    memcpy(s1, c->context_s1, c->n_past * sizeof(uint16_t));
    memcpy(s2, c->context_s2, c->n_past * sizeof(uint16_t));
    memcpy(s1 + c->n_past, c->generated_s1, step * sizeof(uint16_t));
    memcpy(s2 + c->n_past, c->generated_s2, step * sizeof(uint16_t));
    twin_step(model, s1 + start, s2 + start, c->minutes + start, length - start,
        c->generated_s1[step], s1_logits, s2_logits);
    gap = r->generated_s1[step] != c->generated_s1[step]
              ? fabsf(s1_logits[r->generated_s1[step]] - s1_logits[c->generated_s1[step]])
              : fabsf(s2_logits[r->generated_s2[step]] - s2_logits[c->generated_s2[step]]);
    if (!(gap <= GOLDEN_TIE))
        fail_msg("%s: step %zu took (%u, %u), recorded is (%u, %u), and their logits differ by %g",
            c->name, step, r->generated_s1[step], r->generated_s2[step], c->generated_s1[step],
            c->generated_s2[step], (double)gap);
    free(s1);
    free(s2);
    free(s1_logits);
    free(s2_logits);
}

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Everything up to the first tie, if there is one: what follows a tie is another forecast. */
static void
compare_case(const struct model *model, const struct golden_case *c, const struct engine_result *r)
{
    size_t place = smaller(golden_first_difference(c->context_s1, r->context_s1, c->n_past),
        golden_first_difference(c->context_s2, r->context_s2, c->n_past));
    size_t step = smaller(golden_first_difference(c->generated_s1, r->generated_s1, c->horizon),
        golden_first_difference(c->generated_s2, r->generated_s2, c->horizon));

    if (place < c->n_past) {
        check_context_tie(model, c, place);
        print_message("%s: a tie at context token %zu, not compared from there\n", c->name, place);
        return;
    }
    if (c->first_s1_logits != NULL && (step > 0 || c->generated_s1[0] == r->generated_s1[0])) {
        assert_true(
            golden_compare_logits(c->name, c->first_s1_logits, r->first_s1_logits, c->n_s1_logits));
        assert_true(
            golden_compare_logits(c->name, c->first_s2_logits, r->first_s2_logits, c->n_s2_logits));
    }
    if (step < c->horizon) {
        check_step_tie(model, c, r, step);
        print_message("%s: a tie at step %zu, not compared from there\n", c->name, step);
        return;
    }
    assert_true(
        golden_compare_forecast(c->name, c->history, c->n_past, c->forecast, r->mean, c->horizon));
}

/* ${n_slots} below the samples of a case makes it run in rounds. */
static void
check_case(const struct model *model, const struct golden_case *c, uint32_t n_slots)
{
    struct engine_series series = {
        .history = c->history, .minutes = c->minutes, .n_past = c->n_past, .horizon = c->horizon};
    struct forecast_options options = engine_greedy(FORECAST_EXACT);
    struct forecast_pool *pool = engine_pool(model, n_slots, c->max_context);
    float *mean = calloc(c->horizon * MODEL_INPUTS, sizeof(float));
    struct engine_result r;
    struct error err;

    options.samples = (uint32_t)c->samples;
    r = engine_run(pool, model, &series, &options);
    compare_case(model, c, &r);

    /* the short way through the contract is the same way */
    assert_non_null(mean);
    assert_int_equal(forecast_run(pool, c->history, c->minutes, c->n_past, c->horizon, &options,
                         NULL, NULL, mean, NULL, &err),
        0);
    assert_memory_equal(mean, r.mean, c->horizon * MODEL_INPUTS * sizeof(float));
    assert_int_equal(forecast_pool_free_slots(pool), n_slots);
    free(mean);
    engine_clear(&r);
    forecast_pool_free(pool);
}

static void
check_all_cases(const char *name)
{
    struct golden *golden = golden_open(name);
    struct model *model = golden_model(name);

    assert_true(golden->n_cases > 0);
    for (size_t i = 0; i < golden->n_cases; i++) {
        check_case(model, &golden->cases[i], (uint32_t)golden->cases[i].samples);
        if (golden->cases[i].samples > 1)
            check_case(model, &golden->cases[i], 1);
    }
    model_close(model);
    golden_close(golden);
}

static void
the_tiny_model_returns_what_the_reference_returned(void **state)
{
    (void)state;
    for (size_t i = 0; engine_kernels(i) != NULL; i++)
        check_all_cases("tiny-seed7");
}

static void
odd_widths_return_what_the_reference_returned(void **state)
{
    (void)state;
    for (size_t i = 0; engine_kernels(i) != NULL; i++)
        check_all_cases("tail-seed7");
}

static void
the_mini_shape_returns_what_the_reference_returned(void **state)
{
    (void)state;
    if (!golden_is_full())
        skip();
    check_all_cases("mini-seed22");
}

static void
the_small_shape_returns_what_the_reference_returned(void **state)
{
    (void)state;
    if (!golden_is_full())
        skip();
    check_all_cases("small-seed21");
}

static void
the_base_shape_returns_what_the_reference_returned(void **state)
{
    (void)state;
    if (!golden_is_full())
        skip();
    check_all_cases("base-seed23");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tiny_model_returns_what_the_reference_returned),
        cmocka_unit_test(odd_widths_return_what_the_reference_returned),
        cmocka_unit_test(the_mini_shape_returns_what_the_reference_returned),
        cmocka_unit_test(the_small_shape_returns_what_the_reference_returned),
        cmocka_unit_test(the_base_shape_returns_what_the_reference_returned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
