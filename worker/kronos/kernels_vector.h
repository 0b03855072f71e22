/*
 * kernels_vector.h - Every kernel, written once over a vector of VW floats.
 *
 * Not a header of declarations: a kernels*.c defines the vector and includes this to get
 * static functions and the macro KERNEL_SET. It must define
 *
 *   V, VI, VW            a GCC vector of VW floats, one of VW 32-bit integers, their number
 *   PACKED_VECTORS_1, _2, _MORE   vectors of outputs against one, two, more rows of x
 *   TILE_M               queries held in registers against 4 vectors
 *   v_load v_store       unaligned
 *   v_load_part v_store_part (.., n)   the first n < VW floats, the rest 0 / untouched
 *   v_load_half v_load_half_part v_store_half       the same of VW halves, widened and rounded
 *   v_set v_fma v_max v_min            v_fma(a, b, c) = a * b + c; v_max and v_min pass on a
 *                                      NaN in the second operand
 *   v_sum v_top          sum and maximum over lanes
 *
 * The promise of kernels.h rests on this: one output has one accumulator (or, in rms, four),
 * filled in ascending order and folded by one tree, in tiles of every size. A change that
 * gives a tile size its own order breaks it, and tests/unit/kernels_test.c.
 */
#ifndef WORKER_KRONOS_KERNELS_VECTOR_H
#define WORKER_KRONOS_KERNELS_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define PACKED_VECTORS (PACKED_PANEL / VW)
#define PACKED_ROWS    6 /* rows of x in registers against the outputs of a panel */
#define MEMORY_IDLES   3 /* tiles of rows from which on arithmetic takes longer than reading */
#define TILE_N         4 /* vectors of positions, or of a head, in registers */

/* ---- y = x W^T + b ---- */

/*
 * What is fetched besides the arithmetic. A panel that is swept once is one ascending stream,
 * and the CPU fetches it best alone. While one is swept again it comes from the cache and memory
 * would idle: each sweep then asks for a part of the panel after it, and for what the caller says
 * is read soon, a line at each input.
 */
struct ahead {
    const unsigned char *at;   /* of this sweep */
    size_t second;             /* bytes to the other line asked for at each input */
    size_t stride;             /* bytes from one input to the next */
    struct kernels_soon *soon; /* NULL: nothing */
};

#define LINE_BYTES 64
#define SUM_BLOCK  128 /* inputs */
_Static_assert(KERNELS_PIECE_BYTES == SUM_BLOCK * LINE_BYTES, "a block of inputs takes a piece");

/* The next piece of what is read soon; NULL when there is none. */
INLINE const unsigned char *
take_piece(struct kernels_soon *soon)
{
    size_t i;

    if (soon == NULL || atomic_load_explicit(&soon->n_taken, memory_order_relaxed) >= soon->n)
        return NULL;
    i = atomic_fetch_add_explicit(&soon->n_taken, 1, memory_order_relaxed);
    return i < soon->n ? soon->pieces[i] : NULL;
}

INLINE V
weight_at(const void *w, size_t i, const enum packed_format format)
{
    return format == PACKED_F16 ? v_load_half((const uint16_t *)w + i)
                                : v_load((const float *)w + i);
}

/*
 * The sums of n_rows rows over n_v vectors of outputs of one panel, into ${sum}. k ascends in
 * blocks with a sum of their own each: less rounding than one long sum, and nearly as fast.
 */
