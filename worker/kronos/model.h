/*
 * model.h - A Kronos tokenizer and model in memory, read-only.
 *
 * Two directories as the hub serves them, config.json and model.safetensors each.
 * Both files are treated as hostile. The forward pass computes with packed layers and tables
 * (model_pack.h), which the workers of a host share (weight_cache.h); the plain tensors they
 * were made of, weights [out, in], can be kept readable for whoever compares.
 */
#ifndef WORKER_KRONOS_MODEL_H
#define WORKER_KRONOS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/kronos/packed.h"
#include "worker/kronos/weight_cache.h"

/* Limits of what a config may ask for; checked before anything is allocated. */
#define MODEL_LAYERS_MAX  64
#define MODEL_WIDTH_MAX   4096
#define MODEL_HEADS_MAX   64
#define MODEL_FF_MAX      16384
#define MODEL_BITS_MAX    14 /* of s1 or s2: a vocabulary of 16384 */
#define MODEL_CONTEXT_MAX 4096
#define MODEL_INPUTS      6 /* open, high, low, close, volume, amount */
#define MODEL_DEP_HEADS   4 /* heads of the dependency layer, whatever the model's */

struct tokenizer_config {
    uint32_t d_in, d_model, n_heads, ff_dim;
    uint32_t n_enc_layers, n_dec_layers; /* blocks really built: the config's number less one */
    uint32_t s1_bits, s2_bits;
};
struct model_config {
    uint32_t n_layers, d_model, n_heads, ff_dim;
    uint32_t s1_bits, s2_bits;
};

/* Plain tensors are NULL unless they were asked for; what a pass reads is packed, or in a table. */
struct linear {
    const float *weight; /* [n_out, n_in] */
    const float *bias;   /* [n_out] or NULL */
    uint32_t n_out, n_in;
    struct packed packed; /* what the products read; unset for layers that live in a table */
};
struct attention_weights {
    struct linear q, k, v, out;
}; /* [d, d] with bias */
struct block_weights {
    const float *norm1, *norm2; /* [d] */
    struct attention_weights attention;
    struct linear w1, w3; /* [ff, d], no bias */
    struct linear w2;     /* [d, ff], no bias */
};
struct tokenizer_weights {
    struct linear embed;            /* [d, 6] */
    struct linear head;             /* [6, d] */
    struct block_weights *encoder;  /* [n_enc_layers] */
    struct block_weights *decoder;  /* [n_dec_layers] */
    struct linear quant_embed;      /* [s1_bits + s2_bits, d] */
    struct linear post_quant_embed; /* [d, s1_bits + s2_bits] */
};
enum { TIME_MINUTE, TIME_HOUR, TIME_WEEKDAY, TIME_DAY, TIME_MONTH, TIME_FEATURES };
/* Rows of the time tables; days and months count from 1. */
extern const uint32_t model_time_rows[TIME_FEATURES];
struct transformer_weights {
    const float *emb_s1;              /* [1 << s1_bits, d] */
    const float *emb_s2;              /* [1 << s2_bits, d] */
    struct linear fusion;             /* [d, 2d] */
    const float *time[TIME_FEATURES]; /* [model_time_rows, d] */
    struct block_weights *blocks;     /* [n_layers] */
    const float *norm;                /* [d] */
    struct attention_weights dep;     /* dep_layer.cross_attn */
    const float *dep_norm;            /* [d] */
    struct linear head_s1, head_s2;   /* [1 << bits, d] */
    /* Worked out once: fusion(E1[s1] sqrt(d), E2[s2] sqrt(d)) = fused_s1[s1] + fused_s2[s2]. */
    const float *fused_s1;  /* [1 << s1_bits, d], with the bias */
    const float *fused_s2;  /* [1 << s2_bits, d] */
    const float *dep_query; /* [1 << s1_bits, d] dep.q(E1[s1]), scaled for its heads */
};

struct model {
    struct tokenizer_config tokenizer_config;
    struct model_config config;
    struct tokenizer_weights tokenizer;
    struct transformer_weights transformer;
    enum packed_format
        weights_format;  /* of the transformer's layers; the tokenizer's are float32 */
    size_t weight_bytes; /* of both, as float32 */
    uint64_t n_parameters, n_tokenizer_parameters; /* of the tensors the forward pass reads */
    struct weight_cache weights;                   /* the packed bytes, and where they are */
    struct model_storage *storage;                 /* model.c's */
};

struct model_options {
    enum packed_format weights; /* how the transformer's layers are kept */
    bool keeps_plain;           /* the plain tensors stay readable; then nothing is cached */
    const char *cache_dir;      /* of weight_cache.h; NULL: memory of this process */
    const char *source;         /* with cache_dir: names the content of both files, by hashes */
    /* Called after both files were read to be cached: -1 unless they are still those of source. */
    int (*confirm)(void *cookie, struct error *err);
    void *confirm_cookie;
};

/**
 * model_open(model_dir, tokenizer_dir, options, err):
 * Check both directories and get their weights ready; ${options} NULL: all float32, plain tensors
 * kept. Returns a model for model_close(), or NULL: ERR_SYSTEM for a file that cannot be read,
 * ERR_INVALID for a config out of limits, the two not matching (s1_bits, s2_bits) or a weight
 * beyond half precision, ERR_CORRUPT for a bad weight file; the text names file and tensor, the
 * shape wanted and the shape found. A cache that cannot be used is no failure: weights.note.
 */
struct model *model_open(const char *model_dir, const char *tokenizer_dir,
    const struct model_options *options, struct error *err);
void model_close(struct model *model);

#endif /* WORKER_KRONOS_MODEL_H */
