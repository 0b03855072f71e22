/*
 * model.c - A model ready to compute with: configs, sizes, and packed weights from the cache.
 *
 * What the forward pass reads is one run of bytes (model_pack.h) that follows from the weight
 * files, the configs and the format. When the cache has it, the weight files are not opened at
 * all; otherwise they are mapped, checked, packed and, unless somebody wants to look at the plain
 * tensors, unmapped again, so that the host holds one copy of the weights and not two.
 */
#include "worker/kronos/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "worker/kronos/model_bind.h"
#include "worker/kronos/model_config.h"
#include "worker/kronos/model_pack.h"

struct model_storage {
    struct model_files *files; /* mapped as long as the plain tensors are wanted; else NULL */
};

int
model_path(char path[PATH_MAX], const char *dir, const char *name, struct error *err)
{
    int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);

    if (n < 0 || n >= PATH_MAX)
        return error_set(err, ERR_INVALID, "the path of the model is over %d bytes", PATH_MAX - 1);
    return 0;
}

static int
read_configs(struct model *m, const char *model_dir, const char *tokenizer_dir, struct error *err)
{
    const struct tokenizer_config *t = &m->tokenizer_config;
    const struct model_config *c = &m->config;
    char path[PATH_MAX];

    if (model_path(path, tokenizer_dir, "config.json", err) == -1 ||
        tokenizer_config_read(path, &m->tokenizer_config, err) == -1 ||
        model_path(path, model_dir, "config.json", err) == -1 ||
        model_config_read(path, &m->config, err) == -1)
        return -1;
    if (c->s1_bits != t->s1_bits || c->s2_bits != t->s2_bits)
        return error_set(err, ERR_INVALID,
            "the model has s1_bits %u, s2_bits %u and the tokenizer %u, %u: they do not belong "
            "together",
            c->s1_bits, c->s2_bits, t->s1_bits, t->s2_bits);
    return 0;
}

/* ---- packed weights ---- */

/* What pack() needs to know, for the moment when it turns out that it is needed. */
struct packing {
    const struct model *model; /* with plain tensors, or with sizes only */
    bool has_plain;
    const char *model_dir, *tokenizer_dir;
    const struct model_options *options;
    enum packed_format format;
};

/* From files that are open for this only. */
static int
pack_from_files(const struct packing *p, void *to, struct error *err)
{
    struct model plain = {
        .tokenizer_config = p->model->tokenizer_config, .config = p->model->config};
    struct model_files *files = model_bind_files(&plain, p->model_dir, p->tokenizer_dir, err);
    int status = -1;

    if (files != NULL)
        status = model_pack_fill(&plain, p->format, to, err);
    model_files_close(files);
    model_unbind(&plain);
    /* Others will take these bytes for what the key says: were they made of it? */
    if (status == 0 && p->options != NULL && p->options->confirm != NULL)
        status = p->options->confirm(p->options->confirm_cookie, err);
    return status;
}

static int
pack(void *cookie, unsigned char *to, struct error *err)
{
    const struct packing *p = cookie;

    return p->has_plain ? model_pack_fill(p->model, p->format, to, err)
                        : pack_from_files(p, to, err);
}

/*
 * Everything the packed bytes depend on. The heads are not part of them, but a config that was
 * changed alone should not find the old file.
 */
static int
format_key(char key[WEIGHT_CACHE_KEY_MAX], const struct model *m, const struct packing *p,
    struct error *err)
{
    const struct tokenizer_config *t = &m->tokenizer_config;
    const struct model_config *c = &m->config;
    int n = snprintf(key, WEIGHT_CACHE_KEY_MAX,
        "%s; pack %d, layers %d, %s; tokenizer %u %u %u %u %u %u, model %u %u %u %u, bits %u %u",
        p->options->source, MODEL_PACK_VERSION, PACKED_VERSION,
        p->format == PACKED_F16 ? "float16" : "float32", t->d_in, t->d_model, t->n_heads, t->ff_dim,
        t->n_enc_layers, t->n_dec_layers, c->n_layers, c->d_model, c->n_heads, c->ff_dim,
        c->s1_bits, c->s2_bits);

    if (n < 0 || n >= WEIGHT_CACHE_KEY_MAX)
        return error_set(err, ERR_INVALID, "the name of the weights is too long");
    return 0;
}

/* Let ${m}, whose sizes are known, compute with packed weights: kept, or packed now. */
static int
open_pack(struct model *m, struct packing *p, struct error *err)
{
    const char *dir = p->options == NULL || p->has_plain ? NULL : p->options->cache_dir;
    char key[WEIGHT_CACHE_KEY_MAX] = "";

    if (dir != NULL && format_key(key, m, p, err) == -1)
        return -1;
    if (weight_cache_open(&m->weights, dir, key, model_pack_bytes(m, p->format), pack, p, err) ==
        -1)
        return -1;
    model_pack_use(m, p->format, m->weights.data);
    return 0;
}

/* ---- open and close ---- */

struct model *
model_open(const char *model_dir, const char *tokenizer_dir, const struct model_options *options,
    struct error *err)
{
    struct packing packing = {
        .has_plain = options == NULL || options->keeps_plain,
        .model_dir = model_dir,
        .tokenizer_dir = tokenizer_dir,
        .options = options,
        .format = options == NULL ? PACKED_F32 : options->weights,
    };
    struct model *m;

    if ((m = calloc(1, sizeof(*m))) == NULL ||
        (m->storage = calloc(1, sizeof(*m->storage))) == NULL) {
        error_set(err, ERR_MEMORY, "out of memory for %s", model_dir);
        goto close_model;
    }
    packing.model = m;
    if (read_configs(m, model_dir, tokenizer_dir, err) == -1)
        goto close_model;
    if (packing.has_plain) {
        m->storage->files = model_bind_files(m, model_dir, tokenizer_dir, err);
        if (m->storage->files == NULL)
            goto close_model;
    } else if (model_bind_sizes(m, err) == -1) {
        goto close_model;
    }
    if (open_pack(m, &packing, err) == -1)
        goto close_model;
    return m;

close_model:
    model_close(m);
    return NULL;
}

void
model_close(struct model *m)
{
    if (m == NULL)
        return;
    weight_cache_close(&m->weights);
    if (m->storage != NULL)
        model_files_close(m->storage->files);
    free(m->storage);
    model_unbind(m);
    free(m);
}
