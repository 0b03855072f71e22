/*
 * model_pack.c - Lays a model out as one run of bytes, and points a model at such bytes.
 *
 * One walk over the model serves counting, filling and pointing, so that the three cannot
 * disagree. The tables are computed by kernels_packed_anywhere(): the same bytes on every
 * machine, because the next worker to read them may have another instruction set.
 */
#include "worker/kronos/model_pack.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/kronos/kernels.h"

enum purpose { PACK_COUNT, PACK_FILL, PACK_USE };

struct walk {
    enum purpose purpose;
    enum packed_format format; /* of the layers to come */
    char part[48];     /* that a layer's name begins with in an error: "transformer.3" or "" */
    unsigned char *to; /* PACK_FILL */
    const unsigned char *from; /* PACK_USE */
    size_t at;                 /* bytes so far */
    bool has_failed;
    struct error *err;
};

static size_t
round_up(size_t bytes)
{
    return (bytes + MODEL_PACK_ALIGNMENT - 1) / MODEL_PACK_ALIGNMENT * MODEL_PACK_ALIGNMENT;
}

static void
walk_linear(struct walk *walk, struct linear *l, const char *name)
{
    struct error err;

    if (walk->purpose == PACK_FILL && !walk->has_failed &&
        packed_fill(
            walk->to + walk->at, l->weight, l->bias, l->n_out, l->n_in, walk->format, &err) == -1) {
        walk->has_failed = true;
        error_set(walk->err, err.code, "%s%s%s: %.150s", walk->part,
            walk->part[0] != '\0' ? "." : "", name, err.text);
    }
    if (walk->purpose == PACK_USE)
        l->packed = (struct packed){
            .bytes = walk->from + walk->at,
            .n_out = l->n_out,
            .n_in = l->n_in,
            .format = walk->format,
        };
    walk->at += packed_bytes(l->n_out, l->n_in, walk->format);
}

/* ${n} floats as they are. */
static void
walk_floats(struct walk *walk, const float **values, size_t n)
{
    size_t bytes = n * sizeof(float), whole = round_up(bytes);

    if (walk->purpose == PACK_FILL) {
        memcpy(walk->to + walk->at, *values, bytes);
        memset(walk->to + walk->at + bytes, 0, whole - bytes);
    }
    if (walk->purpose == PACK_USE)
        *values = (const float *)(const void *)(walk->from + walk->at);
    walk->at += whole;
}

/* ---- tables: a layer applied to every row of an embedding ---- */

#define TABLE_ROWS 64 /* at a time */

/* table[i,:] = scale_out * (W (scale_in * embedding[i,:]) + b).  W [d, d], rows w_stride apart. */
struct table {
    const float *embedding; /* [n_rows, d] */
    const float *weight;
    size_t w_stride;
    const float *bias; /* [d] or NULL */
    size_t n_rows, d;
    float scale_in, scale_out;
};

/* 0, or -1 when out of memory. */
static int
fill_table(float *to, const struct table *t)
{
    uint32_t d = (uint32_t)t->d;
    float *weight = malloc(t->d * t->d * sizeof(float));
    float *rows = malloc(TABLE_ROWS * t->d * sizeof(float));
    void *bytes = aligned_alloc(PACKED_ALIGNMENT, packed_bytes(d, d, PACKED_F32));
    struct packed packed = {bytes, d, d, PACKED_F32};
    int rc = -1;

    if (weight == NULL || rows == NULL || bytes == NULL)
        goto free_all;
    for (size_t i = 0; i < t->d; i++)
        memcpy(weight + i * t->d, t->weight + i * t->w_stride, t->d * sizeof(float));
    if (packed_fill(bytes, weight, t->bias, d, d, PACKED_F32, NULL) == -1)
        goto free_all; /* cannot be: only a half has a range */
    for (size_t first = 0, n; first < t->n_rows; first += n) {
        n = t->n_rows - first < TABLE_ROWS ? t->n_rows - first : TABLE_ROWS;
        for (size_t i = 0; i < n * t->d; i++)
            rows[i] = t->embedding[first * t->d + i] * t->scale_in;
        kernels_packed_anywhere(to + first * t->d, t->d, rows, t->d, n, &packed, false);
    }
    for (size_t i = 0; i < t->n_rows * t->d; i++)
        to[i] *= t->scale_out;
    rc = 0;

free_all:
    free(weight);
    free(rows);
    free(bytes);
    return rc;
}

static void
walk_table(struct walk *walk, const float **values, const struct table *t)
{
    if (walk->purpose == PACK_FILL && !walk->has_failed &&
        fill_table((float *)(void *)(walk->to + walk->at), t) == -1) {
        walk->has_failed = true;
        error_set(walk->err, ERR_MEMORY, "out of memory for the tables of the model");
    }
    if (walk->purpose == PACK_USE)
        *values = (const float *)(const void *)(walk->from + walk->at);
    walk->at += round_up(t->n_rows * t->d * sizeof(float));
}

