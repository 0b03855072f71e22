/*
 * packed.h - The bytes of one linear layer as the products read them: y = x W^T + b.
 *
 * The N outputs are cut into panels of PACKED_PANEL. A panel is its biases, always float32, and
 * then for every input k the weights of its outputs, so a product over it is one ascending
 * stream whatever the width of a vector:
 *
 *   panel p   float b[64], then w[K][64] as float or as IEEE 754 half
 *
 * The last panel is filled up with zeros, and so is b where a layer has no bias. Plain bytes in
 * the byte order of the machine, the same in every run and for every instruction set, without a
 * pointer: they may be written to a file and mapped by others. Whoever does names
 * PACKED_VERSION in it; it is raised whenever a byte would come out differently.
 */
#ifndef WORKER_KRONOS_PACKED_H
#define WORKER_KRONOS_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define PACKED_VERSION   1
#define PACKED_ALIGNMENT 64 /* bytes: where the bytes of a layer begin, and a multiple of them */
#define PACKED_PANEL     64 /* outputs: 4, 8 or 16 vectors */

enum packed_format { PACKED_F32, PACKED_F16 };

struct packed {
    const void *bytes; /* borrowed; NULL where a layer is not packed */
    uint32_t n_out, n_in;
    enum packed_format format;
};

/** packed_bytes(n_out, n_in, format): of one layer within the limits of model.h, never 0. */
size_t packed_bytes(uint32_t n_out, uint32_t n_in, enum packed_format format);

/**
 * packed_fill(to, weight, bias, n_out, n_in, format, err): write packed_bytes() bytes.
 *
 *   weight  [n_out, n_in]
 *   bias    [n_out] or NULL
 *
 * Returns 0, or -1 with ERR_INVALID when a weight is beyond the largest half, 65504.
 */
int packed_fill(void *to, const float *weight, const float *bias, uint32_t n_out, uint32_t n_in,
    enum packed_format format, struct error *err);

/** packed_half(x): the half nearest to ${x}, ties to even, as bits; beyond the range infinity. */
uint16_t packed_half(float x);
/** packed_widen(half): what those bits stand for, exactly. */
float packed_widen(uint16_t half);

#endif /* WORKER_KRONOS_PACKED_H */
