/*
 * half_test.c - Weights, keys and values in half precision: near the reference, exact where
 * halves are exact, the same bytes in any company.
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

#include "tests/model/engine_run.h"
#include "tests/model/golden.h"
#include "tests/model/walk.h"
#include "tests/model/weight_image.h"

#define CONTEXT 48

/* Eleven bits of each weight, key and value, in models of random weights: seen, 0.003. */
#define HALF_LOGIT 0.02f

static struct forecast_pool *
pool_of(const struct model *model, uint32_t n_slots, uint32_t n_threads, enum packed_format kv)
{
    struct forecast_pool_options options = {
        .n_slots = n_slots, .max_context = CONTEXT, .clip = 5.0f, .n_threads = n_threads, .kv = kv};
    struct error err;
    struct forecast_pool *pool = forecast_pool_new(model, &options, &err);

    if (pool == NULL)
        fail_msg("%s", err.text);
    return pool;
}

static struct model *
good_model(enum packed_format weights)
{
    struct image image = image_read(IMAGE_MODEL);
    struct model *model;
    struct error err;

    image_write(&image, 0);
    image_clear(&image);
    if ((model = image_open_as(IMAGE_MODEL, weights, &err)) == NULL)
        fail_msg("%s", err.text);
    return model;
}

static void
the_precision_names_what_is_kept_in_halves(void **state)
{
    static const char *const names[2][2] = {{"fp32", "fp16-kv"}, {"fp16-weights", "fp16"}};

    (void)state;
    for (int weights = PACKED_F32; weights <= PACKED_F16; weights++) {
        struct model *model = good_model((enum packed_format)weights);
        size_t bytes[2];

        for (int kv = PACKED_F32; kv <= PACKED_F16; kv++) {
            struct forecast_pool *pool = pool_of(model, 16, 1, (enum packed_format)kv);

            assert_string_equal(forecast_pool_precision(pool), names[weights][kv]);
            bytes[kv] = forecast_pool_bytes(pool);
            forecast_pool_free(pool);
        }
        assert_true(bytes[PACKED_F16] < bytes[PACKED_F32]);
        model_close(model);
    }
}

/* Every float of the model file replaced by the nearest half, as a float. */
static void
write_rounded_model(void)
{
    struct image image = image_read(IMAGE_MODEL);

    for (size_t i = 0; i + sizeof(float) <= image.data_bytes; i += sizeof(float)) {
        float x;

        memcpy(&x, image.data + i, sizeof(x));
        x = packed_widen(packed_half(x));
        if (isfinite(x))
            memcpy(image.data + i, &x, sizeof(x));
    }
    image_write(&image, 0);
    image_clear(&image);
}

static void
weights_that_are_halves_compute_the_same_bytes_as_float32(void **state)
{
    struct walk walk;
    struct engine_series series = walk_series(walk_make(&walk, 5), 30, 12);
    struct forecast_options options = engine_sampled(3, 11);
    struct model *whole, *half;
    struct error err;

    (void)state;
    write_rounded_model();
    whole = image_open_as(IMAGE_MODEL, PACKED_F32, &err);
    half = image_open_as(IMAGE_MODEL, PACKED_F16, &err);
    assert_true(whole != NULL && half != NULL);
    for (size_t i = 0; engine_kernels(i) != NULL; i++) {
        struct forecast_pool *a = pool_of(whole, 3, 1, PACKED_F32);
        struct forecast_pool *b = pool_of(half, 3, 1, PACKED_F32);
        struct engine_result x = engine_run(a, whole, &series, &options);
        struct engine_result y = engine_run(b, half, &series, &options);

        assert_true(engine_same_bytes(&x, &y));
        engine_clear(&x);
        engine_clear(&y);
        forecast_pool_free(a);
        forecast_pool_free(b);
    }
    model_close(whole);
    model_close(half);
}

static float
largest_difference(const float *a, const float *b, size_t n)
{
    float largest = 0.0f;

    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(b[i]));
        largest = fmaxf(largest, fabsf(a[i] - b[i]));
    }
    return largest;
}

