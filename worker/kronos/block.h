/*
 * block.h - One transformer block over rows that remember: x += attn(rms(x)), x += ffn(rms(x)).
 *
 * The tokenizer and the model are stacks of the same block (MODEL.md). Keys and values of
 * every position are kept in slabs of the caller's memory, so a row attends what came before
 * without computing it again. A row may see two slabs: the first n_shared positions of a
 * history it shares with other rows, then its own.
 *
 * Letters: M rows, d width, h heads, e = d / h, C positions of a slab.
 */
#ifndef WORKER_KRONOS_BLOCK_H
#define WORKER_KRONOS_BLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/kronos/crew.h"
#include "worker/kronos/kernels.h"
#include "worker/kronos/model.h"

#define BLOCK_ROWS_MAX 512 /* rows of one call, and so the size of the scratch */
#define BLOCK_QUERIES  24  /* rows whose scores are held at once; whole tiles of the kernels */

/* Where the keys and values of one layer lie in a slab: K of every head in tiles, then V [h, C, e]. */
struct kv_shape {
    bool is_half;       /* kept in 16 bits, else as float32 */
    size_t n_positions; /* C */
    size_t
        k_positions; /* room of K: C and KERNELS_OVERRUN, in whole tiles; also of a row of scores */
    size_t k_bytes;  /* of K: d * k_positions numbers */
    size_t layer_bytes; /* of K and V */
};

/* One row: its slab, its place, and the slab it shares. */
struct block_row {
    void *shared;      /* slab of positions [0, n_shared), only read; unused when n_shared is 0 */
    void *own;         /* slab of positions [n_shared, position], and where its K and V go */
    uint32_t n_shared; /* <= position + 1 */
    uint32_t position; /* rows of one slab stand together, ascending by one */
};

/* Who watches a pass over many layers; members may be NULL. */
struct block_watch {
    const atomic_bool *stop;
    atomic_uint_least64_t *ticks;
};

struct rope {
    float *cosine, *sine; /* [C, e / 2] */
    size_t half;          /* e / 2 */
};

/* Scratch for BLOCK_ROWS_MAX rows, shared by every stack of a pool: they never run at once. */
struct block_scratch {
    float *x;                 /* [M, d] the rows as they travel through the stack */
    float *normed;            /* [M, max(d, bits of a token)] */
    float *q, *k, *v, *mixed; /* [M, d] */
    float *gate, *up;         /* [M, ff] */
    float *scores;            /* [threads of the crew, BLOCK_QUERIES, scores_stride] */
    size_t scores_stride;
    struct kernels_soon soon; /* keys and values of the attention that comes next */
    struct crew *crew;        /* NULL: one thread */
};

/* One of several products over the same rows x [M, n_in]: y [M, n_out], rows without gaps. */
struct block_product {
    float *y;
    const struct linear *l;
    bool is_added; /* to what y holds */
};

struct block_size {
    size_t d, n_heads, ff;
};

/** kv_shape_init(shape, d, n_positions, is_half): -1 when the product leaves size_t. */
int kv_shape_init(struct kv_shape *shape, size_t d, size_t n_positions, bool is_half);

/** rope_fill(rope, n_positions, e): the tables, into memory the caller gave. e is even. */
void rope_fill(struct rope *rope, size_t n_positions, size_t e);

/** block_products(scratch, x, n_rows, products, n): all of them, outputs shared out among threads. */
void block_products(struct block_scratch *scratch, const float *x, size_t n_rows,
    const struct block_product *products, size_t n);
/** block_linear(scratch, y, x, n_rows, linear, is_added): one of them. */
void block_linear(struct block_scratch *scratch, float *y, const float *x, size_t n_rows,
    const struct linear *l, bool is_added);
/** block_rms(crew, y, x, w, n_rows, d): kernels_rms(), many rows shared out among threads. */
void block_rms(
    struct crew *crew, float *y, const float *x, const float *w, size_t n_rows, size_t d);

/** block_store(...): write keys k and values v [M, d] of ${rows} to their slabs at ${layer}. */
void block_store(const struct kv_shape *shape, size_t n_heads, size_t d, size_t layer,
    const float *k, const float *v, const struct block_row *rows, size_t n_rows);

/**
 * block_expect(...): the products until the next block_attend() of ${layer} fetch what ${rows} see
 * there, as far as they get.
 */
void block_expect(const struct kv_shape *shape, size_t n_heads, size_t d, size_t layer,
    struct block_scratch *scratch, const struct block_row *rows, size_t n_rows);

/**
 * block_attend(...): mixed[m] = softmax(q[m] k / scale) v over positions 0..rows[m].position, for
 * every head. q is scaled already; keys and values of the rows are stored already.
 */
void block_attend(const struct kv_shape *shape, size_t n_heads, size_t d, size_t layer,
    struct block_scratch *scratch, const float *q, float *mixed, const struct block_row *rows,
    size_t n_rows);

/**
 * block_forward(...): one block over scratch->x [M, d], in place. With ${is_only_remembered} the
 * rows' keys and values are stored and x is left as it is: for a last layer whose output
 * nobody reads. The layer after it, of ${next_heads} heads, is expected; 0: none.
 */
void block_forward(const struct block_weights *w, const struct block_size *size,
    const struct kv_shape *shape, const struct rope *rope, size_t layer,
    struct block_scratch *scratch, const struct block_row *rows, size_t n_rows,
    bool is_only_remembered, size_t next_heads);

/** block_tick(watch): one more layer done; returns true when told to stop. */
bool block_tick(const struct block_watch *watch);

#endif /* WORKER_KRONOS_BLOCK_H */
