/*
 * model_bind.h - The tensors of a model by name, each looked up, checked and pointed at.
 *
 * Only for model.c, which then lets the forward pass compute with packed ones.
 */
#ifndef WORKER_KRONOS_MODEL_BIND_H
#define WORKER_KRONOS_MODEL_BIND_H

#include <limits.h>

#include "worker/kronos/model.h"

struct model_files; /* both weight files mapped, and what had to be copied out of them */

/** model_bind_sizes(m, err): the sizes and numbers that follow from ${m}'s configs; no pointers. */
int model_bind_sizes(struct model *m, struct error *err);

/**
 * model_bind_files(m, model_dir, tokenizer_dir, err): the same, and pointers to every tensor. They
 * are valid until model_files_close(). NULL as model_open().
 */
struct model_files *model_bind_files(
    struct model *m, const char *model_dir, const char *tokenizer_dir, struct error *err);
void model_files_close(struct model_files *files);

/** model_unbind(m): free what both have allocated in ${m}; an empty one is allowed. */
void model_unbind(struct model *m);

/** model_path(path, dir, name, err): "dir/name"; -1 when it is too long. model.c's. */
int model_path(char path[PATH_MAX], const char *dir, const char *name, struct error *err);

#endif /* WORKER_KRONOS_MODEL_BIND_H */
