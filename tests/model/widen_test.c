/*
 * widen_test.c - A good weight file is read exactly, however it is laid out.
 *
 * Floats at odd addresses, gaps, tensors of no interest, and 16-bit tensors, of which
 * every finite pattern is tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/weight_image.h"

/* A tensor nobody reads may hold anything: old files carry broken buffers. */
static void
tensors_that_are_not_read_are_not_looked_at(void **state)
{
    static const float nan_value = NAN;
    struct image image = image_read(IMAGE_TOKENIZER);
    struct error err;
    struct model *model;

    (void)state;
    memcpy(image.data + image_begin(&image, "post_quant_embed_pre.weight"), &nan_value,
        sizeof(nan_value));
    image_put(&image, "tokenizer.bsq.basis", "dtype", "\"U4x2\"");
    cJSON_AddItemToObject(image.header, "__metadata__", cJSON_Parse("{\"format\": \"pt\"}"));
    image_write(&image, 0);
    model = image_open(IMAGE_TOKENIZER, &err);
    if (model == NULL)
        fail_msg("%s", err.text);
    model_close(model);
    image_clear(&image);
}

static void
check_linear(const struct linear *a, const struct linear *b)
{
    assert_int_equal(a->n_out, b->n_out);
    assert_int_equal(a->n_in, b->n_in);
    assert_memory_equal(a->weight, b->weight, (size_t)a->n_out * a->n_in * sizeof(float));
    if (a->bias != NULL)
        assert_memory_equal(a->bias, b->bias, a->n_out * sizeof(float));
}

static void
check_blocks(const struct block_weights *a, const struct block_weights *b, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(a[i].norm1, b[i].norm1, d * sizeof(float));
        assert_memory_equal(a[i].norm2, b[i].norm2, d * sizeof(float));
        check_linear(&a[i].attention.q, &b[i].attention.q);
        check_linear(&a[i].attention.k, &b[i].attention.k);
        check_linear(&a[i].attention.v, &b[i].attention.v);
        check_linear(&a[i].attention.out, &b[i].attention.out);
        check_linear(&a[i].w1, &b[i].w1);
        check_linear(&a[i].w2, &b[i].w2);
        check_linear(&a[i].w3, &b[i].w3);
    }
}

/* Writers that do not fill the header up to 8 bytes leave every float at an odd address. */
static void
floats_at_odd_addresses_and_gaps_are_read_as_they_are(void **state)
{
    struct model *good = image_open_good(), *odd;
    struct error err;

    (void)state;
    for (size_t shift = 0; shift < 8; shift++) {
        struct image image = image_read(IMAGE_TOKENIZER);

        /* between two tensors that are read */
        cJSON_DeleteItemFromObjectCaseSensitive(image.header, "post_quant_embed_pre.weight");
        image_write(&image, shift);
        if ((odd = image_open(IMAGE_TOKENIZER, &err)) == NULL)
            fail_msg("%s", err.text);
        assert_int_equal((uintptr_t)odd->tokenizer.embed.weight % sizeof(float), 0);
        check_linear(&good->tokenizer.embed, &odd->tokenizer.embed);
        check_linear(&good->tokenizer.head, &odd->tokenizer.head);
        check_linear(&good->tokenizer.quant_embed, &odd->tokenizer.quant_embed);
        check_linear(&good->tokenizer.post_quant_embed, &odd->tokenizer.post_quant_embed);
        check_blocks(good->tokenizer.encoder, odd->tokenizer.encoder, 2, 32);
        check_blocks(good->tokenizer.decoder, odd->tokenizer.decoder, 2, 32);
        assert_int_equal(good->n_tokenizer_parameters, odd->n_tokenizer_parameters);
        model_close(odd);
        image_clear(&image);
    }
    model_close(good);
}

/* What a 16-bit pattern stands for, from the definition of its format. */
static float
meaning(uint16_t bits, bool is_half)
{
    int exponent_bits = is_half ? 5 : 8, fraction_bits = 15 - exponent_bits;
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    int fraction = bits & ((1 << fraction_bits) - 1);
    double size;

    if (exponent == 0) /* subnormal: no hidden one */
        size = ldexp(fraction, 1 - bias - fraction_bits);
    else
        size = ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
    return (float)((bits & 0x8000u) != 0 ? -size : size);
}

/* The ${i}th finite pattern: all positive, all negative, and round again. */
static uint16_t
pattern(size_t i, bool is_half)
{
    size_t infinity = is_half ? 0x7c00u : 0x7f80u;

    return (uint16_t)(i % infinity | (i / infinity % 2 != 0 ? 0x8000u : 0));
}

/* The model's file in 16 bits, its values counting through the patterns from first to last. */
static struct image
make_narrow_image(bool is_half)
{
    struct image image = image_read(IMAGE_MODEL);
    cJSON *item;
    char text[64];

    image.data_bytes /= 2;
    for (size_t i = 0; i < image.data_bytes / 2; i++) {
        uint16_t bits = pattern(i, is_half);

        memcpy(image.data + 2 * i, &bits, sizeof(bits));
    }
    cJSON_ArrayForEach(item, image.header)
    {
        const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");

        snprintf(text, sizeof(text), "[%d, %d]", cJSON_GetArrayItem(offsets, 0)->valueint / 2,
            cJSON_GetArrayItem(offsets, 1)->valueint / 2);
        image_put(&image, item->string, "data_offsets", text);
        image_put(&image, item->string, "dtype", is_half ? "\"F16\"" : "\"BF16\"");
    }
    return image;
}

static bool seen[65536]; /* patterns looked at */

