/*
 * safetensors.h - A weight file in memory: where each tensor lies, all of it checked.
 *
 * 8 bytes little-endian header length, a JSON header (name -> dtype, shape,
 * data_offsets), then the data. This module knows the format, not the model.
 */
#ifndef WORKER_KRONOS_SAFETENSORS_H
#define WORKER_KRONOS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define TENSOR_DIMS_MAX  8
#define TENSOR_NAME_MAX  256 /* bytes with the terminator; the longest of ours has 45 */
#define TENSOR_SHAPE_MAX 200 /* bytes of a shape as text */

/* Of those the model reads. A tensor of another type may be there, nobody looks at it. */
enum tensor_type { TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_OTHER };

struct tensor {
    char *name;
    char type_name[8]; /* as the file writes it, cut */
    enum tensor_type type;
    uint32_t n_dims;
    uint64_t shape[TENSOR_DIMS_MAX];
    uint64_t begin, end; /* in bytes, of the data behind the header */
};

struct safetensors {
    char *path;
    unsigned char *base; /* the read-only mapping */
    size_t size_bytes;
    const unsigned char *data;
    struct tensor *tensors; /* [n_tensors], ordered by name */
    size_t n_tensors;
};

/**
 * safetensors_open(file, path, err):
 * Map ${path} and check its header: every offset inside the file, no two tensors
 * overlapping, every known type times its shape equal to its bytes. Gaps are allowed.
 * Returns 0, or -1 with ${file} empty: ERR_SYSTEM, ERR_MEMORY, or ERR_CORRUPT with
 * the tensor and the file in the text.
 */
int safetensors_open(struct safetensors *file, const char *path, struct error *err);

/** safetensors_close(file): unmap; an empty one is allowed. */
void safetensors_close(struct safetensors *file);

/** safetensors_find(file, name): NULL when there is none. */
const struct tensor *safetensors_find(const struct safetensors *file, const char *name);

/** tensor_format_shape(shape, n_dims, text): "[32, 6]" */
void tensor_format_shape(const uint64_t *shape, uint32_t n_dims, char text[TENSOR_SHAPE_MAX]);

#endif /* WORKER_KRONOS_SAFETENSORS_H */
