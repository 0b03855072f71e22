/*
 * model_pack.h - A whole model as one run of bytes: all that a forward pass reads, as it reads it.
 *
 * Layers packed (packed.h) in the order a step multiplies with them, norms and tables as plain
 * floats, and two things worked out once: what the fusion makes of every token, and the
 * dependency layer's query of every s1. The bytes hold no pointer and follow from the weights
 * and the format alone, whatever the machine: they may be kept in a file and mapped by others.
 */
#ifndef WORKER_KRONOS_MODEL_PACK_H
#define WORKER_KRONOS_MODEL_PACK_H

#include "worker/kronos/model.h"

/* Names everything in the bytes but the weights and the format; raised with any change. */
#define MODEL_PACK_VERSION   1
#define MODEL_PACK_ALIGNMENT PACKED_ALIGNMENT

/** model_pack_bytes(model, format): of a model whose configs and linears' sizes are known. */
size_t model_pack_bytes(const struct model *model, enum packed_format format);

/**
 * model_pack_fill(model, format, to, err): write all model_pack_bytes() from the plain tensors. The
 * transformer's layers are kept in ${format}, the tokenizer's always in float32.
 * Returns 0, or -1: ERR_INVALID naming the layer with a weight beyond half precision, ERR_MEMORY.
 */
int model_pack_fill(
    const struct model *model, enum packed_format format, void *to, struct error *err);

/** model_pack_use(model, format, from): let ${model} compute with those bytes, which it borrows. */
void model_pack_use(struct model *model, enum packed_format format, const void *from);

#endif /* WORKER_KRONOS_MODEL_PACK_H */
