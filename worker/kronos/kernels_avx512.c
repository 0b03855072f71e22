/*
 * kernels_avx512.c - The kernels over 16 floats, for CPUs with AVX-512 F, DQ, BW and VL.
 *
 * Compiled with those flags and reached only after the CPU was asked. Tails are masked loads,
 * so nothing beyond an array is touched.
 */
#include "worker/kronos/kernels_internal.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)

#include <immintrin.h>

#define VW     16
#define TILE_M 6 /* 6 x 4 sums, 4 weights and one input in 32 registers */

#define PACKED_VECTORS_1    4
#define PACKED_VECTORS_2    4
#define PACKED_VECTORS_MORE 4

typedef __m512 V;
typedef int VI __attribute__((vector_size(64)));
typedef unsigned VU __attribute__((vector_size(64)));

static inline V
v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline V
v_load_half(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline V
v_load_half_part(const uint16_t *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1u), p));
}

static inline void
v_store_half(uint16_t *p, V v)
{
    _mm256_storeu_si256(
        (__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline void
v_store(float *p, V v)
{
    _mm512_storeu_ps(p, v);
}

static inline V
v_load_part(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}

static inline void
v_store_part(float *p, V v, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), v);
}

static inline V
v_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline V
v_fma(V a, V b, V c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline V
v_max(V a, V b)
{
    return _mm512_max_ps(a, b);
}

static inline V
v_min(V a, V b)
{
    return _mm512_min_ps(a, b);
}

static inline float
v_sum(V v)
{
    return _mm512_reduce_add_ps(v);
}

static inline float
v_top(V v)
{
    return _mm512_reduce_max_ps(v);
}

#include "worker/kronos/kernels_vector.h"

static const struct kernel_set set = KERNEL_SET("avx512");
const struct kernel_set *const kernels_avx512 = &set;

#else

const struct kernel_set *const kernels_avx512 = NULL;

#endif
