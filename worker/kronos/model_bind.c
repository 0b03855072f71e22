/*
 * model_bind.c - Find every tensor of a tokenizer and a model, and hand out pointers.
 *
 * A float32 tensor at an aligned offset is used where it lies in the mapping. Everything else
 * (F16, BF16, a float at an odd offset) is copied once into memory of our own. Tensors the
 * forward pass does not read are not looked for: rotary.inv_freq, tokenizer.bsq.*,
 * post_quant_embed_pre, and whatever else a file may hold.
 *
 * Every value is looked at once here: one NaN in an embedding row would otherwise
 * show up weeks later, in the one forecast that draws that token. It costs a pass over
 * memory that packing needs anyway (about 10 ms per 100 MB).
 */
#include "worker/kronos/model_bind.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/kronos/safetensors.h"

#define NAME_MAX_BYTES 96 /* of a tensor we look for: "dep_layer.cross_attn.out_proj.weight" */
#define COPY_ALIGNMENT 64 /* a cache line, the widest vector */

const uint32_t model_time_rows[TIME_FEATURES] = {
    [TIME_MINUTE] = 60,
    [TIME_HOUR] = 24,
    [TIME_WEEKDAY] = 7,
    [TIME_DAY] = 32,
    [TIME_MONTH] = 13,
};

struct model_files {
    struct safetensors tokenizer, model;
    float **copies; /* [n_copies], ours */
    size_t n_copies;
};

/* Where tensors are looked up. After the first failure every lookup returns NULL. */
struct binder {
    const struct safetensors *file; /* NULL: nothing is looked up, sizes and numbers are noted */
    struct model_files *files;
    uint64_t n_parameters;
    bool has_failed;
    struct error *err;
};

static uint32_t
bits_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;

    if (exponent == 0x1f) /* infinity or NaN */
        return sign | 0x7f800000u | fraction << 13;
    if (exponent != 0)
        return sign | (exponent + 127 - 15) << 23 | fraction << 13;
    if (fraction == 0)
        return sign;
    /* a subnormal half is a normal float: shift its first one out of the fraction */
    exponent = 127 - 15 + 1;
    while ((fraction & 0x400u) == 0) {
        fraction <<= 1;
        exponent--;
    }
    return sign | exponent << 23 | (fraction & 0x3ffu) << 13;
}

static void
widen(float *out, const unsigned char *data, size_t n, enum tensor_type type)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t narrow;
        uint32_t bits;

        memcpy(&narrow, data + 2 * i, sizeof(narrow));
        bits = type == TENSOR_F16 ? bits_of_half(narrow) : (uint32_t)narrow << 16;
        memcpy(&out[i], &bits, sizeof(bits));
    }
}

/* The exponent is all ones: infinity or NaN. Integers, so that no flag can optimise it away. */
static bool
is_finite(const float *values, size_t n)
{
    uint32_t n_bad = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof(bits));
        n_bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return n_bad == 0;
}

static const float *
fail(struct binder *b)
{
    b->has_failed = true;
    return NULL;
}

/* The values of ${t}, n of them, in place or copied; NULL when out of memory. */
static const float *
values_of(struct binder *b, const struct tensor *t, size_t n)
{
    const unsigned char *data = b->file->data + t->begin;
    size_t bytes = (n * sizeof(float) + COPY_ALIGNMENT - 1) / COPY_ALIGNMENT * COPY_ALIGNMENT;
    float *copy;

    if (t->type == TENSOR_F32 && (uintptr_t)data % _Alignof(float) == 0)
        return (const float *)(const void *)data;
    if ((copy = aligned_alloc(COPY_ALIGNMENT, bytes)) == NULL)
        return NULL;
    b->files->copies[b->files->n_copies++] = copy;
    if (t->type == TENSOR_F32)
        memcpy(copy, data, n * sizeof(float));
    else
        widen(copy, data, n, t->type);
    return copy;
}

/*
 * The tensor ${name} of shape [n_rows, n_columns], or [n_rows] when n_columns is 0. The
 * limits of model.h keep the product small; the bytes behind it were checked against
 * the shape when the file was opened. Without a file it is only counted.
 */
