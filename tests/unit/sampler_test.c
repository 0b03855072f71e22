/*
 * sampler_test.c - Which tokens may be drawn, and how often they are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "worker/kronos/philox.h"
#include "worker/kronos/sampler.h"

#define VOCABULARY_MAX 65536

static float weight[VOCABULARY_MAX];
static uint32_t key[VOCABULARY_MAX], key_next[VOCABULARY_MAX];
static uint16_t order[VOCABULARY_MAX], order_next[VOCABULARY_MAX];
static const struct sampler_scratch scratch = {weight, key, key_next, order, order_next};

static uint16_t
draw(const float *logits, size_t n, float temperature, uint32_t top_k, float top_p, double unit)
{
    struct sampler_options options = {temperature, top_k, top_p};
    uint16_t token = 0;

    assert_int_equal(sampler_draw(logits, n, &options, unit, &scratch, &token), 0);
    assert_true(token < n);
    return token;
}

/* Which of up to 64 tokens can come out at all: the unit interval, finely. */
static uint64_t
possible(const float *logits, size_t n, float temperature, uint32_t top_k, float top_p)
{
    uint64_t seen = 0;

    for (int i = 0; i < 4096; i++)
        seen |= UINT64_C(1) << draw(logits, n, temperature, top_k, top_p, i / 4096.0);
    return seen;
}

static void
temperature_zero_and_top_k_one_take_the_lowest_index_among_equals(void **state)
{
    const float logits[] = {1.0f, 3.0f, 2.0f, 3.0f, 3.0f};

    (void)state;
    for (double unit = 0.0; unit < 1.0; unit += 0.1) {
        assert_int_equal(draw(logits, 5, 0.0f, 0, 0.5f, unit), 1);
        assert_int_equal(draw(logits, 5, 1.0f, 1, 1.0f, unit), 1);
        assert_int_equal(draw(logits, 5, 0.0f, 3, 1.0f, unit), 1);
    }
}

static void
a_vocabulary_of_one_is_always_drawn(void **state)
{
    const float logits[] = {-7.0f};

    (void)state;
    assert_int_equal(draw(logits, 1, 1.0f, 0, 0.1f, 0.99), 0);
    assert_int_equal(draw(logits, 1, 1.0f, 5, 0.1f, 0.99), 0);
}

static void
top_k_keeps_the_ties_of_the_kth(void **state)
{
    const float logits[] = {0.0f, 2.0f, 1.0f, 1.0f, -1.0f, 1.0f};

    (void)state;
    assert_int_equal(possible(logits, 6, 1.0f, 2, 1.0f), 1u << 1 | 1u << 2 | 1u << 3 | 1u << 5);
    assert_int_equal(possible(logits, 6, 1.0f, 4, 1.0f), 1u << 1 | 1u << 2 | 1u << 3 | 1u << 5);
    assert_int_equal(possible(logits, 6, 1.0f, 5, 1.0f), 0x2f);
    assert_int_equal(possible(logits, 6, 1.0f, 6, 1.0f), 0x3f);
    assert_int_equal(possible(logits, 6, 1.0f, 1000, 1.0f), 0x3f);
}

static void
plus_and_minus_zero_are_ties(void **state)
{
    const float logits[] = {0.0f, -0.0f, -1.0f};

    (void)state;
    assert_int_equal(possible(logits, 3, 1.0f, 1, 1.0f), 1);
    assert_int_equal(possible(&logits[0], 2, 1.0f, 2, 1.0f), 3);
    assert_int_equal(possible((const float[]){-0.0f, 0.0f, 1.0f}, 3, 1.0f, 2, 1.0f), 7);
}

static void
top_k_makes_top_p_ignored_as_the_reference_does(void **state)
{
    const float logits[] = {0.0f, 0.1f, 0.2f, 0.3f};

    (void)state;
    assert_int_equal(possible(logits, 4, 1.0f, 3, 0.01f), 0xe);
}

/* Probabilities 1/4, 1/8, 1/2, 1/8. */
static void
top_p_keeps_the_token_that_crosses(void **state)
{
    const float logits[] = {-0.69314718f, -1.38629436f, 0.0f, -1.38629436f};

    (void)state;
    assert_int_equal(possible(logits, 4, 1.0f, 0, 0.4f), 1u << 2);
    assert_int_equal(possible(logits, 4, 1.0f, 0, 0.6f), 1u << 2 | 1u << 0);
    assert_int_equal(possible(logits, 4, 1.0f, 0, 0.7f), 1u << 2 | 1u << 0);
    assert_int_equal(possible(logits, 4, 1.0f, 0, 0.8f), 1u << 2 | 1u << 0 | 1u << 1);
    assert_int_equal(possible(logits, 4, 1.0f, 0, 0.9f), 0xf);
    assert_int_equal(possible(logits, 4, 1.0f, 0, 1.0f), 0xf);
}

