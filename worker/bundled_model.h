/*
 * bundled_model.h - Where the model is that comes with Kronosq.
 */
#ifndef WORKER_BUNDLED_MODEL_H
#define WORKER_BUNDLED_MODEL_H

#include <stddef.h>

#include "common/error.h"

#define BUNDLED_MODEL_NAME "kronos-demo"

/**
 * bundled_model_find(model_dir, tokenizer_dir, size, err): the two directories of the model that serves
 * a worker without --model, into buffers of ${size} bytes. Looked for beside the running program, as
 * `make install` lays it out and as a clone does. ERR_NOT_FOUND, naming both places, where it is in neither.
 */
int bundled_model_find(char *model_dir, char *tokenizer_dir, size_t size, struct error *err);

#endif /* WORKER_BUNDLED_MODEL_H */
