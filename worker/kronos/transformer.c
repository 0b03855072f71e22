/*
 * transformer.c - The model's forward pass, in the order of MODEL.md.
 *
 * Knows rows and slabs, not tasks, windows or sampling. What depends on a token alone, the
 * fusion of its embeddings and the dependency layer's query, is looked up (model_pack.h).
 */
#include "worker/kronos/transformer.h"

#include <string.h>

#include "worker/kronos/kernels.h"

/* x = fusion([E1[s1] sqrt(d), E2[s2] sqrt(d)]) + minute + hour + weekday + day + month */
static void
embed(struct transformer *t, const struct transformer_token *tokens, size_t n)
{
    const struct transformer_weights *w = t->weights;
    size_t d = t->size.d;

    for (size_t m = 0; m < n; m++) {
        const float *s1 = w->fused_s1 + tokens[m].s1 * d, *s2 = w->fused_s2 + tokens[m].s2 * d;
        float *x = t->scratch->x + m * d;
        const float *time[TIME_FEATURES];

        for (int f = 0; f < TIME_FEATURES; f++)
            time[f] = w->time[f] + tokens[m].time[f] * d;
        for (size_t i = 0; i < d; i++)
            x[i] = (s1[i] + s2[i]) +
                   ((((time[TIME_HOUR][i] + time[TIME_WEEKDAY][i]) + time[TIME_DAY][i]) +
                        time[TIME_MONTH][i]) +
                       time[TIME_MINUTE][i]);
    }
}

const float *
transformer_pass(struct transformer *t, const struct transformer_token *tokens,
    const struct block_row *rows, size_t n, const struct block_watch *watches, size_t n_watches)
{
    struct block_scratch *s = t->scratch;
    const struct transformer_weights *w = t->weights;
    struct block_product kv[] = {{s->k, &w->dep.k, false}, {s->v, &w->dep.v, false}};
    bool is_stopped = false;

    embed(t, tokens, n);
    block_expect(&t->shape, t->size.n_heads, t->size.d, 0, s, rows, n);
    for (size_t layer = 0; layer < t->config->n_layers; layer++) {
        bool is_last = layer + 1 == t->config->n_layers;

        block_forward(&w->blocks[layer], &t->size, &t->shape, &t->rope, layer, s, rows, n, false,
            is_last ? MODEL_DEP_HEADS : t->size.n_heads);
        for (size_t i = 0; i < n_watches; i++)
            is_stopped |= block_tick(&watches[i]);
        if (is_stopped)
            return NULL;
    }
    block_rms(s->crew, s->normed, s->x, w->norm, n, t->size.d);
    block_products(s, s->normed, n, kv, 2);
    block_store(&t->shape, MODEL_DEP_HEADS, t->size.d, t->config->n_layers, s->k, s->v, rows, n);
    return s->normed;
}

void
transformer_s1(struct transformer *t, const float *c, size_t n, float *logits)
{
    block_linear(t->scratch, logits, c, n, &t->weights->head_s1, false);
}

void
transformer_s2(struct transformer *t, const float *c, const uint16_t *s1,
    const struct block_row *rows, size_t n, float *logits)
{
    struct block_scratch *s = t->scratch;
    const struct transformer_weights *w = t->weights;
    size_t d = t->size.d;

    for (size_t m = 0; m < n; m++)
        memcpy(s->q + m * d, w->dep_query + s1[m] * d, d * sizeof(float));
    block_attend(&t->shape, MODEL_DEP_HEADS, d, t->config->n_layers, s, s->q, s->mixed, rows, n);
    memcpy(s->x, c, n * d * sizeof(float));
    block_linear(s, s->x, s->mixed, n, &w->dep.out, true);
    block_rms(s->crew, s->normed, s->x, w->dep_norm, n, d);
    block_linear(s, logits, s->normed, n, &w->head_s2, false);
}
