/*
 * kernels.h - The arithmetic under the model: equations over float32 arrays, no model in sight.
 *
 * There is one matrix product, kernels_packed(), for any number of rows. It has one order of
 * summation: the value of a row is the same whatever the number of rows beside it, so
 * sequences of different tasks share a call.
 *
 * Everything exists for AVX-512, for AVX2 with FMA and F16C and for any other machine; the best
 * is chosen at the first use, or by kernels_choose().
 *
 * Letters: M rows, N outputs, K inputs, d width, e width of a head, n positions.
 */
#ifndef WORKER_KRONOS_KERNELS_H
#define WORKER_KRONOS_KERNELS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "worker/kronos/packed.h"

/* Keys are read, and scores written, in whole tiles: up to so many floats beyond their end, less 1. */
#define KERNELS_OVERRUN 64

/*
 * The keys of a head lie in tiles of so many positions, [ceil(C / 16), e, 16]: contiguous both for
 * whoever reads all positions and for whoever reads only some, and a vector of positions wide.
 */
#define KERNELS_KEY_TILE 16

/**
 * kernels_choose(name): "avx512", "avx2", "portable", or NULL for the best one here. Returns 0,
 * or -1 when this build or this machine has no such set. Not while another thread computes.
 */
int kernels_choose(const char *name);
const char *kernels_name(void); /* of the set in use */

/*
 * Pieces of memory that are read soon, in the order of reading. A product of several rows waits for
 * arithmetic while memory idles: on its way it fetches pieces into the cache, as many as it gets to.
 * Threads may take pieces of one list at once; a value never depends on it.
 */
#define KERNELS_PIECE_BYTES 8192
#define KERNELS_PIECES_MAX  1024 /* 8 MB: with the weights between, what a share of a cache holds */
struct kernels_soon {
    const void *pieces[KERNELS_PIECES_MAX];
    size_t n;
    atomic_size_t n_taken;
};

/**
 * y[m,:] (+)= x[m,:] W^T + b over packed weights (packed.h). An output is summed in one
 * order whatever the number of rows, then + b, then + what y held if ${is_added}. ${soon} may
 * be NULL.
 */
void kernels_packed(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct packed *p, bool is_added, struct kernels_soon *soon);

/** The same by the portable set, whichever was chosen: the same bytes on every machine. */
void kernels_packed_anywhere(float *y, size_t y_stride, const float *x, size_t x_stride,
    size_t n_rows, const struct packed *p, bool is_added);

/** y[m,:] = x[m,:] / sqrt(mean(x[m,:]^2) + 1e-5) * w.  x, y [M,d] packed, may be the same. */
void kernels_rms(float *y, const float *x, const float *w, size_t n_rows, size_t d);

/** a[i] = silu(a[i]) * b[i], silu(v) = v / (1 + exp(-v)). */
void kernels_silu_mul(float *a, const float *b, size_t n);

/** y[i] = exp(x[i]) within 2 ulp; 0 below -86.6, exp(88) above 88; NaN stays NaN. */
void kernels_exp(float *y, const float *x, size_t n);

/**
 * Rotate every head of one row: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), x1 and x2 the
 * halves of the head, and multiply by scale.  x [h * e], cosine and sine [e / 2].
 */
void kernels_rotate(
    float *x, const float *cosine, const float *sine, size_t n_heads, size_t e, float scale);

/* The keys or the values of one head, as float32 or as halves; arithmetic is float32 either way. */
struct kernels_kv {
    void *at; /* keys: tiles; values: [C, e] */
    bool is_half;
};
#define KERNELS_HEAD_MAX 4096 /* e */

/** The keys x [M, e] of positions p0.. into the tiles k of their head; the values x likewise. */
void kernels_store_keys(
    struct kernels_kv k, size_t p0, const float *x, size_t x_stride, size_t n_rows, size_t e);
void kernels_store_values(
    struct kernels_kv v, size_t p0, const float *x, size_t x_stride, size_t n_rows, size_t e);

/**
 * s[m, p] = sum over i of q[m, i] k[p, i] for first <= p < end.  q [M,e], k tiles of one head. Reads
 * k and writes s up to KERNELS_OVERRUN - 1 positions beyond end; nothing of s before first.
 */
void kernels_scores(float *s, size_t s_stride, const float *q, size_t q_stride, struct kernels_kv k,
    size_t first, size_t end, size_t n_rows, size_t e);

/** s[p] = exp(s[p] - max(s)) for p < n; returns their sum. n >= 1. */
float kernels_softmax(float *s, size_t n);

/** y[m, :] += sum of s[m, p] v[p, :] for first <= p < end, ascending.  v [C,e] packed, y [M,e]. */
void kernels_mix(float *y, size_t y_stride, const float *s, size_t s_stride, struct kernels_kv v,
    size_t first, size_t end, size_t n_rows, size_t e);

#endif /* WORKER_KRONOS_KERNELS_H */