INLINE void
packed_tile(float *sum, const float *x, size_t x_stride, const void *w, size_t n_in,
    const struct ahead *ahead, const enum packed_format format, const int n_rows, const int n_v,
    const bool is_ahead)
{
    const unsigned char *next = is_ahead ? ahead->at : NULL;

    for (size_t k = 0; k < n_in;) {
        size_t end = n_in - k < SUM_BLOCK ? n_in : k + SUM_BLOCK;
        const unsigned char *soon = NULL;
        size_t soon_stride = 0;
        bool is_first = k == 0;
        V s[PACKED_ROWS][PACKED_VECTORS];

#pragma GCC unroll 8
        for (int m = 0; m < n_rows; m++)
#pragma GCC unroll 16
            for (int j = 0; j < n_v; j++)
                s[m][j] = v_set(0.0f);
        if (is_ahead) {
            if (end - k == SUM_BLOCK)
                soon = take_piece(ahead->soon);
            if (soon != NULL)
                soon_stride = LINE_BYTES;
            else
                soon = (const unsigned char *)x; /* that is in the cache and costs nothing */
        }
        for (; k < end; k++) {
            V wk[PACKED_VECTORS];

#pragma GCC unroll 16
            for (int j = 0; j < n_v; j++)
                wk[j] = weight_at(w, k * PACKED_PANEL + (size_t)j * VW, format);
            if (is_ahead) {
                __builtin_prefetch(next, 0, 2);
                __builtin_prefetch(next + ahead->second, 0, 2);
                next += ahead->stride;
                __builtin_prefetch(soon, 0, 2);
                soon += soon_stride;
            }
#pragma GCC unroll 8
            for (int m = 0; m < n_rows; m++) {
                V xk = v_set(x[(size_t)m * x_stride + k]);

#pragma GCC unroll 16
                for (int j = 0; j < n_v; j++)
                    s[m][j] = v_fma(xk, wk[j], s[m][j]);
            }
        }
#pragma GCC unroll 8
        for (int m = 0; m < n_rows; m++)
#pragma GCC unroll 16
            for (int j = 0; j < n_v; j++) {
                float *to = sum + m * PACKED_PANEL + j * VW;

                if (!is_first)
                    s[m][j] += v_load(to);
                v_store(to, s[m][j]);
            }
    }
}

/* Rows of sums and biases to n_valid outputs of y. */
INLINE void
packed_finish(float *y, size_t y_stride, const float *sum, const float *bias, size_t n_rows,
    size_t n_valid, bool is_added)
{
    for (size_t m = 0; m < n_rows; m++, y += y_stride, sum += PACKED_PANEL) {
        if (n_valid < PACKED_PANEL) {
            for (size_t j = 0; j < n_valid; j++)
                y[j] = is_added ? sum[j] + bias[j] + y[j] : sum[j] + bias[j];
            continue;
        }
        for (size_t j = 0; j < PACKED_PANEL; j += VW) {
            V v = v_load(sum + j) + v_load(bias + j);

            if (is_added)
                v += v_load(y + j);
            v_store(y + j, v);
        }
    }
}

/* Vectors of outputs held against one row, two, or more: as many as the registers take. */
INLINE int
packed_width(size_t n_rows)
{
    return n_rows == 1 ? PACKED_VECTORS_1 : n_rows == 2 ? PACKED_VECTORS_2 : PACKED_VECTORS_MORE;
}

/* The instances: a row goes through the same additions in each of them. */
INLINE void
packed_tile_any(float *sum, const float *x, size_t x_stride, const void *w, size_t n_in,
    const struct ahead *ahead, const enum packed_format format, size_t n_rows)
{
#define PACKED_TILE(rows, n_v)                                                                     \
    if (ahead == NULL)                                                                             \
        packed_tile(sum, x, x_stride, w, n_in, NULL, format, rows, n_v, false);                    \
    else                                                                                           \
        packed_tile(sum, x, x_stride, w, n_in, ahead, format, rows, n_v, true)
    switch (n_rows) {
    case 1:
        PACKED_TILE(1, PACKED_VECTORS_1);
        break;
    case 2:
        PACKED_TILE(2, PACKED_VECTORS_2);
        break;
    case 3:
        PACKED_TILE(3, PACKED_VECTORS_MORE);
        break;
    case 4:
        PACKED_TILE(4, PACKED_VECTORS_MORE);
        break;
    case 5:
        PACKED_TILE(5, PACKED_VECTORS_MORE);
        break;
    case 6:
        PACKED_TILE(6, PACKED_VECTORS_MORE);
        break;
    default:
        break;
    }
}

/*
 * The part of the panel after this one that sweep ${i} of ${n} asks for, and ${soon}; NULL when
 * there is nothing to gain. After the last panel that is what follows in memory: most often the
 * layer multiplied with next, and asking for it is harmless anyway.
 */
