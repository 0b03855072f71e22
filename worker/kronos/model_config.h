/*
 * model_config.h - What the two config.json files say, within the limits of model.h.
 */
#ifndef WORKER_KRONOS_MODEL_CONFIG_H
#define WORKER_KRONOS_MODEL_CONFIG_H

#include "worker/kronos/model.h"

/**
 * model_config_read(path, config, err), tokenizer_config_read(path, config, err):
 * Names this program does not use are skipped. Returns 0, or -1 with ERR_SYSTEM or
 * ERR_INVALID; the text names file, field and limit.
 */
int model_config_read(const char *path, struct model_config *config, struct error *err);
int tokenizer_config_read(const char *path, struct tokenizer_config *config, struct error *err);

#endif /* WORKER_KRONOS_MODEL_CONFIG_H */
