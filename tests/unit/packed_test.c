/*
 * packed_test.c - Packed layers hold what was packed, and half precision rounds as IEEE 754 says.
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

#include "worker/kronos/packed.h"

/* What the bits of a half stand for, from the definition of the format. */
static double
meaning(uint16_t half)
{
    int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    double size = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);

    return half & 0x8000 ? -size : size;
}

static bool
is_number(uint16_t half)
{
    return (half & 0x7c00) != 0x7c00;
}

static void
every_half_is_widened_exactly_and_comes_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half <= 0xffff; half++) {
        float x = packed_widen((uint16_t)half);

        if (!is_number((uint16_t)half)) {
            assert_true((half & 0x3ff) == 0 ? isinf(x) : isnan(x));
            continue;
        }
        assert_true((double)x == meaning((uint16_t)half));
        assert_int_equal(signbit(x) != 0, half >> 15);
        assert_int_equal(packed_half(x), half);
    }
}

static void
what_lies_between_two_halves_goes_to_the_nearer_one_and_to_even_in_the_middle(void **state)
{
    (void)state;
    for (uint16_t half = 0; half < 0x7bff; half++) {
        uint16_t above = (uint16_t)(half + 1), even = half & 1 ? above : half;
        float middle = (float)((meaning(half) + meaning(above)) / 2); /* exact: 12 bits */

        assert_int_equal(packed_half(middle), even);
        assert_int_equal(packed_half(nextafterf(middle, 0.0f)), half);
        assert_int_equal(packed_half(nextafterf(middle, 1e9f)), above);
        assert_int_equal(packed_half(-middle), even | 0x8000);
    }
}

static void
what_is_beyond_the_largest_half_becomes_infinity(void **state)
{
    (void)state;
    assert_int_equal(packed_half(65504.0f), 0x7bff);
    assert_int_equal(packed_half(65519.0f), 0x7bff);
    assert_int_equal(packed_half(65520.0f), 0x7c00);
    assert_int_equal(packed_half(-1e30f), 0xfc00);
    assert_int_equal(packed_half(INFINITY), 0x7c00);
    assert_false(is_number(packed_half(NAN)));
    assert_int_equal(packed_half(NAN) & 0x3ff, 0x200);
}

static const uint32_t sizes[] = {1, 6, 20, 52, 63, 64, 65, 128, 130};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* Where weight [n, k] lies, read from the comment in packed.h. */
static float
weight_of(
    const unsigned char *bytes, uint32_t n_in, enum packed_format format, uint32_t n, uint32_t k)
{
    size_t size = format == PACKED_F16 ? 2 : 4, panel = 64 * (4 + n_in * size);
    const unsigned char *at = bytes + n / 64 * panel + 64 * 4 + (k * 64 + n % 64) * size;
    uint16_t half;
    float x;

    if (format == PACKED_F16) {
        memcpy(&half, at, sizeof(half));
        return packed_widen(half);
    }
    memcpy(&x, at, sizeof(x));
    return x;
}

static float
bias_of(const unsigned char *bytes, uint32_t n_in, enum packed_format format, uint32_t n)
{
    size_t panel = 64 * (4 + n_in * (format == PACKED_F16 ? 2 : 4));
    float x;

    memcpy(&x, bytes + n / 64 * panel + n % 64 * 4, sizeof(x));
    return x;
}

static void
check_layer(uint32_t n_out, uint32_t n_in, enum packed_format format, bool has_bias)
{
    size_t bytes = packed_bytes(n_out, n_in, format), filled = (n_out + 63) / 64 * 64;
    float *weight = malloc((size_t)n_out * n_in * sizeof(float));
    float *bias = malloc(n_out * sizeof(float));
    unsigned char *to = malloc(bytes), *again = malloc(bytes); /* exact: ASan sees the end */
    struct error err;

    assert_true(weight != NULL && bias != NULL && to != NULL && again != NULL);
    assert_int_equal(bytes % PACKED_ALIGNMENT, 0);
    for (size_t i = 0; i < (size_t)n_out * n_in; i++)
        weight[i] = (float)i / 128.0f - 3.0f;
    for (size_t i = 0; i < n_out; i++)
        bias[i] = (float)i + 0.1f;
    memset(to, 0xa5, bytes);
    memset(again, 0x5a, bytes);
    assert_int_equal(packed_fill(to, weight, has_bias ? bias : NULL, n_out, n_in, format, &err), 0);
    assert_int_equal(
        packed_fill(again, weight, has_bias ? bias : NULL, n_out, n_in, format, &err), 0);
    assert_memory_equal(to, again, bytes); /* nothing of what was there before */
    for (uint32_t n = 0; n < filled; n++) {
        assert_true(bias_of(to, n_in, format, n) == (n < n_out && has_bias ? bias[n] : 0.0f));
        for (uint32_t k = 0; k < n_in; k++) {
            float w = n < n_out ? weight[n * n_in + k] : 0.0f;

            if (format == PACKED_F16)
                w = packed_widen(packed_half(w));
            assert_true(weight_of(to, n_in, format, n, k) == w);
        }
    }
    free(weight);
    free(bias);
    free(to);
    free(again);
}

static void
a_layer_lies_in_panels_filled_up_with_zeros(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SIZES; i++)
        for (size_t k = 0; k < N_SIZES; k++) {
            check_layer(sizes[i], sizes[k], PACKED_F32, k % 2 == 0);
            check_layer(sizes[i], sizes[k], PACKED_F16, k % 2 == 1);
        }
}

static void
a_weight_beyond_half_precision_is_refused_as_half_and_taken_as_float(void **state)
{
    static const float bad[] = {65520.0f, -70000.0f, 3e38f};
    float weight[70 * 5] = {0};
    unsigned char to[2 * 64 * (4 + 5 * 4)];
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        weight[66 * 5 + 4] = bad[i];
        assert_int_equal(packed_fill(to, weight, NULL, 70, 5, PACKED_F16, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.text, "outputs 64..69"));
        assert_non_null(strstr(err.text, "65504"));
        assert_int_equal(packed_fill(to, weight, NULL, 70, 5, PACKED_F32, &err), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_widened_exactly_and_comes_back),
        cmocka_unit_test(
            what_lies_between_two_halves_goes_to_the_nearer_one_and_to_even_in_the_middle),
        cmocka_unit_test(what_is_beyond_the_largest_half_becomes_infinity),
        cmocka_unit_test(a_layer_lies_in_panels_filled_up_with_zeros),
        cmocka_unit_test(a_weight_beyond_half_precision_is_refused_as_half_and_taken_as_float),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
