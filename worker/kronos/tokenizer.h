/*
 * tokenizer.h - Candles to pairs of tokens and back, by the tokenizer's own small transformer.
 *
 * Both directions are causal: the tokens of a bar depend on the bars up to it, the candle of
 * a place on the places up to it. Hence the history of a window is decoded once, every
 * sample only adds its own rows, and a candle is known as soon as its token was drawn.
 */
#ifndef WORKER_KRONOS_TOKENIZER_H
#define WORKER_KRONOS_TOKENIZER_H

#include "worker/kronos/block.h"

struct tokenizer {
    const struct tokenizer_config *config;
    const struct tokenizer_weights *weights;
    struct block_size size;
    struct kv_shape shape;        /* to encode: the longest history */
    struct kv_shape decode_shape; /* to decode: the longest window; never larger */
    struct rope rope;
    size_t decode_bytes; /* of a slab to decode in: n_dec_layers of decode_shape */
    void *slab; /* keys and values of the rows in work; [max(encoder, decoder) layers] of shape */
    struct block_scratch *scratch;
};

/**
 * tokenizer_encode(t, x, n, watch, s1, s2): tokens of ${n} normalised bars x [n, 6], at most
 * t->shape.n_positions. Returns 0, or -1 when the watch said stop.
 */
int tokenizer_encode(struct tokenizer *t, const float *x, size_t n, const struct block_watch *watch,
    uint16_t *s1, uint16_t *s2);

/**
 * tokenizer_remember(t, slab, s1, s2, n, watch): read ${n} places, the history of a window, into
 * positions 0..n-1 of ${slab} for tokenizer_decode(). Returns 0, or -1 when the watch said stop.
 */
int tokenizer_remember(struct tokenizer *t, void *slab, const uint16_t *s1, const uint16_t *s2,
    size_t n, const struct block_watch *watch);

/**
 * tokenizer_decode(t, s1, s2, rows, n, watch, out): normalised candles out [n, 6] of ${n} places,
 * at most BLOCK_ROWS_MAX, that lie where ${rows} say, behind what their slabs remember; they are
 * remembered in turn. A candle does not depend on its company. Returns 0, or -1 when the watch
 * said stop.
 */
int tokenizer_decode(struct tokenizer *t, const uint16_t *s1, const uint16_t *s2,
    const struct block_row *rows, size_t n, const struct block_watch *watch, float *out);

#endif /* WORKER_KRONOS_TOKENIZER_H */
