/*
 * kernels_test.c - Every kernel of every set this machine has, against a plain loop.
 *
 * Over odd sizes, tails and unaligned offsets; inputs end where their memory ends, so that
 * the sanitizers see a read beyond. And the promise of kernels.h: a row alone is the row in
 * any batch, to the last bit.
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

#include "worker/kronos/kernels.h"
#include "worker/kronos/philox.h"

static const char *const sets[] = {"portable", "avx2", "avx512"};

/* ${n} floats in about -1..1, the same for one ${stream}; ends where its memory ends. */
static float *
numbers(size_t n, uint32_t stream)
{
    float *a = malloc((n > 0 ? n : 1) * sizeof(float));

    assert_non_null(a);
    for (size_t i = 0; i < n; i++) {
        struct philox_block counter = {{(uint32_t)i, stream, 0, 0}};

        a[i] = (float)(philox_unit(philox(counter, 99)) * 2.0 - 1.0);
    }
    return a;
}

static void
assert_near(float found, double expected, double tolerance)
{
    if (!(fabs((double)found - expected) <= tolerance))
        fail_msg("%s: %.9g, the plain loop says %.9g", kernels_name(), (double)found, expected);
}

/* Runs ${check} with every set of kernels; the best one is chosen again afterwards. */
static void
with_every_set(void (*check)(void))
{
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        if (kernels_choose(sets[i]) == -1) {
            print_message("this machine has no %s\n", sets[i]);
            continue;
        }
        check();
    }
    assert_int_equal(kernels_choose(NULL), 0);
}

static void
an_unknown_set_is_refused_and_changes_nothing(void **state)
{
    const char *before = kernels_name();

    (void)state;
    assert_int_equal(kernels_choose("avx1024"), -1);
    assert_string_equal(kernels_name(), before);
    assert_int_equal(kernels_choose("portable"), 0);
    assert_string_equal(kernels_name(), "portable");
    assert_int_equal(kernels_choose(NULL), 0);
    assert_string_equal(kernels_name(), before); /* the best one, as at the first use */
}

/* ---- y = x W^T + b ---- */

/* One layer, packed; the plain weights are what packing made of them. */
struct layer {
    float *weight, *bias;
    void *bytes;
    struct packed packed;
};

static struct layer
layer_new(size_t n_out, size_t n_in, bool has_bias, enum packed_format format)
{
    struct layer l = {
        .weight = numbers(n_out * n_in, 2),
        .bias = has_bias ? numbers(n_out, 3) : NULL,
        .bytes =
            aligned_alloc(PACKED_ALIGNMENT, packed_bytes((uint32_t)n_out, (uint32_t)n_in, format)),
        .packed = {.n_out = (uint32_t)n_out, .n_in = (uint32_t)n_in, .format = format},
    };

    assert_non_null(l.bytes);
    assert_int_equal(
        packed_fill(l.bytes, l.weight, l.bias, l.packed.n_out, l.packed.n_in, format, NULL), 0);
    for (size_t i = 0; format == PACKED_F16 && i < n_out * n_in; i++)
        l.weight[i] = packed_widen(packed_half(l.weight[i]));
    l.packed.bytes = l.bytes;
    return l;
}

static void
layer_free(struct layer *l)
{
    free(l->weight);
    free(l->bias);
    free(l->bytes);
}

static void
check_linear_case(const struct layer *l, size_t rows, size_t pad, bool is_added)
{
    size_t n_in = l->packed.n_in, n_out = l->packed.n_out;
    size_t x_stride = n_in + pad, y_stride = n_out + pad;
    float *x = numbers((rows - 1) * x_stride + n_in + 1, 1);
    float *y = numbers((rows - 1) * y_stride + n_out, 4);
    float *before = numbers((rows - 1) * y_stride + n_out, 4);

    /* one float off any alignment */
    kernels_packed(y, y_stride, x + 1, x_stride, rows, &l->packed, is_added, NULL);
    for (size_t m = 0; m < rows; m++) {
        for (size_t n = 0; n < n_out; n++) {
            double sum = l->bias != NULL ? (double)l->bias[n] : 0.0;

            if (is_added)
                sum += (double)before[m * y_stride + n];
            for (size_t k = 0; k < n_in; k++)
                sum += (double)x[1 + m * x_stride + k] * (double)l->weight[n * n_in + k];
            assert_near(y[m * y_stride + n], sum, 1e-6 * (4.0 + sqrt((double)n_in)));
        }
        for (size_t n = n_out; n < y_stride && m + 1 < rows; n++)
            assert_true(y[m * y_stride + n] == before[m * y_stride + n]);
    }
    free(x);
    free(y);
    free(before);
}