static const float *
bind(struct binder *b, uint32_t n_rows, uint32_t n_columns, const char *name)
{
    uint64_t wanted[2] = {n_rows, n_columns};
    uint32_t n_dims = n_columns > 0 ? 2 : 1;
    size_t n = (size_t)n_rows * (n_columns > 0 ? n_columns : 1);
    char found_text[TENSOR_SHAPE_MAX], wanted_text[TENSOR_SHAPE_MAX];
    const struct tensor *t;
    const float *values;

    if (b->has_failed)
        return NULL;
    if (b->file == NULL) {
        b->n_parameters += n;
        return NULL;
    }
    tensor_format_shape(wanted, n_dims, wanted_text);
    if ((t = safetensors_find(b->file, name)) == NULL) {
        error_set(
            b->err, ERR_CORRUPT, "tensor %s %s is missing in %s", name, wanted_text, b->file->path);
        return fail(b);
    }
    if (t->type == TENSOR_OTHER) {
        error_set(b->err, ERR_CORRUPT, "tensor %s: wanted F32, F16 or BF16, found %s, in %s", name,
            t->type_name, b->file->path);
        return fail(b);
    }
    if (t->n_dims != n_dims || memcmp(t->shape, wanted, n_dims * sizeof(wanted[0])) != 0) {
        tensor_format_shape(t->shape, t->n_dims, found_text);
        error_set(b->err, ERR_CORRUPT, "tensor %s: wanted shape %s, found %.60s, in %s", name,
            wanted_text, found_text, b->file->path);
        return fail(b);
    }
    if ((values = values_of(b, t, n)) == NULL) {
        error_set(b->err, ERR_MEMORY, "out of memory for tensor %s of %s", name, b->file->path);
        return fail(b);
    }
    if (!is_finite(values, n)) {
        error_set(b->err, ERR_CORRUPT, "tensor %s holds a value that is not finite, in %s", name,
            b->file->path);
        return fail(b);
    }
    b->n_parameters += n;
    return values;
}

enum bias { WITH_BIAS, WITHOUT_BIAS };

/* ${prefix}.${name}.weight and .bias; an empty prefix is left out with its dot. */
static struct linear
bind_linear(struct binder *b, uint32_t n_out, uint32_t n_in, enum bias bias, const char *prefix,
    const char *name)
{
    const char *dot = prefix[0] != '\0' ? "." : "";
    struct linear linear = {.n_out = n_out, .n_in = n_in};
    char full[NAME_MAX_BYTES];

    snprintf(full, sizeof(full), "%s%s%s.weight", prefix, dot, name);
    linear.weight = bind(b, n_out, n_in, full);
    if (bias == WITH_BIAS) {
        snprintf(full, sizeof(full), "%s%s%s.bias", prefix, dot, name);
        linear.bias = bind(b, n_out, 0, full);
    }
    return linear;
}

static const float *
bind_norm(struct binder *b, uint32_t d, const char *prefix, const char *name)
{
    char full[NAME_MAX_BYTES];

    snprintf(full, sizeof(full), "%s.%s.weight", prefix, name);
    return bind(b, d, 0, full);
}

static struct attention_weights
bind_attention(struct binder *b, uint32_t d, const char *prefix)
{
    return (struct attention_weights){
        .q = bind_linear(b, d, d, WITH_BIAS, prefix, "q_proj"),
        .k = bind_linear(b, d, d, WITH_BIAS, prefix, "k_proj"),
        .v = bind_linear(b, d, d, WITH_BIAS, prefix, "v_proj"),
        .out = bind_linear(b, d, d, WITH_BIAS, prefix, "out_proj"),
    };
}

/* ${n} blocks "${prefix}.0" ...; NULL after a failure. The caller's to free. */
static struct block_weights *
bind_blocks(struct binder *b, uint32_t n, uint32_t d, uint32_t ff, const char *prefix)
{
    struct block_weights *blocks;
    char name[NAME_MAX_BYTES / 2], attention[NAME_MAX_BYTES / 2 + 16];

    if (b->has_failed)
        return NULL;
    if ((blocks = calloc(n > 0 ? n : 1, sizeof(*blocks))) == NULL) {
        error_set(b->err, ERR_MEMORY, "out of memory for %u blocks", n);
        b->has_failed = true;
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct block_weights *w = &blocks[i];

        snprintf(name, sizeof(name), "%s.%u", prefix, i);
        snprintf(attention, sizeof(attention), "%s.self_attn", name);
        w->norm1 = bind_norm(b, d, name, "norm1");
        w->attention = bind_attention(b, d, attention);
        w->norm2 = bind_norm(b, d, name, "norm2");
        w->w1 = bind_linear(b, ff, d, WITHOUT_BIAS, name, "ffn.w1");
        w->w3 = bind_linear(b, ff, d, WITHOUT_BIAS, name, "ffn.w3");
        w->w2 = bind_linear(b, d, ff, WITHOUT_BIAS, name, "ffn.w2");
    }
    return blocks;
}