/* ---- the model ---- */

static void
walk_blocks(struct walk *walk, struct block_weights *blocks, uint32_t n, size_t d, const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        struct block_weights *w = &blocks[i];

        snprintf(walk->part, sizeof(walk->part), "%s.%u", name, (unsigned)i);
        walk_floats(walk, &w->norm1, d);
        walk_linear(walk, &w->attention.k, "self_attn.k_proj");
        walk_linear(walk, &w->attention.v, "self_attn.v_proj");
        walk_linear(walk, &w->attention.q, "self_attn.q_proj");
        walk_linear(walk, &w->attention.out, "self_attn.out_proj");
        walk_floats(walk, &w->norm2, d);
        walk_linear(walk, &w->w1, "ffn.w1");
        walk_linear(walk, &w->w3, "ffn.w3");
        walk_linear(walk, &w->w2, "ffn.w2");
    }
}

static void
walk_tokenizer(struct walk *walk, struct tokenizer_weights *w, const struct tokenizer_config *c)
{
    walk->part[0] = '\0';
    walk_linear(walk, &w->embed, "embed");
    walk_linear(walk, &w->quant_embed, "quant_embed");
    walk_linear(walk, &w->post_quant_embed, "post_quant_embed");
    walk_linear(walk, &w->head, "head");
    walk_blocks(walk, w->encoder, c->n_enc_layers, c->d_model, "encoder");
    walk_blocks(walk, w->decoder, c->n_dec_layers, c->d_model, "decoder");
}

static void
walk_tables(struct walk *walk, struct transformer_weights *w, const struct model_config *c)
{
    size_t d = c->d_model, n_s1 = (size_t)1 << c->s1_bits, n_s2 = (size_t)1 << c->s2_bits;
    struct table fused_s1 = {
        w->emb_s1, w->fusion.weight, 2 * d, w->fusion.bias, n_s1, d, sqrtf((float)d), 1.0f};
    struct table fused_s2 = {
        w->emb_s2, w->fusion.weight, 2 * d, NULL, n_s2, d, sqrtf((float)d), 1.0f};
    /* The query is of the embedding as it is, without the sqrt(d) of the model's input. */
    struct table query = {w->emb_s1, w->dep.q.weight, d, w->dep.q.bias, n_s1, d, 1.0f,
        1.0f / sqrtf((float)(d / MODEL_DEP_HEADS))};

    if (walk->purpose == PACK_FILL)
        fused_s2.weight += d; /* its half of the columns */
    walk_table(walk, &w->fused_s1, &fused_s1);
    walk_table(walk, &w->fused_s2, &fused_s2);
    walk_table(walk, &w->dep_query, &query);
}

static void
walk_transformer(struct walk *walk, struct transformer_weights *w, const struct model_config *c)
{
    size_t d = c->d_model;

    walk_tables(walk, w, c);
    for (int i = 0; i < TIME_FEATURES; i++)
        walk_floats(walk, &w->time[i], model_time_rows[i] * d);
    walk_floats(walk, &w->norm, d);
    walk_floats(walk, &w->dep_norm, d);
    walk_blocks(walk, w->blocks, c->n_layers, d, "transformer");
    walk->part[0] = '\0';
    walk_linear(walk, &w->dep.k, "dep_layer.cross_attn.k_proj");
    walk_linear(walk, &w->dep.v, "dep_layer.cross_attn.v_proj");
    walk_linear(walk, &w->head_s1, "head.proj_s1");
    walk_linear(walk, &w->dep.out, "dep_layer.cross_attn.out_proj");
    walk_linear(walk, &w->head_s2, "head.proj_s2");
}

static void
walk_model(struct walk *walk, struct model *model, enum packed_format format)
{
    walk->format = PACKED_F32;
    walk_tokenizer(walk, &model->tokenizer, &model->tokenizer_config);
    walk->format = format;
    walk_transformer(walk, &model->transformer, &model->config);
}

size_t
model_pack_bytes(const struct model *model, enum packed_format format)
{
    struct walk walk = {.purpose = PACK_COUNT};

    walk_model(&walk, (struct model *)model, format); /* only PACK_USE changes it */
    return walk.at;
}

int
model_pack_fill(const struct model *model, enum packed_format format, void *to, struct error *err)
{
    struct walk walk = {.purpose = PACK_FILL, .to = to, .err = err};

    walk_model(&walk, (struct model *)model, format);
    return walk.has_failed ? -1 : 0;
}

void
model_pack_use(struct model *model, enum packed_format format, const void *from)
{
    struct walk walk = {.purpose = PACK_USE, .from = from};

    walk_model(&walk, model, format);
    model->weights_format = format;
}