static const size_t odd_inputs[] = {1, 2, 3, 6, 7, 8, 15, 16, 17, 20, 31, 33, 52, 104, 512};

static void
check_linear(void)
{
    static const size_t outputs[] = {1, 6, 20, 52, 63, 64, 65, 150};

    for (size_t i = 0; i < sizeof(odd_inputs) / sizeof(odd_inputs[0]); i++)
        for (size_t j = 0; j < sizeof(outputs) / sizeof(outputs[0]); j++) {
            struct layer l = layer_new(
                outputs[j], odd_inputs[i], i % 2 == 0, (i + j) % 2 ? PACKED_F16 : PACKED_F32);

            /* Every number of rows where it is cheap; up to 512 rows of the smallest. */
            for (size_t rows = 1; rows <= (outputs[j] * odd_inputs[i] < 9000 ? 33 : 7); rows++)
                check_linear_case(&l, rows, rows % 3, (i + rows) % 2 == 0);
            if (outputs[j] * odd_inputs[i] < 500)
                check_linear_case(&l, 512, 1, true);
            layer_free(&l);
        }
}

static void
the_product_equals_a_plain_loop_at_every_shape_in_both_formats(void **state)
{
    (void)state;
    with_every_set(check_linear);
}

static void
check_width_832(void)
{
    for (int half = 0; half < 2; half++) {
        struct layer l = layer_new(832, 832, true, half ? PACKED_F16 : PACKED_F32);

        check_linear_case(&l, 1, 0, false);
        check_linear_case(&l, 17, 0, true);
        layer_free(&l);
    }
}

static void
the_product_equals_a_plain_loop_at_the_width_of_the_base_model(void **state)
{
    (void)state;
    with_every_set(check_width_832);
}

static void
check_company(void)
{
    enum { ROWS = 80, N_OUT = 150, N_IN = 83 };

    for (int half = 0; half < 2; half++) {
        struct layer l = layer_new(N_OUT, N_IN, true, half ? PACKED_F16 : PACKED_F32);
        float *x = numbers(ROWS * N_IN, 5);
        float *alone = calloc(ROWS * N_OUT, sizeof(float));
        float *y = calloc(ROWS * N_OUT, sizeof(float));

        assert_non_null(alone);
        assert_non_null(y);
        for (size_t m = 0; m < ROWS; m++)
            kernels_packed(alone + m * N_OUT, N_OUT, x + m * N_IN, N_IN, 1, &l.packed, false, NULL);
        for (size_t first = 0; first < 3; first++)
            for (size_t n = 1; first + n <= ROWS; n++) {
                memset(y, 0, ROWS * N_OUT * sizeof(float));
                kernels_packed(y, N_OUT, x + first * N_IN, N_IN, n, &l.packed, false, NULL);
                assert_memory_equal(y, alone + first * N_OUT, n * N_OUT * sizeof(float));
            }
        free(x);
        free(alone);
        free(y);
        layer_free(&l);
    }
}

static void
a_row_alone_is_the_row_in_any_batch_to_the_last_bit(void **state)
{
    (void)state;
    with_every_set(check_company);
}

