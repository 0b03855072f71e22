/*
 * block.c - One transformer block with keys and values remembered.
 *
 * Does not know the tokenizer from the model, nor tasks; allocates nothing. Attention works
 * on groups of rows that share a history, so that one reading of its keys and values serves
 * all of them; how rows are grouped never shows in a value.
 */
#include "worker/kronos/block.h"

#include <math.h>
#include <string.h>

#include "worker/kronos/kernels.h"

#define LINE_FLOATS 16 /* of a cache line */

static size_t
round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

int
kv_shape_init(struct kv_shape *shape, size_t d, size_t n_positions)
{
    size_t v_floats;

    if (n_positions > SIZE_MAX / 8 || d == 0 || n_positions == 0)
        return -1;
    shape->n_positions = n_positions;
    shape->k_positions = round_up(n_positions + KERNELS_OVERRUN, KERNELS_KEY_TILE);
    if (__builtin_mul_overflow(d, shape->k_positions, &shape->k_floats) ||
        __builtin_mul_overflow(d, n_positions, &v_floats) || v_floats > SIZE_MAX / 4 ||
        shape->k_floats > SIZE_MAX / 4)
        return -1;
    shape->layer_floats = shape->k_floats + round_up(v_floats, LINE_FLOATS);
    return 0;
}

void
rope_fill(struct rope *rope, size_t n_positions, size_t e)
{
    rope->half = e / 2;
    for (size_t i = 0; i < rope->half; i++) {
        /* The reference's tables are float32 at every step; so are these. */
        float exponent = (float)(2 * i) / (float)e;
        float inverse = 1.0f / (float)pow(10000.0, (double)exponent);

        for (size_t p = 0; p < n_positions; p++) {
            float angle = (float)p * inverse;

            rope->cosine[p * rope->half + i] = (float)cos((double)angle);
            rope->sine[p * rope->half + i] = (float)sin((double)angle);
        }
    }
}

void
block_linear(float *y, const float *x, size_t n_rows, const struct linear *l, bool is_added)
{
    kernels_packed(y, l->n_out, x, l->n_in, n_rows, &l->packed, is_added);
}

/* The end of the run of rows from ${m} that write to one slab; their positions follow. */
static size_t
run_end(const struct block_row *rows, size_t m, size_t n_rows)
{
    size_t end = m + 1;

    while (end < n_rows && rows[end].own == rows[m].own && rows[end].n_shared == rows[m].n_shared &&
           rows[end].position == rows[end - 1].position + 1)
        end++;
    return end;
}

void
block_store(const struct kv_shape *shape, size_t n_heads, size_t d, size_t layer, const float *k,
    const float *v, const struct block_row *rows, size_t n_rows)
{
    size_t e = d / n_heads;

    for (size_t m = 0, end; m < n_rows; m = end) {
        float *keys = rows[m].own + layer * shape->layer_floats;
        float *values = keys + shape->k_floats;

        end = run_end(rows, m, n_rows);
        for (size_t h = 0; h < n_heads; h++)
            kernels_store_keys(keys + h * e * shape->k_positions, rows[m].position,
                k + m * d + h * e, d, end - m, e);
        for (size_t i = m; i < end; i++)
            for (size_t h = 0; h < n_heads; h++)
                memcpy(values + (h * shape->n_positions + rows[i].position) * e, v + i * d + h * e,
                    e * sizeof(float));
    }
}

/* The end of the group from ${m} that one pass over a shared history serves. */
static size_t
group_end(const struct block_row *rows, size_t m, size_t n_rows)
{
    size_t end = m + 1;

    while (
        end < n_rows && end - m < BLOCK_QUERIES && rows[end].n_shared == rows[m].n_shared &&
        (rows[m].n_shared == 0 ? rows[end].own == rows[m].own : rows[end].shared == rows[m].shared))
        end++;
    return end;
}

