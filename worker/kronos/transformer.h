/*
 * transformer.h - The model over rows of (s1, s2, time): hidden states, then two heads.
 *
 * A slab holds the keys and values of one sequence: C positions of every layer and of the
 * dependency layer, which remembers like one layer more.
 */
#ifndef WORKER_KRONOS_TRANSFORMER_H
#define WORKER_KRONOS_TRANSFORMER_H

#include "worker/kronos/block.h"

struct transformer {
    const struct model_config *config;
    const struct transformer_weights *weights;
    struct block_size size;
    struct kv_shape shape;
    struct rope rope;
    size_t slab_bytes; /* (n_layers + 1) * shape.layer_bytes */
    struct block_scratch *scratch;
};

struct transformer_token {
    uint16_t s1, s2;
    uint8_t time[TIME_FEATURES];
};

/**
 * transformer_pass(t, tokens, rows, n, watches, n_watches):
 * Run ${n} <= BLOCK_ROWS_MAX rows through all layers; their keys and values stay in their slabs.
 * Returns c [n, d], the final hidden states, valid until the next call on this scratch; or
 * NULL when a watch said stop.
 */
const float *transformer_pass(struct transformer *t, const struct transformer_token *tokens,
    const struct block_row *rows, size_t n, const struct block_watch *watches, size_t n_watches);

/** transformer_s1(t, c, n, logits): c [n, d] -> logits [n, 1 << s1_bits]. */
void transformer_s1(struct transformer *t, const float *c, size_t n, float *logits);

/**
 * transformer_s2(t, c, s1, rows, n, logits): the dependency layer, given the s1 drawn; each row
 * attends positions 0..position. c [n, d] -> logits [n, 1 << s2_bits]. n <= BLOCK_ROWS_MAX.
 */
void transformer_s2(struct transformer *t, const float *c, const uint16_t *s1,
    const struct block_row *rows, size_t n, float *logits);

#endif /* WORKER_KRONOS_TRANSFORMER_H */
