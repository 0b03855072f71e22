/*
 * kernels_internal.h - One set of kernels for one instruction set; shared by kernels*.c only.
 *
 * kernels_vector.h writes every kernel once, over a vector type; kernels.c, kernels_avx2.c and
 * kernels_avx512.c give it theirs and are compiled with their own flags.
 */
#ifndef WORKER_KRONOS_KERNELS_INTERNAL_H
#define WORKER_KRONOS_KERNELS_INTERNAL_H

#include "worker/kronos/kernels.h"

struct kernel_set {
    const char *name;
    void (*packed)(float *y, size_t y_stride, const float *x, size_t x_stride, size_t n_rows,
        const struct packed *p, bool is_added, struct kernels_soon *soon);
    void (*rms)(float *y, const float *x, const float *w, size_t n_rows, size_t d);
    void (*silu_mul)(float *a, const float *b, size_t n);
    void (*exp)(float *y, const float *x, size_t n);
    void (*scores)(float *s, size_t s_stride, const float *q, size_t q_stride, struct kernels_kv k,
        size_t first, size_t end, size_t n_rows, size_t e);
    float (*softmax)(float *s, size_t n);
    void (*mix)(float *y, size_t y_stride, const float *s, size_t s_stride, struct kernels_kv v,
        size_t first, size_t end, size_t n_rows, size_t e);
    void (*halve)(uint16_t *y, const float *x, size_t n);
};

/* NULL where the compiler does not target such a machine. */
extern const struct kernel_set *const kernels_avx2;
extern const struct kernel_set *const kernels_avx512;

#endif /* WORKER_KRONOS_KERNELS_INTERNAL_H */