static void
halves_stay_near_the_reference(void **state)
{
    struct golden *golden = golden_open("tiny-seed7");
    struct model *models[2] = {good_model(PACKED_F32), good_model(PACKED_F16)};
    size_t n_compared = 0;

    (void)state;
    for (size_t i = 0; engine_kernels(i) != NULL; i++)
        for (size_t k = 0; k < golden->n_cases; k++) {
            const struct golden_case *c = &golden->cases[k];
            struct engine_series series = {c->history, c->minutes, c->n_past, c->horizon};
            struct forecast_options greedy = engine_greedy(FORECAST_EXACT);

            if (c->first_s1_logits == NULL || c->max_context != CONTEXT || c->horizon > CONTEXT)
                continue;
            for (int form = 1; form < 4; form++) { /* weights, keys and values, both */
                struct model *model = models[form & 1];
                struct forecast_pool *pool =
                    pool_of(model, 1, 1, form & 2 ? PACKED_F16 : PACKED_F32);
                struct engine_result r = engine_run(pool, model, &series, &greedy);
                float off =
                    largest_difference(c->first_s1_logits, r.first_s1_logits, c->n_s1_logits);

                if (!(off <= HALF_LOGIT))
                    fail_msg("%s, form %d: a logit is off by %g", c->name, form, (double)off);
                assert_true(off > 0.0f); /* it was half precision */
                n_compared++;
                engine_clear(&r);
                forecast_pool_free(pool);
            }
        }
    assert_true(n_compared > 0);
    model_close(models[0]);
    model_close(models[1]);
    golden_close(golden);
}

/* One task of five samples alone, in rounds, with threads, and beside another: not one bit differs. */
static void
halves_return_the_same_bytes_in_any_company(void **state)
{
    static const uint32_t slots[] = {5, 2, 8}, threads[] = {1, 2, 3};
    struct walk walk, other;
    struct engine_series series = walk_series(walk_make(&walk, 8), 41, 14);
    struct engine_series beside = walk_series(walk_make(&other, 9), 13, 14);
    struct model *model = good_model(PACKED_F16);
    struct error err;

    (void)state;
    for (size_t i = 0; engine_kernels(i) != NULL; i++) {
        struct forecast_options options = engine_sampled(5, 3), one = engine_sampled(1, 4);
        struct engine_result alone = {0};

        for (size_t k = 0; k < 3; k++) {
            struct forecast_pool *pool = pool_of(model, slots[k] + 1, threads[k], PACKED_F16);
            struct forecast *batch[2];
            struct engine_result r;
            size_t n = k == 0 ? 1 : 2;

            options.max_slots = slots[k];
            batch[0] = forecast_begin(pool, series.history, series.minutes, series.n_past,
                series.horizon, &options, &err);
            batch[1] = forecast_begin(
                pool, beside.history, beside.minutes, beside.n_past, beside.horizon, &one, &err);
            assert_true(batch[0] != NULL && batch[1] != NULL);
            while (!forecast_progress(batch[0]).is_finished)
                forecast_step(pool, batch, n);
            r = engine_keep(batch[0], model, &series, options.samples);
            forecast_end(batch[0]);
            forecast_end(batch[1]);
            forecast_pool_free(pool);
            if (k == 0) {
                alone = r;
                continue;
            }
            assert_true(engine_same_bytes(&alone, &r));
            engine_clear(&r);
        }
        engine_clear(&alone);
    }
    model_close(model);
}

static void
a_weight_beyond_half_precision_is_refused_naming_its_layer(void **state)
{
    static const struct {
        const char *tensor, *layer;
    } cases[] = {
        {"transformer.1.ffn.w2.weight", "transformer.1.ffn.w2: "},
        {"transformer.0.self_attn.k_proj.weight", "transformer.0.self_attn.k_proj: "},
        {"head.proj_s2.weight", "head.proj_s2: "},
        {"dep_layer.cross_attn.out_proj.weight", "dep_layer.cross_attn.out_proj: "},
    };
    const float large = -65520.0f;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image image = image_read(IMAGE_MODEL);
        struct model *model;
        struct error err;

        memcpy(image.data + image_begin(&image, cases[i].tensor) + 12, &large, sizeof(large));
        image_write(&image, 0);
        image_clear(&image);
        assert_null(image_open_as(IMAGE_MODEL, PACKED_F16, &err));
        assert_int_equal(err.code, ERR_INVALID);
        if (strncmp(err.text, cases[i].layer, strlen(cases[i].layer)) != 0)
            fail_msg("%s: %s", cases[i].layer, err.text);
        assert_non_null(strstr(err.text, "65504"));
        assert_non_null(model = image_open_as(IMAGE_MODEL, PACKED_F32, &err));
        model_close(model);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_precision_names_what_is_kept_in_halves),
        cmocka_unit_test(weights_that_are_halves_compute_the_same_bytes_as_float32),
        cmocka_unit_test(halves_stay_near_the_reference),
        cmocka_unit_test(halves_return_the_same_bytes_in_any_company),
        cmocka_unit_test(a_weight_beyond_half_precision_is_refused_naming_its_layer),
    };

    return cmocka_run_group_tests(tests, image_make_folder, image_remove_folder);
}