static void
check_widened(
    const struct image *image, const char *name, const float *found, size_t n, bool is_half)
{
    size_t first = image_begin(image, name) / 2;

    for (size_t i = 0; i < n; i++) {
        uint16_t bits = pattern(first + i, is_half);
        float want = meaning(bits, is_half);

        if (memcmp(&found[i], &want, sizeof(want)) != 0)
            fail_msg("%s: pattern 0x%04x is read as %a, it stands for %a", name, bits,
                (double)found[i], (double)want);
        seen[bits] = true;
    }
}

static void
check_weight(const struct image *image, const char *name, const struct linear *linear, bool is_half)
{
    check_widened(image, name, linear->weight, (size_t)linear->n_out * linear->n_in, is_half);
}

static void
check_block(const struct image *image, size_t i, const struct block_weights *w, bool is_half)
{
    const struct linear *linears[] = {&w->attention.q, &w->attention.k, &w->attention.v,
        &w->attention.out, &w->w1, &w->w2, &w->w3};
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
        "self_attn.out_proj", "ffn.w1", "ffn.w2", "ffn.w3"};

    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        char name[64];

        snprintf(name, sizeof(name), "transformer.%zu.%s.weight", i, names[k]);
        check_weight(image, name, linears[k], is_half);
    }
}

static void
check_all_patterns(bool is_half, size_t odd)
{
    struct image image = make_narrow_image(is_half);
    const struct transformer_weights *w;
    struct error err;
    struct model *model;
    size_t n_seen = 0;

    image_write(&image, odd);
    if ((model = image_open(IMAGE_MODEL, &err)) == NULL)
        fail_msg("%s", err.text);
    w = &model->transformer;
    memset(seen, 0, sizeof(seen));
    check_widened(&image, "embedding.emb_s1.weight", w->emb_s1, 64 * 64, is_half);
    check_widened(&image, "embedding.emb_s2.weight", w->emb_s2, 64 * 64, is_half);
    check_weight(&image, "embedding.fusion_proj.weight", &w->fusion, is_half);
    check_widened(&image, "embedding.fusion_proj.bias", w->fusion.bias, 64, is_half);
    check_widened(&image, "norm.weight", w->norm, 64, is_half);
    for (size_t i = 0; i < model->config.n_layers; i++)
        check_block(&image, i, &w->blocks[i], is_half);
    check_weight(&image, "dep_layer.cross_attn.q_proj.weight", &w->dep.q, is_half);
    check_weight(&image, "dep_layer.cross_attn.out_proj.weight", &w->dep.out, is_half);
    check_weight(&image, "head.proj_s1.weight", &w->head_s1, is_half);
    check_weight(&image, "head.proj_s2.weight", &w->head_s2, is_half);
    for (size_t i = 0; i < sizeof(seen); i++)
        n_seen += seen[i];
    assert_int_equal(n_seen, 2 * (is_half ? 0x7c00 : 0x7f80));
    model_close(model);
    image_clear(&image);
}

static void
every_half_pattern_widens_to_the_value_it_stands_for(void **state)
{
    (void)state;
    check_all_patterns(true, 0);
    check_all_patterns(true, 1); /* the same at odd addresses */
}

static void
every_bfloat16_pattern_widens_to_the_value_it_stands_for(void **state)
{
    (void)state;
    check_all_patterns(false, 0);
    check_all_patterns(false, 1);
}

static void
a_narrow_infinity_or_nan_is_refused_like_a_wide_one(void **state)
{
    static const struct {
        bool is_half;
        uint16_t bits;
    } bad[] = {{true, 0x7c00}, {true, 0xfc00}, {true, 0x7e00}, {true, 0x7c01}, {false, 0x7f80},
        {false, 0xff80}, {false, 0x7fc0}, {false, 0x7f81}};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct image image = make_narrow_image(bad[i].is_half);
        struct error err;

        memcpy(image.data + image_begin(&image, "dep_layer.norm.weight"), &bad[i].bits, 2);
        image_write(&image, 0);
        assert_null(image_open(IMAGE_MODEL, &err));
        assert_int_equal(err.code, ERR_CORRUPT);
        assert_non_null(strstr(err.text, "dep_layer.norm.weight holds a value that is not finite"));
        image_clear(&image);
    }
}

/* The pair was trained together; a tokenizer of another size would index past the tables. */
static void
a_model_and_a_tokenizer_with_other_bits_are_refused_together(void **state)
{
    const char *root = getenv("KRONOSQ_TEST_MODELS");
    char model_dir[1024], tokenizer_dir[1024];
    struct error err;

    (void)state;
    if (root == NULL || root[0] == '\0')
        root = "build/test-models";
    snprintf(model_dir, sizeof(model_dir), "%s/tiny-seed7/model", root);
    snprintf(tokenizer_dir, sizeof(tokenizer_dir), "%s/tail-seed7/tokenizer", root);
    assert_null(model_open(model_dir, tokenizer_dir, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "s1_bits 6, s2_bits 6 and the tokenizer 5, 5"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_that_are_not_read_are_not_looked_at),
        cmocka_unit_test(floats_at_odd_addresses_and_gaps_are_read_as_they_are),
        cmocka_unit_test(every_half_pattern_widens_to_the_value_it_stands_for),
        cmocka_unit_test(every_bfloat16_pattern_widens_to_the_value_it_stands_for),
        cmocka_unit_test(a_narrow_infinity_or_nan_is_refused_like_a_wide_one),
        cmocka_unit_test(a_model_and_a_tokenizer_with_other_bits_are_refused_together),
    };

    return cmocka_run_group_tests(tests, image_make_folder, image_remove_folder);
}