static void
check_soon(void)
{
    enum { N_OUT = 192, N_IN = 256 };
    static const struct {
        size_t rows, n_taken;
    } cases[] = {{1, 0}, {8, 0}, {16, 5}}; /* 8 rows wait for memory themselves */
    struct layer l = layer_new(N_OUT, N_IN, true, PACKED_F32);
    float *x = numbers(16 * N_IN, 1), *alone = numbers(16 * N_OUT, 4), *y = numbers(16 * N_OUT, 5);
    void *memory = calloc(5, KERNELS_PIECE_BYTES);

    assert_non_null(memory);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kernels_soon soon = {.n = 5};

        for (size_t j = 0; j < soon.n; j++)
            soon.pieces[j] = (unsigned char *)memory + j * KERNELS_PIECE_BYTES;
        kernels_packed(alone, N_OUT, x, N_IN, cases[i].rows, &l.packed, false, NULL);
        kernels_packed(y, N_OUT, x, N_IN, cases[i].rows, &l.packed, false, &soon);
        assert_memory_equal(y, alone, cases[i].rows * N_OUT * sizeof(float));
        assert_int_equal(atomic_load(&soon.n_taken), cases[i].n_taken);
    }
    free(memory);
    free(x);
    free(alone);
    free(y);
    layer_free(&l);
}

static void
a_product_of_many_rows_fetches_what_is_read_soon_and_no_byte_tells(void **state)
{
    (void)state;
    with_every_set(check_soon);
}

/* ---- rows ---- */

static void
check_rms(void)
{
    for (size_t i = 0; i < sizeof(odd_inputs) / sizeof(odd_inputs[0]); i++) {
        size_t d = odd_inputs[i], rows = 3;
        float *x = numbers(rows * d, 8), *w = numbers(d, 9), *y = numbers(rows * d, 10);

        kernels_rms(y, x, w, rows, d);
        for (size_t m = 0; m < rows; m++) {
            double squares = 0.0;

            for (size_t k = 0; k < d; k++)
                squares += (double)x[m * d + k] * (double)x[m * d + k];
            for (size_t k = 0; k < d; k++)
                assert_near(y[m * d + k],
                    (double)x[m * d + k] / sqrt(squares / (double)d + 1e-5) * (double)w[k], 4e-6);
        }
        kernels_rms(x, x, w, rows, d); /* in place */
        assert_memory_equal(x, y, rows * d * sizeof(float));
        free(x);
        free(w);
        free(y);
    }
}

static void
the_norm_equals_a_plain_loop_also_in_place(void **state)
{
    (void)state;
    with_every_set(check_rms);
}

static int64_t
ulps(float a, float b)
{
    int32_t x, y;

    memcpy(&x, &a, sizeof(x));
    memcpy(&y, &b, sizeof(y));
    return llabs((int64_t)x - (int64_t)y);
}

static void
check_exp(void)
{
    enum { N = 1 << 16 };
    float *x = malloc(N * sizeof(float)), *y = malloc(N * sizeof(float)), lone;

    assert_non_null(x);
    assert_non_null(y);
    for (size_t i = 0; i < N; i++)
        x[i] = (float)(-86.5 + (double)i * (88.0 + 86.5) / N);
    kernels_exp(y, x, N);
    for (size_t i = 0; i < N; i++)
        if (ulps(y[i], (float)exp((double)x[i])) > 2)
            fail_msg("%s: exp(%.9g) is %.9g", kernels_name(), (double)x[i], (double)y[i]);
    /* The same in every lane and in a tail. */
    for (size_t i = 0; i < 100; i++) {
        kernels_exp(&lone, x + i * 601, 1);
        assert_memory_equal(&lone, y + i * 601, sizeof(lone));
    }
    free(x);
    free(y);
}

static void
exp_is_within_two_units_in_the_last_place(void **state)
{
    (void)state;
    with_every_set(check_exp);
}

static void
check_exp_ends(void)
{
    const float x[] = {0.0f, -0.0f, -86.7f, -1e30f, -INFINITY, 88.0f, 89.0f, INFINITY, NAN};
    float y[9];

    kernels_exp(y, x, 9);
    assert_true(y[0] == 1.0f && y[1] == 1.0f);
    assert_true(y[2] == 0.0f && y[3] == 0.0f && y[4] == 0.0f);
    assert_true(isfinite(y[5]) && y[6] == y[5] && y[7] == y[5]);
    assert_true(isnan(y[8]));
}

