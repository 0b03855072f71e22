/*
 * kernels_avx2.c - The kernels over 8 floats, for CPUs with AVX2, FMA and F16C.
 *
 * Compiled with those flags and reached only after the CPU was asked. Tails are masked loads,
 * so nothing beyond an array is touched.
 */
#include "worker/kronos/kernels_internal.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#define VW     8
#define TILE_M 2 /* 2 x 4 sums, 4 keys or values and 2 inputs in 16 registers */

#define PACKED_VECTORS_1    8
#define PACKED_VECTORS_2    4
#define PACKED_VECTORS_MORE 2 /* 6 x 2 sums, 2 weights and one input in 16 registers */

typedef __m256 V;
typedef int VI __attribute__((vector_size(32)));
typedef unsigned VU __attribute__((vector_size(32)));

static inline __m256i
first_lanes(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline V
v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline V
v_load_half(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
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
    _mm_storeu_si128(
        (__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline void
v_store(float *p, V v)
{
    _mm256_storeu_ps(p, v);
}

static inline V
v_load_part(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, first_lanes(n));
}

static inline void
v_store_part(float *p, V v, size_t n)
{
    _mm256_maskstore_ps(p, first_lanes(n), v);
}

static inline V
v_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline V
v_fma(V a, V b, V c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline V
v_max(V a, V b)
{
    return _mm256_max_ps(a, b);
}

static inline V
v_min(V a, V b)
{
    return _mm256_min_ps(a, b);
}

static inline float
v_sum(V v)
{
    __m128 sum = _mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1);

    sum += _mm_movehl_ps(sum, sum);
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps(sum, sum, 1)));
}

static inline float
v_top(V v)
{
    __m128 top = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    top = _mm_max_ps(top, _mm_movehl_ps(top, top));
    return _mm_cvtss_f32(_mm_max_ss(top, _mm_shuffle_ps(top, top, 1)));
}

#include "worker/kronos/kernels_vector.h"

static const struct kernel_set set = KERNEL_SET("avx2");
const struct kernel_set *const kernels_avx2 = &set;

#else

const struct kernel_set *const kernels_avx2 = NULL;

#endif
