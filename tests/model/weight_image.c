/*
 * weight_image.c - A weight file taken apart, to put it together wrongly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/model/weight_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char good[2][1024]; /* by enum image_part */
static char folder[64], weights_path[96], config_path[96];

static void *
image_alloc(size_t n)
{
    void *memory = calloc(n > 0 ? n : 1, 1);

    assert_non_null(memory);
    return memory;
}

static void
write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static unsigned char *
read_file(const char *dir, const char *name, size_t *n)
{
    char path[1200];
    struct stat st;
    unsigned char *bytes;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if ((f = fopen(path, "r")) == NULL)
        fail_msg("no %s; test models are written by: scripts/test-models tiny tail", path);
    assert_int_equal(fstat(fileno(f), &st), 0);
    *n = (size_t)st.st_size;
    bytes = image_alloc(*n);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

int
image_make_folder(void **state)
{
    const char *root = getenv("KRONOSQ_TEST_MODELS");

    (void)state;
    if (root == NULL || root[0] == '\0')
        root = "build/test-models";
    snprintf(good[IMAGE_MODEL], sizeof(good[0]), "%s/tiny-seed7/model", root);
    snprintf(good[IMAGE_TOKENIZER], sizeof(good[0]), "%s/tiny-seed7/tokenizer", root);
    snprintf(folder, sizeof(folder), "/tmp/kronosq-weights-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(weights_path, sizeof(weights_path), "%s/model.safetensors", folder);
    snprintf(config_path, sizeof(config_path), "%s/config.json", folder);
    return 0;
}

int
image_remove_folder(void **state)
{
    (void)state;
    unlink(weights_path);
    unlink(config_path);
    return rmdir(folder);
}

unsigned char *
image_bytes(enum image_part part, size_t *n)
{
    unsigned char *config = read_file(good[part], "config.json", n);

    write_file(config_path, config, *n);
    free(config);
    return read_file(good[part], "model.safetensors", n);
}

struct image
image_read(enum image_part part)
{
    size_t n;
    unsigned char *bytes = image_bytes(part, &n);
    struct image image = {.part = part};
    uint64_t length;

    memcpy(&length, bytes, 8);
    image.header = cJSON_ParseWithLength((char *)bytes + 8, length);
    assert_non_null(image.header);
    image.data_bytes = n - 8 - length;
    image.data = image_alloc(image.data_bytes);
    memcpy(image.data, bytes + 8 + length, image.data_bytes);
    free(bytes);
    return image;
}

void
image_clear(struct image *image)
{
    cJSON_Delete(image->header);
    free(image->data);
}

void
image_write(const struct image *image, size_t odd)
{
    char *text = cJSON_PrintUnformatted(image->header);
    uint64_t used = strlen(text), length = (used + 7) / 8 * 8 + odd;
    unsigned char *bytes = image_alloc(8 + length + image->data_bytes);

    memcpy(bytes, &length, 8);
    memset(bytes + 8, ' ', length);
    memcpy(bytes + 8, text, used);
    memcpy(bytes + 8 + length, image->data, image->data_bytes);
    image_write_bytes(bytes, 8 + length + image->data_bytes);
    free(bytes);
    cJSON_free(text);
}

void
image_write_bytes(const void *bytes, size_t n)
{
    write_file(weights_path, bytes, n);
}

const char *
image_path(void)
{
    return weights_path;
}

cJSON *
image_entry(const struct image *image, const char *name)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(image->header, name);

    assert_non_null(item);
    return item;
}

void
image_put(struct image *image, const char *name, const char *field, const char *json)
{
    cJSON *value = cJSON_Parse(json);

    assert_non_null(value);
    assert_true(cJSON_ReplaceItemInObjectCaseSensitive(image_entry(image, name), field, value));
}

size_t
image_begin(const struct image *image, const char *name)
{
    const cJSON *offsets =
        cJSON_GetObjectItemCaseSensitive(image_entry(image, name), "data_offsets");

    return (size_t)cJSON_GetArrayItem(offsets, 0)->valuedouble;
}

struct model *
image_open_as(enum image_part part, enum packed_format weights, struct error *err)
{
    struct model_options options = {.weights = weights, .keeps_plain = true};

    if (part == IMAGE_MODEL)
        return model_open(folder, good[IMAGE_TOKENIZER], &options, err);
    return model_open(good[IMAGE_MODEL], folder, &options, err);
}

struct model *
image_open(enum image_part part, struct error *err)
{
    return image_open_as(part, PACKED_F32, err);
}

struct model *
image_open_good(void)
{
    struct error err;
    struct model *model = model_open(good[IMAGE_MODEL], good[IMAGE_TOKENIZER], NULL, &err);

    if (model == NULL)
        fail_msg("%s", err.text);
    return model;
}