static void
exp_is_zero_far_below_finite_far_above_and_passes_nan(void **state)
{
    (void)state;
    with_every_set(check_exp_ends);
}

static void
check_silu(void)
{
    for (size_t n = 1; n <= 70; n++) {
        float *a = numbers(n, 11), *b = numbers(n, 12), *y = numbers(n, 11);

        for (size_t i = 0; i < n; i++)
            y[i] = a[i] *= 20.0f;
        y[n / 2] = a[n / 2] = -200.0f; /* exp(200) is beyond float32 */
        kernels_silu_mul(y, b, n);
        for (size_t i = 0; i < n; i++)
            assert_near(y[i], (double)a[i] / (1.0 + exp(-(double)a[i])) * (double)b[i], 4e-6);
        free(a);
        free(b);
        free(y);
    }
}

static void
the_gate_equals_a_plain_loop_also_far_out(void **state)
{
    (void)state;
    with_every_set(check_silu);
}

static void
heads_are_rotated_by_halves(void **state)
{
    static const size_t widths[] = {2, 4, 6, 20, 52, 64};

    (void)state;
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        size_t e = widths[i], heads = 3;
        float *x = numbers(heads * e, 13), *y = numbers(heads * e, 13);
        float *c = numbers(e / 2, 14), *s = numbers(e / 2, 15);

        kernels_rotate(y, c, s, heads, e, 0.25f);
        for (size_t h = 0; h < heads; h++)
            for (size_t k = 0; k < e / 2; k++) {
                double x1 = (double)x[h * e + k], x2 = (double)x[h * e + e / 2 + k];

                assert_near(y[h * e + k], (x1 * (double)c[k] - x2 * (double)s[k]) / 4, 1e-6);
                assert_near(
                    y[h * e + e / 2 + k], (x2 * (double)c[k] + x1 * (double)s[k]) / 4, 1e-6);
            }
        free(x);
        free(y);
        free(c);
        free(s);
    }
}

/* ---- attention ---- */

/* Room for the keys of ${n_positions} and as many values, as float32 or as halves. */
static struct kernels_kv
kv_new(size_t n_positions, size_t e, bool is_half)
{
    size_t n = (n_positions / KERNELS_KEY_TILE + 1) * KERNELS_KEY_TILE * e;
    struct kernels_kv kv = {calloc(n, is_half ? sizeof(uint16_t) : sizeof(float)), is_half};

    assert_non_null(kv.at);
    return kv;
}

static float
kv_number(struct kernels_kv kv, size_t i)
{
    return kv.is_half ? packed_widen(((uint16_t *)kv.at)[i]) : ((float *)kv.at)[i];
}

/* What is left of ${n} numbers that were kept as halves. */
static void
round_to_halves(float *x, size_t n, bool is_half)
{
    for (size_t i = 0; is_half && i < n; i++)
        x[i] = packed_widen(packed_half(x[i]));
}

static void
check_keys_stored(void)
{
    enum { E = 7, FIRST = 21 };

    for (size_t rows = 1; rows <= 40; rows++) {
        size_t stored = 0;
        float *x = numbers(rows * (E + 2), 16);
        struct kernels_kv k = kv_new(FIRST + rows, E, rows % 2 == 0);

        kernels_store_keys(k, FIRST, x, E + 2, rows, E);
        round_to_halves(x, rows * (E + 2), k.is_half);
        for (size_t m = 0; m < rows; m++)
            for (size_t i = 0; i < E; i++)
                assert_true(kv_number(k, (FIRST + m) / 16 * 16 * E + i * 16 + (FIRST + m) % 16) ==
                            x[m * (E + 2) + i]);
        for (size_t i = 0; i < ((FIRST + rows) / 16 + 1) * 16 * E; i++)
            stored += kv_number(k, i) != 0.0f;
        assert_int_equal(stored, rows * E); /* and nothing else was touched */
        free(x);
        free(k.at);
    }
}

