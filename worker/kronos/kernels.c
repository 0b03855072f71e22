/*
 * kernels.c - Which kernels this CPU gets, and those for any CPU.
 *
 * The portable set is the same source over vectors of 4 floats that the compiler lowers to
 * whatever it has (SSE2, NEON, plain registers). It multiplies, rounds and adds where the
 * others fuse, so its values differ from theirs in the last bits, never between its own tiles.
 */
#include "worker/kronos/kernels.h"

#include <stdatomic.h>

#include "worker/kronos/kernels_internal.h"

#define VW     4
#define TILE_M 2 /* 2 x 4 sums, 4 keys or values and 2 inputs in 16 registers */

#define PACKED_VECTORS_1    8
#define PACKED_VECTORS_2    4
#define PACKED_VECTORS_MORE 2 /* 6 x 2 sums, 2 weights and one input in 16 registers */

typedef float V __attribute__((vector_size(16)));
typedef int VI __attribute__((vector_size(16)));
typedef unsigned VU __attribute__((vector_size(16)));

static inline V
v_load(const float *p)
{
    V v;

    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

/* As packed_widen(); a NaN may come out as another one. */
static inline V
v_load_half(const uint16_t *p)
{
    VU half = {p[0], p[1], p[2], p[3]};
    VU size = (half & 0x7fffu) << 13;
    VU is_beyond = (VU)(size >= 0x0f800000u); /* infinity stays beyond every number */

    size = (VU)((V)size * 0x1p112f) | (is_beyond & 0x7f800000u);
    return (V)(size | (half & 0x8000u) << 16);
}

static inline V
v_load_half_part(const uint16_t *p, size_t n)
{
    uint16_t first[VW] = {0};

    __builtin_memcpy(first, p, n * sizeof(*p));
    return v_load_half(first);
}

static inline void
v_store_half(uint16_t *p, V v)
{
    for (size_t i = 0; i < VW; i++)
        p[i] = packed_half(v[i]);
}

static inline void
v_store(float *p, V v)
{
    __builtin_memcpy(p, &v, sizeof(v));
}

static inline V
v_load_part(const float *p, size_t n)
{
    V v = {0.0f, 0.0f, 0.0f, 0.0f};

    for (size_t i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}

static inline void
v_store_part(float *p, V v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = v[i];
}

static inline V
v_set(float x)
{
    return (V){x, x, x, x};
}

static inline V
v_fma(V a, V b, V c)
{
    return a * b + c;
}

/* a where the comparison holds, else b: a NaN in b passes. */
static inline V
v_max(V a, V b)
{
    VI is_a = a > b;

    return (V)(((VI)a & is_a) | ((VI)b & ~is_a));
}

static inline V
v_min(V a, V b)
{
    VI is_a = a < b;

    return (V)(((VI)a & is_a) | ((VI)b & ~is_a));
}

static inline float
v_sum(V v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

static inline float
v_top(V v)
{
    V top = v_max(v, __builtin_shufflevector(v, v, 2, 3, 2, 3));

    return v_max(top, __builtin_shufflevector(top, top, 1, 1, 1, 1))[0];
}

#include "worker/kronos/kernels_vector.h"

static const struct kernel_set portable = KERNEL_SET("portable");

/* ---- the choice ---- */

/* Written by kernels_choose() and by the first use; every writer of the latter writes the same. */
static _Atomic(const struct kernel_set *) chosen;

static bool
cpu_has_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
#else
    return false;
#endif
}

static bool
cpu_has_avx512(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           cpu_has_avx2();
#else
    return false;
#endif
}

int
kernels_choose(const char *name)
{
    /* Best first. */
    const struct kernel_set *sets[] = {
        cpu_has_avx512() ? kernels_avx512 : NULL,
        cpu_has_avx2() ? kernels_avx2 : NULL,
        &portable,
    };

    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        if (sets[i] != NULL && (name == NULL || strcmp(name, sets[i]->name) == 0)) {
            atomic_store(&chosen, sets[i]);
            return 0;
        }
    }
    return -1;
}

static const struct kernel_set *
kernels(void)
{
    const struct kernel_set *set = atomic_load_explicit(&chosen, memory_order_acquire);

    if (set == NULL) {
        kernels_choose(NULL); /* cannot fail: the portable set is always there */
        set = atomic_load(&chosen);
    }
    return set;
}

const char *
kernels_name(void)
{
    return kernels()->name;
}

/* ---- the calls ---- */

void
kernels_packed(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct packed *p, bool is_added, struct kernels_soon *soon)
{
    kernels()->packed(y, y_stride, x, x_stride, n_rows, p, is_added, soon);
}

void
kernels_packed_anywhere(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct packed *p, bool is_added)
{
    portable.packed(y, y_stride, x, x_stride, n_rows, p, is_added, NULL);
}

void
kernels_rms(float *y, const float *x, const float *w, size_t n_rows, size_t d)
{
    kernels()->rms(y, x, w, n_rows, d);
}

void
kernels_silu_mul(float *a, const float *b, size_t n)
{
    kernels()->silu_mul(a, b, n);
}

void
kernels_exp(float *y, const float *x, size_t n)
{
    kernels()->exp(y, x, n);
}

void
kernels_rotate(
    float *x, const float *cosine, const float *sine, size_t n_heads, size_t e, float scale)
{
    size_t half = e / 2;

    for (size_t h = 0; h < n_heads; h++) {
        float *restrict x1 = x + h * e;
        float *restrict x2 = x1 + half;

        for (size_t i = 0; i < half; i++) {
            float a = x1[i], b = x2[i];

            x1[i] = (a * cosine[i] - b * sine[i]) * scale;
            x2[i] = (b * cosine[i] + a * sine[i]) * scale;
        }
    }
}

/* Sixteen bits or thirty-two of every row into the tiles of its head. */
void
kernels_store_keys(
    struct kernels_kv k, size_t p0, const float *x, size_t x_stride, size_t n_rows, size_t e)
{
    for (size_t m = 0; m < n_rows; m++, x += x_stride) {
        size_t p = p0 + m, lane = p % KERNELS_KEY_TILE, at = (p - lane) * e + lane;

        if (k.is_half) {
            uint16_t *to = (uint16_t *)k.at + at, half[KERNELS_HEAD_MAX];

            kernels()->halve(half, x, e);
            for (size_t i = 0; i < e; i++)
                to[i * KERNELS_KEY_TILE] = half[i];
        } else {
            float *to = (float *)k.at + at;

            for (size_t i = 0; i < e; i++)
                to[i * KERNELS_KEY_TILE] = x[i];
        }
    }
}

void
kernels_store_values(
    struct kernels_kv v, size_t p0, const float *x, size_t x_stride, size_t n_rows, size_t e)
{
    for (size_t m = 0; m < n_rows; m++, x += x_stride) {
        if (v.is_half)
            kernels()->halve((uint16_t *)v.at + (p0 + m) * e, x, e);
        else
            memcpy((float *)v.at + (p0 + m) * e, x, e * sizeof(float));
    }
}

void
kernels_scores(float *s, size_t s_stride, const float *q, size_t q_stride, struct kernels_kv k,
    size_t first, size_t end, size_t n_rows, size_t e)
{
    kernels()->scores(s, s_stride, q, q_stride, k, first, end, n_rows, e);
}

float
kernels_softmax(float *s, size_t n)
{
    return kernels()->softmax(s, n);
}

void
kernels_mix(float *y, size_t y_stride, const float *s, size_t s_stride, struct kernels_kv v,
    size_t first, size_t end, size_t n_rows, size_t e)
{
    kernels()->mix(y, y_stride, s, s_stride, v, first, end, n_rows, e);
}