INLINE const struct ahead *
look_ahead(struct ahead *ahead, const unsigned char *next, size_t panel_bytes, size_t n_in,
    size_t i, size_t n, struct kernels_soon *soon)
{
    size_t lines = panel_bytes / LINE_BYTES, per_input = n < 4 ? 2 : 1;
    size_t first = i * per_input * n_in, end = first + per_input * n_in;

    if (n < 2 || (end > lines && soon == NULL))
        return NULL;
    *ahead = (struct ahead){
        next + first * LINE_BYTES, (per_input - 1) * LINE_BYTES, per_input * LINE_BYTES, soon};
    if (end > lines) { /* all of it was asked for: again and again a line that is there */
        ahead->at = next;
        ahead->second = ahead->stride = 0;
    }
    return ahead;
}

INLINE void
packed_rows(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct packed *p, bool is_added, struct kernels_soon *soon,
    const enum packed_format format)
{
    size_t weight_bytes = format == PACKED_F16 ? sizeof(uint16_t) : sizeof(float);
    size_t panel_bytes = PACKED_PANEL * (sizeof(float) + p->n_in * weight_bytes);
    size_t tiles = (n_rows + PACKED_ROWS - 1) / PACKED_ROWS;
    size_t bigger = n_rows % tiles, size = n_rows / tiles; /* 8 rows are 4 + 4, not 6 + 2 */
    size_t sweeps = tiles * (PACKED_VECTORS / packed_width(size));
    bool is_idle = tiles >= MEMORY_IDLES;
    const unsigned char *panel = p->bytes;

    for (size_t n = 0; n < p->n_out; n += PACKED_PANEL, panel += panel_bytes) {
        size_t n_valid = p->n_out - n < PACKED_PANEL ? p->n_out - n : PACKED_PANEL;
        const float *bias = (const float *)(const void *)panel;
        const unsigned char *w = panel + PACKED_PANEL * sizeof(float);
        size_t m = 0, sweep = 0;

        for (size_t t = 0; t < tiles; t++) {
            size_t take = size + (t < bigger), width = (size_t)packed_width(take) * VW;
            _Alignas(64) float sum[PACKED_ROWS * PACKED_PANEL];

            for (size_t j = 0; j < PACKED_PANEL; j += width) {
                struct ahead ahead;

                /* The first outputs of a tile fetch for all: a piece for so much arithmetic. */
                packed_tile_any(sum + j, x + m * x_stride, x_stride, w + j * weight_bytes, p->n_in,
                    look_ahead(&ahead, panel + panel_bytes, panel_bytes, p->n_in, sweep++, sweeps,
                        j == 0 && is_idle ? soon : NULL),
                    format, take);
            }
            packed_finish(y + m * y_stride + n, y_stride, sum, bias, take, n_valid, is_added);
            m += take;
        }
    }
}

static void
packed_product(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct packed *p, bool is_added, struct kernels_soon *soon)
{
    if (n_rows == 0)
        return;
    if (soon != NULL && atomic_load_explicit(&soon->n_taken, memory_order_relaxed) >= soon->n)
        soon = NULL;
    if (p->format == PACKED_F16)
        packed_rows(y, y_stride, x, x_stride, n_rows, p, is_added, soon, PACKED_F16);
    else
        packed_rows(y, y_stride, x, x_stride, n_rows, p, is_added, soon, PACKED_F32);
}

/* ---- rows ---- */

static void
rms(float *y, const float *x, const float *w, size_t n_rows, size_t d)
{
    for (size_t m = 0; m < n_rows; m++, x += d, y += d) {
        V sum[4] = {v_set(0.0f), v_set(0.0f), v_set(0.0f), v_set(0.0f)}, scale;
        size_t i;

        for (i = 0; i + 4 * VW <= d; i += 4 * VW) {
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                V v = v_load(x + i + (size_t)j * VW);

                sum[j] = v_fma(v, v, sum[j]);
            }
        }
        for (; i < d; i += VW) {
            V v = d - i < VW ? v_load_part(x + i, d - i) : v_load(x + i);

            sum[0] = v_fma(v, v, sum[0]);
        }
        scale =
            v_set(1.0f / sqrtf(v_sum((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)d + 1e-5f));
        for (i = 0; i + VW <= d; i += VW)
            v_store(y + i, v_load(x + i) * scale * v_load(w + i));
        if (i < d)
            v_store_part(
                y + i, v_load_part(x + i, d - i) * scale * v_load_part(w + i, d - i), d - i);
    }
}