/* Dropped is a token whose PRECEDING sum exceeds top_p; equal is not more. */
static void
a_preceding_sum_equal_to_top_p_keeps_the_next(void **state)
{
    const float logits[] = {1.0f, 1.0f, 1.0f, 1.0f};

    (void)state;
    assert_int_equal(possible(logits, 4, 1.0f, 0, 0.25f), 3);
    assert_int_equal(possible(logits, 4, 1.0f, 0, 0.2499f), 1);
    assert_int_equal(possible(logits, 4, 1.0f, 0, 0.5f), 7);
}

static void
the_first_token_always_stays(void **state)
{
    const float logits[] = {0.0f, 5.0f, 0.0f};

    (void)state;
    assert_int_equal(possible(logits, 3, 1.0f, 0, 1e-30f), 1u << 1);
}

static void
a_tiny_temperature_neither_overflows_nor_strays(void **state)
{
    const float logits[] = {3e38f, -3e38f, 2e38f};

    (void)state;
    assert_int_equal(possible(logits, 3, 1e-30f, 0, 0.9f), 1);
    assert_int_equal(possible(logits, 3, 1e-45f, 2, 0.9f), 1);
}

static void
logits_that_are_not_finite_are_refused_with_a_legal_token(void **state)
{
    const float bad[][3] = {
        {NAN, NAN, NAN},
        {0.0f, NAN, 1.0f},
        {INFINITY, 0.0f, 0.0f},
        {-INFINITY, -INFINITY, -INFINITY},
    };
    const float masked[] = {-INFINITY, 1.0f, -INFINITY};
    struct sampler_options options = {1.0f, 0, 0.9f};
    uint16_t token;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        token = 99;
        assert_int_equal(sampler_draw(bad[i], 3, &options, 0.5, &scratch, &token), -1);
        assert_true(token < 3);
    }
    assert_int_equal(possible(masked, 3, 1.0f, 0, 0.9f), 1u << 1);
}

static void
the_largest_vocabulary_is_sorted_right(void **state)
{
    float *logits = malloc(VOCABULARY_MAX * sizeof(float));

    (void)state;
    assert_non_null(logits);
    for (uint32_t i = 0; i < VOCABULARY_MAX; i++)
        logits[i] = (float)((i * 40503u) % VOCABULARY_MAX) / 1000.0f - 30.0f;
    for (int i = 0; i < 100; i++) {
        uint16_t token = draw(logits, VOCABULARY_MAX, 1000.0f, 3, 1.0f, i / 100.0);

        assert_true(logits[token] >= 35.533f - 1e-3f);
    }
    free(logits);
}

/* Chi-square of 200,000 draws against the probabilities, for a fixed seed. */
static void
tokens_come_as_often_as_they_should(void **state)
{
    enum { N = 16, DRAWS = 200000 };
    float logits[N];
    double p[N], sum = 0.0, chi_square = 0.0;
    uint32_t count[N] = {0};

    (void)state;
    for (int i = 0; i < N; i++) {
        logits[i] = sinf((float)i * 1.7f) * 2.0f;
        p[i] = exp((double)logits[i] / 0.8);
        sum += p[i];
    }
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct philox_block counter = {{i, 0, 0, 0}};

        count[draw(logits, N, 0.8f, 0, 1.0f, philox_unit(philox(counter, 42)))]++;
    }
    for (int i = 0; i < N; i++) {
        double expected = p[i] / sum * DRAWS;

        chi_square += (count[i] - expected) * (count[i] - expected) / expected;
    }
    assert_true(chi_square < 37.7); /* 15 degrees of freedom: 0.1 % of fair generators exceed it */
    assert_true(chi_square > 3.0);  /* and 0.05 % fall below: too good is no chance either */
}

static void
what_top_p_leaves_is_drawn_in_proportion(void **state)
{
    enum { DRAWS = 100000 };
    const float logits[] = {-0.69314718f, -1.38629436f, 0.0f, -1.38629436f};
    uint32_t count[4] = {0};

    (void)state;
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct philox_block counter = {{i, 1, 1, 0}};

        count[draw(logits, 4, 1.0f, 0, 0.7f, philox_unit(philox(counter, 7)))]++;
    }
    assert_int_equal(count[1] + count[3], 0);
    assert_true(abs((int)count[2] - DRAWS * 2 / 3) < 600); /* four deviations */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_zero_and_top_k_one_take_the_lowest_index_among_equals),
        cmocka_unit_test(a_vocabulary_of_one_is_always_drawn),
        cmocka_unit_test(top_k_keeps_the_ties_of_the_kth),
        cmocka_unit_test(plus_and_minus_zero_are_ties),
        cmocka_unit_test(top_k_makes_top_p_ignored_as_the_reference_does),
        cmocka_unit_test(top_p_keeps_the_token_that_crosses),
        cmocka_unit_test(a_preceding_sum_equal_to_top_p_keeps_the_next),
        cmocka_unit_test(the_first_token_always_stays),
        cmocka_unit_test(a_tiny_temperature_neither_overflows_nor_strays),
        cmocka_unit_test(logits_that_are_not_finite_are_refused_with_a_legal_token),
        cmocka_unit_test(the_largest_vocabulary_is_sorted_right),
        cmocka_unit_test(tokens_come_as_often_as_they_should),
        cmocka_unit_test(what_top_p_leaves_is_drawn_in_proportion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
