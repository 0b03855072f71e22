/*
 * weight_image.h - A weight file taken apart, to put it together wrongly.
 *
 * A folder in /tmp holds a config.json and the model.safetensors under test; the other
 * half of the pair is a good one of scripts/test-models (tiny). Anything unexpected
 * here fails the running cmocka test.
 */
#ifndef TESTS_MODEL_WEIGHT_IMAGE_H
#define TESTS_MODEL_WEIGHT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "worker/kronos/model.h"

enum image_part { IMAGE_TOKENIZER, IMAGE_MODEL };

/* The header can be changed as JSON, the data as bytes. */
struct image {
    enum image_part part;
    cJSON *header;
    unsigned char *data;
    size_t data_bytes;
};

/** image_make_folder(state), image_remove_folder(state): a cmocka group's setup and teardown. */
int image_make_folder(void **state);
int image_remove_folder(void **state);

/** image_read(part): the good file; its config.json is put into the folder. */
struct image image_read(enum image_part part);
void image_clear(struct image *image);

/** image_bytes(part, n): the good file as it is; the caller's to free. Puts the config as well. */
unsigned char *image_bytes(enum image_part part, size_t *n);

/** image_write(image, odd): header, spaces to a multiple of 8 plus ${odd}, data. */
void image_write(const struct image *image, size_t odd);

/** image_write_bytes(bytes, n): any bytes as the weight file; image_path() names it. */
void image_write_bytes(const void *bytes, size_t n);
const char *image_path(void);

/** image_entry(image, name): the header's entry of a tensor that is there. */
cJSON *image_entry(const struct image *image, const char *name);

/** image_put(image, name, field, json): replace one field of it. */
void image_put(struct image *image, const char *name, const char *field, const char *json);

/** image_begin(image, name): where its data begins, in bytes. */
size_t image_begin(const struct image *image, const char *name);

/** image_open(part, err): model_open() with the folder in place of one good half. */
struct model *image_open(enum image_part part, struct error *err);
/** image_open_as(part, weights, err): the same with the layers kept in that format. */
struct model *image_open_as(enum image_part part, enum packed_format weights, struct error *err);

/** image_open_good(): both halves good. */
struct model *image_open_good(void);

#endif /* TESTS_MODEL_WEIGHT_IMAGE_H */
