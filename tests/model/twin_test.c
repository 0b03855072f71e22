/*
 * twin_test.c - Is the plain twin the model of the Python reference?
 *
 * The engine is then compared with the twin wherever the reference was not recorded:
 * at every length, in every window mode. Nothing here touches the engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/model/golden.h"
#include "tests/model/twin.h"

#define CLIP 5.0f

/*
 * The twin follows the recorded tokens, so that a tie (which the reference decided by
 * its rounding) neither fails the case nor hides the steps after it.
 */
static void
check_case(const struct model *model, const struct golden_case *c)
{
    struct twin_request request = {.history = c->history,
        .minutes = c->minutes,
        .n_past = c->n_past,
        .horizon = c->horizon,
        .max_context = c->max_context,
        .clip = CLIP,
        .window = FORECAST_EXACT,
        .follow_context_s1 = c->context_s1,
        .follow_context_s2 = c->context_s2,
        .follow_generated_s1 = c->generated_s1,
        .follow_generated_s2 = c->generated_s2};
    struct twin_forecast *f = twin_forecast_new(model, &request);

    assert_true(f->context_regret <= GOLDEN_TIE);
    assert_true(f->generated_regret <= GOLDEN_TIE);
    if (c->first_s1_logits != NULL) {
        assert_int_equal(c->n_s1_logits, (size_t)1 << model->config.s1_bits);
        assert_int_equal(c->n_s2_logits, (size_t)1 << model->config.s2_bits);
        assert_true(
            golden_compare_logits(c->name, c->first_s1_logits, f->first_s1_logits, c->n_s1_logits));
        assert_true(
            golden_compare_logits(c->name, c->first_s2_logits, f->first_s2_logits, c->n_s2_logits));
    }
    assert_true(golden_compare_forecast(
        c->name, c->history, c->n_past, c->forecast, f->forecast, c->horizon));
    twin_forecast_free(f);
}

static void
check_all_cases(const char *name, size_t max_past)
{
    struct golden *golden = golden_open(name);
    struct model *model = golden_model(name);
    size_t n_checked = 0;

    for (size_t i = 0; i < golden->n_cases; i++) {
        if (golden->cases[i].n_past > max_past)
            continue;
        check_case(model, &golden->cases[i]);
        n_checked++;
    }
    assert_true(n_checked > 0);
    model_close(model);
    golden_close(golden);
}

static void
the_twin_returns_what_the_reference_returned_for_tiny(void **state)
{
    (void)state;
    check_all_cases("tiny-seed7", SIZE_MAX);
}

static void
the_twin_returns_what_the_reference_returned_for_odd_widths(void **state)
{
    (void)state;
    check_all_cases("tail-seed7", SIZE_MAX);
}

/* Of the real shapes only the short histories: the twin is as slow as it is plain. */
static void
the_twin_returns_what_the_reference_returned_for_the_mini_shape(void **state)
{
    (void)state;
    if (!golden_is_full())
        skip();
    check_all_cases("mini-seed22", 100);
}

/* The twin must be able to fail: one recorded token changed is seen. */
static void
a_token_that_is_not_the_best_is_reported_as_regret(void **state)
{
    struct golden *golden = golden_open("tiny-seed7");
    struct model *model = golden_model("tiny-seed7");
    struct golden_case *c = &golden->cases[0];
    struct twin_request request = {.history = c->history,
        .minutes = c->minutes,
        .n_past = c->n_past,
        .horizon = c->horizon,
        .max_context = c->max_context,
        .clip = CLIP,
        .window = FORECAST_EXACT,
        .follow_context_s1 = c->context_s1,
        .follow_context_s2 = c->context_s2,
        .follow_generated_s1 = c->generated_s1,
        .follow_generated_s2 = c->generated_s2};
    struct twin_forecast *f;

    (void)state;
    c->context_s2[3] ^= 1u;
    c->generated_s1[1] ^= 1u;
    f = twin_forecast_new(model, &request);
    assert_true(f->context_regret > GOLDEN_TIE);
    assert_true(f->generated_regret > GOLDEN_TIE);
    assert_false(golden_compare_forecast(
        "(expected to differ)", c->history, c->n_past, c->forecast, f->forecast, c->horizon));
    twin_forecast_free(f);
    model_close(model);
    golden_close(golden);
}

/*
 * x[i] = (i * i * 7919 mod 1000003) / 1000 in float32; the sums are numpy 1.24's
 * np.sum of that array, which a sum in order or in double does not give.
 */
static void
a_column_is_added_as_numpy_adds_it(void **state)
{
    static const struct {
        size_t n;
        float sum;
    } known[] = {{1, 0.0f}, {7, 720.629028f}, {8, 1108.66003f}, {9, 1615.47607f}, {15, 5037.77588f},
        {16, 5819.54785f}, {24, 9241.68164f}, {64, 28837.1953f}, {127, 62337.332f},
        {128, 63062.4961f}, {129, 63807.0078f}, {130, 64586.6953f}, {136, 67890.4453f},
        {255, 131042.805f}, {256, 131974.234f}, {257, 132952.266f}, {300, 153828.656f},
        {400, 204170.281f}, {508, 254924.594f}, {999, 499434.688f}, {1000, 499580.875f}};
    static float x[1000];

    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        x[i] = (float)(i * i * 7919 % 1000003) / 1000.0f;
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
        assert_memory_equal(
            &(float){twin_pairwise_sum(x, known[k].n)}, &known[k].sum, sizeof(float));
}

static void
without_overflow_all_windows_are_one(void **state)
{
    struct golden *golden = golden_open("tiny-seed7");
    struct model *model = golden_model("tiny-seed7");
    struct golden_case *c = &golden->cases[0];

    (void)state;
    assert_true(c->n_past + c->horizon - 1 <= c->max_context);
    for (int window = FORECAST_EXACT; window <= FORECAST_BLOCK; window++) {
        struct twin_request request = {.history = c->history,
            .minutes = c->minutes,
            .n_past = c->n_past,
            .horizon = c->horizon,
            .max_context = c->max_context,
            .clip = CLIP,
            .window = (enum forecast_window)window};
        struct twin_forecast *f = twin_forecast_new(model, &request);

        assert_memory_equal(f->generated_s1, c->generated_s1, c->horizon * sizeof(uint16_t));
        assert_memory_equal(f->generated_s2, c->generated_s2, c->horizon * sizeof(uint16_t));
        twin_forecast_free(f);
    }
    model_close(model);
    golden_close(golden);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_is_added_as_numpy_adds_it),
        cmocka_unit_test(the_twin_returns_what_the_reference_returned_for_tiny),
        cmocka_unit_test(the_twin_returns_what_the_reference_returned_for_odd_widths),
        cmocka_unit_test(the_twin_returns_what_the_reference_returned_for_the_mini_shape),
        cmocka_unit_test(a_token_that_is_not_the_best_is_reported_as_regret),
        cmocka_unit_test(without_overflow_all_windows_are_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
