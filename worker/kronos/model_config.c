/*
 * model_config.c - What the two config.json files say, within the limits of model.h.
 *
 * Everything is checked here, before a byte is allocated for it, so the code behind
 * may multiply widths and layers without looking again.
 */
#include "worker/kronos/model_config.h"

#include <stddef.h>

#include "worker/kronos/json_file.h"

#define CONFIG_BYTES_MAX ((size_t)64 * 1024) /* the public ones have 500 */

/* RoPE turns the two halves of a head against each other, so a head is even. */
static int
check_heads(uint32_t d_model, uint32_t n_heads, struct error *err)
{
    if (d_model % n_heads != 0 || d_model / n_heads % 2 != 0)
        return error_set(err, ERR_INVALID,
            "d_model %u does not split into n_heads %u heads of an even size", d_model, n_heads);
    return 0;
}

/* The fields both files have. */
static int
read_shape(const cJSON *root, uint32_t *d_model, uint32_t *n_heads, uint32_t *ff_dim,
    uint32_t *s1_bits, uint32_t *s2_bits, struct error *err)
{
    if (json_file_uint(root, "d_model", 2, MODEL_WIDTH_MAX, d_model, err) == -1 ||
        json_file_uint(root, "n_heads", 1, MODEL_HEADS_MAX, n_heads, err) == -1 ||
        json_file_uint(root, "ff_dim", 1, MODEL_FF_MAX, ff_dim, err) == -1 ||
        json_file_uint(root, "s1_bits", 1, MODEL_BITS_MAX, s1_bits, err) == -1 ||
        json_file_uint(root, "s2_bits", 1, MODEL_BITS_MAX, s2_bits, err) == -1)
        return -1;
    return check_heads(*d_model, *n_heads, err);
}

static int
parse_model(const cJSON *root, struct model_config *c, struct error *err)
{
    if (read_shape(root, &c->d_model, &c->n_heads, &c->ff_dim, &c->s1_bits, &c->s2_bits, err) ==
            -1 ||
        json_file_uint(root, "n_layers", 1, MODEL_LAYERS_MAX, &c->n_layers, err) == -1)
        return -1;
    if (c->d_model % MODEL_DEP_HEADS != 0)
        return error_set(err, ERR_INVALID,
            "d_model %u does not split into the %d heads of the "
            "dependency layer",
            c->d_model, MODEL_DEP_HEADS);
    /* With fixed sines in place of learned time embeddings the tensors have other names. */
    if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(root, "learn_te")))
        return error_set(err, ERR_INVALID,
            "learn_te is false; only learned time embeddings are "
            "supported");
    return 0;
}

static int
parse_tokenizer(const cJSON *root, struct tokenizer_config *c, struct error *err)
{
    uint32_t n_enc, n_dec;

    if (read_shape(root, &c->d_model, &c->n_heads, &c->ff_dim, &c->s1_bits, &c->s2_bits, err) ==
            -1 ||
        json_file_uint(root, "d_in", MODEL_INPUTS, MODEL_INPUTS, &c->d_in, err) == -1 ||
        json_file_uint(root, "n_enc_layers", 1, MODEL_LAYERS_MAX, &n_enc, err) == -1 ||
        json_file_uint(root, "n_dec_layers", 1, MODEL_LAYERS_MAX, &n_dec, err) == -1)
        return -1;
    /* The reference builds one block fewer than the config says, on both sides. */
    c->n_enc_layers = n_enc - 1;
    c->n_dec_layers = n_dec - 1;
    return 0;
}

int
model_config_read(const char *path, struct model_config *config, struct error *err)
{
    struct error why;
    cJSON *root;
    int status;

    *config = (struct model_config){0};
    if ((root = json_file_read(path, CONFIG_BYTES_MAX, err)) == NULL)
        return -1;
    if ((status = parse_model(root, config, &why)) == -1)
        error_set(err, why.code, "%s: %s", path, why.text);
    cJSON_Delete(root);
    return status;
}

int
tokenizer_config_read(const char *path, struct tokenizer_config *config, struct error *err)
{
    struct error why;
    cJSON *root;
    int status;

    *config = (struct tokenizer_config){0};
    if ((root = json_file_read(path, CONFIG_BYTES_MAX, err)) == NULL)
        return -1;
    if ((status = parse_tokenizer(root, config, &why)) == -1)
        error_set(err, why.code, "%s: %s", path, why.text);
    cJSON_Delete(root);
    return status;
}
