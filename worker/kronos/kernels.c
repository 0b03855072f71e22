/*
 * kernels.c - Which kernels this CPU gets, those for any CPU, and the only calls of BLAS.
 *
 * The portable set is the same source over vectors of 4 floats that the compiler lowers to
 * whatever it has (SSE2, NEON, plain registers). It multiplies, rounds and adds where the
 * others fuse, so its values differ from theirs in the last bits, never between its own tiles.
 */
#include "worker/kronos/kernels.h"

#include <cblas.h>
#include <stdatomic.h>

#include "worker/kronos/kernels_internal.h"

/* Serial and OpenMP builds of OpenBLAS, or another BLAS, may lack these. */
extern void openblas_set_num_threads(int n) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));

#define VW     4
#define TILE_M 6

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

/* As packed_widen(), of numbers only: packing refuses the others. */
static inline V
v_load_half(const uint16_t *p)
{
    VU half = {p[0], p[1], p[2], p[3]};
    V size = (V)((half & 0x7fffu) << 13) * 0x1p112f;

    return (V)((VU)size | (half & 0x8000u) << 16);
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

static inline V
v_sum4(V a, V b, V c, V d)
{
    V ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    V cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);

    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) +
           __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

static inline float
v_sum(V v)
{
    return v_sum4(v, v, v, v)[0];
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

bool
kernels_cpu_has_avx512(void)
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
        kernels_cpu_has_avx512() ? kernels_avx512 : NULL,
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

bool
kernels_blas_threads(int n)
{
    if (openblas_set_num_threads == NULL)
        return false;
    openblas_set_num_threads(n);
    return true;
}

const char *
kernels_blas_core(void)
{
    return openblas_get_corename == NULL ? "unknown" : openblas_get_corename();
}

/* ---- the calls ---- */

void
kernels_linear_rows(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct kernels_linear *l)
{
    kernels()->linear_rows(y, y_stride, x, x_stride, n_rows, l);
}

void
kernels_packed(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct packed *p, bool is_added)
{
    kernels()->packed(y, y_stride, x, x_stride, n_rows, p, is_added);
}

void
kernels_packed_anywhere(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct packed *p, bool is_added)
{
    portable.packed(y, y_stride, x, x_stride, n_rows, p, is_added);
}

void
kernels_linear_whole(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
    const struct kernels_linear *l)
{
    bool is_added = l->is_added;

    if (l->bias != NULL) {
        for (size_t m = 0; m < n_rows; m++) {
            float *restrict ym = y + m * y_stride;
            const float *restrict bias = l->bias;

            if (l->is_added) {
                for (size_t n = 0; n < l->n_out; n++)
                    ym[n] += bias[n];
            } else {
                memcpy(ym, bias, l->n_out * sizeof(float));
            }
        }
        is_added = true;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n_rows, (blasint)l->n_out,
        (blasint)l->n_in, 1.0f, x, (blasint)x_stride, l->weight, (blasint)l->n_in,
        is_added ? 1.0f : 0.0f, y, (blasint)y_stride);
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

void
kernels_store_keys(float *k, size_t p0, const float *x, size_t x_stride, size_t n_rows, size_t e)
{
    for (size_t m = 0; m < n_rows; m++, x += x_stride) {
        size_t p = p0 + m, lane = p % KERNELS_KEY_TILE;
        float *to = k + (p - lane) * e + lane;

        for (size_t i = 0; i < e; i++)
            to[i * KERNELS_KEY_TILE] = x[i];
    }
}

void
kernels_scores(float *s, size_t s_stride, const float *q, size_t q_stride, const float *k,
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
kernels_mix(float *y, size_t y_stride, const float *s, size_t s_stride, const float *v,
    size_t n_rows, size_t n, size_t e)
{
    kernels()->mix(y, y_stride, s, s_stride, v, n_rows, n, e);
}
