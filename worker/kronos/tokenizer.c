/*
 * tokenizer.c - The tokenizer's forward passes, in the order of MODEL.md. Always float32.
 *
 * Rows of a history go through all layers in cuts of BLOCK_ROWS_MAX; later cuts find the keys and
 * values of the earlier ones in the slab. A row's value does not depend on its company, so a candle
 * is the same whether it was decoded at once or at the end.
 */
#include "worker/kronos/tokenizer.h"

#include <math.h>

/* A stack of blocks, and where its rows remember. */
struct stack {
    const struct block_weights *blocks;
    size_t n_layers;
    const struct kv_shape *shape;
    bool is_last_only_remembered;
};

/* scratch->x -> scratch->x through the stack; -1 when told to stop. */
static int
run_blocks(struct tokenizer *t, const struct stack *stack, const struct block_row *rows, size_t n,
    const struct block_watch *watch)
{
    for (size_t layer = 0; layer < stack->n_layers; layer++) {
        block_forward(&stack->blocks[layer], &t->size, stack->shape, &t->rope, layer, t->scratch,
            rows, n, stack->is_last_only_remembered && layer == stack->n_layers - 1, 0);
        if (block_tick(watch))
            return -1;
    }
    return 0;
}

/* The same for ${n} places of one history, from ${first} on. */
static int
run_history(struct tokenizer *t, const struct stack *stack, void *slab, size_t first, size_t n,
    const struct block_watch *watch)
{
    struct block_row rows[BLOCK_ROWS_MAX];

    for (size_t m = 0; m < n; m++)
        rows[m] = (struct block_row){.own = slab, .position = (uint32_t)(first + m)};
    return run_blocks(t, stack, rows, n, watch);
}

int
tokenizer_encode(struct tokenizer *t, const float *x, size_t n, const struct block_watch *watch,
    uint16_t *s1, uint16_t *s2)
{
    const struct tokenizer_config *config = t->config;
    const struct stack encoder = {t->weights->encoder, config->n_enc_layers, &t->shape, false};
    size_t n_bits = config->s1_bits + config->s2_bits;

    for (size_t first = 0, rows; first < n; first += rows) {
        const float *z = t->scratch->normed; /* [rows, n_bits] */

        rows = n - first < BLOCK_ROWS_MAX ? n - first : BLOCK_ROWS_MAX;
        block_linear(
            t->scratch, t->scratch->x, x + first * config->d_in, rows, &t->weights->embed, false);
        if (run_history(t, &encoder, t->slab, first, rows, watch) == -1)
            return -1;
        block_linear(
            t->scratch, t->scratch->normed, t->scratch->x, rows, &t->weights->quant_embed, false);
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
    block_linear(
        t->scratch, t->scratch->x, t->scratch->normed, n, &t->weights->post_quant_embed, false);
}

int
tokenizer_remember(struct tokenizer *t, void *slab, const uint16_t *s1, const uint16_t *s2,
    size_t n, const struct block_watch *watch)
{
    /* Of the last layer only keys and values are ever looked at. */
    const struct stack decoder = {
        t->weights->decoder, t->config->n_dec_layers, &t->decode_shape, true};

    for (size_t first = 0, rows; first < n; first += rows) {
        rows = n - first < BLOCK_ROWS_MAX ? n - first : BLOCK_ROWS_MAX;
        embed_tokens(t, s1 + first, s2 + first, rows);
        if (run_history(t, &decoder, slab, first, rows, watch) == -1)
            return -1;
    }
    return 0;
}

int
tokenizer_decode(struct tokenizer *t, const uint16_t *s1, const uint16_t *s2,
    const struct block_row *rows, size_t n, const struct block_watch *watch, float *out)
{
    const struct stack decoder = {
        t->weights->decoder, t->config->n_dec_layers, &t->decode_shape, false};

    embed_tokens(t, s1, s2, n);
    if (run_blocks(t, &decoder, rows, n, watch) == -1)
        return -1;
    block_linear(t->scratch, out, t->scratch->x, n, &t->weights->head, false);
    return 0;
}