static void
keys_are_stored_in_tiles_of_positions(void **state)
{
    (void)state;
    with_every_set(check_keys_stored);
}

static void
check_values_stored(void)
{
    enum { FIRST = 5, ROWS = 4 };

    for (size_t e = 1; e <= 70; e++) {
        float *x = numbers(ROWS * (e + 2), 26);
        struct kernels_kv v = kv_new(FIRST + ROWS, e, e % 3 != 0);
        size_t stored = 0;

        if (e > 3)
            x[3] = 70000.0f; /* beyond the halves: infinite, so that it shows */
        kernels_store_values(v, FIRST, x, e + 2, ROWS, e);
        round_to_halves(x, ROWS * (e + 2), v.is_half);
        for (size_t m = 0; m < ROWS; m++)
            for (size_t i = 0; i < e; i++)
                assert_true(kv_number(v, (FIRST + m) * e + i) == x[m * (e + 2) + i]);
        for (size_t i = 0; i < (FIRST + ROWS) * e; i++)
            stored += kv_number(v, i) != 0.0f;
        assert_int_equal(stored, ROWS * e);
        free(x);
        free(v.at);
    }
}

static void
values_are_stored_row_by_row_and_halves_are_the_nearest(void **state)
{
    (void)state;
    with_every_set(check_values_stored);
}

static const size_t positions[] = {0, 1, 2, 15, 16, 17, 48, 63, 65, 127, 128, 129, 200, 333};
static const size_t head_widths[] = {1, 2, 6, 16, 20, 48, 52, 63, 64, 65, 104, 128};

static void
check_scores_case(size_t first, size_t end, size_t e, size_t rows, bool is_half)
{
    size_t stride = end + KERNELS_OVERRUN, q_stride = e + 3;
    float *q = numbers((rows - 1) * q_stride + e, 17), *keys = numbers(stride * e, 18);
    float *s = numbers(rows * stride, 19), *one = numbers(stride, 20);
    float *before = numbers(rows * stride, 19);
    struct kernels_kv k = kv_new(stride, e, is_half);

    kernels_store_keys(k, 0, keys, e, stride, e);
    round_to_halves(keys, stride * e, is_half);
    kernels_scores(s, stride, q, q_stride, k, first, end, rows, e);
    for (size_t m = 0; m < rows; m++) {
        assert_memory_equal(s + m * stride, before + m * stride, first * sizeof(float));
        for (size_t p = first; p < end; p++) {
            double sum = 0.0;

            for (size_t i = 0; i < e; i++)
                sum += (double)q[m * q_stride + i] * (double)keys[p * e + i];
            assert_near(s[m * stride + p], sum, 1e-6 * (2.0 + sqrt((double)e)));
        }
        /* Alone, and from another beginning. */
        kernels_scores(one, stride, q + m * q_stride, q_stride, k, first / 2, end, 1, e);
        assert_memory_equal(one + first, s + m * stride + first, (end - first) * sizeof(float));
    }
    free(q);
    free(keys);
    free(k.at);
    free(s);
    free(one);
    free(before);
}

static void
check_scores(void)
{
    for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++)
        for (size_t j = 0; j < sizeof(head_widths) / sizeof(head_widths[0]); j++)
            for (size_t rows = 1; rows <= 15; rows += 2) {
                size_t n = positions[i], e = head_widths[j];
                bool is_half = (i + j + rows / 2) % 2 == 1;

                check_scores_case(0, n, e, rows, is_half);
                check_scores_case(n / 3, n, e, rows, is_half);
                check_scores_case(n, n, e, rows, is_half);
            }
}

static void
scores_equal_a_plain_loop_and_do_not_depend_on_other_queries(void **state)
{
    (void)state;
    with_every_set(check_scores);
}