/*
 * exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; exp(r) by a minimax polynomial.
 * Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
 */
INLINE V
v_exp(V x)
{
    const V round = v_set(12582912.0f);
    VI is_zero = x < v_set(-86.6f); /* the result would not be normal */
    V shifted, n, r, p;

    x = v_min(v_set(88.0f), x);
    shifted = v_fma(x, v_set(1.44269504f), round);
    n = shifted - round;
    r = v_fma(n, v_set(-0.693359375f), x); /* ln 2 in two parts, the first exact times n */
    r = v_fma(n, v_set(2.12194440e-4f), r);
    p = v_set(1.97901347e-4f);
    p = v_fma(p, r, v_set(1.39448687e-3f));
    p = v_fma(p, r, v_set(8.33349861e-3f));
    p = v_fma(p, r, v_set(4.16662917e-2f));
    p = v_fma(p, r, v_set(1.66666657e-1f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r * r, r) + v_set(1.0f);
    /* On unsigned bits: a shift may drop any of them. */
    return (V)(((VI)((VU)p + ((VU)shifted << 23))) & ~is_zero);
}

static void
exp_all(float *y, const float *x, size_t n)
{
    size_t i;

    for (i = 0; i + VW <= n; i += VW)
        v_store(y + i, v_exp(v_load(x + i)));
    if (i < n)
        v_store_part(y + i, v_exp(v_load_part(x + i, n - i)), n - i);
}

INLINE V
v_silu_mul(V a, V b)
{
    return a / (v_set(1.0f) + v_exp(-a)) * b;
}

static void
silu_mul(float *a, const float *b, size_t n)
{
    size_t i;

    for (i = 0; i + VW <= n; i += VW)
        v_store(a + i, v_silu_mul(v_load(a + i), v_load(b + i)));
    if (i < n)
        v_store_part(
            a + i, v_silu_mul(v_load_part(a + i, n - i), v_load_part(b + i, n - i)), n - i);
}

static float
softmax(float *s, size_t n)
{
    V top = v_set(s[0]), sum = v_set(0.0f);
    size_t i;

    for (i = 0; i + VW <= n; i += VW)
        top = v_max(top, v_load(s + i));
    top = v_set(v_top(top));
    for (size_t j = i; j < n; j++)
        top = v_max(top, v_set(s[j]));
    for (i = 0; i + VW <= n; i += VW) {
        V v = v_exp(v_load(s + i) - top);

        v_store(s + i, v);
        sum += v;
    }
    if (i < n) {
        v_store_part(s + i, v_exp(v_load_part(s + i, n - i) - top), n - i);
        sum += v_load_part(s + i, n - i);
    }
    return v_sum(sum);
}

/* ---- attention ---- */

static void
halve(uint16_t *y, const float *x, size_t n)
{
    uint16_t last[VW];
    size_t i;

    for (i = 0; i + VW <= n; i += VW)
        v_store_half(y + i, v_load(x + i));
    if (i < n) {
        v_store_half(last, v_load_part(x + i, n - i));
        memcpy(y + i, last, (n - i) * sizeof(*y));
    }
}

/* The vector at element ${i} of keys or values; of its first ${n} floats only unless n is 0. */
INLINE V
kv_load(const void *kv, size_t i, size_t n, const bool is_half)
{
    if (is_half) {
        const uint16_t *p = (const uint16_t *)kv + i;

        return n == 0 ? v_load_half(p) : v_load_half_part(p, n);
    } else {
        const float *p = (const float *)kv + i;

        return n == 0 ? v_load(p) : v_load_part(p, n);
    }
}

/* Which element the vector of positions ${p}.. begins at in the keys of a head. */
INLINE size_t
keys_at(size_t p, size_t e)
{
    return p / KERNELS_KEY_TILE * KERNELS_KEY_TILE * e + p % KERNELS_KEY_TILE;
}

/* Scores of n_rows queries against the n_v vectors of positions from ${p}, a multiple of VW. */
INLINE void
scores_tile(float *s, size_t s_stride, const float *q, size_t q_stride, const void *k, size_t p,
    size_t e, const bool is_half, const int n_rows, const int n_v)
{
    size_t kj[TILE_N];
    V sum[TILE_M][TILE_N];

#pragma GCC unroll 4
    for (int j = 0; j < n_v; j++)
        kj[j] = keys_at(p + (size_t)j * VW, e);
#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++)
#pragma GCC unroll 4
        for (int j = 0; j < n_v; j++)
            sum[m][j] = v_set(0.0f);
    for (size_t i = 0; i < e; i++) {
        V ki[TILE_N];

#pragma GCC unroll 4
        for (int j = 0; j < n_v; j++)
            ki[j] = kv_load(k, kj[j] + i * KERNELS_KEY_TILE, 0, is_half);
#pragma GCC unroll 8
        for (int m = 0; m < n_rows; m++) {
            V qi = v_set(q[(size_t)m * q_stride + i]);

#pragma GCC unroll 4
            for (int j = 0; j < n_v; j++)
                sum[m][j] = v_fma(qi, ki[j], sum[m][j]);
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++)
#pragma GCC unroll 4
        for (int j = 0; j < n_v; j++)
            v_store(s + (size_t)m * s_stride + (size_t)j * VW, sum[m][j]);
}

/* Mixture of n values into n_v vectors of n_rows outputs, the last with n_part floats or all. */
INLINE void
mix_tile(float *y, size_t y_stride, const float *s, size_t s_stride, const void *v, size_t at,
    size_t v_stride, size_t n, size_t n_part, const bool is_half, const int n_rows, const int n_v)
{
    V sum[TILE_M][TILE_N];

#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++)
#pragma GCC unroll 4
        for (int j = 0; j < n_v; j++) {
            const float *from = y + (size_t)m * y_stride + (size_t)j * VW;

            sum[m][j] = j == n_v - 1 && n_part != 0 ? v_load_part(from, n_part) : v_load(from);
        }
    for (size_t p = 0; p < n; p++, at += v_stride) {
        V vp[TILE_N];

#pragma GCC unroll 4
        for (int j = 0; j < n_v; j++)
            vp[j] = kv_load(v, at + (size_t)j * VW, j == n_v - 1 ? n_part : 0, is_half);
#pragma GCC unroll 8
        for (int m = 0; m < n_rows; m++) {
            V sp = v_set(s[(size_t)m * s_stride + p]);

#pragma GCC unroll 4
            for (int j = 0; j < n_v; j++)
                sum[m][j] = v_fma(sp, vp[j], sum[m][j]);
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++)
#pragma GCC unroll 4
        for (int j = 0; j < n_v; j++) {
            float *to = y + (size_t)m * y_stride + (size_t)j * VW;

            if (j == n_v - 1 && n_part != 0)
                v_store_part(to, sum[m][j], n_part);
            else
                v_store(to, sum[m][j]);
        }
}

/* Instances for 1..TILE_M rows times the widths a caller may meet. */
#define WITH_ROWS(rows, call)                                                                      \
    switch (rows) {                                                                                \
    case 1:                                                                                        \
        call(1);                                                                                   \
        break;                                                                                     \
    case 2:                                                                                        \
        call(2);                                                                                   \
        break;                                                                                     \
        WITH_ROWS_3(call)                                                                          \
        WITH_ROWS_6(call)                                                                          \
    default:                                                                                       \
        break;                                                                                     \
    }
#if TILE_M > 2
#define WITH_ROWS_3(call)                                                                          \
    case 3:                                                                                        \
        call(3);                                                                                   \
        break;
#else
#define WITH_ROWS_3(call)
#endif
#if TILE_M > 3
#define WITH_ROWS_6(call)                                                                          \
    case 4:                                                                                        \
        call(4);                                                                                   \
        break;                                                                                     \
    case 5:                                                                                        \
        call(5);                                                                                   \
        break;                                                                                     \
    case 6:                                                                                        \
        call(6);                                                                                   \
        break;
#else
#define WITH_ROWS_6(call)
#endif

INLINE void
scores_of(float *s, size_t s_stride, const float *q, size_t q_stride, const void *k, size_t first,
    size_t end, size_t n_rows, size_t e, const bool is_half)
{
    size_t p = first / VW * VW;

    if (first >= end)
        return;
    if (p < first) {
        /* The first vector begins before ${first}: what stands there in s is not ours. */
        size_t skip = first - p, n = (end - p < VW ? end - p : VW) - skip;

        for (size_t m = 0; m < n_rows; m++) {
            float whole[VW];

            scores_tile(whole, VW, q + m * q_stride, q_stride, k, p, e, is_half, 1, 1);
            memcpy(s + m * s_stride + first, whole + skip, n * sizeof(float));
        }
        p += VW;
    }
    if (n_rows == 1) {
        /* One vector after the other: one ascending stream, which the CPU fetches ahead best. */
        for (; p < end; p += VW)
            scores_tile(s + p, s_stride, q, q_stride, k, p, e, is_half, 1, 1);
        return;
    }
    for (; p < end; p += TILE_N * VW)
        for (size_t m = 0, rows; m < n_rows; m += rows) {
            float *sm = s + m * s_stride + p;
            const float *qm = q + m * q_stride;

            rows = n_rows - m < TILE_M ? n_rows - m : TILE_M;
#define SCORES(r) scores_tile(sm, s_stride, qm, q_stride, k, p, e, is_half, r, TILE_N)
            WITH_ROWS(rows, SCORES)
        }
}

static void
scores(float *s, size_t s_stride, const float *q, size_t q_stride, struct kernels_kv k,
    size_t first, size_t end, size_t n_rows, size_t e)
{
    if (k.is_half)
        scores_of(s, s_stride, q, q_stride, k.at, first, end, n_rows, e, true);
    else
        scores_of(s, s_stride, q, q_stride, k.at, first, end, n_rows, e, false);
}

INLINE void
mix_of(float *y, size_t y_stride, const float *s, size_t s_stride, const void *v, size_t first,
    size_t end, size_t n_rows, size_t e, const bool is_half)
{
    size_t n = end - first;

    for (size_t m = 0, rows; m < n_rows; m += rows) {
        size_t i, width;

        rows = n_rows - m < TILE_M ? n_rows - m : TILE_M;
        for (i = 0; i < e; i += width) {
            float *ym = y + m * y_stride + i;
            const float *sm = s + m * s_stride + first;
            size_t left = e - i, part, at = first * e + i;

#define MIX_TILE(part, r, n_v)                                                                     \
    mix_tile(ym, y_stride, sm, s_stride, v, at, e, n, part, is_half, r, n_v)
#define MIX_WIDE(r)        MIX_TILE(0, r, TILE_N)
#define MIX_WIDE_PART(r)   MIX_TILE(part, r, TILE_N)
#define MIX_NARROW(r)      MIX_TILE(0, r, 1)
#define MIX_NARROW_PART(r) MIX_TILE(part, r, 1)
            if (left >= TILE_N * VW) {
                width = TILE_N * VW;
                WITH_ROWS(rows, MIX_WIDE)
            } else if (left > (TILE_N - 1) * VW) {
                width = left;
                part = left - (TILE_N - 1) * VW;
                WITH_ROWS(rows, MIX_WIDE_PART)
            } else if (left >= VW) {
                width = VW;
                WITH_ROWS(rows, MIX_NARROW)
            } else {
                width = part = left;
                WITH_ROWS(rows, MIX_NARROW_PART)
            }
        }
    }
}

static void
mix(float *y, size_t y_stride, const float *s, size_t s_stride, struct kernels_kv v, size_t first,
    size_t end, size_t n_rows, size_t e)
{
    if (first >= end)
        return;
    if (v.is_half)
        mix_of(y, y_stride, s, s_stride, v.at, first, end, n_rows, e, true);
    else
        mix_of(y, y_stride, s, s_stride, v.at, first, end, n_rows, e, false);
}

#define KERNEL_SET(its_name)                                                                       \
    {                                                                                              \
        .name = its_name, .packed = packed_product, .rms = rms, .silu_mul = silu_mul,              \
        .exp = exp_all, .scores = scores, .softmax = softmax, .mix = mix, .halve = halve           \
    }

#endif /* WORKER_KRONOS_KERNELS_VECTOR_H */
