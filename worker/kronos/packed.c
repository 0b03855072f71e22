/*
 * packed.c - Writes a linear layer into panels. Who multiplies with them is kernels.h.
 *
 * Runs once per weight file, so it is written for any machine; the conversion to halves works
 * on bits and gives what the hardware gives.
 */
#include "worker/kronos/packed.h"

#include <string.h>

#define HALF_INFINITY 0x7c00u

static size_t
weight_size(enum packed_format format)
{
    return format == PACKED_F16 ? sizeof(uint16_t) : sizeof(float);
}

size_t
packed_bytes(uint32_t n_out, uint32_t n_in, enum packed_format format)
{
    size_t n_panels = ((size_t)n_out + PACKED_PANEL - 1) / PACKED_PANEL;
    size_t panel = PACKED_PANEL * (sizeof(float) + n_in * weight_size(format));

    return n_panels * panel;
}

uint16_t
packed_half(float x)
{
    uint32_t bits, size, half;

    memcpy(&bits, &x, sizeof(bits));
    size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) {
        half = HALF_INFINITY | 0x200u; /* NaN */
    } else if (size >= 0x38800000u) {
        /* Normal: the exponent moves by 112, 13 bits of fraction go; a carry may reach infinity. */
        uint32_t odd = size >> 13 & 1u;

        half = (size - (112u << 23) + 0xfffu + odd) >> 13;
        if (half > HALF_INFINITY)
            half = HALF_INFINITY;
    } else {
        /* Subnormal: adding 0.5 leaves the nearest multiple of 2^-24 in the low bits. */
        float scaled;
        uint32_t sum;

        memcpy(&scaled, &size, sizeof(scaled));
        scaled += 0.5f;
        memcpy(&sum, &scaled, sizeof(sum));
        half = sum - 0x3f000000u;
    }
    return (uint16_t)(half | (bits >> 16 & 0x8000u));
}

float
packed_widen(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t bits = (uint32_t)(half & 0x7fffu) << 13;
    float x;

    if (bits >= HALF_INFINITY << 13) {
        bits = sign | 0x7f800000u | (bits & 0x7fffffu); /* infinity or NaN */
        memcpy(&x, &bits, sizeof(x));
        return x;
    }
    memcpy(&x, &bits, sizeof(x));
    x *= 0x1p112f; /* exact, also where the half is subnormal */
    memcpy(&bits, &x, sizeof(bits));
    bits |= sign;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/*
 * Inputs are taken in blocks, so that what is read runs along a row of W and what is written
 * stays in the cache.
 */
#define BLOCK_INPUTS 16

/* Weights [n_valid, n_in] into w[n_in][64]. */
static void
fill_floats(float *to, const float *weight, size_t n_in, size_t n_valid)
{
    for (size_t first = 0; first < n_in; first += BLOCK_INPUTS) {
        size_t end = n_in - first < BLOCK_INPUTS ? n_in : first + BLOCK_INPUTS;

        for (size_t j = 0; j < n_valid; j++)
            for (size_t k = first; k < end; k++)
                to[k * PACKED_PANEL + j] = weight[j * n_in + k];
    }
}

/* The same as halves; -1 when one is out of range. */
static int
fill_halves(uint16_t *to, const float *weight, size_t n_in, size_t n_valid)
{
    uint32_t n_over = 0;

    for (size_t first = 0; first < n_in; first += BLOCK_INPUTS) {
        size_t end = n_in - first < BLOCK_INPUTS ? n_in : first + BLOCK_INPUTS;

        for (size_t j = 0; j < n_valid; j++)
            for (size_t k = first; k < end; k++) {
                uint16_t half = packed_half(weight[j * n_in + k]);

                to[k * PACKED_PANEL + j] = half;
                n_over += (half & HALF_INFINITY) == HALF_INFINITY;
            }
    }
    return n_over == 0 ? 0 : -1;
}

int
packed_fill(void *to, const float *weight, const float *bias, uint32_t n_out, uint32_t n_in,
    enum packed_format format, struct error *err)
{
    unsigned char *at = to;

    memset(to, 0, packed_bytes(n_out, n_in, format));
    for (uint32_t n = 0; n < n_out; n += PACKED_PANEL, weight += (size_t)PACKED_PANEL * n_in) {
        size_t n_valid = n_out - n < PACKED_PANEL ? n_out - n : PACKED_PANEL;

        if (bias != NULL)
            memcpy(at, bias + n, n_valid * sizeof(float));
        at += PACKED_PANEL * sizeof(float);
        if (format == PACKED_F32)
            fill_floats((float *)(void *)at, weight, n_in, n_valid);
        else if (fill_halves((uint16_t *)(void *)at, weight, n_in, n_valid) == -1)
            return error_set(err, ERR_INVALID,
                "a weight of outputs %u..%zu is beyond 65504, the largest number of half precision",
                (unsigned)n, n + n_valid - 1);
        at += (size_t)n_in * PACKED_PANEL * weight_size(format);
    }
    return 0;
}