static void
bind_tokenizer(struct binder *b, const struct tokenizer_config *c, struct tokenizer_weights *w)
{
    uint32_t d = c->d_model, bits = c->s1_bits + c->s2_bits;

    w->embed = bind_linear(b, d, c->d_in, WITH_BIAS, "", "embed");
    w->head = bind_linear(b, c->d_in, d, WITH_BIAS, "", "head");
    w->encoder = bind_blocks(b, c->n_enc_layers, d, c->ff_dim, "encoder");
    w->decoder = bind_blocks(b, c->n_dec_layers, d, c->ff_dim, "decoder");
    w->quant_embed = bind_linear(b, bits, d, WITH_BIAS, "", "quant_embed");
    w->post_quant_embed = bind_linear(b, d, bits, WITH_BIAS, "", "post_quant_embed");
}

static void
bind_transformer(struct binder *b, const struct model_config *c, struct transformer_weights *w)
{
    static const char *const tables[TIME_FEATURES] = {
        [TIME_MINUTE] = "time_emb.minute_embed.weight",
        [TIME_HOUR] = "time_emb.hour_embed.weight",
        [TIME_WEEKDAY] = "time_emb.weekday_embed.weight",
        [TIME_DAY] = "time_emb.day_embed.weight",
        [TIME_MONTH] = "time_emb.month_embed.weight",
    };
    uint32_t d = c->d_model;

    w->emb_s1 = bind(b, 1u << c->s1_bits, d, "embedding.emb_s1.weight");
    w->emb_s2 = bind(b, 1u << c->s2_bits, d, "embedding.emb_s2.weight");
    w->fusion = bind_linear(b, d, 2 * d, WITH_BIAS, "embedding", "fusion_proj");
    for (int i = 0; i < TIME_FEATURES; i++)
        w->time[i] = bind(b, model_time_rows[i], d, tables[i]);
    w->blocks = bind_blocks(b, c->n_layers, d, c->ff_dim, "transformer");
    w->norm = bind(b, d, 0, "norm.weight");
    w->dep = bind_attention(b, d, "dep_layer.cross_attn");
    w->dep_norm = bind_norm(b, d, "dep_layer", "norm");
    w->head_s1 = bind_linear(b, 1u << c->s1_bits, d, WITH_BIAS, "head", "proj_s1");
    w->head_s2 = bind_linear(b, 1u << c->s2_bits, d, WITH_BIAS, "head", "proj_s2");
}

static int
open_file(struct safetensors *file, const char *dir, struct error *err)
{
    char path[PATH_MAX];

    return model_path(path, dir, "model.safetensors", err) == -1
               ? -1
               : safetensors_open(file, path, err);
}

/* All pointers and sizes of ${m}, from ${files} or, without them, the sizes alone. */
static int
bind_all(struct model *m, struct model_files *files, struct error *err)
{
    struct binder t = {.files = files, .err = err}, b = t;

    if (files != NULL) {
        t.file = &files->tokenizer;
        b.file = &files->model;
    }
    bind_tokenizer(&t, &m->tokenizer_config, &m->tokenizer);
    if (t.has_failed)
        return -1;
    bind_transformer(&b, &m->config, &m->transformer);
    if (b.has_failed)
        return -1;
    m->n_tokenizer_parameters = t.n_parameters;
    m->n_parameters = b.n_parameters;
    m->weight_bytes = (size_t)(t.n_parameters + b.n_parameters) * sizeof(float);
    return 0;
}

int
model_bind_sizes(struct model *m, struct error *err)
{
    return bind_all(m, NULL, err);
}

struct model_files *
model_bind_files(
    struct model *m, const char *model_dir, const char *tokenizer_dir, struct error *err)
{
    struct model_files *files = calloc(1, sizeof(*files));

    if (files == NULL) {
        error_set(err, ERR_MEMORY, "out of memory for %s", model_dir);
        return NULL;
    }
    if (open_file(&files->tokenizer, tokenizer_dir, err) == -1 ||
        open_file(&files->model, model_dir, err) == -1)
        goto close_files;
    files->copies =
        calloc(files->tokenizer.n_tensors + files->model.n_tensors + 1, sizeof(*files->copies));
    if (files->copies == NULL) {
        error_set(err, ERR_MEMORY, "out of memory for %s", model_dir);
        goto close_files;
    }
    if (bind_all(m, files, err) == -1)
        goto close_files;
    return files;

close_files:
    model_files_close(files);
    return NULL;
}

void
model_files_close(struct model_files *files)
{
    if (files == NULL)
        return;
    for (size_t i = 0; i < files->n_copies; i++)
        free(files->copies[i]);
    free(files->copies);
    safetensors_close(&files->tokenizer);
    safetensors_close(&files->model);
    free(files);
}

void
model_unbind(struct model *m)
{
    free(m->tokenizer.encoder);
    free(m->tokenizer.decoder);
    free(m->transformer.blocks);
    m->tokenizer = (struct tokenizer_weights){0};
    m->transformer = (struct transformer_weights){0};
}
