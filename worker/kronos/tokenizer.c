/*
 * tokenizer.c - The tokenizer's forward passes, in the order of MODEL.md. Always float32.
 *
 * Rows go through all layers in cuts of BLOCK_ROWS_MAX; later cuts find the keys and values of
 * the earlier ones in the slab.
 */
#include "worker/kronos/tokenizer.h"

#include <math.h>

/* scratch->x -> scratch->x through ${n_layers} blocks; -1 when told to stop. */
static int
run_blocks(struct tokenizer *t, const struct block_weights *blocks, size_t n_layers, size_t first,
    size_t n, bool is_last_only_remembered, const struct block_watch *watch)
{
    struct block_row rows[BLOCK_ROWS_MAX];

    for (size_t m = 0; m < n; m++)
        rows[m] = (struct block_row){.own = t->slab, .position = (uint32_t)(first + m)};
    for (size_t layer = 0; layer < n_layers; layer++) {
        block_forward(&blocks[layer], &t->size, &t->shape, &t->rope, layer, t->scratch, rows, n,
            is_last_only_remembered && layer == n_layers - 1);
        if (block_tick(watch))
            return -1;
    }
    return 0;
}

int
tokenizer_encode(struct tokenizer *t, const float *x, size_t n, const struct block_watch *watch,
    uint16_t *s1, uint16_t *s2)
{
    const struct tokenizer_config *config = t->config;
    size_t n_bits = config->s1_bits + config->s2_bits;

    for (size_t first = 0, rows; first < n; first += rows) {
        const float *z = t->scratch->normed; /* [rows, n_bits] */

        rows = n - first < BLOCK_ROWS_MAX ? n - first : BLOCK_ROWS_MAX;
        block_linear(t->scratch->crew, t->scratch->x, x + first * config->d_in, rows,
            &t->weights->embed, false);
        if (run_blocks(t, t->weights->encoder, config->n_enc_layers, first, rows, false, watch) ==
            -1)
            return -1;
        block_linear(t->scratch->crew, t->scratch->normed, t->scratch->x, rows,
            &t->weights->quant_embed, false);
        for (size_t m = 0; m < rows; m++, z += n_bits) {
            unsigned token = 0; /* bit j weighs 2^j; s1 is the low part */

            for (size_t j = 0; j < n_bits; j++)
                token |= (unsigned)(z[j] > 0.0f) << j;
            s1[first + m] = (uint16_t)(token & ((1u << config->s1_bits) - 1u));
            s2[first + m] = (uint16_t)(token >> config->s1_bits);
        }
    }
    return 0;
}

/* Tokens to scratch->x: +-1 / sqrt(bits), then post_quant_embed. */
static void
embed_tokens(struct tokenizer *t, const uint16_t *s1, const uint16_t *s2, size_t n)
{
    const struct tokenizer_config *config = t->config;
    size_t n_bits = config->s1_bits + config->s2_bits;
    float one = 1.0f / sqrtf((float)n_bits), *bits = t->scratch->normed;

    for (size_t m = 0; m < n; m++) {
        unsigned token = s1[m] | (unsigned)s2[m] << config->s1_bits;

        for (size_t j = 0; j < n_bits; j++)
            *bits++ = token >> j & 1u ? one : -one;
    }
    block_linear(t->scratch->crew, t->scratch->x, t->scratch->normed, n,
        &t->weights->post_quant_embed, false);
}

int
tokenizer_remember(struct tokenizer *t, const uint16_t *s1, const uint16_t *s2, size_t n,
    const struct block_watch *watch)
{
    for (size_t first = 0, rows; first < n; first += rows) {
        rows = n - first < BLOCK_ROWS_MAX ? n - first : BLOCK_ROWS_MAX;
        embed_tokens(t, s1 + first, s2 + first, rows);
        /* Of the last layer only keys and values are ever looked at. */
        if (run_blocks(t, t->weights->decoder, t->config->n_dec_layers, first, rows, true, watch) ==
            -1)
            return -1;
    }
    return 0;
}

int
tokenizer_decode(struct tokenizer *t, const uint16_t *s1, const uint16_t *s2, size_t first,
    size_t n, const struct block_watch *watch, float *out)
{
    embed_tokens(t, s1, s2, n);
    if (run_blocks(t, t->weights->decoder, t->config->n_dec_layers, first, n, false, watch) == -1)
        return -1;
    block_linear(t->scratch->crew, out, t->scratch->x, n, &t->weights->head, false);
    return 0;
}