static void
check_softmax(void)
{
    for (size_t n = 1; n <= 100; n++) {
        float *s = numbers(n, 21), *y = numbers(n, 21), sum, top = -INFINITY;
        double expected = 0.0;

        for (size_t p = 0; p < n; p++) {
            y[p] = s[p] *= 30.0f;
            top = fmaxf(top, s[p]);
        }
        sum = kernels_softmax(y, n);
        for (size_t p = 0; p < n; p++) {
            assert_near(y[p], exp((double)(s[p] - top)), 3e-7);
            expected += exp((double)(s[p] - top));
        }
        assert_near(sum, expected, expected * 1e-6);
        free(s);
        free(y);
    }
}

static void
softmax_equals_a_plain_loop(void **state)
{
    (void)state;
    with_every_set(check_softmax);
}

static void
check_mix(void)
{
    for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++)
        for (size_t j = 0; j < sizeof(head_widths) / sizeof(head_widths[0]); j++)
            for (size_t rows = 1; rows <= 15; rows += 2) {
                size_t n = positions[i], e = head_widths[j], y_stride = e + 5;
                float *s = numbers(rows * (n + 1), 22), *v = numbers(n * e, 23);
                float *y = numbers((rows - 1) * y_stride + e, 24);
                float *before = numbers((rows - 1) * y_stride + e, 24), *one = numbers(e, 25);
                struct kernels_kv kv = kv_new(n, e, (i + j + rows / 2) % 2 == 0);

                kernels_store_values(kv, 0, v, e, n, e);
                round_to_halves(v, n * e, kv.is_half);
                kernels_mix(y, y_stride, s + 1, n + 1, kv, 0, n, rows, e);
                for (size_t m = 0; m < rows; m++) {
                    for (size_t c = 0; c < e; c++) {
                        double sum = (double)before[m * y_stride + c];

                        for (size_t p = 0; p < n; p++)
                            sum += (double)s[1 + m * (n + 1) + p] * (double)v[p * e + c];
                        assert_near(y[m * y_stride + c], sum, 2e-6 * (2.0 + sqrt((double)n)));
                    }
                    for (size_t c = e; c < y_stride && m + 1 < rows; c++)
                        assert_true(y[m * y_stride + c] == before[m * y_stride + c]);
                    /* Alone, and in two parts: the history shared, then what is one's own. */
                    memcpy(one, before + m * y_stride, e * sizeof(float));
                    kernels_mix(one, e, s + 1 + m * (n + 1), n + 1, kv, 0, n / 3, 1, e);
                    kernels_mix(one, e, s + 1 + m * (n + 1), n + 1, kv, n / 3, n, 1, e);
                    assert_memory_equal(one, y + m * y_stride, e * sizeof(float));
                }
                free(s);
                free(v);
                free(kv.at);
                free(y);
                free(before);
                free(one);
            }
}

static void
mixing_equals_a_plain_loop_also_in_parts_and_alone(void **state)
{
    (void)state;
    with_every_set(check_mix);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_of_many_rows_fetches_what_is_read_soon_and_no_byte_tells),
        cmocka_unit_test(an_unknown_set_is_refused_and_changes_nothing),
        cmocka_unit_test(the_product_equals_a_plain_loop_at_every_shape_in_both_formats),
        cmocka_unit_test(the_product_equals_a_plain_loop_at_the_width_of_the_base_model),
        cmocka_unit_test(a_row_alone_is_the_row_in_any_batch_to_the_last_bit),
        cmocka_unit_test(the_norm_equals_a_plain_loop_also_in_place),
        cmocka_unit_test(exp_is_within_two_units_in_the_last_place),
        cmocka_unit_test(exp_is_zero_far_below_finite_far_above_and_passes_nan),
        cmocka_unit_test(the_gate_equals_a_plain_loop_also_far_out),
        cmocka_unit_test(heads_are_rotated_by_halves),
        cmocka_unit_test(keys_are_stored_in_tiles_of_positions),
        cmocka_unit_test(values_are_stored_row_by_row_and_halves_are_the_nearest),
        cmocka_unit_test(scores_equal_a_plain_loop_and_do_not_depend_on_other_queries),
        cmocka_unit_test(softmax_equals_a_plain_loop),
        cmocka_unit_test(mixing_equals_a_plain_loop_also_in_parts_and_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