/* One head of one group: q and mixed point at the head of the group's first row. */
static void
attend_group(const struct kv_shape *shape, size_t e, size_t d, size_t layer, size_t head,
    struct block_scratch *scratch, const float *q, float *mixed, const struct block_row *rows,
    size_t n_rows)
{
    size_t stride = scratch->scores_stride, n_shared = rows[0].n_shared;
    size_t k_at = layer * shape->layer_floats + head * e * shape->k_positions;
    size_t v_at = layer * shape->layer_floats + shape->k_floats + head * shape->n_positions * e;
    float sums[BLOCK_QUERIES];

    if (n_shared > 0)
        kernels_scores(
            scratch->scores, stride, q, d, rows[0].shared + k_at, 0, n_shared, n_rows, e);
    for (size_t m = 0, end; m < n_rows; m = end) {
        size_t n;

        end = run_end(rows, m, n_rows);
        n = rows[end - 1].position + 1; /* seen by the last of the run; the others see less */
        kernels_scores(scratch->scores + m * stride, stride, q + m * d, d, rows[m].own + k_at,
            n_shared, n, end - m, e);
        for (size_t i = m; i < end; i++) {
            float *s = scratch->scores + i * stride;

            sums[i] = kernels_softmax(s, (size_t)rows[i].position + 1);
            memset(s + rows[i].position + 1, 0, (n - rows[i].position - 1) * sizeof(float));
            memset(mixed + i * d, 0, e * sizeof(float));
        }
    }
    if (n_shared > 0)
        kernels_mix(mixed, d, scratch->scores, stride, rows[0].shared + v_at, n_rows, n_shared, e);
    for (size_t m = 0, end; m < n_rows; m = end) {
        size_t n;

        end = run_end(rows, m, n_rows);
        n = rows[end - 1].position + 1;
        /* A weight of zero adds nothing, so what a row must not see does not show. */
        kernels_mix(mixed + m * d, d, scratch->scores + m * stride + n_shared, stride,
            rows[m].own + v_at + n_shared * e, end - m, n - n_shared, e);
        for (size_t i = m; i < end; i++)
            for (size_t c = 0; c < e; c++)
                mixed[i * d + c] /= sums[i];
    }
}

void
block_attend(const struct kv_shape *shape, size_t n_heads, size_t d, size_t layer,
    struct block_scratch *scratch, const float *q, float *mixed, const struct block_row *rows,
    size_t n_rows)
{
    size_t e = d / n_heads;

    /* Head by head: one head's keys and values stay in the cache while all rows look. */
    for (size_t head = 0; head < n_heads; head++)
        for (size_t m = 0, end; m < n_rows; m = end) {
            end = group_end(rows, m, n_rows);
            attend_group(shape, e, d, layer, head, scratch, q + m * d + head * e,
                mixed + m * d + head * e, rows + m, end - m);
        }
}

void
block_forward(const struct block_weights *w, const struct block_size *size,
    const struct kv_shape *shape, const struct rope *rope, size_t layer,
    struct block_scratch *scratch, const struct block_row *rows, size_t n_rows,
    bool is_only_remembered)
{
    const struct attention_weights *a = &w->attention;
    struct block_scratch *s = scratch;
    size_t d = size->d, e = d / size->n_heads;
    float scale = 1.0f / sqrtf((float)e);

    kernels_rms(s->normed, s->x, w->norm1, n_rows, d);
    block_linear(s->k, s->normed, n_rows, &a->k, false);
    block_linear(s->v, s->normed, n_rows, &a->v, false);
    for (size_t m = 0; m < n_rows; m++)
        kernels_rotate(s->k + m * d, rope->cosine + rows[m].position * rope->half,
            rope->sine + rows[m].position * rope->half, size->n_heads, e, 1.0f);
    block_store(shape, size->n_heads, d, layer, s->k, s->v, rows, n_rows);
    if (is_only_remembered)
        return;

    block_linear(s->q, s->normed, n_rows, &a->q, false);
    for (size_t m = 0; m < n_rows; m++)
        kernels_rotate(s->q + m * d, rope->cosine + rows[m].position * rope->half,
            rope->sine + rows[m].position * rope->half, size->n_heads, e, scale);
    block_attend(shape, size->n_heads, d, layer, s, s->q, s->mixed, rows, n_rows);
    block_linear(s->x, s->mixed, n_rows, &a->out, true);

    kernels_rms(s->normed, s->x, w->norm2, n_rows, d);
    block_linear(s->gate, s->normed, n_rows, &w->w1, false);
    block_linear(s->up, s->normed, n_rows, &w->w3, false);
    kernels_silu_mul(s->gate, s->up, n_rows * size->ff);
    block_linear(s->x, s->gate, n_rows, &w->w2, true);
}

bool
block_tick(const struct block_watch *watch)
{
    if (watch->ticks != NULL)
        atomic_fetch_add_explicit(watch->ticks, 1, memory_order_relaxed);
    return watch->stop != NULL && atomic_load_explicit(watch->stop, memory_order_relaxed);
}
